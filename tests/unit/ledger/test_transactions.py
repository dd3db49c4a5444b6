"""How transactions are retried, refused, kept apart, and what SQLite is told."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, OperationalError

from schemas.ledger import dialect
from schemas.ledger.database import ATTEMPTS, Lane
from schemas.ledger.migrate import upgrade
from schemas.ledger.model import DossierPatch, LedgerRefuses, LedgerUnavailable, StaleOwner, Verdict
from schemas.ledger.sql import SqlLedger
from schemas.ledger.tables import data_keys, mapping_version
from tests.contract.ledger_contract import Desk, make_event


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/ledger.db"
    upgrade(url)
    return url


@pytest.fixture
async def lane(url: str) -> AsyncIterator[Lane]:
    lane = Lane(url, "test")
    yield lane
    await lane.close()


class LostRace(Exception):
    sqlstate = "40P01"


def lost() -> OperationalError:
    return OperationalError("UPDATE", {}, LostRace("deadlock detected"))


async def test_a_transaction_that_lost_a_race_is_run_again_from_its_beginning(lane: Lane) -> None:
    runs: list[int] = []

    def work(connection: Connection) -> int:
        connection.execute(mapping_version.update().values(version=mapping_version.c.version + 1))
        runs.append(1)
        if len(runs) < 3:
            raise lost()
        return int(connection.execute(text("SELECT version FROM mapping_version")).scalar_one())

    assert await lane.write(work) == 1, "what the lost runs wrote is gone"
    assert len(runs) == 3


async def test_losing_for_ever_is_unavailable(lane: Lane) -> None:
    runs: list[int] = []

    def work(_connection: Connection) -> None:
        runs.append(1)
        raise lost()

    with pytest.raises(LedgerUnavailable):
        await lane.write(work)
    assert len(runs) == ATTEMPTS


async def test_another_process_s_long_lock_is_unavailable(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialect, "BUSY_SECONDS", 0.05)
    lane = Lane(url, "test")
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable, match="locked"):
            await lane.write(lambda c: None)
        assert await lane.read(dialect.clock) > 0, "readers go on"
        other.execute("ROLLBACK")
        assert await lane.write(dialect.clock) > 0
    finally:
        other.close()
        await lane.close()


async def test_a_row_that_is_refused_is_not_taken_for_an_outage_and_shows_no_values(
    lane: Lane,
) -> None:
    def work(connection: Connection) -> None:
        connection.execute(mapping_version.insert().values(id=1, version=4711))

    with pytest.raises(LedgerRefuses) as caught:
        await lane.write(work)
    assert isinstance(caught.value.__cause__, IntegrityError)
    assert "4711" not in str(caught.value) + str(caught.value.__cause__)


async def test_sqlite_is_told_to_be_durable(lane: Lane) -> None:
    def settings(connection: Connection) -> list[object]:
        return [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]

    assert await lane.read(settings) == ["wal", 2, 1, int(dialect.BUSY_SECONDS * 1000)]


async def test_a_reader_sees_one_snapshot(url: str, lane: Lane) -> None:
    other = Lane(url, "other")
    begun, written = threading.Event(), threading.Event()

    def read_twice(connection: Connection) -> tuple[int, int]:
        query = text("SELECT version FROM mapping_version")
        first = connection.execute(query).scalar_one()
        begun.set()
        assert written.wait(10)
        return int(first), int(connection.execute(query).scalar_one())

    try:
        reading = asyncio.create_task(lane.read(read_twice))
        await asyncio.to_thread(begun.wait, 10)
        await other.write(lambda c: c.execute(mapping_version.update().values(version=9)))
        written.set()
        assert await reading == (0, 0)
    finally:
        await other.close()


async def test_questions_do_not_stand_in_the_flow_s_way(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered = threading.Event(), threading.Event()

    def slow(_connection: Connection, _dossier_id: str) -> list[object]:
        asked.set()
        assert answered.wait(10)
        return []

    monkeypatch.setattr("schemas.ledger.reports.trace", slow)
    async with SqlLedger(url) as ledger:
        question = asyncio.create_task(ledger.trace("opencps:1"))
        await asyncio.to_thread(asked.wait, 10)
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        assert await desk.ids() == ["opencps:1"]
        answered.set()
        assert await question == []


async def test_two_processes_on_one_file_respect_the_epoch(url: str) -> None:
    async with SqlLedger(url) as one, SqlLedger(url) as two:
        old = await Desk.open(one)
        await old.put(make_event("e1"))
        (work,) = await old.runnable()
        await Desk.open(two, owner="worker-b")
        (applied,) = await old.commit(replace(old.change(work), patch=DossierPatch(failures=1)))
        assert applied.verdict is Verdict.STALE
        with pytest.raises(StaleOwner):
            await old.put(make_event("e2", version=2))


def test_moments_survive_to_the_microsecond() -> None:
    moment = datetime(2026, 11, 23, 5, 0, 0, 123456, tzinfo=UTC)
    assert dialect.to_moment(dialect.to_seconds(moment)) == moment


async def test_a_time_without_a_zone_is_refused(lane: Lane) -> None:
    naive = datetime(2026, 11, 23)  # noqa: DTZ001  # what the test is about

    def work(connection: Connection) -> None:
        connection.execute(data_keys.insert().values(key_id="k", wrapped=b"w", created_at=naive))

    with pytest.raises(Exception, match="without a zone"):
        await lane.write(work)
