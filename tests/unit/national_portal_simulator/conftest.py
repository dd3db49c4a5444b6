from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from connectors.national_portal.simulator import PortalSimulator
from tests.unit.national_portal_simulator.soap_calls import Caller


@pytest.fixture
async def portal(tmp_path: Path) -> AsyncIterator[PortalSimulator]:
    async with PortalSimulator(tmp_path / "truth.sqlite") as portal:
        yield portal


@pytest.fixture
async def caller(portal: PortalSimulator) -> AsyncIterator[Caller]:
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        caller = Caller(portal, http)
        await caller.log_in()
        yield caller
