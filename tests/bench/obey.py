"""How a contender that is no worker is told what to do: lines on standard input, a word in answer.

`prepare FIRST COUNT` makes ready what is not measured and is answered by `ready`; `run` delivers and is
answered by `done`. `open` is said when the contender is ready for the first of them.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Protocol, Self

_LONGEST_LINE = 1_000_000


class Obedient(Protocol):
    """A contender inside its process."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def prepare(self, first: int, count: int) -> None: ...

    async def run(self) -> None: ...


class Lines:
    """Standard input, line by line, without blocking the loop."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    @classmethod
    async def of_standard_input(cls) -> Self:
        reader = asyncio.StreamReader(limit=_LONGEST_LINE)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        return cls(reader)

    async def next(self) -> str:
        """The next line; "" at the end."""
        return (await self._reader.readline()).decode()


async def obey(contender: Obedient, lines: Lines) -> None:
    """Until the lines end."""
    await contender.open()
    try:
        _say("open")
        while words := (await lines.next()).split():
            if words[0] == "run":
                await contender.run()
                _say("done")
            else:
                await contender.prepare(int(words[1]), int(words[2]))
                _say("ready")
    finally:
        await contender.close()


def _say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()
