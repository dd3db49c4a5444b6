"""The commands that need nothing running: help, schemas, topics, keys, the ledger."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import typer

from schemas.ledger.migrate import require_current
from schemas.sealing import parse_key
from schemas.topics import TOPICS
from streams.cli import app
from tests.unit.cli.running import clear_environment, run, set_environment

ROOT = Path(__file__).parents[3]


def commands() -> list[tuple[str, ...]]:
    """Every command, groups first, as it is typed."""
    found: list[tuple[str, ...]] = []

    def walk(command: object, path: tuple[str, ...]) -> None:
        found.append(path)
        for name, below in getattr(command, "commands", {}).items():
            walk(below, (*path, name))

    walk(typer.main.get_command(app), ())
    return found


def test_the_commands_are_those_of_the_readme() -> None:
    assert {" ".join(path) for path in commands()} >= {
        *("demo", "worker", "check", "trace", "simulate", "keys"),
        *("db upgrade", "topics list", "topics check"),
        *("schemas list", "schemas register", "schemas check"),
    }


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_explains_itself(
    path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    clear_environment(monkeypatch)
    ended = run(*path, "--help")
    assert ended.exit_code == 0
    assert "Usage:" in ended.stdout
    assert "·" in ended.stdout, "Vietnamese first, English beside it"


def test_without_a_command_it_says_what_there_is() -> None:
    ended = run()
    assert ended.exit_code == 2
    assert "demo" in ended.output
    assert "worker" in ended.output


@pytest.mark.parametrize("system", ["one-stop", "portal"])
def test_a_simulator_lists_its_own_options(system: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "streams.cli", "simulate", system, "--help"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert {"one-stop": "--journal", "portal": "--control-port"}[system] in ended.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("simulate", "post-office"),
        ("demo", "--profile", "everything"),
        ("demo", "--dossiers", "3"),
        ("worker", "--only", "nothing"),
        ("trace",),
        ("frobnicate",),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_refused_with_status_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


# --- schemas and topics -----------------------------------------------------------------------------


def test_schemas_list_as_json() -> None:
    ended = run("schemas", "list", "--json")
    assert ended.exit_code == 0
    told = json.loads(ended.stdout)
    assert [row["topic"] for row in told["topics"]] == [topic.name for topic in TOPICS]
    assert set(told["ids"].values()) == {
        "DeadLetter",
        "DeliveryReceipt",
        "DossierEvent",
        "IndicatorObservation",
        "Notice",
        "ReportPacket",
    }


def test_schemas_list_for_people() -> None:
    ended = run("schemas", "list")
    assert ended.exit_code == 0
    assert all(topic.subject in ended.stdout for topic in TOPICS)


def test_schemas_check_is_content() -> None:
    ended = run("schemas", "check")
    assert ended.exit_code == 0
    assert ended.stdout.count("✔") == 6


def test_schemas_check_fails_when_versions_cannot_read_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {"notice": [], "dossier_event": ["v2 cannot read v1: fee has no default"]}
    monkeypatch.setattr("streams.cli.check_packaged", lambda: found)
    ended = run("schemas", "check")
    assert ended.exit_code == 1
    assert "v2 cannot read v1: fee has no default" in ended.stdout


def test_schemas_register_without_a_registry_says_what_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_environment(monkeypatch)
    ended = run("schemas", "register")
    assert ended.exit_code == 1
    assert "THONGSUOT_REGISTRY_URL" in ended.stderr


def test_topics_list_as_json() -> None:
    ended = run("topics", "list", "--json")
    assert ended.exit_code == 0
    rows = json.loads(ended.stdout)
    assert [row["topic"] for row in rows] == [topic.name for topic in TOPICS]
    assert {row["cleanup.policy"] for row in rows} == {"delete"}, "never compacted"


def test_topics_list_for_people() -> None:
    ended = run("topics", "list")
    assert ended.exit_code == 0
    assert all(topic.name in ended.stdout for topic in TOPICS)


# --- keys -------------------------------------------------------------------------------------------


def test_keys_are_two_new_ones_each_time() -> None:
    told = [dict(line.split("=", 1) for line in run("keys").stdout.splitlines()) for _ in range(2)]
    assert [set(one) for one in told] == [{"THONGSUOT_MASTER_KEY", "THONGSUOT_HASH_KEY"}] * 2
    keys = [parse_key(key) for one in told for key in one.values()]
    assert len(set(keys)) == 4
    assert {len(key) for key in keys} == {32}


def test_a_sender_s_key_is_a_line_of_its_own() -> None:
    told = [run("keys", "sender", "eoffice").stdout for _ in range(2)]
    keys = [parse_key(line.removeprefix("eoffice=")) for line in told]
    assert all(line.startswith("eoffice=") for line in told)
    assert len(set(keys)) == 2


def test_a_sender_has_a_code_and_no_name() -> None:
    ended = run("keys", "sender", "Văn phòng")
    assert ended.exit_code == 2
    assert ended.stdout == ""
    assert "ghi mã hệ thống" in ended.stderr


def test_a_worker_that_shall_only_receive_needs_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch)
    ended = run("worker", "--only", "receive")
    assert ended.exit_code == 2
    assert "THONGSUOT_RECEIVE__PORT" in ended.stderr


# --- the ledger -------------------------------------------------------------------------------------


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ledger.db"
    set_environment(monkeypatch, LEDGER_URL=f"sqlite:///{path}")
    return path


def test_db_upgrade_makes_the_ledger_and_may_be_repeated(ledger: Path) -> None:
    for _ in range(2):
        ended = run("db", "upgrade")
        assert ended.exit_code == 0, ended.stderr
        assert "sổ cái đã sẵn sàng" in ended.stdout
        require_current(f"sqlite:///{ledger}")


def test_db_upgrade_refuses_a_stranger_s_database(ledger: Path) -> None:
    with closing(sqlite3.connect(ledger)) as stranger:
        stranger.execute("create table positions (x integer)")
    ended = run("db", "upgrade")
    assert ended.exit_code == 1
    assert "name an empty database" in ended.stderr


def test_trace_of_a_ledger_that_is_not_there_names_the_remedy(ledger: Path) -> None:
    ended = run("trace", "H12.01-261123-0001")
    assert ended.exit_code == 1
    assert "thongsuot db upgrade" in ended.stderr


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_trace_of_an_unknown_number_says_so(ledger: Path, options: tuple[str, ...]) -> None:
    run("db", "upgrade")
    ended = run("trace", "H12.01-261123-0001", *options)
    assert ended.exit_code == 1
    assert ended.stdout == ""
    assert "không có hồ sơ hay báo cáo nào mang số H12.01-261123-0001" in ended.stderr
