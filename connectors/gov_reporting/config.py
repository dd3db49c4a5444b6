"""Settings of the connector to the Government reporting system.

Nested in the root settings as ``THONGSUOT_GOV_REPORTING__…``, e.g. ``THONGSUOT_GOV_REPORTING__ADDRESS``.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    model_validator,
)

from connectors.gov_reporting.elements import Encoding
from connectors.national_portal.config import XRoadMember
from connectors.protocols import Abilities, Lookup

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_Seconds = Annotated[float, Field(gt=0)]


class Transport(StrEnum):
    """How a packet travels."""

    REST = "rest"
    SOAP = "soap"


class ClientAuthentication(StrEnum):
    """Where the client's name and secret stand when a token is asked for (RFC 6749 §2.3.1)."""

    BASIC = "basic"
    BODY = "body"


class ReportingAbilities(BaseModel):
    """What the target can be asked and trusted with. Unknown of the real system: raise nothing unseen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lookup: Lookup = Field(
        default=Lookup.STATE,
        description="How much a look-up tells: state (revision, hash, status), or only existence.",
    )
    lookup_lag_seconds: Annotated[float, Field(ge=0)] = Field(
        default=5.0, description="How long after an effect a look-up may still not show it."
    )
    late_effect_bound_seconds: Annotated[float, Field(ge=0)] = Field(
        default=60.0, description="Longest time from the written call to its effect."
    )
    verify_after_seconds: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="After an unknown outcome: from the call to the look-up that verifies it;"
        " empty: three times the late-effect bound.",
    )

    def over(self, abilities: Abilities) -> Abilities:
        """`abilities` with these in their place."""
        return replace(
            abilities,
            lookup=self.lookup,
            lookup_lag=self.lookup_lag_seconds,
            late_effect_bound=self.late_effect_bound_seconds,
            verify_after=self.verify_after_seconds,
        )

    @model_validator(mode="after")
    def _no_steps(self) -> Self:
        if self.lookup is Lookup.STEPS:
            raise ValueError("lookup: a report has no steps; set state or existence")
        return self


class GovReportingSettings(BaseModel):
    """How to reach the Government reporting system, and who we are there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: AnyHttpUrl = Field(
        description="Base address of the service on the provincial platform (LGSP); by SOAP: where calls are posted."
    )
    transport: Transport = Field(
        default=Transport.REST, description="rest, or soap through the X-Road security server."
    )
    encoding: Encoding = Field(
        default=Encoding.XML, description="How packets are written: xml or json."
    )
    sender: _Text = Field(
        max_length=50, description="Code of the agency that sends: the province, e.g. H44."
    )
    receiver: _Text = Field(
        default="G22", max_length=50, description="Code of the agency that receives; G22: VPCP."
    )
    elements: Path | None = Field(
        default=None,
        description="File with the element names in force; empty: the packaged table, which is not the regulation's own.",
    )
    token_address: AnyHttpUrl | None = Field(
        default=None, description="Where tokens are issued (OAuth2 client credentials); with rest."
    )
    client_id: str | None = Field(default=None, description="OAuth2 client id; with rest.")
    client_secret: SecretStr | None = Field(
        default=None, description="OAuth2 client secret; with rest."
    )
    client_authentication: ClientAuthentication = Field(
        default=ClientAuthentication.BASIC,
        description="Whether id and secret go as HTTP Basic (basic) or as fields (body).",
    )
    scope: str | None = Field(default=None, description="Scope to ask for, where one is needed.")
    token_seconds: _Seconds = Field(
        default=300.0, description="How long a token is used whose issuer does not say."
    )
    token_renew_margin_seconds: Annotated[float, Field(ge=0)] = Field(
        default=60.0,
        description="How long before its end a new token is fetched; at most a quarter of its life.",
    )
    wsdl: Path | None = Field(
        default=None, description="File of another WSDL; empty: the packaged one. With soap."
    )
    client: XRoadMember | None = Field(
        default=None, description="X-Road id of the subsystem that calls; with soap."
    )
    service: XRoadMember | None = Field(
        default=None, description="X-Road id of the subsystem that is called; with soap."
    )
    service_version: str | None = Field(
        default=None, description="serviceVersion of the X-Road service id, where one is named."
    )
    user_id: str | None = Field(default=None, description="X-Road userId; with soap.")
    inbox_page: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=50, description="Most incoming packets that one call asks for."
    )
    connect_timeout_seconds: _Seconds = Field(
        default=3.0, description="Longest wait for one connection, TLS included."
    )
    read_timeout_seconds: _Seconds = Field(
        default=9.0, description="Longest silence while an answer is awaited."
    )
    total_timeout_seconds: _Seconds = Field(
        default=10.0, description="Longest time of one whole call; a slow call holds a slot."
    )
    connection_limit: Annotated[int, Field(ge=1)] = Field(
        default=20, description="Most connections at once; not below the engine's calls in flight."
    )
    idle_connection_seconds: _Seconds = Field(
        default=15.0,
        description="How long an idle connection is kept; below the far side's own limit, or calls are lost.",
    )
    request_limit_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=33_554_432, description="Largest packet that is sent."
    )
    answer_limit_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=33_554_432, description="Longest answer that is read."
    )
    client_certificate: Path | None = Field(
        default=None,
        description="PEM file of our certificate, where the far side asks for one (mTLS).",
    )
    client_key: Path | None = Field(default=None, description="PEM file of its private key.")
    ca_certificates: Path | None = Field(
        default=None,
        description="PEM file of the authorities that may sign the far side's certificate; empty: the system's.",
    )
    proxy: AnyHttpUrl | None = Field(
        default=None, description="HTTP proxy on the way to the address, where there is one."
    )
    abilities: ReportingAbilities = Field(
        default=ReportingAbilities(), description="What the target can be asked and trusted with."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems: list[str] = []
        if self.transport is Transport.REST:
            needed: dict[str, object] = {
                "token_address": self.token_address,
                "client_id": self.client_id,
                "client_secret": self.client_secret,
            }
        else:
            needed = {"client": self.client, "service": self.service}
        missing = [name for name, value in needed.items() if not value]
        if missing:
            problems.append(f"transport {self.transport} needs {', '.join(missing)}: set them")
        if (self.client_key is not None) and self.client_certificate is None:
            problems.append("client_key is set without client_certificate: set both")
        if self.connect_timeout_seconds > self.total_timeout_seconds:
            problems.append("connect_timeout_seconds exceeds total_timeout_seconds: lower it")
        if problems:
            raise ValueError("; ".join(problems))
        return self
