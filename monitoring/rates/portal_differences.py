"""The differences between what the portal publishes and what the ledger holds, and each opened down to dossiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from monitoring.rates.catalogue import packaged
from monitoring.rates.dossier_counts import NotCounted, bounds
from monitoring.rates.periods import Period
from monitoring.rates.portal_comparison import (
    Compared,
    CountPair,
    Verdict,
    compare,
    exact,
    is_within,
    ours,
    scope_of,
)
from monitoring.rates.portal_dossiers import Suspect, suspects
from schemas.ledger.observations import agencies
from schemas.ledger.published import Version, versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is compared: a period of the units of a province (its code, e.g. H44); None is all of them."""

    period: Period
    province: str
    service: str | None = None
    agency: str | None = None
    metric: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A count that differs, and the dossiers that may explain it, the likeliest first.

    `left_off`: how many there are beside. `not_listed`: why none can be listed.
    """

    row: Compared
    pair: CountPair
    dossiers: Sequence[Suspect] = ()
    left_off: int = 0
    not_listed: str | None = None

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "service": self.row.service,
            "departmentCode": self.row.unit,
            "metric": self.row.metric,
            "quantity": self.pair.quantity,
            "portal": self.pair.portal,
            "ours": None if self.pair.ours is None else exact(self.pair.ours),
            "points": self.row.points,
            "dossiers": [suspect.as_dict() for suspect in self.dossiers],
            "left_off": self.left_off,
            "not_listed": self.not_listed,
        }


def differences(connection: Connection, wanted: Wanted) -> list[Compared]:
    """Every published figure beside ours, what is the same too; nothing where nothing was imported."""
    there = _published(connection, wanted)
    if not there:
        return []
    start, end = _bounds(wanted.period, there)
    known = {wanted.province, *agencies(connection)}
    here = {
        unit: own
        for unit, own in ours(connection, start, end, known).items()
        if is_within(unit, wanted.province)
    }
    return [
        one
        for one in compare(packaged(), wanted.period, there, here)
        if wanted.service in (None, one.service)
        and wanted.agency in (None, one.unit)
        and wanted.metric in (None, one.metric)
    ]


def left_out(connection: Connection, wanted: Wanted) -> int:
    """How many figures of the period are of another province: imported, and in no comparison."""
    found = versions(connection, str(wanted.period))
    return sum(
        not is_within(one.figure.unit, wanted.province)
        for one in found
        if wanted.service in (None, one.service) and wanted.metric in (None, one.figure.metric)
    )


def opened(connection: Connection, wanted: Wanted, limit: int) -> list[Opened]:
    """Every count that differs, each with at most `limit` dossiers that may explain it."""
    rows = differences(connection, wanted)
    if not rows:
        return []
    start, end = _bounds(wanted.period, _published(connection, wanted))
    known = agencies(connection)
    found = []
    for row in rows:
        for pair in row.counts:
            more_here = _more_here(row, pair)
            if more_here is None:
                continue
            scope = scope_of(row.unit, known)
            try:
                listed = suspects(connection, pair.quantity, start, end, scope, more_here=more_here)
            except NotCounted as error:
                found.append(Opened(row=row, pair=pair, not_listed=str(error)))
            else:
                rest = max(0, len(listed) - limit)
                found.append(Opened(row=row, pair=pair, dossiers=listed[:limit], left_off=rest))
    return found


def _published(connection: Connection, wanted: Wanted) -> list[Version]:
    """Of the province and its units, whatever is wanted of them: totals are made of their parts."""
    found = versions(connection, str(wanted.period))
    return [one for one in found if is_within(one.figure.unit, wanted.province)]


def _bounds(period: Period, there: Sequence[Version]) -> tuple[datetime, datetime]:
    """Of a period that had not ended when the portal last answered: up to that moment."""
    start, end = bounds(period)
    return start, min(end, max(start, *(one.seen_at for one in there)))


def _more_here(row: Compared, pair: CountPair) -> bool | None:
    """Whether we count more than the portal; None: there is no difference to open."""
    there = 0 if row.verdict is Verdict.ONLY_HERE else pair.portal
    if pair.ours is None or there is None or pair.ours == there:
        return None
    return bool(pair.ours > there)
