"""Waiting a bounded time for the ledger or the schema registry, inside a flow's body.

A body must not return undone, and must not wait for ever either: it would hold up its consumer group.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from monitoring.events import Events
from schemas.ledger.model import LedgerUnavailable
from schemas.registry import RegistryUnavailable

_T = TypeVar("_T")

PATIENCE_SECONDS = 20.0
_PAUSE_SECONDS = 0.5


class Lost(Exception):
    """The ledger or the registry did not answer in time: the flow starts anew when it does."""


class Patience:
    """Does something again and again while its counterpart is away, for at most `seconds`."""

    def __init__(self, flow: str, events: Events, seconds: float = PATIENCE_SECONDS) -> None:
        self.seconds = seconds
        self._flow = flow
        self._events = events

    async def __call__(self, action: Callable[[], Awaitable[_T]]) -> _T:
        """The result of `action`. Raises `Lost`, and whatever else `action` raises."""
        end = time.monotonic() + self.seconds
        while True:
            try:
                async with asyncio.timeout(max(end - time.monotonic(), _PAUSE_SECONDS)):
                    return await action()
            except TimeoutError as error:
                raise Lost("no answer") from error
            except (LedgerUnavailable, RegistryUnavailable) as error:
                if time.monotonic() + _PAUSE_SECONDS > end:
                    raise Lost(type(error).__name__) from error
                self._events.ledger_unavailable(
                    flow=self._flow, error=type(error).__name__, wait=_PAUSE_SECONDS
                )
                await asyncio.sleep(_PAUSE_SECONDS)
