"""Packets of reports, from the log through the ledger to a reporting system in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.records import DeadLetter, DeliveryReceipt
from schemas.registry import LocalRegistry, UnknownSchemaId
from schemas.reports.kinds import PacketKind
from schemas.sealing import Sealer
from schemas.topics import DEAD_LETTERS, DELIVERY_RECEIPTS, OWING, REPORT_PACKETS, TOPICS
from streams.embedded_broker import EmbeddedBroker
from streams.flow import Flow
from streams.receipts import Receipts
from streams.restore import MissingKeys, restore_if_needed
from tests.contract.packets_contract import REPORT
from tests.embedded.kit import PARTITIONS, Rig, rig, running, until
from tests.embedded.reporting import WORDS, ReportingModel, engine, packet, put
from tests.embedded.test_refused_rows import refuse

OTHER = "figures/II.06/II.06b/2026-11/H12"


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({topic.name: PARTITIONS for topic in TOPICS}) as started:
        yield started


async def states(r: Rig, report_id: str = REPORT) -> list[tuple[int, str]]:
    return [(one.revision, one.state) for one in await r.ledger.report_deliveries(report_id)]


async def packets(r: Rig, count: int) -> bool:
    return (await r.ledger.event_counts())["packets"] >= count


async def receipts(r: Rig, flow: Flow) -> Receipts:
    codec = await r.codec()
    return Receipts(
        ledger=r.ledger,
        fences=lambda: flow.fences(*OWING),
        producer=r.producer,
        encode=codec.encode,
        events=r.events,
        idle=0.05,
    )


async def test_every_newest_revision_arrives_once_and_its_receipt_is_published(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as r:
        target = ReportingModel(r.sealer, lost=2)
        flow = await r.to_ledger()
        await put(r, packet(r.sealer, 1), packet(r.sealer, 1, OTHER), packet(r.sealer, 2))
        async with running(flow):
            await until(lambda: packets(r, 3))
            assert await states(r) == [(1, "pending"), (2, "pending")], "nobody sends, all waits"
            deliverer = await engine(r, target, lambda: flow.fences(REPORT_PACKETS))
            outbox = await receipts(r, flow)
            tasks = [asyncio.create_task(part.run()) for part in (deliverer, outbox)]
            await until(lambda: _delivered(r, REPORT, 2), seconds=60)
            await until(lambda: _delivered(r, OTHER, 1), seconds=60)
            await put(r, packet(r.sealer, 3))
            await until(lambda: _delivered(r, REPORT, 3), seconds=60)
            await until(lambda: _published(r, 3), seconds=60)
            for part in (deliverer, outbox):
                part.stop()
            await asyncio.gather(*tasks)
        assert await states(r) == [(1, "superseded"), (2, "delivered"), (3, "delivered")]
        assert {code: [n for n, _ in held] for code, held in target.held.items()} == {
            REPORT: [2, 3],
            OTHER: [1],
        }
        assert target.violations == []
        told = [one for one in await r.read(DELIVERY_RECEIPTS) if isinstance(one, DeliveryReceipt)]
        assert sorted((one.event_id, one.target) for one in told) == [
            (f"{REPORT}/r2", "gov_reporting"),
            (f"{REPORT}/r3", "gov_reporting"),
            (f"{OTHER}/r1", "gov_reporting"),
        ]
        _nothing_told(r)
        assert WORDS.encode() not in b"".join(one.value for one in await r.raw(REPORT_PACKETS))
        assert WORDS.encode() not in await asyncio.to_thread(Path(tmp_path, "ledger.db").read_bytes)


def _nothing_told(r: Rig) -> None:
    """No line of the log and no metric holds a word of a packet's content."""
    logged = repr(r.log.lines)
    for word in (WORDS, "outline"):
        assert word not in logged
        assert word not in r.metrics.render().decode()


async def _delivered(r: Rig, report_id: str, revision: int) -> bool:
    return (revision, "delivered") in await states(r, report_id)


async def _published(r: Rig, count: int) -> bool:
    return len(await r.raw(DELIVERY_RECEIPTS)) >= count


