"""The one-stop database: engine, read-only snapshots, and times as the text that stands there.

Times come back as text on every database, so that an impossible date ("0000-00-00", year 20260) reaches
the mapping instead of breaking a page. Nothing is ever written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pymysql.converters
from psycopg.types.string import TextLoader
from pymysql.constants import FIELD_TYPE
from sqlalchemy import (
    BindParameter,
    ColumnClause,
    Connection,
    DateTime,
    Engine,
    Select,
    String,
    TableClause,
    bindparam,
    column,
    create_engine,
    event,
    inspect,
    select,
    table,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from connectors.one_stop.columns import SPECS, TableSpec
from connectors.one_stop.config import OneStopSettings
from connectors.one_stop.failures import classify
from connectors.protocols import SourceMisconfigured

Row = dict[str, Any]
"""One row by OpenCPS column name: text, int or None; times as text, flags as bool."""

_CHUNK = 400  # values in one IN list


class OneStopDatabase:
    """Blocking access to the database; one caller at a time (the source runs it in its own thread)."""

    def __init__(self, settings: OneStopSettings) -> None:
        self.settings = settings
        self.zone = ZoneInfo(settings.zone)
        self.engine = _engine(settings)
        self.dialect = self.engine.dialect.name
        self._tables: dict[str, TableClause] = {}

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """One read-only transaction in which every query sees the same moment.

        Raises `SourceUnavailable` or `SourceMisconfigured`.
        """
        try:
            with self.engine.connect() as connection:
                for statement in _BEGIN[self.dialect]:
                    connection.exec_driver_sql(statement)
                try:
                    yield connection
                finally:
                    connection.exec_driver_sql("ROLLBACK")
        except SQLAlchemyError as error:
            raise classify(error) from None

    def table(self, connection: Connection, name: str) -> TableClause:
        """The table with its columns as the database writes them: Liferay on PostgreSQL uses lower case.

        Raises `SourceMisconfigured` naming every missing column.
        """
        found = self._tables.get(name)
        if found is None:
            missing = missing_columns(connection, SPECS[name])
            if missing:
                raise SourceMisconfigured(
                    f"one-stop database: {name} lacks {', '.join(missing)}, or the account may not "
                    "read it: see connectors/one_stop/README.md"
                )
            found = self._tables[name] = table(
                name, *(column(actual) for actual in _actual(connection, name).values())
            )
        return found

    def columns(self, connection: Connection, name: str) -> Mapping[str, ColumnClause[Any]]:
        """The columns that we read, by OpenCPS name."""
        by_lower = {c.name.lower(): c for c in self.table(connection, name).c}
        return {word: by_lower[word.lower()] for word in SPECS[name].columns}

    def rows(
        self, connection: Connection, name: str, statement: Select[Any] | None = None
    ) -> list[Row]:
        """All the columns of `SPECS[name]` for a statement made with `query`."""
        spec = SPECS[name]
        query = statement if statement is not None else self.query(connection, name)
        return [clean(spec, row) for row in connection.execute(query)]

    def query(self, connection: Connection, name: str) -> Select[Any]:
        """SELECT of the columns that we read, each under its OpenCPS name."""
        columns = self.columns(connection, name)
        return select(*(c.label(word) for word, c in columns.items()))

    def rows_where(
        self, connection: Connection, name: str, word: str, values: Iterable[Any]
    ) -> list[Row]:
        """Rows whose column `word` is one of `values`, in chunks, ordered by primary key."""
        columns = self.columns(connection, name)
        wanted = sorted(set(values))
        found: list[Row] = []
        for start in range(0, len(wanted), _CHUNK):
            chosen = columns[word].in_(wanted[start : start + _CHUNK])
            found += self.rows(connection, name, self.query(connection, name).where(chosen))
        found.sort(key=lambda row: int(row[SPECS[name].key]))
        return found

    def bind_time(self, text: str) -> BindParameter[Any]:
        """A local time, as it was read, for a comparison in the database."""
        if self.dialect == "sqlite":  # text there: compared as it stands
            return bindparam(None, text, type_=String())
        return bindparam(None, parse_local(text), type_=DateTime())

    def now(self, connection: Connection) -> float:
        """The database's clock, seconds since the epoch."""
        value = connection.exec_driver_sql(_NOW[self.dialect]).scalar_one()
        return float(value)

    def local_now(self, connection: Connection, ahead_seconds: float = 0.0) -> str:
        """The database's clock as a local time, `ahead_seconds` later."""
        moment = datetime.fromtimestamp(self.now(connection), self.zone)
        return format_local((moment + timedelta(seconds=ahead_seconds)).replace(tzinfo=None))


