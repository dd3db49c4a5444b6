"""Indicator observations as another system hands them in: a JSON list, all faults at once with field and remedy.

    [{"observation_id": "HSCV-2026-08", "indicator": "work_files_online_commune", "agency": "H12",
      "period": "2026-08", "value": 68.5, "unit": "percent", "as_of": "2026-08-31",
      "system": "eoffice", "document": "12/BC-VP", "corrects": null}]

`document` and `corrects` may be left out. A `value` of null takes back the figure that `corrects` names.
Reading only: whether what is read is taken is said by `observations.refused`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NoReturn

from monitoring.rates.catalogue import Words
from monitoring.rates.periods import WRITE_PERIOD, parse_period
from schemas.dossier.csv_table import DAY_REMEDY, UNREADABLE, iso_day
from schemas.records import IndicatorObservation, Provenance

MOST = 500
"""Observations of one list at most."""

_LONGEST_NUMBER = 30  # characters; a sound figure has far fewer
_DEEPEST = 64  # brackets that may be open at a time; a sound list has two

NEEDED = ("observation_id", "indicator", "agency", "period", "value", "unit", "as_of", "system")
OPTIONAL = ("document", "corrects")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong. Without `item` (from 0) it concerns the list, without `field` the item."""

    item: int | None
    field: str
    words: Words
    reason: str = UNREADABLE

    def as_dict(self) -> dict[str, object]:
        """For the answer."""
        return {
            "item": self.item,
            "field": self.field or None,
            "reason": str(self.reason),
            "vi": self.words.vi,
            "en": self.words.en,
        }


class BadList(ValueError):
    """A list cannot be read. `faults` are all that is wrong with it; none repeats what was sent."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{one.item}, {one.field}: {one.words.en}" for one in faults))
        self.faults = tuple(faults)


def parse_list(body: bytes, *, now: datetime, submitted_by: str) -> list[IndicatorObservation]:
    """The observations in a body, in its order. Raises `BadList`.

    `now` (aware) is when they are submitted, `submitted_by` the code of whoever does.
    """
    items = _items(body)
    read = [_Item(number, item) for number, item in enumerate(items)]
    faults = [fault for item in read for fault in item.faults]
    if faults:
        raise BadList(faults)
    return [item.observation(now, submitted_by) for item in read]


def _items(body: bytes) -> list[object]:
    found: object = None
    try:
        text = body.decode("utf-8")
        if max(text.count("["), text.count("{")) <= MOST * 2 + _DEEPEST:
            found = json.loads(
                text, parse_float=_number, parse_int=_number, parse_constant=_no_number
            )
    except (ValueError, RecursionError):
        found = None  # its words would repeat what was sent
    if not isinstance(found, list) or not found:
        raise BadList([Fault(None, "", _NO_LIST)])
    if len(found) > MOST:
        raise BadList([Fault(None, "", _TOO_LONG)])
    return found


def _number(text: str) -> Decimal:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("a number of too many digits")
    return Decimal(text)


def _no_number(_: str) -> NoReturn:
    raise ValueError("no number of JSON")


_NO_LIST = Words(
    vi="nội dung phải là danh sách JSON (UTF-8) có ít nhất một số liệu",
    en="the body has to be a JSON list (UTF-8) of at least one observation",
)
_TOO_LONG = Words(
    vi=f"có quá {MOST} số liệu; chia thành nhiều lần gửi",
    en=f"has more than {MOST} observations; send them in several lists",
)
_NO_OBJECT = Words(vi="không phải đối tượng JSON", en="is no JSON object")
_STRANGE = Words(
    vi=f"có trường lạ; chỉ có {', '.join((*NEEDED, *OPTIONAL))}",
    en=f"has a field that is unknown; there are only {', '.join((*NEEDED, *OPTIONAL))}",
)
_TEXT = Words(vi="phải là chuỗi ký tự, không để trống", en="has to be a text that is not empty")
_REMEDIES: Mapping[str, Words] = {
    "period": Words(vi=WRITE_PERIOD[0], en=WRITE_PERIOD[1]),
    "as_of": Words(vi=DAY_REMEDY[0], en=DAY_REMEDY[1]),
    "value": Words(
        vi="phải là số, hoặc null để rút lại số liệu",
        en="has to be a number, or null to take a figure back",
    ),
}


class _Item:
    """One element of the list, and what is wrong with it."""

    def __init__(self, number: int, given: object) -> None:
        self._number = number
        self._given: Mapping[str, object] = given if isinstance(given, dict) else {}
        self.faults = list(self._checked(given))

    def _checked(self, given: object) -> Iterator[Fault]:
        if not isinstance(given, dict):
            yield Fault(self._number, "", _NO_OBJECT)
            return
        if given.keys() - {*NEEDED, *OPTIONAL}:
            yield Fault(self._number, "", _STRANGE)
        for name in NEEDED:
            if name not in given or not _SOUND.get(name, _is_text)(given[name]):
                yield Fault(self._number, name, _REMEDIES.get(name, _TEXT))
        for name in OPTIONAL:
            if given.get(name) is not None and not _is_text(given[name]):
                yield Fault(self._number, name, _TEXT)

    def observation(self, now: datetime, submitted_by: str) -> IndicatorObservation:
        """To be asked when there are no faults."""
        value, document, corrects = (
            self._given["value"],
            self._given.get("document"),
            self._given.get("corrects"),
        )
        as_of = iso_day(self._text("as_of"))
        assert isinstance(as_of, date)
        return IndicatorObservation(
            observation_id=self._text("observation_id"),
            indicator=self._text("indicator"),
            value=value if isinstance(value, Decimal) else None,
            unit=self._text("unit"),
            agency=self._text("agency"),
            period=self._text("period"),
            as_of=as_of,
            provenance=Provenance(
                system=self._text("system"), document=None if document is None else str(document)
            ),
            corrects=None if corrects is None else str(corrects),
            observed_at=now,
            submitted_by=submitted_by,
        )

    def _text(self, name: str) -> str:
        return str(self._given[name])


def _is_text(given: object) -> bool:
    return isinstance(given, str) and bool(given.strip())


_SOUND: Mapping[str, Callable[[object], bool]] = {
    "period": lambda given: isinstance(given, str) and parse_period(given) is not None,
    "as_of": lambda given: isinstance(given, str) and iso_day(given) is not None,
    "value": lambda given: given is None or isinstance(given, Decimal),
}
