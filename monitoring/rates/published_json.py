"""An answer of the portal's public evaluation API, as a file: which names it has is said by `published_names.py`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple, NoReturn

from monitoring.rates.catalogue import METRICS, TOTAL, Catalogue, Words
from monitoring.rates.published import (
    BAD_COUNT,
    BAD_FLAG,
    BAD_NUMBER,
    BAD_UNIT,
    REPEATED,
    BadAnswer,
    Fault,
    Reason,
    is_figure,
    is_flag,
    is_unit,
    is_unit_id,
    metrics_of,
    no_such_metric,
    own_metrics,
    repeated,
)
from monitoring.rates.published_names import (
    ENVELOPE,
    FLAG,
    GOOD,
    GROUP_BLOCKS,
    GROUPS,
    PAGES,
    SHAPES,
    UNIT_ID,
    Names,
)
from monitoring.rates.tables import UNIT
from schemas.ledger.published import Counts, PublishedFigure

FORM = "json"

_LONGEST_NUMBER = 30  # characters; a sound figure has far fewer

Record = Mapping[str, object]


class _Points(NamedTuple):
    """What a unit is shown to have; None is nothing."""

    ratio: Decimal | None
    score: Decimal | None
    maximum: Decimal | None


_NO_POINTS = _Points(None, None, None)


def parse_answer(
    catalogue: Catalogue, service: str, body: bytes, codes: Mapping[str, str]
) -> list[PublishedFigure]:
    """The figures in an answer of a service of `SHAPES`, in its order: the province, then its units.

    `codes` are the codes of units by the portal's ids, for answers that name the id alone. Raises `BadAnswer`.
    """
    return _Reader(catalogue, service, codes).read(body)


class _Reader:
    """One answer while it is read, and what is wrong with it."""

    def __init__(self, catalogue: Catalogue, service: str, codes: Mapping[str, str]) -> None:
        self._service = service
        self._shape = SHAPES[service]
        self._codes = codes
        self._own = own_metrics(catalogue, service) if self._shape.metric is None else {}
        self._metrics = metrics_of(catalogue, service)
        self._faults: list[Fault] = []

    def read(self, body: bytes) -> list[PublishedFigure]:
        data = self._data(body)
        figures: list[PublishedFigure] = []
        for place, record, names in self._units(data):
            figures += self._figures(place, record, names)
        if not figures and not self._faults:
            self._fault("data", self._shape.units, Reason.EMPTY, _EMPTY)
        self._refuse()
        for unit, metric in repeated(figures):
            self._fault("data", metric, Reason.REPEATED, _of_unit(unit, REPEATED))
        self._refuse()
        return figures

    # --- the frame -----------------------------------------------------------------------------------

    def _data(self, body: bytes) -> Record:
        envelope = self._object("", _decoded(body))
        if envelope.get("code", GOOD) != GOOD:
            self._fault("", "code", Reason.NOT_AN_ANSWER, _NOT_GOOD)
            self._refuse()
        self._named("", envelope, ENVELOPE)
        data = self._object("data", envelope["data"])
        self._named("data", data, self._shape.data)
        if "pagination" in self._shape.data.needed:
            self._pages(data)
        return data

    def _pages(self, data: Record) -> None:
        pages = self._object("data.pagination", data["pagination"])
        self._named("data.pagination", pages, PAGES)
        units = data[self._shape.units]
        there = len(units) if isinstance(units, list) else 0
        if pages["totalPages"] not in (0, 1) or pages["total"] != there:
            self._fault("data.pagination", "total", Reason.INCOMPLETE, _INCOMPLETE)

    def _units(self, data: Record) -> Iterator[tuple[str, Record, Names]]:
        shape = self._shape
        if shape.province is not None:
            place = f"data.{shape.province}"
            yield place, self._object(place, data[shape.province]), shape.of_province
        listed = data[shape.units]
        if not isinstance(listed, list):
            self._fault("data", shape.units, Reason.VALUE_INVALID, _NO_LIST)
            self._refuse()
            return
        for number, one in enumerate(listed):
            place = f"data.{shape.units}[{number}]"
            yield place, self._object(place, one), shape.of_unit

    # --- one unit ------------------------------------------------------------------------------------

    def _figures(self, place: str, record: Record, names: Names) -> Iterator[PublishedFigure]:
        if not self._has(place, record, names):
            return
        unit_id, unit = self._unit(place, record)
        own = {
            code: pairs
            for code, pairs in self._own.items()
            if all(name in record for pair in pairs for name in pair)
        }
        for code, pairs in own.items():
            counts = tuple(
                Counts(self._count(place, record, of), self._count(place, record, by))
                for of, by in pairs
            )
            told = _NO_POINTS if self._shape.totals else self._points(place, record, names)
            yield PublishedFigure(
                unit=unit,
                unit_id=unit_id,
                metric=code,
                terms=counts,
                ratio=told.ratio,
                score=told.score,
                maximum=told.maximum,
            )
        if self._shape.metric is not None:
            yield from self._listed(place, record, unit, unit_id, self._shape.metric)
        if GROUPS in names.needed:
            yield from self._groups(place, record, unit, unit_id)
        if self._shape.totals:
            told = self._points(place, record, names)
            yield PublishedFigure(
                unit=unit,
                unit_id=unit_id,
                metric=TOTAL,
                terms=(Counts(None, None),),
                ratio=told.ratio,
                score=told.score,
                maximum=told.maximum,
            )

    def _unit(self, place: str, record: Record) -> tuple[str, str]:
        """Id and code; what cannot be read is blank, after noting it."""
        unit_id, unit = record[UNIT_ID], record.get(UNIT)
        if not isinstance(unit_id, str) or not is_unit_id(unit_id):
            self._fault(place, UNIT_ID, Reason.UNIT_INVALID, _BAD_ID)
            return "", ""
        if unit is None and UNIT not in self._shape.of_unit.needed:
            unit = self._codes.get(unit_id)
            if unit is None:
                self._fault(place, UNIT_ID, Reason.UNIT_UNKNOWN, _UNKNOWN_ID)
                return unit_id, ""
        if not isinstance(unit, str) or not is_unit(unit):
            self._fault(place, UNIT, Reason.UNIT_INVALID, BAD_UNIT)
            return unit_id, ""
        return unit_id, unit

    def _points(self, place: str, record: Record, names: Names) -> _Points:
        score, maximum = (
            ("score", "maxScore") if "score" in names.needed else ("totalScore", "totalMaxScore")
        )
        return _Points(
            ratio=self._number(place, record, "ratio"),
            score=self._number(place, record, score),
            maximum=self._number(place, record, maximum) if maximum in record else None,
        )

    def _listed(
        self, place: str, record: Record, unit: str, unit_id: str, names: Names
    ) -> Iterator[PublishedFigure]:
        """The elements of `metrics`. All of the service's are there, or the answer is about one procedure."""
        metrics = record["metrics"]
        if not isinstance(metrics, list):
            self._fault(place, "metrics", Reason.VALUE_INVALID, _NO_LIST)
            return
        there: set[object] = set()
        for number, one in enumerate(metrics):
            inside = f"{place}.metrics[{number}]"
            metric = self._object(inside, one)
            if not self._has(inside, metric, names):
                continue
            code = metric["code"]
            if not isinstance(code, str) or code not in self._metrics - {TOTAL}:
                self._fault(inside, "code", Reason.METRIC_UNKNOWN, no_such_metric(self._service))
                continue
            there.add(code)
            of, by = METRICS
            yield PublishedFigure(
                unit=unit,
                unit_id=unit_id,
                metric=code,
                terms=(Counts(self._count(inside, metric, of), self._count(inside, metric, by)),),
                ratio=self._number(inside, metric, "ratio"),
                score=self._number(inside, metric, "score"),
                maximum=self._number(inside, metric, "maxScore"),
                flag=self._flag(inside, metric),
            )
        for code in sorted(self._metrics - {TOTAL} - there):
            self._fault(f"{place}.metrics", code, Reason.METRIC_MISSING, _MISSING_METRIC)

    def _groups(
        self, place: str, record: Record, unit: str, unit_id: str
    ) -> Iterator[PublishedFigure]:
        inside = f"{place}.{GROUPS}"
        groups = self._object(inside, record[GROUPS])
        if not self._has(inside, groups, Names(tuple(GROUP_BLOCKS))):
            return
        for code in GROUP_BLOCKS:
            yield PublishedFigure(
                unit=unit,
                unit_id=unit_id,
                metric=code,
                terms=(Counts(None, None),),
                score=self._number(inside, groups, code),
            )

    # --- values --------------------------------------------------------------------------------------

    def _count(self, place: str, record: Record, name: str) -> Decimal | None:
        return self._number(place, record, name, whole=True)

    def _number(
        self, place: str, record: Record, name: str, *, whole: bool = False
    ) -> Decimal | None:
        value = record[name]
        if value is None:
            return None
        if isinstance(value, Decimal) and is_figure(value, whole=whole):
            return value
        self._fault(place, name, Reason.VALUE_INVALID, BAD_COUNT if whole else BAD_NUMBER)
        return None

    def _flag(self, place: str, record: Record) -> str | None:
        flag = record.get(FLAG)
        if flag is None or (isinstance(flag, str) and is_flag(flag)):
            return flag
        self._fault(place, FLAG, Reason.VALUE_INVALID, BAD_FLAG)
        return None

    def _object(self, place: str, given: object) -> Record:
        if isinstance(given, dict):
            return given
        self._fault(place, "", Reason.VALUE_INVALID, _NO_OBJECT)
        self._refuse()
        return {}

    def _named(self, place: str, record: Record, names: Names) -> None:
        """As `_has`, where without the names nothing can be read further."""
        if not self._has(place, record, names):
            self._refuse()

    def _has(self, place: str, record: Record, names: Names) -> bool:
        """Whether an object has the names that it needs; other names are noted too."""
        missing = [name for name in names.needed if name not in record]
        for name in missing:
            self._fault(place, name, Reason.FIELD_MISSING, _MISSING)
        for name in record:
            if name not in names.known:
                self._fault(place, name, Reason.FIELD_UNKNOWN, _UNKNOWN)
        return not missing

    def _fault(self, place: str, field: str, reason: Reason, words: Words) -> None:
        self._faults.append(Fault(place, field, reason, words))

    def _refuse(self) -> None:
        if self._faults:
            raise BadAnswer(self._faults)


