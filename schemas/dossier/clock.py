"""The legal clock of a dossier: does it run, stand still, run out, and how much working time is left.

This is what an officer is told. How the portal judges the same dossier for Decision 766 is another rule
with another outcome, `timeliness.py`; what differs is tabled in README.md. Pure: the time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from schemas.dossier.days_off import Certainty, weakest
from schemas.dossier.status import Status
from schemas.dossier.timeline import (
    Comparison,
    End,
    Pause,
    Timeline,
    end,
    pauses,
    supplement_requests,
    was_received,
)
from schemas.dossier.working_calendar import Answer, WorkingCalendar, civil_day, end_of_day

SUPPLEMENTS_ALLOWED = 1
"""How many requests to supplement a dossier may have without being late.

Source: reporting contract §0.6 and §4.3 b, operational description of Decision 766 (one source).
"""

_CLOSED = frozenset({Status.REFUSED, Status.WITHDRAWN, Status.STOPPED})


class ClockState(StrEnum):
    """How the clock stands (words on screens beside each)."""

    NOT_STARTED = "not_started"  # chưa tiếp nhận
    NEVER_STARTED = "never_started"  # kết thúc mà không được tiếp nhận
    RUNNING = "running"  # đang trong hạn
    DUE_SOON = "due_soon"  # sắp đến hạn
    OVERDUE = "overdue"  # quá hạn, chưa giải quyết xong
    PAUSED = "paused"  # tạm dừng tính thời hạn
    UNDATED = "undated"  # đang giải quyết, không có ngày hẹn trả
    ENDED_EARLY = "ended_early"  # xong trước hạn
    ENDED_ON_TIME = "ended_on_time"  # xong đúng hạn
    ENDED_LATE = "ended_late"  # xong quá hạn
    ENDED_UNDATED = "ended_undated"  # xong, không có ngày hẹn trả


class DueBasis(StrEnum):
    """Where the due date in force is from."""

    SOURCE = "source"  # as the one-stop system has it
    EXTENDED = "extended"  # the same, set by an extension
    SHIFTED = (
        "shifted"  # the source left it where it was before a pause: moved by the working time lost
    )


class LateBecause(StrEnum):
    """Why a dossier is late."""

    DUE_PASSED = "due_passed"
    SECOND_SUPPLEMENT = "second_supplement"


@dataclass(frozen=True, slots=True)
class Due:
    """A due date and where it is from."""

    at: datetime
    basis: DueBasis


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The clock of one dossier at one moment.

    `remaining` is the working time from now (from the pause, from the end) to the due date, `overdue` the
    working time since it; one of the two is zero, both are None without a due date. `paused` is the
    pause that lasts. `certainty` is that of the calendar's answers that went into it.
    """

    state: ClockState
    due: Due | None
    ended: End | None
    paused: Pause | None
    late_because: LateBecause | None
    supplement_requests: int
    remaining: timedelta | None
    overdue: timedelta | None
    certainty: Certainty

    @property
    def next_supplement_makes_late(self) -> bool:
        """Whether one more request to supplement makes this dossier late: warn before it is sent."""
        return (
            self.ended is None
            and self.late_because is None
            and self.supplement_requests == SUPPLEMENTS_ALLOWED
        )


def read(
    timeline: Timeline,
    *,
    now: datetime,
    soon: timedelta,
    calendar: WorkingCalendar,
    agency: str | None = None,
    comparison: Comparison = Comparison.TIMESTAMP,
) -> Reading:
    """Read the clock at `now`; what happened later is left out of account.

    `soon` is the working time before the due date from which on a dossier is `due_soon` (inclusive).
    `agency` is whose hours count. Rules and sources:

    - It starts with reception and ends as `timeline.end` says.
    - It stands still in `timeline.PAUSES` (inferred). A dossier that was late before stays late.
    - Overdue is after the due date, at it still in time; `comparison` says by time stamp or by day.
    - A second request to supplement makes it late, whatever the due date (one source).
    - Ended on the day of the due date is on time, on an earlier day early (form II.06, one source).

    Raises `ValueError` for times outside the years that the calendar takes.
    """
    story = timeline.until(now)
    ended = end(story)
    requests = len(supplement_requests(story))
    if not was_received(story):
        closed = (
            story.entries[-1].status in _CLOSED
            if story.entries
            else bool(story.times.refused or story.times.withdrawn)
        )
        return Reading(
            state=ClockState.NEVER_STARTED if closed else ClockState.NOT_STARTED,
            due=None,
            ended=None,
            paused=None,
            late_because=None,
            supplement_requests=requests,
            remaining=None,
            overdue=None,
            certainty=Certainty.CONFIRMED,
        )
    paused = None if ended else next((p for p in pauses(story) if p.ended is None), None)
    at = ended.at if ended else paused.begun if paused else now
    answer = due_in_force(story, calendar=calendar, agency=agency, comparison=comparison)
    due, certainty = answer.value, answer.certainty
    remaining = overdue = late = None
    if due is not None:
        limit = _limit(due.at, comparison)
        left = calendar.working_time(min(at, limit), limit, agency)
        over = calendar.working_time(limit, max(at, limit), agency)
        remaining, overdue = left.value, over.value
        certainty = weakest((certainty, left.certainty, over.certainty))
        late = LateBecause.DUE_PASSED if comparison.is_late(at, due.at) else None
    if requests > SUPPLEMENTS_ALLOWED:
        late = LateBecause.SECOND_SUPPLEMENT
    return Reading(
        state=_state(ended, paused, due, late, remaining, soon),
        due=due,
        ended=ended,
        paused=paused,
        late_because=late,
        supplement_requests=requests,
        remaining=remaining,
        overdue=overdue,
        certainty=certainty,
    )


