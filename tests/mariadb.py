"""A real MariaDB server in a temporary folder, on 127.0.0.1 and a free port.

`mariadb_server` is a fixture: import it in the test module that needs it. The account `hub` may do
everything, with the password `ADMIN_PASSWORD`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest

READY_SECONDS = 60.0
STOP_SECONDS = 30.0
REMEDY = "install MariaDB's server (Debian: apt-get install mariadb-server)"
ADMIN_PASSWORD = "test-only"


@dataclass(frozen=True, slots=True)
class MariadbServer:
    """A running server."""

    port: int
    pid: int

    def url(self, database: str, user: str = "hub", password: str = ADMIN_PASSWORD) -> str:
        return f"mysql+pymysql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def run(self, *statements: str) -> None:
        """Execute statements as the administrator."""
        connection = pymysql.connect(
            host="127.0.0.1", port=self.port, user="hub", password=ADMIN_PASSWORD, autocommit=True
        )
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()


def binary(name: str) -> str:
    """The server's program. Fails the test when there is none."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    found = shutil.which(name, path=path)
    if found is None:
        pytest.fail(f"{name} was not found: {REMEDY}", pytrace=False)
    return found


def _user() -> str | None:
    """Whom to run the server as: it should not be root."""
    if os.geteuid() != 0:
        return None
    for name in ("mysql", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    pytest.fail("MariaDB should not run as root, and there is no other user", pytrace=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _run_server(folder: Path) -> Iterator[MariadbServer]:
    user = _user()
    data, log, init = folder / "data", folder / "server.log", folder / "init.sql"
    init.write_text(
        f"CREATE USER hub@'127.0.0.1' IDENTIFIED BY '{ADMIN_PASSWORD}';\n"
        "GRANT ALL ON *.* TO hub@'127.0.0.1' WITH GRANT OPTION;\n"
    )
    if user is not None:
        shutil.chown(folder, user)
    made = subprocess.run(
        [
            binary("mariadb-install-db"),
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ],
        user=user,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.fail(f"mariadb-install-db: {made.stdout}{made.stderr}", pytrace=False)
    port = _free_port()
    with log.open("w") as out:
        server = subprocess.Popen(
            [
                *(binary("mariadbd"), "--no-defaults", f"--datadir={data}", f"--port={port}"),
                *("--bind-address=127.0.0.1", f"--socket={folder / 's'}"),
                *(f"--pid-file={folder / 'pid'}", f"--init-file={init}", "--skip-name-resolve"),
                # No test here cuts the power.
                *("--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M"),
            ],
            user=user,
            cwd=folder,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        running = MariadbServer(port=port, pid=server.pid)
        _wait(running, server, log)
        yield running
    finally:
        if server.poll() is None:
            server.terminate()
            try:
                server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(STOP_SECONDS)


def _wait(running: MariadbServer, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            running.run("SELECT 1")
        except pymysql.err.OperationalError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"MariaDB did not start: {log.read_text()}", pytrace=False)


@pytest.fixture(scope="module")
def mariadb_server() -> Iterator[MariadbServer]:
    """One server for the tests of a module."""
    with tempfile.TemporaryDirectory(prefix="hub-mariadb-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield from _run_server(folder)
