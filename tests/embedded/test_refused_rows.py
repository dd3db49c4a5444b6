"""An event that the database refuses is kept whole, leaves a gap, and holds up nobody else."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from schemas.ledger.model import LedgerRefuses
from schemas.records import DeadLetter, DossierEvent
from schemas.topics import DEAD_LETTERS, DOSSIER_EVENTS, TOPICS
from streams.embedded_broker import EmbeddedBroker
from tests.embedded.kit import PARTITIONS, Rig, TroubledLedger, event, rig, running, until


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({topic.name: PARTITIONS for topic in TOPICS}) as started:
        yield started


async def put(r: Rig, *ids: tuple[str, int]) -> None:
    codec = await r.codec()
    await r.put(DOSSIER_EVENTS, *[(d, codec.encode(event(d, n))) for d, n in ids])


async def refuse(r: Rig, event_id: str) -> None:
    """Let the database itself refuse every row of this event."""

    def make() -> None:
        database = sqlite3.connect(r.url.removeprefix("sqlite:///"), timeout=10)
        with closing(database), database as connection:
            connection.execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON events"
                f" WHEN NEW.event_id = '{event_id}'"
                " BEGIN SELECT RAISE(ABORT, 'this row is refused'); END"
            )

    await asyncio.to_thread(make)


async def rows(r: Rig, query: str) -> list[tuple[Any, ...]]:
    def ask() -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(r.url.removeprefix("sqlite:///"), timeout=10)) as connection:
            return connection.execute(query).fetchall()

    return await asyncio.to_thread(ask)


async def taken(r: Rig, count: int) -> bool:
    return (await r.ledger.event_counts())["events"] >= count


async def letters(r: Rig, count: int) -> bool:
    return (await r.ledger.event_counts())["dead_letters"] >= count


async def test_one_refused_row_of_a_batch_is_kept_and_the_others_are_enlisted(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as r:
        ids = [(f"d{n % 5}", n) for n in range(40)]
        await refuse(r, "d2.17")
        await put(r, *ids)
        flow = await r.to_ledger()
        async with running(flow) as (task,):
            await until(lambda: letters(r, 1), seconds=60)
            await until(lambda: taken(r, 40), seconds=60)
            assert not flow.halted
            assert not task.done()
        kept = await rows(
            r, "SELECT event_id, log_pos, partition FROM events ORDER BY partition, 2"
        )
        raw = await r.raw(DOSSIER_EVENTS)
        codec = await r.codec()
        expected = [(await codec.decode_as(one.value, DossierEvent)).event_id for one in raw]
        (place,) = [n for n, event_id in enumerate(expected) if event_id == "d2.17"]
        refused = raw[place]
        expected[place] = f"gap:{refused.topic}/{refused.partition}/{refused.offset}"
        assert [event_id for event_id, _, _ in kept] == expected, "in the order of the log"
        assert [(p, at) for _, at, p in kept] == [(one.partition, one.offset) for one in raw]
        ends = {p: sum(one.partition == p for one in raw) for p in range(PARTITIONS)}
        assert await r.positions("ledger", DOSSIER_EVENTS) == ends
        (letter,) = await r.read(DEAD_LETTERS)
        assert isinstance(letter, DeadLetter)
        assert (letter.reason, letter.dossier_id) == ("unclassified_error", "d2")
        assert "LedgerRefuses" in letter.detail
        assert letter.sealed_value is not None
        place_name = f"{letter.topic}/{letter.partition}/{letter.offset}"
        assert r.sealer.open(letter.sealed_value, place_name) == refused.value, "byte for byte"
        (count,) = await r.ledger.counts()
        assert count.parked_dossiers == {"gap": 1}


async def test_who_reads_it_again_keeps_it_once(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Killed between the dead letter and the gap: the second reading makes the same ones."""
    async with rig(broker, tmp_path) as r:
        await refuse(r, "d1.1")
        await put(r, ("d1", 0), ("d1", 1), ("d1", 2))
        ledger = TroubledLedger(r.ledger)
        here = asyncio.Event()

        async def fine() -> None: ...

        async def hang() -> None:
            here.set()
            await asyncio.Event().wait()

        # The whole, its halves and its quarters: whichever comes first behind the dead letter.
        ledger.troubles += [fine, fine, fine, fine, hang]
        async with running(await r.to_ledger(ledger=ledger)):
            await asyncio.wait_for(here.wait(), 60)
        assert await r.raw(DEAD_LETTERS) != []
        async with running(await r.to_ledger()):
            await until(lambda: taken(r, 3), seconds=60)
            await until(lambda: letters(r, 1), seconds=60)
        assert len(await rows(r, "SELECT event_id FROM events")) == 3
        assert len(await rows(r, "SELECT log_pos FROM dead_letters")) == 1


async def test_a_refusal_without_a_row_to_blame_pages(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """Not one event is refused but everything, the position as well: nothing is passed."""
    async with rig(broker, tmp_path) as r:
        await put(r, ("d1", 0), ("d1", 1))
        ledger = TroubledLedger(r.ledger)

        async def refused() -> None:
            raise LedgerRefuses("the database refuses a row (simulated)")

        ledger.troubles += [refused] * 100
        flow = await r.to_ledger(ledger=ledger)
        async with running(flow):
            await until(lambda: flow.halted, seconds=60)
        (paged,) = r.log.of("flow_paged")
        assert "LedgerRefuses" in paged["detail"]
        assert set((await r.positions("ledger", DOSSIER_EVENTS)).values()) == {0}
