"""A year of invented lives as a one-stop system has them and tells them: some late, corrected, or taken back.

The desk is the source's own truth: rows of actions of which some are taken back. What it tells are the events
that a connector would make of them. What form II.06 should count is found here by another way than in the
product: every dossier is walked through its days, in and out of the stock.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from hypothesis import strategies as st

from schemas.dossier.status import Status
from schemas.records import (
    Channel,
    CodeName,
    DossierEvent,
    DossierTimes,
    EventKind,
    Feed,
    SourceStatus,
    StateAsOf,
    Step,
    Supplement,
    identity_only,
)
from schemas.reports.periods import Window
from tests.contract.ledger_contract import make_event
from tests.unit.dossier.samples import VIET_NAM
from tests.unit.rates.counted import UNITS

FIRST = datetime(2026, 1, 5, 1, tzinfo=UTC)
YEAR = timedelta(days=330)

OUT = {"finished", "returned", "stopped", "refused", "withdrawn"}
IN_AGAIN = {"received", "processing", "supplement_requested", "paused"}


def windows() -> list[Window]:
    """The months of Decree 09/2019: from the 15th to the 14th."""
    firsts = [date(2025, 12, 15), *(date(2026, month, 15) for month in range(1, 13))]
    return [Window(one, following - timedelta(days=1)) for one, following in pairwise(firsts)]


def day_of(moment: datetime) -> date:
    return moment.astimezone(VIET_NAM).date()


@dataclass(slots=True)
class Action:
    number: int
    status: str
    at: datetime
    in_force: bool = True


@dataclass(slots=True)
class Snapshot:
    """What was known after an event, for the judge."""

    known_at: datetime
    actions: tuple[tuple[datetime, int, str], ...]  # in force, in order
    received: datetime | None
    due: datetime | None
    unit: str
    channel: Channel | None
    gone: bool


@dataclass(slots=True)
class Dossier:
    """One dossier at the desk. `known_at` is when the hub has taken in what was told last."""

    name: str
    channel: Channel | None
    due: datetime | None
    unit: str
    actions: list[Action] = field(default_factory=list)
    # Not shown: the actions say enough, and hypothesis refuses to print what is longer.
    told: list[DossierEvent] = field(default_factory=list, repr=False)
    known: list[Snapshot] = field(default_factory=list, repr=False)
    extended: datetime | None = None
    stale_finish: datetime | None = None

    def act(self, status: str, at: datetime, delay: timedelta) -> None:
        action = Action(len(self.actions) + 1, status, at)
        self.actions.append(action)
        self._tell(EventKind.CHANGE, at, at + delay, action)

    def roll_back(self, at: datetime, delay: timedelta, *, leaves_field: bool) -> None:
        """The newest action in force is taken back, but for the reception."""
        in_force = [a for a in self._in_order() if a.at <= at]
        if len(in_force) < 2 or in_force[-1] != self._in_order()[-1]:
            return
        last = in_force[-1]
        last.in_force = False
        if leaves_field and last.status == "finished":
            self.stale_finish = last.at
        self._tell(EventKind.ROLLBACK, at, at + delay, None)

    def correct(self, at: datetime, delay: timedelta, earlier: timedelta) -> None:
        """The newest action is said to have been earlier, but not before the one before it."""
        ordered = self._in_order()
        if len(ordered) < 2:
            return
        last, before = ordered[-1], ordered[-2]
        last.at = max(before.at + timedelta(minutes=1), last.at - earlier)
        self._tell(EventKind.CORRECTION, at, at + delay, last)

    def edit(self, at: datetime, delay: timedelta) -> None:
        """A change without an action: a due date, a unit."""
        self._tell(EventKind.CHANGE, at, at + delay, None)

    def delete(self, at: datetime, delay: timedelta) -> None:
        known_at = self._known_at(at + delay)
        self.told.append(
            identity_only(
                event_id=f"{self.name}-{len(self.told)}",
                dossier_id=self.name,
                kind=EventKind.DELETION,
                source="opencps",
                feed=Feed.SWEEP,
                cursor="1",
                content_hash="x",
                read_seq=len(self.told) + 1,
                effective_at=at,
                recorded_at=known_at,
                sealed=b"sealed",
            )
        )
        self.known.append(replace(self.known[-1], known_at=known_at, gone=True))

    def _in_order(self) -> list[Action]:
        return sorted((a for a in self.actions if a.in_force), key=lambda a: (a.at, a.number))

    def _known_at(self, at: datetime) -> datetime:
        before = self.known[-1].known_at if self.known else FIRST
        return max(at, before + timedelta(seconds=1))

    def _field(self, status: str) -> datetime | None:
        return next((a.at for a in reversed(self._in_order()) if a.status == status), None)

    def _tell(
        self, kind: EventKind, at: datetime, known_at: datetime, action: Action | None
    ) -> None:
        known_at = self._known_at(known_at)
        number = len(self.told)
        ordered = self._in_order()
        status = ordered[-1].status
        newest = max(a.number for a in self.actions)
        stands = SourceStatus(status=status, sub_status=None)
        received = next((a.at for a in ordered if a.status == "received"), None)
        event = make_event(
            f"{self.name}-{number}",
            self.name,
            version=number + 1,
            kind=kind,
            code=f"H12-{self.name}",
            status=status,
            at=at,
        )
        step = None
        if action is not None:
            assert event.step is not None
            step = Step(
                action_id=str(action.number),
                previous_action_id=None,
                action_code=None,
                step_code=None,
                status=SourceStatus(status=action.status, sub_status=None),
                status_carried=False,
                at=action.at,
                due=None,
            )
        self.told.append(
            replace(
                event,
                step=step,
                business_state=stands,
                state_as_of=StateAsOf(action_id=str(newest), modified_at=at),
                handling_agency=CodeName(code=self.unit, name=None),
                channel=self.channel,
                times=DossierTimes(
                    received=received,
                    due=self.extended or self.due,
                    extended=self.extended,
                    finished=self._field("finished") or self.stale_finish,
                    returned=self._field("returned"),
                    withdrawn=self._field("withdrawn") if status == "withdrawn" else None,
                    refused=self._field("refused") if status == "refused" else None,
                ),
                supplements=tuple(self._supplements(ordered)),
                recorded_at=known_at,
            )
        )
        self.known.append(
            Snapshot(
                known_at=known_at,
                actions=tuple((a.at, a.number, a.status) for a in ordered),
                received=received,
                due=self.extended or self.due,
                unit=self.unit,
                channel=self.channel,
                gone=False,
            )
        )

    def _supplements(self, ordered: Sequence[Action]) -> Iterator[Supplement]:
        for action, following in zip(ordered, [*ordered[1:], None], strict=True):
            if action.status == "supplement_requested":
                yield Supplement(
                    supplement_id=str(action.number),
                    requested_at=action.at,
                    completed_at=following.at if following else None,
                    old_due=None,
                    new_due=None,
                )

    def known_by(self, moment: datetime) -> Snapshot | None:
        return next((k for k in reversed(self.known) if k.known_at <= moment), None)


# --- what should be counted ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Walked:
    """Where a dossier was on the last day of a window, and what it went through in it."""

    received_in: bool
    carried_in: bool
    left_in: bool
    still_in: bool


def walked(known: Snapshot | None, window: Window) -> Walked | None:
    """A dossier's way through the days up to the last, by its actions; None if it is in no column."""
    if known is None or known.gone or known.received is None:
        return None
    received_on = day_of(known.received)
    if received_on > window.last:
        return None
    is_in, left_on = True, None
    for at, _, status in known.actions:
        if day_of(at) > window.last:
            break
        if status in OUT and is_in:
            is_in, left_on = False, day_of(at)
        elif status in IN_AGAIN:
            is_in, left_on = True, None
    left_in = left_on is not None and left_on >= window.first
    if not is_in and not left_in:
        return None
    return Walked(
        received_in=received_on >= window.first,
        carried_in=received_on < window.first,
        left_in=left_in,
        still_in=is_in,
    )


