"""Writing to Kafka: a write counts only when the broker has confirmed it.

Faust's own `send` loses silently, so every flow writes through this producer and awaits it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
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
    """acks=all, idempotent. `connection` are aiokafka's connection settings.

    After a write that failed the next one begins with a new producer: an idempotent one whose record the
    brokers did not take in its turn is refused from then on (`OutOfOrderSequenceNumber`), and one that
    waits for too few brokers would still write what its callers have long given up.
    """

    def __init__(self, connection: dict[str, Any], *, timeout: float) -> None:
        self._timeout = timeout
        self._settings: dict[str, Any] = {
            **connection,
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": _LINGER_MS,
            "max_request_size": _MOST_REQUEST_BYTES,
            "request_timeout_ms": int(timeout * 1000),
        }
        self._producer = AIOKafkaProducer(**self._settings)
        self._spent = False
        self._renewing = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()

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
        producer: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(self._timeout):
                producer = await self._usable()
                await _write(producer, records)
        except MessageSizeTooLargeError as error:
            self._spend(producer)
            raise TooLarge(f"topic {records[0].topic}: {error}") from None
        except (KafkaError, TimeoutError) as error:
            self._spend(producer)
            raise NotConfirmed(f"topic {records[0].topic}: {type(error).__name__}") from None

    def _spend(self, producer: AIOKafkaProducer | None) -> None:
        """Another one takes its place, unless that has happened already."""
        self._spent = self._spent or producer is self._producer

    async def _usable(self) -> AIOKafkaProducer:
        """The producer; a new one in the place of one that failed."""
        async with self._renewing:
            if self._spent:
                fresh = AIOKafkaProducer(**self._settings)
                try:
                    await fresh.start()
                except BaseException:
                    await fresh.stop()
                    raise
                self._end_soon(self._producer)
                self._producer, self._spent = fresh, False
            return self._producer

    def _end_soon(self, spent: AIOKafkaProducer) -> None:
        ending = asyncio.create_task(_end(spent))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def stop(self, timeout: float) -> None:
        """Disconnect, within `timeout` seconds."""
        stopping = {asyncio.create_task(self._producer.stop()), *self._ending}
        await asyncio.wait(stopping, timeout=timeout)
        for late in stopping:
            late.cancel()


async def _write(producer: AIOKafkaProducer, records: Sequence[Outgoing]) -> None:
    futures = []
    try:
        for record in records:
            futures.append(await producer.send(record.topic, record.value, key=record.key))
        await asyncio.gather(*futures)
    finally:
        for future in futures:
            if future.done() and not future.cancelled():
                future.exception()  # seen: one failure is enough to report
            else:
                future.add_done_callback(_seen)


async def _end(spent: AIOKafkaProducer) -> None:
    """Its `stop` alone waits until everything is written, which may be never."""
    sending = spent._sender.sender_task
    if sending is not None:
        sending.cancel()
    with suppress(KafkaError):
        await spent.stop()


def _seen(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
