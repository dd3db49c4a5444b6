"""Taking events into the ledger: projection, timeline, what is owed, and the position, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Connection,
    Insert,
    Table,
    bindparam,
    insert,
    select,
    text,
    true,
    update,
)

from schemas.ledger import partitions
from schemas.ledger.dialect import AnyRow, clock, insert_or_skip, insert_or_update, to_moment
from schemas.ledger.fences import positions_held
from schemas.ledger.model import (
    OPEN_STATES,
    Due,
    Enlistment,
    EnlistResult,
    Fence,
    Known,
    Logged,
    PositionHole,
    RestoredPartition,
    StaleOwner,
)
from schemas.ledger.projection import dossier_rows
from schemas.ledger.restore import look_at_partition
from schemas.ledger.tables import (
    dead_letters,
    deliveries,
    dossier_aliases,
    dossier_target,
    dossiers,
    event_keys,
    events,
    positions,
    timeline,
)
from schemas.ledger.work import chunks
from schemas.ledger.written import Written
from schemas.records import DeadLetter, EventKind

L = TypeVar("L", bound=Logged)


def enlist(
    connection: Connection,
    fences: Mapping[int, Fence],
    next_offsets: Mapping[int, int],
    batch: Sequence[Enlistment],
    first_offsets: Mapping[int, int],
) -> EnlistResult:
    """See `Ledger.enlist`."""
    stands = standing(connection, list(fences.values()), first_offsets)
    ahead = [e for e in batch if e.offset >= stands[e.partition].next_offset]
    unknown = not_taken_in(connection, ahead)
    dossiers_before = _dossiers(connection, unknown)
    new = _not_overtaken(unknown, dossiers_before)
    if new:
        now = to_moment(clock(connection))
        _write(connection, placed(new, stands), dossiers_before, now)
    move(connection, fences, stands, next_offsets)
    return EnlistResult(
        enlisted=len(new),
        duplicates=len(batch) - len(unknown),
        overtaken=len(unknown) - len(new),
        restored=reached(connection, fences, stands, next_offsets),
    )


def placed(batch: Sequence[L], stands: Mapping[int, AnyRow]) -> list[L]:
    """The same, each with the base of its log."""
    return [
        replace(item, log_base=base) if (base := stands[item.partition].log_base) else item
        for item in batch
    ]


def reached(
    connection: Connection,
    fences: Mapping[int, Fence],
    stands: Mapping[int, AnyRow],
    next_offsets: Mapping[int, int],
) -> tuple[RestoredPartition, ...]:
    """After a restore: what the partitions need that have now come to where the log ended then."""
    return tuple(
        look_at_partition(connection, fences[partition], row.log_base + row.verify_until)
        for partition, row in sorted(stands.items())
        if row.verify_until is not None
        and max(row.next_offset, next_offsets.get(partition, 0)) >= row.verify_until
    )


def advance(
    connection: Connection,
    fence: Fence,
    first_offset: int,
    next_offset: int,
    letters: Sequence[DeadLetter],
) -> None:
    """See `Ledger.advance`."""
    partition = fence.partition
    stands = standing(connection, [fence], {partition: first_offset})
    if letters:
        connection.execute(
            insert_or_skip(connection, dead_letters, ["topic", "partition", "log_pos"]),
            [
                {
                    "topic": letter.topic,
                    "partition": letter.partition,
                    "log_pos": letter.offset,
                    "reason": letter.reason,
                    "detail": letter.detail,
                    "dossier_id": letter.dossier_id,
                    "sealed_key": letter.sealed_key,
                    "sealed_value": letter.sealed_value,
                    "first_at": letter.first_at,
                    "recorded_at": letter.recorded_at,
                }
                for letter in letters
            ],
        )
    move(connection, {partition: fence}, stands, {partition: next_offset})


def standing(
    connection: Connection, fences: Sequence[Fence], first_offsets: Mapping[int, int]
) -> dict[int, AnyRow]:
    """Lock the positions and return the row of each partition."""
    held = positions_held(connection, fences, lock=True, shared=False)
    stale = sorted(fence.partition for fence in fences if fence not in held)
    if stale:
        raise StaleOwner(f"partitions {stale} of {fences[0].topic} have another owner")
    stands = {fence.partition: row for fence, row in held.items()}
    for partition, first in sorted(first_offsets.items()):
        if first > (at := stands[partition].next_offset):
            raise PositionHole(
                f"the ledger stands at {at} in partition {partition}, the log goes on at"
                f" {first}: events between were not taken in"
            )
    return stands


_AHEAD = Written(
    update(positions)
    .where(
        positions.c.flow == bindparam("b_flow"),
        positions.c.topic == bindparam("b_topic"),
        positions.c.partition == bindparam("b_partition"),
    )
    .values(next_offset=bindparam("b_next"))
)


def move(
    connection: Connection,
    fences: Mapping[int, Fence],
    stands: Mapping[int, AnyRow],
    next_offsets: Mapping[int, int],
) -> None:
    """The positions, where the batch goes on beyond them."""
    ahead = [
        {"b_flow": f.flow, "b_topic": f.topic, "b_partition": partition, "b_next": next_offset}
        for partition, next_offset in sorted(next_offsets.items())
        if next_offset > stands[partition].next_offset
        for f in (fences[partition],)
    ]
    if ahead:
        _AHEAD.run(connection, ahead)


def not_taken_in(connection: Connection, batch: Sequence[L]) -> list[L]:
    """Those whose event is new, in log order; of two with one id the first."""
    first: dict[str, L] = {}
    for item in sorted(batch, key=lambda e: (e.partition, e.offset)):
        first.setdefault(item.event_id, item)
    known: set[str] = set()
    for some in chunks(list(first)):
        known.update(
            connection.execute(
                select(event_keys.c.event_id).where(event_keys.c.event_id.in_(some))
            ).scalars()
        )
    return [item for event_id, item in first.items() if event_id not in known]


def _dossiers(connection: Connection, batch: Sequence[Enlistment]) -> dict[str, dict[str, Any]]:
    """The rows of the batch's dossiers as they are before it."""
    found: dict[str, dict[str, Any]] = {}
    for some in chunks(sorted({item.event.dossier_id for item in batch})):
        for row in connection.execute(select(dossiers).where(dossiers.c.dossier_id.in_(some))):
            found[row.dossier_id] = dict(row._mapping)
    return found


