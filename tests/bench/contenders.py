"""The contenders as whoever measures sees them: processes that deliver when told to."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from schemas.codec import Codec
from schemas.ledger.sql import SqlLedger
from schemas.registry import LocalRegistry
from schemas.topics import DOSSIER_EVENTS
from streams.kafka_clients import aiokafka_connection
from streams.producer import Outgoing, Producer
from tests.bench.ledger_view import LedgerView
from tests.bench.load import Load, settings_of

NAMES = ("hub", "engine", "zeep", "lxml")

_ROUND_SECONDS = 600.0


class BenchFailed(RuntimeError):
    """A contender did not do what is measured; the text names its log."""


class Contender(Protocol):
    """One process of its own. `deliver` returns when everything it `prepare`d is settled."""

    pid: int

    async def start(self) -> None: ...

    async def prepare(self, first: int, count: int) -> None: ...

    async def deliver(self) -> None: ...

    async def stop(self) -> None: ...


class _Process:
    def __init__(self, name: str, folder: Path, variables: Mapping[str, str]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.variables = variables
        self.settings = settings_of(variables)
        self.pid = 0
        self._process: asyncio.subprocess.Process | None = None

    async def spawn(self, *arguments: str) -> asyncio.subprocess.Process:
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", *arguments),
                env=dict(self.variables),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        self.pid = self._process.pid
        return self._process

    async def stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 30)
        except TimeoutError:
            process.kill()
            await process.wait()

    def check_alive(self) -> None:
        if self._process is None or self._process.returncode is not None:
            raise BenchFailed(f"{self.name} has ended; see {self.log}")


class LoopContender(_Process):
    """`tests.bench.loop`: a bare loop, or the engine without Kafka."""

    async def start(self) -> None:
        await self.spawn("tests.bench.loop", self.name)
        await self._hear("open")

    async def prepare(self, first: int, count: int) -> None:
        await self._tell(f"prepare {first} {count}", "ready")

    async def deliver(self) -> None:
        await self._tell("run", "done")

    async def _tell(self, line: str, answer: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        await self._hear(answer)

    async def _hear(self, answer: str) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), _ROUND_SECONDS)
        if line.decode().strip() != answer:
            raise BenchFailed(f"{self.name} did not say {answer!r}; see {self.log}")


class EngineContender(LoopContender):
    """With a ledger: delivered is what the ledger says."""

    def __init__(self, name: str, folder: Path, variables: Mapping[str, str]) -> None:
        super().__init__(name, folder, variables)
        self.ledger = LedgerView(self.settings.ledger_url.get_secret_value())

    async def start(self) -> None:
        await self.ledger.make()
        await super().start()

    async def prepare(self, first: int, count: int) -> None:
        await super().prepare(first, count)
        self.ledger.owed += count

    async def deliver(self) -> None:
        await super().deliver()
        await self.ledger.until_settled(receipts=False, alive=self.check_alive)


class HubContender(_Process):
    """`thongsuot worker --only deliver`, fed through Kafka; its receipts are awaited too."""

    def __init__(self, name: str, folder: Path, variables: Mapping[str, str]) -> None:
        super().__init__(name, folder, variables)
        self.ledger = LedgerView(self.settings.ledger_url.get_secret_value())
        self._codec = Codec(LocalRegistry())
        self._producer: Producer | None = None
        self._records: list[Outgoing] = []

    async def start(self) -> None:
        url = self.settings.ledger_url.get_secret_value()
        await self.ledger.make()
        async with SqlLedger(url) as ledger:
            self._load = await Load.of(self.name, self.settings, ledger)
        await self._codec.prepare()
        kafka = self.settings.kafka
        self._producer = Producer(aiokafka_connection(kafka), timeout=kafka.produce_timeout_seconds)
        await self._producer.start()
        await self.spawn("streams.cli", "worker", "--only", "deliver")

    async def prepare(self, first: int, count: int) -> None:
        self._records = [
            Outgoing(DOSSIER_EVENTS.name, event.dossier_id.encode(), self._codec.encode(event))
            for event in self._load.events(first, count)
        ]
        self.ledger.owed += count

    async def deliver(self) -> None:
        assert self._producer is not None
        await self._producer.produce(self._records)
        await self.ledger.until_settled(receipts=True, alive=self.check_alive)

    async def stop(self) -> None:
        await super().stop()
        if self._producer is not None:
            await self._producer.stop(5.0)
