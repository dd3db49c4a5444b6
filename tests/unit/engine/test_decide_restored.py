"""What the engine makes of the attempts of unknown outcome that a restored ledger begins (rule 14)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectors.protocols import Abilities, Lookup, LookupAnswer, StepsUnknown
from schemas.ledger.model import (
    Attempt,
    AttemptKind,
    DeliveryState,
    Known,
    Outcome,
    Work,
)
from schemas.reasons import Reason
from streams.engine.actions import Action, Answer, Ask, Idle, Plan, Send, Settle
from streams.engine.decide import next_action, rows_to_map
from tests.unit.engine.test_decide import NOW, SEND_BY, attempt, dossier, state, step

OVER = NOW + SEND_BY + 60.0
BELIEVED = OVER + 5.0
PROFILES = {
    lookup: Abilities(lookup=lookup, lookup_lag=5.0, late_effect_bound=60.0) for lookup in Lookup
}


def asked(kind: AttemptKind, *ids: int, name: str = "state") -> Attempt:
    return replace(
        attempt(kind, *ids),
        attempt_id=name,
        content_hash="",
        outcome=Outcome.UNKNOWN,
        reason=Reason.RESTORED,
    )


def restored(
    kind: AttemptKind | None = AttemptKind.CREATE, known: Known = Known.UNKNOWN, steps: int = 2
) -> Work:
    """State 7 and its steps, of which nobody knows anything."""
    ids = tuple(range(2, 2 + steps))
    rows = [state(1, 7), *(step(i, 7, state=DeliveryState.SENDING) for i in ids)]
    attempts = [asked(kind)] if kind else []
    if ids:
        attempts.append(asked(AttemptKind.STEPS, *ids, name="steps"))
    return Work(
        dossier=dossier(known=known, claimed_code="C"),
        rows=tuple(rows),
        attempts=tuple(attempts),
    )


def decide(
    work: Work,
    lookup: Lookup,
    answer: LookupAnswer | None = None,
    *,
    now: float = BELIEVED,
    refused: frozenset[int] = frozenset(),
    abilities: Abilities | None = None,
) -> Action:
    abilities = abilities or PROFILES[lookup]
    plans = {
        row.delivery_id: Plan(refusal=Reason.UNMAPPED, detail="codelist=status")
        if row.delivery_id in refused
        else Plan(code="C", content_hash=f"h{row.delivery_id}")
        for row in rows_to_map(work, abilities)
    }
    given = Answer(asked_at=now, said=answer) if answer is not None else None
    return next_action(work, plans, given, now, abilities, SEND_BY)


def without_state(work: Work, known: Known) -> Work:
    """After the state's attempt was closed."""
    return replace(work, attempts=work.attempts[1:], dossier=replace(work.dossier, known=known))


@pytest.mark.parametrize("lookup", Lookup)
def test_before_anything_is_sent_the_target_is_asked_when_it_can_be_believed(
    lookup: Lookup,
) -> None:
    assert decide(restored(), lookup, now=NOW) == Idle(wake_at=BELIEVED)
    assert decide(restored(), lookup) == Ask(code="C")


@pytest.mark.parametrize("lookup", Lookup)
@pytest.mark.parametrize("present", [True, False])
def test_a_create_follows_the_answer(lookup: Lookup, present: bool) -> None:
    settled = decide(restored(steps=0), lookup, LookupAnswer(present=present))
    assert isinstance(settled, Settle)
    assert settled.patch is not None
    assert settled.close == "state"
    known = Known.PRESENT if present else Known.ABSENT
    assert (settled.patch.known, settled.patch.clear_hash) == (known, True)

    sent = decide(replace(restored(steps=0), attempts=(), dossier=dossier(known=known)), lookup)
    assert isinstance(sent, Send)
    assert sent.kind is (AttemptKind.UPDATE if present else AttemptKind.CREATE)
    assert sent.proved_absent is not present


