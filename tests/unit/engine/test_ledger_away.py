"""What the engine still knows while the ledger is away: how a call ended, and that none was made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from schemas.ledger.migrate import upgrade
from schemas.ledger.model import Applied, Change, DeliveryState, LedgerUnavailable
from schemas.ledger.sql import SqlLedger
from tests.unit.engine.refused_world import GOOD, deliver


class Forgetful(SqlLedger):
    """Away for the first groups that hold an outcome, or an intent; `writes`: they are written all the same."""

    kind = "outcome"
    writes = False
    times = 3

    async def commit(self, changes: Sequence[Change]) -> Sequence[Applied]:
        struck = any(getattr(change, self.kind) is not None for change in changes)
        if not struck or self.times == 0:
            return await super().commit(changes)
        self.times -= 1
        if self.writes:
            await super().commit(changes)
        raise LedgerUnavailable("away")


@pytest.mark.parametrize("writes", [False, True], ids=["not written", "written, the answer lost"])
@pytest.mark.parametrize("kind", ["outcome", "intent"])
async def test_a_ledger_that_is_away_for_a_moment_costs_no_knowledge(
    tmp_path: Path, kind: str, writes: bool
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    upgrade(url)

    def ledger_of(url: str) -> SqlLedger:
        ledger = Forgetful(url)
        ledger.kind, ledger.writes = kind, writes
        return ledger

    dossiers = {f"opencps:{number}": GOOD for number in range(8)}
    done = await deliver(url, dossiers, ledger_of)
    assert done.created == sorted(dossiers), "each once"
    assert done.asked == [], "what is known need not be asked"
    assert done.states == {(DeliveryState.DELIVERED, ""): len(dossiers)}
    assert done.references == {dossier: f"R-{dossier}" for dossier in dossiers}
