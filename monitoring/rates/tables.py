"""A rate's rule applied to a table of counts with the portal's column names.

Three tables are known: progress (`on_time`), online payment (`online_payment`), and the table of metrics,
whose rows name their rate in `metric_code`. A row of the code `_TOTAL` is a unit's total of a block; it is
computed from the unit's other rows of that block.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from monitoring.rates.catalogue import METRICS, TOTAL, Catalogue, Rate, UnknownRate, Words, near
from monitoring.rates.counts_csv import Row, read, refuse, together
from monitoring.rates.points import Counts, Figure, shown, total

UNIT = "departmentCode"
METRIC = "metric_code"
SERVICE = "service"
PERIOD = "period"


class NoTable(ValueError):
    """The portal publishes no table of counts for this rate."""


def number(value: Decimal | None) -> int | float | None:
    """As the portal writes it: 100, not 100.0."""
    if value is None:
        return None
    return int(value) if value == value.to_integral_value() else float(value)


@dataclass(frozen=True, slots=True)
class Scored:
    """One unit's figure, as the portal would show it; `service` where the table has that column."""

    unit: str
    metric: str
    service: str | None
    figure: Figure

    def as_dict(self) -> dict[str, object]:
        """Under the portal's names; None where it shows nothing."""
        return {
            UNIT: self.unit,
            "metric": self.metric,
            "ratio": number(self.figure.ratio),
            "score": number(self.figure.score),
        }


@dataclass(frozen=True, slots=True)
class Scores:
    """The figures in the order of the table, and what has to be said about them."""

    rows: tuple[Scored, ...]
    remarks: tuple[Words, ...] = ()


def columns(catalogue: Catalogue, code: str) -> tuple[str, ...]:
    """The columns that a code needs. Raises `UnknownRate` and `NoTable`."""
    if code == TOTAL:
        return (UNIT, SERVICE, METRIC, *METRICS)
    rate = _rate(catalogue, code)
    if rate.metrics_row:
        return (UNIT, METRIC, *METRICS)
    own = [term.columns for term in rate.terms if term.columns]
    return (UNIT, *(name for pair in own for name in (pair.numerator, pair.denominator)))


def score(catalogue: Catalogue, code: str, table: bytes, service: str | None = None) -> Scores:
    """Score a table (CSV, UTF-8) by the rate's newest version; `service` keeps that service's rows only.

    Raises `UnknownRate`, `NoTable` and `counts_csv.BadTable`.
    """
    needed = columns(catalogue, code)
    if service is not None and SERVICE not in needed:
        needed = (*needed, SERVICE)
    rows = read(table, needed, also=(SERVICE, PERIOD))
    if service is not None:
        rows = [row for row in rows if row.cells[SERVICE] == service]
    scores = _totals(catalogue, rows) if code == TOTAL else _rates(_rate(catalogue, code), rows)
    if scores.rows:
        return scores
    return Scores((), (Words(vi=f"không có dòng nào của {code}", en=f"no row of {code}"),))


def _rate(catalogue: Catalogue, code: str) -> Rate:
    if code not in catalogue.codes:
        raise UnknownRate(code, near(code, (*catalogue.codes, TOTAL)))
    rate = catalogue.versions(code)[-1]
    if not rate.metrics_row and rate.terms[0].columns is None:
        raise NoTable(f"the portal publishes no table of counts for {code}")
    return rate


def _rates(rate: Rate, rows: Sequence[Row]) -> Scores:
    problems: list[Words] = []
    remarks: list[Words] = []
    scored = []
    for row in rows:
        if rate.metrics_row and row.cells[METRIC] != rate.code:
            continue
        counts = _counts(rate, row, problems)
        if counts is not None:
            figure = shown(rate, counts)
            scored.append(Scored(row.cells[UNIT], rate.code, row.cells.get(SERVICE), figure))
            remarks += _impossible(rate, row, counts)
    refuse(problems)
    return Scores(tuple(scored), together(remarks))


def _impossible(rate: Rate, row: Row, counts: Counts) -> Iterator[Words]:
    """Shares of more than everything: the portal's rule is applied to them all the same."""
    for term in rate.terms:
        of, by = (term.columns.numerator, term.columns.denominator) if term.columns else METRICS
        numerator, denominator = counts[term.numerator], counts[term.denominator]
        if numerator is not None and denominator is not None and numerator > denominator:
            yield row.problem(
                of, f"lớn hơn {by}; xem lại số đếm", f"is above {by}; check the counts"
            )


