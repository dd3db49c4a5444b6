"""Both feeds under writers that commit late, with restarts and crashes at any moment."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.one_stop.simulator import schema
from schemas.records import EventKind, Feed
from tests.one_stop_database import Capture, World, copied_world, payload_of

STEP = st.sampled_from(["110", "120", "200", "210", "300"])
DOSSIER = st.integers(0, 2)
OPERATIONS = st.one_of(
    st.tuples(st.just("act"), DOSSIER, STEP),
    st.tuples(st.just("act_late"), DOSSIER, STEP),
    st.tuples(st.just("commit_late"), st.integers(0, 3)),
    st.tuples(st.just("other_block"), st.integers(0, 1)),
    st.tuples(st.just("note"), DOSSIER, st.integers(0, 2)),
    st.tuples(st.just("pay"), DOSSIER),
    st.tuples(st.just("edit"), st.integers(0, 9)),
    st.tuples(st.just("roll_back"), st.integers(0, 9)),
    st.tuples(st.just("delete"), st.integers(0, 9)),
    st.tuples(st.just("read"), st.sampled_from([Feed.ACTIONS, Feed.CHANGES, Feed.SWEEP])),
    st.tuples(st.just("crash"), st.sampled_from([Feed.ACTIONS, Feed.CHANGES, Feed.SWEEP])),
    st.tuples(st.just("restart")),
)


class Schedule:
    """Plays operations. Ids come from two blocks, as two servers take them; late rows take theirs at once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.capture = Capture()
        self.source = world.source(page_size=8)
        self.dossiers = [world.dossier() for _ in range(3)]
        self.chains: dict[int, list[int]] = {d: [] for d in self.dossiers}
        self.late: list[Callable[[], None]] = []
        self.next_id = [101, 201]
        self.server = 0
        self.committed: list[int] = []
        self.notes = 0

    async def play(self, operation: tuple[Any, ...]) -> None:
        word, *rest = operation
        if word == "act":
            self._prepare(rest[0], rest[1])()
        elif word == "act_late":
            self.late.append(self._prepare(rest[0], rest[1]))
        elif word == "commit_late":
            if self.late:
                self.late.pop(rest[0] % len(self.late))()
        elif word == "other_block":
            self.server = rest[0]
        elif word == "note":
            note = f"ghi chú {rest[1]}"
            self.world.change(schema.dossier, self.dossiers[rest[0]], dossierNote=note)
        elif word == "pay":
            self.world.pay(self.dossiers[rest[0]])
        elif word in ("edit", "roll_back", "delete"):
            self._alter(word, rest[0])
        elif word == "read":
            await self.capture.read(self.source, rest[0])
        elif word == "crash":
            await self.capture.read(self.source, rest[0], save=False)
            self.source = self.world.source(page_size=8)
        else:
            self.source = self.world.source(page_size=8)

    def _prepare(self, index: int, step: str) -> Callable[[], None]:
        dossier = self.dossiers[index]
        number = self.next_id[self.server]
        self.next_id[self.server] += 1
        chain = self.chains[dossier]
        previous = chain[-1] if chain else 0
        chain.append(number)
        at = self.world.tick()

        def write() -> None:
            self.world.act(dossier, step, dossierActionId=number, previousActionId=previous, at=at)
            self.committed.append(number)

        return write

    def _alter(self, word: str, index: int) -> None:
        if not self.committed:
            return
        number = self.committed[index % len(self.committed)]
        if word == "delete":
            self.committed.remove(number)
            self.world.remove(schema.dossieraction, number)
        elif word == "edit":
            self.notes += 1
            self.world.change(schema.dossieraction, number, actionNote=f"sửa {self.notes}")
        else:
            self.world.change(schema.dossieraction, number, state_=2)

    async def finish(self) -> None:
        while self.late:
            self.late.pop()()
        await self.capture.drain(self.source)
        await self.capture.drain(self.source)

    def verify(self) -> None:
        told = self.capture.told()
        actions: dict[int, list[int]] = {}
        gone: set[int] = set()
        last: dict[int, dict[str, Any]] = {}
        where: dict[int, tuple[int, int]] = {}
        for position, notice in enumerate(told):
            payload = payload_of(notice)
            last[payload["dossier"]["dossierId"]] = payload
            if notice.kind is EventKind.DELETION:
                gone.add(int(payload["deleted_action_id"]))
            if payload["action"] is None:
                continue
            number = payload["action"]["dossierActionId"]
            if notice.kind is EventKind.CHANGE or number not in where:
                actions.setdefault(notice.read_seq, []).append(number)
                where.setdefault(number, (notice.read_seq, position))
        rows = self.world.rows(schema.dossieraction)
        present = {row["dossierActionId"] for row in rows}
        assert present <= set(where), "an action was lost"
        remembered = {int(key) for kind, key in self.capture.memory if kind == "action"}
        assert (set(where) & remembered) - present <= gone, "a deletion was not told"
        changes = [p for n in told if n.kind is EventKind.CHANGE and (p := payload_of(n))["action"]]
        ids = [p["action"]["dossierActionId"] for p in changes]
        assert len(ids) == len(set(ids)), "an action was told twice"
        for row in rows:  # within a page the chain, across pages the order of capture
            before = row["previousActionId"]
            if before in where and where[before][0] == where[row["dossierActionId"]][0]:
                assert where[before][1] < where[row["dossierActionId"]][1], "against the chain"
        notes = {d["dossierId"]: d for d in self.world.rows(schema.dossier)}
        fees = self.world.rows(schema.paymentfile)
        for number, payload in last.items():
            assert payload["dossier"]["dossierNote"] == notes[number]["dossierNote"]
            assert payload["dossier"]["dossierStatus"] == notes[number]["dossierStatus"]
            paid = [f["paymentFileId"] for f in fees if f["dossierId"] == number]
            assert [p["paymentFileId"] for p in payload["payments"]] == paid


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(operations=st.lists(OPERATIONS, min_size=5, max_size=30))
def test_what_is_told_is_what_the_database_holds(
    template: Path, operations: list[tuple[Any, ...]]
) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            world = copied_world(template, Path(folder) / "onestop.db")
            try:
                schedule = Schedule(world)
                for operation in operations:
                    await schedule.play(operation)
                await schedule.finish()
                schedule.verify()
            finally:
                await world.close()

    asyncio.run(run())
