"""Steps that reached the portal in time: the newer wording of the rate of synchronisation.

`DOSSIER_SYNC_IN_TIME` asks for dossiers "whose progress was synchronised on time" among those that were
received, in progress or returned in the period (sheet METRICS, row 4; one source). What delay is still in
time nobody says, so it is a setting. Inferred: a dossier is in time when none of its steps of the period is
late; a step is late once the limit has run out since it took effect and the portal had not been told by
then; a dossier without a step in the period has nothing late. Steps count as they are sent: a correction is
never sent, and is no step here.

The evidence is that of the deliveries, which the ledger lets go of after some months: of a period before
`Steps.since` nothing is known any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    DateTime,
    Interval,
    Join,
    Select,
    and_,
    case,
    func,
    literal,
    or_,
    select,
    type_coerce,
    union_all,
)

from monitoring.rates.dossier_counts import PORTAL, Scope, selected, within
from schemas.ledger.dialect import for_counting
from schemas.ledger.model import DeliveryState, Operation
from schemas.ledger.retention import deliveries_of
from schemas.ledger.tables import deliveries, figures, timeline
from schemas.records import EventKind

IN_TIME = timedelta(minutes=15)
"""The limit unless a setting says otherwise."""

HANDLED = "handled_in_period"

_D, _T, _F = deliveries.c, timeline.c, figures.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """What counts as in time. `now` is aware; `since`: the first moment of which all deliveries are kept."""

    now: datetime
    limit: timedelta = IN_TIME
    since: datetime | None = None

    def __post_init__(self) -> None:
        if self.limit <= timedelta():
            raise ValueError("limit: must be longer than nothing")

    def kept(self, start: datetime) -> bool:
        """Whether all that was delivered for a period that begins then is still known."""
        return self.since is None or start >= self.since


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCounts:
    """One unit's steps of a period, how many of them were in time, and dossiers with a late one."""

    steps: int = 0
    in_time: int = 0
    late_dossiers: int = 0


def count_steps(
    connection: Connection, start: datetime, end: datetime, scope: Scope, steps: Steps
) -> Mapping[str | None, StepCounts]:
    """By the unit's code, for steps that took effect in [start, end); units without any are left out.

    One pass over the steps: those in time are added up by unit, each dossier with a late one has a row of its own.
    """
    for_counting(connection)
    late_one = case((_is_late(connection, steps), _D.dossier_id)).label("late_one")
    passed = (
        select(_F.agency_code, late_one, func.count().label("steps"))
        .select_from(_sent().join(figures, _F.dossier_id == _D.dossier_id))
        .where(_of_the_period(connection, start, end), *within(scope))
        .group_by(_F.agency_code, late_one)
        .cte("passed")
    )
    sums = select(
        passed.c.agency_code,
        func.sum(passed.c.steps).label("steps"),
        func.sum(case((passed.c.late_one.is_(None), passed.c.steps), else_=0)).label("in_time"),
        literal(0).label("late"),
    ).group_by(passed.c.agency_code)
    held_up = selected(
        HANDLED, start, end, scope, _F.agency_code, literal(0), literal(0), func.count()
    )
    late = select(passed.c.late_one).where(passed.c.late_one.is_not(None))
    held_up = held_up.where(_F.dossier_id.in_(late)).group_by(_F.agency_code)
    found: dict[str | None, StepCounts] = {}
    for row in connection.execute(union_all(sums, held_up)):
        before = found.get(row.agency_code, StepCounts())
        found[row.agency_code] = StepCounts(
            steps=before.steps + int(row.steps),
            in_time=before.in_time + int(row.in_time),
            late_dossiers=before.late_dossiers + int(row.late),
        )
    return found


def late_dossiers(
    connection: Connection, start: datetime, end: datetime, steps: Steps
) -> Select[str]:
    """The ids of dossiers with a late step that took effect in [start, end)."""
    return (
        select(_D.dossier_id)
        .select_from(_sent())
        .where(_of_the_period(connection, start, end), _is_late(connection, steps))
    )


def _sent() -> Join:
    """Deliveries with when their steps took effect. Without the payloads: the timeline has none.

    The day is left out of the join: an id has one day, and of two conditions the planner expects few rows.
    """
    return deliveries.join(timeline, _T.event_id == _D.event_id)


def _of_the_period(connection: Connection, start: datetime, end: datetime) -> ColumnElement[bool]:
    months = _months(start, end)
    return and_(
        _D.target == PORTAL,
        _D.operation == Operation.STEP.value,
        _T.kind == EventKind.CHANGE.value,
        _T.at >= start,
        _T.at < end,
        # Only for the database, so that it leaves other months alone.
        or_(*(deliveries_of(connection, month) for month in months)),
        _T.source_day.between(months[0] * 100, months[-1] * 100 + 99),
    )


def _is_late(connection: Connection, steps: Steps) -> ColumnElement[bool]:
    delivered = _D.state == DeliveryState.DELIVERED.value
    return or_(
        and_(delivered, _took_longer(connection, steps.limit)),
        and_(~delivered, _T.at < steps.now - steps.limit),
    )


def _took_longer(connection: Connection, limit: timedelta) -> ColumnElement[bool]:
    """SQLite keeps a moment as microseconds, PostgreSQL as what it is."""
    if connection.dialect.name == "sqlite":
        took = type_coerce(_D.settled_at, BigInteger) - type_coerce(_T.at, BigInteger)
        return took > limit // timedelta(microseconds=1)
    moment = DateTime(timezone=True)
    lasted = type_coerce(_D.settled_at, moment) - type_coerce(_T.at, moment)
    return lasted > literal(limit, Interval())


def _months(start: datetime, end: datetime) -> list[int]:
    """The UTC months, yyyymm, from one moment to another."""
    first, last = (
        12 * day.year + day.month - 1 for day in (start.astimezone(UTC), end.astimezone(UTC))
    )
    return [month // 12 * 100 + month % 12 + 1 for month in range(first, last + 1)]
