"""When Kafka was emptied, or its topics were made anew: the ledger's positions in the new log.

What was read and not yet enlisted is gone with the log, so the capture forgets what it has seen and reads
its source again. Everything that is enlisted already is known by its event id, and is not owed twice.

What a capture wrote into the new log before this was done comes before what was lost with the old one: it
is passed over, because the source, read again, tells all of it in its order. For the same reason a topic that
is whole is passed over when a later one on the way was lost: its next record would overtake those that had
gone ahead and are told again only now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, select, update

from schemas.ledger.dialect import AnyRow, locked
from schemas.ledger.fences import living_singletons
from schemas.ledger.restore import HELD, Identity, require_generation
from schemas.ledger.tables import (
    cursors,
    ledger_identity,
    positions,
    singletons,
    source_rows,
)

_CLEAR = 1_000_000
"""Between the places of the old log and those of the new: a batch that was read and never passed may have

left dead letters and gaps, which are known by their places.
"""


class PartitionGone(Exception):
    """The new topic has fewer partitions than the ledger has read."""


class RestorePending(Exception):
    """The ledger was restored as well, and no process has taken note of that yet."""


class StillCapturing(Exception):
    """A capture lives: what it writes now would be read before what is told again. Names the processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPart:
    """One partition of a topic as the broker has it now. The id is ``None`` where it has none."""

    start: int
    end: int
    topic_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPlace:
    """A position that is to be set anew: the log does not hold it any more, or it is to be passed over."""

    flow: str
    topic: str
    partition: int
    next_offset: int  # the old one
    now: LogPart
    lost: bool
    goes_to: int
    log_base: int  # the new one


Log = Mapping[tuple[str, int], LogPart]
"""By topic and partition."""


def new_places(connection: Connection, log: Log, read_again: Sequence[str]) -> list[NewPlace]:
    """Every position that is to be set anew; none, when none is lost. Raises `PartitionGone`.

    A topic of which one partition ends below its position was emptied whole: its other partitions may have
    been filled beyond theirs meanwhile. `read_again`: see `reset`.
    """
    rows = [
        row
        for row in connection.execute(
            select(positions).order_by(positions.c.flow, positions.c.topic, positions.c.partition)
        )
        if any(topic == row.topic for topic, _ in log)
    ]
    gone = sorted({(r.topic, r.partition) for r in rows if (r.topic, r.partition) not in log})
    if gone:
        topic, partition = gone[0]
        raise PartitionGone(
            f"topic {topic} has no partition {partition}, which the ledger has read: make the topic anew"
            " with as many partitions as it had"
        )
    parts = [(row, log[row.topic, row.partition]) for row in rows]
    emptied = {
        row.topic
        for row, part in parts
        if row.next_offset > part.end or _another(row.topic_id, part.topic_id)
    }
    lost = [
        _lost(row, part, read_again)
        for row, part in parts
        if row.topic in emptied or row.next_offset < part.start
    ]
    last = max((read_again.index(p.topic) for p in lost if p.topic in read_again), default=0)
    passed_over = [
        _passed_over(row, part)
        for row, part in parts
        if row.topic in read_again[:last] and part.start <= row.next_offset < part.end
        if row.topic not in emptied
    ]
    return sorted([*lost, *passed_over], key=lambda p: (p.flow, p.topic, p.partition))


def _lost(row: AnyRow, part: LogPart, read_again: Sequence[str]) -> NewPlace:
    return NewPlace(
        flow=row.flow,
        topic=row.topic,
        partition=row.partition,
        next_offset=row.next_offset,
        now=part,
        lost=True,
        goes_to=part.end if row.topic in read_again else part.start,
        log_base=max(row.log_base, row.log_base + row.next_offset + _CLEAR - part.start),
    )


def _passed_over(row: AnyRow, part: LogPart) -> NewPlace:
    return NewPlace(
        flow=row.flow,
        topic=row.topic,
        partition=row.partition,
        next_offset=row.next_offset,
        now=part,
        lost=False,
        goes_to=part.end,
        log_base=row.log_base,
    )


