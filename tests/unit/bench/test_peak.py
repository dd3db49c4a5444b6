"""When a rate counts as carried."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.bench.peak import Run

CARRIED = Run(
    rate=60.0,
    seconds=300.0,
    written_per_s=59.6,
    delivered_per_s=51.2,
    backlog_first=40,
    backlog_last=60,
    backlog_slope=0.3,
    drain_s=4.0,
    clean=True,
    calls=30_000,
    cpu={},
    resident_mb={},
)


def test_a_rate_that_was_written_and_leaves_no_backlog_is_carried() -> None:
    assert CARRIED.carried


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(replace(CARRIED, backlog_slope=1.3), id="the backlog grows"),
        pytest.param(replace(CARRIED, clean=False), id="something is wrong at the portal"),
        pytest.param(replace(CARRIED, written_per_s=50.0), id="it was never offered"),
    ],
)
def test_it_is_not_carried_when(run: Run) -> None:
    assert not run.carried
