"""Goal 5: of the regimes that were received, how many are answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from monitoring.rates.periods import parse_period
from monitoring.rates.plan import Standing, Value, packaged, scoreboard
from monitoring.rates.regime_figures import (
    INDICATOR,
    RegimeStanding,
    merged,
    regime_figures,
    standings,
)
from schemas.ledger import regimes
from schemas.ledger.database import Lane
from schemas.ledger.migrate import upgrade
from schemas.ledger.regimes import CellSource, FormMapping, FormPlace, Submission
from schemas.ledger.tables import report_mappings, report_snapshots, report_takes, reports
from schemas.reports.cells import cells_of
from schemas.reports.kinds import PacketKind
from schemas.reports.packets import Content, RegimeForm
from schemas.reports.regimes import judge
from tests.unit.dossier.samples import at
from tests.unit.reporting.regimes_received import AT, FORM, OUTLINE, REGIME, came
from tests.unit.reporting.regimes_received import WHOLE as WITH_OUTLINE

WHOLE = (*WITH_OUTLINE[:-1], replace(REGIME, forms=REGIME.forms[:1]))
"""Without the outline that the regime asks for as well."""

PLACE = FormPlace("CDS", "CDS.01", "1")
CELLS = {
    cell.place: CellSource(source="none", argument="", optional=True) for cell in cells_of(FORM)
}
MAPPING = FormMapping(
    mapping_id=1,
    place=PLACE,
    table_hash="",
    submitted_by="operator",
    recorded_at=AT,
    cells=CELLS,
)
SECOND = replace(
    REGIME, code="KHAC", forms=(RegimeForm(code="X", version="1", kind=PacketKind.OUTLINE),)
)
SENT = Submission(
    regime="CDS", period="2026-08", due_on=date(2026, 8, 25), submitted_at=at("2026-08-20 10:00")
)
ON = at("2026-09-10 10:00")  # the month to 14 August is the last that was due


def stood(
    *contents: Content,
    mapped: bool = True,
    sent: tuple[Submission, ...] = (SENT,),
    on: datetime = ON,
    agency: str = "H44",
) -> dict[str, RegimeStanding]:
    found = judge(came(*contents))
    mappings = {PLACE: MAPPING} if mapped else {}
    return {one.code: one for one in standings(found, mappings, sent, agency, on)}


def test_a_regime_counts_that_is_mapped_and_whose_last_due_report_was_sent() -> None:
    one = stood(*WHOLE)["CDS"]
    assert one.answered
    assert one.last_due is not None
    assert (one.last_due.period, one.last_due.due_on) == ("2026-08", date(2026, 8, 25))
    assert one.next_due is not None
    assert one.next_due.period == "2026-09"


def test_one_cell_without_a_source_keeps_it_out() -> None:
    found = judge(came(*WHOLE))
    cells = dict(list(CELLS.items())[1:])
    (one,) = standings(found, {PLACE: replace(MAPPING, cells=cells)}, (SENT,), "H44", ON)
    assert (one.unmapped_forms, one.answered) == (("CDS.01",), False)
    assert not stood(*WHOLE, mapped=False)["CDS"].answered


def test_a_regime_that_asks_for_an_outline_is_not_answered_while_none_is_sent() -> None:
    one = stood(*WITH_OUTLINE)["CDS"]
    assert (one.unmapped_forms, one.answered) == (("CDS.DC",), False)


@pytest.mark.parametrize(
    "sent",
    [
        (),
        (replace(SENT, submitted_at=None),),
        (replace(SENT, submitted_at=ON + timedelta(seconds=1)),),  # after the moment asked about
        (replace(SENT, period="2026-07", due_on=date(2026, 7, 25)),),
        (replace(SENT, regime="KHAC"),),
    ],
)
def test_a_last_due_report_that_was_not_sent_keeps_it_out(sent: tuple[Submission, ...]) -> None:
    assert not stood(*WHOLE, sent=sent)["CDS"].answered


def test_what_is_due_today_is_not_late_yet() -> None:
    on = at("2026-09-25 23:00")
    one = stood(*WHOLE, on=on)["CDS"]
    assert one.answered
    assert not stood(*WHOLE, on=at("2026-09-26 00:00"))["CDS"].answered


def test_what_was_due_before_the_regime_came_is_not_asked_for() -> None:
    """It came on 1 August; the month to 14 July was due on 25 July."""
    one = stood(*WHOLE, sent=(), on=at("2026-08-20 10:00"))["CDS"]
    assert one.last_due is None
    assert one.answered
    assert not stood(*WHOLE, sent=(), on=at("2026-08-26 10:00"))["CDS"].answered


def test_a_regime_that_cannot_be_used_stays_in_the_denominator() -> None:
    found = stood(*WHOLE, SECOND)
    assert [one.answered for one in found.values()] == [True, False]
    assert not found["KHAC"].usable


@pytest.mark.parametrize(
    "changes",
    [
        {"valid_until": date(2026, 9, 9)},
        {"valid_from": date(2026, 9, 11)},
        {"reporters": ("H12",)},
    ],
)
def test_a_regime_that_does_not_ask_the_province_is_in_neither(changes: dict[str, object]) -> None:
    assert stood(*WHOLE[:-1], replace(REGIME, **changes)) == {}  # type: ignore[arg-type]
    assert stood(*WHOLE[:-1], replace(REGIME, reporters=("H12", "H44")))


def test_form_206_needs_no_table_of_sources() -> None:
    regime = replace(REGIME, code="II.06")
    form, outline = replace(FORM, regime="II.06"), replace(OUTLINE, regime="II.06")
    found = stood(WHOLE[0], form, outline, regime, mapped=False, sent=())
    assert found["II.06"].answered


def test_what_was_computed_takes_the_place_of_what_was_observed_for_its_period_alone() -> None:
    def value(period: str, share: int, source: str) -> Value:
        parsed = parse_period(period)
        assert parsed is not None
        return Value(Decimal(share), parsed, parsed.last, source)

    ours = [value("2026-Q3", 50, "hub")]
    theirs = [value("2026-Q3", 100, "other"), value("2026-Q2", 80, "other")]
    assert {str(one.period): one.source for one in merged(ours, theirs)} == {
        "2026-Q3": "hub",
        "2026-Q2": "other",
    }


# --- over a ledger -----------------------------------------------------------------------------------


@pytest.fixture
async def lane(tmp_path: Path) -> AsyncIterator[Lane]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    upgrade(url)
    lane = Lane(url, "figures", seconds=None)
    yield lane
    await lane.close()


async def put(lane: Lane, *contents: Content, when: datetime) -> None:
    for number, content in enumerate(contents):
        name = f"{when:%Y%m%d}-{number}"
        await lane.write(
            lambda c, content=content, name=name: regimes.put_catalogue(c, name, content, when)  # type: ignore[misc]
        )


async def test_without_a_regime_there_is_no_figure(lane: Lane) -> None:
    assert await lane.read(lambda c: regime_figures(c, "H44", ON)) == []


async def test_the_figure_has_a_history_by_quarter_and_year(lane: Lane) -> None:
    """A regime came in May and was mapped in July; another came in August and never."""
    await put(lane, *WHOLE, when=datetime(2026, 5, 4, tzinfo=UTC))
    await put(lane, SECOND, when=datetime(2026, 8, 4, tzinfo=UTC))
    await lane.write(
        lambda c: regimes.put_mapping(c, PLACE, CELLS, table_hash="h", submitted_by="operator")
    )
    july = datetime(2026, 7, 1, tzinfo=UTC)
    await lane.write(lambda c: c.execute(update(report_mappings).values(recorded_at=july)))
    found = await lane.read(lambda c: regime_figures(c, "H44", at("2026-08-10 10:00")))
    assert [(str(one.period), one.value, one.as_of) for one in found] == [
        ("2026-Q2", Decimal("0.00"), date(2026, 6, 30)),  # not mapped, and June was not sent
        ("2026-Q3", Decimal("0.00"), date(2026, 8, 10)),  # mapped, and July was not sent
        ("2026", Decimal("0.00"), date(2026, 8, 10)),
    ]


async def test_the_goal_is_reached_when_every_regime_is_answered(lane: Lane) -> None:
    await put(lane, *WHOLE, when=AT)
    await lane.write(
        lambda c: regimes.put_mapping(c, PLACE, CELLS, table_hash="h", submitted_by="operator")
    )
    await lane.write(lambda c: c.execute(update(report_mappings).values(recorded_at=AT)))
    on = at("2026-08-20 10:00")
    values = await lane.read(lambda c: regime_figures(c, "H44", on))
    (row,) = [
        row
        for row in scoreboard(packaged(), {INDICATOR: values}, date(2026, 8, 20))
        if row.goal.code == "report_regimes_connected"
    ]
    assert row.standing is Standing.REACHED
    assert row.actual is not None
    assert row.actual.value == Decimal(100)
    assert [str(one.period) for one in row.history] == ["2026", "2026-Q3"]


async def test_what_was_submitted_is_read_from_the_reports_themselves(lane: Lane) -> None:
    report = {
        "report_id": "CDS/2026-08/H44",
        "regime": "CDS",
        "period": "2026-08",
        "kind": "month",
        "agency": "H44",
        "calendar": "decree",
        "window_from": date(2026, 7, 15),
        "window_to": date(2026, 8, 14),
        "cut_off_at": AT,
        "units_due_on": date(2026, 8, 20),
        "due_on": date(2026, 8, 25),
        "opened_at": AT,
    }
    frozen = {
        "report_id": report["report_id"],
        "revision": 1,
        "take": 1,
        "snapshot_hash": "h",
        "content": b"",
        "known_at": AT,
        "rules": "{}",
        "units": "{}",
        "provisional": "{}",
        "imbalances": "[]",
        "frozen_at": AT,
    }
    take = {
        "report_id": report["report_id"],
        "revision": 1,
        "take": 1,
        "state": "submitted",
        "version": 1,
        "units_due_on": date(2026, 8, 20),
        "late": False,
        "changed_at": AT,
        "submitted_at": at("2026-08-24 09:00"),
    }
    await lane.write(lambda c: c.execute(insert(reports), report))
    assert [one.submitted_at for one in await lane.read(regimes.submissions)] == [None]
    await lane.write(lambda c: c.execute(insert(report_snapshots), frozen))
    await lane.write(lambda c: c.execute(insert(report_takes), take))
    await lane.write(lambda c: c.execute(insert(report_snapshots), {**frozen, "revision": 2}))
    later = {**take, "revision": 2, "submitted_at": at("2026-09-02 09:00")}
    await lane.write(lambda c: c.execute(insert(report_takes), later))
    assert await lane.read(regimes.submissions) == [
        Submission(
            regime="CDS",
            period="2026-08",
            due_on=date(2026, 8, 25),
            submitted_at=at("2026-08-24 09:00"),
        )
    ]
