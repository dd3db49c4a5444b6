"""Working hours by agency and date, and what is refused."""

from __future__ import annotations

from datetime import date, time
from pathlib import Path

import pytest

from schemas.dossier.csv_table import TableError
from schemas.dossier.working_hours import (
    HalfDay,
    WorkingHours,
    packaged_working_hours,
    parse_working_hours,
    read_working_hours,
)
from tests.unit.dossier.samples import HOURS, LONG_DAYS, SATURDAYS, SUNDAYS

TABLE = parse_working_hours(HOURS, "hours.csv")
DAY = date(2026, 11, 23)
WIDE = ((time(7), time(11)), (time(13), time(17)))


def hours(
    table: WorkingHours, agency: str | None, day: date
) -> list[tuple[tuple[time, time], ...]]:
    return [tuple((h.opens, h.closes) for h in week_day) for week_day in table.week(agency, day)]


@pytest.mark.parametrize("agency", [None, "H12.02", "H99"])
def test_who_has_no_hours_of_its_own_has_the_province_s(agency: str | None) -> None:
    assert hours(TABLE, agency, DAY) == [WIDE] * 5 + [(), ()]
    assert TABLE.owner(agency) is None


def test_an_agency_s_own_hours_take_the_place_of_the_province_s_whole() -> None:
    assert hours(TABLE, SUNDAYS, DAY) == [()] * 6 + [((time(18), time(21, 30)),)]
    assert hours(TABLE, SATURDAYS, DAY)[5] == ((time(7, 30), time(11, 30)),)


@pytest.mark.parametrize(
    ("day", "monday"),
    [
        (date(2025, 6, 30), ((time(6), time(18)),)),
        (date(2025, 7, 1), WIDE),
        (date(2019, 1, 1), ((time(6), time(18)),)),
    ],
)
def test_hours_hold_from_valid_from_until_before_valid_to(
    day: date, monday: tuple[tuple[time, time], ...]
) -> None:
    assert hours(TABLE, LONG_DAYS, day)[0] == monday


def test_the_packaged_hours_are_one_week_of_forty_hours_for_all() -> None:
    table = packaged_working_hours()
    assert hours(table, None, DAY) == [WIDE] * 5 + [(), ()]
    assert all("not verified" in row.source for row in table.rows)


def test_the_half_days_of_a_day_are_in_order_whatever_the_order_of_the_lines(
    tmp_path: Path,
) -> None:
    heading, *lines = HOURS.splitlines()
    file = tmp_path / "hours.csv"
    file.write_text("\n".join([heading, *reversed(lines)]), encoding="utf-8")
    table = read_working_hours(file)
    for agency in (None, SATURDAYS, LONG_DAYS, SUNDAYS):
        assert table.week(agency, DAY) == TABLE.week(agency, DAY)


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "words"),
    [
        ("mon-fri,07:00", "mon-fry,07:00", 2, "weekdays", "'mon-fry' is not valid"),
        ("mon-fri,07:00", "fri-mon,07:00", 2, "weekdays", "'fri-mon' is not valid"),
        ("mon-fri,07:00", "T2,07:00", 2, "weekdays", "write a day (sat)"),
        ("mon-fri,07:00", ",07:00", 2, "weekdays", "is empty"),
        ("07:00,11:00", "7:00,11:00", 2, "from", "write a time as 07:30"),
        ("07:00,11:00", "07:00,25:00", 2, "to", "'25:00' is not valid"),
        ("07:00,11:00", "07:00,11:00:30", 2, "to", "'11:00:30' is not valid"),
        ("07:00,11:00", "11:00,11:00", 2, "to", "must be later than `from`"),
        ("13:00,17:00", "10:59,17:00", 3, "from", "overlaps with line 2"),
        ("sat,07:30", "fri-sat,07:30", 6, "from", "overlaps with line 4"),
        (",,2025-07-01", ",,01/07/2025", 7, "valid_to", "write a date as"),
        (",,2025-07-01", ",2025-07-01,2025-07-01", 7, "valid_to", "must be later than valid_from"),
        (",,,invented", ",,,", 2, "source", "is empty"),
        (",mon-fri,07:00,11:00,,", ",mon-fri,07:00,11:00,", 2, None, "has 6 fields, 7 wanted"),
    ],
)
def test_a_wrong_table_is_refused_with_line_column_and_remedy(
    old: str, new: str, line: int, column: str | None, words: str
) -> None:
    assert old in HOURS
    with pytest.raises(TableError) as refused:
        parse_working_hours(HOURS.replace(old, new, 1), "hours.csv")
    problems = [p for p in refused.value.problems if (p.line, p.column) == (line, column)]
    assert any(words in p.en for p in problems), refused.value.problems


def test_half_days_that_touch_or_hold_at_other_times_do_not_overlap() -> None:
    table = parse_working_hours(
        HOURS.replace("13:00,17:00", "11:00,17:00")
        + f"{LONG_DAYS},mon-fri,07:00,15:00,2025-07-01,,invented\n",
        "hours.csv",
    )
    assert hours(table, None, DAY)[0] == ((time(7), time(11)), (time(11), time(17)))
    assert hours(table, LONG_DAYS, DAY)[0] == ((time(7), time(15)),)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["H12.01,mon-fri,07:00,17:00,,,x"], "at the beginning the province has no hours"),
        ([",mon-fri,07:00,17:00,2020-01-01,,x"], "at the beginning the province has no hours"),
        (
            [",mon-fri,07:00,17:00,,2026-01-01,x", ",mon-fri,07:00,17:00,2026-01-02,,x"],
            "from 2026-01-01 on the province has no hours",
        ),
        ([",mon-fri,07:00,17:00,,2026-01-01,x"], "from 2026-01-01 on the province has no hours"),
    ],
    ids=["no province", "late beginning", "a hole of one day", "an end"],
)
def test_the_province_must_have_hours_on_every_day(rows: list[str], words: str) -> None:
    text = "\n".join([HOURS.splitlines()[0], *rows])
    with pytest.raises(TableError, match=words):
        parse_working_hours(text, "hours.csv")


def test_the_hours_of_two_seasons_follow_each_other_without_a_hole() -> None:
    heading = HOURS.splitlines()[0]
    rows = [",mon-fri,07:00,17:00,,2026-04-15,x", ",mon-fri,06:30,16:30,2026-04-15,,x"]
    table = parse_working_hours("\n".join([heading, *rows]), "hours.csv")
    turned = parse_working_hours("\n".join([heading, *reversed(rows)]), "hours.csv")
    assert set(turned.rows) == set(table.rows)
    assert table.week(None, date(2026, 4, 14))[0] == (HalfDay(opens=time(7), closes=time(17)),)
    assert table.week(None, date(2026, 4, 15))[0] == (
        HalfDay(opens=time(6, 30), closes=time(16, 30)),
    )


def test_hours_without_the_province_are_refused_also_when_made_by_hand() -> None:
    with pytest.raises(ValueError, match="the province has no hours on 0001-01-01"):
        WorkingHours([])
