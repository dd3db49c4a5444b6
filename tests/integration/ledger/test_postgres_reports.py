"""Reports in a ledger on a real PostgreSQL."""

from __future__ import annotations

import pytest

from schemas.ledger.migrate import upgrade
from tests.contract.report_store_contract import ReportStoreContract
from tests.integration.ledger.databases import postgres_server
from tests.services.postgres import PostgresServer

__all__ = ["postgres_server"]

pytestmark = pytest.mark.integration


class TestPostgresReports(ReportStoreContract):
    @pytest.fixture
    def url(self, postgres_server: PostgresServer, request: pytest.FixtureRequest) -> str:
        name = f"reports{abs(hash(request.node.name)) % 10**8}"
        url = postgres_server.create_database(name)
        upgrade(url)
        return url
