"""The working calendar: working days and working time of an agency, by the clock in Viet Nam.

Instants are aware and come back in UTC; days are civil days of Asia/Ho_Chi_Minh. Every result is an
`Answer`: beside the value it says how sure the days off are on which it rests. In a year of which the
calendar knows nothing, it reckons as if weekends were the only days off, and the answer is `unknown`: a
deadline then comes out too early rather than too late.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Generic, TypeVar
from zoneinfo import ZoneInfo

from schemas.dossier.days_off import Certainty, DayKind, DaysOff, packaged_days_off
from schemas.dossier.working_hours import HalfDay, WorkingHours, packaged_working_hours

T_co = TypeVar("T_co", covariant=True)

CIVIL_ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
"""Civil time of Viet Nam: seven hours ahead of UTC, without summer time since 1975."""

FIRST_YEAR, LAST_YEAR = 1900, 2200  # the years in which a source's time is believed

_DAY = timedelta(days=1)


def civil_day(instant: datetime) -> date:
    """The day on which an instant falls in Viet Nam. Raises `ValueError` for one without a zone."""
    if instant.tzinfo is None:
        raise ValueError("instant: has no zone; give an aware time, e.g. in UTC")
    return instant.astimezone(CIVIL_ZONE).date()


def end_of_day(instant: datetime) -> datetime:
    """The midnight in Viet Nam that ends the day of an instant (Civil Code 2015, Art. 148(6))."""
    return _utc(civil_day(instant) + _DAY, time())


@dataclass(frozen=True, slots=True)
class Answer(Generic[T_co]):
    """A result of the calendar, and how sure the days off are on which it rests."""

    value: T_co
    certainty: Certainty


@dataclass(frozen=True, slots=True)
class _Year:
    """What one agency works in one year: its half-days, and its working days, each in order."""

    opens: tuple[datetime, ...]
    closes: tuple[datetime, ...]
    through: tuple[timedelta, ...]  # working time of the year up to the end of each half-day
    days: tuple[date, ...]
    ends: tuple[datetime, ...]  # the close of work on each working day

    @property
    def total(self) -> timedelta:
        return self.through[-1] if self.through else timedelta()

    def worked_until(self, instant: datetime) -> timedelta:
        """Working time of this year before an instant in it."""
        place = bisect_right(self.opens, instant) - 1
        if place < 0:
            return timedelta()
        left = max(self.closes[place] - instant, timedelta())
        return self.through[place] - left

    def after(self, worked: timedelta) -> datetime:
        """The first instant at which so much has been worked; 0 < worked <= total."""
        place = bisect_left(self.through, worked)
        return self.closes[place] - (self.through[place] - worked)


class WorkingCalendar:
    """Working days and working time by agency. `agency` is its code; None, or one without hours of its
    own, stands for the province. Immutable as far as can be seen."""

    def __init__(self, days_off: DaysOff, hours: WorkingHours) -> None:
        self.days_off = days_off
        self.hours = hours
        self._years: dict[tuple[str | None, int], _Year] = {}

    @property
    def years(self) -> tuple[int, ...]:
        """The years whose days off are known; beyond them every answer is `unknown`."""
        return self.days_off.years

    def half_days(self, day: date, agency: str | None = None) -> tuple[HalfDay, ...]:
        """What is worked on a day, by the clock on the wall; nothing on a day off.

        A day that is worked instead of another has the hours of that other's weekday. That a swap holds
        for every agency alike is inferred: the yearly announcement speaks of civil servants as a whole.
        Source: Labour Code 2019, Art. 111(3) and 112 (by secondary sources), and the year's announcement.
        """
        special = self.days_off.on(day)
        if special is None:
            return self.hours.week(agency, day)[day.weekday()]
        if special.kind is not DayKind.WORKDAY_SWAPPED or special.swapped_with is None:
            return ()
        return self.hours.week(agency, day)[special.swapped_with.weekday()]

    def is_working_day(self, day: date, agency: str | None = None) -> Answer[bool]:
        """Whether anything at all is worked on a day: a Saturday morning makes a working day.

        Source: inferred; no law was found that says what a half day counts.
        """
        return Answer(bool(self.half_days(day, agency)), self.days_off.certainty(day, day))

    def working_time(
        self, start: datetime, end: datetime, agency: str | None = None
    ) -> Answer[timedelta]:
        """The working time in [start, end). Raises `ValueError` if `end` is before `start`."""
        first, last = _checked_span(start, end)
        worked = self._year(agency, last.year).worked_until(end)
        worked -= self._year(agency, first.year).worked_until(start)
        for year in range(first.year, last.year):
            worked += self._year(agency, year).total
        return Answer(worked, self.days_off.certainty(first, last))

    def add_working_time(
        self, start: datetime, amount: timedelta, agency: str | None = None
    ) -> Answer[datetime]:
        """The first instant at which `amount` has been worked since `start`; `start` itself for none.

        It counts from the instant on, and what is left at the end of a half-day goes on in the next one;
        eight hours that run out with the day end at closing time, not on the next morning.
        Source: Civil Code 2015, Art. 147(1): a limit in hours begins at the instant (confirmed).
        Raises `ValueError` for a negative amount and for one that reaches beyond the year 2200.
        """
        first = _checked("start", start)
        if amount < timedelta():
            raise ValueError(f"amount: {amount} is negative")
        found = start.astimezone(UTC)
        if amount:
            year = first.year
            amount += self._year(agency, year).worked_until(start)
            while amount > (worked := self._year(agency, year).total):
                amount -= worked
                year = _next(year, "amount")
            found = self._year(agency, year).after(amount)
        return Answer(found, self.days_off.certainty(first, civil_day(found)))

    def working_days(
        self, start: datetime, end: datetime, agency: str | None = None
    ) -> Answer[int]:
        """The working days after the day of `start`, up to and with the day of `end`.

        Source: Civil Code 2015, Art. 147(2): the first day does not count (confirmed).
        Raises `ValueError` if `end` is before `start`.
        """
        first, last = _checked_span(start, end)
        worked = bisect_right(self._year(agency, last.year).days, last)
        worked -= bisect_right(self._year(agency, first.year).days, first)
        for year in range(first.year, last.year):
            worked += len(self._year(agency, year).days)
        return Answer(worked, self.days_off.certainty(first, last))

    def add_working_days(
        self, start: datetime, count: int, agency: str | None = None
    ) -> Answer[datetime]:
        """The close of work on the `count`-th working day after the day of `start`.

        Source: Civil Code 2015, Art. 147(2): the first day does not count (confirmed). Art. 148 lets the
        last day end at midnight; that a dossier is due when the office closes is inferred.
        Raises `ValueError` for a count below 1 and for one that reaches beyond the year 2200.
        """
        first = _checked("start", start)
        if count < 1:
            raise ValueError(f"count: {count}, must be 1 or more")
        year = first.year
        place = bisect_right(self._year(agency, year).days, first) + count - 1
        while place >= (worked := len(self._year(agency, year).days)):
            place -= worked
            year = _next(year, "count")
        found = self._year(agency, year)
        return Answer(found.ends[place], self.days_off.certainty(first, found.days[place]))

    def end_of_next_working_day(
        self, instant: datetime, agency: str | None = None
    ) -> Answer[datetime]:
        """The close of work on the first working day after the day of `instant`."""
        return self.add_working_days(instant, 1, agency)

    def last_working_day_before(self, day: date, agency: str | None = None) -> Answer[date]:
        """The newest working day before `day`. Raises `ValueError` for a day outside 1901 to 2200."""
        if not FIRST_YEAR < day.year <= LAST_YEAR:
            raise ValueError(f"day: {day} lies outside {FIRST_YEAR + 1} to {LAST_YEAR}")
        year = day.year
        while not (place := bisect_left(self._year(agency, year).days, day)):
            year -= 1
        found = self._year(agency, year).days[place - 1]
        return Answer(found, self.days_off.certainty(found, day - _DAY))

    def _year(self, agency: str | None, year: int) -> _Year:
        key = (self.hours.owner(agency), year)
        found = self._years.get(key)
        if found is None:
            found = self._years[key] = self._reckon(*key)
        return found

    def _reckon(self, agency: str | None, year: int) -> _Year:
        opens: list[datetime] = []
        closes: list[datetime] = []
        through: list[timedelta] = []
        ends: dict[date, datetime] = {}
        worked = timedelta()
        for number in range(date(year, 1, 1).toordinal(), date(year + 1, 1, 1).toordinal()):
            day = date.fromordinal(number)
            for half in self.half_days(day, agency):
                opens.append(_utc(day, half.opens))
                closes.append(_utc(day, half.closes))
                worked += closes[-1] - opens[-1]
                through.append(worked)
                ends[day] = closes[-1]
        return _Year(
            opens=tuple(opens),
            closes=tuple(closes),
            through=tuple(through),
            days=tuple(ends),
            ends=tuple(ends.values()),
        )


def packaged_calendar() -> WorkingCalendar:
    """The calendar of the packaged days off and hours."""
    return WorkingCalendar(packaged_days_off(), packaged_working_hours())


def _utc(day: date, clock: time) -> datetime:
    return datetime.combine(day, clock, tzinfo=CIVIL_ZONE).astimezone(UTC)


def _checked(name: str, instant: datetime) -> date:
    day = civil_day(instant)
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise ValueError(f"{name}: {day} lies outside {FIRST_YEAR} to {LAST_YEAR}")
    return day


def _checked_span(start: datetime, end: datetime) -> tuple[date, date]:
    first, last = _checked("start", start), _checked("end", end)
    if end < start:
        raise ValueError(f"end: {end.isoformat()} is before the start {start.isoformat()}")
    return first, last


def _next(year: int, argument: str) -> int:
    if year == LAST_YEAR:
        raise ValueError(f"{argument}: reaches beyond the year {LAST_YEAR}")
    return year + 1
