"""The figures are kept up to date by one process, judged by what the ledger holds and what a scrape reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import delete

from monitoring.events import Events
from monitoring.rates.live import BY_AGENCY
from schemas.ledger.model import LedgerUnavailable
from schemas.ledger.tables import figures
from schemas.registry import UnknownSchemaId
from streams.figures import Figures
from tests.unit.dossier.samples import at
from tests.unit.rates.counted import RULES, UNITS, Hall, Story, codes, hall
from tests.unit.streams.kit import RecordingLogger, events

NOW = at("2026-03-20 09:00")
SILENCE = 1.0
LABELS = ("rate", "period", "agency", "standing")
IN_TIME = (("received", "2026-03-02 09:00"), ("finished", "2026-03-05 10:00"))
LATE = (("received", "2026-03-02 09:00"), ("finished", "2026-03-09 10:00"))


@pytest.fixture
async def ours(tmp_path: Path) -> AsyncIterator[Hall]:
    async with hall(tmp_path) as opened:
        yield opened


@dataclass
class Running:
    """The service at work, and what a scrape of its process reads."""

    service: Figures
    told: Events
    task: asyncio.Task[None] = field(init=False)

    def scraped(self) -> dict[tuple[str, ...], float]:
        """Every sample of the rates, by the metric's name and its labels' values, the rate first."""
        text = self.told.metrics.render().decode()
        return {
            (sample.name, *(sample.labels[n] for n in LABELS if n in sample.labels)): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if family.name.startswith(("hub_rate", "hub_figures"))
        }

    async def until(self, name: str, value: float | None, *labels: str) -> None:
        async with asyncio.timeout(10):
            while self.scraped().get((name, *labels)) != value:
                await asyncio.sleep(0.01)


@dataclass
class Wall:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@asynccontextmanager
async def running(
    ours: Hall, owner: str = "one", *, wall: Callable[[], datetime] = lambda: NOW, **more: Any
) -> AsyncIterator[Running]:
    told = events(RecordingLogger())
    arguments: dict[str, Any] = {
        "ledger": ours.ledger,
        "lane": ours.lane,
        "decode": ours.decode,
        "rules": lambda: RULES,
        **more,
    }
    service = Figures(
        owner=owner,
        events=told,
        wall=wall,
        silence=SILENCE,
        pause=0.01,
        count_every=0.02,
        **arguments,
    )
    run = Running(service, told)
    run.task = asyncio.create_task(service.run())
    try:
        yield run
    finally:
        service.stop()
        await run.task


async def test_a_dossier_that_comes_stands_in_the_rates(ours: Hall) -> None:
    async with running(ours) as at_work:
        await ours.put(*Story("a", IN_TIME).events(), *Story("b", LATE, unit=UNITS[1]).events())
        await at_work.until("hub_rate_denominator", 2, "on_time", "this_month")
        await at_work.until("hub_rate_numerator", 1, "on_time", "this_month")
        await at_work.until("hub_rate_ratio", 1, "on_time", UNITS[0])
        await at_work.until("hub_rate_ratio", 0, "on_time", UNITS[1])
        await at_work.until("hub_figures", 2, "reckoned")
        await at_work.until("hub_figures", 0, "due")
    assert await ours.standings() == {"reckoned": 2}


async def test_last_month_is_told_and_follows_a_correction(ours: Hall) -> None:
    april = Wall(at("2026-04-02 09:00"))
    story = Story("a", LATE)
    await ours.put(*story.events())
    async with running(ours, wall=april) as at_work:
        await at_work.until("hub_rate_numerator", 0, "on_time", "last_month")
        await at_work.until("hub_rate_denominator", 1, "on_time", "last_month")
        extended = replace(story, steps=(*LATE, ("returned", "2026-03-09 11:00")))
        newest = extended.events()[-1]
        await ours.put(replace(newest, times=replace(newest.times, due=at("2026-03-10 17:00"))))
        await at_work.until("hub_rate_numerator", 1, "on_time", "last_month")


async def test_an_unknown_rate_has_no_sample(ours: Hall) -> None:
    await ours.put(*Story("a", IN_TIME).events())
    async with running(ours) as at_work:
        await at_work.until("hub_rate_denominator", 1, "on_time", "this_month")
        rates = {labels[1] for labels in at_work.scraped() if labels[0] == "hub_rate_numerator"}
    assert "on_time" in rates
    assert not rates & {"DOSSIER_SYNC", "DOSSIER_RECEIVING_SATISFACTION", "PUBLISH_ON_TIME"}


async def test_other_mappings_make_every_dossier_due(ours: Hall) -> None:
    await ours.put(*Story("a", IN_TIME, unit="H12.77").events())
    rules = [RULES]
    async with running(ours, rules=lambda: rules[-1]) as at_work:
        await at_work.until("hub_rate_denominator", 1, "on_time", "this_month")
        assert ("hub_rate_ratio", "on_time", "H12.77") not in at_work.scraped()
        rules.append(replace(RULES, codes=codes(("H12.77",), version=2)))
        await at_work.until("hub_rate_ratio", 1, "on_time", "H12.77")


async def test_at_night_what_moved_on_unmarked_is_found(ours: Hall) -> None:
    await ours.put(*Story("a", IN_TIME).events())
    wall = Wall()
    async with running(ours, wall=wall) as at_work:
        await at_work.until("hub_rate_denominator", 1, "on_time", "this_month")
        # As code that knows no figures would have left it.
        await ours.lane.write(lambda c: c.execute(delete(figures)))
        await at_work.until("hub_rate_denominator", 0, "on_time", "this_month")
        assert not (await ours.standings()).get("due")
        wall.now += timedelta(days=1)
        await at_work.until("hub_rate_denominator", 1, "on_time", "this_month")


async def test_one_process_tells_the_rates_and_another_takes_over(ours: Hall) -> None:
    await ours.put(*Story("a", IN_TIME).events())
    async with running(ours, "one") as first, running(ours, "two") as second:
        await first.until("hub_rate_denominator", 1, "on_time", "this_month")
        await _waits(second, "another owner")
        assert not {labels for labels in second.scraped() if labels[0] == "hub_rate_numerator"}
        first.service.stop()
        await first.task
        assert not {labels for labels in first.scraped() if labels[0] == "hub_rate_numerator"}
        assert first.scraped()["hub_rates_counted_timestamp_seconds",] == 0
        await second.until("hub_rate_denominator", 1, "on_time", "this_month")
        assert second.scraped()["hub_rates_counted_timestamp_seconds",] == NOW.timestamp()


async def _waits(run: Running, what: str | None) -> None:
    async with asyncio.timeout(10):
        while run.service.waits_for != what:
            await asyncio.sleep(0.01)


class Lane:
    """A lane that can be taken away."""

    def __init__(self, lane: Any) -> None:
        self.lane = lane
        self.away = True

    async def read(self, work: Any, **more: Any) -> Any:
        return await self._do(self.lane.read, work, **more)

    async def write(self, work: Any, **more: Any) -> Any:
        return await self._do(self.lane.write, work, **more)

    async def _do(self, do: Callable[..., Awaitable[Any]], work: Any, **more: Any) -> Any:
        if self.away:
            raise LedgerUnavailable("away")
        return await do(work, **more)


async def test_while_the_ledger_is_away_it_waits_and_then_goes_on(
    ours: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.figures._TROUBLE_SECONDS", 0.01)
    await ours.put(*Story("a", IN_TIME).events())
    lane = Lane(ours.lane)
    async with running(ours, lane=lane) as at_work:
        await _waits(at_work, "the ledger")
        lane.away = False
        await at_work.until("hub_rate_denominator", 1, "on_time", "this_month")
        assert at_work.service.waits_for is None


async def test_what_a_person_must_mend_pages_and_takes_the_rates_away(ours: Hall) -> None:
    await ours.put(*Story("a", IN_TIME).events())
    async with running(ours) as at_work:
        await at_work.until("hub_rate_denominator", 1, "on_time", "this_month")

        async def unknown(payload: bytes) -> Any:
            raise UnknownSchemaId(77)

        at_work.service._decode = unknown
        await ours.put(*Story("b", IN_TIME).events())
        await _waits(at_work, "a person")
        assert not {labels for labels in at_work.scraped() if labels[0] == "hub_rate_numerator"}
    assert (await ours.standings())["due"] == 1, "it is reckoned when the schema is known"


async def test_the_series_of_a_large_province_are_few(ours: Hall) -> None:
    units = [f"H12.{number}" for number in range(100, 250)]
    for unit in units:
        await ours.put(*Story(f"a{unit}", IN_TIME, unit=unit).events())
    rules = replace(RULES, codes=codes(units))
    async with running(ours, rules=lambda: rules) as at_work:
        await at_work.until("hub_rate_denominator", len(units), "on_time", "this_month")
        text = at_work.told.metrics.render().decode()
        ratios = {labels[1] for labels in at_work.scraped() if labels[0] == "hub_rate_ratio"}
    assert ratios <= set(BY_AGENCY)
    assert "on_time" in ratios
    series = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(series) < 2000
