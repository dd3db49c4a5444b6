"""`thongsuot rates`: what is printed, and what ends with status 2 and why."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from monitoring.rates import plan
from monitoring.rates.catalogue import packaged
from monitoring.rates.periods import parse_period
from tests.unit.cli.running import clear_environment, run
from tests.unit.rates.published import path

PROGRESS = path("progress")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    clear_environment(monkeypatch)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two units, of which one received nothing."""
    file = tmp_path / "progress.csv"
    file.write_text(
        "departmentCode,totalOnTime,totalReceived\nH44.07,332,482\nH44.01,0,0\n", "utf-8"
    )
    return file


def test_a_score_is_a_list_of_the_portals_fields(table: Path) -> None:
    ended = run("rates", "score", "--rate", "on_time", "--input", str(table), "--json")
    assert ended.exit_code == 0, ended.stderr
    assert ended.stdout.strip() == json.dumps(
        [
            {"departmentCode": "H44.07", "metric": "on_time", "ratio": 68.88, "score": 13.78},
            {"departmentCode": "H44.01", "metric": "on_time", "ratio": 0, "score": 0},
        ]
    )
    assert ended.stderr == ""


def test_nothing_shown_is_null(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text(
        "departmentCode,metric_code,numerator,denominator\nH44,DOSSIER_SYNC,,\n", "utf-8"
    )
    ended = run("rates", "score", "--rate", "DOSSIER_SYNC", "--input", str(file), "--json")
    assert json.loads(ended.stdout) == [
        {"departmentCode": "H44", "metric": "DOSSIER_SYNC", "ratio": None, "score": None}
    ]
    told = run("rates", "score", "--rate", "DOSSIER_SYNC", "--input", str(file)).stdout
    assert ["H44", "DOSSIER_SYNC", "–", "–"] in [line.split() for line in told.splitlines()]


def test_without_json_it_is_a_table_with_vietnamese_headings(table: Path) -> None:
    ended = run("rates", "score", "--rate", "on_time", "--input", str(table))
    lines = ended.stdout.splitlines()
    assert lines[0].split()[:2] == ["đơn", "vị"]
    assert "điểm · score" in lines[0]
    assert ["H44.07", "on_time", "68.88", "13.78"] in [line.split() for line in lines]


def test_the_total_of_the_online_block_is_null_and_the_reason_is_said() -> None:
    ended = run(
        *("rates", "score", "--rate", "_TOTAL", "--input", str(path("metrics")), "--json"),
        *("--service", "provide-online-tree"),
    )
    assert ended.exit_code == 0
    assert json.loads(ended.stdout) == [
        {"departmentCode": "H44", "metric": "_TOTAL", "ratio": None, "score": None}
    ]
    assert "không tái tạo được" in ended.stderr


def test_columns_are_listed_without_a_file() -> None:
    ended = run("rates", "score", "--rate", "on_time", "--columns")
    assert ended.stdout.split() == ["departmentCode", "totalOnTime", "totalReceived"]
    ended = run("rates", "score", "--rate", "on_time", "--columns", "--json")
    assert json.loads(ended.stdout) == ["departmentCode", "totalOnTime", "totalReceived"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("departmentCode,totalReceived\nH44,1\n", "column totalOnTime is missing"),
        (
            "departmentCode,totalOnTime,totalReceived\nH44,1,2\nH44.01,1,2.5\n",
            "line 3, column totalReceived: is not a count",
        ),
        ("", "column departmentCode is missing"),
        (None, "No such file"),
    ],
    ids=["a missing column", "a bad number", "an empty file", "no file"],
)
def test_bad_input_ends_with_status_2_and_says_where(
    content: str | None, told: str, tmp_path: Path
) -> None:
    file = tmp_path / "table.csv"
    if content is not None:
        file.write_text(content, "utf-8")
    ended = run("rates", "score", "--rate", "on_time", "--input", str(file), "--json")
    assert ended.exit_code == 2
    assert ended.stdout == ""
    assert told in ended.stderr


def test_many_problems_are_told_up_to_twenty_and_the_rest_counted(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    heading = "departmentCode,service,metric_code,numerator,denominator\n"
    file.write_text(heading + "H44,transparency,DOSSIER_SYNC,1,1\n" * 24, "utf-8")
    ended = run("rates", "score", "--rate", "_TOTAL", "--input", str(file))
    assert ended.exit_code == 2
    assert ended.stderr.count("repeats line") == 20
    assert "and 3 more" in ended.stderr


def test_a_numerator_above_its_denominator_is_scored_with_a_word(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("departmentCode,totalOnTime,totalReceived\nH44,3,2\nH45,2,2\n", "utf-8")
    ended = run("rates", "score", "--rate", "on_time", "--input", str(file), "--json")
    assert ended.exit_code == 0
    assert "dòng 2, cột totalOnTime: lớn hơn totalReceived" in ended.stderr
    assert "dòng 3" not in ended.stderr
    assert [list(one) for one in json.loads(ended.stdout)] == [
        ["departmentCode", "metric", "ratio", "score"]
    ] * 2


def test_what_is_wrong_alike_in_many_rows_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("departmentCode,totalOnTime,totalReceived\n" + "H44,x,1\n" * 23, "utf-8")
    ended = run("rates", "score", "--rate", "on_time", "--input", str(file))
    assert ended.exit_code == 2
    assert ended.stderr.count("is not a count") == 1
    assert "và 22 dòng nữa" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("score", "--rate", "ontime", "--columns"), "near: on_time"),
        (("score", "--rate", "ontime", "--input", str(PROGRESS)), "near: on_time"),
        (("explain", "dossier_sync"), "near: DOSSIER_SYNC"),
        (("score", "--rate", "[red]", "--columns"), "no rate [red]"),
        (("score", "--rate", "finished_on_time", "--columns"), "publishes no table of counts"),
        (("score", "--rate", "on_time"), "--input is missing"),
    ],
    ids=["columns", "score", "explain", "markup", "no table", "no input"],
)
def test_what_cannot_be_done_ends_with_status_2_and_says_why(
    arguments: tuple[str, ...], told: str
) -> None:
    ended = run("rates", *arguments)
    assert ended.exit_code == 2
    assert ended.stdout == ""
    assert told in ended.stderr


