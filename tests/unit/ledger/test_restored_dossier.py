"""What is done about one dossier of a restored ledger: proofs count, all else is asked about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.ledger.model import AttemptKind, DeliveryState, Known, Operation, Outcome
from schemas.ledger.restored_dossier import Amends, Lost, OpenAttempt, OpenRow, Proof, amends

AT = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
RECEIPT = Proof(attempt_id="a-1", step_key="k", delivered_at=AT, published=True)


def state(number: int, version: int, **more: object) -> OpenRow:
    return _row(number, version, Operation.STATE, **more)


def step(number: int, version: int, **more: object) -> OpenRow:
    return _row(number, version, Operation.STEP, **more)


def _row(number: int, version: int, operation: Operation, **more: object) -> OpenRow:
    given = {"state": DeliveryState.PENDING, "reason": None} | more
    return OpenRow(
        delivery_id=number,
        event_id=f"e{version}",
        operation=operation,
        version=version,
        log_pos=version,
        **given,  # type: ignore[arg-type] # test data by keyword
    )


def look(
    *rows: OpenRow,
    receipts: tuple[OpenRow, ...] = (),
    attempts: tuple[OpenAttempt, ...] = (),
    **more: object,
) -> Amends:
    given = {
        "known": Known.UNKNOWN,
        "born_on_portal": False,
        "delivered_version": -1,
        "last_step": -1,
        "code": "C",
    } | more
    lost = Lost(**given)  # type: ignore[arg-type] # test data by keyword
    proofs = {(row.event_id, row.operation.value): RECEIPT for row in receipts}
    return amends("t", "d", lost, rows, attempts, proofs)


def test_what_nothing_proves_is_asked_about_the_state_first() -> None:
    found = look(state(1, 3), step(2, 3), state(3, 4), step(4, 4))
    assert found.attempts == (AttemptKind.CREATE, AttemptKind.STEPS)
    assert found.asked_steps == (2, 4)
    assert (found.known, found.delivered_version, found.newest_version) == (Known.UNKNOWN, -1, 4)


def test_a_create_is_never_sent_blindly_though_the_copy_had_proved_the_dossier_absent() -> None:
    found = look(state(1, 3), known=Known.ABSENT)
    assert found.attempts == (AttemptKind.CREATE,)
    assert found.known is Known.UNKNOWN


@pytest.mark.parametrize("more", [{"known": Known.PRESENT}, {"born_on_portal": True}])
def test_where_the_target_knows_the_dossier_an_update_is_in_doubt(more: dict[str, Any]) -> None:
    assert look(state(1, 3), **more).attempts == (AttemptKind.UPDATE,)


def test_a_receipt_settles_its_delivery_and_supersedes_the_older_states() -> None:
    rows = (state(1, 3), step(2, 3), state(3, 4), step(4, 4), state(5, 5))
    found = look(*rows, receipts=(rows[2], rows[1]))
    assert set(found.delivered) == {2, 3}
    assert found.superseded == (1,)
    assert found.asked_steps == (4,)
    assert (found.known, found.delivered_version, found.last_step) == (Known.PRESENT, 4, 3)
    assert found.attempts == (AttemptKind.UPDATE, AttemptKind.STEPS), "state 5 may have been sent"


def test_everything_proved_leaves_nothing_to_ask() -> None:
    rows = (state(1, 3), step(2, 3))
    found = look(*rows, receipts=rows)
    assert (found.attempts, found.asked_steps, found.superseded) == ((), (), ())


def test_steps_alone_are_asked_about_where_the_dossier_is_known() -> None:
    assert look(step(2, 3), known=Known.PRESENT, delivered_version=3).attempts == (
        AttemptKind.STEPS,
    )
    assert look(step(2, 3)).attempts == (), "no state was ever owed, so no step can have been sent"


def test_without_a_number_nothing_can_have_been_sent() -> None:
    found = look(state(1, 3, state=DeliveryState.WAITING), step(2, 3), code=None)
    assert (found.attempts, found.asked_steps, found.parked) == ((), (), ())


def test_several_numbers_of_which_none_is_known_to_be_the_one_sent_are_for_a_person() -> None:
    rows = (state(1, 3), step(2, 3), step(3, 4, state=DeliveryState.PARKED, reason="gap"))
    found = look(*rows, code=None, ambiguous=True)
    assert found.parked == (1, 2)
    assert found.attempts == ()


def test_a_parked_step_may_have_been_freed_and_sent_in_the_lost_time() -> None:
    unmapped = step(2, 3, state=DeliveryState.PARKED, reason="unmapped")
    assert look(state(1, 3), unmapped).asked_steps == (2,)


@pytest.mark.parametrize("reason", ["gap", "outcome_unknown"])
def test_what_only_a_person_sends_stays_with_people(reason: str) -> None:
    parked = step(2, 3, state=DeliveryState.PARKED, reason=reason)
    assert look(state(1, 3), parked).asked_steps == ()


def test_open_attempts_of_the_copy_end_and_what_they_covered_is_asked_about_anew() -> None:
    rows = (
        state(1, 3, state=DeliveryState.SENDING),
        step(2, 3, state=DeliveryState.SENDING),
    )
    silent = OpenAttempt(attempt_id="old", delivery_ids=(1,), outcome=None)
    failed = OpenAttempt(attempt_id="older", delivery_ids=(2,), outcome=Outcome.FAILED)
    found = look(*rows, attempts=(silent, failed), known=Known.PRESENT)
    assert found.closed == ("old", "older")
    assert found.freed == (1,), "the step goes straight into the new attempt"
    assert found.attempts == (AttemptKind.UPDATE, AttemptKind.STEPS)


def test_an_outcome_that_was_written_and_not_yet_used_is_proof_too() -> None:
    row = state(1, 3, state=DeliveryState.SENDING)
    said = OpenAttempt(attempt_id="old", delivery_ids=(1,), outcome=Outcome.DELIVERED)
    found = look(row, attempts=(said,))
    assert found.delivered[1].attempt_id == "old"
    assert not found.delivered[1].published, "its receipt is still owed"
    assert found.attempts == ()
