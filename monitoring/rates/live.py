"""The province's rates as they stand now, for `/metrics`: few series, the present month and the one before.

A rate is what the portal counts over its dossiers (`UnitCounts.shown`): of a rate with several terms the
first, which is over dossiers. What is not counted here has no sample; a 0 would be a figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from monitoring.rates.catalogue import Catalogue
from monitoring.rates.dossier_counts import Counted
from monitoring.rates.periods import Period, PeriodKind
from monitoring.rates.points import Counts
from schemas.dossier.working_calendar import civil_day

BY_AGENCY = (
    "on_time",
    "channelOnlineSum/channelTotalSum",
    "online_payment",
    "ORIGINAL_RESULT_AVAILABLE",
)
"""The rates that are also told by agency, of the present month: of each block that dossiers feed, the one
that weighs most, and the share handed in online. Others by agency: `thongsuot rates`, and the SQL views."""


class Span(StrEnum):
    """The periods of the metrics, by names that do not change with the calendar."""

    THIS_MONTH = "this_month"
    LAST_MONTH = "last_month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A rate's counts: `numerator` of `denominator` dossiers."""

    numerator: int
    denominator: int


def spans_at(now: datetime) -> Mapping[Span, Period]:
    """The period that each name means at this moment, by the day in Viet Nam."""
    day = civil_day(now)
    month = Period(PeriodKind.MONTH, day.year, day.month)
    before = (
        Period(PeriodKind.MONTH, day.year, day.month - 1)
        if day.month > 1
        else Period(PeriodKind.MONTH, day.year - 1, 12)
    )
    return {Span.THIS_MONTH: month, Span.LAST_MONTH: before}


def shares(catalogue: Catalogue, counts: Counts) -> dict[str, Share]:
    """By code of a rate, for those whose first term is counted."""
    found: dict[str, Share] = {}
    for code in catalogue.codes:
        term = catalogue.versions(code)[-1].terms[0]
        numerator, denominator = counts[term.numerator], counts[term.denominator]
        if term.times is None and isinstance(numerator, int) and isinstance(denominator, int):
            found[code] = Share(numerator=numerator, denominator=denominator)
    return found


def by_agency(catalogue: Catalogue, counted: Counted) -> dict[tuple[str, str], float]:
    """The ratio, 0 to 1, by code of a rate and agency; without those of which nothing is counted."""
    found: dict[tuple[str, str], float] = {}
    for unit in counted.units:
        told = shares(catalogue, unit.shown)
        for code in BY_AGENCY:
            share = told.get(code)
            if unit.agency is not None and share is not None and share.denominator:
                found[code, unit.agency] = share.numerator / share.denominator
    return found
