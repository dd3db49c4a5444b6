"""Intake: notice -> `DossierEvent`, or dead letter. Pure mapping between two topics.

Its position is the ledger's, moved after the broker has confirmed everything that a batch has written.
A batch that is read twice writes events with the same ids.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from monitoring.crash_points import CrashPoint, crash_point
from monitoring.events import Events
from monitoring.metrics import Flow
from schemas.codec import Codec, UndecodableMessage
from schemas.ledger.model import Ledger
from schemas.reasons import Reason
from schemas.records import DossierEvent, Notice
from schemas.registry import UnknownSchemaId
from schemas.sealing import SealBroken, Sealer, UnknownKey
from schemas.topics import DOSSIER_EVENTS, ONESTOP_NOTICES
from streams.dead_letters import NotUnderstood, Writer, key_of
from streams.flow import Halt
from streams.patience import Patience
from streams.positions import YIELD_EVERY, Batch, Received
from streams.producer import Outgoing


class CannotMap(Exception):
    """A mapping's no. `reason` is `unreadable_payload` or `impossible_value`; the text has no content."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Understand(Protocol):
    """Understands the opened payload of a notice. Raises `CannotMap`."""

    def __call__(self, notice: Notice, payload: bytes) -> DossierEvent: ...


class Intake:
    """The body of the flow `intake`, on `onestop.notices`."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        codec: Codec,
        sealer: Sealer,
        understand: Understand,
        writer: Writer,
        patience: Patience,
        events: Events,
        wall: Callable[[], datetime],
    ) -> None:
        self._ledger = ledger
        self._codec = codec
        self._sealer = sealer
        self._mapping = understand
        self._writer = writer
        self._patience = patience
        self._events = events
        self._wall = wall

    async def __call__(self, batch: Batch) -> None:
        """See `streams.flow.Body`."""
        await self._patience(self._this_months_key)
        outgoing: list[Outgoing] = []
        mapped: list[DossierEvent] = []
        dead: list[NotUnderstood] = []
        for number, record in enumerate(batch.records):
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            understood = await self._understand(record)
            if isinstance(understood, DossierEvent):
                try:
                    key, value = understood.dossier_id.encode(), self._codec.encode(understood)
                except Exception as error:  # a value that Avro cannot hold: too great, no text
                    detail = f"the event cannot be written: {type(error).__name__}"
                    understood = _not(record, Reason.IMPOSSIBLE_VALUE, detail, key_of(record))
                else:
                    mapped.append(understood)
                    outgoing.append(Outgoing(DOSSIER_EVENTS.name, key, value))
                    continue
            dead.append(understood)
            outgoing += self._writer.outgoing(understood, with_gap=True)
        await self._writer.write(outgoing, dead)
        crash_point(CrashPoint.AFTER_INTAKE_PRODUCE)
        for event in mapped:
            self._events.event_mapped(
                dossier_id=event.dossier_id, event_id=event.event_id, kind=event.kind
            )
        await self._patience(
            lambda: self._ledger.enlist(batch.fences, batch.next_offsets, (), batch.first_offsets)
        )

    async def _this_months_key(self) -> None:
        now = self._wall()
        if self._sealer.due(now):
            await self._sealer.refresh(now)

    async def _understand(self, record: Received) -> DossierEvent | NotUnderstood:
        try:
            notice = await self._patience(lambda: self._notice(record))
        except UndecodableMessage as error:
            return _not(record, Reason.UNDECODABLE, str(error), key_of(record))
        except UnknownSchemaId as error:
            self._events.schema_rejected(
                flow=Flow.INTAKE, subject=ONESTOP_NOTICES.subject, detail=str(error)
            )
            raise Halt("unknown_schema_id", str(error)) from None
        try:
            return self._mapping(notice, await self._open(notice))
        except SealBroken as error:
            reason, detail = Reason.UNREADABLE_PAYLOAD, str(error)
        except CannotMap as error:
            reason, detail = error.reason, error.detail
        except (Halt, UnknownKey):
            raise
        except Exception as error:  # a notice that our mapping stumbles over must not stop the rest
            reason, detail = (
                Reason.UNREADABLE_PAYLOAD,
                f"the mapping failed: {type(error).__name__}",
            )
        return _not(record, reason, detail, notice.dossier_id, notice)

    async def _notice(self, record: Received) -> Notice:
        return await self._codec.decode_as(record.value or b"", Notice)

    async def _open(self, notice: Notice) -> bytes:
        try:
            return self._sealer.open(notice.sealed, notice.dossier_id)
        except UnknownKey:
            await self._patience(lambda: self._sealer.refresh(self._wall()))
        try:
            return self._sealer.open(notice.sealed, notice.dossier_id)
        except UnknownKey as error:
            raise Halt(
                "unknown_key", f"{error}; bring it back with: thongsuot keys import FILE"
            ) from None


def _not(
    record: Received,
    reason: Reason,
    detail: str,
    dossier_id: str | None,
    notice: Notice | None = None,
) -> NotUnderstood:
    return NotUnderstood(
        record=record, reason=reason, detail=detail, dossier_id=dossier_id, notice=notice
    )
