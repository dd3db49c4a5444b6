"""One installation of the hub under fire: empty topics, a fresh ledger, both simulators, N workers.

Everything that a scenario does goes through `Installation`; README.md shows how.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp
import psycopg
from sqlalchemy.exc import SQLAlchemyError

from connectors.one_stop.simulator.journal import Journal
from schemas.ledger.migrate import upgrade
from schemas.sealing import new_key
from streams.demo.hub_view import HubView
from streams.demo.hub_view import Standing as Counts
from streams.demo.processes import (
    PortalControl,
    end,
    environment,
    expectation,
    last_line,
    portal_settings,
    start_simulator,
)
from streams.demo.verdict import Expectation, Struck, Verdict, judge
from tests.services.kafka import KafkaCluster
from tests.torture import settings as common
from tests.torture.evidence import SIGKILL, SIGTERM, Fault, in_hand, open_attempts
from tests.torture.load import Load as Load  # scenarios take it from here
from tests.torture.load import OneStop, written_so_far
from tests.torture.standing import Standing, renew_topics
from tests.torture.worker import Death, Worker

T = TypeVar("T")

_LOOK_SECONDS = 0.5
_RESTART_SECONDS = 0.5
_MOST_DEATHS = 40
_IN_CALL_SECONDS = 10.0
_PROGRESS_SECONDS = 120.0
_AHEAD = 0.1
_RUNNABLE = "select 1 from dossier_target where runnable or wake_at is not null limit 1"
_TAKEN = "select sum(next_offset) from positions where flow = 'ledger' and owner like :owner"
_SIPS = 15
_SIP_SECONDS = 10.0
_SETTLE_SECONDS = 3.0
_QUIET_SECONDS = 18.0
"""Longer than every wait of the hub's: only then is a hub that does nothing at rest."""


class Guard(AssertionError):
    """What was to be tortured did not suffer: the scenario proves nothing."""


