"""The ledger's first tables.

Revision: 0001
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from schemas.ledger import partitions
from schemas.ledger.dialect import UtcTimestamp

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None
works_from = "0001"
"""The oldest revision whose code can work with the tables as this one leaves them."""


def upgrade() -> None:
    """Create everything, name this database, and begin the mappings at version 0."""
    # On PostgreSQL these constraints stand on the partitions.
    plain = op.get_bind().dialect.name != "postgresql"
    op.create_table(
        "claims",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("dossier_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("target", "code", name=op.f("pk_claims")),
    )
    op.create_table(
        "compatibility",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("works_from", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_compatibility")),
    )
    op.create_table(
        "content",
        sa.Column("attempt_id", sa.Text(), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_content")),
    )
    op.create_table(
        "cursors",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source", "feed", name=op.f("pk_cursors")),
    )
    op.create_table(
        "data_keys",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcTimestamp(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_data_keys")),
    )
    op.create_table(
        "dead_letters",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("log_pos", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("dossier_id", sa.Text(), nullable=True),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_value", sa.LargeBinary(), nullable=True),
        sa.Column("first_at", UtcTimestamp(), nullable=False),
        sa.Column("recorded_at", UtcTimestamp(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", "log_pos", name=op.f("pk_dead_letters")),
    )
    op.create_index("ix_dead_letters_dossier", "dead_letters", ["dossier_id"], unique=False)
    op.create_table(
        "dossier_aliases",
        sa.Column("dossier_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("dossier_id", "kind", "value", name=op.f("pk_dossier_aliases")),
    )
    op.create_index("ix_dossier_aliases_value", "dossier_aliases", ["value"], unique=False)
    op.create_table(
        "dossier_target",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("dossier_id", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("known", sa.Text(), nullable=False),
        sa.Column("born_on_portal", sa.Boolean(), nullable=False),
        sa.Column("delivered_version", sa.BigInteger(), nullable=False),
        sa.Column("delivered_hash", sa.Text(), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("claimed_code", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("work_seq", sa.BigInteger(), nullable=False),
        sa.Column("runnable", sa.Boolean(), nullable=False),
        sa.Column("wake_at", UtcTimestamp(), nullable=True),
        sa.Column("deadline", UtcTimestamp(), nullable=True),
        sa.Column("verification", sa.Text(), nullable=True),
        sa.Column("verify_at", UtcTimestamp(), nullable=True),
        sa.PrimaryKeyConstraint("target", "dossier_id", name=op.f("pk_dossier_target")),
    )
    op.create_index(
        "ix_dossier_target_runnable",
        "dossier_target",
        ["target", "deadline", "dossier_id"],
        unique=False,
        sqlite_where=sa.text("runnable = 1"),
        postgresql_where=sa.text("runnable"),
    )
    op.create_index(
        "ix_dossier_target_wake",
        "dossier_target",
        ["target", "wake_at"],
        unique=False,
        sqlite_where=sa.text("wake_at IS NOT NULL"),
        postgresql_where=sa.text("wake_at IS NOT NULL"),
    )
    op.create_table(
        "dossiers",
        sa.Column("dossier_id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("state_version", sa.BigInteger(), nullable=False),
        sa.Column("log_pos", sa.BigInteger(), nullable=False),
        sa.Column("born_on_portal", sa.Boolean(), nullable=False),
        sa.Column("procedure_code", sa.Text(), nullable=True),
        sa.Column("local_procedure_code", sa.Text(), nullable=True),
        sa.Column("sector_code", sa.Text(), nullable=True),
        sa.Column("receiving_agency_code", sa.Text(), nullable=True),
        sa.Column("handling_agency_code", sa.Text(), nullable=True),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("applicant_type", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("sub_status", sa.Text(), nullable=True),
        sa.Column("financial_state", sa.Text(), nullable=True),
        sa.Column("result_state", sa.Text(), nullable=True),
        sa.Column("created_at", UtcTimestamp(), nullable=True),
        sa.Column("submitted_at", UtcTimestamp(), nullable=True),
        sa.Column("received_at", UtcTimestamp(), nullable=True),
        sa.Column("due_at", UtcTimestamp(), nullable=True),
        sa.Column("extended_at", UtcTimestamp(), nullable=True),
        sa.Column("finished_at", UtcTimestamp(), nullable=True),
        sa.Column("returned_at", UtcTimestamp(), nullable=True),
        sa.Column("withdrawn_at", UtcTimestamp(), nullable=True),
        sa.Column("refused_at", UtcTimestamp(), nullable=True),
        sa.PrimaryKeyConstraint("dossier_id", name=op.f("pk_dossiers")),
    )
    op.create_index("ix_dossiers_code", "dossiers", ["code"], unique=False)
    op.create_table(
        "event_keys",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("source_day", sa.Integer(), nullable=False),
        sa.Column("enlisted_at", UtcTimestamp(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_event_keys")),
    )
    op.create_table(
        "events",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("source_day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("dossier_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("log_pos", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("effective_at", UtcTimestamp(), nullable=False),
        sa.Column("recorded_at", UtcTimestamp(), nullable=False),
        sa.Column("enlisted_at", UtcTimestamp(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "source_day", name=op.f("pk_events")),
        postgresql_partition_by="RANGE (source_day)",
    )
    op.create_index("ix_events_dossier", "events", ["dossier_id", "log_pos"], unique=False)
    op.create_table(
        "findings",
        sa.Column("finding_id", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("dossier_id", sa.Text(), nullable=False),
        sa.Column("found_at", UtcTimestamp(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("delivery_id", sa.BigInteger(), nullable=True),
        sa.Column("step_key", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("finding_id", name=op.f("pk_findings")),
    )
    op.create_index("ix_findings_dossier", "findings", ["dossier_id"], unique=False)
    op.create_table(
        "found_receipts",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("dossier_id", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("attempt_id", sa.Text(), nullable=True),
        sa.Column("step_key", sa.Text(), nullable=True),
        sa.Column("delivered_at", UtcTimestamp(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "target", "operation", name=op.f("pk_found_receipts")),
    )
    op.create_index("ix_found_receipts_dossier", "found_receipts", ["dossier_id"], unique=False)
    op.create_table(
        "ledger_identity",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_at", UtcTimestamp(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=True),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("restoring", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_identity")),
    )
    op.create_table(
        "mapping_version",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mapping_version")),
    )
    op.create_table(
        "mappings",
        sa.Column(
            "mapping_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("codelist", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("qualifier", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("valid_from", UtcTimestamp(), nullable=True),
        sa.Column("valid_to", UtcTimestamp(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("mapping_id", name=op.f("pk_mappings")),
    )
    op.create_index("ix_mappings_code", "mappings", ["codelist", "system", "code"], unique=False)
    op.create_table(
        "positions",
        sa.Column("flow", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column("topic_id", sa.Text(), nullable=True),
        sa.Column("log_base", sa.BigInteger(), nullable=False),
        sa.Column("verify_until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("flow", "topic", "partition", name=op.f("pk_positions")),
    )
    op.create_table(
        "read_seqs",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("read_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_read_seqs")),
    )
    op.create_table(
        "singletons",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("beat_at", UtcTimestamp(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_singletons")),
    )
    op.create_table(
        "source_rows",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("row_id", sa.Text(), nullable=False),
        sa.Column("dossier_id", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("gone", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("source", "kind", "row_id", name=op.f("pk_source_rows")),
    )
    op.create_index("ix_source_rows_dossier", "source_rows", ["source", "dossier_id"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("attempt_id", sa.Text(), nullable=False),
        sa.Column("dossier_id", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("delivery_ids", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("proved_absent", sa.Boolean(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("started_at", UtcTimestamp(), nullable=False),
        sa.Column("closed_at", UtcTimestamp(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("outcome_at", UtcTimestamp(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["target", "dossier_id"],
            ["dossier_target.target", "dossier_target.dossier_id"],
            name=op.f("fk_attempts_dossier_target"),
        ),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_attempts")),
    )
    op.create_index("ix_attempts_dossier", "attempts", ["dossier_id"], unique=False)
    op.create_index(
        "ix_attempts_open",
        "attempts",
        ["target", "dossier_id"],
        unique=False,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "deliveries",
        sa.Column(
            "delivery_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("source_day", sa.Integer(), nullable=False),
        sa.Column("dossier_id", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("log_pos", sa.BigInteger(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("enlisted_at", UtcTimestamp(), nullable=False),
        sa.Column("settled_at", UtcTimestamp(), nullable=True),
        sa.Column("attempt_id", sa.Text(), nullable=True),
        sa.Column("receipt", sa.Text(), nullable=True),
        sa.Column("step_key", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'sending', 'waiting', 'parked', 'delivered', 'superseded', 'discarded')",
            name=op.f("ck_deliveries_state"),
        ),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_deliveries")),
        *(
            (
                sa.ForeignKeyConstraint(
                    ["event_id", "source_day"],
                    ["events.event_id", "events.source_day"],
                    name=op.f("fk_deliveries_events"),
                ),
                sa.UniqueConstraint(
                    "event_id",
                    "target",
                    "operation",
                    name=op.f("uq_deliveries_event_id_target_operation"),
                ),
            )
            if plain
            else ()
        ),
        postgresql_partition_by="RANGE (delivery_id)",
    )
    op.create_index("ix_deliveries_dossier", "deliveries", ["dossier_id"], unique=False)
    op.create_index(
        "ix_deliveries_open",
        "deliveries",
        ["target", "dossier_id", "log_pos"],
        unique=False,
        sqlite_where=sa.text("state IN ('pending', 'sending', 'waiting', 'parked')"),
        postgresql_where=sa.text("state IN ('pending', 'sending', 'waiting', 'parked')"),
    )
    op.create_index(
        "ix_deliveries_parked",
        "deliveries",
        ["reason", "target", "dossier_id"],
        unique=False,
        sqlite_where=sa.text("state = 'parked'"),
        postgresql_where=sa.text("state = 'parked'"),
    )
    op.create_index(
        "ix_deliveries_receipt_owed",
        "deliveries",
        ["settled_at", "delivery_id"],
        unique=False,
        sqlite_where=sa.text("receipt = 'owed'"),
        postgresql_where=sa.text("receipt = 'owed'"),
    )
    op.create_table(
        "timeline",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("source_day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("dossier_id", sa.Text(), nullable=False),
        sa.Column("log_pos", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("action_id", sa.Text(), nullable=True),
        sa.Column("action_code", sa.Text(), nullable=True),
        sa.Column("step_code", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("sub_status", sa.Text(), nullable=True),
        sa.Column("status_carried", sa.Boolean(), nullable=False),
        sa.Column("at", UtcTimestamp(), nullable=False),
        sa.Column("recorded_at", UtcTimestamp(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "source_day", name=op.f("pk_timeline")),
        *(
            (
                sa.ForeignKeyConstraint(
                    ["event_id", "source_day"],
                    ["events.event_id", "events.source_day"],
                    name=op.f("fk_timeline_events"),
                ),
            )
            if plain
            else ()
        ),
        postgresql_partition_by="RANGE (source_day)",
    )
    op.create_index("ix_timeline_dossier", "timeline", ["dossier_id", "log_pos"], unique=False)
    if not plain:
        op.execute(
            f"ALTER SEQUENCE deliveries_delivery_id_seq MAXVALUE {partitions.IDS_A_MONTH - 1} CYCLE"
        )
        partitions.provide_ends(op.get_bind())
    identity = sa.table(
        "ledger_identity",
        sa.column("id"),
        sa.column("created_at", UtcTimestamp()),
        sa.column("generation"),
        sa.column("restoring", sa.Boolean()),
    )
    op.execute(
        identity.insert().values(
            id=str(uuid.uuid4()), created_at=datetime.now(UTC), generation=1, restoring=False
        )
    )
    versions = sa.table("mapping_version", sa.column("id"), sa.column("version"))
    op.execute(versions.insert().values(id=1, version=0))
