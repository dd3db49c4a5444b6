"""The simulator as a whole: its two ports, the refusing of connections, start and end.

In a test: ``async with ReportingSimulator(path) as system: ... system.url, system.control_url``.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from connectors.gov_reporting.simulator.control import Control
from connectors.gov_reporting.simulator.port import Port
from connectors.gov_reporting.simulator.profile import Profile
from connectors.gov_reporting.simulator.rules import Catalogue, Receiver
from connectors.gov_reporting.simulator.troubles import AT_THE_DOOR, Rule, Troubles
from connectors.gov_reporting.simulator.truth import Truth
from connectors.national_portal.simulator.certificates import Certificates, make_certificates
from connectors.national_portal.simulator.desk import Desk
from connectors.national_portal.simulator.door import HOST, Door, bound


class ReportingSimulator:
    """A simulated reporting system. `truth_path` is its SQLite file; it survives a restart.

    `tls`: a folder for certificates; with it the port speaks TLS, and `ca` is what to trust.
    """

    def __init__(
        self,
        truth_path: Path | str,
        *,
        profile: Profile | None = None,
        catalogue: Catalogue | None = None,
        port: int = 0,
        control_port: int = 0,
        host: str = HOST,
        tls: Path | None = None,
    ) -> None:
        self._truth_path = truth_path
        self._first_profile = profile or Profile()
        self._first_catalogue = catalogue
        self.troubles = Troubles()
        self.truth: Truth
        self.desk: Desk
        self.receiver: Receiver
        self.door_port: Port
        self._ports = (port, control_port)
        self._host = host
        self._tls = tls
        self._certificates: Certificates | None = None
        self._runners: list[web.AppRunner] = []
        self._door: Door
        self.port = 0
        self.control_port = 0

    @property
    def _base(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://{HOST}:{self.port}"

    @property
    def url(self) -> str:
        """Base address of the REST calls."""
        return f"{self._base}/api"

    @property
    def token_url(self) -> str:
        """Where tokens are issued."""
        return f"{self._base}/token"

    @property
    def soap_url(self) -> str:
        """Where SOAP calls are posted."""
        return f"{self._base}/soap"

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
        self.door_port = Port(self)
        for app in (self.door_port.app(), Control(self).app()):
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
            await runner.setup()
            self._runners.append(runner)
        busy = self.door_port.busy
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
        await self.door_port.stop()
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
        """As at the start with an empty truth: no faults, tokens or late effects, first profile."""
        await self.door_port.cancel_late_effects()
        await self.clear_faults()
        self.door_port.forget_tokens()
        await self.desk.run(self.truth.reset)
        self._start_afresh()

    def _start_afresh(self) -> None:
        self.receiver = Receiver(self.truth, self._first_profile, self._first_catalogue)
