"""A province whose dossiers are told at times that the test sets: counted by what was known when, in memory.

The fake keeps the promises of `Counting`: the same moment gives the same figures, whatever arrives later.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from monitoring.events import Events
from schemas.codec import Codec
from schemas.ledger import report_outbox, report_store
from schemas.ledger.database import Lane
from schemas.ledger.report_outbox import Packed
from schemas.ledger.report_store import Frozen, Report, Take
from schemas.ledger.sql import SqlLedger
from schemas.registry import LocalRegistry
from schemas.reports.kinds import PacketKind
from schemas.reports.periods import Calendar, PeriodKind, Window
from schemas.reports.snapshots import CarryOver, Change, Imbalance, Row, Snapshot, canonical
from streams.reporting.approvals import Desk, actor_named
from streams.reporting.closing import Closing, ClosingOptions
from streams.reporting.counting import Behind, Earlier, Filling, Member
from streams.reporting.opening import Regime
from tests.unit.dossier.samples import CALENDAR, at
from tests.unit.rates.counted import _migrated
from tests.unit.streams.kit import MemoryTopic, RecordingLogger, events

REGIME = "II.06"
AGENCY = "H12"
REPORT_ID = "II.06/2026-03/H12"
OFFICER = actor_named("Trần Thị Mẫu")
HEAD = actor_named("Lê Văn Thử")


@dataclass(frozen=True)
class Told:
    """From `known_from` on a dossier stands in a unit's row, open or done; `unit` None: nowhere."""

    dossier_id: str
    known_from: datetime
    unit: str | None
    received: date
    done: bool = False


@dataclass
class Counted:
    """What has been told, and the fake's moods."""

    told: list[Told] = field(default_factory=list)
    unread: int = 0  # dossiers that are still to be reckoned
    imbalances: tuple[Imbalance, ...] = ()
    provisional: dict[str, int] = field(default_factory=dict)
    carry_over: CarryOver | None = None
    asked_for: list[datetime] = field(default_factory=list)

    async def refresh(self) -> bool:
        await asyncio.sleep(0)
        self.unread = max(self.unread - 1, 0)
        return self.unread > 0

    async def behind(self) -> int:
        await asyncio.sleep(0)
        return self.unread

    def _known(self, window: Window, known_at: datetime) -> dict[str, Told]:
        found: dict[str, Told] = {}
        for one in sorted(self.told, key=lambda told: told.known_from):
            if one.known_from <= known_at:
                found[one.dossier_id] = one
        return {
            name: one
            for name, one in found.items()
            if one.unit is not None and one.received <= window.last
        }

    async def needs(self) -> Sequence[str]:
        await asyncio.sleep(0)
        return ()

    async def count(self, report: Report, known_at: datetime, earlier: Earlier | None) -> Frozen:
        await asyncio.sleep(0)
        self.asked_for.append(known_at)
        rows: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for one in self._known(report.window, known_at).values():
            assert one.unit is not None
            rows[one.unit][0] += 1
            rows[one.unit][1 if one.done else 2] += 1
        snapshot = Snapshot(
            regime=report.regime,
            period=report.period,
            agency=report.agency,
            form_version="TT01/2020",
            window=report.window,
            known_at=known_at,
            rules={"form": "fake 1"},
            columns=("c3", "c7", "c11"),
            rows=tuple(Row(unit, "S1", "P1", tuple(values)) for unit, values in rows.items()),
        )
        return Frozen(
            snapshot=snapshot,
            provisional=self.provisional,
            imbalances=self.imbalances,
            carry_over=self.carry_over,
        )

    async def preview(self, report: Report, known_at: datetime) -> Frozen:
        return await self.count(report, known_at, None)

    async def changes(
        self, report: Report, was: Snapshot, now_known_at: datetime
    ) -> Sequence[Change]:
        await asyncio.sleep(0)
        then, now = (self._known(report.window, moment) for moment in (was.known_at, now_known_at))
        return [
            Change(
                dossier_id=name,
                code=f"code-{name}",
                was=_where(then.get(name)),
                now=_where(now.get(name)),
                why="arrived_late" if name not in then else "status_late",
            )
            for name in sorted({*then, *now})
            if _where(then.get(name)) != _where(now.get(name))
        ]

    async def members(
        self, snapshot: Snapshot, behind: Behind, after: str | None, limit: int
    ) -> Sequence[Member]:
        known = self._known(snapshot.window, snapshot.known_at)
        names = sorted(
            name
            for name, one in known.items()
            if behind.agency in {None, one.unit}
            and (behind.column == "c3" or one.done == (behind.column == "c7"))
            and name > (after or "")
        )
        return [Member(dossier_id=name, code=f"code-{name}") for name in names[:limit]]


def _where(one: Told | None) -> str | None:
    return None if one is None else f"{one.unit} {'c7' if one.done else 'c11'}"


