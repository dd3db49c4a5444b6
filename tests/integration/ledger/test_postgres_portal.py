"""The dossiers that may explain a difference with the portal, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from schemas.ledger.database import Lane
from schemas.ledger.migrate import upgrade
from schemas.ledger.sql import SqlLedger
from tests.contract.ledger_contract import Desk
from tests.contract.portal_dossiers_contract import PortalDossiersContract
from tests.integration.ledger.databases import postgres_server, url
from tests.unit.rates.counted import Hall

__all__ = ["postgres_server", "url"]

pytestmark = pytest.mark.integration


class TestPostgresPortalDossiers(PortalDossiersContract):
    @pytest.fixture
    async def ours(self, url: str) -> AsyncIterator[Hall]:
        upgrade(url)
        lane = Lane(url, "portal", seconds=None)
        async with SqlLedger(url) as ledger:
            yield Hall(ledger=ledger, desk=await Desk.open(ledger), lane=lane)
        await lane.close()
