"""Capture: source -> `onestop.notices`, unchanged but sealed. A plain service, one at a time.

A page's cursor is saved, by compare-and-set and under the fence, only after the broker has confirmed
every notice of it. Whatever dies in between, the page is read again; doubled notices are harmless,
because the events made of them carry the same ids.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from connectors.protocols import (
    Page,
    Source,
    SourceMisconfigured,
    SourceRestored,
    SourceUnavailable,
)
from monitoring.crash_points import CrashPoint, crash_point
from monitoring.events import Events
from monitoring.metrics import Flow
from schemas.ledger.model import (
    CaptureLedger,
    LedgerRefuses,
    LedgerUnavailable,
    SeenRow,
    SingletonFence,
    StaleOwner,
)
from schemas.records import Feed, Notice
from schemas.topics import ONESTOP_NOTICES
from streams.producer import NotConfirmed, Outgoing, TooLarge
from streams.settings import CaptureSettings
from streams.singleton import Singleton


class Confirms(Protocol):
    """Writes records and returns when the broker has confirmed them all."""

    async def produce(self, records: Sequence[Outgoing]) -> None: ...


class _Memory:
    """What is remembered, as long as nobody else captures."""

    def __init__(self, ledger: CaptureLedger, fence: SingletonFence) -> None:
        self._ledger = ledger
        self._fence = fence

    async def seen(self, source: str, dossier_ids: Sequence[str]) -> Sequence[SeenRow]:
        return await self._ledger.seen(source, dossier_ids, self._fence)


class Capture:
    """Reads every feed of one source in turn, one page at a time, as the only process that does.

    `pauses` are the pauses of a feed that has nothing more to read, in seconds. The sweep also begins at
    `settings.sweep_hour` of `zone`, if that comes first, and on `sweep_now`. `wall` gives the present
    time with a zone.
    """

    def __init__(
        self,
        source: Source,
        *,
        ledger: CaptureLedger,
        producer: Confirms,
        encode: Callable[[Notice], bytes],
        owner: str,
        pauses: Mapping[Feed, float],
        zone: ZoneInfo,
        settings: CaptureSettings,
        events: Events,
        wall: Callable[[], datetime],
        begin: Callable[[], Awaitable[None]] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._source = source
        self._ledger = ledger
        self._producer = producer
        self._encode = encode
        self._singleton = Singleton(
            ledger, f"capture.{source.name}", owner, silence=settings.stand_by_seconds
        )
        self._pauses = pauses
        self._zone = zone
        self._settings = settings
        self._events = events
        self._wall = wall
        self._begin = begin
        self._rng = rng or random.Random()
        self._stop = asyncio.Event()
        self._wake = asyncio.Event()
        self._due: dict[Feed, float] = {}
        self._sweep_from_start = True
        self._failures = 0
        self.paged = False
        self._standing_by = False
        self._held_up_by: str | None = None
        self.beats = 0
        """Raised at every turn of the loop: liveness watches that it moves."""

    @property
    def waits_for(self) -> str | None:
        """What keeps it from capturing, for `/live`."""
        if self.paged:
            return "a person"
        return "another owner" if self._standing_by else self._held_up_by

    def sweep_now(self) -> None:
        """Compare every dossier's content from the beginning, as soon as the page in hand is done."""
        self._sweep_from_start = True
        self._due[Feed.SWEEP] = time.monotonic()
        self._wake.set()

    def stop(self) -> None:
        """Let `run` return after the page in hand."""
        self._stop.set()
        self._wake.set()

    async def run(self) -> None:
        """Capture until `stop`, as long as no other process does; else stand by.

        Trouble that needs a person pages, and this process remains the owner until `stop`, so that
        neither it nor another one tries in vain.
        """
        while (fence := await self._stand_by()) is not None:
            async with self._singleton.kept(fence) as lost:
                try:
                    await self._capture(fence, lost)
                except (SourceRestored, SourceMisconfigured, TooLarge, LedgerRefuses) as error:
                    self.paged = True
                    reason = type(error).__name__
                    self._events.flow_paged(flow=Flow.CAPTURE, reason=reason, detail=str(error))
                    await self._wait_for_a_person()
                    return
                except StaleOwner as error:
                    lost.set()
                    self._another_owner(str(error))
        self._events.flow_stopped(flow=Flow.CAPTURE, reason="asked")

    async def _wait_for_a_person(self) -> None:
        while not self._stop.is_set():
            self.beats += 1
            await self._sleep(1.0)

    async def _stand_by(self) -> SingletonFence | None:
        """Become the owner as soon as there is none; ``None`` when asked to stop."""
        try:
            while not self._stop.is_set():
                self.beats += 1
                try:
                    fence = await self._singleton.take()
                except LedgerUnavailable as error:
                    await self._ledger_away(error)
                    continue
                if fence is not None:
                    self._failures, self._held_up_by = 0, None
                    return fence
                if not self._standing_by:
                    self._another_owner("it captures")
                await self._sleep(min(1.0, self._settings.stand_by_seconds / 4))
            return None
        finally:
            self._standing_by = False

    def _another_owner(self, detail: str) -> None:
        self._standing_by = True
        self._events.flow_stopped(flow=Flow.CAPTURE, reason=f"another owner: {detail}")

    async def _capture(self, fence: SingletonFence, lost: asyncio.Event) -> None:
        await self._prepare(lost)
        now = time.monotonic()
        for feed in self._source.feeds:
            first = now + self._until_sweep() if feed is Feed.SWEEP else now
            self._due.setdefault(feed, first)
        self._events.flow_started(flow=Flow.CAPTURE)
        while not self._stop.is_set():
            self.beats += 1
            if lost.is_set():
                raise StaleOwner("this process was thought dead")
            feed = min(self._due, key=self._due.__getitem__)
            pause = self._due[feed] - time.monotonic()
            if pause > 0:
                await self._sleep(min(pause, 1.0))
                continue
            await self._turn(feed, fence)

    async def _prepare(self, lost: asyncio.Event) -> None:
        while self._begin is not None and not (self._stop.is_set() or lost.is_set()):
            self.beats += 1
            try:
                await self._begin()
            except SourceUnavailable as error:
                await self._back_off("start", str(error))
            except LedgerUnavailable as error:
                await self._ledger_away(error)
            else:
                self._failures, self._held_up_by = 0, None
                return

    async def _turn(self, feed: Feed, fence: SingletonFence) -> None:
        try:
            page = await self._page(feed, fence)
        except SourceUnavailable as error:
            await self._back_off(feed, str(error))
        except NotConfirmed as error:
            self._events.flow_waiting(flow=Flow.CAPTURE, waits_for="broker")
            await self._back_off(feed, str(error), held_up_by="the broker")
        except LedgerUnavailable as error:
            await self._ledger_away(error)
        else:
            if self._failures:
                self._failures, self._held_up_by = 0, None
                self._events.flow_started(flow=Flow.CAPTURE)
            self._plan(feed, page)

    async def _page(self, feed: Feed, fence: SingletonFence) -> Page:
        """One page: number, read, confirm, save. In this order; nothing is saved that may be lost."""
        source, begun = self._source.name, time.monotonic()
        restart = feed is Feed.SWEEP and self._sweep_from_start
        old = await self._ledger.cursor(source, feed)
        read_seq = await self._ledger.next_read_seq(source, fence)
        memory = _Memory(self._ledger, fence)
        page = await self._source.read_page(feed, None if restart else old, read_seq, memory)
        await self._producer.produce(
            [
                Outgoing(ONESTOP_NOTICES.name, notice.dossier_id.encode(), self._encode(notice))
                for notice in page.notices
            ]
        )
        if page.notices:
            crash_point(CrashPoint.AFTER_PRODUCE)
        for notice in page.notices:
            self._events.notice_captured(source=source, feed=feed, dossier_id=notice.dossier_id)
        await self._ledger.save_page(source, feed, fence, old, page.cursor, page.seen)
        if restart:
            self._sweep_from_start = False
        self._events.page_read(
            source=source,
            feed=feed,
            notices=len(page.notices),
            skipped=page.skipped,
            seconds=time.monotonic() - begun,
        )
        return page

    def _plan(self, feed: Feed, page: Page) -> None:
        now = time.monotonic()
        if not page.exhausted:
            # Behind every feed that is due already: a long one must not starve the others.
            self._due[feed] = now
        elif feed is Feed.SWEEP:
            self._sweep_from_start = True  # the next one begins anew
            self._due[feed] = now + self._until_sweep()
        else:
            self._due[feed] = now + self._pauses[feed]

    def _until_sweep(self) -> float:
        """Seconds until the next sweep begins by itself."""
        pause = self._pauses.get(Feed.SWEEP, math.inf)
        if self._settings.sweep_hour is None:
            return pause
        now = self._wall().astimezone(self._zone)
        at = now.replace(hour=self._settings.sweep_hour, minute=0, second=0, microsecond=0)
        if at <= now:
            at += timedelta(days=1)
        return min(pause, (at - now).total_seconds())

    async def _back_off(self, feed: str, detail: str, held_up_by: str = "the source") -> None:
        self._held_up_by = held_up_by
        wait = self._pause()
        self._events.source_unavailable(
            source=self._source.name, feed=feed, detail=detail, wait=wait
        )
        await self._sleep(wait)

    async def _ledger_away(self, error: LedgerUnavailable) -> None:
        self._held_up_by = "the ledger"
        wait = self._pause()
        self._events.ledger_unavailable(flow=Flow.CAPTURE, error=type(error).__name__, wait=wait)
        await self._sleep(wait)

    def _pause(self) -> float:
        """Doubles with every failure, up to the most; between half and the whole of it, by chance."""
        full = self._settings.retry_first_seconds * 2.0 ** min(self._failures, 30)
        self._failures += 1
        return min(full, self._settings.retry_most_seconds) * self._rng.uniform(0.5, 1.0)

    async def _sleep(self, seconds: float) -> None:
        self._wake.clear()
        if self._stop.is_set():
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
