"""Another database, or an older one, under the same ledger: recognised here, and made safe (rule 14).

A restored ledger does not know what was sent in the time that it lost. So, in this order:

1. `begin`: the generation rises, and with it every epoch. No fence of the lost time holds.
2. `add_receipts`: receipts that the log holds and the ledger does not are proof of what was delivered.
3. `finish`: every partition of the topics from which deliveries come gets the end of its log as `verify_until`. Nothing of it is runnable before its
   position has come there: only then does the ledger owe again everything that it once owed.
4. `look_at_partition`, in the transaction that comes there: what has a receipt is delivered; everything else
   that is open gets an attempt of unknown outcome, begun now. The engine's rules for these do the rest.

`begin` and `finish` are each one transaction and `add_receipts` bears being repeated, so whoever dies in
between leaves a ledger that says `restoring`, and the next process does all of it again.
"""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, select, tuple_, update

from schemas.ledger import fences as ownership
from schemas.ledger.dialect import (
    AnyRow,
    clock,
    database_mark,
    insert_or_skip,
    insert_or_update,
    locked,
    sqlite_file,
    sqlite_mark,
    to_moment,
)
from schemas.ledger.model import (
    AttemptKind,
    DeliveryState,
    Fence,
    Known,
    LedgerReplaced,
    Operation,
    Outcome,
    Position,
    RestoredPartition,
)
from schemas.ledger.restored_dossier import Amends, Lost, OpenAttempt, OpenRow, Proof, amends
from schemas.ledger.tables import (
    OPEN_DELIVERY,
    attempts,
    claims,
    deliveries,
    dossier_aliases,
    dossier_target,
    dossiers,
    event_keys,
    found_receipts,
    ledger_identity,
    positions,
    read_seqs,
    singletons,
)
from schemas.ledger.work import chunks
from schemas.reasons import Reason
from schemas.records import DeliveryReceipt
from schemas.topics import REPORT_PACKETS

HELD = 1 << 62
"""A `verify_until` that no position reaches: the log itself is lost, and `thongsuot topics` ends this."""

