"""Spans of verdicts: at every instant what the portal's judgement would be."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.dossier.clock import LateBecause, read
from schemas.dossier.status import Status
from schemas.dossier.timeline import Comparison, Entry, Timeline, end
from schemas.dossier.timeliness import OVERDUE, Verdict, judge
from schemas.dossier.verdicts import Span, spans
from schemas.records import DossierTimes, Supplement
from tests.unit.dossier.lives import (
    COMPARISONS,
    DUE,
    ENTRIES,
    LIMITS,
    MON,
    SUPPLEMENTS,
    TIMES,
    life,
    request,
)
from tests.unit.dossier.samples import CALENDAR, HOUR, TICK, at

S, V = Status, Verdict
SATURDAY = at("2026-03-07 00:00")  # the midnight that ends the day of the due date


MONDAY_AT_FIVE = at("2026-03-09 17:00")


def told(
    timeline: Timeline, limit: timedelta | None = None
) -> list[tuple[datetime, datetime | None, Verdict]]:
    found = spans(timeline, comparison=Comparison.TIMESTAMP, calendar=CALENDAR, limit=limit)
    return [(one.begun, one.ended, one.verdict) for one in found]


@pytest.mark.parametrize(
    ("timeline", "expected"),
    [
        pytest.param(
            life((S.FINISHED, "05 10:00"), (S.RETURNED, "20 09:00")),
            [
                (MON, at("2026-03-05 10:00"), V.OPEN_IN_TIME),
                (at("2026-03-05 10:00"), None, V.EARLY),
            ],
            id="finished early, returned later",
        ),
        pytest.param(
            life((S.FINISHED, "09 10:00")),
            [
                (MON, SATURDAY, V.OPEN_IN_TIME),
                (SATURDAY, at("2026-03-09 10:00"), V.OPEN_LATE),
                (at("2026-03-09 10:00"), None, V.LATE),
            ],
            id="finished late",
        ),
        pytest.param(
            life(),
            [(MON, SATURDAY, V.OPEN_IN_TIME), (SATURDAY, None, V.OPEN_LATE)],
            id="open: late some day, if nothing happens",
        ),
        pytest.param(life(due=None), [(MON, None, V.UNDATED)], id="without a due date"),
        pytest.param(
            life(supplements=(request("04 09:00", "05 09:00"),)),
            [
                (MON, SATURDAY + 24 * HOUR, V.OPEN_IN_TIME),
                (SATURDAY + 24 * HOUR, MONDAY_AT_FIVE + TICK, V.OPEN_LATE),
                (MONDAY_AT_FIVE + TICK, None, V.OPEN_LATE),  # now by the legal clock too
            ],
            id="a day for a supplement is given back",
        ),
        pytest.param(
            life(supplements=(request("04 09:00", None),)),
            [(MON, None, V.OPEN_IN_TIME)],
            id="waiting for a supplement, nothing runs out",
        ),
    ],
)
def test_a_life_in_spans(
    timeline: Timeline, expected: list[tuple[datetime, datetime | None, Verdict]]
) -> None:
    assert told(timeline) == expected


def test_a_limit_of_working_time_runs_out_when_work_goes_on() -> None:
    until_noon = at("2026-03-02 11:30") - MON
    found = told(life(due=None), limit=until_noon)
    assert [verdict for _, _, verdict in found] == [V.OPEN_IN_TIME, V.OPEN_LATE]
    assert found[1][0] > at("2026-03-02 11:30")
    assert told(life(due=None), limit=until_noon + HOUR)[1][0] > found[1][0]


def test_a_second_request_makes_it_late_for_good() -> None:
    timeline = life(
        supplements=(request("03 09:00", "03 15:00"), request("04 09:00", "04 15:00")),
    )
    *_, last = spans(timeline, comparison=Comparison.TIMESTAMP, calendar=CALENDAR)
    assert (last.begun, last.ended, last.late_because) == (
        at("2026-03-04 09:00"),
        None,
        LateBecause.SECOND_SUPPLEMENT,
    )


@pytest.mark.parametrize(
    ("timeline", "expected"),
    [
        pytest.param(
            life((S.FINISHED, "09 10:00")),
            [(V.OPEN_IN_TIME, None), (V.OPEN_LATE, True), (V.LATE, True)],
            id="late for both",
        ),
        pytest.param(
            life((S.PAYMENT_REQUESTED, "05 09:00")),
            [(V.OPEN_IN_TIME, None), (V.OPEN_LATE, False)],
            id="waiting for a fee stands still by law alone",
        ),
        pytest.param(
            life((S.PAYMENT_REQUESTED, "05 09:00"), (S.FINISHED, "10 09:00")),
            [(V.OPEN_IN_TIME, None), (V.OPEN_LATE, False), (V.LATE, True)],
            id="without the due date of that day the fee moves nothing",
        ),
        pytest.param(
            life((S.PAYMENT_REQUESTED, "05 09:00"), (S.FINISHED, "10 09:00"), dated=True),
            [(V.OPEN_IN_TIME, None), (V.OPEN_LATE, False), (V.LATE, False)],
            id="with it the due date moves by the time that was lost",
        ),
        pytest.param(
            life(supplements=(request("03 09:00", "03 15:00"), request("04 09:00", "04 15:00"))),
            [(V.OPEN_IN_TIME, None), (V.OPEN_LATE, True)],
            id="a second request is late for both",
        ),
        pytest.param(life(due=None), [(V.UNDATED, None)], id="without a due date"),
    ],
)
def test_beside_a_late_verdict_stands_the_legal_clock(
    timeline: Timeline, expected: list[tuple[Verdict, bool | None]]
) -> None:
    found = spans(timeline, comparison=Comparison.TIMESTAMP, calendar=CALENDAR)
    assert [(one.verdict, one.office_late) for one in found] == expected


def test_a_limit_without_a_due_date_is_no_answer_of_the_legal_clock() -> None:
    found = spans(
        life(due=None), comparison=Comparison.TIMESTAMP, calendar=CALENDAR, limit=3 * HOUR
    )
    assert [(one.verdict, one.office_late) for one in found] == [
        (V.OPEN_IN_TIME, None),
        (V.OPEN_LATE, None),
    ]


def test_what_was_never_received_has_no_span() -> None:
    timeline = Timeline(
        times=DossierTimes(submitted=MON, due=DUE), entries=(Entry(status=S.SUBMITTED, at=MON),)
    )
    assert told(timeline) == []


INSTANTS = st.integers(-60, 60 * 24 * 40).map(lambda minutes: MON + timedelta(minutes=minutes))


@given(TIMES, ENTRIES, SUPPLEMENTS, INSTANTS, COMPARISONS, LIMITS)
@example(DossierTimes(received=MON), [], [], at("2026-03-02 11:30"), Comparison.DATE, 3 * HOUR)
def test_at_every_instant_they_say_what_the_judgement_says(
    times: DossierTimes,
    entries: list[Entry],
    supplements: list[Supplement],
    as_of: datetime,
    comparison: Comparison,
    limit: timedelta | None,
) -> None:
    timeline = Timeline(times=times, entries=tuple(entries), supplements=tuple(supplements))
    found = spans(timeline, comparison=comparison, calendar=CALENDAR, limit=limit)
    for instant in (as_of, *(one.begun for one in found)):
        judged = judge(
            timeline, as_of=instant, comparison=comparison, calendar=CALENDAR, limit=limit
        )
        span = covering(found, instant)
        if span is None:
            assert judged.verdict is V.NOT_RECEIVED
            continue
        ended = end(timeline.until(instant), pause_ends=True)
        assert (span.verdict, span.late_because) == (judged.verdict, judged.late_because)
        assert span.end_at == (ended.at if ended else None)
        clock = read(timeline, now=instant, soon=HOUR, calendar=CALENDAR, comparison=comparison)
        knows = clock.due is not None or clock.late_because is not None
        late = clock.late_because is not None if knows else None
        assert span.office_late is (late if judged.verdict in OVERDUE else None)


def covering(found: tuple[Span, ...], instant: datetime) -> Span | None:
    holding = [
        one for one in found if one.begun <= instant and (one.ended is None or instant < one.ended)
    ]
    assert len(holding) <= 1
    return holding[0] if holding else None
