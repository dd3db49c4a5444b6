"""The hub's own rates of integration, counted in the ledger: what became of the deliveries of a period.

A delivery belongs to the period in which its event was recorded, which is when the hub took it upon itself;
by its effective time a first load, or a step that was dated back, would change months that are long closed.
It counts as it stands now, under the unit of its dossier's newest state. `integration.toml` has the rates;
`points.known` makes their shares.

Nobody waits for what is younger than a limit: of the counts of that limit it is in neither.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    case,
    exists,
    func,
    literal_column,
    or_,
    select,
)

from monitoring.rates.catalogue import hub_rates
from monitoring.rates.points import Counts
from schemas.dossier.days_off import Certainty, weakest
from schemas.dossier.working_calendar import WorkingCalendar
from schemas.ledger import partitions
from schemas.ledger.dialect import AnyRow, at_most_apart, clock, for_counting, to_moment
from schemas.ledger.model import DeliveryState, Outcome
from schemas.ledger.tables import PARKED_DELIVERY, attempts, deliveries, figures, timeline
from schemas.ledger.work import chunks
from schemas.reasons import Reason

MINUTE = timedelta(minutes=1)
QUARTER = timedelta(minutes=15)
"""What the newer wording of the rate of synchronisation is taken to allow (`DOSSIER_SYNC_IN_TIME`)."""

WORKING_HOURS = timedelta(hours=8)
"""Working time of the handling agency, as for the reception of an online dossier."""

BY_STATE = ("owed", "delivered", "superseded", "discarded", "parked", "open")
"""Counts by how the deliveries stand: the last five make up the first. `open` are those that need nobody."""

_CLOCKS_APART = timedelta(hours=1)
"""By how much an attempt may seem to lie before its event's record: two machines' clocks."""

_D, _T, _F, _A = deliveries.c, timeline.c, figures.c, attempts.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What was owed to one target by one unit; `agency` is None where the unit has no mapping.

    `counts`: the quantities of `integration.toml` and those of `BY_STATE`. `parked`: the deliveries that
    are parked, by reason. The oldest of those that are open and of those that are parked, by when they
    were recorded.
    """

    target: str
    agency: str | None
    counts: Counts
    parked: Mapping[str, int]
    oldest_open_at: datetime | None
    oldest_parked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Integration:
    """By target and the units' codes, the one without a code last; `totals` by target.

    `at` is the database's time. `certainty` is that of the calendar's answers about the slow ones.
    """

    at: datetime
    units: tuple[Carried, ...]
    totals: tuple[Carried, ...]
    certainty: Certainty


def count(
    connection: Connection,
    start: datetime,
    end: datetime,
    *,
    calendar: WorkingCalendar,
    agencies: Collection[str] | None = None,
) -> Integration:
    """The deliveries whose events were recorded in [start, end), of these agencies or of all.

    On PostgreSQL month by month of the events' source days, so that only those partitions are read that
    hold some. Raises `ValueError` for times outside the years that the calendar takes.
    """
    for_counting(connection)
    at = to_moment(clock(connection))
    within = [_T.recorded_at >= start, _T.recorded_at < end]
    if agencies is not None:
        within.append(_F.agency_code.in_(sorted(agencies)))
    sums: defaultdict[_Key, _Sum] = defaultdict(_Sum)
    sure: set[Certainty] = set()
    for part in _parts(connection, start, end):
        for row in connection.execute(_counted(connection, [*within, *part], at)):
            sums[row.target, row.agency_code].add(row)
        for row in connection.execute(_reasons([*within, *part])):
            sums[row.target, row.agency_code].parked[row.why] += row.n
        for row in connection.execute(_slow(connection, [*within, *part], at)):
            sums[row.target, row.agency_code].told_slow(row, at, calendar, sure)
    for key, more in _not_right(connection, start, within).items():
        sums[key].counts["right_first_time"] -= more
    keys = sorted(sums, key=lambda key: (key[0], key[1] is None, key[1]))
    units = tuple(sums[key].carried(*key) for key in keys)
    totals = tuple(_together(target, list(some)) for target, some in groupby(units, _target))
    return Integration(at=at, units=units, totals=totals, certainty=weakest(sure))


_Key = tuple[str, str | None]


