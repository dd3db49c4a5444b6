"""The ledger's position counts, whatever Kafka's committed offset says, and whoever dies in between."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from schemas.ledger.model import Fence, LedgerUnavailable
from schemas.topics import DEAD_LETTERS, DOSSIER_EVENTS, ONESTOP_NOTICES, TOPICS
from streams.embedded_broker import EmbeddedBroker
from streams.flow import Flow, Reading
from streams.log_ends import LogEnds, Place
from streams.positions import Received
from tests.embedded.kit import (
    PARTITIONS,
    Rig,
    TroubledLedger,
    event,
    notice,
    rig,
    running,
    until,
)


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({topic.name: PARTITIONS for topic in TOPICS}) as started:
        yield started


async def put(r: Rig, first: int, last: int, dossier_id: str = "d1") -> int:
    """Events of one dossier, numbered; returns the partition they went to."""
    codec = await r.codec()
    numbers = range(first, last + 1)
    await r.put(
        DOSSIER_EVENTS, *[(dossier_id, codec.encode(event(dossier_id, n))) for n in numbers]
    )
    return int((await r.raw(DOSSIER_EVENTS))[0].partition)


async def enlisted(r: Rig, count: int) -> bool:
    return (await r.ledger.event_counts())["events"] >= count


async def set_position(r: Rig, partition: int, offset: int, flow: str = "ledger") -> None:
    (position,) = await r.ledger.take_over(flow, DOSSIER_EVENTS.name, None, [partition], "setup")
    await r.ledger.advance(position.fence, 0, offset)


@pytest.mark.parametrize("position", [0, 4])
async def test_the_ledgers_position_is_written_back_to_kafka_when_partitions_are_taken_over(
    broker: EmbeddedBroker, tmp_path: Path, position: int
) -> None:
    async with rig(broker, tmp_path) as r:
        partition = await put(r, 0, 9)
        if position:
            await set_position(r, partition, position)
        await r.commit("ledger", DOSSIER_EVENTS, {partition: 8})
        async with running(await r.to_ledger()):
            await until(lambda: enlisted(r, 10 - position))
        assert (await r.ledger.event_counts())["events"] == 10 - position
        assert (await r.positions("ledger", DOSSIER_EVENTS))[partition] == 10


async def test_the_dues_reach_the_engine_after_the_transaction(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as r:
        told: list[str] = []
        await put(r, 0, 3)
        async with running(await r.to_ledger(enlisted=told.extend)):
            await until(lambda: "d1" in told)
            assert (await r.ledger.event_counts())["events"] > 0
            await until(lambda: enlisted(r, 4))
        (count,) = await r.ledger.counts()
        assert sum(count.deliveries.values()) == 4


async def test_a_log_that_goes_on_beyond_the_position_stops_the_flow(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """The ledger is set back under the running flow: what lies between must not be passed over."""
    async with rig(broker, tmp_path) as r:
        partition = await put(r, 0, 4)
        ledger = TroubledLedger(r.ledger)
        flow = await r.to_ledger(ledger=ledger)
        async with running(flow):
            await until(lambda: enlisted(r, 5))

            async def restored() -> None:
                await _set_back(r, partition, 2)

            ledger.troubles.append(restored)
            await put(r, 5, 6)
            await until(lambda: flow.halted)
        assert [f["reason"] for f in r.log.of("flow_paged")] == ["position_hole"]
        assert (await r.ledger.event_counts())["events"] == 5

        async with running(await r.to_ledger()):
            await until(lambda: enlisted(r, 7))


async def _set_back(r: Rig, partition: int, offset: int) -> None:
    def write() -> None:
        database = sqlite3.connect(r.url.removeprefix("sqlite:///"), timeout=10)
        with closing(database), database as connection:
            connection.execute(
                "UPDATE positions SET next_offset = ? WHERE topic = ? AND partition = ?",
                (offset, DOSSIER_EVENTS.name, partition),
            )

    await asyncio.to_thread(write)


async def test_a_log_that_ends_below_the_position_stops_the_flow(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as r:
        partition = await put(r, 0, 2)
        await set_position(r, partition, 50)
        flow = await r.to_ledger()
        async with running(flow):
            await until(lambda: flow.halted)
        (paged,) = r.log.of("flow_paged")
        assert paged["reason"] == "position_hole"
        assert "the log holds 0 to 3, the ledger waits for 50" in paged["detail"]
        assert (await r.ledger.event_counts())["events"] == 0


@pytest.mark.parametrize("times", [1, 100])
async def test_records_that_faust_leaves_out_are_read_again(
    broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """In a rebalance it drops what it has fetched. A hole that stays is the log's, and pages."""
    async with rig(broker, tmp_path) as r:
        await put(r, 0, 4)
        flow = await r.to_ledger()
        left_out = _leaving_out(flow, monkeypatch, offset=1, times=times)
        async with running(flow):
            await until(lambda: flow.halted if times > 1 else enlisted(r, 5))
        assert len(left_out) == min(times, 3)
        paged = [line["reason"] for line in r.log.of("flow_paged")]
        assert paged == (["position_hole"] if times > 1 else [])
        waited = [line["waits_for"] for line in r.log.of("flow_waiting")]
        assert waited == ["position"] * (2 if times > 1 else 1)


