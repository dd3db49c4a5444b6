"""The ledger grid: the ledger's database dies, stalls, refuses, fills up, and clocks disagree."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg

from tests.services.postgres import PostgresServer
from tests.services.server_process import unprivileged_user
from tests.services.toxiproxy import Link, Toxiproxy
from tests.torture.evidence import Fault, parked_codes, recovery
from tests.torture.installation import Guard, Installation
from tests.torture.said import said
from tests.torture.scenario import Scenario, once_each
from tests.torture.settings import FREEZE_SECONDS, OUTAGE_SECONDS
from tests.torture.small_disk import OnSmallDisk, SmallDisk

CLOCKS_APART_SECONDS = 300
STALL_SECONDS = 30.0
"""Longer than the 20 s for which a flow waits for its ledger, and the others need to take over."""
_STALLED = "w2"
_FOR_EVER_MS = 3_600_000
_CLOCK_LIBRARY = "faketime/libfaketimeMT.so.1"
_CLOCK_REMEDY = "this row needs libfaketime: install it (Debian: apt-get install faketime)"
_TERMINATE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    " AND pid <> pg_backend_pid()"
)


def trouble(
    kind: str, harm: Callable[[Installation], Awaitable[None]], refusal: str
) -> Callable[[Installation], Awaitable[None]]:
    """A `run` that does this harm twice, each time to a hub in mid-call.

    `refusal`: what PostgreSQL says in its log when it refuses the hub because of that; without it the
    row proves nothing. With "" nobody is refused.
    """

    async def run(hub: Installation) -> None:
        async for number in hub.portions(2):
            await hub.until_in_call("w1")
            before = hub.standing.postgres().log.count(refusal)
            await hub.note(kind)
            await harm(hub)
            if refusal and hub.standing.postgres().log.count(refusal) == before:
                hub.findings.append(f"guard: nobody was refused by {kind}, number {number + 1}")

    return run


# --- PostgreSQL ----------------------------------------------------------------------------------------


async def postgres_killed(hub: Installation) -> None:
    """Killed under load, twice: up again at once, and after a while."""
    postgres = hub.standing.postgres()
    async for number in hub.portions(2):
        await hub.until_in_call("w1")
        with _still(hub) if hub.profile != "steps" else nullcontext():
            await hub.note("PostgreSQL SIGKILL")
            await asyncio.to_thread(postgres.kill)
        try:
            await asyncio.sleep(OUTAGE_SECONDS * number)
        finally:
            await asyncio.to_thread(postgres.start)


@contextmanager
def _still(hub: Installation) -> Iterator[None]:
    """No worker begins a call meanwhile: exactly the open ones lose their outcome, and may park for it."""
    running = [worker for worker in hub.workers.values() if worker.running]
    for worker in running:
        worker.freeze()
    try:
        yield
    finally:
        for worker in running:
            worker.wake()


async def one_through_proxy(hub: Installation) -> None:
    """One worker reaches PostgreSQL through a proxy, the others without."""
    proxies = await hub.open(Toxiproxy())
    address = urlsplit(hub.ledger_url)
    link = await asyncio.to_thread(proxies.link, f"{address.hostname}:{address.port}")
    through = hub.ledger_url.replace(f"{address.hostname}:{address.port}", link.listen)
    hub.workers[_STALLED].environment["LEDGER_URL"] = through
    hub.prepared = link


async def stalled_one(hub: Installation) -> None:
    """Nothing passes between one worker and PostgreSQL, and no connection is closed.

    Kafka sees it alive and leaves it its partitions, so it must give them up by itself, or end: the
    others move its dossiers before the connection is whole again.
    """
    link: Link = hub.prepared
    async for _ in hub.portions(1):
        await hub.until_in_call(_STALLED)
        fault = await hub.note("PostgreSQL stalled", worker=_STALLED)
        hub.restarts_dead = False  # whoever ends may not begin anew before the time is over
        # What is held back is passed on at the end: a connection that has lost bytes would break.
        link.add("latency", stream="upstream", latency=_FOR_EVER_MS)
        link.add("latency", stream="downstream", latency=_FOR_EVER_MS)
        await asyncio.sleep(STALL_SECONDS)
        calls = await hub.portal.calls()
        link.heal()
        hub.findings += unmoved(fault, calls, await asyncio.to_thread(parked_codes, hub.view))
        hub.restarts_dead = True
        await hub.start(*(name for name, worker in hub.workers.items() if not worker.running))
        await hub.ready(*hub.workers)


def unmoved(fault: Fault, calls: Sequence[Mapping[str, Any]], parked: Collection[str]) -> list[str]:
    """Whether the worker's dossiers have moved by now, as findings."""
    felt = recovery(fault, calls, parked)
    waited = len(fault.busy - fault.open_codes)
    if not waited:
        return [f"guard: {fault.worker} had no dossier that was to move"]
    if felt.never:
        return [
            f"{len(felt.never)} of {waited} dossiers of {fault.worker} did not move for "
            f"{STALL_SECONDS:.0f} s: {', '.join(sorted(felt.never)[:3])}"
        ]
    return []


