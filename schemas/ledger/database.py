"""One thread and one connection: how the ledger's transactions are run, retried and refused."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from schemas.ledger.dialect import for_reading, make_engine
from schemas.ledger.faults import lost_a_race, raise_named
from schemas.ledger.model import LedgerUnavailable

T = TypeVar("T")

ANSWER_SECONDS = 15.0
"""How long a caller waits for its transaction: a frozen server neither answers nor breaks the connection."""

ATTEMPTS = 6
"""How often one transaction is tried when it loses against another (deadlock, serialisation)."""


class Lane:
    """Runs transactions one after the other in a thread of its own.

    A caller gets `LedgerUnavailable` after `seconds`, unless it or the whole lane (None) is unhurried.
    A cancelled caller does not cancel its transaction: it may commit after the caller is gone, exactly
    as it may when the answer to COMMIT is lost. Every write of the ledger bears being repeated.
    """

    def __init__(
        self,
        url: str,
        name: str,
        session: str = "",
        *,
        seconds: float | None = ANSWER_SECONDS,
    ) -> None:
        self._seconds = seconds
        self.guard: Callable[[Connection], None] | None = None
        """Looks at every new connection, and at a SQLite file before every transaction; may refuse it."""
        self._engine = make_engine(url, session)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def write(self, work: Callable[[Connection], T], *, unhurried: bool = False) -> T:
        """Run `work` in a writing transaction; it is run again when it loses a race."""
        return await self._submit(work, reading=False, unhurried=unhurried)

    async def read(self, work: Callable[[Connection], T], *, unhurried: bool = False) -> T:
        """Run `work` in one snapshot that writes nothing."""
        return await self._submit(work, reading=True, unhurried=unhurried)

    async def close(self) -> None:
        """Finish what is queued, then close the connection and the thread."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._engine.dispose)
        self._thread.shutdown(wait=True)

    async def _submit(
        self, work: Callable[[Connection], T], *, reading: bool, unhurried: bool
    ) -> T:
        seconds = None if unhurried else self._seconds
        loop = asyncio.get_running_loop()
        answer = loop.run_in_executor(self._thread, self._run, work, reading)
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            # Where it has not begun yet it never will; else it is as if the answer to COMMIT were lost.
            raise LedgerUnavailable(f"the ledger did not answer within {seconds} s") from None

    def _run(self, work: Callable[[Connection], T], reading: bool) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._once(work, reading)
            except DBAPIError as error:
                if lost_a_race(error) and attempt < ATTEMPTS:
                    time.sleep(random.uniform(0.002, 0.02) * attempt)
                    continue
                raise_named(error)
            except PoolTimeout as error:
                raise LedgerUnavailable("the ledger's connection is still in use") from error
            except (StatementError, UnicodeError, OverflowError) as error:
                raise_named(error)
        raise AssertionError("unreachable")

    def _once(self, work: Callable[[Connection], T], reading: bool) -> T:
        with self._engine.connect() as connection:
            if reading:
                connection = for_reading(connection)
            with connection.begin():
                if self.guard is not None:
                    self.guard(connection)
                return work(connection)
