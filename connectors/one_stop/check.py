"""What is wrong with the connection to the one-stop database, all of it at once, in plain words."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, func, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from connectors.one_stop.client import OneStopDatabase, missing_columns, parse_local
from connectors.one_stop.columns import FEED_TABLES, SPECS
from connectors.one_stop.failures import classify
from connectors.protocols import SourceError

ZONE_TOLERANCE = timedelta(minutes=15)
_WRITE_WORDS = ("ALL PRIVILEGES", "INSERT", "UPDATE", "DELETE", "ALTER", "DROP", "CREATE")


def find_problems(database: OneStopDatabase) -> list[str]:
    """Sentences, each naming what is wrong and the remedy; empty when all is well.

    Those that begin with "advice:" do not stop the capture.
    """
    problems: list[str] = []
    try:
        with database.snapshot() as connection:
            complete = _tables(database, connection, problems)
    except SourceError as error:
        return [str(error)]
    for examine in (_readable, _zone, _writable, _indexes):
        if not complete and examine is not _writable:
            continue
        try:
            # One transaction each: on PostgreSQL the first error ends a transaction.
            with database.snapshot() as connection:
                examine(database, connection, problems)
        except SourceError as error:
            problems.append(str(error))
    return list(dict.fromkeys(problems))


def _tables(database: OneStopDatabase, connection: Connection, problems: list[str]) -> bool:
    before = len(problems)
    for name, spec in SPECS.items():
        missing = missing_columns(connection, spec)
        if len(missing) == len(spec.columns):
            problems.append(
                f"table {name} is missing, or the account may not read it: check the database in "
                "THONGSUOT_ONE_STOP__URL and the grants in connectors/one_stop/README.md"
            )
        elif missing:
            problems.append(
                f"table {name} lacks the columns {', '.join(missing)}: OpenCPS v2 is expected"
            )
    return len(problems) == before


def _readable(database: OneStopDatabase, connection: Connection, problems: list[str]) -> None:
    for name in SPECS:
        database.rows(connection, name, database.query(connection, name).limit(1))


def _zone(database: OneStopDatabase, connection: Connection, problems: list[str]) -> None:
    newest = None
    for name in FEED_TABLES:
        modified = database.columns(connection, name)["modifiedDate"]
        found = connection.execute(select(func.max(modified))).scalar_one()
        newest = max(filter(None, (newest, str(found) if found else None)), default=None)
    if newest is None:
        return
    limit = database.local_now(connection, ZONE_TOLERANCE.total_seconds())
    try:
        ahead = parse_local(newest) > parse_local(limit)
    except ValueError:
        problems.append(f"the newest modifiedDate ({newest}) is no date: correct it at the source")
        return
    if ahead:
        problems.append(
            f"the newest modifiedDate ({newest}) lies in the future of {database.settings.zone}: set "
            "THONGSUOT_ONE_STOP__ZONE to the zone of the one-stop system, or set its clock right"
        )


def _writable(database: OneStopDatabase, connection: Connection, problems: list[str]) -> None:
    if database.dialect == "postgresql":
        query = (
            "SELECT bool_or(has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')) "
            "FROM pg_class c WHERE c.relkind = 'r' AND c.relname = ANY(%s)"
        )
        may_write = bool(connection.exec_driver_sql(query, (list(FEED_TABLES),)).scalar_one())
    elif database.dialect == "mysql":
        grants = [str(row[0]).upper() for row in connection.exec_driver_sql("SHOW GRANTS")]
        given = [grant.split(" ON ")[0] for grant in grants]
        may_write = any(word in grant for grant in given for word in _WRITE_WORDS)
    else:
        return  # a file: it is opened so that nothing can be written
    if may_write:
        problems.append(
            "advice: the account of THONGSUOT_ONE_STOP__URL may write to the one-stop database; "
            "give the hub an account that can only SELECT (connectors/one_stop/README.md)"
        )


def _indexes(database: OneStopDatabase, connection: Connection, problems: list[str]) -> None:
    try:
        inspector = inspect(connection)
        slow = [
            name
            for name in FEED_TABLES
            if not any(
                (index["column_names"] or [""])[0] in ("modifiedDate", "modifieddate")
                for index in inspector.get_indexes(name)
            )
        ]
    except SQLAlchemyError as error:
        raise classify(error) from None
    if slow:
        problems.append(
            f"advice: no index begins with modifiedDate on {', '.join(slow)}: every look for changes "
            "reads these tables whole; the statements are in connectors/one_stop/README.md"
        )
