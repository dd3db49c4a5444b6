"""What a report's life asks of whoever counts a regime's figures and packs them. Nothing here counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from schemas.ledger.report_outbox import Packed
from schemas.ledger.report_store import Frozen, Report
from schemas.reports.snapshots import Change, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """The report of the period before, as it was frozen: what this one takes over must be what that left."""

    report: Report
    snapshot: Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A dossier behind a figure."""

    dossier_id: str
    code: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """Which figure: a column, and as far as given the row."""

    column: str
    agency: str | None = None
    sector: str | None = None
    procedure: str | None = None


class Counting(Protocol):
    """Counts the figures of one regime. All of it raises `LedgerUnavailable` and waits for nothing else."""

    async def refresh(self) -> bool:
        """Take up some of what changed. True: there is more to do at once."""

    async def behind(self) -> int:
        """How many dossiers are still to be reckoned; while there are some, nothing is frozen."""

    async def needs(self) -> Sequence[str]:
        """The regimes whose figures for the same period must be frozen before these can be counted."""

    async def count(self, report: Report, known_at: datetime, earlier: Earlier | None) -> Frozen:
        """The figures of a report's window as known at a moment, or just before it where that has not come yet.

        The moment of the snapshot gives the same figures for ever: whatever is followed later is known after it. So
        it is never counted past the cut-off of a report whose own figures are still to be frozen.
        """

    async def preview(self, report: Report, known_at: datetime) -> Frozen:
        """The same for looking only: nothing is promised of it, and nothing is moved by it."""

    async def changes(
        self, report: Report, was: Snapshot, now_known_at: datetime
    ) -> Sequence[Change]:
        """The dossiers that count otherwise than in a frozen snapshot, with the reason of each."""

    async def members(
        self, snapshot: Snapshot, behind: Behind, after: str | None, limit: int
    ) -> Sequence[Member]:
        """The dossiers behind a figure of a snapshot, by internal id, those after `after`."""


class Packing(Protocol):
    """Makes the packets of a regime. Pure: the same snapshot gives the same bytes."""

    def packets(
        self, report: Report, revision: int, snapshot: Snapshot, snapshot_hash: str
    ) -> Sequence[Packed]:
        """One for each form and kind that the regime is sent by."""


@dataclass(frozen=True, slots=True)
class Filling:
    """How one regime is counted and packed."""

    counting: Counting
    packing: Packing
