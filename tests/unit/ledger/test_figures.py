"""Figures of dossiers: what is due, what is written, and what loses against a newer state."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, select, update

from monitoring.rates.reckoning import Rules, opened, reckon, refresh
from schemas.codec import UndecodableMessage
from schemas.dossier.mappings import Codes
from schemas.dossier.service_levels import parse_service_levels
from schemas.dossier.timeline import Comparison
from schemas.ledger import figures
from schemas.ledger.figures import FOREVER, mark_outdated
from schemas.ledger.tables import deliveries, dossiers, events, timeline, verdict_spans
from schemas.ledger.tables import figures as figures_table
from schemas.records import DossierEvent, EventKind, Feed, identity_only
from tests.contract.ledger_contract import make_event
from tests.unit.dossier.samples import at
from tests.unit.rates.counted import RULES, Hall, Story, codes, hall, silent, with_status

MONDAY = ("received", "2026-03-02 09:00")
FINISHED = ("finished", "2026-03-05 10:00")
LIFE = (MONDAY, FINISHED)


@pytest.fixture
async def ours(tmp_path: Path) -> AsyncIterator[Hall]:
    async with hall(tmp_path) as opened_hall:
        yield opened_hall


async def spans_of(ours: Hall, dossier_id: str) -> list[tuple[object, ...]]:
    query = (
        select(verdict_spans.c.verdict, verdict_spans.c.begun_at, verdict_spans.c.ended_at)
        .where(verdict_spans.c.dossier_id == dossier_id)
        .order_by(verdict_spans.c.begun_at)
    )
    return [tuple(row) for row in await ours.lane.read(lambda c: c.execute(query).all())]


def deletion(name: str, version: int) -> DossierEvent:
    return identity_only(
        event_id=f"{name}-gone",
        dossier_id=name,
        kind=EventKind.DELETION,
        source="opencps",
        feed=Feed.SWEEP,
        cursor="1",
        content_hash="x",
        read_seq=version,
        effective_at=at("2026-03-10 09:00"),
        recorded_at=at("2026-03-10 09:01"),
        sealed=b"sealed",
    )


async def test_what_is_reckoned_is_due_no_more(ours: Hall) -> None:
    await ours.put(*Story("a", (MONDAY, FINISHED)).events())
    assert await ours.standings() == {"due": 1}
    assert await ours.refresh() == 1
    assert await ours.standings() == {"reckoned": 1}
    assert await spans_of(ours, "a") == [
        ("open_in_time", at("2026-03-02 09:00"), at("2026-03-05 10:00")),
        ("early", at("2026-03-05 10:00"), None),
    ]
    assert await ours.refresh() == 0


async def test_a_refresh_takes_up_as_many_as_it_is_told(ours: Hall) -> None:
    for name in "abc":
        await ours.put(*Story(name, (MONDAY,)).events())
    assert [await ours.refresh(limit=2) for _ in range(3)] == [2, 1, 0]
    assert await ours.standings() == {"reckoned": 3}


async def test_a_new_event_makes_it_due_and_replaces_its_spans(ours: Hall) -> None:
    first, second = Story("a", (MONDAY, FINISHED)).events()
    await ours.put(first)
    await ours.refresh()
    assert [row[0] for row in await spans_of(ours, "a")] == ["open_in_time", "open_late"]
    await ours.put(second)
    assert await ours.standings() == {"reckoned": 1, "due": 1}
    await ours.refresh()
    assert [row[0] for row in await spans_of(ours, "a")] == ["open_in_time", "early"]


async def test_what_moved_on_in_between_is_not_written_and_stays_due(ours: Hall) -> None:
    first, second = Story("a", (MONDAY, FINISHED)).events()
    await ours.put(first)
    (waiting,) = await ours.lane.read(lambda c: figures.due(c, 10))
    stale = reckon(waiting, await opened(waiting, ours.decode), RULES)
    await ours.put(second)
    assert await ours.lane.write(lambda c: figures.put(c, [stale])) == 0
    assert await ours.standings() == {"due": 1}


async def test_of_two_refreshes_at_once_the_second_writes_nothing(ours: Hall) -> None:
    await ours.put(*Story("a", (MONDAY,)).events())
    (waiting,) = await ours.lane.read(lambda c: figures.due(c, 10))
    reckoned = reckon(waiting, await opened(waiting, ours.decode), RULES)
    written = [await ours.lane.write(lambda c: figures.put(c, [reckoned])) for _ in range(2)]
    assert written == [1, 0]


LEVELS = parse_service_levels(
    "code,level,valid_from,valid_to,result,fee,source\n1.000001,full,,,,,QĐ giả định\n", "p.csv"
)


@pytest.mark.parametrize(
    "changes",
    [
        {"codes": codes(version=2)},
        {"calendar_name": "another"},
        {"levels": LEVELS},
        {"comparison": Comparison.DATE},
    ],
    ids=["codes", "calendar", "levels", "comparison"],
)
async def test_other_rules_make_everything_due_bit_by_bit(
    ours: Hall, changes: dict[str, Any]
) -> None:
    for name in "abc":
        await ours.put(*Story(name, (MONDAY,)).events())
    await ours.refresh()
    other: Rules = replace(RULES, **changes)

    async def outdated() -> int:
        return await ours.lane.write(lambda c: mark_outdated(c, other.name, 2))

    assert await ours.lane.write(lambda c: mark_outdated(c, RULES.name, 2)) == 0
    assert [await outdated() for _ in range(3)] == [2, 1, 0]
    assert await ours.refresh(other) == 3
    assert await outdated() == 0


@pytest.mark.parametrize("same_reading", [False, True])
async def test_what_an_older_worker_changed_is_found(ours: Hall, same_reading: bool) -> None:
    first, second = Story("a", (MONDAY, FINISHED)).events()
    await ours.put(first)
    await ours.refresh()
    await ours.put(replace(second, read_seq=first.read_seq) if same_reading else second)
    unmarked = update(dossiers).values(figures_due=False)  # its UPDATE does not name the column
    await ours.lane.write(lambda c: c.execute(unmarked))
    assert await ours.lane.write(lambda c: mark_outdated(c, RULES.name, 10)) == 1
    await ours.refresh()
    assert [row[0] for row in await spans_of(ours, "a")] == ["open_in_time", "early"]


async def test_a_row_that_an_older_worker_writes_is_due(tmp_path: Path) -> None:
    async with hall(tmp_path) as ours:
        with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
            connection.execute(
                "INSERT INTO dossiers (dossier_id, source, state_version, log_pos, born_on_portal)"
                " VALUES ('old', 'opencps', -1, 0, 0)"
            )
            connection.commit()
        assert await ours.standings() == {"due": 1}


# --- lives that cannot be judged -------------------------------------------------------------------


async def test_an_unmapped_status_is_counted_as_such_until_it_is_mapped(ours: Hall) -> None:
    await ours.put(*Story("a", (MONDAY, ("strange", "2026-03-03 09:00"))).events())
    await ours.put(*Story("b", (MONDAY,)).events())
    await ours.refresh()
    assert await ours.standings() == {"reckoned": 1, "unmapped": 1}
    counted = (await ours.count("2026-03")).total
    assert (counted.unjudged, counted.known["received_and_carried_over"]) == (1, 1)
    assert counted.known["received_in_period"] == 2  # the time of reception needs no mapping
    assert await spans_of(ours, "a") == []


async def test_without_any_mapping_the_unit_is_unknown_and_told(ours: Hall) -> None:
    await ours.put(*Story("a", (MONDAY,)).events())
    await ours.refresh(replace(RULES, codes=Codes()))
    (unit,) = (await ours.count("2026-03")).units
    assert (unit.agency, unit.unjudged) == (None, 1)


async def test_a_time_beyond_the_calendar_is_impossible_and_stops_nobody(ours: Hall) -> None:
    await ours.put(*Story("a", (MONDAY,), due="9999-12-31 23:59").events())
    await ours.put(*Story("b", (MONDAY,)).events())
    await ours.refresh()
    assert await ours.standings() == {"reckoned": 1, "impossible": 1}


async def test_bytes_that_are_no_event_keep_nobody_else_waiting(ours: Hall) -> None:
    await ours.put(*Story("a", (MONDAY,)).events())
    await ours.put(*Story("b", (MONDAY,)).events())

    async def decode(payload: bytes) -> DossierEvent:
        if payload == b"payload of a-1":
            raise UndecodableMessage("broken")
        return await ours.decode(payload)

    assert await refresh(ours.lane, decode, RULES) == 2
    assert await ours.standings() == {"reckoned": 1, "unreadable": 1}
    assert (await ours.count("2026-03")).total.unjudged == 1


async def test_a_dossier_that_was_deleted_counts_no_more(ours: Hall) -> None:
    await ours.put(*Story("a", (MONDAY,)).events())
    await ours.refresh()
    await ours.put(deletion("a", 9))
    await ours.refresh()
    assert await ours.standings() == {"deleted": 1}
    assert await spans_of(ours, "a") == []
    counted = (await ours.count("2026-03")).total
    assert (counted.known["received_in_period"], counted.unjudged) == (0, 0)


async def test_the_deletion_of_a_step_leaves_the_dossier(ours: Hall) -> None:
    first, second = Story("a", (MONDAY, FINISHED)).events()
    await ours.put(first, second)
    await ours.put(silent(replace(second, event_id="x", kind=EventKind.DELETION, read_seq=3)))
    await ours.refresh()
    assert await ours.standings() == {"reckoned": 1}


async def test_a_gap_alone_is_named_and_a_later_one_changes_nothing(ours: Hall) -> None:
    await ours.put(make_event("g", "gap", kind=EventKind.GAP, step=False))
    await ours.put(*Story("a", (MONDAY, FINISHED)).events())
    await ours.refresh()
    before = await spans_of(ours, "a")
    await ours.put(make_event("h", "a", version=7, kind=EventKind.GAP, step=False))
    await ours.refresh()
    assert await ours.standings() == {"reckoned": 1, "gap": 1}
    assert await spans_of(ours, "a") == before


async def test_figures_outlive_the_events_they_were_reckoned_from(ours: Hall) -> None:
    await ours.put(*Story("old", (MONDAY, FINISHED)).events())
    await ours.refresh()
    before = await spans_of(ours, "old")
    await ours.put(*Story("never", (MONDAY, FINISHED)).events())

    def prune(connection: Connection) -> None:
        for table in (deliveries, timeline, events):
            connection.execute(delete(table))
        connection.execute(update(dossiers).values(figures_due=True))

    await ours.lane.write(prune)
    other = replace(RULES, codes=codes(version=2))
    await ours.refresh(other)
    assert await ours.standings() == {"kept": 1, "lost": 1}
    assert await spans_of(ours, "old") == before
    assert await ours.lane.write(lambda c: mark_outdated(c, other.name, 10)) == 0
    counted = (await ours.count("2026-03")).total
    assert (counted.known["finished"], counted.unjudged) == (1, 1)


async def test_other_rules_do_not_rewrite_a_past_of_which_steps_were_pruned(ours: Hall) -> None:
    reopened = (*LIFE, ("processing", "2026-03-06 09:00"), ("finished", "2026-03-09 10:00"))
    events_told = Story("a", reopened).events()
    await ours.put(*events_told)
    await ours.refresh()
    before = await spans_of(ours, "a")

    def prune(connection: Connection) -> None:
        connection.execute(delete(deliveries))
        for table in (timeline, events):
            connection.execute(delete(table).where(table.c.event_id.in_(["a-1", "a-2"])))

    await ours.lane.write(prune)
    other = replace(RULES, codes=codes(version=2))
    await ours.lane.write(lambda c: mark_outdated(c, other.name, 10))
    await ours.refresh(other)
    assert (await ours.standings(), await spans_of(ours, "a")) == ({"kept": 1}, before)
    again = replace(events_told[-1], event_id="a-5", read_seq=5)
    await ours.put(again)
    await ours.refresh(other)
    assert await ours.standings() == {"reckoned": 1}


# --- what the portal was told ----------------------------------------------------------------------


async def test_a_correction_is_never_sent_and_does_not_count(ours: Hall) -> None:
    first, second = Story("a", (MONDAY, FINISHED)).events()
    await ours.put(first, second)
    corrected = replace(
        second,
        event_id="c",
        kind=EventKind.CORRECTION,
        read_seq=3,
        step=replace(with_status(second.step, "finished"), at=at("2026-03-03 10:00")),
        effective_at=at("2026-03-06 09:00"),
    )
    await ours.put(corrected)
    await ours.refresh()
    assert (await spans_of(ours, "a"))[-1] == ("early", at("2026-03-05 10:00"), None)


@pytest.mark.parametrize("then", ["finished", "processing"])
async def test_a_step_taken_back_opens_the_dossier_until_the_next_end(
    ours: Hall, then: str
) -> None:
    first, second = Story("a", (MONDAY, FINISHED)).events()
    taken_back = silent(
        replace(first, kind=EventKind.ROLLBACK),
        "processing",
        event_id="r",
        read_seq=3,
        effective_at=at("2026-03-05 15:00"),
    )
    (*_, again) = Story("a", (MONDAY, (then, "2026-03-09 10:00"))).events()
    await ours.put(first, second, taken_back, replace(again, event_id="s", read_seq=4))
    await ours.refresh()
    assert [row[0] for row in await spans_of(ours, "a")] == [
        "open_in_time",
        "early",
        "open_in_time",
        "open_late",
        *(["late"] if then == "finished" else []),
    ]


async def test_a_state_without_history_ended_by_its_own_fields(ours: Hall) -> None:
    *_, newest = Story("a", (MONDAY, FINISHED)).events()
    loaded = silent(newest, effective_at=at("2026-04-20 09:00"))
    await ours.put(loaded)
    await ours.refresh()
    assert (await spans_of(ours, "a"))[-1] == ("early", at("2026-03-05 10:00"), None)


async def test_a_state_is_no_older_than_the_last_step(ours: Hall) -> None:
    """The field still holds the first end; the dossier was opened again after it."""
    steps = (MONDAY, FINISHED, ("processing", "2026-03-06 09:00"))
    *told, last = Story("a", steps).events()
    again = silent(last, "finished", event_id="s", read_seq=4, effective_at=at("2026-03-09 10:00"))
    await ours.put(*told, last, again)
    await ours.refresh()
    assert (await spans_of(ours, "a"))[-1] == ("late", at("2026-03-09 10:00"), None)


async def test_an_extended_due_date_is_the_one_that_counts(ours: Hall) -> None:
    (event,) = Story("a", (MONDAY,)).events()
    times = replace(event.times, extended=at("2026-03-10 17:00"))
    await ours.put(replace(event, times=times))
    await ours.refresh()
    assert (await spans_of(ours, "a"))[0][2] == at("2026-03-11 00:00")


async def test_a_step_without_a_status_tells_nothing(ours: Hall) -> None:
    first, second = Story("a", (MONDAY, ("processing", "2026-03-03 09:00"))).events()
    await ours.put(first, replace(second, step=with_status(second.step, None)))
    await ours.refresh()
    assert await ours.standings() == {"reckoned": 1}


async def test_from_what_and_how_it_was_reckoned_stands_beside_it(ours: Hall) -> None:
    await ours.put(*Story("a", (MONDAY, FINISHED)).events())
    await ours.refresh()
    (row,) = await ours.lane.read(lambda c: c.execute(select(figures_table)).all())
    assert (row.state_version, row.rules, row.code) == (2, RULES.name, "H12.01-a")
    assert (row.agency_code, row.procedure_code) == ("H12.01", "1.000001")


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param(
            Story("a", LIFE), (at("2026-03-02 09:00"), at("2026-03-05 10:00")), id="ended"
        ),
        pytest.param(
            Story("a", (*LIFE, ("returned", "2026-03-09 10:00"))),
            (at("2026-03-02 09:00"), at("2026-03-09 10:00")),
            id="fetched later",
        ),
        pytest.param(Story("a", (MONDAY,)), (at("2026-03-02 09:00"), FOREVER), id="open"),
        pytest.param(
            Story("a", (MONDAY, ("no such status", "2026-03-05 10:00"))),
            (at("2026-03-02 09:00"), at("2026-03-02 09:00")),
            id="received, and not judged",
        ),
        pytest.param(Story("a", (("submitted", "2026-03-02 09:00"),)), (None, None), id="never"),
    ],
)
async def test_from_when_until_when_a_dossier_can_count(
    ours: Hall, story: Story, expected: tuple[object, object]
) -> None:
    await ours.put(*story.events())
    await ours.refresh()
    query = select(figures_table.c.counts_from, figures_table.c.counts_until)
    (row,) = await ours.lane.read(lambda c: c.execute(query).all())
    assert tuple(row) == expected
