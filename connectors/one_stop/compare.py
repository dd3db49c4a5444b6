"""What is new about a dossier: its snapshot against what was captured before. Pure.

Every change becomes one notice. Ids are made of what happened and not of when it was read, so reading a
page again gives the same ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid5

import orjson

from connectors.one_stop.client import Row
from connectors.one_stop.columns import ACTION, SPECS
from connectors.one_stop.history import Status, View, supplements, turning_points, views
from connectors.one_stop.snapshot import DossierSnapshot
from connectors.protocols import SourceRestored
from schemas.ledger.model import SeenRow
from schemas.records import EventKind
from schemas.sealing import Hasher

NAMESPACE = UUID("6f0d6a52-43a1-5a0b-9f2e-0c6f7a1d2e41")

COPY = "copy"
"""Stands for the content hash of a dossier copied from another instance: remembered, never told."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A notice before it is sealed. `at` is the local time at which it happened, where known."""

    kind: EventKind
    event_id: str
    payload: dict[str, Any]
    at: str | None


@dataclass(frozen=True, slots=True)
class Compared:
    """The notices of one dossier in order, and what is now remembered of it."""

    drafts: tuple[Draft, ...] = ()
    seen: tuple[SeenRow, ...] = ()
    skipped: int = 0


def dossier_id_of(source: str, group_id: int | None, dossier_id: int) -> str:
    """The hub's id of a dossier: for ever the same, whatever its number becomes."""
    return uuid5(NAMESPACE, f"{source}/dossier/{group_id or 0}/{dossier_id}").hex


def is_copy(dossier: Row) -> bool:
    """Whether the dossier was copied from another instance: that one speaks for it."""
    return bool(dossier["originDossierId"]) or bool((dossier["originDossierNo"] or "").strip())


class Comparison:
    """Compares dossiers of one source. `hasher` makes the content hashes."""

    def __init__(self, source: str, hasher: Hasher) -> None:
        self.source = source
        self.hasher = hasher

    def gone(self, number: int, remembered: Sequence[SeenRow]) -> Compared:
        """A dossier whose row is not there (any more)."""
        known = next((r for r in remembered if r.kind == "dossier" and not r.gone), None)
        if known is None:
            return Compared()
        rows = tuple(_gone(row) for row in remembered if not row.gone)
        if known.content_hash == COPY:
            return Compared(seen=rows)
        draft = Draft(
            EventKind.DELETION,
            self._id("dossier", str(number), "deletion", known.uid, known.content_hash),
            {"dossier": None, "action": None, "content_hash": known.content_hash},
            None,
        )
        return Compared((draft,), rows)

    def compare(
        self,
        dossier_id: str,
        snapshot: DossierSnapshot,
        remembered: Sequence[SeenRow],
        *,
        doubtful_to: int | None = None,
    ) -> Compared:
        """The notices of a dossier that is there.

        `doubtful_to`: an earlier page may have been produced without having been saved, with actions
        up to this id. Its notices have the ids of these, so a state that moved on since would not be told:
        it is told once more by itself. Raises `SourceRestored`.
        """
        number = int(snapshot.dossier["dossierId"])
        known = {r.row_id: r for r in remembered if r.kind == "action"}
        whole = next((r for r in remembered if r.kind == "dossier"), None)
        uid = snapshot.dossier["uuid_"] or ""
        _same_identity("dossier", number, whole, uid)
        if is_copy(snapshot.dossier):
            mark = self._dossier_row(dossier_id, number, uid, COPY)
            return Compared() if whole == mark else Compared(seen=(mark,), skipped=1)

        ordered = views(
            snapshot.actions,
            snapshot.steps,
            {int(row_id): _status_of(row) for row_id, row in known.items()},
        )
        base, modified, state_hash = self._state(snapshot, ordered)
        fresh: list[Draft] = []
        corrected: list[Draft] = []
        rolled: list[Draft] = []
        seen: list[SeenRow] = []
        for view in ordered:
            now = self._action_row(dossier_id, view)
            before = known.pop(now.row_id, None)
            _same_identity("action", view.action_id, before, now.uid)
            if before is None:
                kind = EventKind.ROLLBACK if view.rolled_back else EventKind.CHANGE
                fresh.append(self._of_action(kind, view, now, base))
            elif before.content_hash != now.content_hash or before.gone:
                if view.rolled_back and not _was_rolled_back(before):
                    rolled.append(self._of_action(EventKind.ROLLBACK, view, now, base))
                else:
                    corrected.append(self._of_action(EventKind.CORRECTION, view, now, base))
            elif before == now:
                continue
            seen.append(now)
        deleted = [row for row in known.values() if not row.gone]
        seen += (_gone(row) for row in deleted)
        drafts = [*fresh, *corrected, *rolled, *(self._deletion(row, base) for row in deleted)]

        mark = self._dossier_row(dossier_id, number, uid, state_hash)
        if drafts:
            tell_state = doubtful_to is not None and any(
                draft.kind is not EventKind.CHANGE
                or draft.payload["action"]["dossierActionId"] <= doubtful_to
                for draft in drafts
            )
        else:
            tell_state = whole is None or whole.content_hash != state_hash or whole.gone
        if tell_state:
            event_id = self._id("dossier", str(number), modified or "", state_hash)
            payload = {**base, "action": None, "step": None, "status_after": None, "previous": None}
            drafts.append(Draft(EventKind.CHANGE, event_id, payload, modified))
        if whole != mark:
            seen.append(mark)
        return Compared(tuple(drafts), tuple(seen))

    def _state(
        self, snapshot: DossierSnapshot, ordered: Sequence[View]
    ) -> tuple[dict[str, Any], str | None, str]:
        history = {
            "supplements": supplements(ordered, snapshot.meanings),
            **turning_points(ordered),
        }
        rows = (snapshot.dossier, *snapshot.actions, *snapshot.files, *snapshot.payments)
        modified = max((row["modifiedDate"] for row in rows if row["modifiedDate"]), default=None)
        # The national codes are not part of the state: they are looked up again when sending.
        state_hash = self._hash(
            "state",
            _content(snapshot.dossier),
            [_content(row) for row in snapshot.files],
            [_content(row) for row in snapshot.payments],
            history,
        )
        base = {
            "dossier": snapshot.dossier,
            "files": snapshot.files,
            "payments": snapshot.payments,
            **history,
            "codes": snapshot.codes,
            "as_of": {
                "action_id": ordered[-1].action_id if ordered else None,
                "modified": modified,
            },
            "content_hash": state_hash,
        }
        return base, modified, state_hash

    def _of_action(self, kind: EventKind, view: View, now: SeenRow, base: dict[str, Any]) -> Draft:
        payload = {
            **base,
            "action": view.row,
            "step": view.step,
            "status_after": view.status,
            "previous": _previous(view.previous),
        }
        if kind is EventKind.CHANGE:
            return Draft(kind, self._id("action", now.row_id), payload, view.row["createDate"])
        # An edit taken back and made again is a new event: its time of change tells it apart.
        modified = view.row["modifiedDate"] or ""
        event_id = self._id("action", now.row_id, kind.value, modified, now.content_hash)
        return Draft(kind, event_id, payload, view.row["modifiedDate"] or view.row["createDate"])

    def _deletion(self, row: SeenRow, base: dict[str, Any]) -> Draft:
        payload = {
            **base,
            "action": None,
            "step": None,
            "status_after": None,
            "previous": None,
            "deleted_action_id": row.row_id,
        }
        event_id = self._id("action", row.row_id, EventKind.DELETION.value, row.content_hash)
        return Draft(EventKind.DELETION, event_id, payload, None)

    def _action_row(self, dossier_id: str, view: View) -> SeenRow:
        status = view.status or _NO_STATUS
        content = [view.row[word] for word in _ACTION_CONTENT]
        return SeenRow(
            kind="action",
            row_id=str(view.action_id),
            dossier_id=dossier_id,
            uid=view.row["uuid_"] or "",
            content_hash=self._hash("action", content, view.rolled_back),
            status=_status_text(status["status"], status["sub_status"], view.rolled_back),
        )

    def _dossier_row(self, dossier_id: str, number: int, uid: str, content_hash: str) -> SeenRow:
        return SeenRow(
            kind="dossier",
            row_id=str(number),
            dossier_id=dossier_id,
            uid=uid,
            content_hash=content_hash,
        )

    def _id(self, *parts: str) -> str:
        return uuid5(NAMESPACE, "/".join((self.source, "event", *parts))).hex

    def _hash(self, *parts: object) -> str:
        return self.hasher.hash(*(orjson.dumps(p, option=orjson.OPT_SORT_KEYS) for p in parts))


