"""Periods: their windows by the decree and by the civil calendar, their keys, their deadlines."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dossier.working_calendar import packaged_calendar
from schemas.reports.periods import (
    Calendar,
    FaultFound,
    Neighbour,
    Period,
    PeriodFault,
    PeriodKind,
    Window,
    faults,
    parse_period,
    parse_window,
    period_of,
    send_by,
    units_due_on,
    working_days_back,
    working_days_left,
)

CALENDAR = packaged_calendar()
DECREE, CIVIL = Calendar.DECREE, Calendar.CIVIL


def window(text: str) -> Window:
    found = parse_window(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("key", "decree", "civil", "due"),
    [
        ("2026-08", "2026-07-15..2026-08-14", "2026-08-01..2026-08-31", "2026-08-25"),
        ("2026-01", "2025-12-15..2026-01-14", "2026-01-01..2026-01-31", "2026-01-25"),
        ("2026-03", "2026-02-15..2026-03-14", "2026-03-01..2026-03-31", "2026-03-25"),
        ("2026-Q1", "2025-12-15..2026-03-14", "2026-01-01..2026-03-31", "2026-03-25"),
        ("2026-Q4", "2026-09-15..2026-12-14", "2026-10-01..2026-12-31", "2026-12-25"),
        ("2026-H1", "2025-12-15..2026-06-14", "2026-01-01..2026-06-30", "2026-06-25"),
        ("2026-H2", "2026-06-15..2026-12-14", "2026-07-01..2026-12-31", "2026-12-25"),
        ("2026-9M", "2025-12-15..2026-09-14", "2026-01-01..2026-09-30", "2026-09-25"),
        ("2026", "2025-12-15..2026-12-14", "2026-01-01..2026-12-31", "2026-12-25"),
    ],
)
def test_the_windows_are_those_of_article_12_beside_the_civil_ones(
    key: str, decree: str, civil: str, due: str
) -> None:
    period = parse_period(key)
    assert period is not None
    assert (str(period.window(DECREE)), str(period.window(CIVIL))) == (decree, civil)
    assert period.due_on(DECREE) == date.fromisoformat(due)
    assert str(period) == key


def test_a_civil_window_is_due_in_the_month_after_it() -> None:
    assert Period(PeriodKind.MONTH, 2026, 12).due_on(CIVIL) == date(2027, 1, 25)
    assert Period(PeriodKind.QUARTER, 2026, 2).due_on(CIVIL, 10) == date(2026, 7, 10)


@pytest.mark.parametrize(
    "text",
    [
        *("", "2026-8", "2026-13", "2026-00", "2026-Q5", "2026-Q0", "2026-H3", "2026-Q01"),
        *("2026-9m", "2026-9M ", "26-08", "1999-08", "2026-08-01", "2026/08", "2026-M9"),
        *("tháng 8", "2026-0Q3"),
    ],
)
def test_a_key_is_written_in_one_way_only(text: str) -> None:
    assert parse_period(text) is None


@pytest.mark.parametrize(
    "text", ["", "2026-07-15", "2026-08-14..2026-07-15", "2026-7-15..2026-08-14", "a..b"]
)
def test_a_window_is_written_in_one_way_only(text: str) -> None:
    assert parse_window(text) is None


PERIODS = st.builds(
    lambda kind, year, number: Period(
        kind, year, number % {"month": 12, "quarter": 4, "half": 2}.get(kind.value, 1) + 1
    ),
    st.sampled_from(PeriodKind),
    st.integers(2001, 2098),
    st.integers(0, 11),
)


@given(PERIODS, st.sampled_from(Calendar))
def test_every_key_reads_back_and_neighbours_meet_without_gap_or_overlap(
    period: Period, calendar: Calendar
) -> None:
    assert parse_period(str(period)) == period
    assert period.next().previous() == period
    here, after = period.window(calendar), period.next().window(calendar)
    assert not here.overlaps(after)
    if period.kind is not PeriodKind.NINE_MONTHS:
        assert here.last + timedelta(days=1) == after.first
    for day in (here.first, here.last):
        assert period_of(period.kind, calendar, day) == period


def test_a_day_behind_the_nine_months_lies_in_none() -> None:
    assert period_of(PeriodKind.NINE_MONTHS, DECREE, date(2026, 10, 1)) is None


def test_the_cut_off_is_the_midnight_in_viet_nam_that_ends_the_last_day() -> None:
    cut_off = window("2026-07-15..2026-08-14").cut_off
    assert cut_off == datetime(2026, 8, 14, 17, 0, tzinfo=UTC)


# --- deadlines ---------------------------------------------------------------------------------------


def test_when_the_25th_is_a_day_off_reminders_count_from_the_last_working_day_before_it() -> None:
    sunday = date(2026, 10, 25)
    assert sunday.weekday() == 6
    assert send_by(sunday, CALENDAR).value == date(2026, 10, 23)
    assert working_days_back(sunday, 0, CALENDAR).value == date(2026, 10, 23)
    assert working_days_back(sunday, 3, CALENDAR).value == date(2026, 10, 20)


def test_when_the_25th_is_worked_it_is_the_day_itself() -> None:
    tuesday = date(2026, 8, 25)
    assert send_by(tuesday, CALENDAR).value == tuesday
    assert working_days_back(tuesday, 1, CALENDAR).value == date(2026, 8, 24)


def test_working_days_left_end_with_the_day_itself() -> None:
    # Saturday 22 August 2026 is worked in exchange for a Monday.
    assert working_days_left(date(2026, 8, 21), date(2026, 8, 25), CALENDAR) == 3
    assert working_days_left(date(2026, 9, 18), date(2026, 9, 22), CALENDAR) == 2
    assert working_days_left(date(2026, 8, 25), date(2026, 8, 25), CALENDAR) == 0


def test_units_have_a_deadline_of_their_own_behind_the_cut_off() -> None:
    august = window("2026-07-15..2026-08-14")
    assert units_due_on(august, date(2026, 8, 25), 3, CALENDAR).value == date(2026, 8, 21)
    assert units_due_on(august, date(2026, 8, 25), 15, CALENDAR).value == date(2026, 8, 17)


# --- what is wrong with opening one ----------------------------------------------------------------------


def found(key: str, calendar: Calendar, *opened: tuple[str, str]) -> list[FaultFound]:
    period = parse_period(key)
    assert period is not None
    neighbours = [Neighbour(name, window(text)) for name, text in opened]
    due = period.due_on(calendar)
    return list(faults(period, period.window(calendar), due, neighbours, CALENDAR))


def test_a_period_after_its_predecessor_is_right() -> None:
    assert found("2026-09", DECREE, ("2026-08", "2026-07-15..2026-08-14")) == []


def test_a_change_to_the_decree_s_calendar_overlaps_and_names_with_what() -> None:
    faulty = found("2026-09", DECREE, ("2026-08", "2026-08-01..2026-08-31"))
    assert faulty == [FaultFound(PeriodFault.OVERLAP, "2026-08")]


def test_a_change_to_the_civil_calendar_leaves_days_in_no_period_and_says_so() -> None:
    faulty = found("2026-09", CIVIL, ("2026-08", "2026-07-15..2026-08-14"))
    assert faulty == [FaultFound(PeriodFault.HOLE, "2026-08")]


def test_without_a_working_day_between_cut_off_and_due_date_it_is_refused() -> None:
    period = Period(PeriodKind.MONTH, 2026, 8)
    friday = period.window(DECREE)
    due = friday.last + timedelta(days=2)  # the Sunday
    assert due.weekday() == 6
    assert list(faults(period, friday, due, [], CALENDAR)) == [
        FaultFound(PeriodFault.NO_WORKING_DAY)
    ]
