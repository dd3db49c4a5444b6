"""The connection settings of the three Kafka clients, made from one section of the settings."""

from __future__ import annotations

import ssl
from typing import Any

import faust

from streams.embedded_broker import KAFKA_PYTHON_SETTINGS
from streams.settings import KafkaSettings, SecurityProtocol

# What a backlog may take of memory: records of a flow that wait, and bytes fetched ahead of a partition.
# Faust's consumer sleeps a second when its buffer is full: by then a flow has seconds of work in hand.
_BUFFER_RECORDS = 2048
_FETCH_RECORDS = 1000
_FETCH_PARTITION_BYTES = 256 * 1024  # one larger record still comes
_METADATA_MILLISECONDS = 10_000
"""A flow that was assigned nothing, while its topics were away, looks for them so often; 300 s by default."""

_COMMIT_SECONDS = 10.0  # for those who look at the group: the ledger's positions count


def aiokafka_connection(kafka: KafkaSettings) -> dict[str, Any]:
    """For aiokafka's producer and client."""
    settings: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "security_protocol": kafka.security_protocol.value,
        "ssl_context": _ssl_context(kafka),
    }
    if kafka.username is not None and kafka.password is not None:
        settings |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.username,
            "sasl_plain_password": kafka.password.get_secret_value(),
        }
    return settings


def kafka_python_connection(kafka: KafkaSettings) -> dict[str, Any]:
    """For kafka-python, the operators' tools."""
    settings = aiokafka_connection(kafka)
    settings["bootstrap_servers"] = kafka.bootstrap_servers.split(",")
    return settings | (dict(KAFKA_PYTHON_SETTINGS) if kafka.embedded else {})


def faust_settings(kafka: KafkaSettings) -> dict[str, Any]:
    """For a Faust app that reads raw bytes, declares nothing and serves nothing."""
    return {
        "broker": [f"kafka://{server.strip()}" for server in kafka.bootstrap_servers.split(",")],
        "broker_credentials": _faust_credentials(kafka),
        "broker_session_timeout": kafka.session_timeout_seconds,
        "broker_heartbeat_interval": kafka.session_timeout_seconds / 3,
        # A member that does not come back is given up after this; the default of 60 s would hold all.
        "broker_rebalance_timeout": kafka.session_timeout_seconds,
        "broker_commit_interval": _COMMIT_SECONDS,
        "consumer_metadata_max_age_ms": _METADATA_MILLISECONDS,
        "broker_max_poll_records": _FETCH_RECORDS,
        "consumer_max_fetch_size": _FETCH_PARTITION_BYTES,
        "stream_buffer_maxsize": _BUFFER_RECORDS,
        # The positions make it safe not to wait for bodies in a rebalance, and waiting could stall it.
        "stream_wait_empty": False,
        "consumer_auto_offset_reset": "earliest",
        "topic_partitions": kafka.partitions,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "key_serializer": "raw",
        "value_serializer": "raw",
        "store": "memory://",
        "autodiscover": False,
        "web_enabled": False,
    }


def _faust_credentials(kafka: KafkaSettings) -> Any:
    context = _ssl_context(kafka)
    if kafka.username is not None and kafka.password is not None:
        return faust.SASLCredentials(
            username=kafka.username,
            password=kafka.password.get_secret_value(),
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None


def _ssl_context(kafka: KafkaSettings) -> ssl.SSLContext | None:
    if kafka.security_protocol in {SecurityProtocol.SSL, SecurityProtocol.SASL_SSL}:
        return ssl.create_default_context(cafile=str(kafka.ca_file) if kafka.ca_file else None)
    return None
