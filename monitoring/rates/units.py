"""The rows of a report: which units there are in a period, and whose dossiers count in each.

Units are the agencies directly beneath the one that is asked for, each with all beneath it, as they stand on
the period's last day; a unit that was merged counts for its successor (`schemas/dossier/agencies.py`).
Without a directory each code in the ledger is a unit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

from monitoring.rates.catalogue import near
from monitoring.rates.dossier_counts import Counted, Scope
from monitoring.rates.periods import Period
from monitoring.rates.remarks import UNLISTED, UNMAPPED, Remark, about_unit
from schemas.dossier.agencies import Agencies
from schemas.ledger import observations


class UnknownAgency(LookupError):
    """No agency has this code. `near` are codes that look like it."""

    def __init__(self, code: str, near: Sequence[str]) -> None:
        super().__init__(f"unknown agency {code!r}; near: {', '.join(near) or 'none'}")
        self.code = code
        self.near = tuple(near)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a report is about. `rates`: codes, None for all. `agency` with all beneath it, None for everything.

    `province` is the code under which figures of the whole are observed.
    """

    period: Period
    province: str
    agency: str | None = None
    procedure: str | None = None
    sector: str | None = None
    rates: Sequence[str] | None = None


class UnitKind(StrEnum):
    """What a row is."""

    UNIT = "unit"  # an agency with all beneath it
    ITSELF = "itself"  # the agency that was asked for, without those beneath it
    UNLISTED = "unlisted"
    UNMAPPED = "unmapped"
    TOTAL = "total"


def scope_of(connection: Connection, asked: Asked, directory: Agencies | None) -> Scope:
    """Whose dossiers are asked for. To ask for the root is to ask for everything. Raises `UnknownAgency`."""
    return Scope(
        agencies=_codes(connection, asked, directory),
        procedure=asked.procedure,
        sector=asked.sector,
    )


def _codes(
    connection: Connection, asked: Asked, directory: Agencies | None
) -> Collection[str] | None:
    if asked.agency is None:
        return None
    listed = frozenset() if directory is None else directory.codes
    if directory is not None and asked.agency in listed:
        head = directory.counted_as(asked.agency, asked.period.last)
        return None if head == directory.root else directory.with_children(head, asked.period.last)
    mapped = observations.agencies(connection)
    if asked.agency not in mapped:
        raise UnknownAgency(asked.agency, near(asked.agency, sorted(mapped | listed)))
    return {asked.agency}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A row before anything is counted in it."""

    kind: UnitKind
    code: str | None
    name: str | None = None
    codes: tuple[str | None, ...] = ()
    observed_as: str | None = None  # the code under which its figures are observed
    remarks: tuple[Remark, ...] = ()


def places(counted: Counted, asked: Asked, directory: Agencies | None) -> Iterator[Place]:
    """The rows; a single agency that has nobody beneath it has none beside its total.

    One that is not there on the period's last day has a row only if something counts in it.
    """
    found = {unit.agency for unit in counted.units}
    listed: frozenset[str] = frozenset()
    if directory is not None and (asked.agency is None or asked.agency in directory.codes):
        listed = directory.codes
        yield from _listed_places(found, asked, directory)
    elif asked.agency is not None:
        return
    unlisted_codes = [one for one in found if one is not None and one not in listed]
    for code in sorted(unlisted_codes, key=_in_order):
        unlisted = directory is not None
        yield Place(
            kind=UnitKind.UNLISTED if unlisted else UnitKind.UNIT,
            code=code,
            codes=(code,),
            observed_as=code,
            remarks=(UNLISTED,) if unlisted else (),
        )
    if None in found:
        yield Place(kind=UnitKind.UNMAPPED, code=None, codes=(None,), remarks=(UNMAPPED,))


def _listed_places(found: Set[str | None], asked: Asked, directory: Agencies) -> Iterator[Place]:
    on = asked.period.last
    head = directory.counted_as(asked.agency or directory.root, on)
    own = (head, *directory.merged_into(head, on))
    children = directory.children(head, on)
    if found & set(own) and children:
        yield Place(
            kind=UnitKind.ITSELF, code=head, name=directory.name(head), codes=tuple(sorted(own))
        )
    for code in sorted(children, key=_in_order):
        codes = directory.with_children(code, on)
        if not directory.is_there(code, on) and not found & codes:
            continue
        yield Place(
            kind=UnitKind.UNIT,
            code=code,
            name=directory.name(code),
            codes=tuple(sorted(codes)),
            observed_as=code,
            remarks=tuple(about_unit(directory, code, on)),
        )


def _in_order(code: str) -> list[tuple[int, str]]:
    """H12.02 before H12.10 before H12.100: departments have two digits, communes three."""
    return [(len(part), part) for part in code.split(".")]


def total_place(counted: Counted, asked: Asked, directory: Agencies | None, scope: Scope) -> Place:
    """The row of everything that is asked for."""
    code = asked.agency
    if directory is not None and code is not None and code in directory.codes:
        code = directory.counted_as(code, asked.period.last)
    if directory is not None and code == directory.root:
        code = None
    listed = directory is not None and code is not None and code in directory.codes
    remarks = (
        tuple(about_unit(directory, code, asked.period.last))
        if directory is not None and code is not None and listed
        else ()
    )
    return Place(
        kind=UnitKind.TOTAL,
        code=code,
        name=None if directory is None else directory.name(code or directory.root),
        codes=() if scope.agencies is None else tuple(sorted(scope.agencies)),
        observed_as=code or asked.province,
        remarks=remarks,
    )
