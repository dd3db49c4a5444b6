"""What is counted does not depend on the database."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitoring.rates import plan
from monitoring.rates.dossier_counts import Counted, Counting, bounds, count, dossiers_of
from monitoring.rates.plan_figures import PlanFigures, plan_figures
from schemas.dossier.service_levels import NO_LEVELS
from schemas.ledger.database import Lane
from schemas.ledger.migrate import upgrade
from tests.bench.counts_fill import MONTH, Filled, fill
from tests.integration.ledger.databases import postgres_server, url

__all__ = ["postgres_server", "url"]

pytestmark = pytest.mark.integration

Told = tuple[Counted, list[Counting], list[Counting], PlanFigures]


async def told(url: str) -> Told:
    """Counts, dossiers behind two of them, and the plan's figures, of the same filled ledger."""
    upgrade(url)
    start, end = bounds(MONTH)
    lane = Lane(url, "counts", seconds=None)
    try:
        await lane.write(lambda c: fill(c, Filled(of_month=3000, before=1000)))
        return (
            await lane.read(lambda c: count(c, start, end)),
            await lane.read(lambda c: dossiers_of(c, "with_citizen_data", start, end)),
            await lane.read(lambda c: dossiers_of(c, "digitised", start, end, instead=True)),
            await lane.read(lambda c: plan_figures(c, plan.packaged(), NO_LEVELS, end)),
        )
    finally:
        await lane.close()


async def test_postgresql_counts_what_sqlite_counts(url: str, tmp_path: Path) -> None:
    counted, citizens, not_digitised, goals = await told(url)
    assert counted.total.shown["received_and_carried_over"] == 3000
    assert len(citizens) == counted.total.shown["with_citizen_data"]
    assert not_digitised
    assert goals.values
    assert await told(f"sqlite:///{tmp_path}/ledger.db") == (
        counted,
        citizens,
        not_digitised,
        goals,
    )
