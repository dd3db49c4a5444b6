"""Apache Kafka in KRaft mode: one broker or three, in a temporary folder, on 127.0.0.1 and free ports.

``with KafkaCluster(brokers=3) as kafka: kafka.bootstrap``. Calls block; from a coroutine use
`asyncio.to_thread`. The fixture `kafka` is there for all tests under tests/integration;
`kafka_of_three` is to be imported in the test module that needs it. As a program::

    python -m tests.services.kafka --brokers 3

prints the bootstrap address and lives until Ctrl-C or SIGTERM.

The programs come from Maven's repository into the user's cache folder, once (46 MB). A broker takes
about 250 MB of memory, one is ready after 4 s, three after 8 s.
"""

from __future__ import annotations

import argparse
import logging
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._metadata import ClusterMetadata, TopicMetadata

from tests.services.cache import cached, java, maven
from tests.services.server_process import ServerProcess, ServiceFailed, free_ports

VERSION = "4.3.1"
READY_SECONDS = 90.0
_POM = Path(__file__).with_name("kafka_pom.xml")
_POLL_SECONDS = 0.1
_ANSWER_SECONDS = 3.0
# The second-stage compiler costs more than it gives in the short life of a test's broker.
QUICK_START = ("-XX:TieredStopAtLevel=1",)
_LOG4J = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{HH:mm:ss,SSS} %p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
logger.broker.name = kafka.server.BrokerServer
logger.broker.level = info
"""


@dataclass(frozen=True, slots=True)
class Route:
    """Where the proxy of a broker must listen, and what it must reach. For `proxied` clusters."""

    node: int
    listen: str
    upstream: str


@dataclass(frozen=True, slots=True)
class _Ports:
    broker: int
    controller: int
    behind_proxy: int
    proxy: int


def fetch() -> Path:
    """The folder of the jars, fetched when it is not yet there.

    Raises `ServiceMissing` without Java or Maven, `ServiceFailed` when Maven cannot reach them.
    """
    pom = _POM.read_text()

    def fill(folder: Path) -> None:
        (folder / "pom.xml").write_text(pom)
        maven(
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={folder / 'lib'}",
            folder=folder,
        )

    return cached(f"kafka-{VERSION}", pom, fill) / "lib"


class KafkaCluster:
    """One broker or three; each node is broker and controller, numbered from 1. Ports stay for good.

    Topics are never made by use. `settings` are added to every node's server.properties.
    `proxied`: the brokers also have addresses that lead through a proxy, see `routes`.
    Memory and threads are those of a small machine; `java_options` are for those who measure.
    """

    def __init__(
        self,
        brokers: int = 1,
        *,
        settings: Mapping[str, str] | None = None,
        proxied: bool = False,
        java_options: Sequence[str] = QUICK_START,
    ) -> None:
        if brokers not in (1, 3):
            raise ValueError(f"brokers: 1 or 3, not {brokers}")
        self.nodes: Sequence[int] = range(1, brokers + 1)
        self._settings = dict(settings or {})
        self._proxied = proxied
        self._java_options = tuple(java_options)
        self._ports: dict[int, _Ports] = {}
        self._processes: dict[int, ServerProcess] = {}
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        libraries = fetch()
        self._temporary = tempfile.TemporaryDirectory(
            prefix="hub-kafka-", ignore_cleanup_errors=True
        )
        try:
            self._make(Path(self._temporary.name), libraries)
            self.start(*self.nodes)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all nodes without ceremony and remove what they held."""
        for process in self._processes.values():
            process.kill()
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    @property
    def bootstrap(self) -> str:
        """Every node's ``127.0.0.1:port``, comma-separated."""
        return ",".join(self.address(node) for node in self.nodes)

    @property
    def proxied_bootstrap(self) -> str:
        """The same through the proxies of `routes`; only for `proxied` clusters."""
        return ",".join(route.listen for route in self.routes)

    @property
    def routes(self) -> Sequence[Route]:
        """The proxies that somebody must run for `proxied_bootstrap` to answer, one for each node."""
        if not self._proxied:
            raise ValueError("the cluster was not made with proxied=True")
        return [
            Route(node, f"127.0.0.1:{ports.proxy}", f"127.0.0.1:{ports.behind_proxy}")
            for node, ports in self._ports.items()
        ]

    def address(self, node: int) -> str:
        return f"127.0.0.1:{self._ports[node].broker}"

    def pid(self, node: int) -> int:
        return self._processes[node].pid

    def running(self, node: int) -> bool:
        """A paused node runs too."""
        return self._processes[node].running

    def node_log(self, node: int) -> str:
        """What the node wrote since its first start."""
        return self._processes[node].log

    def start(self, *nodes: int) -> None:
        """Start these nodes together and wait until each answers and knows every running node.

        A node of three needs a second one: after all were down, start at least two in one call.
        Leaders may still be on the move then: `wait_in_sync` waits for them.
        Raises `ServiceFailed`.
        """
        for node in nodes:
            self._processes[node].start()
        alive = {node for node in self.nodes if self.running(node)}
        for node in nodes:
            self._processes[node].wait_until(partial(self._knows, node, alive), READY_SECONDS)

    def stop(self, *nodes: int) -> None:
        """SIGTERM to these together, and wait for them: a node hands its partitions over first.

        The last two of three cannot end one after the other: each needs another one to hand over to.
        """
        for node in nodes:
            self._processes[node].ask_to_stop()
        for node in nodes:
            self._processes[node].stop()

    def kill(self, *nodes: int) -> None:
        """SIGKILL."""
        for node in nodes:
            self._processes[node].kill()

    def pause(self, node: int) -> None:
        """SIGSTOP: the node keeps its connections and answers nothing."""
        self._processes[node].pause()

    def resume(self, node: int) -> None:
        """SIGCONT."""
        self._processes[node].resume()

    def leader(self, topic: str, partition: int = 0) -> int:
        """The node that leads the partition, once there is one. Raises `ServiceFailed`."""
        leader = -1

        def led() -> bool:
            nonlocal leader
            found = self.topic(topic).partitions.get(partition)
            leader = -1 if found is None else found.leader
            return leader > 0 and self.running(leader)

        self._wait(led, f"{topic}/{partition} has a leader", READY_SECONDS)
        return leader

    def wait_in_sync(self, seconds: float = READY_SECONDS) -> None:
        """Until every partition has all its replicas. Raises `ServiceFailed`."""

        def in_sync() -> bool:
            return all(
                len(partition.isrs) == len(partition.replicas) and partition.leader > 0
                for topic in self._metadata(self.bootstrap).topics.values()
                for partition in topic.partitions.values()
            )

        self._wait(in_sync, "every partition has all its replicas", seconds)

    def topic(self, name: str) -> TopicMetadata:
        """Its partitions with leader, replicas and in-sync replicas, as the brokers see them now."""
        return self._metadata(self.bootstrap).topics.get(name) or TopicMetadata()

    def _wait(self, true: Callable[[], bool], what: str, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if true():
                    return
            except KafkaException:
                pass  # nobody answers just now
            time.sleep(_POLL_SECONDS)
        raise ServiceFailed(f"Kafka: it did not come true within {seconds:.0f} s that {what}")

    def _knows(self, node: int, others: Set[int]) -> bool:
        """Does this node answer, and list them all?"""
        try:
            return others <= self._metadata(self.address(node)).brokers.keys()
        except KafkaException:
            return False

    def _metadata(self, bootstrap: str) -> ClusterMetadata:
        client = AdminClient(
            {"bootstrap.servers": bootstrap, "reconnect.backoff.max.ms": 300}, logger=_SILENT
        )
        return client.list_topics(timeout=_ANSWER_SECONDS)

    def _make(self, folder: Path, libraries: Path) -> None:
        """Write every node's settings and format its storage."""
        ports = free_ports(4 * len(self.nodes))
        self._ports = {
            node: _Ports(*ports[4 * place : 4 * place + 4]) for place, node in enumerate(self.nodes)
        }
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        while cluster_id.startswith("-"):  # the tool would take it for an option
            cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        formatting = []
        for node in self.nodes:
            home = folder / str(node)
            home.mkdir()
            (home / "log4j2.properties").write_text(_LOG4J)
            settings = home / "server.properties"
            settings.write_text(
                "".join(f"{key}={value}\n" for key, value in self._properties(node, home).items())
            )
            command = [java(), "-cp", f"{libraries}/*", *self._java_options]
            command += [f"-Dlog4j2.configurationFile={home / 'log4j2.properties'}"]
            formatting.append(
                subprocess.Popen(
                    [
                        *(*command, "-Xmx128m", "kafka.tools.StorageTool"),
                        *("format", "-t", cluster_id, "-c", settings),
                    ],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
            )
            self._processes[node] = ServerProcess(
                f"Kafka's node {node}",
                [
                    *(*command, "-Xms512m", "-Xmx512m", "-XX:+UseG1GC"),
                    *("-XX:+ExitOnOutOfMemoryError", "kafka.Kafka", settings),
                ],
                log=home / "node.log",
            )
        said = [(tool.communicate()[0], tool.returncode) for tool in formatting]
        for output, code in said:
            if code != 0:
                raise ServiceFailed(f"Kafka's storage was not formatted: {output.decode()}")

    def _properties(self, node: int, home: Path) -> Mapping[str, str]:
        """As server.properties: small, quick to notice a dead node, topics as safe as nodes allow."""
        ports = self._ports[node]
        copies = "3" if len(self.nodes) == 3 else "1"
        needed = "2" if len(self.nodes) == 3 else "1"
        listeners = f"PLAINTEXT://127.0.0.1:{ports.broker}"
        advertised = listeners
        if self._proxied:
            listeners += f",PROXIED://127.0.0.1:{ports.behind_proxy}"
            advertised += f",PROXIED://127.0.0.1:{ports.proxy}"
        voters = (f"{i}@127.0.0.1:{other.controller}" for i, other in self._ports.items())
        return {
            "process.roles": "broker,controller",
            "node.id": str(node),
            "controller.quorum.voters": ",".join(voters),
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{ports.controller}",
            "advertised.listeners": advertised,
            "listener.security.protocol.map": (
                "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT"
            ),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(home / "data"),
            "auto.create.topics.enable": "false",
            "default.replication.factor": copies,
            "min.insync.replicas": needed,
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": needed,
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": needed,
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            "log.segment.bytes": "67108864",
            "log.cleaner.dedupe.buffer.size": "16777216",
            **self._settings,
        }


_SILENT = logging.getLogger(f"{__name__}.client")
_SILENT.propagate = False
_SILENT.addHandler(logging.NullHandler())


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaCluster]:
    """One broker for the whole run; tests use topics of their own names or make them anew."""
    with KafkaCluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def kafka_of_three() -> Iterator[KafkaCluster]:
    """Three brokers for the tests of a module, which leaves all of them running."""
    with KafkaCluster(brokers=3) as cluster:
        yield cluster


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.services.kafka",
        description="Chạy Kafka thật để thử / run a real Kafka for trying things out",
    )
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with KafkaCluster(brokers=chosen.brokers) as cluster:
            print(cluster.bootstrap, flush=True)
            while all(cluster.running(node) for node in cluster.nodes):
                time.sleep(0.5)
            sys.exit("\n".join(cluster.node_log(node)[-2000:] for node in cluster.nodes))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
