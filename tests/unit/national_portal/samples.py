"""One invented dossier, and what is needed to send it."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from connectors.national_portal.config import NationalPortalSettings, XRoadMember
from connectors.national_portal.dialect import load_dialect
from connectors.national_portal.sink import NationalPortal
from connectors.protocols import Intent
from schemas.dossier.mappings import CodeList, Codes, MappingOrigin, MappingRow
from schemas.dossier.status import Status
from schemas.records import (
    ApplicantType,
    Attachment,
    Channel,
    CodeName,
    DossierEvent,
    DossierTimes,
    EventKind,
    Fee,
    Feed,
    FinancialState,
    OnlinePayment,
    PersonalData,
    Procedure,
    ResultPaper,
    ResultState,
    ReturnMethod,
    ScoreFields,
    SourceStatus,
    StateAsOf,
    Step,
    Supplement,
)
from schemas.sealing import Hasher, Sealer, seal_person

SOURCE = "opencps"
CODE = "000.00.04.H12-261120-0042"
USERNAME = "thongsuot"
PASSWORD = "Bí-mật-của-tỉnh"
SEALER = Sealer({"2026-11": bytes(range(32))}, "2026-11")
HASHER = Hasher(bytes(range(1, 33)))

SECRETS = (
    PASSWORD,
    "Trần Thị Mộng Kiều",
    "096185001234",
    "0913 000 111",
    "mongkieu@example.vn",
    "Đăng ký khai sinh cho cháu bé",
    "đã gọi điện cho chủ hồ sơ",
    "Lê Văn Cán Bộ",
    "Chuyển phòng chuyên môn <xem & xử lý>",
    "to-khai-mong-kieu.pdf",
    "bổ sung giấy chứng sinh",
)
"""Texts that may stand in a request's body and nowhere else."""

PERSON = PersonalData(
    owner_name="Trần Thị Mộng Kiều",
    owner_id_no="096185001234",
    phone="0913 000 111",
    email="mongkieu@example.vn",
    summary="Đăng ký khai sinh cho cháu bé",
    note="đã gọi điện cho chủ hồ sơ",
    step_officer="Lê Văn Cán Bộ",
    step_text="Chuyển phòng chuyên môn <xem & xử lý>",
    file_names={"F1": "to-khai-mong-kieu.pdf", "R1": "ket-qua.pdf"},
    supplements={"S1": {"requested_by": "Lê Văn Cán Bộ", "text": "bổ sung giấy chứng sinh"}},
)


