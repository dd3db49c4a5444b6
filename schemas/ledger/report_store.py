"""Reports in the ledger: periods opened, figures frozen, who confirmed, objected, signed and sent.

A snapshot is written once; there is no statement here that changes one, and the database refuses any. What a
take goes through stands beside it, and every change of it compares before it sets: of two that come at once one
changes the row, the other is told `False` and looks again. What may be done when is `streams/reporting/life.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, func, insert, select, update

from schemas.ledger.dialect import (
    AnyRow,
    clock,
    insert_or_skip,
    insert_or_update,
    locked,
    to_moment,
)
from schemas.ledger.tables import (
    dossier_aliases,
    dossiers,
    report_audit,
    report_confirmations,
    report_drafts,
    report_faults,
    report_objections,
    report_snapshots,
    report_takes,
    reports,
)
from schemas.reports.periods import REFUSES, Calendar, FaultFound, PeriodFault, PeriodKind, Window
from schemas.reports.snapshots import CarryOver, Change, Imbalance, Snapshot, hash_of
from schemas.reports.states import Action, Objection, Settlement, State

CHANGES_KEPT = 2000
"""So many dossiers of a draft are kept by name; their number is kept whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report of one regime, period and agency, with the window and the deadlines it was opened with."""

    regime: str
    period: str
    agency: str
    kind: PeriodKind
    calendar: Calendar
    window: Window
    units_due_on: date
    due_on: date

    @property
    def report_id(self) -> str:
        """Its key everywhere."""
        return report_id_of(self.regime, self.period, self.agency)

    @property
    def cut_off_at(self) -> datetime:
        """Up to when what is known counts, UTC."""
        return self.window.cut_off


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """What is frozen with a snapshot. `provisional`: how many dossiers are not sure, by reason."""

    snapshot: Snapshot
    provisional: Mapping[str, int] = field(default_factory=dict)
    imbalances: tuple[Imbalance, ...] = ()
    carry_over: CarryOver | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """One taking of a revision's figures and where it stands. `version` is raised by every change."""

    report_id: str
    revision: int
    take: int
    state: State
    version: int
    snapshot_hash: str
    known_at: datetime
    frozen_at: datetime
    units_due_on: date
    units: Mapping[str, str]  # hash of what stands about each unit
    rules: Mapping[str, str]
    provisional: Mapping[str, int]
    imbalances: tuple[Imbalance, ...]
    carry_over: CarryOver | None
    why: str | None
    approved_by: str | None
    approved_at: datetime | None
    submitted_by: str | None
    submitted_at: datetime | None
    late: bool

    @property
    def ref(self) -> tuple[str, int, int]:
        """What names it."""
        return self.report_id, self.revision, self.take


@dataclass(frozen=True, slots=True)
class Stood:
    """Where a take stands, and nothing more of it."""

    report_id: str
    revision: int
    take: int
    state: State

    @property
    def ref(self) -> tuple[str, int, int]:
        """What names it."""
        return self.report_id, self.revision, self.take


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who does something: the name given, and the account of the operating system. `signed_in`: somebody has
    checked that they are the same; nobody does so far."""

    name: str
    account: str
    signed_in: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """One line of the story of a report, by the database's clock."""

    report_id: str
    revision: int | None
    take: int | None
    action: Action
    actor: Actor
    at: datetime
    why: str | None
    snapshot_hash: str | None
    about: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """Who confirmed what stands about a unit, and when."""

    unit: str
    unit_hash: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Objected:
    """A unit says that a dossier is counted wrongly. Open until it has a settlement."""

    unit: str
    dossier_code: str
    revision: int
    take: int
    reason: Objection
    by: str
    at: datetime
    settlement: Settlement | None
    settled_by: str | None
    settled_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """How the figures would be now. `dossiers` are all that count otherwise, `changes` the first of them."""

    report_id: str
    revision: int
    take: int
    known_at: datetime
    dossiers: int
    changes: tuple[Change, ...]
    reckoned_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A period that was not opened, or what is odd about one that was."""

    regime: str
    period: str
    fault: PeriodFault
    other: str | None
    refused: bool
    recorded_at: datetime


def report_id_of(regime: str, period: str, agency: str) -> str:
    """The key of a report."""
    return f"{regime}/{period}/{agency}"


def now_of(connection: Connection) -> datetime:
    """The database's clock."""
    return to_moment(clock(connection))


