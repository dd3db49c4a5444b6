"""Which mails went out on which day: written down before one is handed over, so that none goes twice.

A row is the day and a hash of the recipients; the addresses are not kept. Who claims a row sends; who dies
between the claim and its end leaves it `SENDING`, and nobody sends that mail again on that day: a mail too few
rather than one too many.
"""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum

from sqlalchemy import Connection, and_, delete, select, update

from schemas.ledger.dialect import clock, insert_or_skip, to_moment
from schemas.ledger.tables import mails

KEPT_DAYS = 90
"""For so long a day's rows stay; the first claim of a later day deletes older ones."""


class MailState(StrEnum):
    """What became of a mail. Only a failed one is sent again."""

    SENDING = "sending"  # or whoever sent it has died
    SENT = "sent"  # the server has taken it
    FAILED = "failed"  # the server has surely not taken it
    UNKNOWN = "unknown"  # the connection broke before the server had answered


def claim(connection: Connection, day: date, recipients: str, claim_id: str) -> bool:
    """Whether this mail may be sent now, by the bearer of `claim_id`; asking again with the same id is no harm."""
    row = {
        "day": day,
        "recipients": recipients,
        "state": MailState.SENDING.value,
        "claim_id": claim_id,
        "changed_at": to_moment(clock(connection)),
    }
    connection.execute(delete(mails).where(mails.c.day < day - timedelta(days=KEPT_DAYS)))
    connection.execute(insert_or_skip(connection, mails, ["day", "recipients"]), row)
    here = and_(mails.c.day == day, mails.c.recipients == recipients)
    again = and_(here, mails.c.state == MailState.FAILED.value)
    connection.execute(update(mails).where(again).values(row))
    mine = select(mails.c.day).where(
        here, mails.c.claim_id == claim_id, mails.c.state == MailState.SENDING.value
    )
    return connection.execute(mine).first() is not None


def settle(
    connection: Connection, day: date, recipients: str, claim_id: str, state: MailState
) -> None:
    """Say what became of a claimed mail. What another one has claimed since is left alone."""
    now = to_moment(clock(connection))
    connection.execute(
        update(mails)
        .where(
            mails.c.day == day,
            mails.c.recipients == recipients,
            mails.c.claim_id == claim_id,
        )
        .values(state=state.value, changed_at=now)
    )


def states(connection: Connection, day: date) -> dict[str, MailState]:
    """By the hash of the recipients."""
    query = select(mails.c.recipients, mails.c.state).where(mails.c.day == day)
    return {row.recipients: MailState(row.state) for row in connection.execute(query)}
