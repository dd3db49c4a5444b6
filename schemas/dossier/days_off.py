"""Which days are off, and which weekend days are worked instead: `data/days_off.csv`, or a file like it.

A holiday is law only once the Government has announced the days of the year, so every row says how
sure it is and where it was seen, and the table says which years it knows at all.
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from importlib.resources import files
from pathlib import Path

from schemas.dossier.csv_table import Row, Table, iso_day, text_of

COLUMNS = ("date", "kind", "name_vi", "source")

ALSO = ("swapped_with", "name_en", "certainty", "note", "weekday", "status")
"""May be left out. Without `swapped_with` the name tells the other day of a swap; without `certainty` every row is
`UNVERIFIED`, for nobody says how sure it is. `weekday` and `status` are held against date and kind."""

FIXED_HOLIDAYS = ((1, 1), (4, 30), (5, 1), (9, 2))
"""Month and day of the holidays that fall on the same date every year (Labour Code 2019, Art. 112)."""

HOLIDAYS_A_YEAR = 11
"""The least number of public holidays in a year (Labour Code 2019, Art. 112(1): 1+5+1+1+2+1 days)."""

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_VIETNAMESE = re.compile(r"\b([0-9]{2})/([0-9]{2})/([0-9]{4})\b")
_ISO = re.compile(r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}\b")
_SATURDAY = 5  # date.weekday()


class Certainty(StrEnum):
    """How sure something is, from the surest down."""

    CONFIRMED = "confirmed"  # the announcement itself was seen
    REPORTED = "reported"  # a secondary source says so
    COMPUTED = "computed"  # by the rule of the law, before the year was announced
    UNVERIFIED = "unverified"  # said without a source, or a source is in doubt
    UNKNOWN = "unknown"  # nothing is known about the year; never stands in a row


_ORDER = {certainty: place for place, certainty in enumerate(Certainty)}


def weakest(certainties: Iterable[Certainty]) -> Certainty:
    """The least sure of them; `CONFIRMED` of none, because nothing is then in doubt."""
    return max(certainties, key=_ORDER.__getitem__, default=Certainty.CONFIRMED)


class DayKind(StrEnum):
    """Why a day is not what its weekday says. Only the last is worked."""

    PUBLIC_HOLIDAY = "public_holiday"  # nghỉ lễ, tết
    DAY_OFF_IN_LIEU = "day_off_in_lieu"  # nghỉ bù: the holiday fell on a weekend
    DAY_OFF_SWAPPED = "day_off_swapped"  # nghỉ hoán đổi: a weekend day is worked for it
    WORKDAY_SWAPPED = "workday_swapped"  # làm bù


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialDay:
    """One row. `swapped_with` ties a day off and the weekend day that is worked for it to each other."""

    day: date
    kind: DayKind
    swapped_with: date | None
    name_vi: str
    name_en: str
    certainty: Certainty
    source: str
    note: str


class DaysOff:
    """The special days of whole years. Immutable."""

    def __init__(self, days: Iterable[SpecialDay]) -> None:
        self._days = {special.day: special for special in sorted(days, key=lambda s: s.day)}
        self._order = tuple(self._days)
        self._years: dict[int, Certainty] = {
            year: _certainty_of_year([s for s in self._days.values() if s.day.year == year])
            for year in sorted({day.year for day in self._days})
        }

    @property
    def days(self) -> Mapping[date, SpecialDay]:
        """All rows by date, in order."""
        return dict(self._days)

    @property
    def years(self) -> tuple[int, ...]:
        """The years that are known."""
        return tuple(self._years)

    def on(self, day: date) -> SpecialDay | None:
        """The row of a day, if it has one."""
        return self._days.get(day)

    def certainty(self, first: date, last: date) -> Certainty:
        """How sure it is which of the days from `first` to `last` (inclusive) are off.

        A day with a row is as sure as the row. A day without one is as sure as the list of its year:
        as its weakest row, leaving out the `unverified` ones, whose doubt is about that day alone.
        A year that is not known makes the answer `UNKNOWN`. Raises `ValueError` if `last` is before
        `first`.
        """
        if last < first:
            raise ValueError(f"last: {last} is before the first day {first}")
        found: list[Certainty] = []
        for year in range(first.year, last.year + 1):
            if year not in self._years:
                return Certainty.UNKNOWN
            begin, end = max(first, date(year, 1, 1)), min(last, date(year, 12, 31))
            rows = self._order[bisect_left(self._order, begin) : bisect_right(self._order, end)]
            found += (self._days[day].certainty for day in rows)
            if len(rows) <= (end - begin).days:
                found.append(self._years[year])
        return weakest(found)

    def replaced_by(self, newer: DaysOff) -> DaysOff:
        """These years, but every year that `newer` knows as `newer` has it."""
        kept = [special for special in self._days.values() if special.day.year not in newer.years]
        return DaysOff([*kept, *newer.days.values()])


def _certainty_of_year(rows: list[SpecialDay]) -> Certainty:
    sure = [row.certainty for row in rows if row.certainty is not Certainty.UNVERIFIED]
    return weakest(sure) if sure else Certainty.UNVERIFIED


# --- reading ---------------------------------------------------------------------------------------


@functools.cache
def packaged_days_off() -> DaysOff:
    """The table that ships with the package; its README says where it is from."""
    file = files(__package__) / "data" / "days_off.csv"
    return parse_days_off(file.read_text(encoding="utf-8"), file.name)


def read_days_off(path: Path) -> DaysOff:
    """The table in a file of the same form as the packaged one. Raises `TableError`."""
    return parse_days_off(text_of(path), str(path))


def parse_days_off(text: str, where: str) -> DaysOff:
    """The table in `text`; `where` names it in messages.

    Raises `TableError`: for fields that cannot be read, a date that stands twice, a swap whose other
    day is missing or says otherwise, a swap on the wrong kind of weekday, and a year whose list cannot
    be complete, because a year with holes would pass for a known one.
    """
    table = Table(text, where, COLUMNS, ALSO)
    read = [(row, special) for row in table.rows if (special := _special_day(row)) is not None]
    _check_dates(read)
    table.finish()
    _check_swaps(read)
    _check_years(table, [special for _, special in read])
    table.finish()
    return DaysOff(special for _, special in read)


def _special_day(row: Row) -> SpecialDay | None:
    kinds, certainties = [k.value for k in DayKind], [c.value for c in Certainty][:-1]
    day = row.day("date")
    kind = row.needed(
        "kind",
        lambda text: DayKind(text) if text in kinds else None,
        f"chọn một trong {', '.join(kinds)}",
        f"choose one of {', '.join(kinds)}",
    )
    swapped_with = row.optional_day("swapped_with")
    if kind in _PARTNER and not row.has("swapped_with"):
        swapped_with = _named_day(row.text("name_vi"))
    name = row.needed("name_vi", str, "viết tên ngày này", "write the name of the day")
    certainty: Certainty | None = Certainty.UNVERIFIED
    if row.has("certainty"):
        certainty = row.needed(
            "certainty",
            lambda text: Certainty(text) if text in certainties else None,
            f"chọn một trong {', '.join(certainties)}",
            f"choose one of {', '.join(certainties)}",
        )
    _check_weekday(row, day)
    _check_status(row, kind)
    source = row.needed("source", str, "viết số văn bản hoặc nguồn", "name the document or source")
    if day is None or kind is None or name is None or certainty is None or source is None:
        return None
    return SpecialDay(
        day=day,
        kind=kind,
        swapped_with=swapped_with,
        name_vi=name,
        name_en=row.text("name_en"),
        certainty=certainty,
        source=source,
        note=row.text("note"),
    )


def _named_day(text: str) -> date | None:
    """The one day that a text names, as 04/05/2024 or 2024-05-04."""
    found = [f"{year}-{month}-{number}" for number, month, year in _VIETNAMESE.findall(text)]
    days = {day for one in (*found, *_ISO.findall(text)) if (day := iso_day(one)) is not None}
    return days.pop() if len(days) == 1 else None


def _check_weekday(row: Row, day: date | None) -> None:
    told = row.text("weekday")
    if told and day is not None and told.casefold()[:3] != _WEEKDAYS[day.weekday()]:
        is_a = _WEEKDAYS[day.weekday()].capitalize()
        vi, en = f"ngày {day} là {is_a}; xem lại ngày", f"{day} is a {is_a}; check the date"
        row.problem("weekday", vi, en)


def _check_status(row: Row, kind: DayKind | None) -> None:
    told = row.text("status")
    wanted = "working" if kind is DayKind.WORKDAY_SWAPPED else "off"
    if told and kind is not None and told != wanted:
        vi = f"{kind.value} là ngày {wanted}; xem lại hai cột"
        row.problem("status", vi, f"a {kind.value} is {wanted}; check both columns")


def _check_dates(read: list[tuple[Row, SpecialDay]]) -> None:
    first: dict[date, int] = {}
    for row, special in read:
        if special.day in first:
            line = first[special.day]
            vi = f"ngày {special.day} đã có ở dòng {line}; bỏ một dòng"
            row.problem("date", vi, f"{special.day} stands in line {line} too; remove one of them")
        first.setdefault(special.day, row.line)
        weekend = special.day.weekday() >= _SATURDAY
        if special.kind is DayKind.WORKDAY_SWAPPED and not weekend:
            vi = "ngày làm bù phải là thứ Bảy hoặc Chủ nhật; xem lại ngày"
            row.problem("date", vi, "a day worked instead is a Saturday or Sunday; check the date")
        elif special.kind in (DayKind.DAY_OFF_IN_LIEU, DayKind.DAY_OFF_SWAPPED) and weekend:
            vi = "ngày nghỉ bù, nghỉ hoán đổi phải từ thứ Hai đến thứ Sáu; xem lại ngày"
            row.problem("date", vi, "a day off instead is a Monday to Friday; check the date")


_PARTNER = {
    DayKind.DAY_OFF_SWAPPED: DayKind.WORKDAY_SWAPPED,
    DayKind.WORKDAY_SWAPPED: DayKind.DAY_OFF_SWAPPED,
}


def _check_swaps(read: list[tuple[Row, SpecialDay]]) -> None:
    by_day = {special.day: special for _, special in read}
    for row, special in read:
        wanted = _PARTNER.get(special.kind)
        if wanted is None:
            if special.swapped_with is not None:
                vi = f"để trống khi kind là {special.kind.value}"
                row.problem(
                    "swapped_with", vi, f"leave it empty where kind is {special.kind.value}"
                )
            continue
        if special.swapped_with is None:
            vi, en = (
                "để trống; viết ngày được hoán đổi",
                "is empty; write the day it is exchanged for",
            )
            row.problem("swapped_with", vi, en)
            continue
        partner = by_day.get(special.swapped_with)
        if partner is None or partner.kind is not wanted or partner.swapped_with != special.day:
            other = f"{special.swapped_with},{wanted.value},{special.day}"
            vi = f"ngày kia không khớp; cần có dòng {other},…"
            row.problem(
                "swapped_with", vi, f"the other day does not match; a line {other},… is needed"
            )


def _check_years(table: Table, days: list[SpecialDay]) -> None:
    holidays = {special.day for special in days if special.kind is DayKind.PUBLIC_HOLIDAY}
    count = Counter(day.year for day in holidays)
    for year in sorted({special.day.year for special in days}):
        row = next(row for row in table.rows if row.text("date").startswith(f"{year:04d}"))
        missing = [
            day.isoformat()
            for month, number in FIXED_HOLIDAYS
            if (day := date(year, month, number)) not in holidays
        ]
        if missing:
            listed = ", ".join(missing)
            vi = f"năm {year} thiếu ngày lễ {listed}; nhập cả năm trong một tệp"
            row.problem(
                "date", vi, f"{year} lacks the holidays {listed}; give the whole year in one file"
            )
        elif count[year] < HOLIDAYS_A_YEAR:
            have = f"{count[year]}/{HOLIDAYS_A_YEAR}"
            vi = f"năm {year} chỉ có {have} ngày lễ, tết; nhập cả năm trong một tệp"
            en = f"{year} has only {have} public holidays; give the whole year in one file"
            row.problem("date", vi, en)
