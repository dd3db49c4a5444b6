"""Every setting of the hub, one documented type, read from the environment.

Variables begin with ``THONGSUOT_``; a section's fields follow two underscores
(``THONGSUOT_KAFKA__BOOTSTRAP_SERVERS``). A variable with that prefix that nobody knows is an error, and
all problems are reported together (`problems`). `.env.example` is `env_example()`, held by a test.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from connectors.gov_reporting.config import GovReportingSettings
from connectors.national_portal.config import NationalPortalSettings
from connectors.one_stop.config import OneStopSettings
from schemas.ledger.retention import LEAST_EVIDENCE_MONTHS, Retention
from schemas.reports.form import Ended, Held, Treatment, Undated
from schemas.reports.periods import (
    DUE_DAY,
    WRITE_PERIOD,
    WRITE_WINDOW,
    Calendar,
    PeriodKind,
    parse_period,
    parse_window,
)
from schemas.sealing import parse_key
from schemas.topics import PARTITIONS
from streams.recipients import parse_addresses
from streams.secret_files import SUFFIX, UnreadSecret, with_secret_files
from streams.sender_keys import BadKeys, read_sender_keys

PREFIX = "THONGSUOT_"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SecurityProtocol(StrEnum):
    """How the connection to Kafka is protected."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


class KafkaSettings(_Section):
    """The broker and how the hub's consumer groups behave on it."""

    bootstrap_servers: str = Field(
        min_length=3, description="Kafka brokers as host:port, separated by commas."
    )
    embedded: bool = Field(
        default=False, description="The broker is the embedded one of the demo: it keeps nothing."
    )
    security_protocol: SecurityProtocol = Field(
        default=SecurityProtocol.PLAINTEXT,
        description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.",
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="SASL mechanism; used with the SASL protocols only."
    )
    username: str | None = Field(default=None, description="SASL user name.")
    password: SecretStr | None = Field(default=None, description="SASL password.")
    ca_file: Path | None = Field(
        default=None, description="PEM file of the authorities that sign the brokers' certificates."
    )
    group_prefix: str = Field(
        default="thongsuot",
        pattern=r"^[a-z0-9][a-z0-9.-]*$",
        description="First part of the consumer groups' names: <prefix>-intake, <prefix>-ledger.",
    )
    partitions: int = Field(
        default=PARTITIONS,
        ge=1,
        le=1024,
        description="Partitions of every topic. Fixed for ever: another number would break the order within a dossier.",
    )
    session_timeout_seconds: float = Field(
        default=6.0,
        ge=3.0,
        le=10.0,
        description="After this long without a heartbeat a worker's partitions go to another one. Seconds.",
    )
    produce_timeout_seconds: float = Field(
        default=15.0,
        gt=0,
        le=60,
        description="The broker must confirm a write within this time, else it counts as not confirmed. Seconds.",
    )
    batch_events: int = Field(
        default=500,
        ge=1,
        le=5000,
        description="Most messages that a flow handles in one transaction.",
    )
    batch_wait_seconds: float = Field(
        default=0.05,
        gt=0,
        le=5,
        description="A flow handles what it has after this time, even if the batch is not full. Seconds.",
    )

    @field_validator("username", "password")
    @classmethod
    def _sasl_needs_both(cls, value: object, info: ValidationInfo) -> object:
        protocol = info.data.get("security_protocol")
        if value is None and protocol in {
            SecurityProtocol.SASL_PLAINTEXT,
            SecurityProtocol.SASL_SSL,
        }:
            raise PydanticCustomError(
                "needed_with", "needed with security_protocol={protocol}", {"protocol": protocol}
            )
        return value

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class CaptureSettings(_Section):
    """When the sweep runs, and how trouble with the source is waited out."""

    sweep_hour: int | None = Field(
        default=2,
        ge=0,
        le=23,
        description="Local hour at which every dossier's content is compared (the sweep), or: off.",
    )
    retry_first_seconds: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="First pause after the source did not answer. Seconds.",
    )
    retry_most_seconds: float = Field(
        default=60.0,
        gt=0,
        le=3600,
        description="Longest pause; pauses double up to it, with jitter. Seconds.",
    )

    stand_by_seconds: float = Field(
        default=12.0,
        gt=0,
        le=3600,
        description="A process that stands by takes the capture over when its owner has given no sign of life for so long. Seconds.",
    )

    @field_validator("sweep_hour", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        return None if value == "off" else value


class EngineSettings(_Section):
    """The delivery engine of one target (design: the delivery engine). All times in seconds."""

    in_flight: int = Field(
        default=16, ge=1, le=256, description="Calls to the target at the same time."
    )
    window: int = Field(
        default=200,
        ge=1,
        le=100_000,
        description="Dossiers held in memory at the same time, each with all that it is owed.",
    )
    send_by_seconds: float = Field(
        default=2.0,
        gt=0,
        le=30,
        description="A call is not begun when its intent is older than this. Seconds.",
    )
    group_commit_milliseconds: float = Field(
        default=5.0,
        ge=0,
        le=1000,
        description="Changes of the ledger are gathered for this long. Milliseconds.",
    )
    group_commit_rows: int = Field(
        default=200, ge=1, le=5000, description="Most changes of the ledger in one transaction."
    )
    poll_seconds: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="Pause between two looks for dossiers that became runnable. Seconds.",
    )
    circuit_failures_in_row: int = Field(
        default=10, ge=1, description="The circuit opens after this many failures in a row."
    )
    circuit_window: int = Field(
        default=50, ge=1, description="Calls over which the circuit's share of failures is counted."
    )
    circuit_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Share of failures in the window at which the circuit opens.",
    )
    probe_seconds: float = Field(
        default=15.0, gt=0, le=3600, description="Pause before an open circuit is probed. Seconds."
    )
    probe_most_seconds: float = Field(
        default=300.0,
        gt=0,
        le=86_400,
        description="Longest pause between probes; it doubles up to it. Seconds.",
    )
    retry_first_seconds: float = Field(
        default=1.0,
        gt=0,
        le=3600,
        description="First pause before a dossier is tried again. Seconds.",
    )
    retry_most_seconds: float = Field(
        default=300.0,
        gt=0,
        le=86_400,
        description="Longest pause before a dossier is tried again. Seconds.",
    )
    quota_per_second: float | None = Field(
        default=None, gt=0, description="Most calls a second; empty means no quota."
    )


