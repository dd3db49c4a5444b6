"""How a dossier stands at the end of each civil day, as its life is known at one moment. Pure.

Form II.06 is a table of stock and flow: what came in, what was there, what left, what is still there. It
balances only when a dossier leaves the stock as often as it enters it. From that follow the readings here
that differ from the portal's (`timeline.end`, `verdicts.py`):

- A dossier has ended on the day of its *first* end since it was last opened, whichever status told it. The
  portal takes the hand-over before a withdrawal, say; here the dossier would leave the stock twice.
- A step that was taken back never was: the caller leaves it out of the life, from the moment on at which the
  taking back is known. At the portal a step stays told for ever; here an end that the office has taken back
  would count as dealt with, and again when the dossier really ends, while it lies on the desk in between.
- A dossier that a later step opens again has ended and is open again: it left the stock in the one
  period and is carried over into the other, in which it was opened. The past stays as it was, for it was so.
- When it was received is settled once for a whole life, or a dossier might come in twice.

Source: inferred from the identities of the form; the form's own text says nothing about any of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum

from schemas.dossier.status import BEFORE_RECEPTION, Status
from schemas.dossier.timeline import REOPENS, Entry, Timeline, received_at
from schemas.dossier.working_calendar import civil_day

FIRST_DAY, LAST_DAY = date.min, date.max
"""Of spans that begin with all time, and of those that have no end."""


class Standing(StrEnum):
    """How a dossier stands at the end of a day."""

    REGISTERED = "registered"  # handed in, not received yet
    REFUSED = "refused"  # with `received_on`: after it had been received
    RUNNING = "running"
    WAITING_SUPPLEMENT = "waiting_supplement"
    PAUSED = "paused"
    PAYMENT = "payment"
    FINISHED = "finished"
    RETURNED = "returned"  # finished, and handed over
    STOPPED = "stopped"
    WITHDRAWN = "withdrawn"
    DELETED = "deleted"  # the source has no such dossier any more: it is in no column, on no day


ENDS: dict[Status, Standing] = {
    Status.FINISHED: Standing.FINISHED,
    Status.RETURNED: Standing.RETURNED,
    Status.STOPPED: Standing.STOPPED,
    Status.REFUSED: Standing.REFUSED,
    Status.WITHDRAWN: Standing.WITHDRAWN,
}
"""The statuses by which a dossier leaves the stock."""

_OPEN: dict[Status, Standing] = {
    Status.SUPPLEMENT_REQUESTED: Standing.WAITING_SUPPLEMENT,
    Status.PAUSED: Standing.PAUSED,
    Status.PAYMENT_REQUESTED: Standing.PAYMENT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """How a dossier stands at the end of every day in [begun_on, ended_on); `LAST_DAY`: for good.

    Before its reception, and without one, it has no `received_on` and is in no column. `closed_on` is the
    day on which it left the stock.
    """

    begun_on: date
    ended_on: date
    standing: Standing
    received_on: date | None = None
    closed_on: date | None = None


GONE = (Span(begun_on=FIRST_DAY, ended_on=LAST_DAY, standing=Standing.DELETED),)
"""The spans of a dossier that the source deleted: as if it had never been."""

_NOTHING = (Span(begun_on=FIRST_DAY, ended_on=LAST_DAY, standing=Standing.REGISTERED),)


def spans(timeline: Timeline) -> tuple[Span, ...]:
    """The spans of a life, in order, without a gap from the first day of which anything is told.

    Of the state's times those of reception and of ends are used. An end that no entry tells of counts when
    the life has come to an end (or to a fee, which is also asked for when the result is handed over);
    else the field is left over from an end that was taken back, or was opened again.
    """
    entries = (*timeline.entries, *_ends_by_field(timeline))
    entries = tuple(sorted(entries, key=lambda e: (e.at, e.place)))
    received = received_at(timeline) if _was_received(timeline) else None
    received_on = None if received is None else _day(received)
    days = {_day(entry.at) for entry in entries}
    if received_on is not None:
        days.add(received_on)
    found: list[Span] = []
    for span in _each(entries, sorted(days), received_on):
        if found and _same(found[-1], span):
            continue
        if found:
            found[-1] = replace(found[-1], ended_on=span.begun_on)
        found.append(span)
    return tuple(found) or _NOTHING


def _each(
    entries: Sequence[Entry], days: Sequence[date], received_on: date | None
) -> Iterator[Span]:
    for day in days:
        told = [entry for entry in entries if _day(entry.at) <= day]
        is_in = received_on is not None and received_on <= day
        standing, closed = _standing(told, is_in)
        yield Span(
            begun_on=day,
            ended_on=LAST_DAY,
            standing=standing,
            received_on=received_on if is_in else None,
            closed_on=None if closed is None else _day(closed),
        )


def _standing(told: Sequence[Entry], is_in: bool) -> tuple[Standing, datetime | None]:
    """Where it stands after these entries, and when it ended."""
    if not told:
        return (Standing.RUNNING if is_in else Standing.REGISTERED), None
    last = told[-1].status
    if not is_in and last in BEFORE_RECEPTION:
        return (Standing.REFUSED if last is Status.REFUSED else Standing.REGISTERED), None
    opened = [place for place, entry in enumerate(told) if entry.status in REOPENS]
    tail = told[opened[-1] + 1 :] if opened else told
    ends = [entry for entry in tail if entry.status in ENDS]
    if not ends:
        return _OPEN.get(last, Standing.RUNNING), None
    handed_over = ends[0].status is Status.FINISHED and any(
        entry.status is Status.RETURNED for entry in ends
    )
    standing = Standing.RETURNED if handed_over else ENDS[ends[0].status]
    return standing, ends[0].at


def _was_received(timeline: Timeline) -> bool:
    """Whether the dossier was received at all. That the field has a time is not enough while it is merely
    registered, or was refused at reception (statuses 1 and 3 are in no column: one source)."""
    return not timeline.entries or any(
        entry.status not in BEFORE_RECEPTION for entry in timeline.entries
    )


def shows_reception(timeline: Timeline) -> bool:
    """Whether it must have been received although nothing says when: then it is in no column."""
    inside = {Status.PROCESSING, Status.PAUSED, Status.FINISHED, Status.RETURNED}
    return received_at(timeline) is None and any(e.status in inside for e in timeline.entries)


def _ends_by_field(timeline: Timeline) -> Iterator[Entry]:
    entries, times = timeline.entries, timeline.times
    if (
        entries
        and entries[-1].status not in ENDS
        and entries[-1].status is not Status.PAYMENT_REQUESTED
    ):
        return
    since = next((e.at for e in reversed(entries) if e.status in REOPENS), None)
    for status, at in (
        (Status.FINISHED, times.finished),
        (Status.RETURNED, times.returned),
        (Status.WITHDRAWN, times.withdrawn),
        (Status.REFUSED, times.refused),
    ):
        if at is not None and (since is None or at >= since):
            # Behind every entry of the same time: an entry says it better.
            yield Entry(status=status, at=at, place=_BEHIND)


_BEHIND = 1 << 62


def _day(instant: datetime) -> date:
    try:
        return civil_day(instant)
    except OverflowError:  # on the last day of all
        return LAST_DAY - timedelta(days=1)


def _same(one: Span, other: Span) -> bool:
    return replace(one, begun_on=other.begun_on, ended_on=other.ended_on) == other
