"""The ledger that is counted in the bench holds what is said of it, and nothing else is reported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from monitoring.rates.dossier_counts import Scope, bounds, count
from monitoring.rates.live import BY_AGENCY
from monitoring.rates.step_counts import Steps, count_steps
from schemas.ledger.dialect import make_engine
from schemas.ledger.migrate import upgrade
from streams.figures import COUNT_SECONDS, PAUSE_SECONDS
from tests.bench import counts
from tests.bench.contenders import BenchFailed
from tests.bench.counts_events import late_dossiers
from tests.bench.counts_fill import MONTH, UNITS, Filled, fill

FILLED = Filled(of_month=1200, before=400)
BY_AGENCY_SERIES = len(BY_AGENCY) * UNITS


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Connection]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    upgrade(url)
    engine = make_engine(url)
    with engine.begin() as connection:
        fill(connection, FILLED)
        yield connection
    engine.dispose()


def test_the_month_has_its_dossiers_and_the_years_before_count_for_nothing(
    written: Connection,
) -> None:
    counted = count(written, *bounds(MONTH))
    shown = counted.total.shown
    assert shown["received_and_carried_over"] == FILLED.of_month
    assert shown["received_in_period"] == FILLED.received == 900
    assert shown["on_time_or_within_time"] == FILLED.of_month * 75 // 100
    assert len(counted.units) == UNITS
    empty = {name for name, number in shown.items() if number == 0}
    assert empty == {"in_personal_storage"}


def test_spans_follow_each_other_without_a_gap(written: Connection) -> None:
    """Of each dossier one span is the last, and every other ends where the next begins."""
    ends = """
        SELECT count(*), sum(ended_at IS NULL),
            sum(ended_at IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM verdict_spans AS next
                WHERE next.dossier_id = one.dossier_id AND next.begun_at = one.ended_at))
        FROM verdict_spans AS one"""
    spans, last, loose = written.execute(text(ends)).one()
    assert (last, loose) == (FILLED.of_month + FILLED.before, 0)
    assert spans > last


def test_all_rates_what_metrics_need_and_a_scrape_are_timed(tmp_path: Path) -> None:
    told = counts.on_sqlite(tmp_path, 1200, 1, say=lambda _: None)
    assert told["rates_s"] == pytest.approx(told["report_s"] + told["integration_s"], abs=0.002)
    assert told["metrics_oldest_s"] > COUNT_SECONDS + PAUSE_SECONDS
    assert BY_AGENCY_SERIES < told["series"] < 2000
    assert told["scrape_ms"] > 0


def test_steps_that_were_late_are_those_that_are_said(written: Connection) -> None:
    start, end = bounds(MONTH)
    told = count_steps(written, start, end, Scope(), Steps(now=end))
    late = late_dossiers(FILLED.of_month)
    assert sum(one.late_dossiers for one in told.values()) == late == 32


def test_what_was_not_there_is_not_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "UNITS", UNITS + 1)
    with pytest.raises(BenchFailed, match="counted were"):
        counts.on_sqlite(tmp_path, 600, 1, say=lambda _: None)
