"""SOAP 1.1 with X-Road 4.0 headers: reads calls, refuses what the schema forbids, writes answers."""

from __future__ import annotations

import base64
import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lxml import etree

from connectors.national_portal.simulator.contract import (
    BadTime,
    Contract,
    LoadedContract,
    Node,
    items_at,
    text_at,
)

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
XROAD = "http://x-road.eu/xsd/xroad.xsd"
IDENTIFIERS = "http://x-road.eu/xsd/identifiers"
SHA512 = "http://www.w3.org/2001/04/xmlenc#sha512"

_XS = "{http://www.w3.org/2001/XMLSchema}"
_REQUIRED = ("client", "id", "protocolVersion")

Part = tuple[str, "str | Sequence[Part]"]
"""One element of an answer: path from its parent, and its text or its own parts."""


class ClientFault(Exception):
    """The call is not according to the contract. The text names elements, never their content."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it was understood. `fields` is the wrapper's content."""

    element: str
    role: str  # create, update, steps, look_up, login, procedures, procedure, agencies
    fields: Node = field(repr=False)
    codes: tuple[str, ...]  # of the dossiers it is about
    message_id: str
    session: str | None = field(repr=False)
    headers: tuple[etree._Element, ...] = field(repr=False)
    request_hash: bytes = field(repr=False)


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        remove_comments=True,
        remove_pis=True,
    )


