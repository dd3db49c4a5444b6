"""What an event owes to which target. Pure: the event alone decides; codes are looked up when sending."""

from __future__ import annotations

from schemas.ledger.model import DeliveryState, Due, Operation
from schemas.reasons import Reason
from schemas.records import DossierEvent, EventKind, ReportPacket

NATIONAL_PORTAL = "national_portal"
GOV_REPORTING = "gov_reporting"


def dues(event: DossierEvent) -> tuple[Due, ...]:
    """The deliveries that enter the ledger with this event, the state before the step."""
    return national_portal(event)


def packet_dues(packet: ReportPacket) -> tuple[Due, ...]:
    """What the Government reporting system is owed: each revision as the newest state of its report.

    It is owed whether or not the hub knows the system's address: then it waits.
    """
    return (Due(target=GOV_REPORTING, operation=Operation.STATE),)


def national_portal(event: DossierEvent) -> tuple[Due, ...]:
    """What the National Public Service Portal is owed. It is append-only: steps are never taken back.

    An event without a dossier code is owed all the same; the engine lets it wait for the code.
    """
    state = (_due(Operation.STATE),) if _owes_state(event) else ()
    match event.kind:
        case EventKind.CHANGE:
            return (*state, _due(Operation.STEP)) if event.step else state
        case EventKind.CORRECTION:
            if event.step is None:
                return state
            corrected = _due(Operation.STEP, DeliveryState.DISCARDED, Reason.CORRECTED_AT_SOURCE)
            return (*state, corrected)
        case EventKind.ROLLBACK:
            return state
        case EventKind.DELETION:
            gone = _due(Operation.RETRACTION, DeliveryState.PARKED, Reason.DELETED_AT_SOURCE)
            return (*state, gone)
        case EventKind.GAP:
            return (_due(Operation.STEP, DeliveryState.PARKED, Reason.GAP),)


def _owes_state(event: DossierEvent) -> bool:
    """Before reception the portal is owed a state only of a dossier that was born there.

    The step of a counter dossier is enlisted all the same: it follows the first state that is owed.
    A deletion of the whole dossier leaves no state to send.
    """
    if event.business_state.status is None and event.state_as_of.modified_at is None:
        return False
    return event.born_on_portal or event.times.received is not None


def _due(
    operation: Operation,
    state: DeliveryState = DeliveryState.PENDING,
    reason: Reason | None = None,
) -> Due:
    return Due(target=NATIONAL_PORTAL, operation=operation, state=state, reason=reason)
