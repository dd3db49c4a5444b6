"""The quantities of dossiers as they are counted in the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, update

from monitoring.rates.catalogue import packaged
from monitoring.rates.dossier_counts import TOLD_ELSEWHERE, NotCounted, Scope, count, live
from monitoring.rates.points import known, shown
from schemas.dossier.service_levels import parse_service_levels
from schemas.dossier.timeliness import Verdict
from schemas.ledger.figures import mark_outdated
from schemas.ledger.model import Known
from schemas.ledger.tables import dossier_target
from schemas.records import Channel, Procedure, ResultPaper, ScoreFields
from tests.unit.dossier.samples import at
from tests.unit.rates.counted import RULES, UNITS, Hall, Story, hall, span_of

MARCH, APRIL = "2026-03", "2026-04"
MONDAY = ("received", "2026-03-02 09:00")
IN_FEBRUARY = ("received", "2026-02-26 09:00")


@pytest.fixture
async def ours(tmp_path: Path) -> AsyncIterator[Hall]:
    async with hall(tmp_path) as opened:
        yield opened


PROGRESS = (
    "received_in_period",
    "received_and_carried_over",
    "handled_in_period",
    "on_time_or_within_time",
    "finished",
    "finished_on_time",
    "open",
    "open_within_time",
)


@pytest.mark.parametrize(
    ("story", "march"),
    [
        pytest.param(
            Story("early", (MONDAY, ("finished", "2026-03-05 10:00"))),
            (1, 1, 1, 1, 1, 1, 0, 0),
            id="received and finished in time",
        ),
        pytest.param(
            Story("late", (MONDAY, ("finished", "2026-03-09 10:00"))),
            (1, 1, 1, 0, 1, 0, 0, 0),
            id="finished late",
        ),
        pytest.param(
            Story("open", (MONDAY,), due="2026-04-10 17:00"),
            (1, 1, 1, 1, 0, 0, 1, 1),
            id="open and within time",
        ),
        pytest.param(Story("overdue", (MONDAY,)), (1, 1, 1, 0, 0, 0, 1, 0), id="open and late"),
        pytest.param(
            Story("april", (MONDAY, ("finished", "2026-04-02 10:00")), due="2026-04-02 17:00"),
            (1, 1, 1, 1, 0, 0, 1, 1),
            id="finished after the period: open in it",
        ),
        pytest.param(
            Story("carried", (IN_FEBRUARY, ("finished", "2026-03-05 10:00"))),
            (0, 1, 1, 1, 1, 1, 0, 0),
            id="carried over",
        ),
        pytest.param(
            Story("before", (IN_FEBRUARY, ("finished", "2026-02-27 10:00"))),
            (0,) * 8,
            id="over before the period",
        ),
        pytest.param(
            Story(
                "fetched",
                (IN_FEBRUARY, ("finished", "2026-02-27 10:00"), ("returned", "2026-03-02 10:00")),
            ),
            (0, 0, 1, 0, 0, 0, 0, 0),
            id="finished before, returned in it",
        ),
        pytest.param(
            Story(
                "again",
                (IN_FEBRUARY, ("finished", "2026-02-27 10:00"), ("processing", "2026-03-03 08:00")),
            ),
            (0, 1, 1, 0, 0, 0, 1, 0),
            id="opened again in it",
        ),
        pytest.param(
            Story("after", (("received", "2026-04-01 00:00"),)), (0,) * 8, id="received after it"
        ),
        pytest.param(
            Story("last", (("received", "2026-03-31 23:59"),), due="2026-04-10 17:00"),
            (1, 1, 1, 1, 0, 0, 1, 1),
            id="received in its last minute in Viet Nam",
        ),
        pytest.param(
            Story("midnight", (MONDAY, ("finished", "2026-04-01 00:00")), due="2026-03-31 17:00"),
            (1, 1, 1, 1, 0, 0, 1, 1),
            id="finished late at the midnight after it: within time all through it",
        ),
        pytest.param(
            Story("submitted", (("submitted", "2026-03-02 09:00"),)), (0,) * 8, id="never received"
        ),
        pytest.param(
            Story("stopped", (MONDAY, ("withdrawn", "2026-03-03 09:00"))),
            (1, 1, 1, 1, 1, 1, 0, 0),
            id="withdrawn counts as ended",
        ),
    ],
)
async def test_one_dossier_in_a_month(ours: Hall, story: Story, march: tuple[int, ...]) -> None:
    await ours.put(*story.events())
    await ours.refresh()
    counted = (await ours.count(MARCH)).total
    assert tuple(counted.known[name] for name in PROGRESS) == march
    for name, expected in zip(PROGRESS, march, strict=True):
        listed = await ours.dossiers(name, MARCH)
        assert [one.dossier_id for one in listed] == [story.name] * expected, name


async def test_a_dossier_without_a_due_date_has_no_answer(ours: Hall) -> None:
    await ours.put(*Story("undated", (MONDAY,), due=None).events())
    await ours.put(*Story("dated", (MONDAY, ("finished", "2026-03-05 10:00"))).events())
    await ours.refresh()
    total = (await ours.count(MARCH)).total
    assert (total.known["received_and_carried_over"], total.known["on_time_or_within_time"]) == (
        2,
        None,
    )
    assert (total.shown["on_time_or_within_time"], total.unknown["on_time_or_within_time"]) == (
        1,
        1,
    )
    listed = await ours.dossiers("on_time_or_within_time", MARCH)
    assert [(one.dossier_id, one.counts) for one in listed] == [("dated", True), ("undated", None)]


async def test_a_dossier_of_a_second_supplement_is_listed_with_the_reason(ours: Hall) -> None:
    asked = (("supplement_requested", "2026-03-03 09:00"), ("processing", "2026-03-03 15:00"))
    again = (("supplement_requested", "2026-03-04 09:00"), ("processing", "2026-03-04 15:00"))
    story = Story("twice", (MONDAY, *asked, *again, ("finished", "2026-03-05 10:00")))
    await ours.put(*story.events())
    await ours.refresh()
    (late,) = await ours.dossiers("on_time_or_within_time", MARCH, instead=True)
    assert (late.verdict, late.late_because) == (Verdict.LATE, "second_supplement")
    assert await ours.dossiers("on_time_or_within_time", MARCH) == []


async def test_units_add_up_and_a_scope_narrows(ours: Hall) -> None:
    names = "abcde"
    units = (UNITS[0], UNITS[0], UNITS[1], UNITS[2], "H99.01")  # the last has no mapping
    for name, unit in zip(names, units, strict=True):
        await ours.put(*Story(name, (MONDAY,), unit=unit).events())
    await ours.refresh()
    counted = await ours.count(MARCH)
    received = {unit.agency: unit.known["received_in_period"] for unit in counted.units}
    assert received == {UNITS[0]: 2, UNITS[1]: 1, UNITS[2]: 1, None: 1}
    assert counted.total.known["received_in_period"] == 5

    async def total(scope: Scope) -> object:
        return (await ours.count(MARCH, scope)).total.known["received_in_period"]

    assert await total(Scope(agencies=UNITS[:2])) == 3
    assert await total(Scope(agencies=())) == 0
    assert await total(Scope(procedure="1.000001")) == 5
    assert await total(Scope(procedure="1.000002")) == 0
    assert await total(Scope(sector="S1", agencies={UNITS[2]})) == 1


async def test_a_channel_that_is_not_told_is_the_counter(ours: Hall) -> None:
    for name, channel in (("a", Channel.ONLINE), ("b", Channel.DIRECT), ("c", None)):
        await ours.put(*Story(name, (MONDAY,), state={"channel": channel}).events())
    await ours.refresh()
    total = (await ours.count(MARCH)).total.known
    assert (total["online_received"], total["channel_total"]) == (1, 3)


async def test_synchronised_is_what_the_portal_is_known_to_hold(ours: Hall) -> None:
    await ours.put(*Story("there", (MONDAY,)).events())
    await ours.put(*Story("owed", (MONDAY,)).events())
    await ours.put(*Story("born", (MONDAY,), state={"born_on_portal": True}).events())
    await deliver_state(ours, "there")
    await ours.refresh()
    total = (await ours.count(MARCH)).total.known
    assert (total["synced_received_in_period"], total["received_in_period"]) == (2, 3)
    missing = await ours.dossiers("synced_received_in_period", MARCH, instead=True)
    assert [one.dossier_id for one in missing] == ["owed"]


async def deliver_state(ours: Hall, dossier_id: str) -> None:
    """As if the portal had said that it holds the dossier."""
    statement = (
        update(dossier_target)
        .where(dossier_target.c.dossier_id == dossier_id)
        .values(known=Known.PRESENT.value)
    )
    await ours.lane.write(lambda c: c.execute(statement))


async def test_every_quantity_of_dossiers_is_counted_or_says_why_not(ours: Hall) -> None:
    await ours.put(*Story("a", (MONDAY, ("finished", "2026-03-05 10:00"))).events())
    await ours.refresh()
    total = (await ours.count(MARCH)).total
    for name, quantity in packaged().quantities.items():
        told = quantity.counts == "dossiers" and name not in TOLD_ELSEWHERE
        assert (total.shown[name] is not None) is told, name
        if told:
            assert await ours.dossiers(name, MARCH) is not None
        else:
            with pytest.raises(NotCounted, match=name):
                await ours.dossiers(name, MARCH)


async def test_the_counts_feed_the_rates(ours: Hall) -> None:
    await ours.put(*Story("a", (MONDAY, ("finished", "2026-03-05 10:00"))).events())
    await ours.put(*Story("b", (MONDAY,)).events())
    await ours.refresh()
    total = (await ours.count(MARCH)).total
    for rate in packaged().rates:
        known(rate, total.known)  # every quantity is named
    on_time = packaged().rate("on_time")
    assert on_time is not None
    assert str(shown(on_time, total.shown)) == str(known(on_time, total.known))
    assert (known(on_time, total.known).ratio, known(on_time, total.known).score) == (50, 10)


@pytest.mark.parametrize(("end", "within"), [("2026-03-06 12:00", 1), ("2026-04-01 00:00", 0)])
async def test_open_dossiers_are_judged_at_the_end_that_is_given(
    ours: Hall, end: str, within: int
) -> None:
    await ours.put(*Story("a", (MONDAY,)).events())
    await ours.refresh()
    start, _ = span_of(MARCH)
    counted = await ours.lane.read(lambda c: count(c, start, at(end)))
    assert counted.total.known["open_within_time"] == within


LEVELS = parse_service_levels(
    """code,level,valid_from,valid_to,result,fee,source
