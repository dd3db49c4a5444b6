"""A document between its bytes and a tree of names: XML or JSON. Knows no packet and no table.

A tree is nested mappings; a list where an element is repeated; text, numbers and truth values at the ends. A
name that begins with "@" is an attribute in XML and a plain key in JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson
from lxml import etree

from connectors.gov_reporting.elements import Encoding
from schemas.reports.canonical import number_text

Tree = Mapping[str, Any]

_DEEPEST = 40
"""Levels of a document; ours has nine."""

MEDIA_TYPES = {
    Encoding.XML: "application/xml; charset=utf-8",
    Encoding.JSON: "application/json; charset=utf-8",
}
_READABLE = {
    Encoding.XML: ("application/xml", "text/xml"),
    Encoding.JSON: ("application/json",),
}


class Unreadable(ValueError):
    """Bytes that are no document. The text says why and quotes nothing."""


@dataclass(frozen=True, slots=True)
class Document:
    """The name of the outermost element, and what it holds. JSON without a name has ""."""

    root: str
    tree: Tree = field(repr=False)


def is_readable(media_type: str, encoding: Encoding) -> bool:
    """Whether a Content-Type is one of the encoding's."""
    kind = media_type.partition(";")[0].strip().lower()
    return kind in _READABLE[encoding] or kind.endswith(f"+{encoding.value}")


def write(document: Document, encoding: Encoding, namespace: str = "") -> bytes:
    """The bytes of a document. Raises `ValueError` for text that XML cannot carry."""
    if encoding is Encoding.JSON:
        plain = _plain(document.tree)
        return orjson.dumps({document.root: plain} if document.root else plain, default=_number)
    made = etree.Element(
        _qualified(document.root, namespace),
        nsmap={None: namespace} if namespace else None,  # type: ignore[dict-item]  # lxml's stubs
    )
    _fill(made, document.tree, namespace)
    return etree.tostring(made, encoding="utf-8", xml_declaration=True)


def read(data: bytes, encoding: Encoding, namespace: str = "") -> Document:
    """The document in these bytes. Raises `Unreadable`."""
    return _read_json(data) if encoding is Encoding.JSON else _read_xml(data, namespace)


# --- JSON ----------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name.removeprefix("@"): _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value


def _number(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(number_text(value))
    raise TypeError


def _read_json(data: bytes) -> Document:
    try:
        found = json.loads(
            data.decode("utf-8"), parse_float=Decimal, parse_constant=_refused, parse_int=_whole
        )
    except (UnicodeDecodeError, ValueError, RecursionError, ArithmeticError):
        raise Unreadable("no JSON") from None
    if not isinstance(found, dict):
        raise Unreadable("no JSON object")
    return Document("", found)


def _whole(text: str) -> int | Decimal:
    return int(text) if len(text) <= 40 else Decimal(text)


def _refused(text: str) -> None:
    raise ValueError


# --- XML -----------------------------------------------------------------------------------------


def _qualified(name: str, namespace: str) -> str:
    return f"{{{namespace}}}{name}" if namespace else name


def _fill(element: etree._Element, tree: Tree, namespace: str) -> None:
    for name, value in tree.items():
        if name.startswith("@"):
            element.set(name[1:], str(value))
            continue
        for each in value if isinstance(value, list) else (value,):
            child = etree.SubElement(element, _qualified(name, namespace))
            if isinstance(each, Mapping):
                _fill(child, each, namespace)
            elif each is not None:
                child.text = str(each)


def _read_xml(data: bytes, namespace: str) -> Document:
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise Unreadable("no XML") from None
    if root.getroottree().docinfo.doctype:  # type: ignore[union-attr]  # lxml's stubs
        raise Unreadable("a document type declaration")
    value = _value(root, namespace, 0)
    name = etree.QName(root).localname
    return Document(name, value if isinstance(value, dict) else {})


def _value(element: etree._Element, namespace: str, depth: int) -> Any:
    if depth > _DEEPEST:
        raise Unreadable(f"deeper than {_DEEPEST} levels")
    if not isinstance(element.tag, str):
        raise Unreadable("an entity reference")
    if (etree.QName(element).namespace or "") != namespace:
        raise Unreadable("an element of another namespace")
    held: dict[str, Any] = {
        f"@{name!s}": text for name, text in element.attrib.items() if not str(name).startswith("{")
    }
    for child in element:
        value = _value(child, namespace, depth + 1)
        name = etree.QName(child).localname
        if name not in held:
            held[name] = value
        elif isinstance(held[name], list):
            held[name].append(value)
        else:
            held[name] = [held[name], value]
    return held if held else element.text or ""
