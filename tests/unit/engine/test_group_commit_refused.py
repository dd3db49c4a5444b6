"""A row that the database refuses for good concerns its own dossier, and nobody else."""

from __future__ import annotations

from pathlib import Path

from schemas.ledger.migrate import upgrade
from schemas.ledger.model import DeliveryState
from tests.unit.engine.refused_world import ODD_ANSWER, ODD_CODE, deliver, many


def sqlite(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/ledger.db"
    upgrade(url)
    return url


async def test_an_answer_that_cannot_be_held_is_delivered_without_its_words(tmp_path: Path) -> None:
    kinds = many({7: ODD_ANSWER, 31: ODD_ANSWER})
    done = await deliver(sqlite(tmp_path), kinds)
    assert done.created == sorted(kinds), (
        "each of them once: it was delivered, and nobody asks again"
    )
    assert done.states == {(DeliveryState.DELIVERED, ""): len(kinds)}
    assert done.references["opencps:7"] is None
    assert done.references["opencps:8"] == "R-opencps:8"


async def test_a_dossier_whose_intent_cannot_be_held_is_parked_and_never_sent(
    tmp_path: Path,
) -> None:
    kinds = many({7: ODD_CODE, 31: ODD_CODE})
    done = await deliver(sqlite(tmp_path), kinds)
    assert done.created == sorted(set(kinds) - {"opencps:7", "opencps:31"})
    assert done.states == {
        (DeliveryState.DELIVERED, ""): len(kinds) - 2,
        (DeliveryState.PARKED, "unclassified_error"): 2,
    }
    parked = {facts["dossier_id"]: facts["detail"] for facts in done.log.of("parked")}
    assert set(parked) == {"opencps:7", "opencps:31"}
    assert "LedgerRefuses" in parked["opencps:7"]
    assert "UnicodeEncodeError" in parked["opencps:7"], "the type, for whoever looks"
