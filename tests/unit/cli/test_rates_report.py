"""`thongsuot rates`: the table, JSON, CSV, the dossiers behind a rate, the formula with its numbers."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from monitoring.rates.catalogue import packaged
from schemas.dossier.mappings import CodeList
from streams import rates_shown
from streams.rates_shown import CSV_COLUMNS
from tests.unit.cli.running import clear_environment, run, set_environment
from tests.unit.rates.counted import RULES, UNITS, Story, codes, hall, mapping

MARCH = ("--period", "2026-03")
MONDAY = ("received", "2026-03-02 09:00")
IN_TIME = (MONDAY, ("finished", "2026-03-05 10:00"))
LATE = (MONDAY, ("finished", "2026-03-09 10:00"))
STORIES = (
    Story("a", IN_TIME),
    Story("b", LATE),
    Story("c", IN_TIME, unit=UNITS[1]),
    Story("d", IN_TIME, unit=UNITS[1], due=None),
)
DIRECTORY = f"""code,name,parent,kind,valid_from,valid_to,successor
H12,UBND tỉnh [thử],,province,,,
{UNITS[0]},Sở A,H12,department,,,
{UNITS[1]},Xã cũ,H12,commune,,2026-03-20,{UNITS[2]}
{UNITS[2]},Xã mới có tên dài đến nỗi không còn chỗ cho cột nào khác ở bên cạnh,H12,commune,,,
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with four dossiers of two units, reckoned."""
    folder = tmp_path_factory.mktemp("filled")

    async def fill() -> None:
        async with hall(folder) as ours:
            for story in STORIES:
                await ours.put(*story.events())
            await ours.refresh(replace(RULES, codes=codes()))
            rows = [mapping(CodeList.AGENCY, unit, unit) for unit in UNITS]
            await ours.ledger.put_mappings(rows)

    asyncio.run(fill())
    return folder / "ledger.db"


@pytest.fixture
def ledger(filled: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of the settings; the command only reads it."""
    set_environment(
        monkeypatch, LEDGER_URL=f"sqlite:///{filled}", NATIONAL_PORTAL__AGENCY_CODE="H12"
    )
    return filled


