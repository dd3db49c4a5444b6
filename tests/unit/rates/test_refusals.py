"""A decision about several observations: each after those before it, and what is kept of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from monitoring.rates.refusals import judge
from schemas.ledger.model import Judged, Observed
from schemas.records import IndicatorObservation
from tests.unit.rates.observed import AGENCIES, CORRECTION, GOOD, NOW, PLAN, but

LATER = NOW + timedelta(minutes=1)


def judged(*wanted: IndicatorObservation, known: Sequence[IndicatorObservation] = ()) -> Judged:
    return judge(
        {f"t/0/{number}": one for number, one in enumerate(wanted)},
        origin="kafka",
        plan=PLAN,
        observed=Observed(observations=known, agencies=frozenset(AGENCIES), now=LATER),
    )


def test_each_is_judged_after_those_before_it() -> None:
    assert judged(GOOD, CORRECTION) == Judged(taken=(GOOD, CORRECTION), refused=[])
    turned = judged(CORRECTION, GOOD)
    assert turned.taken == (GOOD,)
    assert [(row.place, row.reason) for row in turned.refused] == [("t/0/0", "corrects_unknown")]


def test_what_was_refused_does_not_stand_in_the_way_of_what_follows() -> None:
    wrong = but(value=Decimal(101))
    found = judged(wrong, replace(wrong, value=Decimal(99)))
    assert [one.value for one in found.taken] == [Decimal(99)]
    assert [row.reason for row in found.refused] == ["value_out_of_range"]


@pytest.mark.parametrize("known", [(), (GOOD,)], ids=["new", "known"])
def test_what_arrives_twice_is_taken_once(known: Sequence[IndicatorObservation]) -> None:
    again = but(observed_at=NOW + timedelta(seconds=1))
    found = judged(GOOD, again, known=known)
    assert found.taken == (GOOD,)
    assert found.refused == []


def test_every_fault_is_a_row_that_holds_only_codes_that_are_known() -> None:
    name = "Trần Thị Bưởi"
    found = judged(
        but(
            observation_id=name,
            indicator=name,
            agency=name,
            period=name,
            unit=name,
            system=name,
            document=name,
            corrects=name,
            submitted_by=name,
        ),
        but(observation_id="F2", agency="H44.07", unit="yes_no"),
    )
    assert found.taken == ()
    assert "Bưởi" not in str(found.refused)
    (last,) = (row for row in found.refused if row.place == "t/0/1")
    assert (last.origin, last.field, last.reason) == ("kafka", "unit", "wrong_unit")
    assert (last.indicator, last.agency, last.period) == ("files", "H44.07", "2026-08")
    assert last.recorded_at == LATER
    assert len([row for row in found.refused if row.place == "t/0/0"]) > 1
