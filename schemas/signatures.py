"""Signatures of what other systems hand in over HTTP: HMAC-SHA-256 over the time and the raw body.

    X-Thongsuot-Signature: t=1782000000,v1=<64 hex characters>

`t` is the time of signing, in seconds since 1970; what is signed is `t`, a full stop, and the body byte for
byte as it travels. The window bounds how long a message that was listened to can be sent again; within it
the receiver has to know what it holds already.
"""

from __future__ import annotations

import hmac
import re
from datetime import datetime, timedelta
from enum import StrEnum

HEADER = "X-Thongsuot-Signature"
WINDOW = timedelta(minutes=5)
"""How old a signature may be, and how far in the future, because clocks differ."""

LEAST_KEY_BYTES = 32
_WRITTEN = re.compile("t=(?P<at>[0-9]{1,12}),v1=(?P<mac>[0-9a-f]{64})")


class SignatureFault(StrEnum):
    """Why a signature is not believed."""

    MISSING = "signature_missing"
    MALFORMED = "signature_malformed"
    WRONG = "signature_wrong"
    TOO_OLD = "signature_too_old"
    IN_FUTURE = "signature_in_future"


_WORDS = {
    SignatureFault.MISSING: (
        f"thiếu chữ ký; gửi kèm tiêu đề {HEADER}",
        f"the signature is missing; send the header {HEADER}",
    ),
    SignatureFault.MALFORMED: (
        f"chữ ký sai dạng; {HEADER} phải là t=<giây>,v1=<64 ký tự hex>",
        f"the signature is malformed; {HEADER} has to be t=<seconds>,v1=<64 hex characters>",
    ),
    SignatureFault.WRONG: (
        "chữ ký không khớp; ký đúng từng byte của nội dung, bằng khóa đã cấp",
        "the signature does not match; sign the body byte for byte with the key that was given",
    ),
    SignatureFault.TOO_OLD: (
        "chữ ký đã quá hạn; ký lại và gửi ngay",
        "the signature is too old; sign again and send at once",
    ),
    SignatureFault.IN_FUTURE: (
        "thời điểm ký ở tương lai; chỉnh lại đồng hồ của hệ thống gửi",
        "the signature is of the future; set the clock of the sending system right",
    ),
}


class BadSignature(ValueError):
    """A signature is not believed. `vi` and `en` say what to do; nothing of the body or the key."""

    def __init__(self, fault: SignatureFault) -> None:
        self.fault = fault
        self.vi, self.en = _WORDS[fault]
        super().__init__(self.en)


def sign(key: bytes, body: bytes, at: datetime) -> str:
    """The value of the header. Raises `ValueError` for a key that is too short or a time without a zone."""
    if at.tzinfo is None:
        raise ValueError("at: has no zone; give an aware time, e.g. in UTC")
    seconds = int(at.timestamp())
    return f"t={seconds},v1={_mac(key, body, str(seconds)).hex()}"


def verify(
    header: str | None, key: bytes, body: bytes, now: datetime, window: timedelta = WINDOW
) -> None:
    """Believe a signature, or raise `BadSignature`. `now` is aware.

    The signature comes before the time, so that only who has the key is told about the clock. Raises
    `ValueError` for a key that is too short.
    """
    if not header:
        raise BadSignature(SignatureFault.MISSING)
    found = _WRITTEN.fullmatch(header)
    if found is None:
        raise BadSignature(SignatureFault.MALFORMED)
    if not hmac.compare_digest(_mac(key, body, found["at"]), bytes.fromhex(found["mac"])):
        raise BadSignature(SignatureFault.WRONG)
    age = now.timestamp() - int(found["at"])
    if age > window.total_seconds():
        raise BadSignature(SignatureFault.TOO_OLD)
    if age < -window.total_seconds():
        raise BadSignature(SignatureFault.IN_FUTURE)


def _mac(key: bytes, body: bytes, at: str) -> bytes:
    if len(key) < LEAST_KEY_BYTES:
        raise ValueError(f"key: has {len(key)} bytes; give at least {LEAST_KEY_BYTES}")
    return hmac.digest(key, f"{at}.".encode() + body, "sha256")
