"""A Kafka broker for the demo and the tests: librdkafka's mock cluster, in a process of its own.

IT KEEPS NOTHING. All records, topics and committed offsets lie in that process's memory and are gone
when it ends. It is no broker for real dossiers.

The library is the one inside the confluent-kafka wheel, called through ctypes. Its limits (measured):

- a partition silently drops its oldest records beyond 5 MiB or 100,000 batches: use many partitions,
  and let `lowest_watermarks` prove afterwards that nothing was dropped;
- no CreateTopics, DescribeConfigs, ListGroups, DeleteRecords, transactions or offsets by time; topics
  are created here, or appear on first use with four partitions;
- one consumer per group; every rebalance after the first lasts the session timeout less one second;
- kafka-python needs `api_version=(2, 1)` and `enable_idempotence=False`.

As a program::

    python -m streams.embedded_broker --topic onestop.notices:64 --topic dossier.events:64

prints one JSON line ``{"bootstrap": "127.0.0.1:port"}`` and lives until SIGTERM or until its parent
ends. With ``--control`` it also obeys JSON lines on its standard input (one answer line for each) and
ends when that is closed; `EmbeddedBroker` uses it so.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import ctypes.util
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import confluent_kafka

# What kafka-python must be told to speak to this broker.
KAFKA_PYTHON_SETTINGS: Mapping[str, Any] = {"api_version": (2, 1)}

_START_TIMEOUT_SECONDS = 20.0
_STOP_TIMEOUT_SECONDS = 5.0
_PARENT_CHECK_SECONDS = 0.5
_PRODUCER_TYPE = 0  # RD_KAFKA_PRODUCER
_ERROR_TEXT_BYTES = 512


class BrokerError(RuntimeError):
    """The embedded broker did not start, has ended, or refused a command. The text says which."""


class Api(IntEnum):
    """The Kafka requests that tests make fail, by their number in the protocol."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12


class EmbeddedBroker:
    """Starts the broker's process and steers it. Topics are given as ``{name: partitions}``.

    ``with EmbeddedBroker({"onestop.notices": 64}) as broker: broker.bootstrap``. Calls block for
    milliseconds; starting takes about a third of a second. The process ends with `stop`, and also
    when the process that started it ends in any way.
    """

    def __init__(self, topics: Mapping[str, int], *, brokers: int = 1) -> None:
        self._topics = dict(topics)
        self._brokers = brokers
        self._process: subprocess.Popen[bytes] | None = None
        self._bootstrap: str | None = None

    @property
    def bootstrap(self) -> str:
        """``127.0.0.1:port``. Raises `BrokerError` when the broker is not started."""
        if self._bootstrap is None:
            raise BrokerError("the embedded broker is not started: call start() or use `with`")
        return self._bootstrap

    @property
    def pid(self) -> int:
        """The process id, for those who measure or kill it."""
        return self._running().pid

    def start(self) -> Self:
        """Start the process and wait until it serves. Raises `BrokerError`."""
        if self._process is not None:
            raise BrokerError("the embedded broker is already started")
        arguments = [sys.executable, "-m", "streams.embedded_broker", "--control"]
        arguments += ["--brokers", str(self._brokers)]
        for name, partitions in self._topics.items():
            arguments += ["--topic", f"{name}:{partitions}"]
        # `-m` looks in the folder it is started from; a test may run elsewhere.
        root = str(Path(__file__).resolve().parent.parent)
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        try:
            self._bootstrap = self._answer(_START_TIMEOUT_SECONDS)["bootstrap"]
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the process. All that it held is gone. Safe to call twice."""
        process, self._process, self._bootstrap = self._process, None, None
        if process is None:
            return
        with contextlib.suppress(BrokenPipeError):
            assert process.stdin is not None
            process.stdin.close()
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def set_down(self, broker: int = 1) -> None:
        """Close the broker's connections and refuse new ones; its records stay."""
        self._command({"do": "down", "broker": broker})

    def set_up(self, broker: int = 1) -> None:
        """Accept connections again."""
        self._command({"do": "up", "broker": broker})

    def set_rtt(self, milliseconds: int, broker: int = 1) -> None:
        """Delay every answer by that long; 0 ends it."""
        self._command({"do": "rtt", "broker": broker, "milliseconds": milliseconds})

    def push_errors(self, api: Api, codes: Sequence[int]) -> None:
        """Answer the next ``len(codes)`` requests of this kind with these Kafka error codes."""
        self._command({"do": "errors", "api": int(api), "codes": list(codes)})

    def create_topic(self, name: str, partitions: int) -> None:
        """Create one more topic. Raises `BrokerError` when it is already there."""
        self._command({"do": "topic", "name": name, "partitions": partitions})

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise BrokerError("the embedded broker is not started: call start() or use `with`")
        return self._process

    def _command(self, command: Mapping[str, object]) -> None:
        process = self._running()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(command).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError as error:
            raise BrokerError(f"the embedded broker has ended (pid {process.pid})") from error
        answer = self._answer(_STOP_TIMEOUT_SECONDS)
        if "error" in answer:
            raise BrokerError(f"the embedded broker refused {command['do']}: {answer['error']}")

    def _answer(self, timeout_seconds: float) -> Any:
        process = self._running()
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], timeout_seconds)
        line = process.stdout.readline() if ready else b""
        if not line:
            state = process.poll()
            told = "gives no answer" if state is None else f"has ended with status {state}"
            raise BrokerError(f"the embedded broker {told} (pid {process.pid})")
        return json.loads(line)


