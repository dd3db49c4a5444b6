"""Keeps the parts of one process together: they run side by side, and when one crashes all end.

Whoever supervises the process (systemd, a container runtime) starts it again; the ledger knows where to
go on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NoReturn, Protocol


class Part(Protocol):
    """`run` returns after `stop`, and raises when the part cannot go on in this process."""

    async def run(self) -> None: ...

    def stop(self) -> None: ...


class PartCrashed(Exception):
    """A part ended although nobody asked it to. `__cause__` says why, where there was an exception."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"part {name} ended: {why}")
        self.name = name


async def supervise(
    parts: Sequence[tuple[str, Part]],
    *,
    stop: asyncio.Event,
    grace: float,
    die: Callable[[str], NoReturn],
    last: Collection[str] = (),
) -> None:
    """Run all parts until `stop` is set. Raises `PartCrashed`, after the others were stopped.

    Those named in `last` are stopped when the others have ended, or half of `grace` is over. Stopping is
    bounded: what has not come to its end after `grace` seconds ends with the process (`die`).
    """
    tasks = {asyncio.create_task(part.run(), name=name): part for name, part in parts}
    stopping = asyncio.create_task(stop.wait())
    crashed: PartCrashed | None = None
    try:
        await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        crashed = None if stop.is_set() else _crash(tasks)
        late = await _stop_all(tasks, grace, last)
        if late:
            names = ", ".join(sorted(task.get_name() for task in late))
            die(f"did not stop within {grace:.0f} s: {names}")
        crashed = crashed or _crash(task for task in tasks if _failed(task))
    finally:
        for task in (stopping, *tasks):
            task.cancel()
        await asyncio.gather(stopping, *tasks, return_exceptions=True)
    if crashed is not None:
        raise crashed


async def _stop_all(
    tasks: Mapping[asyncio.Task[None], Part], grace: float, last: Collection[str]
) -> set[asyncio.Task[None]]:
    """Those that have not ended after `grace` seconds."""
    end = time.monotonic() + grace
    first = [task for task in tasks if task.get_name() not in last]
    for task in first:
        tasks[task].stop()
    if first:
        await asyncio.wait(first, timeout=grace / 2)
    for task in tasks:
        if task.get_name() in last:
            tasks[task].stop()
    _, late = await asyncio.wait(tasks, timeout=end - time.monotonic())
    return late


def _crash(tasks: Iterable[asyncio.Task[None]]) -> PartCrashed | None:
    for task in tasks:
        if task.done():
            error = task.exception() if not task.cancelled() else None
            crashed = PartCrashed(task.get_name(), type(error).__name__ if error else "no reason")
            crashed.__cause__ = error
            return crashed
    return None


def _failed(task: asyncio.Task[None]) -> bool:
    return task.cancelled() or task.exception() is not None
