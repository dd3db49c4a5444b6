"""Between canonical packets and documents, by the table of elements. Pure: no clock, no network, no logger.

What has no value stays out; nothing is cut, guessed or made up. An empty text is written as an empty element,
no text as none. Numbers stay exact.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin
from zoneinfo import ZoneInfo

from connectors.errors import RejectedError
from connectors.gov_reporting.elements import (
    Elements,
    Encoding,
    Envelope,
    FieldSpec,
    ListSpec,
    RecordSpec,
    period_written,
)
from connectors.gov_reporting.encoding import Document, Tree
from schemas.reasons import Reason
from schemas.records import ReportPacket
from schemas.reports.canonical import ContentError, fields_of, number_text
from schemas.reports.packets import CONTENTS, Content, ReportKey, kind_of

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAME = re.compile(r"[^\W\d][\w-]*")
_NUMBER = re.compile(r"-?[0-9]{1,38}(?:\.[0-9]{1,38})?")
_EARLIEST_YEAR = 1900  # below 1000 strftime would write fewer than four digits


class PacketUnreadable(ValueError):
    """A document that is no packet of the table. The text names the element, never its content."""


def envelope_of(packet: ReportPacket, sender: str, receiver: str) -> Envelope:
    """The envelope of a packet that goes out; its message id is filled in when it is sent."""
    return Envelope(
        message_id="",
        kind=packet.kind,
        sender=sender,
        receiver=receiver,
        regime=packet.regime,
        form=packet.form,
        form_version=packet.form_version,
        period=packet.period,
        window_from=packet.window_from,
        window_to=packet.window_to,
        due_on=packet.due_on,
        agency=packet.agency,
        revision=packet.revision,
        snapshot_hash=packet.snapshot_hash,
        known_at=packet.known_at,
        approved_at=packet.approved_at,
    )


# --- writing -------------------------------------------------------------------------------------


class Writer:
    """Writes packets and questions in a table's words, and checks every field before it is sent."""

    def __init__(self, elements: Elements, encoding: Encoding) -> None:
        self._elements = elements
        self._native = encoding is Encoding.JSON and elements.values.json_native
        self._zone = ZoneInfo(elements.values.zone)

    def packet(self, envelope: Envelope, content: Content) -> Document:
        """The whole packet. Raises `RejectedError` (field_missing, field_too_long, field_invalid)."""
        elements = self._elements
        wire: dict[str, Any] = {}
        self._record(wire, elements.envelope, envelope, "", envelope)
        spec = elements.packets[kind_of(content)]
        target = wire
        for part in spec.path.split(".") if spec.path else ():
            target = target.setdefault(part, {})
        front = f"{spec.path}." if spec.path else ""
        self._record(target, spec, content, front, content)
        return Document(elements.root, wire)

    def under(self, document: Document, message_id: str) -> Document:
        """The packet with its message id, which is known only when it is sent."""
        spec = self._elements.envelope.fields["message_id"]
        wire = _copied(document.tree, spec.path.split("."))
        put(wire, spec.path, self._text(spec, spec.path, message_id))
        return Document(document.root, wire)

    def question(self, fields: Mapping[str, FieldSpec], values: object) -> dict[str, str]:
        """What a look-up asks for: name on the wire -> text."""
        return {
            spec.path: str(self._text(spec, spec.path, getattr(values, name)))
            for name, spec in fields.items()
        }

    def text(self, spec: FieldSpec, value: object) -> str:
        """One value as text. Raises `RejectedError`."""
        return str(self._text(spec, spec.path, value))

    def _record(
        self,
        wire: dict[str, Any],
        spec: RecordSpec | ListSpec,
        record: object,
        front: str,
        root: object,
    ) -> None:
        # In the table's order: of an XML document it is the order of the elements.
        for name, field in spec.fields.items():
            value = getattr(record, name)
            label = front + field.path
            if value is None or (value == "" and field.required):
                if field.required and (name != "message_id"):
                    raise RejectedError(Reason.FIELD_MISSING, f"field={label}", field=label)
                if name == "message_id":
                    put(wire, field.path, "")  # keeps its place
                continue
            put(wire, field.path, self._text(field, label, value))
        for name, each in spec.lists.items():
            self._list(wire, each, getattr(record, name), f"{front}{each.path}", root)

    def _list(
        self,
        wire: dict[str, Any],
        spec: ListSpec,
        values: tuple[Any, ...],
        label: str,
        root: object,
    ) -> None:
        if spec.named_by is not None:
            self._named(wire, spec, values, label, root)
            return
        items: list[Any] = []
        for value in values:
            if spec.item is None:
                entry: dict[str, Any] = {}
                self._record(entry, spec, value, f"{label}.", root)
                items.append(entry)
            else:
                items.append(self._item(spec.item, label, value))
        if items:
            put(wire, spec.path, items)

    def _item(self, item: FieldSpec, label: str, value: object) -> Any:
        if not item.path:
            return self._text(item, label, value)
        entry: dict[str, Any] = {}
        put(entry, item.path, self._text(item, f"{label}.{item.path}", value))
        return entry

    def _named(
        self,
        wire: dict[str, Any],
        spec: ListSpec,
        values: tuple[Any, ...],
        label: str,
        root: object,
    ) -> None:
        assert spec.item is not None
        items: list[Any] = []
        for code, value in zip(_names(root, spec.named_by or ""), values, strict=True):
            if value is None:
                continue
            name = self._code(spec.code_list, code)
            inner = f"{label}.{spec.item.path}" if spec.item.path else label
            text = self._text(spec.item, inner, value)
            if spec.key is not None:
                if _NOT_XML.search(name):
                    raise _invalid(label, "a code with a character that XML cannot carry")
                entry: dict[str, Any] = {}
                put(entry, spec.key, name)
                put(entry, spec.item.path, text)
                items.append(entry)
                continue
            if not _NAME.fullmatch(name):
                raise _invalid(label, "a code that cannot be an element's name")
            put(wire, f"{spec.path}.{name}" if spec.path else name, text)
        if items:
            put(wire, spec.path, items)

    def _code(self, code_list: str | None, code: str) -> str:
        return code if code_list is None else self._elements.codes[code_list].get(code, code)

    def _text(self, spec: FieldSpec, label: str, value: object) -> Any:
        values = self._elements.values
        text: str
        match value:
            case bool():
                if self._native:
                    return value
                text = values.true if value else values.false
            case Enum() | str() if spec.codes is not None:
                word = value.value if isinstance(value, Enum) else value
                known = self._elements.codes[spec.codes].get(word)
                if known is None and isinstance(value, Enum):
                    raise _invalid(label, f"code={word}: not in the code list {spec.codes}")
                text = known if known is not None else word
            case int() | Decimal():
                if self._native:
                    return value
                text = number_text(value).replace(".", values.decimal_point)
            case datetime():
                text = self._day(label, value.astimezone(self._zone), values.moment_format)
            case date():
                text = self._day(label, value, values.date_format)
            case str():
                text = value
                if spec.period:
                    text = period_written(self._elements.periods, value, theirs=True)
            case _:
                raise _invalid(label, f"type={type(value).__name__}")
        if spec.max_length is not None and len(text) > spec.max_length:
            raise RejectedError(
                Reason.FIELD_TOO_LONG,
                f"field={label} length={len(text)} limit={spec.max_length}",
                field=label,
            )
        if _NOT_XML.search(text):
            raise _invalid(label, "a character that XML cannot carry; correct it at the source")
        return text

    @staticmethod
    def _day(label: str, value: date, pattern: str) -> str:
        if value.year < _EARLIEST_YEAR:
            raise _invalid(label, f"year={value.year}")
        return value.strftime(pattern)


