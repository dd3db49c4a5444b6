"""The portal away for a while, and a storm of refusals: who is not to blame must not suffer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median
from typing import Any

from connectors.one_stop.simulator.journal import Owed
from streams.demo.processes import expectation
from tests.torture import settings as common
from tests.torture.installation import Installation, Load
from tests.torture.said import said
from tests.torture.scenario import Result, Scenario, result
from tests.torture.settings import LEAST_PROGRESS, OUTAGE_SECONDS
from tests.torture.standing import renew_topics
from tests.torture.worker import Worker

_IN_FLIGHT = 16
_EARLY = timedelta(seconds=1)  # the portal's own clock ends the trouble
_FAILURES_IN_ROW = 10
_POISONED_EVERY = 10
_SLOWER = 1.5
"""The median step of the others may take so many times as long as in a day without poison."""
_MOODS_SECONDS = 0.5
"""A median below this is taken for this: what is less is the machine's own."""
_LESS = 0.8
"""So much of the throughput of a day without poison must be left to the others.

A refusal costs no more calls than a delivery, so the others should notice nothing. The two days are played
one after the other, though, and a shared machine is not the same twice. What would hurt the others shows as a
multiple: a circuit that opens for all, or calls in flight that are held by those who are refused.
"""

_BURNT = "select count(*) from attempts where reason = 'connection_refused'"


# --- the portal away -------------------------------------------------------------------------------


async def _away(hub: Installation, trouble: str) -> None:
    """One outage under load: one alert for each process, no burning of attempts, and the backlog drains."""
    await hub.until_progress(LEAST_PROGRESS)
    for name in hub.workers:
        if await hub.until_in_call(name):
            break
    await hub.note(trouble)
    began = datetime.now(UTC)
    await hub.trouble(trouble=trouble, seconds=OUTAGE_SECONDS)
    await asyncio.sleep(OUTAGE_SECONDS)
    ended = datetime.now(UTC)
    opened = {name: _alerts(worker, began, ended) for name, worker in hub.workers.items()}
    if not any(opened.values()):
        hub.findings.append("guard: no circuit opened")
    for name, times in opened.items():
        if times > 1:
            hub.findings.append(f"{name}: {times} alerts for one outage")
    for name, worker in hub.workers.items():
        if opened[name]:
            await hub.until(
                partial(_closed, worker, ended), bool, f"the circuit of {name} closed again"
            )


def _alerts(worker: Worker, began: datetime, ended: datetime) -> int:
    """How often its circuit opened in this time; on a slow machine short calls may time out before."""
    return sum(began <= _at(line) <= ended for line in said(worker.log, "circuit_opened"))


async def _closed(worker: Worker, after: datetime) -> bool:
    return any(_at(line) >= after - _EARLY for line in said(worker.log, "circuit_closed"))


