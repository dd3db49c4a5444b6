"""What a dossier's actions say when read one after another. Pure.

The status after an action comes from its process step and never from the dossier's row, which may be
newer. A step without a status leaves the one before it in force ("carried").
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.one_stop.client import Row
from connectors.one_stop.snapshot import StatusKey, StepKey

ROLLED_BACK = 2  # opencps_dossieraction.state_
WAITING, CANCELLED, DENIED = "waiting", "cancelled", "denied"  # OpenCPS dossier statuses
SUPPLEMENT_CODE = "5"  # TrangThaiHoSo: Yêu cầu bổ sung giấy tờ
EXTENSIONS = frozenset({"8400", "8500", "8501"})  # OpenCPS action codes that set extendDate

Status = dict[str, Any]
"""{"status", "sub_status", "carried"}."""


@dataclass(frozen=True, slots=True)
class View:
    """One action in its place: the process step it led to, the status after it, the action before it."""

    row: Row
    step: Row | None
    status: Status | None
    previous: Row | None

    @property
    def action_id(self) -> int:
        return int(self.row["dossierActionId"])

    @property
    def rolled_back(self) -> bool:
        return bool(self.row["state_"] == ROLLED_BACK)


def in_order(actions: Sequence[Row]) -> list[Row]:
    """The `previousActionId` chain, then `createDate`, then id. A broken chain loses no action."""
    by_id = {int(row["dossierActionId"]): row for row in actions}
    followers: defaultdict[int, list[int]] = defaultdict(list)
    ready: list[tuple[str, int]] = []
    for number, row in by_id.items():
        before = row["previousActionId"]
        if before and before != number and int(before) in by_id:
            followers[int(before)].append(number)
        else:
            heapq.heappush(ready, (row["createDate"] or "", number))
    ordered: list[Row] = []
    while ready:
        _, number = heapq.heappop(ready)
        ordered.append(by_id.pop(number))
        for follower in followers[number]:
            heapq.heappush(ready, (by_id[follower]["createDate"] or "", follower))
    circular = sorted(by_id.values(), key=lambda r: (r["createDate"] or "", r["dossierActionId"]))
    return ordered + circular


def views(
    actions: Sequence[Row],
    steps: Mapping[StepKey, Row],
    remembered: Mapping[int, Status | None],
) -> list[View]:
    """The actions in order. `remembered` are statuses of actions captured earlier, also of deleted ones."""
    by_id = {int(row["dossierActionId"]): row for row in actions}
    statuses: dict[int, Status | None] = dict(remembered)
    found: list[View] = []
    before: Row | None = None  # the last action in force
    for row in in_order(actions):
        number = int(row["dossierActionId"])
        link = int(row["previousActionId"] or 0)
        previous = by_id.get(link) if link else before
        carry_from = link or (int(before["dossierActionId"]) if before else 0)
        step = steps.get((row["groupId"], row["serviceProcessId"], row["stepCode"]))
        status = (step["dossierStatus"] or "").strip() if step else ""
        if step and status:
            sub = (step["dossierSubStatus"] or "").strip() or None
            statuses[number] = {"status": status, "sub_status": sub, "carried": False}
        else:
            carried = statuses.get(carry_from)
            statuses[number] = {**carried, "carried": True} if carried else None
        found.append(View(row, step, statuses[number], previous))
        if row["state_"] != ROLLED_BACK:
            before = row
    return found


def supplements(ordered: Sequence[View], meanings: Mapping[StatusKey, str]) -> list[dict[str, Any]]:
    """The requests to supplement: from the action that led into `waiting` to the one that left it.

    A sub-status of `waiting` for which the source names another national code than 5 (waiting for a tax,
    say) is none. `meanings` are those names, by (groupId, status, sub-status).
    """
    found: list[dict[str, Any]] = []
    before: View | None = None
    for view in _in_force(ordered):
        waits = _asks_supplement(view, meanings)
        waited = before is not None and _asks_supplement(before, meanings)
        if waits and not waited:
            found.append(
                {
                    "id": str(view.action_id),
                    "requested_at": view.row["createDate"],
                    "requested_by": view.row["actionUser"],
                    "text": view.row["actionNote"] or view.row["actionName"],
                    "old_due": before.row["dueDate"] if before else None,
                    "completed_at": None,
                    "received_by": None,
                    "new_due": None,
                }
            )
        elif waited and not waits:
            found[-1] |= {
                "completed_at": view.row["createDate"],
                "received_by": view.row["actionUser"],
                "new_due": view.row["dueDate"],
            }
        before = view
    return found


def turning_points(ordered: Sequence[View]) -> dict[str, str | None]:
    """`withdrawn_at` and `refused_at` where that is how the dossier stands; `extended_from`, the due
    date before the newest extension (the previous action's, else null)."""
    points: dict[str, str | None] = {
        "withdrawn_at": None,
        "refused_at": None,
        "extended_from": None,
    }
    entered: View | None = None
    for view in (in_force := _in_force(ordered)):
        if entered is None or _status(view) != _status(entered):
            entered = view
        if view.row["actionCode"] in EXTENSIONS:
            points["extended_from"] = view.previous["dueDate"] if view.previous else None
    if in_force and entered is not None:
        if _status(entered) == CANCELLED:
            points["withdrawn_at"] = entered.row["createDate"]
        elif _status(entered) == DENIED:
            points["refused_at"] = entered.row["createDate"]
    return points


def _in_force(ordered: Sequence[View]) -> list[View]:
    return [view for view in ordered if not view.rolled_back]


def _status(view: View) -> str | None:
    return view.status["status"] if view.status else None


def _asks_supplement(view: View, meanings: Mapping[StatusKey, str]) -> bool:
    if view.status is None or view.status["status"] != WAITING:
        return False
    sub_status = view.status["sub_status"]
    key = (view.row["groupId"], WAITING, sub_status or "")
    return not sub_status or meanings.get(key, SUPPLEMENT_CODE) == SUPPLEMENT_CODE
