"""`thongsuot topics reset`: after Kafka was emptied, or its topics were made anew.

The ledger then stands where the log is not any more, and every flow halts with `position_hole`. This sets
the positions anew and makes the capture read its sources again, from where everything comes once more in its
order; what the ledger holds already is known by its event ids and is not sent twice. `thongsuot topics release` is for the case
in which the ledger was lost as well.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from kafka.errors import KafkaError
from structlog.typing import FilteringBoundLogger

from monitoring.metrics import Flow
from schemas.ledger.log_reset import LogPart, LostPlace, PartitionGone, RestorePending
from schemas.ledger.sql import SqlLedger
from schemas.topics import DEAD_LETTERS, DOSSIER_EVENTS, ONESTOP_NOTICES
from streams.log_ends import LogAway, LogEnds
from streams.settings import KafkaSettings, Settings
from streams.topic_check import admin_client, brokers_up, require_topics, topic_ids, unreachable

_ANSWER_SECONDS = 30.0
_PAUSE_SECONDS = 0.5
_READ = (ONESTOP_NOTICES, DOSSIER_EVENTS, DEAD_LETTERS)
_READ_AGAIN = frozenset({ONESTOP_NOTICES.name, DOSSIER_EVENTS.name})
_FLOWS = (Flow.INTAKE, Flow.LEDGER)


class Refused(Exception):
    """It must not be done now; `vi` says the same in Vietnamese."""

    def __init__(self, vi: str, en: str) -> None:
        super().__init__(en)
        self.vi = vi


@dataclass(frozen=True, slots=True, kw_only=True)
class LostTopic:
    """One topic of one flow: how many partitions are set anew, and how much of the old log was read."""

    flow: str
    topic: str
    partitions: int
    read: int  # records of the old log that the ledger has passed
    there: int  # records in the new one
    made_anew: bool

    @classmethod
    def of(cls, places: Sequence[LostPlace]) -> Sequence[LostTopic]:
        """Partitions of one topic together."""
        groups: dict[tuple[str, str], list[LostPlace]] = defaultdict(list)
        for place in places:
            groups[place.flow, place.topic].append(place)
        return [
            cls(
                flow=flow,
                topic=topic,
                partitions=len(some),
                read=sum(place.next_offset for place in some),
                there=sum(place.now.end - place.now.start for place in some),
                made_anew=any(place.now.topic_id for place in some),
            )
            for (flow, topic), some in sorted(groups.items())
        ]


async def plan(settings: Settings) -> Sequence[LostTopic]:
    """What a reset would do. Changes nothing. Raises as `reset`."""
    await require_topics(settings.kafka)
    async with _ledger(settings) as ledger:
        return LostTopic.of(await ledger.lost_places(await _log(settings.kafka)))


async def reset(settings: Settings, logger: FilteringBoundLogger) -> Sequence[LostTopic]:
    """Do it. Nothing lost is no error.

    Raises `Refused` while workers are alive and where it cannot be done, `TopicsUnfit`,
    `BrokerUnreachable`, `LedgerMismatch` or `LedgerUnavailable`.
    """
    await require_topics(settings.kafka)
    await require_no_workers(settings.kafka)
    async with _ledger(settings) as ledger:
        lost = LostTopic.of(await ledger.reset_log(await _log(settings.kafka), _READ_AGAIN))
        held = await ledger.held_partitions()
    for topic in lost:
        logger.warning(
            "topic_reset",
            flow=topic.flow,
            topic=topic.topic,
            partitions=topic.partitions,
            read=topic.read,
            there=topic.there,
            held=held,
        )
    return lost


async def release(settings: Settings, logger: FilteringBoundLogger) -> int:
    """Let partitions go that were held because ledger and log were both lost. Returns how many.

    To be done when the capture has read its sources again, and intake has followed. Raises as `reset`.
    """
    await require_topics(settings.kafka)
    await require_no_workers(settings.kafka)
    async with _ledger(settings) as ledger:
        log = await _log(settings.kafka)
        ends = {place: part.end for place, part in log.items() if place[0] == DOSSIER_EVENTS.name}
        held = await ledger.release_held(ends)
    if held:
        logger.warning("partitions_released", partitions=held)
    return held


@asynccontextmanager
async def _ledger(settings: Settings) -> AsyncIterator[SqlLedger]:
    try:
        async with SqlLedger(settings.ledger_url.get_secret_value()) as ledger:
            yield ledger
    except PartitionGone as error:
        raise Refused(
            "chủ đề mới có ít phân vùng hơn trước: tạo lại với đúng số phân vùng cũ", str(error)
        ) from None
    except RestorePending as error:
        raise Refused(
            "sổ cái cũng vừa được phục hồi: chạy thongsuot worker một lần để sổ cái ghi nhận, rồi dừng lại",
            str(error),
        ) from None


async def require_no_workers(kafka: KafkaSettings) -> None:
    """Raise `Refused` while a consumer group of the hub has members.

    The embedded broker cannot be asked; there a worker that lives ends by itself, because the ledger's
    generation rises.
    """
    if kafka.embedded:
        return
    try:
        members = await asyncio.to_thread(_members, await brokers_up(kafka))
    except KafkaError as error:
        raise unreachable(kafka, error) from None
    alive = {group: number for group, number in members.items() if number}
    if alive:
        told = ", ".join(f"{group} ({number})" for group, number in sorted(alive.items()))
        raise Refused(
            f"trục vẫn đang chạy: {told}. Dừng mọi thongsuot worker rồi làm lại (đợi hết "
            "THONGSUOT_KAFKA__SESSION_TIMEOUT_SECONDS nếu tiến trình vừa bị ngắt)",
            f"workers are alive: {told}. Stop every thongsuot worker and try again (after a crash, once "
            "THONGSUOT_KAFKA__SESSION_TIMEOUT_SECONDS have passed)",
        )


def _members(kafka: KafkaSettings) -> Mapping[str, int]:
    admin = admin_client(kafka)
    try:
        groups = [f"{kafka.group_prefix}-{flow}" for flow in _FLOWS]
        end = time.monotonic() + _ANSWER_SECONDS
        while True:
            try:
                described = admin.describe_groups(groups)
            except KafkaError as error:
                # A Kafka that is new makes the topic of its groups when it is first asked about one.
                if not error.retriable or time.monotonic() > end:
                    raise
                time.sleep(_PAUSE_SECONDS)
            else:
                return {group: len(one["members"]) for group, one in described.items()}
    finally:
        admin.close()


async def _log(kafka: KafkaSettings) -> Mapping[tuple[str, int], LogPart]:
    ids = await topic_ids(kafka)
    places = [(topic.name, number) for topic in _READ for number in range(kafka.partitions)]
    ends = LogEnds(kafka)
    try:
        await ends.start(_ANSWER_SECONDS)
        bounds = await ends.bounds(places, _ANSWER_SECONDS)
    except LogAway as error:
        raise unreachable(kafka, error) from None
    finally:
        await ends.stop()
    return {
        place: LogPart(start=start, end=end, topic_id=ids.get(place[0]))
        for place, (start, end) in bounds.items()
    }
