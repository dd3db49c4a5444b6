"""What `--resume FILE` keeps of every scenario: its results, and where and when they came about."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from tests.torture.scenario import Result

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Where and when something was played. `commit` is "" without git; `day` is ISO, in UTC."""

    commit: str
    day: str
    machine: str
    scale: str

    @classmethod
    def now(cls, scale: str) -> Run:
        """Here, today."""
        return cls(
            commit=commit(),
            day=datetime.now(UTC).date().isoformat(),
            machine=machine(),
            scale=scale,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One line of the file."""

    scenario: str
    run: Run
    results: Sequence[Result]


def keep(file: Path, one: Kept) -> None:
    """Add a line."""
    line = {
        "scenario": one.scenario,
        **asdict(one.run),
        "results": [result.as_json() for result in one.results],
    }
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(line, ensure_ascii=False) + "\n")


def read(file: Path) -> dict[str, Kept]:
    """By scenario, the last line of each; empty where there is no file. Older lines do not say all."""
    found: dict[str, Kept] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        held = json.loads(line)
        found[held["scenario"]] = Kept(
            scenario=held["scenario"],
            run=Run(**{name: held.get(name, "") for name in Run.__slots__}),
            results=[Result.from_json(one) for one in held["results"]],
        )
    return found


def commit() -> str:
    """The commit that is checked out, with "-dirty" when files differ from it; "" without git."""
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=_ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return told.stdout.strip()


def machine() -> str:
    """This machine in a few words."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{psutil.cpu_count()} processors, {memory:.0f} GiB, {platform.system()} "
        f"{platform.release().partition('-')[0]}, Python {platform.python_version()}"
    )
