"""Looks after the periodic reports. One process does it.

Opens periods as they begin, freezes them at the cut-off, keeps what would be another revision today, hands
approved reports over in time, publishes their packets, and says how all of them stand on `/metrics`. Every
step may be interrupted and done again, by this process or by the next: a figure is frozen by the moment of its
cut-off, not by the moment at which somebody was there.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from monitoring.crash_points import CrashPoint, crash_point
from monitoring.events import Events
from monitoring.metrics import Flow
from monitoring.redaction import describe
from schemas.dossier.working_calendar import CIVIL_ZONE, WorkingCalendar, civil_day
from schemas.ledger import report_outbox, report_store
from schemas.ledger.database import Lane
from schemas.ledger.fences import require_singleton
from schemas.ledger.model import CaptureLedger, LedgerUnavailable, SingletonFence, StaleOwner
from schemas.ledger.report_outbox import Packet
from schemas.ledger.report_store import Draft, Report, Stood, Take
from schemas.records import ReportPacket
from schemas.registry import RegistryUnavailable
from schemas.reports import snapshots
from schemas.reports.states import Action, State
from schemas.topics import REPORT_PACKETS
from streams.producer import NotConfirmed, Outgoing
from streams.reporting.approvals import (
    HUB,
    Desk,
    actor_named,
    ask_units,
    earlier_of,
    standing_of,
)
from streams.reporting.counting import Filling
from streams.reporting.life import SENT, Ask, Refused, step
from streams.reporting.opening import Begun, Regime, begun
from streams.singleton import Singleton

NAME = "reporting"

_PAUSE_SECONDS = 2.0
_TROUBLE_SECONDS = 5.0
_DRAFT_SECONDS = 300.0
_AT_ONCE = 100
_DRAFTED = timedelta(days=400)
"""Drafts are kept of reports whose window ended within this time; `thongsuot report diff` looks at any."""

T = TypeVar("T")


class Writes(Protocol):
    """What is needed of the producer."""

    async def produce(self, records: Sequence[Outgoing]) -> None:
        """Return when all are confirmed. Raises `NotConfirmed`."""


class Reminding(Protocol):
    """Who is reminded, and how; see `reminders.py`."""

    async def remind(self, now: datetime) -> None:
        """Mail whoever has something to do. Raises `LedgerUnavailable`; trouble with mails is said and passes."""


class Fetching(Protocol):
    """What the reporting system sends, see `inbox.py`."""

    async def turn(self) -> bool:
        """Take in a page, if it is time. True: there is more at once. Raises `LedgerUnavailable`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingOptions:
    """`settle`: how long after a cut-off it is frozen. `submit`: hand approved reports over. Times in seconds."""

    settle: timedelta = timedelta(minutes=15)
    submit: bool = True
    silence: float = 12.0
    pause: float = _PAUSE_SECONDS
    draft_every: float = _DRAFT_SECONDS
    trouble: float = _TROUBLE_SECONDS


