"""Ownership: position rows, epochs, and the check that a fence still holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, and_, bindparam, select, update

from schemas.ledger.dialect import (
    EPOCH,
    AnyRow,
    clock,
    end_frozen,
    hurry,
    insert_or_skip,
    locked,
    to_moment,
)
from schemas.ledger.model import Fence, Position, PositionHole, SingletonFence, StaleOwner
from schemas.ledger.tables import positions, singletons

_NOBODY = ""

_POSITIONS = (
    select(
        positions.c.partition,
        positions.c.owner,
        positions.c.epoch,
        positions.c.next_offset,
        positions.c.topic_id,
        positions.c.log_base,
        positions.c.verify_until,
    )
    .where(
        positions.c.flow == bindparam("flow"),
        positions.c.topic == bindparam("topic"),
        positions.c.partition.in_(bindparam("partitions", expanding=True)),
    )
    .order_by(positions.c.partition)
)


def end_frozen_owners(
    connection: Connection, flow: str, topic: str, partitions: Sequence[int], owner: str
) -> None:
    """Free the rows of these partitions from owners that were frozen while they held them."""
    rows = connection.execute(
        _POSITIONS, {"flow": flow, "topic": topic, "partitions": sorted(partitions)}
    )
    others = {row.owner for row in rows} - {owner, _NOBODY}
    end_frozen(connection, sorted(other.rpartition(":")[2] for other in others))


def take_over(
    connection: Connection,
    flow: str,
    topic: str,
    topic_id: str | None,
    partitions: Sequence[int],
    owner: str,
) -> list[Position]:
    """Raise the epochs, except of partitions that `owner` already holds."""
    wanted = sorted(set(partitions))
    fresh = [
        {
            "flow": flow,
            "topic": topic,
            "partition": partition,
            "owner": owner,
            "epoch": 0,
            "next_offset": 0,
            "topic_id": topic_id,
            "log_base": 0,
        }
        for partition in wanted
    ]
    if not fresh:
        return []
    hurry(connection)
    connection.execute(insert_or_skip(connection, positions, ["flow", "topic", "partition"]), fresh)
    rows = connection.execute(
        locked(connection, _POSITIONS, shared=False),
        {"flow": flow, "topic": topic, "partitions": wanted},
    ).all()
    changed = []
    result = []
    for row in rows:
        if topic_id is not None and row.topic_id is not None and row.topic_id != topic_id:
            raise PositionHole(
                f"topic {topic} was made anew: the ledger remembers id {row.topic_id}, the broker says"
                f" {topic_id}. Run: thongsuot topics reset"
            )
        epoch = row.epoch if row.owner == owner and row.epoch > 0 else row.epoch + 1
        known_id = row.topic_id or topic_id
        if epoch != row.epoch or known_id != row.topic_id:
            changed.append(
                {"p": row.partition, "owner": owner, "epoch": epoch, "topic_id": known_id}
            )
        fence = Fence(flow=flow, topic=topic, partition=row.partition, owner=owner, epoch=epoch)
        result.append(
            Position(
                fence=fence,
                next_offset=row.next_offset,
                topic_id=known_id,
                log_base=row.log_base,
            )
        )
    if changed:
        connection.execute(
            update(positions).where(
                positions.c.flow == flow,
                positions.c.topic == topic,
                positions.c.partition == bindparam("p"),
            ),
            changed,
        )
    return result


def holding(
    connection: Connection, fences: Iterable[Fence], *, lock: bool, shared: bool = True
) -> frozenset[Fence]:
    """Those fences that still hold; with `lock`, their rows stay locked until commit."""
    return frozenset(positions_held(connection, fences, lock=lock, shared=shared))


def positions_held(
    connection: Connection, fences: Iterable[Fence], *, lock: bool, shared: bool
) -> dict[Fence, AnyRow]:
    """The fences that still hold, each with its position row."""
    groups: dict[tuple[str, str], list[Fence]] = defaultdict(list)
    for fence in fences:
        groups[fence.flow, fence.topic].append(fence)
    held: dict[Fence, AnyRow] = {}
    for (flow, topic), members in sorted(groups.items()):
        query = locked(connection, _POSITIONS, shared=shared) if lock else _POSITIONS
        wanted = sorted({fence.partition for fence in members})
        found = connection.execute(query, {"flow": flow, "topic": topic, "partitions": wanted})
        rows: dict[int, AnyRow] = {row.partition: row for row in found}
        for fence in members:
            row = rows.get(fence.partition)
            if row is not None and row.owner == fence.owner and row.epoch == fence.epoch:
                held[fence] = row
    return held


def take_singleton(connection: Connection, name: str, owner: str) -> SingletonFence:
    """Raise the epoch of a singleton, unless `owner` already holds it."""
    taken = _take_singleton(connection, name, owner, silence=None)
    assert taken is not None
    return taken


def take_silent_singleton(
    connection: Connection, name: str, owner: str, silence: float
) -> SingletonFence | None:
    """The same, but ``None`` when another owner holds it and has beaten within `silence` seconds."""
    return _take_singleton(connection, name, owner, silence)


def _take_singleton(
    connection: Connection, name: str, owner: str, silence: float | None
) -> SingletonFence | None:
    connection.execute(
        insert_or_skip(connection, singletons, ["name"]),
        {"name": name, "owner": _NOBODY, "epoch": 0, "beat_at": EPOCH},
    )
    query = select(singletons).where(singletons.c.name == name)
    row = connection.execute(locked(connection, query, shared=False)).one()
    now = to_moment(clock(connection))
    mine = row.owner == owner
    held = not mine and row.owner != _NOBODY
    if held and silence is not None and now - row.beat_at < timedelta(seconds=silence):
        return None
    epoch = row.epoch if mine else row.epoch + 1
    connection.execute(
        update(singletons)
        .where(singletons.c.name == name)
        .values(owner=owner, epoch=epoch, beat_at=now)
    )
    return SingletonFence(name=name, owner=owner, epoch=epoch)


def living_singletons(connection: Connection, silence: float) -> list[SingletonFence]:
    """Those that have an owner who has beaten within `silence` seconds. Their rows stay locked."""
    query = select(singletons).where(singletons.c.owner != _NOBODY).order_by(singletons.c.name)
    rows = connection.execute(locked(connection, query, shared=False)).all()
    now = to_moment(clock(connection))
    return [
        SingletonFence(name=row.name, owner=row.owner, epoch=row.epoch)
        for row in rows
        if now - row.beat_at < timedelta(seconds=silence)
    ]


def beat_singleton(connection: Connection, fence: SingletonFence) -> None:
    """Say that the owner lives. Raises `StaleOwner` when another one holds it."""
    now = to_moment(clock(connection))
    if not connection.execute(
        update(singletons).where(_held_by(fence)).values(beat_at=now)
    ).rowcount:
        raise StaleOwner(f"{fence.name} was taken over by another process")


def release_singleton(connection: Connection, fence: SingletonFence) -> None:
    """Let the next one take it at once. Nothing happens when it is another one's already."""
    connection.execute(update(singletons).where(_held_by(fence)).values(owner=_NOBODY))


def _held_by(fence: SingletonFence) -> ColumnElement[bool]:
    return and_(
        singletons.c.name == fence.name,
        singletons.c.owner == fence.owner,
        singletons.c.epoch == fence.epoch,
    )


def require_singleton(connection: Connection, fence: SingletonFence, *, lock: bool = True) -> None:
    """Raise `StaleOwner` when another one holds it. With `lock`, its row stays locked until commit."""
    query = select(singletons.c.name).where(_held_by(fence))
    if lock:
        query = locked(connection, query, shared=True)
    if connection.execute(query).first() is None:
        raise StaleOwner(f"{fence.name} was taken over by another process")
