"""What form II.06 is counted from: how every dossier stood on every day, by what was known when.

Revision: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from schemas.ledger.dialect import EPOCH, UtcTimestamp

revision = "0007"
down_revision: str | None = "0006"
branch_labels: str | None = None
depends_on: str | None = None
works_from = "0001"
"""Tables and an index are added only: code that does not know them does not miss them."""


def upgrade() -> None:
    """Create the tables, and the index by which events are found by their place in the log.

    Every event that is there is still to be read. On PostgreSQL nobody enlists while the index is made.
    """
    op.create_index("ix_events_log", "events", ["topic", "partition", "log_pos"], unique=False)
    op.create_table(
        "report_cursors",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("log_pos", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", name=op.f("pk_report_cursors")),
    )
    horizon = op.create_table(
        "report_horizon",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("known_at", UtcTimestamp(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report_horizon")),
    )
    op.bulk_insert(horizon, [{"id": 1, "known_at": EPOCH}])
    op.create_table(
        "report_lives",
        sa.Column("dossier_id", sa.Text(), nullable=False),
        sa.Column("known_at", UtcTimestamp(), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.Column("life", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("dossier_id", name=op.f("pk_report_lives")),
    )
    op.create_index("ix_report_lives_rules", "report_lives", ["rules"], unique=False)
    op.create_index(
        "ix_report_lives_trouble",
        "report_lives",
        ["trouble", "dossier_id"],
        unique=False,
        sqlite_where=sa.text("trouble IS NOT NULL"),
        postgresql_where=sa.text("trouble IS NOT NULL"),
    )
    op.create_table(
        "report_spans",
        sa.Column("dossier_id", sa.Text(), nullable=False),
        sa.Column("known_from", UtcTimestamp(), nullable=False),
        sa.Column("begun_on", sa.Date(), nullable=False),
        sa.Column("known_until", UtcTimestamp(), nullable=False),
        sa.Column("ended_on", sa.Date(), nullable=False),
        sa.Column("matters_until", sa.Date(), nullable=False),
        sa.Column("standing", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("agency_code", sa.Text(), nullable=False),
        sa.Column("sector_code", sa.Text(), nullable=False),
        sa.Column("procedure_code", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("received_on", sa.Date(), nullable=True),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("closed_on", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint(
            "dossier_id", "known_from", "begun_on", name=op.f("pk_report_spans")
        ),
    )
    op.create_index("ix_report_spans_matters", "report_spans", ["matters_until"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        op.create_index(
            "ix_report_spans_known",
            "report_spans",
            ["known_from"],
            unique=False,
            postgresql_using="brin",
            postgresql_with={"autosummarize": "on"},
        )
