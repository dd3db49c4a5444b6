"""What is counted depends on what happened, not on how it was told; and it adds up."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, update

from monitoring.rates.dossier_counts import Counted, Scope
from monitoring.rates.reckoning import life
from schemas.dossier.status import Status
from schemas.dossier.timeline import Comparison, end
from schemas.dossier.timeliness import IN_TIME, Verdict, judge
from schemas.ledger import figures
from schemas.ledger.tables import dossiers, verdict_spans
from schemas.ledger.tables import figures as figures_table
from schemas.records import DossierEvent
from tests.unit.dossier.samples import CALENDAR, VIET_NAM
from tests.unit.rates.counted import RULES, UNITS, Hall, Story, hall, span_of

PERIODS = ("2026-02", "2026-03", "2026-Q1", "2026")
FIRST = datetime(2026, 2, 20, 1, tzinfo=UTC)

FEW = settings(max_examples=20, deadline=None)


def _when(minutes: int) -> str:
    moment = (FIRST + timedelta(minutes=minutes)).astimezone(VIET_NAM)
    return moment.strftime("%Y-%m-%d %H:%M")


_MINUTES = st.integers(0, 60 * 24 * 50)
_STEPS = st.lists(st.tuples(st.sampled_from([s.value for s in Status]), _MINUTES), max_size=5)


@st.composite
def _stories(draw: st.DrawFn) -> list[Story]:
    stories: list[Story] = []
    for number in range(draw(st.integers(1, 5))):
        begun = draw(_MINUTES)
        steps = sorted(draw(_STEPS), key=lambda step: step[1])
        due = draw(st.none() | _MINUTES)
        stories.append(
            Story(
                f"d{number}",
                (
                    ("received", _when(begun)),
                    *((status, _when(begun + after + 1)) for status, after in steps),
                ),
                due=None if due is None else _when(begun + due),
                unit=draw(st.sampled_from(UNITS)),
            )
        )
    return stories


async def _all_counts(ours: Hall) -> dict[str, Counted]:
    while await ours.refresh():
        pass
    return {period: await ours.count(period) for period in PERIODS}


async def _told(events: Sequence[Sequence[DossierEvent]], *, between: bool) -> dict[str, Counted]:
    """The counts after these batches; `between`: refreshed after each of them."""
    with tempfile.TemporaryDirectory() as folder:
        async with hall(Path(folder)) as ours:
            for batch in events:
                await ours.put(*batch)
                if between:
                    await ours.refresh(limit=2)
            return await _all_counts(ours)


@FEW
@given(_stories(), st.randoms(use_true_random=False))
def test_the_order_and_number_of_tellings_change_nothing(
    stories: list[Story], chance: random.Random
) -> None:
    lives = [story.events() for story in stories]
    once = [[event for told in lives for event in told]]
    assert asyncio.run(_told(once, between=False)) == asyncio.run(
        _told(_mixed(lives, chance), between=True)
    )


def _mixed(
    lives: Sequence[Sequence[DossierEvent]], chance: random.Random
) -> list[list[DossierEvent]]:
    """In batches, dossiers mixed, some events told again, at once or after any number of commits.

    Across dossiers any order. Within one the first tellings keep that of its readings: it is the log's, for a
    dossier is Kafka's key, so that all its events stand in one partition.
    """
    waiting = [list(told) for told in lives]
    batches: list[list[DossierEvent]] = [[]]
    so_far: list[DossierEvent] = []
    while any(waiting):
        told = chance.choice([one for one in waiting if one])
        so_far.append(told.pop(0))
        batches[-1].append(so_far[-1])
        if chance.random() < 0.4:
            batches[-1].append(chance.choice(so_far))
        if chance.random() < 0.3:
            batches.append([])
    return [batch for batch in batches if batch]


@FEW
@given(_stories())
def test_figures_that_were_thrown_away_come_back_the_same(stories: list[Story]) -> None:
    async def before_and_after() -> tuple[dict[str, Counted], dict[str, Counted]]:
        with tempfile.TemporaryDirectory() as folder:
            async with hall(Path(folder)) as ours:
                await ours.put(*(event for story in stories for event in story.events()))
                before = await _all_counts(ours)
                for statement in (
                    delete(figures_table),
                    delete(verdict_spans),
                    update(dossiers).values(figures_due=True),
                ):
                    await ours.lane.write(lambda c, one=statement: c.execute(one))
                return before, await _all_counts(ours)

    before, after = asyncio.run(before_and_after())
    assert before == after


@FEW
@given(_stories())
def test_counts_are_what_the_judgement_says_of_each_dossier(stories: list[Story]) -> None:
    async def counted_and_judged() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with hall(Path(folder)) as ours:
                await ours.put(*(event for story in stories for event in story.events()))
                waiting = await ours.lane.read(lambda c: figures.due(c, 100))
                lives = []
                for one in waiting:
                    states = [(at, await ours.decode(payload)) for at, payload in one.payloads]
                    lives.append(life(one, states, RULES.codes))
                for period, counted in (await _all_counts(ours)).items():
                    start, until = span_of(period)
                    last = until - timedelta.resolution
                    expected: Counter[str] = Counter()
                    for timeline in lives:
                        judged = judge(
                            timeline,
                            as_of=last,
                            comparison=Comparison.TIMESTAMP,
                            calendar=CALENDAR,
                        ).verdict
                        ended = end(timeline.until(last), pause_ends=True)
                        over = ended is not None and ended.at < start
                        if judged is Verdict.NOT_RECEIVED or over:
                            continue
                        expected["received_and_carried_over"] += 1
                        expected["on_time_or_within_time"] += judged in IN_TIME
                        expected["finished"] += ended is not None
                        expected["finished_on_time"] += ended is not None and judged in IN_TIME
                        expected["open"] += ended is None
                        expected["open_within_time"] += ended is None and judged in IN_TIME
                    for name in (
                        "received_and_carried_over",
                        "on_time_or_within_time",
                        "finished",
                        "finished_on_time",
                        "open",
                        "open_within_time",
                    ):
                        assert counted.total.shown[name] == expected[name], (period, name)

    asyncio.run(counted_and_judged())


@FEW
@given(_stories(), st.sampled_from(PERIODS))
def test_units_counted_alone_add_up_and_every_count_opens_down_to_its_dossiers(
    stories: list[Story], period: str
) -> None:
    async def add_up() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with hall(Path(folder)) as ours:
                await ours.put(*(event for story in stories for event in story.events()))
                whole = (await _all_counts(ours))[period].total
                alone = [(await ours.count(period, Scope(agencies={unit}))).total for unit in UNITS]
                for name, counted in whole.shown.items():
                    if counted is None:
                        continue
                    assert counted == sum(_number(unit.shown[name]) for unit in alone), name
                    listed = Counter(one.counts for one in await ours.dossiers(name, period))
                    assert listed == +Counter({True: counted, None: whole.unknown.get(name, 0)}), (
                        name
                    )

    asyncio.run(add_up())


def _number(count: object) -> int:
    assert isinstance(count, int)
    return count
