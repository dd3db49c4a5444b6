"""What `topics create` decides before it asks the broker for anything."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schemas.topics import DOSSIER_EVENTS, TOPICS
from streams.settings import KafkaSettings
from streams.topic_admin import CannotCreate, as_dict, create, plan
from streams.topic_check import FoundTopics
from tests.unit.streams.test_topic_check import PARTITIONS, as_wanted, with_config


def empty(brokers: int) -> FoundTopics:
    return FoundTopics(brokers=brokers, topics={})


@pytest.mark.parametrize(("brokers", "replication"), [(1, 1), (3, 3), (5, 3)])
def test_an_empty_cluster_gets_every_topic(brokers: int, replication: int) -> None:
    found = plan(empty(brokers), PARTITIONS, None)
    assert found.to_make == list(TOPICS)
    assert found.replication == replication
    assert not found.left_alone
    assert not found.differing


def test_two_brokers_are_asked_about_because_a_third_may_be_away() -> None:
    with pytest.raises(CannotCreate, match="start the third, or choose --replication 2") as caught:
        plan(empty(2), PARTITIONS, None)
    assert "bật thêm máy chủ thứ ba" in caught.value.vi
    assert plan(empty(2), PARTITIONS, 2).replication == 2


@pytest.mark.parametrize(
    ("brokers", "replication", "words"),
    [
        (1, 3, "there are only 1 brokers"),
        (3, 4, "there are only 3 brokers"),
        (3, 1, "at least 3 replicas"),
        (3, 2, "at least 3 replicas"),
        (2, 1, "at least 2 replicas"),
    ],
)
def test_a_replication_that_cannot_be_or_would_not_do_is_refused(
    brokers: int, replication: int, words: str
) -> None:
    with pytest.raises(CannotCreate, match=words):
        plan(empty(brokers), PARTITIONS, replication)


def test_more_replicas_than_three_may_be_asked_for() -> None:
    assert plan(empty(5), PARTITIONS, 5).replication == 5


def test_topics_that_are_there_are_left_alone_and_compared() -> None:
    found = as_wanted()
    without_events = replace(
        found, topics={k: v for k, v in found.topics.items() if k != DOSSIER_EVENTS.name}
    )
    planned = plan(with_config(without_events, "dead.letters", retention__ms="1"), PARTITIONS, None)
    assert planned.to_make == [DOSSIER_EVENTS]
    assert planned.left_alone == [topic for topic in TOPICS if topic is not DOSSIER_EVENTS]
    (difference,) = planned.differing
    assert (difference.topic, difference.field) == ("dead.letters", "retention.ms")


def test_as_a_dictionary_it_names_every_setting() -> None:
    told = as_dict(plan(empty(1), PARTITIONS, None), dry_run=True)
    assert told["dry_run"] is True
    made = told["made"]
    assert isinstance(made, dict)
    assert made["dossier.events"]["min.insync.replicas"] == "1"
    assert made["dossier.events"]["retention.ms"] == "-1"


async def test_the_embedded_broker_is_refused() -> None:
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1", embedded=True)
    with pytest.raises(CannotCreate, match="given its topics when it starts"):
        await create(kafka, replication=None, dry_run=False)
