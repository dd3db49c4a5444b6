"""A write counts only when the broker has confirmed it, and one that failed must not spoil those after it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from aiokafka.errors import KafkaConnectionError, OutOfOrderSequenceNumber

from schemas.topics import DELIVERY_RECEIPTS
from streams.embedded_broker import EmbeddedBroker
from streams.kafka_clients import aiokafka_connection
from streams.producer import NotConfirmed, Outgoing, Producer
from streams.settings import KafkaSettings

RECORD = [Outgoing(DELIVERY_RECEIPTS.name, b"d1", b"one")]


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({DELIVERY_RECEIPTS.name: 1}) as started:
        yield started


@pytest.fixture
async def producer(broker: EmbeddedBroker) -> AsyncIterator[Producer]:
    settings = KafkaSettings(bootstrap_servers=broker.bootstrap, embedded=True)
    made = Producer(aiokafka_connection(settings), timeout=30)
    await made.start()
    yield made
    await made.stop(30)


async def test_a_producer_that_lost_its_sequence_is_replaced(
    producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka's sender ends then, and refuses every later record."""
    await producer.produce(RECORD)
    producer._producer._message_accumulator.fail_all(OutOfOrderSequenceNumber())
    with pytest.raises(NotConfirmed, match="OutOfOrderSequenceNumber"):
        await producer.produce(RECORD)
    await producer.produce(RECORD)


async def test_several_failures_at_once_need_one_new_producer(
    producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = producer._producer

    async def refuses(*_: object, **__: object) -> None:
        raise KafkaConnectionError

    monkeypatch.setattr(first, "send", refuses)
    for _ in range(2):
        producer._spend(first)
    await producer.produce(RECORD)
    second = producer._producer
    assert second is not first
    producer._spend(first)
    await producer.produce(RECORD)
    assert producer._producer is second


async def test_no_broker_is_told_as_such_and_the_next_write_tries_again(
    producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = producer._settings["bootstrap_servers"]
    producer._spend(producer._producer)
    monkeypatch.setitem(producer._settings, "bootstrap_servers", "127.0.0.1:1")
    with pytest.raises(NotConfirmed):
        await producer.produce(RECORD)
    monkeypatch.setitem(producer._settings, "bootstrap_servers", good)
    await producer.produce(RECORD)
