"""Whether form II.06 balances: inside one table, and from one period to the next.

A broken identity blocks the sending of a report; it lists the dossiers. What was carried over is checked at one
knowledge time, where it must hold but for dossiers that were opened again; beside the frozen figures of the
period before it must differ by the dossiers of that period's draft revision. It warns and never blocks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    and_,
    case,
    cast,
    false,
    func,
    not_,
    select,
)

from schemas.ledger.dialect import for_counting
from schemas.ledger.tables import dossiers, report_spans
from schemas.reports.form import (
    BrokenIdentity,
    Column,
    Figures,
    FormTable,
    RowKey,
    Treatment,
)
from schemas.reports.periods import Window
from streams.reporting.form_counts import (
    Member,
    conditions,
    count,
    listed,
    standing_at,
    within,
)
from streams.reporting.form_differences import Difference, differences

LISTED = 1000
"""How many dossiers a fault lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityFault:
    """An identity that fails in a leaf row, with the dossiers that count on one side of it only.

    Without any: the figures are not those of the ledger at that moment.
    """

    identity: str  # e.g. "c3=c4+c5+c6"
    row: RowKey
    left: int
    right: int
    dossiers: tuple[Member, ...]


def identity_faults(
    connection: Connection, table: FormTable, treatment: Treatment, limit: int = LISTED
) -> list[IdentityFault]:
    """Every identity that fails in the table, by leaf row; none, and it balances."""
    return [
        IdentityFault(
            identity=broken.name,
            row=broken.row,
            left=broken.left,
            right=broken.right,
            dossiers=tuple(_one_sided(connection, table, broken, treatment, limit)),
        )
        for broken in table.broken_identities()
    ]


def _one_sided(
    connection: Connection,
    table: FormTable,
    broken: BrokenIdentity,
    treatment: Treatment,
    limit: int,
) -> list[Member]:
    S, holds = report_spans.c, conditions(report_spans, table.window, treatment)
    parts = sum((_one(holds[part]) for part in broken.parts[1:]), _one(holds[broken.parts[0]]))
    where = [
        *within(table.window, table.known_at),
        S.received_on <= table.window.last,
        S.agency_code == broken.row.agency,
        S.sector_code == broken.row.sector,
        S.procedure_code == broken.row.procedure,
        _one(holds[broken.total]) != parts,
    ]
    return listed(connection, where, "", limit)


