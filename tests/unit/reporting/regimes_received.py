"""A report regime as the Government's system might send it: invented, small, whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from schemas.reports.kinds import PacketKind
from schemas.reports.packets import (
    CellType,
    Content,
    Form,
    FormAxis,
    FormColumn,
    FormRow,
    Indicator,
    Indicators,
    Kpi,
    KpiGroup,
    KpiGroups,
    KpiSet,
    OutlineForm,
    OutlineSection,
    PeriodEntry,
    Periods,
    PeriodType,
    Regime,
    RegimeForm,
    RegimeType,
    content_hash,
)
from schemas.reports.regimes import Received

AT = datetime(2026, 8, 1, 2, 0, tzinfo=UTC)

INDICATORS = Indicators(
    code="CT",
    indicators=tuple(
        Indicator(
            code=code,
            name=f"Chỉ tiêu {code}",
            unit="%",
            type=CellType.DECIMAL,
            parent=None,
            breakdowns=(),
            definition=None,
        )
        for code in ("CT1", "CT2")
    ),
)


def column(code: str, type: CellType = CellType.DECIMAL, unit: str | None = "%") -> FormColumn:
    return FormColumn(code=code, name=f"Cột {code}", type=type, unit=unit, indicator=None)


FORM = Form(
    code="CDS.01",
    version="1",
    regime="CDS",
    name="Kết quả chuyển đổi số",
    axes=(),
    columns=(column("th"), column("kh", CellType.INTEGER, None)),
    rows=(
        FormRow(code="A", name="Dịch vụ công", parent=None, indicator=None),
        FormRow(code="A1", name="Đúng hạn", parent="A", indicator="CT1"),
        FormRow(code="A2", name="Văn bản điện tử", parent="A", indicator="CT2"),
    ),
)
BY_AGENCY = replace(
    FORM,
    code="CDS.02",
    axes=(FormAxis(code="agency", name="Đơn vị"),),
    rows=(),
    columns=(column("ty_le"),),
)
OUTLINE = OutlineForm(
    code="CDS.DC",
    version="1",
    regime="CDS",
    name="Đề cương",
    sections=(
        OutlineSection(code="1", title="Kết quả", parent=None, mandatory=True, max_length=200),
        OutlineSection(code="2", title="Kiến nghị", parent=None, mandatory=False, max_length=None),
    ),
)
KPI_SET = KpiSet(
    code="KPI",
    version="1",
    name="Bộ chỉ số",
    kpis=(Kpi(code="K1", name="Tỷ lệ đúng hạn", unit="%", group="G", breakdowns=()),),
)
KPI_GROUPS = KpiGroups(groups=(KpiGroup(code="G", name="Nhóm", parent=None),))
REGIME = Regime(
    code="CDS",
    name="Báo cáo chuyển đổi số",
    type=RegimeType.PERIODIC,
    issued_by="000.00.00.G22",
    legal_basis=None,
    forms=(
        RegimeForm(code="CDS.01", version="1", kind=PacketKind.FIGURES),
        RegimeForm(code="CDS.DC", version="1", kind=PacketKind.OUTLINE),
    ),
    period_types=(PeriodType.MONTH,),
    due_day=25,
    reporters=(),
    valid_from=date(2026, 1, 1),
    valid_until=None,
)


def month(number: int, **changes: object) -> PeriodEntry:
    """A month of 2026 from the 15th to the 14th, due on the 25th."""
    last = date(2026, number, 14)
    told: dict[str, object] = {
        "code": f"2026-{number:02d}",
        "type": PeriodType.MONTH,
        "name": f"Tháng {number}",
        "window_from": (last.replace(day=1) - timedelta(days=1)).replace(day=15),
        "window_to": last,
        "due_on": date(2026, number, 25),
        **changes,
    }
    return PeriodEntry(**told)  # type: ignore[arg-type]


PERIODS = Periods(regime="CDS", periods=tuple(month(number) for number in range(6, 12)))

WHOLE: tuple[Content, ...] = (INDICATORS, FORM, OUTLINE, PERIODS, REGIME)


def came(*contents: Content, at: datetime = AT) -> list[Received]:
    """These, one second after the other."""
    return [
        Received(
            packet_id=f"in-{place}-{at:%Y%m%d%H%M%S}",
            place=place,
            content=content,
            content_hash=content_hash(content),
            received_at=at + timedelta(seconds=place),
        )
        for place, content in enumerate(contents)
    ]
