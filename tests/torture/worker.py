"""One `thongsuot worker` as a process of its own: started, stopped, killed, frozen and woken by name."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from monitoring.crash_points import VARIABLE
from streams.demo.processes import free_port, last_line
from streams.settings import PREFIX

READY_SECONDS = 90.0
STOP_SECONDS = 40.0
_NOT_STARTED = 1


class WorkerTrouble(RuntimeError):
    """A worker did not do what it was asked to; the text holds its last line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """A worker that ended without being told to."""

    worker: str
    status: int
    at: float  # seconds since the epoch
    crash: str  # the crash point it was started with
    said: str


class Worker:
    """`parts`: what it runs, none named for all; `log` gathers all of its starts."""

    def __init__(
        self, name: str, log: Path, *, parts: Collection[str] = (), port: int | None = None
    ) -> None:
        self.name = name
        self.log = log
        self.parts = tuple(parts)
        self.port = port or free_port()
        self.environment: dict[str, str] = {}
        """Settings of this worker alone, without the prefix."""
        self.crash = ""
        """What the crash variable of its next start says."""
        self.wrapper: tuple[str, ...] = ()
        """Words before the command, for instance faketime with its options."""
        self.wanted = False
        self.comes_back = False
        """Whether it is dead and will be started again by whoever supervises it."""
        self.frozen = False
        self.starts = 0
        self._lock = asyncio.Lock()
        """Starting takes a moment, in which nobody else may start or end it."""
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """A frozen worker runs too."""
        return self._process is not None and self._process.returncode is None

    @property
    def status(self) -> int | None:
        """How it ended; None while it runs. Negative: the signal."""
        return None if self._process is None else self._process.returncode

    async def start(self, environment: Mapping[str, str]) -> None:
        """Start it; returns before it is ready."""
        async with self._lock:
            await self._start(environment)

    async def start_again(self, environment: Mapping[str, str]) -> bool:
        """Start it unless somebody has decided otherwise since it died."""
        async with self._lock:
            if self.comes_back:
                await self._start(environment)
                return True
        return False

    async def _start(self, environment: Mapping[str, str]) -> None:
        if self.running:
            raise WorkerTrouble(f"{self.name} runs already")
        own = {PREFIX + key: value for key, value in self.environment.items()}
        own[PREFIX + "MONITORING__PORT"] = str(self.port)
        if self.crash:
            own[VARIABLE] = self.crash
        with self.log.open("ab") as out:
            self._process = await asyncio.create_subprocess_exec(
                *(*self.wrapper, sys.executable, "-m", "streams.cli", "worker"),
                *(word for part in self.parts for word in ("--only", part)),
                env={**environment, **own},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.wanted, self.comes_back, self.frozen = True, False, False
        self.starts += 1

    async def ready(self, http: aiohttp.ClientSession, *, or_ended: bool = False) -> None:
        """Until it says that all its parts are at work, or (if that will do) is stopped, dead or frozen.

        Raises `WorkerTrouble`.
        """
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            if self.status == _NOT_STARTED:
                break  # it says why, and would say it again
            if or_ended and (not self.running or self._stopped()):
                return
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                limit = aiohttp.ClientTimeout(total=3)
                url = f"http://127.0.0.1:{self.port}/ready"
                async with http.get(url, timeout=limit) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)
        raise WorkerTrouble(f"{self.name} was not ready: {last_line(self.log)}")

    async def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        self.wanted = self.comes_back = False
        async with self._lock:
            self.wanted = False
            if self.running:
                assert self._process is not None
                self._process.kill()
                await self._process.wait()

    async def stop(self) -> int:
        """SIGTERM; returns the exit status. Raises `WorkerTrouble` when it does not end in time."""
        self.wanted = self.comes_back = False
        async with self._lock:
            self.wanted = False
            assert self._process is not None, f"{self.name} was never started"
            if self.running:
                self._process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            await self.kill()
            raise WorkerTrouble(
                f"{self.name} did not end within {STOP_SECONDS:.0f} s of SIGTERM: "
                f"{last_line(self.log)}"
            ) from None

    def freeze(self) -> None:
        """SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        self.frozen = True

    def wake(self) -> None:
        """SIGCONT; nothing when it is dead."""
        self.frozen = False
        if self.running:
            assert self._process is not None
            self._process.send_signal(signal.SIGCONT)

    async def froze(self, seconds: float) -> bool:
        """Until it has frozen itself at a crash point; False when it did not within that time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._stopped():
                self.frozen = True
                return True
            await asyncio.sleep(0.02)
        return False

    def _stopped(self) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            return bool(psutil.Process(self.pid).status() == psutil.STATUS_STOPPED)
        return False

    async def end(self) -> None:
        """Whatever it does: it is gone afterwards."""
        self.wanted = self.comes_back = False
        if self.running:
            self.wake()
            await self.kill()
