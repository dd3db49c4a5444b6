"""Answers of the portal's evaluation API as they were captured: its shape around the published figures.

The names, their order and what is null are those of the captures that `tests/fixtures/rates` was taken from; ids are
invented, and names of units left out.
"""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

from tests.unit.rates.published import rows

PERIOD = "2026-08"
PROVINCE = "H44"
TREES = ("dvc-progress-tree", "formality-online-payment-tree", "provide-online-tree")
LISTS = ("transparency", "dossier-digitized", "handling-satisfaction")
WITHOUT_CODES = ("transparency", "handling-satisfaction")
"""Their units have an id and no code."""

Answer = dict[str, Any]


def unit_id(unit: str) -> str:
    """The portal's id of a unit."""
    return str(uuid5(NAMESPACE_DNS, unit))


CODES = {unit_id(row["departmentCode"]): row["departmentCode"] for row in rows("progress")}


def answer(service: str) -> Answer:
    """The published figures of August 2026 of all units that are kept."""
    data = _tree(service) if service in TREES else _list(service)
    return {"code": "OK", "data": data, "message": "OK"}


def body(given: Answer) -> bytes:
    """As it is sent, with the numbers as they are written in the tables."""
    return json.dumps(given, ensure_ascii=False, default=_number).encode()


def results() -> Answer:
    """`service-results`, of which no answer was captured: the names that its readers ask for."""
    groups = {"CKMB": 7.96, "TDGQ": 15.68, "CLGQ": 7.72, "MDSH": 8.47, "MDHL": 12.97, "TTTT": 6.25}
    province = {
        "departmentId": unit_id(PROVINCE),
        "departmentName": "",
        "departmentCode": PROVINCE,
        "totalScore": 59.05,
        "ratio": 59.05,
        "scoreDelta": None,
        "groupScores": groups,
    }
    data = {
        "overview": {"totalScore": 60.1},
        "evaluation": [province],
        "growthPercent": 0,
        "radar": [],
    }
    return {"code": "OK", "data": data, "message": "OK"}


def _number(value: object) -> object:
    assert isinstance(value, Decimal)
    return int(value) if value == value.to_integral_value() else float(value)


def _value(cell: str) -> Decimal | None:
    return Decimal(cell) if cell else None


def _about(unit: str) -> Answer:
    return {"departmentId": unit_id(unit), "departmentName": "", "departmentCode": unit}


def _tree(service: str) -> Answer:
    if service == "provide-online-tree":
        return _online()
    progress = service == "dvc-progress-tree"
    units = []
    for row in rows("progress" if progress else "payment"):
        unit = row.pop("departmentCode")
        told = _about(unit) | {name: _value(cell) for name, cell in row.items()}
        if unit == PROVINCE and progress:
            told |= {"totalCompleted": 147765, "avgProcessingDays": 7.05}
            told |= {"totalScore": told.pop("score"), "totalMaxScore": 20}
        elif unit == PROVINCE:
            told |= {"totalMaxScore": 10}
        elif progress:
            told |= {"level": "COMMUNE", "totalOverdue": 1, "avgProcessingDays": 3.5}
            told |= {"maxScore": 20, "scoreDelta": None}
        else:
            told |= {"level": "COMMUNE", "totalMaxScore": 10, "scoreDelta": None}
        units.append(told)
    data = {"parent": units[0], "children": units[1:]}
    if progress:
        data |= {"monthlyChart": [{"month": "08", "onTimePct": 78.38, "overduePct": 21.62}]}
    return data


def _online() -> Answer:
    told = {row["metric_code"]: row for row in rows("metrics") if "provide" in row["service"]}
    whole = told.pop("_TOTAL")
    parent = _about(PROVINCE) | {"totalScore": _value(whole["score"]), "totalMaxScore": 12}
    parent |= {"ratio": _value(whole["ratio"]), "partialCount": 31}
    for code, row in told.items():
        of, by = code.split("/")
        parent |= {of: _value(row["numerator"]), by: _value(row["denominator"])}
    parent |= {"channelDirectSum": 1639, "channelPostalSum": 0, "onlineOverdueSum": 16796}
    child = _about("H44.07") | {"level": "PROVINCE", "totalScore": 7.09, "totalMaxScore": 12}
    child |= {"ratio": 59.08, "scoreDelta": None}
    chart = [{"label": "08", "onlineDossierPct": 20.63}]
    return {"parent": parent, "children": [child], "monthlyChart": chart}


def _list(service: str) -> Answer:
    units: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows("metrics"):
        if row["service"] == service:
            units[row["departmentCode"]].append(row)
    first, *others = [
        _listed(service, number, unit, told) for number, (unit, told) in enumerate(units.items())
    ]
    pages = {"total": len(others), "currentPage": 1, "pageSize": 200, "totalPages": 1}
    return {"overview": first, "evaluation": others, "pagination": pages, "source": "collections"}


def _listed(service: str, number: int, unit: str, told: list[dict[str, str]]) -> Answer:
    (whole,) = [row for row in told if row["metric_code"] == "_TOTAL"]
    record = {"stt": number or 1, **_about(unit)}
    if service in WITHOUT_CODES:
        del record["departmentCode"]
    record |= {"departmentType": "X", "departmentLevel": "X", "agencyLevel": "level_2"}
    record |= {"totalScore": _value(whole["score"]), "totalMaxScore": _value(whole["maxScore"])}
    record |= {"ratio": _value(whole["ratio"]), "scoreDelta": None}
    record["metrics"] = [_metric(row) for row in told if row is not whole]
    return record


def _metric(row: dict[str, str]) -> Answer:
    metric: Answer = {"code": row["metric_code"], "name": ""}
    for name in ("numerator", "denominator", "ratio", "score", "maxScore"):
        metric[name] = _value(row[name])
    if row["metric_code"] == "DOSSIER_SYNC":
        metric |= {
            "dataQualityStatus": "TEMP_NATIONAL_REPORT_DENOMINATOR",
            "dataQualityMessage": "…",
        }
    return metric
