"""What could not be understood: kept whole and sealed, and a gap where a step may be missing."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from monitoring.events import Events
from schemas.codec import Codec
from schemas.reasons import Reason
from schemas.records import (
    DeadLetter,
    DossierEvent,
    EventKind,
    Feed,
    Notice,
    identity_only,
)
from schemas.sealing import Sealer
from schemas.topics import DEAD_LETTERS, DOSSIER_EVENTS
from streams.flow import FlowBroken, Halt
from streams.positions import Received
from streams.producer import NotConfirmed, Outgoing, Producer, TooLarge

_PAUSE_SECONDS = 1.0
_DOSSIER_ID = re.compile(rb"[0-9A-Za-z._:-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotUnderstood:
    """One record that is kept as a dead letter. `detail` names field and remedy, never content."""

    record: Received
    reason: Reason
    detail: str
    dossier_id: str | None
    notice: Notice | None = None


def key_of(record: Received) -> str | None:
    """The dossier id in the Kafka key, where there is something that can be one."""
    if record.key is None or not _DOSSIER_ID.fullmatch(record.key):
        return None
    return record.key.decode("ascii")


def place(record: Received) -> str:
    """The associated data of a dead letter's sealed bytes."""
    return f"{record.topic}/{record.partition}/{record.log_pos}"


def letter(what: NotUnderstood, sealer: Sealer, now: datetime) -> DeadLetter:
    """The dead letter: the original bytes, sealed for their place in the log."""
    record = what.record

    def sealed(value: bytes | None) -> bytes | None:
        return None if value is None else sealer.seal(value, place(record))

    return DeadLetter(
        topic=record.topic,
        partition=record.partition,
        offset=record.log_pos,
        reason=what.reason,
        detail=what.detail,
        dossier_id=what.dossier_id,
        sealed_key=sealed(record.key),
        sealed_value=sealed(record.value),
        first_at=_moment(record.at),
        recorded_at=now,
    )


def gap(what: NotUnderstood, now: datetime) -> DossierEvent | None:
    """The gap that a dead letter leaves: the dossier's steps wait there. ``None`` without a dossier.

    Its event id is its place in the log, so that a second reading makes the same gap.
    """
    if what.dossier_id is None:
        return None
    notice, read_at = what.notice, _moment(what.record.at)
    return identity_only(
        event_id=f"gap:{place(what.record)}",
        dossier_id=what.dossier_id,
        kind=EventKind.GAP,
        source=notice.source if notice else what.record.topic,
        feed=notice.feed if notice else Feed.ACTIONS,
        cursor=notice.cursor if notice else "",
        content_hash="",
        read_seq=notice.read_seq if notice else 0,
        effective_at=notice.captured_at if notice else read_at,
        recorded_at=now,
        sealed=b"",
    )


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(max(at, 0.0), UTC)


class Writer:
    """Writes what a body has to write, dead letters and gaps included, and returns when it is confirmed."""

    def __init__(
        self,
        flow: str,
        *,
        producer: Producer,
        codec: Codec,
        sealer: Sealer,
        events: Events,
        wall: Callable[[], datetime],
        patience: float,
    ) -> None:
        self._flow = flow
        self._producer = producer
        self._codec = codec
        self._sealer = sealer
        self._events = events
        self._wall = wall
        self._patience = patience

    def outgoing(self, what: NotUnderstood, *, with_gap: bool) -> list[Outgoing]:
        """The dead letter, and behind it the gap on `dossier.events`."""
        now = self._wall()
        key = (what.dossier_id or place(what.record)).encode()
        records = [
            Outgoing(DEAD_LETTERS.name, key, self._codec.encode(letter(what, self._sealer, now)))
        ]
        missing = gap(what, now) if with_gap else None
        if missing is not None:
            records.append(Outgoing(DOSSIER_EVENTS.name, key, self._codec.encode(missing)))
        return records

    async def write(self, records: Sequence[Outgoing], dead: Sequence[NotUnderstood] = ()) -> None:
        """Raises `FlowBroken` when the broker does not confirm in time, and `Halt` for what it refuses."""
        end = time.monotonic() + self._patience
        while True:
            try:
                await self._producer.produce(records)
            except TooLarge as error:
                raise Halt("too_large", f"{error}; raise max.message.bytes") from None
            except NotConfirmed as error:
                if time.monotonic() + _PAUSE_SECONDS > end:
                    for what in dead:
                        self._events.dead_letter_write_failed(
                            topic=what.record.topic,
                            partition=what.record.partition,
                            offset=what.record.offset,
                            error=type(error).__name__,
                        )
                    raise FlowBroken(f"flow {self._flow}: {error}") from None
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                break
        for what in dead:
            self._events.dead_lettered(
                flow=self._flow,
                reason=what.reason,
                topic=what.record.topic,
                partition=what.record.partition,
                offset=what.record.offset,
                dossier_id=what.dossier_id,
                detail=what.detail,
            )
