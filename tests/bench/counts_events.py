"""The events of the bench's ledger and what became of their deliveries, beside the lives of `counts_fill`.

Every dossier of the month, but the first `UNTOLD`, has an event for its reception and one for its end, if it has
one; each owed the portal a step and a state. Of a hundred steps two are late, one is parked, one waits, and one of
the late was tried in vain before. Invented; the portal is never called.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, text

from schemas.ledger import partitions
from schemas.ledger.model import DeliveryState, Operation, Outcome
from schemas.ledger.partitions import IDS_A_MONTH
from schemas.reasons import Reason
from schemas.records import EventKind, Feed

MONTHS = (202607, 202608, 202609)
"""In which the steps of `MONTH`'s dossiers took effect."""

UNTOLD = 400
"""So many have none: of these some change while the bench runs, and events are made for them then."""

_LATE = frozenset({3, 5, 7, 9})
"""Whose steps are late, by the last two digits of the dossier's number: parked, waiting, after an hour twice."""


def late_dossiers(of_month: int) -> int:
    """How many have a late step in the month."""
    return sum(number % 100 in _LATE for number in range(UNTOLD + 1, of_month + 1))


def fill_events(connection: Connection, of_month: int) -> None:
    """Write them; `lives` is there."""
    partitions.provide(connection, MONTHS)
    for statement in _statements(of_month, sqlite=connection.dialect.name == "sqlite"):
        connection.execute(text(statement))
    for table in ("events", "timeline", "deliveries", "attempts"):
        connection.execute(text(f"ANALYZE {table}"))


def _statements(of_month: int, *, sqlite: bool) -> Iterator[str]:
    def later(moment: str, seconds: str) -> str:
        if sqlite:
            return f"{moment} + ({seconds}) * 1000000"
        return f"{moment} + make_interval(secs => {seconds})"

    if sqlite:
        day = "CAST(strftime('%Y%m%d', at / 1000000, 'unixepoch') AS integer)"
        blob, after = "x'00'", "0"
    else:
        day = "CAST(to_char(at AT TIME ZONE 'UTC', 'YYYYMMDD') AS integer)"
        blob, after = r"'\x00'::bytea", f"source_day / 100 * CAST({IDS_A_MONTH} AS bigint)"
    ended = "(fate < 55 OR fate BETWEEN 75 AND 89)"
    yield f"""
        CREATE TEMPORARY TABLE told AS
        SELECT *, {day} AS source_day FROM (
            SELECT n, id, 1 AS version, 'received' AS status, received AS at FROM lives
            WHERE n > {UNTOLD} AND n <= {of_month}
            UNION ALL
            SELECT n, id, 2, 'finished', finished FROM lives WHERE n > {UNTOLD} AND n <= {of_month} AND {ended}
        ) AS steps ORDER BY at"""
    yield f"""
        INSERT INTO events (event_id, source_day, dossier_id, kind, source, feed, topic, partition, log_pos,
            version, content_hash, effective_at, recorded_at, enlisted_at, payload)
        SELECT id || '-' || version, source_day, id, '{EventKind.CHANGE.value}', 'opencps', '{Feed.SWEEP.value}',
            'dossier.events', n % 16, n, version, '', at, {later("at", "5")}, {later("at", "6")}, {blob}
        FROM told"""
    yield f"""
        INSERT INTO timeline (event_id, source_day, dossier_id, log_pos, kind, status, status_carried, at,
            recorded_at)
        SELECT id || '-' || version, source_day, id, n, '{EventKind.CHANGE.value}', status, n < 0, at,
            {later("at", "5")}
        FROM told"""
    for number, operation in enumerate((Operation.STEP, Operation.STATE)):
        yield f"""
            INSERT INTO deliveries (delivery_id, event_id, source_day, dossier_id, target, operation, version,
                log_pos, partition, state, reason, enlisted_at, settled_at, attempt_id)
            SELECT {after} + 2 * place + {number}, id || '-' || version, source_day, id, 'national_portal',
                '{operation.value}', version, n, n % 16,
                CASE n % 100 WHEN 3 THEN '{DeliveryState.PARKED.value}'
                    WHEN 5 THEN '{DeliveryState.WAITING.value}' ELSE '{DeliveryState.DELIVERED.value}' END,
                CASE n % 100 WHEN 3 THEN '{Reason.UNMAPPED.value}' END, {later("at", "6")},
                CASE WHEN n % 100 IN (3, 5) THEN NULL
                    WHEN n % 100 IN (7, 9) THEN {later("at", "3600")}
                    ELSE {later("at", "20")} END,
                CASE WHEN n % 100 NOT IN (3, 5) THEN 'a' || id || '-' || version END
            FROM (SELECT *, row_number() OVER (ORDER BY at, n) AS place FROM told) AS steps"""
    yield f"""
        INSERT INTO attempts (attempt_id, dossier_id, target, kind, delivery_ids, version, content_hash,
            proved_absent, epoch, started_at, closed_at, outcome)
        SELECT 'f' || event_id, dossier_id, target, 'steps', '[' || delivery_id || ']', version, '', version < 0,
            1, enlisted_at, settled_at, '{Outcome.FAILED.value}'
        FROM deliveries WHERE operation = '{Operation.STEP.value}' AND log_pos % 100 = 7"""
