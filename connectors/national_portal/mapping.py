"""From a `DossierEvent` to neutral records in the portal's terms. Pure: no clock, no I/O, no wire names.

What the source cannot give stays empty; nothing is cut, guessed or made up. National codes are looked up
by the event's source at the event's effective time. How the records are written is the dialect's affair.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum

from connectors.errors import RejectedError
from connectors.national_portal.dialect import Dialect, Item, Record, Scalar
from schemas.dossier.mappings import Codes, Unmapped
from schemas.dossier.status import Status
from schemas.reasons import Reason
from schemas.records import DossierEvent, PersonalData

OpenPerson = Callable[[DossierEvent], PersonalData]


class SubmittedAt(StrEnum):
    """Where a dossier was handed in (portal contract §9, NoiNopHoSo)."""

    PORTAL = "portal"
    ONE_STOP = "one_stop"


class IdKind(StrEnum):
    """Kinds of personal numbers (portal contract §9, LoaiDinhDanh)."""

    PERSONAL_ID = "personal_id"  # 12 digits
    ID_CARD = "id_card"  # 9 digits


_ORDER = (
    # An earlier time that must not come after a later one. Submission may be entered after reception.
    ("received", "due"),
    ("received", "finished"),
    ("received", "returned"),
)


def state_record(
    event: DossierEvent, codes: Codes, open_person: OpenPerson, dialect: Dialect
) -> tuple[Record, Status]:
    """The full state and its canonical status. Raises `RejectedError` (unmapped, field_invalid)."""
    at = event.effective_at
    try:
        status = codes.status(
            event.source, event.business_state.status, event.business_state.sub_status, at
        )
        procedure = codes.procedure(event.source, event.procedure.local_code, at)
        agency = codes.agency(event.source, event.handling_agency.code, at)
    except Unmapped as exc:
        raise RejectedError(Reason.UNMAPPED, str(exc)) from None
    person = open_person(event)
    times = event.times
    record: dict[str, Scalar | list[Item]] = {
        "code": event.dossier_code,
        "procedure_code": procedure.value,
        "procedure_name": procedure.name or event.procedure.name,
        "sector_code": event.sector.code,
        "sector_name": event.sector.name,
        "channel": event.channel,
        "owner_name": person.owner_name,
        "owner_id_no": person.owner_id_no,
        "owner_ids": _owner_ids(person.owner_id_no),
        "applicant_type": event.applicant_type,
        "email": person.email,
        "phone": person.phone,
        "summary": person.summary,
        "submitted": times.submitted,
        "received": times.received,
        "due": times.extended or times.due,
        "refused": times.refused,
        "status": status,
        "returned": times.returned,
        "return_method": event.return_method,
        "finished": times.finished,
        "handling_agency": agency.name or event.handling_agency.name,
        "note": person.note,
        "attachments": _attachments(event, person),
        "fees": _fees(event, dialect),
        "supplements": _supplements(event, person),
        "results": _results(event, person),
        "submitted_at": _submitted_at(event),
        "has_digitised_components": event.score.has_digitised_components,
        "vneid_authenticated": event.score.vneid_authenticated,
        "online_payment": event.score.online_payment,
        "databases": [{"code": code} for code in event.score.databases_used],
    }
    _check_order(record, dialect)
    return record, status


def step_record(
    event: DossierEvent, codes: Codes, open_person: OpenPerson
) -> tuple[Record, Status]:
    """The event's step and its canonical status. Raises `RejectedError` (unmapped, field_missing).

    Without the dossier code: a step may be older than the code, and goes out under the one claimed.
    """
    step = event.step
    if step is None:
        raise RejectedError(Reason.FIELD_MISSING, "the event holds no step", field="step")
    try:
        status = codes.status(
            event.source, step.status.status, step.status.sub_status, event.effective_at
        )
    except Unmapped as exc:
        raise RejectedError(Reason.UNMAPPED, str(exc)) from None
    person = open_person(event)
    return {
        "officer": person.step_officer,
        "time": step.at,
        "text": person.step_text,
        "status": status,
        "due": step.due,
    }, status


def _owner_ids(number: str | None) -> list[Item]:
    """The personal number with its kind, where its digits tell the kind."""
    digits = (number or "").strip()
    if not digits.isascii() or not digits.isdigit():
        return []
    kind = {12: IdKind.PERSONAL_ID, 9: IdKind.ID_CARD}.get(len(digits))
    return [{"kind": kind, "number": digits}] if kind else []


def _submitted_at(event: DossierEvent) -> SubmittedAt:
    at_portal = event.score.submitted_at_portal
    if at_portal is None:
        at_portal = event.born_on_portal
    return SubmittedAt.PORTAL if at_portal else SubmittedAt.ONE_STOP


def _attachments(event: DossierEvent, person: PersonalData) -> list[Item]:
    return [
        {
            "file_id": paper.file_id,
            "name": person.file_names.get(paper.file_id),
            "removed": paper.removed,
            "part_code": paper.part_code,
            "reference": paper.reference,
            "digitised": paper.digitised,
            "reused": paper.reused,
            "from_data_store": paper.from_data_store,
        }
        for paper in event.attachments
    ]


def _fees(event: DossierEvent, dialect: Dialect) -> list[Item]:
    for fee in event.fees:
        if fee.amount < 0:
            spec = dialect.dossier.lists.get("fees")
            amount = spec.fields.get("amount") if spec else None
            label = f"{spec.path}.{amount.path}" if spec and amount else "fees"
            raise RejectedError(
                Reason.FIELD_INVALID, f"field={label}: a negative amount", field=label
            )
    return [{"name": fee.name, "code": fee.code, "amount": fee.amount} for fee in event.fees]


def _supplements(event: DossierEvent, person: PersonalData) -> list[Item]:
    items: list[Item] = []
    for supplement in event.supplements:
        words = person.supplements.get(supplement.supplement_id, {})
        items.append(
            {
                "id": supplement.supplement_id,
                "requested_by": words.get("requested_by"),
                "text": words.get("text"),
                "requested_at": supplement.requested_at,
                "received_by": words.get("received_by"),
                "completed_at": supplement.completed_at,
                "completed": supplement.completed_at is not None,
                "old_due": supplement.old_due,
                "new_due": supplement.new_due,
            }
        )
    return items


def _results(event: DossierEvent, person: PersonalData) -> list[Item]:
    # The contract has no word for a removed result: it leaves with the next full state.
    return [
        {
            "name": person.file_names.get(paper.file_id),
            "part_code": paper.part_code,
            "file_id": paper.file_id,
            "reference": paper.reference,
            "result_code": paper.result_code,
        }
        for paper in event.results
        if not paper.removed
    ]


def _check_order(record: Record, dialect: Dialect) -> None:
    for first, second in _ORDER:
        earlier, later = record.get(first), record.get(second)
        if isinstance(earlier, datetime) and isinstance(later, datetime) and later < earlier:
            names = {key: spec.path for key, spec in dialect.dossier.fields.items()}
            label = names.get(second, second)
            raise RejectedError(
                Reason.FIELD_INVALID,
                f"field={label} lies before field={names.get(first, first)}",
                field=label,
            )
