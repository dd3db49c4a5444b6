"""Periods: how they are written, and where they begin and end."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.rates.periods import PeriodKind, parse_period


@pytest.mark.parametrize(
    ("text", "kind", "first", "last"),
    [
        ("2026-01", PeriodKind.MONTH, date(2026, 1, 1), date(2026, 1, 31)),
        ("2024-02", PeriodKind.MONTH, date(2024, 2, 1), date(2024, 2, 29)),
        ("2026-12", PeriodKind.MONTH, date(2026, 12, 1), date(2026, 12, 31)),
        ("2026-Q1", PeriodKind.QUARTER, date(2026, 1, 1), date(2026, 3, 31)),
        ("2026-Q4", PeriodKind.QUARTER, date(2026, 10, 1), date(2026, 12, 31)),
        ("2025-H1", PeriodKind.HALF, date(2025, 1, 1), date(2025, 6, 30)),
        ("2025-H2", PeriodKind.HALF, date(2025, 7, 1), date(2025, 12, 31)),
        ("2000", PeriodKind.YEAR, date(2000, 1, 1), date(2000, 12, 31)),
        ("2099", PeriodKind.YEAR, date(2099, 1, 1), date(2099, 12, 31)),
    ],
)
def test_a_period_has_its_days(text: str, kind: PeriodKind, first: date, last: date) -> None:
    period = parse_period(text)
    assert period is not None
    assert (period.kind, period.first, period.last) == (kind, first, last)
    assert str(period) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "26", "1999", "2100", "2026-", "2026-0", "2026-00", "2026-13", "2026-8", "2026-008"),
        *("2026-Q0", "2026-Q5", "2026-Q01", "2026-q1", "2026-H0", "2026-H3", "2026-08-01"),
        *("08/2026", "2026-08 ", "2026-08\n", "２０２６", "2026-٠٨", "2026Q3", "quý 3"),
    ],
)
def test_what_is_written_otherwise_is_no_period(text: str) -> None:
    assert parse_period(text) is None


@given(st.integers(2000, 2099), st.sampled_from([("", 12), ("Q", 4), ("H", 2)]))
def test_the_periods_of_a_kind_cover_the_year_without_a_hole(
    year: int, kind: tuple[str, int]
) -> None:
    sign, count = kind
    texts = [f"{year}-{n:02d}" if not sign else f"{year}-{sign}{n}" for n in range(1, count + 1)]
    periods = [found for text in texts if (found := parse_period(text)) is not None]
    assert periods[0].first == date(year, 1, 1)
    assert periods[-1].last == date(year, 12, 31)
    for one, next_one in pairwise(periods):
        assert (next_one.first - one.last).days == 1
