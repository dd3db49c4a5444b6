"""What can still be saved of a dossier today: what is told of it, and what follows from its life.

Four kinds, each with a deadline that lies ahead: the eight working hours of reception, the due date, a second
request to supplement, a field that the portal counts against the unit while it is missing. What is lost
already is not among them. Pure: the time is an argument; `savable_survey.py` reads the ledger.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from monitoring.rates.catalogue import packaged
from monitoring.rates.facts import facts
from monitoring.rates.reckoning import Rules
from schemas.dossier.clock import ClockState, LateBecause, Reading, read
from schemas.dossier.days_off import Certainty, weakest
from schemas.dossier.mappings import Codes, Unmapped
from schemas.dossier.reception import ReceptionState, reception
from schemas.dossier.status import Status
from schemas.dossier.timeline import Timeline
from schemas.dossier.working_calendar import WorkingCalendar, civil_day, end_of_day
from schemas.records import DossierEvent

_AT_ONCE = timedelta()  # "due soon" is not asked for here


class Kind(StrEnum):
    """What there is to save (words on screens beside each)."""

    RECEPTION = "reception"  # sắp hết 8 giờ tiếp nhận
    DUE = "due"  # đến hạn trả kết quả
    SUPPLEMENT = "supplement"  # yêu cầu bổ sung lần hai sẽ làm trễ hạn
    FIELD = "field"  # thiếu thông tin bị mất điểm


class Field(StrEnum):
    """A missing field, by the name that the portal has for it."""

    DUE = "NgayHenTra"
    CHANNEL = "KenhThucHien"
    REUSED = "DuocTaiSuDung"
    FROM_DATA_STORE = "DuocLayTuKhoDMQG"
    POPULATION_DATA = "TaiKhoanDuocXacThucVoiVNeID"
    PAID_ONLINE = "DuocThanhToanTrucTuyen"


COUNTED_BY: Mapping[Field, str] = {
    Field.DUE: "on_time_or_within_time",
    Field.CHANNEL: "online_received",
    Field.REUSED: "with_reused_data",
    Field.FROM_DATA_STORE: "in_personal_storage",
    Field.POPULATION_DATA: "with_citizen_data",
    Field.PAID_ONLINE: "paid_online",
}
"""The quantity of the catalogue that a dossier without the field is missing from.

Left out are facts that nobody can fill in yet, or that cost nothing by themselves: whether a dossier is digitised
needs its result, and one whose financial obligation is unknown is in neither part of the rate of payment.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AtStake:
    """A rate and the most points that it is worth; None where that is not public."""

    rate: str
    points: Decimal | None


def at_stake(field: Field, on: date) -> AtStake | None:
    """The rate that a missing field counts against on that day; None when the catalogue has none in force."""
    for rate in packaged().rates:
        for term in rate.terms:
            if term.numerator == COUNTED_BY[field] and rate.in_force(on):
                return AtStake(rate=rate.code, points=term.weight)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing to do about one dossier. Codes only.

    `deadline` is None where there is none ahead (a missing field or a second request, of a dossier without a due
    date or whose clock stands still), `left` is the working time up to it, zero once it has passed today. `certainty` is that of the calendar's answers.
    `fee_awaited`: the legal clock stands still and the portal's runs on.
    """

    kind: Kind
    dossier_id: str
    code: str | None
    agency: str | None
    deadline: datetime | None
    left: timedelta | None
    certainty: Certainty
    fields: tuple[Field, ...] = ()
    fee_awaited: bool = False

    @property
    def urgency(self) -> tuple[bool, datetime, str]:
        """By what entries are put in order: the nearest deadline first, those without one last."""
        return (self.deadline is None, self.deadline or _NEVER, self.dossier_id)


_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One unit: how many entries there are of each kind, how many dossiers lack which field, and the most
    urgent entries of each kind. `agency` is None for dossiers whose unit has no mapping."""

    agency: str | None
    counts: Mapping[Kind, int]
    fields: Mapping[Field, int]
    entries: tuple[Entry, ...]

    @property
    def total(self) -> int:
        """Of all kinds together; a dossier can be in several."""
        return sum(self.counts.values())

    def of(self, kind: Kind) -> tuple[Entry, ...]:
        """Its listed entries of a kind, the most urgent first."""
        return tuple(entry for entry in self.entries if entry.kind is kind)


