"""The simulated one-stop system itself: what an officer's clicks write, and what the journal says of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from random import Random
from typing import Any

from sqlalchemy import Engine

from connectors.one_stop.simulator import reference, rows, schema
from connectors.one_stop.simulator.dossier import (
    STATUS_COLUMNS,
    UNMAPPED,
    Done,
    Dossier,
    effects,
    expected,
    sequence,
    stamp,
)
from connectors.one_stop.simulator.ids import Ids
from connectors.one_stop.simulator.journal import Entry, JournalWriter, Write
from connectors.one_stop.simulator.journal import Step as StepAtPortal
from connectors.one_stop.simulator.people import People
from connectors.one_stop.simulator.process import ACTIONS, NEW, Act
from connectors.one_stop.simulator.rows import Draft
from connectors.one_stop.simulator.store import (
    HeldTransaction,
    Statement,
    Store,
    added,
    changed,
    removed,
)

CODE_CONFLICT = "code_conflict"
DELETED_AT_SOURCE = "deleted_at_source"

_FINAL = frozenset({"denied", "cancelled", "unresolved", "done"})


@dataclass(slots=True)
class Held:
    """An action whose transaction is still open."""

    action_id: int
    _transaction: HeldTransaction
    _entry: Entry
    _journal: JournalWriter

    def commit(self) -> Entry:
        """Commit, and write the journal."""
        self._transaction.commit()
        return self._journal.append(self._entry)

    def abandon(self) -> None:
        """Close the transaction without a trace (only when the simulator is stopped)."""
        self._transaction.abandon()


class OneStopSystem:
    """Writes to the database as the province's officers would, step by step, and keeps the journal.

    `day` is the simulated day; `now` its local time, set by the caller or by `at=`. Every method commits one
    transaction and appends one entry to the journal, in that order.
    """

    def __init__(
        self,
        engine: Engine,
        journal: JournalWriter,
        *,
        seed: int = 1,
        day: date,
        id_block: int = 100,
        servers: int = 2,
    ) -> None:
        self.reference = reference.load()
        self.people = People(seed)
        self.day = day
        self.now = datetime.combine(day, time(7))
        self.dossiers: dict[int, Dossier] = {}
        self._engine = engine
        self._store = Store(engine)
        self._journal = journal
        self._random = Random(f"system:{seed}")
        self._ids = Ids(id_block, servers)
        self._numbers: dict[str, int] = defaultdict(int)

    def prepare(self) -> None:
        """Make the tables, and fill in the process, the mappings and the agencies."""
        schema.create(self._engine)
        self._store.open()
        night = datetime.combine(self.day, time(3))
        self._store.commit(
            [added(table, row) for table, row in rows.shipped(self.reference, night)]
        )

    def draft(self, **changes: Any) -> Draft:
        """A dossier of a random procedure of a random commune; `changes` are fields of `Draft`."""
        procedure = self._random.choice([p for p in self.reference.procedures if p.commune_level])
        commune = self._random.choice(self.reference.communes)
        plain = Draft(
            procedure=procedure,
            service_code=procedure.code,
            agency=self.reference.agencies[commune.agency_code],
            applicant=self.people.applicant(commune.name),
        )
        return replace(plain, **changes)

    def new_dossier(
        self,
        draft: Draft | None = None,
        *,
        at: datetime | None = None,
        server: int = 0,
        **changes: Any,
    ) -> Dossier:
        """Write a dossier that nobody has received yet, with its submitted papers."""
        at = self._at(at)
        draft = draft or self.draft(**changes)
        if draft.portal_born and draft.code is None:
            draft = replace(draft, code=self.next_number(draft.agency.code, portal=True))
        dossier_id = self._ids.take("dossier", server)
        row = rows.dossier_row(draft, dossier_id, at, self._random)
        dossier = Dossier(dossier_id, draft, row, NEW.national)
        dossier.steps_held = draft.parks is not None
        statements = [added(schema.dossier, row)]
        statements += self._new_files(dossier, draft.components, False, at, server, [])
        self._store.commit(statements)
        self.dossiers[dossier_id] = dossier
        self._journal.append(
            self._entry(dossier, Write.CREATED, warts=draft.warts, parks=draft.parks)
        )
        return dossier

    def act(self, dossier: Dossier, act: Act, **options: Any) -> int:
        """Do an action (options: see `_stage_action`) and return its id."""
        action_id, statements, entry = self._stage_action(dossier, act, **options)
        self._store.commit(statements)
        self._journal.append(entry)
        return action_id

    def hold_act(self, dossier: Dossier, act: Act, **options: Any) -> Held:
        """Do an action in a transaction that stays open: its id is taken now, it is seen only later.

        Nothing else may be done to the same dossier before `commit`.
        """
        action_id, statements, entry = self._stage_action(dossier, act, **options)
        return Held(action_id, self._store.hold(statements), entry, self._journal)

    def roll_back(
        self, dossier: Dossier, *, at: datetime | None = None, warts: Sequence[str] = ()
    ) -> None:
        """Take the last action back: its row stays, marked; the dossier is as it was before."""
        at, done = self._at(at), self._last(dossier)
        statements = [
            changed(schema.dossieraction, done.action_id, {"state_": 2, "modifiedDate": at}),
            *self._undo(dossier, done, at),
        ]
        self._store.commit(statements)
        self._journal.append(
            self._entry(dossier, Write.ROLLBACK, action=done.action_id, warts=warts)
        )

    def delete_action(
        self, dossier: Dossier, *, at: datetime | None = None, warts: Sequence[str] = ()
    ) -> None:
        """Remove the last action's row; the dossier is as it was before."""
        at, done = self._at(at), self._last(dossier)
        self._store.commit(
            [removed(schema.dossieraction, done.action_id), *self._undo(dossier, done, at)]
        )
        self._journal.append(
            self._entry(
                dossier,
                Write.DELETION,
                action=done.action_id,
                warts=warts,
                parks=DELETED_AT_SOURCE,
            )
        )

    def edit_action(
        self,
        dossier: Dossier,
        note: str,
        *,
        action_id: int | None = None,
        at: datetime | None = None,
        warts: Sequence[str] = (),
    ) -> None:
        """Rewrite the note of an action that was written before (default: the last)."""
        at = self._at(at)
        action = action_id or self._last(dossier).action_id
        self._store.commit(
            [
                changed(schema.dossieraction, action, {"actionNote": note, "modifiedDate": at}),
                self._save(dossier, {}, at),
            ]
        )
        told = StepAtPortal(at="", officer="", status=None, text=note)
        self._journal.append(
            self._entry(dossier, Write.EDIT, action=action, step=told, warts=warts)
        )

    def pay(
        self,
        dossier: Dossier,
        *,
        at: datetime | None = None,
        amount: int = 0,
        warts: Sequence[str] = (),
    ) -> None:
        """Record that the applicant has paid; asks for the fee first where that was not done."""
        at = self._at(at)
        statements: list[Statement] = []
        if dossier.payment_id is None:
            statements += self._ask_fee(
                dossier, amount or dossier.draft.procedure.fee or 20_000, at, 0
            )
        assert dossier.payment_id is not None
        paid = {
            "paymentStatus": rows.FEE_PAID,
            "paymentMethod": "Thanh toán trực tuyến" if dossier.draft.portal_born else "Tiền mặt",
            "confirmDatetime": at,
            "modifiedDate": at,
        }
        statements.append(changed(schema.paymentfile, dossier.payment_id, paid))
        statements.append(self._save(dossier, {}, at))
        self._store.commit(statements)
        self._journal.append(self._entry(dossier, Write.PAYMENT, warts=warts))

    def add_file(
        self,
        dossier: Dossier,
        name: str,
        *,
        result: bool = False,
        at: datetime | None = None,
        warts: Sequence[str] = (),
    ) -> None:
        """Add a paper without an action."""
        at = self._at(at)
        statements = self._new_files(dossier, (name,), result, at, 0, [])
        self._store.commit([*statements, self._save(dossier, {}, at)])
        self._journal.append(self._entry(dossier, Write.FILE, warts=warts))

    def touch(
        self,
        dossier: Dossier,
        *,
        at: datetime | None = None,
        write: Write = Write.TOUCH,
        warts: Sequence[str] = (),
        **columns: Any,
    ) -> None:
        """Change columns of the dossier's row without an action; none changes only `modifiedDate`."""
        self._store.commit([self._save(dossier, columns, self._at(at))])
        self._journal.append(self._entry(dossier, write, warts=warts))

    def next_number(self, agency: str, *, portal: bool = False) -> str:
        """The next dossier number: seven digits when the portal hands it out, four at the agency's desk."""
        series = "portal" if portal else agency
        self._numbers[series] += 1
        number = self._numbers[series]
        tail = f"{9_200_000 + number:07d}" if portal else f"{number:04d}"
        return f"{agency}-{self.day:%Y%m%d}-{tail}"

    # --- inside ---------------------------------------------------------------------------------

    def _stage_action(
        self,
        dossier: Dossier,
        act: Act,
        *,
        at: datetime | None = None,
        note: str | None = None,
        officer: str | None = None,
        server: int = 0,
        results: Sequence[str] = (),
        fee: int = 0,
        rival: Dossier | None = None,
        with_number: bool = True,
        warts: Sequence[str] = (),
        columns: Mapping[str, Any] | None = None,
    ) -> tuple[int, list[Statement], Entry]:
        """Everything that one action writes.

        `columns` are set on the dossier on top of what the action does by itself (`dueDate`, `extendDate`,
        …); `rival` is the dossier whose number is given out a second time; without `with_number` a
        reception leaves the dossier without one; `fee` (VND) is asked for.
        """
        at = self._at(at)
        definition = ACTIONS[act]
        step = definition.to or dossier.step
        if definition.to is not None and step.status is not None:
            national = step.national
        else:  # the step sets no status, or there is no new step: the dossier keeps what it had
            national = dossier.national
        action_id = self._ids.take("action", server)
        officer = officer or (
            "Hệ thống"
            if definition.by_system
            else self.people.officer(f"{dossier.draft.agency.code}:{step.code}")
        )
        values = effects(act, step, at) | dict(columns or {})
        if not dossier.code and rival is not None:
            values["dossierNo"] = rival.code
            dossier.rival = rival.dossier_id
        elif not dossier.code and with_number and act not in (Act.IMPORT, Act.REFUSE):
            values["dossierNo"] = self.next_number(dossier.draft.agency.code)
        before = {k: dossier.row.get(k) for k in (*values, "dossierActionId", *STATUS_COLUMNS)}
        previous, previous_step = dossier.last_action, dossier.step
        done = Done(action_id, dossier.step, dossier.national, before, [])
        statements: list[Statement] = []
        if previous:
            nexts = {"nextActionId": action_id, "state_": 1, "pending": False}
            statements.append(changed(schema.dossieraction, previous, nexts))
        statements += self._new_files(dossier, results, True, at, server, done.files)
        if fee:
            statements += self._ask_fee(dossier, fee, at, server)
        statements.append(self._save(dossier, values | {"dossierActionId": action_id}, at))
        statements.append(
            added(
                schema.dossieraction,
                rows.base(self._random, at)
                | {
                    "dossierActionId": action_id,
                    "dossierId": dossier.dossier_id,
                    "serviceProcessId": rows.SERVICE_PROCESS_ID,
                    "previousActionId": previous,
                    "fromStepCode": previous_step.code if previous else "",
                    "fromStepName": previous_step.name if previous else "",
                    "fromSequenceNo": sequence(previous_step) if previous else "",
                    "actionCode": act.value,
                    "actionUser": officer,
                    "actionName": definition.name,
                    "actionNote": note,
                    "actionOverdue": 0,
                    "pending": step.status not in _FINAL,
                    "rollbackable": True,
                    "stepCode": step.code,
                    "stepName": step.name,
                    "sequenceNo": sequence(step),
                    "dueDate": dossier.row.get("extendDate") or dossier.row.get("dueDate"),
                    "nextActionId": 0,
                    "state_": 0,
                    "eventStatus": 0,
                },
            )
        )
        dossier.history.append(done)
        dossier.step, dossier.national = step, national
        told = StepAtPortal(
            at=stamp(at), officer=officer, status=national, text=note or definition.name
        )
        parks = UNMAPPED if step.unmapped else CODE_CONFLICT if rival is not None else None
        dossier.steps_held = dossier.steps_held or national is None
        entry = self._entry(
            dossier,
            Write.ACTION,
            action=action_id,
            step=told,
            warts=warts,
            parks=parks,
            rival=dossier.rival if rival is not None else None,
        )
        return action_id, statements, entry

    def _entry(
        self,
        dossier: Dossier,
        write: Write,
        *,
        action: int | None = None,
        step: StepAtPortal | None = None,
        warts: Sequence[str] = (),
        parks: str | None = None,
        rival: int | None = None,
    ) -> Entry:
        return Entry(
            dossier=dossier.dossier_id,
            write=write,
            state=expected(dossier),
            action=action,
            step=step,
            held_step=dossier.steps_held,
            parks=parks,
            rival=rival,
            warts=tuple(warts),
        )

    def _save(self, dossier: Dossier, values: Mapping[str, Any], at: datetime) -> Statement:
        new = dict(values) | {"modifiedDate": at}
        dossier.row |= new
        return changed(schema.dossier, dossier.dossier_id, new)

    def _undo(self, dossier: Dossier, done: Done, at: datetime) -> Iterator[Statement]:
        dossier.history.pop()
        dossier.step, dossier.national = done.step, done.national
        for file_id in done.files:
            del dossier.files[file_id]
            yield changed(schema.dossierfile, file_id, {"removed": True, "modifiedDate": at})
        if dossier.last_action:
            pending = {"nextActionId": 0, "state_": 0, "pending": True}
            yield changed(schema.dossieraction, dossier.last_action, pending)
        yield self._save(dossier, done.before, at)

    def _new_files(
        self,
        dossier: Dossier,
        names: Sequence[str],
        result: bool,
        at: datetime,
        server: int,
        ids: list[int],
    ) -> list[Statement]:
        statements: list[Statement] = []
        for name in names:
            file_id = self._ids.take("file", server)
            ids.append(file_id)
            dossier.files[file_id] = result
            row = rows.file_row(file_id, dossier.dossier_id, name, result, at, self._random)
            statements.append(added(schema.dossierfile, row))
        return statements

    def _ask_fee(self, dossier: Dossier, fee: int, at: datetime, server: int) -> list[Statement]:
        dossier.payment_id = self._ids.take("payment", server)
        row = rows.payment_row(
            dossier.payment_id, dossier.dossier_id, dossier.draft.agency, fee, at, self._random
        )
        return [added(schema.paymentfile, row)]

    def _at(self, at: datetime | None) -> datetime:
        """The simulated time of a write. Without one, a second after the last."""
        self.now = at or self.now + timedelta(seconds=1)
        return self.now

    @staticmethod
    def _last(dossier: Dossier) -> Done:
        if not dossier.history:
            raise ValueError(f"dossier {dossier.dossier_id} has no action yet")
        return dossier.history[-1]
