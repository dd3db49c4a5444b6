"""The whole contract on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas.ledger.migrate import upgrade
from schemas.ledger.sql import SqlLedger
from tests.contract.ledger_contract import LedgerContract


class TestSqliteLedger(LedgerContract):
    @pytest.fixture
    async def ledger(self, tmp_path: Path) -> AsyncIterator[SqlLedger]:
        url = f"sqlite:///{tmp_path}/ledger.db"
        upgrade(url)
        async with SqlLedger(url) as ledger:
            yield ledger
