from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.one_stop_simulator.playing import Stage, stage


@pytest.fixture(scope="session")
def full_day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The default day, played to its end once for all tests that only read it."""
    played = stage(tmp_path_factory.mktemp("full_day"))
    for _ in played.simulator.play():
        pass
    yield played
    played.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Stage]:
    """An empty day, for lives played by hand."""
    empty = stage(tmp_path, dossiers=0)
    yield empty
    empty.close()