class ReportEngineSettings(_Section):
    """Where the engine of reports differs from THONGSUOT_ENGINE__…; what is empty is as there.

    Reports are few, and their target is another one: it may ask for another pace.
    """

    in_flight: int | None = Field(
        default=None, ge=1, le=256, description="Calls to the reporting system at the same time."
    )
    circuit_failures_in_row: int | None = Field(
        default=None, ge=1, description="Its circuit opens after this many failures in a row."
    )
    probe_seconds: float | None = Field(
        default=None, gt=0, le=3600, description="Pause before its open circuit is probed. Seconds."
    )
    probe_most_seconds: float | None = Field(
        default=None, gt=0, le=86_400, description="Longest pause between probes. Seconds."
    )
    retry_first_seconds: float | None = Field(
        default=None,
        gt=0,
        le=3600,
        description="First pause before a report is tried again. Seconds.",
    )
    retry_most_seconds: float | None = Field(
        default=None,
        gt=0,
        le=86_400,
        description="Longest pause before a report is tried again. Seconds.",
    )
    quota_per_second: float | None = Field(
        default=None, gt=0, description="Most calls a second to the reporting system."
    )

    def over(self, engine: EngineSettings) -> EngineSettings:
        """The settings of the engine of reports, given those of every engine."""
        return engine.model_copy(update=self.model_dump(exclude_none=True))


