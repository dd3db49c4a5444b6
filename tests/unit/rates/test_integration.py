"""The hub's own rates of integration: a case for every definition and every boundary."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.rates import integration
from monitoring.rates.catalogue import hub_rates, packaged
from monitoring.rates.integration import BY_STATE, Carried
from monitoring.rates.points import known
from schemas.dossier.days_off import Certainty
from schemas.ledger.dialect import to_seconds
from schemas.ledger.model import DeliveryState, Due, Operation, Outcome
from schemas.reasons import Reason
from tests.contract.ledger_contract import TARGET
from tests.unit.dossier.samples import HOUR, MINUTE, SATURDAYS, TICK, at
from tests.unit.rates.carried import (
    NINE,
    STATE,
    STEP,
    attempt,
    capture,
    carried,
    settle,
    total,
)
from tests.unit.rates.counted import RULES, UNITS, Hall, codes, hall

D = DeliveryState
QUARTER = 15 * MINUTE


@pytest.fixture
async def ours(tmp_path: Path) -> AsyncIterator[Hall]:
    async with hall(tmp_path) as opened:
        yield opened


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """The database's clock stands still at noon of the Monday."""
    noon = at("2026-03-02 12:00")
    monkeypatch.setattr(integration, "clock", lambda _connection: to_seconds(noon))
    return noon


# --- how they stand ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "counted"),
    [
        (D.DELIVERED, {"owed", "delivered", "to_arrive", "arrived", "right_first_time"}),
        (D.SUPERSEDED, {"owed", "superseded", "to_arrive", "arrived"}),
        (D.DISCARDED, {"owed", "discarded"}),
        (D.PARKED, {"owed", "parked", "to_arrive"}),
        (D.PENDING, {"owed", "open", "to_arrive"}),
        (D.SENDING, {"owed", "open", "to_arrive"}),
        (D.WAITING, {"owed", "open", "to_arrive"}),
    ],
    ids=lambda value: value.value if isinstance(value, D) else "",
)
async def test_a_delivery_counts_by_its_state(
    ours: Hall, now: datetime, state: D, counted: set[str]
) -> None:
    event = await capture(ours, recorded=now)
    ended = state in (D.DELIVERED, D.SUPERSEDED, D.DISCARDED)
    await settle(ours, event, state, when=now if ended else None)
    counts = (await total(ours)).counts
    of_time = {name for name in counts if "_in_" in name or "_after_" in name}
    assert {name for name, n in counts.items() if n} - of_time == counted
    assert set(counts) == {*BY_STATE, *hub_rates().quantities}


async def test_an_event_owes_a_delivery_for_each_operation(ours: Hall) -> None:
    await capture(ours, dues=(STATE, STEP))
    assert (await total(ours)).counts["owed"] == 2


async def test_parked_deliveries_are_told_by_reason(ours: Hall) -> None:
    reasons = (Reason.UNMAPPED, Reason.UNMAPPED, Reason.OUTCOME_UNKNOWN, Reason.FIELD_MISSING)
    for reason in reasons:
        await settle(ours, await capture(ours), D.PARKED, reason=reason)
    await settle(ours, await capture(ours), D.WAITING, reason=Reason.NO_CODE)
    found = await total(ours)
    assert found.parked == {"unmapped": 2, "outcome_unknown": 1, "field_missing": 1}
    assert (found.counts["parked"], found.counts["unmapped"], found.counts["undecided"]) == (
        4,
        2,
        1,
    )


async def test_the_oldest_that_wait_for_a_machine_and_for_a_person(ours: Hall) -> None:
    for hours in (1, 3):
        await capture(ours, recorded=NINE + hours * HOUR)
    await settle(ours, await capture(ours, recorded=NINE), D.DELIVERED, after=HOUR)
    await settle(ours, await capture(ours, recorded=NINE + 2 * HOUR), D.PARKED)
    found = await total(ours)
    assert (found.oldest_open_at, found.oldest_parked_at) == (NINE + HOUR, NINE + 2 * HOUR)


async def test_nothing_that_waits_has_no_oldest(ours: Hall) -> None:
    await settle(ours, await capture(ours), after=MINUTE)
    found = await total(ours)
    assert (found.oldest_open_at, found.oldest_parked_at) == (None, None)


