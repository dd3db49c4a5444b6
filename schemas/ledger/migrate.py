"""Bringing the ledger's tables up to this version, and refusing any other."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, inspect, select
from sqlalchemy.exc import DBAPIError

from schemas.ledger.dialect import insert_or_update, ledger_url, lock_migrations, make_engine
from schemas.ledger.faults import REMEDY
from schemas.ledger.model import LedgerMismatch, LedgerUnavailable
from schemas.ledger.tables import compatibility, metadata

SCRIPTS = "schemas.ledger:migrations"
"""Where the migrations lie. Each says in `works_from` the oldest revision whose code bears what it leaves."""


def upgrade(url: str) -> None:
    """Bring the database to this version's migration, in one transaction. Nothing to do is no error.

    A ledger that a newer version has brought further is left alone, if this version may work with it.
    """
    engine = make_engine(url)
    try:
        with engine.begin() as connection:
            lock_migrations(connection)
            chain = _chain()
            current = _current(connection)
            if current is not None and current not in chain:
                _require_workable(connection, current, chain)
                return
            command.upgrade(configuration(connection), "head")
            _write_works_from(connection, chain)
    except DBAPIError as error:
        raise _refused(url, error) from error
    finally:
        engine.dispose()


def require_current(url: str) -> None:
    """Raise `LedgerMismatch`, naming the remedy, unless this version may work with the database.

    It may at its own migration; and at a later one that it does not know, if the ledger says that this
    version is new enough: so workers of two versions run side by side during an upgrade, and the program can
    be taken back without the ledger.
    """
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            chain = _chain()
            current = _current(connection)
            if current is None:
                raise LedgerMismatch(f"{_shown(url)} holds no ledger yet: {REMEDY}")
            if current not in chain:
                _require_workable(connection, current, chain)
            elif current != chain[-1]:
                raise LedgerMismatch(
                    f"the ledger is at migration {current}, this version needs {chain[-1]}: {REMEDY}"
                )
            there = set(inspect(connection).get_table_names())
    except DBAPIError as error:
        raise _refused(url, error) from error
    finally:
        engine.dispose()
    missing = sorted(set(metadata.tables) - there)
    if missing:
        raise LedgerMismatch(
            f"the ledger says it is at migration {current} but lacks {', '.join(missing)}: restore it"
            f" from a backup or name an empty database, then {REMEDY}"
        )


def configuration(connection: Connection | None = None) -> Config:
    """What alembic is told; migrations run on `connection`."""
    config = Config()
    config.set_main_option("script_location", SCRIPTS)
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _scripts() -> list[Script]:
    """Oldest first."""
    return list(ScriptDirectory.from_config(configuration()).walk_revisions())[::-1]


def _chain() -> list[str]:
    """The revisions that this version knows, oldest first; the last is the one it needs."""
    return [script.revision for script in _scripts()]


def _write_works_from(connection: Connection, chain: list[str]) -> None:
    """The latest that any migration asks for: an older program would stumble over that one."""
    asked = [script.module.works_from for script in _scripts()]
    row = {"id": 1, "works_from": max(asked, key=chain.index)}
    connection.execute(
        insert_or_update(connection, compatibility, ["id"], {"works_from": "works_from"}), row
    )


def _require_workable(connection: Connection, current: str, chain: list[str]) -> None:
    works_from = connection.execute(select(compatibility.c.works_from)).scalar_one_or_none()
    if works_from not in chain:
        raise LedgerMismatch(
            f"the ledger is at migration {current}, which can be worked with from {works_from} on;"
            f" this version knows {chain[-1]}: install the version that wrote it (thongsuot db upgrade"
            " never goes back), or restore the backup from before the upgrade"
        )


def _shown(url: str) -> str:
    return ledger_url(url).render_as_string(hide_password=True)


def _refused(url: str, error: DBAPIError) -> LedgerUnavailable | LedgerMismatch:
    said = str(error.orig).partition("\n")[0]
    if "already exists" in said:
        return LedgerMismatch(
            f"{_shown(url)} holds tables that no ledger made ({said}): name an empty database, then"
            f" {REMEDY}"
        )
    return LedgerUnavailable(f"{_shown(url)} does not answer ({said})")
