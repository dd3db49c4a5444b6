"""The door of the SOAP port: where connections are taken, refused, left hanging, or met with a bad certificate.

The port stays the simulator's own whatever the door does: a socket that never listens keeps it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from aiohttp import web

from connectors.national_portal.simulator.certificates import Certificates

HOST = "127.0.0.1"

_FILLERS = 4  # connections to a listener that takes one: one is taken, the rest must wait


class Door:
    """The port of `reserved`, in front of a runner. `busy`: whether a connection has a call under way."""

    def __init__(
        self,
        reserved: socket.socket,
        runner: web.AppRunner,
        busy: Callable[[asyncio.BaseTransport | None], bool],
        certificates: Certificates | None,
    ) -> None:
        self._reserved = reserved
        self._host: str = reserved.getsockname()[0]
        self._port: int = reserved.getsockname()[1]
        self._runner = runner
        self._busy = busy
        self._certificates = certificates
        self._site: web.SockSite | None = None
        self._welcome = False
        self._hanging: list[socket.socket] = []
        self._reopening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take connections, if that is not so already."""
        await self._stop_reopening()
        if not self._welcome:
            await self._open_now()

    async def trouble(self, name: str, seconds: float) -> None:
        """Begin a trouble at the door, and end it by itself. Raises `ValueError` for TLS without TLS."""
        certificates = self._certificates
        if name.startswith("tls") and certificates is None:
            raise ValueError(f"trouble: {name} needs a simulator that was started with --tls")
        await self._stop_reopening()
        self._welcome = False
        await self._shut()
        if name == "connect_timeout":
            self._hang()
        elif certificates is not None and name != "refuse":
            bad = certificates.expired if name == "tls_expired" else certificates.unknown_ca
            await self._listen(bad)
        self._reopening = asyncio.create_task(self._reopen(seconds))

    async def close(self) -> None:
        """Shut for good, and give the port back."""
        await self._stop_reopening()
        self._let_go()
        self._reserved.close()

    async def _open_now(self) -> None:
        await self._shut()
        await self._listen(self._certificates.good if self._certificates is not None else None)
        self._welcome = True

    async def _listen(self, context: ssl.SSLContext | None) -> None:
        self._site = web.SockSite(
            self._runner, bound(self._port, self._host), backlog=1024, ssl_context=context
        )
        await self._site.start()

    def _hang(self) -> None:
        """Listen with a full queue and take nobody: the kernel drops every further attempt to connect."""
        listener = bound(self._port, self._host)
        listener.listen(0)
        self._hanging.append(listener)
        for _ in range(_FILLERS):
            filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            filler.setblocking(False)
            filler.connect_ex((HOST, self._port))
            self._hanging.append(filler)

    def _let_go(self) -> None:
        for each in self._hanging:
            each.close()
        self._hanging.clear()

    async def _shut(self) -> None:
        self._let_go()
        if self._site is None:
            return
        await self._site.stop()
        self._site = None
        server = self._runner.server
        for connection in server.connections if server is not None else ():
            # Kept-alive connections too, or calls would still get in; calls under way are answered.
            if self._busy(connection.transport):
                connection.close()
            else:
                connection.force_close()

    async def _reopen(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._open_now()

    async def _stop_reopening(self) -> None:
        task, self._reopening = self._reopening, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def bound(port: int, host: str = HOST) -> socket.socket:
    """A socket on one of this machine's addresses, its own by default, bound and not listening."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    made.setblocking(False)
    return made
