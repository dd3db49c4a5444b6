"""The one catalogue of topics, in the order of the way of a dossier.

The Kafka key is the dossier id (of a dead letter where it is known; of an observation the indicator, of a packet the report). Topics
are neither compacted nor transactional, and the number of partitions is fixed when a topic is made: it
decides who owns which dossier. A topic comes into this list together with the flow that uses it.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.avro.packaged import Record
from schemas.records import (
    DeadLetter,
    DeliveryReceipt,
    DossierEvent,
    IndicatorObservation,
    Notice,
    ReportPacket,
)

PARTITIONS = 16
"""Partitions of every topic unless the setting says otherwise; the demo's broker needs 64."""

REPLICATION = 3
"""Replication of every topic on a real cluster; a single broker can only have 1."""

_DAY_MS = 24 * 60 * 60 * 1000
_MIB = 1024 * 1024
FOR_GOOD = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic: what is in it, who writes and reads it, and how the broker keeps it."""

    name: str
    record: type[Record]
    written_by: str
    read_by: str
    retention_ms: int
    max_message_bytes: int  # the producers' max_request_size too

    @property
    def subject(self) -> str:
        """The registry's subject of the values; keys are plain UTF-8 and have none."""
        return f"{self.name}-value"

    def config(self, replication: int = REPLICATION) -> dict[str, str]:
        """The broker's settings of this topic. With three replicas one may be down, and no more.

        Whoever reads the log relies on time alone to end it, hence no limit by size; and a replica that
        has fallen behind must never become the leader, because what it lacks would be lost.
        """
        return {
            "cleanup.policy": "delete",
            "retention.ms": str(self.retention_ms),
            "retention.bytes": "-1",
            "max.message.bytes": str(self.max_message_bytes),
            "min.insync.replicas": "2" if replication >= 3 else "1",
            "unclean.leader.election.enable": "false",
        }


ONESTOP_NOTICES = Topic(
    name="onestop.notices",
    record=Notice,
    written_by="capture",
    read_by="intake",
    retention_ms=30 * _DAY_MS,  # how far back a mended mapping can be applied without the source
    max_message_bytes=2 * _MIB,
)
DOSSIER_EVENTS = Topic(
    name="dossier.events",
    record=DossierEvent,
    written_by="intake",
    read_by="ledger",
    retention_ms=FOR_GOOD,  # dossiers and timelines can be rebuilt from it
    max_message_bytes=2 * _MIB,
)
DEAD_LETTERS = Topic(
    name="dead.letters",
    record=DeadLetter,
    written_by="intake, ledger",
    read_by="ledger",
    retention_ms=365 * _DAY_MS,
    max_message_bytes=4 * _MIB,  # holds the largest message of the others whole
)
DELIVERY_RECEIPTS = Topic(
    name="delivery.receipts",
    record=DeliveryReceipt,
    written_by="outbox",
    read_by="other systems of the province",
    retention_ms=90 * _DAY_MS,  # the ledger keeps them for good
    max_message_bytes=1 * _MIB,
)

INDICATOR_OBSERVATIONS = Topic(
    name="indicator.observations",
    record=IndicatorObservation,
    written_by="other systems of the province",
    read_by="ledger",
    retention_ms=365 * _DAY_MS,  # the ledger keeps them for good
    max_message_bytes=1 * _MIB,
)
REPORT_PACKETS = Topic(
    name="report.packets",
    record=ReportPacket,
    written_by="reporting",
    read_by="ledger",
    retention_ms=FOR_GOOD,  # a report that was sent can be asked for years later
    max_message_bytes=2 * _MIB,
)

TOPICS = (
    ONESTOP_NOTICES,
    DOSSIER_EVENTS,
    DEAD_LETTERS,
    DELIVERY_RECEIPTS,
    INDICATOR_OBSERVATIONS,
    REPORT_PACKETS,
)
"""All of them, in the order of the way; what is no dossier's comes last."""

OWING = (DOSSIER_EVENTS, REPORT_PACKETS)
"""Those whose records the ledger owes to targets."""

BY_NAME = {topic.name: topic for topic in TOPICS}
