"""The source contract on PostgreSQL, read through an account that can only SELECT."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Column, MetaData, Table, create_engine, insert

from connectors.one_stop.mapping import ImpossibleValue
from connectors.one_stop.simulator import schema
from schemas.records import Feed
from tests.contract.source_contract import SECRET, SourceContract
from tests.integration.one_stop.concurrent_writers import play
from tests.integration.one_stop.worlds import (
    READER,
    READER_PASSWORD,
    TABLES,
    closed_port,
    emptied_world,
)
from tests.one_stop_database import Capture, World, payload_of
from tests.services.postgres import PostgresServer, postgres_server
from tests.unit.one_stop.test_mapping import event_of

pytestmark = pytest.mark.integration
__all__ = ["postgres_server"]

NAME = "lportal"


def reader_url(port: int, password: str = READER_PASSWORD, name: str = NAME) -> str:
    return f"postgresql+psycopg://{READER}:{password}@127.0.0.1:{port}/{name}"


def admin_url(server: PostgresServer, name: str = NAME) -> str:
    return server.url(name).replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture(scope="module")
def prepared(postgres_server: PostgresServer) -> PostgresServer:
    postgres_server.create_database(NAME)
    with postgres_server.connect(NAME) as connection:
        connection.execute(f"CREATE ROLE {READER} LOGIN PASSWORD '{READER_PASSWORD}'")
        (path,) = connection.execute("SHOW hba_file").fetchone() or ("",)
        rules = Path(path)
        rules.write_text(f"host all {READER} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        connection.execute("SELECT pg_reload_conf()")
    return postgres_server


class TestOneStopOnPostgres(SourceContract):
    @pytest.fixture
    async def world(self, prepared: PostgresServer) -> AsyncIterator[World]:
        world = emptied_world(admin_url(prepared), reader_url(prepared.port))
        with prepared.connect(NAME) as connection:
            connection.execute(f"GRANT SELECT ON {', '.join(TABLES)} TO {READER}")
        yield world
        await world.close()

    @pytest.fixture
    async def wrong_password(self, prepared: PostgresServer) -> AsyncIterator[World]:
        world = emptied_world(admin_url(prepared), reader_url(prepared.port, SECRET))
        yield world
        await world.close()

    @pytest.fixture
    async def unreachable(self, prepared: PostgresServer) -> AsyncIterator[World]:
        world = emptied_world(admin_url(prepared), reader_url(closed_port()))
        yield world
        await world.close()

    async def test_writers_with_open_transactions(self, world: World) -> None:
        await play(world)

    async def test_the_readers_account_is_good_enough_and_the_writers_is_advised_against(
        self, world: World, prepared: PostgresServer
    ) -> None:
        problems = await world.source().check()
        assert not any("may write" in problem for problem in problems)
        assert any("no index begins with modifiedDate" in problem for problem in problems)
        url = type(world.settings.url)(admin_url(prepared))
        assert any("may write" in problem for problem in await world.source(url=url).check())

    async def test_a_missing_right_is_named(self, world: World, prepared: PostgresServer) -> None:
        with prepared.connect(NAME) as connection:
            connection.execute(f"REVOKE SELECT ON opencps_paymentfile FROM {READER}")
        assert any("no right to read" in problem for problem in await world.source().check())

    @pytest.mark.parametrize("date", ["infinity", "20260-01-01 00:00:00", "0044-03-15 10:00:00 BC"])
    async def test_an_impossible_date_reaches_the_mapping(self, world: World, date: str) -> None:
        world.act(world.dossier())
        with world.engine.begin() as connection:
            connection.exec_driver_sql(
                'UPDATE opencps_dossier SET "receiveDate" = %s::timestamp', (date,)
            )
        notices = await Capture().drain(world.source(), Feed.ACTIONS)
        with pytest.raises(ImpossibleValue):
            event_of(payload_of(notices[-1]))

    async def test_lower_case_columns_as_liferay_makes_them(self, prepared: PostgresServer) -> None:
        prepared.create_database("lowercase")
        engine = create_engine(admin_url(prepared, "lowercase"))
        lower = MetaData()
        for table in schema.metadata.sorted_tables:
            columns = (
                Column("".join(c.name).lower(), c.type, primary_key=c.primary_key) for c in table.c
            )
            Table(table.name, lower, *columns)
        lower.create_all(engine)
        with engine.begin() as connection:
            dossier = {"dossierid": 1, "groupid": 1, "uuid_": "a", "dossierno": "H12-1"}
            connection.execute(insert(lower.tables["opencps_dossier"]), dossier)
            connection.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}")
        world = emptied_world(admin_url(prepared), reader_url(prepared.port, name="lowercase"))
        (notice,) = await Capture().drain(world.source(), Feed.SWEEP)
        assert payload_of(notice)["dossier"]["dossierNo"] == "H12-1"
        await world.close()
        engine.dispose()
