"""The plan's goal 5: of the report regimes that the province has to answer, how many it does answer, by quarter and year.

At the end of a quarter or year, or now:

- denominator: the regimes that were received by then and hold on that day, by the newest version received, whatever
  is wrong with it; those that name who reports, only if the province is among them.
- numerator: of these, the regimes that are usable (in force with all their forms), of which every cell of every form
  has a source, and whose report of the last period that was due had been submitted. A period that was due before the
  regime came is not asked for, so of a regime that was not due yet the sources are enough.

That this is what the plan means by a regime that is connected is inferred; the plan has the words only. Form II.06 has
no table of sources: it is counted by the hub. Of a period by whose end no regime had come there is no figure, so that
what other systems observed of it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import Connection

from monitoring.rates.dossier_counts import bounds
from monitoring.rates.periods import Period, PeriodKind
from monitoring.rates.plan import Value
from monitoring.rates.points import share
from schemas.dossier.working_calendar import civil_day
from schemas.ledger import regimes
from schemas.ledger.regimes import FormMapping, FormPlace, Submission
from schemas.reports.cells import is_mapped
from schemas.reports.regimes import Catalogue, in_force_on, judge

INDICATOR = "report_regimes_connected"
"""The plan's indicator that is computed here."""

SOURCE = "chế độ đã nhận · regimes received"

COUNTED_BY_THE_HUB = frozenset({"II.06"})
"""Regimes whose figures no table of sources gives."""

_QUARTERS = range(1, 5)
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A period of a regime by the day it is due; `submitted_at` None: it was not sent."""

    period: str
    due_on: date
    submitted_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegimeStanding:
    """How a regime stands at a moment. `unmapped_forms`: those with cells that have no source."""

    code: str
    usable: bool
    unmapped_forms: tuple[str, ...]
    last_due: Due | None
    next_due: Due | None

    @property
    def mapped(self) -> bool:
        """Whether it can be filled."""
        return self.usable and not self.unmapped_forms

    @property
    def answered(self) -> bool:
        """Whether it counts in the numerator."""
        sent = self.last_due is None or self.last_due.submitted_at is not None
        return self.mapped and sent


def standings(
    found: Catalogue,
    mappings: Mapping[FormPlace, FormMapping],
    submissions: Iterable[Submission],
    agency: str,
    at: datetime,
) -> list[RegimeStanding]:
    """Every regime of the denominator, by code. Pure; `at` is aware."""
    day = civil_day(at)
    sent: dict[str, list[Submission]] = {}
    for one in submissions:
        sent.setdefault(one.regime, []).append(one)
    return [
        RegimeStanding(
            code=code,
            usable=code in found.regimes,
            unmapped_forms=_unmapped(found, mappings, code),
            last_due=_last(dues := _dues(found, code, sent.get(code, ()), at), day),
            next_due=min(
                (one for one in dues if one.due_on > day and one.submitted_at is None),
                key=lambda one: one.due_on,
                default=None,
            ),
        )
        for code, regime in sorted(found.legal.items())
        if in_force_on(regime, day) and (not regime.reporters or agency in regime.reporters)
    ]


def _unmapped(
    found: Catalogue, mappings: Mapping[FormPlace, FormMapping], code: str
) -> tuple[str, ...]:
    if code in COUNTED_BY_THE_HUB or code not in found.regimes:
        return ()
    told = []
    for form in found.asked(code):
        mapping = mappings.get(FormPlace(code, form.code, form.version))
        if not is_mapped(form, {} if mapping is None else mapping.cells):
            told.append(form.code)
    return tuple(told)


def _dues(
    found: Catalogue, code: str, submissions: Sequence[Submission], at: datetime
) -> list[Due]:
    """The periods that are due since the regime came: those that were defined, and those that were opened."""
    came_on = civil_day(found.first_received[code])
    dues: dict[str, date] = {one.code: one.due_on for one in found.periods_of(code)}
    dues |= {one.period: one.due_on for one in submissions}
    sent = {
        one.period: one.submitted_at
        for one in submissions
        if one.submitted_at is not None and one.submitted_at <= at
    }
    return [
        Due(period=period, due_on=due_on, submitted_at=sent.get(period))
        for period, due_on in dues.items()
        if due_on >= came_on
    ]


def _last(dues: Iterable[Due], day: date) -> Due | None:
    """The one whose day has passed last."""
    return max((one for one in dues if one.due_on < day), key=lambda one: one.due_on, default=None)


def regime_figures(connection: Connection, agency: str, now: datetime) -> list[Value]:
    """The goal's figures of this year and the one before, up to now, each as it stood at its end."""
    today = civil_day(now)
    received = regimes.received(connection)
    if not received:
        return []
    submissions = regimes.submissions(connection)
    values = []
    for period in _periods(today):
        at = min(bounds(period)[1] - _INSTANT, now)
        stood = standings(
            judge(one for one in received if one.received_at <= at),
            regimes.mappings(connection, until=at),
            submissions,
            agency,
            at,
        )
        if stood:
            answered = sum(one.answered for one in stood)
            values.append(Value(share(answered, len(stood)), period, civil_day(at), SOURCE))
    return values


def merged(computed: Sequence[Value], observed: Sequence[Value]) -> list[Value]:
    """What was computed, and of the other periods what was observed."""
    there = {value.period for value in computed}
    return [*computed, *(value for value in observed if value.period not in there)]


def _periods(today: date) -> Iterator[Period]:
    """The quarters of this year and the one before that have begun, each year after its quarters."""
    for year in (today.year - 1, today.year):
        for number in _QUARTERS:
            quarter = Period(PeriodKind.QUARTER, year, number)
            if quarter.first > today:
                break
            yield quarter
        yield Period(PeriodKind.YEAR, year, 1)
