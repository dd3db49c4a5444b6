"""The worker is killed with SIGKILL ten times at random moments of the day: the portal's truth is clean.

A kill proves something only if it hits a hub at work; what each of them hit is read from the ledger that
the dead process left, and demanded.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import connect

import pytest

from streams.demo.day import DayOptions, DemoDay

KILLS = 10
DAY = DayOptions(dossiers=180, seconds=60.0)
PORTAL_LATENCY_MS = 40
"""Every call takes at least this long, so that calls are under way when the kill comes."""

READY_SECONDS = 60.0
BUSY_SECONDS = 8.0


@dataclass
class Hit:
    """What a kill left in the ledger: attempts without an outcome, dossiers with something to do."""

    moment: str
    open_attempts: int
    runnable: int
    undelivered: int


@dataclass
class Killer:
    """Kills and starts the worker of a day. Half of the moments are drawn within its start."""

    day: DemoDay
    draw: random.Random
    hits: list[Hit] = field(default_factory=list)

    async def kill(self) -> None:
        """Wait for a moment, kill, look at what is left, start again."""
        if self.draw.random() < 0.7:
            moment = "at work"
            await self.ready()
            await self._working()
            await asyncio.sleep(self.draw.uniform(0.0, 1.5))
        else:
            moment = "while it starts"
            await asyncio.sleep(self.draw.uniform(0.5, 5.0))
        await self.day.kill_worker()
        self.hits.append(await asyncio.to_thread(left_behind, self.day.folder, moment))
        await self.day.start_worker()

    async def ready(self) -> None:
        """Until the worker says that all its parts are at work."""
        async with asyncio.timeout(READY_SECONDS):
            while not await asyncio.to_thread(is_ready, self.day.monitoring_port):
                await asyncio.sleep(0.1)

    async def _working(self) -> None:
        """Until it makes an attempt; an idle hub is killed too, but does not count as a hit."""
        before = await asyncio.to_thread(attempts, self.day.folder)
        try:
            async with asyncio.timeout(BUSY_SECONDS):
                while await asyncio.to_thread(attempts, self.day.folder) == before:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            return


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def one(folder: Path, query: str) -> int:
    with closing(connect(f"file:{folder / 'ledger.db'}?mode=ro", uri=True, timeout=30)) as db:
        number: int = db.execute(query).fetchone()[0]
        return number


def attempts(folder: Path) -> int:
    return one(folder, "select count(*) from attempts")


def left_behind(folder: Path, moment: str) -> Hit:
    return Hit(
        moment=moment,
        open_attempts=one(
            folder, "select count(*) from attempts where outcome is null and closed_at is null"
        ),
        runnable=one(folder, "select count(*) from dossier_target where runnable"),
        undelivered=one(
            folder, "select count(*) from deliveries where state in ('pending', 'sending')"
        ),
    )


def slow_the_portal_down(control: str) -> None:
    request = urllib.request.Request(
        f"{control}/_control/profile",
        data=json.dumps({"latency_ms": PORTAL_LATENCY_MS}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


@pytest.fixture
async def day(tmp_path: Path) -> AsyncIterator[DemoDay]:
    async with DemoDay(tmp_path / "day", DAY) as day:
        yield day


@pytest.mark.timeout(400)
async def test_ten_kills_leave_the_portal_s_truth_clean(day: DemoDay) -> None:
    seed = secrets.randbits(32)
    print(f"seed of the moments: {seed}")
    killer = Killer(day, random.Random(seed))
    await asyncio.to_thread(slow_the_portal_down, day.portal_control)
    async for _ in day.play():
        if len(killer.hits) < KILLS:
            await killer.kill()
            if len(killer.hits) == KILLS:
                await killer.ready()  # only a hub that works can come to rest
    verdict = await day.verdict()

    for hit in killer.hits:
        print(hit)
    assert verdict.clean, (seed, verdict.findings)
    assert (verdict.missing, verdict.duplicate_effects) == (0, 0)
    assert (verdict.order_violations, verdict.stale) == (0, 0)
    assert verdict.effects > 1000

    assert day.progress.restarts == len(killer.hits) == KILLS
    starts = day.worker_log.read_bytes().count(b'"event":"worker_started"')
    assert starts >= KILLS // 2, "several of the killed workers had come up"
    assert sum(hit.open_attempts > 0 for hit in killer.hits) >= 3, "calls were under way"
    assert sum(hit.runnable > 0 for hit in killer.hits) >= 5, "there was work to do"
