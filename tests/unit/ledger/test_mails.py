"""Which mails went out: one claim a day, again after a failure, never after anything else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection

from schemas.ledger.dialect import make_engine
from schemas.ledger.mails import KEPT_DAYS, MailState, claim, settle, states
from schemas.ledger.migrate import upgrade

DAY = date(2026, 3, 4)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Connection]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    upgrade(url)
    engine = make_engine(url)
    with engine.connect() as connection, connection.begin():
        yield connection
    engine.dispose()


def test_one_of_two_may_send_and_asking_again_is_no_harm(ledger: Connection) -> None:
    assert claim(ledger, DAY, "us", "a")
    assert not claim(ledger, DAY, "us", "b")
    assert claim(ledger, DAY, "us", "a")


@pytest.mark.parametrize("state", MailState)
def test_only_a_failed_mail_is_sent_again(ledger: Connection, state: MailState) -> None:
    claim(ledger, DAY, "us", "a")
    settle(ledger, DAY, "us", "a", state)
    assert states(ledger, DAY) == {"us": state}
    assert claim(ledger, DAY, "us", "b") is (state is MailState.FAILED)


def test_a_mail_that_was_sent_cannot_be_claimed_by_its_own_sender(ledger: Connection) -> None:
    claim(ledger, DAY, "us", "a")
    settle(ledger, DAY, "us", "a", MailState.SENT)
    assert not claim(ledger, DAY, "us", "a")


def test_other_recipients_and_other_days_are_other_mails(ledger: Connection) -> None:
    claim(ledger, DAY, "us", "a")
    assert claim(ledger, DAY, "them", "b")
    assert claim(ledger, DAY + timedelta(days=1), "us", "b")


def test_a_belated_end_changes_nothing_of_who_claimed_it_since(ledger: Connection) -> None:
    claim(ledger, DAY, "us", "a")
    settle(ledger, DAY, "us", "a", MailState.FAILED)
    claim(ledger, DAY, "us", "b")
    settle(ledger, DAY, "us", "a", MailState.FAILED)
    assert states(ledger, DAY) == {"us": MailState.SENDING}


@pytest.mark.parametrize(("days", "kept"), [(KEPT_DAYS, True), (KEPT_DAYS + 1, False)])
def test_old_days_go_with_a_later_claim(ledger: Connection, days: int, kept: bool) -> None:
    claim(ledger, DAY, "us", "a")
    claim(ledger, DAY + timedelta(days=days), "us", "b")
    assert bool(states(ledger, DAY)) is kept
