"""Bringing the ledger's tables up to this version, and refusing any other."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError

from schemas.ledger.database import REMEDY
from schemas.ledger.dialect import ledger_url, lock_migrations, make_engine
from schemas.ledger.model import LedgerMismatch, LedgerUnavailable
from schemas.ledger.tables import metadata


def upgrade(url: str) -> None:
    """Bring the database to this version's migration, in one transaction. Nothing to do is no error."""
    engine = make_engine(url)
    try:
        with engine.begin() as connection:
            lock_migrations(connection)
            current, _ = _revisions(connection)
            if current is not None and current not in _known():
                raise LedgerMismatch(_newer(current))
            command.upgrade(_config(connection), "head")
    except DBAPIError as error:
        raise _refused(url, error) from error
    finally:
        engine.dispose()


def require_current(url: str) -> None:
    """Raise `LedgerMismatch`, naming the remedy, unless the database is at this version's migration."""
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            current, head = _revisions(connection)
            there = set(inspect(connection).get_table_names())
    except DBAPIError as error:
        raise _refused(url, error) from error
    finally:
        engine.dispose()
    if current is None:
        raise LedgerMismatch(f"{_shown(url)} holds no ledger yet: {REMEDY}")
    if current not in _known():
        raise LedgerMismatch(_newer(current))
    if current != head:
        raise LedgerMismatch(
            f"the ledger is at migration {current}, this version needs {head}: {REMEDY}"
        )
    missing = sorted(set(metadata.tables) - there)
    if missing:
        raise LedgerMismatch(
            f"the ledger says it is at migration {current} but lacks {', '.join(missing)}: restore it"
            f" from a backup or name an empty database, then {REMEDY}"
        )


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", "schemas.ledger:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _revisions(connection: Connection) -> tuple[str | None, str | None]:
    current = MigrationContext.configure(connection).get_current_revision()
    return current, ScriptDirectory.from_config(_config()).get_current_head()


def _known() -> set[str]:
    scripts = ScriptDirectory.from_config(_config())
    return {script.revision for script in scripts.walk_revisions()}


def _newer(current: str) -> str:
    return (
        f"the ledger is at migration {current}, which this version does not know:"
        " install the version that wrote it (thongsuot db upgrade never goes back)"
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
