"""A dossier's life as its events told it, event by event: what the standings of form II.06 are made from. Pure.

A life is kept as text beside what came of it, so that it goes on where it stood when events were pruned, and
can be read anew when code mappings change. It holds codes and times only.

Two things the events do not say and are inferred here, from the order in which the one-stop system works:

- Which step a rollback took back: the newest in force when it was taken back. If the source's newest action is
  one that was never told, it was that one, and nothing is to be taken back.
- Which step a deletion removed: whatever was told after the action that is now the source's newest. A step
  that went from the middle stays: that it happened is all that is known of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

from schemas.dossier.mappings import Codes, Mapped, Unmapped
from schemas.dossier.status import Status
from schemas.dossier.timeline import Entry, Timeline
from schemas.dossier.working_calendar import civil_day
from schemas.records import DossierEvent, DossierTimes, EventKind
from schemas.reports.standings import GONE, LAST_DAY, Span, shows_reception, spans

_TIMES = (
    "submitted",
    "received",
    "due",
    "extended",
    "finished",
    "returned",
    "withdrawn",
    "refused",
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Trouble(StrEnum):
    """Why a life may say less than the truth. The dossier is counted all the same, as far as it is known."""

    UNREADABLE = "unreadable"  # the bytes of an event are none, though they were when they came in
    GAP = "gap"  # an event could not be read, and nothing has been read since
    UNMAPPED = "unmapped"  # a status has no canonical one, or several: the standing before it stays
    UNDATED = "undated"  # it was received, and nothing says when: it is in no column


@dataclass(frozen=True, slots=True)
class ToldStep:
    """A step as it was told, or (without an action) a change of status that no action tells of."""

    action_id: str | None
    status: str | None
    sub_status: str | None
    at: datetime
    place: int
    taken_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldState:
    """What the newest state says that the form asks for. `came_at`: up to when it is true."""

    source: str
    place: int
    status: str | None
    sub_status: str | None
    came_at: datetime
    effective_at: datetime
    agency: str | None
    sector: str | None
    procedure: str | None
    channel: str | None
    times: DossierTimes
    supplements: tuple[tuple[datetime, datetime | None], ...]  # requested, completed


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """All that was told of a dossier and is in force. Without a state only a gap is known."""

    steps: tuple[ToldStep, ...] = ()
    state: ToldState | None = None
    gone: bool = False
    gap: bool = False
    unreadable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Where a dossier counts, in national codes; "": unknown. They are those of the newest state."""

    agency: str
    sector: str
    procedure: str
    channel: str | None
    due_on: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a life comes to under a set of code mappings."""

    spans: tuple[Span, ...]
    facts: Facts
    trouble: Trouble | None


# --- event by event ------------------------------------------------------------------------------------


def told(life: Life, event: DossierEvent, place: int) -> Life:
    """The life after one more event, which stands at this place in the log. Events come in its order."""
    if event.kind is EventKind.GAP:
        return replace(life, gap=True)
    if _is_gone(event):
        return replace(life, gone=True, gap=False)
    steps = life.steps
    match event.kind:
        case EventKind.CHANGE:
            steps = _changed(steps, event, place)
        case EventKind.CORRECTION:
            steps = _corrected(steps, event, place)
        case EventKind.ROLLBACK:
            steps = _rolled_back(steps, event)
        case EventKind.DELETION:
            steps = _without_deleted(steps, event)
    return replace(life, steps=steps, state=_state(event, place), gone=False, gap=False)


def unreadable(life: Life) -> Life:
    """The life after an event whose bytes cannot be read."""
    return replace(life, unreadable=True)


def _is_gone(event: DossierEvent) -> bool:
    """Whether the whole dossier was deleted; the deletion of a step has a state."""
    return (
        event.kind is EventKind.DELETION
        and event.business_state.status is None
        and event.state_as_of.modified_at is None
    )


def _changed(steps: tuple[ToldStep, ...], event: DossierEvent, place: int) -> tuple[ToldStep, ...]:
    if event.step is not None:
        return _corrected(steps, event, place)
    new = _told_step(event, place)
    last = max(_in_force(steps), key=lambda step: (step.at, step.place), default=None)
    if last is not None and (last.status, last.sub_status) == (new.status, new.sub_status):
        return steps  # a fee, a file, a date: its status is told already
    return (*steps, new)


def _told_step(event: DossierEvent, place: int) -> ToldStep:
    step = event.step
    if step is None:
        state = event.business_state
        return ToldStep(None, state.status, state.sub_status, event.effective_at, place)
    return ToldStep(step.action_id, step.status.status, step.status.sub_status, step.at, place)


def _corrected(
    steps: tuple[ToldStep, ...], event: DossierEvent, place: int
) -> tuple[ToldStep, ...]:
    """An action has what it says now, at its old place among those of the same time; or it is new.

    One that had been taken back comes into force again only if the state stands where it leads.
    """
    if event.step is None:
        return steps
    new = _told_step(event, place)
    found: list[ToldStep] = []
    for old in steps:
        if old.action_id != new.action_id:
            found.append(old)
            continue
        in_force = not old.taken_back or (
            event.state_as_of.action_id == new.action_id
            and (new.status, new.sub_status)
            == (event.business_state.status, event.business_state.sub_status)
        )
        found.append(replace(new, place=old.place, taken_back=not in_force))
    if all(old.action_id != new.action_id for old in steps):
        found.append(new)
    return tuple(found)


def _rolled_back(steps: tuple[ToldStep, ...], event: DossierEvent) -> tuple[ToldStep, ...]:
    ids = {step.action_id for step in steps}
    if event.state_as_of.action_id is not None and event.state_as_of.action_id not in ids:
        return steps
    made = [
        step
        for step in _in_force(steps)
        if step.action_id is not None and step.at <= event.effective_at
    ]
    if not made:
        return steps
    last = max(made, key=lambda step: (step.at, step.place))
    return _taken_back(steps, (step for step in steps if step == last or _rests_on(step, last)))


def _rests_on(step: ToldStep, action: ToldStep) -> bool:
    """Whether it is a status that no action told, seen after this action."""
    return step.action_id is None and (step.at, step.place) > (action.at, action.place)


def _without_deleted(steps: tuple[ToldStep, ...], event: DossierEvent) -> tuple[ToldStep, ...]:
    newest = next((s for s in steps if s.action_id == event.state_as_of.action_id), None)
    if newest is None or newest.action_id is None:
        return steps
    after = (s for s in steps if (s.at, s.place) > (newest.at, newest.place))
    return _taken_back(steps, after)


def _taken_back(steps: tuple[ToldStep, ...], gone: Iterable[ToldStep]) -> tuple[ToldStep, ...]:
    places = {step.place for step in gone}
    return tuple(replace(s, taken_back=True) if s.place in places else s for s in steps)


def _in_force(steps: Iterable[ToldStep]) -> Iterator[ToldStep]:
    return (step for step in steps if not step.taken_back)


def _state(event: DossierEvent, place: int) -> ToldState:
    return ToldState(
        source=event.source,
        place=place,
        status=event.business_state.status,
        sub_status=event.business_state.sub_status,
        came_at=max(event.state_as_of.modified_at or event.effective_at, event.effective_at),
        effective_at=event.effective_at,
        agency=event.handling_agency.code,
        sector=event.sector.code,
        procedure=event.procedure.local_code,
        channel=event.channel.value if event.channel else None,
        times=DossierTimes(**{name: getattr(event.times, name) for name in _TIMES}),
        supplements=tuple((one.requested_at, one.completed_at) for one in event.supplements),
    )


# --- what it comes to ------------------------------------------------------------------------------------


def known(life: Life, codes: Codes) -> Known:
    """The spans and facts of a life under these mappings.

    Agency and procedure are those of the codes by the mapping in force at the time of the newest state, as
    the portal is told of them; the due date is the extended one, if there is one, as it stands now.
    """
    state = life.state
    if state is None:
        nowhere = Facts(agency="", sector="", procedure="", channel=None, due_on=None)
        return Known(spans=(), facts=nowhere, trouble=_trouble(life, False, None))
    due = state.times.extended or state.times.due
    facts = Facts(
        agency=_value(lambda: codes.agency(state.source, state.agency, state.effective_at)),
        sector=state.sector or "",
        procedure=_value(
            lambda: codes.procedure(state.source, state.procedure, state.effective_at)
        ),
        channel=state.channel,
        due_on=None if due is None else _day(due),
    )
    if life.gone:
        return Known(spans=GONE, facts=facts, trouble=None)
    timeline, unmapped = timeline_of(life, codes)
    return Known(spans=spans(timeline), facts=facts, trouble=_trouble(life, unmapped, timeline))


def timeline_of(life: Life, codes: Codes) -> tuple[Timeline, bool]:
    """The steps in force in canonical statuses, and the newest state where none of them tells of it.

    Whether a status has no mapping comes beside it: such a one is left out, never guessed.
    """
    state = life.state
    assert state is not None
    entries: list[Entry] = []
    unmapped = False
    for step in _in_force(life.steps):
        if step.status is None:
            continue
        try:
            status = codes.status(state.source, step.status, step.sub_status, step.at)
        except Unmapped:
            unmapped = True
        else:
            entries.append(Entry(status=status, at=step.at, place=2 * step.place))
    entries += _supplemented(state)
    if state.status is not None:
        try:
            status = codes.status(state.source, state.status, state.sub_status, state.effective_at)
        except Unmapped:
            unmapped = True
        else:
            last = max(entries, key=lambda e: (e.at, e.place), default=None)
            if last is None or last.status is not status:
                at = _came_at(status, state, last)
                entries.append(Entry(status=status, at=at, place=2 * state.place + 1))
    return Timeline(times=state.times, entries=tuple(entries)), unmapped


def _supplemented(state: ToldState) -> Iterator[Entry]:
    """What the state's list of supplements tells; steps of the same time say it better, and stand behind."""
    for requested, completed in state.supplements:
        yield Entry(status=Status.SUPPLEMENT_REQUESTED, at=requested, place=-1)
        if completed is not None and completed > requested:
            yield Entry(status=Status.PROCESSING, at=completed, place=-1)


