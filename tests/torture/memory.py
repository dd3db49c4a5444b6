"""What a worker's process takes of the machine, and whether that grows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import psutil

_MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look at a process; `at` in seconds on a clock that only goes forward."""

    at: float
    resident_mib: float
    handles: float  # all file descriptors
    sockets: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A straight line through samples: the mean level, and its growth a minute as a share of it."""

    level: float
    growth: float


def look(pid: int) -> Sample | None:
    """None when the process is gone."""
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        process = psutil.Process(pid)
        with process.oneshot():
            return Sample(
                at=time.monotonic(),
                resident_mib=process.memory_info().rss / _MIB,
                handles=process.num_fds(),
                sockets=len(process.net_connections(kind="inet")),
            )
    return None


def peak_mib(pid: int) -> float:
    """The most resident memory that the process ever had. Linux only; raises `OSError` when it is gone."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/{pid}/status has no VmHWM")


async def watch(pid: Callable[[], int | None], every: float, into: list[Sample]) -> None:
    """Look again and again until cancelled, at whatever process `pid` names then."""
    while True:
        known = pid()
        found = await asyncio.to_thread(look, known) if known is not None else None
        if found is not None:
            into.append(found)
        await asyncio.sleep(every)


def trend(points: Sequence[tuple[float, float]]) -> Trend:
    """Least squares through (seconds, value). Raises `ValueError` for fewer than three points."""
    if len(points) < 3:
        raise ValueError(f"{len(points)} points are too few for a trend")
    middle, level = mean(at for at, _ in points), mean(value for _, value in points)
    spread = sum((at - middle) ** 2 for at, _ in points)
    slope = sum((at - middle) * (value - level) for at, value in points) / spread
    return Trend(level=level, growth=60 * slope / level if level else 0.0)


def trends(samples: Sequence[Sample]) -> Mapping[str, Trend]:
    """Of memory, handles and sockets."""
    return {
        name: trend([(one.at, float(getattr(one, name))) for one in samples])
        for name in ("resident_mib", "handles", "sockets")
    }
