"""The highest rate of events at which the backlog does not grow: `python -m tests.bench.peak`.

Everything runs on this machine at once: Kafka, PostgreSQL, the one-stop simulator writing its database,
the hub, and the portal simulator with XSD validation and a truth that it keeps on disk. An event is one
commit of the one-stop system: an action of an officer, which owes a state and a step (both are calls), or
a change without one (one of seven), which owes a state.

The backlog is judged from outside: actions committed at the one-stop system less steps that the portal
holds. A rate is carried when it was really written (`LEAST_WRITTEN`), when after the warm-up the backlog's
slope is at most `GROWTH` of it, and when the day ends clean: verdict, dead letters, ends of workers. Rates
are tried upwards until one is not carried. The status is 0 when `EXPECTED` or more is carried.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import linear_regression
from typing import Any, NamedTuple

import psutil

from connectors.one_stop.simulator.warts import Warts
from tests.bench.machine import facts
from tests.torture.installation import Installation, Load
from tests.torture.load import written_so_far
from tests.torture.scenario import of_the_hub, wrong
from tests.torture.standing import Standing

RATES = (30, 60, 90, 120, 160, 200, 240)
GROWTH = 0.02
LEAST_WRITTEN = 0.95
"""So much of the rate must the one-stop simulator have written in the measured time."""
EXPECTED = 60.0
"""Events a second: twice the peak of the largest city."""
WARM_UP_SECONDS = 30.0
_SAMPLE_SECONDS = 2.0

# As in production, but for the pauses between two looks at the source.
_SETTINGS = {
    "KAFKA__SESSION_TIMEOUT_SECONDS": "6",
    "NATIONAL_PORTAL__CONNECT_TIMEOUT_SECONDS": "5",
    "NATIONAL_PORTAL__READ_TIMEOUT_SECONDS": "10",
    "NATIONAL_PORTAL__TOTAL_TIMEOUT_SECONDS": "10",
    "NATIONAL_PORTAL__ABILITIES__LOOKUP_LAG_SECONDS": "5",
    "NATIONAL_PORTAL__ABILITIES__LATE_EFFECT_BOUND_SECONDS": "60",
    "ENGINE__SEND_BY_SECONDS": "2",
    "ENGINE__POLL_SECONDS": "1",
    "ONE_STOP__ACTIONS_POLL_SECONDS": "1",
    "ONE_STOP__CHANGES_POLL_SECONDS": "5",
    "ONE_STOP__SWEEP_INTERVAL_SECONDS": "86400",
}

_WORKERS = {"w1": ("deliver",), "w2": ("capture", "intake")}
"""Two processes: what speaks to the portal beside what reads the source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One rate, held for `seconds`. Rates in events a second, CPU in seconds of one core per second."""

    rate: float
    seconds: float
    written_per_s: float
    delivered_per_s: float  # steps
    backlog_first: int
    backlog_last: int
    backlog_slope: float  # events a second
    drain_s: float
    clean: bool
    calls: int
    cpu: Mapping[str, float]
    resident_mb: Mapping[str, float]

    @property
    def carried(self) -> bool:
        return (
            self.clean
            and self.written_per_s >= LEAST_WRITTEN * self.rate
            and self.backlog_slope <= GROWTH * self.rate
        )


class _Sample(NamedTuple):
    """One look from outside: seconds, commits and actions of the one-stop system, steps at the portal."""

    at: float
    written: int
    actions: int
    held: int

    @property
    def backlog(self) -> int:
        return self.actions - self.held


async def measure(standing: Standing, rate: float, seconds: float, folder: Path) -> Run:
    """Play one rate."""
    lasting = WARM_UP_SECONDS + seconds
    load = Load(
        events=round(rate * lasting),
        rate=rate,
        warts={wart.name: 0 for wart in fields(Warts)},
    )
    async with Installation(
        standing, folder, workers=len(_WORKERS), load=load, latency_ms=0, settings=_SETTINGS
    ) as hub:
        for name, parts in _WORKERS.items():
            hub.workers[name].parts = parts
        await hub.begin()
        await asyncio.sleep(WARM_UP_SECONDS)
        began, processes = time.monotonic(), _processes(hub)
        used = {name: _cpu(found) for name, found in processes.items()}
        reached = dict(used)
        samples: list[_Sample] = []
        while hub.writing and time.monotonic() - began < seconds:
            written, actions = await asyncio.to_thread(written_so_far, hub.journal_path)
            held = (await hub.portal.summary())["steps"]
            samples.append(_Sample(time.monotonic() - began, written, actions, held))
            # Looked at each time: one that has ended, as the writer does, tells nothing afterwards.
            reached = {name: max(reached[name], _cpu(found)) for name, found in processes.items()}
            await asyncio.sleep(_SAMPLE_SECONDS)
        lasted = time.monotonic() - began
        cpu = {name: (reached[name] - used[name]) / lasted for name in processes}
        resident = {name: _resident(found) for name, found in processes.items()}
        while hub.writing:
            await asyncio.sleep(0.2)
        ended = time.monotonic()
        await hub.rest(600)
        drained = time.monotonic() - ended
        verdict = await hub.verdict()
        findings = [*wrong(verdict), *await of_the_hub(hub)]
        calls = sum((await hub.portal.summary())["calls"].values())
    for finding in findings:
        sys.stderr.write(f"{rate:g}/s: {finding}\n")
    first, last = samples[0], samples[-1]
    span = last.at - first.at
    slope, _ = linear_regression([one.at for one in samples], [one.backlog for one in samples])
    return Run(
        rate=rate,
        seconds=round(lasted, 1),
        written_per_s=round((last.written - first.written) / span, 1),
        delivered_per_s=round((last.held - first.held) / span, 1),
        backlog_first=first.backlog,
        backlog_last=last.backlog,
        backlog_slope=round(slope, 2),
        drain_s=round(drained, 1),
        clean=not findings,
        calls=calls,
        cpu={name: round(share, 2) for name, share in cpu.items()},
        resident_mb={name: round(megabytes) for name, megabytes in resident.items()},
    )


def _processes(hub: Installation) -> dict[str, list[psutil.Process]]:
    """Every process of the installation by what it is. PostgreSQL's connections are processes too."""
    found: dict[str, list[psutil.Process]] = {}
    known = {worker.pid: f"hub {'+'.join(worker.parts)}" for worker in hub.workers.values()}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            words = " ".join(process.cmdline())
            name = known.get(process.pid)
            if name is None and "kafka.Kafka" in words:
                name = "kafka"
            elif name is None and "postgres" in process.name():
                name = "postgresql"
            elif name is None and "national_portal.simulator" in words:
                name = "portal simulator"
            elif name is None and "one_stop.simulator" in words:
                name = "one-stop simulator"
            if name is not None:
                found.setdefault(name, []).append(process)
    return found


