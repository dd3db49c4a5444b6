"""`thongsuot report`: a report's whole way by the commands, what is refused, what `--json` holds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

import streams.reporting.commands as command
from schemas.reports.snapshots import Imbalance
from streams.reporting import wiring
from streams.reporting.counting import Filling
from tests.unit.cli.running import run, set_environment
from tests.unit.dossier.samples import at
from tests.unit.reporting.world import (
    Counted,
    Packs,
    Province,
    Told,
    province,
)

AFTER_CUT_OFF = "2026-03-16 08:00"


class Office:
    """A ledger with a frozen report of March, and the commands' clock."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.now = at(AFTER_CUT_OFF)
        self.counted = Counted()
        set_environment(
            patch, LEDGER_URL=f"sqlite:///{folder / 'ledger.db'}", REPORTING__AGENCY="H12"
        )
        patch.setattr(command, "_now", lambda: self.now)
        patch.setattr(wiring, "fillings", lambda *_: {"II.06": Filling(self.counted, Packs())})
        self.play(self._begin)

    def play(self, what: Callable[[Province], Any]) -> Any:
        async def played() -> Any:
            async with province(self.folder) as ours:
                if not self.counted.told:
                    self.counted.told = ours.counted.told
                ours.counted = self.counted
                ours.clock.now = self.now
                return await what(ours)

        return asyncio.run(played())

    async def _begin(self, ours: Province) -> None:
        ours.clock.set("2026-02-20 08:00")
        await ours.turn()
        ours.clock.now = self.now
        await ours.turn()

    def turn(self) -> None:
        async def work(ours: Province) -> None:
            await ours.turn()

        self.play(work)

    def hash(self) -> str:
        return str(told(run("report", "show", "2026-03", "--json"))["take"]["snapshot_hash"])


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    return Office(tmp_path, monkeypatch)


def told(ended: Result) -> Any:
    assert ended.exit_code == 0, ended.stderr
    (line,) = ended.stdout.splitlines()
    return json.loads(line)


def done(*arguments: str) -> str:
    ended = run("report", *arguments)
    assert ended.exit_code == 0, ended.stderr
    return ended.stdout


def refused(*arguments: str) -> str:
    ended = run("report", *arguments)
    assert ended.exit_code == 2, ended.stdout
    return ended.stderr


def test_a_report_goes_its_whole_way_by_the_commands(office: Office, tmp_path: Path) -> None:
    found = told(run("report", "periods", "--json"))
    states = {one["period"]: one["state"] for one in found["reports"]}
    assert states == {"2026-02": "confirming", "2026-03": "confirming", "2026-04": "open"}
    for unit in ("H12.01", "H12.02"):
        done("confirm", "2026-03", "--unit", unit, "--name", "Trần Thị Mẫu")
    done("verify", "2026-03", "--name", "Trần Thị Mẫu")
    seen = office.hash()
    done("approve", "2026-03", "--hash", seen, "--name", "Lê Văn Thử")
    assert "đã gửi" in done("submit", "2026-03", "--name", "Lê Văn Thử")
    office.turn()
    ended = told(run("report", "status", "2026-03", "--json"))
    assert ended["state"] == "submitted"
    assert {one["state"] for one in ended["packets"]} == {"published"}
    story = [(one["action"], one["actor"]["name"]) for one in ended["story"]]
    assert story[-2:] == [("approve", "Lê Văn Thử"), ("submit", "Lê Văn Thử")]
    assert not any(one["actor"]["signed_in"] for one in ended["story"])
    assert ended["story"][-2]["snapshot_hash"] == seen


def test_what_was_sent_comes_out_again_byte_for_byte(office: Office, tmp_path: Path) -> None:
    async def send(ours: Province) -> bytes:
        await ours.sent()
        (packet,) = [p for p in await ours.packets() if p.form == "II.06b"]
        return packet.content

    content = office.play(send)
    office.counted.told.append(
        Told("d9", at("2026-03-16 07:00"), "H12.02", at("2026-03-01 08:00").date())
    )
    file = tmp_path / "again.json"
    done("again", "2026-03", "--form", "II.06b", "--output", str(file))
    assert file.read_bytes() == content
    ended = run("report", "again", "2026-03", "--form", "II.06b")
    assert ended.stdout_bytes == content
    assert "II.06a, II.06b" in refused("again", "2026-03")


def test_before_anything_was_sent_there_is_nothing_to_show_again(office: Office) -> None:
    assert "chưa gửi bản nào" in refused("again", "2026-03", "--form", "II.06a")


def test_show_tells_the_figures_and_what_whoever_signs_must_know(office: Office) -> None:
    shown = done("show", "2026-03")
    assert (
        "2 đơn vị chưa xác nhận: H12.01, H12.02" in shown + run("report", "show", "2026-03").stderr
    )
    rows = [line.split() for line in shown.splitlines()]
    assert ["H12.01", "1", "0", "1"] in rows
    assert ["H12.02", "1", "1", "0"] in rows
    assert office.hash() in shown


def test_the_dossiers_behind_a_figure_are_named(office: Office) -> None:
    found = told(
        run("report", "show", "2026-03", "--dossiers", "c11", "--unit", "H12.01", "--json")
    )
    assert found == [{"dossier_id": "d1", "code": "code-d1"}]
    assert "c3, c7, c11" in refused("show", "2026-03", "--dossiers", "c99")
    assert "H12.01" in refused("show", "2026-03", "--unit", "H12.1")


