"""What the simulated reporting system does with a packet: structure, form, period, figures, revisions.

Its windows and identities are reckoned here anew, from Decree 09/2019 and form II.06, not with the hub's code.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

from connectors.gov_reporting.simulator.profile import Profile
from connectors.gov_reporting.simulator.truth import Truth, listed
from connectors.gov_reporting.simulator.wire import at

CONTENTS = {
    "SoLieuBaoCao": "SoLieu",
    "SoLieuDanhSach": "SoLieuDanhSach",
    "DeCuongBaoCao": "DeCuong",
    "TrangThaiBaoCao": "TrangThai",
    "DuLieuChiSo": "DuLieuChiSo",
}
"""Packets that are taken, and where their content stands."""

OUR_KIND = {
    "SoLieuBaoCao": "figures",
    "SoLieuDanhSach": "list_figures",
    "DeCuongBaoCao": "outline",
    "TrangThaiBaoCao": "status",
    "DuLieuChiSo": "kpi_values",
}
"""The first part of a report's id."""

VERDICTS: dict[str, tuple[int, str, str]] = {
    # verdict            HTTP  MaKetQua               ThongBao
    "done": (200, "OK", "Tiếp nhận thành công"),
    "duplicate": (200, "DA_CO_LAN_GUI", "Lần gửi này đã được tiếp nhận"),
    "exists": (409, "DA_TON_TAI", "Báo cáo đã tồn tại"),
    "unknown": (404, "KHONG_TON_TAI", "Báo cáo không tồn tại"),
    "order": (409, "SAI_THU_TU_LAN_GUI", "Sai thứ tự lần gửi"),
    "period": (422, "NGOAI_KY_BAO_CAO", "Ngoài kỳ báo cáo hoặc thời hạn"),
    "figures": (422, "SAI_SO_LIEU", "Số liệu không cân đối"),
    "form": (422, "SAI_BIEU_MAU", "Chế độ, biểu mẫu hoặc phiên bản không có"),
    "invalid": (400, "SAI_CAU_TRUC", "Gói tin sai cấu trúc"),
    "refused": (422, "LOI_KHAC", "Dữ liệu không hợp lệ theo quy định nghiệp vụ"),
    "broken": (500, "LOI_HE_THONG", "Lỗi hệ thống, vui lòng thử lại sau"),
}

_HEAD = (
    "MaGoiTin",
    "LoaiGoiTin",
    "DonViGui",
    "MaCheDo",
    "MaBieuMau",
    "PhienBanBieuMau",
    "MaKyBaoCao",
    "TuNgay",
    "DenNgay",
    "ThoiHan",
    "DonViBaoCao",
    "LanGui",
    "MaBam",
)
_COLUMNS = tuple(f"c{number}" for number in range(3, 14))
_IDENTITIES = (
    ("c3", ("c4", "c5", "c6")),
    ("c7", ("c8", "c9", "c10")),
    ("c11", ("c12", "c13")),
    ("c3", ("c7", "c11")),
)
_PERIOD = re.compile(r"(?P<year>20\d\d)(?:-(?P<sign>[QH]?)(?P<number>\d{1,2})|-(?P<nine>9M))?")
_STATES = {
    "accept": ("CHAPNHAN", ()),
    "return": ("TRALAI", ("Số liệu cột 7 chưa giải trình", "Thiếu ý kiến của đơn vị")),
    "return_silently": ("TRALAI", ()),
    "ask_correction": ("YEUCAUSUA", ("Đề nghị đính chính số liệu",)),
}


class Catalogue(BaseModel):
    """Regimes with their forms, versions and kinds of packet; and what is sent to a province at first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = ""
    regimes: dict[str, dict[str, dict[str, str]]] = {}
    """Regime -> form -> {"version", "kind"}."""
    packets: tuple[dict[str, Any], ...] = ()


def packaged_catalogue() -> Catalogue:
    """II.06 and a few invented regimes."""
    text = (resources.files(__package__) / "catalogues.json").read_bytes()
    return Catalogue.model_validate(orjson.loads(text))


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it was understood."""

    operation: str
    message_id: str
    tree: Mapping[str, Any] = field(repr=False)
    root: str = ""
    wrong_id: bool = False  # the packet and the transport name different message ids

    @property
    def report(self) -> str | None:
        """The id of the report that it is about."""
        head = self.tree if self.operation == "look_up" else at(self.tree, "TieuDe")
        if self.operation == "inbox" or not isinstance(head, Mapping):
            return None
        parts = [OUR_KIND.get(str(head.get("LoaiGoiTin"))), *_names(head)]
        return "/".join(str(part) for part in parts) if all(parts) else None

    @property
    def revision(self) -> int | None:
        found = at(self.tree, "TieuDe.LanGui")
        return int(found) if isinstance(found, str) and re.fullmatch(r"\d{1,9}", found) else None


