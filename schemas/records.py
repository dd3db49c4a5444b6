"""The typed records that travel through Kafka, each the twin of one Avro schema in `avro/`.

All are frozen. Times are `datetime` with zone UTC. Amounts are whole Vietnamese đồng. What a source does
not hold is ``None``, never an invented value. Personal data and every free text are in `PersonalData`,
which travels sealed (`schemas.sealing`) as the bytes of a field named ``sealed``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from schemas.reports.kinds import PacketKind


class Feed(StrEnum):
    """Which feed of a source saw a record."""

    ACTIONS = "actions"
    CHANGES = "changes"
    SWEEP = "sweep"


class EventKind(StrEnum):
    """What happened to a record at its source."""

    CHANGE = "change"
    CORRECTION = "correction"  # an action already captured was edited: listed, never sent again
    ROLLBACK = "rollback"
    DELETION = "deletion"
    GAP = "gap"


class Channel(StrEnum):
    """How the dossier came in (portal code list KenhThucHien)."""

    DIRECT = "direct"
    ONLINE = "online"
    POSTAL = "postal"


class ApplicantType(StrEnum):
    """Who applies (portal code list LoaiDoiTuong, Gen-1)."""

    CITIZEN = "citizen"
    ENTERPRISE = "enterprise"
    STATE_AGENCY = "state_agency"
    ORGANISATION = "organisation"


class ReturnMethod(StrEnum):
    """How the result goes back (portal code list HinhThuc)."""

    COUNTER = "counter"
    POST = "post"


class FinancialState(StrEnum):
    """The financial axis of a dossier's state."""

    NONE = "none"
    OWED = "owed"
    PAID = "paid"


class ResultState(StrEnum):
    """The result-delivery axis of a dossier's state."""

    NOT_READY = "not_ready"
    READY = "ready"
    RETURNED = "returned"


class OnlinePayment(StrEnum):
    """Whether fees were paid online (portal code list DuocThanhToanTrucTuyen)."""

    NONE = "none"
    PORTAL = "portal"
    AGENCY_GATEWAY = "agency_gateway"
    OFFLINE = "offline"  # a fee exists and was not paid online


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a source said about one dossier, as it said it. Topic `onestop.notices`."""

    notice_id: str
    dossier_id: str
    source: str
    feed: Feed
    cursor: str
    read_seq: int
    kind: EventKind
    payload_format: str  # who can read the payload, e.g. "opencps/1"
    sealed: bytes  # the payload, sealed with the dossier id as associated data
    captured_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """One of the numbers that a dossier is known by."""

    kind: str  # dossier_no | portal_no | reference_uid | origin_no | source_id
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Procedure:
    """The administrative procedure (thủ tục hành chính) as the source has it."""

    local_code: str | None
    national_code: str | None
    name: str | None
    version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeName:
    """A code with its name, as the source has them."""

    code: str | None
    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """The status in the source's own words; national codes are looked up when sending."""

    status: str | None
    sub_status: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DossierTimes:
    """The times of a dossier's life. `due` is the date in force, `extended` the one set by an extension."""

    created: datetime | None = None
    submitted: datetime | None = None
    received: datetime | None = None
    due: datetime | None = None
    extended: datetime | None = None
    previous_due: datetime | None = None
    finished: datetime | None = None
    returned: datetime | None = None
    withdrawn: datetime | None = None
    refused: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplement:
    """One request to supplement the dossier; its words are in `PersonalData.supplements`."""

    supplement_id: str
    requested_at: datetime
    completed_at: datetime | None
    old_due: datetime | None
    new_due: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fee:
    """One fee line. Amounts in whole VND."""

    fee_id: str
    code: str | None
    name: str | None
    amount: int
    status: int | None
    method: str | None
    paid_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One submitted paper; its file name is in `PersonalData.file_names`."""

    file_id: str
    part_code: str | None
    reference: str | None
    removed: bool
    digitised: bool | None
    reused: bool | None
    from_data_store: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultPaper:
    """One result paper; its file name is in `PersonalData.file_names`."""

    file_id: str
    part_code: str | None
    result_code: str | None
    reference: str | None
    removed: bool
    signed: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreFields:
    """The fields that drive the Decision 766 figures and have no other place (reporting contract §4.3)."""

    submitted_at_portal: bool | None = None  # NoiNopHoSo
    has_digitised_components: bool | None = None
    vneid_authenticated: bool | None = None
    online_payment: OnlinePayment | None = None
    databases_used: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One processing step. Officer and text are in `PersonalData.step_officer` and `step_text`."""

    action_id: str
    previous_action_id: str | None
    action_code: str | None
    step_code: str | None
    status: SourceStatus  # the status after this action, from the process step
    status_carried: bool  # the process step has no status: carried forward from the action before
    at: datetime
    due: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StateAsOf:
    """Up to where the state is true: it may be newer than the action that brought it."""

    action_id: str | None
    modified_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DossierEvent:
    """One understood change of one dossier: the full state as read and at most one step.

    Topic `dossier.events`; the Kafka key is `dossier_id`. `read_seq` is the version of the state.
    A gap, and the deletion of a whole dossier, carry only identity, `read_seq` and times: `identity_only`.
    """

    event_id: str
    dossier_id: str
    kind: EventKind
    source: str
    feed: Feed
    cursor: str
    content_hash: str  # HMAC of what was read
    read_seq: int
    state_as_of: StateAsOf
    dossier_code: str | None
    aliases: tuple[Alias, ...]
    born_on_portal: bool
    procedure: Procedure
    sector: CodeName
    receiving_agency: CodeName
    handling_agency: CodeName
    channel: Channel | None
    applicant_type: ApplicantType | None
    business_state: SourceStatus
    financial_state: FinancialState | None
    result_state: ResultState | None
    return_method: ReturnMethod | None
    times: DossierTimes
    supplements: tuple[Supplement, ...]
    fees: tuple[Fee, ...]
    attachments: tuple[Attachment, ...]
    results: tuple[ResultPaper, ...]
    score: ScoreFields
    fallbacks: tuple[str, ...]  # fields filled from another field of the same row, e.g. "step_text"
    step: Step | None
    effective_at: datetime
    recorded_at: datetime
    sealed: bytes  # PersonalData; empty in a gap

    @property
    def code(self) -> str | None:
        """The number under which a target knows the dossier."""
        return self.dossier_code


