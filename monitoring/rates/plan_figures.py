"""The figures that dossiers and the list of service levels give the plan, by quarter and by year.

What is divided by what (S is the list of services in force on the last day of the period, or today):

- goal 13: dossiers received in the period through the online channel / all dossiers received in it. Only
  services of level 3 and 4 take dossiers online (inferred), so that this needs no list.
- goal 14: services of S at the full level / all of S. That S is what the plan means by services is inferred.
- goal 1: services of S at the full level of which the portal is known to hold a dossier that was received in
  the period / all services of S at the full level. That a service is synchronised when its dossiers are is
  inferred; one without dossiers cannot be seen there and counts as not synchronised, so that the figure is
  the least that it can be.

A procedure that has dossiers in the period and is not in the list may be of any level: goals 1 and 14 have
no figure then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import Connection, case, func, select

from monitoring.rates import catalogue
from monitoring.rates.dossier_counts import AT_PORTAL, HELD, ONLINE, Scope, bounds, within
from monitoring.rates.periods import Period, PeriodKind
from monitoring.rates.plan import Plan, Value
from monitoring.rates.points import Counts, known
from schemas.dossier.service_levels import ServiceLevel, ServiceLevels
from schemas.dossier.working_calendar import civil_day
from schemas.ledger.dialect import for_counting
from schemas.ledger.tables import dossier_target, figures

SOURCE = "hồ sơ · dossiers"
_OTHER_SOURCES = {"fullCount/authorityCount": "danh mục mức độ · list of levels"}

_QUARTERS = range(1, 5)


@dataclass(frozen=True, slots=True)
class Use:
    """What came in of one procedure in a period. `held`: dossiers that the portal is known to hold."""

    received: int = 0
    online: int = 0
    held: int = 0

    def __add__(self, other: Use) -> Use:
        return Use(
            self.received + other.received, self.online + other.online, self.held + other.held
        )


Uses = Mapping[str | None, Use]
"""By national code; None is of the dossiers whose procedure has no mapping."""


@dataclass(frozen=True, slots=True)
class PlanFigures:
    """`values` by the code of the rate. `unlisted`: procedures that have dossiers and are not in the list of
    levels, in the newest period that lacks one; None among them: a procedure without a mapping."""

    values: Mapping[str, Sequence[Value]]
    unlisted: tuple[str | None, ...] = ()


def plan_figures(
    connection: Connection,
    plan: Plan,
    levels: ServiceLevels,
    now: datetime,
    scope: Scope | None = None,
) -> PlanFigures:
    """The figures of this year and the one before, up to now, each as it stands now.

    Without `scope` the whole province is counted. Which procedures are under a single unit's authority the
    list does not say, so with one goals 1 and 14 have no figure.
    """
    for_counting(connection)
    today = civil_day(now)
    measures = [goal.rate for goal in plan.goals if goal.rate is not None]
    values: dict[str, list[Value]] = defaultdict(list)
    unlisted: tuple[str | None, ...] = ()
    for period, uses in _periods(connection, now, scope or Scope()):
        missing = _unlisted(levels, uses, period)
        unlisted = missing or unlisted
        counts = _of_dossiers(uses)
        if scope is None and not missing:
            counts |= _of_services(levels, uses, min(period.last, today))
        for code in measures:
            ratio = _ratio(code, counts)
            if ratio is not None:
                values[code].append(Value(ratio, period, today, _OTHER_SOURCES.get(code, SOURCE)))
    return PlanFigures(dict(values), unlisted if levels.rows and scope is None else ())


def _periods(connection: Connection, now: datetime, scope: Scope) -> Iterator[tuple[Period, Uses]]:
    """The quarters of this year and the one before that have begun, each year after its quarters."""
    today = civil_day(now)
    for year in (today.year - 1, today.year):
        whole: dict[str | None, Use] = defaultdict(Use)
        for number in _QUARTERS:
            quarter = Period(PeriodKind.QUARTER, year, number)
            if quarter.first > today:
                break
            start, end = bounds(quarter)
            uses = _uses(connection, start, min(end, now), scope)
            for procedure, use in uses.items():
                whole[procedure] += use
            yield quarter, uses
        yield Period(PeriodKind.YEAR, year, 1), whole


def _uses(connection: Connection, start: datetime, end: datetime, scope: Scope) -> Uses:
    """What was received in [start, end)."""
    query = (
        select(
            figures.c.procedure_code,
            func.count().label("received"),
            func.sum(case((ONLINE, 1), else_=0)).label("online"),
            func.sum(case((HELD, 1), else_=0)).label("held"),
        )
        .select_from(figures.outerjoin(dossier_target, AT_PORTAL))
        .where(figures.c.received_at >= start, figures.c.received_at < end, *within(scope))
        .group_by(figures.c.procedure_code)
    )
    return {
        row.procedure_code: Use(int(row.received), int(row.online), int(row.held))
        for row in connection.execute(query)
    }


def _unlisted(levels: ServiceLevels, uses: Uses, period: Period) -> tuple[str | None, ...]:
    """The procedures without a level in the period, the one without a code last."""
    missing = [code for code in uses if not levels.knows(code, period.first, period.last)]
    return tuple(sorted(missing, key=lambda code: (code is None, code)))


def _of_dossiers(uses: Uses) -> dict[str, int]:
    return {
        "online_received": sum(use.online for use in uses.values()),
        "channel_total": sum(use.received for use in uses.values()),
    }


def _of_services(levels: ServiceLevels, uses: Uses, day: date) -> dict[str, int]:
    """See the beginning; without any dossier nothing is known of what the portal holds."""
    services = levels.all_on(day)
    full = [service.code for service in services if service.level is ServiceLevel.FULL]
    counts = {"full_process_procedures": len(full), "procedures_under_authority": len(services)}
    if uses:
        counts["full_process_procedures_on_portal"] = sum(
            code in uses and uses[code].held > 0 for code in full
        )
        counts["full_process_eligible_procedures"] = len(full)
    return counts


def _ratio(code: str, counts: Counts) -> Decimal | None:
    """The newest version of a rate; None where something that it needs was not counted."""
    rates = catalogue.packaged()
    rate = rates.rate(code)
    assert rate is not None  # without a day there is always one
    return known(rate, {**dict.fromkeys(rates.quantities), **counts}).ratio
