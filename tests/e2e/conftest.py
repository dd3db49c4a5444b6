"""One small day, played once, looked at by many tests."""

import asyncio

import pytest

from streams.demo.day import DayOptions
from tests.e2e.played import PlayedDay, play

SMALL = DayOptions(dossiers=60, seconds=10.0)


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> PlayedDay:
    return asyncio.run(play(tmp_path_factory.mktemp("day"), SMALL))
