"""A report, all the way: packets on the log, a worker that dies on the way, and what the reporting system holds.

One worker with the part that delivers, on the embedded broker and SQLite; judged by what was published and by
the simulator's truth. Everything is invented.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from connectors.gov_reporting.simulator import ReportingSimulator
from connectors.gov_reporting.simulator.profile import Profile
from monitoring.crash_points import VARIABLE, CrashPoint
from schemas.records import ReportPacket
from schemas.topics import DELIVERY_RECEIPTS, REPORT_PACKETS, TOPICS
from streams.demo.processes import last_line
from streams.embedded_broker import EmbeddedBroker
from streams.settings import PREFIX
from tests.e2e.people_search import Search, told, values
from tests.e2e.test_privacy import SOMEBODY
from tests.embedded.kit import PARTITIONS, Rig, rig, until
from tests.reporting_side import TODAY, Publisher, judge, reporting_settings
from tests.unit.streams.test_settings import GOOD

MASTER_KEY = base64.b64encode(b"m" * 32).decode()  # the rig's
PROGRAM = (
    "import sys; from streams.settings import Settings; from streams.topology import WorkerPart;"
    "from streams.worker import run_worker;"
    "sys.exit(run_worker(Settings(), [WorkerPart.DELIVER]))"
)
SETTINGS: Mapping[str, str] = {
    "ENVIRONMENT": "test",
    "KAFKA__EMBEDDED": "true",
    "KAFKA__PARTITIONS": str(PARTITIONS),
    "KAFKA__SESSION_TIMEOUT_SECONDS": "3",
    "MASTER_KEY": MASTER_KEY,
    "MONITORING__PORT": "0",
    "MONITORING__LOG_FORMAT": "json",
    "MONITORING__LOG_LEVEL": "DEBUG",
    "ENGINE__SEND_BY_SECONDS": "1",
    "ENGINE__POLL_SECONDS": "0.2",
    "ENGINE__RETRY_FIRST_SECONDS": "0.2",
    "ENGINE__RETRY_MOST_SECONDS": "1",
    "ENGINE__PROBE_SECONDS": "0.3",
    "GOV_REPORTING__ABILITIES__LOOKUP_LAG_SECONDS": "0.2",
    "GOV_REPORTING__ABILITIES__LATE_EFFECT_BOUND_SECONDS": "1",
}
SECONDS = 90.0


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({topic.name: PARTITIONS for topic in TOPICS}) as started:
        yield started


class World:
    """A rig, the reporting system beside it, and the worker as a process."""

    def __init__(self, r: Rig, system: ReportingSimulator, folder: Path) -> None:
        self.r = r
        self.system = system
        self.publisher = Publisher(r.sealer)
        self.log = folder / "worker.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, crash: str = "") -> None:
        ready = {"url": self.system.url, "token_url": self.system.token_url}
        settings = {
            **GOOD,
            **SETTINGS,
            **reporting_settings(ready),
            "KAFKA__BOOTSTRAP_SERVERS": self.r.kafka.bootstrap_servers,
            "LEDGER_URL": self.r.url,
        }
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
        with self.log.open("ab") as out:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", PROGRAM),
                cwd=Path(__file__).parents[2],
                env=inherited
                | {PREFIX + name: value for name, value in settings.items()}
                | ({VARIABLE: crash} if crash else {}),
                stderr=out,
            )

    async def died(self) -> int:
        """Until it has ended by itself."""
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), SECONDS)

    async def end(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def publish(self, *packets: ReportPacket) -> None:
        codec = await self.r.codec()
        pairs = [(one.report_id, codec.encode(one)) for one in packets]
        await self.r.put(REPORT_PACKETS, *pairs)

    async def truth(self) -> list[dict[str, Any]]:
        return await self.system.desk.run(self.system.truth.reports)

    async def settled(self) -> bool:
        """Whether the newest of everything published has its receipt in the ledger."""
        assert self._process is not None
        assert self._process.returncode is None, last_line(self.log)
        for name, packets in self.publisher.published.items():
            found = await self.r.ledger.report_deliveries(name)
            if not found or (found[-1].revision, found[-1].state) != (len(packets), "delivered"):
                return False
        return True

    async def published(self) -> bool:
        """Whether the receipt of every revision that was delivered is on the log."""
        told = [one.value for one in await self.r.raw(DELIVERY_RECEIPTS)]
        return len(told) >= len(await self.truth()) and not await self.r.ledger.unpublished(1)

    async def metrics(self) -> str:
        """What the worker tells Prometheus."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        served = [json.loads(line) for line in lines if '"event":"monitoring_served"' in line]
        url = f"http://127.0.0.1:{served[-1]['port']}/metrics"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            return await answer.text()


