"""Applying a group of the engine's changes in one transaction, set-wise by kind of statement.

Locks are taken in one order everywhere: position rows by partition, then attempts, claims, deliveries by
id, then dossiers, so that two workers wait for each other instead of deadlocking.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    Boolean,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    false,
    func,
    null,
    select,
    tuple_,
    update,
)

from schemas.ledger.dialect import (
    clock,
    insert_or_skip,
    insert_or_update,
    locked,
    to_moment,
    without_nul,
)
from schemas.ledger.fences import holding
from schemas.ledger.model import Applied, AttemptOutcome, Change, DeliveryState, Verdict, Verify
from schemas.ledger.tables import OPEN_DELIVERY, attempts, claims, content, deliveries, findings
from schemas.ledger.tables import dossier_target as dt
from schemas.ledger.written import Written

ENDS = frozenset({DeliveryState.DELIVERED, DeliveryState.SUPERSEDED, DeliveryState.DISCARDED})


def apply(connection: Connection, changes: Sequence[Change]) -> list[Applied]:
    """One verdict per change, in order. Everything is written, or (when it raises) nothing."""
    holds = holding(connection, {change.fence for change in changes}, lock=True)
    # Read after the locks: waiting for them must not make an intent look older than it is.
    at = clock(connection)
    _append_outcomes(connection, [c.outcome for c in changes if c.outcome], at)
    verdicts = [Verdict.DONE if c.fence in holds else Verdict.STALE for c in changes]
    for i in _overtaken(connection, changes):
        if verdicts[i] is Verdict.DONE:
            verdicts[i] = Verdict.OVERTAKEN
    for wave in _waves(changes, verdicts):
        owners = _claim(connection, [changes[i] for i in wave])
        for i in wave:
            change = changes[i]
            if (
                change.claim
                and owners[change.target, without_nul(change.claim)] != change.dossier_id
            ):
                verdicts[i] = Verdict.CODE_TAKEN
        _write(connection, [changes[i] for i in wave if verdicts[i] is Verdict.DONE], at)
    return [Applied(verdict=verdict, at=at) for verdict in verdicts]


_SAID = (
    select(attempts.c.attempt_id, attempts.c.outcome)
    .where(attempts.c.attempt_id.in_(bindparam("attempts", expanding=True)))
    .order_by(attempts.c.attempt_id)
)


def _overtaken(connection: Connection, changes: Sequence[Change]) -> list[int]:
    """The changes that would close a silent attempt whose maker has spoken since they were decided."""
    closing = {c.close: i for i, c in enumerate(changes) if c.close and c.unless_said}
    if not closing:
        return []
    # Locked, so that an outcome that is being written elsewhere is waited for.
    query = locked(connection, _SAID, shared=False)
    rows = connection.execute(query, {"attempts": sorted(closing)})
    return [closing[row.attempt_id] for row in rows if row.outcome is not None]


def _waves(changes: Sequence[Change], verdicts: Sequence[Verdict]) -> list[list[int]]:
    """The indexes to write, so that no wave holds a dossier twice and their order is kept."""
    waves: list[list[int]] = []
    depth: dict[tuple[str, str], int] = {}
    for i, change in enumerate(changes):
        if verdicts[i] is not Verdict.DONE:
            continue
        key = (change.target, change.dossier_id)
        level = depth.get(key, 0)
        depth[key] = level + 1
        if level == len(waves):
            waves.append([])
        waves[level].append(i)
    return waves


_OUTCOME = Written(
    update(attempts)
    # The first word stands: only its maker knew, and a later look-up says it by closing the attempt.
    .where(attempts.c.attempt_id == bindparam("b_id"), attempts.c.outcome.is_(None))
    .values(
        outcome=bindparam("b_outcome"),
        outcome_at=bindparam("b_at"),
        reason=bindparam("b_reason"),
        detail=bindparam("b_detail"),
        reference=bindparam("b_reference"),
    )
)


_CONTENT = Written(lambda connection: insert_or_skip(connection, content, ["attempt_id"]))


def _append_outcomes(connection: Connection, outcomes: list[AttemptOutcome], at: float) -> None:
    if not outcomes:
        return
    moment = to_moment(at)
    _OUTCOME.run(
        connection,
        [
            {
                "b_id": o.attempt_id,
                "b_outcome": o.outcome.value,
                "b_at": moment,
                "b_reason": o.reason.value if o.reason else None,
                "b_detail": o.detail,
                "b_reference": o.reference,
            }
            for o in sorted(outcomes, key=lambda o: o.attempt_id)
        ],
    )
    bodies = [
        {"attempt_id": o.attempt_id, "request": o.request, "answer": o.answer}
        for o in sorted(outcomes, key=lambda o: o.attempt_id)
        if o.request is not None or o.answer is not None
    ]
    if bodies:
        _CONTENT.run(connection, bodies)


_CLAIM = Written(lambda connection: insert_or_skip(connection, claims, ["target", "code"]))

_CLAIMANTS = select(claims.c.target, claims.c.code, claims.c.dossier_id).where(
    tuple_(claims.c.target, claims.c.code).in_(bindparam("codes", expanding=True))
)


def _claim(connection: Connection, changes: list[Change]) -> dict[tuple[str, str], str]:
    """Claim the codes; the first claimant of the group wins. Returns who owns each."""
    wanted = [c for c in changes if c.claim]
    if not wanted:
        return {}
    wanted.sort(key=lambda c: (c.target, c.claim or ""))
    _CLAIM.run(
        connection,
        [{"target": c.target, "code": c.claim, "dossier_id": c.dossier_id} for c in wanted],
    )
    rows = connection.execute(_CLAIMANTS, {"codes": [(c.target, c.claim) for c in wanted]})
    return {(row.target, row.code): row.dossier_id for row in rows}


_INTENT = Written(
    # The answer to a COMMIT can be lost and the group repeated: the intent is then the same one, begun
    # now, for nothing was written to the wire in between.
    lambda connection: insert_or_update(
        connection,
        attempts,
        ["attempt_id"],
        {"started_at": "started_at"},
        where=and_(attempts.c.outcome.is_(None), attempts.c.closed_at.is_(None)),
    ),
    columns=(
        "attempt_id",
        "dossier_id",
        "target",
        "kind",
        "delivery_ids",
        "version",
        "content_hash",
        "proved_absent",
        "epoch",
        "started_at",
    ),
)

_SEND = Written(
    update(deliveries)
    .where(
        deliveries.c.delivery_id == bindparam("b_id"),
        deliveries.c.target == bindparam("b_target"),
        deliveries.c.dossier_id == bindparam("b_dossier"),
        OPEN_DELIVERY,
    )
    .values(
        state=DeliveryState.SENDING.value,
        reason=None,
        detail=None,
        attempt_id=bindparam("b_attempt"),
        step_key=bindparam("b_key"),
    )
)

_CLOSE = Written(
    update(attempts)
    .where(
        attempts.c.attempt_id == bindparam("b_id"),
        attempts.c.target == bindparam("b_target"),
        attempts.c.dossier_id == bindparam("b_dossier"),
        attempts.c.closed_at.is_(None),
    )
    .values(closed_at=bindparam("b_at"))
)


def _given(name: str, column: ColumnElement[Any]) -> BindParameter[Any]:
    """A parameter of the column's type: inside CASE and COALESCE nothing else would say so."""
    return bindparam(name, type_=column.type)


