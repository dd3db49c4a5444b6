"""`thongsuot topics reset` on real Kafka: topics deleted and made anew, and workers that are still alive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from monitoring.events import Events
from monitoring.logging import configure_logging
from monitoring.metrics import Metrics
from schemas.codec import Codec
from schemas.ledger.migrate import upgrade
from schemas.ledger.model import Operation, PositionHole
from schemas.ledger.sql import SqlLedger
from schemas.registry import LocalRegistry
from schemas.sealing import Sealer
from schemas.topics import (
    DEAD_LETTERS,
    DELIVERY_RECEIPTS,
    DOSSIER_EVENTS,
    REPORT_PACKETS,
    TOPICS,
    Topic,
)
from streams import topic_reset
from streams.kafka_clients import aiokafka_connection
from streams.producer import Outgoing, Producer
from streams.restore import restore_if_needed
from streams.settings import Settings
from streams.topic_admin import create
from streams.topic_check import admin_client, read_topics, topic_ids
from tests.contract.ledger_contract import (
    STATE,
    Desk,
    deliver,
    make_attempt,
    make_event,
    rows_of,
)
from tests.embedded.kit import RecordingLogger, Rig, event, running, until
from tests.embedded.test_positions_and_ownership import enlisted
from tests.embedded.test_restore import receipt
from tests.services.kafka import KafkaCluster
from tests.unit.cli.running import set_environment

pytestmark = pytest.mark.integration

PARTITIONS = 2
WAIT_SECONDS = 60.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    with KafkaCluster(brokers=1) as cluster:
        yield cluster


@pytest.fixture
async def settings(
    cluster: KafkaCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Settings]:
    """Topics that are new, and a ledger that has read one record of `dossier.events`."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    set_environment(
        monkeypatch,
        LEDGER_URL=url,
        KAFKA__BOOTSTRAP_SERVERS=cluster.bootstrap,
        KAFKA__PARTITIONS=str(PARTITIONS),
    )
    settings = Settings()  # type: ignore[call-arg] # the fields come from the environment
    await create(settings.kafka, replication=None, dry_run=False)
    await asyncio.to_thread(upgrade, url)
    yield settings
    await delete_topics(settings)


async def delete_topics(settings: Settings) -> None:
    def delete() -> None:
        admin = admin_client(settings.kafka)
        try:
            admin.delete_topics([topic.name for topic in TOPICS])
        finally:
            admin.close()

    await asyncio.to_thread(delete)
    end = time.monotonic() + WAIT_SECONDS
    while (await read_topics(settings.kafka)).topics.keys() & {t.name for t in TOPICS}:
        assert time.monotonic() < end, "the topics are still there"
        await asyncio.sleep(0.1)


async def take_over(ledger: SqlLedger, settings: Settings) -> Desk:
    ids = await topic_ids(settings.kafka)
    taken = await ledger.take_over(
        "ledger", DOSSIER_EVENTS.name, ids[DOSSIER_EVENTS.name], range(PARTITIONS), "worker-a"
    )
    return Desk(
        ledger=ledger,
        fences={p.fence.partition: p.fence for p in taken},
        offsets={p.fence.partition: p.next_offset for p in taken},
    )


async def test_topics_made_anew_go_on_where_nothing_is_lost_or_overtaken(
    settings: Settings,
) -> None:
    logger = configure_logging(level="info", json=True)
    url = settings.ledger_url.get_secret_value()
    async with SqlLedger(url) as ledger:
        await (await take_over(ledger, settings)).put(make_event("e1"))
        await letters(ledger, settings)
    assert [t.topic for t in await topic_reset.plan(settings)] == [DOSSIER_EVENTS.name], (
        "the log ends below the position"
    )
    await delete_topics(settings)
    await create(settings.kafka, replication=None, dry_run=False)
    await produce(settings, DOSSIER_EVENTS, *range(30))
    await produce(settings, DEAD_LETTERS, *range(30))
    async with SqlLedger(url) as ledger:
        with pytest.raises(PositionHole, match="thongsuot topics reset"):
            await take_over(ledger, settings)
    planned = await topic_reset.plan(settings)
    assert [(t.flow, t.topic, t.partitions, t.read, t.there, t.passed_over) for t in planned] == [
        ("ledger", DEAD_LETTERS.name, PARTITIONS, 0, 30, 0),
        ("ledger", DOSSIER_EVENTS.name, PARTITIONS, 1, 30, 30),
    ]
    assert await topic_reset.reset(settings, logger) == planned
    assert await topic_reset.reset(settings, logger) == []
    async with SqlLedger(url) as ledger:
        events = (await take_over(ledger, settings)).offsets
        assert sorted(events) == list(range(PARTITIONS))
        assert all(events.values()), "both partitions have records"
        assert sum(events.values()) == 30, "the source tells them again, in order"
        assert await letters(ledger, settings) == {0: 0, 1: 0}, "which no source tells again"


async def letters(ledger: SqlLedger, settings: Settings) -> dict[int, int]:
    """Take `dead.letters` over; returns the positions."""
    ids = await topic_ids(settings.kafka)
    taken = await ledger.take_over(
        "ledger", DEAD_LETTERS.name, ids[DEAD_LETTERS.name], range(PARTITIONS), "worker-a"
    )
    return {p.fence.partition: p.next_offset for p in taken}


