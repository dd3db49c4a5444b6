"""Packets of approved reports on their way to Kafka, and what the reporting system said of them.

A packet is made when its report is approved, owed when that is submitted, and published at least once. Its
content is kept for good, so that whatever was sent can be shown again byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    exists,
    insert,
    not_,
    or_,
    select,
    update,
)

from schemas.ledger.dialect import AnyRow, insert_or_skip
from schemas.ledger.model import DeliveryState
from schemas.ledger.report_store import Take, now_of
from schemas.ledger.tables import deliveries, event_keys, report_answers, report_packets
from schemas.reports.kinds import PacketKind
from schemas.reports.snapshots import hash_of
from schemas.reports.states import Answer, PacketState

_TAKEN_IN_BY = timedelta(days=365)
_UNDER_WAY = [
    state.value for state in (DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.WAITING)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A packet as its form makes it of a snapshot: canonical content, not sealed yet."""

    kind: PacketKind
    form: str
    form_version: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A packet as the ledger keeps it. `stream_id` is what stays the same over its revisions."""

    packet_id: str
    stream_id: str
    report_id: str
    revision: int
    take: int
    kind: PacketKind
    form: str
    form_version: str
    content: bytes = field(repr=False)
    content_hash: str
    made_at: datetime
    state: PacketState
    published_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came back. Without `reason` none was given; without `report_id` it is about nothing of ours."""

    answer_id: str
    stream_id: str
    revision: int
    report_id: str | None
    answer: Answer
    reason: str | None
    origin: str
    received_at: datetime

    @property
    def needs_person(self) -> bool:
        """Somebody must find out what it is about."""
        return self.report_id is None or (self.answer is not Answer.ACCEPTED and not self.reason)


def stream_id_of(kind: PacketKind, regime: str, form: str, period: str, agency: str) -> str:
    """`ReportPacket.report_id`: what Kafka and the engine keep in order. A slash or % in a code is written as %xx."""
    quoted = (
        each.replace("%", "%25").replace("/", "%2F") for each in (regime, form, period, agency)
    )
    return "/".join((kind.value, *quoted))


def hold(connection: Connection, take: Take, packed: Sequence[Packed]) -> None:
    """Keep the packets of a take that is being approved. The same take makes the same ones, once."""
    regime, period, agency = take.report_id.split("/")
    now = now_of(connection)
    for one in packed:
        stream_id = stream_id_of(one.kind, regime, one.form, period, agency)
        connection.execute(
            insert_or_skip(connection, report_packets, ["packet_id", "take"]),
            {
                "packet_id": f"{stream_id}/r{take.revision}",
                "stream_id": stream_id,
                "report_id": take.report_id,
                "revision": take.revision,
                "take": take.take,
                "kind": one.kind.value,
                "form": one.form,
                "form_version": one.form_version,
                "content": one.content,
                "content_hash": hash_of(one.content),
                "made_at": now,
                "state": PacketState.HELD.value,
            },
        )


def owe(connection: Connection, take: Take) -> int:
    """Its packets are to be published. Returns how many."""
    columns = report_packets.c
    return connection.execute(
        update(report_packets)
        .where(
            columns.report_id == take.report_id,
            columns.revision == take.revision,
            columns.take == take.take,
            columns.state == PacketState.HELD.value,
        )
        .values(state=PacketState.OWED.value)
    ).rowcount


def owed(connection: Connection, limit: int) -> list[Packet]:
    """Packets to be published, in the order of their making, older revisions first.

    A revision waits while an older one is under way: of two that lie before the target at once only the newer
    would be sent, and what a person signed would never be seen there. One that is parked is replaced by it.
    """
    columns = report_packets.c
    query = (
        select(report_packets)
        .where(columns.state == PacketState.OWED.value, not_(_older_under_way(connection)))
        .order_by(columns.made_at, columns.revision, columns.packet_id)
        .limit(limit)
    )
    return [_packet(row) for row in connection.execute(query)]


