"""Chênh lệch với Cổng: what the portal publishes beside ours, by unit and metric, with the points at stake.

Ours is what the portal would show for the dossiers that the hub knows (`points.shown` over `dossier_counts`). Where
the hub cannot count a part of a figure, the portal's own counts stand in for it and are named in `borrowed`, so that
the rest can still be held against it; where nothing of it can be counted, the figure is not comparable, and why is
said. Units are matched by code.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection

from monitoring.rates import dossier_counts
from monitoring.rates.catalogue import TOTAL, Catalogue, Rate, Term, Words
from monitoring.rates.dossier_counts import PROVISIONAL, Scope, UnitCounts
from monitoring.rates.periods import Period
from monitoring.rates.points import Count, Counts, Figure, shown, total
from monitoring.rates.published import metrics_of
from monitoring.rates.published_names import GROUP_BLOCKS, RESULTS
from schemas.ledger.published import PublishedFigure, Version

NOTHING = Figure(None, None)


class Verdict(StrEnum):
    """How a published figure and ours stand to each other."""

    SAME = "same"
    DIFFERS = "differs"
    ONLY_THERE = "only_there"  # the hub does not know the unit
    ONLY_HERE = "only_here"  # the portal publishes nothing of a unit that has dossiers
    NOT_COMPARABLE = "not_comparable"


COMPARABLE = frozenset({Verdict.SAME, Verdict.DIFFERS})
"""The verdicts of figures that can be held against each other."""


class CountPair(NamedTuple):
    """One count on both sides; None: not published, or not counted by the hub."""

    quantity: str
    portal: Decimal | None
    ours: Count | None

    @property
    def difference(self) -> Decimal | None:
        """The portal's less ours."""
        if self.portal is None or self.ours is None:
            return None
        return self.portal - exact(self.ours)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One unit's figure of one metric on both sides.

    `portal` and `ours` are ratio in per cent and score in points, `counts` what the shares are made of.
    `borrowed` names the quantities, or for a total the metrics, for which the portal's own values stand in ours.
    `unknown`: of how many of our dossiers a fact is not known; `unjudged`: how many are in no count of ours because
    their life could not be read.
    """

    service: str
    unit: str
    metric: str
    verdict: Verdict
    portal: Figure
    ours: Figure
    counts: tuple[CountPair, ...] = ()
    maximum: Decimal | None = None
    borrowed: tuple[str, ...] = ()
    why: Words | None = None
    flag: str | None = None
    seen_at: datetime | None = None
    unknown: int = 0
    unjudged: int = 0

    @property
    def points(self) -> Decimal | None:
        """The points at stake: the portal's score less ours; below 0 the portal gives less than we would.

        A score that is not shown is 0 points, as it is in a total. None where neither side has one, and where
        the two cannot be held against each other.
        """
        if self.verdict not in COMPARABLE or self.portal.score == self.ours.score is None:
            return None
        return (self.portal.score or Decimal(0)) - (self.ours.score or Decimal(0))

    @property
    def differing(self) -> tuple[CountPair, ...]:
        """The counts of which the two sides have different ones."""
        return tuple(pair for pair in self.counts if pair.difference)

    def as_dict(self) -> dict[str, object]:
        """For JSON and CSV. Numbers as the portal writes them."""
        return {
            "service": self.service,
            "departmentCode": self.unit,
            "metric": self.metric,
            "verdict": str(self.verdict),
            "portal_ratio": self.portal.ratio,
            "our_ratio": self.ours.ratio,
            "portal_score": self.portal.score,
            "our_score": self.ours.score,
            "points": self.points,
            "maximum": self.maximum,
            "counts": [
                {
                    "quantity": pair.quantity,
                    "portal": pair.portal,
                    "ours": None if pair.ours is None else exact(pair.ours),
                }
                for pair in self.counts
            ],
            "borrowed": list(self.borrowed),
            "why": None if self.why is None else {"vi": self.why.vi, "en": self.why.en},
            "flag": self.flag,
            "seen_at": self.seen_at,
            "unknown": self.unknown,
            "unjudged": self.unjudged,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class OurUnit:
    """What the hub counts of a unit with all units under it."""

    counts: Counts
    unknown: Mapping[str, int]
    unjudged: int = 0


# --- our side ----------------------------------------------------------------------------------------


def ours(
    connection: Connection, start: datetime, end: datetime, units: Collection[str]
) -> dict[str, OurUnit]:
    """What the portal would count in [start, end) from our dossiers, of these units and of all that have dossiers.

    A unit's figures include those of the units whose codes begin with its own, as the codes of Decision
    20/2020/QĐ-TTg are built; that the portal's do so too is inferred. Dossiers whose unit has no mapping cannot be
    sent and are in none.
    """
    counted = dossier_counts.count(connection, start, end)
    found = {unit.agency: unit for unit in counted.units if unit.agency is not None}
    return {
        code: _together([found[one] for one in found if is_within(one, code)], counted.total)
        for code in sorted({*units, *found})
    }


def is_within(code: str, unit: str) -> bool:
    """Whether a unit is this one or stands under it, by its code."""
    return code == unit or code.startswith(f"{unit}.")


def scope_of(unit: str, codes: Iterable[str]) -> Scope:
    """The dossiers of a unit with all units under it, of these codes."""
    return Scope(agencies={unit, *(code for code in codes if is_within(code, unit))})


def _together(units: Sequence[UnitCounts], like: UnitCounts) -> OurUnit:
    counts = {
        name: None if count is None else sum(unit.shown[name] or 0 for unit in units)
        for name, count in like.shown.items()
    }
    unknown = {name: sum(unit.unknown[name] for unit in units) for name in like.unknown}
    return OurUnit(counts=counts, unknown=unknown, unjudged=sum(unit.unjudged for unit in units))


# --- the comparison ----------------------------------------------------------------------------------


def compare(
    catalogue: Catalogue,
    period: Period,
    published: Sequence[Version],
    here: Mapping[str, OurUnit],
) -> list[Compared]:
    """Every published figure beside ours, and our units of which nothing is published; by service, unit, metric.

    `published`: at most one version of each figure. The rates are those in force on the last day of the period.
    """
    comparison = _Comparison(catalogue, period, here)
    parts = [one for one in published if one.service != RESULTS and one.figure.metric != TOTAL]
    for one in parts:
        comparison.add(one, comparison.rate(one))
    for one in published:
        if one.service != RESULTS and one.figure.metric == TOTAL:
            comparison.add(one, comparison.block(one, one.service))
    for one in published:
        if one.service == RESULTS:
            comparison.add(one, comparison.result(one))
    found = [*comparison.compared.values(), *_only_here(catalogue, period, parts, here)]
    return sorted(found, key=lambda one: (one.service, one.unit, one.metric))


class _Comparison:
    """What was compared so far, by service, unit and metric: totals are made of it."""

    def __init__(self, catalogue: Catalogue, period: Period, here: Mapping[str, OurUnit]) -> None:
        self._catalogue = catalogue
        self._period = period
        self._here = here
        self.compared: dict[tuple[str, str, str], Compared] = {}

    def add(self, one: Version, compared: Compared) -> None:
        self.compared[one.service, one.figure.unit, one.figure.metric] = compared

    def rate(self, one: Version) -> Compared:
        figure = one.figure
        own = self._here.get(figure.unit)
        rate = self._catalogue.rate(figure.metric, on=self._period.last)
        if own is None:
            return _row(one, Verdict.ONLY_THERE, why=_UNIT_UNKNOWN)
        if rate is None or len(rate.terms) != len(figure.terms):
            return _row(one, Verdict.NOT_COMPARABLE, why=_NO_RULE)
        counts, pairs, lacking = _counts(rate, figure, own.counts)
        names = {name for term in rate.terms for name in term.quantities}
        row = replace(
            _row(one, Verdict.DIFFERS),
            counts=pairs,
            unknown=sum(own.unknown.get(name, 0) for name in names),
            unjudged=own.unjudged,
        )
        if len(lacking) == len(rate.terms):
            why = self._why(lacking[0], own.counts)
            return replace(row, verdict=Verdict.NOT_COMPARABLE, why=why)
        ours = shown(rate, counts)
        borrowed = tuple(name for term in lacking for name in (term.numerator, term.denominator))
        row = replace(row, ours=ours, borrowed=borrowed)
        if _same(figure, ours) and not row.differing:
            return replace(row, verdict=Verdict.SAME)
        provisional = next((name for name, *_ in pairs if name in PROVISIONAL), None)
        if provisional is not None:
            why = self._provisional(provisional)
            return replace(row, verdict=Verdict.NOT_COMPARABLE, why=why)
        return row

    def block(self, one: Version, block: str) -> Compared:
        """A total: our scores where there are some, the portal's for what the hub cannot count."""
        unit = one.figure.unit
        if unit not in self._here:
            return _row(one, Verdict.ONLY_THERE, why=_UNIT_UNKNOWN)
        if not self._catalogue.blocks[block].reproducible:
            return _row(one, Verdict.NOT_COMPARABLE, why=_IRREPRODUCIBLE)
        codes = sorted(metrics_of(self._catalogue, block) - {TOTAL})
        parts = {code: self.compared.get((block, unit, code)) for code in codes}
        missing = ", ".join(code for code, part in parts.items() if part is None)
        if missing:
            return _row(one, Verdict.NOT_COMPARABLE, why=_parts_missing(block, missing))
        there = [part for part in parts.values() if part is not None]
        borrowed = tuple(part.metric for part in there if part.verdict not in COMPARABLE)
        if len(borrowed) == len(there):
            return _row(one, Verdict.NOT_COMPARABLE, why=_NO_PART, borrowed=borrowed)
        scores = [
            (part.ours if part.verdict in COMPARABLE else part.portal).score for part in there
        ]
        ours = total(scores, self._catalogue.blocks[block].maximum)
        verdict = Verdict.SAME if _same(one.figure, ours) else Verdict.DIFFERS
        return _row(one, verdict, ours=ours, borrowed=borrowed)

    def result(self, one: Version) -> Compared:
        """A figure of `service-results`, which has the totals of whole provinces only."""
        if one.figure.metric == TOTAL:
            return _row(one, Verdict.NOT_COMPARABLE, why=_IRREPRODUCIBLE)
        return self.block(one, GROUP_BLOCKS[one.figure.metric])

    def _why(self, term: Term, own: Counts) -> Words:
        """Why the hub cannot count a share."""
        name = term.numerator if own[term.numerator] is None else term.denominator
        quantity = self._catalogue.quantities[name]
        told = NOT_COUNTED.get(name) or _NOT_DOSSIERS[quantity.counts]
        return Words(vi=f"{quantity.vi}: {told.vi}", en=f"{quantity.en}: {told.en}")

    def _provisional(self, name: str) -> Words:
        quantity = self._catalogue.quantities[name]
        return Words(
            vi=f"{quantity.vi}: Cổng không công bố cách đếm, số của Trục là tạm tính",
            en=f"{quantity.en}: how the portal counts is not public, our count is provisional",
        )