def _at(line: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(line["timestamp"])


async def portal_away(hub: Installation) -> None:
    """Nothing listens: surely nothing was done, so that not one attempt of a call is worth keeping."""
    await _away(hub, "refuse")
    burnt = int((await asyncio.to_thread(hub.view.rows, _BURNT))[0][0])
    most = len(hub.workers) * (_IN_FLIGHT + _FAILURES_IN_ROW)
    if burnt > most:
        hub.findings.append(f"{burnt} attempts were burnt in the outage, not at most {most}")


async def portal_silent(hub: Installation) -> None:
    """It takes connections and answers nothing: the outcome of what was under way is unknown."""
    await _away(hub, "no_answer")


# --- the poison storm ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """How the steps of some dossiers came to the portal. Seconds from the commit; steps a second."""

    steps: int
    latency: float
    rate: float


def flow(
    committed: Mapping[str, Sequence[float]], held: Mapping[str, Mapping[str, Any]]
) -> Flow | None:
    """Of these dossiers: code -> when its owed steps were committed, in order, against the portal's list.

    None where fewer than two steps came.
    """
    took: list[float] = []
    came: list[float] = []
    for code, moments in committed.items():
        listed = held[code]["steps"] if code in held else ()
        for moment, step in zip(moments, listed, strict=False):
            took.append(step["at"] - moment)
            came.append(step["at"])
    if len(came) < 2:
        return None
    begun = min(moment for moments in committed.values() for moment in moments)
    return Flow(
        steps=len(came), latency=median(took), rate=len(came) / max(max(came) - begun, 0.001)
    )


async def _flow(hub: Installation, without: frozenset[str]) -> Flow | None:
    """Of the dossiers of which every step must arrive, but these."""
    expected = await asyncio.to_thread(expectation, hub.journal)
    committed = {
        final.state.code: [
            step.committed_at.timestamp() for step in expected.steps.get(dossier, ())
        ]
        for dossier, final in expected.states.items()
        if final.state.code
        and final.owed is Owed.MUST
        and final.state.code not in without
        and all(step.owed is Owed.MUST for step in expected.steps.get(dossier, ()))
    }
    return flow(
        {code: moments for code, moments in committed.items() if moments}, await hub.portal.held()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Storm:
    """What the day without poison leaves to the other: the codes are the same in both."""

    poisoned: frozenset[str]
    plain: Flow | None


async def without_poison(hub: Installation) -> None:
    """Play the same day on the same servers and measure it, then empty the topics again."""
    assert hub.load is not None
    plain = Installation(
        hub.standing, hub.folder / "plain", load=hub.load, latency_ms=hub.latency_ms
    )
    async with plain:
        await plain.begin()
        await plain.rest()
        finals = (await asyncio.to_thread(expectation, plain.journal)).states.values()
        codes = sorted({final.state.code for final in finals if final.owed is Owed.MUST})
        poisoned = frozenset(codes[::_POISONED_EVERY])
        hub.prepared = _Storm(poisoned=poisoned, plain=await _flow(plain, poisoned))
    await asyncio.to_thread(renew_topics, hub.kafka, common.PARTITIONS)
    for code in sorted(poisoned):
        await hub.portal.post(
            "/_control/faults",
            {"trouble": "business_error", "operation": "*", "dossier": code, "every": 1},
        )
    hub.say(f"{len(poisoned)} of {len(codes)} dossiers are poisoned")


async def poison_storm(hub: Installation) -> Sequence[Result]:
    """One dossier of ten is refused, whatever is sent for it."""
    storm: _Storm = hub.prepared
    await hub.until_progress(LEAST_PROGRESS)
    await hub.rest()
    calls = await hub.portal.calls()
    struck = [call for call in calls if call["trouble"] == "business_error"]
    refused = {code for call in struck for code in call["codes"]}
    states = (await asyncio.to_thread(expectation, hub.journal)).states
    parked = {
        states[dossier].state.code
        for dossier, reasons in (await asyncio.to_thread(hub.view.parked_by_source_id)).items()
        if "rejected_by_target" in reasons
    }
    await hub.note("poison", hit=len(struck))
    found = await result(SCENARIO, hub)
    findings = list(found.findings)
    if len(refused) < 0.9 * len(storm.poisoned):
        findings.append(f"guard: {len(refused)} of {len(storm.poisoned)} dossiers were refused")
    for code in sorted(refused ^ parked)[:12]:
        findings.append(f"{code}: " + ("refused, not parked" if code in refused else "parked"))
    opened = sum(len(said(worker.log, "circuit_opened")) for worker in hub.workers.values())
    if opened:
        findings.append(f"the circuit opened {opened} times: refusals are no trouble of the portal")
    stormy = await _flow(hub, storm.poisoned)
    hub.say(f"the others: {stormy}; without poison: {storm.plain}")
    return [
        replace(
            found,
            faults_injected=len(struck),
            findings=tuple(findings),
            slow=tuple(slower(storm.plain, stormy)),
        )
    ]


def slower(plain: Flow | None, stormy: Flow | None) -> list[str]:
    """What the storm cost the others beyond the bounds."""
    if plain is None or stormy is None:
        return ["guard: too few steps came to compare"]
    found = []
    # Below that the machine's own moods are larger than what is compared.
    if stormy.latency > _SLOWER * max(plain.latency, _MOODS_SECONDS):
        found.append(
            f"the others' median step took {stormy.latency:.1f} s, {plain.latency:.1f} s without poison"
        )
    if stormy.rate < _LESS * plain.rate:
        found.append(
            f"the others had {stormy.rate:.0f} steps a second, {plain.rate:.0f} without poison"
        )
    return found


SCENARIO = Scenario(
    name="poison_storm",
    row="outage",
    about="one dossier of ten is refused by the portal: the others are not slower, exactly these park",
    prepare=without_poison,
    run=poison_storm,
    load=Load(events=1500, rate=60.0),
)

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        name="portal_away",
        row="outage",
        about="the portal takes no connections for 10 s under load, then the backlog drains",
        run=portal_away,
    ),
    Scenario(
        name="portal_silent",
        row="outage",
        about="the portal answers nothing for 10 s under load, then the backlog drains",
        run=portal_silent,
    ),
    SCENARIO,
)
