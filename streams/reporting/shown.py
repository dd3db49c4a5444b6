"""How reports look: as tables in both languages, and as plain values for `--json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum

from rich.markup import escape
from rich.table import Table

from monitoring.rates.catalogue import Words
from schemas.dossier.working_calendar import WorkingCalendar
from schemas.ledger.model import DeliveryState, ReportDelivery
from schemas.ledger.report_outbox import Answered, Packet
from schemas.ledger.report_store import Audit, Draft, Fault, Report, Take
from schemas.reports.lives import Trouble
from schemas.reports.periods import PeriodFault, send_by
from schemas.reports.snapshots import Row, Snapshot, Value, total
from schemas.reports.states import (
    Action,
    Answer,
    Objection,
    PacketState,
    Settlement,
    State,
)
from streams.commands import in_both, table_of
from streams.reason_texts import TEXTS
from streams.reporting.form_differences import WORDS, Why
from streams.reporting.life import STATES, local
from streams.reporting.overview import Jump, Overview

FAULTS: Mapping[PeriodFault, Words] = {
    PeriodFault.OVERLAP: Words(
        vi="chưa mở: số ngày trùng với kỳ {other}; đặt ngày cho kỳ này trong THONGSUOT_REPORTING__WINDOWS",
        en="not opened: its days overlap those of {other}; set its window in THONGSUOT_REPORTING__WINDOWS",
    ),
    PeriodFault.NO_WORKING_DAY: Words(
        vi="chưa mở: không có ngày làm việc nào giữa lúc chốt số liệu và hạn gửi (NĐ 09/2019, Điều 8 khoản 5); "
        "sửa due_day trong THONGSUOT_REPORTING__REGIMES",
        en="not opened: no working day between cut-off and due date (Decree 09/2019, Art. 8(5)); mend due_day in "
        "THONGSUOT_REPORTING__REGIMES",
    ),
    PeriodFault.HOLE: Words(
        vi="có ngày không thuộc kỳ nào giữa kỳ {other} và kỳ này; nếu sai, đặt THONGSUOT_REPORTING__WINDOWS trước "
        "khi kỳ bắt đầu",
        en="days between {other} and this period are counted in none; if that is wrong, set "
        "THONGSUOT_REPORTING__WINDOWS before a period begins",
    ),
}

ACTIONS: Mapping[Action, Words] = {
    Action.OPEN: Words(vi="mở kỳ", en="opened"),
    Action.FREEZE: Words(vi="chốt số liệu", en="frozen"),
    Action.ASK_UNITS: Words(vi="gửi đơn vị xác nhận", en="units asked"),
    Action.CONFIRM: Words(vi="đơn vị xác nhận", en="confirmed"),
    Action.OBJECT: Words(vi="đơn vị có ý kiến", en="objected"),
    Action.SETTLE: Words(vi="giải quyết ý kiến", en="settled"),
    Action.VERIFY: Words(vi="kiểm tra", en="verified"),
    Action.APPROVE: Words(vi="duyệt", en="approved"),
    Action.SUBMIT: Words(vi="gửi", en="submitted"),
    Action.ACCEPT: Words(vi="được chấp nhận", en="accepted"),
    Action.RETURN: Words(vi="bị trả lại", en="returned"),
    Action.ASK_CORRECTION: Words(vi="được yêu cầu đính chính", en="correction asked"),
    Action.REVISE: Words(vi="lấy lại số liệu", en="taken anew"),
    Action.AMEND: Words(vi="được thay", en="amended"),
}

ANSWERS: Mapping[Answer, Words] = {
    Answer.ACCEPTED: Words(vi="chấp nhận", en="accepted"),
    Answer.RETURNED: Words(vi="trả lại", en="returned"),
    Answer.CORRECTION_ASKED: Words(vi="yêu cầu đính chính", en="correction asked"),
}

PACKETS: Mapping[PacketState, Words] = {
    PacketState.HELD: Words(vi="chờ lệnh gửi", en="held"),
    PacketState.OWED: Words(vi="chờ đưa đi", en="owed"),
    PacketState.PUBLISHED: Words(vi="đã đưa đi", en="published"),
}

DELIVERIES: Mapping[DeliveryState, Words] = {
    DeliveryState.PENDING: Words(vi="chờ gửi", en="waits to be sent"),
    DeliveryState.SENDING: Words(vi="đang gửi", en="is being sent"),
    DeliveryState.WAITING: Words(vi="chờ gửi lại", en="waits to be sent again"),
    DeliveryState.PARKED: Words(vi="dừng lại, cần người xử lý", en="parked: a person must act"),
    DeliveryState.DELIVERED: Words(vi="hệ thống báo cáo đã nhận", en="delivered"),
    DeliveryState.SUPERSEDED: Words(vi="không gửi, đã có bản mới hơn", en="a newer one goes"),
    DeliveryState.DISCARDED: Words(vi="đã bỏ, không gửi", en="discarded"),
}

OBJECTIONS: Mapping[Objection, Words] = {
    Objection.NOT_OURS: Words(vi="không phải hồ sơ của đơn vị", en="not ours"),
    Objection.NOT_COUNTED: Words(vi="chưa được tính", en="not counted"),
    Objection.COUNTED_TWICE: Words(vi="bị tính hai lần", en="counted twice"),
    Objection.WRONG_CHANNEL: Words(vi="sai kênh tiếp nhận", en="the wrong channel"),
    Objection.WRONG_DATE: Words(vi="sai ngày", en="a wrong date"),
    Objection.WRONG_STATUS: Words(vi="sai trạng thái", en="the wrong status"),
}

SETTLEMENTS: Mapping[Settlement, Words] = {
    Settlement.CORRECTED: Words(vi="đã sửa tại hệ thống một cửa", en="corrected at the source"),
    Settlement.UNFOUNDED: Words(vi="không có cơ sở", en="unfounded"),
    Settlement.NEXT_REVISION: Words(vi="đúng, để bản sau", en="right, for the next revision"),
}

TROUBLES: Mapping[Trouble, Words] = {
    Trouble.UNREADABLE: Words(vi="bản tin không đọc được", en="an event cannot be read"),
    Trouble.GAP: Words(vi="có bản tin hỏng, sau đó chưa đọc được gì", en="a gap in what was told"),
    Trouble.UNMAPPED: Words(vi="trạng thái chưa được ánh xạ", en="a status has no mapping"),
    Trouble.UNDATED: Words(vi="không rõ ngày tiếp nhận", en="nothing says when it was received"),
}

LEGEND = Words(
    vi="c3 tiếp nhận = c4 trực tuyến + c5 trực tiếp, bưu chính + c6 từ kỳ trước; c7 đã giải quyết = c8 trước hạn + "
    "c9 đúng hạn + c10 quá hạn; c11 đang giải quyết = c12 trong hạn + c13 quá hạn",
    en="received, dealt with, open",
)
"""The columns of form II.06 as they are printed."""

NO_REASON = Words(vi="không nêu lý do", en="no reason given")
NOT_KNOWN = Words(vi="chưa rõ mã", en="no code")


class By(StrEnum):
    """What the rows of `show` are."""

    AGENCY = "agency"
    SECTOR = "sector"
    PROCEDURE = "procedure"


def key_of(row: Row, by: By) -> tuple[str | None, ...]:
    """What a row is told apart by."""
    match by:
        case By.AGENCY:
            return (row.agency,)
        case By.SECTOR:
            return (row.agency, row.sector)
        case By.PROCEDURE:
            return (row.agency, row.sector, row.procedure)


def folded(
    snapshot: Snapshot, by: By, unit: str | None
) -> list[tuple[tuple[str | None, ...], tuple[Value, ...]]]:
    """The rows that are shown, in order."""
    groups: dict[tuple[str | None, ...], list[Row]] = {}
    for row in snapshot.rows:
        if unit in {None, row.agency}:
            groups.setdefault(key_of(row, by), []).append(row)
    wanted = sorted(groups.items(), key=lambda one: tuple(part or "" for part in one[0]))
    return [(key, total(rows, len(snapshot.columns))) for key, rows in wanted]


def figures_table(snapshot: Snapshot, by: By, unit: str | None, names: Mapping[str, str]) -> Table:
    """Columns 3 to 13 of the form, as far as the regime has them. `names`: of agencies, by code."""
    table = table_of(("dòng · row", *snapshot.columns))
    rows = folded(snapshot, by, unit)
    for key, values in rows:
        name = " / ".join(part or NOT_KNOWN.vi for part in key)
        if by is By.AGENCY and (named := names.get(key[0] or "")) is not None:
            name = f"{name} {named}"
        table.add_row(escape(name), *(_cell(value) for value in values))
    if len(rows) != 1:
        chosen = [row for row in snapshot.rows if unit in {None, row.agency}]
        sums = total(chosen, len(snapshot.columns))
        table.add_row("cộng · all", *(_cell(value) for value in sums))
    return table


def _cell(value: Value) -> str:
    return "–" if value is None else str(value)


def period_table(
    reports: Iterable[tuple[Report, Take | None, int]], calendar: WorkingCalendar
) -> Table:
    """Reports with their state; the number is that of dossiers that count otherwise today."""
    table = table_of(
        (
            "kỳ · period",
            "chế độ · regime",
            "từ · from",
            "đến · to",
            "đơn vị xong · units",
            "hạn gửi · due",
            "gửi trước hết ngày · send by",
            "bản · revision",
            "bước · state",
            "hồ sơ đổi · changed",
        )
    )
    for report, take, changed in reports:
        table.add_row(
            report.period,
            report.regime,
            *(f"{day:%d/%m/%Y}" for day in (report.window.first, report.window.last)),
            *(f"{day:%d/%m/%Y}" for day in (report.units_due_on, report.due_on)),
            f"{send_by(report.due_on, calendar).value:%d/%m/%Y}",
            "–" if take is None else revision_name(take),
            in_both(STATES[state_of(take)]),
            str(changed) if changed else "–",
        )
    return table


def state_of(take: Take | None) -> State:
    """Where a report stands."""
    return State.OPEN if take is None else take.state


def revision_name(take: Take) -> str:
    """2, or 2 (lần 3) when its figures were taken anew."""
    return str(take.revision) + (f" (lần {take.take})" if take.take > 1 else "")


def fault_words(fault: Fault) -> Words:
    """What is wrong with a period, and the remedy."""
    words = FAULTS[fault.fault]
    name, other = f"{fault.regime} {fault.period}", fault.other or ""
    return Words(
        vi=f"{name}: {words.vi.format(other=other)}", en=f"{name}: {words.en.format(other=other)}"
    )


def draft_table(draft: Draft) -> Table:
    """The dossiers that count otherwise."""
    table = table_of(("mã hồ sơ · dossier", "đã tính · was", "nay · now", "vì sao · why"))
    for change in draft.changes:
        table.add_row(
            escape(change.code or change.dossier_id),
            escape(change.was or "–"),
            escape(change.now or "–"),
            escape(_why(change.why)),
        )
    return table


def _why(why: str) -> str:
    """In words; a reason of a later version as it is written."""
    return WORDS[Why(why)].vi if why in set(Why) else why


# --- as plain values -------------------------------------------------------------------------------------


def report_dict(report: Report, take: Take | None, calendar: WorkingCalendar) -> dict[str, object]:
    """A report, its deadlines and where it stands."""
    return {
        "report": report.report_id,
        "regime": report.regime,
        "period": report.period,
        "kind": report.kind,
        "agency": report.agency,
        "calendar": report.calendar,
        "from": report.window.first,
        "to": report.window.last,
        "cut_off_at": report.cut_off_at,
        "units_due_on": report.units_due_on,
        "due_on": report.due_on,
        "send_by": send_by(report.due_on, calendar).value,
        "state": state_of(take),
        "take": None if take is None else take_dict(take),
    }


def take_dict(take: Take) -> dict[str, object]:
    """A take, without the hashes of its units."""
    told = asdict(take)
    for name in ("units", "version", "report_id"):
        del told[name]
    return told


def overview_dict(
    told: Overview, by: By, unit: str | None, calendar: WorkingCalendar
) -> dict[str, object]:
    """All that `show` shows."""
    rows: Sequence[object] = ()
    columns: Sequence[str] = ()
    if told.snapshot is not None:
        columns = told.snapshot.columns
        rows = [
            {
                **dict(zip(("agency", "sector", "procedure"), key, strict=False)),
                **dict(zip(columns, values, strict=True)),
            }
            for key, values in folded(told.snapshot, by, unit)
        ]
    return {
        **report_dict(told.report, told.take, calendar),
        "columns": columns,
        "rows": rows,
        "unconfirmed": told.unconfirmed,
        "confirmed": [asdict(one) for one in told.confirmed.values()],
        "objections": [asdict(one) for one in told.objections],
        "jumps": [asdict(one) for one in told.jumps],
        "draft": None if told.draft is None else draft_dict(told.draft),
    }


def draft_dict(draft: Draft) -> dict[str, object]:
    """What another revision would change."""
    return {
        "against": {"revision": draft.revision, "take": draft.take},
        "known_at": draft.known_at,
        "dossiers": draft.dossiers,
        "changes": [asdict(one) for one in draft.changes],
    }


def status_dict(told: Overview, calendar: WorkingCalendar) -> dict[str, object]:
    """All that `status` shows."""
    return {
        **report_dict(told.report, told.take, calendar),
        "takes": [take_dict(one) for one in told.takes],
        "packets": [
            {**packet_dict(one), "delivery": _delivery_dict(told.delivery_of(one))}
            for one in told.packets
        ],
        "answers": [answer_dict(one, told.is_last(one)) for one in told.answers],
        "story": [asdict(one) for one in told.story],
    }


def packet_dict(packet: Packet) -> dict[str, object]:
    """A packet without its content."""
    told = asdict(packet)
    del told["content"]
    return told


def _delivery_dict(delivery: ReportDelivery | None) -> dict[str, object] | None:
    return None if delivery is None else asdict(delivery)


def answer_dict(answered: Answered, is_last: bool) -> dict[str, object]:
    """What came back. One that another has followed needs nobody any more."""
    return {
        **asdict(answered),
        "reason_shown": answered.reason or NO_REASON.vi,
        "needs_person": answered.needs_person and is_last,
    }


def packet_line(packet: Packet, delivery: ReportDelivery | None) -> str:
    """One packet in a line: how far it has come, and why no farther."""
    words = PACKETS[packet.state] if delivery is None else DELIVERIES[delivery.state]
    more = []
    if delivery is not None:
        if delivery.reference:
            more.append(f"số tiếp nhận {escape(delivery.reference)}")
        if delivery.reason is not None and delivery.state is not DeliveryState.DELIVERED:
            more.append(TEXTS[delivery.reason][0])
        if delivery.settled_at is not None:
            more.append(local(delivery.settled_at))
    listed = "".join(f", {one}" for one in more)
    return f"bản {packet.revision} {escape(packet.stream_id)}: {in_both(words)}{listed}"


def trouble_words(trouble: str) -> Words:
    """Why figures are provisional; a reason of another regime, or of a later version, as it is written."""
    known = trouble in set(Trouble)
    return TROUBLES[Trouble(trouble)] if known else Words(vi=trouble, en=trouble)


def jump_words(jump: Jump) -> Words:
    """One jump in a line."""
    unit = jump.unit or NOT_KNOWN.vi
    share = "" if jump.percent is None else f" ({jump.percent:+} %)"
    return Words(
        vi=f"{unit} {jump.column}: kỳ trước {jump.was}, kỳ này {jump.now}{share}",
        en=f"was {jump.was}, now {jump.now}",
    )


def story_line(one: Audit) -> str:
    """One line of the story."""
    words = ACTIONS[one.action].vi
    take = f"bản {one.revision}: " if one.revision else ""
    about = f" {escape(one.about)}" if one.about else ""
    if one.action is Action.AMEND and one.about:
        about = f" bằng bản {escape(one.about.removeprefix('r'))}"
    why = f": {escape(_reason(one))}" if one.why or one.action in _WITH_REASON else ""
    account = (
        ""
        if one.actor.signed_in
        else f" [dim](tài khoản {escape(one.actor.account)}, chưa xác minh)[/dim]"
    )
    return f"{local(one.at)}  {take}{words}{about}, {escape(one.actor.name)}{account}{why}"


_WITH_REASON = frozenset({Action.RETURN, Action.ASK_CORRECTION})


def _reason(one: Audit) -> str:
    """Why, in words where it is a code."""
    why = one.why or NO_REASON.vi
    if one.action is Action.OBJECT and why in set(Objection):
        return OBJECTIONS[Objection(why)].vi
    if one.action is Action.SETTLE and why in set(Settlement):
        return SETTLEMENTS[Settlement(why)].vi
    return why


def answer_line(one: Answered, is_last: bool) -> str:
    """One answer in a line. One that another has followed needs nobody any more."""
    words = ANSWERS[one.answer]
    reason = "" if one.answer is Answer.ACCEPTED else f": {escape(one.reason or NO_REASON.vi)}"
    person = "  [yellow]![/yellow] cần người hỏi lại" if one.needs_person and is_last else ""
    return f"{local(one.received_at)}  bản {one.revision} {escape(one.stream_id)}: {words.vi}{reason}{person}"
