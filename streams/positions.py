"""How far a flow has come, partition by partition. The ledger's word counts, Kafka's is a hint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from schemas.ledger.model import Fence, Ledger, Position, PositionHole

YIELD_EVERY = 32
"""After so many records a body lets the others on the loop have a turn."""


@dataclass(frozen=True, slots=True)
class Received:
    """One record as it lay in the log. `at` is the broker's time, seconds since the epoch."""

    topic: str
    partition: int
    offset: int
    at: float
    key: bytes | None
    value: bytes | None = field(repr=False)
    log_base: int = 0

    @property
    def log_pos(self) -> int:
        """Its place in the log, which a topic that was made anew does not use again."""
        return self.log_base + self.offset


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one topic that follow the positions without a hole, in the order of the log."""

    records: tuple[Received, ...]
    fences: Mapping[int, Fence]
    first_offsets: Mapping[int, int]
    next_offsets: Mapping[int, int]

    def halves(self) -> tuple[Batch, Batch]:
        """The first and the second half of at least two records: to be handled in this order."""
        middle = len(self.records) // 2
        return self._part(self.records[:middle]), self._part(self.records[middle:])

    def _part(self, records: tuple[Received, ...]) -> Batch:
        first: dict[int, int] = {}
        following: dict[int, int] = {}
        for record in records:
            first.setdefault(record.partition, record.offset)
            following[record.partition] = record.offset + 1
        fences = {partition: self.fences[partition] for partition in following}
        return Batch(records, fences, first, following)


class RecordsSkipped(PositionHole):
    """Records did not come that the log may well hold: in a rebalance Faust drops what it had fetched."""


class FlowPositions:
    """The partitions of one topic that this process owns in one flow."""

    def __init__(self, ledger: Ledger, *, flow: str, topic: str, owner: str) -> None:
        self.flow = flow
        self.topic = topic
        self._ledger = ledger
        self._owner = owner
        self._fences: dict[int, Fence] = {}
        self._next: dict[int, int] = {}
        self._bases: dict[int, int] = {}
        self._owned = False

    async def take_over(
        self, partitions: Sequence[int], topic_id: str | None = None
    ) -> Sequence[Position]:
        """Become the owner of exactly these partitions, at the ledger's positions.

        Nothing is followed when this fails. Raises `PositionHole` when the topic is another one than
        the ledger remembers; without `topic_id` (a broker that has none) that cannot be seen.
        """
        self.give_up()
        taken: Sequence[Position] = ()
        if partitions:
            taken = await self._ledger.take_over(
                self.flow, self.topic, topic_id, sorted(partitions), self._owner
            )
        self._fences = {p.fence.partition: p.fence for p in taken}
        self._next = {p.fence.partition: p.next_offset for p in taken}
        self._bases = {p.fence.partition: p.log_base for p in taken if p.log_base}
        self._owned = True
        return taken

    def give_up(self) -> None:
        """Follow nothing until the next `take_over`; records that still come are left alone.

        The claims stay: the engine goes on with what the ledger holds until another owner takes over,
        and then the ledger refuses it.
        """
        self._owned = False

    def refused(self, batch: Batch) -> None:
        """The ledger knows another owner of the batch's partitions; of an old batch that says nothing."""
        if all(self._fences.get(partition) == fence for partition, fence in batch.fences.items()):
            self.give_up()

    def fences(self) -> tuple[Fence, ...]:
        """The claims of this process, for the engine."""
        return tuple(self._fences.values())

    def next_offsets(self) -> Mapping[int, int]:
        """The offset that each owned partition waits for."""
        return dict(self._next)

    def follow(self, records: Iterable[Received]) -> Batch | None:
        """The records that come next; those already passed are left out, ``None`` when nothing is left.

        Raises `RecordsSkipped` at the first record that lies beyond its position.
        """
        if not self._owned:
            return None
        taken: list[Received] = []
        first: dict[int, int] = {}
        following: dict[int, int] = {}
        for record in records:
            partition = record.partition
            expected = following.get(partition, self._next.get(partition))
            if expected is None or record.offset < expected:
                continue  # another process owns it, or it is done
            if record.offset > expected:
                raise RecordsSkipped(
                    f"flow {self.flow}, topic {self.topic}, partition {partition}: the log goes on at "
                    f"{record.offset}, the ledger waits for {expected}"
                )
            first.setdefault(partition, record.offset)
            following[partition] = record.offset + 1
            base = self._bases.get(partition)
            taken.append(replace(record, log_base=base) if base else record)
        if not taken:
            return None
        fences = {partition: self._fences[partition] for partition in following}
        return Batch(tuple(taken), fences, first, following)

    def advanced(self, batch: Batch) -> None:
        """The ledger has taken the batch in."""
        for partition, offset in batch.next_offsets.items():
            if self._fences.get(partition) == batch.fences[partition]:
                self._next[partition] = max(offset, self._next[partition])
