"""Bad input at a running hub: each piece is refused by name and kept, and everything else goes on.

The day is over and everything is delivered; then somebody writes nonsense into the one-stop database and
onto Kafka.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from connectors.one_stop.simulator.journal import Owed
from schemas.topics import DOSSIER_EVENTS, ONESTOP_NOTICES
from streams.demo.day import DayOptions, DemoDay
from tests.e2e.played import command, environment

DAY = DayOptions(dossiers=30, seconds=5.0, troubles=False)
SETTLED_SECONDS = 40.0

XML_SPECIAL = """Đỗ <Thị> & "Ái" 'Mỹ' ]]> &amp; <!-- -->"""
UNKNOWN_SCHEMA = b"\x00" + (987_654).to_bytes(4, "big") + b"body"
POISON = b"\xff\xfeno Avro at all"


@dataclass(frozen=True)
class Bad:
    """What is written instead of the good values of a dossier's row, and what must become of it."""

    columns: Mapping[str, Any]
    reason: str | None  # parked for; None: delivered
    detail: str = ""


CASES = {
    "an impossible date": Bad(
        {"receiveDate": "2026-02-30 08:00:00.000000"}, "gap", "receiveDate: no possible date"
    ),
    "a date beyond all time": Bad(
        {"dueDate": "99999-01-01 00:00:00.000000"}, "gap", "dueDate: no possible date"
    ),
    "a status outside every list": Bad(
        {"dossierStatus": "teleported"}, "unmapped", "codelist=status code=teleported"
    ),
    "a procedure outside every list": Bad(
        {"serviceCode": "KHONG.CO.123"}, "unmapped", "codelist=procedure code=KHONG.CO.123"
    ),
    "a note of 5,000 characters": Bad(
        {"dossierNote": "ghi chú " * 625}, "field_too_long", "field=GhiChu length=5000"
    ),
    "control characters in a name": Bad(
        {"applicantName": "Nguyễn\x1b[31m Thị\x07 Đỏ"}, "field_invalid", "field=ChuHoSo"
    ),
    "NUL in a name": Bad({"applicantName": "Nguyễn\x00Thị Hư"}, "field_invalid", "field=ChuHoSo"),
    "XML-special text in a name": Bad({"applicantName": XML_SPECIAL}, None),
}


