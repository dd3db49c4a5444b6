"""Looked at before a process owns anything: is the ledger still the one that the log was written with?

It is not when the database is another (a restore, a fail-over), and not when the log knows of something
that the ledger lacks. Then what the lost time may have sent is found out before anything is sent; how the
ledger does that is in `schemas.ledger.restore`. Every process that starts does this; the first one to be
done has done it for all, and whoever dies meanwhile leaves it to the next.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from monitoring.events import Events
from monitoring.metrics import Flow
from schemas.codec import Codec, UndecodableMessage
from schemas.ledger.restore import LogFound
from schemas.ledger.sql import SqlLedger
from schemas.records import DeliveryReceipt, DossierEvent, Notice, ReportPacket
from schemas.registry import UnknownSchemaId
from schemas.sealing import Sealer, SealError, key_id_in, unwrapped
from schemas.topics import DELIVERY_RECEIPTS, ONESTOP_NOTICES, OWING, Topic
from streams.kafka_clients import aiokafka_connection
from streams.settings import KafkaSettings
from streams.topic_check import BrokerUnreachable, topic_ids

_ANSWER_SECONDS = 30.0
_POLL_MS = 200
_MARGIN = timedelta(days=1)
"""Between the database's clock and the clocks of those who wrote the log."""


class MissingKeys(SealError):
    """The log was sealed with a data key that the ledger does not hold."""

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"the log is sealed with the data key {key_id}, and the ledger, which was restored, does not hold"
            " it: bring it back from the last export (thongsuot keys import FILE), or restore a copy of"
            " the ledger that is younger than this month's key; nothing is sent until then"
        )
        self.key_id = key_id


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTail:
    """The last record of every partition: what the log knows last. `sealed`: bytes and whose they are."""

    receipts: Sequence[DeliveryReceipt]
    read_seqs: Mapping[str, int]
    sealed: Sequence[tuple[bytes, str]]


@dataclass(slots=True)
class _Understood:
    records: list[Any] = field(default_factory=list)
    unread: int = 0


async def restore_if_needed(
    ledger: SqlLedger, kafka: KafkaSettings, codec: Codec, master_key: bytes, events: Events
) -> None:
    """Make the ledger safe to work with. Raises `MissingKeys`, `BrokerUnreachable`, or as the ledger does."""
    tail = await log_tail(kafka, codec)
    if ledger.identity.changed:
        why = "the database is another one than the ledger remembers"
    elif await ledger.is_older_than_log(tail.receipts, tail.read_seqs):
        why = "the log knows of deliveries or pages that the ledger lacks"
    else:
        return
    await ledger.begin_restore()
    events.restore_began(why=why, generation=ledger.identity.generation)
    require_keys(await ledger.wrapped_keys(), master_key, tail.sealed)
    # No fence of the lost time holds any more: what it enlisted lies before these ends.
    found, unread = await _read_receipts(ledger, kafka, codec)
    logs = await _logs(kafka)
    await ledger.finish_restore(flow=Flow.LEDGER, logs=logs, read_seqs=tail.read_seqs)
    held = await ledger.held_partitions()
    partitions = sum(len(log.ends) for log in logs.values())
    events.restore_finished(receipts=found, unread=unread, partitions=partitions, held=held)


async def _logs(kafka: KafkaSettings) -> Mapping[str, LogFound]:
    """The topics from which deliveries come into the ledger, as they are now."""
    ids = await topic_ids(kafka)
    found: dict[str, LogFound] = {}
    async with _reader(kafka) as consumer:
        for topic in OWING:
            ends = await _ends(consumer, kafka, topic)
            found[topic.name] = LogFound(
                topic_id=ids.get(topic.name),
                ends={tp.partition: end for tp, end in ends.items()},
            )
    return found


def require_keys(
    wrapped: Mapping[str, bytes], master_key: bytes, sealed: Sequence[tuple[bytes, str]]
) -> None:
    """Raise `MissingKeys` unless what the log holds of its newest month can be opened.

    Keys of older months may have been dropped on purpose. A key that the restored ledger has made anew
    under the same name is another key.
    """
    named = [(key_id, body, owner) for body, owner in sealed if (key_id := key_id_in(body))]
    newest = max((key_id for key_id, _, _ in named), default=None)
    if newest is None:
        return
    if newest not in wrapped:
        raise MissingKeys(newest)
    sealer = Sealer(unwrapped(master_key, wrapped), newest)
    for key_id, body, owner in named:
        if key_id == newest:
            try:
                sealer.open(body, owner)
            except SealError:
                raise MissingKeys(newest) from None


