"""The reporting system's own truth, in SQLite: reports, how they came about, every call, and what it sends.

`effects` is the journal: a report's first revision (creation), later ones (change). Nothing is ever removed
from it but by `reset`. WAL with synchronous=FULL: a call that was answered survives a kill.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

_SCHEMA = """
CREATE TABLE IF NOT EXISTS reports (
    report TEXT PRIMARY KEY,        -- kind/regime/form/period/agency
    revision INTEGER NOT NULL,
    hash TEXT NOT NULL,             -- as named in the packet
    status TEXT NOT NULL,
    late INTEGER NOT NULL,          -- 1: its first revision came after the due date
    created_at REAL NOT NULL,
    changed_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS effects (
    effect INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    report TEXT NOT NULL,
    kind TEXT NOT NULL,             -- creation | change | decision
    revision INTEGER NOT NULL,
    hash TEXT NOT NULL,
    status TEXT NOT NULL,
    call INTEGER,
    message_id TEXT,
    document TEXT NOT NULL          -- JSON: the packet as received
);
CREATE INDEX IF NOT EXISTS effects_of_report ON effects (report, effect);
CREATE TABLE IF NOT EXISTS calls (
    call INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    operation TEXT NOT NULL,        -- create, update, look_up, inbox, token
    transport TEXT NOT NULL,        -- rest | soap
    encoding TEXT NOT NULL,         -- xml | json
    report TEXT,
    revision INTEGER,
    message_id TEXT,
    body_hash TEXT NOT NULL,
    trouble TEXT,
    stage TEXT,
    fault INTEGER,                  -- number of the rule that struck
    label TEXT,
    verdict TEXT,                   -- NULL: nothing decided (yet)
    decided_at REAL,
    effects INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS outgoing (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    packet TEXT NOT NULL            -- JSON: a packet's elements, or a text as it is
);
"""

_EFFECTS = ("creation", "change")


@dataclass(frozen=True, slots=True)
class Held:
    """A report as it is held."""

    revision: int
    hash: str
    status: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is noted of a call when it comes in."""

    operation: str
    transport: str
    encoding: str
    message_id: str | None
    body_hash: str = field(repr=False)
    report: str | None = None
    revision: int | None = None
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
            "INSERT INTO calls (at, operation, transport, encoding, report, revision, message_id,"
            " body_hash, trouble, stage, fault, label, verdict, effects)"
            " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,NULL,0)",
            (
                arrival.at,
                arrival.operation,
                arrival.transport,
                arrival.encoding,
                arrival.report,
                arrival.revision,
                arrival.message_id,
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

    def put_revision(
        self,
        report: str,
        revision: int,
        digest: str,
        document: Mapping[str, Any],
        *,
        call: int,
        message_id: str | None,
        late: bool,
    ) -> None:
        """Store a revision."""
        now = time.time()
        kind = "creation" if self.report(report) is None else "change"
        self._db.execute(
            "INSERT INTO reports (report, revision, hash, status, late, created_at, changed_at)"
            " VALUES (?,?,?,'DATIEPNHAN',?,?,?) ON CONFLICT (report) DO UPDATE SET"
            " revision = excluded.revision, hash = excluded.hash, status = excluded.status,"
            " changed_at = excluded.changed_at",
            (report, revision, digest, int(late), now, now),
        )
        self._journal(now, report, kind, revision, digest, "DATIEPNHAN", call, message_id, document)

    def put_status(self, report: str, status: str) -> Held:
        """Decide about the revision that is held. Raises `ValueError` where there is none."""
        held = self.report(report)
        if held is None:
            raise ValueError(f"report {report} is not there")
        now = time.time()
        self._db.execute(
            "UPDATE reports SET status = ?, changed_at = ? WHERE report = ?", (status, now, report)
        )
        self._journal(now, report, "decision", held.revision, held.hash, status, None, None, {})
        return Held(held.revision, held.hash, status)

    def send(self, packet: Mapping[str, Any] | str) -> int:
        """Put a packet among those that the province will read; returns its number."""
        cursor = self._db.execute(
            "INSERT INTO outgoing (at, packet) VALUES (?,?)", (time.time(), _dump(packet))
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def reset(self) -> None:
        """Forget everything, the journal too."""
        for table in ("reports", "effects", "calls", "outgoing"):
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - names from the line above
        self._db.execute("DELETE FROM sqlite_sequence")

    def _journal(
        self,
        at: float,
        report: str,
        kind: str,
        revision: int,
        digest: str,
        status: str,
        call: int | None,
        message_id: str | None,
        document: Mapping[str, Any],
    ) -> None:
        self._db.execute(
            "INSERT INTO effects (at, report, kind, revision, hash, status, call, message_id,"
            " document) VALUES (?,?,?,?,?,?,?,?,?)",
            (at, report, kind, revision, digest, status, call, message_id, _dump(document)),
        )

    # --- reading ---------------------------------------------------------------------------------

    def report(self, report: str) -> Held | None:
        row = self._db.execute(
            "SELECT revision, hash, status FROM reports WHERE report = ?", (report,)
        ).fetchone()
        return None if row is None else Held(row["revision"], row["hash"], row["status"])

    def report_at(self, report: str, at: float) -> Held | None:
        """What was held at a moment."""
        row = self._db.execute(
            "SELECT revision, hash, status FROM effects WHERE report = ? AND at <= ?"
            " ORDER BY effect DESC LIMIT 1",
            (report, at),
        ).fetchone()
        return None if row is None else Held(row["revision"], row["hash"], row["status"])

    def outgoing(self, after: int, limit: int) -> list[tuple[int, Any]]:
        """Packets for the province behind a number, in order."""
        rows = self._db.execute(
            "SELECT number, packet FROM outgoing WHERE number > ? ORDER BY number LIMIT ?",
            (after, limit),
        )
        return [(row["number"], orjson.loads(row["packet"])) for row in rows]

    def reports(
        self, after: str = "", limit: int = 500, report: str | None = None
    ) -> list[dict[str, Any]]:
        """A page of reports by id, each with its revisions in order of arrival."""
        rows = self._db.execute(
            "SELECT * FROM reports WHERE report > ? AND (? IS NULL OR report = ?)"
            " ORDER BY report LIMIT ?",
            (after, report, report, limit),
        ).fetchall()
        page = []
        for row in rows:
            effects = self._db.execute(
                "SELECT * FROM effects WHERE report = ? ORDER BY effect", (row["report"],)
            ).fetchall()
            told = [{**dict(each), "document": orjson.loads(each["document"])} for each in effects]
            page.append(
                {
                    **dict(row),
                    "late": bool(row["late"]),
                    "revisions": [each for each in told if each["kind"] in _EFFECTS],
                    "decisions": [each for each in told if each["kind"] == "decision"],
                }
            )
        return page

    def calls(
        self, after: int = 0, limit: int = 1000, report: str | None = None
    ) -> list[dict[str, Any]]:
        """A page of calls in order of arrival."""
        rows = self._db.execute(
            "SELECT * FROM calls WHERE call > ? AND (? IS NULL OR report = ?) ORDER BY call LIMIT ?",
            (after, report, report, limit),
        )
        return [dict(row) for row in rows]

    def granted_after(self, call: int, report: str | None) -> bool:
        """Whether a later write was granted about this report."""
        row = self._db.execute(
            "SELECT 1 FROM calls WHERE call > ? AND report = ? AND effects > 0 LIMIT 1",
            (call, report),
        ).fetchone()
        return row is not None

    def decided_late(self, bound: float) -> list[dict[str, Any]]:
        """Writes that were decided more than `bound` seconds after they came, in order of arrival."""
        rows = self._db.execute(
            "SELECT * FROM calls WHERE decided_at - at > ? AND operation IN ('create', 'update')"
            " ORDER BY call",
            (bound,),
        )
        return [dict(row) for row in rows]

    def summary(self) -> dict[str, Any]:
        """Counts of everything.

        `duplicate_calls`: writes that said yes and changed nothing. `out_of_order`: effects whose revision is
        not the next one of their report; `twice`: revisions that took effect more than once.
        """
        kinds = self._counts("SELECT kind, count(*) FROM effects GROUP BY kind")
        (duplicates,) = self._db.execute(
            "SELECT count(*) FROM calls WHERE verdict IN ('done', 'duplicate') AND effects = 0"
            " AND operation IN ('create', 'update')"
        ).fetchone()
        (twice,) = self._db.execute(
            "SELECT count(*) FROM (SELECT 1 FROM effects WHERE kind IN ('creation', 'change')"
            " GROUP BY report, revision HAVING count(*) > 1)"
        ).fetchone()
        (unordered,) = self._db.execute(
            "SELECT count(*) FROM (SELECT revision, lag(revision, 1, 0) OVER"
            " (PARTITION BY report ORDER BY effect) AS before FROM effects"
            " WHERE kind IN ('creation', 'change')) WHERE revision <= before"
        ).fetchone()
        return {
            "reports": self._counts("SELECT status, count(*) FROM reports GROUP BY status"),
            "creations": kinds.get("creation", 0),
            "changes": kinds.get("change", 0),
            "decisions": kinds.get("decision", 0),
            "effects": kinds.get("creation", 0) + kinds.get("change", 0),
            "calls": self._counts("SELECT operation, count(*) FROM calls GROUP BY operation"),
            "verdicts": self._counts(
                "SELECT coalesce(verdict, 'none'), count(*) FROM calls GROUP BY 1"
            ),
            "troubles": self._counts(
                "SELECT trouble, count(*) FROM calls WHERE trouble IS NOT NULL GROUP BY trouble"
            ),
            "sent": self._db.execute("SELECT count(*) FROM outgoing").fetchone()[0],
            "duplicate_calls": duplicates,
            "twice": twice,
            "out_of_order": unordered,
        }

    def _counts(self, query: str) -> dict[str, int]:
        return {row[0]: row[1] for row in self._db.execute(query)}


def _dump(value: Any) -> str:
    return orjson.dumps(value).decode()


def listed(values: Sequence[Any] | Any) -> list[Any]:
    """A list, whether an element was repeated or not."""
    if values in (None, ""):
        return []
    return list(values) if isinstance(values, list) else [values]
