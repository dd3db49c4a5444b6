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

import pytest

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


async def test_a_batch_is_handled_alone_and_faust_is_trusted_with_nothing(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """Issue 606: with `concurrency` above 1 an offset is committed past a slow message."""
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
                await put_events(r, first, first + 4)
            await until(lambda: _passed(r, 50), seconds=60)
            app = flow._app
            assert [agent.concurrency for agent in app.agents.values()] == [1]
            assert app.conf.processing_guarantee.value == "at_least_once"
            assert not app.conf.topic_allow_declare
        assert most == 1


async def _passed(r: Rig, offset: int) -> bool:
    return sum((await r.positions("ledger", DOSSIER_EVENTS)).values()) >= offset


@pytest.mark.parametrize("end", ["", "=stop"], ids=["killed at once", "killed in a slow batch"])
async def test_a_killed_process_has_passed_no_record(
    broker: EmbeddedBroker, tmp_path: Path, end: str
) -> None:
    """SIGKILL between its writing and its position: what it wrote is written again, nothing is left out."""
    async with rig(broker, tmp_path) as r:
        await put_notices(r, 20)
        crash = f"{CrashPoint.AFTER_INTAKE_PRODUCE}{end}"
        with worker(broker, tmp_path, crash, MASTER_KEY=MASTER) as process:
            if end:
                await until(lambda: _is_frozen(process.pid), seconds=90)
                process.kill()
            assert await asyncio.to_thread(process.wait, 90) == -signal.SIGKILL
        written = [int(one.cursor) for one in await r.read(DOSSIER_EVENTS)]
        assert written, "it wrote before it died"
        assert set((await r.positions("intake", ONESTOP_NOTICES)).values()) == {0}
        assert set((await r.committed("intake", ONESTOP_NOTICES)).values()) <= {0, None}

        with worker(broker, tmp_path, MASTER_KEY=MASTER):
            await until(lambda: _read(r, 20), seconds=90)
        cursors = [int(one.cursor) for one in await r.read(DOSSIER_EVENTS)]
        assert sorted(cursors) == sorted([*range(20), *written]), "all, and its own a second time"


def _is_frozen(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


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
            await asyncio.to_thread(line, process, "flow_started")
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
