"""The signed intake of indicator observations: what is answered to a request that another system makes.

A list is taken whole or not at all, and the answer says which: with every fault, its field and the remedy.
The same list again is no fault, so a system repeats a request whose answer it did not see.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from monitoring.rates.observations_json import BadList, Fault, parse_list
from monitoring.rates.plan import Plan
from monitoring.rates.refusals import Faulty, Keeper, decide
from schemas.dossier.working_calendar import civil_day
from schemas.ledger.model import ObservationLedger, Observed, RefusedObservation
from schemas.records import IndicatorObservation
from schemas.signatures import LEAST_KEY_BYTES, BadSignature, verify

ORIGIN = "http"
"""The way by which these observations come."""

SYSTEM_HEADER = "X-Thongsuot-System"
"""Names the system whose key signed the request."""

TAKEN, NOT_SIGNED, NOT_TAKEN = 200, 401, 422


@dataclass(frozen=True, slots=True)
class Answer:
    """The status of HTTP, and what is sent as JSON."""

    status: int
    content: Mapping[str, object]


class _NotTaken(Exception):
    def __init__(self, faulty: Sequence[Faulty]) -> None:
        super().__init__()
        self.faulty = faulty


class ObservationsIntake:
    """`keys`: the key of every system that may hand in observations, by the system's code."""

    def __init__(
        self,
        *,
        ledger: ObservationLedger,
        keys: Mapping[str, bytes],
        plan: Plan,
        wall: Callable[[], datetime],
    ) -> None:
        self._ledger = ledger
        self._keys = dict(keys)
        self._plan = plan
        self._wall = wall
        # As slow as a key that is there, so that nobody learns which systems have one.
        self._nobody = secrets.token_bytes(LEAST_KEY_BYTES)

    async def answer(self, system: str | None, signature: str | None, body: bytes) -> Answer:
        """`system` and `signature` are the headers, `body` the bytes as they came. Raises as the ledger."""
        now = self._wall()
        known = system if system in self._keys else None
        try:
            verify(signature, self._keys[known] if known else self._nobody, body, now)
        except BadSignature as error:
            # One row a day, system and fault: whoever has no key must not fill the ledger.
            place = f"{civil_day(now)}:{known or '-'}"
            await self._note([self._keeper(frozenset(), now).row(place, "", error.fault)])
            return Answer(NOT_SIGNED, {"reason": error.fault.value, "vi": error.vi, "en": error.en})
        assert known is not None  # nobody signs with a key that was drawn by lot
        digest = sha256(body).hexdigest()[:16]
        try:
            wanted = parse_list(body, now=now, submitted_by=known)
        except BadList as error:
            await self._note(
                self._keeper(frozenset(), now).row(
                    f"{digest}:{'' if one.item is None else one.item}", one.field, one.reason
                )
                for one in error.faults
            )
            return _not_taken(error.faults)
        return await self._take(wanted, digest)

    async def _take(self, wanted: Sequence[IndicatorObservation], digest: str) -> Answer:
        places = {f"{digest}:{number}": one for number, one in enumerate(wanted)}
        last: list[Observed] = []

        def judge(observed: Observed) -> Sequence[IndicatorObservation]:
            last.append(observed)
            taken, faulty = decide(places, plan=self._plan, observed=observed)
            if faulty:
                raise _NotTaken(faulty)
            return taken

        try:
            new = await self._ledger.put_observations(judge, wanted)
        except _NotTaken as error:
            keeper = self._keeper(last[-1].agencies, last[-1].now)
            await self._note(keeper.of(one) for one in error.faulty)
            return _not_taken(
                [
                    Fault(int(place.rpartition(":")[2]), fault.field, fault.words, fault.reason)
                    for place, _, fault in error.faulty
                ]
            )
        return Answer(TAKEN, {"received": len(wanted), "new": [one.observation_id for one in new]})

    def _keeper(self, agencies: frozenset[str], now: datetime) -> Keeper:
        return Keeper(origin=ORIGIN, plan=self._plan, agencies=agencies, now=now)

    async def _note(self, rows: Iterable[RefusedObservation]) -> None:
        await self._ledger.put_refused_observations(list(rows))


def _not_taken(faults: Sequence[Fault]) -> Answer:
    return Answer(NOT_TAKEN, {"faults": [fault.as_dict() for fault in faults]})
