"""A caller of the simulated portal that knows no client of ours: raw XML in, raw XML out."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

import aiohttp
from lxml import etree

from connectors.national_portal.simulator import PortalSimulator

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
XROAD = "http://x-road.eu/xsd/xroad.xsd"
XML = {"Content-Type": "text/xml; charset=utf-8"}

HEADER = """\
<xrd:client id:objectType="SUBSYSTEM"><id:xRoadInstance>VN</id:xRoadInstance>\
<id:memberClass>GOV</id:memberClass><id:memberCode>000.00.00.H12</id:memberCode>\
<id:subsystemCode>hub</id:subsystemCode></xrd:client>\
<xrd:service id:objectType="SERVICE"><id:xRoadInstance>VN</id:xRoadInstance>\
<id:memberClass>GOV</id:memberClass><id:memberCode>000.00.00.G22</id:memberCode>\
<id:subsystemCode>vpcpdvcprovider</id:subsystemCode>\
<id:serviceCode>{operation}</id:serviceCode></xrd:service>\
<xrd:id>{message_id}</xrd:id><xrd:issue>{issue}</xrd:issue>\
<xrd:protocolVersion>4.0</xrd:protocolVersion>"""

Fields = Mapping[str, Any]


def elements(fields: Fields) -> str:
    """Nested mappings as elements; a list repeats its element."""
    text = ""
    for name, value in fields.items():
        for each in value if isinstance(value, list) else [value]:
            inner = elements(each) if isinstance(each, Mapping) else escape(each)
            text += f"<p:{name}>{inner}</p:{name}>"
    return text


def envelope(
    namespace: str, operation: str, fields: Fields, *, header: str = HEADER, message_id: str = ""
) -> bytes:
    head = header.format(
        operation=operation, message_id=message_id or str(uuid.uuid4()), issue="hồ sơ"
    )
    return (
        f'<soap:Envelope xmlns:soap="{SOAP}" xmlns:xrd="{XROAD}"'
        ' xmlns:id="http://x-road.eu/xsd/identifiers">'
        f"<soap:Header>{head}</soap:Header><soap:Body>"
        f'<p:{operation} xmlns:p="{namespace}">{elements(fields)}</p:{operation}>'
        "</soap:Body></soap:Envelope>"
    ).encode()


def dossier(code: str = "H12.01-261123-0001", **changes: Any) -> dict[str, Any]:
    """One item of DongBoHoSoMC, invented; ``None`` leaves a field out."""
    fields: dict[str, Any] = {
        "MaHoSo": code,
        "MaTTHC": "1.000028",
        "TenTTHC": "Cấp Giấy phép lưu hành xe quá tải trọng",
        "MaLinhVuc": "G04-GT02",
        "ChuHoSo": "Trần Thị Thử Nghiệm",
        "LoaiDoiTuong": "1",
        "TrichYeuHoSo": "Đề nghị cấp giấy phép <xe quá khổ> & vận chuyển",
        "NgayTiepNhan": "20261123080000",
        "NgayHenTra": "20261130170000",
        "TrangThaiHoSo": "2",
        "NgayTra": "",
        "HinhThuc": "0",
        "NgayKetThucXuLy": "",
        "DonViXuLy": "Sở Xây dựng",
        "GhiChu": "",
        "TaiLieuNop": [{"TenTepDinhKem": "đơn.pdf", "IsDeleted": "False"}],
        "DanhSachLePhi": [{"TenPhiLePhi": "Phí", "Gia": "50000"}],
        "DanhSachGiayToKetQua": [],
        "DSKetNoiCSDL": [{"MaCSDL": "1"}],
    }
    merged = {**fields, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def step(code: str = "H12.01-261123-0001", **changes: Any) -> dict[str, Any]:
    """One item of CapNhatTienDoHoSoMC."""
    fields = {
        "MaHoSo": code,
        "NguoiXuLy": "Lê Văn Thử",
        "ThoiDiemXuLy": "20261123081500",
        "NoiDungXuLy": "Tiếp nhận",
        "TrangThai": "2",
    }
    merged = {**fields, **changes}
    return {name: value for name, value in merged.items() if value is not None}


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def root(self) -> etree._Element:
        return etree.fromstring(self.body)

    @property
    def wrapper(self) -> etree._Element:
        body = self.root.find(f"{{{SOAP}}}Body")
        assert body is not None
        return body[0]

    @property
    def fault(self) -> str | None:
        """ "code: text" of a SOAP Fault."""
        found = self.root.find(f".//{{{SOAP}}}Fault")
        if found is None:
            return None
        return f"{found.findtext('faultcode')}: {found.findtext('faultstring')}"

    def text(self, path: str) -> str | None:
        namespace = etree.QName(self.wrapper).namespace
        return self.wrapper.findtext("/".join(f"{{{namespace}}}{each}" for each in path.split(".")))

    @property
    def code(self) -> str | None:
        return self.text("error_code")

    @property
    def items(self) -> list[dict[str, Any]]:
        """The `result` elements; leaves as text, the rest as lists."""
        return [_plain(each) for each in self.wrapper if etree.QName(each).localname == "result"]


def _plain(element: etree._Element) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for child in element:
        name = etree.QName(child).localname
        if len(child):
            plain.setdefault(name, []).append(_plain(child))
        else:
            plain[name] = child.text or ""
    return plain


class Caller:
    """Calls one simulator over HTTP and looks at its truth. Every whole answer is checked by schema."""

    def __init__(self, portal: PortalSimulator, http: aiohttp.ClientSession) -> None:
        self.portal = portal
        self.http = http
        self.namespace = portal.wire.namespace
        self.session = ""

    async def post(self, body: bytes, headers: Mapping[str, str] = XML) -> Answer:
        async with self.http.post(self.portal.url, data=body, headers=headers) as response:
            return Answer(response.status, await response.read(), dict(response.headers))

    async def call(self, operation: str, fields: Fields, *, message_id: str = "") -> Answer:
        answer = await self.post(envelope(self.namespace, operation, fields, message_id=message_id))
        if answer.status == 200 and answer.body.rstrip().endswith(b"Envelope>"):
            self.check(answer)
        return answer

    def check(self, answer: Answer) -> None:
        if answer.fault is None and etree.QName(answer.wrapper).namespace == self.namespace:
            self.portal.wire.validate(answer.wrapper)

    async def log_in(self, username: str = "thongsuot", password: str = "thongsuot") -> Answer:
        answer = await self.call("login", {"username": username, "password": password})
        self.session = answer.text("session") or ""
        return answer

    async def write(
        self, items: Sequence[Fields], *, updating: bool, message_id: str = ""
    ) -> Answer:
        fields = {
            **self._common("DongBoHoSoMC"),
            "isUpdating": str(updating),
            "data": list(items),
        }
        return await self.call("DongBoHoSoMC", fields, message_id=message_id)

    async def create(self, item: Fields, *, message_id: str = "") -> Answer:
        return await self.write([item], updating=False, message_id=message_id)

    async def update(self, item: Fields) -> Answer:
        return await self.write([item], updating=True)

    async def append(self, *items: Fields) -> Answer:
        fields = {**self._common("CapNhatTienDoHoSoMC"), "data": list(items)}
        return await self.call("CapNhatTienDoHoSoMC", fields)

    async def look_up(self, code: str) -> Answer:
        return await self.call("TraCuuHoSo", {**self._common("TraCuuHoSo"), "mahoso": code})

    async def catalogue(self, operation: str, **fields: str) -> Answer:
        return await self.call(operation, {**self._common(operation), **fields})

    def _common(self, operation: str) -> dict[str, Any]:
        return {"session": self.session, "madonvi": "H12", "service": operation}

    async def control(self, method: str, path: str, content: Any = None) -> Any:
        async with self.http.request(
            method, self.portal.control_url + path, json=content
        ) as response:
            answer = await response.json()
            return {"status": response.status, **answer} if response.status != 200 else answer

    async def fault(self, **rule: Any) -> None:
        answer = await self.control("POST", "/_control/faults", rule)
        assert "number" in answer, answer

    async def profile(self, **changes: Any) -> None:
        answer = await self.control("POST", "/_control/profile", changes)
        assert "errors" not in answer, answer

    async def held(self, code: str) -> dict[str, Any] | None:
        """The dossier in the truth."""
        page = await self.control("GET", f"/_truth/dossiers?code={code}")
        return page["dossiers"][0] if page["dossiers"] else None

    async def summary(self) -> dict[str, Any]:
        summary: dict[str, Any] = await self.control("GET", "/_truth/summary")
        return summary
