"""`thongsuot db prune`: what the ledger has kept long enough, shown or let go of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from schemas.ledger.database import Lane
from schemas.ledger.dialect import clock, to_moment
from schemas.ledger.migrate import require_current
from schemas.ledger.prune import Pruned, prune
from schemas.ledger.retention import Retention, Survey, survey

T = TypeVar("T")


async def look(url: str, keep: Retention) -> Survey:
    """What would go now. Raises `LedgerMismatch` and `LedgerUnavailable`."""
    return await _on(url, lambda lane, now: lane.read(lambda c: survey(c, keep, now)))


async def run(url: str, keep: Retention) -> Pruned:
    """Let go of it. Raises as `look`."""
    return await _on(url, lambda lane, now: prune(lane, keep, now))


async def _on(url: str, work: Callable[[Lane, datetime], Awaitable[T]]) -> T:
    await asyncio.to_thread(require_current, url)
    lane = Lane(url, "ledger-prune", seconds=None)
    try:
        return await work(lane, to_moment(await lane.read(clock)))
    finally:
        await lane.close()


def as_dict(told: Survey | Pruned) -> dict[str, object]:
    """For `--json`; `run` says whether anything was deleted."""
    return {"run": isinstance(told, Pruned), **asdict(told)}


def show(out: Console, counted: Survey, keep: Retention) -> None:
    """The months, and what would go of each."""
    out.print(
        f"Chứng cứ được giữ {keep.evidence_months} tháng: các tháng trước {_written(counted.before)} đã quá"
        f" hạn  [dim]evidence is kept {keep.evidence_months} months: those before"
        f" {_written(counted.before)} are due[/dim]",
        soft_wrap=True,
        highlight=False,
    )
    if counted.months:
        table = Table(box=None)
        for heading in (
            "tháng · month",
            "sự kiện · events",
            "lượt chuyển · deliveries",
            "sẽ xoá · goes",
            "chưa xong · unsettled",
            "còn mới · recent",
        ):
            table.add_column(heading, overflow="fold")
        for one in counted.months:
            numbers = (one.events, one.deliveries, one.goes, one.unsettled, one.recent)
            table.add_row(_written(one.month), *map(str, numbers))
        out.print(table)
    else:
        out.print("Không có gì quá hạn  [dim]nothing is due[/dim]")
    out.print(
        f"Lần gửi (nhiều nhất): {counted.attempts} · nội dung gửi và nhận: {counted.bodies} ·"
        f" khoá chống trùng: {counted.keys}  [dim]attempts (at most), bodies, event keys[/dim]",
        soft_wrap=True,
        highlight=False,
    )
    out.print(
        "Chưa xoá gì. Để xoá: thongsuot db prune --run  [dim]nothing was deleted; to do it: --run[/dim]",
        soft_wrap=True,
        highlight=False,
    )


def show_gone(out: Console, gone: Pruned) -> None:
    """What went, and what was left because it was in use."""
    out.print(
        f"[green]✔[/green] đã xoá: {gone.events} sự kiện, {gone.deliveries} lượt chuyển,"
        f" {gone.attempts} lần gửi, {gone.bodies} nội dung, {gone.keys} khoá chống trùng  [dim]deleted:"
        " events, deliveries, attempts, bodies, event keys[/dim]",
        soft_wrap=True,
        highlight=False,
    )
    if gone.dropped:
        listed = ", ".join(_written(month) for month in gone.dropped)
        out.print(f"  cả tháng · whole months: {listed}", soft_wrap=True, highlight=False)
    if gone.busy:
        listed = ", ".join(_written(month) for month in gone.busy)
        out.print(
            f"[yellow]![/yellow] đang có truy vấn trên {listed}: chạy lại sau  [dim]in use: run it again"
            " later[/dim]",
            soft_wrap=True,
            highlight=False,
        )


def _written(month: int) -> str:
    return f"{month % 100:02}/{month // 100}"
