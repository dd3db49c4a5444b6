"""What the ledger is asked and told, without SQL: row types and the `Ledger` protocol.

The SQL ledger (`sql.py`) and the in-memory one of the simulation implement the same protocol and pass
the same contract suite (`tests/contract/ledger_contract.py`). Engine times are seconds since the epoch,
taken from the database's clock; a `version` is the `read_seq` of a state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from schemas.dossier.mappings import CodeList, MappingRow
from schemas.reasons import Reason
from schemas.records import (
    DeadLetter,
    DeliveryReceipt,
    DossierEvent,
    IndicatorObservation,
    ReportPacket,
)


class Operation(StrEnum):
    """What an event owes a target."""

    STATE = "state"
    STEP = "step"
    RETRACTION = "retraction"  # a step that is gone at the source: only a person can act


class DeliveryState(StrEnum):
    """The life of a delivery. The last three are ends."""

    PENDING = "pending"
    SENDING = "sending"
    WAITING = "waiting"
    PARKED = "parked"
    DELIVERED = "delivered"
    SUPERSEDED = "superseded"
    DISCARDED = "discarded"


OPEN_STATES = frozenset(
    {DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.WAITING, DeliveryState.PARKED}
)


class AttemptKind(StrEnum):
    """What one call does at the target."""

    CREATE = "create"
    UPDATE = "update"
    STEPS = "steps"


class Outcome(StrEnum):
    """How an attempt ended, said by whoever made it. No outcome: its maker never came back."""

    DELIVERED = "delivered"
    REJECTED = "rejected"
    FAILED = "failed"  # surely not done
    UNKNOWN = "unknown"


class Known(StrEnum):
    """Whether the target knows the dossier, as far as we know."""

    UNKNOWN = "unknown"
    ABSENT = "absent"  # proved: a look-up said so at a time when it could be believed
    PRESENT = "present"


class Verification(StrEnum):
    """What is still to be done at a target because an effect may have come later than believed."""

    FIRST = "first"  # a look-up is due
    MEND = "mend"  # it found an old state: the newest is owed once more, then the second look-up
    SECOND = "second"  # a look-up is due, the last
    LAST_MEND = (
        "last_mend"  # it found an old state again: the newest is owed once more, then no more
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """A claim to own one partition of one flow: refused when the position row says another epoch."""

    flow: str
    topic: str
    partition: int
    owner: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a flow has come in one partition. `next_offset` is the truth; Kafka's is a hint.

    A record's place in the log is `log_base` + its offset, also when the topic was made anew.
    """

    fence: Fence
    next_offset: int
    topic_id: str | None
    log_base: int = 0
    restored: RestoredPartition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredPartition:
    """What was found out, and what must be found out, about one partition of a restored ledger."""

    topic: str
    partition: int
    proved: int  # deliveries that a receipt in the log settles
    dossiers: int  # or reports, at a target, that are looked at before anything is sent
    steps: int  # of them that the target must tell about, or a person


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """One delivery that an event owes, as it enters the ledger."""

    target: str
    operation: Operation
    state: DeliveryState = DeliveryState.PENDING
    reason: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged(ABC):
    """One event of any record type, read from the log, with what it owes.

    `payload` is the record's bytes as on Kafka.
    """

    payload: bytes
    topic: str
    partition: int
    offset: int  # Kafka's
    dues: tuple[Due, ...]
    log_base: int = 0  # set by the ledger from its position

    @property
    def log_pos(self) -> int:
        """Its place in the log: the order within a dossier, also across topics made anew."""
        return self.log_base + self.offset

    @property
    @abstractmethod
    def event_id(self) -> str:
        """What it is known by: the same one is taken in once."""

    @property
    @abstractmethod
    def record_id(self) -> str:
        """Whose event it is: the dossier's id or the report's, `dossier_id` in the tables."""

    @property
    @abstractmethod
    def version(self) -> int:
        """Of the record's state: a greater one is newer."""

    @property
    @abstractmethod
    def effective_at(self) -> datetime:
        """Its day in UTC is the event's source day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enlistment(Logged):
    """One event of a dossier."""

    event: DossierEvent

    @property
    def event_id(self) -> str:
        return self.event.event_id

    @property
    def record_id(self) -> str:
        return self.event.dossier_id

    @property
    def version(self) -> int:
        return self.event.read_seq

    @property
    def effective_at(self) -> datetime:
        return self.event.effective_at


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketEnlistment(Logged):
    """One revision of a report."""

    packet: ReportPacket

    @property
    def event_id(self) -> str:
        return self.packet.packet_id

    @property
    def record_id(self) -> str:
        return self.packet.report_id

    @property
    def version(self) -> int:
        return self.packet.revision

    @property
    def effective_at(self) -> datetime:
        return self.packet.effective_at


@dataclass(frozen=True, slots=True, kw_only=True)
class EnlistResult:
    """What one transaction took in."""

    enlisted: int
    duplicates: int  # events already known, and offsets below the position
    overtaken: int = (
        0  # events of a reading older than the dossier's newest: another capture told them
    )
    restored: tuple[RestoredPartition, ...] = ()
    found: tuple[FoundRow, ...] = ()  # of packets: what is wrong with their numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """One open delivery as the engine sees it. `log_pos` is the offset: the order within the dossier."""

    delivery_id: int
    event_id: str
    operation: Operation
    version: int
    log_pos: int
    state: DeliveryState
    reason: Reason | None
    payload: bytes  # the event's bytes; b"" for a state that is not the newest unparked one


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call, made for one or several deliveries of one dossier. Open until closed."""

    attempt_id: str
    kind: AttemptKind
    delivery_ids: tuple[int, ...]
    version: int  # of the state sent; 0 for steps
    content_hash: str  # of the state sent; of the step keys for steps
    proved_absent: bool  # a create begun when the target provably did not know the dossier
    epoch: int
    started_at: float
    step_keys: tuple[str, ...] = ()  # of a steps attempt, one per delivery: kept on the deliveries
    outcome: Outcome | None = None
    reason: Reason | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DossierTarget:
    """What we know of one dossier at one target."""

    dossier_id: str
    target: str
    partition: int
    known: Known = Known.UNKNOWN
    born_on_portal: bool = False
    delivered_version: int = -1  # -1: none
    delivered_hash: str | None = None  # None: unknown what the target holds
    last_step: int = -1  # log_pos of the last settled step
    claimed_code: str | None = None
    failures: int = 0  # consecutive, for the back-off
    work_seq: int = 0  # raised by every enlistment; released only by compare-and-set
    wake_at: float | None = None
    deadline: float | None = None
    verification: Verification | None = None
    verify_at: float | None = None  # of a look-up that is due