# --- a year of them --------------------------------------------------------------------------------------

_HOURS = st.integers(0, int(YEAR.total_seconds()) // 3600)
_GAPS = st.integers(1, 24 * 45)
_MOVES = st.sampled_from(
    [
        *(status.value for status in Status if status not in (Status.SUBMITTED, Status.RECEIVED)),
        "processing",
        "supplement_requested",
        "finished",
        "finished",
        "roll back",
        "roll back",
        "correct",
        "late",
        "extend",
        "move",
        "reopen",
        "delete",
    ]
)


@st.composite
def dossiers(draw: st.DrawFn, most: int = 5) -> list[Dossier]:
    """Lives of a few dossiers, told in the order in which they were taken in."""
    found: list[Dossier] = []
    for number in range(draw(st.integers(1, most))):
        at = FIRST + timedelta(hours=draw(_HOURS))
        due = at + timedelta(hours=draw(_GAPS)) if draw(st.booleans()) else None
        one = Dossier(
            name=f"d{number}",
            channel=draw(st.sampled_from([None, *Channel])),
            due=due,
            unit=draw(st.sampled_from(UNITS)),
        )
        if draw(st.booleans()):
            one.act("submitted", at, timedelta(minutes=1))
            at += timedelta(hours=draw(_GAPS))
        one.act("received", at, timedelta(hours=draw(st.sampled_from([0, 0, 1, 24 * 20]))))
        for move in draw(st.lists(_MOVES, max_size=6)):
            at += timedelta(hours=draw(_GAPS))
            delay = timedelta(hours=draw(st.sampled_from([0, 0, 0, 5, 24 * 25])))
            if not _moved(one, move, at, delay, draw):
                break
        found.append(one)
    return found


def _moved(one: Dossier, move: str, at: datetime, delay: timedelta, draw: st.DrawFn) -> bool:
    match move:
        case "roll back":
            one.roll_back(at, delay, leaves_field=draw(st.booleans()))
        case "correct":
            one.correct(at, delay, timedelta(hours=draw(_GAPS)))
        case "late":
            before = one.actions[-1].at
            one.act("processing", before + (at - before) / 2, at - before + delay)
        case "extend":
            one.extended = at + timedelta(hours=draw(_GAPS))
            one.edit(at, delay)
        case "move":
            one.unit = draw(st.sampled_from(UNITS))
            one.edit(at, delay)
        case "reopen":
            one.act("processing", at, delay)
        case "delete":
            one.delete(at, delay)
            return False
        case _:
            one.act(move, at, delay)
    return True


def in_order(found: Sequence[Dossier]) -> list[DossierEvent]:
    """All events as the log has them: by when they were taken in."""
    told = [event for one in found for event in one.told]
    return sorted(told, key=lambda event: (event.recorded_at, event.dossier_id))


def mixed(found: Sequence[Dossier], chance: random.Random) -> list[list[DossierEvent]]:
    """In another order, in batches; of one dossier still in its own."""
    waiting = [list(one.told) for one in found]
    batches: list[list[DossierEvent]] = [[]]
    while any(waiting):
        batches[-1].append(chance.choice([told for told in waiting if told]).pop(0))
        if chance.random() < 0.4:
            batches.append([])
    return [batch for batch in batches if batch]
