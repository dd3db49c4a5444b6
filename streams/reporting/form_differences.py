"""What changed in a window's form between two moments of knowledge: was, now, why, and which dossiers.

That is what a numbered revision of a report consists of; the frozen figures and these make the new ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, and_, or_, select, union

from monitoring.rates.catalogue import Words
from schemas.ledger.dialect import AnyRow, for_counting, in_code_order
from schemas.ledger.report_spans import RULES_CHANGED
from schemas.ledger.tables import dossiers, report_spans
from schemas.records import EventKind
from schemas.reports.form import Column, RowKey, Treatment, columns_of
from schemas.reports.periods import Window
from schemas.reports.standings import Standing
from streams.reporting.form_counts import KEYS, TooEarly, key_of, stand_of, standing_at


class Why(StrEnum):
    """Why a dossier counts otherwise than it did."""

    DELETED = "deleted"
    TAKEN_BACK = "taken_back"
    CORRECTED = "corrected"
    MAPPING_CHANGED = "mapping_changed"
    ARRIVED_LATE = "arrived_late"
    RECEPTION_CHANGED = "reception_changed"
    UNIT_CHANGED = "unit_changed"
    PROCEDURE_CHANGED = "procedure_changed"
    CHANNEL_CHANGED = "channel_changed"
    DUE_CHANGED = "due_changed"
    STATUS_LATE = "status_late"


WORDS: Mapping[Why, Words] = {
    Why.DELETED: Words(
        vi="hồ sơ đã bị xóa ở hệ thống một cửa", en="the source deleted the dossier"
    ),
    Why.TAKEN_BACK: Words(vi="bước xử lý đã được thu hồi", en="a step was taken back"),
    Why.CORRECTED: Words(vi="bước xử lý đã được sửa", en="a step was corrected"),
    Why.MAPPING_CHANGED: Words(vi="bảng ánh xạ mã đã thay đổi", en="the code mappings changed"),
    Why.ARRIVED_LATE: Words(
        vi="hồ sơ đến sau khi chốt số liệu", en="the dossier arrived after the cut-off"
    ),
    Why.RECEPTION_CHANGED: Words(
        vi="việc tiếp nhận hoặc ngày tiếp nhận đã thay đổi", en="the reception, or its day, changed"
    ),
    Why.UNIT_CHANGED: Words(
        vi="đơn vị giải quyết đã thay đổi", en="another agency handles the dossier"
    ),
    Why.PROCEDURE_CHANGED: Words(
        vi="thủ tục hoặc lĩnh vực đã thay đổi", en="another procedure or sector"
    ),
    Why.CHANNEL_CHANGED: Words(vi="kênh tiếp nhận đã thay đổi", en="another channel of reception"),
    Why.DUE_CHANGED: Words(vi="ngày hẹn trả đã thay đổi", en="another due date"),
    Why.STATUS_LATE: Words(
        vi="trạng thái được cập nhật muộn", en="the status was told late, or changed"
    ),
}
"""How each reason is told to people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """In which leaf row and columns a dossier counts, and what decides it. No columns: it does not count."""

    row: RowKey
    columns: frozenset[Column]
    standing: Standing
    received_on: date | None
    due_on: date | None
    closed_on: date | None
    channel: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A dossier that counts otherwise. `was`, `now` are None while it was not known at all.

    `why` is what weighs most among `reasons`, in the order of `Why`.
    """

    dossier_id: str
    code: str | None
    was: Side | None
    now: Side | None
    reasons: tuple[Why, ...]

    @property
    def why(self) -> Why:
        return self.reasons[0]


_COLUMNS = ("standing", "begun_on", "received_on", "closed_on", "due_on", "channel", "cause", *KEYS)
_DECIDE = ("standing", "received_on", "closed_on", "due_on", "channel", *KEYS)


def differences(
    connection: Connection,
    window: Window,
    was_known_at: datetime,
    now_known_at: datetime,
    treatment: Treatment,
) -> Sequence[Difference]:
    """The dossiers that count in another column or row at the second moment than at the first, by id.

    Raises `TooEarly`, and `ValueError` when the second moment comes before the first.
    """
    if now_known_at < was_known_at:
        raise ValueError(
            "the knowledge to compare with is older than the one that it is compared to"
        )
    if was_known_at < window.begins_at:
        raise TooEarly(f"a window from {window.first} is not known at {was_known_at.isoformat()}")
    for_counting(connection)
    found: list[Difference] = []
    for row in connection.execute(_changed(connection, window, was_known_at, now_known_at)):
        was, now = (_side(row, name, window, treatment) for name in ("was", "now"))
        if _counts(was) != _counts(now):
            found.append(
                Difference(
                    dossier_id=row.dossier_id,
                    code=row.code,
                    was=was,
                    now=now,
                    reasons=_reasons(was, now, row.now_cause),
                )
            )
    return found


def _changed(
    connection: Connection, window: Window, was_known_at: datetime, now_known_at: datetime
) -> Any:
    """Dossiers whose counting row of the last day was known and is no more, or is known and was not; with
    what there was of that day at both moments."""
    S = report_spans.c
    counting = (S.matters_until >= window.first, S.received_on <= window.last)
    gone = select(S.dossier_id).where(
        *counting,
        *standing_at(report_spans, window, was_known_at),
        S.known_until <= now_known_at,
    )
    new = select(S.dossier_id).where(
        *counting,
        *standing_at(report_spans, window, now_known_at),
        S.known_from > was_known_at,
    )
    became = union(gone, new).subquery("became")
    was, now = report_spans.alias("was"), report_spans.alias("now")
    joined = (
        became.outerjoin(
            was,
            and_(was.c.dossier_id == became.c.dossier_id, *standing_at(was, window, was_known_at)),
        )
        .outerjoin(
            now,
            and_(now.c.dossier_id == became.c.dossier_id, *standing_at(now, window, now_known_at)),
        )
        .outerjoin(dossiers, dossiers.c.dossier_id == became.c.dossier_id)
    )
    columns = [
        side.c[name].label(f"{side.name}_{name}") for side in (was, now) for name in _COLUMNS
    ]
    return (
        select(became.c.dossier_id, dossiers.c.code, *columns)
        .select_from(joined)
        .where(or_(*(was.c[name].is_distinct_from(now.c[name]) for name in _DECIDE)))
        .order_by(in_code_order(connection, became.c.dossier_id))
    )


@dataclass(frozen=True, slots=True)
class _Named:
    """The columns of one side of a row under their own names."""

    row: AnyRow
    side: str

    def __getattr__(self, name: str) -> Any:
        return getattr(self.row, f"{self.side}_{name}")


def _side(row: AnyRow, side: str, window: Window, treatment: Treatment) -> Side | None:
    told: Any = _Named(row, side)
    if told.standing is None:
        return None
    stand = stand_of(told)
    return Side(
        row=key_of(told),
        columns=columns_of(stand, window, treatment),
        standing=stand.standing,
        received_on=stand.received_on,
        due_on=stand.due_on,
        closed_on=stand.closed_on,
        channel=stand.channel,
    )


def _counts(side: Side | None) -> tuple[RowKey, frozenset[Column]] | None:
    return (side.row, side.columns) if side is not None and side.columns else None


_BY_CAUSE = {
    EventKind.ROLLBACK.value: Why.TAKEN_BACK,
    EventKind.DELETION.value: Why.TAKEN_BACK,  # of a step: the deletion of a dossier is told by its standing
    EventKind.CORRECTION.value: Why.CORRECTED,
    RULES_CHANGED: Why.MAPPING_CHANGED,
}


def _reasons(was: Side | None, now: Side | None, cause: str | None) -> tuple[Why, ...]:
    if now is not None and now.standing is Standing.DELETED:
        return (Why.DELETED,)
    found: set[Why] = set()
    if cause in _BY_CAUSE:
        found.add(_BY_CAUSE[cause])
    if was is None:
        found.add(Why.ARRIVED_LATE)
    elif now is not None:
        checks = {
            Why.RECEPTION_CHANGED: was.received_on != now.received_on,
            Why.UNIT_CHANGED: was.row.agency != now.row.agency,
            Why.PROCEDURE_CHANGED: (was.row.sector, was.row.procedure)
            != (now.row.sector, now.row.procedure),
            Why.CHANNEL_CHANGED: was.channel != now.channel,
            Why.DUE_CHANGED: was.due_on != now.due_on,
            Why.STATUS_LATE: (was.standing, was.closed_on) != (now.standing, now.closed_on),
        }
        found |= {why for why, is_so in checks.items() if is_so}
    return tuple(why for why in Why if why in found) or (Why.STATUS_LATE,)
