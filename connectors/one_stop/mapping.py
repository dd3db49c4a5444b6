"""A notice of format "opencps/1" as a `DossierEvent`. Pure: no clock, no database, no logger.

The table of correspondences is in README.md. What the source does not hold stays None. Text passes
unchanged, control characters included: whether a target can carry it is the sink's question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from schemas.records import (
    Alias,
    ApplicantType,
    Attachment,
    Channel,
    CodeName,
    DossierEvent,
    DossierTimes,
    EventKind,
    Fee,
    FinancialState,
    Notice,
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
    identity_only,
)
from schemas.sealing import Sealer, seal_person

Payload = Mapping[str, Any]

ONLINE_SERVICE, COUNTER = 1, 3  # opencps_dossier.originality: DVCTT, một cửa
RESULT_PART = 2  # opencps_dossierfile.dossierPartType
FIRST_YEAR, LAST_YEAR = 1900, 2200

_APPLICANTS = {"citizen": ApplicantType.CITIZEN, "business": ApplicantType.ENTERPRISE}
_NO_STATUS = SourceStatus(status=None, sub_status=None)
_NO_NAME = CodeName(code=None, name=None)


class ImpossibleValue(ValueError):
    """A value that cannot be what its column says. Names the field, never the value."""

    def __init__(self, field: str) -> None:
        super().__init__(f"{field}: no possible date; correct it in the one-stop system")
        self.field = field


def to_event(
    notice: Notice, payload: Payload, *, zone: ZoneInfo, sealer: Sealer, recorded_at: datetime
) -> DossierEvent:
    """The event that a notice stands for. `payload` is the opened and parsed content of the notice.

    `zone` is the zone of the source's local times. Raises `ImpossibleValue`.
    """
    if payload["dossier"] is None:
        return _dossier_gone(notice, payload, sealer, recorded_at)
    dossier: Payload = payload["dossier"]
    clock = _LocalTimes(zone)
    fallbacks: list[str] = []
    action: Payload | None = payload["action"]
    tells_step = action is not None and notice.kind in (EventKind.CHANGE, EventKind.CORRECTION)
    step = _step(payload, clock) if tells_step else None
    modified = clock.utc("modifiedDate", payload["as_of"]["modified"])
    as_of_action = payload["as_of"]["action_id"]
    born_on_portal = dossier["originality"] == ONLINE_SERVICE and bool(_text(dossier["dossierNo"]))
    person = _person(payload, action if tells_step else None, fallbacks)
    return DossierEvent(
        event_id=notice.notice_id,
        dossier_id=notice.dossier_id,
        kind=notice.kind,
        source=notice.source,
        feed=notice.feed,
        cursor=notice.cursor,
        content_hash=payload["content_hash"],
        read_seq=notice.read_seq,
        state_as_of=StateAsOf(
            action_id=None if as_of_action is None else str(as_of_action), modified_at=modified
        ),
        dossier_code=_text(dossier["dossierNo"]),
        aliases=_aliases(dossier, born_on_portal),
        born_on_portal=born_on_portal,
        procedure=Procedure(
            local_code=_text(dossier["serviceCode"]),
            # Several national codes for one procedure are none: the hub never guesses.
            national_code=payload["codes"][0] if len(payload["codes"]) == 1 else None,
            name=_text(dossier["serviceName"]),
            version=None,
        ),
        sector=_NO_NAME,
        receiving_agency=_NO_NAME,
        handling_agency=CodeName(
            code=_text(dossier["govAgencyCode"]), name=_text(dossier["govAgencyName"])
        ),
        channel=_channel(dossier),
        applicant_type=_APPLICANTS.get(_text(dossier["applicantIdType"]) or ""),
        business_state=SourceStatus(
            status=_text(dossier["dossierStatus"]), sub_status=_text(dossier["dossierSubStatus"])
        ),
        financial_state=_financial_state(payload["payments"]),
        result_state=_result_state(dossier),
        return_method=_return_method(dossier["viaPostal"]),
        times=_times(payload, clock),
        supplements=tuple(_supplement(row, clock) for row in payload["supplements"]),
        fees=tuple(_fee(row, clock) for row in payload["payments"]),
        attachments=tuple(_attachment(f) for f in payload["files"] if not _is_result(f)),
        results=tuple(_result(f) for f in payload["files"] if _is_result(f)),
        score=ScoreFields(
            submitted_at_portal=_submitted_at_portal(dossier["originality"]),
            online_payment=None if payload["payments"] else OnlinePayment.NONE,
        ),
        fallbacks=tuple(fallbacks),
        step=step,
        effective_at=_effective_at(notice, payload, clock, modified),
        recorded_at=recorded_at,
        sealed=seal_person(sealer, person, notice.dossier_id),
    )


class _LocalTimes:
    """Local times without a zone, read in the source's zone. The second 02:30 of a repeated hour is
    taken as the first; Vietnam has had none since 1975."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone

    def utc(self, field: str, text: str | None) -> datetime | None:
        """UTC, or None for a time that is not there. Raises `ImpossibleValue`."""
        if text is None or text == "":
            return None
        try:
            local = datetime.fromisoformat(text)
        except ValueError:
            raise ImpossibleValue(field) from None
        if not FIRST_YEAR <= local.year <= LAST_YEAR or local.tzinfo is not None:
            raise ImpossibleValue(field)
        return local.replace(tzinfo=self._zone).astimezone(UTC)

    def required(self, field: str, text: str | None) -> datetime:
        """The same for a time that must be there."""
        moment = self.utc(field, text)
        if moment is None:
            raise ImpossibleValue(field)
        return moment


