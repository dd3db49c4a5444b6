"""The hub's own ledger as the demo's viewer sees it; the verdict takes from it only what is parked.

Of dossiers only: a report that is owed as well has no row among them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the deliveries stand. `behind`: pending ones that wait behind something parked or waiting."""

    states: dict[str, int] = field(default_factory=dict)
    parked: dict[str, int] = field(default_factory=dict)  # reason -> dossiers
    under_way: int = 0  # dossiers with something to do now or at a set time
    attempts: int = 0
    retried: int = 0
    unknown: int = 0
    asked: int = 0
    dead_letters: int = 0

    @property
    def enlisted(self) -> int:
        """Everything that was ever owed."""
        return sum(self.states.values())

    @property
    def delivered(self) -> int:
        return self.states.get("delivered", 0)

    @property
    def superseded(self) -> int:
        return self.states.get("superseded", 0)

    @property
    def discarded(self) -> int:
        return self.states.get("discarded", 0)

    @property
    def waiting(self) -> int:
        return self.states.get("waiting", 0)

    @property
    def parked_deliveries(self) -> int:
        return self.states.get("parked", 0)

    @property
    def behind(self) -> int:
        return self.states.get("pending", 0) + self.states.get("sending", 0)


_STATES = """
select state, count(*) from deliveries x
where exists (select 1 from dossiers o where o.dossier_id = x.dossier_id) group by state
"""
_PARKED = """
select reason, count(distinct dossier_id) from deliveries x where state = 'parked'
and exists (select 1 from dossiers o where o.dossier_id = x.dossier_id) group by reason
"""
_UNDER_WAY = """
select count(*) from dossier_target x where (runnable or wake_at is not null)
and exists (select 1 from dossiers o where o.dossier_id = x.dossier_id)
"""
_OUTCOMES = """
select coalesce(outcome, 'none'), count(*) from attempts x
where exists (select 1 from dossiers o where o.dossier_id = x.dossier_id) group by 1
"""
_ASKED = """
select count(*) from attempts x
where closed_at is not null and coalesce(outcome, 'unknown') = 'unknown'
and exists (select 1 from dossiers o where o.dossier_id = x.dossier_id)
"""


class HubView:
    """Reads a ledger by its SQLAlchemy address, and never writes to it. Each question is one reading."""

    def __init__(self, url: str) -> None:
        # No connection is kept: whoever watches may stop or replace the database meanwhile.
        self._engine = create_engine(_for_reading(url), poolclass=NullPool)

    def standing(self) -> Standing:
        """All counts, from one reading."""
        with self._engine.connect() as db, db.begin():
            outcomes = _pairs(db, _OUTCOMES)
            return Standing(
                states=_pairs(db, _STATES),
                parked=_pairs(db, _PARKED),
                under_way=_one(db, _UNDER_WAY),
                attempts=sum(outcomes.values()),
                retried=outcomes.get("failed", 0) + outcomes.get("unknown", 0),
                unknown=outcomes.get("unknown", 0) + outcomes.get("none", 0),
                asked=_one(db, _ASKED),
                dead_letters=_one(db, "select count(*) from dead_letters"),
            )

    def parked_by_source_id(self) -> dict[int, frozenset[str]]:
        """The reasons for which each dossier is parked, by its id in the one-stop system."""
        found: dict[int, set[str]] = defaultdict(set)
        for value, reason in self.rows(
            "select a.value, d.reason from deliveries d join dossier_aliases a"
            " on a.dossier_id = d.dossier_id and a.kind = 'source_id'"
            " where d.state = 'parked'"
        ):
            found[int(value.rpartition("/")[2])].add(reason)
        return {dossier: frozenset(reasons) for dossier, reasons in found.items()}

    def rows(self, query: str, **parameters: object) -> list[tuple[Any, ...]]:
        """Any other question, in SQL with `:name` parameters."""
        with self._engine.connect() as db:
            return [tuple(row) for row in db.execute(text(query), parameters)]


def _for_reading(url: str) -> str:
    if url.startswith("sqlite:///"):
        return f"sqlite:///file:{url.removeprefix('sqlite:///')}?mode=ro&uri=true&timeout=30"
    return url


def _pairs(db: Connection, query: str) -> dict[str, int]:
    return {key: number for key, number in db.execute(text(query))}


def _one(db: Connection, query: str) -> int:
    number: int = db.execute(text(query)).scalar_one()
    return number
