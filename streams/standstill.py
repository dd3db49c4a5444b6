"""Whether a flow leaves records lying that it should have taken.

Faust can leave out fetched records in a rebalance, or not go on after two in quick succession. A hole in
the offsets shows it as soon as a later record of that partition comes; until then only time does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streams.log_ends import Place

_FIRST_SECONDS = 15.0
_FAIR = 2  # the log hands out what waits in no fixed order of partitions


@dataclass(frozen=True, slots=True, kw_only=True)
class _Since:
    offset: int | None
    at: float
    done: int
    waiting: int


class Standstill:
    """Fed with what each look at the log finds. Times are seconds of one monotonic clock.

    A partition stands still when for 15 s (twice that after each finding, until something moves) its next
    record was not taken, although the flow had nothing in hand, or took in that time twice as many records
    as waited in all. A partition that Kafka says is ours and that we do not own stands still as well.
    """

    def __init__(self) -> None:
        self._seconds = _FIRST_SECONDS
        self._since: dict[Place, _Since] = {}

    def restarted(self) -> None:
        """The flow begins anew, or Kafka is assigning: what stood still before says nothing."""
        self._since.clear()

    def moved(self) -> None:
        """A batch was done."""
        self._seconds = _FIRST_SECONDS

    def found(
        self,
        now: float,
        *,
        next_offsets: Mapping[Place, int | None],
        ends: Mapping[Place, int],
        done: int,
        busy: bool,
    ) -> bool:
        """Whether a partition stands still.

        `next_offsets` has every assigned partition, None where it is not owned; `ends` one past the last
        record of the owned ones; `done` counts the records that the flow has done.
        """
        lags = {place: end - (next_offsets[place] or 0) for place, end in ends.items()}
        waiting = sum(lag for lag in lags.values() if lag > 0)
        before, self._since = self._since, {}
        for place, offset in next_offsets.items():
            if offset is not None and lags.get(place, 0) <= 0:
                continue
            since = before.get(place)
            if since is None or since.offset != offset:
                since = _Since(offset=offset, at=now, done=done, waiting=waiting)
            self._since[place] = since
        if any(self._stands(since, now, done, busy) for since in self._since.values()):
            self._seconds *= 2
            return True
        return False

    def _stands(self, since: _Since, now: float, done: int, busy: bool) -> bool:
        if now - since.at < self._seconds:
            return False
        taken = done - since.done
        if since.offset is None:
            return True
        return taken >= _FAIR * since.waiting or (not taken and not busy)
