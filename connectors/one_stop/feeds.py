"""The three feeds. A feed only finds touched dossiers; what changed is told by the comparison.

Cursors are JSON, opaque to everyone else. They hold ids, the database's own times and nothing of a
dossier; the hub's clock has no part in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from connectors.one_stop.client import OneStopDatabase, format_local, parse_local
from connectors.one_stop.columns import ACTION, DOSSIER, FEED_TABLES, SPECS
from connectors.one_stop.missing import IdRange, gaps, kept, without
from connectors.protocols import SourceRestored

FIRST_GAP = 1_000
"""How many ids below the very first one seen are asked for again: they may still be uncommitted."""

TAIL = 8
"""How many of the newest action ids a cursor remembers with their `uuid_`, to notice a restore."""

FUTURE_SECONDS = 600.0
"""A `modifiedDate` further ahead of the database's clock does not move the feed of changes along."""

SWEEP_SPAN = 5
"""A sweep page covers at most `page_size` times this many ids, so that gaps are looked into."""


@dataclass(frozen=True, slots=True)
class Touched:
    """What one page of a feed found: dossiers (dossierId -> a groupId seen with it) and the next cursor."""

    dossiers: dict[int, int | None]
    cursor: str
    exhausted: bool
    settled: dict[tuple[str, int], str] = field(default_factory=dict)


def touched_by_actions(
    database: OneStopDatabase, connection: Connection, cursor: str | None
) -> Touched:
    """New actions by id, and those of the missing ids that have appeared.

    Raises `SourceRestored` when the newest ids known have another `uuid_`, or are all gone.
    """
    state = orjson.loads(cursor) if cursor else {"high": None, "missing": [], "tail": []}
    limit = database.settings.page_size
    columns = database.columns(connection, ACTION)
    key = columns["dossierActionId"]
    wanted = select(key, columns["dossierId"], columns["groupId"], columns["uuid_"]).order_by(key)
    _check_tail(connection, key, columns["uuid_"], state["tail"])

    now = database.now(connection)
    max_age = database.settings.missing_id_hours * 3600
    ranges = kept((IdRange(*numbers) for numbers in state["missing"]), now, max_age)
    late: list[Any] = []
    if ranges:
        spans = or_(*(key.between(span.first, span.last) for span in ranges))
        late = list(connection.execute(wanted.where(spans).limit(limit)))
    after = wanted if state["high"] is None else wanted.where(key > state["high"])
    fresh = list(connection.execute(after.limit(limit)))

    ids = [int(row[0]) for row in fresh]
    high = state["high"]
    if ids:
        start = high if high is not None else max(ids[0] - 1 - FIRST_GAP, 0)
        ranges += gaps(start, ids, now)
        high = ids[-1]
    ranges = kept(without(ranges, (int(row[0]) for row in late)), now, max_age)
    tail = [*state["tail"], *([int(row[0]), row[3]] for row in fresh[-TAIL:])][-TAIL:]
    new = {
        "high": high,
        "missing": [[span.first, span.last, round(span.since, 3)] for span in ranges],
        "tail": tail,
    }
    return Touched(
        dossiers={int(row[1]): row[2] for row in (*late, *fresh) if row[1] is not None},
        cursor=orjson.dumps(new).decode(),
        exhausted=len(fresh) < limit and len(late) < limit,
    )


def require_same_source(
    database: OneStopDatabase, connection: Connection, cursor: str | None
) -> None:
    """Raise `SourceRestored` when this snapshot lacks the newest actions that a cursor of actions names.

    Every feed asks, in its own snapshot: what an older copy lacks would else be told as deleted before
    the feed of actions notices.
    """
    if cursor:
        columns = database.columns(connection, ACTION)
        tail = orjson.loads(cursor)["tail"]
        _check_tail(connection, columns["dossierActionId"], columns["uuid_"], tail)


def newest_action(database: OneStopDatabase, connection: Connection) -> int:
    """The highest action id there is; 0 without any."""
    key = database.columns(connection, ACTION)["dossierActionId"]
    return int(connection.execute(select(func.max(key))).scalar_one() or 0)


def _check_tail(
    connection: Connection,
    key: ColumnElement[Any],
    uid: ColumnElement[Any],
    tail: Sequence[Sequence[Any]],
) -> None:
    if not tail:
        return
    ids = [int(number) for number, _ in tail]
    found = {
        int(row[0]): row[1] for row in connection.execute(select(key, uid).where(key.in_(ids)))
    }
    for number, known in tail:
        current = found.get(int(number), known)
        if known and current and current != known:
            raise SourceRestored(
                f"action id {number} came back with another uuid_: was the one-stop database restored?"
            )
    if len(tail) == TAIL and not found:
        newest = connection.execute(select(func.max(key))).scalar_one()
        if newest is None or newest < min(ids):
            raise SourceRestored(
                f"the {TAIL} newest actions are gone and none is newer: was the one-stop database "
                "restored?"
            )


