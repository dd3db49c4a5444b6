"""A real PostgreSQL server in a temporary folder, on 127.0.0.1 and a free port.

``with PostgresServer() as postgres: postgres.create_database("hub")``. `postgres_server` is a fixture:
import it in the test module that needs it.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Self

import psutil
import psycopg
import pytest

from tests.services.server_process import (
    ServerProcess,
    ServiceFailed,
    free_ports,
    program,
    unprivileged_user,
)

READY_SECONDS = 60.0
REMEDY = "install PostgreSQL's server (Debian: apt-get install postgresql)"
DEBIAN_FOLDERS = Path("/usr/lib/postgresql")


class PostgresServer:
    """One server with the administrator `hub`; port and data stay over stop, kill and start.

    `settings`: of postgresql.conf, e.g. ``{"max_connections": "20"}``. `durable=False` leaves out the
    syncing to disk: nothing is lost when the server is killed, only when the machine is. `parent` is
    where its temporary folder is made, such as a small file system; the server's user must reach it.
    """

    def __init__(
        self,
        *,
        settings: Mapping[str, str] | None = None,
        durable: bool = False,
        parent: Path | None = None,
    ) -> None:
        self._settings = {"fsync": "on" if durable else "off", **(settings or {})}
        self._parent = parent
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._process: ServerProcess | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self._temporary = tempfile.TemporaryDirectory(
            prefix="hub-postgres-", dir=self._parent, ignore_cleanup_errors=True
        )
        try:
            self._make(Path(self._temporary.name))
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server and remove its data."""
        if self._process is not None:
            self.stop()
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    @property
    def pid(self) -> int:
        return self._server.pid

    @property
    def log(self) -> str:
        return self._server.log

    @property
    def data(self) -> Path:
        """The data folder, for those who copy or restore it."""
        assert self._temporary is not None
        return Path(self._temporary.name) / "data"

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://hub@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(self.url(database), autocommit=True)

    def create_database(self, name: str) -> str:
        """Make an empty database and return its URL."""
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def start(self) -> None:
        """Start and wait until it answers. Raises `ServiceFailed`."""
        self._server.start()
        self._server.wait_until(self._answers, READY_SECONDS)

    def stop(self) -> None:
        """Roll back what is open, and end. Nothing when it does not run."""
        if self._server.running:
            self.resume()
        self._server.stop()

    def kill(self) -> None:
        """SIGKILL of the server and of every process that serves a connection."""
        children = self._children()
        self._server.kill()
        _each(children, psutil.Process.kill)

    def pause(self) -> None:
        """SIGSTOP of all its processes: connections stay open, and nothing is answered."""
        self._server.pause()
        _each(self._children(), psutil.Process.suspend)

    def resume(self) -> None:
        """SIGCONT of all its processes."""
        _each(self._children(), psutil.Process.resume)
        self._server.resume()

    def _children(self) -> list[psutil.Process]:
        return psutil.Process(self._server.pid).children() if self._server.running else []

    @property
    def _server(self) -> ServerProcess:
        if self._process is None:
            raise ServiceFailed("PostgreSQL is not started: use `with`")
        return self._process

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _make(self, folder: Path) -> None:
        user = unprivileged_user("postgres", "nobody")
        folder.chmod(0o755)
        if user is not None:
            shutil.chown(folder, user)
        made = subprocess.run(
            [
                *(_binary("initdb"), "-A", "trust", "-U", "hub", "-E", "UTF8"),
                *("--locale=C.UTF-8", "-N", folder / "data"),
            ],
            user=user,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise ServiceFailed(f"initdb: {made.stderr}")
        (self.port,) = free_ports(1)
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            **self._settings,
        }
        self._process = ServerProcess(
            "PostgreSQL",
            [
                *(_binary("postgres"), "-D", folder / "data"),
                *(part for key, value in settings.items() for part in ("-c", f"{key}={value}")),
            ],
            log=folder / "server.log",
            user=user,
            stop_signal=signal.SIGINT,
        )


def _binary(name: str) -> str:
    """On PATH, or where Debian keeps it. Raises `ServiceMissing`."""
    return program(name, REMEDY, *sorted(DEBIAN_FOLDERS.glob("*/bin"), reverse=True))


def _each(processes: list[psutil.Process], do: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            do(process)


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the tests of a module."""
    with PostgresServer() as server:
        yield server