# --- periods -----------------------------------------------------------------------------------------


def open_report(connection: Connection, report: Report, actor: Actor) -> bool:
    """Open it with its window and deadlines. False: it is open already, and keeps those it has."""
    now = now_of(connection)
    row = {
        "report_id": report.report_id,
        "regime": report.regime,
        "period": report.period,
        "kind": report.kind.value,
        "agency": report.agency,
        "calendar": report.calendar.value,
        "window_from": report.window.first,
        "window_to": report.window.last,
        "cut_off_at": report.cut_off_at,
        "units_due_on": report.units_due_on,
        "due_on": report.due_on,
        "opened_at": now,
    }
    inserted = insert_or_skip(connection, reports, ["report_id"]).returning(reports.c.report_id)
    if connection.execute(inserted, row).first() is None:
        return False
    note(connection, report.report_id, None, Action.OPEN, actor)
    return True


def note_faults(
    connection: Connection, regime: str, period: str, found: Iterable[FaultFound]
) -> None:
    """Write down what is wrong with a period; faults that are gone go from the list."""
    wanted = {(one.fault.value, one.other or "") for one in found}
    here = and_(report_faults.c.regime == regime, report_faults.c.period == period)
    there = {
        (row.fault, row.other)
        for row in connection.execute(
            select(report_faults.c.fault, report_faults.c.other).where(here)
        )
    }
    for fault, other in there - wanted:
        connection.execute(
            report_faults.delete().where(
                here, report_faults.c.fault == fault, report_faults.c.other == other
            )
        )
    now = now_of(connection)
    for fault, other in sorted(wanted - there):
        connection.execute(
            insert_or_skip(connection, report_faults, ["regime", "period", "fault", "other"]),
            {
                "regime": regime,
                "period": period,
                "fault": fault,
                "other": other,
                "refused": PeriodFault(fault) in REFUSES,
                "recorded_at": now,
            },
        )


def period_faults(connection: Connection) -> list[Fault]:
    """All that are noted, by regime and period."""
    columns = report_faults.c
    query = select(report_faults).order_by(columns.regime, columns.period, columns.fault)
    return [
        Fault(
            regime=row.regime,
            period=row.period,
            fault=PeriodFault(row.fault),
            other=row.other or None,
            refused=row.refused,
            recorded_at=row.recorded_at,
        )
        for row in connection.execute(query)
    ]


def all_reports(
    connection: Connection, *, regime: str | None = None, ends_from: date | None = None
) -> list[Report]:
    """Those that were opened, the newest windows first; with `ends_from` whose window ends then or later."""
    query = select(reports).order_by(
        reports.c.window_to.desc(), reports.c.window_from.desc(), reports.c.report_id
    )
    if regime is not None:
        query = query.where(reports.c.regime == regime)
    if ends_from is not None:
        query = query.where(reports.c.window_to >= ends_from)
    return [_report(row) for row in connection.execute(query)]


def report_of(connection: Connection, report_id: str) -> Report | None:
    """One report."""
    row = connection.execute(select(reports).where(reports.c.report_id == report_id)).first()
    return None if row is None else _report(row)


def _report(row: AnyRow) -> Report:
    return Report(
        regime=row.regime,
        period=row.period,
        agency=row.agency,
        kind=PeriodKind(row.kind),
        calendar=Calendar(row.calendar),
        window=Window(row.window_from, row.window_to),
        units_due_on=row.units_due_on,
        due_on=row.due_on,
    )


# --- figures -----------------------------------------------------------------------------------------


