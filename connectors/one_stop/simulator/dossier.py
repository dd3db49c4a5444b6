"""What the simulator remembers of a dossier, what an action sets in its row, and what the portal owes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from connectors.one_stop.simulator.journal import State
from connectors.one_stop.simulator.process import NEW, STEPS, Act, Step
from connectors.one_stop.simulator.rows import Draft

UNMAPPED = "unmapped"

_RECEPTIONS = (Act.RECEIVE, Act.RECEIVE_ONLINE)
_RETURNS = (Act.RETURN, Act.RETURN_BY_POST)


@dataclass(slots=True)
class Done:
    """An action that was written, and how the dossier was before it."""

    action_id: int
    step: Step
    national: str | None
    before: dict[str, Any]
    files: list[int]


@dataclass(slots=True)
class Dossier:
    """What the simulator remembers of a dossier that it plays."""

    dossier_id: int
    draft: Draft
    row: dict[str, Any]
    national: str | None
    step: Step = NEW
    history: list[Done] = field(default_factory=list)
    files: dict[int, bool] = field(
        default_factory=dict
    )  # file id -> is a result; removed ones are gone
    payment_id: int | None = None
    rival: int | None = None
    steps_held: bool = False

    @property
    def code(self) -> str:
        """The dossier number, "" as long as there is none."""
        return str(self.row["dossierNo"])

    @property
    def last_action(self) -> int:
        return self.history[-1].action_id if self.history else 0


STATUS_COLUMNS = (
    "dossierStatus",
    "dossierStatusText",
    "dossierSubStatus",
    "dossierSubStatusText",
)


def effects(act: Act, step: Step, at: datetime) -> dict[str, Any]:
    """The columns of the dossier that an action sets by itself."""
    values: dict[str, Any] = {}
    if step.status is not None:
        values |= {
            "dossierStatus": step.status,
            "dossierStatusText": step.name,
            "dossierSubStatus": step.sub_status or "",
            "dossierSubStatusText": step.name if step.sub_status else "",
        }
    if act in _RECEPTIONS:
        values |= {"receiveDate": at, "processDate": at, "dueDate": at + timedelta(days=1)}
    elif act in (Act.RELEASE, Act.STOP):
        values["releaseDate"] = at
    elif act in _RETURNS:
        values["finishDate"] = at
    elif act is Act.ASK_WITHDRAWAL:
        values["cancellingDate"] = at
    elif act is Act.CORRECT:
        values["correcttingDate"] = at
    return values


def expected(dossier: Dossier) -> State:
    row = dossier.row
    results = sum(dossier.files.values())
    if dossier.draft.copy:
        not_owed = "copy"
    elif not dossier.draft.portal_born and row.get("receiveDate") is None:
        not_owed = "before_reception"
    elif not dossier.code:
        not_owed = "no_code"
    else:
        not_owed = None
    return State(
        code=dossier.code,
        procedure=dossier.draft.procedure.code,
        status=dossier.national,
        received=stamp(row.get("receiveDate")),
        due=stamp(row.get("extendDate") or row.get("dueDate")),
        finished=stamp(row.get("releaseDate")),
        returned=stamp(row.get("finishDate")),
        components=len(dossier.files) - results,
        results=results,
        not_owed=not_owed,
        held=dossier.draft.parks or (UNMAPPED if dossier.national is None else None),
    )


def sequence(step: Step) -> str:
    return f"{STEPS.index(step) + 1:02d}"


def stamp(at: datetime | None) -> str:
    return f"{at:%Y%m%d%H%M%S}" if at else ""
