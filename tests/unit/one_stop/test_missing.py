"""Ranges of missing ids."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.one_stop.missing import MAX_RANGES, IdRange, gaps, kept, without

IDS = st.lists(st.integers(1, 200), unique=True).map(sorted)


def members(ranges: list[IdRange]) -> set[int]:
    return {n for span in ranges for n in range(span.first, span.last + 1)}


@given(ids=IDS)
def test_gaps_and_ids_make_up_everything(ids: list[int]) -> None:
    found = gaps(0, ids, 5.0)
    assert members(found) | set(ids) == set(range(1, (ids[-1] if ids else 0) + 1))
    assert not members(found) & set(ids)


@given(ids=IDS, appeared=IDS)
def test_what_appeared_is_taken_out_and_nothing_else(ids: list[int], appeared: list[int]) -> None:
    ranges = gaps(0, ids, 5.0)
    assert members(without(ranges, appeared)) == members(ranges) - set(appeared)


def test_ranges_age_out() -> None:
    assert kept([IdRange(1, 9, 100.0), IdRange(20, 29, 150.0)], 160.0, 30.0) == [
        IdRange(20, 29, 150.0)
    ]


@given(starts=st.sets(st.integers(0, 5000), min_size=MAX_RANGES + 1, max_size=3 * MAX_RANGES))
def test_a_cursor_stays_small_and_forgets_no_id(starts: set[int]) -> None:
    ranges = [IdRange(3 * n, 3 * n + 1, float(n)) for n in starts]
    joined = kept(ranges, 5000.0, 1e9)
    assert len(joined) == MAX_RANGES
    assert members(ranges) <= members(joined)
