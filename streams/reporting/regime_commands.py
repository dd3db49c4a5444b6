"""`thongsuot report regimes`, `map`, `fill`, `outline`, `document`: what is asked for, and from what it is answered."""

from __future__ import annotations

import asyncio
import csv
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.markup import escape
from sqlalchemy import Connection

from monitoring.rates.catalogue import Words, near
from monitoring.rates.observations import CODE
from monitoring.rates.regime_figures import COUNTED_BY_THE_HUB, Due, RegimeStanding, standings
from schemas.dossier.csv_table import TableError, text_of
from schemas.ledger import regimes, report_store
from schemas.ledger.database import Lane
from schemas.ledger.migrate import require_current
from schemas.ledger.model import LedgerMismatch, LedgerUnavailable
from schemas.ledger.regimes import FormMapping, FormPlace
from schemas.ledger.report_store import report_id_of
from schemas.ledger.sql import SqlLedger
from schemas.reports.canonical import ContentError
from schemas.reports.cells import Cell, cells_of
from schemas.reports.packets import Form, KpiSet, OutlineForm, Regime, RegimeForm
from schemas.reports.periods import WRITE_PERIOD, Calendar, Window, parse_period
from schemas.reports.regimes import Catalogue, Judged, RegimeFault
from schemas.sealing import Sealer, SealError
from streams.commands import fail, out, refused, remedy, say_json, settings, table_of, warn
from streams.reporting import cell_sources
from streams.reporting.cell_sources import parse_mapping
from streams.reporting.filling import BLOCKS, Filled, FilledCell, Outcome, fill, unmapped
from streams.reporting.outlines import owner_of, read_outline, seal_outline
from streams.reporting.sources import LedgerSources
from streams.settings import Settings

T = TypeVar("T")

regime_commands = typer.Typer(
    help="Chế độ báo cáo nhận về · report regimes received", no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="Dạng JSON · as JSON")]
OfRegime = Annotated[str, typer.Argument(metavar="REGIME", help="Mã chế độ báo cáo · the regime")]
OfForm = Annotated[str, typer.Argument(metavar="FORM", help="Mã biểu · the form")]
OfPeriod = Annotated[str, typer.Option("--period", help="Kỳ: 2026-08, 2026-Q3, 2026 · the period")]
Version = Annotated[
    str | None,
    typer.Option(
        "--form-version",
        help="Phiên bản biểu; không cần nếu chế độ chỉ dùng một · the form's version",
    ),
]
SubmittedBy = Annotated[
    str, typer.Option(help="Mã tài khoản nhập · code of the account that submits")
]

FAULTS: Mapping[RegimeFault, str] = {
    RegimeFault.UNKNOWN_REGIME: "chưa nhận chế độ báo cáo",
    RegimeFault.UNKNOWN_FORM: "chưa nhận biểu",
    RegimeFault.UNKNOWN_FORM_VERSION: "chưa nhận phiên bản này của biểu",
    RegimeFault.FORM_OF_ANOTHER_REGIME: "biểu của chế độ khác",
    RegimeFault.NO_FORMS: "không yêu cầu biểu nào",
    RegimeFault.UNKNOWN_INDICATOR: "chưa nhận chỉ tiêu",
    RegimeFault.UNKNOWN_ROW: "không có hàng hoặc mục cấp trên",
    RegimeFault.UNKNOWN_GROUP: "chưa nhận nhóm chỉ số",
    RegimeFault.UNKNOWN_BREAKDOWN: "chưa nhận phân tổ",
    RegimeFault.CODE_MISSING: "có mã để trống",
    RegimeFault.DAYS_REVERSED: "ngày cuối trước ngày đầu",
    RegimeFault.DUE_BEFORE_CUT_OFF: "hạn không sau ngày chốt số liệu",
    RegimeFault.OVERLAPPING_PERIODS: "các kỳ chồng ngày",
    RegimeFault.PERIOD_TWICE: "một mã cho hai kỳ",
    RegimeFault.CHANGED_AFTER_BEGIN: "đổi ngày của kỳ đã bắt đầu; kỳ đó giữ ngày cũ",
}
"""Faults in Vietnamese, short."""