def _text(value: object) -> str | None:
    """Codes and names: None for what is empty."""
    if value is None:
        return None
    text = str(value)
    return text if text.strip() else None


def _aliases(dossier: Payload, born_on_portal: bool) -> tuple[Alias, ...]:
    number = _text(dossier["dossierNo"])
    pairs = (
        ("dossier_no", number),
        ("portal_no", number if born_on_portal else None),
        ("reference_uid", _text(dossier["referenceUid"])),
        ("origin_no", _text(dossier["originDossierNo"])),
        ("source_id", f"{dossier['groupId'] or 0}/{dossier['dossierId']}"),
    )
    return tuple(Alias(kind=kind, value=value) for kind, value in pairs if value is not None)


def _channel(dossier: Payload) -> Channel | None:
    if dossier["online_"]:
        return Channel.ONLINE
    if dossier["fromViaPostal"]:
        return Channel.POSTAL
    if dossier["online_"] is None and dossier["fromViaPostal"] is None:
        return None
    return Channel.DIRECT


def _return_method(via_postal: int | None) -> ReturnMethod | None:
    if via_postal is None:
        return None
    return ReturnMethod.COUNTER if via_postal in (0, 1) else ReturnMethod.POST


def _submitted_at_portal(originality: int | None) -> bool | None:
    return {ONLINE_SERVICE: True, COUNTER: False}.get(originality or 0)


def _amount(payment: Payload) -> int:
    amount = payment["paymentAmount"]
    return int(amount if amount is not None else payment["feeAmount"] or 0)


def _financial_state(payments: Iterable[Payload]) -> FinancialState:
    """A fee is paid once it is confirmed; `paymentStatus` numbers differ from site to site."""
    owed = [p for p in payments if _amount(p) > 0]
    if not owed:
        return FinancialState.NONE
    paid = all(p["confirmDatetime"] for p in owed)
    return FinancialState.PAID if paid else FinancialState.OWED


def _result_state(dossier: Payload) -> ResultState:
    if dossier["finishDate"]:
        return ResultState.RETURNED
    return ResultState.READY if dossier["releaseDate"] else ResultState.NOT_READY


def _times(payload: Payload, clock: _LocalTimes) -> DossierTimes:
    dossier: Payload = payload["dossier"]
    due = clock.utc("dueDate", dossier["dueDate"])
    extended = clock.utc("extendDate", dossier["extendDate"])
    return DossierTimes(
        created=clock.utc("createDate", dossier["createDate"]),
        submitted=clock.utc("submitDate", dossier["submitDate"]),
        received=clock.utc("receiveDate", dossier["receiveDate"]),
        due=extended or due,
        extended=extended,
        previous_due=clock.utc("dueDate", payload["extended_from"]) if extended else None,
        finished=clock.utc("releaseDate", dossier["releaseDate"]),
        returned=clock.utc("finishDate", dossier["finishDate"]),
        withdrawn=clock.utc("createDate", payload["withdrawn_at"]),
        refused=clock.utc("createDate", payload["refused_at"]),
    )


def _supplement(row: Payload, clock: _LocalTimes) -> Supplement:
    return Supplement(
        supplement_id=row["id"],
        requested_at=clock.required("dossieraction.createDate", row["requested_at"]),
        completed_at=clock.utc("dossieraction.createDate", row["completed_at"]),
        old_due=clock.utc("dossieraction.dueDate", row["old_due"]),
        new_due=clock.utc("dossieraction.dueDate", row["new_due"]),
    )


