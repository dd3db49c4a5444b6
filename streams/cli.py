"""`thongsuot`: the command line. Messages are Vietnamese first, with English beside them.

Every command says what is wrong with the settings all at once, and ends with status 2 then.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Table
from structlog.typing import FilteringBoundLogger

from monitoring.logging import configure_logging
from monitoring.rates.catalogue import Words
from schemas.compatibility import check_packaged
from schemas.ledger.migrate import upgrade
from schemas.ledger.model import LedgerMismatch, LedgerUnavailable
from schemas.registry import HttpRegistry, LocalRegistry, RegistryError, register_all
from schemas.sealing import SealError, new_key
from schemas.topics import TOPICS
from streams import checks, key_files, pruning, topic_admin, topic_check, topic_reset
from streams.commands import err, fail, out, refused, remedy, say_json, settings
from streams.observations import observations
from streams.platform_check import platform_refusal
from streams.rates import rates
from streams.rates_hub import add_to as add_hub_rates
from streams.rates_portal import portal
from streams.rates_today import rates_today
from streams.reporting.commands import report
from streams.reporting.document_commands import document_commands
from streams.reporting.regime_commands import regime_commands
from streams.sender_keys import sender_line
from streams.settings import Settings
from streams.topology import WorkerPart
from streams.trace import read_story

app = typer.Typer(
    help="ThôngSuốt: trục tích hợp hồ sơ của tỉnh · the province's dossier integration hub",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
db = typer.Typer(help="Sổ cái · the ledger", no_args_is_help=True)
schemas_app = typer.Typer(help="Lược đồ Avro · Avro schemas", no_args_is_help=True)
keys_app = typer.Typer(help="Khoá · keys")
topics_app = typer.Typer(help="Chủ đề Kafka · Kafka topics", no_args_is_help=True)
app.add_typer(db, name="db")
app.add_typer(schemas_app, name="schemas")
app.add_typer(topics_app, name="topics")
app.add_typer(keys_app, name="keys")
app.add_typer(rates, name="rates")
report.add_typer(regime_commands)  # without a name: commands of `report` itself
report.add_typer(document_commands)
app.add_typer(report, name="report")
rates.add_typer(observations, name="observations")
add_hub_rates(rates)
rates.add_typer(portal, name="portal")
rates.command("today")(rates_today)

AsJson = Annotated[bool, typer.Option("--json", help="Một đối tượng JSON · one JSON object")]


def main() -> None:
    """Entry point of the command `thongsuot`."""
    refusal = platform_refusal()
    if refusal is not None:
        err.print(refusal)
        raise SystemExit(1)
    logging.getLogger().addHandler(
        logging.NullHandler()
    )  # libraries' lines are the worker's business
    app()


# --- seeing it run ----------------------------------------------------------------------------------


class Profile(StrEnum):
    """How much the demo's portal tells when it is asked about a dossier."""

    EXISTENCE = "existence"
    STATE = "state"
    STEPS = "steps"


