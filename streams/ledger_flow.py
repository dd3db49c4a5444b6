"""The ledger flow: `dossier.events` and `dead.letters` into the ledger.

Per batch one transaction projects the dossiers, enlists what is owed and moves the positions. From there
on the ledger is responsible. This flow never waits for a target.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from monitoring.crash_points import CrashPoint, crash_point
from monitoring.events import Events
from monitoring.metrics import Flow
from schemas.codec import Codec, UndecodableMessage
from schemas.ledger.model import Due, Enlistment, EnlistResult, Ledger, LedgerRefuses, Logged
from schemas.reasons import Reason
from schemas.records import DeadLetter, DossierEvent, EventKind
from schemas.registry import UnknownSchemaId
from schemas.sealing import Sealer
from schemas.topics import DEAD_LETTERS, DOSSIER_EVENTS
from streams.dead_letters import NotUnderstood, Writer, gap, key_of, letter
from streams.flow import Halt
from streams.patience import Patience
from streams.positions import YIELD_EVERY, Batch, Received
from streams.producer import Outgoing


class EventsToLedger:
    """The body on `dossier.events`. `enlisted` is told whose dossiers have new work."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        codec: Codec,
        dues: Callable[[DossierEvent], tuple[Due, ...]],
        writer: Writer,
        patience: Patience,
        events: Events,
        wall: Callable[[], datetime],
        enlisted: Callable[[Collection[str]], None],
    ) -> None:
        self._ledger = ledger
        self._codec = codec
        self._dues = dues
        self._writer = writer
        self._patience = patience
        self._events = events
        self._wall = wall
        self._enlisted = enlisted

    async def __call__(self, batch: Batch) -> None:
        """See `streams.flow.Body`."""
        begun = time.monotonic()
        rows: dict[Received, Enlistment] = {}
        dead: list[NotUnderstood] = []
        letters: list[Outgoing] = []
        for number, record in enumerate(batch.records):
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            understood = await self._patience(partial(self._understand, record))
            if isinstance(understood, NotUnderstood):
                dead.append(understood)
                # The gap needs no way through Kafka: it takes the place of the record itself.
                letters += self._writer.outgoing(understood, with_gap=False)
                missing = self._gap(understood)
                if missing is not None:
                    rows[record] = missing
            else:
                assert record.value is not None
                rows[record] = self._enlistment(record, understood, record.value)
        await self._writer.write(letters, dead)
        crash_point(CrashPoint.BEFORE_ENLIST)
        result = await in_parts(batch, rows, self._enlist, self._refused)
        crash_point(CrashPoint.AFTER_ENLIST)
        for restored in result.restored:
            self._events.partition_restored(restored)
        self._enlisted({row.event.dossier_id for row in rows.values()})
        self._events.enlisted(
            topic=DOSSIER_EVENTS.name,
            partition=batch.records[0].partition,
            events=result.enlisted,
            duplicates=result.duplicates,
            overtaken=result.overtaken,
            seconds=time.monotonic() - begun,
        )

    async def _understand(self, record: Received) -> DossierEvent | NotUnderstood:
        try:
            return await self._codec.decode_as(record.value or b"", DossierEvent)
        except UndecodableMessage as error:
            return NotUnderstood(
                record=record,
                reason=Reason.UNDECODABLE,
                detail=str(error),
                dossier_id=key_of(record),
            )
        except UnknownSchemaId as error:
            raise stop(self._events, DOSSIER_EVENTS.subject, error) from None

    async def _enlist(self, batch: Batch, wanted: Sequence[Enlistment]) -> EnlistResult:
        return await self._patience(
            lambda: self._ledger.enlist(
                batch.fences, batch.next_offsets, wanted, batch.first_offsets
            )
        )

    async def _refused(self, batch: Batch, row: Enlistment, refusal: LedgerRefuses) -> EnlistResult:
        """Keep the record as a dead letter, and let its dossier's steps wait where it would be."""
        (record,) = batch.records
        if row.event.kind is EventKind.GAP:
            rows = {}  # not even its dossier's id can be held: the dead letter is all that is left
        else:
            what = NotUnderstood(
                record=record,
                reason=Reason.UNCLASSIFIED_ERROR,
                detail=f"{type(refusal).__name__}: {refusal}",
                dossier_id=row.event.dossier_id,
            )
            await self._writer.write(self._writer.outgoing(what, with_gap=False), [what])
            missing = self._gap(what)
            rows = {} if missing is None else {record: missing}
        return await in_parts(batch, rows, self._enlist, self._refused)

    def _gap(self, what: NotUnderstood) -> Enlistment | None:
        missing = gap(what, self._wall())
        if missing is None:
            return None
        return self._enlistment(what.record, missing, self._codec.encode(missing))

    def _enlistment(self, record: Received, event: DossierEvent, payload: bytes) -> Enlistment:
        return Enlistment(
            event=event,
            payload=payload,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            dues=self._dues(event),
        )