_d = deliveries.c
_kept = bindparam("b_keep", type_=Boolean())

_SETTLE = Written(
    update(deliveries)
    .where(
        _d.delivery_id == bindparam("b_id"),
        _d.target == bindparam("b_target"),
        _d.dossier_id == bindparam("b_dossier"),
        OPEN_DELIVERY,  # an ended row never changes again
    )
    .values(
        state=bindparam("b_state"),
        # What a superseded row was parked for stays readable.
        reason=case((_kept, _d.reason), else_=_given("b_reason", _d.reason)),
        detail=case((_kept, _d.detail), else_=_given("b_detail", _d.detail)),
        settled_at=bindparam("b_settled"),
        attempt_id=case(
            (_given("b_receipt", _d.receipt).is_not(None), _given("b_attempt", _d.attempt_id)),
            else_=_d.attempt_id,
        ),
        receipt=bindparam("b_receipt"),
        step_key=func.coalesce(_given("b_key", _d.step_key), _d.step_key),
    )
)

_released = _given("b_release", dt.c.work_seq) == dt.c.work_seq

_DOSSIER = Written(
    update(dt)
    .where(dt.c.target == bindparam("b_target"), dt.c.dossier_id == bindparam("b_dossier"))
    .values(
        known=func.coalesce(_given("b_known", dt.c.known), dt.c.known),
        delivered_version=func.coalesce(
            _given("b_version", dt.c.delivered_version), dt.c.delivered_version
        ),
        delivered_hash=case(
            (bindparam("b_clear", type_=Boolean()), null()),
            else_=func.coalesce(_given("b_hash", dt.c.delivered_hash), dt.c.delivered_hash),
        ),
        last_step=func.coalesce(_given("b_step", dt.c.last_step), dt.c.last_step),
        failures=func.coalesce(_given("b_failures", dt.c.failures), dt.c.failures),
        claimed_code=func.coalesce(_given("b_claim", dt.c.claimed_code), dt.c.claimed_code),
        runnable=case((_released, false()), else_=dt.c.runnable),
        wake_at=case((_released, _given("b_wake", dt.c.wake_at)), else_=dt.c.wake_at),
    )
)


