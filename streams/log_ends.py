"""Which log it is and how much of it there is, over connections of its own.

On Faust's connection each question would wait behind a fetch, for up to 1.5 s; a rebalance asks several.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.kafka_clients import aiokafka_connection
from streams.settings import KafkaSettings
from streams.topic_check import BrokerUnreachable, topic_ids

Place = tuple[str, int]
"""A topic and one of its partitions."""


class LogAway(Exception):
    """The broker did not say within the time."""


class LogEnds:
    """Use `start` first. Every method raises `LogAway`; `seconds` is how long it may take."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._consumer: AIOKafkaConsumer | None = None

    async def start(self, seconds: float) -> None:
        """Connect."""
        consumer = AIOKafkaConsumer(**aiokafka_connection(self._kafka))
        try:
            await asyncio.wait_for(consumer.start(), seconds)
        except (KafkaError, TimeoutError) as error:
            await consumer.stop()
            raise LogAway(f"no broker answers: {type(error).__name__}") from None
        self._consumer = consumer

    async def stop(self) -> None:
        """Disconnect. Safe to call twice."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def topic_ids(self, seconds: float) -> Mapping[str, str]:
        """See `streams.topic_check.topic_ids`."""
        try:
            async with asyncio.timeout(seconds):
                return await topic_ids(self._kafka)
        except (BrokerUnreachable, TimeoutError) as error:
            raise LogAway(type(error).__name__) from None

    async def ends(self, places: Collection[Place], seconds: float) -> Mapping[Place, int]:
        """One past the last offset of each partition."""
        return {place: end for place, (_, end) in (await self.bounds(places, seconds)).items()}

    async def bounds(
        self, places: Collection[Place], seconds: float
    ) -> Mapping[Place, tuple[int, int]]:
        """The first offset that is still there, and one past the last."""
        if not places:
            return {}
        assert self._consumer is not None, "start comes first"
        tps = [TopicPartition(*place) for place in places]
        try:
            async with asyncio.timeout(seconds):
                starts, ends = await asyncio.gather(
                    self._consumer.beginning_offsets(tps), self._consumer.end_offsets(tps)
                )
        except (KafkaError, TimeoutError) as error:
            raise LogAway(type(error).__name__) from None
        return {(tp.topic, tp.partition): (starts[tp], ends[tp]) for tp in tps}
