"""The simulator as a whole: its two ports, the refusing of connections, start and end.

In a test: ``async with PortalSimulator(path) as portal: ... portal.url, portal.control_url``.
"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from connectors.national_portal.simulator.contract import load_contract
from connectors.national_portal.simulator.control import Control
from connectors.national_portal.simulator.desk import Desk
from connectors.national_portal.simulator.profile import Profile
from connectors.national_portal.simulator.rules import Catalogue, Portal
from connectors.national_portal.simulator.soap import SoapPort
from connectors.national_portal.simulator.troubles import Rule, Troubles
from connectors.national_portal.simulator.truth import Truth
from connectors.national_portal.simulator.wire import Wire

HOST = "127.0.0.1"


class PortalSimulator:
    """A simulated national portal. `truth_path` is its SQLite file; it survives a restart."""

    def __init__(
        self,
        truth_path: Path | str,
        *,
        profile: Profile | None = None,
        contract: str | Path = "adapter",
        catalogue: Catalogue | None = None,
        port: int = 0,
        control_port: int = 0,
    ) -> None:
        self._truth_path = truth_path
        self._first_profile = profile or Profile()
        self._first_catalogue = catalogue
        self.wire = Wire(load_contract(contract))
        self.troubles = Troubles()
        self.truth: Truth
        self.desk: Desk
        self.portal: Portal
        self._soap: SoapPort
        self._ports = (port, control_port)
        self._reserved: socket.socket | None = None
        self._runners: list[web.AppRunner] = []
        self._site: web.SockSite | None = None
        self._reopening: asyncio.Task[None] | None = None
        self.port = 0
        self.control_port = 0

    @property
    def url(self) -> str:
        """Where calls are posted; the WSDL is at `url` + "?wsdl"."""
        return f"http://{HOST}:{self.port}/portal"

    @property
    def control_url(self) -> str:
        """Base of /_control and /_truth."""
        return f"http://{HOST}:{self.control_port}"

    async def __aenter__(self) -> Self:
        # Reserved for as long as we live and never listening: while the portal refuses connections,
        # nobody else can be given its port.
        self._reserved = _bound(self._ports[0])
        self.port = self._reserved.getsockname()[1]
        control = _bound(self._ports[1])
        self.control_port = control.getsockname()[1]
        self.truth = Truth(self._truth_path)
        self.desk = Desk(self.truth)
        self._start_afresh()
        self._soap = SoapPort(self)
        for app in (self._soap.app(), Control(self).app()):
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
            await runner.setup()
            self._runners.append(runner)
        await self._open()
        await web.SockSite(self._runners[1], control).start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop_reopening()
        await self._soap.stop()
        for runner in self._runners:
            await runner.cleanup()
        if self._reserved is not None:
            self._reserved.close()
        await self.desk.close()
        self.truth.close()

    async def arm(self, rule: Rule) -> int:
        """Put a trouble in force and return its number; `refuse` begins at once and has none (0)."""
        if rule.trouble != "refuse":
            return self.troubles.arm(rule)
        await self._stop_reopening()
        await self._close()
        self._reopening = asyncio.create_task(self._reopen(rule.seconds or 1.0))
        return 0

    async def clear_faults(self) -> None:
        """End every trouble; late effects that are under way still come."""
        self.troubles.clear()
        await self._stop_reopening()
        if self._site is None:
            await self._open()

    async def reset(self) -> None:
        """As at the start with an empty truth: no faults, sessions or late effects, first profile."""
        await self._soap.cancel_late_effects()
        await self.clear_faults()
        await self.desk.run(self.truth.reset)
        self._start_afresh()

    def _start_afresh(self) -> None:
        self.portal = Portal(self.wire.contract, self.truth, self._first_profile)
        if self._first_catalogue is not None:
            self.portal.catalogue = self._first_catalogue

    async def _open(self) -> None:
        self._site = web.SockSite(self._runners[0], _bound(self.port), backlog=1024)
        await self._site.start()

    async def _close(self) -> None:
        if self._site is None:
            return
        await self._site.stop()
        self._site = None
        server = self._runners[0].server
        for connection in server.connections if server is not None else ():
            # Kept-alive connections too, or calls would still get in; calls under way are answered.
            if connection.transport in self._soap.busy:
                connection.close()
            else:
                connection.force_close()

    async def _reopen(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._open()

    async def _stop_reopening(self) -> None:
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.gather(self._reopening, return_exceptions=True)
            self._reopening = None


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound
