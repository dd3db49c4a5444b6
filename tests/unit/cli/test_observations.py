"""`thongsuot rates observations` and the figures of `rates plan`: in, out, and what is refused."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from monitoring.rates.observations import Refusal
from schemas.dossier.csv_table import UNREADABLE
from schemas.dossier.mappings import CodeList, MappingOrigin, MappingRow
from schemas.ledger.migrate import upgrade
from schemas.ledger.sql import SqlLedger
from streams.observations import WHY
from tests.unit.cli.running import clear_environment, run, set_environment

HEADING = "observation_id,indicator,agency,period,value,unit,as_of,system,document,corrects\n"
LINES = (
    "HSCV-2023,work_files_online_commune,H12,2023,40,percent,2024-01-05,eoffice,,\n"
    "HSCV-2024,work_files_online_commune,H12,2024,55.5,percent,2025-01-05,eoffice,1/BC-VP,\n"
    "HSCV-2024-1,work_files_online_commune,H12,2024,61.25,percent,2025-02-05,eoffice,9/BC-VP,HSCV-2024\n"
    "CONG-2020,connected_to_national_portal,H12,2020,1,yes_no,2020-12-31,cong-dvc,,\n"
    "MAIL-2024,officials_with_official_email,H12,2024,93,percent,2024-12-31,mail,,\n"
    "MAIL-2024-1,officials_with_official_email,H12,2024,chưa có số liệu,percent,2024-12-31,mail,,MAIL-2024\n"
    "HSCV-AX,work_files_online_commune,H12.40,2024,70,percent,2024-12-31,eoffice,,\n"
)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that knows two agencies."""
    path = tmp_path / "ledger.db"
    url = f"sqlite:///{path}"
    set_environment(monkeypatch, LEDGER_URL=url, NATIONAL_PORTAL__AGENCY_CODE="H12")
    rows = [
        MappingRow(
            codelist=CodeList.AGENCY,
            system="opencps",
            code=code,
            value=code,
            origin=MappingOrigin.SOURCE_TABLE,
        )
        for code in ("H12", "H12.40")
    ]

    async def fill() -> None:
        async with SqlLedger(url) as opened:
            await opened.put_mappings(rows)

    upgrade(url)
    asyncio.run(fill())
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "figures.csv"
    file.write_text(HEADING + LINES, "utf-8")
    return file


@pytest.fixture
def imported(ledger: Path, table: Path) -> Path:
    """A ledger into which the table was imported."""
    ended = run("rates", "observations", "import", str(table))
    assert ended.exit_code == 0, ended.stderr
    return ledger


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def listed(*options: str) -> list[dict[str, object]]:
    ended = run("rates", "observations", "list", "--json", *options)
    assert ended.exit_code == 0, ended.stderr
    found: list[dict[str, object]] = json.loads(ended.stdout)
    return found


def goal(code: str, *options: str) -> dict[str, object]:
    ended = run("rates", "plan", "--json", *options)
    assert ended.exit_code == 0, ended.stderr
    (found,) = (one for one in json.loads(ended.stdout) if one["code"] == code)
    assert isinstance(found, dict)
    return found


# --- import ------------------------------------------------------------------------------------------


def test_a_table_is_taken_in_once_however_often_it_is_given(ledger: Path, table: Path) -> None:
    told = run("rates", "observations", "import", str(table))
    assert told.exit_code == 0, told.stderr
    assert "7 số liệu mới" in told.stdout
    assert "7 new observations" in told.stdout
    before = rows(ledger, "SELECT * FROM observations ORDER BY 1")
    again = run(
        "rates", "observations", "import", str(table), "--json", "--submitted-by", "another"
    )
    assert again.exit_code == 0, again.stderr
    assert json.loads(again.stdout) == {"new": []}
    assert rows(ledger, "SELECT * FROM observations ORDER BY 1") == before
    assert rows(ledger, "SELECT * FROM refused_observations") == []


