"""A form filled from a table of sources: every cell with its figure or with what keeps it empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest

from schemas.dossier.csv_table import TableError
from schemas.ledger.regimes import CellSource, FormPlace
from schemas.reports import packets
from schemas.reports.cells import Cell, CellPlace, cells_of, is_mapped, unfillable
from schemas.reports.kinds import PacketKind
from schemas.reports.packets import (
    CellType,
    FigureRow,
    Figures,
    Form,
    FormAxis,
    KpiSet,
    KpiValues,
    ListFigures,
    Nature,
    Outline,
)
from schemas.sealing import SealBroken, Sealer
from streams.reporting.cell_sources import COLUMNS, Source, parse_mapping
from streams.reporting.filling import Figure, Filled, Outcome, fill, unmapped
from streams.reporting.outlines import open_outline, owner_of, parse_outline, seal_outline
from tests.unit.reporting.regimes_received import BY_AGENCY, FORM, KPI_SET, OUTLINE, column

PLACE = FormPlace("CDS", "CDS.01", "1")
HEADING = ",".join(COLUMNS) + "\n"
WHOLE = HEADING + (
    "A1,th,rate,on_time,\n"
    "A1,kh,constant,95,\n"
    "A2,th,observation,documents_electronic,\n"
    "A2,kh,none,,yes\n"
)


@dataclass
class Said:
    """Figures that the test sets, by argument."""

    figures: Mapping[str, Figure] = field(default_factory=dict)
    units: Sequence[str] = ()

    def figure(self, source: CellSource, cell: Cell, agency: str | None) -> Figure:
        if source.source == Source.CONSTANT:
            value = Decimal(source.argument) if cell.type is CellType.DECIMAL else source.argument
            return Figure(value=int(source.argument) if cell.type is CellType.INTEGER else value)
        key = source.argument if agency is None else f"{source.argument}@{agency}"
        return self.figures.get(key, Figure(value=None))

    def agencies(self) -> Sequence[str]:
        return self.units


ALL = Said(
    {
        "on_time": Figure(value=Decimal("98.50"), detail="197/200"),
        "documents_electronic": Figure(value=Decimal("100.0000")),
    }
)


def filled(
    table: str = WHOLE,
    said: Said = ALL,
    form: Form | KpiSet = FORM,
    kind: PacketKind = PacketKind.FIGURES,
) -> Filled:
    return fill(PLACE, kind, form, parse_mapping(table, "map.csv", form), said)


def outcomes(one: Filled) -> dict[str, str]:
    return {"/".join(cell.cell.place): cell.outcome.value for cell in one.cells}


# --- cells -------------------------------------------------------------------------------------------


def test_a_heading_row_has_no_cells() -> None:
    assert [cell.place for cell in cells_of(FORM)] == [
        *(("A1", "th"), ("A1", "kh"), ("A2", "th"), ("A2", "kh"))
    ]
    assert [cell.name for cell in cells_of(FORM)][:1] == ["Đúng hạn – Cột th"]


def test_a_row_with_an_indicator_has_cells_though_others_hang_on_it() -> None:
    rows = (replace(FORM.rows[0], indicator="CT1"), *FORM.rows[1:])
    assert CellPlace("A", "th") in [cell.place for cell in cells_of(replace(FORM, rows=rows))]


def test_a_form_by_agency_has_a_cell_for_each_column() -> None:
    assert [cell.place for cell in cells_of(BY_AGENCY)] == [("", "ty_le")]


# --- the table of sources ----------------------------------------------------------------------------


def test_a_table_is_read_whole() -> None:
    assert parse_mapping(WHOLE, "map.csv", FORM) == {
        CellPlace("A1", "th"): CellSource(source="rate", argument="on_time"),
        CellPlace("A1", "kh"): CellSource(source="constant", argument="95"),
        CellPlace("A2", "th"): CellSource(source="observation", argument="documents_electronic"),
        CellPlace("A2", "kh"): CellSource(source="none", argument="", optional=True),
    }


@pytest.mark.parametrize(
    ("line", "place", "told"),
    [
        ("A9,th,rate,on_time,", "row", "the form has no row 'A9'; near: A"),
        ("A1,ht,rate,on_time,", "column", "the form has no column 'ht'; near: th"),
        ("A,th,rate,on_time,", "row", "no row 'A'"),
        ("A1,th,tỷ lệ,on_time,", "source", "write one of: constant, form_206, none"),
        ("A1,th,rate,on_tim,", "argument", "no rate 'on_tim'; near: on_time"),
        ("A1,th,observation,documents,", "argument", "no indicator 'documents'"),
        ("A1,th,form_206,c14,", "argument", "no column of form II.06 'c14'"),
        ("A1,th,constant,nhiều,", "argument", "is no decimal"),
        ("A1,kh,constant,1.5,", "argument", "is no integer"),
        ("A1,kh,rate,on_time,", "source", "a cell of integer cannot come from rate"),
        ("A1,th,none,on_time,", "argument", "must be empty"),
        ("A1,th,rate,on_time,maybe", "optional", "write yes, no or nothing"),
        ("A1,th,,,", "source", "is empty"),
    ],
)
def test_a_wrong_line_is_named_with_its_column_and_remedy(line: str, place: str, told: str) -> None:
    with pytest.raises(TableError) as caught:
        parse_mapping(HEADING + line + "\n", "map.csv", FORM)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (2, place)
    assert told in problem.en


def test_all_faults_of_a_table_are_told_at_once() -> None:
    lines = "A9,th,rate,on_time,\nA1,th,rate,no,\nA1,kh,constant,1,\nA1,kh,constant,2,\n"
    with pytest.raises(TableError) as caught:
        parse_mapping(HEADING + lines, "map.csv", FORM)
    assert [(one.line, one.column) for one in caught.value.problems] == [
        *((2, "row"), (3, "argument"), (5, "column"))
    ]


@pytest.mark.parametrize(
    ("kind", "text", "sound"),
    [
        (CellType.TEXT, "chữ", True),
        (CellType.TEXT, "", False),
        (CellType.DATE, "2026-09-01", True),
        (CellType.DATE, "01/09/2026", False),
        (CellType.BOOLEAN, "true", True),
        (CellType.BOOLEAN, "yes", False),
        (CellType.INTEGER, "-3", True),
        (CellType.INTEGER, "９", False),
        (CellType.DECIMAL, "12.5", True),
        (CellType.DECIMAL, "NaN", False),
        (CellType.DECIMAL, "1e400", False),
    ],
)
def test_a_constant_is_of_the_cells_type(kind: CellType, text: str, sound: bool) -> None:
    form = replace(FORM, columns=(column("x", kind),), rows=())
    table = f"{HEADING},x,constant,{text},\n"
    if sound:
        assert parse_mapping(table, "map.csv", form)
    else:
        with pytest.raises(TableError):
            parse_mapping(table, "map.csv", form)


# --- filling -----------------------------------------------------------------------------------------


def test_a_form_whose_cells_all_have_figures_becomes_its_packet() -> None:
    one = filled()
    assert outcomes(one) == {
        "A1/th": "filled",
        "A1/kh": "filled",
        "A2/th": "filled",
        "A2/kh": "empty",
    }
    assert one.content == Figures(
        axes=("row",),
        indicators=("th", "kh"),
        unit="",
        rows=(
            FigureRow(keys=("A1",), values=(Decimal("98.5"), 95)),
            FigureRow(keys=("A2",), values=(Decimal(100), None)),
        ),
    )
    assert packets.read(packets.canonical(one.content)) == one.content


def test_a_cell_without_a_mapping_is_listed_and_keeps_the_form_from_being_sent() -> None:
    table = HEADING + "A1,th,rate,on_time,\nA1,kh,constant,1,\nA2,th,rate,on_time,\n"
    one = filled(table)
    assert one.content is None
    assert [tuple(cell.cell.place) for cell in one.blocking] == [("A2", "kh")]
    assert one.blocking[0].outcome is Outcome.UNMAPPED
    assert unmapped(FORM, parse_mapping(table, "map.csv", FORM)) == (cells_of(FORM)[3],)
    assert not is_mapped(FORM, parse_mapping(table, "map.csv", FORM))
    assert is_mapped(FORM, parse_mapping(WHOLE, "map.csv", FORM))


def test_a_mapped_cell_without_a_figure_blocks_unless_it_is_optional() -> None:
    said = Said({"on_time": Figure(value=Decimal(1))})
    assert outcomes(filled(said=said))["A2/th"] == "no_figure"
    assert filled(said=said).content is None
    optional = WHOLE.replace("documents_electronic,", "documents_electronic,yes")
    assert outcomes(filled(optional, said))["A2/th"] == "empty"
    assert filled(optional, said).content is not None


def test_nothing_known_is_not_zero() -> None:
    optional = WHOLE.replace("documents_electronic,", "documents_electronic,yes")
    one = filled(optional, Said({"on_time": Figure(value=Decimal(0))}))
    assert isinstance(one.content, Figures)
    assert [row.values for row in one.content.rows] == [(0, 95), (None, None)]


def test_a_provisional_figure_makes_an_estimate_that_names_its_cell() -> None:
    said = Said({**ALL.figures, "on_time": Figure(value=Decimal(98), provisional=True)})
    one = filled(said=said)
    assert outcomes(one)["A1/th"] == "provisional"
    assert isinstance(one.content, Figures)
    assert one.content.nature is Nature.ESTIMATE
    assert one.content.note == "Số tạm tính: A1/th"


def test_a_fraction_does_not_fit_a_cell_of_whole_numbers() -> None:
    table = WHOLE.replace("A1,kh,constant,95,", "A1,kh,observation,documents_electronic,")
    said = Said({**ALL.figures, "documents_electronic": Figure(value=Decimal("12.5"))})
    assert outcomes(filled(table, said))["A1/kh"] == "does_not_fit"
    assert filled(table, said).content is None
    whole = filled(table)
    assert isinstance(whole.content, Figures)
    assert whole.content.rows[0].values == (Decimal("98.5"), 100)


def test_a_text_does_not_fit_a_packet_of_figures_and_does_a_list() -> None:
    form = replace(FORM, columns=(column("ten", CellType.TEXT), column("so")), rows=())
    table = HEADING + ",ten,constant,Huyện cũ,\n,so,constant,1.50,\n"
    assert outcomes(filled(table, form=form))["/ten"] == "does_not_fit"
    one = filled(table, form=form, kind=PacketKind.LIST_FIGURES)
    assert isinstance(one.content, ListFigures)
    assert [row.cells for row in one.content.rows] == [("Huyện cũ", "1.5")]


def test_a_form_by_agency_has_a_row_for_each() -> None:
    said = Said(
        {f"on_time@{unit}": Figure(value=Decimal(unit[-1])) for unit in ("H44.01", "H44.02")},
        units=("H44.01", "H44.02"),
    )
    one = filled(HEADING + ",ty_le,rate,on_time,\n", said, BY_AGENCY)
    assert one.content == Figures(
        axes=("agency",),
        indicators=("ty_le",),
        unit="%",
        rows=(
            FigureRow(keys=("H44.01",), values=(Decimal(1),)),
            FigureRow(keys=("H44.02",), values=(Decimal(2),)),
        ),
    )


def test_rows_of_another_kind_cannot_be_made_and_block() -> None:
    form = replace(BY_AGENCY, axes=(*BY_AGENCY.axes, FormAxis(code="region", name="Vùng")))
    one = filled(HEADING + ",ty_le,rate,on_time,\n", form=form)
    assert one.axes == unfillable(form) == ("region",)
    assert one.content is None
    assert not is_mapped(form, {CellPlace("", "ty_le")})


def test_kpis_are_filled_each_with_its_nature() -> None:
    said = Said({"on_time": Figure(value=Decimal("98.5"), provisional=True)})
    one = filled(HEADING + "K1,value,rate,on_time,\n", said, KPI_SET, PacketKind.KPI_VALUES)
    assert isinstance(one.content, KpiValues)
    (value,) = one.content.values
    assert (value.kpi, value.value, value.unit) == ("K1", Decimal("98.5"), "%")
    assert value.nature is Nature.ESTIMATE


def test_words_are_not_filled_from_figures() -> None:
    with pytest.raises(ValueError, match="filled with words"):
        fill(PLACE, PacketKind.OUTLINE, FORM, {}, ALL)


# --- words -------------------------------------------------------------------------------------------

WORDS = 'title = "Báo cáo tháng 9"\n[parts]\n1 = """Ông Nguyễn Văn Thử đã làm."""\n'


def test_the_words_of_a_report_are_read_under_their_headings() -> None:
    found = parse_outline(WORDS + '2 = ""\n', "de-cuong.toml", OUTLINE)
    assert found.title == "Báo cáo tháng 9"
    assert [(part.section, part.text) for part in found.parts] == [
        ("1", "Ông Nguyễn Văn Thử đã làm.")
    ]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("title = ", [None]),
        ("", ["parts", "title"]),
        ('title = " "\n[parts]\n2 = "x"\n', ["1", "title"]),
        (WORDS + '9 = "x"\n', ["9"]),
        (WORDS + "2 = 5\n", ["2"]),
        ('title = "t"\n[parts]\n1 = "' + "x" * 201 + '"\n', ["1"]),
        ('more = 1\ntitle = "t"\n[parts]\n1 = "x"\n', ["more"]),
    ],
)
def test_wrong_words_are_refused_with_all_faults_and_never_quoted(
    text: str, columns: list[str | None]
) -> None:
    with pytest.raises(TableError) as caught:
        parse_outline(text, "de-cuong.toml", OUTLINE)
    assert sorted((one.column for one in caught.value.problems), key=str) == columns
    assert "Nguyễn Văn Thử" not in str(caught.value)


def test_words_are_sealed_for_their_report_alone() -> None:
    sealer = Sealer({"2026-09": b"k" * 32}, "2026-09")
    place = FormPlace("CDS", "CDS.DC", "1")
    owner = owner_of(place, "2026-09", "H44")
    words = Outline(title="Tên", parts=())
    sealed = seal_outline(sealer, words, owner)
    assert "Tên".encode() not in sealed
    assert open_outline(sealer, sealed, owner) == words
    with pytest.raises(SealBroken):
        open_outline(sealer, sealed, owner_of(place, "2026-10", "H44"))
