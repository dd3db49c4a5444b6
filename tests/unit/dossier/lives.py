"""Lives of dossiers: one in the first week of March 2026, without a day off, and lives at random."""

from __future__ import annotations

from datetime import datetime

from hypothesis import strategies as st

from schemas.dossier.status import Status
from schemas.dossier.timeline import Comparison, Entry, Timeline
from schemas.records import DossierTimes, Supplement
from tests.unit.dossier.samples import HOUR, MINUTE, at

MON, TUE, WED, THU, FRI = (at(f"2026-03-{day:02} 09:00") for day in (2, 3, 4, 5, 6))
DUE = at("2026-03-06 17:00")


def life(
    *steps: tuple[Status, str],
    due: str | None = "2026-03-06 17:00",
    supplements: tuple[Supplement, ...] = (),
    dated: bool = False,
) -> Timeline:
    """A dossier received on Monday at nine, and its later steps; `dated`: the source
    held the due date from the first."""
    due_at = at(due) if due else None
    entries = [Entry(status=Status.RECEIVED, at=MON, place=0, due=due_at if dated else None)]
    entries += [
        Entry(status=status, at=at(f"2026-03-{moment}"), place=place)
        for place, (status, moment) in enumerate(steps, start=1)
    ]
    return Timeline(
        times=DossierTimes(received=MON, due=due_at),
        entries=tuple(entries),
        supplements=supplements,
    )


def request(asked: str, done: str | None, old: datetime | None = DUE) -> Supplement:
    """A request to supplement in March 2026, its answer, and the due date that was in force."""
    return Supplement(
        supplement_id="1",
        requested_at=at(f"2026-03-{asked}"),
        completed_at=at(f"2026-03-{done}") if done else None,
        old_due=old,
        new_due=None,
    )


# --- lives at random -------------------------------------------------------------------------------

MOMENTS = st.integers(0, 60 * 24 * 20).map(lambda minutes: MON + minutes * MINUTE)
ENTRIES = st.lists(
    st.builds(
        Entry,
        status=st.sampled_from(list(Status)),
        at=MOMENTS,
        place=st.integers(0, 2),
        due=st.none() | st.just(DUE),
    ),
    max_size=8,
)
SUPPLEMENTS = st.lists(
    st.builds(
        lambda name, asked, took, old: Supplement(
            supplement_id=str(name),
            requested_at=asked,
            completed_at=None if took is None else asked + took * HOUR,
            old_due=old,
            new_due=None,
        ),
        st.integers(1, 3),
        MOMENTS,
        st.none() | st.integers(0, 100),
        st.none() | st.just(DUE),
    ),
    max_size=2,
)
TIMES = st.builds(
    DossierTimes,
    received=st.none() | st.just(MON),
    due=st.none() | st.just(DUE) | MOMENTS,
    finished=st.none() | MOMENTS,
    returned=st.none() | MOMENTS,
    refused=st.none() | MOMENTS,
)
COMPARISONS = st.sampled_from(Comparison)
LIMITS = st.none() | st.integers(0, 100).map(lambda hours: hours * HOUR)