def _another(remembered: str | None, found: str | None) -> bool:
    return remembered is not None and found is not None and remembered != found


_AT_PLACE = update(positions).where(
    positions.c.flow == bindparam("b_flow"),
    positions.c.topic == bindparam("b_topic"),
    positions.c.partition == bindparam("b_partition"),
)


def reset(
    connection: Connection,
    opened: Identity,
    log: Log,
    read_again: Sequence[str],
    silence: float,
) -> list[NewPlace]:
    """Set the lost positions anew, and make every process start again. Returns what was set.

    `read_again`: topics, in the order of the way, whose loss makes the capture read its sources anew. Their
    positions go to the end of the new log, and with them those of the topics before the last that was lost;
    positions of other topics go to the beginning. `silence` in seconds: a capture that has beaten since
    lives. Raises `PartitionGone`, `RestorePending` and `StillCapturing`.
    """
    row = connection.execute(locked(connection, select(ledger_identity), shared=False)).one()
    require_generation(connection, opened)
    if row.restoring or opened.changed:
        raise RestorePending(
            "the ledger was restored as well: start a worker once before, so that it takes note of that"
        )
    require_silence(connection, silence)
    places = new_places(connection, log, read_again)
    if not places:
        return []
    connection.execute(
        _AT_PLACE.values(
            next_offset=bindparam("b_next"),
            topic_id=bindparam("b_id"),
            log_base=bindparam("b_base"),
        ),
        [
            {
                "b_flow": place.flow,
                "b_topic": place.topic,
                "b_partition": place.partition,
                "b_next": place.goes_to,
                "b_id": place.now.topic_id,
                "b_base": place.log_base,
            }
            for place in places
        ],
    )
    # What a restored ledger was to read from the log has gone with it.
    connection.execute(
        update(positions).where(positions.c.verify_until.is_not(None)).values(verify_until=HELD)
    )
    if any(place.topic in read_again for place in places):
        _forget(connection)
    connection.execute(update(positions).values(owner="", epoch=positions.c.epoch + 1))
    connection.execute(update(singletons).values(owner="", epoch=singletons.c.epoch + 1))
    connection.execute(update(ledger_identity).values(generation=row.generation + 1))
    return places


def require_silence(connection: Connection, silence: float) -> None:
    """Raise `StillCapturing` when a capture has beaten within `silence` seconds."""
    living = living_singletons(connection, silence)
    if living:
        raise StillCapturing(", ".join(f"{fence.name} ({fence.owner})" for fence in living))


def _forget(connection: Connection) -> None:
    """Cursors and memory. Of what is gone at its source the memory is all that there is: it is told again."""
    connection.execute(delete(cursors))
    connection.execute(delete(source_rows).where(~source_rows.c.gone))
    connection.execute(update(source_rows).values(gone=False))


def release(connection: Connection, opened: Identity, ends: Mapping[tuple[str, int], int]) -> int:
    """Give partitions that are held the end of their log as the horizon. Returns how many were held."""
    connection.execute(locked(connection, select(ledger_identity), shared=False)).one()
    require_generation(connection, opened)
    held = [
        row
        for row in connection.execute(select(positions).where(positions.c.verify_until == HELD))
        if (row.topic, row.partition) in ends
    ]
    if held:
        connection.execute(
            _AT_PLACE.values(verify_until=bindparam("b_until")),
            [
                {
                    "b_flow": row.flow,
                    "b_topic": row.topic,
                    "b_partition": row.partition,
                    "b_until": ends[row.topic, row.partition],
                }
                for row in held
            ],
        )
        # The horizon may lie behind the position: only whoever takes the partition over sees that.
        connection.execute(update(positions).values(owner="", epoch=positions.c.epoch + 1))
        connection.execute(
            update(ledger_identity).values(generation=ledger_identity.c.generation + 1)
        )
    return len(held)
