"""`thongsuot rates portal`: in, out, beside our figures, and what is refused."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sqlite3
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from monitoring.rates.portal_comparison import Verdict
from monitoring.rates.published import Reason
from schemas.dossier.mappings import CodeList
from schemas.ledger.migrate import upgrade
from streams.portal_shown import REASONS, VERDICTS
from tests.unit.cli.running import run, set_environment
from tests.unit.rates.answers import answer, body, results
from tests.unit.rates.counted import Story, hall, mapping
from tests.unit.rates.published import path

PROGRESS = "dvc-progress-tree"
MARCH_TABLE = """\
departmentCode,totalReceived,totalOnTime,ratio,score,maxScore
H12,2,1,50,10,20
H12.01,1,1,100,20,20
H12.03,0,0,0,0,20
"""


def _filled(folder: Path) -> Coroutine[Any, Any, None]:
    """Two dossiers of one unit, one in time and one late, none of them sent yet; and a unit without any."""

    async def fill() -> None:
        async with hall(folder) as ours:
            for name, finished in (("a", "2026-03-05 10:00"), ("b", "2026-03-09 10:00")):
                steps = (("received", "2026-03-02 09:00"), ("finished", finished))
                await ours.put(*Story(name, steps, unit="H12.01").events())
            await ours.refresh()
            await ours.ledger.put_mappings(
                [mapping(CodeList.AGENCY, unit, unit) for unit in ("H12.01", "H12.03")]
            )

    return fill()


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    set_environment(
        monkeypatch,
        LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db",
        NATIONAL_PORTAL__AGENCY_CODE="H12",
    )
    asyncio.run(_filled(tmp_path))
    return tmp_path / "ledger.db"


@pytest.fixture
def march(tmp_path: Path, ledger: Path) -> Path:
    file = tmp_path / "march.csv"
    file.write_text(MARCH_TABLE, "utf-8")
    ended = take(file, "2026-03")
    assert ended.exit_code == 0, ended.stderr
    return file


def take(file: Path, period: str = "2026-08", service: str = PROGRESS, *options: str) -> Any:
    return run(
        "rates", "portal", "import", str(file), "--service", service, "--period", period, *options
    )


def told(*arguments: str) -> Any:
    ended = run("rates", "portal", *arguments, "--json")
    assert ended.exit_code == 0, ended.stderr
    return json.loads(ended.stdout)


def rows(ledger: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(ledger)) as connection:
        return connection.execute(query).fetchall()


# --- import ------------------------------------------------------------------------------------------


def test_a_file_is_taken_once(ledger: Path) -> None:
    first = take(path("progress"))
    assert first.exit_code == 0, first.stderr
    assert "106 đơn vị, 106 số liệu" in first.stdout
    before = rows(ledger, "SELECT * FROM published_figures")
    again = take(path("progress"), "2026-08", PROGRESS, "--submitted-by", "another")
    assert again.exit_code == 0
    assert "đã nhập rồi" in again.stdout
    assert rows(ledger, "SELECT * FROM published_figures") == before
    assert len(rows(ledger, "SELECT * FROM published_answers")) == 1
    assert rows(ledger, "SELECT faults FROM published_answers") == [(None,)]


def test_an_answer_is_taken_after_the_codes_of_its_units_were_told(
    ledger: Path, tmp_path: Path
) -> None:
    lists, tree = tmp_path / "transparency.json", tmp_path / "tree.json"
    lists.write_bytes(b"\xef\xbb\xbf " + body(answer("transparency")))
    tree.write_bytes(body(answer(PROGRESS)))
    refused = take(lists, "2026-08", "transparency")
    assert refused.exit_code == 2
    assert "dvc-progress-tree" in refused.stderr
    assert take(tree).exit_code == 0
    ended = take(lists, "2026-08", "transparency", "--json")
    assert ended.exit_code == 0, ended.stderr
    assert json.loads(ended.stdout) == {"new": True, "units": 24, "figures": 120}


def test_names_that_are_inferred_are_said_to_be(ledger: Path, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_bytes(body(results()))
    ended = take(file, "2026-08", "service-results")
    assert ended.exit_code == 0, ended.stderr
    assert "suy đoán" in ended.stderr


def test_a_changed_file_is_refused_whole_and_leaves_a_row(ledger: Path, tmp_path: Path) -> None:
    file = tmp_path / "changed.csv"
    file.write_text(MARCH_TABLE.replace("totalOnTime", "Trần Văn Bình"), "utf-8")
    ended = take(file, "2026-03")
    assert ended.exit_code == 2
    assert "totalOnTime" in ended.stderr
    assert "Trần Văn Bình" in ended.stderr
    assert rows(ledger, "SELECT * FROM published_figures") == []
    assert take(file, "2026-03").exit_code == 2
    found = told("refused")
    assert [(one["place"], one["field"], one["reason"]) for one in found] == [
        ("1", "", "field_unknown"),
        ("1", "totalOnTime", "field_missing"),
    ]
    assert {one["period"] for one in found} == {"2026-03"}
    assert b"B\xc3\xacnh" not in ledger.read_bytes()
    shown = run("rates", "portal", "refused").stdout
    assert "thiếu trường · field_missing" in shown
    assert "totalOnTime" in run("rates", "portal", "refused", "--csv").stdout


@pytest.mark.parametrize(
    ("period", "reason"),
    [("2099-12", "period_not_ended"), ("2026-H1", "period_not_published")],
)
def test_a_period_that_the_portal_cannot_have_leaves_a_row(
    ledger: Path, period: str, reason: str
) -> None:
    assert take(path("progress"), period).exit_code == 2
    (row,) = told("refused")
    assert (row["reason"], row["period"]) == (reason, period)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("2026-13",), ["2026-Q3"]),
        (("2026-08", "dvc-progres"), ["--service", "dvc-progress-tree"]),
        (("2026-08", PROGRESS, "--submitted-by", "Nguyễn Văn A"), ["--submitted-by"]),
        (("2026-08", PROGRESS, "--seen", "hôm qua"), ["--seen", "2026-09-26"]),
        (("2026-08", PROGRESS, "--seen", "2199-01-01"), ["--seen", "tương lai"]),
    ],
)
def test_wrong_options_are_named(
    ledger: Path, arguments: tuple[str, ...], words: list[str]
) -> None:
    ended = take(path("progress"), *arguments)
    assert ended.exit_code == 2
    for word in words:
        assert word in ended.stderr
    assert rows(ledger, "SELECT * FROM published_answers") == []


def test_a_file_that_is_not_there_is_named(ledger: Path) -> None:
    ended = take(Path("nowhere.csv"))
    assert ended.exit_code == 2
    assert "nowhere.csv" in ended.stderr


def test_a_ledger_that_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
    ended = take(path("progress"))
    assert ended.exit_code == 1
    assert "thongsuot db upgrade" in ended.stderr


# --- what is there -----------------------------------------------------------------------------------


def test_versions_stand_beside_each_other(march: Path) -> None:
    march.write_text(MARCH_TABLE.replace("100,20,20", "90,18,20"), "utf-8")
    assert take(march, "2026-03", PROGRESS, "--seen", "2026-04-02T08:00").exit_code == 0
    (newer, older) = told("list", "--agency", "H12.01", "--period", "2026-03")[::-1]
    assert (newer["score"], newer["holds"]) == (20, True)
    assert (older["score"], older["holds"]) == (18, False)
    assert older["seen_at"] == "2026-04-02T01:00:00+00:00"
    shown = run("rates", "portal", "list", "--agency", "H12.01", "--period", "2026-03").stdout
    assert "đang dùng" in shown
    assert "bản cũ" in shown
    files = told("list")
    assert [(one["period"], one["units"]) for one in files] == [("2026-03", 3)] * 2
    assert told("list", "--period", "2026-04") == []
    assert "march" not in run("rates", "portal", "list").stdout


def test_a_unit_is_listed_for_a_period_only(ledger: Path) -> None:
    ended = run("rates", "portal", "list", "--agency", "H12.01")
    assert ended.exit_code == 2
    assert "--period" in ended.stderr


# --- the comparison ----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["H12.01", "000.00.00.H12"])
def test_the_province_is_that_of_the_agency_that_calls_the_portal(
    march: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setenv("THONGSUOT_NATIONAL_PORTAL__AGENCY_CODE", code)
    assert len(told("compare", "--period", "2026-03", "--all")) == 3


def test_differences_are_shown_with_the_points_at_stake(march: Path) -> None:
    (row,) = told("compare", "--period", "2026-03")
    assert (row["departmentCode"], row["verdict"], row["points"]) == ("H12.01", "differs", 10)
    assert row["counts"] == [
        {"quantity": "on_time_or_within_time", "portal": 1, "ours": 1},
        {"quantity": "received_and_carried_over", "portal": 1, "ours": 2},
    ]
    every = told("compare", "--period", "2026-03", "--all")
    assert {one["departmentCode"]: one["verdict"] for one in every} == {
        "H12": "same",
        "H12.01": "differs",
        "H12.03": "same",
    }
    shown = run("rates", "portal", "compare", "--period", "2026-03").stdout
    assert "+10" in shown
    assert "chênh lệch · differs: 1" in shown
    assert "giống nhau · same: 2" in shown


def test_differences_can_be_had_as_csv(march: Path) -> None:
    text = run("rates", "portal", "compare", "--period", "2026-03", "--csv").stdout
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["departmentCode"] == "H12.01"
    assert (row["portal_counts"], row["our_counts"]) == ("1/1", "1/2")
    assert (row["portal_score"], row["our_score"], row["points"]) == ("20", "10", "10")


def test_a_difference_opens_down_to_dossiers(march: Path) -> None:
    wanted = ("--period", "2026-03", "--agency", "H12.01", "--metric", "on_time", "--dossiers")
    (opened,) = told("compare", *wanted)
    assert opened["quantity"] == "received_and_carried_over"
    assert (opened["portal"], opened["ours"]) == (1, 2)
    assert [(one["code"], one["why"]) for one in opened["dossiers"]] == [
        ("H12.01-a", "unsent"),
        ("H12.01-b", "unsent"),
    ]
    (first,) = told("compare", *wanted, "--limit", "1")
    assert (len(first["dossiers"]), first["left_off"]) == (1, 1)
    shown = run("rates", "portal", "compare", *wanted, "--limit", "1").stdout
    assert "bản tin chưa gửi xong" in shown
    assert "và 1 hồ sơ nữa" in shown
    listed = run("rates", "portal", "compare", *wanted, "--csv").stdout
    assert [row["why"] for row in csv.DictReader(io.StringIO(listed))] == ["unsent", "unsent"]


def test_a_parked_delivery_is_told_with_its_reason(march: Path, ledger: Path) -> None:
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute("UPDATE deliveries SET state = 'parked', reason = 'field_missing'")
        connection.commit()
    wanted = ("--period", "2026-03", "--agency", "H12.01", "--metric", "on_time", "--dossiers")
    assert "thiếu trường bắt buộc" in run("rates", "portal", "compare", *wanted).stdout


def test_where_nothing_differs_nothing_is_opened(march: Path) -> None:
    wanted = ("--period", "2026-03", "--agency", "H12.03", "--metric", "on_time", "--dossiers")
    assert told("compare", *wanted) == []
    assert "không có số đếm nào" in run("rates", "portal", "compare", *wanted).stdout


def test_dossiers_are_opened_of_one_figure(ledger: Path) -> None:
    ended = run("rates", "portal", "compare", "--period", "2026-03", "--dossiers")
    assert ended.exit_code == 2
    assert "--agency" in ended.stderr


def test_figures_of_another_province_are_told_at_import_and_left_out_of_the_comparison(
    ledger: Path,
) -> None:
    """All 106 units of the table are of Phú Thọ (H44), the hub is of Cà Mau (H12)."""
    ended = take(path("progress"))
    assert ended.exit_code == 0
    assert "không có đơn vị nào thuộc H12" in ended.stderr
    compared = run("rates", "portal", "compare", "--period", "2026-08")
    assert compared.exit_code == 0
    assert "106 số liệu đã nhập là của tỉnh khác" in compared.stderr
    assert "rates portal import" not in compared.stderr


def test_figures_of_our_province_are_imported_and_compared_without_a_word(march: Path) -> None:
    again = take(march, "2026-03")
    compared = run("rates", "portal", "compare", "--period", "2026-03")
    assert (again.stderr, compared.stderr) == ("", "")


@pytest.mark.parametrize(
    ("old", "new"),
    [("1,1,100,20,20", "1,1,100,21,20"), ("1,1,100", "1,1,101"), ("1,1,100", "1,2,100")],
    ids=["above the maximum", "above 100 %", "more on time than received"],
)
def test_an_impossible_figure_is_taken_with_a_word(
    ledger: Path, tmp_path: Path, old: str, new: str
) -> None:
    file = tmp_path / "march.csv"
    file.write_text(MARCH_TABLE.replace(old, new), "utf-8")
    ended = take(file, "2026-03", PROGRESS, "--json")
    assert ended.exit_code == 0
    assert "H12.01 on_time" in ended.stderr
    assert json.loads(ended.stdout) == {"new": True, "units": 3, "figures": 3}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--metric", "nope"), ["--metric", "nope"]),
        (("--metric", "on_tim"), ["on_time"]),
        (("--metric", "DOSSIER_SYNC", "--service", PROGRESS), ["--metric", "DOSSIER_SYNC"]),
    ],
)
def test_a_metric_that_is_not_in_the_catalogue_is_refused(
    ledger: Path, options: tuple[str, ...], words: list[str]
) -> None:
    ended = run("rates", "portal", "compare", "--period", "2026-03", *options)
    assert ended.exit_code == 2
    for word in words:
        assert word in ended.stderr


def test_without_an_import_it_says_what_to_do(ledger: Path) -> None:
    ended = run("rates", "portal", "compare", "--period", "2026-03")
    assert ended.exit_code == 0
    assert "rates portal import" in ended.stderr


def test_every_verdict_and_reason_has_its_words() -> None:
    assert set(VERDICTS) == set(Verdict)
    assert set(REASONS) == set(Reason)


def test_a_ledger_of_a_fresh_upgrade_has_nothing_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    set_environment(monkeypatch, LEDGER_URL=url)
    upgrade(url)
    assert told("refused") == []
    assert told("list") == []
