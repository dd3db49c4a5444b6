"""Which missing field costs which points, by unit: what a source does not tell counts against it.

For each fact that is unknown and each rate in force that uses it: of how many dossiers, and how many points the
unit would gain at most, which is the score that the portal would show if the fact were so of all of them, less
the one that it shows now. Both by the portal's own arithmetic (`points.shown`). Each fact is filled in by
itself; what two of them give together may differ from the sum by a hundredth, as points are rounded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import Connection, and_, case, func, select

from monitoring.rates.catalogue import Rate, Words, packaged
from monitoring.rates.dossier_counts import Scope, UnitCounts, count, live, within
from monitoring.rates.points import shown
from schemas.dossier.working_calendar import civil_day
from schemas.ledger.tables import figures

_F = figures.c
_ALL = Scope()

FIELDS: Mapping[str, Words] = {
    "due": Words(vi="ngày hẹn trả kết quả", en="the due date"),
    "received_at": Words(vi="thời điểm tiếp nhận", en="the time of reception"),
    "channel": Words(
        vi="kênh tiếp nhận (trực tuyến, trực tiếp, bưu chính)",
        en="the channel (online, at the counter, by post)",
    ),
    "electronic_result": Words(vi="tệp kết quả giải quyết", en="the file of the result"),
    "digitised": Words(
        vi="tệp kết quả giải quyết; thủ tục có trả kết quả hay không",
        en="the file of the result; whether the procedure has one",
    ),
    "reused": Words(
        vi="giấy tờ nộp có phải dữ liệu số hóa được dùng lại",
        en="whether a paper that was handed in is digitised data used again",
    ),
    "from_data_store": Words(
        vi="giấy tờ nộp có lấy từ kho dữ liệu của cá nhân, tổ chức",
        en="whether a paper came from the personal storage on the portal",
    ),
    "population_data": Words(
        vi="tài khoản nộp có được xác thực định danh điện tử; cơ sở dữ liệu đã khai thác",
        en="whether the account is verified by its electronic identity; the databases that were used",
    ),
    "paid_online": Words(
        vi="phí, lệ phí có được thanh toán trực tuyến", en="whether the fees were paid online"
    ),
    "financial_obligation": Words(
        vi="phí, lệ phí của hồ sơ; tình trạng nghĩa vụ tài chính",
        en="the fees of the dossier; its financial state",
    ),
}
"""Facts, by the names of `figures` where they are there, and the field of the source that would tell them."""

_TELLS: Mapping[str, str] = {
    "on_time_or_within_time": "due",
    "finished_on_time": "due",
    "open_within_time": "due",
    "online_on_time": "due",
    "with_electronic_result": "electronic_result",
    "digitised": "digitised",
    "with_reused_data": "reused",
    "in_personal_storage": "from_data_store",
    "with_citizen_data": "population_data",
    "paid_online": "paid_online",
    "with_financial_obligation": "financial_obligation",
}
"""By what fact a quantity has its unknown dossiers; what the list of service levels tells is no field of theirs."""

_OF_RECEPTION = frozenset({"received_in_period", "online_received", "with_financial_obligation"})
"""The quantities that a dossier without a time of reception is not even asked about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """One fact of one rate; `agency` is None for dossiers whose unit has no mapping, and for the total.

    `shown` and `complete` are the portal's score now and with the fact so of all `dossiers`; None where the
    portal shows no points, or where the fact decides whether a dossier belongs to the period at all.
    """

    agency: str | None
    fact: str
    rate: str
    dossiers: int
    shown: Decimal | None
    complete: Decimal | None

    @property
    def gain(self) -> Decimal | None:
        """The points to be had at most. 0 where the fact, told, can only lower the score."""
        if self.shown is None or self.complete is None:
            return None
        return max(self.complete - self.shown, Decimal(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """What is missing, by unit in the order of their codes, then by rate; and of all units together."""

    units: tuple[Missing, ...]
    total: tuple[Missing, ...]


def missing(
    connection: Connection, start: datetime, end: datetime, scope: Scope = _ALL
) -> Completeness:
    """What the sources leave untold of the dossiers that count in [start, end); `count` says of `end`.

    The rates are those in force on the last day. A dossier without a unit has its own row, and one without a
    procedure is only missed where a scope asks for one.
    """
    counted = count(connection, start, end, scope)
    apart = _apart(connection, start, end, scope)
    rates = _in_force(civil_day(end - timedelta.resolution))
    together: dict[str, int] = defaultdict(int)
    for counts in apart.values():
        for name, n in counts.items():
            together[name] += n
    return Completeness(
        units=tuple(
            one
            for unit in counted.units
            for one in _missing(unit, apart.get(unit.agency, {}), rates)
        ),
        total=tuple(_missing(counted.total, together, rates)),
    )


def _in_force(day: date) -> list[Rate]:
    found = (packaged().rate(code, on=day) for code in packaged().codes)
    return [rate for rate in found if rate is not None]


def _missing(unit: UnitCounts, apart: Mapping[str, int], rates: list[Rate]) -> Iterator[Missing]:
    for rate in rates:
        used = dict.fromkeys(name for term in rate.terms for name in term.quantities)
        told: dict[str, int] = {}  # fact -> of how many dossiers it is unknown
        for name in used:
            if name in _TELLS and unit.unknown.get(name):
                told.setdefault(_TELLS[name], unit.unknown[name])
        if "online_received" in used and apart.get("channel"):
            told["channel"] = apart["channel"]
        if _OF_RECEPTION & used.keys() and apart.get("received_at"):
            told["received_at"] = apart["received_at"]
        now = shown(rate, unit.shown).score
        for fact, dossiers in told.items():
            complete = None
            if now is not None and fact != "received_at":
                complete = shown(rate, _filled(unit, fact, dossiers, apart)).score
            yield Missing(
                agency=unit.agency,
                fact=fact,
                rate=rate.code,
                dossiers=dossiers,
                shown=now,
                complete=complete,
            )


def _filled(
    unit: UnitCounts, fact: str, dossiers: int, apart: Mapping[str, int]
) -> dict[str, int | None]:
    """The counts with the fact so of every dossier of which it is unknown.

    Who paid had something to pay: a dossier of which neither is known enters both counts.
    """
    counts = {name: None if n is None else int(n) for name, n in unit.shown.items()}
    more = {
        name: unit.unknown[name]
        for name, by in _TELLS.items()
        if by == fact and name in unit.unknown
    }
    if fact == "paid_online":
        more["with_financial_obligation"] = apart.get("neither_paid_nor_owed", 0)
    if fact == "channel":
        more["online_received"] = dossiers
    return {name: None if n is None else n + more.get(name, 0) for name, n in counts.items()}


def _apart(
    connection: Connection, start: datetime, end: datetime, scope: Scope
) -> dict[str | None, dict[str, int]]:
    """By unit, what the counts do not tell: facts whose lack makes no count unknown, and two at once."""
    received = and_(_F.received_at >= start, _F.received_at < end)
    conditions = {
        "channel": and_(received, _F.channel.is_(None)),
        "received_at": _F.received_at.is_(None),
        "neither_paid_nor_owed": and_(
            received, _F.paid_online.is_(None), _F.financial_obligation.is_(None)
        ),
    }
    there = live(start, end).subquery("live")
    query = (
        select(
            _F.agency_code,
            *(
                func.sum(case((condition, 1), else_=0)).label(name)
                for name, condition in conditions.items()
            ),
        )
        .select_from(there.join(figures, _F.dossier_id == there.c.dossier_id))
        .where(*within(scope))
        .group_by(_F.agency_code)
    )
    return {
        row.agency_code: {name: int(getattr(row, name)) for name in conditions}
        for row in connection.execute(query)
    }
