"""Reading what the engine has to do: whole dossiers, in a fixed number of queries however many there are."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import (
    BindParameter,
    Connection,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
)

from schemas.ledger.dialect import EPOCH, AnyRow, clock, to_moment, to_seconds
from schemas.ledger.fences import positions_held
from schemas.ledger.model import (
    Attempt,
    AttemptKind,
    DeliveryRow,
    DeliveryState,
    DossierTarget,
    Fence,
    Known,
    Operation,
    Outcome,
    SentStep,
    Verification,
    Work,
)
from schemas.ledger.tables import (
    OPEN_DELIVERY,
    attempts,
    deliveries,
    dossier_target,
    events,
    findings,
)
from schemas.reasons import Reason

STEPS_PER_DOSSIER = 100
"""How many open steps of one dossier are read at once; beyond that `Work.more` is set."""

CHUNK = 500
"""How many ids stand in one IN (...)."""

T = TypeVar("T")


def runnable(
    connection: Connection,
    target: str,
    fences: Sequence[Fence],
    limit: int,
    exclude: frozenset[str],
) -> list[Work]:
    """Dossiers with something to do now, nearest legal deadline first, none known last."""
    rows = positions_held(connection, fences, lock=False, shared=False)
    # After a restore a partition rests until its log has been read to where it ended then.
    held = [fence for fence, row in rows.items() if row.verify_until is None]
    if not held or limit <= 0:
        return []
    chosen = _choose(connection, target, held, limit, exclude)
    return _load(connection, target, chosen)


def reload(connection: Connection, target: str, dossier_id: str) -> Work:
    """One dossier, runnable or not. Raises `KeyError` when nothing was ever owed for it."""
    works = _load(connection, target, [dossier_id])
    if not works:
        raise KeyError(f"dossier {dossier_id} is not in the ledger for {target}")
    return works[0]


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """The items in pieces that fit one statement."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


_chosen = (
    select(dossier_target.c.dossier_id, dossier_target.c.deadline)
    .where(
        dossier_target.c.target == bindparam("target"),
        dossier_target.c.topic == bindparam("topic"),
        dossier_target.c.partition.in_(bindparam("partitions", expanding=True)),
    )
    .order_by(dossier_target.c.deadline.asc().nulls_last(), dossier_target.c.dossier_id)
    .limit(bindparam("enough", type_=Integer()))
)
_AWAKE = _chosen.where(dossier_target.c.runnable)
_WOKEN = _chosen.where(
    dossier_target.c.wake_at.is_not(None),
    dossier_target.c.wake_at <= bindparam("now", type_=dossier_target.c.wake_at.type),
    ~dossier_target.c.runnable,
)


def _choose(
    connection: Connection, target: str, held: Iterable[Fence], limit: int, exclude: frozenset[str]
) -> list[str]:
    partitions: dict[str, list[int]] = defaultdict(list)
    for fence in held:
        partitions[fence.topic].append(fence.partition)
    now = to_moment(clock(connection))
    # The dossiers left out are those the engine has in hand; they come first again, so read past them.
    # That is cheaper than thousands of ids in the statement.
    enough = limit + len(exclude)
    found: list[tuple[bool, datetime | None, str]] = []
    for topic, members in sorted(partitions.items()):
        given = {"target": target, "topic": topic, "partitions": sorted(members), "enough": enough}
        for query, more in ((_AWAKE, {}), (_WOKEN, {"now": now})):
            found.extend(
                (deadline is None, deadline, dossier_id)
                for dossier_id, deadline in connection.execute(query, given | more)
                if dossier_id not in exclude
            )
    found.sort(key=lambda item: (item[0], item[1] or EPOCH, item[2]))
    return [dossier_id for _, _, dossier_id in found[:limit]]


# Written once: SQLAlchemy needs longer to put such a statement together than the database to answer it.

_some: BindParameter[Any] = bindparam("some", expanding=True)

_DOSSIERS = select(dossier_target).where(
    dossier_target.c.target == bindparam("target"), dossier_target.c.dossier_id.in_(_some)
)

_ATTEMPTS = (
    select(attempts)
    .where(
        attempts.c.target == bindparam("target"),
        attempts.c.dossier_id.in_(_some),
        attempts.c.closed_at.is_(None),
    )
    .order_by(attempts.c.started_at, attempts.c.attempt_id)
)

_STEP_KEYS = (
    select(
        deliveries.c.dossier_id,
        deliveries.c.delivery_id,
        deliveries.c.state,
        deliveries.c.step_key,
    )
    .where(
        deliveries.c.dossier_id.in_(_some),
        deliveries.c.target == bindparam("target"),
        deliveries.c.step_key.is_not(None),
    )
    .order_by(deliveries.c.log_pos, deliveries.c.delivery_id)
)

