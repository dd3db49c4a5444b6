"""Form II.06 counted in the ledger: for any window, as known at any moment, down to the dossiers.

Of every dossier one row of `report_spans` holds the last day of the window and the moment. Each column is
counted by a condition of its own over these rows; `schemas/reports/form.py: columns_of` says the same of one
dossier, and tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Date,
    FromClause,
    Integer,
    Select,
    and_,
    case,
    cast,
    func,
    literal,
    not_,
    or_,
    select,
)

from schemas.ledger.dialect import AnyRow, for_counting, in_code_order
from schemas.ledger.tables import dossiers, report_spans
from schemas.records import Channel
from schemas.reports.form import (
    Column,
    Figures,
    FormTable,
    Held,
    RowKey,
    Stand,
    Treatment,
    Undated,
)
from schemas.reports.periods import Window
from schemas.reports.standings import Standing

KEYS = ("agency_code", "sector_code", "procedure_code")
"""The columns of a leaf row's key, in the order of `RowKey`."""


class TooEarly(ValueError):
    """A window was to be counted as known before it had begun: nothing of it can have happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A dossier that counts, with its code as it is today."""

    dossier_id: str
    code: str | None


def count(
    connection: Connection, window: Window, known_at: datetime, treatment: Treatment
) -> FormTable:
    """The form's leaf rows, in one statement. Memory holds rows of the form, never dossiers.

    `known_at` of figures that are to stay is sealed before (`tracking.seal`). Raises `TooEarly`.
    """
    S = report_spans.c
    holds = conditions(report_spans, window, treatment)
    figures = [_how_many(condition, column) for column, condition in holds.items()]
    keys = [S[name] for name in KEYS]
    query = (
        select(*keys, *figures)
        .where(*within(window, known_at), S.received_on <= window.last)
        .group_by(*keys)
    )
    for_counting(connection)
    rows: dict[RowKey, Figures] = {}
    for row in connection.execute(query):
        counted = Figures(**{column.value: int(row._mapping[column.value]) for column in Column})
        if counted != Figures():
            rows[key_of(row)] = counted
    return FormTable(window=window, known_at=known_at, rules=treatment.name, rows=rows)


def members(
    connection: Connection,
    window: Window,
    known_at: datetime,
    treatment: Treatment,
    *,
    columns: Collection[Column] = (Column.C3,),
    agencies: Collection[str] | None = None,
    sector: str | None = None,
    procedure: str | None = None,
    after: str = "",
    limit: int = 1000,
) -> list[Member]:
    """A page of the dossiers that count in any of these columns, by id behind `after`.

    None narrows nothing; "" asks for those whose code is not known. Raises `TooEarly`.
    """
    S = report_spans.c
    holds = conditions(report_spans, window, treatment)
    where = [
        *within(window, known_at),
        S.received_on <= window.last,
        or_(*(holds[column] for column in columns)),
    ]
    if agencies is not None:
        where.append(S.agency_code.in_(sorted(agencies)))
    if sector is not None:
        where.append(S.sector_code == sector)
    if procedure is not None:
        where.append(S.procedure_code == procedure)
    return listed(connection, where, after, limit)


def listed(
    connection: Connection, where: Sequence[ColumnElement[bool]], after: str, limit: int
) -> list[Member]:
    """A page of the dossiers whose rows meet this."""
    S = report_spans.c
    place = in_code_order(connection, S.dossier_id)
    query: Select[Any] = (
        select(S.dossier_id, dossiers.c.code)
        .select_from(report_spans.outerjoin(dossiers, dossiers.c.dossier_id == S.dossier_id))
        .where(*where, place > after)
        .order_by(place)
        .limit(limit)
    )
    for_counting(connection)
    return [Member(dossier_id=row.dossier_id, code=row.code) for row in connection.execute(query)]


# --- one row of each dossier -----------------------------------------------------------------------------


def within(window: Window, known_at: datetime) -> list[ColumnElement[bool]]:
    """Of each dossier the row of the last day, as known at the moment, if it can count. Raises `TooEarly`."""
    if known_at < window.begins_at:
        raise TooEarly(f"a window from {window.first} is not known at {known_at.isoformat()}")
    S = report_spans.c
    return [S.matters_until >= window.first, *standing_at(report_spans, window, known_at)]


def standing_at(rows: FromClause, window: Window, known_at: datetime) -> list[ColumnElement[bool]]:
    """Of each dossier the row of the last day, as known at the moment, whether it can count or not."""
    S = rows.c
    return [
        S.begun_on <= window.last,
        S.ended_on > window.last,
        S.known_from <= known_at,
        S.known_until > known_at,
    ]


def key_of(row: AnyRow) -> RowKey:
    """The leaf row in which a dossier counts."""
    return RowKey(*(getattr(row, name) for name in KEYS))


def stand_of(row: AnyRow) -> Stand:
    """How a dossier stands by its row."""
    return Stand(
        standing=Standing(row.standing),
        since=row.begun_on,
        received_on=row.received_on,
        closed_on=row.closed_on,
        due_on=row.due_on,
        channel=row.channel,
    )


# --- the columns -----------------------------------------------------------------------------------------


def conditions(
    rows: FromClause, window: Window, treatment: Treatment
) -> Mapping[Column, ColumnElement[bool]]:
    """By column, which rows of the last day count; never unknown. They take `received_on <= last` for granted."""
    S = rows.c
    first, last = (literal(day, Date()) for day in (window.first, window.last))
    closed: ColumnElement[Any] = S.closed_on
    if treatment.paused is Held.ENDS:
        by_pause = and_(S.closed_on.is_(None), S.standing == Standing.PAUSED.value)
        closed = case((by_pause, S.begun_on), else_=S.closed_on)
    is_open, ended = closed.is_(None), and_(closed.is_not(None), closed >= first)
    in_period = S.received_on >= first
    online = func.coalesce(S.channel == Channel.ONLINE.value, treatment.no_channel is Column.C4)
    undated_late = literal(treatment.no_due is Undated.LATE)

    def after_due(day: ColumnElement[Any]) -> ColumnElement[bool]:
        return case((S.due_on.is_(None), undated_late), else_=S.due_on < day)

    def stands(some: Collection[Standing]) -> ColumnElement[bool]:
        return S.standing.in_(sorted(one.value for one in some))

    early = and_(S.due_on.is_not(None), closed < S.due_on)
    on_time, held = stands(treatment.ended_on_time), stands(treatment.held_in_time)
    late = and_(not_(held), after_due(last))
    return {
        Column.C3: or_(is_open, ended),
        Column.C4: and_(in_period, online),
        Column.C5: and_(in_period, not_(online)),
        Column.C6: and_(not_(in_period), or_(is_open, ended)),
        Column.C7: ended,
        Column.C8: and_(ended, not_(on_time), early),
        Column.C9: and_(ended, or_(on_time, and_(not_(early), not_(after_due(closed))))),
        Column.C10: and_(ended, not_(on_time), after_due(closed)),
        Column.C11: is_open,
        Column.C12: and_(is_open, not_(late)),
        Column.C13: and_(is_open, late),
    }


def _how_many(condition: ColumnElement[bool], column: Column) -> Any:
    return func.sum(cast(case((condition, 1), else_=0), Integer())).label(column.value)
