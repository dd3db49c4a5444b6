"""One schedule: a small world drawn from a seed, the engine's real shell in it, and a judge.

Workers crash, freeze, stop and are doubled at every await of theirs that touches the ledger or the wire;
the target refuses, loses requests and answers, takes effect late, applies half a chunk. Then the troubles
end, the rest is delivered, and the judge looks at what the target holds.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import ModuleType
from typing import TypeVar

from connectors.errors import OutcomeUnknown, RejectedError, TransientError
from connectors.protocols import (
    Abilities,
    Intent,
    Lookup,
    LookupAnswer,
    Receipt,
    StateRequest,
    StepRequest,
    StepsUnknown,
)
from schemas.dossier.mappings import Codes
from schemas.ledger.model import (
    Applied,
    Change,
    DeliveryState,
    Due,
    Enlistment,
    Fence,
    Operation,
    Work,
)
from schemas.reasons import Reason
from schemas.records import DossierEvent, EventKind, Feed, identity_only
from streams.engine import shell as real_shell
from streams.engine.circuit import CircuitOptions
from streams.engine.dispatch import EngineOptions
from tests.simulation.memory_ledger import MemoryLedger
from tests.simulation.target_model import Held, TargetModel
from tests.simulation.virtual_loop import Stuck, VirtualLoop

FLOW, TOPIC, TARGET = "ledger", "dossier.events", "portal"
START = datetime(2026, 11, 23, tzinfo=UTC)
LATE, LAG, SEND_BY = 3.0, 1.0, 0.5  # the demo's proportions, in virtual seconds

REFUSED = "a state that the mapping refuses"

T = TypeVar("T")

_TEMPLATE = identity_only(
    event_id="", dossier_id="", kind=EventKind.CHANGE, source="one_stop", feed=Feed.ACTIONS,
    cursor="", content_hash="", read_seq=0, effective_at=START, recorded_at=START, sealed=b"",
)  # fmt: skip


@dataclass(frozen=True)
class Happened:
    """One event of the world: what the target should come to hold because of it."""

    number: int
    dossier: str
    code: str | None
    version: int
    content: str
    step_key: str | None
    supplement: bool
    born: bool
    gap: bool = False
    retracted: bool = False


class SilentEvents:
    """The engine's reports, unheard."""

    def attempt_ended(self, *_: object) -> None: ...
    def delivered(self, *_: object) -> None: ...
    def parked(self, *_: object) -> None: ...
    def found(self, *_: object) -> None: ...
    def asked(self, *_: object) -> None: ...
    def in_flight(self, *_: object) -> None: ...
    def circuit_changed(self, *_: object) -> None: ...
    def ledger_unavailable(self, *_: object) -> None: ...
    def started(self, *_: object) -> None: ...
    def stopped(self, *_: object) -> None: ...


class Worker:
    """One process: its ledger and its wire pause, freeze and die with it."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.dead = False
        self.frozen_until = 0.0
        self.fences: list[Fence] = []
        self.engine: real_shell.Engine | None = None
        self.task: asyncio.Task[None] | None = None

    async def pause(self) -> None:
        """Every await that touches the world passes here: it may be this process's last."""
        world, rng = self.world, self.world.rng
        loop = world.loop
        if world.over:
            raise asyncio.CancelledError
        if world.chaos and rng.random() < world.crash_rate:
            world.disturb(self)
        while not self.dead and loop.time() < self.frozen_until:
            await asyncio.sleep(self.frozen_until - loop.time())
        if self.dead:
            await loop.create_future()  # this process never runs again
        if rng.random() < 0.3:
            await asyncio.sleep(rng.random() * 0.2)
            if self.dead:
                await loop.create_future()

    async def through(self, call: Callable[[], Awaitable[T]]) -> T:
        """A call to the ledger: it may die before it or after it."""
        await self.pause()
        result = await call()
        await self.pause()
        return result

    # the engine's ledger

    async def now(self) -> float:
        return await self.world.ledger.now()

    async def runnable(
        self, target: str, fences: Sequence[Fence], limit: int, exclude: frozenset[str]
    ) -> Sequence[Work]:
        return await self.through(
            lambda: self.world.ledger.runnable(target, fences, limit, exclude)
        )

    async def reload(self, target: str, dossier_id: str) -> Work:
        return await self.through(lambda: self.world.ledger.reload(target, dossier_id))

    async def commit(self, changes: Sequence[Change]) -> Sequence[Applied]:
        return await self.through(lambda: self.world.ledger.commit(changes))


