"""The troubles that the simulated reporting system can be told to have, and the rules that say when."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Stage = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """One kind: what the caller sees. `stages`: whether the call may take effect, default first."""

    name: str
    stages: tuple[Stage, ...]
    delay: float  # default of `delay`, in seconds
    seen: str


_BOTH: tuple[Stage, ...] = ("before", "after")

TROUBLES: dict[str, Trouble] = {
    each.name: each
    for each in (
        Trouble("refuse", ("before",), 0, "connection refused: nothing listens for `seconds`"),
        Trouble("no_answer", _BOTH, 0, "accepted and never answered"),
        Trouble("late_answer", ("after", "before"), 15, "the answer comes after `delay` seconds"),
        Trouble(
            "late_effect", ("after",), 5, "connection closed at once, effect `delay` seconds later"
        ),
        Trouble("drop", ("after", "before"), 0, "connection closed without an answer"),
        Trouble("fault_500", _BOTH, 0, "HTTP 500 without a readable answer; by SOAP a Fault"),
        Trouble("fault_200", _BOTH, 0, "HTTP 200 with a code of failure; by SOAP a Fault"),
        Trouble("business_error", _BOTH, 0, "a refusal with a code of no known list"),
        Trouble("html_502", _BOTH, 0, "HTTP 502 with an HTML page, as a gateway gives"),
        Trouble("html_200", _BOTH, 0, "HTTP 200 with an HTML page, as a login page is"),
        Trouble("truncated", ("after", "before"), 0, "HTTP 200, the answer cut in the middle"),
        Trouble(
            "foreign_answer", ("after", "before"), 0, "the answer of another call, see `foreign`"
        ),
        Trouble("expired_token", ("before",), 0, "the token is ended, and HTTP 401 says so"),
        Trouble("already_exists", _BOTH, 0, "the answer to a create of an existing report"),
        Trouble("rate_limited", ("before",), 0, "HTTP 429 with Retry-After: `retry_after`"),
        Trouble("unavailable", ("before",), 0, "HTTP 503 with Retry-After: `retry_after`"),
        Trouble("overloaded", _BOTH, 0, "HTTP 503 without Retry-After"),
        Trouble("slow_drip", ("after",), 15, "the answer in drops over `delay` seconds"),
        Trouble(
            "reset", ("after", "before"), 0, "connection reset when half of the answer was written"
        ),
        Trouble(
            "duplicate_answer", ("after", "before"), 0, "the answer of the previous call once more"
        ),
        Trouble("connect_timeout", ("before",), 0, "no connection comes about for `seconds`"),
        Trouble("tls_expired", ("before",), 0, "the certificate has expired, for `seconds`"),
        Trouble(
            "tls_unknown_ca", ("before",), 0, "the certificate is an unknown CA's, for `seconds`"
        ),
    )
}

AT_THE_DOOR = ("refuse", "connect_timeout", "tls_expired", "tls_unknown_ca")
"""Troubles that meet every caller before anything is read: they begin at once and last `seconds`."""


class Rule(BaseModel):
    """When a trouble strikes: the body of `POST /_control/faults`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trouble: str
    operation: Literal["*", "write", "create", "update", "look_up", "inbox", "token"] = "*"
    report: str | None = Field(default=None, description="only calls about this report")
    nth: int | None = Field(default=None, ge=1, description="only the n-th matching call from now")
    every: int | None = Field(default=None, ge=1, description="every so many matching calls")
    stage: Stage | None = Field(
        default=None, description="before: no effect; after: the call takes effect all the same"
    )
    times: int | None = Field(
        default=None,
        ge=1,
        description="strikes so often, then ends; 1 where neither every nor seconds is given",
    )
    seconds: float | None = Field(
        default=None,
        gt=0,
        description="ends so long from now; of a trouble at the door: how long (1)",
    )
    delay: float | None = Field(default=None, ge=0, description="seconds, see the trouble")
    retry_after: int = Field(
        default=1, ge=0, description="seconds named by rate_limited and unavailable"
    )
    foreign: Literal["id", "report"] = Field(
        default="id", description="foreign_answer: another message id, or another report"
    )
    overtaken: bool = Field(
        default=False,
        description="late_effect: comes only behind a later write about the report that was granted; waits ten"
        " more delays at most",
    )
    label: str | None = Field(
        default=None, description="noted with every call that it strikes, in `/_truth/calls`"
    )

    @model_validator(mode="after")
    def _known(self) -> Rule:
        kind = TROUBLES.get(self.trouble)
        if kind is None:
            raise ValueError(f"trouble: one of {', '.join(TROUBLES)}")
        if self.stage is not None and self.stage not in kind.stages:
            raise ValueError(f"stage: {self.trouble} knows {', '.join(kind.stages)}")
        if self.nth is not None and self.every is not None:
            raise ValueError("nth and every exclude each other")
        if self.trouble in AT_THE_DOOR and self.model_fields_set - {"trouble", "stage", "seconds"}:
            raise ValueError(
                f"{self.trouble} takes seconds only: it begins at once and meets every caller"
            )
        if self.overtaken and self.trouble != "late_effect":
            raise ValueError("overtaken goes with late_effect")
        return self

    @property
    def in_force(self) -> Stage:
        """The stage, or the trouble's default."""
        return self.stage or TROUBLES[self.trouble].stages[0]

    @property
    def wait(self) -> float:
        """The delay, or the trouble's default. Seconds."""
        return TROUBLES[self.trouble].delay if self.delay is None else self.delay