class Closing:
    """The service. `wall` gives the present time with a zone; `regimes` yields those of the settings."""

    def __init__(
        self,
        *,
        ledger: CaptureLedger,
        lane: Lane,
        fillings: Mapping[str, Filling],
        regimes: Sequence[Regime],
        calendar: WorkingCalendar,
        desk: Desk,
        producer: Writes,
        seal: Callable[[bytes, str], bytes],
        encode: Callable[[ReportPacket], bytes],
        owner: str,
        events: Events,
        wall: Callable[[], datetime],
        reminders: Reminding | None = None,
        inbox: Fetching | None = None,
        options: ClosingOptions | None = None,
    ) -> None:
        self._options = options or ClosingOptions()
        self._lane = lane
        self._fillings = fillings
        self._regimes = tuple(regimes)
        self._calendar = calendar
        self._desk = desk
        self._producer = producer
        self._seal = seal
        self._encode = encode
        self._events = events
        self._wall = wall
        self._reminders = reminders
        self._inbox = inbox
        self._singleton = Singleton(ledger, NAME, owner, silence=self._options.silence)
        self._actor = actor_named(HUB)
        self._stop = asyncio.Event()
        self._drafted_at: dict[str, datetime] = {}
        self.waits_for: str | None = None
        """What keeps it from working, for `/live`."""
        self.beats = 0
        """Raised at every turn of the loop: liveness watches that it moves."""

    def stop(self) -> None:
        """Let `run` return after the step in hand."""
        self._stop.set()

    async def run(self) -> None:
        """Look after the reports until `stop`, as long as no other process does; else stand by."""
        while not self._stop.is_set():
            self.beats += 1
            try:
                fence = await self._singleton.take()
            except LedgerUnavailable as error:
                await self._trouble("the ledger", error)
                continue
            if fence is None:
                self.waits_for = "another owner"
                await self._sleep(self._options.pause)
                continue
            await self._own(fence)
        self._events.flow_stopped(flow=Flow.REPORTING, reason="asked")

    async def _own(self, fence: SingletonFence) -> None:
        self._drafted_at.clear()
        self.waits_for = None
        self._events.flow_started(flow=Flow.REPORTING)
        try:
            async with self._singleton.kept(fence) as lost:
                while not (self._stop.is_set() or lost.is_set()):
                    self.beats += 1
                    try:
                        more = await self.turn(fence)
                    except StaleOwner:
                        return
                    except (LedgerUnavailable, RegistryUnavailable) as error:
                        which = "the registry" if isinstance(error, RegistryUnavailable) else ""
                        await self._trouble(which or "the ledger", error)
                        continue
                    except NotConfirmed:
                        self.waits_for = "the broker"
                        self._events.flow_waiting(flow=Flow.REPORTING, waits_for="broker")
                        await self._sleep(self._options.trouble)
                        continue
                    except Exception as error:  # dossiers are delivered without any report
                        await self._page(error)
                        return
                    if self.waits_for is not None:
                        self.waits_for = None
                        self._events.flow_started(flow=Flow.REPORTING)
                    if not more:
                        await self._sleep(self._options.pause)
        finally:
            # Whoever owns it now tells them; two would be added up.
            self._events.metrics.forget_reports()

    async def turn(self, fence: SingletonFence) -> bool:
        """Everything that is to be done now, once. Returns whether there is more to do at once.

        Raises what keeps it from going on; what was done stays done.
        """
        more = False
        for filling in self._fillings.values():
            more = await filling.counting.refresh() or more
        if self._inbox is not None:
            more = await self._inbox.turn() or more
        await self._open(fence)
        await self._freeze(fence)
        await self._submit(fence)
        more = await self._publish(fence) or more
        await self._draft(fence)
        if self._reminders is not None:
            await self._reminders.remind(self._wall())
        await self._tell()
        return more

    # --- the steps

    async def _open(self, fence: SingletonFence) -> None:
        opened = await self._lane.read(report_store.all_reports)
        today = civil_day(self._wall())
        for regime in self._regimes:
            for found in begun(regime, opened, today, self._calendar):
                if await self._owned(fence, lambda c, found=found: self._opened(c, found)):  # type: ignore[misc] # the loop's own
                    self._events.report_opened(
                        report_id=found.report.report_id,
                        window=str(found.report.window),
                        due_on=str(found.report.due_on),
                    )
                for fault in found.faults if found.refused else ():
                    self._events.report_period_refused(
                        regime=regime.code,
                        period=found.report.period,
                        fault=fault.fault.value,
                        other=fault.other or "",
                    )

    def _opened(self, connection: Connection, found: Begun) -> bool:
        report_store.note_faults(connection, found.report.regime, found.report.period, found.faults)
        if found.refused:
            return False
        return report_store.open_report(connection, found.report, self._actor)

    async def _freeze(self, fence: SingletonFence) -> None:
        """Freeze what is past its cut-off, as known then; and let the units look at it."""
        unfrozen = await self._lane.read(_without_figures)
        needs = {code: await one.counting.needs() for code, one in self._fillings.items()}
        waiting = {one.report_id for one in unfrozen if one.regime in self._fillings}
        # What a report takes from another of the same period stands before it, whatever the order of their names.
        for report in sorted(unfrozen, key=lambda one: bool(needs.get(one.regime))):
            filling = self._fillings.get(report.regime)
            now = self._wall()
            if filling is None or now < report.cut_off_at + self._options.settle:
                continue
            if any(
                report_store.report_id_of(code, report.period, report.agency) in waiting
                for code in needs[report.regime]
            ):
                continue
            behind = await filling.counting.behind()
            standing = await self._lane.read(
                lambda c, report=report: standing_of(  # type: ignore[misc] # the loop's own
                    c, report, report_store.newest(c, report.report_id)
                )
            )
            try:
                step(standing, Ask(action=Action.FREEZE, behind=behind), now)
            except Refused:
                continue
            earlier = await self._lane.read(
                lambda c, report=report: earlier_of(c, report.report_id)  # type: ignore[misc]
            )
            frozen = await filling.counting.count(report, report.cut_off_at, earlier)
            if await self._owned(
                fence,
                lambda c, report=report, frozen=frozen: report_store.freeze(  # type: ignore[misc]
                    c, report, 1, 1, frozen, self._actor, units_due_on=report.units_due_on
                ),
            ):
                waiting.discard(report.report_id)
                self._events.report_frozen(
                    report_id=report.report_id,
                    snapshot_hash=snapshots.hash_of(frozen.snapshot.content()),
                    imbalances=len(frozen.imbalances),
                    provisional=sum(frozen.provisional.values()),
                )
        for report_id, takes in (await self._lane.read(report_store.standings)).items():
            if takes[0].state is State.CUT_OFF:
                await self._owned(
                    fence,
                    lambda c, report_id=report_id: ask_units(c, report_id, self._actor),  # type: ignore[misc]
                )

    async def _submit(self, fence: SingletonFence) -> None:
        """Hand approved reports over while that is in time; later a person must give the reason."""
        if not self._options.submit:
            return
        for report_id, (take, *_) in (await self._lane.read(report_store.standings)).items():
            if take.state is not State.APPROVED:
                continue
            await self._owned(fence, lambda c: None)
            try:
                await self._desk.submit(report_id, self._actor)
            except Refused as error:
                self._events.report_not_submitted(report_id=report_id, reason=error.reason.value)
                continue
            self._events.report_submitted(report_id=report_id, revision=take.revision)

    async def _publish(self, fence: SingletonFence) -> bool:
        """Put owed packets on Kafka, and mark them once the broker has confirmed."""
        owed = await self._lane.read(_owed)
        if not owed:
            return False
        records = [
            Outgoing(
                REPORT_PACKETS.name,
                packet.stream_id.encode(),
                self._encode(packet_of(report, take, packet, self._seal)),
            )
            for report, take, packet in owed
        ]
        await self._producer.produce(records)
        crash_point(CrashPoint.AFTER_REPORT_PRODUCE)
        names = [packet.packet_id for _, _, packet in owed]
        await self._owned(fence, lambda c: report_outbox.mark_published(c, names))
        self._events.reports_published(packets=len(owed), at=self._wall().timestamp())
        return len(owed) == _AT_ONCE

    async def _draft(self, fence: SingletonFence) -> None:
        """Say how the frozen figures would be today; one report after the other, each every few minutes."""
        now = self._wall()
        recent = await self._lane.read(
            lambda c: report_store.all_reports(c, ends_from=civil_day(now - _DRAFTED))
        )
        stood = await self._lane.read(report_store.standings)
        every = timedelta(seconds=self._options.draft_every)
        for report in recent:
            take, *_ = stood.get(report.report_id, [None])
            filling = self._fillings.get(report.regime)
            last = self._drafted_at.get(report.report_id)
            if take is None or filling is None or (last is not None and now < last + every):
                continue
            content = await self._lane.read(
                lambda c, take=take: report_store.content_of(c, take.ref)  # type: ignore[misc]
            )
            changes = await filling.counting.changes(report, snapshots.read(content), now)
            await self._owned(
                fence,
                lambda c, take=take, changes=changes: report_store.put_draft(  # type: ignore[misc]
                    c, take, now, changes
                ),
            )
            self._drafted_at[report.report_id] = now

    async def _tell(self) -> None:
        now = self._wall()
        opened, stood, drafts, refused = await self._lane.read(_standings)
        sent = {name for name, takes in stood.items() if any(t.state in SENT for t in takes)}
        due: dict[str, float] = {}
        for report in opened:
            if report.report_id not in sent:
                end = _end_of(report).timestamp()
                due[report.regime] = min(due.get(report.regime, end), end)
        states = Counter(
            stood[one.report_id][0].state if one.report_id in stood else State.OPEN
            for one in opened
        )
        under_way = {name for name in sent if stood[name][0].state not in SENT}
        stale = {
            name
            for name, draft in drafts.items()
            if stood[name][0].ref == (name, draft.revision, draft.take)
        }
        self._events.metrics.take_reports(
            {state.value: number for state, number in states.items()},
            due,
            open_revisions=len(under_way | stale),
            periods_refused=refused,
            looked_at=now.timestamp(),
        )

    # --- within

    async def _owned(self, fence: SingletonFence, work: Callable[[Connection], T]) -> T:
        """Write, if it is still this process's to do. Raises `StaleOwner`."""

        def fenced(connection: Connection) -> T:
            require_singleton(connection, fence)
            return work(connection)

        return await self._lane.write(fenced)

    async def _trouble(self, waits_for: str, error: Exception) -> None:
        self.waits_for = waits_for
        self._events.ledger_unavailable(
            flow=Flow.REPORTING, error=type(error).__name__, wait=self._options.trouble
        )
        await self._sleep(self._options.trouble)

    async def _page(self, error: Exception) -> None:
        """Stay down until `stop`: tried again at once, it would end the same way."""
        self.waits_for = "a person"
        self._events.metrics.forget_reports()
        self._events.flow_paged(
            flow=Flow.REPORTING, reason=type(error).__name__, detail=describe(error)
        )
        while not self._stop.is_set():
            self.beats += 1
            await self._sleep(self._options.pause)

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)


