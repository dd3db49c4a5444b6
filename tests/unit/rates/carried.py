"""Deliveries for the tests of the hub's own rates: captured, settled and tried at chosen times. All invented."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, update

from monitoring.rates import integration
from monitoring.rates.integration import Carried, Integration
from schemas.ledger.model import DeliveryState, Due, Operation, Outcome
from schemas.ledger.tables import attempts, deliveries
from schemas.reasons import Reason
from schemas.records import CodeName
from tests.contract.ledger_contract import STATE, STEP, TARGET, make_event
from tests.unit.dossier.samples import CALENDAR, at
from tests.unit.rates.counted import UNITS, Hall, span_of

_numbers = itertools.count(1)

NINE = at("2026-03-02 09:00")
"""A Monday morning."""


async def capture(
    ours: Hall,
    *,
    unit: str = UNITS[0],
    recorded: datetime = NINE,
    effective: datetime | None = None,
    dues: tuple[Due, ...] = (STEP,),
    dossier: str | None = None,
) -> str:
    """Take an event in; returns its id."""
    number = next(_numbers)
    effective = effective or recorded - timedelta(seconds=1)
    event = make_event(
        f"e{number}", dossier or f"d{number}", version=number, code=f"C{number}", at=effective
    )
    event = replace(event, recorded_at=recorded, handling_agency=CodeName(code=unit, name=None))
    ours.told[event.event_id] = event
    await ours.desk.put(event, dues=dues)
    return event.event_id


async def settle(
    ours: Hall,
    event_id: str,
    state: DeliveryState = DeliveryState.DELIVERED,
    *,
    after: timedelta | None = None,
    when: datetime | None = None,
    reason: Reason | None = None,
    attempt: str | None = None,
    operation: Operation | None = None,
) -> None:
    """As if the engine had said so: `after` the event's record, or at `when`."""
    settled = when
    if after is not None:
        settled = ours.told[event_id].recorded_at + after
    which = [deliveries.c.event_id == event_id]
    if operation is not None:
        which.append(deliveries.c.operation == operation.value)
    values: dict[str, Any] = {
        "state": state.value,
        "settled_at": settled,
        "reason": reason.value if reason else None,
        "attempt_id": attempt,
    }
    statement = update(deliveries).where(*which).values(values)
    await ours.lane.write(lambda c: c.execute(statement))


async def attempt(
    ours: Hall, *event_ids: str, outcome: Outcome | None, name: str | None = None
) -> str:
    """One call that covered the steps of these events; returns its id."""
    attempt_id = name or f"a{next(_numbers)}"
    dossier = ours.told[event_ids[0]].dossier_id

    def write(connection: Any) -> None:
        ids = connection.execute(
            select(deliveries.c.delivery_id).where(deliveries.c.event_id.in_(event_ids))
        ).scalars()
        row = {
            "attempt_id": attempt_id,
            "dossier_id": dossier,
            "target": TARGET,
            "kind": "steps",
            "delivery_ids": json.dumps(sorted(ids)),
            "version": 0,
            "content_hash": "",
            "proved_absent": False,
            "epoch": 1,
            "started_at": ours.told[event_ids[0]].recorded_at,
            "outcome": outcome.value if outcome else None,
        }
        connection.execute(insert(attempts).values(row))

    await ours.lane.write(write)
    return attempt_id


async def carried(
    ours: Hall, period: str = "2026-03", agencies: Collection[str] | None = None
) -> Integration:
    """The counts of a period, after everything was reckoned."""
    while await ours.refresh():
        pass
    start, end = span_of(period)
    return await ours.lane.read(
        lambda c: integration.count(c, start, end, calendar=CALENDAR, agencies=agencies)
    )


async def total(ours: Hall, period: str = "2026-03") -> Carried:
    """Of the one target."""
    (only,) = (await carried(ours, period)).totals
    return only


__all__ = ["NINE", "STATE", "STEP", "attempt", "capture", "carried", "settle", "total"]
