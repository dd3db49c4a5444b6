"""What form II.06 is counted from and what is counted, on either database.

Inherit and override `ours`.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Connection, delete, select

from schemas.codec import UndecodableMessage
from schemas.ledger import report_spans
from schemas.ledger.report_spans import NotYet
from schemas.ledger.tables import deliveries, events, timeline
from schemas.ledger.tables import report_spans as spans_table
from schemas.records import (
    Channel,
    CodeName,
    DossierEvent,
    EventKind,
    Feed,
    Procedure,
    StateAsOf,
    Supplement,
    identity_only,
)
from schemas.reports.form import (
    Column,
    Ended,
    Figures,
    FormTable,
    Held,
    RowKey,
    Treatment,
    Undated,
)
from schemas.reports.lives import Trouble
from schemas.reports.periods import Window
from schemas.reports.standings import Standing
from streams.reporting import tracking
from streams.reporting.form_counts import TooEarly
from streams.reporting.form_differences import WORDS, Why
from tests.contract.ledger_contract import make_event
from tests.unit.dossier.samples import at
from tests.unit.rates.counted import UNITS, Hall, Story, silent, with_status
from tests.unit.reporting.followed import (
    APRIL,
    MARCH,
    NO_CODES,
    RULES,
    Office,
    columns,
    other_codes,
    recorded,
    rolled_back,
)

MONDAY = ("received", "2026-03-02 09:00")
IN_FEBRUARY = ("received", "2026-02-26 09:00")
ON_TIME = (MONDAY, ("finished", "2026-03-06 16:00"))
DUE = "2026-03-06 17:00"  # of every story
CUT_OFF = at("2026-04-01 00:00")

NOT_OTHERWISE: dict[str, Treatment] = {}


def story(*steps: tuple[str, str], name: str = "a", **kept: object) -> Story:
    return Story(name, steps, **kept)  # type: ignore[arg-type]


# Every sentence about a treatment: the life, the columns of March by default, and by other settings.
ROWS = [
    pytest.param(
        story(MONDAY, ("supplement_requested", "2026-03-03 09:00")),
        "c3 c5 c11 c12",
        {"c3 c5 c11 c13": Treatment(supplement=Held.BY_DATE)},
        id="waiting for a supplement counts as open and in time, also when it is overdue",
    ),
    pytest.param(
        story(MONDAY, ("withdrawn", "2026-03-20 09:00")),
        "c3 c5 c7 c9",
        {"c3 c5 c7 c10": Treatment(withdrawn=Ended.BY_DATE)},
        id="withdrawn counts as dealt with on time, also after its due date",
    ),
    pytest.param(
        story(("submitted", "2026-03-01 09:00"), ("refused", "2026-03-02 09:00")),
        "",
        NOT_OTHERWISE,
        id="refused at reception is in no column",
    ),
    pytest.param(
        story(
            ("submitted", "2026-03-01 09:00"),
            ("refused", "2026-03-02 09:00"),
            received="2026-03-01 09:00",
        ),
        "",
        NOT_OTHERWISE,
        id="refused at reception is in no column, although the field has a time",
    ),
    pytest.param(
        story(("submitted", "2026-03-01 09:00")),
        "",
        NOT_OTHERWISE,
        id="merely registered is in no column",
    ),
    pytest.param(
        story(("submitted", "2026-03-01 09:00"), received="2026-03-01 09:00"),
        "",
        NOT_OTHERWISE,
        id="merely registered is in no column, although the field has a time",
    ),
    pytest.param(
        story(MONDAY, ("refused", "2026-03-20 09:00")),
        "c3 c5 c7 c10",
        {"c3 c5 c7 c9": Treatment(refused=Ended.ON_TIME)},
        id="refused after it was received has ended",
    ),
    pytest.param(
        story(MONDAY),
        "c3 c5 c11 c13",
        {"c3 c4 c11 c13": Treatment(no_channel=Column.C4)},
        id="without a channel it came in at the counter",
    ),
    pytest.param(
        story(MONDAY, state={"channel": Channel.ONLINE}),
        "c3 c4 c11 c13",
        NOT_OTHERWISE,
        id="online",
    ),
    pytest.param(
        story(MONDAY, state={"channel": Channel.POSTAL}),
        "c3 c5 c11 c13",
        NOT_OTHERWISE,
        id="by post",
    ),
    pytest.param(
        story(MONDAY, ("paused", "2026-03-03 09:00")),
        "c3 c5 c11 c12",
        {
            "c3 c5 c11 c13": Treatment(paused=Held.BY_DATE),
            "c3 c5 c7 c8": Treatment(paused=Held.ENDS),
        },
        id="paused stays open",
    ),
    pytest.param(
        story(MONDAY, ("stopped", "2026-03-20 09:00")),
        "c3 c5 c7 c10",
        {"c3 c5 c7 c9": Treatment(stopped=Ended.ON_TIME)},
        id="stopped has ended, late by its date",
    ),
    pytest.param(
        story(MONDAY, ("stopped", "2026-03-05 09:00")),
        "c3 c5 c7 c8",
        NOT_OTHERWISE,
        id="stopped has ended, early by its date",
    ),
    pytest.param(
        story(MONDAY, ("payment_requested", "2026-03-03 09:00")),
        "c3 c5 c11 c12",
        {"c3 c5 c11 c13": Treatment(payment=Held.BY_DATE)},
        id="waiting for a fee stays open",
    ),
    pytest.param(
        story(*ON_TIME, ("payment_requested", "2026-03-09 09:00")),
        "c3 c5 c7 c9",
        NOT_OTHERWISE,
        id="a fee asked for when it is handed over opens nothing again",
    ),
    pytest.param(
        story(MONDAY, due=None),
        "c3 c5 c11 c12",
        {"c3 c5 c11 c13": Treatment(no_due=Undated.LATE)},
        id="open without a due date is in time",
    ),
    pytest.param(
        story(*ON_TIME, due=None),
        "c3 c5 c7 c9",
        {"c3 c5 c7 c10": Treatment(no_due=Undated.LATE)},
        id="finished without a due date is on time",
    ),
    pytest.param(
        story(MONDAY, ("finished", "2026-03-05 23:59")),
        "c3 c5 c7 c8",
        NOT_OTHERWISE,
        id="a day early",
    ),
    pytest.param(
        story(MONDAY, ("finished", "2026-03-06 23:59")),
        "c3 c5 c7 c9",
        NOT_OTHERWISE,
        id="hours after the due time of the same day is on time: days are compared",
    ),
    pytest.param(
        story(MONDAY, ("finished", "2026-03-07 00:01")),
        "c3 c5 c7 c10",
        NOT_OTHERWISE,
        id="a day late",
    ),
    pytest.param(
        story(MONDAY, due="2026-03-31 08:00"),
        "c3 c5 c11 c12",
        NOT_OTHERWISE,
        id="open and due on the last day is in time",
    ),
    pytest.param(
        story(MONDAY, due="2026-03-30 23:59"),
        "c3 c5 c11 c13",
        NOT_OTHERWISE,
        id="open and due on the day before the last is late",
    ),
    pytest.param(
        story(IN_FEBRUARY), "c3 c6 c11 c13", NOT_OTHERWISE, id="carried over and still open"
    ),
    pytest.param(
        story(IN_FEBRUARY, ("finished", "2026-03-01 00:00")),
        "c3 c6 c7 c8",
        NOT_OTHERWISE,
        id="carried over, and dealt with on the first day",
    ),
    pytest.param(
        story(IN_FEBRUARY, ("finished", "2026-02-28 23:59")),
        "",
        NOT_OTHERWISE,
        id="over before the period",
    ),
    pytest.param(
        story(("received", "2026-03-31 23:59"), due="2026-04-10 17:00"),
        "c3 c5 c11 c12",
        NOT_OTHERWISE,
        id="received in the last minute in Viet Nam",
    ),
    pytest.param(
        story(("received", "2026-04-01 00:00")), "", NOT_OTHERWISE, id="received after it"
    ),
    pytest.param(
        story(MONDAY, ("finished", "2026-04-02 10:00"), due="2026-04-02 17:00"),
        "c3 c5 c11 c12",
        NOT_OTHERWISE,
        id="finished after the period: open in it",
    ),
    pytest.param(
        story(IN_FEBRUARY, ("finished", "2026-02-27 10:00"), ("processing", "2026-03-03 08:00")),
        "c3 c6 c11 c13",
        NOT_OTHERWISE,
        id="opened again in the period: open again",
    ),
    pytest.param(
        story(MONDAY, ("withdrawn", "2026-03-04 09:00"), ("returned", "2026-04-02 09:00")),
        "c3 c5 c7 c9",
        NOT_OTHERWISE,
        id="papers handed back after a withdrawal end nothing a second time",
    ),
    pytest.param(
        story(MONDAY, ("finished", "2026-03-05 10:00"), ("returned", "2026-03-20 10:00")),
        "c3 c5 c7 c8",
        NOT_OTHERWISE,
        id="dealt with on the day of the result, whenever it was fetched",
    ),
]


def deletion(name: str, version: int, when: str) -> DossierEvent:
    return identity_only(
        event_id=f"{name}-gone",
        dossier_id=name,
        kind=EventKind.DELETION,
        source="opencps",
        feed=Feed.SWEEP,
        cursor="1",
        content_hash="x",
        read_seq=version,
        effective_at=at(when),
        recorded_at=at(when),
        sealed=b"sealed",
    )


def only(table: FormTable) -> Figures:
    (figures,) = table.rows.values()
    return figures


class ReportSpansContract:
    @pytest.fixture
    async def ours(self) -> Hall:
        raise NotImplementedError("a contract runs only where `ours` is overridden")

    @pytest.fixture
    async def office(self, ours: Hall) -> Office:
        return Office(ours)

    # --- the columns -----------------------------------------------------------------------------

    async def test_every_treatment_of_the_form_is_counted(self, office: Office) -> None:
        """All `ROWS` in one ledger, each a dossier of its own."""
        named = {f"{n:02}": row.values for n, row in enumerate(ROWS)}
        for name, (told, _, _) in named.items():
            await office.put(*replace(told, name=name).events())
        await office.follow()
        asked = {Treatment(), *(t for row in named.values() for t in row[2].values())}
        counted = {
            treatment: {
                column: await office.members({column}, treatment=treatment) for column in Column
            }
            for treatment in asked
        }
        for name, (told, usual, otherwise) in named.items():
            for text, treatment in {usual: Treatment(), **otherwise}.items():
                found = {column for column in Column if name in counted[treatment][column]}
                assert found == columns(text), (told, treatment)

    async def test_an_extended_due_date_is_the_one_that_counts(self, office: Office) -> None:
        (event,) = story(MONDAY).events()
        extended = replace(event.times, extended=at("2026-04-10 17:00"))
        await office.put(replace(event, times=extended))
        await office.follow()
        assert await office.columns_of("a") == columns("c3 c5 c11 c12")

    async def test_a_supplement_that_only_the_state_tells_of_counts(self, office: Office) -> None:
        """A source without steps: the request is in the state's list, the status in the state."""
        (event,) = story(MONDAY).events()
        asked = Supplement(
            supplement_id="1",
            requested_at=at("2026-03-03 09:00"),
            completed_at=at("2026-04-03 09:00"),
            old_due=None,
            new_due=None,
        )
        await office.put(
            silent(event, "processing", supplements=(asked,), effective_at=at("2026-04-03 09:00"))
        )
        await office.follow()
        assert await office.columns_of("a") == columns("c3 c5 c11 c12")
        assert await office.columns_of("a", APRIL) == columns("c3 c6 c11 c13")

    async def test_rows_are_agency_sector_and_procedure_and_fold_to_each(
        self, office: Office
    ) -> None:
        for number, name in enumerate("abcde"):
            told = story(MONDAY, name=name, unit=UNITS[number % 2])
            for event in told.events():
                local = f"P{1 + number % 3}"
                await office.put(
                    replace(
                        event,
                        sector=CodeName(code=f"S{number % 2}", name=None),
                        procedure=replace(event.procedure, local_code=local),
                    )
                )
        await office.follow()
        table = await office.count()
        assert {key: figures.c5 for key, figures in table.rows.items()} == {
            RowKey("H12.01", "S0", "1.000001"): 1,
            RowKey("H12.01", "S0", "1.000002"): 1,
            RowKey("H12.01", "S0", "1.000003"): 1,
            RowKey("H12.02", "S1", "1.000001"): 1,
            RowKey("H12.02", "S1", "1.000002"): 1,
        }
        assert {key: row.c3 for key, row in table.by_agency().items()} == {"H12.01": 3, "H12.02": 2}
        assert table.by_sector()["H12.01", "S0"].c13 == 3
        assert {key: row.c11 for key, row in table.by_procedure().items()} == {
            "1.000001": 2,
            "1.000002": 2,
            "1.000003": 1,
        }
        assert table.total().c3 == 5
        assert table.of_agency("H12.02").total().c3 == 2
        assert FormTable.from_content(table.as_content()) == table
        assert await office.members("c5", agencies={"H12.02"}) == ["b", "d"]
        assert await office.members("c5", procedure="1.000001", sector="S1") == ["d"]
        assert await office.members("c5", after="b", limit=2) == ["c", "d"]

    async def test_an_agency_without_a_mapping_has_a_row_of_its_own(self, office: Office) -> None:
        await office.put(*story(MONDAY, unit="H99").events())
        await office.follow()
        table = await office.count()
        assert table.rows.keys() == {RowKey("", "S1", "1.000001")}
        assert await office.members("c3", agencies={""}) == ["a"]

    async def test_a_window_is_not_counted_as_known_before_it_began(self, office: Office) -> None:
        with pytest.raises(TooEarly):
            await office.count(MARCH, at("2026-02-28 23:59"))
        assert (await office.count(MARCH, at("2026-03-01 00:00"))).rows == {}

    # --- what was known when -----------------------------------------------------------------------

    async def test_a_late_dossier_changes_only_what_is_known_later(self, office: Office) -> None:
        await office.put(*story(*ON_TIME).events())
        await office.follow()
        frozen = await office.count(known_at=CUT_OFF)
        (late,) = story(MONDAY, name="late").events()
        await office.put(recorded(late, "2026-04-03 08:00"))
        await office.follow()
        assert await office.count(known_at=CUT_OFF) == frozen
        assert (await office.count(known_at=at("2026-04-03 08:00"))).total().c3 == 2
        (one,) = await office.differences(CUT_OFF)
        assert (one.dossier_id, one.code, one.why) == ("late", "H12.01-late", Why.ARRIVED_LATE)
        assert one.was is None
        assert one.now is not None
        assert one.now.columns == columns("c3 c5 c11 c13")

    async def test_what_is_under_way_when_figures_are_frozen_was_not_known(
        self, office: Office
    ) -> None:
        """Recorded before the cut-off, followed after it: a revision tells of it, and no recount."""
        await office.put(*story(MONDAY).events())
        await office.follow()
        await tracking.seal(office.hall.lane, CUT_OFF)
        frozen = await office.count(known_at=CUT_OFF)
        (late,) = story(MONDAY, name="late").events()
        await office.put(late)
        await office.follow()
        assert await office.count(known_at=CUT_OFF) == frozen
        assert [one.why for one in await office.differences(CUT_OFF)] == [Why.ARRIVED_LATE]
        await tracking.seal(office.hall.lane, at("2026-03-05 09:00"))
        (more,) = story(MONDAY, name="more").events()
        await office.put(more)
        await office.follow()
        assert await office.count(known_at=CUT_OFF) == frozen, "an earlier moment unseals nothing"

    async def test_figures_cannot_be_frozen_for_a_moment_to_come(self, office: Office) -> None:
        with pytest.raises(NotYet):
            await tracking.seal(office.hall.lane, datetime.now(UTC) + timedelta(hours=1))

    async def test_an_end_told_late_moves_the_dossier_to_where_it_belongs(
        self, office: Office
    ) -> None:
        first, second = story(*ON_TIME).events()
        await office.put(first, recorded(second, "2026-04-02 08:00"))
        await office.follow()
        assert await office.columns_of("a", known_at=CUT_OFF) == columns("c3 c5 c11 c13")
        assert await office.columns_of("a") == columns("c3 c5 c7 c9")
        (one,) = await office.differences(CUT_OFF)
        assert (one.reasons, one.why) == ((Why.STATUS_LATE,), Why.STATUS_LATE)

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            pytest.param(
                {"times": replace(story(MONDAY).events()[0].times, due=at("2026-05-01 09:00"))},
                Why.DUE_CHANGED,
                id="due",
            ),
            pytest.param({"channel": Channel.ONLINE}, Why.CHANNEL_CHANGED, id="channel"),
            pytest.param(
                {"handling_agency": CodeName(code="H12.02", name=None)},
                Why.UNIT_CHANGED,
                id="unit",
            ),
            pytest.param(
                {
                    "procedure": Procedure(
                        local_code="P2", national_code=None, name=None, version=None
                    )
                },
                Why.PROCEDURE_CHANGED,
                id="procedure",
            ),
            pytest.param(
                {
                    "times": replace(
                        story(MONDAY).events()[0].times, received=at("2026-02-27 09:00")
                    )
                },
                Why.RECEPTION_CHANGED,
                id="reception",
            ),
            pytest.param(
                {
                    "times": replace(
                        story(MONDAY).events()[0].times, received=at("2026-04-02 09:00")
                    )
                },
                Why.RECEPTION_CHANGED,
                id="reception, out of the window",
            ),
        ],
    )
    async def test_every_change_of_the_state_has_its_reason(
        self, office: Office, changes: dict[str, object], why: Why
    ) -> None:
        (event,) = story(MONDAY).events()
        later = at("2026-04-02 08:00")
        changed = silent(
            event, event_id="a-9", read_seq=9, effective_at=later, recorded_at=later, **changes
        )
        await office.put(event, changed)
        await office.follow()
        (one,) = await office.differences(CUT_OFF)
        assert one.why is why
        before = await office.count(known_at=CUT_OFF)
        assert only(before) == Figures(c3=1, c5=1, c11=1, c13=1)

    async def test_what_does_not_touch_the_form_is_no_difference(self, office: Office) -> None:
        (event,) = story(MONDAY).events()
        later = at("2026-04-02 08:00")
        other = replace(event.times, due=at("2026-03-09 09:00"))
        same = silent(
            event, event_id="a-9", read_seq=9, effective_at=later, recorded_at=later, times=other
        )
        await office.put(event, same)
        await office.put(*story(MONDAY, ("finished", "2026-04-03 09:00"), name="b").events())
        await office.follow()
        assert await office.differences(CUT_OFF) == [], (
            "late before and after; open before and after"
        )

    # --- what the source takes back ------------------------------------------------------------------

    async def test_a_step_taken_back_never_was_from_then_on(self, office: Office) -> None:
        first, second = story(*ON_TIME).events()
        stale = replace(
            rolled_back(second, "processing", "2026-04-02 08:00", 1), times=second.times
        )
        await office.put(first, second, stale)
        await office.follow()
        assert await office.columns_of("a", known_at=CUT_OFF) == columns("c3 c5 c7 c9")
        assert await office.columns_of("a") == columns("c3 c5 c11 c13")
        (one,) = await office.differences(CUT_OFF)
        assert one.why is Why.TAKEN_BACK

    async def test_an_end_that_was_taken_back_and_made_again_counts_once(
        self, office: Office
    ) -> None:
        first, second = story(*ON_TIME).events()
        back = rolled_back(second, "processing", "2026-03-09 08:00", 1)
        *_, again = story(*ON_TIME, ("finished", "2026-04-07 09:00")).events()
        await office.put(first, second, back, replace(again, read_seq=5))
        await office.follow()
        assert await office.columns_of("a", MARCH) == columns("c3 c5 c11 c13")
        assert await office.columns_of("a", APRIL) == columns("c3 c6 c7 c10")

    async def test_a_step_made_again_in_the_reading_that_tells_of_the_rollback(
        self, office: Office
    ) -> None:
        """One reading tells new actions before it tells what was taken back; the state is that of the end."""
        first, second = story(*ON_TIME).events()
        *_, again = story(*ON_TIME, ("finished", "2026-03-11 09:00")).events()
        back = rolled_back(second, "finished", "2026-03-09 08:00", 4)
        back = replace(
            back, times=again.times, state_as_of=StateAsOf(action_id="a-3", modified_at=None)
        )
        await office.put(first, second, again, replace(back, recorded_at=again.recorded_at))
        await office.follow()
        assert await office.columns_of("a") == columns("c3 c5 c7 c10")

    async def test_a_step_that_was_taken_back_before_it_was_ever_told_takes_nothing_back(
        self, office: Office
    ) -> None:
        first, second = story(MONDAY, ("supplement_requested", "2026-03-03 09:00")).events()
        unseen = rolled_back(second, "supplement_requested", "2026-03-09 08:00", 1)
        unseen = replace(unseen, state_as_of=StateAsOf(action_id="never told", modified_at=None))
        await office.put(first, second, unseen)
        await office.follow()
        assert await office.columns_of("a") == columns("c3 c5 c11 c12")

    async def test_a_corrected_step_counts_as_corrected_from_then_on(self, office: Office) -> None:
        first, second = story(*ON_TIME).events()
        corrected = replace(
            second,
            event_id="c",
            kind=EventKind.CORRECTION,
            read_seq=3,
            step=replace(with_status(second.step, "finished"), at=at("2026-03-03 10:00")),
            times=replace(second.times, finished=None),
            effective_at=at("2026-04-02 09:00"),
            recorded_at=at("2026-04-02 09:00"),
        )
        await office.put(first, second, corrected)
        await office.follow()
        assert await office.columns_of("a", known_at=CUT_OFF) == columns("c3 c5 c7 c9")
        assert await office.columns_of("a") == columns("c3 c5 c7 c8")
        (one,) = await office.differences(CUT_OFF)
        assert one.why is Why.CORRECTED

    async def test_a_deleted_step_is_gone_from_then_on(self, office: Office) -> None:
        first, second = story(*ON_TIME).events()
        gone = silent(
            replace(first, kind=EventKind.DELETION),
            "received",
            event_id="x",
            read_seq=3,
            effective_at=at("2026-04-02 09:00"),
            recorded_at=at("2026-04-02 09:00"),
        )
        await office.put(first, second, gone)
        await office.follow()
        assert await office.columns_of("a", known_at=CUT_OFF) == columns("c3 c5 c7 c9")
        assert await office.columns_of("a") == columns("c3 c5 c11 c13")

    async def test_a_deleted_dossier_is_in_no_column_from_then_on(self, office: Office) -> None:
        await office.put(*story(*ON_TIME).events(), deletion("a", 9, "2026-04-02 09:00"))
        await office.follow()
        assert await office.columns_of("a", known_at=CUT_OFF) == columns("c3 c5 c7 c9")
        assert await office.columns_of("a") == set()
        (one,) = await office.differences(CUT_OFF)
        assert one.why is Why.DELETED
        assert one.now is not None
        assert one.now.standing is Standing.DELETED
        (back,) = story(MONDAY).events()
        await office.put(
            replace(back, event_id="a-20", read_seq=20, recorded_at=at("2026-04-05 09:00"))
        )
        await office.follow()
        assert await office.columns_of("a") == columns("c3 c5 c11 c13"), "the source has it again"

    # --- lives that cannot be read whole --------------------------------------------------------------

    async def test_a_status_without_a_mapping_leaves_the_standing_before_it_and_is_listed(
        self, office: Office
    ) -> None:
        await office.put(*story(MONDAY, ("strange", "2026-03-03 09:00")).events())
        await office.follow()
        assert await office.columns_of("a") == columns("c3 c5 c11 c13")
        counted = await office.hall.lane.read(report_spans.troubles)
        assert {why: n for why, n in counted.items() if n} == {Trouble.UNMAPPED: 1}
        listed = await office.hall.lane.read(lambda c: report_spans.in_trouble(c, Trouble.UNMAPPED))
        assert listed == [("a", "H12.01-a")]

    async def test_a_dossier_that_was_received_nobody_knows_when_is_listed(
        self, office: Office
    ) -> None:
        (event,) = story(("processing", "2026-03-02 09:00")).events()
        await office.put(event)
        await office.follow()
        assert await office.columns_of("a") == set()
        assert (await office.hall.lane.read(report_spans.troubles))[Trouble.UNDATED] == 1

    async def test_bytes_that_are_no_event_are_listed_and_stop_nobody(self, office: Office) -> None:
        await office.put(*story(*ON_TIME).events(), *story(MONDAY, name="b").events())

        async def decode(payload: bytes) -> DossierEvent:
            if payload == b"payload of a-2":
                raise UndecodableMessage("broken")
            return await office.hall.decode(payload)

        assert await tracking.refresh(office.hall.lane, decode, RULES) == 3
        assert await office.columns_of("a") == columns("c3 c5 c11 c13")
        assert await office.columns_of("b") == columns("c3 c5 c11 c13")
        assert (await office.hall.lane.read(report_spans.troubles))[Trouble.UNREADABLE] == 1

    async def test_a_gap_is_listed_until_the_dossier_is_read_again(self, office: Office) -> None:
        (event,) = story(MONDAY).events()
        gap = make_event("h", "a", version=2, kind=EventKind.GAP, step=False)
        await office.put(event, gap)
        await office.put(make_event("g", "unseen", kind=EventKind.GAP, step=False))
        await office.follow()
        assert (await office.hall.lane.read(report_spans.troubles))[Trouble.GAP] == 2
        assert await office.columns_of("a") == columns("c3 c5 c11 c13")
        await office.put(silent(event, event_id="a-3", read_seq=3))
        await office.follow()
        assert (await office.hall.lane.read(report_spans.troubles))[Trouble.GAP] == 1

    # --- code mappings ----------------------------------------------------------------------------------

    async def test_another_mapping_counts_from_when_it_was_read_with(self, office: Office) -> None:
        await office.put(*story(MONDAY, unit="H99").events())
        await office.follow()
        before = datetime.now(UTC)
        mapped = other_codes(units=(*UNITS, "H99"))
        assert await office.behind() == 0
        assert await office.behind(mapped) == 1
        assert await office.follow(mapped) == 1
        assert await office.behind(mapped) == 0
        now = datetime.now(UTC) + timedelta(seconds=5)
        assert set((await office.count(known_at=before)).by_agency()) == {""}
        assert set((await office.count(known_at=now)).by_agency()) == {"H99"}
        (one,) = await office.differences(before, now)
        assert one.why is Why.MAPPING_CHANGED

    async def test_other_rules_are_read_with_bit_by_bit(self, office: Office) -> None:
        for name in "abc":
            await office.put(*story(MONDAY, name=name).events())
        await office.follow(NO_CODES)
        assert [await office.follow(limit=2) for _ in range(3)] == [2, 1, 0]
        assert (await office.hall.lane.read(report_spans.troubles))[Trouble.UNMAPPED] == 0

    async def test_rules_that_change_nothing_add_nothing(self, office: Office) -> None:
        await office.put(*story(*ON_TIME).events())
        await office.follow()
        before = await self.rows(office)
        assert await office.follow(other_codes()) == 1
        assert await self.rows(office) == before

    # --- following ---------------------------------------------------------------------------------------

    async def rows(self, office: Office) -> list[tuple[object, ...]]:
        query = select(spans_table).order_by(
            spans_table.c.dossier_id, spans_table.c.known_from, spans_table.c.begun_on
        )
        return [tuple(row) for row in await office.hall.lane.read(lambda c: c.execute(query).all())]

    async def test_a_refresh_takes_as_many_events_as_it_is_told(self, office: Office) -> None:
        for name in "abc":
            await office.put(*story(*ON_TIME, name=name).events())
        assert await office.behind() == 3
        assert [await office.follow(limit=4) for _ in range(3)] == [4, 2, 0]
        assert await office.behind() == 0
        assert (await office.count()).total().c3 == 3

    async def test_two_refreshes_at_once_follow_every_event_once(self, office: Office) -> None:
        await office.put(*story(*ON_TIME).events())
        stretches = await office.hall.lane.read(
            lambda c: report_spans.unread(c, "dossier.events", 10)
        )
        await office.follow()
        before = await self.rows(office)
        claimed = await office.hall.lane.write(lambda c: report_spans.claim(c, stretches))
        assert claimed == []
        await asyncio.gather(*(office.follow() for _ in range(3)))
        assert await self.rows(office) == before

    async def test_what_another_topic_holds_is_not_followed(self, office: Office) -> None:
        found = await office.hall.lane.read(lambda c: report_spans.unread(c, "report.packets", 10))
        await office.put(*story(MONDAY).events())
        assert found == []
        assert (
            await office.hall.lane.read(lambda c: report_spans.unread(c, "report.packets", 10))
            == []
        )

    async def test_events_of_one_moment_are_known_one_after_the_other(self, office: Office) -> None:
        told = [recorded(e, "2026-03-07 08:00") for e in story(*ON_TIME).events()]
        await office.put(*told)
        await office.follow()
        await office.put(
            *(recorded(e, "2026-03-07 08:00") for e in story(*ON_TIME, name="b").events()[:1])
        )
        await office.follow()
        await office.put(
            *(recorded(e, "2026-03-07 08:00") for e in story(*ON_TIME, name="b").events()[1:])
        )
        await office.follow()
        rows = [row[1:] for row in await self.rows(office)]
        assert rows[: len(rows) // 2] == rows[len(rows) // 2 :]
        assert await office.members("c7") == ["a", "b"]

    async def test_a_dossier_goes_on_where_it_stood_when_its_events_were_pruned(
        self, office: Office
    ) -> None:
        first, second, third = story(
            MONDAY, ("supplement_requested", "2026-03-03 09:00"), ("finished", "2026-04-02 09:00")
        ).events()
        await office.put(first, second)
        await office.follow()

        def prune(connection: Connection) -> None:
            for table in (deliveries, timeline, events):
                connection.execute(delete(table))

        await office.hall.lane.write(prune)
        await office.put(third)
        await office.follow()
        assert await office.columns_of("a") == columns("c3 c5 c11 c12")
        assert await office.columns_of("a", APRIL) == columns("c3 c6 c7 c10")
        assert await office.follow(other_codes()) == 1, "and can be read by other rules"
        assert await office.columns_of("a", APRIL) == columns("c3 c6 c7 c10")

    async def test_of_a_day_and_a_moment_a_dossier_has_one_row(self, office: Office) -> None:
        first, second = story(*ON_TIME).events()
        back = rolled_back(second, "processing", "2026-03-09 08:00", 1)
        *_, again = story(*ON_TIME, ("finished", "2026-03-12 09:00")).events()
        await office.put(first, second, back, replace(again, read_seq=5))
        await office.follow()
        rows = await office.hall.lane.read(lambda c: c.execute(select(spans_table)).all())
        moments = sorted({row.known_from for row in rows})
        for moment in moments:
            for day in (date(2026, 3, 1) + timedelta(days=n) for n in range(20)):
                covering = [
                    row
                    for row in rows
                    if row.begun_on <= day < row.ended_on
                    and row.known_from <= moment < row.known_until
                ]
                assert len(covering) == (day >= date(2026, 3, 2)), (moment, day)

    # --- whether it balances -----------------------------------------------------------------------------

    async def test_a_broken_identity_names_its_dossiers(self, office: Office) -> None:
        """It ended before it came in: the office's own dates contradict each other."""
        told = story(MONDAY, ("finished", "2026-02-20 09:00"), received="2026-03-02 09:00")
        (_, broken) = told.events()
        await office.put(silent(broken, "finished"))
        await office.put(*story(*ON_TIME, name="b").events())
        await office.follow()
        table = await office.count()
        (fault,) = await office.faults(table)
        assert (fault.identity, fault.left, fault.right) == ("c3=c4+c5+c6", 1, 2)
        assert fault.row == RowKey("H12.01", "S1", "1.000001")
        assert [(one.dossier_id, one.code) for one in fault.dossiers] == [("a", "H12.01-a")]

    async def test_a_table_that_balances_has_no_faults_and_one_that_was_altered_has(
        self, office: Office
    ) -> None:
        await office.put(*story(*ON_TIME).events())
        await office.follow()
        table = await office.count()
        assert await office.faults(table) == []
        ((key, row),) = table.rows.items()
        altered = replace(table, rows={key: replace(row, c8=row.c8 + 1)})
        (fault,) = await office.faults(altered)
        assert (fault.identity, fault.dossiers) == ("c7=c8+c9+c10", ())

    async def test_what_is_left_open_is_carried_over(self, office: Office) -> None:
        await office.put(*story(MONDAY, ("finished", "2026-04-09 09:00")).events())
        await office.put(*story(MONDAY, name="b").events())
        await office.put(*story(*ON_TIME, name="c").events())
        await office.follow()
        carried = await office.carried_over(await office.count(known_at=CUT_OFF))
        assert carried.holds
        assert carried.is_explained
        assert (carried.left, carried.taken) == ({"H12.01": 2}, {"H12.01": 2})
        assert (carried.reopened, carried.odd, carried.changed) == ((), (), ())

    async def test_what_was_opened_again_is_named(self, office: Office) -> None:
        await office.put(*story(*ON_TIME, ("processing", "2026-04-09 09:00")).events())
        await office.put(*story(IN_FEBRUARY, name="b").events())
        await office.follow()
        carried = await office.carried_over(await office.count(known_at=CUT_OFF))
        assert carried.holds
        assert [one.dossier_id for one in carried.reopened] == ["a"]
        assert carried.taken["H12.01"] == carried.left["H12.01"] + 1

    async def test_the_difference_to_what_was_frozen_is_the_draft_revision(
        self, office: Office
    ) -> None:
        first, second = story(*ON_TIME).events()
        await office.put(first, recorded(second, "2026-04-03 08:00"))
        (late,) = story(MONDAY, name="late").events()
        await office.put(recorded(late, "2026-04-03 08:00"))
        (moved,) = story(MONDAY, name="moved").events()
        later = at("2026-04-04 08:00")
        unit = CodeName(code="H12.02", name=None)
        await office.put(
            moved,
            silent(
                moved,
                event_id="m-2",
                read_seq=2,
                effective_at=later,
                recorded_at=later,
                handling_agency=unit,
            ),
        )
        await office.follow()
        frozen = await office.count(known_at=CUT_OFF)
        carried = await office.carried_over(frozen)
        assert carried.holds
        assert carried.is_explained
        assert (carried.frozen, carried.left) == (
            {"H12.01": 2},
            {"H12.01": 1, "H12.02": 1},
        )
        assert [(one.dossier_id, one.why) for one in carried.changed] == [
            ("a", Why.STATUS_LATE),
            ("late", Why.ARRIVED_LATE),
            ("moved", Why.UNIT_CHANGED),
        ]
        ((key, row),) = frozen.rows.items()
        altered = replace(frozen, rows={key: replace(row, c11=row.c11 + 1, c13=row.c13 + 1)})
        assert not (await office.carried_over(altered)).is_explained

    async def test_windows_that_do_not_follow_each_other_carry_nothing_over(
        self, office: Office
    ) -> None:
        frozen = await office.count()
        with pytest.raises(ValueError, match="does not follow"):
            await office.carried_over(frozen, later=Window(date(2026, 4, 2), date(2026, 4, 30)))
        with pytest.raises(ValueError, match="another window"):
            await office.carried_over(replace(frozen, window=APRIL))

    def test_every_reason_has_its_words(self) -> None:
        assert WORDS.keys() == set(Why)
        assert len({words.vi for words in WORDS.values()}) == len(Why)