async def _stall(hub: Installation) -> None:
    postgres = hub.standing.postgres()
    await asyncio.to_thread(postgres.pause)
    try:
        await asyncio.sleep(FREEZE_SECONDS)
    finally:
        await asyncio.to_thread(postgres.resume)


async def _exhaust(hub: Installation) -> None:
    """Every connection that the server has belongs to others."""
    await asyncio.to_thread(_take_connections, hub.standing.postgres(), hub.database)


def _take_connections(postgres: PostgresServer, database: str) -> None:
    with ExitStack() as taken:
        first = taken.enter_context(postgres.connect())
        finish = time.monotonic() + OUTAGE_SECONDS
        while time.monotonic() < finish:
            # What the hub still has, or was quicker to get, is taken from it.
            first.execute(_TERMINATE, [database])
            try:
                while True:
                    taken.enter_context(postgres.connect())
            except psycopg.OperationalError:
                time.sleep(0.2)


async def _read_only(hub: Installation) -> None:
    postgres = hub.standing.postgres()
    await asyncio.to_thread(_switch, postgres, "on")
    try:
        await asyncio.sleep(OUTAGE_SECONDS)
    finally:
        await asyncio.to_thread(_switch, postgres, "off")


def _switch(postgres: PostgresServer, read_only: str) -> None:
    with postgres.connect() as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {read_only}")
        connection.execute("SELECT pg_reload_conf()")


def _move_database(hub: Installation, disk: SmallDisk) -> None:
    """The tables of the ledger's database lie there; the server's log does not."""
    postgres, name = hub.standing.postgres(), f"small_{hub.database}"
    place = disk.folder / "tables"
    place.mkdir(mode=0o700)
    user = unprivileged_user("postgres", "nobody")
    if user is not None:
        shutil.chown(place, user)
    with postgres.connect() as connection:
        connection.execute(f"CREATE TABLESPACE {name} LOCATION '{place}'")
        connection.execute(f'ALTER DATABASE "{hub.database}" SET TABLESPACE {name}')

    def remove() -> None:
        with postgres.connect() as connection:
            connection.execute(f'DROP DATABASE "{hub.database}" WITH (FORCE)')
            connection.execute(f"DROP TABLESPACE {name}")

    hub.at_end(remove)


TABLES = OnSmallDisk(_move_database)


# --- clocks --------------------------------------------------------------------------------------------


async def set_clock(hub: Installation) -> None:
    """The first worker's clock is five minutes ahead of the others', of the servers' and of the portal's."""
    library = next(
        (one for base in ("/usr/lib", "/usr/local/lib") for one in _libraries(Path(base))), None
    )
    if library is None:
        raise Guard(_CLOCK_REMEDY)
    hub.at_end(_sweep_up)
    # Not by the program faketime: it stays in front of the worker, and would be killed in its place.
    hub.workers["w1"].wrapper = (
        *("env", f"LD_PRELOAD={library}", f"FAKETIME=+{CLOCKS_APART_SECONDS}s"),
        "FAKETIME_DONT_FAKE_MONOTONIC=1",  # a wrong clock is wrong about the time of day only
        f"PYTHONPATH={_sleeping(hub.folder / 'clock')}",
        "NO_FAKE_STAT=1",  # or Python compiles everything anew, because no file is as old as it was
    )


