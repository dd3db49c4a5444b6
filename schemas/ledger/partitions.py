"""The months by which PostgreSQL keeps events, timeline and deliveries apart.

A row belongs to the month of its event's *source day*, which is derived from the event alone, so that a
re-read gives the same day. Events and timeline are partitioned by that day; a delivery's id begins with the
month (``202611`` and ten digits), so that a statement that names an id finds its partition, and none has
to carry the day beside it.

A month is made by the transaction that first enlists into it. Attaching a partition locks out nobody who
reads or writes. Constraints across tables stand on the partitions, month against month: they are checked
as quickly as between plain tables, and fall with their month. What lies before the first month or after
the last has a partition of its own for all of it.

SQLite keeps plain tables; there the day is a column like others and an id is just the next number.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from sqlalchemy import Connection, text

FIRST_MONTH = 202601
END_MONTH = 210001

EARLY, LATE = "early", "late"

IDS_A_MONTH = 10_000_000_000
"""Deliveries that one month can number; the sequence begins anew after as many."""

_LOCK = 7406822

_THERE = text(
    "SELECT substr(c.relname, length('deliveries_') + 1) FROM pg_inherits i"
    " JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = CAST('deliveries' AS regclass)"
)

PARTITIONED = ("events", "timeline", "deliveries")
"""In the order in which a month is made; it is dropped in the other."""


def source_day(effective_at: datetime) -> int:
    """The UTC day on which an event took effect, as yyyymmdd."""
    day = effective_at.astimezone(UTC)
    return day.year * 10_000 + day.month * 100 + day.day


def month_of(day: int) -> int:
    """yyyymmdd -> yyyymm."""
    return day // 100


def first_id(month: int) -> int:
    """Below every delivery id of this month, and above those of the month before."""
    return month * IDS_A_MONTH


def month_after(month: int) -> int:
    """The next yyyymm."""
    return month + 1 if month % 100 < 12 else month + 89


def partition_of(month: int) -> str:
    """What stands behind the table's name: the month, or `EARLY` or `LATE`."""
    if month < FIRST_MONTH:
        return EARLY
    return LATE if month >= END_MONTH else str(month)


def months_of(name: str) -> tuple[int | None, int | None]:
    """The first month of a partition and the first one after it; None: it has no such end."""
    if name == EARLY:
        return None, FIRST_MONTH
    if name == LATE:
        return END_MONTH, None
    return int(name), month_after(int(name))


def partitions(connection: Connection) -> set[str]:
    """Those that are there."""
    return set(connection.execute(_THERE).scalars())


def provide(connection: Connection, months: Collection[int]) -> None:
    """Make those of these months that are missing, in this transaction."""
    if connection.dialect.name != "postgresql":
        return
    wanted = {partition_of(month) for month in months}
    if wanted <= partitions(connection):
        return
    lock_partitions(connection)
    for name in sorted(wanted - partitions(connection)):
        month = int(name)
        _make(connection, name, str(month), str(month_after(month)))


def provide_ends(connection: Connection) -> None:
    """Make the two that hold what lies outside the months. Only a migration calls this."""
    _make(connection, EARLY, None, str(FIRST_MONTH))
    _make(connection, LATE, str(END_MONTH), None)


def drop(connection: Connection, name: str) -> None:
    """Drop one partition of each table, with every row in it."""
    for table in reversed(PARTITIONED):
        connection.execute(text(f"DROP TABLE {table}_{name}"))


def lock_partitions(connection: Connection) -> None:
    """Let one transaction at a time make or drop months."""
    connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))


def _make(connection: Connection, name: str, start: str | None, end: str | None) -> None:
    """Make the partitions from the month `start` to before the month `end`."""
    for table in PARTITIONED:
        # An id has ten digits behind the month, a day has two.
        digits = "0" * 10 if table == "deliveries" else "01"
        bounds = [
            f"{month}{digits}" if month else edge
            for month, edge in ((start, "MINVALUE"), (end, "MAXVALUE"))
        ]
        leaf = f"{table}_{name}"
        extra = ""
        if table == "deliveries":
            extra = f", CONSTRAINT uq_{leaf}_event_id UNIQUE (event_id, target, operation)"
        if table != "events":
            extra += (
                f", CONSTRAINT fk_{leaf}_events FOREIGN KEY (event_id, source_day)"
                f" REFERENCES events_{name} (event_id, source_day)"
            )
        connection.execute(
            text(
                f"CREATE TABLE {leaf} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS{extra})"
            )
        )
        connection.execute(
            text(
                f"ALTER TABLE {table} ATTACH PARTITION {leaf}"
                f" FOR VALUES FROM ({bounds[0]}) TO ({bounds[1]})"
            )
        )
