"""What form II.06 is counted from, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from schemas.ledger.migrate import upgrade
from streams.reporting import tracking
from tests.contract.report_spans_contract import CUT_OFF, MONDAY, ReportSpansContract, story
from tests.integration.ledger.databases import postgres_server, url
from tests.unit.rates.counted import Hall, hall_at
from tests.unit.reporting.followed import Office

__all__ = ["postgres_server", "url"]

pytestmark = pytest.mark.integration


class TestPostgresReportSpans(ReportSpansContract):
    @pytest.fixture
    async def ours(self, url: str) -> AsyncIterator[Hall]:
        upgrade(url)
        async with hall_at(url) as opened:
            yield opened

    async def test_figures_stay_when_others_follow_while_they_are_frozen(
        self, office: Office, url: str
    ) -> None:
        """Two connections: whatever the one follows while the other freezes is known then, or later."""
        async with hall_at(url) as second:
            second.told = office.hall.told
            for number in range(12):
                known_at = CUT_OFF + timedelta(minutes=number)
                (event,) = story(MONDAY, name=f"d{number}").events()
                await office.put(event)
                await asyncio.gather(
                    Office(second).follow(), tracking.seal(office.hall.lane, known_at)
                )
                frozen = await office.count(known_at=known_at)
                await office.follow()
                assert await office.count(known_at=known_at) == frozen
            assert (await office.count()).total().c3 == 12
