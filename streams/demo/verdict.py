"""The verdict: what the one-stop journal says happened, against what the portal holds.

Pure. It knows no mapping, intake or engine: the journal says what the portal should come to hold, the
portal says what it holds, and of the hub it is told only which dossiers it parked and why. What is absent
behind something parked is not missing; that exactly the foreseen dossiers are parked is judged by itself.
Behind a state that parks as foreseen to the end are at most the last steps before it, without a gap: they
may have been read together with that state, and a step waits for the state that it was read with.

An *effect* is a creation, a changed state or an appended step; repeating an identical update is a
duplicate call, not an effect. *Missing* is a step or final state that is absent though nothing that could
hold it back is parked. *Order* is the order of commits in the journal: of the states among themselves, of
the steps among themselves, and of both together: a step comes only after a state that is at least as new.
States may be skipped, so that a step may come after a much newer one. Of two dossiers with one number
either may win.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any

from connectors.one_stop.simulator.journal import (
    Entry,
    ExpectedParked,
    ExpectedState,
    ExpectedStep,
    Owed,
    State,
)

Held = Mapping[str, Any]
"""One dossier as `GET /_truth/dossiers` of the portal simulator gives it."""

_BESIDE_BOTH = frozenset({"deleted_at_source"})
"""What parks for this reason is neither a state nor a step, and holds nothing back."""
_STEPS_ONLY = frozenset({"outcome_unknown", "gap"})
"""What parks for these is a step: a state of unknown outcome is sent again, and a gap is in the steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """The oracle's source side, read from the journal."""

    entries: Sequence[Entry]
    states: Mapping[int, ExpectedState]
    steps: Mapping[int, Sequence[ExpectedStep]]
    parked: Sequence[ExpectedParked]


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """Dossiers that the portal's own troubles may have parked: it says which calls it troubled."""

    refused: frozenset[str] = frozenset()  # by a business error of no known list
    ambiguous: frozenset[str] = frozenset()  # steps of which a portal that lists none cannot tell

    @classmethod
    def by(cls, calls: Sequence[Mapping[str, Any]], *, lists_steps: bool) -> Struck:
        """From `GET /_truth/calls`."""
        refused: set[str] = set()
        ambiguous: set[str] = set()
        for call in calls:
            if call["trouble"] == "business_error":
                refused.update(call["codes"])
            elif call["trouble"] and call["operation"] == "steps" and not lists_steps:
                ambiguous.update(call["codes"])
        return cls(refused=frozenset(refused), ambiguous=frozenset(ambiguous))

    def codes(self, reason: str) -> frozenset[str]:
        """The dossiers that may be parked for this reason because of a trouble."""
        return {"rejected_by_target": self.refused, "outcome_unknown": self.ambiguous}.get(
            reason, frozenset()
        )


