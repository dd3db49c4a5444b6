"""Everything that people do with a report, and what the reporting system says of it; each leaves an audit row.

Of two that come at once one wins by compare-and-set, and the other is told who and when. The same thing done
again by the same person (because the answer was lost) is no error and leaves no second row.
"""

from __future__ import annotations

import getpass
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from schemas.dossier.working_calendar import WorkingCalendar, civil_day
from schemas.ledger import report_outbox, report_store
from schemas.ledger.database import Lane
from schemas.ledger.report_outbox import Answered, Packed
from schemas.ledger.report_store import Actor, Objected, Report, Take
from schemas.reports import snapshots
from schemas.reports.states import Action, Answer, Objection, Settlement, State
from streams.reporting.counting import Earlier, Filling
from streams.reporting.life import SENT, Allowed, Ask, Refusal, Refused, Standing, step

HUB = "ThôngSuốt"
"""Who it was when nobody did it."""


def actor_named(name: str) -> Actor:
    """The given name and the account of the operating system; nobody has checked that they are the same."""
    try:
        account = getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        account = "unknown"
    return Actor(name=name.strip(), account=account)


@dataclass(frozen=True, slots=True)
class AnswerTaken:
    """What became of an answer. `state` is that of the revision now; None: it is about nothing of ours."""

    new: bool
    state: State | None


