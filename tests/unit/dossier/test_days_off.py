"""The table of days off: what ships, how sure it is, and what is refused."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from schemas.dossier.csv_table import TableError
from schemas.dossier.days_off import (
    Certainty,
    DayKind,
    packaged_days_off,
    parse_days_off,
    read_days_off,
    weakest,
)

PACKAGED = packaged_days_off()

YEAR_2028 = """date,kind,swapped_with,name_vi,name_en,certainty,source,note
2028-01-01,public_holiday,,Tết Dương lịch,,confirmed,announcement,
2028-01-03,day_off_in_lieu,,Nghỉ bù,,confirmed,announcement,
2028-01-25,public_holiday,,29 Tết,,confirmed,announcement,
2028-01-26,public_holiday,,Tết,,confirmed,announcement,
2028-01-27,public_holiday,,Tết,,confirmed,announcement,
2028-01-28,public_holiday,,Tết,,confirmed,announcement,
2028-01-29,public_holiday,,Tết,,confirmed,announcement,
2028-04-04,public_holiday,,Giỗ Tổ,,confirmed,announcement,
2028-04-30,public_holiday,,Ngày Chiến thắng,,confirmed,announcement,
2028-05-01,public_holiday,,Quốc tế Lao động,,confirmed,announcement,
2028-09-01,public_holiday,,Quốc khánh,,confirmed,announcement,
2028-09-02,public_holiday,,Quốc khánh,,confirmed,announcement,
2028-05-02,day_off_swapped,2028-05-06,Nghỉ hoán đổi,,reported,announcement,
2028-05-06,workday_swapped,2028-05-02,Làm bù,,reported,announcement,"Saturday, all day"
"""


def test_the_packaged_table_knows_four_years() -> None:
    assert PACKAGED.years == (2024, 2025, 2026, 2027)
    assert len(PACKAGED.days) == 61
    assert all(special.source for special in PACKAGED.days.values())


@pytest.mark.parametrize(
    ("off", "worked"),
    [
        (date(2024, 4, 29), date(2024, 5, 4)),
        (date(2025, 5, 2), date(2025, 4, 26)),
        (date(2026, 1, 2), date(2026, 1, 10)),
        (date(2026, 8, 31), date(2026, 8, 22)),
    ],
)
def test_every_swap_of_the_packaged_table_has_two_ends(off: date, worked: date) -> None:
    one, other = PACKAGED.days[off], PACKAGED.days[worked]
    assert (one.kind, one.swapped_with) == (DayKind.DAY_OFF_SWAPPED, worked)
    assert (other.kind, other.swapped_with) == (DayKind.WORKDAY_SWAPPED, off)


@pytest.mark.parametrize(
    ("first", "last", "certainty"),
    [
        pytest.param("2026-02-17", "2026-02-17", Certainty.REPORTED, id="tet"),
        pytest.param("2026-03-02", "2026-03-02", Certainty.REPORTED, id="ordinary day"),
        pytest.param("2026-01-02", "2026-01-02", Certainty.UNVERIFIED, id="doubtful day off"),
        pytest.param("2026-01-10", "2026-01-10", Certainty.UNVERIFIED, id="doubtful Saturday"),
        pytest.param("2026-01-03", "2026-01-09", Certainty.REPORTED, id="between the two"),
        pytest.param("2026-01-03", "2026-01-10", Certainty.UNVERIFIED, id="doubtful last day"),
        pytest.param("2026-11-24", "2026-11-24", Certainty.UNVERIFIED, id="a new holiday"),
        pytest.param("2026-12-31", "2026-12-31", Certainty.REPORTED, id="last announced day"),
        pytest.param("2026-12-31", "2027-01-01", Certainty.COMPUTED, id="into a computed year"),
        pytest.param("2027-03-01", "2027-03-01", Certainty.COMPUTED, id="day of a computed year"),
        pytest.param("2027-12-31", "2028-01-01", Certainty.UNKNOWN, id="beyond the last year"),
        pytest.param("2023-12-31", "2024-01-01", Certainty.UNKNOWN, id="before the first year"),
        pytest.param("2031-06-01", "2031-06-01", Certainty.UNKNOWN, id="a year without rows"),
    ],
)
def test_an_answer_is_as_sure_as_its_weakest_day(
    first: str, last: str, certainty: Certainty
) -> None:
    assert PACKAGED.certainty(date.fromisoformat(first), date.fromisoformat(last)) is certainty


def test_a_stretch_of_days_has_its_first_day_first() -> None:
    with pytest.raises(ValueError, match="before the first day"):
        PACKAGED.certainty(date(2026, 1, 2), date(2026, 1, 1))


def test_the_weakest_of_nothing_is_no_doubt() -> None:
    assert weakest([]) is Certainty.CONFIRMED
    assert weakest(Certainty) is Certainty.UNKNOWN
    assert weakest([Certainty.COMPUTED, Certainty.REPORTED]) is Certainty.COMPUTED


# --- another table ---------------------------------------------------------------------------------


def test_a_table_of_the_same_form_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "2028.csv"
    file.write_bytes(b"\xef\xbb\xbf" + YEAR_2028.replace("\n", "\r\n").encode())  # as Excel does
    taken = read_days_off(file)
    assert taken.years == (2028,)
    assert taken.days[date(2028, 5, 6)].note == "Saturday, all day"
    assert taken.certainty(date(2028, 3, 1), date(2028, 3, 1)) is Certainty.REPORTED
    assert taken.certainty(date(2028, 1, 25), date(2028, 1, 29)) is Certainty.CONFIRMED


def test_a_newer_table_replaces_its_years_whole_and_no_other() -> None:
    heading, *lines = YEAR_2028.replace("2028-", "2027-").splitlines()
    holidays = [line for line in lines if "public_holiday" in line]
    announced = parse_days_off("\n".join([heading, *holidays]), "2027.csv")
    merged = PACKAGED.replaced_by(announced)
    assert merged.years == PACKAGED.years
    assert merged.on(date(2027, 9, 1)) == announced.on(date(2027, 9, 1))
    assert merged.on(date(2027, 9, 3)) is None, "computed, and not announced"
    assert merged.on(date(2026, 2, 17)) == PACKAGED.on(date(2026, 2, 17))
    assert merged.certainty(date(2027, 3, 1), date(2027, 3, 1)) is Certainty.CONFIRMED
    assert PACKAGED.on(date(2027, 9, 3)) is not None, "the older table is left as it is"


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "words"),
    [
        ("2028-01-27,", "2028-01-32,", 6, "date", "'2028-01-32' is not valid"),
        ("2028-01-27,", "27/01/2028,", 6, "date", "write a date as 2026-02-16"),
        ("2028-01-27,", "20280127,", 6, "date", "write a date as 2026-02-16"),
        ("2028-01-27,", ",", 6, "date", "is empty"),
        ("2028-01-27,", "2028-01-26,", 6, "date", "stands in line 5 too"),
        ("2028-01-03,day_off_in_lieu", "2028-01-03,holiday", 3, "kind", "'holiday' is not valid"),
        ("2028-01-03,", "2028-01-02,", 3, "date", "is a Monday to Friday"),
        (",Nghỉ bù,", ",,", 3, "name_vi", "is empty"),
        ("Nghỉ bù,,confirmed", "Nghỉ bù,,sure", 3, "certainty", "'sure' is not valid"),
        ("Nghỉ bù,,confirmed", "Nghỉ bù,,unknown", 3, "certainty", "'unknown' is not valid"),
        ("Nghỉ bù,,confirmed,announcement", "Nghỉ bù,,confirmed,", 3, "source", "is empty"),
        ("lieu,,Nghỉ bù", "lieu,2028-01-08,Nghỉ bù", 3, "swapped_with", "leave it empty"),
        ("2028-05-02,Làm", ",Làm", 15, "swapped_with", "is empty"),
        ("2028-05-02,Làm", "2028-05-03,Làm", 15, "swapped_with", "does not match"),
        ("2028-05-06,Nghỉ", "2028-05-07,Nghỉ", 14, "swapped_with", "does not match"),
        ("2028-05-06,workday", "2028-05-05,workday", 15, "date", "is a Saturday or Sunday"),
        ("2028-05-01,public", "2028-05-03,public", 2, "date", "2028 lacks the holidays 2028-05-01"),
        ("2028-01-25,public_holiday", "2028-01-25,day_off_in_lieu", 2, "date", "only 10/11"),
        ("Nghỉ bù,,", "Nghỉ bù, vì lễ,,", 3, None, "has 9 fields, 8 wanted"),
        ('"Saturday, all day"', '"Saturday', 15, None, "quotation mark"),
        ("kind,swapped_with", "loai,swapped_with", 1, "kind", "is missing"),
        ("kind,swapped_with", "loai,swapped_with", 1, "loai", "is unknown"),
        ("source,note", "source,source", 1, "source", "is doubled"),
        ("date,kind", "date;kind", 1, None, "separated by commas"),
    ],
)
def test_a_wrong_table_is_refused_with_line_column_and_remedy(
    old: str, new: str, line: int, column: str | None, words: str
) -> None:
    assert old in YEAR_2028
    with pytest.raises(TableError) as refused:
        parse_days_off(YEAR_2028.replace(old, new, 1), "2028.csv")
    problems = [p for p in refused.value.problems if (p.line, p.column) == (line, column)]
    assert any(words in p.en for p in problems), refused.value.problems
    assert all(p.vi for p in problems)
    assert f"2028.csv, dòng {line}" in str(refused.value)


@pytest.mark.parametrize(
    ("line", "problems"),
    [
        ("2028-05-03,day_off_swapped,2028-05-06", [16]),
        ("2028-05-13,workday_swapped,2028-05-06", [16]),
    ],
    ids=["its Saturday belongs to another", "exchanged for a day that is worked"],
)
def test_a_day_is_exchanged_for_one_other_alone(line: str, problems: list[int]) -> None:
    with pytest.raises(TableError, match="does not match") as refused:
        parse_days_off(f"{YEAR_2028}{line},Hoán đổi,,confirmed,x,\n", "2028.csv")
    assert [p.line for p in refused.value.problems] == problems


def test_two_days_of_one_kind_are_no_exchange() -> None:
    rows = [
        "2028-06-03,workday_swapped,2028-06-10,Làm bù,,confirmed,x,",
        "2028-06-10,workday_swapped,2028-06-03,Làm bù,,confirmed,x,",
    ]
    with pytest.raises(TableError, match="2028-06-10,day_off_swapped,2028-06-03,… is needed"):
        parse_days_off(YEAR_2028 + "\n".join(rows), "2028.csv")


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    spoiled = YEAR_2028.replace("2028-01-27,", "x,").replace("2028-01-03,day_off", "y,day")
    with pytest.raises(TableError) as refused:
        parse_days_off(spoiled, "2028.csv")
    assert [(p.line, p.column) for p in refused.value.problems] == [
        (3, "date"),
        (3, "kind"),
        (6, "date"),
    ]


PLAIN_2028 = """date,weekday,status,kind,name_vi,name_en,note,source
""" + "".join(
    f"{day},{weekday},{status},{kind},{name},,,a list\n"
    for day, weekday, status, kind, name in (
        ("2028-01-01", "Sat", "off", "public_holiday", "Tết Dương lịch"),
        *(
            (f"2028-01-{25 + number}", weekday, "off", "public_holiday", "Tết Nguyên Đán")
            for number, weekday in enumerate(("Tue", "Wed", "Thu", "Fri", "Sat"))
        ),
        ("2028-04-04", "Tue", "off", "public_holiday", "Giỗ Tổ"),
        ("2028-04-30", "Sun", "off", "public_holiday", "Ngày Chiến thắng"),
        ("2028-05-01", "Mon", "off", "public_holiday", "Quốc tế Lao động"),
        ("2028-05-02", "Tue", "off", "day_off_swapped", "Nghỉ (thay cho ngày 06/05/2028)"),
        ("2028-05-06", "Sat", "working", "workday_swapped", "Làm bù (cho ngày nghỉ 2028-05-02)"),
        ("2028-09-01", "Fri", "off", "public_holiday", "Quốc khánh"),
        ("2028-09-02", "Sat", "off", "public_holiday", "Quốc khánh"),
    )
)


def test_a_table_with_weekdays_and_without_certainty_is_taken() -> None:
    """The shape in which such lists are passed on: the other day of a swap stands in its name."""
    found = parse_days_off(PLAIN_2028, "2028.csv")
    assert found.years == (2028,)
    off, worked = found.on(date(2028, 5, 2)), found.on(date(2028, 5, 6))
    assert off is not None
    assert worked is not None
    assert (off.swapped_with, worked.swapped_with) == (worked.day, off.day)
    assert {one.certainty for one in found.days.values()} == {Certainty.UNVERIFIED}


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "words"),
    [
        ("2028-05-01,Mon", "2028-05-01,Tue", 10, "weekday", "is a Mon"),
        ("Sat,working", "Sat,off", 12, "status", "workday_swapped is working"),
        ("06/05/2028", "ngày khác", 11, "swapped_with", "write the day it is exchanged for"),
        ("06/05/2028", "07/05/2028", 11, "swapped_with", "does not match"),
    ],
)
def test_such_a_table_is_held_against_the_calendar(
    old: str, new: str, line: int, column: str, words: str
) -> None:
    with pytest.raises(TableError) as refused:
        parse_days_off(PLAIN_2028.replace(old, new, 1), "2028.csv")
    problems = [p for p in refused.value.problems if (p.line, p.column) == (line, column)]
    assert any(words in p.en for p in problems), refused.value.problems


def test_what_is_needed_is_told_once_and_the_separator_first() -> None:
    with pytest.raises(TableError) as refused:
        parse_days_off("ngày,loại\n", "2028.csv")
    assert str(refused.value).count("date,kind,name_vi,source") == 2  # vi and en
    assert len(refused.value.problems) == 6
    with pytest.raises(TableError) as semicolons:
        parse_days_off(YEAR_2028.replace(",", ";"), "2028.csv")
    (problem,) = semicolons.value.problems
    assert "phân cách bằng dấu phẩy" in problem.vi
    with pytest.raises(TableError) as some:
        parse_days_off(YEAR_2028.replace("date,kind", "date;kind"), "2028.csv")
    assert some.value.problems[0].column is None


def test_what_is_wrong_in_many_lines_is_told_once() -> None:
    with pytest.raises(TableError) as refused:
        parse_days_off(YEAR_2028.replace(",confirmed,", ",sure,"), "2028.csv")
    (told,) = refused.value.told
    assert told[0].startswith("dòng 2, 3, 4, 5, 6 và ")
    assert "dòng nữa, cột certainty: 'sure' không hợp lệ" in told[0]
    assert told[1].startswith("lines 2, 3, 4, 5, 6 and ")
    assert len(refused.value.problems) == YEAR_2028.count(",confirmed,") == 12
    assert len(str(refused.value).splitlines()) == 1


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(TableError, match="column date: is missing"):
        parse_days_off("", "empty.csv")


def test_a_table_without_rows_knows_no_year() -> None:
    assert parse_days_off(YEAR_2028.splitlines()[0] + "\n\n", "heading.csv").years == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "chỉ đúng tệp"), ("Nghỉ lễ".encode("utf-16"), "CSV UTF-8")],
    ids=["not there", "utf-16"],
)
def test_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "days.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(TableError, match=words) as refused:
        read_days_off(file)
    assert str(file) in str(refused.value)
