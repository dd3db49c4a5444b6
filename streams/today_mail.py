"""The daily mail: at the set hour of a working day of the province, by one worker of all.

Tried again, with pauses that double, until that day's work is over. Whatever fails here is said and stops
nothing else: neither the mail server nor a file that people keep may hold a dossier up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, time, timedelta

from monitoring.events import Events
from monitoring.rates.reckoning import Decode
from schemas.dossier.csv_table import TableError
from schemas.dossier.working_calendar import CIVIL_ZONE, WorkingCalendar, civil_day
from schemas.ledger.database import Lane
from schemas.ledger.mails import MailState
from schemas.ledger.model import LedgerRefuses, LedgerUnavailable, SingletonFence, StaleOwner
from schemas.registry import RegistryError
from streams.recipients import NOBODY, Recipients
from streams.reference import Reference, read_reference
from streams.settings import Settings
from streams.singleton import Singleton
from streams.today import Post, Today, look, recipients

_TURN_SECONDS = 1.0
_RETRY_FIRST_SECONDS = 30.0
_RETRY_MOST_SECONDS = 600.0
_AT_LEAST = timedelta(hours=1)

_NEVER_HEARD_OF = "somebody began to send it and did not say how it ended; it is not sent twice"

_PASSES = (LedgerUnavailable, LedgerRefuses, RegistryError, TableError, OSError)
"""Troubles of a round that may be over at the next."""


class TodayMail:
    """Sends each list of recipients its mail of the day. `wall` gives the present time with a zone."""

    def __init__(
        self,
        *,
        settings: Settings,
        hour: int,
        lane: Lane,
        decode: Decode,
        post: Post,
        singleton: Singleton,
        events: Events,
        wall: Callable[[], datetime],
        turn: float = _TURN_SECONDS,
        retry_first: float = _RETRY_FIRST_SECONDS,
    ) -> None:
        self._settings = settings
        self._hour = hour
        self._lane = lane
        self._decode = decode
        self._post = post
        self._singleton = singleton
        self._events = events
        self._wall = wall
        self._turn = turn
        self._retry_first = retry_first
        self._stop = asyncio.Event()
        self._done: date | None = None
        self._again_at: datetime | None = None
        self._failures = 0
        self._trouble: tuple[date, str] | None = None
        self._reference: tuple[date, Reference] | None = None
        self.beats = 0
        """Raised at every turn of the loop: liveness watches that it moves."""
        self.waits_for: str | None = None
        """What it waits for, for `/live`."""

    def stop(self) -> None:
        """Let `run` return after the mail in hand."""
        self._stop.set()

    async def run(self) -> None:
        """Send on every working day until `stop`, as long as no other process does; else stand by."""
        while not self._stop.is_set():
            fence = await self._take()
            if fence is None:
                await self._pause()
                continue
            async with self._singleton.kept(fence) as lost:
                while not (self._stop.is_set() or lost.is_set()):
                    await self._look_at_the_clock()
                    await self._pause()

    async def _take(self) -> SingletonFence | None:
        try:
            fence = await self._singleton.take()
        except (LedgerUnavailable, StaleOwner):
            self.waits_for = "the ledger"
            return None
        self.waits_for = None if fence else "another owner"
        return fence

    async def _pause(self) -> None:
        self.beats += 1
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), self._turn)

    async def _look_at_the_clock(self) -> None:
        now = self._wall()
        day = civil_day(now)
        if day == self._done or (self._again_at is not None and now < self._again_at):
            return
        try:
            reference = self._reference_of(day)
            hours = window(day, self._hour, reference.calendar)
            if self._trouble is not None and (
                self._trouble[0] != day or hours is None or now >= hours[1]
            ):
                self._give_up(*self._trouble)
            if hours is not None and hours[0] <= now < hours[1]:
                await self._round(reference, now)
        except _PASSES as error:
            self._failed(now, f"{type(error).__name__}: {error}", "everybody")
        finally:
            self.waits_for = None

    def _reference_of(self, day: date) -> Reference:
        """Read anew every day."""
        if self._reference is None or self._reference[0] != day:
            self._reference = day, read_reference(self._settings.reference)
        return self._reference[1]

    async def _round(self, reference: Reference, now: datetime) -> None:
        self.waits_for = "the ledger"
        to = await recipients(self._lane, self._settings)
        there = await self._post.states(to, now)
        for one in to:
            if there[one] is MailState.SENDING:
                self._events.mail_failed(about=one.label, why=_NEVER_HEARD_OF, wait=None)
        left = [one for one in to if there[one] in {None, MailState.FAILED}]
        if left:
            today = await look(self._lane, self._decode, reference, now)
            self.waits_for = "the mail server"
            left = [one for one in left if not await self._settled(today, one)]
        if left:
            return
        self._done = civil_day(now)
        self._again_at, self._failures, self._trouble = None, 0, None
        if not to:
            self._events.mails_given_up(day=self._done.isoformat(), why=NOBODY)

    async def _settled(self, today: Today, to: Recipients) -> bool:
        """Whether this list needs no further try."""
        if self._stop.is_set():
            return False
        outcome = await self._post.send(today, to)
        if outcome.state is MailState.SENT:
            self._events.mail_sent(about=to.label, refused=outcome.refused)
        elif outcome.state is MailState.UNKNOWN:
            self._events.mail_failed(about=to.label, why=outcome.why, wait=None)
        elif outcome.state is MailState.FAILED:
            self._failed(today.savable.now, outcome.why, to.label)
            return False
        return True

    def _failed(self, now: datetime, why: str, about: str) -> None:
        if self._again_at is None or self._again_at <= now:
            wait = min(self._retry_first * 2.0 ** min(self._failures, 30), _RETRY_MOST_SECONDS)
            self._failures += 1
            self._again_at = now + timedelta(seconds=wait)
        self._trouble = civil_day(now), why
        self._events.mail_failed(about=about, why=why, wait=(self._again_at - now).total_seconds())

    def _give_up(self, day: date, why: str) -> None:
        self._events.mails_given_up(day=day.isoformat(), why=why)
        self._again_at, self._failures, self._trouble = None, 0, None


def window(day: date, hour: int, calendar: WorkingCalendar) -> tuple[datetime, datetime] | None:
    """From when until when mails of a day go out, at least an hour; None on a day off of the province."""
    worked = calendar.half_days(day)
    if not worked:
        return None
    begin = datetime.combine(day, time(hour), CIVIL_ZONE)
    close = datetime.combine(day, max(half.closes for half in worked), CIVIL_ZONE)
    return begin, max(close, begin + _AT_LEAST)
