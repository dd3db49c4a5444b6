"""Positions: what follows is taken, what is done is left out, a hole is never passed over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from schemas.ledger.model import Fence, Position, PositionHole
from streams.positions import FlowPositions, Received


class TakeOver:
    """The one method of the ledger that positions use: partition -> next offset."""

    def __init__(self, **stands: int) -> None:
        self.stands = {int(name[1:]): offset for name, offset in stands.items()}
        self.epoch = 0

    async def take_over(
        self, flow: str, topic: str, topic_id: str | None, partitions: Sequence[int], owner: str
    ) -> Sequence[Position]:
        self.epoch += 1
        return [
            Position(
                fence=Fence(flow=flow, topic=topic, partition=p, owner=owner, epoch=self.epoch),
                next_offset=self.stands[p],
                topic_id=topic_id,
            )
            for p in partitions
        ]


def positions(ledger: Any) -> FlowPositions:
    return FlowPositions(ledger, flow="ledger", topic="t", owner="a")


def records(partition: int, *offsets: int) -> list[Received]:
    return [Received("t", partition, offset, 0.0, None, None) for offset in offsets]


async def test_a_batch_over_two_partitions() -> None:
    own = positions(TakeOver(p0=4, p1=0))
    await own.take_over([0, 1])
    batch = own.follow([*records(0, 2, 3, 4), *records(1, 0), *records(0, 5)])
    assert batch is not None
    assert [(r.partition, r.offset) for r in batch.records] == [(0, 4), (1, 0), (0, 5)]
    assert (batch.first_offsets, batch.next_offsets) == ({0: 4, 1: 0}, {0: 6, 1: 1})
    own.advanced(batch)
    assert own.next_offsets() == {0: 6, 1: 1}
    assert own.follow(records(0, 4, 5)) is None


@pytest.mark.parametrize("offsets", [(5,), (4, 6)])
async def test_a_hole_before_or_within_a_batch(offsets: tuple[int, ...]) -> None:
    own = positions(TakeOver(p0=4))
    await own.take_over([0])
    with pytest.raises(PositionHole, match="partition 0"):
        own.follow(records(0, *offsets))


async def test_records_of_partitions_that_are_not_ours_are_left_alone() -> None:
    own = positions(TakeOver(p0=4))
    assert own.follow(records(0, 9)) is None, "before the first take-over"
    await own.take_over([0])
    assert own.follow(records(1, 9)) is None
    own.give_up()
    assert own.follow(records(0, 4)) is None
    assert [fence.partition for fence in own.fences()] == [0], "the engine keeps its claims"
    await own.take_over([])
    assert own.fences() == ()


async def test_a_batch_from_before_a_take_over_does_not_move_the_new_position() -> None:
    own = positions(ledger := TakeOver(p0=4))
    await own.take_over([0])
    old = own.follow(records(0, 4, 5))
    assert old is not None
    await own.take_over([0])
    own.advanced(old)
    assert own.next_offsets() == {0: 4}
    assert ledger.epoch == 2


async def test_a_refused_batch_gives_up_what_was_owned_with_it_and_nothing_newer() -> None:
    own = positions(TakeOver(p0=4))
    await own.take_over([0])
    batch = own.follow(records(0, 4))
    assert batch is not None
    await own.take_over([0])
    own.refused(batch)
    assert own.follow(records(0, 4)) is not None, "the partition came back in the meantime"
    batch = own.follow(records(0, 4))
    assert batch is not None
    own.refused(batch)
    assert own.follow(records(0, 4)) is None
