"""Late effects: what can still be found once an attempt of unknown outcome was closed (rule 4).

Beyond the late-effect bound no sender can guarantee anything, but a target that tells more than that a
dossier exists can be asked once more. Pure, like the rest of the core.

Of each dossier at most one look-up is owed: after the last attempt of unknown outcome, and one more only
if it found something. It comes after everything else that the dossier has to do. Under `existence`
nothing can be seen, so nothing is owed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from connectors.protocols import Abilities, Lookup
from schemas.ledger.model import (
    OPEN_STATES,
    Attempt,
    AttemptKind,
    DeliveryState,
    DossierPatch,
    DossierTarget,
    Known,
    Settled,
    Verification,
    Verify,
    Work,
)
from schemas.reasons import Reason
from streams.engine.actions import Action, Answer, Ask, Found, Idle, Plan, Settle

_LOOKING = (Verification.FIRST, Verification.SECOND)
_NOTHING = Verify()


def owes_mend(dossier: DossierTarget) -> bool:
    """Whether the delivered state is owed once more."""
    return dossier.verification in (Verification.MEND, Verification.LAST_MEND)


def unmended() -> DossierPatch:
    """The delivered state cannot be sent once more: a finding says why, and nothing more is owed."""
    return DossierPatch(failures=0, verify=_NOTHING)


def scheduled(
    dossier: DossierTarget, attempt: Attempt, abilities: Abilities, *, done: bool
) -> Verify | None:
    """What is owed once this attempt of unknown outcome is closed. ``None``: as before.

    `done`: it was found to have brought its state there.
    """
    needed = Lookup.STEPS if attempt.kind is AttemptKind.STEPS else Lookup.STATE
    if abilities.lookup not in (needed, Lookup.STEPS):
        return None
    if owes_mend(dossier) and not done:
        return Verify(stage=Verification.MEND)
    due = attempt.started_at + abilities.verified_after
    return Verify(
        stage=Verification.FIRST,
        due=max(due, dossier.verify_at or due),
        rest=abilities.lookup_lag,
    )


def rested(dossier: DossierTarget, attempt: Attempt, abilities: Abilities) -> Verify | None:
    """What is owed once this attempt has succeeded: a look-up must be able to show it."""
    if dossier.verification is None:
        return None
    if not owes_mend(dossier):
        return Verify(stage=dossier.verification, due=dossier.verify_at, rest=abilities.lookup_lag)
    if attempt.kind is AttemptKind.STEPS:
        return None
    if dossier.verification is Verification.LAST_MEND:
        return _NOTHING
    return Verify(
        stage=Verification.SECOND,
        due=attempt.started_at + abilities.verified_after,
        rest=abilities.lookup_lag,
    )


def verify(
    work: Work,
    plans: Mapping[int, Plan],
    answer: Answer | None,
    now: float,
    abilities: Abilities,
) -> Action | None:
    """The look-up that is owed, and what follows from its answer. ``None``: nothing is owed."""
    dossier = work.dossier
    if dossier.verification not in _LOOKING:
        return None
    due, code = dossier.verify_at, dossier.claimed_code
    if due is None or code is None or abilities.lookup is Lookup.EXISTENCE:
        return Settle(patch=DossierPatch(verify=_NOTHING))
    if answer is None or answer.asked_at < due:
        return Ask(code=code) if now >= due else Idle(wake_at=due)
    return _compare(work, plans, answer, now, abilities)


def earlier(work: Work) -> Iterator[str]:
    """The keys of the steps that the target has from attempts that are over."""
    return (step.key for step in work.sent_steps if step.state is DeliveryState.DELIVERED)


def _compare(
    work: Work, plans: Mapping[int, Plan], answer: Answer, now: float, abilities: Abilities
) -> Settle:
    """What the target holds, beside what we believe. An append-only list is never mended by guessing."""
    dossier = work.dossier
    steps, settled = _late_steps(work, answer)
    stage: Verification | None = None
    patch = DossierPatch()
    found = list(steps)
    if dossier.known is Known.ABSENT and answer.said.present:
        found.append(Found(reason=Reason.LATE_CREATE, delivery_id=None))
        patch = DossierPatch(known=Known.PRESENT, clear_hash=True)
    old = _old_state(work, plans, answer)
    if old is not None:
        found.append(old)
        patch = DossierPatch(
            known=Known.PRESENT if answer.said.present else Known.ABSENT, clear_hash=True
        )
        first = dossier.verification is Verification.FIRST
        stage = Verification.MEND if first else Verification.LAST_MEND
    elif found and dossier.verification is Verification.FIRST:
        stage = Verification.SECOND
    due = now + abilities.verified_after if stage is Verification.SECOND else None
    arrived = {s.delivery_id for s in settled}
    last = max((r.log_pos for r in work.rows if r.delivery_id in arrived), default=-1)
    return Settle(
        settled=settled,
        found=tuple(found),
        patch=replace(
            patch,
            verify=Verify(stage=stage, due=due),
            last_step=last if last > dossier.last_step else None,
        ),
    )


def _old_state(work: Work, plans: Mapping[int, Plan], answer: Answer) -> Found | None:
    """The delivered state is not what the target shows. Only where we know what was delivered."""
    row, said = work.delivered, answer.said
    if row is None or work.dossier.known is not Known.PRESENT:
        return None
    if work.dossier.delivered_hash is None or row.version != work.dossier.delivered_version:
        return None
    if not said.present:
        return Found(reason=Reason.NOT_FOUND, delivery_id=row.delivery_id)
    shown = plans[row.delivery_id].shown
    if shown is None or said.state is None:
        return None
    names = [name for name, value in shown.items() if said.state.get(name, value) != value]
    if not names:
        return None
    detail = f"fields={','.join(names)}"
    return Found(reason=Reason.LATE_STATE, delivery_id=row.delivery_id, detail=detail)


def _late_steps(work: Work, answer: Answer) -> tuple[list[Found], tuple[Settled, ...]]:
    """Steps that stand there more often than they were delivered.

    One that was taken for not done and is still open is delivered now; any other is reported.
    """
    if answer.said.steps is None:
        return [], ()
    excess = Counter(answer.said.steps)
    excess.subtract(earlier(work))
    found: list[Found] = []
    settled: list[Settled] = []
    for step in work.sent_steps:
        if step.state in OPEN_STATES and excess[step.key] > 0:
            excess[step.key] -= 1
            found.append(Found(reason=Reason.LATE_STEP, delivery_id=step.delivery_id))
            settled.append(Settled(delivery_id=step.delivery_id, state=DeliveryState.DELIVERED))
    for step in work.sent_steps:
        for _ in range(max(excess[step.key], 0)):
            found.append(
                Found(reason=Reason.STEP_TWICE, delivery_id=step.delivery_id, step_key=step.key)
            )
        excess[step.key] = 0
    return found, tuple(settled)
