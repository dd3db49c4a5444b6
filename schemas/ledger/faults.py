"""What a database's error means to the ledger: away for now, refused for good, or a fault of ours.

PostgreSQL says it by SQLSTATE, SQLite by the name of its result code. Texts name codes, tables and
constraints, never a value of a row.
"""

from __future__ import annotations

from typing import NoReturn

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, StatementError

from schemas.ledger.dialect import sqlite_code, sqlstate
from schemas.ledger.model import LedgerMismatch, LedgerRefuses, LedgerUnavailable

REMEDY = "run: thongsuot db upgrade"

_LOST_A_RACE = frozenset({"40001", "40P01"})  # serialisation failure, deadlock

# A row that a CHECK forbids; without the name of one: its month was dropped after we had looked.
_NO_MONTH = "23514"

_NOT_OUR_TABLES = frozenset({"42P01", "42703"})  # undefined table, undefined column

# PostgreSQL: waits and comes back. Classes 08 connection, 53 resources (disk full, too many connections),
# 57 the operator (shutdown, cancelled), 58 the system beneath (I/O).
_AWAY_CLASSES = frozenset({"08", "53", "57", "58"})
_AWAY = frozenset(
    {
        *_LOST_A_RACE,
        "25006",  # read-only: a standby, or a database that was switched so
        "25P03",  # idle in a transaction for too long: the process was suspended
        "55000",  # not in the state for it: a standby that is not promoted yet
        "28000",  # refused at the door, as happens while a server is being moved
        "28P01",
        "3D000",  # no such database: it is being restored
        "55006",  # object in use
        "55P03",  # lock not available: lock_timeout
    }
)

# 22 a value (too long, out of range, not encodable), 23 a constraint, 54 a limit (too long for an index).
_REFUSED_CLASSES = frozenset({"22", "23", "54"})

_SQLITE_AWAY = ("BUSY", "LOCKED", "FULL", "READONLY", "IOERR", "CANTOPEN", "NOMEM", "INTERRUPT")
_SQLITE_REFUSED = ("CONSTRAINT", "TOOBIG", "MISMATCH")


def lost_a_race(error: DBAPIError) -> bool:
    """Whether the transaction may simply be run again from its beginning."""
    state = sqlstate(error.orig)
    if state == _NO_MONTH:
        diagnosis = getattr(error.orig, "diag", None)
        return diagnosis is not None and diagnosis.constraint_name is None
    return state in _LOST_A_RACE


def raise_named(error: Exception) -> NoReturn:
    """Raise the error in the ledger's own words; one that is a fault of ours stays as it is."""
    fault = _named(error)
    if fault is error:
        raise error
    raise fault from error


def _named(error: Exception) -> Exception:
    if isinstance(error, (UnicodeError, OverflowError)):
        # Raised by the driver itself: a lone surrogate, a number beyond 64 bits.
        return LedgerRefuses(f"the database cannot hold a value ({type(error).__name__})")
    if isinstance(error, DBAPIError):
        return _of_the_database(error)
    if isinstance(error, StatementError) and isinstance(error.orig, (UnicodeError, OverflowError)):
        return _named(error.orig)
    return error


def _of_the_database(error: DBAPIError) -> Exception:
    state, code = sqlstate(error.orig), sqlite_code(error.orig)
    said = str(error.orig).partition("\n")[0]
    if state in _NOT_OUR_TABLES or said.startswith(("no such table", "no such col")):
        return LedgerMismatch(f"the ledger's tables are not those of this version: {REMEDY}")
    if state[:2] in _REFUSED_CLASSES or code.startswith(_SQLITE_REFUSED):
        return LedgerRefuses(f"the database refuses a row ({_what(error.orig)})")
    if error.connection_invalidated or state in _AWAY or state[:2] in _AWAY_CLASSES:
        return _away(error, said)
    if code.startswith(_SQLITE_AWAY):
        return _away(error, said)
    if not state and not code:
        # The driver's own: the connection broke, or a value could not be put on the wire.
        if type(error.orig).__name__ == "DataError":
            return LedgerRefuses("the database cannot hold a value (DataError)")
        if isinstance(error, (OperationalError, InterfaceError)) or "closed" in said:
            return _away(error, said)
    return error


def _away(error: DBAPIError, said: str) -> LedgerUnavailable:
    # The driver's text may name hosts, never rows: parameters are hidden.
    return LedgerUnavailable(f"the ledger does not answer ({type(error.orig).__name__}: {said})")


def _what(error: BaseException | None) -> str:
    """SQLSTATE, table and constraint; or SQLite's code. Its text would show values."""
    diagnosis = getattr(error, "diag", None)
    parts = [
        type(error).__name__,
        sqlstate(error) or sqlite_code(error),
        getattr(diagnosis, "table_name", None),
        getattr(diagnosis, "constraint_name", None) or getattr(diagnosis, "column_name", None),
    ]
    return " ".join(part for part in parts if part)
