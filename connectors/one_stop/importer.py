"""The first code mappings, from the source's own tables: they count as the province's choice.

What has no row there gets none here: an unmapped code parks, it is never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy import Connection

from connectors.one_stop.client import OneStopDatabase, Row
from connectors.one_stop.columns import (
    DICT_COLLECTION,
    DICT_ITEM,
    PROCEDURE_MAPPING,
    STATUS_MAPPING,
)
from schemas.dossier.mappings import CodeList, MappingOrigin, MappingRow
from schemas.dossier.status import NATIONAL_CODE, Status

AGENCY_COLLECTION = "GOVERNMENT_AGENCY"  # collectionCode of the agencies' dictionary
PAUSING = "pausing"
_STATUS_OF = {code: status for status, code in NATIONAL_CODE.items() if code != "8"}


def read_mappings(database: OneStopDatabase, system: str) -> Sequence[MappingRow]:
    """Status, procedure and agency rows for `system`. Raises `SourceError`."""
    with database.snapshot() as connection:
        return [
            *_distinct(status_rows(_ours(database, connection, STATUS_MAPPING), system)),
            *_distinct(procedure_rows(_ours(database, connection, PROCEDURE_MAPPING), system)),
            *_distinct(agency_rows(_agencies(database, connection), system, database.zone)),
        ]


def status_rows(rows: Iterable[Row], system: str) -> list[MappingRow]:
    """opencps_dossierstatusmapping. Rows with an unknown national code are left out.

    National code 8 stands for two statuses: `pausing` is a pause, every other status with 8 a stop.
    """
    found: list[MappingRow] = []
    for row in rows:
        code, national = _text(row["statusCode"]), _text(row["statusCodeDVCQG"])
        status: Status | None
        note = None
        if national == "8":
            status = Status.PAUSED if code == PAUSING else Status.STOPPED
            note = "8 read as paused" if code == PAUSING else "8 read as stopped"
        else:
            status = _STATUS_OF.get(national)
        if code and status is not None:
            found.append(
                MappingRow(
                    codelist=CodeList.STATUS,
                    system=system,
                    code=code,
                    qualifier=_text(row["subStatusCode"]),
                    value=status.value,
                    origin=MappingOrigin.SOURCE_TABLE,
                    note=note,
                )
            )
    return found


def procedure_rows(rows: Iterable[Row], system: str) -> list[MappingRow]:
    """opencps_serviceinfomapping: the source's code of a procedure and the national one."""
    return [
        MappingRow(
            codelist=CodeList.PROCEDURE,
            system=system,
            code=_text(row["serviceCode"]),
            value=_text(row["serviceCodeDVCQG"]),
            name=_text(row["serviceNameDVCQG"]) or None,
            origin=MappingOrigin.SOURCE_TABLE,
        )
        for row in rows
        if _text(row["serviceCode"]) and _text(row["serviceCodeDVCQG"])
    ]


def agency_rows(rows: Iterable[Row], system: str, zone: ZoneInfo) -> list[MappingRow]:
    """The agencies' dictionary. An agency means itself while it is open, and its successor afterwards.

    `metaData` may hold `validFrom`, `validTo` (ISO dates, the second exclusive, midnight in `zone`) and
    `successor`; an item whose dates are no dates is left out.
    """
    agencies: dict[str, tuple[Row, datetime | None, datetime | None, str]] = {}
    for row in rows:
        meta = _meta(row["metaData"])
        try:
            begins = _midnight(meta.get("validFrom"), zone)
            ends = _midnight(meta.get("validTo"), zone)
        except ValueError:
            continue
        code = _text(row["itemCode"])
        if code:
            agencies[code] = (row, begins, ends, _text(meta.get("successor")))
    found: list[MappingRow] = []
    for code, (row, begins, ends, _) in agencies.items():
        found.append(
            MappingRow(
                codelist=CodeList.AGENCY,
                system=system,
                code=code,
                value=code,
                name=_text(row["itemName"]) or None,
                valid_from=begins,
                valid_to=ends,
                origin=MappingOrigin.SOURCE_TABLE,
            )
        )
        passed = {code}
        now, since = code, ends
        while since is not None:  # a successor may have been closed in its turn
            heir = agencies[now][3]
            if not heir or heir in passed or heir not in agencies:
                break
            passed.add(heir)
            heir_row, _, heir_ends, _ = agencies[heir]
            found.append(
                MappingRow(
                    codelist=CodeList.AGENCY,
                    system=system,
                    code=code,
                    value=heir,
                    name=_text(heir_row["itemName"]) or None,
                    valid_from=since,
                    valid_to=heir_ends,
                    origin=MappingOrigin.SUCCESSION,
                )
            )
            now, since = heir, heir_ends
    return found


def _ours(database: OneStopDatabase, connection: Connection, name: str) -> list[Row]:
    groups = database.settings.group_ids
    rows = database.rows(connection, name)
    return [row for row in rows if not groups or row["groupId"] in groups]


def _agencies(database: OneStopDatabase, connection: Connection) -> list[Row]:
    collections = {
        row["dictCollectionId"]
        for row in _ours(database, connection, DICT_COLLECTION)
        if row["collectionCode"] == AGENCY_COLLECTION
    }
    items = _ours(database, connection, DICT_ITEM)
    return [row for row in items if row["dictCollectionId"] in collections]


def _distinct(rows: Iterable[MappingRow]) -> list[MappingRow]:
    """Equal rows once (several sites often hold the same one); contradictions stay, and park."""
    return list(dict.fromkeys(rows))


def _text(value: object) -> str:
    return str(value).strip() if value is not None else ""


def _meta(text: str | None) -> dict[str, Any]:
    try:
        found = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _midnight(text: object, zone: ZoneInfo) -> datetime | None:
    if not text:
        return None
    return datetime.combine(date.fromisoformat(str(text)), time(), zone).astimezone(UTC)
