"""Indicator observations: those that were taken, and what was refused.

Revision: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from schemas.ledger.dialect import FourDecimals, UtcTimestamp

revision = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None
works_from = "0001"
"""Tables are added only: code that does not know them does not miss them."""


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "observations",
        sa.Column("observation_id", sa.Text(), nullable=False),
        sa.Column("indicator", sa.Text(), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("value", FourDecimals(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=True),
        sa.Column("corrects", sa.Text(), nullable=True),
        sa.Column("observed_at", UtcTimestamp(), nullable=False),
        sa.Column("submitted_by", sa.Text(), nullable=False),
        sa.Column("recorded_at", UtcTimestamp(), nullable=False),
        sa.ForeignKeyConstraint(
            ["corrects"],
            ["observations.observation_id"],
            name=op.f("fk_observations_observations"),
        ),
        sa.PrimaryKeyConstraint("observation_id", name=op.f("pk_observations")),
    )
    op.create_index(
        "ix_observations_figure", "observations", ["indicator", "agency", "period"], unique=False
    )
    op.create_table(
        "refused_observations",
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("indicator", sa.Text(), nullable=True),
        sa.Column("agency", sa.Text(), nullable=True),
        sa.Column("period", sa.Text(), nullable=True),
        sa.Column("recorded_at", UtcTimestamp(), nullable=False),
        sa.PrimaryKeyConstraint(
            "origin", "place", "field", "reason", name=op.f("pk_refused_observations")
        ),
    )
