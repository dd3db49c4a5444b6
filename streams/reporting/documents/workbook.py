"""A sheet as an Excel workbook: numbers that can be reckoned with, printed as the paper form.

Written by XlsxWriter, whose files hold no time but the one that it is given. Text is text: what begins with "="
is no formula.
"""

from __future__ import annotations

from datetime import UTC
from decimal import Decimal
from io import BytesIO
from typing import Any

import xlsxwriter
from xlsxwriter.worksheet import Worksheet

from streams.reporting.documents.sheet import (
    MOTTO,
    NATION,
    PREPARED_BY,
    SIGNED_BY,
    Cell,
    Line,
    Meta,
    Sheet,
    Weight,
    above,
    composed,
    parties,
    proof,
    signed_at,
    standing,
    window,
)
from streams.reporting.documents.type_face import MILLIMETRE, Face, wrapped

_FONT = "Times New Roman"  # every Excel has it; its measures are those of the packaged one
_A4 = 9
_MILLIMETRES_A_CHARACTER = 2.05  # a unit of Excel's column widths, at its default font
_LEADING = 1.25
_TEXT = 10
_HEAD = 9.5
_PAD = 4.0

_EXACT_DIGITS = 15  # Excel reckons in doubles: a longer number stands as text


def xlsx_of(sheet: Sheet, meta: Meta) -> bytes:
    """The document. The same sheet and meta give the same bytes."""
    return _Book(sheet, meta).done()


