"""The circuit of one target: when the target is in trouble nothing is sent, and nothing is parked (rule 11).

It opens after `failures_in_a_row` failures or when `share` of the last `window` calls failed. While it is
open a probe (log in, look one dossier up) is made every `probe_seconds`, backing off to `probe_max`;
the first good probe closes it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from connectors.errors import DeliveryError, MisconfiguredError, TransientError
from schemas.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitOptions:
    """Numbers of the circuit; times in seconds."""

    failures_in_a_row: int = 10
    window: int = 50
    share: float = 0.5
    probe_seconds: float = 15.0
    probe_max: float = 300.0


class Circuit:
    """Counts how calls end and holds calls back while the target is in trouble."""

    def __init__(
        self,
        options: CircuitOptions,
        probe: Callable[[], Awaitable[None]],
        changed: Callable[[bool, Reason | None], None],
    ) -> None:
        self._options = options
        self._probe = probe
        self._changed = changed
        self._in_a_row = 0
        self._last: deque[bool] = deque(maxlen=options.window)
        self._closed = asyncio.Event()
        self._closed.set()
        self._opened = asyncio.Event()
        self._hold = 0.0

    @property
    def is_open(self) -> bool:
        """Whether calls are held back."""
        return not self._closed.is_set()

    async def passage(self) -> None:
        """Return when calls may go out."""
        await self._closed.wait()

    def answered(self) -> None:
        """The target answered, be it yes or no."""
        self._in_a_row = 0
        self._last.append(True)

    def failed(self, error: DeliveryError) -> None:
        """A call did not get an answer that counts. `Retry-After` and a wrong set-up open it at once."""
        self._in_a_row += 1
        self._last.append(False)
        retry_after = error.retry_after if isinstance(error, TransientError) else None
        too_many = self._last.count(False) >= self._options.share * self._options.window
        if (
            self._in_a_row >= self._options.failures_in_a_row
            or too_many
            or retry_after is not None
            or isinstance(error, MisconfiguredError)
        ):
            self._open(error.reason, retry_after or 0.0)

    def _open(self, reason: Reason, hold: float) -> None:
        self._hold = max(self._hold, hold)
        if self.is_open:
            return
        self._closed.clear()
        self._opened.set()
        self._changed(True, reason)

    async def run(self) -> None:
        """Probe while it is open, until cancelled."""
        while True:
            await self._opened.wait()
            pause = self._options.probe_seconds
            while True:
                await asyncio.sleep(max(pause, self._hold))
                self._hold = 0.0
                try:
                    await self._probe()
                except Exception as error:  # also one that no sink should raise: shut, not dead
                    if isinstance(error, TransientError) and error.retry_after:
                        self._hold = error.retry_after
                    pause = min(pause * 2, self._options.probe_max)
                else:
                    break
            self._in_a_row = 0
            self._last.clear()
            self._opened.clear()
            self._closed.set()
            self._changed(False, None)
