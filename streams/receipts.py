"""The outbox: receipts of settled deliveries, published at least once on `delivery.receipts`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from monitoring.crash_points import CrashPoint, crash_point
from monitoring.events import Events
from monitoring.metrics import Flow
from schemas.ledger.model import Fence, Ledger, LedgerUnavailable
from schemas.records import DeliveryReceipt
from schemas.topics import DELIVERY_RECEIPTS
from streams.producer import NotConfirmed, Outgoing, Producer

_MOST = 500
_IDLE_SECONDS = 1.0
_TROUBLE_SECONDS = 5.0


class Receipts:
    """Publishes what the ledger holds as unpublished, oldest first, and marks it when confirmed.

    `fences` yields the partitions owned now: each process publishes its own, so that several do not
    publish the same. At a change of owner one receipt may come twice, and none is left out.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        fences: Callable[[], Sequence[Fence]],
        producer: Producer,
        encode: Callable[[DeliveryReceipt], bytes],
        events: Events,
        idle: float = _IDLE_SECONDS,
        trouble: float = _TROUBLE_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._fences = fences
        self._producer = producer
        self._encode = encode
        self._events = events
        self._idle = idle
        self._trouble = trouble
        self._stop = asyncio.Event()
        self.waits_for: str | None = None
        """What holds it up, for `/live`."""
        self.beats = 0
        """Raised at every turn of the loop: liveness watches that it moves."""

    def stop(self) -> None:
        """Let `run` return after the batch in hand."""
        self._stop.set()

    async def run(self) -> None:
        """Publish until `stop`."""
        self._events.flow_started(flow=Flow.RECEIPTS)
        while not self._stop.is_set():
            self.beats += 1
            pause = self._idle
            try:
                published = await self._publish()
            except LedgerUnavailable as error:
                self.waits_for, pause = "the ledger", self._trouble
                self._events.ledger_unavailable(
                    flow=Flow.RECEIPTS, error=type(error).__name__, wait=pause
                )
            except NotConfirmed:
                self.waits_for, pause = "the broker", self._trouble
                self._events.flow_waiting(flow=Flow.RECEIPTS, waits_for="broker")
            else:
                if self.waits_for is not None:
                    self.waits_for = None
                    self._events.flow_started(flow=Flow.RECEIPTS)
                if published == _MOST:
                    continue
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)
        self._events.flow_stopped(flow=Flow.RECEIPTS, reason="asked")

    async def _publish(self) -> int:
        fences = self._fences()
        receipts = await self._ledger.unpublished(_MOST, fences) if fences else ()
        if receipts:
            await self._producer.produce(
                [
                    Outgoing(DELIVERY_RECEIPTS.name, r.dossier_id.encode(), self._encode(r))
                    for r in receipts
                ]
            )
            crash_point(CrashPoint.AFTER_RECEIPT_PRODUCE)
            await self._ledger.mark_published([r.delivery_id for r in receipts])
            self._events.receipt_published(receipts=len(receipts))
        return len(receipts)