class RetentionSettings(_Section):
    """How long the ledger keeps what, in whole months; `thongsuot db prune` lets go of the rest."""

    evidence_months: int = Field(
        default=LEAST_EVIDENCE_MONTHS,
        ge=LEAST_EVIDENCE_MONTHS,
        le=1200,
        description="Months for which events, deliveries and attempts are kept after they were settled; 12 at least.",
    )
    content_months: int = Field(
        default=LEAST_EVIDENCE_MONTHS,
        ge=1,
        le=1200,
        description="Months for which the sealed bodies of requests and answers are kept; not above evidence_months.",
    )
    dedup_months: int = Field(
        default=36,
        ge=LEAST_EVIDENCE_MONTHS,
        le=1200,
        description="Months for which an event is still known as a duplicate; not below evidence_months. A source read anew from its beginning is sent again as far as it is older.",
    )

    @field_validator("content_months", "dedup_months")
    @classmethod
    def _around_the_evidence(cls, value: int, info: ValidationInfo) -> int:
        evidence = info.data.get("evidence_months", value)
        if info.field_name == "content_months" and value > evidence:
            raise PydanticCustomError("above_evidence", "is above evidence_months")
        if info.field_name == "dedup_months" and value < evidence:
            raise PydanticCustomError("below_evidence", "is below evidence_months")
        return value

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    def retention(self) -> Retention:
        """As the ledger takes it."""
        return Retention(
            evidence_months=self.evidence_months,
            content_months=self.content_months,
            dedup_months=self.dedup_months,
        )


class ReferenceSettings(_Section):
    """The tables that people keep, as CSV files; without one, the packaged table holds."""

    days_off_file: Path | None = Field(
        default=None,
        description="CSV of days off and swapped working days (date,kind,name_vi,source and more, see schemas/dossier/data/README.md); its years take the place of the packaged ones.",
    )
    working_hours_file: Path | None = Field(
        default=None,
        description="CSV of the agencies' working hours; takes the place of the packaged one whole.",
    )
    procedures_file: Path | None = Field(
        default=None,
        description="CSV of the procedures' service levels, results, fees and longest legal times; without it they are unknown.",
    )
    agencies_file: Path | None = Field(
        default=None,
        description="CSV of the agencies, their parents and successors; without one units stand side by side.",
    )
    recipients_file: Path | None = Field(
        default=None,
        description="CSV agency,address: to whom the daily mail about a unit goes, one address a line; read whenever mails go out.",
    )


