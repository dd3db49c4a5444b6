"""The SOAP grid: every trouble at every write operation, under every kind of look-up, judged cell by cell.

One run for each profile. Every dossier has the same short life in three phases, and belongs to one cell; the
portal is given a script that strikes it once, at the cell's operation:

1. received and assigned: one creation, then steps (here the cells of `create` are struck);
2. submitted, approved, released in a moment: one update, then three steps in one call (`update`, `steps`);
3. returned, as soon as the call of phase 2 has come: a newer state while an attempt may still be open.

What opens the circuit for all has a run of its own (`soap_door.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from connectors.one_stop.simulator.dossier import Dossier
from connectors.one_stop.simulator.process import Act
from tests.torture.installation import Guard, Installation
from tests.torture.scenario import Result, Scenario, deaths, of_the_hub
from tests.torture.settings import Scale
from tests.torture.soap_cells import CELLS, LOOKUP_LAG_SECONDS, Cell
from tests.torture.soap_door import soap_door
from tests.torture.soap_evidence import LEAST_PER_CELL, PHASE_SECONDS, Call, Evidence, settled
from tests.torture.soap_source import Source

PROFILES = ("existence", "state", "steps")
EVENTS_PER_DOSSIER = 7
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class SoapGrid(Scenario):
    """`per_cell`: dossiers in each cell."""

    per_cell: int = 5

    def at(self, scale: Scale) -> Scenario:
        return soap_grid(
            self.profile, max(LEAST_PER_CELL, scale.soap_events // EVENTS_PER_DOSSIER // len(CELLS))
        )


def soap_grid(profile: str, per_cell: int) -> SoapGrid:
    """The scenario of one profile."""
    sources: list[Source] = []

    async def prepare(hub: Installation) -> None:
        # The hub refuses to start on a source without tables.
        sources.append(Source(hub))
        await sources[-1].open()

    async def run(hub: Installation) -> Sequence[Result]:
        source = sources.pop()
        try:
            return await _Grid(hub, source, per_cell).play()
        finally:
            await source.close()

    return SoapGrid(
        name=f"soap-{profile}",
        row="soap",
        about=f"{len(CELLS)} cells: trouble x write operation, look-ups tell {profile}, lookup_lag"
        f" {LOOKUP_LAG_SECONDS:g} s",
        run=run,
        prepare=prepare,
        profile=profile,
        workers=1,
        load=None,
        latency_ms=5.0,
        settings={
            "NATIONAL_PORTAL__ABILITIES__LOOKUP_LAG_SECONDS": str(LOOKUP_LAG_SECONDS),
            # Of the calls of this run most fail, and none because the portal as a whole is in trouble.
            "ENGINE__CIRCUIT_FAILURES_IN_ROW": "10000",
            "ENGINE__CIRCUIT_WINDOW": "10000",
        },
        per_cell=per_cell,
        core=profile == "steps",
    )


@dataclass(slots=True)
class _Grid:
    hub: Installation
    source: Source
    per_cell: int
    lives: dict[str, tuple[Cell, Dossier]] = field(default_factory=dict)  # by dossier code

    async def play(self) -> Sequence[Result]:
        await self._phase_1()
        await self._phase_2()
        await self._late_effects_have_come()
        await self.hub.rest(PHASE_SECONDS)
        return await self._results()

    async def _phase_1(self) -> None:
        dossiers = await self.source.new(len(CELLS) * self.per_cell)
        # Neighbours in time belong to different cells.
        self.lives = {d.code: (CELLS[n % len(CELLS)], d) for n, d in enumerate(dossiers)}
        await self._script("create")
        await self.source.act(dossiers, Act.RECEIVE, Act.ASSIGN)
        await settled(self.hub, "phase 1")

    async def _phase_2(self) -> None:
        await self._script("update", "steps")
        waiting = {code: dossier for code, (_, dossier) in self.lives.items()}
        after = (await self.hub.portal.calls())[-1]["call"]
        write = asyncio.create_task(
            self.source.act(list(waiting.values()), Act.SUBMIT, Act.APPROVE, Act.RELEASE)
        )
        finish = time.monotonic() + PHASE_SECONDS
        try:
            while waiting and time.monotonic() < finish:
                await asyncio.sleep(_POLL_SECONDS)
                calls = await self.hub.portal.pages(f"/_truth/calls?after={after}", "calls")
                after = calls[-1]["call"] if calls else after
                came = [c for call in calls for c in call["codes"] if self._was_phase_2(call, c)]
                ready = [waiting.pop(code) for code in dict.fromkeys(came) if code in waiting]
                await self.source.act(ready, Act.RETURN)
        finally:
            await write
        if waiting:
            raise Guard(f"{len(waiting)} dossiers never came to phase 2: {sorted(waiting)[:3]}")

    def _was_phase_2(self, call: Call, code: str) -> bool:
        """Whether this is the call after which the dossier's last phase may be written."""
        if code not in self.lives:  # a probe's
            return False
        cell, _ = self.lives[code]
        awaited = "update" if cell.operation == "create" else cell.operation
        return bool(call["operation"] == awaited)

    async def _script(self, *operations: str) -> None:
        script = {
            code: cell.script(number // len(CELLS), self.hub.profile)
            for number, (code, (cell, _)) in enumerate(self.lives.items())
            if cell.operation in operations
        }
        await self.hub.portal.post("/_control/script", script)

    async def _late_effects_have_come(self) -> None:
        async def open_late() -> int:
            calls = await self.hub.portal.calls()
            return sum(c["trouble"] == "late_effect" and c["decided_at"] is None for c in calls)

        await self.hub.until(
            open_late, lambda number: number == 0, "the last late effect", PHASE_SECONDS
        )

    # --- judging -------------------------------------------------------------------------------------

    async def _results(self) -> list[Result]:
        evidence = await Evidence.gather(self.hub)
        results = []
        for cell in CELLS:
            mine = {c: d.dossier_id for c, (other, d) in self.lives.items() if other is cell}
            results.append(evidence.judge(cell, mine, self.hub.profile))
        whole = await of_the_hub(self.hub)
        results[0] = replace(
            results[0],
            worker_deaths=deaths(self.hub),
            findings=(*results[0].findings, *whole),
        )
        return results


SCENARIOS = (
    *(soap_grid(profile, per_cell=5) for profile in PROFILES),
    *(soap_door(profile) for profile in PROFILES),
)
