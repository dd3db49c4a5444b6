"""The legal clock: every state on both sides of its edge, and what always holds.

The week from Monday 2 to Friday 6 March 2026 has no day off; it is followed by another.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dossier.clock import (
    ClockState,
    Due,
    DueBasis,
    LateBecause,
    Reading,
    due_in_force,
    read,
)
from schemas.dossier.days_off import Certainty
from schemas.dossier.status import Status
from schemas.dossier.timeline import Comparison, End, Entry, Timeline
from schemas.records import DossierTimes, Supplement
from tests.unit.dossier.lives import (
    COMPARISONS,
    DUE,
    ENTRIES,
    FRI,
    MOMENTS,
    MON,
    SUPPLEMENTS,
    THU,
    TIMES,
    TUE,
    WED,
    life,
    request,
)
from tests.unit.dossier.samples import CALENDAR, HOUR, MINUTE, SATURDAYS, TICK, at, told

S, C = Status, ClockState
DAY = 8 * HOUR


def reading(
    timeline: Timeline,
    now: str | datetime,
    *,
    comparison: Comparison = Comparison.TIMESTAMP,
    agency: str | None = None,
) -> Reading:
    moment = at(f"2026-03-{now}") if isinstance(now, str) else now
    return read(
        timeline, now=moment, soon=DAY, calendar=CALENDAR, agency=agency, comparison=comparison
    )


# --- running ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "state", "remaining", "overdue"),
    [
        pytest.param("02 09:00", C.RUNNING, 38 * HOUR, 0 * HOUR, id="at reception"),
        pytest.param("05 16:59", C.RUNNING, DAY + MINUTE, 0 * HOUR, id="a minute before soon"),
        pytest.param("05 17:00", C.DUE_SOON, DAY, 0 * HOUR, id="soon"),
        pytest.param("05 22:00", C.DUE_SOON, DAY, 0 * HOUR, id="the night before"),
        pytest.param("06 12:00", C.DUE_SOON, 4 * HOUR, 0 * HOUR, id="lunch of the last day"),
        pytest.param("06 16:59", C.DUE_SOON, MINUTE, 0 * HOUR, id="a minute before"),
        pytest.param("06 17:00", C.DUE_SOON, 0 * HOUR, 0 * HOUR, id="at the due date"),
        pytest.param("06 17:01", C.OVERDUE, 0 * HOUR, 0 * HOUR, id="after it, at night"),
        pytest.param("09 08:00", C.OVERDUE, 0 * HOUR, HOUR, id="the next working day"),
    ],
)
def test_an_open_dossier_runs_out_at_its_due_date(
    now: str, state: ClockState, remaining: timedelta, overdue: timedelta
) -> None:
    found = reading(life((S.PROCESSING, "02 10:00")), now)
    assert (found.state, found.remaining, found.overdue) == (state, remaining, overdue)
    late = LateBecause.DUE_PASSED if state is C.OVERDUE else None
    assert (found.late_because, found.due) == (late, Due(DUE, DueBasis.SOURCE))


@pytest.mark.parametrize(
    ("now", "state", "remaining"),
    [
        ("05 16:00", C.RUNNING, 9 * HOUR),
        ("06 17:00", C.DUE_SOON, 0 * HOUR),
        ("06 23:59", C.DUE_SOON, 0 * HOUR),
        ("07 00:00", C.OVERDUE, 0 * HOUR),
    ],
)
def test_by_date_a_dossier_is_in_time_until_midnight(
    now: str, state: ClockState, remaining: timedelta
) -> None:
    found = reading(life(due="2026-03-06 10:00"), now, comparison=Comparison.DATE)
    assert (found.state, found.remaining) == (state, remaining)


def test_an_office_that_works_on_saturday_has_more_time_left() -> None:
    timeline = life(due="2026-03-09 17:00")
    assert reading(timeline, "06 17:00").remaining == DAY
    assert reading(timeline, "06 17:00", agency=SATURDAYS).remaining == 11.5 * HOUR


def test_without_a_due_date_nothing_is_said_about_time() -> None:
    running = reading(life(due=None), "20 09:00")
    assert (running.state, running.due, running.remaining, running.overdue) == (
        C.UNDATED,
        None,
        None,
        None,
    )
    ended = reading(life((S.FINISHED, "06 09:00"), due=None), "20 09:00")
    assert ended.state is C.ENDED_UNDATED


# --- before reception ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timeline", "state"),
    [
        pytest.param(
            Timeline(times=DossierTimes(), entries=(Entry(status=S.SUBMITTED, at=MON),)),
            C.NOT_STARTED,
            id="submitted",
        ),
        pytest.param(
            Timeline(
                times=DossierTimes(due=TUE),
                entries=(
                    Entry(status=S.SUBMITTED, at=MON),
                    Entry(status=S.SUPPLEMENT_REQUESTED, at=TUE),
                ),
            ),
            C.NOT_STARTED,
            id="asked for papers before reception",
        ),
        pytest.param(
            Timeline(
                times=DossierTimes(refused=TUE),
                entries=(Entry(status=S.SUBMITTED, at=MON), Entry(status=S.REFUSED, at=TUE)),
            ),
            C.NEVER_STARTED,
            id="refused",
        ),
        pytest.param(Timeline(times=DossierTimes(withdrawn=TUE)), C.NEVER_STARTED, id="withdrawn"),
        pytest.param(
            Timeline(
                times=DossierTimes(refused=TUE),
                entries=(Entry(status=S.REFUSED, at=TUE), Entry(status=S.SUBMITTED, at=WED)),
            ),
            C.NOT_STARTED,
            id="handed in again",
        ),
        pytest.param(
            Timeline(times=DossierTimes(received=at("2026-04-01 09:00"))),
            C.NOT_STARTED,
            id="received later than now",
        ),
    ],
)
def test_before_reception_no_clock_runs(timeline: Timeline, state: ClockState) -> None:
    found = reading(timeline, "20 09:00")
    assert (found.state, found.due, found.remaining) == (state, None, None)


# --- ended -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ended", "by_stamp", "by_date"),
    [
        ("05 23:59", C.ENDED_EARLY, C.ENDED_EARLY),
        ("06 00:00", C.ENDED_ON_TIME, C.ENDED_ON_TIME),
        ("06 17:00", C.ENDED_ON_TIME, C.ENDED_ON_TIME),
        ("06 17:01", C.ENDED_LATE, C.ENDED_ON_TIME),
        ("06 23:59", C.ENDED_LATE, C.ENDED_ON_TIME),
        ("07 00:00", C.ENDED_LATE, C.ENDED_LATE),
    ],
)
def test_a_dossier_ends_early_on_time_or_late(
    ended: str, by_stamp: ClockState, by_date: ClockState
) -> None:
    timeline = life((S.PROCESSING, "02 10:00"), (S.FINISHED, ended), (S.RETURNED, "09 09:00"))
    found = reading(timeline, "20 09:00")
    assert found.ended == End(at(f"2026-03-{ended}"), S.FINISHED)
    assert found.state is by_stamp
    assert reading(timeline, "20 09:00", comparison=Comparison.DATE).state is by_date


def test_the_time_saved_or_lost_is_measured_from_the_end() -> None:
    early = reading(life((S.FINISHED, "05 16:00")), "20 09:00")
    assert (early.remaining, early.overdue) == (9 * HOUR, 0 * HOUR)
    late = reading(life((S.FINISHED, "10 08:00")), "20 09:00")
    assert (late.remaining, late.overdue) == (0 * HOUR, 9 * HOUR)


def test_a_reading_of_the_past_does_not_know_what_came_later() -> None:
    timeline = life((S.PROCESSING, "02 10:00"), (S.FINISHED, "05 16:00"))
    assert reading(timeline, "05 15:59").state is C.RUNNING
    assert reading(timeline, "05 16:00").state is C.ENDED_EARLY


# --- pauses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status", [S.SUPPLEMENT_REQUESTED, S.PAYMENT_REQUESTED, S.PAUSED], ids=lambda s: s.value
)
def test_a_pause_stops_the_clock_with_what_was_left(status: Status) -> None:
    timeline = life((status, "06 16:00"))
    for now in ("06 16:00", "06 17:01", "20 09:00"):
        found = reading(timeline, now)
        assert (found.state, found.remaining, found.late_because) == (C.PAUSED, HOUR, None)
        assert found.paused is not None
        assert (found.paused.by, found.paused.begun) == (status, at("2026-03-06 16:00"))


@pytest.mark.parametrize(
    ("asked", "state"),
    [("06 17:00", C.PAUSED), ("06 17:01", C.OVERDUE)],
    ids=["at the due date", "after it"],
)
def test_who_is_late_when_the_pause_begins_stays_late(asked: str, state: ClockState) -> None:
    found = reading(life((S.SUPPLEMENT_REQUESTED, asked)), "09 09:00")
    assert found.state is state
    assert found.paused is not None


def test_a_stop_is_an_end_and_a_pause_is_none() -> None:
    assert reading(life((S.STOPPED, "05 16:00")), "20 09:00").state is C.ENDED_EARLY
    assert reading(life((S.PAUSED, "05 16:00")), "20 09:00").state is C.PAUSED


# --- the due date in force -------------------------------------------------------------------------

PAUSE = ((S.PAYMENT_REQUESTED, "05 16:00"), (S.PROCESSING, "09 08:00"))


@pytest.mark.parametrize(
    ("timeline", "due", "basis"),
    [
        pytest.param(life(), "2026-03-06 17:00", DueBasis.SOURCE, id="no pause"),
        pytest.param(life(*PAUSE), "2026-03-06 17:00", DueBasis.SOURCE, id="old due date unknown"),
        pytest.param(life(*PAUSE, dated=True), "2026-03-10 09:00", DueBasis.SHIFTED, id="a fee"),
        pytest.param(
            life(supplements=(request("05 16:00", "09 08:00"),)),
            "2026-03-10 09:00",
            DueBasis.SHIFTED,
            id="a supplement that the source did not reckon with",
        ),
        pytest.param(
            life(supplements=(request("05 16:00", "09 08:00", old=THU),)),
            "2026-03-06 17:00",
            DueBasis.SOURCE,
            id="the source has moved it itself",
        ),
        pytest.param(
            life(supplements=(request("05 16:00", None),)),
            "2026-03-06 17:00",
            DueBasis.SOURCE,
            id="a pause that lasts",
        ),
        pytest.param(
            life(supplements=(request("06 12:00", "10 12:30"),)),
            "2026-03-10 17:00",
            DueBasis.SHIFTED,
            id="from lunch to lunch",
        ),
        pytest.param(
            life(supplements=(request("06 17:00", "10 12:30"),)),
            "2026-03-10 12:30",
            DueBasis.SHIFTED,
            id="nothing was left: due when it ends",
        ),
        pytest.param(
            life(supplements=(request("06 17:01", "10 12:30"),)),
            "2026-03-06 17:00",
            DueBasis.SOURCE,
            id="begun when it was late",
        ),
        pytest.param(
            life(
                (S.PAYMENT_REQUESTED, "05 16:30"),
                (S.PROCESSING, "09 09:00"),
                dated=True,
                supplements=(request("05 16:00", "09 08:00"),),
            ),
            "2026-03-10 10:00",
            DueBasis.SHIFTED,
            id="two that overlap cost their time once",
        ),
        pytest.param(
            life(
                (S.PAYMENT_REQUESTED, "03 09:00"),
                (S.PROCESSING, "03 10:00"),
                (S.PAUSED, "05 16:00"),
                (S.PROCESSING, "05 17:00"),
                dated=True,
            ),
            "2026-03-09 09:00",
            DueBasis.SHIFTED,
            id="two after each other add up",
        ),
        pytest.param(
            life(
                (S.PAYMENT_REQUESTED, "06 08:00"),
                (S.PROCESSING, "06 09:00"),
                (S.PAUSED, "09 08:00"),
                (S.PROCESSING, "11 08:00"),
                dated=True,
                supplements=(request("05 16:00", "10 08:00"),),
            ),
            "2026-03-12 09:00",
            DueBasis.SHIFTED,
            id="one within another and one across its end",
        ),
        pytest.param(life(due=None), None, None, id="none"),
    ],
)
def test_the_due_date_moves_only_where_a_pause_was_not_reckoned_with(
    timeline: Timeline, due: str | None, basis: DueBasis | None
) -> None:
    found = due_in_force(timeline, calendar=CALENDAR).value
    assert (told(found.at) if found else None, found.basis if found else None) == (due, basis)


def test_an_extension_is_in_force_and_says_so() -> None:
    extended = Timeline(
        times=DossierTimes(received=MON, due=FRI, extended=FRI, previous_due=WED),
        entries=(Entry(status=S.PROCESSING, at=MON),),
    )
    found = reading(extended, "05 09:00")
    assert (found.state, found.due) == (C.DUE_SOON, Due(FRI, DueBasis.EXTENDED))
    assert reading(extended, FRI + TICK).state is C.OVERDUE


@pytest.mark.parametrize(
    ("due", "begun", "ended", "by_date"),
    [
        pytest.param("06 10:00", "06 09:00", "06 09:30", "2026-03-06", id="within the due day"),
        pytest.param("06 00:00", "06 09:00", "09 08:00", "2026-03-09", id="from it to another"),
        pytest.param("06 00:00", "05 16:00", "09 08:00", "2026-03-10", id="a day was left"),
        pytest.param("06 23:00", "05 16:00", "09 08:00", "2026-03-10", id="whatever the hour"),
        pytest.param("06 10:00", "05 16:00", "07 08:00", "2026-03-09", id="over a Saturday"),
        pytest.param("06 10:00", "07 00:00", "09 08:00", "2026-03-06", id="begun when it was late"),
    ],
)
def test_by_date_as_many_working_days_are_left_after_a_pause_as_before(
    due: str, begun: str, ended: str, by_date: str
) -> None:
    old = at(f"2026-03-{due}")
    timeline = life(due=f"2026-03-{due}", supplements=(request(begun, ended, old=old),))
    found = due_in_force(timeline, calendar=CALENDAR, comparison=Comparison.DATE).value
    assert found is not None
    assert told(found.at)[:10] == by_date
    at_night = at(f"{by_date} 23:59")
    assert reading(timeline, at_night, comparison=Comparison.DATE).late_because is None
    late = reading(timeline, at_night + MINUTE, comparison=Comparison.DATE).late_because
    assert late is LateBecause.DUE_PASSED
    moved = by_date != "2026-03-06"
    assert found.basis is (DueBasis.SHIFTED if moved else DueBasis.SOURCE)


def test_a_pause_never_brings_the_due_date_forward() -> None:
    timeline = life(
        due="2026-03-06 20:00",
        supplements=(request("06 12:00", "06 12:30", old=at("2026-03-06 20:00")),),
    )
    found = due_in_force(timeline, calendar=CALENDAR).value
    assert found == Due(at("2026-03-06 20:00"), DueBasis.SOURCE)


# --- the second request ----------------------------------------------------------------------------

TWO = (
    (S.SUPPLEMENT_REQUESTED, "03 09:00"),
    (S.PROCESSING, "03 15:00"),
    (S.SUPPLEMENT_REQUESTED, "04 09:00"),
)


@pytest.mark.parametrize(
    ("steps", "now", "state", "late", "warn"),
    [
        pytest.param((), "03 09:00", C.RUNNING, None, False, id="none"),
        pytest.param(TWO, "03 09:00", C.PAUSED, None, True, id="the first lasts"),
        pytest.param(TWO, "04 08:59", C.RUNNING, None, True, id="the first was answered"),
        pytest.param(
            TWO, "04 09:00", C.OVERDUE, LateBecause.SECOND_SUPPLEMENT, False, id="the second"
        ),
        pytest.param(
            (*TWO, (S.FINISHED, "05 09:00")),
            "05 09:00",
            C.ENDED_LATE,
            LateBecause.SECOND_SUPPLEMENT,
            False,
            id="finished before the due date after two",
        ),
        pytest.param(
            (*TWO[:2], (S.FINISHED, "05 09:00")),
            "05 09:00",
            C.ENDED_EARLY,
            None,
            False,
            id="finished after one",
        ),
        pytest.param(
            TWO[:2], "09 09:00", C.OVERDUE, LateBecause.DUE_PASSED, False, id="late anyway"
        ),
    ],
)
def test_one_request_pauses_and_a_second_one_makes_late(
    steps: tuple[tuple[Status, str], ...],
    now: str,
    state: ClockState,
    late: LateBecause | None,
    warn: bool,
) -> None:
    found = reading(life(*steps), now)
    assert (found.state, found.late_because) == (state, late)
    assert found.next_supplement_makes_late is warn


def test_two_requests_make_late_also_without_a_due_date() -> None:
    found = reading(life(*TWO, due=None), "05 09:00")
    assert (found.state, found.supplement_requests) == (C.OVERDUE, 2)


# --- how sure --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("due", "certainty"),
    [
        ("2026-03-06 17:00", Certainty.REPORTED),
        ("2026-11-23 17:00", Certainty.REPORTED),
        ("2026-11-24 17:00", Certainty.UNVERIFIED),
        ("2028-03-06 17:00", Certainty.UNKNOWN),
        (None, Certainty.CONFIRMED),
    ],
)
def test_a_reading_is_as_sure_as_the_days_to_its_due_date(
    due: str | None, certainty: Certainty
) -> None:
    assert reading(life(due=due), "05 09:00").certainty is certainty


@pytest.mark.parametrize(
    ("due", "begun", "ended", "certainty"),
    [
        ("2026-12-31 16:00", "2026-12-31 15:00", "2026-12-31 15:30", Certainty.REPORTED),
        ("2026-12-31 16:00", "2026-12-31 15:00", "2026-12-31 16:30", Certainty.COMPUTED),
        ("2026-11-23 16:00", "2026-11-23 15:00", "2026-12-01 16:00", Certainty.REPORTED),
        ("2026-11-25 16:00", "2026-11-23 15:00", "2026-12-01 16:00", Certainty.UNVERIFIED),
    ],
)
@pytest.mark.parametrize("comparison", Comparison)
def test_a_due_date_that_was_moved_is_as_sure_as_the_days_that_were_reckoned(
    due: str, begun: str, ended: str, certainty: Certainty, comparison: Comparison
) -> None:
    asked = Supplement(
        supplement_id="1",
        requested_at=at(begun),
        completed_at=at(ended),
        old_due=at(due),
        new_due=None,
    )
    answer = due_in_force(
        life(due=due, supplements=(asked,)), calendar=CALENDAR, comparison=comparison
    )
    if comparison is Comparison.DATE and certainty is Certainty.COMPUTED:
        certainty = (
            Certainty.REPORTED
        )  # no day was left, so none of the next year was reckoned with
    assert answer.certainty is certainty


# --- what always holds -----------------------------------------------------------------------------


@given(TIMES, ENTRIES, SUPPLEMENTS, MOMENTS, COMPARISONS, st.randoms(use_true_random=False))
def test_the_order_in_which_events_arrive_and_repeats_change_nothing(
    times: DossierTimes,
    entries: list[Entry],
    supplements: list[Supplement],
    now: datetime,
    comparison: Comparison,
    rng: random.Random,
) -> None:
    mixed = entries + rng.sample(entries, len(entries) // 2)
    rng.shuffle(mixed)
    turned = tuple(reversed(supplements))
    one = Timeline(times=times, entries=tuple(entries), supplements=tuple(supplements))
    other = Timeline(times=times, entries=tuple(mixed), supplements=turned)
    assert reading(one, now, comparison=comparison) == reading(other, now, comparison=comparison)


@given(TIMES, ENTRIES, SUPPLEMENTS, MOMENTS, MOMENTS, COMPARISONS)
def test_a_reading_never_depends_on_what_happens_later(
    times: DossierTimes,
    entries: list[Entry],
    supplements: list[Supplement],
    now: datetime,
    later: datetime,
    comparison: Comparison,
) -> None:
    timeline = Timeline(times=times, entries=tuple(entries), supplements=tuple(supplements))
    cut = timeline.until(max(now, later))
    assert reading(cut, now, comparison=comparison) == reading(timeline, now, comparison=comparison)


@given(TIMES, ENTRIES, SUPPLEMENTS, MOMENTS, COMPARISONS)
def test_the_parts_of_a_reading_agree_with_each_other(
    times: DossierTimes,
    entries: list[Entry],
    supplements: list[Supplement],
    now: datetime,
    comparison: Comparison,
) -> None:
    timeline = Timeline(times=times, entries=tuple(entries), supplements=tuple(supplements))
    found = reading(timeline, now, comparison=comparison)
    zero = timedelta()
    assert (found.remaining is None) == (found.overdue is None) == (found.due is None)
    if found.remaining is not None and found.overdue is not None:
        assert min(found.remaining, found.overdue) == zero <= max(found.remaining, found.overdue)
    late = found.state in (C.OVERDUE, C.ENDED_LATE)
    assert late == (found.late_because is not None)
    assert (found.ended is not None) == found.state.value.startswith("ended_")
    if found.state is C.PAUSED:
        assert found.paused is not None
    if found.paused is not None:
        assert found.state in (C.PAUSED, C.OVERDUE)
    if found.state is C.DUE_SOON:
        assert found.remaining is not None
        assert found.remaining <= DAY
    if found.late_because is LateBecause.SECOND_SUPPLEMENT:
        assert found.supplement_requests > 1
    if found.due is not None and found.due.basis is DueBasis.SHIFTED:
        assert times.due is not None
        assert found.due.at > times.due
