"""The embedded broker serves the clients the hub uses, obeys, and ends with its parent."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaTopicPartition

from streams.embedded_broker import (
    KAFKA_PYTHON_SETTINGS,
    Api,
    BrokerError,
    EmbeddedBroker,
    lowest_watermarks,
)

TOPIC = "onestop.notices"


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({TOPIC: 4, "dossier.events": 2}) as started:
        yield started


async def _produce(bootstrap: str, values: list[bytes], *, idempotent: bool, **more: int) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=idempotent, **more
    )
    try:
        await producer.start()
        for future in [await producer.send(TOPIC, value, key=value) for value in values]:
            await future
    finally:
        await producer.stop()


@pytest.mark.parametrize("idempotent", [False, True])
async def test_aiokafka_reads_back_what_it_produced(
    broker: EmbeddedBroker, idempotent: bool
) -> None:
    sent = [b"notice-%d" % number for number in range(200)]
    await _produce(broker.bootstrap, sent, idempotent=idempotent)

    consumer = AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=broker.bootstrap,
        group_id="readers",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        got: list[bytes] = []
        async with asyncio.timeout(30):
            while len(got) < len(sent):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    got += [record.value for record in records]
            await consumer.commit()
        assert sorted(got) == sorted(sent)
        positions = [
            await consumer.committed(TopicPartition(TOPIC, partition)) for partition in range(4)
        ]
        assert sum(positions) == len(sent)
    finally:
        await consumer.stop()


def test_kafka_python_reads_back_what_it_produced(broker: EmbeddedBroker) -> None:
    producer = KafkaProducer(
        bootstrap_servers=broker.bootstrap,
        acks="all",
        enable_idempotence=False,
        **KAFKA_PYTHON_SETTINGS,
    )
    for future in [producer.send(TOPIC, b"v%d" % number) for number in range(20)]:
        future.get(timeout=20)
    producer.close()

    # Assigned, not subscribed: a group that joins before its metadata came is assigned nothing for minutes.
    consumer = KafkaConsumer(
        bootstrap_servers=broker.bootstrap,
        auto_offset_reset="earliest",
        consumer_timeout_ms=20_000,
        **KAFKA_PYTHON_SETTINGS,
    )
    try:
        partitions = consumer.partitions_for_topic(TOPIC)
        assert partitions
        consumer.assign([KafkaTopicPartition(TOPIC, number) for number in partitions])
        got = {next(consumer).value for _ in range(20)}
    finally:
        consumer.close()
    assert got == {b"v%d" % number for number in range(20)}


async def test_lowest_watermarks_show_what_the_broker_dropped(broker: EmbeddedBroker) -> None:
    topics = [TOPIC, "dossier.events"]
    untouched = await asyncio.to_thread(lowest_watermarks, broker.bootstrap, topics)
    assert len(untouched) == 6
    assert set(untouched.values()) == {0}

    # One key, so one partition: 7 MiB where 5 MiB have room.
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, acks="all")
    await producer.start()
    try:
        for _ in range(14):
            await producer.send_and_wait(TOPIC, b"x" * 512 * 1024, partition=1)
    finally:
        await producer.stop()

    after = await asyncio.to_thread(lowest_watermarks, broker.bootstrap, topics)
    assert {at for at, low in after.items() if low > 0} == {(TOPIC, 1)}


def test_lowest_watermarks_name_a_topic_that_is_not_there(broker: EmbeddedBroker) -> None:
    with pytest.raises(BrokerError, match=r"no\.such\.topic"):
        lowest_watermarks(broker.bootstrap, ["no.such.topic"])


async def test_a_broker_that_is_down_refuses_and_keeps_its_records(broker: EmbeddedBroker) -> None:
    await _produce(broker.bootstrap, [b"before"], idempotent=False)
    broker.set_down()
    with pytest.raises((KafkaError, asyncio.TimeoutError)):
        await asyncio.wait_for(_produce(broker.bootstrap, [b"during"], idempotent=False), 5)
    broker.set_up()
    await _produce(broker.bootstrap, [b"after"], idempotent=False)

    consumer = AIOKafkaConsumer(
        TOPIC, bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        got = [(await asyncio.wait_for(consumer.getone(), 20)).value for _ in range(2)]
    finally:
        await consumer.stop()
    assert sorted(got) == [b"after", b"before"]


async def test_pushed_errors_are_what_the_client_meets(broker: EmbeddedBroker) -> None:
    message_too_large = 10
    broker.push_errors(Api.PRODUCE, [message_too_large])
    with pytest.raises(KafkaError) as refused:
        await _produce(broker.bootstrap, [b"first"], idempotent=False)
    assert refused.value.errno == message_too_large
    await _produce(broker.bootstrap, [b"second"], idempotent=False)


def test_a_command_about_an_unknown_broker_is_refused(broker: EmbeddedBroker) -> None:
    with pytest.raises(BrokerError, match="refused down"):
        broker.set_down(7)
    broker.set_rtt(1)
    broker.set_rtt(0)


def test_topics_can_be_added_once(broker: EmbeddedBroker) -> None:
    broker.create_topic("dead.letters", 3)
    assert len(lowest_watermarks(broker.bootstrap, ["dead.letters"])) == 3
    with pytest.raises(BrokerError):
        broker.create_topic("dead.letters", 3)


def test_stopping_ends_the_process_and_may_be_repeated() -> None:
    broker = EmbeddedBroker({TOPIC: 1}).start()
    process = psutil.Process(broker.pid)
    broker.stop()
    broker.stop()
    assert not process.is_running()
    with pytest.raises(BrokerError, match="not started"):
        _ = broker.bootstrap


def test_a_broker_that_was_killed_is_reported_with_its_pid() -> None:
    with EmbeddedBroker({TOPIC: 1}) as broker:
        process = psutil.Process(broker.pid)
        process.kill()
        with pytest.raises(BrokerError, match=str(process.pid)):
            broker.set_down()


def test_the_program_prints_one_json_line_and_ends_on_sigterm() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "streams.embedded_broker", "--topic", f"{TOPIC}:3"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert said["bootstrap"].startswith("127.0.0.1:")
        assert len(lowest_watermarks(said["bootstrap"], [TOPIC])) == 3
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stdout.read() == b""
    finally:
        process.kill()
        process.communicate()


def test_the_broker_ends_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, time\n"
            "child = subprocess.Popen([sys.executable, '-m', 'streams.embedded_broker'],"
            " stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)\n"
            "child.stdout.readline()\n"
            "print(child.pid, flush=True)\n"
            "time.sleep(600)",
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        child.wait(30)
    finally:
        parent.kill()
        parent.communicate()
    assert not child.is_running()


@pytest.mark.parametrize("text", ["onestop.notices", ":3", "a:0", "a:x"])
def test_a_topic_is_written_with_its_partitions(text: str) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "streams.embedded_broker", "--topic", text],
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 2
    assert "name:partitions" in refused.stderr
