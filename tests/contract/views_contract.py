"""What the views for Grafana promise: the figures of the rules that count, on SQLite and PostgreSQL alike.

Inherit and override `url`: the address of an empty ledger.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, Date, MetaData, Table, delete, inspect, select, update

from monitoring.rates.dossier_counts import TOLD_ELSEWHERE, bounds, count
from monitoring.rates.observations import current
from monitoring.rates.periods import parse_period
from schemas.dossier.mappings import CodeList
from schemas.dossier.service_levels import ServiceLevel
from schemas.dossier.status import Status
from schemas.ledger.dialect import FourDecimals, UtcTimestamp
from schemas.ledger.figures import Standing
from schemas.ledger.model import Known
from schemas.ledger.tables import deliveries, dossier_target, figures, verdict_spans
from schemas.reasons import Reason
from schemas.records import Channel
from tests.contract.observation_contract import CORRECTION, FIRST, OTHERS, REFUSED, TAKEN_BACK
from tests.unit.dossier.samples import VIET_NAM
from tests.unit.rates.counted import UNITS, Hall, Story, hall_at, mapping

MONTHS = 5
"""So many are filled with dossiers, the one that runs included."""

FACTS = (
    "electronic_result",
    "digitised",
    "reused",
    "from_data_store",
    "population_data",
    "paid_online",
    "financial_obligation",
    "paper_result",
)
LEVELS = (ServiceLevel.FULL.value, ServiceLevel.PARTIAL.value, None)
TIMES = ("starts_at", "counted_until", "oldest_at", "observed_at", "recorded_at")

Row = Mapping[str, Any]


class ViewsContract:
    """Every row of a view, set beside what the code says."""

    @pytest.fixture
    async def ours(self, url: str) -> AsyncIterator[Hall]:
        async with hall_at(url) as opened:
            yield opened

    async def test_the_months_are_those_of_viet_nam_up_to_now(self, ours: Hall) -> None:
        rows = await view(ours, "months")
        now = await ours.ledger.now()
        assert len(rows) == 36
        for back, row in enumerate(sorted(rows, key=lambda one: str(one["month"]), reverse=True)):
            today = datetime.fromtimestamp(now, VIET_NAM)
            year, month = divmod(today.year * 12 + today.month - 1 - back, 12)
            assert row["month"] == f"{year}-{month + 1:02}"
            period = parse_period(row["month"])
            assert period is not None
            start, end = bounds(period)
            assert row["starts_at"] == start
            if back:
                assert row["counted_until"] == end
            else:
                assert start <= row["counted_until"] < end

    async def test_every_count_is_that_of_the_rules(self, ours: Hall) -> None:
        """By unit and month, with what is unknown; dossiers of every kind, drawn by lot."""
        await fill(ours, random.Random(766))
        rows = await view(ours, "counts")
        found = {(row["month"], row["agency"]): row for row in rows}
        assert len(found) == len(rows)
        expected: dict[tuple[str, str | None], dict[str, Any]] = {}
        for month in await view(ours, "months"):
            counted = await ours.lane.read(
                partial(count, start=month["starts_at"], end=month["counted_until"])
            )
            for unit in counted.units:
                told: dict[str, Any] = {
                    name: number
                    for name, number in unit.shown.items()
                    if number is not None and name not in TOLD_ELSEWHERE
                }
                told |= {f"{name}_unknown": number for name, number in unit.unknown.items()}
                if told["handled_in_period"]:
                    expected[month["month"], unit.agency] = told
        assert len(expected) > MONTHS * len(UNITS)
        assert found.keys() == expected.keys()
        for key, told in expected.items():
            row = found[key]
            assert {name: row[name] for name in told} == told, key
        names = {name for told in expected.values() for name in told}
        never = {"synced_received_in_period_unknown"}  # it is known of every dossier
        for name in names - never:
            assert any(told[name] for told in expected.values()), f"{name} was not tried"
        assert names == set(rows[0]) - {"month", "starts_at", "counted_until", "agency"}

    async def test_standings_add_up_to_those_of_the_ledger(self, ours: Hall) -> None:
        await fill(ours, random.Random(17))
        unread = Story("unread", (("received", "2026-03-02 09:00"), ("odd", "2026-03-03 09:00")))
        await ours.put(*unread.events())
        await ours.refresh()
        await ours.put(*Story("due", (("received", "2026-03-02 09:00"),)).events())
        together: dict[str, int] = {}
        for row in await view(ours, "standing"):
            together[row["standing"]] = together.get(row["standing"], 0) + row["dossiers"]
        assert together == await ours.standings()
        assert {Standing.RECKONED, Standing.UNMAPPED, "due"} <= together.keys()

    async def test_of_a_figure_the_newest_correction_holds(self, ours: Hall) -> None:
        await ours.ledger.put_mappings(
            [mapping(CodeList.AGENCY, code, code) for code in ("H44", "H44.07")]
        )
        twins = [
            replace(OTHERS[0], observation_id=name, value=value, corrects=OTHERS[0].observation_id)
            for name, value in TWINS
        ]
        every = (FIRST, CORRECTION, TAKEN_BACK, *OTHERS, *twins)
        await ours.ledger.put_observations(lambda _: every)
        rows = await view(ours, "observations")
        told = {(row["indicator"], row["agency"], row["period"]): row for row in rows}
        assert len(told) == len(rows)
        holds = current(every)
        assert told.keys() == set(holds)
        for about, one in holds.items():
            row = told[about]
            assert (row["observation_id"], row["value"], row["as_of"]) == (
                one.observation_id,
                one.value,
                one.as_of,
            )
            assert (row["system"], row["document"]) == (
                one.provenance.system,
                one.provenance.document,
            )
        assert told[FIRST.indicator, FIRST.agency, FIRST.period]["corrections"] == 2

    async def test_what_is_parked_is_counted_by_reason_and_unit(self, ours: Hall) -> None:
        monday = ("received", "2026-03-02 09:00")
        for number, reason in enumerate((Reason.UNMAPPED, Reason.UNMAPPED, Reason.GAP)):
            name = f"p{number}"
            await ours.put(*Story(name, (monday,), unit=UNITS[number]).events())
            await ours.lane.write(partial(Connection.execute, statement=park(name, reason)))
        await ours.put(*Story("open", (monday,)).events())
        await ours.refresh()
        rows = await view(ours, "parked")
        (counts,) = await ours.ledger.counts()
        by_reason: dict[str, int] = {}
        for row in rows:
            by_reason[row["reason"]] = by_reason.get(row["reason"], 0) + row["dossiers"]
            assert row["deliveries"] >= row["dossiers"]
            assert row["oldest_at"].tzinfo is UTC
        assert by_reason == dict(counts.parked_dossiers) == {"unmapped": 2, "gap": 1}
        assert {(row["target"], row["agency"]) for row in rows} == {
            ("national_portal", unit) for unit in UNITS
        }

    async def test_what_was_refused_is_there_row_by_row(self, ours: Hall) -> None:
        assert await view(ours, "refused") == []
        await ours.ledger.put_refused_observations([REFUSED])
        assert await view(ours, "refused") == [asdict(REFUSED)]


TWINS = (("Z", FIRST.value), ("a", None))
"""Submitted in the same moment: the later id holds, and small letters come after capitals."""


def park(dossier_id: str, reason: Reason) -> Any:
    return (
        update(deliveries)
        .where(deliveries.c.dossier_id == dossier_id)
        .values(state="parked", reason=reason.value)
    )


async def view(ours: Hall, name: str) -> Sequence[Row]:
    """The rows of `v_rates_<name>`, typed as the ledger's columns are."""

    def read(connection: Connection) -> list[Row]:
        table = Table(f"v_rates_{name}", MetaData(), autoload_with=connection)
        for column in table.c:
            if column.name in TIMES:
                column.type = UtcTimestamp()
            elif column.name == "value":
                column.type = FourDecimals()
            elif column.name == "as_of":
                column.type = Date()
        return [dict(row._mapping) for row in connection.execute(select(table))]

    return await ours.lane.read(read)


