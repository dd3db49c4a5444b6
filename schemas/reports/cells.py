"""The cells of a form: which there are, and what each holds. Pure.

A form with fixed rows has a cell for each row and column; one whose rows are made from agencies has one for each
column, filled for every agency. A row that others hang on and that has no indicator is a heading without cells
(inferred: the regulation's tables are not public). A set of KPIs has a cell for each.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from schemas.reports.packets import CellType, Form, KpiSet, OutlineForm

VALUE = "value"
"""The column of a KPI."""

AGENCY = "agency"
"""The one axis that can be filled; rows are made from the agencies that have figures."""


class CellPlace(NamedTuple):
    """A cell of a form. `row` is "" where the form has no fixed rows."""

    row: str
    column: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell: its name for people, what it holds, and its unit."""

    place: CellPlace
    name: str
    type: CellType
    unit: str | None


def cells_of(form: Form | KpiSet) -> Sequence[Cell]:
    """All cells, in the order of the form."""
    if isinstance(form, KpiSet):
        return [
            Cell(
                place=CellPlace(kpi.code, VALUE),
                name=kpi.name,
                type=CellType.DECIMAL,
                unit=kpi.unit,
            )
            for kpi in form.kpis
        ]
    parents = {row.parent for row in form.rows}
    rows = [
        (row.code, f"{row.name} – ")
        for row in form.rows
        if row.indicator is not None or row.code not in parents
    ] or [("", "")]
    return [
        Cell(
            place=CellPlace(row, column.code),
            name=f"{name}{column.name}",
            type=column.type,
            unit=column.unit,
        )
        for row, name in rows
        for column in form.columns
    ]


def unfillable(form: Form | KpiSet) -> tuple[str, ...]:
    """Axes from which rows cannot be made; with one, the form cannot be filled."""
    if isinstance(form, KpiSet) or form.rows:
        return ()
    return tuple(axis.code for axis in form.axes if axis.code != AGENCY)


def made_by_agency(form: Form | KpiSet) -> bool:
    """Whether a form has rows for agencies, and for nothing else."""
    return (
        not isinstance(form, KpiSet)
        and not form.rows
        and tuple(axis.code for axis in form.axes) == (AGENCY,)
    )


def is_mapped(form: Form | OutlineForm | KpiSet, mapped: Collection[CellPlace]) -> bool:
    """Whether somebody has said from what every cell is filled. Of an outline nobody can: its words are not sent."""
    if isinstance(form, OutlineForm):
        return False
    return not unfillable(form) and all(cell.place in mapped for cell in cells_of(form))
