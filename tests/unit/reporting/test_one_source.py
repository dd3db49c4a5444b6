"""What the report says was received and what the rate of synchronisation is divided by: one ledger, one count.

The law couples the two (the denominator is the larger one), so they must agree dossier by dossier. Where they
rightly differ is named here, and nowhere else do they.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from monitoring.rates.periods import parse_period
from schemas.records import Channel
from schemas.reports.periods import Window
from tests.unit.rates.counted import RULES as RATES_RULES
from tests.unit.rates.counted import Story, hall
from tests.unit.reporting.followed import LATEST, MARCH, Office, rolled_back
from tests.unit.reporting.office_life import Dossier, dossiers, in_order

MONDAY = ("received", "2026-03-02 09:00")
SUBMITTED = ("submitted", "2026-03-01 09:00")


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with hall(tmp_path) as opened:
        yield Office(opened)


async def received(office: Office, month: str, window: Window) -> tuple[set[str], set[str]]:
    """Received in the month: by the rates, and by the form."""
    while await office.hall.refresh(RATES_RULES):
        pass
    await office.follow_all()
    rates = await office.hall.dossiers("received_in_period", month)
    form = await office.members("c4 c5", window, LATEST)
    return {one.dossier_id for one in rates}, set(form)


ALIKE = [
    Story("online", (MONDAY,), state={"channel": Channel.ONLINE}),
    Story("post", (MONDAY,), state={"channel": Channel.POSTAL}),
    Story("no channel", (MONDAY,)),
    Story("no mapping", (MONDAY,), unit="H99"),
    Story("finished", (MONDAY, ("finished", "2026-03-05 10:00"))),
    Story("waiting", (MONDAY, ("supplement_requested", "2026-03-05 10:00"))),
    Story("withdrawn", (MONDAY, ("withdrawn", "2026-03-05 10:00"))),
    Story("paused", (MONDAY, ("paused", "2026-03-05 10:00"))),
    Story("refused later", (MONDAY, ("refused", "2026-03-05 10:00"))),
    Story("unmapped", (MONDAY, ("strange", "2026-03-05 10:00"))),
    Story("last minute", (("received", "2026-03-31 23:59"),)),
    Story("undated", (("processing", "2026-03-02 09:00"),), received=None),
    Story("before", (("received", "2026-02-28 23:59"),)),
    Story("after", (("received", "2026-04-01 00:00"),)),
    Story("registered", (SUBMITTED,)),
]


async def test_received_in_a_month_are_the_same_dossiers_for_the_rate_and_for_the_report(
    office: Office,
) -> None:
    for story in ALIKE:
        await office.put(*story.events())
    rates, form = await received(office, "2026-03", MARCH)
    assert rates == form
    names = {story.name for story in ALIKE}
    assert names - form == {"undated", "before", "after", "registered"}
    counted = await office.hall.count("2026-03")
    table = await office.count(MARCH, LATEST)
    by_unit = {unit.agency or "": unit.shown["received_in_period"] for unit in counted.units}
    by_agency = {code: row.c4 + row.c5 for code, row in table.by_agency().items()}
    assert {unit: n for unit, n in by_unit.items() if n} == by_agency


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param((SUBMITTED,), id="the rate goes by the field NgayTiepNhan alone"),
        pytest.param(
            (SUBMITTED, ("refused", "2026-03-02 09:00")), id="also of what was refused at reception"
        ),
    ],
)
async def test_only_the_rate_counts_a_time_of_reception_before_the_reception(
    office: Office, steps: tuple[tuple[str, str], ...]
) -> None:
    await office.put(*Story("a", steps, received="2026-03-01 09:00").events())
    assert await received(office, "2026-03", MARCH) == ({"a"}, set())


async def test_only_the_rate_counts_a_reception_that_was_taken_back(office: Office) -> None:
    """At the portal a step stays told; the office has not received the dossier."""
    first, second = Story("a", (SUBMITTED, MONDAY)).events()
    back = rolled_back(second, "submitted", "2026-03-03 09:00", 1)
    await office.put(first, second, replace(back, times=replace(back.times, received=None)))
    assert await received(office, "2026-03", MARCH) == ({"a"}, set())


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(dossiers())
def test_nothing_else_is_counted_by_one_of_them_only(found: list[Dossier]) -> None:
    async def agree() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with hall(Path(folder)) as opened:
                office = Office(opened)
                await office.put(*in_order(found))
                taken_back = {
                    one.name
                    for one in found
                    if one.known[-1].received is None and not one.known[-1].gone
                }
                for month in range(1, 13):
                    window = month_of(month)
                    rates, form = await received(office, f"2026-{month:02}", window)
                    assert rates - form <= taken_back
                    assert form <= rates

    asyncio.run(agree())


def month_of(month: int) -> Window:
    period = parse_period(f"2026-{month:02}")
    assert period is not None
    return Window(period.first, period.last)
