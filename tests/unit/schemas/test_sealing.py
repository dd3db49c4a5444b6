from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import PersonalData
from schemas.sealing import (
    Hasher,
    SealBroken,
    Sealer,
    UnknownKey,
    WrongMasterKey,
    key_id_of,
    new_key,
    open_person,
    parse_key,
    seal_person,
)
from tests.memory_key_store import MemoryKeyStore
from tests.strategies import PERSONAL_DATA

MASTER = bytes(range(32))
NOVEMBER = datetime(2026, 11, 23, 8, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
SEALER = Sealer({"2026-11": b"k" * 32}, "2026-11")
PERSON = PersonalData(owner_name="Trần Thị Bưởi", phone="0900000000", summary="x" * 600)


# --- sealing ---------------------------------------------------------------------------------------


@given(st.binary(max_size=2000), st.text(max_size=30))
def test_what_was_sealed_is_opened(plain: bytes, associated: str) -> None:
    assert SEALER.open(SEALER.seal(plain, associated), associated) == plain


def test_the_same_content_is_never_sealed_alike() -> None:
    assert SEALER.seal(b"x", "d1") != SEALER.seal(b"x", "d1")


@pytest.mark.parametrize("plain", [b"", b"short", b"long " * 400])
def test_every_changed_byte_breaks_the_seal(plain: bytes) -> None:
    sealed = SEALER.seal(plain, "d1")
    assert sealed[1:8] == b"2026-11"
    for at in range(len(sealed)):
        for bit in (0x01, 0x80):
            changed = bytearray(sealed)
            changed[at] ^= bit
            # Another well-formed month can only look like a key that we do not have.
            expected = (SealBroken, UnknownKey) if 1 <= at <= 7 else SealBroken
            with pytest.raises(expected):
                SEALER.open(bytes(changed), "d1")


def test_another_month_written_over_the_key_id_breaks_the_seal() -> None:
    both = Sealer({"2026-11": b"k" * 32, "2026-12": b"k" * 32}, "2026-11")
    sealed = both.seal(b"content", "d1")
    with pytest.raises(SealBroken):
        both.open(sealed.replace(b"2026-11", b"2026-12"), "d1")


def test_every_cut_breaks_the_seal() -> None:
    sealed = SEALER.seal(b"content", "d1")
    for length in range(len(sealed)):
        with pytest.raises(SealBroken):
            SEALER.open(sealed[:length], "d1")


def test_sealed_for_one_dossier_is_not_opened_for_another() -> None:
    with pytest.raises(SealBroken):
        SEALER.open(SEALER.seal(b"content", "d1"), "d2")


def test_long_content_that_repeats_is_made_smaller() -> None:
    assert len(SEALER.seal(b"<notice>" * 1000, "d1")) < 1000


# --- personal data ---------------------------------------------------------------------------------


@given(PERSONAL_DATA)
def test_personal_data_comes_back_whole(person: PersonalData) -> None:
    assert open_person(SEALER, seal_person(SEALER, person, "d1"), "d1") == person


def test_a_field_of_a_newer_version_is_left_out() -> None:
    sealed = SEALER.seal(b'{"phone": "0900000000", "shoe_size": "38"}', "d1")
    assert open_person(SEALER, sealed, "d1") == PersonalData(phone="0900000000")


@pytest.mark.parametrize("content", [b"", b"<notice/>", b"[1]", b'"text"'])
def test_other_sealed_content_is_no_personal_data(content: bytes) -> None:
    with pytest.raises(SealBroken, match="no personal data"):
        open_person(SEALER, SEALER.seal(content, "d1"), "d1")


def test_no_repr_shows_a_person_or_a_key() -> None:
    shown = repr([PERSON, SEALER, Hasher(MASTER)])
    assert "Trần" not in shown
    assert "0900000000" not in shown
    assert "kkk" not in shown
    assert repr(MASTER)[2:-1] not in shown


# --- the months' keys ------------------------------------------------------------------------------


async def test_the_first_month_makes_a_key_and_a_second_process_reads_it() -> None:
    store = MemoryKeyStore()
    one = await Sealer.load(store, MASTER, NOVEMBER)
    two = await Sealer.load(store, MASTER, NOVEMBER)
    assert list(store.keys) == ["2026-11"]
    assert two.open(one.seal(b"content", "d1"), "d1") == b"content"


async def test_the_store_holds_no_key_in_clear() -> None:
    store = MemoryKeyStore()
    one = await Sealer.load(store, MASTER, NOVEMBER)
    sealed = one.seal(b"content", "d1")
    wrapped = store.keys["2026-11"]
    for start in range(len(wrapped) - 31):
        with pytest.raises(SealBroken):
            Sealer({"2026-11": wrapped[start : start + 32]}, "2026-11").open(sealed, "d1")


async def test_a_new_month_seals_with_a_new_key_and_opens_the_old() -> None:
    sealer = await Sealer.load(MemoryKeyStore(), MASTER, NOVEMBER)
    old = sealer.seal(b"content", "d1")
    assert not sealer.due(NOVEMBER)
    assert sealer.due(DECEMBER)
    await sealer.refresh(DECEMBER)
    assert not sealer.due(DECEMBER)
    assert sealer.seal(b"content", "d1")[1:8] == b"2026-12"
    assert sealer.open(old, "d1") == b"content"


async def test_a_month_begun_elsewhere_is_known_after_a_refresh() -> None:
    store = MemoryKeyStore()
    slow = await Sealer.load(store, MASTER, NOVEMBER)
    quick = await Sealer.load(store, MASTER, DECEMBER)
    sealed = quick.seal(b"content", "d1")
    with pytest.raises(UnknownKey) as caught:
        slow.open(sealed, "d1")
    assert caught.value.key_id == "2026-12"
    await slow.refresh(NOVEMBER)
    assert slow.open(sealed, "d1") == b"content"
    assert slow.current == "2026-11"


async def test_dropping_a_months_key_erases_that_month_only() -> None:
    store = MemoryKeyStore()
    sealer = await Sealer.load(store, MASTER, NOVEMBER)
    november = sealer.seal(b"november", "d1")
    await sealer.refresh(DECEMBER)
    december = sealer.seal(b"december", "d1")
    store.drop("2026-11")
    await sealer.refresh(DECEMBER)
    with pytest.raises(UnknownKey, match="2026-11"):
        sealer.open(november, "d1")
    assert sealer.open(december, "d1") == b"december"


class RacingStore(MemoryKeyStore):
    """Lets everyone read before anyone writes, as two processes may."""

    def __init__(self, racers: int) -> None:
        super().__init__()
        self._start = asyncio.Barrier(racers)
        self.added = 0

    async def wrapped_keys(self) -> Mapping[str, bytes]:
        found = await super().wrapped_keys()
        if self.added == 0:
            await self._start.wait()
        return found

    async def add_wrapped_key(self, key_id: str, wrapped: bytes) -> None:
        self.added += 1
        await super().add_wrapped_key(key_id, wrapped)


async def test_two_processes_that_race_for_the_month_end_with_one_key() -> None:
    store = RacingStore(racers=2)
    one, two = await asyncio.gather(
        Sealer.load(store, MASTER, NOVEMBER), Sealer.load(store, MASTER, NOVEMBER)
    )
    assert store.added == 2
    assert two.open(one.seal(b"content", "d1"), "d1") == b"content"
    assert one.open(two.seal(b"content", "d1"), "d1") == b"content"


async def test_another_master_key_is_refused_and_leaves_the_keyring_as_it_was() -> None:
    store = MemoryKeyStore()
    sealer = await Sealer.load(store, MASTER, NOVEMBER)
    with pytest.raises(WrongMasterKey, match="2026-11"):
        await Sealer.load(store, b"m" * 32, NOVEMBER)
    sealed = sealer.seal(b"content", "d1")
    store.keys["2026-10"] = b"damaged"
    with pytest.raises(WrongMasterKey, match="2026-10"):
        await sealer.refresh(NOVEMBER)
    assert sealer.open(sealed, "d1") == b"content"


async def test_a_wrapped_key_is_good_for_its_own_month_only() -> None:
    store = MemoryKeyStore()
    await Sealer.load(store, MASTER, NOVEMBER)
    store.keys["2026-10"] = store.keys["2026-11"]
    with pytest.raises(WrongMasterKey, match="2026-10"):
        await Sealer.load(store, MASTER, NOVEMBER)


def test_months_are_those_of_utc() -> None:
    ho_chi_minh = timezone(timedelta(hours=7))
    assert key_id_of(datetime(2026, 12, 1, 6, 59, tzinfo=ho_chi_minh)) == "2026-11"
    assert key_id_of(datetime(2026, 12, 1, 7, 0, tzinfo=ho_chi_minh)) == "2026-12"
    with pytest.raises(ValueError, match="zone"):
        key_id_of(datetime(2026, 12, 1))  # noqa: DTZ001 - the case under test


# --- keys as text ----------------------------------------------------------------------------------


@given(st.binary(min_size=32, max_size=32))
def test_a_key_is_read_as_base64_or_hex(key: bytes) -> None:
    for text in (
        key.hex(),
        key.hex().upper(),
        base64.b64encode(key).decode(),
        base64.urlsafe_b64encode(key).decode().rstrip("="),
        f" {key.hex()}\n",
    ):
        assert parse_key(text) == key


def test_a_new_key_can_be_read_and_is_new() -> None:
    assert len({parse_key(new_key()) for _ in range(3)}) == 3


@pytest.mark.parametrize(
    "text", ["", "secret", "z" * 64, "a" * 63, "a" * 65, "é" * 44, "AAAA" * 10, "A" * 43 + "!"]
)
def test_no_key_is_refused_with_the_remedy_and_without_the_text(text: str) -> None:
    with pytest.raises(ValueError, match="openssl rand -base64 32") as caught:
        parse_key(text)
    if text:
        assert text not in str(caught.value)


def test_keys_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Hasher(b"short")
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer({"2026-11": b"short"}, "2026-11")


# --- hashes ----------------------------------------------------------------------------------------

PARTS = st.lists(st.none() | st.text(max_size=5) | st.binary(max_size=5), max_size=4)


@given(PARTS, PARTS)
def test_only_equal_parts_have_equal_hashes(
    one: list[str | bytes | None], other: list[str | bytes | None]
) -> None:
    hasher = Hasher(MASTER)
    same = [(type(p), p) for p in one] == [(type(p), p) for p in other]
    assert (hasher.hash(*one) == hasher.hash(*other)) is same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        (("a", ""), ("a",)),
        ((None,), ("",)),
        (("",), (b"",)),
        ((None,), ()),
        (("n",), (None,)),
    ],
)
def test_the_frames_of_parts_cannot_be_confused(
    one: tuple[str | bytes | None, ...], other: tuple[str | bytes | None, ...]
) -> None:
    hasher = Hasher(MASTER)
    assert hasher.hash(*one) != hasher.hash(*other)


def test_a_hash_is_the_same_tomorrow_and_another_under_another_key() -> None:
    # Kept in ledgers for years: a changed framing would make every dossier look changed.
    assert Hasher(MASTER).hash("a", None, b"b") == "f48141fcd99ce1d15f086776b738106b"
    assert Hasher(b"k" * 32).hash("a", None, b"b") != Hasher(MASTER).hash("a", None, b"b")


def test_text_that_is_no_utf8_has_a_hash() -> None:
    assert len(Hasher(MASTER).hash("\ud800")) == 32
