"""What each of the thirteen packets of QCVN 125:2021/BTTTT holds, in our own canonical form.

The list of packets is the regulation's; what its own tables say of their elements, types, mandatory marks
and codes could not be obtained, is UNKNOWN, and none of it is claimed here. The fields are the smallest that
comparable systems were seen to carry (a district portal's SoLieu record, an inspection system's report
record, a one-stop product's period figures) and that Decree 09/2019 (periods, deadlines) and Circular
01/2020/TT-VPCP (form II.06) need. How they are called on the wire is `connectors/gov_reporting/elements.toml`,
a table that a province replaces.

A content is bound to its report by the packet that carries it (`schemas.records.ReportPacket`: regime, form,
period, agency, revision). Codes are kept as given, never translated or invented.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from schemas.reports.canonical import ContentError, build, digest, parse, to_json
from schemas.reports.kinds import PacketKind

VERSION = 1
"""Of the canonical form. Another form of a content gets the next number, and its bytes another hash."""

Number = int | Decimal


class PeriodType(StrEnum):
    """Kinds of periods. Decree 09/2019 Art. 12 names month, quarter, half-years and year; nine months by
    analogy; day and week are set by who issues a regime; thematic and ad-hoc reports have none (Art. 8(5)c).
    """

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    HALF = "half"
    NINE_MONTHS = "nine_months"
    YEAR = "year"
    ON_REQUEST = "on_request"


class RegimeType(StrEnum):
    """Decree 09/2019 Art. 4."""

    PERIODIC = "periodic"  # định kỳ
    THEMATIC = "thematic"  # chuyên đề
    AD_HOC = "ad_hoc"  # đột xuất


class CellType(StrEnum):
    """What stands in a cell of a form or a list."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    DATE = "date"
    BOOLEAN = "boolean"


class Nature(StrEnum):
    """What a value is: SoLieuThucHien, SoLieuUocLuong, SoLieuKeHoach of the district portal."""

    ACTUAL = "actual"
    ESTIMATE = "estimate"
    PLAN = "plan"


class ReportState(StrEnum):
    """What becomes of a report at its receiver (inferred; the regulation's codes are unknown)."""

    RECEIVED = "received"
    ACCEPTED = "accepted"
    RETURNED = "returned"  # trả lại, with reasons or without
    CORRECTION_ASKED = "correction_asked"  # yêu cầu đính chính: a new revision is wanted
    WITHDRAWN = "withdrawn"  # by its sender


