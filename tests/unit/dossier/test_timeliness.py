"""The portal's judgement for the on-time rate, rule by rule, on both sides of every edge."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dossier.clock import LateBecause
from schemas.dossier.days_off import Certainty
from schemas.dossier.status import Status
from schemas.dossier.timeline import Comparison, Entry, Timeline
from schemas.dossier.timeliness import IN_TIME, Judgement, Verdict, judge
from schemas.records import DossierTimes, Supplement
from tests.unit.dossier.lives import (
    COMPARISONS,
    ENTRIES,
    LIMITS,
    MOMENTS,
    MON,
    SUPPLEMENTS,
    TIMES,
    life,
    request,
)
from tests.unit.dossier.samples import CALENDAR, HOUR, MINUTE, at

S, V = Status, Verdict
MONTH_END = at("2026-03-31 23:59")


def judged(
    timeline: Timeline,
    as_of: datetime = MONTH_END,
    *,
    comparison: Comparison = Comparison.TIMESTAMP,
    limit: timedelta | None = None,
) -> Judgement:
    return judge(timeline, as_of=as_of, comparison=comparison, calendar=CALENDAR, limit=limit)


@pytest.mark.parametrize(
    ("ended", "by_stamp", "by_date"),
    [
        ("05 23:59", V.EARLY, V.EARLY),
        ("06 00:00", V.ON_TIME, V.ON_TIME),
        ("06 17:00", V.ON_TIME, V.ON_TIME),
        ("06 17:01", V.LATE, V.ON_TIME),
        ("07 00:00", V.LATE, V.LATE),
    ],
)
def test_an_ended_dossier_is_held_against_its_due_date(
    ended: str, by_stamp: Verdict, by_date: Verdict
) -> None:
    timeline = life((S.FINISHED, ended), (S.RETURNED, "20 09:00"))
    found = judged(timeline)
    assert (found.verdict, found.counted_at) == (by_stamp, at(f"2026-03-{ended}"))
    assert found.late_because is (LateBecause.DUE_PASSED if by_stamp is V.LATE else None)
    assert judged(timeline, comparison=Comparison.DATE).verdict is by_date


@pytest.mark.parametrize("comparison", Comparison)
@pytest.mark.parametrize(
    ("as_of", "verdict"),
    [
        ("2026-03-05 23:59", V.OPEN_IN_TIME),
        ("2026-03-06 17:01", V.OPEN_IN_TIME),
        ("2026-03-06 23:59", V.OPEN_IN_TIME),
        ("2026-03-07 00:00", V.OPEN_LATE),
    ],
)
def test_an_open_dossier_is_in_time_through_the_day_of_its_due_date(
    as_of: str, verdict: Verdict, comparison: Comparison
) -> None:
    found = judged(life((S.PROCESSING, "02 10:00")), at(as_of), comparison=comparison)
    assert (found.verdict, found.counted_at) == (verdict, at(as_of))


def test_a_dossier_that_ends_after_the_period_is_open_in_it() -> None:
    timeline = life((S.FINISHED, "07 09:00"))
    assert judged(timeline, at("2026-03-06 23:59")).verdict is V.OPEN_IN_TIME
    assert judged(timeline).verdict is V.LATE


@pytest.mark.parametrize(
    ("timeline", "verdict"),
    [
        pytest.param(life((S.STOPPED, "05 09:00")), V.EARLY, id="stopped"),
        pytest.param(life((S.REFUSED, "09 09:00")), V.LATE, id="refused after reception"),
        pytest.param(life((S.WITHDRAWN, "06 09:00")), V.ON_TIME, id="withdrawn after reception"),
        pytest.param(life((S.PAUSED, "05 09:00")), V.EARLY, id="a pause is a stop to the portal"),
        pytest.param(
            life((S.PAUSED, "05 09:00"), (S.PROCESSING, "05 10:00")),
            V.OPEN_LATE,
            id="a pause that is over stopped nothing",
        ),
        pytest.param(
            life((S.PAYMENT_REQUESTED, "05 09:00")), V.OPEN_LATE, id="a fee stops nothing"
        ),
        pytest.param(
            Timeline(times=DossierTimes(refused=MON), entries=(Entry(status=S.REFUSED, at=MON),)),
            V.NOT_RECEIVED,
            id="refused at reception",
        ),
        pytest.param(
            Timeline(times=DossierTimes(), entries=(Entry(status=S.SUBMITTED, at=MON),)),
            V.NOT_RECEIVED,
            id="submitted",
        ),
    ],
)
def test_what_ends_a_dossier_for_the_portal(timeline: Timeline, verdict: Verdict) -> None:
    assert judged(timeline).verdict is verdict


# --- supplements -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "verdict"),
    [("06 17:00", V.OPEN_IN_TIME), ("06 17:01", V.OPEN_LATE)],
    ids=["at the due date", "after it"],
)
def test_waiting_for_the_first_supplement_ends_at_the_request(asked: str, verdict: Verdict) -> None:
    found = judged(life((S.SUPPLEMENT_REQUESTED, asked)))
    assert (found.verdict, found.counted_at) == (verdict, at(f"2026-03-{asked}"))
    assert found.supplement_time == timedelta()


@pytest.mark.parametrize(
    ("ended", "verdict"),
    [("10 17:00", V.ON_TIME), ("10 17:01", V.LATE), ("09 23:59", V.EARLY)],
)
def test_the_time_of_an_answered_supplement_is_subtracted(ended: str, verdict: Verdict) -> None:
    timeline = life(
        (S.FINISHED, ended), supplements=(request("03 09:00", "07 09:00"),)
    )  # four days
    found = judged(timeline)
    assert (found.verdict, found.supplement_time) == (verdict, 96 * HOUR)


def test_the_time_of_an_answered_supplement_is_subtracted_from_an_open_dossier_too() -> None:
    timeline = life(supplements=(request("03 09:00", "07 09:00"),))
    assert judged(timeline, at("2026-03-10 23:59")).verdict is V.OPEN_IN_TIME
    assert judged(timeline, at("2026-03-11 00:00")).verdict is V.OPEN_LATE


def test_an_answer_after_the_end_counts_up_to_the_end() -> None:
    timeline = life((S.FINISHED, "06 16:00"), supplements=(request("03 09:00", "09 09:00"),))
    assert judged(timeline).counted_at == at("2026-03-03 09:00")


def test_a_supplement_that_the_end_answered_is_subtracted_to_the_end() -> None:
    found = judged(life((S.SUPPLEMENT_REQUESTED, "06 16:00"), (S.FINISHED, "09 09:00")))
    assert (found.verdict, found.counted_at) == (V.ON_TIME, at("2026-03-06 16:00"))


@pytest.mark.parametrize(
    ("steps", "verdict"),
    [
        pytest.param((), V.OPEN_LATE, id="waiting for the second"),
        pytest.param(((S.PROCESSING, "04 10:00"),), V.OPEN_LATE, id="at work again"),
        pytest.param(((S.FINISHED, "04 10:00"),), V.LATE, id="finished before the due date"),
    ],
)
def test_a_second_request_makes_late(
    steps: tuple[tuple[Status, str], ...], verdict: Verdict
) -> None:
    timeline = life(
        (S.SUPPLEMENT_REQUESTED, "03 09:00"),
        (S.PROCESSING, "03 10:00"),
        (S.SUPPLEMENT_REQUESTED, "04 09:00"),
        *steps,
    )
    found = judged(timeline, at("2026-03-04 12:00"))
    assert (found.verdict, found.late_because) == (verdict, LateBecause.SECOND_SUPPLEMENT)
    before = judged(timeline, at("2026-03-04 08:59"))
    assert (before.verdict, before.late_because) == (V.OPEN_IN_TIME, None)


# --- without a due date ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ended", "limit", "verdict"),
    [
        pytest.param("04 09:00", 16 * HOUR, V.ON_TIME, id="at the limit"),
        pytest.param("04 09:01", 16 * HOUR, V.LATE, id="after it"),
        pytest.param("03 09:00", 16 * HOUR, V.ON_TIME, id="before it: no early"),
        pytest.param("04 09:01", None, V.UNDATED, id="no limit either"),
    ],
)
def test_without_a_due_date_the_legal_limit_counts_in_working_time(
    ended: str, limit: timedelta | None, verdict: Verdict
) -> None:
    found = judged(life((S.FINISHED, ended), due=None), limit=limit)
    assert found.verdict is verdict
    expected = Certainty.CONFIRMED if limit is None else Certainty.REPORTED
    assert found.certainty is expected


def test_the_limit_runs_on_an_open_dossier_up_to_the_moment() -> None:
    timeline = life(due=None)
    assert judged(timeline, at("2026-03-04 09:00"), limit=16 * HOUR).verdict is V.OPEN_IN_TIME
    assert judged(timeline, at("2026-03-04 09:01"), limit=16 * HOUR).verdict is V.OPEN_LATE


def test_supplements_are_taken_off_the_limit_as_working_time() -> None:
    over_the_weekend = (request("06 16:00", "09 08:00", old=None),)
    timeline = life((S.FINISHED, "10 08:00"), due=None, supplements=over_the_weekend)
    # Mon 6 h, Tue to Thu 24 h, Fri 7 h, then Mon from eight 7 h, Tue 1 h.
    assert judged(timeline, limit=45 * HOUR).verdict is V.ON_TIME
    assert judged(timeline, limit=45 * HOUR - MINUTE).verdict is V.LATE


def test_a_due_date_counts_before_the_limit() -> None:
    timeline = life((S.FINISHED, "05 09:00"))
    assert judged(timeline, limit=HOUR).verdict is V.EARLY


def test_a_limit_needs_the_time_of_reception() -> None:
    timeline = Timeline(
        times=DossierTimes(), entries=(Entry(status=S.FINISHED, at=at("2026-03-05 09:00")),)
    )
    assert judged(timeline, limit=HOUR).verdict is V.UNDATED


def test_a_supplement_before_reception_is_not_taken_off_the_limit() -> None:
    timeline = Timeline(
        times=DossierTimes(received=at("2026-03-04 09:00")),
        entries=(Entry(status=S.FINISHED, at=at("2026-03-05 09:01")),),
        supplements=(request("02 09:00", "04 09:00"),),
    )
    assert judged(timeline, limit=8 * HOUR).verdict is V.LATE


def test_an_end_before_reception_took_no_time() -> None:
    timeline = Timeline(
        times=DossierTimes(received=at("2026-03-04 09:00"), finished=at("2026-03-03 09:00"))
    )
    assert judged(timeline, limit=timedelta()).verdict is V.ON_TIME


# --- what always holds -----------------------------------------------------------------------------


@given(TIMES, ENTRIES, SUPPLEMENTS, MOMENTS, COMPARISONS, LIMITS, st.randoms(use_true_random=False))
def test_the_order_in_which_events_arrive_and_repeats_change_nothing(
    times: DossierTimes,
    entries: list[Entry],
    supplements: list[Supplement],
    as_of: datetime,
    comparison: Comparison,
    limit: timedelta | None,
    rng: random.Random,
) -> None:
    mixed = entries + rng.sample(entries, len(entries) // 2)
    rng.shuffle(mixed)
    one = Timeline(times=times, entries=tuple(entries), supplements=tuple(supplements))
    other = Timeline(times=times, entries=tuple(mixed), supplements=tuple(reversed(supplements)))
    first = judged(one, as_of, comparison=comparison, limit=limit)
    assert judged(other, as_of, comparison=comparison, limit=limit) == first


@given(TIMES, ENTRIES, SUPPLEMENTS, MOMENTS, LIMITS)
def test_by_date_nothing_is_late_that_is_in_time_by_time_stamp(
    times: DossierTimes,
    entries: list[Entry],
    supplements: list[Supplement],
    as_of: datetime,
    limit: timedelta | None,
) -> None:
    timeline = Timeline(times=times, entries=tuple(entries), supplements=tuple(supplements))
    by_stamp = judged(timeline, as_of, limit=limit)
    by_date = judged(timeline, as_of, comparison=Comparison.DATE, limit=limit)
    if by_stamp.verdict in IN_TIME:
        assert by_date.verdict is by_stamp.verdict
    late = {V.LATE, V.OPEN_LATE}
    assert (by_stamp.verdict in late) == (by_stamp.late_because is not None)
