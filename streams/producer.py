"""Writing to Kafka: a write counts only when the broker has confirmed it.

Faust's own `send` loses silently, so every flow writes through this producer and awaits it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

_LINGER_MS = 2  # lets the records of one batch travel together
_MOST_REQUEST_BYTES = 4 * 1024 * 1024


class NotConfirmed(Exception):
    """The broker did not confirm every record in time: some of them may be there all the same."""


class TooLarge(Exception):
    """The broker refuses a record of this size; sending it again will not help."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to write. The key decides the partition, so that a dossier keeps its order."""

    topic: str
    key: bytes
    value: bytes = field(repr=False)


class Producer:
    """acks=all, idempotent. `connection` are aiokafka's connection settings."""

    def __init__(self, connection: dict[str, Any], *, timeout: float) -> None:
        self._timeout = timeout
        self._producer = AIOKafkaProducer(
            **connection,
            acks="all",
            enable_idempotence=True,
            linger_ms=_LINGER_MS,
            max_request_size=_MOST_REQUEST_BYTES,
            request_timeout_ms=int(timeout * 1000),
        )

    async def start(self) -> None:
        """Connect. Raises `NotConfirmed` when no broker answers."""
        try:
            await asyncio.wait_for(self._producer.start(), self._timeout)
        except (KafkaError, TimeoutError) as error:
            await self._producer.stop()
            raise NotConfirmed(f"no broker answers: {type(error).__name__}") from None

    async def produce(self, records: Sequence[Outgoing]) -> None:
        """Write all records, in this order within a key; return when all are confirmed.

        Raises `NotConfirmed` (also when it is unknown whether they were written: an idempotent
        producer does not come back while too few brokers are up) or `TooLarge`.
        """
        if not records:
            return
        try:
            await asyncio.wait_for(self._write(records), self._timeout)
        except MessageSizeTooLargeError as error:
            raise TooLarge(f"topic {records[0].topic}: {error}") from None
        except (KafkaError, TimeoutError) as error:
            raise NotConfirmed(f"topic {records[0].topic}: {type(error).__name__}") from None

    async def _write(self, records: Sequence[Outgoing]) -> None:
        futures = []
        try:
            for record in records:
                futures.append(
                    await self._producer.send(record.topic, record.value, key=record.key)
                )
            await asyncio.gather(*futures)
        finally:
            for future in futures:
                if future.done() and not future.cancelled():
                    future.exception()  # seen: one failure is enough to report
                else:
                    future.add_done_callback(_seen)

    async def stop(self, timeout: float) -> None:
        """Disconnect, within `timeout` seconds."""
        stopping = asyncio.create_task(self._producer.stop())
        await asyncio.wait({stopping}, timeout=timeout)
        if not stopping.done():
            stopping.cancel()


def _seen(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
