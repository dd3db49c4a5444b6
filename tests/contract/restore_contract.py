"""What a ledger does that was restored, or whose log was lost, in tests. Inherit, override `open_ledger`.

All dossiers and numbers are invented.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import pytest

from schemas.ledger.log_reset import LogPart, PartitionGone, RestorePending, StillCapturing
from schemas.ledger.model import (
    AttemptKind,
    DeliveryState,
    Known,
    LedgerReplaced,
    Operation,
    Outcome,
    PositionHole,
    SeenRow,
    Settled,
    StaleOwner,
    Verdict,
    Work,
)
from schemas.ledger.restore import LogFound
from schemas.ledger.sql import SqlLedger
from schemas.reasons import Reason
from schemas.records import Alias, DeliveryReceipt
from tests.contract.ledger_contract import (
    FLOW,
    NOON,
    STATE,
    STEP,
    TARGET,
    TOPIC,
    Desk,
    make_attempt,
    make_event,
    rows_of,
    said,
)

Open = Callable[[], Awaitable[SqlLedger]]
NOTICES = "onestop.notices"
SILENCE = 0.0
"""A capture of these tests counts as dead as soon as it has beaten."""


def receipt(
    event_id: str,
    operation: str = "state",
    dossier_id: str = "opencps:1",
    code: str = "H12.01-261123-0001",
    key: str | None = None,
) -> DeliveryReceipt:
    return DeliveryReceipt(
        delivery_id=1,
        event_id=event_id,
        dossier_id=dossier_id,
        dossier_code=code,
        target=TARGET,
        operation=operation,
        attempt_id=f"lost-{event_id}",
        reference=None,
        effective_at=NOON,
        delivered_at=NOON,
        step_key=key,
    )


async def restored(
    ledger: SqlLedger,
    end: int,
    *receipts: DeliveryReceipt,
    read_seqs: Mapping[str, int] | None = None,
    topic_id: str | None = None,
    partitions: int = 1,
) -> None:
    """As if the ledger had been put back, with a log of which every partition ends there."""
    await ledger.begin_restore()
    await ledger.add_receipts(receipts)
    await ledger.finish_restore(
        flow=FLOW,
        logs={TOPIC: LogFound(topic_id=topic_id, ends=dict.fromkeys(range(partitions), end))},
        read_seqs=read_seqs or {},
    )


async def only(desk: Desk) -> Work:
    (work,) = await desk.runnable()
    return work


def states_of(work: Work) -> list[DeliveryState]:
    return [row.state for row in work.rows]


class RestoreContract:
    @pytest.fixture
    async def open_ledger(self) -> Open:
        """Opens the one ledger of a test, as often as asked: every one is a process of its own."""
        raise NotImplementedError("a contract runs only where `open_ledger` is overridden")

    @pytest.fixture
    async def ledger(self, open_ledger: Open) -> SqlLedger:
        return await open_ledger()

    # --- who may do what ----------------------------------------------------------------------------

    async def test_a_new_ledger_is_not_in_doubt(self, open_ledger: Open) -> None:
        assert not (await open_ledger()).identity.changed
        assert not (await open_ledger()).identity.changed

    async def test_no_fence_of_the_lost_time_holds(self, ledger: SqlLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        work = await only(desk)
        capture = await ledger.take_singleton("capture.x", "worker-a")
        await ledger.begin_restore()
        (applied,) = await desk.commit(desk.release(work))
        assert applied.verdict is Verdict.STALE
        with pytest.raises(StaleOwner):
            await desk.put(make_event("e2"))
        with pytest.raises(StaleOwner):
            await ledger.next_read_seq("x", capture)
        assert await desk.ids() == []

    async def test_nobody_becomes_an_owner_before_the_restore_is_finished(
        self, open_ledger: Open
    ) -> None:
        ledger = await open_ledger()
        await ledger.begin_restore()
        for process in (ledger, await open_ledger()):
            assert process.identity.changed
            with pytest.raises(LedgerReplaced):
                await Desk.open(process)
            with pytest.raises(LedgerReplaced):
                await process.take_singleton("capture.x", "worker-b")

    async def test_a_process_of_the_time_before_owns_nothing_again_and_is_told(
        self, open_ledger: Open
    ) -> None:
        running, starting = await open_ledger(), await open_ledger()
        await restored(starting, 0)
        with pytest.raises(LedgerReplaced):
            await Desk.open(running)
        with pytest.raises(LedgerReplaced):
            await running.still_the_same()
        await starting.still_the_same()
        assert (await Desk.open(starting)).fences

    async def test_of_several_processes_the_first_restores_for_all(self, open_ledger: Open) -> None:
        one, two = await open_ledger(), await open_ledger()
        await one.begin_restore()
        await two.begin_restore()
        assert one.identity.generation == two.identity.generation == 2
        await one.add_receipts([receipt("e1")])
        assert await two.add_receipts([receipt("e1"), receipt("e2")]) == 1
        for process, end in ((one, 3), (two, 9)):
            await process.finish_restore(
                flow=FLOW, logs={TOPIC: LogFound(topic_id=None, ends={0: end})}, read_seqs={}
            )
        assert not two.identity.changed
        desk = await Desk.open(two)
        await desk.put(*(make_event(f"e{n}", f"d{n}", code=f"C{n}") for n in range(3)))
        assert len(await desk.ids()) == 3, "the first one's horizon counts"

    async def test_who_dies_in_between_leaves_it_to_the_next(self, open_ledger: Open) -> None:
        dead = await open_ledger()
        await dead.begin_restore()
        await dead.add_receipts([receipt("e1")])
        after = await open_ledger()
        assert after.identity.changed
        await restored(after, 1, receipt("e1"))
        desk = await Desk.open(after)
        await desk.put(make_event("e1"), dues=(STATE,))
        assert (await only(desk)).rows == (), "proved, nothing is owed"

    # --- the horizon --------------------------------------------------------------------------------

    async def test_nothing_is_runnable_before_the_log_is_read_to_its_end(
        self, ledger: SqlLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        await restored(ledger, 3)
        desk = await Desk.open(ledger)
        assert await desk.ids() == []
        await desk.put(make_event("e2", version=2))
        assert await desk.ids() == []
        await desk.put(make_event("e3", version=3))
        assert await desk.ids() == ["opencps:1"]

    async def test_at_the_horizon_everything_open_is_of_unknown_outcome(
        self, ledger: SqlLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        work = await only(desk)
        state, step = rows_of(work, Operation.STATE) + rows_of(work, Operation.STEP)
        silent = make_attempt(work, state, kind=AttemptKind.CREATE)
        await desk.commit(replace(desk.change(work), intent=silent, claim="H12.01-261123-0001"))
        await restored(ledger, 2)
        desk = await Desk.open(ledger)
        at = await ledger.now()
        first, next_ = desk.offsets[0], 2
        result = await ledger.enlist(
            desk.fences,
            {0: next_},
            [desk.item(make_event("e2", version=2), first, (STATE, STEP))],
            {0: first},
        )
        (looked,) = result.restored
        assert (looked.proved, looked.dossiers, looked.steps) == (0, 1, 2)

        work = await only(desk)
        assert [a.kind for a in work.attempts] == [AttemptKind.CREATE, AttemptKind.STEPS]
        assert {(a.outcome, a.reason) for a in work.attempts} == {
            (Outcome.UNKNOWN, Reason.RESTORED)
        }
        assert all(a.started_at >= at - 0.01 for a in work.attempts), "asked anew, from now on"
        assert work.attempts[0].delivery_ids == ()
        assert work.attempts[1].delivery_ids == tuple(rows_of(work, Operation.STEP))
        assert step in work.attempts[1].delivery_ids
        assert work.dossier.known is Known.UNKNOWN
        assert work.dossier.claimed_code == "H12.01-261123-0001"
        pending, sending = DeliveryState.PENDING, DeliveryState.SENDING
        assert states_of(work) == [pending, sending, pending, sending]

    async def test_a_partition_at_its_horizon_is_looked_at_when_it_is_taken_over(
        self, ledger: SqlLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        await restored(ledger, 1)
        (position,) = await ledger.take_over(FLOW, TOPIC, "topic-1", [0], "worker-b")
        assert position.restored is not None
        assert (position.restored.dossiers, position.restored.steps) == (1, 1)
        (again,) = await ledger.take_over(FLOW, TOPIC, "topic-1", [0], "worker-c")
        assert again.restored is None, "once"
        (work,) = await ledger.runnable(TARGET, [again.fence], 10, frozenset())
        assert len(work.attempts) == 2

    async def test_what_was_settled_before_the_copy_stays_settled(self, ledger: SqlLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"), dues=(STATE,))
        work = await only(desk)
        attempt = make_attempt(work, *rows_of(work, Operation.STATE))
        await desk.commit(replace(desk.change(work), intent=attempt))
        (applied,) = await desk.commit(
            replace(
                desk.release(work),
                outcome=said(attempt),
                close=attempt.attempt_id,
                settled=tuple(
                    Settled(delivery_id=i, state=DeliveryState.DELIVERED)
                    for i in attempt.delivery_ids
                ),
            )
        )
        assert applied.verdict is Verdict.DONE
        await restored(ledger, 1)
        desk = await Desk.open(ledger)
        assert await desk.ids() == []

    async def test_all_steps_of_a_long_history_are_asked_about(self, ledger: SqlLedger) -> None:
        desk = await Desk.open(ledger)
        events = [make_event(f"e{n}", version=n) for n in range(1, 131)]
        await desk.put(*events[:120])
        await restored(ledger, 125)
        desk = await Desk.open(ledger)
        await desk.put(*events[120:])
        work = await only(desk)
        steps = [row for row in work.rows if row.operation is Operation.STEP]
        assert [row.delivery_id for row in steps[:125]] == list(work.attempts[1].delivery_ids)
        assert all(row.payload for row in steps), "each is mapped to be found in the target's list"
        assert work.more, "and those beyond the horizon come later"

    # --- proofs -------------------------------------------------------------------------------------

    async def test_a_receipt_in_the_log_settles_what_the_ledger_owes_again(
        self, ledger: SqlLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        await restored(ledger, 3, receipt("e2"), receipt("e1", "step", key="k1"))
        desk = await Desk.open(ledger)
        await desk.put(make_event("e2", version=2), make_event("e3", version=3))
        work = await only(desk)
        assert [row.version for row in work.rows] == [2, 3, 3], "e1's state is superseded by e2's"
        assert (work.dossier.known, work.dossier.delivered_version) == (Known.PRESENT, 2)
        assert work.dossier.delivered_hash is None
        assert [a.kind for a in work.attempts] == [AttemptKind.UPDATE, AttemptKind.STEPS]
        assert [s.key for s in work.sent_steps] == ["k1"]
        (count,) = await ledger.counts()
        assert count.deliveries[DeliveryState.DELIVERED, ""] == 2
        assert count.deliveries[DeliveryState.SUPERSEDED, "newer_state"] == 1
        assert await ledger.unpublished(10) == [], "they were published in the lost time"

    async def test_a_code_that_a_receipt_names_belongs_to_its_dossier(
        self, ledger: SqlLedger
    ) -> None:
        await restored(ledger, 2, receipt("e2", dossier_id="d2", code="C-1"))
        desk = await Desk.open(ledger)
        await desk.put(
            make_event("e1", "d1", code="C-1"), make_event("e2", "d2", code="C-1"), dues=(STATE,)
        )
        (work,) = [work for work in await desk.runnable() if work.rows]
        assert work.dossier.dossier_id == "d1"
        assert work.attempts == (), "whose number it was in the lost time is known: not d1's"
        assert work.dossier.claimed_code is None

    async def test_a_dossier_that_changed_its_number_unseen_is_for_a_person(
        self, ledger: SqlLedger
    ) -> None:
        def number(value: str) -> tuple[Alias, ...]:
            return (Alias(kind="dossier_no", value=value),)

        await restored(ledger, 2)
        desk = await Desk.open(ledger)
        await desk.put(
            make_event("e1", code="C-1", aliases=number("C-1")),
            make_event("e2", code="C-2", version=2, aliases=number("C-2")),
            dues=(STATE,),
        )
        work = await only(desk)
        assert {row.reason for row in work.rows} == {Reason.OUTCOME_UNKNOWN}
        assert set(states_of(work)) == {DeliveryState.PARKED}

    async def test_states_read_after_the_restore_are_newer_than_all_before(
        self, ledger: SqlLedger
    ) -> None:
        capture = await ledger.take_singleton("capture.x", "worker-a")
        assert await ledger.next_read_seq("x", capture) == 1
        await restored(ledger, 0, read_seqs={"x": 40, "y": 7})
        capture = await ledger.take_singleton("capture.x", "worker-b")
        assert await ledger.next_read_seq("x", capture) == 41
        assert await ledger.next_read_seq("y", capture) == 8

    async def test_a_log_that_knows_more_than_the_ledger_betrays_an_older_copy(
        self, ledger: SqlLedger
    ) -> None:
        desk = await Desk.open(ledger)
        assert not await ledger.is_older_than_log([], {})
        assert await ledger.is_older_than_log([receipt("e1")], {})
        assert await ledger.is_older_than_log([], {"x": 1})
        await desk.put(make_event("e1"), dues=(STATE,))
        assert await ledger.is_older_than_log([receipt("e1")], {}), "owed, not delivered"

        await restored(ledger, 1, receipt("e1"), receipt("e9"), read_seqs={"x": 1})
        assert not await ledger.is_older_than_log([receipt("e2")], {"x": 5}), "under way"
        await Desk.open(ledger)
        seen = [receipt("e1"), receipt("e9")]
        assert not await ledger.is_older_than_log(seen, {"x": 1}), "taken note of, once and for all"
        assert await ledger.is_older_than_log([receipt("e2")], {})

    # --- the log lost --------------------------------------------------------------------------------

    async def test_a_new_log_goes_on_behind_the_old_one(self, ledger: SqlLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"), make_event("e2", version=2))
        new = {(TOPIC, 0): LogPart(start=0, end=1, topic_id="topic-2")}
        with pytest.raises(PositionHole):
            await ledger.take_over(FLOW, TOPIC, "topic-2", [0], "worker-b")
        (place,) = await ledger.new_places(new, [TOPIC])
        assert (place.next_offset, place.goes_to, place.lost) == (2, 1, True)
        assert await ledger.reset_log(new, [TOPIC], SILENCE) == [place]
        assert await ledger.new_places(new, [TOPIC]) == [], "doing it again changes nothing"

        again = await self._reopened(ledger)
        (position,) = await again.take_over(FLOW, TOPIC, "topic-2", [0], "worker-b")
        assert (position.next_offset, position.topic_id) == (1, "topic-2")
        assert position.log_base > 2
        desk = Desk(ledger=again, fences={0: position.fence}, offsets={0: 1})
        # What lies in the new log already came before its time. The source is read again: e1 and e2 come
        # once more, and what had not arrived before.
        await desk.put(make_event("e3", version=3), make_event("e1"), make_event("e2", version=2))
        work = await only(desk)
        assert [row.event_id for row in work.rows] == ["e1", "e1", "e2", "e2", "e3", "e3"]
        assert [row.log_pos for row in work.rows[:4]] == [0, 0, 1, 1]
        assert work.rows[-1].log_pos == position.log_base + 1
        assert all(not work.attempts for work in await desk.runnable()), (
            "the ledger was never in doubt"
        )

    async def _reopened(self, ledger: SqlLedger) -> SqlLedger:
        """The same process would have ended."""
        with pytest.raises(LedgerReplaced):
            await ledger.still_the_same()
        await ledger.open()
        return ledger

    async def test_a_topic_is_emptied_as_a_whole_or_cut_off_by_partition(
        self, ledger: SqlLedger
    ) -> None:
        desk = await Desk.open(ledger, partitions=(0, 1, 2))
        await desk.put(make_event("e1", "d1"), make_event("e2", "d2"), partition=0)
        await desk.put(make_event("e3", "d3"), partition=1)
        filled = {(TOPIC, n): LogPart(start=0, end=n, topic_id=None) for n in range(3)}
        lost = await ledger.new_places(filled, [TOPIC])
        assert [place.partition for place in lost] == [0, 1, 2], "1 was filled up meanwhile"
        cut = {(TOPIC, n): LogPart(start=2 * n, end=9, topic_id=None) for n in range(3)}
        lost = await ledger.new_places(cut, [TOPIC])
        assert [(place.partition, place.now.start) for place in lost] == [(1, 2), (2, 4)]
        with pytest.raises(PartitionGone):
            await ledger.new_places({(TOPIC, 0): LogPart(start=0, end=0, topic_id=None)}, [TOPIC])

    async def test_a_topic_that_no_source_tells_again_is_read_from_its_beginning(
        self, ledger: SqlLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"), make_event("e2", version=2))
        new = {(TOPIC, 0): LogPart(start=0, end=1, topic_id=None)}
        await ledger.reset_log(new, [], SILENCE)
        ledger = await self._reopened(ledger)
        (position,) = await ledger.take_over(FLOW, TOPIC, None, [0], "worker-b")
        assert position.next_offset == 0

    async def test_what_intake_had_taken_in_is_not_overtaken_by_what_waited_for_it(
        self, ledger: SqlLedger
    ) -> None:
        told = [make_event("e80"), make_event("e90", version=2), make_event("e100", version=3)]
        desk = await Desk.open(ledger)
        await desk.put(told[0])
        await self._intake_at(ledger, 2)  # e90 lay in the log of events when that was lost
        log = {
            (NOTICES, 0): LogPart(start=0, end=3, topic_id=None),
            (TOPIC, 0): LogPart(start=0, end=0, topic_id=None),
        }
        places = await ledger.reset_log(log, [NOTICES, TOPIC], SILENCE)
        ledger = await self._reopened(ledger)
        (intake,) = await ledger.take_over("intake", NOTICES, None, [0], "worker-b")
        assert intake.log_base == 0, "it is the same log"
        desk = await Desk.open(ledger)
        notices = [*told, *told]  # what was there, and what the capture tells again
        await desk.put(*notices[intake.next_offset :])
        work = await only(desk)
        steps = [row.event_id for row in work.rows if row.operation is Operation.STEP]
        assert steps == ["e80", "e90", "e100"]
        assert [(p.topic, p.lost, p.goes_to) for p in places] == [
            (NOTICES, False, 3),
            (TOPIC, True, 0),
        ]

    async def test_a_topic_behind_the_lost_one_is_read_on(self, ledger: SqlLedger) -> None:
        """Whatever lies there was made of notices that came before those that are lost."""
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        await self._intake_at(ledger, 2)
        log = {
            (NOTICES, 0): LogPart(start=0, end=0, topic_id=None),
            (TOPIC, 0): LogPart(start=0, end=2, topic_id=None),
        }
        (place,) = await ledger.reset_log(log, [NOTICES, TOPIC], SILENCE)
        assert (place.topic, place.lost) == (NOTICES, True)
        ledger = await self._reopened(ledger)
        assert (await Desk.open(ledger)).offsets == {0: 1}

    async def _intake_at(self, ledger: SqlLedger, offset: int) -> None:
        (taken,) = await ledger.take_over("intake", NOTICES, None, [0], "worker-a")
        await ledger.enlist({0: taken.fence}, {0: offset}, (), {0: 0})

    async def test_nothing_is_set_anew_while_a_capture_beats(self, ledger: SqlLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        new = {(TOPIC, 0): LogPart(start=0, end=0, topic_id=None)}
        capture = await ledger.take_singleton("capture.x", "worker-a")
        for refused in (ledger.require_silence(60.0), ledger.reset_log(new, [TOPIC], 60.0)):
            with pytest.raises(StillCapturing, match=r"capture\.x \(worker-a\)"):
                await refused
        assert len(await ledger.new_places(new, [TOPIC])) == 1
        await ledger.release_singleton(capture)
        await ledger.require_silence(60.0)
        assert len(await ledger.reset_log(new, [TOPIC], 60.0)) == 1

    async def test_a_capture_that_died_long_ago_is_no_hindrance(self, ledger: SqlLedger) -> None:
        await ledger.take_singleton("capture.x", "worker-a")
        await ledger.require_silence(SILENCE)

    async def test_the_capture_forgets_what_it_saw_but_not_what_is_gone(
        self, ledger: SqlLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        capture = await ledger.take_singleton("capture.x", "worker-a")
        seen = [
            SeenRow(kind="action", row_id="1", dossier_id="d", uid="u", content_hash="h"),
            SeenRow(
                kind="action", row_id="2", dossier_id="d", uid="v", content_hash="i", gone=True
            ),
        ]
        await ledger.save_page("x", "actions", capture, None, "17", seen)
        new = {(TOPIC, 0): LogPart(start=0, end=0, topic_id=None)}
        await ledger.reset_log(new, [], SILENCE)
        ledger = await self._reopened(ledger)
        assert await ledger.cursor("x", "actions") == "17", "nothing was lost that it had read"

        desk = await Desk.open(ledger)
        await desk.put(make_event("e2", version=2))
        await ledger.reset_log(new, [TOPIC], SILENCE)
        ledger = await self._reopened(ledger)
        assert await ledger.cursor("x", "actions") is None
        capture = await ledger.take_singleton("capture.x", "worker-a")
        assert await ledger.seen("x", ["d"], capture) == [replace(seen[1], gone=False)]

    async def test_a_reset_waits_for_a_restore_to_be_noted(self, ledger: SqlLedger) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        await ledger.begin_restore()
        with pytest.raises(RestorePending):
            await ledger.reset_log(
                {(TOPIC, 0): LogPart(start=0, end=0, topic_id=None)}, [TOPIC], SILENCE
            )

    async def test_ledger_and_log_both_lost_hold_everything_until_a_person_lets_it_go(
        self, ledger: SqlLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        await restored(ledger, 0)  # the log ends below the position
        assert await ledger.held_partitions() == 1
        assert (await Desk.open(ledger)).offsets == {0: 1}
        await ledger.reset_log(
            {(TOPIC, 0): LogPart(start=0, end=0, topic_id=None)}, [TOPIC], SILENCE
        )
        ledger = await self._reopened(ledger)
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"), make_event("e2", version=2))
        assert await desk.ids() == [], "what the source still has to tell may be newer"

        assert await ledger.release_held({(TOPIC, 0): 2}) == 1
        ledger = await self._reopened(ledger)
        desk = await Desk.open(ledger)
        work = await only(desk)
        assert [a.kind for a in work.attempts] == [AttemptKind.CREATE, AttemptKind.STEPS]
        assert len(work.attempts[1].delivery_ids) == 2

    async def test_a_log_made_anew_holds_a_restored_ledger_wherever_it_ends(
        self, ledger: SqlLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        await restored(ledger, 7, topic_id="topic-2", partitions=2)
        assert await ledger.held_partitions() == 2, "also the one that nothing was read of"
