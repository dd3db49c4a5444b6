"""One row of the torture: what is played, and what came of it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from monitoring.crash_points import CrashPoint
from streams.demo.verdict import Verdict
from tests.torture import settings as common
from tests.torture.evidence import SIGTERM, Fault, parked_codes, recovery
from tests.torture.installation import Guard, Installation, Load
from tests.torture.settings import Scale
from tests.torture.standing import Standing

MUST_BE_ZERO = ("missing", "duplicate_effects", "order_violations", "stale")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one scenario. `as_json` has the fields of the published form.

    `faults_injected` counts every fault, `duplicate_calls` the writes that changed nothing, `undecided`
    the dossiers parked as `outcome_unknown`; `late_effects_found` is a number or `undetectable`;
    `recovery_s` the slowest recovery that was felt at the portal, None where none was measured.
    `worker_deaths`: workers that ended by themselves, but for those at a crash point.
    `findings` are empty for a pass; `slow` is a finding about time only. `measured`: what the row measured
    beside that, and its bounds, in words.
    """

    FIELDS: ClassVar[tuple[str, ...]] = (
        *("scenario", "profile", "events", "faults_injected", "missing", "duplicate_effects"),
        *("order_violations", "stale", "duplicate_calls", "parked", "parked_expected"),
        *("undecided", "late_effects_found", "recovery_s"),
    )

    scenario: str
    profile: str
    events: int = 0
    faults_injected: int = 0
    missing: int = 0
    duplicate_effects: int = 0
    order_violations: int = 0
    stale: int = 0
    duplicate_calls: int = 0
    parked: int = 0
    parked_expected: int = 0
    undecided: int = 0
    late_effects_found: int | str = 0
    recovery_s: float | None = None
    worker_deaths: int = 0
    row: str = ""
    seconds: float = 0.0
    findings: tuple[str, ...] = ()
    slow: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.findings and not self.slow

    def as_json(self) -> dict[str, Any]:
        """The published fields, then the verdict and what it rests on."""
        return {
            **{name: getattr(self, name) for name in self.FIELDS},
            "worker_deaths": self.worker_deaths,
            "verdict": "pass" if self.passed else "fail",
            "row": self.row,
            "seconds": round(self.seconds, 1),
            "findings": [*self.findings, *self.slow],
            "measured": [*self.measured],
        }

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> Result:
        """A result of an earlier run; the oldest counted no deaths and told nothing that was measured."""
        return cls(
            **{name: held[name] for name in cls.FIELDS},
            worker_deaths=held.get("worker_deaths", 0),
            row=held["row"],
            seconds=held["seconds"],
            findings=tuple(held["findings"]),
            measured=tuple(held.get("measured", ())),
        )


Run = Callable[[Installation], Awaitable[Sequence[Result] | None]]
Prepare = Callable[[Installation], Awaitable[None]]


async def _nothing(installation: Installation) -> None:
    """Nothing to prepare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One row, played by `play`.

    `run` injects the faults while the load goes on, and returns when it has done so; the harness then
    waits for rest and judges. A `run` that judges cell by cell returns results of its own instead.
    `prepare` is called before the workers start. `load` None: `run` or `prepare` write for themselves.

    Guards: at least `least_faults` faults, the first of them at `least_progress` or later; at least
    `least_hits` of them struck an attempt under way: about half of those that wait for one, all of those
    at a crash point within a call. `least_crashes` came at crash points. A SIGTERM strikes nothing, for the
    worker hands over, unless `stops_strike` says that this is the row. At least `least_recoveries` faults
    were held against the bound for all dossiers, `least_opened` against that for open attempts.
    `exempt`: counts that need not be 0. `most_deaths`: so many workers may end by themselves so that they are
    started again; none in a row that leaves them what they stand on, see `once_each`.
    """

    name: str
    row: str
    about: str
    run: Run
    prepare: Prepare = _nothing
    profile: str = "steps"
    workers: int = 3
    brokers: int = 1
    load: Load | None = field(default_factory=Load)
    latency_ms: float = 60.0
    settings: Mapping[str, str] = field(default_factory=dict)
    least_faults: int = 1
    least_crashes: int = 0
    least_hits: int = 1
    stops_strike: bool = False
    least_recoveries: int = 0
    least_opened: int = 0
    most_deaths: int = 0
    least_progress: float = common.LEAST_PROGRESS
    exempt: frozenset[str] = frozenset()
    rest_seconds: float = 180.0
    """How long to wait for rest at least; a large day takes longer."""
    core: bool = False
    full: bool = True
    """Whether the full scale changes its load; a scripted row stays as it is."""

    def at(self, scale: Scale) -> Scenario:
        """The scenario at this scale.

        In the core how long a recovery took is judged by nobody, and a machine that others share may starve
        the measuring itself: a dossier that moved late, or before the fault, would fail a merge for nothing.
        Nor does a worker that was starved until it gave itself up, as long as it is no loop.
        """
        scaled = self
        if scale is common.CORE:
            most_deaths = max(self.most_deaths, once_each())
            scaled = replace(self, least_recoveries=0, least_opened=0, most_deaths=most_deaths)
        if self.load is None or not self.full or scale is common.SHORT:
            return scaled
        grown = scale.events / common.SHORT.events
        return replace(scaled, load=replace(self.load, events=round(self.load.events * grown)))


