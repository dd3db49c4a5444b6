"""A database with its tables made once: making them is slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.one_stop_database import sqlite_world


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "onestop.db"
    world = sqlite_world(path)
    with world.engine.connect() as connection:
        connection.exec_driver_sql("pragma wal_checkpoint(truncate)")
    world.engine.dispose()
    return path
