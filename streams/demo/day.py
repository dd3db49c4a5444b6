"""One demo day: the broker, both simulators and the hub as processes of their own, and what they hold.

Everything lies in one folder; nothing but 127.0.0.1 is used. The hub is started like in production, by
`thongsuot worker` with its settings in the environment, and may be killed and started again meanwhile.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
import psutil

from connectors.one_stop.simulator.journal import Journal, Write
from schemas.ledger.migrate import upgrade
from schemas.sealing import new_key
from schemas.topics import TOPICS
from streams.demo.hub_view import HubView, Standing
from streams.demo.processes import (
    DemoFailed,
    PortalControl,
    end,
    environment,
    expectation,
    free_port,
    last_line,
    portal_settings,
    start_simulator,
)
from streams.demo.troubles import PLAN, Planned
from streams.demo.verdict import Struck, Verdict, judge
from streams.embedded_broker import EmbeddedBroker, lowest_watermarks
from streams.settings import PREFIX

QUIET_LOOKS = 6  # at half a second each: longer than the slowest poll of the source

PARTITIONS = 64  # the embedded broker drops silently beyond its limit per partition


Workers = tuple[tuple[str, ...], ...]

ONE_PROCESS: Workers = ((),)
TWO_PROCESSES: Workers = (("deliver",), ("capture", "intake"))
"""How a hub uses two cores: what speaks to the target beside what reads the source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayOptions:
    """What is played. `seconds`: how long the day lasts; `profile`: what the portal can be asked."""

    dossiers: int = 950
    seconds: float = 36.0
    seed: int = 20261123
    profile: str = "steps"
    troubles: bool = True
    workers: Workers = ONE_PROCESS
    """The hub's processes: of each the parts that it runs, none named for all of them."""


@dataclass(slots=True)
class Progress:
    """What the viewer sees while the day goes on."""

    written: int = 0
    standing: Standing = field(default_factory=Standing)
    trouble: Planned | None = None
    refusals: int = 0  # times when the portal took no connections: it cannot count those itself
    rss_max_mb: float = 0.0  # of the largest process of the hub
    cpu_s: float = 0.0  # of the hub's processes since their last start
    restarts: int = 0


