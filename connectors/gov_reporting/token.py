"""The access token: cached, renewed before its end and after a 401, by one task for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

_REFUSED_IN_A_ROW = 3
"""So many tokens, each fresh, refused one after the other without a call that was let in: no expiry."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A token as its issuer gave it; `seconds`: how long it holds."""

    value: str
    seconds: float

    def __repr__(self) -> str:
        return "Issued(…)"


class Token:
    """Hands out the token in force. Times in seconds of `clock`."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Issued]],
        clock: Callable[[], float],
        *,
        margin: float,
    ) -> None:
        self._fetch_one = fetch
        self._clock = clock
        self._margin = margin
        self._value: str | None = None
        self._ends = 0.0
        self._renew_at = 0.0
        self._renewal: asyncio.Task[str] | None = None
        self._refused = 0

    def __repr__(self) -> str:
        return "Token(…)"

    async def get(self) -> str:
        """The token, after fetching one where there is none. Raises what the fetching raises.

        Within the margin before its end the old one still serves while the new one is fetched.
        """
        now = self._clock()
        if self._value is not None and now < self._ends:
            if now >= self._renew_at:
                self._renew()
            return self._value
        # Shielded: whoever gives up waiting must not take the renewal away from the others.
        return await asyncio.shield(self._renew())

    def taken(self, value: str) -> None:
        """A call with this token was let in."""
        if self._value == value:
            self._refused = 0

    def lost(self, value: str) -> bool:
        """A call with this token met 401: begin to fetch another, unless that has happened.

        False: fresh tokens are refused one after the other, so another one will not help.
        """
        if self._value == value:
            self._value = None
            self._refused += 1
            self._renew()
        return self._refused < _REFUSED_IN_A_ROW

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
        issued = await self._fetch_one()
        self._value = issued.value
        self._ends = began + issued.seconds
        self._renew_at = self._ends - min(self._margin, issued.seconds / 4)
        return issued.value

    def _done(self, task: asyncio.Task[str]) -> None:
        if self._renewal is task:
            self._renewal = None
        if not task.cancelled():
            task.exception()  # looked at: nobody may be waiting for a renewal in the background
