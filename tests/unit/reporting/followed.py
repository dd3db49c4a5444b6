"""Dossiers that are followed for form II.06, in a ledger of their own. All invented."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from schemas.dossier.mappings import Codes
from schemas.records import DossierEvent, EventKind, StateAsOf
from schemas.reports.form import Column, FormTable, Treatment
from schemas.reports.periods import Window
from streams.reporting import form_checks, form_counts, form_differences, tracking
from streams.reporting.tracking import Rules
from tests.unit.dossier.samples import at
from tests.unit.rates.counted import Hall, codes, silent

RULES = Rules(codes=codes())
USUAL = Treatment()

MARCH = Window(date(2026, 3, 1), date(2026, 3, 31))
APRIL = Window(date(2026, 4, 1), date(2026, 4, 30))
LATER = datetime(2026, 8, 1, tzinfo=UTC)
"""By when everything in these tests is known."""

LATEST = datetime(2027, 12, 1, tzinfo=UTC)
"""By when everything of a generated year is known, however late it was told."""


def columns(text: str) -> set[Column]:
    """E.g. "c3 c5 c11"."""
    return {Column(word) for word in text.split()}


@dataclass
class Office:
    """A hall whose dossiers are followed."""

    hall: Hall

    async def put(self, *events: DossierEvent) -> None:
        await self.hall.put(*events)

    async def follow(self, rules: Rules = RULES, limit: int = 500) -> int:
        return await tracking.refresh(self.hall.lane, self.hall.decode, rules, limit)

    async def follow_all(self, rules: Rules = RULES, limit: int = 500) -> None:
        while await self.follow(rules, limit) == limit:
            pass

    async def behind(self, rules: Rules | None = None) -> int:
        return await tracking.behind(self.hall.lane, rules)

    async def count(
        self, window: Window = MARCH, known_at: datetime = LATER, treatment: Treatment = USUAL
    ) -> FormTable:
        return await self.hall.lane.read(
            lambda c: form_counts.count(c, window, known_at, treatment)
        )

    async def members(
        self,
        wanted: Collection[Column] | str = "c3",
        window: Window = MARCH,
        known_at: datetime = LATER,
        treatment: Treatment = USUAL,
        **narrowed: Any,
    ) -> list[str]:
        asked = columns(wanted) if isinstance(wanted, str) else wanted
        found = await self.hall.lane.read(
            lambda c: form_counts.members(c, window, known_at, treatment, columns=asked, **narrowed)
        )
        return [one.dossier_id for one in found]

    async def columns_of(
        self,
        dossier_id: str,
        window: Window = MARCH,
        known_at: datetime = LATER,
        treatment: Treatment = USUAL,
    ) -> set[Column]:
        """In which columns the ledger counts a dossier."""
        return {
            column
            for column in Column
            if dossier_id in await self.members({column}, window, known_at, treatment)
        }

    async def differences(
        self, was: datetime, now: datetime = LATER, window: Window = MARCH
    ) -> list[form_differences.Difference]:
        return list(
            await self.hall.lane.read(
                lambda c: form_differences.differences(c, window, was, now, USUAL)
            )
        )

    async def faults(self, table: FormTable) -> list[form_checks.IdentityFault]:
        return await self.hall.lane.read(lambda c: form_checks.identity_faults(c, table, USUAL))

    async def carried_over(
        self,
        frozen: FormTable,
        known_at: datetime = LATER,
        earlier: Window = MARCH,
        later: Window = APRIL,
    ) -> form_checks.CarryOver:
        return await self.hall.lane.read(
            lambda c: form_checks.carried_over(
                c, earlier, later, known_at, frozen, frozen.known_at, USUAL
            )
        )


def recorded(event: DossierEvent, when: str) -> DossierEvent:
    """The same event, taken in at this Vietnamese time."""
    return replace(event, recorded_at=at(when))


def rolled_back(newest: DossierEvent, status: str, when: str, number: int) -> DossierEvent:
    """That the step of `newest` is taken back: the state stands in `status` again."""
    assert newest.step is not None
    event = replace(
        newest,
        kind=EventKind.ROLLBACK,
        state_as_of=StateAsOf(action_id=newest.step.action_id, modified_at=at(when)),
    )
    return silent(
        event,
        status,
        event_id=f"{newest.dossier_id}-back-{number}",
        read_seq=newest.read_seq + number,
        effective_at=at(when),
        recorded_at=at(when) + timedelta(seconds=1),
    )


def other_codes(**changes: Any) -> Rules:
    """Rules with other code mappings than `RULES`."""
    return Rules(codes=codes(**{"version": 2, **changes}))


NO_CODES = Rules(codes=Codes(version=7))
