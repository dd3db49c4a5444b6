"""The broker kit does what it says, and the hub's three Kafka clients work on real brokers."""

from __future__ import annotations

import asyncio
import itertools
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faust
import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streams.kafka_clients import aiokafka_connection, faust_settings
from streams.producer import Outgoing, Producer
from streams.settings import KafkaSettings
from streams.topic_check import read_topics
from tests.services.kafka import KafkaCluster, kafka_of_three
from tests.services.server_process import ServiceFailed

__all__ = ["kafka_of_three"]

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
PARTITIONS = 4
_numbers = itertools.count(1)


def new_topic(cluster: KafkaCluster) -> str:
    name = f"services-{next(_numbers)}"
    client = AdminClient({"bootstrap.servers": cluster.bootstrap})
    (making,) = client.create_topics([NewTopic(name, PARTITIONS, len(cluster.nodes))]).values()
    making.result(30)
    cluster.wait_in_sync()
    return name


async def write(kafka: KafkaSettings, topic: str, numbers: Sequence[int]) -> None:
    producer = Producer(aiokafka_connection(kafka), timeout=60)
    await producer.start()
    try:
        await producer.produce([Outgoing(topic, b"%d" % n, b"%d" % n) for n in numbers])
    finally:
        await producer.stop(10)


def read(cluster: KafkaCluster, topic: str) -> list[int]:
    """Every record of the topic, sorted."""
    consumer = Consumer(
        {"bootstrap.servers": cluster.bootstrap, "group.id": "t", "enable.auto.commit": False}
    )
    try:
        tps = [TopicPartition(topic, p) for p in range(PARTITIONS)]
        ends = [consumer.get_watermark_offsets(tp, timeout=30)[1] for tp in tps]
        consumer.assign([TopicPartition(topic, tp.partition, 0) for tp in tps])
        found: list[int] = []
        while len(found) < sum(ends):
            message = consumer.poll(30)
            assert message is not None
            assert message.error() is None, message.error()
            found.append(int(message.value() or b""))
        return sorted(found)
    finally:
        consumer.close()


def settings(cluster: KafkaCluster) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=cluster.bootstrap, partitions=PARTITIONS, session_timeout_seconds=6
    )


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.05)


async def test_a_killed_leader_is_replaced_and_nothing_confirmed_is_lost(
    kafka_of_three: KafkaCluster,
) -> None:
    topic = await asyncio.to_thread(new_topic, kafka_of_three)
    await write(settings(kafka_of_three), topic, range(200))
    leader = kafka_of_three.leader(topic)
    kafka_of_three.kill(leader)
    try:
        assert kafka_of_three.leader(topic) != leader
        await write(settings(kafka_of_three), topic, range(200, 400))
    finally:
        await asyncio.to_thread(kafka_of_three.start, leader)
    await asyncio.to_thread(kafka_of_three.wait_in_sync)
    assert await asyncio.to_thread(read, kafka_of_three, topic) == list(range(400))


async def test_all_nodes_come_back_with_their_ports_and_data(kafka_of_three: KafkaCluster) -> None:
    topic = await asyncio.to_thread(new_topic, kafka_of_three)
    await write(settings(kafka_of_three), topic, range(100))
    bootstrap, pids = (
        kafka_of_three.bootstrap,
        {kafka_of_three.pid(n) for n in kafka_of_three.nodes},
    )
    await asyncio.to_thread(kafka_of_three.stop, *kafka_of_three.nodes)
    assert not any(kafka_of_three.running(node) for node in kafka_of_three.nodes)
    await asyncio.to_thread(kafka_of_three.start, *kafka_of_three.nodes)
    assert kafka_of_three.bootstrap == bootstrap
    assert pids.isdisjoint(kafka_of_three.pid(node) for node in kafka_of_three.nodes)
    await asyncio.to_thread(kafka_of_three.wait_in_sync)
    assert await asyncio.to_thread(read, kafka_of_three, topic) == list(range(100))


def test_a_paused_node_takes_connections_and_answers_nothing(kafka: KafkaCluster) -> None:
    client = AdminClient({"bootstrap.servers": kafka.bootstrap})
    kafka.pause(1)
    try:
        host, port = kafka.address(1).split(":")
        socket.create_connection((host, int(port)), timeout=10).close()
        with pytest.raises(KafkaException):
            client.list_topics(timeout=2)
    finally:
        kafka.resume(1)
    assert client.list_topics(timeout=60).brokers


async def test_the_three_clients_on_real_brokers(kafka: KafkaCluster, tmp_path: Path) -> None:
    """aiokafka writes, Faust reads, kafka-python describes."""
    topic = await asyncio.to_thread(new_topic, kafka)
    hub = settings(kafka)
    found = (await read_topics(hub)).topics[topic]
    assert (found.partitions, found.replication) == (PARTITIONS, 1)
    assert found.id
    await write(hub, topic, range(50))
    app = faust.App("three-clients", datadir=str(tmp_path / "faust"), **faust_settings(hub))
    seen: list[int] = []

    async def agent(stream: Any) -> None:
        async for batch in stream.take_events(20, within=0.1):
            seen.extend(int(event.message.value) for event in batch)

    source = app.topic(topic, key_type=bytes, value_type=bytes)
    app.agent(source, name="reader", concurrency=1)(agent)
    app.finalize()
    await app.start()
    try:
        await until(lambda: len(seen) >= 50)
        await write(hub, topic, range(50, 100))
        await until(lambda: len(seen) >= 100)
    finally:
        await app.stop()
    assert sorted(seen) == list(range(100))


def test_topics_are_never_made_by_use(kafka: KafkaCluster) -> None:
    client = AdminClient({"bootstrap.servers": kafka.bootstrap})
    client.list_topics("nobody-made-me", timeout=30)
    assert "nobody-made-me" not in client.list_topics(timeout=30).topics


def test_two_brokers_are_not_offered() -> None:
    with pytest.raises(ValueError, match="1 or 3, not 2"):
        KafkaCluster(brokers=2)


def test_a_node_that_cannot_start_is_reported_with_its_log() -> None:
    with (
        pytest.raises(ServiceFailed, match=r"(?s)node 1 ended at its start.*no\.such\.Class"),
        KafkaCluster(settings={"authorizer.class.name": "no.such.Class"}),
    ):
        pass


def test_as_a_program_it_prints_its_address_and_ends_with_sigterm() -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.services.kafka", "--brokers", "1"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert program.stdout is not None
        bootstrap = program.stdout.readline().strip()
        client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        assert len(client.list_topics(timeout=30).brokers) == 1
        program.send_signal(signal.SIGTERM)
        assert program.wait(60) == 0
    finally:
        program.kill()
        program.communicate()
    host, port = bootstrap.split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=10)