def due_in_force(
    timeline: Timeline,
    *,
    calendar: WorkingCalendar,
    agency: str | None = None,
    comparison: Comparison = Comparison.TIMESTAMP,
) -> Answer[Due | None]:
    """The due date that counts by law, None where the source holds none.

    The source's date (the one of an extension, if there is one) counts as it stands, with one exception:
    where the source held the same date when a pause began, the pause has not been taken into account,
    and what was left when it began is left when it ends: working time, or working days where they are
    compared by date. Without knowing what the date was at that moment nothing is moved: a deadline is
    then rather too early. An open pause moves nothing yet.
    Source: that the clock stands still in a pause is inferred from the statistics group "Tạm dừng";
    new due dates after a supplement: field NgayHenTraMoi of the portal contract §5.1 (confirmed).
    """
    source = timeline.times.due
    if source is None:
        return Answer(None, Certainty.CONFIRMED)
    extended = timeline.times.extended == source
    basis = DueBasis.EXTENDED if extended else DueBasis.SOURCE
    at, certainty = source, Certainty.CONFIRMED
    covered: datetime | None = None  # pauses may overlap: time is lost once
    for pause in pauses(timeline):
        if pause.ended is None:
            continue
        begun = pause.begun if covered is None else max(pause.begun, covered)
        if pause.due == source and not comparison.is_late(begun, at):
            moved = _moved(at, begun, pause.ended, calendar, agency, comparison)
            certainty = weakest((certainty, moved.certainty))
            if comparison.is_late(moved.value, at):
                at, basis = moved.value, DueBasis.SHIFTED
        covered = pause.ended if covered is None else max(covered, pause.ended)
    return Answer(Due(at, basis), certainty)


def _moved(
    due: datetime,
    begun: datetime,
    ended: datetime,
    calendar: WorkingCalendar,
    agency: str | None,
    comparison: Comparison,
) -> Answer[datetime]:
    """The due date after a pause in [begun, ended), with as much left as there was before it."""
    if comparison is Comparison.TIMESTAMP:
        time_left = calendar.working_time(begun, due, agency)
        found = calendar.add_working_time(ended, time_left.value, agency)
        return Answer(found.value, weakest((time_left.certainty, found.certainty)))
    days_left = calendar.working_days(begun, max(begun, due), agency)
    if not days_left.value:
        return Answer(ended, days_left.certainty)
    found = calendar.add_working_days(ended, days_left.value, agency)
    return Answer(found.value, weakest((days_left.certainty, found.certainty)))


def _limit(due: datetime, comparison: Comparison) -> datetime:
    """Up to when a dossier is in time."""
    return due if comparison is Comparison.TIMESTAMP else end_of_day(due)


def _state(
    ended: End | None,
    paused: Pause | None,
    due: Due | None,
    late: LateBecause | None,
    remaining: timedelta | None,
    soon: timedelta,
) -> ClockState:
    if ended is not None:
        if late:
            return ClockState.ENDED_LATE
        if due is None:
            return ClockState.ENDED_UNDATED
        early = civil_day(ended.at) < civil_day(due.at)
        return ClockState.ENDED_EARLY if early else ClockState.ENDED_ON_TIME
    if late:
        return ClockState.OVERDUE
    if paused is not None:
        return ClockState.PAUSED
    if remaining is None:
        return ClockState.UNDATED
    return ClockState.DUE_SOON if remaining <= soon else ClockState.RUNNING
