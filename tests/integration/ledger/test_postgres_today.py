"""What can still be saved, and which mails went out, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest

from monitoring.rates.savable import Field, Kind
from monitoring.rates.savable_survey import survey
from schemas.dossier.mappings import CodeList
from schemas.dossier.status import Status
from schemas.ledger.database import Lane
from schemas.ledger.mails import MailState, claim, settle, states
from schemas.ledger.migrate import upgrade
from schemas.ledger.sql import SqlLedger
from tests.contract.ledger_contract import Desk
from tests.integration.ledger.databases import postgres_server, url
from tests.unit.dossier.samples import HOUR, at
from tests.unit.rates.counted import RULES, Hall, mapping
from tests.unit.rates.test_savable import (
    ANSWERED,
    ASKED,
    NOW,
    RECEIVED,
    TODAY,
    complete,
    online,
    submitted_at,
)

__all__ = ["postgres_server", "url"]

pytestmark = pytest.mark.integration

DAY = date(2026, 3, 4)


@pytest.fixture
async def ours(url: str) -> AsyncIterator[Hall]:
    upgrade(url)
    lane = Lane(url, "figures", seconds=None)
    try:
        async with SqlLedger(url) as ledger:
            await ledger.put_mappings(
                [mapping(CodeList.STATUS, status.value, status.value) for status in Status]
            )
            yield Hall(ledger=ledger, desk=await Desk.open(ledger), lane=lane)
    finally:
        await lane.close()


async def test_the_statements_find_the_same_there(ours: Hall) -> None:
    await ours.put(*submitted_at(online("new", "2026-03-03 15:00"), "2026-03-03 15:00"))
    await ours.put(*complete("due", due=TODAY).events())
    await ours.put(*complete("asked", RECEIVED, ASKED, ANSWERED).events())
    await ours.put(*complete("closed", RECEIVED, ("finished", "2026-03-03 09:00")).events())
    for number, due in enumerate(("2026-03-09 17:00", "2026-03-06 17:00", None)):
        await ours.put(*complete(f"lacks{number}", due=due, channel=None).events())
    while await ours.refresh():
        pass
    savable = await survey(ours.lane, ours.decode, RULES, NOW, listed=2)
    (unit,) = savable.units
    assert [(e.kind, e.dossier_id, e.deadline, e.left) for e in unit.entries] == [
        (Kind.RECEPTION, "new", at("2026-03-04 15:00"), 3 * HOUR),
        (Kind.DUE, "due", at(TODAY), 5 * HOUR),
        (Kind.SUPPLEMENT, "asked", at("2026-03-20 17:00"), 101 * HOUR),
        (Kind.FIELD, "lacks1", at("2026-03-06 17:00"), 21 * HOUR),
        (Kind.FIELD, "lacks0", at("2026-03-09 17:00"), 29 * HOUR),
    ]
    assert unit.counts[Kind.FIELD] == 3
    assert unit.fields == {Field.CHANNEL: 3, Field.DUE: 1}
    assert (savable.undecided, savable.waiting) == (0, 0)


async def test_of_many_at_once_one_may_send(ours: Hall, url: str) -> None:
    lanes = [Lane(url, f"mail-{n}", seconds=None) for n in range(4)]
    try:
        for again in range(5):
            day = date(2026, 3, 4 + again)

            def ask(connection: Any, name: int, day: date = day) -> bool:
                return claim(connection, day, "us", str(name))

            won = await asyncio.gather(
                *(lane.write(lambda c, n=n: ask(c, n)) for n, lane in enumerate(lanes))  # type: ignore[misc]
            )
            assert sorted(won) == [False, False, False, True]
    finally:
        for lane in lanes:
            await lane.close()


async def test_a_failed_mail_may_be_claimed_again(ours: Hall) -> None:
    assert await ours.lane.write(lambda c: claim(c, DAY, "us", "a"))
    await ours.lane.write(lambda c: settle(c, DAY, "us", "a", MailState.FAILED))
    assert await ours.lane.write(lambda c: claim(c, DAY, "us", "b"))
    await ours.lane.write(lambda c: settle(c, DAY, "us", "b", MailState.SENT))
    assert not await ours.lane.write(lambda c: claim(c, DAY, "us", "c"))
    assert await ours.lane.read(lambda c: states(c, DAY)) == {"us": MailState.SENT}
