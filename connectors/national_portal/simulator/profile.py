"""How the simulated portal behaves when nothing is wrong: what it can be asked, and its limits."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Profile(BaseModel):
    """Every field may be set by `POST /_control/profile`; those left out keep their value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lookup: Literal["existence", "state", "steps"] = Field(
        default="existence", description="how much a look-up tells"
    )
    stale_seconds: float = Field(
        default=0.0, ge=0, description="look-ups answer as of so many seconds ago"
    )
    failing_lookups: bool = Field(
        default=False, description="every look-up is answered with a SOAP Fault Server, HTTP 500"
    )
    steps_dedup: bool = Field(
        default=False,
        description="a step equal in time, officer, status and text is not appended again",
    )
    chunk_atomic: bool = Field(
        default=False, description="a call that fails on one item leaves none of the others"
    )
    session_seconds: float = Field(default=600.0, ge=0, description="lifetime of a session")
    latency_ms: float = Field(default=0.0, ge=0, description="added before every answer")
    quota_per_second: int | None = Field(
        default=None, ge=1, description="calls beyond it get HTTP 429 with Retry-After: 1"
    )
    username: str = Field(default="thongsuot", min_length=1)
    password: str = Field(default="thongsuot", min_length=1, repr=False)
