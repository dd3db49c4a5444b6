"""The packets' contract on SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.packets_contract import PacketsContract


class TestSqlitePackets(PacketsContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/ledger.db"