def _leaving_out(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, *, offset: int, times: int
) -> list[Received]:
    """Keep the record at this offset from the flow so many times; returns those that were kept."""
    kept: list[Received] = []
    follow = flow._follow

    async def leaving_out(reading: Reading, records: Sequence[Received]) -> None:
        missing = [one for one in records if one.offset == offset and len(kept) < times]
        kept.extend(missing)
        await follow(reading, [one for one in records if one not in missing])

    monkeypatch.setattr(flow, "_follow", leaving_out)
    return kept


async def test_a_body_cancelled_between_producing_and_its_position_loses_nothing(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """As after SIGKILL: written to dossier.events, position not moved. It is read and written again."""
    async with rig(broker, tmp_path) as r:
        codec = await r.codec()
        await r.put(
            ONESTOP_NOTICES, *[("d1", codec.encode(notice("d1", n, r.sealer))) for n in range(5)]
        )
        ledger = TroubledLedger(r.ledger)
        here = asyncio.Event()

        async def hang() -> None:
            here.set()
            await asyncio.Event().wait()

        ledger.troubles.append(hang)
        async with running(await r.intake(ledger=ledger)):
            await asyncio.wait_for(here.wait(), 20)
        assert len(await r.raw(DOSSIER_EVENTS)) == 5
        assert set((await r.positions("intake", ONESTOP_NOTICES)).values()) == {0}
        assert set((await r.committed("intake", ONESTOP_NOTICES)).values()) <= {0, None}

        async with running(await r.intake(), await r.to_ledger()):
            await until(lambda: _done(r, 5))
            await until(lambda: enlisted(r, 5))
        assert len(await r.raw(DOSSIER_EVENTS)) == 10, "written twice"
        assert (await r.ledger.event_counts())["events"] == 5, "taken in once"


async def _done(r: Rig, count: int) -> bool:
    return sum((await r.positions("intake", ONESTOP_NOTICES)).values()) >= count


async def test_a_ledger_that_stays_away_restarts_the_flow_at_its_position(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as r:
        await put(r, 0, 4)
        ledger = TroubledLedger(r.ledger)

        async def away() -> None:
            raise LedgerUnavailable("the ledger does not answer")

        flow = await r.to_ledger(ledger=ledger, patience=1.0)
        ledger.troubles += [away, away, away]
        async with running(flow) as (task,):
            await until(lambda: enlisted(r, 5), seconds=40)
            assert not task.done()
        assert [f["waits_for"] for f in r.log.of("flow_waiting")] == ["ledger"]
        assert not flow.halted


async def test_another_owner_makes_the_flow_let_go(
    broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.flow._LAG_SECONDS", 3600.0)
    async with rig(broker, tmp_path) as r:
        await put(r, 0, 1)
        flow = await r.to_ledger()
        async with running(flow):
            await until(lambda: enlisted(r, 2))
            await r.usurp("ledger", DOSSIER_EVENTS)
            await put(r, 2, 3)
            await until(lambda: _received(r) >= 4)
        assert (await r.ledger.event_counts())["events"] == 2
        assert not flow.halted, "it is no case for a person: Kafka will give the partitions away"


@pytest.mark.parametrize("records", [True, False], ids=["records come", "nothing comes"])
async def test_an_owner_that_kafka_knows_nothing_of_does_not_keep_the_partitions(
    broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: bool
) -> None:
    """A frozen process took over belatedly and gave up: without us nobody would have them."""
    monkeypatch.setattr("streams.flow._LAG_SECONDS", 0.5)
    async with rig(broker, tmp_path) as r:
        await put(r, 0, 1)
        flow = await r.to_ledger()
        async with running(flow) as (task,):
            await until(lambda: enlisted(r, 2))
            mine = set(flow.fences(DOSSIER_EVENTS))
            await r.usurp("ledger", DOSSIER_EVENTS)
            if records:
                await put(r, 2, 3)
                await until(lambda: enlisted(r, 4), seconds=60)
            await until(lambda: _owns_anew(r, flow, mine), seconds=60)
            assert not task.done()
        assert not flow.halted
        assert [f["waits_for"] for f in r.log.of("flow_waiting")] == ["ownership"]


async def test_a_log_that_ends_before_its_position_pages(
    broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its topic was made anew while the flow ran, and Faust would read it from the beginning."""
    monkeypatch.setattr("streams.flow._LAG_SECONDS", 0.2)

    async def emptied(
        _self: LogEnds, places: Collection[Place], _seconds: float
    ) -> Mapping[Place, int]:
        return dict.fromkeys(places, 0)

    async with rig(broker, tmp_path) as r:
        await put(r, 0, 1)
        flow = await r.to_ledger()
        async with running(flow) as (task,):
            await until(lambda: enlisted(r, 2))
            monkeypatch.setattr(LogEnds, "ends", emptied)
            await until(lambda: flow.halted)
            assert not task.done()
    assert [f["reason"] for f in r.log.of("flow_paged")] == ["position_hole"]


async def _owns_anew(r: Rig, flow: Flow, before: set[Fence]) -> bool:
    now = flow.fences(DOSSIER_EVENTS)
    return not before & set(now) and len(await r.ledger.held(now)) == PARTITIONS


def _received(r: Rig) -> float:
    return r.metrics.events_received["ledger",]._value.get()  # type: ignore[no-any-return]


async def test_garbage_on_dossier_events_is_kept_and_its_dossier_waits(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as r:
        await put(r, 0, 0)
        await r.put(DOSSIER_EVENTS, ("d1", b"garbage"), ("?!", b"garbage"))
        await put(r, 1, 1)
        async with running(await r.to_ledger()):
            await until(lambda: enlisted(r, 3))
            await until(lambda: _letters(r, 2))
        (count,) = await r.ledger.counts()
        assert count.parked_dossiers == {"gap": 1}
        letters = await r.read(DEAD_LETTERS)
        assert sorted(letter.dossier_id or "" for letter in letters) == ["", "d1"]


async def test_garbage_among_the_dead_letters_is_a_dead_letter_itself(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as r:
        await r.put(DEAD_LETTERS, ("d1", b"garbage"))
        async with running(await r.to_ledger()):
            await until(lambda: _letters(r, 1))
        assert len(await r.raw(DEAD_LETTERS)) == 1, "none is written for it"


async def _letters(r: Rig, count: int) -> bool:
    return (await r.ledger.event_counts())["dead_letters"] >= count
