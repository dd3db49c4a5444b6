"""How alembic runs the migrations: on the connection that `schemas.ledger.migrate` hands over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from schemas.ledger.tables import metadata


def run() -> None:
    connection = context.config.attributes.get("connection")
    if not isinstance(connection, Connection):
        raise RuntimeError("migrations run by: thongsuot db upgrade")
    context.configure(connection=connection, target_metadata=metadata, compare_type=True)
    context.run_migrations()


run()
