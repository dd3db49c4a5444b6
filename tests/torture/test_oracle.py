"""The torture itself can fail: what is wrong, and what proves too little, becomes a finding."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.ledger.migrate import upgrade
from streams.demo.verdict import Expectation, judge
from tests.torture import __main__ as command
from tests.torture import kept
from tests.torture import scenario as scenarios_module
from tests.torture.catalogue import chosen, scenarios
from tests.torture.crash import IN_CALL
from tests.torture.evidence import Fault, recovery
from tests.torture.installation import Guard, Installation, Load, only
from tests.torture.kept import Kept, Run, keep, read
from tests.torture.ledger_grid import TABLES
from tests.torture.report import report
from tests.torture.scenario import Result, Scenario, of_the_hub, once_each, play, unguarded, wrong
from tests.torture.settings import CORE, FULL, LEAST_PROGRESS, SHORT
from tests.torture.soap_evidence import LEAST_PER_CELL
from tests.torture.soap_grid import SoapGrid
from tests.torture.sqlite_grid import FILE
from tests.torture.standing import Standing
from tests.torture.worker import Death
from tests.unit.demo.day_by_hand import (
    CODES,
    PLAIN,
    STUCK,
    Truth,
    came_in_turn,
    expectation,
    good_parked,
    good_truth,
)

CODE = CODES[PLAIN]
PUBLISHED = (
    *("scenario", "profile", "events", "faults_injected", "missing", "duplicate_effects"),
    *("order_violations", "stale", "duplicate_calls", "parked", "parked_expected"),
    *("undecided", "late_effects_found", "recovery_s"),
)


async def nothing(hub: Installation) -> None:
    pass


ROW = Scenario(name="row", row="kill", about="made by hand", run=nothing)


@pytest.fixture
def expected(tmp_path: Path) -> Expectation:
    return expectation(tmp_path)


# --- the oracle: what a mutant of the hub would leave at the portal


def a_step_lost(truth: Truth) -> None:
    del truth[CODE]["steps"][1]


def a_step_twice(truth: Truth) -> None:
    truth[CODE]["steps"].append(truth[CODE]["steps"][-1])


def steps_swapped(truth: Truth) -> None:
    steps = truth[CODE]["steps"]
    steps[0], steps[1] = steps[1], steps[0]


def a_step_before_its_state(truth: Truth) -> None:
    came_in_turn(truth, PLAIN, "ststts")


def created_twice(truth: Truth) -> None:
    created = next(v for v in truth[CODE]["versions"] if v["kind"] == "creation")
    truth[CODE]["versions"].insert(1, created)


def an_old_state_left(truth: Truth) -> None:
    truth[CODE]["status"] = "4"


def a_dossier_lost(truth: Truth) -> None:
    del truth[CODE]


@pytest.mark.parametrize(
    ("spoil", "count"),
    [
        (a_step_lost, "missing"),
        (a_step_twice, "duplicate_effects"),
        (steps_swapped, "order_violations"),
        (a_step_before_its_state, "order_violations"),
        (created_twice, "duplicate_effects"),
        (an_old_state_left, "stale"),
        (a_dossier_lost, "missing"),
    ],
)
def test_what_a_faulty_hub_leaves_behind_is_found(
    expected: Expectation, spoil: Callable[[Truth], None], count: str
) -> None:
    truth = good_truth()
    spoil(truth)
    found = wrong(judge(expected, truth, good_parked()))
    assert any(line.startswith(f"{count}: ") for line in found), found
    assert any(CODE in line for line in found)


def test_a_portal_that_holds_what_it_should_gives_no_finding(expected: Expectation) -> None:
    assert wrong(judge(expected, good_truth(), good_parked())) == []


@pytest.mark.parametrize("order", ["ststst", "sssttt", "ssttst"])
def test_a_state_may_run_ahead_of_the_steps(expected: Expectation, order: str) -> None:
    truth = good_truth()
    came_in_turn(truth, PLAIN, order)
    assert wrong(judge(expected, truth, good_parked())) == []


def test_a_stale_state_is_not_excused_by_a_step_of_unknown_outcome(expected: Expectation) -> None:
    truth = good_truth()
    an_old_state_left(truth)
    parked = {**good_parked(), PLAIN: frozenset({"outcome_unknown"})}
    assert "stale: 1" in wrong(judge(expected, truth, parked))


def test_a_dossier_parked_without_cause_is_found(expected: Expectation) -> None:
    parked = {**good_parked(), PLAIN: frozenset({"outcome_unknown"})}
    assert "parked_not_expected: 1" in wrong(judge(expected, good_truth(), parked))


def test_an_exempt_count_is_no_finding(expected: Expectation) -> None:
    truth = good_truth()
    a_step_twice(truth)
    assert wrong(judge(expected, truth, good_parked()), {"duplicate_effects"}) == []


def test_a_cell_is_judged_by_its_own_dossiers_only(expected: Expectation) -> None:
    truth = good_truth()
    a_step_lost(truth)
    for dossiers, clean in (({PLAIN, STUCK}, False), ({STUCK}, True)):
        codes = {CODES[dossier] for dossier in dossiers}
        held = {code: one for code, one in truth.items() if code in codes}
        parked = {d: reasons for d, reasons in good_parked().items() if d in dossiers}
        assert judge(only(expected, dossiers), held, parked).clean is clean


# --- the guards


def fault(**changes: Any) -> Fault:
    plain: dict[str, Any] = {
        "kind": "SIGKILL",
        "at": 100.0,
        "progress": 0.5,
        "worker": "w1",
        "partitions": frozenset({0, 1}),
        "hit": 3,
    }
    return Fault(**(plain | changes))


def test_enough_faults_that_hit_late_enough_pass_the_guards() -> None:
    assert unguarded(ROW, [fault(progress=LEAST_PROGRESS)]) == []


@pytest.mark.parametrize(
    ("row", "faults", "says"),
    [
        (replace(ROW, least_hits=0), [], "0 faults, at least 1"),
        (replace(ROW, least_faults=2), [fault()], "1 faults, at least 2"),
        (ROW, [fault(hit=0)], "0 faults struck an open attempt"),
        (replace(ROW, least_hits=3), [fault(hit=9), fault(), fault(hit=0)], "2 faults struck"),
        (ROW, [fault(kind="SIGTERM")], "0 faults struck an open attempt"),
        (ROW, [fault(progress=0.19), fault()], "came at 19% progress"),
        (replace(ROW, least_crashes=1), [fault()], "0 crash points were reached"),
    ],
)
def test_too_little_is_a_finding(row: Scenario, faults: Sequence[Fault], says: str) -> None:
    found = unguarded(row, faults)
    assert [says in line for line in found] == [True], found


def test_a_stop_strikes_where_the_row_is_about_stops() -> None:
    assert unguarded(replace(ROW, stops_strike=True), [fault(kind="SIGTERM")]) == []


def test_no_row_asks_for_more_than_its_faults_can_strike() -> None:
    for one in scenarios():
        assert one.least_hits <= max(one.least_faults, one.least_crashes), one.name


def test_a_fault_at_a_crash_point_counts_as_one() -> None:
    row = replace(ROW, least_crashes=1)
    assert unguarded(row, [fault(kind="after_write:40=stop")]) == []


# --- the recovery, by the portal's calls


def call(at: float, code: str, operation: str = "update", verdict: str | None = "done") -> Any:
    return {"at": at, "codes": [code], "operation": operation, "verdict": verdict}


def test_the_recovery_is_when_nine_of_ten_dossiers_have_moved() -> None:
    codes = [f"D{number}" for number in range(10)]
    struck = fault(busy=frozenset(codes))
    calls = [call(99.0, "D9"), call(100.5, "another's")]
    calls += [call(101.0 + number, code) for number, code in enumerate(codes)]
    calls += [call(102.0, "D0")]
    assert recovery(struck, calls).plain == 9.0
    assert recovery(fault(busy=frozenset({"D0", "D9"})), calls).plain == 10.0, "of a few, all"


def test_a_question_is_a_sign_of_life_too() -> None:
    calls = [call(103.0, "A", "look_up", None), call(105.0, "A")]
    assert recovery(fault(busy=frozenset({"A"})), calls).plain == 3.0


def test_one_that_never_moved_is_found() -> None:
    struck = fault(busy=frozenset({"A", "B"}))
    felt = recovery(struck, [call(99.0, "B"), call(103.0, "A")])
    assert (felt.plain, felt.never) == (3.0, frozenset({"B"}))
    assert recovery(struck, [call(103.0, "A")], {"B"}).never == frozenset()


@pytest.mark.parametrize(
    ("kind", "never"),
    [
        ("SIGKILL", {"C", "D"}),
        ("after_write:15", {"C", "D"}),
        ("after_write:5=stop", {"D"}),  # it wakes, and may settle what it had open
        ("SIGSTOP", {"D"}),
    ],
)
def test_an_open_attempt_of_a_dead_worker_that_nobody_asked_about_is_found(
    kind: str, never: set[str]
) -> None:
    struck = fault(kind=kind, busy=frozenset({"C", "D"}), open_codes=frozenset({"A", "C"}))
    assert recovery(struck, [call(103.0, "A")]).never == never
    assert recovery(struck, [call(103.0, "A")], {"C", "D"}).never == frozenset()


def test_a_dossier_with_an_open_attempt_is_measured_by_itself() -> None:
    struck = fault(busy=frozenset({"A", "B"}), open_codes=frozenset({"A"}))
    calls = [call(103.0, "B"), call(104.0, "A", "look_up"), call(105.0, "A")]
    felt = recovery(struck, calls)
    assert (felt.plain, felt.opened) == (3.0, 4.0)


def test_what_is_parked_is_waited_for_by_nobody() -> None:
    struck = fault(open_codes=frozenset({"A"}))
    calls = [call(190.0, "A")]
    assert recovery(struck, calls, {"A"}).opened is None
    assert recovery(struck, calls).opened == 90.0


def test_where_nothing_waited_nothing_is_measured() -> None:
    felt = recovery(fault(), [call(101.0, "A")])
    assert (felt.plain, felt.opened, felt.never) == (None, None, frozenset())


# --- results and rows


def test_a_result_has_the_published_fields_in_their_order() -> None:
    told = Result(scenario="row", profile="steps").as_json()
    assert tuple(told)[: len(PUBLISHED)] == PUBLISHED
    assert told["verdict"] == "pass"


def test_a_slow_recovery_fails_a_row_too() -> None:
    told = Result(scenario="row", profile="steps", slow=("too slow",))
    assert not told.passed
    assert told.as_json()["findings"] == ["too slow"]


def test_a_result_comes_back_from_what_was_kept_of_it() -> None:
    told = Result(scenario="row", profile="steps", stale=2, recovery_s=1.5, findings=("stale: 2",))
    assert Result.from_json(json.loads(json.dumps(told.as_json()))) == told


def test_a_result_from_before_deaths_and_measures_were_told_still_loads() -> None:
    told = Result(scenario="row", profile="steps", worker_deaths=3, measured=("m",)).as_json()
    assert tuple(told)[len(PUBLISHED)] == "worker_deaths"
    held = Result.from_json(told)
    assert (held.worker_deaths, held.measured) == (3, ("m",))
    del told["worker_deaths"], told["measured"]
    held = Result.from_json(told)
    assert (held.worker_deaths, held.measured) == (0, ())


async def test_workers_that_end_by_themselves_too_often_are_a_finding(tmp_path: Path) -> None:
    hub = Installation(Standing(), tmp_path)
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    upgrade(url)
    hub.use_ledger(url)
    hub.deaths = [
        Death(worker="w1", status=status, at=1.0, crash=crash, said="why")
        for status, crash in ((70, ""), (-9, "after_write:1"), (70, ""))
    ]
    assert await of_the_hub(hub, most_deaths=2) == []
    (found,) = await of_the_hub(hub, most_deaths=1)
    assert "ended by themselves 2 times, not at most 1: why" in found


def test_a_worker_may_end_by_itself_only_where_it_is_left_without_broker_or_ledger() -> None:
    allowed = {one.name: one.most_deaths for one in scenarios() if one.most_deaths}
    assert {one.row for one in scenarios() if one.name in allowed} == {"broker", "ledger"}
    for name, most in allowed.items():
        (one,) = chosen(only=[name])
        assert most <= once_each(one.least_faults, one.workers), name


async def test_an_error_that_nobody_foresaw_fails_its_row_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(*_: object) -> Sequence[Result]:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(scenarios_module, "_play", broken)
    (found,) = await play(ROW, Standing())
    assert not found.passed
    assert "ZeroDivisionError" in found.findings[0]


async def test_a_guard_in_a_scenario_fails_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    async def idle(*_: object) -> Sequence[Result]:
        raise Guard("nothing happened")

    monkeypatch.setattr(scenarios_module, "_play", idle)
    (found,) = await play(ROW, Standing())
    assert found.findings == ("guard: nothing happened",)


# --- the catalogue and the command


def test_names_are_unique_and_rows_known() -> None:
    every = scenarios()
    assert len({s.name for s in every}) == len(every)
    assert {s.row for s in every} >= {"kill", "crash"}


def test_the_kill_and_crash_rows_have_their_guards() -> None:
    for one in chosen(rows=["kill", "crash"]):
        assert one.least_faults >= 1, one.name
        assert one.least_progress >= LEAST_PROGRESS, one.name
        assert one.exempt == frozenset(), one.name


def test_only_these_rows_may_strike_no_call_under_way() -> None:
    assert {one.name for one in scenarios() if not one.least_hits} == {
        *("crash_after_produce", "crash_after_enlist"),  # before anything is owed
        *("source_restored", "source_renumbered"),  # the one-stop system's, with the hub at rest
        "memory_by_backlog",  # has no fault
        # A worker dies between two calls; the system is away; the ledger is another one.
        *(f"reports_crash_{point}" for point in ("before_enlist", "after_enlist", "after_settle")),
        *("reports_crash_after_receipt_produce", "reports_away", "reports_restored"),
    }


def test_rows_that_kill_or_freeze_hold_recoveries_against_the_bound() -> None:
    measured = {one.name: one.least_recoveries for one in scenarios() if one.least_recoveries}
    assert measured == {
        "kill_each_in_turn": 3,
        "kill_one_for_good": 1,
        "kill_under_existence": 3,
        "freeze_each_in_turn": 1,
        "one_three_one": 1,
    }
    opened = {one.name for one in scenarios() if one.least_opened}
    assert opened == {
        *("kill_each_in_turn", "kill_one_for_good"),
        *(f"zombie_{point}" for point in ("after_intent", "after_write", "after_answer")),
        *(f"crash_{point}" for point in IN_CALL),
    }


def test_a_merge_does_not_wait_for_the_machine_to_measure_recoveries() -> None:
    for one in chosen(core=True):
        scaled = one.at(CORE)
        assert (scaled.least_recoveries, scaled.least_opened) == (0, 0), one.name
        assert scaled.least_hits == one.at(SHORT).least_hits, one.name


def test_the_core_is_twelve_rows_of_every_kind_that_loses_something() -> None:
    core = chosen(core=True)
    assert len(core) == 12
    assert {one.row for one in core} >= {"kill", "crash", "soap", "ledger"}
    assert {one.brokers for one in core} == {1}, "a second cluster is a minute of starting"


def test_every_cell_of_the_grid_has_its_dossiers_in_the_core() -> None:
    (grid,) = [one for one in chosen(core=True) if one.row == "soap"]
    scaled = grid.at(CORE)
    assert isinstance(scaled, SoapGrid)
    assert scaled.core
    assert scaled.per_cell >= LEAST_PER_CELL


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="kill_each_in_turn"):
        chosen(only=["kill_everybody"])
    said = StringIO()
    with redirect_stderr(said):
        assert command.main(["--only", "kill_everybody"]) == 2
    assert "kill_everybody" in said.getvalue()


@pytest.mark.parametrize("more", [[], ["--list"]])
def test_a_choice_that_leaves_nothing_is_refused(more: Sequence[str]) -> None:
    said = StringIO()
    with redirect_stderr(said):
        assert command.main(["--only", "join", "--row", "soap", *more]) == 2
    assert "no scenario" in said.getvalue()


def test_a_row_on_a_small_disk_has_the_same_day_at_every_scale() -> None:
    disks = [TABLES.prepare, FILE.prepare]
    small = [one for one in scenarios() if one.prepare in disks]
    assert len(small) == len(disks)
    for one in small:
        assert one.at(FULL).load == one.load, one.name


def test_the_scale_changes_how_much_is_written() -> None:
    row = replace(ROW, load=Load(events=3000))
    events = []
    for scale in (SHORT, CORE, FULL):
        load = row.at(scale).load
        assert load is not None
        events.append(load.events)
    assert events == [3000, CORE.events, 100_000]
    assert replace(row, full=False).at(FULL).load == row.load


async def test_a_large_day_is_given_the_time_that_it_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load = replace(ROW, load=Load(events=3000)).at(FULL).load
    assert load is not None
    waited: dict[str, float] = {}

    async def until(_: object, ask: object, enough: object, what: str, seconds: float) -> None:
        waited[what] = seconds

    monkeypatch.setattr(Installation, "until", until)
    hub = Installation(Standing(), tmp_path, load=load)
    for share in (LEAST_PROGRESS, 0.6):
        await hub.until_progress(share)
        assert waited[f"{share:.0%} progress"] > 2 * share * load.seconds
    assert load.seconds > 800, "the full day takes longer than any plain limit"
    assert hub.patience(180.0) > 2 * load.seconds
    assert Installation(Standing(), tmp_path).patience(180.0) == 180.0, "nobody writes"


async def test_a_sip_waits_for_the_worker_that_is_to_pass_the_point(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tests.torture.installation._LOOK_SECONDS", 0)
    monkeypatch.setattr("tests.torture.installation._SIP_SECONDS", 3600)
    taken = {1: 0, 2: 0}  # by process id

    class View:
        def rows(self, _: str, owner: str) -> list[tuple[int]]:
            return [(taken[int(owner.strip("%:"))],)]

    hub = Installation(Standing(), tmp_path)
    monkeypatch.setattr(Installation, "view", View())
    for number, name in ((1, "w1"), (2, "w2")):
        monkeypatch.setattr(hub.workers[name], "_process", SimpleNamespace(pid=number))
    hub.allow(0.2)
    hub._next_share = 0.5
    written: list[float] = []

    async def looks() -> bool:
        written.append(hub._share)
        taken[2] += 1  # the other one is quick
        if len(written) == 6:
            taken[1] += 1
        return len(written) == 9

    await hub.sip_until(looks, "nine looks", "w1")
    sip = (0.5 - 0.2) / 15
    assert written == pytest.approx([0.2, *[0.2 + sip] * 5, *[0.2 + 2 * sip] * 3])


@pytest.fixture
def checked_out(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A box with the commit that is checked out."""
    box = ["one"]
    monkeypatch.setattr(kept, "commit", lambda: box[0])
    return box


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what was played, in a few milliseconds each; `join` fails."""
    names: list[str] = []

    async def short(scenario: Scenario, *_: object, **__: object) -> Sequence[Result]:
        names.append(scenario.name)
        findings = ("stale: 1",) if scenario.name == "join" else ()
        return [Result(scenario=scenario.name, profile="steps", findings=findings, row="kill")]

    monkeypatch.setattr(command, "play", short)
    return names


def run_command(*words: str) -> tuple[int, list[str]]:
    """The exit status, and the scenarios of the results that were printed."""
    out = StringIO()
    with redirect_stdout(out), redirect_stderr(StringIO()):
        status = command.main(["--json", *words])
    return status, [json.loads(line)["scenario"] for line in out.getvalue().splitlines()]


def test_a_resumed_run_plays_only_what_is_left(
    checked_out: list[str], played: list[str], tmp_path: Path
) -> None:
    names = ["kill_each_in_turn", "join"]
    words = ("--resume", str(tmp_path / "kept"), "--only")
    assert run_command(*words, *names[:1]) == (0, names[:1])
    assert run_command(*words, *names) == (1, names)
    assert played == names


def test_what_a_row_measured_is_told_as_it_goes() -> None:
    found = [Result(scenario="soak", profile="steps", measured=("sockets: 40",))]
    assert command._in_words(found) == "pass\n    sockets: 40"


def test_what_another_commit_or_scale_has_shown_is_played_again(
    checked_out: list[str], played: list[str], tmp_path: Path
) -> None:
    words = ("--resume", str(tmp_path / "kept"), "--only", "join")
    run_command(*words)
    checked_out[0] = "two"
    run_command(*words, "--any-commit")
    assert played == ["join"]
    run_command(*words)
    run_command(*words)
    assert played == ["join"] * 2
    run_command(*words, "--full", "--any-commit")
    assert played == ["join"] * 3


def test_a_commit_is_named_where_there_is_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert kept.commit() == ""


def row_of(run: Run, result: Result) -> Kept:
    return Kept(scenario=result.scenario, run=run, results=[result])


def test_the_report_says_of_every_row_when_and_where_it_was_played(tmp_path: Path) -> None:
    run = Run(commit="abc", day="2026-11-23", machine="2 processors", scale="full")
    good = Result(
        scenario="good", profile="steps", events=3000, recovery_s=4.2, measured=("memory: 160",)
    )
    bad = Result(scenario="bad", profile="state", stale=1, findings=("stale: 1", "code: old"))
    file = tmp_path / "kept"
    keep(file, row_of(replace(run, commit="older"), bad))
    keep(file, row_of(run, bad))
    keep(file, row_of(replace(run, day="2026-11-24"), good))
    keep(file, row_of(replace(run, machine="4 processors"), replace(good, scenario="other")))
    changed = replace(run, commit="0123456789ab-dirty")
    keep(file, row_of(changed, Result(scenario="third", profile="steps")))
    text = report(read(file).values())
    assert "- 2026-11-23 to 2026-11-24: commit abc, scale full, 2 processors\n" in text
    assert "- 2026-11-23: commit abc, scale full, 4 processors\n" in text
    assert "older" not in text, "what was played again is no result any more"
    assert "4 rows, 1 failed." in text
    assert "| `good` | steps | 3000 | 0 |" in text
    assert "| 4.2 | pass | abc |" in text
    assert "| pass | 0123456-dirty |" in text
    assert "`good` measured:\n\n- memory: 160" in text
    assert "**FAIL**" in text
    assert "- stale: 1\n- code: old" in text