class DemoDay:
    """Use as `async with DemoDay(folder, options) as day: await day.play(); await day.verdict()`."""

    def __init__(self, folder: Path, options: DayOptions) -> None:
        self.folder = folder
        self.options = options
        self.progress = Progress()
        self.started_at = time.monotonic()
        self.portal_control = ""
        self.monitoring_ports = [free_port() for _ in options.workers]
        self._stack = AsyncExitStack()
        self._broker = EmbeddedBroker({topic.name: PARTITIONS for topic in TOPICS})
        self._workers: list[asyncio.subprocess.Process] = []
        self._one_stop: asyncio.subprocess.Process | None = None
        self._http: aiohttp.ClientSession | None = None
        self._environment: dict[str, str] = {}
        self._hub = HubView(self.ledger_url)

    @property
    def monitoring_port(self) -> int:
        """Where the first of the hub's processes serves /metrics, /live and /ready."""
        return self.monitoring_ports[0]

    @property
    def bootstrap(self) -> str:
        """Address of the embedded broker."""
        return self._broker.bootstrap

    @property
    def ledger_url(self) -> str:
        """SQLAlchemy address of the day's ledger."""
        return f"sqlite:///{self.folder / 'ledger.db'}"

    @property
    def journal(self) -> Journal:
        """What the one-stop simulator wrote down."""
        return Journal(self.folder / "journal.db")

    @property
    def worker_log(self) -> Path:
        """Everything the hub logged, all starts together."""
        return self.folder / "worker.log"

    # --- starting and stopping -----------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._http = await self._stack.enter_async_context(aiohttp.ClientSession())
        self._stack.callback(self._broker.stop)
        await asyncio.to_thread(self._broker.start)
        portal = await self._start_portal()
        upgrade(self.ledger_url)
        await self._start_one_stop()
        await self.portal.bear(self.journal)
        self._environment = self._settings(portal["url"])
        await self.start_worker()
        assert self._one_stop is not None
        assert self._one_stop.stdin is not None
        self._one_stop.stdin.write(b"\n")

    async def _start_portal(self) -> Mapping[str, Any]:
        _, ready = await self._simulator(
            "connectors.national_portal.simulator",
            *("--port", "0", "--control-port", "0", "--db", str(self.folder / "portal.db")),
            *("--profile", self.options.profile),
        )
        self.portal_control = f"http://127.0.0.1:{ready['control_port']}"
        return ready

    async def _start_one_stop(self) -> None:
        options = self.options
        self._one_stop, _ = await self._simulator(
            "connectors.one_stop.simulator",
            *("--url", f"sqlite:///{self.folder / 'onestop.db'}"),
            *("--journal", str(self.folder / "journal.db")),
            *("--seed", str(options.seed), "--dossiers", str(options.dossiers)),
            *("--seconds", str(options.seconds)),
            "--wait",
        )

    async def _simulator(
        self, module: str, *arguments: str
    ) -> tuple[asyncio.subprocess.Process, Mapping[str, Any]]:
        log = self.folder / f"{module.split('.')[1]}.log"
        process, ready = await start_simulator(module, *arguments, log=log)
        self._stack.push_async_callback(end, process)
        return process, ready

    @property
    def portal(self) -> PortalControl:
        """The portal's control API."""
        assert self._http is not None
        return PortalControl(self._http, self.portal_control)

    def _settings(self, portal_url: str) -> dict[str, str]:
        ours = {
            "ENVIRONMENT": "demo",
            "KAFKA__BOOTSTRAP_SERVERS": self.bootstrap,
            "KAFKA__EMBEDDED": "true",
            "KAFKA__PARTITIONS": str(PARTITIONS),
            "KAFKA__SESSION_TIMEOUT_SECONDS": "3",
            "KAFKA__BATCH_WAIT_SECONDS": "0.25",
            "LEDGER_URL": self.ledger_url,
            "MASTER_KEY": new_key(),
            "HASH_KEY": new_key(),
            "ONE_STOP__URL": f"sqlite:///{self.folder / 'onestop.db'}",
            "ONE_STOP__ACTIONS_POLL_SECONDS": "0.5",
            "ONE_STOP__CHANGES_POLL_SECONDS": "2",
            "ONE_STOP__SWEEP_INTERVAL_SECONDS": "20",
            **portal_settings(portal_url),
            "NATIONAL_PORTAL__CONNECT_TIMEOUT_SECONDS": "1",
            "NATIONAL_PORTAL__READ_TIMEOUT_SECONDS": "2",
            "NATIONAL_PORTAL__TOTAL_TIMEOUT_SECONDS": "2.5",
            "NATIONAL_PORTAL__ABILITIES__LOOKUP": self.options.profile,
            "NATIONAL_PORTAL__ABILITIES__LOOKUP_LAG_SECONDS": "0.2",
            "NATIONAL_PORTAL__ABILITIES__LATE_EFFECT_BOUND_SECONDS": "2",
            "CAPTURE__STAND_BY_SECONDS": "2.5",
            "ENGINE__WINDOW": "256",
            "ENGINE__SEND_BY_SECONDS": "1",
            "ENGINE__PROBE_SECONDS": "0.5",
            "ENGINE__PROBE_MOST_SECONDS": "2",
            "ENGINE__RETRY_FIRST_SECONDS": "0.3",
            "ENGINE__RETRY_MOST_SECONDS": "2",
            "MONITORING__PORT": str(self.monitoring_port),
            "MONITORING__LOG_FORMAT": "json",
        }
        return environment(ours)

    def write_environment(self) -> None:
        """A file to `source`, so that the other commands look at this day. It holds the demo's keys."""
        lines = [f"export {k}={shlex.quote(v)}" for k, v in self._environment.items() if _ours(k)]
        (self.folder / "env").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def a_code(self) -> str | None:
        """The number of a dossier with a long story, to be traced."""
        steps = self.journal.steps()
        longest = max(steps.values(), key=len, default=[])
        return longest[0].code if longest else None

    async def start_worker(self) -> None:
        """Start the hub: one worker, or one for each of `options.workers`."""
        for only, port in zip(self.options.workers, self.monitoring_ports, strict=True):
            own = self._environment | {PREFIX + "MONITORING__PORT": str(port)}
            log = self.worker_log.open("ab")
            worker = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "streams.cli", "worker"),
                *(word for part in only for word in ("--only", part)),
                env=own,
                stdout=log,
                stderr=log,
            )
            log.close()
            self._stack.push_async_callback(end, worker)
            self._workers.append(worker)

    async def kill_worker(self) -> None:
        """SIGKILL, as a power cut would."""
        for worker in self._workers:
            worker.kill()
            await worker.wait()
        self._workers.clear()
        self.progress.restarts += 1

    async def empty_broker(self) -> None:
        """Start the broker anew: it has kept nothing. The hub is told where it is at its next start."""
        await asyncio.to_thread(self._broker.stop)
        await asyncio.to_thread(self._broker.start)
        self._environment[PREFIX + "KAFKA__BOOTSTRAP_SERVERS"] = self.bootstrap

    # --- the day -------------------------------------------------------------------------------

    async def play(self) -> AsyncIterator[Progress]:
        """Until everything is delivered or lies with a person; yields twice a second."""
        troubles = asyncio.create_task(self._trouble())
        try:
            while self._one_stop is not None and self._one_stop.returncode is None:
                yield await self._look()
            quiet, before = 0, None
            while quiet < QUIET_LOOKS:
                progress = await self._look()
                standing = progress.standing
                # An empty ledger is a hub that has not begun yet.
                resting = standing.enlisted and not standing.under_way and standing == before
                quiet = quiet + 1 if resting else 0
                before = standing
                yield progress
        finally:
            troubles.cancel()
            await asyncio.gather(troubles, return_exceptions=True)

    async def _trouble(self) -> None:
        if not self.options.troubles:
            return
        began = time.monotonic()
        for planned in PLAN:
            pause = began + planned.share * self.options.seconds - time.monotonic()
            await asyncio.sleep(max(pause, 0))
            await self.portal.post("/_control/faults", planned.rule)
            self.progress.trouble = planned
            if planned.rule["trouble"] == "refuse":
                self.progress.refusals += 1

    async def _look(self) -> Progress:
        await asyncio.sleep(0.5)
        cpu = 0.0
        for worker in self._workers:
            if worker.returncode is not None:
                raise DemoFailed(
                    f"the hub ended with {worker.returncode}: {last_line(self.worker_log)}"
                )
            process = psutil.Process(worker.pid)
            used = process.cpu_times()
            cpu += used.user + used.system
            rss = round(process.memory_info().rss / 1_000_000, 1)
            self.progress.rss_max_mb = max(self.progress.rss_max_mb, rss)
        self.progress.cpu_s = round(cpu, 1)
        self.progress.written = await asyncio.to_thread(self.journal.written)
        self.progress.standing = await asyncio.to_thread(self._hub.standing)
        return self.progress

    # --- the verdict ---------------------------------------------------------------------------

    async def verdict(self) -> Verdict:
        """Compare the journal with the portal's truth; `DemoFailed` when the broker dropped anything."""
        watermarks = await asyncio.to_thread(
            lowest_watermarks, self.bootstrap, [topic.name for topic in TOPICS]
        )
        if any(watermarks.values()):
            raise DemoFailed("the embedded broker dropped messages: the day was too large for it")
        journal = self.journal
        return judge(
            expectation(journal),
            await self.portal.held(),
            self._hub.parked_by_source_id(),
            Struck.by(await self.portal.calls(), lists_steps=self.options.profile == "steps"),
        )

    async def figures(self, verdict: Verdict) -> dict[str, object]:
        """The one object that `--json` prints."""
        standing = await asyncio.to_thread(self._hub.standing)
        summary = await self.portal.summary()
        counts = self.journal.counts()
        return {
            "clean": verdict.clean,
            "events": counts["events"],
            "dossiers": counts["dossiers"],
            "enlisted": standing.enlisted,
            "delivered": standing.delivered,
            "superseded": standing.superseded,
            "discarded": standing.discarded,
            "waiting": standing.waiting,
            "parked_deliveries": standing.parked_deliveries,
            "behind_parked": standing.behind,
            "attempts": standing.attempts,
            "retried": standing.retried,
            "unknown_asked": standing.asked,
            "effects": verdict.effects,
            "missing": verdict.missing,
            "duplicate_effects": verdict.duplicate_effects,
            "order_violations": verdict.order_violations,
            "stale": verdict.stale,
            "unexpected": verdict.unexpected,
            "duplicate_calls": summary["duplicate_calls"],
            "parked": verdict.parked,
            "parked_expected": verdict.parked_expected,
            "unmapped": standing.parked.get("unmapped", 0),
            "dead_letters": standing.dead_letters,
            "warts": self.journal.warts() | {"smaller_id_later": _out_of_order(self.journal)},
            "troubles": summary["troubles"] | {"refuse": self.progress.refusals},
            "restarts": self.progress.restarts,
            "seconds": round(time.monotonic() - self.started_at, 1),
            "latency_p50_s": verdict.latency_p50_s,
            "latency_p95_s": verdict.latency_p95_s,
            "hub_cpu_s": self.progress.cpu_s,
            "rss_max_mb": self.progress.rss_max_mb,
        }


def _ours(variable: str) -> bool:
    return variable.startswith(PREFIX)


def _out_of_order(journal: Journal) -> int:
    """Actions that were committed after one with a greater id: ids come in blocks, and commits late."""
    newest = late = 0
    for entry in journal.entries():
        if entry.write is Write.ACTION and entry.action is not None:
            late += entry.action < newest
            newest = max(newest, entry.action)
    return late
