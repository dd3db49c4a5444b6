"""`python -m tests.torture.report FILE`: what `--resume FILE` kept, as the table of docs/torture.md."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path

from tests.torture.kept import Kept, Run, read

COLUMNS = (
    *("profile", "events", "faults_injected", "missing", "duplicate_effects"),
    *("order_violations", "stale", "duplicate_calls", "parked", "parked_expected"),
    *("undecided", "late_effects_found", "recovery_s"),
)
_DIGITS = 7


def report(kept: Collection[Kept]) -> str:
    """Markdown: where and when each row was played, the table, and every finding."""
    rows = [(one.run, result) for one in kept for result in one.results]
    results = [result for _, result in rows]
    failed = [one for one in results if not one.passed]
    lines = [
        *(f"- {line}" for line in _runs([one.run for one in kept])),
        "",
        f"{len(results)} rows, {len(failed)} failed.",
        "",
        "| scenario | "
        + " | ".join(name.replace("_", " ") for name in COLUMNS)
        + " | verdict | commit |",
        "|---|" + "---|" * (len(COLUMNS) + 2),
    ]
    for run, one in rows:
        cells = [getattr(one, name) for name in COLUMNS]
        shown = ["" if cell is None else str(cell) for cell in cells]
        verdict = "pass" if one.passed else "**FAIL**"
        lines.append(
            f"| `{one.scenario}` | " + " | ".join(shown) + f" | {verdict} | {_short(run)} |"
        )
    for one in results:
        if one.measured:
            lines += ["", f"`{one.scenario}` measured:", ""]
            lines += [f"- {text}" for text in one.measured]
    for one in failed:
        lines += ["", f"`{one.scenario}` failed:", ""]
        lines += [f"- {text}" for text in (*one.findings, *one.slow)]
    return "\n".join(lines)


def _short(run: Run) -> str:
    """The commit in seven digits, and whether files differed from it."""
    digits, _, changed = run.commit.partition("-")
    return f"{digits[:_DIGITS]}-{changed}" if changed else digits[:_DIGITS]


def _runs(runs: Collection[Run]) -> list[str]:
    """One line for each commit, scale and machine, with the days on which it was played."""
    days: dict[str, set[str]] = {}
    for run in runs:
        what = f"commit {run.commit or 'unknown'}, scale {run.scale}, {run.machine}"
        days.setdefault(what, set()).add(run.day)
    return [
        f"{' to '.join(sorted({min(played), max(played)}))}: {what}"
        for what, played in days.items()
    ]


if __name__ == "__main__":
    print(report(read(Path(sys.argv[1])).values()))
