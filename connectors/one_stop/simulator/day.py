"""The working day: carries the plan out, turn by turn."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict, replace
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from connectors.one_stop.simulator.dossier import Dossier
from connectors.one_stop.simulator.journal import JournalWriter, PortalBorn, Write
from connectors.one_stop.simulator.lives import Do, Move
from connectors.one_stop.simulator.people import Person
from connectors.one_stop.simulator.plan import CLOSES, Life, Plan, Turn, make_plan, portal_born
from connectors.one_stop.simulator.process import Act
from connectors.one_stop.simulator.system import Held, OneStopSystem
from connectors.one_stop.simulator.warts import FULL_DAY, Warts

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")


def last_working_day() -> date:
    """The last Monday to Friday before today in Viet Nam: all of its times lie in the past."""
    day = datetime.now(ZONE).date() - timedelta(days=1)
    while day.weekday() > 4:
        day -= timedelta(days=1)
    return day


class OneStopSimulator(OneStopSystem):
    """A province's one-stop system for one working day.

    `prepare()` once, then exhaust `play()`; or use the methods of `OneStopSystem` for a life of one's own
    (`dossiers=0`). Raises ValueError where the warts do not fit into the day.
    """

    def __init__(
        self,
        engine: Engine,
        journal: JournalWriter,
        *,
        seed: int = 1,
        day: date | None = None,
        dossiers: int = FULL_DAY,
        warts: Warts | None = None,
        id_block: int = 100,
        servers: int = 2,
    ) -> None:
        day = day or last_working_day()
        super().__init__(engine, journal, seed=seed, day=day, id_block=id_block, servers=servers)
        self.seed = seed
        if warts is None:
            warts = Warts.for_day(dossiers) if dossiers else Warts.none()
        self.warts = warts
        self.plan: Plan = make_plan(
            seed=seed,
            day=day,
            dossiers=dossiers,
            warts=warts,
            reference=self.reference,
            people=self.people,
            portal_number=lambda agency: self.next_number(agency, portal=True),
            servers=servers,
        )
        self._played: dict[int, Dossier] = {}
        self._open: dict[int, Held] = {}
        self._asked_at: dict[int, datetime] = {}

    def prepare(self) -> None:
        """Make and fill the tables, and note in the journal what the portal holds and who was invented."""
        super().prepare()
        self._journal.note_fact("people", [asdict(p) for p in self.people.everyone()])
        self._journal.note_fact("portal_born", [asdict(p) for p in self.portal_born()])
        self._journal.note_fact(
            "settings",
            {
                "seed": self.seed,
                "day": self.day.isoformat(),
                "dossiers": len(self.plan.lives),
                "warts": asdict(self.warts),
            },
        )

    def everyone(self) -> tuple[Person, ...]:
        """The invented people of the run."""
        return self.people.everyone()

    def portal_born(self) -> list[PortalBorn]:
        """What the portal holds before the one-stop system does, in the order of appearance."""
        return [
            PortalBorn(
                code=life.draft.code or "",
                procedure=life.draft.procedure.code,
                status="1",
                submitted=f"{life.moves[0].at:%Y%m%d%H%M%S}",
            )
            for life in portal_born(self.plan)
        ]

    @property
    def turns(self) -> int:
        """How many writes the day will make."""
        return sum(not turn.move.late or turn.commits for turn in self.plan.turns)

    def play(self) -> Generator[Turn, None, None]:
        """Carry the day out: one item after each commit. Closing the iterator leaves nothing half-written."""
        try:
            for turn in self.plan.turns:
                self.now = turn.at
                if turn.commits:
                    self._open.pop(turn.life.number).commit()
                elif turn.move.late:
                    self._open[turn.life.number] = self._hold(turn)
                    continue
                else:
                    self._carry_out(turn)
                yield turn
        finally:
            for held in self._open.values():
                held.abandon()
            self._open.clear()

    # --- moves ----------------------------------------------------------------------------------

    def _hold(self, turn: Turn) -> Held:
        move, life = turn.move, turn.life
        assert move.act is not None
        return self.hold_act(
            self._played[life.number], move.act, **self._options(life, move, turn.at)
        )

    def _carry_out(self, turn: Turn) -> None:
        life, move, at = turn.life, turn.move, turn.at
        if move.do is Do.CREATE:
            self._played[life.number] = self.new_dossier(
                self._draft(life), at=at, server=move.server
            )
            return
        dossier, warts = self._played[life.number], move.warts
        if move.do is Do.ACT:
            assert move.act is not None
            self.act(dossier, move.act, **self._options(life, move, at))
        elif move.do is Do.ROLL_BACK:
            self.roll_back(dossier, at=at, warts=warts)
        elif move.do is Do.DELETE:
            self.delete_action(dossier, at=at, warts=warts)
        elif move.do is Do.EDIT:
            self.edit_action(
                dossier,
                move.note or "",
                action_id=dossier.history[-2].action_id,
                at=at,
                warts=warts,
            )
        elif move.do is Do.PAY:
            self.pay(dossier, at=at, warts=warts)
        elif move.do is Do.FILE:
            self.add_file(dossier, "Giấy tờ bổ sung", at=at, warts=warts)
        elif move.do is Do.DUE:
            due = dossier.row["dueDate"] + timedelta(days=1)
            self.touch(dossier, at=at, write=Write.DUE_DATE, warts=warts, dueDate=due)
        else:
            self.touch(dossier, at=at, write=Write.NOTE, warts=warts, dossierNote=move.note)

    def _draft(self, life: Life) -> Any:
        if life.origin is None:
            return life.draft
        origin = self._played.get(life.origin.number)
        by_id = life.number % 2 == 0 and origin is not None
        return replace(
            life.draft,
            origin_id=origin.dossier_id if by_id and origin is not None else 0,
            origin_no=life.origin.draft.code or "",
        )

    def _options(self, life: Life, move: Move, at: datetime) -> dict[str, Any]:
        dossier = self._played[life.number]
        columns: dict[str, Any] = {}
        if move.reception:
            columns = self._appointment(life, at)
        elif move.act is Act.ASK_SUPPLEMENT:
            self._asked_at[life.number] = at
        elif move.act is Act.TAKE_SUPPLEMENT:
            paused = at - self._asked_at[life.number]
            columns["dueDate"] = dossier.row["dueDate"] + paused + timedelta(days=1)
        elif move.act in (Act.EXTEND, Act.EXTEND_LATE):
            columns["extendDate"] = datetime.combine(at.date() + timedelta(days=5), CLOSES)
        if move.no_finish:
            columns["finishDate"] = None
        return {
            "at": at,
            "note": move.note,
            "server": move.server,
            "results": move.results,
            "fee": (life.draft.procedure.fee or 50_000) if move.fee else 0,
            "rival": self._played[life.rival.number] if move.doubles and life.rival else None,
            "with_number": move.with_number,
            "warts": (
                *move.warts,
                *(("step_without_status",) if move.act is Act.HAND_OVER else ()),
            ),
            "columns": columns,
        }

    def _appointment(self, life: Life, at: datetime) -> dict[str, datetime]:
        """Reception and due date so that the life ends early, on time or late, or was late already."""
        if life.pace == "on_time":
            return {"dueDate": datetime.combine(at.date(), CLOSES)}
        if life.pace == "late":
            release = life.when(Act.RELEASE) or at + timedelta(hours=2)
            return {"dueDate": (at + (release - at) / 2).replace(microsecond=0)}
        if life.pace == "carried":
            return {
                "receiveDate": at - timedelta(days=12),
                "dueDate": datetime.combine(at.date() - timedelta(days=1), CLOSES),
            }
        days = max(1, life.draft.procedure.hours // 8)
        return {"dueDate": _working_days_later(at, days)}


def _working_days_later(at: datetime, days: int) -> datetime:
    while days:
        at += timedelta(days=1)
        days -= at.weekday() < 5
    return datetime.combine(at.date(), time(17))
