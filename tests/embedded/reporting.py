"""A reporting system in memory, and packets for it. Everything in them is invented."""

from __future__ import annotations

import asyncio
import hashlib
import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import orjson

from connectors.errors import OutcomeUnknown, RejectedError
from connectors.protocols import (
    Abilities,
    Intent,
    Lookup,
    LookupAnswer,
    Receipt,
    Sink,
    StateRequest,
    StepRequest,
)
from schemas.dossier.mappings import Codes
from schemas.ledger.model import Fence
from schemas.reasons import Reason
from schemas.records import ReportPacket
from schemas.sealing import Sealer
from schemas.topics import REPORT_PACKETS
from streams.engine.circuit import CircuitOptions
from streams.engine.dispatch import EngineOptions
from streams.engine.shell import Engine
from streams.routing import GOV_REPORTING
from tests.contract.packets_contract import REPORT, make_packet
from tests.embedded.kit import Rig

WORDS = "Ủy ban nhân dân tỉnh báo cáo tình hình giải quyết thủ tục"
"""Of every packet's content: to be found nowhere but at the target."""


def packet(
    sealer: Sealer, revision: int = 1, report_id: str = REPORT, words: str = WORDS
) -> ReportPacket:
    """A revision with a content of its own, sealed as the reporting service seals it."""
    plain = orjson.dumps({"revision": revision, "outline": words}, option=orjson.OPT_SORT_KEYS)
    blank = make_packet(revision, report_id, content=hashlib.sha256(plain).hexdigest())
    return replace(blank, sealed=sealer.seal(zlib.compress(plain), report_id))


ABILITIES = Abilities(lookup=Lookup.STATE, lookup_lag=0.02, late_effect_bound=0.1, verify_after=0.3)


@dataclass
class ReportingModel:
    """What a reporting system holds, revision by revision, and what must never happen there.

    `lost`: so many answers are lost after the effect; `refused`: so many calls are returned.
    """

    sealer: Sealer
    lost: int = 0
    refused: int = 0
    target: str = GOV_REPORTING
    abilities: Abilities = ABILITIES
    held: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    calls: list[tuple[str, str, int]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def state_request(self, event: ReportPacket, codes: Codes) -> StateRequest:
        content = zlib.decompress(self.sealer.open(event.sealed, event.report_id))
        if hashlib.sha256(content).hexdigest() != event.snapshot_hash:
            raise RejectedError(Reason.FIELD_INVALID, field="snapshot_hash")
        return StateRequest(
            code=event.report_id,
            content_hash=event.snapshot_hash,
            body={"revision": event.revision, "content": content},
        )

    def step_request(self, event: ReportPacket, codes: Codes) -> StepRequest:
        raise AssertionError("a report has no steps")

    def shown(self, request: StateRequest) -> Mapping[str, str]:
        return {"revision": str(request.body["revision"]), "hash": request.content_hash}

    async def create(self, request: StateRequest, intent: Intent) -> Receipt:
        if self.held.get(request.code):
            self.calls.append(("create", request.code, _revision(request)))
            raise RejectedError(Reason.ALREADY_EXISTS)
        return await self._take("create", request)

    async def update(self, request: StateRequest, intent: Intent) -> Receipt:
        if not self.held.get(request.code):
            self.calls.append(("update", request.code, _revision(request)))
            raise RejectedError(Reason.NOT_FOUND)
        return await self._take("update", request)

    async def _take(self, what: str, request: StateRequest) -> Receipt:
        revision = _revision(request)
        self.calls.append((what, request.code, revision))
        if self.refused:
            self.refused -= 1
            raise RejectedError(Reason.REJECTED_BY_TARGET, "returned")
        held = self.held.setdefault(request.code, [])
        this = (revision, request.content_hash)
        if held and revision < held[-1][0]:
            self.violations.append(f"{request.code}: revision {revision} after {held[-1][0]}")
        if not held or held[-1] != this:  # the same once more is no second submission
            held.append(this)
        await asyncio.sleep(0)
        if self.lost:
            self.lost -= 1
            raise OutcomeUnknown(Reason.TIMEOUT)
        return Receipt(reference=f"BC-{revision}")

    async def append_steps(
        self, code: str, steps: Sequence[StepRequest], intent: Intent
    ) -> Receipt:
        raise AssertionError("a report has no steps")

    async def look_up(self, code: str) -> LookupAnswer:
        held = self.held.get(code)
        if not held:
            return LookupAnswer(present=False)
        revision, content = held[-1]
        return LookupAnswer(present=True, state={"revision": str(revision), "hash": content})

    async def probe(self) -> None: ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...


def _revision(request: StateRequest) -> int:
    return int(str(request.body["revision"]))


async def put(r: Rig, *packets: ReportPacket) -> None:
    """Produce them as the reporting service does."""
    codec = await r.codec()
    await r.put(REPORT_PACKETS, *[(one.report_id, codec.encode(one)) for one in packets])


async def engine(
    r: Rig, target: Sink[ReportPacket], fences: Callable[[], Sequence[Fence]]
) -> Engine[ReportPacket]:
    """The engine of reports over the rig's ledger."""
    codec = await r.codec()

    async def decode(payload: bytes) -> ReportPacket:
        return await codec.decode_as(payload, ReportPacket)

    return Engine(
        sink=target,
        ledger=r.ledger,
        decode=decode,
        codes=Codes,
        fences=fences,
        clock=asyncio.get_running_loop().time,
        seal=r.sealer.seal,
        events=r.events.deliveries,
        options=EngineOptions(
            send_by=0.5,
            poll_seconds=0.05,
            backoff_first=0.05,
            circuit=CircuitOptions(probe_seconds=0.1),
        ),
        rng=random.Random(6),
    )