@dataclass(slots=True)
class _Sum:
    """The counts of one target and unit while they are added up."""

    counts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    parked: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    oldest: dict[str, datetime] = field(default_factory=dict)

    def add(self, row: AnyRow) -> None:
        for name in _COUNTED:
            self.counts[name] += int(getattr(row, name) or 0)
        for name in ("oldest_open_at", "oldest_parked_at"):
            if (at := getattr(row, name)) is not None:
                self.oldest[name] = min(at, self.oldest.get(name, at))

    def told_slow(
        self, row: AnyRow, now: datetime, calendar: WorkingCalendar, sure: set[Certainty]
    ) -> None:
        """One that took longer than eight hours by the clock on the wall, or waits for longer."""
        worked = calendar.working_time(row.recorded_at, row.settled_at or now, row.agency_code)
        sure.add(worked.certainty)
        in_time = worked.value <= WORKING_HOURS
        if row.settled_at is not None:
            self.counts["arrived_in_8_working_hours"] += in_time
        else:
            self.counts["told_after_8_working_hours"] += not in_time

    def carried(self, target: str, agency: str | None) -> Carried:
        names = (*BY_STATE, *hub_rates().quantities)
        parked = {reason: n for reason, n in sorted(self.parked.items()) if n}
        counts = {name: self.counts[name] for name in names}
        counts["to_arrive"] = counts["owed"] - counts["discarded"]
        counts["arrived"] = counts["delivered"] + counts["superseded"]
        counts["unmapped"] = parked.get(Reason.UNMAPPED, 0)
        counts["undecided"] = parked.get(Reason.OUTCOME_UNKNOWN, 0)
        return Carried(
            target=target,
            agency=agency,
            counts=counts,
            parked=parked,
            oldest_open_at=self.oldest.get("oldest_open_at"),
            oldest_parked_at=self.oldest.get("oldest_parked_at"),
        )


def _target(one: Carried) -> str:
    return one.target


def _together(target: str, units: Sequence[Carried]) -> Carried:
    parked: defaultdict[str, int] = defaultdict(int)
    for unit in units:
        for reason, n in unit.parked.items():
            parked[reason] += n
    return Carried(
        target=target,
        agency=None,
        counts={name: sum(int(u.counts[name] or 0) for u in units) for name in units[0].counts},
        parked=dict(sorted(parked.items())),
        oldest_open_at=min((u.oldest_open_at for u in units if u.oldest_open_at), default=None),
        oldest_parked_at=min(
            (u.oldest_parked_at for u in units if u.oldest_parked_at), default=None
        ),
    )


# --- statements ------------------------------------------------------------------------------------

_ARRIVED = _D.state.in_([DeliveryState.DELIVERED.value, DeliveryState.SUPERSEDED.value])
_DELIVERED = _D.state == DeliveryState.DELIVERED.value
_PARKED = _D.state == DeliveryState.PARKED.value
_STILL_OPEN = _D.state.in_(
    [s.value for s in (DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.WAITING)]
)
_TO_COME = or_(_STILL_OPEN, _PARKED)

_LIMITS = (
    ("1_minute", _T.recorded_at, MINUTE),
    ("15_minutes", _T.recorded_at, QUARTER),
    ("15_minutes_of_effect", _T.at, QUARTER),
    # By the clock on the wall; `told_slow` adds those whose eight working hours took longer.
    ("8_working_hours", _T.recorded_at, WORKING_HOURS),
)

_COUNTED = (
    *BY_STATE,
    "right_first_time",
    *(f"{what}_{limit}" for limit, *_ in _LIMITS for what in ("arrived_in", "told_after")),
)


def _counted(
    connection: Connection, where: Sequence[ColumnElement[bool]], now: datetime
) -> Select[Any]:
    """A row for each target and unit."""
    columns = [
        func.count().label("owed"),
        _how_many(_DELIVERED, "delivered"),
        _how_many(_D.state == DeliveryState.SUPERSEDED.value, "superseded"),
        _how_many(_D.state == DeliveryState.DISCARDED.value, "discarded"),
        _how_many(_PARKED, "parked"),
        _how_many(_STILL_OPEN, "open"),
        _how_many(_DELIVERED, "right_first_time"),  # from which `_not_right` is taken off
        func.min(case((_STILL_OPEN, _T.recorded_at))).label("oldest_open_at"),
        func.min(case((_PARKED, _T.recorded_at))).label("oldest_parked_at"),
    ]
    for limit, since, span in _LIMITS:
        in_time = and_(_ARRIVED, at_most_apart(connection, since, _D.settled_at, span))
        told = _ARRIVED if span is WORKING_HOURS else or_(_ARRIVED, _overdue(since, span, now))
        columns.append(_how_many(in_time, f"arrived_in_{limit}"))
        columns.append(_how_many(told, f"told_after_{limit}"))
    return (
        select(_D.target, _F.agency_code, *columns)
        .select_from(_joined())
        .where(*where)
        .group_by(_D.target, _F.agency_code)
    )