def test_an_open_report_is_shown_as_of_now_and_says_that_nothing_is_frozen(office: Office) -> None:
    ended = run("report", "show", "2026-04")
    assert ended.exit_code == 0
    assert "chưa chốt" in ended.stderr
    assert told(run("report", "show", "2026-04", "--json"))["take"] is None


def test_imbalances_provisional_figures_and_jumps_are_shown(office: Office) -> None:
    office.counted.imbalances = (
        Imbalance(
            identity="c3=c7+c11",
            agency="H12.01",
            sector=None,
            procedure="P1",
            left=3,
            right=2,
            dossiers=("code-d1",),
        ),
    )
    office.counted.provisional = {"unmapped": 4}
    office.counted.told += [
        Told(f"x{n}", at("2026-03-10 08:00"), "H12.01", at("2026-03-10 08:00").date())
        for n in range(20)
    ]
    done("revise", "2026-03", "--reason", "thử", "--name", "Trần Thị Mẫu")
    said = run("report", "show", "2026-03").stderr
    assert "không cân c3=c7+c11: H12.01 / chưa rõ mã / P1: 3 ≠ 2; hồ sơ: code-d1" in said
    assert "số liệu tạm: 4 hồ sơ (trạng thái chưa được ánh xạ)" in said
    assert "H12.01 c3: kỳ trước 0, kỳ này 21" in said
    assert "không cân" in refused("verify", "2026-03", "--name", "Trần Thị Mẫu", "--reason", "gấp")


def test_diff_says_which_dossier_was_where_and_is_where_now(office: Office) -> None:
    assert "không hồ sơ nào đổi" in done("diff", "2026-03")
    office.counted.told.append(
        Told("d9", at("2026-03-16 07:00"), "H12.02", at("2026-03-01 08:00").date())
    )
    found = told(run("report", "diff", "2026-03", "--json"))
    (change,) = found["changes"]
    assert (change["code"], change["was"], change["now"]) == ("code-d9", None, "H12.02 c11")
    assert change["why"] == "arrived_late"
    assert "code-d9" in done("diff", "2026-03")


def test_an_answer_that_came_otherwise_is_recorded_with_who_did_it(office: Office) -> None:
    async def send(ours: Province) -> None:
        await ours.sent()

    office.play(send)
    assert "--name" in refused("status", "2026-03", "--record", "returned")
    ended = done(
        "status", "2026-03", "--record", "returned", "--form", "II.06a", "--name", "Lê Văn Thử"
    )
    assert "bị trả lại" in ended
    assert "không nêu lý do" in ended
    assert "cần người hỏi lại" in ended


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "2026-3"), "2026-08 (tháng)"),
        (("show", "2031-03"), "không có báo cáo này"),
        (("confirm", "2026-03", "--unit", "H12.77", "--name", "A"), "không có trong báo cáo"),
        (("confirm", "2026-03", "--unit", "H12.01", "--name", " "), "--name"),
        (("confirm", "2026-04", "--unit", "H12.01", "--name", "A"), "chưa chốt số liệu"),
        (("verify", "2026-03", "--name", "A"), "chưa hết hạn của đơn vị"),
        (("approve", "2026-03", "--hash", "0" * 64, "--name", "A"), "không làm được ở bước này"),
        (("submit", "2026-03", "--name", "A"), "không làm được ở bước này"),
        (("revise", "2026-03", "--reason", " ", "--name", "A"), "--reason"),
        (("object", "2026-03", "--unit", "H12.01", "--dossier", "x", "--name", "A"), "--settle"),
        (
            (
                *("object", "2026-03", "--unit", "H12.01", "--dossier", "x"),
                *("--name", "A", "--reason", "not_ours"),
            ),
            "sổ cái không có hồ sơ",
        ),
        (("show", "2026-03", "--regime", "BC.9"), "không có báo cáo này"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_remedy(
    office: Office, arguments: tuple[str, ...], said: str
) -> None:
    assert said in refused(*arguments)


def test_two_signers_at_different_desks_the_second_is_told_who_and_when(office: Office) -> None:
    async def approve(ours: Province) -> str:
        return (await ours.approved()).snapshot_hash

    seen = office.play(approve)
    said = refused("approve", "2026-03", "--hash", seen, "--name", "Người Khác")
    assert "Lê Văn Thử" in said
    assert "đã được duyệt" in said


def test_after_the_due_date_a_reason_is_asked_for_and_the_report_marked(office: Office) -> None:
    async def approve(ours: Province) -> None:
        await ours.approved()

    office.play(approve)
    office.now = at("2026-03-26 08:00")
    assert "đã quá hạn gửi" in refused("submit", "2026-03", "--name", "Lê Văn Thử")
    ended = run(
        "report", "submit", "2026-03", "--name", "Lê Văn Thử", "--reason", "mất điện", "--json"
    )
    assert told(ended)["take"]["late"] is True


def test_without_an_agency_there_are_no_reports_and_the_setting_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, LEDGER_URL=f"sqlite:///{tmp_path / 'ledger.db'}")
    assert "THONGSUOT_REPORTING__AGENCY" in refused("periods")


def test_with_several_regimes_one_must_be_named(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "THONGSUOT_REPORTING__REGIMES", '{"II.06": {}, "BC.9": {"calendar": "civil"}}'
    )
    assert "II.06, BC.9" in refused("show", "2026-03")


def test_a_ledger_that_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'none' / 'ledger.db'}"
    set_environment(monkeypatch, LEDGER_URL=url, REPORTING__AGENCY="H12")
    assert run("report", "periods").exit_code == 1
