"""Late for the portal and not for the office: a case for each reason, each edge, and the points."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.rates import false_overdue
from monitoring.rates.dossier_counts import PORTAL, Scope
from monitoring.rates.false_overdue import Candidate, FalseOverdue, Reason, compare
from monitoring.rates.reckoning import life, opened
from schemas.dossier.clock import ClockState
from schemas.dossier.mappings import Codes
from schemas.dossier.service_levels import parse_service_levels
from schemas.dossier.status import Status
from schemas.dossier.timeliness import Verdict
from schemas.ledger.dialect import to_seconds
from schemas.ledger.model import DeliveryState, Operation
from schemas.ledger.told import told
from schemas.reasons import Reason as Why
from schemas.records import DossierEvent, Procedure, Supplement
from tests.unit.dossier.samples import MINUTE, TICK, at
from tests.unit.rates.carried import settle
from tests.unit.rates.counted import RULES, UNITS, WHOLE, Hall, Story, hall, span_of

R, V, C = Reason, Verdict, ClockState
MARCH = "2026-03"
LAST = at("2026-04-01 00:00") - TICK
MONDAY = ("received", "2026-03-02 09:00")
DONE = ("finished", "2026-03-05 10:00")
IN_TIME = at("2026-03-05 10:01")


@pytest.fixture
async def ours(tmp_path: Path) -> AsyncIterator[Hall]:
    async with hall(tmp_path) as opened_hall:
        yield opened_hall


async def find(ours: Hall, scope: Scope = WHOLE, period: str = MARCH) -> FalseOverdue:
    while await ours.refresh():
        pass
    start, end = span_of(period)
    return await false_overdue.find(ours.lane, ours.decode, RULES, start, end, scope)


async def put(
    ours: Hall, events: Sequence[DossierEvent], delivered: int, when: datetime = IN_TIME
) -> None:
    """The first events of a dossier are delivered; the rest is owed."""
    await ours.put(*events)
    for event in events[:delivered]:
        await settle(ours, event.event_id, when=max(when, event.effective_at))


def dated(event: DossierEvent, **times: str) -> DossierEvent:
    """The event with other times."""
    return replace(event, times=replace(event.times, **{k: at(v) for k, v in times.items()}))


def request(asked: str, done: str | None, old: str | None = None) -> Supplement:
    return Supplement(
        supplement_id="1",
        requested_at=at(asked),
        completed_at=at(done) if done else None,
        old_due=at(old) if old else None,
        new_due=None,
    )


def changed(*events: DossierEvent, **times: str) -> list[DossierEvent]:
    """The last of them with other times, as everything before did not know them."""
    return [*events[:-1], dated(events[-1], **times)]


WAITING = request("2026-03-04 09:00", None)
TWO_STEPS = (MONDAY, ("processing", "2026-03-03 09:00"))


@pytest.mark.parametrize(
    ("events", "delivered", "reason", "portal", "office"),
    [
        pytest.param(
            Story("a", (MONDAY, DONE)).events(),
            1,
            R.LATE_ARRIVAL,
            V.OPEN_LATE,
            C.ENDED_EARLY,
            id="the end had not arrived",
        ),
        pytest.param(
            Story("a", (MONDAY, ("withdrawn", "2026-03-06 16:00"))).events(),
            1,
            R.LATE_ARRIVAL,
            V.OPEN_LATE,
            C.ENDED_ON_TIME,
            id="the withdrawal had not arrived",
        ),
        pytest.param(
            Story("a", (MONDAY, ("supplement_requested", "2026-03-04 09:00"))).events(),
            1,
            R.MISSING_SUPPLEMENT,
            V.OPEN_LATE,
            C.PAUSED,
            id="a request to supplement had not arrived",
        ),
        pytest.param(
            [
                *Story("a", TWO_STEPS).events()[:1],
                replace(Story("a", TWO_STEPS).events()[1], supplements=(WAITING,)),
            ],
            1,
            R.MISSING_SUPPLEMENT,
            V.OPEN_LATE,
            C.PAUSED,
            id="a request that only the state tells of",
        ),
        pytest.param(
            Story("a", (MONDAY, ("paused", "2026-03-04 09:00"))).events(),
            1,
            R.MISSING_SUPPLEMENT,
            V.OPEN_LATE,
            C.PAUSED,
            id="another pause had not arrived",
        ),
        pytest.param(
            changed(
                *Story("a", TWO_STEPS).events(),
                due="2026-04-10 17:00",
                extended="2026-04-10 17:00",
            ),
            1,
            R.MISSING_EXTENSION,
            V.OPEN_LATE,
            C.RUNNING,
            id="an extension had not arrived",
        ),
        pytest.param(
            changed(*Story("a", TWO_STEPS).events(), due="2026-04-10 17:00"),
            1,
            R.WRONG_DUE,
            V.OPEN_LATE,
            C.RUNNING,
            id="a due date that was put right had not arrived",
        ),
        pytest.param(
            changed(
                *Story("a", (MONDAY, ("finished", "2026-03-18 09:00"))).events(),
                due="2026-03-20 17:00",
                extended="2026-03-20 17:00",
            ),
            1,
            R.LATE_ARRIVAL,
            V.OPEN_LATE,
            C.ENDED_EARLY,
            id="neither the end nor the extension had",
        ),
        pytest.param(
            Story("a", (MONDAY, ("payment_requested", "2026-03-05 09:00"))).events(),
            2,
            R.PAUSE_NOT_COUNTED,
            V.OPEN_LATE,
            C.PAUSED,
            id="waiting for a fee runs at the portal",
        ),
        pytest.param(
            Story(
                "a",
                (MONDAY, ("finished", "2026-03-09 16:00")),
                state={
                    "supplements": (
                        request("2026-03-04 09:00", "2026-03-05 09:00", "2026-03-06 17:00"),
                    )
                },
            ).events(),
            2,
            R.WRONG_DUE,
            V.LATE,
            C.ENDED_ON_TIME,
            id="the source left the due date where it was before a supplement",
        ),
    ],
)
async def test_late_for_the_portal_alone(
    ours: Hall,
    events: list[DossierEvent],
    delivered: int,
    reason: Reason,
    portal: Verdict,
    office: ClockState,
) -> None:
    await put(ours, events, delivered)
    found = await find(ours)
    (one,) = found.dossiers
    assert (one.reason, one.portal, one.office) == (reason, portal, office)
    assert (one.dossier_id, one.agency, found.at) == ("a", UNITS[0], LAST)
    assert one.counted is (delivered < len(events))
    assert found.total.reasons == {reason: 1}


@pytest.mark.parametrize(
    ("events", "delivered"),
    [
        pytest.param(Story("a", (MONDAY, DONE)).events(), 2, id="everything arrived"),
        pytest.param(
            Story("a", (MONDAY, ("finished", "2026-03-09 10:00"))).events(),
            1,
            id="the office is late",
        ),
        pytest.param(Story("a", (MONDAY,)).events(), 1, id="open and late"),
        pytest.param(
            Story("a", (MONDAY, DONE), due="2026-04-10 17:00").events(), 1, id="not due yet"
        ),
        pytest.param(
            Story("a", (MONDAY, DONE), due="2026-03-31 08:00").events(),
            1,
            id="due on the last day: an open dossier is judged by day",
        ),
        pytest.param(Story("a", (MONDAY, DONE)).events(), 0, id="the portal does not hold it"),
        pytest.param(Story("a", (MONDAY, DONE), due=None).events(), 1, id="without a due date"),
        pytest.param(
            Story("a", (MONDAY, ("finished", "2026-04-02 10:00")), due="2026-03-06 17:00").events(),
            1,
            id="ended later, and late",
        ),
        pytest.param(
            Story(
                "a",
                (
                    MONDAY,
                    ("supplement_requested", "2026-03-03 09:00"),
                    ("processing", "2026-03-03 10:00"),
                    ("supplement_requested", "2026-03-04 09:00"),
                ),
            ).events(),
            4,
            id="a second request is late for both",
        ),
        pytest.param(
            Story(
                "a", (("received", "2026-02-02 09:00"), ("finished", "2026-02-05 10:00"))
            ).events(),
            1,
            id="ended before the period",
        ),
        pytest.param(
            Story(
                "a", (("received", "2026-04-02 09:00"), ("finished", "2026-04-03 10:00"))
            ).events(),
            1,
            id="received after it",
        ),
    ],
)
async def test_not_late_for_the_portal_alone(
    ours: Hall, events: list[DossierEvent], delivered: int
) -> None:
    await put(ours, events, delivered)
    found = await find(ours)
    assert (found.dossiers, found.units, found.unread) == ((), (), 0)
    assert found.total.points in (None, Decimal(0))


@pytest.mark.parametrize(
    ("arrived", "falsely"), [(LAST, 0), (LAST + TICK, 1)], ids=["at the last instant", "after it"]
)
async def test_what_arrived_after_the_period_was_late_in_it(
    ours: Hall, arrived: datetime, falsely: int
) -> None:
    first, second = Story("a", (MONDAY, DONE)).events()
    await put(ours, [first, second], 1)
    await settle(ours, second.event_id, when=arrived)
    assert len((await find(ours)).dossiers) == falsely
    assert (await find(ours, period="2026-04")).dossiers == ()


async def test_the_due_date_that_the_portal_held_is_told_beside_that_of_the_law(ours: Hall) -> None:
    events = changed(*Story("a", TWO_STEPS).events(), due="2026-04-10 17:00")
    await put(ours, events, 1)
    (one,) = (await find(ours)).dossiers
    assert (one.due_held, one.due) == (at("2026-03-06 17:00"), at("2026-04-10 17:00"))
    assert one.ended_at is None


@pytest.mark.parametrize(("days", "falsely"), [(2, [R.WRONG_DUE]), (3, [])])
async def test_where_the_portal_holds_no_due_date_it_goes_by_the_limit_of_the_procedure(
    ours: Hall, days: int, falsely: list[Reason]
) -> None:
    """Done after 24 working hours, in time by the due date that the portal was not told."""
    levels = parse_service_levels(
        "code,level,valid_from,valid_to,result,fee,source,processing_time,processing_unit\n"
        f"1.000001,full,,,,,QĐ giả định,{days},working_day\n",
        "procedures.csv",
    )
    procedure = Procedure(local_code="P1", national_code=None, name=None, version=None)
    events = Story(
        "a", (MONDAY, ("finished", "2026-03-05 09:00")), due=None, state={"procedure": procedure}
    ).events()
    last = dated(replace(events[-1], event_id="a-3", read_seq=9), due="2026-03-06 17:00")
    await put(ours, [*events, replace(last, step=None)], 2)
    rules = replace(RULES, levels=levels)
    while await ours.refresh(rules):
        pass
    start, end = span_of(MARCH)
    found = await false_overdue.find(ours.lane, ours.decode, rules, start, end)
    assert [one.reason for one in found.dossiers] == falsely


async def test_a_state_that_tells_the_end_is_enough_without_its_step(ours: Hall) -> None:
    first, second = Story("a", (MONDAY, DONE)).events()
    await put(ours, [first, second], 1)
    await settle(ours, second.event_id, when=IN_TIME, operation=Operation.STATE)
    assert (await find(ours)).dossiers == ()


@pytest.mark.parametrize(("why", "falsely"), [(Why.UNCHANGED, 0), (Why.NEWER_STATE, 1)])
async def test_a_state_that_the_target_held_already_need_not_be_sent(
    ours: Hall, why: Why, falsely: int
) -> None:
    first, second = Story("a", (MONDAY, DONE)).events()
    await put(ours, [first, second], 1)
    superseded: dict[str, Any] = {"when": IN_TIME, "reason": why, "operation": Operation.STATE}
    await settle(ours, second.event_id, DeliveryState.SUPERSEDED, **superseded)
    assert len((await find(ours)).dossiers) == falsely


async def test_a_period_that_has_not_ended_is_judged_now(
    ours: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the day of the due date it is in time, on the next one late."""
    await put(ours, Story("a", (MONDAY, DONE)).events(), 1)
    for now, falsely in (("2026-03-07 00:00", 0), ("2026-03-07 00:01", 1)):
        moment = at(now)
        monkeypatch.setattr(false_overdue, "clock", lambda _c, m=moment: to_seconds(m))
        found = await find(ours)
        assert (found.at, len(found.dossiers)) == (moment - TICK, falsely)