async def test_what_is_no_packet_is_kept_and_the_rest_flows(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as r:
        codec = await r.codec()
        good = packet(r.sealer)
        wrong = {
            "undecodable": (REPORT, b"garbage"),
            "kind": (REPORT, codec.encode(replace(good, kind=PacketKind.REGIME))),
            "revision": (REPORT, codec.encode(replace(good, revision=0))),
            "packet_id": (REPORT, codec.encode(replace(good, revision=2))),
            "key": ("another", codec.encode(good)),
        }
        await r.put(REPORT_PACKETS, *wrong.values())
        await put(r, good)
        flow = await r.to_ledger()
        async with running(flow):
            await until(lambda: packets(r, 1), seconds=60)
            await until(lambda: _letters(r, len(wrong)), seconds=60)
            assert not flow.halted
        letters = [one for one in await r.read(DEAD_LETTERS) if isinstance(one, DeadLetter)]
        assert len(letters) == len(wrong)
        assert {one.dossier_id for one in letters} == {None}, "a report is no dossier"
        told = sorted((one.reason, one.detail.partition(":")[0]) for one in letters)
        assert told[:-1] == [
            ("impossible_value", name) for name in ("key", "kind", "packet_id", "revision")
        ]
        assert told[-1][0] == "undecodable"
        assert await states(r) == [(1, "pending")]


async def _letters(r: Rig, count: int) -> bool:
    return (await r.ledger.event_counts())["dead_letters"] >= count


async def test_a_packet_that_the_database_refuses_is_kept_and_its_number_is_missed(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as r:
        await refuse(r, f"{REPORT}/r2")
        await put(r, *(packet(r.sealer, n) for n in (1, 2, 3)), packet(r.sealer, 1, OTHER))
        flow = await r.to_ledger()
        async with running(flow):
            await until(lambda: packets(r, 3), seconds=60)
            await until(lambda: _letters(r, 1), seconds=60)
            assert not flow.halted
        assert await states(r) == [(1, "pending"), (3, "pending")]
        (found,) = await r.ledger.findings()
        assert (found.finding.reason, found.finding.detail) == (
            "revision_missing",
            "revision=3 newest=1",
        )
        (line,) = r.log.of("packet_found")
        assert (line["report_id"], line["reason"]) == (REPORT, "revision_missing")


class Forgetful(LocalRegistry):
    """A registry that is not complete."""

    async def schema(self, schema_id: int) -> str:
        raise UnknownSchemaId(schema_id)


async def test_an_unknown_schema_id_stops_the_flow_and_pages(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as r:
        await put(r, packet(r.sealer))
        flow = await r.to_ledger(registry=Forgetful())
        async with running(flow):
            await until(lambda: flow.halted)
        assert [f["reason"] for f in r.log.of("flow_paged")] == ["unknown_schema_id"]
        assert set((await r.positions("ledger", REPORT_PACKETS)).values()) == {0}
        async with running(await r.to_ledger()):
            await until(lambda: packets(r, 1))


async def test_a_ledger_older_than_its_log_asks_before_it_submits_again(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """The copy knows of nothing; the target holds the second revision, and a receipt proves the first."""
    async with rig(broker, tmp_path) as r:
        codec = await r.codec()
        one, two = packet(r.sealer, 1), packet(r.sealer, 2)
        target = ReportingModel(r.sealer)
        target.held[REPORT] = [(1, one.snapshot_hash), (2, two.snapshot_hash)]
        await put(r, one, two)
        await r.put(DELIVERY_RECEIPTS, (REPORT, codec.encode(_receipt(r, one.packet_id))))
        await restore_if_needed(r.ledger, r.kafka, codec, b"m" * 32, r.events)
        assert len(r.log.of("restore_finished")) == 1

        flow = await r.to_ledger()
        async with running(flow):
            deliverer = await engine(r, target, lambda: flow.fences(REPORT_PACKETS))
            task = asyncio.create_task(deliverer.run())
            await until(lambda: _delivered(r, REPORT, 2), seconds=60)
            deliverer.stop()
            await task
        assert await states(r) == [(1, "delivered"), (2, "delivered")]
        assert {code: [n for n, _ in held] for code, held in target.held.items()} == {
            REPORT: [1, 2]
        }
        assert target.violations == []


def _receipt(r: Rig, event_id: str) -> DeliveryReceipt:
    return DeliveryReceipt(
        delivery_id=1,
        event_id=event_id,
        dossier_id=REPORT,
        dossier_code=None,
        target="gov_reporting",
        operation="state",
        attempt_id=None,
        reference=None,
        effective_at=r.now(),
        delivered_at=r.now(),
    )


async def test_a_lost_key_of_the_packets_keeps_everything_from_starting(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as r:
        codec = await r.codec()
        await put(r, packet(Sealer({"2999-01": b"k" * 32}, "2999-01")))
        await r.put(DELIVERY_RECEIPTS, (REPORT, codec.encode(_receipt(r, f"{REPORT}/r1"))))
        with pytest.raises(MissingKeys, match="2999-01"):
            await restore_if_needed(r.ledger, r.kafka, codec, b"m" * 32, r.events)
