"""A real MariaDB server in a temporary folder, on 127.0.0.1 and a free port.

`mariadb_server` is a fixture: import it in the test module that needs it. The account `hub` may do
everything, with the password `ADMIN_PASSWORD`.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pymysql
import pytest

from tests.services.server_process import (
    ServerProcess,
    ServiceFailed,
    free_ports,
    program,
    unprivileged_user,
)

READY_SECONDS = 60.0
REMEDY = "install MariaDB's server (Debian: apt-get install mariadb-server)"
ADMIN_PASSWORD = "test-only"


class MariadbServer:
    """One server, for the source's tests: it is started once and ends with its block."""

    def __init__(self) -> None:
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._process: ServerProcess | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self._temporary = tempfile.TemporaryDirectory(
            prefix="hub-mariadb-", ignore_cleanup_errors=True
        )
        try:
            self._process = self._made(Path(self._temporary.name))
            self._process.start()
            self._process.wait_until(self._answers, READY_SECONDS)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server and remove its data."""
        if self._process is not None:
            self._process.stop()
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

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

    def _answers(self) -> bool:
        try:
            self.run("SELECT 1")
        except pymysql.err.OperationalError:
            return False
        return True

    def _made(self, folder: Path) -> ServerProcess:
        user = unprivileged_user("mysql", "nobody")
        folder.chmod(0o755)
        init = folder / "init.sql"
        init.write_text(
            f"CREATE USER hub@'127.0.0.1' IDENTIFIED BY '{ADMIN_PASSWORD}';\n"
            "GRANT ALL ON *.* TO hub@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        if user is not None:
            shutil.chown(folder, user)
        made = subprocess.run(
            [
                *(_binary("mariadb-install-db"), "--no-defaults", f"--datadir={folder / 'data'}"),
                *("--auth-root-authentication-method=normal", "--skip-test-db"),
            ],
            user=user,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise ServiceFailed(f"mariadb-install-db: {made.stdout}{made.stderr}")
        (self.port,) = free_ports(1)
        return ServerProcess(
            "MariaDB",
            [
                *(_binary("mariadbd"), "--no-defaults", f"--datadir={folder / 'data'}"),
                *(f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={folder / 's'}"),
                *(f"--pid-file={folder / 'pid'}", f"--init-file={init}", "--skip-name-resolve"),
                # No test here cuts the power.
                *("--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M"),
            ],
            log=folder / "server.log",
            user=user,
        )


def _binary(name: str) -> str:
    """On PATH, or where Debian keeps it. Raises `ServiceMissing`."""
    return program(name, REMEDY, Path("/usr/sbin"), Path("/usr/local/sbin"))


@pytest.fixture(scope="module")
def mariadb_server() -> Iterator[MariadbServer]:
    """One server for the tests of a module."""
    with MariadbServer() as server:
        yield server
