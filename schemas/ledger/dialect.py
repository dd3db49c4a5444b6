"""Everything in which SQLite and PostgreSQL differ, and nothing else of the ledger.

SQLite keeps times as whole microseconds since the epoch (INTEGER): exact, sortable, comparable with the
database's own clock without parsing text. PostgreSQL keeps `timestamptz`. Decimals are whole ten-thousandths
on SQLite, which would make binary fractions of them, and `numeric` on PostgreSQL.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    DateTime,
    Dialect,
    Engine,
    Insert,
    Interval,
    Numeric,
    Row,
    Select,
    Table,
    Text,
    bindparam,
    create_engine,
    event,
    text,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.types import TypeDecorator, TypeEngine

from schemas.ledger.model import LedgerUnavailable

AnyRow: TypeAlias = Row[*tuple[Any, ...]]
"""A result row, read by column name."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

BUSY_SECONDS = 5.0
"""How long a statement waits for another process's lock before the ledger counts as unavailable."""

_SQLITE_CLOCK = text(
    "SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) / 1000.0"
)
_POSTGRESQL_CLOCK = text("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)")

# Whoever is silent in a transaction for so long is frozen or cut off: its locks on the positions must not
# keep the next owner of the partitions waiting.
_SILENT_SECONDS = 3.0
_HURRIED_SECONDS = 1.0

# Our statements need one plan each, whatever their values: left alone, the planner plans an update of a
# partitioned table anew for every row, which doubles what a delivery costs the server.
_POSTGRESQL_OPTIONS = (
    f"-c timezone=UTC -c lock_timeout={int(BUSY_SECONDS * 1000)}"
    f" -c idle_in_transaction_session_timeout={int(_SILENT_SECONDS * 1000)}"
    " -c plan_cache_mode=force_generic_plan"
)


class UtcTimestamp(TypeDecorator[datetime]):
    """A moment: an aware `datetime` in UTC in Python. A naive one is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone: the ledger keeps moments only")
        return (value - EPOCH) // _MICROSECOND if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if dialect.name == "sqlite":
            return EPOCH + timedelta(microseconds=value)
        moment: datetime = value.astimezone(UTC)
        return moment


class FourDecimals(TypeDecorator[Decimal]):
    """An exact number of at most 18 digits, of which four are decimals. A finer one is refused."""

    impl = Numeric(18, 4)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(Numeric(18, 4))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        whole = value.scaleb(4)
        if not whole.is_finite() or whole != whole.to_integral_value():
            raise ValueError("a number with more than four decimals, or none: round it")
        return int(whole) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        if value is None or dialect.name != "sqlite":
            return value  # type: ignore[no-any-return] # a Decimal of four decimals
        return Decimal(value).scaleb(-4)


class PlainText(TypeDecorator[str]):
    """Text from outside. NUL, which PostgreSQL cannot hold, is kept as U+FFFD on both databases."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return without_nul(value) if value is not None and "\x00" in value else value


def without_nul(value: str) -> str:
    """The text as `PlainText` keeps it."""
    return value.replace("\x00", "\ufffd")


def to_moment(seconds: float) -> datetime:
    """Seconds since the epoch as an aware UTC time, to the microsecond."""
    return EPOCH + timedelta(microseconds=round(seconds * 1_000_000))


def to_seconds(moment: datetime) -> float:
    """An aware time as seconds since the epoch."""
    return (moment - EPOCH) / timedelta(seconds=1)


def ledger_url(url: str) -> URL:
    """The database's address with the driver we use. Raises `ValueError` naming the remedy."""
    parsed = make_url(url)
    name = parsed.get_backend_name()
    if name == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if name != "sqlite":
        raise ValueError(f"the ledger runs on sqlite or postgresql, not on {name}: change its URL")
    if not parsed.database or parsed.database == ":memory:":
        raise ValueError("the ledger needs a file: use sqlite:///path/to/ledger.db")
    return parsed.set(drivername="sqlite+pysqlite")


