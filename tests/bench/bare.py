"""The bare loops: `python -m tests.bench.bare NAME`, obeying standard input like `tests.bench.engine`.

The first line is the `Job`. Nothing of the hub is loaded but what a loop uses: its memory is its own.
"""

from __future__ import annotations

import asyncio
import copy
import json
import sys
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import uvloop
from lxml import etree

from tests.bench.obey import Lines, obey

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
OPERATION = "DongBoHoSoMC"
_XROAD = "http://x-road.eu/xsd/xroad.xsd"
_IDENTIFIERS = "http://x-road.eu/xsd/identifiers"


class NotCreated(RuntimeError):
    """The portal refused a dossier: there is nothing to compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a bare loop must know. `portal` are the connector's settings; `{}` in `code` is the number."""

    portal: Mapping[str, Any]
    wsdl: str
    in_flight: int
    code: str
    body: Mapping[str, Any]


class BareLoop(ABC):
    """Creates dossiers and keeps nothing. `create` makes one call."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.portal = job.portal
        self.session = ""
        self._codes: list[str] = []

    @abstractmethod
    async def open(self) -> None:
        """Connect and log in."""

    @abstractmethod
    async def close(self) -> None:
        """End the connections."""

    @abstractmethod
    async def create(self, code: str) -> None:
        """Raises `NotCreated`."""

    async def prepare(self, first: int, count: int) -> None:
        self._codes = [self.job.code.format(number) for number in range(first, first + count)]

    async def run(self) -> None:
        waiting = iter(self._codes)

        async def lane() -> None:
            for code in waiting:
                await self.create(code)

        await asyncio.gather(*(lane() for _ in range(self.job.in_flight)))


class Header:
    """The X-Road header of one operation; `fresh` is a copy with an id of its own."""

    def __init__(self, portal: Mapping[str, Any], operation: str) -> None:
        nsmap = {"xrd": _XROAD, "id": _IDENTIFIERS}
        self._template = etree.Element(f"{{{SOAP}}}Header", nsmap=nsmap)
        _member(self._template, "client", "SUBSYSTEM", portal["client"])
        service = _member(self._template, "service", "SERVICE", portal["service"])
        etree.SubElement(service, f"{{{_IDENTIFIERS}}}serviceCode").text = operation
        etree.SubElement(self._template, f"{{{_XROAD}}}id")
        etree.SubElement(self._template, f"{{{_XROAD}}}protocolVersion").text = "4.0"

    def fresh(self) -> etree._Element:
        header = copy.deepcopy(self._template)
        header[2].text = str(uuid.uuid4())
        return header


def _member(
    header: etree._Element, name: str, kind: str, member: Mapping[str, str]
) -> etree._Element:
    element = etree.SubElement(header, f"{{{_XROAD}}}{name}")
    element.set(f"{{{_IDENTIFIERS}}}objectType", kind)
    for part, key in (
        ("xRoadInstance", "instance"),
        ("memberClass", "member_class"),
        ("memberCode", "member_code"),
        ("subsystemCode", "subsystem_code"),
    ):
        if member[key]:
            etree.SubElement(element, f"{{{_IDENTIFIERS}}}{part}").text = member[key]
    return element


async def main(name: str) -> None:
    """Until standard input ends."""
    lines = await Lines.of_standard_input()
    job = Job(**json.loads(await lines.next()))
    loop: BareLoop
    if name == "zeep":
        from tests.bench.zeep_loop import ZeepLoop

        loop = ZeepLoop(job)
    else:
        from tests.bench.lxml_loop import LxmlLoop

        loop = LxmlLoop(job)
    await obey(loop, lines)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
