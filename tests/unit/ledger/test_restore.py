"""The restore contract on SQLite, and what only a file can show."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from schemas.ledger.migrate import upgrade
from schemas.ledger.model import LedgerReplaced, LedgerUnavailable
from schemas.ledger.sql import SqlLedger
from tests.contract.ledger_contract import Desk, make_event
from tests.contract.restore_contract import Open, RestoreContract


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "ledger.db"
    upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture
async def open_ledger(path: Path) -> AsyncIterator[Open]:
    async with AsyncExitStack() as opened:

        async def open_it() -> SqlLedger:
            return await opened.enter_async_context(SqlLedger(f"sqlite:///{path}"))

        yield open_it


class TestSqliteRestore(RestoreContract):
    @pytest.fixture
    async def open_ledger(self, open_ledger: Open) -> Open:
        return open_ledger


def copy(file: Path, to: Path) -> None:
    with closing(sqlite3.connect(file)) as here, closing(sqlite3.connect(to)) as there:
        here.backup(there)


async def test_a_file_that_was_put_back_is_recognised(path: Path, open_ledger: Open) -> None:
    async with SqlLedger(f"sqlite:///{path}") as ledger:
        assert not ledger.identity.changed
    copy(path, path.with_name("copy.db"))
    os.replace(path.with_name("copy.db"), path)
    assert (await open_ledger()).identity.changed


async def test_a_process_notices_that_its_file_was_replaced(path: Path, open_ledger: Open) -> None:
    ledger = await open_ledger()
    desk = await Desk.open(ledger)
    await desk.put(make_event("e1"))
    copy(path, path.with_name("copy.db"))
    os.rename(path, path.with_name("away.db"))
    with pytest.raises(LedgerUnavailable, match="not there"):
        await ledger.now()
    os.rename(path.with_name("copy.db"), path)
    with pytest.raises(LedgerReplaced):
        await desk.put(make_event("e2"))
    with pytest.raises(LedgerReplaced):
        await desk.runnable()


async def test_a_file_in_its_old_place_again_goes_on(path: Path, open_ledger: Open) -> None:
    ledger = await open_ledger()
    os.rename(path, path.with_name("away.db"))
    with pytest.raises(LedgerUnavailable):
        await ledger.now()
    os.rename(path.with_name("away.db"), path)
    await Desk.open(ledger)
