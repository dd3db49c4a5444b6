"""An event loop whose clock jumps: a minute of waiting takes microseconds, and every run is the same."""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any


class Stuck(Exception):
    """The virtual time is over, or nothing is left that could ever happen."""


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs callbacks in order and jumps to the next timer when there are none."""

    def __init__(self) -> None:
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._now = 0.0
        self._count = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self.unhandled: list[dict[str, Any]] = []

    def time(self) -> float:
        return self._now

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], **kwargs: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, **kwargs)
        self._tasks.append(task)
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.unhandled.append(context)

    def run(self, main: Coroutine[Any, Any, Any], until: float) -> Any:
        """Run `main` to its end, at most up to the virtual second `until`; raises `Stuck`."""
        events._set_running_loop(self)
        try:
            task = self.create_task(main)
            ready, timers = self._ready, self._timers
            while not task.done():
                while ready:
                    handle = ready.popleft()
                    if not handle._cancelled:
                        handle._run()
                if task.done():
                    break
                if not timers:
                    raise Stuck("nothing is left that could happen")
                when, _, timer = heapq.heappop(timers)
                if timer._cancelled:
                    continue
                if when > until:
                    raise Stuck(f"not quiet after {until:g} virtual seconds")
                self._now = max(self._now, when)
                ready.append(timer)
            return task.result()
        finally:
            events._set_running_loop(None)

    def bury(self) -> None:
        """Cancel every task and let each end, so that none is collected half-way."""
        events._set_running_loop(self)
        try:
            for _ in range(10):
                left = [task for task in self._tasks if not task.done()]
                if not left:
                    break
                for task in left:
                    task.cancel()
                while self._ready:
                    handle = self._ready.popleft()
                    if not handle._cancelled:
                        handle._run()
            for task in self._tasks:
                if task.done() and not task.cancelled():
                    task.exception()
        finally:
            events._set_running_loop(None)
