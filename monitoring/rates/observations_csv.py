"""Indicator observations from a table that people keep: CSV, all problems at once with line, column, remedy.

Reading only: who keeps what is read is no business of this module.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterable
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

from monitoring.rates.observations import CODE, Refusal, refused
from monitoring.rates.periods import WRITE_PERIOD, parse_period
from monitoring.rates.plan import NO_FIGURE, Plan
from monitoring.rates.refusals import Keeper
from schemas.dossier.csv_table import Problem, Row, Table, TableError, text_of
from schemas.ledger.model import RefusedObservation
from schemas.records import IndicatorObservation, Provenance

COLUMNS = (
    "observation_id",
    "indicator",
    "agency",
    "period",
    "value",
    "unit",
    "as_of",
    "system",
    "document",
    "corrects",
)

ORIGIN = "csv"
"""The way by which these observations come."""

_NUMBER = re.compile(r"-?[0-9]{1,14}(\.[0-9]{1,10})?")


def read_observations(
    path: Path,
    *,
    plan: Plan,
    agencies: Container[str],
    known: Iterable[IndicatorObservation],
    now: datetime,
    submitted_by: str,
) -> tuple[IndicatorObservation, ...]:
    """The observations in a file. Otherwise as `parse_observations`."""
    return parse_observations(
        text_of(path),
        str(path),
        plan=plan,
        agencies=agencies,
        known=known,
        now=now,
        submitted_by=submitted_by,
    )


def parse_observations(
    text: str,
    where: str,
    *,
    plan: Plan,
    agencies: Container[str],
    known: Iterable[IndicatorObservation],
    now: datetime,
    submitted_by: str,
) -> tuple[IndicatorObservation, ...]:
    """The observations in `text` that are not known yet, in its order; `where` names it in messages.

    They are judged as `observations.refused` does, each after the lines above it: a correction stands below
    what it corrects. A line that is known and says the same is left out, so a file can be given twice. `now`
    (aware) is when they are submitted. Raises `TableError`, and `ValueError` for a `submitted_by` that is no
    code.
    """
    if not CODE.fullmatch(submitted_by):
        raise ValueError("submitted_by: give the code of a system or an account, not a name")
    table = Table(text, where, COLUMNS)
    earlier = list(known)
    ids = {observation.observation_id for observation in earlier}
    lines: dict[str, int] = {}
    new: list[IndicatorObservation] = []
    for row in table.rows:
        above = set(lines)
        first = lines.setdefault(row.text("observation_id"), row.line)
        observation = _observation(row, now, submitted_by)
        if observation is None:
            continue
        if first != row.line:
            vi, en = f"đã có ở dòng {first}; bỏ một dòng", f"stands in line {first} too; remove one"
            row.problem("observation_id", vi, en, Refusal.ID_REUSED)
            continue
        for fault in refused(observation, plan=plan, agencies=agencies, known=earlier, now=now):
            if fault.reason is Refusal.CORRECTS_UNKNOWN and observation.corrects in above:
                continue  # it stands above and cannot be read, which is said there
            column = fault.field if fault.field in COLUMNS else None
            row.problem(column, fault.words.vi, fault.words.en, fault.reason)
        if observation.observation_id not in ids:
            new.append(observation)
            earlier.append(
                observation
            )  # also after a fault, which would else bring up others below
    table.finish()
    return tuple(new)


def refusals(
    text: str, error: TableError, *, plan: Plan, agencies: Container[str], now: datetime
) -> tuple[RefusedObservation, ...]:
    """The faults of a table that was not taken, as rows to keep; `now` is aware.

    A place is the first 16 characters of the text's SHA-256, a colon and the line. Of what stands in the
    table there are only codes that are known, because anything else may be personal data.
    """
    digest = sha256(text.encode()).hexdigest()[:16]
    try:
        rows = {row.line: row for row in Table(text, error.where, COLUMNS).rows}
    except TableError:
        rows = {}  # it is no such table: nobody knows what stands where
    keeper = Keeper(origin=ORIGIN, plan=plan, agencies=agencies, now=now)
    return tuple(
        _refusal(keeper, problem, rows.get(problem.line or 0), digest) for problem in error.problems
    )


def _refusal(keeper: Keeper, problem: Problem, row: Row | None, digest: str) -> RefusedObservation:
    told = ("indicator", "agency", "period")
    return keeper.row(
        f"{digest}:{problem.line or ''}",
        problem.column if problem.column in COLUMNS else "",
        problem.reason,
        **{column: row.text(column) for column in told if row is not None},
    )


def _observation(row: Row, now: datetime, submitted_by: str) -> IndicatorObservation | None:
    """The observation of a line, or None after noting what cannot be read in it."""
    identity = row.needed("observation_id", str, *_ID_REMEDY)
    indicator = row.needed("indicator", str, "viết mã chỉ số", "write the code of the indicator")
    agency = row.needed("agency", str, "viết mã định danh", "write the agency's code")
    period = row.needed("period", _period, *WRITE_PERIOD)
    taken_back = _folded(row.text("value")) == NO_FIGURE.vi
    value = None if taken_back else row.needed("value", _number, *_VALUE_REMEDY)
    unit = row.needed("unit", str, "viết đơn vị, ví dụ percent", "write the unit, e.g. percent")
    as_of = row.day("as_of")
    system = row.needed("system", str, "viết mã hệ thống", "write the code of the system")
    if (
        identity is None
        or indicator is None
        or agency is None
        or period is None
        or (value is None and not taken_back)
        or unit is None
        or as_of is None
        or system is None
    ):
        return None
    return IndicatorObservation(
        observation_id=identity,
        indicator=indicator,
        value=value,
        unit=unit,
        agency=agency,
        period=period,
        as_of=as_of,
        provenance=Provenance(system=system, document=row.text("document") or None),
        corrects=row.text("corrects") or None,
        observed_at=now,
        submitted_by=submitted_by,
    )


_ID_REMEDY = (
    "đặt một mã không trùng, ví dụ HSCV-2026-08",
    "give an id that is not used yet, e.g. HSCV-2026-08",
)
_VALUE_REMEDY = (
    f"viết số với dấu chấm thập phân, ví dụ 68.5; để rút lại số liệu: {NO_FIGURE.vi}",
    f"write a number with a decimal point, e.g. 68.5; to take a figure back: {NO_FIGURE.vi}",
)


def _period(text: str) -> str | None:
    return text if parse_period(text) is not None else None


def _number(text: str) -> Decimal | None:
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _folded(text: str) -> str:
    """Whatever the case of its letters, and however its marks are written."""
    return unicodedata.normalize("NFC", text).casefold()
