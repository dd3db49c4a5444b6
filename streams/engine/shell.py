"""The engine's shell: does what the core decides, and owns everything the core must not see.

One engine per target. It loads runnable dossiers of the partitions it owns, nearest legal deadline first,
and sends an `Errand` for each. Reading order: this module, then `errand.py`, then `dispatch.py`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from connectors.protocols import Deliverable, Sink
from schemas.dossier.mappings import Codes
from schemas.ledger.model import EngineLedger, Fence, LedgerRefuses, LedgerUnavailable, Work
from schemas.reasons import Reason
from streams.engine.dispatch import Decode, Dispatch, EngineEvents, EngineOptions, LetGo
from streams.engine.errand import Errand

E = TypeVar("E", bound=Deliverable)


class Engine(Generic[E]):
    """Delivers what the ledger owes one target.

    `fences` yields the partitions owned now; `clock` is a monotonic clock that runs through suspension,
    in seconds; `seal` seals request and answer bodies (plain, dossier id).
    """

    def __init__(
        self,
        *,
        sink: Sink[E],
        ledger: EngineLedger,
        decode: Decode[E],
        codes: Callable[[], Codes],
        fences: Callable[[], Sequence[Fence]],
        clock: Callable[[], float],
        seal: Callable[[bytes, str], bytes],
        events: EngineEvents,
        options: EngineOptions | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._options = options or EngineOptions()
        self._dispatch = Dispatch(
            sink=sink,
            ledger=ledger,
            decode=decode,
            codes=codes,
            clock=clock,
            seal=seal,
            events=events,
            options=self._options,
            rng=rng or random.Random(),
        )
        self._ledger = ledger
        self._events = events
        self._fences = fences
        self._active: dict[str, asyncio.Task[None]] = {}
        self._notified: set[str] = set()
        self._wake = asyncio.Event()
        self._failure: BaseException | None = None
        self.target = sink.target
        self._more = False  # whether the ledger may hold more than was loaded
        self._ledger_away = False
        self._shelved = 0  # dossiers in hand that nobody but a person can help
        self.beats = 0
        """Raised at every turn of the loop: liveness watches that it moves."""

    @property
    def waits_for(self) -> str | None:
        """What outside the process holds the engine up, for `/live`."""
        return "the target" if self.circuit_open else "the ledger" if self._ledger_away else None

    def work(self) -> tuple[int, int]:
        """How many changes were written since the start, and how many dossiers are in hand."""
        return self._dispatch.done, len(self._active) - self._shelved

    @property
    def circuit_open(self) -> bool:
        """Whether calls are held back because the target is in trouble."""
        return self._dispatch.circuit.is_open

    def notify(self, dossier_ids: Iterable[str] = ()) -> None:
        """Something was enlisted: look now, not at the next poll."""
        self._notified.update(self._active.keys() & set(dossier_ids))
        self._wake.set()

    async def run(self) -> None:
        """Deliver until stopped. Raises what no rule foresees: then the process must end."""
        helpers = [
            asyncio.create_task(self._dispatch.group.run()),
            asyncio.create_task(self._dispatch.circuit.run()),
        ]
        for helper in helpers:
            helper.add_done_callback(self._note_failure)
        self._events.started(self.target)
        try:
            while not self._dispatch.stopping:
                self.beats += 1
                loaded = await self._load()
                if self._failure is not None:
                    raise self._failure
                if not loaded or len(self._active) >= self._options.window:
                    await self._pause()
            await self._dispatch.all_settled()
        finally:
            self._events.stopped(self.target)
            for task in [*self._active.values(), *helpers]:
                task.cancel()
            await asyncio.gather(*self._active.values(), *helpers, return_exceptions=True)

    def stop(self) -> None:
        """Begin no new call; `run` returns once every call in flight is settled."""
        self._dispatch.stopping = True
        self._wake.set()

    async def _load(self) -> int:
        self._wake.clear()
        room = min(self._options.window - len(self._active), self._options.load)
        fences = self._fences()
        if room <= 0 or not fences:
            return 0
        try:
            await self._dispatch.ask_the_time()
            works = await self._ledger.runnable(self.target, fences, room, frozenset(self._active))
        except LedgerUnavailable:
            self._ledger_away = True
            self._events.ledger_unavailable(self.target)
            return 0
        self._ledger_away = False
        by_partition = {fence.partition: fence for fence in fences}
        for work in works:
            fence = by_partition.get(work.dossier.partition)
            if fence is not None and work.dossier.dossier_id not in self._active:
                self._begin(work, fence)
        self._more = len(works) == room
        return len(works)

    def _begin(self, work: Work, fence: Fence) -> None:
        dossier_id = work.dossier.dossier_id
        task = asyncio.create_task(self._errand(work, fence))
        self._active[dossier_id] = task
        task.add_done_callback(lambda done: self._ended(dossier_id, done))

    async def _errand(self, work: Work, fence: Fence) -> None:
        try:
            await Errand(self._dispatch, work, fence).run()
        except LetGo:
            pass
        except LedgerUnavailable:
            self._events.ledger_unavailable(self.target)
        except LedgerRefuses as refusal:
            # It stays in hand, so that it is not loaded again at once, for ever.
            self._events.parked(
                self.target, work.dossier.dossier_id, Reason.UNCLASSIFIED_ERROR, str(refusal)
            )
            self._shelved += 1
            try:
                await asyncio.sleep(self._options.backoff_max)
            finally:
                self._shelved -= 1

    def _ended(self, dossier_id: str, task: asyncio.Task[None]) -> None:
        del self._active[dossier_id]
        if dossier_id in self._notified:
            self._notified.discard(dossier_id)
            self._wake.set()
        self._note_failure(task)
        if self._more and len(self._active) < self._options.window // 2:
            self._wake.set()

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        """Let `run` raise what no rule foresees."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
            self._wake.set()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._options.poll_seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
