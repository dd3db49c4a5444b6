"""What is kept of an observation that is not taken: where it stood, why, and codes that are known.

Anything else in it may be personal data, whatever the field is called.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from monitoring.rates.observations import refused
from monitoring.rates.periods import parse_period
from monitoring.rates.plan import Plan
from schemas.ledger.model import Judged, Observed, RefusedObservation
from schemas.records import IndicatorObservation


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    """Makes the rows of what came by one way. `now` is aware."""

    origin: str
    plan: Plan
    agencies: Container[str]
    now: datetime

    def row(
        self,
        place: str,
        field: str,
        reason: str,
        *,
        indicator: str = "",
        agency: str = "",
        period: str = "",
    ) -> RefusedObservation:
        """One fault. `field` is a name of ours, or empty."""
        return RefusedObservation(
            origin=self.origin,
            place=place,
            field=field,
            reason=str(reason),
            indicator=indicator if indicator in self.plan.indicators else None,
            agency=agency if agency in self.agencies else None,
            period=period if parse_period(period) is not None else None,
            recorded_at=self.now,
        )


def judge(
    wanted: Mapping[str, IndicatorObservation], *, origin: str, plan: Plan, observed: Observed
) -> Judged:
    """Decide about observations in their order, by the place where each stood.

    Each is judged by what was there and by those before it that were taken.
    """
    keeper = Keeper(origin=origin, plan=plan, agencies=observed.agencies, now=observed.now)
    known = list(observed.observations)
    taken: list[IndicatorObservation] = []
    rows: list[RefusedObservation] = []
    for place, observation in wanted.items():
        faults = refused(
            observation, plan=plan, agencies=observed.agencies, known=known, now=observed.now
        )
        if not faults:
            taken.append(observation)
            known.append(observation)
        rows += (
            keeper.row(
                place,
                fault.field,
                fault.reason,
                indicator=observation.indicator,
                agency=observation.agency,
                period=observation.period,
            )
            for fault in faults
        )
    return Judged(taken=_once(taken), refused=rows)


def _once(taken: Iterable[IndicatorObservation]) -> tuple[IndicatorObservation, ...]:
    """The first of each id: what arrives twice says the same, and is kept as it came first."""
    first: dict[str, IndicatorObservation] = {}
    for observation in taken:
        first.setdefault(observation.observation_id, observation)
    return tuple(first.values())
