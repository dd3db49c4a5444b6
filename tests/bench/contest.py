"""Rounds of all contenders in turn, and what the portal says that they did."""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from schemas.topics import TOPICS
from streams.embedded_broker import EmbeddedBroker
from tests.bench.contenders import (
    BenchFailed,
    Contender,
    EngineContender,
    HubContender,
    LoopContender,
)
from tests.bench.load import PARTITIONS, environment
from tests.bench.machine import cpu_seconds, resident_mb

RATIOS = (("hub", "zeep"), ("hub", "lxml"), ("engine", "zeep"), ("hub", "engine"))


@dataclass(frozen=True, slots=True)
class Measured:
    """One contender in one round. `cpu_s` of its own process, `portal_cpu_s` of the portal's."""

    calls: int
    began_at: float  # Unix time
    cpu_s: float
    portal_cpu_s: float
    resident_mb: float


@dataclass(frozen=True, slots=True)
class Row:
    """A contender's rounds; the first one warms up and is not among them."""

    name: str
    prefix: str
    rounds: list[Measured] = field(default_factory=list)


class Portal:
    """The simulated portal's process: the same for all."""

    def __init__(self, pid: int, address: str, control: str) -> None:
        self.pid = pid
        self.address = address
        self._control = control

    async def summary(self) -> Mapping[str, Any]:
        async with aiohttp.ClientSession() as http, http.get(f"{self._control}/_truth/summary") as r:
            found: Mapping[str, Any] = await r.json()
            return found

    async def dossiers(self) -> Sequence[Mapping[str, Any]]:
        """Everything it holds, by code."""
        held: list[Mapping[str, Any]] = []
        after: str | None = ""
        async with aiohttp.ClientSession() as http:
            while after is not None:
                query = {"after": after, "limit": "1000"}
                async with http.get(f"{self._control}/_truth/dossiers", params=query) as answer:
                    page = await answer.json()
                held += page["dossiers"]
                after = page["next"]
        return held


@asynccontextmanager
async def portal(folder: Path) -> AsyncIterator[Portal]:
    """A simulated portal whose truth lies in `folder`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "connectors.national_portal.simulator"),
        *("--db", str(folder / "portal.db"), "--session-seconds", "86400"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        if not line:
            raise BenchFailed("the simulated portal did not start")
        ready = json.loads(line)
        yield Portal(ready["pid"], ready["url"], ready["control_url"])
    finally:
        process.terminate()
        await process.wait()
