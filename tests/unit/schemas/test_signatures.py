"""Signatures over HTTP: what is believed, and both sides of the window."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.signatures import WINDOW, BadSignature, SignatureFault, sign, verify

KEY = bytes(range(32))
BODY = '{"indicator": "hồ sơ"}'.encode()
AT = datetime(2026, 9, 1, 2, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SIGNED = sign(KEY, BODY, AT)
T, V1 = SIGNED.split(",")


def fault(
    header: str | None = SIGNED, key: bytes = KEY, body: bytes = BODY, now: datetime = AT
) -> SignatureFault | None:
    try:
        verify(header, key, body, now)
    except BadSignature as error:
        return error.fault
    return None


def test_the_signature_is_what_another_program_would_compute() -> None:
    mac = hmac.new(KEY, b"1788228000." + BODY, hashlib.sha256).hexdigest()
    assert sign(KEY, BODY, AT) == f"t=1788228000,v1={mac}"
    assert fault(f"t=1788228000,v1={mac}") is None


@pytest.mark.parametrize(
    ("age", "found"),
    [
        (WINDOW, None),
        (WINDOW + timedelta(microseconds=1000), SignatureFault.TOO_OLD),
        (-WINDOW, None),
        (-WINDOW - timedelta(microseconds=1000), SignatureFault.IN_FUTURE),
    ],
    ids=["just young enough", "too old", "just near enough", "too far ahead"],
)
def test_a_signature_holds_within_the_window(age: timedelta, found: SignatureFault | None) -> None:
    assert fault(now=AT + age) is found


def test_the_window_can_be_another() -> None:
    verify(SIGNED, KEY, BODY, AT + timedelta(hours=1), window=timedelta(hours=1))
    with pytest.raises(BadSignature, match="too old"):
        verify(SIGNED, KEY, BODY, AT + SECOND, window=timedelta())


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, SignatureFault.MISSING),
        ("", SignatureFault.MISSING),
        (V1, SignatureFault.MALFORMED),
        (T, SignatureFault.MALFORMED),
        (f"{V1},{T}", SignatureFault.MALFORMED),
        (f"{T}, {V1}", SignatureFault.MALFORMED),
        (SIGNED + "\n", SignatureFault.MALFORMED),
        (SIGNED + "0", SignatureFault.MALFORMED),
        (SIGNED[:-1], SignatureFault.MALFORMED),
        (SIGNED.replace("v1", "v2"), SignatureFault.MALFORMED),
        (SIGNED.upper(), SignatureFault.MALFORMED),
        (f"t=,{V1}", SignatureFault.MALFORMED),
        (f"t=-1,{V1}", SignatureFault.MALFORMED),
        (f"t=1788228000.0,{V1}", SignatureFault.MALFORMED),
        (f"t={'9' * 13},{V1}", SignatureFault.MALFORMED),
        (f"t={'9' * 12},{V1}", SignatureFault.WRONG),
        (f"t=１７８８２２８０００,{V1}", SignatureFault.MALFORMED),
        (f"t=1788228001,{V1}", SignatureFault.WRONG),
        (f"t=01788228000,{V1}", SignatureFault.WRONG),
        (f"{T},v1={'0' * 64}", SignatureFault.WRONG),
    ],
)
def test_another_header_is_not_believed(header: str | None, found: SignatureFault) -> None:
    assert fault(header) is found


@pytest.mark.parametrize("body", [b"", BODY + b"\n", BODY[:-1], BODY.replace(b" ", b"")])
def test_another_body_is_not_believed(body: bytes) -> None:
    assert fault(body=body) is SignatureFault.WRONG


def test_another_key_is_not_believed_and_learns_nothing_about_the_clock() -> None:
    for now in (AT, AT + timedelta(days=1), AT - timedelta(days=1)):
        assert fault(key=KEY[::-1], now=now) is SignatureFault.WRONG


@given(st.binary(max_size=60), st.datetimes(datetime(1970, 1, 2), datetime(3000, 1, 1)))  # noqa: DTZ001
def test_whatever_is_signed_is_believed_and_no_body_with_a_byte_more(
    body: bytes, at: datetime
) -> None:
    moment = at.replace(tzinfo=UTC)
    header = sign(KEY, body, moment)
    assert fault(header, body=body, now=moment) is None
    assert fault(header, body=body + b"0", now=moment) is SignatureFault.WRONG


def test_the_two_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr(
        "schemas.signatures.hmac.compare_digest",
        lambda one, other: compared.append((one, other)) or False,
    )
    assert fault() is SignatureFault.WRONG, "the comparison alone decides"
    assert compared == [(bytes.fromhex(V1[3:]),) * 2]


@pytest.mark.parametrize("key", [b"", KEY[:-1]])
def test_a_short_key_is_refused_on_both_sides(key: bytes) -> None:
    with pytest.raises(ValueError, match="at least 32"):
        sign(key, BODY, AT)
    with pytest.raises(ValueError, match="at least 32"):
        verify(SIGNED, key, BODY, AT)


def test_a_time_without_a_zone_is_not_signed() -> None:
    with pytest.raises(ValueError, match="has no zone"):
        sign(KEY, BODY, AT.replace(tzinfo=None))


@pytest.mark.parametrize("one", list(SignatureFault))
def test_every_fault_says_what_to_do_in_both_languages(one: SignatureFault) -> None:
    error = BadSignature(one)
    assert error.vi
    assert error.en == str(error)
    assert error.vi != error.en
