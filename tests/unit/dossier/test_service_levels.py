"""Levels of services by procedure and date, and what is refused."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from schemas.dossier.csv_table import TableError
from schemas.dossier.service_levels import (
    NO_LEVELS,
    ResultForm,
    ServiceLevel,
    parse_service_levels,
    read_service_levels,
)

LINES = """code,level,valid_from,valid_to,result,fee,source
1.000001,partial,,2026-03-01,paper,yes,QĐ giả định
1.000001,full,2026-03-01,,electronic,no,QĐ giả định
1.000002,information,2026-01-01,2027-01-01,,,QĐ giả định
"""
DAY = date(2026, 3, 1)
LIST = parse_service_levels(LINES, "procedures.csv")


@pytest.mark.parametrize(
    ("code", "day", "expected"),
    [
        ("1.000001", date(2026, 2, 28), (ServiceLevel.PARTIAL, ResultForm.PAPER, True)),
        ("1.000001", DAY, (ServiceLevel.FULL, ResultForm.ELECTRONIC, False)),
        ("1.000002", DAY, (ServiceLevel.INFORMATION, None, None)),
        ("1.000002", date(2025, 12, 31), None),
        ("1.000002", date(2027, 1, 1), None),
        ("1.000003", DAY, None),
        (None, DAY, None),
    ],
)
def test_what_was_in_force_on_a_day(code: str | None, day: date, expected: object) -> None:
    found = LIST.on(code, day)
    assert (found and (found.level, found.result, found.has_fee)) == expected


def test_all_that_is_in_force_on_a_day() -> None:
    assert [(row.code, row.level) for row in LIST.all_on(DAY)] == [
        ("1.000001", ServiceLevel.FULL),
        ("1.000002", ServiceLevel.INFORMATION),
    ]


@pytest.mark.parametrize(
    ("first", "last", "known"),
    [
        (date(2025, 12, 1), date(2025, 12, 31), False),
        (date(2025, 12, 1), date(2026, 1, 1), True),
        (date(2026, 12, 31), date(2027, 1, 31), True),
        (date(2027, 1, 1), date(2027, 1, 31), False),
    ],
)
def test_what_is_known_in_a_stretch_of_days(first: date, last: date, known: bool) -> None:
    assert LIST.knows("1.000002", first, last) is known


def test_without_a_list_nothing_is_known() -> None:
    assert NO_LEVELS.on("1.000001", DAY) is None
    assert NO_LEVELS.all_on(DAY) == ()
    assert not NO_LEVELS.knows("1.000001", DAY, DAY)


def test_a_file_is_read_whatever_the_order_of_its_lines(tmp_path: Path) -> None:
    heading, *lines = LINES.splitlines()
    file = tmp_path / "procedures.csv"
    file.write_text("\n".join([heading, *reversed(lines)]), encoding="utf-8")
    assert read_service_levels(file).name == LIST.name
    assert read_service_levels(file).on("1.000001", DAY) == LIST.on("1.000001", DAY)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("giả định", "khác", True),
        ("2027-01-01", "2027-01-02", False),
        ("partial", "information", False),
        ("electronic,no", "electronic,", False),
        ("paper", "electronic", False),
    ],
)
def test_the_name_is_that_of_the_content(old: str, new: str, same: bool) -> None:
    other = parse_service_levels(LINES.replace(old, new), "procedures.csv")
    assert (other.name == LIST.name) is same
    assert NO_LEVELS.name != LIST.name


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "words"),
    [
        ("1.000002", "1.0000021", 4, "code", "write it as 1.004946"),
        ("1.000002", "1.00000x", 4, "code", "'1.00000x' is not valid"),
        ("1.000002", "", 4, "code", "is empty"),
        ("information", "4", 4, "level", "choose one of full, partial, information"),
        ("information", "", 4, "level", "is empty"),
        (
            "2026-01-01,2027-01-01",
            "2027-01-01,2027-01-01",
            4,
            "valid_to",
            "later than valid_from",
        ),
        ("2026-01-01", "01/01/2026", 4, "valid_from", "write a date as"),
        ("electronic", "both", 3, "result", "choose one of paper, electronic"),
        ("paper,yes", "paper,20000", 2, "fee", "write yes or no"),
        ("full,2026-03-01", "full,2026-02-28", 3, "valid_from", "together with line 2"),
        (",2026-03-01,paper", ",,paper", 3, "valid_from", "change the dates of one"),
        (",,QĐ giả định", ",,", 4, "source", "is empty"),
        ("level", "muc_do", 1, "level", "is missing"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(
    old: str, new: str, line: int, column: str, words: str
) -> None:
    with pytest.raises(TableError) as refused:
        parse_service_levels(LINES.replace(old, new, 1), "procedures.csv")
    problem = next(one for one in refused.value.problems if one.column == column)
    assert problem.line == line
    assert words in problem.en


TIMED = "code,level,valid_from,valid_to,result,fee,source,processing_time,processing_unit\n"


@pytest.mark.parametrize(
    ("told", "limit"),
    [
        (",", None),
        ("15,working_day", timedelta(hours=120)),
        ("4,hour", timedelta(hours=4)),
    ],
)
def test_the_longest_legal_time_is_working_time(told: str, limit: timedelta | None) -> None:
    found = parse_service_levels(f"{TIMED}1.000001,full,,,,,QĐ giả định,{told}\n", "p.csv")
    row = found.on("1.000001", DAY)
    assert row is not None
    assert row.limit == limit


def test_another_limit_is_another_list_and_none_is_the_list_without_the_columns() -> None:
    def name(told: str) -> str:
        return parse_service_levels(f"{TIMED}1.000001,full,,,,,QĐ giả định,{told}\n", "p.csv").name

    old = parse_service_levels(
        "code,level,valid_from,valid_to,result,fee,source\n1.000001,full,,,,,QĐ giả định\n", "p.csv"
    )
    assert name(",") == old.name
    assert len({name(","), name("15,working_day"), name("15,hour")}) == 3


@pytest.mark.parametrize(
    ("told", "column", "words"),
    [
        ("15,", "processing_unit", "choose one of working_day, hour"),
        (",hour", "processing_time", "has a unit alone"),
        ("0,hour", "processing_time", "write a whole number"),
        ("15,day", "processing_unit", "choose one of working_day, hour"),
        ("1.5,hour", "processing_time", "write a whole number"),
    ],
)
def test_half_a_limit_is_refused(told: str, column: str, words: str) -> None:
    with pytest.raises(TableError) as refused:
        parse_service_levels(f"{TIMED}1.000001,full,,,,,QĐ giả định,{told}\n", "p.csv")
    (problem,) = refused.value.problems
    assert (problem.line, problem.column) == (2, column)
    assert words in problem.en


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(TableError) as refused:
        parse_service_levels(LINES.replace("1.0", "2.x"), "procedures.csv")
    assert [problem.line for problem in refused.value.problems] == [2, 3, 4]


def test_a_list_without_rows_is_refused() -> None:
    with pytest.raises(TableError, match="has no rows"):
        parse_service_levels(LINES.splitlines()[0], "procedures.csv")
