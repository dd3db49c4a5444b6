"""What a database error means for the capture: try again later, or stop and page.

The driver's own text is never passed on: it may quote values of a dossier, or the URL.
"""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from connectors.protocols import SourceError, SourceMisconfigured, SourceUnavailable

_RIGHTS = "grant SELECT on the tables named in connectors/one_stop/README.md to the hub's account"
_ACCOUNT = "set THONGSUOT_ONE_STOP__URL and THONGSUOT_ONE_STOP__PASSWORD to a valid account"
_SCHEMA = "the tables of OpenCPS v2 are expected; check the URL's database and `thongsuot check`"
_FILE = "set THONGSUOT_ONE_STOP__URL to the path of the one-stop database"

# MySQL and MariaDB error numbers, PostgreSQL SQLSTATEs, and words of SQLite and of PostgreSQL's
# connection errors (which carry no SQLSTATE) -> (what is wrong, remedy).
_MYSQL: dict[int, tuple[str, str]] = {
    1044: ("no right to the database", _RIGHTS),
    1045: ("wrong user or password", _ACCOUNT),
    1698: ("wrong user or password", _ACCOUNT),
    1049: ("the database does not exist", _SCHEMA),
    1054: ("a column is missing", _SCHEMA),
    1146: ("a table is missing", _SCHEMA),
    1142: ("no right to read a table", _RIGHTS),
    1143: ("no right to read a column", _RIGHTS),
}
_POSTGRES: dict[str, tuple[str, str]] = {
    "28P01": ("wrong user or password", _ACCOUNT),
    "28000": ("wrong user or password", _ACCOUNT),
    "3D000": ("the database does not exist", _SCHEMA),
    "42P01": ("a table is missing", _SCHEMA),
    "42703": ("a column is missing", _SCHEMA),
    "42501": ("no right to read a table", _RIGHTS),
}
_WORDS: tuple[tuple[str, str, str], ...] = (
    ("password authentication failed", "wrong user or password", _ACCOUNT),
    ("no password supplied", "no password is set", _ACCOUNT),
    ("no pg_hba.conf entry", "the server refuses this account or host", _ACCOUNT),
    ('" does not exist', "the user or database does not exist", _SCHEMA),
    ("no such table", "a table is missing", _SCHEMA),
    ("no such column", "a column is missing", _SCHEMA),
    ("unable to open database file", "the database file cannot be opened", _FILE),
    ("file is not a database", "the file is no SQLite database", _FILE),
)


def classify(error: SQLAlchemyError) -> SourceError:
    """The source error that a database error stands for. Unknown troubles are waited out."""
    origin = error.orig if isinstance(error, DBAPIError) else None
    code = _code(origin)
    known = None
    if isinstance(code, int):
        known = _MYSQL.get(code)
    elif isinstance(code, str):
        known = _POSTGRES.get(code)
    if known is None and origin is not None:
        text = str(origin)
        known = next(((what, fix) for words, what, fix in _WORDS if words in text), None)
    label = f"{type(origin or error).__name__}{f' {code}' if code else ''}"
    if known is not None:
        return SourceMisconfigured(f"one-stop database: {known[0]} ({label}): {known[1]}")
    if isinstance(error, DBAPIError):
        return SourceUnavailable(f"one-stop database does not answer ({label}): it is tried again")
    return SourceMisconfigured(f"one-stop database cannot be read ({label}): {_SCHEMA}")


def _code(origin: BaseException | None) -> int | str | None:
    if origin is None:
        return None
    sqlstate = getattr(origin, "sqlstate", None)
    if isinstance(sqlstate, str):
        return sqlstate
    first = origin.args[0] if origin.args else None
    return first if isinstance(first, int) else None