_BEGIN: dict[str, Sequence[str]] = {
    "sqlite": ("BEGIN DEFERRED",),
    "postgresql": ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",),
    "mysql": (
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ),
}
_NOW: dict[str, str] = {
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
    "mysql": "SELECT UNIX_TIMESTAMP(NOW(6))",
}


def parse_local(text: str) -> datetime:
    """A local time of the database. Raises `ValueError` for what is no time."""
    return datetime.fromisoformat(text)


def format_local(moment: datetime) -> str:
    """A local time as every database of ours writes it, without a fraction."""
    return moment.replace(microsecond=0).isoformat(sep=" ")


def clean(spec: TableSpec, values: Iterable[Any]) -> Row:
    """One row, in the same words on every database, so that its hash is the same, too.

    `values` stand in the order of `spec.columns`.
    """
    row: Row = dict(zip(spec.columns, values, strict=True))
    for word in spec.times:
        if (time := row[word]) is not None:
            row[word] = _time_text(time)
    for word in spec.flags:
        if (flag := row[word]) is not None:
            row[word] = bool(flag)
    return row


def _time_text(value: Any) -> str:
    text = value.isoformat(sep=" ") if isinstance(value, datetime) else str(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def missing_columns(connection: Connection, spec: TableSpec) -> list[str]:
    """The columns of `spec` that the database does not show us."""
    actual = _actual(connection, spec.name)
    return [word for word in spec.columns if word.lower() not in actual]


def _actual(connection: Connection, name: str) -> dict[str, str]:
    inspector = inspect(connection)
    if not inspector.has_table(name):
        return {}
    return {found["name"].lower(): found["name"] for found in inspector.get_columns(name)}


def _engine(settings: OneStopSettings) -> Engine:
    url = make_url(settings.url.get_secret_value())
    if settings.password is not None:
        url = url.set(password=settings.password.get_secret_value())
    dialect = url.get_backend_name()
    if dialect == "sqlite":
        return _sqlite_engine(url, settings)
    if dialect == "postgresql":
        options = (
            f"-c DateStyle=ISO -c statement_timeout={settings.statement_timeout_seconds * 1000}"
        )
        arguments: dict[str, Any] = {
            "connect_timeout": settings.connect_timeout_seconds,
            "options": options,
            "application_name": "thongsuot",
        }
    else:
        arguments = {
            "connect_timeout": settings.connect_timeout_seconds,
            "read_timeout": settings.statement_timeout_seconds,
            "charset": "utf8mb4",
            "conv": _MYSQL_CONVERSIONS,
        }
    engine = create_engine(
        url,
        connect_args=arguments,
        isolation_level="AUTOCOMMIT",  # the snapshot begins and ends its transactions itself
        pool_size=1,
        max_overflow=1,
        pool_pre_ping=True,
        hide_parameters=True,
    )
    if dialect == "postgresql":
        event.listen(engine, "connect", _times_as_text)
    return engine


def _sqlite_engine(url: URL, settings: OneStopSettings) -> Engine:
    path = quote(url.database or "")

    def connect() -> sqlite3.Connection:
        # rw and not ro: a reader of a WAL database must be able to make its shared-memory file.
        connection = sqlite3.connect(
            f"file:{path}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=settings.connect_timeout_seconds,
        )
        connection.execute("PRAGMA query_only = ON")
        return connection

    return create_engine(
        "sqlite://",
        creator=connect,
        isolation_level="AUTOCOMMIT",
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=1,
        hide_parameters=True,
    )


_MYSQL_CONVERSIONS: dict[Any, Any] = {
    key: convert
    for key, convert in pymysql.converters.conversions.items()
    if key not in (FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP, FIELD_TYPE.DATE)
}


def _times_as_text(connection: Any, _record: Any) -> None:
    # psycopg refuses years beyond 9999 and "infinity"; as text they reach the mapping.
    connection.adapters.register_loader("timestamp", TextLoader)
