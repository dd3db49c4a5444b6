"""Of twenty units the published ratios and scores come out of dossiers that have those counts.

The dossiers are invented; that every unit has its published counts is checked too, so that a rate which
comes out by chance fails. `points.py` is tested on the counts of all units.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monitoring.rates.catalogue import packaged
from monitoring.rates.dossier_counts import Counted
from monitoring.rates.points import Figure, shown
from schemas.records import Attachment, Fee, OnlinePayment, ResultPaper, ScoreFields
from tests.unit.rates.counted import RULES, Hall, Story, codes, hall
from tests.unit.rates.published import published, rows

AUGUST = "2026-08"
UNITS = 20
METRICS_UNIT = (
    "H44.07"  # the smallest of which the table of metrics was published, and that has dossiers
)

DIGITISATION = {
    "ORIGINAL_RESULT_AVAILABLE": "with_electronic_result",
    "SO_HOA_GIAY_TO_GIAI_QUYET": "digitised",
    "REUSED_DIGITIZED_DATA": "with_reused_data",
    "CITIZEN_DATA_CONNECTED_DOSSIER": "with_citizen_data",
    "SYNCED_WITH_DVCQG_PERSONAL_STORAGE": "in_personal_storage",
}


def _by_unit(table: str) -> dict[str, dict[str, str]]:
    return {row["departmentCode"]: row for row in rows(table)}


PROGRESS, PAYMENT = _by_unit("progress"), _by_unit("payment")
METRICS = {
    row["metric_code"]: row for row in rows("metrics") if row["departmentCode"] == METRICS_UNIT
}


def _chosen() -> list[str]:
    """The smallest units that have dossiers, and the one of the metrics."""
    sized = sorted((int(row["totalReceived"]), unit) for unit, row in PROGRESS.items())
    small = [unit for size, unit in sized if size and unit != METRICS_UNIT]
    return [*small[: UNITS - 1], METRICS_UNIT]


IN_TIME = (
    (("finished", "2026-08-18 10:00"),),  # early
    (("finished", "2026-08-20 16:00"), ("returned", "2026-08-25 09:00")),  # on the day
    (("supplement_requested", "2026-08-17 09:00"),),  # waits for its first supplement
    (("finished", "2026-09-02 10:00"),),  # open all through the month
)
LATE = (
    (("finished", "2026-08-24 10:00"),),
    (),  # open
    (  # a second request to supplement
        ("supplement_requested", "2026-08-13 09:00"),
        ("processing", "2026-08-13 10:00"),
        ("supplement_requested", "2026-08-14 09:00"),
        ("processing", "2026-08-14 10:00"),
        ("finished", "2026-08-18 10:00"),
    ),
)
DUE, LATER = "2026-08-20 17:00", "2026-09-04 17:00"


def _stories(unit: str) -> Iterator[Story]:
    """Dossiers that have the unit's published counts, and some that belong to other months."""
    total, on_time = (int(PROGRESS[unit][name]) for name in ("totalReceived", "totalOnTime"))
    payment = PAYMENT.get(unit, {})
    owing = int(payment.get("totalDossierFinancialObligation", 0))
    paid = int(payment.get("totalDossierOnlinePaymentSuccess", 0))
    assert paid <= owing <= total  # else no dossiers can have these counts
    for number in range(total):
        in_time = number < on_time
        lives = IN_TIME if in_time else LATE
        steps = lives[number % len(lives)]
        received = "2026-08-11 09:00" if number < owing or number % 3 else "2026-07-28 09:00"
        yield Story(
            f"{unit}-{number}",
            (("received", received), *steps),
            due=LATER if in_time and steps is IN_TIME[3] else DUE,
            unit=unit,
            state=_state(unit, number, owing, paid),
        )
    yield Story(
        f"{unit}-before",
        (("received", "2026-07-01 09:00"), ("finished", "2026-07-31 23:59")),
        unit=unit,
    )
    yield Story(f"{unit}-after", (("received", "2026-09-01 00:00"),), unit=unit)


