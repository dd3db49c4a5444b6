"""`python -m tests.torture.report FILE`: what `--resume FILE` kept, as the table of docs/torture.md."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import psutil

from tests.torture.scenario import Result

COLUMNS = (
    *("profile", "events", "faults_injected", "missing", "duplicate_effects"),
    *("order_violations", "stale", "duplicate_calls", "parked", "parked_expected"),
    *("undecided", "late_effects_found", "recovery_s"),
)


def report(results: Sequence[Result], machine: str, day: date) -> str:
    """Markdown: where and when, the table, and every finding."""
    failed = [one for one in results if not one.passed]
    lines = [
        f"{day.isoformat()}, {machine}: {len(results)} rows, {len(failed)} failed.",
        "",
        "| scenario | " + " | ".join(name.replace("_", " ") for name in COLUMNS) + " | verdict |",
        "|---|" + "---|" * (len(COLUMNS) + 1),
    ]
    for one in results:
        cells = [getattr(one, name) for name in COLUMNS]
        shown = ["" if cell is None else str(cell) for cell in cells]
        verdict = "pass" if one.passed else "**FAIL**"
        lines.append(f"| `{one.scenario}` | " + " | ".join(shown) + f" | {verdict} |")
    for one in failed:
        lines += ["", f"`{one.scenario}` failed:", ""]
        lines += [f"- {text}" for text in (*one.findings, *one.slow)]
    return "\n".join(lines)


def machine() -> str:
    """This machine in a few words."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{psutil.cpu_count()} processors, {memory:.0f} GiB, {platform.system()} "
        f"{platform.release().partition('-')[0]}, Python {platform.python_version()}"
    )


def read(file: Path) -> list[Result]:
    """Every result of a file that `--resume` wrote."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [Result.from_json(one) for line in lines for one in json.loads(line)["results"]]


if __name__ == "__main__":
    print(report(read(Path(sys.argv[1])), machine(), datetime.now(UTC).date()))
