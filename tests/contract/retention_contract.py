"""What letting go of old evidence does, on every database. Inherit and override `url`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select, update

from schemas.ledger import prune as pruning
from schemas.ledger.database import Lane
from schemas.ledger.migrate import upgrade
from schemas.ledger.model import (
    DeliveryState,
    DossierPatch,
    Known,
    Operation,
    Settled,
    Verdict,
    Work,
)
from schemas.ledger.prune import Pruned, prune
from schemas.ledger.retention import Retention, survey
from schemas.ledger.sql import SqlLedger
from schemas.ledger.tables import deliveries, event_keys, metadata
from schemas.reasons import Reason
from tests.contract.ledger_contract import (
    STATE,
    TARGET,
    Desk,
    make_attempt,
    make_event,
    make_mapping,
    said,
)

KEEP = Retention(evidence_months=12, content_months=3, dedup_months=36)

OLD = datetime(2026, 2, 17, 5, 0, tzinfo=UTC)
"""A day of the month that is let go of."""

LATER = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)


@dataclass(slots=True)
class Archive:
    """A ledger with settled evidence, and a look into its tables."""

    ledger: SqlLedger
    desk: Desk
    lane: Lane

    async def deliver(self, event_id: str, dossier_id: str, at: datetime) -> Work:
        """One event whose state was delivered and whose receipt was published."""
        await self.desk.put(make_event(event_id, dossier_id, at=at, code=None), dues=(STATE,))
        (work,) = [w for w in await self.desk.runnable() if w.dossier.dossier_id == dossier_id]
        (row,) = work.rows
        attempt = replace(make_attempt(work, row.delivery_id), attempt_id=f"attempt-{event_id}")
        await self.desk.commit(replace(self.desk.change(work), intent=attempt))
        (ended,) = await self.desk.commit(
            replace(
                self.desk.release(work),
                outcome=replace(said(attempt), request=b"request", answer=b"answer"),
                close=attempt.attempt_id,
                settled=(Settled(delivery_id=row.delivery_id, state=DeliveryState.DELIVERED),),
                patch=DossierPatch(known=Known.PRESENT, delivered_version=1, delivered_hash="h"),
            )
        )
        assert ended.verdict is Verdict.DONE
        await self.ledger.mark_published([row.delivery_id])
        return work

    async def rows(self) -> dict[str, int]:
        """Rows by table."""

        def count(connection: object) -> dict[str, int]:
            return {
                name: connection.execute(select(func.count()).select_from(table)).scalar_one()  # type: ignore[attr-defined] # a Connection
                for name, table in metadata.tables.items()
            }

        return await self.lane.read(count)

    async def settled_at(self, event_id: str, at: datetime) -> None:
        """Say that the event's deliveries ended then."""
        await self.lane.write(
            lambda c: c.execute(
                update(deliveries).where(deliveries.c.event_id == event_id).values(settled_at=at)
            )
        )

    async def prune(self, year: int, month: int, keep: Retention = KEEP) -> Pruned:
        return await prune(self.lane, keep, then(year, month))