def test_what_is_new_in_a_longer_table_is_added(imported: Path, table: Path) -> None:
    with table.open("a", encoding="utf-8") as file:
        file.write(
            "HSCV-2024-2,work_files_online_commune,H12,2024,62,percent,2025-03-05,eoffice,,HSCV-2024\n"
        )
    ended = run("rates", "observations", "import", str(table), "--json")
    assert json.loads(ended.stdout) == {"new": ["HSCV-2024-2"]}
    (story,) = listed(
        "--agency", "H12", "--indicator", "work_files_online_commune", "--period", "2024"
    )
    assert story["value"] == 62


def test_who_submits_is_kept(ledger: Path, table: Path) -> None:
    run("rates", "observations", "import", str(table), "--submitted-by", "so-khcn")
    assert rows(ledger, "SELECT DISTINCT submitted_by FROM observations") == [("so-khcn",)]


@pytest.mark.parametrize(
    ("old", "new", "told", "kept"),
    [
        (
            "2024,55.5",
            "2024,555",
            ["dòng 3, cột value: ngoài khoảng cho phép", "line 3, column value: is out of range"],
            [("3", "value", "value_out_of_range", "H12")],
        ),
        (
            "93,percent",
            "93,yes_no",
            ["the indicator is in percent"],
            [("6", "unit", "wrong_unit", "H12")],
        ),
        (
            "H12.40,2024",
            "H12.41,2099",
            ["is no known agency", "has not ended"],
            [("8", "agency", "unknown_agency", None), ("8", "period", "period_not_ended", None),
             ("8", "as_of", "as_of_before_period_end", None)],
        ),
        (
            "cong-dvc,,",
            "cong-dvc,,HSCV-2024-1",
            ["that is a correction itself; name the first observation: HSCV-2024"],
            [("5", "corrects", "corrects_correction", "H12")],
        ),
        (
            "H12,2020,1",
            "Lê Bưởi,2020,x",
            ["dòng 5, cột value: 'x' không hợp lệ"],
            [("5", "value", "unreadable", None)],
        ),
        (
            "as_of,",
            "asof,",
            ["cột as_of: thiếu", "column asof: is unknown"],
            [("1", "as_of", "unreadable", None), ("1", "", "unreadable", None)],
        ),
    ],
    ids=["range", "unit", "agency and period", "correction of a correction", "number", "heading"],
)  # fmt: skip
def test_a_wrong_table_is_refused_whole_and_each_fault_kept_once(
    ledger: Path,
    table: Path,
    old: str,
    new: str,
    told: Sequence[str],
    kept: Sequence[tuple[str | None, ...]],
) -> None:
    text = HEADING + LINES
    assert old in text
    table.write_text(text.replace(old, new, 1), "utf-8")
    for _ in range(2):
        ended = run("rates", "observations", "import", str(table), "--json")
        assert ended.exit_code == 2
        assert ended.stdout == ""
        for words in told:
            assert words in ended.stderr
    assert rows(ledger, "SELECT * FROM observations") == []
    found = rows(
        ledger,
        "SELECT substr(place, 18), field, reason, agency FROM refused_observations",
    )
    assert sorted(found, key=str) == sorted(kept, key=str)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("import", "nowhere.csv"), "No such file"),
        (("import", "nowhere.csv", "--submitted-by", "Lê Bưởi"), "--submitted-by: give the code"),
        (("list", "--indicator", "work_files_online_comune"), "near: work_files_online_commune"),
        (("list", "--period", "08/2026"), "--period: write a period as"),
        (("list", "--agency", "H12.4"), "no agency H12.4; near: H12.40"),
        (("list", "--indicator", "[red]", "--period", "x"), "no indicator [red]"),
    ],
    ids=["no file", "a person's name", "indicator", "period", "agency", "markup"],
)
def test_what_cannot_be_done_ends_with_status_2_and_says_why(
    ledger: Path, arguments: tuple[str, ...], told: str
) -> None:
    ended = run("rates", "observations", *arguments)
    assert ended.exit_code == 2
    assert ended.stdout == ""
    assert told in ended.stderr
    assert "Bưởi" not in ended.stderr


