"""A sheet as PDF: A4 across, the head of the table on every page, the proof at the foot of each.

Drawn at places that are reckoned beforehand, so that a form of thousands of rows takes seconds, and the number of
pages is known on the first. Inside of the file no time stands but that up to which the figures were known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from io import BytesIO

from reportlab.lib.pagesizes import A4, landscape
from reportlab.pdfgen.canvas import Canvas

from streams.reporting.documents.sheet import (
    MOTTO,
    NATION,
    PREPARED_BY,
    SIGNED_BY,
    Column,
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
    written,
)
from streams.reporting.documents.type_face import MILLIMETRE, Face, load, width, wrapped

_WIDE, _HIGH = landscape(A4)
_SIDE = 15 * MILLIMETRE
_TOP = 14 * MILLIMETRE
_BOTTOM = 15 * MILLIMETRE
_FOOT = 8 * MILLIMETRE

_TEXT = 10.0
_HEAD = 9.5
_SMALL = 7.5
_PAD = 1.8
_STEP = 3 * MILLIMETRE  # of an indent
_LEADING = 1.18
_RULE = 0.4

_LINES_AT_MOST = 24
"""A cell of more lines goes on in a row beneath, so that every row has room on a page."""

_KEPT = 2  # rows that go over to the page of the signatures, which never stand alone


@dataclass(frozen=True, slots=True)
class _Row:
    """A line with its cells broken into lines of text."""

    cells: tuple[Sequence[str], ...]
    line: Line

    @property
    def height(self) -> float:
        return max(len(cell) for cell in self.cells) * _TEXT * _LEADING + 2 * _PAD


def pdf_of(sheet: Sheet, meta: Meta) -> bytes:
    """The document. The same sheet and meta give the same bytes."""
    load()
    return _Drawing(sheet, meta).done()


class _Drawing:
    def __init__(self, sheet: Sheet, meta: Meta) -> None:
        self._sheet = sheet
        self._meta = meta
        known = meta.known_at.astimezone(UTC)
        self._buffer = BytesIO()
        self._canvas = Canvas(self._buffer, pagesize=(_WIDE, _HIGH), invariant=1)
        self._canvas.setDateFormatter(lambda *_now: f"D:{known:%Y%m%d%H%M%S}Z")
        self._canvas.setTitle(f"{meta.number} {composed(meta.period)}")
        self._canvas.setAuthor(composed(meta.reporter))
        self._canvas.setSubject(f"SHA-256 {meta.snapshot_hash}")
        self._canvas.setCreator("thongsuot")
        self._canvas.setLineWidth(_RULE)
        self._edges = _edges(sheet.columns)
        self._head_heights = self._heights_of_head()

    def done(self) -> bytes:
        pages = self._pages()
        for place, rows in enumerate(pages):
            at = _HIGH - _TOP
            if place == 0:
                at = self._opening(at, draw=True)
            at = self._head(at)
            top = at
            for row in rows:
                at = self._row(at, row)
            for edge in self._edges if rows else ():
                self._canvas.line(edge, top, edge, at)
            if place == len(pages) - 1:
                self._closing(at)
            self._foot(place + 1, len(pages))
            self._canvas.showPage()
        self._canvas.save()
        return self._buffer.getvalue()

    # --- which rows stand on which page ---

    def _pages(self) -> list[list[_Row]]:
        head = sum(self._head_heights)
        opening = _HIGH - _TOP - self._opening(_HIGH - _TOP, draw=False)
        full = _HIGH - _TOP - _BOTTOM - head
        pages: list[list[_Row]] = [[]]
        left = full - opening
        rows = [row for line in self._sheet.lines for row in self._broken(line)]
        for row, after in zip(rows, [*rows[1:], None], strict=True):
            wanted = row.height
            if after is not None and after.line.indent > row.line.indent:
                wanted += after.height  # what a row is the heading of begins on the same page
            if wanted > left and pages[-1]:
                pages.append([])
                left = full
            pages[-1].append(row)
            left -= row.height
        if left < self._closing_height():
            kept = min(_KEPT, len(pages[-1]) - 1)
            pages.append(pages[-1][len(pages[-1]) - kept :] if kept > 0 else [])
            if kept > 0:
                del pages[-2][-kept:]
        return pages

    def _broken(self, line: Line) -> Iterator[_Row]:
        face = _face(line.weight)
        cells = [
            wrapped(written(cell), face, _TEXT, self._room(place, line))
            for place, cell in enumerate(line.cells)
        ]
        for begin in range(0, max(len(cell) for cell in cells), _LINES_AT_MOST):
            yield _Row(tuple(cell[begin : begin + _LINES_AT_MOST] for cell in cells), line)

    def _room(self, place: int, line: Line) -> float:
        indent = line.indent * _STEP if place == 1 else 0
        return self._edges[place + 1] - self._edges[place] - 2 * _PAD - indent

    # --- what is drawn: each returns where the next begins ---

    def _opening(self, at: float, *, draw: bool) -> float:
        meta, half = self._meta, (_WIDE - 2 * _SIDE) / 2
        left, right, middle = _SIDE + half * 0.42, _WIDE - _SIDE - half * 0.5, _WIDE / 2
        number, issued = above(meta)
        top = at
        at = self._centred(number, Face.BOLD, 11, left, at, half * 0.84, draw)
        at = self._centred(composed(issued), Face.ITALIC, 10, left, at, half * 0.84, draw)
        beside = self._centred(NATION, Face.BOLD, 11, right, top, half, draw)
        beside = self._centred(MOTTO, Face.BOLD, 11, right, beside, half, draw)
        if draw:
            rule = width(MOTTO, Face.BOLD, 11) / 2
            self._canvas.line(right - rule, beside - 1, right + rule, beside - 1)
        at = min(at, beside) - 10
        room = _WIDE - 2 * _SIDE
        at = self._centred(composed(meta.title), Face.BOLD, 13, middle, at, room, draw)
        about = f"Kỳ báo cáo: {composed(meta.period)}"
        at = self._centred(about, Face.BOLD, 11, middle, at, room, draw)
        at = self._centred(window(meta), Face.ITALIC, 11, middle, at, room, draw)
        at = self._centred(standing(meta), Face.ITALIC, 11, middle, at, room, draw) - 4
        reporter, receiver, unit = parties(meta)
        for text in (reporter, receiver):
            at = self._left(text, Face.REGULAR, 11, _SIDE, at, room * 0.72, draw)
        if draw:
            self._canvas.setFont(Face.ITALIC, 11)
            self._canvas.drawRightString(_WIDE - _SIDE, at + 11 * _LEADING * 0.28, unit)
        return at - 4

    def _head(self, at: float) -> float:
        tops = [at]
        for height in self._head_heights:
            tops.append(tops[-1] - height)
        for cell in self._sheet.head:
            left, right = self._edges[cell.left], self._edges[cell.right]
            top, bottom = tops[cell.top], tops[cell.bottom]
            self._canvas.rect(left, bottom, right - left, top - bottom)
            numbers = cell.top == self._sheet.head_rows - 1
            face, size = (Face.ITALIC, _SMALL) if numbers else (Face.BOLD, _HEAD)
            lines = wrapped(composed(cell.text), face, size, right - left - 2 * _PAD)
            height = len(lines) * size * _LEADING
            base = (top + bottom + height) / 2
            self._canvas.setFont(face, size)
            for number, text in enumerate(lines):
                self._canvas.drawCentredString(
                    (left + right) / 2, base - size * _LEADING * (number + 0.78), text
                )
        return tops[-1]

    def _row(self, at: float, row: _Row) -> float:
        bottom = at - row.height
        canvas = self._canvas
        if row.line.weight is Weight.TOTAL:
            canvas.setFillGray(0.92)
            canvas.rect(
                self._edges[0],
                bottom,
                self._edges[-1] - self._edges[0],
                row.height,
                stroke=0,
                fill=1,
            )
            canvas.setFillGray(0)
        canvas.setFont(_face(row.line.weight), _TEXT)
        for place, texts in enumerate(row.cells):
            column = self._sheet.columns[place]
            left, right = self._edges[place], self._edges[place + 1]
            for number, text in enumerate(texts):
                base = at - _PAD - _TEXT * _LEADING * (number + 0.78)
                if column.figures:
                    canvas.drawRightString(right - _PAD - 1, base, text)
                elif column.middle:
                    canvas.drawCentredString((left + right) / 2, base, text)
                else:
                    indent = row.line.indent * _STEP if place == 1 else 0
                    canvas.drawString(left + _PAD + indent, base, text)
        canvas.line(self._edges[0], bottom, self._edges[-1], bottom)
        return bottom

    def _closing(self, at: float) -> None:
        at -= 6
        room = _WIDE - 2 * _SIDE
        if self._meta.notes:
            at = self._left("Ghi chú:", Face.BOLD, _TEXT, _SIDE, at, room, True)
        for note in self._meta.notes:
            at = self._left(f"- {composed(note)}", Face.ITALIC, _TEXT, _SIDE, at, room, True)
        at -= 8
        left, right = _SIDE + room * 0.2, _SIDE + room * 0.78
        at = self._centred(signed_at(self._meta), Face.ITALIC, 11, right, at, room * 0.4, True)
        for middle, (who, how) in ((left, PREPARED_BY), (right, SIGNED_BY)):
            beneath = self._centred(who, Face.BOLD, 11, middle, at, room * 0.4, True)
            self._centred(how, Face.ITALIC, 10, middle, beneath, room * 0.4, True)

    def _closing_height(self) -> float:
        room = _WIDE - 2 * _SIDE
        lines = sum(
            len(wrapped(f"- {composed(note)}", Face.ITALIC, _TEXT, room))
            for note in self._meta.notes
        )
        notes = (lines + 1) * _TEXT * _LEADING if self._meta.notes else 0
        return notes + 14 + 32 * _LEADING + 22 * MILLIMETRE  # room for a signature and a seal

    def _foot(self, number: int, pages: int) -> None:
        self._canvas.setFont(Face.REGULAR, 7.5)
        self._canvas.drawString(_SIDE, _FOOT, proof(self._meta))
        self._canvas.drawRightString(_WIDE - _SIDE, _FOOT, f"Trang {number}/{pages}")

    # --- lines of text ---

    def _centred(
        self, text: str, face: Face, size: float, middle: float, at: float, room: float, draw: bool
    ) -> float:
        for line in wrapped(text, face, size, room):
            at -= size * _LEADING
            if draw:
                self._canvas.setFont(face, size)
                self._canvas.drawCentredString(middle, at + size * 0.22, line)
        return at

    def _left(
        self, text: str, face: Face, size: float, left: float, at: float, room: float, draw: bool
    ) -> float:
        for line in wrapped(text, face, size, room):
            at -= size * _LEADING
            if draw:
                self._canvas.setFont(face, size)
                self._canvas.drawString(left, at + size * 0.22, line)
        return at

    def _heights_of_head(self) -> list[float]:
        heights = [0.0] * self._sheet.head_rows
        # Cells of one row first: what spans several needs only what those leave it short of.
        for cell in sorted(self._sheet.head, key=lambda cell: cell.bottom - cell.top):
            numbers = cell.top == self._sheet.head_rows - 1
            face, size = (Face.ITALIC, _SMALL) if numbers else (Face.BOLD, _HEAD)
            room = self._edges[cell.right] - self._edges[cell.left] - 2 * _PAD
            wanted = len(wrapped(composed(cell.text), face, size, room)) * size * _LEADING
            short = wanted + 2 * _PAD - sum(heights[cell.top : cell.bottom])
            if short > 0:
                heights[cell.bottom - 1] += short
        return heights


def _edges(columns: Sequence[Column]) -> list[float]:
    """Where the columns begin, and where the last one ends."""
    told = sum(column.width for column in columns)
    scale = (_WIDE - 2 * _SIDE) / told
    edges = [_SIDE]
    for column in columns:
        edges.append(edges[-1] + column.width * scale)
    return edges


def _face(weight: Weight) -> Face:
    return Face.BOLD if weight in (Weight.UNIT, Weight.TOTAL) else Face.REGULAR
