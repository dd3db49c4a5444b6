"""The one-stop simulator as a process: what it writes, how fast, and how far it may go."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import connect

from streams.demo.processes import end, start_simulator
from tests.torture import settings as common

_THROTTLE_SECONDS = 0.1
_PATIENCE = 3.0
"""A machine may be so many times as slow in delivering as the day is in being written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the one-stop simulator writes: about `events` events at `rate` a second.

    `warts`: how often each wart is played, where it is not in proportion to the day.
    """

    events: int = 3000
    rate: float = common.EVENTS_PER_SECOND
    seed: int = 20261123
    warts: Mapping[str, int] = field(default_factory=dict)

    @property
    def dossiers(self) -> int:
        """How many dossiers give so many events."""
        return max(60, round(self.events / common.EVENTS_PER_DOSSIER))

    @property
    def seconds(self) -> float:
        return self.events / self.rate

    def patience(self, least: float, share: float = 1.0) -> float:
        """How many seconds to wait until so much of the day is at the portal, at the very longest.

        `least`: for what takes as long however small the day is.
        """
        return least + _PATIENCE * share * self.seconds


class OneStop:
    """Prepared by `start`, it writes from `begin` on, up to the share of the day that is `allowed`."""

    def __init__(self, load: Load, url: str, journal: Path) -> None:
        self._load = load
        self._url = url
        self._journal = journal
        self._process: asyncio.subprocess.Process | None = None
        self._throttler: asyncio.Task[None] | None = None
        self.allowed = 1.0
        self.planned = 0
        """How many writes the whole day has."""

    @property
    def writing(self) -> bool:
        """Whether something of the day is still to be written."""
        return self._process is not None and self._process.returncode is None

    async def start(self, log: Path) -> None:
        """Make the tables and the plan; nothing is written yet."""
        load = self._load
        self._process, ready = await start_simulator(
            "connectors.one_stop.simulator",
            *("--url", self._url, "--journal", str(self._journal)),
            *("--seed", str(load.seed), "--dossiers", str(load.dossiers)),
            *("--seconds", str(load.seconds), "--wait"),
            *(word for name, n in load.warts.items() for word in ("--wart", f"{name}={n}")),
            log=log,
        )
        self.planned = ready["writes"]

    def begin(self) -> None:
        """Let it write."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._throttler = asyncio.create_task(self._throttle())

    async def end(self) -> None:
        """Stop it after the write in hand."""
        if self._throttler is not None:
            self._throttler.cancel()
            await asyncio.gather(self._throttler, return_exceptions=True)
        if self._process is not None:
            self._signal(signal.SIGCONT)
            await end(self._process)

    async def _throttle(self) -> None:
        held = False
        while self.writing:
            written, _ = await asyncio.to_thread(written_so_far, self._journal)
            hold = self.allowed < 1 and written >= self.allowed * self.planned
            if hold is not held:
                held = hold
                self._signal(signal.SIGSTOP if hold else signal.SIGCONT)
            await asyncio.sleep(_THROTTLE_SECONDS)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


def written_so_far(journal: Path) -> tuple[int, int]:
    """All commits of a journal, and the actions among them."""
    with closing(connect(f"file:{journal}?mode=ro", uri=True, timeout=30)) as db:
        written, actions = db.execute(
            "select count(*), coalesce(sum(write = 'action'), 0) from entries"
        ).fetchone()
        return int(written), int(actions)