async def test_what_cannot_be_read_is_counted(ours: Hall) -> None:
    await put(ours, Story("a", (MONDAY, DONE)).events(), 1)
    await ours.refresh()
    start, end = span_of(MARCH)
    nobody = replace(RULES, codes=Codes())
    found = await false_overdue.find(ours.lane, ours.decode, nobody, start, end)
    assert (found.dossiers, found.unread) == ((), 1)


# --- points ------------------------------------------------------------------------------------------


async def test_points_that_are_lost(ours: Hall) -> None:
    """Of five: one in time, one late, two whose ends had not arrived, and one that waits for a fee."""
    await put(ours, Story("in time", (MONDAY, DONE)).events(), 2)
    await put(ours, Story("late", (MONDAY,)).events(), 1)
    for name in ("a", "b"):
        await put(ours, Story(name, (MONDAY, DONE)).events(), 1)
    fee = ("payment_requested", "2026-03-05 09:00")
    await put(ours, Story("fee", (MONDAY, fee)).events(), 2)
    found = await find(ours)
    (unit,) = found.units
    for lost in (unit, found.total):
        assert lost.reasons == {R.LATE_ARRIVAL: 2, R.PAUSE_NOT_COUNTED: 1}
        assert (lost.now.ratio, lost.now.score) == (Decimal(20), Decimal(4))
        assert (lost.without.ratio, lost.without.score) == (Decimal(80), Decimal(16))
        assert (lost.dossiers, lost.points) == (3, Decimal(12))
    assert (unit.agency, found.total.agency) == (UNITS[0], None)


