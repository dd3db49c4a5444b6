"""Report regimes in the ledger: what was received, what was refused, and from what forms are filled.

Nothing is overwritten. Of what defines reports every packet is kept as it came, and judged when asked
(`schemas/reports/regimes.py`); of mappings and outlines the newest holds, and the earlier ones stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, insert, select, update

from schemas.ledger.dialect import clock, insert_or_skip, lock_table, locked, to_moment
from schemas.ledger.tables import (
    cursors,
    refused_packets,
    report_catalogues,
    report_mapping_cells,
    report_mappings,
    report_outlines,
    report_takes,
    reports,
)
from schemas.reports import packets
from schemas.reports.canonical import digest
from schemas.reports.cells import CellPlace
from schemas.reports.regimes import Catalogue, Received, judge, key_of


class CursorMoved(Exception):
    """Somebody else has read on from this place meanwhile; nothing was written."""


class FormPlace(NamedTuple):
    """A form as a regime names it."""

    regime: str
    form: str
    form_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSource:
    """Where the figure of a cell comes from. `optional`: without a figure the form may go all the same."""

    source: str
    argument: str
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FormMapping:
    """A table of a form's cells, as it was imported."""

    mapping_id: int
    place: FormPlace
    table_hash: str
    submitted_by: str
    recorded_at: datetime
    cells: Mapping[CellPlace, CellSource]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedPacket:
    """A packet that was not taken. `reason` is a code; `detail` names a field; `sealed` are its bytes."""

    packet_id: str
    reason: str
    detail: str
    sealed: bytes
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A report of a regime: by when it was due, and when it was first submitted, if it was."""

    regime: str
    period: str
    due_on: date
    submitted_at: datetime | None


# --- what comes in -----------------------------------------------------------------------------------


def cursor(connection: Connection, source: str, feed: str) -> str | None:
    """How far was read; None before the first time."""
    table = cursors.c
    query = select(table.cursor).where(table.source == source, table.feed == feed)
    found: str | None = connection.execute(query).scalar_one_or_none()
    return found


def move_cursor(connection: Connection, source: str, feed: str, old: str | None, new: str) -> None:
    """Read on, if nobody else has. Raises `CursorMoved`."""
    table = cursors.c
    here = (table.source == source, table.feed == feed)
    there = connection.execute(
        locked(connection, select(table.cursor).where(*here), shared=False)
    ).scalar_one_or_none()
    if there != old:
        raise CursorMoved
    if there is None:
        added = connection.execute(
            insert_or_skip(connection, cursors, ["source", "feed"]).returning(table.cursor),
            {"source": source, "feed": feed, "cursor": new},
        )
        if added.first() is None:
            raise CursorMoved
    else:
        connection.execute(update(cursors).where(*here).values(cursor=new))


class Taken(NamedTuple):
    """What became of a packet that was to be kept."""

    new: bool
    same: bool  # this packet was there with this very content; else, if not new, with another


def put_catalogue(
    connection: Connection, packet_id: str, content: packets.Content, received_at: datetime
) -> Taken:
    """Keep a definition as it came. A packet that is there already changes nothing."""
    kind, code, version = key_of(content)
    body = packets.canonical(content)
    content_hash = digest(body)
    row = {
        "packet_id": packet_id,
        "kind": kind.value,
        "code": code,
        "version": version,
        "content_hash": content_hash,
        "content": body.decode(),
        "received_at": received_at,
        "recorded_at": to_moment(clock(connection)),
    }
    added = insert_or_skip(connection, report_catalogues, ["packet_id"])
    if connection.execute(added.returning(report_catalogues.c.place), row).first() is not None:
        return Taken(new=True, same=True)
    there = connection.execute(
        select(report_catalogues.c.content_hash).where(report_catalogues.c.packet_id == packet_id)
    ).scalar_one()
    return Taken(new=False, same=there == content_hash)


def put_refused(connection: Connection, refused: RefusedPacket) -> bool:
    """Keep what was not taken. False: it was noted for this reason before, and stays as it was."""
    row = {
        "packet_id": refused.packet_id,
        "reason": refused.reason,
        "detail": refused.detail,
        "sealed": refused.sealed,
        "received_at": refused.received_at,
        "recorded_at": to_moment(clock(connection)),
    }
    added = insert_or_skip(connection, refused_packets, ["packet_id", "reason"])
    written = connection.execute(added.returning(refused_packets.c.packet_id), row)
    return written.first() is not None


def refused(connection: Connection, limit: int) -> list[RefusedPacket]:
    """The newest `limit` packets that were not taken, newest first."""
    table = refused_packets.c
    query = (
        select(refused_packets)
        .order_by(table.recorded_at.desc(), table.packet_id, table.reason)
        .limit(limit)
    )
    return [
        RefusedPacket(
            packet_id=row.packet_id,
            reason=row.reason,
            detail=row.detail,
            sealed=row.sealed,
            received_at=row.received_at,
        )
        for row in connection.execute(query)
    ]


def received(connection: Connection, *, until: datetime | None = None) -> list[Received]:
    """Everything that was received, in the order in which it came; with `until` what had come by then."""
    table = report_catalogues.c
    query = select(report_catalogues).order_by(table.place)
    if until is not None:
        query = query.where(table.received_at <= until)
    return [
        Received(
            packet_id=row.packet_id,
            place=row.place,
            content=packets.read(row.content.encode()),
            content_hash=row.content_hash,
            received_at=row.received_at,
        )
        for row in connection.execute(query)
    ]


def catalogue(connection: Connection, *, until: datetime | None = None) -> Catalogue:
    """What is in force, judged from all that was received."""
    return judge(received(connection, until=until))


# --- from what forms are filled ----------------------------------------------------------------------


def put_mapping(
    connection: Connection,
    place: FormPlace,
    cells: Mapping[CellPlace, CellSource],
    *,
    table_hash: str,
    submitted_by: str,
) -> int | None:
    """Keep a table of cells, which from now on holds. None: it is the one that holds already."""
    lock_table(connection, report_mappings)
    there = mapping(connection, place)
    if there is not None and there.table_hash == table_hash:
        return None
    added = insert(report_mappings).returning(report_mappings.c.mapping_id)
    row = {
        **place._asdict(),
        "table_hash": table_hash,
        "submitted_by": submitted_by,
        "recorded_at": to_moment(clock(connection)),
    }
    mapping_id: int = connection.execute(added, row).scalar_one()
    if cells:
        connection.execute(
            insert(report_mapping_cells),
            [
                {
                    "mapping_id": mapping_id,
                    "row": cell.row,
                    "column": cell.column,
                    "source": source.source,
                    "argument": source.argument,
                    "optional": source.optional,
                }
                for cell, source in sorted(cells.items())
            ],
        )
    return mapping_id


def mapping(
    connection: Connection, place: FormPlace, *, until: datetime | None = None
) -> FormMapping | None:
    """The table of a form's cells that holds, or held at a time."""
    found = mappings(connection, place=place, until=until)
    return found.get(place)


