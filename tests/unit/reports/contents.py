"""Contents of packets: one of each kind by hand, and strategies that make any."""

from __future__ import annotations

import types
from dataclasses import is_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Union, get_args, get_origin

from hypothesis import strategies as st

from schemas.reports import packets as p
from schemas.reports.canonical import fields_of
from schemas.reports.kinds import PacketKind

COLUMNS = tuple(f"c{number}" for number in range(3, 14))

FIGURES = p.Figures(
    axes=("agency", "sector"),
    indicators=COLUMNS,
    unit="hồ sơ",
    rows=(
        p.FigureRow(keys=("H44.07", "SECTOR-1"), values=(10, 6, 3, 1, 7, 4, 2, 1, 3, 2, 1)),
        p.FigureRow(keys=("H44.100", None), values=(2, 0, 2, 0, 2, 0, 2, 0, 0, 0, 0)),
    ),
    note="Số liệu gồm cả <hồ sơ> chuyển kỳ & bổ sung",
    files=(p.FileReference(name="II.06a.pdf", sha256="ab" * 32, media_type="application/pdf"),),
)

STATUS = p.ReportStatus(
    about_kind=PacketKind.FIGURES,
    about_regime="II.06",
    about_form="II.06a",
    about_period="2026-08",
    about_agency="H44",
    about_revision=1,
    state=p.ReportState.RETURNED,
    reasons=("Cột 7 không khớp", "Thiếu đơn vị"),
    decided_at=datetime(2026, 8, 26, 2, 30, tzinfo=UTC),
    decided_by="G22",
)

REGIME = p.Regime(
    code="II.06",
    name="Tình hình, kết quả giải quyết thủ tục hành chính",
    type=p.RegimeType.PERIODIC,
    issued_by="G22",
    legal_basis="Thông tư 01/2020/TT-VPCP",
    forms=(
        p.RegimeForm(code="II.06a", version="TT01/2020", kind=PacketKind.FIGURES),
        p.RegimeForm(code="II.06b", version="TT01/2020", kind=PacketKind.FIGURES),
    ),
    period_types=(p.PeriodType.MONTH, p.PeriodType.QUARTER, p.PeriodType.YEAR),
    due_day=25,
    reporters=(),
    valid_from=date(2021, 1, 1),
    valid_until=None,
)

SAMPLES: dict[PacketKind, p.Content] = {
    PacketKind.REGIME: REGIME,
    PacketKind.FORM: p.Form(
        code="III.01",
        version="1",
        regime="III",
        name="Biểu III.01",
        axes=(p.FormAxis(code="agency", name="Đơn vị"),),
        columns=(
            p.FormColumn(
                code="1", name="Tổng số", type=p.CellType.INTEGER, unit="hồ sơ", indicator="CT01"
            ),
            p.FormColumn(code="2", name="Tỷ lệ", type=p.CellType.DECIMAL, unit="%", indicator=None),
        ),
        rows=(
            p.FormRow(code="A", name="Cấp tỉnh", parent=None, indicator=None),
            p.FormRow(code="A1", name="Sở", parent="A", indicator="CT02"),
        ),
    ),
    PacketKind.OUTLINE_FORM: p.OutlineForm(
        code="DC.01",
        version="2",
        regime="III",
        name="Đề cương báo cáo tháng",
        sections=(
            p.OutlineSection(
                code="I", title="Kết quả", parent=None, mandatory=True, max_length=None
            ),
            p.OutlineSection(
                code="I.1", title="Tồn tại", parent="I", mandatory=False, max_length=2000
            ),
        ),
    ),
    PacketKind.FIGURES: FIGURES,
    PacketKind.LIST_FIGURES: p.ListFigures(
        columns=(
            p.ListColumn(code="1", type=p.CellType.TEXT),
            p.ListColumn(code="2", type=p.CellType.DECIMAL),
            p.ListColumn(code="3", type=p.CellType.DATE),
        ),
        rows=(
            p.ListRow(cells=("Thủ tục A", "12.5", "2026-08-14")),
            p.ListRow(cells=("", None, None)),
        ),
    ),
    PacketKind.OUTLINE: p.Outline(
        title="Báo cáo tháng 8",
        parts=(
            p.OutlinePart(section="I", text="Kết quả tốt.\nDòng hai"),
            p.OutlinePart(section="II", text=""),
        ),
    ),
    PacketKind.STATUS: STATUS,
    PacketKind.PERIODS: p.Periods(
        regime="II.06",
        periods=(
            p.PeriodEntry(
                code="2026-08",
                type=p.PeriodType.MONTH,
                name="Tháng 8 năm 2026",
                window_from=date(2026, 7, 15),
                window_to=date(2026, 8, 14),
                due_on=date(2026, 8, 25),
            ),
        ),
    ),
    PacketKind.INDICATORS: p.Indicators(
        code="DM-2026",
        indicators=(
            p.Indicator(
                code="CT01",
                name="Hồ sơ tiếp nhận",
                unit="hồ sơ",
                type=p.CellType.INTEGER,
                parent=None,
                breakdowns=("agency",),
                definition=None,
            ),
        ),
    ),
    PacketKind.KPI_SET: p.KpiSet(
        code="BCS01",
        version="1",
        name="Bộ chỉ số phục vụ",
        kpis=(
            p.Kpi(code="K1", name="Đúng hạn", unit="%", group="N1", breakdowns=("agency", "level")),
        ),
    ),
    PacketKind.KPI_GROUPS: p.KpiGroups(
        groups=(
            p.KpiGroup(code="N1", name="Tiến độ", parent=None),
            p.KpiGroup(code="N1.1", name="Trong kỳ", parent="N1"),
        )
    ),
    PacketKind.KPI_BREAKDOWNS: p.KpiBreakdowns(
        breakdowns=(
            p.Breakdown(
                code="level",
                name="Cấp",
                members=(p.BreakdownMember(code="T", name="Tỉnh", parent=None),),
            ),
        )
    ),
    PacketKind.KPI_VALUES: p.KpiValues(
        kpi_set="BCS01",
        values=(
            p.KpiValue(
                kpi="K1",
                parts=(p.Part(breakdown="level", member="T"),),
                value=Decimal("98.75"),
                unit="%",
                nature=p.Nature.ACTUAL,
            ),
            p.KpiValue(kpi="K2", parts=(), value=None, unit="%", nature=p.Nature.ESTIMATE),
        ),
    ),
}

