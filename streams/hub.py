"""What all parts of one process share: opened once by `streams.app`, handed to `streams.topology`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from monitoring.events import Events
from monitoring.health import Health
from schemas.codec import Codec
from schemas.ledger.sql import SqlLedger
from schemas.records import DossierEvent, ReportPacket
from schemas.sealing import Hasher, Sealer
from schemas.topics import Topic
from streams.dead_letters import Writer
from streams.flow import Body, Flow, Reading
from streams.patience import Patience
from streams.positions import FlowPositions
from streams.producer import Producer
from streams.settings import Settings
from streams.upkeep import Upkeep


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """`owner` is this run of this process: a process that starts again is another owner."""

    settings: Settings
    owner: str
    ledger: SqlLedger
    codec: Codec
    sealer: Sealer
    hasher: Hasher
    producer: Producer
    upkeep: Upkeep
    events: Events
    health: Health
    datadir: Path
    wall: Callable[[], datetime]
    die: Callable[[str], NoReturn]

    def flow(self, name: str, bodies: Mapping[Topic, Body], **more: Any) -> Flow:
        """A flow over these topics."""
        self.health.expect(name)
        return Flow(
            name,
            [
                Reading(positions=self._positions(name, topic), body=body)
                for topic, body in bodies.items()
            ],
            kafka=self.settings.kafka,
            ledger=self.ledger,
            events=self.events,
            health=self.health,
            datadir=self.datadir,
            die=self.die,
            patience=self.patience(name),
            **more,
        )

    def _positions(self, flow: str, topic: Topic) -> FlowPositions:
        return FlowPositions(
            self.ledger,
            flow=flow,
            topic=topic.name,
            owner=self.owner,
        )

    def patience(self, flow: str) -> Patience:
        """How long a flow's bodies wait for the ledger and the registry."""
        return Patience(flow, self.events)

    def writer(self, flow: str) -> Writer:
        """What a flow's bodies write with."""
        return Writer(
            flow,
            producer=self.producer,
            codec=self.codec,
            sealer=self.sealer,
            events=self.events,
            wall=self.wall,
            patience=self.patience(flow).seconds,
        )

    async def decode_event(self, payload: bytes) -> DossierEvent:
        """A payload of the ledger as the event it is."""
        return await self.codec.decode_as(payload, DossierEvent)

    async def decode_packet(self, payload: bytes) -> ReportPacket:
        """A payload of the ledger as the packet it is."""
        return await self.codec.decode_as(payload, ReportPacket)
