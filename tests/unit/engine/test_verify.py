"""What is owed once an attempt of unknown outcome was closed, and what its look-up leads to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectors.protocols import Abilities, Lookup, LookupAnswer
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
    Verification,
    Verify,
    Work,
)
from schemas.reasons import Reason
from streams.engine.actions import Action, Answer, Ask, Idle, Plan, Send, Settle
from streams.engine.decide import next_action, rows_to_map

ABILITIES = Abilities(lookup=Lookup.STEPS, lookup_lag=5.0, late_effect_bound=60.0)
SEND_BY = 2.0
BEGUN = 10_000.0
DUE = BEGUN + 180.0  # three times the bound

OLD, NEW = {"status": "2"}, {"status": "4"}
BELIEVED = DossierTarget(
    dossier_id="d",
    target="t",
    partition=0,
    known=Known.PRESENT,
    delivered_version=7,
    delivered_hash="red",
    claimed_code="C",
    verification=Verification.FIRST,
    verify_at=DUE,
)


def row(number: int, operation: Operation, state: DeliveryState) -> DeliveryRow:
    return DeliveryRow(
        delivery_id=number,
        event_id=f"e{number}",
        operation=operation,
        version=7,
        log_pos=number,
        state=state,
        reason=None,
        payload=b"e",
    )


DELIVERED = row(1, Operation.STATE, DeliveryState.DELIVERED)
WORK = Work(dossier=BELIEVED, rows=(), attempts=(), delivered=DELIVERED)


def attempt(kind: AttemptKind, *ids: int, **more: object) -> Attempt:
    base = Attempt(
        attempt_id="a",
        kind=kind,
        delivery_ids=ids,
        version=7,
        content_hash="red",
        proved_absent=False,
        epoch=1,
        started_at=BEGUN,
    )
    return replace(base, **more)  # type: ignore[arg-type] # test data by keyword


def owing(stage: Verification | None, at: float | None = None) -> Work:
    return replace(WORK, dossier=replace(BELIEVED, verification=stage, verify_at=at))


def decide(
    given: Work,
    answer: Answer | None = None,
    now: float = DUE,
    abilities: Abilities = ABILITIES,
    plan: Plan | None = None,
) -> Action:
    plan = plan or Plan(code="C", content_hash="red", shown=NEW)
    plans = {r.delivery_id: plan for r in rows_to_map(given, abilities)}
    return next_action(given, plans, answer, now, abilities, SEND_BY)


def said(
    state: dict[str, str] | None = NEW,
    *steps: str,
    present: bool = True,
    asked_at: float = DUE,
) -> Answer:
    answer = LookupAnswer(present=present, state=state, steps=steps)
    return Answer(asked_at=asked_at, said=answer)


def settled(action: Action) -> Settle:
    assert isinstance(action, Settle)
    return action


def owed(action: Action) -> Verify | None:
    patch = settled(action).patch
    return None if patch is None else patch.verify


class TestScheduling:
    def closed(self, kind: AttemptKind, lookup: Lookup, dossier: DossierTarget) -> Verify | None:
        unknown = attempt(kind, 2, outcome=Outcome.UNKNOWN, step_keys=("k",))
        operation = Operation.STEP if kind is AttemptKind.STEPS else Operation.STATE
        work = Work(
            dossier=dossier,
            rows=(row(2, operation, DeliveryState.SENDING),),
            attempts=(unknown,),
        )
        return owed(
            decide(
                work,
                said(NEW, asked_at=BEGUN + 67),
                BEGUN + 67,
                replace(ABILITIES, lookup=lookup),
            )
        )

    @pytest.mark.parametrize(
        ("kind", "lookup", "expected"),
        [
            (AttemptKind.CREATE, Lookup.EXISTENCE, False),
            (AttemptKind.CREATE, Lookup.STATE, True),
            (AttemptKind.UPDATE, Lookup.EXISTENCE, False),
            (AttemptKind.UPDATE, Lookup.STATE, True),
            (AttemptKind.UPDATE, Lookup.STEPS, True),
            (AttemptKind.STEPS, Lookup.EXISTENCE, False),
            (AttemptKind.STEPS, Lookup.STATE, False),
            (AttemptKind.STEPS, Lookup.STEPS, True),
        ],
    )
    def test_only_where_the_target_can_show_it(
        self, kind: AttemptKind, lookup: Lookup, expected: bool
    ) -> None:
        never = replace(BELIEVED, verification=None, verify_at=None)
        scheduled = Verify(stage=Verification.FIRST, due=DUE, rest=5.0)

        assert self.closed(kind, lookup, never) == (scheduled if expected else None)

    def test_a_later_attempt_moves_it_later_and_an_earlier_one_does_not(self) -> None:
        earlier = replace(BELIEVED, verify_at=DUE - 30)
        later = replace(BELIEVED, verify_at=DUE + 30)
        found = [self.closed(AttemptKind.UPDATE, Lookup.STATE, d) for d in (earlier, later)]

        assert [verify and verify.due for verify in found] == [DUE, DUE + 30]

    def test_a_mend_of_unknown_outcome_is_owed_still(self) -> None:
        mending = replace(BELIEVED, verification=Verification.MEND, verify_at=None)

        assert self.closed(AttemptKind.UPDATE, Lookup.STATE, mending) == Verify(
            stage=Verification.MEND
        )

    def test_after_a_success_it_waits_until_a_look_up_shows_it(self) -> None:
        done = attempt(AttemptKind.UPDATE, 2, outcome=Outcome.DELIVERED)
        rows = (row(2, Operation.STATE, DeliveryState.SENDING),)
        given = replace(WORK, rows=rows, attempts=(done,))

        assert owed(decide(given)) == Verify(stage=Verification.FIRST, due=DUE, rest=5.0)

    def test_on_the_ordinary_way_nothing_is_said_about_it(self) -> None:
        done = attempt(AttemptKind.UPDATE, 2, outcome=Outcome.DELIVERED)
        rows = (row(2, Operation.STATE, DeliveryState.SENDING),)

        assert owed(decide(replace(owing(None), rows=rows, attempts=(done,)))) is None


class TestLookingUp:
    def test_it_waits_for_its_time_and_then_asks(self) -> None:
        assert decide(WORK, now=DUE - 1) == Idle(wake_at=DUE)
        assert decide(WORK) == Ask(code="C")

    def test_an_answer_from_before_is_not_believed(self) -> None:
        assert decide(WORK, said(OLD, asked_at=DUE - 1)) == Ask(code="C")

    def test_whatever_else_there_is_to_do_comes_first(self) -> None:
        given = replace(WORK, rows=(row(3, Operation.STEP, DeliveryState.PENDING),))

        assert isinstance(decide(given), Send)

    def test_all_as_believed_ends_it(self) -> None:
        action = settled(decide(WORK, said(NEW)))

        assert (owed(action), action.found) == (Verify(), ())

    def test_under_existence_it_is_dropped(self) -> None:
        assert owed(decide(WORK, abilities=Abilities())) == Verify()


class TestOldState:
    def test_it_is_found_and_the_newest_is_owed_once_more(self) -> None:
        action = settled(decide(WORK, said(OLD)))

        assert [(f.reason, f.detail) for f in action.found] == [
            (Reason.LATE_STATE, "fields=status")
        ]
        assert owed(action) == Verify(stage=Verification.MEND)
        assert action.patch is not None
        assert action.patch.clear_hash

    def test_a_field_that_the_target_does_not_show_is_not_compared(self) -> None:
        assert settled(decide(WORK, said({}))).found == ()

    def test_what_we_do_not_know_is_not_compared(self) -> None:
        unsure = replace(WORK, dossier=replace(BELIEVED, delivered_hash=None))

        assert settled(decide(unsure, said(OLD))).found == ()

    def test_the_mend_is_an_update_with_the_delivered_state(self) -> None:
        action = decide(owing(Verification.MEND))

        assert isinstance(action, Send)
        assert (action.kind, action.rows, action.version) == (AttemptKind.UPDATE, (DELIVERED,), 7)

    @pytest.mark.parametrize(
        ("stage", "expected"),
        [
            (Verification.MEND, Verify(stage=Verification.SECOND, due=DUE, rest=5.0)),
            (Verification.LAST_MEND, Verify()),
        ],
    )
    def test_one_more_look_up_follows_the_first_mend_and_none_the_second(
        self, stage: Verification, expected: Verify
    ) -> None:
        done = attempt(AttemptKind.UPDATE, 1, outcome=Outcome.DELIVERED)
        action = settled(decide(replace(owing(stage), attempts=(done,))))

        assert action.settled == (), "it was delivered before"
        assert owed(action) == expected

    def test_found_again_it_is_mended_for_the_last_time(self) -> None:
        action = decide(owing(Verification.SECOND, DUE), said(OLD))

        assert owed(action) == Verify(stage=Verification.LAST_MEND)

    def test_a_refused_mend_is_listed_with_its_reason_and_given_up(self) -> None:
        refused = attempt(
            AttemptKind.UPDATE,
            1,
            outcome=Outcome.REJECTED,
            reason=Reason.REJECTED_BY_TARGET,
            detail="code 7",
        )
        action = settled(decide(replace(owing(Verification.MEND), attempts=(refused,))))

        assert [(f.reason, f.detail) for f in action.found] == [
            (Reason.REJECTED_BY_TARGET, "code 7")
        ]
        assert (action.settled, owed(action)) == ((), Verify())

    def test_a_mend_that_cannot_be_mapped_any_more_is_given_up_with_its_reason(self) -> None:
        plan = Plan(refusal=Reason.UNMAPPED, detail="codelist=status")
        action = settled(decide(owing(Verification.MEND), plan=plan))

        assert [f.reason for f in action.found] == [Reason.UNMAPPED]
        assert owed(action) == Verify()

    def test_a_dossier_that_is_gone_is_created_again(self) -> None:
        action = settled(decide(WORK, said(None, present=False)))

        assert [f.reason for f in action.found] == [Reason.NOT_FOUND]
        assert action.patch is not None
        assert action.patch.known is Known.ABSENT
        absent = replace(BELIEVED, known=Known.ABSENT, verification=Verification.MEND)
        again = decide(replace(WORK, dossier=absent))
        assert isinstance(again, Send)
        assert again.kind is AttemptKind.CREATE


def sent(number: int, key: str, state: DeliveryState = DeliveryState.DELIVERED) -> SentStep:
    return SentStep(delivery_id=number, key=key, state=state)


class TestLateSteps:
    def test_one_that_stands_twice_is_found_once_and_not_mended(self) -> None:
        given = replace(WORK, sent_steps=(sent(2, "k"), sent(3, "other")))
        action = settled(decide(given, said(NEW, "k", "other", "k")))

        assert [(f.reason, f.delivery_id, f.step_key) for f in action.found] == [
            (Reason.STEP_TWICE, 2, "k")
        ]
        assert action.settled == ()
        assert owed(action) == Verify(stage=Verification.SECOND, due=DUE + 180.0)

    def test_one_that_was_found_before_is_not_found_again(self) -> None:
        given = replace(owing(Verification.SECOND, DUE), sent_steps=(sent(2, "k"), sent(2, "k")))
        action = settled(decide(given, said(NEW, "k", "k")))

        assert (action.found, owed(action)) == ((), Verify())

    @pytest.mark.parametrize("state", [DeliveryState.PENDING, DeliveryState.PARKED])
    def test_one_that_is_still_owed_is_delivered_and_not_sent_again(
        self, state: DeliveryState
    ) -> None:
        parked = row(2, Operation.STEP, DeliveryState.PARKED)  # nothing passes it
        given = replace(
            WORK,
            rows=(parked, row(3, Operation.STEP, state)),
            sent_steps=(sent(3, "k", state),),
        )
        action = settled(decide(given, said(NEW, "k")))

        assert [f.reason for f in action.found] == [Reason.LATE_STEP]
        assert [(s.delivery_id, s.state) for s in action.settled] == [(3, DeliveryState.DELIVERED)]

    def test_the_steps_of_others_are_none_of_ours(self) -> None:
        action = settled(decide(WORK, said(NEW, "a stranger", "a stranger")))

        assert action.found == ()


class TestLateCreate:
    def test_where_absence_was_proved_already_exists_is_a_late_create(self) -> None:
        refused = attempt(
            AttemptKind.CREATE,
            2,
            outcome=Outcome.REJECTED,
            reason=Reason.ALREADY_EXISTS,
            proved_absent=True,
        )
        rows = (row(2, Operation.STATE, DeliveryState.SENDING),)
        action = settled(decide(replace(owing(None), rows=rows, attempts=(refused,))))

        assert [f.reason for f in action.found] == [Reason.LATE_CREATE]
        assert [s.state for s in action.settled] == [DeliveryState.PENDING]
        assert action.patch is not None
        assert action.patch.known is Known.PRESENT

    def test_otherwise_it_is_somebody_else_s(self) -> None:
        refused = attempt(
            AttemptKind.CREATE, 2, outcome=Outcome.REJECTED, reason=Reason.ALREADY_EXISTS
        )
        rows = (row(2, Operation.STATE, DeliveryState.SENDING),)

        assert settled(decide(replace(owing(None), rows=rows, attempts=(refused,)))).found == ()

    def test_a_look_up_that_sees_it_says_so(self) -> None:
        absent = replace(BELIEVED, known=Known.ABSENT)
        action = settled(decide(replace(WORK, dossier=absent), said(OLD)))

        assert [f.reason for f in action.found] == [Reason.LATE_CREATE]
        assert action.patch is not None
        assert action.patch.known is Known.PRESENT
