"""The receipts' outbox: a column of the delivery, emptied at least once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection, and_, false, or_, select, update

from schemas.ledger.fences import holding
from schemas.ledger.model import Fence
from schemas.ledger.tables import RECEIPT_OWED, attempts, deliveries, dossiers, events
from schemas.ledger.work import chunks
from schemas.records import DeliveryReceipt


def unpublished(
    connection: Connection, limit: int, fences: Sequence[Fence] | None = None
) -> list[DeliveryReceipt]:
    """Receipts not yet published, oldest first; with `fences` of those partitions that still hold."""
    query = (
        select(
            deliveries.c.delivery_id,
            deliveries.c.event_id,
            deliveries.c.dossier_id,
            deliveries.c.target,
            deliveries.c.operation,
            deliveries.c.attempt_id,
            deliveries.c.settled_at,
            deliveries.c.step_key,
            dossiers.c.code,
            attempts.c.reference,
            events.c.effective_at,
        )
        .join(
            events,
            and_(
                events.c.event_id == deliveries.c.event_id,
                events.c.source_day == deliveries.c.source_day,
            ),
        )
        .outerjoin(dossiers, dossiers.c.dossier_id == deliveries.c.dossier_id)
        .outerjoin(attempts, attempts.c.attempt_id == deliveries.c.attempt_id)
        .where(RECEIPT_OWED)
        .order_by(deliveries.c.settled_at, deliveries.c.delivery_id)
        .limit(limit)
    )
    if fences is not None:
        held: dict[str, list[int]] = defaultdict(list)
        for fence in holding(connection, fences, lock=False):
            held[fence.topic].append(fence.partition)
        query = query.where(
            or_(
                false(),
                *(
                    and_(events.c.topic == topic, deliveries.c.partition.in_(sorted(partitions)))
                    for topic, partitions in sorted(held.items())
                ),
            )
        )
    return [
        DeliveryReceipt(
            delivery_id=row.delivery_id,
            event_id=row.event_id,
            dossier_id=row.dossier_id,
            dossier_code=row.code,
            target=row.target,
            operation=row.operation,
            attempt_id=row.attempt_id,
            reference=row.reference,
            effective_at=row.effective_at,
            delivered_at=row.settled_at,
            step_key=row.step_key,
        )
        for row in connection.execute(query)
    ]


def mark_published(connection: Connection, delivery_ids: Sequence[int]) -> None:
    """The broker has confirmed these."""
    for some in chunks(sorted(delivery_ids)):
        connection.execute(
            update(deliveries)
            .where(deliveries.c.delivery_id.in_(some), RECEIPT_OWED)
            .values(receipt="published")
        )
