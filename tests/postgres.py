"""A real PostgreSQL server in a temporary folder, on 127.0.0.1 and a free port.

`postgres_server` is a fixture: import it in the test module that needs it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

READY_SECONDS = 30.0
STOP_SECONDS = 20.0
REMEDY = "install PostgreSQL's server (Debian: apt-get install postgresql)"


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server; `url` names the database `postgres`."""

    port: int
    pid: int

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://hub@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(self.url(database), autocommit=True)

    def create_database(self, name: str) -> str:
        """Make an empty database and return its URL."""
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)


def binary(name: str) -> str:
    """The server's program on PATH or where Debian keeps it. Fails the test when there is none."""
    on_path = shutil.which(name)
    if on_path:
        return on_path
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / name).exists():
            return str(folder / name)
    pytest.fail(f"{name} was not found: {REMEDY}", pytrace=False)


def _user() -> str | None:
    """Whom to run the server as: it refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    pytest.fail("PostgreSQL refuses to run as root, and there is no other user", pytrace=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _run_server(folder: Path) -> Iterator[PostgresServer]:
    user = _user()
    data = folder / "data"
    if user is not None:
        shutil.chown(folder, user)
    made = subprocess.run(
        [
            binary("initdb"),
            "-A",
            "trust",
            "-U",
            "hub",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "-N",
            data,
        ],
        user=user,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.fail(f"initdb: {made.stderr}", pytrace=False)
    port = _free_port()
    log = folder / "server.log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [
                *(binary("postgres"), "-D", str(data), "-p", str(port)),
                *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
                # No test here cuts the power; a shutdown that syncs many databases takes a minute.
                *("-c", "fsync=off"),
            ],
            user=user,
            cwd=folder,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        running = PostgresServer(port=port, pid=server.pid)
        _wait(running, server, log)
        yield running
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGINT)  # "fast": roll back what is open and stop
            try:
                server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(STOP_SECONDS)


def _wait(running: PostgresServer, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            running.connect().close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"PostgreSQL did not start: {log.read_text()}", pytrace=False)


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the tests of a module."""
    with tempfile.TemporaryDirectory(prefix="hub-postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield from _run_server(folder)
