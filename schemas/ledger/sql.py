"""`SqlLedger`: all of `model.py`'s protocols over one database, SQLite or PostgreSQL.

The flow's calls run one after the other on one connection; questions of people and metrics run on another,
so that they never stand in the flow's way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType

from schemas.dossier.mappings import CodeList, MappingRow
from schemas.ledger import (
    capture,
    code_mappings,
    engine_changes,
    enlist,
    outbox,
    reports,
    work,
)
from schemas.ledger import fences as ownership
from schemas.ledger.database import Lane
from schemas.ledger.dialect import clock
from schemas.ledger.migrate import require_current
from schemas.ledger.model import (
    Applied,
    Change,
    Enlistment,
    EnlistResult,
    Fence,
    Position,
    SeenRow,
    SingletonFence,
    TargetCounts,
    TraceEntry,
    Work,
)
from schemas.records import DeadLetter, DeliveryReceipt


class SqlLedger:
    """The ledger at `url` ("sqlite:///path" or "postgresql://…"). Use `open`, or as a context.

    Every method raises `LedgerUnavailable` when the database does not answer (the next call connects
    again) and `LedgerMismatch` when its tables are not ours. Every write bears being repeated.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._flow = Lane(url, "ledger")
        self._asked = Lane(url, "ledger-reports")

    async def open(self) -> None:
        """Check that the tables are those of this version. Raises `LedgerMismatch`."""
        await asyncio.to_thread(require_current, self._url)

    async def close(self) -> None:
        """Finish what was begun and close the connections."""
        await self._flow.close()
        await self._asked.close()

    async def __aenter__(self) -> SqlLedger:
        try:
            await self.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # --- EngineLedger ---

    async def now(self) -> float:
        return await self._flow.read(clock)

    async def runnable(
        self, target: str, fences: Sequence[Fence], limit: int, exclude: frozenset[str]
    ) -> Sequence[Work]:
        return await self._flow.read(lambda c: work.runnable(c, target, fences, limit, exclude))

    async def reload(self, target: str, dossier_id: str) -> Work:
        return await self._flow.read(lambda c: work.reload(c, target, dossier_id))

    async def commit(self, changes: Sequence[Change]) -> Sequence[Applied]:
        if not changes:
            return []
        return await self._flow.write(lambda c: engine_changes.apply(c, changes))

    # --- Ledger ---

    async def take_over(
        self, flow: str, topic: str, topic_id: str | None, partitions: Sequence[int], owner: str
    ) -> Sequence[Position]:
        return await self._flow.write(
            lambda c: ownership.take_over(c, flow, topic, topic_id, partitions, owner)
        )

    async def enlist(
        self,
        positions: Mapping[int, Fence],
        next_offsets: Mapping[int, int],
        batch: Sequence[Enlistment],
        first_offsets: Mapping[int, int],
    ) -> EnlistResult:
        return await self._flow.write(
            lambda c: enlist.enlist(c, positions, next_offsets, batch, first_offsets)
        )

    async def advance(
        self,
        fence: Fence,
        first_offset: int,
        next_offset: int,
        dead_letters: Sequence[DeadLetter] = (),
    ) -> None:
        await self._flow.write(
            lambda c: enlist.advance(c, fence, first_offset, next_offset, dead_letters)
        )

    async def unpublished(self, limit: int) -> Sequence[DeliveryReceipt]:
        return await self._flow.read(lambda c: outbox.unpublished(c, limit))

    async def mark_published(self, delivery_ids: Sequence[int]) -> None:
        await self._flow.write(lambda c: outbox.mark_published(c, delivery_ids))

    async def mapping_rows(self) -> tuple[int, Sequence[MappingRow]]:
        return await self._flow.read(code_mappings.mapping_rows)

    async def put_mappings(
        self, rows: Sequence[MappingRow], *, replace_origin: bool = False
    ) -> int:
        return await self._flow.write(
            lambda c: code_mappings.put_mappings(c, rows, replace_origin=replace_origin)
        )

    async def unmapped(self) -> Mapping[CodeList, int]:
        return await self._asked.read(code_mappings.unmapped)

    # --- CaptureLedger ---

    async def take_singleton(self, name: str, owner: str) -> SingletonFence:
        return await self._flow.write(lambda c: ownership.take_singleton(c, name, owner))

    async def cursor(self, source: str, feed: str) -> str | None:
        return await self._flow.read(lambda c: capture.cursor(c, source, feed))

    async def next_read_seq(self, source: str, fence: SingletonFence) -> int:
        return await self._flow.write(lambda c: capture.next_read_seq(c, source, fence))

    async def newest_read_seq(self, source: str) -> int:
        return await self._flow.read(lambda c: capture.newest_read_seq(c, source))

    async def save_page(
        self,
        source: str,
        feed: str,
        fence: SingletonFence,
        old_cursor: str | None,
        new_cursor: str,
        seen: Sequence[SeenRow],
    ) -> None:
        await self._flow.write(
            lambda c: capture.save_page(c, source, feed, fence, old_cursor, new_cursor, seen)
        )

    async def seen(self, source: str, dossier_ids: Sequence[str]) -> Sequence[SeenRow]:
        return await self._flow.read(lambda c: capture.seen(c, source, dossier_ids))

    # --- KeyStore ---

    async def wrapped_keys(self) -> Mapping[str, bytes]:
        return await self._flow.read(capture.wrapped_keys)

    async def add_wrapped_key(self, key_id: str, wrapped: bytes) -> None:
        await self._flow.write(lambda c: capture.add_wrapped_key(c, key_id, wrapped))

    # --- LedgerReports ---

    async def counts(self) -> Sequence[TargetCounts]:
        return await self._asked.read(reports.counts)

    async def event_counts(self) -> Mapping[str, int]:
        return await self._asked.read(reports.event_counts)

    async def open_dead_letters(self) -> Mapping[str, int]:
        return await self._asked.read(reports.open_dead_letters)

    async def find_dossier(self, number: str) -> Sequence[str]:
        return await self._asked.read(lambda c: reports.find_dossier(c, number))

    async def trace(self, dossier_id: str) -> Sequence[TraceEntry]:
        return await self._asked.read(lambda c: reports.trace(c, dossier_id))