def mappings(
    connection: Connection, *, place: FormPlace | None = None, until: datetime | None = None
) -> dict[FormPlace, FormMapping]:
    """Those that hold, or held at a time, by form."""
    table, cell = report_mappings.c, report_mapping_cells.c
    newest = select(func.max(table.mapping_id)).group_by(
        table.regime, table.form, table.form_version
    )
    if until is not None:
        newest = newest.where(table.recorded_at <= until)
    if place is not None:
        newest = newest.where(
            table.regime == place.regime,
            table.form == place.form,
            table.form_version == place.form_version,
        )
    heads = connection.execute(
        select(report_mappings).where(table.mapping_id.in_(newest.scalar_subquery()))
    ).all()
    cells: dict[int, dict[CellPlace, CellSource]] = {row.mapping_id: {} for row in heads}
    for row in connection.execute(
        select(report_mapping_cells).where(cell.mapping_id.in_(sorted(cells)))
    ):
        cells[row.mapping_id][CellPlace(row.row, row.column)] = CellSource(
            source=row.source, argument=row.argument, optional=row.optional
        )
    found = [
        FormMapping(
            mapping_id=row.mapping_id,
            place=FormPlace(row.regime, row.form, row.form_version),
            table_hash=row.table_hash,
            submitted_by=row.submitted_by,
            recorded_at=row.recorded_at,
            cells=cells[row.mapping_id],
        )
        for row in heads
    ]
    return {one.place: one for one in found}


def put_outline(
    connection: Connection,
    place: FormPlace,
    *,
    period: str,
    agency: str,
    sealed: bytes,
    submitted_by: str,
) -> None:
    """Keep the words of a report, which from now on hold."""
    connection.execute(
        insert(report_outlines),
        {
            **place._asdict(),
            "period": period,
            "agency": agency,
            "sealed": sealed,
            "submitted_by": submitted_by,
            "recorded_at": to_moment(clock(connection)),
        },
    )


def outline(connection: Connection, place: FormPlace, *, period: str, agency: str) -> bytes | None:
    """The words of a report as they hold, sealed; None: nobody has written any."""
    table = report_outlines.c
    query = (
        select(table.sealed)
        .where(
            table.regime == place.regime,
            table.form == place.form,
            table.form_version == place.form_version,
            table.period == period,
            table.agency == agency,
        )
        .order_by(table.outline_id.desc())
        .limit(1)
    )
    found: bytes | None = connection.execute(query).scalar_one_or_none()
    return found


# --- what was made of it -----------------------------------------------------------------------------


def submissions(connection: Connection) -> list[Submission]:
    """Every report that was opened, by regime and due date."""
    take = report_takes.c
    first = (
        select(take.report_id, func.min(take.submitted_at).label("submitted_at"))
        .group_by(take.report_id)
        .subquery("first")
    )
    query = (
        select(reports.c.regime, reports.c.period, reports.c.due_on, first.c.submitted_at)
        .outerjoin(first, first.c.report_id == reports.c.report_id)
        .order_by(reports.c.regime, reports.c.due_on)
    )
    return [Submission(**row._mapping) for row in connection.execute(query)]
