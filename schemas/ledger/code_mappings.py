"""The mapping rows in the ledger, and what a new one sets free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, distinct, exists, func, insert, select, update

from schemas.dossier.mappings import CodeList, MappingOrigin, MappingRow
from schemas.ledger.dialect import AnyRow, locked
from schemas.ledger.model import DeliveryState
from schemas.ledger.tables import (
    PARKED_DELIVERY,
    deliveries,
    dossier_target,
    dossiers,
    mapping_version,
    mappings,
)
from schemas.ledger.work import chunks
from schemas.reasons import Reason

_Key = tuple[str, str, str, str, Any]


def mapping_rows(connection: Connection) -> tuple[int, list[MappingRow]]:
    """The mapping version and all rows, in the order in which they were entered."""
    version = int(connection.execute(select(mapping_version.c.version)).scalar_one())
    rows = connection.execute(select(mappings).order_by(mappings.c.mapping_id)).all()
    return version, [_typed(row) for row in rows]


def put_mappings(
    connection: Connection, rows: Sequence[MappingRow], *, replace_origin: bool
) -> int:
    """See `Ledger.put_mappings`.

    A row replaces the one with the same list, system, code, qualifier and `valid_from`; but a row from the
    source's table never replaces what an operator or a succession entered. The version is raised only
    when something changed; parked deliveries are re-issued in any case, for one may have been parked by
    a look-up in the old rows just after the new ones came in.
    """
    version = connection.execute(
        locked(connection, select(mapping_version.c.version), shared=False)
    ).scalar_one()
    changed = _replace(connection, rows, replace_origin=replace_origin)
    if changed:
        connection.execute(update(mapping_version).values(version=version + 1))
    return _reissue(connection)


def unmapped(connection: Connection) -> dict[CodeList, int]:
    """Distinct dossiers parked as unmapped, by code list; every list is there, if only with 0."""
    counts: dict[CodeList, int] = {}
    for codelist in CodeList:
        query = select(func.count(distinct(deliveries.c.dossier_id))).where(
            PARKED_DELIVERY,
            deliveries.c.reason == Reason.UNMAPPED.value,
            exists().where(dossiers.c.dossier_id == deliveries.c.dossier_id),  # and no report
            (deliveries.c.detail == f"codelist={codelist.value}")
            | deliveries.c.detail.like(f"codelist={codelist.value} %"),
        )
        counts[codelist] = int(connection.execute(query).scalar_one())
    return counts


def _replace(connection: Connection, rows: Sequence[MappingRow], *, replace_origin: bool) -> bool:
    there: dict[_Key, tuple[int, MappingRow]] = {}
    for stored in connection.execute(select(mappings)):
        typed = _typed(stored)
        there[_key(typed)] = (stored.mapping_id, typed)
    new = {_key(row): row for row in rows}
    gone: list[int] = []
    fresh: list[MappingRow] = []
    for key, row in new.items():
        if key not in there:
            fresh.append(row)
            continue
        mapping_id, old = there[key]
        chosen_by_hand = old.origin is not MappingOrigin.SOURCE_TABLE
        if old == row or (row.origin is MappingOrigin.SOURCE_TABLE and chosen_by_hand):
            continue
        gone.append(mapping_id)
        fresh.append(row)
    if replace_origin:
        covered = {(row.codelist, row.system, row.origin) for row in rows}
        gone.extend(
            mapping_id
            for key, (mapping_id, old) in there.items()
            if key not in new and (old.codelist, old.system, old.origin) in covered
        )
    for some in chunks(gone):
        connection.execute(delete(mappings).where(mappings.c.mapping_id.in_(some)))
    if fresh:
        connection.execute(insert(mappings), [_columns(row) for row in fresh])
    return bool(gone or fresh)


def _reissue(connection: Connection) -> int:
    query = (
        select(deliveries.c.delivery_id, deliveries.c.target, deliveries.c.dossier_id)
        .where(PARKED_DELIVERY, deliveries.c.reason == Reason.UNMAPPED.value)
        .order_by(deliveries.c.delivery_id)
    )
    parked = connection.execute(locked(connection, query, shared=False)).all()
    for some in chunks([row.delivery_id for row in parked]):
        connection.execute(
            update(deliveries)
            .where(deliveries.c.delivery_id.in_(some), PARKED_DELIVERY)
            .values(state=DeliveryState.PENDING.value, reason=None, detail=None)
        )
    by_target: dict[str, set[str]] = {}
    for row in parked:
        by_target.setdefault(row.target, set()).add(row.dossier_id)
    for target, dossier_ids in sorted(by_target.items()):
        for some_ids in chunks(sorted(dossier_ids)):
            connection.execute(
                update(dossier_target)
                .where(dossier_target.c.target == target, dossier_target.c.dossier_id.in_(some_ids))
                .values(runnable=True, wake_at=None, work_seq=dossier_target.c.work_seq + 1)
            )
    return len(parked)


def _key(row: MappingRow) -> _Key:
    return (row.codelist.value, row.system, row.code, row.qualifier, row.valid_from)


def _columns(row: MappingRow) -> Mapping[str, Any]:
    return {
        "codelist": row.codelist.value,
        "system": row.system,
        "code": row.code,
        "qualifier": row.qualifier,
        "value": row.value,
        "name": row.name,
        "valid_from": row.valid_from,
        "valid_to": row.valid_to,
        "origin": row.origin.value,
        "note": row.note,
    }


def _typed(row: AnyRow) -> MappingRow:
    return MappingRow(
        codelist=CodeList(row.codelist),
        system=row.system,
        code=row.code,
        qualifier=row.qualifier,
        value=row.value,
        name=row.name,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        origin=MappingOrigin(row.origin),
        note=row.note,
    )
