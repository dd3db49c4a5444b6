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
    CaptureMemory,
    Page,
    Source,
    SourceMisconfigured,
    SourceRestored,
    SourceUnavailable,
)
from monitoring.events import Events
from monitoring.metrics import Flow
from schemas.ledger.model import CaptureLedger, LedgerUnavailable, SingletonFence, StaleOwner
from schemas.records import Feed, Notice
from schemas.topics import ONESTOP_NOTICES
from streams.producer import NotConfirmed, Outgoing, TooLarge
from streams.settings import CaptureSettings


class Confirms(Protocol):
    """Writes records and returns when the broker has confirmed them all."""

    async def produce(self, records: Sequence[Outgoing]) -> None: ...


class _Ledger(CaptureLedger, CaptureMemory, Protocol): ...


class Capture:
    """Reads every feed of one source in turn, one page at a time.

    `pauses` are the pauses of a feed that has nothing more to read, in seconds. The sweep also begins at
    `settings.sweep_hour` of `zone`, if that comes first, and on `sweep_now`. `wall` gives the present
    time with a zone.
    """

    def __init__(
        self,
        source: Source,
        *,
        ledger: _Ledger,
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
        self._owner = owner
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
        self.beats = 0
        """Raised at every turn of the loop: liveness watches that it moves."""

    @property
    def waits_for(self) -> str | None:
        """What keeps it from capturing, for `/live`."""
        return "a person" if self.paged else "another owner" if self._standing_by else None

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
        """Capture until `stop`, as long as no other process does.

        Trouble that needs a person pages, and `run` waits for `stop`, so that nothing is restarted in vain.
        Where another process captures, this one stands by until that one moves no more.
        """
        while not self._stop.is_set():
            try:
                await self._capture()
            except (SourceRestored, SourceMisconfigured, TooLarge) as error:
                self.paged = True
                reason = type(error).__name__
                self._events.flow_paged(flow=Flow.CAPTURE, reason=reason, detail=str(error))
                await self._wait_for_a_person()
                return
            except StaleOwner as error:
                self._events.flow_stopped(flow=Flow.CAPTURE, reason=f"another owner: {error}")
                self._standing_by = True
                await self._stand_by()
                self._standing_by = False
        self._events.flow_stopped(flow=Flow.CAPTURE, reason="asked")

    async def _wait_for_a_person(self) -> None:
        while not self._stop.is_set():
            self.beats += 1
            await self._sleep(1.0)

    async def _stand_by(self) -> None:
        """Return when the owner has read no page for longer than it would ever pause."""
        seen, since = -1, time.monotonic()
        while not self._stop.is_set():
            self.beats += 1
            with suppress(LedgerUnavailable):
                newest = await self._ledger.newest_read_seq(self._source.name)
                if newest != seen:
                    seen, since = newest, time.monotonic()
            if time.monotonic() - since >= self._settings.stand_by_seconds:
                return
            await self._sleep(1.0)

    async def _capture(self) -> None:
        fence = await self._take_singleton()
        if fence is None:
            return
        now = time.monotonic()
        for feed in self._source.feeds:
            first = now + self._until_sweep() if feed is Feed.SWEEP else now
            self._due.setdefault(feed, first)
        self._events.flow_started(flow=Flow.CAPTURE)
        while not self._stop.is_set():
            self.beats += 1
            feed = min(self._due, key=self._due.__getitem__)
            pause = self._due[feed] - time.monotonic()
            if pause > 0:
                await self._sleep(min(pause, 1.0))
                continue
            await self._turn(feed, fence)

    async def _take_singleton(self) -> SingletonFence | None:
        while not self._stop.is_set():
            self.beats += 1
            try:
                fence = await self._ledger.take_singleton(
                    f"capture.{self._source.name}", self._owner
                )
                if self._begin is not None:
                    await self._begin()
            except SourceUnavailable as error:
                await self._back_off("start", str(error))
            except LedgerUnavailable as error:
                await self._ledger_away(error)
            else:
                self._failures = 0
                return fence
        return None

    async def _turn(self, feed: Feed, fence: SingletonFence) -> None:
        try:
            page = await self._page(feed, fence)
        except SourceUnavailable as error:
            await self._back_off(feed, str(error))
        except NotConfirmed as error:
            self._events.flow_waiting(flow=Flow.CAPTURE, waits_for="broker")
            await self._back_off(feed, str(error))
        except LedgerUnavailable as error:
            await self._ledger_away(error)
        else:
            if self._failures:
                self._failures = 0
                self._events.flow_started(flow=Flow.CAPTURE)
            self._plan(feed, page)

    async def _page(self, feed: Feed, fence: SingletonFence) -> Page:
        """One page: number, read, confirm, save. In this order; nothing is saved that may be lost."""
        source, begun = self._source.name, time.monotonic()
        restart = feed is Feed.SWEEP and self._sweep_from_start
        old = await self._ledger.cursor(source, feed)
        read_seq = await self._ledger.next_read_seq(source, fence)
        page = await self._source.read_page(feed, None if restart else old, read_seq, self._ledger)
        await self._producer.produce(
            [
                Outgoing(ONESTOP_NOTICES.name, notice.dossier_id.encode(), self._encode(notice))
                for notice in page.notices
            ]
        )
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

    async def _back_off(self, feed: str, detail: str) -> None:
        wait = self._pause()
        self._events.source_unavailable(
            source=self._source.name, feed=feed, detail=detail, wait=wait
        )
        await self._sleep(wait)

    async def _ledger_away(self, error: LedgerUnavailable) -> None:
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
