"""The ledger's tables. A change here needs a migration in `migrations/versions`; a test compares the two.

Names of columns follow `model.py`. `log_pos` is an offset of the log, `version` the `read_seq` of a state.
`source_day` is the UTC day, yyyymmdd, on which the event took effect. On PostgreSQL events, timeline and
deliveries are partitioned by its month, and the constraints that tie them to each other stand on the
partitions (`partitions.py`); what is declared here is what SQLite has.
Only `content`, `events.payload`, `data_keys`, the two sealed columns of `dead_letters`, those of `refused_packets`
and `report_outlines`, and the figures of reports hold bytes, and personal data in them is sealed.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TextClause,
    UniqueConstraint,
    text,
    true,
)

from schemas.ledger.dialect import FourDecimals, PlainText, UtcTimestamp

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

RowId = BigInteger().with_variant(Integer, "sqlite")

OPEN = text("state IN ('pending', 'sending', 'waiting', 'parked')")

# Written out, not bound: only so do both databases see that the partial indexes apply.
OPEN_DELIVERY: TextClause = text("deliveries.state IN ('pending', 'sending', 'waiting', 'parked')")
PARKED_DELIVERY: TextClause = text("deliveries.state = 'parked'")
RECEIPT_OWED: TextClause = text("deliveries.receipt = 'owed'")

FIGURES_DUE = {"sqlite": text("figures_due = 1"), "postgresql": text("figures_due")}


def _by_time(name: str, column: str) -> Index:
    """Finds the rows of a period where rows lie about in the order of their times: it costs a write nothing.

    SQLite has no such index; its ledgers are small enough to be read whole.
    """
    index = Index(name, column, postgresql_using="brin", postgresql_with={"autosummarize": "on"})
    return index.ddl_if(dialect="postgresql")


# From which version of the code on this ledger may be worked with. Older code reads it too: never change it.
compatibility = Table(
    "compatibility",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # the one row is 1
    Column("works_from", Text, nullable=False),
)

ledger_identity = Table(
    "ledger_identity",
    metadata,
    Column("id", Text, primary_key=True),
    Column("created_at", UtcTimestamp, nullable=False),
    # What told the database itself from any other when it was last recognised; null before the first time.
    Column("mark", Text),
    Column("generation", BigInteger, nullable=False),  # raised whenever it turns out to be another
    Column("restoring", Boolean, nullable=False),
)

# --- who owns what, and how far it has come ----------------------------------------------------------

positions = Table(
    "positions",
    metadata,
    Column("flow", Text, primary_key=True),
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("owner", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("topic_id", Text),
    Column("log_base", BigInteger, nullable=False),  # log_pos = log_base + Kafka's offset
    Column("verify_until", BigInteger),  # after a restore: nothing is runnable before this offset
)

# Receipts that the log held and a restored ledger did not: proof that these were delivered.
found_receipts = Table(
    "found_receipts",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("target", Text, primary_key=True),
    Column("operation", Text, primary_key=True),
    Column("dossier_id", Text, nullable=False),
    Column("code", PlainText),
    Column("attempt_id", Text),
    Column("step_key", Text),
    Column("delivered_at", UtcTimestamp, nullable=False),
    Index("ix_found_receipts_dossier", "dossier_id"),
)

singletons = Table(
    "singletons",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),  # "" after it was released
    Column("epoch", BigInteger, nullable=False),
    Column("beat_at", UtcTimestamp, nullable=False),  # when the owner last said that it lives
)

cursors = Table(
    "cursors",
    metadata,
    Column("source", Text, primary_key=True),
    Column("feed", Text, primary_key=True),
    Column("cursor", Text, nullable=False),
)

read_seqs = Table(
    "read_seqs",
    metadata,
    Column("source", Text, primary_key=True),
    Column("read_seq", BigInteger, nullable=False),
)

source_rows = Table(
    "source_rows",
    metadata,
    Column("source", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("row_id", PlainText, primary_key=True),
    Column("dossier_id", Text, nullable=False),
    Column("uid", PlainText, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("status", PlainText),
    Column("gone", Boolean, nullable=False),
    Index("ix_source_rows_dossier", "source", "dossier_id"),
)

# --- what happened -----------------------------------------------------------------------------------

# Every event that was ever taken in: outlives the event's rows, so that a re-read is still known.
event_keys = Table(
    "event_keys",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("source_day", Integer, nullable=False),
    Column("enlisted_at", UtcTimestamp, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("source_day", Integer, primary_key=True, autoincrement=False),
    Column("dossier_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("feed", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("log_pos", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("effective_at", UtcTimestamp, nullable=False),
    Column("recorded_at", UtcTimestamp, nullable=False),
    Column("enlisted_at", UtcTimestamp, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Index("ix_events_dossier", "dossier_id", "log_pos"),
    # Finds what came after a place in the log, for whoever reads along behind the flow.
    Index("ix_events_log", "topic", "partition", "log_pos"),
    postgresql_partition_by="RANGE (source_day)",
)

dossiers = Table(
    "dossiers",
    metadata,
    Column("dossier_id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("code", PlainText),
    Column("state_version", BigInteger, nullable=False),  # -1: only a gap is known
    Column("log_pos", BigInteger, nullable=False),
    Column("born_on_portal", Boolean, nullable=False),
    Column("procedure_code", PlainText),  # the national one, as the source has it
    Column("local_procedure_code", PlainText),
    Column("sector_code", PlainText),
    Column("receiving_agency_code", PlainText),
    Column("handling_agency_code", PlainText),
    Column("channel", Text),
    Column("applicant_type", Text),
    Column("status", PlainText),
    Column("sub_status", PlainText),
    Column("financial_state", Text),
    Column("result_state", Text),
    Column("created_at", UtcTimestamp),
    Column("submitted_at", UtcTimestamp),
    Column("received_at", UtcTimestamp),
    Column("due_at", UtcTimestamp),
    Column("extended_at", UtcTimestamp),
    Column("finished_at", UtcTimestamp),
    Column("returned_at", UtcTimestamp),
    Column("withdrawn_at", UtcTimestamp),
    Column("refused_at", UtcTimestamp),
    # Something was written since `figures` was reckoned. By default, for a version that knows no figures.
    Column("figures_due", Boolean, nullable=False, server_default=true()),
    Index("ix_dossiers_code", "code"),
    Index(
        "ix_dossiers_figures_due",
        "dossier_id",
        sqlite_where=FIGURES_DUE["sqlite"],
        postgresql_where=FIGURES_DUE["postgresql"],
    ),
)

dossier_aliases = Table(
    "dossier_aliases",
    metadata,
    Column("dossier_id", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("value", PlainText, primary_key=True),
    Index("ix_dossier_aliases_value", "value"),
)

timeline = Table(
    "timeline",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("source_day", Integer, primary_key=True, autoincrement=False),
    Column("dossier_id", Text, nullable=False),
    Column("log_pos", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("action_id", PlainText),
    Column("action_code", PlainText),
    Column("step_code", PlainText),
    Column(
        "status", PlainText
    ),  # after the action, from its process step; null where there is no step
    Column("sub_status", PlainText),
    Column("status_carried", Boolean, nullable=False),
    Column("at", UtcTimestamp, nullable=False),
    Column("recorded_at", UtcTimestamp, nullable=False),
    ForeignKeyConstraint(["event_id", "source_day"], ["events.event_id", "events.source_day"]),
    Index("ix_timeline_dossier", "dossier_id", "log_pos"),
    _by_time("ix_timeline_recorded", "recorded_at"),
    postgresql_partition_by="RANGE (source_day)",
)

# --- what the rates are counted from: reckoned from the above, and reckoned anew at will ---------------

figures = Table(
    "figures",
    metadata,
    Column("dossier_id", Text, primary_key=True),
    Column(
        "state_version", BigInteger, nullable=False
    ),  # with log_pos: the state it was reckoned from
    Column("log_pos", BigInteger, nullable=False),
    Column("steps", Integer, nullable=False),  # how many there were; pruning leaves fewer
    Column("rules", Text, nullable=False),  # by which it was reckoned: another text, reckon anew
    Column("standing", Text, nullable=False),
    Column("code", PlainText),
    Column("procedure_code", PlainText),  # the national one
    Column("local_procedure_code", PlainText),
    Column("sector_code", PlainText),
    Column("agency_code", PlainText),  # the handling agency, as the portal is told of it
    Column("channel", Text),
    Column("born_on_portal", Boolean, nullable=False),
    Column("received_at", UtcTimestamp),
    Column("returned_at", UtcTimestamp),
    # It can count in periods that end after the first and begin up to the second; null: in none.
    Column("counts_from", UtcTimestamp),
    Column("counts_until", UtcTimestamp),
    # Facts of the newest state; null is unknown.
    Column("electronic_result", Boolean),
    Column("digitised", Boolean),
    Column("reused", Boolean),
    Column("from_data_store", Boolean),
    Column("population_data", Boolean),
    Column("paid_online", Boolean),
    Column("financial_obligation", Boolean),
    # What was in force for its procedure when it was received; null is unknown.
    Column("service_level", Text),
    Column("paper_result", Boolean),
    Index("ix_figures_received", "received_at"),
    Index("ix_figures_standing", "standing"),
    Index("ix_figures_counts", "counts_until", "counts_from"),
)

# The portal's judgement of a dossier in [begun_at, ended_at), without `ended_at` for good.
verdict_spans = Table(
    "verdict_spans",
    metadata,
    Column("dossier_id", Text, primary_key=True),
    Column("begun_at", UtcTimestamp, primary_key=True),
    Column("ended_at", UtcTimestamp),
    Column("verdict", Text, nullable=False),
    Column("late_because", Text),
    Column("end_at", UtcTimestamp),  # the end of the dossier that counts
    Column("office_late", Boolean),  # of a verdict that is late: by the legal clock too
    Index("ix_verdict_spans_ended", "ended_at", "end_at"),
)

# --- what is owed, and what was done about it --------------------------------------------------------

deliveries = Table(
    "deliveries",
    metadata,
    Column("delivery_id", RowId, primary_key=True, autoincrement=True),
    Column("event_id", Text, nullable=False),
    Column("source_day", Integer, nullable=False),
    Column("dossier_id", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("log_pos", BigInteger, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("detail", PlainText),
    Column("enlisted_at", UtcTimestamp, nullable=False),
    Column("settled_at", UtcTimestamp),  # when it reached an end
    Column("attempt_id", Text),  # the last attempt that covered or settled it
    Column("receipt", Text),  # null | owed | published
    Column("step_key", Text),  # as last sent, to find the step again in a target's list
    ForeignKeyConstraint(["event_id", "source_day"], ["events.event_id", "events.source_day"]),
    UniqueConstraint("event_id", "target", "operation"),
    CheckConstraint(
        "state IN ('pending', 'sending', 'waiting', 'parked', 'delivered', 'superseded',"
        " 'discarded')",
        name="state",
    ),
    Index(
        "ix_deliveries_open",
        "target",
        "dossier_id",
        "log_pos",
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    ),
    Index(
        "ix_deliveries_parked",
        "reason",
        "target",
        "dossier_id",
        sqlite_where=text("state = 'parked'"),
        postgresql_where=text("state = 'parked'"),
    ),
    Index(
        "ix_deliveries_receipt_owed",
        "settled_at",
        "delivery_id",
        sqlite_where=text("receipt = 'owed'"),
        postgresql_where=text("receipt = 'owed'"),
    ),
    Index("ix_deliveries_dossier", "dossier_id"),
    _by_time("ix_deliveries_settled", "settled_at"),
    postgresql_partition_by="RANGE (delivery_id)",
)

dossier_target = Table(
    "dossier_target",
    metadata,
    Column("target", Text, primary_key=True),
    Column("dossier_id", Text, primary_key=True),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("known", Text, nullable=False),
    Column("born_on_portal", Boolean, nullable=False),
    Column("delivered_version", BigInteger, nullable=False),
    Column("delivered_hash", Text),
    Column("last_step", BigInteger, nullable=False),
    Column("claimed_code", PlainText),
    Column("failures", Integer, nullable=False),
    Column("work_seq", BigInteger, nullable=False),
    Column("runnable", Boolean, nullable=False),
    Column("wake_at", UtcTimestamp),
    Column("deadline", UtcTimestamp),
    Column("verification", Text),  # null: nothing is owed
    Column("verify_at", UtcTimestamp),
    Index(
        "ix_dossier_target_runnable",
        "target",
        "deadline",
        "dossier_id",
        sqlite_where=text("runnable = 1"),
        postgresql_where=text("runnable"),
    ),
    Index(
        "ix_dossier_target_wake",
        "target",
        "wake_at",
        sqlite_where=text("wake_at IS NOT NULL"),
        postgresql_where=text("wake_at IS NOT NULL"),
    ),
)

attempts = Table(
    "attempts",
    metadata,
    Column("attempt_id", Text, primary_key=True),
    Column("dossier_id", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("kind", Text, nullable=False),
    # A JSON list: read back whole with the attempt, never searched.
    Column("delivery_ids", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("proved_absent", Boolean, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("started_at", UtcTimestamp, nullable=False),
    Column("closed_at", UtcTimestamp),
    Column("outcome", Text),
    Column("outcome_at", UtcTimestamp),
    Column("reason", Text),
    Column("detail", PlainText),
    Column("reference", PlainText),
    ForeignKeyConstraint(
        ["target", "dossier_id"], ["dossier_target.target", "dossier_target.dossier_id"]
    ),
    Index(
        "ix_attempts_open",
        "target",
        "dossier_id",
        sqlite_where=text("closed_at IS NULL"),
        postgresql_where=text("closed_at IS NULL"),
    ),
    Index("ix_attempts_dossier", "dossier_id"),
    _by_time("ix_attempts_started", "started_at"),
)

# What a verification found at a target. Deliveries are named, not referred to: they end before it.
findings = Table(
    "findings",
    metadata,
    Column("finding_id", Text, primary_key=True),
    Column("target", Text, nullable=False),
    Column("dossier_id", Text, nullable=False),
    Column("found_at", UtcTimestamp, nullable=False),
    Column("reason", Text, nullable=False),
    Column("delivery_id", BigInteger),
    Column("step_key", Text),
    Column("detail", PlainText),
    Index("ix_findings_dossier", "dossier_id"),
)

content = Table(
    "content",
    metadata,
    Column("attempt_id", Text, primary_key=True),
    Column("request", LargeBinary),
    Column("answer", LargeBinary),
)

claims = Table(
    "claims",
    metadata,
    Column("target", Text, primary_key=True),
    Column("code", PlainText, primary_key=True),
    Column("dossier_id", Text, nullable=False),
)

# --- what is looked up -------------------------------------------------------------------------------

mappings = Table(
    "mappings",
    metadata,
    Column("mapping_id", RowId, primary_key=True, autoincrement=True),
    Column("codelist", Text, nullable=False),
    Column("system", PlainText, nullable=False),
    Column("code", PlainText, nullable=False),
    Column("qualifier", PlainText, nullable=False),
    Column("value", PlainText, nullable=False),
    Column("name", PlainText),
    Column("valid_from", UtcTimestamp),
    Column("valid_to", UtcTimestamp),
    Column("origin", Text, nullable=False),
    Column("note", PlainText),
    Index("ix_mappings_code", "codelist", "system", "code"),
)

mapping_version = Table(
    "mapping_version",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # the one row is 1
    Column("version", BigInteger, nullable=False),
)

data_keys = Table(
    "data_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("log_pos", BigInteger, primary_key=True, autoincrement=False),
    Column("reason", Text, nullable=False),
    Column("detail", PlainText, nullable=False),
    Column("dossier_id", Text),
    Column("sealed_key", LargeBinary),
    Column("sealed_value", LargeBinary),
    Column("first_at", UtcTimestamp, nullable=False),
    Column("recorded_at", UtcTimestamp, nullable=False),
    Index("ix_dead_letters_dossier", "dossier_id"),
)

# --- what other systems report -----------------------------------------------------------------------

# A figure's story: its first observation, and the corrections that name that one.
observations = Table(
    "observations",
    metadata,
    Column("observation_id", Text, primary_key=True),
    Column("indicator", Text, nullable=False),
    Column("agency", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("value", FourDecimals),  # null: the figure was taken back
    Column("unit", Text, nullable=False),
    Column("as_of", Date, nullable=False),
    Column("system", Text, nullable=False),
    Column("document", Text),
    Column("corrects", Text),
    Column("observed_at", UtcTimestamp, nullable=False),
    Column("submitted_by", Text, nullable=False),
    Column("recorded_at", UtcTimestamp, nullable=False),
    ForeignKeyConstraint(["corrects"], ["observations.observation_id"]),
    Index("ix_observations_figure", "indicator", "agency", "period"),
)

# One row for each fault. Nothing of what was sent that is no code of ours, as personal data may be in it.
refused_observations = Table(
    "refused_observations",
    metadata,
    Column("origin", Text, primary_key=True),
    Column("place", Text, primary_key=True),  # where in what was handed in
    Column("field", Text, primary_key=True),  # "" where it is no field in particular
    Column("reason", Text, primary_key=True),
    Column("indicator", Text),
    Column("agency", Text),
    Column("period", Text),
    Column("recorded_at", UtcTimestamp, nullable=False),
)

# --- what the portal publishes -----------------------------------------------------------------------

# One row for each file that was given, also for one that was refused. A newer one replaces none.
published_answers = Table(
    "published_answers",
    metadata,
    Column("answer_id", Text, primary_key=True),
    Column("service", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("form", Text, nullable=False),
    Column("file_hash", Text, nullable=False),
    Column("seen_at", UtcTimestamp, nullable=False),  # when the portal answered so
    Column("submitted_by", Text, nullable=False),
    Column("recorded_at", UtcTimestamp, nullable=False),
    # A JSON list of what was wrong: read back whole, never searched. Null: it was taken.
    Column("faults", Text),
    Index("ix_published_answers_period", "period", "service"),
)

# Null is what the portal shows as nothing. A metric of several shares has a row for each pair of counts.
published_figures = Table(
    "published_figures",
    metadata,
    Column("answer_id", Text, primary_key=True),
    Column("unit", Text, primary_key=True),
    Column("metric", Text, primary_key=True),
    Column("term", Integer, primary_key=True, autoincrement=False),
    Column("unit_id", Text),  # the portal's own, by which some answers name a unit
    Column("numerator", FourDecimals),
    Column("denominator", FourDecimals),
    Column("ratio", FourDecimals),  # this and the next three of the first term only
    Column("score", FourDecimals),
    Column("maximum", FourDecimals),
    Column("flag", Text),
    ForeignKeyConstraint(["answer_id"], ["published_answers.answer_id"]),
)

# --- what is told to people --------------------------------------------------------------------------

mails = Table(
    "mails",
    metadata,
    Column("day", Date, primary_key=True),
    Column("recipients", Text, primary_key=True),  # a hash: the addresses are not kept
    Column("state", Text, nullable=False),
    Column("claim_id", Text, nullable=False),  # of whoever sends it, or sent it last
    Column("changed_at", UtcTimestamp, nullable=False),
)

# --- what form II.06 is counted from -----------------------------------------------------------------

# How far the log was read along, by partition; at first from its beginning.
report_cursors = Table(
    "report_cursors",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("log_pos", BigInteger, nullable=False),  # the place of the next event
)

# Up to when figures were frozen: whatever is read from now on was not known by then.
report_horizon = Table(
    "report_horizon",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # the one row is 1
    Column("known_at", UtcTimestamp, nullable=False),
)

# What was told of each dossier, so that it goes on when its events were pruned. Codes and times only.
report_lives = Table(
    "report_lives",
    metadata,
    Column("dossier_id", Text, primary_key=True),
    Column("known_at", UtcTimestamp, nullable=False),  # when its spans last changed
    Column("rules", Text, nullable=False),  # by which they were made: another text, make them anew
    Column("trouble", Text),
    Column("life", PlainText, nullable=False),  # JSON: read back whole, never searched
    Index("ix_report_lives_rules", "rules"),
    Index(
        "ix_report_lives_trouble",
        "trouble",
        "dossier_id",
        sqlite_where=text("trouble IS NOT NULL"),
        postgresql_where=text("trouble IS NOT NULL"),
    ),
)

# How a dossier stands at the end of each day of [begun_on, ended_on), as it is known in
# [known_from, known_until). Rows are added, and closed once; of any day and moment a dossier has one at most.
report_spans = Table(
    "report_spans",
    metadata,
    Column("dossier_id", Text, primary_key=True),
    Column("known_from", UtcTimestamp, primary_key=True),
    Column("begun_on", Date, primary_key=True),
    Column("known_until", UtcTimestamp, nullable=False),  # in the year 9999: still
    Column("ended_on", Date, nullable=False),  # in the year 9999: for good
    # No window that begins later can count it, if it is counted after its beginning: see report_spans.py.
    Column("matters_until", Date, nullable=False),
    Column("standing", Text, nullable=False),
    Column("cause", Text, nullable=False),  # what brought this knowledge
    Column("agency_code", PlainText, nullable=False),  # national; "": no mapping
    Column("sector_code", PlainText, nullable=False),
    Column("procedure_code", PlainText, nullable=False),  # national; "": no mapping
    Column("channel", Text),
    Column("received_on", Date),
    Column("due_on", Date),
    Column("closed_on", Date),
    Index("ix_report_spans_matters", "matters_until"),
    _by_time("ix_report_spans_known", "known_from"),
)

# --- reports: their figures, who signed them, what came back ----------------------------------------------

reports = Table(
    "reports",
    metadata,
    Column("report_id", Text, primary_key=True),  # regime/period/agency
    Column("regime", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("agency", Text, nullable=False),
    # As it was opened: a calendar that changes later does not touch it.
    Column("calendar", Text, nullable=False),
    Column("window_from", Date, nullable=False),
    Column("window_to", Date, nullable=False),
    Column("cut_off_at", UtcTimestamp, nullable=False),
    Column("units_due_on", Date, nullable=False),
    Column("due_on", Date, nullable=False),
    Column("opened_at", UtcTimestamp, nullable=False),
    UniqueConstraint("regime", "period", "agency"),
)

# What was frozen. Rows are added only; triggers refuse to change or delete one.
report_snapshots = Table(
    "report_snapshots",
    metadata,
    Column("report_id", Text, primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    # Of a revision that was not submitted the figures may be taken anew; the last take is the one that counts.
    Column("take", Integer, primary_key=True, autoincrement=False),
    Column("snapshot_hash", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("known_at", UtcTimestamp, nullable=False),
    # JSON, read back whole, never searched.
    Column("rules", Text, nullable=False),
    Column("units", Text, nullable=False),
    Column("provisional", Text, nullable=False),
    Column("imbalances", Text, nullable=False),
    Column("carry_over", Text),
    Column("frozen_at", UtcTimestamp, nullable=False),
    ForeignKeyConstraint(["report_id"], ["reports.report_id"]),
)

report_takes = Table(
    "report_takes",
    metadata,
    Column("report_id", Text, primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("take", Integer, primary_key=True, autoincrement=False),
    Column("state", Text, nullable=False),
    Column("version", Integer, nullable=False),  # raised by every change: who compares, sets
    Column("units_due_on", Date, nullable=False),
    Column("why", PlainText),  # it was taken anew
    Column("approved_by", PlainText),
    Column("approved_at", UtcTimestamp),
    Column("submitted_by", PlainText),
    Column("submitted_at", UtcTimestamp),
    Column("late", Boolean, nullable=False),  # submitted after the due date
    Column("changed_at", UtcTimestamp, nullable=False),
    ForeignKeyConstraint(
        ["report_id", "revision", "take"],
        ["report_snapshots.report_id", "report_snapshots.revision", "report_snapshots.take"],
    ),
    CheckConstraint(
        "state IN ('cut_off', 'confirming', 'verified', 'approved', 'submitted', 'accepted',"
        " 'returned', 'amended')",
        name="state",
    ),
)

# How the figures would be now, beside those of the last take. One row a report, written over.
report_drafts = Table(
    "report_drafts",
    metadata,
    Column("report_id", Text, primary_key=True),
    Column("revision", Integer, nullable=False),  # with take: from which it differs
    Column("take", Integer, nullable=False),
    Column("known_at", UtcTimestamp, nullable=False),
    Column("dossiers", Integer, nullable=False),  # all; `changes` may hold the first of them only
    Column("changes", Text, nullable=False),
    Column("reckoned_at", UtcTimestamp, nullable=False),
    ForeignKeyConstraint(["report_id"], ["reports.report_id"]),
)

# A unit confirms what stands about it: the hash holds for every later take that says the same.
report_confirmations = Table(
    "report_confirmations",
    metadata,
    Column("report_id", Text, primary_key=True),
    Column("unit", PlainText, primary_key=True),
    Column("unit_hash", Text, primary_key=True),
    Column("confirmed_by", PlainText, nullable=False),
    Column("confirmed_at", UtcTimestamp, nullable=False),
    ForeignKeyConstraint(["report_id"], ["reports.report_id"]),
)

report_objections = Table(
    "report_objections",
    metadata,
    Column("report_id", Text, primary_key=True),
    Column("unit", PlainText, primary_key=True),
    Column("dossier_code", PlainText, primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("take", Integer, primary_key=True, autoincrement=False),
    Column("reason", Text, nullable=False),
    Column("raised_by", PlainText, nullable=False),
    Column("raised_at", UtcTimestamp, nullable=False),
    Column("settlement", Text),  # null: open
    Column("settled_by", PlainText),
    Column("settled_at", UtcTimestamp),
    ForeignKeyConstraint(["report_id"], ["reports.report_id"]),
)

# Who did what, when by this database's clock, and why. `actor` is the name that was given, `account` that of
# the operating system; `signed_in`: somebody has checked that they are the same.
report_audit = Table(
    "report_audit",
    metadata,
    Column("audit_id", RowId, primary_key=True, autoincrement=True),
    Column("report_id", Text, nullable=False),
    Column("revision", Integer),
    Column("take", Integer),
    Column("action", Text, nullable=False),
    Column("actor", PlainText, nullable=False),
    Column("account", PlainText, nullable=False),
    Column("signed_in", Boolean, nullable=False),
    Column("at", UtcTimestamp, nullable=False),
    Column("why", PlainText),
    Column("snapshot_hash", Text),
    Column("about", PlainText),  # a unit, a dossier's code, an answer
    ForeignKeyConstraint(["report_id"], ["reports.report_id"]),
    Index("ix_report_audit_report", "report_id", "audit_id"),
)

# The outbox. What a packet says never changes; triggers see to it.
report_packets = Table(
    "report_packets",
    metadata,
    Column("packet_id", Text, primary_key=True),
    Column("take", Integer, primary_key=True, autoincrement=False),
    Column("stream_id", Text, nullable=False),  # `ReportPacket.report_id`, the key on Kafka
    Column("report_id", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("form", Text, nullable=False),
    Column("form_version", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("made_at", UtcTimestamp, nullable=False),
    Column("state", Text, nullable=False),
    Column("published_at", UtcTimestamp),
    ForeignKeyConstraint(
        ["report_id", "revision", "take"],
        ["report_snapshots.report_id", "report_snapshots.revision", "report_snapshots.take"],
    ),
    CheckConstraint("state IN ('held', 'owed', 'published')", name="state"),
    Index("ix_report_packets_report", "report_id", "revision"),
)

report_answers = Table(
    "report_answers",
    metadata,
    Column("answer_id", Text, primary_key=True),
    Column("stream_id", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("report_id", Text),  # null: it is about no packet of ours
    Column("answer", Text, nullable=False),
    Column("reason", PlainText),  # null: none was given, and a person must ask
    Column("origin", Text, nullable=False),  # packet | person
    Column("received_at", UtcTimestamp, nullable=False),
    Column("recorded_at", UtcTimestamp, nullable=False),
    Index("ix_report_answers_report", "report_id", "revision"),
)

# Periods that were not opened, and why; or what is odd about one that was.
report_faults = Table(
    "report_faults",
    metadata,
    Column("regime", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("fault", Text, primary_key=True),
    Column("other", Text, primary_key=True),  # "" where it is about no other period
    Column("refused", Boolean, nullable=False),
    Column("recorded_at", UtcTimestamp, nullable=False),
)

# --- which reports are asked for, and from what they are filled -----------------------------------------

# Every definition of reports that was received, as it came; which of them are in force is judged when asked.
report_catalogues = Table(
    "report_catalogues",
    metadata,
    Column("place", RowId, primary_key=True, autoincrement=True),  # the order in which they came
    Column("packet_id", PlainText, nullable=False),  # as its sender calls it
    Column("kind", Text, nullable=False),
    Column("code", PlainText, nullable=False),
    Column("version", PlainText, nullable=False),  # "" where it has none
    Column("content_hash", Text, nullable=False),
    Column("content", Text, nullable=False),  # canonical JSON: codes and names of things, nobody's
    Column("received_at", UtcTimestamp, nullable=False),
    Column("recorded_at", UtcTimestamp, nullable=False),
    UniqueConstraint("packet_id"),
    Index("ix_report_catalogues_key", "kind", "code", "version"),
)

# What came in and was not taken: its bytes, sealed, and why.
refused_packets = Table(
    "refused_packets",
    metadata,
    Column("packet_id", PlainText, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("detail", PlainText, nullable=False),  # names the field; never content
    Column("sealed", LargeBinary, nullable=False),
    Column("received_at", UtcTimestamp, nullable=False),
    Column("recorded_at", UtcTimestamp, nullable=False),
)

# A table of a form's cells as it was imported; the newest one of a form holds.
report_mappings = Table(
    "report_mappings",
    metadata,
    Column("mapping_id", RowId, primary_key=True, autoincrement=True),
    Column("regime", PlainText, nullable=False),
    Column("form", PlainText, nullable=False),
    Column("form_version", PlainText, nullable=False),
    Column("table_hash", Text, nullable=False),
    Column("submitted_by", Text, nullable=False),
    Column("recorded_at", UtcTimestamp, nullable=False),
    Index("ix_report_mappings_form", "regime", "form", "form_version"),
)

report_mapping_cells = Table(
    "report_mapping_cells",
    metadata,
    Column("mapping_id", RowId, primary_key=True, autoincrement=False),
    Column("row", PlainText, primary_key=True),  # "" where the form has no fixed rows
    Column("column", PlainText, primary_key=True),
    Column("source", Text, nullable=False),
    Column("argument", PlainText, nullable=False),
    Column("optional", Boolean, nullable=False),
    ForeignKeyConstraint(["mapping_id"], ["report_mappings.mapping_id"]),
)

# The words of a report, free text and hence sealed; the newest one holds.
report_outlines = Table(
    "report_outlines",
    metadata,
    Column("outline_id", RowId, primary_key=True, autoincrement=True),
    Column("regime", PlainText, nullable=False),
    Column("form", PlainText, nullable=False),
    Column("form_version", PlainText, nullable=False),
    Column("period", PlainText, nullable=False),
    Column("agency", PlainText, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("submitted_by", Text, nullable=False),
    Column("recorded_at", UtcTimestamp, nullable=False),
    Index("ix_report_outlines_report", "regime", "form", "period", "agency"),
)
