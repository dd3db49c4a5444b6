"""Two days, played once each and looked at by many tests: a small one, and one five times as long."""

import asyncio

import pytest

from streams.demo.day import DayOptions
from tests.e2e.played import Commanded, PlayedDay, command, play

SMALL = DayOptions(dossiers=60, seconds=10.0)
TIMES = 5


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> PlayedDay:
    """The small day, with what it left everywhere."""
    return asyncio.run(play(tmp_path_factory.mktemp("day"), SMALL))


@pytest.fixture(scope="session")
def commanded(tmp_path_factory: pytest.TempPathFactory) -> Commanded:
    """The long day, played by the command that everybody types."""
    folder = tmp_path_factory.mktemp("command")
    ended = command(
        *("demo", "--exit", "--json", "--one-process", "--folder", str(folder)),
        *("--dossiers", str(TIMES * SMALL.dossiers), "--seconds", "16"),
        timeout=240,
    )
    return Commanded(folder=folder, ended=ended)