class MailSettings(_Section):
    """The mail server, and the daily mail about what can still be saved (`thongsuot rates today`)."""

    host: str | None = Field(
        default=None, min_length=1, description="Mail server (SMTP); empty: no mail is sent."
    )
    port: int = Field(default=587, ge=1, le=65_535, description="Port of the mail server.")
    security: Literal["none", "starttls", "tls"] = Field(
        default="starttls",
        description="How the connection is protected: starttls, tls (from the first byte) or none.",
    )
    ca_file: Path | None = Field(
        default=None,
        description="PEM file of the authorities that sign the mail server's certificate; empty: those of the system.",
    )
    username: str | None = Field(
        default=None, description="User name at the mail server; empty: none."
    )
    password: SecretStr | None = Field(
        default=None, description="Password at the mail server; needs starttls or tls."
    )
    sender: str | None = Field(
        default=None, description="Address that mails are from; needed with a host."
    )
    to: str = Field(
        default="",
        description="Addresses that get the mail about the whole province, separated by commas.",
    )
    hour: int | None = Field(
        default=None,
        ge=0,
        le=23,
        description="Hour in Viet Nam at which a worker sends on working days, or: off.",
    )
    timeout_seconds: float = Field(
        default=15.0,
        gt=0,
        le=20,
        description="The mail server must answer each command within this time. Seconds.",
    )

    @field_validator("hour", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        return None if value == "off" else value

    @field_validator("username", "password", "sender", "hour")
    @classmethod
    def _fits(cls, value: object, info: ValidationInfo) -> object:
        name, given = info.field_name, info.data
        if name == "sender" and value is None and given.get("host") is not None:
            raise PydanticCustomError("needed_with", "needed with host")
        if name == "hour" and value is not None and given.get("host") is None:
            raise PydanticCustomError("needs_host", "needs host")
        if name == "password" and (value is None) != (given.get("username") is None):
            raise PydanticCustomError("needed_with", "username and password need each other")
        if name == "password" and value is not None and given.get("security") == "none":
            raise PydanticCustomError("in_clear", "must not be sent in clear: set security")
        return value

    @field_validator("sender", "to")
    @classmethod
    def _are_addresses(cls, value: str | None, info: ValidationInfo) -> str | None:
        try:
            found = parse_addresses(value or "")
        except ValueError as error:
            raise PydanticCustomError("address", "{why}", {"why": str(error)}) from None
        if info.field_name == "sender" and value is not None and len(found) != 1:
            raise PydanticCustomError("address", "must be one address")
        return value

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ReceiveSettings(_Section):
    """Where other systems hand in indicator observations over HTTP, signed. Off until it has a port."""

    host: str = Field(
        default="127.0.0.1",
        description="Address of the intake of observations. It speaks plain HTTP: put a reverse proxy with TLS before it.",
    )
    port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="Port of the intake of observations, or: off. 0 takes a free one; processes of one machine share a port.",
    )
    keys_file: Path | None = Field(
        default=None,
        description="File with the systems that may hand in observations, a line CODE=KEY for each (thongsuot keys sender); needed with port.",
    )
    most_bytes: int = Field(
        default=1_048_576,
        ge=1024,
        le=67_108_864,
        description="Longest body that is taken. Bytes.",
    )
    at_once: int = Field(
        default=8,
        ge=1,
        le=256,
        description="Requests answered at the same time; another is told to come back.",
    )
    timeout_seconds: float = Field(
        default=10.0,
        gt=0,
        le=20,
        description="A body has to arrive, and an answer to be found, within this time each. Seconds.",
    )

    @field_validator("port", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        return None if value == "off" else value

    @field_validator("keys_file")
    @classmethod
    def _holds_keys(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is None:
            if info.data.get("port") is not None:
                raise PydanticCustomError("needed_with", "needed with port")
            return None
        try:
            read_sender_keys(value)
        except BadKeys as error:
            raise PydanticCustomError("sender_keys", "{why}", {"why": str(error)}) from None
        except OSError as error:
            raise PydanticCustomError(
                "key_file", "cannot be read: {why}", {"why": type(error).__name__}
            ) from None
        return value

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    def keys(self) -> Mapping[str, bytes]:
        """The key of every system that may hand in observations, by its code."""
        return {} if self.keys_file is None else read_sender_keys(self.keys_file)


class RegimeSettings(_Section):
    """The periods of one report regime."""

    calendar: Calendar = Calendar.DECREE
    kinds: tuple[PeriodKind, ...] = Field(
        default=(PeriodKind.MONTH, PeriodKind.QUARTER, PeriodKind.HALF, PeriodKind.YEAR),
        min_length=1,
    )
    due_day: int = Field(default=DUE_DAY, ge=1, le=28)


class FormSettings(_Section):
    """What the text of form II.06 leaves open: in which column a dossier counts. By days, not hours."""

    supplement: Held = Field(
        default=Held.IN_TIME,
        description="Waiting for a supplement: in_time (column 12 whatever the dates) or by_date.",
    )
    paused: Held = Field(
        default=Held.IN_TIME,
        description="Paused: in_time (column 12), by_date, or ends (settled on the day of the pause).",
    )
    payment: Held = Field(
        default=Held.IN_TIME, description="Waiting for a payment: in_time (column 12) or by_date."
    )
    withdrawn: Ended = Field(
        default=Ended.ON_TIME, description="Withdrawn: on_time (column 9) or by_date."
    )
    stopped: Ended = Field(
        default=Ended.BY_DATE, description="Stopped: on_time (column 9) or by_date."
    )
    refused: Ended = Field(
        default=Ended.BY_DATE,
        description="Refused after it had been received: on_time (column 9) or by_date.",
    )
    no_channel: Literal["c4", "c5"] = Field(
        default="c5", description="The channel is not known: c4 (online) or c5."
    )
    no_due: Undated = Field(
        default=Undated.IN_TIME, description="Without a due date: in_time (columns 9, 12) or late."
    )

    @field_validator("supplement", "payment")
    @classmethod
    def _only_a_pause_ends(cls, value: Held) -> Held:
        if value is Held.ENDS:
            raise PydanticCustomError("held", "can be in_time or by_date: only a pause can end")
        return value

    def treatment(self) -> Treatment:
        """The same for whoever counts."""
        return Treatment.of({name: str(value) for name, value in self.model_dump().items()})


class ReportingSettings(_Section):
    """Periodic reports to the Government's system (`thongsuot report`). Off until an agency is set."""

    agency: str | None = Field(
        default=None,
        pattern=r"^[A-Z0-9]+(\.[A-Z0-9]+)*$",
        description="Code of the agency that reports, e.g. H44; empty: no reports are made.",
    )
    regimes: dict[str, RegimeSettings] = Field(
        default={"II.06": RegimeSettings()},
        description="Report regimes, JSON: by code calendar (decree: 15th to 14th; civil), kinds (month, quarter, half, nine_months, year) and due_day (of the period's last month; of the month after it with civil). A period that has begun keeps its window.",
    )
    form: FormSettings = FormSettings()
    nine_months: bool = Field(
        default=False,
        description="Every regime also reports nine months; Decree 09/2019 has no such period.",
    )
    windows: dict[str, str] = Field(
        default={},
        description='Windows that differ from the calendar, JSON, for a change of it: {"II.06/2026-09": "2026-09-01..2026-09-14"}.',
    )
    unit_days: int = Field(
        default=3,
        ge=0,
        le=15,
        description="Units confirm so many working days before the last day on which the report can be sent.",
    )
    settle_minutes: int = Field(
        default=15,
        ge=0,
        le=1440,
        description="Figures are frozen so long after the cut-off, so that what was recorded before it has arrived. Minutes.",
    )
    jump_percent: float = Field(
        default=30.0,
        gt=0,
        description="A unit's figure that differs by more than this from the period before is shown to the signer. Per cent.",
    )
    reminder_days: tuple[int, ...] = Field(
        default=(3, 1, 0),
        description="Reminders are mailed so many working days before a deadline, JSON; on days off none are.",
    )
    signers: str = Field(
        default="",
        description="Addresses that are reminded of reports to be signed and sent, separated by commas.",
    )
    submit: Literal["approved", "person"] = Field(
        default="approved",
        description="approved: an approved report is sent at once; person: only by thongsuot report submit.",
    )
    late: Literal["reason", "refused"] = Field(
        default="reason",
        description="After the due date a report is sent with a reason and marked late (reason), or not at all (refused).",
    )

    @field_validator("regimes")
    @classmethod
    def _codes_are_codes(cls, value: dict[str, RegimeSettings]) -> dict[str, RegimeSettings]:
        for code in value:
            if not code or "/" in code or code != code.strip():
                raise PydanticCustomError("regime", "has a code that is empty or has a / in it")
        return value

    @field_validator("windows")
    @classmethod
    def _are_windows(cls, value: dict[str, str]) -> dict[str, str]:
        for key, window in value.items():
            if parse_period(key.rpartition("/")[2]) is None or not key.rpartition("/")[0]:
                raise PydanticCustomError("window", "{why}", {"why": f"{key}: {WRITE_PERIOD[1]}"})
            if parse_window(window) is None:
                raise PydanticCustomError("window", "{why}", {"why": f"{key}: {WRITE_WINDOW[1]}"})
        return value

    @field_validator("reminder_days")
    @classmethod
    def _are_days(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 0 <= day <= 15 for day in value):
            raise PydanticCustomError("days", "has a number that is not between 0 and 15")
        return value

    @field_validator("signers")
    @classmethod
    def _are_addresses(cls, value: str) -> str:
        try:
            parse_addresses(value)
        except ValueError as error:
            raise PydanticCustomError("address", "{why}", {"why": str(error)}) from None
        return value


class MonitoringSettings(_Section):
    """Where metrics and health are served, how logs look, and what counts as in time."""

    host: str = Field(default="127.0.0.1", description="Address of /metrics, /live and /ready.")
    port: int = Field(
        default=9400,
        ge=0,
        le=65_535,
        description="Port of /metrics, /live and /ready; 0 takes a free one.",
    )
    sync_limit_minutes: int = Field(
        default=15,
        ge=1,
        le=44_640,
        description="Within how many minutes a step must reach the national portal to count as in time (DOSSIER_SYNC_IN_TIME).",
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="json, console, or auto: console on a terminal, else json."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="DEBUG, INFO, WARNING or ERROR."
    )


class _UnknownVariables(PydanticBaseSettingsSource):
    """Variables with our prefix that no field knows, so that `extra="forbid"` refuses them."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        known = set(self.settings_cls.model_fields)
        files = {name + SUFFIX for name in secret_variables()}
        unknown: dict[str, Any] = {}
        for variable in os.environ:
            if variable.upper().startswith(PREFIX) and variable.upper() not in files:
                name = variable[len(PREFIX) :].lower()
                if name.split("__")[0] not in known:
                    unknown[name] = ""
        return unknown


class Settings(BaseSettings):
    """The root of all settings. Frozen; unknown names are errors."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        env_ignore_empty=True,
        validate_default=True,
        hide_input_in_errors=True,
    )

    environment: str = Field(
        default="development",
        pattern=r"^[a-z0-9-]+$",
        description="Name of this installation, shown on screens and in logs.",
    )
    ledger_url: SecretStr = Field(
        description="SQLAlchemy address of the ledger: sqlite:///path or postgresql+psycopg://user:password@host/name."
    )
    registry_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Schema registry (Confluent REST API); empty uses the packaged schemas.",
    )
    master_key: SecretStr | None = Field(
        default=None,
        description="Base64 of the 32 bytes that wrap the monthly data keys; this or the file is needed.",
    )
    master_key_file: Path | None = Field(
        default=None, description="File that holds the master key, instead of the variable."
    )
    hash_key: SecretStr | None = Field(
        default=None,
        description="Base64 of the 32 bytes under which content is hashed, for good; this or the file is needed.",
    )
    hash_key_file: Path | None = Field(
        default=None, description="File that holds the hash key, instead of the variable."
    )
    kafka: KafkaSettings = Field(description="The broker.")
    one_stop: OneStopSettings = Field(description="The one-stop system (source).")
    national_portal: NationalPortalSettings = Field(description="The national portal (target).")
    gov_reporting: GovReportingSettings | None = Field(
        default=None,
        description="The Government reporting system (target); without it reports wait in the ledger.",
    )
    capture: CaptureSettings = Field(
        default_factory=CaptureSettings, description="How often the source is read."
    )
    engine: EngineSettings = Field(
        default_factory=EngineSettings, description="The delivery engine."
    )
    report_engine: ReportEngineSettings = Field(
        default_factory=ReportEngineSettings,
        description="Where the engine of reports differs.",
    )
    retention: RetentionSettings = Field(
        default_factory=RetentionSettings, description="How long the ledger keeps what."
    )
    reference: ReferenceSettings = Field(
        default_factory=ReferenceSettings, description="Tables that people keep."
    )
    mail: MailSettings = Field(
        default_factory=MailSettings, description="The mail server and the daily mail."
    )
    receive: ReceiveSettings = Field(
        default_factory=ReceiveSettings, description="The signed intake of observations."
    )
    reporting: ReportingSettings = Field(
        default_factory=ReportingSettings, description="Periodic reports."
    )
    monitoring: MonitoringSettings = Field(
        default_factory=MonitoringSettings, description="Metrics, health and logs."
    )

    @field_validator("gov_reporting", mode="before")
    @classmethod
    def _set_up_or_not(cls, value: object) -> object:
        """Not set up, as long as nothing is said that has no default: a copy of the example sets nothing up."""
        fields = GovReportingSettings.model_fields
        if isinstance(value, Mapping) and not any(
            fields[name].is_required() or fields[name].default is None
            for name in value
            if name in fields
        ):
            return None
        return value

    @field_validator("ledger_url")
    @classmethod
    def _known_database(cls, value: SecretStr) -> SecretStr:
        scheme = value.get_secret_value().split(":", 1)[0].split("+", 1)[0]
        if scheme not in {"sqlite", "postgresql"}:
            raise PydanticCustomError("database", "begins with neither sqlite: nor postgresql:")
        return value

    @field_validator("master_key", "hash_key")
    @classmethod
    def _is_a_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _decode_key(value.get_secret_value())
        return value

    @field_validator("master_key_file", "hash_key_file")
    @classmethod
    def _one_of_both(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        assert info.field_name is not None
        name = info.field_name.removesuffix("_file")
        if name not in info.data:
            return value  # the key itself was refused, and that is reported
        if (value is None) == (info.data[name] is None):
            raise PydanticCustomError(
                "key_once", "set either {name} or {name}_FILE", {"name": (PREFIX + name).upper()}
            )
        if value is not None:
            try:
                text = value.read_text(encoding="ascii")
            except (OSError, UnicodeError) as error:
                raise PydanticCustomError(
                    "key_file", "cannot be read: {why}", {"why": type(error).__name__}
                ) from None
            _decode_key(text)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment. No files are looked for behind the operator's back."""
        assert isinstance(env_settings, EnvSettingsSource)
        environment: Mapping[str, Any] = with_secret_files(
            env_settings.env_vars, secret_variables()
        )
        env_settings.env_vars = environment
        return init_settings, env_settings, _UnknownVariables(settings_cls)

    def master_key_bytes(self) -> bytes:
        """The 32 bytes that wrap the monthly data keys."""
        return _key_bytes(self.master_key, self.master_key_file)

    def hash_key_bytes(self) -> bytes:
        """The 32 bytes under which content is hashed."""
        return _key_bytes(self.hash_key, self.hash_key_file)


def _key_bytes(secret: SecretStr | None, file: Path | None) -> bytes:
    if secret is not None:
        return _decode_key(secret.get_secret_value())
    assert file is not None  # validated: one of both
    return _decode_key(file.read_text(encoding="ascii"))


def _decode_key(text: str) -> bytes:
    try:
        return parse_key(text)
    except ValueError as error:
        raise PydanticCustomError("key", "{why}", {"why": str(error)}) from None


# --- telling people --------------------------------------------------------------------------------


def problems(error: ValidationError) -> list[str]:
    """Every problem in one line each: the variable, what is wrong, the remedy. No values: some are secret."""
    known = [variable for variable, _ in variables()]
    lines = []
    for found in error.errors(include_url=False, include_context=True):
        variable = PREFIX + "__".join(str(part) for part in found["loc"]).upper()
        if isinstance(found["input"], UnreadSecret):
            lines.append(f"{variable}{SUFFIX}: {found['input'].why_vi} / {found['input'].why_en}")
            continue
        if found["type"] == "missing":
            section = [
                n for n, f in variables() if n.startswith(f"{variable}__") and f.is_required()
            ]
            lines += [_not_set(name) for name in section or [variable]]
            continue
        if found["type"] == "extra_forbidden":
            near = difflib.get_close_matches(variable, known, n=1)
            vi, en = "không có thiết lập nào tên như vậy", "is no setting of the hub"
            if near:
                vi, en = f"{vi}; có phải {near[0]}?", f"{en}; did you mean {near[0]}?"
        else:
            vi = f"giá trị không hợp lệ; {_remedy_vi(variable)}"
            en = f"{found['msg'][0].lower()}{found['msg'][1:]}. {_sentence(variable)}".rstrip()
        lines.append(f"{variable}: {vi} / {en}")
    return lines


def _not_set(variable: str) -> str:
    vi, en = f"chưa được đặt; {_remedy_vi(variable)}", f"is not set; {_sentence(variable)}"
    return f"{variable}: {vi} / {en}"


def _remedy_vi(variable: str) -> str:
    return f"xem {variable} trong .env.example"


def _sentence(variable: str) -> str:
    for name, field in variables():
        if name == variable:
            return field.description or ""
    return ""


def ledger_is_named() -> bool:
    """Whether the environment names a ledger: what can do without one asks before it wants all settings."""
    variable = f"{PREFIX}LEDGER_URL"
    names = {variable, variable + SUFFIX}
    return any(name.upper() in names and value for name, value in os.environ.items())


# --- the list of all variables ---------------------------------------------------------------------


def variables(
    model: type[BaseModel] = Settings, prefix: str = PREFIX
) -> Iterator[tuple[str, FieldInfo]]:
    """Every variable with its field, in the order of the settings.

    Of a section that may be left out whole none is required here: those that it needs are asked for once
    one of them is set.
    """
    for name, field in model.model_fields.items():
        variable = f"{prefix}{name}".upper()
        section, optional = _section(field.annotation)
        if section is None:
            yield variable, field
            continue
        for inner, of_it in variables(section, f"{variable}__"):
            needed = optional and of_it.is_required()
            yield inner, FieldInfo.merge_field_infos(of_it, default=None) if needed else of_it


def _section(annotation: object) -> tuple[type[BaseModel] | None, bool]:
    """The section that a field is, if it is one, and whether it may be left out."""
    of_it = [one for one in get_args(annotation) if one is not type(None)]
    optional = len(of_it) == 1 and type(None) in get_args(annotation)
    kind = of_it[0] if optional else annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind, optional
    return None, False


def secret_variables() -> list[str]:
    """The variables that may also come from the file that `<variable>_FILE` names."""
    fields = dict(variables())
    return [
        name
        for name, field in fields.items()
        if "SecretStr" in str(field.annotation) and name + SUFFIX not in fields
    ]


def env_example() -> str:
    """The text of `.env.example`: every variable, its sentence, its default."""
    lines = [
        "# Mọi thiết lập của ThôngSuốt. Dòng có dấu # đang dùng giá trị mặc định.",
        "# Every setting of ThôngSuốt. A line behind # shows the default; the others must be set.",
    ]
    section = ""
    secrets = secret_variables()
    for variable, field in variables():
        head = variable[len(PREFIX) :].rpartition("__")[0]
        if head != section:
            lines += ["", f"# --- {head.lower().replace('__', ' / ')} ---"]
            section = head
        lines += ["", f"# {field.description or ''}".rstrip()]
        if variable in secrets:
            lines.append(f"# Or {variable}{SUFFIX}: a file that holds it.")
        if field.is_required():
            lines.append(f"{variable}=")
        else:
            lines.append(f"# {variable}={_shown(field.get_default(call_default_factory=True))}")
    return "\n".join(lines) + "\n"


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, BaseModel):
        return value.model_dump_json()
    if isinstance(value, dict | list | tuple | set | frozenset):
        shown = value if isinstance(value, dict) else list(value)
        return json.dumps(shown, default=_plain)
    return str(value)


def _plain(value: object) -> object:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)
