"""upgrade.md and rollback.md, walked through under load with two versions; the portal's truth decides."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from kafka import KafkaConsumer, TopicPartition

from schemas.topics import DOSSIER_EVENTS
from tests.integration.runbooks.machine import Machine, install
from tests.integration.runbooks.page import Page, StepFailed, Walk
from tests.integration.upgrade.second_version import FIELD, SecondVersion, install_second
from tests.services.apicurio import ApicurioServer, apicurio
from tests.torture.installation import Installation, Load
from tests.torture.load import written_so_far
from tests.torture.scenario import wrong
from tests.torture.standing import Standing

__all__ = ["apicurio"]

pytestmark = pytest.mark.integration

T = TypeVar("T")

LOAD = Load(events=1200, rate=60.0)
STEP, SLICE = 0.05, 0.01  # of the day: before a step of a page, and at every look for what it did
ENOUGH = 20  # events that show who writes
UPGRADE_TRIES = 3


@pytest.fixture(scope="module")
def standing() -> Iterator[Standing]:
    with Standing() as servers:
        yield servers


@dataclass(frozen=True, slots=True)
class Versions:
    """Both, each in its folder."""

    first: Path
    second: SecondVersion


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    folder = tmp_path_factory.mktemp("opt")
    return Versions(install(folder / "0.1.0"), install_second(folder / "0.2.0"))


def upgrade_walk(
    machine: Machine, versions: Versions, first: Sequence[str], rest: Sequence[str]
) -> Walk:
    variables = {
        "CURRENT": str(machine.current),
        "OLD": str(versions.first),
        "NEW": str(versions.second.folder),
        "SYSTEMCTL": str(machine.systemctl),
        "FIRST": machine.ports(*first),
        "REST": machine.ports(*rest),
        "JOURNAL": machine.journal(),
    }
    return Walk(Page.read("upgrade"), variables, machine.environment)


def rollback_walk(
    machine: Machine, versions: Versions, first: Sequence[str], rest: Sequence[str]
) -> Walk:
    variables = {
        "CURRENT": str(machine.current),
        "OLD": str(versions.first),
        "SYSTEMCTL": str(machine.systemctl),
        "FIRST": machine.ports(*first),
        "REST": machine.ports(*rest),
    }
    return Walk(Page.read("rollback"), variables, machine.environment)


class Day:
    """Lets the day be written little by little, so that every step meets work and none is left over."""

    def __init__(self, hub: Installation) -> None:
        self._hub = hub
        self._share = 0.0
        self.more()

    def more(self) -> None:
        """Work for the step that comes now."""
        self._allow(STEP)

    async def until(
        self, ask: Callable[[], Awaitable[T]], enough: Callable[[T], bool], what: str
    ) -> T:
        """Write on until the answer is enough. Raises `Guard` when it never is."""

        async def look() -> T:
            written, _ = await asyncio.to_thread(written_so_far, self._hub.journal_path)
            if written >= self._share * self._hub.events_planned:
                self._allow(SLICE)
            return await ask()

        found: T = await self._hub.until(look, enough, what, 120.0)
        return found

    def _allow(self, more: float) -> None:
        self._share = min(1.0, self._share + more)
        self._hub.allow(self._share)


def none_is_paged(said: str, workers: int) -> None:
    """What the pages' look tells: every process ready, every flow not paged."""
    lines = said.splitlines()
    assert sum(line.endswith(" ready") for line in lines) == workers, said
    states = [line for line in lines if line.startswith("hub_flow_state{")]
    assert len(states) >= workers, said
    assert all(line.endswith(" 0.0") for line in states), said


async def writers(bootstrap: str) -> Mapping[int, Sequence[int]]:
    """The schema ids of dossier.events in the order of the log, by partition."""
    return await asyncio.to_thread(_writers, bootstrap)


