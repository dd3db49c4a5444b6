"""`SqlLedger`: all of `model.py`'s protocols over one database, SQLite or PostgreSQL.

The flow's calls run one after the other on one connection; questions of people and metrics run on another,
so that they never stand in the flow's way.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType

from sqlalchemy import Connection

from schemas.dossier.mappings import CodeList, MappingRow
from schemas.ledger import (
    capture,
    code_mappings,
    engine_changes,
    enlist,
    log_reset,
    observations,
    outbox,
    packets,
    report_deliveries,
    reports,
    restore,
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
    FoundRow,
    Judged,
    LedgerUnavailable,
    Observed,
    PacketEnlistment,
    Position,
    RefusedObservation,
    ReportDelivery,
    SeenRow,
    SingletonFence,
    TargetCounts,
    TraceEntry,
    Work,
)
from schemas.records import DeadLetter, DeliveryReceipt, IndicatorObservation


class SqlLedger:
    """The ledger at `url` ("sqlite:///path" or "postgresql://…"). Use `open`, or as a context.

    Every method raises `LedgerUnavailable` when the database does not answer (the next call connects
    again) and `LedgerMismatch` when its tables are not ours. Every write bears being repeated.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._opened: restore.Identity | None = None
        self.session = secrets.token_hex(4)
        """The last part of the name of an owner that works with this ledger: see `take_over`."""
        self._flow = Lane(url, "ledger", self.session)
        self._asked = Lane(url, "ledger-reports")

    async def open(self) -> None:
        """Check that the tables are those of this version. Raises `LedgerMismatch`.

        From here on every flow's call raises `LedgerReplaced` when the database turns out to be another.
        """
        await asyncio.to_thread(require_current, self._url)
        await self._recognise()

    async def _recognise(self) -> None:
        self._flow.guard = None
        self._opened = await self._flow.write(restore.recognise, unhurried=True)
        self._flow.guard = restore.Guard(self._opened)

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
        """As `Ledger.take_over`. A previous owner that is frozen in a transaction loses its connection.

        Such an owner is known by its name, "host:process:session".
        """
        await self._flow.read(
            lambda c: ownership.end_frozen_owners(c, flow, topic, partitions, owner)
        )
        return await self._flow.write(
            lambda c: restore.take_over(c, self.identity, flow, topic, topic_id, partitions, owner)
        )

    async def held(self, fences: Sequence[Fence]) -> frozenset[Fence]:
        return await self._flow.read(lambda c: ownership.holding(c, fences, lock=False))

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

    async def enlist_packets(
        self,
        positions: Mapping[int, Fence],
        next_offsets: Mapping[int, int],
        batch: Sequence[PacketEnlistment],
        first_offsets: Mapping[int, int],
    ) -> EnlistResult:
        return await self._flow.write(
            lambda c: packets.enlist_packets(c, positions, next_offsets, batch, first_offsets)
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

    async def unpublished(
        self, limit: int, fences: Sequence[Fence] | None = None
    ) -> Sequence[DeliveryReceipt]:
        return await self._flow.read(lambda c: outbox.unpublished(c, limit, fences))

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

    # --- restore ---

    @property
    def identity(self) -> restore.Identity:
        """The database as it was opened."""
        if self._opened is None:
            raise LedgerUnavailable("the ledger is not open")
        return self._opened

    async def still_the_same(self) -> None:
        """Raises `LedgerReplaced` when the ledger was restored under this process."""
        await self._flow.read(lambda c: restore.require_generation(c, self.identity))

    async def is_older_than_log(
        self, receipts: Sequence[DeliveryReceipt], read_seqs: Mapping[str, int]
    ) -> bool:
        """Whether the log, as read before, knows of something that the ledger lacks."""
        return await self._flow.read(
            lambda c: restore.is_older(c, receipts, read_seqs), unhurried=True
        )

    async def begin_restore(self) -> None:
        """Let no fence of the lost time hold, and nobody become an owner before `finish_restore`."""
        self._flow.guard = None  # another process may have begun it, which is as good
        await self._flow.write(lambda c: restore.begin(c, self.identity), unhurried=True)
        await self._recognise()

    async def newest_settled(self) -> datetime | None:
        """When the ledger last settled a delivery, as far as it knows."""
        return await self._flow.read(restore.newest_settled)

    async def add_receipts(self, receipts: Sequence[DeliveryReceipt]) -> int:
        """Keep those receipts of the log that the ledger lacks. Returns how many."""
        return await self._flow.write(
            lambda c: restore.add_receipts(c, self.identity, receipts), unhurried=True
        )

    async def finish_restore(
        self,
        *,
        flow: str,
        logs: Mapping[str, restore.LogFound],
        read_seqs: Mapping[str, int],
    ) -> None:
        """Nothing of a partition is runnable until `flow` has come to the end of its log as given here.

        `logs` by topic: each one from which deliveries come into the ledger.
        """
        await self._flow.write(
            lambda c: restore.finish(
                c,
                self.identity,
                flow=flow,
                logs=logs,
                read_seqs_seen=read_seqs,
            )
        )
        await self._recognise()

    async def held_partitions(self) -> int:
        """Partitions whose log was lost together with the ledger's newest part."""
        return await self._flow.read(restore.held_partitions)

    async def new_places(
        self, log: log_reset.Log, read_again: Sequence[str]
    ) -> Sequence[log_reset.NewPlace]:
        """What `reset_log` would set."""
        return await self._flow.read(
            lambda c: log_reset.new_places(c, log, read_again), unhurried=True
        )

    async def require_silence(self, silence: float) -> None:
        """Raise `StillCapturing` when a capture has beaten within `silence` seconds."""
        await self._flow.write(lambda c: log_reset.require_silence(c, silence))

    async def reset_log(
        self, log: log_reset.Log, read_again: Sequence[str], silence: float
    ) -> Sequence[log_reset.NewPlace]:
        """See `log_reset.reset`; every other process must start again."""
        return await self._flow.write(
            lambda c: log_reset.reset(c, self.identity, log, read_again, silence), unhurried=True
        )

    async def release_held(self, ends: Mapping[tuple[str, int], int]) -> int:
        """Partitions that were held may go on once they have been read to these ends."""
        return await self._flow.write(
            lambda c: log_reset.release(c, self.identity, ends), unhurried=True
        )

    # --- CaptureLedger ---

    async def take_singleton(self, name: str, owner: str) -> SingletonFence:
        def take(connection: Connection) -> SingletonFence:
            restore.require_unchanged(connection, self.identity)
            return ownership.take_singleton(connection, name, owner)

        return await self._flow.write(take)

    async def take_silent_singleton(
        self, name: str, owner: str, silence: float
    ) -> SingletonFence | None:
        def take(connection: Connection) -> SingletonFence | None:
            restore.require_unchanged(connection, self.identity)
            return ownership.take_silent_singleton(connection, name, owner, silence)

        return await self._flow.write(take)

    async def beat_singleton(self, fence: SingletonFence) -> None:
        await self._flow.write(lambda c: ownership.beat_singleton(c, fence))

    async def release_singleton(self, fence: SingletonFence) -> None:
        await self._flow.write(lambda c: ownership.release_singleton(c, fence))

    async def cursor(self, source: str, feed: str) -> str | None:
        return await self._flow.read(lambda c: capture.cursor(c, source, feed))

    async def next_read_seq(self, source: str, fence: SingletonFence) -> int:
        return await self._flow.write(lambda c: capture.next_read_seq(c, source, fence))

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

    async def seen(
        self, source: str, dossier_ids: Sequence[str], fence: SingletonFence
    ) -> Sequence[SeenRow]:
        return await self._flow.read(lambda c: capture.seen(c, source, dossier_ids, fence))

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

    async def findings(self) -> Sequence[FoundRow]:
        return await self._asked.read(reports.findings)

    async def find_dossier(self, number: str) -> Sequence[str]:
        return await self._asked.read(lambda c: reports.find_dossier(c, number))

    async def find_report(self, report_id: str) -> Sequence[str]:
        return await self._asked.read(lambda c: report_deliveries.find_report(c, report_id))

    async def report_deliveries(self, report_id: str) -> Sequence[ReportDelivery]:
        return await self._asked.read(lambda c: report_deliveries.report_deliveries(c, report_id))

    async def trace(self, dossier_id: str) -> Sequence[TraceEntry]:
        return await self._asked.read(lambda c: reports.trace(c, dossier_id))

    # --- ObservationLedger ---

    async def put_observations(
        self,
        judge: Callable[[Observed], Sequence[IndicatorObservation]],
        about: Sequence[IndicatorObservation] | None = None,
    ) -> Sequence[IndicatorObservation]:
        return await self._flow.write(lambda c: observations.put(c, judge, about))

    async def take_observations(
        self,
        fence: Fence,
        first_offset: int,
        next_offset: int,
        wanted: Sequence[IndicatorObservation],
        judge: Callable[[Observed], Judged],
        dead_letters: Sequence[DeadLetter] = (),
    ) -> None:
        def take(connection: Connection) -> None:
            enlist.advance(connection, fence, first_offset, next_offset, dead_letters)
            observations.take(connection, wanted, judge)

        await self._flow.write(take)

    async def observations(
        self, *, indicator: str | None = None, agency: str | None = None, period: str | None = None
    ) -> Sequence[IndicatorObservation]:
        return await self._asked.read(
            lambda c: observations.find(c, indicator=indicator, agency=agency, period=period)
        )

    async def agencies(self) -> frozenset[str]:
        return await self._asked.read(observations.agencies)

    async def put_refused_observations(self, rows: Sequence[RefusedObservation]) -> None:
        await self._flow.write(lambda c: observations.put_refused(c, rows))

    async def refused_observations(self, limit: int) -> Sequence[RefusedObservation]:
        return await self._asked.read(lambda c: observations.refused(c, limit))
