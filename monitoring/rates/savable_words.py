"""What can still be saved today, in words: what to do about an entry, how long is left, how sure it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta

from monitoring.rates.catalogue import Words
from monitoring.rates.savable import Entry, Field, Kind, Savable, Unit, at_stake
from monitoring.rates.tables import number
from schemas.dossier.days_off import Certainty
from schemas.dossier.working_calendar import CIVIL_ZONE, civil_day

KINDS: Mapping[Kind, Words] = {
    Kind.RECEPTION: Words(vi="Sắp hết 8 giờ tiếp nhận", en="reception runs out"),
    Kind.DUE: Words(vi="Đến hạn trả kết quả", en="due"),
    Kind.SUPPLEMENT: Words(vi="Đã yêu cầu bổ sung một lần", en="papers were asked for once"),
    Kind.FIELD: Words(vi="Thiếu thông tin tính điểm", en="a field that counts is missing"),
}

FIELDS: Mapping[Field, Words] = {
    Field.DUE: Words(vi="ngày hẹn trả", en="the due date"),
    Field.CHANNEL: Words(vi="kênh tiếp nhận", en="the channel"),
    Field.REUSED: Words(vi="tái sử dụng giấy tờ số hóa", en="re-use of digitised papers"),
    Field.FROM_DATA_STORE: Words(vi="lấy từ kho dữ liệu cá nhân", en="papers from the data store"),
    Field.POPULATION_DATA: Words(vi="xác thực dữ liệu dân cư", en="use of population data"),
    Field.PAID_ONLINE: Words(vi="hình thức thanh toán", en="how fees were paid"),
}

CALENDAR: Mapping[Certainty, Words] = {
    Certainty.CONFIRMED: Words(vi="lịch nghỉ đã được xác nhận", en="the calendar is confirmed"),
    Certainty.REPORTED: Words(
        vi="lịch nghỉ theo báo chí, chưa thấy văn bản",
        en="the days off are from a secondary source",
    ),
    Certainty.COMPUTED: Words(
        vi="lịch nghỉ tính theo luật, năm này chưa công bố",
        en="the days off follow the law, the year is not announced yet",
    ),
    Certainty.UNVERIFIED: Words(
        vi="lịch nghỉ chưa kiểm chứng được", en="the days off could not be verified"
    ),
    Certainty.UNKNOWN: Words(
        vi="chưa có lịch nghỉ của năm này, chỉ trừ thứ Bảy và Chủ nhật",
        en="the days off of the year are not known, only weekends are left out",
    ),
}
"""How sure the days off are by which deadlines and the time left are reckoned."""

_WEEKDAYS = ("thứ Hai", "thứ Ba", "thứ Tư", "thứ Năm", "thứ Sáu", "thứ Bảy", "Chủ nhật")
_MINUTE = timedelta(minutes=1)


def todo(entry: Entry, now: datetime) -> Words:
    """What to do about an entry."""
    match entry.kind:
        case Kind.RECEPTION:
            return Words(
                vi="tiếp nhận, hoặc trả lời: từ chối, yêu cầu bổ sung",
                en="receive it, or answer: refuse it or ask for papers",
            )
        case Kind.SUPPLEMENT:
            return Words(
                vi="không yêu cầu bổ sung lần nữa: lần thứ hai là trễ hạn",
                en="do not ask for papers again: a second request makes it late",
            )
        case Kind.FIELD:
            lacks = [_lacks(field, civil_day(now)) for field in entry.fields]
            return Words(
                vi="bổ sung " + "; ".join(one.vi for one in lacks),
                en="fill in " + "; ".join(one.en for one in lacks),
            )
        case Kind.DUE if entry.fee_awaited:
            return Words(
                vi="đang chờ nộp phí mà Cổng vẫn tính thời gian: nhắc nộp, hoặc gia hạn trước giờ hẹn",
                en="a fee is awaited and the portal counts on: remind of it, or extend before the deadline",
            )
        case Kind.DUE if entry.deadline is not None and entry.deadline < now:
            return Words(
                vi="đã qua giờ hẹn: giải quyết xong ngay trong hôm nay",
                en="the hour has passed: finish it before the day ends",
            )
        case Kind.DUE:
            return Words(
                vi="giải quyết xong và ghi trạng thái; nếu không kịp, xin lỗi và gia hạn trước giờ hẹn",
                en="finish it and record the status; else apologise and extend before the deadline",
            )


def _lacks(field: Field, on: date) -> Words:
    name, cost = FIELDS[field], at_stake(field, on)
    if cost is None or cost.points is None:
        return Words(vi=f"{name.vi} ({field.value})", en=f"{name.en} ({field.value})")
    points = number(cost.points)
    return Words(
        vi=f"{name.vi} ({field.value}; {cost.rate}, {points} điểm)",
        en=f"{name.en} ({field.value}; {cost.rate}, {points} points)",
    )


def time_left(left: timedelta | None) -> str:
    """Working time in whole minutes, rounded down: nobody is told more than there is."""
    if left is None:
        return "–"
    hours, minutes = divmod(left // _MINUTE, 60)
    if not hours:
        return f"{minutes} phút"
    return f"{hours} giờ {minutes:02} phút" if minutes else f"{hours} giờ"


def clock_time(at: datetime | None) -> str:
    """By the clock on the wall."""
    return "–" if at is None else f"{at.astimezone(CIVIL_ZONE):%H:%M %d/%m/%Y}"


def day_name(at: datetime) -> str:
    """The day of an instant with its name."""
    day = civil_day(at)
    return f"{_WEEKDAYS[day.weekday()]} {day:%d/%m/%Y}"


def unit_name(agency: str | None, names: Mapping[str, str]) -> str:
    """The unit's code, and its name where it is known."""
    if agency is None:
        return "Chưa rõ đơn vị"
    return f"{agency} {names[agency]}" if names.get(agency) else agency


