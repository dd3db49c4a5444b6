"""What every process of the hub must keep fresh: the code mappings and the data keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from schemas.dossier.mappings import Codes
from schemas.ledger.model import Ledger, LedgerUnavailable
from schemas.sealing import Sealer, key_id_of

_EVERY_SECONDS = 5.0
_KEYS_EVERY_SECONDS = 300.0
_AHEAD = timedelta(days=1)


class Upkeep:
    """Holds the newest `codes` and keeps `sealer` one day ahead of a new month."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        sealer: Sealer,
        wall: Callable[[], datetime],
        every: float = _EVERY_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._sealer = sealer
        self._wall = wall
        self._every = every
        self._codes = Codes()
        self._version: int | None = None
        self._reissue = False
        self._keys_at = 0.0
        self._stop = asyncio.Event()
        self.beats = 0
        """Raised at every turn of the loop: liveness watches that it moves."""

    def codes(self) -> Codes:
        """The mappings as last read."""
        return self._codes

    async def read_codes(self) -> None:
        """Read the mappings now. Raises `LedgerUnavailable`.

        Another process may have entered a row and set parked deliveries free while this one still looked
        codes up in the old rows, and parked them again: so they are set free once more, at once and at
        the next reading (a dossier in hand keeps the old rows for a moment).
        """
        version, rows = await self._ledger.mapping_rows()
        again, self._reissue = self._reissue, False
        if version != self._version:
            self._reissue = self._version is not None
            self._version, self._codes = version, Codes(rows, version)
        if again or self._reissue:
            await self._ledger.put_mappings(())

    def stop(self) -> None:
        """Let `run` return."""
        self._stop.set()

    async def run(self) -> None:
        """Read again and again until `stop`."""
        while not self._stop.is_set():
            self.beats += 1
            with suppress(LedgerUnavailable):  # who needs it to go on waits and reports by itself
                await self._ledger.still_the_same()
                await self.read_codes()
                await self._look_after_keys()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._every)

    async def _look_after_keys(self) -> None:
        if time.monotonic() < self._keys_at:
            return
        now = self._wall()
        if key_id_of(now + _AHEAD) != key_id_of(now):
            # Made before it is used, so that every process has it when the first one seals with it.
            await self._sealer.refresh(now + _AHEAD)
        await self._sealer.refresh(now)
        self._keys_at = time.monotonic() + _KEYS_EVERY_SECONDS
