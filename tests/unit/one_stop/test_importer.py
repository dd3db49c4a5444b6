"""The first mappings, from the tables of the source."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert

from connectors.one_stop.columns import DICT_ITEM, PROCEDURE_MAPPING, STATUS_MAPPING
from connectors.one_stop.importer import agency_rows, procedure_rows, status_rows
from connectors.one_stop.simulator import reference, rows
from schemas.dossier.mappings import CodeList, Codes, MappingOrigin, Unmapped
from schemas.dossier.status import Status
from tests.one_stop_database import copied_world, sqlite_world
from tests.unit.one_stop.samples import row

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
BEFORE = datetime(2025, 6, 30, 16, 59, tzinfo=UTC)  # 23:59 in Vietnam
AFTER = datetime(2025, 6, 30, 17, 0, tzinfo=UTC)  # midnight, 1 July


@pytest.mark.parametrize(
    ("code", "sub_status", "national", "expected"),
    [
        ("new", "", "1", Status.SUBMITTED),
        ("waiting", "waiting_tax", "6", Status.PAYMENT_REQUESTED),
        ("pausing", "", "8", Status.PAUSED),
        ("unresolved", "", "8", Status.STOPPED),
        ("done", None, " 10 ", Status.RETURNED),
        ("done", "", "99", None),
        ("done", "", "", None),
        ("", "", "4", None),
    ],
)
def test_status_rows(
    code: str, sub_status: str | None, national: str, expected: Status | None
) -> None:
    found = status_rows(
        [row(STATUS_MAPPING, statusCode=code, subStatusCode=sub_status, statusCodeDVCQG=national)],
        "one_stop",
    )
    assert [Status(r.value) for r in found] == ([expected] if expected else [])
    assert all(r.qualifier == (sub_status or "") for r in found)
    assert all(r.origin is MappingOrigin.SOURCE_TABLE for r in found)


def test_procedure_rows_need_both_codes() -> None:
    found = procedure_rows(
        [
            row(PROCEDURE_MAPPING, serviceCode="TS_1", serviceCodeDVCQG="2.002492"),
            row(PROCEDURE_MAPPING, serviceCode="TS_2", serviceCodeDVCQG=""),
        ],
        "one_stop",
    )
    assert [(r.codelist, r.code, r.value) for r in found] == [
        (CodeList.PROCEDURE, "TS_1", "2.002492")
    ]


def test_a_closed_agency_means_its_successor_from_that_day() -> None:
    items = [
        row(DICT_ITEM, itemCode="H04", itemName="Bạc Liêu",
            metaData='{"validTo": "2025-07-01", "successor": "H12"}'),
        row(DICT_ITEM, itemCode="H12", itemName="Cà Mau", metaData="{}"),
    ]  # fmt: skip
    codes = Codes(agency_rows(items, "one_stop", ZONE))
    assert codes.agency("one_stop", "H04", BEFORE).value == "H04"
    assert codes.agency("one_stop", "H04", AFTER).value == "H12"
    assert codes.agency("one_stop", "H12", BEFORE).value == "H12"


def test_successions_follow_one_another_and_circles_end() -> None:
    def item(code: str, ends: str, heir: str) -> dict[str, object]:
        return row(
            DICT_ITEM, itemCode=code, metaData=f'{{"validTo": "{ends}", "successor": "{heir}"}}'
        )

    items = [item("A", "2025-01-01", "B"), item("B", "2026-01-01", "A")]
    codes = Codes(agency_rows(items, "one_stop", ZONE))
    assert codes.agency("one_stop", "A", datetime(2025, 6, 1, tzinfo=UTC)).value == "B"
    with pytest.raises(Unmapped):
        codes.agency("one_stop", "A", datetime(2026, 6, 1, tzinfo=UTC))


@pytest.mark.parametrize("meta", ['{"validTo": "không rõ"}', "not json", None])
def test_odd_metadata_is_no_guess(meta: str | None) -> None:
    found = agency_rows([row(DICT_ITEM, itemCode="H12", metaData=meta)], "one_stop", ZONE)
    assert [r.value for r in found] == ([] if meta and meta.startswith("{") else ["H12"])


async def test_what_the_simulator_ships_is_read(tmp_path: Path) -> None:
    world = sqlite_world(tmp_path / "onestop.db")
    with world.engine.begin() as connection:
        for table, values in rows.shipped(reference.load(), datetime(2026, 1, 1)):  # noqa: DTZ001
            if table.name.startswith(("opencps_dict", "opencps_serviceinfo")):
                connection.execute(insert(table), values)
    found = await world.source().initial_mappings()
    await world.close()
    codes = Codes(found)
    closed = reference.load().closed[0]
    assert codes.agency("one_stop", closed.code, AFTER).value == closed.successor
    local = reference.load().local[0]
    assert codes.procedure("one_stop", local.code, AFTER).value == local.national.code
    assert codes.status("one_stop", "waiting", "waiting_tax", AFTER) is Status.PAYMENT_REQUESTED
    with pytest.raises(Unmapped):
        codes.status("one_stop", "handover", None, AFTER)


async def test_other_sites_are_left_out(template: Path, tmp_path: Path) -> None:
    world = copied_world(template, tmp_path / "onestop.db", group_ids=(1,))
    assert await world.source().initial_mappings() == []
    await world.close()
