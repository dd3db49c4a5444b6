"""A table as it is printed, before it is paper or a workbook: both are drawn from the same sheet.

Lengths are in millimetres. Text is composed (NFC): a letter and its marks are one glyph of the font.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from unicodedata import normalize

from schemas.dossier.working_calendar import CIVIL_ZONE

NATION = "CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM"
MOTTO = "Độc lập - Tự do - Hạnh phúc"
"""The national header of administrative documents (Decree 30/2020/NĐ-CP, Annex I, part II)."""

PREPARED_BY = ("NGƯỜI LẬP BIỂU", "(Ký, ghi rõ họ tên)")
SIGNED_BY = ("THỦ TRƯỞNG ĐƠN VỊ", "(Ký tên, đóng dấu)")

Cell = str | int | Decimal | None


class Weight(StrEnum):
    """How a line is set."""

    UNIT = "unit"  # bold
    SECTOR = "sector"
    PLAIN = "plain"
    TOTAL = "total"  # bold, shaded


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `figures`: numbers, at the right; `middle`: in the middle, for ordinals."""

    width: float
    figures: bool = False
    middle: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """One cell of the head of the table, over the columns and head rows from `left`, `top` up to `right`, `bottom`."""

    text: str
    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True)
class Line:
    """One row: a cell for each column, None where nothing stands. `indent`: steps of the second column."""

    cells: tuple[Cell, ...]
    weight: Weight = Weight.PLAIN
    indent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What stands around the table.

    `number`: that of the form ("Biểu số"); `issued_by`: the document that issued it. `reporter`, `receiver` and
    `place` are names. Without `signed_on` the day is left to be written by hand. `known_at` (aware): up to when
    what was known is counted. `draft`: nobody has approved the figures. `notes` stand beneath the table.
    """

    number: str
    issued_by: str
    title: str
    period: str
    first: date
    last: date
    reporter: str
    receiver: str
    unit: str
    place: str
    revision: int
    snapshot_hash: str
    known_at: datetime
    signed_on: date | None = None
    draft: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table with its head, which is repeated on every page, and its lines."""

    columns: tuple[Column, ...]
    head: tuple[Heading, ...]
    head_rows: int
    lines: tuple[Line, ...]


def composed(text: str) -> str:
    """The text with every letter and its marks as one character, on one line."""
    return " ".join(normalize("NFC", text).split())


def written(cell: Cell) -> str:
    """A cell as it is printed; figures as Vietnamese writes them: 1.234.567,5."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return composed(cell)
    if isinstance(cell, Decimal):
        cell = cell.normalize()
        english = f"{cell:,f}"
    else:
        english = f"{cell:,}"
    return english.translate(str.maketrans(",.", ".,"))


def window(meta: Meta) -> str:
    """The days that the figures are about."""
    return f"(Từ ngày {meta.first:%d/%m/%Y} đến ngày {meta.last:%d/%m/%Y})"


def above(meta: Meta) -> tuple[str, str]:
    """The left block over the title: the form's number, and who issued it."""
    return f"Biểu số {meta.number}", f"Ban hành theo {meta.issued_by}"


def parties(meta: Meta) -> tuple[str, str, str]:
    """Who reports, to whom, and in which unit."""
    return (
        f"Đơn vị báo cáo: {composed(meta.reporter)}",
        f"Đơn vị nhận báo cáo: {composed(meta.receiver)}",
        f"Đơn vị tính: {composed(meta.unit)}",
    )


def standing(meta: Meta) -> str:
    """Which revision this is, and whether anybody has approved it."""
    return f"Bản số {meta.revision}" + (" (dự thảo, chưa được duyệt)" if meta.draft else "")


def signed_at(meta: Meta) -> str:
    """Place and day of the signature."""
    if meta.signed_on is None:
        return f"{composed(meta.place)}, ngày …… tháng …… năm ……"
    day = meta.signed_on
    # One-digit days, and the months 1 and 2, have a nought before them (Decree 30/2020, Annex I).
    month = f"{day.month:02d}" if day.month < 3 else str(day.month)
    return f"{composed(meta.place)}, ngày {day.day:02d} tháng {month} năm {day.year}"


def proof(meta: Meta) -> str:
    """The foot of every page: by which snapshot the figures can be checked."""
    known = meta.known_at.astimezone(CIVIL_ZONE)
    return (
        f"{standing(meta)} · Số liệu biết đến {known:%d/%m/%Y %H:%M:%S} · "
        f"Ảnh chụp số liệu SHA-256 {meta.snapshot_hash}"
    )


def roman(number: int) -> str:
    """I, II, III, …: the ordinals of units."""
    told = ""
    for value, sign in _ROMAN:
        times, number = divmod(number, value)
        told += sign * times
    return told


_ROMAN: Sequence[tuple[int, str]] = (
    (1000, "M"),
    (900, "CM"),
    (500, "D"),
    (400, "CD"),
    (100, "C"),
    (90, "XC"),
    (50, "L"),
    (40, "XL"),
    (10, "X"),
    (9, "IX"),
    (5, "V"),
    (4, "IV"),
    (1, "I"),
)
