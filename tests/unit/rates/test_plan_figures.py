"""The plan's goals that dossiers feed: by quarter and year, and unknown where the levels are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from monitoring.rates.dossier_counts import Scope
from monitoring.rates.plan import Standing, packaged, scoreboard
from monitoring.rates.plan_figures import SOURCE, PlanFigures, plan_figures
from schemas.dossier.service_levels import NO_LEVELS, ServiceLevels, parse_service_levels
from schemas.dossier.working_calendar import civil_day
from schemas.ledger.model import Known
from schemas.ledger.tables import dossier_target
from schemas.records import Channel, Procedure
from tests.unit.dossier.samples import at
from tests.unit.rates.counted import UNITS, Hall, Story, hall

HEADING = "code,level,valid_from,valid_to,result,fee,source\n"
LEVELS = parse_service_levels(
    HEADING
    + "1.000001,full,,,,,QĐ giả định\n"
    + "1.000002,full,,,,,QĐ giả định\n"
    + "1.000003,partial,,2026-04-01,,,QĐ giả định\n"
    + "1.000003,full,2026-04-01,,,,QĐ giả định\n",
    "procedures.csv",
)
NOW = at("2026-05-10 10:00")
ON_PORTAL, ONLINE, LEVEL_4 = (
    "full_process_services",
    "channelOnlineSum/channelTotalSum",
    "fullCount/authorityCount",
)


@pytest.fixture
async def ours(tmp_path: Path) -> AsyncIterator[Hall]:
    async with hall(tmp_path) as opened:
        yield opened


async def put(
    ours: Hall,
    name: str,
    procedure: str,
    *,
    received: str = "2026-02-02 09:00",
    online: bool = False,
    held: bool = False,
    unit: str = UNITS[0],
) -> None:
    state: dict[str, Any] = {
        "channel": Channel.ONLINE if online else Channel.DIRECT,
        "procedure": Procedure(local_code=procedure, national_code=None, name=None, version=None),
    }
    await ours.put(*Story(name, (("received", received),), unit=unit, state=state).events())
    if held:
        present = (
            update(dossier_target)
            .where(dossier_target.c.dossier_id == name)
            .values(known=Known.PRESENT.value)
        )
        await ours.lane.write(lambda c: c.execute(present))
    await ours.refresh()


async def figures_of(
    ours: Hall, levels: ServiceLevels = LEVELS, scope: Scope | None = None
) -> PlanFigures:
    return await ours.lane.read(lambda c: plan_figures(c, packaged(), levels, NOW, scope))


def by_period(found: PlanFigures) -> Mapping[str, Mapping[str, str]]:
    return {
        code: {str(value.period): str(value.value) for value in values}
        for code, values in found.values.items()
    }


async def a_quarter(ours: Hall) -> None:
    await put(ours, "a", "P1", online=True, held=True)
    await put(ours, "b", "P1")
    await put(ours, "c", "P2", online=True)
    await put(ours, "d", "P3", unit=UNITS[1])


async def test_each_goal_by_quarter_and_year(ours: Hall) -> None:
    await a_quarter(ours)
    await put(ours, "e", "P3", received="2026-04-01 00:00", held=True)
    found = await figures_of(ours)
    assert found.unlisted == ()
    assert by_period(found) == {
        ON_PORTAL: {"2026-Q1": "50.00", "2026-Q2": "33.33", "2026": "66.67"},
        ONLINE: {"2026-Q1": "50.00", "2026-Q2": "0.00", "2026": "40.00"},
        LEVEL_4: {
            **{"2025-Q1": "66.67", "2025-Q2": "66.67", "2025-Q3": "66.67", "2025-Q4": "66.67"},
            **{"2025": "66.67", "2026-Q1": "66.67", "2026-Q2": "100.00", "2026": "100.00"},
        },
    }


async def test_without_the_levels_there_is_no_figure_of_them(ours: Hall) -> None:
    await a_quarter(ours)
    found = await figures_of(ours, NO_LEVELS)
    assert by_period(found) == {ONLINE: {"2026-Q1": "50.00", "2026": "50.00"}}
    assert found.unlisted == ()


@pytest.mark.parametrize(
    ("procedure", "levels", "unlisted"),
    [
        pytest.param("P4", LEVELS, (None,), id="a procedure without a mapping"),
        pytest.param(
            "P2",
            parse_service_levels(HEADING + "1.000001,full,,,,,QĐ giả định\n", "p.csv"),
            ("1.000002",),
            id="one that is not in the list",
        ),
        pytest.param(
            "P2",
            parse_service_levels(
                HEADING
                + "1.000001,full,,,,,QĐ giả định\n1.000002,full,,2026-01-01,,,QĐ giả định\n",
                "p.csv",
            ),
            ("1.000002",),
            id="one that is in the list before the period",
        ),
    ],
)
async def test_a_procedure_of_unknown_level_keeps_the_levels_unknown(
    ours: Hall, procedure: str, levels: ServiceLevels, unlisted: tuple[str | None, ...]
) -> None:
    await put(ours, "a", "P1", held=True)
    await put(ours, "b", procedure)
    found = await figures_of(ours, levels)
    assert found.unlisted == unlisted
    told = by_period(found)
    assert ON_PORTAL not in told
    assert {period for period in told[LEVEL_4] if period.startswith("2026")} == {"2026-Q2"}
    assert told[ONLINE]["2026"] == "0.00"


async def test_a_procedure_that_left_the_list_in_the_period_is_known(ours: Hall) -> None:
    levels = parse_service_levels(
        HEADING + "1.000001,full,,,,,QĐ giả định\n1.000002,partial,,2026-03-31,,,QĐ giả định\n",
        "p.csv",
    )
    await put(ours, "b", "P2", held=True)
    told = by_period(await figures_of(ours, levels))
    assert (told[ON_PORTAL]["2026-Q1"], told[LEVEL_4]["2026-Q1"]) == ("0.00", "100.00")


async def test_of_a_single_unit_only_dossiers_are_counted(ours: Hall) -> None:
    await a_quarter(ours)
    found = await figures_of(ours, scope=Scope(agencies={UNITS[0]}))
    assert by_period(found) == {ONLINE: {"2026-Q1": "66.67", "2026": "66.67"}}


async def test_what_is_yet_to_come_is_not_counted(ours: Hall) -> None:
    await a_quarter(ours)
    await put(ours, "later", "P1", received="2026-05-10 10:00", online=True)
    assert by_period(await figures_of(ours))[ONLINE]["2026"] == "50.00"


async def test_an_empty_ledger_has_no_figure_of_dossiers(ours: Hall) -> None:
    assert set(by_period(await figures_of(ours))) == {LEVEL_4}


async def test_the_scoreboard_shows_the_year_so_far_with_its_day_and_what_was_before(
    ours: Hall,
) -> None:
    await a_quarter(ours)
    await put(ours, "before", "P1", received="2025-11-03 09:00", online=True)
    found = await figures_of(ours)
    rows = scoreboard(packaged(), found.values, civil_day(NOW))
    (row,) = (one for one in rows if one.goal.number == 13)
    assert row.actual is not None
    assert (str(row.actual.period), row.actual.as_of, row.actual.source) == (
        "2026",
        civil_day(NOW),
        SOURCE,
    )
    assert [str(value.period) for value in row.history] == ["2026", "2026-Q1", "2025", "2025-Q4"]
    assert row.standing is Standing.REACHED


async def test_every_goal_that_a_rate_measures_can_have_a_figure(ours: Hall) -> None:
    await a_quarter(ours)
    measured = {goal.rate for goal in packaged().goals if goal.rate is not None}
    assert set((await figures_of(ours)).values) == measured
