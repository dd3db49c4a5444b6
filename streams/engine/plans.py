"""From a row of the ledger to what would be sent: open, map, hash.

A refusal by the mapping is a plan too: the core parks it with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from connectors.errors import RejectedError
from connectors.protocols import Deliverable, Sink, StateRequest, StepRequest
from schemas.dossier.mappings import Codes
from schemas.ledger.model import DeliveryRow, Operation
from schemas.reasons import Reason
from streams.engine.actions import Plan

E = TypeVar("E", bound=Deliverable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A plan with the request behind it; `effective_at` in seconds since the epoch, for the latency."""

    plan: Plan
    effective_at: float
    compared: bool
    state: StateRequest | None = None
    step: StepRequest | None = None


def prepare(row: DeliveryRow, event: E, sink: Sink[E], codes: Codes, *, compared: bool) -> Prepared:
    """Map one row of `event`. Never raises for what a dossier contains: that becomes a refusal.

    `compared`: also say what a look-up shows of a dossier that holds this state.
    """
    at = event.effective_at.timestamp()
    try:
        if row.operation is Operation.STEP:
            step = sink.step_request(event, codes)
            plan = Plan(content_hash=step.key, supplement_request=step.supplement_request)
            return Prepared(plan=plan, effective_at=at, compared=compared, step=step)
        if not event.code:
            no_code = Plan(refusal=Reason.NO_CODE)
            return Prepared(plan=no_code, effective_at=at, compared=compared)
        state = sink.state_request(event, codes)
        shown = sink.shown(state) if compared else None
        plan = Plan(code=state.code, content_hash=state.content_hash, shown=shown)
        return Prepared(plan=plan, effective_at=at, compared=compared, state=state)
    except RejectedError as refused:
        plan = Plan(refusal=refused.reason, detail=refused.detail or refused.field)
        return Prepared(plan=plan, effective_at=at, compared=compared)
