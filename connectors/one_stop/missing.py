"""Ids that were left out: they may belong to a transaction that has not yet committed.

OpenCPS hands ids out in blocks of 100 per server, so a smaller id may commit hours after a larger one.
Kept as ranges, so that a cursor stays small however many ids are out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

MAX_RANGES = 100
"""More ranges than this are joined, nearest first: ids that are there are then asked for again, in vain."""


@dataclass(frozen=True, slots=True)
class IdRange:
    """The ids `first` to `last`, both included, found missing at `since` (epoch seconds, database)."""

    first: int
    last: int
    since: float


def gaps(high: int, ids: Sequence[int], since: float) -> list[IdRange]:
    """The ranges between `high` and the ascending `ids` that are not in `ids`."""
    return [
        IdRange(before + 1, after - 1, since)
        for before, after in pairwise([high, *ids])
        if after - before > 1
    ]


def without(ranges: Iterable[IdRange], ids: Iterable[int]) -> list[IdRange]:
    """The ranges with `ids` taken out."""
    found = sorted(set(ids))
    left: list[IdRange] = []
    for span in ranges:
        first = span.first
        for number in found:
            if first <= number <= span.last:
                if number > first:
                    left.append(IdRange(first, number - 1, span.since))
                first = number + 1
        if first <= span.last:
            left.append(IdRange(first, span.last, span.since))
    return left


def kept(ranges: Iterable[IdRange], now: float, max_age_seconds: float) -> list[IdRange]:
    """The ranges that are still asked for, ascending, at most `MAX_RANGES`."""
    young = sorted(
        (span for span in ranges if now - span.since < max_age_seconds), key=lambda s: s.first
    )
    while len(young) > MAX_RANGES:
        nearest = min(range(len(young) - 1), key=lambda i: young[i + 1].first - young[i].last)
        left, right = young[nearest], young[nearest + 1]
        young[nearest : nearest + 2] = [
            IdRange(left.first, right.last, max(left.since, right.since))
        ]
    return young
