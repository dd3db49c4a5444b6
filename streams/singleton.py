"""One of a kind among all processes: an epoch row of the ledger that its owner must keep beating.

Who stands by takes the row when it was released, or when its owner has not beaten for `silence` seconds
by the database's clock. An owner that was only frozen finds out at its next write: every write of a
singleton checks the epoch.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from schemas.ledger.model import CaptureLedger, LedgerUnavailable, SingletonFence, StaleOwner

_BEATS_PER_SILENCE = 5
_RELEASE_SECONDS = 5.0


class Singleton:
    """The row `name`, as `owner` sees it. Times in seconds."""

    def __init__(self, ledger: CaptureLedger, name: str, owner: str, *, silence: float) -> None:
        self._ledger = ledger
        self._name = name
        self._owner = owner
        self._silence = silence

    async def take(self) -> SingletonFence | None:
        """Become the only one; ``None`` while another one lives. Raises `LedgerUnavailable`."""
        return await self._ledger.take_silent_singleton(self._name, self._owner, self._silence)

    @asynccontextmanager
    async def kept(self, fence: SingletonFence) -> AsyncIterator[asyncio.Event]:
        """Beat while inside, whatever the owner waits for, and release the row behind.

        Yields an event that is set when another one has taken the row.
        """
        lost = asyncio.Event()
        beating = asyncio.create_task(self._beat(fence, lost))
        try:
            yield lost
        finally:
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating
            with suppress(LedgerUnavailable, TimeoutError):
                await asyncio.wait_for(self._ledger.release_singleton(fence), _RELEASE_SECONDS)

    async def _beat(self, fence: SingletonFence, lost: asyncio.Event) -> None:
        try:
            while True:
                await asyncio.sleep(self._silence / _BEATS_PER_SILENCE)
                # While the ledger is away nobody else can take the row either.
                with suppress(LedgerUnavailable):
                    await self._ledger.beat_singleton(fence)
        except StaleOwner:
            pass
        finally:
            lost.set()