class Desk:
    """Where reports are worked on. `late`: whether one may be sent after its due date, with a reason."""

    def __init__(
        self,
        lane: Lane,
        fillings: Mapping[str, Filling],
        *,
        calendar: WorkingCalendar,
        wall: Callable[[], datetime],
        late: bool = True,
    ) -> None:
        self._lane = lane
        self._fillings = fillings
        self._calendar = calendar
        self._wall = wall
        self._late = late

    # --- units

    async def confirm(self, report_id: str, unit: str, actor: Actor) -> None:
        """A unit confirms what stands about it. Raises `Refused`."""

        def work(connection: Connection) -> None:
            take = self._stepped(connection, report_id, Action.CONFIRM, actor, unit=unit)[1]
            if report_store.confirm(connection, take, unit, actor):
                _note(connection, take, Action.CONFIRM, actor, about=unit)

        await self._lane.write(work)

    async def object_to(
        self, report_id: str, unit: str, code: str, reason: Objection, actor: Actor
    ) -> None:
        """A unit objects to how a dossier is counted. Raises `Refused`."""

        def work(connection: Connection) -> None:
            take = self._stepped(connection, report_id, Action.OBJECT, actor, unit=unit)[1]
            if not report_store.knows_dossier(connection, code):
                raise Refused(Refusal.UNKNOWN_DOSSIER, code)
            if report_store.object_to(connection, take, unit, code, reason, actor):
                _note(connection, take, Action.OBJECT, actor, why=reason, about=f"{unit} {code}")

        await self._lane.write(work)

    async def settle(
        self, report_id: str, unit: str, code: str, how: Settlement, actor: Actor
    ) -> None:
        """An objection ends. Raises `Refused`."""

        def work(connection: Connection) -> None:
            take = self._stepped(connection, report_id, Action.SETTLE, actor, unit=unit)[1]
            found = [
                one
                for one in report_store.objections(connection, report_id)
                if one.unit == unit and one.dossier_code == code
            ]
            objected = next((one for one in found if one.settlement is None), None)
            if objected is None:
                if any((o.settlement, o.settled_by) == (how, actor.name) for o in found):
                    return
                raise Refused(Refusal.UNKNOWN_OBJECTION, f"{unit} {code}")
            if report_store.settle(connection, objected, report_id, how, actor):
                _note(connection, take, Action.SETTLE, actor, why=how, about=f"{unit} {code}")

        await self._lane.write(work)

    # --- the province

    async def verify(self, report_id: str, actor: Actor, reason: str = "") -> None:
        """The whole has been looked at. Raises `Refused`."""

        def work(connection: Connection) -> None:
            allowed, take = self._stepped(
                connection, report_id, Action.VERIFY, actor, reason=reason
            )
            self._moved(connection, take, allowed.to)
            _note(connection, take, Action.VERIFY, actor, why=reason or None)

        await self._lane.write(work)

    async def approve(self, report_id: str, snapshot_hash: str, actor: Actor) -> None:
        """Sign the snapshot of this hash; its packets are made. Raises `Refused`."""
        take, packed = await self._packed(report_id)

        def work(connection: Connection) -> None:
            now = report_store.newest(connection, report_id, lock=True)
            if now is not None and _same_again(now, snapshot_hash, actor):
                return
            allowed, newest = self._stepped(
                connection, report_id, Action.APPROVE, actor, hash=snapshot_hash
            )
            if newest.ref != take.ref:
                raise Refused(Refusal.SNAPSHOT_CHANGED)
            at = report_store.now_of(connection)
            report_outbox.hold(connection, newest, packed)
            self._moved(connection, newest, allowed.to, approved_by=actor.name, approved_at=at)
            _note(connection, newest, Action.APPROVE, actor)

        await self._lane.write(work)

    async def _packed(self, report_id: str) -> tuple[Take, list[Packed]]:
        report, take, content = await self._lane.read(lambda c: _content(c, report_id))
        packing = self._filling(report).packing
        found = packing.packets(report, take.revision, snapshots.read(content), take.snapshot_hash)
        if not found:
            raise Refused(Refusal.NOTHING_TO_SEND)
        return take, list(found)

    async def submit(self, report_id: str, actor: Actor, reason: str = "") -> bool:
        """Hand an approved report over; earlier revisions are amended by it. Returns whether it is late.

        Raises `Refused`.
        """

        def work(connection: Connection) -> bool:
            now = report_store.newest(connection, report_id, lock=True)
            if now is not None and now.state in SENT and now.submitted_by == actor.name:
                return now.late
            allowed, take = self._stepped(
                connection, report_id, Action.SUBMIT, actor, reason=reason
            )
            at = report_store.now_of(connection)
            self._moved(
                connection,
                take,
                allowed.to,
                submitted_by=actor.name,
                submitted_at=at,
                late=allowed.late,
            )
            if not report_outbox.owe(connection, take):
                raise Refused(Refusal.NOTHING_TO_SEND)
            _note(connection, take, Action.SUBMIT, actor, why=reason or None)
            for older in report_store.takes(connection, report_id):
                if older.revision < take.revision and older.state in SENT:
                    self._moved(connection, older, State.AMENDED)
                    _note(connection, older, Action.AMEND, actor, about=f"r{take.revision}")
            return allowed.late

        return await self._lane.write(work)

    async def revise(self, report_id: str, actor: Actor, reason: str) -> tuple[int, int]:
        """Take the figures anew, as they are known now: the same revision where it has not been submitted, else the
        next. Returns revision and take. Raises `Refused`."""
        now = self._wall()
        report = await self._lane.read(lambda c: _report(c, report_id))
        counting = self._filling(report).counting
        behind = await counting.behind()
        before, earlier = await self._lane.read(
            lambda c: (
                self._looked(c, report_id, Action.REVISE, actor, reason=reason, behind=behind)[1],
                earlier_of(c, report_id),
            )
        )
        await self._lane.read(lambda c: _all_frozen(c, report.regime, now))
        frozen = await counting.count(report, now, earlier)
        due = self._calendar.end_of_next_working_day(now).value
        units_due_on = max(report.units_due_on, civil_day(due))

        def work(connection: Connection) -> tuple[int, int]:
            _, take = self._stepped(connection, report_id, Action.REVISE, actor, reason=reason)
            if take.ref != before.ref:
                raise Refused(Refusal.SNAPSHOT_CHANGED)
            sent = take.state in SENT
            revision, number = (take.revision + 1, 1) if sent else (take.revision, take.take + 1)
            if not sent:
                self._moved(connection, take, State.AMENDED)
            report_store.freeze(
                connection,
                report,
                revision,
                number,
                frozen,
                actor,
                units_due_on=units_due_on,
                why=reason,
            )
            ask_units(connection, report_id, actor)
            report_store.drop_draft(connection, report_id)
            return revision, number

        return await self._lane.write(work)

    # --- what comes back

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
        """Keep what the reporting system said of a packet, and move its revision. Taken once for each `answer_id`.

        A report is accepted when all its packets are; one that is returned returns it. A return without a reason
        is kept as such: somebody must ask.
        """

        def work(connection: Connection) -> AnswerTaken:
            found = report_outbox.packets_of(connection, stream_id, revision)
            report_id = found[0].report_id if found else None
            if report_id is not None:
                # Two answers at once must see each other, and neither a take that is being amended.
                report_store.newest(connection, report_id, lock=True)
            new = report_outbox.put_answer(
                connection,
                Answered(
                    answer_id=answer_id,
                    stream_id=stream_id,
                    revision=revision,
                    report_id=report_id,
                    answer=answer,
                    reason=reason,
                    origin=origin,
                    received_at=received_at,
                ),
            )
            if report_id is None:
                return AnswerTaken(new, None)
            take = _take_of(connection, report_id, revision, found[0].take)
            if new:
                take = self._answered(connection, take, answer, reason, stream_id, actor)
            return AnswerTaken(new, take.state)

        return await self._lane.write(work)

    def _answered(
        self,
        connection: Connection,
        take: Take,
        answer: Answer,
        reason: str | None,
        stream_id: str,
        actor: Actor,
    ) -> Take:
        action = _ANSWERS[answer]
        _note(connection, take, action, actor, why=reason, about=stream_id)
        if answer is Answer.ACCEPTED and not _all_accepted(connection, take):
            return take
        try:
            allowed = step(_bare(take), Ask(action=action), self._wall())
        except Refused:
            return take  # amended since: it is kept, and changes nothing
        if allowed.to is not take.state:
            report_store.move(connection, take, allowed.to)  # lost: as if it was amended before
        return _take_of(connection, *take.ref)

    # --- within

    def _filling(self, report: Report) -> Filling:
        found = self._fillings.get(report.regime)
        if found is None:
            raise Refused(Refusal.UNKNOWN_REPORT, report.regime)
        return found

    def _stepped(
        self, connection: Connection, report_id: str, action: Action, actor: Actor, **asked: object
    ) -> tuple[Allowed, Take]:
        """The take that counts, locked, and where the action leads. Raises `Refused`."""
        report_store.newest(connection, report_id, lock=True)
        return self._looked(connection, report_id, action, actor, **asked)

    def _looked(
        self, connection: Connection, report_id: str, action: Action, actor: Actor, **asked: object
    ) -> tuple[Allowed, Take]:
        """The same, where nothing is written."""
        report = _report(connection, report_id)
        take = report_store.newest(connection, report_id)
        ask = Ask(action=action, name=actor.name, late=self._late, **asked)  # type: ignore[arg-type] # its fields
        allowed = step(standing_of(connection, report, take), ask, self._wall())
        assert take is not None  # of an open report no person does anything
        return allowed, take

    def _moved(self, connection: Connection, take: Take, to: State, **columns: object) -> None:
        """Move it, or say who was faster."""
        if report_store.move(connection, take, to, **columns):
            return
        now = _take_of(connection, *take.ref)
        raise Refused(Refusal.NOT_NOW, now.state.value)


