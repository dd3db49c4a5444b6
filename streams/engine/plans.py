"""From a row of the ledger to what would be sent: open, map, hash.

A refusal by the mapping is a plan too: the core parks it with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass

from connectors.errors import RejectedError
from connectors.protocols import Sink, StateRequest, StepRequest
from schemas.dossier.mappings import Codes
from schemas.ledger.model import DeliveryRow, Operation
from schemas.reasons import Reason
from schemas.records import DossierEvent
from streams.engine.decide import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A plan with the request behind it; `effective_at` in seconds since the epoch, for the latency."""

    plan: Plan
    effective_at: float
    state: StateRequest | None = None
    step: StepRequest | None = None


def prepare(row: DeliveryRow, event: DossierEvent, sink: Sink, codes: Codes) -> Prepared:
    """Map one row of `event`. Never raises for what a dossier contains: that becomes a refusal."""
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
