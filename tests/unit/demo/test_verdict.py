"""The verdict can fail: every kind of wrong is made by hand, and counted as what it is."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from streams.demo import verdict as module
from streams.demo.verdict import Expectation, Struck, Verdict, judge
from tests.unit.demo.day_by_hand import (
    CODES,
    COPY,
    DELETED,
    EDITED,
    NEW_TEXT,
    OLD_TEXT,
    PLAIN,
    PROCESSING,
    RECEIVED,
    RETURNED,
    RIVAL,
    SECOND,
    STUCK,
    TOO_LONG,
    UNDONE,
    UNMAPPED,
    Parked,
    Truth,
    came_in_turn,
    expectation,
    good_parked,
    good_truth,
    holds,
    listed,
    shown,
    state,
    step,
    version,
)

WRONGS = (
    "missing",
    "duplicate_effects",
    "order_violations",
    "stale",
    "unexpected",
    "parked_not_expected",
    "expected_not_parked",
)
Spoil = Callable[[Truth, Parked], None]


@pytest.fixture
def expected(tmp_path: Path) -> Expectation:
    return expectation(tmp_path)


def judged(expected: Expectation, *spoils: Spoil, struck: Struck | None = None) -> Verdict:
    truth, parked = good_truth(), good_parked()
    for spoil in spoils:
        spoil(truth, parked)
    return judge(expected, truth, parked, struck)


def wrongs(verdict: Verdict) -> dict[str, int]:
    return {name: getattr(verdict, name) for name in WRONGS if getattr(verdict, name)}


def test_the_day_as_it_should_be_is_clean(expected: Expectation) -> None:
    verdict = judged(expected)
    assert wrongs(verdict) == {}
    assert verdict.clean
    assert verdict.findings == []
    assert (verdict.parked, verdict.parked_expected) == (5, 5)
    assert verdict.effects == 21, "10 steps, 7 creations and 4 changes"


# --- what is wrong ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    name: str
    spoil: Spoil
    counted: dict[str, int]


def no_step(truth: Truth, _: Parked) -> None:
    del truth[CODES[PLAIN]]["steps"][1]


def no_dossier(truth: Truth, _: Parked) -> None:
    del truth[CODES[PLAIN]]


def only_the_birth(truth: Truth, _: Parked) -> None:
    truth[CODES[PLAIN]] = holds([RECEIVED], [], born=True)


def no_steps_at_all(truth: Truth, _: Parked) -> None:
    truth[CODES[PLAIN]]["steps"].clear()


def step_twice(truth: Truth, _: Parked) -> None:
    truth[CODES[PLAIN]]["steps"].append(listed(step(3, "10")))


def step_of_another_status(truth: Truth, _: Parked) -> None:
    truth[CODES[PLAIN]]["steps"][1]["status"] = "8"


def step_of_another_officer(truth: Truth, _: Parked) -> None:
    truth[CODES[PLAIN]]["steps"][1]["officer"] = "Lý Đức Nam"


def step_with_half_its_text(truth: Truth, _: Parked) -> None:
    truth[CODES[PLAIN]]["steps"][1]["text"] = "Bước"


def step_an_hour_late(truth: Truth, _: Parked) -> None:
    truth[CODES[PLAIN]]["steps"][1]["time"] = "2026-11-23T02:00:01+07:00"


def steps_out_of_order(truth: Truth, _: Parked) -> None:
    steps = truth[CODES[PLAIN]]["steps"]
    steps[0], steps[1] = steps[1], steps[0]


def a_step_before_its_state(truth: Truth, _: Parked) -> None:
    came_in_turn(truth, PLAIN, "ststts")


def a_step_before_every_state(truth: Truth, _: Parked) -> None:
    came_in_turn(truth, PLAIN, "tssstt")


def a_step_with_only_the_birth_before_it(truth: Truth, _: Parked) -> None:
    held = truth[CODES[PLAIN]]
    held["versions"] = [
        version(state(PLAIN, "1", received="", due=""), "birth"),
        version(RETURNED),
    ]
    came_in_turn(truth, PLAIN, "ststt")


def a_step_whose_state_never_came(truth: Truth, _: Parked) -> None:
    truth[CODES[DELETED]]["steps"].append(listed(step(2, "4")))
    truth[CODES[UNDONE]] = holds([state(UNDONE, "2")], [step(1, "2"), step(2, "4")])
    truth[CODES[STUCK]] = holds([state(STUCK, "2")], [step(1, "2"), step(2, "4")])


def created_twice(truth: Truth, _: Parked) -> None:
    truth[CODES[PLAIN]]["versions"].insert(1, version(RECEIVED, "creation"))


def created_though_born_there(truth: Truth, _: Parked) -> None:
    truth[CODES[PLAIN]]["versions"].insert(0, version(RECEIVED, "birth"))


def state_went_back_for_a_while(truth: Truth, _: Parked) -> None:
    versions = truth[CODES[PLAIN]]["versions"]
    versions[:] = [
        version(RECEIVED, "creation"),
        version(RETURNED),
        version(PROCESSING),
        version(RETURNED),
    ]


def final_state_of_before(truth: Truth, _: Parked) -> None:
    truth[CODES[PLAIN]] = holds([RECEIVED, PROCESSING], [step(1, "2"), step(2, "4"), step(3, "10")])


def final_state_and_its_step_missing(truth: Truth, _: Parked) -> None:
    truth[CODES[PLAIN]] = holds([RECEIVED, PROCESSING], [step(1, "2"), step(2, "4")])


def final_state_without_a_result(truth: Truth, _: Parked) -> None:
    truth[CODES[PLAIN]] |= shown(state(PLAIN, "10")) | {"results": 0}


def a_state_that_never_was(truth: Truth, _: Parked) -> None:
    truth[CODES[PLAIN]]["versions"].insert(1, version(state(PLAIN, "8")))


def a_dossier_from_nowhere(truth: Truth, _: Parked) -> None:
    truth["H12.01-261123-9999"] = holds([state(PLAIN, "2")], [])


def a_copy_was_sent(truth: Truth, _: Parked) -> None:
    truth[CODES[COPY]] = holds([state(COPY, "2")], [step(1, "2")])


def a_step_from_nowhere(truth: Truth, _: Parked) -> None:
    truth[CODES[PLAIN]]["steps"].append(listed(step(9, "4")))


def parked_without_a_reason(_: Truth, parked: Parked) -> None:
    parked[EDITED] = frozenset({"field_missing"})


def parked_and_nothing_came(truth: Truth, parked: Parked) -> None:
    del truth[CODES[EDITED]]
    parked[EDITED] = frozenset({"field_missing"})


def parked_for_another_reason(_: Truth, parked: Parked) -> None:
    parked[UNMAPPED] = frozenset({"field_missing"})


def stale_behind_a_step_of_unknown_outcome(truth: Truth, parked: Parked) -> None:
    final_state_and_its_step_missing(truth, parked)
    parked[PLAIN] = frozenset({"outcome_unknown"})


def nothing_came_behind_a_step_of_unknown_outcome(truth: Truth, parked: Parked) -> None:
    del truth[CODES[PLAIN]]
    parked[PLAIN] = frozenset({"outcome_unknown"})


def missing_beside_a_deletion(truth: Truth, parked: Parked) -> None:
    final_state_and_its_step_missing(truth, parked)
    parked[PLAIN] = frozenset({"deleted_at_source"})


def stale_behind_a_refusal(truth: Truth, parked: Parked) -> None:
    final_state_and_its_step_missing(truth, parked)
    parked[PLAIN] = frozenset({"rejected_by_target"})


def not_parked(_: Truth, parked: Parked) -> None:
    del parked[UNMAPPED]


def both_rivals_parked(_: Truth, parked: Parked) -> None:
    parked[RIVAL] = parked[SECOND] = frozenset({"code_conflict"})


def no_rival_parked(_: Truth, parked: Parked) -> None:
    del parked[SECOND]


def loser_of_the_number_came(truth: Truth, _: Parked) -> None:
    truth[CODES[RIVAL]] = holds([state(SECOND, "4", components=5)], [step(2, "4")])


def unmapped_step_sent_as_invented(truth: Truth, _: Parked) -> None:
    truth[CODES[UNMAPPED]]["steps"].append(listed(step(2, "4")))


def unmapped_step_sent_empty(truth: Truth, _: Parked) -> None:
    truth[CODES[UNMAPPED]]["steps"].append(listed(step(2, None)))


def state_sent_that_should_be_parked(truth: Truth, _: Parked) -> None:
    truth[CODES[TOO_LONG]] = holds([state(TOO_LONG, "2")], [])


def step_sent_that_lies_behind_a_parked_one(truth: Truth, _: Parked) -> None:
    truth[CODES[UNMAPPED]]["steps"].append(listed(step(3, "4")))


def step_before_the_parked_one_is_gone(truth: Truth, _: Parked) -> None:
    truth[CODES[UNMAPPED]]["steps"].clear()


def a_gap_before_the_parked_state(truth: Truth, _: Parked) -> None:
    del truth[CODES[STUCK]]["steps"][0]


def parked_state_is_not_parked(truth: Truth, parked: Parked) -> None:
    del truth[CODES[STUCK]]["steps"][1]
    del parked[STUCK]


def undone_step_twice(truth: Truth, _: Parked) -> None:
    truth[CODES[UNDONE]]["steps"] += [listed(step(2, "4"))] * 2


def both_texts_of_the_edited_step(truth: Truth, _: Parked) -> None:
    truth[CODES[EDITED]]["steps"].append(listed(step(1, "2", NEW_TEXT)))


def undone_state_is_the_final_one(truth: Truth, _: Parked) -> None:
    truth[CODES[UNDONE]] = holds([state(UNDONE, "2"), state(UNDONE, "4")], [step(1, "2")])


CASES = [
    Case("a step is missing", no_step, {"missing": 1}),
    Case("a dossier is missing", no_dossier, {"missing": 1}),
    Case("a portal-born dossier never got anything", only_the_birth, {"missing": 1}),
    Case("all steps are missing", no_steps_at_all, {"missing": 3}),
    Case("a step twice", step_twice, {"duplicate_effects": 1, "order_violations": 0}),
    Case("another status", step_of_another_status, {"missing": 1, "unexpected": 1}),
    Case("another officer", step_of_another_officer, {"missing": 1, "unexpected": 1}),
    Case("a text cut short", step_with_half_its_text, {"missing": 1, "unexpected": 1}),
    Case("another time", step_an_hour_late, {"missing": 1, "unexpected": 1}),
    Case("steps out of order", steps_out_of_order, {"order_violations": 1}),
    Case("a step before its state", a_step_before_its_state, {"order_violations": 1}),
    Case("a step before every state", a_step_before_every_state, {"order_violations": 1}),
    Case(
        "a portal-born dossier's step before our state", a_step_with_only_the_birth_before_it,
        {"order_violations": 1},
    ),
    # Of the two that were undone the state may have been read afterwards; of the third it was not.
    Case("a step whose state never came", a_step_whose_state_never_came, {"order_violations": 1}),
    Case("created twice", created_twice, {"duplicate_effects": 1}),
    Case("created though born there", created_though_born_there, {"duplicate_effects": 1}),
    Case("a state went back", state_went_back_for_a_while, {"order_violations": 1}),
    # The last step is there, and waited for no state.
    Case("an old final state", final_state_of_before, {"stale": 1, "order_violations": 1}),
    Case(
        "the last event is lost", final_state_and_its_step_missing, {"stale": 1, "missing": 1}
    ),
    Case("a final state without a field", final_state_without_a_result, {"stale": 1}),
    Case("a state that never was", a_state_that_never_was, {"unexpected": 1}),
    Case("a dossier from nowhere", a_dossier_from_nowhere, {"unexpected": 1}),
    Case("a copy was sent", a_copy_was_sent, {"unexpected": 1}),
    Case("a step from nowhere", a_step_from_nowhere, {"unexpected": 1}),
    Case("parked against expectation", parked_without_a_reason, {"parked_not_expected": 1}),
    Case("parked, so nothing came", parked_and_nothing_came, {"parked_not_expected": 1}),
    Case(
        "parked for another reason", parked_for_another_reason,
        {"parked_not_expected": 1, "expected_not_parked": 1},
    ),
    Case(
        "a stale state is not excused by a step", stale_behind_a_step_of_unknown_outcome,
        {"stale": 1, "parked_not_expected": 1},
    ),
    Case(
        "a missing dossier is not excused by a step", nothing_came_behind_a_step_of_unknown_outcome,
        {"missing": 1, "parked_not_expected": 1},
    ),
    Case(
        "nothing is excused by a deletion", missing_beside_a_deletion,
        {"stale": 1, "missing": 1, "parked_not_expected": 1},
    ),
    Case("a refusal excuses both", stale_behind_a_refusal, {"parked_not_expected": 1}),
    Case("not parked", not_parked, {"expected_not_parked": 1}),
    Case("both rivals parked", both_rivals_parked, {"parked_not_expected": 1, "unexpected": 1}),
    # Then both are held to have the number, and the second one did not arrive.
    Case(
        "no rival parked", no_rival_parked,
        {"expected_not_parked": 1, "stale": 1, "missing": 1, "unexpected": 2},
    ),
    Case(
        "the loser of the number came", loser_of_the_number_came,
        {"stale": 1, "missing": 1, "unexpected": 2},
    ),
    Case("an invented status was sent", unmapped_step_sent_as_invented, {"unexpected": 1}),
    Case("an empty status was sent", unmapped_step_sent_empty, {"unexpected": 1}),
    Case("a state that should park", state_sent_that_should_be_parked, {"unexpected": 1}),
    Case("a step overtook a parked one", step_sent_that_lies_behind_a_parked_one, {"unexpected": 1}),
    Case("parking hides nothing before it", step_before_the_parked_one_is_gone, {"missing": 1}),
    Case("a gap before a parked state", a_gap_before_the_parked_state, {"missing": 1}),
    Case(
        "no step is excused by a state that is not parked", parked_state_is_not_parked,
        {"missing": 1, "expected_not_parked": 1},
    ),
    Case("an undone step twice", undone_step_twice, {"duplicate_effects": 1}),
    Case("both texts of an edited step", both_texts_of_the_edited_step, {"duplicate_effects": 1}),
    Case("the undone state stayed", undone_state_is_the_final_one, {"stale": 1}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_counts_what_is_wrong(expected: Expectation, case: Case) -> None:
    verdict = judged(expected, case.spoil)
    assert wrongs(verdict) == {name: n for name, n in case.counted.items() if n}, verdict.findings
    assert not verdict.clean
    assert len(verdict.findings) == sum(case.counted.values()), "each wrong is told"


def test_every_kind_of_wrong_has_a_case() -> None:
    assert {name for case in CASES for name, n in case.counted.items() if n} == set(WRONGS)


# --- what may be either way -------------------------------------------------------------------------


def the_second_has_the_number(truth: Truth, parked: Parked) -> None:
    truth[CODES[RIVAL]] = holds([state(SECOND, "4", components=5)], [step(2, "4")])
    del parked[SECOND]
    parked[RIVAL] = frozenset({"code_conflict"})


def the_undone_step_was_seen(truth: Truth, _: Parked) -> None:
    truth[CODES[UNDONE]] = holds(
        [state(UNDONE, "2"), state(UNDONE, "4"), state(UNDONE, "2")], [step(1, "2"), step(2, "4")]
    )


def the_edited_text_came(truth: Truth, _: Parked) -> None:
    assert truth[CODES[EDITED]]["steps"][0]["text"] == OLD_TEXT
    truth[CODES[EDITED]]["steps"][0]["text"] = NEW_TEXT


def the_deleted_action_was_never_seen(_: Truth, parked: Parked) -> None:
    del parked[DELETED]


def the_last_step_was_read_with_the_parked_state(truth: Truth, _: Parked) -> None:
    truth[CODES[STUCK]] = holds([state(STUCK, "2")], [step(1, "2")])


def a_state_was_skipped(truth: Truth, _: Parked) -> None:
    del truth[CODES[PLAIN]]["versions"][1]


def every_state_came_before_the_steps(truth: Truth, _: Parked) -> None:
    came_in_turn(truth, PLAIN, "sssttt")


def each_step_came_after_its_state(truth: Truth, _: Parked) -> None:
    came_in_turn(truth, PLAIN, "ststst")


def a_newer_state_came_before_an_older_step(truth: Truth, _: Parked) -> None:
    came_in_turn(truth, PLAIN, "ssttst")


def all_states_were_squashed(truth: Truth, _: Parked) -> None:
    truth[CODES[PLAIN]]["versions"] = [version(RETURNED, "creation")]
    came_in_turn(truth, PLAIN, "sttt")


def the_undone_step_was_read_when_it_was_undone(truth: Truth, _: Parked) -> None:
    truth[CODES[UNDONE]]["steps"].append(listed(step(2, "4")))


@pytest.mark.parametrize(
    "either",
    [
        every_state_came_before_the_steps,
        each_step_came_after_its_state,
        a_newer_state_came_before_an_older_step,
        all_states_were_squashed,
        the_undone_step_was_read_when_it_was_undone,
        the_second_has_the_number,
        the_undone_step_was_seen,
        the_edited_text_came,
        the_deleted_action_was_never_seen,
        the_last_step_was_read_with_the_parked_state,
        a_state_was_skipped,
    ],
)
def test_either_way_is_right(expected: Expectation, either: Spoil) -> None:
    verdict = judged(expected, either)
    assert verdict.clean, verdict.findings
    assert verdict.parked <= verdict.parked_expected


def test_a_portal_born_dossier_is_there_before_us(expected: Expectation) -> None:
    def born(truth: Truth, _: Parked) -> None:
        truth[CODES[PLAIN]]["versions"] = [
            version(state(PLAIN, "1", received="", due=""), "birth"),
            version(RETURNED),
        ]
        truth["H12.01-261123-0404"] = holds([state(PLAIN, "1")], [], born=True)

    verdict = judged(expected, born)
    assert verdict.clean, verdict.findings
    assert verdict.effects == 19, "births are nobody's effect"


# --- the portal's own troubles ----------------------------------------------------------------------


def _call(trouble: str | None, operation: str) -> dict[str, object]:
    return {"trouble": trouble, "operation": operation, "codes": [CODES[EDITED]]}


@pytest.mark.parametrize(
    ("reason", "call", "lists_steps", "excused"),
    [
        ("rejected_by_target", _call("business_error", "update"), True, True),
        ("rejected_by_target", _call("drop", "update"), True, False),
        ("rejected_by_target", _call(None, "update"), True, False),
        ("outcome_unknown", _call("drop", "steps"), False, True),
        ("outcome_unknown", _call("drop", "steps"), True, False),
        ("outcome_unknown", _call("drop", "update"), False, False),
        ("outcome_unknown", _call(None, "steps"), False, False),
    ],
)
def test_only_a_trouble_of_the_portal_excuses_a_parked_row(
    expected: Expectation, reason: str, call: dict[str, object], lists_steps: bool, excused: bool
) -> None:
    def park(_: Truth, parked: Parked) -> None:
        parked[EDITED] = frozenset({reason})

    verdict = judged(expected, park, struck=Struck.by([call], lists_steps=lists_steps))
    assert verdict.clean is excused
    assert verdict.parked == 6
    assert verdict.parked_expected == (6 if excused else 5)


def test_latency_is_from_the_commit_to_the_effect(expected: Expectation) -> None:
    def arrive(truth: Truth, _: Parked) -> None:
        for steps in expected.steps.values():
            for one in steps:
                for there in truth.get(one.code, {"steps": []})["steps"]:
                    if there["text"] == one.step.text:
                        there["at"] = one.committed_at.timestamp() + 2.5

    verdict = judged(expected, arrive)
    assert verdict.latency_p50_s == pytest.approx(2.5, abs=0.1)
    assert verdict.latency_p95_s == pytest.approx(2.5, abs=0.1)


# --- independence -----------------------------------------------------------------------------------


def test_it_knows_nothing_of_the_hub() -> None:
    """The verdict may use the journal, and no mapping, intake or engine code."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    ours: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            ours |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide what is imported"
            ours.add(node.module or "")
    packages = {"connectors", "streams", "schemas", "monitoring"}
    assert {name for name in ours if name.split(".")[0] in packages} == {
        "connectors.one_stop.simulator.journal"
    }
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not named & {"importlib", "__import__"}, "nothing is imported behind its back"
