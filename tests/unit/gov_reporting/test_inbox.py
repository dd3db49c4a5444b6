"""Incoming packets: every one is read or handed over as refused, in order, and none is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors.errors import TransientError
from connectors.gov_reporting.elements import load_elements
from connectors.gov_reporting.inbox import Inbox, Page, Received, Refused
from connectors.gov_reporting.simulator import ReportingSimulator
from connectors.gov_reporting.simulator.troubles import Rule
from connectors.gov_reporting.sink import GovReporting
from schemas.reasons import Reason
from schemas.reports import packets as p
from schemas.reports.kinds import INCOMING, PacketKind
from tests.unit.gov_reporting import samples
from tests.unit.national_portal.raw_server import RawServer, http

ELEMENTS = load_elements()


@asynccontextmanager
async def inbox_of(folder: Path, **changes: Any) -> AsyncIterator[tuple[ReportingSimulator, Inbox]]:
    async with ReportingSimulator(folder / "truth.db", profile=samples.profile()) as system:
        travel = samples.soap(system) if changes.pop("soap", False) else {}
        inbox = Inbox(samples.settings(system, **(travel | changes)), ELEMENTS)
        await inbox.open()
        try:
            yield system, inbox
        finally:
            await inbox.close()


async def everything(inbox: Inbox, cursor: str | None = None) -> list[Received | Refused]:
    found: list[Received | Refused] = []
    while True:
        page = await inbox.read(cursor)
        found += page.packets
        cursor = page.cursor
        if not page.more:
            return found


@pytest.mark.parametrize(
    "how",
    [{"encoding": "xml"}, {"encoding": "json"}, {"soap": True}],
    ids=["xml", "json", "soap"],
)
async def test_all_kinds_that_come_in_are_read_page_by_page(
    tmp_path: Path, how: dict[str, Any]
) -> None:
    async with inbox_of(tmp_path, inbox_page=4, **how) as (system, inbox):
        assert await inbox.read(None) == Page(packets=(), cursor=None, more=False)
        sent = await system.desk.run(system.receiver.publish)
        system.receiver.profile = samples.profile(decide="return")
        await _submit(system)
        found = await everything(inbox)
    assert [each.number for each in found] == [str(n) for n in range(1, sent + 2)]
    assert all(isinstance(each, Received) for each in found)
    read = [each for each in found if isinstance(each, Received)]
    assert {each.envelope.kind for each in read} == INCOMING
    regime = read[0].content
    assert isinstance(regime, p.Regime)
    assert (regime.code, regime.due_day, regime.valid_until) == ("II.06", 25, None)
    assert [form.kind for form in regime.forms] == [PacketKind.FIGURES] * 2
    assert p.PeriodType.HALF in regime.period_types
    status = read[-1].content
    assert isinstance(status, p.ReportStatus)
    assert status.report_id == samples.packet().report_id
    assert (status.state, len(status.reasons)) == (p.ReportState.RETURNED, 2)
    assert read[-1].content_hash == p.content_hash(status)
    assert read[-1].raw


async def _submit(system: ReportingSimulator) -> None:
    sink = GovReporting(samples.settings(system), ELEMENTS, samples.SEALER, samples.HASHER)
    await sink.open()
    try:
        request = sink.state_request(samples.packet(), samples.CODES)
        await sink.create(request, samples.intent())
    finally:
        await sink.close()


async def test_a_return_may_come_without_a_reason(tmp_path: Path) -> None:
    async with inbox_of(tmp_path) as (system, inbox):
        await _submit(system)
        report = samples.packet().report_id
        for state in ("TRALAI", "YEUCAUSUA", "CHAPNHAN"):
            await system.desk.run(lambda state=state: system.receiver.decide_report(report, state))
        contents = [each.content for each in await everything(inbox) if isinstance(each, Received)]
    states = [each.state for each in contents if isinstance(each, p.ReportStatus)]
    assert states == [
        p.ReportState.RETURNED,
        p.ReportState.CORRECTION_ASKED,
        p.ReportState.ACCEPTED,
    ]
    assert all(each.reasons == () for each in contents if isinstance(each, p.ReportStatus))


BROKEN = (
    "<GoiTin",
    "không phải gói tin của Trần Thị Mộng Kiều",
    "<GoiTin xmlns='urn:vn:thongsuot:bao-cao:1'/>",
    "<GoiTin xmlns='urn:khac'><TieuDe/></GoiTin>",
    "<!DOCTYPE x [<!ENTITY e 'y'>]><GoiTin xmlns='urn:vn:thongsuot:bao-cao:1'>&e;</GoiTin>",
    "",
)


async def test_what_cannot_be_read_is_handed_over_whole_and_holds_up_nothing(
    tmp_path: Path,
) -> None:
    async with inbox_of(tmp_path, inbox_page=3) as (system, inbox):
        for text in BROKEN:
            await system.desk.run(lambda text=text: system.truth.send(text))
        await system.desk.run(system.receiver.publish)
        found = await everything(inbox)
    refused = [each for each in found if isinstance(each, Refused)]
    assert [each.number for each in refused] == [str(n + 1) for n in range(len(BROKEN))]
    assert [each.raw.decode() for each in refused] == list(BROKEN)
    assert {each.reason for each in refused} == {Reason.UNREADABLE_PAYLOAD}
    assert not any("Kiều" in each.detail or "Kiều" in repr(each) for each in refused)
    assert len(found) - len(refused) == 9


async def test_a_packet_that_only_goes_out_is_refused_when_it_comes_in(tmp_path: Path) -> None:
    content = {"DonViTinh": "hồ sơ", "LoaiSoLieu": "THUCHIEN"}
    async with inbox_of(tmp_path) as (system, inbox):
        from connectors.gov_reporting.simulator.rules import packet

        made = packet("SoLieuBaoCao", "SoLieu", content)
        await system.desk.run(lambda: system.truth.send(made))
        (found,) = await everything(inbox)
    assert isinstance(found, Refused)
    assert found.reason is Reason.IMPOSSIBLE_VALUE


@pytest.mark.parametrize(
    "trouble", ["drop", "truncated", "html_502", "html_200", "foreign_answer", "fault_200", "reset"]
)
async def test_trouble_moves_no_cursor_and_loses_nothing(tmp_path: Path, trouble: str) -> None:
    async with inbox_of(tmp_path) as (system, inbox):
        await system.desk.run(system.receiver.publish)
        await system.arm(Rule(trouble=trouble, operation="inbox"))
        with pytest.raises(TransientError):
            await inbox.read("3")
        assert [each.number for each in await everything(inbox, "3")] == [
            "4",
            "5",
            "6",
            "7",
            "8",
            "9",
        ]


async def test_an_expired_token_is_renewed_once_by_itself(tmp_path: Path) -> None:
    async with inbox_of(tmp_path) as (system, inbox):
        await system.desk.run(system.receiver.publish)
        await inbox.read(None)
        system.door_port.forget_tokens()
        assert len((await inbox.read(None)).packets) == 9
        summary = system.truth.summary()
    assert summary["calls"] == {"token": 2, "inbox": 3}
    assert summary["verdicts"]["no_token"] == 1


def _page(items: str, cursor: str) -> str:
    return (
        '<HopThu xmlns="urn:vn:thongsuot:bao-cao:1"><MaKetQua>OK</MaKetQua><MaGoiTin>{id}</MaGoiTin>'
        f"<DanhSachGoiTin>{items}</DanhSachGoiTin><ConTro>{cursor}</ConTro><ConNua>true</ConNua>"
        "</HopThu>"
    )


async def _answered_with(page: str, cursor: str | None) -> Page:
    async def reply(request: bytes, number: int) -> bytes | None:
        if b"POST /portal/token" in request:
            return http(b'{"access_token":"t"}', headers="Content-Type: application/json")
        (message_id,) = (
            line.split(b": ")[1].decode()
            for line in request.split(b"\r\n")
            if line.lower().startswith(b"x-message-id")
        )
        return http(page.replace("{id}", message_id).encode(), headers="Content-Type: text/xml")

    async with RawServer(reply) as server:
        settings = samples.settings(address=server.url, token_address=f"{server.url}/token")
        inbox = Inbox(settings, ELEMENTS)
        await inbox.open()
        try:
            return await inbox.read(cursor)
        finally:
            await inbox.close()


async def test_a_packet_may_stand_nested_in_the_page() -> None:
    nested = (
        "<Muc><So>7</So><NoiDung><GoiTin><TieuDe><MaGoiTin>m</MaGoiTin><LoaiGoiTin>DanhMucNhomChiSo"
        "</LoaiGoiTin><DonViGui>G22</DonViGui></TieuDe><NhomChiSo><DanhSachNhom><Nhom><MaNhom>N</MaNhom>"
        "<TenNhom>Tên</TenNhom></Nhom></DanhSachNhom></NhomChiSo></GoiTin></NoiDung></Muc>"
    )
    page = await _answered_with(_page(nested, "7"), None)
    (found,) = page.packets
    assert isinstance(found, Received)
    assert found.content == p.KpiGroups(groups=(p.KpiGroup(code="N", name="Tên", parent=None),))
    assert b"<MaNhom>N</MaNhom>" in found.raw
    assert (page.cursor, page.more) == ("7", True)


@pytest.mark.parametrize(
    ("items", "cursor"),
    [
        ("<Muc><So>7</So><NoiDung>x</NoiDung></Muc>", "6"),  # the cursor that we gave
        ("<Muc><So>7</So><NoiDung>x</NoiDung></Muc>", ""),
        ("<Muc><NoiDung>x</NoiDung></Muc>", "7"),
    ],
    ids=["a-cursor-that-stands-still", "no-cursor", "no-number"],
)
async def test_a_page_with_which_something_could_be_lost_is_not_taken(
    items: str, cursor: str
) -> None:
    with pytest.raises(TransientError) as refused:
        await _answered_with(_page(items, cursor), "6")
    assert refused.value.reason is Reason.UNPARSEABLE_ANSWER
