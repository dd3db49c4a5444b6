"""The printed forms, read back by readers that are not ours: every figure in its cell, the same bytes again."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from importlib import resources
from io import BytesIO

import pypdf
import pytest
from openpyxl import load_workbook
from openpyxl.worksheet.worksheet import Worksheet

from schemas.reports import form
from schemas.reports.form import Ended, Held, Treatment
from streams.reporting.documents import form_206
from streams.reporting.documents.form_206 import NOTES, Key, Names
from streams.reporting.documents.paper import pdf_of
from streams.reporting.documents.sheet import (
    Column,
    Heading,
    Line,
    Meta,
    Sheet,
    roman,
    signed_at,
    written,
)
from streams.reporting.documents.type_face import Face, load, width, wrapped
from streams.reporting.documents.workbook import xlsx_of
from tests.unit.reporting.papers import HASH, NAMES, meta, pages_of, rows

_VIETNAMESE = "".join(
    chr(code)
    for part in (range(0x20, 0x7F), range(0xC0, 0x1B1), range(0x1EA0, 0x1EFA))
    for code in part
)


def paper(form: str, leaf: dict[Key, tuple[int, ...]], around: Meta | None = None) -> bytes:
    return pdf_of(form_206.sheet(form, leaf, NAMES), around or meta(form))


def opened(form: str, leaf: dict[Key, tuple[int, ...]], around: Meta | None = None) -> Worksheet:
    body = xlsx_of(form_206.sheet(form, leaf, NAMES), around or meta(form))
    page = load_workbook(BytesIO(body)).active
    assert isinstance(page, Worksheet)
    return page


def folded(leaf: dict[Key, tuple[int, ...]], level: int) -> dict[Key, list[int]]:
    """The sums, added up by hand."""
    found: dict[Key, list[int]] = {}
    for key, figures in leaf.items():
        part = tuple(code if place <= level else None for place, code in enumerate(key))
        sums = found.setdefault(part, [0] * 11)  # type: ignore[arg-type]
        for place, figure in enumerate(figures):
            sums[place] += figure
    return found


# --- the workbook ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["II.06a", "II.06b"])
def test_every_figure_stands_in_its_cell_of_the_workbook(form: str) -> None:
    leaf = rows(units=3)
    page = opened(form, leaf)
    lines = [[cell.value for cell in line] for line in page.iter_rows(min_row=11)]
    table = [line for line in lines[4:] if isinstance(line[2], int)]
    by_unit, by_sector = folded(leaf, 0), folded(leaf, 1)
    expected: list[list[object]] = []
    for unit, agency in enumerate(sorted({key[0] or "" for key in leaf}), 1):
        expected.append([roman(unit), NAMES.agencies[agency], *by_unit[agency, None, None]])
        for number, sector in enumerate(("G01", "G02"), 1):
            expected.append([str(number), NAMES.sectors[sector], *by_sector[agency, sector, None]])
            if form == "II.06b":
                named = f"{NAMES.procedures['1.000001']} (1.000001)"
                other = "1.000002.000.00.00.H44"
                expected.append([f"{number}.1", named, *leaf[agency, sector, "1.000001"]])
                expected.append([f"{number}.2", other, *leaf[agency, sector, other]])
    expected.append(
        [None, "TỔNG CỘNG", *(sum(column) for column in zip(*leaf.values(), strict=True))]
    )

    assert table == expected


def test_the_head_of_the_workbook_is_the_forms_own_thirteen_columns() -> None:
    page = opened("II.06a", rows())
    merged = {str(part) for part in page.merged_cells.ranges}

    assert [page.cell(11, column).value for column in (1, 3, 7, 11)] == [
        "TT",
        "Số lượng hồ sơ tiếp nhận",
        "Số lượng hồ sơ đã giải quyết",
        "Số lượng hồ sơ đang giải quyết",
    ]
    assert {"A11:A13", "B11:B13", "C11:F11", "D12:E12", "G11:J11", "K11:M11"} <= merged
    assert [page.cell(14, column).value for column in range(1, 14)] == [
        *("(1)", "(2)", "(3) = (4)+(5)+(6)", "(4)", "(5)", "(6)"),
        *("(7) = (8)+(9)+(10)", "(8)", "(9)", "(10)", "(11) = (12)+(13)", "(12)", "(13)"),
    ]


def test_the_workbook_prints_across_on_a4_with_the_head_and_the_proof_on_every_page() -> None:
    page = opened("II.06a", rows())

    assert (page.page_setup.orientation, page.page_setup.paperSize) == ("landscape", 9)
    assert page.print_title_rows == "$11:$14"
    assert page.sheet_properties.pageSetUpPr is not None
    assert page.sheet_properties.pageSetUpPr.fitToPage
    assert (page.page_setup.fitToWidth, page.page_setup.fitToHeight) in ((None, 0), (1, 0))
    foot = str(page.oddFooter.left.text)
    assert f"SHA-256 {HASH}" in foot
    assert "Bản số 2 · Số liệu biết đến 15/10/2026 00:00:00" in foot


def test_the_workbook_tells_who_reports_what_to_whom_and_leaves_the_signers_name_open() -> None:
    page = opened("II.06a", rows())
    told = {str(cell.value) for line in page.iter_rows() for cell in line if cell.value is not None}

    assert {
        "CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM",
        "Độc lập - Tự do - Hạnh phúc",
        "Biểu số II.06a/VPCP/KSTT",
        "Ban hành theo Thông tư số 01/2020/TT-VPCP ngày 21/10/2020",
        "Kỳ báo cáo: Tháng 10/2026",
        "(Từ ngày 15/09/2026 đến ngày 14/10/2026)",
        "Đơn vị báo cáo: Ủy ban nhân dân tỉnh Phú Thọ",
        "Đơn vị nhận báo cáo: Văn phòng Chính phủ (Cục Kiểm soát thủ tục hành chính)",
        "Đơn vị tính: Số hồ sơ TTHC",
        "Phú Thọ, ngày …… tháng …… năm ……",
        "NGƯỜI LẬP BIỂU",
        "THỦ TRƯỞNG ĐƠN VỊ",
        *(f"- {note}" for note in NOTES),
    } <= told


def test_a_name_that_looks_like_a_formula_stays_text_in_the_workbook() -> None:
    named = Names(agencies={"H44.01": '=HYPERLINK("http://example.test")'})
    leaf: dict[Key, tuple[int, ...]] = {("H44.01", "G01", "1"): (0,) * 11}
    body = xlsx_of(form_206.sheet("II.06a", leaf, named), meta())
    page = load_workbook(BytesIO(body)).active
    assert page is not None
    (cell,) = [cell for line in page.iter_rows() for cell in line if "HYPER" in str(cell.value)]
    assert cell.data_type == "s"


# --- the paper ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["II.06a", "II.06b"])
def test_every_figure_stands_in_its_cell_of_the_paper(form: str) -> None:
    """A column is where its number, "(3)" to "(13)", stands in the head of the same page."""
    leaf = rows(units=30)
    sheet = form_206.sheet(form, leaf, NAMES)
    expected = [
        [written(cell) for cell in (line.cells[0], *line.cells[2:])] for line in sheet.lines
    ]
    found: list[list[str]] = []
    for page in pages_of(paper(form, leaf)):
        middles = [
            x + width(text, Face.ITALIC, 7.5) / 2
            for x, _, text in page
            if text.startswith("(") and text.split(" ")[0].strip("()").isdigit()
        ]
        middles = sorted(middles)[:1] + sorted(middles)[2:]  # the second column holds the labels
        below = min(y for _, y, text in page if text in ("(1)", "(2)"))
        lines: dict[float, dict[int, str]] = {}
        for x, y, text in page:
            if y >= below or (not text.replace(".", "").isdigit() and text != text.upper()):
                continue
            right = x + width(text, Face.REGULAR, 10)
            column = min(range(12), key=lambda n: abs(middles[n] - (x + right) / 2))
            if abs(middles[column] - (x + right) / 2) < 23:
                lines.setdefault(round(y, 1), {})[column] = text
        found += [
            [lines[y].get(column, "") for column in range(12)]
            for y in sorted(lines, reverse=True)
            if len(lines[y]) >= 11
        ]

    assert found == expected


def test_the_head_and_the_proof_stand_on_every_page_of_the_paper() -> None:
    pages = pages_of(paper("II.06a", rows(units=40)))
    assert len(pages) > 5
    for number, page in enumerate(pages, 1):
        told = " ".join(text for _, _, text in page)
        assert "Số lượng hồ sơ đang giải quyết" in told
        assert f"Ảnh chụp số liệu SHA-256 {HASH}" in told
        assert "Số liệu biết đến 15/10/2026 00:00:00" in told
        assert f"Trang {number}/{len(pages)}" in told


def test_every_name_is_on_the_paper_whole_with_all_its_marks() -> None:
    told = " ".join(
        text for page in pages_of(paper("II.06b", rows(units=20))) for _, _, text in page
    )
    for name in (*sorted(NAMES.agencies.values())[:1], *NAMES.sectors.values()):
        assert name.split()[0] in told
    for text in (
        "Sở Nông nghiệp và Môi trường",
        "NGƯỜI LẬP BIỂU",
        "THỦ TRƯỞNG ĐƠN VỊ",
        "TỔNG CỘNG",
    ):
        assert text in told
    assert "CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM" in told
    assert "Độc lập - Tự do - Hạnh phúc" in told


def test_the_font_has_every_letter_of_vietnamese_and_is_in_the_file() -> None:
    for face in Face:
        glyphs = load()[face].face.charToGlyph
        assert [letter for letter in _VIETNAMESE if ord(letter) not in glyphs] == []
    reader = pypdf.PdfReader(BytesIO(paper("II.06a", rows())))
    fonts = reader.pages[0]["/Resources"]["/Font"]  # type: ignore[index]
    embedded = [
        font.get_object()
        for font in fonts.values()
        if "Tinos" in str(font.get_object()["/BaseFont"])
    ]
    assert embedded
    assert all("/FontFile2" in font["/FontDescriptor"] for font in embedded)


def test_the_licence_of_the_font_goes_with_it() -> None:
    licence = resources.files("streams.reporting.documents") / "fonts" / "OFL.txt"
    assert "SIL OPEN FONT LICENSE Version 1.1" in licence.read_text(encoding="utf-8")


def test_the_signatures_never_stand_on_a_page_without_a_row() -> None:
    """Whatever the number of rows: the page that has them has the total as well."""
    for units in range(1, 11):
        last = pages_of(paper("II.06a", rows(units=units)))[-1]
        told = {text for _, _, text in last}
        assert {"TỔNG CỘNG", "THỦ TRƯỞNG ĐƠN VỊ"} <= told


def test_a_unit_never_ends_a_page_without_its_first_row() -> None:
    pages = pages_of(paper("II.06a", rows(units=40)))[:-1]
    assert len(pages) > 2
    for page in pages:
        ordinals = [(y, text) for x, y, text in page if x < 90 and not text.startswith("Bản số")]
        _, lowest = min(ordinals)
        assert lowest.isdigit()


def test_a_cell_that_is_taller_than_a_page_goes_on_beneath() -> None:
    words = [f"chữ{n}" for n in range(2000)]
    sheet = Sheet(
        (Column(20), Column(60)),
        (Heading("TT", 0, 0, 1, 1), Heading("Nội dung", 1, 0, 2, 1)),
        1,
        (Line(("1", " ".join(words))),),
    )
    pages = pages_of(pdf_of(sheet, meta()))
    told = " ".join(text for page in pages for _, _, text in page).split()
    assert [word for word in told if word.startswith("chữ")] == words
    assert min(y for page in pages for _, y, text in page if "chữ" in text) > 40


# --- the same bytes ----------------------------------------------------------------------------------


def test_the_same_snapshot_gives_the_same_bytes_in_another_process() -> None:
    told = (
        "from hashlib import sha256;"
        "from streams.reporting.documents import form_206;"
        "from streams.reporting.documents.paper import pdf_of;"
        "from streams.reporting.documents.workbook import xlsx_of;"
        "from tests.unit.reporting.papers import *;"
        "sheet = form_206.sheet('II.06b', rows(units=5), NAMES);"
        "print(*(sha256(draw(sheet, meta('II.06b'))).hexdigest() for draw in (pdf_of, xlsx_of)))"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", told],
        env={"PYTHONHASHSEED": "7", "TZ": "America/Lima", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    sheet = form_206.sheet("II.06b", rows(units=5), NAMES)

    assert elsewhere == [
        sha256(draw(sheet, meta("II.06b"))).hexdigest() for draw in (pdf_of, xlsx_of)
    ]


def test_no_time_but_that_of_the_snapshot_stands_in_a_file() -> None:
    sheet = form_206.sheet("II.06a", rows(), NAMES)
    about = pypdf.PdfReader(BytesIO(pdf_of(sheet, meta()))).metadata
    assert about is not None
    assert (about["/CreationDate"], about["/ModDate"]) == ("D:20261014170000Z",) * 2
    with zipfile.ZipFile(BytesIO(xlsx_of(sheet, meta()))) as parts:
        assert {part.date_time for part in parts.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        core = parts.read("docProps/core.xml").decode()
    assert core.count("2026-10-14T17:00:00Z") == 2
    assert f"SHA-256 {HASH}" in core


def test_another_figure_or_another_snapshot_gives_other_bytes() -> None:
    leaf = rows()
    key = next(iter(leaf))
    other = {**leaf, key: (leaf[key][0] + 1, *leaf[key][1:])}
    assert paper("II.06a", leaf) != paper("II.06a", other)
    assert paper("II.06a", leaf) != paper("II.06a", leaf, meta(snapshot_hash="0" * 64))


# --- what a sheet is made of -------------------------------------------------------------------------


def test_rows_without_a_code_come_last_and_stay_in_the_sum() -> None:
    one = (1, 0, 1, 0, 0, 0, 0, 0, 1, 1, 0)
    leaf: dict[Key, tuple[int, ...]] = {
        (None, None, None): one,
        ("H44.01", None, "1.000001"): one,
        ("H44.01", "G01", None): one,
    }
    sheet = form_206.sheet("II.06b", leaf, NAMES)
    assert [line.cells[:3] for line in sheet.lines] == [
        ("I", "Sở Nông nghiệp và Môi trường", 2),
        ("1", "Đất đai", 1),
        ("1.1", form_206.NO_CODE, 1),
        ("2", form_206.NO_CODE, 1),
        ("2.1", f"{NAMES.procedures['1.000001']} (1.000001)", 1),
        ("II", form_206.NO_CODE, 1),
        ("1", form_206.NO_CODE, 1),
        ("1.1", form_206.NO_CODE, 1),
        (None, "TỔNG CỘNG", 3),
    ]


def test_a_form_without_any_row_still_has_its_total() -> None:
    sheet = form_206.sheet("II.06a", {}, NAMES)
    assert [line.cells for line in sheet.lines] == [(None, "TỔNG CỘNG", *[0] * 11)]
    assert pages_of(pdf_of(sheet, meta()))


def test_a_row_without_all_its_figures_is_refused() -> None:
    with pytest.raises(ValueError, match="1 rows without the figures"):
        form_206.sheet("II.06a", {("H44.01", "G01", "1"): (0,) * 10}, NAMES)


def test_a_form_that_nobody_knows_is_refused() -> None:
    with pytest.raises(KeyError):
        form_206.sheet("II.07b", {}, NAMES)


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        (None, ""),
        (0, "0"),
        (1234567, "1.234.567"),
        (-1234, "-1.234"),
        (Decimal("1234.50"), "1.234,5"),
        (Decimal("1E+3"), "1.000"),
        (Decimal("0.000"), "0"),
        ("Đa\u0323i   ho\u0323c\nY", "Đại học Y"),
    ],
)
def test_a_cell_is_written_as_vietnamese_writes_it(cell: object, told: str) -> None:
    assert written(cell) == told  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "told"),
    [(1, "I"), (4, "IV"), (9, "IX"), (44, "XLIV"), (88, "LXXXVIII"), (150, "CL")],
)
def test_units_are_counted_in_roman_numbers(number: int, told: str) -> None:
    assert roman(number) == told
    assert len(wrapped(told, Face.BOLD, 10, 48)) == 1


@pytest.mark.parametrize(
    ("day", "told"),
    [
        (date(2026, 2, 5), "Phú Thọ, ngày 05 tháng 02 năm 2026"),
        (date(2026, 10, 25), "Phú Thọ, ngày 25 tháng 10 năm 2026"),
        (date(2026, 3, 9), "Phú Thọ, ngày 09 tháng 3 năm 2026"),
    ],
)
def test_a_day_is_signed_as_documents_are(day: date, told: str) -> None:
    assert signed_at(meta(signed_on=day)) == told


def test_the_time_is_that_of_viet_nam() -> None:
    around = meta(known_at=datetime(2026, 10, 14, 17, 0, 1, tzinfo=UTC))
    (first, *_) = pages_of(paper("II.06a", rows(), around))
    assert any("15/10/2026 00:00:01" in text for _, _, text in first)


def test_the_notes_tell_by_what_the_figures_were_counted() -> None:
    assert form_206.notes(Treatment()) == NOTES
    _, told = form_206.notes(
        Treatment(supplement=Held.BY_DATE, withdrawn=Ended.BY_DATE, no_channel=form.Column.C4)
    )
    assert "bổ sung giấy tờ tính theo ngày" in told
    assert "xin rút tính theo ngày" in told
    assert "nộp tính ở cột 4" in told


def test_a_draft_says_so_on_every_page() -> None:
    for page in pages_of(paper("II.06a", rows(units=20), meta(draft=True))):
        assert any("Bản số 2 (dự thảo, chưa được duyệt)" in text for _, _, text in page)


@pytest.mark.parametrize("text", ["", "một hai ba", "x" * 400, "từ " * 50])
def test_wrapping_loses_no_letter_and_overflows_nowhere(text: str) -> None:
    lines = wrapped(text.strip(), Face.REGULAR, 10, 60)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(width(line, Face.REGULAR, 10) <= 60 for line in lines)
