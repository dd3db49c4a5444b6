"""Statements of the hot paths, written out once and handed to the driver as they are.

SQLAlchemy's Core takes up a statement anew at every execution: it looks it up, collects its values and
converts each of them, row by row. In groups of a few rows that is half of what the ledger costs. Here the
text is compiled once per kind of database, and of a row only what needs it is converted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ClauseElement, Connection

Row = dict[str, Any]
Statement = ClauseElement | Callable[[Connection], ClauseElement]


@dataclass(frozen=True, slots=True)
class _Text:
    sql: str
    fixed: Mapping[str, Any]  # values that the statement itself gives
    converters: Sequence[tuple[str, Callable[[Any], Any]]]


class Written:
    """One INSERT or UPDATE, run for many rows.

    `statement` may depend on the database. `columns` are those an INSERT is given; all, when left out.
    """

    def __init__(self, statement: Statement, columns: Sequence[str] | None = None) -> None:
        self._statement = statement
        self._columns = columns
        self._texts: dict[str, _Text] = {}

    def run(self, connection: Connection, rows: list[Row]) -> None:
        """Run it for every row, in order. A row names every parameter, and is used up.

        Values are Python's, as for Core: aware times, booleans, text.
        """
        text = self._texts.get(connection.dialect.name)
        if text is None:
            text = self._texts[connection.dialect.name] = self._write(connection)
        for row in rows:
            for name, convert in text.converters:
                row[name] = convert(row[name])
            row.update(text.fixed)
        connection.exec_driver_sql(text.sql, rows)

    def _write(self, connection: Connection) -> _Text:
        statement = self._statement
        if not isinstance(statement, ClauseElement):
            statement = statement(connection)
        dialect = connection.dialect
        compiled: Any = statement.compile(
            dialect=dialect,
            column_keys=list(self._columns) if self._columns is not None else None,
        )
        converters: dict[str, Callable[[Any], Any]] = {}
        fixed: dict[str, Any] = {}
        for parameter, name in compiled.bind_names.items():
            convert = parameter.type.dialect_impl(dialect).bind_processor(dialect)
            if not parameter.required:
                fixed[name] = convert(parameter.value) if convert else parameter.value
            elif convert:
                converters[name] = convert
        return _Text(str(compiled), fixed, tuple(converters.items()))
