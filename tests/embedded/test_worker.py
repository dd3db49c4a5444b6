"""The worker as a process: what keeps it from starting, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitoring.crash_points import VARIABLE
from schemas.ledger.migrate import upgrade
from schemas.signatures import HEADER, sign
from schemas.topics import TOPICS
from streams.embedded_broker import EmbeddedBroker
from streams.observations_intake import SYSTEM_HEADER
from streams.receive import PATH
from streams.sender_keys import read_sender_keys, sender_line
from streams.settings import PREFIX
from streams.topology import WorkerPart
from tests.unit.streams.test_settings import GOOD

ROOT = Path(__file__).parents[2]
PROGRAM = (
    "import sys; from streams.settings import Settings; from streams.topology import WorkerPart;"
    "from streams.worker import run_worker;"
    "sys.exit(run_worker(Settings(), [WorkerPart(name) for name in sys.argv[1:]]))"
)


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({topic.name: 2 for topic in TOPICS}) as started:
        yield started


@contextmanager
def worker(
    broker: EmbeddedBroker,
    tmp_path: Path,
    crash: str = "",
    part: WorkerPart = WorkerPart.INTAKE,
    **changes: str,
) -> Iterator[subprocess.Popen[str]]:
    """A worker with one part alone. `crash`: see `monitoring.crash_points`."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    if crash:
        env[VARIABLE] = crash
    settings: Mapping[str, str] = {
        **GOOD,
        "ENVIRONMENT": "test",
        "KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
        "KAFKA__EMBEDDED": "true",
        "KAFKA__PARTITIONS": "2",
        "LEDGER_URL": f"sqlite:///{tmp_path}/ledger.db",
        "MONITORING__PORT": "0",
        "MONITORING__LOG_FORMAT": "json",
        **changes,
    }
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, part],
        cwd=ROOT,
        env=env | {PREFIX + name: value for name, value in settings.items()},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def line(process: subprocess.Popen[str], event: str) -> dict[str, str]:
    """The first log line of this event. Fails when the process ends without it."""
    assert process.stderr is not None
    seen = []
    for text in process.stderr:
        seen.append(text)
        if text.startswith("{") and json.loads(text)["event"] == event:
            found: dict[str, str] = json.loads(text)
            return found
    raise AssertionError(f"no {event} in:\n{''.join(seen)}")


def test_a_ledger_that_is_not_migrated_keeps_it_from_starting(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with worker(broker, tmp_path) as process:
        assert "thongsuot db upgrade" in line(process, "worker_not_started")["why"]
        assert process.wait(30) == 1


def test_topics_with_another_number_of_partitions_keep_it_from_starting(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    upgrade(f"sqlite:///{tmp_path}/ledger.db")
    with worker(broker, tmp_path, KAFKA__PARTITIONS="3") as process:
        for topic in TOPICS:
            assert topic.name in line(process, "worker_not_started")["why"]
        assert process.wait(30) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_ends_in_order(
    broker: EmbeddedBroker, tmp_path: Path, number: signal.Signals
) -> None:
    upgrade(f"sqlite:///{tmp_path}/ledger.db")
    with worker(broker, tmp_path) as process:
        line(process, "flow_started")
        process.send_signal(number)
        line(process, "worker_stopped")
        assert process.wait(30) == 0


def test_it_receives_until_it_is_asked_to_stop(broker: EmbeddedBroker, tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path}/ledger.db")
    keys = tmp_path / "senders.keys"
    keys.write_text(sender_line("eoffice"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"RECEIVE__PORT": str(port), "RECEIVE__KEYS_FILE": str(keys)}
    with worker(broker, tmp_path, part=WorkerPart.RECEIVE, **settings) as process:
        assert line(process, "flow_started")["flow"] == "receive"
        body = b"[{}]"
        signature = sign(read_sender_keys(keys)["eoffice"], body, datetime.now(UTC))
        headers = {SYSTEM_HEADER: "eoffice", HEADER: signature, "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}{PATH}", body, headers)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=30)
        with caught.value as answer:
            assert answer.status == 422
        process.send_signal(signal.SIGTERM)
        assert line(process, "flow_stopped")["flow"] == "receive"
        assert process.wait(30) == 0


def test_a_taken_port_keeps_it_from_starting(broker: EmbeddedBroker, tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path}/ledger.db")
    keys = tmp_path / "senders.keys"
    keys.write_text(sender_line("eoffice"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = {
            "RECEIVE__PORT": str(taken.getsockname()[1]),
            "RECEIVE__KEYS_FILE": str(keys),
        }
        with worker(broker, tmp_path, part=WorkerPart.RECEIVE, **settings) as process:
            assert "in use" in line(process, "worker_not_started")["why"]
            assert process.wait(30) == 1
