"""The timeline of a dossier in canonical statuses, and the facts that the clocks read from it.

Facts that the law or the portal attach to a status are found here once: when a dossier was received, when
it ended, when its clock stood still. `clock.py` and `timeliness.py` judge by them. All times are aware.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from schemas.dossier.mappings import Codes
from schemas.dossier.status import Status
from schemas.dossier.working_calendar import civil_day
from schemas.records import DossierTimes, Step, Supplement

PAUSES = frozenset({Status.SUPPLEMENT_REQUESTED, Status.PAYMENT_REQUESTED, Status.PAUSED})
"""Statuses in which the legal clock stands still.

Source: the statistics group "Tạm dừng" (5, 6, 8) of a provincial product; that the clock is to be treated
as paused in it is inferred. The portal's own rule names the supplement alone: see `timeliness.py`.
"""

REOPENS = frozenset(
    {Status.RECEIVED, Status.PROCESSING, Status.SUPPLEMENT_REQUESTED, Status.PAUSED}
)
"""Statuses after which an earlier end no longer counts. Not `payment_requested`: fees are also asked for
when the result is handed over. Source: inferred; the portal's description is silent about it."""

END_ORDER: tuple[tuple[Status, ...], ...] = (
    (Status.FINISHED,),
    (Status.RETURNED,),
    (Status.STOPPED, Status.REFUSED, Status.WITHDRAWN),
)
"""Which status gives the time of the end, the first that there is.

Source: reporting contract §4.3 b, operational description of Decision 766/QĐ-TTg (one source):
"Đã xử lý xong" before "Đã trả kết quả" before stop, refusal and withdrawal.
"""

HAPPENINGS = ("submitted", "received", "finished", "returned", "withdrawn", "refused")
"""The times of a state that tell when something happened; its due dates are those in force now."""

_AFTER_RECEPTION = frozenset(
    {Status.RECEIVED, Status.PROCESSING, Status.PAUSED, Status.FINISHED, Status.RETURNED}
)
_RANK = {status: rank for rank, status in enumerate(Status)}


