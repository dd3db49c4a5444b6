"""A regime's form as it was filled, on paper: a table of its cells, whatever the form."""

from __future__ import annotations

from collections.abc import Mapping

from streams.reporting.documents.sheet import Column, Heading, Line, Sheet, Weight
from streams.reporting.filling import Filled, Outcome

ISSUED_BY_UNKNOWN = "chế độ báo cáo đã nhận"
"""What stands for the document that issued a regime which does not name any."""

_COLUMNS = (
    Column(12, middle=True),
    Column(92),
    Column(34),
    Column(24),
    Column(34, figures=True),
    Column(71),
)
_WORDS = ("TT", "Chỉ tiêu", "Mã ô", "Đơn vị tính", "Số liệu", "Ghi chú")
_HEAD = (
    *(Heading(words, n, 0, n + 1, 1) for n, words in enumerate(_WORDS)),
    *(Heading(f"({n + 1})", n, 1, n + 1, 2) for n in range(len(_WORDS))),
)

NOTES: Mapping[Outcome, str] = {
    Outcome.FILLED: "",
    Outcome.PROVISIONAL: "tạm tính",
    Outcome.EMPTY: "để trống",
    Outcome.UNMAPPED: "chưa khai báo nguồn số liệu",
    Outcome.NO_FIGURE: "chưa có số liệu",
    Outcome.DOES_NOT_FIT: "số liệu không đúng kiểu của ô",
}
"""What stands beside a cell."""


def sheet(filled: Filled, agencies: Mapping[str, str] | None = None) -> Sheet:
    """The cells in the order of the form, those of an agency beneath its name."""
    names = agencies or {}
    lines: list[Line] = []
    under: str | None = None
    number = 0
    for one in filled.cells:
        if one.agency is not None and one.agency != under:
            under, number = one.agency, 0
            lines.append(Line((None, names.get(one.agency, one.agency), *[None] * 4), Weight.UNIT))
        number += 1
        place = "/".join(part for part in one.cell.place if part)
        lines.append(
            Line(
                (str(number), one.cell.name, place, one.cell.unit, one.value, NOTES[one.outcome]),
                Weight.PLAIN,
                0 if one.agency is None else 1,
            )
        )
    return Sheet(_COLUMNS, _HEAD, 2, tuple(lines))
