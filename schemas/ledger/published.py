"""What the portal published, in the ledger: every file that was given, and the figures of those that were taken.

Nothing is overwritten. A later answer for the same period and unit is another version beside the earlier one, and
the newest by the time at which the portal gave it holds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, insert, select

from schemas.ledger.dialect import AnyRow, clock, in_code_order, insert_or_skip, to_moment
from schemas.ledger.tables import published_answers, published_figures

_ID_DIGITS = 32


class Counts(NamedTuple):
    """What one share is made of; None is shown as nothing."""

    numerator: Decimal | None
    denominator: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigure:
    """One unit's figure of one metric, as it was published; None is what the portal shows as nothing.

    `unit` is a code, `unit_id` the portal's own id where the answer had it. `terms` are the counts of each share
    of the metric, at least one. `ratio` in per cent, `score` and `maximum` in points, `flag` the portal's mark on
    the figure. At most four decimals.
    """

    unit: str
    metric: str
    terms: tuple[Counts, ...]
    unit_id: str | None = None
    ratio: Decimal | None = None
    score: Decimal | None = None
    maximum: Decimal | None = None
    flag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFault:
    """One thing for which a file was refused: where, which field, and why. Codes and names of fields only."""

    place: str
    field: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenFile:
    """A file with an answer of the portal. `period` as `periods.py` writes it; `seen_at` (aware, None: now) is when
    the portal gave this answer, `submitted_by` the code of an account, `form` the kind of file."""

    service: str
    period: str
    form: str
    file_hash: str
    submitted_by: str
    seen_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedAnswer:
    """A file as the ledger keeps it; with `faults` it was refused, and there are no figures."""

    answer_id: str
    service: str
    period: str
    form: str
    file_hash: str
    seen_at: datetime
    submitted_by: str
    recorded_at: datetime
    faults: tuple[PublishedFault, ...]
    units: int
    figures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A figure, of which service, and from which answer."""

    service: str
    answer_id: str
    seen_at: datetime
    figure: PublishedFigure


def put(connection: Connection, given: GivenFile, figures: Sequence[PublishedFigure]) -> bool:
    """Keep the figures of a file. False: this file was taken for this service and period before; nothing changes."""
    answer_id = _answer_id(given, "taken")
    if not _note(connection, given, answer_id, None):
        return False
    rows = [row for figure in figures for row in _rows(answer_id, figure)]
    if rows:
        connection.execute(insert(published_figures), rows)
    return True


def put_refused(connection: Connection, given: GivenFile, faults: Sequence[PublishedFault]) -> bool:
    """Note that a file was refused. False: that was noted before, and stays as it was."""
    told = json.dumps([asdict(fault) for fault in faults], ensure_ascii=False)
    return _note(connection, given, _answer_id(given, "refused"), told)


def versions(
    connection: Connection, period: str, *, unit: str | None = None, every: bool = False
) -> list[Version]:
    """The figures of a period that hold, or with `every` all that were ever given, older ones first.

    In the order of service, unit, metric.
    """
    answer, figure = published_answers.c, published_figures.c
    query = (
        select(answer.service, answer.seen_at, published_figures)
        .join(published_figures, figure.answer_id == answer.answer_id)
        .where(answer.period == period)
        .order_by(
            in_code_order(connection, answer.service),
            in_code_order(connection, figure.unit),
            in_code_order(connection, figure.metric),
            answer.seen_at,
            answer.recorded_at,
            answer.answer_id,
            figure.term,
        )
    )
    if unit is not None:
        query = query.where(figure.unit == unit)
    found = [
        _version(list(rows))
        for _, rows in groupby(
            connection.execute(query), lambda r: (r.service, r.unit, r.metric, r.answer_id)
        )
    ]
    if every:
        return found
    newest = {(one.service, one.figure.unit, one.figure.metric): one for one in found}
    return list(newest.values())


def answers(
    connection: Connection, *, refused: bool, period: str | None = None, limit: int = 100
) -> list[PublishedAnswer]:
    """The newest `limit` files that were taken, or that were refused; the last given first."""
    answer, figure = published_answers.c, published_figures.c
    counted = (
        select(
            figure.answer_id,
            func.count(figure.unit.distinct()).label("units"),
            func.count().label("figures"),
        )
        .where(figure.term == 0)
        .group_by(figure.answer_id)
        .subquery("counted")
    )
    query = (
        select(published_answers, counted.c.units, counted.c.figures)
        .outerjoin(counted, counted.c.answer_id == answer.answer_id)
        .where(answer.faults.is_not(None) if refused else answer.faults.is_(None))
        .order_by(answer.recorded_at.desc(), answer.answer_id)
        .limit(limit)
    )
    if period is not None:
        query = query.where(answer.period == period)
    return [_answer(row) for row in connection.execute(query)]


def unit_codes(connection: Connection) -> dict[str, str]:
    """The unit's code by the portal's id: what answers that name both have told, the newest where they differ."""
    answer, figure = published_answers.c, published_figures.c
    newest = func.max(answer.seen_at).label("newest")
    query = (
        select(figure.unit_id, figure.unit, newest)
        .join(published_answers, answer.answer_id == figure.answer_id)
        .where(figure.unit_id.is_not(None))
        .group_by(figure.unit_id, figure.unit)
        .order_by(newest, figure.unit)
    )
    return {row.unit_id: row.unit for row in connection.execute(query)}


def _answer_id(given: GivenFile, end: str) -> str:
    told = "\n".join((given.service, given.period, given.file_hash, end))
    return sha256(told.encode()).hexdigest()[:_ID_DIGITS]


def _note(connection: Connection, given: GivenFile, answer_id: str, faults: str | None) -> bool:
    now = to_moment(clock(connection))
    row = {
        **asdict(given),
        "answer_id": answer_id,
        "seen_at": given.seen_at or now,
        "recorded_at": now,
        "faults": faults,
    }
    insertion = insert_or_skip(connection, published_answers, ["answer_id"])
    written = connection.execute(insertion.returning(published_answers.c.answer_id), row)
    return written.first() is not None


def _rows(answer_id: str, figure: PublishedFigure) -> list[dict[str, Any]]:
    told = ("ratio", "score", "maximum", "flag")
    return [
        {
            "answer_id": answer_id,
            "unit": figure.unit,
            "metric": figure.metric,
            "term": term,
            "unit_id": figure.unit_id,
            "numerator": counts.numerator,
            "denominator": counts.denominator,
            **{name: getattr(figure, name) if term == 0 else None for name in told},
        }
        for term, counts in enumerate(figure.terms)
    ]


def _version(rows: Sequence[AnyRow]) -> Version:
    first = rows[0]
    return Version(
        service=first.service,
        answer_id=first.answer_id,
        seen_at=first.seen_at,
        figure=PublishedFigure(
            unit=first.unit,
            metric=first.metric,
            terms=tuple(Counts(row.numerator, row.denominator) for row in rows),
            unit_id=first.unit_id,
            ratio=first.ratio,
            score=first.score,
            maximum=first.maximum,
            flag=first.flag,
        ),
    )


def _answer(row: AnyRow) -> PublishedAnswer:
    faults = [] if row.faults is None else json.loads(row.faults)
    return PublishedAnswer(
        answer_id=row.answer_id,
        service=row.service,
        period=row.period,
        form=row.form,
        file_hash=row.file_hash,
        seen_at=row.seen_at,
        submitted_by=row.submitted_by,
        recorded_at=row.recorded_at,
        faults=tuple(PublishedFault(**fault) for fault in faults),
        units=row.units or 0,
        figures=row.figures or 0,
    )