@asynccontextmanager
async def world(broker: EmbeddedBroker, folder: Path) -> AsyncIterator[World]:
    profile = Profile(revisions="rising", today=date.fromisoformat(TODAY))
    async with (
        rig(broker, folder) as r,
        ReportingSimulator(folder / "reporting.db", profile=profile) as system,
    ):
        opened = World(r, system, folder)
        try:
            yield opened
        finally:
            await opened.end()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "point",
    [
        CrashPoint.BEFORE_ENLIST,
        CrashPoint.AFTER_INTENT,
        CrashPoint.AFTER_WRITE,
        CrashPoint.AFTER_ANSWER,
    ],
)
async def test_a_worker_that_dies_on_the_way_loses_and_doubles_no_revision(
    broker: EmbeddedBroker, tmp_path: Path, point: CrashPoint
) -> None:
    async with world(broker, tmp_path) as w:
        await w.publish(*(w.publisher.revise(month) for month in (1, 2, 3)))
        await w.start(crash=point)
        assert await w.died() == -9
        await w.publish(*(w.publisher.revise(month) for month in (1, 2)))
        await w.start()
        await until(w.settled, SECONDS)
        verdict = judge(w.publisher.published, await w.truth())
        assert verdict.clean, verdict.findings
        assert verdict.held >= 3
        await until(w.published, SECONDS)


@pytest.mark.timeout(300)
async def test_what_a_report_says_stands_nowhere_in_the_hub(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """Sealed on Kafka and in the ledger, and in no log and no metric; the reporting system has it in clear."""
    words = f"Người liên hệ: {SOMEBODY['name']}, {SOMEBODY['phone']}, {SOMEBODY['address']}"
    search = Search(told([SOMEBODY]))
    async with world(broker, tmp_path) as w:
        await w.publish(*(w.publisher.revise(month, note=words) for month in (1, 2)))
        await w.start()
        await until(w.settled, SECONDS)
        await w.publish(w.publisher.revise(2, note=words))
        await until(w.settled, SECONDS)
        topics = [(t.name, one.value) for t in TOPICS for one in await w.r.raw(t) if one.value]
        metrics = await w.metrics()
        printed = [
            entry for name in w.publisher.published for entry in await w.r.ledger.trace(name)
        ]
    assert {name for name, _ in topics} >= {"report.packets", "delivery.receipts"}
    assert 'hub_delivery_attempts_total{result="delivered",target="gov_reporting"} ' in metrics
    ledger = tmp_path / "ledger.db"
    places = [
        *topics,
        *values(ledger),
        *((path.name, path.read_bytes()) for path in tmp_path.glob("ledger.db*")),
        (w.log.name, w.log.read_bytes()),
        ("/metrics", metrics.encode()),
        ("trace", repr(printed).encode()),
    ]
    assert search.hits(places) == []
    assert b'"event":"delivered"' in w.log.read_bytes(), "the log was written, at every level"
    there = search.found(raw for _, raw in values(tmp_path / "reporting.db"))
    assert {"name", "phone", "address"} <= set(there), "the same search finds them there"
