"""What can still be saved today: every kind at its boundaries, at one fixed moment, through a real ledger."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from monitoring.rates.reckoning import life, opened
from monitoring.rates.savable import AtStake, Field, Kind, Savable, at_stake, entries_of
from monitoring.rates.savable_survey import survey
from schemas.codec import UndecodableMessage
from schemas.dossier.days_off import Certainty
from schemas.dossier.mappings import CodeList
from schemas.dossier.status import Status
from schemas.dossier.timeline import Comparison, end
from schemas.ledger.figures import told as dossiers_told
from schemas.ledger.tables import deliveries, events, timeline
from schemas.records import (
    Attachment,
    Channel,
    CodeName,
    DossierEvent,
    DossierTimes,
    FinancialState,
    OnlinePayment,
    ScoreFields,
    Supplement,
)
from tests.unit.dossier.samples import HOUR, MINUTE, SATURDAYS, TICK, at, told
from tests.unit.rates.counted import RULES, Hall, Story, codes, hall, mapping

NOW = at("2026-03-04 10:00")  # a Wednesday; work is 7 to 11 and 13 to 17
RECEIVED = ("received", "2026-03-02 09:00")
FAR = "2026-03-20 17:00"

NOTHING_MISSING: dict[str, Any] = {
    "channel": Channel.DIRECT,
    "financial_state": FinancialState.NONE,
    "attachments": (
        Attachment(
            file_id="f",
            part_code=None,
            reference="r",
            removed=False,
            digitised=True,
            reused=False,
            from_data_store=False,
        ),
    ),
    "score": ScoreFields(has_digitised_components=False, vneid_authenticated=False),
}


@pytest.fixture
async def ours(tmp_path: Path) -> AsyncIterator[Hall]:
    async with hall(tmp_path) as opened_hall:
        await opened_hall.ledger.put_mappings(
            [mapping(CodeList.STATUS, status.value, status.value) for status in Status]
        )
        yield opened_hall


async def look(ours: Hall, now: datetime = NOW, **options: Any) -> Savable:
    while await ours.refresh():
        pass
    return await survey(ours.lane, ours.decode, RULES, now, **options)


async def found(ours: Hall, kind: Kind, now: datetime = NOW) -> list[tuple[str, str | None, Any]]:
    """(dossier, deadline by the clock on the wall, time left) of one kind, the most urgent first."""
    savable = await look(ours, now)
    assert savable.undecided == savable.waiting == 0
    return [
        (entry.dossier_id, told(entry.deadline) if entry.deadline else None, entry.left)
        for unit in savable.units
        for entry in unit.of(kind)
    ]


def complete(name: str, *steps: tuple[str, str], due: str | None = FAR, **more: Any) -> Story:
    """A dossier that lacks nothing."""
    unit = more.pop("unit", "H12.01")
    return Story(name, steps or (RECEIVED,), due=due, unit=unit, state=NOTHING_MISSING | more)


def online(name: str, submitted: str | None, *steps: tuple[str, str], **more: Any) -> Story:
    """Handed in online; without further steps nobody has answered."""
    first = ("submitted", submitted or "2026-03-04 08:00")
    state = NOTHING_MISSING | {"channel": Channel.ONLINE} | more
    return Story(name, (first, *steps), due=None, state=state)


def submitted_at(story: Story, when: str | None) -> list[DossierEvent]:
    times = DossierTimes(submitted=at(when) if when else None)
    return [replace(e, times=replace(times, received=e.times.received)) for e in story.events()]


# --- reception ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("submitted", "deadline", "left"),
    [
        pytest.param("2026-03-03 10:01", "2026-03-04 10:01", MINUTE, id="a minute is left"),
        pytest.param("2026-03-03 10:00", "2026-03-04 10:00", 0 * HOUR, id="at the deadline"),
        pytest.param("2026-03-03 09:59", None, None, id="a minute too late"),
        pytest.param("2026-03-04 09:30", "2026-03-05 09:30", 7.5 * HOUR, id="this morning"),
        pytest.param("2026-02-20 10:00", None, None, id="long ago"),
    ],
)
async def test_reception_runs_out(
    ours: Hall, submitted: str, deadline: str | None, left: timedelta | None
) -> None:
    await ours.put(*submitted_at(online("a", submitted), submitted))
    expected = [("a", deadline, left)] if deadline else []
    assert await found(ours, Kind.RECEPTION) == expected


async def test_the_time_of_submission_may_stand_in_a_step_alone(ours: Hall) -> None:
    await ours.put(*submitted_at(online("a", "2026-03-03 15:00"), None))
    assert await found(ours, Kind.RECEPTION) == [("a", "2026-03-04 15:00", 3 * HOUR)]


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param((("received", "2026-03-04 09:00"),), id="received"),
        pytest.param((("refused", "2026-03-04 09:00"),), id="refused"),
        pytest.param((("withdrawn", "2026-03-04 09:00"),), id="withdrawn"),
        pytest.param((("supplement_requested", "2026-03-04 09:00"),), id="papers asked for"),
    ],
)
async def test_what_was_answered_does_not_wait_for_reception(
    ours: Hall, steps: tuple[tuple[str, str], ...]
) -> None:
    await ours.put(
        *submitted_at(online("a", "2026-03-03 15:00", *steps), "2026-03-03 15:00"),
        *submitted_at(online("b", "2026-03-03 15:00"), "2026-03-03 15:00"),
    )
    assert [name for name, *_ in await found(ours, Kind.RECEPTION)] == ["b"]


async def test_only_what_came_online_has_eight_hours(ours: Hall) -> None:
    story = online("a", "2026-03-03 15:00", channel=Channel.DIRECT)
    await ours.put(*submitted_at(story, "2026-03-03 15:00"))
    assert await found(ours, Kind.RECEPTION) == []


async def test_the_hours_of_the_receiving_agency_count(ours: Hall) -> None:
    """It works from 7:30 to 11:30 and 13:30 to 17:00, so seven and a half hours a day."""
    story = online("a", "2026-03-03 15:00", receiving_agency=CodeName(code=SATURDAYS, name=None))
    await ours.put(*submitted_at(story, "2026-03-03 15:00"))
    rules = replace(RULES, codes=codes(("H12.01", SATURDAYS)))
    await ours.refresh(rules)
    savable = await survey(ours.lane, ours.decode, rules, NOW)
    (unit,) = savable.units
    (entry,) = unit.entries
    assert (entry.agency, entry.deadline) == ("H12.01", at("2026-03-04 15:30"))
    assert entry.left == 3.5 * HOUR


# --- due dates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("due", "left"),
    [
        pytest.param("2026-03-03 23:59", None, id="yesterday"),
        pytest.param("2026-03-04 00:00", 0 * HOUR, id="the first instant of today"),
        pytest.param("2026-03-04 09:59", 0 * HOUR, id="a minute ago"),
        pytest.param("2026-03-04 10:00", 0 * HOUR, id="now"),
        pytest.param("2026-03-04 17:00", 5 * HOUR, id="at the close of work"),
        pytest.param("2026-03-05 17:00", 13 * HOUR, id="the next working day"),
        pytest.param("2026-03-05 23:59", 13 * HOUR, id="its last minute"),
        pytest.param("2026-03-06 00:00", None, id="the midnight after it"),
        pytest.param("2026-03-06 09:00", None, id="the day after it"),
    ],
)
async def test_due_today_or_by_the_next_working_day(
    ours: Hall, due: str, left: timedelta | None
) -> None:
    await ours.put(*complete("a", due=due).events())
    expected = [("a", due, left)] if left is not None else []
    assert await found(ours, Kind.DUE) == expected


async def test_before_a_weekend_the_next_working_day_is_monday(ours: Hall) -> None:
    for name, due in (
        ("sat", "2026-03-07 17:00"),
        ("mon", "2026-03-09 17:00"),
        ("tue", "2026-03-10 08:00"),
    ):
        await ours.put(*complete(name, due=due).events())
    found_then = await found(ours, Kind.DUE, at("2026-03-06 16:00"))
    assert found_then == [
        ("sat", "2026-03-07 17:00", HOUR),
        ("mon", "2026-03-09 17:00", 9 * HOUR),
    ]


TODAY = "2026-03-04 17:00"


@pytest.mark.parametrize(
    ("steps", "there"),
    [
        pytest.param((RECEIVED,), True, id="open"),
        pytest.param((RECEIVED, ("processing", "2026-03-03 09:00")), True, id="in hand"),
        pytest.param((RECEIVED, ("finished", "2026-03-03 09:00")), False, id="finished"),
        pytest.param((RECEIVED, ("returned", "2026-03-03 09:00")), False, id="returned"),
        pytest.param((RECEIVED, ("stopped", "2026-03-03 09:00")), False, id="stopped"),
        pytest.param((RECEIVED, ("paused", "2026-03-03 09:00")), False, id="paused"),
        pytest.param(
            (RECEIVED, ("supplement_requested", "2026-03-03 09:00")), False, id="waits for papers"
        ),
        pytest.param(
            (
                RECEIVED,
                ("finished", "2026-03-03 09:00"),
                ("processing", "2026-03-03 10:00"),
            ),
            True,
            id="opened again",
        ),
        pytest.param(
            (
                RECEIVED,
                ("supplement_requested", "2026-03-02 10:00"),
                ("processing", "2026-03-02 11:00"),
                ("supplement_requested", "2026-03-02 14:00"),
                ("processing", "2026-03-02 15:00"),
            ),
            False,
            id="late already by its second request",
        ),
    ],
)
async def test_only_what_runs_can_be_finished_in_time(
    ours: Hall, steps: tuple[tuple[str, str], ...], there: bool
) -> None:
    await ours.put(*complete("a", *steps, due=TODAY).events())
    assert [name for name, *_ in await found(ours, Kind.DUE)] == (["a"] if there else [])


async def test_while_a_fee_is_awaited_the_portal_counts_on(ours: Hall) -> None:
    await ours.put(
        *complete("a", RECEIVED, ("payment_requested", "2026-03-03 09:00"), due=TODAY).events()
    )
    (unit,) = (await look(ours)).units
    (entry,) = unit.of(Kind.DUE)
    assert (entry.fee_awaited, entry.deadline, entry.left) == (True, at(TODAY), 5 * HOUR)


async def test_an_extended_due_date_is_the_one_in_force(ours: Hall) -> None:
    times = DossierTimes(
        received=at("2026-03-02 09:00"), due=at("2026-03-03 17:00"), extended=at(TODAY)
    )
    await ours.put(*(replace(e, times=times) for e in complete("a").events()))
    later = replace(times, due=at(TODAY), extended=at(FAR))
    await ours.put(*(replace(e, times=later) for e in complete("b").events()))
    assert await found(ours, Kind.DUE) == [("a", TODAY, 5 * HOUR)]


async def test_a_due_date_that_a_pause_moved_is_told_when_it_comes(ours: Hall) -> None:
    """Four hours were left when papers were asked for, and are left again when they came."""
    asked = Supplement(
        supplement_id="s",
        requested_at=at("2026-03-02 13:00"),
        completed_at=at("2026-03-04 08:00"),
        old_due=at("2026-03-02 17:00"),
        new_due=None,
    )
    steps = (
        RECEIVED,
        ("supplement_requested", "2026-03-02 13:00"),
        ("processing", "2026-03-04 08:00"),
    )
    await ours.put(*complete("a", *steps, due="2026-03-02 17:00", supplements=(asked,)).events())
    assert await found(ours, Kind.DUE) == [("a", "2026-03-04 14:00", 2 * HOUR)]


async def test_by_date_the_day_of_the_due_date_has_its_whole_time(ours: Hall) -> None:
    await ours.put(*complete("a", due="2026-03-04 08:00").events())
    await ours.refresh()
    by_date = replace(RULES, comparison=Comparison.DATE)
    savable = await survey(ours.lane, ours.decode, by_date, NOW)
    assert savable.counts[Kind.DUE] == 1


# --- the second request to supplement ----------------------------------------------------------------

ASKED = ("supplement_requested", "2026-03-02 10:00")
ANSWERED = ("processing", "2026-03-03 10:00")


@pytest.mark.parametrize(
    ("steps", "deadline"),
    [
        pytest.param((RECEIVED, ASKED, ANSWERED), FAR, id="one, answered"),
        pytest.param((RECEIVED, ASKED), "", id="one, awaited: the clock stands still"),
        pytest.param((RECEIVED, ANSWERED), None, id="none"),
        pytest.param(
            (RECEIVED, ASKED, ANSWERED, ("supplement_requested", "2026-03-03 11:00")),
            None,
            id="two: late already",
        ),
        pytest.param((RECEIVED, ASKED, ASKED, ANSWERED), FAR, id="the same request told twice"),
        pytest.param(
            (RECEIVED, ASKED, ANSWERED, ("finished", "2026-03-03 11:00")), None, id="finished"
        ),
        pytest.param(
            (("submitted", "2026-03-02 08:00"), ASKED), "", id="one, before the reception"
        ),
        pytest.param(
            (("submitted", "2026-03-02 08:00"), ASKED, ("refused", "2026-03-03 11:00")),
            None,
            id="refused before the reception",
        ),
    ],
)
async def test_one_more_request_would_make_it_late(
    ours: Hall, steps: tuple[tuple[str, str], ...], deadline: str | None
) -> None:
    told_events = complete("a", *steps).events()
    names = [f"{e.event_id}.{n}" for n, e in enumerate(told_events)]
    await ours.put(*(replace(e, event_id=name) for e, name in zip(told_events, names, strict=True)))
    shown = [(name, when or "") for name, when, _ in await found(ours, Kind.SUPPLEMENT)]
    assert shown == ([] if deadline is None else [("a", deadline)])


async def test_what_is_late_already_cannot_be_made_late(ours: Hall) -> None:
    await ours.put(*complete("a", RECEIVED, ASKED, ANSWERED, due="2026-03-03 16:00").events())
    now = at("2026-03-20 10:00")  # beyond the working day that the pause moved it by
    assert await found(ours, Kind.SUPPLEMENT, now) == []


# --- missing fields ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "fields"),
    [
        pytest.param({}, (), id="nothing"),
        pytest.param({"channel": None}, (Field.CHANNEL,), id="channel"),
        pytest.param(
            {"attachments": ()},
            (Field.FROM_DATA_STORE, Field.POPULATION_DATA),
            id="no papers: only what was said without them is known",
        ),
        pytest.param(
            {"score": ScoreFields(has_digitised_components=True)},
            (Field.POPULATION_DATA,),
            id="population data",
        ),
        pytest.param(
            {"score": ScoreFields(vneid_authenticated=True)}, (Field.REUSED,), id="re-use"
        ),
        pytest.param(
            {"financial_state": FinancialState.OWED}, (Field.PAID_ONLINE,), id="payment of a fee"
        ),
        pytest.param(
            {
                "financial_state": FinancialState.OWED,
                "score": replace(NOTHING_MISSING["score"], online_payment=OnlinePayment.OFFLINE),
            },
            (),
            id="paid at the counter is known",
        ),
    ],
)
async def test_a_missing_field_is_named(
    ours: Hall, state: dict[str, Any], fields: tuple[Field, ...]
) -> None:
    await ours.put(*complete("a", **state).events())
    savable = await look(ours)
    entries = [entry for unit in savable.units for entry in unit.of(Kind.FIELD)]
    assert [entry.fields for entry in entries] == ([fields] if fields else [])
    assert [unit.fields for unit in savable.units] == ([dict.fromkeys(fields, 1)] if fields else [])


async def test_without_a_due_date_nobody_can_be_on_time(ours: Hall) -> None:
    await ours.put(*complete("a", due=None).events())
    (unit,) = (await look(ours)).units
    (entry,) = unit.entries
    assert (entry.kind, entry.fields, entry.deadline, entry.left) == (
        Kind.FIELD,
        (Field.DUE,),
        None,
        None,
    )


async def test_of_a_closed_dossier_no_field_is_asked_for(ours: Hall) -> None:
    await ours.put(
        *complete("a", RECEIVED, ("finished", "2026-03-03 09:00"), channel=None).events()
    )
    assert (await look(ours)).units == ()


async def test_the_nearest_due_dates_are_listed_and_all_are_counted(ours: Hall) -> None:
    dues = {"a": "2026-03-09 17:00", "b": "2026-03-03 17:00", "c": None, "d": "2026-03-06 17:00"}
    for name, due in dues.items():
        await ours.put(*complete(name, due=due, channel=None).events())
    await ours.put(*complete("e", due=FAR, channel=None, unit="H12.02").events())
    savable = await look(ours, listed=2)
    assert [unit.agency for unit in savable.units] == ["H12.01", "H12.02"]
    first = savable.units[0]
    assert [entry.dossier_id for entry in first.of(Kind.FIELD)] == ["d", "a"]
    assert first.counts[Kind.FIELD] == 4
    assert first.fields == {Field.CHANNEL: 4, Field.DUE: 1}
    everything = await look(ours)
    assert [e.dossier_id for e in everything.units[0].of(Kind.FIELD)] == ["d", "a", "b", "c"]
    assert everything.units[0].of(Kind.FIELD)[2].deadline is None


# --- units, counts, and what cannot be decided -------------------------------------------------------


async def test_the_most_urgent_are_listed_and_all_are_counted(ours: Hall) -> None:
    for minute in range(5):
        due = f"2026-03-04 16:{50 - minute}"
        await ours.put(*complete(f"d{minute}", due=due).events())
    savable = await look(ours, listed=2)
    (unit,) = savable.units
    assert [entry.dossier_id for entry in unit.entries] == ["d4", "d3"]
    assert (unit.counts[Kind.DUE], unit.total, savable.total) == (5, 5, 5)


async def test_a_dossier_can_be_there_for_two_reasons(ours: Hall) -> None:
    await ours.put(*complete("a", RECEIVED, ASKED, ANSWERED, due=TODAY, channel=None).events())
    (unit,) = (await look(ours)).units
    assert [entry.kind for entry in unit.entries] == [Kind.DUE, Kind.SUPPLEMENT, Kind.FIELD]


async def test_one_unit_can_be_asked_for(ours: Hall) -> None:
    for unit in ("H12.01", "H12.02"):
        await ours.put(*complete(f"due-{unit}", due=TODAY, unit=unit, channel=None).events())
    savable = await look(ours, agency="H12.02")
    assert [unit.agency for unit in savable.units] == ["H12.02"]
    assert savable.counts[Kind.DUE] == savable.counts[Kind.FIELD] == 1


async def test_a_unit_without_anything_is_told_when_it_is_asked_for(ours: Hall) -> None:
    await ours.put(*complete("a", due=TODAY).events())
    only = (await look(ours)).only(["H12.09", "H12.01"])
    assert [(unit.agency, unit.total) for unit in only.units] == [("H12.01", 1), ("H12.09", 0)]


async def test_without_a_mapping_of_its_unit_a_dossier_is_told_last(ours: Hall) -> None:
    await ours.put(*complete("a", due=TODAY, unit="H12.77").events())
    await ours.put(*complete("b", due=TODAY).events())
    assert [unit.agency for unit in (await look(ours)).units] == ["H12.01", None]


async def test_what_cannot_be_read_is_counted_and_stops_nobody(ours: Hall) -> None:
    for name in "abc":
        await ours.put(*complete(name, due=TODAY).events())
    while await ours.refresh():
        pass

    async def decode(payload: bytes) -> DossierEvent:
        if payload == b"payload of a-1":
            raise UndecodableMessage("broken")
        return await ours.decode(payload)

    for table in (deliveries, timeline, events):
        await ours.lane.write(
            lambda c, table=table: c.execute(delete(table).where(table.c.dossier_id == "b"))  # type: ignore[misc]
        )
    savable = await survey(ours.lane, decode, RULES, NOW)
    assert (savable.undecided, savable.counts[Kind.DUE]) == (2, 1)


async def test_dossiers_that_still_wait_to_be_reckoned_are_told(ours: Hall) -> None:
    await ours.put(*complete("a", due=TODAY).events())
    savable = await survey(ours.lane, ours.decode, RULES, NOW)
    assert (savable.waiting, savable.total) == (1, 0)
    assert (await look(ours)).waiting == 0


async def test_a_year_that_is_not_announced_is_told_to_be_uncertain(ours: Hall) -> None:
    await ours.put(
        *complete("a", ("received", "2031-03-03 09:00"), due="2031-03-04 17:00").events()
    )
    savable = await look(ours, at("2031-03-04 10:00"))
    (unit,) = savable.units
    assert savable.certainty is unit.entries[0].certainty is Certainty.UNKNOWN


async def test_the_end_of_the_next_working_day_is_told(ours: Hall) -> None:
    assert (await look(ours)).until == at("2026-03-05 17:00")


async def test_the_last_instant_before_the_deadline_is_in_time(ours: Hall) -> None:
    await ours.put(*complete("a", due=TODAY).events())
    (entry,) = (await look(ours, at(TODAY) - TICK)).units[0].entries
    assert entry.left == TICK


# --- points ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "rate", "points"),
    [
        (Field.DUE, "on_time", 20),
        (Field.CHANNEL, "channelOnlineSum/channelTotalSum", None),
        (Field.REUSED, "REUSED_DIGITIZED_DATA", 2),
        (Field.FROM_DATA_STORE, "SYNCED_WITH_DVCQG_PERSONAL_STORAGE", 4),
        (Field.POPULATION_DATA, "CITIZEN_DATA_CONNECTED_DOSSIER", 2),
        (Field.PAID_ONLINE, "online_payment", 6),
    ],
    ids=lambda value: str(value),
)
def test_what_a_field_costs_is_in_the_catalogue(
    field: Field, rate: str, points: int | None
) -> None:
    expected = AtStake(rate=rate, points=None if points is None else Decimal(points))
    assert at_stake(field, date(2026, 8, 31)) == expected


# --- the candidates ----------------------------------------------------------------------------------

NEXT = ("processing", "supplement_requested", "payment_requested", "paused", "finished", "refused")


async def test_no_dossier_is_missed_by_the_statement_that_looks_for_them(ours: Hall) -> None:
    """Invented lives, each decided by itself: what is found by way of the ledger's columns is the same."""
    chance = random.Random(20260304)
    by_itself: set[tuple[str, Kind]] = set()
    for number in range(200):
        hour = at("2026-02-27 07:00") + timedelta(hours=chance.randrange(120))
        steps = []
        for status in [
            chance.choice(("submitted", "received")),
            *chance.sample(NEXT, 3)[: chance.randrange(4)],
            *(["supplement_requested"] if chance.random() < 0.3 else []),
        ]:
            hour += timedelta(hours=chance.randrange(1, 24))
            if hour < NOW:
                steps.append((status, told(hour)))
        due = f"2026-03-0{chance.randrange(1, 9)} 17:00" if chance.random() < 0.9 else None
        channel = chance.choice((Channel.ONLINE, Channel.DIRECT))
        steps = steps or [("submitted", "2026-03-04 09:00")]
        told_events = complete(f"d{number}", *steps, due=due, channel=channel).events()
        if chance.random() < 0.5:
            sent = at(steps[0][1])
            told_events = [replace(e, times=replace(e.times, submitted=sent)) for e in told_events]
        await ours.put(*told_events)
    savable = await look(ours, listed=1000)
    there = {(e.dossier_id, e.kind) for u in savable.units for e in u.entries} - {
        (f"d{number}", Kind.FIELD) for number in range(200)
    }
    for one in await ours.lane.read(lambda c: dossiers_told(c, [f"d{n}" for n in range(200)])):
        states = await opened(one, ours.decode)
        story = life(one, states, RULES.codes)
        if end(story.until(NOW), pause_ends=True) is None:
            by_itself |= {
                (one.dossier_id, entry.kind)
                for entry in entries_of(states[-1][1], story, RULES, NOW)
            }
    assert {kind for _, kind in there} == {Kind.RECEPTION, Kind.DUE, Kind.SUPPLEMENT}
    assert there == by_itself
