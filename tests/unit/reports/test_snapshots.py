"""Snapshots: one canonical form, a hash that means the figures, and the way back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from schemas.reports.periods import Window
from schemas.reports.snapshots import Row, Snapshot, hash_of, read

SNAPSHOT = Snapshot(
    regime="II.06",
    period="2026-08",
    agency="H12",
    form_version="TT01/2020",
    window=Window(date(2026, 7, 15), date(2026, 8, 14)),
    known_at=datetime(2026, 8, 14, 17, tzinfo=UTC),
    rules={"codes": "7", "form": "1"},
    columns=("c3", "c4"),
    rows=(
        Row("H12.02", "S1", "P1", (3, 1)),
        Row("H12.01", "S1", "P2", (2, None)),
        Row("H12.01", "S1", "P1", (1, 1)),
        Row(None, None, "P1", (5, 5)),
    ),
)


def test_it_reads_back_and_writes_the_same_bytes() -> None:
    content = SNAPSHOT.content()
    assert read(content).content() == content
    assert set(read(content).rows) == set(SNAPSHOT.rows)


def test_the_order_of_rows_and_rules_does_not_matter() -> None:
    other = replace(SNAPSHOT, rows=SNAPSHOT.rows[::-1], rules={"form": "1", "codes": "7"})
    assert hash_of(other.content()) == hash_of(SNAPSHOT.content())


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": SNAPSHOT.rows[1:]},
        {"rules": {"codes": "8", "form": "1"}},
        {"known_at": datetime(2026, 8, 14, 17, 0, 0, 1, tzinfo=UTC)},
        {"form_version": "TT02/2027"},
    ],
)
def test_whatever_else_it_says_has_another_hash(changes: dict[str, object]) -> None:
    assert hash_of(replace(SNAPSHOT, **changes).content()) != hash_of(SNAPSHOT.content())


def test_rows_add_up_and_what_is_not_known_stays_unknown() -> None:
    assert SNAPSHOT.by(lambda row: row.agency) == {
        None: (5, 5),
        "H12.01": (3, None),
        "H12.02": (3, 1),
    }
    assert SNAPSHOT.total() == (11, None)


def test_a_unit_s_hash_changes_with_its_own_row_only() -> None:
    before = SNAPSHOT.units()
    rows = (Row("H12.02", "S1", "P1", (4, 1)), *SNAPSHOT.rows[1:])
    after = replace(SNAPSHOT, rows=rows, known_at=datetime(2026, 9, 1, tzinfo=UTC)).units()
    assert set(before) == {"H12.01", "H12.02"}
    assert before["H12.01"] == after["H12.01"]
    assert before["H12.02"] != after["H12.02"]


def test_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 2"):
        read(SNAPSHOT.content().replace(b'"version":1', b'"version":2'))