L = TypeVar("L", bound=Logged)


async def in_parts(
    batch: Batch,
    rows: Mapping[Received, L],
    enlist: Callable[[Batch, Sequence[L]], Awaitable[EnlistResult]],
    refused: Callable[[Batch, L, LedgerRefuses], Awaitable[EnlistResult]],
) -> EnlistResult:
    """One transaction; or, when the database refuses a row, as few as keep it from the others.

    `refused` is given a row that is refused even by itself, with its batch of one record.
    """
    wanted = [rows[record] for record in batch.records if record in rows]
    try:
        return await enlist(batch, wanted)
    except LedgerRefuses as refusal:
        if not wanted:
            raise
        if len(batch.records) == 1:
            return await refused(batch, wanted[0], refusal)
    # Nothing was written. The halves go in the order of the log, so the positions have no hole.
    first, second = batch.halves()
    one = await in_parts(first, rows, enlist, refused)
    two = await in_parts(second, rows, enlist, refused)
    return EnlistResult(
        enlisted=one.enlisted + two.enlisted,
        duplicates=one.duplicates + two.duplicates,
        overtaken=one.overtaken + two.overtaken,
        restored=one.restored + two.restored,
        found=one.found + two.found,
    )


class DeadLettersToLedger:
    """The body on `dead.letters`: every letter becomes a row that someone can list."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        codec: Codec,
        sealer: Sealer,
        patience: Patience,
        events: Events,
        wall: Callable[[], datetime],
    ) -> None:
        self._ledger = ledger
        self._codec = codec
        self._sealer = sealer
        self._patience = patience
        self._events = events
        self._wall = wall

    async def __call__(self, batch: Batch) -> None:
        """See `streams.flow.Body`."""
        for partition, fence in batch.fences.items():
            letters = [
                await self._patience(partial(self._letter, record))
                for record in batch.records
                if record.partition == partition
            ]
            first, following = batch.first_offsets[partition], batch.next_offsets[partition]
            try:
                await self._patience(
                    partial(self._ledger.advance, fence, first, following, letters)
                )
            except LedgerRefuses as refusal:
                # What a dead letter says of itself may be what the database cannot hold; the sealed
                # bytes are none of that.
                bare = [
                    replace(one, dossier_id=None, detail=f"{type(refusal).__name__}: {refusal}")
                    for one in letters
                ]
                await self._patience(partial(self._ledger.advance, fence, first, following, bare))

    async def _letter(self, record: Received) -> DeadLetter:
        try:
            return await self._codec.decode_as(record.value or b"", DeadLetter)
        except UndecodableMessage as error:
            # A dead letter of a dead letter goes nowhere but into the ledger.
            what = NotUnderstood(
                record=record,
                reason=Reason.UNDECODABLE,
                detail=str(error),
                dossier_id=key_of(record),
            )
            self._events.dead_lettered(
                flow=Flow.LEDGER,
                reason=what.reason,
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                detail=what.detail,
            )
            return replace(letter(what, self._sealer, self._wall()), dossier_id=None)
        except UnknownSchemaId as error:
            raise stop(self._events, DEAD_LETTERS.subject, error) from None


def stop(events: Events, subject: str, error: UnknownSchemaId) -> Halt:
    """Page: the record is sound, and this worker cannot read it."""
    events.schema_rejected(flow=Flow.LEDGER, subject=subject, detail=str(error))
    return Halt("unknown_schema_id", str(error))
