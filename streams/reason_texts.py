"""What each reason means, in Vietnamese and in English. A test holds that every reason has its words."""

from __future__ import annotations

from schemas.reasons import Reason

TEXTS: dict[Reason, tuple[str, str]] = {
    Reason.CONNECTION_REFUSED: ("hệ thống đích từ chối kết nối", "the target refuses connections"),
    Reason.DNS_FAILURE: ("không tìm thấy địa chỉ hệ thống đích", "its name cannot be resolved"),
    Reason.TLS_FAILURE: ("lỗi kết nối bảo mật (TLS)", "the TLS connection failed"),
    Reason.CONNECT_TIMEOUT: ("quá thời gian kết nối", "connecting took too long"),
    Reason.NOT_SENT: ("chưa gửi: ý định gửi đã quá cũ", "not sent: the intent had grown too old"),
    Reason.SESSION_EXPIRED: ("phiên làm việc hết hạn", "the session has expired"),
    Reason.RATE_LIMITED: ("vượt tần suất cho phép", "the target limits our rate"),
    Reason.TARGET_UNAVAILABLE: ("hệ thống đích đang bảo trì", "the target is unavailable"),
    Reason.TIMEOUT: ("hết thời gian chờ trả lời", "no answer in time"),
    Reason.CONNECTION_LOST: ("mất kết nối khi chờ trả lời", "the connection was lost"),
    Reason.UNPARSEABLE_ANSWER: ("câu trả lời không đọc được", "the answer cannot be read"),
    Reason.FOREIGN_ANSWER: ("câu trả lời của lượt gọi khác", "the answer belongs to another call"),
    Reason.SERVER_FAULT: ("hệ thống đích báo lỗi máy chủ", "the target reports a server fault"),
    Reason.GATEWAY_ERROR: ("cổng trung gian báo lỗi", "a gateway reports an error"),
    Reason.PARTLY_APPLIED: ("chỉ một phần được ghi nhận", "only a part was applied"),
    Reason.UNCLASSIFIED_ERROR: ("lỗi chưa phân loại", "an error of no known kind"),
    Reason.RESTORED: (
        "sổ cái đã được phục hồi: không biết đã gửi hay chưa",
        "the ledger was restored: it does not know whether this was sent",
    ),
    Reason.REJECTED_BY_TARGET: ("hệ thống đích từ chối", "the target refuses it"),
    Reason.FIELD_MISSING: ("thiếu trường bắt buộc", "a mandatory field is missing"),
    Reason.FIELD_TOO_LONG: ("trường dài quá giới hạn", "a field is too long"),
    Reason.FIELD_INVALID: ("trường có giá trị không hợp lệ", "a field has an impossible value"),
    Reason.UNMAPPED: ("mã chưa được ánh xạ", "a code has no mapping"),
    Reason.CODE_CONFLICT: ("hai hồ sơ trùng một mã", "two dossiers have one code"),
    Reason.CODE_CHANGED: ("mã hồ sơ đã đổi sau khi gửi", "the code changed after creation"),
    Reason.DELETED_AT_SOURCE: ("đã bị xoá tại nguồn", "deleted at the source"),
    Reason.OUTCOME_UNKNOWN: ("không thể biết kết quả, cần kiểm tra", "its outcome cannot be known"),
    Reason.GAP: ("có bản tin hỏng phía trước", "a dead letter stands before it"),
    Reason.REVISION_ORDER: ("sai thứ tự lần gửi báo cáo", "a revision out of order"),
    Reason.PERIOD_REFUSED: ("ngoài kỳ hoặc hạn nhận báo cáo", "outside of the period or its time"),
    Reason.FIGURES_REFUSED: (
        "số liệu báo cáo không cân đối",
        "the report's figures do not balance",
    ),
    Reason.FORM_UNKNOWN: (
        "chế độ, biểu mẫu hoặc phiên bản không có ở nơi nhận",
        "the receiver does not know the regime, the form or its version",
    ),
    Reason.ALREADY_EXISTS: ("hồ sơ đã tồn tại ở hệ thống đích", "the target already has it"),
    Reason.NOT_FOUND: ("hệ thống đích không có hồ sơ này", "the target does not know it"),
    Reason.WRONG_CREDENTIALS: ("sai tên đăng nhập hoặc mật khẩu", "wrong user name or password"),
    Reason.ACCESS_DENIED: ("không có quyền truy cập", "access denied"),
    Reason.CONTRACT_MISMATCH: ("WSDL không khớp với hệ thống đích", "the contract does not match"),
    Reason.NO_CODE: ("chờ mã hồ sơ", "waits for its dossier code"),
    Reason.BEFORE_RECEPTION: ("chưa được tiếp nhận", "not received yet"),
    Reason.UNCHANGED: ("hệ thống đích đã có đúng nội dung này", "the target already holds this"),
    Reason.NEWER_STATE: ("đã có trạng thái mới hơn", "a newer state was delivered"),
    Reason.CORRECTED_AT_SOURCE: ("bước đã gửi được sửa tại nguồn", "a sent step was edited"),
    Reason.LATE_CREATE: ("hồ sơ được tạo muộn ở hệ thống đích", "created at the target after all"),
    Reason.LATE_STATE: ("trạng thái cũ đến muộn, đã gửi lại", "an old state came late; sent again"),
    Reason.LATE_STEP: ("bước xử lý đến muộn, không gửi lại", "a step came late; not sent again"),
    Reason.STEP_TWICE: ("bước xử lý bị ghi trùng ở hệ thống đích", "a step stands there twice"),
    Reason.REVISION_MISSING: (
        "thiếu bản báo cáo có số thứ tự trước đó",
        "the revision with the number before it never came",
    ),
    Reason.REVISION_CONFLICT: (
        "hai nội dung khác nhau cùng một số bản: chỉ nhận nội dung đến trước",
        "two contents under one revision number: only the first was taken",
    ),
    Reason.UNDECODABLE: ("bản tin không giải mã được", "the bytes cannot be decoded"),
    Reason.UNREADABLE_PAYLOAD: ("nội dung bản tin không đọc được", "the payload cannot be read"),
    Reason.IMPOSSIBLE_VALUE: ("giá trị không thể có", "an impossible value"),
}


def in_words(reason: str) -> tuple[str, str]:
    """Vietnamese and English of a reason as the ledger holds it."""
    return TEXTS[Reason(reason)]