class Comparison(StrEnum):
    """How a time is held against a due date; at the same time, or on the same day, it is in time.

    Source: `NgayKetThucXuLy <= NgayHenTra` by time stamp in the description of Decision 766 (one source);
    by date in form II.06 as a provincial product fills it in (one source).
    """

    TIMESTAMP = "timestamp"
    DATE = "date"  # civil days in Viet Nam

    def is_late(self, at: datetime, due: datetime) -> bool:
        """Whether `at` is after `due`."""
        if self is Comparison.TIMESTAMP:
            return at > due
        return civil_day(at) > civil_day(due)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry: the status after a step. `place` is its place in the log, which tells the order of
    entries of the same time. `due` is the due date that the source held after this step, if it says so.
    """

    status: Status
    at: datetime
    place: int = 0
    due: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """What is known of one dossier's life. The entries may be given in any order, also twice.

    `times` and `supplements` are those of the newest state. A status that no step tells of (a first load
    without history) is to be given as an entry too, at the time of the state.
    """

    times: DossierTimes
    entries: tuple[Entry, ...] = ()
    supplements: tuple[Supplement, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", tuple(sorted(set(self.entries), key=_entry_order)))

    def until(self, moment: datetime) -> Timeline:
        """What of it had happened by `moment` (inclusive).

        The due date stays the one in force now: the portal, too, judges a past period by the field as it
        stands (inferred from its being computed from the synchronised fields, reporting contract §0.5).
        """
        happened = {name: _by(getattr(self.times, name), moment) for name in HAPPENINGS}
        return Timeline(
            times=replace(self.times, **happened),
            entries=tuple(entry for entry in self.entries if entry.at <= moment),
            supplements=tuple(
                replace(each, completed_at=_by(each.completed_at, moment))
                for each in self.supplements
                if each.requested_at <= moment
            ),
        )


# The last parts of the two orders decide nothing: they make one order of what is told in any order.


def _entry_order(entry: Entry) -> tuple[object, ...]:
    return (entry.at, entry.place, _RANK[entry.status], *_nulls_first(entry.due))


def _pause_order(pause: Pause) -> tuple[object, ...]:
    return (pause.begun, _RANK[pause.by], *_nulls_first(pause.ended), *_nulls_first(pause.due))


def _nulls_first(at: datetime | None) -> tuple[bool, datetime | None]:
    return (at is not None, at)


def entry(step: Step, codes: Codes, *, system: str, place: int = 0) -> Entry:
    """The entry of a step that `system` told of, by the mapping in force at its time.

    Raises `Unmapped`.
    """
    source = step.status
    status = codes.status(system, source.status, source.sub_status, step.at)
    return Entry(status=status, at=step.at, place=place, due=step.due)


# --- facts -----------------------------------------------------------------------------------------


def received_at(timeline: Timeline) -> datetime | None:
    """When the dossier was received (NgayTiepNhan), else when it first came into `received`.

    Source: reporting contract §4.3 b (one source); the time of the status in its place is inferred.
    """
    if timeline.times.received is not None:
        return timeline.times.received
    return next((e.at for e in timeline.entries if e.status is Status.RECEIVED), None)


def was_received(timeline: Timeline) -> bool:
    """Whether the dossier ever was received: the time is known, or a later status shows it."""
    return (
        received_at(timeline) is not None
        or timeline.times.finished is not None
        or timeline.times.returned is not None
        or any(e.status in _AFTER_RECEPTION for e in timeline.entries)
    )


@dataclass(frozen=True, slots=True)
class End:
    """When a dossier ended, and by which status."""

    at: datetime
    status: Status


def end(timeline: Timeline, *, pause_ends: bool = False) -> End | None:
    """The end that counts, or None while the dossier is open.

    The order is `END_ORDER`; the last group counts only for a dossier that had been received (one
    source). Within a group the first entry counts, after the last one that opened the dossier again, so
    that a hand-over which is also told as "Đã xử lý xong" makes nothing late (inferred). A field of the
    state (NgayKetThucXuLy, NgayTra …) stands in where no entry tells of it.
    `pause_ends` reads a pause as a stop, as the portal must: both are its code 8.
    """
    reopens = REOPENS - {Status.PAUSED} if pause_ends else REOPENS
    stops = (*END_ORDER[-1], Status.PAUSED) if pause_ends else END_ORDER[-1]
    reopened = [place for place, e in enumerate(timeline.entries) if e.status in reopens]
    since = timeline.entries[reopened[-1]].at if reopened else None
    tail = timeline.entries[reopened[-1] + 1 :] if reopened else timeline.entries
    for group in (*END_ORDER[:-1], stops):
        if group is stops and not was_received(timeline):
            return None
        told = next((End(e.at, e.status) for e in tail if e.status in group), None)
        if found := told or _end_by_field(timeline.times, group, since):
            return found
    return None


def _end_by_field(
    times: DossierTimes, group: Sequence[Status], since: datetime | None
) -> End | None:
    fields = {
        Status.FINISHED: times.finished,
        Status.RETURNED: times.returned,
        Status.REFUSED: times.refused,
        Status.WITHDRAWN: times.withdrawn,
    }
    ends = [
        End(at, status)
        for status in group
        if (at := fields.get(status)) is not None and (since is None or at >= since)
    ]
    return min(ends, key=lambda e: e.at, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A stretch in which the clock stood still: [begun, ended), still open without `ended`.

    `due` is the due date that was in force when it began, where the source says.
    """

    by: Status
    begun: datetime
    ended: datetime | None
    due: datetime | None