@dataclass
class Seen:
    """What became of everything."""

    deliveries: dict[str, list[tuple[str, str | None, str | None]]] = field(default_factory=dict)
    held: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    dead_letters: list[tuple[str, str, str, str]] = field(default_factory=list)
    metrics: str = ""
    live: tuple[int, str] = (0, "")
    log: list[dict[str, Any]] = field(default_factory=list)
    checks: dict[str, CompletedProcess[str]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return asyncio.run(_play(tmp_path_factory.mktemp("bad")))


async def _play(folder: Path) -> Seen:
    seen = Seen()
    async with DemoDay(folder, DAY) as day:
        day.write_environment()
        async for _ in day.play():
            pass
        for name, changes in {
            "as it is": {},
            "wrong password": {"NATIONAL_PORTAL__PASSWORD": "guessed-secret"},
            "missing WSDL": {"NATIONAL_PORTAL__WSDL": str(folder / "nowhere.wsdl")},
        }.items():
            env = environment(folder) | {f"THONGSUOT_{k}": v for k, v in changes.items()}
            seen.checks[name] = await asyncio.to_thread(command, "check", "--json", env=env)

        ids = await asyncio.to_thread(_write_badly, day)
        await _until(folder, lambda db: all(_settled(db, _known(db, *one)) for one in ids.items()))
        for case, dossier in ids.items():
            seen.deliveries[case] = await asyncio.to_thread(_deliveries, folder, case, dossier)
            seen.held[case] = await asyncio.to_thread(_held, day.portal_control, _code(dossier))

        good = await asyncio.to_thread(_any_dossier, folder)
        await _produce(day.bootstrap, ONESTOP_NOTICES.name, good, POISON)
        await _until(folder, lambda db: _one(db, "select count(*) from dead_letters") == 3)
        with closing(_ledger(folder)) as db:
            seen.dead_letters = db.execute(
                "select topic, reason, detail, coalesce(dossier_id, '') from dead_letters"
            ).fetchall()

        await _produce(day.bootstrap, DOSSIER_EVENTS.name, good, UNKNOWN_SCHEMA)
        await _until_log(day, "flow_paged")
        seen.metrics = (await asyncio.to_thread(_get, day.monitoring_port, "/metrics"))[1]
        async with asyncio.timeout(SETTLED_SECONDS):
            while '"waits_for":"a person"' not in seen.live[1]:
                await asyncio.sleep(0.05)
                seen.live = await asyncio.to_thread(_get, day.monitoring_port, "/live")
        seen.log = _log(day)
    return seen


# --- writing ----------------------------------------------------------------------------------------


def _code(dossier: int) -> str:
    return f"H12.20-20261120-{dossier:07d}"


def _write_badly(day: DemoDay) -> dict[str, int]:
    """A copy of a good dossier and of one of its actions per case, with the case's values in it."""
    finals = day.journal.states()
    steps = day.journal.steps()
    good = next(
        dossier
        for dossier, final in finals.items()
        if final.owed is Owed.MUST
        and len(steps[dossier]) > 4
        and all(step.owed is Owed.MUST for step in steps[dossier])
    )
    action = steps[good][0].action
    ids = {}
    with closing(sqlite3.connect(day.folder / "onestop.db", timeout=30)) as db:
        db.row_factory = sqlite3.Row
        row = dict(
            db.execute("select * from opencps_dossier where dossierId = ?", [good]).fetchone()
        )
        act = dict(
            db.execute(
                "select * from opencps_dossieraction where dossierActionId = ?", [action]
            ).fetchone()
        )
        at = db.execute("select max(modifiedDate) from opencps_dossier").fetchone()[0]
        for place, (case, bad) in enumerate(CASES.items(), start=1):
            dossier, number = 1_000_000 + place, 2_000_000 + place
            ids[case] = dossier
            unique = {"uuid_": f"bad-{place}", "modifiedDate": at}
            mine = {
                "dossierId": dossier,
                "dossierNo": _code(dossier),
                "referenceUid": f"bad-reference-{place}",
                "dossierActionId": number,
                "originality": 3,
            }
            _insert(db, "opencps_dossier", row | unique | mine | dict(bad.columns))
            theirs = {"dossierActionId": number, "dossierId": dossier, "previousActionId": 0}
            _insert(db, "opencps_dossieraction", act | unique | theirs)
        db.commit()
    return ids


def _insert(db: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
    names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
    db.execute(f"insert into {table} ({names}) values ({marks})", list(row.values()))


async def _produce(bootstrap: str, topic: str, key: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        await producer.send_and_wait(topic, value=value, key=key.encode())
    finally:
        await producer.stop()


# --- looking ----------------------------------------------------------------------------------------


def _ledger(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{folder / 'ledger.db'}?mode=ro", uri=True, timeout=30)


def _one(db: sqlite3.Connection, query: str, *parameters: object) -> int:
    number: int = db.execute(query, parameters).fetchone()[0]
    return number


def _known(db: sqlite3.Connection, case: str, dossier: int) -> str:
    """The hub's id of the dossier; of one that was never understood only the dead letter has it."""
    if CASES[case].reason == "gap":
        query = "select dossier_id from dead_letters where detail like ? || '%'"
        row = db.execute(query, [CASES[case].detail]).fetchone()
    else:
        query = "select dossier_id from dossier_aliases where kind = 'source_id' and value like ?"
        row = db.execute(query, [f"%/{dossier}"]).fetchone()
    return row[0] if row else ""


def _settled(db: sqlite3.Connection, dossier_id: str) -> bool:
    """Whether nothing more will happen to it: enlisted, and neither runnable nor to be woken."""
    owed = _one(db, "select count(*) from deliveries where dossier_id = ?", dossier_id)
    under_way = _one(
        db,
        "select count(*) from dossier_target"
        " where dossier_id = ? and (runnable or wake_at is not null)",
        dossier_id,
    )
    return owed > 0 and under_way == 0


async def _until(folder: Path, true: Any) -> None:
    def look() -> bool:
        with closing(_ledger(folder)) as db:
            return bool(true(db))

    async with asyncio.timeout(SETTLED_SECONDS):
        while not await asyncio.to_thread(look):
            await asyncio.sleep(0.1)


async def _until_log(day: DemoDay, event: str) -> None:
    async with asyncio.timeout(SETTLED_SECONDS):
        while not any(line["event"] == event for line in await asyncio.to_thread(_log, day)):
            await asyncio.sleep(0.1)


def _log(day: DemoDay) -> list[dict[str, Any]]:
    lines = day.worker_log.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def _deliveries(folder: Path, case: str, dossier: int) -> list[tuple[str, str | None, str | None]]:
    with closing(_ledger(folder)) as db:
        return db.execute(
            "select state, reason, detail from deliveries where dossier_id = ?",
            [_known(db, case, dossier)],
        ).fetchall()


def _any_dossier(folder: Path) -> str:
    """The id of a dossier of which everything was delivered."""
    with closing(_ledger(folder)) as db:
        found: str = db.execute(
            "select dossier_id from deliveries group by dossier_id"
            " having sum(state not in ('delivered', 'superseded')) = 0 limit 1"
        ).fetchone()[0]
        return found


def _get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def _held(control: str, code: str) -> dict[str, Any] | None:
    with urllib.request.urlopen(f"{control}/_truth/dossiers?code={code}", timeout=10) as answer:
        page = json.load(answer)
    return page["dossiers"][0] if page["dossiers"] else None


# --- what became of it ------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [name for name, bad in CASES.items() if bad.reason])
def test_what_cannot_be_sent_is_parked_by_name(seen: Seen, case: str) -> None:
    bad = CASES[case]
    parked = {
        (reason, detail or "")
        for state, reason, detail in seen.deliveries[case]
        if state == "parked"
    }
    assert {reason for reason, _ in parked} == {bad.reason}, seen.deliveries[case]
    if bad.reason != "gap":
        assert any(bad.detail in detail for _, detail in parked)
    assert seen.held[case] is None, "nothing of it is at the portal, neither cut nor mended"


def test_text_that_is_special_in_xml_arrives_unharmed(seen: Seen) -> None:
    case = "XML-special text in a name"
    assert {state for state, _, _ in seen.deliveries[case]} <= {"delivered", "superseded"}
    held = seen.held[case]
    assert held is not None
    assert held["fields"]["ChuHoSo"] == XML_SPECIAL


def test_impossible_dates_and_poison_are_dead_letters(seen: Seen) -> None:
    assert {topic for topic, *_ in seen.dead_letters} == {ONESTOP_NOTICES.name}
    assert all(dossier_id for *_, dossier_id in seen.dead_letters), "each knows its dossier"
    told = {(reason, detail.partition(":")[0]) for _, reason, detail, _ in seen.dead_letters}
    assert {reason for reason, _ in told} == {"impossible_value", "undecodable"}
    assert {("impossible_value", "receiveDate"), ("impossible_value", "dueDate")} <= told


def test_an_unknown_schema_id_stops_the_flow_and_pages(seen: Seen) -> None:
    paged = [line for line in seen.log if line["event"] == "flow_paged"]
    assert [(line["flow"], line["reason"]) for line in paged] == [("ledger", "unknown_schema_id")]
    assert 'hub_flow_state{flow="ledger",state="paged"} 1.0' in seen.metrics
    assert 'hub_flow_state{flow="intake",state="running"} 1.0' in seen.metrics, "the others go on"


def test_the_process_lives_on_and_says_whom_it_waits_for(seen: Seen) -> None:
    """Killing it would not register the schema: `/live` is no reason to."""
    status, told = seen.live
    assert status == 200, told
    parts = json.loads(told)["parts"]
    assert parts["ledger"]["waits_for"] == "a person"
    assert parts["intake"]["waits_for"] is None


def test_no_value_of_the_bad_input_is_in_the_log(seen: Seen) -> None:
    told = json.dumps(seen.log, ensure_ascii=False)
    for secret in ("Nguyễn", "Đỗ", "ghi chú", "2026-02-30", "99999-01-01", "no Avro"):
        assert secret not in told


# --- `thongsuot check` beside a hub that runs -------------------------------------------------------


def _told(seen: Seen, name: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(seen.checks[name].stdout)}


def test_check_is_content_with_a_sound_set_up(seen: Seen) -> None:
    ended = seen.checks["as it is"]
    assert ended.returncode == 0, ended.stdout
    assert all(one["ok"] for one in _told(seen, "as it is").values())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wrong password", ("wrong_credentials", "password")),
        ("missing WSDL", ("nowhere.wsdl", "NATIONAL_PORTAL__WSDL")),
    ],
)
def test_check_tells_what_the_portal_refuses(seen: Seen, name: str, words: tuple[str, ...]) -> None:
    assert seen.checks[name].returncode == 1
    found = _told(seen, name)
    assert [one for one in found if not found[one]["ok"]] == ["national_portal"]
    (problem,) = found["national_portal"]["problems"]
    for word in words:
        assert word in problem
    assert "guessed-secret" not in seen.checks[name].stdout + seen.checks[name].stderr
