"""Flows on the embedded broker and a SQLite ledger, opened for one test."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from monitoring.events import Events
from monitoring.health import Health
from monitoring.metrics import Flow as FlowName
from monitoring.metrics import Metrics
from schemas.codec import Codec
from schemas.ledger.migrate import upgrade
from schemas.ledger.sql import SqlLedger
from schemas.reasons import Reason
from schemas.records import (
    DossierEvent,
    DossierTimes,
    EventKind,
    Feed,
    Notice,
    SourceStatus,
    StateAsOf,
)
from schemas.registry import LocalRegistry, SchemaRegistry
from schemas.sealing import Sealer, key_id_of
from schemas.topics import (
    DEAD_LETTERS,
    DOSSIER_EVENTS,
    ONESTOP_NOTICES,
    REPORT_PACKETS,
    TOPICS,
    Topic,
)
from streams.dead_letters import NotUnderstood, Writer, gap
from streams.embedded_broker import EmbeddedBroker
from streams.flow import Body, Flow, Reading
from streams.intake import CannotMap, Intake
from streams.kafka_clients import aiokafka_connection
from streams.ledger_flow import DeadLettersToLedger, EventsToLedger
from streams.packets_flow import PacketsToLedger
from streams.patience import Patience
from streams.positions import FlowPositions, Received
from streams.producer import Outgoing, Producer
from streams.routing import dues, packet_dues
from streams.settings import KafkaSettings

PARTITIONS = 2
AT = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
IMPOSSIBLE = b"impossible"
CLUMSY = b"clumsy"


class RecordingLogger:
    """Keeps what is logged, as (event, facts)."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def _log(self, event: str, **facts: Any) -> None:
        self.lines.append((event, facts))

    debug = info = warning = error = critical = _log

    def of(self, event: str) -> list[dict[str, Any]]:
        return [facts for name, facts in self.lines if name == event]


class Died(BaseException):
    """Stands for the end of the process."""


def notice(dossier_id: str, number: int, sealer: Sealer, payload: bytes = b"fine") -> Notice:
    return Notice(
        notice_id=f"{dossier_id}.{number}",
        dossier_id=dossier_id,
        source="one_stop",
        feed=Feed.ACTIONS,
        cursor=str(number),
        read_seq=number,
        kind=EventKind.CHANGE,
        payload_format="opencps/1",
        sealed=sealer.seal(payload, dossier_id),
        captured_at=AT,
    )


def event(dossier_id: str, number: int) -> DossierEvent:
    """A state-only change of a received dossier."""
    record = Received("t", 0, 0, AT.timestamp(), dossier_id.encode(), b"")
    what = NotUnderstood(record=record, reason=Reason.GAP, detail="", dossier_id=dossier_id)
    blank = gap(what, AT)
    assert blank is not None
    return replace(
        blank,
        event_id=f"{dossier_id}.{number}",
        kind=EventKind.CHANGE,
        source="one_stop",
        read_seq=number,
        dossier_code=f"000.{dossier_id}",
        business_state=SourceStatus(status="processing", sub_status=None),
        state_as_of=StateAsOf(action_id=str(number), modified_at=AT),
        times=DossierTimes(received=AT),
        sealed=b"sealed",
    )


def understand(notice: Notice, payload: bytes) -> DossierEvent:
    if payload == IMPOSSIBLE:
        raise CannotMap(Reason.IMPOSSIBLE_VALUE, "dueDate: no possible date")
    if payload == CLUMSY:
        raise KeyError("payload")
    return replace(event(notice.dossier_id, notice.read_seq), event_id=notice.notice_id)


