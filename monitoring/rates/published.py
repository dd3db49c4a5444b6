"""Reading what the portal published, from a file that someone gives: an answer of its API, or a table of the figures.

A file is taken whole or not at all, and every fault is told with where it stands, the field and the remedy. Nothing
here knows who keeps what is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from monitoring.rates.catalogue import TOTAL, Catalogue, Rate, Words
from monitoring.rates.periods import Period, PeriodKind
from monitoring.rates.published_names import GROUP_BLOCKS, RESULTS
from schemas.ledger.published import PublishedFault, PublishedFigure

MOST_FAULTS = 100
"""How many faults of one file are told at most: a changed shape has as many as there are units."""

_CODE = re.compile(r"[A-Z][0-9]{1,3}(\.[A-Za-z0-9]{1,8}){0,6}")
_ID = re.compile("[A-Za-z0-9-]{1,64}")
_FLAG = re.compile("[A-Z][A-Z0-9_]{0,63}")
_NAME = re.compile("[A-Za-z][A-Za-z0-9_]{0,63}")
_DECIMALS = 4  # what the ledger holds
_EVERYTHING = Decimal(100)  # per cent
_TOO_LARGE = Decimal(10) ** 12


class Reason(StrEnum):
    """Why a file is refused."""

    UNREADABLE = "unreadable"
    NOT_AN_ANSWER = "not_an_answer"
    INCOMPLETE = "incomplete"
    EMPTY = "empty"
    FIELD_MISSING = "field_missing"
    FIELD_UNKNOWN = "field_unknown"
    VALUE_INVALID = "value_invalid"
    UNIT_INVALID = "unit_invalid"
    UNIT_UNKNOWN = "unit_unknown"
    METRIC_UNKNOWN = "metric_unknown"
    METRIC_MISSING = "metric_missing"
    REPEATED = "repeated"
    OTHER_PERIOD = "other_period"
    PERIOD_NOT_PUBLISHED = "period_not_published"
    PERIOD_NOT_ENDED = "period_not_ended"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: `place` is a line of the file or a path in it, `field` a name; either may be empty."""

    place: str
    field: str
    reason: Reason
    words: Words

    @property
    def told(self) -> Words:
        """The whole sentence."""
        line = self.place.isdecimal()
        vi = [f"dòng {self.place}" if line else self.place, self.field]
        en = [f"line {self.place}" if line else self.place, self.field]
        return Words(
            vi=": ".join([", ".join(filter(None, vi)) or "cả tệp", self.words.vi]),
            en=": ".join([", ".join(filter(None, en)) or "the file", self.words.en]),
        )

    def as_row(self) -> PublishedFault:
        """To keep. A field that is no plain name is left out: anything may stand in a file that is no answer."""
        field = self.field if _NAME.fullmatch(self.field) else ""
        return PublishedFault(place=self.place, field=field, reason=str(self.reason))


class BadAnswer(ValueError):
    """A file cannot be taken. `faults` are what is wrong with it, the first `MOST_FAULTS` of them."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults[:MOST_FAULTS])
        super().__init__("; ".join(fault.told.en for fault in self.faults))


def is_unit(text: str) -> bool:
    """Whether it is written like a unit's code, for instance H44.07."""
    return _CODE.fullmatch(text) is not None


def is_unit_id(text: str) -> bool:
    """Whether it can be the portal's own id of a unit."""
    return _ID.fullmatch(text) is not None


def is_flag(text: str) -> bool:
    """Whether it can be a mark of the portal on a figure."""
    return _FLAG.fullmatch(text) is not None


def is_figure(value: Decimal, *, whole: bool = False) -> bool:
    """Whether a number can be a count (`whole`), a ratio or a score; more decimals than are kept are none."""
    return (
        value.is_finite()
        and 0 <= value < _TOO_LARGE
        and (value * 10**_DECIMALS) % 1 == 0
        and not (whole and value % 1)
    )


