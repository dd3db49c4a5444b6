"""Upkeep: new mappings are seen and free what was parked in the old ones; keys are there in time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.dossier.mappings import CodeList, MappingOrigin, MappingRow
from schemas.ledger.model import LedgerReplaced
from schemas.sealing import Sealer
from streams.upkeep import Upkeep
from tests.memory_key_store import MemoryKeyStore

NOW = datetime(2026, 3, 31, 10, 0, tzinfo=UTC)


class Mappings:
    """The mappings of a ledger: rows, their version, and how often parked deliveries were set free."""

    def __init__(self) -> None:
        self.rows: list[MappingRow] = []
        self.version = 0
        self.freed = 0

    async def still_the_same(self) -> None:
        return None

    async def mapping_rows(self) -> tuple[int, Sequence[MappingRow]]:
        return self.version, tuple(self.rows)

    async def put_mappings(self, rows: Sequence[MappingRow], **_: Any) -> int:
        self.freed += 1
        return 0

    def enter(self, code: str) -> None:
        self.version += 1
        self.rows.append(
            MappingRow(
                codelist=CodeList.AGENCY,
                system="one_stop",
                code=code,
                value=f"000.{code}",
                origin=MappingOrigin.OPERATOR,
            )
        )


async def upkeep(mappings: Any, store: MemoryKeyStore, now: datetime = NOW) -> Upkeep:
    sealer = await Sealer.load(store, b"m" * 32, now)
    return Upkeep(ledger=mappings, sealer=sealer, wall=lambda: now, every=0.01)


async def test_a_new_row_is_seen_and_frees_what_was_parked_meanwhile() -> None:
    mappings = Mappings()
    mappings.enter("H04")
    keep = await upkeep(mappings, MemoryKeyStore())
    await keep.read_codes()
    assert keep.codes().agency("one_stop", "H04", NOW).value == "000.H04"
    assert mappings.freed == 0, "nothing was looked up before the first reading"
    mappings.enter("H12")
    await keep.read_codes()
    assert keep.codes().agency("one_stop", "H12", NOW).value == "000.H12"
    assert mappings.freed == 1
    await keep.read_codes()
    assert mappings.freed == 2, "once more for a dossier that was in hand with the old rows"
    await keep.read_codes()
    assert mappings.freed == 2


async def test_the_first_rows_of_an_empty_ledger_free_what_was_parked_without_them() -> None:
    """Another process imports the mappings while this one already looks codes up in none."""
    mappings = Mappings()
    keep = await upkeep(mappings, MemoryKeyStore())
    await keep.read_codes()
    mappings.enter("H12")
    await keep.read_codes()

    assert mappings.freed == 1


async def test_the_key_of_the_next_month_is_there_before_it_is_used() -> None:
    store = MemoryKeyStore()
    keep = await upkeep(Mappings(), store)
    task = asyncio.create_task(keep.run())
    async with asyncio.timeout(5):
        while "2026-04" not in store.keys:
            await asyncio.sleep(0.005)
    keep.stop()
    await task
    assert set(store.keys) == {"2026-03", "2026-04"}


async def test_no_key_is_made_earlier() -> None:
    store = MemoryKeyStore()
    keep = await upkeep(Mappings(), store, NOW - timedelta(days=10))
    task = asyncio.create_task(keep.run())
    async with asyncio.timeout(5):
        while keep.beats < 3:
            await asyncio.sleep(0.005)
    keep.stop()
    await task
    assert set(store.keys) == {"2026-03"}


async def test_a_ledger_that_was_restored_under_the_process_ends_it() -> None:
    class Restored(Mappings):
        async def still_the_same(self) -> None:
            raise LedgerReplaced("the ledger was restored under this process: start again")

    keep = await upkeep(Restored(), MemoryKeyStore())
    with pytest.raises(LedgerReplaced):
        await asyncio.wait_for(keep.run(), 20)