async def fill(ours: Hall, chance: random.Random) -> None:
    """Dossiers of the last months with lives, units and facts of every kind."""
    now = datetime.fromtimestamp(await ours.ledger.now(), VIET_NAM)
    first = now - timedelta(days=30 * MONTHS)

    def when(days: float) -> str:
        return f"{first + timedelta(days=days):%Y-%m-%d %H:%M}"

    for number in range(150):
        begun = chance.uniform(0, 30 * MONTHS + 5)
        at, steps = begun, [("received", when(begun))]
        for _ in range(chance.randrange(4)):
            at += chance.uniform(0.01, 40)
            status = chance.choice([one for one in Status if one is not Status.RECEIVED])
            steps.append((status.value, when(at)))
        due = when(begun + chance.uniform(0, 60)) if chance.random() < 0.85 else None
        state = {
            "channel": chance.choice([Channel.ONLINE, Channel.DIRECT, None]),
            "born_on_portal": chance.random() < 0.2,
        }
        unit = chance.choice((*UNITS, "H99.01"))  # the last has no mapping
        await ours.put(*Story(f"d{number}", tuple(steps), due, unit, state=state).events())
    while await ours.refresh():
        pass

    def draw(connection: Connection) -> None:
        there = select(figures.c.dossier_id, figures.c.received_at)
        for identity, received in connection.execute(there).all():
            changes: dict[str, Any] = {name: chance.choice([True, False, None]) for name in FACTS}
            changes["service_level"] = chance.choice(LEVELS)
            if chance.random() < 0.2:  # its life could not be read; its times may be odd
                gone = verdict_spans.c.dossier_id == identity
                connection.execute(delete(verdict_spans).where(gone))
                back = (received or now) + timedelta(days=chance.uniform(-20, 40))
                times = {
                    "received_at": chance.choice([received, received, None]),
                    "returned_at": chance.choice([back, None]),
                }
                told = [moment for moment in times.values() if moment is not None]
                changes |= {
                    **times,
                    "standing": Standing.UNMAPPED.value,
                    # As `figures.put` would have written them.
                    "counts_from": min(told, default=None),
                    "counts_until": max(told, default=None),
                }
            held = dossier_target.c.dossier_id == identity
            known = chance.choice(list(Known)).value
            connection.execute(update(dossier_target).where(held).values(known=known))
            connection.execute(
                update(figures).where(figures.c.dossier_id == identity).values(**changes)
            )

    await ours.lane.write(draw)


def views_of(connection: Connection) -> Mapping[str, Sequence[str]]:
    """The columns of every view, by its name."""
    found = inspect(connection)
    return {
        name: [column["name"] for column in found.get_columns(name)]
        for name in sorted(found.get_view_names())
    }