def freeze(
    connection: Connection,
    report: Report,
    revision: int,
    take: int,
    frozen: Frozen,
    actor: Actor,
    *,
    units_due_on: date,
    why: str | None = None,
) -> bool:
    """Freeze these figures as a take of a revision. False: that one is frozen, and stays as it is."""
    content = frozen.snapshot.content()
    now = now_of(connection)
    key = {"report_id": report.report_id, "revision": revision, "take": take}
    snapshot_hash = hash_of(content)
    row = {
        **key,
        "snapshot_hash": snapshot_hash,
        "content": content,
        "known_at": frozen.snapshot.known_at,
        "rules": _json(dict(frozen.snapshot.rules)),
        "units": _json(frozen.snapshot.units()),
        "provisional": _json(dict(frozen.provisional)),
        "imbalances": _json([asdict(one) for one in frozen.imbalances]),
        "carry_over": None if frozen.carry_over is None else _json(asdict(frozen.carry_over)),
        "frozen_at": now,
    }
    inserted = insert_or_skip(connection, report_snapshots, list(key))
    if connection.execute(inserted.returning(report_snapshots.c.take), row).first() is None:
        return False
    connection.execute(
        insert(report_takes),
        {
            **key,
            "state": State.CUT_OFF.value,
            "version": 1,
            "units_due_on": units_due_on,
            "why": why,
            "late": False,
            "changed_at": now,
        },
    )
    action = Action.FREEZE if (revision, take) == (1, 1) else Action.REVISE
    note(
        connection,
        report.report_id,
        (revision, take),
        action,
        actor,
        why=why,
        snapshot_hash=snapshot_hash,
    )
    return True


def takes(connection: Connection, report_id: str) -> list[Take]:
    """All takes of a report, the newest first."""
    return [_take(row) for row in connection.execute(_takes(report_id))]


def newest(connection: Connection, report_id: str, *, lock: bool = False) -> Take | None:
    """The take that counts; None: nothing is frozen. With `lock` nobody changes it before this transaction ends."""
    if lock:
        rows = select(report_takes.c.take).where(report_takes.c.report_id == report_id)
        connection.execute(locked(connection, rows, shared=False)).all()
    row = connection.execute(_takes(report_id).limit(1)).first()
    return None if row is None else _take(row)


def standings(connection: Connection) -> dict[str, list[Stood]]:
    """Where every take of every report stands, the newest first; a report without figures is left out."""
    columns = report_takes.c
    query = select(columns.report_id, columns.revision, columns.take, columns.state).order_by(
        columns.report_id, columns.revision.desc(), columns.take.desc()
    )
    found: dict[str, list[Stood]] = {}
    for row in connection.execute(query):
        stood = Stood(row.report_id, row.revision, row.take, State(row.state))
        found.setdefault(row.report_id, []).append(stood)
    return found


def content_of(connection: Connection, ref: tuple[str, int, int]) -> bytes:
    """The frozen bytes."""
    columns = report_snapshots.c
    query = select(columns.content).where(
        columns.report_id == ref[0], columns.revision == ref[1], columns.take == ref[2]
    )
    content: bytes = connection.execute(query).scalar_one()
    return content


def move(connection: Connection, take: Take, to: State, **columns: Any) -> bool:
    """Bring a take into a state, if it is still as it was read. False: somebody was faster, nothing changed."""
    table = report_takes.c
    moved = connection.execute(
        update(report_takes)
        .where(
            table.report_id == take.report_id,
            table.revision == take.revision,
            table.take == take.take,
            table.version == take.version,
            table.state == take.state.value,
        )
        .values(
            state=to.value,
            version=take.version + 1,
            changed_at=now_of(connection),
            **columns,
        )
    )
    return moved.rowcount == 1


def _takes(report_id: str | None) -> Select[Any]:
    frozen, take = report_snapshots.c, report_takes.c
    query = (
        select(
            report_takes,
            *(
                frozen[name]
                for name in (
                    *("snapshot_hash", "known_at", "rules", "units"),
                    *("provisional", "imbalances", "carry_over", "frozen_at"),
                )
            ),
        )
        .join(
            report_snapshots,
            and_(
                frozen.report_id == take.report_id,
                frozen.revision == take.revision,
                frozen.take == take.take,
            ),
        )
        .order_by(take.report_id, take.revision.desc(), take.take.desc())
    )
    return query if report_id is None else query.where(take.report_id == report_id)


