"""Months on a real PostgreSQL: made by who needs one, found without reading the others, dropped whole."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, event

from schemas.ledger import engine_changes, outbox, partitions, prune, work
from schemas.ledger.database import Lane
from schemas.ledger.dialect import make_engine
from schemas.ledger.migrate import upgrade
from schemas.ledger.model import DeliveryState, LedgerRefuses, Operation, Settled
from schemas.ledger.sql import SqlLedger
from schemas.ledger.tables import metadata
from tests.contract.ledger_contract import (
    STATE,
    TARGET,
    Desk,
    deliver,
    make_attempt,
    make_event,
    rows_of,
)
from tests.contract.retention_contract import OLD, Archive, RetentionContract
from tests.integration.ledger.databases import postgres_server, url

__all__ = ["postgres_server", "url"]

pytestmark = pytest.mark.integration


class TestPostgresRetention(RetentionContract):
    whole_months = True

    @pytest.fixture
    def url(self, url: str) -> str:
        return url

    async def test_a_dropped_month_is_made_again_when_something_of_it_comes(
        self, archive: Archive
    ) -> None:
        await archive.deliver("e1", "opencps:1", OLD)
        assert (await archive.prune_after(14)).dropped == [202602]
        assert "202602" not in await archive.lane.read(partitions.partitions)
        await archive.deliver("e2", "opencps:2", OLD)
        assert (await archive.rows())["deliveries"] == 1
        assert (await archive.prune_after(14)).dropped == [202602]

    async def test_a_month_in_use_is_left_for_the_next_time_and_nobody_waits_for_long(
        self, archive: Archive, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(prune, "DROP_TRIES", 2)
        monkeypatch.setattr(prune, "DROP_LOCK_MILLISECONDS", 100)
        monkeypatch.setattr(prune, "BUSY_SECONDS", 0.0)
        await archive.deliver("e1", "opencps:1", OLD)
        with psycopg.connect(url) as reader:
            reader.execute("SELECT count(*) FROM deliveries")
            gone = await archive.prune_after(14)
            assert (list(gone.dropped), gone.busy, gone.events) == ([], [202602], 0)
            reader.rollback()
        assert (await archive.prune_after(14)).dropped == [202602]

    async def test_workers_go_on_while_months_are_dropped(self, archive: Archive, url: str) -> None:
        """Whoever reads or writes meanwhile has neither an error nor a wrong answer."""
        for month in range(1, 7):
            await archive.deliver(
                f"old-{month}", f"opencps:old-{month}", datetime(2026, month, 3, tzinfo=UTC)
            )
        async with SqlLedger(url) as worker:
            desk = await Desk.open(worker, partitions=(1,), owner="worker-b")
            pruning = asyncio.create_task(archive.prune_after(14))
            done = 0
            while not pruning.done():
                await desk.put(
                    make_event(f"new-{done}", f"opencps:new-{done}", code=None), partition=1
                )
                (found,) = await desk.runnable()
                await deliver(desk, found, make_attempt(found, *rows_of(found, Operation.STATE)))
                await desk.commit(desk.release(found))
                done += 1
        gone = await pruning
        assert (gone.dropped, gone.busy) == ([202601, 202602, 202603, 202604, 202605, 202606], [])
        assert done > 0
        assert (await archive.rows())["deliveries"] == 2 * done


# --- making them --------------------------------------------------------------------------------------


async def test_a_month_is_made_by_the_transaction_that_needs_it(url: str) -> None:
    upgrade(url)
    lane = Lane(url, "test")
    async with SqlLedger(url) as ledger:
        desk = await Desk.open(ledger)
        assert await lane.read(partitions.partitions) == {"early", "late"}
        await desk.put(
            make_event("e1", at=datetime(2026, 11, 30, 23, 59, tzinfo=UTC)),
            make_event("e2", version=2, at=datetime(2026, 12, 1, tzinfo=UTC)),
            make_event("e3", version=3, at=datetime(2019, 1, 1, tzinfo=UTC)),
        )
        assert await lane.read(partitions.partitions) == {"early", "late", "202611", "202612"}
        (found,) = await desk.runnable()
        months = {row.event_id: row.delivery_id // partitions.IDS_A_MONTH for row in found.rows}
        assert months == {"e1": 202611, "e2": 202612, "e3": 201901}
    await lane.close()
    with psycopg.connect(url) as connection:
        for table in partitions.PARTITIONED:
            found_in = connection.execute(
                f"SELECT tableoid::regclass::text, count(DISTINCT event_id) FROM {table} GROUP BY 1"
            ).fetchall()
            assert sorted(found_in) == [
                (f"{table}_202611", 1),
                (f"{table}_202612", 1),
                (f"{table}_early", 1),
            ]


async def test_two_workers_make_the_same_month_at_once(url: str) -> None:
    upgrade(url)
    async with SqlLedger(url) as one, SqlLedger(url) as two:
        desks = [
            await Desk.open(ledger, partitions=(number,), owner=f"worker-{number}")
            for number, ledger in enumerate((one, two))
        ]
        for month in range(1, 7):
            at = datetime(2027, month, 3, tzinfo=UTC)
            await asyncio.gather(
                *(
                    desk.put(
                        make_event(f"e-{month}-{n}", f"opencps:{month}-{n}", at=at), partition=n
                    )
                    for n, desk in enumerate(desks)
                )
            )
        for desk in desks:
            assert len(await desk.runnable()) == 6


async def test_a_batch_that_is_undone_takes_its_month_with_it(url: str) -> None:
    upgrade(url)
    lane = Lane(url, "test")
    async with SqlLedger(url) as ledger:
        desk = await Desk.open(ledger)
        with pytest.raises(LedgerRefuses):
            await desk.put(make_event("e1", code="\udce1"))
        assert await lane.read(partitions.partitions) == {"early", "late"}
        desk.offsets[0] = 0
        await desk.put(make_event("e1"))
        assert await lane.read(partitions.partitions) == {"early", "late", "202611"}
    await lane.close()


async def test_an_enlistment_goes_on_when_its_month_is_dropped_under_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its look for the month and its first row."""
    upgrade(url)
    provide, calls = partitions.provide, []

    def provide_and_lose(connection: Connection, months: set[int]) -> None:
        provide(connection, months)
        calls.append(months)
        if len(calls) == 1:
            partitions.drop(connection, "202611")

    monkeypatch.setattr(partitions, "provide", provide_and_lose)
    async with SqlLedger(url) as ledger:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        assert await desk.ids() == ["opencps:1"]
    assert len(calls) == 2


