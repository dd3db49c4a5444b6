"""Are the topics as the hub needs them? Asked before any Faust app starts.

A Faust consumer on a topic that is not there consumes nothing, for ever, and as the leader of its group
it keeps the others from consuming too. A topic that is there but kept otherwise than the catalogue says
loses records quietly: compacted, cut off too early, or held by one broker only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError as AiokafkaError
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError

from schemas.topics import REPLICATION, TOPICS, Topic
from streams.embedded_broker import lowest_watermarks
from streams.kafka_clients import aiokafka_connection, kafka_python_connection
from streams.settings import KafkaSettings

_TIMEOUT_SECONDS = 15.0

_WITHOUT_LIMIT = -1  # of retention.ms and retention.bytes
_MAY_BE_MORE = {"retention.ms", "retention.bytes", "max.message.bytes", "min.insync.replicas"}
"""What an operator may raise; all other settings are wanted as they stand in the catalogue."""


class TopicsUnfit(Exception):
    """Topics are missing, or differ from the catalogue. `problems`: one line each, with remedy."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class BrokerUnreachable(Exception):
    """No broker answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTopic:
    """What the broker says about one topic; None where it cannot say (the embedded broker)."""

    partitions: int
    replication: int | None = None  # of the partition that has the fewest replicas
    config: Mapping[str, str] | None = None
    id: str = ""  # a topic that is deleted and made anew gets another one


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTopics:
    """The broker's topics by name, ours and others', and how many brokers belong to the cluster.

    In KRaft mode a broker that is down is counted too: it does not make fewer replicas right.
    """

    brokers: int
    topics: Mapping[str, FoundTopic]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One way in which a topic is not as the hub needs it, and what to do about it."""

    topic: str
    field: str
    found: str
    wanted: str
    remedy_vi: str
    remedy_en: str

    @property
    def vi(self) -> str:
        """The line for people."""
        return (
            f"chủ đề {self.topic}: {self.field} đang là {self.found}, cần {self.wanted}: "
            f"{self.remedy_vi}"
        )

    @property
    def en(self) -> str:
        """The line for logs, and beside the Vietnamese one."""
        return (
            f"topic {self.topic}: {self.field} is {self.found}, wanted {self.wanted}: "
            f"{self.remedy_en}"
        )


def differences(
    found: FoundTopics, partitions: int, topics: Sequence[Topic] = TOPICS
) -> Sequence[Difference]:
    """Every difference between the catalogue and the broker, in the order of the way."""
    return [one for topic in topics for one in _of_topic(topic, found, partitions)]


def missing(found: FoundTopics) -> Sequence[Topic]:
    """The catalogue's topics that the broker does not have."""
    return [topic for topic in TOPICS if topic.name not in found.topics]


def replication_wanted(brokers: int) -> int:
    """Three, or as many as there are brokers: a single broker is a choice, and can hold only one."""
    return min(REPLICATION, brokers)


def _of_topic(topic: Topic, cluster: FoundTopics, partitions: int) -> Iterator[Difference]:
    found = cluster.topics.get(topic.name)
    if found is None:
        yield Difference(
            topic=topic.name,
            field="the topic",
            found="absent",
            wanted=f"{partitions} partitions",
            remedy_vi="chạy thongsuot topics create",
            remedy_en="run thongsuot topics create",
        )
        return
    if found.partitions != partitions:
        yield Difference(
            topic=topic.name,
            field="partitions",
            found=str(found.partitions),
            wanted=str(partitions),
            remedy_vi="đặt THONGSUOT_KAFKA__PARTITIONS bằng số phân vùng đang có; không bao giờ đổi "
            "số phân vùng của chủ đề đang dùng",
            remedy_en="set THONGSUOT_KAFKA__PARTITIONS to what the topic has; the number of "
            "partitions of a topic in use is never changed",
        )
    if found.replication is not None:
        wanted = replication_wanted(cluster.brokers)
        if found.replication < wanted:
            yield Difference(
                topic=topic.name,
                field="replication",
                found=str(found.replication),
                wanted=f"at least {wanted}",
                remedy_vi=f"tăng bằng kafka-reassign-partitions.sh (có {cluster.brokers} máy chủ Kafka)",
                remedy_en=f"raise it with kafka-reassign-partitions.sh ({cluster.brokers} brokers "
                "are there)",
            )
    if found.config is not None:
        yield from _of_config(topic, found.config, found.replication or REPLICATION)


def _of_config(topic: Topic, config: Mapping[str, str], replication: int) -> Iterator[Difference]:
    if not config:  # Kafka answers so when the account may not ask
        yield Difference(
            topic=topic.name,
            field="the settings",
            found="not readable",
            wanted="readable",
            remedy_vi="cấp cho tài khoản Kafka quyền DESCRIBE_CONFIGS trên chủ đề này",
            remedy_en="give the Kafka account the right DESCRIBE_CONFIGS on this topic",
        )
        return
    for field, wanted in topic.config(replication).items():
        found = config.get(field, "unset")
        if _will_do(field, found, wanted, replication):
            continue
        change = (
            f"kafka-configs.sh --alter --entity-type topics --entity-name {topic.name} "
            f"--add-config {field}={wanted}"
        )
        at_least = field in _MAY_BE_MORE and wanted != str(_WITHOUT_LIMIT)
        yield Difference(
            topic=topic.name,
            field=field,
            found=found,
            wanted=f"at least {wanted}" if at_least else wanted,
            remedy_vi=f"chạy {change}",
            remedy_en=f"run {change}",
        )


