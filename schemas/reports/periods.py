"""The periods of periodic reports: what they are called, which days they count, and when they are due.

Windows of the decree run from the 15th to the 14th (Decree 09/2019/NĐ-CP, Art. 12: month, quarter, half
years and year, by secondary sources that agree). Windows of the civil calendar stand beside them, for a
regime that says so (Art. 8 lets whoever issues a regime set its own; which ones do was not found).
Days are civil days of Viet Nam. Pure: the working calendar is handed in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from schemas.dossier.days_off import weakest
from schemas.dossier.working_calendar import CIVIL_ZONE, Answer, WorkingCalendar

DUE_DAY = 25
"""Reports to the Government are due on the 25th of the period's last month (Art. 13(1), confirmed)."""

_CUT_DAY = 14
_DAY = timedelta(days=1)


class PeriodKind(StrEnum):
    """How long a period is, shortest first."""

    MONTH = "month"  # tháng
    QUARTER = "quarter"  # quý
    HALF = "half"  # 6 tháng đầu năm, 6 tháng cuối năm
    NINE_MONTHS = (
        "nine_months"  # 9 tháng: not in Art. 12, inferred by analogy; off unless configured
    )
    YEAR = "year"  # năm


class Calendar(StrEnum):
    """By which windows are cut."""

    DECREE = "decree"  # 15th to 14th
    CIVIL = "civil"  # first to last day of the month


_MONTHS = {
    PeriodKind.MONTH: 1,
    PeriodKind.QUARTER: 3,
    PeriodKind.HALF: 6,
    PeriodKind.NINE_MONTHS: 9,
    PeriodKind.YEAR: 12,
}
_IN_A_YEAR = {
    PeriodKind.MONTH: 12,
    PeriodKind.QUARTER: 4,
    PeriodKind.HALF: 2,
    PeriodKind.NINE_MONTHS: 1,
    PeriodKind.YEAR: 1,
}
_WRITTEN = re.compile(
    "(?P<year>20[0-9]{2})(?:-(?:(?P<nine>9M)|(?P<sign>[QH]?)(?P<number>[0-9]{1,2})))?"
)
_SIGNS = {"": PeriodKind.MONTH, "Q": PeriodKind.QUARTER, "H": PeriodKind.HALF}

WRITE_PERIOD = (
    "viết kỳ báo cáo theo dạng 2026-08 (tháng), 2026-Q3 (quý), 2026-H2 (6 tháng), 2026-9M (9 tháng) "
    "hoặc 2026 (năm)",
    "write a period as 2026-08 (month), 2026-Q3 (quarter), 2026-H2 (half year), 2026-9M (nine months) "
    "or 2026 (year)",
)
"""The remedy for a period that cannot be read, vi and en."""

