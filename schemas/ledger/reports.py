"""What people and metrics ask of the ledger. Runs beside the flow, on a connection of its own."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    LABEL_STYLE_TABLENAME_PLUS_COL,
    Connection,
    and_,
    distinct,
    exists,
    func,
    or_,
    select,
    union,
)

from schemas.ledger.dialect import AnyRow
from schemas.ledger.model import (
    DeliveryState,
    Finding,
    FoundRow,
    Outcome,
    TargetCounts,
    TraceEntry,
)
from schemas.ledger.packets import SOURCE
from schemas.ledger.tables import (
    OPEN_DELIVERY,
    PARKED_DELIVERY,
    attempts,
    dead_letters,
    deliveries,
    dossier_aliases,
    dossiers,
    events,
    timeline,
)
from schemas.ledger.tables import findings as findings_table
from schemas.reasons import Reason

_ORDER = ("event", "dead_letter", "delivery", "attempt", "receipt", "finding")


def counts(connection: Connection) -> list[TargetCounts]:
    """How every target stands, by name."""
    by_state: dict[str, dict[tuple[DeliveryState, str], int]] = defaultdict(dict)
    reason = func.coalesce(deliveries.c.reason, "").label("why")
    for row in connection.execute(
        select(deliveries.c.target, deliveries.c.state, reason, func.count().label("n")).group_by(
            deliveries.c.target, deliveries.c.state, reason
        )
    ):
        by_state[row.target][DeliveryState(row.state), row.why] = row.n
    parked: dict[str, dict[str, int]] = defaultdict(dict)
    for row in connection.execute(
        select(
            deliveries.c.target, reason, func.count(distinct(deliveries.c.dossier_id)).label("n")
        )
        .where(PARKED_DELIVERY)
        .group_by(deliveries.c.target, reason)
    ):
        parked[row.target][row.why] = row.n
    oldest: dict[str, datetime] = {
        row.target: row.oldest
        for row in connection.execute(
            select(deliveries.c.target, func.min(events.c.effective_at).label("oldest"))
            .join(
                events,
                and_(
                    events.c.event_id == deliveries.c.event_id,
                    events.c.source_day == deliveries.c.source_day,
                ),
            )
            .where(OPEN_DELIVERY, deliveries.c.state != DeliveryState.PARKED.value)
            .group_by(deliveries.c.target)
        )
    }
    return [
        TargetCounts(
            target=target,
            deliveries=by_state[target],
            parked_dossiers=parked.get(target, {}),
            oldest_open_at=oldest.get(target),
        )
        for target in sorted(by_state)
    ]


def event_counts(connection: Connection) -> dict[str, int]:
    """Totals, without the reports': they are no dossiers, and only "packets" counts them.

    "attempts_asked": closed although their maker could not say how they ended.
    """
    of_a_dossier = exists().where(dossiers.c.dossier_id == attempts.c.dossier_id)

    def count(table: Any, *where: Any) -> int:
        query = select(func.count()).select_from(table).where(*where)
        return int(connection.execute(query).scalar_one())

    return {
        "events": count(events, events.c.source != SOURCE),
        "dossiers": count(dossiers),
        "dead_letters": count(dead_letters),
        "packets": count(events, events.c.source == SOURCE),
        "attempts": count(attempts, of_a_dossier),
        "attempts_asked": count(
            attempts,
            of_a_dossier,
            attempts.c.closed_at.is_not(None),
            or_(attempts.c.outcome.is_(None), attempts.c.outcome == Outcome.UNKNOWN.value),
        ),
    }


def open_dead_letters(connection: Connection) -> dict[str, int]:
    """Dead letters by reason."""
    query = select(dead_letters.c.reason, func.count()).group_by(dead_letters.c.reason)
    return {row[0]: row[1] for row in connection.execute(query)}


def findings(connection: Connection) -> list[FoundRow]:
    """What verifications found at the targets, oldest first."""
    return [
        FoundRow(
            target=row.target,
            dossier_id=row.dossier_id,
            at=row.found_at,
            finding=Finding(
                finding_id=row.finding_id,
                reason=Reason(row.reason),
                delivery_id=row.delivery_id,
                step_key=row.step_key,
                detail=row.detail,
            ),
        )
        for row in connection.execute(
            select(findings_table).order_by(findings_table.c.found_at, findings_table.c.finding_id)
        )
    ]


def find_dossier(connection: Connection, number: str) -> list[str]:
    """Internal ids of the dossiers known by this number."""
    found = union(
        select(dossiers.c.dossier_id).where(
            or_(dossiers.c.code == number, dossiers.c.dossier_id == number)
        ),
        select(dossier_aliases.c.dossier_id).where(dossier_aliases.c.value == number),
    )
    return sorted(connection.execute(found).scalars())


def trace(connection: Connection, dossier_id: str) -> list[TraceEntry]:
    """The whole story of one dossier or report, oldest first."""
    entries: list[tuple[datetime, int, int, TraceEntry]] = []

    def tell(at: datetime, kind: str, rank: int, facts: Mapping[str, Any]) -> None:
        shown = {name: _shown(value) for name, value in facts.items() if value is not None}
        entries.append((at, _ORDER.index(kind), rank, TraceEntry(at=at, kind=kind, facts=shown)))

    for row in connection.execute(
        select(*(c for c in events.c if c.name != "payload"), timeline)
        .outerjoin(
            timeline,
            and_(
                timeline.c.event_id == events.c.event_id,
                timeline.c.source_day == events.c.source_day,
            ),
        )
        .where(events.c.dossier_id == dossier_id)
        .set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
    ):
        tell(row.events_effective_at, "event", row.events_log_pos, _event_facts(row))
    for row in connection.execute(select(deliveries).where(deliveries.c.dossier_id == dossier_id)):
        tell(row.enlisted_at, "delivery", row.delivery_id, _delivery_facts(row))
        if row.state == DeliveryState.DELIVERED.value:
            tell(row.settled_at, "receipt", row.delivery_id, _receipt_facts(row))
    for row in connection.execute(select(attempts).where(attempts.c.dossier_id == dossier_id)):
        tell(row.started_at, "attempt", 0, _attempt_facts(row))
    for row in connection.execute(
        select(findings_table).where(findings_table.c.dossier_id == dossier_id)
    ):
        tell(row.found_at, "finding", 0, _finding_facts(row))
    for row in connection.execute(
        select(dead_letters).where(dead_letters.c.dossier_id == dossier_id)
    ):
        tell(row.recorded_at, "dead_letter", row.log_pos, _dead_letter_facts(row))
    entries.sort(key=lambda entry: entry[:3])
    return [entry for _, _, _, entry in entries]


def _event_facts(row: AnyRow) -> dict[str, Any]:
    return {
        "event_id": row.events_event_id,
        "kind": row.events_kind,
        "source": row.events_source,
        "feed": row.events_feed,
        "log": f"{row.events_topic}/{row.events_partition}/{row.events_log_pos}",
        "version": row.events_version,
        "action_id": row.timeline_action_id,
        "action_code": row.timeline_action_code,
        "step_code": row.timeline_step_code,
        "status": row.timeline_status,
        "sub_status": row.timeline_sub_status,
        "recorded_at": row.events_recorded_at,
        "enlisted_at": row.events_enlisted_at,
    }


def _delivery_facts(row: AnyRow) -> dict[str, Any]:
    return {
        "delivery_id": row.delivery_id,
        "event_id": row.event_id,
        "target": row.target,
        "operation": row.operation,
        "version": row.version,
        "state": row.state,
        "reason": row.reason,
        "detail": row.detail,
        "settled_at": row.settled_at,
        "attempt_id": row.attempt_id,
    }


def _receipt_facts(row: AnyRow) -> dict[str, Any]:
    return {
        "delivery_id": row.delivery_id,
        "event_id": row.event_id,
        "target": row.target,
        "operation": row.operation,
        "attempt_id": row.attempt_id,
        "published": row.receipt == "published",
    }


def _attempt_facts(row: AnyRow) -> dict[str, Any]:
    return {
        "attempt_id": row.attempt_id,
        "target": row.target,
        "kind": row.kind,
        "deliveries": " ".join(str(i) for i in json.loads(row.delivery_ids)),
        "version": row.version,
        "outcome": row.outcome,
        "outcome_at": row.outcome_at,
        "reason": row.reason,
        "detail": row.detail,
        "reference": row.reference,
        "closed_at": row.closed_at,
    }


def _finding_facts(row: AnyRow) -> dict[str, Any]:
    return {
        "finding_id": row.finding_id,
        "target": row.target,
        "reason": row.reason,
        "delivery_id": row.delivery_id,
        "detail": row.detail,
    }


def _dead_letter_facts(row: AnyRow) -> dict[str, Any]:
    return {
        "log": f"{row.topic}/{row.partition}/{row.log_pos}",
        "reason": row.reason,
        "detail": row.detail,
        "first_at": row.first_at,
    }


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else str(value)