def identity_only(
    *,
    event_id: str,
    dossier_id: str,
    kind: EventKind,
    source: str,
    feed: Feed,
    cursor: str,
    content_hash: str,
    read_seq: int,
    effective_at: datetime,
    recorded_at: datetime,
    sealed: bytes,
) -> DossierEvent:
    """An event that says which dossier and when, and nothing that could be sent."""
    nobody = CodeName(code=None, name=None)
    return DossierEvent(
        event_id=event_id,
        dossier_id=dossier_id,
        kind=kind,
        source=source,
        feed=feed,
        cursor=cursor,
        content_hash=content_hash,
        read_seq=read_seq,
        state_as_of=StateAsOf(action_id=None, modified_at=None),
        dossier_code=None,
        aliases=(),
        born_on_portal=False,
        procedure=Procedure(local_code=None, national_code=None, name=None, version=None),
        sector=nobody,
        receiving_agency=nobody,
        handling_agency=nobody,
        channel=None,
        applicant_type=None,
        business_state=SourceStatus(status=None, sub_status=None),
        financial_state=None,
        result_state=None,
        return_method=None,
        times=DossierTimes(),
        supplements=(),
        fees=(),
        attachments=(),
        results=(),
        score=ScoreFields(),
        fallbacks=(),
        step=None,
        effective_at=effective_at,
        recorded_at=recorded_at,
        sealed=sealed,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalData:
    """The personal fields and free texts of one `DossierEvent`. Exists in clear only in memory."""

    owner_name: str | None = None
    owner_id_no: str | None = None
    submitter_name: str | None = None
    phone: str | None = None
    email: str | None = None
    address: str | None = None
    summary: str | None = None
    note: str | None = None
    step_officer: str | None = None
    step_text: str | None = None
    file_names: dict[str, str] = field(default_factory=dict)  # file id -> name
    supplements: dict[str, dict[str, str]] = field(
        default_factory=dict
    )  # supplement id -> {"requested_by", "text", "received_by"}

    def __repr__(self) -> str:
        return "PersonalData(…)"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReceipt:
    """A target's answer that settled a delivery. Topic `delivery.receipts`, at least once."""

    delivery_id: int
    event_id: str
    dossier_id: str
    dossier_code: str | None
    target: str
    operation: str
    attempt_id: str | None
    reference: str | None  # what the target calls it, where it says
    effective_at: datetime
    delivered_at: datetime
    step_key: str | None = None  # of a step: the HMAC by which a look-up's list shows it


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """Bytes that could not be understood, kept whole. Topic `dead.letters`."""

    topic: str
    partition: int
    offset: int
    reason: str
    detail: str  # names the field and the remedy; never content
    dossier_id: str | None
    sealed_key: bytes | None
    sealed_value: (
        bytes | None
    )  # the original bytes, sealed with "topic/partition/offset" as associated data
    first_at: datetime
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a figure comes from: the code of a system, and the number of a document where there is one."""

    system: str
    document: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicatorObservation:
    """A figure that another system reports for an indicator of the province's plan.

    Codes, numbers and days only: no free text and nobody's name. `value` has at most four decimals; without
    one, the figure that `corrects` names is taken back. A correction names the first observation of the
    figure, never another correction.
    """

    observation_id: str  # given by whoever submits it, never again
    indicator: str
    value: Decimal | None
    unit: str
    agency: str
    period: str  # 2026-08 | 2026-Q3 | 2026-H2 | 2026
    as_of: date  # the day on which the figure was true
    provenance: Provenance
    corrects: str | None
    observed_at: datetime
    submitted_by: str  # the code of a system or an account


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPacket:
    """One revision of one report as it is owed to the reporting system. Topic `report.packets`.

    A report is one kind of packet of one regime, form, period and agency; its revisions are numbered from 1
    without a hole, and each is a packet. Codes, days and counts are clear; the content is sealed, because an
    outline is free text.
    """

    packet_id: str  # report_id + "/r" + revision: the same revision has the same id for ever
    report_id: str  # the Kafka key: kind/regime/form/period/agency
    kind: PacketKind
    regime: str
    form: str
    form_version: str
    period: str
    window_from: date  # first day of the figures, in Viet Nam
    window_to: date  # last day
    due_on: date
    agency: str  # who reports
    revision: int
    snapshot_hash: str  # of the content that a person approved, SHA-256 in hex
    sealed: (
        bytes  # the canonical content, deflated, then sealed with the report id as associated data
    )
    known_at: datetime  # up to when what was known is counted
    approved_at: datetime
    recorded_at: datetime

    @property
    def code(self) -> str:
        """The key under which a target knows the report."""
        return self.report_id

    @property
    def effective_at(self) -> datetime:
        """From its approval on the report is owed."""
        return self.approved_at
