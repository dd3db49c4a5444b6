"""Tables of counts: what is read, what is refused by line and column, how totals are made."""

from __future__ import annotations

from decimal import Decimal

import pytest

from monitoring.rates.catalogue import TOTAL, UnknownRate, packaged
from monitoring.rates.counts_csv import BadTable
from monitoring.rates.points import Figure
from monitoring.rates.tables import NoTable, Scores, columns, number, score
from tests.unit.rates.published import rows

METRICS = "departmentCode,service,metric_code,numerator,denominator"
PROGRESS = "departmentCode,totalOnTime,totalReceived"
NOTHING = Figure(None, None)


def scored(code: str, *lines: str, service: str | None = None) -> Scores:
    return score(packaged(), code, "\n".join(lines).encode(), service)


def figures(scores: Scores) -> dict[str, tuple[object, object]]:
    return {row.unit: (number(row.figure.ratio), number(row.figure.score)) for row in scores.rows}


def refusal(code: str, *lines: str) -> list[str]:
    with pytest.raises(BadTable) as caught:
        scored(code, *lines)
    for problem in caught.value.problems:
        assert problem.vi != problem.en
    return [problem.en for problem in caught.value.problems]


# --- what is needed ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("on_time", ("departmentCode", "totalOnTime", "totalReceived")),
        ("DOSSIER_SYNC", ("departmentCode", "metric_code", "numerator", "denominator")),
        (TOTAL, ("departmentCode", "service", "metric_code", "numerator", "denominator")),
        (
            "online_payment",
            (
                "departmentCode",
                "totalDossierOnlinePaymentSuccess",
                "totalDossierFinancialObligation",
                "totalDossierOnlineFormalityPaymentSuccess",
                "totalFeeDossierFormalityDistinct",
                "totalFeeDossierFormality",
                "totalFeeFormality",
            ),
        ),
    ],
)
def test_what_columns_a_code_needs(code: str, wanted: tuple[str, ...]) -> None:
    assert columns(packaged(), code) == wanted


def test_every_code_of_the_published_metrics_has_its_columns() -> None:
    for code in {row["metric_code"] for row in rows("metrics")}:
        assert "numerator" in columns(packaged(), code)


@pytest.mark.parametrize("code", ["DOSSIER_SYNC_IN_TIME", "finished_on_time", "online_submission"])
def test_a_rate_that_the_portal_has_no_table_of_is_refused(code: str) -> None:
    with pytest.raises(NoTable, match=code):
        scored(code, METRICS)


def test_an_unknown_code_is_refused_with_near_ones() -> None:
    with pytest.raises(UnknownRate) as caught:
        scored("_total", METRICS)
    assert TOTAL in caught.value.near


# --- reading -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table",
    [
        b"departmentCode,totalOnTime,totalReceived\nH44,332,482\n",
        b"\xef\xbb\xbfdepartmentCode,totalOnTime,totalReceived\r\nH44,332,482\r\n",
        b'totalReceived,note,departmentCode,totalOnTime\n\n482,"a, b",H44,332\n',
        b" departmentCode , totalOnTime,totalReceived\n H44 , 332 ,482",
        b"departmentCode,totalOnTime,totalReceived,x,x\nH44,0332,482,1,2",
    ],
    ids=["plain", "from Excel", "other columns", "blanks", "a foreign column twice"],
)
def test_a_table_is_read_as_it_comes(table: bytes) -> None:
    assert figures(score(packaged(), "on_time", table)) == {"H44": (68.88, 13.78)}


NOT_A_COUNT = "is not a count (digits only, no separators, at most 15)"

REFUSED = [
    ("a minus", ["-1", "5"], f"line 3, column totalOnTime: {NOT_A_COUNT}"),
    ("a fraction", ["1.5", "5"], f"line 3, column totalOnTime: {NOT_A_COUNT}"),
    ("a separator", ["1", "1.000"], f"line 3, column totalReceived: {NOT_A_COUNT}"),
    ("a word", ["x", "5"], f"line 3, column totalOnTime: {NOT_A_COUNT}"),
    ("other digits", ["٣", "5"], f"line 3, column totalOnTime: {NOT_A_COUNT}"),
    ("sixteen digits", ["1", "1" * 16], f"line 3, column totalReceived: {NOT_A_COUNT}"),
    ("not a number", ["nan", "5"], f"line 3, column totalOnTime: {NOT_A_COUNT}"),
    ("a blank numerator", ["", "5"], "line 3, column totalOnTime: is blank"),
    ("a cell too few", ["5"], "line 3: 2 cells, the header has 3"),
    ("a cell too many", ["5", "6", "7"], "line 3: 4 cells, the header has 3"),
    ("an open quote", ['"5', "6"], "line 3: no CSV: unexpected end of data"),
]