def _cpu(processes: Sequence[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def _resident(processes: Sequence[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss / 1_000_000
    return total


async def run(rates: Sequence[float], seconds: float, *, as_json: bool) -> int:
    """Try the rates upwards. The exit status is 0 when the expected one was carried, or all that were tried."""
    best: Run | None = None
    _tell({"machine": facts(), "seconds": seconds, "rates": list(rates)}, as_json=as_json)
    with Standing() as standing:
        for rate in rates:
            with tempfile.TemporaryDirectory(prefix="hub-peak-") as folder:
                one = await measure(standing, rate, seconds, Path(folder))
            _tell({**asdict(one), "carried": one.carried}, as_json=as_json)
            if not one.carried:
                break
            best = one
    _tell({"highest_rate_carried": best.rate if best else None}, as_json=as_json)
    return 0 if best is not None and best.rate >= min(EXPECTED, max(rates)) else 1


def _tell(line: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(line), flush=True)
        return
    print("  ".join(f"{name} {value}" for name, value in line.items()), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peak", description=__doc__)
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES), metavar="RATE")
    parser.add_argument("--seconds", type=float, default=300.0, help="per rate, after the warm-up")
    parser.add_argument("--json", action="store_true", help="one object per line")
    options = parser.parse_args()
    return asyncio.run(run(options.rates, options.seconds, as_json=options.json))


if __name__ == "__main__":
    sys.exit(main())
