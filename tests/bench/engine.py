"""The hub without Kafka: `python -m tests.bench.engine NAME`, obeying standard input (`tests.bench.obey`).

Events go straight into the ledger, and the real engine delivers them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import uvloop

from connectors.national_portal.sink import boot_seconds
from monitoring.events import Events
from monitoring.logging import configure_logging
from schemas.codec import Codec
from schemas.dossier.mappings import Codes
from schemas.ledger.model import Enlistment, Fence
from schemas.ledger.sql import SqlLedger
from schemas.records import DossierEvent
from schemas.registry import LocalRegistry
from schemas.topics import DOSSIER_EVENTS
from streams.app import build_metrics, engine_options
from streams.engine.shell import Engine
from streams.routing import dues
from streams.settings import Settings
from tests.bench.load import MAPPINGS, PARTITIONS, Load
from tests.bench.obey import Lines, obey

_TOPIC = DOSSIER_EVENTS.name


class EngineLoop:
    """Decodes and enlists in batches as the ledger flow does, while the engine is at work.

    `run` ends when everything is enlisted: the ledger tells who waits that it is delivered.
    """

    def __init__(self, load: Load, settings: Settings, ledger: SqlLedger) -> None:
        self._load = load
        self._settings = settings
        self._ledger = ledger
        self._codec = Codec(LocalRegistry())
        self._fences: dict[int, Fence] = {}
        self._offsets = dict.fromkeys(range(PARTITIONS), 0)
        self._payloads: list[bytes] = []
        logger = configure_logging(
            level=settings.monitoring.log_level, json=True, environment=settings.environment
        )
        self._engine = Engine(
            sink=load.portal,
            ledger=ledger,
            decode=self._decode,
            codes=lambda: self._codes,
            fences=lambda: tuple(self._fences.values()),
            clock=boot_seconds,
            seal=load.sealer.seal,
            events=Events(build_metrics(settings), logger).deliveries,
            options=engine_options(settings.engine),
        )
        self._codes = Codes(MAPPINGS)

    async def open(self) -> None:
        await self._codec.prepare()
        await self._load.portal.open()
        taken = await self._ledger.take_over("bench", _TOPIC, None, range(PARTITIONS), "bench")
        self._fences = {position.fence.partition: position.fence for position in taken}
        self._running = asyncio.create_task(self._engine.run())

    async def close(self) -> None:
        self._engine.stop()
        await self._running
        await self._load.portal.close()

    async def prepare(self, first: int, count: int) -> None:
        self._payloads = [self._codec.encode(e) for e in self._load.events(first, count)]

    async def run(self) -> None:
        size = self._settings.kafka.batch_events
        for start in range(0, len(self._payloads), size):
            await self._enlist(self._payloads[start : start + size])

    async def _decode(self, payload: bytes) -> DossierEvent:
        return await self._codec.decode_as(payload, DossierEvent)

    async def _enlist(self, payloads: Sequence[bytes]) -> None:
        before = dict(self._offsets)
        batch = []
        for number, payload in enumerate(payloads):
            event = await self._decode(payload)
            partition = number % PARTITIONS
            batch.append(
                Enlistment(
                    event=event,
                    payload=payload,
                    topic=_TOPIC,
                    partition=partition,
                    offset=self._offsets[partition],
                    dues=dues(event),
                )
            )
            self._offsets[partition] += 1
        await self._ledger.enlist(self._fences, self._offsets, batch, before)
        self._engine.notify({item.event.dossier_id for item in batch})


async def main(name: str) -> None:
    """Until standard input ends. Settings come from the environment, as the hub's do."""
    settings = Settings()  # type: ignore[call-arg] # the fields come from the environment
    async with SqlLedger(settings.ledger_url.get_secret_value()) as ledger:
        load = await Load.of(name, settings, ledger)
        lines = await Lines.of_standard_input()
        await lines.next()  # the job, of which the settings say everything
        await obey(EngineLoop(load, settings, ledger), lines)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
