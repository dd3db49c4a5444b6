"""Which reports are asked for, and from what they are filled.

Revision: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from schemas.ledger.dialect import PlainText, UtcTimestamp

revision = "0009"
down_revision: str | None = "0008"
branch_labels: str | None = None
depends_on: str | None = None
works_from = "0001"
"""Tables are added only: code that does not know them does not miss them."""

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "report_catalogues",
        sa.Column("place", _ROW_ID, autoincrement=True, nullable=False),
        sa.Column("packet_id", PlainText(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("code", PlainText(), nullable=False),
        sa.Column("version", PlainText(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("received_at", UtcTimestamp(), nullable=False),
        sa.Column("recorded_at", UtcTimestamp(), nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_report_catalogues")),
        sa.UniqueConstraint("packet_id", name=op.f("uq_report_catalogues_packet_id")),
    )
    op.create_index(
        "ix_report_catalogues_key", "report_catalogues", ["kind", "code", "version"], unique=False
    )
    op.create_table(
        "refused_packets",
        sa.Column("packet_id", PlainText(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", PlainText(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", UtcTimestamp(), nullable=False),
        sa.Column("recorded_at", UtcTimestamp(), nullable=False),
        sa.PrimaryKeyConstraint("packet_id", "reason", name=op.f("pk_refused_packets")),
    )
    op.create_table(
        "report_mappings",
        sa.Column("mapping_id", _ROW_ID, autoincrement=True, nullable=False),
        sa.Column("regime", PlainText(), nullable=False),
        sa.Column("form", PlainText(), nullable=False),
        sa.Column("form_version", PlainText(), nullable=False),
        sa.Column("table_hash", sa.Text(), nullable=False),
        sa.Column("submitted_by", sa.Text(), nullable=False),
        sa.Column("recorded_at", UtcTimestamp(), nullable=False),
        sa.PrimaryKeyConstraint("mapping_id", name=op.f("pk_report_mappings")),
    )
    op.create_index(
        "ix_report_mappings_form",
        "report_mappings",
        ["regime", "form", "form_version"],
        unique=False,
    )
    op.create_table(
        "report_mapping_cells",
        sa.Column("mapping_id", _ROW_ID, autoincrement=False, nullable=False),
        sa.Column("row", PlainText(), nullable=False),
        sa.Column("column", PlainText(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("argument", PlainText(), nullable=False),
        sa.Column("optional", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["mapping_id"],
            ["report_mappings.mapping_id"],
            name=op.f("fk_report_mapping_cells_report_mappings"),
        ),
        sa.PrimaryKeyConstraint(
            "mapping_id", "row", "column", name=op.f("pk_report_mapping_cells")
        ),
    )
    op.create_table(
        "report_outlines",
        sa.Column("outline_id", _ROW_ID, autoincrement=True, nullable=False),
        sa.Column("regime", PlainText(), nullable=False),
        sa.Column("form", PlainText(), nullable=False),
        sa.Column("form_version", PlainText(), nullable=False),
        sa.Column("period", PlainText(), nullable=False),
        sa.Column("agency", PlainText(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("submitted_by", sa.Text(), nullable=False),
        sa.Column("recorded_at", UtcTimestamp(), nullable=False),
        sa.PrimaryKeyConstraint("outline_id", name=op.f("pk_report_outlines")),
    )
    op.create_index(
        "ix_report_outlines_report",
        "report_outlines",
        ["regime", "form", "period", "agency"],
        unique=False,
    )
