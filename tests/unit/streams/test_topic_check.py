"""Topics are asked about before Faust starts; every difference is named with its remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from schemas.topics import DELIVERY_RECEIPTS, DOSSIER_EVENTS, REPLICATION, TOPICS
from streams.embedded_broker import EmbeddedBroker
from streams.settings import KafkaSettings
from streams.topic_check import (
    BrokerUnreachable,
    Difference,
    FoundTopic,
    FoundTopics,
    TopicsUnfit,
    differences,
    missing,
    require_nothing_dropped,
    require_topics,
    topic_ids,
)

PARTITIONS = 4


def as_wanted(replication: int = REPLICATION, brokers: int | None = None) -> FoundTopics:
    """What a broker says on which every topic is as the catalogue has it."""
    return FoundTopics(
        brokers=replication if brokers is None else brokers,
        topics={
            topic.name: FoundTopic(
                partitions=PARTITIONS,
                replication=replication,
                config=topic.config(replication),
                id=f"id of {topic.name}",
            )
            for topic in TOPICS
        },
    )


def changed(found: FoundTopics, name: str, topic: FoundTopic) -> FoundTopics:
    return replace(found, topics={**found.topics, name: topic})


def with_config(found: FoundTopics, name: str, **config: str) -> FoundTopics:
    """The same with these settings; `retention__ms` stands for `retention.ms`."""
    topic = found.topics[name]
    assert topic.config is not None
    new: Mapping[str, str] = {k.replace("__", "."): v for k, v in config.items()}
    return changed(found, name, replace(topic, config={**topic.config, **new}))


def the_one(found: FoundTopics) -> Difference:
    (difference,) = differences(found, PARTITIONS)
    return difference


@pytest.mark.parametrize("replication", [1, 2, 3, 4])
def test_the_catalogue_is_no_different_from_itself_on_any_number_of_brokers(
    replication: int,
) -> None:
    assert differences(as_wanted(replication), PARTITIONS) == []


def test_settings_that_the_catalogue_does_not_name_are_the_operators() -> None:
    found = with_config(as_wanted(), DOSSIER_EVENTS.name, segment__ms="1", compression__type="zstd")
    assert differences(found, PARTITIONS) == []


def test_a_missing_topic_is_named_with_the_command() -> None:
    found = as_wanted()
    rest = {k: v for k, v in found.topics.items() if k != DOSSIER_EVENTS.name}
    found = replace(found, topics=rest)
    difference = the_one(found)
    assert difference.topic == DOSSIER_EVENTS.name
    assert "thongsuot topics create" in difference.en
    assert "thongsuot topics create" in difference.vi
    assert missing(found) == [DOSSIER_EVENTS]


def test_another_number_of_partitions_is_told_with_the_setting() -> None:
    topic = replace(as_wanted().topics[DOSSIER_EVENTS.name], partitions=3)
    difference = the_one(changed(as_wanted(), DOSSIER_EVENTS.name, topic))
    assert (difference.field, difference.found, difference.wanted) == ("partitions", "3", "4")
    assert "THONGSUOT_KAFKA__PARTITIONS" in difference.remedy_en
    assert "THONGSUOT_KAFKA__PARTITIONS" in difference.remedy_vi


@pytest.mark.parametrize(
    ("brokers", "replication", "differs"),
    [
        *((1, 1, False), (2, 1, True), (2, 2, False), (3, 1, True), (3, 2, True), (3, 3, False)),
        *((2, 3, False), (5, 3, False)),  # a broker is away; there are more than replicas
    ],
)
def test_replication_is_three_or_as_many_as_there_are_brokers(
    brokers: int, replication: int, differs: bool
) -> None:
    found = differences(as_wanted(replication, brokers), PARTITIONS)
    assert {one.field for one in found} == ({"replication"} if differs else set())
    assert len(found) == (len(TOPICS) if differs else 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cleanup.policy", "compact"),
        ("cleanup.policy", "compact,delete"),
        ("retention.ms", "7775999999"),
        ("retention.bytes", "1073741824"),
        ("max.message.bytes", "1048575"),
        ("min.insync.replicas", "1"),
        ("min.insync.replicas", "4"),
        ("unclean.leader.election.enable", "true"),
    ],
)
def test_what_would_lose_records_is_a_difference(field: str, value: str) -> None:
    found = with_config(as_wanted(), DELIVERY_RECEIPTS.name, **{field: value})
    difference = the_one(found)
    assert (difference.topic, difference.field, difference.found) == (
        DELIVERY_RECEIPTS.name,
        field,
        value,
    )
    wanted = DELIVERY_RECEIPTS.config()[field]
    assert wanted in difference.wanted
    assert f"--add-config {field}={wanted}" in difference.remedy_en
    assert difference.remedy_vi != difference.remedy_en


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("retention.ms", "7776000001"),
        ("retention.ms", "-1"),
        ("max.message.bytes", "1048577"),
        ("min.insync.replicas", "3"),
    ],
)
def test_what_an_operator_has_raised_is_none(field: str, value: str) -> None:
    found = with_config(as_wanted(), DELIVERY_RECEIPTS.name, **{field: value})
    assert differences(found, PARTITIONS) == []


def test_what_is_kept_for_good_may_have_no_end() -> None:
    found = with_config(as_wanted(), DOSSIER_EVENTS.name, retention__ms="9223372036854775807")
    assert the_one(found).wanted == "-1"


def test_settings_that_the_account_may_not_read_are_told_once() -> None:
    topic = replace(as_wanted().topics[DOSSIER_EVENTS.name], config={})
    difference = the_one(changed(as_wanted(), DOSSIER_EVENTS.name, topic))
    assert "DESCRIBE_CONFIGS" in difference.remedy_en


# --- on the embedded broker, which can say only how many partitions there are --------------------------


async def test_missing_topics_and_wrong_partitions_are_all_named() -> None:
    present = {topic.name: 4 for topic in TOPICS[1:]} | {TOPICS[-1].name: 3}
    with EmbeddedBroker(present) as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap, embedded=True, partitions=4)
        with pytest.raises(TopicsUnfit) as caught:
            await require_topics(kafka)
        absent, wrong = caught.value.problems
        assert absent.startswith(f"topic {TOPICS[0].name}: the topic is absent")
        assert wrong.startswith(f"topic {TOPICS[-1].name}: partitions is 3, wanted 4")
        broker.create_topic(TOPICS[0].name, 4)
        await require_nothing_dropped(kafka)


async def test_topics_as_they_are_wanted_pass_and_have_no_ids() -> None:
    with EmbeddedBroker({topic.name: 2 for topic in TOPICS}) as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap, embedded=True, partitions=2)
        await require_topics(kafka)
        assert await topic_ids(kafka) == {}


async def test_a_broker_that_does_not_answer() -> None:
    with pytest.raises(BrokerUnreachable, match="THONGSUOT_KAFKA__BOOTSTRAP_SERVERS"):
        await require_topics(KafkaSettings(bootstrap_servers="127.0.0.1:1"))
