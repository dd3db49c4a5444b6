"""What the viewer of the demo sees: live progress, the verdict, and how to look further. Vietnamese first."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streams.demo.day import DemoDay, Progress
from streams.demo.verdict import Verdict
from streams.reason_texts import in_words

BROKER_NOTE = (
    "Kafka của bản trình diễn chỉ nằm trong bộ nhớ, không giữ lại gì.  "
    "[dim]The demo's Kafka lives in memory and keeps nothing.[/dim]"
)


def live(progress: Progress, seconds: float) -> RenderableType:
    """Where the day stands now."""
    standing = progress.standing
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="bold")
    table.add_column()
    for number, vi, en in (
        (progress.written, "thay đổi tại Một cửa", "changes at the one-stop system"),
        (standing.enlisted, "lượt chuyển đã ghi sổ", "deliveries enlisted"),
        (standing.delivered, "đã có xác nhận của Cổng", "confirmed by the portal"),
        (standing.superseded, "trạng thái cũ được thay bằng trạng thái mới", "superseded by newer"),
        (standing.retried, "lần gửi phải xử lý lại", "attempts that went wrong"),
        (standing.asked, "kết quả chưa rõ đã làm rõ", "unknown outcomes settled"),
        (sum(standing.parked.values()), "hồ sơ cần người xử lý", "dossiers parked"),
    ):
        table.add_row(f"{number:,}", f"{vi}  [dim]{en}[/dim]")
    share = standing.delivered + standing.superseded + standing.discarded
    bar = Table.grid()
    bar.add_row(ProgressBar(total=max(standing.enlisted, 1), completed=share, width=60))
    parts: list[RenderableType] = [table, bar, *_parked(standing.parked)]
    if progress.trouble is not None:
        trouble = Text(f"Sự cố đang thử: {progress.trouble.vi}", style="yellow")
        parts.append(trouble.append(f"  {progress.trouble.en}", style="dim"))
    title = f"Một ngày làm việc của tỉnh · {seconds:.0f} s"
    return Panel(Group(*parts), title=title, border_style="cyan")


def _parked(reasons: Mapping[str, int]) -> list[RenderableType]:
    """Who waits for a person, and why."""
    lines: list[RenderableType] = []
    for reason, dossiers in sorted(reasons.items()):
        vi, en = in_words(reason)
        lines.append(Text.assemble((f"  {dossiers} × {vi}", "magenta"), (f"  {en}", "dim")))
    return lines


def line(progress: Progress, seconds: float) -> str:
    """The same in one line, for a log."""
    standing = progress.standing
    return (
        f"{seconds:5.0f} s  Một cửa {progress.written:,}  ghi sổ {standing.enlisted:,}  "
        f"xác nhận {standing.delivered:,}  thử lại {standing.retried:,}  "
        f"đã làm rõ {standing.asked:,}  cần người xử lý {sum(standing.parked.values()):,}"
    )


def verdict_panel(
    verdict: Verdict, figures: Mapping[str, object], parked: Mapping[str, int]
) -> RenderableType:
    """The verdict from the far sides' truth."""
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="bold")
    table.add_column()
    rows: tuple[tuple[object, str, str, bool], ...] = (
        (figures["events"], "thay đổi tại Một cửa", "changes at the one-stop system", True),
        (figures["dossiers"], "hồ sơ", "dossiers", True),
        (figures["effects"], "tác động trên Cổng", "effects at the portal", True),
        (verdict.missing, "thiếu", "missing", verdict.missing == 0),
        (verdict.duplicate_effects, "trùng", "twice", verdict.duplicate_effects == 0),
        (verdict.order_violations, "sai thứ tự", "out of order", verdict.order_violations == 0),
        (verdict.stale, "trạng thái cuối sai", "stale final states", verdict.stale == 0),
        (verdict.unexpected, "không ai gửi mà có", "unexpected", verdict.unexpected == 0),
        (
            f"{verdict.parked}/{verdict.parked_expected}",
            "cần người xử lý / đúng như dự kiến",
            "parked / as expected",
            verdict.parked == verdict.parked_expected,
        ),
        (
            f"{figures['latency_p50_s']} / {figures['latency_p95_s']} s",
            "độ trễ 50 % / 95 %",
            "latency, median / 95 %",
            True,
        ),
    )
    for number, vi, en, good in rows:
        style = "green" if good else "bold red"
        table.add_row(f"[{style}]{number}[/{style}]", f"{vi}  [dim]{en}[/dim]")
    waiting = sum(parked.values())
    vi = f", trừ phần của {waiting} hồ sơ đang chờ người xử lý" if waiting else ""
    en = f", except what lies with {waiting} parked dossiers" if waiting else ""
    headline = (
        f"[green]✔ Cổng Dịch vụ công giữ đúng, đủ, theo thứ tự{vi}.[/green]\n"
        f"  [dim]The portal holds everything, once, in order{en}.[/dim]"
        if verdict.clean
        else "[bold red]✘ Cổng Dịch vụ công không giữ đúng những gì đã xảy ra.[/bold red]\n"
        "  [dim]The portal does not hold what happened.[/dim]"
    )
    parts: list[RenderableType] = [headline, "", table, *_parked(parked)]
    if verdict.findings:
        parts.append(Text("\n".join(verdict.findings[:12]), style="red"))
    return Panel(Group(*parts), title="Kết luận từ dữ liệu của Cổng")


def further(console: Console, day: DemoDay, code: str | None) -> None:
    """How to look further while the demo stays up."""
    console.print(
        "\n[bold]Xem tiếp[/bold] [dim]look further[/dim]\n"
        f"  source {day.folder}/env\n"
        f"  {shlex.quote(sys.argv[0])} trace {code or '<mã hồ sơ>'}      "
        "[dim]toàn bộ câu chuyện của một hồ sơ · the whole story of one dossier[/dim]\n"
        + "".join(f"  curl http://127.0.0.1:{port}/metrics\n" for port in day.monitoring_ports)
        + f"  curl {day.portal_control}/_truth/summary\n"
        f"  tail -f {day.worker_log}\n"
    )