def _came_at(status: Status, state: ToldState, last: Entry | None) -> datetime:
    """When a status that no step tells of came: by its own field, else by the time of the state."""
    field = {
        Status.SUBMITTED: state.times.submitted,
        Status.RECEIVED: state.times.received,
        Status.FINISHED: state.times.finished,
        Status.RETURNED: state.times.returned,
        Status.WITHDRAWN: state.times.withdrawn,
        Status.REFUSED: state.times.refused,
    }.get(status)
    if field is not None and (last is None or field >= last.at):
        return field
    return state.came_at if last is None else max(state.came_at, last.at)


def _trouble(life: Life, unmapped: bool, timeline: Timeline | None) -> Trouble | None:
    if life.unreadable:
        return Trouble.UNREADABLE
    if life.gap:
        return Trouble.GAP
    if unmapped:
        return Trouble.UNMAPPED
    return Trouble.UNDATED if timeline is not None and shows_reception(timeline) else None


def _value(look_up: Callable[[], Mapped]) -> str:
    try:
        return look_up().value
    except Unmapped:
        return ""


def _day(instant: datetime) -> date:
    try:
        return civil_day(instant)
    except OverflowError:
        return LAST_DAY


# --- as text -----------------------------------------------------------------------------------------------


def as_text(life: Life) -> str:
    """The life as the ledger keeps it. `from_text` reads it."""
    state = life.state
    return json.dumps(
        {
            "steps": [
                [s.action_id, s.status, s.sub_status, _number(s.at), s.place, int(s.taken_back)]
                for s in life.steps
            ],
            "state": None
            if state is None
            else {
                "source": state.source,
                "place": state.place,
                "status": [state.status, state.sub_status],
                "at": [_number(state.came_at), _number(state.effective_at)],
                "codes": [state.agency, state.sector, state.procedure, state.channel],
                "times": [_number(getattr(state.times, name)) for name in _TIMES],
                "supplements": [[_number(a), _number(b)] for a, b in state.supplements],
            },
            "marks": [int(life.gone), int(life.gap), int(life.unreadable)],
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


def from_text(text: str) -> Life:
    """The life again."""
    content = json.loads(text)
    gone, gap, unread = content["marks"]
    return Life(
        steps=tuple(
            ToldStep(action, status, sub, _instant(at), place, bool(back))
            for action, status, sub, at, place, back in content["steps"]
        ),
        state=None if content["state"] is None else _state_of(content["state"]),
        gone=bool(gone),
        gap=bool(gap),
        unreadable=bool(unread),
    )


def _state_of(content: dict[str, Any]) -> ToldState:
    agency, sector, procedure, channel = content["codes"]
    came_at, effective_at = content["at"]
    status, sub_status = content["status"]
    times = zip(_TIMES, content["times"], strict=True)
    return ToldState(
        source=content["source"],
        place=content["place"],
        status=status,
        sub_status=sub_status,
        came_at=_instant(came_at),
        effective_at=_instant(effective_at),
        agency=agency,
        sector=sector,
        procedure=procedure,
        channel=channel,
        times=DossierTimes(**{name: None if at is None else _instant(at) for name, at in times}),
        supplements=tuple(
            (_instant(a), None if b is None else _instant(b)) for a, b in content["supplements"]
        ),
    )


def _number(at: datetime | None) -> int | None:
    return None if at is None else (at - _EPOCH) // _MICROSECOND


def _instant(number: int) -> datetime:
    return _EPOCH + timedelta(microseconds=number)
