"""The outbox: marked as published only when the broker has confirmed; at least once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from schemas.ledger.model import Fence, LedgerUnavailable
from schemas.records import DeliveryReceipt
from streams.receipts import Receipts
from tests.unit.streams.kit import AT, MemoryTopic, RecordingLogger, events

MINE = (Fence(flow="ledger", topic="dossier.events", partition=3, owner="a", epoch=1),)


def receipt(number: int) -> DeliveryReceipt:
    return DeliveryReceipt(
        delivery_id=number,
        event_id=f"e{number}",
        dossier_id="d1",
        dossier_code=None,
        target="national_portal",
        operation="state",
        attempt_id=None,
        reference=None,
        effective_at=AT,
        delivered_at=AT,
    )


class Outbox:
    def __init__(self, count: int) -> None:
        self.left = {n: receipt(n) for n in range(count)}
        self.away = 0
        self.asked_for: list[Sequence[Fence] | None] = []

    async def unpublished(
        self, limit: int, fences: Sequence[Fence] | None = None
    ) -> Sequence[DeliveryReceipt]:
        if self.away:
            self.away -= 1
            raise LedgerUnavailable("away")
        self.asked_for.append(fences)
        return list(self.left.values())[:limit]

    async def mark_published(self, delivery_ids: Sequence[int]) -> None:
        for number in delivery_ids:
            del self.left[number]


async def published(outbox: Any, topic: Any) -> RecordingLogger:
    log = RecordingLogger()
    service = Receipts(
        ledger=outbox,
        fences=lambda: MINE,
        producer=topic,
        encode=lambda record: record.event_id.encode(),
        events=events(log),
        idle=0.01,
        trouble=0.01,
    )
    task = asyncio.create_task(service.run())
    async with asyncio.timeout(5):
        while outbox.left:
            await asyncio.sleep(0.005)
    service.stop()
    await task
    return log


async def test_everything_is_published_oldest_first() -> None:
    outbox, topic = Outbox(1200), MemoryTopic()
    await published(outbox, topic)
    assert [record.value for record in topic.records] == [b"e%d" % n for n in range(1200)]
    assert {record.key for record in topic.records} == {b"d1"}
    assert set(outbox.asked_for) == {MINE}, "others publish what is not ours"


async def test_what_the_broker_did_not_confirm_is_published_again() -> None:
    outbox, topic = Outbox(2), MemoryTopic(unconfirmed=1)
    outbox.away = 1
    log = await published(outbox, topic)
    assert [record.value for record in topic.records] == [b"e0", b"e1"] * 2
    assert len(log.of("flow_waiting")) == 1
