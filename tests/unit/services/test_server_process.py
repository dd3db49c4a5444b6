"""Servers are started, watched and ended, whatever happens to the one who started them."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.services import kafka
from tests.services.cache import cached, maven
from tests.services.server_process import (
    ServerProcess,
    ServiceFailed,
    ServiceMissing,
    free_ports,
)

ROOT = Path(__file__).parents[3]
STUBBORN = "trap '' TERM; echo started; while :; do sleep 0.1; done"


def shell(script: str, folder: Path, **options: float) -> ServerProcess:
    return ServerProcess("the test", ["/bin/sh", "-c", script], log=folder / "log", **options)  # type: ignore[arg-type] # stop_seconds alone


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "it did not become true in time"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Ended; where nobody collects it, it stays as a zombie."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_it_is_started_again_with_its_log_kept(tmp_path: Path) -> None:
    server = shell("echo started; exec sleep 600", tmp_path)
    for runs in (1, 2):
        server.start()
        server.wait_until(lambda runs=runs: server.log.count("started") == runs, 30)  # type: ignore[misc] # bound here
        pid = server.pid
        server.kill()
        assert gone(pid)
        assert not server.running


def test_a_stop_is_heard_by_a_paused_server(tmp_path: Path) -> None:
    server = shell("trap 'echo bye; exit' TERM; echo on; while :; do sleep 0.05; done", tmp_path)
    server.start()
    server.wait_until(lambda: "on" in server.log, 30)
    server.pause()
    until(lambda: psutil.Process(server.pid).status() == psutil.STATUS_STOPPED)
    server.stop()
    assert "bye" in server.log


def test_one_that_does_not_end_is_killed(tmp_path: Path) -> None:
    server = shell(STUBBORN, tmp_path, stop_seconds=0.3)
    server.start()
    server.wait_until(lambda: "started" in server.log, 30)
    pid = server.pid
    server.stop()
    assert gone(pid)


def test_one_that_ends_at_its_start_is_reported_with_its_log(tmp_path: Path) -> None:
    server = shell("echo no such port; exit 3", tmp_path)
    server.start()
    with pytest.raises(ServiceFailed, match=r"(?s)the test ended at its start.*no such port"):
        server.wait_until(lambda: False, 30)
    server.stop()


def test_one_that_never_answers_is_reported_with_its_log(tmp_path: Path) -> None:
    server = shell("echo busy; exec sleep 600", tmp_path)
    server.start()
    try:
        with pytest.raises(ServiceFailed, match="did not answer within"):
            server.wait_until(lambda: False, 0.2)
    finally:
        server.kill()


def test_it_does_not_outlive_the_one_who_started_it(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from tests.services.server_process import ServerProcess\n"
        f"server = ServerProcess('s', ['/bin/sh', '-c', {STUBBORN!r}], log=Path(sys.argv[1]))\n"
        "server.start(); print(server.pid, flush=True); time.sleep(600)"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "log")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert starter.stdout is not None
        server = int(starter.stdout.readline())
        assert not gone(server)
    finally:
        starter.send_signal(signal.SIGKILL)
        starter.communicate()
    until(lambda: gone(server))


def test_free_ports_are_apart_and_can_be_listened_on() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_what_was_fetched_is_kept_until_its_recipe_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fetched = []

    def fill(folder: Path) -> None:
        fetched.append(folder)
        (folder / "jar").write_text(str(len(fetched)))

    for recipe, number in (("a", "1"), ("a", "1"), ("b", "2"), ("b", "2")):
        assert (cached("thing", recipe, fill) / "jar").read_text() == number


def test_a_failed_fetch_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def fill(folder: Path) -> None:
        (folder / "half").write_text("")
        raise ServiceFailed("the network is away")

    with pytest.raises(ServiceFailed):
        cached("thing", "a", fill)
    assert [found.name for found in (tmp_path / "thongsuot").iterdir()] == ["thing.lock"]


def test_a_machine_without_java_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ServiceMissing, match=r"java was not found: .*openjdk-17-jre-headless"):
        kafka.fetch()
    (tmp_path / "java").write_text("#!/bin/sh\n")
    (tmp_path / "java").chmod(0o755)
    with pytest.raises(ServiceMissing, match=r"mvn was not found: .*apt-get install maven"):
        maven("-version", folder=tmp_path)