@dataclass(frozen=True, slots=True)
class Strike:
    """The rule that strikes a call, and its number."""

    number: int
    rule: Rule


@dataclass(slots=True)
class _Armed:
    number: int
    rule: Rule
    until: float | None  # monotonic
    left: int | None
    seen: int = 0


class Troubles:
    """The rules in force. The first one that is due strikes; every matching rule counts the call."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []
        self._last = 0

    def arm(self, rule: Rule) -> int:
        """Put a rule in force; returns its number."""
        self._last += 1
        left = rule.times
        if left is None and rule.every is None and rule.seconds is None:
            left = 1
        until = None if rule.seconds is None else time.monotonic() + rule.seconds
        self._armed.append(_Armed(self._last, rule, until, left))
        return self._last

    def clear(self) -> None:
        self._armed.clear()

    def strike(self, operation: str, report: str | None) -> Strike | None:
        """The trouble of this call, if any."""
        struck: Strike | None = None
        for armed in self._in_force():
            rule = armed.rule
            if rule.report not in (None, report) or not _matches(rule, operation):
                continue
            armed.seen += 1
            if struck is None and self._due(armed):
                struck = Strike(armed.number, rule)
                if armed.left is not None:
                    armed.left -= 1
        return struck

    def listed(self) -> list[dict[str, Any]]:
        """The rules in force, as JSON."""
        return [
            {
                "number": armed.number,
                "seen": armed.seen,
                "left": armed.left,
                **armed.rule.model_dump(exclude_defaults=True),
            }
            for armed in self._in_force()
        ]

    def _in_force(self) -> list[_Armed]:
        now = time.monotonic()
        self._armed = [
            armed
            for armed in self._armed
            if armed.left != 0 and (armed.until is None or now < armed.until)
        ]
        return self._armed

    @staticmethod
    def _due(armed: _Armed) -> bool:
        if armed.rule.nth is not None:
            return armed.seen >= armed.rule.nth
        return armed.rule.every is None or armed.seen % armed.rule.every == 0


def _matches(rule: Rule, operation: str) -> bool:
    if operation == "token":
        return rule.operation == "token"  # a storm of calls must not end in tokens alone
    if rule.trouble == "expired_token" and rule.operation == "token":
        return False
    return rule.operation in ("*", operation) or (
        rule.operation == "write" and operation in ("create", "update")
    )