def _one(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return cast(case((condition, 1), else_=0), Integer())


# --- from one period to the next -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CarryOver:
    """What the one period left open (c11) beside what the next one took over (c6).

    `left` and `taken` are at one knowledge time, by agency; they may differ by `reopened`: dossiers that had
    ended and were opened again, for which the form has no column of its own. `odd` are dossiers that count in
    one of the two without a reason: there should be none. `changed` are those of the draft revision: of what was
    frozen they change whether they are in c11, or in which agency's row.
    """

    left: Mapping[str, int]
    taken: Mapping[str, int]
    reopened: tuple[Member, ...]
    odd: tuple[Member, ...]
    frozen: Mapping[str, int]
    changed: tuple[Difference, ...]

    @property
    def holds(self) -> bool:
        """Whether c6 is c11, with those that were opened again."""
        return not self.odd and sum(self.taken.values()) == sum(self.left.values()) + len(
            self.reopened
        )

    @property
    def is_explained(self) -> bool:
        """Whether the frozen c11 and the changes since make what is left now, in every agency."""
        expected: defaultdict[str, int] = defaultdict(int, self.frozen)
        for one in self.changed:
            for side, sign in ((one.was, -1), (one.now, 1)):
                if side is not None and Column.C11 in side.columns:
                    expected[side.row.agency] += sign
        agencies = {*expected, *self.left}
        return all(expected[agency] == self.left.get(agency, 0) for agency in agencies)


def carried_over(
    connection: Connection,
    earlier: Window,
    later: Window,
    known_at: datetime,
    frozen: FormTable,
    frozen_known_at: datetime,
    treatment: Treatment,
) -> CarryOver:
    """Check what the later window took over from the earlier one, whose frozen table is given.

    Raises `ValueError` for windows that do not follow each other or a table of another one, and `TooEarly`.
    """
    if later.first != earlier.last + timedelta(days=1):
        raise ValueError(f"{later.first} does not follow {earlier.last}: nothing is carried over")
    if frozen.window != earlier:
        raise ValueError("the frozen table is of another window")
    left = count(connection, earlier, known_at, treatment)
    taken = count(connection, later, known_at, treatment)
    reopened, odd = _one_sided_stock(connection, earlier, later, known_at, treatment)
    since = differences(connection, earlier, frozen_known_at, known_at, treatment)
    return CarryOver(
        left=_of(left.by_agency(), Column.C11),
        taken=_of(taken.by_agency(), Column.C6),
        reopened=tuple(reopened),
        odd=tuple(odd),
        frozen=_of(frozen.by_agency(), Column.C11),
        changed=tuple(one for one in since if _moves_stock(one)),
    )


def _of(by_agency: Mapping[str, Figures], column: Column) -> dict[str, int]:
    return {agency: figures.of(column) for agency, figures in by_agency.items()}


def _moves_stock(one: Difference) -> bool:
    was, now = (
        side.row.agency if side is not None and Column.C11 in side.columns else None
        for side in (one.was, one.now)
    )
    return was != now


def _one_sided_stock(
    connection: Connection,
    earlier: Window,
    later: Window,
    known_at: datetime,
    treatment: Treatment,
) -> tuple[list[Member], list[Member]]:
    """Dossiers in c6 of the later window and not in c11 of the earlier one that were opened again; and what
    else is in one of the two only."""
    then, now = report_spans.alias("earlier"), report_spans.alias("later")
    left = and_(then.c.received_on <= earlier.last, _holds(then, earlier, treatment, Column.C11))
    taken = and_(now.c.received_on <= later.last, _holds(now, later, treatment, Column.C6))
    ended = and_(
        then.c.received_on <= earlier.last, not_(_holds(then, earlier, treatment, Column.C11))
    )
    was = (then, standing_at(then, earlier, known_at))
    has = (now, standing_at(now, later, known_at))
    only_taken = [now.c.matters_until >= later.first, taken, not_(_certain(left))]
    only_left = [then.c.matters_until >= earlier.last, left, not_(_certain(taken))]
    for_counting(connection)
    reopened = _joined(connection, has, was, [*only_taken, _certain(ended)])
    odd = _joined(connection, has, was, [*only_taken, not_(_certain(ended))])
    return reopened, [*odd, *_joined(connection, was, has, only_left)]


_Row = tuple[FromClause, Sequence[ColumnElement[bool]]]


def _joined(
    connection: Connection, one: _Row, other: _Row, where: Sequence[ColumnElement[bool]]
) -> list[Member]:
    """Dossiers by a row of theirs and, if there is one, another."""
    (here, is_here), (there, is_there) = one, other
    joined = here.outerjoin(
        there, and_(there.c.dossier_id == here.c.dossier_id, *is_there)
    ).outerjoin(dossiers, dossiers.c.dossier_id == here.c.dossier_id)
    query = select(here.c.dossier_id, dossiers.c.code).select_from(joined).where(*is_here, *where)
    found = [Member(dossier_id=row.dossier_id, code=row.code) for row in connection.execute(query)]
    # Sorted here, for they are few: asked to sort, SQLite reads the whole table in that order.
    return sorted(found, key=lambda one: one.dossier_id)


def _holds(
    rows: FromClause, window: Window, treatment: Treatment, column: Column
) -> ColumnElement[bool]:
    return conditions(rows, window, treatment)[column]


def _certain(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """The condition, false where there is no row."""
    return func.coalesce(condition, false())
