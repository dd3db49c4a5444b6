"""The simulator as a process of its own."""

from __future__ import annotations

import json
import select
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from connectors.one_stop.simulator.journal import Journal, Write


@contextmanager
def running(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "connectors.one_stop.simulator"]
    command += ["--url", f"sqlite:///{folder}/onestop.db", "--journal", f"{folder}/journal"]
    process = subprocess.Popen(
        [*command, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], 60)
    assert ready, "no line within 60 s"
    text = process.stdout.readline()
    assert text, process.stderr.read() if process.stderr else ""
    return dict(json.loads(text))


def test_it_plays_a_day_and_says_so(tmp_path: Path) -> None:
    with running(tmp_path, "--dossiers", "60", "--seconds", "0", "--date", "2026-11-20") as process:
        ready = line(process)
        done = line(process)
        assert process.wait(30) == 0
    assert (ready["event"], ready["day"], ready["dossiers"]) == ("ready", "2026-11-20", 60)
    assert (done["event"], done["stopped"], done["writes"]) == ("done", False, ready["writes"])
    assert Journal(tmp_path / "journal").counts()["writes"] == ready["writes"]


def test_it_waits_to_be_told_and_stops_cleanly(tmp_path: Path) -> None:
    with running(tmp_path, "--dossiers", "60", "--events-per-second", "40", "--wait") as process:
        ready = line(process)
        journal = Journal(tmp_path / "journal")
        assert len(journal.portal_born()) == ready["portal_born"]
        assert journal.counts()["writes"] == 0
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        while journal.counts()["writes"] < 20:
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        done = line(process)
        assert process.wait(30) == 0
    assert done["stopped"] is True
    entries = journal.entries()
    assert 20 <= len(entries) == done["writes"]
    with closing(sqlite3.connect(tmp_path / "onestop.db")) as db:
        (dossiers,) = db.execute("select count(*) from opencps_dossier").fetchone()
        (actions,) = db.execute("select count(*) from opencps_dossieraction").fetchone()
    assert dossiers == sum(e.write is Write.CREATED for e in entries)
    assert actions == sum(e.write is Write.ACTION for e in entries)


def test_a_wrong_option_is_named(tmp_path: Path) -> None:
    with running(tmp_path, "--wart", "rollbak=3") as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "rollbak" in said
    assert "rollback" in said
