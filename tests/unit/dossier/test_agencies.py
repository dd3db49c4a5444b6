"""The directory of agencies: who is beneath whom, mergers, and what is refused. Codes are invented."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from schemas.dossier.agencies import Agencies, AgencyKind, parse_agencies, read_agencies
from schemas.dossier.csv_table import TableError

HEADING = "code,name,parent,kind,valid_from,valid_to,successor\n"
PROVINCE = (
    HEADING
    + """H12,UBND tỉnh,,province,,,
H12.01,Sở A,H12,department,,,
H12.01.01,Chi cục B,H12.01,unit,,,
H12.40,Huyện C,H12,district,,2025-07-01,
H12.100,Xã D cũ,H12.40,commune,,2025-07-01,H12.200
H12.101,Xã E cũ,H12.40,commune,,2025-07-01,H12.200 H12.201
H12.102,Xã G,H12.40,commune,,2025-07-01,
H12.102,Xã G,H12,commune,2025-07-01,2026-01-01,H12.201
H12.200,Xã D,H12,commune,2025-07-01,2026-05-01,H12.202
H12.201,Xã E,H12,commune,2025-07-01,,
H12.202,Phường D,H12,commune,2026-05-01,,
"""
)
BEFORE, AFTER, LATER = date(2025, 6, 30), date(2025, 7, 1), date(2026, 5, 31)


@pytest.fixture(scope="module")
def province() -> Agencies:
    return parse_agencies(PROVINCE, "agencies.csv")


def test_names_kinds_and_the_root_are_told(province: Agencies) -> None:
    assert province.root == "H12"
    assert province.name("H12.01") == "Sở A"
    assert province.name("H99") is None
    assert province.line("H12.40", BEFORE).kind is AgencyKind.DISTRICT
    assert len(province.codes) == 10


@pytest.mark.parametrize(
    ("code", "on", "counted_as"),
    [
        ("H12.100", BEFORE, "H12.100"),
        ("H12.100", AFTER, "H12.200"),
        ("H12.100", LATER, "H12.202"),
        ("H12.101", LATER, "H12.101"),
        ("H12.102", AFTER, "H12.102"),
        ("H12.102", LATER, "H12.201"),
        ("H12.40", LATER, "H12.40"),
        ("H12.202", BEFORE, "H12.202"),
    ],
    ids=[
        *("before the merger", "after it", "after two", "split", "under another parent"),
        *("merged later", "abolished", "not yet there"),
    ],
)
def test_a_merged_unit_counts_as_its_sole_successor(
    province: Agencies, code: str, on: date, counted_as: str
) -> None:
    assert province.counted_as(code, on) == counted_as


@pytest.mark.parametrize(
    ("code", "on", "children", "everything"),
    [
        ("H12.01", AFTER, {"H12.01.01"}, {"H12.01", "H12.01.01"}),
        (
            "H12.40",
            BEFORE,
            {"H12.100", "H12.101", "H12.102"},
            {"H12.40", "H12.100", "H12.101", "H12.102"},
        ),
        ("H12.40", AFTER, set(), {"H12.40"}),
        ("H12.200", AFTER, set(), {"H12.200", "H12.100"}),
        ("H12.100", LATER, set(), {"H12.202", "H12.200", "H12.100"}),
        ("H12.201", LATER, set(), {"H12.201", "H12.102"}),
    ],
    ids=["department", "district", "district after the reform", "merged", "asked by an old code", "late"],
)  # fmt: skip
def test_children_are_those_of_the_day(
    province: Agencies, code: str, on: date, children: set[str], everything: set[str]
) -> None:
    assert set(province.children(code, on)) == children
    assert province.with_children(code, on) == everything


@pytest.mark.parametrize("on", [BEFORE, AFTER, LATER], ids=str)
def test_the_root_has_everybody_and_every_code_one_row(province: Agencies, on: date) -> None:
    assert province.with_children("H12", on) == province.codes
    rows = [province.with_children(child, on) for child in province.children("H12", on)]
    assert sum(map(len, rows)) == len(province.codes) - 1
    assert frozenset().union(*rows) == province.codes - {"H12"}


def test_a_unit_whose_parent_is_there_no_more_hangs_from_the_next_above(province: Agencies) -> None:
    assert set(province.children("H12", LATER)) == {
        *("H12.01", "H12.40", "H12.101", "H12.201", "H12.202")
    }


def test_who_was_merged_is_told(province: Agencies) -> None:
    assert province.merged_into("H12.202", LATER) == ("H12.100", "H12.200")
    assert province.merged_into("H12.200", BEFORE) == ()
    assert province.is_there("H12.40", BEFORE)
    assert not province.is_there("H12.40", AFTER)


def test_lines_of_different_times_that_go_round_hang_from_the_root() -> None:
    agencies = parse_agencies(
        HEADING + "R,Gốc,,province,,,\n"
        "A,A,B,unit,,2024-01-01,\nA,A,R,unit,2025-01-01,,\n"
        "B,B,R,unit,,2024-01-01,\nB,B,A,unit,2025-01-01,2026-01-01,\n",
        "agencies.csv",
    )  # in 2024 neither is there
    assert agencies.with_children("R", date(2024, 6, 1)) == {"R", "A", "B"}
    assert agencies.with_children("A", date(2026, 6, 1)) == {"A", "B"}


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "words"),
    [
        ("H12.01,Sở A,H12,", "H12.01,Sở A,,", 3, "parent", "only the root has no parent, which is line 2"),
        ("H12,UBND tỉnh,,", "H12,UBND tỉnh,H12,", None, None, "has no root"),
        ("H12.201,Xã E,H12,", "H12.201,Xã E,H13,", 11, "parent", "H13 is not in the file"),
        ("H12.102,Xã G,H12,commune,2025-07-01", "H12.102,Xã G,H12,commune,2025-06-01", 9, "parent",
         "a second parent on the same day (line 8)"),
        ("H12.202,Phường D,H12,", "H12.01,Sở A,H12,", 12, "code", "overlaps with line 3"),
        ("H12.102,Xã G,H12.40,commune,,2025-07-01", "H12.102,Xã G,H12.40,commune,,2025-08-01", 8, "parent",
         "from 2025-07-01 on there is no parent H12.40"),
        ("H12.01.01,Chi cục B,H12.01,unit,", "H12.01.01,Chi cục B,H12.202,unit,", 4, "parent",
         "at the beginning there is no parent H12.202"),
        ("H12.01,Sở A,H12,", "H12.01,Sở A,H12.01.01,", 3, "parent", "H12.01 > H12.01.01 > H12.01"),
        ("H12.01,Sở A,H12,", "H12.01,Sở A,H12.01,", 3, "parent", "H12.01 > H12.01;"),
        ("2025-07-01,H12.200\n", "2025-07-01,H12.299\n", 6, "successor", "H12.299 is not in the file"),
        ("2025-07-01,H12.200\n", "2025-07-01,H12.202\n", 6, "successor", "H12.202 is not there on 2025-07-01"),
        ("2025-07-01,H12.200\n", "2025-07-01,H12.100\n", 6, "successor", "H12.100 is not there on"),
        ("H12.201,Xã E,H12,commune,2025-07-01,,", "H12.201,Xã E,H12,commune,2025-07-01,,H12.200", 11, "successor",
         "goes on; give valid_to"),
        ("H12.102,Xã G,H12.40,commune,,2025-07-01,", "H12.102,Xã G,H12.40,commune,,2025-07-01,H12.201", 8,
         "successor", "goes on from 2025-07-01 by another line"),
        ("H12.201,Xã E,H12,commune,2025-07-01,,", "H12.201,Xã E,H12,commune,2025-07-01,2025-07-01,", 11, "valid_to",
         "must be later than valid_from"),
        ("Xã E,H12,commune", "Xã E,H12,xã", 11, "kind", "choose one of province"),
        ("H12.201,Xã E,H12,", "H12 201,Xã E,H12,", 11, "code", "without blanks"),
        ("Xã E,H12,commune,2025-07-01", ",H12,commune,01/07/2025", 11, "name", "is empty"),
    ],
    ids=[
        *("no parent", "no root", "parent unknown", "two parents", "twice", "parent closed", "parent too young"),
        *("circle", "its own parent", "successor unknown", "successor too young", "succeeds itself"),
        *("successor of one that goes on", "successor beside a next line", "days", "kind", "blank", "name"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_line_column_and_remedy(
    old: str, new: str, line: int | None, column: str | None, words: str
) -> None:
    assert PROVINCE.count(old) >= 1
    with pytest.raises(TableError) as refused:
        parse_agencies(PROVINCE.replace(old, new, 1), "agencies.csv")
    found = [(p.line, p.column) for p in refused.value.problems if words in p.en]
    assert found == [(line, column)], str(refused.value)


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "agencies.csv"
    file.write_text(
        PROVINCE.replace("H12.01,Sở A,H12,", "H12.01,Sở A,,")
        .replace("Xã E,H12,commune", "Xã E,H77,commune")
        .replace("2025-07-01,H12.200\n", "2025-07-01,H12.299\n"),
        "utf-8",
    )
    with pytest.raises(TableError) as refused:
        read_agencies(file)
    assert {problem.line for problem in refused.value.problems} == {3, 6, 11}
