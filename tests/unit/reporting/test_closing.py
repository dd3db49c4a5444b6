"""The service that looks after reports, judged by what the ledger holds and what Kafka was given.

Time is set by the tests; the dossiers are counted by a fake that knows what was known when.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitoring.events import Events
from schemas.ledger import report_outbox, report_store
from schemas.ledger.model import LedgerUnavailable
from schemas.records import ReportPacket
from schemas.reports import snapshots
from schemas.reports.periods import Calendar, PeriodFault, PeriodKind, Window
from schemas.reports.snapshots import Imbalance
from schemas.reports.states import Action, Answer, Objection, PacketState, Settlement, State
from streams.producer import NotConfirmed, Outgoing
from streams.reporting.approvals import Desk
from streams.reporting.closing import Closing
from streams.reporting.counting import Filling
from streams.reporting.life import Refusal, Refused
from tests.contract.packets_contract import PacketDesk, deliver
from tests.unit.dossier.samples import CALENDAR, at
from tests.unit.reporting.world import (
    HEAD,
    OFFICER,
    REPORT_ID,
    Counted,
    Packs,
    Province,
    Told,
    province,
    regime,
)

AFTER_CUT_OFF = "2026-03-16 08:00"
CUT_OFF = at("2026-03-15 00:00")


@pytest.fixture
async def ours(tmp_path: Path) -> AsyncIterator[Province]:
    async with province(tmp_path) as opened:
        yield opened


@asynccontextmanager
async def running(
    ours: Province, owner: str = "one", **more: Any
) -> AsyncIterator[tuple[Closing, Events]]:
    service, told = ours.closing(owner, **more)
    task = asyncio.create_task(service.run())
    try:
        yield service, told
    finally:
        service.stop()
        await task


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await holds():
            await asyncio.sleep(0.01)


async def keys(ours: Province) -> list[str]:
    return [one.period for one in await ours.lane.read(report_store.all_reports)]


def gauge(told: Events, name: str, **labels: str) -> float | None:
    return told.metrics.registry.get_sample_value(name, labels)


async def packets_on_kafka(ours: Province) -> list[ReportPacket]:
    return [await ours.codec.decode_as(one.value, ReportPacket) for one in ours.topic.records]


# --- periods -------------------------------------------------------------------------------------------


async def test_a_period_is_opened_on_its_first_day_and_not_before(ours: Province) -> None:
    ours.clock.set("2026-02-14 23:59")
    await ours.turn()
    assert await keys(ours) == ["2026-02"]
    ours.clock.set("2026-02-15 00:00")
    await ours.turn()
    assert await keys(ours) == ["2026-03", "2026-02"]
    march = (await ours.lane.read(report_store.all_reports))[0]
    assert march.window == Window(date(2026, 2, 15), date(2026, 3, 14))
    assert (march.due_on, march.units_due_on) == (date(2026, 3, 25), date(2026, 3, 20))


async def test_what_began_while_nobody_was_there_is_opened_later(ours: Province) -> None:
    await ours.turn()
    ours.clock.set("2026-06-20 08:00")
    await ours.turn()
    assert await keys(ours) == ["2026-07", "2026-06", "2026-05", "2026-04", "2026-03", "2026-02"]


async def test_every_kind_has_its_periods_and_nine_months_only_when_asked_for(
    ours: Province,
) -> None:
    ours.regimes = [regime(kinds=tuple(PeriodKind))]
    ours.clock.set("2026-03-10 08:00")
    await ours.turn()
    assert set(await keys(ours)) == {"2026-03", "2026-Q1", "2026-H1", "2026-9M", "2026"}


async def test_a_changed_calendar_applies_from_the_next_period_that_begins(ours: Province) -> None:
    await ours.turn()
    ours.regimes = [regime(calendar=Calendar.CIVIL)]
    ours.clock.set("2026-04-02 08:00")
    await ours.turn()
    windows = {
        one.period: str(one.window) for one in await ours.lane.read(report_store.all_reports)
    }
    assert windows["2026-03"] == "2026-02-15..2026-03-14", "it had begun"
    assert windows["2026-04"] == "2026-04-01..2026-04-30"
    faults = await ours.lane.read(report_store.period_faults)
    assert [(one.period, one.fault, one.other, one.refused) for one in faults] == [
        ("2026-04", PeriodFault.HOLE, "2026-03", False)
    ]


async def test_an_overlap_is_refused_and_named_until_somebody_sets_the_window(
    ours: Province,
) -> None:
    ours.regimes = [regime(calendar=Calendar.CIVIL)]
    ours.clock.set("2026-03-02 08:00")
    await ours.turn()
    ours.regimes = [regime()]
    ours.clock.set("2026-03-20 08:00")
    _, told = service = ours.closing("turns")
    fence = await ours.ledger.take_singleton("reporting", "turns")
    await service[0].turn(fence)
    assert "2026-04" not in await keys(ours)
    faults = await ours.lane.read(report_store.period_faults)
    assert [(one.period, one.fault, one.other) for one in faults if one.refused] == [
        ("2026-04", PeriodFault.OVERLAP, "2026-03")
    ]
    assert gauge(told, "hub_report_periods_refused") == 1
    assert ours.log.of("report_period_refused")[0]["other"] == "2026-03"
    window = Window(date(2026, 4, 1), date(2026, 4, 14))
    ours.regimes = [regime(windows={"2026-04": window})]
    ours.clock.set("2026-04-01 08:00")
    await ours.turn()
    assert "2026-04" in await keys(ours)
    assert not [one for one in await ours.lane.read(report_store.period_faults) if one.refused]


# --- freezing ------------------------------------------------------------------------------------------


async def test_at_the_cut_off_the_figures_are_frozen_as_known_then(ours: Province) -> None:
    await ours.turn()
    ours.clock.set("2026-03-15 00:14")
    await ours.turn()
    assert await ours.newest() is None, "what was recorded before may still arrive"
    ours.clock.set("2026-03-15 00:15")
    await ours.turn()
    take = await ours.take()
    assert (take.state, take.known_at) == (State.CONFIRMING, CUT_OFF)
    snapshot = snapshots.read(await ours.content(take))
    assert snapshot.total() == (2, 1, 1)


async def test_down_at_the_cut_off_it_freezes_later_what_was_known_at_it(ours: Province) -> None:
    await ours.turn()
    ours.counted.told += [
        Told("d3", CUT_OFF - timedelta(microseconds=1), "H12.01", date(2026, 3, 14)),
        Told("d4", CUT_OFF + timedelta(microseconds=1), "H12.01", date(2026, 3, 14)),
    ]
    ours.clock.set("2026-03-24 08:00")
    await ours.turn()
    take = await ours.take()
    assert take.known_at == CUT_OFF
    assert snapshots.read(await ours.content(take)).total() == (3, 1, 2)


async def test_nothing_is_frozen_while_dossiers_are_still_to_be_reckoned(ours: Province) -> None:
    await ours.turn()
    ours.clock.set(AFTER_CUT_OFF)
    ours.counted.unread = 3
    await ours.turn()
    assert await ours.newest() is None
    await ours.turn(2)
    assert await ours.newest() is not None


async def test_a_late_dossier_changes_only_the_draft_of_the_next_revision(ours: Province) -> None:
    await ours.turn()
    ours.clock.set(AFTER_CUT_OFF)
    await ours.turn()
    before = await ours.content(await ours.take())
    ours.counted.told.append(Told("d9", at("2026-03-16 07:00"), "H12.02", date(2026, 3, 1)))
    await ours.turn()
    assert await ours.content(await ours.take()) == before
    draft = (await ours.lane.read(report_store.drafts))[REPORT_ID]
    (change,) = draft.changes
    assert (change.dossier_id, change.was, change.now) == ("d9", None, "H12.02 c11")
    assert change.why == "arrived_late"


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 12),
            st.integers(1, 60 * 24 * 20),
            st.sampled_from(["H12.01", "H12.02", "H12.03", None]),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_whatever_arrives_later_a_frozen_revision_never_changes(
    tmp_path: Path, later: list[tuple[int, int, str | None, bool]]
) -> None:
    async def play() -> None:
        (tmp_path / "ledger.db").unlink(missing_ok=True)
        async with province(tmp_path) as ours:
            await ours.turn()
            ours.clock.set(AFTER_CUT_OFF)
            await ours.turn()
            first = await ours.take()
            before = await ours.content(first)
            frozen = snapshots.hash_of(before)
            for name, minutes, unit, done in later:
                moment = CUT_OFF + timedelta(minutes=minutes)
                ours.counted.told.append(Told(f"d{name}", moment, unit, date(2026, 3, 1), done))
            ours.clock.now = CUT_OFF + timedelta(days=21)
            await ours.turn()
            assert await ours.content(first) == before
            (again,) = [t for t in await ours.lane.read(_takes) if t.ref == first.ref]
            assert again.snapshot_hash == frozen
            await ours.desk().revise(REPORT_ID, OFFICER, "có hồ sơ đến muộn")
            assert await ours.content(first) == before
            recomputed = await ours.counted.count(await _report(ours), first.known_at, None)
            assert recomputed.snapshot.content() == before

    asyncio.run(play())


def _takes(connection: Any) -> list[report_store.Take]:
    return report_store.takes(connection, REPORT_ID)


async def _report(ours: Province) -> report_store.Report:
    found = await ours.lane.read(lambda c: report_store.report_of(c, REPORT_ID))
    assert found is not None
    return found


# --- sending -------------------------------------------------------------------------------------------


async def test_an_approved_report_leaves_by_itself_as_it_was_approved(ours: Province) -> None:
    await ours.turn()
    ours.clock.set(AFTER_CUT_OFF)
    await ours.turn()
    take = await ours.approved()
    await ours.turn()
    assert (await ours.take()).state is State.SUBMITTED
    told = await packets_on_kafka(ours)
    kept = await ours.packets()
    assert [one.packet_id for one in told] == [
        f"figures/II.06/{form}/2026-03/H12/r1" for form in ("II.06a", "II.06b")
    ]
    assert [record.key.decode() for record in ours.topic.records] == [p.report_id for p in told]
    for packet, row in zip(told, kept, strict=True):
        assert zlib.decompress(packet.sealed) == row.content
        assert packet.snapshot_hash == take.snapshot_hash
        assert (packet.revision, packet.known_at) == (1, CUT_OFF)
        assert (packet.window_from, packet.window_to) == (date(2026, 2, 15), date(2026, 3, 14))
        assert packet.due_on == date(2026, 3, 25)
    assert {one.state for one in kept} == {PacketState.PUBLISHED}


async def test_when_only_a_person_submits_the_hub_does_not(ours: Province) -> None:
    await ours.turn()
    ours.clock.set(AFTER_CUT_OFF)
    await ours.turn()
    await ours.approved()
    await ours.turn(options={"submit": False})
    assert (await ours.take()).state is State.APPROVED
    assert ours.topic.records == []


async def test_after_the_due_date_it_waits_for_a_person_with_a_reason_and_is_marked_late(
    ours: Province,
) -> None:
    await ours.turn()
    ours.clock.set(AFTER_CUT_OFF)
    await ours.turn()
    await ours.approved()
    ours.clock.set("2026-03-26 00:00")
    await ours.turn()
    assert (await ours.take()).state is State.APPROVED
    assert ours.log.of("report_not_submitted")[0]["reason"] == Refusal.AFTER_DUE
    with pytest.raises(Refused) as refused:
        await ours.desk(late=False).submit(REPORT_ID, HEAD, "mất điện")
    assert refused.value.reason is Refusal.AFTER_DUE_FORBIDDEN
    assert await ours.desk().submit(REPORT_ID, HEAD, "mất điện")
    await ours.turn()
    assert (await ours.take()).late
    assert len(ours.topic.records) == 2


async def test_figures_that_do_not_balance_are_never_sent_and_taken_anew_they_are(
    ours: Province,
) -> None:
    ours.counted.imbalances = (
        Imbalance(
            identity="c3=c7+c11",
            agency="H12.01",
            sector="S1",
            procedure="P1",
            left=3,
            right=2,
            dossiers=("code-d1",),
        ),
    )
    await ours.turn()
    ours.clock.set(AFTER_CUT_OFF)
    await ours.turn()
    assert ours.log.of("report_frozen")[0]["imbalances"] == 1
    for unit in (await ours.take()).units:
        await ours.desk().confirm(REPORT_ID, unit, OFFICER)
    with pytest.raises(Refused) as refused:
        await ours.desk().verify(REPORT_ID, OFFICER)
    assert refused.value.reason is Refusal.OUT_OF_BALANCE
    ours.counted.imbalances = ()
    assert await ours.desk().revise(REPORT_ID, OFFICER, "đã sửa hồ sơ") == (1, 2)
    await ours.sent()
    assert [one.revision for one in await packets_on_kafka(ours)] == [1, 1]


async def test_a_broker_that_does_not_confirm_is_given_the_same_packets_again(
    ours: Province,
) -> None:
    await ours.turn()
    ours.clock.set(AFTER_CUT_OFF)
    await ours.turn()
    await ours.approved()
    ours.topic.unconfirmed = 1
    with pytest.raises(NotConfirmed):
        await ours.turn()
    assert {one.state for one in await ours.packets()} == {PacketState.OWED}
    await ours.turn()
    told = await packets_on_kafka(ours)
    assert told[:2] == told[2:]
    assert {one.state for one in await ours.packets()} == {PacketState.PUBLISHED}


async def test_whoever_dies_between_kafka_and_the_ledger_leaves_them_to_be_published_again(
    ours: Province, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ours.turn()
    ours.clock.set(AFTER_CUT_OFF)
    await ours.turn()
    await ours.approved()

    def die(point: object) -> None:
        raise Died

    monkeypatch.setattr("streams.reporting.closing.crash_point", die)
    with pytest.raises(Died):
        await ours.turn()
    monkeypatch.undo()
    await ours.turn()
    ids = [one.packet_id for one in await packets_on_kafka(ours)]
    assert len(ids) == 4
    assert ids[:2] == ids[2:]


class Died(BaseException):
    """Not to be caught by anything."""


# --- revisions and answers ---------------------------------------------------------------------------------


async def answer(ours: Province, what: Answer, reason: str | None, name: str, form: str) -> Any:
    return await ours.desk().take_answer(
        answer_id=name,
        stream_id=f"figures/II.06/{form}/2026-03/H12",
        revision=1,
        answer=what,
        reason=reason,
        received_at=ours.clock(),
        origin="packet",
        actor=HEAD,
    )


async def sent(ours: Province) -> None:
    await ours.turn()
    ours.clock.set(AFTER_CUT_OFF)
    await ours.turn()
    await ours.sent()


async def test_an_answer_that_loses_to_the_next_revision_is_kept_and_changes_nothing(
    ours: Province, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sent(ours)
    monkeypatch.setattr(report_store, "move", lambda *_, **__: False)
    taken = await answer(ours, Answer.RETURNED, "sai", "m1", "II.06a")
    assert (taken.new, taken.state) == (True, State.SUBMITTED)
    kept = await ours.lane.read(lambda c: report_outbox.answers(c, REPORT_ID))
    assert [one.answer_id for one in kept] == ["m1"]


class NeedsForm206(Counted):
    async def needs(self) -> Sequence[str]:
        return ("II.06",)


async def test_what_takes_figures_from_form_206_is_frozen_after_it(ours: Province) -> None:
    ours.regimes = [regime(), regime(code="CDS")]
    other = NeedsForm206()
    both = {**ours.fillings, "CDS": Filling(other, Packs())}
    await ours.turn(fillings=both)
    ours.clock.set(AFTER_CUT_OFF)
    ours.counted.unread = 3
    await ours.turn(fillings=both)
    assert await ours.newest("CDS/2026-03/H12") is None, "it would find no figures"
    await ours.turn(2, fillings=both)
    story = await ours.lane.read(lambda c: report_store.standings(c))
    assert {REPORT_ID, "CDS/2026-03/H12"} <= story.keys()


async def test_within_one_turn_too_form_206_comes_first(ours: Province) -> None:
    ours.regimes = [regime(), regime(code="CDS")]
    both = {**ours.fillings, "CDS": Filling(NeedsForm206(), Packs())}
    await ours.turn(fillings=both)
    ours.clock.set(AFTER_CUT_OFF)
    await ours.turn(fillings=both)
    frozen = [one["report_id"] for one in ours.log.of("report_frozen")]
    assert frozen.index(REPORT_ID) < frozen.index("CDS/2026-03/H12")


class Empty(Packs):
    def packets(self, *_: object) -> list[Any]:
        return []


async def test_a_report_without_any_packet_is_not_approved(ours: Province) -> None:
    nothing = {"II.06": Filling(ours.counted, Empty())}
    await ours.turn()
    ours.clock.set(AFTER_CUT_OFF)
    await ours.turn()
    await ours.confirmed()
    desk = Desk(ours.lane, nothing, calendar=CALENDAR, wall=ours.clock)
    with pytest.raises(Refused) as refused:
        await desk.approve(REPORT_ID, (await ours.take()).snapshot_hash, HEAD)
    assert refused.value.reason is Refusal.NOTHING_TO_SEND
    assert (await ours.take()).state is State.VERIFIED


async def test_a_report_is_accepted_when_each_of_its_packets_is(ours: Province) -> None:
    await sent(ours)
    first = await answer(ours, Answer.ACCEPTED, None, "m1", "II.06a")
    assert (first.new, first.state) == (True, State.SUBMITTED)
    again = await answer(ours, Answer.ACCEPTED, None, "m1", "II.06a")
    assert (again.new, again.state) == (False, State.SUBMITTED)
    second = await answer(ours, Answer.ACCEPTED, None, "m2", "II.06b")
    assert second.state is State.ACCEPTED


async def test_a_return_without_a_reason_is_kept_and_returns_the_report(ours: Province) -> None:
    await sent(ours)
    returned = await answer(ours, Answer.RETURNED, None, "m1", "II.06b")
    assert returned.state is State.RETURNED
    (kept,) = await ours.lane.read(lambda c: report_outbox.answers(c, REPORT_ID))
    assert kept.reason is None
    assert kept.needs_person


async def test_an_answer_about_nothing_of_ours_is_kept_for_a_person(ours: Province) -> None:
    await sent(ours)
    foreign = await answer(ours, Answer.ACCEPTED, None, "m7", "II.07b")
    assert (foreign.new, foreign.state) == (True, None)


async def test_the_next_revision_amends_the_one_before_when_it_is_sent(ours: Province) -> None:
    await sent(ours)
    await answer(ours, Answer.RETURNED, "sai đơn vị", "m1", "II.06a")
    ours.counted.told.append(Told("d9", at("2026-03-16 07:00"), "H12.02", date(2026, 3, 1)))
    ours.clock.set("2026-03-27 08:00")
    assert await ours.desk().revise(REPORT_ID, OFFICER, "bị trả lại") == (2, 1)
    take = await ours.take()
    confirmed = await ours.lane.read(lambda c: report_store.confirmations(c, take))
    assert set(confirmed) == {"H12.01"}, "only whose row has changed is asked again"
    states = {t.revision: t.state for t in await ours.lane.read(_takes)}
    assert states == {1: State.RETURNED, 2: State.CONFIRMING}
    await ours.desk().confirm(REPORT_ID, "H12.02", OFFICER)
    await ours.desk().verify(REPORT_ID, OFFICER)
    await ours.desk().approve(REPORT_ID, take.snapshot_hash, HEAD)
    await ours.turn(2)
    states = {t.revision: t.state for t in await ours.lane.read(_takes)}
    assert states == {1: State.AMENDED, 2: State.SUBMITTED}
    assert not (await ours.take()).late, "the due date is that of the first sending"
    late = await answer(ours, Answer.ACCEPTED, None, "m8", "II.06a")
    assert (late.new, late.state) == (True, State.AMENDED)


async def test_a_revision_leaves_when_the_one_before_is_no_longer_under_way(ours: Province) -> None:
    """Of two that lie before the target at once only the newer would be sent."""
    await sent(ours)
    first = await packets_on_kafka(ours)
    ours.counted.told.append(Told("d9", at("2026-03-16 07:00"), "H12.02", date(2026, 3, 1)))
    ours.clock.set("2026-03-27 08:00")
    await ours.desk().revise(REPORT_ID, OFFICER, "hồ sơ đến muộn")
    await ours.desk().confirm(REPORT_ID, "H12.02", OFFICER)
    await ours.desk().verify(REPORT_ID, OFFICER)
    await ours.desk().approve(REPORT_ID, (await ours.take()).snapshot_hash, HEAD)
    await ours.turn(2)
    assert [one.revision for one in await packets_on_kafka(ours)] == [1, 1], "not taken in yet"
    target = await PacketDesk.open(ours.ledger)
    await target.put(*first)
    await ours.turn()
    assert [one.revision for one in await packets_on_kafka(ours)] == [1, 1], "not delivered yet"
    one, other = await target.runnable()
    await deliver(target, one)
    await ours.turn()
    assert [one.revision for one in await packets_on_kafka(ours)] == [1, 1, 2]
    await deliver(target, other)
    await ours.turn()
    assert [one.revision for one in await packets_on_kafka(ours)] == [1, 1, 2, 2]


# --- the process ---------------------------------------------------------------------------------------------


async def test_running_by_itself_it_does_all_of_it_and_tells_how_reports_stand(
    ours: Province,
) -> None:
    ours.clock.set(AFTER_CUT_OFF)

    async def frozen() -> bool:
        take = await ours.newest()
        return take is not None and take.state is State.CONFIRMING

    async with running(ours) as (_, told):
        await until(frozen)
        await ours.approved()
        await until(lambda: _are(ours, 2))

        async def counted() -> bool:
            return gauge(told, "hub_reports", state="submitted") == 1

        await until(counted)
        # April's report runs, and is the next that is due.
        assert gauge(told, "hub_reports", state="open") == 1
        due = gauge(told, "hub_report_due_timestamp_seconds", regime="II.06")
        assert due == at("2026-04-26 00:00").timestamp()
        assert gauge(told, "hub_report_last_success_timestamp_seconds") == ours.clock().timestamp()
        assert (gauge(told, "hub_reports_looked_at_timestamp_seconds") or 0) > 0
    assert gauge(told, "hub_reports", state="submitted") == 0
    assert gauge(told, "hub_report_due_timestamp_seconds", regime="II.06") is None


async def _are(ours: Province, number: int) -> bool:
    return len(ours.topic.records) == number


async def test_of_two_services_one_works_and_the_other_takes_over(ours: Province) -> None:
    ours.clock.set("2026-02-20 08:00")
    async with running(ours, "one") as (first, _), running(ours, "two") as (second, _):

        async def one_waits() -> bool:
            return "another owner" in {first.waits_for, second.waits_for}

        await until(one_waits)
        owner, other = (first, second) if second.waits_for else (second, first)
        owner.stop()

        async def took_over() -> bool:
            return other.waits_for is None

        await until(took_over)
        ours.clock.set(AFTER_CUT_OFF)

        async def frozen() -> bool:
            return await ours.newest() is not None

        await until(frozen)
        await ours.approved()
        await until(lambda: _are(ours, 2))
    story = await ours.lane.read(lambda c: report_store.story(c, REPORT_ID))
    deeds = [one.action for one in story]
    assert [deeds.count(a) for a in (Action.OPEN, Action.FREEZE, Action.SUBMIT)] == [1, 1, 1]


class Interrupted:
    """Lets the n-th await of a turn raise, before or behind what was awaited."""

    def __init__(self, at_call: int, *, behind: bool) -> None:
        self.left = at_call
        self.behind = behind

    async def through(self, call: Callable[[], Awaitable[Any]]) -> Any:
        self.left -= 1
        if self.left == 0 and not self.behind:
            raise Died
        found = await call()
        if self.left == 0:
            raise Died
        return found


class InterruptedLane:
    def __init__(self, ours: Province, interrupted: Interrupted) -> None:
        self._lane = ours.lane
        self._interrupted = interrupted

    async def read(self, work: Any, **more: Any) -> Any:
        return await self._interrupted.through(lambda: self._lane.read(work, **more))

    async def write(self, work: Any, **more: Any) -> Any:
        return await self._interrupted.through(lambda: self._lane.write(work, **more))


class InterruptedTopic:
    def __init__(self, ours: Province, interrupted: Interrupted) -> None:
        self._topic = ours.topic
        self._interrupted = interrupted

    async def produce(self, records: list[Outgoing]) -> None:
        await self._interrupted.through(lambda: self._topic.produce(records))


@pytest.mark.parametrize("behind", [False, True])
async def test_killed_at_any_await_the_next_one_ends_what_was_begun(
    ours: Province, behind: bool
) -> None:
    """A report goes its whole way by turns that die at their 1st, 2nd, … await, then by whole ones."""
    for number in range(1, 200):
        interrupted = Interrupted(number, behind=behind)
        month = 2 + number // 4
        report_id = f"II.06/2026-{month:02d}/H12"
        if month > 11:
            break
        ours.clock.set(f"2026-{month:02d}-16 08:00")
        service, _ = ours.closing(
            "turns",
            lane=InterruptedLane(ours, interrupted),
            producer=InterruptedTopic(ours, interrupted),
        )
        fence = await ours.ledger.take_singleton("reporting", "turns")
        with suppress(Died):
            await service.turn(fence)
        if number % 4 == 0:
            await ours.turn()
        take = await ours.newest(report_id)
        if take is not None and take.state is State.CONFIRMING:
            await ours.approved(report_id)
    await ours.turn(2)
    reports = await ours.lane.read(report_store.all_reports)
    stood = await ours.lane.read(report_store.standings)
    ended = [one for one in reports if one.report_id in stood]
    assert len(ended) >= 8
    for report in ended:
        takes = await ours.lane.read(
            lambda c, report=report: report_store.takes(c, report.report_id)
        )  # type: ignore[misc]
        assert [(one.revision, one.take) for one in takes] == [(1, 1)]
        assert takes[0].known_at == report.cut_off_at
        story = await ours.lane.read(
            lambda c, report=report: report_store.story(c, report.report_id)
        )  # type: ignore[misc]
        deeds = [one.action for one in story]
        assert len(deeds) == len({(one.action, one.about) for one in story}), deeds
        if takes[0].state is State.SUBMITTED:
            published = {p.packet_id for p in await ours.packets(report.report_id)}
            on_kafka = [p for p in await packets_on_kafka(ours) if p.packet_id in published]
            assert {one.packet_id for one in on_kafka} == published
            assert len({(one.packet_id, one.sealed) for one in on_kafka}) == len(published)
    assert {t[0].state for t in stood.values()} >= {State.SUBMITTED}


async def test_while_the_ledger_is_away_it_waits_and_then_goes_on(ours: Province) -> None:
    ours.clock.set(AFTER_CUT_OFF)

    class Away:
        gone = True

        async def read(self, work: Any, **more: Any) -> Any:
            if self.gone:
                raise LedgerUnavailable("away")
            return await ours.lane.read(work, **more)

        async def write(self, work: Any, **more: Any) -> Any:
            return await ours.lane.write(work, **more)

    lane = Away()
    async with running(ours, lane=lane) as (service, _):

        async def waits() -> bool:
            return service.waits_for == "the ledger"

        await until(waits)
        lane.gone = False

        async def frozen() -> bool:
            return await ours.newest() is not None

        await until(frozen)


async def test_what_a_person_must_mend_pages_and_dossiers_are_none_the_worse(
    ours: Province,
) -> None:
    class Broken(type(ours.counted)):  # type: ignore[misc]
        async def refresh(self) -> bool:
            raise ValueError("a mistake of ours")

    ours.counted = Broken()
    async with running(ours) as (service, told):

        async def paged() -> bool:
            return service.waits_for == "a person"

        await until(paged)
        assert gauge(told, "hub_flow_state", flow="reporting", state="paged") == 1


# --- units -----------------------------------------------------------------------------------------------------


async def test_a_unit_that_objects_holds_the_report_up_until_that_is_settled(
    ours: Province, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ours.turn()
    ours.clock.set(AFTER_CUT_OFF)
    await ours.turn()
    desk = ours.desk()
    with pytest.raises(Refused) as unknown:
        await desk.object_to(REPORT_ID, "H12.01", "000-9", Objection.NOT_OURS, OFFICER)
    assert unknown.value.reason is Refusal.UNKNOWN_DOSSIER
    monkeypatch.setattr(report_store, "knows_dossier", lambda c, code: True)
    await desk.object_to(REPORT_ID, "H12.01", "000-1", Objection.NOT_OURS, OFFICER)
    with pytest.raises(Refused) as held:
        await desk.confirm(REPORT_ID, "H12.01", OFFICER)
    assert held.value.reason is Refusal.UNIT_OBJECTS
    await desk.confirm(REPORT_ID, "H12.02", OFFICER)
    with pytest.raises(Refused) as open_:
        await desk.verify(REPORT_ID, OFFICER, "gấp")
    assert open_.value.reason is Refusal.OBJECTIONS_OPEN
    for _ in range(2):
        await desk.settle(REPORT_ID, "H12.01", "000-1", Settlement.UNFOUNDED, HEAD)
    with pytest.raises(Refused) as settled:
        await desk.settle(REPORT_ID, "H12.01", "000-1", Settlement.CORRECTED, HEAD)
    assert settled.value.reason is Refusal.UNKNOWN_OBJECTION
    await desk.confirm(REPORT_ID, "H12.01", OFFICER)
    await desk.verify(REPORT_ID, OFFICER)
    assert (await ours.take()).state is State.VERIFIED


async def test_a_snapshot_taken_anew_cannot_be_approved_by_the_hash_of_the_old_one(
    ours: Province,
) -> None:
    await ours.turn()
    ours.clock.set(AFTER_CUT_OFF)
    await ours.turn()
    await ours.confirmed()
    old = (await ours.take()).snapshot_hash
    ours.counted.told.append(Told("d9", at("2026-03-16 07:00"), "H12.02", date(2026, 3, 1)))
    await ours.desk().revise(REPORT_ID, OFFICER, "thêm hồ sơ")
    await ours.confirmed()
    with pytest.raises(Refused) as refused:
        await ours.desk().approve(REPORT_ID, old, HEAD)
    assert refused.value.reason is Refusal.SNAPSHOT_CHANGED
    assert await ours.packets() == []


async def test_the_same_deed_of_the_same_person_again_is_no_error_and_no_second_row(
    ours: Province,
) -> None:
    await ours.turn()
    ours.clock.set(AFTER_CUT_OFF)
    await ours.turn()
    take = await ours.approved()
    await ours.desk().approve(REPORT_ID, take.snapshot_hash, HEAD)
    for _ in range(2):
        assert not await ours.desk().submit(REPORT_ID, HEAD)
    story = await ours.lane.read(lambda c: report_store.story(c, REPORT_ID))
    deeds = [one.action for one in story]
    assert (deeds.count(Action.APPROVE), deeds.count(Action.SUBMIT)) == (1, 1)


async def test_a_regime_that_nobody_can_count_yet_is_opened_and_waits(ours: Province) -> None:
    ours.clock.set("2026-02-20 08:00")
    ours.regimes = [regime(), regime(code="BC.9")]
    only = {"II.06": ours.fillings["II.06"]}
    service, _ = ours.closing("turns", fillings=only)
    fence = await ours.ledger.take_singleton("reporting", "turns")
    await service.turn(fence)
    ours.clock.set(AFTER_CUT_OFF)
    await service.turn(fence)
    assert await ours.newest("BC.9/2026-03/H12") is None
    assert await ours.newest() is not None
    assert replace(await _report(ours), regime="BC.9") in await ours.lane.read(
        report_store.all_reports
    )
