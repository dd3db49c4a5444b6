"""The signed intake: whole or not at all, every fault answered and kept, nobody believed without a key."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from monitoring.rates.plan import packaged
from schemas.dossier.mappings import CodeList, MappingOrigin, MappingRow
from schemas.ledger.migrate import upgrade
from schemas.ledger.sql import SqlLedger
from schemas.signatures import sign
from streams.observations_intake import Answer, ObservationsIntake

AT = datetime(2025, 3, 2, 8, 0, tzinfo=UTC)
KEY = b"k" * 32
FIGURE: dict[str, Any] = {
    "observation_id": "HSCV-2024",
    "indicator": "work_files_online_commune",
    "agency": "H12",
    "period": "2024",
    "value": 55.5,
    "unit": "percent",
    "as_of": "2025-01-05",
    "system": "eoffice",
    "document": "1/BC-VP",
}
OTHER = {**FIGURE, "observation_id": "HSCV-2023", "period": "2023", "value": 40}
CORRECTION = {**FIGURE, "observation_id": "HSCV-2024-1", "value": 61.25, "corrects": "HSCV-2024"}


@dataclass
class World:
    """An intake that one system has a key for, and its ledger."""

    ledger: SqlLedger
    intake: ObservationsIntake

    async def send(self, *items: object) -> Answer:
        body = json.dumps(items, ensure_ascii=False).encode()
        return await self.intake.answer("eoffice", sign(KEY, body, AT), body)

    async def ids(self) -> list[str]:
        return [one.observation_id for one in await self.ledger.observations()]

    async def refused(self) -> list[tuple[str, str]]:
        return [(row.field, row.reason) for row in await self.ledger.refused_observations(100)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    upgrade(url)
    async with SqlLedger(url) as ledger:
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
        intake = ObservationsIntake(
            ledger=ledger, keys={"eoffice": KEY}, plan=packaged(), wall=lambda: AT
        )
        yield World(ledger, intake)


async def test_a_signed_list_is_taken_and_a_repeated_one_changes_nothing(world: World) -> None:
    assert await world.send(FIGURE, CORRECTION) == Answer(
        200, {"received": 2, "new": ["HSCV-2024", "HSCV-2024-1"]}
    )
    before = await world.ledger.observations()
    assert await world.send(FIGURE, CORRECTION) == Answer(200, {"received": 2, "new": []})
    assert await world.ledger.observations() == before
    first = before[0]
    assert (first.value, first.submitted_by, first.observed_at) == (Decimal("55.5"), "eoffice", AT)
    assert await world.refused() == []


@pytest.mark.parametrize(
    ("items", "told"),
    [
        ([FIGURE, {**OTHER, "unit": "yes_no"}], [(1, "unit", "wrong_unit")]),
        ([FIGURE, {**OTHER, "period": "2023-13"}], [(1, "period", "unreadable")]),
        ([FIGURE, {**OTHER, "agency": "Bưởi"}], [(1, "agency", "unknown_agency")]),
        (
            [FIGURE, CORRECTION, {**CORRECTION, "observation_id": "X", "corrects": "HSCV-2024-1"}],
            [(2, "corrects", "corrects_correction")],
        ),
        (
            [{**FIGURE, "value": 101}, {**OTHER, "value": -1}],
            [(0, "value", "value_out_of_range"), (1, "value", "value_out_of_range")],
        ),
        ([], [(None, None, "unreadable")]),
    ],
    ids=["unit", "period", "agency", "correction of a correction", "two", "nothing"],
)
async def test_a_faulty_list_is_refused_whole_with_every_fault_told_and_kept(
    world: World, items: Sequence[object], told: list[tuple[int | None, str | None, str]]
) -> None:
    for _ in range(2):
        answer = await world.send(*items)
        assert answer.status == 422
        found = answer.content["faults"]
        assert isinstance(found, list)
        assert [(one["item"], one["field"], one["reason"]) for one in found] == told
        assert all(one["vi"] and one["en"] for one in found)
        assert "Bưởi" not in json.dumps(found, ensure_ascii=False)
    assert await world.ids() == []
    assert sorted(await world.refused()) == sorted(
        (field or "", reason) for _, field, reason in told
    )
    assert "Bưởi" not in str(await world.ledger.refused_observations(10))


BODY = json.dumps([FIGURE]).encode()


@pytest.mark.parametrize(
    ("system", "signature", "reason"),
    [
        ("eoffice", None, "signature_missing"),
        ("eoffice", "v1=x", "signature_malformed"),
        ("eoffice", sign(b"x" * 32, BODY, AT), "signature_wrong"),
        ("eoffice", sign(KEY, BODY + b" ", AT), "signature_wrong"),
        ("eoffice", sign(KEY, BODY, AT - timedelta(hours=1)), "signature_too_old"),
        ("eoffice", sign(KEY, BODY, AT + timedelta(hours=1)), "signature_in_future"),
        ("mail", sign(KEY, BODY, AT), "signature_wrong"),
        (None, sign(KEY, BODY, AT), "signature_wrong"),
    ],
    ids=["none", "malformed", "key", "body", "old", "future", "another system", "no system"],
)
async def test_nobody_is_believed_without_a_sound_signature(
    world: World, system: str | None, signature: str | None, reason: str
) -> None:
    for _ in range(3):
        answer = await world.intake.answer(system, signature, BODY)
        assert (answer.status, answer.content["reason"]) == (401, reason)
        assert answer.content["vi"]
        assert answer.content["en"]
    assert await world.ids() == []
    assert await world.refused() == [("", reason)]


async def test_requests_without_a_key_do_not_fill_the_ledger(world: World) -> None:
    for number in range(20):
        body = f"[{number}]".encode()
        await world.intake.answer(f"system-{number}", sign(b"x" * 32, body, AT), body)
    assert await world.refused() == [("", "signature_wrong")]