@pytest.mark.parametrize(
    ("cells", "told"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED]
)
def test_a_bad_cell_is_named_by_line_and_column_and_not_repeated(
    cells: list[str], told: str
) -> None:
    assert refusal("on_time", PROGRESS, "H44,1,2", ",".join(["H44.01", *cells])) == [told]


def test_every_bad_cell_is_told_at_once() -> None:
    assert refusal("on_time", PROGRESS, ",a,b", "H44,1,2", "H44,c,3") == [
        "line 2, column departmentCode: is blank",
        f"line 2, column totalOnTime: {NOT_A_COUNT}",
        f"line 2, column totalReceived: {NOT_A_COUNT}",
        f"line 4, column totalOnTime: {NOT_A_COUNT}",
    ]


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (
            "departmentCode,totalReceived",
            ["needed are departmentCode, totalOnTime, totalReceived; there are departmentCode, totalReceived",
             "column totalOnTime is missing"],
        ),
        (
            "departmentCode;totalOnTime;totalReceived",
            ["the first line is a single cell: columns are separated by commas",
             "needed are departmentCode, totalOnTime, totalReceived; there are –",
             *(f"column {name} is missing" for name in ("departmentCode", "totalOnTime", "totalReceived"))],
        ),
        ("departmentCode,totalOnTime,totalReceived,totalOnTime", ["column totalOnTime is there twice"]),
    ],
    ids=["missing", "semicolons", "twice"],
)  # fmt: skip
def test_a_wrong_header_is_told_by_its_columns(header: str, told: list[str]) -> None:
    assert refusal("on_time", header) == told


def test_what_is_wrong_in_many_rows_is_told_once() -> None:
    table = "departmentCode,totalOnTime,totalReceived\n" + "H12.01,x,1\n" * 40
    with pytest.raises(BadTable) as refused:
        score(packaged(), "on_time", table.encode())
    assert len(refused.value.problems) == 40
    (told,) = refused.value.told
    assert told.vi.startswith("dòng 2, cột totalOnTime: không phải số đếm")
    assert told.vi.endswith("(và 39 dòng nữa)")
    assert told.en.endswith("(and 39 more lines)")


def test_an_empty_file_lacks_every_column() -> None:
    needed, *missing = refusal("on_time", "")
    assert "departmentCode, totalOnTime, totalReceived" in needed
    assert len(missing) == 3


def test_a_file_that_is_not_utf_8_is_refused_with_the_remedy() -> None:
    with pytest.raises(BadTable, match="save it as CSV UTF-8"):
        score(packaged(), "on_time", "departmentCode\n".encode("utf-16"))


# --- rows --------------------------------------------------------------------------------------------


def test_the_rows_of_the_metrics_table_are_filtered_by_their_code() -> None:
    scores = scored(
        "PUBLIC_CONTENT_FULL",
        METRICS,
        "H44,transparency,PUBLIC_CONTENT_FULL,87,89",
        "H44,transparency,DOSSIER_SYNC,x,y",  # not asked for, so not judged
        "H44.01,transparency,PUBLIC_CONTENT_FULL,0,0",
    )
    assert figures(scores) == {"H44": (97.75, 1.96), "H44.01": (None, None)}
    assert scores.remarks == ()


def test_a_table_without_a_row_of_the_code_says_so() -> None:
    scores = scored("DOSSIER_SYNC", METRICS, "H44,transparency,PUBLISH_ON_TIME,1,2")
    assert scores.rows == ()
    assert [remark.en for remark in scores.remarks] == ["no row of DOSSIER_SYNC"]


