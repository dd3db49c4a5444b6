"""Every way in which Faust is known to lose records, tried on our flow: see README.md for the table.

A record counts as lost when a position, or Kafka's committed offset, is past it and nobody has it.
"""

from __future__ import annotations

import asyncio
import base64
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from faust.transport.consumer import Consumer

from monitoring.crash_points import CrashPoint
from schemas.topics import DOSSIER_EVENTS, ONESTOP_NOTICES, TOPICS
from streams.embedded_broker import Api, EmbeddedBroker
from streams.flow import FlowBroken
from streams.positions import Batch
from tests.embedded.kit import PARTITIONS, Rig, event, notice, rig, running, until
from tests.embedded.test_worker import line, worker

MASTER = base64.b64encode(b"m" * 32).decode()  # as in the rig
TOO_LARGE, NOT_AUTHORISED = 10, 29  # Kafka's error codes


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({topic.name: PARTITIONS for topic in TOPICS}) as started:
        yield started


async def put_events(r: Rig, first: int, last: int) -> int:
    """Events of one dossier; returns the partition they went to."""
    codec = await r.codec()
    numbers = range(first, last + 1)
    await r.put(DOSSIER_EVENTS, *[("d1", codec.encode(event("d1", n))) for n in numbers])
    return int((await r.raw(DOSSIER_EVENTS))[0].partition)


async def put_notices(r: Rig, count: int) -> None:
    codec = await r.codec()
    await r.put(
        ONESTOP_NOTICES, *[("d1", codec.encode(notice("d1", n, r.sealer))) for n in range(count)]
    )


async def taken(r: Rig, count: int) -> bool:
    return (await r.ledger.event_counts())["events"] >= count


class Stumbling:
    """The body of a flow with a mistake in it: at the n-th record of a batch."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.met = asyncio.Event()
        self.seen = 0

    async def __call__(self, batch: Batch) -> None:
        for number, _ in enumerate(batch.records):
            self.seen += 1
            if number == self.at:
                self.met.set()
                raise ZeroDivisionError("a mistake of ours")


@pytest.mark.parametrize("at", [0, 3], ids=["at once", "in the middle of a batch"])
async def test_an_exception_in_the_body_passes_no_record(
    broker: EmbeddedBroker, tmp_path: Path, at: int
) -> None:
    async with rig(broker, tmp_path) as r:
        await put_events(r, 0, 9)
        body = Stumbling(at)
        flow = r.flow("ledger", {DOSSIER_EVENTS: body}, r.ledger)
        async with running(flow) as (task,):
            await until(lambda: flow.halted, seconds=60)
            await put_events(r, 10, 11)
            assert not task.done(), "a person looks; the process and its other flows go on"
        assert body.seen <= 10, "no further batch was begun"
        (paged,) = r.log.of("flow_paged")
        assert paged["reason"] == "unclassified_error"
        assert "ZeroDivisionError at test_loss_table.py" in paged["detail"]
        assert set((await r.positions("ledger", DOSSIER_EVENTS)).values()) == {0}
        assert set((await r.committed("ledger", DOSSIER_EVENTS)).values()) <= {0, None}

        async with running(await r.to_ledger()):
            await until(lambda: taken(r, 12), seconds=60)


@pytest.mark.parametrize(
    ("code", "ends"),
    [(TOO_LARGE, "halted"), (NOT_AUTHORISED, "broken")],
    ids=["too large", "not authorised"],
)
async def test_a_produce_that_the_broker_refuses_passes_no_record(
    broker: EmbeddedBroker, tmp_path: Path, code: int, ends: str
) -> None:
    async with rig(broker, tmp_path) as r:
        await put_notices(r, 3)
        broker.push_errors(Api.PRODUCE, [code] * 200)
        flow = await r.intake(patience=0.5)
        async with running(flow) as (task,):
            await until(lambda: flow.halted or task.done(), seconds=60)
            if ends == "halted":
                assert [f["reason"] for f in r.log.of("flow_paged")] == ["too_large"]
            else:
                assert isinstance(task.exception(), FlowBroken), "its process ends"
        assert await r.raw(DOSSIER_EVENTS) == []
        assert set((await r.positions("intake", ONESTOP_NOTICES)).values()) == {0}
        assert set((await r.committed("intake", ONESTOP_NOTICES)).values()) <= {0, None}


async def test_a_body_that_never_ends_breaks_the_flow_and_passes_no_record(
    broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records wait, the process lives, and nothing moves."""
    monkeypatch.setattr("streams.flow._HANG_SECONDS", 2.0)
    monkeypatch.setattr("streams.flow._LAG_SECONDS", 0.5)

    async def never(batch: Batch) -> None:
        await asyncio.Event().wait()

    async with rig(broker, tmp_path) as r:
        await put_events(r, 0, 4)
        flow = r.flow("ledger", {DOSSIER_EVENTS: never}, r.ledger, patience=2.0)
        async with running(flow) as (task,):
            await until(task.done, seconds=60)
            with pytest.raises(FlowBroken, match="none was done"):
                task.result()
        assert set((await r.positions("ledger", DOSSIER_EVENTS)).values()) == {0}
        assert set((await r.committed("ledger", DOSSIER_EVENTS)).values()) <= {0, None}


