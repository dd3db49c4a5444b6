"""Steps that reached the portal in time, and the pages of the dossiers behind a count."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from monitoring.rates.dossier_counts import NotCounted, Scope, dossiers_of
from monitoring.rates.step_counts import StepCounts, Steps, count_steps, late_dossiers
from schemas.ledger.model import DeliveryState
from schemas.ledger.tables import deliveries
from schemas.records import EventKind
from tests.unit.dossier.samples import at
from tests.unit.rates.counted import UNITS, WHOLE, Hall, Story, hall, span_of

MARCH = "2026-03"
NOW = at("2026-05-01 09:00")
RECEIVED, FINISHED = ("received", "2026-03-02 09:00"), ("finished", "2026-03-05 10:00")


@pytest.fixture
async def ours(tmp_path: Path) -> AsyncIterator[Hall]:
    async with hall(tmp_path) as opened:
        yield opened


async def settle(ours: Hall, event_id: str, when: str, state: str = "delivered") -> None:
    """As if the portal had been told then."""
    statement = (
        update(deliveries)
        .where(deliveries.c.event_id == event_id, deliveries.c.operation == "step")
        .values(state=DeliveryState(state).value, settled_at=at(when))
    )
    await ours.lane.write(lambda c: c.execute(statement))


async def counted(
    ours: Hall,
    *,
    minutes: int = 15,
    now: datetime = NOW,
    scope: Scope = WHOLE,
    period: str = MARCH,
) -> dict[str | None, StepCounts]:
    start, end = span_of(period)
    steps = Steps(now=now, limit=timedelta(minutes=minutes))
    return dict(await ours.lane.read(lambda c: count_steps(c, start, end, scope, steps)))


@pytest.mark.parametrize(
    ("told", "now", "wanted"),
    [
        (("2026-03-02 09:15", "2026-03-05 10:14"), NOW, StepCounts(steps=2, in_time=2)),
        (
            ("2026-03-02 09:16", "2026-03-05 10:01"),
            NOW,
            StepCounts(steps=2, in_time=1, late_dossiers=1),
        ),
        (
            ("2026-03-02 10:00", "2026-03-05 11:00"),
            NOW,
            StepCounts(steps=2, in_time=0, late_dossiers=1),
        ),
        (("2026-03-02 09:01", None), NOW, StepCounts(steps=2, in_time=1, late_dossiers=1)),
        (
            ("2026-03-02 09:01", None),
            at("2026-03-05 10:15"),
            StepCounts(steps=2, in_time=2),
        ),
    ],
    ids=["on the limit", "one late", "both late", "never", "not yet, and not late yet"],
)
async def test_a_dossier_is_in_time_when_none_of_its_steps_is_late(
    ours: Hall, told: tuple[str | None, ...], now: datetime, wanted: StepCounts
) -> None:
    await ours.put(*Story("a", (RECEIVED, FINISHED)).events())
    await ours.refresh()
    for number, when in enumerate(told, start=1):
        if when is not None:
            await settle(ours, f"a-{number}", when)
    assert await counted(ours, now=now) == {UNITS[0]: wanted}


async def test_the_limit_is_a_setting_and_an_end_without_delivery_is_late(ours: Hall) -> None:
    await ours.put(*Story("a", (RECEIVED,)).events(), *Story("b", (RECEIVED,)).events())
    await ours.refresh()
    await settle(ours, "a-1", "2026-03-02 09:40")
    await settle(ours, "b-1", "2026-03-02 09:01", "discarded")
    assert (await counted(ours))[UNITS[0]].late_dossiers == 2
    assert (await counted(ours, minutes=45))[UNITS[0]] == StepCounts(
        steps=2, in_time=1, late_dossiers=1
    )
    with pytest.raises(ValueError, match="limit"):
        Steps(now=NOW, limit=timedelta())


async def test_only_steps_of_the_period_and_of_the_scope_count(ours: Hall) -> None:
    await ours.put(*Story("a", (("received", "2026-02-20 09:00"), FINISHED)).events())
    await ours.put(*Story("b", (RECEIVED,), unit=UNITS[1]).events())
    (event,) = Story("c", (RECEIVED,), unit=UNITS[2]).events()
    await ours.put(replace(event, kind=EventKind.CORRECTION))  # never sent
    await ours.put(*Story("d", (RECEIVED,), unit="H99.01").events())
    await ours.refresh()
    for event_id in ("a-1", "a-2", "b-1", "d-1"):
        await settle(ours, event_id, "2026-03-05 10:05")
    assert await counted(ours) == {
        UNITS[0]: StepCounts(steps=1, in_time=1),
        UNITS[1]: StepCounts(steps=1, in_time=0, late_dossiers=1),
        None: StepCounts(steps=1, in_time=0, late_dossiers=1),
    }
    assert set(await counted(ours, scope=Scope(agencies={UNITS[1]}))) == {UNITS[1]}
    assert await counted(ours, period="2026-04") == {}


async def test_days_of_the_period_are_those_of_viet_nam(ours: Hall) -> None:
    """Its first hours belong to the month before by the ledger's days, its midnight to the next."""
    for name, when in (("a", "2026-03-01 00:30"), ("b", "2026-03-31 23:59")):
        await ours.put(*Story(name, (("received", when),), due="2026-04-10 17:00").events())
    for name, when in (("c", "2026-02-28 23:59"), ("d", "2026-04-01 00:00")):
        await ours.put(*Story(name, (("received", when),), unit=UNITS[1]).events())
    await ours.refresh()
    assert (await counted(ours))[UNITS[0]].steps == 2
    assert (await counted(ours, period="2026-Q1"))[UNITS[0]].steps == 2
    assert (await counted(ours)).get(UNITS[1], StepCounts()).steps == 0


