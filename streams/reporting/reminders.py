"""Mails to whoever has something to do about a report: units that have not confirmed, and those who sign.

Counted back in working days from the unit's deadline, or from the last working day on which the report can be
sent. A mail is claimed in the ledger before it is handed over, so each list of addresses gets one a day.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from sqlalchemy import Connection

from monitoring.events import Events
from schemas.dossier.csv_table import TableError
from schemas.dossier.working_calendar import CIVIL_ZONE, WorkingCalendar, civil_day
from schemas.ledger import mails, report_store
from schemas.ledger.database import Lane
from schemas.ledger.mails import MailState
from schemas.ledger.report_store import Report, Take
from schemas.reports.periods import parse_period, send_by, working_days_left
from schemas.reports.states import State
from schemas.sealing import Hasher
from streams.mail import MailServer, NotTaken, OutcomeUnknown
from streams.reporting.life import SENT

_AGAIN = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A report that is not sent yet, and the units that have not confirmed it. Without `take`: not frozen."""

    report: Report
    take: Take | None
    unconfirmed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence of a mail, for the units it concerns (None: whoever signs)."""

    unit: str | None
    text: str


def lines(
    waiting: Iterable[Waiting], today: date, days: Collection[int], calendar: WorkingCalendar
) -> list[Line]:
    """What is to be reminded of today; nothing on a day off."""
    if not calendar.is_working_day(today).value:
        return []
    found: list[Line] = []
    for one in waiting:
        if one.take is None:
            continue
        name = _name(one.report)
        due = one.take.units_due_on
        if one.take.state is State.CONFIRMING and _reminds(today, due, days, calendar):
            for unit in sorted(one.unconfirmed):
                found.append(
                    Line(
                        unit,
                        f"Báo cáo {name}: đơn vị {unit} chưa xác nhận số liệu, hạn {due:%d/%m/%Y}. Xem: thongsuot "
                        f"report show {one.report.period} --regime {one.report.regime} --unit {unit}",
                    )
                )
        last = send_by(one.report.due_on, calendar).value
        if today > last or _reminds(today, last, days, calendar):
            found.append(Line(None, _to_signers(one, name, last, today)))
    return found


def _reminds(today: date, deadline: date, days: Collection[int], calendar: WorkingCalendar) -> bool:
    return today <= deadline and working_days_left(today, deadline, calendar) in days


def _to_signers(one: Waiting, name: str, last: date, today: date) -> str:
    assert one.take is not None
    due = one.report.due_on
    when = (
        f"đã quá hạn {due:%d/%m/%Y}"
        if today > due
        else f"hạn {due:%d/%m/%Y}, ngày làm việc cuối để gửi {last:%d/%m/%Y}"
    )
    open_units = f"; {len(one.unconfirmed)} đơn vị chưa xác nhận" if one.unconfirmed else ""
    return (
        f"Báo cáo {name}: chưa gửi ({_STATES[one.take.state]}), {when}{open_units}. "
        f"Xem: thongsuot report show {one.report.period} --regime {one.report.regime}"
    )


_STATES: Mapping[State, str] = {
    State.CUT_OFF: "đã chốt số liệu",
    State.CONFIRMING: "đơn vị đang xác nhận",
    State.VERIFIED: "đã kiểm tra, chờ duyệt",
    State.APPROVED: "đã duyệt, chờ gửi",
}


def _name(report: Report) -> str:
    period = parse_period(report.period)
    return f"{report.regime} {period.vi if period else report.period}"


def waiting_reports(connection: Connection) -> list[Waiting]:
    """Every frozen report of which no revision was sent, with the units that have not confirmed."""
    found = []
    stood = report_store.standings(connection)
    for report in report_store.all_reports(connection):
        takes = stood.get(report.report_id, [])
        if not takes or any(one.state in SENT for one in takes):
            continue
        take = report_store.newest(connection, report.report_id)
        assert take is not None
        confirmed = report_store.confirmations(connection, take)
        found.append(
            Waiting(report=report, take=take, unconfirmed=frozenset(take.units) - confirmed.keys())
        )
    return found


class Reminders:
    """Sends them, from `hour` on (of Viet Nam). `recipients` yields the addresses of each unit as they are now."""

    def __init__(
        self,
        *,
        lane: Lane,
        server: MailServer,
        hasher: Hasher,
        events: Events,
        calendar: WorkingCalendar,
        signers: Sequence[str],
        recipients: Callable[[], Mapping[str, Collection[str]]],
        days: Collection[int],
        hour: int,
    ) -> None:
        self._lane = lane
        self._server = server
        self._hasher = hasher
        self._events = events
        self._calendar = calendar
        self._signers = tuple(signers)
        self._recipients = recipients
        self._days = days
        self._hour = hour
        self._done: date | None = None
        self._again_at: datetime | None = None

    async def remind(self, now: datetime) -> None:
        """Mail whoever has something to do today, once. Raises `LedgerUnavailable`."""
        day = civil_day(now)
        early = now.astimezone(CIVIL_ZONE).hour < self._hour
        if early or day == self._done or (self._again_at is not None and now < self._again_at):
            return
        waiting = await self._lane.read(waiting_reports)
        told = lines(waiting, day, self._days, self._calendar)
        try:
            lists = self._lists(told)
        except (TableError, OSError) as error:
            self._failed(now, type(error).__name__, "everybody")
            return
        left = 0
        for addresses, about in lists.items():
            left += not await self._settled(now, addresses, about)
        if left == 0:
            self._done, self._again_at = day, None

    def _lists(self, told: Iterable[Line]) -> dict[tuple[str, ...], list[Line]]:
        """The lines of each list of addresses: units with the same ones share a mail."""
        units = self._recipients()
        found: dict[tuple[str, ...], list[Line]] = {}
        for line in told:
            who = self._signers if line.unit is None else units.get(line.unit, ())
            if who:
                found.setdefault(tuple(sorted(who)), []).append(line)
        return found

    async def _settled(self, now: datetime, addresses: Sequence[str], about: list[Line]) -> bool:
        """Whether this list needs no further try today."""
        day, claim_id = civil_day(now), secrets.token_hex(8)
        key = self._hasher.hash("report reminder", *addresses)
        label = ",".join(sorted({line.unit or "signers" for line in about}))
        message = await asyncio.to_thread(self._message, now, addresses, about, key)
        if not await self._lane.write(lambda c: mails.claim(c, day, key, claim_id)):
            return True
        try:
            refused = await self._server.send(message, addresses)
        except NotTaken as error:
            state = MailState.FAILED
            self._failed(now, str(error), label)
        except OutcomeUnknown as error:
            state = MailState.UNKNOWN
            self._events.mail_failed(about=label, why=str(error), wait=None)
        else:
            state = MailState.SENT
            self._events.mail_sent(about=label, refused=refused)
        await self._lane.write(lambda c: mails.settle(c, day, key, claim_id, state))
        return state is not MailState.FAILED

    def _failed(self, now: datetime, why: str, about: str) -> None:
        self._again_at = now + _AGAIN
        self._events.mail_failed(about=about, why=why, wait=_AGAIN.total_seconds())

    def _message(
        self, now: datetime, addresses: Sequence[str], about: Sequence[Line], key: str
    ) -> EmailMessage:
        made = EmailMessage(policy=SMTP)
        made["Subject"] = f"Nhắc việc báo cáo định kỳ ngày {civil_day(now):%d/%m/%Y}"
        made["From"] = self._server.sender
        made["To"] = ", ".join(addresses)
        made["Date"] = format_datetime(now.astimezone(CIVIL_ZONE))
        domain = self._server.sender.rpartition("@")[2]
        made["Message-ID"] = f"<{civil_day(now):%Y%m%d}.{key}@{domain}>"
        made["Auto-Submitted"] = "auto-generated"
        made["Content-Language"] = "vi"
        body = "\n\n".join(f"- {line.text}" for line in about)
        made.set_content(
            f"{body}\n\nThư tự động của ThôngSuốt; chỉ có mã và số, không có dữ liệu cá nhân.\n"
            "Reminder of periodic reports, sent by the hub.\n"
        )
        return made
