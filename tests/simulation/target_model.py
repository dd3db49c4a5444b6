"""A model of a target: what it holds, when it came, and the ways in which it can trouble a sender.

Its truth is the judge's only witness. It notices by itself what must never happen: a state that goes
back, a step before its state, a step appended twice, two dossiers under one code. An effect that came
later than the target's bound is nobody's fault: it is noted, and must be found where it can be.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from connectors.protocols import Abilities, Lookup, LookupAnswer, StateRequest, StepRequest
from schemas.reasons import Reason


@dataclass
class Held:
    """What the target holds under one code."""

    created_at: float
    by: str | None  # the dossier that our writes came from; None: born there
    version: int = -1
    content: str = "portal"
    steps: list[tuple[float, str, int]] = field(default_factory=list)  # time, key, log position
    states: list[tuple[float, str]] = field(default_factory=list)  # time, content


@dataclass
class Late:
    """The effects that came later than the bound, by code."""

    creates: set[str] = field(default_factory=set)
    states: set[str] = field(
        default_factory=set
    )  # those that put old content in new content's place
    steps: set[tuple[str, int]] = field(default_factory=set)  # with the step's log position


class TargetModel:
    """The far side. `abilities` as in the dialect; troubles happen while `troubled` is set."""

    def __init__(
        self, rng: random.Random, abilities: Abilities, clock: Callable[[], float]
    ) -> None:
        self.rng = rng
        self.abilities = abilities
        self.clock = clock
        self.troubled = True
        self.held: dict[str, Held] = {}
        self.violations: list[str] = []
        self.calls = 0
        self.refused_keys: set[str] = set()
        self.late = Late()
        self.covers: Callable[[str, int, Held], bool] = lambda dossier, version, held: True
        """Whether what is held is a state at least as new as `version`."""

    def effect(
        self,
        kind: str,
        code: str,
        body: StateRequest | list[StepRequest],
        limit: int | None = None,
        late: bool = False,
    ) -> Reason | None:
        """Do what the call says, now. Returns why not, or None. `limit`: only so many steps.

        `late`: this comes after the bound.
        """
        held = self.held.get(code)
        if kind == "create":
            if held is not None:
                return Reason.ALREADY_EXISTS
            held = self.held[code] = Held(created_at=self.clock(), by=None)
            if late:
                self.late.creates.add(code)
        elif held is None:
            return Reason.NOT_FOUND
        if isinstance(body, StateRequest):
            return self._take_state(code, held, body, late)
        return self._take_steps(code, held, body, limit, late)

    def _whose(self, code: str, held: Held, dossier: str) -> None:
        if held.by not in (None, dossier):
            self.violations.append(f"{code}: written by two dossiers")
        held.by = dossier

    def _take_state(self, code: str, held: Held, request: StateRequest, late: bool) -> None:
        self._whose(code, held, str(request.body["dossier"]))
        version = int(str(request.body["version"]))
        if version < held.version and request.content_hash != held.content:
            if late:
                self.late.states.add(code)
            else:
                self.violations.append(f"{code}: state went back from {held.version} to {version}")
        held.version = max(version, held.version)
        held.content = request.content_hash
        held.states.append((self.clock(), held.content))

    def _take_steps(
        self, code: str, held: Held, steps: list[StepRequest], limit: int | None, late: bool
    ) -> Reason | None:
        if self.abilities.steps_chunk_atomic and any(s.key in self.refused_keys for s in steps):
            return Reason.REJECTED_BY_TARGET
        for number, step in enumerate(steps):
            if number == limit or step.key in self.refused_keys:
                return Reason.PARTLY_APPLIED if number else Reason.REJECTED_BY_TARGET
            self._whose(code, held, str(step.body["dossier"]))
            position = int(str(step.body["log_pos"]))
            unsettled = code in self.late.states or code in self.late.creates
            if not unsettled and not self.covers(
                str(step.body["dossier"]), int(str(step.body["version"])), held
            ):
                self.violations.append(f"{code}: step {position} came before its state")
            if late:
                self.late.steps.add((code, position))
            excused = (code, position) in self.late.steps
            listed = [(key, pos) for _, key, pos in held.steps]
            again = (step.key, position) in listed
            if again and self.abilities.steps_dedup:
                continue
            if again and not excused and (step.supplement_request or not self.doubles_allowed):
                self.violations.append(f"{code}: step {position} appended twice")
            if not again and any(pos > position for _, pos in listed):
                self.violations.append(f"{code}: step {position} out of order")
            held.steps.append((self.clock(), step.key, position))
        return None

    @property
    def doubles_allowed(self) -> bool:
        """Whether the dialect chose to resend steps that cannot be asked about."""
        return (
            self.abilities.lookup is not Lookup.STEPS and self.abilities.steps_unknown == "resend"
        )

    def look_up(self, code: str) -> LookupAnswer:
        """What a look-up says: as it was up to `lookup_lag` seconds ago."""
        as_of = self.clock() - self.rng.random() * self.abilities.lookup_lag
        held = self.held.get(code)
        if held is None or held.created_at > as_of:
            return LookupAnswer(present=False, steps=None)
        steps = state = None
        if self.abilities.lookup is not Lookup.EXISTENCE:
            content = "portal"
            for at, taken in held.states:
                content = taken if at <= as_of else content
            state = {"content": content}
        if self.abilities.lookup is Lookup.STEPS:
            steps = tuple(key for at, key, _ in held.steps if at <= as_of)
        return LookupAnswer(present=True, state=state, steps=steps)

    def later(
        self, delay: float, effect: Callable[[], Reason | None]
    ) -> asyncio.Future[Reason | None]:
        """The effect comes after `delay`, whatever has become of the sender by then."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Reason | None] = loop.create_future()

        def come() -> None:
            result = effect()
            if not done.done():
                done.set_result(result)

        loop.call_later(delay, come)
        return done
