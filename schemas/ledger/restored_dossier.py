"""What a restored ledger must do about one dossier at one target, before anything is sent. Pure.

The lost time may have sent whatever is open here, and nothing else: what it enlisted is enlisted again
before this is asked. A receipt of the log proves a delivery. All the rest is of unknown outcome.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from schemas.ledger.model import AttemptKind, DeliveryState, Known, Operation, Outcome
from schemas.reasons import Reason

_LEFT_TO_PEOPLE = frozenset({Reason.GAP.value, Reason.OUTCOME_UNKNOWN.value})
"""Parked steps that nothing but a person ever sends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRow:
    """An open delivery; no retraction, which is never sent."""

    delivery_id: int
    event_id: str
    operation: Operation
    version: int
    log_pos: int
    state: DeliveryState
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAttempt:
    """An attempt that the copy of the ledger holds open."""

    attempt_id: str
    delivery_ids: tuple[int, ...]
    outcome: Outcome | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What settles a delivery: a receipt of the log, or an outcome that was written and not yet used."""

    attempt_id: str | None
    step_key: str | None
    delivered_at: datetime | None
    published: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A dossier at a target as the copy has it. `code`: under which the target may know it.

    `ambiguous`: the dossier had several numbers, and none of them is known to be the one that was sent.
    """

    known: Known
    born_on_portal: bool
    delivered_version: int
    last_step: int
    code: str | None
    ambiguous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Amends:
    """All of it. `attempts`: of unknown outcome, in this order; the state's covers no delivery, the steps'

    covers `asked_steps`.
    """

    target: str
    dossier_id: str
    delivered: Mapping[int, Proof]
    superseded: tuple[int, ...]
    freed: tuple[int, ...]
    parked: tuple[int, ...]
    closed: tuple[str, ...]
    attempts: tuple[AttemptKind, ...]
    asked_steps: tuple[int, ...]
    known: Known
    code: str | None
    delivered_version: int
    newest_version: int
    last_step: int


def amends(
    target: str,
    dossier_id: str,
    lost: Lost,
    rows: Sequence[OpenRow],
    open_attempts: Sequence[OpenAttempt],
    receipts: Mapping[tuple[str, str], Proof],
) -> Amends:
    """`receipts` by event id and operation. Every open attempt ends here: a new one asks anew, later."""
    said = {
        delivery_id: Proof(
            attempt_id=attempt.attempt_id, step_key=None, delivered_at=None, published=False
        )
        for attempt in open_attempts
        if attempt.outcome is Outcome.DELIVERED
        for delivery_id in attempt.delivery_ids
    }
    delivered: dict[int, Proof] = {}
    for row in rows:
        proof = receipts.get((row.event_id, row.operation.value)) or said.get(row.delivery_id)
        if proof is not None:
            delivered[row.delivery_id] = proof
    version = max(
        (r.version for r in rows if r.delivery_id in delivered and _is_state(r)),
        default=lost.delivered_version,
    )
    version = max(version, lost.delivered_version)
    rest = [row for row in rows if row.delivery_id not in delivered]
    superseded = tuple(r.delivery_id for r in rest if _is_state(r) and r.version <= version)
    states = [r for r in rest if _is_state(r) and r.version > version]
    steps = [r for r in rest if not _is_state(r)]

    held = bool(delivered) or lost.known is Known.PRESENT
    asked: tuple[int, ...] = ()
    parked: tuple[int, ...] = ()
    attempts: tuple[AttemptKind, ...] = ()
    if lost.ambiguous:
        parked = tuple(
            r.delivery_id for r in (*states, *steps) if r.state is not DeliveryState.PARKED
        )
    elif lost.code is not None and (held or states):
        # Without a state that was ever owed no step can have been sent.
        asked = tuple(r.delivery_id for r in steps if r.reason not in _LEFT_TO_PEOPLE)
        if states:
            there = held or lost.born_on_portal
            attempts += (AttemptKind.UPDATE if there else AttemptKind.CREATE,)
        if asked:
            attempts += (AttemptKind.STEPS,)
    taken = {*asked, *parked}
    last = max(
        (r.log_pos for r in rows if r.delivery_id in delivered and not _is_state(r)), default=-1
    )
    return Amends(
        target=target,
        dossier_id=dossier_id,
        delivered=delivered,
        superseded=superseded,
        freed=tuple(
            r.delivery_id
            for r in (*states, *steps)
            if r.state is DeliveryState.SENDING and r.delivery_id not in taken
        ),
        parked=parked,
        closed=tuple(attempt.attempt_id for attempt in open_attempts),
        attempts=attempts,
        asked_steps=asked,
        known=Known.PRESENT if held else Known.UNKNOWN,
        code=lost.code,
        delivered_version=version,
        newest_version=max((r.version for r in states), default=0),
        last_step=max(last, lost.last_step),
    )


def _is_state(row: OpenRow) -> bool:
    return row.operation is Operation.STATE