def pauses(timeline: Timeline) -> tuple[Pause, ...]:
    """The pauses in order of their beginning.

    The state's supplements are believed where there are any (they carry the dates of the request and
    the answer); otherwise, and for the other pauses, entries of one status that follow each other are
    one pause, which the next other status ends. The end of the dossier ends every pause.
    """
    found = [p for p in _told(timeline) if not _is_listed(p, timeline)]
    found += (
        Pause(
            by=Status.SUPPLEMENT_REQUESTED,
            begun=each.requested_at,
            ended=each.completed_at or _left(timeline, each.requested_at),
            due=each.old_due,
        )
        for each in timeline.supplements
    )
    if (ended := end(timeline)) is not None:
        found = [p if p.ended else replace(p, ended=max(p.begun, ended.at)) for p in found]
    return tuple(sorted(found, key=_pause_order))


def supplement_requests(timeline: Timeline) -> tuple[Pause, ...]:
    """The requests to supplement; a status told again without having been left is no second one.

    Source: reporting contract §0.6 and §4.3 b (one source): one request stops the clock, a second one
    makes the dossier late. Whether a request before reception counts is not said; it does here.
    """
    return tuple(p for p in pauses(timeline) if p.by is Status.SUPPLEMENT_REQUESTED)


def _told(timeline: Timeline) -> Iterator[Pause]:
    """The pauses that the entries tell of."""
    due: datetime | None = None
    before: Pause | None = None
    for each in timeline.entries:
        if before is not None and each.status is not before.by:
            yield replace(before, ended=each.at)
            before = None
        if before is None and each.status in PAUSES:
            before = Pause(by=each.status, begun=each.at, ended=None, due=due or each.due)
        due = each.due or due
    if before is not None:
        yield before


def _is_listed(pause: Pause, timeline: Timeline) -> bool:
    return pause.by is Status.SUPPLEMENT_REQUESTED and bool(timeline.supplements)


def _left(timeline: Timeline, requested_at: datetime) -> datetime | None:
    """When the status of a request was left, where the state does not say."""
    later: Iterable[Entry] = (e for e in timeline.entries if e.at > requested_at)
    return next((e.at for e in later if e.status is not Status.SUPPLEMENT_REQUESTED), None)


def _by(at: datetime | None, moment: datetime) -> datetime | None:
    return at if at is not None and at <= moment else None


# --- extension of the due date ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """A new due date with an apology (form 04 of Circular 03/2025/TT-VPCP). None: not known."""

    new_due: datetime
    old_due: datetime | None = None
    decided_at: datetime | None = None
    letter: bool | None = None  # whether the letter of apology was sent


class ExtensionFault(StrEnum):
    """What is wrong with an extension by the rule for it."""

    NOT_LATER = "not_later"  # the new due date is not after the old one
    AFTER_DUE = "after_due"  # decided when the old due date had passed
    REPEATED = "repeated"  # not the first
    NO_LETTER = "no_letter"  # no letter of apology


def extension(times: DossierTimes) -> Extension | None:
    """The extension that a state tells of. When it was decided and whether with a letter it does not say."""
    if times.extended is None:
        return None
    return Extension(new_due=times.extended, old_due=times.previous_due)


def extension_faults(extensions: Sequence[Extension]) -> tuple[tuple[ExtensionFault, ...], ...]:
    """The faults of each of a dossier's extensions, given in the order in which they were made.

    What is not known is no fault. A fault does not take the new due date out of force: the portal counts
    by the date it was sent, and no rule was found that voids it.
    Source: Decree 61/2018/NĐ-CP, inferred: with a letter of apology, before the old due date, at most
    once. Decree 118/2025/NĐ-CP, in force since 1 July 2025, keeps the letter (form 04, secondary
    source); whether it keeps the two limits was not found.
    """
    found: list[tuple[ExtensionFault, ...]] = []
    for place, each in enumerate(extensions):
        old, decided = each.old_due, each.decided_at
        checks = {
            ExtensionFault.NOT_LATER: old is not None and each.new_due <= old,
            ExtensionFault.AFTER_DUE: old is not None and decided is not None and decided > old,
            ExtensionFault.REPEATED: place > 0,
            ExtensionFault.NO_LETTER: each.letter is False,
        }
        found.append(tuple(fault for fault, is_so in checks.items() if is_so))
    return tuple(found)
