"""What the newest state of a dossier says for the rates of Decision 766/QĐ-TTg.

A fact is True, False, or None where what the source says does not tell. The portal counts None as False:
a field that was not sent counts against the unit. The readings are those of the reporting contract §4.3
and the operational description "Mô tả công thức tính chỉ số 766" (one source); what is inferred is marked.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime

from schemas.dossier.mappings import Codes, Unmapped
from schemas.dossier.service_levels import NO_LEVELS, ResultForm, Service, ServiceLevels
from schemas.dossier.status import Status
from schemas.dossier.timeline import Timeline, received_at
from schemas.dossier.working_calendar import civil_day
from schemas.ledger.figures import Facts
from schemas.records import DossierEvent, FinancialState, OnlinePayment

_ONLINE = frozenset({OnlinePayment.PORTAL, OnlinePayment.AGENCY_GATEWAY})


def facts(
    event: DossierEvent, timeline: Timeline, codes: Codes, levels: ServiceLevels = NO_LEVELS
) -> Facts:
    """The facts of a dossier whose newest state is `event`, under the codes that the portal is sent.

    Its unit is the handling agency, its procedure that of the local code, both by the mapping in force at
    the time of the state, as when it is sent; without a mapping they are unknown. Of the procedure counts
    what was in force on the day of reception; of a dossier that was not received, on the day of the state.
    """
    procedure, received = _procedure(event, codes), received_at(timeline)
    service = service_of(event, timeline, codes, levels)
    return Facts(
        code=event.dossier_code or None,
        procedure_code=procedure,
        local_procedure_code=event.procedure.local_code,
        sector_code=event.sector.code,
        agency_code=_agency(event, codes),
        channel=event.channel.value if event.channel else None,
        received_at=received,
        returned_at=_returned_at(timeline),
        electronic_result=electronic_result(event),
        digitised=digitised(event, service),
        reused=reused(event),
        from_data_store=from_data_store(event),
        population_data=population_data(event),
        paid_online=paid_online(event),
        financial_obligation=financial_obligation(event, service),
        service_level=service.level.value if service else None,
        paper_result=_on_paper(service),
    )


def service_of(
    event: DossierEvent, timeline: Timeline, codes: Codes, levels: ServiceLevels
) -> Service | None:
    """What is known of its procedure: the row in force on the day of reception, else of the state."""
    day = _day(received_at(timeline) or event.effective_at)
    return levels.on(_procedure(event, codes), day)


def electronic_result(event: DossierEvent) -> bool:
    """Whether a file of the result is linked (§4.3 e). What was removed is no result."""
    return any(paper.reference and not paper.removed for paper in event.results)


def digitised(event: DossierEvent, service: Service | None = None) -> bool | None:
    """Whether components are attached as files, and the result too where the procedure needs it (§4.3 e).

    It needs it where it returns paper. Where that is not known, a dossier without an electronic result is
    unknown.
    """
    if not any(paper.reference and not paper.removed for paper in event.attachments):
        return False
    if electronic_result(event):
        return True
    on_paper = _on_paper(service)
    return None if on_paper is None else not on_paper


def reused(event: DossierEvent) -> bool | None:
    """Whether a component was used again: HoSoCoThanhPhanSoHoa, or of a part DuocTaiSuDung, or DuocSoHoa for
    a dossier that was born on the portal (§4.3 e; which of the fields counts is told in two ways)."""
    parts = [paper for paper in event.attachments if not paper.removed]
    told = [event.score.has_digitised_components, *(paper.reused for paper in parts)]
    if event.born_on_portal:
        told += [paper.digitised for paper in parts]
    return _any(told)


def from_data_store(event: DossierEvent) -> bool | None:
    """Whether a part came from the personal storage on the portal: DuocLayTuKhoDMQG (§4.3 e).

    The description's other way, a link to the result that was synchronised, is left out: by it the share
    would be that of the electronic results, and every published one is 0.
    """
    return _any(paper.from_data_store for paper in event.attachments if not paper.removed)


def population_data(event: DossierEvent) -> bool | None:
    """Whether population data was used: TaiKhoanDuocXacThucVoiVNeID, or DuocLayTuKhoDMQG (§4.3 e).

    The third sign, MaCSDL of the population database, cannot be read: which code it has is not public.
    So a dossier that names a database is unknown, unless one of the others tells.
    """
    told = [event.score.vneid_authenticated, from_data_store(event)]
    if event.score.databases_used:
        told.append(None)
    return _any(told)


def paid_online(event: DossierEvent) -> bool | None:
    """DuocThanhToanTrucTuyen 1 or 2: on the portal, or through the agency's gateway (§4.3 f)."""
    return None if event.score.online_payment is None else event.score.online_payment in _ONLINE


def financial_obligation(event: DossierEvent, service: Service | None = None) -> bool | None:
    """Whether its procedure has a fee, and not every fee of the dossier is 0 (§4.3 f).

    Where the procedure's fee is not known, that a fee of the dossier, or its having been paid, shows it is
    inferred. Where it is known it decides, whatever was paid: so the description, to the letter.
    """
    if service is not None and service.has_fee is not None:
        every_fee_is_0 = bool(event.fees) and all(fee.amount == 0 for fee in event.fees)
        return service.has_fee and not every_fee_is_0
    if paid_online(event):
        return True
    if event.fees:
        return any(fee.amount > 0 for fee in event.fees)
    if event.financial_state is None:
        return None
    return event.financial_state is not FinancialState.NONE


def _day(instant: datetime) -> date:
    try:
        return civil_day(instant)
    except OverflowError:  # on the last day of all; what cannot be is told apart later
        return instant.date()


def _on_paper(service: Service | None) -> bool | None:
    if service is None or service.result is None:
        return None
    return service.result is ResultForm.PAPER


def _any(told: Iterable[bool | None]) -> bool | None:
    """True if one is, else None if nothing is told or one is not known."""
    values = list(told)
    if True in values:
        return True
    return None if None in values or not values else False


def _agency(event: DossierEvent, codes: Codes) -> str | None:
    try:
        return codes.agency(event.source, event.handling_agency.code, event.effective_at).value
    except Unmapped:
        return None


def _procedure(event: DossierEvent, codes: Codes) -> str | None:
    try:
        return codes.procedure(event.source, event.procedure.local_code, event.effective_at).value
    except Unmapped:
        return None


def _returned_at(timeline: Timeline) -> datetime | None:
    if timeline.times.returned is not None:
        return timeline.times.returned
    return next((e.at for e in timeline.entries if e.status is Status.RETURNED), None)
