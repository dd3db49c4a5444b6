"""The errand of one dossier at one target: from being loaded until it is idle.

It asks the core what is next, writes the ledger, makes the call, and settles what came of it. Whoever
dies here, at whatever await, leaves rows from which the next owner goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Generic, TypeVar

from connectors.errors import (
    DeliveryError,
    MisconfiguredError,
    OutcomeUnknown,
    RejectedError,
    TransientError,
)
from connectors.protocols import Deliverable, Intent, Receipt
from monitoring.crash_points import CrashPoint, crash_point
from schemas.ledger.model import (
    Applied,
    Attempt,
    AttemptKind,
    AttemptOutcome,
    Change,
    DeliveryRow,
    DeliveryState,
    Fence,
    Finding,
    LedgerRefuses,
    LedgerUnavailable,
    Operation,
    Outcome,
    Settled,
    Verdict,
    Work,
)
from schemas.reasons import Reason
from streams.engine.actions import Answer, Ask, Idle, Plan, Send, Settle
from streams.engine.decide import next_action, rows_to_map
from streams.engine.dispatch import Dispatch, LetGo
from streams.engine.evolve import evolve, with_outcome
from streams.engine.plans import Prepared, prepare
from streams.engine.refused import parking, without_words

E = TypeVar("E", bound=Deliverable)


class Errand(Generic[E]):
    """The work on one dossier, from loading to idle."""

    def __init__(self, dispatch: Dispatch[E], work: Work, fence: Fence) -> None:
        self._dispatch = dispatch
        self._sink = dispatch.sink
        self._options = dispatch.options
        self._work = work
        self._fence = fence
        self._prepared: dict[int, Prepared] = {}
        self._decoded: tuple[str, E] | None = None
        self._answer: Answer | None = None
        self._session_errors = 0
        self._codes = dispatch.codes()

    async def run(self) -> None:
        """Ask the core and do what it says, until the dossier is idle.

        Raises `LedgerRefuses` when the ledger takes not even the change that parks the dossier.
        """
        try:
            await self._run()
        except LedgerRefuses as refusal:
            await self._park(refusal)

    async def _park(self, refusal: LedgerRefuses) -> None:
        """Nobody but a person can help a dossier whose changes the database will not hold."""
        await self._read_again()
        action = parking(self._work, refusal)
        await self._write(self._change(settle=action, release=True))
        self._report(action)

    async def _run(self) -> None:
        while True:
            if any(not row.payload for row in rows_to_map(self._work, self._sink.abilities)):
                await self._read_again()  # the ledger sends the payload of the newest state only
            plans = await self._plans()
            action = next_action(
                self._work,
                plans,
                self._answer,
                self._dispatch.database_now(),
                self._sink.abilities,
                self._options.send_by,
            )
            match action:
                case Idle():
                    if await self._idle(action):
                        return
                case Settle():
                    if await self._write(self._change(settle=action)):
                        self._report(action)
                    else:
                        await self._read_again()
                case Ask():
                    await self._ask(action)
                case Send():
                    await self._send(action)

    async def _plans(self) -> Mapping[int, Plan]:
        for row in rows_to_map(self._work, self._sink.abilities):
            prepared = self._prepared.get(row.delivery_id)
            # Only of the state that should be there is it of interest what a look-up would show.
            compared = row is self._work.delivered
            if prepared is None or (compared and not prepared.compared):
                event = await self._event(row)
                self._prepared[row.delivery_id] = prepare(
                    row, event, self._sink, self._codes, compared=compared
                )
        return {key: prepared.plan for key, prepared in self._prepared.items()}

    async def _event(self, row: DeliveryRow) -> E:
        # A state and a step of one event lie side by side: decoding costs as much as mapping.
        if self._decoded is None or self._decoded[0] != row.event_id:
            self._decoded = (row.event_id, await self._dispatch.decode(row.payload))
        return self._decoded[1]

    async def _idle(self, action: Idle) -> bool:
        if self._work.more and not any(r.operation is Operation.STEP for r in self._work.rows):
            await self._read_again()  # the steps that were cut off are next
            return False
        await self._release(action.wake_at)
        return True

    async def _release(self, wake_at: float | None) -> None:
        await self._commit(self._change(release=True, wake_at=wake_at))

    async def _read_again(self) -> None:
        self._work = await self._dispatch.ledger.reload(
            self._dispatch.target, self._work.dossier.dossier_id
        )

    # --- asking ------------------------------------------------------------------------------------

    async def _ask(self, action: Ask) -> None:
        dispatch = self._dispatch
        dossier_id = self._work.dossier.dossier_id
        async with dispatch.passage():
            asked_at = dispatch.database_now()
            try:
                said = await self._sink.look_up(action.code)
            except TransientError as error:
                dispatch.events.asked(dispatch.target, dossier_id, None, error.reason)
                if error.reason is Reason.SESSION_EXPIRED and self._may_retry_session():
                    return
                dispatch.circuit.failed(error)
                await self._back_off()
            except Exception as raised:
                # Asking changes nothing: whatever went wrong, asking again is harmless.
                trouble = _foreseen(raised)
                dispatch.events.asked(dispatch.target, dossier_id, None, trouble.reason)
                dispatch.circuit.failed(trouble)
                await self._back_off()
            else:
                dispatch.circuit.answered()
                dispatch.events.asked(dispatch.target, dossier_id, said.present, "")
                self._answer = Answer(asked_at=asked_at, said=said)
                # Its maker may have said meanwhile how the attempt ended: outcomes come before answers.
                await self._read_again()

    async def _back_off(self) -> None:
        pause = self._dispatch.backoff(self._work.dossier.failures)
        await self._release(self._dispatch.database_now() + pause)
        raise LetGo

    def _may_retry_session(self) -> bool:
        self._session_errors += 1
        return self._session_errors <= self._options.session_retries

    # --- sending -----------------------------------------------------------------------------------

    async def _send(self, action: Send) -> None:
        with ExitStack() as unsettled:
            async with self._dispatch.passage():
                unsettled.enter_context(self._dispatch.unsettled_call())
                intent = await self._intend(action)
                if intent is None:
                    return
                crash_point(CrashPoint.AFTER_INTENT)
                outcome, error = await self._call(action, intent)
            crash_point(CrashPoint.AFTER_ANSWER)
            await self._settle(outcome, error)
            crash_point(CrashPoint.AFTER_SETTLE)

    async def _intend(self, action: Send) -> Intent | None:
        """Commit the intent, and with it the claim of the code. None: the code is another dossier's."""
        dispatch = self._dispatch
        attempt = Attempt(
            attempt_id=dispatch.new_id(),
            kind=action.kind,
            delivery_ids=tuple(row.delivery_id for row in action.rows),
            version=action.version,
            content_hash=action.content_hash,
            proved_absent=action.proved_absent,
            epoch=self._fence.epoch,
            started_at=0.0,
            step_keys=action.step_keys,
        )
        noticed_at = dispatch.clock()
        change = self._change(intent=attempt, claim=action.claim)
        try:
            applied = await self._commit(change)
        except LedgerUnavailable:
            # It may be written all the same, and only we know that nothing was sent.
            unsent = AttemptOutcome(
                attempt_id=attempt.attempt_id, outcome=Outcome.FAILED, reason=Reason.NOT_SENT
            )
            await self._commit(self._change(outcome=unsent))
            raise LetGo from None
        if applied.verdict is Verdict.CODE_TAKEN:
            taken = Settle(
                settled=tuple(
                    Settled(
                        delivery_id=row.delivery_id,
                        state=DeliveryState.PARKED,
                        reason=Reason.CODE_CONFLICT,
                    )
                    for row in action.rows
                )
            )
            await self._write(self._change(settle=taken))
            self._report(taken)
            return None
        self._work = evolve(self._work, change, applied.at)
        self._answer = None
        return Intent(
            attempt_id=attempt.attempt_id, noticed_at=noticed_at, send_by=self._options.send_by
        )

    async def _call(
        self, action: Send, intent: Intent
    ) -> tuple[AttemptOutcome, DeliveryError | None]:
        dispatch = self._dispatch
        began = dispatch.clock()
        error: DeliveryError | None = None
        receipt: Receipt | None = None
        try:
            receipt = await self._wire(action, intent)
        except Exception as raised:
            # Whatever we did not foresee may have happened after the first byte.
            error = _foreseen(raised)
        outcome = _OUTCOMES[type(error)]
        if error is None or isinstance(error, RejectedError):
            dispatch.circuit.answered()
        elif error.reason not in _NOT_THE_TARGETS_FAULT:
            dispatch.circuit.failed(error)
        dispatch.events.attempt_ended(
            dispatch.target,
            action.kind,
            self._work.dossier.dossier_id,
            outcome,
            error.reason if error is not None else None,
            dispatch.clock() - began,
            error.detail if error is not None else "",
        )
        exchange = receipt.exchange if receipt is not None else error.exchange if error else None
        dossier_id = self._work.dossier.dossier_id
        request = exchange.request if exchange is not None else None
        answer = exchange.answer if exchange is not None else None
        said = AttemptOutcome(
            attempt_id=intent.attempt_id,
            outcome=outcome,
            reason=error.reason if error is not None else None,
            detail=(error.detail or None) if error is not None else None,
            reference=receipt.reference if receipt is not None else None,
            request=dispatch.seal(request, dossier_id) if request is not None else None,
            answer=dispatch.seal(answer, dossier_id) if answer is not None else None,
        )
        return said, error

    async def _wire(self, action: Send, intent: Intent) -> Receipt:
        prepared = [self._prepared[row.delivery_id] for row in action.rows]
        if action.kind is AttemptKind.STEPS:
            steps = [p.step for p in prepared if p.step is not None]
            return await self._sink.append_steps(action.code, steps, intent)
        state = prepared[0].state
        assert state is not None
        if action.kind is AttemptKind.CREATE:
            return await self._sink.create(state, intent)
        return await self._sink.update(state, intent)

    async def _settle(self, outcome: AttemptOutcome, error: DeliveryError | None) -> None:
        """Write the outcome, and in the same change what follows from it."""
        if outcome.outcome is Outcome.UNKNOWN:
            await self._write(self._change(outcome=outcome))
            return
        after = with_outcome(self._work, outcome)
        now = self._dispatch.database_now()
        action = next_action(after, {}, None, now, self._sink.abilities, self._options.send_by)
        assert isinstance(action, Settle)
        retry_now = (
            error is not None
            and error.reason is Reason.SESSION_EXPIRED
            and self._may_retry_session()
        )
        if outcome.outcome is Outcome.FAILED and not retry_now:
            wake_at = now + self._dispatch.backoff(after.dossier.failures)
            await self._write(
                self._change(outcome=outcome, settle=action, release=True, wake_at=wake_at)
            )
            raise LetGo
        await self._write(self._change(outcome=outcome, settle=action))
        self._report(action)

    # --- writing -----------------------------------------------------------------------------------

    def _change(
        self,
        *,
        outcome: AttemptOutcome | None = None,
        intent: Attempt | None = None,
        claim: str | None = None,
        settle: Settle | None = None,
        release: bool = False,
        wake_at: float | None = None,
    ) -> Change:
        dossier = self._work.dossier
        settle = settle or Settle()
        return Change(
            dossier_id=dossier.dossier_id,
            target=dossier.target,
            fence=self._fence,
            outcome=outcome,
            claim=claim,
            intent=intent,
            close=settle.close,
            unless_said=outcome is None and self._is_silent(settle.close),
            settled=settle.settled,
            patch=settle.patch,
            findings=tuple(
                Finding(
                    finding_id=self._dispatch.new_id(),
                    reason=found.reason,
                    delivery_id=found.delivery_id,
                    step_key=found.step_key,
                    detail=found.detail,
                )
                for found in settle.found
            ),
            release_seq=dossier.work_seq if release else None,
            wake_at=wake_at,
        )

    def _is_silent(self, attempt_id: str | None) -> bool:
        return any(a.attempt_id == attempt_id and a.outcome is None for a in self._work.attempts)

    async def _write(self, change: Change) -> bool:
        """False: an attempt's maker said meanwhile how it ended, so this was decided on old knowledge."""
        applied = await self._commit(change)
        if applied.verdict is Verdict.OVERTAKEN:
            return False
        self._work = evolve(self._work, change, applied.at)
        return True

    async def _commit(self, change: Change) -> Applied:
        try:
            return await self._dispatch.commit(change)
        except LedgerRefuses:
            plain = without_words(change)
            if plain == change:
                raise
            return await self._dispatch.commit(plain)

    def _report(self, action: Settle) -> None:
        dispatch = self._dispatch
        dossier_id = self._work.dossier.dossier_id
        delivered = [s for s in action.settled if s.state is DeliveryState.DELIVERED]
        if delivered:
            times = [
                self._prepared[s.delivery_id].effective_at
                for s in delivered
                if s.delivery_id in self._prepared
            ]
            latency = dispatch.database_now() - min(times) if times else -1.0
            dispatch.events.delivered(dispatch.target, dossier_id, len(delivered), latency)
        for found in action.found:
            dispatch.events.found(dispatch.target, dossier_id, found.reason, found.detail or "")
        for settled in action.settled:
            if settled.state is DeliveryState.PARKED:
                dispatch.events.parked(
                    dispatch.target, dossier_id, settled.reason, settled.detail or ""
                )


def _foreseen(error: Exception) -> DeliveryError:
    """The error as the sink's contract has it; anything else is an unknown outcome (rule 5)."""
    if isinstance(error, DeliveryError):
        return error
    return OutcomeUnknown(Reason.UNCLASSIFIED_ERROR, type(error).__name__)


_OUTCOMES: dict[type[DeliveryError] | type[None], Outcome] = {
    type(None): Outcome.DELIVERED,
    TransientError: Outcome.FAILED,
    MisconfiguredError: Outcome.FAILED,
    OutcomeUnknown: Outcome.UNKNOWN,
    RejectedError: Outcome.REJECTED,
}

_NOT_THE_TARGETS_FAULT = frozenset({Reason.NOT_SENT, Reason.SESSION_EXPIRED})
