"""What the contract forbids is refused with a Fault of the caller, and leaves no trace in the truth."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from lxml import etree

from tests.unit.national_portal_simulator.soap_calls import (
    HEADER,
    SOAP,
    XML,
    XROAD,
    Caller,
    dossier,
    envelope,
    step,
)

CODE = "H12.01-261123-0001"


@pytest.mark.parametrize(
    ("field", "item"),
    [
        ("MaHoSo", dossier("H" * 51)),
        ("MaHoSo", dossier("")),
        ("MaTTHC", dossier(MaTTHC="1" * 51)),
        ("TenTTHC", dossier(TenTTHC=None)),
        ("TrichYeuHoSo", dossier(TrichYeuHoSo="ă" * 1001)),
        ("TrichYeuHoSo", dossier(TrichYeuHoSo="")),
        ("GhiChu", dossier(GhiChu="ă" * 2001)),
        ("NgayTiepNhan", dossier(NgayTiepNhan="2026-11-23T08:00:00")),
        ("NgayHenTra", dossier(NgayHenTra="٢٠٢٦١١٣٠١٧٠٠٠٠")),
        ("NgayHenTra", dossier(NgayHenTra="20261131170000")),
        ("TrangThaiHoSo", dossier(TrangThaiHoSo="11")),
        ("TrangThaiHoSo", dossier(TrangThaiHoSo="0")),
        ("HinhThuc", dossier(HinhThuc="")),
        ("DonViXuLy", dossier(DonViXuLy=None)),
        ("Gia", dossier(DanhSachLePhi=[{"Gia": "50000.5"}])),
        ("IsDeleted", dossier(TaiLieuNop=[{"IsDeleted": "true"}])),
        ("TenTepDinhKem", dossier(TaiLieuNop=[{"TenTepDinhKem": "a" * 4001}])),
        ("TenGiayTo", dossier(DanhSachGiayToKetQua=[{"TenGiayTo": "a" * 2001}])),
        ("DuocSoHoa", dossier(TaiLieuNop=[{"DuocSoHoa": "2"}])),
        ("SoDinhDanh", dossier(DinhDanhCHS=[{"LoaiDinhDanh": "1"}])),
        ("unknown", dossier(unknown="x")),
    ],
)
async def test_a_state_that_breaks_the_contract(
    caller: Caller, field: str, item: dict[str, Any]
) -> None:
    answer = await caller.create(item)
    assert answer.status == 500
    assert answer.fault is not None
    assert answer.fault.startswith("soap:Client: ")
    if field != "SoDinhDanh":  # a missing element is reported at its parent
        assert field in answer.fault or "DongBoHoSoMC.data" in answer.fault
    assert (await caller.summary())["effects"] == 0


@pytest.mark.parametrize(
    "item",
    [
        step(NguoiXuLy="ă" * 51),
        step(NoiDungXuLy=""),
        step(ThoiDiemXuLy=""),
        step(ThoiDiemXuLy="20260230081500"),
        step(TrangThai="12"),
    ],
)
async def test_a_step_that_breaks_the_contract(caller: Caller, item: dict[str, Any]) -> None:
    await caller.create(dossier())
    answer = await caller.append(item)
    assert answer.status == 500
    assert (await caller.summary())["steps"] == 0


async def test_every_length_at_its_limit_is_taken(caller: Caller) -> None:
    item = dossier(
        "H" * 50,
        MaTTHC="1" * 50,
        TrichYeuHoSo="ă" * 1000,
        GhiChu="ă" * 2000,
        TaiLieuNop=[{"TenTepDinhKem": "ă" * 4000}],
        DanhSachGiayToKetQua=[{"TenGiayTo": "ă" * 2000}],
    )
    assert (await caller.create(item)).code == "0"
    assert (await caller.append(step("H" * 50, NguoiXuLy="ă" * 50))).code == "0"


async def test_a_fault_repeats_no_content(caller: Caller) -> None:
    answer = await caller.create(dossier(SoDienThoai="0912000000", LoaiDoiTuong="0912000000"))
    assert answer.status == 500
    assert b"0912000000" not in answer.body


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"not XML", "well-formed"),
        (b"<a/>", "Envelope"),
        (
            b'<!DOCTYPE e [<!ENTITY x "y">]><s:Envelope xmlns:s="' + SOAP.encode() + b'"/>',
            "document type",
        ),
        (
            f'<s:Envelope xmlns:s="{SOAP}"><s:Body/></s:Envelope>'.encode(),
            "exactly one wrapper",
        ),
        (
            f'<s:Envelope xmlns:s="{SOAP}"><s:Body><login/></s:Body></s:Envelope>'.encode(),
            "operations",
        ),
    ],
)
async def test_an_envelope_that_is_none(caller: Caller, body: bytes, said: str) -> None:
    answer = await caller.post(body)
    assert answer.status == 500
    assert said in (answer.fault or "")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (HEADER.replace("<xrd:id>{message_id}</xrd:id>", ""), "missing: id"),
        (HEADER.replace("{operation}", "login"), "serviceCode"),
        (HEADER.replace("4.0", "3.0"), "protocolVersion"),
        (HEADER.replace("SUBSYSTEM", "SYSTEM"), "client"),
        (HEADER + "<xrd:userId>VN1</xrd:userId><xrd:userId>VN2</xrd:userId>", "twice"),
        (HEADER + '<xrd:requestHash algorithmId="a">b</xrd:requestHash>', "requestHash"),
        ("", "missing: client, id, protocolVersion"),
    ],
)
async def test_headers_that_break_the_protocol(caller: Caller, header: str, said: str) -> None:
    fields = {"session": caller.session, "madonvi": "H12", "mahoso": CODE}
    body = envelope(caller.namespace, "TraCuuHoSo", fields, header=header)
    answer = await caller.post(body)
    assert answer.status == 500
    assert said in (answer.fault or "")


async def test_soap_needs_its_content_type(caller: Caller) -> None:
    answer = await caller.post(b"{}", {"Content-Type": "application/json"})
    assert answer.status == 415


async def test_an_answer_brings_the_headers_back_in_order_with_the_hash_of_the_request(
    caller: Caller,
) -> None:
    fields = {"session": caller.session, "madonvi": "H12", "mahoso": CODE}
    body = envelope(caller.namespace, "TraCuuHoSo", fields, message_id="m-1")
    answer = await caller.post(body)
    sent = etree.fromstring(body)[0]
    *copied, request_hash = answer.root[0]
    assert [etree.tostring(each, method="c14n", exclusive=True) for each in copied] == [
        etree.tostring(each, method="c14n", exclusive=True) for each in sent
    ]
    assert request_hash.tag == f"{{{XROAD}}}requestHash"
    assert request_hash.text == base64.b64encode(hashlib.sha512(body).digest()).decode()


async def test_the_wsdl_names_this_portal_and_its_schemas_can_be_fetched(caller: Caller) -> None:
    async with caller.http.get(caller.portal.url + "?wsdl") as response:
        wsdl = etree.fromstring(await response.read())
    (address,) = wsdl.iter("{http://schemas.xmlsoap.org/wsdl/soap/}address")
    assert address.get("location") == caller.portal.url
    locations = {each.get("schemaLocation") for each in wsdl.iter("{*}import")}
    assert locations == {"portal.xsd", "xroad.xsd"}
    for location in (*locations, "identifiers.xsd"):
        url = caller.portal.url.rpartition("/")[0] + f"/{location}"
        async with caller.http.get(url) as response:
            assert etree.QName(etree.fromstring(await response.read())).localname == "schema"
    async with caller.http.get(caller.portal.url.rpartition("/")[0] + "/other.xsd") as response:
        assert response.status == 404


async def test_calls_that_were_refused_are_in_the_truth(caller: Caller) -> None:
    await caller.post(b"not XML", XML)
    calls = (await caller.control("GET", "/_truth/calls"))["calls"]
    assert [each["verdict"] for each in calls] == ["done", "invalid"]
