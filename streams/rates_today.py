"""`thongsuot rates today`: what can still be saved today, by unit; as a table, as JSON, as a page, as mails."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from monitoring.rates import savable_page
from monitoring.rates.catalogue import Words, near
from monitoring.rates.savable import Kind, Unit
from monitoring.rates.savable_survey import LISTED
from monitoring.rates.savable_words import (
    KINDS,
    as_dict,
    clock_time,
    more,
    remarks,
    time_left,
    todo,
    unit_name,
)
from schemas.codec import Codec
from schemas.dossier.csv_table import TableError
from schemas.ledger import observations
from schemas.ledger.database import Lane
from schemas.ledger.mails import MailState
from schemas.ledger.migrate import require_current
from schemas.ledger.model import LedgerMismatch, LedgerUnavailable
from schemas.records import DossierEvent
from schemas.registry import HttpRegistry, LocalRegistry, RegistryError
from schemas.sealing import Hasher
from streams.commands import fail, in_both, out, refused, remedy, say_json, settings, table_of, warn
from streams.mail import MailServer
from streams.reference import read_reference
from streams.settings import Settings
from streams.today import Outcome, Post, Today, look, recipients


class NoSuchAgency(Exception):
    """The ledger knows agencies, and not this one. `near` look like it."""

    def __init__(self, agency: str, near: Sequence[str]) -> None:
        super().__init__(agency)
        self.near = tuple(near)


def rates_today(
    agency: Annotated[str | None, typer.Option(help="Chỉ đơn vị này · only this unit")] = None,
    limit: Annotated[
        int,
        typer.Option(
            min=1,
            help="Liệt kê nhiều nhất mỗi loại mỗi đơn vị · listed at most, each kind and unit",
        ),
    ] = LISTED,
    html: Annotated[
        Path | None, typer.Option(help="Ghi trang A4 để in · write the page to print")
    ] = None,
    send: Annotated[
        bool, typer.Option("--send", help="Gửi thư ngay, mỗi danh sách một thư một ngày · mail now")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Dạng JSON · as JSON")] = False,
) -> None:
    """Hôm nay còn cứu được gì, theo đơn vị · what can still be saved today, by unit."""
    wanted = settings()
    if send and wanted.mail.host is None:
        raise refused(Words(vi=f"--send: {_NO_HOST.vi}", en=f"--send: {_NO_HOST.en}"))
    if send and agency is not None:
        raise refused(
            Words(
                vi="--send gửi cho mọi danh sách, không dùng cùng --agency",
                en="--send mails every list; not together with --agency",
            )
        )
    try:
        today, outcomes = asyncio.run(_look_and_send(wanted, agency, limit, send))
    except (LedgerMismatch, LedgerUnavailable, RegistryError) as error:
        raise fail(remedy(error)) from None
    except TableError as error:
        raise refused(*(Words(vi=f"{error.where}, {vi}", en=en) for vi, en in error.told)) from None
    except NoSuchAgency as error:
        like = ", ".join(error.near)
        raise refused(
            Words(
                vi=f"--agency: không có cơ quan {agency}"
                + (f"; gần giống: {like}" if like else ""),
                en=f"--agency: no agency {agency}" + (f"; near: {like}" if like else ""),
            )
        ) from None
    if html is not None:
        _write(html, savable_page.page(today.savable, today.names))
    if as_json:
        told = as_dict(today.savable, today.names)
        say_json({**told, "mails": [_mail(one) for one in outcomes]} if send else told)
    else:
        _show(today)
        _show_mails(outcomes, send)
    if any(one.state in {MailState.FAILED, MailState.UNKNOWN} for one in outcomes):
        raise typer.Exit(1)


_NO_HOST = Words(
    vi="chưa có máy chủ thư; đặt THONGSUOT_MAIL__HOST và THONGSUOT_MAIL__SENDER",
    en="there is no mail server; set THONGSUOT_MAIL__HOST and THONGSUOT_MAIL__SENDER",
)


async def _look_and_send(
    wanted: Settings, agency: str | None, limit: int, send: bool
) -> tuple[Today, Sequence[Outcome]]:
    url = wanted.ledger_url.get_secret_value()
    await asyncio.to_thread(require_current, url)
    async with contextlib.AsyncExitStack() as opened:
        lane = Lane(url, "ledger-today", seconds=None)
        opened.push_async_callback(lane.close)
        registry = (
            LocalRegistry() if wanted.registry_url is None else HttpRegistry(wanted.registry_url)
        )
        if isinstance(registry, HttpRegistry):
            opened.push_async_callback(registry.close)
        codec = Codec(registry)

        async def decode(payload: bytes) -> DossierEvent:
            return await codec.decode_as(payload, DossierEvent)

        if agency is not None:
            known = await lane.read(observations.agencies)
            if agency not in known:
                raise NoSuchAgency(agency, near(agency, tuple(sorted(known))))
        to = await recipients(lane, wanted) if send else []
        reference, now = read_reference(wanted.reference), datetime.now(UTC)
        today = await look(lane, decode, reference, now, agency=agency, listed=limit)
        if agency is not None:
            today = today.only((agency,))
        if not to:
            return today, ()
        post = Post(lane, MailServer(wanted.mail), Hasher(wanted.hash_key_bytes()))
        return today, [await post.send(today, one) for one in to]


def _write(file: Path, page: str) -> None:
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise fail(
            in_both(Words(vi=f"không ghi được {file}", en=f"{file}: {error.strerror}"))
        ) from None


# --- for a console -----------------------------------------------------------------------------------


def _show(today: Today) -> None:
    savable = today.savable
    out.print(
        f"lúc {clock_time(savable.now)}, tính đến {clock_time(savable.until)}"
        f"  [dim]now, and until the end of the next working day[/dim]",
        highlight=False,
        soft_wrap=True,
    )
    for remark in remarks(savable):
        warn(remark)
    kinds = [f"{words.vi.lower()} · {words.en}" for words in KINDS.values()]
    table = table_of(("đơn vị · unit", *kinds, "cộng · all"))
    for unit in savable.units:
        table.add_row(
            escape(unit_name(unit.agency, today.names)), *_numbers(unit.counts, unit.total)
        )
    if len(savable.units) != 1:
        table.add_row("cộng · all", *_numbers(savable.counts, savable.total))
    out.print(table)
    if len(savable.units) == 1:
        _show_entries(savable.units[0], today)


def _numbers(counts: Mapping[Kind, int], total: int) -> list[str]:
    return [str(counts[kind]) for kind in Kind] + [str(total)]


def _show_entries(unit: Unit, today: Today) -> None:
    table = table_of(
        (
            "mã hồ sơ · dossier",
            "loại · kind",
            "hạn · deadline",
            "giờ làm việc còn lại · working time left",
            "việc cần làm · what to do",
        )
    )
    for entry in unit.entries:
        what = todo(entry, today.savable.now)
        table.add_row(
            escape(entry.code or entry.dossier_id),
            KINDS[entry.kind].vi.lower(),
            clock_time(entry.deadline),
            time_left(entry.left),
            in_both(what),
        )
    for kind in Kind:
        if more(unit, kind):
            table.add_row("…", KINDS[kind].vi.lower(), "", "", f"+{more(unit, kind)} (--limit)")
    out.print(table)


_MAILS = {
    MailState.SENT: Words(vi="đã gửi", en="sent"),
    MailState.FAILED: Words(vi="chưa gửi được", en="not sent"),
    MailState.UNKNOWN: Words(
        vi="không rõ đã tới chưa, không gửi lại", en="perhaps sent, not again"
    ),
    None: Words(vi="hôm nay đã gửi rồi", en="had today's already"),
}


def _show_mails(outcomes: Sequence[Outcome], send: bool) -> None:
    if send and not outcomes:
        warn(
            Words(
                vi="không có người nhận: đặt THONGSUOT_MAIL__TO hoặc THONGSUOT_REFERENCE__RECIPIENTS_FILE",
                en="nobody to send to: set THONGSUOT_MAIL__TO or THONGSUOT_REFERENCE__RECIPIENTS_FILE",
            )
        )
    for one in outcomes:
        about = "tỉnh · province" if one.recipients.agencies is None else one.recipients.label
        said = f"{in_both(_MAILS[one.state])}  {escape(one.why)}".rstrip()
        some = f"  ({one.refused} địa chỉ bị từ chối · refused)" if one.refused else ""
        out.print(f"{escape(about)}: {said}{some}", soft_wrap=True, highlight=False)


def _mail(one: Outcome) -> dict[str, object]:
    return {
        "agencies": one.recipients.agencies,
        "addresses": len(one.recipients.addresses),
        "state": one.state.value if one.state else "already",
        "refused": one.refused,
        "why": one.why or None,
    }
