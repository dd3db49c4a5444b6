"""`thongsuot topics reset` as an operator meets it: what it shows, and whom it waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from schemas.ledger.migrate import upgrade
from schemas.ledger.sql import SqlLedger
from schemas.topics import DOSSIER_EVENTS, ONESTOP_NOTICES, TOPICS
from streams.embedded_broker import EmbeddedBroker
from streams.kafka_clients import aiokafka_connection
from streams.producer import Outgoing, Producer
from streams.settings import KafkaSettings
from tests.contract.ledger_contract import Desk, make_event
from tests.unit.cli.running import nothing_running, run, set_environment

PARTITIONS = 1


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({topic.name: PARTITIONS for topic in TOPICS}) as started:
        yield started


@pytest.fixture
async def ledger(
    broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SqlLedger]:
    """It has read an event and no notice; the log of events is empty."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    set_environment(
        monkeypatch,
        **{
            **nothing_running(tmp_path),
            "LEDGER_URL": url,
            "KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
            "KAFKA__EMBEDDED": "true",
            "KAFKA__PARTITIONS": str(PARTITIONS),
            "CAPTURE__STAND_BY_SECONDS": "600",
        },
    )
    await asyncio.to_thread(upgrade, url)
    async with SqlLedger(url) as ledger:
        await (await Desk.open(ledger)).put(make_event("e1"))
        await ledger.take_over("intake", ONESTOP_NOTICES.name, None, [0], "worker-a")
        yield ledger


async def test_a_living_capture_is_named_and_nothing_is_done(ledger: SqlLedger) -> None:
    capture = await ledger.take_singleton("capture.one_stop", "may-1:100:ab")
    for command in ("reset", "release"):
        refused = await asyncio.to_thread(run, "topics", command, "--yes")
        assert refused.exit_code == 1
        assert "capture vẫn đang chạy: capture.one_stop (may-1:100:ab)" in refused.stderr
        assert "a capture is alive" in refused.stderr
        assert "600 giây" in refused.stderr
    await ledger.still_the_same()
    await ledger.release_singleton(capture)
    done = await asyncio.to_thread(run, "topics", "reset", "--yes")
    assert done.exit_code == 0, done.output


async def test_it_says_where_each_topic_goes_on(broker: EmbeddedBroker, ledger: SqlLedger) -> None:
    lost = f"{DOSSIER_EVENTS.name} (ledger): 1 phân vùng, sổ cái đã đọc 1 bản tin"
    whole = f"{ONESTOP_NOTICES.name} (intake): 1 phân vùng còn nguyên; bỏ qua 2 bản tin chưa đọc"
    shown = await asyncio.to_thread(run, "topics", "reset", "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert lost in shown.stdout
    assert "đọc tiếp từ cuối" in shown.stdout
    assert "đọc lại toàn bộ" in shown.stdout
    assert ONESTOP_NOTICES.name not in shown.stdout, "nothing of it is unread"

    await put(broker, Outgoing(ONESTOP_NOTICES.name, b"d1", b"1"), 2)
    shown = await asyncio.to_thread(run, "topics", "reset", "--dry-run")
    assert lost in shown.stdout
    assert whole in shown.stdout
    await ledger.still_the_same()


async def put(broker: EmbeddedBroker, record: Outgoing, times: int) -> None:
    kafka = KafkaSettings(bootstrap_servers=broker.bootstrap, embedded=True, partitions=PARTITIONS)
    producer = Producer(aiokafka_connection(kafka), timeout=20.0)
    await producer.start()
    try:
        await producer.produce([record] * times)
    finally:
        await producer.stop(5.0)
