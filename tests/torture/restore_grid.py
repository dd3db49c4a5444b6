"""The ledger grid, continued: a ledger or a log that is not what it was."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

from streams.demo.hub_view import HubView
from streams.demo.processes import environment, expectation
from tests.torture import postgres_copies as copies
from tests.torture.installation import Guard, Installation
from tests.torture.said import said
from tests.torture.scenario import Scenario, once_each
from tests.torture.standing import delete_topics

COPIED_AT = 0.3
LOST_UNTIL = 0.6
PAGED_SECONDS = 60.0
_IN_DOUBT = (
    "select distinct d.code from deliveries v join dossiers d on d.dossier_id = v.dossier_id"
    " where d.code is not null and (v.receipt = 'owed'"
    " or v.state not in ('delivered', 'superseded', 'discarded'))"
)


def lines(hub: Installation, event: str, **facts: str) -> list[Mapping[str, object]]:
    """What all workers have said about this event, of those lines that state these facts."""
    logs = [worker.log for worker in hub.workers.values() if worker.log.exists()]
    found = [line for log in logs for line in said(log, event)]
    return [line for line in found if facts.items() <= line.items()]


async def kill_all(hub: Installation) -> None:
    await asyncio.gather(*(hub.kill(name, in_call=False, measured=False) for name in hub.workers))


# --- the ledger is an older copy -----------------------------------------------------------------------


async def ledger_restored(hub: Installation) -> None:
    """A copy of 30 % progress is put in the ledger's place at 60 %, as another database of its name."""
    postgres, taken = hub.standing.postgres(), hub.folder / "ledger.dump"
    kept = f"{hub.database}_lost"
    hub.allow(COPIED_AT + 0.1)
    await hub.until_progress(COPIED_AT)
    await asyncio.to_thread(copies.dump, postgres, hub.database, taken)
    hub.at_end(lambda: copies.drop(postgres, kept))
    await _lose(hub)
    await asyncio.to_thread(copies.restore, postgres, hub.database, taken, kept)
    lost = HubView(hub.ledger_url.replace(hub.database, kept))
    hub.struck |= {code for (code,) in await asyncio.to_thread(lost.rows, _IN_DOUBT)}
    await _restored(hub)


async def snapshot_put_back(hub: Installation) -> None:
    """The whole server is put back as it was at 30 %: only the log knows that time was lost."""
    postgres, taken = hub.standing.postgres(), hub.folder / "server"
    hub.allow(COPIED_AT + 0.1)
    await hub.until_progress(COPIED_AT)
    await asyncio.to_thread(copies.copy_server, postgres, taken)
    await _lose(hub)
    await asyncio.to_thread(copies.put_server_back, postgres, taken)
    await _restored(hub)


async def _lose(hub: Installation) -> None:
    """Deliver what will be forgotten, and die."""
    hub.allow(LOST_UNTIL + 0.2)
    await hub.until_progress(LOST_UNTIL)
    await hub.until_in_call("w1")
    await kill_all(hub)
    hub.struck |= await _lacking(hub)


async def _lacking(hub: Installation) -> set[str]:
    """Dossiers of which the portal does not hold every step yet: whoever forgets cannot know which."""
    told = await asyncio.to_thread(expectation, hub.journal)
    held = await hub.portal.held()
    found: set[str] = set()
    for dossier, steps in told.steps.items():
        code = told.states[dossier].state.code
        there = len(held[code]["steps"]) if code in held else 0
        if there < len(steps):
            found.add(code)
    return found


async def _restored(hub: Installation) -> None:
    await hub.start(*hub.workers)
    await hub.ready(*hub.workers)
    if not lines(hub, "restore_began"):
        hub.findings.append("guard: no worker took note that the ledger is an older one")
    # A partition is looked at when everything that the log holds of it is enlisted again.
    await hub.until(
        lambda: _proved(hub),
        bool,
        "a delivery proved by its receipt in the log",
        hub.patience(60.0),
    )


async def _proved(hub: Installation) -> int:
    return sum(int(str(line["proved"])) for line in lines(hub, "partition_restored"))


# --- the log is empty ----------------------------------------------------------------------------------


async def kafka_emptied(hub: Installation) -> None:
    """Kafka's topics are lost and made anew under a hub at work: it stops, pages, and recovers.

    By the commands of docs/runbooks/restore.md. `topics create` comes first here, as whatever sets up an
    installation would give it: workers that find an empty log are the harder case.
    """
    async for _ in hub.portions(1):
        await hub.until_in_call("w1")
        await hub.note("Kafka emptied")
        await asyncio.to_thread(delete_topics, hub.kafka)
        await command(hub, "topics", "create")
        # Every flow of every worker: one that goes on would pass over what the new log holds.
        await hub.until(
            lambda: _reading_on(hub), lambda flows: not flows, "pages only", PAGED_SECONDS
        )
        for name in hub.workers:
            await hub.stop(name, fault=False)
        await command(hub, "topics", "reset", "--yes")
        await hub.start(*hub.workers)
        await hub.ready(*hub.workers)


async def _reading_on(hub: Installation) -> list[tuple[str, str]]:
    """Workers and their flows that have not paged."""
    paged = {
        (name, line["flow"])
        for name, worker in hub.workers.items()
        for line in said(worker.log, "flow_paged")
        if line["reason"] == "position_hole"
    }
    flows = [(name, flow) for name in hub.workers for flow in ("intake", "ledger")]
    return [one for one in flows if one not in paged]


async def command(hub: Installation, *words: str) -> None:
    """`thongsuot` with these words and the workers' settings. Raises `Guard` when it refuses."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streams.cli", *words),
        env=environment(hub.settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    told = output.decode(errors="replace").strip()
    hub.say(f"thongsuot {' '.join(words)}: {process.returncode}\n{told}")
    if process.returncode != 0:
        raise Guard(f"thongsuot {' '.join(words)}: {told[-400:]}")


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        name="ledger_restored",
        row="ledger",
        about="the ledger is restored from a copy of 30 % progress, at 60 %",
        run=ledger_restored,
        least_faults=3,
        core=True,
        most_deaths=once_each(),  # who finds that another one has begun the restore begins anew
    ),
    Scenario(
        name="ledger_restored_existence",
        row="ledger",
        about="the same, with a portal that tells only that a dossier exists",
        run=ledger_restored,
        profile="existence",
        least_faults=3,
        most_deaths=once_each(),  # who finds that another one has begun the restore begins anew
    ),
    Scenario(
        name="ledger_snapshot",
        row="ledger",
        about="PostgreSQL as a whole is put back to a snapshot of 30 % progress, at 60 %",
        run=snapshot_put_back,
        least_faults=3,
        most_deaths=once_each(),  # who finds that another one has begun the restore begins anew
    ),
    Scenario(
        name="kafka_emptied",
        row="ledger",
        about="Kafka's topics are lost; thongsuot topics create, topics reset",
        run=kafka_emptied,
        core=True,
        most_deaths=once_each(),
    ),
)
