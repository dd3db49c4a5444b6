"""Payloads of format "opencps/1", made by hand, for the mapping's tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from connectors.one_stop.columns import ACTION, DOSSIER, FILE, PAYMENT, SPECS
from schemas.records import EventKind, Feed, Notice

CAPTURED = datetime(2026, 11, 2, 5, 0, tzinfo=UTC)
RECORDED = datetime(2026, 11, 2, 5, 1, tzinfo=UTC)
DOSSIER_ID = "d" * 32


def row(table: str, **columns: Any) -> dict[str, Any]:
    """A row with every column that we read, empty but for `columns`."""
    assert set(columns) <= set(SPECS[table].columns), set(columns) - set(SPECS[table].columns)
    return dict.fromkeys(SPECS[table].columns) | columns


def dossier(**columns: Any) -> dict[str, Any]:
    usual = {
        "dossierId": 7,
        "groupId": 35301,
        "createDate": "2026-11-02 08:00:00",
        "modifiedDate": "2026-11-02 09:00:00",
        "serviceName": "Đăng ký thành lập hộ kinh doanh",
    }
    return row(DOSSIER, **(usual | columns))


def action(**columns: Any) -> dict[str, Any]:
    usual = {
        "dossierActionId": 101,
        "groupId": 35301,
        "dossierId": 7,
        "createDate": "2026-11-02 08:30:00",
        "modifiedDate": "2026-11-02 08:30:00",
        "actionName": "Phân công thụ lý",
    }
    return row(ACTION, **(usual | columns))


def file(**columns: Any) -> dict[str, Any]:
    return row(FILE, **({"dossierFileId": 1, "dossierPartType": 1} | columns))


def payment(**columns: Any) -> dict[str, Any]:
    return row(PAYMENT, **({"paymentFileId": 1} | columns))


def payload(**parts: Any) -> dict[str, Any]:
    """A whole payload; without an action it is a state."""
    usual: dict[str, Any] = {
        "dossier": dossier(),
        "action": None,
        "step": None,
        "status_after": None,
        "previous": None,
        "files": [],
        "payments": [],
        "supplements": [],
        "withdrawn_at": None,
        "refused_at": None,
        "extended_from": None,
        "codes": [],
        "as_of": {"action_id": None, "modified": "2026-11-02 09:00:00"},
        "content_hash": "c" * 32,
    }
    return usual | parts


def notice(kind: EventKind = EventKind.CHANGE) -> Notice:
    return Notice(
        notice_id="e" * 32,
        dossier_id=DOSSIER_ID,
        source="one_stop",
        feed=Feed.ACTIONS,
        cursor="{}",
        read_seq=3,
        kind=kind,
        payload_format="opencps/1",
        sealed=b"",
        captured_at=CAPTURED,
    )
