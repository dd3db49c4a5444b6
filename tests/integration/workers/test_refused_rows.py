"""What PostgreSQL refuses for good: the row alone is kept aside, by the ledger flow and by the engine."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from schemas.codec import Codec
from schemas.ledger.migrate import upgrade
from schemas.ledger.model import DeliveryState, Position
from schemas.ledger.sql import SqlLedger
from schemas.records import DeadLetter
from schemas.registry import LocalRegistry
from schemas.sealing import Sealer
from schemas.topics import DEAD_LETTERS, DOSSIER_EVENTS
from streams.dead_letters import Writer
from streams.ledger_flow import EventsToLedger
from streams.patience import Patience
from streams.positions import Batch, Received
from streams.routing import dues
from tests.embedded.kit import AT, event
from tests.integration.ledger.databases import postgres_server, url
from tests.unit.engine.refused_world import ODD_ANSWER, ODD_CODE, deliver, many
from tests.unit.streams.kit import MemoryTopic, RecordingLogger, events

pytestmark = pytest.mark.integration

__all__ = ["postgres_server", "url"]

NUL = "d1\x00"  # SQLite holds it, PostgreSQL does not


async def test_an_event_that_postgresql_refuses_is_a_dead_letter_and_a_gap(url: str) -> None:
    await asyncio.to_thread(upgrade, url)
    codec = Codec(LocalRegistry())
    await codec.prepare()
    log, topic = RecordingLogger(), MemoryTopic()
    reports = events(log)
    async with SqlLedger(url) as ledger:
        sealer = await Sealer.load(ledger, b"m" * 32, datetime.now(UTC))
        body = EventsToLedger(
            ledger=ledger,
            codec=codec,
            dues=dues,
            writer=Writer(
                "ledger",
                producer=topic,  # type: ignore[arg-type] # the one method that is used
                codec=codec,
                sealer=sealer,
                events=reports,
                wall=lambda: datetime.now(UTC),
                patience=5.0,
            ),
            patience=Patience("ledger", reports, 5.0),
            events=reports,
            wall=lambda: datetime.now(UTC),
            enlisted=lambda ids: None,
        )
        name = DOSSIER_EVENTS.name
        taken = await ledger.take_over("ledger", name, None, [0, 1], "worker")
        records = [_record(codec, n % 2, n // 2, event(f"d{n % 2}", n)) for n in range(20)]
        odd = replace(event("d1", 7), event_id=NUL)
        records[7] = _record(codec, 1, 3, odd)
        fences = {position.fence.partition: position.fence for position in taken}
        await body(Batch(tuple(records), fences, {0: 0, 1: 0}, {0: 10, 1: 10}))

        assert (await ledger.event_counts())["events"] == 20, "nineteen, and a gap"
        assert [await _offset(ledger, p) for p in (0, 1)] == [10, 10]
        (letter,) = [r for r in topic.records if r.topic == DEAD_LETTERS.name]
        dead = await codec.decode_as(letter.value, DeadLetter)
        assert (dead.reason, dead.dossier_id) == ("unclassified_error", "d1")
        assert dead.sealed_value is not None
        assert sealer.open(dead.sealed_value, f"{name}/1/3") == records[7].value
        (counts,) = await ledger.counts()
        assert counts.parked_dossiers == {"gap": 1}


def _record(codec: Codec, partition: int, offset: int, what: object) -> Received:
    value = codec.encode(what)  # type: ignore[arg-type] # a record
    return Received(DOSSIER_EVENTS.name, partition, offset, AT.timestamp(), b"d", value)


async def _offset(ledger: SqlLedger, partition: int) -> int:
    taken: list[Position] = list(
        await ledger.take_over("ledger", DOSSIER_EVENTS.name, None, [partition], "worker")
    )
    return taken[0].next_offset


async def test_the_engine_keeps_a_refused_row_to_its_own_dossier(url: str) -> None:
    await asyncio.to_thread(upgrade, url)
    kinds = many({7: ODD_ANSWER, 31: ODD_CODE})
    done = await deliver(url, kinds)
    assert done.created == sorted(set(kinds) - {"opencps:31"}), "each of them once"
    assert done.states == {
        (DeliveryState.DELIVERED, ""): len(kinds) - 1,
        (DeliveryState.PARKED, "unclassified_error"): 1,
    }
    assert done.references["opencps:7"] is None
