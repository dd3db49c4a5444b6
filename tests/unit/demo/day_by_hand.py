"""A day of ten dossiers written by hand: its journal, and a portal that holds what it should.

One wart each, and one plain dossier. Tests take the portal's truth and spoil it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from connectors.one_stop.simulator.journal import (
    Entry,
    Journal,
    JournalWriter,
    State,
    Step,
    Write,
)
from streams.demo.verdict import Expectation

PLAIN, UNMAPPED, RIVAL, SECOND, UNDONE, EDITED, DELETED, COPY, TOO_LONG, STUCK = range(1, 11)
CODES = {
    PLAIN: "H12.01-261123-0001",
    UNMAPPED: "H12.01-261123-0002",
    RIVAL: "H12.01-261123-0003",
    SECOND: "H12.01-261123-0003",
    UNDONE: "H12.01-261123-0005",
    EDITED: "H12.01-261123-0006",
    DELETED: "H12.01-261123-0007",
    COPY: "H12.01-261123-0008",
    TOO_LONG: "H12.01-261123-0009",
    STUCK: "H12.01-261123-0010",
}
OFFICER = "Ngô Minh Hùng"
OLD_TEXT, NEW_TEXT = "Chuyển phòng chuyên môn", "Chuyển phòng chuyên môn, đã sửa"

Truth = dict[str, dict[str, Any]]
Parked = dict[int, frozenset[str]]


def state(dossier: int, status: str | None, **changes: Any) -> State:
    """A received dossier; `changes` are fields of `State`."""
    plain = State(
        code=CODES[dossier],
        procedure="1.001766",
        status=status,
        received="20261123080000",
        due="20261125170000",
        finished="",
        returned="",
        components=2,
        results=0,
    )
    return replace(plain, **changes)


def step(number: int, status: str | None, text: str | None = None) -> Step:
    return Step(
        at=f"202611230{number}0000", officer=OFFICER, status=status, text=text or f"Bước {number}"
    )


BEFORE = state(PLAIN, "1", code="", received="", due="", not_owed="before_reception")
RECEIVED = state(PLAIN, "2")
PROCESSING = state(PLAIN, "4")
RETURNED = state(PLAIN, "10", finished="20261123090000", returned="20261123093000", results=1)

ENTRIES = [
    Entry(dossier=PLAIN, write=Write.CREATED, state=BEFORE),
    Entry(dossier=PLAIN, write=Write.ACTION, action=11, step=step(1, "2"), state=RECEIVED),
    Entry(dossier=PLAIN, write=Write.ACTION, action=12, step=step(2, "4"), state=PROCESSING),
    Entry(dossier=PLAIN, write=Write.ACTION, action=13, step=step(3, "10"), state=RETURNED),
    Entry(
        dossier=UNMAPPED, write=Write.ACTION, action=21, step=step(1, "2"),
        state=state(UNMAPPED, "2"),
    ),
    Entry(
        dossier=UNMAPPED, write=Write.ACTION, action=22, step=step(2, None), held_step=True,
        state=state(UNMAPPED, None, held="unmapped"), parks="unmapped",
    ),
    Entry(
        dossier=UNMAPPED, write=Write.ACTION, action=23, step=step(3, "4"), held_step=True,
        state=state(UNMAPPED, "4"),
    ),
    Entry(
        dossier=RIVAL, write=Write.ACTION, action=31, step=step(1, "2"), state=state(RIVAL, "2")
    ),
    Entry(
        dossier=SECOND, write=Write.ACTION, action=41, step=step(2, "4"),
        state=state(SECOND, "4", components=5), parks="code_conflict", rival=RIVAL,
    ),
    Entry(
        dossier=UNDONE, write=Write.ACTION, action=51, step=step(1, "2"), state=state(UNDONE, "2")
    ),
    Entry(
        dossier=UNDONE, write=Write.ACTION, action=52, step=step(2, "4"), state=state(UNDONE, "4")
    ),
    Entry(dossier=UNDONE, write=Write.ROLLBACK, action=52, state=state(UNDONE, "2")),
    Entry(
        dossier=EDITED, write=Write.ACTION, action=61, step=step(1, "2", OLD_TEXT),
        state=state(EDITED, "2"),
    ),
    Entry(
        dossier=EDITED, write=Write.EDIT, action=61, state=state(EDITED, "2"),
        step=Step(at="", officer="", status=None, text=NEW_TEXT),
    ),
    Entry(
        dossier=DELETED, write=Write.ACTION, action=71, step=step(1, "2"), state=state(DELETED, "2")
    ),
    Entry(
        dossier=DELETED, write=Write.ACTION, action=72, step=step(2, "4"), state=state(DELETED, "4")
    ),
    Entry(
        dossier=DELETED, write=Write.DELETION, action=72, state=state(DELETED, "2"),
        parks="deleted_at_source",
    ),
    Entry(
        dossier=COPY, write=Write.ACTION, action=81, step=step(1, "2"),
        state=state(COPY, "2", not_owed="copy"),
    ),
    Entry(
        dossier=TOO_LONG, write=Write.ACTION, action=91, step=step(1, "2"), held_step=True,
        state=state(TOO_LONG, "2", held="field_too_long"), parks="field_too_long",
    ),
    Entry(
        dossier=STUCK, write=Write.ACTION, action=101, step=step(1, "2"), state=state(STUCK, "2")
    ),
    Entry(
        dossier=STUCK, write=Write.ACTION, action=102, step=step(2, "4"), state=state(STUCK, "4")
    ),
    Entry(
        dossier=STUCK, write=Write.ACTION, action=103, step=step(3, None), held_step=True,
        state=state(STUCK, None, held="unmapped"), parks="unmapped",
    ),
]  # fmt: skip


def expectation(folder: Path) -> Expectation:
    """The journal of the day, written to a file and read back."""
    path = folder / "journal.db"
    writer = JournalWriter(path)
    for entry in ENTRIES:
        writer.append(entry)
    writer.close()
    journal = Journal(path)
    return Expectation(
        entries=journal.entries(),
        states=journal.states(),
        steps=journal.steps(),
        parked=journal.parked(),
    )


# --- what the portal holds --------------------------------------------------------------------------


def _iso(stamp: str) -> str | None:
    """As the portal tells times: ISO with zone, or null."""
    if not stamp:
        return None
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}T{stamp[8:10]}:{stamp[10:12]}:{stamp[12:]}+07:00"


def shown(held: State) -> dict[str, Any]:
    """The fields of a state in `GET /_truth/dossiers`."""
    return {
        "status": held.status,
        "received": _iso(held.received),
        "due": _iso(held.due),
        "finished": _iso(held.finished),
        "returned": _iso(held.returned),
        "components": held.components,
        "results": held.results,
    }


def version(held: State, kind: str = "change", effect: int = 1) -> dict[str, Any]:
    """A state in `GET /_truth/dossiers`; `effect` is its number among all effects, the steps' included."""
    return {"kind": kind, "at": 0.0, "effect": effect, **shown(held)}


