"""`thongsuot topics create` and `check` on real Kafka, and what the hub refuses to start on."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import pytest
from kafka.admin import ConfigResource, ConfigResourceType

from schemas.ledger.migrate import upgrade
from schemas.topics import DOSSIER_EVENTS, TOPICS, Topic
from streams.settings import PREFIX, KafkaSettings
from streams.topic_admin import CannotCreate, Plan, create
from streams.topic_check import (
    FoundTopic,
    TopicsUnfit,
    admin_client,
    read_topics,
    require_topics,
    topic_ids,
)
from tests.services.kafka import KafkaCluster
from tests.unit.cli.running import nothing_running, run, set_environment
from tests.unit.streams.test_settings import GOOD

pytestmark = pytest.mark.integration

PARTITIONS = 3
NAMES = {topic.name for topic in TOPICS}


@pytest.fixture(scope="module")
def one_broker() -> Iterator[KafkaCluster]:
    with KafkaCluster(brokers=1) as cluster:
        yield cluster


@pytest.fixture
def kafka(one_broker: KafkaCluster) -> Iterator[KafkaSettings]:
    """A single broker without topics of ours."""
    settings = KafkaSettings(bootstrap_servers=one_broker.bootstrap, partitions=PARTITIONS)
    yield settings
    delete_ours(settings)


WAIT_SECONDS = 60.0
IN_A_ROW = 4
"""Brokers learn of a change one by one, and any of them may be the one that is asked."""


async def settle(true: Callable[[], Awaitable[bool]]) -> None:
    """Until it has been true some times in a row. Fails after a while."""
    end, times = time.monotonic() + WAIT_SECONDS, 0
    while times < IN_A_ROW:
        assert time.monotonic() < end, "it did not come true"
        times = times + 1 if await true() else 0
        await asyncio.sleep(0.05)


def delete_ours(settings: KafkaSettings, *names: str) -> None:
    admin = admin_client(settings)
    try:
        doomed = set(names or NAMES) & set(admin.list_topics())
        if doomed:
            admin.delete_topics(sorted(doomed))
        end, times = time.monotonic() + WAIT_SECONDS, 0
        while times < IN_A_ROW:
            assert time.monotonic() < end, "the topics are still there"
            times = times + 1 if not doomed & set(admin.list_topics()) else 0
    finally:
        admin.close()


def alter(settings: KafkaSettings, topic: str, **config: str) -> None:
    admin = admin_client(settings)
    try:
        changed = {field.replace("__", "."): value for field, value in config.items()}
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=changed)])
    finally:
        admin.close()


def make(settings: KafkaSettings, name: str, partitions: int, replication: int) -> None:
    """A topic as somebody else would make it, without settings."""
    admin = admin_client(settings)
    try:
        options = {"num_partitions": partitions, "replication_factor": replication}
        admin.create_topics({name: options}, wait_for_metadata=True)
    finally:
        admin.close()


async def created(settings: KafkaSettings, **options: int) -> Plan:
    return await create(settings, replication=options.get("replication"), dry_run=False)


async def ours(settings: KafkaSettings) -> Mapping[str, FoundTopic]:
    found = (await read_topics(settings)).topics
    return {name: topic for name, topic in found.items() if name in NAMES}


async def problems(settings: KafkaSettings) -> tuple[str, ...]:
    """Why the hub would not start, once all brokers say the same."""
    told: tuple[str, ...] = ()

    async def again() -> bool:
        nonlocal told
        before, told = told, ()
        try:
            await require_topics(settings)
        except TopicsUnfit as unfit:
            told = unfit.problems
        return bool(told) and told == before

    await settle(again)
    return told


async def passes(settings: KafkaSettings) -> None:
    """The hub would start, whichever broker is asked."""

    async def fit() -> bool:
        try:
            await require_topics(settings)
        except TopicsUnfit:
            return False
        return True

    await settle(fit)


def assert_as_catalogued(topic: Topic, found: FoundTopic, replication: int) -> None:
    assert found.partitions == PARTITIONS
    assert found.replication == replication
    assert found.config is not None
    assert topic.config(replication).items() <= found.config.items()


async def test_the_topics_are_made_as_the_catalogue_says_and_only_once(
    kafka: KafkaSettings,
) -> None:
    assert len(await problems(kafka)) == len(TOPICS)
    done = await created(kafka)
    assert (done.brokers, done.replication) == (1, 1)
    assert list(done.to_make) == list(TOPICS)
    assert not done.differing
    found = await ours(kafka)
    for topic in TOPICS:
        assert_as_catalogued(topic, found[topic.name], replication=1)
    await passes(kafka)

    again = await created(kafka)
    assert not again.to_make
    assert list(again.left_alone) == list(TOPICS)
    assert await ours(kafka) == found


async def test_a_dry_run_makes_nothing(kafka: KafkaSettings) -> None:
    shown = await create(kafka, replication=None, dry_run=True)
    assert list(shown.to_make) == list(TOPICS)
    assert await ours(kafka) == {}


async def test_a_topic_made_by_somebody_else_is_compared_and_not_changed(
    kafka: KafkaSettings,
) -> None:
    make(kafka, DOSSIER_EVENTS.name, partitions=PARTITIONS + 1, replication=1)
    before = (await ours(kafka))[DOSSIER_EVENTS.name]
    done = await created(kafka)
    assert DOSSIER_EVENTS not in done.to_make
    assert {one.topic for one in done.differing} == {DOSSIER_EVENTS.name}
    fields = {one.field for one in done.differing}
    assert fields == {"partitions", "retention.ms", "max.message.bytes"}
    assert (await ours(kafka))[DOSSIER_EVENTS.name] == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cleanup.policy", "compact"),
        ("retention.ms", "86400000"),
        ("retention.bytes", "1000000"),
        ("max.message.bytes", "1000000"),
        ("unclean.leader.election.enable", "true"),
    ],
)
async def test_what_was_altered_for_the_worse_is_refused(
    kafka: KafkaSettings, field: str, value: str
) -> None:
    await created(kafka)
    alter(kafka, "onestop.notices", **{field: value})
    (problem,) = await problems(kafka)
    assert problem.startswith(f"topic onestop.notices: {field} is {value}, wanted ")
    assert "kafka-configs.sh" in problem


async def test_what_was_raised_by_the_operator_is_fine(kafka: KafkaSettings) -> None:
    await created(kafka)
    alter(kafka, "onestop.notices", retention__ms="-1", max__message__bytes="8388608")
    await passes(kafka)


async def test_a_topic_deleted_and_made_anew_has_another_id(kafka: KafkaSettings) -> None:
    await created(kafka)
    first = await topic_ids(kafka)
    assert set(first) == NAMES
    assert len(set(first.values())) == len(NAMES)
    delete_ours(kafka, DOSSIER_EVENTS.name)
    (problem,) = await problems(kafka)
    assert problem.startswith(f"topic {DOSSIER_EVENTS.name}: the topic is absent")
    await created(kafka)
    second = await topic_ids(kafka)
    assert {name for name in NAMES if first[name] != second[name]} == {DOSSIER_EVENTS.name}


def test_on_the_command_line_a_single_broker_is_told_plainly(
    kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bootstrap = {"KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers}
    set_environment(
        monkeypatch,
        **{**nothing_running(tmp_path), **bootstrap, "KAFKA__PARTITIONS": str(PARTITIONS)},
    )
    assert run("topics", "check").exit_code == 1
    shown = run("topics", "create", "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("sẽ tạo") == len(TOPICS)
    assert run("topics", "check").exit_code == 1, "a dry run makes nothing"
    done = run("topics", "create")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("đã tạo") == len(TOPICS)
    assert "mỗi bản tin chỉ có một bản" in done.stdout
    again = run("topics", "create", "--json")
    told = json.loads(again.stdout)
    assert (told["made"], told["differing"]) == ({}, [])
    assert set(told["left_alone"]) == NAMES
    assert run("topics", "check").exit_code == 0
    alter(kafka, DOSSIER_EVENTS.name, retention__ms="1000")
    assert len(asyncio.run(problems(kafka))) == 1
    for command in ("check", "create"):
        ended = run("topics", command)
        assert ended.exit_code == 1
        assert f"chủ đề {DOSSIER_EVENTS.name}: retention.ms đang là 1000" in ended.stdout


async def test_a_worker_names_every_difference_and_does_not_start(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    await created(kafka)
    alter(kafka, "onestop.notices", cleanup__policy="compact")
    alter(kafka, DOSSIER_EVENTS.name, retention__ms="1000")
    assert len(await problems(kafka)) == 2
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    upgrade(ledger)
    ours = {
        **GOOD,
        "LEDGER_URL": ledger,
        "KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA__PARTITIONS": str(PARTITIONS),
        "MONITORING__PORT": "0",
        "MONITORING__LOG_FORMAT": "json",
    }
    others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    ended = subprocess.run(
        [sys.executable, "-m", "streams.cli", "worker"],
        env={**others, **{PREFIX + name: value for name, value in ours.items()}},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    said = ended.stdout + ended.stderr
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    whys = [line["why"] for line in lines if line["event"] == "worker_not_started"]
    assert len(whys) == 2
    assert "topic onestop.notices: cleanup.policy is compact" in whys[0]
    assert f"topic {DOSSIER_EVENTS.name}: retention.ms is 1000" in whys[1]


async def test_on_three_brokers_three_replicas_are_made_and_fewer_refused() -> None:
    with KafkaCluster(brokers=3) as cluster:
        kafka = KafkaSettings(bootstrap_servers=cluster.bootstrap, partitions=PARTITIONS)
        with pytest.raises(CannotCreate, match="at least 3 replicas"):
            await created(kafka, replication=1)
        with pytest.raises(CannotCreate, match="only 3 brokers"):
            await created(kafka, replication=4)
        make(kafka, DOSSIER_EVENTS.name, partitions=PARTITIONS, replication=1)
        done = await created(kafka)
        assert done.replication == 3
        assert "replication" in {one.field for one in done.differing}
        found = await ours(kafka)
        for topic in TOPICS:
            if topic is not DOSSIER_EVENTS:
                assert_as_catalogued(topic, found[topic.name], replication=3)
        problem = next(one for one in await problems(kafka) if "replication" in one)
        assert problem.startswith(
            f"topic {DOSSIER_EVENTS.name}: replication is 1, wanted at least 3"
        )
        delete_ours(kafka, DOSSIER_EVENTS.name)
        await created(kafka)
        await passes(kafka)

        alter(kafka, "dead.letters", min__insync__replicas="1")
        (problem,) = await problems(kafka)
        assert "min.insync.replicas is 1, wanted at least 2" in problem
        alter(kafka, "dead.letters", min__insync__replicas="2")

        cluster.stop(3)
        await passes(kafka)  # a broker that is away is no reason not to start
        up = kafka.model_copy(update={"bootstrap_servers": cluster.address(1)})
        delete_ours(up, "dead.letters")
        done = await created(kafka)  # nor one to make them with fewer replicas
        assert ([topic.name for topic in done.to_make], done.replication) == (["dead.letters"], 3)
        assert not done.differing
