"""What can still be saved today, read from the ledger: candidates by SQL, then one life after the other.

The statement that finds the candidates may find too many: what the columns cannot tell is decided from the decoded
states. Of these a few are held at a time, and of the entries the most urgent. Not found is a dossier whose first
request to supplement stands in the state's list alone, without a step or a status ever having told of it.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import Counter, defaultdict
from datetime import datetime, time, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    case,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    union,
)

from monitoring.rates.reckoning import Decode, Rules, life, opened
from monitoring.rates.savable import (
    Entry,
    Field,
    Kind,
    Savable,
    Unit,
    entries_of,
    last_instant,
    missing,
)
from schemas.codec import UndecodableMessage
from schemas.dossier.clock import LateBecause
from schemas.dossier.mappings import CodeList, Unmapped
from schemas.dossier.reception import RECEPTION_LIMIT
from schemas.dossier.status import Status
from schemas.dossier.timeliness import Verdict
from schemas.dossier.working_calendar import CIVIL_ZONE, WorkingCalendar, civil_day
from schemas.ledger.database import Lane
from schemas.ledger.figures import JUDGED, DueDossier, told
from schemas.ledger.tables import dossiers, figures, mappings, timeline, verdict_spans
from schemas.ledger.work import chunks
from schemas.records import Channel

LISTED = 50
"""How many entries of each kind are listed of a unit; all are counted."""

_AT_ONCE = 100  # dossiers whose states are in memory together
_LOOK_BACK_DAYS = 400
_DAY = timedelta(days=1)

_D, _F, _S, _T, _M = dossiers.c, figures.c, verdict_spans.c, timeline.c, mappings.c


async def survey(
    lane: Lane,
    decode: Decode,
    rules: Rules,
    now: datetime,
    *,
    agency: str | None = None,
    listed: int = LISTED,
) -> Savable:
    """What can still be saved at `now`, of one unit or of all.

    Raises `LedgerUnavailable`, and what `decode` raises, but for `UndecodableMessage`.
    """
    calendar = rules.calendar
    shelf = _Shelf(listed)
    undecided = 0
    ids = await lane.read(lambda c: candidates(c, calendar, now, agency), unhurried=True)
    for some in chunks(ids, _AT_ONCE):
        for one in await lane.read(lambda c, some=some: told(c, some), unhurried=True):  # type: ignore[misc]
            await asyncio.sleep(
                0
            )  # a life takes a millisecond, and a worker has other things to do
            try:
                for entry in await _decided(one, decode, rules, now):
                    shelf.put(entry)
            except (UndecodableMessage, Unmapped, ValueError, OverflowError):
                undecided += 1
    await lane.read(lambda c: _put_missing(c, shelf, calendar, now, agency), unhurried=True)
    until = calendar.end_of_next_working_day(now)
    return Savable(
        now=now,
        until=until.value,
        certainty=until.certainty,
        units=shelf.units(),
        undecided=undecided,
        waiting=await lane.read(_waiting, unhurried=True),
    )


async def _decided(one: DueDossier, decode: Decode, rules: Rules, now: datetime) -> list[Entry]:
    """Raises `ValueError` for a dossier of which the newest state is not there any more."""
    states = await opened(one, decode)
    if not states:
        raise ValueError("the newest state is not in the ledger")
    _, newest = states[-1]
    return list(entries_of(newest, life(one, states, rules.codes), rules, now))


class _Shelf:
    """Counts every entry, and keeps the most urgent of each unit and kind."""

    def __init__(self, listed: int) -> None:
        self.listed = listed
        self._counts: dict[str | None, Counter[Kind]] = defaultdict(Counter)
        self._fields: dict[str | None, Counter[Field]] = defaultdict(Counter)
        self._kept: dict[tuple[str | None, Kind], list[Entry]] = defaultdict(list)

    def put(self, entry: Entry) -> None:
        self._counts[entry.agency][entry.kind] += 1
        self.keep(entry)

    def keep(self, entry: Entry) -> None:
        """List it without counting it."""
        kept = self._kept[entry.agency, entry.kind]
        insort(kept, entry, key=lambda one: one.urgency)
        del kept[self.listed :]

    def count_missing(self, agency: str | None, total: int, fields: dict[Field, int]) -> None:
        self._counts[agency][Kind.FIELD] = total
        self._fields[agency] = Counter({field: n for field, n in fields.items() if n})

    def units(self) -> tuple[Unit, ...]:
        return tuple(
            Unit(
                agency=agency,
                counts={kind: self._counts[agency][kind] for kind in Kind},
                fields=dict(self._fields[agency]),
                entries=tuple(entry for kind in Kind for entry in self._kept[agency, kind]),
            )
            for agency in sorted(self._counts, key=lambda code: (code is None, code))
        )


# --- candidates --------------------------------------------------------------------------------------


def candidates(
    connection: Connection, calendar: WorkingCalendar, now: datetime, agency: str | None = None
) -> list[str]:
    """The ids of the dossiers whose life is to be looked at.

    Those that were received are open for the portal: one that is paused has ended for it, and its clock stands
    still. Second requests are looked for wherever a step, or the newest status, tells of a first.
    """
    query = union(_received(calendar, now, agency), _not_received(calendar, now, agency))
    return sorted(connection.execute(query).scalars())


def _received(calendar: WorkingCalendar, now: datetime, agency: str | None) -> Select[Any]:
    today = _midnight(now)
    horizon = max(last_instant(now, calendar, owner) for owner in _owners(calendar))
    due = func.coalesce(_D.extended_at, _D.due_at)
    return (
        _open(_F.dossier_id)
        .where(
            func.coalesce(_S.late_because, "") != LateBecause.SECOND_SUPPLEMENT.value,
            or_(
                and_(due >= today, due < horizon),
                _asked_for_papers(),  # which may have moved the due date as well
            ),
        )
        .where(*_of(agency))
    )


def _not_received(calendar: WorkingCalendar, now: datetime, agency: str | None) -> Select[Any]:
    since = _submitted_since(now, calendar)
    return (
        select(_F.dossier_id)
        .join(dossiers, _D.dossier_id == _F.dossier_id)
        .where(
            _F.received_at.is_(None),
            _F.standing.in_(sorted(JUDGED)),
            *(
                column.is_(None)
                for column in (_D.finished_at, _D.returned_at, _D.withdrawn_at, _D.refused_at)
            ),
            not_(exists().where(_S.dossier_id == _F.dossier_id)),
            or_(
                and_(
                    _F.channel == Channel.ONLINE.value,
                    or_(_D.submitted_at >= since, _D.submitted_at.is_(None)),
                ),
                _asked_for_papers(),
            ),
        )
        .where(*_of(agency))
    )


def _open(*columns: Any) -> Select[Any]:
    """Dossiers that were received and have not ended for the portal: their last span has no end of either kind."""
    there = figures.join(
        verdict_spans,
        and_(_S.dossier_id == _F.dossier_id, _S.ended_at.is_(None), _S.end_at.is_(None)),
    ).join(dossiers, _D.dossier_id == _F.dossier_id)
    return select(*columns).select_from(there)


def _of(agency: str | None) -> list[ColumnElement[bool]]:
    return [] if agency is None else [_F.agency_code == agency]


def _asked_for_papers() -> ColumnElement[bool]:
    """Whether a step, or the state, has a status of the source that can mean a request to supplement."""
    means = and_(
        _M.codelist == CodeList.STATUS.value,
        _M.system == _D.source,
        _M.value == Status.SUPPLEMENT_REQUESTED.value,
    )
    steps = exists().where(_T.dossier_id == _D.dossier_id, _M.code == _T.status, means)
    return or_(steps, exists().where(_M.code == _D.status, means))


def _owners(calendar: WorkingCalendar) -> set[str | None]:
    """Whose hours there are: the province's (None), and those of agencies with their own."""
    return {None, *(row.agency for row in calendar.hours.rows)}


