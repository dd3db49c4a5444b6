"""`thongsuot rates today`: as a table, as JSON, as a page, as mails; and what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

import streams.rates_today as command
from monitoring.rates.reckoning import Rules, refresh
from schemas.codec import Codec
from schemas.dossier.mappings import CodeList, Codes
from schemas.dossier.status import Status
from schemas.ledger.database import Lane
from schemas.ledger.migrate import upgrade
from schemas.ledger.sql import SqlLedger
from schemas.records import DossierEvent
from schemas.registry import LocalRegistry
from tests.contract.ledger_contract import Desk
from tests.unit.cli.running import clear_environment, nothing_running, run, set_environment
from tests.unit.dossier.samples import CALENDAR, at
from tests.unit.rates.counted import Story, mapping
from tests.unit.streams.smtp_server import SmtpServer, listening

NOW = at("2026-03-04 10:00")


class Clock(datetime):
    """Always the same moment."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return NOW.astimezone(tz)


STORIES = (
    Story("one", (("received", "2026-03-02 09:00"),), due="2026-03-04 17:00", unit="H12.01"),
    Story("two", (("received", "2026-03-02 09:00"),), due="2026-03-05 17:00", unit="H12.02"),
    Story("three", (("received", "2026-03-02 09:00"),), due="2026-03-20 17:00", unit="H12.02"),
)


async def fill(url: str) -> None:
    """Dossiers as the flow brings them in, with their figures reckoned."""
    codec = Codec(LocalRegistry())
    await codec.prepare()
    rows = [mapping(CodeList.STATUS, status.value, status.value) for status in Status]
    rows += [
        replace(mapping(CodeList.AGENCY, code, code), name=f"Đơn vị {code[-1]}")
        for code in ("H12.01", "H12.02")
    ]

    async def decode(payload: bytes) -> DossierEvent:
        return await codec.decode_as(payload, DossierEvent)

    async with SqlLedger(url) as ledger:
        await ledger.put_mappings(rows)
        desk = await Desk.open(ledger)
        told = [event for story in STORIES for event in story.events()]
        items = [
            replace(desk.item(event, place, ()), payload=codec.encode(event))
            for place, event in enumerate(told)
        ]
        await ledger.enlist({0: desk.fences[0]}, {0: len(items)}, items, {0: 0})
    lane = Lane(url, "figures", seconds=None)
    try:
        rules = Rules(codes=Codes(rows, 1), calendar=CALENDAR, calendar_name="samples")
        while await refresh(lane, decode, rules):
            pass
    finally:
        await lane.close()


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = prepared(tmp_path, monkeypatch)
    asyncio.run(fill(f"sqlite:///{path}"))
    return path


