"""Dossiers that the portal must count as late because of synchronisation, and not of the office.

At one moment, the last instant of a period or now: by what the portal held then its own rule
(`timeliness.judge`) says late, and by everything that the source tells of the time until then the legal clock
(`clock.read`) says in time. Of a dossier without a due date the clock gives no answer, so it is never in
this list; neither is one of which the portal held no state, for it does not count it at all.

What the portal held is what was delivered by that moment, read as it reads it: the steps that had arrived, and
the newest state that had. A delivery that came later heals the verdict; it does not change what was shown.

Why, the first of these that by itself takes the lateness away (`Reason` has the words):

1. If the portal's rule says late even of all that the source tells: the due date that was sent is not
   the one in force (`wrong_due`), else the rule passes over a stretch in which the clock stands still
   (`pause_not_counted`).
2. Else something had not arrived: a request to supplement or another pause (`missing_supplement`), an
   extension (`missing_extension`), the end or another step (`late_arrival`), a due date that was changed
   otherwise (`wrong_due`). Where no single one is enough, it is late arrival.

The points are those of the on-time rate, `points.shown`: as the portal must show them, and with these
dossiers in time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import partial

from sqlalchemy import Connection, and_, or_, select

from monitoring.rates.catalogue import Rate, Words, packaged
from monitoring.rates.dossier_counts import PORTAL, Counted, Scope, UnitCounts, count, live, within
from monitoring.rates.points import Figure, shown
from monitoring.rates.reckoning import ON_TIME, Decode, Rules, life, limit_of, opened
from schemas.codec import UndecodableMessage
from schemas.dossier.clock import ClockState, DueBasis, Reading, read
from schemas.dossier.mappings import Unmapped
from schemas.dossier.timeline import END_ORDER, HAPPENINGS, Timeline
from schemas.dossier.timeliness import IN_TIME, OVERDUE, Verdict, judge
from schemas.dossier.working_calendar import civil_day
from schemas.ledger.database import Lane
from schemas.ledger.dialect import clock, to_moment
from schemas.ledger.figures import JUDGED
from schemas.ledger.tables import figures, verdict_spans
from schemas.ledger.told import Told, owed_by, told
from schemas.ledger.work import chunks

_ALL = Scope()
_F, _S = figures.c, verdict_spans.c
_ENDS = frozenset(status for group in END_ORDER for status in group)


class Reason(StrEnum):
    """Why a dossier is late for the portal alone."""

    LATE_ARRIVAL = "late_arrival"
    MISSING_SUPPLEMENT = "missing_supplement"
    MISSING_EXTENSION = "missing_extension"
    PAUSE_NOT_COUNTED = "pause_not_counted"
    WRONG_DUE = "wrong_due"


WHY: Mapping[Reason, Words] = {
    Reason.LATE_ARRIVAL: Words(
        vi="kết thúc hoặc bước xử lý chưa tới Cổng", en="the end or a step had not arrived"
    ),
    Reason.MISSING_SUPPLEMENT: Words(
        vi="yêu cầu bổ sung hoặc tạm dừng chưa tới Cổng",
        en="a request to supplement, or a pause, had not arrived",
    ),
    Reason.MISSING_EXTENSION: Words(vi="gia hạn chưa tới Cổng", en="an extension had not arrived"),
    Reason.PAUSE_NOT_COUNTED: Words(
        vi="Cổng không trừ thời gian tạm dừng",
        en="the portal's rule passes over a pause of the legal clock",
    ),
    Reason.WRONG_DUE: Words(
        vi="hạn đã gửi khác hạn đang có hiệu lực", en="the due date sent is not the one in force"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FalselyLate:
    """A dossier, and both verdicts. `due_held` is the portal's due date, `due` the one in force by law.

    `counted`: with everything delivered the portal's rule says in time, so `dossier_counts` counts it so.
    """

    dossier_id: str
    code: str | None
    agency: str | None
    reason: Reason
    portal: Verdict
    office: ClockState
    due_held: datetime | None
    due: datetime | None
    ended_at: datetime | None
    counted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """What one unit loses; `agency` is None where the unit has no mapping, and for the total.

    `now` is what the portal must show, `without` with these dossiers in time.
    """

    agency: str | None
    reasons: Mapping[Reason, int]
    now: Figure
    without: Figure

    @property
    def dossiers(self) -> int:
        return sum(self.reasons.values())

    @property
    def points(self) -> Decimal | None:
        """The points lost; None where no rule is known for the period."""
        if self.now.score is None or self.without.score is None:
            return None
        return self.without.score - self.now.score


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseOverdue:
    """`at` is the moment of the verdicts. `unread`: how many that come into question cannot be judged, because
    what they were told is gone from the ledger, or cannot be read. The units are those that have some."""

    at: datetime
    dossiers: tuple[FalselyLate, ...]
    units: tuple[Lost, ...]
    total: Lost
    unread: int


async def find(
    lane: Lane,
    decode: Decode,
    rules: Rules,
    start: datetime,
    end: datetime,
    scope: Scope = _ALL,
) -> FalseOverdue:
    """Of the dossiers that count in [start, end), those that are late for the portal alone.

    A period that has not ended is judged now. Raises `LedgerUnavailable`, and what `decode` raises but for
    `UndecodableMessage`.
    """
    now = to_moment(await lane.read(clock))
    until = min(end, now)
    last = until - timedelta.resolution
    candidates = await lane.read(lambda c: _candidates(c, start, until, scope))
    found: list[FalselyLate] = []
    unread = 0
    for some in chunks(candidates):
        ids = [one.dossier_id for one in some]
        stories = await lane.read(partial(told, ids=ids, target=PORTAL, by=last))
        lives = {one.dossier_id: one for one in stories}
        for one in some:
            read_out = await _lives(lives.get(one.dossier_id), decode, rules)
            if read_out is None:
                unread += 1
                continue
            whole, held, limit = read_out
            if held is None:
                continue
            try:
                judged = compare(one, whole, held, last, rules, limit)
            except (ValueError, OverflowError):  # an impossible time, since corrected
                unread += 1
                continue
            if judged is not None:
                found.append(judged)
    counted = await lane.read(lambda c: count(c, start, until, scope))
    units, total = lost(found, counted, packaged().rate(ON_TIME, on=civil_day(last)))
    return FalseOverdue(at=last, dossiers=tuple(found), units=units, total=total, unread=unread)


# --- who comes into question -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A dossier that was late by the portal's rule alone, or of which something had not arrived."""

    dossier_id: str
    code: str | None
    agency: str | None