def _reasons(where: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """How many are parked, by target, unit and reason. Apart: few are, and they have an index."""
    why = func.coalesce(_D.reason, "").label("why")
    return (
        select(_D.target, _F.agency_code, why, func.count().label("n"))
        .select_from(_joined())
        .where(*where, PARKED_DELIVERY)
        .group_by(_D.target, _F.agency_code, why)
    )


def _slow(
    connection: Connection, where: Sequence[ColumnElement[bool]], now: datetime
) -> Select[Any]:
    """Those of which the clock on the wall does not tell whether eight working hours had passed."""
    late = and_(_ARRIVED, ~at_most_apart(connection, _T.recorded_at, _D.settled_at, WORKING_HOURS))
    query = (
        select(
            _D.target,
            _F.agency_code,
            _T.recorded_at,
            case((_ARRIVED, _D.settled_at)).label("settled_at"),
        )
        .select_from(_joined())
        .where(*where, or_(late, _overdue(_T.recorded_at, WORKING_HOURS, now)))
    )
    return query.execution_options(yield_per=1000)


def _overdue(since: ColumnElement[datetime], span: timedelta, now: datetime) -> ColumnElement[bool]:
    return and_(_TO_COME, since < now - span)


def _joined(*also: ColumnElement[bool]) -> Any:
    """Deliveries with when their events were recorded and took effect: the timeline has that without payloads.

    The day is left out of the join: an id has one day, and of two conditions the planner expects few rows.
    """
    told = and_(_T.event_id == _D.event_id, *also)
    return deliveries.join(timeline, told).outerjoin(figures, _F.dossier_id == _D.dossier_id)


def _how_many(condition: ColumnElement[bool], name: str) -> Any:
    return func.sum(case((condition, 1), else_=0)).label(name)


def _parts(
    connection: Connection, start: datetime, end: datetime
) -> Iterator[list[ColumnElement[bool]]]:
    """What keeps a statement within one month's partitions, for each month of which some are there."""
    if connection.dialect.name != "postgresql":
        yield []
        return
    recorded = (_T.recorded_at >= start, _T.recorded_at < end)
    for name in sorted(partitions.partitions(connection)):
        first, after = partitions.months_of(name)
        days, ids = [], []
        # Written out, not bound: a plan for any month would be one for all of them.
        if first is not None:
            days.append(_T.source_day >= literal_column(f"{first}01"))
            ids.append(_D.delivery_id >= literal_column(str(partitions.first_id(first))))
        if after is not None:
            days.append(_T.source_day < literal_column(f"{after}01"))
            ids.append(_D.delivery_id < literal_column(str(partitions.first_id(after))))
        if connection.execute(select(exists().where(*days, *recorded))).scalar_one():
            yield [*days, *ids]


# --- by the first attempt --------------------------------------------------------------------------


def _not_right(
    connection: Connection, start: datetime, within: Sequence[ColumnElement[bool]]
) -> Mapping[_Key, int]:
    """The delivered ones that an attempt covered which is not the one that delivered them.

    Only attempts that did not simply succeed are looked at: they are few, and name their deliveries.
    """
    query = select(_A.attempt_id, _A.delivery_ids).where(
        _A.started_at >= start - _CLOCKS_APART,
        or_(_A.outcome.is_(None), _A.outcome != Outcome.DELIVERED.value),
    )
    tried: defaultdict[int, set[str]] = defaultdict(set)
    for row in connection.execute(query.execution_options(yield_per=1000)):
        for delivery_id in json.loads(row.delivery_ids):
            tried[delivery_id].add(row.attempt_id)
    found: defaultdict[_Key, int] = defaultdict(int)
    for some in chunks(sorted(tried)):
        delivered = (
            select(_D.delivery_id, _D.attempt_id, _D.target, _F.agency_code)
            .select_from(_joined(_T.source_day == _D.source_day))  # few rows, each in its month
            .where(_D.delivery_id.in_(some), _DELIVERED, *within)
        )
        for one in connection.execute(delivered):
            if tried[one.delivery_id] - {one.attempt_id}:
                found[one.target, one.agency_code] += 1
    return found
