"""The engine's queries use their indexes: a table of ended deliveries must cost nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from schemas.ledger import code_mappings, outbox, work
from schemas.ledger.dialect import make_engine
from schemas.ledger.migrate import upgrade
from schemas.ledger.model import Fence
from schemas.ledger.sql import SqlLedger
from tests.contract.ledger_contract import FLOW, TARGET, TOPIC, Desk, make_event

HOT = ("deliveries", "dossier_target", "attempts", "events")


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/ledger.db"
    upgrade(url)
    return url


async def test_no_query_of_the_flow_reads_a_whole_table(url: str) -> None:
    async with SqlLedger(url) as ledger:
        desk = await Desk.open(ledger)
        await desk.put(make_event("e1"))
    fence = Fence(flow=FLOW, topic=TOPIC, partition=0, owner="worker-a", epoch=1)
    engine = make_engine(url)
    plans: list[str] = []

    def explain(
        connection: Connection, cursor: object, statement: str, parameters: object, *_: object
    ) -> None:
        if statement.startswith("SELECT"):
            raw = connection.connection.cursor()
            raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in raw.fetchall())
            raw.close()

    event.listen(engine, "before_cursor_execute", explain)
    try:
        with engine.connect() as connection:
            assert work.runnable(connection, TARGET, [fence], 10, frozenset())
            outbox.unpublished(connection, 10)
            code_mappings.unmapped(connection)
    finally:
        engine.dispose()
    whole = [
        plan
        for plan in plans
        if plan.startswith("SCAN") and plan.split()[1] in HOT and "INDEX" not in plan
    ]
    assert whole == []
    for index in (
        "ix_dossier_target_runnable",
        "ix_dossier_target_wake",
        "ix_deliveries_open",
        "ix_attempts_open",
        "ix_deliveries_receipt_owed",
        "ix_deliveries_parked",
    ):
        assert any(index in plan for plan in plans), f"{index} is not used: {plans}"
