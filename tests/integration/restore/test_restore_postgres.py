"""The restore contract on a real PostgreSQL, and how a restored server or database is recognised."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from schemas.ledger.migrate import upgrade
from schemas.ledger.model import LedgerReplaced, LedgerUnavailable
from schemas.ledger.sql import SqlLedger
from tests.contract.ledger_contract import Desk, make_event
from tests.contract.restore_contract import Open, RestoreContract
from tests.services.postgres import PostgresServer, postgres_server

__all__ = ["postgres_server"]

pytestmark = pytest.mark.integration

_names = itertools.count(1)


@pytest.fixture
def name() -> str:
    return f"restored{next(_names)}"


@pytest.fixture
def url(postgres_server: PostgresServer, name: str) -> str:
    url = postgres_server.create_database(name)
    upgrade(url)
    return url


@pytest.fixture
async def open_ledger(url: str) -> AsyncIterator[Open]:
    async with AsyncExitStack() as opened:

        async def open_it() -> SqlLedger:
            return await opened.enter_async_context(SqlLedger(url))

        yield open_it


class TestPostgresRestore(RestoreContract):
    @pytest.fixture
    async def open_ledger(self, open_ledger: Open) -> Open:
        return open_ledger


def put_copy_in_place(server: PostgresServer, name: str) -> None:
    """As after pg_restore into a new database of the old name."""
    with server.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        connection.execute(f'CREATE DATABASE "{name}_copy" TEMPLATE "{name}"')
        connection.execute(f'ALTER DATABASE "{name}" RENAME TO "{name}_old"')
        connection.execute(f'ALTER DATABASE "{name}_copy" RENAME TO "{name}"')


async def test_a_restart_changes_nothing(
    postgres_server: PostgresServer, url: str, open_ledger: Open
) -> None:
    before = (await open_ledger()).identity
    postgres_server.kill()
    postgres_server.start()
    async with SqlLedger(url) as after:
        assert after.identity == before


async def test_a_database_that_was_restored_is_recognised(
    postgres_server: PostgresServer, url: str, name: str
) -> None:
    async with SqlLedger(url) as ledger:
        assert not ledger.identity.changed
    put_copy_in_place(postgres_server, name)
    async with SqlLedger(url) as ledger:
        assert ledger.identity.changed


async def test_a_running_process_notices_at_its_next_connection(
    postgres_server: PostgresServer, url: str, name: str
) -> None:
    async with SqlLedger(url) as ledger:
        desk = await Desk.open(ledger)
        put_copy_in_place(postgres_server, name)
        with pytest.raises(LedgerUnavailable):
            await desk.put(make_event("e1"))
        with pytest.raises(LedgerReplaced):
            await desk.put(make_event("e1"))
        with pytest.raises(LedgerReplaced):
            await Desk.open(ledger)


async def test_a_server_that_came_out_of_recovery_is_another() -> None:
    """As after a restore to a point in time, or the promotion of a standby: the timeline is a new one."""
    with PostgresServer() as server:
        url = server.create_database("hub")
        upgrade(url)
        async with SqlLedger(url) as ledger:
            assert not ledger.identity.changed
        server.stop()
        with (server.data / "postgresql.auto.conf").open("a") as settings:
            settings.write("restore_command = '/bin/false'\n")
        (server.data / "recovery.signal").touch()
        server.start()
        async with SqlLedger(url) as ledger:
            assert ledger.identity.changed
