"""The portal's published figures, and the tables of counts that they belong to."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "fixtures" / "rates"


@dataclass(frozen=True)
class Published:
    """A figure as it was published; None where the portal showed nothing."""

    unit: str
    ratio: Decimal | None
    score: Decimal | None


def path(table: str) -> Path:
    return FOLDER / f"{table}.csv"


def rows(table: str) -> list[dict[str, str]]:
    with path(table).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def published(table: str, code: str, service: str | None = None) -> list[Published]:
    """The published figures of a code, in the order of the file; of one service, or of all."""
    score = "totalScore" if table.startswith("payment") else "score"
    return [
        Published(row["departmentCode"], _decimal(row["ratio"]), _decimal(row[score]))
        for row in rows(table)
        if row.get("metric_code", code) == code and service in (None, row.get("service"))
    ]


def _decimal(cell: str) -> Decimal | None:
    return Decimal(cell) if cell else None
