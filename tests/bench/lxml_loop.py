"""Envelopes built by hand with lxml, over aiohttp: the least that Python can do for one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp
from lxml import etree

from tests.bench.bare import OPERATION, SOAP, BareLoop, Header, Job, NotCreated

_CONTENT = {"Content-Type": "text/xml; charset=utf-8"}
_XSD = "{http://www.w3.org/2001/XMLSchema}"


class LxmlLoop(BareLoop):
    """Builds, posts, parses, and looks at the answer's code."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._header = Header(self.portal, OPERATION)
        schema = etree.parse(Path(job.wsdl).with_name("portal.xsd")).getroot()
        self._namespace = str(schema.get("targetNamespace"))
        # The contract is a sequence: what the hub's mapping wrote in its own order is put in that one.
        item = next(
            kind for kind in schema.iter(f"{_XSD}complexType") if kind.get("name") == "HoSo"
        )
        order = [str(element.get("name")) for element in item.iter(f"{_XSD}element")]
        self._body = {name: job.body[name] for name in order if name in job.body}

    async def open(self) -> None:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self.portal["connection_limit"]),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        fields = {"username": self.portal["username"], "password": self.portal["password"]}
        answer = await self._call("login", Header(self.portal, "login"), fields)
        self.session = self._text(answer, "session")

    async def close(self) -> None:
        await self._http.close()

    async def create(self, code: str) -> None:
        fields = {
            "session": self.session,
            "madonvi": self.portal["agency_code"],
            "service": OPERATION,
            "isUpdating": "False",
            "data": [{**self._body, "MaHoSo": code}],
        }
        answer = await self._call(OPERATION, self._header, fields)
        if self._text(answer, "error_code") != "0":
            raise NotCreated(f"{code}: {self._text(answer, 'message')}")

    async def _call(
        self, operation: str, header: Header, fields: Mapping[str, object]
    ) -> etree._Element:
        envelope = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"soap": SOAP})
        envelope.append(header.fresh())
        body = etree.SubElement(envelope, f"{{{SOAP}}}Body")
        wrapper = etree.SubElement(
            body, f"{{{self._namespace}}}{operation}", nsmap={"p": self._namespace}
        )
        _fill(wrapper, f"{{{self._namespace}}}", fields)
        raw = etree.tostring(envelope, encoding="utf-8", xml_declaration=True)
        async with self._http.post(self.portal["address"], data=raw, headers=_CONTENT) as response:
            return etree.fromstring(await response.read())

    def _text(self, answer: etree._Element, name: str) -> str:
        found = answer.find(f".//{{{self._namespace}}}{name}")
        return (found.text or "") if found is not None else ""


def _fill(parent: etree._Element, namespace: str, fields: Mapping[str, object]) -> None:
    for name, value in fields.items():
        for each in (
            value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
        ):
            element = etree.SubElement(parent, namespace + name)
            if isinstance(each, Mapping):
                _fill(element, namespace, each)
            else:
                element.text = str(each)
