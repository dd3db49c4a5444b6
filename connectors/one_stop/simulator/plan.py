"""A day as a plan: who applies for what, which life each dossier has, and when each move happens.

Everything is drawn from the seed before the day begins, so that the same seed and day give the same plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from random import Random

from connectors.one_stop.simulator.lives import (
    ENDINGS,
    Do,
    Ending,
    Move,
    act,
    compose,
    note_for,
)
from connectors.one_stop.simulator.people import People
from connectors.one_stop.simulator.process import Act
from connectors.one_stop.simulator.reference import Procedure, Reference
from connectors.one_stop.simulator.rows import Draft
from connectors.one_stop.simulator.warts import Warts

PORTAL_BORN = 0.7
LONG_NOTE = 5000
OPENS, CLOSES = time(7), time(17)
_LAST_START = time(14)
_LAST_MOVE = time(16, 40)
_EVENING_WRITES = time(16, 45)
_BUSINESS = 0.12


@dataclass(slots=True)
class Life:
    """One dossier of the plan. `wart` is the one that it exists for, if any."""

    number: int
    portal_born: bool
    ending: Ending
    wart: str | None
    draft: Draft
    pace: str
    moves: list[Move] = field(default_factory=list)
    origin: Life | None = None
    rival: Life | None = None

    def when(self, *acts: Act) -> datetime | None:
        """The planned time of the first of these actions."""
        return next((m.at for m in self.moves if m.act in acts), None)


@dataclass(frozen=True, slots=True)
class Turn:
    """What happens next in the day: a move, or the commit of one whose transaction was held open."""

    at: datetime
    life: Life
    move: Move
    commits: bool = False


@dataclass(slots=True)
class Plan:
    """The lives and the turns in their order."""

    lives: list[Life]
    turns: list[Turn]


class _Planner:
    def __init__(
        self, seed: int, day: date, dossiers: int, warts: Warts, reference: Reference, people: People,
        number: Callable[[str], str], servers: int,
    ) -> None:  # fmt: skip
        self.random = Random(f"plan:{seed}")
        self.day, self.count, self.warts = day, dossiers, warts
        self.reference, self.people, self.number, self.servers = reference, people, number, servers

    def plan(self) -> Plan:
        lives = self._lives()
        plain = [life for life in lives if life.wart is None]
        self._overlay(plain)
        for life in lives:
            self._schedule(life)
        for life in lives:
            if life.rival is not None:
                self._after_rival(life, life.rival)
        turns = self._turns(lives)
        return Plan(lives, turns)

    # --- who and what ---------------------------------------------------------------------------

    def _lives(self) -> list[Life]:
        w, own = self.warts, list[str]()
        for name in (
            "unmapped_status", "late_code", "copy", "rollback", "deleted_action", "long_note",
            "control_character", "special_character", "never_received", "released_not_finished",
        ):  # fmt: skip
            own += [name] * getattr(w, name)
        own += ["doubled_number", "doubled_number_too"] * w.doubled_number
        if len(own) > self.count:
            raise ValueError(
                f"the warts need {len(own)} dossiers of their own but the day has {self.count}: "
                "raise --dossiers or lower --wart counts"
            )
        kinds: list[str | None] = [*own, *[None] * (self.count - len(own))]
        at_desk = w.late_code + w.copy + w.never_received + 2 * w.doubled_number
        share = min(1.0, PORTAL_BORN * self.count / max(1, self.count - at_desk))
        nth: dict[str, int] = {}
        lives = []
        for number, wart in enumerate(kinds):
            lives.append(self._life(number, wart, nth.get(wart or "", 0), share))
            nth[wart or ""] = nth.get(wart or "", 0) + 1
        plain = [life for life in lives if life.wart is None and life.portal_born]
        for index, life in enumerate(one for one in lives if one.wart == "copy"):
            if not plain:
                raise ValueError("a copy needs an ordinary portal-born dossier: raise --dossiers")
            life.origin = plain[index % len(plain)]
        firsts = [life for life in lives if life.wart == "doubled_number"]
        seconds = [life for life in lives if life.wart == "doubled_number_too"]
        for first, second in zip(firsts, seconds, strict=True):
            second.rival = first
            second.draft = replace(second.draft, agency=first.draft.agency)
        return lives

    def _life(self, number: int, wart: str | None, nth: int, share: float) -> Life:
        r = self.random
        desk = wart in (
            "late_code", "copy", "never_received", "doubled_number", "doubled_number_too"
        )  # fmt: skip
        portal_born = not desk and r.random() < share
        ending = r.choices(list(ENDINGS), list(ENDINGS.values()))[0]
        if wart is not None or (ending is Ending.REFUSED and not portal_born):
            ending = Ending.RETURNED
        via_post = r.random() < 0.25
        draft = self._draft(portal_born, via_post, wart)
        pace = r.choices(("early", "on_time", "late", "carried"), (60, 20, 12, 8))[0]
        life = Life(number, portal_born, ending, wart, draft, pace)
        life.moves = compose(r, ending, portal_born=portal_born, via_post=via_post)
        self._bend(life, nth)
        return life

    def _draft(self, portal_born: bool, via_post: bool, wart: str | None) -> Draft:
        r = self.random
        commune = r.choice(self.reference.communes)
        procedure = self._procedure()
        code = commune.agency_code if procedure.commune_level else procedure.department
        business = not procedure.commune_level and r.random() < _BUSINESS * 3
        person = self.people.applicant(commune.name, business)
        if wart == "special_character":
            person = replace(person, name=f'{person.name} <Chi nhánh "Đất Mũi" & Cộng sự>')
            self.people.add(person)
        components = ("Đơn đề nghị", "Bản chụp giấy tờ tùy thân", "Bản vẽ", "Giấy tờ kèm theo")
        return Draft(
            procedure=procedure,
            service_code=procedure.code,
            agency=self.reference.agencies[code],
            applicant=person,
            portal_born=portal_born,
            code=self.number(code) if portal_born else None,
            via_post=via_post,
            components=components[: r.randint(1, 4)],
            note="Ghi chú dài. ".ljust(LONG_NOTE, "x") if wart == "long_note" else None,
            applicant_name=(
                f"{person.name[:6]}\x0b{person.name[6:]}" if wart == "control_character" else None
            ),
            parks={"long_note": "field_too_long", "control_character": "field_invalid"}.get(
                wart or ""
            ),
            warts=(wart,)
            if wart
            in ("long_note", "control_character", "special_character", "copy", "never_received")
            else (),
        )

    def _procedure(self) -> Procedure:
        level = self.random.random() < 0.6
        return self.random.choice(
            [p for p in self.reference.procedures if p.commune_level is level]
        )

    # --- bending a life to its wart -------------------------------------------------------------

    def _bend(self, life: Life, nth: int) -> None:
        moves, wart = life.moves, life.wart
        if wart == "unmapped_status":
            at = _index(moves, Act.SUBMIT)
            if nth % 2 == 0:
                moves[at + 2 :] = [act(Act.HAND_OVER_RESULT, warts=(wart,))]
            else:
                moves[at:at] = [act(Act.CORRECT, warts=(wart,)), act(Act.CORRECTED)]
        elif wart == "late_code":
            acts = [m for m in moves if m.do is Do.ACT]
            for move in acts[:3]:
                move.with_number = False
            acts[3].warts = (wart,)
        elif wart == "copy":
            del moves[4:]
        elif wart == "rollback":
            at = _index(moves, Act.RELEASE)
            again = act(Act.RELEASE, results=moves[at].results)
            moves[at + 1 : at + 1] = [Move(do=Do.ROLL_BACK, gap=2, warts=(wart,)), again]
        elif wart == "deleted_action":
            at = _index(moves, Act.SUBMIT)
            moves[at + 1 :] = [Move(do=Do.DELETE, warts=(wart,))]
        elif wart == "never_received":
            moves[1:] = [act(Act.REFUSE)] if nth % 2 == 0 else []
        elif wart == "released_not_finished":
            moves[-1].no_finish, moves[-1].warts = True, (wart,)
        elif wart == "doubled_number_too":
            reception = next(m for m in moves if m.reception)
            reception.doubles, reception.warts = True, ("doubled_number",)

    def _overlay(self, plain: list[Life]) -> None:
        w, r = self.warts, self.random
        for life in self._some(plain, w.local_code, "local_code"):
            local = r.choice(self.reference.local)
            level = local.national.commune_level
            agency = (
                life.draft.agency.code
                if level == life.draft.procedure.commune_level
                else r.choice(self.reference.communes).agency_code if level else local.national.department
            )  # fmt: skip
            life.draft = replace(
                life.draft,
                procedure=local.national,
                service_code=local.code,
                agency=self.reference.agencies[agency],
                warts=(*life.draft.warts, "local_code"),
            )
        for life in self._some(plain, w.closed_agency, "closed_agency"):
            life.draft = replace(
                life.draft,
                agency=r.choice(self.reference.closed),
                warts=(*life.draft.warts, "closed_agency"),
            )
        long = [life for life in plain if _rank(life.moves) >= 5]
        for life in self._some(long, w.edited_action, "edited_action"):
            at = len(life.moves) - 2
            life.moves.insert(
                at, Move(do=Do.EDIT, note="Nội dung đã được sửa lại.", warts=("edited_action",))
            )
        for do, count in (
            (Do.PAY, w.payment_alone),
            (Do.FILE, w.file_alone),
            (Do.DUE, w.due_date_alone),
            (Do.NOTE, w.note_alone),
        ):
            name = {"due": "due_date", "pay": "payment"}.get(do.value, do.value) + "_alone"
            fit = long if do is not Do.PAY else [x for x in long if not _pays(x.moves)]
            for life in self._some(fit, count, name):
                first = next(i for i, m in enumerate(life.moves) if m.reception) + 1
                at = r.randint(first, len(life.moves))
                note = "Người dân đã gọi điện hỏi tiến độ." if do is Do.NOTE else None
                life.moves.insert(at, Move(do=do, note=note, gap=0.7, warts=(name,)))
        for life in self._some(long, w.same_second, "same_second"):
            fit_moves = [
                b
                for a, b in zip(life.moves, life.moves[1:], strict=False)
                if a.do is Do.ACT and b.do is Do.ACT and a.act is not Act.IMPORT and a.gap > 0
            ]
            move = r.choice(fit_moves)
            move.gap, move.warts = 0.0, (*move.warts, "same_second")

    def _some(self, lives: list[Life], count: int, what: str) -> list[Life]:
        if count > len(lives):
            raise ValueError(
                f"wart {what}: {count} wanted but only {len(lives)} dossiers are fit for it: "
                "raise --dossiers or lower --wart counts"
            )
        return self.random.sample(lives, count)

    # --- times ----------------------------------------------------------------------------------

    def _schedule(self, life: Life) -> None:
        r = self.random
        start = datetime.combine(self.day, OPENS)
        span = datetime.combine(self.day, _LAST_START) - start
        # A morning and an afternoon peak.
        share = r.choice((r.triangular(0, 0.7, 0.2), r.triangular(0.5, 1, 0.85)))
        first = start + timedelta(seconds=int(span.total_seconds() * share))
        self._times(life, first)

    def _times(self, life: Life, first: datetime) -> None:
        """Give every move its time, so that all fit into the day; whole seconds, as the database keeps."""
        r = self.random
        gaps = [m.gap * r.uniform(300, 2400) for m in life.moves]
        gaps[0] = 0
        room = (datetime.combine(self.day, _LAST_MOVE) - first).total_seconds()
        scale = min(1.0, room / max(1.0, sum(gaps)))
        at = first
        for move, gap in zip(life.moves, gaps, strict=True):
            if move is not life.moves[0] and move.gap > 0:
                at += timedelta(seconds=max(2, int(gap * scale)))
            move.at = at
            move.server = r.randrange(self.servers)
            if move.do is Do.DELETE:
                at = datetime.combine(self.day, _EVENING_WRITES) + timedelta(
                    seconds=r.randrange(600)
                )
                move.at = at
            if move.do is Do.ACT and move.note is None and move.act is not None:
                move.note = note_for(r, move.act, life.draft.applicant.contact)

    def _after_rival(self, life: Life, rival: Life) -> None:
        """The second reception of a number comes after the first."""
        received = rival.when(Act.RECEIVE)
        assert received is not None
        self._times(life, received + timedelta(minutes=5))

    def _turns(self, lives: list[Life]) -> list[Turn]:
        turns = [Turn(m.at, life, m) for life in lives for m in life.moves if m.at is not None]
        # Stable: moves of one dossier in the same second stay in their order.
        turns.sort(key=lambda turn: turn.at)
        return self._late_commits(turns)

    def _late_commits(self, turns: list[Turn]) -> list[Turn]:
        """Hold transactions open: the victim moves to 5 s before the next action of another dossier, takes
        its smaller id then, and commits 1 s after that one."""
        wanted, taken = self.warts.late_commit, set[int]()
        order = list(range(len(turns) - 1))
        self.random.shuffle(order)
        chosen = 0
        for index in order:
            if chosen == wanted:
                break
            victim, other = turns[index], turns[index + 1]
            if not _can_be_late(victim, other, turns, index, taken):
                continue
            taken |= {id(victim.life), id(other.move), id(victim.move)}
            victim.move.late = True
            victim.move.warts = (*victim.move.warts, "late_commit")
            other.move.server = victim.move.server
            victim.move.at = other.at - timedelta(seconds=5)
            chosen += 1
        if chosen < wanted:
            raise ValueError(
                f"wart late_commit: {wanted} wanted but only {chosen} moves are fit for it: "
                "raise --dossiers or lower --wart late_commit"
            )
        done: list[tuple[datetime, int, Turn]] = []
        for place, turn in enumerate(turns):
            at = turn.move.at
            assert at is not None
            done.append((at, place, Turn(at, turn.life, turn.move)))
            if turn.move.late:
                other = turns[place + 1]
                commit = other.at + timedelta(seconds=1)
                done.append((commit, place + 1, Turn(commit, turn.life, turn.move, commits=True)))
        done.sort(key=lambda row: row[:2])
        return [turn for _, _, turn in done]


def _can_be_late(victim: Turn, other: Turn, turns: list[Turn], index: int, taken: set[int]) -> bool:
    if victim.life is other.life or victim.life.wart or other.life.wart:
        return False
    if victim.move.do is not Do.ACT or other.move.do is not Do.ACT or other.move.late:
        return False
    if id(victim.life) in taken or id(other.move) in taken or id(victim.move) in taken:
        return False
    moves = victim.life.moves
    place = next(i for i, m in enumerate(moves) if m is victim.move)
    before = moves[place - 1].at
    after = moves[place + 1].at if place + 1 < len(moves) else None
    start, end = other.at - timedelta(seconds=5), other.at + timedelta(seconds=3)
    if victim.move.gap == 0 or (place + 1 < len(moves) and moves[place + 1].gap == 0):
        return False
    if victim.at > start and index and turns[index - 1].at >= start:
        return False  # others lie between: the order of the day would change
    return (before is None or before < start) and (after is None or after > end)


def _index(moves: list[Move], what: Act) -> int:
    """Where the last of these actions stands."""
    return max(i for i, m in enumerate(moves) if m.act is what)


def _rank(moves: list[Move]) -> int:
    return sum(m.do is Do.ACT for m in moves)


def _pays(moves: list[Move]) -> bool:
    return any(m.do is Do.PAY for m in moves)


def make_plan(
    *,
    seed: int,
    day: date,
    dossiers: int,
    warts: Warts,
    reference: Reference,
    people: People,
    portal_number: Callable[[str], str],
    servers: int = 2,
) -> Plan:
    """The day's plan. `portal_number` hands out a portal number for an agency code.

    Raises ValueError where the warts do not fit into the day; the text names what to change.
    """
    return _Planner(seed, day, dossiers, warts, reference, people, portal_number, servers).plan()


def portal_born(plan: Plan) -> Iterator[Life]:
    """The lives that begin at the portal, in the order in which they appear here."""
    for turn in plan.turns:
        if turn.life.portal_born and turn.move.do is Do.CREATE:
            yield turn.life
