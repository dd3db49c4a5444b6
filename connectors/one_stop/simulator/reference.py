"""Real procedures, communes and agencies for the simulated province (see data/README.md)."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

AGENCY_COLLECTION = "GOVERNMENT_AGENCY"
"""The code of the dictionary in which the one-stop system keeps its agencies.

Each item's `metaData` is a JSON object with `validFrom`, `validTo` (dates, the second exclusive) and
`successor` (the code in force afterwards); each key only where there is a value.
"""


@dataclass(frozen=True, slots=True)
class Procedure:
    """A national procedure. `hours` is its limit in working hours (8 a day); `fee` in VND."""

    code: str
    name: str
    sector_code: str
    sector_name: str
    commune_level: bool
    department: str
    hours: int
    fee: int


@dataclass(frozen=True, slots=True)
class Agency:
    """An agency by its code in the order of Decision 20/2020. Dates are ISO, `valid_to` exclusive."""

    code: str
    name: str
    valid_from: str
    valid_to: str
    successor: str
    invented: bool


@dataclass(frozen=True, slots=True)
class Commune:
    """A commune of the new Cà Mau and the invented agency code of its people's committee."""

    unit_code: str
    name: str
    agency_code: str


@dataclass(frozen=True, slots=True)
class LocalProcedure:
    """How the one-stop system numbers a procedure, and the national code that it means."""

    code: str
    national: Procedure


@dataclass(frozen=True, slots=True)
class Reference:
    """All of it. `local` are the procedures kept under codes of the province's own."""

    procedures: tuple[Procedure, ...]
    communes: tuple[Commune, ...]
    agencies: dict[str, Agency]
    local: tuple[LocalProcedure, ...]

    @property
    def closed(self) -> tuple[Agency, ...]:
        """Level-2 agencies that the merger closed and that have a successor."""
        return tuple(a for a in self.agencies.values() if a.successor and "." in a.code)


_HOURS_PER_UNIT = {"working_day": 8, "day": 8, "hour": 1}
_DEFAULT_HOURS = 80


def _rows(name: str) -> list[dict[str, str]]:
    text = files(__package__).joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _hours(row: dict[str, str]) -> int:
    if not row["limit"]:
        return _DEFAULT_HOURS
    return max(1, int(row["limit"]) * _HOURS_PER_UNIT[row["unit"]])


@cache
def load() -> Reference:
    """The packaged selection, read once."""
    procedures = tuple(
        Procedure(
            code=row["code"],
            name=row["name"],
            sector_code=row["sector_code"],
            sector_name=row["sector_name"],
            commune_level=row["level"] == "commune",
            department=row["department"],
            hours=_hours(row),
            fee=int(row["fee"]),
        )
        for row in _rows("procedures.csv")
    )
    communes = tuple(
        Commune(row["unit_code"], row["name"], row["agency_code"]) for row in _rows("communes.csv")
    )
    agencies = {
        row["code"]: Agency(
            code=row["code"],
            name=row["name"],
            valid_from=row["valid_from"],
            valid_to=row["valid_to"],
            successor=row["successor"],
            invented=row["invented"] == "yes",
        )
        for row in _rows("agencies.csv")
    }
    return Reference(procedures, communes, agencies, _local(procedures))


def _local(procedures: tuple[Procedure, ...]) -> tuple[LocalProcedure, ...]:
    """Every twelfth procedure is kept under a private code: half with the province's suffix, half home-made."""
    chosen = procedures[::12]
    return tuple(
        LocalProcedure(
            code=f"{p.code}.000.00.00.H12" if n % 2 == 0 else f"CM_TT{n:03d}.000.00.00.H12",
            national=p,
        )
        for n, p in enumerate(chosen)
    )
