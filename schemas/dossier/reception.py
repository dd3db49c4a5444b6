"""The eight working hours in which a dossier handed in online must be answered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from schemas.dossier.days_off import Certainty
from schemas.dossier.status import Status
from schemas.dossier.timeline import Timeline
from schemas.dossier.working_calendar import WorkingCalendar
from schemas.records import Channel

RECEPTION_LIMIT = timedelta(hours=8)
"""Working time from submission to the answer.

Source: a provincial order that cites the rules (confirmed that it says so; the article itself was not
seen): accept or refuse within 8 working hours of successful submission.
"""


class ReceptionState(StrEnum):
    """How the reception of an online dossier stands (words on screens beside each)."""

    WAITING = "waiting"  # chờ tiếp nhận
    DUE_SOON = "due_soon"  # sắp hết hạn tiếp nhận
    OVERDUE = "overdue"  # quá hạn tiếp nhận
    IN_TIME = "in_time"  # tiếp nhận đúng hạn
    LATE = "late"  # tiếp nhận quá hạn
    UNKNOWN = "unknown"  # the time of submission is not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """The reception of one online dossier at one moment. `remaining` is working time, zero once over."""

    state: ReceptionState
    deadline: datetime | None
    answered_at: datetime | None
    remaining: timedelta | None
    certainty: Certainty


def reception(
    timeline: Timeline,
    *,
    channel: Channel | None,
    now: datetime,
    soon: timedelta,
    calendar: WorkingCalendar,
    agency: str | None = None,
    limit: timedelta = RECEPTION_LIMIT,
) -> Reception | None:
    """The reception at `now`; None for a dossier that did not come in online, for which there is no rule.

    The clock counts from submission (NgayNopHoSo, else the first `submitted`), in the working time of
    `agency`, the receiving one; an answer at the deadline is in time. `soon` is the working time before
    the deadline from which on it is `due_soon` (inclusive). Any status after `submitted` answers: that
    a request for papers or for a fee does so, like acceptance and refusal, is inferred.
    Raises `ValueError` for times outside the years that the calendar takes.
    """
    if channel is not Channel.ONLINE:
        return None
    story = timeline.until(now)
    answers = [e.at for e in story.entries if e.status is not Status.SUBMITTED]
    answers += [
        at for at in (story.times.received, story.times.refused, story.times.withdrawn) if at
    ]
    answered = min(answers, default=None)
    submitted = story.times.submitted or next(
        (e.at for e in story.entries if e.status is Status.SUBMITTED), None
    )
    if submitted is None:
        return Reception(
            state=ReceptionState.UNKNOWN,
            deadline=None,
            answered_at=answered,
            remaining=None,
            certainty=Certainty.CONFIRMED,
        )
    deadline = calendar.add_working_time(submitted, limit, agency)
    at = answered or now
    left = calendar.working_time(min(at, deadline.value), deadline.value, agency)
    if at > deadline.value:
        state = ReceptionState.LATE if answered else ReceptionState.OVERDUE
    elif answered:
        state = ReceptionState.IN_TIME
    else:
        state = ReceptionState.DUE_SOON if left.value <= soon else ReceptionState.WAITING
    return Reception(
        state=state,
        deadline=deadline.value,
        answered_at=answered,
        remaining=left.value,
        certainty=deadline.certainty,
    )
