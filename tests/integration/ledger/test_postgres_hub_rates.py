"""The hub's own rates on a real PostgreSQL: the same figures, from the months that are needed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import Connection

from monitoring.rates import completeness, false_overdue, integration
from monitoring.rates.false_overdue import Reason
from schemas.ledger.database import Lane
from schemas.ledger.migrate import upgrade
from schemas.ledger.model import DeliveryState, Outcome
from schemas.ledger.sql import SqlLedger
from schemas.reasons import Reason as Why
from tests.contract.ledger_contract import Desk
from tests.integration.ledger.databases import postgres_server, url
from tests.unit.dossier.samples import HOUR, MINUTE, at
from tests.unit.rates.carried import attempt, capture, carried, settle
from tests.unit.rates.counted import RULES, UNITS, WHOLE, Hall, Story, span_of

__all__ = ["postgres_server", "url"]

pytestmark = pytest.mark.integration

MARCH = "2026-03"
MONDAY = ("received", "2026-03-02 09:00")


@pytest.fixture
async def ours(url: str) -> AsyncIterator[Hall]:
    upgrade(url)
    lane = Lane(url, "rates", seconds=None)
    try:
        async with SqlLedger(url) as ledger:
            yield Hall(ledger=ledger, desk=await Desk.open(ledger), lane=lane)
    finally:
        await lane.close()


async def test_integration_by_the_time_of_capture(ours: Hall) -> None:
    """Taken in in March: of that month, of the year before it, and of before the first month of all."""
    march = at("2026-03-02 11:00")
    for effective in (march, at("2026-01-05 09:00"), at("2019-05-06 09:00")):
        event = await capture(ours, recorded=march, effective=effective)
        await attempt(ours, event, outcome=Outcome.FAILED)
        done = await attempt(ours, event, outcome=Outcome.DELIVERED)
        await settle(ours, event, after=MINUTE, attempt=done)
    for after in (15 * MINUTE, 26 * HOUR, 26 * HOUR + timedelta.resolution):
        event = await capture(ours, recorded=march, unit=UNITS[1])
        await settle(ours, event, after=after)
    event = await capture(ours, recorded=march, unit=UNITS[1])
    await settle(ours, event, DeliveryState.PARKED, reason=Why.UNMAPPED)
    await capture(ours, recorded=at("2026-04-01 00:00"))
    one, other = (await carried(ours, MARCH)).units
    assert (one.agency, other.agency) == UNITS[:2]
    counts = one.counts
    assert (counts["owed"], counts["delivered"], counts["right_first_time"]) == (3, 3, 0)
    assert (counts["arrived_in_1_minute"], counts["arrived_in_15_minutes_of_effect"]) == (3, 1)
    counts = other.counts
    assert (counts["owed"], counts["delivered"], counts["right_first_time"]) == (4, 3, 3)
    assert [
        counts[name]
        for name in ("arrived_in_1_minute", "arrived_in_15_minutes", "arrived_in_8_working_hours")
    ] == [0, 1, 2]
    assert counts["told_after_8_working_hours"] == 4
    assert other.parked == {"unmapped": 1}


async def test_other_months_are_not_read(ours: Hall) -> None:
    for month in ("2026-02", "2026-03", "2026-04"):
        await capture(ours, recorded=at(f"{month}-10 09:00"))
    await ours.refresh()
    start, end = span_of(MARCH)

    def plan(connection: Connection) -> str:
        (part,) = integration._parts(connection, start, end)
        now = at("2026-05-01 00:00")
        query = integration._counted(connection, part, now).compile(
            connection, compile_kwargs={"literal_binds": True}
        )
        return "\n".join(
            connection.exec_driver_sql(f"EXPLAIN {query}".replace("%", "%%")).scalars()
        )

    told = await ours.lane.read(plan)
    assert "deliveries_202603" in told
    assert "timeline_202603" in told
    assert not {m for m in ("202602", "202604", "early", "late") if f"_{m}" in told}, told


async def test_false_overdue_and_completeness(ours: Hall) -> None:
    done = ("finished", "2026-03-05 10:00")
    for name, arrived in (("there", "2026-03-05 10:01"), ("after", "2026-04-02 09:00")):
        first, second = Story(name, (MONDAY, done)).events()
        await ours.put(first, second)
        await settle(ours, first.event_id, after=MINUTE)
        await settle(ours, second.event_id, when=at(arrived))
    fee = Story("fee", (MONDAY, ("payment_requested", "2026-03-05 09:00"))).events()
    await ours.put(*fee)
    for event in fee:
        await settle(ours, event.event_id, after=MINUTE)
    while await ours.refresh():
        pass
    start, end = span_of(MARCH)
    found = await false_overdue.find(ours.lane, ours.decode, RULES, start, end, WHOLE)
    assert {one.dossier_id: one.reason for one in found.dossiers} == {
        "after": Reason.LATE_ARRIVAL,
        "fee": Reason.PAUSE_NOT_COUNTED,
    }
    assert found.total.points is not None
    missing = await ours.lane.read(lambda c: completeness.missing(c, start, end, WHOLE))
    assert {one.dossiers for one in missing.total if one.fact == "channel"} == {3}


async def test_a_new_month_has_the_indexes_by_time(ours: Hall) -> None:
    """A summary of ranges, not a tree: it costs a write nothing."""

    def tables(connection: Connection) -> set[str]:
        query = (
            "SELECT i.indrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid ="
            " i.indexrelid JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'brin'"
        )
        return set(connection.exec_driver_sql(query).scalars())

    await capture(ours, recorded=at("2026-03-10 09:00"))
    assert await ours.lane.read(tables) >= {"timeline_202603", "deliveries_202603", "attempts"}
