"""Trouble that only a real PostgreSQL makes: what passes is waited for, what is refused is said so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace

import psycopg
import pytest
from sqlalchemy import Connection, select, text, update

from schemas.ledger import dialect
from schemas.ledger.database import ATTEMPTS, Lane
from schemas.ledger.migrate import upgrade
from schemas.ledger.model import (
    DossierPatch,
    LedgerMismatch,
    LedgerRefuses,
    LedgerUnavailable,
    Verdict,
)
from schemas.ledger.sql import SqlLedger
from schemas.ledger.tables import mapping_version
from tests.contract.ledger_contract import Desk, make_event
from tests.integration.ledger.databases import postgres_server, url
from tests.services.postgres import PostgresServer

__all__ = ["postgres_server", "url"]

pytestmark = pytest.mark.integration

WAIT_SECONDS = 30.0


def database_of(url: str) -> str:
    return url.rsplit("/", 1)[1]


@pytest.fixture
async def desk(url: str) -> AsyncIterator[Desk]:
    upgrade(url)
    async with SqlLedger(url) as ledger:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1", "opencps:1"), make_event("e2", "opencps:2"))
        yield desk


@pytest.fixture
async def lane(url: str) -> AsyncIterator[Lane]:
    upgrade(url)
    lane = Lane(url, "test")
    yield lane
    await lane.close()


async def waits(url: str, what: str, statement: str) -> int:
    """The pid of a client of this database, once it waits (`what`: "Lock") in such a statement."""
    query = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = %s AND query LIKE %s"
    )
    with psycopg.connect(url, autocommit=True) as watcher:
        async with asyncio.timeout(WAIT_SECONDS):
            while (row := watcher.execute(query, [what, f"%{statement}%"]).fetchone()) is None:
                await asyncio.sleep(0.02)
    pid: int = row[0]
    return pid


# --- races --------------------------------------------------------------------------------------------


async def test_a_deadlock_of_two_groups_costs_neither_of_them(url: str, desk: Desk) -> None:
    """The group waits for a rival that then waits for the group: the server ends the group's first try."""
    with psycopg.connect(url, autocommit=True) as admin:
        # Whoever asks the server first loses: let it be the group.
        admin.execute(f"ALTER DATABASE {database_of(url)} SET deadlock_timeout = '1s'")
    one, two = await desk.runnable()
    lock = "UPDATE dossier_target SET failures = failures WHERE dossier_id = %s"
    async with SqlLedger(url) as fresh:
        await fresh.take_over("ledger", "dossier.events", "topic-1", [0], "worker-a")
        with psycopg.connect(url) as rival:
            rival.execute("SET deadlock_timeout = '60s'")
            rival.execute("SET lock_timeout = '0'")
            rival.execute(lock, ["opencps:2"])
            group = [
                replace(desk.change(w), patch=DossierPatch(failures=7 + n))
                for n, w in enumerate((one, two))
            ]
            writing = asyncio.create_task(fresh.commit(group))
            await waits(url, "Lock", "UPDATE dossier_target")
            # Let through as soon as the server has ended the group.
            await asyncio.to_thread(rival.execute, lock, ["opencps:1"])
            rival.rollback()
        assert [a.verdict for a in await writing] == [Verdict.DONE, Verdict.DONE]
        assert (await fresh.reload(one.dossier.target, "opencps:1")).dossier.failures == 7
        assert (await fresh.reload(two.dossier.target, "opencps:2")).dossier.failures == 8


async def test_a_serialisation_failure_is_tried_again(url: str, lane: Lane) -> None:
    runs: list[int] = []

    def raise_version(connection: Connection) -> int:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        seen = connection.execute(select(mapping_version.c.version)).scalar_one()
        runs.append(seen)
        if len(runs) == 1:
            with psycopg.connect(url) as rival:
                rival.execute("UPDATE mapping_version SET version = 41")
        connection.execute(update(mapping_version).values(version=seen + 1))
        return int(seen) + 1

    assert await lane.write(raise_version) == 42
    assert runs == [0, 41], "the second run began with the rival's row"


async def test_serialisation_failures_without_end_are_unavailable(url: str, lane: Lane) -> None:
    runs: list[int] = []

    def always_overtaken(connection: Connection) -> None:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        runs.append(connection.execute(select(mapping_version.c.version)).scalar_one())
        with psycopg.connect(url) as rival:
            rival.execute("UPDATE mapping_version SET version = version + 1")
        connection.execute(update(mapping_version).values(version=0))

    with pytest.raises(LedgerUnavailable, match="SerializationFailure"):
        await lane.write(always_overtaken)
    assert len(runs) == ATTEMPTS


