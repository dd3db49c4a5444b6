"""The schemas that ship with the package, and the ids that the local registry gives them."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypeAlias

from schemas.records import (
    DeadLetter,
    DeliveryReceipt,
    DossierEvent,
    IndicatorObservation,
    Notice,
    ReportPacket,
)

Record: TypeAlias = (
    Notice | DossierEvent | DeadLetter | DeliveryReceipt | IndicatorObservation | ReportPacket
)

NAMESPACE = "vn.thongsuot"


@dataclass(frozen=True, slots=True)
class RecordSchema:
    """One record type that travels: its folder, its class, and its number in the local ids."""

    folder: str
    record: type[Record]
    number: int  # given once, never to another record

    @property
    def full_name(self) -> str:
        """The Avro full name, which is the class's name in our namespace."""
        return f"{NAMESPACE}.{self.record.__name__}"


RECORDS = (
    RecordSchema("notice", Notice, 1),
    RecordSchema("dossier_event", DossierEvent, 2),
    RecordSchema("dead_letter", DeadLetter, 3),
    RecordSchema("delivery_receipt", DeliveryReceipt, 4),
    RecordSchema("indicator_observation", IndicatorObservation, 5),
    RecordSchema("report_packet", ReportPacket, 6),
)
"""In the order of the way of a dossier, then what is no dossier. Append only."""

BY_CLASS = {entry.record: entry for entry in RECORDS}
BY_NAME = {entry.full_name: entry for entry in RECORDS}

_VERSION = re.compile(r"v([1-9]\d*)\.avsc")
_PER_RECORD = 1000  # local id = number * 1000 + version, so ids never move when versions are added


@functools.cache
def versions(entry: RecordSchema) -> tuple[int, ...]:
    """The published versions, oldest first, from 1 without a hole."""
    names = [file.name for file in (files("schemas.avro") / entry.folder).iterdir()]
    found = sorted(int(match[1]) for name in names if (match := _VERSION.fullmatch(name)))
    if found != list(range(1, len(found) + 1)) or not found:
        raise RuntimeError(
            f"schemas/avro/{entry.folder}: versions must be v1, v2, …; found {found}"
        )
    return tuple(found)


@functools.cache
def text(entry: RecordSchema, version: int) -> str:
    """The published file."""
    return (files("schemas.avro") / entry.folder / f"v{version}.avsc").read_text("utf-8")


def schema(entry: RecordSchema, version: int) -> dict[str, Any]:
    """The published schema as JSON."""
    parsed: dict[str, Any] = json.loads(text(entry, version))
    return parsed


def latest(entry: RecordSchema) -> int:
    """The newest published version: the one that this code writes and reads."""
    return versions(entry)[-1]


def local_id(entry: RecordSchema, version: int) -> int:
    """The local registry's id of a version."""
    return entry.number * _PER_RECORD + version
