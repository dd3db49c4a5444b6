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

AT_WORK, STARTING = "at work", "while it starts"
MOMENTS = (AT_WORK,) * 7 + (STARTING,) * 3
KILLS = len(MOMENTS)
DAY = DayOptions(dossiers=150, seconds=60.0)
PORTAL_LATENCY_MS = 250
"""Every call takes at least this long: calls are under way when the kill comes, and work is left."""

READY_SECONDS = 60.0
BUSY_SECONDS = 45.0


@dataclass
class Hit:
    """What a kill left in the ledger: attempts without an outcome, dossiers with something to do."""

    moment: str
    attempts: int
    open_attempts: int
    runnable: int
    undelivered: int


@dataclass
class Killer:
    """Kills and starts the worker of a day, at the moments of `MOMENTS` in any order."""

    day: DemoDay
    draw: random.Random
    moments: list[str]
    hits: list[Hit] = field(default_factory=list)
    attempts: int = 0  # when it was killed last

    async def kill(self) -> None:
        """Wait for a moment, kill, look at what is left, start again."""
        moment = self.moments[len(self.hits)]
        if moment == AT_WORK:
            await self._working()
            await asyncio.sleep(self.draw.uniform(0.0, 2.5))
        else:
            await asyncio.sleep(self.draw.uniform(0.5, 5.0))
        await self.day.kill_worker()
        self.hits.append(await asyncio.to_thread(left_behind, self.day.folder, moment))
        self.attempts = self.hits[-1].attempts
        await self.day.start_worker()

    async def ready(self) -> None:
        """Until the worker says that all its parts are at work."""
        async with asyncio.timeout(READY_SECONDS):
            while not await asyncio.to_thread(is_ready, self.day.monitoring_port):
                await asyncio.sleep(0.1)

    async def _working(self) -> None:
        """Until it makes attempts again; an idle hub is killed too, but is no hit."""
        try:
            async with asyncio.timeout(BUSY_SECONDS):
                while await asyncio.to_thread(attempts, self.day.folder) == self.attempts:
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
        attempts=attempts(folder),
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
    draw = random.Random(seed)
    killer = Killer(day, draw, draw.sample(MOMENTS, KILLS))
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
    assert starts > MOMENTS.count(AT_WORK), "who was killed at work had come up"
    assert sum(hit.open_attempts > 0 for hit in killer.hits) >= 5, "calls were under way"
    assert sum(hit.runnable > 0 for hit in killer.hits) >= 5, "there was work to do"