@pytest.mark.parametrize("lookup", Lookup)
def test_an_update_waits_for_late_effects_and_sends_the_newest_state(lookup: Lookup) -> None:
    work = restored(AttemptKind.UPDATE, Known.PRESENT, steps=0)
    assert decide(work, lookup, now=NOW) == Idle(wake_at=OVER)
    settled = decide(work, lookup, now=OVER)
    assert isinstance(settled, Settle)
    assert settled.patch is not None
    assert settled.patch.clear_hash
    sent = decide(replace(work, attempts=()), lookup)
    assert isinstance(sent, Send)
    assert (sent.kind, sent.version) == (AttemptKind.UPDATE, 7)


def test_listed_steps_are_looked_for_as_they_would_be_sent_now() -> None:
    work = without_state(restored(steps=3), Known.PRESENT)
    assert decide(work, Lookup.STEPS, now=OVER) == Idle(wake_at=BELIEVED)
    settled = decide(work, Lookup.STEPS, LookupAnswer(present=True, steps=("x", "h2", "h3")))
    assert isinstance(settled, Settle)
    assert settled.close == "steps"
    assert [(s.delivery_id, s.state, s.step_key) for s in settled.settled] == [
        (2, DeliveryState.DELIVERED, "h2"),
        (3, DeliveryState.DELIVERED, "h3"),
        (4, DeliveryState.PENDING, None),
    ]


def test_a_step_that_was_passed_over_is_not_sent_behind_a_later_one() -> None:
    work = without_state(restored(), Known.PRESENT)
    settled = decide(work, Lookup.STEPS, LookupAnswer(present=True, steps=("h3",)))
    assert isinstance(settled, Settle)
    assert [(s.state, s.reason) for s in settled.settled] == [
        (DeliveryState.PARKED, Reason.OUTCOME_UNKNOWN),
        (DeliveryState.DELIVERED, None),
    ]


@pytest.mark.parametrize(
    ("listed", "reason"), [(("h2",), Reason.UNMAPPED), (("h2", "?"), Reason.OUTCOME_UNKNOWN)]
)
def test_a_step_that_cannot_be_mapped_is_in_doubt_only_if_something_else_is_listed(
    listed: tuple[str, ...], reason: Reason
) -> None:
    work = without_state(restored(), Known.PRESENT)
    answer = LookupAnswer(present=True, steps=listed)
    settled = decide(work, Lookup.STEPS, answer, refused=frozenset({3}))
    assert isinstance(settled, Settle)
    last = settled.settled[-1]
    assert (last.state, last.reason) == (DeliveryState.PARKED, reason)
    assert last.detail == "codelist=status"


@pytest.mark.parametrize("lookup", [Lookup.EXISTENCE, Lookup.STATE])
def test_steps_that_nobody_can_list_are_parked_and_the_state_goes_on(lookup: Lookup) -> None:
    work = without_state(restored(), Known.PRESENT)
    settled = decide(work, lookup)
    assert isinstance(settled, Settle)
    assert {(s.state, s.reason) for s in settled.settled} == {
        (DeliveryState.PARKED, Reason.OUTCOME_UNKNOWN)
    }
    sent = decide(replace(work, attempts=()), lookup)
    assert isinstance(sent, Send)
    assert sent.kind is AttemptKind.UPDATE


@pytest.mark.parametrize("lookup", [Lookup.EXISTENCE, Lookup.STATE])
def test_where_there_is_no_dossier_there_are_no_steps_of_it(lookup: Lookup) -> None:
    settled = decide(without_state(restored(), Known.ABSENT), lookup)
    assert isinstance(settled, Settle)
    assert {s.state for s in settled.settled} == {DeliveryState.PENDING}


def test_a_dialect_that_resends_still_never_guesses_a_supplement_request() -> None:
    abilities = replace(PROFILES[Lookup.EXISTENCE], steps_unknown=StepsUnknown.RESEND)
    work = without_state(restored(), Known.PRESENT)
    plans = {2: Plan(content_hash="h2"), 3: Plan(content_hash="h3", supplement_request=True)}
    settled = next_action(work, plans, None, BELIEVED, abilities, SEND_BY)
    assert isinstance(settled, Settle)
    assert [s.state for s in settled.settled] == [DeliveryState.PENDING, DeliveryState.PARKED]
