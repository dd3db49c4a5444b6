"""A table of the portal's published figures: CSV with the portal's names as columns, as for `rates score`.

Progress and online payment have a table of their own; all other services share the table of metrics, of which the rows
of one service are taken. Which columns there are is said by `published_names.py`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from monitoring.rates.catalogue import METRICS, Catalogue, Words
from monitoring.rates.published import (
    BAD_COUNT,
    BAD_FLAG,
    BAD_NUMBER,
    BAD_UNIT,
    REPEATED,
    BadAnswer,
    Fault,
    Pairs,
    Reason,
    is_figure,
    is_flag,
    is_unit,
    metrics_of,
    no_such_metric,
    own_metrics,
)
from monitoring.rates.published_names import FLAG, METRICS_TABLE, TABLE_BESIDE, TABLES, Names
from monitoring.rates.tables import METRIC, PERIOD, SERVICE, UNIT
from schemas.dossier.csv_table import Problem, Row, Table, TableError
from schemas.ledger.published import Counts, PublishedFigure

FORM = "csv"

_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,10})?")


def parse_table(
    catalogue: Catalogue, service: str, period: str, body: bytes
) -> list[PublishedFigure]:
    """The figures of a service in a table, in its order. Raises `BadAnswer`.

    A row of another service is passed over; one of another period is a fault.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadAnswer([Fault("", "", Reason.UNREADABLE, _NOT_UTF_8)]) from None
    names = TABLES.get(service, METRICS_TABLE)
    heading = _heading(text)
    known = (*names.known, *TABLE_BESIDE)
    columns = [*names.needed, *(name for name in known if name in heading)]
    try:
        table = Table(text, "", list(dict.fromkeys(columns)))
        figures = _figures(table, catalogue, service, period, names, heading)
        table.finish()
    except TableError as error:
        raise BadAnswer([_fault(problem, heading, known) for problem in error.problems]) from None
    if not figures:
        raise BadAnswer([Fault("", "", Reason.EMPTY, _none_of(service))])
    return figures


def _heading(text: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader(io.StringIO(text, newline="")), [])]
    except csv.Error:
        return []  # the reader of the table tells it


def _figures(
    table: Table,
    catalogue: Catalogue,
    service: str,
    period: str,
    names: Names,
    heading: Sequence[str],
) -> list[PublishedFigure]:
    pairs = own_metrics(catalogue, service)
    known = metrics_of(catalogue, service)
    lines: dict[tuple[str, str], int] = {}
    figures = []
    for row in table.rows:
        if SERVICE in names.needed and row.text(SERVICE) != service:
            continue
        metric = row.text(METRIC) if METRIC in names.needed else next(iter(pairs))
        unit = row.text(UNIT)
        if not is_unit(unit):
            row.problem(UNIT, *_both(BAD_UNIT), Reason.UNIT_INVALID)
        if metric not in known:
            row.problem(METRIC, *_both(no_such_metric(service)), Reason.METRIC_UNKNOWN)
        if PERIOD in heading and row.text(PERIOD) != period:
            row.problem(PERIOD, *_other_period(period), Reason.OTHER_PERIOD)
        first = lines.setdefault((unit, metric), row.line)
        if first != row.line:
            row.problem(UNIT, *_repeated(first), Reason.REPEATED)
        figures.append(_figure(row, unit, metric, pairs, names, heading))
    return figures


def _figure(
    row: Row,
    unit: str,
    metric: str,
    pairs: Mapping[str, Pairs],
    names: Names,
    heading: Sequence[str],
) -> PublishedFigure:
    own = pairs[metric] if METRIC not in names.needed else (METRICS,)
    score, maximum = (
        ("score", "maxScore") if "score" in names.needed else ("totalScore", "totalMaxScore")
    )
    return PublishedFigure(
        unit=unit,
        metric=metric,
        terms=tuple(
            Counts(_number(row, of, whole=True), _number(row, by, whole=True)) for of, by in own
        ),
        ratio=_number(row, "ratio"),
        score=_number(row, score),
        maximum=_number(row, maximum) if maximum in heading else None,
        flag=_flag(row) if FLAG in heading else None,
    )


def _number(row: Row, column: str, *, whole: bool = False) -> Decimal | None:
    text = row.text(column)
    if not text:
        return None
    value = Decimal(text) if _NUMBER.fullmatch(text) else None
    if value is None or not is_figure(value, whole=whole):
        words = BAD_COUNT if whole else BAD_NUMBER
        row.problem(column, *_both(words), Reason.VALUE_INVALID)
        return None
    return value


def _flag(row: Row) -> str | None:
    text = row.text(FLAG)
    if text and not is_flag(text):
        row.problem(FLAG, *_both(BAD_FLAG), Reason.VALUE_INVALID)
    return text or None


def _both(words: Words) -> tuple[str, str]:
    return words.vi, words.en


def _repeated(line: int) -> tuple[str, str]:
    return f"dòng {line}: {REPEATED.vi}", f"line {line}: {REPEATED.en}"


def _other_period(period: str) -> tuple[str, str]:
    return (
        f"không phải kỳ {period}; mỗi lần nhập một kỳ",
        f"is not {period}; one period is imported at a time",
    )


def _none_of(service: str) -> Words:
    return Words(vi=f"không có dòng nào của dịch vụ {service}", en=f"there is no row of {service}")


def _fault(problem: Problem, heading: Sequence[str], known: Sequence[str]) -> Fault:
    """A problem of the table; the reader of tables tells those of the heading without a reason of ours."""
    reason = Reason(problem.reason)
    if problem.line == 1 and problem.column is not None:
        if problem.column not in known:
            reason = Reason.FIELD_UNKNOWN
        else:
            reason = Reason.REPEATED if problem.column in heading else Reason.FIELD_MISSING
    place = "" if problem.line is None else str(problem.line)
    return Fault(place, problem.column or "", reason, Words(vi=problem.vi, en=problem.en))


_NOT_UTF_8 = Words(
    vi="tệp không phải UTF-8: lưu lại dưới dạng CSV UTF-8",
    en="the file is not UTF-8: save it as CSV UTF-8",
)
