"""The source contract on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from tests.contract.source_contract import SourceContract
from tests.one_stop_database import World, copied_world, sqlite_world


class TestOneStopOnSqlite(SourceContract):
    @pytest.fixture
    async def world(self, template: Path, tmp_path: Path) -> AsyncIterator[World]:
        world = copied_world(template, tmp_path / "onestop.db")
        yield world
        await world.close()

    @pytest.fixture
    async def wrong_password(self, tmp_path: Path) -> AsyncIterator[World]:
        """A file has no account: what comes nearest is one that is no database."""
        path = tmp_path / "notes.txt"
        path.write_text("this is no database " * 100)
        world = sqlite_world(tmp_path / "right.db")
        world.settings = world.settings.model_copy(
            update={"url": type(world.settings.url)(f"sqlite:///{path}")}
        )
        yield world
        await world.close()

    @pytest.fixture
    async def unreachable(self, template: Path, tmp_path: Path) -> AsyncIterator[World]:
        """Another process holds the file for itself."""
        world = copied_world(template, tmp_path / "locked.db")
        with world.engine.connect() as connection:
            connection.exec_driver_sql("pragma journal_mode=delete")
        world.engine.dispose()
        holder = create_engine(f"sqlite:///{tmp_path / 'locked.db'}")
        with holder.connect() as connection:
            connection.exec_driver_sql("begin exclusive")
            yield world
        holder.dispose()
        await world.close()