WRITE_WINDOW = (
    "viết ngày đầu và ngày cuối theo dạng 2026-07-15..2026-08-14",
    "write the first and the last day as 2026-07-15..2026-08-14",
)
"""The remedy for a window that cannot be read, vi and en."""


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """The days that a period counts, both included. Raises `ValueError` when the last is before the first."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError(f"window: {self.last} is before {self.first}")

    @property
    def begins_at(self) -> datetime:
        """The midnight in Viet Nam with which it begins, UTC."""
        return datetime.combine(self.first, time(), CIVIL_ZONE).astimezone(UTC)

    @property
    def cut_off(self) -> datetime:
        """The moment at which the figures are cut off: the midnight in Viet Nam that ends the last day, UTC."""
        return datetime.combine(self.last + _DAY, time(), CIVIL_ZONE).astimezone(UTC)

    def overlaps(self, other: Window) -> bool:
        """Whether a day stands in both."""
        return self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        return f"{self.first}..{self.last}"


def parse_window(text: str) -> Window | None:
    """The window of a text that is written as `WRITE_WINDOW` says and in no other way."""
    first, dots, last = text.partition("..")
    try:
        window = Window(date.fromisoformat(first), date.fromisoformat(last))
    except ValueError:
        return None
    return window if dots and str(window) == text else None


@dataclass(frozen=True, slots=True)
class Period:
    """One reporting period; `number` is its place in the year, from 1. Which days it counts says a calendar."""

    kind: PeriodKind
    year: int
    number: int

    @property
    def last_month(self) -> tuple[int, int]:
        """Year and month in which it ends by name: a quarter's third, whatever the calendar."""
        return self.year, self.number * _MONTHS[self.kind]

    def window(self, calendar: Calendar) -> Window:
        """The days that it counts.

        Source: Art. 12(1) to (4); nine months (15/12 to 14/09) are inferred by analogy with the half year.
        """
        year, month = self.last_month
        begins = month - _MONTHS[self.kind] + 1
        if calendar is Calendar.CIVIL:
            return Window(date(year, begins, 1), _first_of_next(year, month) - _DAY)
        before = date(year, begins, 1) - _DAY
        return Window(before.replace(day=_CUT_DAY + 1), date(year, month, _CUT_DAY))

    def due_on(self, calendar: Calendar, day: int = DUE_DAY) -> date:
        """The day by which it must be sent, in whatever weekday it falls.

        By the decree in the period's last month. A civil window ends only with that month, so its day is
        taken to be in the month after it (inferred: no text was found). `day` is at most 28.
        """
        year, month = self.last_month
        if calendar is Calendar.CIVIL:
            return _first_of_next(year, month).replace(day=day)
        return date(year, month, day)

    def next(self) -> Period:
        """The one of its kind that follows."""
        if self.number == _IN_A_YEAR[self.kind]:
            return Period(self.kind, self.year + 1, 1)
        return Period(self.kind, self.year, self.number + 1)

    def previous(self) -> Period:
        """The one of its kind before it."""
        if self.number == 1:
            return Period(self.kind, self.year - 1, _IN_A_YEAR[self.kind])
        return Period(self.kind, self.year, self.number - 1)

    def __str__(self) -> str:
        match self.kind:
            case PeriodKind.MONTH:
                return f"{self.year}-{self.number:02d}"
            case PeriodKind.QUARTER:
                return f"{self.year}-Q{self.number}"
            case PeriodKind.HALF:
                return f"{self.year}-H{self.number}"
            case PeriodKind.NINE_MONTHS:
                return f"{self.year}-9M"
            case PeriodKind.YEAR:
                return f"{self.year}"

    @property
    def vi(self) -> str:
        """What people call it."""
        match self.kind:
            case PeriodKind.MONTH:
                return f"tháng {self.number}/{self.year}"
            case PeriodKind.QUARTER:
                return f"quý {('I', 'II', 'III', 'IV')[self.number - 1]}/{self.year}"
            case PeriodKind.HALF:
                return f"6 tháng {'đầu' if self.number == 1 else 'cuối'} năm {self.year}"
            case PeriodKind.NINE_MONTHS:
                return f"9 tháng năm {self.year}"
            case PeriodKind.YEAR:
                return f"năm {self.year}"


