"""Writing to the simulated database: one transaction per business action, and transactions held open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Executable,
    Table,
    bindparam,
    delete,
    event,
    insert,
    text,
    update,
)

Statement = tuple[Executable, Mapping[str, Any]]


def added(table: Table, row: Mapping[str, Any]) -> Statement:
    """An insert of one row."""
    return _insert(table), row


def changed(table: Table, key: int, values: Mapping[str, Any]) -> Statement:
    """An update of the row with that primary key."""
    return _update(table), {**values, _KEY: key}


def removed(table: Table, key: int) -> Statement:
    """A deletion of the row with that primary key."""
    return _delete(table), {_KEY: key}


_KEY = "which_row"


@cache
def _insert(table: Table) -> Executable:
    return insert(table)


@cache
def _update(table: Table) -> Executable:
    (column,) = table.primary_key.columns
    return update(table).where(column == bindparam(_KEY))


@cache
def _delete(table: Table) -> Executable:
    (column,) = table.primary_key.columns
    return delete(table).where(column == bindparam(_KEY))


class Store:
    """Commits lists of statements. Other processes may read at the same time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sqlite = engine.dialect.name == "sqlite"
        if self._sqlite:
            event.listen(engine, "connect", _no_waiting_for_the_disk)

    def open(self) -> None:
        """On SQLite: write-ahead log, so that readers and the writer do not wait for each other."""
        if self._sqlite:
            with self._engine.connect() as connection:
                connection.execute(text("pragma journal_mode=wal"))

    def commit(self, statements: Sequence[Statement]) -> None:
        """Write all of them in one transaction."""
        with self._engine.begin() as connection:
            _run(connection, statements)

    def hold(self, statements: Sequence[Statement]) -> HeldTransaction:
        """Begin a transaction that others do not see until it is committed.

        SQLite lets only one writer in: there the statements are kept back and written at the commit,
        which looks the same from outside.
        """
        if self._sqlite:
            return HeldTransaction(self, statements, None)
        connection = self._engine.connect()
        connection.begin()
        _run(connection, statements)
        return HeldTransaction(self, (), connection)


class HeldTransaction:
    """An open transaction."""

    def __init__(
        self, store: Store, kept: Sequence[Statement], connection: Connection | None
    ) -> None:
        self._store = store
        self._kept = kept
        self._connection = connection

    def commit(self) -> None:
        if self._connection is None:
            self._store.commit(self._kept)
            return
        self._connection.commit()
        self._connection.close()

    def abandon(self) -> None:
        """Roll the transaction back: nothing of it is ever seen."""
        if self._connection is not None:
            self._connection.rollback()
            self._connection.close()


def _run(connection: Connection, statements: Sequence[Statement]) -> None:
    for statement, values in statements:
        connection.execute(statement, values)


def _no_waiting_for_the_disk(connection: Any, _: object) -> None:
    # A simulated province need not survive a power cut; a killed process loses nothing this way.
    connection.execute("pragma synchronous=off")
