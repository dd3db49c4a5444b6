"""Plays a small demo day to its end and keeps what it left behind, so that many tests can look at it.

Everything is gathered while the hub still runs (the write-ahead log is a file only then); afterwards no
process is left.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection, connect
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from connectors.one_stop.simulator.journal import Journal, Owed
from schemas.topics import TOPICS
from streams.demo.day import DayOptions, DemoDay
from streams.demo.verdict import Verdict
from streams.embedded_broker import KAFKA_PYTHON_SETTINGS, lowest_watermarks
from streams.settings import PREFIX

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "streams.cli")


@dataclass(frozen=True)
class Message:
    """A record as it lies on a topic."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]

    @property
    def raw(self) -> bytes:
        """Everything of it, for a search."""
        return b"\n".join(
            (self.key, self.value, *(name.encode() + b"=" + v for name, v in self.headers))
        )


@dataclass(frozen=True)
class PlayedDay:
    """A day that is over.

    `dossier`: the one that is followed, `traced`: what `thongsuot trace` says of it; `ledger_files`: the
    ledger's files byte for byte, taken while it was in use.
    """

    folder: Path
    options: DayOptions
    verdict: Verdict
    figures: Mapping[str, Any]
    held: Mapping[str, Mapping[str, Any]]
    messages: Sequence[Message]
    watermarks: Mapping[tuple[str, int], int]
    metrics: str
    ready: Mapping[str, Any]
    live: Mapping[str, Any]
    dossier: int
    traced: Mapping[str, str]
    ledger_files: Mapping[str, bytes]

    @property
    def journal(self) -> Journal:
        return Journal(self.folder / "journal.db")

    def ledger(self) -> Connection:
        """The ledger, to be read and closed."""
        return connect(f"file:{self.folder / 'ledger.db'}?mode=ro", uri=True)

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with closing(self.ledger()) as db:
            return db.execute(query, parameters).fetchall()


async def play(folder: Path, options: DayOptions) -> PlayedDay:
    """Play the day, gather everything, stop everything."""
    async with DemoDay(folder, options) as day:
        day.write_environment()
        async for _ in day.play():
            pass
        await _published(day)
        verdict = await day.verdict()
        figures = await day.figures(verdict)
        dossier, code = _a_long_story(day.journal)
        return PlayedDay(
            folder=folder,
            options=options,
            verdict=verdict,
            figures=figures,
            held=await asyncio.to_thread(_held, day.portal_control),
            messages=await asyncio.to_thread(_messages, day.bootstrap),
            watermarks=await asyncio.to_thread(
                lowest_watermarks, day.bootstrap, [topic.name for topic in TOPICS]
            ),
            metrics=await asyncio.to_thread(_get, day.monitoring_port, "/metrics"),
            live=json.loads(await asyncio.to_thread(_get, day.monitoring_port, "/live")),
            ready=json.loads(await asyncio.to_thread(_get, day.monitoring_port, "/ready")),
            dossier=dossier,
            traced=await asyncio.to_thread(_traced, folder, code),
            ledger_files={
                path.name: path.read_bytes() for path in sorted(folder.glob("ledger.db*"))
            },
        )


def environment(folder: Path) -> dict[str, str]:
    """The environment of a command that looks at the day in `folder`."""
    given = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
    for line in (folder / "env").read_text(encoding="utf-8").splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        given[name] = value.strip("'")
    return given


def command(
    *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run `thongsuot` with these arguments; killed when it takes longer than `timeout` seconds."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env={**(os.environ if env is None else env), "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def _a_long_story(journal: Journal) -> tuple[int, str]:
    """The dossier with the most steps among those of which everything must arrive, and its number."""
    finals = journal.states()
    whole = {
        dossier: steps
        for dossier, steps in journal.steps().items()
        if finals[dossier].owed is Owed.MUST and all(s.owed is Owed.MUST for s in steps)
    }
    dossier = max(whole, key=lambda one: (len(whole[one]), one))
    return dossier, finals[dossier].state.code


async def _published(day: DemoDay) -> None:
    """Until the outbox is empty; receipts are published about once a second."""
    ledger = day.folder / "ledger.db"
    async with asyncio.timeout(20):
        while await asyncio.to_thread(_owed, ledger):
            await asyncio.sleep(0.1)


def _owed(ledger: Path) -> int:
    with closing(connect(f"file:{ledger}?mode=ro", uri=True)) as db:
        number: int = db.execute(
            "select count(*) from deliveries where receipt = 'owed'"
        ).fetchone()[0]
        return number


def _held(control: str) -> dict[str, dict[str, Any]]:
    with urllib.request.urlopen(f"{control}/_truth/dossiers?limit=1000", timeout=10) as answer:
        page = json.load(answer)
    assert page["next"] is None, "a day for tests fits into one page"
    return {one["code"]: one for one in page["dossiers"]}


def _get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        text: str = answer.read().decode("utf-8")
        return text


def _messages(bootstrap: str) -> list[Message]:
    """Every record of every topic."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, **KAFKA_PYTHON_SETTINGS)
    try:
        wanted = [
            TopicPartition(topic.name, partition)
            for topic in TOPICS
            for partition in sorted(consumer.partitions_for_topic(topic.name))
        ]
        ends = consumer.end_offsets(wanted)
        consumer.assign(wanted)
        consumer.seek_to_beginning(*wanted)
        found: list[Message] = []
        empty = 0
        while len(found) < sum(ends.values()):
            batches = consumer.poll(timeout_ms=500)
            empty = 0 if batches else empty + 1
            assert empty < 40, f"{len(found)} of {sum(ends.values())} records could be read"
            found += [
                Message(r.topic, r.partition, r.offset, r.key or b"", r.value or b"", (*r.headers,))
                for records in batches.values()
                for r in records
            ]
        return sorted(found, key=lambda m: (m.topic, m.partition, m.offset))
    finally:
        consumer.close()


def _traced(folder: Path, code: str) -> dict[str, str]:
    """`thongsuot trace` of one dossier, for people and for scripts."""
    env = environment(folder)
    told = {}
    for name, options in (("text", ()), ("json", ("--json",))):
        ended = command("trace", code, *options, env=env)
        assert ended.returncode == 0, ended.stderr
        told[name] = ended.stdout
    return told


@dataclass(frozen=True)
class Commanded:
    """A day played by `thongsuot demo --exit --json`."""

    folder: Path
    ended: subprocess.CompletedProcess[str]

    @property
    def figures(self) -> dict[str, Any]:
        """The JSON object of the last line."""
        figures: dict[str, Any] = json.loads(self.ended.stdout.splitlines()[-1])
        return figures
