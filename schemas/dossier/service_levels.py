"""Which procedure is offered online how far, its result, its fee, and its longest legal time: a CSV file.

Which procedures are toàn trình (full process) and which một phần (partial) no public file says, so nothing
is packaged: without a file everything here is unknown. The three levels are MucDo 4, 3 and 2 of the portal.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from schemas.dossier.csv_table import Row, Table, text_of

COLUMNS = ("code", "level", "valid_from", "valid_to", "result", "fee", "source")

TIME_COLUMNS = ("processing_time", "processing_unit")
"""May be left out: the longest legal time, a whole number, and its unit (`TimeUnit`)."""

WORKING_DAY = timedelta(hours=8)
"""What a working day of a legal time is as working time (inferred: the usual day, whatever an agency's)."""

E = TypeVar("E", bound=StrEnum)

_CODE = re.compile(r"[0-9]\.[0-9]{6}")
_WHOLE = re.compile(r"[1-9][0-9]{0,3}")
_NAME_DIGITS = 12


class ServiceLevel(StrEnum):
    """How far a procedure is offered online."""

    FULL = "full"  # toàn trình, formerly level 4: nobody has to come
    PARTIAL = "partial"  # một phần, formerly level 3
    INFORMATION = "information"  # only described; no dossier can be handed in online


class ResultForm(StrEnum):
    """What a procedure returns."""

    PAPER = "paper"  # on paper by law: an electronic copy is wanted beside it
    ELECTRONIC = "electronic"


class TimeUnit(StrEnum):
    """In what a longest legal time is told. One in days of the calendar cannot be told as working time."""

    WORKING_DAY = "working_day"  # ngày làm việc
    HOUR = "hour"  # giờ làm việc


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One row, in force in [valid_from, valid_to). `result` and `has_fee`: None is unknown.

    `limit` is the longest legal time of a dossier, as working time; None is unknown.
    """

    code: str  # the national one
    level: ServiceLevel
    valid_from: date | None
    valid_to: date | None
    result: ResultForm | None
    has_fee: bool | None
    source: str
    limit: timedelta | None = None

    def in_force(self, day: date) -> bool:
        """Whether it holds on that day."""
        return self.overlaps(day, day)

    def overlaps(self, first: date, last: date) -> bool:
        """Whether it holds on any day from `first` to `last`, both included."""
        return (self.valid_from is None or self.valid_from <= last) and (
            self.valid_to is None or first < self.valid_to
        )


class ServiceLevels:
    """What is known of the procedures. Immutable; without rows everything is unknown."""

    def __init__(self, rows: Iterable[Service] = ()) -> None:
        self.rows = tuple(rows)
        self._by_code: dict[str, list[Service]] = defaultdict(list)
        for row in self.rows:
            self._by_code[row.code].append(row)
        self.name = _name(self.rows)
        """Tells this list from any other; in what order its rows stand, and their sources, is no matter."""

    def on(self, code: str | None, day: date) -> Service | None:
        """The row of a procedure that is in force on a day; None: nothing is known."""
        rows = self._by_code.get(code or "", ())
        return next((row for row in rows if row.in_force(day)), None)

    def all_on(self, day: date) -> tuple[Service, ...]:
        """The rows in force on a day, one for each procedure."""
        return tuple(row for row in self.rows if row.in_force(day))

    def knows(self, code: str | None, first: date, last: date) -> bool:
        """Whether a procedure has a row in force on any day from `first` to `last`, both included."""
        return any(row.overlaps(first, last) for row in self._by_code.get(code or "", ()))


def _name(rows: tuple[Service, ...]) -> str:
    told = sorted(
        "|".join(
            str(field)
            for field in (
                *(row.code, row.level, row.valid_from, row.valid_to),
                *(row.result, row.has_fee),
                *(() if row.limit is None else (row.limit,)),
            )
        )
        for row in rows
    )
    digest = hashlib.sha256("\n".join(told).encode()).hexdigest()
    return f"levels {digest[:_NAME_DIGITS]}"


NO_LEVELS = ServiceLevels()
"""What is known before a list is given."""


# --- reading ---------------------------------------------------------------------------------------


def read_service_levels(path: Path) -> ServiceLevels:
    """The list in a file. Raises `TableError`."""
    return parse_service_levels(text_of(path), str(path))


def parse_service_levels(text: str, where: str) -> ServiceLevels:
    """The list in `text`; `where` names it in messages.

    It is to hold every procedure under the province's authority, those too that are only described: a
    procedure that is not in it is unknown. Raises `TableError`: for fields that cannot be read, for rows of
    one procedure that overlap, and for a list without rows, which would pass for one that knows something.
    """
    table = Table(text, where, COLUMNS, TIME_COLUMNS)
    read = [(row, service) for row in table.rows if (service := _service(row)) is not None]
    earlier: dict[str, list[tuple[Row, Service]]] = defaultdict(list)
    for row, service in read:
        for other_row, other in earlier[service.code]:
            if _overlap(service, other):
                vi = f"{service.code} cùng hiệu lực với dòng {other_row.line}; sửa ngày một trong hai dòng"
                en = f"{service.code} is in force together with line {other_row.line}; change the dates of one"
                row.problem("valid_from", vi, en)
        earlier[service.code].append((row, service))
    if not table.rows:
        table.add(
            "không có dòng nào; ghi mỗi thủ tục một dòng", "has no rows; give one a procedure"
        )
    table.finish()
    return ServiceLevels(service for _, service in read)


def _service(row: Row) -> Service | None:
    code = row.needed("code", _code, "viết mã quốc gia, như 1.004946", "write it as 1.004946")
    level = row.needed("level", lambda text: _one_of(ServiceLevel, text), *_choose(ServiceLevel))
    valid_from, valid_to = row.optional_day("valid_from"), row.optional_day("valid_to")
    result = row.optional("result", lambda text: _one_of(ResultForm, text), *_choose(ResultForm))
    fee = row.optional("fee", _FEE.get, "viết yes hoặc no", "write yes or no")
    limit = _limit(row)
    source = row.needed("source", str, "viết số văn bản hoặc nguồn", "name the document or source")
    if valid_from is not None and valid_to is not None and valid_to <= valid_from:
        vi = "phải sau valid_from; đó là ngày đầu tiên không còn hiệu lực"
        row.problem(
            "valid_to", vi, "must be later than valid_from; it is the first day without effect"
        )
    if code is None or level is None or source is None:
        return None
    return Service(
        code=code,
        level=level,
        valid_from=valid_from,
        valid_to=valid_to,
        result=result,
        has_fee=fee,
        source=source,
        limit=limit,
    )


def _limit(row: Row) -> timedelta | None:
    """The longest legal time, as working time; both fields or neither."""
    if row.text("processing_unit") and not row.text("processing_time"):
        vi = "có đơn vị mà thiếu số; ghi số, hoặc để trống cả hai cột"
        row.problem(
            "processing_time", vi, "has a unit alone; write the number, or leave both empty"
        )
    if not row.text("processing_time"):
        return None
    number = row.needed("processing_time", _whole, *_TIME_REMEDY)
    unit = row.needed("processing_unit", lambda text: _one_of(TimeUnit, text), *_choose(TimeUnit))
    if number is None or unit is None:
        return None
    return number * _TIME_OF[unit]


_TIME_OF = {TimeUnit.WORKING_DAY: WORKING_DAY, TimeUnit.HOUR: timedelta(hours=1)}
_TIME_REMEDY = ("viết số nguyên từ 1 đến 9999", "write a whole number from 1 to 9999")


def _whole(text: str) -> int | None:
    return int(text) if _WHOLE.fullmatch(text) else None


_FEE = {"yes": True, "no": False}


def _choose(kinds: type[StrEnum]) -> tuple[str, str]:
    listed = ", ".join(kinds)
    return f"chọn một trong {listed}", f"choose one of {listed}"


def _one_of(kinds: type[E], text: str) -> E | None:
    return kinds(text) if text in list(kinds) else None


def _code(text: str) -> str | None:
    return text if _CODE.fullmatch(text) else None


def _overlap(one: Service, other: Service) -> bool:
    return (one.valid_from or date.min) < (other.valid_to or date.max) and (
        other.valid_from or date.min
    ) < (one.valid_to or date.max)