OUTCOMES: Mapping[Outcome, str] = {
    Outcome.FILLED: "có số liệu",
    Outcome.PROVISIONAL: "tạm tính",
    Outcome.EMPTY: "để trống",
    Outcome.UNMAPPED: "chưa khai báo nguồn",
    Outcome.NO_FIGURE: "chưa có số liệu",
    Outcome.DOES_NOT_FIT: "không đúng kiểu của ô",
}


def _now() -> datetime:
    """The present; tests put another in its place."""
    return datetime.now(UTC)


# --- what was received -------------------------------------------------------------------------------


@regime_commands.command("regimes")
def report_regimes(
    faults: Annotated[
        bool,
        typer.Option(
            "--faults",
            help="Những gì đã nhận mà có lỗi, và gói tin bị từ chối · what is wrong with what came",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Các chế độ báo cáo đã nhận: đủ nguồn chưa, đã gửi chưa, kỳ tới hạn nào · the regimes and how they stand."""
    wanted = settings()
    now = _now()

    def look(c: Connection) -> tuple[Catalogue, list[RegimeStanding], list[regimes.RefusedPacket]]:
        found = regimes.catalogue(c)
        stood = standings(found, regimes.mappings(c), regimes.submissions(c), reporter(wanted), now)
        return found, stood, regimes.refused(c, 100)

    found, stood, packets = with_ledger(wanted, lambda lane: lane.read(look))
    if faults:
        _say_faults(found, packets, as_json)
        return
    if as_json:
        say_json([_regime_dict(found, one) for one in stood])
        return
    table = table_of(
        (
            "mã · code",
            "chế độ · regime",
            "nhận ngày · received",
            "hiệu lực · in force",
            "biểu · forms",
            "nguồn số liệu · sources",
            "kỳ gần nhất · last due",
            "kỳ tới · next due",
        )
    )
    for one in stood:
        regime = found.legal[one.code]
        table.add_row(
            escape(one.code),
            escape(regime.name),
            f"{found.first_received[one.code].date():%d/%m/%Y}",
            "dùng được · usable" if one.usable else "chưa dùng được · not usable: --faults",
            escape(", ".join(f"{form.code} {form.version}" for form in regime.forms)),
            _mapped(one),
            _due(one.last_due, with_state=True),
            _due(one.next_due, with_state=False),
        )
    out.print(table)
    answered = sum(one.answered for one in stood)
    out.print(
        f"{answered}/{len(stood)} chế độ đã kết nối  [dim]regimes connected[/dim]", highlight=False
    )


def _mapped(one: RegimeStanding) -> str:
    if not one.usable:
        return "–"
    if one.unmapped_forms:
        return f"thiếu · missing: {escape(', '.join(one.unmapped_forms))}"
    return "đủ · complete"


def _due(due: Due | None, *, with_state: bool) -> str:
    if due is None:
        return "–"
    told = f"{escape(due.period)}, hạn · due {due.due_on:%d/%m/%Y}"
    if not with_state:
        return told
    return f"{told}: " + ("chưa gửi · not sent" if due.submitted_at is None else "đã gửi · sent")


def _regime_dict(found: Catalogue, one: RegimeStanding) -> dict[str, object]:
    regime = found.legal[one.code]
    return {
        "code": one.code,
        "name": regime.name,
        "type": regime.type.value,
        "first_received_at": found.first_received[one.code],
        "valid_from": regime.valid_from,
        "valid_until": regime.valid_until,
        "usable": one.usable,
        "forms": [
            {"code": form.code, "version": form.version, "kind": form.kind.value}
            for form in regime.forms
        ],
        "mapped": one.mapped,
        "unmapped_forms": list(one.unmapped_forms),
        "last_due": _due_dict(one.last_due),
        "next_due": _due_dict(one.next_due),
        "answered": one.answered,
        "versions": [
            {
                "packet_id": judged.received.packet_id,
                "content_hash": judged.received.content_hash,
                "received_at": judged.received.received_at,
                "in_force": judged.in_force,
                "faults": _faults(judged),
            }
            for judged in found.judged
            if isinstance(judged.received.content, Regime)
            and judged.received.content.code == one.code
        ],
    }


def _due_dict(due: Due | None) -> dict[str, object] | None:
    if due is None:
        return None
    return {"period": due.period, "due_on": due.due_on, "submitted_at": due.submitted_at}


def _faults(judged: Judged) -> list[dict[str, str]]:
    return [{"fault": one.fault.value, "about": one.about} for one in judged.faults]


def _say_faults(found: Catalogue, packets: Sequence[regimes.RefusedPacket], as_json: bool) -> None:
    wrong = [judged for judged in found.judged if judged.faults]
    if as_json:
        say_json(
            {
                "received": [
                    {
                        "packet_id": judged.received.packet_id,
                        "kind": judged.received.key[0].value,
                        "code": judged.received.key[1],
                        "version": judged.received.key[2],
                        "received_at": judged.received.received_at,
                        "in_force": judged.in_force,
                        "faults": _faults(judged),
                    }
                    for judged in wrong
                ],
                "refused": [
                    {
                        "packet_id": one.packet_id,
                        "reason": one.reason,
                        "detail": one.detail,
                        "received_at": one.received_at,
                    }
                    for one in packets
                ],
            }
        )
        return
    table = table_of(
        ("gói tin · packet", "loại · kind", "mã · code", "lỗi · fault", "về · about", "")
    )
    for judged in wrong:
        kind, code, version = judged.received.key
        for fault in judged.faults:
            table.add_row(
                escape(judged.received.packet_id),
                kind.value,
                escape(f"{code} {version}".strip()),
                f"{FAULTS[fault.fault]} · {fault.fault}",
                escape(fault.about) or "–",
                "đang dùng · in force" if judged.in_force else "không dùng · not used",
            )
    for one in packets:
        table.add_row(
            escape(one.packet_id),
            "–",
            "–",
            one.reason,
            escape(one.detail) or "–",
            "từ chối · refused",
        )
    out.print(table)


# --- from what forms are filled ----------------------------------------------------------------------


@regime_commands.command("map")
def report_map(
    regime: OfRegime,
    form: OfForm,
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Bảng nguồn số liệu của từng ô, CSV; không ghi thì in bảng hiện có · the table"
        ),
    ] = None,
    version: Version = None,
    submitted_by: SubmittedBy = "map-import",
    as_json: AsJson = False,
) -> None:
    """Nguồn số liệu của từng ô: nhập cả bảng, hoặc không nhập gì · from what each cell of a form is filled."""
    wanted = settings()
    if not CODE.fullmatch(submitted_by):
        raise refused(_NO_NAME)

    async def take(lane: Lane) -> tuple[Form | KpiSet, FormMapping | None, bool]:
        found = await lane.read(regimes.catalogue)
        asked, definition = form_of(found, regime, form, version)
        if isinstance(definition, OutlineForm):
            raise refused(_WORDS_ONLY)
        place = FormPlace(regime, asked.code, asked.version)
        new = False
        if file is not None:
            text = text_of(file)
            cells = parse_mapping(text, str(file), definition)
            put = await lane.write(
                lambda c: regimes.put_mapping(
                    c,
                    place,
                    cells,
                    table_hash=sha256(text.encode()).hexdigest(),
                    submitted_by=submitted_by,
                )
            )
            new = put is not None
        return definition, await lane.read(lambda c: regimes.mapping(c, place)), new

    definition, mapping, new = with_ledger(wanted, take)
    missing = unmapped(definition, {} if mapping is None else mapping.cells)
    if as_json:
        say_json(_mapping_dict(definition, mapping, new=new))
    elif file is None:
        _write_table(definition, mapping)
    else:
        told = "bảng mới · new table" if new else "bảng này đã nhập rồi · imported before"
        out.print(f"[green]✔[/green] {escape(form)}: {told}", highlight=False)
    if missing and not as_json:
        warn(_missing(missing))


def _mapping_dict(
    definition: Form | KpiSet, mapping: FormMapping | None, *, new: bool
) -> dict[str, object]:
    cells = {} if mapping is None else mapping.cells
    return {
        "new": new,
        "submitted_by": None if mapping is None else mapping.submitted_by,
        "recorded_at": None if mapping is None else mapping.recorded_at,
        "cells": [
            {
                "row": cell.place.row,
                "column": cell.place.column,
                "name": cell.name,
                "type": cell.type.value,
                "source": None if source is None else source.source,
                "argument": None if source is None else source.argument,
                "optional": None if source is None else source.optional,
            }
            for cell in cells_of(definition)
            for source in (cells.get(cell.place),)
        ],
    }


def _write_table(definition: Form | KpiSet, mapping: FormMapping | None) -> None:
    """The table as it can be given back; a cell without a source has an empty one, which is refused as such."""
    cells = {} if mapping is None else mapping.cells
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(cell_sources.COLUMNS)
    for cell in cells_of(definition):
        source = cells.get(cell.place)
        writer.writerow(
            (*cell.place, "", "", "")
            if source is None
            else (*cell.place, source.source, source.argument, "yes" if source.optional else "no")
        )


def _missing(cells: Sequence[Cell]) -> Words:
    told = ", ".join("/".join(part for part in cell.place if part) for cell in cells[:5])
    more = "…" if len(cells) > 5 else ""
    return Words(
        vi=f"{len(cells)} ô chưa có nguồn số liệu, nên chưa gửi được: {told}{more}",
        en=f"{len(cells)} cells have no source, so the form cannot be sent: {told}{more}",
    )


# --- filling -----------------------------------------------------------------------------------------


@regime_commands.command("fill")
def report_fill(
    regime: OfRegime,
    period: OfPeriod,
    form: Annotated[str | None, typer.Option(help="Chỉ biểu này · this form only")] = None,
    as_json: AsJson = False,
) -> None:
    """Điền thử, không ghi gì: từng ô, nguồn và số; ô chưa có nguồn trước · fill a form and write nothing."""
    wanted = settings()
    filled = with_ledger(
        wanted, lambda lane: lane.read(lambda c: filled_forms(c, wanted, regime, period, form))
    )
    if as_json:
        say_json([_filled_dict(one) for one in filled])
        return
    for one in filled:
        _say_filled(one)


def filled_forms(
    connection: Connection, wanted: Settings, regime: str, period: str, form: str | None
) -> list[Filled]:
    """Every form of a regime that is filled with figures, or one of them. Ends with status 2 as the commands do."""
    found = regimes.catalogue(connection)
    _require_regime(found, regime)
    agency = reporter(wanted)
    window = window_of(connection, found, regime, period, agency)
    sources = LedgerSources(connection, window=window, period=period, agency=agency, now=_now())
    filled = []
    for asked in found.regimes[regime].forms:
        _, definition = form_of(found, regime, asked.code, asked.version)
        if isinstance(definition, OutlineForm) or form not in (None, asked.code):
            continue
        place = FormPlace(regime, asked.code, asked.version)
        mapping = regimes.mapping(connection, place)
        cells = {} if mapping is None else mapping.cells
        filled.append(fill(place, asked.kind, definition, cells, sources))
    if not filled:
        raise refused(
            Words(
                vi=f"chế độ {regime} không có biểu số liệu {form or ''}".rstrip(),
                en=f"regime {regime} has no form of figures {form or ''}".rstrip(),
            )
        )
    return filled


def _filled_dict(one: Filled) -> dict[str, object]:
    return {
        "regime": one.place.regime,
        "form": one.place.form,
        "form_version": one.place.form_version,
        "kind": one.kind.value,
        "can_be_sent": one.content is not None,
        "unfillable_axes": list(one.axes),
        "blocking": len(one.blocking),
        "provisional": len(one.provisional),
        "cells": [cell.as_dict() for cell in _unmapped_first(one.cells)],
    }


def _unmapped_first(cells: Sequence[FilledCell]) -> list[FilledCell]:
    order = {Outcome.UNMAPPED: 0, **dict.fromkeys(BLOCKS - {Outcome.UNMAPPED}, 1)}
    return sorted(cells, key=lambda cell: order.get(cell.outcome, 2))


def _say_filled(one: Filled) -> None:
    ready = (
        "[green]gửi được · can be sent[/green]"
        if one.content is not None
        else f"[red]chưa gửi được · cannot be sent: {len(one.blocking)}[/red]"
    )
    out.print(
        f"[bold]{escape(one.place.form)}[/bold] {escape(one.place.form_version)}  {ready}",
        highlight=False,
    )
    if one.axes:
        axes = ", ".join(one.axes)
        warn(
            Words(
                vi=f"không lập được hàng của biểu theo: {axes}",
                en=f"no rows can be made from: {axes}",
            )
        )
    table = table_of(
        (
            "ô · cell",
            "tên · name",
            "nguồn · source",
            "số · figure",
            "đơn vị · unit",
            "kết quả · outcome",
            "chi tiết · detail",
        )
    )
    for cell in _unmapped_first(one.cells):
        place = "/".join(part for part in (cell.agency, *cell.cell.place) if part)
        source = cell.source
        table.add_row(
            escape(place),
            escape(cell.cell.name),
            "–" if source is None else escape(f"{source.source} {source.argument}".strip()),
            "–" if cell.value is None else escape(str(cell.value)),
            escape(cell.cell.unit or "–"),
            f"{OUTCOMES[cell.outcome]} · {cell.outcome}",
            escape(cell.detail) or "–",
        )
    out.print(table)


# --- words -------------------------------------------------------------------------------------------


@regime_commands.command("outline")
def report_outline(
    regime: OfRegime,
    form: OfForm,
    file: Annotated[Path, typer.Argument(help="Tệp nội dung, TOML · the file with the words")],
    period: OfPeriod,
    version: Version = None,
    submitted_by: SubmittedBy = "outline-import",
    as_json: AsJson = False,
) -> None:
    """Nhập lời văn của báo cáo đề cương; được mã hóa khi lưu · take in the words of a report, kept sealed."""
    wanted = settings()
    if not CODE.fullmatch(submitted_by):
        raise refused(_NO_NAME)
    agency = reporter(wanted)

    async def take(lane: Lane) -> int:
        found = await lane.read(regimes.catalogue)
        asked, definition = form_of(found, regime, form, version)
        if not isinstance(definition, OutlineForm):
            raise refused(_FIGURES_ONLY)
        await lane.read(lambda c: window_of(c, found, regime, period, agency))
        outline = read_outline(file, definition)
        place = FormPlace(regime, asked.code, asked.version)
        async with SqlLedger(wanted.ledger_url.get_secret_value()) as ledger:
            sealer = await Sealer.load(ledger, wanted.master_key_bytes(), datetime.now(UTC))
        sealed = seal_outline(sealer, outline, owner_of(place, period, agency))
        await lane.write(
            lambda c: regimes.put_outline(
                c, place, period=period, agency=agency, sealed=sealed, submitted_by=submitted_by
            )
        )
        return len(outline.parts)

    parts = with_ledger(wanted, take)
    if as_json:
        say_json({"regime": regime, "form": form, "period": period, "parts": parts})
    else:
        out.print(
            f"[green]✔[/green] {escape(form)} {period}: {parts} mục  [dim]{parts} parts[/dim]",
            highlight=False,
        )


# --- what the commands have in common ----------------------------------------------------------------


def reporter(wanted: Settings) -> str:
    """The agency in whose name reports are sent."""
    return wanted.reporting.agency or wanted.national_portal.agency_code


def _require_regime(found: Catalogue, regime: str) -> None:
    """End with status 2 unless the regime is in force."""
    if regime in found.regimes:
        return
    if regime in found.legal:
        raise refused(
            Words(
                vi=f"chế độ {regime} chưa dùng được; xem thongsuot report regimes --faults",
                en=f"regime {regime} is not usable yet; see thongsuot report regimes --faults",
            )
        )
    like = ", ".join(near(regime, tuple(found.legal))) or "–"
    raise refused(
        Words(
            vi=f"chưa nhận chế độ {regime}; gần giống: {like}",
            en=f"no regime {regime} was received; near: {like}",
        )
    )


def form_of(
    found: Catalogue, regime: str, form: str, version: str | None
) -> tuple[RegimeForm, Form | OutlineForm | KpiSet]:
    """A form as a regime in force asks for it, and its definition. Ends with status 2 where there is none."""
    _require_regime(found, regime)
    if regime in COUNTED_BY_THE_HUB:
        raise refused(
            Words(
                vi=f"số liệu của {regime} do Trục đếm từ hồ sơ; dùng thongsuot report show",
                en=f"the figures of {regime} are counted from dossiers; use thongsuot report show",
            )
        )
    asked = found.regimes[regime].forms
    wanted = [one for one in asked if one.code == form and version in (None, one.version)]
    if len(wanted) != 1:
        told = ", ".join(f"{one.code} {one.version}" for one in asked)
        raise refused(
            Words(
                vi=f"chế độ {regime} không có đúng một biểu {form} {version or ''}; có: {told}",
                en=f"regime {regime} has not exactly one form {form} {version or ''}; there are: {told}",
            )
        )
    (one,) = wanted
    definition = next(
        each for each in found.asked(regime) if (each.code, each.version) == (one.code, one.version)
    )
    return one, definition


def window_of(
    connection: Connection, found: Catalogue, regime: str, period: str, agency: str
) -> Window:
    """The days of a period: as it was opened, as it was defined, or as the decree has it. Ends with status 2."""
    report = report_store.report_of(connection, report_id_of(regime, period, agency))
    if report is not None:
        return report.window
    entries = found.periods_of(regime)
    for one in entries:
        if one.code == period:
            return Window(one.window_from, one.window_to)
    parsed = parse_period(period)
    if entries:
        told = ", ".join(one.code for one in entries[-5:])
        raise refused(
            Words(
                vi=f"--period: chế độ {regime} không có kỳ {period}; mới nhất: {told}",
                en=f"--period: regime {regime} has no period {period}; the newest: {told}",
            )
        )
    if parsed is None:
        vi, en = WRITE_PERIOD
        raise refused(Words(vi=f"--period: {vi}", en=f"--period: {en}"))
    return parsed.window(Calendar.DECREE)


_NO_NAME = Words(
    vi="--submitted-by: ghi mã hệ thống hoặc tài khoản (chữ thường không dấu, số và . _ -), không ghi tên người",
    en="--submitted-by: give the code of a system or account (small letters, digits, . _ -), not a name",
)
_WORDS_ONLY = Words(
    vi="biểu đề cương chỉ có lời văn; dùng thongsuot report outline",
    en="an outline has words only; use thongsuot report outline",
)
_FIGURES_ONLY = Words(
    vi="biểu này là biểu số liệu; dùng thongsuot report map",
    en="this form holds figures; use thongsuot report map",
)


def with_ledger(wanted: Settings, work: Callable[[Lane], Awaitable[T]]) -> T:
    """What the ledger of the settings answers, or the end and why."""
    url = wanted.ledger_url.get_secret_value()

    async def run() -> T:
        await asyncio.to_thread(require_current, url)
        lane = Lane(url, "ledger-regimes", seconds=None)
        try:
            return await work(lane)
        finally:
            await lane.close()

    try:
        return asyncio.run(run())
    except TableError as error:
        raise refused(
            *(
                Words(vi=f"{error.where}, {vi}", en=en)
                for vi, en in (problem.told for problem in error.problems)
            )
        ) from None
    except (LedgerMismatch, LedgerUnavailable) as error:
        raise fail(remedy(error)) from None
    except (ContentError, SealError) as error:
        raise fail(escape(str(error))) from None
