"""Which dossiers are named for a difference with the portal, on either database.

Inherit and override `ours`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import Connection, update

from monitoring.rates.dossier_counts import NotCounted, Scope
from monitoring.rates.periods import parse_period
from monitoring.rates.portal_differences import Wanted, opened
from monitoring.rates.portal_dossiers import Suspect, Why, suspects
from schemas.dossier.mappings import CodeList
from schemas.ledger import published
from schemas.ledger.model import DeliveryState, Known
from schemas.ledger.published import Counts, GivenFile, PublishedFigure
from schemas.ledger.tables import deliveries, dossier_target, dossiers
from schemas.reasons import Reason
from schemas.records import EventKind, Feed, OnlinePayment, ScoreFields, identity_only
from tests.unit.dossier.samples import at
from tests.unit.rates.counted import Hall, Story, mapping, span_of

_Change = Callable[[Connection], object]

MARCH = "2026-03"
UNIT = "H12.01"
MONDAY = ("received", "2026-03-02 09:00")
IN_TIME = (MONDAY, ("finished", "2026-03-05 10:00"))
LATE = (MONDAY, ("finished", "2026-03-09 10:00"))


class PortalDossiersContract:
    @pytest.fixture
    async def ours(self) -> Hall:
        raise NotImplementedError("a contract runs only where `ours` is overridden")

    async def suspected(
        self, ours: Hall, quantity: str, *, more_here: bool, unit: str | None = UNIT
    ) -> list[Suspect]:
        start, end = span_of(MARCH)
        scope = Scope(agencies=None if unit is None else {unit})
        return await ours.lane.read(
            lambda c: suspects(c, quantity, start, end, scope, more_here=more_here)
        )

    async def told(
        self, ours: Hall, quantity: str, *, more_here: bool, unit: str | None = UNIT
    ) -> list[tuple[str, Why]]:
        found = await self.suspected(ours, quantity, more_here=more_here, unit=unit)
        return [(one.dossier_id, one.why) for one in found]

    async def test_what_we_count_and_may_not_be_there_by_likelihood(self, ours: Hall) -> None:
        """One dossier for each reason, named against their order; the last is at the portal, whole."""
        names = ("7-sound", "6-change", "5-held", "4-unknown", "3-unsent", "2-parked", "1-absent")
        for name in names:
            await ours.put(*Story(name, IN_TIME, unit=UNIT).events())
        await ours.put(*Story("0-elsewhere", IN_TIME, unit="H12.02").events())
        await ours.refresh()
        await ours.lane.write(_settle("7-sound", "5-held", "4-unknown"))
        await ours.lane.write(_park("2-parked", "6-change"))
        await ours.lane.write(_know(Known.PRESENT, "7-sound", "6-change", "5-held"))
        await ours.lane.write(_know(Known.ABSENT, "1-absent"))
        await ours.lane.write(_owe("5-held"))

        found = await self.suspected(ours, "on_time_or_within_time", more_here=True)

        assert [(one.dossier_id, one.why) for one in found] == [
            ("1-absent", Why.ABSENT),
            ("2-parked", Why.PARKED),
            ("3-unsent", Why.UNSENT),
            ("4-unknown", Why.NOT_KNOWN_THERE),
            ("6-change", Why.CHANGE_PARKED),
            ("5-held", Why.CHANGE_UNSENT),
        ]
        assert [one.reason for one in found if one.reason] == [Reason.FIELD_MISSING] * 2
        assert {one.agency for one in found} == {UNIT}
        assert found[0].code == f"{UNIT}-1-absent"

    async def test_what_was_born_on_the_portal_is_there(self, ours: Hall) -> None:
        events = Story("a", IN_TIME, unit=UNIT, state={"born_on_portal": True}).events()
        await ours.desk.put(*events, dues=())
        ours.told |= {event.event_id: event for event in events}
        await ours.refresh()
        assert await self.told(ours, "received_in_period", more_here=True) == []

    async def test_what_was_never_to_be_sent_is_not_known_there(self, ours: Hall) -> None:
        events = Story("a", IN_TIME, unit=UNIT).events()
        await ours.desk.put(*events, dues=())
        ours.told |= {event.event_id: event for event in events}
        await ours.refresh()
        assert await self.told(ours, "received_in_period", more_here=True) == [
            ("a", Why.NOT_KNOWN_THERE)
        ]

    async def test_of_what_we_do_not_count_the_portal_may_hold_an_older_state(
        self, ours: Hall
    ) -> None:
        for name in ("3-sound", "2-unsent", "1-parked", "0-not-there"):
            await ours.put(*Story(name, LATE, unit=UNIT).events())
        await ours.refresh()
        await ours.lane.write(_settle("3-sound"))
        await ours.lane.write(_park("1-parked"))
        await ours.lane.write(_know(Known.PRESENT, "3-sound", "2-unsent", "1-parked"))
        quantity = "on_time_or_within_time"
        assert await self.told(ours, quantity, more_here=False) == [
            ("1-parked", Why.CHANGE_PARKED),
            ("2-unsent", Why.CHANGE_UNSENT),
        ]
        assert await self.told(ours, quantity, more_here=True) == []
        assert await self.told(ours, quantity, more_here=False, unit="H12.02") == []

    @pytest.mark.parametrize("code", [f"{UNIT}-260302-0001", "000.00.01.H12-260302-0001"])
    async def test_what_we_cannot_judge_or_is_deleted_may_count_there(
        self, ours: Hall, code: str
    ) -> None:
        await ours.put(
            *Story("unmapped", (MONDAY, ("mystery", "2026-03-03 09:00")), unit=UNIT).events()
        )
        (received,) = Story("deleted", (MONDAY,), unit=UNIT).events()
        gone = identity_only(
            event_id="gone",
            dossier_id="deleted",
            kind=EventKind.DELETION,
            source="opencps",
            feed=Feed.SWEEP,
            cursor="1",
            content_hash="x",
            read_seq=9,
            effective_at=at("2026-03-10 09:00"),
            recorded_at=at("2026-03-10 09:01"),
            sealed=b"sealed",
        )
        await ours.put(received, gone)
        await ours.put(*Story("later", (("mystery", "2026-04-02 09:00"),), unit=UNIT).events())
        await ours.refresh()
        await ours.lane.write(_settle("unmapped", "deleted", "later"))
        await ours.lane.write(_know(Known.PRESENT, "unmapped", "deleted", "later"))
        await ours.lane.write(_received("later", "2026-04-02 09:00"))
        await ours.lane.write(_claim("deleted", code))
        for unit in (UNIT, None):
            assert await self.told(
                ours, "received_and_carried_over", more_here=False, unit=unit
            ) == [("deleted", Why.DELETED), ("unmapped", Why.UNJUDGED)]

    @pytest.mark.parametrize("more_here", [True, False])
    async def test_a_dossier_that_does_not_tell_may_count_either_way(
        self, ours: Hall, more_here: bool
    ) -> None:
        silent_about = ScoreFields(
            has_digitised_components=None, vneid_authenticated=None, online_payment=None
        )
        told = replace(silent_about, online_payment=OnlinePayment.OFFLINE)
        await ours.put(*Story("a", IN_TIME, unit=UNIT, state={"score": silent_about}).events())
        await ours.put(*Story("b", IN_TIME, unit=UNIT, state={"score": told}).events())
        await ours.refresh()
        await ours.lane.write(_settle("a", "b"))
        await ours.lane.write(_know(Known.PRESENT, "a", "b"))
        assert await self.told(ours, "paid_online", more_here=more_here) == [
            ("a", Why.FACT_UNKNOWN)
        ]

    async def test_what_the_hub_does_not_know_to_be_there_may_have_come_all_the_same(
        self, ours: Hall
    ) -> None:
        for name in ("unknown", "absent", "present"):
            await ours.put(*Story(name, IN_TIME, unit=UNIT).events())
        await ours.refresh()
        await ours.lane.write(_settle("unknown", "absent", "present"))
        await ours.lane.write(_know(Known.PRESENT, "present"))
        await ours.lane.write(_know(Known.ABSENT, "absent"))
        found = await self.told(ours, "synced_received_in_period", more_here=False)
        assert found == [("unknown", Why.NOT_KNOWN_THERE)]

    @pytest.mark.parametrize("quantity", ["satisfied", "fee_procedures", "no_such_thing"])
    async def test_of_what_is_not_counted_in_dossiers_none_are_named(
        self, ours: Hall, quantity: str
    ) -> None:
        with pytest.raises(NotCounted, match=quantity):
            await self.told(ours, quantity, more_here=True)

    async def test_every_count_that_differs_is_opened(self, ours: Hall) -> None:
        for name in ("a", "b", "c"):
            await ours.put(*Story(name, IN_TIME, unit=UNIT).events())
        await ours.put(*Story("d", LATE, unit=UNIT).events())
        await ours.refresh()
        await ours.lane.write(_settle("a", "b", "c", "d"))
        await ours.lane.write(_know(Known.PRESENT, "d"))
        await ours.ledger.put_mappings([mapping(CodeList.AGENCY, UNIT, UNIT)])
        given = GivenFile(
            service="dvc-progress-tree",
            period=MARCH,
            form="csv",
            file_hash="x",
            submitted_by="operator",
            seen_at=datetime(2026, 4, 2, tzinfo=UTC),
        )
        there = PublishedFigure(
            unit=UNIT,
            metric="on_time",
            terms=(Counts(Decimal(1), Decimal(2)),),
            ratio=Decimal(50),
            score=Decimal(10),
        )
        await ours.lane.write(lambda c: published.put(c, given, [there]))
        period = parse_period(MARCH)
        assert period is not None
        wanted = Wanted(period=period, province="H12", agency=UNIT, metric="on_time")

        on_time, received = await ours.lane.read(lambda c: opened(c, wanted, 2))

        assert (on_time.pair.quantity, received.pair.quantity) == (
            "on_time_or_within_time",
            "received_and_carried_over",
        )
        assert [one.dossier_id for one in on_time.dossiers] == ["a", "b"]
        assert (on_time.left_off, received.left_off) == (1, 1)
        told = on_time.as_dict()
        assert (told["portal"], told["ours"], told["points"]) == (1, 3, Decimal(-5))


def _settle(*names: str) -> _Change:
    """Nothing is owed of these any more."""
    return lambda c: c.execute(
        update(deliveries)
        .where(deliveries.c.dossier_id.in_(names))
        .values(state=DeliveryState.DELIVERED.value)
    )


def _park(*names: str) -> _Change:
    return lambda c: c.execute(
        update(deliveries)
        .where(deliveries.c.dossier_id.in_(names))
        .values(state=DeliveryState.PARKED.value, reason=Reason.FIELD_MISSING.value)
    )


def _owe(*names: str) -> _Change:
    return lambda c: c.execute(
        update(deliveries)
        .where(deliveries.c.dossier_id.in_(names))
        .values(state=DeliveryState.WAITING.value)
    )


def _know(known: Known, *names: str) -> _Change:
    return lambda c: c.execute(
        update(dossier_target)
        .where(dossier_target.c.dossier_id.in_(names))
        .values(known=known.value)
    )


def _received(name: str, when: str) -> _Change:
    return lambda c: c.execute(
        update(dossiers).where(dossiers.c.dossier_id == name).values(received_at=at(when))
    )


def _claim(name: str, code: str) -> _Change:
    return lambda c: c.execute(
        update(dossier_target).where(dossier_target.c.dossier_id == name).values(claimed_code=code)
    )