def _names(head: Mapping[str, Any]) -> list[str | None]:
    return [head.get(name) for name in ("MaCheDo", "MaBieuMau", "MaKyBaoCao", "DonViBaoCao")]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was decided, and what the answer holds beside the verdict."""

    verdict: str
    parts: Mapping[str, Any] = field(default_factory=dict, repr=False)
    effects: int = 0


class _Refused(Exception):
    def __init__(self, verdict: str) -> None:
        super().__init__(verdict)
        self.verdict = verdict


class Receiver:
    """The reporting system behind the wire. `decide` runs at the desk."""

    def __init__(self, truth: Truth, profile: Profile, catalogue: Catalogue | None) -> None:
        self._truth = truth
        self.profile = profile
        self.catalogue = catalogue or packaged_catalogue()

    def decide(self, call: Call, number: int, encoding_written: Any) -> Outcome:
        """Do what the call asks. `encoding_written`: writes a packet for the inbox as text."""
        match call.operation:
            case "look_up":
                return self.look_up(call, ago=self.profile.stale_seconds)
            case "inbox":
                return self._inbox(call, encoding_written)
        try:
            return self._submit(call, number)
        except _Refused as refused:
            return Outcome(refused.verdict, parts=self._about(call))

    # --- submitting ------------------------------------------------------------------------------

    def _submit(self, call: Call, number: int) -> Outcome:
        head = self._structure(call)
        report, revision = call.report, call.revision
        assert report is not None
        assert revision is not None
        self._form(head)
        late = self._period(head, first=revision == 1)
        self._figures(call, head)
        held = self._truth.report(report)
        if call.operation == "create" and held is not None:
            raise _Refused("exists")
        if call.operation == "update":
            if held is None:
                raise _Refused("unknown")
            if revision == held.revision and head["MaBam"] == held.hash:
                return Outcome("duplicate", parts=self._about(call))
        newest = 0 if held is None else held.revision
        gapless = self.profile.revisions == "gapless"
        if revision <= newest or (gapless and revision != newest + 1):
            raise _Refused("order")
        self._truth.put_revision(
            report,
            revision,
            head["MaBam"],
            call.tree,
            call=number,
            message_id=call.message_id,
            late=late,
        )
        if self.profile.decide != "none":
            state, reasons = _STATES[self.profile.decide]
            self.decide_report(report, state, reasons)
        return Outcome(
            "done", parts={**self._about(call), "SoTiepNhan": f"TN-{number:06}"}, effects=1
        )

    def would_change(self, call: Call) -> bool:
        """Whether the write would be granted and have an effect now."""
        held = self._truth.report(call.report or "")
        newest = 0 if held is None else held.revision
        return (call.operation == "create") == (held is None) and (call.revision or 0) > newest

    def _structure(self, call: Call) -> Mapping[str, str]:
        head = at(call.tree, "TieuDe")
        if call.root != "GoiTin" or not isinstance(head, Mapping) or call.wrong_id:
            raise _Refused("invalid")
        if not all(isinstance(head.get(name), str) and head[name] for name in _HEAD):
            raise _Refused("invalid")
        content = CONTENTS.get(head["LoaiGoiTin"])
        known = {"TieuDe", content}
        if content is None or call.revision is None or call.revision < 1:
            raise _Refused("invalid")
        if set(call.tree) != known or not re.fullmatch("[0-9a-f]{64}", head["MaBam"]):
            raise _Refused("invalid")
        return head

    def _form(self, head: Mapping[str, str]) -> None:
        form = self.catalogue.regimes.get(head["MaCheDo"], {}).get(head["MaBieuMau"])
        if form is None or form["version"] != head["PhienBanBieuMau"]:
            raise _Refused("form")
        if form["kind"] != head["LoaiGoiTin"]:
            raise _Refused("form")

    def _period(self, head: Mapping[str, str], *, first: bool) -> bool:
        """Whether it is late. The window must be the decree's or the civil one, its due date the 25th."""
        try:
            given = tuple(
                date.fromisoformat(head[name]) for name in ("TuNgay", "DenNgay", "ThoiHan")
            )
        except ValueError:
            raise _Refused("invalid") from None
        if given not in known_windows(head["MaKyBaoCao"]):
            raise _Refused("period")
        today = self.profile.today or (datetime.now(UTC) + timedelta(hours=7)).date()
        if today <= given[1]:
            raise _Refused("period")  # before the cut-off
        late = first and today > given[2]
        if late and self.profile.late == "refuse":
            raise _Refused("period")
        return late

    def _figures(self, call: Call, head: Mapping[str, str]) -> None:
        if head["LoaiGoiTin"] != "SoLieuBaoCao" or not head["MaBieuMau"].startswith("II.06"):
            return
        for row in listed(at(call.tree, "SoLieu.DanhSachDong.Dong")):
            cells = {
                str(cell.get("MaChiTieu")): cell.get("SoLieu")
                for cell in listed(at(row, "ChiTieu"))
                if isinstance(cell, Mapping)
            }
            if set(cells) != set(_COLUMNS) or not all(
                isinstance(text, str) and re.fullmatch(r"\d{1,9}", text) for text in cells.values()
            ):
                raise _Refused("invalid")
            value = {name: int(str(text)) for name, text in cells.items()}
            for whole, parts in _IDENTITIES:
                if value[whole] != sum(value[part] for part in parts):
                    raise _Refused("figures")

    def _about(self, call: Call) -> dict[str, Any]:
        head = at(call.tree, "TieuDe")
        if not isinstance(head, Mapping):
            return {}
        names = ("LoaiGoiTin", "MaCheDo", "MaBieuMau", "MaKyBaoCao", "DonViBaoCao", "LanGui")
        return {"BaoCao": {name: head[name] for name in names if head.get(name)}}

    # --- deciding --------------------------------------------------------------------------------

    def decide_report(self, report: str, state: str, reasons: Any = ()) -> int:
        """Accept, return or ask for a correction; the province hears of it by a packet of status.

        Raises `ValueError` for a report that is not there.
        """
        held = self._truth.put_status(report, state)
        kind, regime, form, period, agency = report.split("/")
        (theirs,) = (name for name, ours in OUR_KIND.items() if ours == kind)
        content: dict[str, Any] = {
            "VeGoiTin": {
                "LoaiGoiTin": theirs,
                "MaCheDo": regime,
                "MaBieuMau": form,
                "MaKyBaoCao": period,
                "DonViBaoCao": agency,
                "LanGui": str(held.revision),
            },
            "MaTrangThai": state,
            "ThoiDiem": _moment(),
            "DonVi": "G22",
        }
        if reasons:
            content["DanhSachLyDo"] = {"LyDo": list(reasons)}
        return self._truth.send(packet("TrangThaiBaoCao", "TrangThai", content))

    def publish(self) -> int:
        """Send every packet of the catalogue; returns how many."""
        for each in self.catalogue.packets:
            ((kind, content),) = each.items()
            ((place, tree),) = content.items()
            self._truth.send(packet(kind, place, tree))
        return len(self.catalogue.packets)

    # --- reading ---------------------------------------------------------------------------------

    def look_up(self, call: Call, *, ago: float) -> Outcome:
        """What was held `ago` seconds ago."""
        if call.report is None:
            return Outcome("invalid")
        asked = ("LoaiGoiTin", "MaCheDo", "MaBieuMau", "MaKyBaoCao", "DonViBaoCao")
        about = {name: call.tree[name] for name in asked}
        held = self._truth.report_at(call.report, time.time() - ago)
        parts: dict[str, Any] = {"TonTai": "false" if held is None else "true", "BaoCao": about}
        if held is not None and self.profile.lookup == "state":
            parts |= {
                "LanGui": str(held.revision),
                "MaBam": held.hash,
                "MaTrangThai": held.status,
            }
        return Outcome("done", parts=parts)

    def _inbox(self, call: Call, written: Any) -> Outcome:
        after = call.tree.get("SauSo") or "0"
        limit = call.tree.get("SoLuong") or "50"
        if not (re.fullmatch(r"\d{1,12}", after) and re.fullmatch(r"\d{1,4}", limit)):
            return Outcome("invalid")
        found = self._truth.outgoing(int(after), int(limit) + 1)
        page = found[: int(limit)]
        items = [
            {"So": str(number), "NoiDung": each if isinstance(each, str) else written(each)}
            for number, each in page
        ]
        parts: dict[str, Any] = {
            "ConTro": str(page[-1][0]) if page else after,
            "ConNua": "true" if len(found) > len(page) else "false",
        }
        if items:
            parts = {"DanhSachGoiTin": {"Muc": items}, **parts}
        return Outcome("done", parts=parts)


