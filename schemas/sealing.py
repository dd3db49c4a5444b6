"""Sealing of personal data, and the hashes that replace it in look-ups.

AES-256-GCM with a new data key every month (UTC), wrapped by the master key. Dropping a month's wrapped
key erases what was sealed in that month. Hashes are HMACs under a key of their own, which outlives the
months: two equal things keep equal hashes for ever.

    SealError
    ├── SealBroken       tampered with, cut short, or sealed for something else
    ├── UnknownKey       the month's key is not (or no longer) in the keyring
    └── WrongMasterKey   the master key does not open a wrapped data key
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.ledger.model import KeyStore
from schemas.records import PersonalData

KEY_BYTES = 32
_ENVELOPE = b"\x01"  # version of the envelope: version, key id (7 bytes), nonce (12), ciphertext
_WRAPPED = b"\x01"  # version of a wrapped key: version, nonce (12), ciphertext
_NONCE_BYTES = 12
_KEY_ID_BYTES = 7  # "2026-11"
_KEY_ID = re.compile(rb"\d{4}-(0[1-9]|1[0-2])")
_HEADER_BYTES = len(_ENVELOPE) + _KEY_ID_BYTES
_TAG_BYTES = 16
_COMPRESS_ABOVE = 512  # bytes; below it zlib costs more than it saves
_PLAIN, _ZLIB = b"\x00", b"\x01"  # first byte inside the envelope
_LENGTH = struct.Struct(">Q")


class SealError(Exception):
    """Base of what opening may raise. The text names keys and remedies, never content."""


class SealBroken(SealError):
    """The bytes were changed, cut, or sealed for another dossier or message."""


class UnknownKey(SealError):
    """No data key with this id. After `Sealer.refresh` it means: erased, the content is gone."""

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"the data key {key_id} is not in the keyring: refresh, or it has been erased"
        )
        self.key_id = key_id


class WrongMasterKey(SealError):
    """A wrapped data key does not open: another master key, or a damaged row."""

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"the master key does not open the data key {key_id}: set the master key that this "
            "ledger was begun with"
        )
        self.key_id = key_id


def new_key() -> str:
    """A random 32-byte key as base64, as settings take it."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def parse_key(text: str) -> bytes:
    """The 32 bytes of a key written as base64 or hex. Raises `ValueError`, which never quotes the text."""
    stripped = text.strip()
    try:
        if len(stripped) == 2 * KEY_BYTES:
            key = bytes.fromhex(stripped)
        else:
            standard = stripped.replace("-", "+").replace("_", "/")
            padded = standard + "=" * (-len(standard) % 4)
            key = base64.b64decode(padded, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(
            "a key is 32 bytes, written as base64 (44 characters) or hex (64 characters); this is "
            f"{len(stripped)} characters and not one. Make one with: openssl rand -base64 32"
        )
    return key


class Hasher:
    """HMAC-SHA-256 under the hash key."""

    def __init__(self, key: bytes) -> None:
        self._key = _checked(key, "hash key")

    def __repr__(self) -> str:
        return "Hasher(…)"

    def hash(self, *parts: str | bytes | None) -> str:
        """32 hex characters. ``None``, "" and b"" differ, and so do ("ab", "c") and ("a", "bc")."""
        framed: list[bytes] = []
        for part in parts:
            if part is None:
                framed.append(b"n")
                continue
            if isinstance(part, str):
                # A lone surrogate is no UTF-8, but must hash like any other text.
                kind, raw = b"s", part.encode("utf-8", "surrogatepass")
            else:
                kind, raw = b"b", part
            framed += (kind, _LENGTH.pack(len(raw)), raw)
        return hmac.digest(self._key, b"".join(framed), "sha256")[:16].hex()


class Sealer:
    """Seals with the current month's data key and opens with any key of the keyring.

    `seal` and `open` are synchronous and work in memory. Call `refresh` when `due(now)` says that a new
    month began, and once when `open` raises `UnknownKey` (another process may have begun the month).
    """

    def __init__(self, keys: Mapping[str, bytes], current: str) -> None:
        """A keyring without a store, data keys in clear by key id. `Sealer.load` is the usual way."""
        self._store: KeyStore | None = None
        self._wrapper: AESGCM | None = None
        self._keys = {key_id: AESGCM(_checked(key, key_id)) for key_id, key in keys.items()}
        self._use(current)

    def __repr__(self) -> str:
        return f"Sealer(current={self.current!r}, keys={len(self._keys)})"

    @classmethod
    async def load(cls, store: KeyStore, master_key: bytes, at: datetime) -> Sealer:
        """The keyring of `store`, with a data key for the month of `at` (made if it is not there).

        Raises `WrongMasterKey`, and what the store raises.
        """
        sealer = cls.__new__(cls)
        sealer._store = store
        sealer._wrapper = AESGCM(_checked(master_key, "master key"))
        sealer._keys = {}
        await sealer.refresh(at)
        return sealer

    def due(self, at: datetime) -> bool:
        """Whether `at` lies in another month than the key that seals now."""
        return key_id_of(at) != self.current

    async def refresh(self, at: datetime) -> None:
        """Read the store again: new keys come, dropped ones go, the month of `at` gets one.

        Raises `WrongMasterKey`, and what the store raises; the keyring is then unchanged.
        """
        if self._store is None or self._wrapper is None:
            raise TypeError("this Sealer has no key store: make it with Sealer.load")
        current = key_id_of(at)
        wrapped = await self._store.wrapped_keys()
        if current not in wrapped:
            await self._store.add_wrapped_key(
                current, _wrap(self._wrapper, current, os.urandom(KEY_BYTES))
            )
            wrapped = await self._store.wrapped_keys()  # another process may have been first
        self._keys = {
            key_id: AESGCM(_unwrap(self._wrapper, key_id, key)) for key_id, key in wrapped.items()
        }
        self._use(current)

    def seal(self, plain: bytes, associated: str) -> bytes:
        """The envelope. `associated` says what it belongs to; opening it needs the same words."""
        if len(plain) > _COMPRESS_ABOVE:
            inner = _ZLIB + zlib.compress(plain, 1)
            if len(inner) > len(plain):
                inner = _PLAIN + plain
        else:
            inner = _PLAIN + plain
        nonce = os.urandom(_NONCE_BYTES)
        header = self._header
        return header + nonce + self._key.encrypt(nonce, inner, header + associated.encode())

    def open(self, sealed: bytes, associated: str) -> bytes:
        """What was sealed. Raises `SealBroken` or `UnknownKey`."""
        if len(sealed) <= _HEADER_BYTES + _NONCE_BYTES + _TAG_BYTES:
            raise SealBroken(f"{len(sealed)} bytes are too few for a sealed content")
        header = sealed[:_HEADER_BYTES]
        raw_id = header[len(_ENVELOPE) :]
        if header[: len(_ENVELOPE)] != _ENVELOPE or not _KEY_ID.fullmatch(raw_id):
            raise SealBroken("no envelope that this version can read")
        key_id = raw_id.decode()
        key = self._keys.get(key_id)
        if key is None:
            raise UnknownKey(key_id)
        nonce = sealed[_HEADER_BYTES : _HEADER_BYTES + _NONCE_BYTES]
        try:
            inner = key.decrypt(
                nonce, sealed[_HEADER_BYTES + _NONCE_BYTES :], header + associated.encode()
            )
        except InvalidTag:
            raise SealBroken("the seal is broken: changed, or sealed for something else") from None
        return zlib.decompress(inner[1:]) if inner[:1] == _ZLIB else inner[1:]

    def _use(self, key_id: str) -> None:
        self.current = key_id
        self._key = self._keys[key_id]
        self._header = _ENVELOPE + key_id.encode()


def key_id_of(at: datetime) -> str:
    """The id of the data key of a moment: its month in UTC, "2026-11"."""
    if at.tzinfo is None:
        raise ValueError("a time without a zone has no month: pass an aware datetime")
    return f"{at.astimezone(UTC):%Y-%m}"


def key_id_in(sealed: bytes) -> str | None:
    """The id of the data key that sealed this; ``None`` where it is no envelope."""
    raw_id = sealed[len(_ENVELOPE) : _HEADER_BYTES]
    if sealed[: len(_ENVELOPE)] != _ENVELOPE or not _KEY_ID.fullmatch(raw_id):
        return None
    return raw_id.decode()


def unwrapped(master_key: bytes, wrapped: Mapping[str, bytes]) -> dict[str, bytes]:
    """The data keys in clear, by id. Raises `WrongMasterKey`."""
    wrapper = AESGCM(_checked(master_key, "master key"))
    return {key_id: _unwrap(wrapper, key_id, key) for key_id, key in wrapped.items()}


_PERSON_FIELDS = frozenset(f.name for f in fields(PersonalData))


def seal_person(sealer: Sealer, person: PersonalData, dossier_id: str) -> bytes:
    """Personal data as `DossierEvent.sealed`. What is not held is left out."""
    held = {
        name: value for name in _PERSON_FIELDS if (value := getattr(person, name)) not in (None, {})
    }
    return sealer.seal(orjson.dumps(held, option=orjson.OPT_SORT_KEYS), dossier_id)


def open_person(sealer: Sealer, sealed: bytes, dossier_id: str) -> PersonalData:
    """The reverse of `seal_person`. Fields that only a newer version knows are left out.

    Raises `SealBroken` (also for sealed bytes that hold something else) or `UnknownKey`.
    """
    try:
        held = orjson.loads(sealer.open(sealed, dossier_id))
    except orjson.JSONDecodeError:
        held = None
    if not isinstance(held, dict):
        raise SealBroken("the sealed content is no personal data")
    return PersonalData(**{name: held[name] for name in held if name in _PERSON_FIELDS})


def _wrap(wrapper: AESGCM, key_id: str, key: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return _WRAPPED + nonce + wrapper.encrypt(nonce, key, _wrap_data(key_id))


def _unwrap(wrapper: AESGCM, key_id: str, wrapped: bytes) -> bytes:
    nonce = wrapped[1 : 1 + _NONCE_BYTES]
    if wrapped[:1] != _WRAPPED or len(nonce) != _NONCE_BYTES:
        raise WrongMasterKey(key_id)
    try:
        return wrapper.decrypt(nonce, wrapped[1 + _NONCE_BYTES :], _wrap_data(key_id))
    except InvalidTag:
        raise WrongMasterKey(key_id) from None


def _wrap_data(key_id: str) -> bytes:
    return b"data key " + key_id.encode()


def _checked(key: bytes, name: str) -> bytes:
    if len(key) != KEY_BYTES:
        raise ValueError(f"{name}: a key has {KEY_BYTES} bytes, not {len(key)}")
    return key
