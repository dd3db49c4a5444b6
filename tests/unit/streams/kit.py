"""Fakes for the streams' unit tests: at the borders only, with the borders' own promises."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from connectors.protocols import CaptureMemory, Page
from monitoring.events import Events
from monitoring.metrics import Metrics
from schemas.ledger.model import LedgerUnavailable, SeenRow, SingletonFence, StaleOwner
from schemas.records import EventKind, Feed, Notice
from streams.producer import NotConfirmed, Outgoing

AT = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


class RecordingLogger:
    """Keeps what is logged, as (event, facts)."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def _log(self, event: str, **facts: Any) -> None:
        self.lines.append((event, facts))

    debug = info = warning = error = critical = _log

    def of(self, event: str) -> list[dict[str, Any]]:
        return [facts for name, facts in self.lines if name == event]


def events(log: RecordingLogger) -> Events:
    metrics = Metrics(targets=["national_portal"], version="test")
    return Events(metrics, log)  # type: ignore[arg-type] # the five methods used


@dataclass
class MemoryCaptureLedger:
    """The capture's side of a ledger in memory, with the promises of `CaptureLedger`."""

    cursors: dict[str, str] = field(default_factory=dict)
    rows: dict[tuple[str, str], SeenRow] = field(default_factory=dict)
    read_seq: int = 0
    owner: str = ""
    epoch: int = 0
    away: int = 0  # so many calls find it unavailable
    saved: list[str] = field(default_factory=list)
    beat_at: float = 0.0
    looked: int = 0  # how often somebody asked whether it is free
    clock: Callable[[], float] = time.monotonic

    def _answer(self) -> None:
        if self.away:
            self.away -= 1
            raise LedgerUnavailable("away")

    async def take_singleton(self, name: str, owner: str) -> SingletonFence:
        self._answer()
        if owner != self.owner:
            self.owner, self.epoch = owner, self.epoch + 1
        self.beat_at = self.clock()
        return SingletonFence(name=name, owner=owner, epoch=self.epoch)

    async def take_silent_singleton(
        self, name: str, owner: str, silence: float
    ) -> SingletonFence | None:
        self._answer()
        self.looked += 1
        if self.owner not in {"", owner} and self.clock() - self.beat_at < silence:
            return None
        return await self.take_singleton(name, owner)

    async def beat_singleton(self, fence: SingletonFence) -> None:
        self._check(fence)
        self.beat_at = self.clock()

    async def release_singleton(self, fence: SingletonFence) -> None:
        if (fence.owner, fence.epoch) == (self.owner, self.epoch):
            self.owner = ""

    def _check(self, fence: SingletonFence) -> None:
        if (fence.owner, fence.epoch) != (self.owner, self.epoch):
            raise StaleOwner(f"{fence.name} has another owner")

    async def cursor(self, source: str, feed: str) -> str | None:
        self._answer()
        return self.cursors.get(feed)

    async def next_read_seq(self, source: str, fence: SingletonFence) -> int:
        self._check(fence)
        self.read_seq += 1
        return self.read_seq

    async def save_page(
        self,
        source: str,
        feed: str,
        fence: SingletonFence,
        old_cursor: str | None,
        new_cursor: str,
        seen: Sequence[SeenRow],
    ) -> None:
        self._check(fence)
        if self.cursors.get(feed) != old_cursor:
            raise StaleOwner("the cursor has moved")
        self.cursors[feed] = new_cursor
        self.saved.append(f"{feed}:{new_cursor}")

    async def seen(
        self, source: str, dossier_ids: Sequence[str], fence: SingletonFence
    ) -> Sequence[SeenRow]:
        self._check(fence)
        return []


@dataclass
class ListSource:
    """A source whose feeds are lists of dossier ids; the cursor is how many were read."""

    name: str = "one_stop"
    feeds: tuple[Feed, ...] = (Feed.ACTIONS, Feed.CHANGES, Feed.SWEEP)
    rows: dict[Feed, list[str]] = field(default_factory=dict)
    page_size: int = 2
    troubles: list[Exception] = field(default_factory=list)
    asked: list[tuple[Feed, str | None, int]] = field(default_factory=list)
    between: Callable[[], Awaitable[object]] | None = None
    """What happens between reading the source and asking what is remembered."""

    async def read_page(
        self, feed: Feed, cursor: str | None, read_seq: int, memory: CaptureMemory
    ) -> Page:
        self.asked.append((feed, cursor, read_seq))
        if self.troubles:
            raise self.troubles.pop(0)
        rows = self.rows.get(feed, [])
        start = int(cursor or 0)
        page = rows[start : start + self.page_size]
        if self.between is not None and page:
            await self.between()
        await memory.seen(self.name, page)
        return Page(
            notices=tuple(
                Notice(
                    notice_id=f"{feed}.{start + n}",
                    dossier_id=dossier_id,
                    source=self.name,
                    feed=feed,
                    cursor=str(start + n),
                    read_seq=read_seq,
                    kind=EventKind.CHANGE,
                    payload_format="test/1",
                    sealed=b"",
                    captured_at=AT,
                )
                for n, dossier_id in enumerate(page)
            ),
            cursor=str(start + len(page)),
            seen=(),
            exhausted=start + len(page) >= len(rows),
        )

    async def check(self) -> Sequence[str]:
        return []

    async def close(self) -> None:
        return None


@dataclass
class MemoryTopic:
    """Takes records; refuses to confirm as often as told, having written them or not."""

    records: list[Outgoing] = field(default_factory=list)
    unconfirmed: int = 0
    writes_all_the_same: bool = True

    async def produce(self, records: Sequence[Outgoing]) -> None:
        await asyncio.sleep(0)
        if self.unconfirmed:
            self.unconfirmed -= 1
            if self.writes_all_the_same:
                self.records += records
            raise NotConfirmed("no answer")
        self.records += records