# --- the period --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recorded", "effective", "months"),
    [
        ("2026-03-01 00:00", "2026-02-28 23:59", ["2026-03"]),
        ("2026-02-28 23:59", "2026-02-28 23:59", ["2026-02"]),
        ("2026-04-01 00:00", "2026-03-31 23:59", ["2026-04"]),
        ("2026-03-10 09:00", "2019-05-06 09:00", ["2026-03"]),
    ],
    ids=["its first instant", "the instant before", "its end is no part of it", "a first load"],
)
async def test_a_delivery_belongs_to_the_period_of_its_capture(
    ours: Hall, recorded: str, effective: str, months: list[str]
) -> None:
    await capture(ours, recorded=at(recorded), effective=at(effective))
    found = [
        month for month in ("2026-02", "2026-03", "2026-04") if (await carried(ours, month)).units
    ]
    assert found == months


# --- how long it took --------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [D.DELIVERED, D.SUPERSEDED])
@pytest.mark.parametrize(
    ("limit", "after", "in_time"),
    [
        ("1_minute", MINUTE, 1),
        ("1_minute", MINUTE + TICK, 0),
        ("15_minutes", QUARTER, 1),
        ("15_minutes", QUARTER + TICK, 0),
        ("8_working_hours", 26 * HOUR, 1),  # 11:00 to 13:00: four hours and four
        ("8_working_hours", 26 * HOUR + TICK, 0),
        ("8_working_hours", 8 * HOUR, 1),
    ],
    ids=str,
)
async def test_arrived_within_a_limit(
    ours: Hall, limit: str, after: timedelta, in_time: int, state: D
) -> None:
    recorded = NINE + 2 * HOUR if limit == "8_working_hours" and after > 8 * HOUR else NINE
    event = await capture(ours, recorded=recorded)
    await settle(ours, event, state, after=after)
    counts = (await total(ours)).counts
    assert (counts[f"arrived_in_{limit}"], counts[f"told_after_{limit}"]) == (in_time, 1)


@pytest.mark.parametrize("state", [D.PENDING, D.PARKED])
@pytest.mark.parametrize(
    ("limit", "before", "told"),
    [
        ("1_minute", MINUTE, 0),
        ("1_minute", MINUTE + TICK, 1),
        ("15_minutes", QUARTER, 0),
        ("15_minutes", QUARTER + TICK, 1),
        ("8_working_hours", 65 * HOUR, 0),  # since Friday 19:00: the four hours of this morning
        ("8_working_hours", 72 * HOUR, 0),  # since Friday noon: eight to the tick
        ("8_working_hours", 73 * HOUR + TICK, 1),  # and one tick of Friday's first morning
    ],
    ids=str,
)
async def test_what_has_not_arrived_says_nothing_before_the_limit(
    ours: Hall, now: datetime, limit: str, before: timedelta, told: int, state: D
) -> None:
    event = await capture(ours, recorded=now - before)
    await settle(ours, event, state)
    month = "2026-02" if before > 60 * HOUR else "2026-03"
    counts = (await total(ours, month)).counts
    assert (counts[f"arrived_in_{limit}"], counts[f"told_after_{limit}"]) == (0, told)


async def test_what_was_discarded_had_not_to_arrive(ours: Hall) -> None:
    await settle(ours, await capture(ours), D.DISCARDED, after=30 * HOUR)
    counts = (await total(ours)).counts
    assert {name: n for name, n in counts.items() if n} == {"owed": 1, "discarded": 1}


async def test_an_agency_has_hours_of_its_own(ours: Hall) -> None:
    """From Friday 13:30 to Monday 11:00: with a Saturday morning it is more than eight hours."""
    rules = replace(RULES, codes=codes((*UNITS, SATURDAYS)))
    for unit in (UNITS[0], SATURDAYS):
        event = await capture(ours, unit=unit, recorded=at("2026-03-06 13:30"))
        await settle(ours, event, when=at("2026-03-09 11:00"))
    await ours.refresh(rules)
    found = {
        one.agency: one.counts["arrived_in_8_working_hours"] for one in (await carried(ours)).units
    }
    assert found == {UNITS[0]: 1, SATURDAYS: 0}


async def test_a_year_without_a_calendar_is_said(ours: Hall) -> None:
    recorded = at("2031-03-03 09:00")
    assert recorded.year not in RULES.calendar.years
    await settle(ours, await capture(ours, recorded=recorded), after=30 * HOUR)
    assert (await carried(ours, "2031-03")).certainty is Certainty.UNKNOWN


async def test_no_slow_one_asks_the_calendar(ours: Hall) -> None:
    recorded = at("2031-03-03 09:00")
    await settle(ours, await capture(ours, recorded=recorded), after=8 * HOUR)
    assert (await carried(ours, "2031-03")).certainty is Certainty.CONFIRMED