def _invalid(label: str, detail: str) -> RejectedError:
    return RejectedError(Reason.FIELD_INVALID, f"field={label} {detail}", field=label)


def _names(root: object, path: str) -> Sequence[str]:
    """The codes by which values are named: a list of the packet, or a field of its records."""
    name, _, field = path.partition(".")
    found = getattr(root, name)
    return [str(getattr(each, field)) for each in found] if field else found


def put(wire: dict[str, Any], path: str, value: object) -> None:
    """Set `value` at `path`, making the levels in between."""
    *levels, last = path.split(".")
    for part in levels:
        wire = wire.setdefault(part, {})
    wire[last] = value


def _copied(tree: Tree, path: Sequence[str]) -> dict[str, Any]:
    """A copy down to `path`; the rest is shared."""
    copy = dict(tree)
    if len(path) > 1:
        below = copy.get(path[0])
        copy[path[0]] = _copied(below if isinstance(below, Mapping) else {}, path[1:])
    return copy


# --- reading -------------------------------------------------------------------------------------


def get(tree: object, path: str) -> Any:
    """What stands at `path`, or ``None``. An attribute's name is also looked for without "@"."""
    for part in path.split(".") if path else ():
        if not isinstance(tree, Mapping):
            return None
        found = tree.get(part)
        tree = found if found is not None or part[0] != "@" else tree.get(part[1:])
    return tree