def _take(row: AnyRow) -> Take:
    carry = None if row.carry_over is None else json.loads(row.carry_over)
    return Take(
        report_id=row.report_id,
        revision=row.revision,
        take=row.take,
        state=State(row.state),
        version=row.version,
        snapshot_hash=row.snapshot_hash,
        known_at=row.known_at,
        frozen_at=row.frozen_at,
        units_due_on=row.units_due_on,
        units=json.loads(row.units),
        rules=json.loads(row.rules),
        provisional=json.loads(row.provisional),
        imbalances=tuple(
            Imbalance(**{**one, "dossiers": tuple(one["dossiers"])})
            for one in json.loads(row.imbalances)
        ),
        carry_over=carry and CarryOver(**{**carry, "dossiers": tuple(carry["dossiers"])}),
        why=row.why,
        approved_by=row.approved_by,
        approved_at=row.approved_at,
        submitted_by=row.submitted_by,
        submitted_at=row.submitted_at,
        late=row.late,
    )


def put_draft(
    connection: Connection, take: Take | Stood, known_at: datetime, changes: Sequence[Change]
) -> None:
    """Say how the figures would be now; no changes: there is no draft."""
    if not changes:
        drop_draft(connection, take.report_id)
        return
    row = {
        "report_id": take.report_id,
        "revision": take.revision,
        "take": take.take,
        "known_at": known_at,
        "dossiers": len(changes),
        "changes": _json([asdict(one) for one in changes[:CHANGES_KEPT]]),
        "reckoned_at": now_of(connection),
    }
    written = {name: name for name in row if name != "report_id"}
    connection.execute(insert_or_update(connection, report_drafts, ["report_id"], written), row)


def drop_draft(connection: Connection, report_id: str) -> None:
    """Nothing counts otherwise."""
    connection.execute(report_drafts.delete().where(report_drafts.c.report_id == report_id))


def drafts(connection: Connection) -> dict[str, Draft]:
    """By report; those of a take that no longer counts are left out by whoever compares."""
    return {
        row.report_id: Draft(
            report_id=row.report_id,
            revision=row.revision,
            take=row.take,
            known_at=row.known_at,
            dossiers=row.dossiers,
            changes=tuple(Change(**one) for one in json.loads(row.changes)),
            reckoned_at=row.reckoned_at,
        )
        for row in connection.execute(select(report_drafts))
    }


# --- units -------------------------------------------------------------------------------------------


def confirm(connection: Connection, take: Take, unit: str, actor: Actor) -> bool:
    """A unit confirms what stands about it. False: it had done so."""
    row = {
        "report_id": take.report_id,
        "unit": unit,
        "unit_hash": take.units[unit],
        "confirmed_by": actor.name,
        "confirmed_at": now_of(connection),
    }
    inserted = insert_or_skip(
        connection, report_confirmations, ["report_id", "unit", "unit_hash"]
    ).returning(report_confirmations.c.unit)
    return connection.execute(inserted, row).first() is not None


def confirmations(connection: Connection, take: Take) -> dict[str, Confirmation]:
    """Who has confirmed what stands about it in this take, by unit."""
    columns = report_confirmations.c
    query = select(report_confirmations).where(columns.report_id == take.report_id)
    return {
        row.unit: Confirmation(
            unit=row.unit, unit_hash=row.unit_hash, by=row.confirmed_by, at=row.confirmed_at
        )
        for row in connection.execute(query)
        if take.units.get(row.unit) == row.unit_hash
    }


def object_to(
    connection: Connection, take: Take, unit: str, code: str, reason: Objection, actor: Actor
) -> bool:
    """A unit objects to how a dossier is counted. False: it had done so in this take."""
    row = {
        "report_id": take.report_id,
        "unit": unit,
        "dossier_code": code,
        "revision": take.revision,
        "take": take.take,
        "reason": reason.value,
        "raised_by": actor.name,
        "raised_at": now_of(connection),
    }
    inserted = insert_or_skip(
        connection,
        report_objections,
        ["report_id", "unit", "dossier_code", "revision", "take"],
    ).returning(report_objections.c.unit)
    return connection.execute(inserted, row).first() is not None


