"""The one-stop side of the SOAP grid: lives written by hand, so that every cell meets the call it wants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from sqlalchemy import create_engine

from connectors.one_stop.simulator.day import OneStopSimulator
from connectors.one_stop.simulator.dossier import Dossier
from connectors.one_stop.simulator.journal import JournalWriter
from connectors.one_stop.simulator.process import Act
from tests.torture.installation import Installation

T = TypeVar("T")

SEED = 20261123


class Source:
    """A one-stop system in this process; all of its writing is done by one thread."""

    def __init__(self, hub: Installation) -> None:
        self._url, self._journal_path = hub.one_stop_url, hub.journal_path
        self._thread = ThreadPoolExecutor(1, "one-stop")
        self._journal: JournalWriter | None = None
        self._system: OneStopSimulator | None = None

    async def open(self) -> None:
        """Make the tables and the journal."""
        await self._do(self._open)

    async def close(self) -> None:
        await self._do(self._close)
        self._thread.shutdown()

    async def new(self, number: int) -> list[Dossier]:
        """Dossiers with a number of their own that nobody has received yet: nothing is owed."""
        return await self._do(lambda: [self._new() for _ in range(number)])

    async def act(self, dossiers: Sequence[Dossier], *acts: Act) -> None:
        """Do these actions to each dossier, one dossier after another."""
        await self._do(lambda: self._act(dossiers, acts))

    async def take_back(self, dossiers: Sequence[Dossier]) -> None:
        """Remove the row of each dossier's last action."""
        await self._do(lambda: self._take_back(dossiers))

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self) -> None:
        self._journal = JournalWriter(self._journal_path)
        engine = create_engine(self._url, connect_args={"timeout": 30})
        self._system = OneStopSimulator(engine, self._journal, seed=SEED, dossiers=0)
        self._system.prepare()

    def _close(self) -> None:
        if self._journal is not None:
            self._journal.close()

    def _new(self) -> Dossier:
        assert self._system is not None
        draft = self._system.draft()
        code = self._system.next_number(draft.agency.code)
        return self._system.new_dossier(replace(draft, code=code))

    def _act(self, dossiers: Sequence[Dossier], acts: Sequence[Act]) -> None:
        assert self._system is not None
        for dossier in dossiers:
            for act in acts:
                self._system.act(dossier, act)

    def _take_back(self, dossiers: Sequence[Dossier]) -> None:
        assert self._system is not None
        for dossier in dossiers:
            self._system.delete_action(dossier)
