"""What the reporting system sends: definitions into the ledger, answers to the reports that they are about.

A page is dealt with as a whole: first its answers, each of which the reports take once however often it comes, then
in one transaction the definitions, the packets that were refused, and how far was read. Whoever dies in between reads
the page again and changes nothing twice. A packet that cannot be understood is kept, sealed, with its reason, and
holds up nobody behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from sqlalchemy import Connection

from connectors.errors import DeliveryError, MisconfiguredError, TransientError
from monitoring.events import Events
from schemas.ledger import regimes
from schemas.ledger.database import Lane
from schemas.ledger.regimes import CursorMoved, RefusedPacket
from schemas.ledger.report_store import Actor
from schemas.reports.canonical import ContentError
from schemas.reports.kinds import PacketKind
from schemas.reports.packets import Content, ReportState, ReportStatus, canonical, kind_of
from schemas.reports.regimes import key_of
from schemas.reports.states import Answer
from schemas.sealing import Sealer

SOURCE = "gov_reporting"
FEED = "inbox"

_PATIENCE_SECONDS = 5.0
_MOST_PATIENCE_SECONDS = 300.0
_NOTHING_NEW_SECONDS = 30.0

ACTOR = Actor(name="Hệ thống báo cáo", account=SOURCE, signed_in=True)
"""Who answers: the reporting system itself, through its connector."""


class Refusal(StrEnum):
    """Why a packet is not taken."""

    UNREADABLE = "unreadable"  # no packet, or one that holds something else than its kind does
    NOT_FOR_US = (
        "not_for_us"  # a kind that only the province sends, or a state that only the province sets
    )
    ID_REUSED = "id_reused"  # the same packet as before, with another content


class Arrived(Protocol):
    """A packet as it was fetched. `number` is the sender's, the same when a page is read again; `raw` its bytes."""

    @property
    def number(self) -> str: ...
    @property
    def raw(self) -> bytes: ...


@runtime_checkable
class Understood(Arrived, Protocol):
    """One that was understood."""

    @property
    def content(self) -> Content: ...


@runtime_checkable
class NotUnderstood(Arrived, Protocol):
    """One that was not. `detail` names the element, never what stands in it."""

    @property
    def detail(self) -> str: ...


class Page(Protocol):
    """Some packets, how far was read with them, and whether there are more now."""

    @property
    def packets(self) -> Sequence[Understood | NotUnderstood]: ...
    @property
    def cursor(self) -> str | None: ...
    @property
    def more(self) -> bool: ...


class Mailbox(Protocol):
    """The reporting system's outbox towards us."""

    async def read(self, cursor: str | None) -> Page:
        """What came after a place; from the beginning without one. Packets move the cursor. Raises `DeliveryError`."""
        ...


class AnswerTaken(Protocol):
    """What became of an answer; without a state it is about nothing of ours."""

    @property
    def new(self) -> bool: ...


class Answers(Protocol):
    """Takes what the reporting system says of a report: `streams.reporting.approvals.Desk`."""

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
    ) -> AnswerTaken:
        """Taken once for each `answer_id`."""
        ...


@dataclass(frozen=True, slots=True)
class _Sorted:
    """The packets of a page, by what is done with them."""

    definitions: list[tuple[str, Content]]
    answers: list[tuple[str, ReportStatus]]
    refused: list[tuple[Arrived, Refusal, str]]