def _not_overtaken(
    batch: Sequence[Enlistment], before: Mapping[str, Mapping[str, Any]]
) -> list[Enlistment]:
    """Without what a capture wrote belatedly that had lost its place to another one.

    The log has a dossier's readings in the order in which they were made, but for those of a process that
    was frozen before it wrote. That page was never saved: who captures now has read it again, and tells
    what is in it, or told what became of it. Its events are not remembered, for they may come once more.
    """
    newest: dict[str, int] = {id_: row["state_version"] for id_, row in before.items()}
    kept: list[Enlistment] = []
    for item in batch:
        event = item.event
        if event.kind is EventKind.GAP:  # stands for a record that could not be read
            kept.append(item)
        elif event.read_seq >= newest.get(event.dossier_id, -1):
            newest[event.dossier_id] = event.read_seq
            kept.append(item)
    return kept


def _all_but(table: Table, *names: str) -> list[str]:
    return [column.name for column in table.c if column.name not in names]


def _renewed(connection: Connection) -> Insert:
    columns = {name: name for name in _all_but(dossiers, "dossier_id")}
    return insert_or_update(connection, dossiers, ["dossier_id"], columns)


def _raised(connection: Connection) -> Insert:
    return insert_or_update(
        connection,
        dossier_target,
        ["target", "dossier_id"],
        {
            "topic": "topic",
            "partition": "partition",
            "deadline": "deadline",
            "born_on_portal": "born_on_portal",
            "runnable": true(),
            "wake_at": "wake_at",
            "work_seq": dossier_target.c.work_seq + 1,
        },
    )


def _numbered(connection: Connection) -> Insert:
    statement = insert(deliveries)
    if connection.dialect.name == "postgresql":
        number = text("nextval('deliveries_delivery_id_seq')")
        statement = statement.values(
            delivery_id=bindparam("b_first_id", type_=BigInteger()).op("+")(number)
        )
    return statement


_KEY_COLUMNS = _all_but(event_keys)
_KEY = Written(insert(event_keys))
_EVENT = Written(insert(events))
_TIMELINE = Written(insert(timeline))
_DOSSIER = Written(_renewed)
_ALIAS = Written(
    lambda connection: insert_or_skip(connection, dossier_aliases, ["dossier_id", "kind", "value"])
)
_DELIVERY = Written(
    _numbered,
    columns=_all_but(deliveries, "delivery_id", "detail", "attempt_id", "receipt", "step_key"),
)
_WORK = Written(
    _raised,
    columns=_all_but(dossier_target, "delivered_hash", "claimed_code", "verification", "verify_at"),
)


def _write(
    connection: Connection,
    batch: Sequence[Enlistment],
    before: Mapping[str, Mapping[str, Any]],
    now: datetime,
) -> None:
    write_events(connection, [_event_row(item, now) for item in batch])
    _TIMELINE.run(connection, [_timeline_row(item) for item in batch])
    projected = _project(connection, batch, before)
    aliases = {
        (item.event.dossier_id, alias.kind, alias.value)
        for item in batch
        for alias in item.event.aliases
        if alias.value
    }
    if aliases:
        _ALIAS.run(
            connection,
            [{"dossier_id": d, "kind": k, "value": v} for d, k, v in sorted(aliases)],
        )
    owe(connection, batch, now)
    raise_work(connection, _work_rows(batch, projected))