def _counts(
    rate: Rate, figure: PublishedFigure, own: Counts
) -> tuple[dict[str, Count | None], tuple[CountPair, ...], list[Term]]:
    """The counts to reckon with, both sides of each, and the terms that the hub cannot count.

    A count that the portal does not publish is none that the hub would lack: there its value for an empty
    denominator stands.
    """
    counts: dict[str, Count | None] = {}
    pairs = []
    lacking = []
    for term, there in zip(rate.terms, figure.terms, strict=True):
        sides = [
            CountPair(name, portal, own[name])
            for name, portal in zip((term.numerator, term.denominator), there, strict=True)
        ]
        pairs += sides
        lacks = any(side.ours is None and side.portal is not None for side in sides)
        if lacks:
            lacking.append(term)
        for side in sides:
            borrowed = None if side.portal is None else int(side.portal)
            counts[side.quantity] = borrowed if lacks else side.ours
    return counts, tuple(pairs), lacking


def _same(figure: PublishedFigure, ours: Figure) -> bool:
    """Whether what the portal shows is what we would; what it does not show is not held against us."""
    return (figure.ratio is None or figure.ratio == ours.ratio) and (
        figure.score is None or figure.score == ours.score
    )


def _row(
    one: Version,
    verdict: Verdict,
    *,
    ours: Figure = NOTHING,
    borrowed: tuple[str, ...] = (),
    why: Words | None = None,
) -> Compared:
    figure = one.figure
    return Compared(
        service=one.service,
        unit=figure.unit,
        metric=figure.metric,
        verdict=verdict,
        portal=Figure(figure.ratio, figure.score),
        ours=ours,
        maximum=figure.maximum,
        borrowed=borrowed,
        why=why,
        flag=figure.flag,
        seen_at=one.seen_at,
    )


