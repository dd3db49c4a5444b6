"""A topic that was made anew begins at offset 0 again; places in the log never come a second time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from schemas.ledger.model import Fence, Position
from schemas.reasons import Reason
from schemas.sealing import Sealer
from streams.dead_letters import NotUnderstood, gap, letter, place
from streams.positions import FlowPositions, Received

NOW = datetime(2026, 11, 23, tzinfo=UTC)


class MadeAnew:
    """Partition 0 begins behind what the old log held; partition 1 is as it always was."""

    async def take_over(
        self, flow: str, topic: str, topic_id: str | None, partitions: Sequence[int], owner: str
    ) -> Sequence[Position]:
        return [
            Position(
                fence=Fence(flow=flow, topic=topic, partition=p, owner=owner, epoch=1),
                next_offset=0,
                topic_id=topic_id,
                log_base=0 if p else 500,
            )
            for p in partitions
        ]


def record(partition: int, offset: int) -> Received:
    return Received("t", partition, offset, 0.0, b"d1", b"?")


async def test_records_know_their_place_in_the_log() -> None:
    positions = FlowPositions(MadeAnew(), flow="f", topic="t", owner="a")  # type: ignore[arg-type] # the one method used
    await positions.take_over([0, 1])
    batch = positions.follow([record(0, 0), record(0, 1), record(1, 0)])
    assert batch is not None
    assert [r.log_pos for r in batch.records] == [500, 501, 0]
    assert batch.next_offsets == {0: 2, 1: 1}, "positions stay Kafka's offsets"


def test_gaps_and_dead_letters_are_known_by_their_place_in_the_log() -> None:
    made_anew = Received("t", 0, 3, 0.0, b"d1", b"?", log_base=500)
    what = NotUnderstood(record=made_anew, reason=Reason.UNDECODABLE, detail="", dossier_id="d1")
    assert place(made_anew) == "t/0/503"
    found = gap(what, NOW)
    assert found is not None
    assert found.event_id == "gap:t/0/503"
    sealer = Sealer({"2026-11": b"k" * 32}, "2026-11")
    kept = letter(what, sealer, NOW)
    assert kept.offset == 503
    assert kept.sealed_value is not None
    assert sealer.open(kept.sealed_value, "t/0/503") == b"?"
