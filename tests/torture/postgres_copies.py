"""Copies of the ledger's database, and how they are put in its place. Everything blocks."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.services.postgres import DEBIAN_FOLDERS, REMEDY, PostgresServer
from tests.services.server_process import program

_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"


def dump(postgres: PostgresServer, database: str, to: Path) -> None:
    """A consistent copy of a database in use, by pg_dump."""
    _run(_tool("pg_dump"), "--format=custom", f"--file={to}", postgres.url(database))


def restore(postgres: PostgresServer, database: str, taken: Path, kept: str) -> None:
    """Make the database anew from the copy. What it was until now is called `kept`."""
    with postgres.connect() as connection:
        connection.execute(_TERMINATE, [database])
        connection.execute(f'ALTER DATABASE "{database}" RENAME TO "{kept}"')
        connection.execute(f'CREATE DATABASE "{database}"')
    _run(_tool("pg_restore"), "--exit-on-error", "-d", postgres.url(database), str(taken))


def drop(postgres: PostgresServer, database: str) -> None:
    with postgres.connect() as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')


def copy_server(postgres: PostgresServer, to: Path) -> None:
    """A snapshot of the whole server, taken while it is down for a moment."""
    postgres.stop()
    try:
        # With owners and rights, which the server insists on.
        _run("cp", "-a", str(postgres.data), str(to))
    finally:
        postgres.start()


def put_server_back(postgres: PostgresServer, taken: Path) -> None:
    """The server is what it was at the snapshot, to the last byte."""
    postgres.stop()
    shutil.rmtree(postgres.data)
    _run("cp", "-a", str(taken), str(postgres.data))
    postgres.start()


def _tool(name: str) -> str:
    return program(name, REMEDY, *sorted(DEBIAN_FOLDERS.glob("*/bin"), reverse=True))


def _run(*command: str) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise RuntimeError(f"{Path(command[0]).name}: {ended.stderr.strip()}")