@pytest.fixture
def directory(ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "agencies.csv"
    file.write_text(DIRECTORY, "utf-8")
    monkeypatch.setenv("THONGSUOT_REFERENCE__AGENCIES_FILE", str(file))
    return file


def told(*arguments: str) -> str:
    ended = run("rates", *arguments)
    assert ended.exit_code == 0, ended.stderr
    return ended.stdout


def asked(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(told(*arguments, "--json"))
    return found


# --- table -------------------------------------------------------------------------------------------


def test_the_table_has_the_points_of_the_blocks_by_unit(ledger: Path) -> None:
    lines = told(*MARCH).splitlines()
    assert lines[0].split() == ["2026-03", "01/03/2026", "–", "31/03/2026"]
    for block in packaged().blocks.values():
        assert f"{block.vi} /{block.maximum}" in lines[1]
    rows = {line.split()[0]: line.replace("≥ ", "≥").split() for line in lines[2:5]}
    assert rows[UNITS[0]] == [UNITS[0], "≥0", "10", "–", "≥0", "–", "≥2", "≥12"]
    assert rows["Tổng"] == ["Tổng", "·", "total", "≥0", "10", "–", "≥0", "–", "≥2", "≥12"]
    beneath = "\n".join(lines[5:])
    assert "≥: ít nhất" in beneath
    assert "Dịch vụ công trực tuyến: tổng điểm không tái tạo được" in beneath
    assert "chưa có số liệu của PETITION_PROCESSING_ON_TIME" in beneath


def test_a_rate_has_its_counts_ratio_and_points_and_the_portal_s_where_they_differ(
    ledger: Path,
) -> None:
    lines = told(*MARCH, "--rate", "on_time").splitlines()
    assert lines[1].startswith("(1) on_time  Tỷ lệ hồ sơ giải quyết đúng hạn")
    rows = {line.split()[0]: line.split() for line in lines[3:6]}
    assert rows[UNITS[0]] == [UNITS[0], "1/2", "50", "10"]
    assert rows[UNITS[1]] == [UNITS[1], "–", "(1)/2", "–", "(50)", "–", "(10)"]
    assert "on_time: 1 hồ sơ chưa rõ" in "\n".join(lines)


def test_many_rates_leave_the_counts_out(ledger: Path) -> None:
    wanted = [part for code in packaged().codes[:4] for part in ("--rate", code)]
    head = told(*MARCH, *wanted).splitlines()[5]
    assert "tử/mẫu" not in head
    assert "(4) điểm" in head


def test_the_table_keeps_within_the_terminal(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = Console(width=120, file=io.StringIO())
    monkeypatch.setattr(rates_shown, "out", narrow)
    run("rates", *MARCH)
    text = narrow.file.getvalue()  # type: ignore[attr-defined]
    table = [line for line in text.splitlines() if line.startswith(("H12", "Tổng"))]
    assert [line.split()[0] for line in table[:3]] == [UNITS[0], UNITS[2], "Tổng"]
    assert all(len(line) <= 120 for line in table[:3])
    assert "Xã mới có tên dài" in table[1]
    assert "…" in table[1]
    assert "UBND tỉnh [thử]" in table[2]


def test_a_merged_unit_is_in_the_row_of_its_successor(directory: Path) -> None:
    units = {unit["code"]: unit for unit in asked(*MARCH)["units"]}
    assert set(units) == {UNITS[0], UNITS[2]}
    assert units[UNITS[2]]["codes"] == [UNITS[1], UNITS[2]]
    assert f"gồm cả đơn vị đã sáp nhập: {UNITS[1]} (Xã cũ)" in told(*MARCH)
    old = asked(*MARCH, "--agency", UNITS[1])
    assert (old["agency"], old["total"]["code"]) == (UNITS[1], UNITS[2])


def test_without_a_period_it_is_this_month_and_provisional(ledger: Path) -> None:
    assert "tạm tính, kỳ chưa kết thúc (đến " in told()
    made = asked()
    assert made["provisional"] is True
    assert made["start"] < made["end"]


def test_subcommands_are_still_there(ledger: Path) -> None:
    assert json.loads(told("list", "--json"))[0]["code"] == packaged().codes[0]


# --- JSON and CSV --------------------------------------------------------------------------------------


def test_json_has_both_values_and_what_has_to_be_said(ledger: Path) -> None:
    made = asked(*MARCH)
    assert (made["period"], made["provisional"], made["due"]) == ("2026-03", False, 0)
    (rate,) = (one for one in made["total"]["rates"] if one["rate"] == "on_time")
    assert rate["terms"] == [
        {
            "numerator": {"quantity": "on_time_or_within_time", "known": None, "shown": 2},
            "denominator": {"quantity": "received_and_carried_over", "known": 4, "shown": 4},
        }
    ]
    assert rate["known"] == {"ratio": None, "score": None}
    assert rate["shown"] == {"ratio": 50, "score": 10}
    assert [remark["note"] for remark in rate["remarks"]] == ["unknown"]
    (step,) = (one for one in made["total"]["rates"] if one["rate"] == "DOSSIER_SYNC_IN_TIME")
    assert step["terms"][0]["numerator"]["known"] == 0


def test_csv_has_a_line_for_every_term_and_total_of_every_unit(ledger: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(told(*MARCH, "--csv"))))
    assert tuple(lines[0]) == CSV_COLUMNS
    terms = sum(len(packaged().versions(code)[-1].terms) for code in packaged().codes)
    assert len(lines) == 3 * (terms + len(packaged().blocks) + 1)
    (line,) = (one for one in lines if one["unit"] == UNITS[0] and one["rate"] == "on_time")
    assert (line["numerator"], line["denominator"], line["ratio"], line["score"]) == (
        *("1", "2"),
        *("50", "10"),
    )
    (total,) = (
        one
        for one in lines
        if (one["kind"], one["rate"], one["block"]) == ("total", "_TOTAL", "dvc-progress-tree")
    )
    assert (total["score"], total["score_shown"], total["maximum"]) == ("", "10", "20")
    only = list(csv.DictReader(io.StringIO(told(*MARCH, "--csv", "--rate", "on_time"))))
    assert [one["unit"] for one in only] == [UNITS[0], UNITS[1], ""]


def test_what_no_dossier_has_is_warned_of(ledger: Path) -> None:
    ended = run("rates", *MARCH, "--procedure", "9.999999", "--json")
    assert ended.exit_code == 0
    assert "không có hồ sơ nào của thủ tục" in ended.stderr
    assert run("rates", *MARCH, "--procedure", "1.000001").stderr == ""
    made = asked(*MARCH, "--sector", "S1", "--agency", UNITS[0], "--rate", "on_time")
    assert made["total"]["rates"][0]["known"] == {"ratio": 50, "score": 10}


# --- dossiers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("on_time", [("a", True), ("b", True), ("c", True), ("d", True)]),
        ("on_time:denominator", [("a", True), ("b", True), ("c", True), ("d", True)]),
        ("on_time:numerator", [("a", True), ("c", True), ("d", None)]),
        ("on_time:missing", [("b", False)]),
        ("DOSSIER_SYNC:missing", [("a", False), ("b", False), ("c", False), ("d", False)]),
        ("DOSSIER_SYNC", [("a", True), ("b", True), ("c", True), ("d", True)]),
        ("DOSSIER_SYNC_IN_TIME:numerator", []),
        ("DOSSIER_SYNC_IN_TIME:missing", [("a", True), ("b", True), ("c", True), ("d", True)]),
    ],
)
def test_the_dossiers_behind_a_rate(
    ledger: Path, wanted: str, found: list[tuple[str, bool | None]]
) -> None:
    page = asked(*MARCH, "--dossiers", wanted)
    assert [(one["dossier_id"], one["counts"]) for one in page["dossiers"]] == found
    assert page["after"] is None