def _first_of_next(year: int, month: int) -> date:
    return date(year + month // 12, month % 12 + 1, 1)


def parse_period(text: str) -> Period | None:
    """The period of a text that is written as `WRITE_PERIOD` says and in no other way, from 2000 to 2099."""
    found = _WRITTEN.fullmatch(text)
    if found is None:
        return None
    year = int(found["year"])
    if found["nine"] is not None:
        return Period(PeriodKind.NINE_MONTHS, year, 1)
    if found["number"] is None:
        return Period(PeriodKind.YEAR, year, 1)
    period = Period(_SIGNS[found["sign"]], year, int(found["number"]))
    in_year = 1 <= period.number <= _IN_A_YEAR[period.kind]
    return period if in_year and str(period) == text else None


def period_of(kind: PeriodKind, calendar: Calendar, day: date) -> Period | None:
    """The period of a kind whose window holds a day; None between two windows, as after nine months."""
    for year in (
        day.year,
        day.year + 1,
    ):  # of the decree, the last days of December belong to the next
        for number in range(1, _IN_A_YEAR[kind] + 1):
            period = Period(kind, year, number)
            window = period.window(calendar)
            if window.first <= day <= window.last:
                return period
    return None


# --- deadlines ---------------------------------------------------------------------------------------


def send_by(due_on: date, calendar: WorkingCalendar) -> Answer[date]:
    """The last working day up to the due date: people are there to send until then.

    The decree says "not later than the 25th" and has no rule for a day off; that it moves to the next
    working day (Civil Code 2015, Art. 148(5)) is not relied on. Inferred, on the safe side.
    """
    worked = calendar.is_working_day(due_on)
    if worked.value:
        return Answer(due_on, worked.certainty)
    return calendar.last_working_day_before(due_on)


def working_days_back(day: date, count: int, calendar: WorkingCalendar) -> Answer[date]:
    """The working day that lies `count` working days before `day`; for 0 the day itself, or the last one before it."""
    found = send_by(day, calendar)
    sure = [found.certainty]
    for _ in range(count):
        found = calendar.last_working_day_before(found.value)
        sure.append(found.certainty)
    return Answer(found.value, weakest(sure))


def working_days_left(today: date, until: date, calendar: WorkingCalendar) -> int:
    """How many working days lie after `today` up to and with `until`; 0 when it has passed."""
    left = 0
    day = today + _DAY
    while day <= until:
        left += calendar.is_working_day(day).value
        day += _DAY
    return left


def units_due_on(
    window: Window, due_on: date, days_before: int, calendar: WorkingCalendar
) -> Answer[date]:
    """The day by which units confirm: so many working days before the last on which the report can be sent, but
    not before the first working day after the cut-off (Art. 8(5): each level has a deadline of its own)."""
    wanted = working_days_back(due_on, days_before, calendar)
    first = window.last + _DAY
    sure = [wanted.certainty]
    while first < due_on:
        worked = calendar.is_working_day(first)
        sure.append(worked.certainty)
        if worked.value:
            break
        first += _DAY
    return Answer(max(wanted.value, first), weakest(sure))


class PeriodFault(StrEnum):
    """Why a period is not opened, or what is odd about one that is."""

    OVERLAP = "overlap"  # refused: a day would be counted in two periods of one kind
    NO_WORKING_DAY = "no_working_day"  # refused: Art. 8(5) wants one between cut-off and deadline
    HOLE = "hole"  # opened: days between the last window and this one are counted in none


REFUSES = frozenset({PeriodFault.OVERLAP, PeriodFault.NO_WORKING_DAY})
"""With one of these a period is not opened."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A period of the same regime and kind that was opened, with the window it was opened with."""

    key: str
    window: Window


@dataclass(frozen=True, slots=True)
class FaultFound:
    """What is wrong with opening a period, and with which other one, where it is one."""

    fault: PeriodFault
    other: str | None = None


def faults(
    period: Period,
    window: Window,
    due_on: date,
    opened: Iterable[Neighbour],
    calendar: WorkingCalendar,
) -> Iterator[FaultFound]:
    """Everything that is wrong with opening a period beside those that were opened.

    A period that has begun keeps its window, so that a changed calendar applies from the next one; where
    its window then overlaps with one that is there, it is refused and that one named. At least one working
    day must lie between the day of the cut-off and the due date (Art. 8(5), confirmed).
    """
    others = [one for one in opened if one.key != str(period)]
    for one in others:
        if window.overlaps(one.window):
            yield FaultFound(PeriodFault.OVERLAP, one.key)
    if working_days_left(window.last, due_on, calendar) < 1:
        yield FaultFound(PeriodFault.NO_WORKING_DAY)
    before = max((one for one in others if one.window.last < window.first), key=_ends, default=None)
    if (
        before is not None
        and before.key == str(period.previous())
        and before.window.last + _DAY != window.first
        and period.kind is not PeriodKind.NINE_MONTHS
    ):
        yield FaultFound(PeriodFault.HOLE, before.key)


def _ends(one: Neighbour) -> date:
    return one.window.last
