"""The daily mail: to whom, when, once; what happens when the server, the ledger or the process is gone.

Judged by what a real mail server on a real connection was given. The clock is set by the tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from monitoring.health import Health
from schemas.dossier.mappings import CodeList
from schemas.dossier.status import Status
from schemas.ledger.database import Lane
from schemas.ledger.mails import MailState
from schemas.ledger.model import LedgerUnavailable
from schemas.sealing import Hasher
from streams.app import parts
from streams.mail import MailServer
from streams.recipients import Recipients
from streams.settings import PREFIX, Settings
from streams.singleton import Singleton
from streams.today import LISTED_OF_PROVINCE, Post, look
from streams.today_mail import TodayMail, window
from streams.topology import WorkerPart
from tests.unit.dossier.samples import CALENDAR, at
from tests.unit.rates.counted import Hall, Story, hall, mapping
from tests.unit.streams.kit import RecordingLogger, events
from tests.unit.streams.smtp_server import SmtpServer, Taken, listening
from tests.unit.streams.test_settings import GOOD

PROVINCE, UNIT = "province@x.vn", "unit@x.vn"
WEDNESDAY = "2026-03-04"
HASHER = Hasher(b"h" * 32)


@dataclass
class Office:
    """A ledger with dossiers, a mail server, and a clock that the test sets."""

    ours: Hall
    server: SmtpServer
    settings: Settings
    log: RecordingLogger = field(default_factory=RecordingLogger)
    now: datetime = field(default_factory=lambda: at(f"{WEDNESDAY} 07:30"))
    parts: list[TodayMail] = field(default_factory=list)

    def post(self, lane: Lane | None = None) -> Post:
        return Post(lane or self.ours.lane, MailServer(self.settings.mail), HASHER)

    def part(self, *, owner: str = "a", post: Post | None = None, hour: int = 7) -> TodayMail:
        part = TodayMail(
            settings=self.settings,
            hour=hour,
            lane=self.ours.lane,
            decode=self.ours.decode,
            post=post or self.post(),
            singleton=Singleton(self.ours.ledger, "today", owner, silence=30),
            events=events(self.log),
            wall=lambda: self.now,
            turn=0.01,
            retry_first=60,
        )
        self.parts.append(part)
        return part

    @asynccontextmanager
    async def running(self, **options: Any) -> AsyncIterator[TodayMail]:
        part = self.part(**options)
        task = asyncio.create_task(part.run())
        try:
            yield part
        finally:
            part.stop()
            await asyncio.wait_for(task, 20)

    async def until(self, so: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not so():
                await asyncio.sleep(0.005)

    async def turns(self, part: TodayMail, number: int = 5) -> None:
        """Let the loop turn so often, so that what it would have done is done."""
        end = part.beats + number
        await self.until(lambda: part.beats >= end)

    def to(self, address: str) -> list[Taken]:
        return [mail for mail in self.server.mails if address in mail.recipients]


@pytest.fixture
async def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Office]:
    recipients = tmp_path / "recipients.csv"
    recipients.write_text(f"agency,address\nH12.02,{UNIT}\n", encoding="utf-8")
    async with hall(tmp_path) as ours, listening(SmtpServer()) as server:
        rows = [mapping(CodeList.STATUS, status.value, status.value) for status in Status]
        rows += [mapping(CodeList.AGENCY, code, code) for code in ("H12.01", "H12.02")]
        await ours.ledger.put_mappings(rows)
        for unit in ("H12.01", "H12.02"):
            story = Story(
                f"due-{unit}",
                (("received", "2026-03-02 09:00"),),
                due=f"{WEDNESDAY} 17:00",
                unit=unit,
            )
            await ours.put(*story.events())
        while await ours.refresh():
            pass
        given = {
            **GOOD,
            "MAIL__HOST": "127.0.0.1",
            "MAIL__PORT": str(server.port),
            "MAIL__SECURITY": "none",
            "MAIL__SENDER": "hub@x.vn",
            "MAIL__TO": PROVINCE,
            "MAIL__HOUR": "7",
            "REFERENCE__RECIPIENTS_FILE": str(recipients),
        }
        for name, value in given.items():
            monkeypatch.setenv(PREFIX + name, value)
        yield Office(ours, server, Settings())  # type: ignore[call-arg] # from the environment


# --- what is sent ------------------------------------------------------------------------------------


async def test_each_list_gets_its_mail_with_text_and_page(office: Office) -> None:
    async with office.running():
        await office.until(lambda: len(office.server.mails) == 2)
    (whole,), (unit,) = office.to(PROVINCE), office.to(UNIT)
    assert whole.sender == "hub@x.vn"
    assert whole.message["Subject"].startswith(
        "Hôm nay còn cứu được, thứ Tư 04/03/2026: 0 chờ tiếp nhận, 2 đến hạn"
    )
    assert whole.message["Date"] == "Wed, 04 Mar 2026 07:30:00 +0700"
    assert whole.message.get_content_type() == "multipart/alternative"
    for kind in ("plain", "html"):
        assert "H12.01-due-H12.01" in whole.part(kind)
        assert "H12.02-due-H12.02" in whole.part(kind)
        assert "H12.02-due-H12.02" in unit.part(kind)
        assert "H12.01-due" not in unit.part(kind), "another unit's dossiers"
    assert unit.message["Subject"].count("1 đến hạn") == 1
    assert office.log.of("mail_sent") == [
        {"about": "province", "refused": 0},
        {"about": "H12.02", "refused": 0},
    ]


async def test_the_mail_about_the_province_lists_few_of_each_unit(office: Office) -> None:
    for number in range(LISTED_OF_PROVINCE):
        story = Story(
            f"more{number}",
            (("received", "2026-03-02 09:00"),),
            due=f"{WEDNESDAY} 16:0{number}",
            unit="H12.02",
        )
        await office.ours.put(*story.events())
    while await office.ours.refresh():
        pass
    async with office.running():
        await office.until(lambda: len(office.server.mails) == 2)
    (whole,), (unit,) = office.to(PROVINCE), office.to(UNIT)
    last = f"H12.02-due-H12.02 | 17:00 {WEDNESDAY[8:]}/{WEDNESDAY[5:7]}/2026 | còn"
    assert last not in whole.part("plain")
    assert "Đến hạn trả kết quả: 6" in whole.part("plain")
    assert last in unit.part("plain")


async def test_no_address_reaches_the_log(office: Office) -> None:
    office.server.refused = {UNIT}
    async with office.running():
        await office.until(lambda: bool(office.log.of("mail_failed")))
    assert "@" not in str(office.log.lines)


async def test_of_two_mails_of_a_day_the_id_is_the_same_and_of_two_days_not(
    office: Office,
) -> None:
    ids = []
    for now in ("2026-03-04 07:30", "2026-03-04 09:00", "2026-03-05 07:30"):
        today = await look_at(office, now)
        made = office.post()._message(today, Recipients((PROVINCE,), None), "key")
        ids.append(made["Message-ID"])
    assert ids[0] == ids[1] != ids[2]


async def look_at(office: Office, now: str) -> Any:
    from streams.reference import read_reference

    reference = read_reference(office.settings.reference)
    return await look(office.ours.lane, office.ours.decode, reference, at(now))


# --- when --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "hour", "sent"),
    [
        pytest.param("2026-03-04 06:59", 7, False, id="before the hour"),
        pytest.param("2026-03-04 07:00", 7, True, id="at the hour"),
        pytest.param("2026-03-04 16:59", 7, True, id="late, before the close of work"),
        pytest.param("2026-03-04 17:00", 7, False, id="after the close of work"),
        pytest.param("2026-03-04 18:30", 18, True, id="an hour that begins after work"),
        pytest.param("2026-03-04 19:00", 18, False, id="an hour later"),
        pytest.param("2026-03-07 07:30", 7, False, id="Saturday"),
        pytest.param("2026-02-17 07:30", 7, False, id="the New Year's holiday"),
        pytest.param("2026-04-30 07:30", 7, False, id="30 April, a Thursday"),
    ],
)
async def test_mails_go_out_at_the_hour_of_a_working_day(
    office: Office, now: str, hour: int, sent: bool
) -> None:
    office.now = at(now)
    async with office.running(hour=hour) as part:
        await office.turns(part)
        if sent:
            await office.until(lambda: len(office.server.mails) == 2)
    assert bool(office.server.mails) is sent


async def test_every_working_day_has_its_mail(office: Office) -> None:
    async with office.running() as part:
        for day, number in (("2026-03-04", 2), ("2026-03-05", 4), ("2026-03-06", 6)):
            office.now = at(f"{day} 07:05")
            await office.until(lambda n=number: len(office.server.mails) == n)  # type: ignore[misc]
        office.now = at("2026-03-07 07:05")
        await office.turns(part)
    assert len(office.server.mails) == 6


def test_the_window_of_a_day() -> None:
    assert window(date(2026, 3, 4), 7, CALENDAR) == (
        at("2026-03-04 07:00"),
        at("2026-03-04 17:00"),
    )
    assert window(date(2026, 3, 8), 7, CALENDAR) is None


# --- once --------------------------------------------------------------------------------------------


async def test_a_restarted_worker_sends_nothing_again(office: Office) -> None:
    async with office.running(owner="a"):
        await office.until(lambda: len(office.log.of("mail_sent")) == 2)
    async with office.running(owner="b") as part:
        await office.turns(part)
    assert len(office.server.mails) == 2


async def test_of_two_workers_one_sends(office: Office) -> None:
    async with office.running(owner="a") as one, office.running(owner="b") as other:
        await office.until(lambda: len(office.server.mails) == 2)
        await office.turns(one)
        await office.turns(other)
    assert len(office.server.mails) == 2


class Died(BaseException):
    """The process is gone: nothing of it runs any more."""


class DyingServer(MailServer):
    """Dies before or after it has handed a mail over."""

    def __init__(self, settings: Settings, *, after: bool) -> None:
        super().__init__(settings.mail)
        self._after = after

    async def send(self, message: EmailMessage, addresses: Any) -> int:
        if self._after:
            await super().send(message, addresses)
        raise Died


@pytest.mark.parametrize(("after", "arrived"), [(False, 0), (True, 1)])
async def test_who_dies_while_sending_leaves_at_most_one_mail(
    office: Office, after: bool, arrived: int
) -> None:
    """The list in hand is not sent again, whichever side of the server's answer it was; the other one is."""
    dying = Post(office.ours.lane, DyingServer(office.settings, after=after), HASHER)
    part = office.part(owner="a", post=dying)
    with pytest.raises(Died):
        await part.run()
    async with office.running(owner="b") as part:
        await office.until(lambda: len(office.to(UNIT)) == 1)
        await office.turns(part)
    assert len(office.to(PROVINCE)) == arrived
    (told,) = office.log.of("mail_failed")
    assert (told["about"], told["wait"]) == ("province", None)


