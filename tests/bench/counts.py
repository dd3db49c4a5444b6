"""The rates of a month of dossiers, and keeping their figures up to date, beside a plain pass over the table.

    count         every quantity of dossiers, by unit
    report        `thongsuot rates` for all agencies: every rate, with the steps that were in time
    integration   `thongsuot rates integration`: the hub's own rates, by unit
    rates         the two together
    refresh       reckoning the dossiers that changed
    live          what a worker counts for `/metrics`: this month and the one before; `metrics_oldest` is how old
                  the figures there may be by that: its pauses, a refresh and a count
    scrape        writing out `/metrics` with every agency filled in

The pass reads every row of `figures` and counts it by unit, in a session like that of the count: what else
the machine does at that time then falls out of the ratio. Before every refresh `CHANGED` dossiers get an
event each; it ends when they are reckoned. What was counted must be what was written, and no figure is
asserted.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, func, select

from monitoring.metrics import Metrics
from monitoring.rates import integration
from monitoring.rates.catalogue import packaged
from monitoring.rates.dossier_counts import PORTAL, Counted, bounds, count
from monitoring.rates.integration import Integration
from monitoring.rates.live import Span, by_agency, shares, spans_at
from monitoring.rates.reckoning import Rules, refresh
from monitoring.rates.report import Report, gathered
from monitoring.rates.step_counts import Steps
from monitoring.rates.units import Asked
from schemas.codec import Codec
from schemas.dossier.mappings import CodeList, Codes, MappingOrigin, MappingRow
from schemas.dossier.status import Status
from schemas.dossier.working_calendar import packaged_calendar
from schemas.ledger.database import Lane
from schemas.ledger.dialect import for_counting, make_engine
from schemas.ledger.figures import standings
from schemas.ledger.migrate import upgrade
from schemas.ledger.model import Enlistment, Fence
from schemas.ledger.sql import SqlLedger
from schemas.ledger.tables import figures
from schemas.records import CodeName, DossierEvent
from schemas.registry import LocalRegistry
from schemas.topics import DOSSIER_EVENTS
from streams.figures import COUNT_SECONDS, PAUSE_SECONDS
from tests.bench.contenders import BenchFailed
from tests.bench.counts_events import late_dossiers
from tests.bench.counts_fill import FIRST, MONTH, UNITS, Filled, dossier_id, fill
from tests.contract.ledger_contract import make_event
from tests.services.postgres import PostgresServer
from tests.services.server_process import ServiceMissing

T = TypeVar("T")
Say = Callable[[str], None]

CHANGED = 10
"""Dossiers of one refresh."""

SERVER = {"shared_buffers": "256MB", "max_wal_size": "2GB"}
"""As in docker-compose.yml."""

_UNIT = "H12.100"


def on_postgres(dossiers: int, rounds: int, say: Say) -> Mapping[str, Any] | None:
    """None where no PostgreSQL is installed, which is said."""
    try:
        with PostgresServer(settings=SERVER) as server:
            return _measured(server.create_database("counts"), dossiers, rounds, say)
    except ServiceMissing as missing:
        say(f"counts: {missing}")
        return None


def on_sqlite(folder: Path, dossiers: int, rounds: int, say: Say) -> Mapping[str, Any]:
    """The ledger lies in `folder`."""
    return _measured(f"sqlite:///{folder / 'counts.db'}", dossiers, rounds, say)


def _measured(url: str, dossiers: int, rounds: int, say: Say) -> Mapping[str, Any]:
    """Raises `BenchFailed` when something else was counted than there is."""
    began = time.monotonic()
    filled = Filled(of_month=dossiers, before=dossiers)
    upgrade(url)
    engine = make_engine(url)
    try:
        with engine.begin() as connection:
            fill(connection, filled)
    finally:
        engine.dispose()
    filled_s = time.monotonic() - began
    say(f"counts: {dossiers} dossiers of a month and as many before in {filled_s:.0f} s, {url}")
    return asyncio.run(_Rounds(url, filled, say).play(rounds)) | {"filled_s": round(filled_s, 1)}


@dataclass(slots=True)
class _Rounds:
    url: str
    filled: Filled
    say: Say
    seconds: dict[str, list[float]] = field(default_factory=dict)
    told: int = 0  # dossiers that got an event
    metrics: Metrics = field(default_factory=lambda: Metrics(targets=[PORTAL], version="bench"))
    series: int = 0

    async def play(self, rounds: int) -> dict[str, Any]:
        """The first round warms up."""
        codec = Codec(LocalRegistry())
        await codec.prepare()
        start, end = bounds(MONTH)
        calendar, after = packaged_calendar(), end + timedelta(days=1)
        asked, steps = Asked(period=MONTH, province="H12"), Steps(now=after)
        lane = Lane(self.url, "bench", seconds=None)
        try:
            async with SqlLedger(self.url) as ledger:
                flow = await _Flow.open(ledger, codec)
                for number in range(rounds + 1):
                    took = {"pass": await _timed(lambda: lane.read(_pass))}
                    took["count"] = await _timed(
                        lambda: lane.read(lambda c: self._look(count(c, start, end)))
                    )
                    took["report"] = await _timed(lambda: self._report(lane, asked, after, steps))
                    took["integration"] = await _timed(
                        lambda: lane.read(
                            lambda c: self._look_into(
                                integration.count(c, start, end, calendar=calendar)
                            )
                        )
                    )
                    took["live"] = await _timed(
                        lambda: self._live(lane, end - timedelta(seconds=1))
                    )
                    took["scrape"] = await _timed(self._scrape)
                    await flow.tell(self._changed())
                    took["refresh"] = await _timed(lambda: self._refresh(lane, flow))
                    if number:
                        for name, one in took.items():
                            self.seconds.setdefault(name, []).append(one)
                        told = "   ".join(f"{name} {one:.3f} s" for name, one in took.items())
                        self.say(f"counts: round {number}  {told}")
        finally:
            await lane.close()
        return self._result()

    def _changed(self) -> Sequence[DossierEvent]:
        """An event for each of the next dossiers that were received in the month."""
        first, self.told = self.told, self.told + CHANGED
        at = FIRST + timedelta(days=1)
        return [
            replace(
                make_event(
                    f"told-{number}",
                    dossier_id(number * 4 + 1),
                    version=2,
                    code=f"H12-{number * 4 + 1}",
                    at=at,
                    due=at + timedelta(days=60),
                    status=Status.RECEIVED.value,
                ),
                handling_agency=CodeName(code=_UNIT, name=None),
            )
            for number in range(first, self.told)
        ]

    def _look(self, counted: Counted) -> None:
        said = (
            len(counted.units),
            counted.total.shown["received_and_carried_over"],
            counted.total.shown["received_in_period"],
        )
        wanted = (UNITS, self.filled.of_month, self.filled.received)
        if said != wanted:
            raise BenchFailed(f"counted were {said}, there are {wanted}")

    async def _report(self, lane: Lane, asked: Asked, now: datetime, steps: Steps) -> None:
        """As `thongsuot rates` does."""
        self._look_at((await lane.read(lambda c: gathered(c, asked, now, steps=steps)))())

    def _look_at(self, told: Report) -> None:
        steps = told.total.steps
        said = (len(told.units), None if steps is None else steps.late_dossiers)
        wanted = (UNITS, late_dossiers(self.filled.of_month))
        if said != wanted:
            raise BenchFailed(f"reported were {said}, there are {wanted}")

    def _look_into(self, told: Integration) -> None:
        (total,) = told.totals
        # In a small ledger some units are owed nothing in the month.
        every = len(told.units) == UNITS or self.filled.of_month < 20 * UNITS
        if not every or not total.counts["owed"]:
            raise BenchFailed(
                f"of {len(told.units)} units {total.counts['owed']} deliveries counted"
            )

    async def _live(self, lane: Lane, now: datetime) -> None:
        """As `streams.figures` does at most every `COUNT_SECONDS`, when figures changed in between."""
        found: dict[Span, Counted] = {}
        for span, period in spans_at(now).items():
            first, last = bounds(period)
            found[span] = await lane.read(
                partial(count, start=first, end=min(now, last)), unhurried=True
            )
        stand = await lane.read(standings, unhurried=True)
        self.metrics.take_rates(
            {
                (code, span.value): (share.numerator, share.denominator)
                for span, counted in found.items()
                for code, share in shares(packaged(), counted.total.shown).items()
            },
            by_agency(packaged(), found[Span.THIS_MONTH]),
            stand,
            now.timestamp(),
        )

    async def _scrape(self) -> None:
        self.series = sum(not line.startswith(b"#") for line in self.metrics.render().splitlines())

    async def _refresh(self, lane: Lane, flow: _Flow) -> None:
        reckoned = await refresh(lane, flow.decode, flow.rules)
        if reckoned != CHANGED:
            raise BenchFailed(f"{reckoned} dossiers were reckoned, {CHANGED} had changed")

    def _result(self) -> dict[str, Any]:
        pairs = zip(self.seconds["count"], self.seconds["pass"], strict=True)
        rates = [
            report + carried
            for report, carried in zip(
                self.seconds["report"], self.seconds["integration"], strict=True
            )
        ]
        median = {name: statistics.median(some) for name, some in self.seconds.items()}
        oldest = COUNT_SECONDS + PAUSE_SECONDS + median["refresh"] + median["live"]
        return {
            "dossiers": self.filled.of_month,
            "count_s": round(median["count"], 3),
            "count_s_of_each_round": [round(one, 3) for one in self.seconds["count"]],
            "pass_s": round(median["pass"], 3),
            "count/pass": round(statistics.median(a / b for a, b in pairs), 1),
            "report_s": round(median["report"], 3),
            "integration_s": round(median["integration"], 3),
            "rates_s": round(statistics.median(rates), 3),
            "changed": CHANGED,
            "refresh_s": round(median["refresh"], 3),
            "live_s": round(median["live"], 3),
            "metrics_oldest_s": round(oldest, 1),
            "agencies": UNITS,
            "series": self.series,
            "scrape_ms": round(median["scrape"] * 1000, 1),
        }


def _pass(connection: Connection) -> None:
    for_counting(connection)
    by_unit = select(figures.c.agency_code, func.count()).group_by(figures.c.agency_code)
    connection.execute(by_unit).all()


async def _timed(do: Callable[[], Awaitable[T]]) -> float:
    began = time.monotonic()
    await do()
    return time.monotonic() - began


@dataclass(slots=True)
class _Flow:
    """Enlists as the ledger flow does; `decode` and `rules` are for the reckoning."""

    ledger: SqlLedger
    codec: Codec
    fence: Fence
    offset: int
    rules: Rules

    @classmethod
    async def open(cls, ledger: SqlLedger, codec: Codec) -> _Flow:
        topic = DOSSIER_EVENTS.name
        (position,) = await ledger.take_over("bench", topic, None, [0], "bench")
        codes = [
            MappingRow(codelist=codelist, system="opencps", code=code, value=value, origin=_ORIGIN)
            for codelist, code, value in (
                (CodeList.STATUS, Status.RECEIVED.value, Status.RECEIVED.value),
                (CodeList.AGENCY, _UNIT, _UNIT),
                (CodeList.PROCEDURE, "P1", "1.000001"),
            )
        ]
        rules = Rules(codes=Codes(codes), calendar=packaged_calendar(), calendar_name="packaged")
        return cls(ledger, codec, position.fence, position.next_offset, rules)

    async def tell(self, events: Sequence[DossierEvent]) -> None:
        first, self.offset = self.offset, self.offset + len(events)
        batch = [
            Enlistment(
                event=event,
                payload=self.codec.encode(event),
                topic=DOSSIER_EVENTS.name,
                partition=0,
                offset=first + number,
                dues=(),
            )
            for number, event in enumerate(events)
        ]
        await self.ledger.enlist({0: self.fence}, {0: self.offset}, batch, {0: first})

    async def decode(self, payload: bytes) -> DossierEvent:
        return await self.codec.decode_as(payload, DossierEvent)


_ORIGIN = MappingOrigin.OPERATOR
