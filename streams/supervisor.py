"""Keeps the parts of one process together: they run side by side, and when one crashes all end.

Whoever supervises the process (systemd, a container runtime) starts it again; the ledger knows where to
go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
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
) -> None:
    """Run all parts until `stop` is set. Raises `PartCrashed`, after the others were stopped.

    Stopping is bounded: what has not come to its end after `grace` seconds ends with the process (`die`).
    """
    tasks = {asyncio.create_task(part.run(), name=name): part for name, part in parts}
    stopping = asyncio.create_task(stop.wait())
    crashed: PartCrashed | None = None
    try:
        await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        crashed = None if stop.is_set() else _crash(tasks)
        for part in tasks.values():
            part.stop()
        _, late = await asyncio.wait(tasks, timeout=grace)
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
