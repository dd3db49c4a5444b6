"""The hub's memory does not grow with the number of events: the backlog lies in the ledger."""

from __future__ import annotations

from tests.e2e.conftest import TIMES
from tests.e2e.played import Commanded, PlayedDay

MOST_MB = 250
GROWTH = 1.2
"""A day of five times the events may need this much of the small day's memory, caches and all."""


def test_memory_is_bounded_and_flat(played: PlayedDay, commanded: Commanded) -> None:
    small, large = played.figures, commanded.figures
    assert large["events"] > 0.8 * TIMES * small["events"], "the larger day must be larger"
    assert 50 < small["rss_max_mb"] < MOST_MB
    assert large["rss_max_mb"] < MOST_MB
    assert large["rss_max_mb"] < GROWTH * small["rss_max_mb"]
