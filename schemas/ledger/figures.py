"""What the rates are counted from, per dossier: what is due to be reckoned, and what came of it.

Reading and writing are two transactions, for in between the payloads are decoded (by the caller: the ledger
knows no codec) and nothing is locked. What is written counts only for the state that it was reckoned
from; a dossier that has moved on stays due. So a refresh may be stopped at any time, run twice, or run beside
another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, not_, or_, select, update

from schemas.dossier.verdicts import Span
from schemas.ledger.dialect import AnyRow, in_code_order, locked
from schemas.ledger.tables import dossiers, events, figures, timeline, verdict_spans
from schemas.ledger.work import chunks
from schemas.records import EventKind


class Standing(StrEnum):
    """What the figures of a dossier are worth. The last six have no spans."""

    RECKONED = "reckoned"
    KEPT = "kept"  # of its events some are gone from the ledger: as it was last reckoned
    UNMAPPED = "unmapped"  # a status of its life has no canonical one, or several
    IMPOSSIBLE = "impossible"  # a time outside the years that the calendar takes
    UNREADABLE = (
        "unreadable"  # the bytes of a state are no event, though they were when they came in
    )
    DELETED = "deleted"  # the source no longer has the dossier
    GAP = "gap"  # all that is known of it could not be read
    LOST = "lost"  # its events were gone before it was ever reckoned


JUDGED = frozenset({Standing.RECKONED, Standing.KEPT})
"""The figures of these can be counted."""

FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
"""Until when an open dossier can count."""

_WITHOUT_EVENTS = (Standing.KEPT.value, Standing.LOST.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldStatus:
    """A step as the portal was sent it: the source's status after it, when, and its place in the log."""

    status: str
    sub_status: str | None
    at: datetime
    log_pos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DueDossier:
    """A dossier as it is to be reckoned.

    `payloads` are the states that count, oldest first: those after a step was taken back, which no step
    tells of, and the newest. Without any, the newest is gone or there never was one. `known`: it was reckoned
    before. `fewer`: from this very state, and from steps that are not there any more.
    """

    dossier_id: str
    state_version: int
    log_pos: int
    born_on_portal: bool
    known: bool
    fewer: bool
    steps: tuple[ToldStatus, ...]
    payloads: tuple[tuple[int, bytes], ...]  # place in the log, event


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the newest state says for the rates. None is unknown."""

    code: str | None = None
    procedure_code: str | None = None
    local_procedure_code: str | None = None
    sector_code: str | None = None
    agency_code: str | None = None
    channel: str | None = None
    received_at: datetime | None = None
    returned_at: datetime | None = None
    electronic_result: bool | None = None
    digitised: bool | None = None
    reused: bool | None = None
    from_data_store: bool | None = None
    population_data: bool | None = None
    paid_online: bool | None = None
    financial_obligation: bool | None = None
    service_level: str | None = None
    paper_result: bool | None = None


_FACTS = tuple(field.name for field in fields(Facts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reckoned:
    """What came of a due dossier. `facts` and `spans` of one that is `KEPT` are not written."""

    dossier_id: str
    state_version: int
    log_pos: int
    born_on_portal: bool
    rules: str
    standing: Standing
    steps: int
    facts: Facts = Facts()
    spans: tuple[Span, ...] = ()


def due(connection: Connection, limit: int) -> list[DueDossier]:
    """At most `limit` dossiers that are due, by id. In one snapshot, in a fixed number of queries for each 500.

    The steps are those that the portal was sent: a correction is never sent again, and a step without a
    status tells nothing. What was pruned is not there any more; a step of a dossier that lives for longer
    than evidence is kept may be missing.
    """
    query = _DUE.where(dossiers.c.figures_due).order_by(dossiers.c.dossier_id).limit(limit)
    return _read(connection, connection.execute(query).all())


def told(connection: Connection, ids: Collection[str]) -> list[DueDossier]:
    """These dossiers as they would be reckoned, due or not, by id; a few hundred at a time."""
    query = _DUE.where(dossiers.c.dossier_id.in_(sorted(ids))).order_by(dossiers.c.dossier_id)
    return _read(connection, connection.execute(query).all())


_DUE = select(
    dossiers.c.dossier_id,
    dossiers.c.state_version,
    dossiers.c.log_pos,
    dossiers.c.born_on_portal,
    figures.c.state_version.label("known_version"),
    figures.c.log_pos.label("known_pos"),
    figures.c.steps.label("known_steps"),
).outerjoin(figures, figures.c.dossier_id == dossiers.c.dossier_id)


def _read(connection: Connection, waiting: Sequence[AnyRow]) -> list[DueDossier]:
    found: list[DueDossier] = []
    for rows in chunks(waiting):
        ids = [row.dossier_id for row in rows]
        steps = steps_of(connection, ids)
        payloads = payloads_of(connection, ids)
        found += (_due(row, steps[row.dossier_id], payloads[row.dossier_id]) for row in rows)
    return found


def _due(
    row: AnyRow, steps: Sequence[ToldStatus], payloads: Sequence[tuple[int, bytes]]
) -> DueDossier:
    newest_is_there = bool(payloads) and payloads[-1][0] == row.log_pos and row.state_version >= 0
    same_state = (row.known_version, row.known_pos) == (row.state_version, row.log_pos)
    return DueDossier(
        dossier_id=row.dossier_id,
        state_version=row.state_version,
        log_pos=row.log_pos,
        born_on_portal=row.born_on_portal,
        known=row.known_version is not None,
        fewer=same_state and row.known_steps > len(steps),
        steps=tuple(steps),
        payloads=tuple(payloads) if newest_is_there else (),
    )


def steps_of(connection: Connection, ids: Sequence[str]) -> Mapping[str, Sequence[ToldStatus]]:
    """Every step of these dossiers that is sent, in the order of the log."""
    found: dict[str, list[ToldStatus]] = defaultdict(list)
    query = (
        select(
            timeline.c.dossier_id,
            timeline.c.status,
            timeline.c.sub_status,
            timeline.c.at,
            timeline.c.log_pos,
        )
        .where(
            timeline.c.dossier_id.in_(ids),
            timeline.c.kind == EventKind.CHANGE.value,
            timeline.c.status.is_not(None),
        )
        .order_by(timeline.c.log_pos)
    )
    for row in connection.execute(query):
        found[row.dossier_id].append(
            ToldStatus(status=row.status, sub_status=row.sub_status, at=row.at, log_pos=row.log_pos)
        )
    return found


def payloads_of(
    connection: Connection, ids: Sequence[str]
) -> Mapping[str, Sequence[tuple[int, bytes]]]:
    """The states that count of these dossiers, as in `DueDossier`."""
    found: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    newest = and_(
        events.c.log_pos == dossiers.c.log_pos, events.c.version == dossiers.c.state_version
    )
    query = (
        select(events.c.dossier_id, events.c.log_pos, events.c.payload)
        .join(dossiers, dossiers.c.dossier_id == events.c.dossier_id)
        .where(
            events.c.dossier_id.in_(ids),
            or_(
                newest,
                and_(
                    events.c.kind == EventKind.ROLLBACK.value,
                    events.c.log_pos < dossiers.c.log_pos,
                ),
            ),
        )
        .order_by(events.c.log_pos)
    )
    for row in connection.execute(query):
        found[row.dossier_id].append((row.log_pos, row.payload))
    return found


_KEEP = (
    update(figures)
    .where(figures.c.dossier_id == bindparam("b_id"))
    .values(
        standing=Standing.KEPT.value,
        state_version=bindparam("b_version"),
        log_pos=bindparam("b_pos"),
    )
)


def put(connection: Connection, reckoned: Sequence[Reckoned]) -> int:
    """Replace the figures of those that have not moved on, which are due no more. Returns how many.

    Rows are locked by dossier id, in the order in which enlisting locks them.
    """
    stand: list[Reckoned] = []
    for some in chunks(sorted(reckoned, key=lambda one: one.dossier_id)):
        stand += _unmoved(connection, some)
    for some in chunks(stand):
        ids = [one.dossier_id for one in some]
        fresh = [one for one in some if one.standing is not Standing.KEPT]
        kept = [one for one in some if one.standing is Standing.KEPT]
        gone = [one.dossier_id for one in fresh]
        connection.execute(delete(verdict_spans).where(verdict_spans.c.dossier_id.in_(gone)))
        connection.execute(delete(figures).where(figures.c.dossier_id.in_(gone)))
        if fresh:
            connection.execute(insert(figures), [_figures_row(one) for one in fresh])
        spans = [row for one in fresh for row in _span_rows(one)]
        if spans:
            connection.execute(insert(verdict_spans), spans)
        if kept:
            connection.execute(
                _KEEP,
                [
                    {"b_id": k.dossier_id, "b_version": k.state_version, "b_pos": k.log_pos}
                    for k in kept
                ],
            )
        connection.execute(
            update(dossiers).where(dossiers.c.dossier_id.in_(ids)).values(figures_due=False)
        )
    return len(stand)


def _unmoved(connection: Connection, reckoned: Sequence[Reckoned]) -> list[Reckoned]:
    """Those whose state is still the one that they were reckoned from, and which nobody else has put."""
    query = (
        select(dossiers.c.dossier_id, dossiers.c.state_version, dossiers.c.log_pos)
        .where(
            dossiers.c.dossier_id.in_([one.dossier_id for one in reckoned]), dossiers.c.figures_due
        )
        .order_by(in_code_order(connection, dossiers.c.dossier_id))
    )
    there = {
        row.dossier_id: (row.state_version, row.log_pos)
        for row in connection.execute(locked(connection, query, shared=False))
    }
    return [
        one for one in reckoned if there.get(one.dossier_id) == (one.state_version, one.log_pos)
    ]


def _figures_row(one: Reckoned) -> dict[str, Any]:
    return {
        "dossier_id": one.dossier_id,
        "state_version": one.state_version,
        "log_pos": one.log_pos,
        "steps": one.steps,
        "rules": one.rules,
        "standing": one.standing.value,
        "born_on_portal": one.born_on_portal,
        **_counts(one),
        **{name: getattr(one.facts, name) for name in _FACTS},
    }


def _counts(one: Reckoned) -> dict[str, datetime | None]:
    """From when until when it can count: from its reception to its end or its return, whichever is later."""
    at = [moment for moment in (one.facts.received_at, one.facts.returned_at) if moment is not None]
    begun = [*at, *(span.begun for span in one.spans)]
    until = [*at, *(span.end_at or span.ended or FOREVER for span in one.spans)]
    return {"counts_from": min(begun, default=None), "counts_until": max(until, default=None)}


def _span_rows(one: Reckoned) -> list[dict[str, Any]]:
    return [
        {
            "dossier_id": one.dossier_id,
            "begun_at": span.begun,
            "ended_at": span.ended,
            "verdict": span.verdict.value,
            "late_because": span.late_because.value if span.late_because else None,
            "end_at": span.end_at,
            "office_late": span.office_late,
        }
        for span in one.spans
    ]


def mark_outdated(connection: Connection, rules: str, limit: int) -> int:
    """Make due at most `limit` dossiers that were reckoned by other rules, or that moved on unmarked.

    The second happens while code of revision 0001 writes beside this one. Reads every dossier, so it is for
    the start, for a change of the rules and for the night. Returns how many; 0: nothing is left.
    """
    moved = or_(
        figures.c.dossier_id.is_(None),
        figures.c.state_version != dossiers.c.state_version,
        figures.c.log_pos != dossiers.c.log_pos,
    )
    other_rules = and_(figures.c.rules != rules, figures.c.standing.not_in(_WITHOUT_EVENTS))
    query = (
        select(dossiers.c.dossier_id)
        .outerjoin(figures, figures.c.dossier_id == dossiers.c.dossier_id)
        .where(not_(dossiers.c.figures_due), or_(moved, other_rules))
        .limit(limit)
    )
    outdated = sorted(connection.execute(query).scalars())
    for some in chunks(outdated):
        there = (
            select(dossiers.c.dossier_id)
            .where(dossiers.c.dossier_id.in_(some))
            .order_by(in_code_order(connection, dossiers.c.dossier_id))
        )
        connection.execute(locked(connection, there, shared=False))
        connection.execute(
            update(dossiers).where(dossiers.c.dossier_id.in_(some)).values(figures_due=True)
        )
    return len(outdated)


def standings(connection: Connection) -> dict[str, int]:
    """How many dossiers there are of each `Standing`, and how many are "due"; every one is named."""
    query = select(figures.c.standing, func.count()).group_by(figures.c.standing)
    found: dict[str, int] = {row[0]: row[1] for row in connection.execute(query)}
    return {
        **{standing.value: found.get(standing.value, 0) for standing in Standing},
        "due": waiting(connection),
    }


def waiting(connection: Connection) -> int:
    """How many dossiers are due."""
    query = select(func.count()).select_from(dossiers).where(dossiers.c.figures_due)
    return int(connection.execute(query).scalar_one())
