"""Dossiers for the tests of what is counted: written as lives, taken in by a ledger, reckoned. All invented."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from monitoring.rates import reckoning
from monitoring.rates.dossier_counts import Counted, Counting, Scope, bounds, count, dossiers_of
from monitoring.rates.periods import parse_period
from monitoring.rates.reckoning import Rules
from schemas.dossier.mappings import CodeList, Codes, MappingOrigin, MappingRow
from schemas.dossier.status import Status
from schemas.ledger import figures
from schemas.ledger.database import Lane
from schemas.ledger.migrate import upgrade
from schemas.ledger.sql import SqlLedger
from schemas.records import CodeName, DossierEvent, DossierTimes, SourceStatus, Step
from tests.contract.ledger_contract import Desk, make_event
from tests.unit.dossier.samples import CALENDAR, at

UNITS = ("H12.01", "H12.02", "H12.03")
WHOLE = Scope()


def mapping(codelist: CodeList, code: str, value: str) -> MappingRow:
    return MappingRow(
        codelist=codelist,
        system="opencps",
        code=code,
        value=value,
        origin=MappingOrigin.SOURCE_TABLE,
    )


def codes(units: Iterable[str] = UNITS, version: int = 1) -> Codes:
    """Every status under its own name, every unit under its own code, and three procedures."""
    return Codes(
        [
            *(mapping(CodeList.STATUS, status.value, status.value) for status in Status),
            *(mapping(CodeList.AGENCY, unit, unit) for unit in units),
            *(mapping(CodeList.PROCEDURE, f"P{n}", f"1.00000{n}") for n in (1, 2, 3)),
        ],
        version=version,
    )


RULES = Rules(codes=codes(), calendar=CALENDAR, calendar_name="samples")


@dataclass(frozen=True)
class Story:
    """A dossier: `steps` are (status, Vietnamese time); `state` replaces fields of every event."""

    name: str
    steps: tuple[tuple[str, str], ...]
    due: str | None = "2026-03-06 17:00"
    unit: str = UNITS[0]
    received: str | None = None  # by default the time of the first step `received`
    state: dict[str, Any] = field(default_factory=dict)

    def events(self) -> list[DossierEvent]:
        """One event for each step, every one with the whole state as it was then."""
        told: list[DossierEvent] = []
        received = self.received or next((when for s, when in self.steps if s == "received"), None)
        for version, (status, when) in enumerate(self.steps, start=1):
            so_far = self.steps[:version]
            times = DossierTimes(
                received=at(received) if received else None,
                due=at(self.due) if self.due else None,
                finished=_last(so_far, "finished"),
                returned=_last(so_far, "returned"),
            )
            event = make_event(
                f"{self.name}-{version}",
                self.name,
                version=version,
                code=f"{self.unit}-{self.name}",
                at=at(when),
                status=status,
            )
            told.append(
                replace(
                    event,
                    handling_agency=CodeName(code=self.unit, name=None),
                    times=times,
                    **self.state,
                )
            )
        return told


def _last(steps: Sequence[tuple[str, str]], status: str) -> datetime | None:
    return next((at(when) for s, when in reversed(steps) if s == status), None)


def silent(event: DossierEvent, status: str | None = None, **fields: Any) -> DossierEvent:
    """The event without its step, in this status."""
    told = SourceStatus(status=status, sub_status=None) if status else event.business_state
    return replace(event, step=None, business_state=told, **fields)


def with_status(step: Step | None, status: str | None) -> Step:
    assert step is not None
    return replace(step, status=SourceStatus(status=status, sub_status=None))


@dataclass
class Hall:
    """A ledger, who enlists into it, and the codec that its payloads have here."""

    ledger: SqlLedger
    desk: Desk
    lane: Lane
    told: dict[str, DossierEvent] = field(default_factory=dict)

    async def put(self, *events: DossierEvent) -> None:
        self.told |= {event.event_id: event for event in events}
        await self.desk.put(*events)

    async def decode(self, payload: bytes) -> DossierEvent:
        return self.told[payload.decode().removeprefix("payload of ")]

    async def refresh(self, rules: Rules = RULES, limit: int = 500) -> int:
        return await reckoning.refresh(self.lane, self.decode, rules, limit)

    async def count(self, period: str, scope: Scope = WHOLE) -> Counted:
        start, end = span_of(period)
        return await self.lane.read(lambda c: count(c, start, end, scope))

    async def dossiers(
        self, quantity: str, period: str, *, instead: bool = False
    ) -> list[Counting]:
        start, end = span_of(period)
        return await self.lane.read(lambda c: dossiers_of(c, quantity, start, end, instead=instead))

    async def standings(self) -> dict[str, int]:
        """Only those that there are."""
        found = await self.lane.read(figures.standings)
        return {standing: n for standing, n in found.items() if n}


def span_of(period: str) -> tuple[datetime, datetime]:
    parsed = parse_period(period)
    assert parsed is not None
    return bounds(parsed)


@cache
def _migrated() -> bytes:
    """An empty ledger that nobody has opened yet; migrating one takes longer than most tests."""
    with TemporaryDirectory() as folder:
        upgrade(f"sqlite:///{folder}/ledger.db")
        return (Path(folder) / "ledger.db").read_bytes()


@asynccontextmanager
async def hall(folder: Path) -> AsyncIterator[Hall]:
    (folder / "ledger.db").write_bytes(_migrated())
    async with hall_at(f"sqlite:///{folder}/ledger.db") as opened:
        yield opened


@asynccontextmanager
async def hall_at(url: str) -> AsyncIterator[Hall]:
    """The same in a ledger that is there."""
    lane = Lane(url, "figures", seconds=None)
    try:
        async with SqlLedger(url) as ledger:
            yield Hall(ledger=ledger, desk=await Desk.open(ledger), lane=lane)
    finally:
        await lane.close()