def make_engine(url: str, session: str = "") -> Engine:
    """An engine with one connection, for one thread. Errors never show parameters.

    `session` is the name by which another process may end it: see `end_frozen`.
    """
    target = ledger_url(url)
    common: dict[str, Any] = {"pool_size": 1, "max_overflow": 0, "hide_parameters": True}
    if target.get_backend_name() == "postgresql":
        engine = create_engine(
            target,
            **common,
            connect_args={
                "options": _POSTGRESQL_OPTIONS,
                "connect_timeout": 5,
                "keepalives_idle": 10,
                "tcp_user_timeout": 10_000,
                "application_name": _application(session),
            },
        )
        event.listen(engine, "checkin", _leave_read_only_to_the_server)
        return engine
    engine = create_engine(
        target,
        **common,
        paramstyle="named",  # as psycopg's: rows are dicts on both databases
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
    )
    event.listen(engine, "connect", _open_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _leave_read_only_to_the_server(connection: Any, _record: Any) -> None:
    """After `for_reading` SQLAlchemy asks for READ WRITE in every transaction.

    That would write to a database whose keeper has switched it to read-only, as some do when its disk
    fills.
    """
    if connection is not None:
        connection.read_only = None


def _open_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, so that DDL is transactional too
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    reading = connection.get_execution_options().get("ledger_reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def for_reading(connection: Connection) -> Connection:
    """Make the coming transaction read one snapshot and write nothing."""
    if connection.dialect.name == "postgresql":
        return connection.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
    return connection.execution_options(ledger_reading=True)


def for_counting(connection: Connection) -> None:
    """Let this transaction's statements read very many rows.

    They are planned for their values, for a plan for any takes a month of dossiers for a handful. They may
    hash the month in memory, but not in more than a container's shared memory has (three processes with two
    tables); and are not compiled, which takes longer than it saves.
    """
    if connection.dialect.name == "postgresql":
        for setting in _FOR_COUNTING:
            connection.execute(setting)


def clock(connection: Connection) -> float:
    """The database's clock now, seconds since the epoch."""
    name = connection.dialect.name
    return float(
        connection.execute(
            _POSTGRESQL_CLOCK if name == "postgresql" else _SQLITE_CLOCK
        ).scalar_one()
    )


def locked(connection: Connection, query: Select[Any], *, shared: bool) -> Select[Any]:
    """The query with its rows locked until commit. On SQLite BEGIN IMMEDIATE has done that."""
    if connection.dialect.name == "postgresql":
        return query.with_for_update(read=shared)
    return query


def in_code_order(connection: Connection, column: ColumnElement[str]) -> ColumnElement[str]:
    """Text ordered as Python orders it, whatever the database's collation: rows are locked in that order."""
    return column.collate("C") if connection.dialect.name == "postgresql" else column


_END_FROZEN = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    " AND usename = current_user AND application_name IN :names"
    " AND xact_start < clock_timestamp() - make_interval(secs => :seconds)"
).bindparams(bindparam("names", expanding=True))

_FOR_COUNTING = tuple(
    text(f"SET LOCAL {setting}")
    for setting in ("plan_cache_mode = force_custom_plan", "work_mem = '16MB'", "jit = off")
)

_HURRY = text(f"SET LOCAL lock_timeout = {int(_HURRIED_SECONDS * 1000)}")


def end_frozen(connection: Connection, sessions: Sequence[str]) -> None:
    """End those of these sessions that have been in one transaction for longer than ours ever last.

    The server's own time-out does not see a process that was frozen in the midst of a pipeline of
    statements, and its locks would stand until it wakes. On SQLite a frozen process holds the file.
    """
    if connection.dialect.name == "postgresql" and sessions:
        names = [_application(session) for session in sessions]
        connection.execute(_END_FROZEN, {"names": names, "seconds": _SILENT_SECONDS})


def hurry(connection: Connection) -> None:
    """Wait for locks only shortly in this transaction: the caller tries again."""
    if connection.dialect.name == "postgresql":
        connection.execute(_HURRY)


def _application(session: str) -> str:
    return f"thongsuot {session}".rstrip()


def insert_or_skip(connection: Connection, table: Table, keys: Sequence[str]) -> Insert:
    """INSERT … ON CONFLICT (keys) DO NOTHING."""
    if connection.dialect.name == "postgresql":
        return postgresql_insert(table).on_conflict_do_nothing(index_elements=list(keys))
    return sqlite_insert(table).on_conflict_do_nothing(index_elements=list(keys))


def insert_or_update(
    connection: Connection,
    table: Table,
    keys: Sequence[str],
    changes: Mapping[str, Any],
    *,
    where: Any = None,
) -> Insert:
    """INSERT … ON CONFLICT (keys) DO UPDATE. In `changes`, a string names the new row's column."""
    statement: Any
    if connection.dialect.name == "postgresql":
        statement = postgresql_insert(table)
    else:
        statement = sqlite_insert(table)
    values = {
        name: statement.excluded[value] if isinstance(value, str) else value
        for name, value in changes.items()
    }
    result: Insert = statement.on_conflict_do_update(
        index_elements=list(keys), set_=values, where=where
    )
    return result


def at_most_apart(
    connection: Connection, earlier: ColumnElement[Any], later: ColumnElement[Any], span: timedelta
) -> ColumnElement[bool]:
    """Whether the moment in the column `later` is at most `span` after the one in `earlier`."""
    if connection.dialect.name == "postgresql":
        return type_coerce(later - earlier, Interval()) <= span
    apart = type_coerce(later, BigInteger()) - type_coerce(earlier, BigInteger())
    return apart <= span // _MICROSECOND


def lock_table(connection: Connection, table: Table) -> None:
    """Let one transaction at a time decide by what the table holds; others still read it.

    On SQLite BEGIN IMMEDIATE has done that.
    """
    if connection.dialect.name == "postgresql":
        name = connection.dialect.identifier_preparer.format_table(table)
        connection.execute(text(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE"))


def lock_migrations(connection: Connection) -> None:
    """Let one process at a time migrate. On SQLite the write transaction does that."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(7406821)"))


def sqlstate(error: BaseException | None) -> str:
    """PostgreSQL's error code, or ""."""
    return str(getattr(error, "sqlstate", None) or "")


def sqlite_code(error: BaseException | None) -> str:
    """SQLite's result code without its prefix ("BUSY", "CONSTRAINT_UNIQUE"), or ""."""
    name = str(getattr(error, "sqlite_errorname", None) or "")
    return name.removeprefix("SQLITE_")


_POSTGRESQL_MARK = text(
    "SELECT (SELECT system_identifier FROM pg_control_system()) || '/'"
    " || (SELECT oid FROM pg_database WHERE datname = current_database()) || '/'"
    " || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"
)


def database_mark(connection: Connection) -> str:
    """What tells this database from any other, and from a copy of itself that was put in its place.

    PostgreSQL: the cluster, the database in it, and the timeline, which a restore to a point in time and
    the promotion of a standby raise. SQLite: the file's inode; its device's number may be another one
    after the next boot.
    """
    if connection.dialect.name == "postgresql":
        return f"postgresql/{connection.execute(_POSTGRESQL_MARK).scalar_one()}"
    return sqlite_mark(sqlite_file(connection))


def sqlite_mark(path: str) -> str:
    """The same of a SQLite file, without asking the database. Raises `LedgerUnavailable`."""
    try:
        return f"sqlite/{os.stat(path).st_ino}"
    except FileNotFoundError:
        raise LedgerUnavailable("the ledger's file is not there") from None


def sqlite_file(connection: Connection) -> str:
    """The path of the database file."""
    return str(connection.exec_driver_sql("PRAGMA database_list").one()[2])
