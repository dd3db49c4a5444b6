"""What looks like a person or a secret is masked; what an operator needs stays readable."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import RejectedError
from monitoring.redaction import (
    DENIED,
    MASK,
    denied,
    describe,
    describe_exceptions,
    redact,
    redact_text,
    redact_value,
)
from schemas.reasons import Reason

around = st.text(
    st.characters(exclude_categories=["Nd", "Cs"], exclude_characters="<"), max_size=20
)


def digits_of(size: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=size, max_size=size)


@given(around, st.one_of(digits_of(12), digits_of(9)), around)
def test_personal_numbers_never_stay(before: str, number: str, after: str) -> None:
    assert number not in redact_text(before + number + after)


@given(around, digits_of(9), st.sampled_from(["0", "+84", "84", "0084"]), around)
def test_phone_numbers_never_stay(before: str, rest: str, prefix: str, after: str) -> None:
    number = prefix + rest
    assert number not in redact_text(f"{before} {number}{after}")


@given(
    around, st.from_regex(r"[a-z][a-z0-9._+-]{2,20}@[a-z]{3,12}\.(vn|com)", fullmatch=True), around
)
def test_mail_addresses_never_stay(before: str, address: str, after: str) -> None:
    assert address not in redact_text(f"{before} {address} {after}")


secrets = st.text("abcdefghijklmnopqrstuvwxyzABCDEFG0123456789!$%^*_-", min_size=6, max_size=20)


@given(st.sampled_from(["password=", "Password: ", "pwd=", "token=", "api_key = "]), secrets)
def test_labelled_secrets_never_stay(label: str, secret: str) -> None:
    said = redact_text(f"refused {label}{secret} by server")
    assert said == f"refused {label}{MASK} by server"


@given(secrets, secrets)
def test_credentials_in_a_url_never_stay(user: str, secret: str) -> None:
    said = redact_text(f"cannot reach postgresql://{user}:{secret}@db.local:5432/hub now")
    assert said == f"cannot reach postgresql://{MASK}@db.local:5432/hub now"


codes = st.builds(
    "000.{:02d}.{:02d}.H{:02d}-{:06d}-{:04d}".format,
    *(st.integers(0, 99) for _ in range(3)),
    st.integers(0, 999_999),
    st.integers(0, 9999),
)


@given(codes)
def test_dossier_codes_stay(code: str) -> None:
    assert redact_text(f"dossier {code} waits") == f"dossier {code} waits"


@pytest.mark.parametrize(
    "text",
    [
        "000.00.04.H04-251123-0007",
        "G09.20-20260609-0092637",
        "612.000.00.00.H48-251123-0001",
        "127.0.0.1:19092",
        "2026-11-23T10:20:30.123456+00:00",
        "3f2b8c1d9e0a4b5c6d7e8f9012345678" * 2,
        "connect timeout after 10.0 s, try 3 of 10",
        "codelist=status code=releasing qualifier=1",
    ],
)
def test_what_an_operator_needs_stays(text: str) -> None:
    assert redact_text(text) == text


@given(st.uuids())
def test_uuids_stay(value: uuid.UUID) -> None:
    assert redact_text(f"attempt {value}") == f"attempt {value}"
    assert redact_value("attempt_id", value) == str(value)


@pytest.mark.parametrize(
    "text",
    [
        "001 099 123 456",
        "001-099-123-456",
        "+84 912 345 678",
        "0912.345.678",
        "Authorization: Bearer abcdef.ghijkl",
        "basic dXNlcjpwYXNz",
        "mật khẩu: hoa-sen-9",
    ],
)
def test_other_ways_to_write_them_do_not_stay(text: str) -> None:
    said = redact_text(f"x {text} y")
    assert MASK in said
    for part in ("123", "456", "345", "678", "abcdef", "dXNlcj", "hoa-sen"):
        assert part not in said


def test_markup_is_withheld_whole() -> None:
    assert redact_text("<a:Body><HoTen>Trần Thị Bưởi</HoTen>") == "(markup withheld)"


def test_a_text_becomes_one_short_line() -> None:
    said = redact_text("first\nsecond\r\x1b[31m" + "x" * 2000)
    assert said.startswith("first second  [31m")
    assert len(said) == 501
    assert redact_text("\ud800") == "?"


@pytest.mark.parametrize("key", [*DENIED, "applicant_name", "Contact-Tel-No", "name", "soap_body"])
def test_denied_keys_are_masked_whatever_their_value(key: str) -> None:
    for value in ("Trần Thị Bưởi", 12, b"bytes", {"a": 1}, ["b"]):
        assert redact_value(key, value) == MASK


@pytest.mark.parametrize(
    "key", ["dossier_id", "event_id", "target", "reason", "content_hash", "seconds", "offset"]
)
def test_our_own_keys_are_not_denied(key: str) -> None:
    assert not denied(key)


@given(
    st.recursive(
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.dates()
        ),
        lambda inner: st.one_of(
            st.lists(inner), st.dictionaries(st.text(), inner), st.tuples(inner)
        ),
    )
)
def test_every_value_becomes_something_plain(value: object) -> None:
    def plain(each: object) -> bool:
        if isinstance(each, dict):
            return all(isinstance(key, str) and plain(inner) for key, inner in each.items())
        if isinstance(each, list):
            return all(plain(inner) for inner in each)
        return each is None or isinstance(each, str | int | float)

    assert plain(redact_value("facts", value))


def test_values_within_values_are_masked() -> None:
    event = redact(
        None,
        "info",
        {
            "event": "call 0912345678",
            "facts": {"phone": "1", "list": ["001099123456", {"cccd": "2", "kept": 3}]},
            "at_time": datetime(2026, 11, 23, tzinfo=UTC),
            "path": Path("/srv/hub"),
            "bytes_read": b"abc",
            "thing": object(),
        },
    )
    assert event == {
        "event": f"call {MASK}",
        "facts": {"phone": MASK, "list": [MASK, {"cccd": MASK, "kept": 3}]},
        "at_time": "2026-11-23T00:00:00+00:00",
        "path": "/srv/hub",
        "bytes_read": "(3 bytes)",
        "thing": "(object)",
    }


def test_an_id_stays_only_while_it_looks_like_one() -> None:
    assert redact_value("event_id", "one_stop/123456789") == "one_stop/123456789"
    assert redact_value("event_id", "Trần 001099123456") == f"Trần {MASK}"


def test_of_foreign_exceptions_only_the_type_stays() -> None:
    assert describe(KeyError("Trần Thị Bưởi")) == "KeyError"
    assert describe(ConnectionRefusedError(111, "a text")) == "ConnectionRefusedError ECONNREFUSED"
    own = RejectedError(Reason.FIELD_MISSING, "SoDienThoai 0912345678: enter it at the source")
    said = describe(own)
    assert said.startswith("RejectedError: field_missing: SoDienThoai")
    assert "0912345678" not in said


def test_a_chain_of_exceptions_is_told_by_types_and_places() -> None:
    def inner() -> None:
        raise ValueError("Trần Thị Bưởi")

    try:
        try:
            inner()
        except ValueError as error:
            raise RejectedError(Reason.FIELD_INVALID, "NgaySinh") from error
    except RejectedError as error:
        event = describe_exceptions(None, "error", {"event": "x", "exc_info": error})
        same = describe_exceptions(None, "error", {"event": "x", "exc_info": True})
    assert event["error"] == ["RejectedError: field_invalid: NgaySinh", "ValueError"]
    assert same["error"] == event["error"]
    assert any("test_a_chain_of_exceptions" in place for place in event["raised_at"])
    assert "exc_info" not in event
    assert "Bưởi" not in str(event)
