"""`thongsuot topics reset`: after Kafka was emptied, or its topics were made anew.

The ledger then stands where the log is not any more, and every flow halts with `position_hole`. This sets
the positions anew and makes the capture read its sources again, from where everything comes once more in its
order; what the ledger holds already is known by its event ids and is not sent twice. `thongsuot topics
release` is for the case in which the ledger was lost as well.
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
from schemas.ledger.log_reset import (
    LogPart,
    NewPlace,
    PartitionGone,
    RestorePending,
    StillCapturing,
)
from schemas.ledger.sql import SqlLedger
from schemas.topics import (
    DEAD_LETTERS,
    DOSSIER_EVENTS,
    INDICATOR_OBSERVATIONS,
    ONESTOP_NOTICES,
    OWING,
    REPORT_PACKETS,
)
from streams.log_ends import LogAway, LogEnds
from streams.settings import KafkaSettings, Settings
from streams.topic_check import admin_client, brokers_up, require_topics, topic_ids, unreachable

_ANSWER_SECONDS = 30.0
_PAUSE_SECONDS = 0.5
_READ = (
    ONESTOP_NOTICES,
    DOSSIER_EVENTS,
    DEAD_LETTERS,
    INDICATOR_OBSERVATIONS,
    REPORT_PACKETS,
)
_READ_AGAIN = (ONESTOP_NOTICES.name, DOSSIER_EVENTS.name)
_FLOWS = (Flow.INTAKE, Flow.LEDGER)


class Refused(Exception):
    """It must not be done now; `vi` says the same in Vietnamese."""

    def __init__(self, vi: str, en: str) -> None:
        super().__init__(en)
        self.vi = vi


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSet:
    """One topic of one flow: how many partitions are set anew, and how much of the old log was read.

    `lost` False: the topic is whole, and what of it is unread is passed over, because a topic behind it was
    lost and the source tells all of it again.
    """

    flow: str
    topic: str
    partitions: int
    lost: bool
    read: int  # records of the old log that the ledger has passed
    there: int  # records in the new one
    passed_over: int  # of those that are there
    made_anew: bool

    @property
    def told_again(self) -> bool:
        """Whether the source is read again for it."""
        return self.topic in _READ_AGAIN

    @classmethod
    def of(cls, places: Sequence[NewPlace]) -> Sequence[TopicSet]:
        """Partitions of one topic together."""
        groups: dict[tuple[str, str, bool], list[NewPlace]] = defaultdict(list)
        for place in places:
            groups[place.flow, place.topic, place.lost].append(place)
        return [
            cls(
                flow=flow,
                topic=topic,
                partitions=len(some),
                lost=lost,
                read=sum(place.next_offset for place in some),
                there=sum(place.now.end - place.now.start for place in some),
                passed_over=sum(
                    place.goes_to - (place.now.start if lost else place.next_offset)
                    for place in some
                ),
                made_anew=lost and any(place.now.topic_id for place in some),
            )
            for (flow, topic, lost), some in sorted(groups.items())
        ]


async def plan(settings: Settings) -> Sequence[TopicSet]:
    """What a reset would do. Changes nothing. Raises as `reset`."""
    await require_topics(settings.kafka)
    async with _ledger(settings) as ledger:
        return TopicSet.of(await ledger.new_places(await _log(settings.kafka), _READ_AGAIN))


async def reset(settings: Settings, logger: FilteringBoundLogger) -> Sequence[TopicSet]:
    """Do it. Nothing lost is no error.

    Raises `Refused` while workers are alive and where it cannot be done, `TopicsUnfit`,
    `BrokerUnreachable`, `LedgerMismatch` or `LedgerUnavailable`.
    """
    await require_topics(settings.kafka)
    await require_no_workers(settings.kafka)
    silence = settings.capture.stand_by_seconds
    async with _ledger(settings) as ledger:
        # Before the ends of the log are read, and once more with the reset: a capture that lives in between
        # writes beyond those ends.
        await ledger.require_silence(silence)
        log = await _log(settings.kafka)
        done = TopicSet.of(await ledger.reset_log(log, _READ_AGAIN, silence))
        held = await ledger.held_partitions()
    for topic in done:
        logger.warning(
            "topic_reset",
            flow=topic.flow,
            topic=topic.topic,
            partitions=topic.partitions,
            lost=topic.lost,
            read=topic.read,
            there=topic.there,
            passed_over=topic.passed_over,
            held=held,
        )
    return done


async def release(settings: Settings, logger: FilteringBoundLogger) -> int:
    """Let partitions go that were held because ledger and log were both lost. Returns how many.

    To be done when the capture has read its sources again, and intake has followed. Raises as `reset`.
    """
    await require_topics(settings.kafka)
    await require_no_workers(settings.kafka)
    async with _ledger(settings) as ledger:
        await ledger.require_silence(settings.capture.stand_by_seconds)
        log = await _log(settings.kafka)
        owing = {topic.name for topic in OWING}
        ends = {place: part.end for place, part in log.items() if place[0] in owing}
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
    except StillCapturing as error:
        raise Refused(
            f"capture vẫn đang chạy: {error}. Dừng mọi thongsuot worker, kể cả worker --only capture, rồi làm "
            f"lại (đợi {settings.capture.stand_by_seconds:g} giây nếu tiến trình vừa bị ngắt)",
            f"a capture is alive: {error}. Stop every thongsuot worker, also worker --only capture, and try "
            f"again (after a crash, once {settings.capture.stand_by_seconds:g} s have passed)",
        ) from None


async def require_no_workers(kafka: KafkaSettings) -> None:
    """Raise `Refused` while a consumer group of the hub has members. A capture is in none of them.

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
