"""What a database's error means: away for now, refused for good, not our tables, or a fault of ours."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    InternalError,
    OperationalError,
    ProgrammingError,
)

from schemas.ledger.database import ATTEMPTS, Lane
from schemas.ledger.faults import lost_a_race, raise_named
from schemas.ledger.migrate import upgrade
from schemas.ledger.model import LedgerMismatch, LedgerRefuses, LedgerUnavailable
from schemas.ledger.tables import data_keys, mapping_version

SECRET = "Nguyen Van Thu"


class Said(Exception):
    """A driver's error with PostgreSQL's code, and a text with a value of a row in it."""

    def __init__(self, sqlstate: str | None, constraint: str | None = None) -> None:
        super().__init__(f"the server says no\nDETAIL: {SECRET}")
        self.sqlstate = sqlstate
        self.diag = SimpleNamespace(
            table_name="deliveries", constraint_name=constraint, column_name=None
        )


def of_postgresql(
    sqlstate: str | None,
    kind: type[DBAPIError] = OperationalError,
    constraint: str | None = None,
) -> DBAPIError:
    return kind("UPDATE", {}, Said(sqlstate, constraint))


@pytest.mark.parametrize(
    "sqlstate",
    [
        *("08006", "53100", "53200", "53300", "53400", "55P03", "25P03"),
        *("57014", "57P01", "57P02", "57P03", "58030", "40001", "40P01"),
    ],
)
def test_what_passes_is_unavailable(sqlstate: str) -> None:
    with pytest.raises(LedgerUnavailable, match="does not answer") as caught:
        raise_named(of_postgresql(sqlstate))
    assert SECRET not in str(caught.value)


def test_a_read_only_database_is_unavailable_though_the_driver_calls_it_an_internal_error() -> None:
    with pytest.raises(LedgerUnavailable):
        raise_named(of_postgresql("25006", InternalError))


def test_a_connection_that_broke_without_a_code_is_unavailable() -> None:
    with pytest.raises(LedgerUnavailable):
        raise_named(of_postgresql(None))


@pytest.mark.parametrize(
    "sqlstate", ["22001", "22003", "22021", "23502", "23503", "23505", "54000"]
)
def test_a_row_that_cannot_be_held_is_refused_by_name_and_without_its_content(
    sqlstate: str,
) -> None:
    original = of_postgresql(sqlstate, DataError, "pk_deliveries")
    with pytest.raises(LedgerRefuses, match=f"{sqlstate} deliveries pk_deliveries") as caught:
        raise_named(original)
    assert caught.value.__cause__ is original
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("sqlstate", ["42P01", "42703"])
def test_tables_of_another_version_are_a_mismatch(sqlstate: str) -> None:
    with pytest.raises(LedgerMismatch, match="thongsuot db upgrade"):
        raise_named(of_postgresql(sqlstate, ProgrammingError))


@pytest.mark.parametrize("sqlstate", ["42601", "XX001", "0A000"])
def test_a_fault_of_ours_stays_what_it_is(sqlstate: str) -> None:
    original = of_postgresql(sqlstate, ProgrammingError)
    with pytest.raises(ProgrammingError) as caught:
        raise_named(original)
    assert caught.value is original
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (of_postgresql("40001"), True),
        (of_postgresql("40P01"), True),
        (of_postgresql("23514"), True),  # its month was dropped
        (of_postgresql("23514", constraint="ck_deliveries_state"), False),
        (of_postgresql("23505", constraint="pk_events"), False),
        (of_postgresql("53100"), False),
    ],
)
def test_what_is_simply_run_again(error: DBAPIError, again: bool) -> None:
    assert lost_a_race(error) is again


# --- SQLite, for real ---------------------------------------------------------------------------------


@pytest.fixture
async def lane(tmp_path: Path) -> AsyncIterator[Lane]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    upgrade(url)
    lane = Lane(url, "test")
    yield lane
    await lane.close()


def put_key(key_id: object, wrapped: object = b"w") -> Callable[[Connection], None]:
    query = text("INSERT INTO data_keys (key_id, wrapped, created_at) VALUES (:k, :w, 0)")

    def put(connection: Connection) -> None:
        connection.execute(query, {"k": key_id, "w": wrapped})

    return put


async def keys(lane: Lane) -> list[str]:
    return await lane.read(lambda c: list(c.execute(data_keys.select()).scalars()))


async def test_a_full_disk_is_unavailable_and_passes(lane: Lane) -> None:
    def fill(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        put_key("k1", b"x" * 1_000_000)(connection)

    with pytest.raises(LedgerUnavailable, match="full"):
        await lane.write(fill)
    await lane.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count = 1000000"))
    await lane.write(put_key("k2"))
    assert await keys(lane) == ["k2"]


async def test_a_read_only_database_is_unavailable_and_passes(lane: Lane) -> None:
    await lane.read(lambda c: c.exec_driver_sql("PRAGMA query_only = ON"))
    with pytest.raises(LedgerUnavailable, match="readonly"):
        await lane.write(put_key("k1"))
    await lane.read(lambda c: c.exec_driver_sql("PRAGMA query_only = OFF"))
    await lane.write(put_key("k1"))
    assert await keys(lane) == ["k1"]


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(put_key("\udce1"), id="lone surrogate"),
        pytest.param(put_key("k", 2**63), id="beyond 64 bits"),
        pytest.param(put_key(None), id="null"),
        pytest.param(
            lambda c: c.execute(mapping_version.insert().values(id=1, version=1)), id="key"
        ),
    ],
)
async def test_what_cannot_be_held_is_refused_and_undone(
    lane: Lane, work: Callable[[Connection], None]
) -> None:
    runs: list[int] = []

    def poisoned(connection: Connection) -> None:
        runs.append(1)
        put_key("before")(connection)
        work(connection)

    with pytest.raises(LedgerRefuses) as caught:
        await lane.write(poisoned)
    assert caught.value.__cause__ is not None
    assert runs == [1], "it would be refused again"
    assert await keys(lane) == []


async def test_too_large_a_value_is_refused(lane: Lane) -> None:
    def limited(connection: Connection) -> None:
        raw = connection.connection.dbapi_connection
        assert isinstance(raw, sqlite3.Connection)
        before = raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000)
        try:
            put_key("k", b"x" * 20_000)(connection)
        finally:
            raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)

    with pytest.raises(LedgerRefuses):
        await lane.write(limited)


async def test_a_race_that_is_lost_for_ever_ends(lane: Lane) -> None:
    runs: list[int] = []

    def work(_connection: Connection) -> None:
        runs.append(1)
        raise of_postgresql("40001")

    with pytest.raises(LedgerUnavailable):
        await lane.write(work)
    assert len(runs) == ATTEMPTS
