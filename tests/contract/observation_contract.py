"""What the ledger promises about indicator observations.

Inherit and override `ledger`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Protocol

import pytest

from schemas.dossier.mappings import CodeList, MappingOrigin, MappingRow
from schemas.ledger.model import (
    Judged,
    Ledger,
    ObservationLedger,
    Observed,
    RefusedObservation,
    StaleOwner,
)
from schemas.records import IndicatorObservation, Provenance

NOW = datetime(2026, 9, 1, 2, 0, 0, 1, tzinfo=UTC)

FIRST = IndicatorObservation(
    observation_id="F-2026-08",
    indicator="files",
    value=Decimal("68.5"),
    unit="percent",
    agency="H44",
    period="2026-08",
    as_of=date(2026, 8, 31),
    provenance=Provenance(system="eoffice", document="12/BC-VP"),
    corrects=None,
    observed_at=NOW,
    submitted_by="eoffice",
)
CORRECTION = replace(
    FIRST,
    observation_id="A-2026-08",  # before the first one in the alphabet
    value=Decimal("70.0001"),
    provenance=Provenance(system="eoffice", document=None),
    corrects=FIRST.observation_id,
    observed_at=NOW + timedelta(microseconds=1),
)
TAKEN_BACK = replace(
    CORRECTION,
    observation_id="A-2026-08-2",
    value=None,
    observed_at=NOW + timedelta(microseconds=2),
)
OTHERS = (
    replace(FIRST, observation_id="B", indicator="mail"),
    replace(FIRST, observation_id="C", agency="H44.07"),
    replace(FIRST, observation_id="D", period="2026-Q2"),
)

REFUSED = RefusedObservation(
    origin="csv",
    place="3f2a:2",
    field="value",
    reason="value_out_of_range",
    indicator="files",
    agency=None,
    period="2026-08",
    recorded_at=NOW,
)


class FullLedger(Ledger, ObservationLedger, Protocol):
    """What `ObservationContract` needs."""


def taking(
    *wanted: IndicatorObservation,
) -> Callable[[Observed], Sequence[IndicatorObservation]]:
    return lambda _: wanted


class ObservationContract:
    @pytest.fixture
    async def ledger(self) -> FullLedger:
        raise NotImplementedError("a contract runs only where `ledger` is overridden")

    async def test_what_is_taken_is_read_back_exactly(self, ledger: FullLedger) -> None:
        story = (FIRST, CORRECTION, TAKEN_BACK)
        assert list(await ledger.put_observations(taking(*story))) == list(story)
        assert list(await ledger.observations()) == list(story)

    @pytest.mark.parametrize("value", ["0", "0.0001", "99.9999", "100", "68.5000"])
    async def test_a_figure_is_kept_to_the_last_decimal(
        self, ledger: FullLedger, value: str
    ) -> None:
        await ledger.put_observations(taking(replace(FIRST, value=Decimal(value))))
        (found,) = await ledger.observations()
        assert found.value == Decimal(value)

    @pytest.mark.parametrize("value", ["0.00001", "NaN", "Infinity"])
    async def test_a_figure_that_cannot_be_kept_exactly_is_not_kept(
        self, ledger: FullLedger, value: str
    ) -> None:
        with pytest.raises(Exception, match="more than four decimals"):
            await ledger.put_observations(taking(replace(FIRST, value=Decimal(value))))
        assert list(await ledger.observations()) == []

    async def test_a_second_time_changes_nothing(self, ledger: FullLedger) -> None:
        await ledger.put_observations(taking(FIRST))
        again = replace(FIRST, value=Decimal(1), observed_at=NOW + timedelta(days=1))
        assert list(await ledger.put_observations(taking(again, CORRECTION))) == [CORRECTION]
        assert list(await ledger.observations()) == [FIRST, CORRECTION]

    async def test_a_correction_may_be_named_before_what_it_corrects(
        self, ledger: FullLedger
    ) -> None:
        await ledger.put_observations(taking(CORRECTION, FIRST))
        assert list(await ledger.observations()) == [FIRST, CORRECTION]

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            ({"indicator": "mail"}, ["B"]),
            ({"agency": "H44.07"}, ["C"]),
            ({"period": "2026-Q2"}, ["D"]),
            (
                {"indicator": "files", "agency": "H44", "period": "2026-08"},
                ["F-2026-08", "A-2026-08"],
            ),
            ({"indicator": "mail", "agency": "H44.07"}, []),
            ({}, ["F-2026-08", "A-2026-08", "D", "C", "B"]),
        ],
        ids=["indicator", "agency", "period", "all three", "none", "everything"],
    )
    async def test_they_are_found_with_their_corrections(
        self, ledger: FullLedger, wanted: dict[str, str], found: list[str]
    ) -> None:
        await ledger.put_observations(taking(*OTHERS, CORRECTION, FIRST))
        assert [one.observation_id for one in await ledger.observations(**wanted)] == found

    async def test_whoever_decides_sees_what_is_there_and_the_agencies_of_any_time(
        self, ledger: FullLedger
    ) -> None:
        seen: list[Observed] = []

        def look(observed: Observed) -> Sequence[IndicatorObservation]:
            seen.append(observed)
            return ()

        await ledger.put_observations(look)
        await ledger.put_mappings([agency("H44"), agency("H44.07", closed=True), status()])
        await ledger.put_observations(taking(FIRST))
        await ledger.put_observations(look)
        before, after = seen
        assert (list(before.observations), before.agencies) == ([], frozenset())
        assert list(after.observations) == [FIRST]
        assert after.agencies == {"H44", "H44.07"} == await ledger.agencies()
        assert after.now.tzinfo is not None
        assert before.now <= after.now

    async def test_a_decision_that_fails_leaves_nothing_behind(self, ledger: FullLedger) -> None:
        def refuse(_: Observed) -> Sequence[IndicatorObservation]:
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await ledger.put_observations(refuse)
        assert list(await ledger.observations()) == []

    async def test_of_two_at_once_the_later_one_decides_by_what_the_first_has_written(
        self, ledger: FullLedger
    ) -> None:
        def only_the_first(observed: Observed) -> Sequence[IndicatorObservation]:
            number = len(observed.observations)
            return [] if number else [replace(FIRST, observation_id=f"F-{number}")]

        told = await asyncio.gather(*(ledger.put_observations(only_the_first) for _ in range(5)))
        assert sorted(len(new) for new in told) == [0, 0, 0, 0, 1]
        assert len(await ledger.observations()) == 1

    async def test_what_comes_from_the_log_moves_the_position_in_the_same_transaction(
        self, ledger: FullLedger
    ) -> None:
        (position,) = await ledger.take_over("ledger", "observations", "t", [0], "worker-a")
        seen: list[Observed] = []

        def judge(observed: Observed) -> Judged:
            seen.append(observed)
            return Judged(taken=(CORRECTION,), refused=(REFUSED,))

        await ledger.put_observations(taking(FIRST, *OTHERS))
        for _ in range(2):  # as after a lost answer
            await ledger.take_observations(position.fence, 0, 2, [CORRECTION], judge)
        assert [list(one.observations) for one in seen] == [[FIRST], [CORRECTION, FIRST]]
        assert list(
            await ledger.observations(agency="H44", period="2026-08", indicator="files")
        ) == [
            FIRST,
            CORRECTION,
        ]
        assert list(await ledger.refused_observations(10)) == [REFUSED]
        (moved,) = await ledger.take_over("ledger", "observations", "t", [0], "worker-b")
        assert moved.next_offset == 2
        with pytest.raises(StaleOwner):
            await ledger.take_observations(
                position.fence,
                2,
                3,
                [],
                lambda _: Judged(taken=(replace(FIRST, observation_id="Z"),)),
            )
        assert len(await ledger.observations()) == len(OTHERS) + 2

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            ((replace(FIRST, observation_id="new"),), {"F-2026-08", "A-2026-08"}),
            ((replace(FIRST, observation_id="B", period="2026"),), {"B"}),
            ((replace(FIRST, observation_id="new", period="2026", corrects="C"),), {"C"}),
            ((replace(FIRST, observation_id="D\x00", agency="\x00", corrects="\x00"),), set()),
            ((replace(FIRST, observation_id="\udce1", indicator="\udce1"),), set()),
            ((), set()),
            (
                tuple(replace(FIRST, observation_id=f"n{n}", period=f"p{n}") for n in range(2500)),
                set(),
            ),
            ((*OTHERS, FIRST), {"B", "C", "D", "F-2026-08", "A-2026-08"}),
        ],
        ids=["figure", "id", "corrected", "NUL", "a surrogate", "none", "many", "all"],
    )
    async def test_a_decision_about_some_sees_what_concerns_them(
        self, ledger: FullLedger, wanted: Sequence[IndicatorObservation], found: set[str]
    ) -> None:
        (position,) = await ledger.take_over("ledger", "observations", "t", [0], "worker-a")
        await ledger.put_observations(taking(FIRST, CORRECTION, *OTHERS))
        seen: list[str] = []

        def judge(observed: Observed) -> Judged:
            seen.extend(one.observation_id for one in observed.observations)
            return Judged()

        await ledger.take_observations(position.fence, 0, 1, wanted, judge)
        assert sorted(seen) == sorted(found)
        seen.clear()
        await ledger.put_observations(lambda observed: judge(observed).taken, wanted)
        assert sorted(seen) == sorted(found)

    async def test_faults_are_kept_once_and_listed_newest_first(self, ledger: FullLedger) -> None:
        later = replace(REFUSED, place="3f2a:3", recorded_at=NOW + timedelta(seconds=1))
        whole = replace(later, place="3f2b:", field="", indicator=None, period=None)
        await ledger.put_refused_observations([])
        await ledger.put_refused_observations([REFUSED, later])
        await ledger.put_refused_observations([replace(REFUSED, recorded_at=later.recorded_at)])
        await ledger.put_refused_observations([whole])
        assert list(await ledger.refused_observations(10)) == [later, whole, REFUSED]
        assert list(await ledger.refused_observations(1)) == [later]


def agency(code: str, *, closed: bool = False) -> MappingRow:
    return MappingRow(
        codelist=CodeList.AGENCY,
        system="opencps",
        code=f"local-{code}",
        value=code,
        valid_to=NOW - timedelta(days=400) if closed else None,
        origin=MappingOrigin.SOURCE_TABLE,
    )


def status() -> MappingRow:
    return MappingRow(
        codelist=CodeList.STATUS,
        system="opencps",
        code="done",
        value="finished",
        origin=MappingOrigin.SOURCE_TABLE,
    )
