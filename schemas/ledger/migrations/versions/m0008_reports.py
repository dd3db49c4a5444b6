"""Reports: what was frozen, who signed it, what is owed and what came back.

Revision: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from schemas.ledger.dialect import PlainText, UtcTimestamp

revision = "0008"
down_revision: str | None = "0007"
branch_labels: str | None = None
depends_on: str | None = None
works_from = "0001"
"""Tables are added only: code that does not know them does not miss them."""

_NEVER = {
    "report_snapshots": ("UPDATE", "DELETE"),
    "report_packets": (
        "UPDATE OF packet_id, stream_id, report_id, revision, take, kind, form, form_version, content, content_hash",
        "DELETE",
    ),
    "report_audit": ("UPDATE", "DELETE"),
}
"""What nobody may do to what was said: neither this program nor a hand at the database."""


def upgrade() -> None:
    """Create the tables, and let the databases refuse to rewrite what was frozen."""
    op.create_table(
        "report_answers",
        sa.Column("answer_id", sa.Text(), nullable=False),
        sa.Column("stream_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("report_id", sa.Text(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("reason", PlainText(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("received_at", UtcTimestamp(), nullable=False),
        sa.Column("recorded_at", UtcTimestamp(), nullable=False),
        sa.PrimaryKeyConstraint("answer_id", name=op.f("pk_report_answers")),
    )
    op.create_index("ix_report_answers_report", "report_answers", ["report_id", "revision"])
    op.create_table(
        "report_faults",
        sa.Column("regime", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.Column("other", sa.Text(), nullable=False),
        sa.Column("refused", sa.Boolean(), nullable=False),
        sa.Column("recorded_at", UtcTimestamp(), nullable=False),
        sa.PrimaryKeyConstraint(
            "regime", "period", "fault", "other", name=op.f("pk_report_faults")
        ),
    )
    op.create_table(
        "reports",
        sa.Column("report_id", sa.Text(), nullable=False),
        sa.Column("regime", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("calendar", sa.Text(), nullable=False),
        sa.Column("window_from", sa.Date(), nullable=False),
        sa.Column("window_to", sa.Date(), nullable=False),
        sa.Column("cut_off_at", UtcTimestamp(), nullable=False),
        sa.Column("units_due_on", sa.Date(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("opened_at", UtcTimestamp(), nullable=False),
        sa.PrimaryKeyConstraint("report_id", name=op.f("pk_reports")),
        sa.UniqueConstraint(
            "regime", "period", "agency", name=op.f("uq_reports_regime_period_agency")
        ),
    )
    op.create_table(
        "report_audit",
        sa.Column(
            "audit_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("report_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=True),
        sa.Column("take", sa.Integer(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("actor", PlainText(), nullable=False),
        sa.Column("account", PlainText(), nullable=False),
        sa.Column("signed_in", sa.Boolean(), nullable=False),
        sa.Column("at", UtcTimestamp(), nullable=False),
        sa.Column("why", PlainText(), nullable=True),
        sa.Column("snapshot_hash", sa.Text(), nullable=True),
        sa.Column("about", PlainText(), nullable=True),
        sa.ForeignKeyConstraint(
            ["report_id"], ["reports.report_id"], name=op.f("fk_report_audit_reports")
        ),
        sa.PrimaryKeyConstraint("audit_id", name=op.f("pk_report_audit")),
    )
    op.create_index("ix_report_audit_report", "report_audit", ["report_id", "audit_id"])
    op.create_table(
        "report_confirmations",
        sa.Column("report_id", sa.Text(), nullable=False),
        sa.Column("unit", PlainText(), nullable=False),
        sa.Column("unit_hash", sa.Text(), nullable=False),
        sa.Column("confirmed_by", PlainText(), nullable=False),
        sa.Column("confirmed_at", UtcTimestamp(), nullable=False),
        sa.ForeignKeyConstraint(
            ["report_id"], ["reports.report_id"], name=op.f("fk_report_confirmations_reports")
        ),
        sa.PrimaryKeyConstraint(
            "report_id", "unit", "unit_hash", name=op.f("pk_report_confirmations")
        ),
    )
    op.create_table(
        "report_drafts",
        sa.Column("report_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("take", sa.Integer(), nullable=False),
        sa.Column("known_at", UtcTimestamp(), nullable=False),
        sa.Column("dossiers", sa.Integer(), nullable=False),
        sa.Column("changes", sa.Text(), nullable=False),
        sa.Column("reckoned_at", UtcTimestamp(), nullable=False),
        sa.ForeignKeyConstraint(
            ["report_id"], ["reports.report_id"], name=op.f("fk_report_drafts_reports")
        ),
        sa.PrimaryKeyConstraint("report_id", name=op.f("pk_report_drafts")),
    )
    op.create_table(
        "report_objections",
        sa.Column("report_id", sa.Text(), nullable=False),
        sa.Column("unit", PlainText(), nullable=False),
        sa.Column("dossier_code", PlainText(), nullable=False),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("take", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("raised_by", PlainText(), nullable=False),
        sa.Column("raised_at", UtcTimestamp(), nullable=False),
        sa.Column("settlement", sa.Text(), nullable=True),
        sa.Column("settled_by", PlainText(), nullable=True),
        sa.Column("settled_at", UtcTimestamp(), nullable=True),
        sa.ForeignKeyConstraint(
            ["report_id"], ["reports.report_id"], name=op.f("fk_report_objections_reports")
        ),
        sa.PrimaryKeyConstraint(
            "report_id",
            "unit",
            "dossier_code",
            "revision",
            "take",
            name=op.f("pk_report_objections"),
        ),
    )
    op.create_table(
        "report_snapshots",
        sa.Column("report_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("take", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("snapshot_hash", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("known_at", UtcTimestamp(), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("units", sa.Text(), nullable=False),
        sa.Column("provisional", sa.Text(), nullable=False),
        sa.Column("imbalances", sa.Text(), nullable=False),
        sa.Column("carry_over", sa.Text(), nullable=True),
        sa.Column("frozen_at", UtcTimestamp(), nullable=False),
        sa.ForeignKeyConstraint(
            ["report_id"], ["reports.report_id"], name=op.f("fk_report_snapshots_reports")
        ),
        sa.PrimaryKeyConstraint("report_id", "revision", "take", name=op.f("pk_report_snapshots")),
    )
    op.create_table(
        "report_packets",
        sa.Column("packet_id", sa.Text(), nullable=False),
        sa.Column("take", sa.Integer(), nullable=False),
        sa.Column("stream_id", sa.Text(), nullable=False),
        sa.Column("report_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("form", sa.Text(), nullable=False),
        sa.Column("form_version", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("made_at", UtcTimestamp(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("published_at", UtcTimestamp(), nullable=True),
        sa.CheckConstraint(
            "state IN ('held', 'owed', 'published')", name=op.f("ck_report_packets_state")
        ),
        sa.ForeignKeyConstraint(
            ["report_id", "revision", "take"],
            ["report_snapshots.report_id", "report_snapshots.revision", "report_snapshots.take"],
            name=op.f("fk_report_packets_report_snapshots"),
        ),
        sa.PrimaryKeyConstraint("packet_id", "take", name=op.f("pk_report_packets")),
    )
    op.create_index("ix_report_packets_report", "report_packets", ["report_id", "revision"])
    op.create_table(
        "report_takes",
        sa.Column("report_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("take", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("units_due_on", sa.Date(), nullable=False),
        sa.Column("why", PlainText(), nullable=True),
        sa.Column("approved_by", PlainText(), nullable=True),
        sa.Column("approved_at", UtcTimestamp(), nullable=True),
        sa.Column("submitted_by", PlainText(), nullable=True),
        sa.Column("submitted_at", UtcTimestamp(), nullable=True),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("changed_at", UtcTimestamp(), nullable=False),
        sa.CheckConstraint(
            "state IN ('cut_off', 'confirming', 'verified', 'approved', 'submitted', 'accepted', 'returned', 'amended')",
            name=op.f("ck_report_takes_state"),
        ),
        sa.ForeignKeyConstraint(
            ["report_id", "revision", "take"],
            ["report_snapshots.report_id", "report_snapshots.revision", "report_snapshots.take"],
            name=op.f("fk_report_takes_report_snapshots"),
        ),
        sa.PrimaryKeyConstraint("report_id", "revision", "take", name=op.f("pk_report_takes")),
    )

    postgresql = op.get_bind().dialect.name == "postgresql"
    if postgresql:
        op.execute(
            "CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'what was frozen is never rewritten'"
            " USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
    for table, deeds in _NEVER.items():
        for deed in deeds:
            name = f"never_{deed.split()[0].lower()}_{table}"
            then = (
                "EXECUTE FUNCTION refuse_rewriting()"
                if postgresql
                else "BEGIN SELECT RAISE(ABORT, 'what was frozen is never rewritten'); END"
            )
            op.execute(f"CREATE TRIGGER {name} BEFORE {deed} ON {table} FOR EACH ROW {then}")
