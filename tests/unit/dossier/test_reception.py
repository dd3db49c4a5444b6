"""Eight working hours to answer an online dossier."""

from __future__ import annotations

from datetime import timedelta

import pytest

from schemas.dossier.days_off import Certainty
from schemas.dossier.reception import Reception, ReceptionState, reception
from schemas.dossier.status import Status
from schemas.dossier.timeline import Entry, Timeline
from schemas.records import Channel, DossierTimes
from tests.unit.dossier.samples import CALENDAR, HOUR, MINUTE, SATURDAYS, at, told

S = Status
R = ReceptionState


def found(
    submitted: str | None,
    now: str,
    answer: tuple[Status, str] | None = None,
    *,
    channel: Channel | None = Channel.ONLINE,
    agency: str | None = None,
    times: DossierTimes | None = None,
    limit: timedelta = 8 * HOUR,
) -> Reception | None:
    steps = [(S.SUBMITTED, submitted)] if submitted else []
    steps += [answer] if answer else []
    timeline = Timeline(
        times=times or DossierTimes(),
        entries=tuple(Entry(status=status, at=at(when)) for status, when in steps),
    )
    return reception(
        timeline,
        channel=channel,
        now=at(now),
        soon=2 * HOUR,
        calendar=CALENDAR,
        agency=agency,
        limit=limit,
    )


@pytest.mark.parametrize(
    ("submitted", "agency", "deadline"),
    [
        pytest.param("2026-03-02 09:00", None, "2026-03-03 09:00", id="in the morning"),
        pytest.param("2026-03-02 07:00", None, "2026-03-02 17:00", id="at opening"),
        pytest.param("2026-03-02 06:59", None, "2026-03-02 17:00", id="before opening"),
        pytest.param("2026-03-02 07:01", None, "2026-03-03 07:01", id="after opening"),
        pytest.param("2026-03-02 11:30", None, "2026-03-03 11:00", id="at lunch"),
        pytest.param("2026-03-02 23:30", None, "2026-03-03 17:00", id="at night"),
        pytest.param("2026-03-06 15:00", None, "2026-03-09 15:00", id="on Friday"),
        pytest.param("2026-03-07 08:00", None, "2026-03-09 17:00", id="on Saturday"),
        pytest.param("2026-03-06 15:00", SATURDAYS, "2026-03-09 09:30", id="open on Saturday"),
        pytest.param("2026-02-14 08:00", None, "2026-02-23 17:00", id="before Tet"),
        pytest.param("2026-08-21 15:00", None, "2026-08-22 15:00", id="before a swapped Saturday"),
        pytest.param("2026-12-31 15:00", None, "2027-01-04 15:00", id="at the year's end"),
    ],
)
def test_the_deadline_is_eight_working_hours_after_submission(
    submitted: str, agency: str | None, deadline: str
) -> None:
    answer = found(submitted, submitted, agency=agency)
    assert answer is not None
    assert answer.deadline is not None
    assert told(answer.deadline) == deadline
    assert (answer.state, answer.remaining) == (R.WAITING, 8 * HOUR)


@pytest.mark.parametrize(
    ("now", "state", "remaining"),
    [
        ("2026-03-02 16:59", R.WAITING, 2 * HOUR + MINUTE),
        ("2026-03-02 17:00", R.DUE_SOON, 2 * HOUR),
        ("2026-03-03 08:59", R.DUE_SOON, MINUTE),
        ("2026-03-03 09:00", R.DUE_SOON, 0 * HOUR),
        ("2026-03-03 09:01", R.OVERDUE, 0 * HOUR),
    ],
)
def test_without_an_answer_it_runs_out(
    now: str, state: ReceptionState, remaining: timedelta
) -> None:
    answer = found("2026-03-02 09:00", now)
    assert answer is not None
    assert (answer.state, answer.remaining, answer.answered_at) == (state, remaining, None)


@pytest.mark.parametrize("status", [s for s in Status if s is not S.SUBMITTED])
@pytest.mark.parametrize(
    ("when", "state"), [("2026-03-03 09:00", R.IN_TIME), ("2026-03-03 09:01", R.LATE)]
)
def test_any_later_status_answers_and_at_the_deadline_is_in_time(
    status: Status, when: str, state: ReceptionState
) -> None:
    answer = found("2026-03-02 09:00", "2026-03-20 09:00", (status, when))
    assert answer is not None
    assert (answer.state, answer.answered_at) == (state, at(when))


def test_the_first_answer_counts() -> None:
    times = DossierTimes(received=at("2026-03-04 09:00"))
    answer = found(
        "2026-03-02 09:00",
        "2026-03-20 09:00",
        (S.PAYMENT_REQUESTED, "2026-03-03 09:00"),
        times=times,
    )
    assert answer is not None
    assert (answer.state, answer.answered_at) == (R.IN_TIME, at("2026-03-03 09:00"))


def test_an_answer_that_comes_later_is_not_known_yet() -> None:
    answer = found("2026-03-02 09:00", "2026-03-02 10:00", (S.RECEIVED, "2026-03-02 11:00"))
    assert answer is not None
    assert (answer.state, answer.answered_at) == (R.WAITING, None)


@pytest.mark.parametrize("field", ["received", "refused", "withdrawn"])
def test_the_fields_of_the_state_tell_of_an_answer_too(field: str) -> None:
    times = DossierTimes(submitted=at("2026-03-02 09:00"), **{field: at("2026-03-02 10:00")})
    answer = found(None, "2026-03-20 09:00", times=times)
    assert answer is not None
    assert (answer.state, answer.remaining) == (R.IN_TIME, 7 * HOUR)


def test_the_field_of_submission_counts_before_the_status() -> None:
    times = DossierTimes(submitted=at("2026-03-02 08:00"))
    answer = found("2026-03-02 09:00", "2026-03-02 09:00", times=times)
    assert answer is not None
    assert answer.deadline == at("2026-03-03 08:00")


def test_without_a_time_of_submission_nothing_can_be_said() -> None:
    answer = found(None, "2026-03-20 09:00", (S.RECEIVED, "2026-03-02 10:00"))
    assert answer is not None
    assert (answer.state, answer.deadline, answer.remaining) == (R.UNKNOWN, None, None)
    assert answer.answered_at == at("2026-03-02 10:00")


@pytest.mark.parametrize("channel", [None, Channel.DIRECT, Channel.POSTAL])
def test_the_rule_is_for_online_dossiers_alone(channel: Channel | None) -> None:
    assert found("2026-03-02 09:00", "2026-03-20 09:00", channel=channel) is None


def test_the_limit_is_an_argument() -> None:
    answer = found("2026-03-02 09:00", "2026-03-02 09:00", limit=HOUR)
    assert answer is not None
    assert (answer.deadline, answer.state) == (at("2026-03-02 10:00"), R.DUE_SOON)


@pytest.mark.parametrize(
    ("submitted", "certainty"),
    [
        ("2026-03-02 09:00", Certainty.REPORTED),
        ("2026-11-23 09:00", Certainty.UNVERIFIED),
        ("2027-03-01 09:00", Certainty.COMPUTED),
        ("2027-12-31 09:00", Certainty.UNKNOWN),
    ],
)
def test_a_reception_is_as_sure_as_the_days_to_its_deadline(
    submitted: str, certainty: Certainty
) -> None:
    for now in (submitted, "2028-01-20 09:00"):
        answer = found(submitted, now)
        assert answer is not None
        assert answer.certainty is certainty
