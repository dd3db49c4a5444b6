"""Of every unit of which the portal's metrics were published, their ratios and scores come out of dossiers.

For each unit the dossiers are of a few kinds, which follow from its published counts; of every kind one is told
to the ledger and reckoned, and what was reckoned is copied for the others, for a thousand alike say no more than
one. DOSSIER_SYNC has its two counts from observations, as it has them in the hub. The second and the third term of
online payment count procedures of the national database, which no dossier tells: as published.

Left out are the province, which is its units together, and the one unit without dossiers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from monitoring.rates.catalogue import packaged
from monitoring.rates.periods import Period, PeriodKind
from monitoring.rates.points import Figure, shown
from monitoring.rates.report import Report, report
from monitoring.rates.units import Asked
from schemas.ledger.tables import figures, verdict_spans
from schemas.records import (
    Attachment,
    Fee,
    IndicatorObservation,
    OnlinePayment,
    Provenance,
    ResultPaper,
    ScoreFields,
)
from tests.unit.rates.counted import RULES, Hall, Story, codes, hall
from tests.unit.rates.published import published, rows

PROVINCE, EMPTY = "H44", "H44.01"
DIGITISATION = {
    "ORIGINAL_RESULT_AVAILABLE": "with_electronic_result",
    "SO_HOA_GIAY_TO_GIAI_QUYET": "digitised",
    "REUSED_DIGITIZED_DATA": "with_reused_data",
    "CITIZEN_DATA_CONNECTED_DOSSIER": "with_citizen_data",
    "SYNCED_WITH_DVCQG_PERSONAL_STORAGE": "in_personal_storage",
}
SYNC = "DOSSIER_SYNC"
PROGRESS = {row["departmentCode"]: row for row in rows("progress")}
PAYMENT = {row["departmentCode"]: row for row in rows("payment")}
METRICS = {(row["departmentCode"], row["metric_code"]): row for row in rows("metrics")}
UNITS = sorted({unit for unit, code in METRICS if code == SYNC} - {PROVINCE, EMPTY})
DIGITISING = [unit for unit in UNITS if (unit, "ORIGINAL_RESULT_AVAILABLE") in METRICS]
PAPER = Attachment(
    file_id="1",
    part_code=None,
    reference="file",
    removed=False,
    digitised=False,
    reused=False,
    from_data_store=False,
)
RESULT = ResultPaper(
    file_id="2", part_code=None, result_code=None, reference="file", removed=False, signed=None
)
FEE = Fee(fee_id="3", code=None, name=None, amount=20_000, status=None, method=None, paid_at=None)


class _Unit:
    """A unit's published counts; of its dossiers the first so many are so."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.total = int(PROGRESS[unit]["totalReceived"])
        self.first = {
            "on time": int(PROGRESS[unit]["totalOnTime"]),
            "received": int(METRICS[unit, SYNC]["denominator"]),
            "owing": int(PAYMENT[unit]["totalDossierFinancialObligation"]),
            "paid": int(PAYMENT[unit]["totalDossierOnlinePaymentSuccess"]),
            **{
                code: int(METRICS[unit, code]["numerator"]) if (unit, code) in METRICS else 0
                for code in DIGITISATION
            },
        }
        assert self.first["paid"] <= self.first["owing"] <= self.first["received"] <= self.total

    def stories(self) -> Iterator[tuple[Story, int]]:
        """A dossier of each kind, and how many there are of it."""
        edges = sorted({0, self.total, *self.first.values()})
        for number, after in pairwise(edges):
            yield self._story(number), after - number

    def _story(self, number: int) -> Story:
        has = {name for name, many in self.first.items() if number < many}
        received = "2026-08-11 09:00" if "received" in has else "2026-07-28 09:00"
        done = "2026-08-18 10:00" if "on time" in has else "2026-08-24 10:00"
        return Story(
            f"{self.unit}-{number}",
            (("received", received), ("finished", done)),
            due="2026-08-20 17:00",
            unit=self.unit,
            state=_state(has),
        )


def _state(has: set[str]) -> dict[str, Any]:
    paper = replace(
        PAPER,
        reference="file" if "SO_HOA_GIAY_TO_GIAI_QUYET" in has else None,
        reused="REUSED_DIGITIZED_DATA" in has,
        from_data_store="SYNCED_WITH_DVCQG_PERSONAL_STORAGE" in has,
    )
    return {
        "born_on_portal": True,  # so the portal holds it
        "attachments": (paper,),
        "results": (RESULT,) if "ORIGINAL_RESULT_AVAILABLE" in has else (),
        "fees": (FEE if "owing" in has else replace(FEE, amount=0),),
        "score": ScoreFields(
            has_digitised_components=False,
            vneid_authenticated="CITIZEN_DATA_CONNECTED_DOSSIER" in has,
            online_payment=OnlinePayment.PORTAL if "paid" in has else OnlinePayment.OFFLINE,
        ),
    }