def nothing(agency: str | None) -> Unit:
    """A unit with nothing to save."""
    return Unit(agency=agency, counts=dict.fromkeys(Kind, 0), fields={}, entries=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Savable:
    """What can still be saved at `now`, by unit in the order of their codes, the one without a code last.

    `until` is the end of the province's next working day, `certainty` how sure the calendar is of the days up
    to it. `undecided`: open dossiers that came into question and whose life cannot be read. `waiting`: dossiers
    whose figures are still to be reckoned, so that they may be missing here. Both are of the whole ledger.
    """

    now: datetime
    until: datetime
    certainty: Certainty
    units: tuple[Unit, ...]
    undecided: int
    waiting: int

    @property
    def counts(self) -> Mapping[Kind, int]:
        """Of all units together."""
        return {kind: sum(unit.counts[kind] for unit in self.units) for kind in Kind}

    @property
    def total(self) -> int:
        """Of all units and kinds together."""
        return sum(unit.total for unit in self.units)

    def only(self, agencies: Collection[str]) -> Savable:
        """The same for these units; one that has nothing to save is among them too."""
        there = {unit.agency: unit for unit in self.units}
        units = tuple(there.get(agency) or nothing(agency) for agency in sorted(set(agencies)))
        return replace(self, units=units)

    def listing(self, most: int) -> Savable:
        """The same with at most so many entries listed of each unit and kind."""
        units = (
            replace(unit, entries=tuple(e for kind in Kind for e in unit.of(kind)[:most]))
            for unit in self.units
        )
        return replace(self, units=tuple(units))


# --- what follows from a dossier's life --------------------------------------------------------------


def entries_of(
    event: DossierEvent, timeline: Timeline, rules: Rules, now: datetime
) -> Iterator[Entry]:
    """What can be saved of a dossier whose newest state is `event`, but for missing fields (`missing`).

    Raises `ValueError` and `OverflowError` for times outside the years that the calendar takes.
    """
    agency = facts(event, timeline, rules.codes).agency_code
    until = last_instant(now, rules.calendar, agency)
    about = _About(event.dossier_id, event.dossier_code, agency, now, rules.calendar)
    yield from _reception(event, timeline, rules, about, until)
    reading = read(
        timeline,
        now=now,
        soon=_AT_ONCE,
        calendar=rules.calendar,
        agency=agency,
        comparison=rules.comparison,
    )
    yield from _due(timeline, reading, about, until)
    if reading.next_supplement_makes_late and reading.state is not ClockState.NEVER_STARTED:
        runs = reading.due is not None and reading.paused is None and reading.due.at >= now
        due = reading.due.at if reading.due is not None and runs else None
        yield about.entry(Kind.SUPPLEMENT, due, reading.certainty)


def last_instant(now: datetime, calendar: WorkingCalendar, agency: str | None) -> datetime:
    """The midnight that ends the next working day of an agency: what is due until then is told today.

    The whole day counts, for many systems put a due date at its last minute.
    """
    return end_of_day(calendar.end_of_next_working_day(now, agency).value)


def _reception(
    event: DossierEvent, timeline: Timeline, rules: Rules, about: _About, until: datetime
) -> Iterator[Entry]:
    """Handed in online, not answered, and its eight working hours run out by `until`."""
    found = reception(
        timeline,
        channel=event.channel,
        now=about.now,
        soon=_AT_ONCE,
        calendar=rules.calendar,
        agency=_receiving(event, rules.codes),
    )
    if found is None or found.deadline is None or found.deadline >= until:
        return
    if found.state in {ReceptionState.WAITING, ReceptionState.DUE_SOON}:
        entry = about.entry(Kind.RECEPTION, found.deadline, found.certainty)
        yield replace(entry, left=found.remaining)  # by the receiving agency's hours


def _receiving(event: DossierEvent, codes: Codes) -> str | None:
    """Whose hours count for the reception; without a mapping the province's."""
    try:
        return codes.agency(event.source, event.receiving_agency.code, event.effective_at).value
    except Unmapped:
        return None


def _due(timeline: Timeline, reading: Reading, about: _About, until: datetime) -> Iterator[Entry]:
    """Open, not late for another reason, and due today or by `until`.

    What was due earlier today is told as well: until midnight it is in time for whoever compares by date, and
    the portal keeps an open dossier in time through that day. While a fee is awaited the legal clock stands still
    (inferred), but the portal's rule names the request for papers alone: there the source's date counts.
    """
    if reading.ended or reading.late_because is LateBecause.SECOND_SUPPLEMENT:
        return
    fee_awaited = reading.paused is not None and reading.paused.by is Status.PAYMENT_REQUESTED
    if reading.paused is not None and not fee_awaited:
        return
    due = timeline.times.due if fee_awaited else reading.due.at if reading.due else None
    if reading.due is None or due is None or due >= until:
        return
    if due >= about.now or civil_day(due) == civil_day(about.now):
        yield replace(about.entry(Kind.DUE, due, reading.certainty), fee_awaited=fee_awaited)


@dataclass(frozen=True, slots=True)
class _About:
    """The dossier, and from when and by whose hours the time that is left is measured."""

    dossier_id: str
    code: str | None
    agency: str | None
    now: datetime
    calendar: WorkingCalendar

    def entry(self, kind: Kind, deadline: datetime | None, certainty: Certainty) -> Entry:
        left = None
        if deadline is not None:
            worked = self.calendar.working_time(self.now, max(self.now, deadline), self.agency)
            left, certainty = worked.value, weakest((certainty, worked.certainty))
        return Entry(
            kind=kind,
            dossier_id=self.dossier_id,
            code=self.code,
            agency=self.agency,
            deadline=deadline,
            left=left,
            certainty=certainty,
        )


def missing(
    fields: Sequence[Field],
    *,
    dossier_id: str,
    code: str | None,
    agency: str | None,
    due: datetime | None,
    now: datetime,
    calendar: WorkingCalendar,
) -> Entry:
    """The entry of an open dossier that lacks `fields`: to be filled in before it is closed, so by its due
    date, if that lies ahead. Raises as `entries_of`."""
    ahead = due if due is not None and due >= now else None
    about = _About(dossier_id, code, agency, now, calendar)
    return replace(about.entry(Kind.FIELD, ahead, Certainty.CONFIRMED), fields=tuple(fields))