def write_events(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """The events and their keys; their months are made where they are missing."""
    partitions.provide(connection, {partitions.month_of(row["source_day"]) for row in rows})
    _KEY.run(connection, [{name: row[name] for name in _KEY_COLUMNS} for row in rows])
    _EVENT.run(connection, rows)


def owe(connection: Connection, batch: Sequence[Logged], now: datetime) -> None:
    """A delivery for everything that is due."""
    owed = [_delivery_row(item, due, now) for item in batch for due in item.dues]
    if owed:
        _DELIVERY.run(connection, owed)


def raise_work(connection: Connection, rows: Mapping[tuple[str, str], dict[str, Any]]) -> None:
    """Let the engines look at these, by target and id."""
    if rows:
        _WORK.run(connection, [rows[key] for key in sorted(rows)])


def _project(
    connection: Connection,
    batch: Sequence[Enlistment],
    before: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Write the dossiers' newest clear state; returns every row touched, by dossier."""
    ids = sorted({item.event.dossier_id for item in batch})
    rows = dossier_rows(before, batch)
    # Copies: what is returned is still to be read.
    _DOSSIER.run(connection, [dict(rows[dossier_id]) for dossier_id in ids])
    return rows


def _work_rows(
    batch: Sequence[Enlistment], projected: Mapping[str, Mapping[str, Any]]
) -> dict[tuple[str, str], dict[str, Any]]:
    """One row per dossier and target for which something is open now."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for item in batch:
        dossier = projected[item.event.dossier_id]
        for due in item.dues:
            if due.state in OPEN_STATES:
                rows[due.target, item.record_id] = work_row(
                    item,
                    due.target,
                    born_on_portal=dossier["born_on_portal"],
                    deadline=dossier["extended_at"] or dossier["due_at"],
                )
    return rows


def work_row(
    item: Logged, target: str, *, born_on_portal: bool, deadline: datetime | None
) -> dict[str, Any]:
    """What is known at a target of a record of which something is open, if it is new there."""
    return {
        "target": target,
        "dossier_id": item.record_id,
        "topic": item.topic,
        "partition": item.partition,
        "known": Known.UNKNOWN.value,
        "born_on_portal": born_on_portal,
        "delivered_version": -1,
        "last_step": -1,
        "failures": 0,
        "work_seq": 1,
        "runnable": True,
        "wake_at": None,
        "deadline": deadline,
    }


def _event_row(item: Enlistment, now: datetime) -> dict[str, Any]:
    event = item.event
    return {
        "event_id": event.event_id,
        "source_day": partitions.source_day(event.effective_at),
        "dossier_id": event.dossier_id,
        "kind": event.kind.value,
        "source": event.source,
        "feed": event.feed.value,
        "topic": item.topic,
        "partition": item.partition,
        "log_pos": item.log_pos,
        "version": event.read_seq,
        "content_hash": event.content_hash,
        "effective_at": event.effective_at,
        "recorded_at": event.recorded_at,
        "enlisted_at": now,
        "payload": item.payload,
    }


def _timeline_row(item: Enlistment) -> dict[str, Any]:
    event = item.event
    step = event.step
    return {
        "event_id": event.event_id,
        "source_day": partitions.source_day(event.effective_at),
        "dossier_id": event.dossier_id,
        "log_pos": item.log_pos,
        "kind": event.kind.value,
        "action_id": step.action_id if step else None,
        "action_code": step.action_code if step else None,
        "step_code": step.step_code if step else None,
        "status": step.status.status if step else None,
        "sub_status": step.status.sub_status if step else None,
        "status_carried": step.status_carried if step else False,
        "at": step.at if step else event.effective_at,
        "recorded_at": event.recorded_at,
    }


def _delivery_row(item: Logged, due: Due, now: datetime) -> dict[str, Any]:
    ended = due.state not in OPEN_STATES
    day = partitions.source_day(item.effective_at)
    return {
        "b_first_id": partitions.first_id(partitions.month_of(day)),
        "event_id": item.event_id,
        "source_day": day,
        "dossier_id": item.record_id,
        "target": due.target,
        "operation": due.operation.value,
        "version": item.version,
        "log_pos": item.log_pos,
        "partition": item.partition,
        "state": due.state.value,
        "reason": due.reason.value if due.reason else None,
        "enlisted_at": now,
        "settled_at": now if ended else None,
    }
