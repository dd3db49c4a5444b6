"""The supervisor: a crashed part ends the process, a stop is bounded."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import pytest

from streams.supervisor import PartCrashed, supervise


class Died(BaseException):
    pass


def die(why: str) -> NoReturn:
    raise Died(why)


class Steady:
    """Runs until stopped."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.ended = False

    async def run(self) -> None:
        await self.asked.wait()
        self.ended = True

    def stop(self) -> None:
        self.asked.set()


class Crashing(Steady):
    async def run(self) -> None:
        await asyncio.sleep(0)
        raise KeyError("of a dossier")


class Leaving(Steady):
    async def run(self) -> None:
        await asyncio.sleep(0)


class Deaf(Steady):
    def stop(self) -> None:
        pass


class CrashingAtTheEnd(Steady):
    async def run(self) -> None:
        await self.asked.wait()
        raise RuntimeError


async def test_all_parts_end_in_order_when_asked() -> None:
    stop, parts = asyncio.Event(), [Steady(), Steady()]
    stop.set()
    await supervise([("a", parts[0]), ("b", parts[1])], stop=stop, grace=5, die=die)
    assert all(part.ended for part in parts)


@pytest.mark.parametrize(
    ("part", "why"),
    [(Crashing, "part bad ended: KeyError"), (Leaving, "part bad ended: no reason")],
)
async def test_a_part_that_ends_unasked_ends_them_all(part: type[Steady], why: str) -> None:
    good = Steady()
    with pytest.raises(PartCrashed, match=why):
        await supervise([("good", good), ("bad", part())], stop=asyncio.Event(), grace=5, die=die)
    assert good.ended, "the others are stopped in order first"


async def test_a_crash_while_stopping_is_told() -> None:
    stop = asyncio.Event()
    stop.set()
    with pytest.raises(PartCrashed, match="RuntimeError"):
        await supervise([("a", CrashingAtTheEnd())], stop=stop, grace=5, die=die)


async def test_a_part_that_does_not_stop_ends_with_the_process() -> None:
    stop = asyncio.Event()
    stop.set()
    with pytest.raises(Died, match="deaf"):
        await supervise([("deaf", Deaf()), ("a", Steady())], stop=stop, grace=0.05, die=die)


class Settling(Steady):
    """Ends only some time after it was asked to; notes whether the other one still ran."""

    def __init__(self, other: Steady) -> None:
        super().__init__()
        self.other = other
        self.other_ran: bool | None = None

    async def run(self) -> None:
        await self.asked.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        self.other_ran = not self.other.asked.is_set()


async def test_what_is_stopped_last_runs_on_until_the_others_have_ended() -> None:
    stop = asyncio.Event()
    stop.set()
    ledger = Steady()
    engine = Settling(ledger)
    await supervise(
        [("ledger", ledger), ("engine", engine)], stop=stop, grace=5, die=die, last={"ledger"}
    )
    assert engine.other_ran
    assert ledger.ended


async def test_what_is_stopped_last_does_not_wait_for_ever() -> None:
    stop = asyncio.Event()
    stop.set()
    ledger = Steady()
    with pytest.raises(Died, match="deaf"):
        await supervise(
            [("ledger", ledger), ("deaf", Deaf())], stop=stop, grace=0.1, die=die, last={"ledger"}
        )
    assert ledger.ended, "it came to its end within the bound all the same"
