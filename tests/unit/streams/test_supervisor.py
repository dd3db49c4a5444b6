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