def _older_under_way(connection: Connection) -> ColumnElement[bool]:
    """Whether an older revision is not published, not taken in, or neither ended nor with a person."""
    older = report_packets.alias("older")
    taken_in = exists().where(event_keys.c.event_id == older.c.packet_id)
    # What was published so long ago was taken in; its key may have been let go of.
    lately = older.c.published_at > now_of(connection) - _TAKEN_IN_BY
    open_still = exists().where(
        deliveries.c.dossier_id == older.c.stream_id,
        deliveries.c.version == older.c.revision,
        deliveries.c.state.in_(_UNDER_WAY),
    )
    return exists().where(
        older.c.stream_id == report_packets.c.stream_id,
        older.c.revision < report_packets.c.revision,
        or_(
            older.c.state == PacketState.OWED.value,
            and_(
                older.c.state == PacketState.PUBLISHED.value,
                or_(and_(lately, not_(taken_in)), open_still),
            ),
        ),
    )


def mark_published(connection: Connection, packet_ids: Sequence[str]) -> None:
    """The broker has confirmed these."""
    columns = report_packets.c
    connection.execute(
        update(report_packets)
        .where(columns.packet_id.in_(packet_ids), columns.state == PacketState.OWED.value)
        .values(state=PacketState.PUBLISHED.value, published_at=now_of(connection))
    )


def packets(connection: Connection, report_id: str, revision: int | None = None) -> list[Packet]:
    """The packets of a report, newest revision first."""
    columns = report_packets.c
    query = (
        select(report_packets)
        .where(columns.report_id == report_id)
        .order_by(columns.revision.desc(), columns.take.desc(), columns.form, columns.kind)
    )
    if revision is not None:
        query = query.where(columns.revision == revision)
    return [_packet(row) for row in connection.execute(query)]


def packets_of(connection: Connection, stream_id: str, revision: int) -> list[Packet]:
    """The packets that were submitted under this key and revision: one, or none."""
    columns = report_packets.c
    query = select(report_packets).where(
        columns.stream_id == stream_id,
        columns.revision == revision,
        columns.state != PacketState.HELD.value,
    )
    return [_packet(row) for row in connection.execute(query)]


def _packet(row: AnyRow) -> Packet:
    return Packet(
        packet_id=row.packet_id,
        stream_id=row.stream_id,
        report_id=row.report_id,
        revision=row.revision,
        take=row.take,
        kind=PacketKind(row.kind),
        form=row.form,
        form_version=row.form_version,
        content=row.content,
        content_hash=row.content_hash,
        made_at=row.made_at,
        state=PacketState(row.state),
        published_at=row.published_at,
    )


# --- what came back ----------------------------------------------------------------------------------


def put_answer(connection: Connection, answered: Answered) -> bool:
    """Keep what came back. False: it was there, under the same id, and stays as it is."""
    row = {
        "answer_id": answered.answer_id,
        "stream_id": answered.stream_id,
        "revision": answered.revision,
        "report_id": answered.report_id,
        "answer": answered.answer.value,
        "reason": answered.reason or None,
        "origin": answered.origin,
        "received_at": answered.received_at,
        "recorded_at": now_of(connection),
    }
    there = select(report_answers.c.answer_id).where(
        report_answers.c.answer_id == answered.answer_id
    )
    if connection.execute(there).first() is not None:
        return False
    connection.execute(insert(report_answers), row)
    return True


def answers(connection: Connection, report_id: str | None) -> list[Answered]:
    """All that came back about a report, or (None) about nothing of ours; in order."""
    columns = report_answers.c
    query = (
        select(report_answers)
        .where(columns.report_id.is_(None) if report_id is None else columns.report_id == report_id)
        .order_by(columns.received_at, columns.recorded_at, columns.answer_id)
    )
    return [
        Answered(
            answer_id=row.answer_id,
            stream_id=row.stream_id,
            revision=row.revision,
            report_id=row.report_id,
            answer=Answer(row.answer),
            reason=row.reason,
            origin=row.origin,
            received_at=row.received_at,
        )
        for row in connection.execute(query)
    ]
