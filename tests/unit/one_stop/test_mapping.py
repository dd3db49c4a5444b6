"""The mapping as tables: what stands in the one-stop row, and what the event says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from connectors.one_stop.mapping import ImpossibleValue, to_event
from schemas.records import (
    Alias,
    ApplicantType,
    Channel,
    DossierEvent,
    EventKind,
    FinancialState,
    OnlinePayment,
    PersonalData,
    ResultState,
    ReturnMethod,
    SourceStatus,
)
from schemas.sealing import open_person
from tests.one_stop_database import SEALER
from tests.unit.one_stop.samples import (
    CAPTURED,
    RECORDED,
    action,
    dossier,
    file,
    notice,
    payload,
    payment,
)

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")


def utc(day: int, hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, second, tzinfo=UTC)


def event_of(parts: dict[str, Any], kind: EventKind = EventKind.CHANGE) -> DossierEvent:
    return to_event(notice(kind), parts, zone=ZONE, sealer=SEALER, recorded_at=RECORDED)


def person_of(parts: dict[str, Any], kind: EventKind = EventKind.CHANGE) -> PersonalData:
    event = event_of(parts, kind)
    return open_person(SEALER, event.sealed, event.dossier_id)


def field(event: DossierEvent, path: str) -> object:
    value: object = event
    for name in path.split("."):
        value = getattr(value, name)
    return value


@pytest.mark.parametrize(
    ("columns", "path", "expected"),
    [
        ({"dossierNo": "H12.20-1"}, "dossier_code", "H12.20-1"),
        ({"dossierNo": ""}, "dossier_code", None),
        ({"dossierNo": "  "}, "dossier_code", None),
        ({"dossierNo": "A", "originality": 1}, "born_on_portal", True),
        ({"dossierNo": "A", "originality": 3}, "born_on_portal", False),
        ({"dossierNo": "", "originality": 1}, "born_on_portal", False),
        ({"serviceCode": "1.001612"}, "procedure.local_code", "1.001612"),
        ({"serviceCode": None}, "procedure.local_code", None),
        ({"serviceName": "Khai sinh"}, "procedure.name", "Khai sinh"),
        ({"govAgencyCode": "H12.20"}, "handling_agency.code", "H12.20"),
        ({"govAgencyName": "Sở Xây dựng"}, "handling_agency.name", "Sở Xây dựng"),
        ({"govAgencyCode": "H12.20"}, "receiving_agency.code", None),
        ({"online_": True}, "channel", Channel.ONLINE),
        ({"online_": True, "fromViaPostal": 1}, "channel", Channel.ONLINE),
        ({"online_": False, "fromViaPostal": 1}, "channel", Channel.POSTAL),
        ({"online_": False, "fromViaPostal": 0}, "channel", Channel.DIRECT),
        ({"online_": False}, "channel", Channel.DIRECT),
        ({}, "channel", None),
        ({"applicantIdType": "citizen"}, "applicant_type", ApplicantType.CITIZEN),
        ({"applicantIdType": "business"}, "applicant_type", ApplicantType.ENTERPRISE),
        ({"applicantIdType": "khac"}, "applicant_type", None),
        ({}, "applicant_type", None),
        ({"viaPostal": 0}, "return_method", ReturnMethod.COUNTER),
        ({"viaPostal": 1}, "return_method", ReturnMethod.COUNTER),
        ({"viaPostal": 2}, "return_method", ReturnMethod.POST),
        ({}, "return_method", None),
        ({"dossierStatus": "waiting"}, "business_state.status", "waiting"),
        ({"dossierStatus": "a-new-one"}, "business_state.status", "a-new-one"),
        ({"dossierSubStatus": ""}, "business_state.sub_status", None),
        ({"originality": 1}, "score.submitted_at_portal", True),
        ({"originality": 3}, "score.submitted_at_portal", False),
        ({"originality": 9}, "score.submitted_at_portal", None),
        ({}, "score.vneid_authenticated", None),
        ({}, "score.has_digitised_components", None),
        ({"submitDate": "2026-11-02 08:00:00"}, "times.submitted", utc(2, 1)),
        ({"receiveDate": "2026-11-02 08:00:00.5"}, "times.received", utc(2, 1).replace(microsecond=500000)),
        ({"receiveDate": None}, "times.received", None),
        ({"dueDate": "2026-11-05 17:00:00"}, "times.due", utc(5, 10)),
        ({"dueDate": "2026-11-05 17:00:00", "extendDate": "2026-11-09 17:00:00"}, "times.due", utc(9, 10)),
        ({"extendDate": "2026-11-09 17:00:00"}, "times.extended", utc(9, 10)),
        ({"releaseDate": "2026-11-05 17:00:00"}, "times.finished", utc(5, 10)),
        ({"releaseDate": "2026-11-05 17:00:00"}, "times.returned", None),
        ({"finishDate": "2026-11-05 17:00:00"}, "times.returned", utc(5, 10)),
        ({"releaseDate": "2026-11-05 17:00:00"}, "result_state", ResultState.READY),
        ({"finishDate": "2026-11-05 17:00:00"}, "result_state", ResultState.RETURNED),
        ({}, "result_state", ResultState.NOT_READY),
    ],
)  # fmt: skip
def test_columns_of_the_dossier(columns: dict[str, Any], path: str, expected: object) -> None:
    assert field(event_of(payload(dossier=dossier(**columns))), path) == expected


@pytest.mark.parametrize(
    ("parts", "path", "expected"),
    [
        ({"codes": ["1.001612"]}, "procedure.national_code", "1.001612"),
        ({"codes": []}, "procedure.national_code", None),
        ({"codes": ["1.001612", "2.000884"]}, "procedure.national_code", None),
        ({"payments": []}, "financial_state", FinancialState.NONE),
        ({"payments": []}, "score.online_payment", OnlinePayment.NONE),
        ({"payments": [payment(paymentAmount=0)]}, "financial_state", FinancialState.NONE),
        ({"payments": [payment(paymentAmount=5)]}, "financial_state", FinancialState.OWED),
        ({"payments": [payment(feeAmount=5)]}, "financial_state", FinancialState.OWED),
        ({"payments": [payment(paymentAmount=5)]}, "score.online_payment", None),
        ({"payments": [payment(paymentAmount=5, confirmDatetime="2026-11-02 08:00:00")]},
         "financial_state", FinancialState.PAID),
        ({"withdrawn_at": "2026-11-02 08:00:00"}, "times.withdrawn", utc(2, 1)),
        ({"refused_at": "2026-11-02 08:00:00"}, "times.refused", utc(2, 1)),
        ({"extended_from": "2026-11-05 17:00:00", "dossier": dossier(extendDate="2026-11-09 17:00:00")},
         "times.previous_due", utc(5, 10)),
        ({"extended_from": None, "dossier": dossier(extendDate="2026-11-09 17:00:00")},
         "times.previous_due", None),
        ({"as_of": {"action_id": 101, "modified": "2026-11-02 09:00:00"}}, "state_as_of.action_id", "101"),
        ({}, "state_as_of.modified_at", utc(2, 2)),
        ({}, "content_hash", "c" * 32),
        ({}, "read_seq", 3),
        ({}, "recorded_at", RECORDED),
        ({}, "step", None),
    ],
)  # fmt: skip
def test_other_parts(parts: dict[str, Any], path: str, expected: object) -> None:
    assert field(event_of(payload(**parts)), path) == expected


def test_every_number_a_dossier_is_known_by_is_an_alias() -> None:
    row = dossier(dossierNo="G09.20-1", originality=1, referenceUid="uid", originDossierNo="")
    assert event_of(payload(dossier=row)).aliases == (
        Alias(kind="dossier_no", value="G09.20-1"),
        Alias(kind="portal_no", value="G09.20-1"),
        Alias(kind="reference_uid", value="uid"),
        Alias(kind="source_id", value="35301/7"),
    )


STATUS = {"status": "receiving", "sub_status": None, "carried": True}


def test_an_action_is_a_step_with_the_status_of_its_process_step() -> None:
    row = action(
        previousActionId=100, actionCode="2000", stepCode="200", dueDate="2026-11-05 17:00:00"
    )
    event = event_of(
        payload(
            action=row,
            status_after=STATUS,
            dossier=dossier(dossierStatus="done"),
            codes=["1.001612"],
        )
    )
    assert event.step is not None
    assert event.step.status == SourceStatus(status="receiving", sub_status=None)
    assert event.step.status_carried
    assert (event.step.action_id, event.step.previous_action_id) == ("101", "100")
    assert (event.step.action_code, event.step.step_code) == ("2000", "200")
    assert (event.step.at, event.step.due) == (utc(2, 1, 30), utc(5, 10))
    assert event.effective_at == utc(2, 1, 30)
    assert event.business_state.status == "done"


@pytest.mark.parametrize(
    ("kind", "has_step", "effective"),
    [
        (EventKind.CHANGE, True, utc(2, 1, 30)),
        (EventKind.CORRECTION, True, utc(2, 4)),
        (EventKind.ROLLBACK, False, utc(2, 4)),
    ],
)
def test_kinds_of_an_action(kind: EventKind, has_step: bool, effective: datetime) -> None:
    parts = payload(action=action(modifiedDate="2026-11-02 11:00:00"), status_after=STATUS)
    event = event_of(parts, kind)
    assert (event.step is not None) is has_step
    assert event.effective_at == effective


def test_an_action_without_any_known_status_has_none() -> None:
    event = event_of(payload(action=action(), status_after=None))
    assert event.step is not None
    assert event.step.status == SourceStatus(status=None, sub_status=None)
    assert not event.step.status_carried


@pytest.mark.parametrize(
    ("columns", "text", "fallbacks"),
    [
        ({"actionNote": "Đề nghị bổ sung"}, "Đề nghị bổ sung", ("summary",)),
        ({"actionNote": ""}, "Phân công thụ lý", ("summary", "step_text")),
        ({"actionNote": None, "actionName": None}, None, ("summary",)),
    ],
)
def test_fall_backs_stay_within_the_row_and_are_named(
    columns: dict[str, Any], text: str | None, fallbacks: tuple[str, ...]
) -> None:
    parts = payload(action=action(**columns))
    assert person_of(parts).step_text == text
    assert event_of(parts).fallbacks == fallbacks


def test_the_person_is_sealed_and_complete() -> None:
    row = dossier(
        applicantName="Nguyễn\x00 <Hư> &Cấu\x07",
        applicantIdNo="000000000000",
        contactName="Người Nộp",
        contactTelNo="0",
        contactEmail="a@example.invalid",
        address="Ấp Không Có",
        dossierName="Hồ sơ",
        dossierNote="ghi chú",
    )
    parts = payload(dossier=row, files=[file(displayName="Đơn.pdf")])
    person = person_of(parts)
    assert person.owner_name == "Nguyễn\x00 <Hư> &Cấu\x07"  # the sink decides what it can carry
    assert person.submitter_name == "Người Nộp"
    assert (person.summary, person.note) == ("Hồ sơ", "ghi chú")
    assert person.file_names == {"1": "Đơn.pdf"}
    assert event_of(parts).fallbacks == ()
    assert "Cấu" not in repr(event_of(parts))


def test_papers_are_components_or_results() -> None:
    rows = [
        file(dossierFileId=1, dossierPartNo="TP1", fileEntryId=9, removed=False),
        file(dossierFileId=2, dossierPartType=2, deliverableCode="KQ1", signCheck=1, removed=True),
        file(dossierFileId=3, referenceUid="uid"),
    ]
    event = event_of(payload(files=rows))
    assert [(a.file_id, a.part_code, a.reference) for a in event.attachments] == [
        ("1", "TP1", "9"),
        ("3", None, "uid"),
    ]
    assert {a.digitised for a in event.attachments} == {None}
    (result,) = event.results
    assert (result.file_id, result.result_code, result.signed, result.removed) == (
        "2",
        "KQ1",
        True,
        True,
    )


def test_supplements_keep_their_words_sealed() -> None:
    told = {
        "id": "101",
        "requested_at": "2026-11-02 08:30:00",
        "requested_by": "Cán bộ",
        "text": "Thiếu giấy",
        "old_due": "2026-11-05 17:00:00",
        "completed_at": "2026-11-03 08:30:00",
        "received_by": None,
        "new_due": "2026-11-06 17:00:00",
    }
    parts = payload(supplements=[told])
    (supplement,) = event_of(parts).supplements
    assert supplement.supplement_id == "101"
    assert (supplement.requested_at, supplement.completed_at) == (utc(2, 1, 30), utc(3, 1, 30))
    assert (supplement.old_due, supplement.new_due) == (utc(5, 10), utc(6, 10))
    assert person_of(parts).supplements == {"101": {"requested_by": "Cán bộ", "text": "Thiếu giấy"}}


@pytest.mark.parametrize(
    "text",
    ["0000-00-00 00:00:00", "1026-11-02 08:00:00", "20260-01-01 00:00:00", "infinity", "hôm qua"],
)
@pytest.mark.parametrize("name", ["receiveDate", "dueDate", "finishDate"])
def test_impossible_dates_name_the_field_and_not_the_value(name: str, text: str) -> None:
    with pytest.raises(ImpossibleValue) as caught:
        event_of(payload(dossier=dossier(**{name: text})))
    assert caught.value.field == name
    assert text not in str(caught.value)


def test_an_action_without_a_time_is_impossible() -> None:
    with pytest.raises(ImpossibleValue) as caught:
        event_of(payload(action=action(createDate=None)))
    assert caught.value.field == "dossieraction.createDate"


def test_another_zone_is_another_time() -> None:
    parts = payload(dossier=dossier(receiveDate="2026-11-02 08:00:00"))
    event = to_event(notice(), parts, zone=ZoneInfo("UTC"), sealer=SEALER, recorded_at=RECORDED)
    assert event.times.received == utc(2, 8)


def test_a_deleted_dossier_keeps_its_identity_and_nothing_that_could_be_sent() -> None:
    event = event_of(
        {"dossier": None, "action": None, "content_hash": "c" * 32}, EventKind.DELETION
    )
    assert (event.kind, event.dossier_id) == (EventKind.DELETION, "d" * 32)
    assert (event.dossier_code, event.step, event.business_state.status) == (None, None, None)
    assert event.effective_at == CAPTURED


def test_a_deleted_action_carries_the_state() -> None:
    event = event_of(payload(deleted_action_id="101"), EventKind.DELETION)
    assert (event.step, event.effective_at) == (None, CAPTURED)
    assert event.procedure.name == "Đăng ký thành lập hộ kinh doanh"
