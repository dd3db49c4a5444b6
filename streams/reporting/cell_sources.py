"""The table that says from what the cells of a form are filled: read whole, or refused with every fault. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from monitoring.rates import plan
from monitoring.rates.catalogue import near as like
from monitoring.rates.catalogue import packaged
from schemas.dossier.csv_table import Row, Table
from schemas.ledger.regimes import CellSource
from schemas.reports.cells import Cell, CellPlace, cells_of
from schemas.reports.packets import CellType, Form, KpiSet

COLUMNS = ("row", "column", "source", "argument", "optional")
"""Of the table that people keep: CSV, in any order."""

FORM_COLUMNS = tuple(f"c{number}" for number in range(3, 14))
"""Of form II.06."""


class Source(StrEnum):
    """Where a figure comes from."""

    RATE = (
        "rate"  # argument: a rate of the catalogue; its share in per cent, over the report's window
    )
    OBSERVATION = "observation"  # argument: an indicator that other systems report
    FORM_206 = "form_206"  # argument: c3 to c13, of all rows together
    CONSTANT = "constant"  # argument: the value itself, given by a person
    NONE = "none"  # left empty: a person says that the form allows it


FITS: Mapping[CellType, frozenset[Source]] = {
    CellType.DECIMAL: frozenset(Source),
    CellType.INTEGER: frozenset(Source) - {Source.RATE},
    CellType.TEXT: frozenset({Source.CONSTANT, Source.NONE}),
    CellType.DATE: frozenset({Source.CONSTANT, Source.NONE}),
    CellType.BOOLEAN: frozenset({Source.CONSTANT, Source.NONE}),
}
"""Which sources can give what a cell holds."""


def parse_mapping(text: str, where: str, form: Form | KpiSet) -> dict[CellPlace, CellSource]:
    """The sources of a form's cells from a table. Raises `TableError` with everything that is wrong.

    A cell that the table leaves out has no mapping, which is no fault of the table.
    """
    table = Table(text, where, COLUMNS)
    cells = {cell.place: cell for cell in cells_of(form)}
    found: dict[CellPlace, CellSource] = {}
    for row in table.rows:
        place = CellPlace(row.text("row"), row.text("column"))
        if place not in cells:
            _no_cell(row, place, cells)
            continue
        source = _source(row, cells[place])
        if place in found:
            row.problem(
                "column",
                "ô này đã có ở dòng trên; giữ một dòng",
                "this cell is given above; keep one line",
            )
        if source is not None:
            found[place] = source
    table.finish()
    return found


def _no_cell(row: Row, place: CellPlace, cells: Mapping[CellPlace, Cell]) -> None:
    rows = {one.row for one in cells}
    if place.row not in rows:
        near = ", ".join(like(place.row, tuple(sorted(rows)))) or "–"
        row.problem(
            "row",
            f"biểu không có hàng {place.row!r}; gần giống: {near}",
            f"the form has no row {place.row!r}; near: {near}",
        )
        return
    columns = sorted(one.column for one in cells if one.row == place.row)
    near = ", ".join(like(place.column, tuple(columns)) or columns)
    row.problem(
        "column",
        f"biểu không có cột {place.column!r}; gần giống: {near}",
        f"the form has no column {place.column!r}; near: {near}",
    )


def _source(row: Row, cell: Cell) -> CellSource | None:
    told = ", ".join(sorted(FITS[cell.type]))
    source = row.needed("source", _as_source, f"viết một trong: {told}", f"write one of: {told}")
    optional = row.optional(
        "optional", _as_truth, "viết yes, no hoặc để trống", "write yes, no or nothing"
    )
    if source is None:
        return None
    if source not in FITS[cell.type]:
        row.problem(
            "source",
            f"ô kiểu {cell.type} không lấy được từ {source}; dùng một trong: {told}",
            f"a cell of {cell.type} cannot come from {source}; use one of: {told}",
        )
        return None
    argument = row.text("argument")
    wrong = _wrong_argument(source, argument, cell)
    if wrong is not None:
        row.problem("argument", *wrong)
        return None
    return CellSource(
        source=source.value, argument=argument, optional=bool(optional) or source is Source.NONE
    )


def _wrong_argument(source: Source, argument: str, cell: Cell) -> tuple[str, str] | None:
    match source:
        case Source.NONE:
            return ("phải để trống", "must be empty") if argument else None
        case Source.RATE:
            return _unknown(argument, tuple(packaged().codes), "tỷ lệ", "rate")
        case Source.OBSERVATION:
            return _unknown(argument, tuple(plan.packaged().indicators), "chỉ số", "indicator")
        case Source.FORM_206:
            return _unknown(argument, FORM_COLUMNS, "cột biểu II.06", "column of form II.06")
        case Source.CONSTANT:
            if constant(argument, cell.type) is None:
                return f"{argument!r} không phải {cell.type}", f"{argument!r} is no {cell.type}"
            return None


def _unknown(argument: str, known: Sequence[str], vi: str, en: str) -> tuple[str, str] | None:
    if argument in known:
        return None
    near = ", ".join(like(argument, known)) or ", ".join(known[:5])
    return f"không có {vi} {argument!r}; gần giống: {near}", f"no {en} {argument!r}; near: {near}"


def constant(text: str, kind: CellType) -> str | int | Decimal | None:
    """A value that a person gave, as the cell holds it; None: it is no such value."""
    match kind:
        case CellType.TEXT:
            return text or None
        case CellType.BOOLEAN:
            return text if text in ("true", "false") else None
        case CellType.DATE:
            try:
                return text if date.fromisoformat(text).isoformat() == text else None
            except ValueError:
                return None
        case CellType.INTEGER:
            digits = text.removeprefix("-")
            return (
                int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else None
            )
        case CellType.DECIMAL:
            try:
                value = Decimal(text)
            except InvalidOperation:
                return None
            return value if value.is_finite() and -18 <= value.adjusted() <= 18 else None


def _as_source(text: str) -> Source | None:
    return Source(text) if text in {one.value for one in Source} else None


def _as_truth(text: str) -> bool | None:
    return {"yes": True, "no": False}.get(text)
