"""What the portal published, read from files: every golden figure, and every change of shape refused whole."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.rates.catalogue import TOTAL, Words, packaged
from monitoring.rates.periods import parse_period
from monitoring.rates.published import MOST_FAULTS, BadAnswer, Fault, Reason, unpublished
from monitoring.rates.published_csv import parse_table
from monitoring.rates.published_json import parse_answer
from monitoring.rates.published_names import GROUP_BLOCKS, RESULTS, SHAPES, TABLES, Sure
from schemas.ledger.published import Counts, PublishedFigure
from tests.unit.rates.answers import (
    CODES,
    LISTS,
    PERIOD,
    PROVINCE,
    TREES,
    WITHOUT_CODES,
    Answer,
    answer,
    body,
    results,
    unit_id,
)
from tests.unit.rates.published import path

TABLE_OF = {"dvc-progress-tree": "progress", "formality-online-payment-tree": "payment"}
SERVICES = (*TREES, *LISTS)


def from_table(service: str) -> list[PublishedFigure]:
    table = path(TABLE_OF.get(service, "metrics")).read_bytes()
    return parse_table(packaged(), service, PERIOD, table)


def read(service: str, given: Answer, codes: dict[str, str] = CODES) -> list[PublishedFigure]:
    return parse_answer(packaged(), service, body(given), codes)


def faults_of(read: Callable[[], object]) -> list[Fault]:
    with pytest.raises(BadAnswer) as told:
        read()
    return list(told.value.faults)


def reasons(faults: list[Fault]) -> set[tuple[str, str]]:
    return {(fault.field, str(fault.reason)) for fault in faults}


# --- what is taken -----------------------------------------------------------------------------------

ROWS = {
    "dvc-progress-tree": 106,
    "formality-online-payment-tree": 106,
    "provide-online-tree": 5,
    "transparency": 120,
    "dossier-digitized": 120,
    "handling-satisfaction": 66,
}


@pytest.mark.parametrize("service", SERVICES)
def test_every_golden_row_is_read(service: str) -> None:
    assert len(from_table(service)) == ROWS[service]


@pytest.mark.parametrize("service", [s for s in SERVICES if s != "provide-online-tree"])
def test_an_answer_says_the_same_as_the_table_of_it(service: str) -> None:
    table = {(one.unit, one.metric): one for one in from_table(service)}
    told = read(service, answer(service))
    assert len(told) == len(table)
    for one in told:
        same = table[one.unit, one.metric]
        assert (one.terms, one.ratio, one.score) == (same.terms, same.ratio, same.score)
        assert one.unit_id == unit_id(one.unit)


def test_an_answer_of_the_online_block_has_counts_of_the_province_and_totals_of_all() -> None:
    told = {(one.unit, one.metric): one for one in read(TREES[2], answer(TREES[2]))}
    table = {one.metric: one for one in from_table(TREES[2])}
    assert {metric for unit, metric in told if unit == PROVINCE} == set(table)
    assert {metric for unit, metric in told if unit != PROVINCE} == {TOTAL}
    for metric, same in table.items():
        assert told[PROVINCE, metric].terms == same.terms
    assert told["H44.07", TOTAL].score == Decimal("7.09")
    assert told[PROVINCE, TOTAL].maximum == 12


def test_marks_and_maxima_are_kept() -> None:
    told = {(one.unit, one.metric): one for one in read(LISTS[0], answer(LISTS[0]))}
    assert told[PROVINCE, "DOSSIER_SYNC"].flag == "TEMP_NATIONAL_REPORT_DENOMINATOR"
    assert told[PROVINCE, "PUBLISH_ON_TIME"].flag is None
    assert told[PROVINCE, TOTAL].maximum == 18


def test_the_totals_of_provinces_are_read_by_group() -> None:
    told = {one.metric: one.score for one in read(RESULTS, results())}
    assert told == {
        "CKMB": Decimal("7.96"),
        "TDGQ": Decimal("15.68"),
        "CLGQ": Decimal("7.72"),
        "MDSH": Decimal("8.47"),
        "MDHL": Decimal("12.97"),
        "TTTT": Decimal("6.25"),
        TOTAL: Decimal("59.05"),
    }


def test_a_table_may_have_the_columns_that_are_known_and_not_kept() -> None:
    rows = "province,period,departmentCode,departmentName,level,totalReceived,totalOnTime,totalOverdue,totalCompleted,avgProcessingDays,ratio,score,maxScore,null_case,source\n"
    rows += 'X,2026-08,H44.01,"Văn phòng, tỉnh",PROVINCE,0,0,0,,0,0,0,20,"0/0 -> 0",y\n'
    (one,) = parse_table(packaged(), TREES[0], PERIOD, rows.encode("utf-8-sig"))
    assert one == PublishedFigure(
        unit="H44.01",
        metric="on_time",
        terms=(Counts(Decimal(0), Decimal(0)),),
        ratio=Decimal(0),
        score=Decimal(0),
        maximum=Decimal(20),
    )


def test_every_block_of_the_catalogue_has_a_shape_and_a_group() -> None:
    blocks = set(packaged().blocks)
    assert set(SHAPES) == {*blocks, RESULTS}
    assert set(GROUP_BLOCKS.values()) == blocks
    assert set(TABLES) < blocks
    assert {service for service, shape in SHAPES.items() if shape.sure is Sure.INFERRED} == {
        RESULTS
    }


# --- a changed shape ---------------------------------------------------------------------------------


def objects(service: str, given: Answer) -> Iterator[tuple[str, tuple[str, ...], dict[str, Any]]]:
    """Every kind of object in an answer: where, the names that it needs, and the object."""
    shape, data = SHAPES[service], given["data"]
    yield "data", shape.data.needed, data
    if shape.province is not None:
        yield "province", shape.of_province.needed, data[shape.province]
    yield "unit", shape.of_unit.needed, data[shape.units][-1]
    if shape.metric is not None:
        yield "metric", shape.metric.needed, data[shape.units][-1]["metrics"][-1]
    if service == RESULTS:
        yield "groups", tuple(GROUP_BLOCKS), data[shape.units][-1]["groupScores"]


def given_answer(service: str) -> Answer:
    return copy.deepcopy(results() if service == RESULTS else answer(service))


NEEDED = [
    pytest.param(service, kind, name, id=f"{service}-{kind}-{name}")
    for service in SHAPES
    for kind, names, _ in objects(service, given_answer(service))
    for name in names
]


@pytest.mark.parametrize(("service", "kind", "name"), NEEDED)
def test_a_name_that_is_missing_refuses_the_whole_answer(
    service: str, kind: str, name: str
) -> None:
    changed = given_answer(service)
    (record,) = [found for k, _, found in objects(service, changed) if k == kind]
    del record[name]
    assert (name, "field_missing") in reasons(faults_of(lambda: read(service, changed)))


@pytest.mark.parametrize(
    ("service", "kind"),
    [
        pytest.param(service, kind, id=f"{service}-{kind}")
        for service in SHAPES
        for kind, _, _ in objects(service, given_answer(service))
    ],
)
def test_a_name_that_is_unknown_refuses_the_whole_answer(service: str, kind: str) -> None:
    changed = given_answer(service)
    (record,) = [found for k, _, found in objects(service, changed) if k == kind]
    record["newName"] = 1
    assert reasons(faults_of(lambda: read(service, changed))) == {("newName", "field_unknown")}


def _with(change: Callable[[Answer], object]) -> Callable[[str], Answer]:
    def make(service: str) -> Answer:
        changed = given_answer(service)
        change(changed)
        return changed

    return make


CHANGED = [
    ("dvc-progress-tree", lambda a: a.update(code="ERROR", data=None), ("code", "not_an_answer")),
    ("dvc-progress-tree", lambda a: a.pop("data"), ("data", "field_missing")),
    ("dvc-progress-tree", lambda a: a.update(data=[]), ("", "value_invalid")),
    ("dvc-progress-tree", lambda a: a.update(status=1), ("status", "field_unknown")),
    (
        "dvc-progress-tree",
        lambda a: a["data"].update(children={}),
        ("children", "value_invalid"),
    ),
    ("dvc-progress-tree", lambda a: a["data"]["children"].append(7), ("", "value_invalid")),
    (
        "dvc-progress-tree",
        lambda a: a["data"]["children"].append(a["data"]["children"][0]),
        ("on_time", "repeated"),
    ),
    (
        "dvc-progress-tree",
        lambda a: a["data"]["parent"].update(totalOnTime=1.5),
        ("totalOnTime", "value_invalid"),
    ),
    (
        "dvc-progress-tree",
        lambda a: a["data"]["parent"].update(totalOnTime=-1),
        ("totalOnTime", "value_invalid"),
    ),
    (
        "dvc-progress-tree",
        lambda a: a["data"]["parent"].update(totalOnTime="1"),
        ("totalOnTime", "value_invalid"),
    ),
    (
        "dvc-progress-tree",
        lambda a: a["data"]["parent"].update(totalOnTime=True),
        ("totalOnTime", "value_invalid"),
    ),
    (
        "dvc-progress-tree",
        lambda a: a["data"]["parent"].update(ratio=78.38001),
        ("ratio", "value_invalid"),
    ),
    (
        "dvc-progress-tree",
        lambda a: a["data"]["parent"].update(totalOnTime=10**15),
        ("totalOnTime", "value_invalid"),
    ),
    (
        "dvc-progress-tree",
        lambda a: a["data"]["parent"].update(departmentCode="Nguyễn Văn A"),
        ("departmentCode", "unit_invalid"),
    ),
    (
        "dvc-progress-tree",
        lambda a: a["data"]["parent"].update(departmentCode=None),
        ("departmentCode", "unit_invalid"),
    ),
    (
        "dvc-progress-tree",
        lambda a: a["data"]["parent"].update(departmentId=7),
        ("departmentId", "unit_invalid"),
    ),
    (
        "transparency",
        lambda a: a["data"]["overview"].update(departmentId="new-unit"),
        ("departmentId", "unit_unknown"),
    ),
    (
        "transparency",
        lambda a: a["data"]["pagination"].update(totalPages=2),
        ("total", "incomplete"),
    ),
    (
        "transparency",
        lambda a: a["data"]["pagination"].update(total=163),
        ("total", "incomplete"),
    ),
    (
        "transparency",
        lambda a: a["data"]["overview"].update(metrics=None),
        ("metrics", "value_invalid"),
    ),
    (
        "transparency",
        lambda a: a["data"]["overview"]["metrics"][0].update(code="PUBLISH_LATE"),
        ("code", "metric_unknown"),
    ),
    (
        "transparency",
        lambda a: a["data"]["overview"]["metrics"][3].update(dataQualityStatus="so bad"),
        ("dataQualityStatus", "value_invalid"),
    ),
    (  # the answer about one procedure
        "dossier-digitized",
        lambda a: a["data"]["overview"]["metrics"].pop(5),
        ("CITIZEN_DATA_CONNECTED_FORMALITY", "metric_missing"),
    ),
    (RESULTS, lambda a: a["data"].update(evaluation=[]), ("evaluation", "empty")),
]


@pytest.mark.parametrize(
    ("service", "change", "fault"),
    CHANGED,
    ids=[f"{service}-{'-'.join(fault)}-{n}" for n, (service, _, fault) in enumerate(CHANGED)],
)
def test_a_changed_answer_is_refused_whole(
    service: str, change: Callable[[Answer], object], fault: tuple[str, str]
) -> None:
    changed = _with(change)(service)
    assert fault in reasons(faults_of(lambda: read(service, changed)))


@pytest.mark.parametrize(
    "given",
    [b"", b"{", b'{"code":"OK","data":{"parent":NaN}}', b"\xff\xfe", b"[" * 100_000, b"1" * 99],
    ids=["empty", "cut off", "NaN", "no UTF-8", "too deep", "too long a number"],
)
def test_what_is_no_json_is_refused(given: bytes) -> None:
    (fault,) = faults_of(lambda: parse_answer(packaged(), TREES[0], given, {}))
    assert fault.reason is Reason.UNREADABLE


@pytest.mark.parametrize("service", WITHOUT_CODES)
def test_units_without_a_code_need_one_that_was_told_before(service: str) -> None:
    found = faults_of(lambda: read(service, answer(service), {}))
    assert {fault.reason for fault in found} == {Reason.UNIT_UNKNOWN}
    assert "dossier-digitized" in found[0].told.vi
    assert "import" in found[0].told.en


def test_of_a_changed_shape_not_every_unit_is_told() -> None:
    changed = given_answer("dvc-progress-tree")
    for unit in changed["data"]["children"]:
        del unit["score"]
    assert len(faults_of(lambda: read("dvc-progress-tree", changed))) == MOST_FAULTS


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_whatever_stands_in_a_place_it_is_refused_or_read(value: object) -> None:
    for service in ("transparency", "dvc-progress-tree"):
        for kind, names, _ in objects(service, given_answer(service)):
            changed = given_answer(service)
            (record,) = [found for k, _, found in objects(service, changed) if k == kind]
            record[names[len(str(value)) % len(names)]] = value
            told = json.dumps(changed, default=float).encode()
            with suppress(BadAnswer):
                assert parse_answer(packaged(), service, told, CODES)


# --- tables ------------------------------------------------------------------------------------------

PROGRESS = "departmentCode,totalReceived,totalOnTime,ratio,score\n"
METRICS = "service,departmentCode,metric_code,numerator,denominator,ratio,score\n"

TABLES_REFUSED = [
    ("dvc-progress-tree", "", ("departmentCode", "field_missing")),
    (
        "dvc-progress-tree",
        PROGRESS.replace("totalOnTime,", ""),
        ("totalOnTime", "field_missing"),
    ),
    ("dvc-progress-tree", PROGRESS.replace("score", "diem"), ("diem", "field_unknown")),
    ("dvc-progress-tree", PROGRESS.replace("score", "ratio"), ("ratio", "repeated")),
    ("dvc-progress-tree", PROGRESS, ("", "empty")),
    ("dvc-progress-tree", PROGRESS + "H44,1,1\n", ("", "unreadable")),
    ("dvc-progress-tree", PROGRESS + 'H44,"1,1,1,1\n', ("", "unreadable")),
    ("dvc-progress-tree", PROGRESS + "Sở Y tế,1,1,100,20\n", ("departmentCode", "unit_invalid")),
    ("dvc-progress-tree", PROGRESS + "H44,1.5,1,100,20\n", ("totalReceived", "value_invalid")),
    ("dvc-progress-tree", PROGRESS + "H44,1,1,-1,20\n", ("ratio", "value_invalid")),
    ("dvc-progress-tree", PROGRESS + "H44,1,1,1e9,20\n", ("ratio", "value_invalid")),
    ("dvc-progress-tree", PROGRESS + 'H44,1,1,"78,38",20\n', ("ratio", "value_invalid")),
    ("dvc-progress-tree", PROGRESS + "H44,1,1,78.38001,20\n", ("ratio", "value_invalid")),
    (
        "dvc-progress-tree",
        PROGRESS + "H44,1,1,100,20\nH44,1,1,100,20\n",
        ("departmentCode", "repeated"),
    ),
    (
        "dvc-progress-tree",
        "period," + PROGRESS + "2026-07,H44,1,1,100,20\n",
        ("period", "other_period"),
    ),
    ("transparency", METRICS + "dossier-digitized,H44,X,1,1,1,1\n", ("", "empty")),
    ("transparency", METRICS + "transparency,H44,X,1,1,1,1\n", ("metric_code", "metric_unknown")),
    (
        "transparency",
        METRICS.replace("service", "service,dataQualityStatus")
        + "transparency,x y,H44,DOSSIER_SYNC,1,1,1,1\n",
        ("dataQualityStatus", "value_invalid"),
    ),
]


@pytest.mark.parametrize(
    ("service", "table", "fault"),
    TABLES_REFUSED,
    ids=[f"{'-'.join(fault)}-{n}" for n, (_, _, fault) in enumerate(TABLES_REFUSED)],
)
def test_a_changed_table_is_refused_whole(service: str, table: str, fault: tuple[str, str]) -> None:
    found = faults_of(lambda: parse_table(packaged(), service, PERIOD, table.encode()))
    assert fault in reasons(found)


def test_a_table_that_is_no_text_is_refused() -> None:
    (fault,) = faults_of(lambda: parse_table(packaged(), TREES[0], PERIOD, b"\xff\xfe"))
    assert fault.reason is Reason.UNREADABLE


@pytest.mark.parametrize("service", SERVICES)
def test_every_column_of_a_golden_table_is_needed_or_known(service: str) -> None:
    text = path(TABLE_OF.get(service, "metrics")).read_text("utf-8")
    heading, *lines = text.splitlines(keepends=True)
    columns = heading.rstrip().split(",")
    for place, column in enumerate(columns):
        renamed = ",".join([*columns[:place], "khác", *columns[place + 1 :]])
        table = "".join([renamed + "\n", *lines]).encode()
        found = faults_of(lambda t=table: parse_table(packaged(), service, PERIOD, t))
        assert ("khác", "field_unknown") in reasons(found), column


# --- what is kept of a fault -------------------------------------------------------------------------


def test_a_name_that_is_no_plain_name_is_not_kept() -> None:
    kept = PROGRESS.replace("score", "diemSo,Nguyễn Văn A")
    found = faults_of(lambda: parse_table(packaged(), TREES[0], PERIOD, kept.encode()))
    assert {fault.as_row().field for fault in found} == {"score", "diemSo", ""}
    assert any("Nguyễn Văn A" in fault.told.vi for fault in found)


@pytest.mark.parametrize(
    ("place", "field", "vi", "en"),
    [
        ("", "", "cả tệp: sai", "the file: wrong"),
        ("3", "ratio", "dòng 3, ratio: sai", "line 3, ratio: wrong"),
        ("data.parent", "", "data.parent: sai", "data.parent: wrong"),
    ],
)
def test_a_fault_is_told_with_its_place(place: str, field: str, vi: str, en: str) -> None:
    told = Fault(place, field, Reason.UNREADABLE, Words(vi="sai", en="wrong")).told
    assert (told.vi, told.en) == (vi, en)


# --- periods -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("period", "today", "reason"),
    [
        ("2026-08", date(2026, 9, 1), None),
        ("2026-08", date(2026, 8, 31), Reason.PERIOD_NOT_ENDED),
        ("2026-Q3", date(2026, 7, 1), None),
        ("2026-Q3", date(2026, 6, 30), Reason.PERIOD_NOT_ENDED),
        ("2026", date(2026, 1, 1), None),
        ("2027", date(2026, 12, 31), Reason.PERIOD_NOT_ENDED),
        ("2026-H1", date(2026, 12, 31), Reason.PERIOD_NOT_PUBLISHED),
    ],
)
def test_the_portal_has_months_that_ended_and_quarters_and_years_that_began(
    period: str, today: date, reason: Reason | None
) -> None:
    parsed = parse_period(period)
    assert parsed is not None
    assert [fault.reason for fault in unpublished(parsed, today)] == ([reason] if reason else [])
