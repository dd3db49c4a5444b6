"""Apicurio, a schema registry that speaks the Confluent REST API, on 127.0.0.1 and a free port.

``with ApicurioServer() as registry: registry.url``. It keeps everything in memory: what was registered
is gone when it is stopped. `apicurio` is a fixture: import it in the test module that needs it.

The server comes from Maven's repository into the user's cache folder, once (109 MB). It is ready after
13 s on two cores and takes 235 MB of memory.
"""

from __future__ import annotations

import http.client
import json
import tarfile
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.services.cache import cached, java, maven
from tests.services.server_process import ServerProcess, ServiceFailed, free_ports

VERSION = "3.0.9"
READY_SECONDS = 120.0
_ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
# The plugin's later versions insist on the parents of an artefact of which only the file is wanted.
_GET = "org.apache.maven.plugins:maven-dependency-plugin:2.10:get"


def fetch() -> Path:
    """The server's runnable jar, fetched when it is not yet there.

    Raises `ServiceMissing` without Java or Maven, `ServiceFailed` when Maven cannot reach it.
    """

    def fill(folder: Path) -> None:
        archive = folder / "registry.tar.gz"
        maven(
            _GET,
            "-Dtransitive=false",
            f"-Dartifact={_ARTIFACT}",
            f"-Ddest={archive}",
            folder=folder,
        )
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        archive.unlink()

    folder = cached(f"apicurio-{VERSION}", f"{_GET} {_ARTIFACT}", fill)
    return folder / f"apicurio-registry-app-{VERSION}-runner.jar"


class ApicurioServer:
    """One server under the compatibility that the hub demands; its port stays over stop and start."""

    def __init__(self, compatibility: str = "FULL_TRANSITIVE") -> None:
        self._compatibility = compatibility
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._process: ServerProcess | None = None
        self._port = 0

    def __enter__(self) -> Self:
        jar = fetch()
        self._temporary = tempfile.TemporaryDirectory(
            prefix="hub-apicurio-", ignore_cleanup_errors=True
        )
        self._port, management = free_ports(2)
        self._process = ServerProcess(
            "Apicurio",
            [java(), "-Xmx512m", "-XX:TieredStopAtLevel=1", "-jar", jar],
            log=Path(self._temporary.name) / "server.log",
            environment={
                "QUARKUS_HTTP_HOST": "127.0.0.1",
                "QUARKUS_HTTP_PORT": str(self._port),
                "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
                "QUARKUS_MANAGEMENT_PORT": str(management),
            },
        )
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server."""
        if self._process is not None:
            self._process.stop()
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    @property
    def url(self) -> str:
        """For THONGSUOT_REGISTRY_URL."""
        return f"http://127.0.0.1:{self._port}/apis/ccompat/v7"

    def start(self) -> None:
        """Start, empty, and wait until it answers. Raises `ServiceFailed`."""
        self._server.start()
        self._server.wait_until(self._set_compatibility, READY_SECONDS)

    def stop(self) -> None:
        """SIGTERM; what was registered is gone."""
        self._server.stop()

    def kill(self) -> None:
        """SIGKILL; what was registered is gone."""
        self._server.kill()

    def pause(self) -> None:
        """SIGSTOP: connections are taken and nothing is answered."""
        self._server.pause()

    def resume(self) -> None:
        """SIGCONT."""
        self._server.resume()

    @property
    def _server(self) -> ServerProcess:
        if self._process is None:
            raise ServiceFailed("Apicurio is not started: use `with`")
        return self._process

    def _set_compatibility(self) -> bool:
        """Its own default is NONE. False while it does not answer."""
        request = urllib.request.Request(
            f"{self.url}/config",
            data=json.dumps({"compatibility": self._compatibility}).encode(),
            headers={"Content-Type": "application/json"},
            method="PUT",
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                told = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            return False
        return bool(told.get("compatibilityLevel") == self._compatibility)


@pytest.fixture(scope="module")
def apicurio() -> Iterator[ApicurioServer]:
    """One server for the tests of a module."""
    with ApicurioServer() as server:
        yield server
