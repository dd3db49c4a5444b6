"""How the simulated reporting system behaves when nothing is wrong: what it takes, and its limits."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Profile(BaseModel):
    """Every field may be set by `POST /_control/profile`; those left out keep their value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lookup: Literal["existence", "state"] = Field(
        default="state", description="how much a look-up tells"
    )
    stale_seconds: float = Field(
        default=0.0, ge=0, description="look-ups answer as of so many seconds ago"
    )
    revisions: Literal["gapless", "rising"] = Field(
        default="gapless",
        description="gapless: 1, 2, 3 …, a hole is refused; rising: every higher one is taken",
    )
    decide: Literal["none", "accept", "return", "return_silently", "ask_correction"] = Field(
        default="none", description="what becomes at once of every revision that is taken"
    )
    late: Literal["accept", "refuse"] = Field(
        default="accept", description="a first revision after its due date"
    )
    today: date | None = Field(
        default=None,
        description="the civil day, by which early and late are told; none: the clock's",
    )
    token_seconds: float = Field(default=300.0, gt=0, description="lifetime of an access token")
    latency_ms: float = Field(default=0.0, ge=0, description="added before every answer")
    quota_per_second: int | None = Field(
        default=None, ge=1, description="calls beyond it get HTTP 429 with Retry-After: 1"
    )
    client_id: str = Field(default="thongsuot", min_length=1)
    client_secret: str = Field(default="thongsuot", min_length=1, repr=False)
