"""When an office works: half-days by weekday, for the province and for agencies that differ.

`data/working_hours.csv`, or a file like it. Hours are a setting of the province and no finding: they do
not make an answer of the calendar more or less sure.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, time
from importlib.resources import files
from pathlib import Path
from typing import TypeAlias

from schemas.dossier.csv_table import Row, Table, text_of

COLUMNS = ("agency", "weekdays", "from", "to", "valid_from", "valid_to", "source")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfDay:
    """One stretch of work: [opens, closes) by the clock on the wall."""

    opens: time
    closes: time


Week: TypeAlias = tuple[tuple[HalfDay, ...], ...]
"""The half-days of Monday (0) to Sunday (6), each day's in order; an empty day is not worked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoursRow:
    """One row: a half-day on some weekdays, in force in [valid_from, valid_to). No agency: the province."""

    agency: str | None
    weekdays: tuple[int, ...]
    half_day: HalfDay
    valid_from: date | None
    valid_to: date | None
    source: str

    def in_force(self, day: date) -> bool:
        """Whether it holds on that day."""
        return (self.valid_from is None or self.valid_from <= day) and (
            self.valid_to is None or day < self.valid_to
        )


class WorkingHours:
    """The hours of the province and of the agencies that have their own. Immutable."""

    def __init__(self, rows: Iterable[HoursRow]) -> None:
        """Raises `ValueError` if there is a day on which the province has no hours at all."""
        self.rows = tuple(rows)
        self._by_agency: dict[str | None, tuple[HoursRow, ...]] = {
            agency: tuple(row for row in self.rows if row.agency == agency)
            for agency in {None, *(row.agency for row in self.rows)}
        }
        if (hole := _first_hole(self._by_agency[None])) is not None:
            raise ValueError(f"rows: the province has no hours on {hole}")

    def owner(self, agency: str | None) -> str | None:
        """Whose rows say when this agency works: its own, or the province's (None)."""
        return agency if agency in self._by_agency else None

    def week(self, agency: str | None, day: date) -> Week:
        """The week that is in force for an agency on a day.

        An agency that has rows in force has these only: what it leaves out is not worked. All others
        have the province's.
        """
        for owner in dict.fromkeys((self.owner(agency), None)):
            rows = [row for row in self._by_agency[owner] if row.in_force(day)]
            if rows:
                return tuple(
                    tuple(
                        sorted(
                            (row.half_day for row in rows if weekday in row.weekdays),
                            key=lambda half: half.opens,
                        )
                    )
                    for weekday in range(7)
                )
        raise AssertionError("the province has hours on every day")


def _first_hole(rows: tuple[HoursRow, ...]) -> date | None:
    """The first day on which none of the rows is in force."""
    turns = {date.min, *(row.valid_to for row in rows if row.valid_to is not None)}
    return next(
        (day for day in sorted(turns) if not any(row.in_force(day) for row in rows)),
        None,
    )


# --- reading ---------------------------------------------------------------------------------------


@functools.cache
def packaged_working_hours() -> WorkingHours:
    """The table that ships with the package: one week for the whole province, to be replaced."""
    file = files(__package__) / "data" / "working_hours.csv"
    return parse_working_hours(file.read_text(encoding="utf-8"), file.name)


def read_working_hours(path: Path) -> WorkingHours:
    """The table in a file of the same form as the packaged one. Raises `TableError`."""
    return parse_working_hours(text_of(path), str(path))


def parse_working_hours(text: str, where: str) -> WorkingHours:
    """The table in `text`; `where` names it in messages. It takes the place of the packaged one whole.

    Raises `TableError`: for fields that cannot be read, half-days of one agency that overlap, and days
    on which the province has no hours.
    """
    table = Table(text, where, COLUMNS)
    read = [(row, hours) for row in table.rows if (hours := _hours_row(row)) is not None]
    for place, (row, hours) in enumerate(read):
        for earlier, other in read[:place]:
            if _overlap(hours, other):
                vi = f"giờ làm trùng với dòng {earlier.line}; sửa một trong hai dòng"
                row.problem("from", vi, f"overlaps with line {earlier.line}; change one of the two")
    table.finish()
    province = tuple(hours for _, hours in read if hours.agency is None)
    if (hole := _first_hole(province)) is not None:
        when = (
            ("lúc đầu", "at the beginning")
            if hole == date.min
            else (f"từ {hole}", f"from {hole} on")
        )
        vi = f"{when[0]} tỉnh không có giờ làm chung; thêm dòng để trống agency và valid_from"
        en = f"{when[1]} the province has no hours; add lines with empty agency and valid_from"
        table.add(vi, en)
    table.finish()
    return WorkingHours(hours for _, hours in read)


def _hours_row(row: Row) -> HoursRow | None:
    weekdays = row.needed(
        "weekdays",
        _weekdays,
        "viết một ngày (sat) hoặc một khoảng (mon-fri)",
        "write a day (sat) or a stretch of days (mon-fri)",
    )
    opens = row.needed("from", _clock, *_CLOCK_REMEDY)
    closes = row.needed("to", _clock, *_CLOCK_REMEDY)
    valid_from, valid_to = row.optional_day("valid_from"), row.optional_day("valid_to")
    source = row.needed("source", str, "viết số văn bản hoặc nguồn", "name the document or source")
    if opens is not None and closes is not None and closes <= opens:
        row.problem("to", "phải sau giờ ở cột from", "must be later than `from`")
    if valid_from is not None and valid_to is not None and valid_to <= valid_from:
        vi = "phải sau valid_from; đó là ngày đầu tiên không còn hiệu lực"
        row.problem(
            "valid_to", vi, "must be later than valid_from; it is the first day without effect"
        )
    if weekdays is None or opens is None or closes is None or source is None:
        return None
    return HoursRow(
        agency=row.text("agency") or None,
        weekdays=weekdays,
        half_day=HalfDay(opens=opens, closes=closes),
        valid_from=valid_from,
        valid_to=valid_to,
        source=source,
    )


_CLOCK_REMEDY = ("viết giờ theo dạng 07:30", "write a time as 07:30")


def _clock(text: str) -> time | None:
    try:
        found = time.fromisoformat(text)
    except ValueError:
        return None
    return found if found.strftime("%H:%M") == text else None


def _weekdays(text: str) -> tuple[int, ...] | None:
    first, dash, last = text.partition("-")
    if first not in WEEKDAYS or (dash and last not in WEEKDAYS):
        return None
    begin, end = WEEKDAYS.index(first), WEEKDAYS.index(last if dash else first)
    return tuple(range(begin, end + 1)) or None


def _overlap(one: HoursRow, other: HoursRow) -> bool:
    return (
        one.agency == other.agency
        and bool(set(one.weekdays) & set(other.weekdays))
        and one.half_day.opens < other.half_day.closes
        and other.half_day.opens < one.half_day.closes
        and (one.valid_from or date.min) < (other.valid_to or date.max)
        and (other.valid_from or date.min) < (one.valid_to or date.max)
    )