class _Book:
    def __init__(self, sheet: Sheet, meta: Meta) -> None:
        self._sheet = sheet
        self._meta = meta
        self._last = len(sheet.columns) - 1
        self._buffer = BytesIO()
        self._book = xlsxwriter.Workbook(
            self._buffer,
            {
                "in_memory": True,
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
            },
        )
        known = meta.known_at.astimezone(UTC).replace(tzinfo=None)
        self._book.set_properties(
            {
                "title": f"{meta.number} {composed(meta.period)}",
                "author": composed(meta.reporter),
                "subject": f"SHA-256 {meta.snapshot_hash}",
                "comments": proof(meta),
                "created": known,
            }
        )
        self._page: Worksheet = self._book.add_worksheet("Biểu")
        self._formats: dict[tuple[tuple[str, Any], ...], Any] = {}

    def done(self) -> bytes:
        for place, column in enumerate(self._sheet.columns):
            self._page.set_column(place, place, column.width / _MILLIMETRES_A_CHARACTER)
        row = self._opening()
        row = self._head(row)
        for line in self._sheet.lines:
            row = self._line(row, line)
        row = self._closing(row)
        self._printing(row)
        self._book.close()
        return self._buffer.getvalue()

    # --- each returns the row after it ---

    def _opening(self) -> int:
        meta = self._meta
        half = self._half()
        number, issued = above(meta)
        self._over(0, 0, half, number, bold=True, align="center")
        self._over(1, 0, half, composed(issued), italic=True, align="center")
        self._over(0, half + 1, self._last, NATION, bold=True, align="center")
        self._over(1, half + 1, self._last, MOTTO, bold=True, align="center", underline=True)
        self._over(3, 0, self._last, composed(meta.title), bold=True, align="center", size=13)
        about = f"Kỳ báo cáo: {composed(meta.period)}"
        self._over(4, 0, self._last, about, bold=True, align="center")
        self._over(5, 0, self._last, window(meta), italic=True, align="center")
        self._over(6, 0, self._last, standing(meta), italic=True, align="center")
        reporter, receiver, unit = parties(meta)
        self._over(7, 0, self._last, reporter)
        self._over(8, 0, self._last, receiver)
        self._over(9, 0, self._last, unit, italic=True, align="right")
        return 10

    def _head(self, top: int) -> int:
        heights = [0.0] * self._sheet.head_rows
        for cell in sorted(self._sheet.head, key=lambda cell: cell.bottom - cell.top):
            numbers = cell.top == self._sheet.head_rows - 1
            style = self._format(
                bold=not numbers,
                italic=numbers,
                size=8 if numbers else _HEAD,
                align="center",
                boxed=True,
            )
            text = composed(cell.text)
            if (cell.bottom - cell.top, cell.right - cell.left) == (1, 1):
                self._page.write_string(top + cell.top, cell.left, text, style)
            else:
                self._page.merge_range(
                    top + cell.top, cell.left, top + cell.bottom - 1, cell.right - 1, "", style
                )
                self._page.write_string(top + cell.top, cell.left, text, style)
            face = Face.ITALIC if numbers else Face.BOLD
            lines = wrapped(text, face, _HEAD, self._room(cell.left, cell.right))
            short = len(lines) * _HEAD * _LEADING + _PAD - sum(heights[cell.top : cell.bottom])
            if short > 0:
                heights[cell.bottom - 1] += short
        for place, height in enumerate(heights):
            self._page.set_row(top + place, round(height, 2))
        after = top + self._sheet.head_rows
        self._page.repeat_rows(top, after - 1)
        self._page.freeze_panes(after, 0)
        return after

    def _line(self, row: int, line: Line) -> int:
        strong = line.weight in (Weight.UNIT, Weight.TOTAL)
        face = Face.BOLD if strong else Face.REGULAR
        most = 1
        for place, cell in enumerate(line.cells):
            column = self._sheet.columns[place]
            indent = line.indent if place == 1 else 0
            style = self._format(
                bold=strong,
                size=_TEXT,
                boxed=True,
                shaded=line.weight is Weight.TOTAL,
                align="right" if column.figures else "center" if column.middle else "left",
                indent=indent,
                figures=_figures(cell),
                top=True,
            )
            self._cell(row, place, cell, style)
            if isinstance(cell, str):
                room = self._room(place, place + 1) - indent * 9
                most = max(most, len(wrapped(composed(cell), face, _TEXT, room)))
        self._page.set_row(row, round(most * _TEXT * _LEADING + _PAD, 2))
        return row + 1

    def _cell(self, row: int, place: int, cell: Cell, style: Any) -> None:
        if cell is None:
            self._page.write_blank(row, place, None, style)
        elif isinstance(cell, str):
            self._page.write_string(row, place, composed(cell), style)
        elif len(str(abs(cell)).replace(".", "")) > _EXACT_DIGITS:
            self._page.write_string(row, place, str(cell), style)
        else:
            # XlsxWriter writes sixteen digits, which gives every number of fifteen back exactly.
            self._page.write_number(
                row, place, cell if isinstance(cell, int) else float(cell), style
            )

    def _closing(self, row: int) -> int:
        half = self._half()
        row += 1
        if self._meta.notes:
            self._over(row, 0, self._last, "Ghi chú:", bold=True, size=_TEXT)
            row += 1
        for note in self._meta.notes:
            text = f"- {composed(note)}"
            self._over(row, 0, self._last, text, italic=True, size=_TEXT)
            lines = wrapped(text, Face.ITALIC, _TEXT, self._room(0, self._last + 1))
            self._page.set_row(row, round(len(lines) * _TEXT * _LEADING + 2, 2))
            row += 1
        row += 1
        self._over(row, half + 1, self._last, signed_at(self._meta), italic=True, align="center")
        for place, (left, right) in enumerate(zip(PREPARED_BY, SIGNED_BY, strict=True), 1):
            bold = place == 1
            self._over(row + place, 0, half, left, bold=bold, italic=not bold, align="center")
            self._over(
                row + place, half + 1, self._last, right, bold=bold, italic=not bold, align="center"
            )
        return row + 3

    def _printing(self, rows: int) -> None:
        page = self._page
        page.set_landscape()
        page.set_paper(_A4)
        page.set_margins(left=0.5, right=0.5, top=0.55, bottom=0.7)
        page.fit_to_pages(1, 0)
        page.center_horizontally()
        page.print_area(0, 0, rows - 1, self._last)
        told = proof(self._meta).replace("&", "&&")
        page.set_footer(f'&L&"{_FONT},Regular"&7{told}&R&"{_FONT},Regular"&7Trang &P/&N')

    # --- text over several columns ---

    def _over(self, row: int, left: int, right: int, text: str, **style: Any) -> None:
        form = self._format(**{"size": 11, **style})
        self._page.merge_range(row, left, row, right, "", form)
        self._page.write_string(row, left, text, form)

    def _half(self) -> int:
        """The column after which about half of the width is used."""
        widths = [column.width for column in self._sheet.columns]
        return next(
            place
            for place in range(len(widths))
            if sum(widths[: place + 1]) * 2 >= sum(widths) * 0.95
        )

    def _room(self, left: int, right: int) -> float:
        told = sum(column.width for column in self._sheet.columns[left:right])
        return told * MILLIMETRE * 0.93

    def _format(self, **style: Any) -> Any:
        key = tuple(sorted(style.items()))
        if key not in self._formats:
            self._formats[key] = self._book.add_format(_properties(**style))
        return self._formats[key]


def _properties(
    *,
    size: float,
    bold: bool = False,
    italic: bool = False,
    underline: bool = False,
    align: str = "left",
    boxed: bool = False,
    shaded: bool = False,
    top: bool = False,
    indent: int = 0,
    figures: str = "",
) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "font_name": _FONT,
        "font_size": size,
        "text_wrap": True,
        "valign": "top" if top else "vcenter",
        "align": align,
    }
    if bold:
        properties["bold"] = True
    if italic:
        properties["italic"] = True
    if underline:
        properties["underline"] = 1
    if boxed:
        properties["border"] = 1
    if shaded:
        properties["bg_color"] = "#EAEAEA"
    if indent:
        properties["indent"] = indent
    if figures:
        properties["num_format"] = figures
    return properties


def _figures(cell: Cell) -> str:
    """Excel's format: thousands apart, in the signs of whoever reads it."""
    if isinstance(cell, Decimal) and cell != cell.to_integral_value():
        return "#,##0.####"
    return "#,##0" if isinstance(cell, int | Decimal) else ""