_ANSWERS = {
    Answer.ACCEPTED: Action.ACCEPT,
    Answer.RETURNED: Action.RETURN,
    Answer.CORRECTION_ASKED: Action.ASK_CORRECTION,
}


def standing_of(connection: Connection, report: Report, take: Take | None) -> Standing:
    """What the guards look at."""
    if take is None:
        return Standing(
            state=State.OPEN,
            cut_off_at=report.cut_off_at,
            due_on=report.due_on,
            units_due_on=report.units_due_on,
        )
    return Standing(
        state=take.state,
        cut_off_at=report.cut_off_at,
        due_on=report.due_on,
        units_due_on=take.units_due_on,
        revision=take.revision,
        hash=take.snapshot_hash,
        units=frozenset(take.units),
        confirmed=frozenset(report_store.confirmations(connection, take)),
        objecting=Counter(one.unit for one in open_objections(connection, take)),
        out_of_balance=bool(take.imbalances),
        approved_by=take.approved_by,
        approved_at=take.approved_at,
        submitted_by=take.submitted_by,
        submitted_at=take.submitted_at,
    )


def open_objections(connection: Connection, take: Take) -> list[Objected]:
    """Those that nobody has settled, of this take and of earlier ones."""
    found = report_store.objections(connection, take.report_id)
    return [one for one in found if one.settlement is None]


