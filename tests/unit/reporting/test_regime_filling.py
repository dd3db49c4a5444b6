"""A received regime over a ledger: filled from what is there, frozen, packed again from the snapshot alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from schemas.ledger import observations, regimes, report_store
from schemas.ledger.model import Judged
from schemas.ledger.regimes import CellSource, FormPlace
from schemas.ledger.report_store import Frozen, Report
from schemas.records import IndicatorObservation, Provenance
from schemas.reports import packets, snapshots
from schemas.reports.cells import Cell, CellPlace, cells_of
from schemas.reports.kinds import PacketKind
from schemas.reports.packets import CellType, FigureRow, Figures, Nature, RegimeForm
from schemas.reports.periods import Calendar, PeriodKind, Window
from schemas.reports.snapshots import Row, Snapshot, hash_of
from streams.reporting.approvals import actor_named
from streams.reporting.filling import Figure
from streams.reporting.regime_filling import RegimeFilling, forms_of
from streams.reporting.sources import LedgerSources
from tests.unit.dossier.samples import at
from tests.unit.rates.counted import Hall, Story, hall
from tests.unit.reporting.regimes_received import BY_AGENCY, FORM, REGIME
from tests.unit.reporting.regimes_received import WHOLE as WITH_OUTLINE

WINDOW = Window(date(2026, 2, 15), date(2026, 3, 14))
REPORT = Report(
    regime="CDS",
    period="2026-03",
    agency="H12",
    kind=PeriodKind.MONTH,
    calendar=Calendar.DECREE,
    window=WINDOW,
    units_due_on=date(2026, 3, 20),
    due_on=date(2026, 3, 25),
)
AFTER = at("2026-03-16 10:00")
WHOLE = (*WITH_OUTLINE[:-1], replace(REGIME, forms=REGIME.forms[:1]))
"""Without the outline that the regime asks for as well."""

PLACE = FormPlace("CDS", "CDS.01", "1")
OFFICER = actor_named("Trần Thị Mẫu")
CELLS = {
    CellPlace("A1", "th"): CellSource(source="rate", argument="channelOnlineSum/channelTotalSum"),
    CellPlace("A1", "kh"): CellSource(source="constant", argument="95"),
    CellPlace("A2", "th"): CellSource(source="observation", argument="documents_electronic"),
    CellPlace("A2", "kh"): CellSource(source="form_206", argument="c3", optional=True),
}


@pytest.fixture
async def ours(tmp_path: Path) -> AsyncIterator[Hall]:
    async with hall(tmp_path) as opened:
        yield opened


async def receive(ours: Hall, *contents: packets.Content) -> None:
    for number, content in enumerate(contents):
        await ours.lane.write(
            lambda c, content=content, number=number: regimes.put_catalogue(  # type: ignore[misc]
                c, f"n{number}", content, at("2026-02-01 10:00")
            )
        )


async def map_cells(
    ours: Hall, cells: dict[CellPlace, CellSource], place: FormPlace = PLACE
) -> None:
    await ours.lane.write(
        lambda c: regimes.put_mapping(c, place, cells, table_hash="t1", submitted_by="operator")
    )


async def observe(ours: Hall, value: str, period: str = "2026-03") -> None:
    one = IndicatorObservation(
        observation_id=f"o-{period}",
        indicator="documents_electronic",
        value=Decimal(value),
        unit="percent",
        agency="H12",
        period=period,
        as_of=date(2026, 3, 31),
        provenance=Provenance(system="qlvb", document="12/BC"),
        corrects=None,
        observed_at=AFTER,
        submitted_by="qlvb",
    )
    await ours.lane.write(lambda c: observations.take(c, [one], lambda _: Judged(taken=[one])))


async def figure(
    ours: Hall,
    source: CellSource,
    agency: str | None = None,
    now: datetime = AFTER,
    window: Window = WINDOW,
) -> Figure:
    cell = Cell(place=CellPlace("", "x"), name="x", type=CellType.DECIMAL, unit=None)

    def ask(c: object) -> Figure:
        sources = LedgerSources(c, window=window, period="2026-03", agency="H12", now=now)  # type: ignore[arg-type]
        return sources.figure(source, cell, agency)

    return await ours.lane.read(ask)


async def frozen(ours: Hall, known_at: datetime | None = None) -> Frozen:
    return await RegimeFilling(ours.lane, "CDS").count(REPORT, known_at or WINDOW.cut_off, None)


# --- sources -----------------------------------------------------------------------------------------


async def test_a_rate_is_counted_over_the_reports_own_window(ours: Hall) -> None:
    """A dossier of the calendar month that lies after the 14th is in the next report."""
    await ours.put(
        *Story("in", (("received", "2026-02-15 00:00"), ("finished", "2026-03-02 10:00"))).events(),
        *Story(
            "late", (("received", "2026-03-01 09:00"), ("finished", "2026-03-09 10:00"))
        ).events(),
        *Story(
            "out", (("received", "2026-03-15 00:00"), ("finished", "2026-03-15 10:00"))
        ).events(),
    )
    await ours.refresh()
    rate = CellSource(source="rate", argument="on_time")
    found = await figure(ours, rate)
    assert (found.value, found.provisional, found.detail) == (Decimal("50.00"), False, "1/2")
    assert (await figure(ours, rate, "H12.02")).value is None
    assert (await figure(ours, rate, "H12.01")).value == Decimal("50.00")


async def test_a_rate_of_a_window_that_goes_on_is_provisional(ours: Hall) -> None:
    await ours.put(
        *Story("in", (("received", "2026-02-16 09:00"), ("finished", "2026-03-02 10:00"))).events()
    )
    await ours.refresh()
    rate = CellSource(source="rate", argument="on_time")
    assert (await figure(ours, rate, now=at("2026-03-03 10:00"))).provisional
    assert not (await figure(ours, rate)).provisional


async def test_a_fact_that_is_not_known_makes_the_least_and_provisional(ours: Hall) -> None:
    await ours.put(
        *Story("in", (("received", "2026-02-16 09:00"), ("finished", "2026-03-02 10:00"))).events(),
        *Story("undated", (("received", "2026-02-16 09:00"),), due=None).events(),
    )
    await ours.refresh()
    found = await figure(ours, CellSource(source="rate", argument="on_time"))
    assert found.provisional
    assert found.value is not None


async def test_over_no_dossiers_there_is_no_rate(ours: Hall) -> None:
    found = await figure(ours, CellSource(source="rate", argument="on_time"))
    assert (found.value, found.provisional) == (None, False)


async def test_an_observation_is_that_of_the_province_and_period(ours: Hall) -> None:
    source = CellSource(source="observation", argument="documents_electronic")
    assert (await figure(ours, source)).value is None
    await observe(ours, "97.5")
    await observe(ours, "50", "2026-02")
    found = await figure(ours, source)
    assert found.value == Decimal("97.5")
    assert found.detail == "qlvb · 12/BC, 2026-03-31"
    assert (await figure(ours, source, "H12.01")).value is None


async def test_a_column_of_form_206_is_taken_from_its_newest_frozen_figures(ours: Hall) -> None:
    source = CellSource(source="form_206", argument="c3")
    assert (await figure(ours, source)).value is None
    report = replace(REPORT, regime="II.06")
    columns = tuple(f"c{n}" for n in range(3, 14))

    def taken(*c3: int) -> Frozen:
        rows = tuple(
            Row(f"H12.0{n}", "G", "P", (count, *[0] * 10)) for n, count in enumerate(c3, 1)
        )
        kept = Snapshot(
            regime="II.06",
            period="2026-03",
            agency="H12",
            form_version="TT01/2020",
            window=WINDOW,
            known_at=WINDOW.cut_off,
            rules={},
            columns=columns,
            rows=rows,
        )
        return Frozen(snapshot=kept, provisional={"no_due": 1} if len(c3) == 3 else {})

    await ours.lane.write(lambda c: report_store.open_report(c, report, OFFICER))
    for take, counts in ((1, (4, 5)), (2, (4, 6)), (3, (4, 6, 1))):
        await ours.lane.write(
            lambda c, take=take, counts=counts: report_store.freeze(  # type: ignore[misc]
                c, report, 1, take, taken(*counts), OFFICER, units_due_on=report.units_due_on
            )
        )
        found = await figure(ours, source)
        assert (found.value, found.provisional) == (sum(counts), len(counts) == 3)
    assert (await figure(ours, source, "H12.02")).value == 6
    other = Window(date(2026, 3, 1), date(2026, 3, 31))
    assert (await figure(ours, source, window=other)).value is None


# --- in the life of a report -------------------------------------------------------------------------


async def test_a_regime_is_frozen_with_its_definitions_and_packed_from_the_snapshot_alone(
    ours: Hall,
) -> None:
    await receive(ours, *WHOLE)
    await map_cells(ours, CELLS)
    await observe(ours, "97.5")
    await ours.put(
        *Story("in", (("received", "2026-02-16 09:00"), ("finished", "2026-03-02 10:00"))).events()
    )
    await ours.refresh()
    found = await frozen(ours)
    assert found.imbalances == ()
    assert found.provisional == {"provisional_cells": 1}
    kept = snapshots.read(found.snapshot.content())
    packed = RegimeFilling(ours.lane, "CDS").packets(REPORT, 1, kept, hash_of(b""))
    (one,) = packed
    assert (one.kind, one.form, one.form_version) == (PacketKind.FIGURES, "CDS.01", "1")
    content = packets.read(one.content)
    assert content == Figures(
        axes=("row",),
        indicators=("th", "kh"),
        unit="",
        rows=(
            FigureRow(keys=("A1",), values=(Decimal(0), 95)),
            FigureRow(keys=("A2",), values=(Decimal("97.5"), None)),
        ),
        nature=Nature.ESTIMATE,
        note="Số tạm tính: A1/th",
    )


async def test_a_cell_without_a_mapping_keeps_the_report_from_being_sent(ours: Hall) -> None:
    await receive(ours, *WHOLE)
    await map_cells(ours, {CellPlace("A1", "kh"): CELLS[CellPlace("A1", "kh")]})
    found = await frozen(ours)
    assert [(one.identity, one.sector, one.procedure) for one in found.imbalances] == [
        ("unmapped", "CDS.01", "A1/th"),
        ("unmapped", "CDS.01", "A2/th"),
        ("unmapped", "CDS.01", "A2/kh"),
    ]
    kept = snapshots.read(found.snapshot.content())
    assert [one.content for one in forms_of(kept)] == [None]
    with pytest.raises(ValueError, match=r"CDS\.01: 3 cells block it"):
        RegimeFilling(ours.lane, "CDS").packets(REPORT, 1, kept, hash_of(b""))


async def test_a_regime_that_is_not_in_force_is_frozen_empty_and_blocked(ours: Hall) -> None:
    found = await frozen(ours)
    assert [one.identity for one in found.imbalances] == ["regime_not_in_force"]
    assert found.snapshot.rows == ()


async def test_rows_and_codes_of_any_kind_come_back_from_a_snapshot(ours: Hall) -> None:
    odd = replace(
        FORM,
        columns=(replace(FORM.columns[0], code="t/h%"), *FORM.columns[1:]),
        rows=(
            replace(FORM.rows[1], code="A/1", parent=None),
            replace(FORM.rows[2], code="%2F", parent=None),
        ),
    )
    await receive(ours, WHOLE[0], odd, *WHOLE[2:])
    cells = {
        cell.place: CellSource(source="constant", argument=str(number))
        for number, cell in enumerate(cells_of(odd))
    }
    await map_cells(ours, cells)
    (one,) = forms_of(snapshots.read((await frozen(ours)).snapshot.content()))
    assert [cell.cell for cell in one.cells] == list(cells_of(odd))
    assert [cell.value for cell in one.cells] == [0, 1, 2, 3]


async def test_a_form_by_agency_has_rows_that_each_unit_confirms(ours: Hall) -> None:
    regime = replace(
        REGIME, forms=(RegimeForm(code="CDS.02", version="1", kind=PacketKind.FIGURES),)
    )
    await receive(ours, WHOLE[0], BY_AGENCY, regime)
    source = CellSource(source="rate", argument="on_time")
    await map_cells(ours, {CellPlace("", "ty_le"): source}, FormPlace("CDS", "CDS.02", "1"))
    for unit in ("H12.01", "H12.02"):
        story = Story(
            unit, (("received", "2026-02-16 09:00"), ("finished", "2026-03-02 10:00")), unit=unit
        )
        await ours.put(*story.events())
    await ours.refresh()
    found = await frozen(ours)
    assert set(found.snapshot.units()) == {"H12.01", "H12.02"}
    (one,) = forms_of(snapshots.read(found.snapshot.content()))
    assert isinstance(one.content, Figures)
    assert [(row.keys, row.values) for row in one.content.rows] == [
        (("H12.01",), (Decimal(100),)),
        (("H12.02",), (Decimal(100),)),
    ]


async def test_an_outline_that_is_asked_for_and_not_written_keeps_it_from_being_sent(
    ours: Hall,
) -> None:
    await receive(ours, *WITH_OUTLINE)
    await map_cells(ours, CELLS)
    await observe(ours, "91")
    missing = ("outline_not_written", "CDS.DC")
    assert missing in [(one.identity, one.sector) for one in (await frozen(ours)).imbalances]
    outline = FormPlace("CDS", "CDS.DC", "1")
    await ours.lane.write(
        lambda c: regimes.put_outline(
            c, outline, period="2026-03", agency="H12", sealed=b"words", submitted_by="operator"
        )
    )
    assert missing not in [(one.identity, one.sector) for one in (await frozen(ours)).imbalances]


async def test_it_needs_form_206_when_a_cell_is_filled_from_it(ours: Hall) -> None:
    filling = RegimeFilling(ours.lane, "CDS")
    assert await filling.needs() == ()
    await receive(ours, *WHOLE)
    assert await filling.needs() == ()
    await map_cells(ours, CELLS)
    assert await filling.needs() == ("II.06",)
