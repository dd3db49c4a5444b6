"""One transaction for many dossiers, and a refused change that takes no other one with it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

import pytest

from schemas.ledger.model import (
    Applied,
    Change,
    Fence,
    LedgerRefuses,
    LedgerUnavailable,
    Verdict,
)
from streams.engine.group_commit import GroupCommit

FENCE = Fence(flow="ledger", topic="dossier.events", partition=0, owner="a", epoch=1)


class Groups:
    """A ledger that notes the groups it wrote, and refuses every group with one of `refused` in it."""

    def __init__(self, refused: Collection[str] = ()) -> None:
        self.refused = frozenset(refused)
        self.tried = 0
        self.written: list[list[str]] = []
        self.away = 0
        self.hangs_after = -1

    async def commit(self, changes: Sequence[Change]) -> Sequence[Applied]:
        self.tried += 1
        await asyncio.sleep(0)
        if self.tried > self.hangs_after >= 0:
            await asyncio.Event().wait()
        if self.away:
            self.away -= 1
            raise LedgerUnavailable("away")
        ids = [change.dossier_id for change in changes]
        if self.refused & set(ids):
            raise LedgerRefuses("the database refuses a row")
        self.written.append(ids)
        return [Applied(verdict=Verdict.DONE, at=1.0) for _ in changes]


def change(dossier_id: str) -> Change:
    return Change(dossier_id=dossier_id, target="portal", fence=FENCE)


async def committed(ledger: Any, count: int, *, rows: int = 200) -> list[Applied | BaseException]:
    """The results of so many changes at once, of dossiers d0, d1, …"""
    group = GroupCommit(ledger, window=0.01, rows=rows)
    running = asyncio.create_task(group.run())
    try:
        async with asyncio.timeout(10):
            return await asyncio.gather(
                *(group.commit(change(f"d{n}")) for n in range(count)), return_exceptions=True
            )
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_comes_together_is_written_together() -> None:
    ledger = Groups()
    results = await committed(ledger, 7)
    assert all(isinstance(result, Applied) for result in results)
    assert ledger.written == [[f"d{n}" for n in range(7)]]


async def test_a_group_has_its_limit() -> None:
    ledger = Groups()
    await committed(ledger, 7, rows=3)
    assert [len(group) for group in ledger.written] == [3, 3, 1]


@pytest.mark.parametrize("refused", [["d0"], ["d6"], ["d3", "d4"], [f"d{n}" for n in range(9)]])
async def test_only_a_refused_change_is_refused(refused: list[str]) -> None:
    ledger = Groups(refused)
    results = await committed(ledger, 9)
    told = {f"d{n}" for n, result in enumerate(results) if isinstance(result, LedgerRefuses)}
    assert told == set(refused)
    written = [dossier for group in ledger.written for dossier in group]
    assert sorted(written) == [f"d{n}" for n in range(9) if f"d{n}" not in refused], "once each"
    assert written == sorted(written), "in their order"


async def test_one_of_many_is_found_in_few_transactions() -> None:
    ledger = Groups(["d77"])
    await committed(ledger, 128)
    assert ledger.tried == 1 + 2 * 7, "halves, not one by one"


async def test_a_ledger_that_is_away_is_told_to_all() -> None:
    ledger = Groups()
    ledger.away = 1
    results = await committed(ledger, 3)
    assert all(isinstance(result, LedgerUnavailable) for result in results)
    assert ledger.tried == 1, "whether it was written is unknown: it is not written again"


async def test_who_waits_in_a_halved_group_is_let_go_when_it_ends() -> None:
    ledger = Groups(["d0"])
    ledger.hangs_after = 2
    group = GroupCommit(ledger, window=0.01)  # type: ignore[arg-type] # the one method that is used
    running = asyncio.create_task(group.run())
    waiting = [asyncio.create_task(group.commit(change(f"d{n}"))) for n in range(8)]
    async with asyncio.timeout(10):
        while ledger.tried < 3:
            await asyncio.sleep(0)
        running.cancel()
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
