"""The direct methods: one life at a time, with the journal's expectation after each write."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from connectors.one_stop.simulator.journal import JournalWriter, Owed, Write
from connectors.one_stop.simulator.process import STATUS_MAPPING, STEPS, Act
from tests.unit.one_stop_simulator.playing import DAY, Stage, stage, without_clock


def test_the_shipped_mapping_says_what_the_journal_expects() -> None:
    shipped = {(status, sub): code for status, sub, code in STATUS_MAPPING}
    unmapped = set()
    for step in STEPS:
        if step.status is None:
            continue
        code = shipped.get((step.status, step.sub_status)) or shipped.get((step.status, None))
        assert code == step.national
        if step.unmapped:
            unmapped.add(step.status)
    assert unmapped == {"handover", "correcting"}


def test_nothing_is_owed_before_reception_at_the_counter(desk: Stage) -> None:
    s = desk.simulator
    dossier = s.new_dossier()
    assert desk.last().state.not_owed == "before_reception"
    s.act(dossier, Act.RECEIVE, with_number=False)
    assert desk.last().state.not_owed == "no_code"
    s.act(dossier, Act.ASSIGN)
    state = desk.last().state
    assert (state.not_owed, state.status) == (None, "4")
    assert [x.owed for x in desk.journal.steps()[dossier.dossier_id]] == [Owed.MUST, Owed.MUST]
    assert {x.code for x in desk.journal.steps()[dossier.dossier_id]} == {dossier.code}


def test_a_portal_born_dossier_is_owed_from_the_first_moment(desk: Stage) -> None:
    dossier = desk.simulator.new_dossier(portal_born=True)
    assert dossier.code
    assert desk.last().state.not_owed is None
    assert desk.last().state.status == "1"


def test_a_step_without_a_status_carries_the_one_before(desk: Stage) -> None:
    s = desk.simulator
    dossier = s.new_dossier()
    s.act(dossier, Act.RECEIVE)
    action = s.act(dossier, Act.HAND_OVER)
    step = desk.last().step
    assert step is not None
    assert step.status == "2"
    row = desk.row("opencps_dossieraction", "dossierActionId", action)
    (process_step,) = [
        r for r in desk.rows("opencps_processstep") if r["stepCode"] == row["stepCode"]
    ]
    assert process_step["dossierStatus"] == ""
    assert (
        desk.row("opencps_dossier", "dossierId", dossier.dossier_id)["dossierStatus"] == "receiving"
    )


def test_a_rollback_restores_the_dossier_and_leaves_the_row_marked(desk: Stage) -> None:
    s = desk.simulator
    dossier = s.new_dossier()
    received = s.act(dossier, Act.RECEIVE)
    before = desk.last().state
    released = s.act(dossier, Act.RELEASE, results=("Kết quả",))
    assert (desk.last().state.status, desk.last().state.results) == ("9", 1)
    s.roll_back(dossier)
    assert desk.last().state == before
    assert desk.last().step is None
    assert desk.row("opencps_dossieraction", "dossierActionId", released)["state_"] == 2
    row = desk.row("opencps_dossier", "dossierId", dossier.dossier_id)
    assert (row["dossierActionId"], row["releaseDate"]) == (received, None)
    steps = desk.journal.steps()[dossier.dossier_id]
    assert [x.owed for x in steps] == [Owed.MUST, Owed.OPTIONAL]
    again = s.act(dossier, Act.ASSIGN)
    assert (
        desk.row("opencps_dossieraction", "dossierActionId", again)["previousActionId"] == received
    )


def test_a_deleted_action_may_be_parked(desk: Stage) -> None:
    s = desk.simulator
    dossier = s.new_dossier()
    s.act(dossier, Act.RECEIVE)
    gone = s.act(dossier, Act.ASSIGN)
    s.delete_action(dossier)
    assert gone not in {r["dossierActionId"] for r in desk.rows("opencps_dossieraction")}
    (parked,) = desk.journal.parked()
    assert (parked.dossiers, parked.reason, parked.certain) == (
        (dossier.dossier_id,),
        "deleted_at_source",
        False,
    )
    assert desk.journal.states()[dossier.dossier_id].state.status == "2"


def test_an_edited_action_may_arrive_with_either_text(desk: Stage) -> None:
    s = desk.simulator
    dossier = s.new_dossier()
    action = s.act(dossier, Act.RECEIVE, note="")
    s.edit_action(dossier, "Sửa lại")
    (step,) = desk.journal.steps()[dossier.dossier_id]
    assert (step.step.text, step.also_text) == ("Tiếp nhận hồ sơ tại Một cửa", "Sửa lại")
    assert desk.row("opencps_dossieraction", "dossierActionId", action)["actionNote"] == "Sửa lại"


def test_an_unmapped_status_holds_the_steps_behind_it_but_not_the_newer_state(desk: Stage) -> None:
    s = desk.simulator
    dossier = s.new_dossier()
    s.act(dossier, Act.RECEIVE)
    s.act(dossier, Act.CORRECT)
    assert desk.journal.states()[dossier.dossier_id].owed is Owed.HELD
    s.act(dossier, Act.CORRECTED)
    final = desk.journal.states()[dossier.dossier_id]
    assert (final.owed, final.state.status) == (Owed.MUST, "4")
    owed = [x.owed for x in desk.journal.steps()[dossier.dossier_id]]
    assert owed == [Owed.MUST, Owed.HELD, Owed.HELD]
    assert [p.reason for p in desk.journal.parked()] == ["unmapped"]


def test_two_dossiers_with_one_number(desk: Stage) -> None:
    s = desk.simulator
    first, second = s.new_dossier(), s.new_dossier()
    s.act(first, Act.RECEIVE)
    s.act(second, Act.RECEIVE, rival=first)
    assert first.code == second.code
    (parked,) = desk.journal.parked()
    assert parked.dossiers == (first.dossier_id, second.dossier_id)
    assert {x.owed for x in desk.journal.states().values()} == {Owed.EITHER}


def test_a_held_transaction_is_seen_only_when_it_commits(desk: Stage) -> None:
    s = desk.simulator
    slow, quick = s.new_dossier(), s.new_dossier()
    s.act(slow, Act.RECEIVE)
    held = s.hold_act(slow, Act.ASSIGN)
    later = s.act(quick, Act.RECEIVE)
    assert held.action_id < later
    seen = {r["dossierActionId"] for r in desk.rows("opencps_dossieraction")}
    assert later in seen
    assert held.action_id not in seen
    assert desk.last().action == later
    held.commit()
    assert desk.last().action == held.action_id
    assert (
        desk.row("opencps_dossier", "dossierId", slow.dossier_id)["dossierStatus"] == "processing"
    )


def test_an_extension_wins_over_the_due_date(desk: Stage) -> None:
    s = desk.simulator
    dossier = s.new_dossier()
    due, extended = datetime(2026, 11, 20, 17), datetime(2026, 11, 25, 17)  # noqa: DTZ001 - local, as there
    s.act(dossier, Act.RECEIVE, columns={"dueDate": due})
    s.act(dossier, Act.EXTEND, columns={"extendDate": extended})
    assert desk.last().state.due == "20261125170000"
    s.touch(dossier, dueDate=due + timedelta(days=1))
    assert desk.last().state.due == "20261125170000"
    assert desk.last().state.status == "2"


def test_changes_without_an_action_touch_the_dossier(desk: Stage) -> None:
    s = desk.simulator
    dossier = s.new_dossier()
    s.act(dossier, Act.RECEIVE)
    at = s.now
    s.pay(dossier)
    s.add_file(dossier, "Bổ sung")
    assert [e.write for e in desk.journal.entries()[-2:]] == [Write.PAYMENT, Write.FILE]
    assert desk.last().state.components == 2
    row = desk.row("opencps_dossier", "dossierId", dossier.dossier_id)
    assert row["modifiedDate"] > at
    (payment,) = desk.rows("opencps_paymentfile")
    assert payment["confirmDatetime"] is not None


def test_the_same_seed_plays_the_same_day_and_another_does_not(tmp_path: Path) -> None:
    journals = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        one = stage(tmp_path, name, seed=seed, dossiers=80)
        for _ in one.simulator.play():
            pass
        journals.append(without_clock(one.journal.entries()))
        one.close()
    assert journals[0] == journals[1]
    assert journals[0] != journals[2]


def test_the_journal_keeps_the_order_of_the_commits(tmp_path: Path) -> None:
    one = stage(tmp_path, dossiers=60, seed=2)
    seen: set[int] = set()
    for count, _ in enumerate(one.simulator.play(), start=1):
        entries = one.journal.entries(after=count - 1)
        assert [e.order for e in entries] == [count]
        now = {r["dossierActionId"] for r in one.rows("opencps_dossieraction")}
        if entries[0].write is Write.ACTION:
            assert now - seen == {entries[0].action}
        elif entries[0].write is Write.DELETION:
            assert seen - now == {entries[0].action}
        else:
            assert now == seen
        seen = now
    one.close()


def test_the_journal_cannot_be_rewritten_or_mixed(desk: Stage, tmp_path: Path) -> None:
    desk.simulator.new_dossier()
    path = tmp_path / "day.journal"
    with sqlite3.connect(path) as db, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        db.execute("delete from entries")
    db.close()
    with pytest.raises(ValueError, match="name a new file"):
        JournalWriter(path)


def test_warts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="raise --dossiers"):
        stage(tmp_path, dossiers=5)
    assert DAY.weekday() < 5
