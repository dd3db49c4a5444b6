"""`thongsuot rates integration | completeness | false-overdue`: what is printed, and what ends and why."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from monitoring.rates.reckoning import Rules, refresh
from schemas.codec import Codec
from schemas.dossier.mappings import CodeList, Codes, MappingRow
from schemas.dossier.status import Status
from schemas.dossier.working_calendar import packaged_calendar
from schemas.ledger.database import Lane
from schemas.ledger.migrate import upgrade
from schemas.ledger.model import DeliveryState
from schemas.ledger.sql import SqlLedger
from schemas.ledger.tables import deliveries
from schemas.records import DossierEvent
from schemas.registry import LocalRegistry
from tests.contract.ledger_contract import STATE, STEP, Desk
from tests.unit.cli.running import clear_environment, run, set_environment
from tests.unit.rates.counted import UNITS, Story, mapping

MONDAY = ("received", "2026-03-02 09:00")
STORIES = (
    Story("d1", (MONDAY, ("finished", "2026-03-05 10:00"))),
    Story("d2", (MONDAY, ("finished", "2026-03-05 10:00")), unit=UNITS[1]),
)
OF_MARCH = ("--period", "2026-03")


def _rows() -> list[MappingRow]:
    return [
        *(mapping(CodeList.STATUS, status.value, status.value) for status in Status),
        *(mapping(CodeList.AGENCY, unit, unit) for unit in UNITS),
    ]


async def _fill(url: str, *, reckoned: bool = True) -> None:
    """Two dossiers that ended in time; of the first the end has not arrived, and is parked."""
    codec = Codec(LocalRegistry())
    await codec.prepare()

    async def decode(payload: bytes) -> DossierEvent:
        return await codec.decode_as(payload, DossierEvent)

    async with SqlLedger(url) as ledger:
        await ledger.put_mappings(_rows())
        version, rows = await ledger.mapping_rows()
        desk = await Desk.open(ledger)
        events = [event for story in STORIES for event in story.events()]
        items = [
            replace(desk.item(event, at, (STATE, STEP)), payload=codec.encode(event))
            for at, event in enumerate(events)
        ]
        await ledger.enlist({0: desk.fences[0]}, {0: len(items)}, items, {0: 0})
    lane = Lane(url, "test", seconds=None)
    try:
        for event in events:
            ended = event.event_id != "d1-2"
            values = {
                "state": (DeliveryState.DELIVERED if ended else DeliveryState.PARKED).value,
                "settled_at": event.recorded_at + timedelta(minutes=2) if ended else None,
                "reason": None if ended else "unmapped",
            }
            one = update(deliveries).where(deliveries.c.event_id == event.event_id).values(values)
            await lane.write(lambda c, statement=one: c.execute(statement))
        rules = Rules(
            codes=Codes(rows, version), calendar=packaged_calendar(), calendar_name="packaged"
        )
        if reckoned:
            await refresh(lane, decode, rules)
    finally:
        await lane.close()


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty ledger, which the settings name."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    set_environment(monkeypatch, LEDGER_URL=url)
    upgrade(url)
    return url


@pytest.fixture
def filled(url: str) -> None:
    asyncio.run(_fill(url))


def answer(*arguments: str) -> dict[str, object]:
    ended = run("rates", *arguments, "--json")
    assert ended.exit_code == 0, ended.stderr
    found: dict[str, object] = json.loads(ended.stdout)
    return found


def table(*arguments: str) -> list[dict[str, str]]:
    ended = run("rates", *arguments, "--csv")
    assert ended.exit_code == 0, ended.stderr
    return list(csv.DictReader(io.StringIO(ended.stdout)))


def lines(*arguments: str) -> list[list[str]]:
    ended = run("rates", *arguments)
    assert ended.exit_code == 0, ended.stderr
    return [line.split() for line in ended.stdout.splitlines()]


# --- integration -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("filled")
def test_integration_as_json() -> None:
    found = answer("integration", *OF_MARCH)
    (total,) = found["totals"]  # type: ignore[misc]
    assert (total["target"], total["agency"]) == ("national_portal", None)
    assert (total["counts"]["owed"], total["counts"]["arrived"]) == (8, 6)
    assert total["parked"] == {"unmapped": 2}
    assert total["rates"]["hub_arrived"] == 75
    assert total["rates"]["hub_in_1_minute"] == 0
    assert total["rates"]["hub_in_15_minutes"] == 75
    assert [one["agency"] for one in found["units"]] == list(UNITS[:2])  # type: ignore[attr-defined]


@pytest.mark.usefixtures("filled")
def test_integration_as_a_table_and_as_csv() -> None:
    first, second = table("integration", *OF_MARCH)
    assert (first["agency"], first["owed"], first["hub_arrived"]) == (UNITS[0], "4", "50")
    assert (second["agency"], second["parked"], second["hub_arrived"]) == (UNITS[1], "0", "100")
    told = lines("integration", *OF_MARCH)
    assert ["tất", "cả"] in [line[:2] for line in told]
    assert [UNITS[0], "national_portal", "4", "50"] in [line[:4] for line in told]
    assert any("chưa" in line and "ánh" in line for line in told), "the reason, in words"


@pytest.mark.usefixtures("url")
def test_where_nothing_was_captured_that_is_said() -> None:
    assert answer("integration", *OF_MARCH)["totals"] == []
    assert "chưa ghi nhận lượt chuyển nào" in run("rates", "integration", *OF_MARCH).stdout


def test_a_rate_of_the_hub_is_explained() -> None:
    ended = run("rates", "explain", "hub_in_8_working_hours")
    assert ended.exit_code == 0
    assert "8 giờ làm việc" in ended.stdout
    assert "định nghĩa của trục" in ended.stdout


# --- completeness ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("filled")
def test_completeness() -> None:
    found = answer("completeness", *OF_MARCH)
    told = {(one["fact"], one["rate"]): one for one in found["total"]}  # type: ignore[attr-defined]
    missing = told["population_data", "CITIZEN_DATA_CONNECTED_DOSSIER"]
    assert (missing["dossiers"], missing["shown"], missing["complete"]) == (2, 0, 2)
    assert "định danh" in missing["field"]
    assert told["channel", "channelOnlineSum/channelTotalSum"]["gain"] is None
    rows = table("completeness", *OF_MARCH, "--agency", UNITS[1])
    assert {row["agency"] for row in rows} == {UNITS[1]}
    assert {row["dossiers"] for row in rows} == {"1"}
    text = run("rates", "completeness", *OF_MARCH).stdout
    assert "tài khoản nộp có được xác thực định danh điện tử" in text


@pytest.mark.usefixtures("url")
def test_where_nothing_is_missing_that_is_said() -> None:
    assert "không thiếu trường nào" in run("rates", "completeness", *OF_MARCH).stdout


# --- false overdue -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("filled")
def test_false_overdue_as_json() -> None:
    found = answer("false-overdue", *OF_MARCH)
    (one,) = found["dossiers"]  # type: ignore[misc]
    assert (one["dossier_id"], one["agency"], one["reason"]) == ("d1", UNITS[0], "late_arrival")
    assert (one["portal"], one["office"]) == ("open_late", "ended_early")
    total = found["total"]
    assert total["points_lost"] == 10  # type: ignore[index]
    assert total["reasons"] == {"late_arrival": 1}  # type: ignore[index]
    assert answer("false-overdue", *OF_MARCH, "--agency", UNITS[1])["dossiers"] == []


@pytest.mark.usefixtures("filled")
def test_false_overdue_as_a_table_and_as_csv() -> None:
    (row,) = table("false-overdue", *OF_MARCH)
    assert (row["dossier_id"], row["due_held"]) == ("d1", "2026-03-06T17:00:00+07:00")
    text = run("rates", "false-overdue", *OF_MARCH).stdout
    assert "kết thúc hoặc bước xử lý chưa tới Cổng: 1" in text
    assert "05/03/2026 10:00" in text


@pytest.mark.usefixtures("url")
def test_where_none_is_falsely_late_that_is_said() -> None:
    assert "không có hồ sơ nào quá hạn" in run("rates", "false-overdue", *OF_MARCH).stdout


# --- what is wrong -----------------------------------------------------------------------------------

COMMANDS = ("integration", "completeness", "false-overdue")
NEXT_YEAR = str(datetime.now(UTC).year + 1)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--period", "2026-13"), "write a period as 2026-08"),
        (("--period", NEXT_YEAR), "has not begun"),
        ((*OF_MARCH, "--json", "--csv"), "choose --json or --csv"),
        ((*OF_MARCH, "--agency", "H12.99"), "no agency H12.99; near: H12.0"),
    ],
    ids=["a period", "a period to come", "two forms", "an agency"],
)
@pytest.mark.usefixtures("filled")
def test_what_cannot_be_asked_ends_with_status_2(
    command: str, arguments: tuple[str, ...], told: str
) -> None:
    ended = run("rates", command, *arguments)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert told in ended.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_without_settings_it_says_which(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clear_environment(monkeypatch)
    ended = run("rates", command, *OF_MARCH)
    assert ended.exit_code == 2
    assert "THONGSUOT_LEDGER_URL" in ended.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_ledger_that_was_never_migrated_names_the_remedy(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
    ended = run("rates", command, *OF_MARCH)
    assert ended.exit_code == 1
    assert "thongsuot db upgrade" in ended.stderr


def test_dossiers_that_wait_to_be_reckoned_are_said(url: str) -> None:
    asyncio.run(_fill(url, reckoned=False))
    ended = run("rates", "integration", *OF_MARCH, "--json")
    assert ended.exit_code == 0
    assert "2 dossiers wait to be reckoned anew" in ended.stderr
