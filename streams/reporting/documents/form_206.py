"""Form II.06a/VPCP/KSTT and II.06b/VPCP/KSTT on paper: thirteen columns, rows by unit, sector and procedure.

Circular 01/2020/TT-VPCP, forms II.06a and II.06b. The circular's own text was not at hand: number, title, unit and
columns are as two independent printouts of a provincial product have them; what stands in the head over the columns
4 and 5, and that a unit's ordinal is Roman, is how such forms are usually set (inferred).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from schemas.reports.form import Ended, Held, Treatment
from streams.reporting.documents.sheet import Column, Heading, Line, Sheet, Weight, roman

FIGURES = 11
"""Columns 3 to 13."""

UNIT = "Số hồ sơ TTHC"
ISSUED_BY = "Thông tư số 01/2020/TT-VPCP ngày 21/10/2020"
NUMBER = {"II.06a": "II.06a/VPCP/KSTT", "II.06b": "II.06b/VPCP/KSTT"}
TITLE = {
    "II.06a": "TÌNH HÌNH, KẾT QUẢ GIẢI QUYẾT TTHC TẠI CƠ QUAN, ĐƠN VỊ TRỰC TIẾP GIẢI QUYẾT TTHC",
    "II.06b": "TÌNH HÌNH, KẾT QUẢ GIẢI QUYẾT TTHC TẠI CƠ QUAN, ĐƠN VỊ TRỰC TIẾP GIẢI QUYẾT TTHC, THEO TỪNG TTHC",
}

NOTES = (
    "Cột 3 = cột 4 + cột 5 + cột 6; cột 7 = cột 8 + cột 9 + cột 10; cột 11 = cột 12 + cột 13; "
    "cột 3 = cột 7 + cột 11. Trước hạn, đúng hạn và quá hạn so theo ngày.",
    "Hồ sơ đang chờ bổ sung giấy tờ chỉ tính ở cột 11, 12; hồ sơ công dân xin rút chỉ tính ở cột 7, 9; hồ sơ "
    "không được tiếp nhận hoặc mới đăng ký không tính ở cột nào; hồ sơ không rõ kênh nộp tính ở cột 5.",
)
"""What is printed below the table; the second as long as nobody has set anything else: see `notes`."""

NO_CODE = "(chưa xác định được mã)"
"""What stands for a unit, sector or procedure without a code: its row is kept, so that the rows add up."""

_BY_DATE = "tính theo ngày"


def notes(treatment: Treatment) -> tuple[str, ...]:
    """The notes, with the second by what the figures were really counted by."""
    waiting = "chỉ tính ở cột 11, 12" if treatment.supplement is Held.IN_TIME else _BY_DATE
    withdrawn = "chỉ tính ở cột 7, 9" if treatment.withdrawn is Ended.ON_TIME else _BY_DATE
    return (
        NOTES[0],
        f"Hồ sơ đang chờ bổ sung giấy tờ {waiting}; hồ sơ công dân xin rút {withdrawn}; hồ sơ không được tiếp nhận "
        "hoặc mới đăng ký không tính ở cột nào; hồ sơ không rõ kênh nộp tính ở cột "
        f"{treatment.no_channel.removeprefix('c')}.",
    )


Key = tuple[str | None, str | None, str | None]
"""Agency, sector and procedure, by their codes."""


@dataclass(frozen=True, slots=True)
class Names:
    """Names by code; a code without one is printed as it is."""

    agencies: Mapping[str, str] = field(default_factory=dict)
    sectors: Mapping[str, str] = field(default_factory=dict)
    procedures: Mapping[str, str] = field(default_factory=dict)


def sheet(form: str, rows: Mapping[Key, Sequence[int]], names: Names) -> Sheet:
    """Form "II.06a" (unit, then sector) or "II.06b" (then procedure) from the leaf rows of a snapshot.

    Rows come in the order of their codes, those without a code last. Raises `KeyError` for another form, and
    `ValueError` where a row has not the eleven figures of the columns 3 to 13.
    """
    wrong = [key for key, figures in rows.items() if len(figures) != FIGURES]
    if wrong:
        raise ValueError(f"{len(wrong)} rows without the figures of the columns 3 to 13")
    _ = NUMBER[form]
    lines = (
        *_lines(rows, names, by_procedure=form == "II.06b"),
        _line(None, "TỔNG CỘNG", rows.values(), Weight.TOTAL),
    )
    return Sheet(_COLUMNS, _HEAD, _HEAD_ROWS, lines)


def _lines(
    rows: Mapping[Key, Sequence[int]], names: Names, *, by_procedure: bool
) -> Iterator[Line]:
    agencies = _grouped(rows, 0)
    for place, (agency, of_agency) in enumerate(agencies.items(), 1):
        label = _named(agency, names.agencies)
        yield _line(roman(place), label, of_agency.values(), Weight.UNIT)
        for number, (sector, of_sector) in enumerate(_grouped(of_agency, 1).items(), 1):
            label = _named(sector, names.sectors)
            yield _line(str(number), label, of_sector.values(), Weight.SECTOR, 1)
            if by_procedure:
                procedures = _grouped(of_sector, 2)
                for part, (procedure, of_procedure) in enumerate(procedures.items(), 1):
                    label = _of_procedure(procedure, names)
                    yield _line(f"{number}.{part}", label, of_procedure.values(), Weight.PLAIN, 2)


def _grouped(
    rows: Mapping[Key, Sequence[int]], level: int
) -> dict[str | None, dict[Key, Sequence[int]]]:
    found: dict[str | None, dict[Key, Sequence[int]]] = {}
    for code in sorted({key[level] for key in rows}, key=lambda code: (code is None, code or "")):
        found[code] = {}
    for key, figures in rows.items():
        found[key[level]][key] = figures
    return found


def _named(code: str | None, names: Mapping[str, str]) -> str:
    return NO_CODE if code is None else names.get(code, code)


def _of_procedure(code: str | None, names: Names) -> str:
    if code is None or code not in names.procedures:
        return _named(code, names.procedures)
    return f"{names.procedures[code]} ({code})"


def _line(
    number: str | None, label: str, rows: Iterable[Sequence[int]], weight: Weight, indent: int = 0
) -> Line:
    return Line((number, label, *_sums(rows)), weight, indent)


def _sums(rows: Iterable[Sequence[int]]) -> list[int]:
    sums = [0] * FIGURES
    for figures in rows:
        for place, figure in enumerate(figures):
            sums[place] += figure
    return sums


_COLUMNS = (
    Column(18, middle=True),  # as wide as LXXXVIII
    Column(73),
    *(Column(16, figures=True) for _ in range(FIGURES)),
)
_HEAD_ROWS = 4
_IN_WORDS = (
    Heading("TT", 0, 0, 1, 3),
    Heading("Đơn vị / Lĩnh vực, công việc giải quyết theo cấp", 1, 0, 2, 3),
    Heading("Số lượng hồ sơ tiếp nhận", 2, 0, 6, 1),
    Heading("Tổng số", 2, 1, 3, 3),
    Heading("Trong kỳ", 3, 1, 5, 2),
    Heading("Trực tuyến", 3, 2, 4, 3),
    Heading("Trực tiếp, dịch vụ bưu chính", 4, 2, 5, 3),
    Heading("Từ kỳ trước", 5, 1, 6, 3),
    Heading("Số lượng hồ sơ đã giải quyết", 6, 0, 10, 1),
    Heading("Tổng số", 6, 1, 7, 3),
    Heading("Trước hạn", 7, 1, 8, 3),
    Heading("Đúng hạn", 8, 1, 9, 3),
    Heading("Quá hạn", 9, 1, 10, 3),
    Heading("Số lượng hồ sơ đang giải quyết", 10, 0, 13, 1),
    Heading("Tổng số", 10, 1, 11, 3),
    Heading("Trong hạn", 11, 1, 12, 3),
    Heading("Quá hạn", 12, 1, 13, 3),
)
# A blank is where such a cell may be broken.
_SUMS = {3: "(3) = (4)+(5)+(6)", 7: "(7) = (8)+(9)+(10)", 11: "(11) = (12)+(13)"}
_HEAD = (
    *_IN_WORDS,
    *(Heading(_SUMS.get(n, f"({n})"), n - 1, 3, n, 4) for n in range(1, FIGURES + 3)),
)
