"""The broker grid: brokers killed, stopped and starved, the registry away, records that nobody can read.

Three brokers, replication three, `min.insync.replicas` two, unless a row says otherwise. An attempt at the
portal does not pass through Kafka, so a broker's fault strikes the attempts that are under way only in
that their dossiers may change hands.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import TypeAlias
from urllib.parse import urlsplit

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined] # it names no __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from fastavro import schemaless_reader, schemaless_writer

from schemas.avro import packaged
from schemas.registry import HttpRegistry, register_all
from schemas.topics import DOSSIER_EVENTS, ONESTOP_NOTICES, TOPICS
from tests.services.apicurio import ApicurioServer
from tests.services.toxiproxy import Link, Toxiproxy
from tests.torture.installation import Guard, Installation
from tests.torture.load import written_so_far
from tests.torture.said import said
from tests.torture.scenario import Scenario, once_each
from tests.torture.settings import OUTAGE_SECONDS, PARTITIONS
from tests.torture.worker import WorkerTrouble

_ROW = "broker"
_NOT_STARTED = 1
_TO_SETTLE_SECONDS = 120.0
_CONFIG_SECONDS = 20.0
_IN_SYNC = int(DOSSIER_EVENTS.config()["min.insync.replicas"])
_REGISTRY_SECONDS = 60.0
_LATENCY_MS = 200
_NARROW_KB = 100
_TAKEN_IN_MORE = 20
_STILL_SECONDS = 3.0
_POLLS = 30
_HEADER_BYTES = 5  # magic 0 and the schema id, 4 bytes

_TAKEN_IN = (
    "select coalesce(sum(next_offset), 0) from positions"
    " where flow = 'ledger' and topic = 'dossier.events'"
)

_Kept: TypeAlias = tuple[TopicPartition, bytes, bytes]
_Record: TypeAlias = tuple[TopicPartition, bytes | None, bytes | None]

_MALFORMED: Sequence[bytes | None] = (
    b"",
    b"\x00",
    b"no message of ours",
    b"\x01\x00\x00\x07\xd1" + b"x" * 40,
    b"\x00\x00\x00\x03\xe9" + b"\xff" * 40,
    None,
)
"""Nothing, a cut header, plain text, another magic, a notice's id before no notice, no value at all."""


# --- brokers ---------------------------------------------------------------------------------------


async def _strike(hub: Installation, kind: str) -> None:
    """Note the fault at a moment when calls are under way."""
    for name in hub.workers:
        if await hub.until_in_call(name, 5.0):
            break
    await hub.note(kind)


async def _taken_in(hub: Installation) -> int:
    """How many records of the events' topic the ledger has taken in."""
    return int((await asyncio.to_thread(hub.view.rows, _TAKEN_IN))[0][0])


async def _until_taken_in(hub: Installation, while_what: str) -> None:
    """Until the way through Kafka moves: what the portal gets may come from the backlog."""
    before = await _taken_in(hub)
    await hub.until(
        lambda: _taken_in(hub),
        lambda now: now >= before + _TAKEN_IN_MORE,
        f"{_TAKEN_IN_MORE} more events in the ledger while {while_what}",
    )


async def _standstill(hub: Installation, written: int) -> None:
    """The time of the fault: at its end nothing comes through Kafka, though the one-stop system wrote on.

    `written`: what it had written when the fault began.
    """
    await asyncio.sleep(OUTAGE_SECONDS - _STILL_SECONDS)
    before = await _taken_in(hub)
    await asyncio.sleep(_STILL_SECONDS)
    if (more := await _taken_in(hub) - before) > 0:
        hub.findings.append(f"guard: {more} events were taken in when none could be")
    if (waiting := await _written(hub) - written) < _TAKEN_IN_MORE:
        hub.findings.append(f"guard: {waiting} writes waited for the fault's end")


async def _written(hub: Installation) -> int:
    return (await asyncio.to_thread(written_so_far, hub.journal_path))[0]


async def _again(hub: Installation, *nodes: int) -> None:
    """Start these brokers together, and wait until every partition has all its replicas again."""
    await asyncio.to_thread(hub.kafka.start, *nodes)
    await asyncio.to_thread(hub.kafka.wait_in_sync)
    await _settled(hub, "no Kafka broker answers")