_AFTER_STATE = timedelta(milliseconds=1)  # attempts are resolved in order of their beginning


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which database this is, and what the ledger remembers of it."""

    here: str
    remembered: str
    generation: int
    restoring: bool

    @property
    def changed(self) -> bool:
        """Whether the lost time is still to be dealt with before anybody may own anything."""
        return self.here != self.remembered or self.restoring


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFound:
    """One topic as the broker has it: its id, ``None`` where it has none, and where each partition ends."""

    topic_id: str | None
    ends: Mapping[int, int]


# --- recognising it ----------------------------------------------------------------------------------


def recognise(connection: Connection) -> Identity:
    """Look at the database. One that was never opened before is remembered as it is."""
    here = database_mark(connection)
    row = connection.execute(select(ledger_identity)).one()
    if row.mark is None:
        connection.execute(
            update(ledger_identity).where(ledger_identity.c.mark.is_(None)).values(mark=here)
        )
    return Identity(
        here=here,
        remembered=row.mark or here,
        generation=row.generation,
        restoring=row.restoring,
    )


def require_unchanged(connection: Connection, opened: Identity) -> None:
    """Raise `LedgerReplaced` unless this is the database as it was opened, ready for owners.

    The row stays locked until commit: a restore waits for whoever becomes an owner meanwhile.
    """
    row = connection.execute(locked(connection, select(ledger_identity), shared=True)).one()
    if row.generation != opened.generation or row.restoring or row.mark != opened.here:
        raise LedgerReplaced(
            "the ledger was restored, or is another database than the one that was opened: start again"
        )


def require_generation(connection: Connection, opened: Identity) -> None:
    """Raise `LedgerReplaced` when somebody has begun a restore since, or this is another database."""
    generation = connection.execute(select(ledger_identity.c.generation)).scalar_one()
    if generation != opened.generation or database_mark(connection) != opened.here:
        raise LedgerReplaced("the ledger was restored under this process: start again")


class Guard:
    """Refuses a connection to another database than the one that was opened (`Lane.guard`)."""

    def __init__(self, opened: Identity) -> None:
        self._opened = opened

    def __call__(self, connection: Connection) -> None:
        """Raises `LedgerReplaced`. A connection never changes its server, but a file may be replaced."""
        seen = connection.info.get(_SEEN)
        if seen != self._opened.generation:
            require_generation(connection, self._opened)
            connection.info[_SEEN] = self._opened.generation
            if connection.dialect.name == "sqlite":
                connection.info[_FILE] = sqlite_file(connection)
        elif (
            connection.dialect.name == "sqlite"
            and sqlite_mark(connection.info[_FILE]) != self._opened.here
        ):
            raise LedgerReplaced("the ledger's file was replaced under this process: start again")


_SEEN, _FILE = "thongsuot.generation", "thongsuot.file"


def is_older(
    connection: Connection, receipts: Sequence[DeliveryReceipt], read_seqs_seen: Mapping[str, int]
) -> bool:
    """Whether the log knows of something that the ledger lacks: then it is an older copy.

    `receipts` and `read_seqs_seen` must have been read from the log before this is asked. While an earlier
    restore is still being made good, nothing is concluded.
    """
    under_way = select(func.count()).where(positions.c.verify_until.is_not(None))
    if connection.execute(under_way).scalar_one():
        return False
    known = {row.source: row.read_seq for row in connection.execute(select(read_seqs))}
    if any(known.get(source, 0) < seen for source, seen in read_seqs_seen.items()):
        return True
    return bool(_lacking(connection, receipts))


def _lacking(connection: Connection, receipts: Sequence[DeliveryReceipt]) -> list[DeliveryReceipt]:
    """Those whose delivery is not delivered here, nor known to have been.

    One whose event is known and whose delivery is gone was pruned.
    """
    lacking: list[DeliveryReceipt] = []
    for some in chunks(receipts):
        ids = sorted({receipt.event_id for receipt in some})
        states = {
            (row.event_id, row.target, row.operation): row.state
            for row in connection.execute(
                select(
                    deliveries.c.event_id,
                    deliveries.c.target,
                    deliveries.c.operation,
                    deliveries.c.state,
                ).where(deliveries.c.event_id.in_(ids))
            )
        }
        events = set(
            connection.execute(
                select(event_keys.c.event_id).where(event_keys.c.event_id.in_(ids))
            ).scalars()
        )
        found = {
            (row.event_id, row.target, row.operation)
            for row in connection.execute(
                select(found_receipts).where(found_receipts.c.event_id.in_(ids))
            )
        }
        for receipt in some:
            key = (receipt.event_id, receipt.target, receipt.operation)
            gone = receipt.event_id in events and key not in states
            if states.get(key) != DeliveryState.DELIVERED.value and key not in found and not gone:
                lacking.append(receipt)
    return lacking


# --- the way back ------------------------------------------------------------------------------------


def begin(connection: Connection, opened: Identity) -> None:
    """Raise the generation and every epoch. Nothing happens when somebody else was quicker."""
    row = connection.execute(locked(connection, select(ledger_identity), shared=False)).one()
    if row.generation != opened.generation or (row.restoring and row.mark == opened.here):
        return
    connection.execute(
        update(ledger_identity).values(
            mark=opened.here, generation=row.generation + 1, restoring=True
        )
    )
    connection.execute(update(positions).values(owner="", epoch=positions.c.epoch + 1))
    connection.execute(update(singletons).values(owner="", epoch=singletons.c.epoch + 1))


def newest_settled(connection: Connection) -> datetime | None:
    """When the ledger last settled a delivery, as far as it knows."""
    newest: datetime | None = connection.execute(
        select(func.max(deliveries.c.settled_at))
    ).scalar_one()
    return newest


def add_receipts(
    connection: Connection, opened: Identity, receipts: Sequence[DeliveryReceipt]
) -> int:
    """Keep those that the ledger lacks, and their codes for their dossiers. Returns how many were new."""
    require_generation(connection, opened)
    lacking = _lacking(connection, receipts)
    if not lacking:
        return 0
    rows = {(r.event_id, r.target, r.operation): r for r in reversed(lacking)}
    lacking = [rows[key] for key in sorted(rows)]
    connection.execute(
        insert_or_skip(connection, found_receipts, ["event_id", "target", "operation"]),
        [
            {
                "event_id": r.event_id,
                "target": r.target,
                "operation": r.operation,
                "dossier_id": r.dossier_id,
                "code": r.dossier_code,
                "attempt_id": r.attempt_id,
                "step_key": r.step_key,
                "delivered_at": r.delivered_at,
            }
            for r in lacking
        ],
    )
    claimed = {
        (r.target, r.dossier_code): r.dossier_id
        for r in sorted(lacking, key=lambda r: r.delivered_at, reverse=True)
        if r.dossier_code
    }
    _claim(connection, [(*key, dossier_id) for key, dossier_id in claimed.items()])
    return len(lacking)


def finish(
    connection: Connection,
    opened: Identity,
    *,
    flow: str,
    logs: Mapping[str, LogFound],
    read_seqs_seen: Mapping[str, int],
) -> None:
    """Set the horizon of every partition of these topics. Nothing happens when somebody else was quicker."""
    row = connection.execute(locked(connection, select(ledger_identity), shared=False)).one()
    if row.generation != opened.generation or not row.restoring:
        return
    for topic, log in sorted(logs.items()):
        _set_horizon(connection, flow, topic, log)
    there = {seq.source: seq.read_seq for seq in connection.execute(select(read_seqs))}
    higher = [
        {"source": source, "read_seq": seen}
        for source, seen in sorted(read_seqs_seen.items())
        if seen > there.get(source, 0)
    ]
    if higher:
        connection.execute(
            insert_or_update(connection, read_seqs, ["source"], {"read_seq": "read_seq"}), higher
        )
    connection.execute(update(ledger_identity).values(restoring=False))


def _set_horizon(connection: Connection, flow: str, topic: str, log: LogFound) -> None:
    """Where a partition ends below its position, or the topic is another one, the log was lost as well: all

    partitions of the topic stay held, for nothing tells what was sent.
    """
    stands = connection.execute(
        select(positions).where(positions.c.flow == flow, positions.c.topic == topic)
    ).all()
    log_lost = any(
        log.ends.get(at.partition, 0) < at.next_offset
        or (at.topic_id is not None and log.topic_id is not None and at.topic_id != log.topic_id)
        for at in stands
    )
    connection.execute(
        insert_or_update(
            connection,
            positions,
            ["flow", "topic", "partition"],
            {"verify_until": "verify_until"},
        ),
        [
            {
                "flow": flow,
                "topic": topic,
                "partition": partition,
                "owner": "",
                "epoch": 0,
                "next_offset": 0,
                "log_base": 0,
                "verify_until": HELD if log_lost else end,
            }
            for partition, end in sorted(log.ends.items())
        ],
    )


def held_partitions(connection: Connection) -> int:
    """How many have lost their log as well: they rest until a person says that all is read again."""
    return connection.execute(
        select(func.count()).select_from(positions).where(positions.c.verify_until == HELD)
    ).scalar_one()


def take_over(
    connection: Connection,
    opened: Identity,
    flow: str,
    topic: str,
    topic_id: str | None,
    partitions: Sequence[int],
    owner: str,
) -> list[Position]:
    """`fences.take_over`, of a ledger that is as it was opened; what has come to its horizon is looked at."""
    require_unchanged(connection, opened)
    taken = ownership.take_over(connection, flow, topic, topic_id, partitions, owner)
    rows = ownership.positions_held(connection, [p.fence for p in taken], lock=False, shared=False)
    result = []
    for position in taken:
        until = rows[position.fence].verify_until
        looked = None
        if until is not None and position.next_offset >= until:
            looked = look_at_partition(connection, position.fence, position.log_base + until)
        result.append(position if looked is None else _with(position, looked))
    return result


def _with(position: Position, looked: RestoredPartition) -> Position:
    return Position(
        fence=position.fence,
        next_offset=position.next_offset,
        topic_id=position.topic_id,
        log_base=position.log_base,
        restored=looked,
    )


# --- one partition at its horizon --------------------------------------------------------------------


def look_at_partition(connection: Connection, fence: Fence, horizon: int) -> RestoredPartition:
    """Make good what the lost time may have done to the dossiers of a partition, and let them go.

    What lies at the horizon (a place in the log) or beyond was not known then, and is in no doubt. The
    caller holds the position row.
    """
    at = to_moment(clock(connection))
    generation = connection.execute(select(ledger_identity.c.generation)).scalar_one()
    ids = sorted(
        connection.execute(
            select(deliveries.c.dossier_id)
            .join(
                dossier_target,
                and_(
                    dossier_target.c.target == deliveries.c.target,
                    dossier_target.c.dossier_id == deliveries.c.dossier_id,
                ),
            )
            .where(
                dossier_target.c.topic == fence.topic,
                deliveries.c.partition == fence.partition,
                deliveries.c.log_pos < horizon,
                OPEN_DELIVERY,
            )
            .distinct()
        ).scalars()
    )
    proved = looked = steps = 0
    for some in chunks(ids):
        found = _amends_of(connection, some, horizon)
        _write(connection, found, generation, at)
        proved += sum(len(each.delivered) for each in found)
        looked += sum(bool(each.attempts) for each in found)
        steps += sum(len(each.asked_steps) for each in found)
    connection.execute(
        update(positions)
        .where(
            positions.c.flow == fence.flow,
            positions.c.topic == fence.topic,
            positions.c.partition == fence.partition,
        )
        .values(verify_until=None)
    )
    return RestoredPartition(
        topic=fence.topic,
        partition=fence.partition,
        proved=proved,
        dossiers=looked,
        steps=steps,
    )


def _amends_of(connection: Connection, ids: Sequence[str], horizon: int) -> list[Amends]:
    rows: dict[tuple[str, str], list[OpenRow]] = defaultdict(list)
    for row in connection.execute(
        select(deliveries)
        .where(
            deliveries.c.dossier_id.in_(ids),
            deliveries.c.log_pos < horizon,
            deliveries.c.operation != Operation.RETRACTION.value,
            OPEN_DELIVERY,
        )
        .order_by(deliveries.c.log_pos, deliveries.c.delivery_id)
    ):
        rows[row.target, row.dossier_id].append(_open_row(row))
    open_attempts: dict[tuple[str, str], list[OpenAttempt]] = defaultdict(list)
    for row in connection.execute(
        select(attempts).where(attempts.c.dossier_id.in_(ids), attempts.c.closed_at.is_(None))
    ):
        open_attempts[row.target, row.dossier_id].append(
            OpenAttempt(
                attempt_id=row.attempt_id,
                delivery_ids=tuple(json.loads(row.delivery_ids)),
                outcome=Outcome(row.outcome) if row.outcome else None,
            )
        )
    receipts: dict[tuple[str, str], list[AnyRow]] = defaultdict(list)
    for row in connection.execute(
        select(found_receipts)
        .where(found_receipts.c.dossier_id.in_(ids))
        .order_by(found_receipts.c.delivered_at)
    ):
        receipts[row.target, row.dossier_id].append(row)
    standing = {
        (row.target, row.dossier_id): row
        for row in connection.execute(
            select(dossier_target).where(dossier_target.c.dossier_id.in_(ids))
        )
    }
    keys = sorted(key for key in rows if key in standing)
    codes = _codes(connection, ids, keys, standing, receipts)
    return [
        amends(
            *key,
            _lost(standing[key], *codes[key]),
            rows[key],
            open_attempts[key],
            {(r.event_id, r.operation): _proof(r) for r in receipts[key]},
        )
        for key in keys
    ]


def _codes(
    connection: Connection,
    ids: Sequence[str],
    keys: Iterable[tuple[str, str]],
    standing: Mapping[tuple[str, str], AnyRow],
    receipts: Mapping[tuple[str, str], Sequence[AnyRow]],
) -> dict[tuple[str, str], tuple[str | None, bool]]:
    """The number under which each target may know the dossier, claimed for it; whether it is doubtful."""
    newest = {
        row.dossier_id: row.code
        for row in connection.execute(select(dossiers).where(dossiers.c.dossier_id.in_(ids)))
    }
    several = set(
        connection.execute(
            select(dossier_aliases.c.dossier_id)
            .where(dossier_aliases.c.dossier_id.in_(ids), dossier_aliases.c.kind == "dossier_no")
            .group_by(dossier_aliases.c.dossier_id)
            .having(func.count() > 1)
        ).scalars()
    )
    found: dict[tuple[str, str], tuple[str | None, bool]] = {}
    for key in keys:
        said = (row.code for row in receipts.get(key, ()) if row.code)
        code = standing[key].claimed_code or next(said, None)
        if code is None and standing[key].topic == REPORT_PACKETS.name:
            code = key[1]  # a report is known by its id, everywhere and for ever
        doubtful = code is None and key[1] in several
        found[key] = (None, True) if doubtful else (code or newest.get(key[1]), False)
    owners = _claim(
        connection, [(target, code, d) for (target, d), (code, _) in found.items() if code]
    )
    return {
        key: (code, doubtful) if code is None or owners[key[0], code] == key[1] else (None, False)
        for key, (code, doubtful) in found.items()
    }


def _claim(
    connection: Connection, wanted: Sequence[tuple[str, str, str]]
) -> dict[tuple[str, str], str]:
    """Claim (target, code) for dossiers; returns whose each is. The first who has it keeps it."""
    owners: dict[tuple[str, str], str] = {}
    if wanted:
        connection.execute(
            insert_or_skip(connection, claims, ["target", "code"]),
            [{"target": t, "code": c, "dossier_id": d} for t, c, d in sorted(wanted)],
        )
    for some in chunks(sorted({(target, code) for target, code, _ in wanted})):
        for row in connection.execute(
            select(claims).where(tuple_(claims.c.target, claims.c.code).in_(some))
        ):
            owners[row.target, row.code] = row.dossier_id
    return owners


def _open_row(row: AnyRow) -> OpenRow:
    return OpenRow(
        delivery_id=row.delivery_id,
        event_id=row.event_id,
        operation=Operation(row.operation),
        version=row.version,
        log_pos=row.log_pos,
        state=DeliveryState(row.state),
        reason=row.reason,
    )


def _proof(row: AnyRow) -> Proof:
    return Proof(
        attempt_id=row.attempt_id,
        step_key=row.step_key,
        delivered_at=row.delivered_at,
        published=True,
    )


def _lost(row: AnyRow, code: str | None, ambiguous: bool) -> Lost:
    return Lost(
        known=Known(row.known),
        born_on_portal=row.born_on_portal,
        delivered_version=row.delivered_version,
        last_step=row.last_step,
        code=code,
        ambiguous=ambiguous,
    )


def _write(connection: Connection, found: Sequence[Amends], generation: int, at: datetime) -> None:
    _close(connection, [a for each in found for a in each.closed], at)
    _settle(connection, found, at)
    _begin_attempts(connection, found, generation, at)
    _forget_hashes(connection, found)


def _close(connection: Connection, ids: Sequence[str], at: datetime) -> None:
    for some in chunks(sorted(ids)):
        connection.execute(
            update(attempts).where(attempts.c.attempt_id.in_(some)).values(closed_at=at)
        )


def _settle(connection: Connection, found: Sequence[Amends], at: datetime) -> None:
    proofs = sorted((i, proof) for each in found for i, proof in each.delivered.items())
    if proofs:
        connection.execute(
            update(deliveries)
            .where(deliveries.c.delivery_id == bindparam("b_id"), OPEN_DELIVERY)
            .values(
                state=DeliveryState.DELIVERED.value,
                reason=None,
                detail=None,
                settled_at=bindparam("b_at"),
                attempt_id=bindparam("b_attempt"),
                receipt=bindparam("b_receipt"),
                step_key=func.coalesce(
                    bindparam("b_key", type_=deliveries.c.step_key.type), deliveries.c.step_key
                ),
            ),
            [
                {
                    "b_id": delivery_id,
                    "b_at": proof.delivered_at or at,
                    "b_attempt": proof.attempt_id,
                    "b_receipt": "published" if proof.published else "owed",
                    "b_key": proof.step_key,
                }
                for delivery_id, proof in proofs
            ],
        )
    ends: tuple[tuple[list[int], dict[str, Any]], ...] = (
        (
            [i for each in found for i in each.superseded],
            {
                "state": DeliveryState.SUPERSEDED.value,
                "reason": Reason.NEWER_STATE.value,
                "settled_at": at,
            },
        ),
        (
            [i for each in found for i in each.freed],
            {"state": DeliveryState.PENDING.value, "reason": None},
        ),
        (
            [i for each in found for i in each.parked],
            {
                "state": DeliveryState.PARKED.value,
                "reason": Reason.OUTCOME_UNKNOWN.value,
                "detail": "the ledger was restored, and the dossier's number has changed meanwhile",
            },
        ),
    )
    for ids, values in ends:
        for some in chunks(sorted(ids)):
            connection.execute(
                update(deliveries)
                .where(deliveries.c.delivery_id.in_(some), OPEN_DELIVERY)
                .values(**values)
            )


def _begin_attempts(
    connection: Connection, found: Sequence[Amends], generation: int, at: datetime
) -> None:
    begun: list[dict[str, Any]] = []
    sending: list[dict[str, Any]] = []
    for each in found:
        for kind in each.attempts:
            steps = kind is AttemptKind.STEPS
            attempt_id = str(uuid.uuid4())
            covered = each.asked_steps if steps else ()
            begun.append(
                {
                    "attempt_id": attempt_id,
                    "dossier_id": each.dossier_id,
                    "target": each.target,
                    "kind": kind.value,
                    "delivery_ids": json.dumps(covered),
                    "version": 0 if steps else each.newest_version,
                    "content_hash": "",
                    "proved_absent": False,
                    "epoch": generation,
                    "started_at": at + _AFTER_STATE if steps else at,
                    "outcome": Outcome.UNKNOWN.value,
                    "outcome_at": at,
                    "reason": Reason.RESTORED.value,
                }
            )
            sending.extend({"b_id": i, "b_attempt": attempt_id} for i in covered)
    if begun:
        connection.execute(insert(attempts), begun)
    if sending:
        connection.execute(
            update(deliveries)
            .where(deliveries.c.delivery_id == bindparam("b_id"), OPEN_DELIVERY)
            .values(
                state=DeliveryState.SENDING.value,
                reason=None,
                detail=None,
                attempt_id=bindparam("b_attempt"),
            ),
            sending,
        )


def _forget_hashes(connection: Connection, found: Sequence[Amends]) -> None:
    """What the target holds is not known, and every dossier is looked at again."""
    if not found:
        return
    connection.execute(
        update(dossier_target)
        .where(
            dossier_target.c.target == bindparam("b_target"),
            dossier_target.c.dossier_id == bindparam("b_dossier"),
        )
        .values(
            known=bindparam("b_known"),
            delivered_version=bindparam("b_version"),
            delivered_hash=None,
            last_step=bindparam("b_step"),
            claimed_code=func.coalesce(
                dossier_target.c.claimed_code,
                bindparam("b_code", type_=dossier_target.c.claimed_code.type),
            ),
            failures=0,
            runnable=True,
            wake_at=None,
            work_seq=dossier_target.c.work_seq + 1,
        ),
        [
            {
                "b_target": each.target,
                "b_dossier": each.dossier_id,
                "b_known": each.known.value,
                "b_version": each.delivered_version,
                "b_step": each.last_step,
                "b_code": each.code,
            }
            for each in found
        ],
    )
    done = [r for each in found for r in each.delivered]
    for some in chunks(sorted(done)):
        settled = select(deliveries.c.event_id, deliveries.c.target, deliveries.c.operation).where(
            deliveries.c.delivery_id.in_(some)
        )
        keys = [tuple(row) for row in connection.execute(settled)]
        connection.execute(
            delete(found_receipts).where(
                tuple_(
                    found_receipts.c.event_id, found_receipts.c.target, found_receipts.c.operation
                ).in_(keys)
            )
        )
