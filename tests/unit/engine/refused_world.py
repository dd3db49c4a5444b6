"""An engine on a real ledger, and a portal whose answers the database cannot hold."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from connectors.protocols import (
    Abilities,
    Intent,
    Lookup,
    LookupAnswer,
    Receipt,
    StateRequest,
    StepRequest,
)
from monitoring.events import Events
from monitoring.metrics import Metrics
from schemas.dossier.mappings import Codes
from schemas.ledger.model import DeliveryState, Due, Enlistment, Operation
from schemas.ledger.sql import SqlLedger
from schemas.records import DossierEvent
from streams.engine.dispatch import EngineOptions
from streams.engine.shell import Engine
from tests.contract.ledger_contract import make_event
from tests.unit.streams.kit import RecordingLogger

TARGET, TOPIC = "national_portal", "dossier.events"
STATE = Due(target=TARGET, operation=Operation.STATE)
SURROGATE = "\ud800"  # half a character: no database holds it, and no driver writes it

GOOD, ODD_ANSWER, ODD_CODE = "good", "odd answer", "odd code"


class OddPortal:
    """Grants everything. By dossier: a reference, or a code, that no database can hold."""

    target = TARGET
    abilities = Abilities(
        lookup=Lookup.EXISTENCE, lookup_lag=0.01, late_effect_bound=0.05, verify_after=0.1
    )

    def __init__(self, kinds: Mapping[str, str]) -> None:
        self.kinds = kinds
        self.created: list[str] = []
        self.asked: list[str] = []

    def state_request(self, event: DossierEvent, codes: Codes) -> StateRequest:
        odd = self.kinds[event.dossier_id] == ODD_CODE
        code = SURROGATE if odd else str(event.dossier_code)
        return StateRequest(
            code=code, content_hash=event.content_hash, body={"dossier": event.dossier_id}
        )

    def step_request(self, event: DossierEvent, codes: Codes) -> StepRequest:
        raise AssertionError("no step is owed here")

    def shown(self, request: StateRequest) -> Mapping[str, str]:
        return {}

    async def create(self, request: StateRequest, intent: Intent) -> Receipt:
        dossier_id = str(request.body["dossier"])
        self.created.append(dossier_id)
        odd = self.kinds[dossier_id] == ODD_ANSWER
        return Receipt(reference=SURROGATE if odd else f"R-{dossier_id}")

    async def update(self, request: StateRequest, intent: Intent) -> Receipt:
        raise AssertionError("every dossier is new")

    async def append_steps(
        self, code: str, steps: Sequence[StepRequest], intent: Intent
    ) -> Receipt:
        raise AssertionError("no step is owed here")

    async def look_up(self, code: str) -> LookupAnswer:
        self.asked.append(code)
        return LookupAnswer(present=False)

    async def probe(self) -> None: ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...


class Delivered:
    """How it stood when nothing was left to do."""

    def __init__(self, portal: OddPortal, log: RecordingLogger, counts: Any, receipts: Any) -> None:
        self.created = sorted(portal.created)
        self.asked = sorted(portal.asked)
        self.states: Mapping[tuple[DeliveryState, str], int] = counts.deliveries
        self.references = {receipt.dossier_id: receipt.reference for receipt in receipts}
        self.log = log


async def deliver(
    url: str, kinds: Mapping[str, str], ledger_of: Callable[[str], SqlLedger] = SqlLedger
) -> Delivered:
    """Enlist one new dossier each, and deliver until the ledger holds no more work."""
    log, portal, events = RecordingLogger(), OddPortal(kinds), list[DossierEvent]()
    metrics = Metrics(targets=[TARGET], version="test")

    async def decode(payload: bytes) -> DossierEvent:
        return events[int(payload)]

    async with ledger_of(url) as ledger:
        (position,) = await ledger.take_over("ledger", TOPIC, None, [0], "worker")
        for number, dossier_id in enumerate(kinds):
            events.append(make_event(f"e{number}", dossier_id, code=f"H12-{number:04}"))
        batch = [
            Enlistment(
                event=event,
                payload=str(at).encode(),
                topic=TOPIC,
                partition=0,
                offset=at,
                dues=(STATE,),
            )
            for at, event in enumerate(events)
        ]
        await ledger.enlist({0: position.fence}, {0: len(batch)}, batch, {0: 0})
        engine = Engine(
            sink=portal,
            ledger=ledger,
            decode=decode,
            codes=Codes,
            fences=lambda: [position.fence],
            clock=_clock,
            seal=lambda plain, _dossier: plain,
            events=Events(metrics, log).deliveries,  # type: ignore[arg-type] # the methods used
            options=EngineOptions(in_flight=64, poll_seconds=0.05),
            rng=random.Random(1),
        )
        running = asyncio.create_task(engine.run())
        try:
            async with asyncio.timeout(60):
                while await _left(ledger, engine):
                    assert not running.done(), "a refused row ended the engine"
                    await asyncio.sleep(0.05)
        finally:
            engine.stop()
            await running
        (counts,) = await ledger.counts()
        return Delivered(portal, log, counts, await ledger.unpublished(1000))


async def _left(ledger: SqlLedger, engine: Engine) -> bool:
    (counts,) = await ledger.counts()
    waiting = {DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.WAITING}
    return bool(engine.work()[1]) or any(state in waiting for state, _ in counts.deliveries)


def _clock() -> float:
    return asyncio.get_running_loop().time()


def many(odd: Mapping[int, str], count: int = 60) -> dict[str, str]:
    """So many dossiers, of which those numbered in `odd` are of that kind."""
    return {f"opencps:{n}": odd.get(n, GOOD) for n in range(count)}
