"""The engine's real shell under 100,000 drawn schedules, judged by what the target holds."""

from __future__ import annotations

import gc
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest

from connectors.protocols import Lookup
from schemas.reasons import Reason
from streams.engine import shell as real_shell
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.schedule import World, run_schedule

FIRST = int(os.environ.get("SIMULATION_FIRST_SEED", "0"))
SCHEDULES = int(os.environ.get("SIMULATION_SCHEDULES", "100000"))
BLOCK = 1000


Wrong = list[tuple[int, list[str]]]


def _block(first: int) -> tuple[Wrong, Counter[Reason]]:
    gc.disable()  # a schedule's garbage is collected at its block's end: a fifth quicker
    late: Counter[Reason] = Counter()
    seeds = range(first, first + BLOCK)
    wrong = [(seed, found) for seed in seeds if (found := run_schedule(seed, found=late))]
    gc.enable()
    gc.collect()
    return wrong, late


@pytest.mark.timeout(1800)
def test_no_schedule_loses_doubles_or_reorders_anything() -> None:
    """Each seed is a world of crashes, freezes, second owners, lost answers and late effects.

    In a quarter of them effects come later than the target's bound: the judge demands that each that can
    be seen is found, once, and that the state ends right.

    A failing seed is printed: `SIMULATION_FIRST_SEED=<seed> SIMULATION_SCHEDULES=1000` plays it again.
    """
    firsts = range(FIRST, FIRST + SCHEDULES, BLOCK)
    wrong: Wrong = []
    late: Counter[Reason] = Counter()
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        for found, found_late in pool.map(_block, firsts):
            wrong += found
            late += found_late
    print(f"seeds {FIRST} to {FIRST + len(firsts) * BLOCK - 1}: {len(wrong)} wrong")
    print("late effects found:", ", ".join(f"{n} {reason}" for reason, n in sorted(late.items())))

    assert wrong[:5] == []


def test_late_effects_come_and_are_found() -> None:
    """Otherwise the judge's demand that they be found would say nothing."""
    late: Counter[Reason] = Counter()
    for seed in range(3000):
        world = World(seed, real_shell)
        if world.late and world.abilities.lookup is Lookup.STEPS:
            run_schedule(seed, found=late)

    assert set(late) == {Reason.LATE_CREATE, Reason.LATE_STATE, Reason.STEP_TWICE}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_rule_is_caught(mutant: Mutant) -> None:
    """The judge would see it at the target, if this rule of the engine were broken."""
    shell = mutant.load()
    for seed in range(20_000):
        try:
            wrong = run_schedule(seed, shell)
        except Exception:  # an engine that falls over says nothing about the judge: play on
            continue
        if wrong:
            print(f"{mutant.name}: caught by seed {seed}: {wrong[0][:120]}")
            return
    pytest.fail(f"{mutant.name}: 20,000 schedules did not notice")


def test_the_original_loaded_as_a_mutant_is_sound() -> None:
    """What the mutants show is their broken rule, not the way in which they are loaded."""
    sound = Mutant(
        name="none",
        module="shell",
        old="class Engine(Generic[E]):",
        new="class Engine(Generic[E]):",
    ).load()

    assert [wrong for seed in range(500) if (wrong := run_schedule(seed, sound))] == []
