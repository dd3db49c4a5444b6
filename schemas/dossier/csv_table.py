"""Small tables that people keep: CSV with a heading line, checked field by field.

All problems of a file are told at once, each with its line, its column and the remedy.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

UNREADABLE = "unreadable"
"""The reason of a problem that keeps a field from being read."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. Without `line` it concerns the file, without `column` the line.

    `reason` is a code: `UNREADABLE`, or one of a list of the table's own.
    """

    line: int | None
    column: str | None
    vi: str
    en: str
    reason: str = UNREADABLE

    @property
    def told(self) -> tuple[str, str]:
        """Where and what, vi and en."""
        vi = ", ".join(
            [f"dòng {self.line}"] * (self.line is not None)
            + [f"cột {self.column}"] * (self.column is not None)
        )
        en = ", ".join(
            [f"line {self.line}"] * (self.line is not None)
            + [f"column {self.column}"] * (self.column is not None)
        )
        return f"{vi or 'cả tệp'}: {self.vi}", f"{en or 'the file'}: {self.en}"

    def __str__(self) -> str:
        return " / ".join(self.told)


_LINES_NAMED = 5


def _told_once(problems: Sequence[Problem]) -> list[tuple[str, str]]:
    """Where and what, vi and en, one for all lines of which the same is wrong in the same column."""
    alike: dict[tuple[bool, str | None, str, str], list[Problem]] = {}
    for one in problems:
        alike.setdefault((one.line in (None, 1), one.column, one.vi, one.en), []).append(one)
    return [_together(some) if len(some) > 1 else some[0].told for some in alike.values()]


def _together(alike: Sequence[Problem]) -> tuple[str, str]:
    lines = list(dict.fromkeys(str(one.line) for one in alike))
    named, more = ", ".join(lines[:_LINES_NAMED]), len(lines) - _LINES_NAMED
    vi = f"{named} và {more} dòng nữa" if more > 0 else named
    en = f"{named} and {more} more" if more > 0 else named
    one = alike[0]
    at_vi = f", cột {one.column}" if one.column is not None else ""
    at_en = f", column {one.column}" if one.column is not None else ""
    return f"dòng {vi}{at_vi}: {one.vi}", f"lines {en}{at_en}: {one.en}"


class TableError(ValueError):
    """A table cannot be taken in. `problems` lists all that is wrong with it; nothing of it is used."""

    def __init__(self, where: str, problems: Sequence[Problem]) -> None:
        ordered = sorted(problems, key=lambda p: (p.line or 0, p.column or ""))
        super().__init__("\n".join(f"{where}, {' / '.join(told)}" for told in _told_once(ordered)))
        self.where = where
        self.problems = tuple(ordered)

    @property
    def told(self) -> list[tuple[str, str]]:
        """What is wrong and where, vi and en; what is alike in several lines once."""
        return _told_once(self.problems)


class Row:
    """One line while it is read. A field that cannot be read is noted as a problem and gives None."""

    def __init__(self, table: Table, line: int, fields: dict[str, str]) -> None:
        self.line = line
        self._table = table
        self._fields = fields

    def problem(self, column: str | None, vi: str, en: str, reason: str = UNREADABLE) -> None:
        """Note something that is wrong with this line."""
        self._table.problems.append(Problem(self.line, column, vi, en, reason))

    def text(self, column: str) -> str:
        """The trimmed text, empty where nothing stands."""
        return self._fields[column]

    def has(self, column: str) -> bool:
        """Whether the table has this column, for one that may be left out."""
        return column in self._table.heading

    def needed(self, column: str, parse: Callable[[str], T | None], vi: str, en: str) -> T | None:
        """The parsed field. `vi` and `en` say what should stand there, e.g. "viết …", "write …"."""
        text = self._fields[column]
        if not text:
            self.problem(column, f"để trống; {vi}", f"is empty; {en}")
            return None
        found = parse(text)
        if found is None:
            self.problem(column, f"{text!r} không hợp lệ; {vi}", f"{text!r} is not valid; {en}")
        return found

    def optional(self, column: str, parse: Callable[[str], T | None], vi: str, en: str) -> T | None:
        """The same for a field that may be empty."""
        return self.needed(column, parse, vi, en) if self._fields[column] else None

    def day(self, column: str) -> date | None:
        """A date that must be there."""
        return self.needed(column, iso_day, *DAY_REMEDY)

    def optional_day(self, column: str) -> date | None:
        """A date that may be left out."""
        return self.optional(column, iso_day, *DAY_REMEDY)


class Table:
    """A table while it is read: its rows, and the problems found so far."""

    def __init__(
        self, text: str, where: str, columns: Sequence[str], also: Sequence[str] = ()
    ) -> None:
        """Read `text`. `where` names it in messages. Raises `TableError` if it is not such a table.

        A column of `also` may be left out; every field of it is empty then.
        """
        self.where = where
        self.heading: tuple[str, ...] = ()
        self._absent = dict.fromkeys(also, "")
        self.problems: list[Problem] = []
        self.rows: list[Row] = []
        reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
        try:
            heading = [name.strip() for name in next(reader, [])]
            self._check_heading(heading, columns, also)
            self.heading = tuple(heading)
            for values in reader:
                if any(value.strip() for value in values):
                    self._take(reader.line_num, heading, values)
        except csv.Error:
            line = reader.line_num
            vi, en = 'dấu nháy không khép; sửa dấu "', 'a quotation mark is not closed; mend the "'
            raise TableError(where, [*self.problems, Problem(line, None, vi, en)]) from None

    def add(self, vi: str, en: str) -> None:
        """Note something that is wrong with the file as a whole."""
        self.problems.append(Problem(None, None, vi, en))

    def finish(self) -> None:
        """Raise `TableError` with all problems, if there are any."""
        if self.problems:
            raise TableError(self.where, self.problems)

    def _check_heading(
        self, heading: Sequence[str], columns: Sequence[str], also: Sequence[str]
    ) -> None:
        needed = f"{','.join(columns)}" + (f" ({','.join(also)})" if also else "")
        vi = f"dòng đầu phải là {needed}, phân cách bằng dấu phẩy"
        en = f"the first line must be {needed}, separated by commas"
        if any(mark in name for name in heading for mark in ";\t"):
            self.problems.append(Problem(1, None, vi, en))
            if len(heading) == 1:
                self.finish()
        wrong = [(one, "thiếu", "is missing") for one in columns if one not in heading]
        wrong += [
            (one, "lặp lại", "is doubled") for one in (*columns, *also) if heading.count(one) > 1
        ]
        strange = dict.fromkeys(one for one in heading if one not in (*columns, *also))
        wrong += [(one or "(trống)", "cột lạ", "is unknown") for one in strange]
        for column, what_vi, what_en in sorted(wrong):
            if not self.problems:  # what is needed is told once
                what_vi, what_en = f"{what_vi}; {vi}", f"{what_en}; {en}"
            self.problems.append(Problem(1, column, what_vi, what_en))
        self.finish()

    def _take(self, line: int, heading: Sequence[str], values: Sequence[str]) -> None:
        if len(values) != len(heading):
            vi = f'có {len(values)} ô, cần {len(heading)}; ô nào có dấu phẩy thì đặt trong "…"'
            en = f'has {len(values)} fields, {len(heading)} wanted; put a field with a comma in "…"'
            self.problems.append(Problem(line, None, vi, en))
            return
        fields = {name: value.strip() for name, value in zip(heading, values, strict=True)}
        self.rows.append(Row(self, line, {**self._absent, **fields}))


DAY_REMEDY = ("viết ngày theo dạng 2026-02-16", "write a date as 2026-02-16")


def iso_day(text: str) -> date | None:
    """A date written yyyy-mm-dd and in no other way."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if day.isoformat() == text else None


def text_of(path: Path) -> str:
    """The text of a file that someone gives. Raises `TableError` if it cannot be read as UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        why = error.strerror or "cannot be read"
        problem = Problem(
            None, None, f"không đọc được ({why}); chỉ đúng tệp", f"{why}; give a file"
        )
        raise TableError(str(path), [problem]) from None
    except UnicodeDecodeError:
        vi, en = "không phải UTF-8; lưu lại dạng CSV UTF-8", "is not UTF-8; save it as CSV UTF-8"
        raise TableError(str(path), [Problem(None, None, vi, en)]) from None
