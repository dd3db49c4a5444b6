"""What became of the revisions of a report. Reads deliveries and attempts, and nothing of what they hold."""

from __future__ import annotations

import json
from collections import Counter

from sqlalchemy import Connection, select

from schemas.ledger.model import DeliveryState, ReportDelivery
from schemas.ledger.packets import SOURCE
from schemas.ledger.tables import attempts, deliveries, events
from schemas.reasons import Reason


def find_report(connection: Connection, report_id: str) -> list[str]:
    """The report's id, where a packet of it was ever taken in and is kept."""
    query = select(events.c.dossier_id).where(
        events.c.dossier_id == report_id, events.c.source == SOURCE
    )
    return list(connection.execute(query.distinct()).scalars())


def report_deliveries(connection: Connection, report_id: str) -> list[ReportDelivery]:
    """By revision. One that is not here was never taken in, or overtaken before it was, or pruned."""
    made: Counter[int] = Counter()
    references: dict[str, str] = {}
    for attempt in connection.execute(select(attempts).where(attempts.c.dossier_id == report_id)):
        made.update(json.loads(attempt.delivery_ids))
        if attempt.reference is not None:
            references[attempt.attempt_id] = attempt.reference
    query = (
        select(deliveries)
        .where(deliveries.c.dossier_id == report_id)
        .order_by(deliveries.c.version, deliveries.c.target)
    )
    return [
        ReportDelivery(
            revision=row.version,
            target=row.target,
            state=DeliveryState(row.state),
            reason=Reason(row.reason) if row.reason else None,
            detail=row.detail,
            attempts=made[row.delivery_id],
            reference=references.get(row.attempt_id) if row.attempt_id else None,
            enlisted_at=row.enlisted_at,
            settled_at=row.settled_at,
        )
        for row in connection.execute(query)
    ]
