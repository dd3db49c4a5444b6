"""Which periods have begun and are not open yet, with the window and the deadlines that they get. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from schemas.dossier.working_calendar import WorkingCalendar
from schemas.ledger.report_store import Report
from schemas.reports.periods import (
    REFUSES,
    Calendar,
    FaultFound,
    Neighbour,
    Period,
    PeriodKind,
    Window,
    faults,
    parse_period,
    period_of,
    units_due_on,
)

_MOST_BACK = 60
"""So many periods are looked back at most: the first day of a new installation opens no old history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    """The periods that a regime asks for. `windows`: by period, those that a person has set."""

    code: str
    agency: str
    calendar: Calendar
    kinds: tuple[PeriodKind, ...]
    due_day: int
    unit_days: int
    windows: Mapping[str, Window]


@dataclass(frozen=True, slots=True)
class Begun:
    """A period that has begun: the report to be opened, and what is wrong with it."""

    report: Report
    faults: tuple[FaultFound, ...]

    @property
    def refused(self) -> bool:
        """Whether it must not be opened so."""
        return any(one.fault in REFUSES for one in self.faults)


def begun(
    regime: Regime, opened: Iterable[Report], today: date, calendar: WorkingCalendar
) -> Iterator[Begun]:
    """Every period of the regime that has begun and is not open, oldest first by kind.

    It begins with the first that was ever opened, so that what could not be opened is looked at again; of a
    kind that has none, with those that can still be sent in time. Each is judged beside those before it.
    """
    ours = [one for one in opened if (one.regime, one.agency) == (regime.code, regime.agency)]
    for kind in regime.kinds:
        there = {one.period: one for one in ours if one.kind is kind}
        neighbours = [Neighbour(key, one.window) for key, one in there.items()]
        for period in _periods(regime, kind, there, today):
            if str(period) in there:
                continue
            report = _report(regime, period, calendar)
            found = Begun(
                report, tuple(faults(period, report.window, report.due_on, neighbours, calendar))
            )
            if not found.refused:
                neighbours.append(Neighbour(report.period, report.window))
            yield found


def _periods(
    regime: Regime, kind: PeriodKind, there: Mapping[str, Report], today: date
) -> Iterator[Period]:
    period = _first(regime, kind, there, today)
    for _ in range(_MOST_BACK):
        if period is None or _window(regime, period).first > today:
            return
        yield period
        period = period.next()


def _first(
    regime: Regime, kind: PeriodKind, there: Mapping[str, Report], today: date
) -> Period | None:
    oldest = min(there.values(), key=lambda one: one.window.first, default=None)
    if oldest is not None:
        period = parse_period(oldest.period)
        assert period is not None  # it was written by `str`
        behind = _current(regime, kind, today)
        back = 0
        while behind is not None and behind != period and back < _MOST_BACK - 1:
            behind, back = behind.previous(), back + 1
        return behind
    period = _current(regime, kind, today)
    while period.previous().due_on(regime.calendar, regime.due_day) >= today:
        period = period.previous()
    return period


def _current(regime: Regime, kind: PeriodKind, today: date) -> Period:
    """The period that runs today; between two windows the one that ended last."""
    found = period_of(kind, regime.calendar, today)
    if found is not None:
        return found
    period = Period(kind, today.year + 1, 1)
    while period.window(regime.calendar).first > today:
        period = period.previous()
    return period


def _window(regime: Regime, period: Period) -> Window:
    return regime.windows.get(str(period)) or period.window(regime.calendar)


def _report(regime: Regime, period: Period, calendar: WorkingCalendar) -> Report:
    window = _window(regime, period)
    due_on = period.due_on(regime.calendar, regime.due_day)
    return Report(
        regime=regime.code,
        period=str(period),
        agency=regime.agency,
        kind=period.kind,
        calendar=regime.calendar,
        window=window,
        units_due_on=units_due_on(window, due_on, regime.unit_days, calendar).value,
        due_on=due_on,
    )
