"""The dossiers that may explain a difference, on SQLite; and that every reason has its words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from monitoring.rates.portal_dossiers import WORDS, Why
from tests.contract.portal_dossiers_contract import PortalDossiersContract
from tests.unit.rates.counted import Hall, hall


class TestSqlitePortalDossiers(PortalDossiersContract):
    @pytest.fixture
    async def ours(self, tmp_path: Path) -> AsyncIterator[Hall]:
        async with hall(tmp_path) as opened:
            yield opened


def test_every_reason_has_its_words() -> None:
    assert set(WORDS) == set(Why)
