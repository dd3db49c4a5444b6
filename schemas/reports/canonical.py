"""One byte form of a content: sorted keys, no spaces, UTF-8, numbers exact; and the way back, strictly.

Dataclasses of plain types only: text, whole numbers, `Decimal`, truth values, days, moments, enumerations,
other dataclasses, and tuples of all of these. Two equal contents have equal bytes, whatever zeros a number
was written with; bytes that no content is written as are refused when read, so a hash stands for one
content and no other. Floats are refused: they are not exact.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

import orjson

T = TypeVar("T")

LARGEST_NUMBER_DIGITS = 38
"""Digits of a number that is taken, on both sides of the point together."""


class ContentError(ValueError):
    """Bytes or values that are no content. The text names the place, never what stands there."""


def to_json(content: object, extra: Mapping[str, object] | None = None) -> bytes:
    """The one byte form of a dataclass. `extra`: keys beside its own. Raises `ContentError`."""
    if not dataclasses.is_dataclass(content) or isinstance(content, type):
        raise ContentError("content: not a dataclass")
    tree = {**(extra or {}), **_tree(content, "")}
    try:
        return orjson.dumps(tree, default=_exact, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        raise ContentError("content: a number beyond 64 bits, or a text that is no UTF-8") from None


def digest(canonical: bytes) -> str:
    """SHA-256 of the byte form, in hex."""
    return hashlib.sha256(canonical).hexdigest()


def parse(data: bytes) -> dict[str, Any]:
    """The JSON object, with exact numbers. Raises `ContentError`."""
    try:
        tree = json.loads(
            data.decode("utf-8"), parse_float=_decimal, parse_int=_whole, parse_constant=_no_number
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise ContentError("content: no JSON") from None
    if not isinstance(tree, dict):
        raise ContentError("content: no JSON object")
    return tree


def build(kind: type[T], tree: Mapping[str, object]) -> T:
    """A dataclass of `kind` from a parsed object. Raises `ContentError`, which names the place."""
    built = _built(kind, tree, "")
    assert isinstance(built, kind)
    return built


def number_text(value: int | Decimal) -> str:
    """A number as it is written: no exponent, no zeros behind the last digit that counts.

    Raises `ContentError` for what is no number.
    """
    if isinstance(value, int):
        return str(value)
    if not value.is_finite():
        raise ContentError("a number is not finite")
    if abs(value.adjusted()) > LARGEST_NUMBER_DIGITS:
        raise ContentError(f"a number has more than {LARGEST_NUMBER_DIGITS} digits")
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def moment_text(value: datetime) -> str:
    """A moment in UTC with six decimals and Z. Raises `ContentError` for one without a zone."""
    if value.tzinfo is None:
        raise ContentError("a moment has no zone")
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# --- writing -------------------------------------------------------------------------------------

_PLAIN = frozenset({str, int, bool, Decimal, type(None)})


def _tree(value: object, place: str) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            name: _tree(getattr(value, name), f"{place}.{name}" if place else name)
            for name in _hints(type(value))
        }
    if isinstance(value, tuple):
        if all(type(each) in _PLAIN for each in value):  # a table's rows are nearly all of it
            return list(value)
        return [_tree(each, place) for each in value]
    if isinstance(value, float):
        raise ContentError(f"{place}: a float is not exact")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return moment_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if value is None or isinstance(value, (bool, int, str, Decimal)):
        return value
    raise ContentError(f"{place}: {type(value).__name__} has no byte form")


def _exact(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(number_text(value))
    raise TypeError


# --- reading -------------------------------------------------------------------------------------


def _decimal(text: str) -> Decimal:
    return Decimal(text)


def _whole(text: str) -> int:
    if len(text) > LARGEST_NUMBER_DIGITS:
        raise ContentError(f"a number has more than {LARGEST_NUMBER_DIGITS} digits")
    return int(text)


def _no_number(text: str) -> NoReturn:
    raise ContentError("content: no finite number")


@cache
def _hints(kind: type) -> dict[str, Any]:
    """The fields of a dataclass and their types."""
    hints = get_type_hints(kind)
    return {each.name: hints[each.name] for each in dataclasses.fields(kind)}


def fields_of(kind: type) -> Mapping[str, Any]:
    """The fields of a content's dataclass and their types, resolved."""
    return _hints(kind)


def _built(wanted: Any, value: object, place: str) -> Any:
    origin = get_origin(wanted)
    if origin in (types.UnionType, Union):
        return _one_of(get_args(wanted), value, place)
    if origin is tuple:
        if not isinstance(value, list):
            raise ContentError(f"{place}: no list")
        item = get_args(wanted)[0]
        return tuple(_built(item, each, f"{place}[{n}]") for n, each in enumerate(value))
    if dataclasses.is_dataclass(wanted):
        assert isinstance(wanted, type)
        return _record(wanted, value, place)
    return _scalar(wanted, value, place)


def _record(wanted: type, value: object, place: str) -> object:
    if not isinstance(value, Mapping):
        raise ContentError(f"{place or 'content'}: no object")
    hints = _hints(wanted)
    if missing := [name for name in hints if name not in value]:
        raise ContentError(f"{place or 'content'}: without {', '.join(missing)}")
    if strange := sorted(str(name) for name in value if name not in hints):
        raise ContentError(f"{place or 'content'}: {len(strange)} keys that nobody knows")
    parts = {
        name: _built(kind, value[name], f"{place}.{name}" if place else name)
        for name, kind in hints.items()
    }
    try:
        return wanted(**parts)
    except ContentError as exc:
        raise ContentError(f"{place or 'content'}: {exc}") from None


def _one_of(kinds: tuple[Any, ...], value: object, place: str) -> object:
    if value is None and type(None) in kinds:
        return None
    left = [kind for kind in kinds if kind is not type(None)]
    for kind in left[:-1]:
        try:
            return _built(kind, value, place)
        except ContentError:
            continue
    return _built(left[-1], value, place)


def _scalar(wanted: Any, value: object, place: str) -> object:
    fits = {
        str: isinstance(value, str),
        bool: isinstance(value, bool),
        int: isinstance(value, int) and not isinstance(value, bool),
        Decimal: isinstance(value, Decimal),
    }.get(wanted)
    if fits:
        return value
    if fits is None and isinstance(value, str):
        try:
            if wanted is datetime:
                moment = datetime.fromisoformat(value)
                if moment.tzinfo is not None:
                    return moment.astimezone(UTC)
            elif isinstance(wanted, type) and issubclass(wanted, (date, Enum)):
                return wanted.fromisoformat(value) if issubclass(wanted, date) else wanted(value)
        except ValueError:
            pass
    raise ContentError(f"{place}: no {getattr(wanted, '__name__', wanted)}")
