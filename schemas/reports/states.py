"""The closed lists of a report's life: its states, what may be done, what units object to, what comes back."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a report stands, or one take of a revision of it. `OPEN` has no figures yet."""

    OPEN = "open"  # the window is not over
    CUT_OFF = "cut_off"  # the figures are frozen
    CONFIRMING = "confirming"  # each unit looks at its row
    VERIFIED = "verified"  # whoever puts the report together has looked at the whole
    APPROVED = "approved"  # signed: its packets are made
    SUBMITTED = "submitted"  # its packets are owed to the reporting system
    ACCEPTED = "accepted"
    RETURNED = "returned"  # or a correction was asked for
    AMENDED = "amended"  # another take or revision stands in its place


class Action(StrEnum):
    """What moves a report."""

    OPEN = "open"
    FREEZE = "freeze"
    ASK_UNITS = "ask_units"
    CONFIRM = "confirm"
    OBJECT = "object"
    SETTLE = "settle"
    VERIFY = "verify"
    APPROVE = "approve"
    SUBMIT = "submit"
    ACCEPT = "accept"
    RETURN = "return"
    ASK_CORRECTION = "ask_correction"
    REVISE = "revise"
    AMEND = "amend"


class Objection(StrEnum):
    """Why a unit says that a dossier is counted wrongly. A reason code, so that no person's name stands there."""

    NOT_OURS = "not_ours"
    NOT_COUNTED = "not_counted"
    COUNTED_TWICE = "counted_twice"
    WRONG_CHANNEL = "wrong_channel"
    WRONG_DATE = "wrong_date"
    WRONG_STATUS = "wrong_status"


class Settlement(StrEnum):
    """How an objection ended."""

    CORRECTED = "corrected"  # at the source; the next take has it
    UNFOUNDED = "unfounded"
    NEXT_REVISION = "next_revision"  # right, and told after this one was sent


class Answer(StrEnum):
    """What the reporting system said of a packet."""

    ACCEPTED = "accepted"
    RETURNED = "returned"
    CORRECTION_ASKED = "correction_asked"


class PacketState(StrEnum):
    """Where a packet stands between the ledger and Kafka."""

    HELD = "held"  # made when it was approved, not submitted yet
    OWED = "owed"
    PUBLISHED = "published"  # the broker has confirmed it