def lowest_watermarks(bootstrap: str, topics: Iterable[str]) -> dict[tuple[str, int], int]:
    """The lowest offset still held, by (topic, partition). Anything above 0 means: records were dropped.

    Raises `BrokerError` for a topic that the broker does not have.
    """
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, **KAFKA_PYTHON_SETTINGS)
    try:
        known = consumer.topics()
        wanted = []
        for topic in topics:
            if topic not in known:
                raise BrokerError(f"topic {topic}: the broker at {bootstrap} does not have it")
            wanted += [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]
        lowest = consumer.beginning_offsets(wanted)
        return {(tp.topic, tp.partition): int(lowest[tp]) for tp in wanted}
    finally:
        consumer.close()


# --- the process -----------------------------------------------------------------------------------


def _library_path() -> str:
    folder = Path(confluent_kafka.__file__).resolve().parent
    found = sorted((folder.parent / "confluent_kafka.libs").glob("librdkafka*.so*"))
    path = str(found[0]) if found else ctypes.util.find_library("rdkafka")
    if path is None:
        raise BrokerError(
            "librdkafka not found: install confluent-kafka from its binary wheel "
            "(pip install --only-binary :all: confluent-kafka)"
        )
    return path


class _MockCluster:
    """The few functions of librdkafka's mock cluster that we use."""

    def __init__(self, brokers: int) -> None:
        self._brokers = brokers
        self._lib = ctypes.CDLL(_library_path())
        pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
        for name, result, arguments in (
            ("rd_kafka_conf_new", pointer, []),
            ("rd_kafka_conf_set", number, [pointer, text, text, text, ctypes.c_size_t]),
            ("rd_kafka_new", pointer, [number, pointer, text, ctypes.c_size_t]),
            ("rd_kafka_err2str", text, [number]),
            ("rd_kafka_mock_cluster_new", pointer, [pointer, number]),
            ("rd_kafka_mock_cluster_bootstraps", text, [pointer]),
            ("rd_kafka_mock_topic_create", number, [pointer, text, number, number]),
            ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, [pointer, ctypes.c_int32]),
            ("rd_kafka_mock_broker_set_down", number, [pointer, ctypes.c_int32]),
            ("rd_kafka_mock_broker_set_up", number, [pointer, ctypes.c_int32]),
            ("rd_kafka_mock_broker_set_rtt", number, [pointer, ctypes.c_int32, number]),
            (
                "rd_kafka_mock_push_request_errors_array",
                None,
                [pointer, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(number)],
            ),
        ):
            function = getattr(self._lib, name)
            function.restype = result
            function.argtypes = arguments
        self._cluster = self._new(brokers)
        # By default the first join of a group waits three seconds for further members.
        self._lib.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)

    def _new(self, brokers: int) -> int:
        why = ctypes.create_string_buffer(_ERROR_TEXT_BYTES)
        conf = self._lib.rd_kafka_conf_new()
        # Our standard error is the caller's screen: only what is critical may stand there.
        self._lib.rd_kafka_conf_set(conf, b"log_level", b"2", why, _ERROR_TEXT_BYTES)
        handle = self._lib.rd_kafka_new(_PRODUCER_TYPE, conf, why, _ERROR_TEXT_BYTES)
        if not handle:
            raise BrokerError(f"librdkafka does not start: {why.value.decode()}")
        cluster = self._lib.rd_kafka_mock_cluster_new(handle, brokers)
        if not cluster:
            raise BrokerError("librdkafka's mock cluster does not start")
        return int(cluster)

    def bootstrap(self) -> str:
        servers: bytes = self._lib.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return servers.decode()

    def create_topic(self, name: str, partitions: int) -> None:
        create = self._lib.rd_kafka_mock_topic_create
        self._check(create(self._cluster, name.encode(), partitions, self._brokers))

    def obey(self, command: Mapping[str, Any]) -> None:
        lib, cluster = self._lib, self._cluster
        match command["do"]:
            case "down":
                self._check(lib.rd_kafka_mock_broker_set_down(cluster, command["broker"]))
            case "up":
                self._check(lib.rd_kafka_mock_broker_set_up(cluster, command["broker"]))
            case "rtt":
                delay = command["milliseconds"]
                self._check(lib.rd_kafka_mock_broker_set_rtt(cluster, command["broker"], delay))
            case "errors":
                codes = command["codes"]
                array = (ctypes.c_int * len(codes))(*codes)
                push = lib.rd_kafka_mock_push_request_errors_array
                push(cluster, command["api"], len(codes), array)
            case "topic":
                self.create_topic(command["name"], command["partitions"])
            case unknown:
                raise BrokerError(f"unknown command {unknown!r}")

    def _check(self, code: int) -> None:
        if code != 0:
            raise BrokerError(self._lib.rd_kafka_err2str(code).decode())


