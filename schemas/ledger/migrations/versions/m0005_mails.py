"""Which mails went out on which day.

Revision: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from schemas.ledger.dialect import UtcTimestamp

revision = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None
works_from = "0001"
"""A table is added only: code that does not know it does not miss it."""


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "mails",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("recipients", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("claim_id", sa.Text(), nullable=False),
        sa.Column("changed_at", UtcTimestamp(), nullable=False),
        sa.PrimaryKeyConstraint("day", "recipients", name=op.f("pk_mails")),
    )