def _copy(connection: Connection, copies: dict[str, int]) -> None:
    """So many of each dossier's figures and spans as there are dossiers of its kind."""
    connection.execute(text("CREATE TEMPORARY TABLE copies (id TEXT, many INTEGER)"))
    told = [{"id": name, "many": many} for name, many in copies.items()]
    connection.execute(text("INSERT INTO copies VALUES (:id, :many)"), told)
    for table in (figures, verdict_spans):
        others = ", ".join(f'"{one.name}"' for one in table.columns if one.name != "dossier_id")
        connection.execute(
            text(f"""
            INSERT INTO {table.name} (dossier_id, {others})
            WITH RECURSIVE numbers(n) AS
                (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < (SELECT max(many) FROM copies))
            SELECT dossier_id || '/' || n, {others} FROM {table.name}
            JOIN copies ON id = dossier_id JOIN numbers ON n < many""")
        )


def _observed(unit: str) -> IndicatorObservation:
    """What the portal counted as received."""
    return IndicatorObservation(
        observation_id=unit,
        indicator="received_per_portal",
        value=Decimal(METRICS[unit, SYNC]["denominator"]),
        unit="dossiers",
        agency=unit,
        period="2026-08",
        as_of=date(2026, 9, 1),
        provenance=Provenance(system="dvcqg", document=None),
        corrects=None,
        observed_at=datetime(2026, 9, 1, 3, tzinfo=UTC),
        submitted_by="dvcqg",
    )


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Report]:
    async with hall(tmp_path) as ours:
        copies: dict[str, int] = {}
        for unit in UNITS:
            for story, many in _Unit(unit).stories():
                await _enlist(ours, story)
                copies[story.name] = many
        rules = replace(RULES, codes=codes(UNITS))
        while await ours.refresh(rules):
            pass
        await ours.lane.write(lambda c: _copy(c, copies))
        await ours.ledger.put_observations(lambda _: [_observed(unit) for unit in UNITS])
        asked = Asked(period=Period(PeriodKind.MONTH, 2026, 8), province=PROVINCE)
        now = datetime(2026, 9, 2, 3, tzinfo=UTC)
        yield await ours.lane.read(lambda c: report(c, asked, now))


async def _enlist(ours: Hall, story: Story) -> None:
    events = story.events()
    ours.told |= {event.event_id: event for event in events}
    await ours.desk.put(*events, dues=())


async def test_published_figures_come_out_of_dossiers_and_observations(made: Report) -> None:
    units = {unit.code: unit for unit in made.units}
    assert sorted(code or "" for code in units) == UNITS
    assert len(UNITS) >= 20
    for code, unit in units.items():
        told = {
            "on_time": _figure("progress", "on_time", code),
            SYNC: _figure("metrics", SYNC, code),
        }
        if code in DIGITISING:
            told |= {one: _figure("metrics", one, code) for one in DIGITISATION}
        for rate, figure in told.items():
            ours = unit.rate(rate)
            assert (code, rate, ours.known) == (code, rate, figure)
            assert (code, rate, ours.shown) == (code, rate, figure)
            for counted, published_as in zip(
                ours.counts.values(), _counts(rate, code or ""), strict=True
            ):
                assert (code, rate, counted) == (code, rate, published_as)
    _check_payment(made)


def _check_payment(made: Report) -> None:
    """With the counts of procedures as published."""
    rate = packaged().rate("online_payment")
    assert rate is not None
    for unit in made.units:
        counts = dict(unit.rate("online_payment").counts_shown)
        for term in rate.terms[1:]:
            assert counts[term.numerator] is None  # no dossier tells it
            assert term.columns is not None
            counts[term.numerator] = int(PAYMENT[unit.code or ""][term.columns.numerator])
            counts[term.denominator] = int(PAYMENT[unit.code or ""][term.columns.denominator])
        figure = shown(rate, counts)
        assert (unit.code, figure) == (
            unit.code,
            _figure("payment", "online_payment", unit.code),
        )


def _figure(table: str, code: str, unit: str | None) -> Figure:
    (one,) = [one for one in published(table, code) if one.unit == unit]
    return Figure(one.ratio, one.score)


def _counts(rate: str, unit: str) -> tuple[int, int]:
    if rate == "on_time":
        return int(PROGRESS[unit]["totalOnTime"]), int(PROGRESS[unit]["totalReceived"])
    row = METRICS[unit, rate]
    return int(row["numerator"]), int(row["denominator"])
