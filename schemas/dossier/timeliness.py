"""How the portal judges a dossier for the on-time rate of Decision 766/QĐ-TTg, from what it was sent.

Source: reporting contract §4.3 b, operational description "Mô tả công thức tính chỉ số 766" (one source);
the letter of the decision was seen in summary only. What the description leaves open is marked in the
docstrings. Nothing here tells an officer what is left to do: that is `clock.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from schemas.dossier.clock import SUPPLEMENTS_ALLOWED, LateBecause
from schemas.dossier.days_off import Certainty, weakest
from schemas.dossier.timeline import (
    Comparison,
    Timeline,
    end,
    received_at,
    supplement_requests,
    was_received,
)
from schemas.dossier.working_calendar import WorkingCalendar, civil_day, end_of_day


class Verdict(StrEnum):
    """The portal's judgement of one dossier."""

    EARLY = "early"  # trước hạn
    ON_TIME = "on_time"  # đúng hạn
    LATE = "late"  # quá hạn
    OPEN_IN_TIME = "open_in_time"  # đang giải quyết, trong hạn
    OPEN_LATE = "open_late"  # đang giải quyết, quá hạn
    UNDATED = "undated"  # neither a due date nor a limit is known: the rule gives no answer
    NOT_RECEIVED = "not_received"  # not counted


IN_TIME = frozenset({Verdict.EARLY, Verdict.ON_TIME, Verdict.OPEN_IN_TIME})
"""What the numerator of the on-time rate counts (one source)."""

OVERDUE = frozenset({Verdict.LATE, Verdict.OPEN_LATE})
"""What it counts in the denominator alone."""

_LEAST_TIME = timedelta.resolution


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict and what it rests on.

    `counted_at` is the time that was held against the due date, `supplement_time` what was subtracted
    from it. `certainty` is that of the calendar; it matters only where a limit was measured. `late_from`:
    from when on an open dossier whose time runs is late, if nothing more happens to it.
    """

    verdict: Verdict
    counted_at: datetime | None
    supplement_time: timedelta
    late_because: LateBecause | None
    certainty: Certainty
    late_from: datetime | None = None


def judge(
    timeline: Timeline,
    *,
    as_of: datetime,
    comparison: Comparison,
    calendar: WorkingCalendar,
    agency: str | None = None,
    limit: timedelta | None = None,
) -> Judgement:
    """Judge a dossier as the portal does at `as_of`, the last instant of the period or now.

    `limit` is the longest legal time of the procedure, as working time; it counts only without a due date.

    - Ended: the time of the end, with a pause read as a stop (both are the portal's code 8), less the
      time of supplements that were answered (as time passed, not as working time: inferred).
    - Not ended and waiting for the first supplement: the time of the request is the end. "Waiting" is one
      of two readings: the formula itself says "if the only stop status is one request".
    - Not ended otherwise: the last day of the period, held against the due date by day, whatever
      `comparison` says, because the rule names a day (inferred); less the time of supplements (inferred).
    - In time up to and at the due date. Without one: start, end and supplements measured as working time
      are at most `limit` (that it is working time is inferred), from reception on.
    - A second request to supplement makes it late. Waiting for a fee stops nothing: the rule does not
      name it.

    Raises `ValueError` for times outside the years that the calendar takes.
    """
    story = timeline.until(as_of)
    if not was_received(story):
        return Judgement(
            verdict=Verdict.NOT_RECEIVED,
            counted_at=None,
            supplement_time=timedelta(),
            late_because=None,
            certainty=Certainty.CONFIRMED,
        )
    ended = end(story, pause_ends=True)
    requests = supplement_requests(story)
    waiting = None if ended else next((r for r in requests if r.ended is None), None)
    stop = ended.at if ended else waiting.begun if waiting else as_of
    answered = [(r.begun, min(r.ended, stop)) for r in requests if r.ended and r.begun < stop]
    lost = sum((done - asked for asked, done in answered), timedelta())
    counted = stop - lost
    due, start = story.times.due, received_at(story)
    late: bool | None = None
    late_from: datetime | None = None
    certainty = Certainty.CONFIRMED
    runs = ended is None and waiting is None
    if due is not None:
        late = (Comparison.DATE if runs else comparison).is_late(counted, due)
        late_from = end_of_day(due) + lost
    elif limit is not None and start is not None:
        worked = calendar.working_time(start, max(start, stop), agency)
        off = [calendar.working_time(max(a, start), max(d, start), agency) for a, d in answered]
        allowed = limit + sum((o.value for o in off), timedelta())
        late = worked.value > allowed
        late_from = calendar.add_working_time(start, allowed + _LEAST_TIME, agency).value
        certainty = weakest([worked.certainty, *(o.certainty for o in off)])
    because = LateBecause.DUE_PASSED if late else None
    if len(requests) > SUPPLEMENTS_ALLOWED:
        late, because = True, LateBecause.SECOND_SUPPLEMENT
    return Judgement(
        verdict=_verdict(late, ended is not None, counted, due),
        counted_at=counted,
        supplement_time=lost,
        late_because=because,
        certainty=certainty,
        late_from=late_from if runs else None,
    )


def _verdict(late: bool | None, ended: bool, counted: datetime, due: datetime | None) -> Verdict:
    """Early is a day before that of the due date (form II.06, column 8, one source).

    Within a limit without a due date there is no early: it is on time.
    """
    if late is None:
        return Verdict.UNDATED
    if not ended:
        return Verdict.OPEN_LATE if late else Verdict.OPEN_IN_TIME
    if late:
        return Verdict.LATE
    early = due is not None and civil_day(counted) < civil_day(due)
    return Verdict.EARLY if early else Verdict.ON_TIME
