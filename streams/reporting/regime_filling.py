"""A received regime in the life of a report: its forms are filled, frozen, and packed like form II.06.

A snapshot has one row for each cell: the agency where rows are made from agencies, the form in the place of the
sector, the cell in that of the procedure; and it carries the definitions of its forms, so that its packets are made
from it alone. A cell that blocks is written down as a broken identity, which keeps the report from being sent.

Rates and observations are taken as they stand when the figures are frozen: unlike form II.06, they cannot be counted
again as of an earlier moment. Outlines are not packed here: their words are sealed, and a snapshot is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Connection

from schemas.ledger import regimes
from schemas.ledger.database import Lane
from schemas.ledger.regimes import FormPlace
from schemas.ledger.report_outbox import Packed
from schemas.ledger.report_store import Frozen, Report
from schemas.reports import packets
from schemas.reports.canonical import number_text
from schemas.reports.cells import Cell, CellPlace, cells_of
from schemas.reports.kinds import PacketKind
from schemas.reports.packets import CellType, Form, KpiSet, OutlineForm
from schemas.reports.snapshots import Change, Imbalance, Row, Snapshot
from streams.reporting.cell_sources import Source
from streams.reporting.counting import Behind, Earlier, Filling, Member
from streams.reporting.filling import (
    BLOCKS,
    Filled,
    FilledCell,
    Outcome,
    Value,
    content_of,
    fill,
)
from streams.reporting.sources import FORM_206, LedgerSources

COLUMNS = ("value", "outcome")
"""Of a snapshot of a regime's cells."""

NOT_IN_FORCE = "regime_not_in_force"
AXIS = "axis_not_fillable"
NOT_WRITTEN = "outline_not_written"

_FORM = "form "


def filling_of(lane: Lane, regime: str) -> Filling:
    """Counting and packing of one received regime, for `wiring.fillings`."""
    whole = RegimeFilling(lane, regime)
    return Filling(counting=whole, packing=whole)


class RegimeFilling:
    """See `counting.Counting` and `counting.Packing`."""

    def __init__(self, lane: Lane, regime: str) -> None:
        self._lane = lane
        self._regime = regime

    async def refresh(self) -> bool:
        """Nothing of its own is kept up to date."""
        return False

    async def behind(self) -> int:
        """See `refresh`."""
        return 0

    async def needs(self) -> Sequence[str]:
        """Form II.06, where a cell takes its figure from it."""
        return await self._lane.read(self._needs)

    def _needs(self, connection: Connection) -> Sequence[str]:
        found = regimes.catalogue(connection)
        if self._regime not in found.regimes:
            return ()
        for asked in found.regimes[self._regime].forms:
            mapping = regimes.mapping(
                connection, FormPlace(self._regime, asked.code, asked.version)
            )
            cells = {} if mapping is None else mapping.cells
            if any(one.source == Source.FORM_206 for one in cells.values()):
                return (FORM_206,)
        return ()

    async def count(self, report: Report, known_at: datetime, earlier: Earlier | None) -> Frozen:
        """The cells as they can be filled now; a window that goes on is counted up to `known_at`. Raises `LedgerUnavailable`."""
        return await self._lane.read(lambda c: self._frozen(c, report, known_at), unhurried=True)

    async def preview(self, report: Report, known_at: datetime) -> Frozen:
        """As `count`, which moves nothing either."""
        return await self.count(report, known_at, None)

    async def changes(
        self, report: Report, was: Snapshot, now_known_at: datetime
    ) -> Sequence[Change]:
        """No dossiers stand behind these cells."""
        return ()

    async def members(
        self, snapshot: Snapshot, behind: Behind, after: str | None, limit: int
    ) -> Sequence[Member]:
        """See `changes`; behind a rate are those that `thongsuot rates --dossiers` lists."""
        return ()

    def packets(
        self, report: Report, revision: int, snapshot: Snapshot, snapshot_hash: str
    ) -> Sequence[Packed]:
        """One for each form. Raises `ValueError` for a snapshot with a cell that blocks."""
        packed = []
        for one in forms_of(snapshot):
            if one.content is None:
                raise ValueError(f"form {one.place.form}: {len(one.blocking)} cells block it")
            packed.append(
                Packed(
                    kind=one.kind,
                    form=one.place.form,
                    form_version=one.place.form_version,
                    content=packets.canonical(one.content),
                )
            )
        return packed

    def _frozen(self, connection: Connection, report: Report, known_at: datetime) -> Frozen:
        found = regimes.catalogue(connection)
        if self._regime not in found.regimes:
            return Frozen(
                snapshot=_snapshot(report, known_at, {}, ()),
                imbalances=(_blocked(NOT_IN_FORCE, None, None, None),),
            )
        sources = LedgerSources(
            connection,
            window=report.window,
            period=report.period,
            agency=report.agency,
            now=known_at,
        )
        filled, rules, unwritten = [], {}, []
        for asked, form in zip(
            found.regimes[self._regime].forms, found.asked(self._regime), strict=True
        ):
            place = FormPlace(self._regime, asked.code, asked.version)
            if isinstance(form, OutlineForm):
                words = regimes.outline(
                    connection, place, period=report.period, agency=report.agency
                )
                if words is None:
                    unwritten.append(_blocked(NOT_WRITTEN, None, asked.code, None))
                continue
            mapping = regimes.mapping(connection, place)
            cells = {} if mapping is None else mapping.cells
            filled.append(fill(place, asked.kind, form, cells, sources))
            rules[f"{_FORM}{asked.kind} {asked.code}"] = packets.canonical(form).decode()
            if mapping is not None:
                rules[f"mapping {asked.code}"] = mapping.table_hash
        provisional = sum(len(one.provisional) for one in filled)
        return Frozen(
            snapshot=_snapshot(report, known_at, rules, filled),
            provisional={"provisional_cells": provisional} if provisional else {},
            imbalances=(*unwritten, *(blocked for one in filled for blocked in _blocking(one))),
        )


