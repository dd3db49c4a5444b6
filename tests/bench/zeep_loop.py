"""A bare zeep loop over the hub's aiohttp transport: what SOAP by zeep costs without a hub."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import requests
import zeep
from lxml import etree
from zeep.proxy import AsyncServiceProxy
from zeep.transports import AsyncTransport

from connectors.national_portal.config import NationalPortalSettings
from connectors.national_portal.transport import Call, HttpTransport
from tests.bench.bare import OPERATION, BareLoop, Header, Job, NotCreated


class _Transport(AsyncTransport):
    def __init__(self, http: HttpTransport) -> None:
        self._close_session = False
        self.cache = None
        self.logger = logging.getLogger(__name__)
        self._http = http

    def load(self, url: str) -> bytes:
        return Path(str(url).removeprefix("file://")).read_bytes()

    async def post_xml(
        self, address: str, envelope: etree._Element, headers: dict[str, str]
    ) -> requests.Response:
        body = etree.tostring(envelope, encoding="utf-8", xml_declaration=True)
        answer = await self._http.post(body, headers, Call(message_id="", intent=None))
        response = requests.Response()
        response._content = answer.body
        response.status_code = answer.status
        response.headers = answer.headers  # type: ignore[assignment]  # case-insensitive as well
        return response


class ZeepLoop(BareLoop):
    """One `AsyncServiceProxy` call for each dossier."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._http = HttpTransport(
            NationalPortalSettings.model_validate(job.portal), time.monotonic
        )
        self._header = Header(self.portal, OPERATION)

    async def open(self) -> None:
        await self._http.open()
        client = zeep.Client(  # type: ignore[no-untyped-call]  # zeep's
            self.job.wsdl,
            transport=_Transport(self._http),
            settings=zeep.Settings(strict=True, forbid_dtd=True, forbid_external=True),
        )
        binding = next(iter(client.wsdl.bindings.values()))
        self._proxy: Any = AsyncServiceProxy(  # type: ignore[no-untyped-call]  # zeep's
            client, binding, address=self.portal["address"]
        )
        answer = await self._proxy.login(
            username=self.portal["username"],
            password=self.portal["password"],
            _soapheaders=list(Header(self.portal, "login").fresh()),
        )
        self.session = answer.body.session

    async def close(self) -> None:
        await self._http.close()

    async def create(self, code: str) -> None:
        answer = await self._proxy.DongBoHoSoMC(
            session=self.session,
            madonvi=self.portal["agency_code"],
            service=OPERATION,
            isUpdating="False",
            data=[{**self.job.body, "MaHoSo": code}],
            _soapheaders=list(self._header.fresh()),
        )
        if answer.body.error_code != "0":
            raise NotCreated(f"{code}: {answer.body.error_code} {answer.body.message}")
