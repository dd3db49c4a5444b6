"""Keeping the data keys apart from the ledger: `thongsuot keys export FILE` and `keys import FILE`.

The keys in the file are wrapped by the master key, so the file alone opens nothing; without it, and
without the ledger, nothing that was sealed can be opened again.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from schemas.ledger.sql import SqlLedger
from schemas.sealing import unwrapped
from streams.settings import Settings

_FORMAT = "thongsuot data keys/1"


class BadKeyFile(Exception):
    """The file holds no keys of ours, or others than the ledger's; `vi` says the same in Vietnamese."""

    def __init__(self, vi: str, en: str) -> None:
        super().__init__(en)
        self.vi = vi


async def export(settings: Settings, file: Path) -> Sequence[str]:
    """Write every wrapped key of the ledger into a new file. Returns their ids.

    Raises `WrongMasterKey` before anything is written, `FileExistsError`, and as the ledger does.
    """
    async with SqlLedger(settings.ledger_url.get_secret_value()) as ledger:
        wrapped = await ledger.wrapped_keys()
    unwrapped(settings.master_key_bytes(), wrapped)
    content = {
        "format": _FORMAT,
        "keys": {name: base64.b64encode(key).decode() for name, key in sorted(wrapped.items())},
    }
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(json.dumps(content, indent=2) + "\n")
        out.flush()
        os.fsync(out.fileno())
    return sorted(wrapped)


async def bring_back(settings: Settings, file: Path) -> Sequence[str]:
    """Add the keys of a file that the ledger does not hold. Returns their ids.

    Raises `BadKeyFile`, `WrongMasterKey`, `OSError`, and as the ledger does; nothing is added then.
    """
    found = read(file)
    keys = unwrapped(settings.master_key_bytes(), found)
    async with SqlLedger(settings.ledger_url.get_secret_value()) as ledger:
        held = await ledger.wrapped_keys()
        own = unwrapped(settings.master_key_bytes(), held)
        other = sorted(name for name in keys.keys() & own.keys() if keys[name] != own[name])
        if other:
            raise BadKeyFile(
                f"khoá {', '.join(other)} trong sổ cái khác với khoá trong tệp: sổ cái đã tạo khoá mới cho "
                "tháng đó sau khi phục hồi; hãy phục hồi lại sổ cái rồi nhập khoá trước khi chạy",
                f"the ledger's key {', '.join(other)} is another than the file's: it was made anew after a "
                "restore; restore the ledger again and import the keys before anything is started",
            )
        missing = sorted(found.keys() - held.keys())
        for name in missing:
            await ledger.add_wrapped_key(name, found[name])
    return missing


def read(file: Path) -> Mapping[str, bytes]:
    """The wrapped keys of a file by their ids. Raises `BadKeyFile` or `OSError`."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise ValueError
        return {
            str(name): base64.b64decode(key, validate=True) for name, key in content["keys"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise BadKeyFile(
            f"{file} không phải tệp khoá do thongsuot keys export tạo ra",
            f"{file} is no file that thongsuot keys export has written",
        ) from None