def _sleeping(folder: Path) -> Path:
    """A folder for Python's path that mends `time.sleep`, which libfaketime 0.9.10 answers with EINVAL."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import threading, time\ntime.sleep = lambda seconds: threading.Event().wait(seconds)\n"
    )
    return folder


def _sweep_up() -> None:
    """The library of a process that was killed leaves its shared memory behind."""
    for left in Path("/dev/shm").glob("*faketime_s*_*"):
        if not psutil.pid_exists(int(left.name.rpartition("_")[2])):
            left.unlink(missing_ok=True)


def _libraries(base: Path) -> list[Path]:
    return [*base.glob(_CLOCK_LIBRARY), *base.glob(f"*/{_CLOCK_LIBRARY}")]


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


async def clocks_apart(hub: Installation) -> None:
    """Dossiers with open calls pass from the fast clock to the others, and back."""
    began = {
        name: said(hub.workers[name].log, "worker_started")[0]["timestamp"] for name in ("w1", "w2")
    }
    apart = _seconds(began["w1"]) - _seconds(began["w2"])
    if not CLOCKS_APART_SECONDS / 2 < apart < CLOCKS_APART_SECONDS * 2:
        raise Guard(f"the clocks are {apart:.0f} s apart, not {CLOCKS_APART_SECONDS} s")
    async for number in hub.portions(3):
        name = ("w1", "w2", "w1")[number]
        await hub.kill(name, measured=False)  # the library makes a worker slow to start
        await hub.start(name)
        await hub.ready(name)


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        name="postgres_killed",
        row="ledger",
        about="PostgreSQL is killed and started again, at once and after a while",
        run=postgres_killed,
        least_faults=2,
        least_hits=2,
        core=True,
        most_deaths=once_each(2),
    ),
    Scenario(
        name="postgres_killed_existence",
        row="ledger",
        about="the same, with a portal that tells only that a dossier exists",
        run=postgres_killed,
        profile="existence",
        least_faults=2,
        least_hits=2,
        most_deaths=once_each(2),
    ),
    Scenario(
        name="ledger_stalled_one",
        row="ledger",
        about="nothing passes between one worker and PostgreSQL for 30 s: its dossiers move elsewhere",
        prepare=one_through_proxy,
        run=stalled_one,
        most_deaths=once_each(workers=1),
    ),
    Scenario(
        name="postgres_stalled",
        row="ledger",
        about="PostgreSQL keeps its connections and answers nothing, twice",
        run=trouble("PostgreSQL SIGSTOP", _stall, ""),
        least_faults=2,
        least_hits=2,
        most_deaths=once_each(2),
    ),
    Scenario(
        name="postgres_exhausted",
        row="ledger",
        about="others take every connection that PostgreSQL has",
        run=trouble("no connection left", _exhaust, "too many clients already"),
        least_faults=2,
        least_hits=2,
        most_deaths=once_each(2),
    ),
    Scenario(
        name="postgres_read_only",
        row="ledger",
        about="PostgreSQL takes no writes for a while, twice",
        run=trouble("read-only", _read_only, "in a read-only transaction"),
        least_faults=2,
        least_hits=2,
        most_deaths=once_each(2),
    ),
    Scenario(
        name="postgres_disk_full",
        row="ledger",
        about="the disk of the ledger's tables is full, twice",
        prepare=TABLES.prepare,
        run=trouble("disk full", TABLES.fill, "No space left on device"),
        least_faults=2,
        least_hits=2,
        full=False,  # the day must fit on the small disk
        most_deaths=once_each(2),
    ),
    Scenario(
        name="clocks_apart",
        row="ledger",
        about="one worker's clock is five minutes ahead, and workers are killed",
        prepare=set_clock,
        run=clocks_apart,
        least_faults=3,
        least_hits=2,
    ),
)
