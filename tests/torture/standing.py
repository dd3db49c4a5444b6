"""What stands while scenarios come and go: Kafka and PostgreSQL, each started when it is first asked for."""

from __future__ import annotations

import itertools
import time
from contextlib import ExitStack
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas.topics import TOPICS
from tests.services.kafka import KafkaCluster
from tests.services.postgres import PostgresServer

_ANSWER_SECONDS = 5.0
_TOPICS_SECONDS = 60.0


class Standing:
    """Use as a context. Calls block: from a coroutine use `asyncio.to_thread`.

    A scenario that stops a server starts it again; one that cannot be mended is replaced with `renew`.
    """

    def __init__(self) -> None:
        self._stacks: dict[str, ExitStack] = {}
        self._kafka: dict[int, KafkaCluster] = {}
        self._postgres: PostgresServer | None = None
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.renew()

    def kafka(self, brokers: int = 1) -> KafkaCluster:
        """The cluster of this size; one of another size is ended first, to save its memory."""
        for other in [size for size in self._kafka if size != brokers]:
            del self._kafka[other]
            self._stacks.pop(f"kafka-{other}").close()
        if brokers not in self._kafka:
            # The proxied addresses cost nothing, and only the broker grid uses them.
            cluster = KafkaCluster(brokers=brokers, proxied=brokers > 1)
            self._kafka[brokers] = self._enter(f"kafka-{brokers}").enter_context(cluster)
        return self._kafka[brokers]

    def postgres(self) -> PostgresServer:
        """The server; every scenario makes a database of its own in it."""
        if self._postgres is None:
            self._postgres = self._enter("postgres").enter_context(PostgresServer())
        return self._postgres

    def renew(self) -> None:
        """End everything; what is asked for next is started anew."""
        self._kafka.clear()
        self._postgres = None
        while self._stacks:
            self._stacks.popitem()[1].close()

    def number(self) -> int:
        """A number that no other scenario of this run has."""
        return next(self._numbers)

    def _enter(self, name: str) -> ExitStack:
        self._stacks[name] = ExitStack()
        return self._stacks[name]


def delete_topics(cluster: KafkaCluster) -> None:
    """Delete the hub's topics, with all that they hold."""
    client = AdminClient({"bootstrap.servers": cluster.bootstrap})
    names = {topic.name for topic in TOPICS}
    there = set(client.list_topics(timeout=_ANSWER_SECONDS).topics) & names
    for deleting in client.delete_topics(sorted(there)).values() if there else ():
        deleting.result(_TOPICS_SECONDS)
    _until(client, lambda found: not found & names)


def renew_topics(cluster: KafkaCluster, partitions: int) -> None:
    """Delete the hub's topics and make them anew, empty, with another id."""
    delete_topics(cluster)
    client = AdminClient({"bootstrap.servers": cluster.bootstrap})
    replication = len(cluster.nodes)
    wanted = [
        NewTopic(t.name, partitions, replication, config=t.config(replication)) for t in TOPICS
    ]
    left = {topic.topic: topic for topic in wanted}
    end = time.monotonic() + _TOPICS_SECONDS
    while left:
        for name, making in client.create_topics(list(left.values())).items():
            try:
                making.result(_TOPICS_SECONDS)
                del left[name]
            except KafkaException as error:  # its deletion is not yet known everywhere
                if time.monotonic() > end:
                    raise RuntimeError(f"topic {name} was not made: {error}") from None
        if left:
            time.sleep(0.2)
    _until(client, lambda found: found >= {topic.name for topic in TOPICS})


def _until(client: AdminClient, true: object) -> None:
    assert callable(true)
    end = time.monotonic() + _TOPICS_SECONDS
    while not true(set(client.list_topics(timeout=_ANSWER_SECONDS).topics)):
        if time.monotonic() > end:
            raise RuntimeError("Kafka: the topics were not renewed")
        time.sleep(0.1)