def test_a_service_can_be_picked() -> None:
    lines = [METRICS, "a,transparency,DOSSIER_SYNC,1,2", "b,elsewhere,DOSSIER_SYNC,1,2"]
    assert list(figures(scored("DOSSIER_SYNC", *lines, service="transparency"))) == ["a"]
    with pytest.raises(BadTable, match="column service is missing"):
        scored("on_time", PROGRESS, service="transparency")


def test_whole_numbers_are_written_without_a_point() -> None:
    assert [number(Decimal(text)) for text in ("100.00", "0.00", "78.38")] == [100, 0, 78.38]
    assert isinstance(number(Decimal("100.00")), int)


# --- totals ------------------------------------------------------------------------------------------

PARTS = [
    "H44,transparency,PUBLISH_ON_TIME,0,0",
    "H44,transparency,PUBLIC_UPDATE_ON_TIME,,",
    "H44,transparency,PUBLIC_CONTENT_FULL,87,89",
    "H44,transparency,DOSSIER_SYNC,5,5",
]


def test_a_total_counts_what_is_not_shown_as_nothing_and_keeps_the_maximum() -> None:
    scores = scored(TOTAL, METRICS, "H44,transparency,_TOTAL,,", *PARTS)
    assert figures(scores) == {"H44": (44.22, 7.96)}
    assert scores.remarks == ()


def test_a_total_without_a_row_is_over_the_maxima_of_the_others_and_says_so() -> None:
    # As the portal answered when filtered by one procedure: 20 points of digitisation instead of 22.
    lines = [
        f"H44,dossier-digitized,{code},{counts}"
        for code, counts in (
            ("ORIGINAL_RESULT_AVAILABLE", "40722,44583"),
            ("SO_HOA_GIAY_TO_GIAI_QUYET", "1,44583"),
            ("REUSED_DIGITIZED_DATA", "1322,44583"),
            ("SYNCED_WITH_DVCQG_PERSONAL_STORAGE", "0,44583"),
            ("CITIZEN_DATA_CONNECTED_DOSSIER", "2826,44583"),
            ("ELECTRONIC_CERTIFIED_COPY", ","),
            (TOTAL, ","),
        )
    ]
    scores = scored(TOTAL, METRICS, *lines)
    assert figures(scores) == {"H44": (38.4, 7.68)}
    (remark,) = scores.remarks
    assert remark.en == (
        "H44, dossier-digitized: no row of CITIZEN_DATA_CONNECTED_FORMALITY; the total is over the"
        " rows that are there"
    )


def test_a_total_without_any_row_is_not_known() -> None:
    scores = scored(TOTAL, METRICS, "H44,transparency,_TOTAL,,")
    assert figures(scores) == {"H44": (None, None)}
    assert len(scores.remarks) == 1


def test_totals_are_kept_apart_by_unit_service_and_period() -> None:
    scores = scored(
        TOTAL,
        f"period,{METRICS}",
        *(f"2026-07,{line}" for line in (*PARTS, "H44,transparency,_TOTAL,,")),
        *(f"2026-08,{line}" for line in PARTS[:3]),
        "2026-08,H44,transparency,DOSSIER_SYNC,1,2",
        "2026-08,H44,transparency,_TOTAL,,",
        *(f"2026-08,{line.replace('H44', 'H44.01')}" for line in PARTS[:2]),
    )
    assert [number(row.figure.score) for row in scores.rows] == [7.96, 4.96]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (PARTS[3], "line 6, column metric_code: repeats line 5"),
        ("H44,transparency,on_time,1,2", "line 6, column metric_code: is no rate of this service"),
        (
            "H44,elsewhere,DOSSIER_SYNC,1,2",
            "line 6, column metric_code: is no rate of this service",
        ),
        ("H44,elsewhere,_TOTAL,,", "line 6, column service: is not in the catalogue"),
        (",transparency,_TOTAL,,", "line 6, column departmentCode: is blank"),
        ("H44.01,transparency,DOSSIER_SYNC,?,2", f"line 6, column numerator: {NOT_A_COUNT}"),
    ],
)
def test_what_cannot_be_added_up_is_refused(line: str, told: str) -> None:
    assert refusal(TOTAL, METRICS, *PARTS, line) == [told]