async def test_a_note_that_cannot_be_written_leaves_one_mail(office: Office) -> None:
    """The server has taken it and the ledger is away: it is not handed over again."""

    class Forgetful(Lane):
        away = False

        async def write(self, work: Any, *, unhurried: bool = False) -> Any:
            if self.away:
                raise LedgerUnavailable("away")
            self.away = True
            return await super().write(work, unhurried=unhurried)

    url = str(office.ours.lane._engine.url)
    lane = Forgetful(url, "forgetful", seconds=None)
    today = await look_at(office, f"{WEDNESDAY} 07:30")
    to = Recipients((PROVINCE,), None)
    try:
        with pytest.raises(LedgerUnavailable):
            await office.post(lane).send(today, to)
    finally:
        await lane.close()
    assert (await office.post().send(today, to)).state is None
    assert len(office.server.mails) == 1


async def test_a_connection_that_breaks_in_the_end_is_not_tried_again(office: Office) -> None:
    office.server.hang_up_after_data = True
    async with office.running() as part:
        await office.until(lambda: len(office.log.of("mail_failed")) == 2)
        office.now += timedelta(hours=2)
        await office.turns(part)
    assert [len(office.to(one)) for one in (PROVINCE, UNIT)] == [1, 1]
    assert [told["wait"] for told in office.log.of("mail_failed")] == [None, None]


