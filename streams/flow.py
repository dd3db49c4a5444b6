"""One Faust app under the safe pattern: no record is passed that the ledger has not taken note of.

Faust acknowledges what it should not (an exception, a cancelled body), so here

- bodies get raw records and never raise into Faust: what they cannot do ends in one of three ways below;
- the ledger's position counts: after every rebalance Faust is led there, and not to what Kafka has committed;
- records below the position are left out, a record beyond it is a hole.

    halted       a person must look (hole, unknown schema, unknown key): the app is stopped, the flow is
                 paged and stays down; the process and its other parts go on
    lost         the ledger did not answer for 20 s, or names another owner of what Kafka says is ours, or
                 Faust left records out or lying: the app is stopped, and a fresh one starts at the ledger's
                 positions as soon as it answers
    broken       the broker did not confirm for 20 s, or Faust crashed or stands still: the process ends,
                 and whoever supervises it starts it again
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

import faust
from aiokafka.errors import IllegalStateError

from monitoring.events import Events
from monitoring.health import Health
from schemas.ledger.model import (
    Fence,
    Ledger,
    LedgerReplaced,
    LedgerUnavailable,
    PositionHole,
    StaleOwner,
)
from schemas.topics import Topic
from streams.kafka_clients import faust_settings
from streams.log_ends import LogAway, LogEnds, Place
from streams.patience import Lost, Patience
from streams.positions import Batch, FlowPositions, Received, RecordsSkipped
from streams.settings import KafkaSettings
from streams.standstill import Standstill

_PAUSE_SECONDS = 0.5
_WATCH_SECONDS = 0.2
_LAG_SECONDS = 5.0
_FINISH_SECONDS = 3.0  # for the batch in hand, when the flow is stopped
_LOOK_SECONDS = 2.0
_SUSPENDED_SECONDS = 1.5
_TWICE = 2
_STOP_SECONDS = 8.0  # with the broker away Faust does not come back from its stop
_HANG_SECONDS = 90.0  # a batch does not come to its end, or fresh starts do not help


class Halt(Exception):
    """Only a person can make the flow go on. `reason` is one word, `detail` names the remedy."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class FlowBroken(Exception):
    """The flow cannot go on in this process."""


class _QuietMonitor(faust.Monitor):
    """Faust's own monitor costs 5 % of a flow's CPU and counts what `monitoring.metrics` counts."""

    def on_message_in(self, *_: object) -> None:
        pass

    def on_message_out(self, *_: object) -> None:
        pass

    def on_stream_event_in(self, *_: object) -> None:
        pass

    def on_stream_event_out(self, *_: object) -> None:
        pass


