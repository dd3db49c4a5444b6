"""The process that every simulated dossier runs through: its steps, its actions, and what they mean.

The step and action codes 300, 400, 410, 420, 1100, 1300, 4000, 4100, 8500, 8501 are those seen in OpenCPS; the
others are chosen by this simulator, because a real system's are its own configuration. `national` is the
code of TrangThaiHoSo that this province means by a step (portal contract section 9); it is the journal's
own knowledge and is never read back from the mapping table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Step:
    """One process step. `status` is None where the step sets none and the dossier keeps its status."""

    code: str
    name: str
    status: str | None
    sub_status: str | None
    national: str | None

    @property
    def unmapped(self) -> bool:
        """Whether this province never said what the status means to the portal."""
        return self.status is not None and self.national is None


NEW = Step("100", "Chờ tiếp nhận", "new", None, "1")
RECEIVED = Step("110", "Đã tiếp nhận", "receiving", None, "2")
ON_THE_WAY = Step("120", "Chuyển phòng chuyên môn", None, None, None)
HANDLING = Step("200", "Thụ lý hồ sơ", "processing", None, "4")
SUPPLEMENT = Step("210", "Chờ công dân bổ sung", "waiting", None, "5")
TAX = Step("215", "Chờ nộp thuế", "waiting", "waiting_tax", "6")
PAYING = Step("220", "Chờ thực hiện nghĩa vụ tài chính", "paying", None, "6")
ASKING = Step("230", "Lấy ý kiến cơ quan phối hợp", "interoperating", None, "4")
PAUSED = Step("240", "Tạm dừng giải quyết", "pausing", None, "8")
SUBMITTED = Step("250", "Trình lãnh đạo", "processing", "processing_approval", "4")
APPROVED = Step("255", "Lãnh đạo đã ký duyệt", "processing", "processing_signed", "4")
INTERNAL = Step("260", "Bàn giao kết quả nội bộ", "handover", None, None)
CORRECTING = Step("265", "Chỉnh sửa hồ sơ", "correcting", None, None)
RELEASED = Step("290", "Phát hành kết quả", "releasing", None, "9")
POSTED = Step("295", "Gửi bưu chính công ích", "posting", None, "9")
AT_COUNTER = Step("300", "Trả kết quả", "releasing", None, "9")
DONE = Step("400", "Hoàn thành", "done", None, "10")
WITHDRAWING = Step("405", "Công dân đề nghị rút hồ sơ", "cancelling", None, "7")
WITHDRAWN = Step("410", "Rút hồ sơ", "cancelled", None, "7")
REFUSED = Step("420", "Từ chối", "denied", None, "3")
STOPPED = Step("430", "Dừng giải quyết", "unresolved", None, "8")

STEPS: tuple[Step, ...] = (
    NEW, RECEIVED, ON_THE_WAY, HANDLING, SUPPLEMENT, TAX, PAYING, ASKING, PAUSED, SUBMITTED, APPROVED,
    INTERNAL, CORRECTING, RELEASED, POSTED, AT_COUNTER, DONE, WITHDRAWING, WITHDRAWN, REFUSED, STOPPED,
)  # fmt: skip

STATUS_MAPPING: tuple[tuple[str, str | None, str], ...] = (
    ("new", None, "1"),
    ("receiving", None, "2"),
    ("denied", None, "3"),
    ("processing", None, "4"),
    ("interoperating", None, "4"),
    ("waiting", None, "5"),
    ("waiting", "waiting_tax", "6"),
    ("paying", None, "6"),
    ("cancelling", None, "7"),
    ("cancelled", None, "7"),
    ("pausing", None, "8"),
    ("unresolved", None, "8"),
    ("releasing", None, "9"),
    ("posting", None, "9"),
    ("done", None, "10"),
)
"""The rows of opencps_dossierstatusmapping: (status, sub-status, national code).