def packet(kind: str, place: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """A packet to a province."""
    return {
        "TieuDe": {"MaGoiTin": str(uuid.uuid4()), "LoaiGoiTin": kind, "DonViGui": "G22"},
        place: content,
    }


def _moment() -> str:
    local = datetime.now(UTC) + timedelta(hours=7)
    return local.strftime("%Y-%m-%dT%H:%M:%S.%f") + "+0700"


def known_windows(period: str) -> set[tuple[date, date, date]]:
    """First day, last day and due date of a period's name: by Decree 09/2019, and by the civil calendar."""
    found = _PERIOD.fullmatch(period)
    if found is None:
        return set()
    year = int(found["year"])
    if found["nine"]:
        length, number = 9, 1
    elif found["number"] is None:
        length, number = 12, 1
    else:
        length = {"": 1, "Q": 3, "H": 6}[found["sign"]]
        number = int(found["number"])
    last = number * length
    if not 1 <= last <= 12:
        return set()
    begins = last - length + 1
    first = date(year, begins, 1)
    after = date(year + last // 12, last % 12 + 1, 1)
    one = timedelta(days=1)
    decree = ((first - one).replace(day=15), date(year, last, 14), date(year, last, 25))
    civil = (first, after - one, after.replace(day=25))
    return {decree, civil}