def touched_by_changes(
    database: OneStopDatabase,
    connection: Connection,
    cursor: str | None,
    settled: dict[tuple[str, int], str],
) -> Touched:
    """Rows by (modifiedDate, id) in four tables, reaching back by the overlap at each new round.

    `settled` are rows already compared after their second was over: those are not read again. The
    cursor per table is `at` (position within a round: time and id) and `high` (newest time read).
    """
    state = orjson.loads(cursor) if cursor else {}
    limit = max(1, database.settings.page_size // len(FEED_TABLES))
    ceiling = database.local_now(connection, FUTURE_SECONDS)
    dossiers: dict[int, int | None] = {}
    new: dict[str, Any] = {}
    seen: dict[tuple[str, int], str] = {}
    exhausted = True
    for name in FEED_TABLES:
        part = state.get(name) or {"at": None, "high": None}
        columns = database.columns(connection, name)
        key, modified = columns[SPECS[name].key], columns["modifiedDate"]
        query = select(key, columns["dossierId"], columns["groupId"], modified)
        at = part["at"]
        if at is None and part["high"] is not None:
            at = [_earlier(part["high"], database.settings.overlap_seconds), -1]
        if at is not None:
            moment = database.bind_time(at[0])
            query = query.where(or_(modified > moment, and_(modified == moment, key > at[1])))
        else:
            query = query.where(modified.is_not(None))
        rows = list(connection.execute(query.order_by(modified, key).limit(limit)))
        high = part["high"]
        for number, dossier_id, group_id, time in rows:
            text = str(time)
            if text <= ceiling and (high is None or text > high):
                high = text
            if dossier_id is not None and settled.get((name, int(number))) != text:
                dossiers[int(dossier_id)] = group_id
            seen[name, int(number)] = text
        exhausted = exhausted and len(rows) < limit
        new[name] = {"at": [str(rows[-1][3]), int(rows[-1][0])] if rows else at, "high": high}
    if exhausted:  # the round is over for all tables at once: the next begins behind the overlap
        new = {name: {"at": None, "high": part["high"]} for name, part in new.items()}
    over = {
        (name, number): text
        for (name, number), text in seen.items()
        if new[name]["high"] is not None and text < _earlier(new[name]["high"], 2.0)
    }
    return Touched(
        dossiers=dossiers, cursor=orjson.dumps(new).decode(), exhausted=exhausted, settled=over
    )


def _earlier(text: str, seconds: float) -> str:
    try:
        return format_local(parse_local(text) - timedelta(seconds=seconds))
    except (ValueError, OverflowError):
        return text


def touched_by_sweep(
    database: OneStopDatabase, connection: Connection, cursor: str | None
) -> tuple[Touched, list[tuple[int, int]]]:
    """The next dossiers by id, and (dossierId, groupId) of ids in between that are not there (any more).

    At the end the cursor begins again; it remembers the sites and the highest id ever seen, so that the
    dossiers last created are also found when they are gone.
    """
    state = orjson.loads(cursor) if cursor else {}
    columns = database.columns(connection, DOSSIER)
    key, group = columns["dossierId"], columns["groupId"]
    limit = database.settings.page_size
    lowest, highest = connection.execute(select(func.min(key), func.max(key))).one()
    groups = set(state.get("groups", ())) | set(database.settings.group_ids)
    after = state.get("after")
    low = min(n for n in (lowest, state.get("low"), highest, 1 << 62) if n is not None)
    top = max(int(highest or 0), state.get("top", 0))
    if after is None:
        after = min(low, top + 1) - 1
        if not database.settings.group_ids:
            sites = connection.execute(select(group).distinct())
            groups |= {int(row[0]) for row in sites if row[0] is not None}
    reach = after + limit * SWEEP_SPAN
    end = top + limit  # a little beyond: the newest may have gone before any sweep saw it
    rows = connection.execute(
        select(key, group).where(key > after, key <= reach).order_by(key).limit(limit)
    )
    present = {int(row[0]): row[1] for row in rows}
    last = max(present) if len(present) == limit else min(reach, end)
    done = last >= end
    new = {
        "after": None if done else last,
        "low": low,
        "top": top,
        "groups": sorted(groups),
    }
    absent = [n for n in range(after + 1, last + 1) if n not in present]
    touched = Touched(dossiers=present, cursor=orjson.dumps(new).decode(), exhausted=done)
    return touched, [(number, site) for number in absent for site in sorted(groups)]
