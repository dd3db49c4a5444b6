"""What a process does at its start about a ledger that may not be the one the log was written with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.ledger.restore import LogFound
from schemas.records import DeliveryReceipt
from schemas.sealing import Sealer
from schemas.topics import DELIVERY_RECEIPTS, DOSSIER_EVENTS, ONESTOP_NOTICES, TOPICS
from streams.embedded_broker import EmbeddedBroker
from streams.restore import MissingKeys, restore_if_needed
from streams.routing import NATIONAL_PORTAL
from tests.embedded.kit import PARTITIONS, Rig, event, notice, other_sealer, rig, running, until

MASTER_KEY = b"m" * 32  # the rig's
AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({topic.name: PARTITIONS for topic in TOPICS}) as started:
        yield started


def receipt(dossier_id: str, number: int) -> DeliveryReceipt:
    return DeliveryReceipt(
        delivery_id=number,
        event_id=f"{dossier_id}.{number}",
        dossier_id=dossier_id,
        dossier_code=f"000.{dossier_id}",
        target=NATIONAL_PORTAL,
        operation="state",
        attempt_id=None,
        reference=None,
        effective_at=AT,
        delivered_at=AT,
    )


async def look(r: Rig) -> None:
    await restore_if_needed(r.ledger, r.kafka, await r.codec(), MASTER_KEY, r.events)


async def put_events(r: Rig, *numbers: int, dossier_id: str = "d1") -> None:
    codec = await r.codec()
    await r.put(
        DOSSIER_EVENTS, *[(dossier_id, codec.encode(event(dossier_id, n))) for n in numbers]
    )


async def put_receipts(r: Rig, *numbers: int, dossier_id: str = "d1") -> None:
    codec = await r.codec()
    pairs = [(dossier_id, codec.encode(receipt(dossier_id, n))) for n in numbers]
    await r.put(DELIVERY_RECEIPTS, *pairs)


async def enlisted(r: Rig, count: int) -> bool:
    return (await r.ledger.event_counts())["events"] >= count


async def test_a_ledger_that_fits_its_log_is_left_alone(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as r:
        await look(r)
        await put_events(r, 0)
        assert not r.log.of("restore_began")
        assert r.ledger.identity.generation == 1


async def test_a_ledger_older_than_its_log_reads_it_again_before_anything_is_sent(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """The log holds four events, and the receipts of the first three; the ledger knows of none."""
    async with rig(broker, tmp_path) as r:
        codec = await r.codec()
        await put_events(r, 1, 2, 3, 4)
        await put_receipts(r, 1, 2, 3, 3)
        await r.put(ONESTOP_NOTICES, ("d1", codec.encode(notice("d1", 70, r.sealer))))
        await r.put(DELIVERY_RECEIPTS, ("d2", b"garbage"))
        await look(r)
        assert len(r.log.of("restore_began")) == 1
        (finished,) = r.log.of("restore_finished")
        assert (finished["receipts"], finished["unread"], finished["held"]) == (3, 1, 0)
        capture = await r.ledger.take_singleton("capture.one_stop", "someone")
        assert await r.ledger.next_read_seq("one_stop", capture) == 71

        async with running(await r.to_ledger()):
            await until(lambda: enlisted(r, 4))
            await until(lambda: len(r.log.of("partition_restored")) == 2 * PARTITIONS)
        # Those of the reports too, of which there are none.
        looked = r.log.of("partition_restored")
        assert sum(line["proved"] for line in looked) == 3
        assert sum(line["dossiers"] for line in looked) == 1
        (count,) = await r.ledger.counts()
        assert {(s.value, reason): n for (s, reason), n in count.deliveries.items()} == {
            ("delivered", ""): 3,
            ("pending", ""): 1,
        }
        work = await r.ledger.reload(NATIONAL_PORTAL, "d1")
        assert work.dossier.delivered_version == 3
        assert [attempt.reason for attempt in work.attempts] == ["restored"]

        await look(r)
        assert len(r.log.of("restore_began")) == 1, "once is enough"


async def test_nothing_is_begun_with_a_key_that_the_ledger_has_lost(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as r:
        codec = await r.codec()
        later = Sealer({"2999-01": b"k" * 32}, "2999-01")
        await r.put(ONESTOP_NOTICES, ("d1", codec.encode(notice("d1", 1, later))))
        for _ in range(2):
            with pytest.raises(MissingKeys, match=r"2999-01.*thongsuot keys import"):
                await look(r)
            assert r.ledger.identity.changed, "it stays so until the key is there"


async def test_a_key_made_anew_under_the_same_name_is_another_key(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as r:
        codec = await r.codec()
        impostor = Sealer({r.sealer.current: b"k" * 32}, r.sealer.current)
        await r.put(ONESTOP_NOTICES, ("d1", codec.encode(notice("d1", 1, impostor))))
        with pytest.raises(MissingKeys):
            await look(r)


async def test_a_month_that_was_erased_on_purpose_is_no_hindrance(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as r:
        codec = await r.codec()
        await r.put(ONESTOP_NOTICES, *_spread(r, codec.encode(notice("d1", 1, other_sealer()))))
        await r.put(ONESTOP_NOTICES, ("d1", codec.encode(notice("d1", 2, r.sealer))))
        await look(r)
        assert r.log.of("restore_finished")


def _spread(_r: Rig, value: bytes) -> list[tuple[str, bytes]]:
    """The same record under many keys: in every partition."""
    return [(f"d{n}", value) for n in range(16)]


async def test_a_flow_of_the_time_before_ends_its_process(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """The ledger is restored by another process while this one waits for its partitions."""
    async with rig(broker, tmp_path) as r:
        async with type(r.ledger)(r.url) as other:
            await other.begin_restore()
            await other.finish_restore(
                flow="ledger",
                logs={DOSSIER_EVENTS.name: LogFound(topic_id=None, ends={0: 0, 1: 0})},
                read_seqs={},
            )
        flow = await r.to_ledger()
        task = asyncio.create_task(flow.run())
        done, _ = await asyncio.wait({task}, timeout=40)
        assert done, "it must not wait for ever"
        assert "LedgerReplaced" in str(task.exception())
