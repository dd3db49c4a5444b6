"""The troubles of the demo's portal: when in the day each is switched on, and for how many calls.

The names of the troubles and the fields of a rule are those of the portal simulator's control API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Planned:
    """A rule, armed when `share` of the day is over. Vietnamese and English say what the viewer sees."""

    share: float
    rule: Mapping[str, object]
    vi: str
    en: str


PLAN: tuple[Planned, ...] = (
    Planned(0.08, {"trouble": "slow", "every": 9, "times": 20, "delay": 0.3},
            "trả lời chậm", "slow answers"),
    Planned(0.12, {"trouble": "expired_session", "operation": "write", "times": 2},
            "phiên làm việc hết hạn", "the session expires"),
    Planned(0.16, {"trouble": "drop", "operation": "steps", "every": 2, "times": 4},
            "mất kết nối sau khi đã ghi bước xử lý", "the connection is lost after steps were written"),
    Planned(0.20, {"trouble": "drop", "operation": "create", "times": 3},
            "mất kết nối khi tạo hồ sơ", "the connection is lost while a dossier is created"),
    Planned(0.24, {"trouble": "drop", "operation": "update", "every": 2, "times": 4},
            "mất kết nối khi cập nhật", "the connection is lost during updates"),
    Planned(0.28, {"trouble": "truncated_xml", "operation": "steps", "times": 2},
            "trả lời bị cắt cụt", "answers are cut short"),
    Planned(0.32, {"trouble": "html_502", "operation": "write", "times": 3},
            "cổng trung gian trả lời 502", "a gateway answers 502"),
    Planned(0.36, {"trouble": "fault_500", "operation": "update", "times": 2},
            "lỗi SOAP với HTTP 500", "a SOAP Fault with HTTP 500"),
    Planned(0.40, {"trouble": "fault_200", "operation": "steps", "times": 2},
            "lỗi SOAP với HTTP 200", "a SOAP Fault with HTTP 200"),
    Planned(0.44, {"trouble": "refuse", "seconds": 2.0},
            "cổng từ chối kết nối trong 2 giây", "the portal refuses connections for 2 seconds"),
    Planned(0.54, {"trouble": "no_answer", "operation": "update", "stage": "before", "times": 2},
            "không trả lời và không ghi", "no answer, nothing written"),
    Planned(0.57, {"trouble": "no_answer", "operation": "steps", "stage": "after", "times": 2},
            "đã ghi nhưng không trả lời", "written, but no answer"),
    Planned(0.60, {"trouble": "late_answer", "operation": "write", "times": 2, "delay": 4.0},
            "trả lời sau khi đã hết thời gian chờ", "answers after the client's timeout"),
    Planned(0.64, {"trouble": "late_effect", "operation": "steps", "times": 3, "delay": 1.0},
            "ghi muộn 1 giây sau khi mất kết nối", "an effect 1 second after the connection is lost"),
    Planned(0.68, {"trouble": "late_effect", "operation": "update", "times": 3, "delay": 1.0},
            "cập nhật muộn 1 giây sau khi mất kết nối", "an update 1 second after the connection is lost"),
    Planned(0.72, {"trouble": "foreign_answer", "operation": "update", "times": 2},
            "nhận câu trả lời của lượt gọi khác", "the answer of another call arrives"),
    Planned(0.75, {"trouble": "already_exists", "operation": "create", "times": 2, "stage": "before"},
            "báo «đã tồn tại» dù chưa có", "\"already exists\" though it does not"),
    Planned(0.79, {"trouble": "partial_chunk", "operation": "steps", "times": 3, "k": 1},
            "chỉ ghi một phần các bước", "only a part of the steps is applied"),
    Planned(0.83, {"trouble": "rate_limited", "times": 1, "retry_after": 1},
            "giới hạn tần suất, chờ 1 giây", "rate limited for 1 second"),
    Planned(0.87, {"trouble": "business_error", "operation": "update", "times": 1},
            "từ chối nghiệp vụ một lượt cập nhật", "one update is refused for business reasons"),
)  # fmt: skip
"""Every trouble that the simulated portal knows, in the order of the day."""
