"""The catalogue's quantities of dossiers, counted in the ledger: by unit, for any period, down to the dossiers.

Counted is what was reckoned (`reckoning.py`) as it stands now: a past period is judged by the fields in force
today, as the portal does. A dossier belongs to the unit, procedure and sector of its newest state. The end of
a period is the last instant before midnight in Viet Nam.

A quantity has two counts: `shown` are the dossiers of which the fact is known to be so, for the portal counts
a missing field against the unit; `known` is None as soon as the fact is unknown of one dossier. What no
dossier tells (`TOLD_ELSEWHERE`) is None in both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    case,
    false,
    func,
    not_,
    null,
    or_,
    select,
)

from monitoring.rates.catalogue import packaged
from monitoring.rates.periods import Period
from monitoring.rates.points import Counts
from schemas.dossier.service_levels import ServiceLevel
from schemas.dossier.timeliness import IN_TIME, Verdict
from schemas.dossier.working_calendar import CIVIL_ZONE
from schemas.ledger.dialect import for_counting, in_code_order
from schemas.ledger.figures import JUDGED, Standing
from schemas.ledger.model import Known
from schemas.ledger.tables import dossier_target, figures, verdict_spans
from schemas.records import Channel

PORTAL = "national_portal"

PROVISIONAL = frozenset({"channel_total", "online_received", "online_on_time"})
"""Counted over the dossiers received in the period (§4.3 c, one source). The portal's own total of the
channels was another number in the one month that was seen, and of what it is made is not public."""

TOLD_ELSEWHERE: Mapping[str, str] = {
    "received_in_period_larger": "needs the figures of the reporting system: see sync.py",
    "progress_synced_in_time": "is a matter of deliveries, not of dossiers",
    "satisfied": "needs ratings and complaints",
}
"""Quantities of dossiers that the dossiers do not tell, and why."""


class NotCounted(LookupError):
    """No dossiers can be listed for this name. The text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which dossiers: None is all of them. An empty set of agencies holds none.

    `agencies` are codes as the portal is told of them: a unit with its children is the set of all of these.
    `procedure` is the national code, `sector` the source's.
    """

    agencies: Collection[str] | None = None
    procedure: str | None = None
    sector: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCounts:
    """One unit's counts by the names of quantities; `agency` is None for dossiers whose unit has no mapping.

    `unknown`: of how many dossiers the fact is not known. `unjudged`: dossiers that are in no count of
    progress because their life could not be read (see `Standing`), received by the end of the period or not
    known to be. What the source deleted is in no count and not among these.
    """

    agency: str | None
    known: Counts
    shown: Counts
    unknown: Mapping[str, int]
    unjudged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The units in the order of their codes, the one without a code last, and all of them together."""

    units: tuple[UnitCounts, ...]
    total: UnitCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """A dossier behind a count. `counts` is None where the fact is unknown; `verdict` is that of the end of
    the period, None where there is none or the dossier had ended before."""

    dossier_id: str
    code: str | None
    agency: str | None
    counts: bool | None
    verdict: Verdict | None
    late_because: str | None
    end_at: datetime | None


def bounds(period: Period) -> tuple[datetime, datetime]:
    """[start, end) of a period, UTC: midnights in Viet Nam."""
    return _midnight(period.first), _midnight(period.last + timedelta(days=1))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), CIVIL_ZONE).astimezone(UTC)


# --- what counts -----------------------------------------------------------------------------------

_F, _S, _T = figures.c, verdict_spans.c, dossier_target.c

ONLINE = _F.channel == Channel.ONLINE.value
"""Handed in online; a dossier without a channel was handed in at the counter (§4.3 c)."""

HELD = or_(_F.born_on_portal, func.coalesce(_T.known, "") == Known.PRESENT.value)
"""The portal is known to hold it. `AT_PORTAL` joins what is known of the portal."""

AT_PORTAL = and_(_T.dossier_id == _F.dossier_id, _T.target == PORTAL)


@dataclass(frozen=True, slots=True)
class _Rule:
    """`among` says which dossiers come into question, `fact` (nullable) which of them count; None: all."""

    among: ColumnElement[bool]
    fact: ColumnElement[bool] | None = None

    @property
    def counts(self) -> ColumnElement[bool]:
        return self.among if self.fact is None else and_(self.among, self.fact)

    @property
    def unknown(self) -> ColumnElement[bool]:
        return false() if self.fact is None else and_(self.among, self.fact.is_(null()))


