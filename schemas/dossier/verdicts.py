"""The portal's judgement of one dossier through time, as spans: what a rate of any period is counted from.

Between two things that happen to a dossier its verdict changes at most once, when its time runs out; so a
few spans say what `timeliness.judge` would, at every instant, also in days to come. They need to be
reckoned anew only when something happens to the dossier, or a rule or the calendar changes.

Where the portal says late, the span also has what the legal clock says, for what only the portal calls late
is to be found among many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import zip_longest

from schemas.dossier.clock import LateBecause, Reading, read
from schemas.dossier.timeline import HAPPENINGS, Comparison, Timeline, end
from schemas.dossier.timeliness import OVERDUE, Judgement, Verdict, judge
from schemas.dossier.working_calendar import WorkingCalendar, end_of_day


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What holds in [begun, ended), without `ended` for good. `end_at` is the end that counts, if there is one.

    `office_late`: where the verdict is late, whether it is so by the legal clock too (`clock.read`); None
    where the verdict is not late, or that clock knows no due date.
    """

    begun: datetime
    ended: datetime | None
    verdict: Verdict
    late_because: LateBecause | None
    end_at: datetime | None
    office_late: bool | None = None


@dataclass(frozen=True, slots=True)
class _Both:
    """The two judges at one instant; the second is asked only where the first says late."""

    portal: Judgement
    office: Reading | None
    turns: tuple[datetime, ...]  # when one of them changes its mind if nothing happens


def spans(
    timeline: Timeline,
    *,
    comparison: Comparison,
    calendar: WorkingCalendar,
    agency: str | None = None,
    limit: timedelta | None = None,
) -> tuple[Span, ...]:
    """The spans of a dossier in order, from its reception on, without a gap; none if it never was received.

    At every instant the span that covers it has the verdict of `judge` at that instant, and the due date
    is the one in force now, as there. The arguments are those of `judge`. Raises as it does.
    """
    at = partial(_both, timeline, comparison, calendar, agency, limit)
    found: list[Span] = []
    for begun, judged in _judgements(sorted(_happenings(timeline)), at):
        ended = end(timeline.until(begun), pause_ends=True)
        span = Span(
            begun=begun,
            ended=None,
            verdict=judged.portal.verdict,
            late_because=judged.portal.late_because,
            end_at=ended.at if ended else None,
            office_late=_is_late(judged.office),
        )
        if span.verdict is Verdict.NOT_RECEIVED or (found and _same(found[-1], span)):
            continue
        if found:
            found[-1] = replace(found[-1], ended=begun)
        found.append(span)
    return tuple(found)


def _both(
    timeline: Timeline,
    comparison: Comparison,
    calendar: WorkingCalendar,
    agency: str | None,
    limit: timedelta | None,
    instant: datetime,
) -> _Both:
    portal = judge(
        timeline,
        as_of=instant,
        comparison=comparison,
        calendar=calendar,
        agency=agency,
        limit=limit,
    )
    if portal.verdict not in OVERDUE:
        return _Both(portal, None, _some(portal.late_from))
    office = read(
        timeline,
        now=instant,
        soon=timedelta(),
        calendar=calendar,
        agency=agency,
        comparison=comparison,
    )
    return _Both(portal, office, _some(portal.late_from, _runs_out(office, comparison)))


def _is_late(office: Reading | None) -> bool | None:
    if office is None or (office.due is None and office.late_because is None):
        return None
    return office.late_because is not None


def _runs_out(office: Reading, comparison: Comparison) -> datetime | None:
    """From when on a clock that runs says late."""
    if office.due is None or office.ended is not None or office.paused is not None:
        return None
    if comparison is Comparison.DATE:
        return end_of_day(office.due.at)
    return office.due.at + timedelta.resolution


def _some(*instants: datetime | None) -> tuple[datetime, ...]:
    return tuple(sorted({instant for instant in instants if instant is not None}))


def _judgements(
    instants: Sequence[datetime], judged: Callable[[datetime], _Both]
) -> Iterator[tuple[datetime, _Both]]:
    """Every instant at which one of the judgements can change."""
    for instant, following in zip_longest(instants, instants[1:]):
        now, turn = judged(instant), instant
        while True:
            yield turn, now
            later = [one for one in now.turns if one > turn]
            if not later or (following is not None and later[0] >= following):
                break
            turn, now = later[0], judged(later[0])


def _happenings(timeline: Timeline) -> set[datetime]:
    found = {entry.at for entry in timeline.entries}
    found |= {at for name in HAPPENINGS if (at := getattr(timeline.times, name)) is not None}
    for each in timeline.supplements:
        found.add(each.requested_at)
        if each.completed_at is not None:
            found.add(each.completed_at)
    return found


def _same(one: Span, other: Span) -> bool:
    return replace(one, begun=other.begun, ended=other.ended) == other
