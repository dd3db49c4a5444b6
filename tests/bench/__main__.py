"""`make bench`: CPU time per delivery and deliveries per second, as one JSON object on standard output.

Every contender creates the same number of dossiers at the same simulated portal, one call for each, so
many calls in flight as the engine allows by default. Rounds alternate (A B C, A B C, …); the figures are
medians over the rounds, the ratios medians of the rounds' ratios.

    hub     `thongsuot worker --only deliver`: from Kafka to the receipt on Kafka, with its ledger
    engine  the same without Kafka: decode, enlist, intent, call, settle
    zeep    a bare zeep loop over the hub's aiohttp transport; keeps nothing
    lxml    envelopes built by hand with lxml, over aiohttp; keeps nothing

CPU is the user and system time of the contender's whole process from the word go until everything is
settled (of the hub: until the receipts are published too); starting up and one round of warming up are
not counted, idling between is. Deliveries per second are from the word go to the portal's last creation,
by the portal's own record. The portal's truth must say at the end that every contender made exactly its
creations, with one content, and no call more. No figure is asserted.

    counts  beside them, without a portal: all rates of a month by unit, the hub's own too, reckoning a handful
            of changed dossiers, what `/metrics` needs and a scrape of it, on PostgreSQL (where it is installed)
            and on SQLite; see `tests.bench.counts`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench import counts
from tests.bench.contenders import BenchFailed
from tests.bench.contest import KINDS, Contest, Options
from tests.bench.ledger_view import NotSettled
from tests.bench.machine import facts, filesystem

COUNTS = "counts"
_MEMORY = Path("/dev/shm")  # so that the portal's fsync is not what is measured


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=5000, help="of each contender, in all rounds")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=[*KINDS, COUNTS], default=[*KINDS, COUNTS])
    parser.add_argument("--dossiers", type=int, default=550_000, help="of a month, on PostgreSQL")
    parser.add_argument("--dossiers-on-sqlite", type=int, default=30_000)
    parser.add_argument("--folder", type=Path, help="where the ledgers lie; a temporary folder")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 when a contender did not do what was to be measured."""
    given = arguments(argv)
    with ExitStack() as opened:

        def folder(where: Path | None) -> Path:
            made = tempfile.TemporaryDirectory(prefix="thongsuot-bench-", dir=where)
            return Path(opened.enter_context(made))

        options = Options(
            names=[name for name in given.only if name != COUNTS],
            calls=given.calls,
            rounds=given.rounds,
            memory=folder(_MEMORY if _MEMORY.is_dir() else None),
            disk=folder(given.folder),
        )
        machine = facts()
        contest = Contest(options, say=_say)
        counted: dict[str, Mapping[str, Any] | None] = {}
        try:
            if options.names:
                asyncio.run(contest.play())
            if COUNTS in given.only:
                counted["postgresql"] = counts.on_postgres(given.dossiers, given.rounds, _say)
                counted["sqlite"] = counts.on_sqlite(
                    options.disk, given.dossiers_on_sqlite, given.rounds, _say
                )
        except (BenchFailed, NotSettled) as failure:
            print(failure, file=sys.stderr)
            return 1
        result = {
            "machine": machine,
            "portal_on": filesystem(options.memory),
            "ledgers_on": filesystem(options.disk),
            **contest.result(),
            COUNTS: counted,
        }
    for name, one in result["contenders"].items():
        print(
            f"{name:7} {one['cpu_us_per_delivery']:7.0f} µs CPU per delivery"
            f" {one['deliveries_per_s']:7.0f} deliveries/s {one['rss_mb']:6.0f} MB",
            file=sys.stderr,
        )
    print(*(f"{k} {v}" for k, v in result["cpu_ratios"].items()), sep="   ", file=sys.stderr)
    for database, one in counted.items():
        if one is not None:
            print(
                f"{COUNTS} of {one['dossiers']} dossiers on {database}: {one['count_s']} s,"
                f" {one['count/pass']} plain passes; all rates by agency: {one['rates_s']} s;"
                f" {one['changed']} changed: {one['refresh_s']} s; /metrics at most"
                f" {one['metrics_oldest_s']} s old, a scrape {one['scrape_ms']} ms",
                file=sys.stderr,
            )
    print(json.dumps(result))
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