class Inbox:
    """Fetches page by page. Only one process should; two do no harm, because one of them moves the cursor.

    `wall` tells the time, `clock` seconds that never go back. Times in seconds.
    """

    def __init__(
        self,
        *,
        mailbox: Mailbox,
        lane: Lane,
        answers: Answers,
        sealer: Sealer,
        events: Events,
        wall: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
        every: float = _NOTHING_NEW_SECONDS,
    ) -> None:
        self._mailbox = mailbox
        self._lane = lane
        self._answers = answers
        self._sealer = sealer
        self._events = events
        self._wall = wall
        self._clock = clock
        self._every = every
        self._not_before = 0.0
        self._patience = _PATIENCE_SECONDS
        self.waits_for: str | None = None
        """What keeps it from fetching, for `/live`: a word of the closed list of reasons."""

    async def turn(self) -> bool:
        """Fetch one page, unless there is a reason to wait. Returns whether there is more to do at once.

        Never waits itself. Raises `LedgerUnavailable`.
        """
        if self._clock() < self._not_before:
            return False
        if self._sealer.due(self._wall()):
            await self._sealer.refresh(self._wall())
        cursor = await self._lane.read(lambda c: regimes.cursor(c, SOURCE, FEED))
        try:
            page = await self._mailbox.read(cursor)
        except DeliveryError as error:
            self._wait(error)
            return False
        self._patience, self.waits_for = _PATIENCE_SECONDS, None
        if page.cursor is not None and page.cursor != cursor:
            await self._take(cursor, page.cursor, page)
        if not page.more:
            self._not_before = self._clock() + self._every
        return page.more

    def _wait(self, error: DeliveryError) -> None:
        wait = self._patience
        if isinstance(error, MisconfiguredError):
            wait = _MOST_PATIENCE_SECONDS  # a person must act: asking sooner helps nobody
        elif isinstance(error, TransientError) and error.retry_after is not None:
            wait = max(wait, error.retry_after)
        self._patience = min(self._patience * 2, _MOST_PATIENCE_SECONDS)
        self._not_before = self._clock() + wait
        self.waits_for = error.reason.value
        self._events.report_inbox_waits(reason=error.reason.value, wait=wait)

    async def _take(self, cursor: str | None, new: str, page: Page) -> None:
        found = _sorted(page.packets)
        now = self._wall()
        for packet_id, status in found.answers:
            await self._answer(packet_id, status, now)
        outcomes = await self._keep(cursor, new, page, found, now)
        if outcomes is None:
            return  # another process was faster
        kinds = {packet_id: kind_of(content).value for packet_id, content in found.definitions}
        for packet_id, outcome in outcomes.items():
            self._events.report_packet_received(
                outcome=outcome, packet_id=packet_id, kind=kinds[packet_id]
            )
        for arrived, reason, detail in found.refused:
            self._events.report_packet_refused(
                packet_id=arrived.number, reason=reason.value, detail=detail
            )

    async def _answer(self, packet_id: str, status: ReportStatus, now: datetime) -> None:
        outcome = "noted"  # that it was received, our own delivery has told
        answer = _ANSWERS.get(status.state)
        if answer is not None:
            taken = await self._answers.take_answer(
                answer_id=packet_id,
                stream_id=status.report_id,
                revision=status.about_revision,
                answer=answer,
                reason="; ".join(status.reasons) or None,
                received_at=now,
                origin="packet",
                actor=ACTOR,
            )
            outcome = "answered" if taken.new else "known"
        self._events.report_packet_received(
            outcome=outcome, packet_id=packet_id, kind=PacketKind.STATUS.value
        )

    async def _keep(
        self, cursor: str | None, new: str, page: Page, found: _Sorted, now: datetime
    ) -> dict[str, str] | None:
        """What became of each definition; None: somebody else has read on meanwhile, and nothing was written."""
        bodies = {arrived.number: arrived for arrived in page.packets}

        def work(connection: Connection) -> tuple[dict[str, str], list[str]]:
            regimes.move_cursor(connection, SOURCE, FEED, cursor, new)
            outcomes, reused = {}, []
            for packet_id, content in found.definitions:
                taken = regimes.put_catalogue(connection, packet_id, content, now)
                if not taken.same:
                    reused.append(packet_id)
                    self._refuse(connection, bodies[packet_id], Refusal.ID_REUSED, "", now)
                else:
                    outcomes[packet_id] = "defined" if taken.new else "known"
            for arrived, reason, detail in found.refused:
                self._refuse(connection, arrived, reason, detail, now)
            return outcomes, reused

        try:
            outcomes, reused = await self._lane.write(work)
        except CursorMoved:
            return None
        found.refused.extend((bodies[one], Refusal.ID_REUSED, "") for one in reused)
        return outcomes

    def _refuse(
        self, connection: Connection, arrived: Arrived, reason: Refusal, detail: str, now: datetime
    ) -> None:
        regimes.put_refused(
            connection,
            RefusedPacket(
                packet_id=arrived.number,
                reason=reason.value,
                detail=detail,
                sealed=self._sealer.seal(arrived.raw, sealed_with(arrived.number)),
                received_at=now,
            ),
        )


def sealed_with(packet_id: str) -> str:
    """The associated data of a refused packet's bytes."""
    return f"{SOURCE}/{packet_id}"


def _sorted(packets: Sequence[Understood | NotUnderstood]) -> _Sorted:
    found = _Sorted([], [], [])
    for one in packets:
        if isinstance(one, NotUnderstood):
            found.refused.append((one, Refusal.UNREADABLE, one.detail))
        elif isinstance(one.content, ReportStatus):
            if (
                one.content.state is ReportState.WITHDRAWN
            ):  # only the sender of a report withdraws it
                found.refused.append((one, Refusal.NOT_FOR_US, "state"))
            else:
                found.answers.append((one.number, one.content))
        else:
            try:
                key_of(one.content)
                canonical(one.content)
            except ContentError as error:  # a text that is no UTF-8, a number too large
                found.refused.append((one, Refusal.UNREADABLE, str(error)))
            except ValueError:
                found.refused.append((one, Refusal.NOT_FOR_US, "kind"))
            else:
                found.definitions.append((one.number, one.content))
    return found


_ANSWERS = {
    ReportState.ACCEPTED: Answer.ACCEPTED,
    ReportState.RETURNED: Answer.RETURNED,
    ReportState.CORRECTION_ASKED: Answer.CORRECTION_ASKED,
}