1.000001,full,,,paper,no,QĐ giả định
1.000002,full,,,electronic,no,QĐ giả định
1.000003,partial,,,paper,no,QĐ giả định
""",
    "procedures.csv",
)
FILE = ResultPaper(
    file_id="1", part_code=None, result_code=None, reference="file", removed=False, signed=None
)
ONLINE: dict[str, Any] = {"channel": Channel.ONLINE}
BY_LEVEL = ("full_process_online", "full_process_eligible", "online_with_electronic_result")


def of_procedure(code: str, **state: Any) -> dict[str, Any]:
    return {
        "procedure": Procedure(local_code=code, national_code=None, name=None, version=None),
        **state,
    }


@pytest.mark.parametrize(
    ("state", "known", "shown_as"),
    [
        pytest.param(of_procedure("P1"), (0, 1, 0), (0, 1, 0), id="full, at the counter"),
        pytest.param(of_procedure("P1", **ONLINE), (1, 1, 0), (1, 1, 0), id="full, online"),
        pytest.param(
            of_procedure("P1", results=(FILE,), **ONLINE),
            (1, 1, 1),
            (1, 1, 1),
            id="full, online, a file of the paper",
        ),
        pytest.param(
            of_procedure("P2", **ONLINE), (1, 1, 1), (1, 1, 1), id="full, online, no paper needed"
        ),
        pytest.param(of_procedure("P3", **ONLINE), (0, 0, 0), (0, 0, 0), id="partial, online"),
        pytest.param(
            of_procedure("P4"), (0, None, 0), (0, 0, 0), id="of unknown level, at the counter"
        ),
        pytest.param(
            of_procedure("P4", **ONLINE), (None,) * 3, (0, 0, 0), id="of unknown level, online"
        ),
        pytest.param(
            of_procedure("P4", results=(FILE,), **ONLINE),
            (None, None, 1),
            (0, 0, 1),
            id="of unknown level, online, a file",
        ),
    ],
)
async def test_a_dossier_by_the_level_of_its_procedure(
    ours: Hall,
    state: dict[str, Any],
    known: tuple[int | None, ...],
    shown_as: tuple[int, ...],
) -> None:
    await ours.put(*Story("a", (MONDAY,), state=state).events())
    await ours.refresh(replace(RULES, levels=LEVELS))
    total = (await ours.count(MARCH)).total
    assert tuple(total.known[name] for name in BY_LEVEL) == known
    assert tuple(total.shown[name] for name in BY_LEVEL) == shown_as
    for name, counted in zip(BY_LEVEL, shown_as, strict=True):
        listed = [one.counts for one in await ours.dossiers(name, MARCH)]
        assert listed.count(True) == counted
        assert (None in listed) is (total.known[name] is None)


LIMITED = parse_service_levels(
    """code,level,valid_from,valid_to,result,fee,source,processing_time,processing_unit
