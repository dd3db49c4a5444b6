"""The keys by which other systems sign what they hand in: a file of lines `CODE=KEY`, one for each system.

    # thongsuot keys sender eoffice >> senders.keys
    eoffice=3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=

The key is 32 bytes as base64. Empty lines and lines behind # say nothing.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from monitoring.rates.observations import CODE
from schemas.sealing import new_key, parse_key

_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class BadKeys(ValueError):
    """The file gives no keys. The text names every line that is wrong and the remedy, and quotes none."""


def read_sender_keys(file: Path) -> Mapping[str, bytes]:
    """The keys by the systems' codes. Raises `BadKeys` or `OSError`.

    Nobody but the owner may be able to write the file: who adds a line may hand in figures. That others can
    read it is not looked at, because containers mount secrets readable for all in a folder that is not.
    """
    if file.stat().st_mode & _BY_OTHERS:
        raise BadKeys("can be written by others than its owner: chmod go-w")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeError:
        raise BadKeys("is no text; make lines with: thongsuot keys sender CODE") from None
    keys: dict[str, bytes] = {}
    wrong: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        code, sign, key = (part.strip() for part in line.partition("="))
        if not sign or not CODE.fullmatch(code):
            wrong.append(f"line {number}: has to be CODE=KEY, with small letters, digits, . _ -")
        elif code in keys:
            wrong.append(f"line {number}: this system has a key already; keep one of both")
        else:
            try:
                keys[code] = parse_key(key)
            except ValueError:
                keys[code] = b""  # so that a second line of this system is told as well
                wrong.append(f"line {number}: the key is not 32 bytes as base64")
    if wrong:
        raise BadKeys("; ".join(wrong) + ". Make lines with: thongsuot keys sender CODE")
    if not keys:
        raise BadKeys("holds no key; make one with: thongsuot keys sender CODE")
    return keys


def sender_line(code: str) -> str:
    """A line with a new key for a system. Raises `ValueError` for what is no code."""
    if not CODE.fullmatch(code):
        raise ValueError("code: use small letters, digits and . _ - (at most 64 characters)")
    return f"{code}={new_key()}"
