"""The source contract on MariaDB, read through an account that can only SELECT."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from connectors.one_stop.mapping import ImpossibleValue
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
from tests.services.mariadb import MariadbServer, mariadb_server
from tests.unit.one_stop.test_mapping import event_of

pytestmark = pytest.mark.integration
__all__ = ["mariadb_server"]

NAME = "lportal"


@pytest.fixture(scope="module")
def prepared(mariadb_server: MariadbServer) -> MariadbServer:
    mariadb_server.run(
        f"CREATE DATABASE {NAME} CHARACTER SET utf8mb4",
        f"CREATE USER {READER}@'127.0.0.1' IDENTIFIED BY '{READER_PASSWORD}'",
    )
    return mariadb_server


class TestOneStopOnMariadb(SourceContract):
    @pytest.fixture
    async def world(self, prepared: MariadbServer) -> AsyncIterator[World]:
        world = emptied_world(prepared.url(NAME), prepared.url(NAME, READER, READER_PASSWORD))
        prepared.run(
            *(f"GRANT SELECT ON {NAME}.{table} TO {READER}@'127.0.0.1'" for table in TABLES)
        )
        yield world
        await world.close()

    @pytest.fixture
    async def wrong_password(self, prepared: MariadbServer) -> AsyncIterator[World]:
        world = emptied_world(prepared.url(NAME), prepared.url(NAME, READER, SECRET))
        yield world
        await world.close()

    @pytest.fixture
    async def unreachable(self, prepared: MariadbServer) -> AsyncIterator[World]:
        url = f"mysql+pymysql://{READER}:{READER_PASSWORD}@127.0.0.1:{closed_port()}/{NAME}"
        world = emptied_world(prepared.url(NAME), url)
        yield world
        await world.close()

    async def test_writers_with_open_transactions(self, world: World) -> None:
        await play(world)

    async def test_the_readers_account_is_good_enough_and_the_writers_is_advised_against(
        self, world: World, prepared: MariadbServer
    ) -> None:
        problems = await world.source().check()
        assert not any("may write" in problem for problem in problems)
        assert any("no index begins with modifiedDate" in problem for problem in problems)
        password = type(world.settings.url)(prepared.url(NAME))
        assert any("may write" in p for p in await world.source(url=password).check())

    async def test_a_zero_date_reaches_the_mapping(self, world: World) -> None:
        dossier = world.dossier()
        world.act(dossier)
        with world.engine.begin() as connection:
            connection.exec_driver_sql("SET SESSION sql_mode = ''")
            connection.exec_driver_sql(
                "UPDATE opencps_dossier SET receiveDate = '0000-00-00 00:00:00'"
            )
        notices = await Capture().drain(world.source(), Feed.ACTIONS)
        parts = payload_of(notices[-1])
        assert parts["dossier"]["receiveDate"].startswith("0000-00-00")
        with pytest.raises(ImpossibleValue):
            event_of(parts)
