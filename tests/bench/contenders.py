"""The contenders as whoever measures sees them: processes that deliver when told to."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from connectors.national_portal.client import wsdl_path
from connectors.national_portal.dialect import load_dialect
from schemas.codec import Codec
from schemas.ledger.sql import SqlLedger
from schemas.registry import LocalRegistry
from schemas.topics import DOSSIER_EVENTS
from streams.kafka_clients import aiokafka_connection
from streams.producer import Outgoing, Producer
from tests.bench.bare import Job
from tests.bench.ledger_view import LedgerView
from tests.bench.load import Load, settings_of

_ROUND_SECONDS = 600.0
_STOP_SECONDS = 30.0


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
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    def check_alive(self) -> None:
        if self._process is None or self._process.returncode is not None:
            raise BenchFailed(f"{self.name} has ended; see {self.log}")


class _Told(_Process):
    """A process that obeys `tests.bench.obey`."""

    async def prepare(self, first: int, count: int) -> None:
        await self.tell(f"prepare {first} {count}", "ready")

    async def deliver(self) -> None:
        await self.tell("run", "done")

    async def stop(self) -> None:
        # The end of its input is its end, in order.
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        await super().stop()

    async def tell(self, line: str, answer: str) -> None:
        """Raises `BenchFailed` when the answer is another one."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n".encode())
        said = await asyncio.wait_for(self._process.stdout.readline(), _ROUND_SECONDS)
        if said.decode().strip() != answer:
            raise BenchFailed(f"{self.name} did not say {answer!r}; see {self.log}")


class BareContender(_Told):
    """A bare loop: is told the portal's settings and the hub's own request, and no more."""

    async def start(self) -> None:
        load = await Load.of(self.name, self.settings)
        portal = self.settings.national_portal
        clear = {**portal.model_dump(mode="json"), "password": portal.password.get_secret_value()}
        job = Job(
            portal=clear,
            wsdl=str(wsdl_path(portal, load_dialect(portal.dialect))),
            in_flight=self.settings.engine.in_flight,
            code=load.code_format,
            body=load.request().body,
        )
        await self.spawn("tests.bench.bare", self.name)
        await self.tell(json.dumps(asdict(job)), "open")


class EngineContender(_Told):
    """The engine and its ledger: what is delivered the ledger says."""

    def __init__(self, name: str, folder: Path, variables: Mapping[str, str]) -> None:
        super().__init__(name, folder, variables)
        self.ledger = LedgerView(self.settings.ledger_url.get_secret_value())

    async def start(self) -> None:
        await self.ledger.make()
        await self.spawn("tests.bench.engine", self.name)
        await self.tell("", "open")

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