async def test_it_is_refused_while_a_capture_is_alive(settings: Settings) -> None:
    """It is in no consumer group."""
    logger = configure_logging(level="info", json=True)
    async with SqlLedger(settings.ledger_url.get_secret_value()) as ledger:
        capture = await ledger.take_singleton("capture.one_stop", "may-1:4711:ab")
        with pytest.raises(topic_reset.Refused, match=r"capture\.one_stop \(may-1:4711:ab\)"):
            await topic_reset.reset(settings, logger)
        await ledger.release_singleton(capture)
    assert await topic_reset.reset(settings, logger) == []


async def test_it_is_refused_while_a_worker_is_alive(settings: Settings) -> None:
    logger = configure_logging(level="info", json=True)
    kafka = settings.kafka
    member: Any = AIOKafkaConsumer(
        DOSSIER_EVENTS.name,
        **aiokafka_connection(kafka),
        group_id=f"{kafka.group_prefix}-ledger",
    )
    await member.start()
    try:
        end = time.monotonic() + WAIT_SECONDS
        while not member.assignment():
            assert time.monotonic() < end, "it did not join"
            await member.getmany(timeout_ms=100)
        with pytest.raises(topic_reset.Refused, match="workers are alive") as refused:
            await topic_reset.reset(settings, logger)
        assert "đang chạy" in refused.value.vi
    finally:
        await member.stop()
    assert await topic_reset.reset(settings, logger) == []


async def test_a_flow_at_work_reads_nothing_of_a_topic_that_was_made_anew(
    settings: Settings, tmp_path: Path
) -> None:
    """The new log is longer than the flow's position, so that nothing but its id tells it from the old."""
    producer = Producer(aiokafka_connection(settings.kafka), timeout=20.0)
    await producer.start()
    async with SqlLedger(settings.ledger_url.get_secret_value()) as ledger:
        rig = Rig(
            kafka=settings.kafka,
            ledger=ledger,
            url=settings.ledger_url.get_secret_value(),
            sealer=Sealer({"2026-11": b"k" * 32}, "2026-11"),
            producer=producer,
            datadir=tmp_path,
        )
        try:
            codec = await rig.codec()
            told = [(f"d{n}", codec.encode(event(f"d{n}", n))) for n in range(10, 50)]
            await rig.put(DOSSIER_EVENTS, *told[:4])
            flow = await rig.to_ledger()
            async with running(flow):
                await until(lambda: enlisted(rig, 4))
                await delete_topics(settings)
                await create(settings.kafka, replication=None, dry_run=False)
                await rig.put(DOSSIER_EVENTS, *told[4:])
                await until(lambda: flow.halted, WAIT_SECONDS)
            assert (await ledger.event_counts())["events"] == 4
            assert [page["reason"] for page in rig.log.of("flow_paged")] == ["position_hole"]
        finally:
            await producer.stop(5.0)


async def test_a_restored_ledger_looks_for_receipts_since_its_last_settlement(
    settings: Settings,
) -> None:
    log = RecordingLogger()
    metrics = Metrics(targets=["national_portal"], version="test")
    events = Events(metrics, log)  # type: ignore[arg-type] # the methods used
    codec = Codec(LocalRegistry())
    await codec.prepare()
    await produce_receipts(settings, codec, 0, 1, 2)
    async with SqlLedger(settings.ledger_url.get_secret_value()) as ledger:
        await restore_if_needed(ledger, settings.kafka, codec, b"k" * 32, events)
        desk = await take_over(ledger, settings)
        # As a worker does; until then the restore is still being made good.
        reports = REPORT_PACKETS.name
        ids = await topic_ids(settings.kafka)
        await ledger.take_over("ledger", reports, ids[reports], range(PARTITIONS), "worker-a")
        # The ledger's one settlement is a moment old, so what lies a day before it is left out.
        await desk.put(make_event("e1"), dues=(STATE,))
        (work,) = await desk.runnable()
        await deliver(desk, work, make_attempt(work, *rows_of(work, Operation.STATE)))
        assert await ledger.newest_settled() is not None
        await produce_receipts(settings, codec, 3)
        await restore_if_needed(ledger, settings.kafka, codec, b"k" * 32, events)
        assert [one["receipts"] for one in log.of("restore_finished")] == [3, 1]


async def produce_receipts(settings: Settings, codec: Codec, *numbers: int) -> None:
    values = [codec.encode(receipt("d1", number)) for number in numbers]
    await _produce(settings, [Outgoing(DELIVERY_RECEIPTS.name, b"d1", value) for value in values])


async def produce(settings: Settings, topic: Topic, *numbers: int) -> None:
    """Records of as many dossiers: every partition has some."""
    await _produce(settings, [Outgoing(topic.name, f"d{n}".encode(), b"x") for n in numbers])


async def _produce(settings: Settings, records: Sequence[Outgoing]) -> None:
    producer = Producer(aiokafka_connection(settings.kafka), timeout=20.0)
    await producer.start()
    try:
        await producer.produce(records)
    finally:
        await producer.stop(5.0)
