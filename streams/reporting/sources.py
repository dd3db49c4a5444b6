"""Figures for a regime's form, from the ledger: rates, observations, columns of form II.06, constants.

All are of one window: from the midnight with which its first day begins to that which ends its last, or to now. A
figure may still change, and is called provisional, where the window has not ended, where dossiers are among the
counts that cannot be judged or of which the fact is not known, where the catalogue says that the count itself is an
approximation, and of form II.06 where nothing has been frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time
from functools import cached_property

from sqlalchemy import Connection, select

from monitoring.rates.catalogue import packaged
from monitoring.rates.dossier_counts import PROVISIONAL, Counted, Scope, UnitCounts, count
from monitoring.rates.observations import current
from monitoring.rates.points import known
from schemas.dossier.working_calendar import CIVIL_ZONE
from schemas.ledger import observations
from schemas.ledger.regimes import CellSource
from schemas.ledger.report_store import report_id_of
from schemas.ledger.tables import report_snapshots
from schemas.reports import snapshots
from schemas.reports.cells import Cell
from schemas.reports.periods import Window
from schemas.reports.snapshots import Snapshot
from streams.reporting.cell_sources import Source, constant
from streams.reporting.filling import Figure

FORM_206 = "II.06"
"""The regime whose frozen figures are taken."""


class LedgerSources:
    """See `filling.Sources`. `agency` is the province, in whose name figures are observed and reports are sent."""

    def __init__(
        self, connection: Connection, *, window: Window, period: str, agency: str, now: datetime
    ) -> None:
        self._connection = connection
        self._window = window
        self._period = period
        self._agency = agency
        self._now = now

    def agencies(self) -> Sequence[str]:
        """Those that have dossiers in the window, by code; what has no code has no row."""
        return [unit.agency for unit in self._counted.units if unit.agency is not None]

    def figure(self, source: CellSource, cell: Cell, agency: str | None) -> Figure:
        """See `Sources.figure`."""
        match Source(source.source):
            case Source.RATE:
                return self._rate(source.argument, agency)
            case Source.OBSERVATION:
                return self._observation(source.argument, agency or self._agency)
            case Source.FORM_206:
                return self._form(source.argument, agency)
            case Source.CONSTANT:
                return Figure(value=constant(source.argument, cell.type))
            case Source.NONE:
                return Figure(value=None)

    @cached_property
    def _counted(self) -> Counted:
        start = datetime.combine(self._window.first, time(), CIVIL_ZONE).astimezone(UTC)
        end = min(self._window.cut_off, self._now)
        return count(self._connection, start, max(start, end), Scope())

    def _rate(self, code: str, agency: str | None) -> Figure:
        rate = packaged().rate(code, on=self._window.last)
        if rate is None:
            return Figure(value=None, detail="no rule for this day")
        counts = self._counts(agency)
        if counts is None:
            return Figure(value=None, detail="no dossiers")
        found = known(rate, counts.known)
        least = known(rate, counts.shown)  # what is not known of a dossier counts against it
        figure = found if found.ratio is not None else least
        named = {name for term in rate.terms for name in term.quantities}
        provisional = (
            found.ratio is None
            or self._window.cut_off > self._now
            or counts.unjudged > 0
            or bool(named & PROVISIONAL)
        )
        first = rate.terms[0]
        told = f"{counts.shown.get(first.numerator)}/{counts.shown.get(first.denominator)}"
        return Figure(
            value=figure.ratio, provisional=provisional and figure.ratio is not None, detail=told
        )

    def _counts(self, agency: str | None) -> UnitCounts | None:
        if agency is None:
            return self._counted.total
        return next((unit for unit in self._counted.units if unit.agency == agency), None)

    def _observation(self, indicator: str, agency: str) -> Figure:
        found = observations.find(
            self._connection, indicator=indicator, agency=agency, period=self._period
        )
        newest = list(current(found).values())
        if not newest or newest[0].value is None:
            return Figure(value=None, detail="no observation")
        origin = newest[0].provenance
        told = " · ".join(part for part in (origin.system, origin.document) if part)
        return Figure(value=newest[0].value, detail=f"{told}, {newest[0].as_of}")

    @cached_property
    def _frozen(self) -> tuple[Snapshot, bool] | None:
        """The newest figures of form II.06 for this period, and whether any dossier of them is not sure."""
        table = report_snapshots.c
        query = (
            select(table.content, table.provisional, table.imbalances)
            .where(table.report_id == report_id_of(FORM_206, self._period, self._agency))
            .order_by(table.revision.desc(), table.take.desc())
            .limit(1)
        )
        row = self._connection.execute(query).first()
        if row is None:
            return None
        return snapshots.read(row.content), row.provisional != "{}" or row.imbalances != "[]"

    def _form(self, column: str, agency: str | None) -> Figure:
        if self._frozen is None:
            return Figure(value=None, detail="form II.06 is not frozen")
        frozen, unsure = self._frozen
        if frozen.window != self._window:
            return Figure(value=None, detail=f"form II.06 is of {frozen.window}")
        place = frozen.columns.index(column)
        rows = [row for row in frozen.rows if agency is None or row.agency == agency]
        value = snapshots.total(rows, len(frozen.columns))[place]
        return Figure(value=value, provisional=unsure, detail=f"II.06 {column}")
