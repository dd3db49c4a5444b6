"""Statements handed to the driver convert and fill in what Core would have."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    bindparam,
    insert,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError

from schemas.ledger.dialect import PlainText, UtcTimestamp, make_engine
from schemas.ledger.written import Written

AT = datetime(2026, 11, 23, 8, 0, 0, 123456, tzinfo=UTC)

rows = Table(
    "rows",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("at", UtcTimestamp),
    Column("said", PlainText),
)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = make_engine(f"sqlite:///{tmp_path}/ledger.db")
    with engine.connect() as opened:
        rows.create(opened)
        yield opened
    engine.dispose()


def held(connection: Connection) -> list[tuple[int, datetime | None, str | None]]:
    return [(r.id, r.at, r.said) for r in connection.execute(select(rows).order_by(rows.c.id))]


def test_values_are_converted_row_by_row(connection: Connection) -> None:
    Written(insert(rows)).run(
        connection,
        [{"id": 1, "at": AT, "said": "một\x00hai"}, {"id": 2, "at": None, "said": None}],
    )
    assert held(connection) == [(1, AT, "một\ufffdhai"), (2, None, None)]


def test_the_statement_s_own_values_are_filled_in(connection: Connection) -> None:
    Written(insert(rows)).run(connection, [{"id": 1, "at": AT, "said": "một"}])
    Written(update(rows).where(rows.c.id == bindparam("b_id")).values(at=None, said="hai")).run(
        connection, [{"b_id": 1}]
    )
    assert held(connection) == [(1, None, "hai")]


def test_an_insert_of_some_columns_leaves_the_others_alone(connection: Connection) -> None:
    Written(insert(rows), columns=["said"]).run(connection, [{"said": "một"}, {"said": "hai"}])
    assert held(connection) == [(1, None, "một"), (2, None, "hai")]


def test_a_time_without_a_zone_is_refused(connection: Connection) -> None:
    with pytest.raises(ValueError, match="without a zone"):
        Written(insert(rows)).run(connection, [{"id": 1, "at": datetime(2026, 1, 1), "said": None}])  # noqa: DTZ001


@pytest.mark.parametrize("row", [{"id": 1}, {"said": "một"}])
def test_a_row_that_lacks_a_value_is_refused(connection: Connection, row: dict[str, Any]) -> None:
    with pytest.raises((KeyError, DBAPIError)):
        Written(insert(rows), columns=["id", "said"]).run(connection, [row])
