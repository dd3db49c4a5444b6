"""The ledger of the simulation keeps the contract that the SQL ledgers keep."""

from __future__ import annotations

import time

import pytest

from tests.contract.ledger_contract import EngineLedgerContract
from tests.simulation.memory_ledger import MemoryLedger


class TestMemoryLedger(EngineLedgerContract):
    @pytest.fixture
    async def ledger(self) -> MemoryLedger:
        return MemoryLedger(time.time)