@dataclass(slots=True, kw_only=True)
class Verdict:
    """Counts of what is wrong; all of the first seven must be 0 for a clean day. Latencies in seconds."""

    missing: int = 0
    duplicate_effects: int = 0
    order_violations: int = 0
    stale: int = 0
    unexpected: int = 0
    parked_not_expected: int = 0
    expected_not_parked: int = 0
    parked: int = 0
    parked_expected: int = 0
    effects: int = 0
    latency_p50_s: float | None = None
    latency_p95_s: float | None = None
    findings: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether the portal holds exactly what it should, and exactly the rest is parked."""
        return not (
            self.missing
            or self.duplicate_effects
            or self.order_violations
            or self.stale
            or self.unexpected
            or self.parked_not_expected
            or self.expected_not_parked
        )


def judge(
    expected: Expectation,
    held: Mapping[str, Held],
    parked: Mapping[int, frozenset[str]],
    struck: Struck | None = None,
) -> Verdict:
    """Compare. `held` by dossier code; `parked`: source dossier -> reasons for which the hub parked it."""
    verdict = Verdict()
    _judge_parked(verdict, expected, parked, struck or Struck())
    latencies: list[float] = []
    claimed: dict[str, int] = {}
    for dossier, final in expected.states.items():
        code = final.state.code
        if final.owed is Owed.EITHER and "code_conflict" in parked.get(dossier, frozenset()):
            continue
        if code and final.owed is not Owed.NONE:
            claimed[code] = dossier
    for code, portal in held.items():
        verdict.effects += len(portal["steps"]) + sum(
            version["kind"] != "birth" for version in portal["versions"]
        )
        if code not in claimed and _written(portal):
            verdict.unexpected += 1
            verdict.findings.append(f"{code}: written to the portal though nothing is owed")
    histories = _histories(expected.entries)
    for code, dossier in claimed.items():
        foreseen = {one.reason for one in expected.parked if dossier in one.dossiers}
        reasons = parked.get(dossier, frozenset())
        final = expected.states[dossier]
        case = _Case(
            verdict=verdict,
            code=code,
            final=final,
            steps=expected.steps.get(dossier, ()),
            history=histories[dossier],
            held=held.get(code),
            steps_excused=bool(reasons - foreseen - _BESIDE_BOTH),
            state_excused=bool(reasons - foreseen - _BESIDE_BOTH - _STEPS_ONLY),
            state_parked=final.owed is Owed.HELD and bool(reasons & foreseen),
        )
        latencies += case.judge()
    if len(latencies) > 1:
        cuts = quantiles(latencies, n=20)
        verdict.latency_p50_s, verdict.latency_p95_s = round(cuts[9], 2), round(cuts[18], 2)
    return verdict


def _written(portal: Held) -> bool:
    return bool(portal["steps"]) or any(v["kind"] != "birth" for v in portal["versions"])


def _histories(entries: Sequence[Entry]) -> Mapping[int, list[Entry]]:
    histories: dict[int, list[Entry]] = defaultdict(list)
    for entry in entries:
        histories[entry.dossier].append(entry)
    return histories


def _judge_parked(
    verdict: Verdict,
    expected: Expectation,
    parked: Mapping[int, frozenset[str]],
    struck: Struck,
) -> None:
    left = {(dossier, reason) for dossier, reasons in parked.items() for reason in reasons}
    verdict.parked = len(left)
    for one in expected.parked:
        found = [(d, one.reason) for d in one.dossiers if (d, one.reason) in left]
        if found:
            left.discard(found[0])
            verdict.parked_expected += 1
        elif one.certain:
            verdict.parked_expected += 1
            verdict.expected_not_parked += 1
            verdict.findings.append(f"dossier {one.dossiers}: {one.reason} expected, not parked")
    for dossier, reason in sorted(left):
        state = expected.states.get(dossier)
        if state is not None and state.state.code in struck.codes(reason):
            verdict.parked_expected += 1
            continue
        verdict.parked_not_expected += 1
        verdict.findings.append(f"dossier {dossier}: parked {reason}, not expected")


@dataclass(slots=True, kw_only=True)
class _Case:
    """One dossier: what was to come, and what the portal holds."""

    verdict: Verdict
    code: str
    final: ExpectedState
    steps: Sequence[ExpectedStep]
    history: Sequence[Entry]
    held: Held | None
    steps_excused: bool  # something of it is parked that nobody foresaw, and steps wait behind it
    state_excused: bool  # the same, and it may be its newest state
    state_parked: bool

    def judge(self) -> list[float]:
        """Count what is wrong; returns the latencies of the steps that arrived."""
        if self.held is None or not _written(self.held):
            if self.final.owed in (Owed.MUST, Owed.EITHER) and not self.state_excused:
                self._missing("final state")
            return []
        self._judge_state()
        self._judge_versions()
        return self._judge_steps()

    def _missing(self, what: str) -> None:
        self.verdict.missing += 1
        self.verdict.findings.append(f"{self.code}: {what} missing")

    def _judge_state(self) -> None:
        assert self.held is not None
        if self.final.owed not in (Owed.MUST, Owed.EITHER) or _same(self.final.state, self.held):
            return
        if self.state_excused:
            return
        self.verdict.stale += 1
        self.verdict.findings.append(
            f"{self.code}: the portal holds status {self.held['status']}, "
            f"should hold {self.final.state.status}"
        )

    def _judge_versions(self) -> None:
        """The states that came must be states that were, in the order in which they were."""
        assert self.held is not None
        creations = sum(v["kind"] == "creation" for v in self.held["versions"])
        born = any(v["kind"] == "birth" for v in self.held["versions"])
        if creations > (0 if born else 1):
            self.verdict.duplicate_effects += 1
            self.verdict.findings.append(f"{self.code}: created {creations} times")
        place = 0
        for version in self.held["versions"]:
            if version["kind"] == "birth":
                continue
            was = [i for i, entry in enumerate(self.history) if _same(entry.state, version)]
            later = [i for i in was if i >= place and not self.history[i].state.held]
            if later:
                place = later[0]
            elif was and all(self.history[i].state.held for i in was):
                self.verdict.unexpected += 1
                self.verdict.findings.append(f"{self.code}: a state that should wait for a person")
            elif was:
                self.verdict.order_violations += 1
                self.verdict.findings.append(f"{self.code}: its state went back")
            else:
                self.verdict.unexpected += 1
                self.verdict.findings.append(f"{self.code}: a state that never was")

    def _states_that_came(self) -> list[tuple[int, int]]:
        """The number of each effect, and the newest commit of which it can be the state."""
        assert self.held is not None
        return [
            (
                version["effect"],
                max(
                    (
                        entry.order
                        for entry in self.history
                        if not entry.state.held and _same(entry.state, version)
                    ),
                    default=0,
                ),
            )
            for version in self.held["versions"]
        ]

    def _judge_steps(self) -> list[float]:
        assert self.held is not None
        waiting: dict[tuple[str, ...], list[ExpectedStep]] = defaultdict(list)
        known: set[tuple[str, ...]] = set()
        for step in self.steps:
            for key in _keys(step):
                waiting[key].append(step)
                known.add(key)
        latencies: list[float] = []
        arrived: set[int] = set()
        came = self._states_that_came()
        last = 0
        for listed in self.held["steps"]:
            key = (_digits(listed["time"]), listed["officer"], listed["status"], listed["text"])
            match = next((s for s in waiting.get(key, ()) if s.action not in arrived), None)
            if match is None:
                if key in known:
                    self.verdict.duplicate_effects += 1
                    self.verdict.findings.append(f"{self.code}: a step of {key[0]} twice")
                else:
                    self.verdict.unexpected += 1
                    self.verdict.findings.append(f"{self.code}: a step of {key[0]} that never was")
                continue
            arrived.add(match.action)
            if match.owed is Owed.HELD:
                self.verdict.unexpected += 1
                self.verdict.findings.append(
                    f"{self.code}: a step of {key[0]} that should wait for a person"
                )
            if match.order < last:
                self.verdict.order_violations += 1
                self.verdict.findings.append(f"{self.code}: a step of {key[0]} out of order")
            elif match.owed is not Owed.HELD and match.order > max(
                (order for effect, order in came if effect < listed["effect"]), default=0
            ):
                self.verdict.order_violations += 1
                self.verdict.findings.append(f"{self.code}: a step of {key[0]} before its state")
            last = max(last, match.order)
            latencies.append(listed["at"] - match.committed_at.timestamp())
        owed = [step for step in self.steps if step.owed in (Owed.MUST, Owed.EITHER)]
        while self.state_parked and owed and owed[-1].action not in arrived:
            owed.pop()
        for step in owed:
            if step.action not in arrived and not self.steps_excused:
                self._missing(f"step of {step.step.at}")
        return latencies


def _keys(step: ExpectedStep) -> list[tuple[str, ...]]:
    texts = [step.step.text] + ([step.also_text] if step.also_text else [])
    return [(step.step.at, step.step.officer, step.step.status or "", text) for text in texts]


def _same(state: State, listed: Held) -> bool:
    return (
        state.status == listed["status"]
        and state.received == _digits(listed["received"])
        and state.due == _digits(listed["due"])
        and state.finished == _digits(listed["finished"])
        and state.returned == _digits(listed["returned"])
        and state.components == listed["components"]
        and state.results == listed["results"]
    )


def _digits(time: str | None) -> str:
    """ISO with zone, as the portal tells it, to the journal's local `yyyyMMddHHmmss`."""
    return "".join(c for c in time or "" if c.isdigit())[:14]
