"""The views for Grafana on PostgreSQL, and the role that may read them and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from schemas.ledger.migrate import upgrade
from tests.contract.views_contract import ViewsContract
from tests.integration.ledger.databases import postgres_server, url
from tests.services.postgres import PostgresServer

__all__ = ["postgres_server", "url"]

pytestmark = pytest.mark.integration

PAGE = Path(__file__).parents[3] / "docs" / "van-hanh.md"


class TestPostgresViews(ViewsContract):
    @pytest.fixture
    def url(self, url: str) -> str:
        upgrade(url)
        return url


def test_the_role_of_the_page_reads_every_view_and_nothing_else(
    postgres_server: PostgresServer,
) -> None:
    administrator = postgres_server.create_database("ledger")
    upgrade(administrator)
    make, grant = re.findall(r"^```sql\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute("REVOKE ALL ON DATABASE ledger FROM PUBLIC")
        connection.execute(make)
        for _ in range(2):  # it is run again after an upgrade
            connection.execute(grant)
        views = [name for (name,) in connection.execute(_OF_KIND, ["v"])]
        tables = [name for (name,) in connection.execute(_OF_KIND, ["r"])]
    assert len(views) == 6
    assert len(tables) > 20
    reader = f"postgresql://grafana@127.0.0.1:{postgres_server.port}/ledger"
    with psycopg.connect(reader, autocommit=True) as connection:
        for name in views:
            connection.execute(f'SELECT * FROM "{name}"')
        for name in tables:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f'SELECT * FROM "{name}"')
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("CREATE TEMPORARY TABLE t (x int)")


_OF_KIND = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = %s"
)
