"""What every ledger does, in tests. Inherit a class and override its `ledger` fixture.

`EngineLedgerContract` is for anything the delivery engine may run on; `LedgerContract` adds what the other
flows need and asks for a full `SqlLedger`. All dossiers and numbers are invented.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from schemas.dossier.mappings import CodeList, MappingOrigin, MappingRow
from schemas.ledger.model import (
    Applied,
    Attempt,
    AttemptKind,
    AttemptOutcome,
    CaptureLedger,
    Change,
    DeliveryState,
    DossierPatch,
    Due,
    EngineLedger,
    Enlistment,
    EnlistResult,
    Fence,
    Finding,
    KeyStore,
    Known,
    Ledger,
    LedgerRefuses,
    LedgerReports,
    Operation,
    Outcome,
    PositionHole,
    SeenRow,
    SentStep,
    Settled,
    StaleOwner,
    Verdict,
    Verification,
    Verify,
    Work,
)
from schemas.reasons import Reason
from schemas.records import (
    Alias,
    CodeName,
    DeadLetter,
    DossierEvent,
    DossierTimes,
    EventKind,
    Feed,
    Procedure,
    ScoreFields,
    SourceStatus,
    StateAsOf,
    Step,
)
from streams.engine.evolve import evolve

FLOW = "ledger"
TOPIC = "dossier.events"
TARGET = "national_portal"
NOON = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)

STATE = Due(target=TARGET, operation=Operation.STATE)
STEP = Due(target=TARGET, operation=Operation.STEP)


class SeededLedger(EngineLedger, Protocol):
    """What `EngineLedgerContract` needs: the engine's part, and a way to put work in."""

    take_over = Ledger.take_over
    enlist = Ledger.enlist


class FullLedger(Ledger, CaptureLedger, KeyStore, LedgerReports, Protocol):
    """What `LedgerContract` needs."""


def make_event(
    event_id: str,
    dossier_id: str = "opencps:1",
    *,
    version: int = 1,
    code: str | None = "H12.01-261123-0001",
    kind: EventKind = EventKind.CHANGE,
    due: datetime | None = None,
    extended: datetime | None = None,
    status: str = "processing",
    step: bool = True,
    born_on_portal: bool = False,
    aliases: tuple[Alias, ...] = (),
    at: datetime = NOON,
) -> DossierEvent:
    """An event with what the ledger reads of it; the rest is empty."""
    return DossierEvent(
        event_id=event_id,
        dossier_id=dossier_id,
        kind=kind,
        source="opencps",
        feed=Feed.ACTIONS,
        cursor="1",
        content_hash=f"hash-{event_id}",
        read_seq=version,
        state_as_of=StateAsOf(action_id=event_id, modified_at=at),
        dossier_code=code,
        aliases=aliases,
        born_on_portal=born_on_portal,
        procedure=Procedure(local_code="P1", national_code="1.000001", name=None, version=None),
        sector=CodeName(code="S1", name=None),
        receiving_agency=CodeName(code="H12.01", name=None),
        handling_agency=CodeName(code="H12.02", name=None),
        channel=None,
        applicant_type=None,
        business_state=SourceStatus(status=status, sub_status=None),
        financial_state=None,
        result_state=None,
        return_method=None,
        times=DossierTimes(received=at, due=due, extended=extended),
        supplements=(),
        fees=(),
        attachments=(),
        results=(),
        score=ScoreFields(),
        fallbacks=(),
        step=Step(
            action_id=event_id,
            previous_action_id=None,
            action_code="300",
            step_code="220",
            status=SourceStatus(status=status, sub_status=None),
            status_carried=False,
            at=at,
            due=None,
        )
        if step
        else None,
        effective_at=at,
        recorded_at=at + timedelta(seconds=1),
        sealed=b"sealed",
    )


@dataclass(slots=True)
class Desk:
    """Takes partitions over and enlists events at the next free offsets."""

    ledger: SeededLedger
    fences: dict[int, Fence]
    offsets: dict[int, int]

    @classmethod
    async def open(
        cls, ledger: SeededLedger, partitions: Sequence[int] = (0,), owner: str = "worker-a"
    ) -> Desk:
        taken = await ledger.take_over(FLOW, TOPIC, "topic-1", partitions, owner)
        return cls(
            ledger=ledger,
            fences={p.fence.partition: p.fence for p in taken},
            offsets={p.fence.partition: p.next_offset for p in taken},
        )

    def item(
        self, event: DossierEvent, offset: int, dues: tuple[Due, ...], partition: int = 0
    ) -> Enlistment:
        return Enlistment(
            event=event,
            payload=f"payload of {event.event_id}".encode(),
            topic=TOPIC,
            partition=partition,
            offset=offset,
            dues=dues,
        )

    async def put(
        self, *events: DossierEvent, dues: tuple[Due, ...] = (STATE, STEP), partition: int = 0
    ) -> EnlistResult:
        first = self.offsets[partition]
        self.offsets[partition] = first + len(events)
        return await self.ledger.enlist(
            {partition: self.fences[partition]},
            {partition: self.offsets[partition]},
            [self.item(e, first + i, dues, partition) for i, e in enumerate(events)],
            {partition: first},
        )

    async def runnable(
        self, limit: int = 100, exclude: frozenset[str] = frozenset()
    ) -> Sequence[Work]:
        return await self.ledger.runnable(TARGET, list(self.fences.values()), limit, exclude)

    async def steps(self, dossier_id: str = "opencps:1") -> list[str]:
        """The ids of the events whose steps a dossier owes, in their order."""
        (work,) = [w for w in await self.runnable() if w.dossier.dossier_id == dossier_id]
        return [row.event_id for row in work.rows if row.operation is Operation.STEP]

    async def ids(self) -> list[str]:
        return [work.dossier.dossier_id for work in await self.runnable()]

    async def commit(self, *changes: Change) -> list[Applied]:
        return list(await self.ledger.commit(changes))

    def change(self, work: Work) -> Change:
        """A change of that dossier which does nothing yet."""
        return Change(
            dossier_id=work.dossier.dossier_id,
            target=work.dossier.target,
            fence=self.fences[work.dossier.partition],
        )

    def release(self, work: Work, wake_at: float | None = None) -> Change:
        return replace(self.change(work), release_seq=work.dossier.work_seq, wake_at=wake_at)


_numbers = itertools.count(1)


def make_attempt(
    work: Work,
    *delivery_ids: int,
    kind: AttemptKind = AttemptKind.UPDATE,
    step_keys: tuple[str, ...] = (),
    epoch: int = 1,
) -> Attempt:
    return Attempt(
        attempt_id=f"attempt-{next(_numbers)}",
        kind=kind,
        delivery_ids=delivery_ids,
        version=work.rows[0].version if kind is not AttemptKind.STEPS else 0,
        content_hash="hash",
        proved_absent=False,
        epoch=epoch,
        started_at=0.0,
        step_keys=step_keys,
    )


