from __future__ import annotations

import pytest

from schemas.avro import packaged
from schemas.topics import (
    BY_NAME,
    DEAD_LETTERS,
    DOSSIER_EVENTS,
    REPLICATION,
    REPORT_PACKETS,
    TOPICS,
    Topic,
)


def test_the_catalogue_follows_the_way_of_a_dossier() -> None:
    assert [topic.name for topic in TOPICS] == [
        "onestop.notices",
        "dossier.events",
        "dead.letters",
        "delivery.receipts",
        "indicator.observations",
        "report.packets",
    ]
    assert list(BY_NAME) == [topic.name for topic in TOPICS]
    assert [topic.subject for topic in TOPICS] == [f"{name}-value" for name in BY_NAME]


def test_every_record_has_a_topic_and_every_topic_a_published_record() -> None:
    assert {topic.record for topic in TOPICS} == set(packaged.BY_CLASS)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_topics_are_neither_compacted_nor_open_to_loss(topic: Topic) -> None:
    config = topic.config()
    assert config["cleanup.policy"] == "delete"
    assert 1 < int(config["min.insync.replicas"]) < REPLICATION
    assert topic.config(replication=1)["min.insync.replicas"] == "1"


def test_events_and_reports_are_kept_for_good_and_nothing_else() -> None:
    kept = [DOSSIER_EVENTS, REPORT_PACKETS]
    assert {topic.config()["retention.ms"] for topic in kept} == {"-1"}
    assert [topic for topic in TOPICS if topic.retention_ms < 0] == kept


def test_a_dead_letter_can_hold_the_largest_message_whole() -> None:
    sealing_and_fields = 64 * 1024
    for topic in TOPICS:
        if topic is not DEAD_LETTERS:
            assert topic.max_message_bytes + sealing_and_fields < DEAD_LETTERS.max_message_bytes
