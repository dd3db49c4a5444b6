"""What the signer sees of a report: its figures, who has not confirmed, jumps, what is not sure, what is open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from sqlalchemy import Connection

from schemas.ledger import report_outbox, report_store
from schemas.ledger.model import ReportDelivery
from schemas.ledger.report_deliveries import report_deliveries
from schemas.ledger.report_outbox import Answered, Packet
from schemas.ledger.report_store import Audit, Confirmation, Draft, Objected, Report, Take
from schemas.reports import snapshots
from schemas.reports.snapshots import Snapshot
from streams.reporting.approvals import earlier_of
from streams.reporting.life import Refusal, Refused

JUMP_LEAST = 10
"""A figure that moves by fewer dossiers than this is no jump, whatever its share: one becomes two every month."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """A unit's figure that differs much from the period before. `percent` of what it was; None: it was 0."""

    unit: str | None
    column: str
    was: int
    now: int
    percent: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """A report and everything around its figures. Without `take` nothing is frozen yet."""

    report: Report
    takes: tuple[Take, ...]
    take: Take | None
    snapshot: Snapshot | None
    confirmed: Mapping[str, Confirmation]
    objections: tuple[Objected, ...]
    jumps: tuple[Jump, ...]
    draft: Draft | None
    packets: tuple[Packet, ...]
    answers: tuple[Answered, ...]
    story: tuple[Audit, ...]
    deliveries: Mapping[str, Sequence[ReportDelivery]] = field(default_factory=dict)

    def delivery_of(self, packet: Packet) -> ReportDelivery | None:
        """What became of a packet behind Kafka; None: the ledger has not taken it in, or has forgotten it."""
        found = self.deliveries.get(packet.stream_id, ())
        return next((one for one in found if one.revision == packet.revision), None)

    def is_last(self, answer: Answered) -> bool:
        """Whether nothing else was said of this packet afterwards."""
        about = [
            one
            for one in self.answers
            if (one.stream_id, one.revision) == (answer.stream_id, answer.revision)
        ]
        return about[-1] == answer

    @property
    def unconfirmed(self) -> list[str]:
        """Units that have not said that their row is right."""
        return sorted(set(self.take.units if self.take else ()) - self.confirmed.keys())


def overview(
    connection: Connection,
    report_id: str,
    *,
    jump_percent: float,
    revision: int | None = None,
) -> Overview:
    """A report with the newest take of a revision, by default of the newest. Raises `Refused`."""
    report = report_store.report_of(connection, report_id)
    if report is None:
        raise Refused(Refusal.UNKNOWN_REPORT, report_id)
    takes = report_store.takes(connection, report_id)
    take = next((one for one in takes if revision in {None, one.revision}), None)
    if take is None and revision is not None:
        raise Refused(Refusal.NO_FIGURES, f"r{revision}")
    snapshot = None
    found: tuple[Jump, ...] = ()
    if take is not None:
        snapshot = snapshots.read(report_store.content_of(connection, take.ref))
        earlier = earlier_of(connection, report_id)
        if earlier is not None:
            found = tuple(jumps(snapshot, earlier.snapshot, jump_percent))
    draft = report_store.drafts(connection).get(report_id)
    if draft is not None and takes[0].ref != (report_id, draft.revision, draft.take):
        draft = None
    packets = report_outbox.packets(connection, report_id)
    return Overview(
        report=report,
        takes=tuple(takes),
        take=take,
        snapshot=snapshot,
        confirmed={} if take is None else report_store.confirmations(connection, take),
        objections=tuple(report_store.objections(connection, report_id)),
        jumps=found,
        draft=draft,
        packets=tuple(packets),
        answers=tuple(report_outbox.answers(connection, report_id)),
        story=tuple(report_store.story(connection, report_id)),
        deliveries={
            name: report_deliveries(connection, name)
            for name in sorted({one.stream_id for one in packets})
        },
    )


def jumps(now: Snapshot, before: Snapshot, percent: float) -> Iterator[Jump]:
    """Every unit's figure that differs by more than `percent` of what it was, and by `JUMP_LEAST` at least."""
    if now.columns != before.columns:
        return
    old, new = before.by(_unit), now.by(_unit)
    for unit in sorted({*old, *new}, key=str):
        nothing: Sequence[snapshots.Value] = [0] * len(now.columns)
        pairs = zip(now.columns, old.get(unit, nothing), new.get(unit, nothing), strict=True)
        for column, was, is_now in pairs:
            if not (isinstance(was, int) and isinstance(is_now, int)):
                continue
            apart = abs(is_now - was)
            if apart < JUMP_LEAST or apart * 100 <= Decimal(str(percent)) * was:
                continue
            share = (
                None if was == 0 else (Decimal(is_now - was) * 100 / was).quantize(Decimal("0.1"))
            )
            yield Jump(
                unit=None if unit is None else str(unit),
                column=column,
                was=was,
                now=is_now,
                percent=share,
            )


def _unit(row: snapshots.Row) -> str | None:
    return row.agency
