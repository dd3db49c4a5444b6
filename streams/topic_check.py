"""Are the topics as the hub needs them? Asked before any Faust app starts.

A Faust consumer on a topic that is not there consumes nothing, for ever, and as the leader of its group
it keeps the others from consuming too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from kafka.admin import KafkaAdminClient

from schemas.topics import TOPICS
from streams.embedded_broker import lowest_watermarks
from streams.kafka_clients import aiokafka_connection, kafka_python_connection
from streams.settings import KafkaSettings

_TIMEOUT_SECONDS = 15.0


class TopicsUnfit(Exception):
    """Topics are missing or have another number of partitions. `problems`: one line each, with remedy."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class BrokerUnreachable(Exception):
    """No broker answers."""


async def topic_partitions(kafka: KafkaSettings) -> Mapping[str, int]:
    """Every topic of the broker with its number of partitions. Raises `BrokerUnreachable`."""
    client = AIOKafkaClient(**aiokafka_connection(kafka))
    try:
        await asyncio.wait_for(client.bootstrap(), _TIMEOUT_SECONDS)
        cluster = await asyncio.wait_for(client.fetch_all_metadata(), _TIMEOUT_SECONDS)
    except (KafkaError, TimeoutError) as error:
        raise BrokerUnreachable(
            f"no Kafka broker answers at {kafka.bootstrap_servers} ({type(error).__name__}): "
            "check THONGSUOT_KAFKA__BOOTSTRAP_SERVERS"
        ) from None
    finally:
        await client.close()
    return {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in cluster.topics()}


def unfit(found: Mapping[str, int], partitions: int) -> Sequence[str]:
    """Every problem, one line each."""
    lines = []
    for topic in TOPICS:
        if topic.name not in found:
            lines.append(
                f"topic {topic.name} does not exist: create it with {partitions} partitions; "
                "thongsuot topics list shows its settings"
            )
        elif found[topic.name] != partitions:
            lines.append(
                f"topic {topic.name} has {found[topic.name]} partitions and the setting "
                f"THONGSUOT_KAFKA__PARTITIONS says {partitions}: set it to what the topic has; the "
                "number of partitions of a topic in use is never changed"
            )
    return lines


async def require_topics(kafka: KafkaSettings) -> None:
    """Raises `TopicsUnfit` or `BrokerUnreachable`."""
    lines = unfit(await topic_partitions(kafka), kafka.partitions)
    if lines:
        raise TopicsUnfit(*lines)


async def topic_ids(kafka: KafkaSettings) -> Mapping[str, str]:
    """The ids by which a topic that was deleted and made anew is known. Empty on the embedded broker."""
    if kafka.embedded:
        return {}
    return await asyncio.to_thread(_topic_ids, kafka)


def _topic_ids(kafka: KafkaSettings) -> Mapping[str, str]:
    admin = KafkaAdminClient(**kafka_python_connection(kafka))
    try:
        described = admin.describe_topics([topic.name for topic in TOPICS])
        return {
            topic["name"]: str(topic["topic_id"]) for topic in described if topic.get("topic_id")
        }
    finally:
        admin.close()


async def require_nothing_dropped(kafka: KafkaSettings) -> None:
    """The embedded broker drops silently beyond its limits: every low watermark must still be 0.

    Raises `TopicsUnfit`. For the demo, at its end.
    """
    lowest = await asyncio.to_thread(
        lowest_watermarks, kafka.bootstrap_servers, [topic.name for topic in TOPICS]
    )
    dropped = sorted(f"{topic}/{partition}" for (topic, partition), low in lowest.items() if low)
    if dropped:
        raise TopicsUnfit(
            f"the embedded broker dropped records of {', '.join(dropped)}: use more partitions"
        )
