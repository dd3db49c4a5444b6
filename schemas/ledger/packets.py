"""Taking packets of reports into the ledger: the event, what it owes, and the position, in one transaction.

A report is no dossier. So a packet has no row among dossiers, aliases and timelines, from which rates and
figures are counted; its event and deliveries stand beside those of dossiers, under the report's id and the
source `SOURCE`. Its revision is the version of the state: of several the newest goes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from schemas.dossier.working_calendar import CIVIL_ZONE
from schemas.ledger import partitions
from schemas.ledger.dialect import clock, insert_or_skip, to_moment
from schemas.ledger.enlist import (
    move,
    not_taken_in,
    owe,
    placed,
    raise_work,
    reached,
    standing,
    work_row,
    write_events,
)
from schemas.ledger.model import (
    OPEN_STATES,
    EnlistResult,
    Fence,
    Finding,
    FoundRow,
    PacketEnlistment,
)
from schemas.ledger.tables import dossier_target, events, findings
from schemas.ledger.work import chunks
from schemas.reasons import Reason

SOURCE = "reporting"
"""Of every packet's event; no other event has it."""

FEED = "packets"


def enlist_packets(
    connection: Connection,
    fences: Mapping[int, Fence],
    next_offsets: Mapping[int, int],
    batch: Sequence[PacketEnlistment],
    first_offsets: Mapping[int, int],
) -> EnlistResult:
    """See `Ledger.enlist_packets`."""
    stands = standing(connection, list(fences.values()), first_offsets)
    ahead = [e for e in batch if e.offset >= stands[e.partition].next_offset]
    now = to_moment(clock(connection))
    conflicts = _conflicts(connection, ahead, now)
    unknown = not_taken_in(connection, ahead)
    new, missing = _newer(unknown, _newest(connection, unknown), now)
    if new:
        _write(connection, placed(new, stands), now)
    found = (*conflicts, *missing)
    _keep(connection, found)
    move(connection, fences, stands, next_offsets)
    return EnlistResult(
        enlisted=len(new),
        duplicates=len(batch) - len(unknown),
        overtaken=len(unknown) - len(new),
        restored=reached(connection, fences, stands, next_offsets),
        found=found,
    )


def _newest(connection: Connection, batch: Sequence[PacketEnlistment]) -> dict[str, int]:
    """The newest revision that was taken in, by report; of one whose events were pruned the delivered one."""
    newest: dict[str, int] = {}
    for some in chunks(sorted({item.record_id for item in batch})):
        taken = (
            select(events.c.dossier_id, func.max(events.c.version))
            .where(events.c.dossier_id.in_(some))
            .group_by(events.c.dossier_id)
        )
        held = select(dossier_target.c.dossier_id, dossier_target.c.delivered_version).where(
            dossier_target.c.dossier_id.in_(some),
            dossier_target.c.target.in_(sorted({due.target for e in batch for due in e.dues})),
        )
        for query in (taken, held):
            for report_id, revision in connection.execute(query):
                newest[report_id] = max(newest.get(report_id, 0), revision)
    return newest


def _newer(
    batch: Sequence[PacketEnlistment], newest: dict[str, int], now: datetime
) -> tuple[list[PacketEnlistment], list[FoundRow]]:
    """Those above the newest revision of their report, and a finding where a number was left out.

    A revision that comes after a newer one is not remembered: it may come once more, to the same end.
    """
    kept: list[PacketEnlistment] = []
    missing: list[FoundRow] = []
    for item in batch:
        before = newest.get(item.record_id, 0)
        if item.version <= before:
            continue
        if item.version > before + 1:
            detail = f"revision={item.version} newest={before}"
            missing += _found(item, Reason.REVISION_MISSING, detail, now)
        newest[item.record_id] = item.version
        kept.append(item)
    return kept, missing


def _conflicts(
    connection: Connection, batch: Sequence[PacketEnlistment], now: datetime
) -> list[FoundRow]:
    """A number that was taken in with another content than comes now. What came first stands."""
    first: dict[str, str] = {}
    for some in chunks(sorted({item.event_id for item in batch})):
        query = select(events.c.event_id, events.c.content_hash).where(events.c.event_id.in_(some))
        first.update((row.event_id, row.content_hash) for row in connection.execute(query))
    found: list[FoundRow] = []
    for item in sorted(batch, key=lambda e: (e.partition, e.offset)):
        stands = first.setdefault(item.event_id, item.packet.snapshot_hash)
        if stands != item.packet.snapshot_hash:
            found += _found(item, Reason.REVISION_CONFLICT, f"revision={item.version}", now)
    return found


def _found(item: PacketEnlistment, reason: Reason, detail: str, now: datetime) -> list[FoundRow]:
    """For each target that the packet is owed to. A second reading finds the same."""
    return [
        FoundRow(
            target=due.target,
            dossier_id=item.record_id,
            at=now,
            finding=Finding(
                finding_id=f"{reason}:{item.event_id}:{item.packet.snapshot_hash}",
                reason=reason,
                delivery_id=None,
                detail=detail,
            ),
        )
        for due in item.dues
    ]


def _keep(connection: Connection, found: Sequence[FoundRow]) -> None:
    if found:
        connection.execute(
            insert_or_skip(connection, findings, ["finding_id"]),
            [
                {
                    "finding_id": row.finding.finding_id,
                    "target": row.target,
                    "dossier_id": row.dossier_id,
                    "found_at": row.at,
                    "reason": row.finding.reason.value,
                    "detail": row.finding.detail,
                }
                for row in found
            ],
        )


def _write(connection: Connection, batch: Sequence[PacketEnlistment], now: datetime) -> None:
    write_events(connection, [_event_row(item, now) for item in batch])
    owe(connection, batch, now)
    raise_work(
        connection,
        {
            (due.target, item.record_id): work_row(
                item, due.target, born_on_portal=False, deadline=end_of(item.packet.due_on)
            )
            for item in batch
            for due in item.dues
            if due.state in OPEN_STATES
        },
    )


def end_of(day: date) -> datetime:
    """The midnight in Viet Nam that ends a day (Civil Code 2015, Art. 148(6)), in UTC as a moment."""
    return datetime.combine(day + timedelta(days=1), time(), tzinfo=CIVIL_ZONE)


def _event_row(item: PacketEnlistment, now: datetime) -> dict[str, Any]:
    packet = item.packet
    return {
        "event_id": packet.packet_id,
        "source_day": partitions.source_day(packet.effective_at),
        "dossier_id": packet.report_id,
        "kind": packet.kind.value,
        "source": SOURCE,
        "feed": FEED,
        "topic": item.topic,
        "partition": item.partition,
        "log_pos": item.log_pos,
        "version": packet.revision,
        "content_hash": packet.snapshot_hash,
        "effective_at": packet.effective_at,
        "recorded_at": packet.recorded_at,
        "enlisted_at": now,
        "payload": item.payload,
    }
