"""What form II.06 is counted from, on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas.reports.form import Column, Treatment
from tests.contract.report_spans_contract import ROWS, ReportSpansContract
from tests.unit.rates.counted import Hall, Story, hall
from tests.unit.reporting.followed import Office, columns


class TestSqliteReportSpans(ReportSpansContract):
    @pytest.fixture
    async def ours(self, tmp_path: Path) -> AsyncIterator[Hall]:
        async with hall(tmp_path) as opened:
            yield opened

    @pytest.mark.parametrize(("told", "expected", "otherwise"), ROWS)
    async def test_one_dossier_in_a_month(
        self, office: Office, told: Story, expected: str, otherwise: dict[str, Treatment]
    ) -> None:
        await office.put(*told.events())
        await office.follow()
        assert await office.columns_of("a") == columns(expected)
        figures = (await office.count()).total()
        assert {c for c in Column if figures.of(c)} == columns(expected)
        for text, treatment in otherwise.items():
            assert await office.columns_of("a", treatment=treatment) == columns(text)
