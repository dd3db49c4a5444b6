"""Live means progress, ready means begun; both say why not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from monitoring.health import Health, HealthServer
from monitoring.metrics import Flow, Metrics


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock)


def test_a_loop_that_no_longer_turns_is_not_live(health: Health, clock: Clock) -> None:
    health.expect("capture", stale_after=30)
    health.progress("capture", done=1)
    clock.now = 30
    assert health.live()[0]
    clock.now = 31
    fine, body = health.live()
    assert not fine
    assert body["why"] == ["capture: its loop has not turned for 31 s"]
    health.progress("capture", done=1)
    assert health.live()[0]


def test_lag_without_movement_is_not_live(health: Health, clock: Clock) -> None:
    health.expect("intake", stale_after=30)
    for clock.now in range(0, 40, 5):
        health.progress("intake", done=7, lag=100)
    fine, body = health.live()
    assert not fine
    assert body["why"] == ["intake: 100 records wait and none was finished for 35 s"]
    health.progress("intake", done=8, lag=99)
    assert health.live()[0]


@pytest.mark.parametrize(("lag", "waits_for"), [(0, None), (100, "ledger")])
def test_nothing_to_do_and_an_outside_system_away_are_live(
    health: Health, clock: Clock, lag: int, waits_for: str | None
) -> None:
    health.expect("intake", stale_after=30)
    for clock.now in range(0, 300, 5):
        health.progress("intake", done=7, lag=lag, waits_for=waits_for)
    fine, body = health.live()
    assert fine
    assert body["parts"]["intake"]["waits_for"] == waits_for


def test_a_part_that_counts_its_own_turns_is_watched(health: Health, clock: Clock) -> None:
    beats = 0
    health.watch("engine", lambda: beats, stale_after=30)
    clock.now = 20
    beats = 5
    assert health.live()[0]
    clock.now = 50
    assert health.live()[0]
    clock.now = 51
    assert not health.live()[0]


class Engine:
    """A part that turns, with so many dossiers in hand and so many changes written."""

    def __init__(self) -> None:
        self.beats = self.done = self.lag = 0
        self.waits_for: str | None = None

    def watched_by(self, health: Health) -> None:
        health.watch(
            "engine",
            lambda: self.beats,
            waits_for=lambda: self.waits_for,
            work=lambda: (self.done, self.lag),
            stale_after=30,
        )

    def turn(self, health: Health, clock: Clock, until: int) -> None:
        """Let its loop turn every five seconds, looked at each time."""
        while clock.now < until:
            clock.now += 5
            self.beats += 1
            health.look()


def test_an_engine_that_turns_and_settles_nothing_is_not_live(health: Health, clock: Clock) -> None:
    engine = Engine()
    engine.watched_by(health)
    engine.lag = 3
    engine.turn(health, clock, 40)
    fine, body = health.live()
    assert not fine
    assert body["why"] == ["engine: 3 records wait and none was finished for 40 s"]
    engine.done = 1
    assert health.live()[0]


@pytest.mark.parametrize("waits_for", ["the target", "the ledger"])
def test_an_engine_that_is_held_up_from_outside_is_live(
    health: Health, clock: Clock, waits_for: str
) -> None:
    engine = Engine()
    engine.watched_by(health)
    engine.lag, engine.waits_for = 3, waits_for
    engine.turn(health, clock, 300)
    fine, body = health.live()
    assert fine
    assert body["parts"]["engine"]["waits_for"] == waits_for


def test_work_that_came_just_now_is_not_taken_for_work_that_lies(
    health: Health, clock: Clock
) -> None:
    engine = Engine()
    engine.watched_by(health)
    engine.turn(health, clock, 300)
    engine.lag = 3
    assert health.live()[0]


def test_a_part_that_ended_in_order_is_not_missed(health: Health, clock: Clock) -> None:
    health.expect("capture", stale_after=30)
    health.ended("capture")
    clock.now = 1000
    assert health.live()[0]


async def test_ready_names_everything_that_is_missing(health: Health) -> None:
    beats = 0

    async def topics() -> str | None:
        return "dossier.events is not there: run thongsuot topics"

    async def ledger() -> str | None:
        raise ConnectionRefusedError(111, "postgresql://hub:secret@db")

    async def broker() -> str | None:
        return None

    health.expect("intake")
    health.watch("engine", lambda: beats)
    health.require("topics", topics)
    health.require("ledger", ledger)
    health.require("broker", broker)
    fine, body = await health.ready()
    assert not fine
    assert body["why"] == [
        "intake: not started",
        "engine: not started",
        "topics: dossier.events is not there: run thongsuot topics",
        "ledger: ConnectionRefusedError ECONNREFUSED",
    ]
    health.progress("intake")
    beats = 1
    assert (await health.ready())[1]["why"] == body["why"][2:]


async def test_a_part_that_has_begun_is_ready_and_has_yet_to_turn(
    health: Health, clock: Clock
) -> None:
    health.expect("ledger", stale_after=30)
    clock.now += 29
    health.begun("ledger")
    assert (await health.ready())[0]
    clock.now += 2
    assert not health.live()[0]


async def test_a_check_that_does_not_answer_is_given_up(
    health: Health, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitoring.health._CHECK_SECONDS", 0.01)

    async def silent() -> str | None:
        await asyncio.Event().wait()
        return None

    health.require("ledger", silent)
    assert (await health.ready())[1]["why"] == ["ledger: no answer within 0 s"]


@pytest.fixture
async def server(health: Health) -> AsyncIterator[HealthServer]:
    started = HealthServer(
        health, Metrics(targets=["national_portal"], version="0"), host="127.0.0.1", port=0
    )
    await started.start()
    yield started
    await started.stop()
    await started.stop()


async def get(server: HealthServer, path: str) -> tuple[int, str, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.port}{path}") as answer,
    ):
        return answer.status, answer.content_type, await answer.text()


async def test_the_server_answers_by_status_and_says_why(
    server: HealthServer, health: Health, clock: Clock
) -> None:
    health.expect("intake", stale_after=30)
    status, kind, body = await get(server, "/ready")
    assert (status, kind) == (503, "application/json")
    assert "intake: not started" in body
    assert (await get(server, "/live"))[0] == 200
    health.progress("intake")
    assert (await get(server, "/ready"))[0] == 200
    clock.now = 100
    assert (await get(server, "/live"))[0] == 503
    status, kind, body = await get(server, "/metrics")
    assert (status, kind) == (200, "text/plain")
    assert 'hub_circuit_state{state="closed",target="national_portal"} 1.0' in body
    assert (await get(server, "/"))[0] == 404


async def test_metrics_are_refreshed_first_and_served_even_if_that_fails(health: Health) -> None:
    metrics = Metrics(targets=["national_portal"], version="0")
    asked = 0

    async def refresh() -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise OSError("the ledger is away")
        metrics.set_lag("x", 0, 5)

    server = HealthServer(health, metrics, host="127.0.0.1", port=0, refresh=refresh)
    await server.start()
    try:
        for _ in range(2):
            status, _, body = await get(server, "/metrics")
            assert status == 200
            assert 'hub_consumer_lag_records{partition="other",topic="other"} 5.0' in body
    finally:
        await server.stop()


async def test_a_taken_port_is_an_error_and_only_the_given_host_is_bound(
    server: HealthServer, health: Health
) -> None:
    again = HealthServer(
        health, Metrics(targets=[], version="0"), host="127.0.0.1", port=server.port
    )
    with pytest.raises(OSError, match="in use"):
        await again.start()
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.2", server.port))


async def test_a_part_may_be_named_by_a_word_of_an_enumeration(
    server: HealthServer, health: Health
) -> None:
    health.expect(Flow.INTAKE)
    health.progress(Flow.INTAKE)
    status, _, body = await get(server, "/live")
    assert status == 200
    assert '"intake"' in body
