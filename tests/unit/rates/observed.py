"""Observations for the tests: one that is taken, and how it is changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from monitoring.rates import catalogue
from monitoring.rates.plan import read
from schemas.records import IndicatorObservation, Provenance

PLAN = read(
    """
vi = "kế hoạch"
en = "plan"
[indicators.files]
vi = "hồ sơ công việc"
en = "work files"
unit = "percent"
effective_to = 2026-09-30
[indicators.connected]
vi = "kết nối"
en = "connected"
unit = "yes_no"
periods = ["year"]
[[goals]]
code = "files"
number = 1
vi = "hồ sơ công việc"
en = "work files"
value = 80
by = 2025
indicator = "files"
effective_to = 2026-09-30
source = "KH"
certainty = "unverified"
[[goals]]
code = "connected"
number = 2
vi = "kết nối"
en = "connected"
value = 1
by = 2021
indicator = "connected"
source = "KH"
certainty = "unverified"
""",
    "small",
    catalogue.packaged(),
)
AGENCIES = {"H44", "H44.07"}

NOW = datetime(2026, 9, 1, 2, 0, tzinfo=UTC)
"""The first of September, nine o'clock in Viet Nam."""

GOOD = IndicatorObservation(
    observation_id="F-2026-08",
    indicator="files",
    value=Decimal("68.5"),
    unit="percent",
    agency="H44",
    period="2026-08",
    as_of=date(2026, 8, 31),
    provenance=Provenance(system="eoffice", document="12/BC-VP"),
    corrects=None,
    observed_at=NOW,
    submitted_by="eoffice",
)
CORRECTION = replace(
    GOOD,
    observation_id="F-2026-08-1",
    value=Decimal("70"),
    corrects=GOOD.observation_id,
    observed_at=NOW + timedelta(seconds=1),
)


def but(observation: IndicatorObservation = GOOD, **changes: Any) -> IndicatorObservation:
    """The observation with these fields; `system` and `document` are those of its provenance."""
    origin = {name: changes.pop(name) for name in ("system", "document") if name in changes}
    return replace(observation, **changes, provenance=replace(observation.provenance, **origin))
