"""Intake on the embedded broker: what is understood flows, what is not is kept, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.records import DeadLetter, EventKind
from schemas.registry import LocalRegistry, UnknownSchemaId
from schemas.topics import DEAD_LETTERS, DOSSIER_EVENTS, ONESTOP_NOTICES, TOPICS
from streams.embedded_broker import Api, EmbeddedBroker
from streams.flow import FlowBroken
from tests.embedded.kit import (
    CLUMSY,
    IMPOSSIBLE,
    PARTITIONS,
    Rig,
    notice,
    other_sealer,
    rig,
    running,
    until,
)

NOT_ENOUGH_REPLICAS = 19  # Kafka's error code


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({topic.name: PARTITIONS for topic in TOPICS}) as started:
        yield started


async def put(r: Rig, *payloads: tuple[str, int, bytes]) -> None:
    codec = await r.codec()
    await r.put(
        ONESTOP_NOTICES, *[(d, codec.encode(notice(d, n, r.sealer, p))) for d, n, p in payloads]
    )


async def processed(r: Rig, count: int) -> bool:
    return sum((await r.positions("intake", ONESTOP_NOTICES)).values()) >= count


async def test_a_notice_becomes_an_event_under_the_key_of_its_dossier(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as r:
        await put(r, *[(f"d{n % 3}", n, b"fine") for n in range(12)])
        async with running(await r.intake()):
            await until(lambda: _count(r, DOSSIER_EVENTS, 12))
        raw = await r.raw(DOSSIER_EVENTS)
        assert {record.key for record in raw} == {b"d0", b"d1", b"d2"}
        events = await r.read(DOSSIER_EVENTS)
        for dossier in ("d0", "d1", "d2"):
            seen = [e.read_seq for e in events if e.dossier_id == dossier]
            assert seen == sorted(seen)
        assert await processed(r, 12)


async def test_bytes_that_are_no_avro_become_a_dead_letter_and_the_rest_flows(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as r:
        await put(r, ("d1", 1, b"fine"))
        await r.put(ONESTOP_NOTICES, ("d1", b"\xffNguyen Van A"))
        await put(r, ("d1", 2, b"fine"))
        async with running(await r.intake(), await r.to_ledger()):
            await until(lambda: _dead_letters(r, 1))
        events = await r.read(DOSSIER_EVENTS)
        assert [e.kind for e in events] == [EventKind.CHANGE, EventKind.GAP, EventKind.CHANGE]
        (letter,) = await r.read(DEAD_LETTERS)
        assert isinstance(letter, DeadLetter)
        assert (letter.reason, letter.dossier_id) == ("undecodable", "d1")
        place = f"{letter.topic}/{letter.partition}/{letter.offset}"
        assert letter.sealed_value is not None
        assert r.sealer.open(letter.sealed_value, place) == b"\xffNguyen Van A"
        assert "Nguyen" not in repr(r.log.lines)
        assert "Nguyen" not in repr(await r.raw(DEAD_LETTERS)), "sealed on the topic too"


@pytest.mark.parametrize(
    ("payload", "reason"), [(IMPOSSIBLE, "impossible_value"), (CLUMSY, "unreadable_payload")]
)
async def test_a_poisoned_payload_leaves_a_gap_where_its_step_would_be(
    broker: EmbeddedBroker, tmp_path: Path, payload: bytes, reason: str
) -> None:
    async with rig(broker, tmp_path) as r:
        await put(r, ("d1", 1, b"fine"), ("d1", 2, payload), ("d1", 3, b"fine"))
        async with running(await r.intake(), await r.to_ledger()):
            await until(lambda: _dead_letters(r, 1))
            await until(lambda: _events_in_ledger(r, 3))
        events = await r.read(DOSSIER_EVENTS)
        assert [(e.kind, e.read_seq) for e in events] == [
            (EventKind.CHANGE, 1),
            (EventKind.GAP, 2),
            (EventKind.CHANGE, 3),
        ]
        (letter,) = await r.read(DEAD_LETTERS)
        assert letter.reason == reason
        (count,) = await r.ledger.counts()
        assert count.parked_dossiers == {"gap": 1}


async def test_a_payload_sealed_for_another_dossier_is_a_dead_letter(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as r:
        codec = await r.codec()
        record = notice("d1", 1, r.sealer)
        stolen = type(record)(
            **{f: getattr(record, f) for f in record.__slots__} | {"dossier_id": "d2"}
        )
        await r.put(ONESTOP_NOTICES, ("d2", codec.encode(stolen)))
        async with running(await r.intake()):
            await until(lambda: _count(r, DEAD_LETTERS, 1))
        (letter,) = await r.read(DEAD_LETTERS)
        assert (letter.reason, letter.dossier_id) == ("unreadable_payload", "d2")


class ForgetfulRegistry(LocalRegistry):
    """A registry that is not complete: it knows no id when asked for the schema of one."""

    async def schema(self, schema_id: int) -> str:
        raise UnknownSchemaId(schema_id)


async def test_an_unknown_schema_id_stops_the_flow_until_the_registry_is_completed(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as r:
        await put(r, ("d1", 1, b"fine"), ("d1", 2, b"fine"))
        flow = await r.intake(registry=ForgetfulRegistry())
        async with running(flow) as (task,):
            await until(lambda: flow.halted)
            assert not task.done(), "the flow stays down, the process goes on"
        assert [f["reason"] for f in r.log.of("flow_paged")] == ["unknown_schema_id"]
        assert await r.raw(DEAD_LETTERS) == []
        assert await r.raw(DOSSIER_EVENTS) == []
        assert set((await r.positions("intake", ONESTOP_NOTICES)).values()) == {0}
        assert set((await r.committed("intake", ONESTOP_NOTICES)).values()) <= {0, None}
        assert not r.deaths

        async with running(await r.intake()):
            await until(lambda: _count(r, DOSSIER_EVENTS, 2))


async def test_an_unknown_key_stops_the_flow_and_is_no_dead_letter(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as r:
        codec = await r.codec()
        sealed_elsewhere = notice("d1", 1, other_sealer())
        await r.put(ONESTOP_NOTICES, ("d1", codec.encode(sealed_elsewhere)))
        flow = await r.intake()
        async with running(flow):
            await until(lambda: flow.halted)
        assert [f["reason"] for f in r.log.of("flow_paged")] == ["unknown_key"]
        assert await r.raw(DEAD_LETTERS) == []


async def _count(r: Rig, topic: object, count: int) -> bool:
    return len(await r.raw(topic)) >= count  # type: ignore[arg-type] # a Topic


async def _dead_letters(r: Rig, count: int) -> bool:
    return (await r.ledger.event_counts())["dead_letters"] >= count


async def _events_in_ledger(r: Rig, count: int) -> bool:
    return (await r.ledger.event_counts())["events"] >= count


async def test_a_broker_that_does_not_confirm_breaks_the_flow_and_nothing_is_passed(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as r:
        await put(r, ("d1", 1, b"fine"), ("d1", 2, IMPOSSIBLE))
        broker.push_errors(Api.PRODUCE, [NOT_ENOUGH_REPLICAS] * 100)
        async with running(await r.intake(patience=0.5)) as (task,):
            await until(task.done, seconds=30)
            assert isinstance(task.exception(), FlowBroken)
        assert set((await r.positions("intake", ONESTOP_NOTICES)).values()) == {0}
        assert set((await r.committed("intake", ONESTOP_NOTICES)).values()) <= {0, None}
        assert len(r.log.of("dead_letter_write_failed")) == 1