class Wire:
    """The sink of one worker: maps trivially, calls the model of the target."""

    target = TARGET

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.world = worker.world
        self.abilities = worker.world.model.abilities

    def state_request(self, event: DossierEvent, codes: Codes) -> StateRequest:
        happened = self.world.happened[event.event_id]
        assert happened.code is not None
        if happened.content == REFUSED:
            raise RejectedError(Reason.FIELD_INVALID)
        return StateRequest(
            code=happened.code,
            content_hash=happened.content,
            body={"dossier": happened.dossier, "version": happened.version},
        )

    def step_request(self, event: DossierEvent, codes: Codes) -> StepRequest:
        happened = self.world.happened[event.event_id]
        assert happened.step_key is not None
        return StepRequest(
            key=happened.step_key,
            supplement_request=happened.supplement,
            body={
                "dossier": happened.dossier,
                "version": happened.version,
                "log_pos": happened.number,
            },
        )

    def shown(self, request: StateRequest) -> Mapping[str, str]:
        return {"content": request.content_hash}

    async def create(self, request: StateRequest, intent: Intent) -> Receipt:
        return await self._call("create", request.code, request, intent)

    async def update(self, request: StateRequest, intent: Intent) -> Receipt:
        return await self._call("update", request.code, request, intent)

    async def append_steps(
        self, code: str, steps: Sequence[StepRequest], intent: Intent
    ) -> Receipt:
        return await self._call("steps", code, list(steps), intent)

    async def _call(
        self, kind: str, code: str, body: StateRequest | list[StepRequest], intent: Intent
    ) -> Receipt:
        worker, world, model = self.worker, self.world, self.world.model
        rng = world.rng
        await worker.pause()
        fate = rng.random() if model.troubled else 1.0
        if fate < 0.08:
            raise TransientError(Reason.CONNECTION_REFUSED)
        if fate < 0.11:
            raise TransientError(Reason.SESSION_EXPIRED)
        if intent.expired(world.loop.time()):
            raise TransientError(Reason.NOT_SENT)
        model.calls += 1
        world.written(worker, kind, intent)
        if world.beyond_bound(kind) and model.troubled and rng.random() < 0.35:
            # It comes when nobody expects it any more.
            after = LATE + rng.random() * LATE
            model.later(after, lambda: model.effect(kind, code, body, late=True))
            fate = 0.11
        if fate < 0.18:  # the request is lost on its way
            await worker.pause()
            raise OutcomeUnknown(Reason.TIMEOUT)
        late = model.troubled and rng.random() < 0.25
        delay = rng.random() * (LATE - 0.01 if late else 0.1)
        limit = None
        if isinstance(body, list) and len(body) > 1 and fate < 0.24:
            limit = None if model.abilities.steps_chunk_atomic else rng.randrange(len(body))
        done = model.later(delay, lambda: model.effect(kind, code, body, limit))
        if fate < 0.30:  # the answer is lost, or comes too late
            await asyncio.sleep(rng.random() * delay * 2)
            await worker.pause()
            raise OutcomeUnknown(Reason.CONNECTION_LOST)
        refused = await done
        await worker.pause()
        if refused is Reason.PARTLY_APPLIED:
            raise OutcomeUnknown(Reason.PARTLY_APPLIED)
        if refused is not None:
            raise RejectedError(refused)
        return Receipt()

    async def look_up(self, code: str) -> LookupAnswer:
        await self.worker.pause()
        if self.world.model.troubled and self.world.rng.random() < 0.15:
            raise TransientError(Reason.TIMEOUT)
        said = self.world.model.look_up(code)
        await self.worker.pause()
        return said

    async def probe(self) -> None:
        await self.look_up("probe")

    async def open(self) -> None: ...

    async def close(self) -> None: ...


