"""The simulated portal of a run: one process, the same for all contenders, and its truth."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp


class Truth(Protocol):
    """What a portal says that happened."""

    async def summary(self) -> Mapping[str, Any]: ...

    async def dossiers(self) -> Sequence[Mapping[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class Portal:
    """Where it is called, and where it is asked what it holds."""

    pid: int
    address: str
    control: str

    async def summary(self) -> Mapping[str, Any]:
        """Counts of everything that happened there."""
        async with aiohttp.ClientSession() as http:
            found: Mapping[str, Any] = await _get(http, f"{self.control}/_truth/summary")
            return found

    async def dossiers(self) -> Sequence[Mapping[str, Any]]:
        """Everything it holds, by code."""
        held: list[Mapping[str, Any]] = []
        after: str | None = ""
        async with aiohttp.ClientSession() as http:
            while after is not None:
                page = await _get(
                    http, f"{self.control}/_truth/dossiers", after=after, limit="1000"
                )
                held += page["dossiers"]
                after = page["next"]
        return held


@asynccontextmanager
async def portal(folder: Path) -> AsyncIterator[Portal]:
    """A simulated portal without latency, whose truth lies in `folder`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "connectors.national_portal.simulator"),
        *("--db", str(folder / "portal.db"), "--session-seconds", "86400"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
        yield Portal(ready["pid"], ready["url"], ready["control_url"])
    finally:
        process.terminate()
        await process.wait()


async def _get(http: aiohttp.ClientSession, address: str, **query: str) -> Any:
    async with http.get(address, params=query) as answer:
        answer.raise_for_status()
        return await answer.json()
