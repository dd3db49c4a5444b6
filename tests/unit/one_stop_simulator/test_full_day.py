"""The default day: as large as promised, every wart there, and the journal true to the tables."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import asdict
from datetime import datetime
from itertools import pairwise

from connectors.one_stop.simulator import reference
from connectors.one_stop.simulator.journal import Owed, Write
from connectors.one_stop.simulator.people import EMAIL_DOMAIN, ID_PREFIX, PHONE_PREFIX, TAX_PREFIX
from connectors.one_stop.simulator.rows import UNREADABLE
from connectors.one_stop.simulator.warts import Warts
from schemas.reasons import Reason
from tests.unit.one_stop_simulator.playing import Stage


def local(at: str) -> datetime:
    return datetime.strptime(at, "%Y%m%d%H%M%S")  # noqa: DTZ007 - local times, as in the database


def wire(at: datetime | None) -> str:
    return at.strftime("%Y%m%d%H%M%S") if at else ""


def test_the_day_is_large_enough(full_day: Stage) -> None:
    counts = full_day.journal.counts()
    assert counts["dossiers"] >= 900
    assert counts["actions"] >= 7000
    assert counts["events"] == counts["actions"] + counts["changes"]
    assert counts["writes"] == full_day.simulator.turns


def test_seven_to_eight_actions_each_and_seven_in_ten_born_on_the_portal(full_day: Stage) -> None:
    dossiers = full_day.rows("opencps_dossier")
    actions = full_day.rows("opencps_dossieraction")
    assert 7 <= len(actions) / len(dossiers) <= 8.5
    born = [d for d in dossiers if d["originality"] == 1]
    assert 0.66 <= len(born) / len(dossiers) <= 0.74
    told = full_day.journal.portal_born()
    assert sorted(p.code for p in told) == sorted(d["dossierNo"] for d in born)
    assert {p.status for p in told} == {"1"}


def test_every_wart_is_there_as_often_as_asked_for(full_day: Stage) -> None:
    played = full_day.journal.warts()
    assert played.pop("step_without_status") > 100
    assert played == asdict(Warts())


def test_the_journal_names_the_warts_where_the_tables_have_them(full_day: Stage) -> None:
    dossiers = {d["dossierId"]: d for d in full_day.rows("opencps_dossier")}
    found: dict[str, set[int]] = defaultdict(set)
    for entry in full_day.journal.entries():
        for wart in entry.warts:
            found[wart].add(entry.dossier)
    ref = reference.load()
    local = {p.code for p in ref.local}
    assert found["local_code"] == {i for i, d in dossiers.items() if d["serviceCode"] in local}
    assert found["closed_agency"] == {
        i for i, d in dossiers.items() if d["govAgencyCode"].startswith("H04.")
    }
    assert found["copy"] == {
        i for i, d in dossiers.items() if d["originDossierId"] or d["originDossierNo"]
    }
    assert {bool(dossiers[i]["originDossierId"]) for i in found["copy"]} == {True, False}
    assert found["long_note"] == {
        i for i, d in dossiers.items() if len(d["dossierNote"] or "") == 5000
    }
    assert found["control_character"] == {
        i for i, d in dossiers.items() if "\x0b" in d["applicantName"]
    }
    assert found["special_character"] == {
        i for i, d in dossiers.items() if "<" in d["applicantName"] and "&" in d["applicantName"]
    }
    assert found["released_not_finished"] == {
        i
        for i, d in dossiers.items()
        if d["dossierStatus"] == "done" and d["releaseDate"] and not d["finishDate"]
    }
    numbers = Counter(d["dossierNo"] for d in dossiers.values() if d["dossierNo"])
    assert found["doubled_number"] <= {
        i for i, d in dossiers.items() if numbers[d["dossierNo"]] == 2
    }
    assert sorted(numbers.values())[-3:] == [1, 2, 2]


def test_final_states_are_the_rows_after_the_last_commit(full_day: Stage) -> None:
    files: dict[tuple[int, bool], int] = Counter(
        (f["dossierId"], f["dossierPartType"] == 2)
        for f in full_day.rows("opencps_dossierfile")
        if not f["removed"]
    )
    national = {
        (m["statusCode"], m["subStatusCode"]): m["statusCodeDVCQG"]
        for m in full_day.rows("opencps_dossierstatusmapping")
    }
    services = {
        m["serviceCode"]: m["serviceCodeDVCQG"] for m in full_day.rows("opencps_serviceinfomapping")
    }
    states = full_day.journal.states()
    for d in full_day.rows("opencps_dossier"):
        key, status = d["dossierId"], d["dossierStatus"]
        state = states[key].state
        assert state.code == d["dossierNo"]
        assert state.status == national.get(
            (status, d["dossierSubStatus"]), national.get((status, ""))
        )
        assert state.procedure == services[d["serviceCode"]]
        assert state.received == wire(d["receiveDate"])
        assert state.due == wire(d["extendDate"] or d["dueDate"])
        assert state.finished == wire(d["releaseDate"])
        assert state.returned == wire(d["finishDate"])
        assert (state.components, state.results) == (files[key, False], files[key, True])


def test_steps_are_the_rows_of_the_action_table(full_day: Stage) -> None:
    actions = {a["dossierActionId"]: a for a in full_day.rows("opencps_dossieraction")}
    steps = [s for many in full_day.journal.steps().values() for s in many]
    gone = {s.action for s in steps} - set(actions)
    assert len(gone) == Warts().deleted_action
    assert {s.owed for s in steps if s.action in gone} == {Owed.OPTIONAL}
    for step in steps:
        if step.action in gone:
            continue
        row = actions[step.action]
        assert row["dossierId"] == step.dossier
        assert wire(row["createDate"]) == step.step.at
        assert row["actionUser"] == step.step.officer
        text = row["actionNote"] or row["actionName"]
        assert text in (step.step.text, step.also_text)
        if row["state_"] == 2:
            assert step.owed is Owed.OPTIONAL
    for dossier, many in full_day.journal.steps().items():
        assert [s.order for s in many] == sorted(s.order for s in many)
        assert [s.step.at for s in many] == sorted(s.step.at for s in many), dossier


def test_what_must_be_parked(full_day: Stage) -> None:
    parked = full_day.journal.parked()
    assert Counter(p.reason for p in parked) == {
        Reason.UNMAPPED: 4,
        Reason.CODE_CONFLICT: 2,
        Reason.FIELD_TOO_LONG: 1,
        Reason.FIELD_INVALID: 1,
        Reason.DELETED_AT_SOURCE: 3,
    }
    states = full_day.journal.states()
    for one in parked:
        assert one.certain is (one.reason != Reason.DELETED_AT_SOURCE)
        if one.reason == Reason.CODE_CONFLICT:
            first, second = (states[d] for d in one.dossiers)
            assert first.state.code == second.state.code
            assert {first.owed, second.owed} == {Owed.EITHER}
    held = Counter(s.state.held for s in states.values() if s.owed is Owed.HELD)
    assert held == {"field_too_long": 1, "field_invalid": 1, "unmapped": 2}
    steps = [s for many in full_day.journal.steps().values() for s in many]
    assert all(s.step.status for s in steps if s.owed is Owed.MUST)


def test_nothing_is_owed_of_copies_and_of_what_was_never_received(full_day: Stage) -> None:
    why = Counter(full_day.journal.not_owed().values())
    assert why == {"copy": Warts().copy, "before_reception": Warts().never_received}


def test_ids_in_blocks_bring_smaller_ids_later(full_day: Stage) -> None:
    ids = [e.action for e in full_day.journal.entries() if e.write is Write.ACTION and e.action]
    highest, smaller_later = 0, 0
    for action in ids:
        smaller_later += action < highest
        highest = max(highest, action)
    assert smaller_later > 1000


def test_late_commits_come_after_a_later_write_with_a_larger_id(full_day: Stage) -> None:
    entries = [e for e in full_day.journal.entries() if e.write is Write.ACTION]
    late = [n for n, e in enumerate(entries) if "late_commit" in e.warts]
    assert len(late) == Warts().late_commit
    for place in late:
        held = entries[place]
        assert held.action
        assert held.step
        assert any(
            e.action
            and e.action > held.action
            and e.step
            and e.step.at > held.step.at
            and e.dossier != held.dossier
            for e in entries[place - 10 : place]
        )


def test_modified_dates_follow_the_commits_to_within_seconds(full_day: Stage) -> None:
    newest, behind = local("20261120000000"), 0.0
    for entry in full_day.journal.entries():
        if entry.step is None or not entry.step.at:
            continue
        at = local(entry.step.at)
        behind = max(behind, (newest - at).total_seconds())
        newest = max(newest, at)
    assert 0 < behind <= 10


def test_two_actions_in_the_same_second(full_day: Stage) -> None:
    steps = full_day.journal.steps()
    same = [
        d for d, many in steps.items() if any(a.step.at == b.step.at for a, b in pairwise(many))
    ]
    assert len(same) == Warts().same_second


def test_early_on_time_late_and_extended_lives_are_there(full_day: Stage) -> None:
    done = [d for d in full_day.rows("opencps_dossier") if d["releaseDate"] and d["dueDate"]]
    due = Counter(
        "late" if d["releaseDate"] > (d["extendDate"] or d["dueDate"])
        else "today" if d["dueDate"].date() == d["releaseDate"].date() else "early"
        for d in done
    )  # fmt: skip
    assert min(due["late"], due["today"], due["early"]) > 50
    codes = Counter(a["actionCode"] for a in full_day.rows("opencps_dossieraction"))
    for code in (
        "1400",
        "2100",
        "2200",
        "2400",
        "2500",
        "3300",
        "4100",
        "7010",
        "7500",
        "8500",
        "8501",
    ):
        assert codes[code] >= 3, code


def test_procedures_are_real_and_people_are_not(full_day: Stage) -> None:
    known = {p.code for p in reference.load().procedures}
    for state in full_day.journal.states().values():
        assert re.fullmatch(r"\d\.\d{6}", state.state.procedure)
        assert state.state.procedure in known
    people = full_day.journal.people()
    ids = {p["id_no"] for p in people}
    for d in full_day.rows("opencps_dossier"):
        prefix = ID_PREFIX if d["applicantIdType"] == "citizen" else TAX_PREFIX
        assert d["applicantIdNo"].startswith(prefix)
        assert d["applicantIdNo"] in ids
        assert d["contactTelNo"].startswith(PHONE_PREFIX)
        assert d["contactEmail"].endswith(f"@{EMAIL_DOMAIN}")
        assert d["password_"].startswith(UNREADABLE)
    names = {p["name"] for p in people}
    officers = {a["actionUser"] for a in full_day.rows("opencps_dossieraction")} - {"Hệ thống"}
    assert officers <= names
    assert max(map(len, officers)) <= 50
