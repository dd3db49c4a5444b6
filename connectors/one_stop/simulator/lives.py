"""The lives of dossiers: which moves follow each other, without times. Pure; chance comes in from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from random import Random
from typing import Any

from connectors.one_stop.simulator.process import Act


class Do(StrEnum):
    """The kinds of moves."""

    CREATE = "create"
    ACT = "act"
    ROLL_BACK = "roll_back"
    DELETE = "delete"
    EDIT = "edit"
    PAY = "pay"
    FILE = "file"
    DUE = "due"
    NOTE = "note"


@dataclass(slots=True, kw_only=True)
class Move:
    """One write in a dossier's life. `gap` weighs the time since the move before; 0 = the same second."""

    do: Do
    act: Act | None = None
    note: str | None = None
    gap: float = 1.0
    fee: bool = False
    results: tuple[str, ...] = ()
    with_number: bool = True
    no_finish: bool = False
    doubles: bool = False  # takes over the number of the plan's rival
    warts: tuple[str, ...] = ()
    at: datetime | None = None
    server: int = 0
    late: bool = False  # its transaction stays open until the next action elsewhere has committed

    @property
    def reception(self) -> bool:
        return self.act in (Act.RECEIVE, Act.RECEIVE_ONLINE)


class Ending(StrEnum):
    """How a life stands at the end of the day."""

    RETURNED = "returned"
    SAME_DAY = "same_day"
    IN_PROGRESS = "in_progress"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    STOPPED = "stopped"


ENDINGS: Mapping[Ending, float] = {
    Ending.RETURNED: 0.48,
    Ending.SAME_DAY: 0.22,
    Ending.IN_PROGRESS: 0.24,
    Ending.REFUSED: 0.02,
    Ending.WITHDRAWN: 0.02,
    Ending.STOPPED: 0.02,
}

DETOURS: Mapping[str, float] = {
    "supplement": 0.12,
    "payment": 0.13,
    "tax": 0.03,
    "agency": 0.07,
    "pause": 0.03,
    "extension": 0.06,
    "recheck": 0.05,
}

_NOTES: Mapping[Act, tuple[str | None, ...]] = {
    Act.IMPORT: (None,),
    Act.RECEIVE: ("Hồ sơ đầy đủ, hợp lệ. Đã in Giấy tiếp nhận và hẹn trả kết quả.", None, ""),
    Act.RECEIVE_ONLINE: ("Tiếp nhận hồ sơ trực tuyến, thành phần đầy đủ.", None),
    Act.REFUSE: ("Không thuộc thẩm quyền giải quyết; đã gửi Phiếu từ chối tiếp nhận (Mẫu 03).",),
    Act.HAND_OVER: ("Chuyển phòng chuyên môn thụ lý.", None),
    Act.ASSIGN: ("Phân công chuyên viên thụ lý hồ sơ.", "Giao xử lý trong ngày.", None),
    Act.ASK_SUPPLEMENT: (
        "Đề nghị bổ sung bản sao có chứng thực giấy tờ tùy thân (Mẫu 02).",
        "Đề nghị ông/bà {name} bổ sung sơ đồ vị trí thửa đất.",
    ),
    Act.TAKE_SUPPLEMENT: ("Đã nhận đủ giấy tờ bổ sung, hẹn lại ngày trả kết quả.", None),
    Act.ASK_AGENCY: ("Gửi văn bản lấy ý kiến cơ quan phối hợp.", None),
    Act.AGENCY_ANSWER: ("Đã có ý kiến bằng văn bản, đủ điều kiện giải quyết.", None),
    Act.ASK_PAYMENT: ("Đề nghị nộp phí thẩm định trước khi xử lý tiếp.", None),
    Act.ASK_TAX: ("Đã gửi thông báo thuế cho người nộp hồ sơ.", None),
    Act.OBLIGATION_MET: ("Đã đối chiếu biên lai.", None),
    Act.PAUSE: ("Tạm dừng chờ kết quả giải quyết của cơ quan có thẩm quyền.", None),
    Act.RESUME: ("Có căn cứ để tiếp tục giải quyết.", None),
    Act.CORRECT: ("Sai tên trong dự thảo, chuyển chỉnh sửa.", None),
    Act.CORRECTED: ("Đã chỉnh sửa dự thảo.", None),
    Act.SUBMIT: ("Kính trình lãnh đạo xem xét, phê duyệt.", None),
    Act.APPROVE: ("Đã ký số kết quả.", "Đồng ý.", None),
    Act.RECHECK: ("Kiểm tra lại căn cứ pháp lý.", None),
    Act.RELEASE: ("Đã vào sổ và phát hành.", None),
    Act.POST: ("Đã bàn giao cho bưu chính công ích.", None),
    Act.TO_COUNTER: ("Chuyển kết quả ra Một cửa.", None),
    Act.RETURN: ("Đã trả kết quả trực tiếp.", "Ông/bà {name} đã ký nhận kết quả.", None),
    Act.RETURN_BY_POST: ("Bưu chính báo phát thành công.", None),
    Act.ASK_WITHDRAWAL: ("Người nộp đề nghị rút hồ sơ vì thay đổi nhu cầu.",),
    Act.WITHDRAW: ("Đồng ý cho rút hồ sơ, trả lại giấy tờ.", None),
    Act.STOP: ("Thông báo dừng giải quyết do không bổ sung đúng hạn (Mẫu 05).",),
    Act.EXTEND: ("Xin lỗi ông/bà {name} và đề nghị gia hạn thời gian giải quyết (Mẫu 04).",),
    Act.EXTEND_LATE: ("Xin lỗi vì trễ hẹn, gia hạn thời gian giải quyết (Mẫu 04).",),
}