async def _settled(hub: Installation, why: str) -> int:
    """Until every worker is ready; returns how often one could not start for this reason.

    A worker that begins while what it needs is away says so and ends, and whoever supervises it starts
    it again until it is there. That is no fault, but only then.
    """
    finish = time.monotonic() + _TO_SETTLE_SECONDS
    while True:
        try:
            if all(worker.running for worker in hub.workers.values()):
                await hub.ready(*hub.workers)
                break
        except WorkerTrouble:
            pass  # it began just before what it needs was there, and begins again
        if time.monotonic() > finish:
            raise Guard(f"a worker did not come back: {hub.deaths[-1].said}")
        await asyncio.sleep(0.5)
    refused = [d for d in hub.deaths if d.status == _NOT_STARTED and why in d.said]
    hub.deaths = [death for death in hub.deaths if death not in refused]
    return len(refused)


def _no_loop(hub: Installation, most: int) -> None:
    """A worker waits for brokers that are away; at most so many times may each give up and start anew."""
    since = hub.faults[0].at
    for name in hub.workers:
        died = [death for death in hub.deaths if death.worker == name and death.at > since]
        if len(died) > most:
            hub.findings.append(f"{name} died {len(died)} times: {died[-1].said}")


async def leader_killed(hub: Installation) -> None:
    """The broker that leads the events' first partition is killed, and comes back; then another one."""
    async for _ in hub.portions(2):
        leader = await asyncio.to_thread(hub.kafka.leader, DOSSIER_EVENTS.name)
        await _strike(hub, "leader killed")
        await asyncio.to_thread(hub.kafka.kill, leader)
        await _until_taken_in(hub, "a broker is down")
        await _again(hub, leader)
    _no_loop(hub, 1)


async def rolling_restart(hub: Installation) -> None:
    """Each broker in turn: asked to stop, started again, in sync again."""
    nodes = [*hub.kafka.nodes]
    async for number in hub.portions(len(nodes)):
        await _strike(hub, "broker restarted")
        await asyncio.to_thread(hub.kafka.stop, nodes[number])
        await _again(hub, nodes[number])
    _no_loop(hub, 1)


async def all_down(hub: Installation) -> None:
    """A power cut at all brokers."""
    async for _ in hub.portions(1):
        await _strike(hub, "all brokers killed")
        written = await _written(hub)
        await asyncio.to_thread(hub.kafka.kill, *hub.kafka.nodes)
        await _standstill(hub, written)
        _no_loop(hub, 0)
        await _again(hub, *hub.kafka.nodes)
    _no_loop(hub, 1)


async def too_few_in_sync(hub: Installation) -> None:
    """One of three is down where all three must confirm a write: the brokers live, and refuse. The hub waits.

    Not two of three where two must confirm: every node is a controller too, and two that are down take the
    quorum with them, which is another trouble.
    """
    async for _ in hub.portions(1):
        leader = await asyncio.to_thread(hub.kafka.leader, DOSSIER_EVENTS.name)
        down = next(node for node in hub.kafka.nodes if node != leader)
        await _strike(hub, "min.insync lost")
        await asyncio.to_thread(_demand_in_sync, hub.kafka.bootstrap, len(hub.kafka.nodes))
        written = await _written(hub)
        await asyncio.to_thread(hub.kafka.kill, down)
        await hub.until(
            partial(_led_by_too_few, hub), bool, "leaders that have too few replicas in sync"
        )
        await _standstill(hub, written)
        _no_loop(hub, 0)
        # A worker that starts compares the topics with the catalogue.
        await asyncio.to_thread(_demand_in_sync, hub.kafka.bootstrap, _IN_SYNC)
        await _again(hub, down)
    _no_loop(hub, 1)


def _demand_in_sync(bootstrap: str, replicas: int) -> None:
    """So many replicas must have a record of the hub's topics before it is confirmed."""
    wanted = [
        ConfigResource(
            ResourceType.TOPIC,
            topic.name,
            incremental_configs=[
                ConfigEntry(
                    "min.insync.replicas",
                    str(replicas),
                    incremental_operation=AlterConfigOpType.SET,
                )
            ],
        )
        for topic in TOPICS
    ]
    client = AdminClient({"bootstrap.servers": bootstrap})
    for changing in client.incremental_alter_configs(wanted).values():
        changing.result(_CONFIG_SECONDS)


