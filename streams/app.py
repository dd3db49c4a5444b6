"""The composition root: the only place that knows concrete connectors, settings and databases.

`open_hub` opens what all parts share, `parts` puts the flow of `streams.topology` together.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from zoneinfo import ZoneInfo

import orjson
from cryptography.x509 import load_pem_x509_certificates
from structlog.typing import FilteringBoundLogger

from connectors.gov_reporting.elements import load_elements
from connectors.gov_reporting.inbox import Inbox as Mailbox
from connectors.gov_reporting.sink import GovReporting
from connectors.national_portal.dialect import load_dialect
from connectors.national_portal.sink import NationalPortal, boot_seconds
from connectors.one_stop.mapping import ImpossibleValue, to_event
from connectors.one_stop.source import PAYLOAD_FORMAT, OneStopSource
from connectors.protocols import Deliverable, Sink
from monitoring.events import Events
from monitoring.health import Health, HealthServer
from monitoring.metrics import Flow, Metrics
from monitoring.rates.reckoning import Rules
from schemas.codec import Codec
from schemas.ledger.database import Lane
from schemas.ledger.model import Fence, LedgerMismatch, LedgerUnavailable
from schemas.ledger.sql import SqlLedger
from schemas.reasons import Reason
from schemas.records import DossierEvent, Feed, Notice
from schemas.registry import HttpRegistry, LocalRegistry
from schemas.sealing import Hasher, Sealer
from schemas.topics import (
    DEAD_LETTERS,
    DOSSIER_EVENTS,
    INDICATOR_OBSERVATIONS,
    ONESTOP_NOTICES,
    REPORT_PACKETS,
    TOPICS,
)
from streams import topology
from streams.engine.circuit import CircuitOptions
from streams.engine.dispatch import Decode, EngineOptions
from streams.engine.shell import Engine
from streams.hub import Hub
from streams.intake import CannotMap, Understand
from streams.kafka_clients import aiokafka_connection
from streams.mail import MailServer
from streams.producer import Producer
from streams.recipients import parse_addresses, read_recipients
from streams.reference import read_reference, rules_of
from streams.reporting.reminders import Reminders
from streams.reporting.wiring import fillings
from streams.restore import restore_if_needed
from streams.routing import GOV_REPORTING, NATIONAL_PORTAL
from streams.settings import EngineSettings, Settings
from streams.today import Post
from streams.topic_check import BrokerUnreachable, TopicsUnfit, require_topics
from streams.topology import FencesOf, Parts, WorkerPart
from streams.upkeep import Upkeep

_PRODUCER_STOP_SECONDS = 5.0
_REMINDER_HOUR = 8  # of Viet Nam, where no hour of the daily mail is set


def utc_now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)


def build_metrics(settings: Settings) -> Metrics:
    """All metrics of a process of the hub, every expected series at zero."""
    read = (
        ONESTOP_NOTICES,
        DOSSIER_EVENTS,
        REPORT_PACKETS,
        DEAD_LETTERS,
        INDICATOR_OBSERVATIONS,
    )
    return Metrics(
        targets=[NATIONAL_PORTAL, GOV_REPORTING],
        version=version("thongsuot"),
        topics={topic.name: settings.kafka.partitions for topic in read},
        subjects=[topic.subject for topic in TOPICS],
        certificates=list(watched_certificates(settings)),
    )


def watched_certificates(settings: Settings) -> dict[str, Path]:
    """The certificates whose end would stop a flow, by the name that the metric gives them."""
    portal, reporting = settings.national_portal, settings.gov_reporting
    named = {
        "national_portal_client": portal.client_certificate,
        "national_portal_ca": portal.ca_certificates,
        "gov_reporting_client": reporting.client_certificate if reporting else None,
        "gov_reporting_ca": reporting.ca_certificates if reporting else None,
        "kafka_ca": settings.kafka.ca_file,
    }
    return {name: file for name, file in named.items() if file is not None}


def expiry(file: Path) -> float:
    """When the first certificate of a PEM file to expire does so, seconds since the epoch."""
    found = load_pem_x509_certificates(file.read_bytes())
    return min(one.not_valid_after_utc for one in found).timestamp()


async def _problem(asked: Awaitable[object]) -> str | None:
    """None, or why a counterpart is not as the hub needs it."""
    try:
        await asked
    except (BrokerUnreachable, LedgerMismatch, LedgerUnavailable, TopicsUnfit) as error:
        return str(error)
    return None


@contextlib.asynccontextmanager
async def open_hub(
    settings: Settings, *, logger: FilteringBoundLogger, die: Callable[[str], NoReturn]
) -> AsyncIterator[Hub]:
    """Open what all parts share, and serve /metrics, /live and /ready.

    Raises `LedgerMismatch`, `LedgerUnavailable`, `TopicsUnfit`, `BrokerUnreachable`, `RegistryError`,
    `SealError`, `NotConfirmed` or `OSError`, each with its remedy.
    """
    async with contextlib.AsyncExitStack() as opened:
        # The order of the questions is that of the remedies: migrate, make topics, register schemas.
        ledger = await opened.enter_async_context(SqlLedger(settings.ledger_url.get_secret_value()))
        await require_topics(settings.kafka)
        codec = Codec(await _registry(settings, opened))
        await codec.prepare()
        metrics, health = build_metrics(settings), Health()
        events = Events(metrics, logger)
        # Before anything owns, seals or sends.
        await restore_if_needed(ledger, settings.kafka, codec, settings.master_key_bytes(), events)
        sealer = await Sealer.load(ledger, settings.master_key_bytes(), utc_now())
        upkeep = Upkeep(ledger=ledger, sealer=sealer, wall=utc_now)
        await upkeep.read_codes()
        producer = Producer(
            aiokafka_connection(settings.kafka), timeout=settings.kafka.produce_timeout_seconds
        )
        await producer.start()
        opened.push_async_callback(producer.stop, _PRODUCER_STOP_SECONDS)

        async def refresh() -> None:
            metrics.take_counts(await ledger.counts())
            metrics.take_unmapped(await ledger.unmapped())
            metrics.take_dead_letters(await ledger.open_dead_letters())
            for name, file in watched_certificates(settings).items():
                metrics.set_certificate_expiry(name, expiry(file))

        health.require("ledger", lambda: _problem(ledger.now()))
        health.require("topics", lambda: _problem(require_topics(settings.kafka)))

        server = HealthServer(
            health,
            metrics,
            host=settings.monitoring.host,
            port=settings.monitoring.port,
            refresh=refresh,
        )
        await server.start()
        opened.push_async_callback(server.stop)
        logger.info("monitoring_served", host=settings.monitoring.host, port=server.port)
        datadir = opened.enter_context(tempfile.TemporaryDirectory(prefix="thongsuot-"))
        yield Hub(
            settings=settings,
            owner=f"{socket.gethostname()}:{os.getpid()}:{ledger.session}",
            ledger=ledger,
            codec=codec,
            sealer=sealer,
            hasher=Hasher(settings.hash_key_bytes()),
            producer=producer,
            upkeep=upkeep,
            events=events,
            health=health,
            datadir=Path(datadir),
            wall=utc_now,
            die=die,
        )


async def _registry(
    settings: Settings, opened: contextlib.AsyncExitStack
) -> HttpRegistry | LocalRegistry:
    if settings.registry_url is None:
        return LocalRegistry()
    registry = HttpRegistry(settings.registry_url)
    opened.push_async_callback(registry.close)
    return registry


@contextlib.asynccontextmanager
async def parts(hub: Hub, wanted: Collection[WorkerPart]) -> AsyncIterator[Parts]:
    """The wanted parts, with the outside systems that they speak to, in the order of the way."""
    async with contextlib.AsyncExitStack() as opened:
        found: Parts = [("upkeep", hub.upkeep)]
        hub.health.watch("upkeep", lambda: hub.upkeep.beats)
        if WorkerPart.CAPTURE in wanted:
            found += _capture(hub, opened)
        if WorkerPart.INTAKE in wanted:
            found += topology.intake(hub, understand_one_stop(hub))
        if WorkerPart.DELIVER in wanted:
            portal = NationalPortal(
                hub.settings.national_portal,
                load_dialect(hub.settings.national_portal.dialect),
                hub.sealer,
                hub.hasher,
            )
            await portal.open()
            opened.push_async_callback(portal.close)
            reporting = await _gov_reporting(hub, opened)
            found += topology.deliver(hub, partial(_engines, hub, portal, reporting))
        if WorkerPart.FIGURES in wanted:
            found += _figures(hub, opened)
        if WorkerPart.TODAY in wanted:
            found += _today(hub, opened)
        if WorkerPart.REPORTING in wanted:
            found += await _reporting(hub, opened)
        if WorkerPart.RECEIVE in wanted and hub.settings.receive.port is not None:
            receiver = topology.receive(hub)
            await receiver.open()
            opened.push_async_callback(receiver.close)
            found.append((Flow.RECEIVE, receiver))
        yield found


async def _gov_reporting(hub: Hub, opened: contextlib.AsyncExitStack) -> GovReporting | None:
    """Nothing, unless the settings say where it is: then what is owed to it waits in the ledger."""
    settings = hub.settings.gov_reporting
    if settings is None:
        return None
    sink = GovReporting(settings, load_elements(settings.elements), hub.sealer, hub.hasher)
    await sink.open()
    opened.push_async_callback(sink.close)
    return sink


def _capture(hub: Hub, opened: contextlib.AsyncExitStack) -> Parts:
    one_stop = hub.settings.one_stop
    source = OneStopSource(one_stop, hub.sealer, hub.hasher)
    opened.push_async_callback(source.close)

    async def import_mappings() -> None:
        await hub.ledger.put_mappings(await source.initial_mappings(), replace_origin=True)
        await hub.upkeep.read_codes()

    return topology.capture(
        hub,
        source,
        pauses={
            Feed.ACTIONS: one_stop.actions_poll_seconds,
            Feed.CHANGES: one_stop.changes_poll_seconds,
            Feed.SWEEP: one_stop.sweep_interval_seconds,
        },
        zone=ZoneInfo(one_stop.zone),
        begin=import_mappings,
    )


def _figures(hub: Hub, opened: contextlib.AsyncExitStack) -> Parts:
    reference = read_reference(hub.settings.reference)
    lane = Lane(hub.settings.ledger_url.get_secret_value(), "ledger-figures")
    opened.push_async_callback(lane.close)

    def rules() -> Rules:
        return rules_of(hub.upkeep.codes(), reference, datetime.now(UTC))

    return topology.figures(hub, lane, rules)


def _today(hub: Hub, opened: contextlib.AsyncExitStack) -> Parts:
    """Nothing, unless the settings say at what hour mails go out."""
    mail = hub.settings.mail
    if mail.hour is None:
        return []
    lane = Lane(hub.settings.ledger_url.get_secret_value(), "ledger-today", seconds=None)
    opened.push_async_callback(lane.close)
    post = Post(lane, MailServer(mail), hub.hasher)
    return topology.today(hub, hour=mail.hour, lane=lane, post=post)


async def _reporting(hub: Hub, opened: contextlib.AsyncExitStack) -> Parts:
    """Nothing, unless the settings say who reports."""
    settings = hub.settings
    if settings.reporting.agency is None:
        return []
    reference = read_reference(settings.reference)
    lane = Lane(settings.ledger_url.get_secret_value(), "ledger-reporting", seconds=None)
    opened.push_async_callback(lane.close)
    reminders = None
    if settings.mail.host is not None:
        file = settings.reference.recipients_file
        reminders = Reminders(
            lane=lane,
            server=MailServer(settings.mail),
            hasher=hub.hasher,
            events=hub.events,
            calendar=reference.calendar,
            signers=parse_addresses(settings.reporting.signers),
            recipients=lambda: {} if file is None else read_recipients(file, ()),
            days=settings.reporting.reminder_days,
            hour=_REMINDER_HOUR if settings.mail.hour is None else settings.mail.hour,
        )
    mailbox = None
    if (target := settings.gov_reporting) is not None:
        mailbox = Mailbox(target, load_elements(target.elements))
        await mailbox.open()
        opened.push_async_callback(mailbox.close)
    return topology.reporting(
        hub,
        lane=lane,
        fillings=fillings(settings.reporting, lane, hub.decode_event, hub.upkeep.codes),
        calendar=reference.calendar,
        reminders=reminders,
        mailbox=mailbox,
    )


def understand_one_stop(hub: Hub) -> Understand:
    """The mapping of the one-stop connector, as intake wants it."""
    zone = ZoneInfo(hub.settings.one_stop.zone)

    def understand(notice: Notice, payload: bytes) -> DossierEvent:
        if notice.payload_format != PAYLOAD_FORMAT:
            raise CannotMap(
                Reason.UNREADABLE_PAYLOAD,
                f"payload format {notice.payload_format[:40]!r} is none of this version",
            )
        try:
            parsed = orjson.loads(payload)
        except orjson.JSONDecodeError:
            raise CannotMap(Reason.UNREADABLE_PAYLOAD, "the payload is no JSON") from None
        try:
            return to_event(notice, parsed, zone=zone, sealer=hub.sealer, recorded_at=hub.wall())
        except ImpossibleValue as error:
            raise CannotMap(Reason.IMPOSSIBLE_VALUE, str(error)) from None

    return understand


# --- engines ---------------------------------------------------------------------------------------


E = TypeVar("E", bound=Deliverable)


def _engines(
    hub: Hub, portal: NationalPortal, reporting: GovReporting | None, fences: FencesOf
) -> Sequence[Engine[Any]]:
    """One for each target, each from the partitions of the topic that it is owed from."""
    settings = hub.settings
    found: list[Engine[Any]] = [
        engine(
            hub,
            portal,
            fences(DOSSIER_EVENTS),
            hub.decode_event,
            engine_options(settings.engine),
        )
    ]
    if reporting is not None:
        found.append(
            engine(
                hub,
                reporting,
                fences(REPORT_PACKETS),
                hub.decode_packet,
                engine_options(settings.report_engine.over(settings.engine)),
            )
        )
    return found


def engine(
    hub: Hub,
    sink: Sink[E],
    fences: Callable[[], Sequence[Fence]],
    decode: Decode[E],
    options: EngineOptions,
) -> Engine[E]:
    """The engine that delivers to one target, from the partitions that the ledger flow owns."""
    return Engine(
        sink=sink,
        ledger=hub.ledger,
        decode=decode,
        codes=hub.upkeep.codes,
        fences=fences,
        clock=boot_seconds,
        seal=hub.sealer.seal,
        events=hub.events.deliveries,
        options=options,
    )


def engine_options(settings: EngineSettings) -> EngineOptions:
    """The settings of the engine in its own words."""
    return EngineOptions(
        in_flight=settings.in_flight,
        window=settings.window,
        send_by=settings.send_by_seconds,
        group_window=settings.group_commit_milliseconds / 1000,
        group_rows=settings.group_commit_rows,
        poll_seconds=settings.poll_seconds,
        backoff_first=settings.retry_first_seconds,
        backoff_max=settings.retry_most_seconds,
        quota=settings.quota_per_second,
        circuit=CircuitOptions(
            failures_in_a_row=settings.circuit_failures_in_row,
            window=settings.circuit_window,
            share=settings.circuit_share,
            probe_seconds=settings.probe_seconds,
            probe_max=settings.probe_most_seconds,
        ),
    )
