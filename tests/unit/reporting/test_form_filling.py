"""Form II.06 through the whole life of a report: real counting, real packets, on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from schemas.codec import Codec
from schemas.ledger import report_outbox, report_store
from schemas.records import DossierEvent
from schemas.registry import LocalRegistry
from schemas.reports import packets, snapshots
from schemas.reports.form import Treatment
from schemas.reports.states import State
from streams.reporting import commands
from streams.reporting.counting import Behind, Filling
from streams.reporting.form_filling import FormFilling
from streams.reporting.life import Refusal, Refused
from streams.reporting.overview import overview
from streams.reporting.wiring import Office
from tests.unit.dossier.samples import at
from tests.unit.rates.counted import RULES, Story, hall
from tests.unit.reporting.world import OFFICER, REPORT_ID, Clock, Counted, Province

CUT_OFF = at("2026-03-15 00:00")


def recorded(story: Story, when: str) -> list[DossierEvent]:
    """Its events, each recorded a minute after the one before."""
    begin = at(when)
    return [
        replace(event, recorded_at=begin + timedelta(minutes=number))
        for number, event in enumerate(story.events())
    ]


async def test_a_late_dossier_changes_the_next_revision_and_nothing_that_was_sent(
    tmp_path: Path,
) -> None:
    async with hall(tmp_path) as ours:
        told = {
            "open": Story("open", (("received", "2026-03-02 09:00"),), due="2026-03-30 17:00"),
            "done": Story(
                "done", (("received", "2026-03-02 09:00"), ("finished", "2026-03-05 10:00"))
            ),
        }
        for story in told.values():
            await ours.put(*recorded(story, "2026-03-06 08:00"))
        counting = FormFilling(ours.lane, ours.decode, lambda: RULES.codes, Treatment())
        codec = Codec(LocalRegistry())
        await codec.prepare()
        there = Real(
            ledger=ours.ledger,
            lane=ours.lane,
            counted=Counted(),
            clock=Clock(at("2026-02-20 08:00")),
            codec=codec,
        )
        there.real = counting
        await there.turn()
        there.clock.set("2026-03-16 08:00")
        await there.turn(3)
        take = await there.take()
        frozen = await there.content(take)
        assert take.imbalances == ()
        columns = dict(
            zip(snapshots.read(frozen).columns, snapshots.read(frozen).total(), strict=True)
        )
        assert (columns["c3"], columns["c5"], columns["c7"], columns["c11"]) == (2, 2, 1, 1)
        members = await counting.members(snapshots.read(frozen), Behind(column="c11"), None, 10)
        assert [one.dossier_id for one in members] == ["open"]
        await there.sent()
        kept = await there.packets()
        contents = [packets.read(one.content) for one in kept]
        assert [type(one) for one in contents] == [packets.Figures, packets.Figures]
        late = Story("late", (("received", "2026-03-03 09:00"),), due="2026-03-30 17:00")
        await ours.put(*recorded(late, "2026-03-17 08:00"))
        there.clock.set("2026-03-18 08:00")
        await there.turn(3)
        draft = (await there.lane.read(report_store.drafts))[REPORT_ID]
        assert [one.dossier_id for one in draft.changes] == ["late"]
        assert await there.desk().revise(REPORT_ID, OFFICER, "hồ sơ đến muộn") == (2, 1)
        second = snapshots.read(await there.content(await there.take()))
        assert second.total()[0] == 3
        assert await there.content(take) == frozen
        again = await counting.count(
            (await there.lane.read(lambda c: report_store.report_of(c, REPORT_ID))),  # type: ignore[arg-type]
            take.known_at,
            None,
        )
        assert again.snapshot.content() == frozen
        stood = (await there.lane.read(report_store.standings))[REPORT_ID]
        assert [one.state for one in stood] == [State.CONFIRMING, State.SUBMITTED]
        assert await there.lane.read(lambda c: report_outbox.owed(c, 10)) == []


async def test_whoever_looks_between_cut_off_and_freezing_takes_nothing_from_the_figures(
    tmp_path: Path,
) -> None:
    async with real(tmp_path) as there:
        await there.turn()
        there.clock.set("2026-03-15 00:05")
        told = await there.lane.read(lambda c: overview(c, REPORT_ID, jump_percent=100))
        office = Office(lane=there.lane, reference=None, fillings=there.fillings)  # type: ignore[arg-type] # not asked for
        seen = await commands._frozen_or_now(office, told)
        assert seen.total()[0] == 0
        under_way = Story("late", (("received", "2026-03-14 23:50"),), due="2026-03-30 17:00")
        await there.put(*recorded(under_way, "2026-03-14 23:58"))
        there.clock.set("2026-03-15 00:20")
        await there.turn(3)
        assert snapshots.read(await there.content(await there.take())).total()[0] == 1


async def test_nothing_is_taken_anew_while_another_report_is_still_to_be_frozen(
    tmp_path: Path,
) -> None:
    async with real(tmp_path) as there:
        await there.turn()
        there.clock.set("2026-03-16 08:00")
        await there.turn(3)
        there.clock.set("2026-04-15 00:05")
        with pytest.raises(Refused) as refused:
            await there.desk().revise(REPORT_ID, OFFICER, "hồ sơ đến muộn")
        assert (refused.value.reason, refused.value.about) == (
            Refusal.FREEZE_FIRST,
            "II.06/2026-04/H12",
        )
        under_way = Story("late", (("received", "2026-04-14 23:50"),), due="2026-04-30 17:00")
        await there.put(*recorded(under_way, "2026-04-14 23:58"))
        there.clock.set("2026-04-15 00:20")
        await there.turn(3)
        april = await there.take("II.06/2026-04/H12")
        assert snapshots.read(await there.content(april)).total()[0] == 1
        assert await there.desk().revise(REPORT_ID, OFFICER, "hồ sơ đến muộn") == (1, 2)


async def test_nothing_is_taken_anew_while_events_are_still_to_be_read(tmp_path: Path) -> None:
    async with real(tmp_path) as there:
        await there.turn()
        there.clock.set("2026-03-16 08:00")
        await there.turn(3)
        late = Story("late", (("received", "2026-03-03 09:00"),), due="2026-03-30 17:00")
        await there.put(*recorded(late, "2026-03-16 07:00"))
        with pytest.raises(Refused) as refused:
            await there.desk().revise(REPORT_ID, OFFICER, "hồ sơ đến muộn")
        assert refused.value.reason is Refusal.FIGURES_BEHIND
        await there.turn(3)
        assert await there.desk().revise(REPORT_ID, OFFICER, "hồ sơ đến muộn") == (1, 2)
        assert snapshots.read(await there.content(await there.take())).total()[0] == 1


@asynccontextmanager
async def real(folder: Path) -> AsyncIterator[Real]:
    """A province without dossiers, whose form is really counted."""
    async with hall(folder) as ours:
        codec = Codec(LocalRegistry())
        await codec.prepare()
        there = Real(
            ledger=ours.ledger,
            lane=ours.lane,
            counted=Counted(),
            clock=Clock(at("2026-02-20 08:00")),
            codec=codec,
        )
        there.real = FormFilling(ours.lane, ours.decode, lambda: RULES.codes, Treatment())
        there.put = ours.put
        yield there


class Real(Province):
    """A province whose dossiers are those of the ledger."""

    real: FormFilling
    put: Callable[..., Awaitable[None]]

    @property
    def fillings(self) -> dict[str, Filling]:
        return {"II.06": Filling(self.real, self.real)}
