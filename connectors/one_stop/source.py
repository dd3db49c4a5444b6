"""The one-stop system as a `Source`: pages of notices from three feeds over one mechanism.

A feed finds touched dossiers; each is read whole in the page's snapshot and compared with what the
capture remembers of it; the comparison yields the notices.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import orjson

from connectors.one_stop.check import find_problems
from connectors.one_stop.client import OneStopDatabase, format_local, parse_local
from connectors.one_stop.compare import Compared, Comparison, Draft, dossier_id_of
from connectors.one_stop.config import OneStopSettings
from connectors.one_stop.feeds import (
    Touched,
    newest_action,
    require_same_source,
    touched_by_actions,
    touched_by_changes,
    touched_by_sweep,
)
from connectors.one_stop.importer import read_mappings
from connectors.one_stop.snapshot import DossierSnapshot, read_dossiers
from connectors.protocols import CaptureMemory, Page
from schemas.dossier.mappings import MappingRow
from schemas.ledger.model import SeenRow
from schemas.records import Feed, Notice
from schemas.sealing import Hasher, Sealer

PAYLOAD_FORMAT = "opencps/1"

_T = TypeVar("_T")


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one snapshot gave: dossiers that are there, and the dossierId of those that are not, by id."""

    touched: Touched
    present: dict[str, DossierSnapshot]
    absent: dict[str, int]
    doubtful_to: int | None