def _submitted_since(now: datetime, calendar: WorkingCalendar) -> datetime:
    """What was handed in before it has had its eight working hours in every agency."""
    since = _midnight(now)
    for _ in range(_LOOK_BACK_DAYS):
        if all(
            calendar.working_time(since, now, owner).value > RECEPTION_LIMIT
            for owner in _owners(calendar)
        ):
            break
        since -= _DAY
    return since


def _midnight(now: datetime) -> datetime:
    """That began the day of `now` in Viet Nam."""
    return datetime.combine(civil_day(now), time(), CIVIL_ZONE)


# --- missing fields ----------------------------------------------------------------------------------

_MISSING: dict[Field, ColumnElement[bool]] = {
    Field.DUE: _S.verdict == Verdict.UNDATED.value,
    Field.CHANNEL: _F.channel.is_(None),
    Field.REUSED: _F.reused.is_(None),
    Field.FROM_DATA_STORE: _F.from_data_store.is_(None),
    Field.POPULATION_DATA: _F.population_data.is_(None),
    Field.PAID_ONLINE: and_(
        _F.paid_online.is_(None), or_(_F.financial_obligation.is_(None), _F.financial_obligation)
    ),
}


def _put_missing(
    connection: Connection,
    shelf: _Shelf,
    calendar: WorkingCalendar,
    now: datetime,
    agency: str | None,
) -> None:
    lacks = or_(false(), *_MISSING.values())
    flags = [
        case((condition, literal(1)), else_=0).label(f"lacks_{field.name.lower()}")
        for field, condition in _MISSING.items()
    ]
    where = (lacks, *_of(agency))
    sums = [func.sum(flag).label(flag.name) for flag in flags]
    counted = _open(_F.agency_code, func.count().label("total"), *sums).where(*where)
    for row in connection.execute(counted.group_by(_F.agency_code)):
        fields = {field: int(n) for field, n in zip(_MISSING, row[2:], strict=True)}
        shelf.count_missing(row.agency_code, row.total, fields)
    due = func.coalesce(_D.extended_at, _D.due_at)
    nearest = func.row_number().over(
        partition_by=_F.agency_code,
        order_by=(case((due >= now, 0), else_=1), due, _F.dossier_id),
    )
    listed = (
        _open(
            _F.dossier_id,
            _F.code,
            _F.agency_code,
            due.label("due"),
            nearest.label("place"),
            *flags,
        )
        .where(*where)
        .subquery()
    )
    for row in connection.execute(select(listed).where(listed.c.place <= shelf.listed)):
        fields_missing = [f for f, n in zip(_MISSING, row[5:], strict=True) if n]
        shelf.keep(
            missing(
                fields_missing,
                dossier_id=row.dossier_id,
                code=row.code,
                agency=row.agency_code,
                due=row.due,
                now=now,
                calendar=calendar,
            )
        )


def _waiting(connection: Connection) -> int:
    query = select(func.count()).select_from(dossiers).where(_D.figures_due)
    return int(connection.execute(query).scalar_one())
