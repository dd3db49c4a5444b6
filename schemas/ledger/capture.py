"""What the capture remembers: its place in each feed, the rows it has seen, and the data keys."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select, update

from schemas.ledger.dialect import clock, insert_or_skip, insert_or_update, locked, to_moment
from schemas.ledger.fences import require_singleton
from schemas.ledger.model import SeenRow, SingletonFence, StaleOwner
from schemas.ledger.tables import cursors, data_keys, read_seqs, source_rows
from schemas.ledger.work import chunks


def cursor(connection: Connection, source: str, feed: str) -> str | None:
    """Where the feed stands."""
    query = select(cursors.c.cursor).where(cursors.c.source == source, cursors.c.feed == feed)
    return connection.execute(query).scalar_one_or_none()


def next_read_seq(connection: Connection, source: str, fence: SingletonFence) -> int:
    """Raise the source's `read_seq` by one and return it. The first is 1."""
    require_singleton(connection, fence)
    return int(
        connection.execute(
            insert_or_update(
                connection, read_seqs, ["source"], {"read_seq": read_seqs.c.read_seq + 1}
            ).returning(read_seqs.c.read_seq),
            {"source": source, "read_seq": 1},
        ).scalar_one()
    )


def save_page(
    connection: Connection,
    source: str,
    feed: str,
    fence: SingletonFence,
    old_cursor: str | None,
    new_cursor: str,
    seen: Sequence[SeenRow],
) -> None:
    """See `CaptureLedger.save_page`. Saving the same page again, under the same fence, is no error."""
    require_singleton(connection, fence)
    here = (cursors.c.source == source, cursors.c.feed == feed)
    query = locked(connection, select(cursors.c.cursor).where(*here), shared=False)
    now_at = connection.execute(query).scalar_one_or_none()
    if now_at not in (old_cursor, new_cursor):
        raise StaleOwner(f"the {feed} feed of {source} has moved on under another capture")
    if now_at is None:
        # No ON CONFLICT: a second first page would be the work of a capture that lost its fence.
        connection.execute(insert(cursors), {"source": source, "feed": feed, "cursor": new_cursor})
    else:
        connection.execute(update(cursors).where(*here).values(cursor=new_cursor))
    if seen:
        connection.execute(
            insert_or_update(
                connection,
                source_rows,
                ["source", "kind", "row_id"],
                {name: name for name in ("dossier_id", "uid", "content_hash", "status", "gone")},
            ),
            [
                {
                    "source": source,
                    "kind": row.kind,
                    "row_id": row.row_id,
                    "dossier_id": row.dossier_id,
                    "uid": row.uid,
                    "content_hash": row.content_hash,
                    "status": row.status,
                    "gone": row.gone,
                }
                for row in seen
            ],
        )


def seen(
    connection: Connection, source: str, dossier_ids: Sequence[str], fence: SingletonFence
) -> list[SeenRow]:
    """Everything remembered of these dossiers. Raises `StaleOwner` when another one captures."""
    require_singleton(connection, fence, lock=False)
    found: list[SeenRow] = []
    for some in chunks(sorted(set(dossier_ids))):
        query = (
            select(source_rows)
            .where(source_rows.c.source == source, source_rows.c.dossier_id.in_(some))
            .order_by(source_rows.c.dossier_id, source_rows.c.kind, source_rows.c.row_id)
        )
        found.extend(
            SeenRow(
                kind=row.kind,
                row_id=row.row_id,
                dossier_id=row.dossier_id,
                uid=row.uid,
                content_hash=row.content_hash,
                status=row.status,
                gone=row.gone,
            )
            for row in connection.execute(query)
        )
    return found


def wrapped_keys(connection: Connection) -> dict[str, bytes]:
    """All data keys, wrapped."""
    rows = connection.execute(select(data_keys.c.key_id, data_keys.c.wrapped))
    return {row.key_id: bytes(row.wrapped) for row in rows}


def add_wrapped_key(connection: Connection, key_id: str, wrapped: bytes) -> None:
    """Insert unless one with this id is there."""
    connection.execute(
        insert_or_skip(connection, data_keys, ["key_id"]),
        {"key_id": key_id, "wrapped": wrapped, "created_at": to_moment(clock(connection))},
    )
