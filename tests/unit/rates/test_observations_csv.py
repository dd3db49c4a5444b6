"""A table of observations: what is read, and what is refused with line, column and remedy."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from monitoring.rates.observations_csv import (
    COLUMNS,
    parse_observations,
    read_observations,
    refusals,
)
from schemas.dossier.csv_table import TableError
from schemas.records import IndicatorObservation, Provenance
from tests.unit.rates.observed import AGENCIES, NOW, PLAN

TABLE = """observation_id,indicator,agency,period,value,unit,as_of,system,document,corrects
A,files,H44,2026-08,68.5,percent,2026-08-31,eoffice,12/BC-VP,
B,files,H44.07,2026-08,0,percent,2026-09-01,eoffice,,
C,connected,H44,2025,1,yes_no,2025-12-31,cong-dvc,,
D,files,H44,2026-07,55,percent,2026-07-31,eoffice,,
E,files,H44,2026-07,chưa có số liệu,percent,2026-07-31,eoffice,,D
"""


def parsed(
    text: str = TABLE, known: Sequence[IndicatorObservation] = (), submitted_by: str = "import"
) -> tuple[IndicatorObservation, ...]:
    return parse_observations(
        text,
        "t.csv",
        plan=PLAN,
        agencies=AGENCIES,
        known=known,
        now=NOW,
        submitted_by=submitted_by,
    )


def refused_lines(
    text: str, known: Sequence[IndicatorObservation] = ()
) -> list[tuple[int | None, str | None, str]]:
    with pytest.raises(TableError) as caught:
        parsed(text, known)
    assert all(problem.vi for problem in caught.value.problems)
    return [(one.line, one.column, one.en) for one in caught.value.problems]


def test_a_table_becomes_observations_in_its_order() -> None:
    found = parsed()
    assert [one.observation_id for one in found] == ["A", "B", "C", "D", "E"]
    assert found[0] == IndicatorObservation(
        observation_id="A",
        indicator="files",
        value=Decimal("68.5"),
        unit="percent",
        agency="H44",
        period="2026-08",
        as_of=date(2026, 8, 31),
        provenance=Provenance(system="eoffice", document="12/BC-VP"),
        corrects=None,
        observed_at=NOW,
        submitted_by="import",
    )
    assert found[1].provenance.document is None
    assert (found[4].value, found[4].corrects) == (None, "D")


def test_the_columns_may_stand_in_any_order_and_the_file_come_from_excel(tmp_path: Path) -> None:
    lines = [line.split(",") for line in TABLE.splitlines()]
    turned = "\r\n".join(",".join(reversed(cells)) for cells in lines)
    file = tmp_path / "t.csv"
    file.write_bytes(b"\xef\xbb\xbf" + turned.encode())
    found = read_observations(
        file, plan=PLAN, agencies=AGENCIES, known=(), now=NOW, submitted_by="import"
    )
    assert found == parsed()


@pytest.mark.parametrize(
    "written", ["Chưa có số liệu", unicodedata.normalize("NFD", "chưa có số liệu")]
)
def test_that_there_is_no_figure_may_be_written_in_more_than_one_way(written: str) -> None:
    assert parsed(TABLE.replace("chưa có số liệu", written)) == parsed()


def test_a_heading_alone_is_a_table_without_observations() -> None:
    assert parsed(TABLE.splitlines()[0]) == ()


def test_a_file_that_is_given_again_brings_nothing_new() -> None:
    taken = parsed()
    assert parsed(known=taken) == ()
    more = TABLE + "F,files,H44,2026-07,56,percent,2026-07-31,eoffice,,D\n"
    later = parse_observations(
        more,
        "t.csv",
        plan=PLAN,
        agencies=AGENCIES,
        known=taken,
        now=NOW + timedelta(seconds=1),
        submitted_by="import",
    )
    assert [one.observation_id for one in later] == ["F"]


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "words"),
    [
        # what cannot be read
        ("A,files", ",files", 2, "observation_id", "is empty"),
        ("A,files", "A,", 2, "indicator", "is empty"),
        ("H44,2026-08,68", ",2026-08,68", 2, "agency", "is empty"),
        ("2026-08,68.5", "08/2026,68.5", 2, "period", "write a period as 2026-08 (month)"),
        ("68.5", "", 2, "value", "is empty; write a number"),
        ("68.5", '"68,5"', 2, "value", "write a number with a decimal point"),
        ("68.5", "68.5 %", 2, "value", "is not valid"),
        ("68.5", "6e1", 2, "value", "is not valid"),
        ("68.5", "NaN", 2, "value", "is not valid"),
        ("68.5", "không có", 2, "value", "to take a figure back: chưa có số liệu"),
        ("percent,2026-08-31", ",2026-08-31", 2, "unit", "is empty"),
        ("2026-08-31", "31/08/2026", 2, "as_of", "write a date as"),
        ("eoffice,12/BC-VP", ",12/BC-VP", 2, "system", "is empty"),
        # what is read and refused
        ("A,files", "A B,files", 2, "observation_id", "is no id"),
        ("A,files", "A,fles", 2, "indicator", "near: files"),
        ("H44,2026-08,68", "H45,2026-08,68", 2, "agency", "is no known agency"),
        ("2026-08,68.5", "2026-09,68.5", 2, "period", "has not ended"),
        ("C,connected,H44,2025", "C,connected,H44,2025-12", 4, "period", "periods year only"),
        ("68.5", "100.1", 2, "value", "write a number from 0 to 100"),
        ("68.5", "-1", 2, "value", "is out of range"),
        ("68.5", "68.12345", 2, "value", "more than 4 decimals"),
        ("68.5", "chưa có số liệu", 2, "value", "only a correction may leave it out"),
        ("percent,2026-08-31", "%,2026-08-31", 2, "unit", "the indicator is in percent"),
        ("2026-08-31", "2026-08-30", 2, "as_of", "leaves out a part of the period"),
        ("2026-08-31", "2026-09-02", 2, "as_of", "is after today"),
        ("eoffice,12/BC-VP", "Phòng HC,12/BC-VP", 2, "system", "the code of a system"),
        ("12/BC-VP", "báo cáo", 2, "document", "for instance 123/BC-STTTT"),
        ("eoffice,,D", "eoffice,,X", 6, "corrects", "no observation has this id"),
        ("eoffice,,D", "eoffice,,A", 6, "corrects", "of another indicator, agency or period"),
        ("eoffice,,D", "eoffice,,", 6, "period", "there is D for this figure"),
        # the table
        ("B,files", "A,files", 3, "observation_id", "stands in line 2 too"),
        ("agency,period", "agencies,period", 1, "agency", "is missing"),
        ("agency,period", "agencies,period", 1, "agencies", "is unknown"),
        ("12/BC-VP,", "12/BC-VP,,", 2, None, "11 fields, 10 wanted"),
    ],
)
def test_a_wrong_line_is_refused_with_column_and_remedy(
    old: str, new: str, line: int, column: str | None, words: str
) -> None:
    assert old in TABLE
    found = refused_lines(TABLE.replace(old, new, 1))
    assert any(one[:2] == (line, column) and words in one[2] for one in found), found


def test_all_problems_are_told_at_once() -> None:
    spoiled = TABLE.replace("68.5", "x").replace("H44.07", "H99").replace("yes_no", "percent")
    assert [(line, column) for line, column, _ in refused_lines(spoiled)] == [
        (2, "value"),
        (3, "agency"),
        (4, "unit"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "column"),
    [("2026-07,55", "2026-07,x", "value"), ("2026-07,55", "2026-07,101", "value")],
    ids=["cannot be read", "is refused"],
)
def test_a_correction_is_not_blamed_for_the_line_that_it_corrects(
    old: str, new: str, column: str
) -> None:
    assert [(line, name) for line, name, _ in refused_lines(TABLE.replace(old, new))] == [
        (5, column)
    ]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (
            ["E,files,H44,2026-07,56,percent,2026-07-31,eoffice,,D", TABLE.splitlines()[4]],
            (2, "corrects"),
        ),
        (
            [
                *TABLE.splitlines()[4:],
                "F,files,H44,2026-07,56,percent,2026-07-31,eoffice,,D",
            ],
            (4, None),
        ),
        (
            [
                *TABLE.splitlines()[4:],
                "F,files,H44,2026-07,56,percent,2026-07-31,eoffice,,E",
            ],
            (4, "corrects"),
        ),
        (["E,files,H44,2026-07,56,percent,2026-07-31,eoffice,,E"], (2, "corrects")),
    ],
    ids=["above what it corrects", "two at once", "of a correction", "of itself"],
)
def test_a_correction_stands_below_what_it_corrects_and_alone(
    lines: list[str], problem: tuple[int, str | None]
) -> None:
    found = refused_lines("\n".join([TABLE.splitlines()[0], *lines]))
    assert [(line, column) for line, column, _ in found] == [problem]


def test_another_figure_under_a_known_id_is_refused() -> None:
    known = parsed()
    (found,) = refused_lines(TABLE.replace("68.5", "70"), known)
    assert found[:2] == (2, "observation_id")
    assert "another observation" in found[2]


def test_an_import_is_not_submitted_in_a_persons_name() -> None:
    with pytest.raises(ValueError, match="submitted_by"):
        parsed(submitted_by="Trần Thị Bưởi")


def test_the_columns_are_those_of_the_table_that_is_described() -> None:
    assert ",".join(COLUMNS) == TABLE.splitlines()[0]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("68.5", "x", [(":2", "value", "unreadable", "files", "H44", "2026-08")]),
        ("68.5", "101", [(":2", "value", "value_out_of_range", "files", "H44", "2026-08")]),
        ("B,files", "A,files", [(":3", "observation_id", "id_reused", "files", "H44.07", "2026-08")]),
        ("A,files,H44", "A,Bưởi,Lê", [
            (":2", "agency", "unknown_agency", None, None, "2026-08"),
            (":2", "indicator", "unknown_indicator", None, None, "2026-08"),
        ]),
        ("2026-08,68.5", "nay,68.5", [(":2", "period", "unreadable", "files", "H44", None)]),
        ("period", "Bưởi", [
            (":1", "period", "unreadable", None, None, None),
            (":1", "", "unreadable", None, None, None),
        ]),
        ("12/BC-VP", '12/BC-VP"', [(":2", "document", "provenance_invalid", "files", "H44", "2026-08")]),
        ("eoffice,12/BC-VP,", 'eoffice,"Bưởi', [(":6", "", "unreadable", None, None, None)]),
    ],
    ids=[
        "a number", "a range", "twice", "no codes", "a period", "a heading", "a document", "a quotation mark"
    ],
)  # fmt: skip
def test_faults_become_rows_that_hold_only_codes_that_are_known(
    old: str, new: str, told: list[tuple[str | None, ...]]
) -> None:
    text = TABLE.replace(old, new, 1)
    with pytest.raises(TableError) as caught:
        parsed(text)
    rows = refusals(text, caught.value, plan=PLAN, agencies=AGENCIES, now=NOW)
    assert {row.place[:16] for row in rows} == {hashlib.sha256(text.encode()).hexdigest()[:16]}
    assert {(row.origin, row.recorded_at) for row in rows} == {("csv", NOW)}
    assert sorted(
        (row.place[16:], row.field, row.reason, row.indicator, row.agency, row.period)
        for row in rows
    ) == sorted(told)
    assert "Bưởi" not in str(rows)