def once_each(faults: int = 1, workers: int = 3) -> int:
    """`most_deaths` of a row whose faults take from so many workers what they stand on.

    A worker without its broker or its ledger may give up and be started anew, once for each fault. Twice is a
    loop: the one that comes up has to wait.
    """
    return faults * workers


async def play(
    scenario: Scenario, standing: Standing, *, keep: Path | None = None
) -> Sequence[Result]:
    """Play one scenario on what stands. Never raises: an unforeseen error fails this row only.

    `keep`: a folder for everything that it leaves behind, logs and truth included.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hub-torture-", ignore_cleanup_errors=True) as made:
        folder = keep / scenario.name if keep is not None else Path(made)
        shutil.rmtree(folder, ignore_errors=True)  # what an earlier run left
        try:
            results = await _play(scenario, standing, folder)
        except Guard as guard:
            results = [_failed(scenario, f"guard: {guard}")]
        except Exception as error:
            results = [_failed(scenario, f"unforeseen: {type(error).__name__}: {error}")]
    seconds = time.monotonic() - began
    return [replace(result, row=scenario.row, seconds=seconds) for result in results]


def _failed(scenario: Scenario, why: str) -> Result:
    return Result(scenario=scenario.name, profile=scenario.profile, findings=(why,))


async def _play(scenario: Scenario, standing: Standing, folder: Path) -> Sequence[Result]:
    async with Installation(
        standing,
        folder,
        profile=scenario.profile,
        workers=scenario.workers,
        brokers=scenario.brokers,
        load=scenario.load,
        latency_ms=scenario.latency_ms,
        settings=scenario.settings,
    ) as installation:
        await scenario.prepare(installation)
        await installation.begin()
        own = await scenario.run(installation)
        if own is not None:
            return own
        await installation.rest(scenario.rest_seconds)
        return [await result(scenario, installation)]


async def result(
    scenario: Scenario, installation: Installation, codes: Collection[str] | None = None
) -> Result:
    """Judge an installation at rest; of these dossiers only, where codes are given (then without guards)."""
    verdict = await installation.verdict(codes)
    summary = await installation.portal.summary()
    events = (await asyncio.to_thread(installation.journal.counts))["events"]
    parked = await asyncio.to_thread(installation.view.parked_by_source_id)
    plain = Result(
        scenario=scenario.name,
        profile=scenario.profile,
        events=events,
        faults_injected=len(installation.faults),
        missing=verdict.missing,
        duplicate_effects=verdict.duplicate_effects,
        order_violations=verdict.order_violations,
        stale=verdict.stale,
        duplicate_calls=summary["duplicate_calls"],
        parked=verdict.parked,
        parked_expected=verdict.parked_expected,
        undecided=sum("outcome_unknown" in reasons for reasons in parked.values()),
        late_effects_found=installation.late_effects_found,
        worker_deaths=deaths(installation),
        findings=tuple(wrong(verdict, scenario.exempt)),
    )
    if codes is not None:
        return plain
    findings = [
        *plain.findings,
        *await of_the_hub(installation, most_deaths=scenario.most_deaths),
        *unguarded(scenario, installation.faults),
    ]
    recovered = await _recovered(installation)
    for what, felt, least in (
        ("recoveries", recovered.plain, scenario.least_recoveries),
        ("recoveries of open attempts", recovered.opened, scenario.least_opened),
    ):
        if len(felt) < least:
            findings.append(f"guard: {len(felt)} {what} were measured, at least {least} are needed")
    return replace(
        plain,
        findings=(*findings, *recovered.never),
        recovery_s=recovered.slowest,
        slow=tuple(recovered.slow),
        measured=tuple(installation.measured),
    )


def deaths(installation: Installation) -> int:
    """How many workers ended by themselves, but for those at a crash point."""
    return sum(not death.crash for death in installation.deaths)


async def of_the_hub(installation: Installation, *, most_deaths: int = 0) -> list[str]:
    """What is wrong whatever the portal holds: a scenario's findings, dead letters, ends of workers."""
    counts = await asyncio.to_thread(installation.view.standing)
    found = [*installation.findings]
    if counts.dead_letters != installation.dead_letters_owed:
        found.append(
            f"{counts.dead_letters} dead letters, {installation.dead_letters_owed} expected"
        )
    for death in installation.deaths:
        # Status 70: it ended itself, so that it may be started again. A crash point kills.
        if not death.crash and death.status != 70:
            found.append(f"{death.worker} ended with {death.status}: {death.said}")
    if (died := deaths(installation)) > most_deaths:
        last = next(death.said for death in reversed(installation.deaths) if not death.crash)
        found.append(f"workers ended by themselves {died} times, not at most {most_deaths}: {last}")
    return found


