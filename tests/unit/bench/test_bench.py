"""The bench itself: it runs, its clock is right, and it does not report what did not happen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.bench.contenders import BenchFailed
from tests.bench.contest import Contest, Options
from tests.bench.machine import cpu_seconds

ROOT = Path(__file__).parents[3]


def test_a_small_run_says_everything_in_one_object() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.bench", "--calls", "20", "--rounds", "2"),
            *("--dossiers", "600", "--dossiers-on-sqlite", "600"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert set(said["contenders"]) == {"hub", "engine", "zeep", "lxml"}
    for figures in said["contenders"].values():
        assert len(figures["cpu_us_of_each_round"]) == 2
        assert all(value > 0 for name, value in figures.items() if name != "cpu_us_of_each_round")
    assert set(said["cpu_ratios"]) == {"hub/zeep", "hub/lxml", "engine/zeep", "hub/engine"}
    assert {"cores", "python"} <= set(said["machine"])
    counted = [one for one in said["counts"].values() if one is not None]
    assert said["counts"]["sqlite"] in counted
    for one in counted:
        assert (one["dossiers"], one["changed"], len(one["count_s_of_each_round"])) == (600, 10, 2)
        assert all(one[name] > 0 for name in ("count_s", "pass_s", "count/pass", "refresh_s"))


def test_the_clock_is_that_of_the_process() -> None:
    before = time.process_time()
    between = cpu_seconds(os.getpid())
    after = time.process_time()
    assert before <= between <= after


def test_the_clock_of_no_process_is_an_error() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    with pytest.raises(ProcessLookupError):
        cpu_seconds(gone.pid)


class HeldByPortal:
    """A portal that says what it is told to say."""

    def __init__(self, codes: Sequence[str], notes: Sequence[str], writes: int) -> None:
        self._held = [
            {"code": code, "created_at": 1.0, "fields": {"MaHoSo": code, "GhiChu": note}}
            for code, note in zip(codes, notes, strict=True)
        ]
        self._writes = writes

    async def dossiers(self) -> Sequence[Mapping[str, Any]]:
        return self._held

    async def summary(self) -> Mapping[str, Any]:
        return {"creations": len(self._held), "calls": {"create": self._writes}}


@pytest.mark.parametrize(
    ("codes", "notes", "writes"),
    [
        (["H12-ZEEP-000000"], ["a"], 1),  # one of two is missing
        (["H12-ZEEP-000000", "H12-ZEEP-000001"], ["a", "b"], 2),  # two contents
        (["H12-ZEEP-000000", "H12-ZEEP-000001"], ["a", "a"], 3),  # a call too many
    ],
)
async def test_what_the_portal_did_not_see_is_not_reported(
    codes: Sequence[str], notes: Sequence[str], writes: int
) -> None:
    with pytest.raises(BenchFailed):
        await contest().look_at_truth(HeldByPortal(codes, notes, writes), 2)


async def test_what_the_portal_saw_is_taken_note_of() -> None:
    held = HeldByPortal(["H12-ZEEP-000000", "H12-ZEEP-000001"], ["a", "a"], 2)
    one = contest()
    await one.look_at_truth(held, 2)
    assert one.created_at == {"zeep": {0: 1.0, 1: 1.0}}


def contest() -> Contest:
    options = Options(names=["zeep"], calls=1, rounds=1, memory=Path(), disk=Path())
    return Contest(options, say=lambda _: None)
