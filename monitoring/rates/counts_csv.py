"""Reading a table of counts: CSV in UTF-8 with the portal's column names.

Every problem of a file is told at once, by line and column; a cell's content is never repeated.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monitoring.rates.catalogue import Words

_COUNT = re.compile("[0-9]{1,15}")


class BadTable(ValueError):
    """A table cannot be used. `problems` say where and what, in both languages."""

    def __init__(self, problems: Sequence[Words]) -> None:
        super().__init__("; ".join(one.en for one in problems))
        self.problems = tuple(problems)

    @property
    def told(self) -> tuple[Words, ...]:
        """The problems, each once."""
        return together(self.problems)


def together(told: Sequence[Words]) -> tuple[Words, ...]:
    """Of what is alike in several lines the first, and how many lines more there are."""
    alike: dict[tuple[str, str], list[Words]] = {}
    for one in told:
        about = one.vi.partition(", ")[2], one.en.partition(", ")[2]
        alike.setdefault(about if all(about) else (one.vi, one.en), []).append(one)
    return tuple(_together(some) for some in alike.values())


def _together(alike: Sequence[Words]) -> Words:
    first, more = alike[0], len(alike) - 1
    if not more:
        return first
    return Words(vi=f"{first.vi} (và {more} dòng nữa)", en=f"{first.en} (and {more} more lines)")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the line of the file on which it ends, and its cells by column, without blanks around."""

    line: int
    cells: Mapping[str, str]

    def problem(self, column: str, vi: str, en: str) -> Words:
        """A sentence about one cell."""
        return Words(
            vi=f"dòng {self.line}, cột {column}: {vi}",
            en=f"line {self.line}, column {column}: {en}",
        )

    def blank(self, column: str) -> Words:
        """The problem of a cell that may not be blank."""
        return self.problem(column, "bỏ trống", "is blank")

    def count(self, column: str, problems: list[Words]) -> int | None:
        """The count in a cell; None if it is blank, and also after adding to the problems."""
        cell = self.cells[column]
        if _COUNT.fullmatch(cell):
            return int(cell)
        if cell:
            problems.append(
                self.problem(
                    column,
                    "không phải số đếm (chỉ gồm chữ số, không dấu phân cách, tối đa 15 chữ số)",
                    "is not a count (digits only, no separators, at most 15)",
                )
            )
        return None


def refuse(problems: Sequence[Words]) -> None:
    """Raises `BadTable` if there are problems."""
    if problems:
        raise BadTable(problems)


def read(table: bytes, needed: Sequence[str], also: Sequence[str] = ()) -> list[Row]:
    """The rows of a table that must have the columns `needed` and may have `also`. Raises `BadTable`."""
    try:
        text = table.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadTable([_NOT_UTF_8]) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    problems: list[Words] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        refuse(_wrong_header(header, needed, also))
        for cells in reader:
            if not cells:
                continue
            if len(cells) == len(header):
                stripped = (cell.strip() for cell in cells)
                rows.append(Row(reader.line_num, dict(zip(header, stripped, strict=True))))
            else:
                problems.append(_wrong_length(reader.line_num, len(cells), len(header)))
    except csv.Error as error:
        raise BadTable([_no_csv(reader.line_num, error)]) from None
    refuse(problems)
    return rows


def _wrong_header(header: Sequence[str], needed: Sequence[str], also: Sequence[str]) -> list[Words]:
    found = ", ".join(name for name in header if name in needed) or "–"
    wanted = Words(
        vi=f"cần các cột {', '.join(needed)}; đang có {found}",
        en=f"needed are {', '.join(needed)}; there are {found}",
    )
    missing = [
        Words(vi=f"thiếu cột {name}", en=f"column {name} is missing")
        for name in needed
        if name not in header
    ]
    twice = [
        Words(vi=f"cột {name} có hai lần", en=f"column {name} is there twice")
        for name in (*needed, *also)
        if header.count(name) > 1
    ]
    if len(header) == 1 and len(missing) == len(needed):
        return [_NO_COMMAS, wanted, *missing]
    return [wanted, *missing, *twice] if missing else twice


def _wrong_length(line: int, cells: int, wanted: int) -> Words:
    return Words(
        vi=f"dòng {line}: có {cells} ô, dòng tiêu đề có {wanted}",
        en=f"line {line}: {cells} cells, the header has {wanted}",
    )


def _no_csv(line: int, error: csv.Error) -> Words:
    return Words(vi=f"dòng {line}: không đúng dạng CSV", en=f"line {line}: no CSV: {error}")


_NOT_UTF_8 = Words(
    vi="tệp không phải UTF-8: lưu lại dưới dạng CSV UTF-8",
    en="the file is not UTF-8: save it as CSV UTF-8",
)

_NO_COMMAS = Words(
    vi="dòng đầu chỉ có một ô: các cột phải ngăn cách bằng dấu phẩy",
    en="the first line is a single cell: columns are separated by commas",
)