def note_for(random: Random, act: Act, name: str) -> str | None:
    """A note as an officer would write it, or none."""
    note = random.choice(_NOTES.get(act, (None,)))
    return note.format(name=name) if note else note


def act(what: Act, **more: Any) -> Move:
    """A move that is an action."""
    return Move(do=Do.ACT, act=what, **more)


def begin(portal_born: bool) -> list[Move]:
    """Creation and reception. A portal-born dossier is imported first, one at the counter received at once."""
    if portal_born:
        return [
            Move(do=Do.CREATE),
            act(Act.IMPORT, gap=0.2),
            act(Act.RECEIVE_ONLINE, gap=1.5),
        ]
    return [Move(do=Do.CREATE), act(Act.RECEIVE, gap=0.3)]


def compose(random: Random, ending: Ending, *, portal_born: bool, via_post: bool) -> list[Move]:
    """A whole life."""
    if ending is Ending.REFUSED:
        return [*begin(portal_born)[:-1], act(Act.REFUSE)]
    moves = begin(portal_born)
    if ending is Ending.SAME_DAY:
        release = act(Act.RELEASE, gap=0.5, results=("Kết quả giải quyết",))
        return [*moves, act(Act.ASSIGN), act(Act.APPROVE), release, _give_back(via_post)]
    moves += [act(Act.HAND_OVER, gap=0.5), act(Act.ASSIGN)]
    if ending is Ending.WITHDRAWN:
        return [*moves, act(Act.ASK_WITHDRAWAL, gap=2), act(Act.WITHDRAW)]
    for detour in _detours(random):
        moves += detour
    if ending is Ending.STOPPED:
        return [*moves, act(Act.ASK_SUPPLEMENT), act(Act.STOP, gap=3)]
    rest = [
        act(Act.SUBMIT),
        act(Act.APPROVE),
        act(Act.RELEASE, gap=0.5, results=_results(random)),
        act(Act.POST if via_post else Act.TO_COUNTER, gap=0.5),
        _give_back(via_post),
    ]
    if ending is Ending.IN_PROGRESS:
        return moves + rest[: random.randint(0, 3)]
    return moves + rest


def _detours(random: Random) -> list[list[Move]]:
    chosen = [name for name, share in DETOURS.items() if random.random() < share]
    random.shuffle(chosen)
    return [_detour(random, name) for name in chosen]


def _detour(random: Random, name: str) -> list[Move]:
    if name == "supplement":
        return [act(Act.ASK_SUPPLEMENT), Move(do=Do.FILE, gap=2), act(Act.TAKE_SUPPLEMENT, gap=0.3)]
    if name == "payment":
        return [
            act(Act.ASK_PAYMENT, fee=True),
            Move(do=Do.PAY, gap=1.5),
            act(Act.OBLIGATION_MET, gap=0.3),
        ]
    if name == "tax":
        return [
            act(Act.ASK_TAX, fee=True),
            Move(do=Do.PAY, gap=1.5),
            act(Act.OBLIGATION_MET, gap=0.3),
        ]
    if name == "agency":
        return [act(Act.ASK_AGENCY), act(Act.AGENCY_ANSWER, gap=2)]
    if name == "pause":
        return [act(Act.PAUSE), act(Act.RESUME, gap=2)]
    if name == "extension":
        return [act(random.choice((Act.EXTEND, Act.EXTEND_LATE)))]
    return [act(Act.SUBMIT), act(Act.RECHECK)]


def _results(random: Random) -> tuple[str, ...]:
    return ("Kết quả giải quyết", "Phụ lục kèm theo")[: random.choice((1, 1, 1, 2))]


def _give_back(via_post: bool) -> Move:
    return act(Act.RETURN_BY_POST if via_post else Act.RETURN, gap=1.5)
