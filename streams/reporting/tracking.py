"""Keeps what form II.06 is counted from up to date: follows every dossier's events behind the ledger's flow.

Event by event in the order of the log, so that what was known at each record time is there to be counted; it
makes no difference whether it follows after every event or once at the end. When code mappings change, every
life is read anew, and what comes out is known from that moment on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from schemas.codec import UndecodableMessage
from schemas.dossier.mappings import Codes
from schemas.ledger import report_spans
from schemas.ledger.database import Lane
from schemas.ledger.dialect import clock, to_moment
from schemas.ledger.figures import FOREVER
from schemas.ledger.report_spans import (
    RULES_CHANGED,
    Followed,
    Kept,
    Stretch,
    Tracked,
    UnreadEvent,
    closed_at,
)
from schemas.records import DossierEvent
from schemas.reports.lives import Life, Trouble, as_text, from_text, known, told, unreadable
from schemas.reports.standings import LAST_DAY, Span
from schemas.topics import DOSSIER_EVENTS

VERSION = 1
"""Raised whenever the code reads lives otherwise: then all are read anew."""

AT_ONCE = 500
"""How many events, or dossiers of other rules, one refresh takes up."""

Decode = Callable[[bytes], Awaitable[DossierEvent]]
"""From an event's payload to the event; raises what the codec raises."""

_TICK = timedelta(microseconds=1)
_NEW = as_text(Life())


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """By what lives are read."""

    codes: Codes

    @property
    def name(self) -> str:
        """What is written beside a life; another name, and it is read anew."""
        return f"{VERSION}/codes {self.codes.version}"


async def refresh(lane: Lane, decode: Decode, rules: Rules, limit: int = AT_ONCE) -> int:
    """Follow at most `limit` events, and read anew lives of other rules if events do not fill it.

    Returns how many it took up: fewer than `limit`, and all is done. May be stopped at any time and run beside
    another. Raises `LedgerUnavailable`, and what `decode` raises but for `UndecodableMessage`: of such an event
    the life is marked, and counts as far as it is known.
    """
    stretches = await lane.read(lambda c: report_spans.unread(c, DOSSIER_EVENTS.name, limit))
    taken = sum(len(stretch.events) for stretch in stretches)
    if stretches:
        read = await _decoded((e for stretch in stretches for e in stretch.events), decode)
        await lane.write(lambda c: _follow(c, stretches, read, rules))
    if taken < limit:
        taken += await lane.write(lambda c: _read_anew(c, rules, limit - taken))
    return taken


async def behind(lane: Lane, rules: Rules | None = None) -> int:
    """How many dossiers are not followed up to now, or (with `rules`) were read by other ones."""
    name = rules.name if rules else None
    return await lane.read(lambda c: report_spans.waiting(c, DOSSIER_EVENTS.name, name))


async def seal(lane: Lane, known_at: datetime) -> None:
    """Let nothing become known at or before this moment from now on: to be called before it is counted

    for figures that are frozen. An event that was recorded by then and is followed later is known after it: a
    later revision tells of it. Raises `NotYet` for a moment to come, and `LedgerUnavailable`.
    """
    await lane.write(lambda c: report_spans.seal(c, known_at))


async def _decoded(
    unread: Iterable[UnreadEvent], decode: Decode
) -> Mapping[bytes, DossierEvent | None]:
    """By payload; None where the bytes are no event."""
    found: dict[bytes, DossierEvent | None] = {}
    for one in unread:
        try:
            found[one.payload] = await decode(one.payload)
        except UndecodableMessage:
            found[one.payload] = None
    return found


def _follow(
    connection: Connection,
    stretches: Sequence[Stretch],
    read: Mapping[bytes, DossierEvent | None],
    rules: Rules,
) -> None:
    horizon = report_spans.horizon(connection)
    waiting: dict[str, list[UnreadEvent]] = defaultdict(list)
    for stretch in report_spans.claim(connection, stretches):
        for one in stretch.events:
            waiting[one.dossier_id].append(one)
    before = report_spans.tracked(connection, waiting)
    followed: list[Followed] = []
    for dossier_id, new in sorted(waiting.items()):
        tracked = before.get(dossier_id)
        if tracked is None:
            tracked = Tracked(dossier_id=dossier_id, known_at=horizon, life=_NEW)
        following = _Following(tracked, horizon)
        for one in new:
            following.tell(one, read[one.payload], rules.codes)
        followed.append(following.result(rules))
    report_spans.put(connection, followed)


def _read_anew(connection: Connection, rules: Rules, limit: int) -> int:
    horizon = report_spans.horizon(connection)
    outdated = report_spans.of_other_rules(connection, rules.name, limit)
    now = to_moment(clock(connection)) if outdated else horizon
    followed = []
    for tracked in outdated:
        following = _Following(tracked, horizon)
        following.know(now, RULES_CHANGED, rules.codes)
        followed.append(following.result(rules))
    report_spans.put(connection, followed)
    return len(outdated)


class _Following:
    """One dossier while it is followed: its life, and the rows that say what is known of it."""

    def __init__(self, tracked: Tracked, horizon: datetime) -> None:
        self._tracked = tracked
        self._horizon = horizon
        self._life = from_text(tracked.life)
        self._known_at = tracked.known_at
        self._there = {row.key: row for row in tracked.rows}
        self._now = list(tracked.rows)  # what is known, whether it is there or added
        self._closed: list[Kept] = []
        self._added: dict[tuple[object, ...], Kept] = {}
        self._trouble: Trouble | None = None

    def tell(self, one: UnreadEvent, event: DossierEvent | None, codes: Codes) -> None:
        """Take one more event in; None: its bytes are none."""
        if event is None:
            self._life = unreadable(self._life)
            self.know(one.recorded_at, "unreadable", codes)
        else:
            self._life = told(self._life, event, one.log_pos)
            self.know(one.recorded_at, event.kind.value, codes)

    def know(self, at: datetime, cause: str, codes: Codes) -> None:
        """Let what the life comes to be known from this moment on, or as soon after it as can be.

        Each moment brings one knowledge: so rows can be told apart by it, and it makes no difference how many
        events are followed at once.
        """
        comes_to = known(self._life, codes)
        self._trouble = comes_to.trouble
        before = {(row.span, row.facts): row for row in self._now}
        after = [(span, comes_to.facts) for span in comes_to.spans]
        if list(before) == after:
            return
        moment = max(at, self._known_at + _TICK, self._horizon + _TICK)
        longer = {(_endless(row.span), row.facts): row for row in self._now}
        self._now = []
        for span, facts in after:
            row = before.pop((span, facts), None)
            if row is None:
                # A span that only ends sooner now was brought by what brought it before.
                was = longer.get((_endless(span), facts))
                is_cut = was is not None and span.ended_on < was.span.ended_on
                row = Kept(
                    known_from=moment,
                    known_until=FOREVER,
                    cause=was.cause if was is not None and is_cut else cause,
                    span=span,
                    facts=facts,
                )
                self._added[row.key] = row
            self._now.append(row)
        for row in before.values():
            if row.key in self._there:
                self._closed.append(closed_at(row, moment))
            else:
                self._added[row.key] = closed_at(row, moment)
        self._known_at = moment

    def result(self, rules: Rules) -> Followed:
        return Followed(
            dossier_id=self._tracked.dossier_id,
            known_at=self._known_at,
            rules=rules.name,
            trouble=self._trouble,
            life=as_text(self._life),
            closed=tuple(self._closed),
            added=tuple(self._added.values()),
        )


def _endless(span: Span) -> Span:
    return replace(span, ended_on=LAST_DAY)
