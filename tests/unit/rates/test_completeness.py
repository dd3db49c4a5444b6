"""What a missing field costs: by fact, by rate, by unit, in the portal's own arithmetic."""

from __future__ import annotations

import asyncio
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.rates import completeness
from monitoring.rates.catalogue import packaged
from monitoring.rates.completeness import FIELDS, Completeness, Missing
from monitoring.rates.dossier_counts import Scope
from schemas.ledger.figures import Facts
from schemas.records import (
    Attachment,
    Channel,
    Fee,
    FinancialState,
    OnlinePayment,
    ResultPaper,
    ScoreFields,
)
from tests.unit.rates.counted import UNITS, WHOLE, Hall, Story, hall, span_of

MONDAY = ("received", "2026-03-02 09:00")
DONE = ("finished", "2026-03-05 10:00")

PAPER = Attachment(
    file_id="1",
    part_code=None,
    reference="r",
    removed=False,
    digitised=None,
    reused=None,
    from_data_store=False,
)
PLAIN_PAPER = Attachment(
    file_id="1",
    part_code=None,
    reference="r",
    removed=False,
    digitised=None,
    reused=False,
    from_data_store=False,
)
RESULT = ResultPaper(
    file_id="2", part_code=None, result_code=None, reference="r", removed=False, signed=None
)
FEE = Fee(fee_id="1", code=None, name=None, amount=10_000, status=None, method=None, paid_at=None)
WHOLE_STATE: dict[str, Any] = {
    "channel": Channel.DIRECT,
    "attachments": (PLAIN_PAPER,),
    "results": (RESULT,),
    "score": ScoreFields(
        has_digitised_components=False,
        vneid_authenticated=False,
        online_payment=OnlinePayment.OFFLINE,
    ),
    "financial_state": FinancialState.NONE,
}
"""Tells everything."""


def score(**told: Any) -> ScoreFields:
    return ScoreFields(
        **{
            "has_digitised_components": False,
            "vneid_authenticated": False,
            "online_payment": OnlinePayment.OFFLINE,
            **told,
        }
    )


@pytest.fixture
async def ours(tmp_path: Path) -> AsyncIterator[Hall]:
    async with hall(tmp_path) as opened:
        yield opened


async def missing(ours: Hall, scope: Scope = WHOLE, period: str = "2026-03") -> Completeness:
    while await ours.refresh():
        pass
    start, end = span_of(period)
    return await ours.lane.read(lambda c: completeness.missing(c, start, end, scope))


def by_rate(rows: tuple[Missing, ...]) -> dict[tuple[str, str], tuple[int, Decimal | None]]:
    return {(one.fact, one.rate): (one.dossiers, one.gain) for one in rows}


async def test_who_tells_everything_misses_nothing(ours: Hall) -> None:
    await ours.put(*Story("whole", (MONDAY, DONE), state=WHOLE_STATE).events())
    found = await missing(ours)
    assert (found.units, found.total) == ((), ())


ONLINE_RATES = ("channelOnlineSum/channelTotalSum", "onlineOnTimeSum/channelOnlineSum")


