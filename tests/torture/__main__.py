"""`python -m tests.torture`: play the rows of the torture and print what came of each.

Status 0 when every row passed, 1 when one failed, 2 when it could not be begun.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table

from tests.services.server_process import ServiceFailed, ServiceMissing
from tests.torture import settings as common
from tests.torture.catalogue import chosen
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
        help="keep every result there; what is there already is not played again",
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
    done = _done(options.resume)
    results: list[Result] = []
    for number, scenario in enumerate(wanted, start=1):
        began = time.monotonic()
        found: Sequence[Result]
        if scenario.name in done:
            found = done[scenario.name]
        else:
            found = await play(scenario.at(scale), standing, keep=options.keep)
            _keep(options.resume, scenario, found)
        results += found
        for result in found:
            if options.json:
                print(json.dumps(result.as_json(), ensure_ascii=False), flush=True)
        took = time.monotonic() - began
        _say(f"{number}/{len(wanted)} {scenario.name}: {_in_words(found)}, {took:.0f} s")
    return results


def _done(file: Path | None) -> dict[str, list[Result]]:
    """What an earlier run kept, by scenario."""
    done: dict[str, list[Result]] = {}
    if file is not None and file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            held = json.loads(line)
            done[held["scenario"]] = [Result.from_json(one) for one in held["results"]]
    return done


def _keep(file: Path | None, scenario: Scenario, found: Sequence[Result]) -> None:
    if file is not None:
        line = {"scenario": scenario.name, "results": [one.as_json() for one in found]}
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line, ensure_ascii=False) + "\n")


def _in_words(found: Sequence[Result]) -> str:
    failed = [result for result in found if not result.passed]
    if not failed:
        return "pass"
    lines = [f"\n    {text}" for one in failed for text in (*one.findings, *one.slow)]
    return "FAIL" + "".join(lines)


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
