"""A model of a target: what it holds, when it came, and the ways in which it can trouble a sender.

Its truth is the judge's only witness. It notices by itself what must never happen: a state that goes
back, a step before its state, a step appended twice, two dossiers under one code.
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
        self.covers: Callable[[str, int, Held], bool] = lambda dossier, version, held: True
        """Whether what is held is a state at least as new as `version`."""

    def effect(
        self, kind: str, code: str, body: StateRequest | list[StepRequest], limit: int | None
    ) -> Reason | None:
        """Do what the call says, now. Returns why not, or None. `limit`: only so many steps."""
        held = self.held.get(code)
        if kind == "create":
            if held is not None:
                return Reason.ALREADY_EXISTS
            held = self.held[code] = Held(created_at=self.clock(), by=None)
        elif held is None:
            return Reason.NOT_FOUND
        if isinstance(body, StateRequest):
            return self._take_state(code, held, body)
        return self._take_steps(code, held, body, limit)

    def _whose(self, code: str, held: Held, dossier: str) -> None:
        if held.by not in (None, dossier):
            self.violations.append(f"{code}: written by two dossiers")
        held.by = dossier

    def _take_state(self, code: str, held: Held, request: StateRequest) -> None:
        self._whose(code, held, str(request.body["dossier"]))
        version = int(str(request.body["version"]))
        if version < held.version and request.content_hash != held.content:
            self.violations.append(f"{code}: state went back from {held.version} to {version}")
        held.version = max(version, held.version)
        held.content = request.content_hash

    def _take_steps(
        self, code: str, held: Held, steps: list[StepRequest], limit: int | None
    ) -> Reason | None:
        if self.abilities.steps_chunk_atomic and any(s.key in self.refused_keys for s in steps):
            return Reason.REJECTED_BY_TARGET
        for number, step in enumerate(steps):
            if number == limit or step.key in self.refused_keys:
                return Reason.PARTLY_APPLIED if number else Reason.REJECTED_BY_TARGET
            self._whose(code, held, str(step.body["dossier"]))
            position = int(str(step.body["log_pos"]))
            if not self.covers(str(step.body["dossier"]), int(str(step.body["version"])), held):
                self.violations.append(f"{code}: step {position} came before its state")
            listed = [(key, pos) for _, key, pos in held.steps]
            again = (step.key, position) in listed
            if again and self.abilities.steps_dedup:
                continue
            if again and (step.supplement_request or not self.doubles_allowed):
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
        steps = None
        if self.abilities.lookup is Lookup.STEPS:
            steps = tuple(key for at, key, _ in held.steps if at <= as_of)
        return LookupAnswer(present=True, steps=steps)

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
