"""The cells of the SOAP grid: which trouble, at which write operation, and what must come of it.

Pure. A rule is one of the portal simulator's (connectors/national_portal/simulator/README.md). Where a
trouble can come before or after the effect, the dossiers of a cell take turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.torture import settings as common

WRITES = ("create", "update", "steps")

LOOKUP_LAG_SECONDS = 1.0
"""Longer than elsewhere in the torture, so that a stale look-up is stale by something."""

_BUSY_SECONDS = 3
"""For so long the portal sends the second creation of a late cell away. The hub asks and creates again some
five seconds after a creation of unknown outcome; the late one comes after six, and must find nobody there.
"""

_L = common.LATE_EFFECT_BOUND_SECONDS
_TIMEOUT = common.CALL_TIMEOUT_SECONDS

Rule = Mapping[str, Any]


class Meaning(StrEnum):
    """What the hub can know after the trouble."""

    SURELY_NOT = "surely_not"
    UNKNOWN = "unknown"
    REFUSED = "refused"
    """The portal said no. A chunk of several steps may stand in part: then nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One row of the grid. `look_up` strikes the look-ups about the same dossier."""

    name: str
    rules: tuple[Rule, ...]
    meaning: Meaning
    operations: tuple[str, ...] = WRITES
    look_up: Rule | None = None
    late: bool = False
    """Whether the effect comes after `late_effect_bound`: no sender can guarantee anything then."""


def _either(trouble: str, **more: Any) -> tuple[Rule, ...]:
    return tuple({"trouble": trouble, "stage": stage, **more} for stage in ("after", "before"))


def _once(trouble: str, **more: Any) -> tuple[Rule, ...]:
    return ({"trouble": trouble, **more},)


def _exists(code: str) -> tuple[Trouble, ...]:
    """ "Already exists", to a creation and, out of place, to an update or to steps."""
    name = f"already_exists_{code}"
    rules = _either("already_exists", code=code)
    # To anything but a creation a code of success is a yes, whatever the text beside it says.
    lies = code == "0"
    return (
        Trouble(name=name, rules=rules, meaning=Meaning.SURELY_NOT, operations=("create",)),
        Trouble(
            name=name,
            rules=rules[:1] if lies else rules,
            meaning=Meaning.SURELY_NOT if lies else Meaning.REFUSED,
            operations=("update", "steps"),
        ),
    )


TROUBLES: tuple[Trouble, ...] = (
    Trouble(name="no_answer", rules=_either("no_answer"), meaning=Meaning.UNKNOWN),
    Trouble(
        name="answer_after_timeout",
        rules=_once("late_answer", stage="after", delay=_TIMEOUT * 2),
        meaning=Meaning.UNKNOWN,
    ),
    Trouble(name="fault_500", rules=_either("fault_500"), meaning=Meaning.UNKNOWN),
    Trouble(name="fault_200", rules=_either("fault_200"), meaning=Meaning.UNKNOWN),
    Trouble(
        name="business_error",
        rules=_once("business_error", stage="before"),
        meaning=Meaning.REFUSED,
    ),
    Trouble(name="html_502", rules=_either("html_502"), meaning=Meaning.UNKNOWN),
    Trouble(name="truncated_xml", rules=_either("truncated_xml"), meaning=Meaning.UNKNOWN),
    Trouble(name="wrong_namespace", rules=_either("wrong_namespace"), meaning=Meaning.UNKNOWN),
    Trouble(
        name="slow_drip", rules=_once("slow_drip", delay=_TIMEOUT * 3), meaning=Meaning.UNKNOWN
    ),
    Trouble(name="reset_in_mid_body", rules=_either("reset"), meaning=Meaning.UNKNOWN),
    Trouble(
        name="session_storm",
        rules=_once("expired_session", times=3),
        meaning=Meaning.SURELY_NOT,
    ),
    Trouble(name="duplicate_answer", rules=_either("duplicate_answer"), meaning=Meaning.UNKNOWN),
    Trouble(
        name="answer_for_another_dossier",
        rules=_either("foreign_answer", foreign="dossier"),
        meaning=Meaning.UNKNOWN,
    ),
    *_exists("0"),
    *_exists("3"),
    *_exists("-3"),
    Trouble(
        name="partly_applied_chunk",
        rules=_once("partial_chunk", k=1),
        meaning=Meaning.REFUSED,
        operations=("steps",),  # a state call holds one dossier and has no parts
    ),
    Trouble(
        name="effect_at_half_L",
        rules=_once("late_effect", delay=_L / 2),
        meaning=Meaning.UNKNOWN,
    ),
    Trouble(
        name="effect_at_2_L",
        rules=_once("late_effect", delay=_L * 2),
        meaning=Meaning.UNKNOWN,
        late=True,
    ),
    Trouble(
        name="stale_look_up",
        rules=_once("late_effect", delay=_L * 0.9),
        meaning=Meaning.UNKNOWN,
        look_up={
            "trouble": "stale_look_up",
            "operation": "look_up",
            "delay": LOOKUP_LAG_SECONDS * 0.9,
            "times": 50,
        },
    ),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One trouble at one operation."""

    trouble: Trouble
    operation: str

    @property
    def name(self) -> str:
        return f"{self.trouble.name}/{self.operation}"

    def script(self, turn: int, profile: str) -> list[dict[str, Any]]:
        """The rules for the cell's dossier number `turn`."""
        rules = self.trouble.rules
        struck = {**rules[turn % len(rules)], "operation": self.operation, "label": self.name}
        sent_again = self.operation == "update" or (self.operation, profile) == ("steps", "steps")
        if self.trouble.late and sent_again:
            struck["overtaken"] = True  # however slow this machine is
        script = [struck]
        if self.trouble.look_up is not None:
            script.append({**self.trouble.look_up, "label": f"{self.name}/look_up"})
        if self.trouble.late and self.operation == "create":
            # Else the second creation comes first, and the late one is only refused: nothing is shown.
            script.append(
                {
                    "trouble": "unavailable",
                    "operation": "create",
                    "retry_after": _BUSY_SECONDS,
                    "label": f"{self.name}/again",
                }
            )
        return script

    def shows_late(self, profile: str) -> bool:
        """Whether a look-up can show that an effect of this operation came after the bound."""
        seen_by = {
            "create": ("existence", "state", "steps"),
            "update": ("state", "steps"),
            "steps": ("steps",),
        }
        return profile in seen_by[self.operation]

    def parks(self, profile: str, items: int) -> str | None:
        """The reason for which a dossier rests with a person after the trouble met so many items.

        A refused state is replaced by the newer one that every dossier of the grid gets.
        """
        meaning = self.trouble.meaning
        if self.operation != "steps" or meaning is Meaning.SURELY_NOT:
            return None
        if meaning is Meaning.REFUSED and items == 1:
            return "rejected_by_target"
        return None if profile == "steps" else "outcome_unknown"


CELLS: tuple[Cell, ...] = tuple(
    Cell(trouble, operation) for trouble in TROUBLES for operation in trouble.operations
)

FOR_ALL: tuple[tuple[str, str], ...] = (
    ("refuse", "connection_refused"),
    ("dns", "dns_failure"),
    ("tls_expired", "tls_failure"),
    ("tls_unknown_ca", "tls_failure"),
    ("connect_timeout", "connect_timeout"),
    ("unavailable", "target_unavailable"),
    ("rate_limited", "rate_limited"),
)
"""Troubles that stop the whole flow, and the reason that the hub's attempts must bear.

The last two strike single calls; their `Retry-After` opens the circuit at once.
"""

AT_ONE_CALL = ("unavailable", "rate_limited")
