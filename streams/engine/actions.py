"""What the core of the engine is told, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from connectors.protocols import LookupAnswer
from schemas.ledger.model import AttemptKind, DeliveryRow, DossierPatch, Settled
from schemas.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One row after mapping: what would be sent, or why it cannot be.

    `content_hash` is that of the state, or the key of the step; `shown` is what a look-up says of a
    dossier that holds the state, and is only there for the state that the target should hold.
    """

    code: str | None = None
    content_hash: str = ""
    supplement_request: bool = False
    refusal: Reason | None = None
    detail: str | None = None
    shown: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A look-up's answer and the database's time at which the question was put, never later."""

    asked_at: float
    said: LookupAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Nothing to do until something is enlisted, or until `wake_at`."""

    wake_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Look the dossier up at the target."""

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Something that the target holds against our belief. `step_key`: of a step too many."""

    reason: Reason
    delivery_id: int | None
    step_key: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """Write to the ledger, without a call."""

    close: str | None = None
    settled: tuple[Settled, ...] = ()
    patch: DossierPatch | None = None
    found: tuple[Found, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Make one call. `claim` is the code to be claimed with the intent, where it is not ours yet."""

    kind: AttemptKind
    rows: tuple[DeliveryRow, ...]
    code: str
    version: int
    content_hash: str
    claim: str | None = None
    proved_absent: bool = False
    step_keys: tuple[str, ...] = ()


Action = Idle | Ask | Settle | Send
