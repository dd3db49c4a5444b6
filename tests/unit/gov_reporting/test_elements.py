"""The table of element names: every fault of one is told, at once and with its place."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

import connectors.gov_reporting
from connectors.gov_reporting.elements import (
    ElementsError,
    PeriodSpec,
    load_elements,
    parse_elements,
    period_written,
)

PACKAGED = (resources.files(connectors.gov_reporting) / "elements.toml").read_text("utf-8")
OTHER = Path(__file__).parents[2] / "fixtures" / "gov_reporting" / "other-elements.toml"


def problems_of(text: str) -> tuple[str, ...]:
    with pytest.raises(ElementsError) as refused:
        parse_elements(text, "table")
    return refused.value.problems


def changed(*changes: tuple[str, str]) -> str:
    text = PACKAGED
    for find, put in changes:
        assert find in text, find
        text = text.replace(find, put, 1)
    return text


def test_the_packaged_table_says_that_it_is_not_the_regulations() -> None:
    assert "KHÔNG phải của QCVN 125:2021" in load_elements().source
    assert "NOT THE REGULATION'S OWN" in PACKAGED


@pytest.mark.parametrize(
    ("find", "put", "problem"),
    [
        ('unit = { path = "DonViTinh", required', 'unti = { path = "DonViTinh", required', "unti"),
        ('regime = "CheDoBaoCao"\n', "", "codes.kind: no code for regime"),
        ('form = "BieuMauBaoCao"', 'form = "CheDoBaoCao"', "'CheDoBaoCao' stands for two words"),
        ('codes = "nature"', 'codes = "natur"', "no code list natur"),
        ('fields.name = "TenCheDo"\n', "", "packets.regime.fields.name: missing"),
        ('"TenCheDo"', '"MaCheDo"', "packets.regime: two fields at 'MaCheDo'"),
        ('"TenCheDo"', '"MaCheDo.Ten"', "packets.regime: two fields at 'MaCheDo.Ten'"),
        ('"TenCheDo"', '"Ten Che Do"', "'Ten Che Do' is no path of element names"),
        ('zone = "Asia/Ho_Chi_Minh"', 'zone = "Hà Nội"', "is no time zone"),
        ('false = "false"', 'false = "true"', "values.true: the same text"),
        ('named_by = "axes"', 'named_by = "axis"', "Figures has no list axis"),
        ('agency = "DonViBaoCao"\n', "", "look_up.ask.agency: missing"),
        ('reason = "not_found"', 'reason = "gap"', "'gap' is none of"),
        ('update = { method = "POST"', 'update = { method = "GET"', "rest.update.method: GET"),
        ('path = "CheDo"\n', 'path = "TieuDe"\n', "stands in the envelope too"),
        ('success_codes = ["OK"]', "success_codes = []", "answer.success_codes"),
        ('key = "MaPhanTo", item = "GiaTri"', 'key = "MaPhanTo", item = "MaPhanTo"', "beside key"),
        ("[values]", "[[periods]]\nours = '{n}'\ntheirs = '{n}'\n[values]", "has no {year}"),
        ("name = ", "name ", "no TOML"),
    ],
)
def test_a_fault_is_told_with_its_place(find: str, put: str, problem: str) -> None:
    problems = problems_of(changed((find, put)))
    assert any(problem in each for each in problems), problems


def test_all_faults_are_told_at_once_whatever_kind_they_are() -> None:
    problems = problems_of(
        changed(
            ("json_native = true", 'json_native = "perhaps"'),  # a wrong type
            ('fields.name = "TenCheDo"\n', ""),  # a field without a place
            ('reason = "not_found"', 'reason = "gap"'),  # a reason that no answer has
            ('codes = "regime_type"', 'codes = "kinds"'),  # a list that is not there
        )
    )
    wanted = ("values.json_native", "regime.fields.name", "errors.1.reason", "no code list kinds")
    for each in wanted:
        assert any(each in problem for problem in problems), (each, problems)


def test_a_kind_without_an_entry_is_told() -> None:
    text = re.sub(r"\[packets\.kpi_groups\][^\[]*\[packets\.kpi_groups[^\[]*", "", PACKAGED)
    assert problems_of(text) == ("packets.kpi_groups: no entry; all thirteen kinds are needed",)


def test_a_file_that_is_not_there_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(ElementsError) as refused:
        load_elements(tmp_path / "none.toml")
    assert "THONGSUOT_GOV_REPORTING__ELEMENTS" in str(refused.value)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("2026-08", "08/2026"), ("2026-Q3", "Q3/2026"), ("2026-9M", "9M/2026"), ("2026", "2026")],
)
def test_periods_are_written_their_way_and_back(ours: str, theirs: str) -> None:
    periods = load_elements(OTHER).periods
    assert period_written(periods, ours, theirs=True) == theirs
    assert period_written(periods, theirs, theirs=False) == ours


def test_the_first_writing_of_a_period_that_fits_is_taken() -> None:
    rows = (PeriodSpec(ours="{year}-{n:02}", theirs="T{n}.{year}"),)
    assert period_written(rows, "2026-12", theirs=True) == "T12.2026"
    assert period_written(rows, "T3.2026", theirs=False) == "2026-03"
    assert period_written(rows, "2026-Q1", theirs=True) == "2026-Q1"
