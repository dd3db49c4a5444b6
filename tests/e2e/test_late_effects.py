"""Effects that come at the portal later than its bound: found by the engine, judged by the portal's truth."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import structlog

from connectors.national_portal.dialect import load_dialect
from connectors.national_portal.simulator import PortalSimulator, Profile
from connectors.national_portal.sink import NationalPortal, boot_seconds
from connectors.protocols import Lookup
from monitoring.events import Events
from monitoring.metrics import Metrics
from schemas.ledger.migrate import upgrade
from schemas.ledger.model import Due, Enlistment, Fence, Operation
from schemas.ledger.sql import SqlLedger
from schemas.reasons import Reason
from schemas.records import DossierEvent, SourceStatus
from streams.engine.dispatch import EngineOptions
from streams.engine.shell import Engine
from tests.contract.test_national_portal_sink import PortalFarSide
from tests.unit.national_portal import samples

TARGET = NationalPortal.target
FLOW, TOPIC = "ledger", "dossier.events"
STATE = Due(target=TARGET, operation=Operation.STATE)
STEP = Due(target=TARGET, operation=Operation.STEP)

BOUND, LATE, VERIFIED = 0.5, 6.0, 9.0
"""Seconds. Wide apart, so that a slow machine changes nothing."""

FIRST = replace(samples.event(), read_seq=1)
SECOND = replace(
    FIRST, event_id="e2", read_seq=2, times=replace(FIRST.times, due=samples.at(26, 10))
)
THIRD = replace(
    FIRST,
    event_id="e3",
    read_seq=3,
    business_state=SourceStatus(status="finished", sub_status=None),
    times=replace(FIRST.times, finished=samples.at(24)),
)


@dataclass(frozen=True)
class Province:
    """One engine, its ledger, and the portal behind it."""

    portal: PortalFarSide
    ledger: SqlLedger
    engine: Engine
    metrics: Metrics
    fence: Fence
    events: list[DossierEvent]

    async def enlist(self, event: DossierEvent, *dues: Due) -> None:
        at = len(self.events)
        self.events.append(event)
        item = Enlistment(
            event=event, payload=str(at).encode(), topic=TOPIC, partition=0, offset=at, dues=dues
        )
        await self.ledger.enlist({0: self.fence}, {0: at + 1}, [item], {0: at})
        self.engine.notify([event.dossier_id])

    async def found(self) -> list[Reason]:
        return [row.finding.reason for row in await self.ledger.findings()]

    async def statuses(self) -> list[str]:
        return await self.portal.statuses(samples.CODE)

    async def steps(self) -> list[str]:
        return await self.portal.step_texts(samples.CODE)

    async def unknown(self) -> float:
        """How many calls ended in an unknown outcome."""
        labels = {"target": TARGET, "result": "unknown"}
        value = self.metrics.registry.get_sample_value("hub_delivery_attempts_total", labels)
        return value or 0.0

    def counted(self, reason: Reason) -> float:
        labels = {"target": TARGET, "kind": reason.value}
        return self.metrics.registry.get_sample_value("hub_late_effects_total", labels) or 0.0


@asynccontextmanager
async def province(folder: Path, lookup: Lookup) -> AsyncIterator[Province]:
    folder.mkdir()
    url = f"sqlite:///{folder}/ledger.db"
    upgrade(url)
    abilities = {
        "lookup": lookup,
        "lookup_lag_seconds": 0.2,
        "late_effect_bound_seconds": BOUND,
        "verify_after_seconds": VERIFIED,
    }
    profile = Profile(lookup=lookup.value, username=samples.USERNAME, password=samples.PASSWORD)
    metrics = Metrics(targets=[TARGET], version="test")
    events: list[DossierEvent] = []

    async def decode(payload: bytes) -> DossierEvent:
        return events[int(payload)]

    async with (
        PortalSimulator(folder / "truth.db", profile=profile) as simulator,
        aiohttp.ClientSession() as http,
        SqlLedger(url) as ledger,
    ):
        sink = NationalPortal(
            samples.settings(simulator.url, abilities=abilities),
            load_dialect("adapter"),
            samples.SEALER,
            samples.HASHER,
        )
        await sink.open()
        (position,) = await ledger.take_over(FLOW, TOPIC, None, [0], "worker")
        engine = Engine(
            sink=sink,
            ledger=ledger,
            decode=decode,
            codes=samples.codes,
            fences=lambda: [position.fence],
            clock=boot_seconds,
            seal=samples.SEALER.seal,
            events=Events(metrics, structlog.get_logger()).deliveries,
            options=EngineOptions(send_by=1.0, poll_seconds=0.2),
        )
        running = asyncio.create_task(engine.run())
        try:
            far = PortalFarSide(simulator, http)
            yield Province(far, ledger, engine, metrics, position.fence, events)
        finally:
            engine.stop()
            await running
            await sink.close()


async def until(what: str, true: Callable[[], Awaitable[object]]) -> None:
    """Wait for it, at most a minute."""
    end = time.monotonic() + 60
    while not await true():
        assert time.monotonic() < end, f"not {what} within a minute"
        await asyncio.sleep(0.1)


async def an_old_state_over_a_new_one(folder: Path, lookup: Lookup) -> None:
    async with province(folder, lookup) as hub:
        await hub.enlist(FIRST, STATE)
        await until("created", hub.statuses)
        await hub.portal.trouble("late_effect", operation="update", delay=LATE)
        await hub.enlist(SECOND, STATE)
        await until("sent", hub.unknown)
        await hub.enlist(THIRD, STATE)
        await until("found", hub.found)
        await until("mended", lambda: _ends_with(hub, "9"))

        assert await hub.statuses() == ["4", "9", "4", "9"], "the third is the late one"
        assert await hub.found() == [Reason.LATE_STATE]
        assert hub.counted(Reason.LATE_STATE) == 1


async def _ends_with(hub: Province, status: str) -> bool:
    statuses = await hub.statuses()
    return len(statuses) > 2 and statuses[-1] == status


async def a_step_that_comes_twice(folder: Path) -> None:
    async with province(folder, Lookup.STEPS) as hub:
        await hub.portal.trouble("late_effect", operation="steps", delay=LATE)
        await hub.enlist(FIRST, STATE, STEP)
        await until("found", hub.found)

        steps = await hub.steps()
        assert len(steps) == 2
        assert len(set(steps)) == 1
        assert await hub.found() == [Reason.STEP_TWICE]
        assert hub.counted(Reason.STEP_TWICE) == 1


async def test_what_comes_too_late_is_found_where_the_portal_shows_it(tmp_path: Path) -> None:
    """Beside each other, because each waits for most of its time."""
    async with asyncio.TaskGroup() as stories:
        stories.create_task(an_old_state_over_a_new_one(tmp_path / "state", Lookup.STATE))
        stories.create_task(an_old_state_over_a_new_one(tmp_path / "steps", Lookup.STEPS))
        stories.create_task(a_step_that_comes_twice(tmp_path / "step"))
