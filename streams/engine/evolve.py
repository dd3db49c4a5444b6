"""What a committed change makes of the work in hand, so that the shell need not read it again.

The in-memory ledger of the simulation uses this function as its own write; the contract suite holds the
SQL ledger to the same results.
"""

from __future__ import annotations

from dataclasses import replace

from schemas.ledger.model import (
    OPEN_STATES,
    AttemptOutcome,
    Change,
    DeliveryRow,
    DeliveryState,
    DossierPatch,
    DossierTarget,
    Operation,
    Work,
)


def with_outcome(work: Work, outcome: AttemptOutcome) -> Work:
    """The work after an outcome was appended."""
    return replace(
        work,
        attempts=tuple(
            replace(a, outcome=outcome.outcome, reason=outcome.reason, detail=outcome.detail)
            if a.attempt_id == outcome.attempt_id
            else a
            for a in work.attempts
        ),
    )


def evolve(work: Work, change: Change, at: float) -> Work:
    """The work after `change` was written at `at` (database's clock) with the verdict ``done``."""
    if change.outcome is not None:
        work = with_outcome(work, change.outcome)
    dossier = work.dossier
    if change.claim is not None:
        dossier = replace(dossier, claimed_code=change.claim)
    if change.patch is not None:
        dossier = patched(dossier, change.patch, at)
    attempts = tuple(a for a in work.attempts if a.attempt_id != change.close)
    delivered = work.delivered
    if dossier.verification is not None and dossier.delivered_version != (
        work.dossier.delivered_version
    ):
        delivered = _newest_of(work, dossier.delivered_version)
    sending: frozenset[int] = frozenset()
    if change.intent is not None:
        attempts += (replace(change.intent, started_at=at),)
        sending = frozenset(change.intent.delivery_ids)
    settled = {s.delivery_id: s for s in change.settled}
    rows: list[DeliveryRow] = []
    for row in work.rows:
        new = settled.get(row.delivery_id)
        if row.delivery_id in sending:
            row = replace(row, state=DeliveryState.SENDING, reason=None)
        elif new is not None:
            if new.state not in OPEN_STATES:
                continue
            row = replace(row, state=new.state, reason=new.reason)
        rows.append(row)
    return replace(work, dossier=dossier, rows=tuple(rows), attempts=attempts, delivered=delivered)


def _newest_of(work: Work, version: int) -> DeliveryRow | None:
    """The state of this version, which is now the one that the target should hold."""
    rows = (r for r in work.rows if r.operation is Operation.STATE and r.version == version)
    return max(rows, key=lambda row: row.log_pos, default=None)


def patched(dossier: DossierTarget, patch: DossierPatch, at: float) -> DossierTarget:
    """The dossier after a patch written at `at`: ``None`` leaves a field as it is."""
    given = {
        name: value
        for name in ("known", "delivered_version", "delivered_hash", "last_step", "failures")
        if (value := getattr(patch, name)) is not None
    }
    if patch.clear_hash:
        given["delivered_hash"] = None
    if patch.verify is not None:
        given["verification"] = patch.verify.stage
        given["verify_at"] = patch.verify.due_at(at)
    return replace(dossier, **given)