def _state(unit: str, number: int, owing: int, paid: int) -> dict[str, Any]:
    def has(code: str) -> bool:
        return unit == METRICS_UNIT and number < int(METRICS[code]["numerator"])

    way = OnlinePayment.PORTAL if number % 2 else OnlinePayment.AGENCY_GATEWAY
    paper = Attachment(
        file_id="1",
        part_code=None,
        reference="file" if has("SO_HOA_GIAY_TO_GIAI_QUYET") else None,
        removed=False,
        digitised=None,
        reused=has("REUSED_DIGITIZED_DATA"),
        from_data_store=has("SYNCED_WITH_DVCQG_PERSONAL_STORAGE"),
    )
    result = ResultPaper(
        file_id="2", part_code=None, result_code=None, reference="file", removed=False, signed=None
    )
    fee = Fee(
        fee_id="3", code=None, name=None, amount=20_000, status=None, method=None, paid_at=None
    )
    return {
        "attachments": (paper,),
        "results": (result,) if has("ORIGINAL_RESULT_AVAILABLE") else (),
        "fees": (fee,) if number < owing else (replace(fee, amount=0),),
        "score": ScoreFields(
            has_digitised_components=False,
            vneid_authenticated=has("CITIZEN_DATA_CONNECTED_DOSSIER"),
            online_payment=way if number < paid else OnlinePayment.OFFLINE,
        ),
    }


@pytest.fixture
async def counted(tmp_path: Path) -> AsyncIterator[Counted]:
    async with hall(tmp_path) as ours:
        for unit in _chosen():
            await _enlist(ours, unit)
        rules = replace(RULES, codes=codes(_chosen()))
        while await ours.refresh(rules):
            pass
        yield await ours.count(AUGUST)


async def _enlist(ours: Hall, unit: str) -> None:
    events = [event for story in _stories(unit) for event in story.events()]
    ours.told |= {event.event_id: event for event in events}
    await ours.desk.put(*events, dues=())


async def test_published_figures_come_out_of_dossiers(counted: Counted) -> None:
    on_time, payment = packaged().rate("on_time"), packaged().rate("online_payment")
    assert on_time is not None
    assert payment is not None
    progress_shown = {
        one.unit: Figure(one.ratio, one.score) for one in published("progress", "on_time")
    }
    payment_shown = {
        one.unit: Figure(one.ratio, one.score) for one in published("payment", "online_payment")
    }
    assert sorted(unit.agency or "" for unit in counted.units) == sorted(_chosen())
    paying = 0
    for unit in counted.units:
        code = unit.agency or ""
        assert unit.unjudged == 0
        assert unit.known["received_and_carried_over"] == int(PROGRESS[code]["totalReceived"])
        assert unit.known["on_time_or_within_time"] == int(PROGRESS[code]["totalOnTime"])
        assert shown(on_time, unit.shown) == progress_shown[code]
        if code in PAYMENT:
            paying += unit.known["paid_online"] not in (None, 0)
            assert shown(payment, {**unit.shown, **_of_procedures(code)}) == payment_shown[code]
    assert paying >= UNITS - 3

    digitising = next(unit for unit in counted.units if unit.agency == METRICS_UNIT)
    for metric, quantity in DIGITISATION.items():
        rate = packaged().rate(metric)
        assert rate is not None
        (figure,) = [
            Figure(one.ratio, one.score)
            for one in published("metrics", metric)
            if one.unit == METRICS_UNIT
        ]
        assert digitising.known[quantity] == int(METRICS[metric]["numerator"])
        assert shown(rate, digitising.shown) == figure, metric


def _of_procedures(unit: str) -> dict[str, int]:
    """What is counted of procedures, which no dossier tells: as published."""
    rate = packaged().rate("online_payment")
    assert rate is not None
    found: dict[str, int] = {}
    for term in rate.terms[1:]:
        assert term.columns is not None
        found[term.numerator] = int(PAYMENT[unit][term.columns.numerator])
        found[term.denominator] = int(PAYMENT[unit][term.columns.denominator])
    return found
