"""The settings of the torture: the waits of a province, shortened, and printed with every run."""

from __future__ import annotations

from dataclasses import dataclass

PARTITIONS = 16
SESSION_SECONDS = 3.0
FREEZE_SECONDS = 8.0
OUTAGE_SECONDS = 10.0
SEND_BY_SECONDS = 1.0
LATE_EFFECT_BOUND_SECONDS = 3.0
LOOKUP_LAG_SECONDS = 0.2
CALL_TIMEOUT_SECONDS = 1.0

RECOVERY_SECONDS = SESSION_SECONDS + 4.0
"""Within this a killed worker's dossiers must move again."""

RECOVERY_OPEN_SECONDS = (
    RECOVERY_SECONDS + SEND_BY_SECONDS + LATE_EFFECT_BOUND_SECONDS + LOOKUP_LAG_SECONDS
)
"""The same for a dossier with an open attempt."""

LEAST_PROGRESS = 0.2
"""Of what is owed the portal must hold this share before the first fault."""

HUB: dict[str, str] = {
    "ENVIRONMENT": "torture",
    "KAFKA__PARTITIONS": str(PARTITIONS),
    "KAFKA__SESSION_TIMEOUT_SECONDS": str(SESSION_SECONDS),
    "ONE_STOP__ACTIONS_POLL_SECONDS": "0.3",
    "ONE_STOP__CHANGES_POLL_SECONDS": "1",
    "ONE_STOP__SWEEP_INTERVAL_SECONDS": "15",
    "CAPTURE__RETRY_MOST_SECONDS": "1",
    "CAPTURE__STAND_BY_SECONDS": str(SESSION_SECONDS),
    "NATIONAL_PORTAL__CONNECT_TIMEOUT_SECONDS": "0.5",
    "NATIONAL_PORTAL__READ_TIMEOUT_SECONDS": str(CALL_TIMEOUT_SECONDS),
    "NATIONAL_PORTAL__TOTAL_TIMEOUT_SECONDS": str(CALL_TIMEOUT_SECONDS),
    "NATIONAL_PORTAL__ABILITIES__LOOKUP_LAG_SECONDS": str(LOOKUP_LAG_SECONDS),
    "NATIONAL_PORTAL__ABILITIES__LATE_EFFECT_BOUND_SECONDS": str(LATE_EFFECT_BOUND_SECONDS),
    "ENGINE__SEND_BY_SECONDS": str(SEND_BY_SECONDS),
    "ENGINE__POLL_SECONDS": "0.5",
    "ENGINE__PROBE_SECONDS": "0.5",
    "ENGINE__PROBE_MOST_SECONDS": "2",
    "ENGINE__RETRY_FIRST_SECONDS": "0.3",
    "ENGINE__RETRY_MOST_SECONDS": "2",
    "MONITORING__LOG_FORMAT": "json",
}
"""Of every worker, without the prefix; a scenario may add to them and change them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is played. `events` of a scenario, of the SOAP grid and of the soak; `soak_seconds`."""

    name: str
    events: int
    soap_events: int
    soak_seconds: float


SHORT = Scale(name="short", events=3000, soap_events=3000, soak_seconds=60.0)
# Of the twelve rows of a merge; each cell of the SOAP grid has its least number of dossiers then.
CORE = Scale(name="core", events=1500, soap_events=600, soak_seconds=20.0)
FULL = Scale(name="full", events=100_000, soap_events=10_000, soak_seconds=3600.0)

EVENTS_PER_DOSSIER = 9.1
EVENTS_PER_SECOND = 120.0
"""At what rate the one-stop simulator writes, unless the scenario says otherwise."""


def shown(scale: Scale) -> str:
    """One line for the reader of a result."""
    return (
        f"scale {scale.name}: {scale.events} events, SOAP grid {scale.soap_events}, soak "
        f"{scale.soak_seconds:g} s; session {SESSION_SECONDS:g} s, SIGSTOP {FREEZE_SECONDS:g} s, outages "
        f"{OUTAGE_SECONDS:g} s, L {LATE_EFFECT_BOUND_SECONDS:g} s, send_by {SEND_BY_SECONDS:g} s, "
        f"lookup_lag {LOOKUP_LAG_SECONDS:g} s, call timeout {CALL_TIMEOUT_SECONDS:g} s, "
        f"{PARTITIONS} partitions, {EVENTS_PER_SECOND:g} events/s"
    )