class Body(Protocol):
    """Handles one batch, its position included. Raises `Halt`, `Lost`, `FlowBroken` or what the ledger

    says about positions (`PositionHole`, `StaleOwner`); a cancellation may come at any await.
    """

    async def __call__(self, batch: Batch) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One topic that the flow reads, and what handles its batches."""

    positions: FlowPositions
    body: Body


class Flow:
    """A consumer group of its own in this process. `run` returns after `stop`, or raises `FlowBroken`."""

    def __init__(
        self,
        name: str,
        readings: Sequence[Reading],
        *,
        kafka: KafkaSettings,
        ledger: Ledger,
        events: Events,
        datadir: Path,
        die: Callable[[str], NoReturn],
        health: Health,
        assigned: Callable[[], None] = lambda: None,
        patience: Patience | None = None,
    ) -> None:
        self.name = name
        self._readings = tuple(readings)
        self._kafka = kafka
        self._ledger = ledger
        self._events = events
        self._datadir = datadir
        self._die = die
        self._health = health
        self._assigned = assigned
        self._patience = patience or Patience(name, events)
        self._stop = asyncio.Event()
        self._halted = asyncio.Event()
        self._lost = asyncio.Event()
        self._broken: FlowBroken | None = None
        self._progress = time.monotonic()
        self._done = 0
        self._in_hand = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._ending = False
        self._app: Any = None
        self._taking_over = asyncio.Lock()
        self._log = LogEnds(kafka)
        self._strangers = 0  # looks in a row that found another owner in the ledger
        self._short = 0  # looks in a row that found a log to end before its position
        self._topic_ids: Mapping[str, str] = {}  # when the positions were taken over
        self._waits_for = "ledger"
        self._holes: Counter[str] = Counter()
        self._standstill = Standstill()

    @property
    def halted(self) -> bool:
        """Whether a person must look before the flow goes on."""
        return self._halted.is_set()

    def fences(self, *topics: Topic) -> tuple[Fence, ...]:
        """The claims on the partitions of these topics."""
        names = {topic.name for topic in topics}
        return tuple(
            fence
            for reading in self._readings
            if reading.positions.topic in names
            for fence in reading.positions.fences()
        )

    async def run(self) -> None:
        """Read until `stop`. Raises `FlowBroken`."""
        while not self._stop.is_set():
            self._lost.clear()
            await self._run_app()
            if self._halted.is_set():
                await self._stay_down()
            elif self._lost.is_set():
                await self._await_ledger()
        if not self._halted.is_set():
            self._events.flow_stopped(flow=self.name, reason="asked")

    def stop(self) -> None:
        """Let `run` return after the batch in hand."""
        self._stop.set()

    async def _stay_down(self) -> None:
        """Ending the process would bring the flow back to where it stopped, again and again."""
        while not await self._stopped_within(_LAG_SECONDS):
            self._health.progress(self.name, waits_for="a person")

    async def _stopped_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
        return self._stop.is_set()

    # --- the app's life

    async def _run_app(self) -> None:
        self._ending = False
        app = self._build()
        self._progress = time.monotonic()
        self._standstill.restarted()
        self._strangers = 0
        try:
            await self._log.start(self._patience.seconds)
            await app.start()
            await self._watch(app)
        finally:
            self._give_up()
            await self._end(app)
            await self._log.stop()

    def _build(self) -> Any:
        app = faust.App(
            f"{self._kafka.group_prefix}-{self.name}",
            datadir=str(self._datadir / self.name),
            Monitor=_QuietMonitor,
            **faust_settings(self._kafka),
        )
        for reading in self._readings:
            topic = app.topic(
                reading.positions.topic,
                key_type=bytes,
                value_type=bytes,
                key_serializer="raw",
                value_serializer="raw",
            )
            app.agent(topic, name=f"{self.name}.{reading.positions.topic}", concurrency=1)(
                self._agent(reading)
            )
        app.on_rebalance_complete.connect(self._take_over)
        app.finalize()
        consumer: Any = app.consumer
        consumer.seek_to_committed = self._seek_to_positions
        self._app = app
        return app

    async def _watch(self, app: Any) -> None:
        next_look = time.monotonic() + _LAG_SECONDS
        turned = time.monotonic()
        while not self._leaves():
            await self._stopped_within(_WATCH_SECONDS)
            if self._broken is not None:
                raise self._broken
            if app.crashed:
                if self._leaves():
                    return
                raise FlowBroken(f"flow {self.name}: {type(app.crash_reason).__name__} in Faust")
            before, turned = turned, time.monotonic()
            if turned - before > _SUSPENDED_SECONDS:
                # Others may own what was ours, and Kafka has not told us yet.
                self._strangers = 0
                next_look = turned + _LAG_SECONDS
            if turned >= next_look:
                await self._look_at_lag(app)
                await self._look_at_owners(app)
                await self._look_for_another_log()
                next_look = turned + _LAG_SECONDS

    def _leaves(self) -> bool:
        return self._stop.is_set() or self._halted.is_set() or self._lost.is_set()

    async def _look_at_lag(self, app: Any) -> None:
        places = {(tp.topic, tp.partition) for tp in app.consumer.assignment()}
        next_offsets: dict[Place, int | None] = dict.fromkeys(places)
        for reading in self._readings:
            for partition, offset in reading.positions.next_offsets().items():
                if (reading.positions.topic, partition) in places:
                    next_offsets[reading.positions.topic, partition] = offset
        owned = {place: offset for place, offset in next_offsets.items() if offset is not None}
        try:
            ends = await self._log.ends(owned.keys(), _LOOK_SECONDS)
        except LogAway:  # Faust itself decides when that is a crash
            self._health.progress(self.name, waits_for="broker")
            return
        waiting = 0
        for (topic, partition), end in ends.items():
            lag = end - owned[topic, partition]
            waiting += max(lag, 0)
            self._events.metrics.set_lag(topic, partition, lag)
        self._health.progress(self.name, done=self._done, lag=waiting)
        self._look_for_a_shorter_log(owned, ends)
        now = time.monotonic()
        if not waiting:
            self._progress = now
        elif now - self._progress > _HANG_SECONDS:
            raise FlowBroken(
                f"flow {self.name}: records wait and none was done for {_HANG_SECONDS:.0f} s"
            )
        if app.rebalancing or self._taking_over.locked():
            self._standstill.restarted()
        elif self._standstill.found(
            now,
            next_offsets=next_offsets,
            ends=ends,
            done=self._done,
            busy=bool(self._in_hand),
        ):
            self._begin_anew("records")

    def _look_for_a_shorter_log(
        self, owned: Mapping[Place, int], ends: Mapping[Place, int]
    ) -> None:
        """Page when a log ends before its position, three times in a row: a new leader may be behind at first.

        Faust would read a topic that was made anew from its beginning, and the positions leave out what
        lies below them.
        """
        short = sorted(place for place, end in ends.items() if end < owned[place])
        self._short = self._short + 1 if short else 0
        if self._short > _TWICE:
            topic, partition = short[0]
            self._halt(
                Halt(
                    "position_hole",
                    f"flow {self.name}, topic {topic}, partition {partition}: the log ends at"
                    f" {ends[short[0]]}, the ledger waits for {owned[short[0]]}; when Kafka was emptied:"
                    " thongsuot topics reset; see position_hole in streams/README.md",
                )
            )

    async def _look_for_another_log(self) -> None:
        """Page when a topic was made anew since it was taken over: its offsets mean other records now.

        Kafka need not assign anew for that, and the new log may be longer than the position already.
        """
        held = dict(self._topic_ids)
        with suppress(LogAway):
            found = await self._log.topic_ids(_LOOK_SECONDS)
            for topic in (reading.positions.topic for reading in self._readings):
                if topic in found and found[topic] != held.get(topic, found[topic]):
                    self._give_up()
                    self._halt(
                        Halt(
                            "position_hole",
                            f"flow {self.name}: topic {topic} was made anew (id {held[topic]}, now"
                            f" {found[topic]}): thongsuot topics reset; see position_hole in"
                            " streams/README.md",
                        )
                    )

    async def _look_at_owners(self, app: Any) -> None:
        """Begin anew when the ledger names another owner of what Kafka says is ours, twice in a row.

        A process that was frozen while it took over may do so belatedly, when its partitions are ours
        already. It gives them up again, and nobody would have them.
        """
        claims = [fence for reading in self._readings for fence in reading.positions.fences()]
        assigned = {(tp.topic, tp.partition) for tp in app.consumer.assignment()}
        claims = [fence for fence in claims if (fence.topic, fence.partition) in assigned]
        try:
            held = await self._ledger.held(claims)
        except LedgerUnavailable:
            return
        self._strangers = 0 if len(held) == len(claims) else self._strangers + 1
        if self._strangers >= _TWICE:
            self._strangers = 0
            self._begin_anew("ownership")

    async def _end(self, app: Any) -> None:
        """Stop the app within a bound. Faust swallows a cancellation, hence `wait` and not `wait_for`."""
        self._ending = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), _FINISH_SECONDS)
        stopping = asyncio.create_task(app.stop())
        await asyncio.wait({stopping}, timeout=_STOP_SECONDS)
        if not stopping.done():
            self._die(f"flow {self.name} did not stop")
        if not stopping.cancelled() and stopping.exception() is not None:
            self._events.flow_waiting(flow=self.name, waits_for="stop")
        app.on_rebalance_complete.disconnect(self._take_over)

    async def _await_ledger(self) -> None:
        self._events.flow_waiting(flow=self.name, waits_for=self._waits_for)
        while not self._stop.is_set():
            try:
                await self._ledger.now()
            except LedgerUnavailable:
                self._health.progress(self.name, waits_for="ledger")
                await self._stopped_within(_PAUSE_SECONDS)
            else:
                return

    # --- assignment

    async def _take_over(self, sender: Any, /, *_: Any, **__: Any) -> None:
        """Own what Kafka assigned, before the flow goes to the ledger's positions and reads."""
        async with self._taking_over:  # Kafka may assign anew before the last time is over
            if sender is self._app and not self._ends():
                await self._take_over_now(sender)

    async def _take_over_now(self, sender: Any) -> None:
        generation = sender.consumer_generation_id
        try:
            assigned = sender.consumer.assignment()
            # Now, not at the start: topics may have been made anew under a process that lives.
            self._topic_ids = await self._log.topic_ids(self._patience.seconds)
            offsets: dict[Any, int] = {}
            for reading in self._readings:
                offsets |= await self._own(assigned, reading.positions)
            await self._check_log(offsets)
        except PositionHole as hole:
            self._give_up()
            self._halt(Halt("position_hole", str(hole)))
        except Lost:
            self._begin_anew("ledger")
        except Exception as error:
            self._give_up()
            if sender.consumer_generation_id != generation or isinstance(error, IllegalStateError):
                return  # Kafka assigns anew already, and then we come here again
            self._broken = FlowBroken(f"flow {self.name}: {type(error).__name__} when taking over")
            raise
        else:
            if sender.consumer_generation_id != generation:
                self._give_up()
                return
            self._events.flow_started(flow=self.name)
            self._health.begun(self.name)
            self._assigned()

    async def _seek_to_positions(self) -> Mapping[Any, int]:
        """In the place of Faust's own, which goes to what is committed.

        Committing the positions instead would be answered behind a JoinGroup, where one is under way, and
        be refused then; whereupon aiokafka joins once more, and so for ever.
        """
        consumer = self._app.consumer
        offsets: dict[Any, int] = {}
        for reading in self._readings:
            topic, owned = reading.positions.topic, reading.positions.next_offsets()
            offsets |= {
                tp: owned[tp.partition]
                for tp in consumer.assignment()
                if tp.topic == topic and tp.partition in owned
            }
        if offsets:
            await consumer.seek_wait(offsets)
        return offsets

    def _give_up(self) -> None:
        for reading in self._readings:
            reading.positions.give_up()

    async def _own(self, assigned: Collection[Any], positions: FlowPositions) -> dict[Any, int]:
        """The ledger's position of each partition of one topic, which is ours from now on."""
        tps = {tp.partition: tp for tp in assigned if tp.topic == positions.topic}
        topic_id = self._topic_ids.get(positions.topic)
        taken = await self._patience(lambda: positions.take_over(list(tps), topic_id))
        self._events.rebalanced(flow=self.name, topic=positions.topic, partitions=tps)
        for position in taken:
            if position.restored is not None:
                self._events.partition_restored(position.restored)
        return {tps[p.fence.partition]: p.next_offset for p in taken}

    async def _check_log(self, offsets: Mapping[Any, int]) -> None:
        places = {(tp.topic, tp.partition): offset for tp, offset in offsets.items()}
        bounds = await self._log.bounds(places, self._patience.seconds)
        for (topic, partition), (start, end) in bounds.items():
            offset = places[topic, partition]
            if not start <= offset <= end:
                raise PositionHole(
                    f"flow {self.name}, topic {topic}, partition {partition}: the log holds "
                    f"{start} to {end}, the ledger waits for {offset}; when Kafka was emptied: thongsuot "
                    "topics reset; see position_hole in streams/README.md"
                )

    # --- records

    def _agent(self, reading: Reading) -> Callable[[Any], Awaitable[None]]:
        async def agent(stream: Any) -> None:
            batches: AsyncIterator[Sequence[Any]] = stream.take_events(
                self._kafka.batch_events, within=self._kafka.batch_wait_seconds
            )
            async for batch in batches:
                await self._handle(reading, batch)

        return agent

    async def _handle(self, reading: Reading, events: Sequence[Any]) -> None:
        """Hand the batch to the body. Returns only when it is done or belongs to somebody else.

        Faust acknowledges a batch whatever becomes of it, and when it stops even while a body has it in
        hand; a message that is marked as acknowledged already it leaves alone. So the mark is set first
        and taken away when the batch is done.
        """
        _mark(events, acknowledged=True)
        try:
            if not self._ends():
                self._in_hand += 1
                self._idle.clear()
                try:
                    await self._follow(reading, [_received(event.message) for event in events])
                finally:
                    self._in_hand -= 1
                    if not self._in_hand:
                        self._idle.set()
                _mark(events, acknowledged=False)
                return
        except Halt as halt:
            self._halt(halt)
        except RecordsSkipped as hole:
            self._skipped(hole)
        except PositionHole as hole:
            self._halt(Halt("position_hole", str(hole)))
        except Lost:
            self._begin_anew("ledger")
        except FlowBroken as broken:
            self._broken = broken
        except LedgerReplaced as replaced:
            self._broken = FlowBroken(f"flow {self.name}: {replaced}")
        except Exception as error:  # a mistake of ours must not lose a batch
            self._halt(Halt("unclassified_error", f"{type(error).__name__} at {_place(error)}"))
        await (
            asyncio.Event().wait()
        )  # until the app is stopped: a return would fetch the next batch

    async def _follow(self, reading: Reading, records: Sequence[Received]) -> None:
        newest: dict[int, tuple[int, float]] = {}
        for record in records:
            number = newest.get(record.partition, (0, 0.0))[0]
            newest[record.partition] = (number + 1, record.at)
        for partition, (number, at) in newest.items():
            self._events.batch_received(
                flow=self.name,
                topic=reading.positions.topic,
                partition=partition,
                records=number,
                newest=at,
            )
        batch = reading.positions.follow(records)
        if batch is not None:
            try:
                await reading.body(batch)
            except StaleOwner:
                # Kafka will tell us, too; until then nothing here is ours. See `_look_at_owners`.
                reading.positions.refused(batch)
                return
            reading.positions.advanced(batch)
            self._done += len(batch.records)
            self._standstill.moved()
            self._progress = time.monotonic()

    def _begin_anew(self, waits_for: str) -> None:
        """Let `run` stop the app and start a fresh one at the ledger's positions."""
        self._waits_for = waits_for
        self._lost.set()

    def _skipped(self, hole: RecordsSkipped) -> None:
        """Read again from the ledger's position; the same hole after two fresh starts is the log's own."""
        self._holes[str(hole)] += 1
        if self._holes[str(hole)] > _TWICE:
            self._halt(Halt("position_hole", str(hole)))
            return
        self._begin_anew("position")

    def _halt(self, halt: Halt) -> None:
        if not self._halted.is_set():
            self._halted.set()
            self._events.flow_paged(flow=self.name, reason=halt.reason, detail=halt.detail)

    def _ends(self) -> bool:
        """Whether the app is about to be stopped: no further batch is begun."""
        return (
            self._ending or self._halted.is_set() or self._lost.is_set() or self._broken is not None
        )


def _received(message: Any) -> Received:
    return Received(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        at=message.timestamp,
        key=message.key,
        value=message.value,
    )


def _mark(events: Sequence[Any], *, acknowledged: bool) -> None:
    for event in events:
        event.message.acked = acknowledged


def _place(error: BaseException) -> str:
    """The innermost line of code, for whoever is paged. The text of the error may hold content."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"
