"""The engine's shell: does what the core decides, and owns everything the core must not see.

One engine per target. It loads runnable dossiers of the partitions it owns, nearest legal deadline first,
and gives each a task that asks the core, writes the ledger and makes calls until the dossier is idle.
Whoever dies here, at whatever await, leaves rows from which the next owner goes on.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from connectors.errors import (
    DeliveryError,
    MisconfiguredError,
    OutcomeUnknown,
    RejectedError,
    TransientError,
)
from connectors.protocols import Intent, Receipt, Sink
from schemas.dossier.mappings import Codes
from schemas.ledger.model import (
    Applied,
    Attempt,
    AttemptKind,
    AttemptOutcome,
    Change,
    DeliveryRow,
    DeliveryState,
    EngineLedger,
    Fence,
    LedgerUnavailable,
    Outcome,
    Settled,
    Verdict,
    Work,
)
from schemas.reasons import Reason
from schemas.records import DossierEvent
from streams.engine.circuit import Circuit, CircuitOptions
from streams.engine.decide import Answer, Ask, Idle, Plan, Send, Settle, next_action, rows_to_map
from streams.engine.evolve import evolve, with_outcome
from streams.engine.group_commit import GroupCommit
from streams.engine.plans import Prepared, prepare


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Numbers of the engine; times in seconds. `quota` is calls per second, None for no limit."""

    in_flight: int = 16
    window: int = 2000
    load: int = 200
    send_by: float = 2.0
    group_window: float = 0.005
    group_rows: int = 200
    poll_seconds: float = 1.0
    backoff_first: float = 1.0
    backoff_max: float = 300.0
    session_retries: int = 3
    quota: float | None = None
    circuit: CircuitOptions = field(default_factory=CircuitOptions)


Decode = Callable[[bytes], Awaitable[DossierEvent]]


class EngineEvents(Protocol):
    """What the engine reports; one call logs and counts (`monitoring.events`)."""

    def attempt_ended(
        self,
        target: str,
        kind: AttemptKind,
        dossier_id: str,
        outcome: Outcome,
        reason: Reason | None,
        seconds: float,
        detail: str,
    ) -> None: ...

    def delivered(self, target: str, dossier_id: str, count: int, latency: float) -> None: ...

    def parked(self, target: str, dossier_id: str, reason: Reason | None, detail: str) -> None: ...

    def asked(self, target: str, dossier_id: str, present: bool | None, reason: str) -> None: ...

    def in_flight(self, target: str, calls: int) -> None: ...

    def circuit_changed(self, target: str, is_open: bool, reason: Reason | None) -> None: ...

    def ledger_unavailable(self, target: str) -> None: ...

    def started(self, target: str) -> None: ...

    def stopped(self, target: str) -> None: ...


class _LetGo(Exception):
    """This dossier is no longer ours, or the ledger is away: leave it as it stands in the ledger."""


