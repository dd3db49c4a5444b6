"""How long the ledger keeps what, which rows are kept long enough, and how many they are.

An event goes, with its timeline, deliveries and attempts, when its source day, its enlistment and the end
of every one of its deliveries lie before the retention, every delivery has ended and every receipt is
published. Bodies of requests and answers may go earlier, the event's key goes later: till then a re-read
is still a duplicate. Whole months are kept, counted back from the database's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select

from schemas.ledger import partitions
from schemas.ledger.tables import (
    OPEN_DELIVERY,
    attempts,
    content,
    deliveries,
    event_keys,
    events,
)

LEAST_EVIDENCE_MONTHS = 12
"""Evidence of deliveries is kept for a year at least: a year's figures must be traceable to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How many whole months are kept. Raises `ValueError` naming what is wrong."""

    evidence_months: int = LEAST_EVIDENCE_MONTHS
    content_months: int = LEAST_EVIDENCE_MONTHS  # sealed request and answer bodies
    dedup_months: int = 36  # event ids

    def __post_init__(self) -> None:
        if self.evidence_months < LEAST_EVIDENCE_MONTHS:
            raise ValueError(f"evidence_months: {LEAST_EVIDENCE_MONTHS} at least")
        if not 1 <= self.content_months <= self.evidence_months:
            raise ValueError("content_months: between 1 and evidence_months")
        if self.dedup_months < self.evidence_months:
            raise ValueError("dedup_months: not below evidence_months")


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """The events of one month of source days that lies before the retention."""

    month: int  # yyyymm
    events: int
    goes: int
    unsettled: int  # stay: a delivery is open, or a receipt unpublished
    recent: int  # stay: taken in or settled within the retention
    deliveries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What `prune` would let go of now."""

    before: int  # yyyymm: the first month whose evidence stays
    months: Sequence[Month]
    bodies: int
    attempts: int  # at most: one that covers a delivery that stays, stays
    keys: int


def month_before(now: datetime, months: int) -> int:
    """The month, yyyymm, so many months before that of `now`: whole months since then are kept."""
    year, month = divmod(now.year * 12 + now.month - 1 - months, 12)
    return year * 100 + month + 1


def first_of(month: int) -> datetime:
    return datetime(month // 100, month % 100, 1, tzinfo=UTC)


def days_of(column: ColumnElement[int], month: int) -> ColumnElement[bool]:
    return column.between(month * 100 + 1, month * 100 + 31)


def deliveries_of(connection: Connection, month: int) -> ColumnElement[bool]:
    """The deliveries of a month; on PostgreSQL so that only its partition is read."""
    if connection.dialect.name != "postgresql":
        return days_of(deliveries.c.source_day, month)
    return and_(
        deliveries.c.delivery_id >= partitions.first_id(month),
        deliveries.c.delivery_id < partitions.first_id(partitions.month_after(month)),
    )


UNSETTLED: ColumnElement[bool] = or_(OPEN_DELIVERY, deliveries.c.receipt == "owed")


def _has(connection: Connection, month: int, *which: Any) -> ColumnElement[bool]:
    """Whether the event has such a delivery."""
    return exists().where(
        deliveries.c.event_id == events.c.event_id, deliveries_of(connection, month), *which
    )


def stays(connection: Connection, month: int, kept_since: datetime) -> ColumnElement[bool]:
    return or_(
        events.c.enlisted_at >= kept_since,
        _has(connection, month, or_(UNSETTLED, deliveries.c.settled_at >= kept_since)),
    )


def months(connection: Connection, before: int) -> list[int]:
    """The months before this one of which there are events."""
    of = events.c.source_day // 100
    query = select(of).where(events.c.source_day < before * 100).distinct().order_by(of)
    return list(connection.execute(query).scalars())


def survey(connection: Connection, retention: Retention, now: datetime) -> Survey:
    before = month_before(now, retention.evidence_months)
    kept_since = first_of(before)
    counted = []
    for month in months(connection, before):
        here = days_of(events.c.source_day, month)
        every = count(connection, events, here)
        stay = count(connection, events, here, stays(connection, month, kept_since))
        unsettled = count(connection, events, here, _has(connection, month, UNSETTLED))
        counted.append(
            Month(
                month=month,
                events=every,
                goes=every - stay,
                unsettled=unsettled,
                recent=stay - unsettled,
                deliveries=count(connection, deliveries, deliveries_of(connection, month)),
            )
        )
    contents_since = first_of(month_before(now, retention.content_months))
    closed = select(attempts.c.attempt_id).where(attempts.c.closed_at < contents_since)
    keys_before = month_before(now, retention.dedup_months)
    return Survey(
        before=before,
        months=counted,
        bodies=count(connection, content, content.c.attempt_id.in_(closed)),
        attempts=count(connection, attempts, attempts.c.closed_at < kept_since),
        keys=count(connection, event_keys, old_key(keys_before)),
    )


def count(connection: Connection, table: Any, *where: Any) -> int:
    query = select(func.count()).select_from(table).where(*where)
    return int(connection.execute(query).scalar_one())


def old_key(before: int) -> ColumnElement[bool]:
    """Old by its day and by its enlistment, and without rows: an event that is still open keeps its key."""
    rows = exists().where(
        events.c.event_id == event_keys.c.event_id, events.c.source_day == event_keys.c.source_day
    )
    return and_(
        event_keys.c.source_day < before * 100,
        event_keys.c.enlisted_at < first_of(before),
        ~rows,
    )
