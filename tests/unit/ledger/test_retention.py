"""How long what is kept, and what goes then, on SQLite."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from schemas.ledger import partitions
from schemas.ledger.retention import Retention, month_before
from tests.contract.ledger_contract import make_event
from tests.contract.retention_contract import RetentionContract


class TestSqliteRetention(RetentionContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/ledger.db"


@pytest.mark.parametrize(
    ("months", "expected"), [(0, 202611), (1, 202610), (11, 202512), (12, 202511), (35, 202312)]
)
def test_whole_months_are_counted_back(months: int, expected: int) -> None:
    assert month_before(datetime(2026, 11, 23, tzinfo=UTC), months) == expected


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"evidence_months": 11}, "evidence_months: 12 at least"),
        ({"content_months": 13}, "content_months"),
        ({"content_months": 0}, "content_months"),
        ({"evidence_months": 48}, "dedup_months"),
    ],
)
def test_a_retention_that_would_lose_evidence_is_refused(given: dict[str, int], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Retention(**given)


def test_the_source_s_day_is_utc_whatever_the_zone() -> None:
    hanoi = timezone(timedelta(hours=7))
    event = make_event("e1", at=datetime(2026, 3, 1, 6, 59, tzinfo=hanoi))
    assert partitions.source_day(event.effective_at) == 20260228
    assert partitions.month_of(20260228) == 202602


def test_every_month_has_its_partition() -> None:
    assert partitions.partition_of(202512) == "early"
    assert partitions.partition_of(202601) == "202601"
    assert partitions.partition_of(209912) == "209912"
    assert partitions.partition_of(210001) == "late"
    assert [partitions.month_after(m) for m in (202611, 202612)] == [202612, 202701]
    assert partitions.first_id(202612) - partitions.first_id(202611) == partitions.IDS_A_MONTH
    assert partitions.first_id(209912) < 2**53, "a number that JavaScript reads without loss"