def remarks(savable: Savable) -> list[Words]:
    """What a reader must know beside the entries."""
    said = []
    if savable.certainty is not Certainty.CONFIRMED:
        sure = CALENDAR[savable.certainty]
        said.append(Words(vi=f"Lịch làm việc: {sure.vi}.", en=f"Calendar: {sure.en}."))
    if savable.waiting:
        said.append(
            Words(
                vi=f"{savable.waiting} hồ sơ của tỉnh chưa được tính xong, có thể còn thiếu ở đây.",
                en=f"{savable.waiting} dossiers of the province are not reckoned yet and may be missing here.",
            )
        )
    if savable.undecided:
        said.append(
            Words(
                vi=f"{savable.undecided} hồ sơ đang mở không đọc được diễn biến (trạng thái chưa ánh xạ, hoặc chứng cứ đã xoá).",
                en=f"{savable.undecided} open dossiers whose life cannot be read (an unmapped status, or pruned evidence).",
            )
        )
    return said


def more(unit: Unit, kind: Kind) -> int:
    """How many entries of a kind are counted and not listed."""
    return unit.counts[kind] - len(unit.of(kind))


def as_dict(savable: Savable, names: Mapping[str, str]) -> dict[str, object]:
    """For `--json`. Times are local, the time left is in whole minutes of working time."""
    return {
        "now": _local(savable.now),
        "until": _local(savable.until),
        "calendar": savable.certainty.value,
        "total": savable.total,
        "counts": {kind.value: n for kind, n in savable.counts.items()},
        "undecided": savable.undecided,
        "waiting": savable.waiting,
        "units": [
            {
                "agency": unit.agency,
                "name": names.get(unit.agency) if unit.agency else None,
                "total": unit.total,
                "counts": {kind.value: n for kind, n in unit.counts.items()},
                "missing": {field.value: n for field, n in unit.fields.items()},
                "entries": [_entry(entry, savable.now) for entry in unit.entries],
            }
            for unit in savable.units
        ],
    }


def _entry(entry: Entry, now: datetime) -> dict[str, object]:
    return {
        "kind": entry.kind.value,
        "dossier": entry.code,
        "dossier_id": entry.dossier_id,
        "deadline": _local(entry.deadline) if entry.deadline else None,
        "minutes_left": None if entry.left is None else entry.left // _MINUTE,
        "calendar": entry.certainty.value,
        "missing": [field.value for field in entry.fields],
        "todo": todo(entry, now).model_dump(),
    }


def _local(at: datetime) -> str:
    return at.astimezone(CIVIL_ZONE).isoformat(timespec="seconds")
