"""Letting go of what has been kept long enough; `retention.py` says what that is.

Months that go whole are dropped as partitions on PostgreSQL; else rows go, a few hundred in one transaction,
so that workers go on. Never touched: dossiers and their aliases, what is known of them at a target,
positions, claims, mappings, findings, dead letters.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from sqlalchemy import Connection, delete, exists, or_, select, text

from schemas.ledger import partitions
from schemas.ledger.database import Lane
from schemas.ledger.model import LedgerUnavailable
from schemas.ledger.retention import (
    UNSETTLED,
    Retention,
    count,
    days_of,
    deliveries_of,
    first_of,
    month_before,
    months,
    old_key,
    stays,
)
from schemas.ledger.tables import attempts, content, deliveries, event_keys, events, timeline
from schemas.ledger.work import chunks

ROWS = 500
"""Events, attempts or keys that one transaction lets go of."""

PAUSE_SECONDS = 0.02
"""Between two transactions: SQLite has one writer, and it is not us."""

DROP_TRIES = 5
DROP_LOCK_MILLISECONDS = 2000
BUSY_SECONDS = 1.0
"""How often, and with which pauses, a month that is in use is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What `prune` let go of. `busy`: months in use, left for the next time."""

    events: int
    deliveries: int
    attempts: int
    bodies: int
    keys: int
    dropped: Sequence[int]  # months, as whole partitions
    busy: Sequence[int]


async def prune(
    lane: Lane,
    retention: Retention,
    now: datetime,
    tell: Callable[[str, int], None] = lambda _what, _rows: None,
) -> Pruned:
    """Let go of it. `tell` hears what goes as it goes. May be stopped at any time and begun again.

    `now` is the database's time. Raises `LedgerUnavailable`.
    """
    before = month_before(now, retention.evidence_months)
    kept_since = first_of(before)
    contents_since = first_of(month_before(now, retention.content_months))
    keys_before = month_before(now, retention.dedup_months)
    dropped: list[int] = []
    busy: list[int] = []
    gone = {"events": 0, "deliveries": 0, "attempts": 0, "bodies": 0, "keys": 0}

    def add(**rows: int) -> None:
        for what, number in rows.items():
            gone[what] += number
            if number:
                tell(what, number)

    for month in await lane.read(lambda c: _partitions_before(c, before)):
        try:
            rows = await _drop_if_settled(lane, month, kept_since)
        except LedgerUnavailable:
            busy.append(month)
            continue
        if rows is not None:
            dropped.append(month)
            add(deliveries=rows[0], events=rows[1])
    for month in await lane.read(lambda c: months(c, before)):
        if month not in busy:
            async for owed, told in _rounds(lane, _RowsOf(month, kept_since)):
                add(deliveries=owed, events=told)
    async for tried, bodies in _rounds(lane, _Attempts(kept_since, contents_since)):
        add(attempts=tried, bodies=bodies)
    async for (keys,) in _rounds(lane, _Keys(keys_before)):
        add(keys=keys)
    return Pruned(**gone, dropped=dropped, busy=busy)


# --- whole months -----------------------------------------------------------------------------------


def _partitions_before(connection: Connection, before: int) -> list[int]:
    if connection.dialect.name != "postgresql":
        return []
    there = (int(name) for name in partitions.partitions(connection) if name.isdigit())
    return sorted(month for month in there if month < before)


async def _drop_if_settled(lane: Lane, month: int, kept_since: datetime) -> tuple[int, int] | None:
    """The deliveries and events that went; ``None`` when some must stay.

    Raises `LedgerUnavailable` when the tables are in use throughout: a lock that is asked for makes
    everybody else wait behind us, so we ask shortly and come again.
    """
    for nth in range(1, DROP_TRIES + 1):
        try:
            return await lane.write(lambda c: _drop(c, month, kept_since))
        except LedgerUnavailable:
            if nth == DROP_TRIES:
                raise
            await asyncio.sleep(BUSY_SECONDS)
    raise AssertionError("unreachable")


def _drop(connection: Connection, month: int, kept_since: datetime) -> tuple[int, int] | None:
    connection.execute(text(f"SET LOCAL lock_timeout = '{DROP_LOCK_MILLISECONDS}'"))
    partitions.lock_partitions(connection)
    if str(month) not in partitions.partitions(connection):
        return 0, 0  # dropped by another, or by us when the answer was lost
    leaves = ", ".join(f"{table}_{month}" for table in partitions.PARTITIONED)
    # Readers go on while we look; nobody can add to an old month meanwhile.
    connection.execute(text(f"LOCK TABLE {leaves} IN SHARE MODE"))
    of_month = deliveries_of(connection, month)
    kept = or_(UNSETTLED, deliveries.c.settled_at >= kept_since)
    here = days_of(events.c.source_day, month)
    if _there(connection, deliveries, of_month, kept) or _there(
        connection, events, here, events.c.enlisted_at >= kept_since
    ):
        return None
    rows = (count(connection, deliveries, of_month), count(connection, events, here))
    partitions.drop(connection, str(month))
    return rows


def _there(connection: Connection, table: Any, *where: Any) -> bool:
    return bool(connection.execute(select(exists(select(table).where(*where)))).scalar_one())


# --- rows -------------------------------------------------------------------------------------------


class _Round(Protocol):
    """One pass over a table in the order of its key."""

    def __call__(self, connection: Connection, after: str) -> tuple[str | None, tuple[int, ...]]:
        """Handle the next rows. The last key seen, ``None`` at the end, and how many rows went."""
        ...


async def _rounds(lane: Lane, step: _Round) -> AsyncIterator[tuple[int, ...]]:
    after: str | None = ""
    while after is not None:
        after, went = await lane.write(partial(step, after=after))
        yield went
        await asyncio.sleep(PAUSE_SECONDS)


@dataclass(frozen=True, slots=True)
class _RowsOf:
    """The rows of one month."""

    month: int
    kept_since: datetime

    def __call__(self, connection: Connection, after: str) -> tuple[str | None, tuple[int, ...]]:
        query = (
            select(events.c.event_id)
            .where(
                days_of(events.c.source_day, self.month),
                events.c.event_id > after,
                ~stays(connection, self.month, self.kept_since),
            )
            .order_by(events.c.event_id)
            .limit(ROWS)
        )
        some = list(connection.execute(query).scalars())
        if not some:
            return None, (0, 0)
        owed = connection.execute(
            delete(deliveries).where(
                deliveries_of(connection, self.month), deliveries.c.event_id.in_(some)
            )
        ).rowcount
        for table in (timeline, events):
            connection.execute(
                delete(table).where(
                    days_of(table.c.source_day, self.month), table.c.event_id.in_(some)
                )
            )
        return some[-1], (owed, len(some))


@dataclass(frozen=True, slots=True)
class _Attempts:
    """Attempts whose deliveries are all gone, and the bodies of attempts that ended long ago."""

    kept_since: datetime
    contents_since: datetime

    def __call__(self, connection: Connection, after: str) -> tuple[str | None, tuple[int, ...]]:
        query = (
            select(attempts.c.attempt_id, attempts.c.closed_at, attempts.c.delivery_ids)
            .where(attempts.c.attempt_id > after, attempts.c.closed_at < self.contents_since)
            .order_by(attempts.c.attempt_id)
            .limit(ROWS)
        )
        rows = connection.execute(query).all()
        if not rows:
            return None, (0, 0)
        covered = {
            row.attempt_id: json.loads(row.delivery_ids)
            for row in rows
            if row.closed_at < self.kept_since
        }
        there: set[int] = set()
        for ids in chunks(sorted({i for members in covered.values() for i in members})):
            there.update(
                connection.execute(
                    select(deliveries.c.delivery_id).where(deliveries.c.delivery_id.in_(ids))
                ).scalars()
            )
        some = [row.attempt_id for row in rows]
        bodies = connection.execute(delete(content).where(content.c.attempt_id.in_(some))).rowcount
        gone = [a for a, members in covered.items() if not there.intersection(members)]
        connection.execute(delete(attempts).where(attempts.c.attempt_id.in_(gone)))
        return some[-1], (len(gone), bodies)


@dataclass(frozen=True, slots=True)
class _Keys:
    """Keys of events that nobody asks about any more."""

    before: int

    def __call__(self, connection: Connection, after: str) -> tuple[str | None, tuple[int, ...]]:
        query = (
            select(event_keys.c.event_id)
            .where(event_keys.c.event_id > after, old_key(self.before))
            .order_by(event_keys.c.event_id)
            .limit(ROWS)
        )
        some = list(connection.execute(query).scalars())
        if not some:
            return None, (0,)
        connection.execute(delete(event_keys).where(event_keys.c.event_id.in_(some)))
        return some[-1], (len(some),)
