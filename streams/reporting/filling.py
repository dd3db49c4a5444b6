"""A form filled from indicators: each cell with its figure, where that comes from, and what keeps it empty. Pure.

Nothing is invented and nothing is left out in silence: a cell without a mapping, or without a figure, is listed and
keeps the form from being sent, unless the mapping says that it may stay empty. One provisional figure makes the
whole an estimate, and the content says which cells are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from schemas.ledger.regimes import CellSource, FormPlace
from schemas.reports.canonical import number_text
from schemas.reports.cells import AGENCY, Cell, CellPlace, cells_of, made_by_agency, unfillable
from schemas.reports.kinds import PacketKind
from schemas.reports.packets import (
    CellType,
    Content,
    FigureRow,
    Figures,
    Form,
    KpiSet,
    KpiValue,
    KpiValues,
    ListColumn,
    ListFigures,
    ListRow,
    Nature,
)

Value = str | int | Decimal | None

ROW = "row"
"""The axis of a form with fixed rows."""


class Outcome(StrEnum):
    """What became of a cell."""

    FILLED = "filled"
    PROVISIONAL = "provisional"  # filled, and the figure may still change
    EMPTY = "empty"  # without a figure, and it may be
    UNMAPPED = "unmapped"  # nobody has said from what it is filled
    NO_FIGURE = "no_figure"  # it is mapped, and there is no figure
    DOES_NOT_FIT = "does_not_fit"  # the figure is not of the cell's type


BLOCKS = frozenset({Outcome.UNMAPPED, Outcome.NO_FIGURE, Outcome.DOES_NOT_FIT})
"""With such a cell a form is not sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What a source says. `detail` in a word or two where it comes from, codes and counts only."""

    value: Value
    provisional: bool = False
    detail: str = ""


class Sources(Protocol):
    """Where figures come from, for one window, period and reporting agency."""

    def figure(self, source: CellSource, cell: Cell, agency: str | None) -> Figure:
        """The figure of a source: of one agency, or of all together."""
        ...

    def agencies(self) -> Sequence[str]:
        """Those of which a form by agency has rows, in order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledCell:
    """A cell and what became of it."""

    cell: Cell
    agency: str | None
    source: CellSource | None
    value: Value
    outcome: Outcome
    detail: str

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "row": self.cell.place.row,
            "column": self.cell.place.column,
            "agency": self.agency,
            "name": self.cell.name,
            "unit": self.cell.unit,
            "source": None if self.source is None else self.source.source,
            "argument": None if self.source is None else self.source.argument,
            "value": self.value,
            "outcome": self.outcome.value,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A form as it can be filled now. Without `content` it cannot be sent: `blocking` and `axes` say why."""

    place: FormPlace
    kind: PacketKind
    cells: tuple[FilledCell, ...]
    axes: tuple[str, ...]  # from which no rows can be made
    content: Content | None

    @property
    def blocking(self) -> tuple[FilledCell, ...]:
        """The cells that keep it from being sent, those without a mapping first."""
        found = [one for one in self.cells if one.outcome in BLOCKS]
        return tuple(sorted(found, key=lambda one: one.outcome is not Outcome.UNMAPPED))

    @property
    def provisional(self) -> tuple[FilledCell, ...]:
        """The cells whose figures may still change."""
        return tuple(one for one in self.cells if one.outcome is Outcome.PROVISIONAL)


def unmapped(form: Form | KpiSet, mapping: Mapping[CellPlace, CellSource]) -> tuple[Cell, ...]:
    """The cells of which nobody has said from what they are filled."""
    return tuple(cell for cell in cells_of(form) if cell.place not in mapping)


def fill(
    place: FormPlace,
    kind: PacketKind,
    form: Form | KpiSet,
    mapping: Mapping[CellPlace, CellSource],
    sources: Sources,
) -> Filled:
    """Ask for every figure. Raises `ValueError` for a kind of packet that has no cells."""
    if kind not in (PacketKind.FIGURES, PacketKind.LIST_FIGURES, PacketKind.KPI_VALUES):
        raise ValueError(f"{kind} is filled with words, not with figures")
    axes = unfillable(form)
    rows: Sequence[str | None] = list(sources.agencies()) if made_by_agency(form) else [None]
    cells = tuple(
        _filled(kind, cell, agency, mapping.get(cell.place), sources)
        for agency in rows
        for cell in cells_of(form)
    )
    content = None
    if not axes and not any(one.outcome in BLOCKS for one in cells):
        content = content_of(kind, form, cells)
    return Filled(place=place, kind=kind, cells=cells, axes=axes, content=content)


def _filled(
    kind: PacketKind, cell: Cell, agency: str | None, source: CellSource | None, sources: Sources
) -> FilledCell:
    if source is None:
        return FilledCell(
            cell=cell, agency=agency, source=None, value=None, outcome=Outcome.UNMAPPED, detail=""
        )
    figure = sources.figure(source, cell, agency)
    value, outcome = figure.value, Outcome.FILLED
    if value is None:
        outcome = Outcome.EMPTY if source.optional else Outcome.NO_FIGURE
    elif isinstance(value, str) and kind is not PacketKind.LIST_FIGURES:
        outcome = Outcome.DOES_NOT_FIT  # a packet of figures holds numbers only
    elif cell.type is CellType.INTEGER and isinstance(value, Decimal):
        if value == value.to_integral_value():
            value = int(value)
        else:
            outcome = Outcome.DOES_NOT_FIT
    if outcome is Outcome.FILLED and figure.provisional:
        outcome = Outcome.PROVISIONAL
    return FilledCell(
        cell=cell, agency=agency, source=source, value=value, outcome=outcome, detail=figure.detail
    )


# --- the content -------------------------------------------------------------------------------------


def content_of(kind: PacketKind, form: Form | KpiSet, cells: Sequence[FilledCell]) -> Content:
    """What is sent of cells that do not block, in the order of the form."""
    by_agency = made_by_agency(form)
    provisional = [one for one in cells if one.outcome is Outcome.PROVISIONAL]
    nature = Nature.ESTIMATE if provisional else Nature.ACTUAL
    if isinstance(form, KpiSet):
        return KpiValues(
            kpi_set=form.code,
            values=tuple(
                KpiValue(
                    kpi=one.cell.place.row,
                    parts=(),
                    value=_number(one.value),
                    unit=one.cell.unit or "",
                    nature=Nature.ESTIMATE if one.outcome is Outcome.PROVISIONAL else Nature.ACTUAL,
                )
                for one in cells
            ),
        )
    note = _note(provisional)
    by_row: dict[tuple[str, ...], list[FilledCell]] = {}
    for one in cells:
        key = (one.agency or "",) if by_agency else (one.cell.place.row,) if form.rows else ()
        by_row.setdefault(key, []).append(one)
    if kind is PacketKind.LIST_FIGURES:
        return ListFigures(
            columns=tuple(
                ListColumn(code=column.code, type=column.type) for column in form.columns
            ),
            rows=tuple(
                ListRow(cells=tuple(_text(one.value) for one in row)) for row in by_row.values()
            ),
            note=note,
        )
    units = {column.unit for column in form.columns}
    return Figures(
        axes=(AGENCY,) if by_agency else (ROW,) if form.rows else (),
        indicators=tuple(column.code for column in form.columns),
        unit=(units.pop() or "") if len(units) == 1 else "",
        rows=tuple(
            FigureRow(keys=key, values=tuple(_number(one.value) for one in row))
            for key, row in by_row.items()
        ),
        nature=nature,
        note=note,
    )


def _note(provisional: Sequence[FilledCell]) -> str | None:
    """Which figures may still change, by their codes."""
    if not provisional:
        return None
    places = [
        "/".join(part for part in (one.agency, *one.cell.place) if part) for one in provisional
    ]
    return f"Số tạm tính: {', '.join(places)}"


def _number(value: Value) -> int | Decimal | None:
    return None if isinstance(value, str) else value


def _text(value: Value) -> str | None:
    return value if value is None or isinstance(value, str) else number_text(value)
