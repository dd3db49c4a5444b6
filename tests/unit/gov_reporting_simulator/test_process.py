"""The simulator as a process and by itself: what it says, keeps, refuses, and how it is steered."""

from __future__ import annotations

import ast
import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

import connectors.gov_reporting.simulator as simulator_package
from connectors.gov_reporting.elements import load_elements
from connectors.gov_reporting.simulator import ReportingSimulator
from connectors.gov_reporting.simulator.rules import known_windows
from connectors.gov_reporting.sink import GovReporting
from tests.unit.gov_reporting import samples

ELEMENTS = load_elements()


@asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, Any]]:
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "connectors.gov_reporting.simulator",
        *("--client-id", samples.CLIENT_ID, "--client-secret", samples.CLIENT_SECRET),
        *("--today", "2026-08-24", *arguments),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert started.stdout is not None
        line = await asyncio.wait_for(started.stdout.readline(), 60)
        yield started, json.loads(line)
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


@asynccontextmanager
async def sink_of(ready: dict[str, Any]) -> AsyncIterator[GovReporting]:
    remote = cast(
        ReportingSimulator, SimpleNamespace(url=ready["url"], token_url=ready["token_url"])
    )
    settings = samples.settings(remote, read_timeout_seconds=10, total_timeout_seconds=10)
    sink = GovReporting(settings, ELEMENTS, samples.SEALER, samples.HASHER)
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close()


async def ask(method: str, address: str, **more: Any) -> Any:
    async with aiohttp.ClientSession() as http, http.request(method, address, **more) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_what_was_answered_survives(tmp_path: Path, end: signal.Signals) -> None:
    database = str(tmp_path / "truth.sqlite")
    async with process("--db", database) as (first, ready), sink_of(ready) as sink:
        for number in range(5):
            request = sink.state_request(samples.of_unit(number), samples.CODES)
            await sink.create(request, samples.intent(send_by=60.0))
        before = await ask("GET", ready["control_url"] + "/_truth/reports")
        first.send_signal(end)
        status = await asyncio.wait_for(first.wait(), 30)
        assert status == (0 if end is signal.SIGTERM else -signal.SIGKILL)
    async with process("--db", database) as (_, ready):
        assert await ask("GET", ready["control_url"] + "/_truth/reports") == before
    assert len(before[1]["reports"]) == 5


async def test_a_wrong_option_is_told_without_a_traceback(tmp_path: Path) -> None:
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "connectors.gov_reporting.simulator", "--db", str(tmp_path / "t.sqlite")),
        *("--catalogue", str(tmp_path / "none.json")),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(started.communicate(), 60)
    assert started.returncode == 2
    assert b"none.json" in said
    assert b"Traceback" not in said


def test_it_shares_no_code_with_the_connector() -> None:
    """Two copies of one mistake would agree; only the portal simulator's door and desk are borrowed."""
    folder = Path(next(iter(simulator_package.__path__)))
    imported: set[str] = set()
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module)
            elif isinstance(node, ast.Import):
                imported |= {each.name for each in node.names}
    ours = {
        name for name in imported if name.split(".")[0] in ("connectors", "schemas", "monitoring")
    }
    assert len(ours) > 10
    assert all(
        f"{name}.".startswith(
            ("connectors.gov_reporting.simulator.", "connectors.national_portal.simulator.")
        )
        for name in ours
    ), ours


