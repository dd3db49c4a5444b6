"""The machine that the runbooks assume: versions in folders, `current` a link, workers as services.

There is no systemd here. `systemctl` is a script that asks the test, which owns the processes: `start`,
`stop` and `restart` of `thongsuot-worker@PORT` do what systemd would, and return when it would.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from streams.demo.processes import environment
from tests.services.server_process import ServiceFailed
from tests.torture.installation import Installation
from tests.torture.worker import Worker, WorkerTrouble

SOURCE = Path(__file__).parents[3]
PACKAGES = ("schemas", "monitoring", "connectors", "streams")
_UNIT = "thongsuot-worker@"
_SCRIPT = """\
#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/{port}
printf '%s\\n' "$*" >&3
read -r answer <&3
[ "$answer" = done ] || {{ echo "$answer" >&2; exit 1; }}
"""
_PROGRAM = """\
#!/bin/sh
cd '{folder}' && exec '{python}' -m streams.cli "$@"
"""


def install(folder: Path) -> Path:
    """Put the version of this source tree into a folder of its own, as `bin/thongsuot`."""
    folder.mkdir(parents=True)
    for package in PACKAGES:
        shutil.copytree(SOURCE / package, folder / package)
    _executable(folder / "bin" / "thongsuot", _PROGRAM.format(folder=folder, python=sys.executable))
    return folder


class Machine:
    """Use as a context inside an `Installation` whose settings are complete and whose workers have not begun.

    Every worker runs from `current`, a link to `version`.
    """

    def __init__(self, hub: Installation, version: Path) -> None:
        self._hub = hub
        self._stack = AsyncExitStack()
        self.folder = hub.folder / "machine"
        self.current = self.folder / "current"
        self.systemctl = self.folder / "systemctl"
        self.folder.mkdir()
        self.current.symlink_to(version)
        self._units = {f"{_UNIT}{worker.port}": name for name, worker in hub.workers.items()}
        for worker in hub.workers.values():
            worker.wrapper = ("env", "-C", str(self.current))

    async def __aenter__(self) -> Self:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._stack.push_async_callback(server.wait_closed)
        self._stack.callback(server.close)
        port = server.sockets[0].getsockname()[1]
        _executable(self.systemctl, _SCRIPT.format(port=port))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def environment(self) -> Mapping[str, str]:
        """What an operator's shell has after reading the hub's settings."""
        return environment(self._hub.settings)

    def point_to(self, version: Path) -> None:
        """Let `current` lead to this version, as the pages' `ln -sfn` does."""
        self.current.unlink()
        self.current.symlink_to(version)

    def ports(self, *names: str) -> str:
        """How the pages name these workers."""
        return " ".join(str(self._hub.workers[name].port) for name in names)

    def units(self, do: str) -> str:
        """The command that does this to every worker."""
        return " ".join([str(self.systemctl), do, *self._units])

    def postgres(self) -> str:
        """What stands before every command of PostgreSQL."""
        server = self._hub.standing.postgres()
        return f"env PGHOST=127.0.0.1 PGPORT={server.port} PGUSER=hub"

    def journal(self) -> str:
        """The command that shows every worker's log."""
        return " ".join(["cat", *(str(worker.log) for worker in self._hub.workers.values())])

    def failures(self) -> list[str]:
        """What went wrong beside the portal's truth. Status 70 is a worker's own wish to be started again."""
        return [
            *self._hub.findings,
            *(
                f"{d.worker} ended with {d.status}: {d.said}"
                for d in self._hub.deaths
                if d.status != 70
            ),
        ]

    def logged(self, event: str) -> list[str]:
        """The lines of all workers about this event."""
        lines = [
            line
            for worker in self._hub.workers.values()
            for line in worker.log.read_text(encoding="utf-8", errors="replace").splitlines()
        ]
        return [line for line in lines if f'"event":"{event}"' in line]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        do, *units = (await reader.readline()).decode().split()
        try:
            await self._do(do, units)
            writer.write(b"done\n")
        except (KeyError, WorkerTrouble, ServiceFailed) as error:
            writer.write(f"{do}: {error!r}\n".encode())
        writer.close()
        await writer.wait_closed()

    async def _do(self, do: str, units: Collection[str]) -> None:
        """Raises `WorkerTrouble`, and `KeyError` for a unit or a verb that there is not."""
        steps = {"stop": (True, False), "start": (False, True), "restart": (True, True)}
        stops, starts = steps[do]
        names = [self._units[unit] for unit in units]
        if stops:
            await asyncio.gather(*(self._stop(self._hub.workers[name]) for name in names))
        if starts:
            await self._hub.start(*names)

    async def _stop(self, worker: Worker) -> None:
        worker.wanted = worker.comes_back = False
        # One that is still being loaded does not listen yet, and SIGTERM ends it at once.
        if worker.running and (status := await worker.stop()) not in (0, -signal.SIGTERM):
            raise WorkerTrouble(f"{worker.name} ended with {status} when asked to stop")


def _executable(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
