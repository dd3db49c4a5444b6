"""Starting, watching and stopping the process of a server."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_POLL_SECONDS = 0.05
_LOG_TAIL = 6000
_DYNAMIC_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


class ServiceMissing(RuntimeError):
    """The machine lacks a program; the text says what to install."""


class ServiceFailed(RuntimeError):
    """A server did not start or did not answer; the text holds the end of its log."""


def program(name: str, remedy: str, *folders: Path) -> str:
    """The program on PATH or in one of the folders. Raises `ServiceMissing` with the remedy."""
    path = os.pathsep.join((os.environ.get("PATH", ""), *map(str, folders)))
    found = shutil.which(name, path=path)
    if found is None:
        raise ServiceMissing(f"{name} was not found: {remedy}")
    return found


def unprivileged_user(*names: str) -> str | None:
    """Whom to run a server as that refuses root: None when we are not root.

    Raises `ServiceMissing` when none of the accounts exists.
    """
    if os.geteuid() != 0:
        return None
    for name in names:
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise ServiceMissing(f"the server refuses to run as root, and there is no user {names[0]}")


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 on which nobody listens, outside the range of outgoing connections.

    Inside it, the port of a server that is down could be given to any client meanwhile, even to the
    one that tries to reach that server.
    """
    lowest_dynamic = 32768
    if _DYNAMIC_PORTS.exists():
        lowest_dynamic = int(_DYNAMIC_PORTS.read_text().split()[0])
    choices = range(12000, lowest_dynamic) if lowest_dynamic > 13000 else range(61000, 65536)
    found: list[int] = []
    for port in random.sample(choices, len(choices)):
        with socket.socket() as probe:
            # As servers do: a connection of a server that ended here is no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise ServiceFailed("127.0.0.1 has no free port")


class ServerProcess:
    """One server: the same command may be started again after it was stopped or killed.

    The process gets a session of its own, so that Ctrl-C reaches only us, and a minder that kills it
    when we end in any way, SIGKILL included. Output goes to `log`, the later run behind the earlier.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        folder: Path | None = None,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_seconds: float = 30.0,
    ) -> None:
        self.name = name
        self._command = [str(part) for part in command]
        self._log = log
        self._folder = folder or log.parent
        self._user = user
        self._environment = dict(environment or {})
        self._stop_signal = stop_signal
        self._stop_seconds = stop_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._minder: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Raises `ServiceFailed` when it does not run."""
        if self._process is None:
            raise ServiceFailed(f"{self.name} is not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """A paused server runs too."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        if self.running:
            raise ServiceFailed(f"{self.name} is already running")
        self._forget()
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                user=self._user,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._minder = subprocess.Popen(
            # Its input ends when we do.
            ["/bin/sh", "-c", 'read _; kill -9 "$1"', "minder", str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Poll until ready. Raises `ServiceFailed` when it ended before, or after that many seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self.running:
                raise ServiceFailed(f"{self.name} ended at its start:\n{self.log[-_LOG_TAIL:]}")
            if ready():
                return
            time.sleep(_POLL_SECONDS)
        raise ServiceFailed(
            f"{self.name} did not answer within {seconds:.0f} s:\n{self.log[-_LOG_TAIL:]}"
        )

    def ask_to_stop(self) -> None:
        """Send the signal and do not wait. Nothing when it does not run."""
        if self.running:
            assert self._process is not None
            self._process.send_signal(self._stop_signal)
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ask it to end, and kill it when it does not. Nothing when it does not run."""
        if self.running:
            assert self._process is not None
            self.ask_to_stop()
            try:
                self._process.wait(self._stop_seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._forget()

    def kill(self) -> None:
        """SIGKILL. Nothing when it does not run."""
        if self.running:
            assert self._process is not None
            self._process.kill()
        self._forget()

    def pause(self) -> None:
        """SIGSTOP: it holds its connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def _forget(self) -> None:
        """Wait for the process, then end the minder, which could otherwise hit another's process id."""
        process, self._process = self._process, None
        minder, self._minder = self._minder, None
        if process is not None:
            process.wait()
        if minder is not None:
            minder.kill()
            minder.wait()
            assert minder.stdin is not None
            minder.stdin.close()
