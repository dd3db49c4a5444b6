"""Whether this process gets on: `/live`, `/ready` and `/metrics`.

`/live` is about progress, not about the process: a worker can run on after a coordinator error and
consume nothing. A part is not live when its loop has not turned for `stale_after` seconds, or when
records wait for it and it has finished none in that time, although nothing outside holds it up. An
outside system that is away never makes a part dead: killing the process would not bring it back.

`/ready` is about the start: every part has begun, and what the hub needs (ledger, topics) is there.

Both answer 200 or 503 with a JSON body that says why.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from monitoring.metrics import Metrics
from monitoring.redaction import describe, redact_text

STALE_AFTER_SECONDS = 60.0
_CHECK_SECONDS = 2.0
_LOOK_SECONDS = 5.0

Check = Callable[[], Awaitable[str | None]]
"""Asks for one thing that is needed: ``None`` when it is there, else the problem in plain words."""


@dataclass(slots=True)
class Progress:
    """What one part of the process has told, or is asked: see `Health.progress` and `Health.watch`."""

    since: float  # when the loop last turned
    moved: float  # when it last finished a record, or had nothing to do
    stale_after: float
    started: bool = False
    waits_for: str | None = None
    lag: int = 0
    done: int = 0
    ended: bool = False
    beats: Callable[[], int] | None = field(default=None, repr=False)
    last_beat: int = 0
    watched: Callable[[], str | None] | None = field(default=None, repr=False)
    work: Callable[[], tuple[int, int]] | None = field(default=None, repr=False)


class Health:
    """What the parts of one process report about themselves. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._parts: dict[str, Progress] = {}
        self._checks: dict[str, Check] = {}

    def expect(self, part: str, *, stale_after: float = STALE_AFTER_SECONDS) -> None:
        """This process has such a part: not ready before the part's `begun`, or its first `progress`."""
        now = self._clock()
        self._parts[part] = Progress(since=now, moved=now, stale_after=stale_after)

    def watch(
        self,
        part: str,
        beats: Callable[[], int],
        *,
        waits_for: Callable[[], str | None] | None = None,
        work: Callable[[], tuple[int, int]] | None = None,
        stale_after: float = STALE_AFTER_SECONDS,
    ) -> None:
        """Like `expect`, for a part that counts its own turns: it is looked at when asked.

        `work` tells `done` and `lag` as in `progress`; without it turning is all that counts.
        """
        self.expect(part, stale_after=stale_after)
        self._parts[part].beats = beats
        self._parts[part].last_beat = beats()
        self._parts[part].watched = waits_for
        self._parts[part].work = work

    def require(self, name: str, check: Check) -> None:
        """Readiness needs this; it is asked at every `/ready`, for at most two seconds."""
        self._checks[name] = check

    def begun(self, part: str) -> None:
        """A part is at work, though its loop has not turned yet."""
        self._parts[part].started = True

    def progress(
        self, part: str, *, done: int | None = None, lag: int = 0, waits_for: str | None = None
    ) -> None:
        """A part's loop has turned.

        `done` counts finished records since the start (a part without such a count leaves it out),
        `lag` how many wait for it, `waits_for` what outside the process holds it up.
        """
        now = self._clock()
        told = self._parts[part]
        told.since, told.started = now, True
        told.lag, told.waits_for = lag, waits_for
        if done is None or done != told.done or lag == 0 or waits_for is not None:
            told.moved = now
        if done is not None:
            told.done = done

    def ended(self, part: str) -> None:
        """A part has stopped in order and is no longer expected to move."""
        self._parts[part].ended = True

    def look(self) -> None:
        """Look at the parts that are watched. Whoever asks seldom would not see that they moved between."""
        now = self._clock()
        for told in self._parts.values():
            self._sample(told, now)

    def live(self) -> tuple[bool, dict[str, Any]]:
        """Whether every part gets on, and the body of `/live`."""
        self.look()
        now = self._clock()
        parts: dict[str, Any] = {}
        dead: list[str] = []
        for name, told in self._parts.items():
            why = self._stuck(told, now)
            if why is not None:
                dead.append(f"{name}: {why}")
            parts[
                str(name)
            ] = {  # orjson takes no other keys, and an enumeration's words are others
                "turned_seconds_ago": round(now - told.since, 1),
                "moved_seconds_ago": round(now - told.moved, 1),
                "lag": told.lag,
                "waits_for": told.waits_for,
                "ended": told.ended,
            }
        return not dead, {"live": not dead, "why": dead, "parts": parts}

    async def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether every part has begun and everything needed is there, and the body of `/ready`."""
        self.look()
        missing: list[str] = []
        for name, told in self._parts.items():
            if not told.started:
                missing.append(f"{name}: not started")
        answers = await asyncio.gather(*(_ask(check) for check in self._checks.values()))
        missing += [
            f"{name}: {redact_text(problem)}"
            for name, problem in zip(self._checks, answers, strict=True)
            if problem is not None
        ]
        return not missing, {"ready": not missing, "why": missing}

    def _sample(self, told: Progress, now: float) -> None:
        if told.beats is None:
            return
        if told.watched is not None:
            told.waits_for = told.watched()
        beat = told.beats()
        if beat != told.last_beat:
            told.last_beat = beat
            told.since = now
            told.started = True
        done, told.lag = told.work() if told.work is not None else (beat, 0)
        if done != told.done or told.lag == 0 or told.waits_for is not None:
            told.moved = now
        told.done = done

    def _stuck(self, told: Progress, now: float) -> str | None:
        if told.ended:
            return None
        if now - told.since > told.stale_after:
            return f"its loop has not turned for {now - told.since:.0f} s"
        if now - told.moved > told.stale_after:
            return f"{told.lag} records wait and none was finished for {now - told.moved:.0f} s"
        return None


async def _ask(check: Check) -> str | None:
    try:
        return await asyncio.wait_for(check(), _CHECK_SECONDS)
    except TimeoutError:
        return f"no answer within {_CHECK_SECONDS:.0f} s"
    except Exception as error:
        return describe(error)


class HealthServer:
    """Serves `/live`, `/ready` and `/metrics` on one host and port, and nowhere else.

    Port 0 takes a free one; `port` says which. `refresh` is awaited before the metrics are rendered, for
    figures that are read from the ledger; its failure leaves them as they were.
    """

    def __init__(
        self,
        health: Health,
        metrics: Metrics,
        *,
        host: str,
        port: int,
        refresh: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._host = host
        self._wanted = port
        self._refresh = refresh
        self._runner: web.AppRunner | None = None
        self._looking: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """Begin to serve. Raises `OSError` when the port is taken."""
        app = web.Application()
        app.router.add_get("/live", self._live)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._render)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._wanted).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self._looking = asyncio.create_task(self._look())
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop serving. Safe to call twice."""
        if self._looking is not None:
            self._looking.cancel()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _look(self) -> None:
        while True:
            self._health.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _live(self, _request: web.Request) -> web.Response:
        return _json(*self._health.live())

    async def _ready(self, _request: web.Request) -> web.Response:
        return _json(*await self._health.ready())

    async def _render(self, _request: web.Request) -> web.Response:
        if self._refresh is not None:
            await _ask(self._refresh)
        return web.Response(
            body=self._metrics.render(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )


def _json(fine: bool, body: dict[str, Any]) -> web.Response:
    return web.Response(
        status=200 if fine else 503, body=orjson.dumps(body), content_type="application/json"
    )
