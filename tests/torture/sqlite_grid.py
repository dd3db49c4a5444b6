"""The ledger grid on SQLite: one worker, and a ledger that is a file."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from schemas.ledger.migrate import upgrade
from tests.torture.installation import Guard, Installation
from tests.torture.ledger_grid import trouble
from tests.torture.said import said
from tests.torture.scenario import Scenario, once_each
from tests.torture.settings import OUTAGE_SECONDS
from tests.torture.small_disk import OnSmallDisk

_HOLD = """
import sqlite3, sys
ledger = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
ledger.execute("begin exclusive")
print("held", flush=True)
sys.stdin.readline()
"""


async def on_sqlite(hub: Installation) -> None:
    """The ledger is a file."""
    await asyncio.to_thread(_make_file, hub, hub.folder)


def _make_file(hub: Installation, folder: Path) -> None:
    url = f"sqlite:///{folder / 'ledger.db'}"
    upgrade(url)
    hub.use_ledger(url)


def on_file(
    kind: str, harm: Callable[[Installation], Awaitable[None]]
) -> Callable[[Installation], Awaitable[None]]:
    """A `run` that does this harm twice to a hub whose ledger is a file."""

    async def run(hub: Installation) -> None:
        await trouble(kind, harm, "")(hub)
        if not said(hub.workers["w1"].log, "ledger_unavailable"):
            hub.findings.append(f"guard: the worker did not notice {kind}")

    return run


async def _hold_file(hub: Installation) -> None:
    """Another process holds the file in an exclusive transaction."""
    path = hub.ledger_url.removeprefix("sqlite:///")
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _HOLD, path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        if await holder.stdout.readline() != b"held\n":
            raise Guard("the ledger's file could not be locked")
        await asyncio.sleep(OUTAGE_SECONDS)
    finally:
        if holder.returncode is None:
            holder.kill()
        await holder.wait()


FILE = OnSmallDisk(lambda hub, disk: _make_file(hub, disk.folder))


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        name="sqlite_locked",
        row="ledger",
        about="another process holds the ledger's file, twice",
        prepare=on_sqlite,
        run=on_file("SQLite locked", _hold_file),
        workers=1,
        least_faults=2,
        most_deaths=once_each(2, workers=1),
    ),
    Scenario(
        name="sqlite_disk_full",
        row="ledger",
        about="the disk of the ledger's file is full, twice",
        prepare=FILE.prepare,
        run=on_file("disk full", FILE.fill),
        workers=1,
        least_faults=2,
        most_deaths=once_each(2, workers=1),
        full=False,  # the day must fit on the small disk
    ),
)
