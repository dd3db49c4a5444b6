"""What to write instead, when the ledger refuses a change of one dossier for good.

First the same change without the words of others: ids, enumerations and numbers are ours, and what was
delivered stays delivered. If it is not the words, the dossier's open deliveries are parked for a person.
"""

from __future__ import annotations

from dataclasses import replace

from schemas.ledger.model import Change, DeliveryState, LedgerRefuses, Settled, Work
from schemas.reasons import Reason
from streams.engine.actions import Settle


def without_words(change: Change) -> Change:
    """The change without what came from outside: texts, reference and bodies."""
    outcome = change.outcome
    if outcome is not None:
        outcome = replace(outcome, detail=None, reference=None, request=None, answer=None)
    return replace(
        change,
        outcome=outcome,
        settled=tuple(replace(settled, detail=None) for settled in change.settled),
        findings=tuple(replace(finding, detail=None) for finding in change.findings),
    )


def parking(work: Work, refusal: LedgerRefuses) -> Settle:
    """Every delivery that is not parked yet, for a person."""
    return Settle(
        settled=tuple(
            Settled(
                delivery_id=row.delivery_id,
                state=DeliveryState.PARKED,
                reason=Reason.UNCLASSIFIED_ERROR,
                detail=f"{type(refusal).__name__}: {refusal}",  # names codes, never a value
            )
            for row in work.rows
            if row.state is not DeliveryState.PARKED
        )
    )