def ask_units(connection: Connection, report_id: str, actor: Actor) -> bool:
    """Units may confirm what was frozen last. False: they are asked already."""
    take = report_store.newest(connection, report_id, lock=True)
    if take is None or take.state is not State.CUT_OFF:
        return False
    if report_store.move(connection, take, State.CONFIRMING):
        _note(connection, take, Action.ASK_UNITS, actor)
        return True
    return False


def earlier_of(connection: Connection, report_id: str) -> Earlier | None:
    """The report of the period just before, with the last figures that were sent, else the last that were frozen."""
    report = _report(connection, report_id)
    same = [
        one
        for one in report_store.all_reports(connection, regime=report.regime)
        if (one.kind, one.agency) == (report.kind, report.agency)
        and one.window.last < report.window.first
    ]
    if not same:
        return None
    before = same[0]
    found = report_store.takes(connection, before.report_id)
    take = next((one for one in found if one.state in SENT), found[0] if found else None)
    if take is None:
        return None
    content = report_store.content_of(connection, take.ref)
    return Earlier(report=before, snapshot=snapshots.read(content))


def _report(connection: Connection, report_id: str) -> Report:
    report = report_store.report_of(connection, report_id)
    if report is None:
        raise Refused(Refusal.UNKNOWN_REPORT, report_id)
    return report


def _all_frozen(connection: Connection, regime: str, now: datetime) -> None:
    """No report of a regime is past its cut-off without figures. Raises `Refused`.

    Figures that are taken at this moment seal it: what was recorded before a cut-off and is followed later would be
    missing from the report that is still to be frozen as of that cut-off.
    """
    frozen = report_store.standings(connection)
    for one in report_store.all_reports(connection, regime=regime):
        if one.cut_off_at <= now and one.report_id not in frozen:
            raise Refused(Refusal.FREEZE_FIRST, one.report_id)


def _content(connection: Connection, report_id: str) -> tuple[Report, Take, bytes]:
    report = _report(connection, report_id)
    take = report_store.newest(connection, report_id)
    if take is None:
        raise Refused(Refusal.NO_FIGURES)
    return report, take, report_store.content_of(connection, take.ref)


def _take_of(connection: Connection, report_id: str, revision: int, number: int) -> Take:
    found = report_store.takes(connection, report_id)
    return next(one for one in found if (one.revision, one.take) == (revision, number))


def _same_again(take: Take, snapshot_hash: str, actor: Actor) -> bool:
    approved = take.state is State.APPROVED and take.approved_by == actor.name
    return approved and take.snapshot_hash == snapshot_hash


def _bare(take: Take) -> Standing:
    """For answers, which no guard but the state decides."""
    day = take.units_due_on
    return Standing(
        state=take.state,
        cut_off_at=take.known_at,
        due_on=day,
        units_due_on=day,
        revision=take.revision,
    )


def _all_accepted(connection: Connection, take: Take) -> bool:
    last: dict[str, Answer] = {}
    for one in report_outbox.answers(connection, take.report_id):
        if one.revision == take.revision:
            last[one.stream_id] = one.answer
    streams = {
        one.stream_id
        for one in report_outbox.packets(connection, take.report_id, take.revision)
        if one.take == take.take
    }
    return all(last.get(stream) is Answer.ACCEPTED for stream in streams)


def _note(
    connection: Connection,
    take: Take,
    action: Action,
    actor: Actor,
    *,
    why: str | None = None,
    about: str | None = None,
) -> None:
    report_store.note(
        connection,
        take.report_id,
        (take.revision, take.take),
        action,
        actor,
        why=None if why is None else str(why),
        snapshot_hash=take.snapshot_hash,
        about=about,
    )