async def _led_by_too_few(hub: Installation) -> bool:
    """Whether every partition of the events has a leader, which must refuse every write."""
    topic = await asyncio.to_thread(hub.kafka.topic, DOSSIER_EVENTS.name)
    return bool(topic.partitions) and all(
        partition.leader in hub.kafka.nodes and len(partition.isrs) < len(hub.kafka.nodes)
        for partition in topic.partitions.values()
    )


# --- the network -----------------------------------------------------------------------------------


async def through_proxies(hub: Installation) -> None:
    """The hub reaches the brokers through proxies, the brokers each other without."""
    proxies = await hub.open(Toxiproxy())
    hub.prepared = [*(await asyncio.to_thread(proxies.links_for, hub.kafka)).values()]
    hub.settings["KAFKA__BOOTSTRAP_SERVERS"] = hub.kafka.proxied_bootstrap


async def slow_and_narrow(hub: Installation) -> None:
    """Every answer takes a fifth of a second more, and little goes through: slow, but it goes on."""
    links: Sequence[Link] = hub.prepared
    async for _ in hub.portions(1):
        await _strike(hub, "slow network")
        for link in links:
            link.add("latency", latency=_LATENCY_MS, jitter=_LATENCY_MS // 4)
            link.add("bandwidth", stream="downstream", rate=_NARROW_KB)
            link.add("bandwidth", stream="upstream", rate=_NARROW_KB)
        await _until_taken_in(hub, "the network is slow")
        await asyncio.sleep(OUTAGE_SECONDS)
        await _until_taken_in(hub, "the network is slow")
        for link in links:
            link.heal()
    _no_loop(hub, 0)


async def network_cut(hub: Installation) -> None:
    """The brokers live on, and nobody of the hub reaches them."""
    links: Sequence[Link] = hub.prepared
    async for _ in hub.portions(1):
        await _strike(hub, "network cut")
        written = await _written(hub)
        for link in links:
            link.cut()
        await _standstill(hub, written)
        _no_loop(hub, 0)
        for link in links:
            link.mend()
        await _settled(hub, "no Kafka broker answers")
    _no_loop(hub, 1)


# --- the registry ----------------------------------------------------------------------------------


async def with_registry(hub: Installation) -> None:
    """Schemas come from a registry, which the hub reaches through a proxy."""
    registry = await hub.open(ApicurioServer())
    proxies = await hub.open(Toxiproxy())
    where = urlsplit(registry.url)
    link = await asyncio.to_thread(proxies.link, where.netloc)
    hub.prepared = _Registry(registry, link, max(await _register(registry.url)))
    hub.settings["REGISTRY_URL"] = f"http://{link.listen}{where.path}"


@dataclass(frozen=True, slots=True)
class _Registry:
    server: ApicurioServer
    link: Link
    last_id: int  # the highest that it has given


async def _register(url: str) -> set[int]:
    """Every packaged schema; returns their ids."""
    client = HttpRegistry(url, timeout=_REGISTRY_SECONDS)
    try:
        ids = await register_all(client)
    finally:
        await client.close()
    return {one for version in ids.values() for one in version}


async def registry_away(hub: Installation) -> None:
    """Who works goes on; who starts says that it cannot, and why, and starts when it is back."""
    registry: _Registry = hub.prepared
    async for _ in hub.portions(1):
        await _strike(hub, "registry away")
        registry.link.cut()
        *_, newcomer = hub.workers
        await hub.kill(newcomer, measured=False)
        await hub.start(newcomer)
        await hub.until(partial(_refused_starts, hub), bool, f"{newcomer} that does not start")
        await _until_taken_in(hub, "the registry is away")
        registry.link.mend()
        if not await _settled(hub, "registry http://"):
            hub.findings.append(f"{newcomer} did not say why it could not start")


async def _refused_starts(hub: Installation) -> int:
    return sum(death.status == _NOT_STARTED for death in hub.deaths)


async def unknown_schema(hub: Installation) -> None:
    """A newer writer's record comes before its schema: the flow stops and pages, nothing is dropped.

    When the schema is there, the operator restarts the workers.
    """
    registry: _Registry = hub.prepared
    schema_id = registry.last_id + 1
    async for _ in hub.portions(1):
        newer = await _unreadable(hub, schema_id, "the registry does not know it")
        await _give(registry, DOSSIER_EVENTS.subject, newer, schema_id)
        await _stop(hub)
        await _start(hub)


async def incompatible_schema(hub: Installation) -> None:
    """The registry of the workers is not the writer's: it has another schema of the same id and name.

    The flow stops and pages, nothing is dropped. The operator gives them the right registry, and
    restarts them.
    """
    registry: _Registry = hub.prepared
    schema_id = registry.last_id + 1
    async for _ in hub.portions(1):
        await _give(registry, "somebody-else-value", _incompatible(), schema_id)
        newer = await _unreadable(hub, schema_id, "this version cannot read it")
        await _stop(hub)
        await asyncio.to_thread(registry.server.stop)
        await asyncio.to_thread(registry.server.start)  # it comes back empty
        if max(await _register(registry.server.url)) != registry.last_id:
            raise Guard("the registry did not give the same ids again")
        await _give(registry, DOSSIER_EVENTS.subject, newer, schema_id)
        await _start(hub)


async def _unreadable(hub: Installation, schema_id: int, why: str) -> str:
    """Write an event of this schema id, and wait for every worker's page. Returns the schema that reads it.

    Its partition goes from worker to worker, and each of them stops. The record repeats an event that the
    hub has, so the portal must not see it.
    """
    place, key, value = await asyncio.to_thread(_first_event, hub.kafka.bootstrap)
    await _strike(hub, "unreadable schema")
    newer, record = _as_of_a_newer_writer(value, schema_id)
    await asyncio.to_thread(_write, hub.kafka.bootstrap, [(place, key, record)])
    await hub.until(partial(_paged, hub), bool, "workers that stopped and paged", 90)
    for name, worker in hub.workers.items():
        for line in said(worker.log, "flow_paged"):
            told = f"{line['reason']}: {line['detail']}"
            if not all(word in told for word in ("unknown_schema_id", str(schema_id), why)):
                hub.findings.append(f"{name} paged for another reason: {told}")
    return newer


async def _paged(hub: Installation) -> bool:
    return all(said(worker.log, "flow_paged") for worker in hub.workers.values())


async def _give(registry: _Registry, subject: str, schema: str, schema_id: int) -> None:
    """Register a schema. Raises `Guard` when it does not get this id."""
    client = HttpRegistry(registry.server.url, timeout=_REGISTRY_SECONDS)
    try:
        given = await client.register(subject, schema)
    finally:
        await client.close()
    if given != schema_id:
        raise Guard(f"the registry gave the id {given}, not {schema_id}")


async def _stop(hub: Installation) -> None:
    for name in hub.workers:
        await hub.stop(name, fault=False)


async def _start(hub: Installation) -> None:
    await hub.start(*hub.workers)
    await hub.ready(*hub.workers)


def _incompatible() -> str:
    """An event of our name with a text where our version reads a number."""
    entry = packaged.BY_CLASS[DOSSIER_EVENTS.record]
    known = packaged.schema(entry, packaged.latest(entry))
    fields = [
        {**field, "type": "string"} if field["name"] == "read_seq" else field
        for field in known["fields"]
    ]
    return json.dumps({**known, "fields": fields})


def _as_of_a_newer_writer(value: bytes, schema_id: int) -> tuple[str, bytes]:
    """The schema of a version with one more field, and the event in its words."""
    entry = packaged.BY_CLASS[DOSSIER_EVENTS.record]
    known = packaged.schema(entry, packaged.latest(entry))
    added = {"name": "added_later", "type": ["null", "string"], "default": None}
    newer = {**known, "fields": [*known["fields"], added]}
    datum = schemaless_reader(BytesIO(value[_HEADER_BYTES:]), known, None)
    body = BytesIO()
    schemaless_writer(body, newer, datum)
    return json.dumps(newer), b"\x00" + schema_id.to_bytes(4, "big") + body.getvalue()


async def malformed(hub: Installation) -> None:
    """Bytes that are no message of ours, on both topics that the flows read: kept whole, and passed."""
    async for _ in hub.portions(1):
        await _strike(hub, "malformed bytes")
        records: list[_Record] = [
            (TopicPartition(topic.name, number), None, bytes_)
            for topic in (ONESTOP_NOTICES, DOSSIER_EVENTS)
            for number, bytes_ in enumerate(_MALFORMED)
        ]
        hub.dead_letters_owed = len(records)
        await asyncio.to_thread(_write, hub.kafka.bootstrap, records)


# --- records ---------------------------------------------------------------------------------------


def _first_event(bootstrap: str) -> _Kept:
    """The oldest event of some partition: where it lies, its key and its value."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "torture-looks",
            "enable.auto.commit": False,
        }
    )
    try:
        partitions = [TopicPartition(DOSSIER_EVENTS.name, n, 0) for n in range(PARTITIONS)]
        consumer.assign(partitions)
        for _ in range(_POLLS):
            message = consumer.poll(1.0)
            if message is None or message.error() is not None:
                continue
            place = TopicPartition(DOSSIER_EVENTS.name, message.partition() or 0)
            key, value = message.key(), message.value()
            assert isinstance(key, bytes)
            assert isinstance(value, bytes)
            return place, key, value
    finally:
        consumer.close()
    raise Guard("no event was found on Kafka")


def _write(bootstrap: str, records: Sequence[_Record]) -> None:
    """As a foreign program would. Raises `Guard` when the broker does not confirm."""
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    for place, key, value in records:
        producer.produce(place.topic, value, key, place.partition)
    left = producer.flush(30)
    if left:
        raise Guard(f"{left} records were not confirmed")


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        name="broker_leader_killed",
        row=_ROW,
        about="SIGKILL of the broker that leads, twice: the hub goes on with two",
        run=leader_killed,
        brokers=3,
        least_faults=2,
        most_deaths=once_each(),
    ),
    Scenario(
        name="broker_rolling_restart",
        row=_ROW,
        about="each broker is restarted in turn",
        run=rolling_restart,
        brokers=3,
        least_faults=3,
        least_hits=2,
        most_deaths=once_each(),
    ),
    Scenario(
        name="broker_all_down",
        row=_ROW,
        about="SIGKILL of all brokers, 10 s without any",
        run=all_down,
        brokers=3,
        most_deaths=once_each(),
    ),
    Scenario(
        name="broker_min_insync_lost",
        row=_ROW,
        about="one of three brokers down for 10 s where all must confirm: every write is refused",
        run=too_few_in_sync,
        brokers=3,
        most_deaths=once_each(),
    ),
    Scenario(
        name="broker_slow_and_narrow",
        row=_ROW,
        about=f"{_LATENCY_MS} ms and {_NARROW_KB} KB/s for each connection to the brokers",
        prepare=through_proxies,
        run=slow_and_narrow,
        brokers=3,
    ),
    Scenario(
        name="broker_network_cut",
        row=_ROW,
        about="no worker reaches any broker for 10 s",
        prepare=through_proxies,
        run=network_cut,
        brokers=3,
        most_deaths=once_each(),
    ),
    Scenario(
        name="broker_registry_away",
        row=_ROW,
        about="the schema registry away: who works goes on, who starts says why it cannot",
        prepare=with_registry,
        run=registry_away,
        least_faults=2,
    ),
    Scenario(
        name="broker_unknown_schema",
        row=_ROW,
        about="a record of a schema that the registry does not know: the flow pages, and goes on later",
        prepare=with_registry,
        run=unknown_schema,
    ),
    Scenario(
        name="broker_incompatible_schema",
        row=_ROW,
        about="a record whose schema the registry knows and nobody here can read: the flow pages, and goes on later",
        prepare=with_registry,
        run=incompatible_schema,
    ),
    Scenario(
        name="broker_malformed",
        row=_ROW,
        about="bytes that are no message on both topics: dead letters, and nobody else is touched",
        run=malformed,
    ),
)
