"""The core of the delivery engine: given everything known about one dossier at one target, what next?

Pure: no clock, no network, no database. The rules are numbered as in the design of the engine:
two streams (1), intent before bytes (2), late effects (4), unknown is the default (5), asking (6),
abilities (7), one code one citizen (8), parking (10).

Reading order: `next_action` first, then `_resolve` (an attempt is open), then `_state` and `_steps`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from connectors.protocols import Abilities, Lookup, LookupAnswer, StepsUnknown
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
    Work,
)
from schemas.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One row after mapping: what would be sent, or why it cannot be.

    `content_hash` is that of the state, or the key of the step.
    """

    code: str | None = None
    content_hash: str = ""
    supplement_request: bool = False
    refusal: Reason | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A look-up's answer and the database's time at which the question was put, never later."""

    asked_at: float
    said: LookupAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Nothing to do until something is enlisted, or until `wake_at`."""

    wake_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Look the dossier up at the target."""

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """Write to the ledger, without a call."""

    close: str | None = None
    settled: tuple[Settled, ...] = ()
    patch: DossierPatch | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Make one call. `claim` is the code to be claimed with the intent, where it is not ours yet."""

    kind: AttemptKind
    rows: tuple[DeliveryRow, ...]
    code: str
    version: int
    content_hash: str
    claim: str | None = None
    proved_absent: bool = False
    step_keys: tuple[str, ...] = ()


Action = Idle | Ask | Settle | Send


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
    return _state(work, plans) or _steps(work, plans, abilities) or Idle()


def rows_to_map(work: Work, abilities: Abilities) -> tuple[DeliveryRow, ...]:
    """The rows whose plans `next_action` may need: the newest state and the next steps.

    While steps are open that no look-up lists: those steps.
    """
    if work.attempts:
        attempt = work.attempts[0]
        if attempt.kind is not AttemptKind.STEPS or abilities.lookup is Lookup.STEPS:
            return ()
        return tuple(row for row in work.rows if row.delivery_id in attempt.delivery_ids)
    newest = newest_state(work)
    steps = _next_steps(work, abilities)
    return ((newest,) if newest is not None else ()) + steps


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
    holds_it = dossier.known is Known.PRESENT or (
        dossier.known is Known.UNKNOWN and dossier.born_on_portal
    )
    return Send(
        kind=AttemptKind.UPDATE if holds_it else AttemptKind.CREATE,
        rows=(newest,),
        code=plan.code,
        version=newest.version,
        content_hash=plan.content_hash,
        claim=plan.code if dossier.claimed_code is None else None,
        proved_absent=dossier.known is Known.ABSENT,
    )


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
        return _succeeded(work, attempt)
    if attempt.outcome is Outcome.FAILED:
        return _again(work, attempt, failed=True)
    if attempt.outcome is Outcome.REJECTED:
        return _rejected(work, attempt)
    # Unknown, or its maker never came back.
    over = attempt.started_at + send_by + abilities.late_effect_bound
    if attempt.kind is AttemptKind.UPDATE:
        if now < over:
            return Idle(wake_at=over)
        return _again(work, attempt, patch=DossierPatch(clear_hash=True))
    believed = over + abilities.lookup_lag
    if attempt.kind is AttemptKind.CREATE:
        return _resolve_create(work, attempt, answer, now, believed)
    if abilities.lookup is Lookup.STEPS:
        return _resolve_listed_steps(work, attempt, answer, now, believed)
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
        listed.subtract(work.settled_keys)  # what earlier attempts brought there
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


def _succeeded(work: Work, attempt: Attempt) -> Settle:
    delivered = tuple(
        Settled(delivery_id=delivery_id, state=DeliveryState.DELIVERED)
        for delivery_id in attempt.delivery_ids
    )
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
        settled=tuple(
            Settled(delivery_id=delivery_id, state=DeliveryState.PENDING)
            for delivery_id in attempt.delivery_ids
        ),
        patch=patch,
    )


def _rejected(work: Work, attempt: Attempt) -> Settle:
    if attempt.kind is AttemptKind.CREATE and attempt.reason is Reason.ALREADY_EXISTS:
        return _again(work, attempt, patch=DossierPatch(known=Known.PRESENT, clear_hash=True))
    if attempt.kind is AttemptKind.UPDATE and attempt.reason is Reason.NOT_FOUND:
        return _again(work, attempt, patch=DossierPatch(known=Known.ABSENT, clear_hash=True))
    if len(attempt.delivery_ids) > 1:
        return _again(work, attempt, failed=True)  # then one at a time, to find the one refused
    reason = attempt.reason or Reason.REJECTED_BY_TARGET
    return Settle(
        close=attempt.attempt_id,
        settled=tuple(
            Settled(
                delivery_id=delivery_id,
                state=DeliveryState.PARKED,
                reason=reason,
                detail=attempt.detail,
            )
            for delivery_id in attempt.delivery_ids
        ),
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