async def test_a_reader_sees_one_snapshot(url: str, lane: Lane) -> None:
    begun, written = threading.Event(), threading.Event()

    def read_twice(connection: Connection) -> tuple[int, int]:
        query = select(mapping_version.c.version)
        first = connection.execute(query).scalar_one()
        begun.set()
        assert written.wait(WAIT_SECONDS)
        return int(first), int(connection.execute(query).scalar_one())

    reading = asyncio.create_task(lane.read(read_twice))
    await asyncio.to_thread(begun.wait, WAIT_SECONDS)
    with psycopg.connect(url) as rival:
        rival.execute("UPDATE mapping_version SET version = 9")
    written.set()
    assert await reading == (0, 0)


async def test_a_reader_writes_nothing(lane: Lane) -> None:
    with pytest.raises(LedgerUnavailable, match="read-only"):
        await lane.read(lambda c: c.execute(update(mapping_version).values(version=9)))


# --- what passes --------------------------------------------------------------------------------------


async def test_a_database_that_is_read_only_is_waited_for(url: str, desk: Desk) -> None:
    name = database_of(url)
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await _disconnect(admin, desk)
        with pytest.raises(LedgerUnavailable, match="ReadOnlySqlTransaction"):
            await desk.put(make_event("e3", "opencps:3"))
        admin.execute("SET default_transaction_read_only = off")
        admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
        await _disconnect(admin, desk)
    desk.offsets[0] = 2
    await desk.put(make_event("e3", "opencps:3"))
    assert len(await desk.runnable()) == 3


async def test_a_server_switched_to_read_only_is_obeyed_by_a_lane_that_has_read(
    url: str, lane: Lane
) -> None:
    async def switch(read_only: str) -> None:
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("SET default_transaction_read_only = off")
            admin.execute(f"ALTER SYSTEM SET default_transaction_read_only = {read_only}")
            admin.execute("SELECT pg_reload_conf()")
        async with asyncio.timeout(WAIT_SECONDS):
            while await lane.read(_read_only_by_default) != read_only:
                await asyncio.sleep(0.05)

    def write(connection: Connection) -> None:
        connection.execute(update(mapping_version).values(version=9))

    await switch("on")
    try:
        with pytest.raises(LedgerUnavailable, match="ReadOnlySqlTransaction"):
            await lane.write(write)
    finally:
        await switch("off")
    await lane.write(write)


def _read_only_by_default(connection: Connection) -> str:
    return str(connection.execute(text("SHOW default_transaction_read_only")).scalar_one())


async def test_a_server_without_free_connections_is_waited_for(
    url: str, postgres_server: PostgresServer
) -> None:
    upgrade(url)
    with postgres_server.connect() as admin:
        admin.execute("CREATE ROLE crowded LOGIN CONNECTION LIMIT 1")
        admin.execute("GRANT hub TO crowded")
    theirs = url.replace("//hub@", "//crowded@")
    lane = Lane(theirs, "test")
    try:
        with psycopg.connect(theirs), pytest.raises(LedgerUnavailable, match="too many"):
            await lane.read(dialect.clock)
        async with asyncio.timeout(WAIT_SECONDS):
            while True:  # the server needs a moment to see that the other has gone
                try:
                    assert await lane.read(dialect.clock) > 0
                    break
                except LedgerUnavailable:
                    await asyncio.sleep(0.02)
    finally:
        await lane.close()


async def test_a_full_disk_is_waited_for(url: str, lane: Lane) -> None:
    """A limit on temporary files fails as a full disk does: class 53, in the middle of a statement."""

    def spill(connection: Connection) -> None:
        connection.execute(text("SET LOCAL work_mem = '64kB'"))
        connection.execute(text("SET LOCAL temp_file_limit = '64kB'"))
        connection.execute(
            text("SELECT count(*) FROM (SELECT g FROM generate_series(1, 200000) g ORDER BY -g) x")
        )

    with pytest.raises(LedgerUnavailable, match="ConfigurationLimitExceeded"):
        await lane.write(spill)
    assert await lane.write(dialect.clock) > 0


async def test_another_s_long_lock_is_waited_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade(url)
    short = dialect._POSTGRESQL_OPTIONS.replace("lock_timeout=5000", "lock_timeout=50")
    monkeypatch.setattr(dialect, "_POSTGRESQL_OPTIONS", short)
    lane = Lane(url, "test")
    try:
        with psycopg.connect(url) as holder:
            holder.execute("UPDATE mapping_version SET version = 1")
            with pytest.raises(LedgerUnavailable, match="LockNotAvailable"):
                await lane.write(lambda c: c.execute(update(mapping_version).values(version=2)))
            holder.rollback()
        await lane.write(lambda c: c.execute(update(mapping_version).values(version=2)))
    finally:
        await lane.close()