`handover` and `correcting` have none: that is the wart `unmapped_status`.
"""


class Act(StrEnum):
    """What an officer, the applicant or the system does to a dossier."""

    IMPORT = "1000"
    RECEIVE = "1100"
    RECEIVE_ONLINE = "1300"
    REFUSE = "1400"
    HAND_OVER = "1500"
    ASSIGN = "2000"
    ASK_SUPPLEMENT = "2100"
    TAKE_SUPPLEMENT = "2200"
    ASK_AGENCY = "2300"
    AGENCY_ANSWER = "2310"
    ASK_PAYMENT = "2400"
    ASK_TAX = "2405"
    OBLIGATION_MET = "2410"
    PAUSE = "2500"
    RESUME = "2510"
    CORRECT = "2600"
    CORRECTED = "2610"
    SUBMIT = "3000"
    APPROVE = "3100"
    RECHECK = "3150"
    RELEASE = "3200"
    HAND_OVER_RESULT = "3250"
    POST = "3300"
    TO_COUNTER = "3400"
    RETURN = "4000"
    RETURN_BY_POST = "4100"
    ASK_WITHDRAWAL = "7000"
    WITHDRAW = "7010"
    STOP = "7500"
    EXTEND_LATE = "8500"
    EXTEND = "8501"


@dataclass(frozen=True, slots=True)
class ActionDef:
    """An action of the process: its name and the step it leads to (None: the dossier stays put)."""

    name: str
    to: Step | None
    by_system: bool = False


ACTIONS: dict[Act, ActionDef] = {
    Act.IMPORT: ActionDef("Nhận hồ sơ từ Cổng Dịch vụ công quốc gia", NEW, by_system=True),
    Act.RECEIVE: ActionDef("Tiếp nhận hồ sơ tại Một cửa", RECEIVED),
    Act.RECEIVE_ONLINE: ActionDef("Tiếp nhận hồ sơ trực tuyến", RECEIVED),
    Act.REFUSE: ActionDef("Từ chối tiếp nhận hồ sơ", REFUSED),
    Act.HAND_OVER: ActionDef("Chuyển hồ sơ đến phòng chuyên môn", ON_THE_WAY),
    Act.ASSIGN: ActionDef("Phân công thụ lý", HANDLING),
    Act.ASK_SUPPLEMENT: ActionDef("Yêu cầu bổ sung hồ sơ", SUPPLEMENT),
    Act.TAKE_SUPPLEMENT: ActionDef("Tiếp nhận hồ sơ bổ sung", HANDLING),
    Act.ASK_AGENCY: ActionDef("Gửi lấy ý kiến cơ quan phối hợp", ASKING),
    Act.AGENCY_ANSWER: ActionDef("Nhận ý kiến cơ quan phối hợp", HANDLING),
    Act.ASK_PAYMENT: ActionDef("Thông báo nghĩa vụ tài chính", PAYING),
    Act.ASK_TAX: ActionDef("Gửi thông báo thuế", TAX),
    Act.OBLIGATION_MET: ActionDef("Xác nhận đã hoàn thành nghĩa vụ tài chính", HANDLING),
    Act.PAUSE: ActionDef("Tạm dừng giải quyết", PAUSED),
    Act.RESUME: ActionDef("Tiếp tục giải quyết", HANDLING),
    Act.CORRECT: ActionDef("Chuyển chỉnh sửa hồ sơ", CORRECTING),
    Act.CORRECTED: ActionDef("Hoàn thành chỉnh sửa hồ sơ", HANDLING),
    Act.SUBMIT: ActionDef("Trình lãnh đạo phê duyệt", SUBMITTED),
    Act.APPROVE: ActionDef("Ký duyệt kết quả", APPROVED),
    Act.RECHECK: ActionDef("Yêu cầu kiểm tra lại", HANDLING),
    Act.RELEASE: ActionDef("Phát hành kết quả", RELEASED),
    Act.HAND_OVER_RESULT: ActionDef("Bàn giao kết quả nội bộ", INTERNAL),
    Act.POST: ActionDef("Chuyển kết quả cho bưu chính", POSTED),
    Act.TO_COUNTER: ActionDef("Chuyển kết quả ra Một cửa", AT_COUNTER),
    Act.RETURN: ActionDef("Trả kết quả", DONE),
    Act.RETURN_BY_POST: ActionDef("Xác nhận bưu chính đã phát kết quả", DONE),
    Act.ASK_WITHDRAWAL: ActionDef("Công dân đề nghị rút hồ sơ", WITHDRAWING),
    Act.WITHDRAW: ActionDef("Đồng ý cho rút hồ sơ", WITHDRAWN),
    Act.STOP: ActionDef("Dừng giải quyết hồ sơ", STOPPED),
    Act.EXTEND_LATE: ActionDef("Xin lỗi và gia hạn (đã quá hạn)", None),
    Act.EXTEND: ActionDef("Xin lỗi và gia hạn (sắp quá hạn)", None),
}