@pytest.mark.parametrize(("late", "in_time"), [(QUARTER, 1), (QUARTER + TICK, 0)], ids=str)
async def test_from_the_source_s_own_time_it_may_have_taken_longer(
    ours: Hall, late: timedelta, in_time: int
) -> None:
    effective = NINE - 14 * MINUTE
    event = await capture(ours, recorded=NINE, effective=effective)
    await settle(ours, event, when=effective + late)
    counts = (await total(ours)).counts
    assert counts["arrived_in_15_minutes"] == 1
    assert counts["arrived_in_15_minutes_of_effect"] == in_time


async def test_a_clock_that_runs_ahead_makes_nothing_slow(ours: Hall) -> None:
    await settle(ours, await capture(ours), after=-MINUTE)
    counts = (await total(ours)).counts
    assert [n for name, n in counts.items() if "_in_" in name] == [1] * 4


# --- by the first attempt ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "last", "right"),
    [
        pytest.param((), Outcome.DELIVERED, 1, id="the first"),
        pytest.param((Outcome.FAILED,), Outcome.DELIVERED, 0, id="one failed before"),
        pytest.param((Outcome.REJECTED,), Outcome.DELIVERED, 0, id="one was rejected before"),
        pytest.param((Outcome.UNKNOWN,), Outcome.DELIVERED, 0, id="one is unknown, made again"),
        pytest.param((None,), Outcome.DELIVERED, 0, id="one never came back, made again"),
        pytest.param((), Outcome.UNKNOWN, 1, id="unknown, and found done"),
        pytest.param((), None, 1, id="never came back, and found done"),
    ],
)
async def test_delivered_by_its_first_attempt(
    ours: Hall, before: tuple[Outcome | None, ...], last: Outcome | None, right: int
) -> None:
    event, other = await capture(ours), await capture(ours)
    for outcome in before:
        await attempt(ours, event, outcome=outcome)
    for one in (event, other):
        outcome = last if one is event else Outcome.DELIVERED
        await settle(ours, one, after=MINUTE, attempt=await attempt(ours, one, outcome=outcome))
    counts = (await total(ours)).counts
    assert (counts["delivered"], counts["right_first_time"]) == (2, 1 + right)


async def test_an_attempt_that_failed_spoils_every_delivery_it_covered(ours: Hall) -> None:
    events = [await capture(ours, dossier="d") for _ in range(3)]
    await attempt(ours, *events[:2], outcome=Outcome.FAILED)
    for event in events:
        done = await attempt(ours, event, outcome=Outcome.DELIVERED)
        await settle(ours, event, after=MINUTE, attempt=done)
    assert (await total(ours)).counts["right_first_time"] == 1


async def test_of_what_was_not_delivered_nothing_is_right_or_wrong(ours: Hall) -> None:
    event = await capture(ours)
    await attempt(ours, event, outcome=Outcome.FAILED)
    counts = (await total(ours)).counts
    assert (counts["delivered"], counts["right_first_time"]) == (0, 0)


# --- units and targets -------------------------------------------------------------------------------


async def test_by_target_and_unit_and_one_without_a_mapping_last(ours: Hall) -> None:
    elsewhere = Due(target="gov_reporting", operation=Operation.STATE)
    await capture(ours, unit="H99.01")
    await capture(ours, unit=UNITS[1], dues=(STEP, elsewhere))
    await capture(ours, unit=UNITS[0])
    found = await carried(ours)
    assert [(one.target, one.agency) for one in found.units] == [
        ("gov_reporting", UNITS[1]),
        (TARGET, UNITS[0]),
        (TARGET, UNITS[1]),
        (TARGET, None),
    ]
    assert [(one.target, one.counts["owed"]) for one in found.totals] == [
        ("gov_reporting", 1),
        (TARGET, 3),
    ]


async def test_the_agencies_that_are_asked_for(ours: Hall) -> None:
    for unit in (*UNITS, "H99.01"):
        await capture(ours, unit=unit)
    some = await carried(ours, agencies=UNITS[:2])
    assert [one.agency for one in some.units] == list(UNITS[:2])
    assert (await carried(ours, agencies=())).totals == ()


async def test_before_it_is_reckoned_a_dossier_has_no_unit(ours: Hall) -> None:
    await capture(ours)
    start, end = at("2026-03-01 00:00"), at("2026-04-01 00:00")
    found = await ours.lane.read(
        lambda c: integration.count(c, start, end, calendar=RULES.calendar)
    )
    assert [one.agency for one in found.units] == [None]


# --- the rates ---------------------------------------------------------------------------------------