class Packs:
    """Two forms of one snapshot, as form II.06 has."""

    def packets(
        self, report: Report, revision: int, snapshot: Snapshot, snapshot_hash: str
    ) -> Sequence[Packed]:
        return [
            Packed(
                kind=PacketKind.FIGURES,
                form=form,
                form_version=snapshot.form_version,
                content=canonical(
                    {"form": form, "hash": snapshot_hash, "rows": [r.values for r in snapshot.rows]}
                ),
            )
            for form in ("II.06a", "II.06b")
        ]


@dataclass
class Clock:
    """The time that everything in the test goes by, but for the database's own."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now

    def set(self, text: str) -> None:
        self.now = at(text)


def regime(**changes: Any) -> Regime:
    given: dict[str, Any] = {
        "code": REGIME,
        "agency": AGENCY,
        "calendar": Calendar.DECREE,
        "kinds": (PeriodKind.MONTH,),
        "due_day": 25,
        "unit_days": 3,
        "windows": {},
    }
    return Regime(**{**given, **changes})


@dataclass
class Province:
    """A ledger, dossiers, a clock; services and desks on them."""

    ledger: SqlLedger
    lane: Lane
    counted: Counted
    clock: Clock
    codec: Codec
    topic: MemoryTopic = field(default_factory=MemoryTopic)
    log: RecordingLogger = field(default_factory=RecordingLogger)
    regimes: list[Regime] = field(default_factory=lambda: [regime()])

    @property
    def fillings(self) -> Mapping[str, Filling]:
        return {one.code: Filling(self.counted, Packs()) for one in self.regimes}

    def desk(self, *, late: bool = True) -> Desk:
        return Desk(self.lane, self.fillings, calendar=CALENDAR, wall=self.clock, late=late)

    def closing(self, owner: str = "one", **more: Any) -> tuple[Closing, Events]:
        told = events(self.log)
        options = ClosingOptions(
            **{"silence": 0.3, "pause": 0.005, "draft_every": 0, "trouble": 0.01}
            | more.pop("options", {})
        )
        service = Closing(
            **{
                "ledger": self.ledger,
                "lane": self.lane,
                "fillings": self.fillings,
                "regimes": self.regimes,
                "calendar": CALENDAR,
                "desk": self.desk(),
                "producer": self.topic,
                "seal": lambda plain, _: plain,
                "encode": self.codec.encode,
                "owner": owner,
                "events": told,
                "wall": self.clock,
                "options": options,
            }
            | more
        )
        return service, told

    async def turn(self, times: int = 1, **more: Any) -> Closing:
        """The service does everything once, as its only owner."""
        service, _ = self.closing("turns", **more)
        fence = await self.ledger.take_singleton("reporting", "turns")
        for _ in range(times):
            await service.turn(fence)
        return service

    async def newest(self, report_id: str = REPORT_ID) -> Take | None:
        return await self.lane.read(lambda c: report_store.newest(c, report_id))

    async def take(self, report_id: str = REPORT_ID) -> Take:
        found = await self.newest(report_id)
        assert found is not None
        return found

    async def content(self, take: Take) -> bytes:
        return await self.lane.read(lambda c: report_store.content_of(c, take.ref))

    async def packets(self, report_id: str = REPORT_ID) -> list[report_outbox.Packet]:
        return await self.lane.read(lambda c: report_outbox.packets(c, report_id))

    async def confirmed(self, report_id: str = REPORT_ID) -> None:
        """Every unit says that its row is right, and the whole is looked at."""
        take = await self.take(report_id)
        for unit in take.units:
            await self.desk().confirm(report_id, unit, OFFICER)
        await self.desk().verify(report_id, OFFICER)

    async def approved(self, report_id: str = REPORT_ID) -> Take:
        await self.confirmed(report_id)
        take = await self.take(report_id)
        await self.desk().approve(report_id, take.snapshot_hash, HEAD)
        return await self.take(report_id)

    async def sent(self, report_id: str = REPORT_ID) -> Take:
        await self.approved(report_id)
        await self.desk().submit(report_id, HEAD)
        await self.turn()
        return await self.take(report_id)


@asynccontextmanager
async def province(folder: Path, now: str = "2026-02-20 08:00") -> AsyncIterator[Province]:
    """Two units with a dossier each, known on 20 February; the report of March runs from 15 February."""
    path = folder / "ledger.db"
    if not path.exists():
        path.write_bytes(_migrated())
    url = f"sqlite:///{path}"
    lane = Lane(url, "reports", seconds=None)
    codec = Codec(LocalRegistry())
    await codec.prepare()
    try:
        async with SqlLedger(url) as ledger:
            yield Province(
                ledger=ledger,
                lane=lane,
                counted=Counted(
                    told=[
                        Told("d1", at("2026-02-20 09:00"), "H12.01", date(2026, 2, 20)),
                        Told("d2", at("2026-02-20 09:00"), "H12.02", date(2026, 2, 20), done=True),
                    ]
                ),
                clock=Clock(at(now)),
                codec=codec,
            )
    finally:
        await lane.close()