def _candidates(
    connection: Connection, start: datetime, end: datetime, scope: Scope
) -> list[Candidate]:
    """In the order of their codes."""
    last = end - timedelta.resolution
    there, owed = live(start, end).subquery("live"), owed_by(connection, PORTAL, last)
    covering = and_(
        _S.dossier_id == _F.dossier_id,
        _S.begun_at < end,
        or_(_S.ended_at.is_(None), _S.ended_at >= end),
        or_(_S.end_at.is_(None), _S.end_at >= start),
    )
    by_rule_alone = and_(_S.verdict.in_(sorted(OVERDUE)), _S.office_late.is_(False))
    query = (
        select(_F.dossier_id, _F.code, _F.agency_code)
        .select_from(
            there.join(figures, _F.dossier_id == there.c.dossier_id)
            .join(verdict_spans, covering)
            .outerjoin(owed, owed.c.dossier_id == _F.dossier_id)
        )
        .where(
            _F.standing.in_(sorted(JUDGED)),
            or_(by_rule_alone, owed.c.dossier_id.is_not(None)),
            *within(scope),
        )
        .order_by(_F.code, _F.dossier_id)
    )
    return [
        Candidate(dossier_id=row.dossier_id, code=row.code, agency=row.agency_code)
        for row in connection.execute(query)
    ]


async def _lives(
    one: Told | None, decode: Decode, rules: Rules
) -> tuple[Timeline, Timeline | None, timedelta | None] | None:
    """The whole life, the one that the portal held, if it held any, and the longest legal time of the
    procedure, by the newest state. None: they cannot be read."""
    if one is None:
        return None
    try:
        found: list[Timeline | None] = []
        limit: timedelta | None = None
        for each in (one.whole, one.held):
            states = await opened(each, decode) if each is not None else []
            if each is not None and not states:
                return None
            found.append(life(each, states, rules.codes) if each is not None else None)
            if each is one.whole and found[-1] is not None:
                limit = limit_of(states[-1][1], found[-1], rules)
    except (UndecodableMessage, Unmapped):
        return None
    whole, held = found
    assert whole is not None
    return whole, held, limit


# --- both verdicts ---------------------------------------------------------------------------------


