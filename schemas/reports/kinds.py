"""The kinds of packets of the national reporting information systems."""

from enum import StrEnum


class PacketKind(StrEnum):
    """The thirteen kinds of QCVN 125:2021/BTTTT, in its order (official name beside each).

    Which way a kind goes is inferred: definitions and catalogues come from the Government, figures go to it,
    a status goes both ways.
    """

    REGIME = "regime"  # 1 Gói tin chế độ báo cáo
    FORM = "form"  # 2 Gói tin biểu mẫu báo cáo
    OUTLINE_FORM = "outline_form"  # 3 Gói tin biểu mẫu báo cáo đề cương
    FIGURES = "figures"  # 4 Gói tin số liệu báo cáo
    LIST_FIGURES = "list_figures"  # 5 Gói tin số liệu báo cáo danh sách
    OUTLINE = "outline"  # 6 Gói tin gửi đề cương báo cáo
    STATUS = "status"  # 7 Gói tin trạng thái báo cáo
    PERIODS = "periods"  # 8 Gói tin danh mục kỳ báo cáo
    INDICATORS = "indicators"  # 9 Gói tin danh mục chỉ tiêu báo cáo
    KPI_SET = "kpi_set"  # 10 Gói tin bộ chỉ số (KPI)
    KPI_GROUPS = "kpi_groups"  # 11 Gói tin danh mục nhóm chỉ số
    KPI_BREAKDOWNS = "kpi_breakdowns"  # 12 Gói tin danh mục phân tổ chỉ số
    KPI_VALUES = "kpi_values"  # 13 Gói tin dữ liệu chỉ số (KPI)


OUTGOING = frozenset(
    {
        PacketKind.FIGURES,
        PacketKind.LIST_FIGURES,
        PacketKind.OUTLINE,
        PacketKind.STATUS,
        PacketKind.KPI_VALUES,
    }
)
"""What the province sends; of a status there are also incoming ones."""

INCOMING = (frozenset(PacketKind) - OUTGOING) | {PacketKind.STATUS}
"""What the Government's system sends."""
