"""`python -m tests.torture`: play the rows of the torture and print what came of each.

Status 0 when every row passed, 1 when one failed, 2 when it could not be begun.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table

from tests.services.server_process import ServiceFailed, ServiceMissing
from tests.torture import settings as common
from tests.torture.catalogue import chosen
from tests.torture.kept import Kept, Run, keep, read
from tests.torture.scenario import Result, Scenario, play
from tests.torture.settings import Scale
from tests.torture.standing import Standing

COLUMNS = (
    ("scenario", "scenario"),
    ("profile", "profile"),
    ("events", "events"),
    ("faults_injected", "faults"),
    ("missing", "missing"),
    ("duplicate_effects", "dupl."),
    ("order_violations", "order"),
    ("stale", "stale"),
    ("duplicate_calls", "calls twice"),
    ("parked", "parked"),
    ("parked_expected", "expected"),
    ("undecided", "undecided"),
    ("late_effects_found", "late found"),
    ("recovery_s", "recovery s"),
)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture",
        description="Kills, freezes, starves and deceives a whole hub; judges by the far side's truth.",
    )
    parser.add_argument("--list", action="store_true", help="name every scenario and end")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these scenarios")
    parser.add_argument("--row", default="", help="these rows, with commas: kill,crash,…")
    parser.add_argument("--core", action="store_true", help="the core that every merge needs")
    parser.add_argument("--json", action="store_true", help="one JSON object per line and scenario")
    parser.add_argument("--full", action="store_true", help="100,000 events, an hour of soak")
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="FILE",
        help="keep every result there; what this commit has there already is not played again",
    )
    parser.add_argument(
        "--any-commit",
        action="store_true",
        help="with --resume: nor what another commit has there",
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep logs and truth of every scenario there"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status."""
    options = _arguments(argv)
    scale = common.FULL if options.full else common.CORE if options.core else common.SHORT
    try:
        wanted = chosen(
            only=options.only,
            rows=[row for row in options.row.split(",") if row],
            core=options.core,
        )
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if options.list:
        _list(wanted)
        return 0
    print(common.shown(scale), file=sys.stderr, flush=True)
    # Whoever ends it must not leave a hub behind; a shell starts its background jobs deaf to SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        with Standing() as standing:
            results = asyncio.run(_play_all(wanted, scale, standing, options))
    except (ServiceMissing, ServiceFailed) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if not options.json:
        _table(results)
    return 0 if all(result.passed for result in results) else 1


async def _play_all(
    wanted: Sequence[Scenario], scale: Scale, standing: Standing, options: argparse.Namespace
) -> list[Result]:
    run = Run.now(scale.name)
    done = _done(options.resume, run, any_commit=options.any_commit)
    results: list[Result] = []
    for number, scenario in enumerate(wanted, start=1):
        began = time.monotonic()
        found: Sequence[Result]
        if scenario.name in done:
            found = done[scenario.name]
        else:
            found = await play(scenario.at(scale), standing, keep=options.keep)
            if options.resume is not None:
                # The commit is that of the beginning; the day may be another by now.
                ended = replace(run, day=Run.now(scale.name).day)
                keep(options.resume, Kept(scenario=scenario.name, run=ended, results=found))
        results += found
        for result in found:
            if options.json:
                print(json.dumps(result.as_json(), ensure_ascii=False), flush=True)
        took = time.monotonic() - began
        _say(f"{number}/{len(wanted)} {scenario.name}: {_in_words(found)}, {took:.0f} s")
    return results


def _done(file: Path | None, run: Run, *, any_commit: bool) -> dict[str, Sequence[Result]]:
    """What need not be played again, by scenario; another scale proves something else."""
    if file is None:
        return {}
    return {
        name: one.results
        for name, one in read(file).items()
        if one.run.scale == run.scale and (any_commit or one.run.commit == run.commit)
    }


def _in_words(found: Sequence[Result]) -> str:
    failed = any(not result.passed for result in found)
    lines = [f"\n    {text}" for one in found for text in (*one.findings, *one.slow, *one.measured)]
    return ("FAIL" if failed else "pass") + "".join(lines)


def _say(text: str, out: TextIO = sys.stderr) -> None:
    print(text, file=out, flush=True)


def _list(wanted: Sequence[Scenario]) -> None:
    for scenario in wanted:
        core = " (core)" if scenario.core else ""
        print(f"{scenario.row:8} {scenario.name:32} {scenario.about}{core}")


def _table(results: Sequence[Result]) -> None:
    table = Table(box=None)
    for _, heading in COLUMNS:
        table.add_column(heading, justify="left" if heading == "scenario" else "right")
    table.add_column("verdict")
    for one in results:
        cells = [getattr(one, name) for name, _ in COLUMNS]
        shown = ["" if cell is None else str(cell) for cell in cells]
        table.add_row(*shown, "pass" if one.passed else "[bold red]FAIL[/bold red]")
    Console(width=180).print(table)


if __name__ == "__main__":
    sys.exit(main())
