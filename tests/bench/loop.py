"""The contenders that are no worker: `python -m tests.bench.loop NAME`, obeying standard input.

`prepare FIRST COUNT` makes ready what is not measured and is answered by `ready`; `run` makes the calls
and is answered by `done`. Settings come from the environment, as the hub's do.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from typing import Protocol

import uvloop

from schemas.ledger.sql import SqlLedger
from streams.settings import Settings
from tests.bench.engine_loop import EngineLoop
from tests.bench.load import Load
from tests.bench.lxml_loop import LxmlLoop
from tests.bench.zeep_loop import ZeepLoop


class Loop(Protocol):
    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def prepare(self, first: int, count: int) -> None: ...

    async def run(self) -> None: ...


async def obey(name: str) -> None:
    """Until standard input ends."""
    settings = Settings()  # type: ignore[call-arg] # the fields come from the environment
    async with AsyncExitStack() as opened:
        loop: Loop
        if name == "engine":
            ledger = await opened.enter_async_context(
                SqlLedger(settings.ledger_url.get_secret_value())
            )
            loop = EngineLoop(await Load.of(name, settings, ledger), settings, ledger)
        else:
            load = await Load.of(name, settings)
            loop = {"zeep": ZeepLoop, "lxml": LxmlLoop}[name](load, settings)
        await loop.open()
        opened.push_async_callback(loop.close)
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
        )
        say("open")
        while words := (await lines.readline()).decode().split():
            if words[0] == "run":
                await loop.run()
                say("done")
            else:
                await loop.prepare(int(words[1]), int(words[2]))
                say("ready")


def say(word: str) -> None:
    """One line for who started us."""
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(obey(sys.argv[1]))
