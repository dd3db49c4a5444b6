"""The journal: every write of the simulated one-stop system, and what the portal owes because of it.

An append-only SQLite file of its own, written in the order of the commits. It is the oracle's source side:
it knows what should arrive from the life that is being played, and from nothing else. Nothing of the hub
is imported here.

Times of steps and states are local times as the portal writes them, `yyyyMMddHHmmss`; "" where there is none.
The file names the invented people in clear.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any


class Write(StrEnum):
    """What was written to the one-stop database in one transaction."""

    CREATED = "created"
    ACTION = "action"
    ROLLBACK = "rollback"
    DELETION = "deletion"
    EDIT = "edit"
    PAYMENT = "payment"
    FILE = "file"
    DUE_DATE = "due_date"
    NOTE = "note"
    TOUCH = "touch"


class Owed(StrEnum):
    """What may be asked of the portal for one step or one final state."""

    MUST = "must"  # it must be there
    OPTIONAL = "optional"  # rolled back or deleted: it may have been seen in time, or not
    HELD = "held"  # parked, or behind something of its dossier that is parked: it must not be there
    EITHER = "either"  # its dossier shares a number: it must be there if its dossier won the number
    NONE = "none"  # a copy, a dossier never received, or one without a number: nothing at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step as the portal is expected to list it. `status` is None for one that cannot be mapped."""

    at: str  # ThoiDiemXuLy
    officer: str  # NguoiXuLy
    status: str | None  # TrangThai
    text: str  # NoiDungXuLy


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The state of a dossier after a commit as the portal is expected to hold it.

    `status` is None for one that cannot be mapped. `not_owed` says why nothing is owed (yet):
    `copy`, `before_reception` or `no_code`. `held` is the reason for which the state parks.
    """

    code: str  # MaHoSo
    procedure: str  # MaTTHC, national
    status: str | None  # TrangThaiHoSo
    received: str  # NgayTiepNhan
    due: str  # NgayHenTra
    finished: str  # NgayKetThucXuLy
    returned: str  # NgayTra
    components: int
    results: int
    not_owed: str | None = None
    held: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One commit. `order` and `committed_at` (real time, UTC) are given by the journal.

    `step` is there for actions; `state` always. `parks` is a reason for which the hub must park because of
    this write; `rival` the dossier whose number this one took as well; `held_step` says that the step
    comes after one that parks.
    """

    dossier: int
    write: Write
    state: State
    action: int | None = None
    step: Step | None = None
    held_step: bool = False
    parks: str | None = None
    rival: int | None = None
    warts: tuple[str, ...] = ()
    order: int = 0
    committed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedStep:
    """A step with its place in the order of commits. `also_text` is the text before or after an edit."""

    dossier: int
    action: int
    order: int
    committed_at: datetime
    code: str
    step: Step
    owed: Owed
    also_text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedState:
    """The final state of a dossier: the row after the last commit."""

    dossier: int
    order: int
    committed_at: datetime
    state: State
    owed: Owed


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedParked:
    """One (dossier, reason) that the hub must park.

    Of several `dossiers` exactly one parks, whichever. Not `certain`: only if the hub had captured the
    action before it was deleted.
    """

    dossiers: tuple[int, ...]
    reason: str
    certain: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalBorn:
    """A dossier that the portal holds before the one-stop system knows it."""

    code: str
    procedure: str
    status: str
    submitted: str


_SCHEMA = """
create table if not exists entries (
    "order" integer primary key autoincrement, committed_at text not null, dossier integer not null,
    write text not null, action integer, body text not null);
create table if not exists facts (key text primary key, value text not null);
create trigger if not exists entries_kept before update on entries
    begin select raise(abort, 'the journal is append-only'); end;
create trigger if not exists entries_not_deleted before delete on entries
    begin select raise(abort, 'the journal is append-only'); end;
"""


class JournalWriter:
    """Appends to a journal. One writer at a time; readers may read meanwhile."""

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(path, timeout=30)
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=off")
        self._db.executescript(_SCHEMA)
        if self._db.execute("select 1 from entries limit 1").fetchone():
            self._db.close()
            raise ValueError(f"{path} already holds a journal; name a new file")

    def append(self, entry: Entry) -> Entry:
        """Add one commit and return it with its order and time."""
        at = datetime.now(UTC)
        body = {
            "step": _fields(entry.step) if entry.step else None,
            "state": _fields(entry.state),
            "held_step": entry.held_step,
            "parks": entry.parks,
            "rival": entry.rival,
            "warts": entry.warts,
        }
        with self._db:
            cursor = self._db.execute(
                "insert into entries (committed_at, dossier, write, action, body) values (?, ?, ?, ?, ?)",
                (
                    at.isoformat(),
                    entry.dossier,
                    entry.write,
                    entry.action,
                    json.dumps(body, ensure_ascii=False),
                ),
            )
        return replace(entry, order=cursor.lastrowid or 0, committed_at=at)

    def note_fact(self, key: str, value: object) -> None:
        """Keep something about the run: seed, day, people, what the portal holds already."""
        with self._db:
            self._db.execute(
                "insert or replace into facts values (?, ?)",
                (key, json.dumps(value, ensure_ascii=False)),
            )

    def close(self) -> None:
        self._db.close()


def _fields(record: Step | State) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}


def _entry(
    order: int,
    at: datetime,
    dossier: int,
    write: str,
    action: int | None,
    body: Mapping[str, Any],
) -> Entry:
    rest = dict(body)
    step, state = rest.pop("step"), rest.pop("state")
    rest["warts"] = tuple(rest["warts"])
    return Entry(
        order=order,
        committed_at=at,
        dossier=dossier,
        write=Write(write),
        action=action,
        step=Step(**step) if step else None,
        state=State(**state),
        **rest,
    )


