"""Reckoning a dossier's figures from its life, as the portal judges it, and keeping them up to date."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from monitoring.rates.catalogue import Catalogue, packaged
from monitoring.rates.facts import facts, service_of
from schemas.codec import UndecodableMessage
from schemas.dossier.mappings import Codes, Unmapped
from schemas.dossier.service_levels import NO_LEVELS, ServiceLevels
from schemas.dossier.status import Status
from schemas.dossier.timeline import Comparison, Entry, Timeline
from schemas.dossier.verdicts import spans
from schemas.dossier.working_calendar import WorkingCalendar
from schemas.ledger.database import Lane
from schemas.ledger.figures import DueDossier, Facts, Reckoned, Standing, due, put
from schemas.records import DossierEvent, EventKind

VERSION = 1
"""Raised whenever the code reckons otherwise: then everything is reckoned anew."""

ON_TIME = "on_time"
"""The rate whose rule judges a dossier."""

AT_ONCE = 500
"""How many dossiers one refresh takes up."""

Decode = Callable[[bytes], Awaitable[DossierEvent]]
"""From an event's payload to the event; raises what the codec raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """By what is reckoned. `calendar_name` tells this calendar from any other, e.g. a hash of its files."""

    codes: Codes
    calendar: WorkingCalendar
    calendar_name: str
    levels: ServiceLevels = NO_LEVELS
    comparison: Comparison = field(default_factory=lambda: comparison_on(packaged()))

    @property
    def name(self) -> str:
        """What is written beside the figures; another name, and they are outdated."""
        codes, days = f"codes {self.codes.version}", self.calendar_name
        return f"{VERSION}/{codes}/{days}/{self.levels.name}/{self.comparison.value}"


def comparison_on(catalogue: Catalogue, day: date | None = None) -> Comparison:
    """How the on-time rate holds an end against a due date: its version in force on a day, else the newest.

    A dossier is judged once and not for each period, as the portal judges the past by what holds now: on the
    day when another version comes into force, `Rules.name` is another, and all figures are reckoned anew.
    """
    rate = catalogue.rate(ON_TIME, day) or catalogue.versions(ON_TIME)[-1]
    if rate.compared_by is None:
        raise ValueError(f"rate {ON_TIME}: compared_by is missing")
    return _COMPARISONS[rate.compared_by]


_COMPARISONS = {"time": Comparison.TIMESTAMP, "date": Comparison.DATE}


async def refresh(lane: Lane, decode: Decode, rules: Rules, limit: int = AT_ONCE) -> int:
    """Reckon at most `limit` dossiers that are due. Returns how many were: fewer than `limit`, all are done.

    May be stopped at any time and run beside another. Raises `LedgerUnavailable`, and what `decode` raises, but
    for `UndecodableMessage`: that dossier becomes `UNREADABLE`, and keeps nobody else waiting.
    """
    waiting = await lane.read(lambda c: due(c, limit))
    reckoned: list[Reckoned] = []
    for one in waiting:
        try:
            reckoned.append(reckon(one, await opened(one, decode), rules))
        except UndecodableMessage:
            reckoned.append(replace(_blank(one, rules), standing=Standing.UNREADABLE))
    if reckoned:
        await lane.write(lambda c: put(c, reckoned))
    return len(waiting)


async def opened(one: DueDossier, decode: Decode) -> list[tuple[int, DossierEvent]]:
    """Its states that count, with their places in the log, oldest first."""
    return [(place, await decode(payload)) for place, payload in one.payloads]


def reckon(one: DueDossier, states: Sequence[tuple[int, DossierEvent]], rules: Rules) -> Reckoned:
    """The figures of a dossier. `states`: its payloads, decoded."""
    blank = _blank(one, rules)
    if one.state_version < 0:
        return replace(blank, standing=Standing.GAP)
    if not states or one.fewer:
        return replace(blank, standing=Standing.KEPT if one.known else Standing.LOST)
    _, newest = states[-1]
    if _is_gone(newest):
        return replace(blank, standing=Standing.DELETED)
    try:
        timeline = life(one, states, rules.codes)
    except Unmapped:
        return replace(blank, standing=Standing.UNMAPPED, facts=_without_life(newest, rules))
    found = facts(newest, timeline, rules.codes, rules.levels)
    try:
        told = spans(
            timeline,
            comparison=rules.comparison,
            calendar=rules.calendar,
            agency=found.agency_code,
            limit=limit_of(newest, timeline, rules),
        )
    except (ValueError, OverflowError):
        return replace(blank, standing=Standing.IMPOSSIBLE, facts=found)
    return replace(blank, facts=found, spans=told)


def _blank(one: DueDossier, rules: Rules) -> Reckoned:
    return Reckoned(
        dossier_id=one.dossier_id,
        state_version=one.state_version,
        log_pos=one.log_pos,
        born_on_portal=one.born_on_portal,
        rules=rules.name,
        standing=Standing.RECKONED,
        steps=len(one.steps),
    )


def life(one: DueDossier, states: Sequence[tuple[int, DossierEvent]], codes: Codes) -> Timeline:
    """The life of a dossier as the portal was told it: its steps, and its states where no step tells of them.

    The portal never takes a step back, so a step that was taken back stays; the state after it is an entry
    of its own. The due date is the extended one, if there is one, as it is sent. Raises `Unmapped`.
    """
    entries = [
        Entry(
            status=codes.status(states[-1][1].source, step.status, step.sub_status, step.at),
            at=step.at,
            place=step.log_pos,
        )
        for step in one.steps
    ]
    for place, event in states:
        told = event.business_state
        if told.status is None:
            continue
        status = codes.status(event.source, told.status, told.sub_status, event.effective_at)
        before = [entry for entry in entries if entry.place <= place]
        last = max(before, key=lambda entry: (entry.at, entry.place), default=None)
        if last is None or last.status is not status:
            entries.append(Entry(status=status, at=_came_at(status, event, last), place=place))
    times = states[-1][1].times
    return Timeline(
        times=replace(times, due=times.extended or times.due),
        entries=tuple(entries),
        supplements=states[-1][1].supplements,
    )


def _came_at(status: Status, event: DossierEvent, last: Entry | None) -> datetime:
    """When a status that no step tells of came: by its own field, else the time of the state."""
    times = event.times
    field = {
        Status.SUBMITTED: times.submitted,
        Status.RECEIVED: times.received,
        Status.FINISHED: times.finished,
        Status.RETURNED: times.returned,
        Status.WITHDRAWN: times.withdrawn,
        Status.REFUSED: times.refused,
    }.get(status)
    if field is None or (last is not None and field < last.at):
        return event.effective_at
    return field


def limit_of(event: DossierEvent, timeline: Timeline, rules: Rules) -> timedelta | None:
    """The longest legal time of its procedure, which counts where there is no due date; None is unknown."""
    service = service_of(event, timeline, rules.codes, rules.levels)
    return service.limit if service else None


def _is_gone(event: DossierEvent) -> bool:
    """Whether the whole dossier was deleted; the deletion of a step has a state."""
    return (
        event.kind is EventKind.DELETION
        and event.business_state.status is None
        and event.state_as_of.modified_at is None
    )


def _without_life(event: DossierEvent, rules: Rules) -> Facts:
    return facts(event, Timeline(times=event.times), rules.codes, rules.levels)
