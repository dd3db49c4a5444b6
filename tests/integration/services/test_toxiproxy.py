"""The proxy kit: a link can be silenced, cut and mended, also those of Kafka's brokers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.services.kafka import KafkaCluster
from tests.services.server_process import ServiceFailed
from tests.services.toxiproxy import Link, Toxiproxy, toxiproxy

__all__ = ["toxiproxy"]

pytestmark = pytest.mark.integration


@pytest.fixture
def echo() -> Iterator[str]:
    """The address of a server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        while data := connection.recv(1024):
                            connection.sendall(data)
                    except ConnectionError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(30)


def asked(link: Link, seconds: float) -> bytes:
    host, port = link.listen.split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(b"hello")
        return connection.recv(5)


def test_a_link_is_silenced_and_healed(toxiproxy: Toxiproxy, echo: str) -> None:
    link = toxiproxy.link(echo)
    assert asked(link, 30) == b"hello"
    link.add("timeout", timeout=0)
    with pytest.raises(TimeoutError):
        asked(link, 1)
    link.heal()
    assert asked(link, 30) == b"hello"


def test_a_connection_is_reset(toxiproxy: Toxiproxy, echo: str) -> None:
    link = toxiproxy.link(echo)
    link.add("reset_peer", timeout=0)
    with pytest.raises(ConnectionResetError):
        asked(link, 30)


def test_a_link_is_cut_and_mended(toxiproxy: Toxiproxy, echo: str) -> None:
    link = toxiproxy.link(echo)
    link.cut()
    with pytest.raises(ConnectionRefusedError):
        asked(link, 30)
    link.mend()
    assert asked(link, 30) == b"hello"


def test_a_toxic_that_is_none_is_refused_with_what_it_said(toxiproxy: Toxiproxy, echo: str) -> None:
    with pytest.raises(ServiceFailed, match=r"(?i)invalid toxic type"):
        toxiproxy.link(echo).add("arsenic")  # type: ignore[arg-type] # as a mistake would


def test_kafka_is_reached_through_its_proxies_alone(toxiproxy: Toxiproxy) -> None:
    with KafkaCluster(proxied=True) as cluster:
        links = toxiproxy.links_for(cluster)
        client = AdminClient({"bootstrap.servers": cluster.proxied_bootstrap, "log_level": 0})
        (broker,) = client.list_topics(timeout=30).brokers.values()
        assert f"{broker.host}:{broker.port}" == links[1].listen
        links[1].cut()
        with pytest.raises(KafkaException):
            client.list_topics(timeout=2)
        assert cluster.running(1)
        links[1].mend()
        assert client.list_topics(timeout=60).brokers
