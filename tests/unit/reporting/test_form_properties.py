"""Form II.06 balances over any year of lives, and what was known once can be counted again for ever."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from schemas.ledger.report_spans import kept
from schemas.ledger.tables import report_spans
from schemas.records import DossierEvent
from schemas.reports.form import (
    Column,
    Ended,
    Figures,
    FormTable,
    Held,
    RowKey,
    Treatment,
    Undated,
    columns_of,
)
from schemas.reports.periods import Window
from streams.reporting.form_counts import stand_of, standing_at
from streams.reporting.form_differences import Difference
from tests.unit.rates.counted import hall
from tests.unit.reporting.followed import LATEST, USUAL, Office
from tests.unit.reporting.office_life import Dossier, dossiers, in_order, mixed, walked, windows

FEW = settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])

WINDOWS = windows()
_WINDOW = st.sampled_from(WINDOWS)
_AFTER = st.integers(0, 24 * 60).map(lambda hours: timedelta(hours=hours))


@asynccontextmanager
async def office_with(
    batches: Sequence[Sequence[DossierEvent]], *, between: bool = False
) -> AsyncIterator[Office]:
    """A ledger in which these were taken in and followed: after each batch, or once at the end."""
    with tempfile.TemporaryDirectory() as folder:
        async with hall(Path(folder)) as opened:
            office = Office(opened)
            for batch in batches:
                await office.put(*batch)
                if between:
                    await office.follow_all(limit=2)
            await office.follow_all()
            yield office


def moments(found: Sequence[Dossier], window: Window, after: timedelta) -> list[datetime]:
    """When to ask about a window: after its end, and when everything is known."""
    ended = window.begins_at + (window.last - window.first) + timedelta(days=1)
    return [ended + after, LATEST]


@FEW
@given(dossiers(), _AFTER)
def test_every_table_of_the_year_balances_and_counts_what_the_days_say(
    found: list[Dossier], after: timedelta
) -> None:
    async def balance() -> None:
        async with office_with([in_order(found)]) as office:
            for window in WINDOWS:
                for known_at in moments(found, window, after):
                    table = await office.count(window, known_at)
                    assert table.broken_identities() == []
                    _same_as_walked(found, window, known_at, table)

    asyncio.run(balance())


def _same_as_walked(
    found: Sequence[Dossier], window: Window, known_at: datetime, table: FormTable
) -> None:
    expected: Counter[tuple[str, str]] = Counter()
    for one in found:
        known = one.known_by(known_at)
        way = walked(known, window)
        if known is None or way is None:
            continue
        expected[known.unit, "c3"] += 1
        expected[known.unit, "c4"] += way.received_in and known.channel == "online"
        expected[known.unit, "c5"] += way.received_in and known.channel != "online"
        expected[known.unit, "c6"] += way.carried_in
        expected[known.unit, "c7"] += way.left_in
        expected[known.unit, "c11"] += way.still_in
    for agency, figures in table.by_agency().items():
        for column in ("c3", "c4", "c5", "c6", "c7", "c11"):
            assert figures.of(Column(column)) == expected[agency, column], (window, agency, column)
    assert sum(figures.c3 for figures in table.by_agency().values()) == sum(
        count for (_, column), count in expected.items() if column == "c3"
    )


@FEW
@given(dossiers(), _WINDOW, _AFTER)
def test_a_closed_period_counted_again_gives_the_frozen_figures(
    found: list[Dossier], window: Window, after: timedelta
) -> None:
    async def freeze_and_count_again() -> None:
        known_at = moments(found, window, after)[0]
        told = in_order(found)
        by_then = [event for event in told if event.recorded_at <= known_at]
        async with office_with([by_then]) as office:
            frozen = await office.count(window, known_at)
            await office.put(*(event for event in told if event.recorded_at > known_at))
            await office.follow_all()
            assert await office.count(window, known_at) == frozen
            now = await office.count(window, LATEST)
            changed = await office.differences(known_at, LATEST, window)
            assert _plus(frozen, changed) == {k: v for k, v in now.rows.items() if v != Figures()}

    asyncio.run(freeze_and_count_again())


def _plus(frozen: FormTable, changed: Sequence[Difference]) -> dict[RowKey, Figures]:
    """The frozen rows with what a revision changes in them."""
    counted: Counter[tuple[RowKey, Column]] = Counter()
    for key, figures in frozen.rows.items():
        for column in Column:
            counted[key, column] += figures.of(column)
    for one in changed:
        for side, sign in ((one.was, -1), (one.now, 1)):
            if side is not None:
                counted.update({(side.row, column): sign for column in side.columns})
    keys = {key for (key, _), count in counted.items() if count}
    return {key: Figures(**{c.value: counted[key, c] for c in Column}) for key in keys}


@FEW
@given(dossiers(), st.randoms(use_true_random=False))
def test_when_and_in_what_order_dossiers_are_followed_makes_no_difference(
    found: list[Dossier], chance: random.Random
) -> None:
    async def rows(batches: Sequence[Sequence[DossierEvent]], between: bool) -> list[object]:
        async with office_with(batches, between=between) as office:
            query = select(report_spans).order_by(
                report_spans.c.dossier_id, report_spans.c.known_from, report_spans.c.begun_on
            )
            read = await office.hall.lane.read(lambda c: c.execute(query).all())
            return [tuple(row) for row in read]

    once = asyncio.run(rows([in_order(found)], between=False))
    assert asyncio.run(rows(mixed(found, chance), between=True)) == once


@FEW
@given(dossiers(), st.integers(0, len(WINDOWS) - 2), _AFTER, _AFTER)
def test_what_is_left_is_carried_over_and_what_changed_since_is_named(
    found: list[Dossier], place: int, frozen_after: timedelta, then: timedelta
) -> None:
    async def carry() -> None:
        earlier, later = list(pairwise(WINDOWS))[place]
        frozen_at = moments(found, earlier, frozen_after)[0]
        known_at = max(frozen_at, moments(found, later, then)[0])
        async with office_with([in_order(found)]) as office:
            frozen = await office.count(earlier, frozen_at)
            carried = await office.carried_over(frozen, known_at, earlier, later)
            assert carried.holds
            assert carried.is_explained
            assert carried.odd == ()

    asyncio.run(carry())


_TREATMENTS = st.builds(
    Treatment,
    supplement=st.sampled_from([Held.IN_TIME, Held.BY_DATE]),
    paused=st.sampled_from(Held),
    payment=st.sampled_from([Held.IN_TIME, Held.BY_DATE]),
    withdrawn=st.sampled_from(Ended),
    stopped=st.sampled_from(Ended),
    refused=st.sampled_from(Ended),
    no_channel=st.sampled_from([Column.C4, Column.C5]),
    no_due=st.sampled_from(Undated),
)


@FEW
@given(dossiers(), _WINDOW, _TREATMENTS)
def test_the_ledger_counts_a_dossier_as_the_form_says_under_any_treatment(
    found: list[Dossier], window: Window, treatment: Treatment
) -> None:
    async def agree() -> None:
        async with office_with([in_order(found)]) as office:
            query = select(report_spans).where(*standing_at(report_spans, window, LATEST))
            rows = await office.hall.lane.read(lambda c: c.execute(query).all())
            for column in Column:
                expected = sorted(
                    row.dossier_id
                    for row in rows
                    if column in columns_of(stand_of(row), window, treatment)
                )
                assert await office.members({column}, window, LATEST, treatment) == expected
            table = await office.count(window, LATEST, treatment)
            assert table.broken_identities() == []
            listed = await office.members(set(Column), window, LATEST, treatment)
            assert table.total().c3 == len(listed)

    asyncio.run(agree())


@FEW
@given(dossiers())
def test_a_row_that_counts_is_found_by_the_day_until_which_it_matters(
    found: list[Dossier],
) -> None:
    async def matters() -> None:
        async with office_with([in_order(found)]) as office:
            rows = await office.hall.lane.read(lambda c: c.execute(select(report_spans)).all())
            for row in rows:
                assert row.matters_until == kept(row).matters_until
                for window in WINDOWS:
                    counts = columns_of(stand_of(row), window, USUAL)
                    asked = row.begun_on <= window.last < row.ended_on
                    if counts and asked and row.known_until > window.begins_at:
                        assert row.matters_until >= window.first

    asyncio.run(matters())
