"""The receipts' outbox: a column of the delivery, emptied at least once."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from schemas.ledger.tables import RECEIPT_OWED, attempts, deliveries, dossiers, events
from schemas.ledger.work import chunks
from schemas.records import DeliveryReceipt


def unpublished(connection: Connection, limit: int) -> list[DeliveryReceipt]:
    """Receipts not yet published, oldest first."""
    query = (
        select(
            deliveries.c.delivery_id,
            deliveries.c.event_id,
            deliveries.c.dossier_id,
            deliveries.c.target,
            deliveries.c.operation,
            deliveries.c.attempt_id,
            deliveries.c.settled_at,
            dossiers.c.code,
            attempts.c.reference,
            events.c.effective_at,
        )
        .join(events, events.c.event_id == deliveries.c.event_id)
        .outerjoin(dossiers, dossiers.c.dossier_id == deliveries.c.dossier_id)
        .outerjoin(attempts, attempts.c.attempt_id == deliveries.c.attempt_id)
        .where(RECEIPT_OWED)
        .order_by(deliveries.c.settled_at, deliveries.c.delivery_id)
        .limit(limit)
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
