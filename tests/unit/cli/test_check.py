"""`thongsuot check` and bad settings: everything that is wrong is told at once, with its remedy."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from schemas.ledger.sql import SqlLedger
from schemas.sealing import Sealer
from streams.settings import PREFIX, Settings, variables
from tests.unit.cli.running import (
    clear_environment,
    nothing_running,
    run,
    set_environment,
)

NEED_SETTINGS = [
    ("worker",),
    ("check",),
    ("check", "--json"),
    ("trace", "H12.01-261123-0001"),
    ("db", "upgrade"),
    ("schemas", "register"),
    ("topics", "check"),
    ("topics", "create"),
]


def required() -> set[str]:
    """Every variable that has no default."""
    return {name for name, field in variables(Settings) if field.is_required()}


@pytest.mark.parametrize("arguments", NEED_SETTINGS, ids=" ".join)
def test_missing_settings_are_named_all_at_once(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    clear_environment(monkeypatch)
    ended = run(*arguments)
    assert ended.exit_code == 2
    assert ended.stdout == ""
    assert len(required()) > 8
    for variable in required() | {PREFIX + "MASTER_KEY", PREFIX + "HASH_KEY"}:
        assert variable in ended.stderr, variable
    assert "chưa được đặt" in ended.stderr, "Vietnamese first"


def test_wrong_settings_are_told_by_variable_and_without_their_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = {
        "LEDGER_URL": "mysql://hub:ledger-secret@host/db",
        "MASTER_KEY": "master-secret",
        "KAFKA__PARTITIONS": "many",
        "ENGINE__IN_FLIGHT": "0",
        "MONITORING__LOG_FORMAT": "colourful",
        "ENGINE__IN_FLIGTH": "4",
    }
    set_environment(monkeypatch, **wrong)
    ended = run("check")
    assert ended.exit_code == 2
    told = {line.strip().partition(":")[0] for line in ended.stderr.splitlines()[1:]}
    assert told == {PREFIX + name for name in wrong}
    assert "secret" not in ended.stderr
    assert "THONGSUOT_ENGINE__IN_FLIGHT?" in ended.stderr, "the nearest name is offered"


# --- nothing runs -----------------------------------------------------------------------------------


def checked(*arguments: str) -> dict[str, dict[str, Any]]:
    ended = run("check", "--json", *arguments)
    assert ended.exit_code == 1, ended.output
    (line,) = ended.stdout.splitlines()
    found: Sequence[dict[str, Any]] = json.loads(line)
    return {one["name"]: one for one in found}


REMEDIES = {
    "ledger": "thongsuot db upgrade",
    "kafka": "THONGSUOT_KAFKA__BOOTSTRAP_SERVERS",
    "registry": "THONGSUOT_REGISTRY_URL",
    "one_stop": "THONGSUOT_ONE_STOP__URL",
    "national_portal": "THONGSUOT_NATIONAL_PORTAL__ADDRESS",
}


def test_with_nothing_running_every_counterpart_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_environment(monkeypatch, **nothing_running(tmp_path))
    found = checked()
    assert list(found) == [*REMEDIES, "reference"]
    for name, words in REMEDIES.items():
        assert found[name]["ok"] is False
        assert words in " ".join(found[name]["problems"]), name


def test_people_are_told_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_environment(monkeypatch, **nothing_running(tmp_path))
    ended = run("check")
    assert ended.exit_code == 1
    assert ended.stdout.count("✘") == len(REMEDIES)
    for words in REMEDIES.values():
        assert words in ended.stdout


def test_what_is_right_is_said_to_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_environment(monkeypatch, **{**nothing_running(tmp_path), "REGISTRY_URL": ""})
    run("db", "upgrade")
    found = checked()
    assert {name for name, one in found.items() if one["ok"]} == {
        "ledger",
        "registry",
        "reference",
    }


def test_a_fault_of_a_table_is_told_in_both_languages_and_is_a_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Agencies without a parent, and one with two on the same day."""
    file = tmp_path / "agencies.csv"
    heading = "code,name,parent,kind,valid_from,valid_to,successor\n"
    lines = ("H12,Tỉnh,,province,,,", "H12.01,Sở,,department,,,", "H12.02,Sở,H12,department,,,")
    twice = "H12.02,Sở,H12.03,department,,,\nH12.03,Sở,H12,department,,,"
    file.write_text(heading + "\n".join((*lines, twice)) + "\n", encoding="utf-8")
    set_environment(
        monkeypatch, **{**nothing_running(tmp_path), "REFERENCE__AGENCIES_FILE": str(file)}
    )
    found = checked()["reference"]
    assert found["ok"] is False
    rows = {(one["line"], one["column"]) for one in found["faults"]}
    assert {one["file"] for one in found["faults"]} == {str(file)}
    assert {line for line, _ in rows} >= {3, 5}
    for fault, problem in zip(found["faults"], found["problems"], strict=True):
        assert fault["vi"] in problem
        assert fault["en"] in problem
    shown = run("check").stdout
    assert "dòng 5" in shown
    assert "line 5" in shown


# --- single troubles --------------------------------------------------------------------------------


def test_a_half_migrated_ledger_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_environment(monkeypatch, **nothing_running(tmp_path))
    run("db", "upgrade")
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as half:
        half.execute("drop table claims")
        half.commit()
    (problem,) = checked()["ledger"]["problems"]
    assert "lacks claims" in problem
    assert "thongsuot db upgrade" in problem


def make_data_key(url: str) -> None:
    """As the first worker does."""

    async def make() -> None:
        async with SqlLedger(url) as ledger:
            key = Settings().master_key_bytes()  # type: ignore[call-arg] # from the environment
            await Sealer.load(ledger, key, datetime.now(UTC))

    asyncio.run(make())


def test_a_check_makes_no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_environment(monkeypatch, **nothing_running(tmp_path))
    run("db", "upgrade")
    assert checked()["ledger"]["problems"] == []
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as ledger:
        assert ledger.execute("select count(*) from data_keys").fetchone() == (0,)


def test_another_master_key_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_environment(monkeypatch, **nothing_running(tmp_path))
    run("db", "upgrade")
    make_data_key(f"sqlite:///{tmp_path / 'ledger.db'}")
    monkeypatch.setenv(PREFIX + "MASTER_KEY", "11" * 32)
    (problem,) = checked()["ledger"]["problems"]
    assert "set the master key that this ledger was begun with" in problem


def test_a_missing_wsdl_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = tmp_path / "portal.wsdl"
    set_environment(monkeypatch, **nothing_running(tmp_path), NATIONAL_PORTAL__WSDL=str(missing))
    (problem,) = checked()["national_portal"]["problems"]
    assert str(missing) in problem
    assert "wsdl" in problem.lower().replace(str(missing).lower(), "")


def test_a_missing_dialect_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_environment(monkeypatch, **nothing_running(tmp_path), NATIONAL_PORTAL__DIALECT="esperanto")
    (problem,) = checked()["national_portal"]["problems"]
    assert "esperanto" in problem


def test_a_file_that_is_no_database_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_environment(monkeypatch, **nothing_running(tmp_path))
    (tmp_path / "onestop.db").write_text("not a database at all, but long enough to be one" * 20)
    (problem,) = checked()["one_stop"]["problems"]
    assert "no SQLite database" in problem
    assert "THONGSUOT_ONE_STOP__URL" in problem
