"""Crash points: a worker dies at a named place of its code, at its first passage and at a later one."""

from __future__ import annotations

import asyncio
from functools import partial

from monitoring.crash_points import CrashPoint
from tests.torture.installation import Guard, Installation
from tests.torture.scenario import Scenario

LATER = {
    CrashPoint.AFTER_PRODUCE: 3,
    CrashPoint.AFTER_INTAKE_PRODUCE: 4,
    CrashPoint.BEFORE_ENLIST: 4,
    CrashPoint.AFTER_ENLIST: 4,
    CrashPoint.AFTER_RECEIPT_PRODUCE: 3,
}
"""The later passage; of the engine's points, which every call passes, it is another one."""
_LATER_CALL = 15  # a worker comes to it in the last portion of the smallest day

CORE = frozenset(
    {
        CrashPoint.AFTER_PRODUCE,
        CrashPoint.AFTER_ENLIST,
        CrashPoint.AFTER_WRITE,
        CrashPoint.AFTER_ANSWER,
    }
)
LEAST_HITS = {
    CrashPoint.AFTER_INTENT: 2,
    CrashPoint.AFTER_WRITE: 2,
    CrashPoint.AFTER_ANSWER: 2,
    CrashPoint.AFTER_SETTLE: 2,
    CrashPoint.AFTER_INTAKE_PRODUCE: 1,
    CrashPoint.BEFORE_ENLIST: 1,
    CrashPoint.AFTER_RECEIPT_PRODUCE: 1,
}
"""How many of the two crashes must strike calls under way. The other points may come before any."""
IN_CALL = frozenset(
    {
        CrashPoint.AFTER_INTENT,
        CrashPoint.AFTER_WRITE,
        CrashPoint.AFTER_ANSWER,
        CrashPoint.AFTER_SETTLE,
    }
)
"""Points within a call: of what was open somebody must be seen to take over.

Other dossiers that the worker owes are few, for its work comes in sips: none is promised.
"""


def crash(point: CrashPoint) -> Scenario:
    """A worker dies there at its first passage since its start, then another one at a later passage."""
    numbers = (1, LATER.get(point, _LATER_CALL))

    async def run(hub: Installation) -> None:
        names = [*hub.workers]
        async for turn in hub.portions(len(numbers), by_hand=True):
            before = len(hub.deaths)
            # Of capture only one passes its point at a time, whichever; of the rest each worker.
            chosen = tuple(names) if point is CrashPoint.AFTER_PRODUCE else (names[turn],)
            await asyncio.gather(*(hub.stop(one, fault=False) for one in chosen))
            await hub.start(*chosen, crash=f"{point}:{numbers[turn]}")
            await hub.started(*chosen)
            death = partial(_crashed, hub, before), f"a death at {point}:{numbers[turn]}"
            if point is CrashPoint.AFTER_RECEIPT_PRODUCE:
                # Passed as often as calls are settled, and only in the midst of many do others lie open.
                hub.portion()
                await hub.until(death[0], bool, death[1], 90.0)
            else:
                await hub.sip_until(*death, *chosen)

    return Scenario(
        name=f"crash_{point}",
        row="crash",
        about=f"a worker dies {point.replace('_', ' ')}, at passage {numbers[0]} and {numbers[1]}",
        run=run,
        least_crashes=2,
        least_hits=LEAST_HITS.get(point, 0),
        least_opened=int(point in IN_CALL),
        core=point in CORE,
    )


async def _crashed(hub: Installation, before: int) -> list[str]:
    dead = [death for death in hub.deaths[before:] if death.crash]
    for death in dead:
        if death.status != -9:
            raise Guard(f"{death.worker} did not crash but ended with {death.status}: {death.said}")
    return [death.worker for death in dead]


OF_REPORTS = frozenset({CrashPoint.AFTER_REPORT_PRODUCE})
"""A day of dossiers never comes there."""

SCENARIOS: tuple[Scenario, ...] = tuple(
    crash(point) for point in CrashPoint if point not in OF_REPORTS
)