class OneStopSource:
    """Reads the OpenCPS tables. Satisfies `connectors.protocols.Source`."""

    feeds = (Feed.ACTIONS, Feed.CHANGES, Feed.SWEEP)

    def __init__(
        self,
        settings: OneStopSettings,
        sealer: Sealer,
        hasher: Hasher,
        *,
        name: str = "one_stop",
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        """`now` stamps `captured_at` and nothing else."""
        self.name = name
        self._database = OneStopDatabase(settings)
        self._sealer = sealer
        self._comparison = Comparison(name, hasher)
        self._now = now
        # All blocking calls run in this one thread: one connection, one page at a time.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"{name}-source")
        self._expected: dict[Feed, str | None] = {}
        self._doubted: set[Feed] = set(self.feeds)
        self._doubtful_to: int | None = None
        self._settled: dict[tuple[str, int], str] = {}
        self._settling: dict[tuple[str, int], str] = {}

    async def read_page(
        self, feed: Feed, cursor: str | None, read_seq: int, memory: CaptureMemory
    ) -> Page:
        """The page after `cursor`. See `Source.read_page`."""
        doubtful = self._is_doubtful(feed, cursor)
        reading = await self._in_thread(lambda: self._read(feed, cursor, doubtful))
        remembered = await _remembered(memory, self.name, [*reading.present, *reading.absent])
        page = await self._in_thread(
            lambda: self._page(feed, cursor, read_seq, reading, remembered)
        )
        self._expected[feed] = page.cursor
        if page.exhausted:
            self._doubted.discard(feed)
        if feed is Feed.CHANGES:
            self._settling = reading.touched.settled
        return page

    async def check(self) -> Sequence[str]:
        """Every problem with the connection, schema, rights and clock zone, in plain words."""
        return await self._in_thread(lambda: find_problems(self._database))

    async def initial_mappings(self) -> Sequence[MappingRow]:
        """The code mappings of the source's own tables. Raises as `read_page`."""
        return await self._in_thread(lambda: read_mappings(self._database, self.name))

    async def close(self) -> None:
        """Wait for the query that is running, then let the connection go."""
        await self._in_thread(self._database.close)
        self._thread.shutdown(wait=False)

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _is_doubtful(self, feed: Feed, cursor: str | None) -> bool:
        """Whether what this page reads may have been produced before without having been saved.

        So at the start, and whenever a cursor comes back that we did not hand out last; until the feeds
        of actions and changes have both come to their ends once. Actions newer than the newest at that
        first page are beyond doubt.
        """
        if feed in self._expected and self._expected[feed] == cursor:
            if feed is Feed.CHANGES:
                self._settle()
        else:
            first = feed not in self._expected
            if not first:
                self._doubted = set(self.feeds)
                self._doubtful_to = None
            self._settled, self._settling = {}, {}
        return bool(self._doubted & {Feed.ACTIONS, Feed.CHANGES, feed})

    def _settle(self) -> None:
        """The page was saved: rows older than its newest second are not compared again."""
        self._settled |= self._settling
        newest = max(self._settled.values(), default=None)
        if newest is None:
            return
        reach = timedelta(seconds=self._database.settings.overlap_seconds + 60)
        oldest = format_local(parse_local(newest) - reach)
        self._settled = {row: time for row, time in self._settled.items() if time >= oldest}

    def _read(self, feed: Feed, cursor: str | None, doubtful: bool) -> _Reading:
        with self._database.snapshot() as connection:
            if doubtful and self._doubtful_to is None:
                self._doubtful_to = newest_action(self._database, connection)
            unseen: list[tuple[int, int]] = []
            if feed is not Feed.ACTIONS:
                require_same_source(self._database, connection, self._expected.get(Feed.ACTIONS))
            if feed is Feed.ACTIONS:
                touched = touched_by_actions(self._database, connection, cursor)
            elif feed is Feed.CHANGES:
                touched = touched_by_changes(self._database, connection, cursor, self._settled)
            else:
                touched, unseen = touched_by_sweep(self._database, connection, cursor)
            found = read_dossiers(self._database, connection, touched.dossiers)
        doubtful_to = self._doubtful_to if doubtful else None
        groups = self._database.settings.group_ids
        orphans = [
            (number, group)
            for number, group in touched.dossiers.items()
            if number not in found and (not groups or group in groups)
        ]
        return _Reading(
            touched,
            {
                dossier_id_of(self.name, row.dossier["groupId"], number): row
                for number, row in found.items()
            },
            {
                dossier_id_of(self.name, group, number): number
                for number, group in (*orphans, *unseen)
            },
            doubtful_to,
        )

    def _page(
        self,
        feed: Feed,
        cursor: str | None,
        read_seq: int,
        reading: _Reading,
        remembered: Mapping[str, Sequence[SeenRow]],
    ) -> Page:
        compare = self._comparison
        results: list[tuple[str, Compared]] = [
            (
                dossier_id,
                compare.compare(
                    dossier_id,
                    snapshot,
                    remembered.get(dossier_id, ()),
                    doubtful_to=reading.doubtful_to,
                ),
            )
            for dossier_id, snapshot in reading.present.items()
        ]
        results += [
            (dossier_id, compare.gone(number, remembered[dossier_id]))
            for dossier_id, number in reading.absent.items()
            if dossier_id in remembered
        ]
        captured_at = self._now()
        notices = [
            self._notice(feed, cursor, read_seq, dossier_id, draft, captured_at)
            for dossier_id, result in results
            for draft in result.drafts
        ]
        times = [self._utc(draft.at) for _, result in results for draft in result.drafts]
        return Page(
            notices=tuple(notices),
            cursor=reading.touched.cursor,
            seen=tuple(row for _, result in results for row in result.seen),
            exhausted=reading.touched.exhausted,
            skipped=sum(result.skipped for _, result in results),
            oldest_at=min((time for time in times if time is not None), default=None),
        )

    def _notice(
        self,
        feed: Feed,
        cursor: str | None,
        read_seq: int,
        dossier_id: str,
        draft: Draft,
        captured_at: datetime,
    ) -> Notice:
        """The notice carries the cursor its page began with: reading from there gives it again."""
        return Notice(
            notice_id=draft.event_id,
            dossier_id=dossier_id,
            source=self.name,
            feed=feed,
            cursor=cursor or "",
            read_seq=read_seq,
            kind=draft.kind,
            payload_format=PAYLOAD_FORMAT,
            sealed=self._sealer.seal(orjson.dumps(draft.payload), dossier_id),
            captured_at=captured_at,
        )

    def _utc(self, text: str | None) -> datetime | None:
        if text is None:
            return None
        try:
            return parse_local(text).replace(tzinfo=self._database.zone).astimezone(UTC)
        except (ValueError, OverflowError):
            return None


async def _remembered(
    memory: CaptureMemory, source: str, dossier_ids: Sequence[str]
) -> dict[str, list[SeenRow]]:
    found: dict[str, list[SeenRow]] = {}
    if dossier_ids:
        for row in await memory.seen(source, dossier_ids):
            found.setdefault(row.dossier_id, []).append(row)
    return found
