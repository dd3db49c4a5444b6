"""Crash points: absent from normal runs, refused outside of tests, and exact where they are wanted."""

from __future__ import annotations

import ast
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from monitoring import crash_points
from monitoring.crash_points import (
    VARIABLE,
    BadCrashPoint,
    CrashPoint,
    armed,
    do_nothing,
    hook,
    refusal,
)
from streams.settings import PREFIX
from tests.unit.streams.test_settings import GOOD

ROOT = Path(__file__).parents[3]
PACKAGES = ("connectors", "monitoring", "schemas", "streams")
PASSES = """
import asyncio
from monitoring.crash_points import CrashPoint, crash_point

async def passes():
    for number in range(1, 4):
        print(number, flush=True)
        crash_point(CrashPoint.{point})
        await asyncio.sleep({pause})

asyncio.run(passes())
"""


def environment(**more: str) -> dict[str, str]:
    given = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX) and k != VARIABLE}
    return given | more


def passes(point: str, pause: float = 0.0) -> list[str]:
    return [sys.executable, "-c", PASSES.format(point=point, pause=pause)]


def run(command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment(**more),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# --- normal runs


def test_in_a_normal_run_every_place_calls_the_function_that_does_nothing() -> None:
    names = sorted(_importers())
    told = "; ".join(f"from {name} import crash_point; found.append(crash_point)" for name in names)
    code = (
        "from monitoring.crash_points import do_nothing; found = []; "
        f"{told}; print(len(found), all(one is do_nothing for one in found))"
    )
    ended = run([sys.executable, "-c", code])
    assert ended.stdout.split() == [str(len(names)), "True"], ended.stderr
    assert len(names) == 8


def test_what_does_nothing_is_given_when_the_variable_is_missing_or_empty() -> None:
    assert hook({}) is do_nothing
    assert hook({VARIABLE: ""}) is do_nothing


def test_every_point_is_passed_at_one_place_on_the_way_of_a_dossier_and_of_a_packet() -> None:
    """The ledger flow takes each of the two in by a function of its own."""
    both = (CrashPoint.BEFORE_ENLIST, CrashPoint.AFTER_ENLIST)
    assert _passed() == Counter(point.name for point in (*CrashPoint, *both))


def _trees() -> list[tuple[str, ast.AST]]:
    return [
        (
            ".".join(path.relative_to(ROOT).with_suffix("").parts),
            ast.parse(path.read_text(encoding="utf-8")),
        )
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    ]


def _importers() -> set[str]:
    return {
        name
        for name, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and node.module == "monitoring.crash_points"
        and any(alias.name == "crash_point" for alias in node.names)
    }


def _passed() -> Counter[str]:
    return Counter(
        node.args[0].attr
        for _, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "crash_point"
        and isinstance(node.args[0], ast.Attribute)
    )


# --- where it is allowed


@pytest.mark.parametrize("installation", ["production", "development", "demo", "gia-lai"])
def test_an_installation_that_is_no_test_refuses_it(
    installation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refusal(installation) is None
    monkeypatch.setattr(crash_points, "crash_point", armed("after_write"))
    why = refusal(installation)
    assert why is not None
    assert VARIABLE in why
    assert installation in why


def test_a_test_installation_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crash_points, "crash_point", armed("after_write"))
    assert refusal("torture") is None


def test_a_worker_of_production_does_not_start_with_it() -> None:
    settings = {PREFIX + key: value for key, value in GOOD.items()}
    ended = run(
        [sys.executable, "-m", "streams.cli", "worker"],
        **settings,
        **{PREFIX + "ENVIRONMENT": "production", VARIABLE: "after_write:3"},
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 1, said
    assert VARIABLE in said
    assert "remove the variable" in said


# --- what it does


@pytest.mark.parametrize(
    "text",
    ["nowhere", "after_write:0", "after_write:x", "after_write:-1", "after_write=sleep", ":2"],
)
def test_a_text_that_means_nothing_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadCrashPoint, match=VARIABLE) as refused:
        armed(text)
    assert "after_settle" in str(refused.value)


@pytest.mark.parametrize(("text", "lived"), [("before_enlist", 1), ("before_enlist:2", 2)])
def test_it_dies_at_the_passage_that_is_named(text: str, lived: int) -> None:
    ended = run(passes("BEFORE_ENLIST"), **{VARIABLE: text})
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout.split() == [str(n) for n in range(1, lived + 1)]


def test_another_point_is_passed_unharmed() -> None:
    ended = run(passes("AFTER_ENLIST"), **{VARIABLE: "before_enlist"})
    assert (ended.returncode, ended.stdout.split()) == (0, ["1", "2", "3"])


def test_behind_a_write_it_dies_only_when_the_loop_has_had_its_turn() -> None:
    ended = run(passes("AFTER_WRITE", pause=5.0), **{VARIABLE: "after_write"})
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout.split() == ["1"]


async def test_behind_a_write_the_code_that_follows_still_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append(number))
    armed("after_write")(CrashPoint.AFTER_WRITE)
    assert killed == []
    async with asyncio.timeout(30):
        while not killed:
            await asyncio.sleep(0.001)
    assert killed == [signal.SIGKILL]


def test_it_freezes_where_it_is_told_to_and_goes_on_when_it_is_woken() -> None:
    process = subprocess.Popen(
        passes("AFTER_INTENT"),
        env=environment(**{VARIABLE: "after_intent:2=stop"}),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        end = time.monotonic() + 60
        while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate(timeout=60)
        assert (process.returncode, said.split()) == (0, ["1", "2", "3"])
    finally:
        process.kill()
        process.wait()
