"""Records to the dicts that fastavro writes, and back. The conversion is compiled once per class."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from operator import attrgetter
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

R = TypeVar("R")
Convert = Callable[[Any], Any]
UNKNOWN = "unknown"  # the default symbol of every enum in `avro/`; never written


class UnknownSymbol(ValueError):
    """A mandatory enum holds a symbol that this version does not know."""


class _Plan:
    """How one dataclass is turned into a dict and back; fields that need nothing are not listed."""

    def __init__(self, record: type[Any]) -> None:
        hints = get_type_hints(record)
        self.record = record
        self.names = tuple(f.name for f in fields(record))
        self.values: Callable[[Any], tuple[Any, ...]] = attrgetter(*self.names)
        self.encode: list[tuple[str, Convert]] = []
        self.decode: list[tuple[str, Convert]] = []
        for name in self.names:
            encode, decode = _converters(name, hints[name])
            if encode is not None:
                self.encode.append((name, encode))
            if decode is not None:
                self.decode.append((name, decode))

    def to_avro(self, record: Any) -> dict[str, Any]:
        datum = dict(zip(self.names, self.values(record), strict=True))
        for name, convert in self.encode:
            value = datum[name]
            if value is not None:
                datum[name] = convert(value)
        return datum

    def from_avro(self, datum: dict[str, Any]) -> Any:
        for name, convert in self.decode:
            value = datum[name]
            if value is not None:
                datum[name] = convert(value)
        return self.record(**datum)


_PLANS: dict[type[Any], _Plan] = {}


def to_avro(record: Any) -> dict[str, Any]:
    """The dict of a record. Raises `ValueError` for a time without a zone."""
    return _plan(type(record)).to_avro(record)


def from_avro(record: type[R], datum: dict[str, Any]) -> R:
    """The record of a dict, which is used up. Raises `UnknownSymbol`."""
    made: R = _plan(record).from_avro(datum)
    return made


def _plan(record: Any) -> _Plan:
    plan = _PLANS.get(record)
    if plan is None:
        plan = _PLANS[record] = _Plan(record)
    return plan


def _converters(name: str, hint: Any) -> tuple[Convert | None, Convert | None]:
    optional = False
    if get_origin(hint) in (types.UnionType, Union):
        (hint,) = (arg for arg in get_args(hint) if arg is not type(None))
        optional = True
    if get_origin(hint) is tuple:
        item: Any = get_args(hint)[0]
        if not is_dataclass(item):
            return None, tuple
        plan = _plan(item)
        return (
            lambda values: [plan.to_avro(value) for value in values],
            lambda data: tuple([plan.from_avro(datum) for datum in data]),
        )
    if is_dataclass(hint):
        plan = _plan(hint)
        return plan.to_avro, plan.from_avro
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return None, _enum_decoder(name, hint, optional)
    if hint is datetime:
        return lambda value: _with_zone(name, value), None
    if hint in (str, int, bool, bytes, date, Decimal):
        return None, None
    raise TypeError(f"{name}: no Avro conversion for {hint}")


def _enum_decoder(name: str, enum: type[StrEnum], optional: bool) -> Convert:
    members: dict[str, StrEnum | None] = {member.value: member for member in enum}
    if optional:
        members[UNKNOWN] = None  # what we do not know we do not hold

    def decode(symbol: str) -> StrEnum | None:
        try:
            return members[symbol]
        except KeyError:
            raise UnknownSymbol(f"{name}: this version does not know the symbol") from None

    return decode


def _with_zone(name: str, value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError(f"{name}: a time without a zone; records hold times in UTC")
    return value
