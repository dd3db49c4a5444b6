"""What the reporting system sends, taken in once, whatever dies in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connectors.errors import DeliveryError, MisconfiguredError, TransientError
from monitoring.metrics import Flow
from schemas.ledger import regimes
from schemas.ledger.database import Lane
from schemas.ledger.migrate import upgrade
from schemas.ledger.model import LedgerUnavailable
from schemas.ledger.report_store import Actor
from schemas.reasons import Reason
from schemas.reports.kinds import PacketKind
from schemas.reports.packets import Content, Outline, ReportState, ReportStatus
from schemas.reports.states import Answer
from schemas.sealing import Sealer
from streams.reporting.inbox import FEED, SOURCE, Inbox, sealed_with
from tests.unit.reporting.regimes_received import FORM, REGIME, WHOLE
from tests.unit.streams.kit import RecordingLogger, events

NOW = datetime(2026, 9, 20, 2, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Came:
    number: str
    content: Content
    raw: bytes = b"raw"


@dataclass(frozen=True)
class Garbage:
    number: str
    raw: bytes = "Nguyễn Văn Thử".encode()
    detail: str = "element=Ma: missing"


@dataclass(frozen=True)
class OnePage:
    packets: tuple[Came | Garbage, ...]
    cursor: str | None
    more: bool


@dataclass
class Outbox:
    """The reporting system's side: all packets in order, two on a page; and its moods."""

    packets: list[Came | Garbage] = field(default_factory=list)
    size: int = 2
    troubles: list[DeliveryError] = field(default_factory=list)
    asked: list[str | None] = field(default_factory=list)

    async def read(self, cursor: str | None) -> OnePage:
        self.asked.append(cursor)
        if self.troubles:
            raise self.troubles.pop(0)
        begin = int(cursor or 0)
        page = tuple(self.packets[begin : begin + self.size])
        end = begin + len(page)
        return OnePage(page, str(end) if page else cursor, end < len(self.packets))


@dataclass(frozen=True)
class Known:
    new: bool


@dataclass
class Reports:
    """Takes every answer once, as the store of reports does."""

    taken: dict[str, tuple[str, int, Answer, str | None]] = field(default_factory=dict)
    calls: int = 0

    async def take_answer(
        self,
        *,
        answer_id: str,
        stream_id: str,
        revision: int,
        answer: Answer,
        reason: str | None,
        received_at: datetime,
        origin: str,
        actor: Actor,
    ) -> Known:
        self.calls += 1
        new = answer_id not in self.taken
        self.taken.setdefault(answer_id, (stream_id, revision, answer, reason))
        return Known(new)


STATUS = ReportStatus(
    about_kind=PacketKind.FIGURES,
    about_regime="CDS",
    about_form="CDS.01",
    about_period="2026-08",
    about_agency="H44",
    about_revision=2,
    state=ReportState.ACCEPTED,
    reasons=(),
    decided_at=NOW,
    decided_by=None,
)


@dataclass
class Desk:
    """An inbox with everything around it; `at` is the clock."""

    lane: Lane
    outbox: Outbox = field(default_factory=Outbox)
    reports: Reports = field(default_factory=Reports)
    log: RecordingLogger = field(default_factory=RecordingLogger)
    at: float = 0.0

    def __post_init__(self) -> None:
        self.sealer = Sealer({"2026-09": b"k" * 32}, "2026-09")
        self.events = events(self.log)
        self.inbox = self.new()

    def new(self) -> Inbox:
        return Inbox(
            mailbox=self.outbox,
            lane=self.lane,
            answers=self.reports,
            sealer=self.sealer,
            events=self.events,
            wall=lambda: NOW,
            clock=lambda: self.at,
        )

    async def all(self) -> None:
        while await self.inbox.turn():
            pass

    async def cursor(self) -> str | None:
        return await self.lane.read(lambda c: regimes.cursor(c, SOURCE, FEED))

    async def received(self) -> list[Content]:
        return [one.content for one in await self.lane.read(regimes.received)]

    async def refused(self) -> list[tuple[str, str, str]]:
        found = await self.lane.read(lambda c: regimes.refused(c, 100))
        return sorted((one.packet_id, one.reason, one.detail) for one in found)

    def count(self, outcome: str) -> float:
        return self.events.metrics.events_processed[Flow.REPORTING, outcome]._value.get()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    upgrade(url)
    lane = Lane(url, "inbox", seconds=None)
    yield Desk(lane)
    await lane.close()


def sent(desk: Desk, *contents: Content) -> None:
    begin = len(desk.outbox.packets)
    desk.outbox.packets += [Came(f"n{begin + n}", one) for n, one in enumerate(contents)]


async def test_everything_is_taken_in_page_by_page_and_in_force(desk: Desk) -> None:
    sent(desk, *WHOLE)
    await desk.all()
    assert await desk.received() == list(WHOLE)
    assert (await desk.lane.read(regimes.catalogue)).regimes == {"CDS": REGIME}
    assert await desk.cursor() == "5"
    assert desk.outbox.asked == [None, "2", "4"]
    assert desk.count("defined") == 5


async def test_a_page_that_comes_again_changes_nothing(desk: Desk) -> None:
    """The hub was killed after it had answered for the reports, and before the cursor was moved."""
    sent(desk, STATUS, FORM)
    before = desk.lane.write

    async def dies(*_: object, **__: object) -> object:
        raise LedgerUnavailable("killed")

    desk.lane.write = dies  # type: ignore[method-assign]
    with pytest.raises(LedgerUnavailable):
        await desk.inbox.turn()
    desk.lane.write = before  # type: ignore[method-assign]
    assert await desk.cursor() is None
    await desk.all()
    assert len(desk.reports.taken) == 1
    assert desk.reports.calls == 2
    assert await desk.received() == [FORM]
    assert (desk.count("answered"), desk.count("known")) == (1, 1)


