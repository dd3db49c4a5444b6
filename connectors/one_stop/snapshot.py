"""Whole dossiers, as they stand in one snapshot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection

from connectors.one_stop.client import OneStopDatabase, Row
from connectors.one_stop.columns import (
    ACTION,
    DOSSIER,
    FILE,
    PAYMENT,
    PROCEDURE_MAPPING,
    STATUS_MAPPING,
    STEP,
)

StepKey = tuple[int | None, int | None, str | None]  # groupId, serviceProcessId, stepCode
StatusKey = tuple[int | None, str, str]  # groupId, statusCode, subStatusCode


@dataclass(frozen=True, slots=True, kw_only=True)
class DossierSnapshot:
    """One dossier with everything that belongs to it.

    `codes` are its national procedure codes; `meanings` the source's own national code of a sub-status.
    """

    dossier: Row
    actions: tuple[Row, ...]
    steps: dict[StepKey, Row]
    files: tuple[Row, ...]
    payments: tuple[Row, ...]
    codes: tuple[str, ...]
    meanings: dict[StatusKey, str]


def read_dossiers(
    database: OneStopDatabase, connection: Connection, dossier_ids: Iterable[int]
) -> dict[int, DossierSnapshot]:
    """The dossiers that are there, by `dossierId`, from the caller's snapshot."""
    ids = list(dossier_ids)
    groups = database.settings.group_ids
    dossiers = [
        row
        for row in database.rows_where(connection, DOSSIER, "dossierId", ids)
        if not groups or row["groupId"] in groups
    ]
    if not dossiers:
        return {}
    kept = [int(row["dossierId"]) for row in dossiers]
    actions = _by_dossier(database.rows_where(connection, ACTION, "dossierId", kept))
    files = _by_dossier(database.rows_where(connection, FILE, "dossierId", kept))
    payments = _by_dossier(database.rows_where(connection, PAYMENT, "dossierId", kept))
    steps = _steps(database, connection, [row for rows in actions.values() for row in rows])
    codes = _codes(database, connection, dossiers)
    meanings = _meanings(database, connection)
    return {
        number: DossierSnapshot(
            dossier=row,
            actions=tuple(actions[number]),
            steps=steps,
            files=tuple(files[number]),
            payments=tuple(payments[number]),
            codes=codes.get((row["groupId"], row["serviceCode"]), ()),
            meanings=meanings,
        )
        for number, row in zip(kept, dossiers, strict=True)
    }


def _by_dossier(rows: list[Row]) -> defaultdict[int, list[Row]]:
    grouped: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[int(row["dossierId"])].append(row)
    return grouped


def _steps(
    database: OneStopDatabase, connection: Connection, actions: list[Row]
) -> dict[StepKey, Row]:
    processes = {row["serviceProcessId"] for row in actions if row["serviceProcessId"] is not None}
    wanted = {row["stepCode"] for row in actions}
    steps: dict[StepKey, Row] = {}
    for row in database.rows_where(connection, STEP, "serviceProcessId", processes):
        if row["stepCode"] in wanted:
            steps.setdefault((row["groupId"], row["serviceProcessId"], row["stepCode"]), row)
    return steps


def _codes(
    database: OneStopDatabase, connection: Connection, dossiers: list[Row]
) -> dict[tuple[int | None, str | None], tuple[str, ...]]:
    wanted = {row["serviceCode"] for row in dossiers if row["serviceCode"]}
    codes: dict[tuple[int | None, str | None], tuple[str, ...]] = {}
    for row in database.rows_where(connection, PROCEDURE_MAPPING, "serviceCode", wanted):
        national = (row["serviceCodeDVCQG"] or "").strip()
        place = (row["groupId"], row["serviceCode"])
        if national and national not in codes.get(place, ()):
            codes[place] = (*codes.get(place, ()), national)
    return codes


def _meanings(database: OneStopDatabase, connection: Connection) -> dict[StatusKey, str]:
    return {
        (row["groupId"], row["statusCode"] or "", row["subStatusCode"]): row["statusCodeDVCQG"]
        or ""
        for row in database.rows(connection, STATUS_MAPPING)
        if row["subStatusCode"]
    }