def test_a_ledger_without_agencies_names_the_remedy(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/empty.db"
    set_environment(monkeypatch, LEDGER_URL=url)
    upgrade(url)
    ended = run("rates", "observations", "import", str(table))
    assert ended.exit_code == 1
    assert "the ledger holds no agencies yet; run thongsuot worker" in ended.stderr
    shown = run("rates", "plan")
    assert shown.exit_code == 0
    assert "the ledger holds no agencies yet" in shown.stderr


@pytest.mark.parametrize(
    "arguments",
    [("observations", "list"), ("observations", "refused"), ("plan",)],
    ids=" ".join,
)
def test_a_ledger_that_is_not_there_ends_with_status_1(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
    ended = run("rates", *arguments)
    assert ended.exit_code == 1
    assert ended.stdout == ""
    assert "thongsuot db upgrade" in ended.stderr


# --- list --------------------------------------------------------------------------------------------


def test_the_story_of_a_figure_is_told_whole(imported: Path) -> None:
    stories = listed("--agency", "H12")
    assert [(one["indicator"], one["period"], one["value"]) for one in stories] == [
        ("connected_to_national_portal", "2020", 1),
        ("officials_with_official_email", "2024", None),
        ("work_files_online_commune", "2023", 40),
        ("work_files_online_commune", "2024", 61.25),
    ]
    story = stories[-1]["story"]
    assert isinstance(story, list)
    assert [(one["observation_id"], one["value"], one["corrects"]) for one in story] == [
        ("HSCV-2024", 55.5, None),
        ("HSCV-2024-1", 61.25, "HSCV-2024"),
    ]
    assert (story[0]["as_of"], story[0]["system"], story[0]["document"]) == (
        "2025-01-05",
        "eoffice",
        "1/BC-VP",
    )


def test_people_see_which_figure_holds_and_which_was_taken_back(imported: Path) -> None:
    told = run("rates", "observations", "list").stdout
    by_id = {line.split()[0]: line for line in told.splitlines()}
    assert "55.5 %" in by_id["HSCV-2024"]
    assert "đã thay · replaced" in by_id["HSCV-2024"]
    assert "61.25 %" in by_id["HSCV-2024-1"]
    assert "đang dùng · holds" in by_id["HSCV-2024-1"]
    assert "05/02/2025" in by_id["HSCV-2024-1"]
    assert "eoffice · 9/BC-VP" in by_id["HSCV-2024-1"]
    assert "chưa có số liệu" in by_id["MAIL-2024-1"]
    assert "có · yes" in by_id["CONG-2020"]


def test_where_there_is_nothing_it_says_so(ledger: Path) -> None:
    assert "chưa có số liệu" in run("rates", "observations", "list").stdout
    assert listed() == []


def test_what_was_refused_can_be_seen(ledger: Path, table: Path) -> None:
    table.write_text((HEADING + LINES).replace("2024,55.5", "2024,555"), "utf-8")
    run("rates", "observations", "import", str(table))
    told = run("rates", "observations", "refused").stdout
    assert "số liệu ngoài khoảng cho phép · value_out_of_range" in told
    (row,) = json.loads(run("rates", "observations", "refused", "--json").stdout)
    assert (row["origin"], row["field"], row["reason"]) == ("csv", "value", "value_out_of_range")
    assert (row["indicator"], row["agency"], row["period"]) == (
        "work_files_online_commune",
        "H12",
        "2024",
    )
    assert row["place"].endswith(":3")


def test_every_reason_is_said_in_vietnamese() -> None:
    assert set(WHY) == {*Refusal, UNREADABLE}


# --- the scoreboard ----------------------------------------------------------------------------------


def test_the_plan_shows_the_figures_that_hold_with_day_source_and_history(imported: Path) -> None:
    ended = run("rates", "plan")
    assert ended.exit_code == 0, ended.stderr
    whose, _, *lines = ended.stdout.splitlines()
    assert whose == "cơ quan · agency: H12"
    for part in (
        *("61.25 %", "2024", "05/02/2025", "eoffice · 9/BC-VP"),
        *("đạt · reached", "2023: 40 %"),
    ):
        assert part in lines[3]
    assert "có · yes" in lines[-1]
    (mail,) = (line for line in lines if "thư điện tử" in line)
    assert "chưa có số liệu" in mail
    assert ended.stderr == ""


def test_the_plan_as_json_has_every_period_and_no_figure_that_was_taken_back(
    imported: Path,
) -> None:
    files = goal("work_files_commune_2025")
    assert files["actual"] == {
        "value": 61.25,
        "period": "2024",
        "as_of": "2025-02-05",
        "source": "eoffice · 9/BC-VP",
    }
    assert files["standing"] == "reached"
    history = files["history"]
    assert isinstance(history, list)
    assert [(one["period"], one["value"]) for one in history] == [("2024", 61.25), ("2023", 40)]
    assert goal("officials_with_official_email")["actual"] is None


def test_a_count_that_a_rate_takes_is_no_goal_s_figure(imported: Path, table: Path) -> None:
    line = "TN-2025,received_per_report,H12,2025,{},dossiers,2026-01-05,bcqg,,\n"
    table.write_text(HEADING + line.format("184513.5"), "utf-8")
    refused = run("rates", "observations", "import", str(table))
    assert refused.exit_code == 2
    assert "ghi số nguyên từ 0" in refused.stderr
    assert "write a whole number from 0" in refused.stderr
    table.write_text(HEADING + line.format("184513"), "utf-8")
    assert run("rates", "observations", "import", str(table)).exit_code == 0
    told = run("rates", "observations", "list", "--indicator", "received_per_report").stdout
    assert "184513 hồ sơ · dossiers" in told
    assert run("rates", "plan").exit_code == 0


def test_the_plan_of_another_agency(imported: Path) -> None:
    actual = goal("work_files_commune_2025", "--agency", "H12.40")["actual"]
    assert isinstance(actual, dict)
    assert actual["value"] == 70
    wrong = run("rates", "plan", "--agency", "H13")
    assert wrong.exit_code == 2
    assert "--agency: không có cơ quan H13" in wrong.stderr


def test_a_province_that_the_ledger_does_not_know_is_said_and_shows_no_figure(
    imported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THONGSUOT_NATIONAL_PORTAL__AGENCY_CODE", "000.00.00.H12")
    ended = run("rates", "plan", "--json")
    assert ended.exit_code == 0
    assert "the ledger knows no agency 000.00.00.H12" in ended.stderr
    assert all(one["actual"] is None for one in json.loads(ended.stdout))


def test_without_a_ledger_the_plan_says_so_and_an_agency_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clear_environment(monkeypatch)
    ended = run("rates", "plan", "--json")
    assert ended.exit_code == 0
    assert "chưa đặt THONGSUOT_LEDGER_URL" in ended.stderr
    assert all(one["actual"] is None for one in json.loads(ended.stdout))
    wrong = run("rates", "plan", "--agency", "H12")
    assert wrong.exit_code == 2
    assert wrong.stdout == ""
    assert "--agency: THONGSUOT_LEDGER_URL is not set" in wrong.stderr


def test_with_a_ledger_every_setting_has_to_be_right(monkeypatch: pytest.MonkeyPatch) -> None:
    clear_environment(monkeypatch)
    monkeypatch.setenv("THONGSUOT_LEDGER_URL_FILE", "/nowhere/url")
    ended = run("rates", "plan")
    assert ended.exit_code == 2
    assert "THONGSUOT_LEDGER_URL_FILE" in ended.stderr
