"""`thongsuot rates plan`: the goals that are computed from the ledger and the list of service levels."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from schemas.dossier.mappings import CodeList, MappingOrigin, MappingRow
from schemas.dossier.working_calendar import civil_day
from schemas.ledger.database import Lane
from schemas.ledger.figures import Standing
from schemas.ledger.migrate import upgrade
from schemas.ledger.sql import SqlLedger
from schemas.ledger.tables import figures
from tests.unit.cli.running import run, set_environment

NOW = datetime.now(UTC)
LIST = "code,level,valid_from,valid_to,result,fee,source\n1.000001,full,,,,,QĐ giả định\n"
DOSSIERS = (("H12.40", "online"), ("H12.40.05", "direct"), ("H12.41", "direct"))


def mapping(code: str) -> MappingRow:
    return MappingRow(
        codelist=CodeList.AGENCY,
        system="opencps",
        code=code,
        value=code,
        origin=MappingOrigin.SOURCE_TABLE,
    )


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    """One that knows four agencies, and a dossier of three of them, received this moment."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    rows = [
        {
            "dossier_id": str(number),
            "state_version": 1,
            "log_pos": number,
            "steps": 1,
            "rules": "some",
            "standing": Standing.RECKONED.value,
            "procedure_code": "1.000001",
            "agency_code": agency,
            "channel": channel,
            "born_on_portal": channel == "online",
            "received_at": NOW,
        }
        for number, (agency, channel) in enumerate(DOSSIERS)
    ]

    async def fill() -> None:
        async with SqlLedger(url) as opened:
            await opened.put_mappings([mapping("H12"), *(mapping(code) for code, _ in DOSSIERS)])
        lane = Lane(url, "filling", seconds=None)
        await lane.write(lambda c: c.execute(insert(figures), rows))
        await lane.close()

    upgrade(url)
    asyncio.run(fill())
    return url


@pytest.fixture
def procedures(tmp_path: Path) -> Path:
    file = tmp_path / "procedures.csv"
    file.write_text(LIST, "utf-8")
    return file


def actual(code: str, *options: str) -> object:
    ended = run("rates", "plan", "--json", *options)
    assert ended.exit_code == 0, ended.stderr
    (found,) = (one for one in json.loads(ended.stdout) if one["code"] == code)
    return found["actual"] and found["actual"]["value"]


GOALS = ("dossiers_online", "full_process_on_portal", "level_4_services")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param((), [33.33, 100, 100], id="the province"),
        pytest.param(("--agency", "H12.40"), [50, None, None], id="an agency and one beneath it"),
        pytest.param(("--agency", "H12.41"), [0, None, None], id="an agency"),
    ],
)
def test_goals_are_computed_from_what_the_ledger_holds(
    ledger: str,
    procedures: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: Sequence[str],
    expected: list[float | None],
) -> None:
    set_environment(
        monkeypatch,
        LEDGER_URL=ledger,
        NATIONAL_PORTAL__AGENCY_CODE="H12",
        REFERENCE__PROCEDURES_FILE=str(procedures),
    )
    assert [actual(goal, *options) for goal in GOALS] == expected


def test_without_a_list_the_levels_are_awaited_and_nothing_is_invented(
    ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, LEDGER_URL=ledger, NATIONAL_PORTAL__AGENCY_CODE="H12")
    ended = run("rates", "plan")
    assert ended.stderr == ""
    (level_4,) = (line for line in ended.stdout.splitlines() if "mức độ 4" in line)
    assert "chưa có số liệu" in level_4
    assert "chờ danh mục mức độ" in level_4
    (online,) = (line for line in ended.stdout.splitlines() if "mức độ 3, 4" in line)
    for part in ("33.33 %", f"{civil_day(NOW):%d/%m/%Y}", "hồ sơ · dossiers", "đạt · reached"):
        assert part in online


def test_a_procedure_that_is_not_in_the_list_is_named(
    ledger: str, procedures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    procedures.write_text(LIST.replace("1.000001", "1.000002"), "utf-8")
    set_environment(
        monkeypatch,
        LEDGER_URL=ledger,
        NATIONAL_PORTAL__AGENCY_CODE="H12",
        REFERENCE__PROCEDURES_FILE=str(procedures),
    )
    ended = run("rates", "plan")
    assert ended.exit_code == 0
    assert "1 procedures have dossiers and no level (1.000001)" in ended.stderr


def test_a_list_that_cannot_be_read_ends_with_status_2_and_names_the_field(
    ledger: str, procedures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    procedures.write_text(LIST.replace("full", "4"), "utf-8")
    set_environment(
        monkeypatch,
        LEDGER_URL=ledger,
        NATIONAL_PORTAL__AGENCY_CODE="H12",
        REFERENCE__PROCEDURES_FILE=str(procedures),
    )
    ended = run("rates", "plan")
    assert ended.exit_code == 2
    assert "line 2, column level" in ended.stderr
