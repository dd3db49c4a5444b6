"""The core's rules, one table row each: what is known, and what must come next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectors.protocols import Abilities, Lookup, LookupAnswer, StepsUnknown
from schemas.ledger.model import (
    Attempt,
    AttemptKind,
    DeliveryRow,
    DeliveryState,
    DossierTarget,
    Known,
    Operation,
    Outcome,
    SentStep,
    Work,
)
from schemas.reasons import Reason
from streams.engine.actions import Action, Answer, Ask, Idle, Plan, Send, Settle
from streams.engine.decide import next_action, rows_to_map

ABILITIES = Abilities(lookup_lag=5.0, late_effect_bound=60.0, steps_chunk_max=2)
SEND_BY = 2.0
NOW = 10_000.0


def state(number: int, version: int, **more: object) -> DeliveryRow:
    return _row(number, version, Operation.STATE, **more)


def step(number: int, version: int, **more: object) -> DeliveryRow:
    return _row(number, version, Operation.STEP, **more)


def _row(number: int, version: int, operation: Operation, **more: object) -> DeliveryRow:
    row = DeliveryRow(
        delivery_id=number,
        event_id=f"e{number}",
        operation=operation,
        version=version,
        log_pos=number,
        state=DeliveryState.PENDING,
        reason=None,
        payload=b"",
    )
    return replace(row, **more)  # type: ignore[arg-type] # test data by keyword


def dossier(**more: object) -> DossierTarget:
    base = DossierTarget(dossier_id="d", target="t", partition=0)
    return replace(base, **more)  # type: ignore[arg-type] # test data by keyword


def attempt(kind: AttemptKind, *ids: int, **more: object) -> Attempt:
    base = Attempt(
        attempt_id="a",
        kind=kind,
        delivery_ids=ids,
        version=7,
        content_hash="red",
        proved_absent=False,
        epoch=1,
        started_at=NOW,
    )
    return replace(base, **more)  # type: ignore[arg-type] # test data by keyword


def work(*rows: DeliveryRow, attempts: tuple[Attempt, ...] = (), **more: object) -> Work:
    return Work(dossier=dossier(**more), rows=rows, attempts=attempts)


def decide(
    given: Work,
    answer: Answer | None = None,
    now: float = NOW,
    plans: dict[int, Plan] | None = None,
    abilities: Abilities = ABILITIES,
) -> Action:
    named = {row.delivery_id for row in rows_to_map(given, abilities)}
    known = {n: (plans or {}).get(n, Plan(code="C", content_hash=f"h{n}")) for n in named}
    return next_action(given, known, answer, now, abilities, SEND_BY)


KNOWN = {"known": Known.PRESENT, "claimed_code": "C", "delivered_version": 5, "delivered_hash": "x"}


class TestStateStream:
    def test_the_newest_state_is_created_where_nothing_is_known(self) -> None:
        action = decide(work(state(1, 3), state(2, 7)))

        assert isinstance(action, Send)
        assert (action.kind, action.rows[0].delivery_id, action.claim) == (
            AttemptKind.CREATE,
            2,
            "C",
        )

    def test_a_dossier_born_on_the_portal_is_updated_at_first(self) -> None:
        action = decide(work(state(1, 3), born_on_portal=True))

        assert isinstance(action, Send)
        assert action.kind is AttemptKind.UPDATE

    def test_a_state_the_target_already_holds_is_not_sent(self) -> None:
        action = decide(work(state(1, 7), **KNOWN), plans={1: Plan(code="C", content_hash="x")})

        assert isinstance(action, Settle)
        assert [s.reason for s in action.settled] == [Reason.UNCHANGED]

    def test_an_older_state_is_never_sent(self) -> None:
        action = decide(work(state(1, 4), **KNOWN))

        assert isinstance(action, Settle)
        assert [(s.state, s.reason) for s in action.settled] == [
            (DeliveryState.SUPERSEDED, Reason.NEWER_STATE)
        ]

    def test_an_empty_code_waits_once_and_then_rests(self) -> None:
        no_code = {1: Plan(refusal=Reason.NO_CODE)}
        first = decide(work(state(1, 1)), plans=no_code)
        waiting = state(1, 1, state=DeliveryState.WAITING, reason=Reason.NO_CODE)

        assert isinstance(first, Settle)
        assert first.settled[0].state is DeliveryState.WAITING
        assert decide(work(waiting), plans=no_code) == Idle()

    def test_a_refusal_of_the_mapping_parks_with_its_field(self) -> None:
        refused = Plan(refusal=Reason.FIELD_TOO_LONG, detail="field=GhiChu length=5000 limit=2000")
        action = decide(work(state(1, 1)), plans={1: refused})

        assert isinstance(action, Settle)
        assert (action.settled[0].state, action.settled[0].detail) == (
            DeliveryState.PARKED,
            refused.detail,
        )

    def test_a_code_changed_after_its_claim_parks(self) -> None:
        action = decide(work(state(1, 7), **KNOWN), plans={1: Plan(code="D", content_hash="y")})

        assert isinstance(action, Settle)
        assert action.settled[0].reason is Reason.CODE_CHANGED

    def test_a_parked_newest_state_rests(self) -> None:
        assert decide(work(state(1, 7, state=DeliveryState.PARKED), **KNOWN)) == Idle()


class TestStepStream:
    def test_steps_go_in_order_up_to_the_chunk(self) -> None:
        action = decide(work(step(1, 1), step(2, 2), step(3, 3), **KNOWN))

        assert isinstance(action, Send)
        assert action.step_keys == ("h1", "h2")

    def test_a_step_newer_than_the_delivered_state_waits(self) -> None:
        assert decide(work(step(1, 6), **KNOWN)) == Idle()

    def test_nothing_passes_a_parked_step(self) -> None:
        assert decide(work(step(1, 1, state=DeliveryState.PARKED), step(2, 2), **KNOWN)) == Idle()

    def test_the_state_goes_before_the_steps(self) -> None:
        action = decide(work(step(1, 1), state(2, 7), **KNOWN))

        assert isinstance(action, Send)
        assert action.kind is AttemptKind.UPDATE

    def test_the_steps_before_an_unmapped_one_go_first(self) -> None:
        unmapped = Plan(refusal=Reason.UNMAPPED, detail="codelist=status code=x matches=0")
        action = decide(work(step(1, 1), step(2, 2), **KNOWN), plans={2: unmapped})

        assert isinstance(action, Send)
        assert [row.delivery_id for row in action.rows] == [1]

    def test_after_a_failure_steps_go_singly(self) -> None:
        action = decide(work(step(1, 1), step(2, 2), failures=1, **KNOWN))

        assert isinstance(action, Send)
        assert len(action.rows) == 1


class TestOutcomes:
    def test_a_delivered_state_supersedes_older_ones_also_parked(self) -> None:
        rows = (
            state(1, 3, state=DeliveryState.PARKED),
            state(2, 7, state=DeliveryState.SENDING),
            state(3, 9),
        )
        done = attempt(AttemptKind.CREATE, 2, outcome=Outcome.DELIVERED)
        action = decide(work(*rows, attempts=(done,)))

        assert isinstance(action, Settle)
        assert {s.delivery_id: s.state for s in action.settled} == {
            2: DeliveryState.DELIVERED,
            1: DeliveryState.SUPERSEDED,
        }
        assert action.patch is not None
        assert (action.patch.delivered_version, action.patch.delivered_hash) == (7, "red")

    @pytest.mark.parametrize(
        ("kind", "reason", "known"),
        [
            (AttemptKind.CREATE, Reason.ALREADY_EXISTS, Known.PRESENT),
            (AttemptKind.UPDATE, Reason.NOT_FOUND, Known.ABSENT),
        ],
    )
    def test_a_refusal_in_words_that_steer(
        self, kind: AttemptKind, reason: Reason, known: Known
    ) -> None:
        refused = attempt(kind, 1, outcome=Outcome.REJECTED, reason=reason)
        action = decide(work(state(1, 7, state=DeliveryState.SENDING), attempts=(refused,)))

        assert isinstance(action, Settle)
        assert action.settled[0].state is DeliveryState.PENDING
        assert action.patch is not None
        assert action.patch.known is known

    def test_a_refused_chunk_is_tried_one_by_one(self) -> None:
        refused = attempt(AttemptKind.STEPS, 1, 2, outcome=Outcome.REJECTED, step_keys=("a", "b"))
        rows = tuple(step(n, n, state=DeliveryState.SENDING) for n in (1, 2))
        action = decide(work(*rows, attempts=(refused,)))

        assert isinstance(action, Settle)
        assert {s.state for s in action.settled} == {DeliveryState.PENDING}

    def test_a_single_refused_step_parks(self) -> None:
        refused = attempt(
            AttemptKind.STEPS, 1, outcome=Outcome.REJECTED, reason=Reason.REJECTED_BY_TARGET
        )
        action = decide(
            work(step(1, 1, state=DeliveryState.SENDING), attempts=(refused,)),
        )

        assert isinstance(action, Settle)
        assert action.settled[0].state is DeliveryState.PARKED


def said(present: bool, asked_at: float, *steps: str) -> Answer:
    return Answer(asked_at=asked_at, said=LookupAnswer(present=present, steps=steps))


class TestUnknown:
    """Rules 4 to 6: believed from 67 s on (2 s to send, 60 s of late effects, 5 s of look-up lag)."""

    def create(self, **more: object) -> Work:
        unknown = attempt(AttemptKind.CREATE, 1, outcome=Outcome.UNKNOWN, **more)
        return work(state(1, 7, state=DeliveryState.SENDING), attempts=(unknown,), claimed_code="C")

    def test_a_create_is_not_asked_about_before_absence_can_be_believed(self) -> None:
        assert decide(self.create()) == Idle(wake_at=NOW + 67.0)
        assert decide(self.create(), now=NOW + 67.0) == Ask(code="C")

    def test_where_absence_was_proved_before_presence_settles_at_once(self) -> None:
        given = self.create(proved_absent=True)
        action = decide(given, said(True, NOW + 1), now=NOW + 1)

        assert decide(given) == Ask(code="C")
        assert isinstance(action, Settle)
        assert action.settled[0].state is DeliveryState.DELIVERED

    def test_an_absence_asked_too_early_is_not_believed(self) -> None:
        given = self.create(proved_absent=True)

        assert decide(given, said(False, NOW + 1), now=NOW + 66) == Idle(wake_at=NOW + 67.0)

    def test_an_absence_asked_late_enough_is_a_proof(self) -> None:
        action = decide(self.create(), said(False, NOW + 67), now=NOW + 68)

        assert isinstance(action, Settle)
        assert action.patch is not None
        assert action.patch.known is Known.ABSENT

    def test_an_unknown_update_waits_for_its_late_effect_and_goes_again(self) -> None:
        unknown = attempt(AttemptKind.UPDATE, 1, outcome=Outcome.UNKNOWN)
        given = work(state(1, 7, state=DeliveryState.SENDING), attempts=(unknown,), **KNOWN)
        action = decide(given, now=NOW + 62)

        assert decide(given) == Idle(wake_at=NOW + 62.0)
        assert isinstance(action, Settle)
        assert action.patch is not None
        assert action.patch.clear_hash

    def test_an_attempt_whose_maker_never_came_back_is_unknown(self) -> None:
        silent = attempt(AttemptKind.UPDATE, 1)
        given = work(state(1, 7, state=DeliveryState.SENDING), attempts=(silent,), **KNOWN)

        assert decide(given) == Idle(wake_at=NOW + 62.0)

    def steps(self, **more: object) -> Work:
        unknown = attempt(
            AttemptKind.STEPS, 1, 2, outcome=Outcome.UNKNOWN, step_keys=("a", "b"), **more
        )
        rows = tuple(step(n, n, state=DeliveryState.SENDING) for n in (1, 2))
        return work(*rows, attempts=(unknown,), **KNOWN)

    def test_steps_that_are_listed_are_delivered_the_rest_go_again(self) -> None:
        abilities = replace(ABILITIES, lookup=Lookup.STEPS)
        action = decide(self.steps(), said(True, NOW + 67, "a"), NOW + 67, abilities=abilities)

        assert isinstance(action, Settle)
        assert [s.state for s in action.settled] == [
            DeliveryState.DELIVERED,
            DeliveryState.PENDING,
        ]

    def test_a_step_listed_for_an_earlier_attempt_does_not_count_twice(self) -> None:
        abilities = replace(ABILITIES, lookup=Lookup.STEPS)
        before = SentStep(delivery_id=9, key="a", state=DeliveryState.DELIVERED)
        given = replace(self.steps(), sent_steps=(before,))
        action = decide(given, said(True, NOW + 67, "a"), NOW + 67, abilities=abilities)

        assert isinstance(action, Settle)
        assert {s.state for s in action.settled} == {DeliveryState.PENDING}

    def test_unlisted_steps_park_by_default(self) -> None:
        action = decide(self.steps(), now=NOW + 62)

        assert isinstance(action, Settle)
        assert {s.reason for s in action.settled} == {Reason.OUTCOME_UNKNOWN}

    def test_where_the_dialect_resends_a_supplement_request_still_parks(self) -> None:
        abilities = replace(ABILITIES, steps_unknown=StepsUnknown.RESEND)
        plans = {2: Plan(content_hash="b", supplement_request=True)}
        action = decide(self.steps(), now=NOW + 62, plans=plans, abilities=abilities)

        assert isinstance(action, Settle)
        assert [s.state for s in action.settled] == [DeliveryState.PENDING, DeliveryState.PARKED]
