"""What can still be saved today, as the command and the daily mail both need it: looked up, and sent.

A mail is claimed in the ledger before it is handed over, so that each list of recipients gets one a day, whoever
sends it: a worker at its hour, or a person with `thongsuot rates today --send`. A process that dies between the
claim and the server's answer leaves that list without its mail on that day; a server that is gone before it has
answered may have taken it, and is not given it again. After a restore the ledger may have forgotten today's.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from monitoring.rates import savable_page
from monitoring.rates.reckoning import Decode
from monitoring.rates.savable import Savable
from monitoring.rates.savable_survey import LISTED, survey
from schemas.dossier.mappings import CodeList, Codes, MappingRow
from schemas.dossier.working_calendar import CIVIL_ZONE, civil_day
from schemas.ledger import mails, observations
from schemas.ledger.code_mappings import mapping_rows
from schemas.ledger.database import Lane
from schemas.ledger.mails import MailState
from schemas.sealing import Hasher
from streams.mail import MailServer, NotTaken, OutcomeUnknown
from streams.recipients import Recipients, lists, parse_addresses, read_recipients
from streams.reference import Reference, rules_of
from streams.settings import Settings

LISTED_OF_PROVINCE = 5
"""How many dossiers of each unit and kind the mail about the whole province lists: with 150 units it stays
below what mail servers take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Today:
    """What can be saved, and what the units are called."""

    savable: Savable
    names: Mapping[str, str]

    def only(self, agencies: Sequence[str] | None) -> Today:
        """What concerns these units; None: all of them."""
        return self if agencies is None else replace(self, savable=self.savable.only(agencies))


async def look(
    lane: Lane,
    decode: Decode,
    reference: Reference,
    now: datetime,
    *,
    agency: str | None = None,
    listed: int = LISTED,
) -> Today:
    """Look it up in the ledger, by the mappings that it holds now. Raises as `survey`."""
    version, rows = await lane.read(mapping_rows)
    rules = rules_of(Codes(rows, version), reference, now)
    found = await survey(lane, decode, rules, now, agency=agency, listed=listed)
    return Today(savable=found, names=_names(rows))


def _names(rows: Sequence[MappingRow]) -> dict[str, str]:
    """Of units, by the code that the portal is told; what was entered last holds."""
    return {row.value: row.name for row in rows if row.codelist is CodeList.AGENCY and row.name}


async def recipients(lane: Lane, settings: Settings) -> Sequence[Recipients]:
    """Who gets mails, as the settings and the file say now. Raises `TableError` and `LedgerUnavailable`."""
    file = settings.reference.recipients_file
    units: dict[str, set[str]] = {}
    if file is not None:
        units = read_recipients(file, await lane.read(observations.agencies))
    return lists(parse_addresses(settings.mail.to), units)


# --- sending -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one list's mail. `state` None: it was sent or claimed before, nothing was done.

    `refused`: how many addresses the server did not want.
    """

    recipients: Recipients
    state: MailState | None
    refused: int = 0
    why: str = ""


class Post:
    """Sends the mails of a day, each list at most one."""

    def __init__(self, lane: Lane, server: MailServer, hasher: Hasher) -> None:
        self._lane = lane
        self._server = server
        self._hasher = hasher

    async def states(
        self, to: Sequence[Recipients], now: datetime
    ) -> Mapping[Recipients, MailState | None]:
        """What became of each list's mail of the day; None: nobody has begun. Raises `LedgerUnavailable`."""
        there = await self._lane.read(lambda c: mails.states(c, civil_day(now)))
        return {one: there.get(self._key(one)) for one in to}

    async def send(self, today: Today, to: Recipients) -> Outcome:
        """Send one list its mail, unless it had today's or another process is at it.

        Raises `LedgerUnavailable`: before the mail was handed over it is as if nothing had happened; behind it the
        mail counts as claimed for good.
        """
        day, key, claim_id = civil_day(today.savable.now), self._key(to), secrets.token_hex(8)
        message = await asyncio.to_thread(self._message, today, to, key)
        if not await self._lane.write(lambda c: mails.claim(c, day, key, claim_id)):
            return Outcome(recipients=to, state=None)
        outcome = await self._hand_over(message, to)
        state = outcome.state
        assert state is not None
        await self._lane.write(lambda c: mails.settle(c, day, key, claim_id, state))
        return outcome

    async def _hand_over(self, message: EmailMessage, to: Recipients) -> Outcome:
        try:
            refused = await self._server.send(message, to.addresses)
        except NotTaken as error:
            return Outcome(recipients=to, state=MailState.FAILED, why=str(error))
        except OutcomeUnknown as error:
            return Outcome(recipients=to, state=MailState.UNKNOWN, why=str(error))
        return Outcome(recipients=to, state=MailState.SENT, refused=refused)

    def _key(self, to: Recipients) -> str:
        return self._hasher.hash("mail", *to.addresses)

    def _message(self, today: Today, to: Recipients, key: str) -> EmailMessage:
        """Text and page. Its id is made of day and recipients: the same mail has the same id."""
        savable = today.only(to.agencies).savable
        if to.agencies is None:
            savable = savable.listing(LISTED_OF_PROVINCE)
        made = EmailMessage(policy=SMTP)
        made["Subject"] = savable_page.subject(savable)
        made["From"] = self._server.sender
        made["To"] = ", ".join(to.addresses)
        made["Date"] = format_datetime(savable.now.astimezone(CIVIL_ZONE))
        domain = self._server.sender.rpartition("@")[2]
        made["Message-ID"] = f"<{civil_day(savable.now):%Y%m%d}.{key}@{domain}>"
        made["Auto-Submitted"] = "auto-generated"
        made["Content-Language"] = "vi"
        made.set_content(savable_page.plain(savable, today.names))
        made.add_alternative(savable_page.page(savable, today.names), subtype="html")
        return made