def _decoded(body: bytes) -> object:
    try:
        found: object = json.loads(
            body.decode("utf-8-sig"),
            parse_float=_decimal,
            parse_int=_decimal,
            parse_constant=_no_number,
        )
    except (ValueError, RecursionError):
        raise BadAnswer([Fault("", "", Reason.UNREADABLE, _NO_JSON)]) from None
    return found


def _decimal(text: str) -> Decimal:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("a number of too many digits")
    return Decimal(text)


def _no_number(_: str) -> NoReturn:
    raise ValueError("no number of JSON")


def _of_unit(unit: str, words: Words) -> Words:
    return Words(vi=f"{unit}: {words.vi}", en=f"{unit}: {words.en}")


_NO_JSON = Words(
    vi="không phải JSON (UTF-8); lưu nguyên câu trả lời của Cổng",
    en="is no JSON (UTF-8); save the portal's answer as it is",
)
_NOT_GOOD = Words(
    vi=f"khác {GOOD}: Cổng báo lỗi thay vì trả số liệu; gọi lại",
    en=f"is not {GOOD}: the portal told an error and no figures; ask it again",
)
_INCOMPLETE = Words(
    vi="chưa đủ mọi đơn vị; gọi lại với pageSize lớn hơn để có một trang",
    en="not all units are there; ask again with a larger pageSize, for a single page",
)
_EMPTY = Words(vi="không có số liệu nào", en="holds no figure")
_NO_LIST = Words(vi="phải là danh sách", en="has to be a list")
_NO_OBJECT = Words(vi="phải là đối tượng JSON", en="has to be a JSON object")
_BAD_ID = Words(vi="không phải mã đơn vị của Cổng", en="is no id of a unit at the portal")
_UNKNOWN_ID = Words(
    vi="chưa biết mã định danh của đơn vị này; nhập trước câu trả lời dossier-digitized hoặc dvc-progress-tree của tỉnh",
    en="the code of this unit is not known yet; import the province's answer of dossier-digitized or dvc-progress-tree first",
)
_MISSING = Words(
    vi="thiếu trường này; Cổng có thể đã đổi cách trả lời",
    en="is missing; the portal may answer in another way now",
)
_UNKNOWN = Words(
    vi="trường lạ; Cổng có thể đã đổi cách trả lời",
    en="is unknown; the portal may answer in another way now",
)
_MISSING_METRIC = Words(
    vi="thiếu chỉ tiêu này; câu trả lời đã lọc theo một thủ tục, hoặc Cổng đã đổi cách trả lời",
    en="this metric is missing; the answer is about one procedure, or the portal answers in another way now",
)
