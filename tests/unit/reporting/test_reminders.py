"""Who is reminded of which report on which day, and that a mail goes once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from schemas.sealing import Hasher
from streams.mail import MailServer
from streams.reporting.reminders import Reminders, lines, waiting_reports
from streams.settings import MailSettings
from tests.unit.dossier.samples import CALENDAR, at
from tests.unit.reporting.world import OFFICER, REPORT_ID, Province, province
from tests.unit.streams.kit import RecordingLogger, events
from tests.unit.streams.smtp_server import SmtpServer, listening

DAYS = (3, 1, 0)


@pytest.fixture
async def ours(tmp_path: Path) -> AsyncIterator[Province]:
    async with province(tmp_path) as opened:
        await opened.turn()
        opened.clock.set("2026-03-16 08:00")
        await opened.turn()
        yield opened


async def told(ours: Province, day: str) -> list[str | None]:
    """Of the report of March, which units (None: who signs) are reminded on a day."""
    waiting = [
        one for one in await ours.lane.read(waiting_reports) if one.report.report_id == REPORT_ID
    ]
    return [one.unit for one in lines(waiting, date.fromisoformat(day), DAYS, CALENDAR)]


@pytest.mark.parametrize(
    ("day", "units", "signer"),
    [
        ("2026-03-16", False, False),
        ("2026-03-17", True, False),  # three working days before Friday the 20th
        ("2026-03-18", False, False),
        ("2026-03-19", True, False),
        ("2026-03-20", True, True),  # its deadline; three before Wednesday the 25th
        ("2026-03-21", False, False),  # a Saturday
        ("2026-03-23", False, False),
        ("2026-03-24", False, True),
        ("2026-03-25", False, True),
        ("2026-03-26", False, True),  # overdue: every working day
        ("2026-03-27", False, True),
    ],
)
async def test_reminders_count_back_in_working_days(
    ours: Province, day: str, units: bool, signer: bool
) -> None:
    expected = [*(["H12.01", "H12.02"] if units else []), *([None] if signer else [])]
    assert await told(ours, day) == expected


async def test_who_has_confirmed_is_not_reminded_and_nobody_is_of_what_was_sent(
    ours: Province,
) -> None:
    await ours.desk().confirm(REPORT_ID, "H12.01", OFFICER)
    assert await told(ours, "2026-03-19") == ["H12.02"]
    await ours.sent()
    assert await told(ours, "2026-03-24") == []


async def test_each_list_gets_one_mail_a_day_and_not_before_the_hour(ours: Province) -> None:
    async with listening(SmtpServer()) as server:
        settings: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": server.port,
            "security": "none",
            "sender": "hub@x.vn",
        }

        def reminders() -> Reminders:
            return Reminders(
                lane=ours.lane,
                server=MailServer(MailSettings(**settings)),
                hasher=Hasher(b"h" * 32),
                events=events(RecordingLogger()),
                calendar=CALENDAR,
                signers=("head@x.vn",),
                recipients=lambda: {"H12.01": {"unit@x.vn"}},
                days=DAYS,
                hour=8,
            )

        first = reminders()
        await first.remind(at("2026-03-20 07:59"))
        assert server.mails == []
        for service in (first, first, reminders()):
            await service.remind(at("2026-03-20 08:00"))
        got = sorted(mail.recipients[0] for mail in server.mails)
        assert got == ["head@x.vn", "unit@x.vn"]
        (unit,) = [mail for mail in server.mails if "unit@x.vn" in mail.recipients]
        body = unit.message.get_content()
        assert "đơn vị H12.01 chưa xác nhận số liệu, hạn 20/03/2026" in body.replace("\n", " ")