# --- what goes out -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReference:
    """A file that goes with a report, by name and hash. Its bytes travel elsewhere (unknown how)."""

    name: str
    sha256: str
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRow:
    """`keys` beside the axes, `values` beside the indicators.

    An empty key: all of that axis together; none: its code is not known. No value: not known, which is not 0.
    """

    keys: tuple[str | None, ...]
    values: tuple[Number | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """4, Gói tin số liệu báo cáo: a table of numbers.

    Form II.06a: axes agency, sector; II.06b: agency, sector, procedure; indicators c3 to c13.
    """

    axes: tuple[str, ...]
    indicators: tuple[str, ...]
    unit: str
    rows: tuple[FigureRow, ...] = field(repr=False)
    nature: Nature = Nature.ACTUAL
    note: str | None = field(default=None, repr=False)
    files: tuple[FileReference, ...] = ()

    def __post_init__(self) -> None:
        _unlike("axes", self.axes)
        _unlike("indicators", self.indicators)
        _unlike("rows", tuple(row.keys for row in self.rows))
        for number, row in enumerate(self.rows):
            if len(row.keys) != len(self.axes) or len(row.values) != len(self.indicators):
                raise ContentError(f"rows[{number}]: not one key per axis and value per indicator")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListColumn:
    """A column of a list."""

    code: str
    type: CellType


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRow:
    """One line; each cell as text in its column's canonical writing, or nothing."""

    cells: tuple[str | None, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFigures:
    """5, Gói tin số liệu báo cáo danh sách: lines of a list, in their order.

    Cells are text: a number as ``12.5``, a day as ``2026-08-14``, a truth value as ``true`` or ``false``.
    """

    columns: tuple[ListColumn, ...]
    rows: tuple[ListRow, ...] = field(repr=False)
    note: str | None = field(default=None, repr=False)
    files: tuple[FileReference, ...] = ()

    def __post_init__(self) -> None:
        _unlike("columns", tuple(column.code for column in self.columns))
        for number, row in enumerate(self.rows):
            if len(row.cells) != len(self.columns):
                raise ContentError(f"rows[{number}]: not one cell per column")
            for column, cell in zip(self.columns, row.cells, strict=True):
                if cell is not None and not _written_as(column.type, cell):
                    raise ContentError(f"rows[{number}].{column.code}: no {column.type}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlinePart:
    """The text under one heading of an outline."""

    section: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """6, Gói tin gửi đề cương báo cáo: the words of a report. Free text, hence sealed wherever it lies."""

    title: str = field(repr=False)
    parts: tuple[OutlinePart, ...]
    files: tuple[FileReference, ...] = ()

    def __post_init__(self) -> None:
        _unlike("parts", tuple(part.section for part in self.parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportStatus:
    """7, Gói tin trạng thái báo cáo: what became of one revision. Goes both ways.

    A return may come without a reason: then `reasons` is empty.
    """

    about_kind: PacketKind
    about_regime: str
    about_form: str
    about_period: str
    about_agency: str
    about_revision: int
    state: ReportState
    reasons: tuple[str, ...] = field(repr=False)
    decided_at: datetime
    decided_by: str | None  # code of an agency, never a person

    @property
    def report_id(self) -> str:
        """The report that it is about."""
        return report_id(
            self.about_kind,
            self.about_regime,
            self.about_form,
            self.about_period,
            self.about_agency,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Where a value of an indicator belongs: a member of a breakdown."""

    breakdown: str
    member: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiValue:
    """One value; without a value: taken back, or not known."""

    kpi: str
    parts: tuple[Part, ...]
    value: Number | None
    unit: str
    nature: Nature
    note: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiValues:
    """13, Gói tin dữ liệu chỉ số (KPI)."""

    kpi_set: str
    values: tuple[KpiValue, ...]

    def __post_init__(self) -> None:
        _unlike("values", tuple((each.kpi, each.parts, each.nature) for each in self.values))


# --- what comes in -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RegimeForm:
    """A form that a regime asks for."""

    code: str
    version: str
    kind: PacketKind  # which packet answers it


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    """1, Gói tin chế độ báo cáo: who reports what to whom, how often, by when."""

    code: str
    name: str
    type: RegimeType
    issued_by: str
    legal_basis: str | None
    forms: tuple[RegimeForm, ...]
    period_types: tuple[PeriodType, ...]
    due_day: int | None  # day of the period's last month; Decree 09/2019 Art. 13(1) says 25
    reporters: tuple[str, ...]  # agency codes; empty: every one that receives this
    valid_from: date
    valid_until: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FormColumn:
    """A column: what is counted, and as what."""

    code: str
    name: str
    type: CellType
    unit: str | None
    indicator: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FormRow:
    """A fixed row."""

    code: str
    name: str
    parent: str | None
    indicator: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FormAxis:
    """What rows are made from where they are not fixed: agencies, sectors, procedures."""

    code: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """2, Gói tin biểu mẫu báo cáo: a table to be filled. Its rows are fixed, or made from its axes."""

    code: str
    version: str
    regime: str
    name: str
    axes: tuple[FormAxis, ...]
    columns: tuple[FormColumn, ...]
    rows: tuple[FormRow, ...]

    def __post_init__(self) -> None:
        _unlike("columns", tuple(column.code for column in self.columns))
        _unlike("rows", tuple(row.code for row in self.rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlineSection:
    """A heading under which text is wanted."""

    code: str
    title: str
    parent: str | None
    mandatory: bool
    max_length: int | None  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlineForm:
    """3, Gói tin biểu mẫu báo cáo đề cương: the headings of a narrative report."""

    code: str
    version: str
    regime: str
    name: str
    sections: tuple[OutlineSection, ...]

    def __post_init__(self) -> None:
        _unlike("sections", tuple(section.code for section in self.sections))


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodEntry:
    """One period with the days it counts and the day by which it is due."""

    code: str
    type: PeriodType
    name: str
    window_from: date
    window_to: date
    due_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Periods:
    """8, Gói tin danh mục kỳ báo cáo. Periods may overlap: the one who takes them in judges that."""

    regime: str | None  # of one regime, or of all
    periods: tuple[PeriodEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicator:
    """An indicator (chỉ tiêu)."""

    code: str
    name: str
    unit: str
    type: CellType
    parent: str | None
    breakdowns: tuple[str, ...]
    definition: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicators:
    """9, Gói tin danh mục chỉ tiêu báo cáo."""

    code: str
    indicators: tuple[Indicator, ...]

    def __post_init__(self) -> None:
        _unlike("indicators", tuple(each.code for each in self.indicators))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kpi:
    """One index of a set."""

    code: str
    name: str
    unit: str
    group: str | None
    breakdowns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiSet:
    """10, Gói tin bộ chỉ số (KPI)."""

    code: str
    version: str
    name: str
    kpis: tuple[Kpi, ...]

    def __post_init__(self) -> None:
        _unlike("kpis", tuple(each.code for each in self.kpis))


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiGroup:
    """A group of indices."""

    code: str
    name: str
    parent: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiGroups:
    """11, Gói tin danh mục nhóm chỉ số."""

    groups: tuple[KpiGroup, ...]

    def __post_init__(self) -> None:
        _unlike("groups", tuple(each.code for each in self.groups))


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakdownMember:
    """One part that a breakdown knows."""

    code: str
    name: str
    parent: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """By what an index is taken apart."""

    code: str
    name: str
    members: tuple[BreakdownMember, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiBreakdowns:
    """12, Gói tin danh mục phân tổ chỉ số."""

    breakdowns: tuple[Breakdown, ...]

    def __post_init__(self) -> None:
        _unlike("breakdowns", tuple(each.code for each in self.breakdowns))


Content = (
    Regime
    | Form
    | OutlineForm
    | Figures
    | ListFigures
    | Outline
    | ReportStatus
    | Periods
    | Indicators
    | KpiSet
    | KpiGroups
    | KpiBreakdowns
    | KpiValues
)

CONTENTS: dict[PacketKind, type[Content]] = {
    PacketKind.REGIME: Regime,
    PacketKind.FORM: Form,
    PacketKind.OUTLINE_FORM: OutlineForm,
    PacketKind.FIGURES: Figures,
    PacketKind.LIST_FIGURES: ListFigures,
    PacketKind.OUTLINE: Outline,
    PacketKind.STATUS: ReportStatus,
    PacketKind.PERIODS: Periods,
    PacketKind.INDICATORS: Indicators,
    PacketKind.KPI_SET: KpiSet,
    PacketKind.KPI_GROUPS: KpiGroups,
    PacketKind.KPI_BREAKDOWNS: KpiBreakdowns,
    PacketKind.KPI_VALUES: KpiValues,
}

_KINDS = {content: kind for kind, content in CONTENTS.items()}


# --- the byte form -------------------------------------------------------------------------------


def kind_of(content: Content) -> PacketKind:
    """Which packet carries it."""
    return _KINDS[type(content)]


def canonical(content: Content) -> bytes:
    """Its one byte form: canonical JSON that also names its kind and the form's version. Raises `ContentError`."""
    return to_json(content, {"canonical": VERSION, "kind": kind_of(content).value})


def content_hash(content: Content) -> str:
    """SHA-256 of the byte form, in hex."""
    return digest(canonical(content))


def read(data: bytes) -> Content:
    """The content behind its byte form. Raises `ContentError` for anything that is not exactly one."""
    tree = parse(data)
    try:
        kind = PacketKind(str(tree.pop("kind", "")))
    except ValueError:
        raise ContentError("kind: none of the thirteen") from None
    if tree.pop("canonical", None) != VERSION:
        raise ContentError(f"canonical: not {VERSION}")
    content = build(CONTENTS[kind], tree)
    if canonical(content) != data:
        raise ContentError("content: not in its one byte form")
    return content


# --- the name of a report ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportKey:
    """What a report is: one kind of packet of one regime, form, period and agency."""

    kind: PacketKind
    regime: str
    form: str
    period: str
    agency: str


def report_id(kind: PacketKind, regime: str, form: str, period: str, agency: str) -> str:
    """`ReportPacket.report_id`: the five joined by slashes. A slash or % within a code is written as %xx."""
    return "/".join((kind.value, *(_quoted(each) for each in (regime, form, period, agency))))


def report_key(name: str) -> ReportKey:
    """The five parts of a report's id. Raises `ContentError`."""
    parts = name.split("/")
    if len(parts) != 5 or not all(parts):
        raise ContentError("report id: not kind/regime/form/period/agency")
    try:
        kind = PacketKind(parts[0])
    except ValueError:
        raise ContentError("report id: no kind of packet in front") from None
    regime, form, period, agency = (_unquoted(each) for each in parts[1:])
    return ReportKey(kind=kind, regime=regime, form=form, period=period, agency=agency)


def _quoted(code: str) -> str:
    return code.replace("%", "%25").replace("/", "%2F")


def _unquoted(part: str) -> str:
    return part.replace("%2F", "/").replace("%25", "%")


# --- checks --------------------------------------------------------------------------------------


def _unlike(place: str, codes: tuple[object, ...]) -> None:
    if len(set(codes)) != len(codes):
        raise ContentError(f"{place}: the same code twice")


def _written_as(kind: CellType, text: str) -> bool:
    match kind:
        case CellType.TEXT:
            return True
        case CellType.BOOLEAN:
            return text in ("true", "false")
        case CellType.DATE:
            try:
                return date.fromisoformat(text).isoformat() == text
            except ValueError:
                return False
        case CellType.INTEGER:
            return _plain(text) and "." not in text
        case CellType.DECIMAL:
            return _plain(text)


def _plain(text: str) -> bool:
    """A number in its one writing: no exponent, no plus, no zero too many."""
    digits = text.removeprefix("-")
    whole, point, rest = digits.partition(".")
    return (
        digits.isascii()
        and whole.isdigit()
        and (whole == "0" or whole[0] != "0")
        and (not point or (rest.isdigit() and rest[-1] != "0"))
        and text != "-0"
    )
