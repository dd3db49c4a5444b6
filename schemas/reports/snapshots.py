"""A snapshot of a report: its figures at one knowledge time, in one canonical form that is hashed and kept.

What a person approves is the hash of these bytes. They are read back by every later version, so a name in
them never changes; what is told otherwise gets another name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

from schemas.reports.periods import Window

VERSION = 1

Value = int | str | None
"""A count, a decimal written out, or nothing known."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the agency it is about, what else it is told apart by, and its figures in the order of the columns.

    Of form II.06 a row is an agency's sector and procedure; None: the code is not known.
    """

    agency: str | None
    sector: str | None
    procedure: str | None
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """`known_at`: up to which record time is counted. `rules`: the versions of what was counted by."""

    regime: str
    period: str
    agency: str
    form_version: str
    window: Window
    known_at: datetime
    rules: Mapping[str, str]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def content(self) -> bytes:
        """The canonical bytes: JSON without blanks, names and rows in order."""
        return canonical(
            {
                "version": VERSION,
                "regime": self.regime,
                "period": self.period,
                "agency": self.agency,
                "form_version": self.form_version,
                "window": [self.window.first.isoformat(), self.window.last.isoformat()],
                "known_at": self.known_at.astimezone(UTC).isoformat(timespec="microseconds"),
                "rules": dict(self.rules),
                "columns": list(self.columns),
                "rows": [
                    [row.agency, row.sector, row.procedure, *row.values]
                    for row in sorted(self.rows, key=_place)
                ],
            }
        )

    def by(self, key: Callable[[Row], Value]) -> dict[Value, tuple[Value, ...]]:
        """Added up by what `key` says of a row. Where a value is no count, the sum is nothing."""
        found: dict[Value, list[Row]] = {}
        for row in sorted(self.rows, key=_place):
            found.setdefault(key(row), []).append(row)
        return {name: total(rows, len(self.columns)) for name, rows in found.items()}

    def total(self) -> tuple[Value, ...]:
        """All rows added up."""
        return total(self.rows, len(self.columns))

    def units(self) -> dict[str, str]:
        """The hash of what stands about each unit, by its code: what it confirms, and nothing else."""
        found: dict[str, list[Row]] = {}
        for row in sorted(self.rows, key=_place):
            if row.agency is not None:
                found.setdefault(row.agency, []).append(row)
        head = [self.regime, self.period, self.form_version, str(self.window), *self.columns]
        return {
            unit: hash_of(
                canonical([head, [[row.sector, row.procedure, *row.values] for row in rows]])
            )
            for unit, rows in found.items()
        }


# --- what is kept beside a snapshot, in words of its own: whoever counts a form maps onto these ------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Imbalance:
    """An identity of the form that a row does not keep, and the dossiers behind it (codes, else internal ids)."""

    identity: str  # c3=c4+c5+c6
    agency: str | None
    sector: str | None
    procedure: str | None
    left: int
    right: int
    dossiers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CarryOver:
    """What the report before left open (c11, as it was frozen) beside what this one took over (c6).

    `explained`: the difference is that of these dossiers, which changed after the earlier one was frozen.
    """

    earlier: str  # key of the period before
    left_open: int
    taken_over: int
    explained: bool
    dossiers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A dossier that counts otherwise than in the frozen figures. `was`, `now`: where; None: nowhere."""

    dossier_id: str
    code: str | None
    was: str | None
    now: str | None
    why: str


def read(content: bytes) -> Snapshot:
    """The reverse of `content`. Raises `ValueError` for one that this version cannot read."""
    told: dict[str, Any] = json.loads(content)
    if told.get("version") != VERSION:
        raise ValueError(f"snapshot: version {told.get('version')} is none that can be read")
    first, last = told["window"]
    return Snapshot(
        regime=told["regime"],
        period=told["period"],
        agency=told["agency"],
        form_version=told["form_version"],
        window=Window(date.fromisoformat(first), date.fromisoformat(last)),
        known_at=datetime.fromisoformat(told["known_at"]),
        rules=told["rules"],
        columns=tuple(told["columns"]),
        rows=tuple(Row(row[0], row[1], row[2], tuple(row[3:])) for row in told["rows"]),
    )


def canonical(told: object) -> bytes:
    """JSON in UTF-8: names in order, no blanks, nothing that is not JSON."""
    return json.dumps(
        told, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode()


def hash_of(content: bytes) -> str:
    """SHA-256 in hex."""
    return sha256(content).hexdigest()


def total(rows: Iterable[Row], columns: int) -> tuple[Value, ...]:
    """These rows added up, column by column; nothing where a value is no count."""
    sums: list[Value] = [0] * columns
    for row in rows:
        for place, value in enumerate(row.values):
            so_far = sums[place]
            both = isinstance(value, int) and isinstance(so_far, int)
            sums[place] = so_far + value if both else None  # type: ignore[operator] # both are counts
    return tuple(sums)


def _place(row: Row) -> tuple[tuple[bool, str], ...]:
    keys = (row.agency, row.sector, row.procedure)
    return tuple((key is not None, key or "") for key in keys)
