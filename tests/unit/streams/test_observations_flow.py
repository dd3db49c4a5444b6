"""`indicator.observations` into a real ledger: taken, refused with a row, and never a reason to stop."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from monitoring.rates.plan import packaged
from schemas.codec import Codec
from schemas.dossier.mappings import CodeList, MappingOrigin, MappingRow
from schemas.ledger.migrate import upgrade
from schemas.ledger.model import Fence, LedgerRefuses, RefusedObservation, StaleOwner
from schemas.ledger.sql import SqlLedger
from schemas.records import DeadLetter, IndicatorObservation
from schemas.registry import LocalRegistry
from schemas.sealing import Sealer
from schemas.topics import INDICATOR_OBSERVATIONS
from streams.observations_flow import ObservationsToLedger
from streams.patience import Patience
from streams.positions import Batch, Received
from tests.contract.observation_contract import FIRST
from tests.unit.streams.kit import RecordingLogger, events

TOPIC = INDICATOR_OBSERVATIONS.name
AT = datetime(2026, 9, 2, tzinfo=UTC)
FIGURE = replace(
    FIRST,
    observation_id="HSCV-2024",
    indicator="work_files_online_commune",
    period="2024",
    agency="H12",
    observed_at=datetime(2025, 1, 6, tzinfo=UTC),
)
CORRECTION = replace(
    FIGURE,
    observation_id="HSCV-2024-1",
    value=Decimal("70"),
    corrects=FIGURE.observation_id,
    observed_at=FIGURE.observed_at + timedelta(days=1),
)


@dataclass
class World:
    """A flow with one partition, and its ledger."""

    ledger: SqlLedger
    codec: Codec
    body: ObservationsToLedger
    log: RecordingLogger
    sealer: Sealer
    fence: Fence

    def message(self, observation: IndicatorObservation) -> bytes:
        return self.codec.encode(observation)

    def batch(self, values: Sequence[bytes | None], first: int = 0) -> Batch:
        records = tuple(
            Received(TOPIC, 0, first + number, AT.timestamp(), b"key", value)
            for number, value in enumerate(values)
        )
        return Batch(records, {0: self.fence}, {0: first}, {0: first + len(values)})

    async def put(self, *values: bytes | None, first: int = 0) -> None:
        await self.body(self.batch(values, first))

    async def ids(self) -> list[str]:
        return [one.observation_id for one in await self.ledger.observations()]

    async def refused(self) -> Sequence[RefusedObservation]:
        return await self.ledger.refused_observations(100)

    async def position(self) -> int:
        (held,) = await self.ledger.take_over("ledger", TOPIC, "t", [0], "worker-b")
        return held.next_offset


class OneLane(SqlLedger):
    """A ledger that cannot hold one value, whatever the reason."""

    cannot_hold: str = ""

    async def take_observations(self, fence, first, following, wanted, judge, dead_letters=()):  # type: ignore[no-untyped-def]
        if any(one.observation_id == self.cannot_hold for one in wanted):
            raise LedgerRefuses("the database cannot hold a value")
        await super().take_observations(fence, first, following, wanted, judge, dead_letters)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    upgrade(url)
    async with OneLane(url) as ledger:
        await ledger.put_mappings(
            [
                MappingRow(
                    codelist=CodeList.AGENCY,
                    system="opencps",
                    code="H12",
                    value="H12",
                    origin=MappingOrigin.SOURCE_TABLE,
                )
            ]
        )
        codec = Codec(LocalRegistry())
        await codec.prepare()
        log = RecordingLogger()
        told = events(log)
        sealer = Sealer({"2026-09": b"k" * 32}, "2026-09")
        (held,) = await ledger.take_over("ledger", TOPIC, "t", [0], "worker-a")
        body = ObservationsToLedger(
            ledger=ledger,
            codec=codec,
            sealer=sealer,
            patience=Patience("ledger", told, seconds=1),
            events=told,
            wall=lambda: AT,
            plan=packaged(),
        )
        yield World(ledger, codec, body, log, sealer, held.fence)


async def dead_letters(world: World) -> dict[str, int]:
    return dict(await world.ledger.open_dead_letters())


async def test_what_is_sound_becomes_a_figure_with_its_story(world: World) -> None:
    await world.put(world.message(FIGURE), world.message(CORRECTION))
    assert list(await world.ledger.observations()) == [FIGURE, CORRECTION]
    assert list(await world.refused()) == []
    assert world.log.of("observations_refused") == []
    assert await world.position() == 2


async def test_records_that_are_read_again_change_nothing(world: World) -> None:
    values = [world.message(FIGURE), world.message(replace(FIGURE, unit="yes_no")), b"garbage"]
    await world.put(*values)
    before = (await world.ids(), await world.refused(), await dead_letters(world))
    await world.put(*values)
    assert (await world.ids(), await world.refused(), await dead_letters(world)) == before
    assert await world.position() == 3


@pytest.mark.parametrize(
    ("changes", "field", "reason", "agency"),
    [
        ({"unit": "yes_no"}, "unit", "wrong_unit", "H12"),
        ({"period": "2024-13"}, "period", "period_invalid", "H12"),
        ({"agency": "Lê Bưởi"}, "agency", "unknown_agency", None),
        ({"observation_id": "a\x00"}, "observation_id", "id_invalid", "H12"),
        ({"corrects": "HSCV-2023"}, "corrects", "corrects_unknown", "H12"),
        ({"value": Decimal("100.0001")}, "value", "value_out_of_range", "H12"),
    ],
    ids=["unit", "period", "agency", "NUL", "corrects", "value"],
)
async def test_what_is_refused_leaves_a_row_and_the_next_one_is_taken(
    world: World, changes: dict[str, object], field: str, reason: str, agency: str | None
) -> None:
    wrong = replace(FIGURE, **{"observation_id": "X", **changes})  # type: ignore[arg-type]
    await world.put(world.message(wrong), world.message(FIGURE))
    assert await world.ids() == ["HSCV-2024"]
    (said,) = world.log.of("observations_refused")
    assert (said["topic"], said["refused"], said["reasons"]) == (TOPIC, 1, [reason])
    (row,) = await world.refused()
    assert (row.origin, row.place, row.field, row.reason) == (
        "kafka",
        f"{TOPIC}/0/0",
        field,
        reason,
    )
    assert row.agency == agency
    assert await dead_letters(world) == {}
    assert await world.position() == 2


async def test_a_correction_of_a_correction_is_refused(world: World) -> None:
    again = replace(CORRECTION, observation_id="HSCV-2024-2", corrects=CORRECTION.observation_id)
    await world.put(world.message(FIGURE), world.message(CORRECTION))
    await world.put(world.message(again), first=2)
    assert await world.ids() == ["HSCV-2024", "HSCV-2024-1"]
    assert [row.reason for row in await world.refused()] == ["corrects_correction"]


LETTER = DeadLetter(
    topic="t",
    partition=0,
    offset=0,
    reason="undecodable",
    detail="",
    dossier_id=None,
    sealed_key=None,
    sealed_value=None,
    first_at=AT,
    recorded_at=AT,
)


@pytest.mark.parametrize(
    "kind", ["nothing", "garbage", "cut short", "another record", "an unknown schema id"]
)
async def test_what_cannot_be_read_is_kept_sealed_and_stops_nothing(
    world: World, kind: str
) -> None:
    value = {
        "nothing": None,
        "garbage": b"Tran Thi Buoi",
        "cut short": world.message(FIGURE)[:-3],
        "another record": world.codec.encode(LETTER),
        "an unknown schema id": struct.pack(">bI", 0, 999_999) + b"x",
    }[kind]
    await world.put(value, world.message(FIGURE))
    assert await world.ids() == ["HSCV-2024"]
    (row,) = await world.refused()
    assert (row.place, row.field, row.reason) == (f"{TOPIC}/0/0", "", "unreadable")
    assert await dead_letters(world) == {"undecodable": 1}
    (said,) = world.log.of("dead_lettered")
    assert (said["topic"], said["offset"], said["dossier_id"]) == (TOPIC, 0, None)
    assert await world.position() == 2


async def test_what_the_database_cannot_hold_keeps_no_other_record_back(world: World) -> None:
    assert isinstance(world.ledger, OneLane)
    world.ledger.cannot_hold = "HSCV-X"
    other = replace(FIGURE, observation_id="HSCV-X", period="2023")
    await world.put(world.message(other), world.message(FIGURE), b"garbage")
    assert await world.ids() == ["HSCV-2024"]
    assert await dead_letters(world) == {"unclassified_error": 1, "undecodable": 1}
    assert await world.position() == 3


async def test_a_former_owner_writes_nothing(world: World) -> None:
    await world.position()
    with pytest.raises(StaleOwner):
        await world.put(world.message(FIGURE))
    assert await world.ids() == []