class Wire:
    """The wire of one contract: its schema compiled once."""

    def __init__(self, loaded: LoadedContract) -> None:
        self.contract: Contract = loaded.contract
        self.wsdl_path = loaded.wsdl
        wsdl = etree.parse(str(loaded.wsdl), _parser())
        self.namespace: str = wsdl.getroot().get("targetNamespace") or ""
        self._wsdl = wsdl
        self.schema_files: dict[str, Path] = {
            each.name: each for each in sorted(loaded.wsdl.parent.glob("*.xsd"))
        }
        types = next(iter(wsdl.getroot().iter(f"{_XS}schema")))
        self._schema = etree.XMLSchema(
            etree.fromstring(
                etree.tostring(types), _parser(), base_url=loaded.wsdl.resolve().as_uri()
            )
        )
        self._repeated = frozenset(
            element.get("name")
            for path in self.schema_files.values()
            for element in etree.parse(str(path), _parser()).getroot().iter(f"{_XS}element")
            if element.get("maxOccurs") not in (None, "1")
        )
        self._roles = loaded.contract.roles()
        self._reader = _parser()

    # --- reading ---------------------------------------------------------------------------------

    def read(self, body: bytes) -> Call:
        """The call in `body`. Raises `ClientFault`."""
        try:
            root = etree.fromstring(body, self._reader)
        except (etree.XMLSyntaxError, ValueError):
            raise ClientFault("the request is not well-formed XML") from None
        document: Any = root.getroottree()
        if document.docinfo.doctype:
            raise ClientFault("a document type declaration is not allowed")
        if root.tag != f"{{{SOAP}}}Envelope":
            raise ClientFault("the root element is not a SOAP 1.1 Envelope")
        soap_body = root.find(f"{{{SOAP}}}Body")
        if soap_body is None or len(soap_body) != 1:
            raise ClientFault("the Body must hold exactly one wrapper element")
        wrapper = soap_body[0]
        name = etree.QName(wrapper)
        base_role = self._roles.get(name.localname) if name.namespace == self.namespace else None
        if base_role is None:
            raise ClientFault("the Body's wrapper is none of the contract's operations")
        soap_header = root.find(f"{{{SOAP}}}Header")
        headers = () if soap_header is None else tuple(soap_header)
        message_id = self._check_headers(headers, name.localname)
        self.validate(wrapper)
        fields = self._plain(wrapper)
        assert isinstance(fields, dict)
        self._check_times(base_role, fields)
        return Call(
            element=name.localname,
            role=self._role(base_role, fields),
            fields=fields,
            codes=self._codes(base_role, fields),
            message_id=message_id,
            session=self._session(base_role, fields),
            headers=headers,
            request_hash=hashlib.sha512(body).digest(),
        )

    def _check_headers(self, headers: Sequence[etree._Element], operation: str) -> str:
        seen: dict[str, etree._Element] = {}
        for header in headers:
            name = etree.QName(header)
            if name.namespace != XROAD:
                continue
            if name.localname in seen:
                raise ClientFault(f"X-Road header {name.localname} stands twice")
            self.validate(header)
            seen[name.localname] = header
        missing = [name for name in _REQUIRED if name not in seen]
        if missing:
            raise ClientFault(f"X-Road header missing: {', '.join(missing)}")
        if ("service" in seen) == ("centralService" in seen):
            raise ClientFault("exactly one of the X-Road headers service, centralService is needed")
        if "requestHash" in seen:
            raise ClientFault("X-Road header requestHash stands in answers only")
        service = seen.get("service", seen.get("centralService"))
        assert service is not None
        if service.findtext(f"{{{IDENTIFIERS}}}serviceCode") != operation:
            raise ClientFault("X-Road serviceCode is not the name of the Body's wrapper")
        return seen["id"].text or ""

    def validate(self, element: etree._Element) -> None:
        """Raises `ClientFault` naming the element and the rule, not the content."""
        if self._schema.validate(element):
            return
        errors: Any = self._schema.error_log
        error = errors[0]
        where = ".".join(
            step.partition(":")[2] or step for step in (error.path or "").split("/") if step
        )
        raise ClientFault(f"schema: {where}: {error.type_name}")

    def _plain(self, element: etree._Element) -> str | dict[str, Any]:
        if len(element) == 0:
            return element.text or ""
        plain: dict[str, Any] = {}
        for child in element:
            name = child.tag.rpartition("}")[2]
            if name in self._repeated:
                plain.setdefault(name, []).append(self._plain(child))
            else:
                plain[name] = self._plain(child)
        return plain

    def _role(self, base: str, fields: Node) -> str:
        if base != "write":
            return base
        table = self.contract.write
        mode = text_at(fields, table.mode)
        if mode not in (table.create, table.update):
            raise ClientFault(f"{table.mode} must be {table.create} or {table.update}")
        return "create" if mode == table.create else "update"

    def _session(self, base: str, fields: Node) -> str | None:
        if base == "login":
            return None
        return text_at(fields, getattr(self.contract, base).session)

    def _codes(self, base: str, fields: Node) -> tuple[str, ...]:
        contract = self.contract
        match base:
            case "write":
                items = items_at(fields, contract.write.items)
                found = [text_at(item, contract.write.item.code) for item in items]
            case "steps" if contract.steps.code:
                items = items_at(fields, contract.steps.items)
                found = [text_at(item, contract.steps.code) for item in items]
            case "steps":
                found = [text_at(fields, contract.steps.shared_code or "")]
            case "look_up":
                found = [text_at(fields, contract.look_up.code)]
            case _:
                found = []
        return tuple(dict.fromkeys(code for code in found if code))

    def _check_times(self, base: str, fields: Node) -> None:
        """The schema knows the form of a time, not the calendar."""
        contract = self.contract
        try:
            if base == "write":
                for item in items_at(fields, contract.write.items):
                    contract.known_state(item)
            elif base == "steps":
                for item in items_at(fields, contract.steps.items):
                    contract.known_step(item)
        except BadTime as exc:
            raise ClientFault(f"{exc}: no such time") from None

    # --- writing ---------------------------------------------------------------------------------

    def answer(
        self,
        call: Call,
        verdict: str,
        parts: Sequence[Part] = (),
        *,
        message_id: str | None = None,
        issue: str | None = None,
        code: str | None = None,
        text: str | None = None,
    ) -> bytes:
        """An answer: the request's headers unchanged and in order, requestHash, the wrapper.

        `message_id` and `issue`, where given, stand in place of the request's: an answer gone astray;
        `code` and `text` in place of the verdict's.
        """
        words = getattr(self.contract.verdicts, verdict)
        envelope, body = self._envelope(call, message_id, issue)
        wrapper = etree.SubElement(
            body, f"{{{self.namespace}}}{call.element}Response", nsmap={"p": self.namespace}
        )
        self._append(wrapper, (self.contract.answer.code, code or words.code))
        self._append(wrapper, (self.contract.answer.text, text or words.text))
        for part in parts:
            self._append(wrapper, part)
        return etree.tostring(envelope, encoding="UTF-8", xml_declaration=True)

    def astray(self, answer: bytes) -> bytes:
        """The same answer in a namespace that is not the contract's."""
        return answer.replace(self.namespace.encode(), b"urn:another:contract")

    def _envelope(
        self, call: Call, message_id: str | None, issue: str | None
    ) -> tuple[etree._Element, etree._Element]:
        envelope = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"soap": SOAP, "xrd": XROAD})
        header = etree.SubElement(envelope, f"{{{SOAP}}}Header")
        replaced: Mapping[str, str | None] = {"id": message_id, "issue": issue}
        for each in call.headers:
            copied = copy.deepcopy(each)
            copied.tail = None
            name = etree.QName(each)
            other = replaced.get(name.localname) if name.namespace == XROAD else None
            if other is not None:
                copied.text = other
            header.append(copied)
        request_hash = etree.SubElement(header, f"{{{XROAD}}}requestHash", algorithmId=SHA512)
        request_hash.text = base64.b64encode(call.request_hash).decode("ascii")
        return envelope, etree.SubElement(envelope, f"{{{SOAP}}}Body")

    def _append(self, parent: etree._Element, part: Part) -> None:
        path, value = part
        *levels, last = path.split(".")
        for level in levels:
            tag = f"{{{self.namespace}}}{level}"
            newest = parent[-1] if len(parent) else None
            if newest is None or newest.tag != tag:
                newest = etree.SubElement(parent, tag)
            parent = newest
        element = etree.SubElement(parent, f"{{{self.namespace}}}{last}")
        if isinstance(value, str):
            element.text = value
            return
        for each in value:
            self._append(element, each)

    def wsdl(self, address: str) -> bytes:
        """The WSDL with `address` as the service's own."""
        document = copy.deepcopy(self._wsdl)
        for element in document.getroot().iter("{http://schemas.xmlsoap.org/wsdl/soap/}address"):
            element.set("location", address)
        return etree.tostring(document, encoding="UTF-8", xml_declaration=True)


def fault(code: str, text: str) -> bytes:
    """A SOAP 1.1 Fault. `code` is the local name: Client, Server."""
    envelope = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"soap": SOAP})
    body = etree.SubElement(envelope, f"{{{SOAP}}}Body")
    element = etree.SubElement(body, f"{{{SOAP}}}Fault")
    etree.SubElement(element, "faultcode").text = f"soap:{code}"
    etree.SubElement(element, "faultstring").text = text
    return etree.tostring(envelope, encoding="UTF-8", xml_declaration=True)