def listed(one: Step, at: float = 4_000_000_000.0, effect: int = 1_000) -> dict[str, Any]:
    """A step there, after all states unless said otherwise; `at` is the Unix time of its arrival."""
    return {
        "kind": "step",
        "at": at,
        "effect": effect,
        "time": _iso(one.at),
        "officer": one.officer,
        "status": one.status or "",
        "text": one.text,
    }


def holds(states: list[State], steps: list[Step], *, born: bool = False) -> dict[str, Any]:
    """A dossier that came with the first of `states` and now has the last."""
    first = "birth" if born else "creation"
    return {
        "code": states[-1].code,
        "origin": "portal" if born else "province",
        **shown(states[-1]),
        "versions": [
            version(held, first if place == 0 else "change") for place, held in enumerate(states)
        ],
        "steps": [listed(one) for one in steps],
    }


def came_in_turn(truth: Truth, dossier: int, order: str) -> None:
    """Number the effects of a dossier anew: `s` the next of its states, `t` the next of its steps."""
    held = truth[CODES[dossier]]
    left = {"s": iter(held["versions"]), "t": iter(held["steps"])}
    for effect, kind in enumerate(order, start=1):
        next(left[kind])["effect"] = effect
    assert [next(rest, None) for rest in left.values()] == [None, None], "all of them are numbered"


def good_truth() -> Truth:
    """Everything as it should be: the first claimant has the doubled number."""
    return {
        CODES[PLAIN]: holds(
            [RECEIVED, PROCESSING, RETURNED], [step(1, "2"), step(2, "4"), step(3, "10")]
        ),
        CODES[UNMAPPED]: holds([state(UNMAPPED, "2"), state(UNMAPPED, "4")], [step(1, "2")]),
        CODES[RIVAL]: holds([state(RIVAL, "2")], [step(1, "2")]),
        CODES[UNDONE]: holds([state(UNDONE, "2")], [step(1, "2")]),
        CODES[EDITED]: holds([state(EDITED, "2")], [step(1, "2", OLD_TEXT)]),
        CODES[DELETED]: holds([state(DELETED, "2")], [step(1, "2")]),
        CODES[STUCK]: holds([state(STUCK, "2"), state(STUCK, "4")], [step(1, "2"), step(2, "4")]),
    }


def good_parked() -> Parked:
    return {
        UNMAPPED: frozenset({"unmapped"}),
        SECOND: frozenset({"code_conflict"}),
        DELETED: frozenset({"deleted_at_source"}),
        TOO_LONG: frozenset({"field_too_long"}),
        STUCK: frozenset({"unmapped"}),
    }