class Engine:
    """Delivers what the ledger owes one target.

    `fences` yields the partitions owned now; `clock` is a monotonic clock that runs through suspension,
    in seconds; `seal` seals request and answer bodies (plain, dossier id).
    """

    def __init__(
        self,
        *,
        sink: Sink,
        ledger: EngineLedger,
        decode: Decode,
        codes: Callable[[], Codes],
        fences: Callable[[], Sequence[Fence]],
        clock: Callable[[], float],
        seal: Callable[[bytes, str], bytes],
        events: EngineEvents,
        options: EngineOptions | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._sink = sink
        self._ledger = ledger
        self._decode = decode
        self._codes = codes
        self._fences = fences
        self._clock = clock
        self._seal = seal
        self._events = events
        self._options = options or EngineOptions()
        self._rng = rng or random.Random()
        self._group = GroupCommit(
            ledger, window=self._options.group_window, rows=self._options.group_rows
        )
        self._circuit = Circuit(self._options.circuit, sink.probe, self._circuit_changed)
        self._slots = asyncio.Semaphore(self._options.in_flight)
        self._calls = 0
        self._next_call = 0.0
        self._active: dict[str, asyncio.Task[None]] = {}
        self._notified: set[str] = set()
        self._unsettled = 0
        self._settled = asyncio.Event()
        self._settled.set()
        self._wake = asyncio.Event()
        self._stopping = False
        self._failure: BaseException | None = None
        self._database_ahead = 0.0
        self.beats = 0
        """Raised at every turn of the loop: liveness watches that it moves."""

    @property
    def target(self) -> str:
        """The target this engine delivers to."""
        return self._sink.target

    @property
    def circuit_open(self) -> bool:
        """Whether calls are held back because the target is in trouble."""
        return self._circuit.is_open

    def notify(self, dossier_ids: Iterable[str] = ()) -> None:
        """Something was enlisted: look now, not at the next poll."""
        self._notified.update(self._active.keys() & set(dossier_ids))
        self._wake.set()

    async def run(self) -> None:
        """Deliver until stopped. Raises what no rule foresees: then the process must end."""
        helpers = [asyncio.create_task(self._group.run()), asyncio.create_task(self._circuit.run())]
        self._events.started(self.target)
        try:
            while not self._stopping:
                self.beats += 1
                loaded = await self._load()
                if self._failure is not None:
                    raise self._failure
                if not loaded or len(self._active) >= self._options.window:
                    await self._pause()
            await self._settled.wait()
        finally:
            self._events.stopped(self.target)
            for task in [*self._active.values(), *helpers]:
                task.cancel()
            await asyncio.gather(*self._active.values(), *helpers, return_exceptions=True)

    def stop(self) -> None:
        """Begin no new call; `run` returns once every call in flight is settled."""
        self._stopping = True
        self._wake.set()

    # --- loading -----------------------------------------------------------------------------------

    async def _load(self) -> int:
        self._wake.clear()
        room = min(self._options.window - len(self._active), self._options.load)
        fences = self._fences()
        if room <= 0 or not fences:
            return 0
        try:
            self._told(await self._ledger.now(), self._clock())
            works = await self._ledger.runnable(self.target, fences, room, frozenset(self._active))
        except LedgerUnavailable:
            self._events.ledger_unavailable(self.target)
            return 0
        by_partition = {fence.partition: fence for fence in fences}
        for work in works:
            fence = by_partition.get(work.dossier.partition)
            if fence is not None and work.dossier.dossier_id not in self._active:
                self._begin(work, fence)
        return len(works)

    def _begin(self, work: Work, fence: Fence) -> None:
        dossier_id = work.dossier.dossier_id
        task = asyncio.create_task(self._dossier(work, fence))
        self._active[dossier_id] = task
        task.add_done_callback(lambda done: self._ended(dossier_id, done))

    def _ended(self, dossier_id: str, task: asyncio.Task[None]) -> None:
        del self._active[dossier_id]
        if dossier_id in self._notified:
            self._notified.discard(dossier_id)
            self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
            self._wake.set()
        elif len(self._active) < self._options.window // 2:
            self._wake.set()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._options.poll_seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    # --- one dossier -------------------------------------------------------------------------------

    async def _dossier(self, work: Work, fence: Fence) -> None:
        try:
            await _Errand(self, work, fence).run()
        except _LetGo:
            pass
        except LedgerUnavailable:
            self._events.ledger_unavailable(self.target)

    async def _commit(self, change: Change) -> Applied:
        applied = await self._group.commit(change)
        if applied.verdict is Verdict.STALE:
            raise _LetGo
        return applied

    @asynccontextmanager
    async def _passage(self) -> AsyncIterator[None]:
        """A place among the calls in flight, with the circuit closed and the quota kept.

        Whoever waits here holds no intent: an intent that grew old while waiting could not be sent.
        """
        while True:
            await self._circuit.passage()
            await self._slots.acquire()
            if not self._circuit.is_open:
                break
            self._slots.release()
        self._calls += 1
        self._events.in_flight(self.target, self._calls)
        try:
            await self._keep_quota()
            if self._stopping:
                raise _LetGo
            yield
        finally:
            self._slots.release()
            self._calls -= 1
            self._events.in_flight(self.target, self._calls)

    async def _keep_quota(self) -> None:
        if self._options.quota is None:
            return
        now = self._clock()
        turn = max(now, self._next_call)
        self._next_call = turn + 1 / self._options.quota
        if turn > now:
            await asyncio.sleep(turn - now)

    def _circuit_changed(self, is_open: bool, reason: Reason | None) -> None:
        self._events.circuit_changed(self.target, is_open, reason)

    @contextmanager
    def _unsettled_call(self) -> Iterator[None]:
        """From an intent to its settlement: a stop waits for these."""
        self._unsettled += 1
        self._settled.clear()
        try:
            yield
        finally:
            self._unsettled -= 1
            if not self._unsettled:
                self._settled.set()

    # --- the database's clock ----------------------------------------------------------------------

    def _told(self, database_time: float, clock_after: float) -> None:
        """The database said what time it is; the answer took a while, so we are never ahead of it."""
        self._database_ahead = database_time - clock_after

    def _database_now(self) -> float:
        return self._clock() + self._database_ahead

    def _backoff(self, failures: int) -> float:
        longest = min(
            self._options.backoff_first * 2.0 ** min(failures, 20), self._options.backoff_max
        )
        return longest * (0.5 + 0.5 * self._rng.random())


class _Errand:
    """The work on one dossier, from loading to idle."""

    def __init__(self, engine: Engine, work: Work, fence: Fence) -> None:
        self._engine = engine
        self._sink = engine._sink
        self._options = engine._options
        self._work = work
        self._fence = fence
        self._prepared: dict[int, Prepared] = {}
        self._decoded: tuple[str, DossierEvent] | None = None
        self._answer: Answer | None = None
        self._session_errors = 0
        self._codes = engine._codes()

    async def run(self) -> None:
        """Ask the core and do what it says, until the dossier is idle."""
        while True:
            if any(not row.payload for row in rows_to_map(self._work, self._sink.abilities)):
                await self._read_again()  # the ledger sends the payload of the newest state only
            plans = await self._plans()
            action = next_action(
                self._work,
                plans,
                self._answer,
                self._engine._database_now(),
                self._sink.abilities,
                self._options.send_by,
            )
            match action:
                case Idle():
                    if await self._idle(action):
                        return
                case Settle():
                    await self._write(self._change(settle=action))
                    self._report(action)
                case Ask():
                    await self._ask(action)
                case Send():
                    await self._send(action)

    async def _plans(self) -> Mapping[int, Plan]:
        for row in rows_to_map(self._work, self._sink.abilities):
            if row.delivery_id not in self._prepared:
                event = await self._event(row)
                self._prepared[row.delivery_id] = prepare(row, event, self._sink, self._codes)
        return {key: prepared.plan for key, prepared in self._prepared.items()}

    async def _event(self, row: DeliveryRow) -> DossierEvent:
        # A state and a step of one event lie side by side: decoding costs as much as mapping.
        if self._decoded is None or self._decoded[0] != row.event_id:
            self._decoded = (row.event_id, await self._engine._decode(row.payload))
        return self._decoded[1]

    async def _idle(self, action: Idle) -> bool:
        if action.wake_at is None and self._work.more and self._moved_on():
            await self._read_again()
            return False
        await self._release(action.wake_at)
        return True

    def _moved_on(self) -> bool:
        """Whether rows behind those we loaded may now be next: nothing we hold blocks them."""
        return all(row.state is not DeliveryState.PENDING for row in self._work.rows)

    async def _release(self, wake_at: float | None) -> None:
        await self._engine._commit(self._change(release=True, wake_at=wake_at))

    async def _read_again(self) -> None:
        self._work = await self._engine._ledger.reload(
            self._engine.target, self._work.dossier.dossier_id
        )

    # --- asking ------------------------------------------------------------------------------------

    async def _ask(self, action: Ask) -> None:
        engine = self._engine
        dossier_id = self._work.dossier.dossier_id
        async with engine._passage():
            asked_at = engine._database_now()
            try:
                said = await self._sink.look_up(action.code)
            except TransientError as error:
                engine._events.asked(engine.target, dossier_id, None, error.reason)
                if error.reason is Reason.SESSION_EXPIRED and self._may_retry_session():
                    return
                engine._circuit.failed(error)
                await self._back_off()
            except DeliveryError as error:
                engine._events.asked(engine.target, dossier_id, None, error.reason)
                engine._circuit.failed(error)
                await self._back_off()
            else:
                engine._circuit.answered()
                engine._events.asked(engine.target, dossier_id, said.present, "")
                self._answer = Answer(asked_at=asked_at, said=said)
                # Its maker may have said meanwhile how the attempt ended: outcomes come before answers.
                await self._read_again()

    async def _back_off(self) -> None:
        pause = self._engine._backoff(self._work.dossier.failures)
        await self._release(self._engine._database_now() + pause)
        raise _LetGo

    def _may_retry_session(self) -> bool:
        self._session_errors += 1
        return self._session_errors <= self._options.session_retries

    # --- sending -----------------------------------------------------------------------------------

    async def _send(self, action: Send) -> None:
        with ExitStack() as unsettled:
            async with self._engine._passage():
                unsettled.enter_context(self._engine._unsettled_call())
                intent = await self._intend(action)
                if intent is None:
                    return
                outcome, error = await self._call(action, intent)
            await self._settle(outcome, error)

    async def _intend(self, action: Send) -> Intent | None:
        """Commit the intent, and with it the claim of the code. None: the code is another dossier's."""
        engine = self._engine
        attempt = Attempt(
            attempt_id=str(uuid.UUID(int=engine._rng.getrandbits(128), version=4)),
            kind=action.kind,
            delivery_ids=tuple(row.delivery_id for row in action.rows),
            version=action.version,
            content_hash=action.content_hash,
            proved_absent=action.proved_absent,
            epoch=self._fence.epoch,
            started_at=0.0,
            step_keys=action.step_keys,
        )
        noticed_at = engine._clock()
        change = self._change(intent=attempt, claim=action.claim)
        applied = await engine._commit(change)
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
        engine._told(applied.at, engine._clock())
        self._work = evolve(self._work, change, applied.at)
        self._answer = None
        return Intent(
            attempt_id=attempt.attempt_id, noticed_at=noticed_at, send_by=self._options.send_by
        )

    async def _call(
        self, action: Send, intent: Intent
    ) -> tuple[AttemptOutcome, DeliveryError | None]:
        engine = self._engine
        began = engine._clock()
        error: DeliveryError | None = None
        receipt: Receipt | None = None
        try:
            receipt = await self._wire(action, intent)
        except DeliveryError as raised:
            error = raised
        except Exception as raised:
            # Rule 5: whatever we did not foresee may have happened after the first byte.
            error = OutcomeUnknown(Reason.UNCLASSIFIED_ERROR, type(raised).__name__)
        outcome = _OUTCOMES[type(error)]
        if error is None or isinstance(error, RejectedError):
            engine._circuit.answered()
        elif error.reason not in _NOT_THE_TARGETS_FAULT:
            engine._circuit.failed(error)
        engine._events.attempt_ended(
            engine.target,
            action.kind,
            self._work.dossier.dossier_id,
            outcome,
            error.reason if error is not None else None,
            engine._clock() - began,
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
            request=engine._seal(request, dossier_id) if request is not None else None,
            answer=engine._seal(answer, dossier_id) if answer is not None else None,
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
        now = self._engine._database_now()
        action = next_action(after, {}, None, now, self._sink.abilities, self._options.send_by)
        assert isinstance(action, Settle)
        retry_now = (
            error is not None
            and error.reason is Reason.SESSION_EXPIRED
            and self._may_retry_session()
        )
        if outcome.outcome is Outcome.FAILED and not retry_now:
            wake_at = now + self._engine._backoff(after.dossier.failures)
            await self._write(
                self._change(outcome=outcome, settle=action, release=True, wake_at=wake_at)
            )
            raise _LetGo
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
            settled=settle.settled,
            patch=settle.patch,
            release_seq=dossier.work_seq if release else None,
            wake_at=wake_at,
        )

    async def _write(self, change: Change) -> None:
        applied = await self._engine._commit(change)
        self._work = evolve(self._work, change, applied.at)

    def _report(self, action: Settle) -> None:
        engine = self._engine
        dossier_id = self._work.dossier.dossier_id
        delivered = [s for s in action.settled if s.state is DeliveryState.DELIVERED]
        if delivered:
            times = [
                self._prepared[s.delivery_id].effective_at
                for s in delivered
                if s.delivery_id in self._prepared
            ]
            latency = engine._database_now() - min(times) if times else -1.0
            engine._events.delivered(engine.target, dossier_id, len(delivered), latency)
        for settled in action.settled:
            if settled.state is DeliveryState.PARKED:
                engine._events.parked(
                    engine.target, dossier_id, settled.reason, settled.detail or ""
                )


_OUTCOMES: dict[type[DeliveryError] | type[None], Outcome] = {
    type(None): Outcome.DELIVERED,
    TransientError: Outcome.FAILED,
    MisconfiguredError: Outcome.FAILED,
    OutcomeUnknown: Outcome.UNKNOWN,
    RejectedError: Outcome.REJECTED,
}

_NOT_THE_TARGETS_FAULT = frozenset({Reason.NOT_SENT, Reason.SESSION_EXPIRED})