_NO_STATUS: Status = {"status": None, "sub_status": None}
_ACTION_CONTENT = tuple(
    word for word in SPECS[ACTION].columns if word not in ("modifiedDate", "state_")
)


@lru_cache(maxsize=256)
def _status_text(status: str | None, sub_status: str | None, rolled_back: bool) -> str:
    return orjson.dumps([status, sub_status, int(rolled_back)]).decode()


@lru_cache(maxsize=256)
def _status_parts(text: str | None) -> tuple[str | None, str | None, bool]:
    status, sub_status, rolled_back = orjson.loads(text or "[null,null,0]")
    return status, sub_status, bool(rolled_back)


def _content(row: Row) -> Row:
    return {word: value for word, value in row.items() if word != "modifiedDate"}


def _previous(row: Row | None) -> Row | None:
    if row is None:
        return None
    return {word: row[word] for word in ("dossierActionId", "stepCode", "createDate", "dueDate")}


def _gone(row: SeenRow) -> SeenRow:
    return SeenRow(
        kind=row.kind,
        row_id=row.row_id,
        dossier_id=row.dossier_id,
        uid=row.uid,
        content_hash=row.content_hash,
        status=row.status,
        gone=True,
    )


def _status_of(row: SeenRow) -> Status | None:
    status, sub_status, _ = _status_parts(row.status)
    return {"status": status, "sub_status": sub_status, "carried": False} if status else None


def _was_rolled_back(row: SeenRow) -> bool:
    return _status_parts(row.status)[2]


def _same_identity(what: str, number: int, before: SeenRow | None, uid: str) -> None:
    if before is not None and before.uid and uid and before.uid != uid:
        raise SourceRestored(
            f"{what} id {number} came back with another uuid_: was the one-stop database restored?"
        )
