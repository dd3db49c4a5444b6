"""Code mappings by date: what a source's code means in national words at a given moment.

A row is valid in [valid_from, valid_to). Several rows valid at once, or none, are both "unmapped": the
hub never guesses (never "", never the local code, never an invented status).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from schemas.dossier.status import Status


class CodeList(StrEnum):
    """The three code lists that are mapped."""

    STATUS = "status"
    PROCEDURE = "procedure"
    AGENCY = "agency"


class MappingOrigin(StrEnum):
    """Who chose a row."""

    SOURCE_TABLE = "source_table"  # the source's own mapping table: counts as the province's choice
    OPERATOR = "operator"
    SUCCESSION = "succession"  # a reorganisation: the old code was closed in favour of the new


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingRow:
    """One row: `code` (and for statuses `qualifier`, the sub-status) of `system` means `value`."""

    codelist: CodeList
    system: str
    code: str
    qualifier: str = ""
    value: str
    name: str | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    origin: MappingOrigin
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """What a code means: the national code (or canonical status) and its name where known."""

    value: str
    name: str | None


class Unmapped(LookupError):
    """No row, or several, for a code at that time. Carries codes only: they are no personal data."""

    def __init__(self, codelist: CodeList, code: str | None, matches: int) -> None:
        super().__init__(f"codelist={codelist} code={code or '(empty)'} matches={matches}")
        self.codelist = codelist
        self.code = code
        self.matches = matches


class Codes:
    """An immutable snapshot of the mapping rows, for pure look-ups."""

    def __init__(self, rows: Iterable[MappingRow] = (), version: int = 0) -> None:
        self.version = version
        self._rows: dict[tuple[CodeList, str, str], list[MappingRow]] = defaultdict(list)
        for row in rows:
            self._rows[row.codelist, row.system, row.code].append(row)

    def status(
        self, system: str, status: str | None, sub_status: str | None, at: datetime
    ) -> Status:
        """The canonical status. The row of the sub-status wins over that of the status alone.

        Raises `Unmapped`.
        """
        rows = self._valid(CodeList.STATUS, system, status, at)
        exact = [r for r in rows if sub_status and r.qualifier == sub_status]
        chosen = exact or [r for r in rows if not r.qualifier]
        label = f"{status}/{sub_status}" if status and sub_status else status
        return Status(_single(CodeList.STATUS, label, chosen).value)

    def procedure(self, system: str, code: str | None, at: datetime) -> Mapped:
        """The national procedure code (mã TTHC). Raises `Unmapped`."""
        return self._one(CodeList.PROCEDURE, system, code, at)

    def agency(self, system: str, code: str | None, at: datetime) -> Mapped:
        """The agency code in force at that time (Decision 20/2020 order). Raises `Unmapped`."""
        return self._one(CodeList.AGENCY, system, code, at)

    def _one(self, codelist: CodeList, system: str, code: str | None, at: datetime) -> Mapped:
        row = _single(codelist, code, self._valid(codelist, system, code, at))
        return Mapped(value=row.value, name=row.name)

    def _valid(
        self, codelist: CodeList, system: str, code: str | None, at: datetime
    ) -> list[MappingRow]:
        return [
            row
            for row in self._rows.get((codelist, system, code or ""), ())
            if (row.valid_from is None or row.valid_from <= at)
            and (row.valid_to is None or at < row.valid_to)
        ]


def _single(codelist: CodeList, code: str | None, rows: list[MappingRow]) -> MappingRow:
    if len(rows) != 1:
        raise Unmapped(codelist, code, len(rows))
    return rows[0]
