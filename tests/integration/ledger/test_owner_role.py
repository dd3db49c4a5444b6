"""The ledger under the role that `docker/postgres/roles.sh` makes: it owns its database and may do nothing else.

All other tests connect as the administrator, who may do everything.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import psycopg
import pytest

from schemas.ledger.migrate import require_current, upgrade
from schemas.ledger.sql import SqlLedger
from tests.contract.ledger_contract import Desk, make_event
from tests.contract.restore_contract import Open, RestoreContract
from tests.contract.retention_contract import RetentionContract
from tests.services.postgres import PostgresServer, postgres_server

__all__ = ["postgres_server"]

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).parents[3] / "docker" / "postgres" / "roles.sh"
NAMES = ("ledger", "registry")


@pytest.fixture
def server(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[PostgresServer]:
    """The script has run on it, as when its folder was made."""
    for name in NAMES:
        (tmp_path / f"{name}_password").write_text(f"password of {name}\n")
    environment = {
        **os.environ,
        "SECRETS": str(tmp_path),
        "POSTGRES_USER": "hub",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(postgres_server.port),
    }
    subprocess.run(["bash", SCRIPT], env=environment, check=True)
    yield postgres_server
    with postgres_server.connect() as connection:
        for name in NAMES:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
            connection.execute(f'DROP ROLE "{name}"')


def as_role(server: PostgresServer, role: str, database: str) -> str:
    return f"postgresql://{role}@127.0.0.1:{server.port}/{database}"


@pytest.fixture
def url(server: PostgresServer) -> str:
    return as_role(server, "ledger", "ledger")


class TestRetentionAsOwner(RetentionContract):
    """`db upgrade`, months attached and dropped."""

    whole_months = True

    @pytest.fixture
    def url(self, url: str) -> str:
        return url


class TestRestoreAsOwner(RestoreContract):
    """A database that was put back is recognised by what the server tells of itself."""

    @pytest.fixture
    async def open_ledger(self, url: str) -> AsyncIterator[Open]:
        upgrade(url)
        async with AsyncExitStack() as opened:

            async def open_it() -> SqlLedger:
                return await opened.enter_async_context(SqlLedger(url))

            yield open_it


async def test_the_tables_are_its_own_and_a_copy_in_their_place_is_recognised(
    server: PostgresServer, url: str
) -> None:
    upgrade(url)
    upgrade(url)
    require_current(url)
    with psycopg.connect(url) as connection:
        owners = connection.execute(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
    assert owners == [("ledger",)]
    async with SqlLedger(url) as ledger:
        await (await Desk.open(ledger)).put(make_event("e1"))
    async with SqlLedger(url) as ledger:
        assert not ledger.identity.changed
    with server.connect() as connection:
        connection.execute("CREATE DATABASE ledger_copy TEMPLATE ledger OWNER ledger")
        connection.execute("DROP DATABASE ledger")
        connection.execute("ALTER DATABASE ledger_copy RENAME TO ledger")
    async with SqlLedger(url) as ledger:
        assert ledger.identity.changed


def test_the_roles_may_do_nothing_else(server: PostgresServer) -> None:
    with server.connect() as connection:
        rows = connection.execute(
            "SELECT rolname, rolcanlogin, rolpassword LIKE 'SCRAM-SHA-256$%%',"
            " rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls"
            " FROM pg_authid WHERE rolname = ANY(%s) ORDER BY 1",
            [list(NAMES)],
        ).fetchall()
    assert rows == [("ledger", True, True, False), ("registry", True, True, False)]
    for role, database in (("registry", "ledger"), ("ledger", "registry")):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(as_role(server, role, database))
