"""Form II.06 through the whole life of a report: real counting, real packets, on SQLite."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from schemas.codec import Codec
from schemas.ledger import report_outbox, report_store
from schemas.records import DossierEvent
from schemas.registry import LocalRegistry
from schemas.reports import packets, snapshots
from schemas.reports.form import Treatment
from schemas.reports.states import State
from streams.reporting.counting import Behind, Filling
from streams.reporting.form_filling import FormFilling
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


class Real(Province):
    """A province whose dossiers are those of the ledger."""

    real: FormFilling

    @property
    def fillings(self) -> dict[str, Filling]:
        return {"II.06": Filling(self.real, self.real)}
