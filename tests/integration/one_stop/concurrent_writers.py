"""Writers with real open transactions, beside a capture that reads all the while."""

from __future__ import annotations

import asyncio
import threading
from random import Random

from connectors.one_stop.simulator import schema
from schemas.records import EventKind, Feed
from tests.one_stop_database import Capture, World, action_of, payload_of

WRITERS = 4
ACTIONS = 25
BLOCK = 100


class Writer(threading.Thread):
    """One server of the one-stop system: takes ids from its own block, and lets transactions hang."""

    def __init__(self, world: World, number: int) -> None:
        super().__init__(name=f"writer-{number}")
        self.world = world
        self.number = number
        self.dossiers = [world.dossier() for _ in range(3)]
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._write()
        except BaseException as error:  # handed to the test
            self.failure = error

    def _write(self) -> None:
        random = Random(self.number)
        first = 1 + self.number * BLOCK
        for number in range(first, first + ACTIONS):
            dossier = random.choice(self.dossiers)
            with self.world.engine.connect() as connection, connection.begin() as transaction:
                self.world.act(dossier, connection=connection, dossierActionId=number)
                threading.Event().wait(random.random() * 0.03)  # the transaction hangs
                if random.random() < 0.1:
                    transaction.rollback()


async def play(world: World) -> None:
    """Run the writers and a capture with restarts; then what was told is what the database holds."""
    writers = [Writer(world, number) for number in range(WRITERS)]
    capture, random = Capture(), Random(7)
    source = world.source(page_size=8)
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        await capture.read(
            source, random.choice([Feed.ACTIONS, Feed.CHANGES]), save=random.random() > 0.1
        )
        if random.random() < 0.05:
            source = world.source(page_size=8)
    for writer in writers:
        await asyncio.to_thread(writer.join)
        assert writer.failure is None, writer.failure
    await capture.drain(source, Feed.ACTIONS)
    missed = await capture.drain(world.source(page_size=8), Feed.SWEEP)
    assert [n for n in missed if action_of(n)] == [], "the feed of actions missed an action"

    told = [
        payload_of(n)["action"]
        for n in capture.told()
        if n.kind is EventKind.CHANGE and action_of(n)
    ]
    ids = [action["dossierActionId"] for action in told]
    rows = world.rows(schema.dossieraction)
    assert len(ids) == len(set(ids))
    assert sorted(ids) == sorted(row["dossierActionId"] for row in rows)
    last = {(p := payload_of(n))["dossier"]["dossierId"]: p for n in capture.told()}
    for row in world.rows(schema.dossier):
        state = last[row["dossierId"]]["dossier"]
        assert (state["dossierStatus"], state["dossierActionId"]) == (
            row["dossierStatus"],
            row["dossierActionId"],
        )
