"""The whole contract on a real PostgreSQL, and what only a server with several clients can show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import psycopg
import pytest

from schemas.ledger.database import Lane
from schemas.ledger.migrate import require_current, upgrade
from schemas.ledger.model import (
    DeliveryState,
    LedgerMismatch,
    LedgerUnavailable,
    Operation,
    Settled,
    Verdict,
)
from schemas.ledger.sql import SqlLedger
from tests.contract.ledger_contract import (
    Desk,
    LedgerContract,
    deliver,
    make_attempt,
    make_event,
    rows_of,
)
from tests.contract.observation_contract import ObservationContract
from tests.contract.parity_contract import ParityContract
from tests.contract.published_contract import PublishedContract
from tests.contract.regimes_contract import RegimesContract
from tests.integration.ledger.databases import postgres_server, url
from tests.services.postgres import PostgresServer

__all__ = ["postgres_server", "url"]

pytestmark = pytest.mark.integration


@pytest.fixture
async def ledger(url: str) -> AsyncIterator[SqlLedger]:
    upgrade(url)
    async with SqlLedger(url) as opened:
        yield opened


class TestPostgresLedger(LedgerContract):
    @pytest.fixture
    async def ledger(self, ledger: SqlLedger) -> SqlLedger:
        return ledger


class TestPostgresParity(ParityContract):
    @pytest.fixture
    async def ledger(self, ledger: SqlLedger) -> SqlLedger:
        return ledger


class TestPostgresObservations(ObservationContract):
    @pytest.fixture
    async def ledger(self, ledger: SqlLedger) -> SqlLedger:
        return ledger


class TestPostgresPublished(PublishedContract):
    @pytest.fixture
    async def lane(self, url: str) -> AsyncIterator[Lane]:
        upgrade(url)
        lane = Lane(url, "published", seconds=None)
        yield lane
        await lane.close()


class TestPostgresRegimes(RegimesContract):
    @pytest.fixture
    async def lane(self, url: str) -> AsyncIterator[Lane]:
        upgrade(url)
        lane = Lane(url, "regimes", seconds=None)
        yield lane
        await lane.close()


async def test_an_empty_database_is_refused_with_the_remedy(url: str) -> None:
    with pytest.raises(LedgerMismatch, match="thongsuot db upgrade"):
        require_current(url)
    upgrade(url)
    upgrade(url)
    require_current(url)


async def test_two_workers_migrate_at_once(url: str) -> None:
    await asyncio.gather(*(asyncio.to_thread(upgrade, url) for _ in range(3)))
    require_current(url)


async def test_a_take_over_waits_for_the_commit_in_flight(url: str) -> None:
    """FOR SHARE: while a group is being written its epoch cannot be raised."""
    upgrade(url)
    async with SqlLedger(url) as old, SqlLedger(url) as new:
        desk = await Desk.open(old)
        await desk.put(make_event("e1"))
        (work,) = await desk.runnable()
        with psycopg.connect(url) as holder:
            holder.execute("SELECT 1 FROM dossier_target FOR NO KEY UPDATE")
            change = replace(
                desk.change(work), intent=make_attempt(work, *rows_of(work, Operation.STATE))
            )
            writing = asyncio.create_task(old.commit([replace(change, claim="C-1")]))
            await _waits_for_a_lock(url, "UPDATE dossier_target")
            taking = asyncio.create_task(Desk.open(new, owner="worker-b"))
            await _waits_for_a_lock(url, "FROM positions")
            assert not taking.done()
            holder.rollback()
        (applied,) = await writing
        assert applied.verdict is Verdict.DONE
        newcomer = await taking
        (seen,) = await newcomer.runnable()
        assert len(seen.attempts) == 1, "the new owner sees what the old one began"
        (late,) = await old.commit([desk.release(work)])
        assert late.verdict is Verdict.STALE


async def _waits_for_a_lock(url: str, statement: str) -> None:
    """Return once a client of this database waits for a lock in such a statement."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock' AND query LIKE %s"
    )
    # A connection of its own: within a transaction the view would not change.
    with psycopg.connect(url, autocommit=True) as watcher:
        async with asyncio.timeout(4):
            while watcher.execute(query, [f"%{statement}%"]).fetchone() == (0,):
                await asyncio.sleep(0.02)


async def test_two_owners_work_side_by_side(url: str) -> None:
    upgrade(url)
    async with SqlLedger(url) as one, SqlLedger(url) as two:

        async def run(ledger: SqlLedger, partition: int) -> int:
            desk = await Desk.open(ledger, partitions=(partition,), owner=f"worker-{partition}")
            done = 0
            for i in range(10):
                dossiers = [f"opencps:{partition}-{i}-{n}" for n in range(5)]
                await desk.put(*(make_event(f"e-{d}", d) for d in dossiers), partition=partition)
                for work in await desk.runnable():
                    ids = tuple(row.delivery_id for row in work.rows)
                    await deliver(desk, work, make_attempt(work, *ids))
                    await desk.commit(desk.release(work))
                    done += 1
            return done

        assert await asyncio.gather(run(one, 0), run(two, 1)) == [50, 50]
        (counts,) = await one.counts()
        assert counts.deliveries == {(DeliveryState.DELIVERED, ""): 200}


async def test_two_claimants_on_two_connections(url: str) -> None:
    upgrade(url)
    async with SqlLedger(url) as one, SqlLedger(url) as two:
        first = await Desk.open(one, partitions=(0,), owner="worker-a")
        second = await Desk.open(two, partitions=(1,), owner="worker-b")
        await first.put(make_event("e1", "opencps:1"), partition=0)
        await second.put(make_event("e2", "opencps:2"), partition=1)
        (mine,) = await first.runnable()
        (theirs,) = await second.runnable()
        results = await asyncio.gather(
            first.commit(replace(first.change(mine), claim="C-1")),
            second.commit(replace(second.change(theirs), claim="C-1")),
        )
        assert sorted(r[0].verdict for r in results) == [Verdict.CODE_TAKEN, Verdict.DONE]


async def test_a_lost_connection_is_unavailable_and_the_next_call_connects_again(
    url: str, postgres_server: PostgresServer
) -> None:
    upgrade(url)
    async with SqlLedger(url) as ledger:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        with postgres_server.connect() as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND pid <> pg_backend_pid()",
                [url.rsplit("/", 1)[1]],
            )
        with pytest.raises(LedgerUnavailable):
            await ledger.now()
        (work,) = await desk.runnable()
        parked = tuple(
            Settled(delivery_id=row.delivery_id, state=DeliveryState.PARKED) for row in work.rows
        )
        (applied,) = await desk.commit(replace(desk.change(work), settled=parked))
        assert applied.verdict is Verdict.DONE
