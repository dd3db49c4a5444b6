"""The portal's session: cached, renewed before its end and after a session error, by one task for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Session:
    """Hands out the session in force. Times in seconds of `clock`."""

    def __init__(
        self,
        log_in: Callable[[], Awaitable[str]],
        clock: Callable[[], float],
        *,
        lifetime: float,
        margin: float,
    ) -> None:
        self._log_in = log_in
        self._clock = clock
        self._lifetime = lifetime
        self._margin = margin
        self._value: str | None = None
        self._ends = 0.0
        self._renewal: asyncio.Task[str] | None = None

    def __repr__(self) -> str:
        return "Session(…)"

    async def get(self) -> str:
        """The session, after a login where there is none. Raises what the login raises.

        Within the margin before its end the old one still serves while the new one is fetched.
        """
        now = self._clock()
        if self._value is not None and now < self._ends:
            if now >= self._ends - self._margin:
                self._renew()
            return self._value
        # Shielded: whoever gives up waiting must not take the login away from the others.
        return await asyncio.shield(self._renew())

    def lost(self, value: str) -> None:
        """The portal no longer knows `value`: begin to fetch another, unless that has happened."""
        if self._value == value:
            self._value = None
            self._renew()

    async def close(self) -> None:
        task, self._renewal = self._renewal, None
        self._value = None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def _renew(self) -> asyncio.Task[str]:
        if self._renewal is None:
            self._renewal = asyncio.get_running_loop().create_task(self._fetch())
            self._renewal.add_done_callback(self._done)
        return self._renewal

    async def _fetch(self) -> str:
        began = self._clock()
        value = await self._log_in()
        self._value = value
        self._ends = began + self._lifetime
        return value

    def _done(self, task: asyncio.Task[str]) -> None:
        if self._renewal is task:
            self._renewal = None
        if not task.cancelled():
            task.exception()  # looked at: nobody may be waiting for a renewal in the background