class World:
    """Everything of one schedule, drawn from `seed`."""

    def __init__(self, seed: int, shell: ModuleType) -> None:
        self.seed = seed
        self.shell = shell
        self.rng = rng = random.Random(seed)
        self.loop = VirtualLoop()
        self.ledger = MemoryLedger(lambda: 1000.0 + self.loop.time(), rng.choice((1, 2, 100)))
        self.chaos = True
        self.over = False
        self.crash_rate = rng.choice((0.0, 0.02, 0.05, 0.1))
        self.late = rng.random() < 0.25
        self.disturbances = 0
        lookup = rng.choice(tuple(Lookup))
        self.abilities = Abilities(
            lookup=lookup,
            lookup_lag=LAG,
            late_effect_bound=LATE,
            steps_dedup=rng.random() < 0.15,
            steps_chunk_max=rng.choice((1, 3, 10)),
            steps_chunk_atomic=rng.random() < 0.5,
            steps_unknown=StepsUnknown.RESEND if rng.random() < 0.25 else StepsUnknown.PARK,
        )
        self.model = TargetModel(rng, self.abilities, self.loop.time)
        self.happened: dict[str, Happened] = {}
        self.order: list[Happened] = []
        self.workers: list[Worker] = []
        self.replacements: list[asyncio.Task[None]] = []
        self.problems: list[str] = []
        self.writes: list[tuple[str, float]] = []
        self._draw_events()
        self.model.covers = self._covers

    def _covers(self, dossier: str, version: int, held: Held) -> bool:
        # An unchanged state is not sent again: its content stands for it.
        return held.version >= version or any(
            h.dossier == dossier and h.version >= version and h.content == held.content
            for h in self.order
        )

    def beyond_bound(self, kind: str) -> bool:
        """Whether a call may take effect later than the target's bound.

        What nobody could find is left out, but for creates: they show at the next create.
        """
        if not self.late:
            return False
        if self.abilities.lookup is Lookup.EXISTENCE:
            return kind == "create"
        return kind != "steps" or self.abilities.lookup is Lookup.STEPS

    # --- what happens --------------------------------------------------------------------------

    def _draw_events(self) -> None:
        rng = self.rng
        dossiers = rng.choice((1, 1, 2))
        self.shared_code = dossiers == 2 and rng.random() < 0.4
        self.code_changes = rng.random() < 0.05
        number = 0
        for d in range(dossiers):
            name = f"d{d}"
            code = "c0" if self.shared_code else f"c{d}"
            born = rng.random() < 0.4
            if born and code not in self.model.held:
                self.model.held[code] = Held(created_at=-100.0, by=None)
            late_code = rng.random() < 0.15
            for i in range(rng.randint(1, 4)):
                version = 10 * i + rng.randint(0, 1) * 5
                key = None
                if rng.random() < 0.75:
                    # the same words in the same second happen: keys need not be unique
                    # (but then nobody can tell a late one from another)
                    key = "same" if not self.late and rng.random() < 0.25 else f"k{number}"
                    if rng.random() < 0.04:
                        key = f"refused{number}"
                        self.model.refused_keys.add(key)
                its_code: str | None = code
                if late_code and i == 0:
                    its_code = None
                elif self.code_changes and i == 3:
                    its_code = code + "x"
                happened = Happened(
                    number=number, dossier=name, code=its_code, version=version,
                    content=rng.choice(("red", "blue", "blue", "green", REFUSED)), step_key=key,
                    supplement=rng.random() < 0.2, born=born,
                    gap=rng.random() < 0.04, retracted=rng.random() < 0.05,
                )  # fmt: skip
                self.happened[f"e{number}"] = happened
                self.order.append(happened)
                number += 1
        if dossiers == 2 and rng.random() < 0.5:
            first = [h for h in self.order if h.dossier == "d0"]
            other = [h for h in self.order if h.dossier == "d1"]
            mixed: list[Happened] = []
            while first or other:
                line = first if not other or (first and rng.random() < 0.5) else other
                mixed.append(line.pop(0))
            self.order = [replace(h, number=n) for n, h in enumerate(mixed)]
            self.happened = {f"e{h.number}": h for h in self.order}

    async def _feed(self) -> None:
        for happened in self.order:
            if self.rng.random() < 0.6:
                await asyncio.sleep(self.rng.random() * 3)
            event = replace(
                _TEMPLATE,
                event_id=f"e{happened.number}",
                dossier_id=happened.dossier,
                dossier_code=happened.code,
                read_seq=happened.version,
                born_on_portal=happened.born,
            )
            dues = [Due(target=TARGET, operation=Operation.STATE)]
            if happened.gap:
                dues = [_due(Operation.STEP, Reason.GAP)]
            elif happened.step_key is not None:
                dues.append(Due(target=TARGET, operation=Operation.STEP))
            if happened.retracted:
                dues.append(_due(Operation.RETRACTION, Reason.DELETED_AT_SOURCE))
            enlistment = Enlistment(
                event=event, payload=event.event_id.encode(), topic=TOPIC, partition=0,
                offset=happened.number, dues=tuple(dues),
            )  # fmt: skip
            await self.ledger.enlist(
                {0: self.ledger.fence(FLOW, TOPIC, 0)},
                {0: happened.number + 1},
                [enlistment],
                {0: happened.number},
            )
            for worker in self.workers:
                if not worker.dead and worker.engine is not None:
                    worker.engine.notify([happened.dossier])

    async def _decode(self, payload: bytes) -> DossierEvent:
        event_id = payload.decode()
        return replace(_TEMPLATE, event_id=event_id, dossier_code=self.happened[event_id].code)

    # --- workers -------------------------------------------------------------------------------

    async def _start_worker(self) -> Worker:
        worker = Worker(self, f"w{len(self.workers)}")
        self.workers.append(worker)
        positions = await self.ledger.take_over(FLOW, TOPIC, None, [0], worker.name)
        worker.fences = [position.fence for position in positions]
        worker.engine = self.shell.Engine(
            sink=Wire(worker),
            ledger=worker,
            decode=self._decode,
            codes=_no_codes,
            fences=lambda: worker.fences,
            clock=self.loop.time,
            seal=lambda plain, _: plain,
            events=SilentEvents(),
            options=EngineOptions(
                in_flight=2,
                window=self.rng.choice((1, 2000)),
                send_by=SEND_BY,
                group_window=self.rng.choice((0.0, 0.01)),
                poll_seconds=3.0,
                backoff_first=0.5,
                backoff_max=4.0,
                circuit=CircuitOptions(failures_in_a_row=4, probe_seconds=1.0, probe_max=2.0),
            ),
            rng=random.Random(self.rng.getrandbits(32)),
        )
        worker.task = asyncio.get_running_loop().create_task(worker.engine.run())
        return worker

    def disturb(self, worker: Worker) -> None:
        """Something bad befalls this worker, at this very await."""
        if self.disturbances >= 4:
            return
        self.disturbances += 1
        kind = self.rng.random()
        if kind < 0.4:
            worker.dead = True
            self._replace_after(self.rng.random() * 2)
        elif kind < 0.7:  # frozen, and mostly another takes over meanwhile
            worker.frozen_until = self.loop.time() + self.rng.random() * 6
            if self.rng.random() < 0.7:
                self._replace_after(self.rng.random() * 3)
        elif kind < 0.85:  # a second owner while the first is alive
            self._replace_after(0.0)
        elif worker.engine is not None:
            worker.engine.stop()
            self._replace_after(self.rng.random())

    def _replace_after(self, pause: float) -> None:
        async def replacement() -> None:
            await asyncio.sleep(pause)
            await self._start_worker()

        self.replacements.append(self.loop.create_task(replacement()))

    def written(self, worker: Worker, kind: str, intent: Intent) -> None:
        """A call reached the wire: there must be a row for it in the ledger."""
        key = self.ledger.attempts.get(intent.attempt_id)
        if key is None:
            self.problems.append(f"{kind} written without an intent")
            return
        ended, found = self.ledger.ended, self.ledger.found(*key)
        for attempt in self.ledger.work(*key).attempts:
            again = attempt.attempt_id == intent.attempt_id and all(
                i in ended for i in attempt.delivery_ids
            )
            if again and all(f.reason is not Reason.LATE_STATE for f in found):
                self.problems.append(f"{kind} of what was delivered, and nothing was found")

    # --- the run -------------------------------------------------------------------------------

    async def play(self) -> None:
        await self._start_worker()
        await self._feed()
        await asyncio.sleep(self.rng.random() * 4)
        self.chaos = False
        self.model.troubled = False
        await asyncio.sleep(3.0)  # whoever was about to be replaced is
        for worker in self.workers:
            if worker.engine is not None:
                worker.engine.stop()
        last = await self._start_worker()
        while not self._quiet():
            await asyncio.sleep(1.0)
            assert last.task is not None
            if last.task.done():
                last.task.result()
                raise AssertionError("the engine ended by itself")
        # Whatever is still under way arrives, whoever froze wakes.
        await asyncio.sleep((2 if self.late else 1) * LATE + 3.0)
        for worker in self.workers:
            if worker.task is not None and not worker.dead and worker.task.done():
                worker.task.result()

    def _quiet(self) -> bool:
        return all(
            not work.attempts and not _next_is_ready(work) and work.dossier.verification is None
            for work in self.ledger.works()
        )

    # --- the judge -----------------------------------------------------------------------------

    def judge(self) -> list[str]:
        """Everything that is wrong, from what the target holds."""
        found = self.problems + self.model.violations + self.ledger.needless
        works = {work.dossier.dossier_id: work for work in self.ledger.works()}
        for dossier, work in works.items():
            found += self._judge_parked(dossier, work)
            found += self._judge_dossier(dossier, work)
            found += self._judge_findings(dossier)
        return found

    def _judge_findings(self, dossier: str) -> list[str]:
        """Every effect that came too late and can be seen is found, once, and nothing else is."""
        found = Counter(f.reason for f in self.ledger.found(TARGET, dossier))
        codes = {h.code for h in self.order if h.dossier == dossier}
        late, wrong = self.model.late, list[str]()
        if found[Reason.LATE_STATE] and not codes & (late.states | late.creates):
            wrong.append(f"{dossier}: an old state found where none came late")
        if found[Reason.LATE_CREATE] and not codes & late.creates:
            wrong.append(f"{dossier}: a create found where none came late")
        if self.abilities.lookup is Lookup.STEPS:
            mine = (h for c, h in self.model.held.items() if c in codes and h.by == dossier)
            there = Counter(pos for held in mine for _, _, pos in held.steps)
            twice = sum(number - 1 for number in there.values())
            if twice != found[Reason.STEP_TWICE]:
                wrong.append(f"{dossier}: {twice} steps too many, {found[Reason.STEP_TWICE]} found")
        return wrong

    def _judge_parked(self, dossier: str, work: Work) -> list[str]:
        allowed = {Reason.GAP}
        if self.shared_code:
            allowed.add(Reason.CODE_CONFLICT)
        if self.code_changes:
            allowed.add(Reason.CODE_CHANGED)
        if any(h.dossier == dossier and h.content == REFUSED for h in self.order):
            allowed.add(Reason.FIELD_INVALID)
        if self.model.refused_keys:
            allowed.add(Reason.REJECTED_BY_TARGET)
        if self.abilities.lookup is not Lookup.STEPS and not self.abilities.steps_dedup:
            allowed.add(Reason.OUTCOME_UNKNOWN)
        return [
            f"{dossier}: parked {row.reason} without need"
            for row in work.rows
            if row.state is DeliveryState.PARKED and row.reason not in allowed
        ]

    def _judge_dossier(self, dossier: str, work: Work) -> list[str]:
        found: list[str] = []
        mine = [h for h in self.order if h.dossier == dossier]
        codes = {h.code for h in mine if h.code}
        held = next((h for c, h in self.model.held.items() if c in codes and h.by == dossier), None)
        there = Counter(pos for _, _, pos in held.steps) if held is not None else Counter()
        open_steps = {r.log_pos for r in work.rows if r.operation is Operation.STEP}
        for happened in mine:
            if happened.step_key is None or happened.gap:
                continue
            listed = there[happened.number]
            if happened.number in open_steps:
                continue  # judged below: it must lie behind something parked
            if not listed:
                found.append(f"{dossier}: step {happened.number} missing, called delivered")
        sound = [h for h in mine if h.code and h.content != REFUSED and not h.gap]
        taken = any(r.reason in (Reason.CODE_CONFLICT, Reason.CODE_CHANGED) for r in work.rows)
        reach = -1 if taken else max((h.version for h in sound), default=-1)
        held_back = False
        for row in work.rows:
            lying = row.state in (DeliveryState.PENDING, DeliveryState.SENDING)
            if row.operation is Operation.STEP:
                held_back = held_back or row.state is DeliveryState.PARKED
                if lying and not held_back and row.version <= reach:
                    found.append(f"{dossier}: step {row.log_pos} left lying")
            elif lying:
                found.append(f"{dossier}: state {row.log_pos} left lying")
        if not taken and sound:
            newest = max(sound, key=lambda h: (h.version, h.number))
            if held is None:
                found.append(f"{dossier}: absent")
            elif held.content != newest.content and not self._unseen(newest.code):
                found.append(f"{dossier}: holds {held.content}, should hold {newest.content}")
        return found

    def _unseen(self, code: str | None) -> bool:
        """Whether an old state may lie here that nobody can see: a late create is all that was asked for."""
        return self.abilities.lookup is Lookup.EXISTENCE and code in self.model.late.creates