# A step that was found to stand there more often than it was delivered counts as often.
_DOUBLED = (
    select(findings.c.dossier_id, findings.c.delivery_id, findings.c.step_key)
    .where(
        findings.c.dossier_id.in_(_some),
        findings.c.target == bindparam("target"),
        findings.c.step_key.is_not(None),
    )
    .order_by(findings.c.found_at, findings.c.finding_id)
)

_DELIVERED = (
    select(deliveries)
    .join(
        dossier_target,
        and_(
            dossier_target.c.dossier_id == deliveries.c.dossier_id,
            dossier_target.c.target == deliveries.c.target,
            dossier_target.c.delivered_version == deliveries.c.version,
        ),
    )
    .where(
        deliveries.c.dossier_id.in_(_some),
        deliveries.c.target == bindparam("target"),
        deliveries.c.operation == Operation.STATE.value,
        deliveries.c.state.in_([DeliveryState.DELIVERED.value, DeliveryState.SUPERSEDED.value]),
    )
    .order_by(deliveries.c.log_pos)
)

_PAYLOADS = select(events.c.event_id, events.c.payload).where(
    events.c.event_id.in_(_some),
    # The days say in which partitions to look.
    events.c.source_day.between(bindparam("first_day"), bindparam("last_day")),
)


def _open_rows() -> Select[Any]:
    """All open states, and the first open steps of each dossier (one more than is kept)."""
    stream = case((deliveries.c.operation == Operation.STATE.value, 0), else_=1)
    numbered = (
        select(
            deliveries.c.delivery_id,
            deliveries.c.event_id,
            deliveries.c.source_day,
            deliveries.c.dossier_id,
            deliveries.c.operation,
            deliveries.c.version,
            deliveries.c.log_pos,
            deliveries.c.state,
            deliveries.c.reason,
            stream.label("stream"),
            func.row_number()
            .over(
                partition_by=(deliveries.c.dossier_id, stream),
                order_by=(deliveries.c.log_pos, deliveries.c.delivery_id),
            )
            .label("nth"),
        )
        .where(
            deliveries.c.target == bindparam("target"),
            deliveries.c.dossier_id.in_(_some),
            # A retraction waits for a person and holds nothing back.
            deliveries.c.operation != Operation.RETRACTION.value,
            OPEN_DELIVERY,
        )
        .subquery()
    )
    return (
        select(numbered)
        .where(
            or_(
                numbered.c.stream == 0,
                numbered.c.nth <= STEPS_PER_DOSSIER + 1,
                # What an open attempt covers, which is more than a chunk after a restore.
                numbered.c.state == DeliveryState.SENDING.value,
            )
        )
        .order_by(numbered.c.dossier_id, numbered.c.log_pos, numbered.c.delivery_id)
    )


_OPEN_ROWS = _open_rows()


def _load(connection: Connection, target: str, dossier_ids: Sequence[str]) -> list[Work]:
    dossiers: dict[str, DossierTarget] = {}
    rows: dict[str, list[AnyRow]] = defaultdict(list)
    open_attempts: dict[str, list[Attempt]] = defaultdict(list)
    for some in chunks(dossier_ids):
        given = {"target": target, "some": some}
        for row in connection.execute(_DOSSIERS, given):
            dossiers[row.dossier_id] = _dossier(row)
        for row in connection.execute(_OPEN_ROWS, given):
            rows[row.dossier_id].append(row)
        for row in connection.execute(_ATTEMPTS, given):
            open_attempts[row.dossier_id].append(_attempt(row))
    cut = {dossier_id: _cut(found) for dossier_id, found in rows.items()}
    owed = _owed(dossiers)
    steps = _sent_steps(connection, target, open_attempts, owed)
    delivered = _delivered_rows(connection, target, owed)
    payloads = _payloads(
        connection,
        {
            row.event_id: row.source_day
            for kept, needed, _ in cut.values()
            for row in kept
            if row.event_id in needed
        },
    )
    works = []
    for dossier_id in dossier_ids:
        if dossier_id not in dossiers:
            continue
        kept, needed, more = cut.get(dossier_id, ([], frozenset(), False))
        sent = steps.get(dossier_id, ())
        keys = {step.delivery_id: step.key for step in sent}
        works.append(
            Work(
                dossier=dossiers[dossier_id],
                rows=tuple(
                    _delivery(r, payloads[r.event_id] if r.event_id in needed else b"")
                    for r in kept
                ),
                attempts=tuple(_with_keys(a, keys) for a in open_attempts[dossier_id]),
                more=more,
                sent_steps=sent,
                delivered=delivered.get(dossier_id),
            )
        )
    return works


def _cut(rows: list[AnyRow]) -> tuple[list[AnyRow], frozenset[str], bool]:
    """The rows to hand out, the events whose payload is needed, and whether steps were left out."""
    kept = [
        row
        for row in rows
        if row.stream == 0
        or row.nth <= STEPS_PER_DOSSIER
        or row.state == DeliveryState.SENDING.value
    ]
    states = [row for row in kept if row.stream == 0 and row.state != DeliveryState.PARKED.value]
    needed = {row.event_id for row in kept if row.stream == 1}
    if states:
        needed.add(max(states, key=lambda row: (row.version, row.log_pos)).event_id)
    return kept, frozenset(needed), any(row.nth > STEPS_PER_DOSSIER for row in rows if row.stream)


