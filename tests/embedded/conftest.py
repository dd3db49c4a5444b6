"""What the tests on the embedded broker share."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Faust leaves the connections of a consumer that it stopped to the garbage collector.
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(
                pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
            )


@pytest.fixture(autouse=True)
def _leave_no_connection_to_the_next_test() -> Iterator[None]:
    yield
    gc.collect()
