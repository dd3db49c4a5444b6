"""What a fault hit, and how long it was felt: read from the ledger at that moment, and from the far side later.

The ledger says here only which dossiers a process had in hand. Whether they moved again says the portal.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monitoring.crash_points import CrashPoint
from streams.demo.hub_view import HubView

SIGTERM = "SIGTERM"
SIGKILL = "SIGKILL"
_STOPS = "=stop"

_OWNED = (
    "select \"partition\" from positions where flow = 'ledger' and topic = 'dossier.events'"
    " and owner like :owner"
)
_OPEN = (
    "select d.code, a.kind from attempts a join dossier_target t on t.target = a.target"
    " and t.dossier_id = a.dossier_id join dossiers d on d.dossier_id = a.dossier_id"
    " where a.outcome is null and a.closed_at is null and d.code is not null"
)
# A step can go as soon as its state has gone, and nothing of the dossier is left to a person.
_BUSY = (
    'select distinct t."partition", d.code from dossier_target t'
    " join dossiers d on d.dossier_id = t.dossier_id"
    " join deliveries s on s.target = t.target and s.dossier_id = t.dossier_id"
    " where t.runnable and d.code <> '' and s.operation = 'step' and s.state = 'pending'"
    " and (s.version <= t.delivered_version or exists (select 1 from deliveries v"
    " where v.target = t.target and v.dossier_id = t.dossier_id and v.operation = 'state'"
    " and v.state = 'pending' and v.version >= s.version))"
    " and not exists (select 1 from deliveries p where p.target = t.target"
    " and p.dossier_id = t.dossier_id and p.state in ('parked', 'waiting'))"
)
_PARKED = (
    "select distinct d.code from deliveries v join dossiers d on d.dossier_id = v.dossier_id"
    " where v.state = 'parked' and d.code is not null"
)
_MOST_OF_THEM = 0.9

_LEFT_OPEN = (
    "select count(*) from attempts a join dossier_target t on t.target = a.target"
    " and t.dossier_id = a.dossier_id join positions p on p.topic = t.topic"
    ' and p."partition" = t."partition" and p.flow = \'ledger\''
    " where a.outcome is null and a.closed_at is null and a.epoch = p.epoch"
    " and p.owner like :owner"
)

# Of a report too: whoever owns its partition of its own topic.
_HITS = (
    "select count(*) from attempts a join dossier_target t on t.target = a.target"
    " and t.dossier_id = a.dossier_id join positions p on p.flow = 'ledger' and p.topic = t.topic"
    ' and p."partition" = t."partition" where a.outcome is null and a.closed_at is null'
    " and p.owner like :owner"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One injected fault. `at`: seconds since the epoch.

    `partitions`: what its worker owned; `open_codes`: its dossiers with an open attempt; `busy`: its
    dossiers that owed the portal a step which could go. `hit`: how many open attempts it struck.
    """

    kind: str
    at: float
    progress: float
    worker: str = ""
    partitions: frozenset[int] = frozenset()
    open_codes: frozenset[str] = frozenset()
    open_steps: frozenset[str] = frozenset()
    busy: frozenset[str] = frozenset()
    hit: int = 0
    measured: bool = True
    """Whether the recovery counts: somebody else must take over, and nothing else is in the way."""

    @property
    def deadly(self) -> bool:
        """Whether its worker is dead: a frozen one may wake, and settle for itself what it had open."""
        point = self.kind.partition(":")[0]
        return self.kind == SIGKILL or (point in set(CrashPoint) and not self.kind.endswith(_STOPS))


def open_attempts(view: HubView, pid: int) -> int:
    """How many attempts the worker with this process id has open now."""
    return int(view.rows(_HITS, owner=f"%:{pid}:%")[0][0])


def left_open(view: HubView, pid: int) -> int:
    """Attempts without an outcome that a worker which has ended began, in partitions that still name it.

    What an earlier owner left open there is of an older epoch, and must wait before it is asked about.
    """
    return int(view.rows(_LEFT_OPEN, owner=f"%:{pid}:%")[0][0])


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
    hit = int(view.rows(_HITS, owner=owner)[0][0])
    busy = frozenset(code for partition, code in view.rows(_BUSY) if int(partition) in owned)
    return {
        "partitions": owned,
        "open_codes": frozenset(c for c, _ in opened),
        "open_steps": frozenset(c for c, kind in opened if kind == "steps"),
        "busy": busy,
        "hit": hit,
    }


def parked_codes(view: HubView) -> frozenset[str]:
    """The dossiers of which something waits for a person now."""
    return frozenset(code for (code,) in view.rows(_PARKED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """How long a fault was felt at the portal, in seconds; None where nothing was waiting.

    `plain`: within this nine of ten of the worker's busy dossiers moved again. The last tenth may have
    stood behind others: a worker has so many calls in flight, and takes the nearest legal deadline first,
    be it of a dossier that came later. `opened`: the slowest of those whose attempt was open; of them none
    is left out, for nobody else's work is before their question. `never`: dossiers that never moved at all,
    busy ones, and those with an open attempt of a worker that is dead.
    """

    plain: float | None
    opened: float | None
    never: frozenset[str] = frozenset()


def recovery(
    fault: Fault, calls: Sequence[Mapping[str, Any]], parked: Collection[str] = ()
) -> Recovery:
    """Measured by each dossier's first call after the fault, a write or a question.

    `parked`: at the end. Such a dossier waits for a person: that it never moved says nothing, nor does
    the time at which one with an open attempt did.
    """
    moved: dict[str, float] = {}
    for call in calls:
        if call["at"] > fault.at:
            for code in call["codes"]:
                moved.setdefault(code, call["at"] - fault.at)
    busy = fault.busy - fault.open_codes
    owed = busy | fault.open_codes if fault.deadly else busy
    plain = sorted(moved[code] for code in busy if code in moved)
    opened = [moved[code] for code in fault.open_codes if code in moved and code not in parked]
    return Recovery(
        plain=plain[math.ceil(_MOST_OF_THEM * len(plain)) - 1] if plain else None,
        opened=max(opened) if opened else None,
        never=owed - moved.keys() - frozenset(parked),
    )