def then(year: int, month: int) -> datetime:
    """The middle of this month, if the rows, which are written today, had been written in November 2026."""
    today = datetime.now(UTC)
    months = (year - 2026) * 12 + month - 11 + today.year * 12 + today.month - 1
    return datetime(months // 12, months % 12 + 1, 15, tzinfo=UTC)


class RetentionContract:
    """The rows were written today; what is asked is what would go at a time to come."""

    whole_months = False
    """Whether a month without anything that stays goes as a partition."""

    @pytest.fixture
    async def archive(self, url: str) -> AsyncIterator[Archive]:
        upgrade(url)
        lane = Lane(url, "test-prune")
        try:
            async with SqlLedger(url) as ledger:
                yield Archive(ledger=ledger, desk=await Desk.open(ledger), lane=lane)
        finally:
            await lane.close()

    async def test_settled_evidence_goes_with_its_month_and_what_we_know_stays(
        self, archive: Archive
    ) -> None:
        await archive.deliver("e1", "opencps:1", OLD)
        await archive.deliver("e2", "opencps:2", OLD)
        await archive.ledger.put_mappings([make_mapping("a", "received")])
        before = await archive.rows()
        gone = await archive.prune(2028, 1)
        after = await archive.rows()
        assert (gone.events, gone.deliveries, gone.attempts, gone.bodies) == (2, 2, 2, 2)
        assert list(gone.dropped) == ([202602] if self.whole_months else [])
        assert list(gone.busy) == []
        changed = {name for name in after if after[name] != before[name]}
        assert changed == {"events", "timeline", "deliveries", "attempts", "content"}
        assert {after[name] for name in changed} == {0}
        known = await archive.ledger.reload(TARGET, "opencps:1")
        assert (known.dossier.known, known.dossier.delivered_hash) == (Known.PRESENT, "h")

    async def test_a_re_read_of_what_went_is_still_a_duplicate(self, archive: Archive) -> None:
        await archive.deliver("e1", "opencps:1", OLD)
        assert (await archive.prune(2028, 1)).keys == 0
        again = archive.desk.item(make_event("e1", "opencps:1", at=OLD), 1, (STATE,))
        result = await archive.ledger.enlist({0: archive.desk.fences[0]}, {0: 2}, [again], {0: 1})
        assert (result.enlisted, result.duplicates) == (0, 1)
        assert await archive.desk.ids() == []
        # Until its key is let go of, years later.
        assert (await archive.prune(2029, 11)).keys == 0
        assert (await archive.prune(2029, 12)).keys == 1
        assert (await archive.rows())["event_keys"] == 0

    async def test_evidence_within_the_retention_stays(self, archive: Archive) -> None:
        """By its source day the event is old enough at once; it was delivered today."""
        await archive.deliver("e1", "opencps:1", datetime(2019, 5, 1, tzinfo=UTC))
        before = await archive.rows()
        gone = await archive.prune(2027, 11)
        assert (gone.events, gone.deliveries, gone.attempts) == (0, 0, 0)
        after = await archive.rows()
        assert {n: after[n] for n in after if n != "content"} == {
            n: before[n] for n in before if n != "content"
        }
        assert (await archive.prune(2027, 12)).events == 1

    async def test_bodies_go_earlier(self, archive: Archive) -> None:
        await archive.deliver("e1", "opencps:1", OLD)
        assert (await archive.prune(2027, 2)).bodies == 0
        gone = await archive.prune(2027, 3)
        assert (gone.bodies, gone.events, gone.attempts) == (1, 0, 0)
        entries = await archive.ledger.trace("opencps:1")
        assert [entry.kind for entry in entries] == ["event", "delivery", "attempt", "receipt"]

    async def test_a_month_with_open_deliveries_is_pruned_row_by_row(
        self, archive: Archive
    ) -> None:
        await archive.deliver("e1", "opencps:1", OLD)
        await archive.desk.put(make_event("e2", "opencps:2", at=OLD))
        parked = [w for w in await archive.desk.runnable() if w.dossier.dossier_id == "opencps:2"]
        (work,) = parked
        await archive.desk.commit(
            replace(
                archive.desk.release(work),
                settled=tuple(
                    Settled(
                        delivery_id=row.delivery_id,
                        state=DeliveryState.PARKED,
                        reason=Reason.FIELD_MISSING,
                    )
                    for row in work.rows
                ),
            )
        )
        for _ in range(2):
            gone = await archive.prune(2031, 1)
            assert list(gone.dropped) == []
        left = await archive.ledger.reload(TARGET, "opencps:2")
        assert [row.payload for row in left.rows if row.operation is Operation.STEP] == [
            b"payload of e2"
        ]
        rows = await archive.rows()
        assert (rows["events"], rows["timeline"], rows["deliveries"]) == (1, 1, 2)
        assert (rows["event_keys"], rows["attempts"]) == (1, 0), "what is open keeps its key"

    async def test_an_unpublished_receipt_stays(self, archive: Archive) -> None:
        work = await archive.deliver("e1", "opencps:1", OLD)
        delivery_id = work.rows[0].delivery_id
        await archive.lane.write(lambda c: c.execute(update(deliveries).values(receipt="owed")))
        assert (await archive.prune(2028, 1)).deliveries == 0
        assert [r.delivery_id for r in await archive.ledger.unpublished(10)] == [delivery_id]
        await archive.ledger.mark_published([delivery_id])
        assert (await archive.prune(2028, 1)).deliveries == 1

    async def test_an_event_settled_late_stays_while_its_neighbour_goes(
        self, archive: Archive
    ) -> None:
        await archive.deliver("e1", "opencps:1", OLD)
        await archive.deliver("e2", "opencps:2", OLD)
        await archive.settled_at("e2", then(2027, 6))
        counted = await archive.lane.read(lambda c: survey(c, KEEP, then(2028, 1)))
        (month,) = counted.months
        assert (month.month, month.events, month.deliveries) == (202602, 2, 2)
        assert (month.goes, month.unsettled, month.recent) == (1, 0, 1)
        assert counted.before == int(f"{then(2027, 1):%Y%m}")
        assert (counted.attempts, counted.bodies) == (2, 2)
        gone = await archive.prune(2028, 1)
        assert (gone.events, gone.attempts) == (1, 1)
        assert [e.kind for e in await archive.ledger.trace("opencps:2")][-1] == "receipt"
        assert (await archive.rows())["attempts"] == 1, "the attempt of the delivery that stays"

    async def test_looking_changes_nothing(self, archive: Archive) -> None:
        await archive.deliver("e1", "opencps:1", OLD)
        await archive.deliver("e2", "opencps:2", LATER)
        before = await archive.rows()
        counted = await archive.lane.read(
            lambda c: survey(c, KEEP, datetime(2030, 1, 1, tzinfo=UTC))
        )
        assert [(m.month, m.goes) for m in counted.months] == [(202602, 1), (202603, 1)]
        assert counted.keys == 0, "an event that is there keeps its key"
        assert await archive.rows() == before

    async def test_more_rows_than_one_transaction_takes(
        self, archive: Archive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pruning, "ROWS", 3)
        monkeypatch.setattr(pruning, "PAUSE_SECONDS", 0.0)
        early = datetime(2019, 5, 1, tzinfo=UTC)
        for i in range(10):
            await archive.deliver(f"e{i}", f"opencps:{i}", early)
        gone = await archive.prune(2031, 1)
        assert (gone.events, gone.deliveries, gone.attempts, gone.bodies) == (10, 10, 10, 10)
        assert gone.keys == 10
        assert (await archive.rows())["event_keys"] == 0

    async def test_the_source_s_day_is_kept_with_the_key(self, archive: Archive) -> None:
        night = datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC)
        await archive.desk.put(make_event("e1", at=night))
        query = select(event_keys.c.source_day)
        assert await archive.lane.read(lambda c: c.execute(query).scalar_one()) == 20260228
