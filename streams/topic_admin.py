"""`thongsuot topics create`: makes the catalogue's topics that are missing, and touches no other.

A topic that is there is compared with the catalogue and left alone: what to change on a topic in use is
for a person to decide. Running it again changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from kafka.errors import KafkaError, TopicAlreadyExistsError

from schemas.topics import REPLICATION, TOPICS, Topic
from streams.settings import KafkaSettings
from streams.topic_check import (
    Difference,
    FoundTopics,
    admin_client,
    brokers_up,
    differences,
    missing,
    read_topics,
    replication_wanted,
    unreachable,
)

_TRIES = 20
_PAUSE_SECONDS = 0.5


class CannotCreate(Exception):
    """The topics cannot be made as asked; `vi` says the same in Vietnamese."""

    def __init__(self, vi: str, en: str) -> None:
        super().__init__(en)
        self.vi = vi


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What there is to do: which topics to make, and how those that are there differ."""

    brokers: int
    partitions: int
    replication: int
    to_make: Sequence[Topic]
    left_alone: Sequence[Topic]
    differing: Sequence[Difference]


def plan(found: FoundTopics, partitions: int, replication: int | None) -> Plan:
    """Compare, and decide about the replication. None: 3, or 1 on a single broker.

    Raises `CannotCreate` when the brokers cannot hold so many replicas, or when the hub would refuse to
    start on so few.
    """
    brokers = found.brokers
    if replication is None:
        if brokers == REPLICATION - 1:
            raise CannotCreate(
                f"chỉ có {brokers} máy chủ Kafka, không giữ được {REPLICATION} bản: bật thêm "
                f"máy chủ thứ ba, hoặc chọn --replication {brokers} (khi đó chỉ một bản cần xác nhận)",
                f"only {brokers} brokers are known and cannot hold {REPLICATION} replicas: start the "
                f"third, or choose --replication {brokers} (then one replica alone confirms a write)",
            )
        replication = replication_wanted(brokers)
    if replication > brokers:
        raise CannotCreate(
            f"--replication {replication}: chỉ có {brokers} máy chủ Kafka, giảm xuống {brokers} hoặc "
            "thêm máy chủ",
            f"--replication {replication}: there are only {brokers} brokers; lower it to {brokers}, or "
            "add brokers",
        )
    if replication < replication_wanted(brokers):
        least = replication_wanted(brokers)
        raise CannotCreate(
            f"--replication {replication}: với {brokers} máy chủ Kafka, trục chỉ chạy khi mỗi chủ đề có "
            f"ít nhất {least} bản",
            f"--replication {replication}: with {brokers} brokers the hub only starts on topics of at "
            f"least {least} replicas",
        )
    absent = missing(found)
    present = [topic for topic in TOPICS if topic not in absent]
    return Plan(
        brokers=brokers,
        partitions=partitions,
        replication=replication,
        to_make=absent,
        left_alone=present,
        differing=differences(found, partitions, present),
    )


def as_dict(done: Plan, *, dry_run: bool) -> dict[str, object]:
    """For `--json`."""
    return {
        "dry_run": dry_run,
        "brokers": done.brokers,
        "partitions": done.partitions,
        "replication": done.replication,
        "made": {topic.name: topic.config(done.replication) for topic in done.to_make},
        "left_alone": [topic.name for topic in done.left_alone],
        "differing": [one.en for one in done.differing],
    }


async def create(kafka: KafkaSettings, *, replication: int | None, dry_run: bool) -> Plan:
    """Make what is missing, and return what was to do, with the differences that stand afterwards.

    Raises `CannotCreate`, `BrokerUnreachable`.
    """
    if kafka.embedded:
        raise CannotCreate(
            "broker nhúng của bản chạy thử tự tạo chủ đề khi khởi động: THONGSUOT_KAFKA__EMBEDDED "
            "chỉ dành cho chạy thử",
            "the demo's embedded broker is given its topics when it starts: "
            "THONGSUOT_KAFKA__EMBEDDED is for trying out only",
        )
    wanted = plan(await read_topics(kafka), kafka.partitions, replication)
    if wanted.to_make:
        await asyncio.to_thread(_make, await brokers_up(kafka), wanted, dry_run)
    if dry_run:
        return wanted
    return replace(
        wanted, differing=await _standing(kafka, {topic.name for topic in wanted.to_make})
    )


async def _standing(kafka: KafkaSettings, made: Collection[str]) -> Sequence[Difference]:
    """The differences, once every broker may know what was made: they learn of it one by one."""
    for _ in range(_TRIES):
        found = differences(await read_topics(kafka), kafka.partitions)
        if not any(one.topic in made for one in found):
            break
        await asyncio.sleep(_PAUSE_SECONDS)
    return found


def _make(kafka: KafkaSettings, wanted: Plan, dry_run: bool) -> None:
    """One request for each topic, so that one refused keeps no other from being made.

    With `dry_run` the broker only says whether it would.
    """
    admin = admin_client(kafka)
    refused: list[tuple[str, str]] = []
    try:
        for topic in wanted.to_make:
            try:
                admin.create_topics(
                    {
                        topic.name: {
                            "num_partitions": wanted.partitions,
                            "replication_factor": wanted.replication,
                            "configs": topic.config(wanted.replication),
                        }
                    },
                    validate_only=dry_run,
                )
            except TopicAlreadyExistsError:
                continue  # somebody else made it meanwhile: compared like all others
            except KafkaError as error:
                if error.retriable:
                    raise
                refused.append((topic.name, type(error).__name__))
        if not dry_run and not refused:
            admin.wait_for_topics([topic.name for topic in wanted.to_make])
    except KafkaError as error:
        raise unreachable(kafka, error) from None
    finally:
        admin.close()
    if refused:
        told = ", ".join(f"{name} ({why})" for name, why in refused)
        raise CannotCreate(
            f"Kafka không cho tạo {told}: kiểm tra quyền CREATE của tài khoản và chính sách của Kafka",
            f"Kafka refused to make {told}: check the account's right CREATE and the broker's policy",
        )