# --- tried again -------------------------------------------------------------------------------------


async def test_what_was_refused_is_tried_again_after_a_pause(office: Office) -> None:
    office.server.answers = {"MAIL": "451 later"}
    async with office.running() as part:
        await office.until(lambda: len(office.log.of("mail_failed")) == 2)
        office.server.answers = {}
        office.now += timedelta(seconds=59)
        await office.turns(part)
        assert office.server.mails == []
        office.now += timedelta(seconds=1)
        await office.until(lambda: len(office.server.mails) == 2)
    assert [told["wait"] for told in office.log.of("mail_failed")] == [60, 60]


async def test_only_the_list_that_failed_is_sent_again(office: Office) -> None:
    office.server.refused = {UNIT}
    async with office.running():
        await office.until(lambda: len(office.log.of("mail_failed")) == 1)
        office.server.refused = set()
        office.now += timedelta(seconds=60)
        await office.until(lambda: len(office.server.mails) == 2)
    assert [len(office.to(one)) for one in (PROVINCE, UNIT)] == [1, 1]


async def test_the_pauses_double_and_end_with_the_working_day(office: Office) -> None:
    office.server.answers = {"MAIL": "451 later"}
    async with office.running() as part:
        for tries in range(1, 6):
            await office.until(lambda n=2 * tries: len(office.log.of("mail_failed")) == n)  # type: ignore[misc]
            office.now += timedelta(seconds=60 * 2 ** (tries - 1))
        waits = [told["wait"] for told in office.log.of("mail_failed")]
        assert waits == [60, 60, 120, 120, 240, 240, 480, 480, 600, 600]
        office.now = at(f"{WEDNESDAY} 17:00")
        await office.until(lambda: bool(office.log.of("mails_given_up")))
        office.server.answers = {}
        await office.turns(part)
    (told,) = office.log.of("mails_given_up")
    assert told["day"] == WEDNESDAY
    assert office.server.mails == []