def _due(operation: Operation, reason: Reason) -> Due:
    return Due(target=TARGET, operation=operation, state=DeliveryState.PARKED, reason=reason)


def _no_codes() -> Codes:
    return _CODES


_CODES = Codes()


def _next_is_ready(work: Work) -> bool:
    """Whether something of this dossier could still go out."""
    if any(
        r.operation is Operation.STATE and r.state in (DeliveryState.PENDING, DeliveryState.SENDING)
        for r in work.rows
    ):
        return True
    for row in work.rows:
        if row.operation is Operation.STEP:
            return row.state in (DeliveryState.PENDING, DeliveryState.SENDING) and (
                row.version <= work.dossier.delivered_version
            )
    return False


def run_schedule(
    seed: int, shell: ModuleType = real_shell, found: Counter[Reason] | None = None
) -> list[str]:
    """Play one schedule; the list of what is wrong, empty when all is well.

    Late effects that were found are counted into `found`.
    """
    world = World(seed, shell)
    try:
        world.loop.run(world.play(), until=400.0)
    except Stuck as stuck:
        lines = [f"{w.dossier.dossier_id}: {w}" for w in world.ledger.works()]
        return [f"stuck: {stuck}", *lines]
    finally:
        world.over = True
        world.loop.bury()
    if found is not None:
        found.update(f.reason for each in world.ledger.findings.values() for f in each.values())
    return world.judge()