def test_the_list_names_every_rate() -> None:
    told = run("rates", "list").stdout
    listed = json.loads(run("rates", "list", "--json").stdout)
    assert [one["code"] for one in listed] == list(packaged().codes)
    for code in packaged().codes:
        assert code in told
    on_time = next(one for one in listed if one["code"] == "on_time")
    assert (on_time["effective_from"], on_time["terms"][0]["weight"]) == ("2022-06-23", 20)


def test_a_formula_is_told_in_both_languages_with_its_source_and_certainty() -> None:
    told = run("rates", "explain", "on_time").stdout
    for text in (
        "tỷ lệ = 100 × [hồ sơ đã xử lý trước hạn",
        "/ [dossiers received in the period or carried over into it], rounded half up to 2 decimals",
        "nhỏ hơn trong 20 và tỷ lệ × 20 / 100",
        "khi đó Cổng hiện: tỷ lệ 0, điểm 0",
        "unknown inside the hub",
        "totalOnTime / totalReceived",
        "căn cứ: QĐ 766/QĐ-TTg",
        "certainty: reproduces every figure",
        "theo thời điểm",
        "từ 23/06/2022",
    ):
        assert text in told


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("online_payment", "the portal then shows (term 3): score 0"),
        ("online_payment", "ratio shown by the portal = 100 × score / 10"),
        ("PETITION_PROCESSING_ON_TIME", "the portal then shows: ratio 0, score 6"),
        ("PETITION_CLASSIFICATION_STAFF", "none, for tracking only"),
        ("DOSSIER_SYNC", "the portal then shows: nothing"),
        ("DOSSIER_SYNC_IN_TIME", "not known to be in force"),
        ("DOSSIER_SYNC_IN_TIME", "points: not public"),
        ("online_submission", "full from 50 %"),
        ("fullCount/authorityCount", "the portal does not show this ratio"),
        ("provide-online-tree", "the total cannot be reproduced from public data"),
        ("_TOTAL", "12 points at most; the total cannot be reproduced"),
        ("dossier-digitized", "REUSED_DIGITIZED_DATA (2)"),
    ],
)
def test_what_is_peculiar_to_a_rate_is_said(code: str, told: str) -> None:
    assert told in run("rates", "explain", code).stdout


@pytest.mark.parametrize("code", [*packaged().codes, *packaged().blocks, "_TOTAL"])
def test_every_code_can_be_explained(code: str) -> None:
    ended = run("rates", "explain", code, "--json")
    assert ended.exit_code == 0
    told = json.loads(ended.stdout)
    assert all(line["vi"] and line["en"] for one in told for line in one["lines"])
    assert {one["code"] for one in told} == ({code} if code != "_TOTAL" else set(packaged().blocks))


def test_the_plan_lists_every_goal_and_invents_no_figure() -> None:
    ended = run("rates", "plan")
    assert ended.exit_code == 0, ended.stderr
    heading, *lines = ended.stdout.splitlines()
    assert heading.index("chỉ tiêu · goal") < heading.index("thực tế · actual")
    assert len(lines) == len(plan.packaged().goals)
    for line, goal in zip(lines, plan.packaged().goals, strict=True):
        assert line.split()[0] == str(goal.number)
        assert goal.vi in line
        assert "chưa có số liệu" in line
    assert [
        goal.level
        for line, goal in zip(lines, plan.packaged().goals, strict=True)
        if "đã kết thúc" in line
    ] == ["district", "district"]
    assert [line.split()[0] for line in lines if "chờ danh mục mức độ" in line] == ["1", "14"]
    assert "có · yes" in lines[-1]


def test_the_plan_as_json_has_null_where_there_is_no_figure() -> None:
    listed = json.loads(run("rates", "plan", "--json").stdout)
    assert [one["code"] for one in listed] == [goal.code for goal in plan.packaged().goals]
    assert {one["standing"] for one in listed} == {"unknown", "closed"}
    assert all(one["actual"] is None and one["history"] == [] for one in listed)
    district = next(one for one in listed if one["code"] == "work_files_district_2025")
    assert (district["value"], district["unit"], district["by"]) == (80, "percent", 2025)
    assert (district["effective_to"], district["standing"]) == ("2025-06-30", "closed")
    assert district["note"]["vi"].endswith("giữ làm lịch sử.")


def test_the_plan_shows_a_figure_with_its_day_and_source(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        "work_files_online_commune": [value_of("45.5", "2025")],
        "connected_to_national_portal": [value_of("0", "2024")],
    }
    rows = plan.scoreboard(plan.packaged(), known, date(2026, 1, 1))
    monkeypatch.setattr(plan, "scoreboard", lambda *_: rows)
    lines = run("rates", "plan").stdout.splitlines()[1:]
    assert "45.5 %" in lines[3]
    assert "31/12/2025" in lines[3]
    assert "eoffice · 1/BC-VP" in lines[3]
    assert "chưa đạt" in lines[3]
    assert "đạt · reached" in lines[10]
    assert "chưa · no" in lines[-1]


def value_of(number: str, text: str) -> plan.Value:
    period = parse_period(text)
    assert period is not None
    return plan.Value(Decimal(number), period, period.last, "eoffice · 1/BC-VP")
