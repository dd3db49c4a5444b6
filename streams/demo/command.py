"""`thongsuot demo`: play the day, show it, judge it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.live import Live

from streams.demo import view
from streams.demo.day import DayOptions, DemoDay
from streams.demo.processes import DemoFailed


async def run(options: DayOptions, *, stay: bool, as_json: bool, folder: Path | None) -> int:
    """Exit status: 0 for a clean verdict, 1 for one that is not, 2 when a part of the demo failed."""
    console = Console(stderr=as_json)
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="thongsuot-") as made:
        try:
            return await _play(console, folder or Path(made), options, stay, as_json)
        except DemoFailed as failed:
            console.print(
                f"[bold red]Bản trình diễn dừng lại[/bold red] The demo stopped: {failed}"
            )
            return 2


async def _play(
    console: Console, folder: Path, options: DayOptions, stay: bool, as_json: bool
) -> int:
    console.print(view.BROKER_NOTE)
    async with DemoDay(folder, options) as day:
        day.write_environment()
        began = time.monotonic()
        if console.is_terminal:
            with Live(console=console, refresh_per_second=4) as shown:
                async for progress in day.play():
                    shown.update(view.live(progress, time.monotonic() - began))
        else:
            last = 0.0
            async for progress in day.play():
                if time.monotonic() - last >= 5:
                    last = time.monotonic()
                    console.print(view.line(progress, last - began), soft_wrap=True)
        verdict = await day.verdict()
        figures = await day.figures(verdict)
        console.print(view.verdict_panel(verdict, figures, day.progress.standing.parked))
        if stay:
            view.further(console, day, day.a_code())
            console.print("Ctrl-C để dừng  [dim]Ctrl-C ends it[/dim]")
            await _until_interrupted()
        if as_json:
            sys.stdout.write(json.dumps(figures, ensure_ascii=False) + "\n")
            sys.stdout.flush()
        return 0 if verdict.clean else 1


async def _until_interrupted() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return