def at(day: int, hour: int = 1, minute: int = 0) -> datetime:
    """A moment of November 2026, UTC."""
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def event(person: PersonalData = PERSON, **changes: Any) -> DossierEvent:
    """The dossier in process, with its step "processing"."""
    base = DossierEvent(
        event_id="opencps-7001",
        dossier_id="opencps-501",
        kind=EventKind.CHANGE,
        source=SOURCE,
        feed=Feed.ACTIONS,
        cursor="7001",
        content_hash="0" * 32,
        read_seq=3,
        state_as_of=StateAsOf(action_id="7001", modified_at=at(20, 2)),
        dossier_code=CODE,
        aliases=(),
        born_on_portal=False,
        procedure=Procedure(local_code="KS-01", national_code=None, name="Khai sinh", version="1"),
        sector=CodeName(code="G15-TP02", name="Hộ tịch"),
        receiving_agency=CodeName(code="PVHCC", name="Trung tâm"),
        handling_agency=CodeName(code="UBND-AX", name="UBND xã An Xuyên"),
        channel=Channel.ONLINE,
        applicant_type=ApplicantType.CITIZEN,
        business_state=SourceStatus(status="processing", sub_status=None),
        financial_state=FinancialState.NONE,
        result_state=ResultState.NOT_READY,
        return_method=ReturnMethod.COUNTER,
        times=DossierTimes(submitted=at(20), received=at(20, 1, 30), due=at(25, 10)),
        supplements=(
            Supplement(
                supplement_id="S1",
                requested_at=at(21),
                completed_at=None,
                old_due=at(25, 10),
                new_due=None,
            ),
        ),
        fees=(
            Fee(
                fee_id="P1",
                code="LP01",
                name="Lệ phí",
                amount=8000,
                status=None,
                method=None,
                paid_at=None,
            ),
        ),
        attachments=(
            Attachment(
                file_id="F1",
                part_code="TP01",
                reference="https://onestop.example.vn/f/1",
                removed=False,
                digitised=True,
                reused=None,
                from_data_store=None,
            ),
        ),
        results=(
            ResultPaper(
                file_id="R1",
                part_code="KQ01",
                result_code="KQ.G07.000122",
                reference="https://onestop.example.vn/f/2",
                removed=False,
                signed=True,
            ),
        ),
        score=ScoreFields(
            submitted_at_portal=False,
            has_digitised_components=True,
            online_payment=OnlinePayment.OFFLINE,
            databases_used=("1",),
        ),
        fallbacks=(),
        step=Step(
            action_id="7001",
            previous_action_id="7000",
            action_code="1200",
            step_code="210",
            status=SourceStatus(status="processing", sub_status=None),
            status_carried=False,
            at=at(20, 2),
            due=at(22),
        ),
        effective_at=at(20, 2),
        recorded_at=at(20, 2, 1),
        sealed=seal_person(SEALER, person, "opencps-501"),
    )
    return replace(base, **changes)


def stepped(
    text: str, minute: int, status: str = "processing", officer: str = "Lê Văn Cán Bộ"
) -> DossierEvent:
    """The dossier with another step."""
    base = event(replace(PERSON, step_text=text, step_officer=officer))
    assert base.step is not None
    step = replace(
        base.step, at=at(20, 3, minute), status=SourceStatus(status=status, sub_status=None)
    )
    return replace(base, step=step)


def codes() -> Codes:
    """Mappings of everything that `event` needs; every canonical status under its own name."""
    rows = [
        MappingRow(
            codelist=codelist,
            system=SOURCE,
            code=code,
            value=value,
            name=name,
            origin=MappingOrigin.SOURCE_TABLE,
        )
        for codelist, code, value, name in (
            (CodeList.PROCEDURE, "KS-01", "1.001193", "Thủ tục đăng ký khai sinh"),
            (CodeList.AGENCY, "UBND-AX", "H12.40", "Ủy ban nhân dân xã An Xuyên"),
            *((CodeList.STATUS, status.value, status.value, None) for status in Status),
        )
    ]
    return Codes(rows)


def settings(address: str, /, **changes: Any) -> NationalPortalSettings:
    """Settings with short timeouts."""
    values: dict[str, Any] = {
        "address": address,
        "username": USERNAME,
        "password": PASSWORD,
        "agency_code": "H12",
        "client": XRoadMember(
            instance="VN", member_class="GOV", member_code="H12", subsystem_code="onestop"
        ),
        "service": XRoadMember(
            instance="VN",
            member_class="GOV",
            member_code="000.00.00.G22",
            subsystem_code="vpcpdvcprovider",
        ),
        "connect_timeout_seconds": 1.0,
        "read_timeout_seconds": 1.5,
        "total_timeout_seconds": 1.5,
    }
    return NationalPortalSettings.model_validate(values | changes)


_count = 0


def intent(send_by: float = 2.0, age: float = 0.0) -> Intent:
    """A new intent, noticed `age` seconds ago on the clock that the sink reads."""
    global _count
    _count += 1
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    return Intent(attempt_id=f"attempt-{_count:05d}", noticed_at=now - age, send_by=send_by)


NATIONAL_PORTAL = NationalPortal(
    settings("http://127.0.0.1:9/never-opened"), load_dialect("adapter"), SEALER, HASHER
)
"""A sink for mapping only: it is never opened."""