def _writers(bootstrap: str) -> Mapping[int, Sequence[int]]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap.split(","), group_id=None)
    try:
        numbers = sorted(consumer.partitions_for_topic(DOSSIER_EVENTS.name))
        places = [TopicPartition(DOSSIER_EVENTS.name, number) for number in numbers]
        ends = consumer.end_offsets(places)
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        found: dict[int, list[int]] = defaultdict(list)
        silent = 0
        while sum(map(len, found.values())) < sum(ends.values()):
            batches = consumer.poll(timeout_ms=500)
            silent = 0 if batches else silent + 1
            assert silent < 60, "the log could not be read to its end"
            for place, records in batches.items():
                found[place.partition] += [int.from_bytes(r.value[1:5]) for r in records]
        return found
    finally:
        consumer.close()


async def written_since(
    hub: Installation, day: Day, before: Mapping[int, Sequence[int]], *, versions: int = 1
) -> set[int]:
    """Which schema ids the events behind `before` have, as soon as there are enough of so many."""

    async def ids() -> list[int]:
        now = await writers(hub.kafka.bootstrap)
        return [one for p, written in now.items() for one in written[len(before.get(p, ())) :]]

    found = await day.until(
        ids,
        lambda now: len(now) >= ENOUGH and len(set(now)) >= versions,
        f"{ENOUGH} events of {versions} version(s)",
    )
    return set(found)


async def delivers(hub: Installation, day: Day) -> None:
    """Until the portal holds more steps than it does now."""

    async def held() -> int:
        steps: int = (await hub.portal.summary())["steps"]
        return steps

    before = await held()
    await day.until(held, lambda now: now >= before + ENOUGH, "more at the portal")


async def tables_and_topics(upgrade: Walk) -> None:
    """As the page says of `db upgrade`: one that finds the tables in use changes nothing and is run again."""
    for _ in range(UPGRADE_TRIES - 1):
        try:
            await upgrade.step(4)
        except StepFailed as failed:
            if "does not answer" not in " ".join(str(failed).split()):
                raise
        else:
            return
    await upgrade.step(4)


def _ran(program: Path, *words: str, env: Mapping[str, str]) -> str:
    done = subprocess.run(
        [program / "bin" / "thongsuot", *words],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(log: Path) -> list[str]:
    """Why a worker did not start."""
    lines = log.read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["why"] for line in lines if '"event":"worker_not_started"' in line]


async def refuses_to_start(hub: Installation, name: str) -> None:
    """Start a worker that must not come up; returns when it has given up."""
    await hub.start(name)
    worker = hub.workers[name]
    worker.wanted = False

    async def status() -> int | None:
        return worker.status

    await hub.until(status, lambda ended: ended is not None, f"{name} gives up", 90.0)
    assert worker.status == 1


