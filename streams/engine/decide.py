"""The core of the delivery engine: given everything known about one dossier at one target, what next?

Pure: no clock, no network, no database. The rules are numbered as in the design of the engine:
two streams (1), intent before bytes (2), late effects (4), unknown is the default (5), asking (6),
abilities (7), one code one citizen (8), parking (10).

Reading order: `next_action` first, then `_resolve` (an attempt is open), then `_state` and `_steps`. What
can still be found after the late-effect bound is in `verify.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from connectors.protocols import Abilities, Lookup, StepsUnknown
from schemas.ledger.model import (
    Attempt,
    AttemptKind,
    DeliveryRow,
    DeliveryState,
    DossierPatch,
    Known,
    Operation,
    Outcome,
    Settled,
    Verify,
    Work,
)
from schemas.reasons import Reason
from streams.engine.actions import Action, Answer, Ask, Found, Idle, Plan, Send, Settle
from streams.engine.verify import earlier, owes_mend, rested, scheduled, unmended, verify


def next_action(
    work: Work,
    plans: Mapping[int, Plan],
    answer: Answer | None,
    now: float,
    abilities: Abilities,
    send_by: float,
) -> Action:
    """The one next thing to do for this dossier and target.

    `plans` holds the rows named by `rows_to_map`; `now` is the database's clock, never ahead of it;
    `send_by` is the longest time from an intent to its first byte, in seconds.
    """
    if work.attempts:
        return _resolve(work, work.attempts[0], plans, answer, now, abilities, send_by)
    return (
        _state(work, plans)
        or _mend(work, plans)
        or _steps(work, plans, abilities)
        or verify(work, plans, answer, now, abilities)
        or Idle()
    )


def rows_to_map(work: Work, abilities: Abilities) -> tuple[DeliveryRow, ...]:
    """The rows whose plans `next_action` may need: the newest state and the next steps.

    While steps are open that no look-up lists, or whose keys are not known: those steps. While a verification is owed also the state
    that the target should hold.
    """
    if work.attempts:
        attempt = work.attempts[0]
        if attempt.kind is not AttemptKind.STEPS:
            return ()
        if abilities.lookup is Lookup.STEPS and attempt.step_keys:
            return ()
        return tuple(row for row in work.rows if row.delivery_id in attempt.delivery_ids)
    newest = newest_state(work)
    steps = _next_steps(work, abilities)
    rows = ((newest,) if newest is not None else ()) + steps
    return rows if work.delivered is None else (*rows, work.delivered)


def newest_state(work: Work) -> DeliveryRow | None:
    """The newest full state that can still go out (rule 1).

    A parked one waits for a person; what was true before it is better there than nothing, and the steps
    up to it need it.
    """
    states = [
        row
        for row in work.rows
        if row.operation is Operation.STATE and row.state is not DeliveryState.PARKED
    ]
    return max(states, key=lambda row: (row.version, row.log_pos), default=None)


# --- no attempt is open: the state stream, then the step stream -------------------------------------


def _state(work: Work, plans: Mapping[int, Plan]) -> Action | None:
    newest = newest_state(work)
    if newest is None:
        return None
    dossier = work.dossier
    if newest.version <= dossier.delivered_version:
        return Settle(settled=_supersede(work, dossier.delivered_version, Reason.NEWER_STATE))
    plan = plans[newest.delivery_id]
    if plan.refusal is Reason.NO_CODE:
        if newest.state is DeliveryState.WAITING:
            return None
        return Settle(settled=(_to(newest, DeliveryState.WAITING, Reason.NO_CODE),))
    if plan.refusal is not None:
        return Settle(settled=(_to(newest, DeliveryState.PARKED, plan.refusal, plan.detail),))
    assert plan.code is not None
    if dossier.claimed_code is not None and dossier.claimed_code != plan.code:
        return Settle(settled=(_to(newest, DeliveryState.PARKED, Reason.CODE_CHANGED),))
    if dossier.known is Known.PRESENT and dossier.delivered_hash == plan.content_hash:
        return Settle(
            settled=_supersede(work, newest.version, Reason.UNCHANGED),
            patch=DossierPatch(delivered_version=newest.version),
        )
    return _send_state(work, newest, plan, plan.code)


def _send_state(work: Work, row: DeliveryRow, plan: Plan, code: str) -> Send:
    dossier = work.dossier
    holds_it = dossier.known is Known.PRESENT or (
        dossier.known is Known.UNKNOWN and dossier.born_on_portal
    )
    return Send(
        kind=AttemptKind.UPDATE if holds_it else AttemptKind.CREATE,
        rows=(row,),
        code=code,
        version=row.version,
        content_hash=plan.content_hash,
        claim=code if dossier.claimed_code is None else None,
        proved_absent=dossier.known is Known.ABSENT,
    )


def _mend(work: Work, plans: Mapping[int, Plan]) -> Action | None:
    """The state that was delivered already, once more: an old one was found in its place (rule 4)."""
    if not owes_mend(work.dossier):
        return None
    row = work.delivered
    if row is None or row.version != work.dossier.delivered_version:
        return Settle(patch=unmended())
    plan = plans[row.delivery_id]
    if plan.refusal is not None or plan.code != work.dossier.claimed_code:
        reason = plan.refusal or Reason.CODE_CHANGED
        found = Found(reason=reason, delivery_id=row.delivery_id, detail=plan.detail)
        return Settle(patch=unmended(), found=(found,))
    assert plan.code is not None
    return _send_state(work, row, plan, plan.code)


def _next_steps(work: Work, abilities: Abilities) -> tuple[DeliveryRow, ...]:
    """The next steps in order of the log, as far as their states are delivered (rule 1)."""
    dossier = work.dossier
    if dossier.known is not Known.PRESENT or dossier.claimed_code is None:
        return ()
    # After a failure one step at a time: a refusal must name its step.
    limit = 1 if dossier.failures else abilities.steps_chunk_max
    ready: list[DeliveryRow] = []
    for row in work.rows:
        if row.operation is not Operation.STEP:
            continue
        if row.state is not DeliveryState.PENDING or row.version > dossier.delivered_version:
            break
        ready.append(row)
        if len(ready) == limit:
            break
    return tuple(ready)


def _steps(work: Work, plans: Mapping[int, Plan], abilities: Abilities) -> Action | None:
    ready = _next_steps(work, abilities)
    sound: list[DeliveryRow] = []
    for row in ready:
        plan = plans[row.delivery_id]
        if plan.refusal is not None:
            if not sound:
                return Settle(settled=(_to(row, DeliveryState.PARKED, plan.refusal, plan.detail),))
            break
        sound.append(row)
    if not sound:
        return None
    keys = tuple(plans[row.delivery_id].content_hash for row in sound)
    code = work.dossier.claimed_code
    assert code is not None
    return Send(
        kind=AttemptKind.STEPS,
        rows=tuple(sound),
        code=code,
        version=0,
        content_hash="",
        step_keys=keys,
    )


# --- an attempt is open: nothing else goes out until it is resolved (rule 4) -------------------------


def _resolve(
    work: Work,
    attempt: Attempt,
    plans: Mapping[int, Plan],
    answer: Answer | None,
    now: float,
    abilities: Abilities,
    send_by: float,
) -> Action:
    if attempt.outcome is Outcome.DELIVERED:
        action = _succeeded(work, attempt)
        return _verifying(action, rested(work.dossier, attempt, abilities))
    if attempt.outcome is Outcome.FAILED:
        return _again(work, attempt, failed=True)
    if attempt.outcome is Outcome.REJECTED:
        return _rejected(work, attempt)
    # Unknown, or its maker never came back.
    unsure = _resolve_unknown(work, attempt, plans, answer, now, abilities, send_by)
    if isinstance(unsure, Settle):
        done = unsure.patch is not None and unsure.patch.delivered_hash is not None
        return _verifying(unsure, scheduled(work.dossier, attempt, abilities, done=done))
    return unsure


def _verifying(action: Settle, owed: Verify | None) -> Settle:
    if owed is None:
        return action
    return replace(action, patch=replace(action.patch or DossierPatch(), verify=owed))


def _resolve_unknown(
    work: Work,
    attempt: Attempt,
    plans: Mapping[int, Plan],
    answer: Answer | None,
    now: float,
    abilities: Abilities,
    send_by: float,
) -> Action:
    over = attempt.started_at + send_by + abilities.late_effect_bound
    if attempt.kind is AttemptKind.UPDATE:
        if now < over:
            return Idle(wake_at=over)
        return _again(work, attempt, patch=DossierPatch(clear_hash=True))
    believed = over + abilities.lookup_lag
    if attempt.kind is AttemptKind.CREATE:
        return _resolve_create(work, attempt, answer, now, believed)
    if abilities.lookup is Lookup.STEPS:
        if attempt.step_keys:
            return _resolve_listed_steps(work, attempt, answer, now, believed)
        return _resolve_restored_steps(work, attempt, plans, answer, now, believed)
    if now < over:
        return Idle(wake_at=over)
    return _resolve_unlisted_steps(work, attempt, plans, abilities)


def _resolve_create(
    work: Work, attempt: Attempt, answer: Answer | None, now: float, believed: float
) -> Action:
    if answer is not None and answer.asked_at >= attempt.started_at:
        if answer.said.present and attempt.proved_absent:
            return _succeeded(work, attempt)  # it was not there before, so it is ours
        if answer.asked_at >= believed:
            known = Known.PRESENT if answer.said.present else Known.ABSENT
            return _again(work, attempt, patch=DossierPatch(known=known, clear_hash=True))
    return _ask_or_wait(work, attempt, answer, now, believed, early=attempt.proved_absent)


def _resolve_listed_steps(
    work: Work, attempt: Attempt, answer: Answer | None, now: float, believed: float
) -> Action:
    if answer is not None and answer.asked_at >= attempt.started_at:
        listed = Counter(answer.said.steps or ())
        listed.subtract(earlier(work))  # what earlier attempts brought there
        settled: list[Settled] = []
        missing = False
        for delivery_id, key in zip(attempt.delivery_ids, attempt.step_keys, strict=True):
            if listed[key] > 0:
                listed[key] -= 1
                settled.append(Settled(delivery_id=delivery_id, state=DeliveryState.DELIVERED))
            else:
                missing = True
                settled.append(Settled(delivery_id=delivery_id, state=DeliveryState.PENDING))
        if not missing:
            return _succeeded(work, attempt)
        if answer.asked_at >= believed:
            return Settle(
                close=attempt.attempt_id, settled=tuple(settled), patch=_one_at_a_time(work)
            )
    return _ask_or_wait(work, attempt, answer, now, believed, early=True)


def _resolve_restored_steps(
    work: Work,
    attempt: Attempt,
    plans: Mapping[int, Plan],
    answer: Answer | None,
    now: float,
    believed: float,
) -> Action:
    """Steps that the time lost by a restored ledger may have sent (rule 14).

    They are looked for as they would be sent now. One that is not there although a later one is was passed
    over by somebody, and one that cannot be mapped may be what else is listed: both are for a person.
    """
    if answer is None or answer.asked_at < believed:
        return _ask_or_wait(work, attempt, answer, now, believed, early=False)
    listed = Counter(answer.said.steps or ())
    listed.subtract(earlier(work))
    there: set[int] = set()
    for delivery_id in attempt.delivery_ids:
        plan = plans[delivery_id]
        if plan.refusal is None and listed[plan.content_hash] > 0:
            listed[plan.content_hash] -= 1
            there.add(delivery_id)
    last_there = max((i for i, d in enumerate(attempt.delivery_ids) if d in there), default=-1)
    unexplained = any(count > 0 for count in listed.values())
    settled: list[Settled] = []
    for place, delivery_id in enumerate(attempt.delivery_ids):
        plan = plans[delivery_id]
        if delivery_id in there:
            state, reason = DeliveryState.DELIVERED, None
        elif place < last_there or (plan.refusal is not None and unexplained):
            state, reason = DeliveryState.PARKED, Reason.OUTCOME_UNKNOWN
        elif plan.refusal is not None:
            state, reason = DeliveryState.PARKED, plan.refusal
        else:
            state, reason = DeliveryState.PENDING, None
        settled.append(
            Settled(
                delivery_id=delivery_id,
                state=state,
                reason=reason,
                detail=plan.detail if state is DeliveryState.PARKED else None,
                step_key=plan.content_hash if delivery_id in there else None,
            )
        )
    return Settle(close=attempt.attempt_id, settled=tuple(settled), patch=_one_at_a_time(work))


def _ask_or_wait(
    work: Work, attempt: Attempt, answer: Answer | None, now: float, believed: float, *, early: bool
) -> Action:
    """Ask when "absent" can be believed; once before, where "present" would settle the matter."""
    code = work.dossier.claimed_code
    assert code is not None  # a code is claimed with the first intent
    if now >= believed or (early and answer is None and attempt.outcome is not None):
        return Ask(code=code)
    return Idle(wake_at=believed)


def _resolve_unlisted_steps(
    work: Work, attempt: Attempt, plans: Mapping[int, Plan], abilities: Abilities
) -> Action:
    """Steps that no look-up lists: the dialect decides (rule 6); a supplement request is never guessed."""
    resend = abilities.steps_dedup or abilities.steps_unknown is StepsUnknown.RESEND
    if work.dossier.known is Known.ABSENT:
        # Only after a restore: where there is no dossier there are no steps of it.
        return _again(work, attempt)
    settled = tuple(
        Settled(delivery_id=delivery_id, state=DeliveryState.PENDING)
        if abilities.steps_dedup or (resend and not plans[delivery_id].supplement_request)
        else Settled(
            delivery_id=delivery_id, state=DeliveryState.PARKED, reason=Reason.OUTCOME_UNKNOWN
        )
        for delivery_id in attempt.delivery_ids
    )
    return Settle(close=attempt.attempt_id, settled=settled, patch=_one_at_a_time(work))


def _one_at_a_time(work: Work) -> DossierPatch:
    """Until the next success steps go singly: a chunk that one of them breaks would break again."""
    return DossierPatch(failures=work.dossier.failures + 1)


def _to_all(work: Work, attempt: Attempt, state: DeliveryState) -> tuple[Settled, ...]:
    """The deliveries of an attempt; none where it sent an ended one once more."""
    if attempt.kind is not AttemptKind.STEPS:
        still_open = {row.delivery_id for row in work.rows}
        if not still_open.issuperset(attempt.delivery_ids):
            return ()
    return tuple(Settled(delivery_id=i, state=state) for i in attempt.delivery_ids)


def _succeeded(work: Work, attempt: Attempt) -> Settle:
    delivered = _to_all(work, attempt, DeliveryState.DELIVERED)
    if attempt.kind is AttemptKind.STEPS:
        last = max(row.log_pos for row in work.rows if row.delivery_id in attempt.delivery_ids)
        return Settle(
            close=attempt.attempt_id,
            settled=delivered,
            patch=DossierPatch(last_step=last, failures=0),
        )
    older = tuple(
        row
        for row in _supersede(work, attempt.version, Reason.NEWER_STATE)
        if row.delivery_id not in attempt.delivery_ids
    )
    return Settle(
        close=attempt.attempt_id,
        settled=delivered + older,
        patch=DossierPatch(
            known=Known.PRESENT,
            delivered_version=max(attempt.version, work.dossier.delivered_version),
            delivered_hash=attempt.content_hash,
            failures=0,
        ),
    )


def _again(
    work: Work, attempt: Attempt, *, patch: DossierPatch | None = None, failed: bool = False
) -> Settle:
    if failed:
        patch = replace(patch or DossierPatch(), failures=work.dossier.failures + 1)
    return Settle(
        close=attempt.attempt_id,
        settled=_to_all(work, attempt, DeliveryState.PENDING),
        patch=patch,
    )


def _rejected(work: Work, attempt: Attempt) -> Settle:
    if attempt.kind is AttemptKind.CREATE and attempt.reason is Reason.ALREADY_EXISTS:
        again = _again(work, attempt, patch=DossierPatch(known=Known.PRESENT, clear_hash=True))
        if not attempt.proved_absent:
            return again
        late = Found(reason=Reason.LATE_CREATE, delivery_id=attempt.delivery_ids[0])
        return replace(again, found=(late,))
    if attempt.kind is AttemptKind.UPDATE and attempt.reason is Reason.NOT_FOUND:
        return _again(work, attempt, patch=DossierPatch(known=Known.ABSENT, clear_hash=True))
    if len(attempt.delivery_ids) > 1:
        return _again(work, attempt, failed=True)  # then one at a time, to find the one refused
    reason = attempt.reason or Reason.REJECTED_BY_TARGET
    parked = _to_all(work, attempt, DeliveryState.PARKED)
    if not parked:  # what was delivered before is refused now: nothing to park, but to be seen
        refused = Found(reason=reason, delivery_id=attempt.delivery_ids[0], detail=attempt.detail)
        return Settle(close=attempt.attempt_id, patch=unmended(), found=(refused,))
    return Settle(
        close=attempt.attempt_id,
        settled=tuple(replace(row, reason=reason, detail=attempt.detail) for row in parked),
        patch=DossierPatch(failures=0),
    )


def _supersede(work: Work, version: int, reason: Reason) -> tuple[Settled, ...]:
    """Every open state up to `version`, also one parked for its content (rule 10)."""
    return tuple(
        _to(row, DeliveryState.SUPERSEDED, reason)
        for row in work.rows
        if row.operation is Operation.STATE and row.version <= version
    )


def _to(
    row: DeliveryRow, state: DeliveryState, reason: Reason | None, detail: str | None = None
) -> Settled:
    return Settled(delivery_id=row.delivery_id, state=state, reason=reason, detail=detail)