async def test_of_two_that_read_at_once_one_moves_on(desk: Desk) -> None:
    sent(desk, *WHOLE)
    other = desk.new()
    page = await desk.outbox.read(None)
    await desk.inbox.turn()
    await other._take(None, "2", page)
    assert await desk.received() == list(WHOLE[:2])
    assert await desk.cursor() == "2"
    assert desk.count("defined") == 2


async def test_what_cannot_be_understood_is_kept_sealed_and_holds_up_nobody(desk: Desk) -> None:
    desk.outbox.packets.append(Garbage("n0"))
    sent(desk, FORM)
    await desk.all()
    assert await desk.refused() == [("n0", "unreadable", "element=Ma: missing")]
    assert await desk.received() == [FORM]
    (one,) = await desk.lane.read(lambda c: regimes.refused(c, 10))
    assert "Thử".encode() not in one.sealed
    assert desk.sealer.open(one.sealed, sealed_with("n0")).decode() == "Nguyễn Văn Thử"
    assert "Thử" not in str(desk.log.lines)
    assert desk.count("refused") == 1


async def test_a_number_that_comes_with_another_content_is_refused(desk: Desk) -> None:
    desk.outbox.packets += [
        Came("n0", FORM),
        Came("n1", REGIME),
        Came("n0", replace(FORM, name="x")),
    ]
    await desk.all()
    assert await desk.received() == [FORM, REGIME]
    assert await desk.refused() == [("n0", "id_reused", "")]
    assert (desk.count("defined"), desk.count("refused")) == (2, 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (Outline(title="x", parts=()), "not_for_us"),
        (replace(STATUS, state=ReportState.WITHDRAWN), "not_for_us"),
        (replace(REGIME, name="\ud800"), "unreadable"),
    ],
)
async def test_what_nobody_sends_us_is_refused(desk: Desk, content: Content, reason: str) -> None:
    sent(desk, content, FORM)
    await desk.all()
    assert [(number, why) for number, why, _ in await desk.refused()] == [("n0", reason)]
    assert await desk.received() == [FORM]


@pytest.mark.parametrize(
    ("state", "answer"),
    [
        (ReportState.ACCEPTED, Answer.ACCEPTED),
        (ReportState.RETURNED, Answer.RETURNED),
        (ReportState.CORRECTION_ASKED, Answer.CORRECTION_ASKED),
    ],
)
async def test_an_answer_goes_to_the_report_that_it_is_about(
    desk: Desk, state: ReportState, answer: Answer
) -> None:
    sent(desk, replace(STATUS, state=state, reasons=("cột 5 sai", "cột 6 sai")))
    await desk.all()
    assert desk.reports.taken == {
        "n0": ("figures/CDS/CDS.01/2026-08/H44", 2, answer, "cột 5 sai; cột 6 sai")
    }
    assert await desk.cursor() == "1"


async def test_a_return_without_a_reason_is_taken_as_such(desk: Desk) -> None:
    sent(desk, replace(STATUS, state=ReportState.RETURNED))
    await desk.all()
    assert [one[3] for one in desk.reports.taken.values()] == [None]


async def test_that_a_report_was_received_is_noted_and_moves_nothing(desk: Desk) -> None:
    sent(desk, replace(STATUS, state=ReportState.RECEIVED))
    await desk.all()
    assert desk.reports.taken == {}
    assert desk.count("noted") == 1


async def test_nothing_new_is_not_asked_for_again_at_once(desk: Desk) -> None:
    assert not await desk.inbox.turn()
    assert not await desk.inbox.turn()
    assert desk.outbox.asked == [None]
    desk.at += 30
    sent(desk, FORM)
    await desk.inbox.turn()
    assert await desk.received() == [FORM]


async def test_trouble_is_waited_out_longer_each_time_and_told(desk: Desk) -> None:
    sent(desk, FORM)
    desk.outbox.troubles = [TransientError(Reason.TIMEOUT) for _ in range(3)]
    for wait in (5, 10, 20):
        assert not await desk.inbox.turn()
        assert desk.inbox.waits_for == "timeout"
        desk.at += wait - 0.5
        asked = len(desk.outbox.asked)
        await desk.inbox.turn()
        assert len(desk.outbox.asked) == asked
        desk.at += 0.5
    await desk.inbox.turn()
    assert desk.inbox.waits_for is None
    assert await desk.received() == [FORM]


async def test_what_the_target_asks_for_is_respected(desk: Desk) -> None:
    desk.outbox.troubles = [TransientError(Reason.TIMEOUT, retry_after=120)]
    await desk.inbox.turn()
    desk.at += 119
    await desk.inbox.turn()
    assert len(desk.outbox.asked) == 1
    desk.at += 1
    await desk.inbox.turn()
    assert len(desk.outbox.asked) == 2


async def test_a_wrong_setting_is_not_asked_about_every_moment(desk: Desk) -> None:
    desk.outbox.troubles = [MisconfiguredError(Reason.WRONG_CREDENTIALS)]
    await desk.inbox.turn()
    desk.at += 299
    await desk.inbox.turn()
    assert len(desk.outbox.asked) == 1
