"""What the portal publishes: the files that were given, and the figures in those that were taken.

Revision: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from schemas.ledger.dialect import FourDecimals, UtcTimestamp

revision = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None
works_from = "0001"
"""Tables are added only: code that does not know them does not miss them."""


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "published_answers",
        sa.Column("answer_id", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("form", sa.Text(), nullable=False),
        sa.Column("file_hash", sa.Text(), nullable=False),
        sa.Column("seen_at", UtcTimestamp(), nullable=False),
        sa.Column("submitted_by", sa.Text(), nullable=False),
        sa.Column("recorded_at", UtcTimestamp(), nullable=False),
        sa.Column("faults", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("answer_id", name=op.f("pk_published_answers")),
    )
    op.create_index(
        "ix_published_answers_period", "published_answers", ["period", "service"], unique=False
    )
    op.create_table(
        "published_figures",
        sa.Column("answer_id", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("term", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=True),
        sa.Column("numerator", FourDecimals(), nullable=True),
        sa.Column("denominator", FourDecimals(), nullable=True),
        sa.Column("ratio", FourDecimals(), nullable=True),
        sa.Column("score", FourDecimals(), nullable=True),
        sa.Column("maximum", FourDecimals(), nullable=True),
        sa.Column("flag", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["answer_id"],
            ["published_answers.answer_id"],
            name=op.f("fk_published_figures_published_answers"),
        ),
        sa.PrimaryKeyConstraint(
            "answer_id", "unit", "metric", "term", name=op.f("pk_published_figures")
        ),
    )
