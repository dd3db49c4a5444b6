"""One thread and one connection: how the ledger's transactions are run, retried and refused."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from schemas.ledger.dialect import for_reading, make_engine, sqlstate
from schemas.ledger.model import LedgerMismatch, LedgerUnavailable

T = TypeVar("T")

ATTEMPTS = 6
"""How often one transaction is tried when it loses against another (deadlock, serialisation)."""

_LOST_A_RACE = frozenset({"40001", "40P01"})
_NOT_OUR_TABLES = frozenset({"42P01", "42703"})

REMEDY = "run: thongsuot db upgrade"


class Lane:
    """Runs transactions one after the other in a thread of its own.

    A cancelled caller does not cancel its transaction: it may commit after the caller is gone, exactly
    as it may when the answer to COMMIT is lost. Every write of the ledger bears being repeated.
    """

    def __init__(self, url: str, name: str) -> None:
        self._engine = make_engine(url)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a writing transaction; it is run again when it loses a race."""
        return await self._submit(work, reading=False)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one snapshot that writes nothing."""
        return await self._submit(work, reading=True)

    async def close(self) -> None:
        """Finish what is queued, then close the connection and the thread."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._engine.dispose)
        self._thread.shutdown(wait=True)

    async def _submit(self, work: Callable[[Connection], T], *, reading: bool) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._run, work, reading)

    def _run(self, work: Callable[[Connection], T], reading: bool) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._once(work, reading)
            except DBAPIError as error:
                if sqlstate(error.orig) in _LOST_A_RACE and attempt < ATTEMPTS:
                    time.sleep(random.uniform(0.002, 0.02) * attempt)
                    continue
                raise _named(error) from error
            except PoolTimeout as error:
                raise LedgerUnavailable("the ledger's connection is still in use") from error
        raise AssertionError("unreachable")

    def _once(self, work: Callable[[Connection], T], reading: bool) -> T:
        with self._engine.connect() as connection:
            if reading:
                connection = for_reading(connection)
            with connection.begin():
                return work(connection)


def _named(error: DBAPIError) -> Exception:
    """The error in the ledger's own words; one that is a fault of ours stays as it is."""
    text = str(error.orig).partition("\n")[0]
    if sqlstate(error.orig) in _NOT_OUR_TABLES or text.startswith(("no such table", "no such col")):
        return LedgerMismatch(f"the ledger's tables are not those of this version: {REMEDY}")
    if error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError)):
        # The driver's text may name hosts, never rows: parameters are hidden.
        return LedgerUnavailable(
            f"the ledger does not answer ({type(error.orig).__name__}: {text})"
        )
    if isinstance(error, ProgrammingError) and "closed" in text:
        return LedgerUnavailable("the ledger's connection is closed")
    return error