async def test_every_rate_has_its_counts(ours: Hall) -> None:
    for after in (MINUTE, QUARTER, 20 * HOUR):
        await settle(ours, await capture(ours), after=after)
    await settle(ours, await capture(ours), D.PARKED, reason=Reason.UNMAPPED)
    counts = (await total(ours)).counts
    ratios = {rate.code: known(rate, counts).ratio for rate in hub_rates().rates}
    assert ratios == {
        "hub_arrived": Decimal("75.00"),
        "hub_in_1_minute": Decimal("25.00"),
        "hub_in_15_minutes": Decimal("50.00"),
        "hub_in_8_working_hours": Decimal("75.00"),
        "hub_in_15_minutes_of_effect": Decimal("25.00"),
        "hub_right_first_time": Decimal("100.00"),
        "hub_parked": Decimal("25.00"),
        "hub_unmapped": Decimal("25.00"),
        "hub_undecided": Decimal("0.00"),
    }


async def test_an_empty_period_has_no_rates(ours: Hall) -> None:
    assert (await carried(ours)).totals == ()


def test_the_hub_s_rates_are_worth_nothing_and_share_no_name_with_the_portal_s() -> None:
    assert {rate.maximum for rate in hub_rates().rates} == {0}
    assert not {rate.code for rate in hub_rates().rates} & {rate.code for rate in packaged().rates}
    assert not set(hub_rates().quantities) & set(packaged().quantities)


# --- what always holds -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Owed:
    """A delivery: of whom, when, and what became of it after how many minutes; `tried` before in vain."""

    unit: str
    recorded: int
    state: D
    after: int
    tried: bool


_OWED = st.builds(
    Owed,
    unit=st.sampled_from([*UNITS, "H99.01"]),
    recorded=st.integers(0, 60 * 24 * 20),
    state=st.sampled_from([D.DELIVERED, D.SUPERSEDED, D.DISCARDED, D.PARKED, D.PENDING]),
    after=st.sampled_from([0, 1, 2, 15, 16, 300, 480, 481, 1000, 5000]),
    tried=st.booleans(),
)


async def _told(owed: list[Owed], *, twice: bool) -> dict[str | None, Carried]:
    """By unit; each asked for alone, then all of them."""
    with tempfile.TemporaryDirectory() as folder:
        async with hall(Path(folder)) as ours:
            for one in owed:
                event = await capture(ours, unit=one.unit, recorded=NINE + one.recorded * MINUTE)
                if twice:
                    await ours.desk.put(ours.told[event], dues=(STEP,))
                if one.tried:
                    await attempt(ours, event, outcome=Outcome.FAILED)
                done = None
                if one.state is D.DELIVERED:
                    done = await attempt(ours, event, outcome=Outcome.DELIVERED)
                ended = one.state not in (D.PARKED, D.PENDING)
                after = one.after * MINUTE if ended else None
                await settle(ours, event, one.state, after=after, attempt=done)
            whole = await carried(ours)
            alone = [await carried(ours, agencies=(unit,)) for unit in UNITS]
            by_unit = {one.agency: one for one in whole.units}
            assert [one for each in alone for one in each.units] == [
                by_unit[unit] for unit in UNITS if unit in by_unit
            ]
            for total in whole.totals:
                assert {name: n for name, n in total.counts.items() if n} == {
                    name: n
                    for name in total.counts
                    if (n := sum(int(one.counts[name] or 0) for one in whole.units))
                }
            return by_unit


@settings(max_examples=15, deadline=None)
@given(st.lists(_OWED, max_size=8), st.randoms(use_true_random=False))
def test_order_and_number_of_tellings_change_nothing_and_each_is_counted_as_it_is(
    owed: list[Owed], chance: random.Random
) -> None:
    found = asyncio.run(_told(owed, twice=False))
    assert asyncio.run(_told(chance.sample(owed, len(owed)), twice=True)) == found
    for unit in (*UNITS, None):
        mine = [one for one in owed if one.unit == (unit or "H99.01")]
        if not mine:
            assert unit not in found
            continue
        arrived = [one for one in mine if one.state in (D.DELIVERED, D.SUPERSEDED)]
        counts = found[unit].counts
        assert counts["owed"] == len(mine)
        assert counts["arrived"] == len(arrived)
        assert counts["arrived_in_1_minute"] == sum(one.after <= 1 for one in arrived)
        assert counts["arrived_in_15_minutes"] == sum(one.after <= 15 for one in arrived)
        assert counts["arrived_in_8_working_hours"] == sum(_in_hours(one, unit) for one in arrived)
        assert counts["right_first_time"] == sum(
            one.state is D.DELIVERED and not one.tried for one in mine
        )


def _in_hours(one: Owed, unit: str | None) -> bool:
    begun = NINE + one.recorded * MINUTE
    worked = RULES.calendar.working_time(begun, begun + one.after * MINUTE, unit)
    return worked.value <= 8 * HOUR