def settle(
    connection: Connection, objected: Objected, report_id: str, how: Settlement, actor: Actor
) -> bool:
    """Say how an open objection ended. False: somebody has."""
    columns = report_objections.c
    settled = connection.execute(
        update(report_objections)
        .where(
            columns.report_id == report_id,
            columns.unit == objected.unit,
            columns.dossier_code == objected.dossier_code,
            columns.revision == objected.revision,
            columns.take == objected.take,
            columns.settlement.is_(None),
        )
        .values(settlement=how.value, settled_by=actor.name, settled_at=now_of(connection))
    )
    return settled.rowcount == 1


def objections(connection: Connection, report_id: str) -> list[Objected]:
    """All of a report, in the order in which they were raised."""
    columns = report_objections.c
    query = (
        select(report_objections)
        .where(columns.report_id == report_id)
        .order_by(columns.raised_at, columns.unit, columns.dossier_code)
    )
    return [
        Objected(
            unit=row.unit,
            dossier_code=row.dossier_code,
            revision=row.revision,
            take=row.take,
            reason=Objection(row.reason),
            by=row.raised_by,
            at=row.raised_at,
            settlement=Settlement(row.settlement) if row.settlement else None,
            settled_by=row.settled_by,
            settled_at=row.settled_at,
        )
        for row in connection.execute(query)
    ]


def knows_dossier(connection: Connection, code: str) -> bool:
    """Whether the ledger has a dossier of this code or number."""
    named = select(dossiers.c.dossier_id).where(dossiers.c.code == code).limit(1)
    alias = select(dossier_aliases.c.dossier_id).where(dossier_aliases.c.value == code).limit(1)
    return any(connection.execute(query).first() is not None for query in (named, alias))


# --- the story ---------------------------------------------------------------------------------------


def note(
    connection: Connection,
    report_id: str,
    take: tuple[int, int] | None,
    action: Action,
    actor: Actor,
    *,
    why: str | None = None,
    snapshot_hash: str | None = None,
    about: str | None = None,
) -> None:
    """Add a line to the story of a report. There is none that takes one away."""
    revision, number = take or (None, None)
    connection.execute(
        insert(report_audit),
        {
            "report_id": report_id,
            "revision": revision,
            "take": number,
            "action": action.value,
            "actor": actor.name,
            "account": actor.account,
            "signed_in": actor.signed_in,
            "at": now_of(connection),
            "why": why,
            "snapshot_hash": snapshot_hash,
            "about": about,
        },
    )


def story(connection: Connection, report_id: str) -> list[Audit]:
    """Everything that was done with a report, in order."""
    query = (
        select(report_audit)
        .where(report_audit.c.report_id == report_id)
        .order_by(report_audit.c.audit_id)
    )
    return [
        Audit(
            report_id=row.report_id,
            revision=row.revision,
            take=row.take,
            action=Action(row.action),
            actor=Actor(name=row.actor, account=row.account, signed_in=row.signed_in),
            at=row.at,
            why=row.why,
            snapshot_hash=row.snapshot_hash,
            about=row.about,
        )
        for row in connection.execute(query)
    ]


def newest_period(
    connection: Connection, regime: str, kind: PeriodKind, agency: str
) -> Report | None:
    """The report of a regime and kind whose window ends last."""
    columns = reports.c
    last = (
        select(func.max(columns.window_to))
        .where(columns.regime == regime, columns.kind == kind.value, columns.agency == agency)
        .scalar_subquery()
    )
    query = select(reports).where(
        columns.regime == regime,
        columns.kind == kind.value,
        columns.agency == agency,
        columns.window_to == last,
    )
    row = connection.execute(query).first()
    return None if row is None else _report(row)


def _json(told: object) -> str:
    return json.dumps(told, ensure_ascii=False, sort_keys=True)