def wrong(verdict: Verdict, exempt: Collection[str] = ()) -> list[str]:
    """What a verdict finds, one line a count, the first cases behind it."""
    found = []
    counted = (
        *MUST_BE_ZERO,
        *("unexpected", "parked_not_expected", "expected_not_parked"),
    )
    for name in counted:
        number = getattr(verdict, name)
        if number and name not in exempt:
            found.append(f"{name}: {number}")
    if found:
        found += verdict.findings[:12]
    return found


def unguarded(scenario: Scenario, faults: Sequence[Fault]) -> list[str]:
    """Why what was injected proves too little; empty when it is enough."""
    found = []
    if len(faults) < scenario.least_faults:
        found.append(f"guard: {len(faults)} faults, at least {scenario.least_faults} are needed")
    crashes = sum(fault.kind.partition(":")[0] in set(CrashPoint) for fault in faults)
    if crashes < scenario.least_crashes:
        found.append(
            f"guard: {crashes} crash points were reached, {scenario.least_crashes} are needed"
        )
    hits = sum(
        fault.hit > 0 and (scenario.stops_strike or fault.kind != SIGTERM) for fault in faults
    )
    if hits < scenario.least_hits:
        found.append(
            f"guard: {hits} faults struck an open attempt, at least {scenario.least_hits} are needed"
        )
    if faults and scenario.least_progress and faults[0].progress < scenario.least_progress:
        found.append(
            f"guard: the first fault came at {faults[0].progress:.0%} progress, "
            f"{scenario.least_progress:.0%} are needed"
        )
    return found


def disturbed(fault: Fault, faults: Sequence[Fault], seconds: float) -> bool:
    """Whether another worker was struck before the time was over: the dossiers may have been its by then."""
    return any(other.worker and fault.at < other.at <= fault.at + seconds for other in faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recovered:
    """Recoveries that were held against a bound, in seconds; what never recovered, what did so too late."""

    plain: list[float] = field(default_factory=list)
    opened: list[float] = field(default_factory=list)
    never: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)

    @property
    def slowest(self) -> float | None:
        both = [*self.plain, *self.opened]
        return round(max(both), 1) if both else None


async def _recovered(installation: Installation) -> _Recovered:
    found = _Recovered()
    measured = [fault for fault in installation.faults if fault.measured and fault.worker]
    if not measured:
        return found
    calls = await installation.portal.calls()
    parked = await asyncio.to_thread(parked_codes, installation.view)
    for fault in measured:
        felt = recovery(fault, calls, parked)
        found.never.extend(
            f"{fault.kind} of {fault.worker}: {code} never moved again"
            for code in sorted(felt.never)[:3]
        )
        for name, took, most, held in (
            ("nine of ten of its dossiers", felt.plain, common.RECOVERY_SECONDS, found.plain),
            (
                "dossiers with an open attempt",
                felt.opened,
                common.RECOVERY_OPEN_SECONDS,
                found.opened,
            ),
        ):
            if took is None or disturbed(fault, installation.faults, most):
                continue
            held.append(took)
            if took > most:
                found.slow.append(
                    f"{fault.kind} of {fault.worker}: {name} moved after {took:.1f} s, "
                    f"not within {most:.1f} s"
                )
    return found
