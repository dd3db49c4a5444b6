"""What an event owes to which target, as a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from schemas.ledger.model import DeliveryState, Operation
from schemas.reasons import Reason
from schemas.records import DossierTimes, EventKind, SourceStatus, StateAsOf, Step
from streams.dead_letters import NotUnderstood, gap
from streams.positions import Received
from streams.routing import dues, packet_dues
from tests.contract.packets_contract import make_packet
from tests.unit.streams.kit import AT

STATE = (Operation.STATE, DeliveryState.PENDING, None)
STEP = (Operation.STEP, DeliveryState.PENDING, None)
CORRECTED = (Operation.STEP, DeliveryState.DISCARDED, Reason.CORRECTED_AT_SOURCE)
RETRACTION = (Operation.RETRACTION, DeliveryState.PARKED, Reason.DELETED_AT_SOURCE)
GAP = (Operation.STEP, DeliveryState.PARKED, Reason.GAP)

A_STEP = Step(
    action_id="7",
    previous_action_id=None,
    action_code="1100",
    step_code="200",
    status=SourceStatus(status="processing", sub_status=None),
    status_carried=False,
    at=AT,
    due=None,
)
RECEIVED = DossierTimes(received=AT)


def event(**changes: Any) -> Any:
    record = Received("onestop.notices", 1, 5, AT.timestamp(), b"d1", b"")
    blank = gap(
        NotUnderstood(record=record, reason=Reason.UNDECODABLE, detail="", dossier_id="d1"), AT
    )
    assert blank is not None
    base: dict[str, Any] = {
        "kind": EventKind.CHANGE,
        "times": RECEIVED,
        "dossier_code": "000.00.12.H12-260302-0001",
        "business_state": SourceStatus(status="processing", sub_status=None),
        "state_as_of": StateAsOf(action_id="7", modified_at=AT),
    }
    return replace(blank, **(base | changes))


@pytest.mark.parametrize(
    ("what", "changes", "expected"),
    [
        ("a change with its step", {"step": A_STEP}, [STATE, STEP]),
        ("a change without an action", {}, [STATE]),
        ("a rollback", {"kind": EventKind.ROLLBACK}, [STATE]),
        ("a rollback never sends its step", {"kind": EventKind.ROLLBACK, "step": A_STEP}, [STATE]),
        ("a correction", {"kind": EventKind.CORRECTION, "step": A_STEP}, [STATE, CORRECTED]),
        ("a deleted action", {"kind": EventKind.DELETION}, [STATE, RETRACTION]),
        (
            "a deleted dossier",
            {
                "kind": EventKind.DELETION,
                "times": DossierTimes(),
                "business_state": SourceStatus(status=None, sub_status=None),
                "state_as_of": StateAsOf(action_id=None, modified_at=None),
                "born_on_portal": True,
            },
            [RETRACTION],
        ),
        ("a gap", {"kind": EventKind.GAP}, [GAP]),
        ("counter, before reception", {"step": A_STEP, "times": DossierTimes()}, [STEP]),
        ("counter, before reception, no action", {"times": DossierTimes()}, []),
        (
            "portal-born, before reception",
            {"step": A_STEP, "times": DossierTimes(), "born_on_portal": True},
            [STATE, STEP],
        ),
        ("no dossier code yet", {"step": A_STEP, "dossier_code": None}, [STATE, STEP]),
    ],
)
def test_dues(what: str, changes: dict[str, Any], expected: list[object]) -> None:
    found = dues(event(**changes))
    assert [(due.operation, due.state, due.reason) for due in found] == expected
    assert {due.target for due in found} <= {"national_portal"}


def test_a_packet_is_owed_to_the_reporting_system_as_a_state() -> None:
    (due,) = packet_dues(make_packet(2))
    assert (due.target, due.operation, due.state) == (
        "gov_reporting",
        Operation.STATE,
        DeliveryState.PENDING,
    )


def test_a_gap_is_the_same_gap_when_it_is_read_again() -> None:
    assert event().event_id == event().event_id == "gap:onestop.notices/1/5"
