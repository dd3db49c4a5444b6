"""Settings of the national portal connector.

Nested in the root settings as ``THONGSUOT_NATIONAL_PORTAL__…``, e.g.
``THONGSUOT_NATIONAL_PORTAL__ADDRESS``.
"""

from __future__ import annotations

from dataclasses import replace
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

from connectors.protocols import Abilities, Lookup, StepsUnknown

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_Seconds = Annotated[float, Field(gt=0)]


class XRoadMember(BaseModel):
    """A member or subsystem of the data exchange platform (X-Road message protocol 4.0)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instance: _Text = Field(description="xRoadInstance, e.g. VN.")
    member_class: _Text = Field(description="memberClass, e.g. GOV.")
    member_code: _Text = Field(description="memberCode: the agency code of the member.")
    subsystem_code: str | None = Field(
        default=None, description="subsystemCode, where the member has subsystems."
    )


class AbilitySettings(BaseModel):
    """Abilities of the target where they differ from the dialect's; empty: as the dialect says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lookup: Lookup | None = Field(
        default=None, description="How much a look-up tells: existence, state or steps."
    )
    lookup_lag_seconds: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="How long after an effect a look-up may still not show it."
    )
    late_effect_bound_seconds: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="Longest time from the written call to its effect."
    )
    verify_after_seconds: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="After an unknown outcome: from the call to the look-up that verifies it;"
        " empty: three times the late-effect bound.",
    )
    steps_dedup: bool | None = Field(
        default=None, description="Whether the target drops a step that it already has."
    )
    steps_chunk_max: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Most steps in one call."
    )
    steps_chunk_atomic: bool | None = Field(
        default=None, description="Whether a refused call of several steps leaves none of them."
    )
    steps_unknown: StepsUnknown | None = Field(
        default=None, description="Steps of unknown outcome: park, or resend."
    )

    def over(self, abilities: Abilities) -> Abilities:
        """`abilities` with what is set here in its place."""
        chosen = {
            name.removesuffix("_seconds"): value
            for name, value in self.model_dump(exclude_none=True).items()
        }
        return replace(abilities, **chosen)


class NationalPortalSettings(BaseModel):
    """How to reach the national portal, and who we are there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: AnyHttpUrl = Field(
        description="Where calls are posted: the security server or its adapter, http(s)://host:port/path."
    )
    username: _Text = Field(description="User name of the agency's account at the portal.")
    password: SecretStr = Field(description="Password of that account.")
    agency_code: _Text = Field(
        max_length=35, description="madonvi: code of the agency in whose name every call is made."
    )
    client: XRoadMember = Field(description="X-Road id of the subsystem that calls: the province.")
    service: XRoadMember = Field(
        description="X-Road id of the subsystem that is called: the portal's provider."
    )
    service_version: str | None = Field(
        default=None,
        description="serviceVersion of the X-Road service id, where the portal names one.",
    )
    user_id: str | None = Field(
        default=None,
        description="X-Road userId, with the country code in front, e.g. VN000000000000.",
    )
    wsdl: Path | None = Field(
        default=None,
        description="File of the province's own WSDL; empty: the packaged one. Never fetched.",
    )
    dialect: str = Field(
        default="adapter",
        description="Name of a packaged dialect, or the path of a dialect file (ends in .toml).",
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
    session_seconds: _Seconds = Field(
        default=600.0, description="How long the portal's session is used; the portal does not say."
    )
    session_renew_margin_seconds: Annotated[float, Field(ge=0)] = Field(
        default=60.0, description="How long before that end a new session is fetched."
    )
    connection_limit: Annotated[int, Field(ge=1)] = Field(
        default=20, description="Most connections at once; not below the engine's calls in flight."
    )
    idle_connection_seconds: _Seconds = Field(
        default=15.0,
        description="How long an idle connection is kept; below the far side's own limit, or calls are lost.",
    )
    answer_limit_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=8_388_608, description="Longest answer that is read."
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
    abilities: AbilitySettings = Field(
        default=AbilitySettings(), description="Abilities that differ from the dialect's."
    )
    proxy: AnyHttpUrl | None = Field(
        default=None, description="HTTP proxy on the way to the address, where there is one."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.client_key is not None) and self.client_certificate is None:
            raise ValueError("client_key is set without client_certificate: set both")
        if self.connect_timeout_seconds > self.total_timeout_seconds:
            raise ValueError("connect_timeout_seconds exceeds total_timeout_seconds: lower it")
        if self.session_renew_margin_seconds >= self.session_seconds:
            raise ValueError("session_renew_margin_seconds must be below session_seconds")
        return self