def _only_here(
    catalogue: Catalogue,
    period: Period,
    published: Sequence[Version],
    here: Mapping[str, OurUnit],
) -> list[Compared]:
    """Our units with dossiers of which a metric is not published, though it is of others of their level."""
    units: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in published:
        units[one.service, one.figure.metric].add(one.figure.unit)
    found = []
    for (service, metric), there in units.items():
        rate = catalogue.rate(metric, on=period.last)
        if rate is None or len(there) == 1:
            continue  # nothing is published by unit
        deepest = max(unit.count(".") for unit in there)
        for unit in sorted(here.keys() - there):
            own = here[unit].counts
            pairs = tuple(
                CountPair(name, None, own[name]) for term in rate.terms for name in term.quantities
            )
            if unit.count(".") <= deepest and any(pair.ours for pair in pairs):
                whole = None not in (pair.ours for pair in pairs)
                found.append(
                    Compared(
                        service=service,
                        unit=unit,
                        metric=metric,
                        verdict=Verdict.ONLY_HERE,
                        portal=NOTHING,
                        ours=shown(rate, own) if whole else NOTHING,
                        counts=pairs,
                        maximum=rate.maximum,
                        why=_NOT_PUBLISHED,
                        unjudged=here[unit].unjudged,
                    )
                )
    return found


