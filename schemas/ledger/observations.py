"""Indicator observations in the ledger: those that were taken, and what was refused.

Which are taken is decided elsewhere and by rules that know no database; here they are asked inside of the
transaction that writes, so that two decisions never go by the same earlier state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

from sqlalchemy import Connection, select, tuple_

from schemas.dossier.mappings import CodeList
from schemas.ledger.dialect import AnyRow, clock, insert_or_skip, lock_table, to_moment
from schemas.ledger.model import Judged, Observed, RefusedObservation
from schemas.ledger.tables import mappings, observations, refused_observations
from schemas.ledger.work import chunks
from schemas.records import IndicatorObservation, Provenance


def put(
    connection: Connection,
    judge: Callable[[Observed], Sequence[IndicatorObservation]],
    about: Sequence[IndicatorObservation] | None,
) -> list[IndicatorObservation]:
    """See `ObservationLedger.put_observations`."""
    lock_table(connection, observations)
    there = find(connection) if about is None else _related(connection, about)
    observed = _observed(connection, there)
    return _write(connection, observed, judge(observed))


def take(
    connection: Connection,
    wanted: Sequence[IndicatorObservation],
    judge: Callable[[Observed], Judged],
) -> None:
    """What `ObservationLedger.take_observations` does beside moving the position."""
    lock_table(connection, observations)
    observed = _observed(connection, _related(connection, wanted))
    judged = judge(observed)
    _write(connection, observed, judged.taken)
    put_refused(connection, judged.refused)


def _observed(connection: Connection, there: Sequence[IndicatorObservation]) -> Observed:
    now = to_moment(clock(connection))
    return Observed(observations=there, agencies=agencies(connection), now=now)


def _related(
    connection: Connection, wanted: Sequence[IndicatorObservation]
) -> list[IndicatorObservation]:
    """All of the figures of these, and those with the ids that they have or name."""
    table = observations.c
    figure = tuple_(table.indicator, table.agency, table.period)
    # What a database cannot hold is not there, and cannot even be compared.
    ids = {text for one in wanted for text in (one.observation_id, one.corrects) if _sound(text)}
    figures = {
        about
        for one in wanted
        if all(map(_sound, about := (one.indicator, one.agency, one.period)))
    }
    found: dict[str, IndicatorObservation] = {}
    for conditions in (
        *(table.observation_id.in_(some) for some in chunks(sorted(ids))),
        *(figure.in_(some) for some in chunks(sorted(figures))),
    ):
        for row in connection.execute(select(observations).where(conditions)):
            found[row.observation_id] = _typed(row)
    return [found[identity] for identity in sorted(found)]


def _sound(text: str | None) -> TypeGuard[str]:
    return text is not None and "\x00" not in text and text.encode(errors="ignore").decode() == text


def _write(
    connection: Connection, observed: Observed, taken: Sequence[IndicatorObservation]
) -> list[IndicatorObservation]:
    ids = {one.observation_id for one in observed.observations}
    new = {one.observation_id: one for one in taken if one.observation_id not in ids}
    if new:
        connection.execute(
            insert_or_skip(connection, observations, ["observation_id"]),
            # What is corrected before its corrections: a row refers to another that is there.
            [
                {**_columns(one), "recorded_at": observed.now}
                for one in sorted(new.values(), key=lambda one: one.corrects is not None)
            ],
        )
    return list(new.values())


def find(
    connection: Connection,
    *,
    indicator: str | None = None,
    agency: str | None = None,
    period: str | None = None,
) -> list[IndicatorObservation]:
    """By indicator, agency and period; of a figure the first observation, then corrections by time."""
    table = observations.c
    query = select(observations).order_by(
        table.indicator,
        table.agency,
        table.period,
        table.corrects.is_not(None),
        table.observed_at,
        table.observation_id,
    )
    for column, wanted in (
        (table.indicator, indicator),
        (table.agency, agency),
        (table.period, period),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    return [_typed(row) for row in connection.execute(query)]


def agencies(connection: Connection) -> frozenset[str]:
    """The codes that agencies' codes are mapped to, also of agencies that were closed since."""
    query = select(mappings.c.value).where(mappings.c.codelist == CodeList.AGENCY.value).distinct()
    return frozenset(connection.execute(query).scalars())


def put_refused(connection: Connection, rows: Sequence[RefusedObservation]) -> None:
    """See `ObservationLedger.put_refused_observations`."""
    if rows:
        keys = [column.name for column in refused_observations.primary_key]
        connection.execute(
            insert_or_skip(connection, refused_observations, keys),
            [
                {column.name: getattr(row, column.name) for column in refused_observations.c}
                for row in rows
            ],
        )


def refused(connection: Connection, limit: int) -> list[RefusedObservation]:
    """See `ObservationLedger.refused_observations`."""
    table = refused_observations.c
    query = (
        select(refused_observations)
        .order_by(table.recorded_at.desc(), table.origin, table.place, table.field, table.reason)
        .limit(limit)
    )
    return [RefusedObservation(**row._mapping) for row in connection.execute(query)]


def _columns(observation: IndicatorObservation) -> Mapping[str, Any]:
    return {
        "observation_id": observation.observation_id,
        "indicator": observation.indicator,
        "agency": observation.agency,
        "period": observation.period,
        "value": observation.value,
        "unit": observation.unit,
        "as_of": observation.as_of,
        "system": observation.provenance.system,
        "document": observation.provenance.document,
        "corrects": observation.corrects,
        "observed_at": observation.observed_at,
        "submitted_by": observation.submitted_by,
    }


def _typed(row: AnyRow) -> IndicatorObservation:
    return IndicatorObservation(
        observation_id=row.observation_id,
        indicator=row.indicator,
        value=row.value,
        unit=row.unit,
        agency=row.agency,
        period=row.period,
        as_of=row.as_of,
        provenance=Provenance(system=row.system, document=row.document),
        corrects=row.corrects,
        observed_at=row.observed_at,
        submitted_by=row.submitted_by,
    )
