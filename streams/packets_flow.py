"""Packets of reports from Kafka into the ledger, as the second record type that is owed to a target.

The way is that of dossier events: what cannot be understood is a dead letter, an unknown schema id stops the
flow and pages, and per batch one transaction writes what is owed and moves the positions. Whether the target
can be reached, or is set up at all, makes no difference here: what is enlisted waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial

from monitoring.crash_points import CrashPoint, crash_point
from monitoring.events import Events
from schemas.codec import Codec, UndecodableMessage
from schemas.ledger.model import (
    Due,
    EnlistResult,
    Ledger,
    LedgerRefuses,
    PacketEnlistment,
)
from schemas.reasons import Reason
from schemas.records import ReportPacket
from schemas.registry import UnknownSchemaId
from schemas.reports.kinds import OUTGOING
from schemas.topics import REPORT_PACKETS
from streams.dead_letters import NotUnderstood, Writer
from streams.ledger_flow import in_parts, stop
from streams.patience import Patience
from streams.positions import YIELD_EVERY, Batch, Received
from streams.producer import Outgoing


class PacketsToLedger:
    """The body on `report.packets`. `enlisted` is told which reports have new work."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        codec: Codec,
        dues: Callable[[ReportPacket], tuple[Due, ...]],
        writer: Writer,
        patience: Patience,
        events: Events,
        enlisted: Callable[[Collection[str]], None],
    ) -> None:
        self._ledger = ledger
        self._codec = codec
        self._dues = dues
        self._writer = writer
        self._patience = patience
        self._events = events
        self._enlisted = enlisted

    async def __call__(self, batch: Batch) -> None:
        """See `streams.flow.Body`."""
        begun = time.monotonic()
        rows: dict[Received, PacketEnlistment] = {}
        dead: list[NotUnderstood] = []
        letters: list[Outgoing] = []
        for number, record in enumerate(batch.records):
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            understood = await self._patience(partial(self._understand, record))
            if isinstance(understood, NotUnderstood):
                dead.append(understood)
                letters += self._writer.outgoing(understood, with_gap=False)
            else:
                rows[record] = self._enlistment(record, understood)
        await self._writer.write(letters, dead)
        crash_point(CrashPoint.BEFORE_ENLIST)
        result = await in_parts(batch, rows, self._enlist, self._refused)
        crash_point(CrashPoint.AFTER_ENLIST)
        for restored in result.restored:
            self._events.partition_restored(restored)
        for row in result.found:
            self._events.packet_found(
                target=row.target,
                report_id=row.dossier_id,
                reason=row.finding.reason,
                detail=row.finding.detail or "",
            )
        self._enlisted({row.record_id for row in rows.values()})
        self._events.enlisted(
            topic=REPORT_PACKETS.name,
            partition=batch.records[0].partition,
            events=result.enlisted,
            duplicates=result.duplicates,
            overtaken=result.overtaken,
            seconds=time.monotonic() - begun,
        )

    async def _understand(self, record: Received) -> ReportPacket | NotUnderstood:
        try:
            packet = await self._codec.decode_as(record.value or b"", ReportPacket)
        except UndecodableMessage as error:
            return _dead(record, Reason.UNDECODABLE, str(error))
        except UnknownSchemaId as error:
            raise stop(self._events, REPORT_PACKETS.subject, error) from None
        wrong = fault(packet, record.key)
        return packet if wrong is None else _dead(record, Reason.IMPOSSIBLE_VALUE, wrong)

    async def _enlist(self, batch: Batch, wanted: Sequence[PacketEnlistment]) -> EnlistResult:
        return await self._patience(
            lambda: self._ledger.enlist_packets(
                batch.fences, batch.next_offsets, wanted, batch.first_offsets
            )
        )

    async def _refused(
        self, batch: Batch, row: PacketEnlistment, refusal: LedgerRefuses
    ) -> EnlistResult:
        """Keep the record as a dead letter; the next revision shows that this one is missing."""
        (record,) = batch.records
        what = _dead(record, Reason.UNCLASSIFIED_ERROR, f"{type(refusal).__name__}: {refusal}")
        await self._writer.write(self._writer.outgoing(what, with_gap=False), [what])
        return await self._enlist(batch, [])

    def _enlistment(self, record: Received, packet: ReportPacket) -> PacketEnlistment:
        assert record.value is not None
        return PacketEnlistment(
            packet=packet,
            payload=record.value,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            dues=self._dues(packet),
        )


def fault(packet: ReportPacket, key: bytes | None) -> str | None:
    """What of a packet's identity cannot be, or None. Its content is the sink's business.

    Two revisions of one report under two keys would have two owners; one id for two revisions would let
    the second go under as a duplicate.
    """
    if packet.kind not in OUTGOING:
        return "kind: none that the province sends"
    if packet.revision < 1:
        return "revision: below 1"
    if packet.packet_id != f"{packet.report_id}/r{packet.revision}":
        return "packet_id: not the report and the revision"
    if key != packet.report_id.encode():
        return "key: not the report"
    return None


def _dead(record: Received, reason: Reason, detail: str) -> NotUnderstood:
    # Its key is a report's id, not a dossier's.
    return NotUnderstood(record=record, reason=reason, detail=detail, dossier_id=None)
