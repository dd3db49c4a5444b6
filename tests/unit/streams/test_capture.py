"""Capture: a page is saved after the broker's yes, by the one owner, and trouble is told apart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from connectors.protocols import SourceMisconfigured, SourceRestored, SourceUnavailable
from schemas.records import Feed
from streams.capture import Capture
from streams.settings import CaptureSettings
from tests.unit.streams.kit import (
    AT,
    ListSource,
    MemoryCaptureLedger,
    MemoryTopic,
    RecordingLogger,
    events,
)

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
PAUSES = {Feed.ACTIONS: 0.01, Feed.CHANGES: 0.01, Feed.SWEEP: 3600.0}


@dataclass
class Bench:
    source: ListSource = field(default_factory=ListSource)
    ledger: MemoryCaptureLedger = field(default_factory=MemoryCaptureLedger)
    topic: MemoryTopic = field(default_factory=MemoryTopic)
    log: RecordingLogger = field(default_factory=RecordingLogger)
    now: datetime = AT
    stand_by_seconds: float = 12.0

    def capture(self, owner: str = "a", **more: Any) -> Capture:
        return Capture(
            self.source,
            ledger=self.ledger,
            producer=self.topic,
            encode=lambda notice: notice.notice_id.encode(),
            owner=owner,
            pauses=PAUSES | more.pop("pauses", {}),
            zone=ZONE,
            settings=CaptureSettings(
                stand_by_seconds=self.stand_by_seconds,
                sweep_hour=more.pop("sweep_hour", 2),
                retry_first_seconds=0.01,
                retry_most_seconds=0.02,
            ),
            events=events(self.log),
            wall=lambda: self.now,
            **more,
        )

    def written(self) -> list[str]:
        return [record.value.decode() for record in self.topic.records]


@asynccontextmanager
async def running(capture: Capture) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(capture.run())
    try:
        yield task
    finally:
        capture.stop()
        await asyncio.wait_for(task, 5)


async def until(true: Any) -> None:
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end, "it did not become true in time"
        await asyncio.sleep(0.005)


async def test_pages_are_written_in_order_and_saved_behind() -> None:
    bench = Bench()
    bench.source.rows = {Feed.ACTIONS: ["d1", "d2", "d1", "d3", "d1"]}
    async with running(bench.capture()):
        await until(lambda: bench.ledger.cursors.get(Feed.ACTIONS) == "5")
    assert bench.written()[:5] == [f"actions.{n}" for n in range(5)]
    assert [record.key for record in bench.topic.records] == [b"d1", b"d2", b"d1", b"d3", b"d1"]
    numbers = [read_seq for _, _, read_seq in bench.source.asked]
    assert numbers == sorted(set(numbers)), "every page has a number of its own"


@pytest.mark.parametrize("written", [True, False])
async def test_an_unconfirmed_page_is_not_saved_and_read_again(written: bool) -> None:
    bench = Bench(topic=MemoryTopic(unconfirmed=1, writes_all_the_same=written))
    bench.source.rows = {Feed.ACTIONS: ["d1"]}
    async with running(bench.capture()):
        await until(lambda: bench.ledger.cursors.get(Feed.ACTIONS) == "1")
    assert bench.written() == ["actions.0"] * (2 if written else 1)
    assert bench.ledger.saved.count("actions:1") == 1
    assert [f["waits_for"] for f in bench.log.of("flow_waiting")] == ["broker"]


async def test_killed_between_producing_and_saving_the_page_is_read_again_with_a_new_number() -> (
    None
):
    bench = Bench()
    bench.source.rows = {Feed.ACTIONS: ["d1"]}
    here = asyncio.Event()

    class Hanging(MemoryCaptureLedger):
        async def save_page(self, *_: Any) -> None:
            here.set()
            await asyncio.Event().wait()

    bench.ledger = Hanging()
    task = asyncio.create_task(bench.capture("a").run())
    await asyncio.wait_for(here.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert bench.written() == ["actions.0"]
    left = bench.ledger
    bench.ledger = MemoryCaptureLedger(read_seq=left.read_seq, owner=left.owner, epoch=left.epoch)
    async with running(bench.capture("b")):
        await until(lambda: bench.ledger.cursors.get(Feed.ACTIONS) == "1")
    assert bench.written()[:2] == ["actions.0", "actions.0"]
    first, second = [asked for asked in bench.source.asked if asked[:2] == (Feed.ACTIONS, None)]
    assert second[2] > first[2]


async def test_a_dead_owner_is_followed_by_who_stands_by() -> None:
    bench = Bench(stand_by_seconds=0.5)
    await bench.ledger.take_singleton("capture.one_stop", "b")  # and never beats
    capture = bench.capture("a")
    async with running(capture):
        await until(lambda: capture.waits_for == "another owner")
        bench.source.rows = {Feed.ACTIONS: ["d1"]}
        await until(lambda: bench.written() != [])
        assert bench.ledger.owner == "a"
        assert capture.waits_for is None


@pytest.mark.parametrize("trouble", ["source", "broker"])
async def test_a_living_owner_is_never_followed_however_long_it_waits(trouble: str) -> None:
    """Its pauses are longer than the silence after which it would be thought dead."""
    bench = Bench(stand_by_seconds=0.5)
    bench.source.rows = {Feed.ACTIONS: ["d1"]}
    here = asyncio.Event()

    async def waiting(*_: Any) -> Any:
        here.set()
        await asyncio.Event().wait()

    wait: Any = waiting
    if trouble == "source":
        bench.source.read_page = wait  # type: ignore[method-assign] # one that does not answer
    else:
        bench.topic.produce = wait  # type: ignore[method-assign] # one that does not confirm
    owner = asyncio.create_task(bench.capture("a").run())
    try:
        await asyncio.wait_for(here.wait(), 5)
        second = bench.capture("b")
        async with running(second):
            await until(lambda: second.waits_for == "another owner")
            looked, since = bench.ledger.looked, bench.ledger.clock()
            await until(
                lambda: bench.ledger.looked > looked + 5 and bench.ledger.clock() > since + 1.5
            )
            assert (bench.ledger.owner, bench.written()) == ("a", [])
    finally:
        owner.cancel()
        await asyncio.gather(owner, return_exceptions=True)


async def test_who_was_asked_to_stop_is_followed_at_once() -> None:
    bench = Bench(stand_by_seconds=3600.0)
    bench.source.rows = {Feed.ACTIONS: ["d1"]}
    first, second = bench.capture("a"), bench.capture("b")
    async with running(second):
        await until(lambda: bench.ledger.owner == "b")
    async with running(first):
        await until(lambda: bench.ledger.owner == "a")


async def test_an_owner_that_was_frozen_stands_by_when_it_wakes() -> None:
    bench = Bench(stand_by_seconds=3600.0)
    capture = bench.capture("a")
    async with running(capture) as task:
        await until(lambda: bench.ledger.cursors)
        await bench.ledger.take_singleton("capture.one_stop", "b")
        await until(lambda: capture.waits_for == "another owner")
        assert not task.done()
        assert bench.ledger.owner == "b", "it does not release what is another one's"


async def test_another_owner_ends_the_capture_without_a_save() -> None:
    bench = Bench()
    async with running(bench.capture("a")) as task:
        await until(lambda: bench.ledger.cursors)
        await bench.ledger.take_singleton("capture.one_stop", "b")
        saved = len(bench.ledger.saved)
        bench.source.rows = {Feed.ACTIONS: ["d1"]}
        await until(lambda: bench.log.of("flow_stopped"))
        assert not task.done(), "it stands by: ending the process would start it again"
        assert len(bench.ledger.saved) == saved
    assert bench.written() == []
    assert bench.log.of("flow_paged") == []


async def test_who_is_overtaken_while_reading_compares_with_nothing_and_writes_nothing() -> None:
    """What the next one captured since would look deleted in a page that was read before."""
    bench = Bench()
    bench.source.rows = {Feed.ACTIONS: ["d1"]}
    bench.source.between = lambda: bench.ledger.take_singleton("capture.one_stop", "b")
    async with running(bench.capture("a")):
        await until(lambda: bench.log.of("flow_stopped"))
    assert bench.written() == []


@pytest.mark.parametrize(
    "trouble", [SourceRestored("action 7 has another uuid_"), SourceMisconfigured("no such table")]
)
async def test_trouble_for_a_person_pages_and_the_capture_stays_down(trouble: Exception) -> None:
    bench = Bench()
    bench.source.troubles = [trouble]
    capture = bench.capture()
    async with running(capture) as task:
        await until(lambda: capture.paged)
        asked, beats = len(bench.source.asked), capture.beats
        await until(lambda: capture.beats > beats + 1)
        assert len(bench.source.asked) == asked
        assert not task.done()
    (paged,) = bench.log.of("flow_paged")
    assert paged["detail"] == str(trouble)


async def test_an_unavailable_source_is_asked_again() -> None:
    bench = Bench()
    bench.source.rows = {Feed.ACTIONS: ["d1"]}
    bench.source.troubles = [SourceUnavailable("connection refused")] * 3
    async with running(bench.capture()):
        await until(lambda: bench.ledger.cursors.get(Feed.ACTIONS) == "1")
    waits = [facts["wait"] for facts in bench.log.of("source_unavailable")]
    assert len(waits) == 3
    assert all(0.005 <= wait <= 0.02 for wait in waits)


async def test_an_unavailable_ledger_is_waited_for_also_at_the_start() -> None:
    bench = Bench(ledger=MemoryCaptureLedger(away=3))
    bench.source.rows = {Feed.ACTIONS: ["d1"]}
    async with running(bench.capture()):
        await until(lambda: bench.ledger.cursors.get(Feed.ACTIONS) == "1")
    assert bench.written() == ["actions.0"]


async def test_what_comes_first_is_done_before_anything_is_read() -> None:
    bench = Bench()
    order: list[str] = []

    async def import_mappings() -> None:
        order.append(f"mappings, {len(bench.source.asked)} pages read")
        if len(order) == 1:
            raise SourceUnavailable("not yet")

    async with running(bench.capture(begin=import_mappings)):
        await until(lambda: bench.source.asked)
    assert order == ["mappings, 0 pages read"] * 2


async def test_a_long_feed_does_not_starve_the_others() -> None:
    bench = Bench()
    bench.source.rows = {Feed.ACTIONS: ["d"] * 1000, Feed.CHANGES: ["d1"]}
    async with running(bench.capture()):
        await until(lambda: bench.ledger.cursors.get(Feed.CHANGES) == "1")
    assert int(bench.ledger.cursors.get(Feed.ACTIONS, "0")) < 1000


async def test_the_sweep_waits_for_its_hour_and_begins_anew_every_time() -> None:
    bench = Bench()
    bench.source.rows = {Feed.SWEEP: ["d1", "d2", "d3"]}
    bench.ledger.cursors[Feed.SWEEP] = "2"  # where an earlier sweep was broken off
    capture = bench.capture(sweep_hour=None)
    async with running(capture):
        await until(lambda: len(bench.source.asked) > 6)
        assert Feed.SWEEP not in {feed for feed, _, _ in bench.source.asked}
        capture.sweep_now()
        await until(lambda: bench.ledger.saved.count("sweep:3") == 1)
        capture.sweep_now()
        await until(lambda: bench.ledger.saved.count("sweep:3") == 2)
    asked = [cursor for feed, cursor, _ in bench.source.asked if feed is Feed.SWEEP]
    assert asked == [None, "2", None, "2"]


async def test_the_sweep_runs_at_the_local_hour() -> None:
    # Two milliseconds before two o'clock in Cà Mau.
    at = datetime(2026, 3, 3, 2, 0, tzinfo=ZONE) - timedelta(milliseconds=2)
    bench = Bench(now=at)
    bench.source.rows = {Feed.SWEEP: ["d1"]}
    async with running(bench.capture()):
        await until(lambda: bench.written() == ["sweep.0"] or len(bench.written()) > 1)


async def test_the_sweep_also_runs_after_its_pause() -> None:
    bench = Bench()
    bench.source.rows = {Feed.SWEEP: ["d1"]}
    async with running(bench.capture(pauses={Feed.SWEEP: 0.01})):
        await until(lambda: bench.written()[:2] == ["sweep.0", "sweep.0"])
