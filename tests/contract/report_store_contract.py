"""What the ledger promises about reports.

Inherit and override `url`, the address of a migrated ledger.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from schemas.ledger import report_outbox, report_store
from schemas.ledger.database import Lane
from schemas.ledger.model import LedgerRefuses
from schemas.ledger.report_outbox import Answered, Packed
from schemas.ledger.report_store import Actor, Frozen, Report, Take
from schemas.reports.kinds import PacketKind
from schemas.reports.periods import Calendar, FaultFound, PeriodFault, PeriodKind, Window
from schemas.reports.snapshots import CarryOver, Change, Imbalance, Row, Snapshot, hash_of
from schemas.reports.states import Action, Answer, Objection, PacketState, Settlement, State
from streams.reporting.approvals import Desk, ask_units
from streams.reporting.counting import Filling
from streams.reporting.life import Refusal, Refused
from tests.unit.dossier.samples import CALENDAR
from tests.unit.reporting.world import Counted, Packs

HUB = Actor(name="ThôngSuốt", account="hub")
SHE = Actor(name="Trần Thị Mẫu", account="hub")
HE = Actor(name="Lê Văn Thử", account="hub")

REPORT = Report(
    regime="II.06",
    period="2026-03",
    agency="H12",
    kind=PeriodKind.MONTH,
    calendar=Calendar.DECREE,
    window=Window(date(2026, 2, 15), date(2026, 3, 14)),
    units_due_on=date(2026, 3, 20),
    due_on=date(2026, 3, 25),
)
ID = REPORT.report_id
FROZEN = Frozen(
    snapshot=Snapshot(
        regime="II.06",
        period="2026-03",
        agency="H12",
        form_version="TT01/2020",
        window=REPORT.window,
        known_at=REPORT.cut_off_at,
        rules={"codes": "7"},
        columns=("c3", "c7"),
        rows=(Row("H12.01", "S1", "P1", (2, 1)), Row("H12.02", "S1", "P1", (5, 5))),
    ),
    provisional={"unmapped": 3},
    imbalances=(),
    carry_over=CarryOver(
        earlier="2026-02", left_open=4, taken_over=5, explained=True, dossiers=("a",)
    ),
)
OTHER = replace(
    FROZEN,
    snapshot=replace(
        FROZEN.snapshot,
        known_at=FROZEN.snapshot.known_at + timedelta(days=1),
        rows=(Row("H12.01", "S1", "P1", (3, 1)), FROZEN.snapshot.rows[1]),
    ),
)
PACKED = [
    Packed(kind=PacketKind.FIGURES, form=form, form_version="TT01/2020", content=form.encode())
    for form in ("II.06a", "II.06b")
]


def wall() -> datetime:
    return datetime(2026, 3, 18, 2, tzinfo=UTC)


class ReportStoreContract:
    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError("a contract runs only where `url` is overridden")

    @pytest.fixture
    async def lane(self, url: str) -> AsyncIterator[Lane]:
        lane = Lane(url, "reports", seconds=None)
        yield lane
        await lane.close()

    async def open(self, lane: Lane) -> None:
        assert await lane.write(lambda c: report_store.open_report(c, REPORT, HUB))

    async def freeze(
        self, lane: Lane, frozen: Frozen = FROZEN, revision: int = 1, take: int = 1
    ) -> bool:
        return await lane.write(
            lambda c: report_store.freeze(
                c, REPORT, revision, take, frozen, HUB, units_due_on=REPORT.units_due_on
            )
        )

    async def newest(self, lane: Lane) -> Take:
        found = await lane.read(lambda c: report_store.newest(c, ID))
        assert found is not None
        return found

    async def frozen(self, lane: Lane) -> Take:
        await self.open(lane)
        assert await self.freeze(lane)
        return await self.newest(lane)

    # --- periods

    async def test_a_report_keeps_the_window_it_was_opened_with(self, lane: Lane) -> None:
        await self.open(lane)
        changed = replace(REPORT, window=Window(date(2026, 3, 1), date(2026, 3, 31)))
        assert not await lane.write(lambda c: report_store.open_report(c, changed, HUB))
        assert await lane.read(lambda c: report_store.report_of(c, ID)) == REPORT
        assert await lane.read(report_store.all_reports) == [REPORT]

    async def test_faults_of_a_period_are_kept_until_they_are_gone(self, lane: Lane) -> None:
        overlap = FaultFound(PeriodFault.OVERLAP, "2026-02")
        hole = FaultFound(PeriodFault.HOLE, "2026-01")

        async def note(*found: FaultFound) -> list[tuple[PeriodFault, str | None, bool]]:
            await lane.write(lambda c: report_store.note_faults(c, "II.06", "2026-03", found))
            told = await lane.read(report_store.period_faults)
            return [(one.fault, one.other, one.refused) for one in told]

        assert await note(overlap, hole) == [
            (PeriodFault.HOLE, "2026-01", False),
            (PeriodFault.OVERLAP, "2026-02", True),
        ]
        assert await note(hole) == [(PeriodFault.HOLE, "2026-01", False)]
        assert await note() == []

    # --- figures

    async def test_what_was_frozen_reads_back_whole(self, lane: Lane) -> None:
        take = await self.frozen(lane)
        content = await lane.read(lambda c: report_store.content_of(c, take.ref))
        assert content == FROZEN.snapshot.content()
        assert take.snapshot_hash == hash_of(content)
        assert (take.state, take.revision, take.take) == (State.CUT_OFF, 1, 1)
        assert (take.units, take.rules) == (FROZEN.snapshot.units(), FROZEN.snapshot.rules)
        assert (take.provisional, take.carry_over) == ({"unmapped": 3}, FROZEN.carry_over)
        assert take.known_at == REPORT.cut_off_at

    async def test_frozen_again_with_other_figures_nothing_changes(self, lane: Lane) -> None:
        before = await self.frozen(lane)
        assert not await self.freeze(lane, OTHER)
        assert await self.newest(lane) == before
        content = await lane.read(lambda c: report_store.content_of(c, before.ref))
        assert content == FROZEN.snapshot.content()

    async def test_imbalances_read_back_with_their_dossiers(self, lane: Lane) -> None:
        wrong = Imbalance(
            identity="c3=c4+c5+c6",
            agency="H12.01",
            sector=None,
            procedure="P1",
            left=3,
            right=2,
            dossiers=("a", "b"),
        )
        await self.open(lane)
        await self.freeze(lane, replace(FROZEN, imbalances=(wrong,), carry_over=None))
        take = await self.newest(lane)
        assert (take.imbalances, take.carry_over) == ((wrong,), None)

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE report_snapshots SET content = content",
            "UPDATE report_snapshots SET known_at = known_at",
            "DELETE FROM report_snapshots",
            "UPDATE report_packets SET content = content",
            "UPDATE report_packets SET content_hash = 'x'",
            "DELETE FROM report_packets",
            "UPDATE report_audit SET actor = 'x'",
            "DELETE FROM report_audit",
        ],
    )
    async def test_the_database_itself_refuses_to_rewrite_what_was_said(
        self, lane: Lane, statement: str
    ) -> None:
        take = await self.frozen(lane)
        await lane.write(lambda c: report_outbox.hold(c, take, PACKED))
        with pytest.raises(LedgerRefuses):
            await lane.write(lambda c: c.execute(text(statement)))
        assert await lane.read(lambda c: report_store.content_of(c, take.ref)) == (
            FROZEN.snapshot.content()
        )

    async def test_of_two_that_change_a_take_one_does(self, lane: Lane) -> None:
        take = await self.frozen(lane)
        assert await lane.write(lambda c: report_store.move(c, take, State.CONFIRMING))
        assert not await lane.write(lambda c: report_store.move(c, take, State.AMENDED))
        assert (await self.newest(lane)).state is State.CONFIRMING

    async def test_the_newest_take_is_that_of_the_newest_revision(self, lane: Lane) -> None:
        await self.frozen(lane)
        await self.freeze(lane, OTHER, 1, 2)
        await self.freeze(lane, OTHER, 2, 1)
        found = await lane.read(lambda c: report_store.takes(c, ID))
        assert [(one.revision, one.take) for one in found] == [(2, 1), (1, 2), (1, 1)]
        stood = await lane.read(report_store.standings)
        assert [one.ref for one in stood[ID]] == [(ID, 2, 1), (ID, 1, 2), (ID, 1, 1)]

    async def test_a_draft_is_written_over_and_goes_when_nothing_differs(self, lane: Lane) -> None:
        take = await self.frozen(lane)
        change = Change(dossier_id="d", code=None, was=None, now="H12.01 c3", why="arrived_late")

        async def put(*changes: Change) -> dict[str, report_store.Draft]:
            await lane.write(lambda c: report_store.put_draft(c, take, wall(), changes))
            return await lane.read(report_store.drafts)

        assert (await put(change))[ID].changes == (change,)
        both = (await put(change, replace(change, dossier_id="e")))[ID]
        assert (both.dossiers, both.known_at) == (2, wall())
        assert await put() == {}

    # --- units

    async def test_a_confirmation_holds_for_every_take_that_says_the_same(self, lane: Lane) -> None:
        first = await self.frozen(lane)
        for unit in ("H12.01", "H12.02"):
            assert await lane.write(lambda c, unit=unit: report_store.confirm(c, first, unit, SHE))  # type: ignore[misc]
        assert not await lane.write(lambda c: report_store.confirm(c, first, "H12.01", HE))
        await self.freeze(lane, OTHER, 1, 2)
        second = await self.newest(lane)
        confirmed = await lane.read(lambda c: report_store.confirmations(c, second))
        assert {unit: one.by for unit, one in confirmed.items()} == {"H12.02": SHE.name}

    async def test_an_objection_is_raised_once_and_settled_once(self, lane: Lane) -> None:
        take = await self.frozen(lane)

        def raised(connection: Any) -> bool:
            return report_store.object_to(
                connection, take, "H12.01", "000-1", Objection.NOT_OURS, SHE
            )

        assert await lane.write(raised)
        assert not await lane.write(raised)
        (one,) = await lane.read(lambda c: report_store.objections(c, ID))
        assert (one.reason, one.by, one.settlement) == (Objection.NOT_OURS, SHE.name, None)

        def settled(connection: Any) -> bool:
            return report_store.settle(connection, one, ID, Settlement.UNFOUNDED, HE)

        assert await lane.write(settled)
        assert not await lane.write(settled)
        (now,) = await lane.read(lambda c: report_store.objections(c, ID))
        assert (now.settlement, now.settled_by) == (Settlement.UNFOUNDED, HE.name)

    async def test_the_story_has_every_deed_in_order_by_the_database_s_clock(
        self, lane: Lane
    ) -> None:
        before = await lane.read(report_store.now_of)
        take = await self.frozen(lane)
        await lane.write(
            lambda c: report_store.note(
                c, ID, (1, 1), Action.APPROVE, SHE, why="đủ", snapshot_hash=take.snapshot_hash
            )
        )
        told = await lane.read(lambda c: report_store.story(c, ID))
        assert [one.action for one in told] == [Action.OPEN, Action.FREEZE, Action.APPROVE]
        assert told[2].actor == SHE
        assert not told[2].actor.signed_in
        assert told[2].why == "đủ"
        assert before <= told[0].at <= told[1].at <= told[2].at

    # --- packets and answers

    async def test_a_packet_is_owed_when_it_is_submitted_and_published_once(
        self, lane: Lane
    ) -> None:
        take = await self.frozen(lane)
        for _ in range(2):
            await lane.write(lambda c: report_outbox.hold(c, take, PACKED))
        assert await lane.read(lambda c: report_outbox.owed(c, 10)) == []
        assert await lane.write(lambda c: report_outbox.owe(c, take)) == 2
        assert await lane.write(lambda c: report_outbox.owe(c, take)) == 0
        owed = await lane.read(lambda c: report_outbox.owed(c, 10))
        assert [(one.packet_id, one.content) for one in owed] == [
            (f"figures/II.06/{form}/2026-03/H12/r1", form.encode()) for form in ("II.06a", "II.06b")
        ]
        await lane.write(lambda c: report_outbox.mark_published(c, [owed[0].packet_id]))
        left = await lane.read(lambda c: report_outbox.owed(c, 10))
        assert [one.packet_id for one in left] == [owed[1].packet_id]
        kept = await lane.read(lambda c: report_outbox.packets(c, ID))
        assert [one.state for one in kept] == [PacketState.PUBLISHED, PacketState.OWED]

    async def test_an_answer_is_kept_once_and_without_a_reason_it_needs_a_person(
        self, lane: Lane
    ) -> None:
        await self.open(lane)
        answered = Answered(
            answer_id="m1",
            stream_id="figures/II.06/II.06a/2026-03/H12",
            revision=1,
            report_id=ID,
            answer=Answer.RETURNED,
            reason="",
            origin="packet",
            received_at=wall(),
        )
        assert await lane.write(lambda c: report_outbox.put_answer(c, answered))
        again = replace(answered, reason="khác")
        assert not await lane.write(lambda c: report_outbox.put_answer(c, again))
        (one,) = await lane.read(lambda c: report_outbox.answers(c, ID))
        assert one == replace(answered, reason=None)
        assert one.needs_person
        foreign = replace(answered, answer_id="m2", report_id=None, answer=Answer.ACCEPTED)
        await lane.write(lambda c: report_outbox.put_answer(c, foreign))
        (unknown,) = await lane.read(lambda c: report_outbox.answers(c, None))
        assert unknown.needs_person

    # --- several at once

    async def test_of_approvals_at_once_one_wins_and_the_others_are_told_who_and_when(
        self, url: str, lane: Lane
    ) -> None:
        take = await self.frozen(lane)
        await lane.write(lambda c: ask_units(c, ID, HUB))
        fillings = {"II.06": Filling(Counted(), Packs())}
        names = [Actor(name=f"Người ký {n}", account="hub") for n in range(4)]
        async with AsyncExitStack() as opened:
            desks = []
            for number in range(len(names)):
                own = Lane(url, f"signer-{number}", seconds=None)
                opened.push_async_callback(own.close)
                desks.append(Desk(own, fillings, calendar=CALENDAR, wall=wall))
            await desks[0].verify(ID, SHE, "đã xem")
            ended = await asyncio.gather(
                *(
                    desk.approve(ID, take.snapshot_hash, name)
                    for desk, name in zip(desks, names, strict=True)
                ),
                return_exceptions=True,
            )
        lost = [one for one in ended if isinstance(one, Refused)]
        assert ended.count(None) == 1
        assert len(lost) == len(names) - 1
        winner = (await self.newest(lane)).approved_by
        for refused in lost:
            assert refused.reason is Refusal.ALREADY_APPROVED
            assert winner is not None
            assert winner in refused.about
        assert len(await lane.read(lambda c: report_outbox.packets(c, ID))) == 2
        story = await lane.read(lambda c: report_store.story(c, ID))
        assert [one.action for one in story].count(Action.APPROVE) == 1

    async def test_of_two_that_take_the_figures_anew_one_does(self, url: str, lane: Lane) -> None:
        await self.frozen(lane)
        await lane.write(lambda c: ask_units(c, ID, HUB))
        fillings = {"II.06": Filling(Counted(), Packs())}
        async with AsyncExitStack() as opened:
            desks = []
            for number in range(3):
                own = Lane(url, f"reviser-{number}", seconds=None)
                opened.push_async_callback(own.close)
                desks.append(Desk(own, fillings, calendar=CALENDAR, wall=wall))
            ended = await asyncio.gather(
                *(desk.revise(ID, SHE, "sửa") for desk in desks), return_exceptions=True
            )
        assert not [
            one for one in ended if isinstance(one, Exception) and not isinstance(one, Refused)
        ]
        found = await lane.read(lambda c: report_store.takes(c, ID))
        # Whoever comes when another is done takes them once more: numbers have no hole, and one counts.
        assert [one.take for one in found] == list(range(len(found), 0, -1))
        assert [one.state for one in found[1:]] == [State.AMENDED] * (len(found) - 1)
        assert found[0].state is State.CONFIRMING

    async def test_two_answers_at_once_see_each_other(
        self, url: str, lane: Lane, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        take = await self.frozen(lane)
        await lane.write(lambda c: ask_units(c, ID, HUB))
        fillings = {"II.06": Filling(Counted(), Packs())}
        desk = Desk(lane, fillings, calendar=CALENDAR, wall=wall)
        await desk.verify(ID, SHE, "đã xem")
        await desk.approve(ID, take.snapshot_hash, HE)
        await desk.submit(ID, HE, "muộn")
        met = threading.Barrier(2)
        put = report_outbox.put_answer

        def together(*given: Any) -> bool:
            new = put(*given)
            with suppress(threading.BrokenBarrierError):  # one waits until the other is done
                met.wait(1)
            return new

        monkeypatch.setattr(report_outbox, "put_answer", together)

        async def accept(form: str) -> None:
            own = Lane(url, f"answers-{form}", seconds=None)
            answering = Desk(own, fillings, calendar=CALENDAR, wall=wall)
            await answering.take_answer(
                answer_id=form,
                stream_id=f"figures/II.06/{form}/2026-03/H12",
                revision=1,
                answer=Answer.ACCEPTED,
                reason=None,
                received_at=wall(),
                origin="packet",
                actor=HUB,
            )
            await own.close()

        await asyncio.gather(accept("II.06a"), accept("II.06b"))
        assert (await self.newest(lane)).state is State.ACCEPTED