@pytest.mark.parametrize(
    ("silent", "due", "expected"),
    [
        pytest.param(
            {},
            None,
            {
                ("due", "on_time"): Decimal(10),
                ("due", "finished_on_time"): None,
                # Handed in at the counter: the due date is nothing to the online ones.
            },
            id="no due date",
        ),
        pytest.param(
            {"attachments": (PAPER,), "score": score(has_digitised_components=None)},
            "2026-03-06 17:00",
            {("reused", "REUSED_DIGITIZED_DATA"): Decimal("1.25")},
            id="reused",
        ),
        pytest.param(
            {"score": score(databases_used=("x",))},
            "2026-03-06 17:00",
            {("population_data", "CITIZEN_DATA_CONNECTED_DOSSIER"): Decimal(1)},
            id="population data",
        ),
        pytest.param(
            {"attachments": (PLAIN_PAPER,), "results": ()},
            "2026-03-06 17:00",
            {("digitised", "SO_HOA_GIAY_TO_GIAI_QUYET"): Decimal(2)},
            id="digitised",
        ),
        pytest.param(
            {"channel": None},
            "2026-03-06 17:00",
            {("channel", rate): None for rate in ONLINE_RATES},
            id="a channel, of which the points are not public",
        ),
        pytest.param(
            {"fees": (FEE,), "score": score(online_payment=None)},
            "2026-03-06 17:00",
            {("paid_online", "online_payment"): Decimal(6)},
            id="how a fee was paid",
        ),
        pytest.param(
            {"financial_state": None, "score": score(online_payment=None)},
            "2026-03-06 17:00",
            {
                ("paid_online", "online_payment"): Decimal(6),
                ("financial_obligation", "online_payment"): Decimal(0),
            },
            id="neither what is owed nor how it was paid",
        ),
        pytest.param(
            {"financial_state": None},
            "2026-03-06 17:00",
            {("financial_obligation", "online_payment"): Decimal(0)},
            id="an obligation can only lower the score",
        ),
    ],
)
async def test_one_field_that_is_missing_of_one_of_two(
    ours: Hall,
    silent: dict[str, Any],
    due: str | None,
    expected: dict[tuple[str, str], Decimal | None],
) -> None:
    """The other tells everything, and no to every question; only it is on time."""
    await ours.put(*Story("whole", (MONDAY, DONE), state=WHOLE_STATE).events())
    story = Story("silent", (MONDAY, DONE), due=due, state={**WHOLE_STATE, **silent})
    await ours.put(*story.events())
    found = await missing(ours)
    assert by_rate(found.total) == {key: (1, gain) for key, gain in expected.items()}
    assert [one.agency for one in found.units] == [UNITS[0]] * len(expected)


async def test_a_payment_that_is_not_told_beside_others_that_are(ours: Hall) -> None:
    """Three owe and one of them paid online: 1/3. With the fourth that owes nothing known: 2/4."""
    told = {"fees": (FEE,), "score": score(online_payment=OnlinePayment.PORTAL)}
    await ours.put(*Story("paid", (MONDAY, DONE), state={**WHOLE_STATE, **told}).events())
    for name in "ab":
        state = {**WHOLE_STATE, "fees": (FEE,)}
        await ours.put(*Story(name, (MONDAY, DONE), state=state).events())
    state = {**WHOLE_STATE, "financial_state": None, "score": score(online_payment=None)}
    await ours.put(*Story("silent", (MONDAY, DONE), state=state).events())
    found = {one.fact: one for one in (await missing(ours)).total}
    paid = found["paid_online"]
    assert (paid.shown, paid.complete, paid.gain) == (Decimal(2), Decimal(3), Decimal(1))


async def test_without_a_time_of_reception_no_period_is_its_own(ours: Hall) -> None:
    story = Story("never", (("processing", "2026-03-02 09:00"),), state=WHOLE_STATE)
    await ours.put(*story.events())
    found = (await missing(ours)).total
    assert {one.fact for one in found} == {"received_at"}
    assert {one.gain for one in found} == {None}
    assert {one.rate for one in found} >= {"online_payment", ONLINE_RATES[0]}
    assert {one.rate for one in found}.isdisjoint({"on_time", "REUSED_DIGITIZED_DATA"})


async def test_a_full_score_has_nothing_to_gain(ours: Hall) -> None:
    """Reuse is full at 80 %: four of five are enough."""
    told = {"score": score(has_digitised_components=True)}
    for name in "abcd":
        await ours.put(*Story(name, (MONDAY, DONE), state={**WHOLE_STATE, **told}).events())
    quiet = {"attachments": (PAPER,), "score": score(has_digitised_components=None)}
    await ours.put(*Story("e", (MONDAY, DONE), state={**WHOLE_STATE, **quiet}).events())
    (one,) = (await missing(ours)).total
    assert (one.fact, one.dossiers, one.gain) == ("reused", 1, Decimal(0))


