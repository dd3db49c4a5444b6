"""What a ledger promises about packets of reports, beside and apart from dossiers. All figures are invented.

Inherit and override `url`: the address of an empty ledger.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, text

from schemas.ledger.database import Lane
from schemas.ledger.figures import due as figures_due
from schemas.ledger.migrate import upgrade
from schemas.ledger.model import (
    Applied,
    Attempt,
    AttemptKind,
    AttemptOutcome,
    Change,
    DeliveryState,
    DossierPatch,
    Due,
    EnlistResult,
    Fence,
    Known,
    Operation,
    Outcome,
    PacketEnlistment,
    PositionHole,
    Settled,
    StaleOwner,
    Work,
)
from schemas.ledger.prune import prune
from schemas.ledger.restore import LogFound
from schemas.ledger.retention import Retention
from schemas.ledger.sql import SqlLedger
from schemas.ledger.tables import dossier_aliases, dossiers, figures, timeline
from schemas.reasons import Reason
from schemas.records import DeliveryReceipt, ReportPacket
from schemas.reports.kinds import PacketKind
from streams.demo.hub_view import HubView
from tests.contract.ledger_contract import Desk, make_event

FLOW, TOPIC, TARGET = "ledger", "report.packets", "gov_reporting"
NOON = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
OWED = Due(target=TARGET, operation=Operation.STATE)
REPORT = "figures/II.06/II.06a/2026-11/H12"


def make_packet(
    revision: int = 1,
    report_id: str = REPORT,
    *,
    content: str = "",
    due_on: date = date(2026, 11, 25),
    at: datetime = NOON,
) -> ReportPacket:
    """A revision with what the ledger reads of it."""
    kind, regime, form, period, agency = report_id.split("/")
    return ReportPacket(
        packet_id=f"{report_id}/r{revision}",
        report_id=report_id,
        kind=PacketKind(kind),
        regime=regime,
        form=form,
        form_version="TT01/2020",
        period=period,
        window_from=date(2026, 10, 15),
        window_to=date(2026, 11, 14),
        due_on=due_on,
        agency=agency,
        revision=revision,
        snapshot_hash=content or f"hash of {revision}",
        sealed=b"sealed",
        known_at=at,
        approved_at=at,
        recorded_at=at + timedelta(seconds=1),
    )


@dataclass(slots=True)
class PacketDesk:
    """Takes partitions of the topic over and enlists packets at the next free offsets."""

    ledger: SqlLedger
    fences: dict[int, Fence]
    offsets: dict[int, int]

    @classmethod
    async def open(
        cls, ledger: SqlLedger, partitions: Sequence[int] = (0,), owner: str = "worker-a"
    ) -> PacketDesk:
        taken = await ledger.take_over(FLOW, TOPIC, "topic-2", partitions, owner)
        return cls(
            ledger=ledger,
            fences={p.fence.partition: p.fence for p in taken},
            offsets={p.fence.partition: p.next_offset for p in taken},
        )

    async def put(
        self, *packets: ReportPacket, partition: int = 0, at: int | None = None
    ) -> EnlistResult:
        first = self.offsets[partition] if at is None else at
        self.offsets[partition] = first + len(packets)
        return await self.ledger.enlist_packets(
            {partition: self.fences[partition]},
            {partition: first + len(packets)},
            [
                PacketEnlistment(
                    packet=packet,
                    payload=f"payload of {packet.packet_id}".encode(),
                    topic=TOPIC,
                    partition=partition,
                    offset=first + nth,
                    dues=(OWED,),
                )
                for nth, packet in enumerate(packets)
            ],
            {partition: first},
        )

    async def runnable(self) -> Sequence[Work]:
        return await self.ledger.runnable(TARGET, list(self.fences.values()), 100, frozenset())

    async def commit(self, *changes: Change) -> list[Applied]:
        return list(await self.ledger.commit(changes))

    def change(self, work: Work) -> Change:
        return Change(
            dossier_id=work.dossier.dossier_id,
            target=TARGET,
            fence=self.fences[work.dossier.partition],
        )


_numbers = itertools.count(1)


async def deliver(desk: PacketDesk, work: Work, reference: str | None = None) -> Attempt:
    """The newest revision goes out and is settled, and with it all before it."""
    newest = max(work.rows, key=lambda row: row.version)
    attempt = Attempt(
        attempt_id=f"packet-attempt-{next(_numbers)}",
        kind=AttemptKind.CREATE,
        delivery_ids=(newest.delivery_id,),
        version=newest.version,
        content_hash="hash",
        proved_absent=False,
        epoch=1,
        started_at=0.0,
    )
    change = desk.change(work)
    await desk.commit(replace(change, intent=attempt, claim=work.dossier.dossier_id))
    await desk.commit(
        replace(
            change,
            outcome=AttemptOutcome(
                attempt_id=attempt.attempt_id, outcome=Outcome.DELIVERED, reference=reference
            ),
            close=attempt.attempt_id,
            settled=tuple(
                Settled(
                    delivery_id=row.delivery_id,
                    state=DeliveryState.DELIVERED if row is newest else DeliveryState.SUPERSEDED,
                    reason=None if row is newest else Reason.NEWER_STATE,
                )
                for row in work.rows
            ),
            patch=DossierPatch(
                known=Known.PRESENT, delivered_version=newest.version, delivered_hash="hash"
            ),
            release_seq=work.dossier.work_seq,
        )
    )
    return attempt


def _receipt(packet: ReportPacket) -> DeliveryReceipt:
    return DeliveryReceipt(
        delivery_id=1,
        event_id=packet.packet_id,
        dossier_id=packet.report_id,
        dossier_code=None,
        target=TARGET,
        operation="state",
        attempt_id="lost",
        reference=None,
        effective_at=NOON,
        delivered_at=NOON,
        step_key=None,
    )


class PacketsContract:
    @pytest.fixture
    async def ledger(self, url: str) -> AsyncIterator[SqlLedger]:
        await asyncio.to_thread(upgrade, url)
        async with SqlLedger(url) as opened:
            yield opened

    @pytest.fixture
    async def lane(self, ledger: SqlLedger, url: str) -> AsyncIterator[Lane]:
        """Another connection to the same ledger."""
        lane = Lane(url, "packets", seconds=None)
        yield lane
        await lane.close()

    # --- taking in -----------------------------------------------------------------------------------

    async def test_a_packet_becomes_work_until_the_end_of_its_last_day(
        self, ledger: SqlLedger
    ) -> None:
        desk = await PacketDesk.open(ledger)
        assert (await desk.put(make_packet(1))).enlisted == 1
        (work,) = await desk.runnable()
        assert (work.dossier.dossier_id, work.dossier.target) == (REPORT, TARGET)
        assert work.dossier.known is Known.UNKNOWN
        assert not work.dossier.born_on_portal
        # Midnight in Viet Nam that ends the 25th is 17:00 UTC of it.
        assert work.dossier.deadline == datetime(2026, 11, 25, 17, tzinfo=UTC).timestamp()
        (row,) = work.rows
        assert (row.event_id, row.operation, row.version) == (f"{REPORT}/r1", Operation.STATE, 1)
        assert row.payload == f"payload of {REPORT}/r1".encode()

    async def test_of_several_revisions_the_newest_is_the_state(self, ledger: SqlLedger) -> None:
        desk = await PacketDesk.open(ledger)
        later = date(2026, 12, 1)
        result = await desk.put(make_packet(1), make_packet(2), make_packet(3, due_on=later))
        assert (result.enlisted, result.found) == (3, ())
        (work,) = await desk.runnable()
        assert [row.version for row in work.rows] == [1, 2, 3]
        assert work.rows[-1].payload == f"payload of {REPORT}/r3".encode()
        assert work.dossier.deadline == datetime(2026, 12, 1, 17, tzinfo=UTC).timestamp()

    async def test_the_report_whose_day_comes_first_comes_first(self, ledger: SqlLedger) -> None:
        desk = await PacketDesk.open(ledger)
        year = "figures/II.06/II.06a/2026/H12"
        await desk.put(make_packet(1, year, due_on=date(2026, 12, 25)), make_packet(1))
        assert [work.dossier.dossier_id for work in await desk.runnable()] == [REPORT, year]

    async def test_a_packet_is_taken_once(self, ledger: SqlLedger) -> None:
        desk = await PacketDesk.open(ledger)
        await desk.put(make_packet(1), make_packet(1))
        (before,) = await desk.runnable()
        result = await desk.put(make_packet(1))
        assert (result.enlisted, result.duplicates, result.found) == (0, 1, ())
        assert list(await desk.runnable()) == [before], "a duplicate must not look like new work"

    async def test_offsets_below_the_position_are_skipped_and_a_hole_stops_the_flow(
        self, ledger: SqlLedger
    ) -> None:
        desk = await PacketDesk.open(ledger)
        await desk.put(make_packet(1), make_packet(2))
        result = await desk.put(make_packet(9), make_packet(3), at=1)
        assert (result.enlisted, result.duplicates) == (1, 1)
        with pytest.raises(PositionHole):
            await desk.put(make_packet(4), at=7)

    async def test_a_stale_owner_takes_nothing_in(self, ledger: SqlLedger) -> None:
        desk = await PacketDesk.open(ledger)
        new = await PacketDesk.open(ledger, owner="worker-b")
        with pytest.raises(StaleOwner):
            await desk.put(make_packet(1))
        assert list(await new.runnable()) == []
        assert await ledger.find_report(REPORT) == []

    async def test_who_owns_the_dossiers_partition_does_not_own_the_reports(
        self, ledger: SqlLedger
    ) -> None:
        """Both topics have a partition 0; a fence of one opens nothing of the other."""
        reports, dossiers_ = await PacketDesk.open(ledger), await Desk.open(ledger)
        await reports.put(make_packet(1))
        await dossiers_.put(make_event("e1"))
        held = list(dossiers_.fences.values())
        assert await ledger.runnable(TARGET, held, 10, frozenset()) == []
        assert len(await reports.runnable()) == len(await dossiers_.runnable()) == 1

    # --- numbers -------------------------------------------------------------------------------------

    async def test_an_older_revision_is_overtaken(self, ledger: SqlLedger) -> None:
        desk = await PacketDesk.open(ledger)
        await desk.put(make_packet(1), make_packet(3))
        result = await desk.put(make_packet(2))
        assert (result.enlisted, result.overtaken) == (0, 1)
        (work,) = await desk.runnable()
        assert [row.version for row in work.rows] == [1, 3]

    async def test_a_missing_revision_is_seen_and_holds_nothing_back(
        self, ledger: SqlLedger
    ) -> None:
        desk = await PacketDesk.open(ledger)
        await desk.put(make_packet(1))
        result = await desk.put(make_packet(3), make_packet(4))
        assert result.enlisted == 2
        assert [row.finding.reason for row in result.found] == [Reason.REVISION_MISSING]
        (found,) = await ledger.findings()
        assert (found.target, found.dossier_id) == (TARGET, REPORT)
        assert found.finding.detail == "revision=3 newest=1"
        told = [entry for entry in await ledger.trace(REPORT) if entry.kind == "finding"]
        assert [entry.facts["reason"] for entry in told] == ["revision_missing"]

    async def test_a_first_revision_that_never_came_is_missing_too(self, ledger: SqlLedger) -> None:
        desk = await PacketDesk.open(ledger)
        (found,) = (await desk.put(make_packet(2))).found
        assert found.finding.detail == "revision=2 newest=0"

    async def test_a_number_with_two_contents_keeps_the_first_and_says_so(
        self, ledger: SqlLedger
    ) -> None:
        desk = await PacketDesk.open(ledger)
        await desk.put(make_packet(1, content="one"))
        for _ in range(2):
            result = await desk.put(make_packet(1, content="two"))
            assert (result.enlisted, result.duplicates) == (0, 1)
            assert [row.finding.reason for row in result.found] == [Reason.REVISION_CONFLICT]
        assert len(await ledger.findings()) == 1, "a second reading finds the same"

    async def test_two_contents_in_one_batch_are_seen_too(self, ledger: SqlLedger) -> None:
        desk = await PacketDesk.open(ledger)
        result = await desk.put(make_packet(1, content="one"), make_packet(1, content="two"))
        assert [row.finding.reason for row in result.found] == [Reason.REVISION_CONFLICT]

    # --- a report is no dossier ------------------------------------------------------------------------

    async def test_a_report_has_no_row_from_which_a_rate_is_counted(
        self, ledger: SqlLedger, lane: Lane
    ) -> None:
        desk = await PacketDesk.open(ledger)
        await desk.put(make_packet(1), make_packet(2))
        (work,) = await desk.runnable()
        await deliver(desk, work)
        tables = (dossiers, dossier_aliases, timeline, figures)

        def rows(connection: Connection) -> list[int]:
            return [
                connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in tables
            ]

        assert await lane.read(rows) == [0, 0, 0, 0]
        assert await lane.read(lambda c: figures_due(c, 100)) == []
        assert await ledger.find_dossier(REPORT) == []

    async def test_reports_change_no_count_of_dossiers(self, ledger: SqlLedger) -> None:
        dossiers_ = await Desk.open(ledger)
        await dossiers_.put(make_event("e1"))
        before = await ledger.event_counts()
        desk = await PacketDesk.open(ledger)
        await desk.put(make_packet(1), make_packet(2))
        (work,) = await desk.runnable()
        attempt = await deliver(desk, work)
        assert attempt.delivery_ids
        assert await ledger.event_counts() == {**before, "packets": 2}
        by_target = {count.target: count for count in await ledger.counts()}
        assert by_target[TARGET].deliveries == {
            (DeliveryState.DELIVERED, ""): 1,
            (DeliveryState.SUPERSEDED, "newer_state"): 1,
        }
        assert set(by_target) == {TARGET, "national_portal"}

    async def test_whoever_watches_dossiers_does_not_wait_for_reports(
        self, ledger: SqlLedger, url: str
    ) -> None:
        """The demo and the torture end when nothing is under way; a report may wait for an address."""
        view = HubView(url.replace("postgresql://", "postgresql+psycopg://", 1))
        nothing = await asyncio.to_thread(view.standing)
        desk = await PacketDesk.open(ledger)
        await desk.put(make_packet(1), make_packet(2))
        (work,) = await desk.runnable()
        await deliver(desk, work)
        await desk.put(make_packet(3))
        assert await asyncio.to_thread(view.standing) == nothing

    async def test_a_parked_report_is_in_no_count_of_parked_dossiers(
        self, ledger: SqlLedger, lane: Lane
    ) -> None:
        desk = await PacketDesk.open(ledger)
        await desk.put(make_packet(1))
        (work,) = await desk.runnable()
        parked = Settled(
            delivery_id=work.rows[0].delivery_id,
            state=DeliveryState.PARKED,
            reason=Reason.UNMAPPED,
            detail="codelist=agency",
        )
        await desk.commit(replace(desk.change(work), settled=(parked,)))
        assert set((await ledger.unmapped()).values()) == {0}
        counted = {count.target: count.parked_dossiers for count in await ledger.counts()}
        assert counted == {TARGET: {"unmapped": 1}}, "it is listed under its own target"

        def seen(connection: Connection) -> Any:
            return connection.execute(text("SELECT count(*) FROM v_rates_parked")).scalar_one()

        assert await lane.read(seen) == 0
        assert await ledger.put_mappings([]) == 1, "a new mapping lets it go, like any other"

    # --- what people and other parts ask -----------------------------------------------------------------

    async def test_what_became_of_each_revision_can_be_asked(self, ledger: SqlLedger) -> None:
        desk = await PacketDesk.open(ledger)
        assert await ledger.report_deliveries(REPORT) == []
        await desk.put(make_packet(1), make_packet(2))
        (work,) = await desk.runnable()
        await deliver(desk, work, reference="BC-17")
        await desk.put(make_packet(3))
        one, two, three = await ledger.report_deliveries(REPORT)
        assert (one.revision, one.state, one.reason) == (1, "superseded", Reason.NEWER_STATE)
        assert (one.attempts, one.settled_at is not None) == (0, True)
        assert (two.revision, two.state, two.attempts, two.reference) == (
            *(2, "delivered", 1),
            "BC-17",
        )
        assert (three.revision, three.state, three.settled_at) == (3, "pending", None)
        assert {each.target for each in (one, two, three)} == {TARGET}

    async def test_the_story_of_a_report_is_told_by_its_id(self, ledger: SqlLedger) -> None:
        desk = await PacketDesk.open(ledger)
        await desk.put(make_packet(1))
        (work,) = await desk.runnable()
        await deliver(desk, work)
        assert await ledger.find_report(REPORT) == [REPORT]
        entries = await ledger.trace(REPORT)
        assert [entry.kind for entry in entries] == ["event", "delivery", "attempt", "receipt"]
        assert entries[0].facts["kind"] == "figures"
        assert entries[0].facts["version"] == "1"

    async def test_its_receipt_is_published_by_who_owns_its_own_partition(
        self, ledger: SqlLedger
    ) -> None:
        desk, other = await PacketDesk.open(ledger), await Desk.open(ledger)
        await desk.put(make_packet(1))
        (work,) = await desk.runnable()
        attempt = await deliver(desk, work, reference="BC-17")
        assert await ledger.unpublished(10, list(other.fences.values())) == []
        assert await ledger.unpublished(10, []) == []
        (receipt,) = await ledger.unpublished(10, list(desk.fences.values()))
        assert (receipt.event_id, receipt.dossier_id) == (f"{REPORT}/r1", REPORT)
        assert (receipt.target, receipt.operation) == (TARGET, "state")
        assert (receipt.attempt_id, receipt.reference) == (attempt.attempt_id, "BC-17")
        await ledger.mark_published([receipt.delivery_id])
        assert await ledger.unpublished(10) == []

    # --- after a restore ---------------------------------------------------------------------------------

    async def test_a_restored_ledger_looks_for_a_report_before_it_sends_it(
        self, ledger: SqlLedger
    ) -> None:
        """The lost time may have submitted it: it is asked about, under the report's own id."""
        await self._restored(ledger, ends={TOPIC: 2})
        desk = await PacketDesk.open(ledger)
        await desk.put(make_packet(1))
        assert list(await desk.runnable()) == [], "the log goes on"
        result = await desk.put(make_packet(2))
        assert [(r.proved, r.dossiers, r.steps) for r in result.restored] == [(0, 1, 0)]
        (work,) = await desk.runnable()
        assert work.dossier.claimed_code == REPORT
        (attempt,) = work.attempts
        assert (attempt.kind, attempt.outcome) == (AttemptKind.CREATE, Outcome.UNKNOWN)
        assert attempt.reason is Reason.RESTORED

    async def test_a_receipt_of_the_log_proves_a_revision(self, ledger: SqlLedger) -> None:
        await self._restored(ledger, _receipt(make_packet(2)), ends={TOPIC: 3})
        desk = await PacketDesk.open(ledger)
        await desk.put(make_packet(1), make_packet(2))
        result = await desk.put(make_packet(3))
        assert [r.proved for r in result.restored] == [1]
        states = [each.state for each in await ledger.report_deliveries(REPORT)]
        assert states == ["superseded", "delivered", "pending"]
        (work,) = await desk.runnable()
        assert work.dossier.delivered_version == 2
        assert [attempt.kind for attempt in work.attempts] == [AttemptKind.UPDATE]

    async def test_a_partition_of_dossiers_at_its_horizon_leaves_the_reports_alone(
        self, ledger: SqlLedger
    ) -> None:
        """Both are partition 0, and the reports' log is not read to its end yet."""
        await self._restored(ledger, ends={TOPIC: 2, "dossier.events": 1})
        reports, dossiers_ = await PacketDesk.open(ledger), await Desk.open(ledger)
        await reports.put(make_packet(1))
        result = await dossiers_.put(make_event("e1", code="C1"))
        assert [r.dossiers for r in result.restored] == [1]
        assert list(await reports.runnable()) == []
        assert (await ledger.reload(TARGET, REPORT)).attempts == ()
        assert len(await dossiers_.runnable()) == 1

    async def test_a_lost_log_of_reports_holds_the_reports_only(self, ledger: SqlLedger) -> None:
        desk = await PacketDesk.open(ledger)
        await desk.put(make_packet(1), make_packet(2))
        await self._restored(ledger, ends={TOPIC: 1, "dossier.events": 0})
        assert await ledger.held_partitions() == 1
        desk, dossiers_ = await PacketDesk.open(ledger), await Desk.open(ledger)
        await dossiers_.put(make_event("e1"))
        assert list(await desk.runnable()) == []
        assert len(await dossiers_.runnable()) == 1

    async def _restored(
        self, ledger: SqlLedger, *receipts: DeliveryReceipt, ends: dict[str, int]
    ) -> None:
        await ledger.begin_restore()
        await ledger.add_receipts(receipts)
        logs = {topic: LogFound(topic_id=None, ends={0: end}) for topic, end in ends.items()}
        await ledger.finish_restore(flow=FLOW, logs=logs, read_seqs={})

    # --- letting go --------------------------------------------------------------------------------------

    async def test_a_pruned_report_goes_on_with_its_numbers(
        self, ledger: SqlLedger, lane: Lane
    ) -> None:
        old = datetime(2024, 3, 2, 8, tzinfo=UTC)
        desk = await PacketDesk.open(ledger)
        await desk.put(make_packet(1, at=old), make_packet(2, at=old))
        (work,) = await desk.runnable()
        await deliver(desk, work)
        (receipt,) = await ledger.unpublished(10)
        await ledger.mark_published([receipt.delivery_id])
        later = datetime.now(UTC) + timedelta(days=800)
        gone = await prune(lane, Retention(), later)
        assert (gone.events, gone.deliveries, gone.attempts) == (2, 2, 1)
        result = await desk.put(make_packet(2, at=old), make_packet(3))
        assert (result.enlisted, result.duplicates, result.found) == (1, 1, ())

    async def test_a_report_that_is_owed_is_never_pruned(
        self, ledger: SqlLedger, lane: Lane
    ) -> None:
        """As long as no address of the target is set up, for instance."""
        desk = await PacketDesk.open(ledger)
        await desk.put(make_packet(1, at=datetime(2024, 3, 2, 8, tzinfo=UTC)))
        gone = await prune(lane, Retention(), datetime.now(UTC) + timedelta(days=800))
        assert gone.events == 0
        (work,) = await desk.runnable()
        assert work.rows[0].payload