async def test_before_the_rate_there_are_no_points(ours: Hall) -> None:
    steps = (("received", "2022-03-01 09:00"), ("finished", "2022-03-03 10:00"))
    await put(ours, Story("a", steps, due="2022-03-04 17:00").events(), 1, at("2022-03-02 09:00"))
    found = await find(ours, period="2022-03")
    assert (len(found.dossiers), found.total.points) == (1, None)


async def test_units_and_a_scope(ours: Hall) -> None:
    units = (UNITS[0], UNITS[1], UNITS[1], "H99.01")  # the last has no mapping
    for name, unit in zip("abcd", units, strict=True):
        await put(ours, Story(name, (MONDAY, DONE), unit=unit).events(), 1)
    found = await find(ours)
    assert [(lost.agency, lost.dossiers) for lost in found.units] == [
        (UNITS[0], 1),
        (UNITS[1], 2),
        (None, 1),
    ]
    some = await find(ours, Scope(agencies={UNITS[1]}))
    assert (len(some.dossiers), some.total.dossiers) == (2, 2)


# --- what always holds -------------------------------------------------------------------------------

_MINUTES = st.integers(0, 60 * 24 * 28)
_STEPS = st.lists(st.tuples(st.sampled_from([s.value for s in Status]), _MINUTES), max_size=4)
FEW = settings(max_examples=15, deadline=None)