# Also what makes escaping necessary, and a lone CR, which XML would turn into something else.
TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="\ufffe\uffff", exclude_categories=("Cc", "Cs"))
    | st.sampled_from("\t\n\r<>&\"'"),
    max_size=12,
)
CODE = st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,8}", fullmatch=True)
NUMBER = st.integers(-(10**12), 10**12) | st.decimals(
    -(10**9), 10**9, allow_nan=False, allow_infinity=False, places=4
)
DAY = st.dates(date(1900, 1, 1), date(2199, 12, 31))
_FIRST, _LAST = datetime(1950, 1, 1), datetime(2199, 1, 1)  # noqa: DTZ001 - hypothesis wants them so
MOMENT = st.datetimes(_FIRST, _LAST, timezones=st.just(UTC))


def any_content(kind: PacketKind) -> st.SearchStrategy[p.Content]:
    """Any content of this kind."""
    match kind:
        case PacketKind.FIGURES:
            return _figures()
        case PacketKind.LIST_FIGURES:
            return _list_figures()
    return _record(p.CONTENTS[kind])


@st.composite
def _figures(draw: st.DrawFn) -> p.Figures:
    axes = draw(st.lists(CODE, unique=True, max_size=3))
    indicators = draw(st.lists(CODE, unique=True, max_size=5))
    row_keys = draw(
        st.lists(
            st.tuples(*[st.none() | st.just("") | CODE for _ in axes]), unique=True, max_size=4
        )
    )
    rows = [
        p.FigureRow(keys=keys, values=draw(st.tuples(*[st.none() | NUMBER for _ in indicators])))
        for keys in row_keys
    ]
    return p.Figures(
        axes=tuple(axes),
        indicators=tuple(indicators),
        unit=draw(CODE),
        rows=tuple(rows),
        nature=draw(st.sampled_from(p.Nature)),
        note=draw(st.none() | TEXT),
        files=draw(st.lists(_record(p.FileReference), max_size=2).map(tuple)),
    )


@st.composite
def _list_figures(draw: st.DrawFn) -> p.ListFigures:
    columns = draw(st.lists(_record(p.ListColumn), max_size=4, unique_by=lambda each: each.code))
    cells = {
        p.CellType.TEXT: TEXT,
        p.CellType.INTEGER: st.integers().map(str),
        p.CellType.DECIMAL: st.sampled_from(["0", "-1.5", "12.25", "100"]),
        p.CellType.DATE: DAY.map(date.isoformat),
        p.CellType.BOOLEAN: st.sampled_from(["true", "false"]),
    }
    row = st.tuples(*[st.none() | cells[column.type] for column in columns])
    rows = draw(st.lists(row, max_size=4))
    return p.ListFigures(
        columns=tuple(columns),
        rows=tuple(p.ListRow(cells=each) for each in rows),
        note=draw(st.none() | TEXT),
    )


_NAMES = ("code", "section", "kpi", "sha256", "unit", "kpi_set", "breakdown", "member", "about")


def _record(kind: Any) -> st.SearchStrategy[Any]:
    return st.builds(
        kind, **{name: _field(name, wanted) for name, wanted in fields_of(kind).items()}
    )


def _field(name: str, wanted: Any) -> st.SearchStrategy[Any]:
    if get_origin(wanted) in (types.UnionType, Union):
        kinds = [None if kind is type(None) else kind for kind in get_args(wanted)]
        return st.one_of(*(st.none() if each is None else _field(name, each) for each in kinds))
    if get_origin(wanted) is tuple:
        item = get_args(wanted)[0]
        if is_dataclass(item):
            return st.lists(_record(item), max_size=3, unique_by=lambda each: _identity(each)).map(
                tuple
            )
        return st.lists(_field(name, item), max_size=3).map(tuple)
    if is_dataclass(wanted):
        return _record(wanted)
    if wanted is str:
        return CODE if any(name.startswith(each) for each in _NAMES) else TEXT.filter(bool)
    if isinstance(wanted, type) and issubclass(wanted, Enum):
        return st.sampled_from(wanted)
    return {
        int: st.integers(-(10**12), 10**12),
        Decimal: st.decimals(-(10**9), 10**9, allow_nan=False, allow_infinity=False, places=4),
        bool: st.booleans(),
        date: DAY,
        datetime: MOMENT,
    }[wanted]


def _identity(record: object) -> object:
    for name in ("code", "section", "kpi"):
        if hasattr(record, name):
            return getattr(record, name)
    return record
