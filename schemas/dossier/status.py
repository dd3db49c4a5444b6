"""The canonical statuses of a dossier, and the national code of each.

National codes: portal contract §9, TrangThaiHoSo 1-10. `paused` and `stopped` are two statuses although
both leave as 8: a paused dossier stays open in form II.06, a stopped one has ended.
"""

from enum import StrEnum


class Status(StrEnum):
    """What a dossier is in, in the hub's own words (Vietnamese official name beside each)."""

    SUBMITTED = "submitted"  # 1 Mới đăng ký
    RECEIVED = "received"  # 2 Được tiếp nhận
    REFUSED = "refused"  # 3 Không được tiếp nhận
    PROCESSING = "processing"  # 4 Đang xử lý
    SUPPLEMENT_REQUESTED = "supplement_requested"  # 5 Yêu cầu bổ sung giấy tờ
    PAYMENT_REQUESTED = "payment_requested"  # 6 Yêu cầu thực hiện nghĩa vụ tài chính
    WITHDRAWN = "withdrawn"  # 7 Công dân yêu cầu rút hồ sơ
    PAUSED = "paused"  # 8 Dừng xử lý (tạm dừng)
    STOPPED = "stopped"  # 8 Dừng xử lý
    FINISHED = "finished"  # 9 Đã xử lý xong
    RETURNED = "returned"  # 10 Đã trả kết quả


NATIONAL_CODE: dict[Status, str] = {
    Status.SUBMITTED: "1",
    Status.RECEIVED: "2",
    Status.REFUSED: "3",
    Status.PROCESSING: "4",
    Status.SUPPLEMENT_REQUESTED: "5",
    Status.PAYMENT_REQUESTED: "6",
    Status.WITHDRAWN: "7",
    Status.PAUSED: "8",
    Status.STOPPED: "8",
    Status.FINISHED: "9",
    Status.RETURNED: "10",
}

BEFORE_RECEPTION = frozenset({Status.SUBMITTED, Status.REFUSED})
"""Statuses in which the fields of reception need not be there."""