def _rules(start: datetime, end: datetime) -> dict[str, _Rule]:
    """By the names of quantities. The columns are those of `_joined`."""
    received = and_(_F.received_at >= start, _F.received_at < end)
    judged = _S.verdict.is_not(None)
    carried = and_(judged, or_(_S.end_at.is_(None), _S.end_at >= start))
    is_open = and_(judged, _S.end_at.is_(None))
    finished = and_(judged, _S.end_at >= start)
    returned = and_(_F.returned_at >= start, _F.returned_at < end)
    in_time = case(
        (_S.verdict == Verdict.UNDATED.value, null()),
        else_=_S.verdict.in_(sorted(verdict.value for verdict in IN_TIME)),
    )
    online = and_(received, ONLINE)
    # `eligible` in the national database is taken to be: offered at the full level (inferred, README.md).
    full_process = _F.service_level == ServiceLevel.FULL.value
    return {
        "received_in_period": _Rule(received),
        "channel_total": _Rule(received),
        "received_and_carried_over": _Rule(carried),
        "handled_in_period": _Rule(or_(received, carried, returned)),
        "synced_received_in_period": _Rule(received, HELD),
        "on_time_or_within_time": _Rule(carried, in_time),
        "finished_on_time": _Rule(finished, in_time),
        "finished": _Rule(finished),
        "open_within_time": _Rule(is_open, in_time),
        "open": _Rule(is_open),
        "online_received": _Rule(online),
        "online_on_time": _Rule(online, in_time),
        "online_with_electronic_result": _Rule(
            online, or_(_F.electronic_result, not_(_F.paper_result))
        ),
        "full_process_online": _Rule(online, full_process),
        "full_process_eligible": _Rule(received, full_process),
        "with_electronic_result": _Rule(carried, _F.electronic_result),
        "digitised": _Rule(carried, _F.digitised),
        "with_reused_data": _Rule(carried, _F.reused),
        "in_personal_storage": _Rule(carried, _F.from_data_store),
        "with_citizen_data": _Rule(carried, _F.population_data),
        "paid_online": _Rule(
            and_(received, or_(_F.financial_obligation.is_(None), _F.financial_obligation)),
            _F.paid_online,
        ),
        "with_financial_obligation": _Rule(received, _F.financial_obligation),
    }


def has_dossiers(connection: Connection, scope: Scope) -> bool:
    """Whether any dossier of the scope was ever reckoned."""
    return (
        connection.execute(select(_F.dossier_id).where(*within(scope)).limit(1)).first() is not None
    )


def live(start: datetime, end: datetime) -> Select[tuple[str]]:
    """The ids of the dossiers that may count in [start, end), found by an index."""
    return select(_F.dossier_id).where(*_may_count(start, end))


def _may_count(start: datetime, end: datetime) -> list[ColumnElement[bool]]:
    return [_F.counts_until >= start, _F.counts_from < end]


def _joined(start: datetime, end: datetime, scope: Scope, *columns: Any) -> Select[Any]:
    """The dossiers that may count, each with its judgement at the end of the period, in one row.

    One that had ended before the period has no judgement here: of the years before nothing is read.
    """
    covering = and_(
        _S.dossier_id == _F.dossier_id,
        _S.begun_at < end,
        or_(
            _S.ended_at >= end,
            and_(_S.ended_at.is_(None), or_(_S.end_at.is_(None), _S.end_at >= start)),
        ),
        or_(_S.end_at.is_(None), _S.end_at >= start),
    )
    tables = figures.outerjoin(verdict_spans, covering).outerjoin(dossier_target, AT_PORTAL)
    counts = _rules(start, end)["handled_in_period"].among  # no rule's dossiers are more
    where = (*_may_count(start, end), counts, *within(scope))
    return select(*columns).select_from(tables).where(*where)


def within(scope: Scope) -> list[ColumnElement[bool]]:
    """What a dossier of the scope must be."""
    where: list[ColumnElement[bool]] = []
    if scope.agencies is not None:
        where.append(_F.agency_code.in_(sorted(scope.agencies)))
    if scope.procedure is not None:
        where.append(_F.procedure_code == scope.procedure)
    if scope.sector is not None:
        where.append(_F.sector_code == scope.sector)
    return where


def selected(
    quantity: str, start: datetime, end: datetime, scope: Scope, *columns: Any
) -> Select[Any]:
    """The dossiers that `shown` counts, as a statement for `columns` of `figures`. Raises `NotCounted`."""
    return _joined(start, end, scope, *columns).where(_rule(quantity, start, end).counts)


# --- counts ----------------------------------------------------------------------------------------


