"""The rates of a period on a real PostgreSQL: the same figures and the same pages as on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from monitoring.rates.dossier_counts import Counting, dossiers_of
from monitoring.rates.periods import Period, PeriodKind
from monitoring.rates.report import Report, report
from monitoring.rates.step_counts import Steps
from monitoring.rates.units import Asked
from schemas.dossier.mappings import CodeList
from schemas.ledger.database import Lane
from schemas.ledger.migrate import upgrade
from schemas.ledger.sql import SqlLedger
from schemas.ledger.tables import deliveries
from tests.contract.ledger_contract import Desk
from tests.integration.ledger.databases import postgres_server, url
from tests.unit.dossier.samples import at
from tests.unit.rates.counted import RULES, UNITS, Hall, Story, hall, mapping, span_of

__all__ = ["postgres_server", "url"]

pytestmark = pytest.mark.integration

MONDAY = ("received", "2026-03-02 09:00")
LIVES = (
    (MONDAY, ("finished", "2026-03-05 10:00")),
    (MONDAY, ("finished", "2026-03-09 10:00")),
    (MONDAY,),
)
NAMES = ("b", "B", "a-1", "a", "Đ", "d", "1", "_", "z", "É")  # collations differ about their order
TOLD = {"b-1": "2026-03-02 09:10", "B-1": "2026-03-02 09:30", "a-1-1": "2026-03-02 09:15"}


@asynccontextmanager
async def on_postgres(url: str) -> AsyncIterator[Hall]:
    upgrade(url)
    lane = Lane(url, "figures", seconds=None)
    try:
        async with SqlLedger(url) as ledger:
            yield Hall(ledger=ledger, desk=await Desk.open(ledger), lane=lane)
    finally:
        await lane.close()


async def fill(ours: Hall) -> None:
    await ours.ledger.put_mappings([mapping(CodeList.AGENCY, unit, unit) for unit in UNITS])
    for number, name in enumerate(NAMES):
        story = Story(name, LIVES[number % 3], unit=(*UNITS, "H99")[number % 4])
        await ours.put(*story.events())
    await ours.refresh(RULES)
    for event_id, when in TOLD.items():
        told = (
            update(deliveries)
            .where(deliveries.c.event_id == event_id, deliveries.c.operation == "step")
            .values(state="delivered", settled_at=at(when))
        )
        await ours.lane.write(lambda c, told=told: c.execute(told))  # type: ignore[misc]


async def figures(ours: Hall) -> Report:
    asked = Asked(period=Period(PeriodKind.MONTH, 2026, 3), province="H12")
    now = at("2026-05-01 09:00")
    steps = Steps(now=now, limit=timedelta(minutes=15))
    return await ours.lane.read(lambda c: report(c, asked, now, steps=steps))


async def pages(ours: Hall) -> list[Counting]:
    start, end = span_of("2026-03")
    found: list[Counting] = []
    after: str | None = None
    while page := await ours.lane.read(
        lambda c, after=after: dossiers_of(  # type: ignore[misc]
            c, "received_in_period", start, end, after=after, limit=3
        )
    ):
        found += page
        after = page[-1].dossier_id
    return found


async def test_both_databases_tell_the_same(url: str, tmp_path: Path) -> None:
    async with on_postgres(url) as there, hall(tmp_path) as here:
        for ours in (there, here):
            await fill(ours)
        assert await figures(there) == await figures(here)
        listed = await pages(there)
        assert listed == await pages(here)
        assert [one.dossier_id for one in listed] == sorted(NAMES)
        steps = (await figures(there)).total.steps
        assert steps is not None
        assert (steps.steps, steps.in_time) == (17, 2)
        narrowed = replace((await figures(there)).asked, agency=UNITS[0])
        now = at("2026-05-01 09:00")
        one = await there.lane.read(lambda c: report(c, narrowed, now))
        assert one.total.rate("on_time").counts["received_and_carried_over"] == 3
