"""Topics are asked about before Faust starts; every problem is named."""

from __future__ import annotations

import pytest

from schemas.topics import TOPICS
from streams.embedded_broker import EmbeddedBroker
from streams.settings import KafkaSettings
from streams.topic_check import (
    BrokerUnreachable,
    TopicsUnfit,
    require_nothing_dropped,
    require_topics,
)


async def test_missing_topics_and_wrong_partitions_are_all_named() -> None:
    present = {topic.name: 4 for topic in TOPICS[1:]} | {TOPICS[-1].name: 3}
    with EmbeddedBroker(present) as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap, embedded=True, partitions=4)
        with pytest.raises(TopicsUnfit) as caught:
            await require_topics(kafka)
        text = str(caught.value)
        assert f"topic {TOPICS[0].name} does not exist: create it with 4 partitions" in text
        assert f"topic {TOPICS[-1].name} has 3 partitions" in text
        assert TOPICS[1].name not in text
        broker.create_topic(TOPICS[0].name, 4)
        await require_nothing_dropped(kafka)


async def test_a_broker_that_does_not_answer() -> None:
    with pytest.raises(BrokerUnreachable, match="THONGSUOT_KAFKA__BOOTSTRAP_SERVERS"):
        await require_topics(KafkaSettings(bootstrap_servers="127.0.0.1:1"))
