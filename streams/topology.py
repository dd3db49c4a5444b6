"""The whole flow on one page, in the order in which a dossier meets it.

one-stop system ─► onestop.notices ─► dossier.events ─► ledger ─► national portal
             capture            intake │          ledger  │   engine
                                       └► dead.letters    ├► delivery.receipts
              reporting ─► report.packets ─► ledger ──────┴► Government reporting system
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from connectors.protocols import Source
from monitoring.metrics import Flow, engine_flow
from monitoring.rates import plan
from monitoring.rates.reckoning import Rules
from schemas.dossier.working_calendar import WorkingCalendar
from schemas.ledger.database import Lane
from schemas.ledger.model import Fence
from schemas.records import Feed
from schemas.topics import (
    DEAD_LETTERS,
    DOSSIER_EVENTS,
    INDICATOR_OBSERVATIONS,
    ONESTOP_NOTICES,
    OWING,
    REPORT_PACKETS,
    Topic,
)
from streams.capture import Capture
from streams.engine.shell import Engine
from streams.figures import Figures
from streams.hub import Hub
from streams.intake import Intake, Understand
from streams.ledger_flow import DeadLettersToLedger, EventsToLedger
from streams.observations_flow import ObservationsToLedger
from streams.observations_intake import ObservationsIntake
from streams.packets_flow import PacketsToLedger
from streams.receipts import Receipts
from streams.receive import Receiver
from streams.reporting.approvals import Desk
from streams.reporting.closing import Closing, ClosingOptions
from streams.reporting.counting import Filling
from streams.reporting.inbox import Inbox, Mailbox
from streams.reporting.reminders import Reminders
from streams.reporting.wiring import regimes
from streams.routing import dues, packet_dues
from streams.singleton import Singleton
from streams.supervisor import Part
from streams.today import Post
from streams.today_mail import TodayMail

Parts = list[tuple[str, Part]]

STOPPED_LAST = frozenset({Flow.LEDGER})
"""With this flow the dossiers go to other processes: first the calls in flight are settled."""

FencesOf = Callable[[Topic], Callable[[], Sequence[Fence]]]
"""The claims of the ledger flow on the partitions of a topic, as they are when asked for."""

EnginesOf = Callable[[FencesOf], Sequence[Engine[Any]]]


class WorkerPart(StrEnum):
    """What a process may run. Ledger flow and engines belong together: they share their claims."""

    CAPTURE = "capture"
    INTAKE = "intake"
    DELIVER = "deliver"
    FIGURES = "figures"
    TODAY = "today"
    REPORTING = "reporting"
    RECEIVE = "receive"


def capture(
    hub: Hub,
    source: Source,
    *,
    pauses: Mapping[Feed, float],
    zone: ZoneInfo,
    begin: Callable[[], Awaitable[None]],
) -> Parts:
    """one-stop system ─► onestop.notices: unchanged but sealed; the cursor waits for the broker's yes."""
    service = Capture(
        source,
        ledger=hub.ledger,
        producer=hub.producer,
        encode=hub.codec.encode,
        owner=hub.owner,
        pauses=pauses,
        zone=zone,
        settings=hub.settings.capture,
        events=hub.events,
        wall=hub.wall,
        begin=begin,
    )
    hub.health.watch(Flow.CAPTURE, lambda: service.beats, waits_for=lambda: service.waits_for)
    return [(Flow.CAPTURE, service)]


def intake(hub: Hub, understand: Understand) -> Parts:
    """onestop.notices ─► dossier.events; what cannot be understood ─► dead.letters and a gap."""
    body = Intake(
        **_shared(hub, Flow.INTAKE),
        sealer=hub.sealer,
        understand=understand,
        writer=hub.writer(Flow.INTAKE),
    )
    return [(Flow.INTAKE, hub.flow(Flow.INTAKE, {ONESTOP_NOTICES: body}))]


