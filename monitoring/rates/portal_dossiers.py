"""The dossiers that may explain why the portal counts more, or fewer, than the hub.

The portal does not say which dossiers it counted. What the hub knows of what it sent points at some of them: those
that it does not know to be there, those of which changes are parked or still to be sent, and those of which it cannot
tell itself whether they count. Nothing here proves anything; the reasons stand in the order of likelihood.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, and_, false, func, or_, select

from monitoring.rates.catalogue import Words
from monitoring.rates.dossier_counts import PORTAL, Counting, Scope, dossiers_of
from schemas.ledger.dialect import AnyRow
from schemas.ledger.figures import JUDGED, Standing
from schemas.ledger.model import DeliveryState, Known
from schemas.ledger.tables import OPEN_DELIVERY, deliveries, dossier_target, dossiers, figures
from schemas.ledger.work import chunks

PRESENCE = frozenset({"synced_received_in_period"})
"""Quantities that count whether a dossier is at the portal, as far as the hub knows."""


class Why(StrEnum):
    """Why a dossier may explain the difference, the most likely reason first."""

    ABSENT = "absent"
    PARKED = "parked"
    UNSENT = "unsent"
    NOT_KNOWN_THERE = "not_known_there"
    CHANGE_PARKED = "change_parked"
    CHANGE_UNSENT = "change_unsent"
    DELETED = "deleted"
    UNJUDGED = "unjudged"
    FACT_UNKNOWN = "fact_unknown"


WORDS: Mapping[Why, Words] = {
    Why.ABSENT: Words(vi="không có trên Cổng", en="is not at the portal"),
    Why.PARKED: Words(
        vi="chưa rõ đã có trên Cổng; bản tin bị treo",
        en="is not known to be at the portal; its delivery is parked",
    ),
    Why.UNSENT: Words(
        vi="chưa rõ đã có trên Cổng; bản tin chưa gửi xong",
        en="is not known to be at the portal; it is still to be sent",
    ),
    Why.NOT_KNOWN_THERE: Words(vi="chưa rõ đã có trên Cổng", en="is not known to be at the portal"),
    Why.CHANGE_PARKED: Words(
        vi="Cổng còn giữ trạng thái cũ: thay đổi bị treo",
        en="the portal holds an older state: a change is parked",
    ),
    Why.CHANGE_UNSENT: Words(
        vi="Cổng còn giữ trạng thái cũ: thay đổi chưa gửi xong",
        en="the portal holds an older state: a change is still to be sent",
    ),
    Why.DELETED: Words(
        vi="đã xoá ở nguồn, Cổng có thể vẫn đếm",
        en="was deleted at the source, the portal may go on counting it",
    ),
    Why.UNJUDGED: Words(
        vi="Trục chưa đánh giá được (thiếu ánh xạ, thiếu bước hoặc thời gian sai)",
        en="the hub cannot judge it (no mapping, a step missing, or an impossible time)",
    ),
    Why.FACT_UNKNOWN: Words(
        vi="hồ sơ không cho biết có được đếm hay không",
        en="the dossier does not tell whether it counts",
    ),
}
"""In words."""

_ORDER = {why: place for place, why in enumerate(Why)}
_MORE_THERE = (Why.CHANGE_PARKED, Why.CHANGE_UNSENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A dossier that may explain a difference. `reason` is that of the parked delivery, one of `schemas.reasons`."""

    dossier_id: str
    code: str | None
    agency: str | None
    why: Why
    reason: str | None = None

    def as_dict(self) -> dict[str, object]:
        """For JSON and CSV."""
        words = WORDS[self.why]
        return {
            "dossier_id": self.dossier_id,
            "code": self.code,
            "agency": self.agency,
            "why": str(self.why),
            "reason": self.reason,
            "vi": words.vi,
            "en": words.en,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """What the hub knows of a dossier at the portal. `parked` and `unsent`: there are such deliveries."""

    dossier_id: str
    code: str | None
    agency: str | None
    known: Known
    standing: Standing
    parked: bool = False
    unsent: bool = False
    reason: str | None = None


def suspects(
    connection: Connection,
    quantity: str,
    start: datetime,
    end: datetime,
    scope: Scope,
    *,
    more_here: bool,
) -> list[Suspect]:
    """The dossiers of a scope that may explain why the hub counts more of a quantity in [start, end) than the
    portal (`more_here`), or fewer; by likelihood, then by code. Raises `NotCounted`.
    """
    counted = {one.dossier_id: one for one in dossiers_of(connection, quantity, start, end, scope)}
    if more_here:
        found = (
            _suspect(sent, _more_here(sent, counted[sent.dossier_id]))
            for sent in _sent(connection, counted)
        )
    else:
        others = dict.fromkeys(_maybe_there(connection, end, scope))
        if quantity in PRESENCE:
            absent = dossiers_of(connection, quantity, start, end, scope, instead=True)
            others |= dict.fromkeys(one.dossier_id for one in absent)
        others |= dict.fromkeys(key for key, one in counted.items() if one.counts is None)
        candidates = [key for key in others if key not in counted or counted[key].counts is None]
        found = (
            _suspect(sent, _more_there(sent, counted.get(sent.dossier_id), quantity))
            for sent in _sent(connection, candidates)
        )
    listed = [one for one in found if one is not None]
    return sorted(listed, key=lambda one: (_ORDER[one.why], one.code or "", one.dossier_id))


def _suspect(sent: _Sent, why: Why | None) -> Suspect | None:
    if why is None:
        return None
    return Suspect(
        dossier_id=sent.dossier_id,
        code=sent.code,
        agency=sent.agency,
        why=why,
        reason=sent.reason if why in (Why.PARKED, Why.CHANGE_PARKED) else None,
    )


def _more_here(sent: _Sent, counting: Counting) -> Why | None:
    """Why the portal may not count a dossier that we count."""
    if sent.known is Known.ABSENT:
        return Why.ABSENT
    if sent.known is not Known.PRESENT:
        return _pick(sent, Why.PARKED, Why.UNSENT) or Why.NOT_KNOWN_THERE
    change = _pick(sent, *_MORE_THERE)
    return change or (Why.FACT_UNKNOWN if counting.counts is None else None)


def _more_there(sent: _Sent, counting: Counting | None, quantity: str) -> Why | None:
    """Why the portal may count a dossier that we do not: it is there, and knows other things of it than we."""
    if sent.known is not Known.PRESENT:
        return Why.NOT_KNOWN_THERE if quantity in PRESENCE and sent.known is Known.UNKNOWN else None
    change = _pick(sent, *_MORE_THERE)
    if change is not None:
        return change
    if sent.standing is Standing.DELETED:
        return Why.DELETED
    if sent.standing not in JUDGED:
        return Why.UNJUDGED
    return Why.FACT_UNKNOWN if counting is not None and counting.counts is None else None


def _pick(sent: _Sent, parked: Why, unsent: Why) -> Why | None:
    if sent.parked:
        return parked
    return unsent if sent.unsent else None


# --- asking the ledger -------------------------------------------------------------------------------

_F, _P, _T, _D = figures.c, dossiers.c, dossier_target.c, deliveries.c
_AT_PORTAL = and_(_T.dossier_id == _F.dossier_id, _T.target == PORTAL)
_CODE = func.coalesce(_F.code, _P.code, _T.claimed_code)


def _maybe_there(connection: Connection, end: datetime, scope: Scope) -> list[str]:
    """Dossiers of the scope of which the portal may know other things than we: with changes to be sent, that we
    cannot judge, or that the source deleted; received by the end of the period or not known to be."""
    judged = sorted(standing.value for standing in JUDGED)
    owed = select(_D.dossier_id).where(_D.target == PORTAL, OPEN_DELIVERY)
    received = func.coalesce(_F.received_at, _P.received_at)
    query = (
        select(_F.dossier_id)
        .join(dossiers, _P.dossier_id == _F.dossier_id)
        .outerjoin(dossier_target, _AT_PORTAL)
        .where(
            or_(_F.standing.not_in(judged), _F.dossier_id.in_(owed)),
            or_(received.is_(None), received < end),
            *_within(scope),
        )
        .order_by(_F.dossier_id)
    )
    return list(connection.execute(query).scalars())


def _within(scope: Scope) -> list[ColumnElement[bool]]:
    """Of a dossier without facts the unit is told by its code, which begins with that of the unit; of one that was
    deleted, by the code under which it was sent."""
    where: list[ColumnElement[bool]] = []
    if scope.agencies is not None:
        agencies = sorted(scope.agencies)
        prefixes = [f"{written}-" for agency in agencies for written in _written(agency)]
        by_code = or_(false(), *(_CODE.startswith(p, autoescape=True) for p in prefixes))
        where.append(or_(_F.agency_code.in_(agencies), and_(_F.agency_code.is_(None), by_code)))
    if scope.procedure is not None:
        where.append(_F.procedure_code == scope.procedure)
    if scope.sector is not None:
        where.append(_F.sector_code == scope.sector)
    return where


def _written(agency: str) -> list[str]:
    """A unit's code, and the same in the older order where that can hold it: H12.01 and 000.00.01.H12."""
    province, *rest = agency.split(".")
    if len(rest) > 1 or any(len(part) != 2 for part in rest):
        return [agency]
    return [agency, f"000.00.{rest[0] if rest else '00'}.{province}"]


def _sent(connection: Connection, dossier_ids: Iterable[str]) -> list[_Sent]:
    """What is known of these at the portal; a dossier that was born there is there."""
    found = []
    for some in chunks(sorted(dossier_ids)):
        query = (
            select(
                _F.dossier_id,
                _CODE.label("code"),
                _F.agency_code,
                _F.born_on_portal,
                _F.standing,
                _T.known,
            )
            .join(dossiers, _P.dossier_id == _F.dossier_id)
            .outerjoin(dossier_target, _AT_PORTAL)
            .where(_F.dossier_id.in_(some))
        )
        owed = select(_D.dossier_id, _D.state, _D.reason).where(
            _D.target == PORTAL, OPEN_DELIVERY, _D.dossier_id.in_(some)
        )
        rows: dict[str, list[AnyRow]] = {}
        for row in connection.execute(owed.order_by(_D.log_pos)):
            rows.setdefault(row.dossier_id, []).append(row)
        found += [_one(row, rows.get(row.dossier_id, [])) for row in connection.execute(query)]
    return found


def _one(row: AnyRow, owed: list[AnyRow]) -> _Sent:
    parked = [one.reason for one in owed if one.state == DeliveryState.PARKED.value]
    known = Known.PRESENT if row.born_on_portal else Known(row.known or Known.UNKNOWN)
    return _Sent(
        dossier_id=row.dossier_id,
        code=row.code,
        agency=row.agency_code,
        known=known,
        standing=Standing(row.standing),
        parked=bool(parked),
        unsent=len(parked) < len(owed),
        reason=parked[0] if parked else None,
    )