class Journal:
    """Reads a journal, also while it is being written: each question is answered from one reading."""

    def __init__(self, path: Path | str) -> None:
        if not Path(path).exists():
            raise FileNotFoundError(f"{path}: no journal here")
        self._path = path

    def entries(self, after: int = 0) -> list[Entry]:
        """All commits with an order greater than `after`, in order."""
        with self._open() as db:
            rows = db.execute(
                'select "order", committed_at, dossier, write, action, body from entries '
                'where "order" > ? order by "order"',
                (after,),
            ).fetchall()
        return [
            _entry(o, datetime.fromisoformat(at), d, w, a, json.loads(body))
            for o, at, d, w, a, body in rows
        ]

    def written(self) -> int:
        """How many commits there are so far."""
        with self._open() as db:
            number: int = db.execute("select count(*) from entries").fetchone()[0]
        return number

    def states(self) -> dict[int, ExpectedState]:
        """The expected final state of every dossier."""
        return _states(self.entries())

    def steps(self) -> dict[int, list[ExpectedStep]]:
        """The expected steps of every dossier, in order of commit."""
        entries = self.entries()
        finals = _states(entries)
        undone = {
            e.action for e in entries if e.write in (Write.ROLLBACK, Write.DELETION) and e.action
        }
        edited = {
            e.action: e.step.text for e in entries if e.write is Write.EDIT and e.step is not None
        }
        steps: dict[int, list[ExpectedStep]] = defaultdict(list)
        for e in entries:
            if e.write is not Write.ACTION or e.step is None or e.action is None:
                continue
            assert e.committed_at is not None
            final = finals[e.dossier]
            steps[e.dossier].append(
                ExpectedStep(
                    dossier=e.dossier,
                    action=e.action,
                    order=e.order,
                    committed_at=e.committed_at,
                    code=final.state.code,
                    step=e.step,
                    owed=_step_owed(e, final, e.action in undone),
                    also_text=edited.get(e.action),
                )
            )
        return dict(steps)

    def parked(self) -> list[ExpectedParked]:
        """Every distinct (dossier, reason) that must be parked at the end."""
        entries = self.entries()
        finals = _states(entries)
        found: dict[tuple[tuple[int, ...], str], bool] = {}
        for e in entries:
            if e.parks is None or finals[e.dossier].owed is Owed.NONE:
                continue
            who = (e.dossier,) if e.rival is None else (e.rival, e.dossier)
            found[who, e.parks] = e.write is not Write.DELETION
        return [
            ExpectedParked(dossiers=who, reason=reason, certain=certain)
            for (who, reason), certain in found.items()
        ]

    def not_owed(self) -> dict[int, str]:
        """Dossiers of which nothing may be at the portal on our account, and why."""
        return {d: s.state.not_owed or "" for d, s in self.states().items() if s.owed is Owed.NONE}

    def warts(self) -> dict[str, int]:
        """How often each wart was played."""
        return dict(Counter(w for e in self.entries() for w in e.warts))

    def counts(self) -> dict[str, int]:
        """Dossiers, writes, actions, changes without an action, and `events` = the last two together.

        Copies are counted in `dossiers` and `writes` only: they are no events for the hub.
        """
        entries = self.entries()
        copies = {e.dossier for e in entries if e.state.not_owed == "copy"}
        ours = [e for e in entries if e.dossier not in copies]
        actions = sum(e.write is Write.ACTION for e in ours)
        return {
            "dossiers": len({e.dossier for e in entries}),
            "writes": len(entries),
            "actions": actions,
            "changes": len(ours) - actions,
            "events": len(ours),
        }

    def people(self) -> list[dict[str, str]]:
        """The invented people of the run: kind, name, id_no, phone, email, address, contact."""
        return [dict(p) for p in self._fact("people") or []]

    def portal_born(self) -> list[PortalBorn]:
        """What the portal holds before the day begins."""
        return [PortalBorn(**p) for p in self._fact("portal_born") or []]

    def settings(self) -> dict[str, Any]:
        """Seed, day, number of dossiers and warts of the run."""
        return dict(self._fact("settings") or {})

    def _fact(self, key: str) -> Any:
        with self._open() as db:
            row = db.execute("select value from facts where key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def _open(self) -> _Reading:
        return _Reading(self._path)


class _Reading:
    """A connection for one question, closed afterwards."""

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(path, timeout=30)

    def __enter__(self) -> sqlite3.Connection:
        return self._db

    def __exit__(self, *_: object) -> None:
        self._db.close()


def _states(entries: list[Entry]) -> dict[int, ExpectedState]:
    rivals = {d for e in entries if e.rival is not None for d in (e.dossier, e.rival)}
    finals: dict[int, ExpectedState] = {}
    for e in entries:
        assert e.committed_at is not None
        if e.state.not_owed:
            owed = Owed.NONE
        elif e.state.held:
            owed = Owed.HELD
        elif e.dossier in rivals:
            owed = Owed.EITHER
        else:
            owed = Owed.MUST
        finals[e.dossier] = ExpectedState(
            dossier=e.dossier,
            order=e.order,
            committed_at=e.committed_at,
            state=e.state,
            owed=owed,
        )
    return finals


def _step_owed(entry: Entry, final: ExpectedState, undone: bool) -> Owed:
    if final.owed is Owed.NONE:
        return Owed.NONE
    if entry.held_step:
        return Owed.HELD
    if undone:
        return Owed.OPTIONAL
    return Owed.EITHER if final.owed is Owed.EITHER else Owed.MUST
