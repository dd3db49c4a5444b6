"""What form II.06 is counted from: how every dossier stood on every day, by what was known when.

Two times lie at right angles here. A row says how a dossier stands at the end of each day of
[begun_on, ended_on), and that so much was known of it in [known_from, known_until). Of any day and any moment
a dossier has one row at most, so that what was counted once can be counted again, whatever came later. Rows are
added; of a row that is there only `known_until` is set, once.

- Who reads along behind the flow has a place in the log of its own, by partition (`report_cursors`): the flow
  marks nothing for it, and no other reader takes its marks. A partition has one owner and its events are
  committed in order, so that nothing can appear behind a place that was read.
- When something became known is the record time of its event, but after everything known of the dossier
  before, and after the horizon: what was still under way when figures were frozen was not known to whoever
  froze them. `seal` sets the horizon.
- `matters_until` is the last day on which a window may begin that counts the row, if it is counted at a
  moment not before its beginning. So a month is counted without reading the years before it, nor what was
  known for a while long ago; the table is not partitioned, for rows never go.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, or_, select, update

from schemas.dossier.working_calendar import civil_day
from schemas.ledger.dialect import (
    EPOCH,
    AnyRow,
    clock,
    in_code_order,
    insert_or_skip,
    insert_or_update,
    locked,
    to_moment,
)
from schemas.ledger.figures import FOREVER
from schemas.ledger.tables import (
    dossiers,
    events,
    positions,
    report_cursors,
    report_horizon,
    report_lives,
    report_spans,
)
from schemas.ledger.work import chunks
from schemas.reports.lives import Facts, Trouble
from schemas.reports.standings import FIRST_DAY, LAST_DAY, Span, Standing

RULES_CHANGED = "rules"
"""The cause of what was read anew by other code mappings; else it is the kind of an event."""


class NotYet(ValueError):
    """Figures cannot be frozen for a moment that has not come: more would become known before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadEvent:
    """An event behind the place that was read, with its place in the log."""

    dossier_id: str
    log_pos: int
    recorded_at: datetime
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Events of one partition in the order of the log, from `begin`; the next place to read is `end`."""

    topic: str
    partition: int
    begin: int
    end: int
    events: tuple[UnreadEvent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A row of a dossier: what it says, since when it is known, and what brought it."""

    known_from: datetime
    known_until: datetime
    cause: str
    span: Span
    facts: Facts

    @property
    def key(self) -> tuple[datetime, date]:
        """What tells it from the dossier's other rows."""
        return self.known_from, self.span.begun_on

    @property
    def matters_until(self) -> date:
        """The last day on which a window may begin that counts this row."""
        span = self.span
        if span.received_on is None:
            return FIRST_DAY
        left = LAST_DAY if span.closed_on is None else max(span.closed_on, span.received_on)
        return min(left, span.ended_on - timedelta(days=1), _day(self.known_until))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """A dossier as far as it was read: what was told of it, and what is known now."""

    dossier_id: str
    known_at: datetime
    life: str
    rows: tuple[Kept, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What came of more events of a dossier. `closed`: rows that were there and are known no more."""

    dossier_id: str
    known_at: datetime
    rules: str
    trouble: Trouble | None
    life: str
    closed: tuple[Kept, ...]
    added: tuple[Kept, ...]


# --- reading along -------------------------------------------------------------------------------------


def unread(connection: Connection, topic: str, limit: int) -> list[Stretch]:
    """At most `limit` events of this topic that were not read yet. In one snapshot, a query per partition."""
    found: list[Stretch] = []
    for partition, begin in _places(connection, topic).items():
        rows = connection.execute(
            select(events.c.dossier_id, events.c.log_pos, events.c.recorded_at, events.c.payload)
            .where(*_behind(topic, partition, begin))
            .order_by(events.c.log_pos)
            .limit(limit)
        ).all()
        if rows:
            limit -= len(rows)
            found.append(
                Stretch(
                    topic=topic,
                    partition=partition,
                    begin=begin,
                    end=rows[-1].log_pos + 1,
                    events=tuple(UnreadEvent(**row._mapping) for row in rows),
                )
            )
        if limit == 0:
            break
    return found


def waiting(connection: Connection, topic: str, rules: str | None = None) -> int:
    """How many dossiers have events that were not read yet, or (of those read) other rules than these."""
    behind = sum(
        connection.execute(
            select(func.count(events.c.dossier_id.distinct())).where(
                *_behind(topic, partition, begin)
            )
        ).scalar_one()
        for partition, begin in _places(connection, topic).items()
    )
    if rules is None:
        return behind
    query = select(func.count()).select_from(report_lives).where(_of_other_rules(rules))
    return behind + int(connection.execute(query).scalar_one())


def _places(connection: Connection, topic: str) -> dict[int, int]:
    """The next place to read in every partition of which the ledger knows."""
    known = select(positions.c.partition).where(positions.c.topic == topic).distinct()
    places = dict.fromkeys(sorted(connection.execute(known).scalars()), 0)
    cursors = select(report_cursors.c.partition, report_cursors.c.log_pos).where(
        report_cursors.c.topic == topic
    )
    return places | {row.partition: row.log_pos for row in connection.execute(cursors)}


def _behind(topic: str, partition: int, begin: int) -> list[Any]:
    here = events.c.topic == topic, events.c.partition == partition
    return [*here, events.c.log_pos >= begin]


def horizon(connection: Connection) -> datetime:
    """Up to when figures were frozen; it does not move before this transaction ends."""
    query = select(report_horizon.c.known_at).where(report_horizon.c.id == 1)
    found: datetime | None = connection.execute(
        locked(connection, query, shared=True)
    ).scalar_one_or_none()
    return found or EPOCH


def seal(connection: Connection, known_at: datetime) -> None:
    """From now on nothing becomes known at or before this moment: what is counted for it stays so.

    Bears being repeated; an earlier moment changes nothing. Raises `NotYet`.
    """
    if known_at > to_moment(clock(connection)):
        raise NotYet(f"{known_at.isoformat()} has not come yet: freeze after it")
    connection.execute(
        insert_or_update(
            connection,
            report_horizon,
            ["id"],
            {"known_at": "known_at"},
            where=report_horizon.c.known_at < known_at,
        ),
        {"id": 1, "known_at": known_at},
    )


def claim(connection: Connection, stretches: Sequence[Stretch]) -> list[Stretch]:
    """Those that nobody else has read meanwhile. Their places move on with this transaction."""
    keys = ["topic", "partition"]
    for one in stretches:
        row = {"topic": one.topic, "partition": one.partition, "log_pos": 0}
        connection.execute(insert_or_skip(connection, report_cursors, keys), row)
    places = {
        (row.topic, row.partition): row.log_pos
        for row in connection.execute(
            locked(
                connection,
                select(report_cursors).order_by(report_cursors.c.topic, report_cursors.c.partition),
                shared=False,
            )
        )
    }
    ours = [one for one in stretches if places[one.topic, one.partition] == one.begin]
    for one in ours:
        connection.execute(
            update(report_cursors)
            .where(report_cursors.c.topic == one.topic, report_cursors.c.partition == one.partition)
            .values(log_pos=one.end)
        )
    return ours


# --- dossiers ------------------------------------------------------------------------------------------


def tracked(connection: Connection, ids: Collection[str]) -> dict[str, Tracked]:
    """What is known of these dossiers; who was never read is not among them. Locks them, by id."""
    found: dict[str, Tracked] = {}
    for some in chunks(sorted(ids)):
        query = (
            select(report_lives.c.dossier_id, report_lives.c.known_at, report_lives.c.life)
            .where(report_lives.c.dossier_id.in_(some))
            .order_by(in_code_order(connection, report_lives.c.dossier_id))
        )
        lives = connection.execute(locked(connection, query, shared=False)).all()
        rows = _rows_of(connection, [row.dossier_id for row in lives])
        found |= {
            row.dossier_id: Tracked(**row._mapping, rows=tuple(rows[row.dossier_id]))
            for row in lives
        }
    return found


def of_other_rules(connection: Connection, rules: str, limit: int) -> list[Tracked]:
    """At most `limit` dossiers that were read by other rules, locked."""
    query = select(report_lives.c.dossier_id).where(_of_other_rules(rules)).limit(limit)
    return list(tracked(connection, connection.execute(query).scalars().all()).values())


def _of_other_rules(rules: str) -> Any:
    return or_(
        report_lives.c.rules < rules, report_lives.c.rules > rules
    )  # two ranges of the index


def _rows_of(connection: Connection, ids: Sequence[str]) -> Mapping[str, Sequence[Kept]]:
    found: dict[str, list[Kept]] = defaultdict(list)
    query = (
        select(report_spans)
        .where(report_spans.c.dossier_id.in_(ids), report_spans.c.known_until == FOREVER)
        .order_by(report_spans.c.begun_on)
    )
    for row in connection.execute(query):
        found[row.dossier_id].append(kept(row))
    return found


def kept(row: AnyRow) -> Kept:
    """A row of the table."""
    return Kept(
        known_from=row.known_from,
        known_until=row.known_until,
        cause=row.cause,
        span=Span(
            begun_on=row.begun_on,
            ended_on=row.ended_on,
            standing=Standing(row.standing),
            received_on=row.received_on,
            closed_on=row.closed_on,
        ),
        facts=Facts(
            agency=row.agency_code,
            sector=row.sector_code,
            procedure=row.procedure_code,
            channel=row.channel,
            due_on=row.due_on,
        ),
    )


_CLOSE = (
    update(report_spans)
    .where(
        report_spans.c.dossier_id == bindparam("b_id"),
        report_spans.c.known_from == bindparam("b_from"),
        report_spans.c.begun_on == bindparam("b_begun"),
    )
    .values(known_until=bindparam("b_until"), matters_until=bindparam("b_matters"))
)


def put(connection: Connection, followed: Sequence[Followed]) -> None:
    """Write what came of dossiers that this transaction has locked."""
    for some in chunks(followed):
        closed = [
            {
                "b_id": one.dossier_id,
                "b_from": row.known_from,
                "b_begun": row.span.begun_on,
                "b_until": row.known_until,
                "b_matters": row.matters_until,
            }
            for one in some
            for row in one.closed
        ]
        if closed:
            connection.execute(_CLOSE, closed)
        added = [_row(one.dossier_id, row) for one in some for row in one.added]
        if added:
            connection.execute(insert(report_spans), added)
        names = ("known_at", "rules", "trouble", "life")
        connection.execute(
            insert_or_update(
                connection, report_lives, ["dossier_id"], {name: name for name in names}
            ),
            [
                {
                    "dossier_id": one.dossier_id,
                    "known_at": one.known_at,
                    "rules": one.rules,
                    "trouble": one.trouble.value if one.trouble else None,
                    "life": one.life,
                }
                for one in some
            ],
        )


def _row(dossier_id: str, row: Kept) -> dict[str, Any]:
    span, facts = row.span, row.facts
    return {
        "dossier_id": dossier_id,
        "known_from": row.known_from,
        "begun_on": span.begun_on,
        "known_until": row.known_until,
        "ended_on": span.ended_on,
        "matters_until": row.matters_until,
        "standing": span.standing.value,
        "cause": row.cause,
        "agency_code": facts.agency,
        "sector_code": facts.sector,
        "procedure_code": facts.procedure,
        "channel": facts.channel,
        "received_on": span.received_on,
        "due_on": facts.due_on,
        "closed_on": span.closed_on,
    }


def closed_at(row: Kept, moment: datetime) -> Kept:
    """The row as it is known no more from this moment on."""
    return replace(row, known_until=moment)


def _day(instant: datetime) -> date:
    return LAST_DAY if instant >= FOREVER else civil_day(instant)


# --- what may be wrong ---------------------------------------------------------------------------------


def troubles(connection: Connection) -> dict[Trouble, int]:
    """Of how many dossiers the life may say less than the truth, by why; every reason is named."""
    query = (
        select(report_lives.c.trouble, func.count())
        .where(report_lives.c.trouble.is_not(None))
        .group_by(report_lives.c.trouble)
    )
    found = {Trouble(row[0]): row[1] for row in connection.execute(query)}
    return {trouble: found.get(trouble, 0) for trouble in Trouble}


def in_trouble(
    connection: Connection, trouble: Trouble, *, after: str = "", limit: int = 1000
) -> list[tuple[str, str | None]]:
    """A page of these dossiers, id and code, by id behind `after`."""
    place = in_code_order(connection, report_lives.c.dossier_id)
    query = (
        select(report_lives.c.dossier_id, dossiers.c.code)
        .outerjoin(dossiers, dossiers.c.dossier_id == report_lives.c.dossier_id)
        .where(report_lives.c.trouble == trouble.value, place > after)
        .order_by(place)
        .limit(limit)
    )
    return [(row.dossier_id, row.code) for row in connection.execute(query)]