def _when(minutes: int) -> str:
    moment = at("2026-03-02 09:00") + minutes * MINUTE + timedelta(hours=7)
    return moment.strftime("%Y-%m-%d %H:%M")


@st.composite
def _lives(draw: st.DrawFn) -> list[tuple[list[DossierEvent], int]]:
    """Dossiers, and how many of their events were delivered."""
    found: list[tuple[list[DossierEvent], int]] = []
    for number in range(draw(st.integers(1, 5))):
        steps = sorted(draw(_STEPS), key=lambda step: step[1])
        story = Story(
            f"d{number}",
            (("received", _when(0)), *((status, _when(1 + after)) for status, after in steps)),
            due=_when(draw(_MINUTES)),
            unit=draw(st.sampled_from(UNITS)),
        )
        events = story.events()
        if draw(st.booleans()):
            events = changed(*events, due=_when(draw(_MINUTES)))
        found.append((events, draw(st.integers(0, len(events)))))
    return found


async def _found(
    lives: list[tuple[list[DossierEvent], int]], chance: random.Random | None
) -> tuple[FalseOverdue, Any]:
    """What is found, and what is found by asking every dossier there is."""
    with tempfile.TemporaryDirectory() as folder:
        async with hall(Path(folder)) as ours:
            waiting = [list(events) for events, _ in lives]
            while any(waiting):
                there = [one for one in waiting if one]
                event = (chance.choice(there) if chance else there[0]).pop(0)
                await ours.put(event)
                if chance and chance.random() < 0.3:
                    await ours.put(event)
            for events, delivered in lives:
                for event in events[:delivered]:
                    await settle(ours, event.event_id, when=event.effective_at + MINUTE)
            found = await find(ours)
            every = []
            ids = [events[0].dossier_id for events, _ in lives]
            for one in await ours.lane.read(lambda c: told(c, ids, PORTAL, LAST)):
                if one.held is None:
                    continue
                read = [
                    life(each, await opened(each, ours.decode), RULES.codes)
                    for each in (one.whole, one.held)
                ]
                unit = ours.told[f"{one.dossier_id}-1"].handling_agency.code
                candidate = Candidate(
                    dossier_id=one.dossier_id, code=f"{unit}-{one.dossier_id}", agency=unit
                )
                if (judged := compare(candidate, *read, LAST, RULES)) is not None:
                    every.append(judged)
            return found, sorted(every, key=lambda judged: str(judged.code))


@FEW
@given(_lives())
def test_nobody_is_passed_over_who_does_not_come_into_question(
    lives: list[tuple[list[DossierEvent], int]],
) -> None:
    found, every = asyncio.run(_found(lives, None))
    assert list(found.dossiers) == every


@FEW
@given(_lives(), st.randoms(use_true_random=False))
def test_the_order_and_number_of_tellings_change_nothing_and_units_add_up(
    lives: list[tuple[list[DossierEvent], int]], chance: random.Random
) -> None:
    once, _ = asyncio.run(_found(lives, None))
    mixed, _ = asyncio.run(_found(lives, chance))
    assert once == mixed
    sums: Counter[Reason] = Counter()
    for unit in once.units:
        sums.update(unit.reasons)
    assert sums == Counter(once.total.reasons)
    assert once.total.dossiers == len(once.dossiers)
