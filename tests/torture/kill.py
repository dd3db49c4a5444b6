"""The kill matrix: SIGKILL, SIGSTOP, SIGTERM and joins, with three workers on sixteen partitions."""

from __future__ import annotations

import asyncio
import time

from tests.torture.evidence import left_open
from tests.torture.installation import Installation
from tests.torture.scenario import Scenario
from tests.torture.settings import FREEZE_SECONDS, RECOVERY_OPEN_SECONDS, SESSION_SECONDS


async def kill_each_in_turn(hub: Installation) -> None:
    """Three rounds. In the first the next falls when all must have recovered, in the second when the killed

    one is back, in the third at once.
    """
    names = [*hub.workers] * 3
    async for number in hub.portions(len(names)):
        name, turn = names[number], number // len(hub.workers)
        fault = await hub.kill(name, measured=turn < 2)
        await hub.start(name)
        if turn < 2:
            await hub.ready(name)
        if turn == 0:
            await asyncio.sleep(fault.at + RECOVERY_OPEN_SECONDS - time.time())


async def kill_all_at_once(hub: Installation) -> None:
    """A power cut, twice."""
    async for _ in hub.portions(2):
        await hub.until_in_call("w1")
        await asyncio.gather(
            *(hub.kill(name, in_call=False, measured=False) for name in hub.workers)
        )
        await hub.start(*hub.workers)
        await hub.ready(*hub.workers)


async def kill_one_for_good(hub: Installation) -> None:
    """Nobody starts it again: the others take over."""
    async for _ in hub.portions(1):
        await hub.kill("w2")


async def freeze_each_in_turn(hub: Installation) -> None:
    """Frozen for longer than its session, so that others own its dossiers when it wakes."""
    names = [*hub.workers]
    async for number in hub.portions(len(names)):
        await hub.freeze(names[number])
        await asyncio.sleep(FREEZE_SECONDS)
        hub.wake(names[number])
        await hub.ready(names[number])


async def freeze_shortly(hub: Installation) -> None:
    """Frozen for less than its session: nobody takes over, and its calls grow old meanwhile."""
    names = [*hub.workers] * 2
    async for number in hub.portions(len(names)):
        await hub.freeze(names[number], measured=False)
        await asyncio.sleep(SESSION_SECONDS / 2)
        hub.wake(names[number])


def zombie(point: str) -> Scenario:
    """Frozen in mid-call, at this crash point; it wakes when its dossiers belong to others."""

    async def run(hub: Installation) -> None:
        names = ("w1", "w2")
        async for number in hub.portions(len(names), by_hand=True):
            name = names[number]
            await hub.stop(name, fault=False)
            await hub.start(name, crash=f"{point}:5=stop")
            await hub.started(name)
            hub.portion()
            await hub.froze(name)
            await asyncio.sleep(FREEZE_SECONDS)
            hub.wake(name)
            await hub.ready(name)

    return Scenario(
        name=f"zombie_{point}",
        row="kill",
        about=f"a worker freezes at {point} and wakes as a zombie",
        run=run,
        least_faults=2,
        least_crashes=2,
        least_hits=2,
        least_opened=1,
        core=point == "after_write",
    )


async def stop_each_in_turn(hub: Installation) -> None:
    """SIGTERM, two rounds: a clean hand-over leaves no attempt open."""
    names = [*hub.workers] * 2
    async for number in hub.portions(len(names)):
        name = names[number]
        await hub.until_in_call(name)
        status = await hub.stop(name)
        if status != 0:
            hub.findings.append(f"{name} ended with {status} when asked to stop")
        left = await asyncio.to_thread(left_open, hub.view, hub.workers[name].pid)
        if left:
            hub.findings.append(f"{name} left {left} calls unsettled when asked to stop")
        await hub.start(name)
        await hub.ready(name)


async def join(hub: Installation) -> None:
    """One worker becomes three while it works."""
    for name in ("w2", "w3"):
        await hub.stop(name, fault=False)
    names = ("w2", "w3")
    async for number in hub.portions(len(names)):
        await hub.until_in_call("w1")
        await hub.note("join")
        await hub.start(names[number])
        await hub.ready(names[number])


async def one_three_one(hub: Installation) -> None:
    """From one to three and back, again and again, by SIGTERM and by SIGKILL.

    After the kills nobody else is struck until all must have recovered, so that it can be measured.
    """
    settled = 0.0
    async for number in hub.portions(3):
        await asyncio.sleep(settled - time.time())
        for name in ("w2", "w3"):
            if number == 1:
                settled = (await hub.kill(name)).at + RECOVERY_OPEN_SECONDS
            else:
                await hub.until_in_call(name)
                await hub.stop(name)
        await hub.start("w2", "w3")
        await hub.ready("w2", "w3")


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        name="kill_each_in_turn",
        row="kill",
        about="SIGKILL of each worker in turn, three rounds, the last without pause",
        run=kill_each_in_turn,
        least_faults=9,
        least_hits=5,
        least_recoveries=3,
        least_opened=2,
    ),
    Scenario(
        name="kill_all_at_once",
        row="kill",
        about="SIGKILL of all three workers at once, twice",
        run=kill_all_at_once,
        least_faults=6,
        least_hits=3,
        core=True,
    ),
    Scenario(
        name="kill_one_for_good",
        row="kill",
        about="SIGKILL of one worker that does not come back",
        run=kill_one_for_good,
        least_recoveries=1,
        least_opened=1,
        core=True,
    ),
    Scenario(
        name="kill_under_existence",
        row="kill",
        about="SIGKILL of each worker in turn, with a portal that tells only that a dossier exists",
        run=kill_each_in_turn,
        profile="existence",
        least_faults=9,
        least_hits=5,
        least_recoveries=3,
    ),
    Scenario(
        name="freeze_each_in_turn",
        row="kill",
        about="SIGSTOP of each worker for longer than its session, then it wakes",
        run=freeze_each_in_turn,
        least_faults=3,
        least_hits=2,
        least_recoveries=1,  # some workers owe nothing that could go at once when they freeze
    ),
    Scenario(
        name="freeze_shortly",
        row="kill",
        about="SIGSTOP for less than the session, twice each",
        run=freeze_shortly,
        least_faults=6,
        least_hits=3,
    ),
    *(zombie(point) for point in ("after_intent", "after_write", "after_answer")),
    Scenario(
        name="stop_each_in_turn",
        row="kill",
        about="SIGTERM of each worker in turn, two rounds",
        run=stop_each_in_turn,
        least_faults=6,
        least_hits=3,
        stops_strike=True,
        core=True,
    ),
    Scenario(
        name="join",
        row="kill",
        about="one worker becomes three",
        run=join,
        least_faults=2,
    ),
    Scenario(
        name="one_three_one",
        row="kill",
        about="from one worker to three and back, three times",
        run=one_three_one,
        least_faults=6,
        least_recoveries=1,
    ),
)
