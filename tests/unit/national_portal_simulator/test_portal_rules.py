"""Creation, update, steps, sessions and look-ups, as the contract describes them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.national_portal_simulator.soap_calls import Caller, dossier, step

CODE = "H12.01-261123-0001"


async def test_a_dossier_from_creation_to_its_steps(caller: Caller) -> None:
    answer = await caller.create(dossier(), message_id="m-1")
    assert (answer.status, answer.code) == (200, "0")
    assert "thành công" in (answer.text("message") or "")
    await caller.append(step(), step(NoiDungXuLy="Thẩm định", TrangThai="4"))
    await caller.update(dossier(TrangThaiHoSo="4"))
    await caller.append(step(NoiDungXuLy="Trả kết quả", TrangThai="10"))

    held = await caller.held(CODE)
    assert held is not None
    assert held["origin"] == "province"
    assert held["status"] == "4"
    assert held["received"] == "2026-11-23T08:00:00+07:00"
    assert (held["components"], held["results"]) == (1, 0)
    assert held["fields"]["ChuHoSo"] == "Trần Thị Thử Nghiệm"
    assert held["fields"]["DanhSachLePhi"] == [{"TenPhiLePhi": "Phí", "Gia": "50000"}]
    assert [each["kind"] for each in held["versions"]] == ["creation", "change"]
    assert held["versions"][0]["message_id"] == "m-1"
    assert [each["text"] for each in held["steps"]] == ["Tiếp nhận", "Thẩm định", "Trả kết quả"]
    order = [each["effect"] for each in (*held["versions"], *held["steps"])]
    assert order == [1, 4, 2, 3, 5]


async def test_creating_twice_is_refused_and_changes_nothing(caller: Caller) -> None:
    await caller.create(dossier())
    answer = await caller.create(dossier(TrangThaiHoSo="4"))
    assert (answer.code, answer.text("message")) == ("-3", "Hồ sơ đã tồn tại")
    held = await caller.held(CODE)
    assert held is not None
    assert held["status"] == "2"


async def test_updating_the_unknown_is_refused(caller: Caller) -> None:
    answer = await caller.update(dossier())
    assert answer.code == "-4"
    assert "không tồn tại" in (answer.text("message") or "")
    assert await caller.held(CODE) is None


async def test_an_identical_update_is_a_call_and_no_effect(caller: Caller) -> None:
    await caller.create(dossier())
    answer = await caller.update(dossier(GhiChu=None))  # absent and empty are the same
    assert answer.code == "0"
    summary = await caller.summary()
    assert (summary["effects"], summary["changes"], summary["duplicate_calls"]) == (1, 0, 1)


async def test_several_dossiers_in_one_call_have_one_verdict(caller: Caller) -> None:
    await caller.create(dossier("A"))
    answer = await caller.write([dossier("B"), dossier("A")], updating=False)
    assert answer.code == "-3"
    assert await caller.held("B") is None


async def test_steps_of_an_unknown_dossier_are_refused(caller: Caller) -> None:
    answer = await caller.append(step())
    assert answer.code == "-4"
    assert (await caller.summary())["steps"] == 0


async def test_the_same_step_again_is_another_step_unless_the_portal_compares(
    caller: Caller,
) -> None:
    await caller.create(dossier())
    await caller.append(step())
    await caller.append(step())
    assert (await caller.summary())["steps"] == 2
    await caller.profile(steps_dedup=True)
    answer = await caller.append(step(), step(NoiDungXuLy="Thẩm định"))
    assert answer.code == "0"
    assert (await caller.summary())["steps"] == 3


@pytest.mark.parametrize(("atomic", "kept"), [(False, 1), (True, 0)])
async def test_a_chunk_that_fails_in_the_middle(caller: Caller, atomic: bool, kept: int) -> None:
    await caller.profile(chunk_atomic=atomic)
    await caller.create(dossier("A"))
    answer = await caller.append(step("A"), step("B"), step("A"))
    assert answer.code == "-4"
    assert (await caller.summary())["steps"] == kept
    calls = (await caller.control("GET", "/_truth/calls?code=B"))["calls"]
    assert [(each["items"], each["effects"]) for each in calls] == [(3, kept)]


async def test_a_wrong_password(caller: Caller) -> None:
    answer = await caller.log_in(password="wrong")
    assert answer.code == "-2"
    assert answer.text("session") is None


@pytest.mark.parametrize("session", ["", "made-up"])
async def test_without_a_session_nothing_goes(caller: Caller, session: str) -> None:
    caller.session = session
    for answer in (
        await caller.create(dossier()),
        await caller.append(step()),
        await caller.look_up(CODE),
        await caller.catalogue("LayDanhMucCoQuan"),
    ):
        assert answer.code == "-1"
        assert (answer.text("message") or "").startswith("Phiên làm việc")
    assert (await caller.summary())["effects"] == 0


async def test_a_session_ends_by_itself(caller: Caller) -> None:
    await caller.profile(session_seconds=0.05)
    async with asyncio.timeout(10):
        while (await caller.look_up(CODE)).code == "0":
            await asyncio.sleep(0.01)
    assert (await caller.look_up(CODE)).code == "-1"
    await caller.profile(session_seconds=600)
    await caller.log_in()
    assert (await caller.look_up(CODE)).code == "0"


EXISTENCE: dict[str, Any] = {"MaHoSo": CODE}
STATE = {
    **EXISTENCE,
    "TrangThaiHoSo": "2",
    "NgayTiepNhan": "20261123080000",
    "NgayHenTra": "20261130170000",
    "SoThanhPhan": "1",
    "SoKetQua": "0",
}
STEPS = {
    **STATE,
    "TienTrinh": [
        {
            "ThoiDiemXuLy": "20261123081500",
            "NguoiXuLy": "Lê Văn Thử",
            "TrangThai": "2",
            "NoiDungXuLy": text,
        }
        for text in ("Tiếp nhận", "Chuyển xử lý")
    ],
}


@pytest.mark.parametrize(
    ("lookup", "item"), [("existence", EXISTENCE), ("state", STATE), ("steps", STEPS)]
)
async def test_a_look_up_tells_as_much_as_the_profile_says(
    caller: Caller, lookup: str, item: dict[str, Any]
) -> None:
    await caller.profile(lookup=lookup)
    await caller.create(dossier())
    await caller.append(step(), step(NoiDungXuLy="Chuyển xử lý"))
    before = await caller.summary()
    answer = await caller.look_up(CODE)
    assert (answer.code, answer.items) == ("0", [item])
    absent = await caller.look_up("other")
    assert (absent.code, absent.items) == ("0", [])
    assert (await caller.summary())["effects"] == before["effects"]


async def test_stale_look_ups_answer_from_the_past(caller: Caller) -> None:
    await caller.profile(lookup="steps", stale_seconds=3600)
    await caller.create(dossier())
    await caller.append(step())
    assert (await caller.look_up(CODE)).items == []
    await caller.profile(stale_seconds=0)
    assert (await caller.look_up(CODE)).items[0]["TienTrinh"][0]["NoiDungXuLy"] == "Tiếp nhận"


async def test_failing_look_ups(caller: Caller) -> None:
    await caller.profile(failing_lookups=True)
    answer = await caller.look_up(CODE)
    assert (answer.status, (answer.fault or "")[:11]) == (500, "soap:Server")
    assert (await caller.create(dossier())).code == "0"


async def test_calls_beyond_the_quota(caller: Caller) -> None:
    await caller.profile(quota_per_second=1)
    answers = [await caller.create(dossier(f"Q-{number}")) for number in range(6)]
    refused = [each for each in answers if each.status == 429]
    assert refused
    assert refused[0].headers["Retry-After"] == "1"
    summary = await caller.summary()
    assert summary["verdicts"]["over_quota"] == len(refused)
    assert summary["creations"] == len(answers) - len(refused)


async def test_catalogues(caller: Caller) -> None:
    listed = (await caller.catalogue("LayDanhSachTTHC")).items
    assert len(listed) == 40
    detail = (await caller.catalogue("LayThuTuc", maTTHC=listed[0]["MATTHC"])).items
    assert [each["TENTTHC"] for each in detail] == [listed[0]["TENTTHC"]]
    assert detail[0]["LINHVUCTHUCHIEN"][0]["MALINHVUC"] == "G04-GT02"
    assert (await caller.catalogue("LayThuTuc", maTTHC="9.999999")).items == []
    agencies = {
        each["MADONVI"]: each["TENDONVI"]
        for each in (await caller.catalogue("LayDanhMucCoQuan")).items
    }
    assert "Cà Mau" in agencies["H12"]
    assert "H04" not in agencies  # closed on 1 July 2025
