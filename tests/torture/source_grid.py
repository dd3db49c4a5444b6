"""The ledger grid, continued: the one-stop database is an older copy, and action ids are used again."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

from connectors.one_stop.simulator.dossier import Dossier
from connectors.one_stop.simulator.process import Act
from tests.torture.installation import Installation
from tests.torture.restore_grid import lines
from tests.torture.scenario import Scenario
from tests.torture.soap_source import Source

DOSSIERS = 60
LOST = 20
PAGED_SECONDS = 60.0
ACTION = "opencps_dossieraction"


class OlderCopy:
    """Both rows: a hub that has read everything, and then finds an older copy at its source."""

    def __init__(self) -> None:
        self._source: Source | None = None

    async def prepare(self, hub: Installation) -> None:
        self._source = Source(hub)
        await self._source.open()

    @asynccontextmanager
    async def source(self, hub: Installation) -> AsyncIterator[tuple[Source, list[Dossier]]]:
        """With dossiers of two actions each, all of them at the portal."""
        assert self._source is not None
        try:
            dossiers = await self._source.new(DOSSIERS)
            await self._source.act(dossiers, Act.RECEIVE, Act.ASSIGN)
            await hub.until_progress(1.0)
            yield self._source, dossiers
        finally:
            await self._source.close()

    async def brought_back(self, hub: Installation) -> None:
        """The copy appears under a hub at work; it pages, and goes on when the right database is back."""
        live, earlier, right = (hub.folder / f for f in ("onestop.db", "earlier.db", "right.db"))
        async with self.source(hub) as (source, dossiers):
            await asyncio.to_thread(_copy, live, earlier)
            await source.act(dossiers[:LOST], Act.SUBMIT)
            await hub.until_progress(1.0)
            await asyncio.to_thread(_copy, live, right)
            await asyncio.to_thread(_use_again, earlier, right)
            await hub.note("source restored", hit=0)
            await asyncio.to_thread(_copy, earlier, live)
            await _paged(hub)
            await _stop(hub)
            await asyncio.to_thread(_copy, right, live)
            await _start(hub)
            await source.act(dossiers, Act.APPROVE, Act.RELEASE)
            await hub.until_progress(1.0)

    async def renumbered(self, hub: Installation) -> None:
        """The copy stays: what was written since gets numbers that were never given out."""
        live = hub.folder / "onestop.db"
        async with self.source(hub) as (source, dossiers):
            await _stop(hub)
            await hub.note("source restored", hit=0)
            lost, acting = dossiers[-LOST:], dossiers[:LOST]  # the newest actions are lost
            used = [dossier.last_action for dossier in lost]
            await source.take_back(lost)
            await source.act(acting, Act.SUBMIT)
            fresh = [dossier.last_action for dossier in acting]
            await asyncio.to_thread(_renumber, live, fresh, used)
            await hub.start(*hub.workers)
            await _paged(hub)
            await _stop(hub)
            await asyncio.to_thread(_renumber, live, used, fresh)
            await _start(hub)
            await source.act(dossiers[:LOST], Act.APPROVE)


async def _stop(hub: Installation) -> None:
    await asyncio.gather(*(hub.stop(name, fault=False) for name in hub.workers))


async def _start(hub: Installation) -> None:
    await hub.start(*hub.workers)
    await hub.ready(*hub.workers)


async def _paged(hub: Installation) -> None:
    async def pages() -> Sequence[Mapping[str, object]]:
        return lines(hub, "flow_paged", flow="capture", reason="SourceRestored")

    await hub.until(pages, bool, "a page for the source", PAGED_SECONDS)


def _copy(of: Path, to: Path) -> None:
    """In one transaction of `to`, whoever has it open."""
    with closing(sqlite3.connect(of, timeout=60)) as here, closing(sqlite3.connect(to)) as there:
        here.backup(there)


def _use_again(earlier: Path, right: Path) -> None:
    """The officers' next actions get the ids that were given out after the copy, for other dossiers."""
    with closing(sqlite3.connect(earlier)) as db, db:
        db.row_factory = sqlite3.Row
        used = _actions(right) - _actions(earlier)
        newest = db.execute(
            f"select * from {ACTION} order by dossierActionId desc limit ?", [len(used)]
        ).fetchall()
        for action, row in zip(sorted(used), newest, strict=True):
            new = dict(row) | {
                "dossierActionId": action,
                "uuid_": f"again-{action}",
                "previousActionId": row["dossierActionId"],
                "actionNote": "written after the restore",
            }
            marks = ", ".join("?" for _ in new)
            db.execute(f"insert into {ACTION} ({', '.join(new)}) values ({marks})", [*new.values()])


def _actions(database: Path) -> set[int]:
    with closing(sqlite3.connect(database)) as db:
        return {number for (number,) in db.execute(f"select dossierActionId from {ACTION}")}


def _renumber(database: Path, old: Sequence[int], new: Sequence[int]) -> None:
    """In every table and column that holds the id of an action."""
    with closing(sqlite3.connect(database, timeout=60)) as db, db:
        for table, column in (
            (ACTION, "dossierActionId"),
            (ACTION, "previousActionId"),
            (ACTION, "nextActionId"),
            ("opencps_dossier", "dossierActionId"),
        ):
            db.executemany(
                f"update {table} set {column} = ? where {column} = ?", [*zip(new, old, strict=True)]
            )


_BACK, _STAYS = OlderCopy(), OlderCopy()

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        name="source_restored",
        row="ledger",
        about="the one-stop database is an older copy, ids are used again; the right one comes back",
        prepare=_BACK.prepare,
        run=_BACK.brought_back,
        load=None,
        least_hits=0,
    ),
    Scenario(
        name="source_renumbered",
        row="ledger",
        about="the same, and the copy stays: its new actions get new numbers",
        prepare=_STAYS.prepare,
        run=_STAYS.renumbered,
        load=None,
        least_hits=0,
    ),
)
