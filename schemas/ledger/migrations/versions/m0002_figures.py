"""What the rates are counted from.

Revision: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from schemas.ledger.dialect import UtcTimestamp

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None
works_from = "0001"
"""Code of 0001 writes dossiers without the new column; what it changes is found by its place in the log."""


def upgrade() -> None:
    """Create the tables. Every dossier that is there is due to be reckoned."""
    op.add_column(
        "dossiers",
        sa.Column("figures_due", sa.Boolean(), nullable=False, server_default=sa.true()),
    )
    op.create_index(
        "ix_dossiers_figures_due",
        "dossiers",
        ["dossier_id"],
        unique=False,
        sqlite_where=sa.text("figures_due = 1"),
        postgresql_where=sa.text("figures_due"),
    )
    op.create_table(
        "figures",
        sa.Column("dossier_id", sa.Text(), nullable=False),
        sa.Column("state_version", sa.BigInteger(), nullable=False),
        sa.Column("log_pos", sa.BigInteger(), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("standing", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("procedure_code", sa.Text(), nullable=True),
        sa.Column("local_procedure_code", sa.Text(), nullable=True),
        sa.Column("sector_code", sa.Text(), nullable=True),
        sa.Column("agency_code", sa.Text(), nullable=True),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("born_on_portal", sa.Boolean(), nullable=False),
        sa.Column("received_at", UtcTimestamp(), nullable=True),
        sa.Column("returned_at", UtcTimestamp(), nullable=True),
        sa.Column("counts_from", UtcTimestamp(), nullable=True),
        sa.Column("counts_until", UtcTimestamp(), nullable=True),
        sa.Column("electronic_result", sa.Boolean(), nullable=True),
        sa.Column("digitised", sa.Boolean(), nullable=True),
        sa.Column("reused", sa.Boolean(), nullable=True),
        sa.Column("from_data_store", sa.Boolean(), nullable=True),
        sa.Column("population_data", sa.Boolean(), nullable=True),
        sa.Column("paid_online", sa.Boolean(), nullable=True),
        sa.Column("financial_obligation", sa.Boolean(), nullable=True),
        sa.Column("service_level", sa.Text(), nullable=True),
        sa.Column("paper_result", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("dossier_id", name=op.f("pk_figures")),
    )
    op.create_index("ix_figures_received", "figures", ["received_at"], unique=False)
    op.create_index("ix_figures_standing", "figures", ["standing"], unique=False)
    op.create_index("ix_figures_counts", "figures", ["counts_until", "counts_from"], unique=False)
    op.create_table(
        "verdict_spans",
        sa.Column("dossier_id", sa.Text(), nullable=False),
        sa.Column("begun_at", UtcTimestamp(), nullable=False),
        sa.Column("ended_at", UtcTimestamp(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("late_because", sa.Text(), nullable=True),
        sa.Column("end_at", UtcTimestamp(), nullable=True),
        sa.Column("office_late", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("dossier_id", "begun_at", name=op.f("pk_verdict_spans")),
    )
    op.create_index("ix_verdict_spans_ended", "verdict_spans", ["ended_at", "end_at"], unique=False)
    if op.get_bind().dialect.name != "postgresql":
        return
    for name, table, column in _BY_TIME:
        op.create_index(
            name,
            table,
            [column],
            unique=False,
            postgresql_using="brin",
            postgresql_with={"autosummarize": "on"},
        )


_BY_TIME = (
    ("ix_timeline_recorded", "timeline", "recorded_at"),
    ("ix_deliveries_settled", "deliveries", "settled_at"),
    ("ix_attempts_started", "attempts", "started_at"),
)