def _topic(text: str) -> tuple[str, int]:
    name, _, partitions = text.rpartition(":")
    if not name or not partitions.isdigit() or int(partitions) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: write it as name:partitions")
    return name, int(partitions)


def _commands(parent: int) -> Iterator[bytes]:
    """Lines of standard input, until it is closed or the parent is gone."""
    buffer = b""
    while os.getppid() == parent:
        ready, _, _ = select.select([0], [], [], _PARENT_CHECK_SECONDS)
        if not ready:
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            return
        *lines, buffer = (buffer + chunk).split(b"\n")
        yield from lines


def _say(line: Mapping[str, str]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _end(_number: int, _frame: FrameType | None) -> None:
    # Nothing is kept, so nothing is to be tidied up; librdkafka's own shutdown takes up to a second.
    os._exit(0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM, or until the parent ends, or (with --control) until stdin is closed."""
    parent = os.getppid()
    parser = argparse.ArgumentParser(
        prog="python -m streams.embedded_broker",
        description="A Kafka broker in memory, for demos and tests. It keeps nothing.",
    )
    parser.add_argument("--topic", type=_topic, action="append", default=[], metavar="NAME:COUNT")
    parser.add_argument("--brokers", type=int, default=1)
    parser.add_argument("--control", action="store_true", help="obey JSON lines on stdin")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    # Ctrl-C reaches the whole foreground group: under control, whoever started us ends us in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN if given.control else _end)
    cluster = _MockCluster(given.brokers)
    for name, partitions in given.topic:
        cluster.create_topic(name, partitions)
    _say({"bootstrap": cluster.bootstrap()})
    if given.control:
        for line in _commands(parent):
            try:
                cluster.obey(json.loads(line))
            except (BrokerError, ValueError, KeyError, TypeError, ctypes.ArgumentError) as error:
                _say({"error": f"{type(error).__name__}: {error}"})
            else:
                _say({"done": "ok"})
    else:
        while os.getppid() == parent:
            select.select([], [], [], _PARENT_CHECK_SECONDS)
    os._exit(0)


if __name__ == "__main__":
    main()
