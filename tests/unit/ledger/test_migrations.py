"""The migrations make exactly the tables of `tables.py`, and any other database is refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from schemas.ledger.dialect import make_engine
from schemas.ledger.migrate import require_current, upgrade
from schemas.ledger.model import LedgerMismatch, LedgerUnavailable
from schemas.ledger.sql import SqlLedger
from schemas.ledger.tables import metadata


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def execute(path: Path, *statements: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        rows: list[tuple[object, ...]] = []
        for statement in statements:
            rows = connection.execute(statement).fetchall()
        connection.commit()
        return rows
    finally:
        connection.close()


def test_the_migrated_tables_are_those_of_the_code(path: Path) -> None:
    upgrade(url_of(path))
    engine = make_engine(url_of(path))
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"compare_type": True, "include_object": _on_sqlite}
            )
            assert compare_metadata(context, metadata) == []
    finally:
        engine.dispose()


def _on_sqlite(thing: Any, _name: str | None, kind: str, _reflected: bool, _other: Any) -> bool:
    """Not the indexes that only PostgreSQL has; the integration test compares those."""
    return kind != "index" or thing.dialect_kwargs.get("postgresql_using") != "brin"


def test_partial_indexes_are_the_same_in_migration_and_code(path: Path, tmp_path: Path) -> None:
    """Alembic does not compare an index's WHERE; SQLite's own record of it does."""
    upgrade(url_of(path))
    direct = tmp_path / "direct.db"
    engine = make_engine(url_of(direct))
    metadata.create_all(engine)
    engine.dispose()
    query = (
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY 1"
    )
    assert execute(path, query) == execute(direct, query)


def test_every_database_has_an_identity_of_its_own(tmp_path: Path) -> None:
    one, two = tmp_path / "one.db", tmp_path / "two.db"
    upgrade(url_of(one))
    upgrade(url_of(two))
    query = "SELECT id FROM ledger_identity"
    before = execute(one, query)
    assert len(before) == 1
    assert before != execute(two, query)
    upgrade(url_of(one))
    assert execute(one, query) == before


def test_an_empty_database_is_refused_with_the_remedy(path: Path) -> None:
    with pytest.raises(LedgerMismatch, match="run: thongsuot db upgrade"):
        require_current(url_of(path))


def test_a_half_migrated_database_is_refused(path: Path) -> None:
    upgrade(url_of(path))
    execute(path, "DELETE FROM alembic_version")
    with pytest.raises(LedgerMismatch, match="thongsuot db upgrade"):
        require_current(url_of(path))


def test_a_missing_table_is_named(path: Path) -> None:
    upgrade(url_of(path))
    execute(path, "DROP TABLE claims")
    with pytest.raises(LedgerMismatch, match=r"lacks claims.*thongsuot db upgrade"):
        require_current(url_of(path))


def test_a_newer_database_is_refused_and_never_taken_back(path: Path) -> None:
    upgrade(url_of(path))
    execute(
        path,
        "UPDATE alembic_version SET version_num = '9999'",
        "UPDATE compatibility SET works_from = '9998'",
    )
    with pytest.raises(LedgerMismatch, match=r"9999.*from 9998 on.*install the version"):
        require_current(url_of(path))
    with pytest.raises(LedgerMismatch, match="9999"):
        upgrade(url_of(path))


def test_a_failed_migration_leaves_nothing_behind(path: Path) -> None:
    # A table of that name that is not ours: the migration breaks halfway.
    execute(path, "CREATE TABLE positions (x INTEGER)")
    with pytest.raises(LedgerMismatch, match="name an empty database"):
        upgrade(url_of(path))
    assert execute(path, "SELECT name FROM sqlite_master WHERE type = 'table'") == [("positions",)]


async def test_the_ledger_does_not_open_on_a_stranger_s_database(path: Path) -> None:
    with pytest.raises(LedgerMismatch, match="thongsuot db upgrade"):
        async with SqlLedger(url_of(path)):
            pytest.fail("it opened")


async def test_a_table_that_vanishes_later_is_a_mismatch(path: Path) -> None:
    upgrade(url_of(path))
    async with SqlLedger(url_of(path)) as ledger:
        execute(path, "DROP TABLE data_keys")
        with pytest.raises(LedgerMismatch, match="thongsuot db upgrade"):
            await ledger.wrapped_keys()


@pytest.mark.parametrize(
    ("url", "words"),
    [("sqlite://", "needs a file"), ("mysql://h/ledger", "sqlite or postgresql")],
)
def test_a_database_of_another_kind_is_refused(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SqlLedger(url)


def test_a_folder_that_does_not_exist_is_named_without_a_password(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match=r"nowhere/ledger\.db"):
        require_current(f"sqlite:///{tmp_path}/nowhere/ledger.db")
