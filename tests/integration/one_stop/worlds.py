"""Worlds on a database server: the writer's account may do everything, the hub's only read."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import Any

from sqlalchemy import create_engine

from connectors.one_stop.columns import SPECS
from connectors.one_stop.config import OneStopSettings
from connectors.one_stop.simulator import schema
from tests.one_stop_database import World

READER, READER_PASSWORD = "reader", "only-to-read"
TABLES = tuple(SPECS)


def emptied_world(admin_url: str, reader_url: str, **settings: Any) -> World:
    """The database at `admin_url` with all tables, and nothing in them but the process steps."""
    engine = create_engine(admin_url)
    schema.create(engine)
    with engine.begin() as connection:
        for table in schema.metadata.sorted_tables:
            connection.execute(table.delete())
    options = {"url": reader_url, "page_size": 4, "connect_timeout_seconds": 5} | settings
    world = World(engine, OneStopSettings.model_validate(options))
    world.ship()
    return world


def closed_port() -> int:
    """A port on which nobody listens."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
