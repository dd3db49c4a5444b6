"""What is kept of an observation that is not taken: where it stood, why, and codes that are known.

Anything else in it may be personal data, whatever the field is called.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from monitoring.rates.observations import Refused, refused
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

    def of(self, faulty: Faulty) -> RefusedObservation:
        """A fault that the rules found."""
        place, observation, fault = faulty
        return self.row(
            place,
            fault.field,
            fault.reason,
            indicator=observation.indicator,
            agency=observation.agency,
            period=observation.period,
        )


class Faulty(NamedTuple):
    """One fault of one observation, and where that stood."""

    place: str
    observation: IndicatorObservation
    fault: Refused


def decide(
    wanted: Mapping[str, IndicatorObservation], *, plan: Plan, observed: Observed
) -> tuple[tuple[IndicatorObservation, ...], list[Faulty]]:
    """Those that are taken, each once, and the faults of the others; in their order, by place.

    Each is judged by what was there and by those before it that were taken.
    """
    known = list(observed.observations)
    taken: list[IndicatorObservation] = []
    faulty: list[Faulty] = []
    for place, observation in wanted.items():
        faults = refused(
            observation, plan=plan, agencies=observed.agencies, known=known, now=observed.now
        )
        if not faults:
            taken.append(observation)
            known.append(observation)
        faulty += (Faulty(place, observation, fault) for fault in faults)
    return _once(taken), faulty


def judge(
    wanted: Mapping[str, IndicatorObservation], *, origin: str, plan: Plan, observed: Observed
) -> Judged:
    """The same, with the faults as rows."""
    taken, faulty = decide(wanted, plan=plan, observed=observed)
    keeper = Keeper(origin=origin, plan=plan, agencies=observed.agencies, now=observed.now)
    return Judged(taken=taken, refused=[keeper.of(one) for one in faulty])


def _once(taken: Iterable[IndicatorObservation]) -> tuple[IndicatorObservation, ...]:
    """The first of each id: what arrives twice says the same, and is kept as it came first."""
    first: dict[str, IndicatorObservation] = {}
    for observation in taken:
        first.setdefault(observation.observation_id, observation)
    return tuple(first.values())