def _will_do(field: str, found: str, wanted: str, replication: int) -> bool:
    if found == wanted:
        return True
    if field not in _MAY_BE_MORE or not found.lstrip("-").isdigit():
        return False
    if field.startswith("retention.") and _WITHOUT_LIMIT in (int(found), int(wanted)):
        return int(found) == _WITHOUT_LIMIT
    if field == "min.insync.replicas" and int(found) > replication:
        return False  # more than there are: every write would be refused
    return int(found) >= int(wanted)


# --- asking the broker -------------------------------------------------------------------------------


async def read_topics(kafka: KafkaSettings) -> FoundTopics:
    """What the broker holds. Raises `BrokerUnreachable`."""
    try:
        return await asyncio.to_thread(_read_topics, await brokers_up(kafka))
    except KafkaError as error:
        raise unreachable(kafka, error) from None


async def brokers_up(kafka: KafkaSettings) -> KafkaSettings:
    """The same settings with the brokers that are up, for kafka-python. Raises `BrokerUnreachable`.

    It tries a broker that is down for long, in a thread that nobody can end, and leaves a socket open
    for each time; aiokafka says at once who answers.
    """
    client = AIOKafkaClient(**aiokafka_connection(kafka))
    try:
        await asyncio.wait_for(client.bootstrap(), _TIMEOUT_SECONDS)
        known = [f"{broker.host}:{broker.port}" for broker in client.cluster.brokers()]
    except (AiokafkaError, TimeoutError) as error:
        raise unreachable(kafka, error) from None
    finally:
        await client.close()
    return kafka.model_copy(update={"bootstrap_servers": ",".join(known)})


def unreachable(kafka: KafkaSettings, error: Exception) -> BrokerUnreachable:
    """What to say when no broker answers."""
    return BrokerUnreachable(
        f"no Kafka broker answers at {kafka.bootstrap_servers} ({type(error).__name__}): "
        "check THONGSUOT_KAFKA__BOOTSTRAP_SERVERS"
    )


def admin_client(kafka: KafkaSettings) -> Any:
    """kafka-python's admin client, which gives up in time. To be closed."""
    return KafkaAdminClient(
        **kafka_python_connection(kafka), bootstrap_timeout_ms=int(_TIMEOUT_SECONDS * 1000)
    )


def _read_topics(kafka: KafkaSettings) -> FoundTopics:
    admin = admin_client(kafka)
    try:
        brokers = len(admin.describe_cluster()["brokers"])
        # All topics: asking for a name makes some brokers create it.
        described = {topic["name"]: topic for topic in admin.describe_topics(None)}
        ours = [topic.name for topic in TOPICS if topic.name in described]
        configs = {} if kafka.embedded else _configs(admin, ours)
    finally:
        admin.close()
    return FoundTopics(
        brokers=brokers,
        topics={
            name: FoundTopic(
                partitions=len(topic["partitions"]),
                replication=None
                if kafka.embedded
                else min((len(one["replica_nodes"]) for one in topic["partitions"]), default=0),
                config=configs.get(name),
                id=str(topic.get("topic_id") or ""),
            )
            for name, topic in described.items()
        },
    )


def _configs(admin: Any, names: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
    if not names:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    answered = admin.describe_configs(asked, config_filter="all").get("topic", {})
    return {
        name: {field: str(entry["value"]) for field, entry in answered.get(name, {}).items()}
        for name in names
    }


async def require_topics(kafka: KafkaSettings) -> None:
    """Raises `TopicsUnfit` or `BrokerUnreachable`."""
    found = differences(await read_topics(kafka), kafka.partitions)
    if found:
        raise TopicsUnfit(*(difference.en for difference in found))


async def topic_ids(kafka: KafkaSettings) -> Mapping[str, str]:
    """The ids by which a topic that was deleted and made anew is known. Empty on the embedded broker.

    Raises `BrokerUnreachable`.
    """
    if kafka.embedded:
        return {}
    try:
        found = await asyncio.to_thread(_topic_ids, await brokers_up(kafka))
    except KafkaError as error:
        raise unreachable(kafka, error) from None
    return {topic.name: found[topic.name] for topic in TOPICS if topic.name in found}


def _topic_ids(kafka: KafkaSettings) -> Mapping[str, str]:
    admin = admin_client(kafka)
    try:
        described = admin.describe_topics(None)
    finally:
        admin.close()
    return {topic["name"]: str(topic.get("topic_id") or "") for topic in described}


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
