"""The one thread that works on the truth: one piece of work after another, many to a commit.

A commit waits for the disk for milliseconds, so the work of all calls that are in flight shares one, and
the event loop goes on reading meanwhile. A piece of work is all or nothing; its result is handed back
when it is durable.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

_LARGEST_BATCH = 200


class Store(Protocol):
    """A simulator's truth, as far as the desk knows it."""

    def transaction(self) -> AbstractContextManager[None]: ...

    def part(self) -> AbstractContextManager[None]: ...


@dataclass(slots=True)
class _Work:
    do: Callable[[], Any]
    done: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Desk:
    """Runs work in order of arrival, in transactions of the truth."""

    def __init__(self, truth: Store) -> None:
        self._truth = truth
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._serve, name="portal-truth", daemon=True)
        self._thread.start()

    async def run(self, do: Callable[[], T]) -> T:
        """Do it in a transaction; returns when it is durable. Raises what it raises, undone."""
        work = _Work(do, self._loop.create_future())
        self._queue.put(work)
        result: T = await work.done
        return result

    async def close(self) -> None:
        """Finish what was handed in."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _serve(self) -> None:
        while True:
            batch = self._batch()
            works = [work for work in batch if work is not None]
            if works:
                self._commit(works)
                self._loop.call_soon_threadsafe(_hand_back, works)
            if len(works) < len(batch):
                return

    def _batch(self) -> list[_Work | None]:
        batch = [self._queue.get()]
        while batch[-1] is not None and len(batch) < _LARGEST_BATCH:
            try:
                batch.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return batch

    def _commit(self, works: list[_Work]) -> None:
        try:
            with self._truth.transaction():
                for work in works:
                    try:
                        with self._truth.part():
                            work.result = work.do()
                    except Exception as exc:
                        work.error = exc
        except Exception as exc:  # the commit itself: nothing of the batch is there
            for work in works:
                work.error = work.error or exc


def _hand_back(works: list[_Work]) -> None:
    for work in works:
        if work.done.done():  # its caller was cancelled
            continue
        if work.error is not None:
            work.done.set_exception(work.error)
        else:
            work.done.set_result(work.result)
