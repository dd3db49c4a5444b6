"""backup.md and restore.md, walked through under load; the portal's truth decides.

The ledger is copied early in the day, lost later, and put back; then, as the page's way back, the lost one
takes its place again. After both nothing is missing, double, out of order or stale at the portal.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.runbooks.machine import Machine, install
from tests.integration.runbooks.page import Page, Walk
from tests.torture.installation import Installation, Load
from tests.torture.scenario import wrong
from tests.torture.standing import Standing

pytestmark = pytest.mark.integration

TODAY = "2026-11-23-0100"
_DELIVERED = "select count(*) from deliveries where state = 'delivered'"
_UNPUBLISHED = "select count(*) from deliveries where receipt = 'owed'"


@pytest.fixture(scope="module")
def standing() -> Iterator[Standing]:
    with Standing() as servers:
        yield servers


async def count(hub: Installation, query: str) -> int:
    rows = await asyncio.to_thread(hub.view.rows, query)
    return int(rows[0][0])


async def back_up(hub: Installation, machine: Machine, off_site: Path) -> None:
    """All of backup.md."""
    backups = hub.folder / "backups"
    for folder in (backups, off_site):
        (folder / "old").mkdir(parents=True)
        os.utime(folder / "old", (0, 0))
    variables = {
        "THONGSUOT": f"{machine.current}/bin/thongsuot",
        "PG": machine.postgres(),
        "LEDGER_DB": hub.database,
        "BACKUPS": str(backups),
        "OFFSITE": str(off_site),
        "TODAY": TODAY,
    }
    walk = Walk(Page.read("backup"), variables, machine.environment)
    before = await count(hub, "select count(*) from events")
    await walk.steps(1, 3)
    said = await walk.step(4)
    events = int(re.findall(r"^\s*(\d+) \|", said, re.MULTILINE)[0])
    assert before <= events <= await count(hub, "select count(*) from events"), said
    said = await walk.step(5)
    assert said.count(": OK") == 2, said
    await walk.step(6)
    assert walk.unwalked == []
    assert sorted(one.name for one in off_site.iterdir()) == [TODAY], "the old copy was let go"
    for name in ("ledger.dump", "data-keys.json"):
        assert (off_site / TODAY / name).stat().st_mode & 0o077 == 0, f"{name} is for its owner"
    secret = machine.environment["THONGSUOT_MASTER_KEY"]
    kept = b"".join(one.read_bytes() for one in (off_site / TODAY).iterdir())
    assert secret.encode() not in kept, "the master key lies apart"


async def keys_come_back(hub: Installation, restore: Walk) -> None:
    """The step of the keys, on a copy that lacks this month's, as one from last month would."""
    await asyncio.to_thread(_forget_keys, hub)
    said = await restore.step(4)
    assert re.search(r"đã nhập khoá: \d{4}-\d{2}", said), said


def _forget_keys(hub: Installation) -> None:
    with hub.standing.postgres().connect(hub.database) as connection:
        connection.execute("delete from data_keys")


async def until_verified(hub: Installation, restore: Walk) -> None:
    async def ask() -> str:
        return (await restore.step(7)).strip()

    await hub.until(ask, lambda said: said == "0", "every partition at its horizon", 90.0)


def restores(said: str) -> int:
    """How many times these lines tell of one; workers that start together may each tell of the same."""
    lines = [json.loads(line) for line in said.splitlines()]
    assert all(line["held"] == 0 for line in lines if line["event"] == "restore_finished")
    return sum(line["event"] == "restore_began" for line in lines)


def proved(machine: Machine) -> int:
    return sum(json.loads(line)["proved"] for line in machine.logged("partition_restored"))


@pytest.mark.timeout(600)
async def test_a_copy_made_by_one_page_is_put_back_by_the_other(
    standing: Standing, tmp_path: Path
) -> None:
    hub = Installation(
        standing, tmp_path / "hub", workers=2, load=Load(events=540, rate=60.0), latency_ms=20.0
    )
    version = await asyncio.to_thread(install, tmp_path / "0.1.0")
    async with hub, Machine(hub, version) as machine:
        await hub.begin()
        hub.allow(0.35)
        await hub.until_progress(0.25)
        off_site = tmp_path / "another-machine"
        await back_up(hub, machine, off_site)
        known = await count(hub, _DELIVERED)

        hub.allow(0.65)
        await hub.until_progress(0.55)
        lost = await count(hub, _DELIVERED) - known
        assert known > 0, "something was delivered before the copy"
        assert lost > 50, "and much in the time that is lost"

        copy = off_site / TODAY
        variables = {
            "THONGSUOT": f"{machine.current}/bin/thongsuot",
            "PG": machine.postgres(),
            "LEDGER_DB": hub.database,
            "LEDGER_ROLE": "hub",
            "COPY": str(copy),
            "KEYS": str(copy / "data-keys.json"),
            "STOP_WORKERS": machine.units("stop"),
            "START_WORKERS": machine.units("start"),
            "JOURNAL": machine.journal(),
        }
        assert not machine.logged("restore_began")
        restore = Walk(Page.read("restore"), variables, machine.environment)
        await restore.steps(1, 3)
        assert await count(hub, _DELIVERED) < known + lost, "the copy is in place"
        await keys_come_back(hub, restore)
        await restore.step(5)
        await hub.ready(*hub.workers)
        await until_verified(hub, restore)
        said = await restore.step(6)
        before = restores(said)
        assert before > 0, said
        assert proved(machine) > 0, "receipts of the log proved deliveries"
        first = proved(machine)

        hub.allow(0.85)
        await hub.until_progress(0.75)
        await restore.step(9)
        await hub.ready(*hub.workers)
        await until_verified(hub, restore)
        said = await restore.step(6)
        assert restores(said) > before, said
        assert proved(machine) > first, "and once more on the way back"

        await hub.rest()
        assert wrong(await hub.verdict()) == []
        assert "(0 rows)" in await restore.step(8), "under `steps` the portal could be asked"
        await restore.step(10)
        assert restore.unwalked == []
    assert machine.failures() == []