def _owed(dossiers: Mapping[str, DossierTarget]) -> list[str]:
    """The dossiers with a verification to come: few, for it takes an attempt of unknown outcome."""
    return [d.dossier_id for d in dossiers.values() if d.verification is not None]


def _sent_steps(
    connection: Connection,
    target: str,
    open_attempts: Mapping[str, Sequence[Attempt]],
    owed: Sequence[str],
) -> dict[str, tuple[SentStep, ...]]:
    """Every step ever sent, of dossiers with an open steps attempt or a verification to come."""
    asked = [
        dossier_id
        for dossier_id, found in open_attempts.items()
        if any(attempt.kind is AttemptKind.STEPS for attempt in found)
    ]
    asked = list(dict.fromkeys([*asked, *owed]))
    sent: dict[str, list[SentStep]] = defaultdict(list)
    for some in chunks(asked):
        given = {"target": target, "some": some}
        for row in connection.execute(_STEP_KEYS, given):
            sent[row.dossier_id].append(
                SentStep(
                    delivery_id=row.delivery_id,
                    key=row.step_key,
                    state=DeliveryState(row.state),
                )
            )
        for again in connection.execute(_DOUBLED, given):
            sent[again.dossier_id].append(
                SentStep(
                    delivery_id=again.delivery_id,
                    key=again.step_key,
                    state=DeliveryState.DELIVERED,
                )
            )
    return {dossier_id: tuple(found) for dossier_id, found in sent.items()}


def _delivered_rows(
    connection: Connection, target: str, owed: Sequence[str]
) -> dict[str, DeliveryRow]:
    """The states that the target should hold, of dossiers with a verification to come."""
    rows: dict[str, AnyRow] = {}
    for some in chunks(owed):
        for row in connection.execute(_DELIVERED, {"target": target, "some": some}):
            rows[row.dossier_id] = row  # of several, the last in the log
    payloads = _payloads(connection, {row.event_id: row.source_day for row in rows.values()})
    return {
        dossier_id: _delivery(row, payloads[row.event_id])
        for dossier_id, row in rows.items()
        if row.event_id in payloads
    }


def _with_keys(attempt: Attempt, sent: Mapping[int, str]) -> Attempt:
    if attempt.kind is not AttemptKind.STEPS or not all(i in sent for i in attempt.delivery_ids):
        return attempt
    return replace(attempt, step_keys=tuple(sent[i] for i in attempt.delivery_ids))


def _payloads(connection: Connection, days: Mapping[str, int]) -> dict[str, bytes]:
    """The payloads of these events; `days` gives each one's source day."""
    found: dict[str, bytes] = {}
    for some in chunks(list(days)):
        of_some = [days[event_id] for event_id in some]
        given = {"some": some, "first_day": min(of_some), "last_day": max(of_some)}
        for row in connection.execute(_PAYLOADS, given):
            found[row.event_id] = bytes(row.payload)
    return found


def _dossier(row: AnyRow) -> DossierTarget:
    return DossierTarget(
        dossier_id=row.dossier_id,
        target=row.target,
        partition=row.partition,
        known=Known(row.known),
        born_on_portal=row.born_on_portal,
        delivered_version=row.delivered_version,
        delivered_hash=row.delivered_hash,
        last_step=row.last_step,
        claimed_code=row.claimed_code,
        failures=row.failures,
        work_seq=row.work_seq,
        wake_at=to_seconds(row.wake_at) if row.wake_at is not None else None,
        deadline=to_seconds(row.deadline) if row.deadline is not None else None,
        verification=Verification(row.verification) if row.verification else None,
        verify_at=to_seconds(row.verify_at) if row.verify_at is not None else None,
    )


def _delivery(row: AnyRow, payload: bytes) -> DeliveryRow:
    return DeliveryRow(
        delivery_id=row.delivery_id,
        event_id=row.event_id,
        operation=Operation(row.operation),
        version=row.version,
        log_pos=row.log_pos,
        state=DeliveryState(row.state),
        reason=Reason(row.reason) if row.reason else None,
        payload=payload,
    )


def _attempt(row: AnyRow) -> Attempt:
    return Attempt(
        attempt_id=row.attempt_id,
        kind=AttemptKind(row.kind),
        delivery_ids=tuple(json.loads(row.delivery_ids)),
        version=row.version,
        content_hash=row.content_hash,
        proved_absent=row.proved_absent,
        epoch=row.epoch,
        started_at=to_seconds(row.started_at),
        outcome=Outcome(row.outcome) if row.outcome else None,
        reason=Reason(row.reason) if row.reason else None,
        detail=row.detail,
    )
