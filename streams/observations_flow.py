"""Indicator observations from Kafka into the ledger: every record ends as a figure or as a row that says why not.

Other systems write this topic. Nothing that they write stops the flow, an unknown schema id neither:
dossiers wait in the same flow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from monitoring.events import Events
from monitoring.metrics import Flow
from monitoring.rates.plan import Plan
from monitoring.rates.refusals import Keeper, judge
from schemas.codec import Codec, UndecodableMessage
from schemas.dossier.csv_table import UNREADABLE
from schemas.ledger.model import Fence, Judged, LedgerRefuses, ObservationLedger, Observed
from schemas.reasons import Reason
from schemas.records import DeadLetter, IndicatorObservation
from schemas.registry import UnknownSchemaId
from schemas.sealing import Sealer
from schemas.topics import INDICATOR_OBSERVATIONS
from streams.dead_letters import NotUnderstood, letter, place
from streams.patience import Patience
from streams.positions import Batch, Received

ORIGIN = "kafka"
"""The way by which these observations come."""


class ObservationsToLedger:
    """The body on `indicator.observations`."""

    def __init__(
        self,
        *,
        ledger: ObservationLedger,
        codec: Codec,
        sealer: Sealer,
        patience: Patience,
        events: Events,
        wall: Callable[[], datetime],
        plan: Plan,
    ) -> None:
        self._ledger = ledger
        self._codec = codec
        self._sealer = sealer
        self._patience = patience
        self._events = events
        self._wall = wall
        self._plan = plan

    async def __call__(self, batch: Batch) -> None:
        """See `streams.flow.Body`."""
        for partition, fence in batch.fences.items():
            found: dict[Received, IndicatorObservation | NotUnderstood] = {}
            for record in batch.records:
                if record.partition == partition:
                    found[record] = await self._patience(partial(self._understand, record))
            await self._take(
                fence, batch.first_offsets[partition], batch.next_offsets[partition], found
            )

    async def _understand(self, record: Received) -> IndicatorObservation | NotUnderstood:
        try:
            return await self._codec.decode_as(record.value or b"", IndicatorObservation)
        except (UndecodableMessage, UnknownSchemaId) as error:
            return self._dead(record, Reason.UNDECODABLE, str(error))

    def _dead(self, record: Received, reason: Reason, detail: str) -> NotUnderstood:
        self._events.dead_lettered(
            flow=Flow.LEDGER,
            reason=reason,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            detail=detail,
        )
        # Its key is an indicator's code, not a dossier's id.
        return NotUnderstood(record=record, reason=reason, detail=detail, dossier_id=None)

    async def _take(
        self,
        fence: Fence,
        first: int,
        following: int,
        found: Mapping[Received, IndicatorObservation | NotUnderstood],
    ) -> None:
        """One transaction; one for each record when the database refuses a value in one of them."""
        try:
            await self._write(fence, first, following, found)
        except LedgerRefuses as refusal:
            if len(found) == 1:
                ((record, what),) = found.items()
                if isinstance(what, NotUnderstood):
                    raise
                detail = f"{type(refusal).__name__}: {refusal}"
                dead = self._dead(record, Reason.UNCLASSIFIED_ERROR, detail)
                await self._write(fence, first, following, {record: dead})
                return
            for record, what in found.items():
                await self._take(fence, record.offset, record.offset + 1, {record: what})

    async def _write(
        self,
        fence: Fence,
        first: int,
        following: int,
        found: Mapping[Received, IndicatorObservation | NotUnderstood],
    ) -> None:
        wanted = {
            place(record): what
            for record, what in found.items()
            if isinstance(what, IndicatorObservation)
        }
        dead = [what for what in found.values() if isinstance(what, NotUnderstood)]

        decided: list[Judged] = []

        def decide(observed: Observed) -> Judged:
            judged = judge(wanted, origin=ORIGIN, plan=self._plan, observed=observed)
            keeper = Keeper(
                origin=ORIGIN, plan=self._plan, agencies=observed.agencies, now=observed.now
            )
            decided.append(judged)  # asked again after a lost race: the last one was written
            unread = [keeper.row(place(what.record), "", UNREADABLE) for what in dead]
            return replace(judged, refused=(*judged.refused, *unread))

        await self._patience(
            partial(
                self._ledger.take_observations,
                fence,
                first,
                following,
                list(wanted.values()),
                decide,
                self._letters(dead),
            )
        )
        if wanted:
            faults = decided[-1].refused
            self._events.observed(
                topic=INDICATOR_OBSERVATIONS.name,
                partition=fence.partition,
                taken=len(decided[-1].taken),
                refused=len({row.place for row in faults}),
                reasons={row.reason for row in faults},
            )

    def _letters(self, dead: Sequence[NotUnderstood]) -> list[DeadLetter]:
        """The bytes, kept whole and sealed."""
        now = self._wall()
        return [letter(what, self._sealer, now) for what in dead]
