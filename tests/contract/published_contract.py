"""What the ledger promises about the portal's published figures.

Inherit and override `lane`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from schemas.ledger import published
from schemas.ledger.database import Lane
from schemas.ledger.published import Counts, GivenFile, PublishedFault, PublishedFigure

SEEN = datetime(2026, 9, 26, 3, 0, 0, 1, tzinfo=UTC)

GIVEN = GivenFile(
    service="dvc-progress-tree",
    period="2026-08",
    form="json",
    file_hash="a" * 64,
    submitted_by="operator",
    seen_at=SEEN,
)
FIGURE = PublishedFigure(
    unit="H44.07",
    unit_id="019d2be3-6a88-732b-8b17-c2db58b51fef",
    metric="on_time",
    terms=(Counts(Decimal(332), Decimal(482)),),
    ratio=Decimal("68.88"),
    score=Decimal("13.78"),
    maximum=Decimal(20),
    flag="TEMP_NATIONAL_REPORT_DENOMINATOR",
)
OF_SEVERAL_SHARES = replace(
    FIGURE,
    metric="online_payment",
    terms=(
        Counts(Decimal(44), Decimal(44)),
        Counts(None, Decimal(8)),
        Counts(Decimal(0), None),
    ),
    ratio=None,
    flag=None,
)
NOTHING = PublishedFigure(unit="H44.01", metric="on_time", terms=(Counts(None, None),))
FAULTS = [
    PublishedFault(place="data.parent", field="totalOnTime", reason="field_missing"),
    PublishedFault(place="data", field="", reason="field_unknown"),
]


class PublishedContract:
    @pytest.fixture
    async def lane(self) -> Lane:
        raise NotImplementedError("a contract runs only where `lane` is overridden")

    async def put(self, lane: Lane, given: GivenFile, *figures: PublishedFigure) -> bool:
        return await lane.write(lambda c: published.put(c, given, figures))

    async def holding(self, lane: Lane, period: str = "2026-08") -> list[PublishedFigure]:
        return [one.figure for one in await lane.read(lambda c: published.versions(c, period))]

    async def test_what_is_taken_is_read_back_exactly(self, lane: Lane) -> None:
        assert await self.put(lane, GIVEN, OF_SEVERAL_SHARES, FIGURE, NOTHING)
        found = await lane.read(lambda c: published.versions(c, "2026-08"))
        assert [one.figure for one in found] == [NOTHING, FIGURE, OF_SEVERAL_SHARES]
        assert {one.service for one in found} == {"dvc-progress-tree"}
        assert {one.seen_at for one in found} == {SEEN}
        assert await self.holding(lane, "2026-09") == []

    @pytest.mark.parametrize("value", ["0", "0.0001", "68.8800", "99999999999.9999"])
    async def test_a_figure_is_kept_to_the_last_decimal(self, lane: Lane, value: str) -> None:
        await self.put(lane, GIVEN, replace(FIGURE, score=Decimal(value)))
        (found,) = await self.holding(lane)
        assert found.score == Decimal(value)

    async def test_the_same_file_again_changes_nothing(self, lane: Lane) -> None:
        await self.put(lane, GIVEN, FIGURE)
        later = replace(GIVEN, seen_at=SEEN + timedelta(days=1), submitted_by="another")
        assert not await self.put(lane, later, replace(FIGURE, score=Decimal(1)))
        (found,) = await lane.read(lambda c: published.versions(c, "2026-08", every=True))
        assert (found.figure, found.seen_at) == (FIGURE, SEEN)

    async def test_the_same_file_may_hold_several_services_and_be_of_several_periods(
        self, lane: Lane
    ) -> None:
        assert await self.put(lane, GIVEN, FIGURE)
        assert await self.put(lane, replace(GIVEN, service="transparency"), FIGURE)
        assert await self.put(lane, replace(GIVEN, period="2026-Q3"), FIGURE)
        assert len(await self.holding(lane)) == 2

    @pytest.mark.parametrize("newer_first", [False, True], ids=["in order", "newer first"])
    async def test_a_newer_answer_is_another_version_beside_the_earlier(
        self, lane: Lane, newer_first: bool
    ) -> None:
        newer = replace(GIVEN, file_hash="b" * 64, seen_at=SEEN + timedelta(microseconds=1))
        changed = replace(FIGURE, score=Decimal("14.02"))
        files = [(GIVEN, (FIGURE, NOTHING)), (newer, (changed,))]
        for given, figures in reversed(files) if newer_first else files:
            assert await self.put(lane, given, *figures)
        assert await self.holding(lane) == [NOTHING, changed]
        every = await lane.read(
            lambda c: published.versions(c, "2026-08", unit="H44.07", every=True)
        )
        assert [one.figure for one in every] == [FIGURE, changed]

    async def test_without_a_time_the_answer_is_of_now(self, lane: Lane) -> None:
        await self.put(lane, replace(GIVEN, seen_at=None), FIGURE)
        (answer,) = await lane.read(lambda c: published.answers(c, refused=False))
        assert answer.seen_at == answer.recorded_at

    async def test_what_is_refused_is_noted_once_with_its_faults(self, lane: Lane) -> None:
        async def refuse(given: GivenFile) -> bool:
            return await lane.write(lambda c: published.put_refused(c, given, FAULTS))

        assert await refuse(GIVEN)
        assert not await refuse(replace(GIVEN, submitted_by="another"))
        (told,) = await lane.read(lambda c: published.answers(c, refused=True))
        assert told.faults == tuple(FAULTS)
        assert (told.submitted_by, told.file_hash, told.units, told.figures) == (
            "operator",
            "a" * 64,
            0,
            0,
        )
        assert await lane.read(lambda c: published.answers(c, refused=False)) == []
        assert await self.holding(lane) == []

    async def test_a_file_that_was_refused_may_be_taken_later(self, lane: Lane) -> None:
        await lane.write(lambda c: published.put_refused(c, GIVEN, FAULTS))
        assert await self.put(lane, GIVEN, FIGURE)
        (taken,) = await lane.read(lambda c: published.answers(c, refused=False))
        assert (taken.units, taken.figures, taken.faults) == (1, 1, ())
        assert len(await lane.read(lambda c: published.answers(c, refused=True))) == 1

    async def test_files_are_listed_newest_first_and_counted(self, lane: Lane) -> None:
        await self.put(lane, GIVEN, FIGURE, OF_SEVERAL_SHARES, NOTHING)
        await self.put(lane, replace(GIVEN, period="2026-Q3", file_hash="c" * 64), FIGURE)

        async def listed(period: str | None, limit: int) -> list[tuple[str, int, int]]:
            found = await lane.read(
                lambda c: published.answers(c, refused=False, period=period, limit=limit)
            )
            return sorted((one.period, one.units, one.figures) for one in found)

        assert await listed(None, 10) == [("2026-08", 2, 3), ("2026-Q3", 1, 1)]
        assert await listed("2026-08", 10) == [("2026-08", 2, 3)]
        assert len(await listed(None, 1)) == 1

    async def test_ids_of_units_lead_to_the_codes_that_were_told_last(self, lane: Lane) -> None:
        old = replace(FIGURE, unit="H44.06")
        newer = replace(GIVEN, file_hash="b" * 64, seen_at=SEEN + timedelta(days=1))
        await self.put(lane, newer, FIGURE)
        await self.put(lane, GIVEN, old, NOTHING)
        assert await lane.read(published.unit_codes) == {FIGURE.unit_id: "H44.07"}