class Slow:
    """Takes in what comes, and never comes to an end with one record."""

    def __init__(self, r: Rig, at: int) -> None:
        self._r = r
        self.at: int | None = at
        self.met = asyncio.Event()
        self.seen: list[int] = []

    async def __call__(self, batch: Batch) -> None:
        for record in batch.records:
            self.seen.append(record.offset)
            if record.offset == self.at:
                self.met.set()
                await asyncio.Event().wait()
        await self._r.ledger.enlist(batch.fences, batch.next_offsets, (), batch.first_offsets)


async def test_no_offset_is_committed_past_a_slow_record(
    broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 606. While it is in hand Faust commits again and again, and once more when it is stopped."""
    monkeypatch.setattr("streams.kafka_clients._COMMIT_SECONDS", 0.05)
    monkeypatch.setattr("streams.flow._FINISH_SECONDS", 0.1)
    commits = 0
    faust_commits = Consumer.force_commit

    async def counted(self: Any, *arguments: Any, **options: Any) -> bool:
        nonlocal commits
        done = bool(await faust_commits(self, *arguments, **options))
        commits += 1
        return done

    monkeypatch.setattr(Consumer, "force_commit", counted)
    async with rig(broker, tmp_path) as r:
        partition = await put_events(r, 0, 0)
        body = Slow(r, at=1)
        flow = r.flow("ledger", {DOSSIER_EVENTS: body}, r.ledger)
        async with running(flow):
            # What is done is committed, so a commit would show.
            await until(lambda: _committed(r, partition, 1), seconds=60)
            await put_events(r, 1, 1)
            await asyncio.wait_for(body.met.wait(), 60)
            await put_events(r, 2, 9)
            consumer = flow._app.consumer
            await until(lambda: any(m.offset > 1 for m in list(consumer.unacked)), seconds=60)
            several = commits + 5
            await until(lambda: commits >= several, seconds=60)
            assert await _committed(r, partition, 1), "while it is in hand"
            several = commits
        assert commits > several, "Faust commits when it stops"
        assert await _committed(r, partition, 1), "when it was abandoned"
        assert (await r.positions("ledger", DOSSIER_EVENTS))[partition] == 1
        assert body.seen[-1] == 1

        body.at = None
        async with running(r.flow("ledger", {DOSSIER_EVENTS: body}, r.ledger)):
            await until(lambda: _committed(r, partition, 10), seconds=60)
        assert body.seen == [0, 1, *range(1, 10)], "it is read again, and all behind it"


async def _committed(r: Rig, partition: int, offset: int) -> bool:
    return (await r.committed("ledger", DOSSIER_EVENTS))[partition] == offset


async def test_a_batch_is_handled_alone_and_faust_is_trusted_with_nothing(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """Two batches in hand at once are what issue 606 begins with.

    And no stream is `noack`: what the flow has marked as handled is committed to Kafka, to the last record.
    """
    in_hand = most = 0

    async def slow(batch: Batch) -> None:
        nonlocal in_hand, most
        in_hand += 1
        most = max(most, in_hand)
        await asyncio.sleep(0.05)
        in_hand -= 1
        await r.ledger.enlist(batch.fences, batch.next_offsets, (), batch.first_offsets)

    async with rig(broker, tmp_path) as r:
        flow = r.flow("ledger", {DOSSIER_EVENTS: slow}, r.ledger)
        async with running(flow):
            for first in range(0, 50, 5):
                partition = await put_events(r, first, first + 4)
            await until(lambda: _passed(r, 50), seconds=60)
            await until(lambda: _committed(r, partition, 50), seconds=60)
            app = flow._app
            assert [agent.concurrency for agent in app.agents.values()] == [1]
            assert app.conf.processing_guarantee.value == "at_least_once"
            assert not app.conf.topic_allow_declare
        assert most == 1


async def _passed(r: Rig, offset: int) -> bool:
    return sum((await r.positions("ledger", DOSSIER_EVENTS)).values()) >= offset


async def test_a_killed_process_has_passed_no_record(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """SIGKILL between its writing and its position: what it wrote is written again, nothing is left out."""
    async with rig(broker, tmp_path) as r:
        await put_notices(r, 20)
        with worker(
            broker, tmp_path, f"{CrashPoint.AFTER_INTAKE_PRODUCE}", MASTER_KEY=MASTER
        ) as process:
            assert await asyncio.to_thread(process.wait, 90) == -signal.SIGKILL
        written = [int(one.cursor) for one in await r.read(DOSSIER_EVENTS)]
        assert written, "it wrote before it died"
        assert set((await r.positions("intake", ONESTOP_NOTICES)).values()) == {0}
        assert set((await r.committed("intake", ONESTOP_NOTICES)).values()) <= {0, None}

        with worker(broker, tmp_path, MASTER_KEY=MASTER):
            await until(lambda: _read(r, 20), seconds=90)
        cursors = [int(one.cursor) for one in await r.read(DOSSIER_EVENTS)]
        assert sorted(cursors) == sorted([*range(20), *written]), "all, and its own a second time"


async def _written(r: Rig, count: int) -> bool:
    return len(await r.raw(DOSSIER_EVENTS)) >= count


async def _read(r: Rig, count: int) -> bool:
    return sum((await r.positions("intake", ONESTOP_NOTICES)).values()) >= count


async def test_a_second_signal_ends_the_process_at_once_and_passes_no_record(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """The first waits for the batch in hand, and that one for a ledger that somebody holds locked."""
    async with rig(broker, tmp_path) as r:
        with worker(broker, tmp_path, MASTER_KEY=MASTER) as process:
            while (await asyncio.to_thread(line, process, "flow_started"))["flow"] != "intake":
                pass  # of the flows, the one that must own its partitions before the ledger is locked
            with closing(sqlite3.connect(f"{tmp_path}/ledger.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                await put_notices(r, 5)
                await until(lambda: _written(r, 5), seconds=60)
                process.send_signal(signal.SIGTERM)
                await asyncio.to_thread(line, process, "worker_stopping")
                process.send_signal(signal.SIGTERM)
                said = await asyncio.to_thread(line, process, "worker_died")
                assert said["why"] == "asked a second time to stop"
                assert await asyncio.to_thread(process.wait, 60) == 70
        assert set((await r.positions("intake", ONESTOP_NOTICES)).values()) == {0}
