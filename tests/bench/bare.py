"""What both bare loops have in common: codes to create, the header, and so many calls in flight."""

from __future__ import annotations

import asyncio
import copy
import uuid

from lxml import etree

from connectors.national_portal.client import IDENTIFIERS, XROAD
from connectors.national_portal.config import NationalPortalSettings, XRoadMember
from streams.settings import Settings
from tests.bench.load import Load

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
OPERATION = "DongBoHoSoMC"


class NotCreated(RuntimeError):
    """The portal refused a dossier: there is nothing to compare."""


class BareLoop:
    """Creates dossiers and keeps nothing. `open` logs in, `create` makes one call."""

    def __init__(self, load: Load, settings: Settings) -> None:
        self.portal = settings.national_portal
        self.body = dict(load.request().body)
        self._load = load
        self._in_flight = settings.engine.in_flight
        self._codes: list[str] = []

    async def open(self) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    async def create(self, code: str) -> None:
        raise NotImplementedError

    async def prepare(self, first: int, count: int) -> None:
        self._codes = [self._load.code(number) for number in range(first, first + count)]

    async def run(self) -> None:
        waiting = iter(self._codes)

        async def lane() -> None:
            for code in waiting:
                await self.create(code)

        await asyncio.gather(*(lane() for _ in range(self._in_flight)))


class Header:
    """The X-Road header of one operation; `fresh` is a copy with an id of its own."""

    def __init__(self, portal: NationalPortalSettings, operation: str) -> None:
        self._template = etree.Element(f"{{{SOAP}}}Header", nsmap={"xrd": XROAD, "id": IDENTIFIERS})
        _member(self._template, "client", "SUBSYSTEM", portal.client)
        service = _member(self._template, "service", "SERVICE", portal.service)
        etree.SubElement(service, f"{{{IDENTIFIERS}}}serviceCode").text = operation
        etree.SubElement(self._template, f"{{{XROAD}}}id")
        etree.SubElement(self._template, f"{{{XROAD}}}protocolVersion").text = "4.0"

    def fresh(self) -> etree._Element:
        header = copy.deepcopy(self._template)
        header[2].text = str(uuid.uuid4())
        return header


def _member(header: etree._Element, name: str, kind: str, member: XRoadMember) -> etree._Element:
    element = etree.SubElement(header, f"{{{XROAD}}}{name}")
    element.set(f"{{{IDENTIFIERS}}}objectType", kind)
    for part, text in (
        ("xRoadInstance", member.instance),
        ("memberClass", member.member_class),
        ("memberCode", member.member_code),
        ("subsystemCode", member.subsystem_code),
    ):
        if text:
            etree.SubElement(element, f"{{{IDENTIFIERS}}}{part}").text = text
    return element
