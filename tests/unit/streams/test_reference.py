from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from monitoring.rates.catalogue import packaged
from monitoring.rates.reckoning import comparison_on
from schemas.dossier.csv_table import TableError
from schemas.dossier.mappings import Codes
from schemas.dossier.service_levels import ServiceLevel
from schemas.dossier.timeline import Comparison
from streams import reference
from streams.reference import read_reference, rules_of
from streams.settings import ReferenceSettings

SEVEN_HOURS = """agency,weekdays,from,to,valid_from,valid_to,source
,mon-fri,08:00,11:30,,,QĐ giả định
,mon-fri,13:30,17:00,,,QĐ giả định
"""
LEVELS = """code,level,valid_from,valid_to,result,fee,source
1.000001,full,,,paper,no,QĐ giả định
"""
MONDAY = date(2026, 11, 23)


def test_without_files_the_packaged_tables_hold() -> None:
    found = read_reference(ReferenceSettings())
    assert found.calendar.is_working_day(MONDAY).value
    assert found.calendar_name == read_reference(ReferenceSettings()).calendar_name


def test_a_file_of_hours_takes_the_place_of_the_packaged_one(tmp_path: Path) -> None:
    file = tmp_path / "hours.csv"
    file.write_text(SEVEN_HOURS, encoding="utf-8")
    found = read_reference(ReferenceSettings(working_hours_file=file))
    begin = datetime(2026, 11, 22, 17, tzinfo=UTC)
    worked = found.calendar.working_time(begin, begin + timedelta(days=1))
    assert worked.value == timedelta(hours=7)
    assert found.calendar_name != read_reference(ReferenceSettings()).calendar_name


def test_levels_are_unknown_until_a_file_is_given(tmp_path: Path) -> None:
    file = tmp_path / "procedures.csv"
    file.write_text(LEVELS, encoding="utf-8")
    assert read_reference(ReferenceSettings()).levels.on("1.000001", MONDAY) is None
    service = read_reference(ReferenceSettings(procedures_file=file)).levels.on("1.000001", MONDAY)
    assert service is not None
    assert service.level is ServiceLevel.FULL


def test_the_rules_have_the_levels_and_the_comparison_of_the_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "procedures.csv"
    file.write_text(LEVELS, encoding="utf-8")
    found = read_reference(ReferenceSettings(procedures_file=file))
    now = datetime(2026, 11, 23, 2, tzinfo=UTC)
    by_time = rules_of(Codes(), found, now)
    assert by_time.levels is found.levels
    assert by_time.comparison is comparison_on(packaged(), MONDAY)
    rates = [
        one.model_copy(update={"compared_by": "date"}) if one.code == "on_time" else one
        for one in packaged().rates
    ]
    another = packaged().model_copy(update={"rates": tuple(rates)})
    monkeypatch.setattr(reference, "packaged", lambda: another)
    by_date = rules_of(Codes(), found, now)
    assert by_date.comparison is Comparison.DATE
    assert by_date.name != by_time.name


def test_every_problem_of_a_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "hours.csv"
    file.write_text(SEVEN_HOURS.replace("08:00", "8h").replace("17:00", "25:00"), encoding="utf-8")
    with pytest.raises(TableError) as refused:
        read_reference(ReferenceSettings(working_hours_file=file))
    assert {problem.line for problem in refused.value.problems} == {2, 3}


def test_there_are_agencies_only_where_a_file_has_them(tmp_path: Path) -> None:
    file = tmp_path / "agencies.csv"
    heading = "code,name,parent,kind,valid_from,valid_to,successor\n"
    file.write_text(heading + "H12,UBND tỉnh,,province,,,\n", encoding="utf-8")
    found = read_reference(ReferenceSettings(agencies_file=file)).agencies
    assert found is not None
    assert found.root == "H12"
    assert read_reference(ReferenceSettings()).agencies is None
    file.write_text(heading + "H12,UBND tỉnh,H13,province,,,\n", encoding="utf-8")
    with pytest.raises(TableError):
        read_reference(ReferenceSettings(agencies_file=file))