def rows_of(work: Work, operation: Operation) -> list[int]:
    return [row.delivery_id for row in work.rows if row.operation is operation]


def said(
    attempt: Attempt, outcome: Outcome = Outcome.DELIVERED, reason: Reason | None = None
) -> AttemptOutcome:
    return AttemptOutcome(attempt_id=attempt.attempt_id, outcome=outcome, reason=reason)


async def deliver(desk: Desk, work: Work, attempt: Attempt) -> None:
    """Intent, then the outcome with everything settled."""
    (begun,) = await desk.commit(replace(desk.change(work), intent=attempt))
    assert begun.verdict is Verdict.DONE
    (ended,) = await desk.commit(
        replace(
            desk.change(work),
            outcome=said(attempt),
            close=attempt.attempt_id,
            settled=tuple(
                Settled(delivery_id=i, state=DeliveryState.DELIVERED) for i in attempt.delivery_ids
            ),
        )
    )
    assert ended.verdict is Verdict.DONE


class EngineLedgerContract:
    """Runs on anything the engine can run on."""

    @pytest.fixture
    async def ledger(self) -> SeededLedger:
        raise NotImplementedError("a contract runs only where `ledger` is overridden")

    # --- ownership -----------------------------------------------------------------------------------

    async def test_another_owner_raises_the_epoch_and_the_same_keeps_it(
        self, ledger: SeededLedger
    ) -> None:
        first = await ledger.take_over(FLOW, TOPIC, "topic-1", [1, 0], "worker-a")
        again = await ledger.take_over(FLOW, TOPIC, "topic-1", [1, 0], "worker-a")
        other = await ledger.take_over(FLOW, TOPIC, "topic-1", [0], "worker-b")
        epochs = {p.fence.partition: p.fence.epoch for p in first}
        assert {p.fence.partition: p.fence.epoch for p in again} == epochs
        assert [p.fence.epoch for p in other] == [epochs[0] + 1]
        assert [p.next_offset for p in other] == [0]

    async def test_another_topic_under_the_same_name_is_a_hole(self, ledger: SeededLedger) -> None:
        await ledger.take_over(FLOW, TOPIC, None, [0], "worker-a")
        await ledger.take_over(FLOW, TOPIC, "topic-1", [0], "worker-a")
        (position,) = await ledger.take_over(FLOW, TOPIC, None, [0], "worker-a")
        assert position.topic_id == "topic-1"
        with pytest.raises(PositionHole):
            await ledger.take_over(FLOW, TOPIC, "topic-2", [0], "worker-a")

    async def test_a_stale_owner_enlists_nothing(self, ledger: SeededLedger) -> None:
        desk = await Desk.open(ledger)
        new = await Desk.open(ledger, owner="worker-b")
        with pytest.raises(StaleOwner):
            await desk.put(make_event("e1"))
        assert await new.ids() == []
        (position,) = await ledger.take_over(FLOW, TOPIC, "topic-1", [0], "worker-b")
        assert position.next_offset == 0

    async def test_a_stale_fence_yields_no_work(self, ledger: SeededLedger) -> None:
        desk = await Desk.open(ledger, partitions=(0, 1))
        await desk.put(make_event("e1", "opencps:1"), partition=0)
        await desk.put(make_event("e2", "opencps:2"), partition=1)
        await ledger.take_over(FLOW, TOPIC, "topic-1", [1], "worker-b")
        assert await desk.ids() == ["opencps:1"]

    # --- enlistment ----------------------------------------------------------------------------------

    async def test_an_event_becomes_work_with_its_rows_and_payload(
        self, ledger: SeededLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1", version=7, born_on_portal=True))
        (work,) = await desk.runnable()
        assert work.dossier.dossier_id == "opencps:1"
        assert work.dossier.partition == 0
        assert work.dossier.born_on_portal
        assert work.dossier.known is Known.UNKNOWN
        assert work.dossier.delivered_version == -1
        assert work.dossier.work_seq > 0
        assert {row.operation for row in work.rows} == {Operation.STATE, Operation.STEP}
        for row in work.rows:
            assert (row.event_id, row.version, row.log_pos) == ("e1", 7, 0)
            assert row.state is DeliveryState.PENDING
            assert row.payload == b"payload of e1"
        assert work.attempts == ()
        assert not work.more
        assert await ledger.reload(TARGET, "opencps:1") == work

    async def test_rows_are_in_log_order_and_the_newest_state_has_its_payload(
        self, ledger: SeededLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(*(make_event(f"e{i}", version=i) for i in range(1, 4)))
        (work,) = await desk.runnable()
        assert [row.log_pos for row in work.rows] == sorted(row.log_pos for row in work.rows)
        steps = [row for row in work.rows if row.operation is Operation.STEP]
        states = [row for row in work.rows if row.operation is Operation.STATE]
        assert [row.payload for row in steps] == [f"payload of e{i}".encode() for i in (1, 2, 3)]
        assert [row.version for row in states] == [1, 2, 3]
        assert states[-1].payload == b"payload of e3"

    async def test_an_event_is_taken_once_even_in_one_batch(self, ledger: SeededLedger) -> None:
        desk = await Desk.open(ledger)
        twice = [
            desk.item(make_event("e1"), 0, (STATE,)),
            desk.item(make_event("e1"), 1, (STATE,)),
        ]
        result = await ledger.enlist({0: desk.fences[0]}, {0: 2}, twice, {0: 0})
        assert (result.enlisted, result.duplicates) == (1, 1)
        (before,) = await desk.runnable()
        again = [desk.item(make_event("e1"), 2, (STATE,))]
        result = await ledger.enlist({0: desk.fences[0]}, {0: 3}, again, {0: 2})
        assert (result.enlisted, result.duplicates) == (0, 1)
        (after,) = await desk.runnable()
        assert after == before, "a duplicate must not look like new work"

    async def test_offsets_below_the_position_are_skipped(self, ledger: SeededLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"), make_event("e2", version=2))
        batch = [
            desk.item(make_event("e9", version=9), 1, (STATE,)),
            desk.item(make_event("e3", version=3), 2, (STATE,)),
        ]
        result = await ledger.enlist({0: desk.fences[0]}, {0: 3}, batch, {0: 1})
        assert (result.enlisted, result.duplicates) == (1, 1)
        (position,) = await ledger.take_over(FLOW, TOPIC, "topic-1", [0], "worker-a")
        assert position.next_offset == 3

    async def test_a_hole_in_the_log_stops_the_flow(self, ledger: SeededLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        later = [desk.item(make_event("e3"), 2, (STATE,))]
        with pytest.raises(PositionHole):
            await ledger.enlist({0: desk.fences[0]}, {0: 3}, later, {0: 2})
        (position,) = await ledger.take_over(FLOW, TOPIC, "topic-1", [0], "worker-a")
        assert position.next_offset == 1

    async def test_an_empty_batch_moves_the_position(self, ledger: SeededLedger) -> None:
        desk = await Desk.open(ledger)
        await ledger.enlist({0: desk.fences[0]}, {0: 5}, [], {0: 0})
        await ledger.enlist({0: desk.fences[0]}, {0: 3}, [], {0: 2})
        (position,) = await ledger.take_over(FLOW, TOPIC, "topic-1", [0], "worker-a")
        assert position.next_offset == 5, "a position never goes back"

    # --- what is runnable ----------------------------------------------------------------------------

    async def test_the_nearest_deadline_comes_first_and_none_comes_last(
        self, ledger: SeededLedger
    ) -> None:
        desk = await Desk.open(ledger)
        day = timedelta(days=1)
        await desk.put(
            make_event("e1", "opencps:none"),
            make_event("e2", "opencps:extended", due=NOON, extended=NOON + 3 * day),
            make_event("e3", "opencps:late", due=NOON + 5 * day),
            make_event("e4", "opencps:soon", due=NOON + 2 * day),
        )
        assert await desk.ids() == [
            "opencps:soon",
            "opencps:extended",
            "opencps:late",
            "opencps:none",
        ]
        first = await desk.runnable(limit=2, exclude=frozenset({"opencps:soon"}))
        assert [w.dossier.dossier_id for w in first] == ["opencps:extended", "opencps:late"]
        assert first[0].dossier.deadline == (NOON + 3 * day).timestamp()

    async def test_a_released_dossier_rests_until_its_time_has_come(
        self, ledger: SeededLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(
            make_event("e1", "opencps:1"),
            make_event("e2", "opencps:2"),
            make_event("e3", "opencps:3"),
        )
        works = {w.dossier.dossier_id: w for w in await desk.runnable()}
        now = await ledger.now()
        await desk.commit(
            desk.release(works["opencps:1"]),
            desk.release(works["opencps:2"], wake_at=now + 3600),
            desk.release(works["opencps:3"], wake_at=now - 1),
        )
        assert await desk.ids() == ["opencps:3"]
        resting = await ledger.reload(TARGET, "opencps:2")
        assert resting.dossier.wake_at == pytest.approx(now + 3600, abs=0.001)
        (woken,) = await desk.runnable()
        await desk.commit(desk.release(woken))
        assert await desk.ids() == []
        await desk.put(make_event("e4", "opencps:2", version=2))
        assert await desk.ids() == ["opencps:2"]

    async def test_a_release_loses_against_an_enlistment_in_between(
        self, ledger: SeededLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        (work,) = await desk.runnable()
        await desk.put(make_event("e2", version=2))
        patched = replace(desk.release(work), patch=DossierPatch(failures=3))
        (applied,) = await desk.commit(patched)
        assert applied.verdict is Verdict.DONE
        (now,) = await desk.runnable()
        assert now.dossier.failures == 3, "the rest of the change is written"
        assert now.dossier.work_seq > work.dossier.work_seq
        await desk.commit(desk.release(now))
        assert await desk.ids() == []

    # --- changes -------------------------------------------------------------------------------------

    async def test_an_intent_is_open_and_begun_at_the_database_s_time(
        self, ledger: SeededLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        (work,) = await desk.runnable()
        (state,) = rows_of(work, Operation.STATE)
        attempt = make_attempt(work, state, kind=AttemptKind.CREATE)
        attempt = replace(attempt, proved_absent=True, version=1)
        before = await ledger.now()
        (applied,) = await desk.commit(replace(desk.change(work), intent=attempt))
        after = await ledger.now()
        assert before - 0.001 <= applied.at <= after + 0.001
        open_now = await ledger.reload(TARGET, "opencps:1")
        (begun,) = open_now.attempts
        assert begun == replace(attempt, started_at=begun.started_at)
        assert begun.started_at == pytest.approx(applied.at, abs=0.000_002)
        states = {row.delivery_id: row.state for row in open_now.rows}
        assert states.pop(state) is DeliveryState.SENDING
        assert set(states.values()) == {DeliveryState.PENDING}

    async def test_settling_ends_the_delivery_and_closes_the_attempt(
        self, ledger: SeededLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"), make_event("e2", version=2))
        (work,) = await desk.runnable()
        old, new = rows_of(work, Operation.STATE)
        attempt = make_attempt(work, new)
        await desk.commit(replace(desk.change(work), intent=attempt))
        patch = DossierPatch(
            known=Known.PRESENT, delivered_version=2, delivered_hash="h2", failures=0
        )
        await desk.commit(
            replace(
                desk.change(work),
                outcome=said(attempt),
                close=attempt.attempt_id,
                settled=(
                    Settled(delivery_id=new, state=DeliveryState.DELIVERED),
                    Settled(
                        delivery_id=old,
                        state=DeliveryState.SUPERSEDED,
                        reason=Reason.NEWER_STATE,
                    ),
                ),
                patch=patch,
            )
        )
        left = await ledger.reload(TARGET, "opencps:1")
        assert left.attempts == ()
        assert [row.operation for row in left.rows] == [Operation.STEP, Operation.STEP]
        assert left.dossier.known is Known.PRESENT
        assert (left.dossier.delivered_version, left.dossier.delivered_hash) == (2, "h2")
        await desk.commit(
            replace(
                desk.change(work),
                settled=(Settled(delivery_id=new, state=DeliveryState.PENDING),),
                patch=DossierPatch(clear_hash=True, last_step=1),
            )
        )
        after = await ledger.reload(TARGET, "opencps:1")
        assert after.rows == left.rows, "an ended row never changes again"
        assert (after.dossier.delivered_version, after.dossier.delivered_hash) == (2, None)
        assert (after.dossier.last_step, after.dossier.known) == (1, Known.PRESENT)

    async def test_a_parked_row_stays_open_with_its_reason(self, ledger: SeededLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"), dues=(STATE,))
        (work,) = await desk.runnable()
        parked = Settled(
            delivery_id=work.rows[0].delivery_id,
            state=DeliveryState.PARKED,
            reason=Reason.FIELD_MISSING,
            detail="HoTen is empty",
        )
        await desk.commit(replace(desk.release(work), settled=(parked,)))
        assert await desk.ids() == []
        (row,) = (await ledger.reload(TARGET, "opencps:1")).rows
        assert (row.state, row.reason) == (DeliveryState.PARKED, Reason.FIELD_MISSING)

    async def test_an_unknown_outcome_leaves_the_attempt_open(self, ledger: SeededLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        (work,) = await desk.runnable()
        attempt = make_attempt(work, *rows_of(work, Operation.STATE))
        await desk.commit(replace(desk.change(work), intent=attempt))
        outcome = replace(said(attempt, Outcome.UNKNOWN, Reason.TIMEOUT), detail="after 10 s")
        await desk.commit(replace(desk.change(work), outcome=outcome))
        (found,) = (await ledger.reload(TARGET, "opencps:1")).attempts
        assert (found.outcome, found.reason) == (Outcome.UNKNOWN, Reason.TIMEOUT)
        assert found.detail == "after 10 s"

    async def test_a_silent_attempt_is_not_closed_once_its_maker_has_spoken(
        self, ledger: SeededLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        (work,) = await desk.runnable()
        (state,) = rows_of(work, Operation.STATE)
        attempt = make_attempt(work, state)
        await desk.commit(replace(desk.change(work), intent=attempt))
        parked = Settled(
            delivery_id=state, state=DeliveryState.PARKED, reason=Reason.OUTCOME_UNKNOWN
        )
        closing = replace(
            desk.change(work), close=attempt.attempt_id, unless_said=True, settled=(parked,)
        )
        await desk.commit(replace(desk.change(work), outcome=said(attempt)))

        (applied,) = await desk.commit(closing)

        assert applied.verdict is Verdict.OVERTAKEN
        found = await ledger.reload(TARGET, "opencps:1")
        assert {row.delivery_id: row.state for row in found.rows}[state] is DeliveryState.SENDING
        assert [a.outcome for a in found.attempts] == [Outcome.DELIVERED]

    async def test_a_silent_attempt_is_closed_while_nobody_speaks(
        self, ledger: SeededLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        (work,) = await desk.runnable()
        (state,) = rows_of(work, Operation.STATE)
        attempt = make_attempt(work, state)
        await desk.commit(replace(desk.change(work), intent=attempt))

        (applied,) = await desk.commit(
            replace(desk.change(work), close=attempt.attempt_id, unless_said=True)
        )

        assert applied.verdict is Verdict.DONE
        assert (await ledger.reload(TARGET, "opencps:1")).attempts == ()

    async def test_the_keys_of_steps_come_back_while_an_attempt_is_open(
        self, ledger: SeededLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(*(make_event(f"e{i}", version=i) for i in range(1, 4)), dues=(STEP,))
        (work,) = await desk.runnable()
        one, two, three = rows_of(work, Operation.STEP)
        first = make_attempt(work, one, kind=AttemptKind.STEPS, step_keys=("k1",))
        await deliver(desk, work, first)
        second = make_attempt(work, two, three, kind=AttemptKind.STEPS, step_keys=("k2", "k3"))
        await desk.commit(replace(desk.change(work), intent=second))
        found = await ledger.reload(TARGET, "opencps:1")
        assert [attempt.step_keys for attempt in found.attempts] == [("k2", "k3")]
        delivered, sending = DeliveryState.DELIVERED, DeliveryState.SENDING
        assert found.sent_steps == (
            SentStep(delivery_id=one, key="k1", state=delivered),
            SentStep(delivery_id=two, key="k2", state=sending),
            SentStep(delivery_id=three, key="k3", state=sending),
        )

    async def test_a_verification_comes_with_what_the_target_should_hold(
        self, ledger: SeededLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1", version=1), make_event("e2", version=2))
        (work,) = await desk.runnable()
        old, new = rows_of(work, Operation.STATE)
        one, two = rows_of(work, Operation.STEP)
        await deliver(desk, work, make_attempt(work, new))
        keys = ("same", "same")
        await deliver(
            desk, work, make_attempt(work, one, two, kind=AttemptKind.STEPS, step_keys=keys)
        )
        superseded = Settled(delivery_id=old, state=DeliveryState.SUPERSEDED)
        patch = DossierPatch(known=Known.PRESENT, delivered_version=2, delivered_hash="h")
        await desk.commit(replace(desk.change(work), settled=(superseded,), patch=patch))

        found = await ledger.reload(TARGET, "opencps:1")
        assert (found.delivered, found.sent_steps) == (None, ()), "nothing is owed"

        owed = Verify(stage=Verification.FIRST, due=5.0, rest=3.0)
        (applied,) = await desk.commit(replace(desk.change(work), patch=DossierPatch(verify=owed)))
        found = await ledger.reload(TARGET, "opencps:1")
        assert found.dossier.verification is Verification.FIRST
        assert found.dossier.verify_at == pytest.approx(applied.at + 3.0, abs=1e-5)
        assert found.delivered is not None
        assert (found.delivered.delivery_id, found.delivered.payload) == (new, b"payload of e2")
        assert [step.delivery_id for step in found.sent_steps] == [one, two]

        late = replace(owed, due=applied.at + 60.0)
        await desk.commit(replace(desk.change(work), patch=DossierPatch(verify=late)))
        found = await ledger.reload(TARGET, "opencps:1")
        assert found.dossier.verify_at == pytest.approx(applied.at + 60.0, abs=1e-5)

        await desk.commit(replace(desk.change(work), patch=DossierPatch(verify=Verify())))
        found = await ledger.reload(TARGET, "opencps:1")
        assert (found.dossier.verification, found.dossier.verify_at) == (None, None)
        assert found.delivered is None

    async def test_a_step_found_twice_counts_as_two_from_then_on(
        self, ledger: SeededLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"), dues=(STEP,))
        (work,) = await desk.runnable()
        (one,) = rows_of(work, Operation.STEP)
        await deliver(desk, work, make_attempt(work, one, kind=AttemptKind.STEPS, step_keys=("k",)))
        twice = Finding(finding_id="f1", reason=Reason.STEP_TWICE, delivery_id=one, step_key="k")
        owed = DossierPatch(verify=Verify(stage=Verification.SECOND, due=5.0))
        change = replace(desk.change(work), findings=(twice,), patch=owed)
        await desk.commit(change)
        await desk.commit(change)  # the answer to the first was lost
        found = await ledger.reload(TARGET, "opencps:1")
        step = SentStep(delivery_id=one, key="k", state=DeliveryState.DELIVERED)
        assert found.sent_steps == (step, step)

    async def test_what_was_delivered_can_be_sent_again_and_stays_delivered(
        self, ledger: SeededLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1", version=7), dues=(STATE,))
        (work,) = await desk.runnable()
        (state,) = rows_of(work, Operation.STATE)
        await deliver(desk, work, make_attempt(work, state))
        again = make_attempt(work, state)
        await desk.commit(replace(desk.change(work), intent=again))
        found = await ledger.reload(TARGET, "opencps:1")
        assert [attempt.attempt_id for attempt in found.attempts] == [again.attempt_id]
        assert found.rows == ()
        done = replace(desk.change(work), outcome=said(again), close=again.attempt_id)
        await desk.commit(done)
        found = await ledger.reload(TARGET, "opencps:1")
        assert (found.rows, found.attempts) == ((), ())

    async def test_a_stale_change_writes_its_outcome_and_nothing_else(
        self, ledger: SeededLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        (work,) = await desk.runnable()
        (state,) = rows_of(work, Operation.STATE)
        attempt = make_attempt(work, state)
        await desk.commit(replace(desk.change(work), intent=attempt))
        new = await Desk.open(ledger, owner="worker-b")
        (applied,) = await desk.commit(
            replace(
                desk.release(work),
                outcome=said(attempt),
                close=attempt.attempt_id,
                settled=(Settled(delivery_id=state, state=DeliveryState.DELIVERED),),
                patch=DossierPatch(known=Known.PRESENT),
                claim="H12.01-261123-0001",
                intent=make_attempt(work, *rows_of(work, Operation.STEP)),
            )
        )
        assert applied.verdict is Verdict.STALE
        (left,) = await new.runnable()
        (found,) = left.attempts
        assert (found.attempt_id, found.outcome) == (attempt.attempt_id, Outcome.DELIVERED)
        assert left.dossier.known is Known.UNKNOWN
        assert left.dossier.claimed_code is None
        assert [row.state for row in left.rows if row.delivery_id == state] == [
            DeliveryState.SENDING
        ]

    async def test_a_code_belongs_to_the_first_who_claims_it(self, ledger: SeededLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1", "opencps:1"), make_event("e2", "opencps:2"))
        works = {w.dossier.dossier_id: w for w in await desk.runnable()}
        one, two = works["opencps:1"], works["opencps:2"]
        second_try = replace(
            desk.change(two),
            claim="H12.01-261123-0001",
            intent=make_attempt(two, *rows_of(two, Operation.STATE)),
        )
        applied = await desk.commit(
            replace(desk.change(one), claim="H12.01-261123-0001"), second_try
        )
        assert [a.verdict for a in applied] == [Verdict.DONE, Verdict.CODE_TAKEN]
        assert (await ledger.reload(TARGET, "opencps:1")).dossier.claimed_code is not None
        refused = await ledger.reload(TARGET, "opencps:2")
        assert (refused.dossier.claimed_code, refused.attempts) == (None, ())
        assert {row.state for row in refused.rows} == {DeliveryState.PENDING}
        again = await desk.commit(replace(desk.change(one), claim="H12.01-261123-0001"))
        assert [a.verdict for a in again] == [Verdict.DONE]

    async def test_the_changes_of_one_dossier_are_applied_in_their_order(
        self, ledger: SeededLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        (work,) = await desk.runnable()
        attempt = make_attempt(work, *rows_of(work, Operation.STATE))
        changes = [
            replace(desk.change(work), patch=DossierPatch(failures=1)),
            replace(desk.change(work), intent=attempt, patch=DossierPatch(failures=2)),
            replace(desk.change(work), outcome=said(attempt, Outcome.FAILED)),
            replace(desk.change(work), close=attempt.attempt_id, patch=DossierPatch(failures=3)),
        ]
        applied = await desk.commit(*changes)
        assert [a.verdict for a in applied] == [Verdict.DONE] * 4
        found = await ledger.reload(TARGET, "opencps:1")
        assert (found.dossier.failures, found.attempts) == (3, ())

    @pytest.mark.parametrize("seed", range(3))
    async def test_the_ledger_and_the_engine_s_own_reckoning_agree(
        self, ledger: SeededLedger, seed: int
    ) -> None:
        """`evolve` spares the engine a read after each commit; here it is read after each."""
        chance = random.Random(seed)
        desk = await Desk.open(ledger)
        await desk.put(*(make_event(f"e{i}", version=i) for i in range(1, 9)))
        (work,) = await desk.runnable()
        silent: set[str] = set()  # open attempts of which nothing was said
        for _ in range(40):
            change = _any_change(chance, desk, work, silent)
            (applied,) = await desk.commit(change)
            assert applied.verdict is Verdict.DONE
            work = _bare(evolve(work, change, round(applied.at, 6)))
            read = _bare(await ledger.reload(TARGET, "opencps:1"))
            started = {a.attempt_id: round(a.started_at, 6) for a in read.attempts}
            read = replace(
                read,
                attempts=tuple(replace(a, started_at=started[a.attempt_id]) for a in read.attempts),
            )
            assert read == work
        assert len(work.rows) < 16, "some were settled"

    async def test_nothing_to_commit_is_no_error(self, ledger: SeededLedger) -> None:
        assert list(await ledger.commit([])) == []

    async def test_an_unknown_dossier_cannot_be_reloaded(self, ledger: SeededLedger) -> None:
        with pytest.raises(KeyError):
            await ledger.reload(TARGET, "opencps:404")


def _bare(work: Work) -> Work:
    """Without what `evolve` does not reckon with: payloads, and what only a look-up needs."""
    rows = tuple(replace(row, payload=b"") for row in work.rows)
    dossier = work.dossier
    if dossier.verify_at is not None:
        dossier = replace(dossier, verify_at=round(dossier.verify_at, 6))
    return replace(work, dossier=dossier, rows=rows, sent_steps=(), delivered=None)


def _any_change(chance: random.Random, desk: Desk, work: Work, silent: set[str]) -> Change:
    """Something that an engine could write now; at most one attempt is open at a time."""
    change = replace(
        desk.change(work),
        claim=chance.choice([None, "C-1"]),
        patch=chance.choice(
            [
                None,
                DossierPatch(clear_hash=True),
                DossierPatch(known=Known.PRESENT, delivered_version=3, delivered_hash="h"),
                DossierPatch(last_step=chance.randrange(9), failures=chance.randrange(4)),
                DossierPatch(verify=Verify()),
                DossierPatch(verify=Verify(stage=Verification.MEND)),
                DossierPatch(verify=Verify(stage=Verification.FIRST, due=5.0, rest=1.0)),
            ]
        ),
    )
    if not work.attempts:
        rows = [row for row in work.rows if chance.random() < 0.3]
        steps = [row.delivery_id for row in rows if row.operation is Operation.STEP]
        if not steps:
            return change
        keys = tuple(f"k{i}" for i in steps)
        attempt = make_attempt(work, *steps, kind=AttemptKind.STEPS, step_keys=keys)
        silent.add(attempt.attempt_id)
        return replace(change, intent=attempt)
    attempt = work.attempts[0]
    if attempt.attempt_id in silent and chance.random() < 0.7:
        silent.discard(attempt.attempt_id)
        outcome = said(attempt, chance.choice(list(Outcome)), chance.choice([None, Reason.TIMEOUT]))
        change = replace(change, outcome=replace(outcome, detail="what went wrong"))
    if chance.random() < 0.5:
        states = [DeliveryState.PENDING, DeliveryState.PARKED, DeliveryState.DELIVERED]
        settled = tuple(
            Settled(delivery_id=i, state=chance.choice(states), reason=None)
            for i in attempt.delivery_ids
        )
        older = tuple(
            Settled(
                delivery_id=row.delivery_id,
                state=DeliveryState.SUPERSEDED,
                reason=Reason.NEWER_STATE,
            )
            for row in work.rows
            if row.operation is Operation.STATE and chance.random() < 0.1
        )
        change = replace(change, close=attempt.attempt_id, settled=settled + older)
    return change


def make_mapping(code: str, value: str, **fields: object) -> MappingRow:
    row = MappingRow(
        codelist=CodeList.STATUS,
        system="opencps",
        code=code,
        value=value,
        origin=MappingOrigin.SOURCE_TABLE,
    )
    return replace(row, **fields)  # type: ignore[arg-type]  # names of MappingRow's own fields


class LedgerContract(EngineLedgerContract):
    """Runs on a whole ledger."""

    @pytest.fixture
    async def ledger(self) -> FullLedger:
        raise NotImplementedError("a contract runs only where `ledger` is overridden")

    # --- work, in large ------------------------------------------------------------------------------

    async def test_a_long_history_is_cut(self, ledger: FullLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(*(make_event(f"e{i}", version=i) for i in range(130)))
        (work,) = await desk.runnable()
        assert work.more
        assert [row.log_pos for row in work.rows if row.operation is Operation.STEP] == list(
            range(100)
        )
        states = [row for row in work.rows if row.operation is Operation.STATE]
        assert len(states) == 130, "every open state is there, to be superseded"
        assert [row.event_id for row in states if row.payload] == [f"e{i}" for i in range(100)] + [
            "e129"
        ]

    async def test_many_dossiers_are_read_whole(self, ledger: FullLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(*(make_event(f"e{i}", f"opencps:{i}") for i in range(1203)))
        works = await desk.runnable(limit=2000)
        assert {w.dossier.dossier_id for w in works} == {f"opencps:{i}" for i in range(1203)}
        assert all(len(w.rows) == 2 and w.rows[0].payload for w in works)

    async def test_an_older_state_does_not_move_the_deadline(self, ledger: FullLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e2", version=2, due=NOON))
        await desk.put(make_event("e1", version=1, due=NOON - timedelta(days=9)))
        (work,) = await desk.runnable()
        assert work.dossier.deadline == NOON.timestamp()

    async def test_a_gap_leaves_the_projection_alone(self, ledger: FullLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1", due=NOON, born_on_portal=True))
        gap = make_event("gap1", version=9, code=None, kind=EventKind.GAP, step=False)
        held = Due(
            target=TARGET,
            operation=Operation.STEP,
            state=DeliveryState.PARKED,
            reason=Reason.GAP,
        )
        await desk.put(gap, dues=(held,))
        (work,) = await desk.runnable()
        assert work.dossier.deadline == NOON.timestamp()
        assert work.dossier.born_on_portal
        assert await ledger.find_dossier("H12.01-261123-0001") == ["opencps:1"]

    async def test_what_is_over_at_once_is_listed_but_no_work(self, ledger: FullLedger) -> None:
        desk = await Desk.open(ledger)
        over = Due(
            target=TARGET,
            operation=Operation.STEP,
            state=DeliveryState.DISCARDED,
            reason=Reason.CORRECTED_AT_SOURCE,
        )
        await desk.put(make_event("e1", kind=EventKind.CORRECTION), dues=(over,))
        assert await desk.ids() == []
        (counts,) = await ledger.counts()
        assert counts.deliveries == {(DeliveryState.DISCARDED, "corrected_at_source"): 1}
        assert counts.oldest_open_at is None

    async def test_the_first_word_about_an_attempt_stands(self, ledger: FullLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        (work,) = await desk.runnable()
        attempt = make_attempt(work, *rows_of(work, Operation.STATE))
        await desk.commit(replace(desk.change(work), intent=attempt))
        await desk.commit(replace(desk.change(work), outcome=said(attempt, Outcome.UNKNOWN)))
        await desk.commit(replace(desk.change(work), outcome=said(attempt, Outcome.DELIVERED)))
        (found,) = (await ledger.reload(TARGET, "opencps:1")).attempts
        assert found.outcome is Outcome.UNKNOWN

    async def test_a_group_is_written_whole_or_not_at_all(self, ledger: FullLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        (work,) = await desk.runnable()
        (state,) = rows_of(work, Operation.STATE)
        good = replace(
            desk.change(work),
            claim="H12.01-261123-0001",
            intent=make_attempt(work, state),
            patch=DossierPatch(failures=5),
        )
        nobody = replace(work.dossier, dossier_id="opencps:404")
        bad = replace(desk.change(replace(work, dossier=nobody)), intent=make_attempt(work, state))
        with pytest.raises(LedgerRefuses, match=r"(?i)foreign.?key"):
            await ledger.commit([good, bad])
        assert await ledger.reload(TARGET, "opencps:1") == work
        (applied,) = await desk.commit(good)
        assert applied.verdict is Verdict.DONE

    async def test_a_group_whose_answer_was_lost_can_be_repeated(self, ledger: FullLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        (work,) = await desk.runnable()
        (state,) = rows_of(work, Operation.STATE)
        attempt = make_attempt(work, state)
        intent = replace(desk.change(work), intent=attempt, claim="H12.01-261123-0001")
        await desk.commit(intent)
        (again,) = await desk.commit(intent)
        assert again.verdict is Verdict.DONE
        (begun,) = (await ledger.reload(TARGET, "opencps:1")).attempts
        assert begun.started_at == pytest.approx(again.at, abs=0.000_002)
        settle = replace(
            desk.change(work),
            outcome=said(attempt),
            close=attempt.attempt_id,
            settled=(Settled(delivery_id=state, state=DeliveryState.DELIVERED),),
        )
        await desk.commit(settle)
        await desk.commit(settle)
        assert len(await ledger.unpublished(10)) == 1

    # --- the other flows -----------------------------------------------------------------------------

    async def test_advance_moves_the_position_and_keeps_dead_letters(
        self, ledger: FullLedger
    ) -> None:
        (position,) = await ledger.take_over(FLOW, "dead.letters", "t", [0], "worker-a")
        letter = DeadLetter(
            topic="onestop.notices",
            partition=3,
            offset=17,
            reason=Reason.UNREADABLE_PAYLOAD.value,
            detail="dossierActionId is no number: mend it at the source",
            dossier_id="opencps:1",
            sealed_key=None,
            sealed_value=b"sealed",
            first_at=NOON,
            recorded_at=NOON,
        )
        await ledger.advance(position.fence, 0, 1, [letter])
        await ledger.advance(position.fence, 0, 1, [letter])
        assert (await ledger.event_counts())["dead_letters"] == 1
        (entry,) = await ledger.trace("opencps:1")
        assert entry.kind == "dead_letter"
        assert entry.facts["log"] == "onestop.notices/3/17"
        with pytest.raises(PositionHole):
            await ledger.advance(position.fence, 5, 6)
        (moved,) = await ledger.take_over(FLOW, "dead.letters", "t", [0], "worker-b")
        assert moved.next_offset == 1
        with pytest.raises(StaleOwner):
            await ledger.advance(position.fence, 1, 2)

    async def test_receipts_wait_until_they_are_published(self, ledger: FullLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        (work,) = await desk.runnable()
        (state,) = rows_of(work, Operation.STATE)
        (step,) = rows_of(work, Operation.STEP)
        first = make_attempt(work, state)
        await desk.commit(replace(desk.change(work), intent=first))
        await desk.commit(
            replace(
                desk.change(work),
                outcome=replace(said(first), reference="REF-1", request=b"a", answer=b"b"),
                close=first.attempt_id,
                settled=(Settled(delivery_id=state, state=DeliveryState.DELIVERED),),
            )
        )
        second = make_attempt(work, step, kind=AttemptKind.STEPS)
        await deliver(desk, work, second)
        receipts = await ledger.unpublished(10)
        assert [r.delivery_id for r in receipts] == [state, step], "oldest first"
        assert [r.attempt_id for r in receipts] == [first.attempt_id, second.attempt_id]
        assert (receipts[0].reference, receipts[0].operation) == ("REF-1", "state")
        assert receipts[0].dossier_code == "H12.01-261123-0001"
        assert receipts[0].effective_at == NOON
        assert [r.delivery_id for r in await ledger.unpublished(1)] == [state]
        mine = list(desk.fences.values())
        assert len(await ledger.unpublished(10, mine)) == 2
        await ledger.take_over(FLOW, TOPIC, "topic-1", list(desk.fences), "worker-b")
        assert await ledger.unpublished(10, mine) == [], "its new owner publishes them"
        await ledger.mark_published([state])
        assert [r.delivery_id for r in await ledger.unpublished(10)] == [step]
        await ledger.mark_published([step, 999_999])
        assert await ledger.unpublished(10) == []

    # --- mappings ------------------------------------------------------------------------------------

    async def test_mappings_are_kept_replaced_and_versioned(self, ledger: FullLedger) -> None:
        assert await ledger.mapping_rows() == (0, [])
        dated = make_mapping("done", "finished", valid_from=NOON, name="Đã xong", note="QĐ 1")
        await ledger.put_mappings([make_mapping("processing", "processing"), dated])
        version, rows = await ledger.mapping_rows()
        assert version == 1
        assert list(rows) == [make_mapping("processing", "processing"), dated]
        await ledger.put_mappings([dated])
        assert (await ledger.mapping_rows())[0] == 1, "nothing changed"
        await ledger.put_mappings([make_mapping("processing", "received")])
        version, rows = await ledger.mapping_rows()
        assert version == 2
        assert {row.code: row.value for row in rows} == {
            "processing": "received",
            "done": "finished",
        }

    async def test_a_reload_of_the_source_s_table_leaves_the_operator_s_rows(
        self, ledger: FullLedger
    ) -> None:
        await ledger.put_mappings([make_mapping("a", "received"), make_mapping("b", "received")])
        chosen = make_mapping("a", "processing", origin=MappingOrigin.OPERATOR)
        await ledger.put_mappings([chosen])
        await ledger.put_mappings(
            [make_mapping("a", "received"), make_mapping("c", "received")], replace_origin=True
        )
        _, rows = await ledger.mapping_rows()
        assert {(row.code, row.value) for row in rows} == {("a", "processing"), ("c", "received")}

    async def test_a_new_mapping_sets_free_what_was_unmapped(self, ledger: FullLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1", "opencps:1"), make_event("e2", "opencps:2"))
        works = {w.dossier.dossier_id: w for w in await desk.runnable()}
        parks = []
        for dossier_id, reason, detail in (
            ("opencps:1", Reason.UNMAPPED, "codelist=status code=odd matches=0"),
            ("opencps:2", Reason.FIELD_MISSING, "HoTen"),
        ):
            work = works[dossier_id]
            parks.append(
                replace(
                    desk.release(work),
                    settled=tuple(
                        Settled(
                            delivery_id=row.delivery_id,
                            state=DeliveryState.PARKED,
                            reason=reason,
                            detail=detail,
                        )
                        for row in work.rows
                    ),
                )
            )
        await desk.commit(*parks)
        assert await desk.ids() == []
        assert await ledger.unmapped() == {
            CodeList.STATUS: 1,
            CodeList.PROCEDURE: 0,
            CodeList.AGENCY: 0,
        }
        (counts,) = await ledger.counts()
        assert counts.parked_dossiers == {"unmapped": 1, "field_missing": 1}
        assert counts.oldest_open_at is None, "what is parked does not wait for us"
        assert await ledger.put_mappings([make_mapping("odd", "processing")]) == 2
        (free,) = await desk.runnable()
        assert free.dossier.dossier_id == "opencps:1"
        assert {row.state for row in free.rows} == {DeliveryState.PENDING}
        assert free.dossier.work_seq > works["opencps:1"].dossier.work_seq
        assert (await ledger.unmapped())[CodeList.STATUS] == 0
        assert (await ledger.reload(TARGET, "opencps:2")).rows[0].state is DeliveryState.PARKED

    # --- capture -------------------------------------------------------------------------------------

    async def test_only_one_captures(self, ledger: FullLedger) -> None:
        first = await ledger.take_singleton("capture:opencps", "worker-a")
        assert await ledger.take_singleton("capture:opencps", "worker-a") == first
        assert await ledger.next_read_seq("opencps", first) == 1
        assert await ledger.next_read_seq("opencps", first) == 2
        second = await ledger.take_singleton("capture:opencps", "worker-b")
        assert second.epoch == first.epoch + 1
        with pytest.raises(StaleOwner):
            await ledger.next_read_seq("opencps", first)
        with pytest.raises(StaleOwner):
            await ledger.save_page("opencps", "actions", first, None, "1", [])
        assert await ledger.cursor("opencps", "actions") is None
        assert await ledger.next_read_seq("opencps", second) == 3
        assert await ledger.next_read_seq("other", second) == 1

    async def test_a_singleton_is_followed_when_it_is_silent_or_released(
        self, ledger: FullLedger
    ) -> None:
        long = 3600.0
        first = await ledger.take_silent_singleton("capture:opencps", "worker-a", long)
        assert first is not None
        assert await ledger.take_silent_singleton("capture:opencps", "worker-a", long) == first
        assert await ledger.take_silent_singleton("capture:opencps", "worker-b", long) is None
        await ledger.beat_singleton(first)
        second = await ledger.take_silent_singleton("capture:opencps", "worker-b", 0.0)
        assert second is not None
        assert second.epoch == first.epoch + 1
        with pytest.raises(StaleOwner):
            await ledger.beat_singleton(first)
        await ledger.release_singleton(first)
        assert await ledger.take_silent_singleton("capture:opencps", "worker-a", long) is None
        await ledger.release_singleton(second)
        with pytest.raises(StaleOwner):
            await ledger.next_read_seq("opencps", second)
        third = await ledger.take_silent_singleton("capture:opencps", "worker-b", long)
        assert third is not None
        assert third.epoch > second.epoch, "what it wrote before it let go stays refused"

    async def test_what_a_frozen_capture_writes_belatedly_is_left_alone(
        self, ledger: FullLedger
    ) -> None:
        """It read action 2 and froze; another one told actions 1, 3 and what became of 2; then it woke."""
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1", version=1), make_event("e3", version=3))
        result = await desk.put(make_event("e2", version=2), make_event("other", "opencps:2"))
        assert (result.enlisted, result.duplicates, result.overtaken) == (1, 0, 1)
        assert await desk.steps() == ["e1", "e3"]

        result = await desk.put(make_event("e2", version=4))
        assert (result.enlisted, result.overtaken) == (1, 0), "it may be told again"
        assert await desk.steps() == ["e1", "e3", "e2"]

    async def test_of_one_batch_what_comes_behind_a_newer_reading_is_left_alone(
        self, ledger: FullLedger
    ) -> None:
        desk = await Desk.open(ledger)
        result = await desk.put(
            make_event("e3", version=3),
            make_event("e2", version=2),
            make_event("gap", version=0, kind=EventKind.GAP),
            make_event("e4", version=3),
        )
        assert (result.enlisted, result.overtaken) == (3, 1), "a gap has read nothing"
        assert await desk.steps() == ["e3", "gap", "e4"]

    async def test_a_page_is_saved_by_compare_and_set(self, ledger: FullLedger) -> None:
        fence = await ledger.take_singleton("capture:opencps", "worker-a")
        row = SeenRow(
            kind="action", row_id="17", dossier_id="opencps:1", uid="u-17", content_hash="h"
        )
        whole = SeenRow(
            kind="dossier", row_id="1", dossier_id="opencps:1", uid="u", content_hash="h"
        )
        await ledger.save_page("opencps", "actions", fence, None, "17", [row, whole])
        await ledger.save_page("opencps", "actions", fence, None, "17", [row, whole])
        assert await ledger.cursor("opencps", "actions") == "17"
        assert await ledger.cursor("opencps", "changes") is None
        with pytest.raises(StaleOwner):
            await ledger.save_page("opencps", "actions", fence, None, "99", [])
        with pytest.raises(StaleOwner):
            await ledger.save_page("opencps", "actions", fence, "16", "99", [])
        changed = replace(row, content_hash="h2", status="done", gone=True)
        await ledger.save_page("opencps", "actions", fence, "17", "18", [changed])
        assert await ledger.cursor("opencps", "actions") == "18"
        ids = ["opencps:1", "opencps:2"]
        assert list(await ledger.seen("opencps", ids, fence)) == [changed, whole]
        assert list(await ledger.seen("other", ["opencps:1"], fence)) == []
        await ledger.take_singleton(fence.name, "worker-b")
        with pytest.raises(StaleOwner):
            await ledger.seen("opencps", ids, fence)

    async def test_the_first_data_key_of_a_month_wins(self, ledger: FullLedger) -> None:
        await ledger.add_wrapped_key("2026-11", b"first")
        await ledger.add_wrapped_key("2026-11", b"second")
        await ledger.add_wrapped_key("2026-12", b"third")
        assert await ledger.wrapped_keys() == {"2026-11": b"first", "2026-12": b"third"}

    # --- what people ask -----------------------------------------------------------------------------

    async def test_a_dossier_is_found_by_every_number(self, ledger: FullLedger) -> None:
        desk = await Desk.open(ledger)
        portal_no = Alias(kind="portal_no", value="G01.99.00001")
        odd = Alias(kind="reference_uid", value="a\x00b")
        await desk.put(
            make_event("e1", "opencps:1", aliases=(portal_no, portal_no, odd)),
            make_event("e2", "opencps:2"),
        )
        await desk.put(make_event("e3", "opencps:1", version=2, code="NEW", aliases=(portal_no,)))
        assert await ledger.find_dossier("NEW") == ["opencps:1"]
        assert await ledger.find_dossier("G01.99.00001") == ["opencps:1"]
        assert await ledger.find_dossier("opencps:2") == ["opencps:2"]
        assert await ledger.find_dossier("H12.01-261123-0001") == ["opencps:2"]
        assert await ledger.find_dossier("nothing") == []

    async def test_the_counts_close(self, ledger: FullLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(
            make_event("e1", "opencps:1"),
            make_event("e2", "opencps:2", at=NOON + timedelta(hours=1)),
        )
        works = {w.dossier.dossier_id: w for w in await desk.runnable()}
        work = works["opencps:1"]
        attempt = make_attempt(work, *(row.delivery_id for row in work.rows))
        await deliver(desk, work, attempt)
        asked = make_attempt(work, *rows_of(works["opencps:2"], Operation.STATE))
        await desk.commit(replace(desk.change(works["opencps:2"]), intent=asked))
        await desk.commit(
            replace(
                desk.change(works["opencps:2"]),
                outcome=said(asked, Outcome.UNKNOWN, Reason.TIMEOUT),
            )
        )
        assert (await ledger.event_counts())["attempts_asked"] == 0
        await desk.commit(replace(desk.change(works["opencps:2"]), close=asked.attempt_id))
        (counts,) = await ledger.counts()
        assert counts.target == TARGET
        assert counts.deliveries == {
            (DeliveryState.DELIVERED, ""): 2,
            (DeliveryState.SENDING, ""): 1,
            (DeliveryState.PENDING, ""): 1,
        }
        assert counts.oldest_open_at == NOON + timedelta(hours=1)
        assert await ledger.event_counts() == {
            "events": 2,
            "packets": 0,
            "dossiers": 2,
            "dead_letters": 0,
            "attempts": 2,
            "attempts_asked": 1,
        }

    async def test_the_story_of_a_dossier_is_told_in_order(self, ledger: FullLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"), dues=(STATE,))
        (work,) = await desk.runnable()
        attempt = make_attempt(work, *rows_of(work, Operation.STATE))
        await deliver(desk, work, attempt)
        entries = await ledger.trace("opencps:1")
        assert [entry.kind for entry in entries] == ["event", "delivery", "attempt", "receipt"]
        assert all(entry.at.tzinfo is not None for entry in entries)
        event, delivery, tried, receipt = (entry.facts for entry in entries)
        assert (event["event_id"], event["status"]) == ("e1", "processing")
        assert (delivery["state"], delivery["target"]) == ("delivered", TARGET)
        assert (tried["attempt_id"], tried["outcome"]) == (attempt.attempt_id, "delivered")
        assert receipt["published"] == "false"
        assert await ledger.trace("opencps:404") == []

    async def test_a_finding_is_listed_and_told(self, ledger: FullLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"), dues=(STATE,))
        (work,) = await desk.runnable()
        (state,) = rows_of(work, Operation.STATE)
        finding = Finding(
            finding_id="f1", reason=Reason.LATE_STATE, delivery_id=state, detail="fields=status"
        )
        assert await ledger.findings() == []
        await desk.commit(replace(desk.change(work), findings=(finding,)))
        (row,) = await ledger.findings()
        assert (row.target, row.dossier_id, row.finding) == (TARGET, "opencps:1", finding)
        told = [entry for entry in await ledger.trace("opencps:1") if entry.kind == "finding"]
        assert [entry.facts["reason"] for entry in told] == ["late_state"]
        assert told[0].facts["delivery_id"] == str(state)
