"""The circuit: opens on trouble, holds calls back, probes, and closes; nothing leaves it shut for good."""

from __future__ import annotations

import asyncio

import pytest

from connectors.errors import (
    DeliveryError,
    MisconfiguredError,
    OutcomeUnknown,
    TransientError,
)
from schemas.reasons import Reason
from streams.engine.circuit import Circuit, CircuitOptions
from tests.simulation.virtual_loop import VirtualLoop

REFUSED = TransientError(Reason.CONNECTION_REFUSED)


class Target:
    """A target whose probes end as told, in order; then they succeed."""

    def __init__(self, *ends: Exception) -> None:
        self.ends = list(ends)
        self.probed_at: list[float] = []
        self.changes: list[tuple[bool, Reason | None]] = []
        self.loop = VirtualLoop()

    async def probe(self) -> None:
        self.probed_at.append(self.loop.time())
        if self.ends:
            raise self.ends.pop(0)

    def circuit(self) -> Circuit:
        options = CircuitOptions(failures_in_a_row=3, window=10, probe_seconds=15.0, probe_max=60.0)
        return Circuit(options, self.probe, lambda *change: self.changes.append(change))


def closes(target: Target, *errors: DeliveryError) -> float:
    """Fail as told, then the virtual second at which calls may go out again."""

    async def play() -> float:
        circuit = target.circuit()
        running = asyncio.get_running_loop().create_task(circuit.run())
        for error in errors:
            circuit.failed(error)
        await circuit.passage()
        running.cancel()
        return target.loop.time()

    try:
        return float(target.loop.run(play(), until=10_000.0))
    finally:
        target.loop.bury()


def test_a_few_failures_do_not_open_it() -> None:
    target = Target()

    assert closes(target, REFUSED, REFUSED) == 0.0
    assert target.changes == []


def test_failures_in_a_row_open_it_until_a_good_probe() -> None:
    target = Target()

    assert closes(target, REFUSED, REFUSED, REFUSED) == 15.0
    assert target.changes == [(True, Reason.CONNECTION_REFUSED), (False, None)]


def test_an_answer_in_between_starts_the_count_again() -> None:
    target = Target()

    async def play() -> bool:
        circuit = target.circuit()
        for _ in range(4):
            circuit.failed(REFUSED)
            circuit.answered()
        return circuit.is_open

    assert target.loop.run(play(), until=1.0) is False


def test_half_of_the_last_calls_open_it() -> None:
    target = Target()

    async def play() -> bool:
        circuit = target.circuit()
        for _ in range(5):
            circuit.answered()
            circuit.failed(REFUSED)
        return circuit.is_open

    assert target.loop.run(play(), until=1.0) is True


@pytest.mark.parametrize(
    "error",
    [
        MisconfiguredError(Reason.WRONG_CREDENTIALS),
        TransientError(Reason.RATE_LIMITED, retry_after=40.0),
    ],
)
def test_a_wrong_set_up_and_a_retry_after_open_it_at_once(error: DeliveryError) -> None:
    target = Target()
    expected = 40.0 if error.reason is Reason.RATE_LIMITED else 15.0

    assert closes(target, error) == expected


@pytest.mark.parametrize(
    "trouble", [REFUSED, OutcomeUnknown(Reason.TIMEOUT), ValueError("nobody foresaw this")]
)
def test_probes_back_off_and_go_on_whatever_they_raise(trouble: Exception) -> None:
    target = Target(trouble, trouble)

    closes(target, REFUSED, REFUSED, REFUSED)

    assert target.probed_at == [15.0, 45.0, 105.0]
