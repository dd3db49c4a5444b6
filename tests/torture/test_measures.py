"""What the broker, outage and soak rows compute of what they have seen."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from schemas.codec import Codec
from schemas.records import DossierEvent
from schemas.registry import LocalRegistry, UnknownSchemaId
from tests.embedded.kit import event
from tests.torture.broker_grid import _as_of_a_newer_writer, _incompatible
from tests.torture.memory import Sample, look, peak_mib, trend
from tests.torture.outage import Flow, flow, slower
from tests.torture.said import said
from tests.torture.settings import CORE, FULL, SHORT, Scale
from tests.torture.soak import BACKLOGS, SOAK, grown, next_kill


def samples(resident: list[float], sockets: list[float] | None = None) -> list[Sample]:
    """One look a second."""
    return [
        Sample(at=at, resident_mib=r, handles=40, sockets=sockets[at] if sockets else 20)
        for at, r in enumerate(resident)
    ]


def test_a_trend_is_its_level_and_its_growth_a_minute() -> None:
    seen = trend([(0, 90), (30, 100), (60, 110)])
    assert seen.level == 100
    assert seen.growth == pytest.approx(0.2)
    assert trend([(0, 0), (1, 0), (2, 0)]).growth == 0
    with pytest.raises(ValueError, match="2 points"):
        trend([(0, 1), (1, 2)])


def test_a_process_is_looked_at_and_one_that_is_gone_is_not() -> None:
    seen = look(os.getpid())
    assert seen is not None
    assert 1 < seen.resident_mib < peak_mib(os.getpid()) + 1
    assert seen.handles > 2
    assert look(2**22 + 1) is None


def test_the_warm_up_is_no_growth() -> None:
    assert grown(samples([100 + min(at, 19) * 5 for at in range(60)])) == []


@pytest.mark.parametrize("minutes", [1, 60])
def test_a_leak_is_found_and_a_long_soak_finds_a_small_one(minutes: int) -> None:
    """A quarter more over the whole time."""
    seconds = 60 * minutes
    found = grown(samples([100 + 25 * at / seconds for at in range(seconds)]))
    assert [line.partition(":")[0] for line in found] == ["resident_mib"]


def test_sockets_that_are_not_closed_are_found() -> None:
    found = grown(samples([100.0] * 60, [20 + at / 4 for at in range(60)]))
    assert [line.partition(":")[0] for line in found] == ["sockets"]


def test_a_soak_is_as_long_as_its_scale() -> None:
    for scale in (CORE, SHORT, FULL):
        load = SOAK.at(scale).load
        assert load is not None
        assert load.seconds == pytest.approx(scale.soak_seconds)


def kills(seconds: float, progress_at: float, restart: float) -> list[float]:
    """When a soak kills that begins to do so then, on a machine that needs so long for a restart."""
    killed: list[float] = []
    due = next_kill(seconds, progress_at)
    while due is not None:
        killed.append(due)
        due = next_kill(seconds, due + restart)
    return killed


def test_the_kills_of_a_soak_are_spread_over_its_length() -> None:
    assert kills(60.0, 13.0, 10.0) == [20.0, 40.0]
    assert len(kills(3600.0, 15.0, 10.0)) == 179


def test_a_late_machine_leaves_kills_out_and_makes_up_for_none() -> None:
    killed = kills(3600.0, 720.0, 25.0)
    assert killed[0] == 740.0
    assert {later - sooner for sooner, later in pairwise(killed)} == {40.0}
    assert len(killed) >= SOAK.at(FULL).least_faults > 1
    assert kills(20.0, 19.0, 5.0) == []


@pytest.mark.parametrize("scale", [SHORT, FULL])
def test_the_largest_backlog_is_a_hundredfold(scale: Scale) -> None:
    load = BACKLOGS.at(scale).load
    assert load is not None
    assert load.events == 200 * (1 + 10 + 100)


def test_the_flow_of_steps_is_measured_at_the_portal() -> None:
    held = {"A": {"steps": [{"at": 11.0}, {"at": 14.0}]}, "B": {"steps": [{"at": 15.0}]}}
    seen = flow({"A": [10.0, 11.0], "B": [12.0, 13.0], "C": [12.0]}, held)
    assert seen == Flow(steps=3, latency=3.0, rate=0.6)
    assert flow({"B": [12.0]}, held) is None


def test_others_that_are_slower_are_found() -> None:
    plain = Flow(steps=100, latency=2.0, rate=50.0)
    assert slower(plain, Flow(steps=100, latency=2.9, rate=41.0)) == []
    assert len(slower(plain, Flow(steps=100, latency=3.1, rate=50.0))) == 1
    assert len(slower(plain, Flow(steps=100, latency=2.0, rate=39.0))) == 1
    assert slower(plain, None) == ["guard: too few steps came to compare"]


def test_a_quick_day_is_not_compared_to_the_millisecond() -> None:
    plain = Flow(steps=100, latency=0.1, rate=50.0)
    assert slower(plain, Flow(steps=100, latency=0.5, rate=50.0)) == []


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    log = tmp_path / "w1.log"
    log.write_text('{"a":1,"event":"x"}\nno json\n{"event":"y"}\n{"a":2,"event":"x"', "utf-8")
    assert said(log, "x") == [{"a": 1, "event": "x"}]


class Grown(LocalRegistry):
    """With one schema more, of id 7; unknown as long as it is ""."""

    more = ""

    async def schema(self, schema_id: int) -> str:
        return self.more if schema_id == 7 and self.more else await super().schema(schema_id)


async def test_the_record_of_a_newer_writer_is_read_once_its_schema_is_known() -> None:
    registry = Grown()
    codec = Codec(registry)
    await codec.prepare()
    newer, value = _as_of_a_newer_writer(codec.encode(event("d1", 3)), 7)
    with pytest.raises(UnknownSchemaId, match="the registry does not know it"):
        await codec.decode(value)
    registry.more = _incompatible()
    with pytest.raises(UnknownSchemaId, match="this version cannot read it"):
        await codec.decode(value)
    registry.more = newer
    assert await codec.decode_as(value, DossierEvent) == event("d1", 3)
