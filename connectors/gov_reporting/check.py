"""What `thongsuot check` asks of the reporting system: table, TLS, token, one look-up; each with its remedy."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.errors import DeliveryError
from connectors.gov_reporting.config import GovReportingSettings
from connectors.gov_reporting.elements import ElementsError, load_elements
from connectors.gov_reporting.sink import GovReporting
from schemas.reasons import Reason
from schemas.sealing import Hasher, Sealer

_PREFIX = "THONGSUOT_GOV_REPORTING__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem with what to do, in both languages. `reason`: none where a file is at fault."""

    reason: Reason | None
    vi: str
    en: str


_REMEDIES: dict[Reason, tuple[str, str]] = {
    Reason.DNS_FAILURE: (
        f"không tìm thấy tên máy chủ: kiểm tra {_PREFIX}ADDRESS và {_PREFIX}TOKEN_ADDRESS",
        f"the name cannot be resolved: check {_PREFIX}ADDRESS and {_PREFIX}TOKEN_ADDRESS",
    ),
    Reason.CONNECTION_REFUSED: (
        f"không kết nối được: kiểm tra {_PREFIX}ADDRESS, tường lửa và LGSP",
        f"no connection: check {_PREFIX}ADDRESS, the firewall and the provincial platform",
    ),
    Reason.CONNECT_TIMEOUT: (
        f"quá thời gian kết nối: kiểm tra {_PREFIX}ADDRESS, tường lửa và LGSP",
        f"connecting took too long: check {_PREFIX}ADDRESS, the firewall and the platform",
    ),
    Reason.TLS_FAILURE: (
        f"chứng thư không hợp lệ: kiểm tra {_PREFIX}CA_CERTIFICATES và CLIENT_CERTIFICATE",
        f"the certificate does not hold: check {_PREFIX}CA_CERTIFICATES and CLIENT_CERTIFICATE",
    ),
    Reason.WRONG_CREDENTIALS: (
        f"sai tài khoản ứng dụng: kiểm tra {_PREFIX}CLIENT_ID và CLIENT_SECRET",
        f"the client is not known: check {_PREFIX}CLIENT_ID and CLIENT_SECRET",
    ),
    Reason.ACCESS_DENIED: (
        f"không có quyền: kiểm tra {_PREFIX}SCOPE và quyền của ứng dụng trên LGSP",
        f"no right: check {_PREFIX}SCOPE and what the platform grants this client",
    ),
    Reason.CONTRACT_MISMATCH: (
        f"địa chỉ hoặc bảng tên phần tử không khớp: kiểm tra {_PREFIX}ADDRESS và ELEMENTS",
        f"address or element names do not fit: check {_PREFIX}ADDRESS and ELEMENTS",
    ),
    Reason.UNPARSEABLE_ANSWER: (
        f"câu trả lời không đọc được: kiểm tra {_PREFIX}ENCODING và ELEMENTS",
        f"the answer cannot be read: check {_PREFIX}ENCODING and ELEMENTS",
    ),
}
_OTHER = (
    "hệ thống báo cáo chưa trả lời đúng: thử lại sau, hoặc hỏi đơn vị vận hành LGSP",
    "the reporting system does not answer as it should: try later, or ask who runs the platform",
)


async def check(settings: GovReportingSettings, sealer: Sealer, hasher: Hasher) -> list[Problem]:
    """Every problem. Empty: the table can be used, a token was had, and a look-up was answered."""
    try:
        elements = load_elements(settings.elements)
    except ElementsError as exc:
        return [
            Problem(
                reason=None,
                vi=f"bảng tên phần tử có lỗi ({_PREFIX}ELEMENTS): {problem}",
                en=f"table of elements ({_PREFIX}ELEMENTS): {problem}",
            )
            for problem in exc.problems
        ]
    try:
        sink = GovReporting(settings, elements, sealer, hasher)
        try:
            await sink.open()
            await sink.probe()
        finally:
            await sink.close()
    except DeliveryError as exc:
        vi, en = _REMEDIES.get(exc.reason, _OTHER)
        return [Problem(reason=exc.reason, vi=vi, en=f"{exc}: {en}")]
    return []