@dataclass(frozen=True, slots=True, kw_only=True)
class SentStep:
    """A step as it was last sent. One that stands there more often, and was found, is listed as often."""

    delivery_id: int
    key: str
    state: DeliveryState


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Everything the engine needs to decide about one dossier and target, read in one snapshot.

    `rows` are the open deliveries in log order (a long history may be cut: `more` says so);
    `attempts` are those not yet closed.
    """

    dossier: DossierTarget
    rows: tuple[DeliveryRow, ...]
    attempts: tuple[Attempt, ...]
    more: bool = False
    # Every step that was ever sent, in log order; read only when a steps attempt is open or a
    # verification is owed, to tell what a look-up's list owes to whom.
    sent_steps: tuple[SentStep, ...] = ()
    # The state that the target should hold, with its payload; read only when a verification is owed.
    delivered: DeliveryRow | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The new state of one delivery."""

    delivery_id: int
    state: DeliveryState
    reason: Reason | None = None
    detail: str | None = None  # field and remedy, never content
    step_key: str | None = None  # of a step whose key no intent has written; None leaves it


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptOutcome:
    """An outcome, appended by whoever made the attempt, whatever the epoch now is."""

    attempt_id: str
    outcome: Outcome
    reason: Reason | None = None
    detail: str | None = None
    reference: str | None = None
    request: bytes | None = None  # sealed
    answer: bytes | None = None  # sealed


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """What is owed next of a verification; no stage: nothing more. Times in seconds."""

    stage: Verification | None = None
    due: float | None = None
    rest: float = 0.0  # the look-up waits at least so long after this was written

    def due_at(self, written_at: float) -> float | None:
        """When the look-up is due, if this is written then."""
        return None if self.due is None else max(self.due, written_at + self.rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a target was found to hold against our belief, for a person to list; see `Reason`."""

    finding_id: str
    reason: Reason
    delivery_id: int | None
    step_key: str | None = None  # of a step that stands there more often than was delivered
    detail: str | None = None  # names of fields, never content


@dataclass(frozen=True, slots=True, kw_only=True)
class DossierPatch:
    """What changes of a `DossierTarget`. ``None`` leaves a field; `clear_hash` empties the hash."""

    known: Known | None = None
    delivered_version: int | None = None
    delivered_hash: str | None = None
    clear_hash: bool = False
    last_step: int | None = None
    failures: int | None = None
    verify: Verify | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One step of one dossier at one target: all of it or nothing, fenced by the partition's epoch.

    Order within: `outcome` is appended first and unfenced; then, if the fence holds, the code is claimed;
    if it is ours, the rest follows. `claimed_code` of the dossier is set by a successful claim.
    `unless_said`: the attempt to `close` was silent when this was decided; has its maker said meanwhile how
    it ended, nothing is written.
    `release_seq`: the dossier is left alone until something is enlisted or `wake_at` comes, unless its
    `work_seq` has moved on (then it stays runnable).
    """

    dossier_id: str
    target: str
    fence: Fence
    outcome: AttemptOutcome | None = None
    claim: str | None = None
    intent: Attempt | None = None  # `started_at` is set by the database's clock
    close: str | None = None  # attempt id
    unless_said: bool = False
    settled: tuple[Settled, ...] = ()
    patch: DossierPatch | None = None
    findings: tuple[Finding, ...] = ()
    release_seq: int | None = None
    wake_at: float | None = None


class Verdict(StrEnum):
    """What became of a change."""

    DONE = "done"
    STALE = "stale"  # the partition has another owner: nothing but the outcome was written
    OVERTAKEN = "overtaken"  # the attempt's maker has spoken meanwhile: read again, then decide
    CODE_TAKEN = (
        "code_taken"  # the code belongs to another dossier: nothing but the outcome was written
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The verdict, and for an intent the database's time at which it was written."""

    verdict: Verdict
    at: float


class StaleOwner(Exception):
    """The partition has another owner: this one must stop."""


class PositionHole(Exception):
    """The log does not go on where the ledger stands, or is another log: the flow stops and pages."""


class LedgerUnavailable(Exception):
    """The database does not answer now; the caller waits and tries again."""


class LedgerRefuses(Exception):
    """The database cannot hold what it was given: the same rows will be refused again.

    The whole transaction was undone. The text names code, table and constraint, never a value; the
    original error is the cause.
    """


class LedgerMismatch(Exception):
    """The database is not at the migration this code needs. The text names the remedy."""


class LedgerReplaced(LedgerMismatch):
    """The database is not the one that this process opened, or was restored: the process must end.

    What starts in its place verifies what the lost time may have sent, before it sends anything.
    """


class EngineLedger(Protocol):
    """What the delivery engine needs of the ledger."""

    async def now(self) -> float:
        """The database's clock, seconds since the epoch."""
        ...

    async def runnable(
        self, target: str, fences: Sequence[Fence], limit: int, exclude: frozenset[str]
    ) -> Sequence[Work]:
        """Dossiers of these partitions with something to do now, nearest legal deadline first.

        A dossier is runnable from its enlistment until it is released, and again when its `wake_at`
        has come. Those in `exclude` are left out. Partitions whose fence is stale yield nothing.
        """
        ...

    async def reload(self, target: str, dossier_id: str) -> Work:
        """The same for one dossier, runnable or not."""
        ...

    async def commit(self, changes: Sequence[Change]) -> Sequence[Applied]:
        """Apply all changes in one transaction, each as `Change` says.

        Raises `LedgerUnavailable`, or `LedgerRefuses` when the database will not hold one of them: then none
        was written.
        """
        ...


class Ledger(EngineLedger, Protocol):
    """The whole ledger, as the flows need it. Every method raises `LedgerUnavailable` and `LedgerRefuses`."""

    async def take_over(
        self, flow: str, topic: str, topic_id: str | None, partitions: Sequence[int], owner: str
    ) -> Sequence[Position]:
        """Become the owner: the epoch is raised, unless the owner already is `owner`.

        Raises `PositionHole` when `topic_id` differs from the one remembered.
        """
        ...

    async def held(self, fences: Sequence[Fence]) -> frozenset[Fence]:
        """Those of the claims that still hold."""
        ...

    async def enlist(
        self,
        positions: Mapping[int, Fence],
        next_offsets: Mapping[int, int],
        batch: Sequence[Enlistment],
        first_offsets: Mapping[int, int],
    ) -> EnlistResult:
        """One transaction: project the dossiers and their timelines, insert the deliveries, advance.

        Per partition: `first_offsets` is the first offset of the batch, `next_offsets` one past its last.
        A first offset beyond the position raises `PositionHole`; rows below it are skipped. Raises
        `StaleOwner` when any fence does not hold. An event id already known is skipped.
        """
        ...

    async def enlist_packets(
        self,
        positions: Mapping[int, Fence],
        next_offsets: Mapping[int, int],
        batch: Sequence[PacketEnlistment],
        first_offsets: Mapping[int, int],
    ) -> EnlistResult:
        """As `enlist`, of reports: what is owed and the position, and nothing of any dossier.

        A revision that is not above the newest one taken in is overtaken. One that comes without the one
        before it is taken in, and one whose number was used for another content is not; both are findings.
        """
        ...

    async def advance(
        self,
        fence: Fence,
        first_offset: int,
        next_offset: int,
        dead_letters: Sequence[DeadLetter] = (),
    ) -> None:
        """Move a position without events, keeping dead letters. Raises as `enlist`."""
        ...

    async def still_the_same(self) -> None:
        """Raises `LedgerReplaced` when the ledger was restored under this process."""
        ...

    async def unpublished(
        self, limit: int, fences: Sequence[Fence] | None = None
    ) -> Sequence[DeliveryReceipt]:
        """Receipts of delivered rows that were not yet published, oldest first.

        With `fences` only those of their partitions, as far as the fences hold: so that of several
        processes each publishes its own.
        """
        ...

    async def mark_published(self, delivery_ids: Sequence[int]) -> None: ...

    async def mapping_rows(self) -> tuple[int, Sequence[MappingRow]]:
        """The mapping version and all rows."""
        ...

    async def put_mappings(
        self, rows: Sequence[MappingRow], *, replace_origin: bool = False
    ) -> int:
        """Insert or replace rows; deliveries parked as unmapped become pending. Returns how many did.

        `replace_origin`: rows of the same codelist, system and origin that are not in `rows` are removed.
        """
        ...

    async def unmapped(self) -> Mapping[CodeList, int]:
        """Dossiers parked as unmapped, by code list (from the parked detail ``codelist=…``)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SingletonFence:
    """A claim to be the only one of a kind (capture of a source, period close, reconciliation)."""

    name: str
    owner: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRow:
    """What was captured of one row of a source: an action, or a dossier's whole state."""

    kind: str  # "action" | "dossier"
    row_id: str
    dossier_id: str
    uid: str
    content_hash: str
    status: str | None = None
    gone: bool = False


class CaptureLedger(Protocol):
    """What the capture service needs of the ledger."""

    async def take_singleton(self, name: str, owner: str) -> SingletonFence:
        """Become the only one, whoever was: the epoch is raised, unless the owner already is `owner`."""
        ...

    async def take_silent_singleton(
        self, name: str, owner: str, silence: float
    ) -> SingletonFence | None:
        """The same if nobody holds it, or its owner has not beaten for `silence` seconds; else ``None``."""
        ...

    async def beat_singleton(self, fence: SingletonFence) -> None:
        """Say that the owner lives, by the database's clock. Raises `StaleOwner`."""
        ...

    async def release_singleton(self, fence: SingletonFence) -> None:
        """Let the next one take it at once; nothing happens when it is another one's already."""
        ...

    async def cursor(self, source: str, feed: str) -> str | None: ...

    async def next_read_seq(self, source: str, fence: SingletonFence) -> int:
        """Raise and return the source's `read_seq`, committed before the page is read.

        Raises `StaleOwner`.
        """
        ...

    async def save_page(
        self,
        source: str,
        feed: str,
        fence: SingletonFence,
        old_cursor: str | None,
        new_cursor: str,
        seen: Sequence[SeenRow],
    ) -> None:
        """Save cursor and memory by compare-and-set. Raises `StaleOwner` when either has moved."""
        ...

    async def seen(
        self, source: str, dossier_ids: Sequence[str], fence: SingletonFence
    ) -> Sequence[SeenRow]:
        """What is remembered. Raises `StaleOwner`.

        What another capture remembered meanwhile, a page that was read before cannot be compared with.
        """
        ...


class KeyStore(Protocol):
    """Keeps the wrapped data keys of the months."""

    async def wrapped_keys(self) -> Mapping[str, bytes]:
        """Key id ("2026-11") -> data key wrapped by the master key."""
        ...

    async def add_wrapped_key(self, key_id: str, wrapped: bytes) -> None:
        """Insert unless one with this id is there (then nothing changes)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetCounts:
    """How a target stands: deliveries by (state, reason), and what is oldest. For metrics and the demo."""

    target: str
    deliveries: Mapping[tuple[DeliveryState, str], int]  # reason "" where there is none
    parked_dossiers: Mapping[str, int]  # reason -> distinct dossiers
    oldest_open_at: datetime | None  # effective time of the oldest delivery that only waits for us


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceEntry:
    """One line in the story of a dossier, for `thongsuot trace`. `facts` holds no personal data."""

    at: datetime
    kind: str  # event | delivery | attempt | receipt | finding | dead_letter
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRow:
    """One finding, with the dossier that it is about."""

    target: str
    dossier_id: str
    at: datetime
    finding: Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportDelivery:
    """What became of one revision of a report at a target.

    `attempts`: how many calls were made for it. `reference`: the target's own number in its receipt.
    """

    revision: int
    target: str
    state: DeliveryState
    reason: Reason | None
    detail: str | None
    attempts: int
    reference: str | None
    enlisted_at: datetime
    settled_at: datetime | None


class LedgerReports(Protocol):
    """Questions that people and metrics ask; nothing here is on a delivery's way."""

    async def counts(self) -> Sequence[TargetCounts]: ...

    async def event_counts(self) -> Mapping[str, int]:
        """ "events", "dossiers", "dead_letters", "attempts", "attempts_asked", and "packets" of reports.

        The first two and the attempts are those of dossiers; a report counts as a packet only.
        """
        ...

    async def open_dead_letters(self) -> Mapping[str, int]:
        """Dead letters that nobody has dealt with, by reason."""
        ...

    async def findings(self) -> Sequence[FoundRow]:
        """What verifications found at the targets, oldest first."""
        ...

    async def find_dossier(self, number: str) -> Sequence[str]:
        """Internal ids of the dossiers known by this number (code, alias or internal id)."""
        ...

    async def find_report(self, report_id: str) -> Sequence[str]:
        """The report known by this id, where anything of it was ever taken in."""
        ...

    async def trace(self, dossier_id: str) -> Sequence[TraceEntry]:
        """The whole story of a dossier or a report, oldest first."""
        ...

    async def report_deliveries(self, report_id: str) -> Sequence[ReportDelivery]:
        """What became of each revision of a report, the first one first."""
        ...


# --- indicator observations --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a decision about further observations goes by: the ledger as the deciding transaction sees it."""

    observations: Sequence[IndicatorObservation]
    agencies: frozenset[str]  # codes that any mapping of agencies leads to, at whatever time
    now: datetime  # by the database's clock


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedObservation:
    """One fault of an observation that was not taken. Codes only: what was sent may hold personal data."""

    origin: str  # the way by which it came, e.g. "csv"
    place: str  # where in what was handed in, e.g. the file's digest and the line
    field: str  # "" where it is no field in particular
    reason: str  # from a closed list
    indicator: str | None  # this and the next two where they are codes that we know
    agency: str | None
    period: str | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was decided about some observations: those that are taken, and the faults of the others."""

    taken: Sequence[IndicatorObservation] = ()
    refused: Sequence[RefusedObservation] = ()


class ObservationLedger(Protocol):
    """Figures that other systems report, each with the story of its corrections."""

    async def put_observations(
        self,
        judge: Callable[[Observed], Sequence[IndicatorObservation]],
        about: Sequence[IndicatorObservation] | None = None,
    ) -> Sequence[IndicatorObservation]:
        """Keep what `judge` takes, decided and written in one transaction. Returns what is new.

        `judge` sees all that is there; with `about`, what is there about the figures of these and under
        their ids, which is all that the rules ask for. An id that is there already is left as it is. What `judge` raises is raised, and nothing is
        written. It is pure: it may be asked again. It is not asked while another one decides.
        """
        ...

    async def take_observations(
        self,
        fence: Fence,
        first_offset: int,
        next_offset: int,
        wanted: Sequence[IndicatorObservation],
        judge: Callable[[Observed], Judged],
        dead_letters: Sequence[DeadLetter] = (),
    ) -> None:
        """As `put_observations` about `wanted`, with the faults and the position in the same transaction.

        Raises as `Ledger.advance`.
        """
        ...

    async def observations(
        self, *, indicator: str | None = None, agency: str | None = None, period: str | None = None
    ) -> Sequence[IndicatorObservation]:
        """Those of an indicator, agency or period, corrections with what they correct; in a fixed order."""
        ...

    async def agencies(self) -> frozenset[str]:
        """As in `Observed`."""
        ...

    async def put_refused_observations(self, rows: Sequence[RefusedObservation]) -> None:
        """Note faults. One that was noted before stays as it was."""
        ...

    async def refused_observations(self, limit: int) -> Sequence[RefusedObservation]:
        """The newest `limit` of them, newest first."""
        ...