def deliver(hub: Hub, engines_of: EnginesOf) -> Parts:
    """dossier.events, report.packets, … ─► ledger ─► targets; what is settled ─► delivery.receipts."""
    engines: list[Engine[Any]] = []

    def notify(dossier_ids: Collection[str] = ()) -> None:
        for engine in engines:
            engine.notify(dossier_ids)

    events = EventsToLedger(
        **_shared(hub, Flow.LEDGER), dues=dues, writer=hub.writer(Flow.LEDGER), enlisted=notify
    )
    packets = PacketsToLedger(
        ledger=hub.ledger,
        codec=hub.codec,
        dues=packet_dues,
        writer=hub.writer(Flow.LEDGER),
        patience=hub.patience(Flow.LEDGER),
        events=hub.events,
        enlisted=notify,
    )
    letters = DeadLettersToLedger(**_shared(hub, Flow.LEDGER), sealer=hub.sealer)
    observations = ObservationsToLedger(
        **_shared(hub, Flow.LEDGER), sealer=hub.sealer, plan=plan.packaged()
    )
    ledger = hub.flow(
        Flow.LEDGER,
        {
            DOSSIER_EVENTS: events,
            REPORT_PACKETS: packets,
            DEAD_LETTERS: letters,
            INDICATOR_OBSERVATIONS: observations,
        },
        assigned=notify,
    )
    engines += engines_of(lambda topic: lambda: ledger.fences(topic))
    receipts = Receipts(
        ledger=hub.ledger,
        fences=lambda: ledger.fences(*OWING),
        producer=hub.producer,
        encode=hub.codec.encode,
        events=hub.events,
    )
    parts: Parts = [(Flow.LEDGER, ledger)]
    for engine in engines:
        hub.health.watch(
            engine_flow(engine.target),
            _beats(engine),
            waits_for=_waits_for(engine),
            work=engine.work,
        )
        parts.append((engine_flow(engine.target), engine))
    hub.health.watch(Flow.RECEIPTS, lambda: receipts.beats, waits_for=lambda: receipts.waits_for)
    return [*parts, (Flow.RECEIPTS, receipts)]


def figures(hub: Hub, lane: Lane, rules: Callable[[], Rules]) -> Parts:
    """ledger ─► figures ─► /metrics: what the rates are counted from; one process does it."""
    service = Figures(
        ledger=hub.ledger,
        lane=lane,
        decode=hub.decode_event,
        rules=rules,
        owner=hub.owner,
        events=hub.events,
        wall=hub.wall,
        silence=hub.settings.capture.stand_by_seconds,
    )
    hub.health.watch(Flow.FIGURES, lambda: service.beats, waits_for=lambda: service.waits_for)
    return [(Flow.FIGURES, service)]


def today(hub: Hub, *, hour: int, lane: Lane, post: Post) -> Parts:
    """ledger ─► the daily mail about what can still be saved; it moves no record."""
    settings = hub.settings
    part = TodayMail(
        settings=settings,
        hour=hour,
        lane=lane,
        decode=hub.decode_event,
        post=post,
        singleton=Singleton(
            hub.ledger, "today", hub.owner, silence=settings.capture.stand_by_seconds
        ),
        events=hub.events,
        wall=hub.wall,
    )
    hub.health.watch("today", lambda: part.beats, waits_for=lambda: part.waits_for)
    return [("today", part)]


def reporting(
    hub: Hub,
    *,
    lane: Lane,
    fillings: Mapping[str, Filling],
    calendar: WorkingCalendar,
    reminders: Reminders | None,
    mailbox: Mailbox | None,
) -> Parts:
    """ledger ─► reports: frozen, signed by people ─► report.packets; what comes back ─► ledger; one process does it."""
    wanted = hub.settings.reporting
    desk = Desk(lane, fillings, calendar=calendar, wall=hub.wall, late=wanted.late == "reason")
    inbox = None
    if mailbox is not None:
        inbox = Inbox(
            mailbox=mailbox,
            lane=lane,
            answers=desk,
            sealer=hub.sealer,
            events=hub.events,
            wall=hub.wall,
        )
    service = Closing(
        ledger=hub.ledger,
        lane=lane,
        fillings=fillings,
        regimes=regimes(wanted),
        calendar=calendar,
        desk=desk,
        producer=hub.producer,
        seal=hub.sealer.seal,
        encode=hub.codec.encode,
        owner=hub.owner,
        events=hub.events,
        wall=hub.wall,
        reminders=reminders,
        inbox=inbox,
        options=ClosingOptions(
            settle=timedelta(minutes=wanted.settle_minutes),
            submit=wanted.submit == "approved",
            silence=hub.settings.capture.stand_by_seconds,
        ),
    )
    hub.health.watch(Flow.REPORTING, lambda: service.beats, waits_for=lambda: service.waits_for)
    return [(Flow.REPORTING, service)]


def receive(hub: Hub) -> Receiver:
    """other systems ─► ledger: indicator observations over HTTP, signed. Whoever asks for it opens and closes it."""
    intake = ObservationsIntake(
        ledger=hub.ledger,
        keys=hub.settings.receive.keys(),
        plan=plan.packaged(),
        wall=hub.wall,
    )
    receiver = Receiver(intake.answer, settings=hub.settings.receive, events=hub.events)
    hub.health.watch(Flow.RECEIVE, lambda: receiver.beats)
    return receiver


def _shared(hub: Hub, flow: Flow) -> dict[str, Any]:
    return {
        "ledger": hub.ledger,
        "codec": hub.codec,
        "patience": hub.patience(flow),
        "events": hub.events,
        "wall": hub.wall,
    }


def _beats(engine: Engine[Any]) -> Callable[[], int]:
    return lambda: engine.beats


def _waits_for(engine: Engine[Any]) -> Callable[[], str | None]:
    return lambda: engine.waits_for
