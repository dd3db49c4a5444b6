"""What a fault hit, and how long it was felt: read from the ledger at that moment, and from the far side later.

The ledger says here only which dossiers a process had in hand. Whether they moved again says the portal.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streams.demo.hub_view import HubView

WRITES = ("create", "update", "steps")
SIGTERM = "SIGTERM"

_OWNED = (
    "select \"partition\" from positions where flow = 'ledger' and topic = 'dossier.events'"
    " and owner like :owner"
)
_OPEN = (
    "select d.code, a.kind from attempts a join dossier_target t on t.target = a.target"
    " and t.dossier_id = a.dossier_id join dossiers d on d.dossier_id = a.dossier_id"
    " where a.outcome is null and a.closed_at is null and d.code is not null"
)
_BUSY = (
    'select t."partition", d.code from dossier_target t join dossiers d'
    " on d.dossier_id = t.dossier_id where t.runnable and d.code is not null"
)


_HITS = (
    "select count(*) from attempts a join dossier_target t on t.target = a.target"
    " and t.dossier_id = a.dossier_id where a.outcome is null and a.closed_at is null"
    ' and t."partition" in (' + _OWNED + ")"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One injected fault. `at`: seconds since the epoch; `ended_at`: when a frozen worker was woken.

    `partitions`: what its worker owned; `open_codes`: its dossiers with an open attempt; `busy`: its
    dossiers with something to do, by partition. `hit`: how many open attempts it struck.
    """

    kind: str
    at: float
    progress: float
    worker: str = ""
    partitions: frozenset[int] = frozenset()
    open_codes: frozenset[str] = frozenset()
    open_steps: frozenset[str] = frozenset()
    busy: Mapping[int, frozenset[str]] = field(default_factory=dict)
    hit: int = 0
    measured: bool = True
    """Whether the recovery counts: somebody else must take over, and nothing else is in the way."""


def open_attempts(view: HubView, pid: int) -> int:
    """How many attempts the worker with this process id has open now."""
    return int(view.rows(_HITS, owner=f"%:{pid}:%")[0][0])


def in_hand(view: HubView, pid: int | None) -> dict[str, Any]:
    """What the worker with this process id has in hand, as fields of `Fault`; of all workers for None."""
    owner = f"%:{pid}:%" if pid is not None else "%"
    owned = frozenset(int(p) for (p,) in view.rows(_OWNED, owner=owner))
    places: dict[str, int] = {}
    for code, partition in view.rows(
        'select d.code, t."partition" from dossier_target t join dossiers d'
        " on d.dossier_id = t.dossier_id where d.code is not null"
    ):
        places[code] = int(partition)
    opened = [(c, kind) for c, kind in view.rows(_OPEN) if places.get(c) in owned]
    busy: dict[int, set[str]] = {}
    for partition, code in view.rows(_BUSY):
        if int(partition) in owned:
            busy.setdefault(int(partition), set()).add(code)
    return {
        "partitions": owned,
        "open_codes": frozenset(c for c, _ in opened),
        "open_steps": frozenset(c for c, kind in opened if kind == "steps"),
        "busy": {partition: frozenset(codes) for partition, codes in busy.items()},
        "hit": len(opened),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """How long a fault was felt at the portal, in seconds; None where nothing was waiting.

    `plain`: the slowest of the worker's partitions that had work, from the fault to the first write that
    the portal granted there; `opened`: the slowest of the dossiers whose attempt was open.
    """

    plain: float | None
    opened: float | None


def recovery(
    fault: Fault, calls: Sequence[Mapping[str, Any]], parked: Collection[str] = ()
) -> Recovery:
    """Measured by the portal's calls: the first after the fault, a write or a question.

    A dossier in `parked` waits for a person, and is left out.
    """
    asked: dict[str, float] = {}
    written: dict[str, float] = {}
    for call in calls:
        if call["at"] <= fault.at:
            continue
        for code in call["codes"]:
            asked.setdefault(code, call["at"] - fault.at)
            if call["verdict"] == "done" and call["operation"] in WRITES:
                written.setdefault(code, call["at"] - fault.at)
    plain: list[float] = []
    for codes in fault.busy.values():
        moved = [written[code] for code in codes - fault.open_codes if code in written]
        if moved:
            plain.append(min(moved))
    # Where the effect had come, a question is all that follows.
    opened = [asked[code] for code in fault.open_codes if code in asked and code not in parked]
    return Recovery(
        plain=max(plain) if plain else None,
        opened=max(opened) if opened else None,
    )
