"""Settings of the one-stop connector.

Nested in the root settings as ``THONGSUOT_ONE_STOP__…``, e.g. ``THONGSUOT_ONE_STOP__URL``.
"""

from __future__ import annotations

from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

DRIVERS = ("sqlite", "postgresql+psycopg", "mysql+pymysql")
"""The databases we can read, as the first word of the URL. MariaDB is `mysql+pymysql`."""

_Seconds = Annotated[float, Field(gt=0)]


class OneStopSettings(BaseModel):
    """How to read the one-stop system's database."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: SecretStr = Field(
        description="SQLAlchemy URL of the database, with a read-only account: "
        "sqlite:///…, postgresql+psycopg://… or mysql+pymysql://… (also for MariaDB)."
    )
    password: SecretStr | None = Field(
        default=None, description="Password of that account, where it does not stand in the URL."
    )
    group_ids: tuple[int, ...] = Field(
        default=(), description="OpenCPS sites (groupId) to read; empty reads them all."
    )
    zone: str = Field(
        default="Asia/Ho_Chi_Minh",
        description="Time zone of the database's local times: OpenCPS keeps them without one.",
    )
    page_size: int = Field(
        default=200, ge=4, le=5000, description="Rows that one page of a feed asks for."
    )
    actions_poll_seconds: _Seconds = Field(
        default=1.0, description="Seconds between two looks at the feed of actions when it is idle."
    )
    changes_poll_seconds: _Seconds = Field(
        default=5.0, description="Seconds between two looks at the feed of changes when it is idle."
    )
    sweep_interval_seconds: _Seconds = Field(
        default=86_400.0, description="Seconds between two sweeps over all dossiers."
    )
    overlap_seconds: _Seconds = Field(
        default=300.0,
        description="How far the feed of changes reaches back behind its newest modifiedDate, in "
        "seconds: longer than the longest transaction of the one-stop system.",
    )
    missing_id_hours: _Seconds = Field(
        default=24.0,
        description="Hours for which an action id that was left out is asked for again.",
    )
    connect_timeout_seconds: int = Field(
        default=10, ge=1, description="Seconds to wait for a connection to the database."
    )
    statement_timeout_seconds: int = Field(
        default=60, ge=1, description="Seconds after which one query is given up."
    )

    @field_validator("url")
    @classmethod
    def _known_database(cls, url: SecretStr) -> SecretStr:
        try:
            driver = make_url(url.get_secret_value()).drivername
        except ArgumentError:
            raise ValueError(
                "not a database URL; write e.g. mysql+pymysql://user@host/lportal"
            ) from None
        if driver not in DRIVERS:
            raise ValueError(f"{driver} cannot be read; use one of {', '.join(DRIVERS)}")
        return url

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            raise ValueError(
                f"no time zone is called {zone!r}; usual is Asia/Ho_Chi_Minh"
            ) from None
        return zone
