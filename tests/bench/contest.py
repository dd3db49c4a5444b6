"""Rounds of all contenders in turn, and what the portal says that they did."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.topics import TOPICS
from streams.embedded_broker import EmbeddedBroker
from tests.bench.contenders import (
    BareContender,
    BenchFailed,
    Contender,
    EngineContender,
    HubContender,
)
from tests.bench.load import PARTITIONS, environment
from tests.bench.machine import cpu_seconds, resident_mb
from tests.bench.portal import Portal, Truth, portal

KINDS: Mapping[str, Callable[[str, Path, Mapping[str, str]], Contender]] = {
    "hub": HubContender,
    "engine": EngineContender,
    "zeep": BareContender,
    "lxml": BareContender,
}
RATIOS = (("hub", "zeep"), ("hub", "lxml"), ("engine", "zeep"), ("hub", "engine"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`calls` of one contender in all rounds together; `memory` for the portal, `disk` for the ledgers."""

    names: Sequence[str]
    calls: int
    rounds: int
    memory: Path
    disk: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One contender in one round; its dossiers are numbered from `first` on. Unix time, seconds, MB."""

    first: int
    calls: int
    began_at: float
    cpu_s: float
    portal_cpu_s: float
    resident_mb: float


Say = Callable[[str], None]


@dataclass(slots=True)
class Contest:
    """`play` it, then ask for the `result`."""

    options: Options
    say: Say
    measured: dict[str, list[Measured]] = field(default_factory=dict)
    created_at: dict[str, dict[int, float]] = field(default_factory=dict)

    async def play(self) -> None:
        """All rounds. Raises `BenchFailed` when a contender did not do exactly its calls."""
        options = self.options
        topics = {topic.name: PARTITIONS for topic in TOPICS}
        async with AsyncExitStack() as opened:
            broker = opened.enter_context(EmbeddedBroker(topics))
            target = await opened.enter_async_context(portal(options.memory))
            contenders: dict[str, Contender] = {}
            for name in options.names:
                variables = environment(name, options.disk, target.address, broker.bootstrap)
                contenders[name] = KINDS[name](name, options.disk, variables)
                opened.push_async_callback(contenders[name].stop)
                await contenders[name].start()
            size = options.calls // options.rounds
            # The first round warms up: connections, caches, and the hub's way to its partitions.
            for number in range(options.rounds + 1):
                for name, contender in contenders.items():
                    done = await _round(contender, target, number * size, size)
                    if number:
                        self.measured.setdefault(name, []).append(done)
                        self.say(f"round {number}  {name:7} {done.cpu_s / size * 1e6:6.0f} µs CPU")
            await self.look_at_truth(target, (options.rounds + 1) * size)

    async def look_at_truth(self, target: Truth, each: int) -> None:
        """Every dossier created once, by one call, with one content but for its code.

        Raises `BenchFailed`. `each` is how many dossiers a contender made.
        """
        contents = set()
        for dossier in await target.dossiers():
            name, number = dossier["code"].split("-")[1:]
            self.created_at.setdefault(name.lower(), {})[int(number)] = dossier["created_at"]
            contents.add(repr({**dossier["fields"], "MaHoSo": None}))
        summary = await target.summary()
        expected = each * len(self.options.names)
        said = {
            "dossiers of each": sorted({len(found) for found in self.created_at.values()}),
            "creations": summary["creations"],
            "write calls": sum(summary["calls"].get(k, 0) for k in ("create", "update", "steps")),
            "contents": len(contents),
        }
        wanted = {
            "dossiers of each": [each],
            "creations": expected,
            "write calls": expected,
            "contents": 1,
        }
        if said != wanted:
            raise BenchFailed(f"the portal's truth is {said}, expected {wanted}")

    # --- what came out -----------------------------------------------------------------------------

    def result(self) -> dict[str, Any]:
        """Per contender the medians of its rounds, and the ratios of CPU per delivery."""
        return {
            "calls": self.options.calls,
            "rounds": self.options.rounds,
            "contenders": {name: self._figures(name) for name in self.options.names},
            "cpu_ratios": {
                f"{one}/{other}": self._ratio(one, other)
                for one, other in RATIOS
                if one in self.measured and other in self.measured
            },
        }

    def _figures(self, name: str) -> Mapping[str, Any]:
        rounds = self.measured[name]
        median = statistics.median
        return {
            "deliveries_per_s": round(median(self._rate(name, r) for r in rounds), 1),
            "cpu_us_per_delivery": round(median(r.cpu_s / r.calls * 1e6 for r in rounds), 1),
            "cpu_us_of_each_round": [round(r.cpu_s / r.calls * 1e6, 1) for r in rounds],
            "portal_cpu_us_per_delivery": round(
                median(r.portal_cpu_s / r.calls * 1e6 for r in rounds), 1
            ),
            "rss_mb": round(max(r.resident_mb for r in rounds), 1),
        }

    def _rate(self, name: str, one: Measured) -> float:
        created = self.created_at[name]
        last = max(created[number] for number in range(one.first, one.first + one.calls))
        return one.calls / (last - one.began_at)

    def _ratio(self, one: str, other: str) -> float:
        # Round by round: what else the machine did at that time then falls out of the ratio.
        pairs = zip(self.measured[one], self.measured[other], strict=True)
        return round(statistics.median(a.cpu_s / b.cpu_s for a, b in pairs), 2)


async def _round(contender: Contender, target: Portal, first: int, calls: int) -> Measured:
    await contender.prepare(first, calls)
    cpu, portal_cpu = cpu_seconds(contender.pid), cpu_seconds(target.pid)
    began_at = time.time()
    await contender.deliver()
    return Measured(
        first=first,
        calls=calls,
        began_at=began_at,
        cpu_s=cpu_seconds(contender.pid) - cpu,
        portal_cpu_s=cpu_seconds(target.pid) - portal_cpu,
        resident_mb=resident_mb(contender.pid),
    )