class Installation:
    """Use as a context. `load` None: the scenario writes to `one_stop_url` and `journal_path` itself.

    Public attributes may be changed in a scenario's `prepare`, before the workers start.
    """

    def __init__(
        self,
        standing: Standing,
        folder: Path,
        *,
        profile: str = "steps",
        workers: int = 3,
        brokers: int = 1,
        load: Load | None = None,
        latency_ms: float = 60.0,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.standing = standing
        self.folder = folder
        self.profile = profile
        self.load = load
        self.brokers = brokers
        self.latency_ms = latency_ms
        self.settings: dict[str, str] = {**common.HUB, **(settings or {})}
        self.workers = {
            name: Worker(name, folder / f"{name}.log")
            for name in (f"w{number}" for number in range(1, workers + 1))
        }
        self.faults: list[Fault] = []
        self.deaths: list[Death] = []
        self.findings: list[str] = []
        """What a scenario itself found to be wrong; any of them fails it."""
        self.measured: list[str] = []
        """What a scenario measured beside the counts, in words; told with its result."""
        self.late_effects_found: int | str = 0
        self.prepared: Any = None
        """What a scenario's `prepare` leaves to its `run`."""
        self.dead_letters_owed = 0
        """How many records the scenario wrote that nobody can understand."""
        self.struck: set[str] = set()
        """Codes of dossiers whose steps may rightly be parked as `outcome_unknown`, see `note`."""
        self.database = ""
        self.ledger_url = ""
        self.portal_url = ""
        self.measure: Callable[[], Awaitable[float]] | None = None
        """How far a scenario's own load has come, 0 to 1, where it writes no dossiers."""
        self.restarts_dead = True
        """Whether a worker that died by itself is started again, as a supervisor would."""
        self._portal: PortalControl | None = None
        self._http: aiohttp.ClientSession | None = None
        self._one_stop: OneStop | None = None
        self._environment: dict[str, str] = {}
        self._view: HubView | None = None
        self._stack = AsyncExitStack()
        self._watcher: asyncio.Task[None] | None = None
        self._restarts: set[asyncio.Task[None]] = set()
        self._share = self._next_share = 1.0

    # --- what there is -----------------------------------------------------------------------------

    @property
    def kafka(self) -> KafkaCluster:
        return self.standing.kafka(self.brokers)

    @property
    def portal(self) -> PortalControl:
        """The portal's control API and truth."""
        assert self._portal is not None
        return self._portal

    @property
    def http(self) -> aiohttp.ClientSession:
        assert self._http is not None
        return self._http

    @property
    def view(self) -> HubView:
        """The ledger, to look into; blocks, so use `asyncio.to_thread`."""
        assert self._view is not None
        return self._view

    @property
    def one_stop_url(self) -> str:
        return f"sqlite:///{self.folder / 'onestop.db'}"

    @property
    def journal_path(self) -> Path:
        return self.folder / "journal.db"

    @property
    def journal(self) -> Journal:
        return Journal(self.journal_path)

    @property
    def writing(self) -> bool:
        """Whether the one-stop simulator still writes."""
        return self._one_stop is not None and self._one_stop.writing

    @property
    def events_planned(self) -> int:
        """How many writes the whole day has; 0 where the scenario writes for itself."""
        return self._one_stop.planned if self._one_stop is not None else 0

    # --- beginning and end -------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        background = [*self._restarts]
        background += [self._watcher] if self._watcher is not None else []
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await asyncio.gather(*(worker.end() for worker in self.workers.values()))
        await self._stack.aclose()
        if self.database:
            with suppress(psycopg.Error):  # a scenario may have left the server in pieces
                await asyncio.to_thread(self._drop_database)

    def _drop_database(self) -> None:
        with self.standing.postgres().connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{self.database}" WITH (FORCE)')

    async def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._http = await self._stack.enter_async_context(aiohttp.ClientSession())
        kafka = await asyncio.to_thread(self.standing.kafka, self.brokers)
        postgres = await asyncio.to_thread(self.standing.postgres)
        number = self.standing.number()
        self.database = f"torture_{number}"
        plain = await asyncio.to_thread(postgres.create_database, self.database)
        self.ledger_url = plain.replace("postgresql://", "postgresql+psycopg://", 1)
        begun = await asyncio.gather(
            asyncio.to_thread(renew_topics, kafka, common.PARTITIONS),
            asyncio.to_thread(upgrade, self.ledger_url),
            self._start_portal(),
            self._start_one_stop(),
            return_exceptions=True,  # a simulator that came up must be known before it is ended
        )
        for failure in filter(None, begun):
            raise failure
        if self.load is not None:
            await self.portal.bear(self.journal)
        self.settings |= {
            "KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap,
            "KAFKA__GROUP_PREFIX": f"torture-{number}",
            "LEDGER_URL": self.ledger_url,
            "MASTER_KEY": new_key(),
            "HASH_KEY": new_key(),
            "ONE_STOP__URL": self.one_stop_url,
            "NATIONAL_PORTAL__ABILITIES__LOOKUP": self.profile,
            **portal_settings(self.portal_url),
        }
        self._view = HubView(self.ledger_url)

    async def open(self, context: AbstractContextManager[T]) -> T:
        """Enter something that blocks and must live until the workers have ended: a proxy, a registry."""
        return await asyncio.to_thread(self._stack.enter_context, context)

    async def simulator(self, module: str, name: str, *arguments: str) -> Mapping[str, Any]:
        """Start another outside system, which lives until the workers have ended. Its line when ready."""
        process, ready = await start_simulator(
            module,
            *("--port", "0", "--control-port", "0", "--db", str(self.folder / f"{name}.db")),
            *arguments,
            log=self.folder / f"{name}.log",
        )
        self._stack.push_async_callback(end, process)
        return ready

    async def _start_portal(self) -> None:
        process, ready = await start_simulator(
            "connectors.national_portal.simulator",
            *("--port", "0", "--control-port", "0", "--db", str(self.folder / "portal.db")),
            *("--profile", self.profile),
            log=self.folder / "portal.log",
        )
        self._stack.push_async_callback(end, process)
        self.portal_url = ready["url"]
        self._portal = PortalControl(self.http, ready["control_url"])
        await self.portal.post("/_control/profile", {"latency_ms": self.latency_ms})

    async def _start_one_stop(self) -> None:
        if self.load is not None:
            self._one_stop = OneStop(self.load, self.one_stop_url, self.journal_path)
            self._stack.push_async_callback(self._one_stop.end)
            await self._one_stop.start(self.folder / "one_stop.log")

    async def begin(self, *names: str) -> None:
        """Start these workers (all, if none is named), wait until they are ready, let the writing begin."""
        self._environment = environment(self.settings)
        await self.start(*(names or self.workers))
        self._watcher = asyncio.create_task(self._watch())
        await asyncio.gather(
            *(self.workers[name].ready(self.http) for name in names or self.workers)
        )
        self.write()

    def write(self) -> None:
        """Let the one-stop simulator begin."""
        self.say("the one-stop simulator begins")
        if self._one_stop is not None:
            self._one_stop.begin()

    def use_ledger(self, url: str) -> None:
        """Let the workers and the harness use this (migrated) ledger; to be called in `prepare`."""
        self.ledger_url = self.settings["LEDGER_URL"] = url
        self._view = HubView(url)

    def at_end(self, action: Callable[[], None]) -> None:
        """Do this when the workers are gone, whatever became of the scenario; the latest comes first."""
        self._stack.push_async_callback(asyncio.to_thread, action)

    def close_at_end(self, close: Callable[[], Awaitable[None]]) -> None:
        """The same for what does not block."""
        self._stack.push_async_callback(close)

    def say(self, text: str) -> None:
        """A line of the scenario's own log, for whoever keeps the folder."""
        moment = datetime.now(UTC).strftime("%H:%M:%S.%f")[:-3]
        with (self.folder / "harness.log").open("a", encoding="utf-8") as out:
            out.write(f"{moment} {text}\n")

    # --- the workers -------------------------------------------------------------------------------

    async def start(self, *names: str, crash: str = "") -> None:
        """Start these workers; `crash` is the text of the crash variable, see `monitoring.crash_points`."""
        for name in names:
            self.say(f"start {name} {crash}")
            self.workers[name].crash = crash
            await self.workers[name].start(self._environment)

    async def ready(self, *names: str) -> None:
        """Until these workers say that all their parts are at work."""
        await asyncio.gather(*(self.workers[name].ready(self.http) for name in names))
        self.say(f"ready {', '.join(names)}")

    async def started(self, *names: str) -> None:
        """Until these workers are ready, or have come to their crash point before that."""
        await asyncio.gather(
            *(self.workers[name].ready(self.http, or_ended=True) for name in names)
        )

    async def kill(self, name: str, *, in_call: bool = True, measured: bool = True) -> Fault:
        """SIGKILL. `in_call`: wait (bounded) until the worker has an open attempt, so that it hurts."""
        worker, progress = self.workers[name], await self.progress()
        if in_call:
            await self._freeze_in_call(worker, busy=measured)
        pid = worker.pid
        await worker.kill()
        return await self._note_worker(SIGKILL, name, pid, progress, measured=measured)

    async def freeze(self, name: str, *, in_call: bool = True, measured: bool = True) -> Fault:
        """SIGSTOP; `wake` it yourself."""
        worker, progress = self.workers[name], await self.progress()
        if in_call:
            await self._freeze_in_call(worker, busy=measured)
        worker.freeze()
        return await self._note_worker("SIGSTOP", name, worker.pid, progress, measured=measured)

    async def _freeze_in_call(self, worker: Worker, *, busy: bool) -> None:
        """Leave it frozen with an open attempt, or running when it does not come to one in time.

        `busy`: in the first half of the time only with other dossiers in hand too, so that the recovery of
        both can be measured. Looking takes longer than a call, so it is frozen first, and woken again if it
        had not what is asked for.
        """
        now = time.monotonic()
        finish, choosy = now + _IN_CALL_SECONDS, now + _IN_CALL_SECONDS / 2
        while time.monotonic() < finish and await self.until_in_call(worker.name):
            worker.freeze()
            found = await asyncio.to_thread(in_hand, self.view, worker.pid)
            enough = not busy or time.monotonic() > choosy or found["busy"] - found["open_codes"]
            if found["hit"] and enough:
                return
            worker.wake()

    async def froze(self, name: str, seconds: float = 90.0) -> Fault:
        """Until the worker has frozen itself at a crash point (`…=stop`). Raises `Guard` if it never does."""
        worker = self.workers[name]
        progress = await self.progress()
        if not await worker.froze(seconds):
            raise Guard(f"{name} never came to {worker.crash}")
        return await self._note_worker(worker.crash, name, worker.pid, progress)

    def wake(self, name: str) -> None:
        """SIGCONT."""
        self.workers[name].wake()

    async def stop(self, name: str, *, fault: bool = True) -> int:
        """SIGTERM; returns the exit status. `fault` False: it only makes room, and is not noted."""
        worker = self.workers[name]
        if not fault:
            self.say(f"stop {name}")
            return await worker.stop()
        progress, at = await self.progress(), time.time()
        found = await asyncio.to_thread(in_hand, self.view, worker.pid)
        found["open_codes"] = frozenset()  # it settles them itself, and nobody has to ask
        status = await worker.stop()
        self._keep(Fault(kind=SIGTERM, worker=name, at=at, progress=progress, **found))
        return status

    async def until_in_call(self, name: str, seconds: float = _IN_CALL_SECONDS) -> bool:
        """Until the worker has an open attempt; False when it has none for so long, or all is done."""
        worker, finish = self.workers[name], time.monotonic() + seconds
        while time.monotonic() < finish and await self._busy():
            if worker.running:
                found = await asyncio.to_thread(open_attempts, self.view, worker.pid)
                if found:
                    return True
            await asyncio.sleep(0.02)
        return False

    async def _busy(self) -> bool:
        """Whether anybody has anything to do, or soon will."""
        if self.writing or self.load is None:
            return True
        return bool(await asyncio.to_thread(self.view.rows, _RUNNABLE))

    async def _note_worker(
        self, kind: str, name: str, pid: int, progress: float, *, measured: bool = True
    ) -> Fault:
        at = time.time()
        found = await asyncio.to_thread(in_hand, self.view, pid)
        fault = Fault(kind=kind, worker=name, at=at, progress=progress, measured=measured, **found)
        self._keep(fault)
        self.struck |= fault.open_steps
        return fault

    async def _watch(self) -> None:
        """Start again what died by itself, and write down how it died."""
        while True:
            await asyncio.sleep(0.1)
            for worker in self.workers.values():
                if not worker.wanted or worker.running:
                    continue
                await self._died(worker)

    async def _died(self, worker: Worker) -> None:
        at, crash, status = time.time(), worker.crash, worker.status or 0
        worker.wanted, worker.crash = False, ""
        worker.comes_back = self.restarts_dead  # who stops it from now on decides otherwise
        self.say(f"{worker.name} ended by itself with {status} {crash}")
        self.deaths.append(
            Death(worker=worker.name, status=status, at=at, crash=crash, said=last_line(worker.log))
        )
        if crash:
            with suppress(SQLAlchemyError):
                await self._note_worker(crash, worker.name, worker.pid, await self.progress())
        if worker.comes_back:
            restart = asyncio.create_task(self._restart(worker))
            self._restarts.add(restart)
            restart.add_done_callback(self._restarts.discard)

    async def _restart(self, worker: Worker) -> None:
        await asyncio.sleep(_RESTART_SECONDS)
        if await worker.start_again(self._environment):
            self.say(f"{worker.name} is started again")

    # --- other faults ------------------------------------------------------------------------------

    async def note(
        self,
        kind: str,
        *,
        worker: str = "",
        hit: int | None = None,
        codes: Collection[str] = (),
    ) -> Fault:
        """Write down a fault of another kind: a broker, the ledger, the portal. Call it just before.

        `worker`: the only one that it strikes; `hit`: how many open attempts it strikes (None: all that are
        open now); `codes`: dossiers whose steps may rightly be parked as `outcome_unknown` because of it.
        """
        progress = await self.progress()
        fault = Fault(kind=kind, worker=worker, at=time.time(), progress=progress, measured=False)
        if hit is None:
            pid = self.workers[worker].pid if worker else None
            found = await asyncio.to_thread(in_hand, self.view, pid)
            fault = replace(fault, **found)
            self.struck |= fault.open_steps
        else:
            fault = replace(fault, hit=hit)
        self.struck.update(codes)
        self._keep(fault)
        return fault

    def _keep(self, fault: Fault) -> None:
        self.faults.append(fault)
        self.say(
            f"{fault.kind} {fault.worker}: progress {fault.progress:.0%}, "
            f"{len(fault.partitions)} partitions, {fault.hit} open attempts"
        )

    async def trouble(self, **rule: Any) -> None:
        """Arm a trouble of the portal, see connectors/national_portal/simulator/README.md."""
        self.say(f"trouble {rule}")
        await self.portal.post("/_control/faults", rule)

    # --- the load ------------------------------------------------------------------------------------

    def allow(self, share: float) -> None:
        """Let the one-stop system write up to this share of the day; 1 for all of it.

        So that every fault of a row meets work, however long the workers take to start again.
        """
        self._share = share
        if self._one_stop is not None:
            self._one_stop.allowed = share
        self.say(f"{share:.0%} of the day may be written")

    async def portions(self, faults: int, *, by_hand: bool = False) -> AsyncIterator[int]:
        """A fresh portion of the day before each of so many faults; the first when 20 % is delivered.

        `by_hand`: the portion comes when the scenario calls `portion`.
        """
        first = common.LEAST_PROGRESS + _AHEAD
        self.allow(first)
        # How much will be owed is an estimate, which moves a little until the fault comes.
        await self.until_progress(common.LEAST_PROGRESS + _AHEAD / 2)
        for number in range(faults):
            self._next_share = first + (1 - first) * (number + 1) / faults
            if not by_hand:
                self.portion()
            yield number

    def portion(self) -> None:
        """Let the portion of this fault be written."""
        self.allow(self._next_share)

    async def sip_until(
        self, ask: Callable[[], Any], what: str, *names: str, seconds: float = 180.0
    ) -> None:
        """Let the portion of this fault be written in sips until the answer is true, as `until` does.

        A sip waits until these workers have taken of the one before into the ledger: what is written at once
        may reach a worker as one batch, and a batch passes a crash point once. What the others take says
        nothing: a worker that has just started may lag behind them. `seconds`: longer than all sips wait.
        """
        share, sip = self._share, (self._next_share - self._share) / _SIPS
        taken: list[Any] | None = None
        since = 0.0

        async def asked() -> Any:
            nonlocal share, taken, since
            answer, now = await ask(), time.monotonic()
            position = [await asyncio.to_thread(self._taken, name) for name in names]
            if not answer and (position != taken or now > since + _SIP_SECONDS):
                taken, since = position, now
                share = min(share + sip, self._next_share)
                self.allow(share)
            return answer

        await self.until(asked, bool, what, seconds)

    def _taken(self, name: str) -> Any:
        """How much this worker's partitions have brought to the ledger; blocks."""
        [(position,)] = self.view.rows(_TAKEN, owner=f"%:{self.workers[name].pid}:%")
        return position

    # --- how far -----------------------------------------------------------------------------------

    async def progress(self) -> float:
        """The share of the steps that will be owed which the portal holds by now, about; 0 to 1."""
        if self.measure is not None:
            return await self.measure()
        written, actions = await asyncio.to_thread(written_so_far, self.journal_path)
        if not written:
            return 0.0
        planned = actions * max(self.events_planned, written) / written
        held: int = (await self.portal.summary())["steps"]
        return min(1.0, held / max(planned, 1.0))

    def patience(self, least: float, share: float = 1.0) -> float:
        """Seconds to wait for what depends on how much is written, see `Load.patience`."""
        return self.load.patience(least, share) if self.load is not None else least

    async def until_progress(self, share: float) -> None:
        """Until the portal holds this share. Raises `Guard` when it does not come to that."""
        seconds = self.patience(_PROGRESS_SECONDS, share)
        await self.until(
            lambda: self.progress(), lambda now: now >= share, f"{share:.0%} progress", seconds
        )

    async def until(
        self,
        ask: Callable[[], Any],
        enough: Callable[[Any], bool],
        what: str,
        seconds: float = 60.0,
    ) -> Any:
        """Ask (an async function) until the answer is enough. Raises `Guard` after so many seconds."""
        finish = time.monotonic() + seconds
        while True:
            answer = await ask()
            if enough(answer):
                return answer
            if len(self.deaths) > _MOST_DEATHS:
                raise Guard(f"the workers die again and again: {self.deaths[-1].said}")
            if time.monotonic() > finish:
                raise Guard(f"it did not come to {what} within {seconds:.0f} s: {answer}")
            await asyncio.sleep(_LOOK_SECONDS)

    async def standing_of_hub(self) -> Counts | None:
        """The ledger's counts; None while it does not answer."""
        try:
            return await asyncio.to_thread(self.view.standing)
        except SQLAlchemyError:
            return None

    async def rest(self, least: float = 180.0) -> None:
        """Until nothing moves and nothing is open but what is parked, or the time is over.

        A clean verdict ends it when nothing has moved for 3 s; any other is believed after 18 s. The time is
        `least` seconds and what a day of this size may take.
        """
        seconds = self.patience(least)
        self.allow(1.0)
        for worker in self.workers.values():
            if worker.running and not worker.frozen:
                await worker.ready(self.http)  # one that still starts has not done its share
        self.say(f"waiting for rest, progress {await self.progress():.0%}")
        finish = time.monotonic() + seconds
        before: tuple[Any, ...] | None = None
        since = judged = time.monotonic()
        while time.monotonic() < finish:
            await asyncio.sleep(_LOOK_SECONDS)
            counts = await self.standing_of_hub()
            now = (counts, await self.portal.summary())
            moving = counts is None or counts.under_way or self.writing or now != before
            before = now
            if moving:
                since = judged = time.monotonic()
                continue
            quiet = time.monotonic() - since
            if quiet >= _QUIET_SECONDS:
                self.say("at rest, and not clean")
                return
            if time.monotonic() - judged >= _SETTLE_SECONDS:
                judged = time.monotonic()
                if (await self.verdict()).clean:
                    self.say("at rest, and clean")
                    return
        self.findings.append(f"no rest within {seconds:.0f} s")

    # --- the verdict -------------------------------------------------------------------------------

    async def verdict(self, codes: Collection[str] | None = None) -> Verdict:
        """The journal against the portal's truth; of these dossiers only, where codes are given."""
        expected = await asyncio.to_thread(expectation, self.journal)
        held = await self.portal.held()
        parked = await asyncio.to_thread(self.view.parked_by_source_id)
        struck = Struck.by(await self.portal.calls(), lists_steps=self.profile == "steps")
        if self.profile != "steps":
            struck = replace(struck, ambiguous=struck.ambiguous | self.struck)
        if codes is not None:
            chosen = {d for d, final in expected.states.items() if final.state.code in codes}
            expected = only(expected, chosen)
            held = {code: one for code, one in held.items() if code in codes}
            parked = {d: reasons for d, reasons in parked.items() if d in chosen}
        return await asyncio.to_thread(judge, expected, held, parked, struck)


def only(expected: Expectation, dossiers: Collection[int]) -> Expectation:
    """The part of the expectation that is about these dossiers."""
    return Expectation(
        entries=[entry for entry in expected.entries if entry.dossier in dossiers],
        states={d: state for d, state in expected.states.items() if d in dossiers},
        steps={d: steps for d, steps in expected.steps.items() if d in dossiers},
        parked=[one for one in expected.parked if any(d in dossiers for d in one.dossiers)],
    )
