"""What a worker had in hand is read from the ledger: which of its dossiers must move again."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from schemas.ledger.migrate import upgrade
from streams.demo.hub_view import HubView
from tests.torture.evidence import Fault, in_hand, parked_codes
from tests.torture.ledger_grid import unmoved
from tests.torture.scenario import disturbed

PID = 4711
STATE, STEP = ("state", "pending", 5), ("step", "pending", 5)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """With partition 3 owned by the process of this number."""
    path = tmp_path / "ledger.db"
    upgrade(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            'insert into positions (flow, topic, "partition", owner, epoch, next_offset, log_base)'
            " values ('ledger', 'dossier.events', 3, ?, 1, 0, 0)",
            [f"machine:{PID}:1"],
        )
    return path


def owe(
    ledger: Path,
    code: str,
    *rows: tuple[str, str, int],
    delivered: int = 0,
    runnable: bool = True,
    partition: int = 3,
) -> None:
    """A dossier with deliveries of (operation, state, version)."""
    with closing(sqlite3.connect(ledger)) as db, db:
        db.execute("pragma foreign_keys = off")
        db.execute(
            "insert into dossiers (dossier_id, source, code, state_version, log_pos, born_on_portal)"
            " values (?, 'one_stop', ?, 0, 0, 0)",
            [code, code],
        )
        db.execute(
            'insert into dossier_target (target, dossier_id, topic, "partition", known,'
            " born_on_portal, delivered_version, last_step, failures, work_seq, runnable)"
            " values ('national_portal', ?, 'dossier.events', ?, 'present', 0, ?, 0, 0, 0, ?)",
            [code, partition, delivered, runnable],
        )
        db.executemany(
            "insert into deliveries (event_id, source_day, dossier_id, target, operation, version,"
            ' log_pos, "partition", state, enlisted_at)'
            " values (?, 1, ?, 'national_portal', ?, ?, ?, ?, ?, '2026-11-23')",
            [
                [f"{code}-{number}", code, operation, version, number, partition, state]
                for number, (operation, state, version) in enumerate(rows)
            ],
        )


@pytest.mark.parametrize(
    ("rows", "delivered", "must_move"),
    [
        ([STATE, STEP], 0, True),
        ([STEP], 5, True),
        ([STEP], 9, True),
        ([("state", "pending", 9), STEP], 0, True),
        ([STEP], 4, False),  # no state was ever owed: it was never received
        ([STATE], 0, False),  # may be what the portal holds already
        ([("step", "delivered", 5)], 5, False),
        ([STEP, ("step", "parked", 4)], 5, False),
        ([("state", "waiting", 5), STEP, ("state", "pending", 6)], 0, False),
    ],
)
def test_a_dossier_must_move_when_it_owes_a_step_that_can_go(
    ledger: Path, rows: Sequence[tuple[str, str, int]], delivered: int, must_move: bool
) -> None:
    owe(ledger, "A", *rows, delivered=delivered)
    busy = in_hand(HubView(f"sqlite:///{ledger}"), PID)["busy"]
    assert busy == (frozenset({"A"}) if must_move else frozenset())


def test_only_the_dossiers_of_the_worker_that_are_to_be_done_now_are_busy(ledger: Path) -> None:
    owe(ledger, "A", STATE, STEP)
    owe(ledger, "B", STATE, STEP, runnable=False)
    owe(ledger, "C", STATE, STEP, partition=4)
    view = HubView(f"sqlite:///{ledger}")
    assert in_hand(view, PID)["busy"] == {"A"}
    assert in_hand(view, PID + 1)["busy"] == frozenset()


def test_the_parked_ones_are_known_by_their_codes(ledger: Path) -> None:
    owe(ledger, "A", ("step", "parked", 4), STEP)
    owe(ledger, "B", STATE, STEP)
    assert parked_codes(HubView(f"sqlite:///{ledger}")) == {"A"}


def test_what_does_not_move_while_its_worker_is_stalled_is_found() -> None:
    fault = Fault(kind="stalled", at=100.0, progress=0.3, worker="w2", busy=frozenset({"A", "B"}))
    calls = [
        {"at": at, "codes": [code], "operation": "steps", "verdict": "done"}
        for at, code in ((99.0, "B"), (125.0, "A"))
    ]
    assert unmoved(fault, calls, ()) == ["1 of 2 dossiers of w2 did not move for 30 s: B"]
    assert unmoved(fault, calls, {"B"}) == []
    idle = Fault(kind="stalled", at=100.0, progress=0.3, worker="w2")
    assert unmoved(idle, calls, ()) == ["guard: w2 had no dossier that was to move"]


def test_a_fault_that_another_one_follows_at_once_is_not_measured() -> None:
    first = Fault(kind="SIGKILL", at=100.0, progress=0.3, worker="w1")
    later = Fault(kind="SIGKILL", at=106.0, progress=0.4, worker="w2")
    portal = Fault(kind="refuse", at=101.0, progress=0.3)
    assert disturbed(first, [first, portal, later], 7.0)
    assert not disturbed(first, [first, portal, later], 5.0)
    assert not disturbed(later, [first, portal, later], 7.0)