# --- what they are ------------------------------------------------------------------------------------


async def test_the_migrated_tables_are_those_of_the_code(url: str) -> None:
    """But for the constraints that stand on the partitions, and for the partitions themselves."""
    upgrade(url)
    engine = make_engine(url)

    def ours(thing: Any, name: str | None, kind: str, reflected: bool, _other: Any) -> bool:
        if kind == "table" and reflected:
            return name in metadata.tables
        if kind in ("foreign_key_constraint", "unique_constraint"):
            return thing.table.name not in partitions.PARTITIONED
        return True

    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"compare_type": True, "include_object": ours}
            )
            assert compare_metadata(context, metadata) == []
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        (
            "INSERT INTO deliveries (delivery_id, event_id, source_day, dossier_id, target, operation,"
            " version, log_pos, partition, state, enlisted_at) SELECT delivery_id + 1000, event_id,"
            " source_day, dossier_id, target, operation, version, log_pos, partition, state,"
            " enlisted_at FROM deliveries",
            "uq_deliveries_202611_event_id",
        ),
        ("UPDATE deliveries SET event_id = 'e404'", "fk_deliveries_202611_events"),
        ("UPDATE timeline SET event_id = 'e404'", "fk_timeline_202611_events"),
        ("DELETE FROM events", "events"),
        ("UPDATE deliveries SET state = 'lost'", "ck_deliveries_state"),
    ],
)
async def test_a_month_holds_together(url: str, statement: str, constraint: str) -> None:
    upgrade(url)
    async with SqlLedger(url) as ledger:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"), dues=(STATE,))
    with (
        psycopg.connect(url) as connection,
        pytest.raises(psycopg.IntegrityError, match=constraint),
    ):
        connection.execute(statement)


# --- finding them -------------------------------------------------------------------------------------


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    upgrade(url)
    engine = make_engine(url)
    yield engine
    engine.dispose()


def read_in(plan: dict[str, Any]) -> set[str]:
    """The tables that a plan looks into."""
    found = {plan["Relation Name"]} if "Relation Name" in plan else set()
    return found.union(*(read_in(part) for part in plan.get("Plans", [])))


async def test_statements_that_know_their_month_look_nowhere_else(url: str, engine: Engine) -> None:
    months = [202601]
    while len(months) < 18:
        months.append(partitions.month_after(months[-1]))
    with engine.begin() as connection:
        partitions.provide(connection, months)
    async with SqlLedger(url) as ledger:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
        (found,) = await desk.runnable()
    attempt = make_attempt(found, *rows_of(found, Operation.STATE))
    ended = Settled(delivery_id=attempt.delivery_ids[0], state=DeliveryState.DELIVERED)
    looked: dict[str, set[str]] = {}

    def explain(
        connection: Connection,
        _cursor: object,
        statement: str,
        parameters: Any,
        _context: object,
        many: bool,
    ) -> None:
        raw = connection.connection.cursor()
        raw.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters[0] if many else parameters)
        ((told,),) = raw.fetchall()
        raw.close()
        tables = read_in(told[0]["Plan"])
        looked[statement] = {t for t in tables if t.startswith(("events_", "deliveries_"))}

    event.listen(engine, "before_cursor_execute", explain)
    with engine.begin() as connection:
        engine_changes.apply(connection, [replace(desk.change(found), intent=attempt)])
        settling = replace(desk.change(found), close=attempt.attempt_id, settled=(ended,))
        engine_changes.apply(connection, [settling])
        outbox.mark_published(connection, list(attempt.delivery_ids))
        work.reload(connection, TARGET, "opencps:1")
    event.remove(engine, "before_cursor_execute", explain)
    for beginning, table in (
        ("UPDATE deliveries SET state=%(state)s::VARCHAR, reason=%(reason)s", "deliveries_202611"),
        ("UPDATE deliveries SET state=%(b_state)s", "deliveries_202611"),
        ("UPDATE deliveries SET receipt", "deliveries_202611"),
        ("SELECT events.event_id, events.payload", "events_202611"),
    ):
        (statement,) = [s for s in looked if s.startswith(beginning)]
        assert looked[statement] == {table}, statement
