"""A look at a contender's ledger from outside: whether everything it owed is settled."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

from schemas.ledger.migrate import upgrade
from schemas.ledger.sql import SqlLedger
from tests.bench.load import MAPPINGS

_LOOK_SECONDS = 0.05
_LONGEST_SECONDS = 600.0

_SETTLED = """
SELECT
    (SELECT count(*) FROM deliveries WHERE state = 'delivered'),
    (SELECT count(*) FROM deliveries WHERE receipt = 'owed'),
    (SELECT count(*) FROM dossier_target WHERE runnable)
"""


class NotSettled(RuntimeError):
    """Not everything was delivered in time."""


class LedgerView:
    """One contender's SQLite ledger. `owed` counts the deliveries that must reach their end."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._path = url.removeprefix("sqlite:///")
        self.owed = 0

    async def make(self) -> None:
        """An empty ledger with the code mappings."""
        await asyncio.to_thread(upgrade, self._url)
        async with SqlLedger(self._url) as ledger:
            await ledger.put_mappings(MAPPINGS)

    async def until_settled(self, *, receipts: bool, alive: Callable[[], None]) -> None:
        """Until all is delivered and the engine idle; with `receipts`, until those are published.

        Raises `NotSettled`, and what `alive` raises.
        """
        end = time.monotonic() + _LONGEST_SECONDS
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as connection:
            while True:
                delivered, unpublished, runnable = connection.execute(_SETTLED).fetchone()
                if delivered == self.owed and not runnable and not (receipts and unpublished):
                    return
                alive()
                if time.monotonic() > end:
                    raise NotSettled(f"{delivered} of {self.owed} delivered; ledger {self._path}")
                await asyncio.sleep(_LOOK_SECONDS)
