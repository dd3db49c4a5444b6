"""`python -m connectors.one_stop.simulator`: the simulated one-stop system as a process of its own.

Prints one JSON line when the tables are there, plays the day, and prints one at the end. SIGTERM and
SIGINT stop it after the write in hand.
"""

from __future__ import annotations

import argparse
import json
import select
import signal
import sys
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from connectors.one_stop.simulator.day import OneStopSimulator
from connectors.one_stop.simulator.journal import Journal, JournalWriter
from connectors.one_stop.simulator.warts import FULL_DAY, Warts


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m connectors.one_stop.simulator",
        description="Plays a working day of a province's one-stop system into a database.",
    )
    parser.add_argument(
        "--url",
        required=True,
        help="database to fill: sqlite:///…, postgresql+psycopg://… or mysql+pymysql://…",
    )
    parser.add_argument("--journal", required=True, type=Path, help="new file for the journal")
    parser.add_argument("--seed", type=int, default=1, help="the same seed plays the same day")
    parser.add_argument("--dossiers", type=int, default=FULL_DAY, help=f"default {FULL_DAY}")
    parser.add_argument(
        "--date",
        type=date.fromisoformat,
        help="the simulated day (default: the last working day before today)",
    )
    speed = parser.add_mutually_exclusive_group()
    speed.add_argument("--events-per-second", type=float, help="writes per second of real time")
    speed.add_argument(
        "--seconds",
        type=float,
        default=45.0,
        help="length of the whole day (default 45; 0 = at full speed)",
    )
    parser.add_argument(
        "--wart",
        action="append",
        default=[],
        metavar="NAME=COUNT",
        help="how often to play a wart; repeatable",
    )
    parser.add_argument("--id-block", type=int, default=100, help="ids that a server takes at once")
    parser.add_argument("--servers", type=int, default=2, help="servers that hand out ids")
    parser.add_argument(
        "--wait",
        action="store_true",
        help="begin the day only when a line arrives on standard input",
    )
    return parser


def _engine(url: str) -> Engine:
    arguments = {"timeout": 30} if make_url(url).get_backend_name() == "sqlite" else {}
    return create_engine(url, connect_args=arguments)


def _say(**line: Any) -> None:
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _wait_for_line(stop: threading.Event) -> None:
    while not stop.is_set():
        ready, _, _ = select.select([sys.stdin], [], [], 0.2)
        if ready:
            sys.stdin.readline()
            return


def _pace(options: argparse.Namespace, turns: int) -> float:
    """Seconds from one write to the next."""
    if options.events_per_second:
        return 1 / float(options.events_per_second)
    return float(options.seconds) / max(1, turns)


def _changes(words: list[str]) -> dict[str, int]:
    changes = {}
    for word in words:
        name, _, count = word.partition("=")
        if not count.isdigit():
            raise ValueError(f"--wart {word}: write NAME=COUNT, for example rollback=3")
        changes[name] = int(count)
    return changes


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 also when it was stopped, 2 for a wrong option or an unreachable database."""
    options = _parser().parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        warts = Warts.for_day(options.dossiers, _changes(options.wart))
        engine = _engine(options.url)
        writer = JournalWriter(options.journal)
        simulator = OneStopSimulator(
            engine,
            writer,
            seed=options.seed,
            day=options.date,
            dossiers=options.dossiers,
            warts=warts,
            id_block=options.id_block,
            servers=options.servers,
        )
        simulator.prepare()
    except (ValueError, ArgumentError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OperationalError as error:
        # The driver's own words only: SQLAlchemy's would carry the statement and its values.
        sys.stderr.write(f"--url: the database does not answer: {error.orig}\n")
        return 2
    _say(
        event="ready",
        day=simulator.day.isoformat(),
        seed=options.seed,
        dossiers=len(simulator.plan.lives),
        writes=simulator.turns,
        portal_born=len(simulator.portal_born()),
    )
    if options.wait:
        _wait_for_line(stop)
    began = time.monotonic()
    played = _play(simulator, _pace(options, simulator.turns), stop)
    writer.close()
    engine.dispose()
    journal = Journal(options.journal)
    _say(
        event="done",
        stopped=played < simulator.turns,
        seconds=round(time.monotonic() - began, 1),
        warts=journal.warts(),
        **journal.counts(),
    )
    return 0


def _play(simulator: OneStopSimulator, gap: float, stop: threading.Event) -> int:
    began, played = time.monotonic(), 0
    turns = simulator.play()
    try:
        while not stop.is_set():
            if next(turns, None) is None:
                break
            played += 1
            ahead = began + played * gap - time.monotonic()
            if ahead > 0:
                stop.wait(ahead)
    finally:
        turns.close()
    return played


if __name__ == "__main__":
    sys.exit(main())
