"""The two small protocols that a connector implements: `Source` and `Sink`.

`tests/contract/source_contract.py` and `tests/contract/sink_contract.py` say in tests what the words
here mean; every connector inherits them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, TypeVar

from schemas.dossier.mappings import Codes
from schemas.ledger.model import SeenRow
from schemas.records import Feed, Notice

# --- sinks -----------------------------------------------------------------------------------------


class Lookup(StrEnum):
    """How much a target says about a dossier when asked."""

    EXISTENCE = "existence"  # only whether it is there
    STATE = "state"  # also the fields of its state
    STEPS = "steps"  # also the list of its steps


class StepsUnknown(StrEnum):
    """What to do with steps whose outcome cannot be found out."""

    PARK = "park"
    RESEND = "resend"


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a target can be asked and trusted with (design: the delivery engine, rule 7). Seconds."""

    lookup: Lookup = Lookup.EXISTENCE
    lookup_lag: float = 5.0
    late_effect_bound: float = 60.0
    steps_dedup: bool = False
    steps_chunk_max: int = 10
    steps_chunk_atomic: bool = False
    steps_unknown: StepsUnknown = StepsUnknown.PARK
    verify_after: float | None = None
    """When a look-up verifies what came of an attempt of unknown outcome, from the attempt's start on.
    ``None``: after three times `late_effect_bound`."""

    @property
    def verified_after(self) -> float:
        """`verify_after`, or its default."""
        return 3 * self.late_effect_bound if self.verify_after is None else self.verify_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """Permission to write one call to the wire.

    `noticed_at` was read from the monotonic clock that runs through suspension *before* the intent was
    committed. The transport must call `expired` as its last act before the first byte.
    """

    attempt_id: str  # the X-Road message id
    noticed_at: float
    send_by: float  # seconds after noticed_at

    def expired(self, clock_now: float) -> bool:
        """Whether it is too late to write."""
        return clock_now - self.noticed_at >= self.send_by


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """The bytes of one call, for the sealed content table. Never logged."""

    request: bytes | None = None
    answer: bytes | None = None

    def __repr__(self) -> str:
        return "Exchange(…)"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRequest:
    """A full state, mapped to the target's words. `body` is the connector's own business."""

    code: str
    content_hash: str  # HMAC over what would be sent, without volatile fields
    body: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRequest:
    """One step, mapped. `key` is the HMAC of (time, officer, status, text) as the target would list it."""

    key: str
    supplement_request: bool  # never sent a second time on a guess: two of them make a dossier late
    body: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The target's yes."""

    reference: str | None = None
    exchange: Exchange | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupAnswer:
    """What the target says it holds. `steps` are step keys, as in `StepRequest.key`, in its order."""

    present: bool
    state: Mapping[str, str] | None = None
    steps: tuple[str, ...] | None = None


class Deliverable(Protocol):
    """What the engine itself reads of an event of whatever record type; all else is the sink's."""

    @property
    def effective_at(self) -> datetime:
        """When it took effect: the latency is counted from there."""
        ...

    @property
    def code(self) -> str | None:
        """The number under which a target knows the record. Without one it waits."""
        ...


E_contra = TypeVar("E_contra", bound=Deliverable, contravariant=True)


class Sink(Protocol[E_contra]):
    """Speaks to one target. Mapping and `shown` are pure; the five calls raise only `connectors.errors`.

    `E_contra` is the record type whose events it maps: dossier events, packets of reports.

    `create` and `update` send the full state; `append_steps` sends steps in the given order.
    Concurrency, retries and order are the engine's; a sink does exactly one call, or none.
    """

    target: str
    abilities: Abilities

    def state_request(self, event: E_contra, codes: Codes) -> StateRequest:
        """Map a state. Raises `RejectedError` (unmapped, field_missing, field_too_long, field_invalid)."""
        ...

    def step_request(self, event: E_contra, codes: Codes) -> StepRequest:
        """Map the event's step. Raises `RejectedError`."""
        ...

    def shown(self, request: StateRequest) -> Mapping[str, str]:
        """What `LookupAnswer.state` says of a dossier that holds this state, as far as that is known."""
        ...

    async def create(self, request: StateRequest, intent: Intent) -> Receipt: ...

    async def update(self, request: StateRequest, intent: Intent) -> Receipt: ...

    async def append_steps(
        self, code: str, steps: Sequence[StepRequest], intent: Intent
    ) -> Receipt: ...

    async def look_up(self, code: str) -> LookupAnswer: ...

    async def probe(self) -> None:
        """Log in and look one dossier up, without side effects. Raises as the calls do."""
        ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...


# --- sources ---------------------------------------------------------------------------------------


class CaptureMemory(Protocol):
    """What the ledger remembers of what was captured, so that a source can tell what is new."""

    async def seen(self, source: str, dossier_ids: Sequence[str]) -> Sequence[SeenRow]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a feed, read in one snapshot.

    `notices` are in the order in which they must be produced. `cursor` and `seen` are saved together,
    by compare-and-set, only after the broker has confirmed every notice.
    """

    notices: tuple[Notice, ...]
    cursor: str
    seen: tuple[SeenRow, ...]
    exhausted: bool  # nothing more to read at this moment
    skipped: int = 0  # copies and other records that are none of ours
    oldest_at: datetime | None = None


class Source(Protocol):
    """Reads one outside system, feed by feed, and never writes to it."""

    name: str

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """The feeds it has, in the order in which they are read."""
        ...

    async def read_page(
        self, feed: Feed, cursor: str | None, read_seq: int, memory: CaptureMemory
    ) -> Page:
        """The page after `cursor` (``None`` = from the beginning).

        Raises `SourceUnavailable` (try again), `SourceRestored` (stop and page) or
        `SourceMisconfigured` (stop and page).
        """
        ...

    async def check(self) -> Sequence[str]:
        """Every problem with the connection, schema, rights and clock zone, in plain words."""
        ...

    async def close(self) -> None: ...


class SourceError(Exception):
    """Base of what a source may raise; the text holds no content of a dossier."""


class SourceUnavailable(SourceError):
    """The system does not answer now; the next page is read later."""


class SourceRestored(SourceError):
    """An id came back with another identity, or the log went backwards: a person must look."""


class SourceMisconfigured(SourceError):
    """Wrong password, missing table or right, impossible zone."""
