"""Toxiproxy: TCP between two programs, slow, narrow, cut or silent, on 127.0.0.1.

``with Toxiproxy() as proxies: link = proxies.link(upstream="127.0.0.1:9092")``, then
`link.listen` is where the client must go, and ``link.add("latency", latency=200)`` makes it slow.
For Kafka use ``KafkaCluster(proxied=True)`` and ``proxies.links_for(cluster)``.

The server is taken from PATH or built by Go into the user's cache folder, once. Calls block for
milliseconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import pytest

from tests.services.cache import cached
from tests.services.kafka import KafkaCluster
from tests.services.server_process import (
    ServerProcess,
    ServiceFailed,
    ServiceMissing,
    free_ports,
    program,
)

# The last that the Go of Debian 12 can build; nothing that is used here came later.
VERSION = "2.5.0"
READY_SECONDS = 30.0
REMEDY = "install toxiproxy-server, or Go to build it (Debian: apt-get install golang-go)"
_MODULE = f"github.com/Shopify/toxiproxy/v2/cmd/server@v{VERSION}"
_ANSWER_SECONDS = 10.0

Toxic = Literal["latency", "bandwidth", "timeout", "reset_peer", "slow_close", "limit_data"]
Stream = Literal["upstream", "downstream"]


def fetch() -> Path:
    """The server's program, built when it is neither on PATH nor there.

    Raises `ServiceMissing` when there is no Go either, `ServiceFailed` when the build fails.
    """
    try:
        return Path(program("toxiproxy-server", REMEDY))
    except ServiceMissing:
        go = program("go", REMEDY)

    def fill(folder: Path) -> None:
        done = subprocess.run(
            [go, "install", _MODULE],
            cwd=folder,
            env={**os.environ, "GOBIN": str(folder), "GOFLAGS": "", "CGO_ENABLED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ServiceFailed(f"go install {_MODULE}:\n{done.stderr}")

    return cached(f"toxiproxy-{VERSION}", _MODULE, fill) / "server"


@dataclass(frozen=True, slots=True)
class Link:
    """One way through the proxy: what connects to `listen` reaches `upstream`."""

    name: str
    listen: str
    upstream: str
    _server: Toxiproxy

    def add(self, toxic: Toxic, *, stream: Stream = "downstream", **attributes: int) -> None:
        """Make it sick. `downstream` is what flows to the client.

        latency=ms, jitter=ms · rate=KB/s · timeout=ms (0: silent until removed; also of reset_peer) ·
        delay=ms · bytes=n. The units are toxiproxy's.
        """
        self._server.ask(
            "POST",
            f"/proxies/{self.name}/toxics",
            {
                "name": f"{toxic}-{stream}",
                "type": toxic,
                "stream": stream,
                "attributes": attributes,
            },
        )

    def heal(self) -> None:
        """Remove every toxic."""
        for toxic in self._server.ask("GET", f"/proxies/{self.name}/toxics"):
            self._server.ask("DELETE", f"/proxies/{self.name}/toxics/{toxic['name']}")

    def cut(self) -> None:
        """Close the connections and refuse new ones."""
        self._server.ask("POST", f"/proxies/{self.name}", {"enabled": False})

    def mend(self) -> None:
        """Accept connections again."""
        self._server.ask("POST", f"/proxies/{self.name}", {"enabled": True})


class Toxiproxy:
    """The server; links are made while it runs."""

    def __init__(self) -> None:
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._process: ServerProcess | None = None
        self._port = 0
        self._links = 0

    def __enter__(self) -> Self:
        server = fetch()
        self._temporary = tempfile.TemporaryDirectory(prefix="hub-toxiproxy-")
        (self._port,) = free_ports(1)
        self._process = ServerProcess(
            "toxiproxy",
            [server, "-host", "127.0.0.1", "-port", str(self._port)],
            log=Path(self._temporary.name) / "server.log",
        )
        try:
            self._process.start()
            self._process.wait_until(self._answers, READY_SECONDS)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server, and with it every connection through it."""
        if self._process is not None:
            self._process.stop()
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def link(self, upstream: str, listen: str | None = None) -> Link:
        """A new way to `upstream` (``127.0.0.1:port``), on a free port unless one is given."""
        if listen is None:
            listen = f"127.0.0.1:{free_ports(1)[0]}"
        self._links += 1
        name = f"link{self._links}"
        self.ask("POST", "/proxies", {"name": name, "listen": listen, "upstream": upstream})
        return Link(name, listen, upstream, self)

    def links_for(self, cluster: KafkaCluster) -> Mapping[int, Link]:
        """The ways to the nodes of a cluster made with ``proxied=True``, by node."""
        return {route.node: self.link(route.upstream, route.listen) for route in cluster.routes}

    def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        """One call of the server's HTTP interface. Raises `ServiceFailed` with what it refused."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                raise ServiceFailed(
                    f"toxiproxy: {method} {path}: {error.code} {error.read().decode()}"
                ) from None

    def _answers(self) -> bool:
        try:
            self.ask("GET", "/proxies")
        except (OSError, ServiceFailed):
            return False
        return True


@pytest.fixture(scope="module")
def toxiproxy() -> Iterator[Toxiproxy]:
    """One server for the tests of a module."""
    with Toxiproxy() as server:
        yield server