def get_items(tree: object, path: str) -> list[Any]:
    """The items at `path`, whether the element is repeated or not."""
    found = get(tree, path)
    if found is None:
        return []
    return found if isinstance(found, list) else [found]


def get_text(tree: object, path: str) -> str | None:
    """The value at `path` as trimmed text, or ``None``."""
    found = get(tree, path)
    if found is None or isinstance(found, (Mapping, list)):
        return None
    if isinstance(found, bool):
        return "true" if found else "false"
    return str(found).strip()


class Reader:
    """Reads packets and answers in a table's words."""

    def __init__(self, elements: Elements) -> None:
        self._elements = elements
        self._zone = ZoneInfo(elements.values.zone)
        self._words = {
            name: {code: word for word, code in codes.items()}
            for name, codes in elements.codes.items()
        }

    def body(self, document: Document, root: str) -> Tree:
        """What the document holds below `root`. Raises `PacketUnreadable`."""
        if document.root == root:
            return document.tree
        if not document.root:  # JSON: the name is a key, or left out
            inner = document.tree.get(root)
            return inner if isinstance(inner, Mapping) else document.tree
        raise PacketUnreadable(f"element={root}: another one is outermost")

    def packet(self, document: Document) -> tuple[Envelope, Content]:
        """Envelope and content. Raises `PacketUnreadable`."""
        elements = self._elements
        tree = self.body(document, elements.root)
        envelope = self._record(Envelope, tree, elements.envelope, "")
        assert isinstance(envelope, Envelope)
        spec = elements.packets[envelope.kind]
        inner = get(tree, spec.path)
        if inner is None:
            raise PacketUnreadable(f"element={spec.path}: missing")
        front = f"{spec.path}." if spec.path else ""
        kind = CONTENTS[envelope.kind]
        content = self._record(kind, inner, spec, front)
        assert isinstance(content, kind)
        return envelope, content

    def value(self, spec: FieldSpec, wanted: Any, tree: object) -> Any:
        """One field, or ``None`` where nothing stands. Raises `PacketUnreadable`."""
        return self._value(wanted, get(tree, spec.path), spec, spec.path, absent=True)

    def about(self, fields: Mapping[str, FieldSpec], tree: object) -> dict[str, Any]:
        """The fields of a report's name, and its revision, that stand in an answer."""
        kinds = {**fields_of(ReportKey), "revision": int}
        found = {name: self.value(spec, kinds[name], tree) for name, spec in fields.items()}
        return {name: value for name, value in found.items() if value not in (None, "")}

    def _record(
        self,
        kind: type,
        tree: object,
        spec: RecordSpec | ListSpec,
        front: str,
        root: dict[str, Any] | None = None,
    ) -> object:
        """`root`: what of the packet is read so far; its lists of codes stand before what they name."""
        if tree == "":
            tree = {}
        if not isinstance(tree, Mapping):
            raise PacketUnreadable(f"element={front.rstrip('.') or 'root'}: holds no elements")
        parts: dict[str, Any] = {}
        whole = parts if root is None else root
        for name, wanted in fields_of(kind).items():
            if get_origin(wanted) is tuple:
                each = spec.lists[name]
                parts[name] = self._list(get_args(wanted)[0], tree, each, front + each.path, whole)
            else:
                field = spec.fields[name]
                parts[name] = self._value(wanted, get(tree, field.path), field, front + field.path)
        try:
            return kind(**parts)
        except ContentError as exc:
            raise PacketUnreadable(f"element={front.rstrip('.') or 'root'}: {exc}") from None

    def _list(
        self, wanted: Any, tree: Tree, spec: ListSpec, label: str, root: dict[str, Any]
    ) -> tuple[Any, ...]:
        if spec.named_by is not None:
            return self._named(wanted, tree, spec, label, root)
        items = get_items(tree, spec.path)
        if spec.item is not None:
            return tuple(self._item(wanted, item, spec.item, label) for item in items)
        return tuple(self._record(wanted, item, spec, f"{label}.", root) for item in items)

    def _item(self, wanted: Any, item: object, spec: FieldSpec, label: str) -> Any:
        path = f"{label}.{spec.path}" if spec.path else label
        return self._value(wanted, get(item, spec.path), spec, path)

    def _named(
        self, wanted: Any, tree: Tree, spec: ListSpec, label: str, root: dict[str, Any]
    ) -> tuple[Any, ...]:
        assert spec.item is not None
        name, _, field = (spec.named_by or "").partition(".")
        codes = [str(getattr(each, field)) if field else str(each) for each in root[name]]
        known = self._elements.codes.get(spec.code_list or "", {})
        if spec.key is None:
            place = get(tree, spec.path)
            held = place if isinstance(place, Mapping) else {}
            return tuple(
                self._value(wanted, held.get(known.get(code, code)), spec.item, label)
                for code in codes
            )
        found: dict[str, Any] = {}
        for item in get_items(tree, spec.path):
            key = get_text(item, spec.key)
            if key is None or key in found:
                raise PacketUnreadable(f"element={label}: without its code, or with one twice")
            found[key] = get(item, spec.item.path)
        if strange := found.keys() - {known.get(code, code) for code in codes}:
            raise PacketUnreadable(f"element={label}: {len(strange)} codes that stand in no list")
        inner = f"{label}.{spec.item.path}"
        return tuple(
            self._value(wanted, found.get(known.get(code, code)), spec.item, inner)
            for code in codes
        )

    def _value(
        self, wanted: Any, found: object, spec: FieldSpec, label: str, *, absent: bool = False
    ) -> Any:
        kinds = _kinds(wanted)
        if found is None:
            if absent or type(None) in kinds:
                return None
            raise PacketUnreadable(f"element={label}: missing")
        if isinstance(found, (Mapping, list)):
            raise PacketUnreadable(f"element={label}: elements where a value is wanted")
        if found == "" and str not in kinds and (absent or type(None) in kinds):
            return None
        for kind in kinds:
            if kind is not type(None):
                read = self._read(kind, found, spec)
                if read is not None:
                    return read
        raise PacketUnreadable(f"element={label}: not what is wanted there")

    def _read(self, kind: Any, found: Any, spec: FieldSpec) -> Any:
        """The value, or ``None`` where it is none of this kind."""
        if spec.codes is not None and (kind is str or issubclass(kind, Enum)):
            word = self._words[spec.codes].get(str(found).strip())
            if kind is str:
                return str(found) if word is None else word
            return next((each for each in kind if each.value == word), None)
        if kind is str:
            return self._text(found, spec)
        if kind is bool:
            return self._flag(found)
        if kind in (int, Decimal):
            return self._number(kind, found)
        if kind in (date, datetime):
            return self._time(kind, str(found).strip())
        return None

    def _text(self, found: Any, spec: FieldSpec) -> str:
        if isinstance(found, bool):
            return "true" if found else "false"
        text = found if isinstance(found, str) else number_text(found)
        if spec.period:
            return period_written(self._elements.periods, text.strip(), theirs=False)
        return text

    def _flag(self, found: Any) -> bool | None:
        if isinstance(found, bool):
            return found
        values = self._elements.values
        return {values.true: True, values.false: False}.get(str(found).strip())

    def _number(self, kind: type, found: Any) -> int | Decimal | None:
        if isinstance(found, bool):
            return None
        if isinstance(found, str):
            text = found.strip().replace(self._elements.values.decimal_point, ".")
            if not _NUMBER.fullmatch(text):
                return None
            found = Decimal(text)
        if isinstance(found, Decimal):
            # The exact number in its shortest form, whatever zeros it was written with.
            plain = number_text(found)
            found = int(plain) if "." not in plain else Decimal(plain)
        fits = isinstance(found, (int, Decimal)) and isinstance(found, kind)
        return found if fits else None

    def _time(self, kind: type, text: str) -> date | datetime | None:
        values = self._elements.values
        try:
            if kind is date:
                return datetime.strptime(text, values.date_format).date()  # noqa: DTZ007 - a day
            moment = datetime.strptime(text, values.moment_format)  # noqa: DTZ007 - below
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self._zone)
        return moment.astimezone(UTC)


@cache
def _kinds(wanted: Any) -> tuple[Any, ...]:
    return get_args(wanted) if get_origin(wanted) in (types.UnionType, Union) else (wanted,)
