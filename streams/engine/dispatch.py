"""What the errands of one engine share: the way to the ledger, the way to the wire, and the clocks."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from connectors.protocols import Deliverable, Sink
from schemas.dossier.mappings import Codes
from schemas.ledger.model import (
    Applied,
    AttemptKind,
    Change,
    EngineLedger,
    LedgerUnavailable,
    Outcome,
    Verdict,
)
from schemas.reasons import Reason
from streams.engine.circuit import Circuit, CircuitOptions
from streams.engine.group_commit import GroupCommit


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Numbers of the engine; times in seconds. `quota` is calls per second, None for no limit."""

    in_flight: int = 16
    window: int = 200
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


E = TypeVar("E", bound=Deliverable)

Decode = Callable[[bytes], Awaitable[E]]
"""A payload of the ledger as the event it is."""


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

    def found(self, target: str, dossier_id: str, reason: Reason, detail: str) -> None: ...

    def asked(self, target: str, dossier_id: str, present: bool | None, reason: str) -> None: ...

    def in_flight(self, target: str, calls: int) -> None: ...

    def circuit_changed(self, target: str, is_open: bool, reason: Reason | None) -> None: ...

    def ledger_unavailable(self, target: str) -> None: ...

    def started(self, target: str) -> None: ...

    def stopped(self, target: str) -> None: ...


class LetGo(Exception):
    """This dossier is no longer ours, or the ledger is away: leave it as it stands in the ledger."""


class Dispatch(Generic[E]):
    """One engine's means. `clock` is monotonic and runs through suspension, in seconds."""

    def __init__(
        self,
        *,
        sink: Sink[E],
        ledger: EngineLedger,
        decode: Decode[E],
        codes: Callable[[], Codes],
        clock: Callable[[], float],
        seal: Callable[[bytes, str], bytes],
        events: EngineEvents,
        options: EngineOptions,
        rng: random.Random,
    ) -> None:
        self.sink = sink
        self.ledger = ledger
        self.decode = decode
        self.codes = codes
        self.clock = clock
        self.seal = seal
        self.events = events
        self.options = options
        self.target = sink.target
        self.group = GroupCommit(ledger, window=options.group_window, rows=options.group_rows)
        self.circuit = Circuit(
            options.circuit, sink.probe, lambda *what: events.circuit_changed(self.target, *what)
        )
        self.stopping = False
        self.done = 0  # changes that the ledger has taken: liveness watches that it moves
        self._rng = rng
        self._slots = asyncio.Semaphore(options.in_flight)
        self._calls = 0
        self._next_call = 0.0
        self._unsettled = 0
        self._settled = asyncio.Event()
        self._settled.set()
        self._database_ahead = 0.0
        self._told_at: float | None = None

    # --- the ledger --------------------------------------------------------------------------------

    async def commit(self, change: Change) -> Applied:
        """Write a change with its neighbours. Raises `LetGo` when the partition has another owner.

        `LedgerUnavailable` is raised for a change without an outcome only: how a call ended nobody else
        knows, so that is written again and again while the process lives.
        """
        while True:
            try:
                applied = await self.group.commit(change)
            except LedgerUnavailable:
                if change.outcome is None:
                    raise
                await asyncio.sleep(self.options.poll_seconds)
            else:
                break
        self.done += 1
        if applied.verdict is Verdict.STALE:
            raise LetGo
        self.told(applied.at)
        return applied

    async def ask_the_time(self) -> None:
        """Learn the database's clock, unless a commit told it within the last second."""
        if self._told_at is None or self.clock() - self._told_at > 1.0:
            self.told(await self.ledger.now())

    def told(self, database_time: float) -> None:
        """The database said what time it was; that was a while ago, so we are never ahead of it."""
        self._told_at = self.clock()
        self._database_ahead = database_time - self._told_at

    def database_now(self) -> float:
        """The database's clock, never ahead of it. Seconds since the epoch."""
        return self.clock() + self._database_ahead

    # --- the wire ----------------------------------------------------------------------------------

    @asynccontextmanager
    async def passage(self) -> AsyncIterator[None]:
        """A place among the calls in flight, with the circuit closed and the quota kept.

        Whoever waits here holds no intent: an intent that grew old while waiting could not be sent.
        """
        while True:
            await self.circuit.passage()
            await self._slots.acquire()
            if not self.circuit.is_open:
                break
            self._slots.release()
        self._calls += 1
        self.events.in_flight(self.target, self._calls)
        try:
            await self._keep_quota()
            if self.stopping:
                raise LetGo
            yield
        finally:
            self._slots.release()
            self._calls -= 1
            self.events.in_flight(self.target, self._calls)

    async def _keep_quota(self) -> None:
        if self.options.quota is None:
            return
        now = self.clock()
        turn = max(now, self._next_call)
        self._next_call = turn + 1 / self.options.quota
        if turn > now:
            await asyncio.sleep(turn - now)

    @contextmanager
    def unsettled_call(self) -> Iterator[None]:
        """From an intent to its settlement: a stop waits for these."""
        self._unsettled += 1
        self._settled.clear()
        try:
            yield
        finally:
            self._unsettled -= 1
            if not self._unsettled:
                self._settled.set()

    async def all_settled(self) -> None:
        """Return when no call is between its intent and its settlement."""
        await self._settled.wait()

    # --- chance ------------------------------------------------------------------------------------

    def new_id(self) -> str:
        """A random UUID: the X-Road message id of a call, or the name of a finding."""
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    def backoff(self, failures: int) -> float:
        """How long a dossier rests after so many failures, with jitter. Seconds."""
        longest = min(
            self.options.backoff_first * 2.0 ** min(failures, 20), self.options.backoff_max
        )
        return longest * (0.5 + 0.5 * self._rng.random())