def test_dossiers_come_in_pages(ledger: Path) -> None:
    wanted = (*MARCH, "--dossiers", "on_time", "--limit", "3")
    first = asked(*wanted)
    assert [one["dossier_id"] for one in first["dossiers"]] == ["a", "b", "c"]
    assert first["after"] == "c"
    second = asked(*wanted, "--after", "c")
    assert [one["dossier_id"] for one in second["dossiers"]] == ["d"]
    assert second["after"] is None
    assert "trang sau: --after c" in run("rates", *wanted).stderr
    assert "trang sau: --after c" in run("rates", *wanted, "--csv").stderr


def test_a_list_of_dossiers_for_people_and_as_csv(ledger: Path) -> None:
    lines = told(*MARCH, "--dossiers", "on_time:missing", "--agency", UNITS[0]).splitlines()
    assert lines[0].startswith("hồ sơ đã xử lý trước hạn")
    for part in (f"{UNITS[0]}-b", "quá hạn · late", "quá ngày hẹn trả", "09/03/2026 10:00"):
        assert part in lines[2]
    table = told(*MARCH, "--dossiers", "on_time:numerator", "--csv").splitlines()
    assert table[0] == "code,dossier_id,agency,counts,verdict,late_because,end_at"
    assert table[1].startswith(f"{UNITS[0]}-a,a,{UNITS[0]},1,early,,2026-03-05T03:00")
    assert table[3].split(",")[3:5] == ["", "undated"]


# --- formula -----------------------------------------------------------------------------------------


def test_a_formula_is_told_in_words_and_then_with_its_numbers(ledger: Path) -> None:
    text = told(*MARCH, "--explain", "on_time", "--agency", UNITS[0])
    words, numbers = text.index("tỷ lệ = 100 × [hồ sơ"), text.index("tỷ lệ = 100 × 1 / 2 = 50 %")
    assert words < numbers
    assert "nhỏ hơn trong 20 và 50 × 20 / 100 = 10" in text
    found = asked(*MARCH, "--explain", "dvc-progress-tree")
    assert found["period"] == "2026-03"
    assert found["told"][0]["lines"][0]["vi"] == "on_time: – (Cổng 10), tối đa 20"


@pytest.mark.parametrize("code", [*packaged().codes, *packaged().blocks])
def test_every_code_can_be_told_with_numbers(ledger: Path, code: str) -> None:
    assert asked(*MARCH, "--explain", code)["told"][-1]["code"] == code


# --- what is wrong -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--period", "03/2026"), "--period: viết kỳ theo dạng 2026-08"),
        (("--period", "2026-13"), "--period: write a period as"),
        (("--period", "2099-01"), "--period: kỳ chưa bắt đầu"),
        ((*MARCH, "--rate", "ontime"), "gần giống: on_time"),
        ((*MARCH, "--explain", "[red]"), "không có tỷ lệ [red]"),
        ((*MARCH, "--explain", "dvc-progress"), "near: dvc-progress-tree"),
        ((*MARCH, "--agency", "H12.04"), f"không có cơ quan H12.04; gần giống: {UNITS[2]}"),
        ((*MARCH, "--json", "--csv"), "chọn --json hoặc --csv"),
        ((*MARCH, "--dossiers", "on_time", "--explain", "on_time"), "choose --dossiers or"),
        ((*MARCH, "--dossiers", "ontime"), "no rate ontime"),
        ((*MARCH, "--dossiers", "on_time:both"), "choose one of numerator, denominator, missing"),
        ((*MARCH, "--dossiers", "PETITION_PROCESSING_ON_TIME"), "counts petitions, not dossiers"),
        ((*MARCH, "--dossiers", "DOSSIER_RECEIVING_SATISFACTION:numerator"), "needs ratings"),
        (("--period", "2024-03", "--dossiers", "DOSSIER_SYNC_IN_TIME:missing"), "no longer keeps"),
    ],
    ids=[
        *("written otherwise", "no month", "future", "rate", "markup", "block", "agency", "two forms"),
        *("two questions", "rate of dossiers", "side", "petitions", "elsewhere", "pruned"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_ends_with_status_2_and_says_why(
    ledger: Path, arguments: tuple[str, ...], words: str
) -> None:
    ended = run("rates", *arguments)
    assert ended.exit_code == 2
    assert ended.stdout == ""
    assert words in ended.stderr


def test_a_directory_with_mistakes_ends_with_status_2_and_names_all(directory: Path) -> None:
    directory.write_text(DIRECTORY.replace(f"{UNITS[0]},Sở A,H12", f"{UNITS[0]},Sở A,"), "utf-8")
    ended = run("rates", *MARCH)
    assert ended.exit_code == 2
    assert "dòng 3, cột parent: để trống" in ended.stderr


def test_a_ledger_that_is_not_there_ends_with_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, LEDGER_URL=f"sqlite:///{tmp_path}/none.db")
    ended = run("rates", *MARCH)
    assert ended.exit_code == 1
    assert "thongsuot db upgrade" in ended.stderr
    clear_environment(monkeypatch)
    assert run("rates", *MARCH).exit_code == 2