async def test_the_late_dossiers_are_listed(ours: Hall) -> None:
    for name in "ab":
        await ours.put(*Story(name, (RECEIVED,)).events())
    await ours.refresh()
    await settle(ours, "a-1", "2026-03-02 09:01")
    start, end = span_of(MARCH)
    late = await ours.lane.read(
        lambda c: list(c.execute(late_dossiers(c, start, end, Steps(now=NOW))).scalars())
    )
    assert late == ["b"]


def test_what_the_ledger_let_go_of_is_not_known() -> None:
    start, _ = span_of(MARCH)
    assert Steps(now=NOW).kept(start)
    assert Steps(now=NOW, since=start).kept(start)
    assert not Steps(now=NOW, since=start + timedelta(seconds=1)).kept(start)


# --- pages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("instead", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
async def test_pages_put_together_are_the_whole_list(ours: Hall, size: int, instead: bool) -> None:
    for number in range(7):
        unit = UNITS[number % 3]
        life = (RECEIVED, FINISHED) if number % 2 else (RECEIVED,)
        await ours.put(*Story(f"{number * 37 % 11}-Đ", life, unit=unit).events())
    await ours.refresh()
    start, end = span_of(MARCH)
    whole = await ours.dossiers("on_time_or_within_time", MARCH, instead=instead)
    assert whole
    found, after = [], None
    while page := await ours.lane.read(
        lambda c, after=after: dossiers_of(  # type: ignore[misc]
            c, "on_time_or_within_time", start, end, instead=instead, after=after, limit=size
        )
    ):
        assert len(page) <= size
        found += page
        after = page[-1].dossier_id
    assert found == whole
    assert [one.dossier_id for one in found] == sorted(one.dossier_id for one in found)


async def test_no_page_of_what_is_no_quantity(ours: Hall) -> None:
    start, end = span_of(MARCH)
    with pytest.raises(NotCounted, match="nothing"):
        await ours.lane.read(lambda c: dossiers_of(c, "nothing", start, end, limit=1))