@pytest.mark.parametrize(
    ("period", "decree", "civil"),
    [
        ("2026-08", ("2026-07-15", "2026-08-14", "2026-08-25"), ("2026-08-01", "2026-08-31", "2026-09-25")),
        ("2026-01", ("2025-12-15", "2026-01-14", "2026-01-25"), ("2026-01-01", "2026-01-31", "2026-02-25")),
        ("2026-Q4", ("2026-09-15", "2026-12-14", "2026-12-25"), ("2026-10-01", "2026-12-31", "2027-01-25")),
        ("2026-H1", ("2025-12-15", "2026-06-14", "2026-06-25"), ("2026-01-01", "2026-06-30", "2026-07-25")),
        ("2026-9M", ("2025-12-15", "2026-09-14", "2026-09-25"), ("2026-01-01", "2026-09-30", "2026-10-25")),
        ("2026", ("2025-12-15", "2026-12-14", "2026-12-25"), ("2026-01-01", "2026-12-31", "2027-01-25")),
    ],
)  # fmt: skip
def test_windows_are_those_of_decree_09_and_of_the_calendar(
    period: str, decree: tuple[str, ...], civil: tuple[str, ...]
) -> None:
    wanted = {tuple(date.fromisoformat(day) for day in each) for each in (decree, civil)}
    assert known_windows(period) == wanted


@pytest.mark.parametrize("period", ["2026-13", "2026-Q5", "2026-00", "1999-01", "tháng 8"])
def test_what_is_no_period_has_no_window(period: str) -> None:
    assert known_windows(period) == set()


async def test_steering_and_truth(tmp_path: Path) -> None:
    async with ReportingSimulator(tmp_path / "t.db", profile=samples.profile()) as system:
        base = system.control_url
        ready = {"url": system.url, "token_url": system.token_url}
        report = samples.packet().report_id

        status, said = await ask("POST", f"{base}/_control/faults", json={"trouble": "rain"})
        assert (status, "no_answer" in said["errors"][0]["problem"]) == (400, True)
        status, said = await ask("POST", f"{base}/_control/profile", json={"quota": 1})
        assert (status, said["errors"][0]["field"]) == (400, "quota")
        status, said = await ask(
            "POST", f"{base}/_control/decisions", json={"report": report, "state": "TRALAI"}
        )
        assert status == 400

        status, said = await ask("POST", f"{base}/_control/profile", json={"decide": "accept"})
        assert (status, said["decide"], "client_secret" in said) == (200, "accept", False)
        async with sink_of(ready) as sink:
            request = sink.state_request(samples.packet(), samples.CODES)
            await sink.create(request, samples.intent(send_by=60.0))
            answer = await sink.look_up(report)
        assert answer.state is not None
        assert answer.state["status"] == "accepted"

        _, said = await ask("GET", f"{base}/_truth/reports", params={"report": report})
        (held,) = said["reports"]
        assert [each["kind"] for each in held["revisions"]] == ["creation"]
        assert [each["status"] for each in held["decisions"]] == ["CHAPNHAN"]
        assert held["revisions"][0]["document"]["TieuDe"]["LanGui"] == "1"
        _, said = await ask("GET", f"{base}/_truth/calls", params={"report": report})
        assert [each["operation"] for each in said["calls"]] == ["create", "look_up"]
        _, said = await ask(
            "POST", f"{base}/_control/inbox", json=[{"text": "x"}, {"BoChiSo": {"BoChiSo": {}}}]
        )
        assert said == {"numbers": [2, 3]}
        _, said = await ask("POST", f"{base}/_control/publish")
        assert said == {"sent": 9}
        _, said = await ask("GET", f"{base}/_truth/summary")
        assert (said["effects"], said["twice"], said["out_of_order"], said["sent"]) == (1, 0, 0, 12)
        _, said = await ask("POST", f"{base}/_control/reset")
        assert (said["effects"], said["sent"], said["calls"]) == (0, 0, {})


async def test_a_quota_is_kept_with_a_word_when_to_come_again(tmp_path: Path) -> None:
    profile = samples.profile(quota_per_second=1)
    async with ReportingSimulator(tmp_path / "t.db", profile=profile) as system:
        ready = {"url": system.url, "token_url": system.token_url}
        async with sink_of(ready) as sink:
            calls = (sink.look_up(samples.packet().report_id) for _ in range(12))
            answers = await asyncio.gather(*calls, return_exceptions=True)
        refused = [each for each in answers if isinstance(each, Exception)]
        assert refused
        assert {getattr(each, "retry_after", None) for each in refused} == {1.0}
        assert system.truth.summary()["verdicts"]["over_quota"] == len(refused)
