"""The ledger is put back to a copy from earlier in the day, and Kafka is emptied: the portal's truth is clean.

What the lost time had sent is not sent again, what it had not sent arrives, and nothing goes back.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from streams.demo.day import DayOptions, DemoDay
from tests.e2e.played import command, environment
from tests.e2e.test_kill import is_ready, one, slow_the_portal_down

DAY = DayOptions(dossiers=100, seconds=20.0, troubles=False)
COPIED = 200  # deliveries when the copy is taken: about a third of the day
LOST = 150  # deliveries in the time that is lost
PATIENCE = 120.0


@pytest.fixture
async def day(tmp_path: Path) -> AsyncIterator[DemoDay]:
    async with DemoDay(tmp_path / "day", DAY) as day:
        await asyncio.to_thread(slow_the_portal_down, day.portal_control)
        await ready(day)
        yield day


async def ready(day: DemoDay) -> None:
    """Until the worker says that all its parts are at work: only then can the day come to rest."""
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(is_ready, day.monitoring_port):
            await asyncio.sleep(0.1)


def logged(day: DemoDay, event: str) -> list[dict[str, object]]:
    lines = day.worker_log.read_text(encoding="utf-8", errors="replace").splitlines()
    found = [json.loads(line) for line in lines if f'"event":"{event}"' in line]
    return [line for line in found if line["event"] == event]


def copy(ledger: Path, to: Path) -> None:
    """A consistent copy of a ledger in use, as `docs` tells operators to take it."""
    with closing(sqlite3.connect(ledger)) as here, closing(sqlite3.connect(to)) as there:
        here.backup(there)


def put_back(taken: Path, ledger: Path) -> None:
    """The database's write-ahead log belongs to the file that is replaced, and goes with it."""
    for name in ("ledger.db-wal", "ledger.db-shm"):
        (ledger.parent / name).unlink(missing_ok=True)
    os.replace(taken, ledger)


def delivered(folder: Path) -> int:
    return one(folder, "select count(*) from deliveries where state = 'delivered'")


@pytest.mark.timeout(420)
async def test_a_ledger_restored_from_an_earlier_copy_sends_nothing_twice(day: DemoDay) -> None:
    ledger, taken = day.folder / "ledger.db", day.folder / "copy.db"
    known = lost = 0
    async for _ in day.play():
        now = await asyncio.to_thread(delivered, day.folder)
        if not known and now >= COPIED:
            await asyncio.to_thread(copy, ledger, taken)
            known = await asyncio.to_thread(delivered, day.folder)
        elif taken.exists() and now >= known + LOST:
            await day.kill_worker()
            lost = await asyncio.to_thread(delivered, day.folder) - known
            await asyncio.to_thread(put_back, taken, ledger)
            assert await asyncio.to_thread(delivered, day.folder) < known + lost
            await day.start_worker()
            await ready(day)
    verdict = await day.verdict()

    assert known > 0, "something was delivered before the copy"
    assert lost >= LOST, "and much in the time that was lost"
    assert len(logged(day, "restore_began")) == 1
    (finished,) = logged(day, "restore_finished")
    restored = logged(day, "partition_restored")
    proved = sum(int(str(line["proved"])) for line in restored)
    asked = sum(int(str(line["dossiers"])) for line in restored)
    print(known, lost, finished, proved, asked)
    assert proved > 0, "receipts in the log proved deliveries"
    assert asked > 0, "and dossiers were looked at before anything was sent"
    assert verdict.clean, verdict.findings
    assert verdict.effects > 400


@pytest.mark.timeout(420)
async def test_an_emptied_kafka_pages_and_everything_arrives_after_the_documented_command(
    day: DemoDay,
) -> None:
    known = 0
    async for _ in day.play():
        now = await asyncio.to_thread(delivered, day.folder)
        if known or now < COPIED:
            continue
        known = now
        await day.kill_worker()
        await day.empty_broker()
        await day.start_worker()
        await until_paged(day, "ledger", "intake")
        await day.kill_worker()
        day.write_environment()
        env = environment(day.folder)
        shown = await reset(env, "--dry-run")
        assert "dossier.events (ledger): 64 phân vùng" in shown.stdout
        done = await reset_in_silence(env)
        assert '"event":"topic_reset"' in done.stderr, "an operator's act is a line of the log"
        await day.start_worker()
        await ready(day)
    verdict = await day.verdict()

    assert known, "something was delivered before"
    assert {line["reason"] for line in logged(day, "flow_paged")} == {"position_hole"}
    assert not logged(day, "restore_began"), "the ledger was never in doubt"
    assert verdict.clean, verdict.findings
    assert verdict.effects > 400
    assert one(day.folder, "select min(log_base) from positions where next_offset > 0") > 0


async def reset(env: Mapping[str, str], option: str) -> subprocess.CompletedProcess[str]:
    ended = await asyncio.to_thread(command, "topics", "reset", option, env=env)
    assert ended.returncode == 0, ended.stderr
    return ended


async def reset_in_silence(env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """As soon as the killed worker's capture counts as dead."""
    async with asyncio.timeout(PATIENCE):
        while True:
            ended = await asyncio.to_thread(command, "topics", "reset", "--yes", env=env)
            if ended.returncode == 0:
                return ended
            assert "a capture is alive" in ended.stderr, ended.stderr
            await asyncio.sleep(0.5)


async def until_paged(day: DemoDay, *flows: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while not {line["flow"] for line in logged(day, "flow_paged")}.issuperset(flows):
            await asyncio.sleep(0.2)