def unpublished(period: Period, today: date) -> list[Fault]:
    """Why the portal can have no figures of a period yet, or at all: it publishes months that have ended, quarters
    and years from their first day on."""
    if period.kind is PeriodKind.HALF:
        return [Fault("", "period", Reason.PERIOD_NOT_PUBLISHED, _NO_HALVES)]
    ready = period.last < today if period.kind is PeriodKind.MONTH else period.first <= today
    return [] if ready else [Fault("", "period", Reason.PERIOD_NOT_ENDED, _NOT_ENDED)]


Pairs = tuple[tuple[str, str], ...]
"""The names of numerator and denominator of each share of a metric."""


def own_fields(rate: Rate) -> Pairs | None:
    """The names under which a tree has the counts of a rate; None: it has none of it.

    They are the columns of the catalogue, or stand in the rate's code ("channelOnlineSum/channelTotalSum").
    """
    columns = [term.columns for term in rate.terms]
    if all(columns):
        return tuple((pair.numerator, pair.denominator) for pair in columns if pair is not None)
    numerator, slash, denominator = rate.code.partition("/")
    return ((numerator, denominator),) if slash else None


def own_metrics(catalogue: Catalogue, service: str) -> dict[str, Pairs]:
    """The metrics of a tree's service whose counts are fields of the unit itself."""
    found = {rate.code: own_fields(rate) for rate in catalogue.rates_of(service)}
    return {code: pairs for code, pairs in found.items() if pairs is not None}


def metrics_of(catalogue: Catalogue, service: str) -> frozenset[str]:
    """The codes that a service may have figures of."""
    if service == RESULTS:
        return frozenset({TOTAL, *GROUP_BLOCKS})
    rows = {rate.code for rate in catalogue.rates_of(service) if rate.metrics_row}
    return frozenset({TOTAL, *rows} if rows else own_metrics(catalogue, service))


def impossible(figures: Sequence[PublishedFigure]) -> list[PublishedFigure]:
    """Those with more points than there are, or a share of more than everything; the portal's word all the same."""
    return [
        one
        for one in figures
        if (one.score is not None and one.maximum is not None and one.score > one.maximum)
        or (one.ratio is not None and one.ratio > _EVERYTHING)
        or any(
            pair.numerator is not None
            and pair.denominator is not None
            and pair.numerator > pair.denominator
            for pair in one.terms
        )
    ]


def repeated(figures: Sequence[PublishedFigure]) -> list[tuple[str, str]]:
    """Unit and metric of what stands there more than once, each told once."""
    seen: set[tuple[str, str]] = set()
    twice: dict[tuple[str, str], None] = {}
    for figure in figures:
        about = (figure.unit, figure.metric)
        if about in seen:
            twice[about] = None
        seen.add(about)
    return list(twice)


_NO_HALVES = Words(
    vi="Cổng chỉ công bố theo tháng, quý và năm",
    en="the portal publishes months, quarters and years only",
)
_NOT_ENDED = Words(
    vi="kỳ chưa kết thúc (quý, năm: chưa bắt đầu) nên Cổng chưa có số; xem lại --period",
    en="has not ended (quarter, year: not begun), so the portal has no figures; check --period",
)
REPEATED = Words(
    vi="đơn vị và chỉ tiêu này đã có; mỗi cặp chỉ được một dòng",
    en="this unit and metric is there already; each may stand there once",
)
BAD_UNIT = Words(
    vi="không phải mã định danh đơn vị, ví dụ H44.07", en="is no unit's code, for instance H44.07"
)
BAD_COUNT = Words(
    vi="phải là số đếm (số nguyên từ 0), hoặc để trống",
    en="has to be a count (a whole number from 0), or nothing",
)
BAD_NUMBER = Words(
    vi=f"phải là số từ 0, tối đa {_DECIMALS} chữ số thập phân, hoặc để trống",
    en=f"has to be a number from 0 with at most {_DECIMALS} decimals, or nothing",
)
BAD_FLAG = Words(
    vi="không phải cờ của Cổng (chữ hoa, số và _)",
    en="is no mark of the portal (capital letters, digits and _)",
)


def no_such_metric(service: str) -> Words:
    """The fault of a code that is not known."""
    return Words(
        vi=f"không phải chỉ tiêu của dịch vụ {service}; Cổng có thể đã đổi cách công bố",
        en=f"is no metric of {service}; the portal may publish in another way now",
    )
