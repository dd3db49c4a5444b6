"""Hypothesis strategies for every record, from the types of their fields."""

from __future__ import annotations

import types
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from schemas.avro.packaged import Record
from schemas.records import (
    DeadLetter,
    DeliveryReceipt,
    DossierEvent,
    IndicatorObservation,
    Notice,
    PersonalData,
)

INT = st.integers(-(2**31), 2**31 - 1)
LONG = st.integers(-(2**63), 2**63 - 1)
TIMES = st.datetimes(timezones=st.just(UTC))
FIGURES = st.decimals(-(10**14) + 1, 10**14 - 1, places=4)  # what the schema's decimal can hold
# NUL, XML-special and Vietnamese characters among the rest; a lone surrogate is no text.
TEXTS = st.text(max_size=20) | st.sampled_from(["", "\x00", "<&>'\"", "Đăng ký khai sinh"])

_AVRO_INT = {"status", "partition"}  # `int` in the schemas; every other whole number is a `long`


def of(record: type[Any]) -> st.SearchStrategy[Any]:
    """Every value that a record type can hold."""
    hints = get_type_hints(record)
    return st.builds(record, **{f.name: _field(f.name, hints[f.name]) for f in fields(record)})


def _field(name: str, hint: Any) -> st.SearchStrategy[Any]:
    if get_origin(hint) is types.UnionType:
        (inner,) = (arg for arg in get_args(hint) if arg is not type(None))
        return st.none() | _field(name, inner)
    if get_origin(hint) is tuple:
        return st.lists(_field(name, get_args(hint)[0]), max_size=3).map(tuple)
    if get_origin(hint) is dict:
        return st.dictionaries(TEXTS, _field(name, get_args(hint)[1]), max_size=3)
    if is_dataclass(hint):
        return of(hint)  # type: ignore[arg-type]  # a class, never an instance
    if issubclass(hint, StrEnum):
        return st.sampled_from(hint)
    plain: dict[type, st.SearchStrategy[Any]] = {
        str: TEXTS,
        bytes: st.binary(max_size=20),
        bool: st.booleans(),
        int: INT if name in _AVRO_INT else LONG,
        datetime: TIMES,
        date: st.dates(),
        Decimal: FIGURES,
    }
    return plain[hint]


NOTICES: st.SearchStrategy[Notice] = of(Notice)
DOSSIER_EVENTS: st.SearchStrategy[DossierEvent] = of(DossierEvent)
DEAD_LETTERS: st.SearchStrategy[DeadLetter] = of(DeadLetter)
DELIVERY_RECEIPTS: st.SearchStrategy[DeliveryReceipt] = of(DeliveryReceipt)
INDICATOR_OBSERVATIONS: st.SearchStrategy[IndicatorObservation] = of(IndicatorObservation)
RECORDS: st.SearchStrategy[Record] = st.one_of(
    NOTICES, DOSSIER_EVENTS, DEAD_LETTERS, DELIVERY_RECEIPTS, INDICATOR_OBSERVATIONS
)
PERSONAL_DATA: st.SearchStrategy[PersonalData] = of(PersonalData)