@app.command()
def demo(
    dossiers: Annotated[int, typer.Option(min=20, help="Số hồ sơ · dossiers")] = 950,
    seconds: Annotated[float, typer.Option(min=5, help="Độ dài của ngày · length of the day")] = 36,
    seed: Annotated[
        int, typer.Option(help="Hạt giống · the same seed plays the same day")
    ] = 20261123,
    profile: Annotated[
        Profile, typer.Option(help="Cổng trả lời được gì · what the portal can be asked")
    ] = Profile.STEPS,
    troubles: Annotated[bool, typer.Option(help="Bật sự cố · switch troubles on")] = True,
    one_process: Annotated[
        bool,
        typer.Option("--one-process", help="Trục chạy một tiến trình · the hub as one process"),
    ] = False,
    exit_: Annotated[
        bool, typer.Option("--exit", help="Không chờ Ctrl-C · do not stay up")
    ] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Giữ lại dữ liệu ở đây · keep the day's files here")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Một ngày làm việc của tỉnh, và kết luận từ dữ liệu của Cổng · a province's working day, judged."""
    from streams.demo.command import run
    from streams.demo.day import ONE_PROCESS, TWO_PROCESSES, DayOptions

    options = DayOptions(
        dossiers=dossiers,
        seconds=seconds,
        seed=seed,
        profile=profile,
        troubles=troubles,
        workers=ONE_PROCESS if one_process else TWO_PROCESSES,
    )
    stay = sys.stdout.isatty() and not exit_
    status = asyncio.run(run(options, stay=stay, as_json=as_json, folder=folder))
    raise typer.Exit(status)


class System(StrEnum):
    """The simulated outside systems."""

    ONE_STOP = "one-stop"
    PORTAL = "portal"
    REPORTING = "reporting"


# What follows the system's name is the simulator's, --help too.
@app.command(context_settings={"allow_extra_args": True, "allow_interspersed_args": False})
def simulate(system: System, context: typer.Context) -> None:
    """Chạy hệ thống mô phỏng · run a simulator; its own options follow, --help lists them."""
    module = {
        System.ONE_STOP: "connectors.one_stop.simulator",
        System.PORTAL: "connectors.national_portal.simulator",
        System.REPORTING: "connectors.gov_reporting.simulator",
    }[system]
    os.execv(sys.executable, [sys.executable, "-m", module, *context.args])  # noqa: S606


# --- running it -------------------------------------------------------------------------------------


@app.command()
def worker(
    only: Annotated[
        list[WorkerPart] | None, typer.Option(help="Chỉ chạy phần này · run only these parts")
    ] = None,
) -> None:
    """Chạy trục tích hợp · run the hub: capture, intake, deliver, receive."""
    from streams.worker import run_worker

    wanted = settings()
    if WorkerPart.RECEIVE in (only or ()) and wanted.receive.port is None:
        raise refused(
            Words(
                vi="--only receive: chưa đặt THONGSUOT_RECEIVE__PORT",
                en="--only receive: THONGSUOT_RECEIVE__PORT is not set",
            )
        )
    raise typer.Exit(run_worker(wanted, frozenset(only or WorkerPart)))


@app.command()
def check(as_json: AsJson = False) -> None:
    """Kiểm tra thiết lập và mọi hệ thống liên quan · check the settings and every counterpart."""
    found = asyncio.run(checks.everything(settings()))
    if as_json:
        say_json([checks.as_dict(one) for one in found])
    else:
        for one in found:
            mark = "[green]✔[/green]" if not one.problems else "[bold red]✘[/bold red]"
            why = f": {one.why_vi}" if one.why_vi else ""
            out.print(f"{mark} {one.vi}{why}  [dim]{one.en}[/dim]", soft_wrap=True)
            for problem in one.problems:
                out.print(f"    {problem}", soft_wrap=True, highlight=False, markup=False)
            for hint in one.hints:
                out.print(f"    [yellow]![/yellow] {hint}", soft_wrap=True, highlight=False)
    raise typer.Exit(1 if any(one.problems for one in found) else 0)


@app.command()
def trace(code: str, as_json: AsJson = False) -> None:
    """Toàn bộ câu chuyện của một hồ sơ hay một báo cáo · of one dossier, by any of its numbers, or one report."""
    try:
        stories = asyncio.run(read_story(settings(), code))
    except (LedgerMismatch, LedgerUnavailable) as error:
        raise fail(remedy(error)) from None
    if not stories:
        raise fail(
            f"không có hồ sơ hay báo cáo nào mang số {code}"
            f"  [dim]no dossier and no report is known by {code}[/dim]"
        )
    if as_json:
        say_json([story.as_dict() for story in stories])
        return
    for story in stories:
        out.print(story.table())


@db.command("upgrade")
def db_upgrade() -> None:
    """Đưa sổ cái lên phiên bản của chương trình · bring the ledger to this version's tables."""
    try:
        upgrade(settings().ledger_url.get_secret_value())
    except (LedgerMismatch, LedgerUnavailable) as error:
        raise fail(remedy(error)) from None
    out.print("[green]✔[/green] sổ cái đã sẵn sàng  [dim]the ledger is ready[/dim]")


@db.command("prune")
def db_prune(
    run: Annotated[
        bool, typer.Option("--run", help="Xoá thật · really let go of it; without it only counted")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Xoá chứng cứ đã quá hạn lưu · let go of evidence kept long enough (THONGSUOT_RETENTION__…)."""
    wanted = settings()
    url, keep = wanted.ledger_url.get_secret_value(), wanted.retention.retention()
    try:
        if not run:
            counted = asyncio.run(pruning.look(url, keep))
            if as_json:
                say_json(pruning.as_dict(counted))
            else:
                pruning.show(out, counted, keep)
            return
        gone = asyncio.run(pruning.run(url, keep))
    except (LedgerMismatch, LedgerUnavailable) as error:
        raise fail(remedy(error)) from None
    if as_json:
        say_json(pruning.as_dict(gone))
    else:
        pruning.show_gone(out, gone)
    raise typer.Exit(1 if gone.busy else 0)


@keys_app.callback(invoke_without_command=True)
def keys(context: typer.Context) -> None:
    """Tạo khoá mới · make new keys: THONGSUOT_MASTER_KEY and THONGSUOT_HASH_KEY."""
    if context.invoked_subcommand is None:
        sys.stdout.write(f"THONGSUOT_MASTER_KEY={new_key()}\nTHONGSUOT_HASH_KEY={new_key()}\n")


@keys_app.command("export")
def keys_export(file: Path) -> None:
    """Chép khoá dữ liệu (đã bọc) ra một tệp mới · write the wrapped data keys into a new file."""
    _say_keys(key_files.export, file, "đã chép khoá", "exported")


@keys_app.command("import")
def keys_import(file: Path) -> None:
    """Đưa khoá dữ liệu còn thiếu trở lại sổ cái · bring missing data keys back into the ledger."""
    _say_keys(key_files.bring_back, file, "đã nhập khoá", "imported")


@keys_app.command("sender")
def keys_sender(
    code: Annotated[
        str, typer.Argument(help="Mã hệ thống gửi số liệu · code of the sending system")
    ],
) -> None:
    """Tạo khoá cho một hệ thống gửi số liệu · make a system's key: a line for THONGSUOT_RECEIVE__KEYS_FILE."""
    try:
        sys.stdout.write(f"{sender_line(code)}\n")
    except ValueError as error:
        raise refused(
            Words(
                vi="CODE: ghi mã hệ thống (chữ thường không dấu, số và . _ -, tối đa 64 ký tự)",
                en=str(error),
            )
        ) from None


def _say_keys(
    done: Callable[[Settings, Path], Coroutine[Any, Any, Sequence[str]]],
    file: Path,
    vi: str,
    en: str,
) -> None:
    try:
        ids = asyncio.run(done(settings(), file))
    except key_files.BadKeyFile as error:
        raise fail(f"{error.vi}  [dim]{error}[/dim]") from None
    except OSError as error:
        raise fail(f"{file}: {error.strerror}") from None
    except (LedgerMismatch, LedgerUnavailable, SealError) as error:
        raise fail(remedy(error)) from None
    told = ", ".join(ids) or "–"
    out.print(f"[green]✔[/green] {vi}: {told}  [dim]{en}: {told}[/dim]", highlight=False)


# --- schemas and topics -----------------------------------------------------------------------------


@schemas_app.command("list")
def schemas_list(as_json: AsJson = False) -> None:
    """Các lược đồ theo đường đi của hồ sơ · the schemas in the order of the way."""
    ids = {number: json.loads(text)["name"] for number, text in LocalRegistry().ids().items()}
    rows = [
        {"topic": topic.name, "record": topic.record.__name__, "subject": topic.subject}
        for topic in TOPICS
    ]
    if as_json:
        say_json({"topics": rows, "ids": {str(key): name for key, name in ids.items()}})
        return
    _print_table(
        rows, {"topic": "chủ đề · topic", "record": "bản ghi · record", "subject": "subject"}
    )
    for key, name in ids.items():
        out.print(f"  id {key}: {name}", highlight=False)


@schemas_app.command("check")
def schemas_check() -> None:
    """Mọi phiên bản có đọc được nhau không · can every version read every other."""
    found = check_packaged()
    for record, lines in found.items():
        mark = "[green]✔[/green]" if not lines else "[bold red]✘[/bold red]"
        out.print(f"{mark} {record}")
        for line in lines:
            out.print(f"    {line}", soft_wrap=True, highlight=False, markup=False)
    raise typer.Exit(1 if any(found.values()) else 0)


@schemas_app.command("register")
def schemas_register() -> None:
    """Đăng ký lược đồ vào registry · register the schemas; producers never do."""
    wanted = settings()
    if wanted.registry_url is None:
        raise fail(
            "THONGSUOT_REGISTRY_URL chưa được đặt: lược đồ đóng gói sẵn được dùng  "
            "[dim]THONGSUOT_REGISTRY_URL is not set: the packaged schemas are used[/dim]"
        )
    try:
        registered = asyncio.run(_register(wanted.registry_url))
    except RegistryError as error:
        raise fail(remedy(error)) from None
    for subject, ids in registered.items():
        out.print(f"[green]✔[/green] {subject}  id {', '.join(map(str, ids))}", highlight=False)


async def _register(url: str) -> Mapping[str, Sequence[int]]:
    registry = HttpRegistry(url)
    try:
        return await register_all(registry)
    finally:
        await registry.close()


@topics_app.command("list")
def topics_list(as_json: AsJson = False) -> None:
    """Các chủ đề mà trục cần · the topics that the hub needs, in the order of the way."""
    rows: list[dict[str, Any]] = [
        {
            "topic": topic.name,
            "written_by": topic.written_by,
            "read_by": topic.read_by,
            "retention_ms": topic.retention_ms,
            **topic.config(),
        }
        for topic in TOPICS
    ]
    if as_json:
        say_json(rows)
        return
    _print_table(
        rows,
        {
            "topic": "chủ đề · topic",
            "written_by": "ai ghi · written by",
            "read_by": "ai đọc · read by",
            "retention_ms": "giữ (ms) · kept",
        },
    )


@topics_app.command("check")
def topics_check() -> None:
    """Chủ đề trên Kafka có đúng như cần không · are the broker's topics as the hub needs them."""
    wanted = settings().kafka
    try:
        found = asyncio.run(topic_check.read_topics(wanted))
    except topic_check.BrokerUnreachable as error:
        raise fail(remedy(error)) from None
    differing = topic_check.differences(found, wanted.partitions)
    _print_differences(differing)
    if differing:
        raise typer.Exit(1)
    out.print("[green]✔[/green] đủ và đúng  [dim]all there, as needed[/dim]")


@topics_app.command("create")
def topics_create(
    replication: Annotated[
        int | None,
        typer.Option(
            min=1, help="Số bản của mỗi phân vùng · replicas (3, hoặc 1 nếu có một máy chủ Kafka)"
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Chỉ cho xem · only show what would be done")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tạo các chủ đề còn thiếu, không sửa chủ đề đã có · make the topics that are missing."""
    wanted = settings().kafka
    try:
        done = asyncio.run(topic_admin.create(wanted, replication=replication, dry_run=dry_run))
    except topic_admin.CannotCreate as error:
        raise fail(f"{error.vi}  [dim]{error}[/dim]") from None
    except topic_check.BrokerUnreachable as error:
        raise fail(remedy(error)) from None
    if as_json:
        say_json(topic_admin.as_dict(done, dry_run=dry_run))
    else:
        _print_plan(done, dry_run)
    raise typer.Exit(1 if done.differing else 0)


def _print_plan(done: topic_admin.Plan, dry_run: bool) -> None:
    out.print(
        f"Kafka: {done.brokers} máy chủ, {done.partitions} phân vùng, {done.replication} bản  "
        f"[dim]brokers {done.brokers}, partitions {done.partitions}, replication {done.replication}"
        "[/dim]",
        highlight=False,
    )
    if done.replication == 1:
        out.print(
            "[yellow]![/yellow] mỗi bản tin chỉ có một bản: hỏng đĩa của Kafka là mất bản tin chưa vào "
            "sổ cái  [dim]one replica only: a lost disk loses what is not yet in the ledger[/dim]",
            soft_wrap=True,
        )
    did = "sẽ tạo · would make" if dry_run else "đã tạo · made"
    for topic in done.to_make:
        config = ", ".join(f"{k}={v}" for k, v in topic.config(done.replication).items())
        out.print(
            f"[green]+[/green] {did}: {topic.name}  [dim]{config}[/dim]",
            soft_wrap=True,
            highlight=False,
        )
    for topic in done.left_alone:
        out.print(f"[dim]=[/dim] đã có, giữ nguyên · left alone: {topic.name}", highlight=False)
    _print_differences(done.differing)


def _print_differences(found: Sequence[topic_check.Difference]) -> None:
    for one in found:
        out.print(f"[bold red]✘[/bold red] {one.vi}", soft_wrap=True, highlight=False)
        out.print(f"    {one.en}", soft_wrap=True, highlight=False, markup=False)


@topics_app.command("reset")
def topics_reset(
    yes: Annotated[bool, typer.Option("--yes", help="Không hỏi lại · do not ask")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Chỉ cho xem · only show what would be done")
    ] = False,
) -> None:
    """Kafka bị xoá trắng hoặc tạo lại: đọc lại nguồn từ đầu · Kafka was emptied: read the source again."""
    wanted = settings()
    planned = _recovered(lambda: topic_reset.plan(wanted))
    if not planned:
        out.print(
            "[green]✔[/green] vị trí đọc khớp với Kafka, không có gì phải làm  "
            "[dim]every position lies in its log: nothing to do[/dim]",
            soft_wrap=True,
        )
        return
    for one in planned:
        out.print(_told(one), soft_wrap=True, highlight=False)
    if any(one.told_again for one in planned):
        out.print(
            "Hệ thống nguồn được đọc lại toàn bộ, theo đúng thứ tự; sự kiện đã có trong sổ cái không bị gửi "
            "lần nữa.  [dim]The sources are read again as a whole, in their order; events that the ledger "
            "holds are not sent again.[/dim]",
            soft_wrap=True,
        )
    if dry_run:
        return
    if not yes:
        typer.confirm("Làm không · do it", abort=True)
    _recovered(lambda: topic_reset.reset(wanted, _audit(wanted)))
    out.print(
        "[green]✔[/green] xong: khởi động lại thongsuot worker  [dim]done: start the workers[/dim]"
    )


def _told(one: topic_reset.TopicSet) -> str:
    """A topic that `topics reset` sets anew."""
    here = f"[yellow]![/yellow] {one.topic} ({one.flow}): {one.partitions} phân vùng"
    if not one.lost:
        return (
            f"{here} còn nguyên; bỏ qua {one.passed_over} bản tin chưa đọc, vì nguồn sẽ kể lại theo thứ tự  "
            f"[dim]{one.partitions} partitions are whole; {one.passed_over} unread records are passed over, "
            "because the source tells them again in order[/dim]"
        )
    goes_vi, goes_en = (
        ("đọc tiếp từ cuối Kafka hiện nay", "goes on at the end of the log as it is now")
        if one.told_again
        else ("đọc lại từ đầu", "is read from its beginning")
    )
    return (
        f"{here}, sổ cái đã đọc {one.read} bản tin, Kafka hiện có {one.there}; {goes_vi}  "
        f"[dim]{one.partitions} partitions, the ledger has read {one.read} records, Kafka holds {one.there}; "
        f"{goes_en}[/dim]"
    )


@topics_app.command("release")
def topics_release(
    yes: Annotated[bool, typer.Option("--yes", help="Không hỏi lại · do not ask")] = False,
) -> None:
    """Sau khi mất cả sổ cái lẫn Kafka và nguồn đã được đọc lại · when ledger and Kafka were both lost."""
    wanted = settings()
    if not yes:
        out.print(
            "Chỉ làm khi nguồn đã được đọc lại hết và độ trễ của intake bằng 0.  [dim]Only when the sources "
            "were read again and intake has no lag.[/dim]",
            soft_wrap=True,
        )
        typer.confirm("Làm không · do it", abort=True)
    held = _recovered(lambda: topic_reset.release(wanted, _audit(wanted)))
    out.print(
        f"[green]✔[/green] {held} phân vùng được gửi tiếp sau khi kiểm tra  [dim]{held} partitions go on "
        "once they are verified[/dim]",
        soft_wrap=True,
        highlight=False,
    )


_Done = TypeVar("_Done")


def _recovered(done: Callable[[], Coroutine[Any, Any, _Done]]) -> _Done:
    try:
        return asyncio.run(done())
    except topic_reset.Refused as error:
        raise fail(f"{error.vi}  [dim]{error}[/dim]") from None
    except (
        LedgerMismatch,
        LedgerUnavailable,
        topic_check.BrokerUnreachable,
        topic_check.TopicsUnfit,
    ) as error:
        raise fail(remedy(error)) from None


def _audit(wanted: Settings) -> FilteringBoundLogger:
    """What an operator changed is a line of the log like what the workers do."""
    return configure_logging(level="info", json=True, environment=wanted.environment)


def _print_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    table = Table(box=None)
    for heading in columns.values():
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(str(row[key]) for key in columns))
    out.print(table)


if __name__ == "__main__":
    main()
