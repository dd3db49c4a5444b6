"""What may be done with a report, and when. A pure function: no clock, no database inside.

    open ─freeze─► cut_off ─ask─► confirming ─verify─► verified ─approve─► approved ─submit─► submitted
                      │                │                  │                   │         accepted ◄┴► returned
                      └── revise: the figures are taken anew, this take becomes amended ──┘
    submitted, accepted, returned ─revise─► the next revision begins; when that is submitted, this is amended

Source of the states: Decree 09/2019/NĐ-CP implies cut-off, collection by level, and sending by the 25th
(Art. 8(5), 12, 13); the names and the guards are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from monitoring.rates.catalogue import Words
from schemas.dossier.working_calendar import CIVIL_ZONE, civil_day
from schemas.reports.states import Action, State

NEXT: Mapping[tuple[State, Action], State] = {
    (State.OPEN, Action.FREEZE): State.CUT_OFF,
    (State.CUT_OFF, Action.ASK_UNITS): State.CONFIRMING,
    (State.CUT_OFF, Action.REVISE): State.AMENDED,
    (State.CONFIRMING, Action.CONFIRM): State.CONFIRMING,
    (State.CONFIRMING, Action.OBJECT): State.CONFIRMING,
    (State.CONFIRMING, Action.SETTLE): State.CONFIRMING,
    (State.CONFIRMING, Action.VERIFY): State.VERIFIED,
    (State.CONFIRMING, Action.REVISE): State.AMENDED,
    (State.VERIFIED, Action.APPROVE): State.APPROVED,
    (State.VERIFIED, Action.REVISE): State.AMENDED,
    (State.APPROVED, Action.SUBMIT): State.SUBMITTED,
    (State.APPROVED, Action.REVISE): State.AMENDED,
    (State.SUBMITTED, Action.ACCEPT): State.ACCEPTED,
    (State.SUBMITTED, Action.RETURN): State.RETURNED,
    (State.SUBMITTED, Action.ASK_CORRECTION): State.RETURNED,
    (State.SUBMITTED, Action.REVISE): State.SUBMITTED,
    (State.SUBMITTED, Action.AMEND): State.AMENDED,
    (State.ACCEPTED, Action.ACCEPT): State.ACCEPTED,
    (State.ACCEPTED, Action.RETURN): State.RETURNED,
    (State.ACCEPTED, Action.ASK_CORRECTION): State.RETURNED,
    (State.ACCEPTED, Action.REVISE): State.ACCEPTED,
    (State.ACCEPTED, Action.AMEND): State.AMENDED,
    (State.RETURNED, Action.ACCEPT): State.ACCEPTED,
    (State.RETURNED, Action.RETURN): State.RETURNED,
    (State.RETURNED, Action.ASK_CORRECTION): State.RETURNED,
    (State.RETURNED, Action.REVISE): State.RETURNED,
    (State.RETURNED, Action.AMEND): State.AMENDED,
}
"""Where an action leads; whatever is not here is refused."""

SENT = frozenset({State.SUBMITTED, State.ACCEPTED, State.RETURNED})
"""The revision has left: taken anew, it is the next one."""


STATES: Mapping[State, Words] = {
    State.OPEN: Words(vi="đang trong kỳ", en="open"),
    State.CUT_OFF: Words(vi="đã chốt số liệu", en="cut off"),
    State.CONFIRMING: Words(vi="đơn vị đang xác nhận", en="units confirm"),
    State.VERIFIED: Words(vi="đã kiểm tra", en="verified"),
    State.APPROVED: Words(vi="đã duyệt", en="approved"),
    State.SUBMITTED: Words(vi="đã gửi", en="submitted"),
    State.ACCEPTED: Words(vi="được chấp nhận", en="accepted"),
    State.RETURNED: Words(vi="bị trả lại", en="returned"),
    State.AMENDED: Words(vi="đã có bản thay", en="amended"),
}
"""How each state is told to people."""


class Refusal(StrEnum):
    """Why something is not done."""

    UNKNOWN_REPORT = "unknown_report"
    NO_FIGURES = "no_figures"
    NOT_NOW = "not_now"
    BEFORE_CUT_OFF = "before_cut_off"
    FIGURES_BEHIND = "figures_behind"
    FREEZE_FIRST = "freeze_first"
    NAME_MISSING = "name_missing"
    REASON_MISSING = "reason_missing"
    UNKNOWN_UNIT = "unknown_unit"
    UNIT_OBJECTS = "unit_objects"
    UNIT_TOO_LATE = "unit_too_late"
    UNKNOWN_DOSSIER = "unknown_dossier"
    UNKNOWN_OBJECTION = "unknown_objection"
    OBJECTIONS_OPEN = "objections_open"
    UNITS_HAVE_TIME = "units_have_time"
    OUT_OF_BALANCE = "out_of_balance"
    SNAPSHOT_CHANGED = "snapshot_changed"
    ALREADY_APPROVED = "already_approved"
    ALREADY_SUBMITTED = "already_submitted"
    AFTER_DUE = "after_due"
    AFTER_DUE_FORBIDDEN = "after_due_forbidden"
    REVISION_NOT_NEWEST = "revision_not_newest"
    NOTHING_SENT = "nothing_sent"
    NOTHING_TO_SEND = "nothing_to_send"


WORDS: Mapping[Refusal, Words] = {
    Refusal.UNKNOWN_REPORT: Words(
        vi="không có báo cáo này; xem: thongsuot report periods",
        en="there is no such report; see: thongsuot report periods",
    ),
    Refusal.NO_FIGURES: Words(
        vi="chưa chốt số liệu nên chưa có gì để làm; đợi hết kỳ, trục tự chốt",
        en="nothing is frozen yet; wait for the cut-off, the hub freezes by itself",
    ),
    Refusal.NOT_NOW: Words(
        vi="không làm được ở bước này; xem bước hiện tại: thongsuot report status",
        en="cannot be done in this state; see the state: thongsuot report status",
    ),
    Refusal.BEFORE_CUT_OFF: Words(
        vi="kỳ chưa kết thúc; đợi đến sau thời điểm chốt số liệu",
        en="the period is not over; wait until after the cut-off",
    ),
    Refusal.FIGURES_BEHIND: Words(
        vi="còn hồ sơ chưa tính xong; đợi, trục tự chốt khi tính đủ; nếu đang chốt lại thì làm lại sau",
        en="dossiers are still to be reckoned; wait, the hub freezes once all are; to revise, try again then",
    ),
    Refusal.FREEZE_FIRST: Words(
        vi="báo cáo này đã hết kỳ mà chưa chốt số liệu; đợi trục chốt xong rồi làm lại",
        en="its period is over and it is not frozen yet; wait until the hub has frozen it, then try again",
    ),
    Refusal.NAME_MISSING: Words(
        vi="thiếu họ tên người thực hiện; ghi --name",
        en="whoever does it must be named; give --name",
    ),
    Refusal.REASON_MISSING: Words(vi="thiếu lý do; ghi --reason", en="give --reason"),
    Refusal.UNKNOWN_UNIT: Words(
        vi="đơn vị không có trong báo cáo; ghi mã đơn vị như trong thongsuot report show",
        en="no such unit in the report; give its code as thongsuot report show has it",
    ),
    Refusal.UNIT_OBJECTS: Words(
        vi="đơn vị còn ý kiến chưa giải quyết; giải quyết trước (thongsuot report object --settle)",
        en="the unit has open objections; settle them first (thongsuot report object --settle)",
    ),
    Refusal.UNIT_TOO_LATE: Words(
        vi="đã quá hạn ý kiến của đơn vị; thay đổi sẽ vào bản sau",
        en="the unit's deadline has passed; the change goes into the next revision",
    ),
    Refusal.UNKNOWN_DOSSIER: Words(
        vi="sổ cái không có hồ sơ mang mã này; kiểm tra mã hồ sơ",
        en="the ledger knows no dossier by this code; check the code",
    ),
    Refusal.UNKNOWN_OBJECTION: Words(
        vi="không có ý kiến nào đang mở về hồ sơ này của đơn vị này",
        en="the unit has no open objection about this dossier",
    ),
    Refusal.OBJECTIONS_OPEN: Words(
        vi="còn ý kiến của đơn vị chưa giải quyết; xem thongsuot report show, rồi object --settle",
        en="objections are open; see thongsuot report show, then object --settle",
    ),
    Refusal.UNITS_HAVE_TIME: Words(
        vi="còn đơn vị chưa xác nhận và chưa hết hạn của đơn vị; đợi, hoặc ghi --reason",
        en="units have not confirmed and still have time; wait, or give --reason",
    ),
    Refusal.OUT_OF_BALANCE: Words(
        vi="số liệu không cân; sửa các hồ sơ nêu trong thongsuot report show, rồi thongsuot report revise",
        en="the figures do not balance; mend the dossiers in thongsuot report show, then thongsuot report revise",
    ),
    Refusal.SNAPSHOT_CHANGED: Words(
        vi="số liệu đã được chốt lại sau khi bà/ông xem; xem lại và ghi mã (hash) mới",
        en="the figures were taken anew since you looked; look again and give the new hash",
    ),
    Refusal.ALREADY_APPROVED: Words(vi="đã được duyệt", en="has been approved"),
    Refusal.ALREADY_SUBMITTED: Words(vi="đã được gửi", en="has been submitted"),
    Refusal.AFTER_DUE: Words(
        vi="đã quá hạn gửi; vẫn gửi được nếu ghi rõ --reason, và bị đánh dấu gửi muộn",
        en="the due date has passed; it can be sent with --reason, and is marked late",
    ),
    Refusal.AFTER_DUE_FORBIDDEN: Words(
        vi="đã quá hạn gửi và thiết lập không cho gửi muộn (THONGSUOT_REPORTING__LATE)",
        en="the due date has passed and the settings allow no late sending (THONGSUOT_REPORTING__LATE)",
    ),
    Refusal.REVISION_NOT_NEWEST: Words(
        vi="câu trả lời về bản cũ: được lưu, không đổi gì ở bản mới",
        en="an answer about an older revision: kept, and nothing changes for the newer one",
    ),
    Refusal.NOTHING_SENT: Words(
        vi="chưa gửi bản nào như vậy", en="no such revision has been submitted"
    ),
    Refusal.NOTHING_TO_SEND: Words(
        vi="báo cáo này không có biểu nào để gửi (đề cương bằng lời chưa gửi qua trục được); gửi bằng đường khác",
        en="the report has no form that the hub can send (outlines in words it cannot yet); send it another way",
    ),
}
"""Each with its remedy. What is known beyond that (who, when) stands in `Refused.about`."""


class Refused(Exception):
    """It is not done. `about` says of whom or what, and when, where that helps."""

    def __init__(self, reason: Refusal, about: str = "") -> None:
        super().__init__(f"{reason.value}{f' ({about})' if about else ''}")
        self.reason = reason
        self.about = about

    @property
    def words(self) -> Words:
        """For people: why, about what, and the remedy."""
        told = WORDS[self.reason]
        if not self.about:
            return told
        about = Words(vi=self.about, en=self.about)
        if self.reason is Refusal.NOT_NOW:
            about = STATES[State(self.about)]
        return Words(vi=f"{about.vi}: {told.vi}", en=f"{about.en}: {told.en}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the guards look at. `hash`, units and names are those of the take that counts."""

    state: State
    cut_off_at: datetime
    due_on: date
    units_due_on: date
    revision: int = 0
    hash: str = ""
    units: frozenset[str] = frozenset()
    confirmed: frozenset[str] = frozenset()
    objecting: Mapping[str, int] = field(default_factory=dict)  # open objections by unit
    out_of_balance: bool = False
    approved_by: str | None = None
    approved_at: datetime | None = None
    submitted_by: str | None = None
    submitted_at: datetime | None = None

    @property
    def unconfirmed(self) -> frozenset[str]:
        """Units that have said nothing."""
        return self.units - self.confirmed


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What somebody wants to do. `late`: whether the settings allow it after the due date with a reason."""

    action: Action
    name: str = ""
    reason: str = ""
    hash: str = ""
    unit: str = ""
    behind: int = 0
    late: bool = True


@dataclass(frozen=True, slots=True)
class Allowed:
    """It may be done, and leads there. `late`: after the due date."""

    to: State
    late: bool = False


_BY_PERSONS = frozenset(
    {
        Action.CONFIRM,
        Action.OBJECT,
        Action.SETTLE,
        Action.VERIFY,
        Action.APPROVE,
        Action.SUBMIT,
        Action.REVISE,
    }
)


def step(standing: Standing, ask: Ask, now: datetime) -> Allowed:
    """Whether it may be done, and where it leads. Raises `Refused`."""
    if ask.action in _BY_PERSONS and not ask.name.strip():
        raise Refused(Refusal.NAME_MISSING)
    _already(standing, ask)
    to = NEXT.get((standing.state, ask.action))
    if to is None:
        if standing.state is State.OPEN:
            raise Refused(Refusal.NO_FIGURES)
        raise Refused(Refusal.NOT_NOW, standing.state.value)
    late = False
    match ask.action:
        case Action.FREEZE:
            _past_cut_off(standing, now)
            if ask.behind:
                raise Refused(Refusal.FIGURES_BEHIND, str(ask.behind))
        case Action.CONFIRM:
            _known_unit(standing, ask.unit)
            if standing.objecting.get(ask.unit):
                raise Refused(Refusal.UNIT_OBJECTS, ask.unit)
        case Action.OBJECT:
            if civil_day(now) > standing.units_due_on:
                raise Refused(Refusal.UNIT_TOO_LATE, f"{standing.units_due_on:%d/%m/%Y}")
        case Action.VERIFY:
            _verifiable(standing, ask, now)
        case Action.APPROVE:
            _signable(standing, ask)
        case Action.SUBMIT:
            late = _submittable(standing, ask, now)
        case Action.REVISE:
            if not ask.reason.strip():
                raise Refused(Refusal.REASON_MISSING)
            if ask.behind:
                raise Refused(Refusal.FIGURES_BEHIND, str(ask.behind))
        case _:
            pass
    return Allowed(to, late)


def _already(standing: Standing, ask: Ask) -> None:
    """Somebody was first: who, and when."""
    signed = standing.approved_by, standing.approved_at
    sent = standing.submitted_by, standing.submitted_at
    if ask.action is Action.APPROVE and standing.state in {State.APPROVED, *SENT}:
        if standing.state is State.APPROVED and ask.hash != standing.hash:
            raise Refused(Refusal.SNAPSHOT_CHANGED)
        raise Refused(Refusal.ALREADY_APPROVED, who_and_when(*signed))
    if ask.action is Action.SUBMIT and standing.state in SENT:
        raise Refused(Refusal.ALREADY_SUBMITTED, who_and_when(*sent))


def _past_cut_off(standing: Standing, now: datetime) -> None:
    if now < standing.cut_off_at:
        raise Refused(Refusal.BEFORE_CUT_OFF, local(standing.cut_off_at))


def _known_unit(standing: Standing, unit: str) -> None:
    if unit not in standing.units:
        raise Refused(Refusal.UNKNOWN_UNIT, unit)


def _verifiable(standing: Standing, ask: Ask, now: datetime) -> None:
    _balanced(standing)
    if open_units := sorted(unit for unit, count in standing.objecting.items() if count):
        raise Refused(Refusal.OBJECTIONS_OPEN, ", ".join(open_units))
    in_time = civil_day(now) <= standing.units_due_on
    if standing.unconfirmed and in_time and not ask.reason.strip():
        raise Refused(Refusal.UNITS_HAVE_TIME, f"{len(standing.unconfirmed)}")


def _signable(standing: Standing, ask: Ask) -> None:
    if ask.hash != standing.hash:
        raise Refused(Refusal.SNAPSHOT_CHANGED)
    _balanced(standing)


def _submittable(standing: Standing, ask: Ask, now: datetime) -> bool:
    """Whether it is late. The due date is that of the first sending: a later revision has its own reason."""
    _past_cut_off(standing, now)
    _balanced(standing)
    late = standing.revision == 1 and civil_day(now) > standing.due_on
    if late and not ask.late:
        raise Refused(Refusal.AFTER_DUE_FORBIDDEN, f"{standing.due_on:%d/%m/%Y}")
    if late and not ask.reason.strip():
        raise Refused(Refusal.AFTER_DUE, f"{standing.due_on:%d/%m/%Y}")
    return late


def _balanced(standing: Standing) -> None:
    if standing.out_of_balance:
        raise Refused(Refusal.OUT_OF_BALANCE)


def who_and_when(who: str | None, when: datetime | None) -> str:
    """A name and a local time, as far as they are known."""
    return ", ".join(part for part in (who, local(when) if when else None) if part)


def local(moment: datetime) -> str:
    """A moment as people in Viet Nam write it."""
    return f"{moment.astimezone(CIVIL_ZONE):%H:%M %d/%m/%Y}"