def packet_of(
    report: Report, take: Take, packet: Packet, seal: Callable[[bytes, str], bytes]
) -> ReportPacket:
    """A packet as it goes to Kafka. Made again it is the same but for the seal, whose nonce is new."""
    assert take.approved_at is not None  # its packets were made when it was approved
    return ReportPacket(
        packet_id=packet.packet_id,
        report_id=packet.stream_id,
        kind=packet.kind,
        regime=report.regime,
        form=packet.form,
        form_version=packet.form_version,
        period=report.period,
        window_from=report.window.first,
        window_to=report.window.last,
        due_on=report.due_on,
        agency=report.agency,
        revision=packet.revision,
        snapshot_hash=take.snapshot_hash,
        sealed=seal(zlib.compress(packet.content), packet.stream_id),
        known_at=take.known_at,
        approved_at=take.approved_at,
        recorded_at=packet.made_at,
    )


def _without_figures(connection: Connection) -> list[Report]:
    """Oldest first, so that what one report leaves open is there when the next takes it over."""
    frozen = report_store.standings(connection)
    found = [one for one in report_store.all_reports(connection) if one.report_id not in frozen]
    return sorted(found, key=lambda one: (one.window.last, one.window.first, one.report_id))


def _owed(connection: Connection) -> list[tuple[Report, Take, Packet]]:
    found = []
    for packet in report_outbox.owed(connection, _AT_ONCE):
        report = report_store.report_of(connection, packet.report_id)
        assert report is not None  # it has a foreign key
        take = next(
            one
            for one in report_store.takes(connection, packet.report_id)
            if (one.revision, one.take) == (packet.revision, packet.take)
        )
        found.append((report, take, packet))
    return found


def _standings(
    connection: Connection,
) -> tuple[list[Report], dict[str, list[Stood]], dict[str, Draft], int]:
    faults = report_store.period_faults(connection)
    return (
        report_store.all_reports(connection),
        report_store.standings(connection),
        report_store.drafts(connection),
        len({(one.regime, one.period) for one in faults if one.refused}),
    )


def _end_of(report: Report) -> datetime:
    """The midnight in Viet Nam that ends the due date."""
    return datetime.combine(report.due_on + timedelta(days=1), time(), CIVIL_ZONE)