# Apart from the statement above: few dossiers owe a verification, and that one is on everybody's way.
_VERIFY = Written(
    update(dt)
    .where(dt.c.target == bindparam("b_target"), dt.c.dossier_id == bindparam("b_dossier"))
    .values(verification=bindparam("b_stage"), verify_at=bindparam("b_due_at"))
)

_FOUND = Written(lambda connection: insert_or_skip(connection, findings, ["finding_id"]))


def _keep_findings(connection: Connection, changes: list[Change], moment: datetime) -> None:
    found = [
        {
            "finding_id": finding.finding_id,
            "target": change.target,
            "dossier_id": change.dossier_id,
            "found_at": moment,
            "reason": finding.reason.value,
            "delivery_id": finding.delivery_id,
            "step_key": finding.step_key,
            "detail": finding.detail,
        }
        for change in changes
        for finding in change.findings
    ]
    if found:
        _FOUND.run(connection, found)


def _write(connection: Connection, changes: list[Change], at: float) -> None:
    moment = to_moment(at)
    intents: list[dict[str, Any]] = []
    sending: list[dict[str, Any]] = []
    closing: list[dict[str, Any]] = []
    settling: list[dict[str, Any]] = []
    dossiers: list[dict[str, Any]] = []
    verifying: list[dict[str, Any]] = []
    for c in changes:
        key = {"b_target": c.target, "b_dossier": c.dossier_id}
        if (intent := c.intent) is not None:
            intents.append(
                {
                    "attempt_id": intent.attempt_id,
                    "dossier_id": c.dossier_id,
                    "target": c.target,
                    "kind": intent.kind.value,
                    "delivery_ids": json.dumps(intent.delivery_ids),
                    "version": intent.version,
                    "content_hash": intent.content_hash,
                    "proved_absent": intent.proved_absent,
                    "epoch": intent.epoch,
                    "started_at": moment,
                }
            )
            step_keys = intent.step_keys or (None,) * len(intent.delivery_ids)
            sending.extend(
                {**key, "b_id": i, "b_attempt": intent.attempt_id, "b_key": step_key}
                for i, step_key in zip(intent.delivery_ids, step_keys, strict=True)
            )
        if c.close is not None:
            closing.append({**key, "b_id": c.close, "b_at": moment})
        settling.extend(_settled_rows(c, key, at))
        if c.patch is not None or c.claim is not None or c.release_seq is not None:
            dossiers.append(_dossier_row(c, key))
        if c.patch is not None and c.patch.verify is not None:
            verifying.append(_verify_row(c.patch.verify, key, at))
    if intents:
        intents.sort(key=lambda row: row["attempt_id"])
        _INTENT.run(connection, intents)
    if closing:
        _CLOSE.run(connection, sorted(closing, key=lambda row: row["b_id"]))
    if sending:
        _SEND.run(connection, sorted(sending, key=lambda row: row["b_id"]))
    if settling:
        _SETTLE.run(connection, sorted(settling, key=lambda row: row["b_id"]))
    if dossiers:
        dossiers.sort(key=lambda row: (row["b_target"], row["b_dossier"]))
        _DOSSIER.run(connection, dossiers)
    if verifying:
        verifying.sort(key=lambda row: (row["b_target"], row["b_dossier"]))
        _VERIFY.run(connection, verifying)
    _keep_findings(connection, changes, moment)


def _settled_rows(change: Change, key: dict[str, Any], at: float) -> list[dict[str, Any]]:
    attempt_id = change.close or (change.outcome.attempt_id if change.outcome else None)
    return [
        {
            **key,
            "b_id": s.delivery_id,
            "b_state": s.state.value,
            "b_keep": s.state is DeliveryState.SUPERSEDED and s.reason is None,
            "b_reason": s.reason.value if s.reason else None,
            "b_detail": s.detail,
            "b_settled": to_moment(at) if s.state in ENDS else None,
            "b_attempt": attempt_id if s.state is DeliveryState.DELIVERED else None,
            "b_receipt": "owed" if s.state is DeliveryState.DELIVERED else None,
            "b_key": s.step_key,
        }
        for s in change.settled
    ]


def _verify_row(verify: Verify, key: dict[str, Any], at: float) -> dict[str, Any]:
    due_at = verify.due_at(at)
    return {
        **key,
        "b_stage": verify.stage.value if verify.stage is not None else None,
        "b_due_at": to_moment(due_at) if due_at is not None else None,
    }


def _dossier_row(change: Change, key: dict[str, Any]) -> dict[str, Any]:
    patch = change.patch
    return {
        **key,
        "b_known": patch.known.value if patch and patch.known else None,
        "b_version": patch.delivered_version if patch else None,
        "b_clear": patch.clear_hash if patch else False,
        "b_hash": patch.delivered_hash if patch else None,
        "b_step": patch.last_step if patch else None,
        "b_failures": patch.failures if patch else None,
        "b_claim": change.claim,
        "b_release": change.release_seq,
        "b_wake": to_moment(change.wake_at) if change.wake_at is not None else None,
    }