def compare(
    one: Candidate,
    whole: Timeline,
    held: Timeline,
    at: datetime,
    rules: Rules,
    limit: timedelta | None = None,
) -> FalselyLate | None:
    """The dossier if at that moment it was late for the portal alone.

    `limit` is the longest legal time of its procedure: the portal goes by it where it holds no due date.
    """

    def verdict(timeline: Timeline) -> Verdict:
        return judge(
            timeline,
            as_of=at,
            comparison=rules.comparison,
            calendar=rules.calendar,
            agency=one.agency,
            limit=limit,
        ).verdict

    portal = verdict(held)
    if portal not in OVERDUE:
        return None
    office = read(
        whole,
        now=at,
        soon=timedelta(),
        calendar=rules.calendar,
        agency=one.agency,
        comparison=rules.comparison,
    )
    if office.late_because is not None or office.due is None:
        return None
    by_rule = verdict(whole)
    if by_rule in OVERDUE:
        reason = _by_rule(whole, office, lambda timeline: verdict(timeline) in IN_TIME)
    else:
        reason = _by_arrival(whole, held, lambda timeline: verdict(timeline) in IN_TIME)
    return FalselyLate(
        dossier_id=one.dossier_id,
        code=one.code,
        agency=one.agency,
        reason=reason,
        portal=portal,
        office=office.state,
        due_held=held.times.due,
        due=office.due.at,
        ended_at=office.ended.at if office.ended else None,
        counted=by_rule in IN_TIME,
    )


def _by_rule(whole: Timeline, office: Reading, in_time: Callable[[Timeline], bool]) -> Reason:
    """Why the rule calls late what everything that was told says to be in time."""
    due = office.due
    if due is not None and due.basis is DueBasis.SHIFTED:
        moved = replace(whole, times=replace(whole.times, due=due.at))
        if in_time(moved):
            return Reason.WRONG_DUE
    return Reason.PAUSE_NOT_COUNTED


def _by_arrival(whole: Timeline, held: Timeline, in_time: Callable[[Timeline], bool]) -> Reason:
    """What would have been enough, had it arrived."""
    return next(
        (reason for reason, mended in _mended(whole, held) if in_time(mended)),
        Reason.LATE_ARRIVAL,
    )


def _mended(whole: Timeline, held: Timeline) -> Iterator[tuple[Reason, Timeline]]:
    """What was held, each time with one kind of thing that was missing."""
    ends_held = {entry for entry in held.entries if entry.status in _ENDS}
    yield (
        Reason.MISSING_SUPPLEMENT,
        replace(
            held,
            entries=tuple(
                entry for entry in whole.entries if entry.status not in _ENDS or entry in ends_held
            ),
            supplements=whole.supplements,
        ),
    )
    dated = replace(held, times=replace(held.times, due=whole.times.due))
    extended = whole.times.extended
    if extended is not None and extended != held.times.extended:
        yield Reason.MISSING_EXTENSION, dated
    happened = {name: getattr(whole.times, name) for name in HAPPENINGS}
    arrived = replace(held, entries=whole.entries, times=replace(held.times, **happened))
    yield Reason.LATE_ARRIVAL, arrived
    yield Reason.WRONG_DUE, dated


# --- points ----------------------------------------------------------------------------------------


def lost(
    found: Collection[FalselyLate], counted: Counted, rate: Rate | None
) -> tuple[tuple[Lost, ...], Lost]:
    """What the units lose that have some, in the order of their codes, and all units together.

    `counted` has as late what the rule says late, and as in time what had only not arrived.
    """
    units = tuple(
        _lost(unit.agency, [one for one in found if one.agency == unit.agency], unit, rate)
        for unit in counted.units
    )
    return tuple(unit for unit in units if unit.reasons), _lost(None, found, counted.total, rate)


def _lost(
    agency: str | None, found: Collection[FalselyLate], unit: UnitCounts, rate: Rate | None
) -> Lost:
    not_arrived = sum(one.counted for one in found)
    reasons = Counter(one.reason for one in found)
    return Lost(
        agency=agency,
        reasons={reason: reasons[reason] for reason in Reason if reasons[reason]},
        now=_figure(rate, unit, -not_arrived),
        without=_figure(rate, unit, len(found) - not_arrived),
    )


def _figure(rate: Rate | None, unit: UnitCounts, more: int) -> Figure:
    if rate is None:
        return Figure(None, None)
    in_time = rate.terms[0].numerator
    return shown(rate, {**unit.shown, in_time: (unit.shown[in_time] or 0) + more})
