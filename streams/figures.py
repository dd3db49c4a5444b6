"""Keeps what the rates are counted from up to date, and the province's rates on `/metrics`. One process does it.

A dossier whose state moved on is due; so is every one that was reckoned by other rules: other code mappings,
another calendar. Whoever dies in between leaves them due, and two at once do no harm.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime

from monitoring.events import Events
from monitoring.metrics import Flow
from monitoring.rates.catalogue import packaged
from monitoring.rates.dossier_counts import Counted, bounds, count
from monitoring.rates.live import Span, by_agency, shares, spans_at
from monitoring.rates.periods import Period
from monitoring.rates.reckoning import AT_ONCE, Decode, Rules, refresh
from monitoring.redaction import describe
from schemas.dossier.working_calendar import CIVIL_ZONE
from schemas.ledger.database import Lane
from schemas.ledger.figures import mark_outdated, standings
from schemas.ledger.model import CaptureLedger, LedgerUnavailable, SingletonFence
from schemas.registry import RegistryUnavailable
from streams.singleton import Singleton

NAME = "figures"

PAUSE_SECONDS = 2.0
_TROUBLE_SECONDS = 5.0
COUNT_SECONDS = 20.0
_MARK_AT_ONCE = 5000
_NIGHT_HOUR = 3  # of Viet Nam: every dossier is looked at, beside the sweep of the sources


class Figures:
    """`rules` yields those in force now. `silence`: after so many seconds without a sign of life another

    process takes over. `pause`: between two looks for dossiers that are due; `count_every`: between two
    counts. Seconds.
    """

    def __init__(
        self,
        *,
        ledger: CaptureLedger,
        lane: Lane,
        decode: Decode,
        rules: Callable[[], Rules],
        owner: str,
        events: Events,
        wall: Callable[[], datetime],
        silence: float,
        pause: float = PAUSE_SECONDS,
        count_every: float = COUNT_SECONDS,
    ) -> None:
        self._lane = lane
        self._decode = decode
        self._rules = rules
        self._singleton = Singleton(ledger, NAME, owner, silence=silence)
        self._events = events
        self._wall = wall
        self._pause = pause
        self._count_every = count_every
        self._stop = asyncio.Event()
        self._marked: tuple[str, date] | None = None
        self._counted: dict[Period, Counted] = {}
        self._count_at = 0.0
        self.waits_for: str | None = None
        """What keeps it from reckoning, for `/live`."""
        self.beats = 0
        """Raised at every turn of the loop: liveness watches that it moves."""

    def stop(self) -> None:
        """Let `run` return after the batch in hand."""
        self._stop.set()

    async def run(self) -> None:
        """Reckon and count until `stop`, as long as no other process does; else stand by."""
        while not self._stop.is_set():
            self.beats += 1
            try:
                fence = await self._singleton.take()
            except LedgerUnavailable as error:
                await self._trouble(error)
                continue
            if fence is None:
                self.waits_for = "another owner"
                await self._sleep(self._pause)
                continue
            await self._own(fence)
        self._events.flow_stopped(flow=Flow.FIGURES, reason="asked")

    async def _own(self, fence: SingletonFence) -> None:
        self._marked, self._count_at = None, 0.0
        self._counted.clear()
        self._working()
        try:
            async with self._singleton.kept(fence) as lost:
                while not (self._stop.is_set() or lost.is_set()):
                    self.beats += 1
                    try:
                        more = await self._turn()
                    except (LedgerUnavailable, RegistryUnavailable) as error:
                        await self._trouble(error)
                        continue
                    except Exception as error:  # dossiers are delivered without any rate
                        await self._page(error)
                        return
                    self._working()
                    if not more:
                        await self._sleep(self._pause)
        finally:
            # Whoever owns it now tells them; two would be added up.
            self._events.metrics.forget_rates()

    async def _turn(self) -> bool:
        """One batch. Returns whether there is more to do at once."""
        rules = self._rules()
        marking = await self._mark(rules)
        taken = await refresh(self._lane, self._decode, rules)
        if taken:
            self._counted.clear()
            self._events.reckoned(dossiers=taken)
        if time.monotonic() >= self._count_at:
            begun = time.monotonic()
            await self._count()
            self._count_at = begun + self._count_every
        return marking or taken == AT_ONCE

    async def _mark(self, rules: Rules) -> bool:
        """Make outdated dossiers due. Returns whether there may be more."""
        local = self._wall().astimezone(CIVIL_ZONE)
        if self._marked is not None:
            name, day = self._marked
            is_night = local.hour >= _NIGHT_HOUR and local.date() > day
            if name == rules.name and not is_night:
                return False
        marked = await self._lane.write(
            lambda c: mark_outdated(c, rules.name, _MARK_AT_ONCE), unhurried=True
        )
        if marked == 0:
            self._marked = (rules.name, local.date())
        return marked > 0

    async def _count(self) -> None:
        now = self._wall()
        told: dict[Span, Counted] = {}
        for span, period in spans_at(now).items():
            if span is Span.THIS_MONTH or period not in self._counted:
                self._counted[period] = await self._counted_until(period, now)
            told[span] = self._counted[period]
        stand = await self._lane.read(standings, unhurried=True)
        catalogue = packaged()
        self._events.metrics.take_rates(
            {
                (code, span.value): (share.numerator, share.denominator)
                for span, counted in told.items()
                for code, share in shares(catalogue, counted.total.shown).items()
            },
            by_agency(catalogue, told[Span.THIS_MONTH]),
            stand,
            now.timestamp(),
        )

    async def _counted_until(self, period: Period, now: datetime) -> Counted:
        start, end = bounds(period)
        return await self._lane.read(lambda c: count(c, start, min(now, end)), unhurried=True)

    def _working(self) -> None:
        if self.waits_for is not None or self.beats <= 1:
            self.waits_for = None
            self._events.flow_started(flow=Flow.FIGURES)

    async def _trouble(self, error: Exception) -> None:
        self.waits_for = "the registry" if isinstance(error, RegistryUnavailable) else "the ledger"
        self._events.ledger_unavailable(
            flow=Flow.FIGURES, error=type(error).__name__, wait=_TROUBLE_SECONDS
        )
        await self._sleep(_TROUBLE_SECONDS)

    async def _page(self, error: Exception) -> None:
        """Stay down until `stop`: tried again at once, it would end the same way."""
        self.waits_for = "a person"
        self._events.metrics.forget_rates()
        self._events.flow_paged(
            flow=Flow.FIGURES, reason=type(error).__name__, detail=describe(error)
        )
        while not self._stop.is_set():
            self.beats += 1
            await self._sleep(self._pause)

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
