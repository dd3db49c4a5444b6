"""The packets' contract on a real PostgreSQL."""

from __future__ import annotations

import pytest

from tests.contract.packets_contract import PacketsContract
from tests.integration.ledger.databases import postgres_server, url

__all__ = ["postgres_server", "url"]

pytestmark = pytest.mark.integration


class TestPostgresPackets(PacketsContract):
    @pytest.fixture
    def url(self, url: str) -> str:
        return url
