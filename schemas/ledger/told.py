"""What a target had been told of some dossiers by a moment, beside what there was to tell.

Both come as `DueDossier`, so that one reading of a dossier's life serves both. Read only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, or_, select, union

from schemas.ledger import partitions
from schemas.ledger.dialect import AnyRow
from schemas.ledger.figures import DueDossier, payloads_of, steps_of
from schemas.ledger.model import DeliveryState, Operation
from schemas.ledger.tables import OPEN_DELIVERY, deliveries, dossiers, events
from schemas.ledger.work import chunks
from schemas.reasons import Reason

_D = deliveries.c

_HOLDS = or_(
    _D.state == DeliveryState.DELIVERED.value,
    and_(_D.state == DeliveryState.SUPERSEDED.value, _D.reason == Reason.UNCHANGED.value),
)
"""The target holds exactly this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One dossier. `whole` is all that there was to tell; `held` what of it the target had, None without a
    state: then it does not know the dossier, or only what it was told elsewhere."""

    dossier_id: str
    whole: DueDossier
    held: DueDossier | None


def owed_by(connection: Connection, target: str, by: datetime) -> Any:
    """The ids of the dossiers of which this target was owed something at that moment: a subquery.

    Events that took effect later are left out; one that took effect before and was captured later was owed.
    """
    last = by.astimezone(UTC)
    some = [
        _D.target == target,
        _D.operation.in_([Operation.STATE.value, Operation.STEP.value]),
        _D.source_day <= int(f"{last:%Y%m%d}"),
    ]
    if connection.dialect.name == "postgresql":
        month = partitions.month_after(int(f"{last:%Y%m}"))
        some.append(_D.delivery_id < partitions.first_id(month))
    still = select(_D.dossier_id).where(*some, OPEN_DELIVERY)
    since = select(_D.dossier_id).where(*some, _D.settled_at > by)
    return union(still, since).subquery("owed")


def told(connection: Connection, ids: Sequence[str], target: str, by: datetime) -> list[Told]:
    """These dossiers, by id. In a fixed number of queries for each 500."""
    found: list[Told] = []
    for some in chunks(sorted(ids)):
        steps, payloads = steps_of(connection, some), payloads_of(connection, some)
        arrived = _arrived(connection, some, target, by)
        newest = {key: max(states) for key, (states, _) in arrived.items() if states}
        states = _states(connection, newest)
        query = select(dossiers).where(dossiers.c.dossier_id.in_(some))
        for row in connection.execute(query.order_by(dossiers.c.dossier_id)):
            key = row.dossier_id
            whole = _whole(row, tuple(steps[key]), tuple(payloads[key]))
            held = None
            if key in newest:
                at, version, _ = newest[key]
                there = arrived[key][1]
                held = replace(
                    whole,
                    state_version=version,
                    log_pos=at,
                    steps=tuple(step for step in whole.steps if step.log_pos in there),
                    payloads=_until(payloads[key], at, states.get(key)),
                )
            found.append(Told(dossier_id=key, whole=whole, held=held))
    return found


_State = tuple[int, int, str]
"""Place in the log, version, event."""


def _arrived(
    connection: Connection, ids: Sequence[str], target: str, by: datetime
) -> Mapping[str, tuple[list[_State], set[int]]]:
    """By dossier: the states that the target had held by then, and the places of the steps."""
    query: Select[Any] = select(
        _D.dossier_id, _D.operation, _D.log_pos, _D.version, _D.event_id
    ).where(_D.dossier_id.in_(ids), _D.target == target, _D.settled_at <= by, _HOLDS)
    found: defaultdict[str, tuple[list[_State], set[int]]] = defaultdict(lambda: ([], set()))
    for row in connection.execute(query):
        states, steps = found[row.dossier_id]
        if row.operation == Operation.STATE.value:
            states.append((row.log_pos, row.version, row.event_id))
        elif row.operation == Operation.STEP.value:
            steps.add(row.log_pos)
    return found


def _states(
    connection: Connection, newest: Mapping[str, _State]
) -> Mapping[str, tuple[int, bytes]]:
    wanted = sorted(event_id for _, _, event_id in newest.values())
    query = select(events.c.dossier_id, events.c.log_pos, events.c.payload).where(
        events.c.event_id.in_(wanted)
    )
    rows = connection.execute(query) if wanted else ()
    return {row.dossier_id: (row.log_pos, row.payload) for row in rows}


def _whole(
    row: AnyRow, steps: tuple[Any, ...], payloads: tuple[tuple[int, bytes], ...]
) -> DueDossier:
    is_there = bool(payloads) and payloads[-1][0] == row.log_pos and row.state_version >= 0
    return DueDossier(
        dossier_id=row.dossier_id,
        state_version=row.state_version,
        log_pos=row.log_pos,
        born_on_portal=row.born_on_portal,
        known=False,
        fewer=False,
        steps=steps,
        payloads=payloads if is_there else (),
    )


def _until(
    payloads: Sequence[tuple[int, bytes]], at: int, state: tuple[int, bytes] | None
) -> tuple[tuple[int, bytes], ...]:
    """The states that count up to the one that the target holds; none if that one is gone from the ledger."""
    if state is None:
        return ()
    return (*((place, payload) for place, payload in payloads if place < at), state)
