"""Documents as the reporting system reads and writes them, in XML and in JSON; its own, not the hub's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from lxml import etree

NAMESPACE = "urn:vn:thongsuot:bao-cao:1"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
CALLS = "urn:vn:thongsuot:bao-cao:soap:1"
XROAD = "http://x-road.eu/xsd/xroad.xsd"

MEDIA_TYPES = {"xml": "application/xml", "json": "application/json"}

SOAP_OPERATIONS = {
    "NopBaoCao": "create",
    "NopLaiBaoCao": "update",
    "TraCuuBaoCao": "look_up",
    "NhanGoiTin": "inbox",
}


class BadDocument(ValueError):
    """What came in cannot be read."""


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True
    )


def read(data: bytes, encoding: str) -> tuple[str, Any]:
    """The outermost name and what it holds; numbers of JSON as text. Raises `BadDocument`."""
    if encoding == "json":
        try:
            found = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise BadDocument("no JSON") from None
        if not isinstance(found, dict) or len(found) != 1:
            raise BadDocument("JSON without one outermost name")
        ((name, tree),) = found.items()
        return name, _as_text(tree)
    try:
        root = etree.fromstring(data, _parser())
    except (etree.XMLSyntaxError, ValueError):
        raise BadDocument("no XML") from None
    if etree.QName(root).namespace != NAMESPACE:
        raise BadDocument(f"not in the namespace {NAMESPACE}")
    return etree.QName(root).localname, _element(root)


def _as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_text(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_text(each) for each in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if value is None or isinstance(value, str) else str(value)


def _element(element: etree._Element) -> Any:
    if len(element) == 0:
        return element.text or ""
    held: dict[str, Any] = {}
    for child in element:
        if etree.QName(child).namespace != NAMESPACE:
            raise BadDocument(f"not in the namespace {NAMESPACE}")
        name, value = etree.QName(child).localname, _element(child)
        if name not in held:
            held[name] = value
        elif isinstance(held[name], list):
            held[name].append(value)
        else:
            held[name] = [held[name], value]
    return held


def write(root: str, tree: Mapping[str, Any], encoding: str, namespace: str = NAMESPACE) -> bytes:
    """A document. Lists are repeated elements."""
    if encoding == "json":
        return orjson.dumps({root: tree})
    element = etree.Element(f"{{{namespace}}}{root}", nsmap={"b": namespace})
    _fill(element, tree, namespace)
    return etree.tostring(element, encoding="utf-8")


def _fill(element: etree._Element, tree: Mapping[str, Any], namespace: str) -> None:
    for name, value in tree.items():
        for each in value if isinstance(value, list) else (value,):
            child = etree.SubElement(element, f"{{{namespace}}}{name}")
            if isinstance(each, Mapping):
                _fill(child, each, namespace)
            elif each is not None:
                child.text = str(each)


def at(tree: Any, path: str) -> Any:
    """What stands at a path, or ``None``."""
    for part in path.split("."):
        if not isinstance(tree, Mapping):
            return None
        tree = tree.get(part)
    return tree


# --- the SOAP envelope ---------------------------------------------------------------------------


def open_envelope(data: bytes) -> tuple[str, str, str]:
    """Operation, message id and document of a SOAP call. Raises `BadDocument`."""
    try:
        envelope = etree.fromstring(data, _parser())
    except (etree.XMLSyntaxError, ValueError):
        raise BadDocument("no XML") from None
    if envelope.tag != f"{{{SOAP}}}Envelope":
        raise BadDocument("no SOAP 1.1 envelope")
    message_id = envelope.findtext(f"{{{SOAP}}}Header/{{{XROAD}}}id")
    if not message_id:
        raise BadDocument("no X-Road message id")
    body = envelope.find(f"{{{SOAP}}}Body")
    first = body[0] if body is not None and len(body) else None
    name = None if first is None else etree.QName(first)
    if first is None or name is None or name.namespace != CALLS:
        raise BadDocument("no call of this service")
    operation = SOAP_OPERATIONS.get(name.localname)
    document = first.findtext(f"{{{CALLS}}}TaiLieu")
    if operation is None or document is None:
        raise BadDocument("no such operation, or no TaiLieu")
    return operation, message_id, document


def envelope_around(operation: str, message_id: str, document: str) -> bytes:
    """The SOAP answer of an operation."""
    (name,) = (each for each, ours in SOAP_OPERATIONS.items() if ours == operation)
    envelope = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"S": SOAP})
    header = etree.SubElement(envelope, f"{{{SOAP}}}Header")
    etree.SubElement(header, f"{{{XROAD}}}id", nsmap={"x": XROAD}).text = message_id
    body = etree.SubElement(envelope, f"{{{SOAP}}}Body")
    answer = etree.SubElement(body, f"{{{CALLS}}}{name}Response", nsmap={"b": CALLS})
    etree.SubElement(answer, f"{{{CALLS}}}KetQua").text = document
    return etree.tostring(envelope, encoding="utf-8")


def fault(code: str, text: str) -> bytes:
    """A SOAP Fault."""
    envelope = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"S": SOAP})
    body = etree.SubElement(envelope, f"{{{SOAP}}}Body")
    made = etree.SubElement(body, f"{{{SOAP}}}Fault")
    etree.SubElement(made, "faultcode").text = f"S:{code}"
    etree.SubElement(made, "faultstring").text = text
    return etree.tostring(envelope, encoding="utf-8")
