"""Group commit: many dossiers' changes in one transaction.

One row per commit costs twenty times as much as a row in a group. While one group is being written the
next gathers by itself; a short window lets it gather when writing is quick.
"""

from __future__ import annotations

import asyncio

from schemas.ledger.model import Applied, Change, EngineLedger, LedgerRefuses

_Waiting = tuple[Change, asyncio.Future[Applied]]


class GroupCommit:
    """Gathers changes and commits them together. `window` in seconds, `rows` changes at most a group."""

    def __init__(self, ledger: EngineLedger, *, window: float = 0.005, rows: int = 200) -> None:
        self._ledger = ledger
        self._window = window
        self._rows = rows
        self._waiting: list[_Waiting] = []
        self._some = asyncio.Event()

    async def commit(self, change: Change) -> Applied:
        """Write `change` with its neighbours. Raises what the ledger raised for the whole group.

        `LedgerRefuses` is raised only to whom it concerns: the others of the group are written.
        After `LedgerUnavailable` it is unknown whether the group was written: the caller lets go of the
        dossier and reads it again.
        """
        done: asyncio.Future[Applied] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, done))
        self._some.set()
        return await done

    async def run(self) -> None:
        """Write groups until cancelled; whoever still waits then is cancelled too."""
        try:
            while True:
                await self._some.wait()
                if self._window and len(self._waiting) < self._rows:
                    await asyncio.sleep(self._window)
                group, self._waiting = self._waiting[: self._rows], self._waiting[self._rows :]
                if not self._waiting:
                    self._some.clear()
                await self._write(group)
        finally:
            for _, done in self._waiting:
                done.cancel()

    async def _write(self, group: list[_Waiting]) -> None:
        try:
            await self._commit(group)
        except asyncio.CancelledError:
            for _, done in group:
                done.cancel()
            raise

    async def _commit(self, group: list[_Waiting]) -> None:
        try:
            applied = await self._ledger.commit([change for change, _ in group])
        except LedgerRefuses as refusal:
            if len(group) == 1:
                _fail(group, refusal)
                return
            # Nothing was written. One of them is to blame, and the others must not wait for it.
            middle = len(group) // 2
            await self._commit(group[:middle])
            await self._commit(group[middle:])
        except Exception as error:
            _fail(group, error)
        else:
            for (_, done), result in zip(group, applied, strict=True):
                if not done.done():
                    done.set_result(result)


def _fail(group: list[_Waiting], error: Exception) -> None:
    for _, done in group:
        if not done.done():
            done.set_exception(error)
