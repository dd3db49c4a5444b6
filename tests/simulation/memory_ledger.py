"""The engine's ledger in memory: same contract as the SQL one, fast enough for 100,000 schedules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from schemas.ledger.model import (
    OPEN_STATES,
    Applied,
    AttemptKind,
    Change,
    DeliveryRow,
    DeliveryState,
    DossierTarget,
    Due,
    Enlistment,
    EnlistResult,
    Fence,
    Finding,
    Operation,
    Outcome,
    Position,
    PositionHole,
    SentStep,
    Settled,
    StaleOwner,
    Verdict,
    Work,
)
from schemas.reasons import Reason
from streams.engine.decide import newest_state
from streams.engine.evolve import evolve, with_outcome


class MemoryLedger:
    """Everything in dictionaries; `clock` is the database's clock in seconds."""

    def __init__(self, clock: Callable[[], float], steps_window: int = 100) -> None:
        self._clock = clock
        self._steps_window = steps_window
        self._said: set[str] = set()
        self.needless: list[str] = []
        """Deliveries parked as unknown although their attempt's maker had said how it ended."""
        self._positions: dict[tuple[str, str, int], Position] = {}
        self._events: set[str] = set()
        self._works: dict[tuple[str, str], Work] = {}
        self._runnable: set[tuple[str, str]] = set()
        self._claims: dict[tuple[str, str], str] = {}
        self._step_keys: dict[int, str] = {}
        self.findings: dict[tuple[str, str], dict[str, Finding]] = {}
        self._deliveries = 0
        self.ended: dict[int, Settled] = {}
        self.attempts: dict[str, tuple[str, str]] = {}
        self.rows: dict[int, tuple[str, DeliveryRow]] = {}

    async def now(self) -> float:
        return self._clock()

    # --- positions and enlistment ------------------------------------------------------------------

    async def take_over(
        self, flow: str, topic: str, topic_id: str | None, partitions: Sequence[int], owner: str
    ) -> Sequence[Position]:
        taken = []
        for partition in partitions:
            key = (flow, topic, partition)
            old = self._positions.get(key)
            if old is None:
                epoch, next_offset = 1, 0
            else:
                if old.topic_id is not None and topic_id not in (None, old.topic_id):
                    raise PositionHole(f"{topic}/{partition}: another topic id")
                epoch = old.fence.epoch + (old.fence.owner != owner)
                next_offset, topic_id = old.next_offset, topic_id or old.topic_id
            fence = Fence(flow=flow, topic=topic, partition=partition, owner=owner, epoch=epoch)
            self._positions[key] = Position(fence=fence, next_offset=next_offset, topic_id=topic_id)
            taken.append(self._positions[key])
        return taken

    def _holds(self, fence: Fence) -> bool:
        position = self._positions.get((fence.flow, fence.topic, fence.partition))
        return position is not None and position.fence == fence

    async def enlist(
        self,
        positions: Mapping[int, Fence],
        next_offsets: Mapping[int, int],
        batch: Sequence[Enlistment],
        first_offsets: Mapping[int, int],
    ) -> EnlistResult:
        for partition, fence in positions.items():
            if not self._holds(fence):
                raise StaleOwner(f"partition {partition}")
            at = self._positions[fence.flow, fence.topic, partition].next_offset
            if first_offsets[partition] > at:
                raise PositionHole(f"partition {partition}: {first_offsets[partition]} after {at}")
        enlisted = duplicates = 0
        for item in batch:
            fence = positions[item.partition]
            at = self._positions[fence.flow, fence.topic, item.partition].next_offset
            if item.offset < at or item.event.event_id in self._events:
                duplicates += 1
                continue
            self._events.add(item.event.event_id)
            for due in item.dues:
                self._owe(item, due)
            enlisted += 1
        for partition, fence in positions.items():
            key = (fence.flow, fence.topic, partition)
            position = self._positions[key]
            ahead = max(position.next_offset, next_offsets[partition])
            self._positions[key] = replace(position, next_offset=ahead)
        return EnlistResult(enlisted=enlisted, duplicates=duplicates)

    def _owe(self, item: Enlistment, due: Due) -> None:
        event = item.event
        key = (due.target, event.dossier_id)
        work = self._works.get(key) or Work(
            dossier=DossierTarget(
                dossier_id=event.dossier_id, target=due.target, partition=item.partition
            ),
            rows=(),
            attempts=(),
        )
        self._deliveries += 1
        row = DeliveryRow(
            delivery_id=self._deliveries,
            event_id=event.event_id,
            operation=due.operation,
            version=event.read_seq,
            log_pos=item.offset,
            state=due.state,
            reason=due.reason,
            payload=item.payload,
        )
        self.rows[row.delivery_id] = (event.dossier_id, row)
        if due.state in OPEN_STATES and due.operation is not Operation.RETRACTION:
            work = replace(work, rows=(*work.rows, row))
        else:
            self.ended[row.delivery_id] = Settled(
                delivery_id=row.delivery_id, state=due.state, reason=due.reason
            )
        due_at = event.times.extended or event.times.due
        dossier = replace(
            work.dossier,
            work_seq=work.dossier.work_seq + 1,
            wake_at=None,
            born_on_portal=event.born_on_portal or work.dossier.born_on_portal,
            deadline=due_at.timestamp() if due_at is not None else work.dossier.deadline,
        )
        self._works[key] = replace(work, dossier=dossier)
        self._runnable.add(key)

    # --- the engine --------------------------------------------------------------------------------

    async def runnable(
        self, target: str, fences: Sequence[Fence], limit: int, exclude: frozenset[str]
    ) -> Sequence[Work]:
        partitions = {fence.partition for fence in fences if self._holds(fence)}
        now = self._clock()
        ready = [
            work
            for key, work in self._works.items()
            if key[0] == target
            and key[1] not in exclude
            and work.dossier.partition in partitions
            and (
                key in self._runnable
                or (work.dossier.wake_at is not None and work.dossier.wake_at <= now)
            )
        ]
        ready.sort(key=lambda work: (work.dossier.deadline is None, work.dossier.deadline or 0.0))
        return [self._loaded(work) for work in ready[:limit]]

    async def reload(self, target: str, dossier_id: str) -> Work:
        return self._loaded(self._works[target, dossier_id])

    def _loaded(self, work: Work) -> Work:
        newest = newest_state(work)
        if any(_needless(row, newest) for row in work.rows):
            rows = (replace(r, payload=b"") if _needless(r, newest) else r for r in work.rows)
            work = replace(work, rows=tuple(rows))
        steps = [row for row in work.rows if row.operation is Operation.STEP]
        if len(steps) > self._steps_window:
            cut = steps[self._steps_window].log_pos
            kept = (r for r in work.rows if r.operation is Operation.STATE or r.log_pos < cut)
            work = replace(work, rows=tuple(kept), more=True)
        owed = work.dossier.verification is not None
        if owed or any(attempt.kind is AttemptKind.STEPS for attempt in work.attempts):
            work = replace(work, sent_steps=tuple(self._sent_steps(work.dossier)))
        return replace(work, delivered=self._delivered(work.dossier) if owed else None)

    def _sent_steps(self, dossier: DossierTarget) -> Iterator[SentStep]:
        open_rows = self._works[dossier.target, dossier.dossier_id].rows
        states = {row.delivery_id: row.state for row in open_rows}
        for delivery_id, (owner, _) in self.rows.items():
            key = self._step_keys.get(delivery_id)
            if owner == dossier.dossier_id and key is not None:
                ended = self.ended.get(delivery_id)
                state = ended.state if ended is not None else states[delivery_id]
                yield SentStep(delivery_id=delivery_id, key=key, state=state)
        for finding in self.findings.get((dossier.target, dossier.dossier_id), {}).values():
            if finding.step_key is not None and finding.delivery_id is not None:
                yield SentStep(
                    delivery_id=finding.delivery_id,
                    key=finding.step_key,
                    state=DeliveryState.DELIVERED,
                )

    def _delivered(self, dossier: DossierTarget) -> DeliveryRow | None:
        rows = (
            row
            for delivery_id, (owner, row) in self.rows.items()
            if owner == dossier.dossier_id
            and row.operation is Operation.STATE
            and row.version == dossier.delivered_version
            and delivery_id in self.ended
        )
        return max(rows, key=lambda row: row.log_pos, default=None)

    async def commit(self, changes: Sequence[Change]) -> Sequence[Applied]:
        return [self._apply(change) for change in changes]

    def _apply(self, change: Change) -> Applied:
        at = self._clock()
        key = (change.target, change.dossier_id)
        work = self._works[key]
        if change.outcome is not None:
            known = self.attempts.get(change.outcome.attempt_id)
            if change.outcome.outcome is not Outcome.UNKNOWN:
                self._said.add(change.outcome.attempt_id)
            if known is not None:
                self._works[known] = with_outcome(self._works[known], change.outcome)
                work = self._works[key]
        if not self._holds(change.fence):
            return Applied(verdict=Verdict.STALE, at=at)
        if change.unless_said and any(
            a.attempt_id == change.close and a.outcome is not None for a in work.attempts
        ):
            return Applied(verdict=Verdict.OVERTAKEN, at=at)
        if change.claim is not None:
            owner = self._claims.setdefault((change.target, change.claim), change.dossier_id)
            if owner != change.dossier_id:
                return Applied(verdict=Verdict.CODE_TAKEN, at=at)
        if change.intent is not None:
            self.attempts[change.intent.attempt_id] = key
            if change.intent.step_keys:
                ids = change.intent.delivery_ids
                self._step_keys.update(zip(ids, change.intent.step_keys, strict=True))
        for settled in change.settled:
            if settled.reason is Reason.OUTCOME_UNKNOWN and change.close in self._said:
                self.needless.append(f"{change.dossier_id}: parked as unknown, though it was said")
            self._settle(settled)
        for finding in change.findings:
            self.findings.setdefault(key, {})[finding.finding_id] = finding
        work = replace(evolve(work, change, at), delivered=None)
        if change.release_seq is not None and change.release_seq == work.dossier.work_seq:
            self._runnable.discard(key)
            work = replace(work, dossier=replace(work.dossier, wake_at=change.wake_at))
        self._works[key] = work
        return Applied(verdict=Verdict.DONE, at=at)

    def _settle(self, settled: Settled) -> None:
        if settled.state not in OPEN_STATES:
            self.ended.setdefault(settled.delivery_id, settled)

    # --- for the judge -----------------------------------------------------------------------------

    def works(self) -> Sequence[Work]:
        """Every dossier as it stands."""
        return list(self._works.values())

    def work(self, target: str, dossier_id: str) -> Work:
        """One dossier as it stands."""
        return self._works[target, dossier_id]

    def found(self, target: str, dossier_id: str) -> Sequence[Finding]:
        """What was found at the target about this dossier."""
        return list(self.findings.get((target, dossier_id), {}).values())

    def fence(self, flow: str, topic: str, partition: int) -> Fence:
        """The fence that holds now."""
        return self._positions[flow, topic, partition].fence


def _needless(row: DeliveryRow, newest: DeliveryRow | None) -> bool:
    """A state that is not the newest unparked one comes without its payload."""
    return row.operation is Operation.STATE and row is not newest and bool(row.payload)