1.000001,full,,2026-03-02,,,QĐ giả định,9,working_day
1.000001,full,2026-03-02,,,,QĐ giả định,2,working_day
1.000003,full,,,,,QĐ giả định,,
""",
    "procedures.csv",
)


@pytest.mark.parametrize(
    ("procedure", "finished", "in_time"),
    [
        pytest.param("P1", "2026-03-04 09:00", 1, id="at the limit"),
        pytest.param("P1", "2026-03-04 09:01", 0, id="a minute after it"),
        pytest.param("P1", None, 0, id="still open, long after it"),
        pytest.param("P3", "2026-03-04 09:00", None, id="of a procedure without a limit"),
        pytest.param("P2", "2026-03-04 09:00", None, id="of a procedure that is not listed"),
    ],
)
async def test_without_a_due_date_the_limit_in_force_on_the_day_of_reception_decides(
    ours: Hall, procedure: str, finished: str | None, in_time: int | None
) -> None:
    steps = (MONDAY, *([("finished", finished)] if finished else []))
    await ours.put(*Story("a", steps, due=None, state=of_procedure(procedure)).events())
    await ours.refresh(replace(RULES, levels=LIMITED))
    total = (await ours.count(MARCH)).total
    assert total.known["received_and_carried_over"] == 1
    assert total.known["on_time_or_within_time"] == in_time


async def test_a_limit_that_is_added_later_makes_the_figures_anew(ours: Hall) -> None:
    steps = (MONDAY, ("finished", "2026-03-04 09:01"))
    await ours.put(*Story("a", steps, due=None, state=of_procedure("P1")).events())
    await ours.refresh(replace(RULES, levels=LEVELS))
    assert (await ours.count(MARCH)).total.known["on_time_or_within_time"] is None
    limited = replace(RULES, levels=LIMITED)
    assert await ours.lane.write(lambda c: mark_outdated(c, limited.name, 10)) == 1
    await ours.refresh(limited)
    assert (await ours.count(MARCH)).total.known["on_time_or_within_time"] == 0


async def test_an_empty_period_counts_nothing(ours: Hall) -> None:
    counted = await ours.count(APRIL)
    assert counted.units == ()
    assert counted.total.known["received_and_carried_over"] == 0


async def test_what_is_unknown_of_one_is_unknown_of_all_and_counts_for_nothing(ours: Hall) -> None:
    told = {"score": ScoreFields(vneid_authenticated=True)}
    await ours.put(*Story("told", (MONDAY,), state=told).events())
    await ours.put(*Story("silent", (MONDAY,)).events())
    await ours.refresh()
    total = (await ours.count(MARCH)).total
    assert total.known["with_citizen_data"] is None
    assert (total.shown["with_citizen_data"], total.unknown["with_citizen_data"]) == (1, 1)
    listed = await ours.dossiers("with_citizen_data", MARCH)
    assert [(one.dossier_id, one.counts) for one in listed] == [("silent", None), ("told", True)]


async def test_the_years_before_are_not_read(ours: Hall) -> None:
    """Counting searches every table by an index, and so does the finding of the ids."""
    start, end = span_of(MARCH)
    steps: list[str] = []

    def explain(
        connection: Connection, _cursor: object, statement: str, parameters: object, *_: object
    ) -> None:
        raw = connection.connection.cursor()
        raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        steps.extend(row[3] for row in raw.fetchall())

    def ask(connection: Connection) -> None:
        event.listen(connection, "before_cursor_execute", explain)
        connection.execute(live(start, end))
        count(connection, start, end)

    await ours.lane.read(ask)
    reads = [step for step in steps if step.startswith(("SCAN", "SEARCH"))]
    assert len(reads) == 5
    assert all("USING" in step and step.startswith("SEARCH") for step in reads), reads