async def test_units_and_a_scope(ours: Hall) -> None:
    units = (UNITS[0], UNITS[0], UNITS[1], "H99.01")  # the last has no mapping
    for name, unit in zip("abcd", units, strict=True):
        story = Story(name, (MONDAY, DONE), due=None, unit=unit, state=WHOLE_STATE)
        await ours.put(*story.events())
    found = await missing(ours)
    on_time = [(one.agency, one.dossiers) for one in found.units if one.rate == "on_time"]
    assert on_time == [(UNITS[0], 2), (UNITS[1], 1), (None, 1)]
    some = await missing(ours, Scope(agencies={UNITS[1]}))
    assert {one.agency for one in some.units} == {UNITS[1]}


async def test_a_rate_that_was_not_in_force_is_left_out(ours: Hall) -> None:
    state = {**WHOLE_STATE, "fees": (FEE,), "score": score(online_payment=None)}
    steps = (("received", "2025-03-03 09:00"), ("finished", "2025-03-05 10:00"))
    await ours.put(*Story("old", steps, due="2025-03-06 17:00", state=state).events())
    assert (await missing(ours, period="2025-03")).total == ()


async def test_every_fact_that_can_be_unknown_has_a_field_of_the_source(ours: Hall) -> None:
    await ours.put(*Story("a", (MONDAY,), due=None).events())
    found = (await missing(ours)).total
    counted = (await ours.count("2026-03")).total
    never_unknown = {"synced_received_in_period"}  # what the portal is known to hold
    of_the_list = {  # of service levels: no field of a dossier
        "full_process_online",
        "full_process_eligible",
        "online_with_electronic_result",
    }
    assert set(counted.unknown) - never_unknown - of_the_list == set(completeness._TELLS)
    assert {one.fact for one in found} <= set(FIELDS)
    facts = set(Facts.__dataclass_fields__) - {
        *("code", "procedure_code", "local_procedure_code", "sector_code", "agency_code"),
        *("returned_at", "service_level", "paper_result"),
    }
    assert facts <= set(FIELDS)
    assert set(completeness._TELLS) <= set(packaged().quantities)


# --- what always holds -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    unit: str
    due: str | None
    state: dict[str, Any]


_TOLD = st.builds(
    Told,
    unit=st.sampled_from(UNITS),
    due=st.sampled_from([None, "2026-03-06 17:00"]),
    state=st.fixed_dictionaries(
        {
            "channel": st.sampled_from([None, Channel.ONLINE]),
            "fees": st.sampled_from([(), (FEE,)]),
            "financial_state": st.sampled_from([None, FinancialState.NONE]),
            "attachments": st.sampled_from([(), (PAPER,)]),
            "score": st.builds(
                ScoreFields,
                vneid_authenticated=st.sampled_from([None, True]),
                online_payment=st.sampled_from([None, *OnlinePayment]),
            ),
        }
    ),
)


@settings(max_examples=20, deadline=None)
@given(st.lists(_TOLD, max_size=6))
def test_the_dossiers_of_the_units_are_those_of_the_whole_and_nothing_is_lost_by_telling(
    told: list[Told],
) -> None:
    async def add_up() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with hall(Path(folder)) as ours:
                for number, one in enumerate(told):
                    story = Story(
                        f"d{number}", (MONDAY, DONE), unit=one.unit, due=one.due, state=one.state
                    )
                    await ours.put(*story.events())
                found = await missing(ours)
                sums: defaultdict[tuple[str, str], int] = defaultdict(int)
                for row in found.units:
                    sums[row.fact, row.rate] += row.dossiers
                assert sums == {(row.fact, row.rate): row.dossiers for row in found.total}
                assert all(row.gain is None or row.gain >= 0 for row in found.units)

    asyncio.run(add_up())
