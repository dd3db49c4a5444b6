"""`thongsuot db prune`: shows first, lets go only when told to, and never of what is younger than a year."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.ledger.database import Lane
from schemas.ledger.migrate import upgrade
from schemas.ledger.sql import SqlLedger
from tests.contract.ledger_contract import Desk, make_event
from tests.contract.retention_contract import Archive
from tests.unit.cli.running import run, set_environment

YEARS_AGO = datetime(2021, 3, 4, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One event delivered years ago, one of that time that is still owed."""
    path = tmp_path / "ledger.db"
    url = f"sqlite:///{path}"
    set_environment(monkeypatch, LEDGER_URL=url)

    async def fill() -> None:
        upgrade(url)
        lane = Lane(url, "test")
        async with SqlLedger(url) as opened:
            archive = Archive(ledger=opened, desk=await Desk.open(opened), lane=lane)
            await archive.deliver("e1", "opencps:1", YEARS_AGO)
            await archive.desk.put(make_event("e2", "opencps:2", at=YEARS_AGO))
        await lane.close()

    asyncio.run(fill())
    age(path, "events", "enlisted_at")
    age(path, "event_keys", "enlisted_at")
    age(path, "deliveries", "settled_at")
    age(path, "attempts", "closed_at")
    return path


def age(path: Path, table: str, column: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        at = int(YEARS_AGO.timestamp()) * 1_000_000
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} IS NOT NULL", [at])
        connection.commit()


def events_in(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT event_id FROM events ORDER BY 1")]


def test_without_run_it_shows_the_months_and_deletes_nothing(ledger: Path) -> None:
    ended = run("db", "prune")
    assert ended.exit_code == 0, ended.stderr
    lines = [line.split() for line in ended.stdout.splitlines()]
    assert ["03/2021", "2", "3", "1", "1", "0"] in lines
    assert "Chứng cứ được giữ 12 tháng" in ended.stdout
    assert "Chưa xoá gì" in ended.stdout
    assert events_in(ledger) == ["e1", "e2"]
    told = json.loads(run("db", "prune", "--json").stdout)
    assert (told["run"], told["months"][0]["goes"], told["bodies"]) == (False, 1, 1)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_with_run_it_lets_go_of_what_is_settled(ledger: Path, options: tuple[str, ...]) -> None:
    ended = run("db", "prune", "--run", *options)
    assert ended.exit_code == 0, ended.stderr
    if options:
        told = json.loads(ended.stdout)
        assert (told["run"], told["events"], told["deliveries"], told["keys"]) == (True, 1, 1, 1)
    else:
        assert "đã xoá: 1 sự kiện, 1 lượt chuyển, 1 lần gửi, 1 nội dung, 1 khoá" in ended.stdout
    assert events_in(ledger) == ["e2"], "what is open stays"


def test_what_is_young_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
    run("db", "upgrade")
    ended = run("db", "prune")
    assert ended.exit_code == 0
    assert "Không có gì quá hạn" in ended.stdout


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("EVIDENCE_MONTHS", "11", "12"),
        ("CONTENT_MONTHS", "13", "above evidence_months"),
        ("DEDUP_MONTHS", "12", ""),
    ],
)
def test_less_than_a_year_cannot_be_set(
    ledger: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(f"THONGSUOT_RETENTION__{name}", value)
    if not words:
        monkeypatch.setenv("THONGSUOT_RETENTION__EVIDENCE_MONTHS", "24")
    ended = run("db", "prune", "--run")
    assert ended.exit_code == 2
    assert f"THONGSUOT_RETENTION__{name}" in ended.stderr
    assert words in ended.stderr
    assert events_in(ledger) == ["e1", "e2"]


def test_a_ledger_that_is_not_there_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
    ended = run("db", "prune")
    assert ended.exit_code == 1
    assert "thongsuot db upgrade" in ended.stderr
