"""The denominator of the rate of synchronisation (DOSSIER_SYNC), and what stands in for it.

Description of the formula, item 1.4: the larger of the dossiers received in the period as the portal
counts them and as the province reported them to the reporting system (BCQG). With neither, last year's
annual report over 12 for a month, over 4 for a quarter, whole for a year. So what is reported and not
pushed lowers the rate, and a year without a report spoils the next.

What is not certain: the description says that without any of the three the rate is 0, the live portal
shows nothing; nothing is what we follow. At present the portal marks every denominator as provisional, one with
a count per report too, so every one has its mark here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Literal

Months = Literal[1, 3, 12]
"""The length of a period: a month, a quarter, a year."""


class Basis(StrEnum):
    """What the denominator rests on."""

    PORTAL = "portal"
    REPORT = "report"
    LAST_YEAR = "last_year"
    NOTHING = "nothing"


class Flag(StrEnum):
    """The portal's mark (dataQualityStatus) on a denominator that is not the final one."""

    TEMPORARY = "TEMP_NATIONAL_REPORT_DENOMINATOR"
    NO_DATA = "NO_NATIONAL_REPORT_DATA"


@dataclass(frozen=True, slots=True)
class SyncBase:
    """The denominator in dossiers (a fraction if it is a part of last year's), its basis and its mark."""

    count: int | Fraction | None
    basis: Basis
    flag: Flag


def sync_base(
    portal: int | None, report: int | None, last_year: int | None, months: Months
) -> SyncBase:
    """The denominator from the counts received per portal, per report, and per last year's report.

    A count of 0 is treated as one that is not there, as the description has it. The marks are inferred from the
    portal's answers of one month, which has no other.
    """
    if portal or report:
        if (report or 0) > (portal or 0):
            return SyncBase(report, Basis.REPORT, Flag.TEMPORARY)
        return SyncBase(portal, Basis.PORTAL, Flag.TEMPORARY)
    if last_year:
        return SyncBase(Fraction(last_year * months, 12), Basis.LAST_YEAR, Flag.TEMPORARY)
    return SyncBase(None, Basis.NOTHING, Flag.NO_DATA)