def _counts(rate: Rate, row: Row, problems: list[Words]) -> Counts | None:
    """A row's counts by the names of quantities; None after adding to the problems."""
    found: list[Words] = []
    if not row.cells[UNIT]:
        found.append(row.blank(UNIT))
    counts: dict[str, int | None] = {}
    for term in rate.terms:
        of, by = (term.columns.numerator, term.columns.denominator) if term.columns else METRICS
        counts[term.numerator] = row.count(of, found)
        counts[term.denominator] = row.count(by, found)
        if counts[term.denominator] and not row.cells[of]:
            found.append(row.blank(of))
    problems += found
    return None if found else counts


# --- totals ----------------------------------------------------------------------------------------

_Unit = tuple[str, str, str]
"""Period (blank where the table has none), service and unit."""


@dataclass(frozen=True, slots=True)
class _Part:
    line: int
    score: Decimal | None


def _totals(catalogue: Catalogue, rows: Sequence[Row]) -> Scores:
    problems: list[Words] = []
    remarks: dict[Words, None] = {}  # a set that keeps its order
    parts = _parts(catalogue, rows, problems)
    scored = []
    for row in rows:
        unit, service = row.cells[UNIT], row.cells[SERVICE]
        if row.cells[METRIC] != TOTAL:
            continue
        if not unit:
            problems.append(row.blank(UNIT))
        elif service not in catalogue.blocks:
            problems.append(
                row.problem(SERVICE, "không có trong danh mục", "is not in the catalogue")
            )
        else:
            figure, remark = _total(catalogue, row, parts[_of(row)])
            scored.append(Scored(unit, TOTAL, service, figure))
            if remark is not None:
                remarks[remark] = None
    refuse(problems)
    return Scores(tuple(scored), tuple(remarks))


def _parts(
    catalogue: Catalogue, rows: Sequence[Row], problems: list[Words]
) -> dict[_Unit, dict[str, _Part]]:
    """The scores that are added up, by unit and code."""
    parts: dict[_Unit, dict[str, _Part]] = defaultdict(dict)
    for row in rows:
        code = row.cells[METRIC]
        if code == TOTAL:
            continue
        rates = catalogue.rates_of(row.cells[SERVICE])
        rate = next((one for one in rates if one.metrics_row and one.code == code), None)
        if rate is None:
            problems.append(
                row.problem(
                    METRIC, "không phải tỷ lệ của dịch vụ này", "is no rate of this service"
                )
            )
            continue
        counts = _counts(rate, row, problems)
        if counts is None:
            continue
        earlier = parts[_of(row)].get(code)
        if earlier is not None:
            problems.append(
                row.problem(METRIC, f"lặp lại dòng {earlier.line}", f"repeats line {earlier.line}")
            )
        parts[_of(row)][code] = _Part(row.line, shown(rate, counts).score)
    return parts


def _total(
    catalogue: Catalogue, row: Row, parts: Mapping[str, _Part]
) -> tuple[Figure, Words | None]:
    """The total over the rows that are there, and what has to be said about it.

    The portal leaves out a rate that does not apply, with its maximum (seen in answers filtered by one
    procedure): the block is worth less then.
    """
    block, unit = row.cells[SERVICE], row.cells[UNIT]
    if not catalogue.blocks[block].reproducible:
        return Figure(None, None), Words(
            vi=f"{block}: tổng điểm không tái tạo được từ số liệu công khai",
            en=f"{block}: the total cannot be reproduced from public data",
        )
    rates = [rate for rate in catalogue.rates_of(block) if rate.metrics_row]
    missing = ", ".join(rate.code for rate in rates if rate.code not in parts)
    remark = Words(
        vi=f"{unit}, {block}: thiếu dòng {missing}; tổng chỉ gồm các dòng đang có",
        en=f"{unit}, {block}: no row of {missing}; the total is over the rows that are there",
    )
    there = [rate for rate in rates if rate.code in parts]
    if not there:
        return Figure(None, None), remark
    maximum = sum((rate.maximum or Decimal(0) for rate in there), Decimal(0))
    figure = total((parts[rate.code].score for rate in there), maximum)
    return figure, remark if missing else None


def _of(row: Row) -> _Unit:
    return (row.cells.get(PERIOD, ""), row.cells[SERVICE], row.cells[UNIT])
