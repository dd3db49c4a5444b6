"""The ledger flow: `dossier.events` and `dead.letters` into the ledger.

Per batch one transaction projects the dossiers, enlists what is owed and moves the positions. From there
on the ledger is responsible. This flow never waits for a target.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime
from functools import partial

from monitoring.events import Events
from monitoring.metrics import Flow
from schemas.codec import Codec, UndecodableMessage
from schemas.ledger.model import Due, Enlistment, Ledger
from schemas.reasons import Reason
from schemas.records import DeadLetter, DossierEvent
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
        rows: list[Enlistment] = []
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
                missing = gap(understood, self._wall())
                if missing is None:
                    continue
                rows.append(self._enlistment(record, missing, self._codec.encode(missing)))
            else:
                assert record.value is not None
                rows.append(self._enlistment(record, understood, record.value))
        await self._writer.write(letters, dead)
        result = await self._patience(
            lambda: self._ledger.enlist(batch.fences, batch.next_offsets, rows, batch.first_offsets)
        )
        self._enlisted({row.event.dossier_id for row in rows})
        self._events.enlisted(
            topic=DOSSIER_EVENTS.name,
            partition=batch.records[0].partition,
            events=result.enlisted,
            duplicates=result.duplicates,
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
            raise _stop(self._events, DOSSIER_EVENTS.subject, error) from None

    def _enlistment(self, record: Received, event: DossierEvent, payload: bytes) -> Enlistment:
        return Enlistment(
            event=event,
            payload=payload,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            dues=self._dues(event),
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
            await self._patience(partial(self._ledger.advance, fence, first, following, letters))

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
            raise _stop(self._events, DEAD_LETTERS.subject, error) from None


def _stop(events: Events, subject: str, error: UnknownSchemaId) -> Halt:
    events.schema_rejected(flow=Flow.LEDGER, subject=subject, detail=str(error))
    return Halt("unknown_schema_id", str(error))