@dataclass
class Rig:
    """What one test needs. `wrap` may replace the ledger that a flow sees."""

    kafka: KafkaSettings
    ledger: SqlLedger
    url: str
    sealer: Sealer
    producer: Producer
    datadir: Path
    log: RecordingLogger = field(default_factory=RecordingLogger)
    deaths: list[str] = field(default_factory=list)
    owners: int = 0

    def __post_init__(self) -> None:
        self.metrics = Metrics(
            targets=["national_portal", "gov_reporting"],
            version="test",
            topics={topic.name: PARTITIONS for topic in TOPICS},
            subjects=[topic.subject for topic in TOPICS],
        )
        self.events = Events(self.metrics, self.log)  # type: ignore[arg-type] # the four methods used

    def die(self, why: str) -> NoReturn:
        self.deaths.append(why)
        raise Died(why)

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def codec(self, registry: SchemaRegistry | None = None) -> Codec:
        codec = Codec(registry or LocalRegistry())
        await codec.prepare()
        return codec

    def writer(self, flow: str, codec: Codec, patience: float) -> Writer:
        return Writer(
            flow,
            producer=self.producer,
            codec=codec,
            sealer=self.sealer,
            events=self.events,
            wall=self.now,
            patience=patience,
        )

    def flow(
        self, name: str, bodies: Mapping[Topic, Body], ledger: Any, patience: float = 5.0
    ) -> Flow:
        self.owners += 1
        health = Health()
        health.expect(name)
        return Flow(
            name,
            [
                Reading(
                    positions=FlowPositions(
                        ledger,
                        flow=name,
                        topic=topic.name,
                        owner=f"owner-{self.owners}",
                    ),
                    body=body,
                )
                for topic, body in bodies.items()
            ],
            kafka=self.kafka,
            ledger=ledger,
            events=self.events,
            health=health,
            datadir=self.datadir,
            die=self.die,
            patience=Patience(name, self.events, patience),
        )

    async def intake(
        self,
        *,
        registry: SchemaRegistry | None = None,
        ledger: Any = None,
        patience: float = 5.0,
        sealer: Sealer | None = None,
    ) -> Flow:
        codec = await self.codec(registry)
        body = Intake(
            ledger=ledger or self.ledger,
            codec=codec,
            sealer=sealer or self.sealer,
            understand=understand,
            writer=self.writer(FlowName.INTAKE, codec, patience),
            patience=Patience(FlowName.INTAKE, self.events, patience),
            events=self.events,
            wall=self.now,
        )
        return self.flow(FlowName.INTAKE, {ONESTOP_NOTICES: body}, ledger or self.ledger, patience)

    async def to_ledger(
        self,
        *,
        registry: SchemaRegistry | None = None,
        ledger: Any = None,
        patience: float = 5.0,
        enlisted: Callable[[Any], None] = lambda _ids: None,
    ) -> Flow:
        codec = await self.codec(registry)
        ledger = ledger or self.ledger
        waits = Patience(FlowName.LEDGER, self.events, patience)
        events = EventsToLedger(
            ledger=ledger,
            codec=codec,
            dues=dues,
            writer=self.writer(FlowName.LEDGER, codec, patience),
            patience=waits,
            events=self.events,
            wall=self.now,
            enlisted=enlisted,
        )
        packets = PacketsToLedger(
            ledger=ledger,
            codec=codec,
            dues=packet_dues,
            writer=self.writer(FlowName.LEDGER, codec, patience),
            patience=waits,
            events=self.events,
            enlisted=enlisted,
        )
        letters = DeadLettersToLedger(
            ledger=ledger,
            codec=codec,
            sealer=self.sealer,
            patience=waits,
            events=self.events,
            wall=self.now,
        )
        return self.flow(
            FlowName.LEDGER,
            {DOSSIER_EVENTS: events, REPORT_PACKETS: packets, DEAD_LETTERS: letters},
            ledger,
            patience,
        )

    # --- writing and reading

    async def put(self, topic: Topic, *pairs: tuple[str, bytes]) -> None:
        """Records with these keys and values, in this order."""
        await self.producer.produce([Outgoing(topic.name, k.encode(), v) for k, v in pairs])

    async def read(self, topic: Topic) -> list[Any]:
        """All records of a topic, decoded, partition by partition."""
        codec = await self.codec()
        return [await codec.decode(raw.value) for raw in await self.raw(topic)]

    async def raw(self, topic: Topic) -> list[Any]:
        """All records of a topic as they lie there."""
        consumer = AIOKafkaConsumer(**aiokafka_connection(self.kafka))
        await consumer.start()
        try:
            tps = [TopicPartition(topic.name, p) for p in range(PARTITIONS)]
            consumer.assign(tps)
            await consumer.seek_to_beginning(*tps)
            ends = await consumer.end_offsets(tps)
            found: list[Any] = []
            while sum(ends.values()) > len(found):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += records
            return sorted(found, key=lambda r: (r.partition, r.offset))
        finally:
            await consumer.stop()

    async def committed(self, flow: str, topic: Topic) -> dict[int, int | None]:
        """Kafka's committed offsets of a flow's group."""
        consumer = AIOKafkaConsumer(
            **aiokafka_connection(self.kafka),
            group_id=f"{self.kafka.group_prefix}-{flow}",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            consumer.assign([TopicPartition(topic.name, p) for p in range(PARTITIONS)])
            return {
                p: await consumer.committed(TopicPartition(topic.name, p))
                for p in range(PARTITIONS)
            }
        finally:
            await consumer.stop()

    async def commit(self, flow: str, topic: Topic, offsets: Mapping[int, int]) -> None:
        """Make Kafka believe that the flow's group has come so far."""
        consumer = AIOKafkaConsumer(
            **aiokafka_connection(self.kafka),
            group_id=f"{self.kafka.group_prefix}-{flow}",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            tps = {TopicPartition(topic.name, p): offset for p, offset in offsets.items()}
            consumer.assign(list(tps))
            await consumer.commit({tp: OffsetAndMetadata(o, "") for tp, o in tps.items()})
        finally:
            await consumer.stop()

    async def positions(self, flow: str, topic: Topic) -> dict[int, int]:
        """The ledger's positions; a partition that was never taken over is not in it."""
        return await asyncio.to_thread(self._positions, flow, topic)

    def _positions(self, flow: str, topic: Topic) -> dict[int, int]:
        with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as connection:
            rows = connection.execute(
                "SELECT partition, next_offset FROM positions WHERE flow = ? AND topic = ?",
                (flow, topic.name),
            )
            return dict(rows.fetchall())

    async def usurp(self, flow: str, topic: Topic) -> None:
        """Another owner takes the partitions over."""
        self.owners += 1
        await self.ledger.take_over(
            flow, topic.name, None, range(PARTITIONS), f"owner-{self.owners}"
        )


@asynccontextmanager
async def rig(broker: EmbeddedBroker, tmp_path: Path) -> AsyncIterator[Rig]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    await asyncio.to_thread(upgrade, url)
    kafka = KafkaSettings(
        bootstrap_servers=broker.bootstrap,
        embedded=True,
        partitions=PARTITIONS,
        session_timeout_seconds=3.0,
        produce_timeout_seconds=5.0,
    )
    producer = Producer(aiokafka_connection(kafka), timeout=kafka.produce_timeout_seconds)
    await producer.start()
    try:
        async with SqlLedger(url) as ledger:
            sealer = await Sealer.load(ledger, b"m" * 32, datetime.now(UTC))
            yield Rig(kafka, ledger, url, sealer, producer, tmp_path)
    finally:
        await producer.stop(5.0)


class TroubledLedger:
    """The ledger with trouble: `enlist` raises or waits as `troubles` say, one after the other."""

    def __init__(self, ledger: SqlLedger) -> None:
        self._ledger = ledger
        self.troubles: list[Callable[[], Awaitable[None]]] = []
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def enlist(self, *arguments: Any) -> Any:
        self.calls += 1
        if self.troubles:
            await self.troubles.pop(0)()
        return await self._ledger.enlist(*arguments)


def other_sealer() -> Sealer:
    """Seals with a key that the ledger does not hold."""
    return Sealer({"2020-01": b"k" * 32}, "2020-01")


def this_month() -> str:
    return key_id_of(datetime.now(UTC))


@asynccontextmanager
async def running(*flows: Flow) -> AsyncIterator[Sequence[asyncio.Task[None]]]:
    """The flows run inside, and are stopped in order behind."""
    tasks = [asyncio.create_task(flow.run()) for flow in flows]
    try:
        yield tasks
    finally:
        for flow in flows:
            flow.stop()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(true: Callable[[], bool | Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait for something to become true. Fails after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        found = true()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return
        assert time.monotonic() < end, "it did not become true in time"
        await asyncio.sleep(0.05)