def _snapshot(
    report: Report, known_at: datetime, rules: dict[str, str], filled: Sequence[Filled]
) -> Snapshot:
    return Snapshot(
        regime=report.regime,
        period=report.period,
        agency=report.agency,
        form_version=" ".join(f"{one.place.form}@{one.place.form_version}" for one in filled),
        window=report.window,
        known_at=known_at,
        rules=rules,
        columns=COLUMNS,
        rows=tuple(
            Row(
                cell.agency,
                one.place.form,
                _written(cell.cell.place),
                (_kept(cell.value), cell.outcome.value),
            )
            for one in filled
            for cell in one.cells
        ),
    )


def _blocking(one: Filled) -> list[Imbalance]:
    form = one.place.form
    return [
        *(_blocked(AXIS, None, form, axis) for axis in one.axes),
        *(
            _blocked(cell.outcome.value, cell.agency, form, _written(cell.cell.place))
            for cell in one.blocking
        ),
    ]


def _blocked(why: str, agency: str | None, form: str | None, place: str | None) -> Imbalance:
    return Imbalance(
        identity=why, agency=agency, sector=form, procedure=place, left=0, right=0, dossiers=()
    )


def forms_of(snapshot: Snapshot) -> list[Filled]:
    """The filled forms that a snapshot keeps, in the order of their codes."""
    found = []
    for name, text in sorted(snapshot.rules.items()):
        if not name.startswith(_FORM):
            continue
        form = packets.read(text.encode())
        assert isinstance(form, Form | KpiSet)  # nothing else is written above
        kind = PacketKind(name.removeprefix(_FORM).partition(" ")[0])
        place = FormPlace(snapshot.regime, form.code, form.version)
        cells = _cells(snapshot, form)
        blocked = any(one.outcome in BLOCKS for one in cells)
        found.append(
            Filled(
                place=place,
                kind=kind,
                cells=cells,
                axes=(),
                content=None if blocked else content_of(kind, form, cells),
            )
        )
    return found


def _cells(snapshot: Snapshot, form: Form | KpiSet) -> tuple[FilledCell, ...]:
    """In the order of the form, agency by agency; a snapshot has its rows in the order of their codes."""
    order = {cell.place: (place, cell) for place, cell in enumerate(cells_of(form))}
    found: list[tuple[str, int, FilledCell]] = []
    for row in snapshot.rows:
        if row.sector == form.code and row.procedure is not None:
            place, cell = order[_place(row.procedure)]
            found.append((row.agency or "", place, _cell(row, cell)))
    return tuple(cell for _, _, cell in sorted(found, key=lambda one: one[:2]))


def _cell(row: Row, cell: Cell) -> FilledCell:
    value, outcome = row.values
    return FilledCell(
        cell=cell,
        agency=row.agency,
        source=None,
        value=_read(value, cell),
        outcome=Outcome(str(outcome)),
        detail="",
    )


def _kept(value: Value) -> int | str | None:
    return number_text(value) if isinstance(value, Decimal) else value


def _read(kept: int | str | None, cell: Cell) -> Value:
    """The reverse: what a cell holds tells a number that was written out from a text."""
    numbers = (CellType.DECIMAL, CellType.INTEGER)
    return Decimal(kept) if isinstance(kept, str) and cell.type in numbers else kept


def _written(place: CellPlace) -> str:
    """A cell in one text; a slash or % within a code is written as %xx."""
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in place)


def _place(text: str) -> CellPlace:
    row, column = (part.replace("%2F", "/").replace("%25", "%") for part in text.split("/"))
    return CellPlace(row, column)
