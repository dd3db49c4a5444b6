"""From a row of the ledger to what would be sent: decode, open, map, hash.

A refusal by the mapping is a plan too: the core parks it with its reason.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from connectors.errors import RejectedError
from connectors.protocols import Sink, StateRequest, StepRequest
from schemas.dossier.mappings import Codes
from schemas.ledger.model import DeliveryRow, Operation
from schemas.reasons import Reason
from schemas.records import DossierEvent
from streams.engine.decide import Plan

Decode = Callable[[bytes], Awaitable[DossierEvent]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A plan with the request behind it; `effective_at` in seconds since the epoch, for the latency."""

    plan: Plan
    effective_at: float
    state: StateRequest | None = None
    step: StepRequest | None = None


async def prepare(row: DeliveryRow, sink: Sink, decode: Decode, codes: Codes) -> Prepared:
    """Map one row. Never raises for what a dossier contains: that becomes a refusal."""
    event = await decode(row.payload)
    effective_at = event.effective_at.timestamp()
    try:
        if row.operation is Operation.STEP:
            step = sink.step_request(event, codes)
            plan = Plan(content_hash=step.key, supplement_request=step.supplement_request)
            return Prepared(plan=plan, effective_at=effective_at, step=step)
        if not event.dossier_code:
            return Prepared(plan=Plan(refusal=Reason.NO_CODE), effective_at=effective_at)
        state = sink.state_request(event, codes)
        plan = Plan(code=state.code, content_hash=state.content_hash)
        return Prepared(plan=plan, effective_at=effective_at, state=state)
    except RejectedError as refused:
        plan = Plan(refusal=refused.reason, detail=refused.detail or refused.field)
        return Prepared(plan=plan, effective_at=effective_at)