async def test_a_broken_file_is_told_and_mended_while_it_runs(office: Office) -> None:
    file = office.settings.reference.recipients_file
    assert file is not None
    file.write_text("agency,address\nH12.99,unit@x.vn\n", encoding="utf-8")
    async with office.running():
        await office.until(lambda: bool(office.log.of("mail_failed")))
        file.write_text("agency,address\nH12.02,unit@x.vn\n", encoding="utf-8")
        office.now += timedelta(seconds=60)
        await office.until(lambda: len(office.server.mails) == 2)
    assert "agency" in office.log.of("mail_failed")[0]["why"]


async def test_nobody_to_send_to_is_told_once_a_day(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PREFIX + "MAIL__TO")
    monkeypatch.delenv(PREFIX + "REFERENCE__RECIPIENTS_FILE")
    office.settings = Settings()  # type: ignore[call-arg] # from the environment
    async with office.running() as part:
        await office.until(lambda: bool(office.log.of("mails_given_up")))
        await office.turns(part)
    (told,) = office.log.of("mails_given_up")
    assert "THONGSUOT_MAIL__TO" in told["why"]


async def test_while_another_one_is_at_it_it_stands_by(office: Office) -> None:
    async with office.running(owner="a") as first:
        await office.until(lambda: len(office.server.mails) == 2)
        async with office.running(owner="b") as second:
            await office.turns(second)
            assert (first.waits_for, second.waits_for) == (None, "another owner")


async def test_what_became_of_each_list_can_be_asked(office: Office) -> None:
    office.server.refused = {UNIT}
    lists = [Recipients((PROVINCE,), None), Recipients((UNIT,), ("H12.02",))]
    assert list((await office.post().states(lists, office.now)).values()) == [None, None]
    async with office.running():
        await office.until(lambda: bool(office.log.of("mail_failed")))
    states = await office.post().states(lists, office.now)
    assert list(states.values()) == [MailState.SENT, MailState.FAILED]


# --- as a part of the worker -------------------------------------------------------------------------


@pytest.mark.parametrize(("hour", "mails"), [("7", 2), ("off", 0)])
async def test_a_worker_has_the_part_only_when_an_hour_is_set(
    office: Office, monkeypatch: pytest.MonkeyPatch, hour: str, mails: int
) -> None:
    monkeypatch.setenv(f"{PREFIX}MAIL__HOUR", hour)
    monkeypatch.setenv(f"{PREFIX}LEDGER_URL", str(office.ours.lane._engine.url))
    hub: Any = SimpleNamespace(
        settings=Settings(),  # type: ignore[call-arg] # from the environment
        owner="a",
        ledger=office.ours.ledger,
        hasher=HASHER,
        decode_event=office.ours.decode,
        upkeep=office.part(),  # any part will do
        events=events(office.log),
        health=Health(),
        wall=lambda: office.now,
    )
    async with parts(hub, {WorkerPart.TODAY}) as found:
        running = [part for name, part in found if name == "today"]
        tasks = [asyncio.create_task(part.run()) for part in running]
        await office.until(lambda: len(office.server.mails) == mails)
        for part in running:
            part.stop()
        await asyncio.gather(*tasks)
    assert len(running) == (1 if mails else 0)
    assert len(office.server.mails) == mails
