"""The portal's own truth, in SQLite: what it holds, how that came about, and every call it got.

`effects` is the journal: creations, changed states, appended steps, and births of dossiers on the portal
itself (which are nobody's delivery and count as no effect). Nothing is ever removed from it but by
`reset`. WAL with synchronous=FULL: a call that was answered survives a kill.

This is the outside world: it keeps personal data in clear, and logs none of it.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

_SCHEMA = """
CREATE TABLE IF NOT EXISTS dossiers (
    code TEXT PRIMARY KEY,
    origin TEXT NOT NULL,           -- portal | province
    known TEXT NOT NULL,            -- JSON: what a look-up may show
    fields TEXT NOT NULL,           -- JSON: as received
    hash TEXT NOT NULL,
    versions INTEGER NOT NULL,
    created_at REAL NOT NULL,
    changed_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS effects (
    effect INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    code TEXT NOT NULL,
    kind TEXT NOT NULL,             -- birth | creation | change | step
    call INTEGER,
    message_id TEXT,
    known TEXT NOT NULL,
    fields TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS effects_of_dossier ON effects (code, effect);
CREATE TABLE IF NOT EXISTS calls (
    call INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    operation TEXT NOT NULL,        -- role: create, update, steps, look_up, login, ...
    element TEXT NOT NULL,
    codes TEXT NOT NULL,            -- JSON
    message_id TEXT,
    session TEXT,
    items INTEGER NOT NULL,
    body_hash TEXT NOT NULL,
    trouble TEXT,
    stage TEXT,
    fault INTEGER,                  -- number of the rule that struck
    label TEXT,                     -- and its label
    verdict TEXT,                   -- NULL: nothing decided (yet)
    decided_at REAL,
    effects INTEGER NOT NULL
);
"""

STATE_KINDS = ("birth", "creation", "change")


@dataclass(frozen=True, slots=True)
class Held:
    """A dossier as the portal holds it."""

    code: str
    known: Mapping[str, Any]
    hash: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is noted of a call when it comes in. `session` is the token, not a person's."""

    operation: str
    element: str
    codes: tuple[str, ...]
    message_id: str | None
    session: str | None
    items: int
    body_hash: str = field(repr=False)
    trouble: str | None = None
    stage: str | None = None
    fault: int | None = None
    label: str | None = None
    at: float = field(default_factory=time.time)


class Truth:
    """One store, used by one thread (the desk's). Times are Unix seconds of this machine's clock."""

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(str(path), isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; durable when it returns."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def part(self) -> Iterator[None]:
        """All or nothing, inside a transaction."""
        self._db.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK TO part")
            self._db.execute("RELEASE part")
            raise
        self._db.execute("RELEASE part")

    # --- writing, inside a transaction -----------------------------------------------------------

    def note_call(self, arrival: Arrival) -> int:
        """Note a call; its number is its place in the order of arrival."""
        cursor = self._db.execute(
            "INSERT INTO calls (at, operation, element, codes, message_id, session, items, body_hash,"
            " trouble, stage, fault, label, verdict, effects)"
            " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,NULL,0)",
            (
                arrival.at,
                arrival.operation,
                arrival.element,
                _dump(list(arrival.codes)),
                arrival.message_id,
                arrival.session,
                arrival.items,
                arrival.body_hash,
                arrival.trouble,
                arrival.stage,
                arrival.fault,
                arrival.label,
            ),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def decide_call(self, call: int, verdict: str, effects: int) -> None:
        self._db.execute(
            "UPDATE calls SET verdict = ?, effects = effects + ?, decided_at = ? WHERE call = ?",
            (verdict, effects, time.time(), call),
        )

    def put_state(
        self,
        code: str,
        known: Mapping[str, Any],
        fields: Mapping[str, Any],
        *,
        call: int | None = None,
        message_id: str | None = None,
        born: bool = False,
    ) -> bool:
        """Store a full state. Returns whether anything changed: an identical state is no effect."""
        held = self.dossier(code)
        digest = content_hash(fields)
        if held is not None and held.hash == digest:
            return False
        kind = "birth" if born else "creation" if held is None else "change"
        now = time.time()
        if held is None:
            self._db.execute(
                "INSERT INTO dossiers (code, origin, known, fields, hash, versions, created_at,"
                " changed_at) VALUES (?,?,?,?,?,1,?,?)",
                (
                    code,
                    "portal" if born else "province",
                    _dump(known),
                    _dump(fields),
                    digest,
                    now,
                    now,
                ),
            )
        else:
            self._db.execute(
                "UPDATE dossiers SET known = ?, fields = ?, hash = ?, versions = versions + 1,"
                " changed_at = ? WHERE code = ?",
                (_dump(known), _dump(fields), digest, now, code),
            )
        self._journal(now, code, kind, call, message_id, known, fields, digest)
        return True

    def append_step(
        self,
        code: str,
        known: Mapping[str, Any],
        fields: Mapping[str, Any],
        *,
        call: int | None = None,
        message_id: str | None = None,
    ) -> None:
        """Append a step; the same step again is another step."""
        self._journal(
            time.time(), code, "step", call, message_id, known, fields, content_hash(known)
        )

    def has_step(self, code: str, known: Mapping[str, Any]) -> bool:
        """Whether a step with the same time, officer, status and text is there."""
        row = self._db.execute(
            "SELECT 1 FROM effects WHERE code = ? AND kind = 'step' AND hash = ? LIMIT 1",
            (code, content_hash(known)),
        ).fetchone()
        return row is not None

    def reset(self) -> None:
        """Forget everything, the journal too."""
        for table in ("dossiers", "effects", "calls"):
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - names from the line above
        self._db.execute("DELETE FROM sqlite_sequence")

    def _journal(
        self,
        at: float,
        code: str,
        kind: str,
        call: int | None,
        message_id: str | None,
        known: Mapping[str, Any],
        fields: Mapping[str, Any],
        digest: str,
    ) -> None:
        self._db.execute(
            "INSERT INTO effects (at, code, kind, call, message_id, known, fields, hash)"
            " VALUES (?,?,?,?,?,?,?,?)",
            (at, code, kind, call, message_id, _dump(known), _dump(fields), digest),
        )

    # --- reading ---------------------------------------------------------------------------------

    def dossier(self, code: str) -> Held | None:
        row = self._db.execute(
            "SELECT code, known, hash FROM dossiers WHERE code = ?", (code,)
        ).fetchone()
        return None if row is None else Held(row["code"], orjson.loads(row["known"]), row["hash"])

    def state_at(self, code: str, at: float) -> Mapping[str, Any] | None:
        """What the portal held at a moment; ``None`` where it did not know the dossier yet."""
        row = self._db.execute(
            "SELECT known FROM effects WHERE code = ? AND kind IN ('birth', 'creation', 'change')"
            " AND at <= ? ORDER BY effect DESC LIMIT 1",
            (code, at),
        ).fetchone()
        return None if row is None else orjson.loads(row["known"])

    def steps_at(self, code: str, at: float) -> list[Mapping[str, Any]]:
        """The steps it held at a moment, as stored."""
        rows = self._db.execute(
            "SELECT known FROM effects WHERE code = ? AND kind = 'step' AND at <= ? ORDER BY effect",
            (code, at),
        )
        return [orjson.loads(row["known"]) for row in rows]

    def dossiers(
        self, after: str = "", limit: int = 500, code: str | None = None, fields: bool = True
    ) -> list[dict[str, Any]]:
        """A page of dossiers by code, each with its versions and its steps in order of arrival."""
        rows = self._db.execute(
            "SELECT * FROM dossiers WHERE code > ? AND (? IS NULL OR code = ?)"
            " ORDER BY code LIMIT ?",
            (after, code, code, limit),
        ).fetchall()
        page = []
        for row in rows:
            effects = self._db.execute(
                "SELECT effect, at, kind, call, message_id, known, hash FROM effects"
                " WHERE code = ? ORDER BY effect",
                (row["code"],),
            ).fetchall()
            dossier = {
                "code": row["code"],
                "origin": row["origin"],
                **orjson.loads(row["known"]),
                "created_at": row["created_at"],
                "changed_at": row["changed_at"],
                "versions": [_effect(each) for each in effects if each["kind"] in STATE_KINDS],
                "steps": [_effect(each) for each in effects if each["kind"] == "step"],
            }
            if fields:
                dossier["fields"] = orjson.loads(row["fields"])
            page.append(dossier)
        return page

    def calls(
        self, after: int = 0, limit: int = 1000, code: str | None = None
    ) -> list[dict[str, Any]]:
        """A page of calls in order of arrival."""
        rows = self._db.execute(
            "SELECT * FROM calls WHERE call > ? AND (? IS NULL OR EXISTS"
            " (SELECT 1 FROM json_each(codes) WHERE value = ?)) ORDER BY call LIMIT ?",
            (after, code, code, limit),
        )
        return [{**dict(row), "codes": orjson.loads(row["codes"])} for row in rows]

    def granted_after(self, call: int, operation: str, codes: Sequence[str]) -> bool:
        """Whether a later write of this operation's stream was granted about one of the dossiers."""
        stream = ("steps", "steps") if operation == "steps" else ("create", "update")
        row = self._db.execute(
            "SELECT 1 FROM calls WHERE call > ? AND operation IN (?, ?) AND verdict = 'done' AND EXISTS"
            " (SELECT 1 FROM json_each(codes) WHERE value IN (SELECT value FROM json_each(?))) LIMIT 1",
            (call, *stream, _dump(list(codes))),
        ).fetchone()
        return row is not None

    def decided_late(self, bound: float) -> list[dict[str, Any]]:
        """Writes that were decided more than `bound` seconds after they came, in order of arrival."""
        rows = self._db.execute(
            "SELECT * FROM calls WHERE decided_at - at > ?"
            " AND operation IN ('create', 'update', 'steps') ORDER BY call",
            (bound,),
        )
        return [{**dict(row), "codes": orjson.loads(row["codes"])} for row in rows]

    def effects_of(self, code: str) -> list[dict[str, Any]]:
        """The journal of one dossier."""
        rows = self._db.execute(
            "SELECT effect, at, kind, call, known FROM effects WHERE code = ? ORDER BY effect",
            (code,),
        )
        return [{**dict(row), "known": orjson.loads(row["known"])} for row in rows]

    def summary(self) -> dict[str, Any]:
        """Counts of everything. `duplicate_calls`: writes that were granted and changed nothing."""
        kinds = self._counts("SELECT kind, count(*) FROM effects GROUP BY kind")
        (duplicates,) = self._db.execute(
            "SELECT count(*) FROM calls WHERE verdict = 'done' AND effects = 0"
            " AND operation IN ('create', 'update', 'steps')"
        ).fetchone()
        return {
            "dossiers": self._counts("SELECT origin, count(*) FROM dossiers GROUP BY origin"),
            "births": kinds.get("birth", 0),
            "creations": kinds.get("creation", 0),
            "changes": kinds.get("change", 0),
            "steps": kinds.get("step", 0),
            "effects": sum(number for kind, number in kinds.items() if kind != "birth"),
            "calls": self._counts("SELECT operation, count(*) FROM calls GROUP BY operation"),
            "verdicts": self._counts(
                "SELECT coalesce(verdict, 'none'), count(*) FROM calls GROUP BY 1"
            ),
            "troubles": self._counts(
                "SELECT trouble, count(*) FROM calls WHERE trouble IS NOT NULL GROUP BY trouble"
            ),
            "duplicate_calls": duplicates,
        }

    def _counts(self, query: str) -> dict[str, int]:
        return {row[0]: row[1] for row in self._db.execute(query)}


def content_hash(fields: Mapping[str, Any]) -> str:
    """SHA-256 of the content; empty and absent are the same, as in the contract."""
    return hashlib.sha256(
        orjson.dumps(_without_empty(fields), option=orjson.OPT_SORT_KEYS)
    ).hexdigest()


def _without_empty(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {key: _without_empty(each) for key, each in value.items()}
        return {key: each for key, each in kept.items() if each not in ("", None, {}, [])}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [each for each in map(_without_empty, value) if each not in ("", None, {}, [])]
    return value


def _dump(value: Any) -> str:
    return orjson.dumps(value).decode()


def _effect(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "effect": row["effect"],
        "at": row["at"],
        "kind": row["kind"],
        "call": row["call"],
        "message_id": row["message_id"],
        **orjson.loads(row["known"]),
    }
