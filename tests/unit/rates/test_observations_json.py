"""A list of observations as another system sends it: read exactly, or refused with every fault."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from monitoring.rates.observations_json import MOST, NEEDED, BadList, Fault, parse_list
from schemas.records import IndicatorObservation
from tests.unit.rates.observed import GOOD, NOW, but

SENT: dict[str, Any] = {
    "observation_id": "F-2026-08",
    "indicator": "files",
    "agency": "H44",
    "period": "2026-08",
    "value": 68.5,
    "unit": "percent",
    "as_of": "2026-08-31",
    "system": "eoffice",
    "document": "12/BC-VP",
    "corrects": None,
}


def body(*items: object) -> bytes:
    return json.dumps(list(items), ensure_ascii=False).encode()


def parsed(sent: bytes) -> list[IndicatorObservation]:
    return parse_list(sent, now=NOW, submitted_by="eoffice")


def faults(sent: bytes) -> tuple[Fault, ...]:
    with pytest.raises(BadList) as caught:
        parsed(sent)
    assert all(one.words.vi and one.words.en for one in caught.value.faults)
    return caught.value.faults


def test_a_list_becomes_observations_in_its_order() -> None:
    second = {**SENT, "observation_id": "F2", "value": None, "corrects": "F-2026-08"}
    del second["document"]
    assert parsed(body(SENT, second)) == [
        GOOD,
        but(observation_id="F2", value=None, corrects="F-2026-08", document=None),
    ]


@pytest.mark.parametrize(
    "written", ["0", "100", "68.5", "0.1", "99.9999", "12.34567", "6e1", "1e-4"]
)
def test_a_number_is_what_was_written_and_no_binary_fraction(written: str) -> None:
    (found,) = parsed(body(SENT).replace(b"68.5", written.encode()))
    assert found.value == Decimal(written)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        *(({name: ""}, name) for name in NEEDED),
        *(({name: 7}, name) for name in NEEDED if name != "value"),
        ({"value": "68.5"}, "value"),
        ({"value": True}, "value"),
        ({"period": "08/2026"}, "period"),
        ({"as_of": "31/08/2026"}, "as_of"),
        ({"system": "  "}, "system"),
        ({"document": ["Bưởi"]}, "document"),
        ({"corrects": 1}, "corrects"),
        ({"Bưởi": 1}, ""),
    ],
    ids=str,
)
def test_a_wrong_field_is_named_and_nothing_repeated(changes: dict[str, Any], field: str) -> None:
    (found,) = faults(body(SENT, {**SENT, **changes}))
    assert (found.item, found.field, found.reason) == (1, field, "unreadable")
    assert "Bưởi" not in str(found.as_dict())


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_field_is_named(name: str) -> None:
    (found,) = faults(body({key: value for key, value in SENT.items() if key != name}))
    assert (found.item, found.field) == (0, name)


def test_all_faults_are_told_at_once() -> None:
    found = faults(body({**SENT, "period": "x", "unit": None}, "Bưởi", {**SENT, "value": "x"}))
    assert [(one.item, one.field) for one in found] == [
        (0, "period"),
        (0, "unit"),
        (1, ""),
        (2, "value"),
    ]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"", "a JSON list"),
        (b"{}", "a JSON list"),
        (b"[]", "a JSON list"),
        (b"Tran Thi Buoi", "a JSON list"),
        (b"\xff\xfe", "a JSON list"),
        (body(SENT).replace(b"68.5", b"NaN"), "a JSON list"),
        (body(SENT).replace(b"68.5", b"1" * 31), "a JSON list"),
        (b"[" * 100_000, "a JSON list"),
        (b'{"a":' * 100_000, "a JSON list"),
        (body(*[SENT] * (MOST + 1)), f"more than {MOST}"),
    ],
    ids=[
        *("nothing", "an object", "an empty list", "no JSON", "no UTF-8", "NaN", "digits"),
        *("brackets", "braces", "too many"),
    ],
)
def test_what_is_no_list_is_refused_as_a_whole(sent: bytes, words: str) -> None:
    (found,) = faults(sent)
    assert (found.item, found.field) == (None, "")
    assert words in found.words.en
    assert "Buoi" not in str(found)


def test_as_many_as_are_allowed_are_read() -> None:
    assert len(parsed(body(*[SENT] * MOST))) == MOST
