"""Every scenario, in the order in which they are played."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from importlib.util import find_spec

from tests.torture.scenario import Scenario

MODULES = (
    "kill",
    "crash",
    "soap_grid",
    "broker_grid",
    "ledger_grid",
    "sqlite_grid",
    "restore_grid",
    "source_grid",
    "outage",
    "reporting",
    "soak",
)
"""Modules of this folder that offer `SCENARIOS`; the rows of the torture."""


def scenarios() -> tuple[Scenario, ...]:
    """All of them. Raises `ValueError` when two have one name."""
    found: dict[str, Scenario] = {}
    for module in MODULES:
        name = f"{__package__}.{module}"
        if find_spec(name) is None:
            continue
        for scenario in import_module(name).SCENARIOS:
            if scenario.name in found:
                raise ValueError(f"two scenarios are called {scenario.name}")
            found[scenario.name] = scenario
    return tuple(found.values())


def chosen(
    *, only: Collection[str] = (), rows: Collection[str] = (), core: bool = False
) -> tuple[Scenario, ...]:
    """Those with these names, of these rows, of the core.

    Raises `ValueError` for an unknown name or row, and when nothing is left: an empty run would pass.

    Those that need a cluster of three brokers come last, so that the single one stands until then.
    """
    every = scenarios()
    for what, given, known in (
        ("scenario", only, {s.name for s in every}),
        ("row", rows, {s.row for s in every}),
    ):
        for name in given:
            if name not in known:
                raise ValueError(f"no {what} is called {name}; known: {', '.join(sorted(known))}")
    picked = [
        s
        for s in every
        if (not only or s.name in only) and (not rows or s.row in rows) and (not core or s.core)
    ]
    if not picked:
        raise ValueError("no scenario is all of this at once: see --list without a choice")
    return tuple(sorted(picked, key=lambda s: s.brokers))
