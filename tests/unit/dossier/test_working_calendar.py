"""The working calendar: named cases on both sides of every edge, and what always holds."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dossier.days_off import Certainty
from schemas.dossier.working_calendar import (
    CIVIL_ZONE,
    FIRST_YEAR,
    LAST_YEAR,
    civil_day,
    end_of_day,
    packaged_calendar,
)
from tests.unit.dossier.samples import (
    CALENDAR,
    HOUR,
    LONG_DAYS,
    MINUTE,
    SATURDAYS,
    SUNDAYS,
    TICK,
    VIET_NAM,
    at,
    told,
)

AGENCIES = (None, SATURDAYS, LONG_DAYS, SUNDAYS)

# --- working days ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "agency", "expected"),
    [
        pytest.param("2026-11-23", None, True, id="Monday"),
        pytest.param("2026-11-27", None, True, id="Friday"),
        pytest.param("2026-11-28", None, False, id="Saturday"),
        pytest.param("2026-11-28", SATURDAYS, True, id="Saturday of an office open in the morning"),
        pytest.param("2026-11-29", SATURDAYS, False, id="Sunday"),
        pytest.param("2026-11-29", SUNDAYS, True, id="Sunday of an office open on Sundays"),
        pytest.param("2026-11-30", SUNDAYS, False, id="Monday of an office open on Sundays"),
        pytest.param("2026-02-13", None, True, id="Friday before Tet"),
        pytest.param("2026-02-16", None, False, id="eve of Tet"),
        pytest.param("2026-02-20", None, False, id="last day of Tet"),
        pytest.param("2026-02-23", None, True, id="Monday after Tet"),
        pytest.param("2025-02-01", SATURDAYS, False, id="a holiday on an open Saturday"),
        pytest.param("2026-04-26", SUNDAYS, False, id="a holiday on an open Sunday"),
        pytest.param("2026-04-27", None, False, id="in lieu of a Sunday"),
        pytest.param("2026-04-28", None, True, id="after the day in lieu"),
        pytest.param("2026-08-22", None, True, id="swapped Saturday"),
        pytest.param("2026-08-23", None, False, id="Sunday after the swapped Saturday"),
        pytest.param("2026-08-31", None, False, id="Monday given for the Saturday"),
        pytest.param("2026-12-31", None, True, id="last day of the year"),
        pytest.param("2027-01-01", None, False, id="New Year"),
    ],
)
def test_a_working_day_is_one_on_which_anything_is_worked(
    day: str, agency: str | None, expected: bool
) -> None:
    assert CALENDAR.is_working_day(date.fromisoformat(day), agency).value is expected


def test_a_swapped_saturday_has_the_hours_of_the_day_that_was_given_for_it() -> None:
    saturday, monday = date(2026, 8, 22), date(2026, 8, 24)
    for agency in (None, SATURDAYS, LONG_DAYS):
        assert CALENDAR.half_days(saturday, agency) == CALENDAR.half_days(monday, agency) != ()
    assert CALENDAR.half_days(saturday, SUNDAYS) == (), "it does not work on Mondays"


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("2026-11-24", "2026-11-23"),
        ("2026-11-25", "2026-11-23"),
        ("2026-11-30", "2026-11-27"),
        ("2026-11-29", "2026-11-27"),
        ("2026-02-23", "2026-02-13"),
        ("2026-02-18", "2026-02-13"),
        ("2026-08-23", "2026-08-22"),
        ("2026-09-03", "2026-08-28"),
        ("2027-01-04", "2026-12-31"),
        ("2026-01-01", "2025-12-31"),
    ],
)
def test_the_last_working_day_before_a_day(before: str, expected: str) -> None:
    found = CALENDAR.last_working_day_before(date.fromisoformat(before))
    assert found.value == date.fromisoformat(expected)


# --- working time ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "agency", "expected"),
    [
        pytest.param("2026-11-23 07:00", "2026-11-23 17:00", None, 8 * HOUR, id="a whole day"),
        pytest.param("2026-11-23 00:00", "2026-11-24 00:00", None, 8 * HOUR, id="midnights"),
        pytest.param("2026-11-23 06:00", "2026-11-23 07:00", None, 0 * HOUR, id="before opening"),
        pytest.param("2026-11-23 06:59", "2026-11-23 07:01", None, MINUTE, id="across opening"),
        pytest.param("2026-11-23 10:59", "2026-11-23 13:01", None, 2 * MINUTE, id="across lunch"),
        pytest.param("2026-11-23 11:00", "2026-11-23 13:00", None, 0 * HOUR, id="lunch"),
        pytest.param("2026-11-23 11:30", "2026-11-23 12:30", None, 0 * HOUR, id="within lunch"),
        pytest.param("2026-11-23 16:59", "2026-11-23 17:30", None, MINUTE, id="across closing"),
        pytest.param("2026-11-27 16:00", "2026-11-30 08:00", None, 2 * HOUR, id="a weekend"),
        pytest.param("2026-11-27 16:00", "2026-11-30 08:00", SATURDAYS, 5.5 * HOUR, id="Saturday"),
        pytest.param("2026-02-13 16:00", "2026-02-23 08:00", None, 2 * HOUR, id="Tet"),
        pytest.param(
            "2026-08-21 16:00", "2026-08-24 08:00", None, 10 * HOUR, id="swapped Saturday"
        ),
        pytest.param("2026-08-28 16:00", "2026-09-03 08:00", None, 2 * HOUR, id="its Monday off"),
        pytest.param("2026-12-31 16:00", "2027-01-04 08:00", None, 2 * HOUR, id="year's end"),
        pytest.param("2024-12-31 16:00", "2026-01-05 08:00", None, 2002 * HOUR, id="over a year"),
        pytest.param("2025-06-30 17:00", "2025-07-01 08:00", LONG_DAYS, 2 * HOUR, id="new hours"),
        pytest.param("2026-11-23 09:00", "2026-11-23 09:00", None, 0 * HOUR, id="no time"),
    ],
)
def test_working_time_between_two_instants(
    start: str, end: str, agency: str | None, expected: timedelta
) -> None:
    assert CALENDAR.working_time(at(start), at(end), agency).value == expected


@pytest.mark.parametrize(
    ("start", "hours", "agency", "expected"),
    [
        pytest.param("2026-11-23 07:00", 8, None, "2026-11-23 17:00", id="a day ends at closing"),
        pytest.param("2026-11-23 07:00", 4, None, "2026-11-23 11:00", id="a half-day before lunch"),
        pytest.param("2026-11-23 09:30", 8, None, "2026-11-25 09:30", id="over a day off"),
        pytest.param("2026-11-26 09:30", 8, None, "2026-11-27 09:30", id="the same time next day"),
        pytest.param("2026-11-26 12:00", 8, None, "2026-11-27 11:00", id="from lunch"),
        pytest.param("2026-11-26 22:00", 8, None, "2026-11-27 17:00", id="from the night"),
        pytest.param("2026-11-27 17:00", 8, None, "2026-11-30 17:00", id="from Friday's closing"),
        pytest.param("2026-11-27 16:59", 1, None, "2026-11-30 07:59", id="over a weekend"),
        pytest.param("2026-11-28 08:00", 8, None, "2026-11-30 17:00", id="from a Saturday"),
        pytest.param("2026-11-28 08:00", 8, SATURDAYS, "2026-11-30 14:00", id="Saturday counts"),
        pytest.param("2026-02-13 15:00", 8, None, "2026-02-23 15:00", id="over Tet"),
        pytest.param("2026-08-21 15:00", 8, None, "2026-08-22 15:00", id="swapped Saturday"),
        pytest.param("2026-08-28 15:00", 8, None, "2026-09-03 15:00", id="its Monday off"),
        pytest.param("2026-12-31 15:00", 8, None, "2027-01-04 15:00", id="over New Year"),
        pytest.param("2024-12-31 16:00", 2002, None, "2026-01-05 08:00", id="over a year"),
        pytest.param(
            "2026-12-31 09:00", 6, None, "2026-12-31 17:00", id="to the year's last minute"
        ),
        pytest.param("2026-11-28 03:00", 0, None, "2026-11-28 03:00", id="nothing to add"),
        pytest.param("2026-11-23 09:00", 4, SUNDAYS, "2026-12-06 18:30", id="two Sundays"),
    ],
)
def test_working_hours_added_to_an_instant(
    start: str, hours: int, agency: str | None, expected: str
) -> None:
    found = CALENDAR.add_working_time(at(start), hours * HOUR, agency).value
    assert told(found) == expected


@pytest.mark.parametrize(
    ("start", "count", "agency", "expected"),
    [
        pytest.param(
            "2026-11-25 07:00", 1, None, "2026-11-26 17:00", id="the first does not count"
        ),
        pytest.param("2026-11-25 23:59", 1, None, "2026-11-26 17:00", id="to its last minute"),
        pytest.param("2026-11-26 00:00", 1, None, "2026-11-27 17:00", id="from the next midnight"),
        pytest.param("2026-11-23 09:00", 1, None, "2026-11-25 17:00", id="over a day off"),
        pytest.param("2026-11-27 09:00", 1, None, "2026-11-30 17:00", id="over a weekend"),
        pytest.param("2026-11-27 09:00", 1, SATURDAYS, "2026-11-28 11:30", id="to Saturday noon"),
        pytest.param("2026-11-28 09:00", 1, None, "2026-11-30 17:00", id="from a Saturday"),
        pytest.param("2026-02-13 09:00", 1, None, "2026-02-23 17:00", id="over Tet"),
        pytest.param("2026-02-17 09:00", 5, None, "2026-02-27 17:00", id="from within Tet"),
        pytest.param("2026-08-21 09:00", 1, None, "2026-08-22 17:00", id="swapped Saturday"),
        pytest.param("2026-12-30 09:00", 3, None, "2027-01-05 17:00", id="over New Year"),
        pytest.param("2024-12-31 09:00", 252, None, "2026-01-06 17:00", id="over a whole year"),
    ],
)
def test_working_days_added_to_an_instant(
    start: str, count: int, agency: str | None, expected: str
) -> None:
    found = CALENDAR.add_working_days(at(start), count, agency)
    assert told(found.value) == expected
    if count == 1:
        assert CALENDAR.end_of_next_working_day(at(start), agency) == found


@pytest.mark.parametrize(
    ("start", "end", "agency", "count", "certainty"),
    [
        ("2026-03-02 00:00", "2026-03-02 23:59", None, 0, Certainty.REPORTED),
        ("2026-03-02 23:59", "2026-03-03 00:00", None, 1, Certainty.REPORTED),
        ("2026-03-06 09:00", "2026-03-08 23:59", None, 0, Certainty.REPORTED),
        ("2026-03-06 09:00", "2026-03-08 23:59", SATURDAYS, 1, Certainty.REPORTED),
        ("2026-02-13 09:00", "2026-02-22 09:00", None, 0, Certainty.REPORTED),
        ("2026-08-21 09:00", "2026-08-31 09:00", None, 6, Certainty.REPORTED),
        ("2024-12-31 09:00", "2026-01-05 09:00", None, 251, Certainty.UNVERIFIED),
        ("2027-12-31 09:00", "2028-01-03 09:00", None, 1, Certainty.UNKNOWN),
    ],
)
def test_working_days_between_two_instants(
    start: str, end: str, agency: str | None, count: int, certainty: Certainty
) -> None:
    found = CALENDAR.working_days(at(start), at(end), agency)
    assert (found.value, found.certainty) == (count, certainty)


# --- civil time ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        (datetime(2026, 11, 22, 16, 59, 59, tzinfo=UTC), date(2026, 11, 22)),
        (datetime(2026, 11, 22, 17, 0, 0, tzinfo=UTC), date(2026, 11, 23)),
        (datetime(2026, 12, 31, 17, 0, 0, tzinfo=UTC), date(2027, 1, 1)),
    ],
)
def test_a_day_begins_at_midnight_in_viet_nam(instant: datetime, day: date) -> None:
    assert civil_day(instant) == day
    assert civil_day(end_of_day(instant) - TICK) == day
    assert civil_day(end_of_day(instant)) == day + timedelta(days=1)


def test_no_day_of_the_calendar_is_longer_or_shorter_than_another() -> None:
    first = date(2024, 1, 1).toordinal()
    for number in range(first, date(2028, 1, 1).toordinal()):
        noon = datetime.combine(date.fromordinal(number), time(12), tzinfo=CIVIL_ZONE)
        assert noon.utcoffset() == 7 * HOUR
        assert end_of_day(noon) - noon.astimezone(UTC) == 12 * HOUR


def test_answers_come_in_utc_whatever_zone_was_asked_in() -> None:
    asked = at("2026-11-25 22:00")
    for zone in (UTC, VIET_NAM):
        added = CALENDAR.add_working_time(asked.astimezone(zone), HOUR).value
        assert (added, added.tzinfo) == (at("2026-11-26 08:00"), UTC)
        unmoved = CALENDAR.add_working_time(asked.astimezone(zone), timedelta()).value
        assert (unmoved, unmoved.tzinfo) == (asked, UTC)


# --- how sure --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "certainty"),
    [
        ("2026-03-02 08:00", "2026-03-06 08:00", Certainty.REPORTED),
        ("2026-11-23 08:00", "2026-11-23 17:00", Certainty.REPORTED),
        ("2026-11-23 08:00", "2026-11-24 00:00", Certainty.UNVERIFIED),
        ("2026-12-31 08:00", "2026-12-31 23:59", Certainty.REPORTED),
        ("2026-12-31 08:00", "2027-01-01 00:00", Certainty.COMPUTED),
        ("2027-12-31 08:00", "2027-12-31 23:59", Certainty.COMPUTED),
        ("2027-12-31 08:00", "2028-01-01 00:00", Certainty.UNKNOWN),
    ],
)
def test_an_answer_says_how_sure_the_days_off_are(
    start: str, end: str, certainty: Certainty
) -> None:
    assert CALENDAR.working_time(at(start), at(end)).certainty is certainty


def test_a_year_that_is_not_known_counts_weekends_alone_and_says_unknown() -> None:
    assert CALENDAR.years == (2024, 2025, 2026, 2027)
    new_year = CALENDAR.is_working_day(date(2029, 1, 1))
    assert (new_year.value, new_year.certainty) == (True, Certainty.UNKNOWN)
    assert CALENDAR.is_working_day(date(2029, 1, 6)).value is False
    added = CALENDAR.add_working_time(at("2027-12-31 15:00"), 8 * HOUR)
    assert (told(added.value), added.certainty) == ("2028-01-03 15:00", Certainty.UNKNOWN)
    before = CALENDAR.last_working_day_before(date(2028, 1, 2))
    assert (before.value, before.certainty) == (date(2027, 12, 31), Certainty.UNKNOWN)
    days = CALENDAR.add_working_days(at("2027-12-31 15:00"), 1)
    assert (told(days.value), days.certainty) == ("2028-01-03 17:00", Certainty.UNKNOWN)


def test_the_packaged_calendar_is_that_of_the_packaged_tables() -> None:
    packaged = packaged_calendar()
    assert packaged.years == CALENDAR.years
    assert packaged.working_time(at("2026-02-13 16:00"), at("2026-02-23 08:00")).value == 2 * HOUR


# --- bad input -------------------------------------------------------------------------------------

NAIVE = datetime(2026, 11, 23, 9)  # noqa: DTZ001 - that is the point
FAR, EARLY = datetime(LAST_YEAR + 1, 1, 2, tzinfo=UTC), datetime(FIRST_YEAR - 1, 12, 1, tzinfo=UTC)
NOW, LAST_DAY = at("2026-11-23 09:00"), at("2200-12-31 06:00")  # a Wednesday


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: CALENDAR.working_time(NAIVE, NOW), "has no zone"),
        (lambda: CALENDAR.working_time(NOW, NAIVE), "has no zone"),
        (lambda: CALENDAR.working_time(NOW, NOW - TICK), "end: .* is before the start"),
        (lambda: CALENDAR.working_time(NOW, FAR), "end: .* lies outside 1900 to 2200"),
        (lambda: CALENDAR.working_time(EARLY, NOW), "start: .* lies outside 1900 to 2200"),
        (lambda: CALENDAR.working_days(NOW, NOW - TICK), "end: .* is before the start"),
        (lambda: CALENDAR.working_days(NAIVE, NOW), "has no zone"),
        (lambda: CALENDAR.add_working_time(NAIVE, HOUR), "has no zone"),
        (lambda: CALENDAR.add_working_time(NOW, -TICK), "amount: .* is negative"),
        (lambda: CALENDAR.add_working_time(NOW, 400_000 * HOUR), "amount: reaches beyond"),
        (lambda: CALENDAR.add_working_time(LAST_DAY, 16 * HOUR), "amount: reaches beyond"),
        (lambda: CALENDAR.add_working_days(LAST_DAY, 2), "count: reaches beyond"),
        (lambda: CALENDAR.add_working_days(NOW, 0), "count: 0, must be 1 or more"),
        (lambda: CALENDAR.add_working_days(NOW, 50_000), "count: reaches beyond"),
        (lambda: CALENDAR.last_working_day_before(date(1900, 12, 31)), "day: .* lies outside 1901"),
        (lambda: CALENDAR.last_working_day_before(date(2201, 1, 1)), "day: .* lies outside 1901"),
    ],
)
def test_what_cannot_be_reckoned_is_refused_by_name(call: object, words: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=words):
        call()


# --- what always holds -----------------------------------------------------------------------------

INSTANTS = st.datetimes(
    min_value=datetime(2023, 6, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2028, 6, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, VIET_NAM]),
)
AMOUNTS = st.timedeltas(min_value=timedelta(), max_value=timedelta(days=60))
OFFICES = st.sampled_from(AGENCIES)


def by_hand(start: datetime, end: datetime, agency: str | None) -> timedelta:
    """Working time day by day, without the tables of years."""
    worked = timedelta()
    for number in range(civil_day(start).toordinal(), civil_day(end).toordinal() + 1):
        day = date.fromordinal(number)
        for half in CALENDAR.half_days(day, agency):
            opens = datetime.combine(day, half.opens, tzinfo=VIET_NAM)
            closes = datetime.combine(day, half.closes, tzinfo=VIET_NAM)
            worked += max(min(end, closes) - max(start, opens), timedelta())
    return worked


@given(INSTANTS, st.timedeltas(timedelta(), timedelta(days=500)), OFFICES)
def test_working_time_is_what_a_person_counts_day_by_day(
    start: datetime, length: timedelta, agency: str | None
) -> None:
    end = start + length
    assert CALENDAR.working_time(start, end, agency).value == by_hand(start, end, agency)


@given(st.lists(INSTANTS, min_size=3, max_size=3).map(sorted), OFFICES)
def test_working_time_adds_up(instants: list[datetime], agency: str | None) -> None:
    a, b, c = instants
    parts = CALENDAR.working_time(a, b, agency).value + CALENDAR.working_time(b, c, agency).value
    assert CALENDAR.working_time(a, c, agency).value == parts


@given(INSTANTS, AMOUNTS, OFFICES)
def test_what_was_added_is_measured_again_and_not_a_moment_earlier(
    start: datetime, amount: timedelta, agency: str | None
) -> None:
    found = CALENDAR.add_working_time(start, amount, agency).value
    assert CALENDAR.working_time(start, found, agency).value == amount
    if amount:
        assert CALENDAR.working_time(start, found - TICK, agency).value == amount - TICK


@given(INSTANTS, AMOUNTS, AMOUNTS, OFFICES)
def test_adding_twice_is_adding_the_sum(
    start: datetime, one: timedelta, other: timedelta, agency: str | None
) -> None:
    between = CALENDAR.add_working_time(start, one, agency).value
    twice = CALENDAR.add_working_time(between, other, agency).value
    assert twice == CALENDAR.add_working_time(start, one + other, agency).value


@given(INSTANTS, st.integers(1, 300), OFFICES)
def test_added_working_days_are_as_many_as_are_counted(
    start: datetime, count: int, agency: str | None
) -> None:
    found = CALENDAR.add_working_days(start, count, agency).value
    assert CALENDAR.working_days(start, found, agency).value == count
    first, last = civil_day(start).toordinal(), civil_day(found).toordinal()
    days = [date.fromordinal(number) for number in range(first + 1, last + 1)]
    assert sum(CALENDAR.is_working_day(day, agency).value for day in days) == count
    assert CALENDAR.is_working_day(days[-1], agency).value
    assert found == datetime.combine(
        days[-1], CALENDAR.half_days(days[-1], agency)[-1].closes, tzinfo=VIET_NAM
    )


@given(INSTANTS, OFFICES)
def test_between_the_last_working_day_and_a_day_nothing_is_worked(
    instant: datetime, agency: str | None
) -> None:
    day = civil_day(instant)
    found = CALENDAR.last_working_day_before(day, agency).value
    assert found < day
    assert CALENDAR.is_working_day(found, agency).value
    between = range(found.toordinal() + 1, day.toordinal())
    assert not any(
        CALENDAR.is_working_day(date.fromordinal(number), agency).value for number in between
    )
