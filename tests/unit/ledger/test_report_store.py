"""Reports in a ledger on SQLite, and what no code of the hub may do with them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.contract.report_store_contract import ReportStoreContract
from tests.unit.rates.counted import _migrated

ROOT = Path(__file__).parents[3]
NEVER_REWRITTEN = ("report_snapshots", "report_audit")


class TestSqliteReports(ReportStoreContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        path = tmp_path / "ledger.db"
        path.write_bytes(_migrated())
        return f"sqlite:///{path}"


@pytest.mark.parametrize("table", NEVER_REWRITTEN)
def test_no_statement_of_the_program_changes_or_deletes_what_was_frozen(table: str) -> None:
    forbidden = re.compile(rf"(?:update|delete)\(\s*{table}\b|{table}\.(?:update|delete)\(")
    guilty = [
        str(path)
        for package in ("connectors", "monitoring", "schemas", "streams")
        for path in (ROOT / package).rglob("*.py")
        if forbidden.search(path.read_text(encoding="utf-8"))
    ]
    assert guilty == []
    assert forbidden.search(f"connection.execute(update({table}).values())")
