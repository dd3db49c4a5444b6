"""Periods of the calendar: months, quarters, half years, years.

They are not the windows of periodic reports, which run from the 15th to the 14th (Decree 09/2019/NĐ-CP,
Art. 12).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum


class PeriodKind(StrEnum):
    """How long a period is."""

    MONTH = "month"  # tháng
    QUARTER = "quarter"  # quý
    HALF = "half"  # 6 tháng
    YEAR = "year"  # năm


KIND_WORDS: Mapping[PeriodKind, str] = {
    PeriodKind.MONTH: "tháng",
    PeriodKind.QUARTER: "quý",
    PeriodKind.HALF: "6 tháng",
    PeriodKind.YEAR: "năm",
}
"""The kinds in Vietnamese."""


_MONTHS = {PeriodKind.MONTH: 1, PeriodKind.QUARTER: 3, PeriodKind.HALF: 6, PeriodKind.YEAR: 12}
_SIGNS = {"": PeriodKind.MONTH, "Q": PeriodKind.QUARTER, "H": PeriodKind.HALF}
_WRITTEN = re.compile("(?P<year>20[0-9]{2})(?:-(?P<sign>[QH]?)(?P<number>[0-9]{1,2}))?")

WRITE_PERIOD = (
    "viết kỳ theo dạng 2026-08 (tháng), 2026-Q3 (quý), 2026-H2 (6 tháng) hoặc 2026 (năm)",
    "write a period as 2026-08 (month), 2026-Q3 (quarter), 2026-H2 (half year) or 2026 (year)",
)
"""The remedy for a period that cannot be read, vi and en."""


@dataclass(frozen=True, slots=True)
class Period:
    """One period; `number` is its place in the year, from 1."""

    kind: PeriodKind
    year: int
    number: int

    @property
    def first(self) -> date:
        """The first day."""
        return date(self.year, (self.number - 1) * _MONTHS[self.kind] + 1, 1)

    @property
    def last(self) -> date:
        """The last day."""
        months = self.number * _MONTHS[self.kind]
        after = date(self.year + months // 12, months % 12 + 1, 1)
        return after - timedelta(days=1)

    def __str__(self) -> str:
        match self.kind:
            case PeriodKind.MONTH:
                return f"{self.year}-{self.number:02d}"
            case PeriodKind.QUARTER:
                return f"{self.year}-Q{self.number}"
            case PeriodKind.HALF:
                return f"{self.year}-H{self.number}"
            case PeriodKind.YEAR:
                return f"{self.year}"


def parse_period(text: str) -> Period | None:
    """The period of a text that is written as `WRITE_PERIOD` says and in no other way, from 2000 to 2099."""
    found = _WRITTEN.fullmatch(text)
    if found is None:
        return None
    if found["number"] is None:
        return Period(PeriodKind.YEAR, int(found["year"]), 1)
    period = Period(_SIGNS[found["sign"]], int(found["year"]), int(found["number"]))
    in_year = 1 <= period.number <= 12 // _MONTHS[period.kind]
    return period if in_year and str(period) == text else None
