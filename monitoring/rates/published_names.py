"""The names in the portal's answers and in tables of them: the one place to change when the portal changes its own.

The public evaluation API answers POST …/api/v1/reporting/evaluation/{service} with `code`, `data`, `message`. It is
no legal interface. `SEEN`: the names are those of answers for Phú Thọ (H44) of August and the third quarter of 2026,
captured on 26 September 2026 and kept in the public repository ChippedTopaz/qd766 (`tests/fixtures`). `INFERRED`: no
captured answer is public; the names are those that public readers of the API ask for.

A name that is needed and missing, or that is not listed, means that the shape has changed: then nothing is taken.
What stands in `passed_over` is known and not kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from monitoring.rates.catalogue import METRICS
from monitoring.rates.tables import METRIC, PERIOD, SERVICE, UNIT

UNIT_ID = "departmentId"
FLAG = "dataQualityStatus"
GROUPS = "groupScores"
RESULTS = "service-results"
"""The service of the totals of whole provinces; its metrics are the codes of the blocks, and `_TOTAL`."""

GOOD = "OK"
"""`code` of an answer that is one."""


class Sure(StrEnum):
    """Where the names come from."""

    SEEN = "seen"
    INFERRED = "inferred"


@dataclass(frozen=True, slots=True)
class Names:
    """The names in one kind of object, or the columns of a table."""

    needed: tuple[str, ...]
    used: tuple[str, ...] = ()  # where they are there
    passed_over: tuple[str, ...] = ()

    @property
    def known(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.needed, *self.used, *self.passed_over)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """An answer of one service.

    `data` holds an object of the whole province under `province` (None: it is no unit) and the list of its units
    under `units`. `metric` are the names in an element of `metrics`, where figures stand there. `totals`: the ratio
    and score of a unit are those of the whole block.
    """

    sure: Sure
    data: Names
    province: str | None
    units: str
    of_province: Names
    of_unit: Names
    metric: Names | None = None
    totals: bool = True


ENVELOPE = Names(("code", "data"), passed_over=("message",))
PAGES = Names(("total", "totalPages"), passed_over=("currentPage", "pageSize"))

_METRIC = Names(
    ("code", *METRICS, "ratio", "score", "maxScore"),
    used=(FLAG,),
    passed_over=("name", "dataQualityMessage"),
)
_LISTED = Names(
    (UNIT_ID, "totalScore", "totalMaxScore", "ratio", "metrics"),
    used=(UNIT,),
    passed_over=(
        "stt",
        "departmentName",
        "departmentType",
        "departmentLevel",
        "agencyLevel",
        "scoreDelta",
        "averageScore",
        "totalPetitions",
        "classifiedPetitions",
        "totalDossiers",
    ),
)
_BY_METRICS = Shape(
    sure=Sure.SEEN,
    data=Names(("overview", "evaluation", "pagination"), passed_over=("monthlyChart", "source")),
    province="overview",
    units="evaluation",
    of_province=_LISTED,
    of_unit=_LISTED,
    metric=_METRIC,
)

_TREE = Names(("parent", "children"), passed_over=("monthlyChart",))
_NAMED = (UNIT_ID, UNIT)
_ABOUT = ("departmentName", "level", "scoreDelta")
_PROGRESS = ("totalReceived", "totalOnTime", "ratio")
_PROGRESS_BESIDE = ("totalOverdue", "totalCompleted", "avgProcessingDays")
_PAYMENT = (
    "totalDossierOnlinePaymentSuccess",
    "totalDossierFinancialObligation",
    "totalDossierOnlineFormalityPaymentSuccess",
    "totalFeeDossierFormalityDistinct",
    "totalFeeDossierFormality",
    "totalFeeFormality",
    "ratio",
    "totalScore",
)
_ONLINE = (
    "authorityCount",
    "fullCount",
    "onlineDossierCount",
    "onlineServiceTotal",
    "channelOnlineSum",
    "channelTotalSum",
    "onlineOnTimeSum",
)
_ONLINE_BESIDE = ("partialCount", "channelDirectSum", "channelPostalSum", "onlineOverdueSum")
_BLOCK = ("totalScore", "totalMaxScore", "ratio")

SHAPES: Mapping[str, Shape] = {
    "transparency": _BY_METRICS,
    "dossier-digitized": _BY_METRICS,
    "handling-satisfaction": _BY_METRICS,
    "dvc-progress-tree": Shape(
        sure=Sure.SEEN,
        data=_TREE,
        province="parent",
        units="children",
        of_province=Names(
            (*_NAMED, *_PROGRESS, "totalScore", "totalMaxScore"),
            passed_over=(*_ABOUT, *_PROGRESS_BESIDE),
        ),
        of_unit=Names(
            (*_NAMED, *_PROGRESS, "score", "maxScore"), passed_over=(*_ABOUT, *_PROGRESS_BESIDE)
        ),
        totals=False,
    ),
    "formality-online-payment-tree": Shape(
        sure=Sure.SEEN,
        data=_TREE,
        province="parent",
        units="children",
        of_province=Names((*_NAMED, *_PAYMENT, "totalMaxScore"), passed_over=_ABOUT),
        of_unit=Names((*_NAMED, *_PAYMENT, "totalMaxScore"), passed_over=_ABOUT),
        totals=False,
    ),
    "provide-online-tree": Shape(
        sure=Sure.SEEN,
        data=_TREE,
        province="parent",
        units="children",
        of_province=Names((*_NAMED, *_BLOCK, *_ONLINE), passed_over=(*_ABOUT, *_ONLINE_BESIDE)),
        of_unit=Names((*_NAMED, *_BLOCK), passed_over=_ABOUT),
    ),
    RESULTS: Shape(
        sure=Sure.INFERRED,
        data=Names(
            ("evaluation",),
            passed_over=("overview", "growthPercent", "radar", "pagination", "source"),
        ),
        province=None,
        units="evaluation",
        of_province=Names(()),
        of_unit=Names(
            (UNIT_ID, UNIT, "totalScore", "ratio", GROUPS),
            used=("totalMaxScore",),
            passed_over=(
                "stt",
                "rank",
                "departmentName",
                "departmentType",
                "departmentLevel",
                "agencyLevel",
                "scoreDelta",
            ),
        ),
    ),
}
"""By service."""

GROUP_BLOCKS: Mapping[str, str] = {
    "CKMB": "transparency",
    "TDGQ": "dvc-progress-tree",
    "CLGQ": "provide-online-tree",
    "TTTT": "formality-online-payment-tree",
    "MDHL": "handling-satisfaction",
    "MDSH": "dossier-digitized",
}
"""The portal's short codes of the blocks in `groupScores` -> their services."""

TABLES: Mapping[str, Names] = {
    "dvc-progress-tree": Names(
        (UNIT, *_PROGRESS, "score"), used=(PERIOD, "maxScore"), passed_over=_PROGRESS_BESIDE
    ),
    "formality-online-payment-tree": Names(
        (UNIT, *_PAYMENT), used=(PERIOD, "totalMaxScore"), passed_over=("fitted_score", "fit_diff")
    ),
}
"""The columns of a table with the figures of one service."""

METRICS_TABLE = Names(
    (SERVICE, UNIT, METRIC, *METRICS, "ratio", "score"), used=(PERIOD, "maxScore", FLAG)
)
"""The columns of the table of metrics, which has rows of several services."""

TABLE_BESIDE = (
    "province",
    "departmentName",
    "level",
    "null_case",
    "null_case_or_note",
    "source",
)
"""Columns that any table may have and that are not kept."""
