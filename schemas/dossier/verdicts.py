"""The portal's judgement of one dossier through time, as spans: what a rate of any period is counted from.

Between two things that happen to a dossier its verdict changes at most once, when its time runs out; so a
few spans say what `timeliness.judge` would, at every instant, also in days to come. They need to be
reckoned anew only when something happens to the dossier, or a rule or the calendar changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import zip_longest

from schemas.dossier.clock import LateBecause
from schemas.dossier.timeline import HAPPENINGS, Comparison, Timeline, end
from schemas.dossier.timeliness import Judgement, Verdict, judge
from schemas.dossier.working_calendar import WorkingCalendar


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What holds in [begun, ended), without `ended` for good. `end_at` is the end that counts, if there is one."""

    begun: datetime
    ended: datetime | None
    verdict: Verdict
    late_because: LateBecause | None
    end_at: datetime | None


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
    at = partial(
        judge, timeline, comparison=comparison, calendar=calendar, agency=agency, limit=limit
    )
    found: list[Span] = []
    for begun, judged in _judgements(sorted(_happenings(timeline)), lambda as_of: at(as_of=as_of)):
        ended = end(timeline.until(begun), pause_ends=True)
        span = Span(
            begun=begun,
            ended=None,
            verdict=judged.verdict,
            late_because=judged.late_because,
            end_at=ended.at if ended else None,
        )
        if span.verdict is Verdict.NOT_RECEIVED or (found and _same(found[-1], span)):
            continue
        if found:
            found[-1] = replace(found[-1], ended=begun)
        found.append(span)
    return tuple(found)


def _judgements(
    instants: Sequence[datetime], judged: Callable[[datetime], Judgement]
) -> Iterator[tuple[datetime, Judgement]]:
    """Every instant at which the judgement can change."""
    for instant, following in zip_longest(instants, instants[1:]):
        one = judged(instant)
        yield instant, one
        late_from = one.late_from
        if late_from is None or late_from <= instant:
            continue
        if following is None or late_from < following:
            yield late_from, judged(late_from)


def _happenings(timeline: Timeline) -> set[datetime]:
    found = {entry.at for entry in timeline.entries}
    found |= {at for name in HAPPENINGS if (at := getattr(timeline.times, name)) is not None}
    for each in timeline.supplements:
        found.add(each.requested_at)
        if each.completed_at is not None:
            found.add(each.completed_at)
    return found


def _same(one: Span, other: Span) -> bool:
    return (one.verdict, one.late_because, one.end_at) == (
        other.verdict,
        other.late_because,
        other.end_at,
    )
