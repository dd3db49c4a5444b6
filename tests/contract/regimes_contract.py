"""What the ledger promises about what defines reports, and from what they are filled.

Inherit and override `lane`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from schemas.ledger import regimes
from schemas.ledger.database import Lane
from schemas.ledger.regimes import (
    CellSource,
    CursorMoved,
    FormPlace,
    RefusedPacket,
)
from schemas.reports.cells import CellPlace
from tests.unit.reporting.regimes_received import AT, FORM, REGIME, WHOLE

PLACE = FormPlace("CDS", "CDS.01", "1")
CELLS = {
    CellPlace("A1", "th"): CellSource(source="rate", argument="on_time"),
    CellPlace("A1", "kh"): CellSource(source="none", argument="", optional=True),
    CellPlace("", "một cột\x00"): CellSource(source="constant", argument="12,5 %"),
}


class RegimesContract:
    @pytest.fixture
    async def lane(self) -> Lane:
        raise NotImplementedError("a contract runs only where `lane` is overridden")

    async def put(self, lane: Lane, *contents: object, at: datetime = AT) -> list[regimes.Taken]:
        return [
            await lane.write(
                lambda c, content=content, n=n: regimes.put_catalogue(  # type: ignore[misc]
                    c, f"{at:%d}-{n}", content, at
                )
            )
            for n, content in enumerate(contents)
        ]

    # --- what comes in ---

    async def test_what_came_is_read_back_exactly_and_in_its_order(self, lane: Lane) -> None:
        await self.put(lane, *WHOLE)
        found = await lane.read(regimes.received)
        assert [one.content for one in found] == list(WHOLE)
        assert [one.packet_id for one in found] == [f"01-{n}" for n in range(len(WHOLE))]
        assert {one.received_at for one in found} == {AT}

    async def test_what_came_is_in_force_once_it_is_whole(self, lane: Lane) -> None:
        await self.put(lane, *WHOLE[:-1])
        assert (await lane.read(regimes.catalogue)).regimes == {}
        await self.put(lane, WHOLE[-1], at=AT + timedelta(days=1))
        assert (await lane.read(regimes.catalogue)).regimes == {"CDS": REGIME}
        before = await lane.read(lambda c: regimes.catalogue(c, until=AT))
        assert before.regimes == {}

    async def test_a_packet_that_comes_again_changes_nothing(self, lane: Lane) -> None:
        await self.put(lane, FORM)
        (again,) = await self.put(lane, FORM)
        assert again == regimes.Taken(new=False, same=True)
        assert len(await lane.read(regimes.received)) == 1

    async def test_a_packet_that_comes_again_with_another_content_is_told_apart(
        self, lane: Lane
    ) -> None:
        await self.put(lane, FORM)
        (again,) = await self.put(lane, replace(FORM, name="khác"))
        assert again == regimes.Taken(new=False, same=False)
        assert [one.content for one in await lane.read(regimes.received)] == [FORM]

    async def test_the_same_content_in_another_packet_is_another_version(self, lane: Lane) -> None:
        await self.put(lane, REGIME)
        await self.put(lane, REGIME, at=AT + timedelta(days=1))
        assert len(await lane.read(regimes.received)) == 2

    async def test_a_name_that_no_database_holds_as_it_is_comes_back_as_it_was(
        self, lane: Lane
    ) -> None:
        odd = replace(REGIME, name="a\x00b 'c' \"d\" \U0001f600")
        await self.put(lane, odd)
        assert [one.content for one in await lane.read(regimes.received)] == [odd]

    async def test_the_cursor_moves_only_from_where_it_was_read(self, lane: Lane) -> None:
        async def move(old: str | None, new: str) -> None:
            await lane.write(lambda c: regimes.move_cursor(c, "gov", "inbox", old, new))

        async def there() -> str | None:
            return await lane.read(lambda c: regimes.cursor(c, "gov", "inbox"))

        assert await there() is None
        with pytest.raises(CursorMoved):
            await move("5", "6")
        await move(None, "5")
        with pytest.raises(CursorMoved):
            await move(None, "6")
        await move("5", "7")
        assert await there() == "7"
        assert await lane.read(lambda c: regimes.cursor(c, "gov", "outbox")) is None

    async def test_what_was_refused_is_kept_once_for_each_reason(self, lane: Lane) -> None:
        one = RefusedPacket(
            packet_id="p1", reason="unreadable", detail="rows[3]", sealed=b"\x00x", received_at=AT
        )

        async def put(what: RefusedPacket) -> bool:
            return await lane.write(lambda c: regimes.put_refused(c, what))

        assert await put(one)
        assert not await put(replace(one, detail="later"))
        assert await put(replace(one, reason="id_reused"))
        found = await lane.read(lambda c: regimes.refused(c, 10))
        assert sorted(found, key=lambda one: one.reason) == [replace(one, reason="id_reused"), one]
        assert len(await lane.read(lambda c: regimes.refused(c, 1))) == 1

    # --- from what forms are filled ---

    async def map(self, lane: Lane, cells: object, table_hash: str) -> int | None:
        return await lane.write(
            lambda c: regimes.put_mapping(
                c,
                PLACE,
                cells,
                table_hash=table_hash,
                submitted_by="operator",  # type: ignore[arg-type]
            )
        )

    async def test_the_newest_table_of_cells_holds_and_the_earlier_stays(self, lane: Lane) -> None:
        first = await self.map(lane, CELLS, "1" * 64)
        assert first is not None
        found = await lane.read(lambda c: regimes.mapping(c, PLACE))
        assert found is not None
        plain = {CellPlace(p.row, p.column.replace("\x00", "\ufffd")): s for p, s in CELLS.items()}
        assert dict(found.cells) == plain
        assert found.submitted_by == "operator"

        other = {CellPlace("A1", "th"): CellSource(source="constant", argument="1")}
        assert await self.map(lane, other, "2" * 64) is not None
        newer = await lane.read(lambda c: regimes.mapping(c, PLACE))
        assert newer is not None
        assert dict(newer.cells) == other
        then = await lane.read(lambda c: regimes.mapping(c, PLACE, until=found.recorded_at))
        assert then is not None
        assert then.mapping_id in (first, newer.mapping_id)
        past = await lane.read(
            lambda c: regimes.mapping(c, PLACE, until=found.recorded_at - timedelta(seconds=1))
        )
        assert past is None

    async def test_the_same_table_again_changes_nothing(self, lane: Lane) -> None:
        await self.map(lane, CELLS, "1" * 64)
        assert await self.map(lane, CELLS, "1" * 64) is None
        await self.map(lane, {}, "2" * 64)
        assert await self.map(lane, CELLS, "1" * 64) is not None

    async def test_an_empty_table_is_a_table(self, lane: Lane) -> None:
        await self.map(lane, {}, "2" * 64)
        found = await lane.read(regimes.mappings)
        assert {place: dict(one.cells) for place, one in found.items()} == {PLACE: {}}

    async def test_the_newest_words_of_a_report_hold(self, lane: Lane) -> None:
        async def put(sealed: bytes, period: str = "2026-09") -> None:
            await lane.write(
                lambda c: regimes.put_outline(
                    c, PLACE, period=period, agency="H44", sealed=sealed, submitted_by="operator"
                )
            )

        async def there(period: str = "2026-09") -> bytes | None:
            return await lane.read(lambda c: regimes.outline(c, PLACE, period=period, agency="H44"))

        assert await there() is None
        await put(b"\x00first")
        await put(b"second")
        await put(b"other", "2026-10")
        assert await there() == b"second"
        assert await there("2026-10") == b"other"

    async def test_without_reports_there_are_no_submissions(self, lane: Lane) -> None:
        assert await lane.read(regimes.submissions) == []
