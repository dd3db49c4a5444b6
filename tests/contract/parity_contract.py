"""What SQLite and PostgreSQL must do alike with odd values, large batches and order.

Inherit and override `ledger`. Where a database can hold less than another, it must say so by
`LedgerRefuses` and leave nothing half written.
"""

from __future__ import annotations

import random
import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from schemas.ledger.model import (
    DeliveryState,
    DossierPatch,
    LedgerRefuses,
    Operation,
    SeenRow,
    Settled,
    Verdict,
)
from schemas.reasons import Reason
from schemas.records import Alias
from tests.contract.ledger_contract import (
    FLOW,
    NOON,
    STATE,
    TARGET,
    TOPIC,
    Desk,
    FullLedger,
    make_attempt,
    make_event,
    rows_of,
)

LONE_SURROGATE = "Nguy\udce1n"
"""What is left of bytes that were read as the wrong encoding."""

BEYOND = 2**63
"""One more than the largest whole number that either database keeps."""

MOST_PARAMETERS = 65_535
"""Of one statement on PostgreSQL; SQLite takes half as many."""


async def position(ledger: FullLedger) -> int:
    (held,) = await ledger.take_over(FLOW, TOPIC, "topic-1", [0], "worker-a")
    return held.next_offset


class ParityContract:
    @pytest.fixture
    async def ledger(self) -> FullLedger:
        raise NotImplementedError("a contract runs only where `ledger` is overridden")

    # --- text ----------------------------------------------------------------------------------------

    async def test_nul_is_kept_as_a_replacement_character_everywhere(
        self, ledger: FullLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1", code="H12\x00-1", status="mo\x00i"), dues=(STATE,))
        (work,) = await desk.runnable()
        parked = Settled(
            delivery_id=work.rows[0].delivery_id,
            state=DeliveryState.PARKED,
            reason=Reason.FIELD_MISSING,
            detail="Ho\x00Ten",
        )
        (applied,) = await desk.commit(
            replace(desk.change(work), claim="H12\x00-1", settled=(parked,))
        )
        assert applied.verdict is Verdict.DONE
        assert await ledger.find_dossier("H12\ufffd-1") == ["opencps:1"]
        event, delivery = (entry.facts for entry in await ledger.trace("opencps:1"))
        assert (event["status"], delivery["detail"]) == ("mo\ufffdi", "Ho\ufffdTen")
        claimed = (await ledger.reload(TARGET, "opencps:1")).dossier.claimed_code
        assert claimed == "H12\ufffd-1"

    async def test_a_lone_surrogate_is_refused_and_nothing_of_its_batch_is_kept(
        self, ledger: FullLedger
    ) -> None:
        desk = await Desk.open(ledger)
        poisoned = [
            desk.item(make_event("e1", "opencps:1"), 0, (STATE,)),
            desk.item(make_event("e2", "opencps:2", code=LONE_SURROGATE), 1, (STATE,)),
        ]
        with pytest.raises(LedgerRefuses) as caught:
            await ledger.enlist({0: desk.fences[0]}, {0: 2}, poisoned, {0: 0})
        assert caught.value.__cause__ is not None
        assert "Nguy" not in str(caught.value)
        assert await position(ledger) == 0
        assert await desk.ids() == []
        alone = await ledger.enlist({0: desk.fences[0]}, {0: 1}, poisoned[:1], {0: 0})
        assert (alone.enlisted, await desk.ids()) == (1, ["opencps:1"])

    async def test_a_lone_surrogate_in_a_change_refuses_its_group_only(
        self, ledger: FullLedger
    ) -> None:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1", "opencps:1"), make_event("e2", "opencps:2"))
        good, bad = await desk.runnable()
        failing = replace(desk.change(good), patch=DossierPatch(failures=1))
        poisoned = replace(
            desk.change(bad),
            settled=(
                Settled(
                    delivery_id=bad.rows[0].delivery_id,
                    state=DeliveryState.PARKED,
                    reason=Reason.FIELD_MISSING,
                    detail=LONE_SURROGATE,
                ),
            ),
        )
        with pytest.raises(LedgerRefuses):
            await ledger.commit([failing, poisoned])
        assert (await ledger.reload(TARGET, "opencps:1")).dossier.failures == 0
        (applied,) = await desk.commit(failing)
        assert applied.verdict is Verdict.DONE

    async def test_text_keeps_its_length_and_its_letters(self, ledger: FullLedger) -> None:
        desk = await Desk.open(ledger)
        long = "Đường Nguyễn Thị Minh Khai 🏠 " * 4_000  # 116,000 characters
        await desk.put(make_event("e1"), dues=(STATE,))
        (work,) = await desk.runnable()
        parked = Settled(
            delivery_id=work.rows[0].delivery_id,
            state=DeliveryState.PARKED,
            reason=Reason.FIELD_MISSING,
            detail=long,
        )
        await desk.commit(replace(desk.change(work), settled=(parked,)))
        entries = await ledger.trace("opencps:1")
        assert entries[-1].facts["detail"] == long

    async def test_a_number_too_long_to_be_looked_up_is_held_or_refused(
        self, ledger: FullLedger
    ) -> None:
        """PostgreSQL cannot index some 2,700 bytes that do not compress."""
        chance = random.Random(1)
        number = "".join(chance.choices(string.ascii_letters + string.digits, k=20_000))
        desk = await Desk.open(ledger)
        event = make_event("e1", aliases=(Alias(kind="portal_no", value=number),))
        refused = ""
        try:
            await desk.put(event)
        except LedgerRefuses as error:
            refused = str(error)
        assert number not in refused
        held = [] if refused else ["opencps:1"]
        assert await ledger.find_dossier(number) == held
        assert await position(ledger) == len(held)

    async def test_upper_lower_and_marks_are_different_codes(self, ledger: FullLedger) -> None:
        """No collation may take two codes for one: each is claimed by its own dossier."""
        codes = ["h12-a", "H12-A", "H12-Á", "H12-A\u0301", "H12-A "]
        desk = await Desk.open(ledger)
        await desk.put(
            *(make_event(f"e{i}", f"opencps:{i}", code=code) for i, code in enumerate(codes))
        )
        works = {w.dossier.dossier_id: w for w in await desk.runnable()}
        applied = await desk.commit(
            *(
                replace(desk.change(works[f"opencps:{i}"]), claim=code)
                for i, code in enumerate(codes)
            )
        )
        assert {a.verdict for a in applied} == {Verdict.DONE}
        for i, code in enumerate(codes):
            assert await ledger.find_dossier(code) == [f"opencps:{i}"]

    async def test_order_among_equals_is_that_of_the_bytes(self, ledger: FullLedger) -> None:
        ids = ["opencps:10", "opencps:9", "opencps:B", "opencps:a", "opencps:Đ"]
        desk = await Desk.open(ledger)
        await desk.put(*(make_event(f"e-{i}", i) for i in reversed(ids)))
        assert await desk.ids() == ids
        fence = await ledger.take_singleton("capture:opencps", "worker-a")
        rows = [
            SeenRow(kind="action", row_id=i, dossier_id="opencps:1", uid="u", content_hash="h")
            for i in reversed(ids)
        ]
        await ledger.save_page("opencps", "actions", fence, None, "1", rows)
        assert [row.row_id for row in await ledger.seen("opencps", ["opencps:1"], fence)] == ids

    # --- numbers, times, truth -------------------------------------------------------------------------

    async def test_the_largest_numbers_are_kept(self, ledger: FullLedger) -> None:
        desk = await Desk.open(ledger)
        top = BEYOND - 1
        await ledger.enlist({0: desk.fences[0]}, {0: top - 1}, [], {0: 0})
        item = desk.item(make_event("e1", version=top), top - 1, (STATE,))
        await ledger.enlist({0: desk.fences[0]}, {0: top}, [item], {0: top - 1})
        (work,) = await desk.runnable()
        await desk.commit(
            replace(desk.change(work), patch=DossierPatch(delivered_version=top, last_step=top))
        )
        read = await ledger.reload(TARGET, "opencps:1")
        assert (read.rows[0].version, read.rows[0].log_pos) == (top, top - 1)
        assert (read.dossier.delivered_version, read.dossier.last_step) == (top, top)
        assert await position(ledger) == top

    async def test_a_number_beyond_them_is_refused(self, ledger: FullLedger) -> None:
        desk = await Desk.open(ledger)
        with pytest.raises(LedgerRefuses):
            await desk.put(make_event("e1", version=BEYOND))
        assert await desk.ids() == []
        assert await position(ledger) == 0

    async def test_a_moment_is_the_same_in_every_zone_and_to_the_microsecond(
        self, ledger: FullLedger
    ) -> None:
        hanoi = timezone(timedelta(hours=7))
        at = datetime(2026, 11, 23, 0, 30, 0, 123_457, tzinfo=hanoi)
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1", at=at, due=at + timedelta(days=1)))
        event = (await ledger.trace("opencps:1"))[0]
        assert event.at == at
        assert event.at.utcoffset() == timedelta(0)
        (work,) = await desk.runnable()
        assert work.dossier.deadline == (at + timedelta(days=1)).timestamp()

    @pytest.mark.parametrize(
        "at",
        [
            datetime(1, 1, 2, tzinfo=UTC),
            datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
            datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC),
            datetime(2099, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
            datetime(9999, 12, 31, 23, 0, tzinfo=UTC),
        ],
    )
    async def test_every_day_finds_its_place(self, ledger: FullLedger, at: datetime) -> None:
        """Whatever a source writes into a date must not stop the flow."""
        desk = await Desk.open(ledger)
        event = replace(make_event("e1"), effective_at=at)
        await desk.put(event, make_event("e2", version=2))
        (work,) = await desk.runnable()
        assert sorted(row.event_id for row in work.rows) == ["e1", "e1", "e2", "e2"]
        assert [e.at for e in await ledger.trace("opencps:1") if e.kind == "event"] == sorted(
            [at, NOON]
        )
        again = await ledger.enlist(
            {0: desk.fences[0]}, {0: 3}, [desk.item(event, 2, (STATE,))], {0: 2}
        )
        assert (again.enlisted, again.duplicates) == (0, 1)

    async def test_truth_values_come_back_as_such(self, ledger: FullLedger) -> None:
        fence = await ledger.take_singleton("capture:opencps", "worker-a")
        rows = [
            SeenRow(
                kind="action",
                row_id=str(gone),
                dossier_id="opencps:1",
                uid="u",
                content_hash="h",
                gone=gone,
            )
            for gone in (False, True)
        ]
        await ledger.save_page("opencps", "actions", fence, None, "1", rows)
        assert [row.gone for row in await ledger.seen("opencps", ["opencps:1"], fence)] == [
            False,
            True,
        ]
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1", born_on_portal=True))
        (work,) = await desk.runnable()
        assert work.dossier.born_on_portal is True

    # --- size ------------------------------------------------------------------------------------------

    async def test_a_batch_and_a_group_may_be_large(self, ledger: FullLedger) -> None:
        number = 2_000
        desk = await Desk.open(ledger)
        await desk.put(
            *(make_event(f"e{i}", f"opencps:{i:05}", code=f"C-{i}") for i in range(number)),
            dues=(STATE,),
        )
        works = list(await desk.runnable(limit=number))
        assert len(works) == number
        applied = await desk.commit(
            *(
                replace(
                    desk.change(work),
                    claim=f"C-{i}",
                    intent=make_attempt(work, *rows_of(work, Operation.STATE)),
                )
                for i, work in enumerate(works)
            )
        )
        assert {a.verdict for a in applied} == {Verdict.DONE}
        begun = await desk.runnable(limit=number)
        closed = await desk.commit(
            *(
                replace(desk.release(work), close=work.attempts[0].attempt_id, unless_said=True)
                for work in begun
            )
        )
        assert {a.verdict for a in closed} == {Verdict.DONE}
        assert await desk.runnable(limit=number) == []

    async def test_more_ids_than_a_statement_has_parameters(self, ledger: FullLedger) -> None:
        many = MOST_PARAMETERS + 1
        fence = await ledger.take_singleton("capture:opencps", "worker-a")
        found = await ledger.seen("opencps", [f"opencps:{i}" for i in range(many)], fence)
        assert list(found) == []
        await ledger.mark_published(range(1, many + 1))
        assert await ledger.unpublished(10) == []