async def log_tail(kafka: KafkaSettings, codec: Codec) -> LogTail:
    """The last record of every partition of the topics that tell. Raises `BrokerUnreachable`."""
    understood = _Understood()
    async with _reader(kafka) as consumer:
        for topic in (DELIVERY_RECEIPTS, ONESTOP_NOTICES, *OWING):
            ends = await _ends(consumer, kafka, topic)
            starts = await consumer.beginning_offsets(list(ends))
            places = {tp: end - 1 for tp, end in ends.items() if end > starts[tp]}
            async for records in _read(consumer, places, ends):
                await _understand(codec, records, understood)
    read_seqs: dict[str, int] = {}
    for record in understood.records:
        if isinstance(record, Notice | DossierEvent):
            read_seqs[record.source] = max(read_seqs.get(record.source, 0), record.read_seq)
    return LogTail(
        receipts=[r for r in understood.records if isinstance(r, DeliveryReceipt)],
        read_seqs=read_seqs,
        sealed=[
            (r.sealed, r.report_id if isinstance(r, ReportPacket) else r.dossier_id)
            for r in understood.records
            if isinstance(r, Notice | DossierEvent | ReportPacket) and r.sealed
        ],
    )


async def _read_receipts(ledger: SqlLedger, kafka: KafkaSettings, codec: Codec) -> tuple[int, int]:
    """Give the ledger every receipt since its last own. Returns how many it lacked, and how many nobody

    can read: those deliveries are asked about like all that have none.
    """
    newest = await ledger.newest_settled()
    found = unread = 0
    async with _reader(kafka) as consumer:
        ends = await _ends(consumer, kafka, DELIVERY_RECEIPTS)
        places = await _since(consumer, kafka, list(ends), newest)
        async for records in _read(consumer, places, ends):
            understood = _Understood()
            await _understand(codec, records, understood)
            found += await ledger.add_receipts(understood.records)
            unread += understood.unread
    return found, unread


async def _since(
    consumer: Any, kafka: KafkaSettings, tps: Sequence[TopicPartition], newest: datetime | None
) -> dict[TopicPartition, int]:
    starts: dict[TopicPartition, int] = await consumer.beginning_offsets(tps)
    if newest is None or kafka.embedded:  # the embedded broker does not look offsets up by time
        return starts
    at = int((newest - _MARGIN - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))
    found = await consumer.offsets_for_times({tp: at for tp in tps})
    return {tp: place.offset for tp, place in found.items() if place is not None}


@asynccontextmanager
async def _reader(kafka: KafkaSettings) -> AsyncIterator[Any]:
    """A consumer of no group. Whatever the broker does not do in time is `BrokerUnreachable`."""
    consumer = AIOKafkaConsumer(**aiokafka_connection(kafka), enable_auto_commit=False)
    try:
        await asyncio.wait_for(consumer.start(), _ANSWER_SECONDS)
        yield consumer
    except (KafkaError, TimeoutError) as error:
        raise BrokerUnreachable(
            f"the log cannot be read from {kafka.bootstrap_servers} ({type(error).__name__}): check "
            "THONGSUOT_KAFKA__BOOTSTRAP_SERVERS and the rights on the hub's topics"
        ) from None
    finally:
        await consumer.stop()


async def _ends(consumer: Any, kafka: KafkaSettings, topic: Topic) -> dict[TopicPartition, int]:
    tps = [TopicPartition(topic.name, number) for number in range(kafka.partitions)]
    consumer.assign(tps)
    ends: dict[TopicPartition, int] = await consumer.end_offsets(tps)
    return ends


async def _read(
    consumer: Any,
    places: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
) -> AsyncIterator[Collection[Any]]:
    """The records from these places to the ends, in pieces."""
    left = {tp for tp, place in places.items() if place < ends[tp]}
    if not left:
        return
    consumer.assign(list(left))
    for tp in left:
        consumer.seek(tp, places[tp])
    give_up = time.monotonic() + _ANSWER_SECONDS
    while left:
        found = await consumer.getmany(*left, timeout_ms=_POLL_MS)
        records = [r for tp, some in found.items() for r in some if r.offset < ends[tp]]
        if records:
            give_up = time.monotonic() + _ANSWER_SECONDS
            yield records
        elif time.monotonic() > give_up:
            raise TimeoutError
        for tp in list(left):
            if await consumer.position(tp) >= ends[tp]:
                left.discard(tp)


async def _understand(codec: Codec, records: Collection[Any], into: _Understood) -> None:
    for record in records:
        try:
            into.records.append(await codec.decode(record.value or b""))
        except (UndecodableMessage, UnknownSchemaId):
            into.unread += 1