def count(
    connection: Connection, start: datetime, end: datetime, scope: Scope = Scope()
) -> Counted:
    """Every quantity of dossiers, by unit and together, for [start, end), in one statement.

    Open dossiers are judged at the last instant. Of a period that has not ended give the present as the end, or
    what will be late by its last day counts as late already.
    """
    rules = _rules(start, end)
    columns = []
    for name, rule in rules.items():
        columns.append(_how_many(rule.counts, name))
        if rule.fact is not None:
            columns.append(_how_many(rule.unknown, f"{name}?"))
    for_counting(connection)
    query = _joined(start, end, scope, _F.agency_code, *columns).group_by(_F.agency_code)
    found = {row.agency_code: dict(row._mapping) for row in connection.execute(query)}
    unjudged = _unjudged(connection, end, scope)
    agencies = sorted({*found, *unjudged}, key=lambda code: (code is None, code))
    names = [column.name for column in columns]
    nothing = dict.fromkeys(names, 0)
    units = [(code, found.get(code, nothing), unjudged.get(code, 0)) for code in agencies]
    together = {name: sum(counts[name] for _, counts, _ in units) for name in names}
    return Counted(
        units=tuple(_unit(code, counts, rest) for code, counts, rest in units),
        total=_unit(None, together, sum(unjudged.values())),
    )


def _how_many(condition: ColumnElement[bool], name: str) -> Any:
    return func.sum(case((condition, 1), else_=0)).label(name)


def _unjudged(connection: Connection, end: datetime, scope: Scope) -> dict[str | None, int]:
    query = (
        select(_F.agency_code, func.count().label("n"))
        .where(
            _F.standing.in_(sorted(set(Standing) - JUDGED - {Standing.DELETED})),
            or_(_F.received_at.is_(None), _F.received_at < end),
            *within(scope),
        )
        .group_by(_F.agency_code)
    )
    return {row.agency_code: row.n for row in connection.execute(query)}


def _unit(agency: str | None, row: Mapping[str, Any], unjudged: int) -> UnitCounts:
    known: dict[str, int | None] = {}
    shown: dict[str, int | None] = {}
    unknown: dict[str, int] = {}
    for name, quantity in packaged().quantities.items():
        counted = int(row[name]) if name in row else None
        shown[name] = known[name] = counted
        if quantity.counts == "dossiers" and f"{name}?" in row:
            unknown[name] = int(row[f"{name}?"])
            known[name] = None if unknown[name] else counted
    return UnitCounts(
        agency=agency,
        known=known,
        shown=shown,
        unknown=unknown,
        unjudged=unjudged,
    )


# --- the dossiers behind a count -------------------------------------------------------------------


def dossiers_of(
    connection: Connection,
    quantity: str,
    start: datetime,
    end: datetime,
    scope: Scope = Scope(),
    *,
    instead: bool = False,
    after: str | None = None,
    limit: int | None = None,
    also: ColumnElement[bool] | None = None,
) -> list[Counting]:
    """The dossiers that `shown` counts, and those of which the fact is unknown, by id.

    `instead` lists those that came into question and do not count. With `limit` it is a page of at most so
    many, which begins behind the id `after`. `also` narrows to `figures` that meet it. Raises `NotCounted`.
    """
    rule = _rule(quantity, start, end)
    place = in_code_order(connection, _F.dossier_id)
    for_counting(connection)
    wanted = and_(rule.among, not_(rule.counts)) if instead else or_(rule.counts, rule.unknown)
    query = (
        _joined(
            start,
            end,
            scope,
            _F.dossier_id,
            _F.code,
            _F.agency_code,
            case((rule.unknown, null()), (rule.counts, 1), else_=0).label("counts"),
            _S.verdict,
            _S.late_because,
            _S.end_at,
        )
        .where(wanted)
        .order_by(place)
        .limit(limit)
    )
    if after is not None:
        query = query.where(place > after)
    if also is not None:
        query = query.where(also)
    return [
        Counting(
            dossier_id=row.dossier_id,
            code=row.code,
            agency=row.agency_code,
            counts=None if row.counts is None else bool(row.counts),
            verdict=Verdict(row.verdict) if row.verdict else None,
            late_because=row.late_because,
            end_at=row.end_at,
        )
        for row in connection.execute(query)
    ]


def _rule(quantity: str, start: datetime, end: datetime) -> _Rule:
    """Raises `NotCounted`."""
    rules = _rules(start, end)
    if quantity not in rules:
        raise NotCounted(_why_not(quantity))
    return rules[quantity]


def _why_not(quantity: str) -> str:
    known = packaged().quantities.get(quantity)
    if known is None:
        return f"{quantity}: is not among the quantities"
    if known.counts != "dossiers":
        return f"{quantity}: counts {known.counts}, not dossiers"
    return f"{quantity}: {TOLD_ELSEWHERE.get(quantity, 'is not told by dossiers')}"