def _fee(row: Payload, clock: _LocalTimes) -> Fee:
    return Fee(
        fee_id=str(row["paymentFileId"]),
        code=None,
        name=_text(row["paymentFee"]),
        amount=_amount(row),
        status=row["paymentStatus"],
        method=_text(row["paymentMethod"]),
        paid_at=clock.utc("confirmDatetime", row["confirmDatetime"]),
    )


def _is_result(row: Payload) -> bool:
    return bool(row["dossierPartType"] == RESULT_PART)


def _reference(row: Payload) -> str | None:
    return str(row["fileEntryId"]) if row["fileEntryId"] else _text(row["referenceUid"])


def _attachment(row: Payload) -> Attachment:
    return Attachment(
        file_id=str(row["dossierFileId"]),
        part_code=_text(row["dossierPartNo"]),
        reference=_reference(row),
        removed=bool(row["removed"]),
        digitised=None,
        reused=None,
        from_data_store=None,
    )


def _result(row: Payload) -> ResultPaper:
    return ResultPaper(
        file_id=str(row["dossierFileId"]),
        part_code=_text(row["dossierPartNo"]),
        result_code=_text(row["deliverableCode"]),
        reference=_reference(row),
        removed=bool(row["removed"]),
        signed=None if row["signCheck"] is None else row["signCheck"] == 1,
    )


def _step(payload: Payload, clock: _LocalTimes) -> Step:
    action: Payload = payload["action"]
    status: Payload | None = payload["status_after"]
    return Step(
        action_id=str(action["dossierActionId"]),
        previous_action_id=str(action["previousActionId"]) if action["previousActionId"] else None,
        action_code=_text(action["actionCode"]),
        step_code=_text(action["stepCode"]),
        status=SourceStatus(status=status["status"], sub_status=status["sub_status"])
        if status
        else _NO_STATUS,
        status_carried=bool(status and status["carried"]),
        at=clock.required("dossieraction.createDate", action["createDate"]),
        due=clock.utc("dossieraction.dueDate", action["dueDate"]),
    )


def _effective_at(
    notice: Notice, payload: Payload, clock: _LocalTimes, modified: datetime | None
) -> datetime:
    action: Payload | None = payload["action"]
    if notice.kind is EventKind.DELETION:
        return notice.captured_at  # nobody wrote down when the row was removed
    if action is None:
        return modified or notice.captured_at
    created = clock.required("dossieraction.createDate", action["createDate"])
    if notice.kind is EventKind.CHANGE:
        return created
    return clock.utc("dossieraction.modifiedDate", action["modifiedDate"]) or created


def _person(payload: Payload, action: Payload | None, fallbacks: list[str]) -> PersonalData:
    dossier: Payload = payload["dossier"]
    summary = _text(dossier["dossierName"])
    if summary is None and (summary := _text(dossier["serviceName"])) is not None:
        fallbacks.append("summary")
    step_text = None
    if action is not None:
        step_text = _text(action["actionNote"])
        if step_text is None and (step_text := _text(action["actionName"])) is not None:
            fallbacks.append("step_text")
    return PersonalData(
        owner_name=_text(dossier["applicantName"]),
        owner_id_no=_text(dossier["applicantIdNo"]),
        submitter_name=_text(dossier["contactName"]),
        phone=_text(dossier["contactTelNo"]),
        email=_text(dossier["contactEmail"]),
        address=_text(dossier["address"]),
        summary=summary,
        note=_text(dossier["dossierNote"]),
        step_officer=_text(action["actionUser"]) if action is not None else None,
        step_text=step_text,
        file_names={
            str(f["dossierFileId"]): f["displayName"] for f in payload["files"] if f["displayName"]
        },
        supplements={
            row["id"]: {
                word: row[word] for word in ("requested_by", "text", "received_by") if row[word]
            }
            for row in payload["supplements"]
        },
    )


def _dossier_gone(
    notice: Notice, payload: Payload, sealer: Sealer, recorded_at: datetime
) -> DossierEvent:
    """The whole dossier is no longer in the source."""
    return identity_only(
        event_id=notice.notice_id,
        dossier_id=notice.dossier_id,
        kind=EventKind.DELETION,
        source=notice.source,
        feed=notice.feed,
        cursor=notice.cursor,
        content_hash=payload["content_hash"],
        read_seq=notice.read_seq,
        effective_at=notice.captured_at,
        recorded_at=recorded_at,
        sealed=seal_person(sealer, PersonalData(), notice.dossier_id),
    )
