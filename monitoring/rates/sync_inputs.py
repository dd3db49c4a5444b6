"""What the rate of synchronisation takes from elsewhere: counts that are observed, with their day and source.

The denominator is the larger of two counts that the hub does not make itself (`sync.py`): dossiers received as
the portal counts them, and as they were reported to the reporting system. Both arrive as indicator
observations, `received_per_portal` and `received_per_report`; the report of a whole year is the one that stands
in for both in the year after it.

Inside the hub the denominator is known as soon as one of the two is observed: as the portal does, the other is
then taken as not there, and the figure is provisional. What the portal shows without any observation is
inferred: its own count is taken to be the dossiers that it is known to hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection

from monitoring.rates.observations import current
from monitoring.rates.periods import Period, PeriodKind
from monitoring.rates.sync import Months, SyncBase, sync_base
from schemas.ledger.observations import find

PER_PORTAL = "received_per_portal"
PER_REPORT = "received_per_report"

_MONTHS: Mapping[PeriodKind, Months] = {
    PeriodKind.MONTH: 1,
    PeriodKind.QUARTER: 3,
    PeriodKind.YEAR: 12,
}  # for a half year nobody says what stands in


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A count of dossiers that another system reported: for which period, true on which day, by whom."""

    count: int
    period: str
    as_of: date
    source: str

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "count": self.count,
            "period": self.period,
            "as_of": self.as_of,
            "source": self.source,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncInputs:
    """Of one agency and period; None is not observed. `held`: dossiers that the portal is known to hold."""

    period: Period
    portal: Told | None = None
    report: Told | None = None
    last_year: Told | None = None
    held: int | None = None

    @property
    def observed(self) -> bool:
        """Whether one of the period's own counts is."""
        return self.portal is not None or self.report is not None

    @property
    def known(self) -> SyncBase | None:
        """The denominator inside the hub; None where nothing of the period was observed."""
        return self._base(_count(self.portal)) if self.observed else None

    @property
    def shown(self) -> SyncBase:
        """The denominator at the portal."""
        return self._base(self.held if self.portal is None else self.portal.count)

    def _base(self, portal: int | None) -> SyncBase:
        months = _MONTHS.get(self.period.kind)
        last_year = _count(self.last_year) if months is not None else None
        return sync_base(portal, _count(self.report), last_year, months or 1)


def _count(told: Told | None) -> int | None:
    return None if told is None else told.count


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncCounts:
    """What was observed for a period, by agency."""

    period: Period
    portal: Mapping[str, Told]
    report: Mapping[str, Told]
    last_year: Mapping[str, Told]

    def of(self, agency: str | None, held: int | None) -> SyncInputs:
        """The inputs of one agency. Without a code there is nothing but what the portal holds."""
        code = agency or ""
        return SyncInputs(
            period=self.period,
            portal=self.portal.get(code),
            report=self.report.get(code),
            last_year=self.last_year.get(code),
            held=held,
        )


def observed(connection: Connection, period: Period) -> SyncCounts:
    """What holds of the observations for a period; what was taken back is not there."""
    year_before = Period(PeriodKind.YEAR, period.year - 1, 1)
    return SyncCounts(
        period=period,
        portal=_told(connection, PER_PORTAL, period),
        report=_told(connection, PER_REPORT, period),
        last_year=_told(connection, PER_REPORT, year_before),
    )


def nothing_observed(period: Period) -> SyncCounts:
    """For a part of an agency's dossiers, of which nobody else reports a count."""
    return SyncCounts(period=period, portal={}, report={}, last_year={})


def _told(connection: Connection, indicator: str, period: Period) -> Mapping[str, Told]:
    holding = current(find(connection, indicator=indicator, period=str(period)))
    return {
        about.agency: Told(
            count=int(one.value),
            period=about.period,
            as_of=one.as_of,
            source=" · ".join(filter(None, (one.provenance.system, one.provenance.document))),
        )
        for about, one in holding.items()
        if one.value is not None
    }
