"""Form II.06 over a year of dossiers: `python -m tests.bench.report_form --dossiers 1100000`.

The ledger is filled by the database itself with what following a year of lives leaves: of 100 dossiers 20 were
asked for a supplement, 88 are finished, 80 handed over; in 80 agencies and 2,000 procedures. Measured are the
monthly form of all agencies as known some days after its cut-off, a year's form, a page of its dossiers, what
changed since the cut-off, and what was carried over; with the memory of this process, and the plan of the
count. What is counted must balance and be as many dossiers as there are; no figure is asserted.

On PostgreSQL, or with `--sqlite` on SQLite. One JSON object on standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, event, text

from schemas.ledger.database import Lane
from schemas.ledger.dialect import EPOCH, make_engine
from schemas.ledger.figures import FOREVER
from schemas.ledger.migrate import upgrade
from schemas.reports.form import Column, Treatment
from schemas.reports.periods import Window
from streams.reporting.form_checks import carried_over
from streams.reporting.form_counts import count, members
from streams.reporting.form_differences import differences
from tests.bench.contenders import BenchFailed
from tests.bench.counts import SERVER
from tests.bench.machine import facts, resident_mb
from tests.services.postgres import PostgresServer

T = TypeVar("T")

AGENCIES, PROCEDURES = 80, 2_000
FIRST = date(2025, 12, 15)
DAYS = 365
MONTH = Window(date(2026, 8, 15), date(2026, 9, 14))
NEXT = Window(date(2026, 9, 15), date(2026, 10, 14))
YEAR = Window(FIRST, date(2026, 12, 14))
CUT_OFF = datetime(2026, 9, 14, 17, tzinfo=UTC)
NOW = datetime(2027, 1, 2, tzinfo=UTC)
FIVE_DAYS = timedelta(days=5)

_LAST_DAY = "9999-12-31"


def fill(connection: Connection, dossiers: int) -> None:
    """Write a year of so many dossiers into an empty ledger, with statistics."""
    sqlite = connection.dialect.name == "sqlite"
    for statement in _statements(dossiers, sqlite=sqlite):
        connection.execute(text(statement))


def _statements(dossiers: int, *, sqlite: bool) -> Sequence[str]:
    if sqlite:
        numbers = f"""WITH RECURSIVE numbers (n) AS
            (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {dossiers})"""
    else:
        numbers = f"WITH numbers AS (SELECT n FROM generate_series(1, {dossiers}) AS n)"

    def day(number: str) -> str:
        if sqlite:
            return f"date('{FIRST}', '+' || ({number}) || ' days')"
        return f"(DATE '{FIRST}' + CAST({number} AS integer))"

    def noon(number: str) -> str:
        noon = datetime(FIRST.year, FIRST.month, FIRST.day, 5, tzinfo=UTC)
        if sqlite:
            first = (noon - EPOCH) // timedelta(microseconds=1)
            return f"({first} + ({number}) * 86400000000)"
        return f"(TIMESTAMPTZ '{noon.isoformat()}' + CAST({number} AS integer) * INTERVAL '1 day')"

    last = f"'{_LAST_DAY}'" if sqlite else f"DATE '{_LAST_DAY}'"
    forever = (
        str((FOREVER - EPOCH) // timedelta(microseconds=1))
        if sqlite
        else f"TIMESTAMPTZ '{FOREVER.isoformat()}'"
    )
    least = "MIN" if sqlite else "LEAST"
    facts = f"""
        'H12.' || (100 + n * 7919 % {AGENCIES}), 'S' || n % {PROCEDURES} % 40,
        '1.' || (100000 + n % {PROCEDURES}),
        CASE n % 3 WHEN 0 THEN 'direct' WHEN 1 THEN 'online' END"""
    columns = """dossier_id, begun_on, ended_on, known_from, known_until, matters_until, standing, cause,
        agency_code, sector_code, procedure_code, channel, received_on, due_on, closed_on"""
    closed = f"CASE WHEN closed IS NULL THEN NULL ELSE {day('closed')} END"
    open_until = f"CASE WHEN closed IS NULL THEN {last} ELSE {day('closed')} END"
    return (
        # What happened to each: the day, counted from the first, and how it stood from then on.
        f"""CREATE TEMPORARY TABLE happened AS {numbers},
        lives AS (SELECT n, n * 37 % {DAYS} AS received, n % 100 AS fate,
            3 + n * 53 % 20 AS took, n * 31 % 12 AS lay FROM numbers)
        SELECT n, received, received AS at, 'running' AS standing, NULL AS closed FROM lives
        UNION ALL SELECT n, received, received + 1, 'waiting_supplement', NULL
            FROM lives WHERE fate < 20
        UNION ALL SELECT n, received, received + 2, 'running', NULL FROM lives WHERE fate < 20
        UNION ALL SELECT n, received, received + took, 'finished', received + took
            FROM lives WHERE fate < 88
        UNION ALL SELECT n, received, received + took + 1 + lay, 'returned', received + took
            FROM lives WHERE fate < 80"""
        if sqlite
        else f"""CREATE TEMPORARY TABLE happened AS {numbers},
        lives AS (SELECT n, CAST(CAST(n AS bigint) * 37 % {DAYS} AS integer) AS received, n % 100 AS fate,
            CAST(3 + CAST(n AS bigint) * 53 % 20 AS integer) AS took,
            CAST(CAST(n AS bigint) * 31 % 12 AS integer) AS lay FROM numbers)
        SELECT CAST(n AS bigint) AS n, received, received AS at, 'running' AS standing, CAST(NULL AS integer) AS closed
            FROM lives
        UNION ALL SELECT n, received, received + 1, 'waiting_supplement', NULL
            FROM lives WHERE fate < 20
        UNION ALL SELECT n, received, received + 2, 'running', NULL FROM lives WHERE fate < 20
        UNION ALL SELECT n, received, received + took, 'finished', received + took
            FROM lives WHERE fate < 88
        UNION ALL SELECT n, received, received + took + 1 + lay, 'returned', received + took
            FROM lives WHERE fate < 80""",
        """CREATE TEMPORARY TABLE changes AS
        SELECT happened.*, LEAD(at) OVER (PARTITION BY n ORDER BY at) AS following FROM happened""",
        # As long as nothing else was known, it stood so for good; since then, until it stood otherwise.
        # In the order in which they became known, as following leaves them.
        f"""INSERT INTO report_spans ({columns})
        SELECT * FROM (
            SELECT 'opencps:' || n AS dossier_id, {day("at")} AS begun_on, {last} AS ended_on,
                {noon("at")} AS known_from,
                CASE WHEN following IS NULL THEN {forever} ELSE {noon("following")} END,
                CASE WHEN following IS NULL THEN {open_until} ELSE {least}({open_until}, {day("following")}) END,
                standing, 'change', {facts}, {day("received")}, {day("received + 15")}, {closed}
            FROM changes
            UNION ALL
            SELECT 'opencps:' || n, {day("at")}, {day("following")}, {noon("following")}, {forever},
                {least}({open_until}, {day("following - 1")}),
                standing, 'change', {facts}, {day("received")}, {day("received + 15")}, {closed}
            FROM changes WHERE following IS NOT NULL
        ) AS told ORDER BY known_from, dossier_id""",
        f"""INSERT INTO dossiers (dossier_id, source, code, state_version, log_pos, born_on_portal,
            figures_due)
        {numbers if sqlite else ""} SELECT 'opencps:' || n, 'opencps', 'H12-' || n, 1, 0, n % 10 = 0, n < 0
        FROM {"numbers" if sqlite else f"generate_series(1, {dossiers}) AS n"}""",
        "DROP TABLE happened",
        "DROP TABLE changes",
        "ANALYZE report_spans",
        "ANALYZE dossiers",
    )


# --- measuring -------------------------------------------------------------------------------------------


async def measured(url: str, dossiers: int, rounds: int, say: Callable[[str], None]) -> Any:
    """Raises `BenchFailed` when something else was counted than there is."""
    began = time.monotonic()
    upgrade(url)
    engine = make_engine(url)
    try:
        with engine.begin() as connection:
            fill(connection, dossiers)
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT COUNT(*) FROM report_spans")).scalar_one()
        say(f"report_form: {dossiers} dossiers, {rows} rows in {time.monotonic() - began:.0f} s")
        plan = _plan(engine)
    finally:
        engine.dispose()
    lane = Lane(url, "bench", seconds=None)
    usual = Treatment()
    known_at = CUT_OFF + FIVE_DAYS
    took: dict[str, list[float]] = {}
    try:
        before = resident_mb(os.getpid())
        for number in range(rounds + 1):

            async def timed(name: str, work: Callable[[Connection], T], number: int = number) -> T:
                begun = time.monotonic()
                result = await lane.read(work)
                seconds = time.monotonic() - begun
                say(f"report_form: round {number}  {name} {seconds:.3f} s")
                if number:
                    took.setdefault(name, []).append(round(seconds, 3))
                return result

            month = await timed("month_s", lambda c: count(c, MONTH, known_at, usual))
            year = await timed("year_s", lambda c: count(c, YEAR, NOW, usual))
            memory = resident_mb(os.getpid())
            if month.broken_identities() or year.broken_identities():
                raise BenchFailed("the form does not balance")
            if year.total().c3 != dossiers:
                raise BenchFailed(f"{year.total().c3} of {dossiers} dossiers were counted")
            page = await timed(
                "page_s", lambda c: members(c, MONTH, known_at, usual, columns=[Column.C13])
            )
            frozen = await timed("frozen_s", lambda c: count(c, MONTH, CUT_OFF, usual))
            since = await timed(
                "differences_s", lambda c: differences(c, MONTH, CUT_OFF, known_at, usual)
            )
            carried = await timed(
                "carried_over_s",
                lambda c, frozen=frozen: carried_over(  # type: ignore[misc]
                    c, MONTH, NEXT, NOW, frozen, CUT_OFF, usual
                ),
            )
            if since or not (carried.holds and carried.is_explained) or not page:
                raise BenchFailed("nothing was told late, and yet something changed")
    finally:
        await lane.close()
    return {
        "dossiers": dossiers,
        "rows": rows,
        "month": {"c3": month.total().c3, "rows": len(month.rows)},
        **took,
        "rss_mb_before": round(before, 1),
        "rss_mb_after_counts": round(memory, 1),
        "plan": plan,
    }


def _plan(engine: Any) -> list[str]:
    """How the database goes about the monthly count."""
    found: list[str] = []
    explain = (
        "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN (ANALYZE, BUFFERS)"
    )

    def ask(
        connection: Connection, _cursor: object, statement: str, parameters: object, *_: object
    ) -> None:
        if statement.startswith("SELECT report_spans"):
            raw = connection.connection.cursor()
            raw.execute(f"{explain} {statement}", parameters)
            found.extend(str(row[-1]) for row in raw.fetchall())
            raw.close()

    event.listen(engine, "before_cursor_execute", ask)
    with engine.connect() as connection:
        count(connection, MONTH, CUT_OFF + FIVE_DAYS, Treatment())
    event.remove(engine, "before_cursor_execute", ask)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 when something else was counted than there is."""
    parser = argparse.ArgumentParser(prog="report_form", description=__doc__.partition("\n")[0])
    parser.add_argument("--dossiers", type=int, default=1_100_000, help="of the year")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sqlite", action="store_true")
    given = parser.parse_args(argv)
    result: Mapping[str, Any]
    with ExitStack() as opened:
        if given.sqlite:
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="thongsuot-bench-"))
            url = f"sqlite:///{Path(folder) / 'form.db'}"
        else:
            server = opened.enter_context(PostgresServer(settings=SERVER))
            url = server.create_database("form")
        try:
            result = asyncio.run(measured(url, given.dossiers, given.rounds, _say))
        except BenchFailed as failure:
            print(failure, file=sys.stderr)
            return 1
    print(json.dumps({"machine": facts(), "report_form": result}))
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
