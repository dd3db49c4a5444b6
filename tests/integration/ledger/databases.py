"""An empty database of its own for every test, on the module's server."""

from __future__ import annotations

import itertools

import pytest

from tests.services.postgres import PostgresServer, postgres_server

__all__ = ["postgres_server", "url"]

_names = itertools.count(1)


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.create_database(f"ledger{next(_names)}")