def exact(count: Count) -> Decimal:
    """A count as a decimal number."""
    return Decimal(count.numerator) / Decimal(count.denominator)


# --- in words ----------------------------------------------------------------------------------------

NOT_COUNTED: Mapping[str, Words] = {
    "received_in_period_larger": Words(
        vi="còn phụ thuộc số liệu của Hệ thống báo cáo, và Cổng đang dùng số tạm",
        en="also depends on the reporting system, and the portal itself uses a provisional one",
    ),
    "progress_synced_in_time": Words(
        vi="tính từ lượt gửi, không tính từ hồ sơ",
        en="is a matter of deliveries, not of dossiers",
    ),
    "satisfied": Words(
        vi="cần đánh giá và phản ánh của người dân", en="needs people's ratings and complaints"
    ),
}
"""Why the hub does not count a quantity of dossiers."""

_NOT_DOSSIERS: Mapping[str, Words] = {
    "dossiers": Words(vi="Trục không đếm", en="is not counted by the hub"),
    "procedures": Words(
        vi="đếm thủ tục, Trục chỉ đếm hồ sơ", en="counts procedures, the hub counts dossiers"
    ),
    "communes": Words(vi="đếm xã, Trục chỉ đếm hồ sơ", en="counts communes, the hub dossiers"),
    "petitions": Words(
        vi="đếm phản ánh, kiến nghị, Trục chỉ đếm hồ sơ",
        en="counts petitions, the hub counts dossiers",
    ),
}
_UNIT_UNKNOWN = Words(
    vi="Trục không biết đơn vị này; xem ánh xạ mã cơ quan",
    en="the hub does not know this unit; see the mapping of agencies",
)
_NOT_PUBLISHED = Words(
    vi="Cổng không công bố số của đơn vị này; xem mã đơn vị gửi lên Cổng",
    en="the portal publishes nothing of this unit; see the code under which it is sent",
)
_NO_RULE = Words(
    vi="chưa biết cách tính có hiệu lực trong kỳ này", en="no rule is known for this period"
)
_IRREPRODUCIBLE = Words(
    vi="gồm điểm nhóm dịch vụ công trực tuyến, không tái tạo được từ số liệu công khai",
    en="holds the points of the online block, which cannot be reproduced from public data",
)
_NO_PART = Words(vi="Trục không đếm được thành phần nào", en="the hub can count none of its parts")


def _parts_missing(block: str, codes: str) -> Words:
    return Words(
        vi=f"chưa nhập {codes} của {block} cho đơn vị này",
        en=f"{codes} of {block} is not imported for this unit",
    )
