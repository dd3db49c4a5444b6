"""The denominator of the rate of synchronisation: the larger count, and what stands in for both."""

from __future__ import annotations

from fractions import Fraction

import pytest

from monitoring.rates.sync import Basis, Flag, Months, SyncBase, sync_base


@pytest.mark.parametrize(
    ("portal", "report", "wanted"),
    [
        (100, 99, SyncBase(100, Basis.PORTAL, Flag.TEMPORARY)),
        (100, 100, SyncBase(100, Basis.PORTAL, Flag.TEMPORARY)),
        (100, 101, SyncBase(101, Basis.REPORT, Flag.TEMPORARY)),
        (0, 5, SyncBase(5, Basis.REPORT, Flag.TEMPORARY)),
        (None, 5, SyncBase(5, Basis.REPORT, Flag.TEMPORARY)),
        (5, 0, SyncBase(5, Basis.PORTAL, Flag.TEMPORARY)),
        (5, None, SyncBase(5, Basis.PORTAL, Flag.TEMPORARY)),
    ],
    ids=str,
)
def test_the_larger_count_is_the_denominator(
    portal: int | None, report: int | None, wanted: SyncBase
) -> None:
    assert sync_base(portal, report, 1200, 1) == wanted


@pytest.mark.parametrize("counts", [(None, None), (0, 0), (0, None), (None, 0)], ids=str)
@pytest.mark.parametrize(
    ("months", "wanted"), [(1, Fraction(1001, 12)), (3, Fraction(1001, 4)), (12, Fraction(1001))]
)
def test_without_both_a_part_of_last_years_report_stands_in(
    counts: tuple[int | None, int | None], months: Months, wanted: Fraction
) -> None:
    assert sync_base(*counts, 1001, months) == SyncBase(wanted, Basis.LAST_YEAR, Flag.TEMPORARY)


@pytest.mark.parametrize("last_year", [None, 0])
def test_without_all_three_nothing_is_known(last_year: int | None) -> None:
    assert sync_base(0, None, last_year, 1) == SyncBase(None, Basis.NOTHING, Flag.NO_DATA)