@pytest.mark.parametrize(
    ("end", "word"),
    [("pg_cancel_backend", "QueryCanceled"), ("pg_terminate_backend", "AdminShutdown")],
)
async def test_a_statement_that_an_administrator_ends_is_waited_for(
    url: str, desk: Desk, end: str, word: str
) -> None:
    one, _ = await desk.runnable()
    failing = replace(desk.change(one), patch=DossierPatch(failures=3))
    with psycopg.connect(url) as holder:
        holder.execute("SELECT 1 FROM dossier_target FOR NO KEY UPDATE")
        writing = asyncio.create_task(desk.ledger.commit([failing]))
        pid = await waits(url, "Lock", "UPDATE dossier_target")
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute(f"SELECT {end}(%s)", [pid])
        with pytest.raises(LedgerUnavailable, match=word):
            await writing
        holder.rollback()
    (applied,) = await desk.commit(failing)
    assert applied.verdict is Verdict.DONE


async def test_a_server_that_was_killed_is_waited_for(
    url: str, desk: Desk, postgres_server: PostgresServer
) -> None:
    postgres_server.kill()
    with pytest.raises(LedgerUnavailable):
        await desk.runnable()
    with pytest.raises(LedgerUnavailable):
        await desk.put(make_event("e3", "opencps:3"))
    postgres_server.start()
    desk.offsets[0] = 2
    await desk.put(make_event("e3", "opencps:3"))
    assert len(await desk.runnable()) == 3


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("INSERT INTO mapping_version VALUES (1, 4711)", "23505 mapping_version pk_mapping"),
        ("UPDATE mapping_version SET version = NULL", "23502 mapping_version version"),
        ("UPDATE mapping_version SET version = 9223372036854775807 + 4711", "22003"),
        ("SELECT CAST('4711x' AS integer)", "22P02"),
        ("SELECT convert_from('\\xff4711', 'UTF8')", "22021"),
    ],
)
async def test_what_the_database_refuses_is_named_without_its_content(
    lane: Lane, statement: str, words: str
) -> None:
    with pytest.raises(LedgerRefuses, match=words) as caught:
        await lane.write(lambda c: c.exec_driver_sql(statement))
    assert "4711" not in str(caught.value)
    assert caught.value.__cause__ is not None


async def test_a_table_of_another_version_is_a_mismatch(lane: Lane) -> None:
    with pytest.raises(LedgerMismatch, match="thongsuot db upgrade"):
        await lane.write(lambda c: c.exec_driver_sql("SELECT colour FROM events"))
    with pytest.raises(LedgerMismatch, match="thongsuot db upgrade"):
        await lane.write(lambda c: c.exec_driver_sql("SELECT 1 FROM colours"))


async def _disconnect(admin: psycopg.Connection, desk: Desk) -> None:
    """End the ledger's connections, and let it notice."""
    admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with pytest.raises(LedgerUnavailable):
        await desk.ledger.now()


# --- frozen owners -------------------------------------------------------------------------------------


async def test_a_frozen_owner_does_not_keep_its_partitions(url: str) -> None:
    """It holds the rows inside a transaction, and the server's own time-out does not see it."""
    upgrade(url)
    hold = "SELECT * FROM positions FOR SHARE"
    async with SqlLedger(url) as first, SqlLedger(url) as second:
        await first.take_over("ledger", "dossier.events", None, [0, 1], f"a:1:{first.session}")
        with (
            psycopg.connect(url, application_name=f"thongsuot {first.session}") as frozen,
            psycopg.connect(url, application_name="thongsuot") as other,
        ):
            for connection in (frozen, other):
                connection.execute("SET idle_in_transaction_session_timeout = 0")
                connection.commit()
            frozen.execute(hold)
            other.execute("SELECT 1")
            owner = f"b:2:{second.session}"
            async with asyncio.timeout(WAIT_SECONDS):
                while True:
                    try:
                        (taken, _) = await second.take_over(
                            "ledger", "dossier.events", None, [0, 1], owner
                        )
                        break
                    except LedgerUnavailable:
                        await asyncio.sleep(0.2)
            assert taken.fence.owner == owner
            with pytest.raises(psycopg.OperationalError):
                frozen.execute(hold)
            other.execute("SELECT 1")  # nobody's partitions: left alone, however long it lasts
