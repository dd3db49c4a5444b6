"""What form II.06 is counted from, on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.report_spans_contract import ReportSpansContract
from tests.unit.rates.counted import Hall, hall


class TestSqliteReportSpans(ReportSpansContract):
    @pytest.fixture
    async def ours(self, tmp_path: Path) -> AsyncIterator[Hall]:
        async with hall(tmp_path) as opened:
            yield opened
