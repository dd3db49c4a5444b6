"""The whole contract on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas.ledger.database import Lane
from schemas.ledger.migrate import upgrade
from schemas.ledger.sql import SqlLedger
from tests.contract.ledger_contract import LedgerContract
from tests.contract.observation_contract import ObservationContract
from tests.contract.parity_contract import ParityContract
from tests.contract.published_contract import PublishedContract
from tests.contract.regimes_contract import RegimesContract


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqlLedger]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    upgrade(url)
    async with SqlLedger(url) as opened:
        yield opened


class TestSqliteLedger(LedgerContract):
    @pytest.fixture
    async def ledger(self, ledger: SqlLedger) -> SqlLedger:
        return ledger


class TestSqliteParity(ParityContract):
    @pytest.fixture
    async def ledger(self, ledger: SqlLedger) -> SqlLedger:
        return ledger


class TestSqliteObservations(ObservationContract):
    @pytest.fixture
    async def ledger(self, ledger: SqlLedger) -> SqlLedger:
        return ledger


class TestSqlitePublished(PublishedContract):
    @pytest.fixture
    async def lane(self, tmp_path: Path) -> AsyncIterator[Lane]:
        url = f"sqlite:///{tmp_path}/ledger.db"
        upgrade(url)
        lane = Lane(url, "published", seconds=None)
        yield lane
        await lane.close()


class TestSqliteRegimes(RegimesContract):
    @pytest.fixture
    async def lane(self, tmp_path: Path) -> AsyncIterator[Lane]:
        url = f"sqlite:///{tmp_path}/ledger.db"
        upgrade(url)
        lane = Lane(url, "regimes", seconds=None)
        yield lane
        await lane.close()
