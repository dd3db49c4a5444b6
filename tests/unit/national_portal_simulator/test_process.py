"""The simulator as a process: it says its ports, ends on SIGTERM, and keeps what it answered."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from connectors.national_portal.simulator import PortalSimulator
from connectors.national_portal.simulator.contract import load_contract
from connectors.national_portal.simulator.wire import Wire
from tests.unit.national_portal_simulator.soap_calls import Caller, dossier, step


@asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, Any]]:
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "connectors.national_portal.simulator",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert started.stdout is not None
        line = await asyncio.wait_for(started.stdout.readline(), 60)
        yield started, json.loads(line)
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


@asynccontextmanager
async def caller_of(ready: dict[str, Any]) -> AsyncIterator[Caller]:
    remote = SimpleNamespace(
        url=ready["url"], control_url=ready["control_url"], wire=Wire(load_contract("adapter"))
    )
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        caller = Caller(cast(PortalSimulator, remote), http)
        await caller.log_in()
        yield caller


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_what_was_answered_survives(tmp_path: Path, end: signal.Signals) -> None:
    database = str(tmp_path / "truth.sqlite")
    async with process("--db", database) as (first, ready), caller_of(ready) as caller:
        answers = await asyncio.gather(*(caller.create(dossier(f"D-{n:02}")) for n in range(30)))
        assert {each.code for each in answers} == {"0"}
        await caller.append(step("D-00"))
        before = await caller.control("GET", "/_truth/dossiers")
        first.send_signal(end)
        status = await asyncio.wait_for(first.wait(), 30)
        assert status == (0 if end is signal.SIGTERM else -signal.SIGKILL)
    async with process("--db", database) as (_, ready), caller_of(ready) as caller:
        assert await caller.control("GET", "/_truth/dossiers") == before
        assert (await caller.append(step("D-00"))).code == "0"
        held = await caller.held("D-00")
        assert held is not None
        assert [each["effect"] for each in held["steps"]] == [31, 32]
        assert (await caller.summary())["calls"]["login"] == 2


async def test_options(tmp_path: Path) -> None:
    catalogue = tmp_path / "catalogue.json"
    catalogue.write_text('{"agencies": [{"code": "X", "name": "Y"}]}')
    options = ["--db", str(tmp_path / "truth.sqlite"), "--catalogue", str(catalogue)]
    options += ["--profile", "steps", "--password", "other"]
    async with process(*options) as (started, ready), caller_of(ready) as caller:
        assert ready["pid"] == started.pid
        assert caller.session == ""
        await caller.log_in(password="other")
        assert (await caller.catalogue("LayDanhMucCoQuan")).items == [
            {"MADONVI": "X", "TENDONVI": "Y"}
        ]
        assert (await caller.control("GET", "/_control/profile"))["lookup"] == "steps"


async def test_a_contract_that_is_not_there(tmp_path: Path) -> None:
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "connectors.national_portal.simulator"),
        *("--db", str(tmp_path / "truth.sqlite"), "--wsdl", str(tmp_path / "other.toml")),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(started.communicate(), 60)
    assert started.returncode == 2
    assert b"other.toml: No such file" in said
    assert b"Traceback" not in said


async def test_a_hanging_call_does_not_hold_up_the_end(tmp_path: Path) -> None:
    arguments = ("--db", str(tmp_path / "truth.sqlite"))
    async with process(*arguments) as (started, ready), caller_of(ready) as caller:
        await caller.fault(trouble="no_answer")
        hanging = asyncio.create_task(caller.create(dossier()))
        async with asyncio.timeout(10):
            while not (await caller.summary())["troubles"]:
                await asyncio.sleep(0.02)
        started.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(started.wait(), 30) == 0
        with pytest.raises(aiohttp.ClientConnectionError):
            await hanging
