"""A longer time under regular kills: what a worker takes of the machine must not grow."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from sqlite3 import connect

from confluent_kafka import Consumer, TopicPartition

from schemas.topics import DOSSIER_EVENTS, ONESTOP_NOTICES
from tests.torture import settings as common
from tests.torture.installation import Guard, Installation, Load
from tests.torture.memory import Sample, peak_mib, trends, watch
from tests.torture.scenario import Result, Scenario, result
from tests.torture.settings import Scale
from tests.torture.worker import Worker

# --- the soak --------------------------------------------------------------------------------------

_RATE = 50.0
_KILL_EVERY = 20.0
_UNDISTURBED = 2.0
"""So long all of them work at least before the next kill."""
_SAMPLE_SECONDS = 0.5
_WARM = 1 / 3
"""Of the soak: imports, caches, connection pools and the first work fill up, which is no leak."""
_MOST_GROWTH = 0.10
"""The line through memory may rise by a tenth of its level over all that is observed, so an hour allows
0.25 % a minute and the short form 15 %.

A worker that keeps what it has handled grows by far more: the soak hands it some thousand events of 4 KB
a minute. Less than a tenth cannot be told from one that has taken over a dead worker's partitions.
"""
_MOST_SOCKETS_GROWTH = 0.25
"""The same of sockets and handles: they are a few dozen, and calls come and go between two looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak(Scenario):
    """Its length is the scale's, not its number of events."""

    def at(self, scale: Scale) -> Soak:
        load = Load(events=round(scale.soak_seconds * _RATE), rate=_RATE)
        least = max(1, _kills(load.seconds) // 3)  # a slow machine leaves kills out
        return replace(self, load=load, least_faults=least, least_hits=max(1, least // 2))


def _kills(seconds: float) -> int:
    """How many kills a soak of this length plans."""
    return max(1, round(seconds / _KILL_EVERY) - 1)


def next_kill(seconds: float, ready_at: float) -> float | None:
    """When the next kill of a soak of this length is due; seconds since its beginning, as `ready_at` is.

    Those for which it is too late are left out and not made up for. None: there is none left.
    """
    every = seconds / (_kills(seconds) + 1)
    due = every * max(1, math.ceil((ready_at + _UNDISTURBED) / every))
    return due if due < seconds else None


async def soak(hub: Installation) -> None:
    """Kill every worker but the last in turn; the last one lives from beginning to end and is watched."""
    assert hub.load is not None
    *mortal, watched = hub.workers
    samples: list[Sample] = []
    watcher = asyncio.create_task(watch(lambda: hub.workers[watched].pid, _SAMPLE_SECONDS, samples))
    began = time.monotonic()
    try:
        await hub.until_progress(common.LEAST_PROGRESS)
        for name in itertools.cycle(mortal):
            now = time.monotonic() - began
            due = next_kill(hub.load.seconds, now)
            if due is None:
                break
            await asyncio.sleep(due - now)
            await hub.kill(name)
            await hub.start(name)
            await hub.ready(name)
        await asyncio.sleep(max(0.0, began + hub.load.seconds - time.monotonic()))
    finally:
        watcher.cancel()
    if hub.workers[watched].starts > 1:
        hub.findings.append(f"{watched} died, so nothing is known of its memory")
        return
    hub.findings += grown(samples, say=hub.measured.append)


def grown(samples: Sequence[Sample], say: Callable[[str], None] = lambda _: None) -> list[str]:
    """What grew beyond the bounds after the warm-up."""
    first, last = samples[0].at, samples[-1].at
    warm = [one for one in samples if one.at >= first + _WARM * (last - first)]
    minutes = (warm[-1].at - warm[0].at) / 60
    found = []
    for name, seen in trends(warm).items():
        most = (_MOST_GROWTH if name == "resident_mib" else _MOST_SOCKETS_GROWTH) / minutes
        line = (
            f"{name}: {seen.level:.0f}, growing by {seen.growth:+.1%} a minute over "
            f"{60 * minutes:.0f} s, bound {most:.1%}"
        )
        say(line)
        if seen.growth > most:
            found.append(line)
    return found


# --- memory and backlog ----------------------------------------------------------------------------

_SMALLEST = 200
_SIZES = {
    common.CORE.name: (_SMALLEST, 10 * _SMALLEST),
    common.SHORT.name: (_SMALLEST, 10 * _SMALLEST, 100 * _SMALLEST),
    common.FULL.name: (_SMALLEST, 10 * _SMALLEST, 100 * _SMALLEST),
}
"""Events in Kafka before the measured worker starts."""
_MOST_RATIO = 1.25
"""The smallest backlog does not fill a batch, nor the engine's window; every larger one does."""
_WRITING_RATE = 400.0
_DRAIN_SECONDS = 60.0
_QUIET_SECONDS = 4.0

_ENLISTED = (
    "select coalesce(sum(next_offset), 0) from positions where flow = :flow and topic = :topic"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlogs(Scenario):
    """One day in portions; its size is a hundredfold of the smallest portion at the full scale."""

    def at(self, scale: Scale) -> Backlogs:
        return replace(self, load=Load(events=sum(_SIZES[scale.name]), rate=_WRITING_RATE))


def _sizes(events: int) -> tuple[int, ...]:
    return next(sizes for sizes in _SIZES.values() if sum(sizes) == events)


async def fill_only(hub: Installation) -> None:
    """The worker that the harness starts brings events to Kafka, and no further."""
    assert hub.load is not None
    hub.workers["w1"].parts = ("capture", "intake")
    hub.allow(_SMALLEST / hub.load.events)


async def memory_by_backlog(hub: Installation) -> Sequence[Result]:
    """Let each backlog grow with the portal closed, then measure a whole worker that starts on it."""
    assert hub.load is not None
    peaks: dict[int, float] = {}
    written = 0
    for size in _sizes(hub.load.events):
        written += size
        hub.allow(written / hub.load.events)
        filler = hub.workers["w1"]
        if not filler.running:
            await hub.start("w1")
            await hub.ready("w1")
        waiting = await _filled(hub, written / hub.load.events)
        await hub.stop("w1", fault=False)
        await hub.trouble(trouble="refuse", seconds=3600)
        peaks[size] = await _peak(hub, f"m{size}")
        hub.say(f"{waiting} events waited: {peaks[size]:.0f} MiB at most")
    smallest = peaks[_SMALLEST]
    told = ", ".join(f"{size} events {peak:.0f} MiB" for size, peak in peaks.items())
    hub.measured.append(f"at most {_MOST_RATIO:g} times {_SMALLEST}: {told}")
    findings = [
        f"a backlog of {size} needs {peak / smallest:.2f} times the memory of {_SMALLEST}: {told}"
        for size, peak in peaks.items()
        if peak > _MOST_RATIO * smallest
    ]
    judged = await result(BACKLOGS, hub)
    return [replace(judged, findings=(*judged.findings, *findings))]


async def _filled(hub: Installation, share: float) -> int:
    """Until the portion is written, captured and understood; returns how many events wait on Kafka."""
    since, before = time.monotonic(), -1

    async def rests() -> bool:
        nonlocal since, before
        now = await asyncio.to_thread(_ends, hub, DOSSIER_EVENTS.name)
        if now != before:
            since, before = time.monotonic(), now
        written = await asyncio.to_thread(_commits, hub)
        notices = await asyncio.to_thread(_ends, hub, ONESTOP_NOTICES.name)
        understood = await _position(hub, "intake", ONESTOP_NOTICES.name)
        return (
            written >= share * hub.events_planned - 1
            and understood == notices > 0
            and time.monotonic() - since > _QUIET_SECONDS
        )

    await hub.until(rests, bool, "a backlog on Kafka", 900)
    return before - await _position(hub, "ledger", DOSSIER_EVENTS.name)


async def _peak(hub: Installation, name: str) -> float:
    """Start a whole worker on the backlog, open the portal when all is enlisted, and measure."""
    worker = hub.workers[name] = Worker(name, hub.folder / f"{name}.log")
    await hub.start(name)
    await hub.ready(name)
    owed = await asyncio.to_thread(_ends, hub, DOSSIER_EVENTS.name)
    await hub.until(
        lambda: _position(hub, "ledger", DOSSIER_EVENTS.name),
        lambda enlisted: enlisted >= owed,
        "a ledger that holds the backlog",
        900,
    )
    await hub.portal.delete("/_control/faults")
    # The next backlog, and at last the verdict, wait for all of it.
    finish = time.monotonic() + hub.patience(_DRAIN_SECONDS)
    while time.monotonic() < finish:
        await asyncio.sleep(1)
        counts = await hub.standing_of_hub()
        if counts is not None and not counts.under_way:
            break
    if worker.starts > 1:
        raise Guard(f"{name} died, so its memory is not known")
    peak = await asyncio.to_thread(peak_mib, worker.pid)
    await hub.stop(name, fault=False)
    return peak


async def _position(hub: Installation, flow: str, topic: str) -> int:
    rows = await asyncio.to_thread(hub.view.rows, _ENLISTED, flow=flow, topic=topic)
    return int(rows[0][0])


def _commits(hub: Installation) -> int:
    """How often the one-stop system has written."""
    with closing(connect(f"file:{hub.journal_path}?mode=ro", uri=True, timeout=30)) as db:
        return int(db.execute("select count(*) from entries").fetchone()[0])


def _ends(hub: Installation, topic: str) -> int:
    """How many records the topic holds, over all partitions."""
    consumer = Consumer({"bootstrap.servers": hub.kafka.bootstrap, "group.id": "torture-looks"})
    try:
        return sum(
            consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1]
            for partition in range(common.PARTITIONS)
        )
    finally:
        consumer.close()


BACKLOGS = Backlogs(
    name="memory_by_backlog",
    row="soak",
    about="a worker that starts on a backlog ten and a hundred times as large needs no more memory",
    prepare=fill_only,
    run=memory_by_backlog,
    workers=1,
    least_faults=0,
    least_hits=0,
)

SOAK = Soak(
    name="soak",
    row="soak",
    about="regular kills; memory, sockets and handles of the worker that lives through it do not grow",
    run=soak,
)

SCENARIOS: tuple[Scenario, ...] = (SOAK, BACKLOGS)
