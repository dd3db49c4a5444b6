"""What may be done with a report and when: every state with every action, every guard with its refusal."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import Any

import pytest

from schemas.reports.states import Action, State
from streams.reporting.life import NEXT, WORDS, Allowed, Ask, Refusal, Refused, Standing, step
from tests.unit.dossier.samples import at

CUT_OFF = at("2026-03-15 00:00")
STANDING = Standing(
    state=State.CONFIRMING,
    cut_off_at=CUT_OFF,
    due_on=date(2026, 3, 25),
    units_due_on=date(2026, 3, 20),
    revision=1,
    hash="abc",
    units=frozenset({"H12.01", "H12.02"}),
    confirmed=frozenset({"H12.01", "H12.02"}),
)
NOW = at("2026-03-18 09:00")


def ask(action: Action, **given: Any) -> Ask:
    """One that no guard has anything against."""
    told = {"name": "Trần Thị Mẫu", "reason": "vì thế", "hash": "abc", "unit": "H12.01", **given}
    return Ask(action=action, **told)


def done(standing: Standing, wanted: Ask, now: datetime = NOW) -> Allowed | Refusal:
    try:
        return step(standing, wanted, now)
    except Refused as refused:
        return refused.reason


def outcome(state: State, action: Action) -> State | Refusal:
    """What the table in the docstring of the module says."""
    if (state, action) in NEXT:
        return NEXT[state, action]
    if action is Action.APPROVE and state in {
        State.APPROVED,
        State.SUBMITTED,
        State.ACCEPTED,
        State.RETURNED,
    }:
        return Refusal.ALREADY_APPROVED
    if action is Action.SUBMIT and state in {State.SUBMITTED, State.ACCEPTED, State.RETURNED}:
        return Refusal.ALREADY_SUBMITTED
    return Refusal.NO_FIGURES if state is State.OPEN else Refusal.NOT_NOW


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("state", State)
def test_every_action_in_every_state_leads_where_the_table_says_or_is_refused(
    state: State, action: Action
) -> None:
    found = done(replace(STANDING, state=state), ask(action))
    assert (found.to if isinstance(found, Allowed) else found) == outcome(state, action)


def test_the_way_of_a_report_from_its_period_to_its_successor() -> None:
    way = [
        (Action.FREEZE, State.CUT_OFF),
        (Action.ASK_UNITS, State.CONFIRMING),
        (Action.CONFIRM, State.CONFIRMING),
        (Action.VERIFY, State.VERIFIED),
        (Action.APPROVE, State.APPROVED),
        (Action.SUBMIT, State.SUBMITTED),
        (Action.RETURN, State.RETURNED),
        (Action.REVISE, State.RETURNED),
        (Action.AMEND, State.AMENDED),
    ]
    standing = replace(STANDING, state=State.OPEN)
    for action, expected in way:
        found = done(standing, ask(action))
        assert found == Allowed(expected)
        standing = replace(standing, state=expected)


def test_nothing_leads_out_of_amended() -> None:
    assert not [action for state, action in NEXT if state is State.AMENDED]


OBJECTING = {"objecting": {"H12.01": 1}}


@pytest.mark.parametrize(
    ("changes", "wanted", "now", "refusal"),
    [
        ({"state": State.OPEN}, ask(Action.FREEZE), at("2026-03-14 23:59"), Refusal.BEFORE_CUT_OFF),
        ({"state": State.OPEN}, ask(Action.FREEZE, behind=3), NOW, Refusal.FIGURES_BEHIND),
        ({}, ask(Action.CONFIRM, name=" "), NOW, Refusal.NAME_MISSING),
        ({}, ask(Action.CONFIRM, unit="H12.77"), NOW, Refusal.UNKNOWN_UNIT),
        (OBJECTING, ask(Action.CONFIRM), NOW, Refusal.UNIT_OBJECTS),
        ({}, ask(Action.OBJECT), at("2026-03-21 00:00"), Refusal.UNIT_TOO_LATE),
        (OBJECTING, ask(Action.VERIFY), NOW, Refusal.OBJECTIONS_OPEN),
        ({"confirmed": frozenset()}, ask(Action.VERIFY, reason=""), NOW, Refusal.UNITS_HAVE_TIME),
        ({"out_of_balance": True}, ask(Action.VERIFY), NOW, Refusal.OUT_OF_BALANCE),
        (
            {"state": State.VERIFIED},
            ask(Action.APPROVE, hash="old"),
            NOW,
            Refusal.SNAPSHOT_CHANGED,
        ),
        ({"state": State.VERIFIED}, ask(Action.APPROVE, name=""), NOW, Refusal.NAME_MISSING),
        (
            {"state": State.VERIFIED, "out_of_balance": True},
            ask(Action.APPROVE),
            NOW,
            Refusal.OUT_OF_BALANCE,
        ),
        (
            {"state": State.APPROVED},
            ask(Action.APPROVE, hash="old"),
            NOW,
            Refusal.SNAPSHOT_CHANGED,
        ),
        (
            {"state": State.APPROVED},
            ask(Action.SUBMIT),
            at("2026-03-14 12:00"),
            Refusal.BEFORE_CUT_OFF,
        ),
        (
            {"state": State.APPROVED},
            ask(Action.SUBMIT, reason=""),
            at("2026-03-26 00:00"),
            Refusal.AFTER_DUE,
        ),
        (
            {"state": State.APPROVED},
            ask(Action.SUBMIT, late=False),
            at("2026-03-26 00:00"),
            Refusal.AFTER_DUE_FORBIDDEN,
        ),
        (
            {"state": State.APPROVED, "out_of_balance": True},
            ask(Action.SUBMIT),
            NOW,
            Refusal.OUT_OF_BALANCE,
        ),
        ({}, ask(Action.REVISE, reason=" "), NOW, Refusal.REASON_MISSING),
    ],
)
def test_every_guard_refuses_with_its_reason(
    changes: dict[str, Any], wanted: Ask, now: datetime, refusal: Refusal
) -> None:
    assert done(replace(STANDING, **changes), wanted, now) is refusal


@pytest.mark.parametrize(
    ("changes", "wanted", "now", "late"),
    [
        ({"state": State.OPEN}, ask(Action.FREEZE), CUT_OFF, False),
        ({"confirmed": frozenset()}, ask(Action.VERIFY, reason=""), at("2026-03-21 08:00"), False),
        ({"confirmed": frozenset()}, ask(Action.VERIFY, reason="gấp"), NOW, False),
        ({}, ask(Action.OBJECT), at("2026-03-20 23:59"), False),
        (
            {"state": State.APPROVED},
            ask(Action.SUBMIT, reason=""),
            at("2026-03-25 23:59"),
            False,
        ),
        ({"state": State.APPROVED}, ask(Action.SUBMIT), at("2026-03-26 00:00"), True),
        (
            {"state": State.APPROVED, "revision": 2},
            ask(Action.SUBMIT, reason=""),
            at("2026-06-01 08:00"),
            False,
        ),
    ],
)
def test_at_the_edge_it_is_allowed(
    changes: dict[str, Any], wanted: Ask, now: datetime, late: bool
) -> None:
    found = done(replace(STANDING, **changes), wanted, now)
    assert isinstance(found, Allowed)
    assert found.late is late


def test_the_second_signer_is_told_who_was_first_and_when() -> None:
    standing = replace(
        STANDING,
        state=State.APPROVED,
        approved_by="Lê Văn Thử",
        approved_at=at("2026-03-18 08:30"),
    )
    with pytest.raises(Refused) as refused:
        step(standing, ask(Action.APPROVE), NOW)
    assert "Lê Văn Thử, 08:30 18/03/2026" in refused.value.words.vi


def test_every_refusal_has_its_words() -> None:
    assert set(WORDS) == set(Refusal)
    assert all(words.vi and words.en for words in WORDS.values())
