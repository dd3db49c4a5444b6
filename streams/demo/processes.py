"""The processes around a hub under observation: the simulators, the portal's control, the environment."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from connectors.one_stop.simulator.journal import Journal
from streams.demo.verdict import Expectation
from streams.settings import PREFIX


class DemoFailed(RuntimeError):
    """A part of the demo ended too soon; the text says which, and what it said last."""


class PortalControl:
    """The portal simulator's control API and its truth. `url` is the base of /_control and /_truth."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self.url = url

    async def post(self, path: str, body: object) -> Any:
        """Raises `DemoFailed` with what the portal says when it refuses."""
        async with self._http.post(self.url + path, json=body) as answer:
            if answer.status != 200:
                raise DemoFailed(f"{path}: {await answer.text()}")
            return await answer.json()

    async def get(self, path: str) -> Any:
        async with self._http.get(self.url + path) as answer:
            return await answer.json()

    async def delete(self, path: str) -> None:
        async with self._http.delete(self.url + path) as answer:
            await answer.read()

    async def pages(self, path: str, key: str) -> list[dict[str, Any]]:
        """All of a paged answer."""
        found: list[dict[str, Any]] = []
        after: object = ""
        while after is not None:
            mark = "&" if "?" in path else "?"
            page = await self.get(f"{path}{mark}limit=1000" + (f"&after={after}" if after else ""))
            found += page[key]
            after = page["next"]
        return found

    async def held(self) -> dict[str, dict[str, Any]]:
        """Every dossier of the portal, by code, with its versions and steps."""
        pages = await self.pages("/_truth/dossiers?fields=0", "dossiers")
        return {one["code"]: one for one in pages}

    async def calls(self) -> list[dict[str, Any]]:
        """Every call that came in, in order of arrival."""
        return await self.pages("/_truth/calls", "calls")

    async def summary(self) -> dict[str, Any]:
        """Counts of everything it holds."""
        counts: dict[str, Any] = await self.get("/_truth/summary")
        return counts

    async def bear(self, journal: Journal) -> None:
        """The portal holds the dossiers born there before the one-stop system knows them."""
        born = [
            {
                "MaHoSo": one.code,
                "MaTTHC": one.procedure,
                "TrangThaiHoSo": one.status,
                "NgayNopHoSo": one.submitted,
            }
            for one in journal.portal_born()
        ]
        await self.post("/_control/dossiers", born)


def expectation(journal: Journal) -> Expectation:
    """What the journal says of the day so far."""
    return Expectation(
        entries=journal.entries(),
        states=journal.states(),
        steps=journal.steps(),
        parked=journal.parked(),
    )


async def start_simulator(
    module: str, *arguments: str, log: Path
) -> tuple[asyncio.subprocess.Process, Mapping[str, Any]]:
    """Start a simulator; returns it with the line that it prints when it is ready. Raises `DemoFailed`."""
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=out,
        )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        if not line:
            raise DemoFailed(f"{module} did not start: {last_line(log)}")
    except BaseException:
        await end(process)
        raise
    return process, json.loads(line)


def portal_settings(url: str) -> dict[str, str]:
    """Who the hub is towards the portal simulator, without the prefix."""
    return {
        "NATIONAL_PORTAL__ADDRESS": url,
        "NATIONAL_PORTAL__USERNAME": "thongsuot",
        "NATIONAL_PORTAL__PASSWORD": "thongsuot",
        "NATIONAL_PORTAL__AGENCY_CODE": "H12",
        "NATIONAL_PORTAL__CLIENT__INSTANCE": "VN",
        "NATIONAL_PORTAL__CLIENT__MEMBER_CLASS": "GOV",
        "NATIONAL_PORTAL__CLIENT__MEMBER_CODE": "000.00.00.H12",
        "NATIONAL_PORTAL__SERVICE__INSTANCE": "VN",
        "NATIONAL_PORTAL__SERVICE__MEMBER_CLASS": "GOV",
        "NATIONAL_PORTAL__SERVICE__MEMBER_CODE": "000.00.00.G22",
        "NATIONAL_PORTAL__SERVICE__SUBSYSTEM_CODE": "vpcpdvcprovider",
    }


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Our environment with these settings of the hub, and no others."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
    return inherited | {PREFIX + key: value for key, value in settings.items()}


async def end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and SIGKILL for one that does not listen within ten seconds."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), 10)
    except TimeoutError:
        process.kill()
        await process.wait()


def last_line(log: Path) -> str:
    """What a process said last; its log may be gone when somebody reads the message."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), f"{log} is empty")


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