def prepared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ledger that the settings name, at the fixed moment."""
    path = folder / "ledger.db"
    set_environment(monkeypatch, LEDGER_URL=f"sqlite:///{path}")
    monkeypatch.setattr(command, "datetime", Clock)
    upgrade(f"sqlite:///{path}")
    return path


def told(ended: Result) -> dict[str, Any]:
    (line,) = ended.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_every_unit_has_its_row(ledger: Path) -> None:
    ended = run("rates", "today")
    assert ended.exit_code == 0, ended.stderr
    rows = {line.split()[0]: line.split()[-5:] for line in ended.stdout.splitlines()[2:]}
    assert rows == {
        "H12.01": ["0", "1", "0", "1", "2"],
        "H12.02": ["0", "1", "0", "2", "3"],
        "cộng": ["0", "2", "0", "3", "5"],
    }
    assert "H12.01 Đơn vị 1" in ended.stdout


def test_of_one_unit_the_dossiers_are_told(ledger: Path) -> None:
    ended = run("rates", "today", "--agency", "H12.01")
    assert ended.exit_code == 0, ended.stderr
    (line,) = (
        x for x in ended.stdout.splitlines() if "đến hạn trả kết quả  " in x and "17:00" in x
    )
    assert line.split()[0].startswith("H12.01-one")
    assert "5 giờ" in line
    assert "H12.02" not in ended.stdout


def test_as_json(ledger: Path) -> None:
    found = told(run("rates", "today", "--json"))
    assert [unit["agency"] for unit in found["units"]] == ["H12.01", "H12.02"]
    assert found["counts"] == {"reception": 0, "due": 2, "supplement": 0, "field": 3}
    (due,) = (e for e in found["units"][0]["entries"] if e["kind"] == "due")
    assert (due["dossier"], due["deadline"], due["minutes_left"]) == (
        "H12.01-one",
        "2026-03-04T17:00:00+07:00",
        300,
    )
    assert "mails" not in found


def test_a_limit_leaves_the_counts(ledger: Path) -> None:
    found = told(run("rates", "today", "--json", "--limit", "1"))
    second = found["units"][1]
    assert second["counts"]["field"] == 2
    assert [entry["kind"] for entry in second["entries"]] == ["due", "field"]


def test_a_page_is_written(ledger: Path, tmp_path: Path) -> None:
    page = tmp_path / "today.html"
    assert run("rates", "today", "--agency", "H12.02", "--html", str(page)).exit_code == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "H12.02-two" in text
    assert "H12.01-one" not in text


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        pytest.param(("--agency", "H12.09"), 2, "H12.0", id="unknown agency"),
        pytest.param(("--send",), 2, "THONGSUOT_MAIL__HOST", id="no mail server"),
        pytest.param(("--html", "/nowhere/today.html"), 1, "/nowhere/today.html", id="page"),
        pytest.param(("--limit", "0"), 2, "limit", id="limit"),
    ],
)
def test_what_is_wrong_is_named(
    ledger: Path, options: tuple[str, ...], status: int, words: str
) -> None:
    ended = run("rates", "today", *options)
    assert ended.exit_code == status
    assert words in ended.stderr


def test_without_settings_or_tables_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_environment(monkeypatch, LEDGER_URL=f"sqlite:///{tmp_path}/empty.db")
    ended = run("rates", "today")
    assert (ended.exit_code, "thongsuot db upgrade" in ended.stderr) == (1, True)
    clear_environment(monkeypatch)
    assert run("rates", "today").exit_code == 2


# --- mails -------------------------------------------------------------------------------------------


@pytest.fixture
async def server(
    ledger_of_thread: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SmtpServer]:
    async with listening(SmtpServer()) as opened:
        recipients = ledger_of_thread.parent / "recipients.csv"
        recipients.write_text("agency,address\nH12.02,unit@x.vn\n", encoding="utf-8")
        for name, value in {
            "MAIL__HOST": "127.0.0.1",
            "MAIL__PORT": str(opened.port),
            "MAIL__SECURITY": "none",
            "MAIL__SENDER": "hub@x.vn",
            "MAIL__TO": "province@x.vn",
            "REFERENCE__RECIPIENTS_FILE": str(recipients),
        }.items():
            monkeypatch.setenv(f"THONGSUOT_{name}", value)
        yield opened


@pytest.fixture
async def ledger_of_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = prepared(tmp_path, monkeypatch)
    await fill(f"sqlite:///{path}")
    return path


async def ran(*arguments: str) -> Result:
    """In a thread: the command has a loop of its own, and the mail server runs in this one."""
    return await asyncio.to_thread(run, *arguments)


async def test_mails_go_out_once(server: SmtpServer) -> None:
    first = await ran("rates", "today", "--send", "--json")
    assert first.exit_code == 0, first.stderr
    assert told(first)["mails"] == [
        {"agencies": None, "addresses": 1, "state": "sent", "refused": 0, "why": None},
        {"agencies": ["H12.02"], "addresses": 1, "state": "sent", "refused": 0, "why": None},
    ]
    again = await ran("rates", "today", "--send")
    assert again.exit_code == 0
    assert again.stdout.count("hôm nay đã gửi rồi") == 2
    assert [mail.recipients for mail in server.mails] == [["province@x.vn"], ["unit@x.vn"]]
    assert "H12.01-one" not in server.mails[1].part("plain")


async def test_a_refused_mail_is_told_and_can_be_sent_later(server: SmtpServer) -> None:
    server.answers = {"MAIL": "451 later"}
    ended = await ran("rates", "today", "--send")
    assert (ended.exit_code, ended.stdout.count("chưa gửi được")) == (1, 2)
    server.answers = {}
    assert (await ran("rates", "today", "--send")).exit_code == 0
    assert len(server.mails) == 2


async def test_an_unknown_agency_in_the_file_is_told_and_nothing_goes_out(
    server: SmtpServer, tmp_path: Path
) -> None:
    (tmp_path / "recipients.csv").write_text("agency,address\nH12.9,a@x.vn\n", encoding="utf-8")
    ended = await ran("rates", "today", "--send")
    assert (ended.exit_code, server.mails) == (2, [])
    assert "dòng 2, cột agency" in ended.stderr


async def test_mails_of_one_unit_alone_are_refused(server: SmtpServer) -> None:
    ended = await ran("rates", "today", "--send", "--agency", "H12.01")
    assert (ended.exit_code, server.mails) == (2, [])


# --- thongsuot check ---------------------------------------------------------------------------------


async def checked() -> dict[str, Any]:
    ended = await ran("check", "--json")
    found: dict[str, Any] = {one["name"]: one for one in json.loads(ended.stdout)}
    return found


async def test_check_asks_the_mail_server(
    server: SmtpServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in nothing_running(tmp_path).items():
        monkeypatch.setenv(f"THONGSUOT_{name}", value)
    assert (await checked())["mail"]["ok"] is True
    assert server.mails == []
    server.answers = {"EHLO": "421 no", "HELO": "421 no"}
    found = (await checked())["mail"]
    assert "421" in " ".join(found["problems"])
    assert "THONGSUOT_MAIL__" in found["why_vi"]


async def test_check_tells_of_a_broken_list_and_of_nobody(
    server: SmtpServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in nothing_running(tmp_path).items():
        monkeypatch.setenv(f"THONGSUOT_{name}", value)
    (tmp_path / "recipients.csv").write_text("agency,address\nH12.02,nobody\n", encoding="utf-8")
    assert "line 2, column address" in " ".join((await checked())["mail"]["problems"])
    (tmp_path / "recipients.csv").write_text("agency,address\n", encoding="utf-8")
    monkeypatch.delenv("THONGSUOT_MAIL__TO")
    monkeypatch.setenv("THONGSUOT_MAIL__HOUR", "7")
    assert "THONGSUOT_MAIL__TO" in " ".join((await checked())["mail"]["problems"])


async def test_without_a_mail_server_check_does_not_mention_one(
    ledger_of_thread: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in nothing_running(tmp_path).items():
        monkeypatch.setenv(f"THONGSUOT_{name}", value)
    assert "mail" not in await checked()