@pytest.mark.timeout(900)
async def test_two_versions_work_side_by_side_and_the_first_takes_over_again(
    standing: Standing, versions: Versions, apicurio: ApicurioServer, tmp_path: Path
) -> None:
    hub = Installation(standing, tmp_path / "hub", workers=2, load=LOAD, latency_ms=20.0)
    async with hub, Machine(hub, versions.first) as machine:
        hub.settings["REGISTRY_URL"] = apicurio.url
        env = machine.environment
        await asyncio.to_thread(_ran, versions.first, "schemas", "register", env=env)
        day = Day(hub)
        await hub.begin("w1")
        # What the page says of a new version that is started too early: it refuses, and harms nothing.
        machine.point_to(versions.second.folder)
        await refuses_to_start(hub, "w2")
        assert any("the ledger is at migration" in why for why in refused(hub.workers["w2"].log))
        machine.point_to(versions.first)
        await hub.start("w2")
        await hub.ready("w2")
        (old_id,) = await written_since(hub, day, {})

        upgrade = upgrade_walk(machine, versions, ["w1"], ["w2"])
        assert "differ" in await upgrade.step(1)
        await upgrade.step(3)
        day.more()
        await tables_and_topics(upgrade)
        before = await writers(hub.kafka.bootstrap)
        assert await written_since(hub, day, before) == {old_id}, "on the new version's tables"
        await delivers(hub, day)

        day.more()
        await upgrade.step(5)
        none_is_paged(await upgrade.step(6), 2)
        before = await writers(hub.kafka.bootstrap)
        both = await written_since(hub, day, before, versions=2)
        assert old_id in both, "the old one works beside the new one"
        (new_id,) = both - {old_id}
        await delivers(hub, day)

        day.more()
        await upgrade.step(7)
        none_is_paged(await upgrade.step(6), 2)
        after = await writers(hub.kafka.bootstrap)
        assert await written_since(hub, day, after) == {new_id}, "only the new version writes now"

        rollback = rollback_walk(machine, versions, ["w2"], ["w1"])
        await rollback.step(1)
        day.more()
        await rollback.step(2)
        before = await writers(hub.kafka.bootstrap)
        assert await written_since(hub, day, before, versions=2) == {old_id, new_id}
        day.more()
        await rollback.step(3)
        none_is_paged(await rollback.step(4), 2)
        after = await writers(hub.kafka.bootstrap)
        assert await written_since(hub, day, after) == {old_id}, "and at last the old one again"
        await hub.rest()
        assert wrong(await hub.verdict()) == []
        assert "none" in await upgrade.step(9)
        assert rollback.unwalked == []
        assert [heading.split()[0] for heading in upgrade.unwalked] == ["8."], "see the next test"
        (revision,) = await asyncio.to_thread(
            hub.view.rows, "select version_num from alembic_version"
        )
        assert tuple(revision) == (versions.second.revision,)
        query = f"select count(*) from information_schema.columns where column_name = '{FIELD}'"
        assert (await asyncio.to_thread(hub.view.rows, query))[0][0] >= 2
    assert machine.failures() == []


@pytest.mark.timeout(900)
async def test_without_a_registry_the_old_version_is_paged_and_way_b_mends_it(
    standing: Standing, versions: Versions, tmp_path: Path
) -> None:
    """What upgrade.md warns of, what it says to do then, and what rollback.md says is not possible.

    One process takes in, the other delivers: so whatever the one writes, the other reads. Where each does
    both, Kafka deals a process the same partitions in both flows, and neither need meet the other's events.
    """
    hub = Installation(standing, tmp_path / "hub", workers=2, load=LOAD, latency_ms=20.0)
    hub.workers["w1"].parts = ("capture", "intake")
    hub.workers["w2"].parts = ("deliver",)
    async with hub, Machine(hub, versions.first) as machine:
        day = Day(hub)
        await hub.begin()
        (old_id,) = await written_since(hub, day, {})
        await delivers(hub, day)

        async def paged() -> list[str]:
            return await asyncio.to_thread(machine.logged, "flow_paged")

        upgrade = upgrade_walk(machine, versions, ["w1"], ["w2"])
        await tables_and_topics(upgrade)
        assert await paged() == []
        await upgrade.step(5)
        lines = await day.until(paged, bool, "the old version is paged")
        assert {json.loads(line)["reason"] for line in lines} == {"unknown_schema_id"}
        assert "flow_paged" in await upgrade.step(9)

        await upgrade.step(8)
        none_is_paged(await upgrade.step(6), 2)
        after = await writers(hub.kafka.bootstrap)
        (new_id,) = await written_since(hub, day, after)
        assert new_id != old_id
        await delivers(hub, day)

        known = len(await paged())
        rollback = rollback_walk(machine, versions, ["w2"], ["w1"])
        await rollback.step(1)  # sees nothing of it, as the page says
        await rollback.step(2)
        await day.until(paged, lambda now: len(now) > known, "the old version is paged again")
        await rollback.step(3)

        await upgrade.step(8)
        none_is_paged(await upgrade.step(6), 2)
        await hub.rest()
        assert wrong(await hub.verdict()) == []
    assert machine.failures() == []
