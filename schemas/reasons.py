"""The closed list of reasons.

One word per reason, and the same word is the ledger's column, the metric's label, the log's key and the
key of the text that people read. Nothing else may stand where a reason stands.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why something is as it is: a failed attempt, a waiting or parked delivery, a dead letter."""

    # Transient: the target surely did nothing.
    CONNECTION_REFUSED = "connection_refused"
    DNS_FAILURE = "dns_failure"
    TLS_FAILURE = "tls_failure"
    CONNECT_TIMEOUT = "connect_timeout"
    NOT_SENT = "not_sent"  # the intent grew too old before the first byte
    SESSION_EXPIRED = "session_expired"
    RATE_LIMITED = "rate_limited"
    TARGET_UNAVAILABLE = "target_unavailable"  # announced: maintenance, Retry-After

    # Outcome unknown: the target may have done it.
    TIMEOUT = "timeout"
    CONNECTION_LOST = "connection_lost"
    UNPARSEABLE_ANSWER = "unparseable_answer"
    FOREIGN_ANSWER = "foreign_answer"  # the answer echoes another message id or dossier
    SERVER_FAULT = "server_fault"
    GATEWAY_ERROR = "gateway_error"
    PARTLY_APPLIED = "partly_applied"
    UNCLASSIFIED_ERROR = "unclassified_error"
    RESTORED = "restored"  # the ledger was restored and does not know whether this was sent

    # Rejected: a person, or the source, must put it right.
    REJECTED_BY_TARGET = "rejected_by_target"
    FIELD_MISSING = "field_missing"
    FIELD_TOO_LONG = "field_too_long"
    FIELD_INVALID = "field_invalid"
    UNMAPPED = "unmapped"
    CODE_CONFLICT = "code_conflict"
    CODE_CHANGED = "code_changed"
    DELETED_AT_SOURCE = "deleted_at_source"
    OUTCOME_UNKNOWN = "outcome_unknown"  # cannot be found out; only a person can settle it
    GAP = "gap"  # a dead letter stands where a step should be
    REVISION_ORDER = "revision_order"  # an older revision of a report, or one with a hole before it
    PERIOD_REFUSED = (
        "period_refused"  # outside of what the receiver takes: too early, too late, no such period
    )
    FIGURES_REFUSED = "figures_refused"  # a report's figures do not balance for its receiver
    FORM_UNKNOWN = "form_unknown"  # a regime, form or form version that the receiver does not know

    # Rejected in words that steer the engine.
    ALREADY_EXISTS = "already_exists"
    NOT_FOUND = "not_found"

    # Misconfigured: the flow stops and pages.
    WRONG_CREDENTIALS = "wrong_credentials"
    ACCESS_DENIED = "access_denied"
    CONTRACT_MISMATCH = "contract_mismatch"

    # Waiting.
    NO_CODE = "no_code"
    BEFORE_RECEPTION = "before_reception"

    # Ends without a call.
    UNCHANGED = "unchanged"  # the target already holds exactly this
    NEWER_STATE = "newer_state"  # a newer state was delivered
    CORRECTED_AT_SOURCE = "corrected_at_source"  # an edited action: listed, never sent again

    # Found by a verification, after an attempt of unknown outcome.
    LATE_CREATE = "late_create"  # a create that was taken for not done stands there after all
    LATE_STATE = "late_state"  # an old state came over a newer one; the newest is sent again
    LATE_STEP = "late_step"  # a step that was taken for not done stands there after all
    STEP_TWICE = "step_twice"  # a step stands there more often than it was delivered

    # Found when packets of a report are taken in.
    REVISION_MISSING = "revision_missing"  # a revision came, and none with the number before it
    REVISION_CONFLICT = "revision_conflict"  # a number came again with another content: not taken

    # Dead letters.
    UNDECODABLE = "undecodable"
    UNREADABLE_PAYLOAD = "unreadable_payload"
    IMPOSSIBLE_VALUE = "impossible_value"
