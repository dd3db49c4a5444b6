"""A ledger as it stands in the middle of a large province's life, written by the database itself.

Invented, and the same for every run: `of_month` dossiers that count in `MONTH`, of which a quarter was carried
over into it, in 150 units; and as many `before` it, which must cost nothing. Their events: `counts_events.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from monitoring.rates.periods import Period, PeriodKind
from schemas.dossier.timeliness import Verdict
from schemas.ledger.dialect import EPOCH
from schemas.ledger.figures import FOREVER, Standing
from schemas.ledger.model import Known
from tests.bench.counts_events import fill_events

MONTH = Period(PeriodKind.MONTH, 2026, 8)
FIRST = datetime(2026, 7, 31, 17, tzinfo=UTC)
"""The first instant of the month in Viet Nam."""

UNITS = 150
RULES = "of the bench"
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Filled:
    """What was written: dossiers of the month, and how many of them were received in it."""

    of_month: int
    before: int

    @property
    def received(self) -> int:
        return self.of_month - self.of_month // 4


def dossier_id(number: int) -> str:
    """Of the dossiers of the month, from 1."""
    return f"opencps:{number}"


def fill(connection: Connection, filled: Filled) -> None:
    """Write it into an empty ledger, with statistics."""
    for statement in (_lives(filled, sqlite=connection.dialect.name == "sqlite"), *_ROWS):
        connection.execute(text(statement))
    for table in ("dossiers", "figures", "verdict_spans", "dossier_target"):
        connection.execute(text(f"ANALYZE {table}"))
    fill_events(connection, filled.of_month)


def _lives(filled: Filled, *, sqlite: bool) -> str:
    """Numbers, times and fates of all dossiers, in a table of their own.

    Of a hundred, 55 finish in time, 20 stay open and within time, 15 finish late, 10 stay open and late.
    """
    last, of_month = filled.of_month + filled.before, filled.of_month
    if sqlite:
        numbers = f"""RECURSIVE numbers(n) AS
            (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {last})"""
    else:
        numbers = f"numbers AS (SELECT CAST(n AS bigint) AS n FROM generate_series(1, {last}) AS n)"

    def moment(after: datetime, seconds: str) -> str:
        if sqlite:
            return f"{(after - EPOCH) // timedelta(microseconds=1)} + {seconds} * 1000000"
        return f"TIMESTAMPTZ '{after.isoformat()}' + make_interval(secs => {seconds})"

    return f"""
        CREATE TEMPORARY TABLE lives AS WITH {numbers},
        begun AS (
            SELECT n, n > {of_month} AS gone,
                CASE WHEN n > {of_month} THEN 0 ELSE n % 100 END AS fate,
                CASE WHEN n > {of_month} THEN n * 37 % (30 * {_DAY}) - 90 * {_DAY}
                     WHEN n % 4 = 0 THEN - (n * 37 % (20 * {_DAY})) - 1
                     ELSE n * 37 % (28 * {_DAY}) END AS received
            FROM numbers),
        ended AS (
            SELECT *,
                CASE WHEN fate > 74 THEN received + {_DAY} ELSE received + 60 * {_DAY} END AS due,
                CASE WHEN n % 4 = 0 AND NOT gone THEN {_DAY} + n * 53 % (20 * {_DAY})
                     ELSE received + {_DAY} + 1 + n * 53 % (2 * {_DAY}) END AS finished
            FROM begun)
        SELECT n, fate, 'opencps:' || n AS id, 'H12.' || (100 + n * 7919 % {UNITS}) AS unit,
            {moment(FIRST, "received")} AS received, {moment(FIRST, "due")} AS due,
            {moment(FIRST, "finished")} AS finished, {moment(FOREVER, "0")} AS forever
        FROM ended"""


def _spans(verdict: Verdict, begun: str, ended: str, end: str, fates: str) -> str:
    return f"""
        INSERT INTO verdict_spans (dossier_id, begun_at, ended_at, verdict, end_at)
        SELECT id, {begun}, {ended}, '{verdict.value}', {end} FROM lives WHERE fate {fates}"""


_ROWS = (
    """
    INSERT INTO dossiers (dossier_id, source, code, state_version, log_pos, born_on_portal, figures_due,
        local_procedure_code, sector_code, handling_agency_code, channel, status, received_at, due_at)
    SELECT id, 'opencps', 'H12-' || n, 1, 0, n % 10 = 0, n < 0,
        'P' || n % 900, 'S' || n % 40, unit, 'online', 'processing', received, due FROM lives""",
    f"""
    INSERT INTO figures (dossier_id, state_version, log_pos, steps, rules, standing, code, procedure_code,
        local_procedure_code, sector_code, agency_code, channel, born_on_portal, received_at, returned_at,
        counts_from, counts_until, electronic_result, digitised, reused, from_data_store, population_data, paid_online,
        financial_obligation, service_level, paper_result)
    SELECT id, 1, 0, 0, '{RULES}', '{Standing.RECKONED.value}', 'H12-' || n, '1.' || (100000 + n % 900),
        'P' || n % 900, 'S' || n % 40, unit, CASE n % 3 WHEN 0 THEN 'direct' ELSE 'online' END,
        n % 10 = 0, received, CASE WHEN fate < 55 THEN finished END,
        received, CASE WHEN fate < 55 OR fate BETWEEN 75 AND 89 THEN finished ELSE forever END,
        n % 2 = 0, CASE WHEN n % 7 <> 0 THEN n % 2 = 0 END, n % 5 = 0, n < 0, n % 3 = 0,
        CASE WHEN n % 11 <> 0 THEN n % 5 = 0 END, n % 3 <> 0,
        CASE WHEN n % 13 <> 0 THEN CASE n % 2 WHEN 0 THEN 'full' ELSE 'partial' END END,
        CASE WHEN n % 13 <> 0 THEN n % 6 = 0 END FROM lives""",
    _spans(Verdict.OPEN_IN_TIME, "received", "finished", "NULL", "< 55"),
    _spans(Verdict.EARLY, "finished", "NULL", "finished", "< 55"),
    _spans(Verdict.OPEN_IN_TIME, "received", "due", "NULL", "BETWEEN 55 AND 74"),
    _spans(Verdict.OPEN_LATE, "due", "NULL", "NULL", "BETWEEN 55 AND 74"),
    _spans(Verdict.OPEN_IN_TIME, "received", "due", "NULL", "> 74"),
    _spans(Verdict.OPEN_LATE, "due", "NULL", "NULL", "> 89"),
    _spans(Verdict.OPEN_LATE, "due", "finished", "NULL", "BETWEEN 75 AND 89"),
    _spans(Verdict.LATE, "finished", "NULL", "finished", "BETWEEN 75 AND 89"),
    f"""
    INSERT INTO dossier_target (target, dossier_id, topic, partition, known, born_on_portal,
        delivered_version, last_step, failures, work_seq, runnable)
    SELECT 'national_portal', id, 'dossier.events', n % 16,
        CASE WHEN n % 20 = 0 THEN '{Known.ABSENT.value}' ELSE '{Known.PRESENT.value}' END,
        n % 10 = 0, 1, 0, 0, 0, n < 0 FROM lives""",
)
