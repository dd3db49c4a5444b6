"""The simulator as a whole: its two ports, the refusing of connections, start and end.

In a test: ``async with PortalSimulator(path) as portal: ... portal.url, portal.control_url``.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from connectors.national_portal.simulator.certificates import Certificates, make_certificates
from connectors.national_portal.simulator.contract import load_contract
from connectors.national_portal.simulator.control import Control
from connectors.national_portal.simulator.desk import Desk
from connectors.national_portal.simulator.door import HOST, Door, bound
from connectors.national_portal.simulator.profile import Profile
from connectors.national_portal.simulator.rules import Catalogue, Portal
from connectors.national_portal.simulator.soap import SoapPort
from connectors.national_portal.simulator.troubles import AT_THE_DOOR, Rule, Troubles
from connectors.national_portal.simulator.truth import Truth
from connectors.national_portal.simulator.wire import Wire


class PortalSimulator:
    """A simulated national portal. `truth_path` is its SQLite file; it survives a restart.

    `tls`: a folder for certificates; with it the SOAP port speaks TLS, and `ca` is what to trust.
    """

    def __init__(
        self,
        truth_path: Path | str,
        *,
        profile: Profile | None = None,
        contract: str | Path = "adapter",
        catalogue: Catalogue | None = None,
        port: int = 0,
        control_port: int = 0,
        host: str = HOST,
        tls: Path | None = None,
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
        self._host = host
        self._tls = tls
        self._certificates: Certificates | None = None
        self._runners: list[web.AppRunner] = []
        self._door: Door
        self.port = 0
        self.control_port = 0

    @property
    def url(self) -> str:
        """Where calls are posted; the WSDL is at `url` + "?wsdl"."""
        return f"{'http' if self._tls is None else 'https'}://{HOST}:{self.port}/portal"

    @property
    def ca(self) -> Path | None:
        """Certificate of the authority that a caller has to trust, where TLS is spoken."""
        return None if self._certificates is None else self._certificates.ca

    @property
    def control_url(self) -> str:
        """Base of /_control and /_truth."""
        return f"http://{HOST}:{self.control_port}"

    async def __aenter__(self) -> Self:
        reserved, control = (bound(port, self._host) for port in self._ports)
        self.port, self.control_port = (each.getsockname()[1] for each in (reserved, control))
        self.truth = Truth(self._truth_path)
        self.desk = Desk(self.truth)
        self._start_afresh()
        if self._tls is not None:
            self._certificates = make_certificates(self._tls)
        self._soap = SoapPort(self)
        for app in (self._soap.app(), Control(self).app()):
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
            await runner.setup()
            self._runners.append(runner)
        busy = self._soap.busy
        self._door = Door(reserved, self._runners[0], lambda each: each in busy, self._certificates)
        await self._door.open()
        await web.SockSite(self._runners[1], control).start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._door.close()
        await self._soap.stop()
        for runner in self._runners:
            await runner.cleanup()
        await self.desk.close()
        self.truth.close()

    async def arm(self, rule: Rule) -> int:
        """Put a trouble in force and return its number; one at the door begins at once and has none (0)."""
        if rule.trouble not in AT_THE_DOOR:
            return self.troubles.arm(rule)
        await self._door.trouble(rule.trouble, rule.seconds or 1.0)
        return 0

    async def clear_faults(self) -> None:
        """End every trouble; late effects that are under way still come."""
        self.troubles.clear()
        await self._door.open()

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
