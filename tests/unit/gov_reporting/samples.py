"""Packets and settings for the tests of the connector. Everything in them is invented."""

from __future__ import annotations

import zlib
from datetime import UTC, date, datetime
from typing import Any

from connectors.gov_reporting.config import GovReportingSettings
from connectors.gov_reporting.simulator import Profile, ReportingSimulator
from schemas.dossier.mappings import Codes
from schemas.records import ReportPacket
from schemas.reports import packets as p
from schemas.reports.kinds import PacketKind
from schemas.sealing import Hasher, Sealer
from tests.unit.national_portal.samples import intent

__all__ = ["intent"]

CLIENT_ID = "tinh-h44"
CLIENT_SECRET = "b1-mat-cua-tinh"
NOTE = "Ghi chú riêng của Trần Thị Mộng Kiều"
SEALER = Sealer({"2026-08": b"s" * 32}, "2026-08")
HASHER = Hasher(b"h" * 32)
CODES = Codes([])
TODAY = date(2026, 8, 24)
SECRETS = (CLIENT_SECRET, NOTE, "Mộng Kiều")

COLUMNS = tuple(f"c{number}" for number in range(3, 14))


def figures(received: int = 10) -> p.Figures:
    """Form II.06a of one unit, balanced."""
    row = (received, received - 4, 3, 1, received - 3, 4, received - 8, 1, 3, 2, 1)
    return p.Figures(
        axes=("agency", "sector"),
        indicators=COLUMNS,
        unit="hồ sơ",
        rows=(p.FigureRow(keys=("H44.07", "SECTOR-1"), values=row),),
        note=NOTE,
    )


def packet(content: p.Content | None = None, **changes: Any) -> ReportPacket:
    """The first revision of form II.06a of a month."""
    made = figures() if content is None else content
    values: dict[str, Any] = {
        "kind": p.kind_of(made),
        "regime": "II.06",
        "form": "II.06a",
        "form_version": "TT01/2020",
        "period": "2026-08",
        "window_from": date(2026, 7, 15),
        "window_to": date(2026, 8, 14),
        "due_on": date(2026, 8, 25),
        "agency": "H44",
        "revision": 1,
        "known_at": datetime(2026, 8, 14, 17, tzinfo=UTC),
        "approved_at": datetime(2026, 8, 20, 3, 4, 5, tzinfo=UTC),
        "recorded_at": datetime(2026, 8, 20, 3, 4, 6, tzinfo=UTC),
        "snapshot_hash": p.content_hash(made),
    } | changes
    name = p.report_id(
        values["kind"], values["regime"], values["form"], values["period"], values["agency"]
    )
    values.setdefault("report_id", name)
    values.setdefault("packet_id", f"{name}/r{values['revision']}")
    values.setdefault("sealed", seal(p.canonical(made), values["report_id"]))
    return ReportPacket(**values)


def seal(canonical: bytes, report_id: str) -> bytes:
    return SEALER.seal(zlib.compress(canonical), report_id)


def second(**changes: Any) -> ReportPacket:
    """Its second revision."""
    return packet(figures(11), revision=2, **changes)


def of_unit(number: int) -> ReportPacket:
    """The same report of another agency."""
    return packet(agency=f"H44.{number:02}")


def status_packet() -> ReportPacket:
    """A status that goes out."""
    content = p.ReportStatus(
        about_kind=PacketKind.FIGURES,
        about_regime="II.06",
        about_form="II.06a",
        about_period="2026-08",
        about_agency="H44",
        about_revision=1,
        state=p.ReportState.WITHDRAWN,
        reasons=("Gửi nhầm kỳ",),
        decided_at=datetime(2026, 8, 21, 3, tzinfo=UTC),
        decided_by="H44",
    )
    return packet(content, regime="XTB.01", form="XTB.01e", form_version="1")


def settings(system: ReportingSimulator | None = None, /, **changes: Any) -> GovReportingSettings:
    """Settings with short timeouts."""
    values: dict[str, Any] = {
        "address": system.url if system else "http://127.0.0.1:9/api",
        "token_address": system.token_url if system else "http://127.0.0.1:9/token",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "sender": "H44",
        "connect_timeout_seconds": 1.0,
        "read_timeout_seconds": 3.0,
        "total_timeout_seconds": 3.0,
    }
    return GovReportingSettings.model_validate(values | changes)


def soap(system: ReportingSimulator) -> dict[str, Any]:
    """What changes in the settings for SOAP."""
    member = {"instance": "VN", "member_class": "GOV"}
    return {
        "transport": "soap",
        "address": system.soap_url,
        "token_address": None,
        "client_id": None,
        "client_secret": None,
        "client": {**member, "member_code": "H44", "subsystem_code": "baocao"},
        "service": {**member, "member_code": "G22", "subsystem_code": "baocao"},
    }


def profile(**changes: Any) -> Profile:
    """A far side on a day between cut-off and deadline."""
    values: dict[str, Any] = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "today": TODAY,
    }
    return Profile.model_validate(values | changes)
