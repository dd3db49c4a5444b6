"""`thongsuot report`: the periods, the figures and what is behind them, and what people do with a report."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.markup import escape

from monitoring.rates.catalogue import Words, near
from schemas.dossier.csv_table import TableError
from schemas.ledger import report_outbox, report_store
from schemas.ledger.migrate import require_current
from schemas.ledger.model import LedgerMismatch, LedgerUnavailable
from schemas.ledger.report_store import Report, Take, report_id_of
from schemas.registry import RegistryError
from schemas.reports.periods import WRITE_PERIOD, parse_period
from schemas.reports.snapshots import Snapshot
from schemas.reports.states import Answer, Objection, PacketState, Settlement
from streams.commands import fail, in_both, out, refused, remedy, say_json, settings, table_of, warn
from streams.reporting import shown, wiring
from streams.reporting.approvals import Desk, actor_named
from streams.reporting.counting import Behind, Member
from streams.reporting.form_filling import COLUMNS
from streams.reporting.life import SENT, STATES, Refusal, Refused, local
from streams.reporting.names import agency_names
from streams.reporting.overview import Overview, overview
from streams.reporting.shown import By
from streams.reporting.wiring import Office
from streams.settings import Settings

T = TypeVar("T")

report = typer.Typer(help="Báo cáo định kỳ · periodic reports", no_args_is_help=True)

Period = Annotated[str, typer.Argument(help="Kỳ, ví dụ 2026-08, 2026-Q3, 2026 · the period")]
Regime = Annotated[
    str | None, typer.Option(help="Chế độ báo cáo; không cần nếu chỉ có một · the regime")
]
Name = Annotated[str, typer.Option(help="Họ tên người thực hiện · who does it")]
Reason = Annotated[str, typer.Option(help="Lý do · why")]
Unit = Annotated[str, typer.Option(help="Mã đơn vị · the unit's code")]
Revision = Annotated[int | None, typer.Option(min=1, help="Bản số · the revision")]
AsJson = Annotated[bool, typer.Option("--json", help="Dạng JSON · as JSON")]

_HASH_LENGTH = 64
"""Of a SHA-256 in hexadecimal digits."""

_NO_AGENCY = Words(
    vi="chưa đặt cơ quan báo cáo; đặt THONGSUOT_REPORTING__AGENCY, ví dụ H44",
    en="no agency reports; set THONGSUOT_REPORTING__AGENCY, e.g. H44",
)


def _now() -> datetime:
    """The present; tests put another in its place."""
    return datetime.now(UTC)


# --- looking -----------------------------------------------------------------------------------------


@report.command("periods")
def report_periods(regime: Regime = None, as_json: AsJson = False) -> None:
    """Các kỳ báo cáo: ngày, hạn, đang ở bước nào · the periods, their deadlines and states."""
    wanted = _settings()

    async def look(office: Office) -> None:
        reports = await office.lane.read(lambda c: report_store.all_reports(c, regime=regime))
        newest = {
            one.report_id: await office.lane.read(
                lambda c, one=one: report_store.newest(c, one.report_id)  # type: ignore[misc]
            )
            for one in reports
        }
        drafts = await office.lane.read(report_store.drafts)
        faults = await office.lane.read(report_store.period_faults)
        calendar = office.reference.calendar

        def changed(one: Report) -> int:
            take, draft = newest[one.report_id], drafts.get(one.report_id)
            if take is None or draft is None:
                return 0
            return draft.dossiers if (draft.revision, draft.take) == take.ref[1:] else 0

        if as_json:
            say_json(
                {
                    "reports": [
                        {
                            **shown.report_dict(one, newest[one.report_id], calendar),
                            "changed": changed(one),
                        }
                        for one in reports
                    ],
                    "faults": [asdict(one) for one in faults],
                }
            )
            return
        rows = [(one, newest[one.report_id], changed(one)) for one in reports]
        out.print(shown.period_table(rows, calendar))
        for fault in faults:
            warn(shown.fault_words(fault))

    _run(wanted, look)


@report.command("show")
def report_show(
    period: Period,
    regime: Regime = None,
    by: Annotated[By, typer.Option(help="Mỗi dòng là gì · what a row is")] = By.AGENCY,
    unit: Annotated[str | None, typer.Option(help="Chỉ đơn vị này · only this unit")] = None,
    sector: Annotated[
        str | None, typer.Option(help="Lĩnh vực, với --dossiers · the sector")
    ] = None,
    procedure: Annotated[
        str | None, typer.Option(help="Thủ tục, với --dossiers · the procedure")
    ] = None,
    dossiers: Annotated[
        str | None,
        typer.Option(help="Các hồ sơ trong cột này, ví dụ c8 · the dossiers of a column"),
    ] = None,
    revision: Revision = None,
    limit: Annotated[int, typer.Option(min=1, help="Nhiều nhất bao nhiêu hồ sơ · at most")] = 100,
    after: Annotated[str | None, typer.Option(help="Tiếp sau mã trong này · go on behind")] = None,
    as_json: AsJson = False,
) -> None:
    """Số liệu và mọi điều người ký cần biết · the figures, and all that whoever signs must know."""
    wanted = _settings()
    report_id = _report_id(wanted, period, regime)

    async def look(office: Office) -> None:
        told = await office.lane.read(
            lambda c: overview(
                c, report_id, jump_percent=wanted.reporting.jump_percent, revision=revision
            )
        )
        if unit is not None and told.take is not None and unit not in told.take.units:
            raise Refused(Refusal.UNKNOWN_UNIT, _nearest(unit, told.take))
        if dossiers is not None:
            behind = Behind(column=dossiers, agency=unit, sector=sector, procedure=procedure)
            snapshot = await _frozen_or_now(office, told)
            _say_members(
                await _members(office, told.report, snapshot, behind, after, limit), as_json
            )
            return
        if told.snapshot is None and told.report.regime in office.fillings:
            told = await _as_of_now(office, told)
        if as_json:
            say_json(shown.overview_dict(told, by, unit, office.reference.calendar))
        else:
            names = await office.lane.read(lambda c: agency_names(c, office.reference.agencies))
            _show(told, by, unit, names)

    _run(wanted, look)


@report.command("diff")
def report_diff(period: Period, regime: Regime = None, as_json: AsJson = False) -> None:
    """Số liệu hôm nay khác số đã chốt ở hồ sơ nào, vì sao · which dossiers count otherwise today, and why."""
    wanted = _settings()
    report_id = _report_id(wanted, period, regime)

    async def look(office: Office) -> None:
        told = await office.lane.read(lambda c: overview(c, report_id, jump_percent=100))
        take, snapshot = told.take, told.snapshot
        if take is None or snapshot is None:
            raise Refused(Refusal.NO_FIGURES)
        filling = office.fillings.get(told.report.regime)
        draft = told.draft
        if filling is not None:
            now = _now()
            changes = tuple(await filling.counting.changes(told.report, snapshot, now))
            draft = report_store.Draft(
                report_id=report_id,
                revision=take.revision,
                take=take.take,
                known_at=now,
                dossiers=len(changes),
                changes=changes,
                reckoned_at=now,
            )
        if as_json:
            say_json(None if draft is None else shown.draft_dict(draft))
        elif draft is None or not draft.changes:
            out.print(
                "[green]✔[/green] không hồ sơ nào đổi  [dim]no dossier counts otherwise[/dim]"
            )
        else:
            out.print(
                f"bản {shown.revision_name(take)}: {draft.dossiers} hồ sơ đổi, tính đến "
                f"{local(draft.known_at)}  [dim]dossiers that count otherwise[/dim]",
                highlight=False,
                soft_wrap=True,
            )
            out.print(shown.draft_table(draft))

    _run(wanted, look)


@report.command("status")
def report_status(
    period: Period,
    regime: Regime = None,
    record: Annotated[
        Answer | None,
        typer.Option(
            help="Ghi lại trả lời nhận ngoài hệ thống · record an answer that came otherwise"
        ),
    ] = None,
    form: Annotated[str | None, typer.Option(help="Biểu, với --record · the form")] = None,
    reason: Reason = "",
    name: Name = "",
    as_json: AsJson = False,
) -> None:
    """Báo cáo đang ở đâu: các bản, gói tin, trả lời, ai đã làm gì · where it stands, and who did what."""
    wanted = _settings()
    report_id = _report_id(wanted, period, regime)

    async def look(office: Office) -> None:
        told = await office.lane.read(lambda c: overview(c, report_id, jump_percent=100))
        if record is not None:
            await _record(_desk(wanted, office), told, record, form, reason, name)
            told = await office.lane.read(lambda c: overview(c, report_id, jump_percent=100))
        if as_json:
            say_json(shown.status_dict(told, office.reference.calendar))
            return
        out.print(in_both(STATES[shown.state_of(told.take)]), highlight=False)
        for packet in told.packets:
            line = shown.packet_line(packet, told.delivery_of(packet))
            out.print(f"  {line}", soft_wrap=True, highlight=False)
        for answered in told.answers:
            line = shown.answer_line(answered, told.is_last(answered))
            out.print(f"  {line}", soft_wrap=True, highlight=False)
        for audit in told.story:
            out.print(f"  {shown.story_line(audit)}", soft_wrap=True, highlight=False)

    _run(wanted, look)


@report.command("again")
def report_again(
    period: Period,
    regime: Regime = None,
    form: Annotated[str | None, typer.Option(help="Biểu, ví dụ II.06a · the form")] = None,
    revision: Revision = None,
    output: Annotated[Path | None, typer.Option(help="Ghi ra tệp này · write to this file")] = None,
    as_json: AsJson = False,
) -> None:
    """Xuất lại đúng từng byte nội dung đã gửi · the content that was sent, byte for byte."""
    wanted = _settings()
    report_id = _report_id(wanted, period, regime)

    async def write(office: Office) -> None:
        found = [
            one
            for one in await office.lane.read(
                lambda c: report_outbox.packets(c, report_id, revision)
            )
            if one.state is not PacketState.HELD and form in {None, one.form}
        ]
        if not found:
            raise Refused(Refusal.NOTHING_SENT)
        newest = [one for one in found if one.revision == found[0].revision]
        if len(newest) > 1:
            forms = ", ".join(sorted({one.form for one in newest}))
            raise refused(
                Words(vi=f"ghi --form, một trong: {forms}", en=f"give --form, one of: {forms}")
            )
        (packet,) = newest
        if output is not None:
            output.write_bytes(packet.content)
        if as_json:
            say_json({**shown.packet_dict(packet), "file": None if output is None else str(output)})
        elif output is None:
            sys.stdout.flush()
            sys.stdout.buffer.write(packet.content)
            sys.stdout.buffer.flush()
        else:
            out.print(
                f"[green]✔[/green] {escape(str(output))}  {packet.content_hash}", highlight=False
            )

    _run(wanted, write)


# --- doing -------------------------------------------------------------------------------------------


@report.command("confirm")
def report_confirm(
    period: Period, unit: Unit, name: Name, regime: Regime = None, as_json: AsJson = False
) -> None:
    """Đơn vị xác nhận số liệu của mình · a unit confirms its row."""
    _do(
        period,
        regime,
        as_json,
        lambda desk, report_id: desk.confirm(report_id, unit, actor_named(name)),
    )


@report.command("object")
def report_object(
    period: Period,
    unit: Unit,
    dossier: Annotated[str, typer.Option(help="Mã hồ sơ · the dossier's code")],
    name: Name,
    reason: Annotated[
        Objection | None, typer.Option(help="Sai ở đâu · what is wrong with how it is counted")
    ] = None,
    settle: Annotated[
        Settlement | None, typer.Option(help="Giải quyết ý kiến đang mở · how an objection ended")
    ] = None,
    regime: Regime = None,
    as_json: AsJson = False,
) -> None:
    """Đơn vị có ý kiến về một hồ sơ, hoặc ý kiến được giải quyết · a unit objects; or that is settled."""
    if (reason is None) == (settle is None):
        raise refused(
            Words(vi="ghi một trong hai: --reason hoặc --settle", en="give --reason or --settle")
        )

    async def act(desk: Desk, report_id: str) -> None:
        if reason is not None:
            await desk.object_to(report_id, unit, dossier, reason, actor_named(name))
        elif settle is not None:
            await desk.settle(report_id, unit, dossier, settle, actor_named(name))

    _do(period, regime, as_json, act)


@report.command("verify")
def report_verify(
    period: Period, name: Name, reason: Reason = "", regime: Regime = None, as_json: AsJson = False
) -> None:
    """Đã kiểm tra toàn báo cáo · the whole was looked at."""
    _do(
        period,
        regime,
        as_json,
        lambda desk, report_id: desk.verify(report_id, actor_named(name), reason),
    )


@report.command("approve")
def report_approve(
    period: Period,
    snapshot_hash: Annotated[
        str,
        typer.Option("--hash", help="Mã của số liệu đã xem (thongsuot report show) · what you saw"),
    ],
    name: Name,
    regime: Regime = None,
    as_json: AsJson = False,
) -> None:
    """Ký duyệt đúng số liệu mang mã này · approve the snapshot of this hash."""
    signed = snapshot_hash.strip().lower()
    if len(signed) != _HASH_LENGTH:
        raise refused(
            Words(
                vi=f"--hash: ghi đủ {_HASH_LENGTH} ký tự, như trong thongsuot report show",
                en=f"--hash: all {_HASH_LENGTH} characters, as thongsuot report show has them",
            )
        )
    _do(
        period,
        regime,
        as_json,
        lambda desk, report_id: desk.approve(report_id, signed, actor_named(name)),
    )


@report.command("submit")
def report_submit(
    period: Period, name: Name, reason: Reason = "", regime: Regime = None, as_json: AsJson = False
) -> None:
    """Gửi báo cáo đã duyệt · hand an approved report over."""

    async def act(desk: Desk, report_id: str) -> None:
        late = await desk.submit(report_id, actor_named(name), reason)
        if late:
            warn(Words(vi="gửi muộn, đã đánh dấu", en="late, and marked so"))

    _do(period, regime, as_json, act)


@report.command("revise")
def report_revise(
    period: Period, reason: Reason, name: Name, regime: Regime = None, as_json: AsJson = False
) -> None:
    """Lấy lại số liệu như biết hôm nay: cùng bản nếu chưa gửi, bản sau nếu đã gửi · take the figures anew."""

    async def act(desk: Desk, report_id: str) -> None:
        await desk.revise(report_id, actor_named(name), reason)

    _do(period, regime, as_json, act)


def _do(
    period: str,
    regime: str | None,
    as_json: bool,
    act: Callable[[Desk, str], Awaitable[None]],
) -> None:
    wanted = _settings()
    report_id = _report_id(wanted, period, regime)

    async def work(office: Office) -> None:
        await act(_desk(wanted, office), report_id)
        told = await office.lane.read(lambda c: overview(c, report_id, jump_percent=100))
        if as_json:
            say_json(shown.report_dict(told.report, told.take, office.reference.calendar))
            return
        take = told.take
        revision = "" if take is None else f"bản {shown.revision_name(take)}, "
        out.print(
            f"[green]✔[/green] {escape(report_id)}: {revision}{in_both(STATES[shown.state_of(take)])}",
            soft_wrap=True,
            highlight=False,
        )

    _run(wanted, work)


# --- within ------------------------------------------------------------------------------------------


def _settings() -> Settings:
    wanted = settings()
    if wanted.reporting.agency is None:
        raise refused(_NO_AGENCY)
    return wanted


def _report_id(wanted: Settings, period: str, regime: str | None) -> str:
    if parse_period(period) is None:
        vi, en = WRITE_PERIOD
        raise refused(Words(vi=f"{period}: {vi}", en=f"{period}: {en}"))
    known = tuple(wanted.reporting.regimes)
    if regime is None and len(known) != 1:
        listed = ", ".join(known)
        raise refused(
            Words(vi=f"ghi --regime, một trong: {listed}", en=f"give --regime, one of: {listed}")
        )
    assert wanted.reporting.agency is not None
    return report_id_of(regime or known[0], period, wanted.reporting.agency)


def _run(wanted: Settings, work: Callable[[Office], Awaitable[None]]) -> None:
    async def run() -> None:
        await asyncio.to_thread(require_current, wanted.ledger_url.get_secret_value())
        async with wiring.office(wanted) as office:
            await work(office)

    try:
        asyncio.run(run())
    except Refused as error:
        raise refused(error.words) from None
    except TableError as error:
        raise refused(
            *(
                Words(vi=f"{error.where}, {vi}", en=en)
                for vi, en in (p.told for p in error.problems)
            )
        ) from None
    except (LedgerMismatch, LedgerUnavailable, RegistryError) as error:
        raise fail(remedy(error)) from None
    except OSError as error:
        raise fail(escape(f"{error.filename}: {error.strerror}")) from None


def _desk(wanted: Settings, office: Office) -> Desk:
    return Desk(
        office.lane,
        office.fillings,
        calendar=office.reference.calendar,
        wall=_now,
        late=wanted.reporting.late == "reason",
    )


def _nearest(unit: str, take: Take) -> str:
    like = near(unit, tuple(sorted(take.units)))
    return f"{unit} ({', '.join(like)}?)" if like else unit


async def _record(
    desk: Desk, told: Overview, answer: Answer, form: str | None, reason: str, name: str
) -> None:
    if not name.strip():
        raise Refused(Refusal.NAME_MISSING)
    sent = next((one for one in told.takes if one.state in SENT), None)
    found = [
        one
        for one in told.packets
        if sent is not None
        and (one.revision, one.take) == (sent.revision, sent.take)
        and form in {None, one.form}
    ]
    if not found:
        raise Refused(Refusal.NOTHING_SENT)
    for packet in found:
        await desk.take_answer(
            answer_id=f"person/{secrets.token_hex(8)}",
            stream_id=packet.stream_id,
            revision=packet.revision,
            answer=answer,
            reason=reason.strip() or None,
            received_at=_now(),
            origin="person",
            actor=actor_named(name),
        )


async def _as_of_now(office: Office, told: Overview) -> Overview:
    """An open report has no frozen figures: those of this moment stand in, and nothing is kept of them."""
    counting = office.fillings[told.report.regime].counting
    frozen = await counting.preview(told.report, _now())
    return Overview(
        report=told.report,
        takes=told.takes,
        take=None,
        snapshot=frozen.snapshot,
        confirmed={},
        objections=(),
        jumps=(),
        draft=None,
        packets=(),
        answers=(),
        story=told.story,
    )


async def _frozen_or_now(office: Office, told: Overview) -> Snapshot:
    if told.snapshot is not None:
        return told.snapshot
    if told.report.regime not in office.fillings:
        raise Refused(Refusal.NO_FIGURES)
    snapshot = (await _as_of_now(office, told)).snapshot
    assert snapshot is not None
    return snapshot


async def _members(
    office: Office,
    about: Report,
    snapshot: Snapshot,
    behind: Behind,
    after: str | None,
    limit: int,
) -> list[Member]:
    if behind.column not in snapshot.columns:
        listed = ", ".join(snapshot.columns)
        raise refused(
            Words(
                vi=f"--dossiers: ghi một cột trong: {listed}",
                en=f"--dossiers: one of {listed}",
            )
        )
    filling = office.fillings.get(about.regime)
    if filling is None:
        raise Refused(Refusal.NO_FIGURES)
    return list(await filling.counting.members(snapshot, behind, after, limit))


def _say_members(members: list[Member], as_json: bool) -> None:
    if as_json:
        say_json([asdict(one) for one in members])
        return
    table = table_of(("mã hồ sơ · dossier", "mã trong · internal id"))
    for one in members:
        table.add_row(escape(one.code or "–"), escape(one.dossier_id))
    out.print(table)


def _show(told: Overview, by: By, unit: str | None, names: Mapping[str, str]) -> None:
    report, take = told.report, told.take
    out.print(
        f"{escape(report.report_id)}  {report.window.first:%d/%m/%Y} – {report.window.last:%d/%m/%Y}  "
        f"{in_both(STATES[shown.state_of(take)])}",
        highlight=False,
        soft_wrap=True,
    )
    if told.snapshot is not None:
        out.print(shown.figures_table(told.snapshot, by, unit, names))
        if told.snapshot.columns == COLUMNS:
            out.print(f"[dim]{shown.LEGEND.vi}[/dim]", highlight=False, soft_wrap=True)
    if take is None:
        warn(
            Words(
                vi="số liệu tạm tính đến lúc này, chưa chốt",
                en="as of this moment; nothing is frozen",
            )
        )
        return
    out.print(
        f"bản {shown.revision_name(take)}, mã số liệu (hash): {take.snapshot_hash}",
        highlight=False,
        soft_wrap=True,
    )
    _show_remarks(told, take)


def _show_remarks(told: Overview, take: Take) -> None:
    for one in take.imbalances:
        row = " / ".join(
            part or shown.NOT_KNOWN.vi for part in (one.agency, one.sector, one.procedure)
        )
        listed = ", ".join(one.dossiers[:20])
        warn(
            Words(
                vi=f"không cân {one.identity}: {row}: {one.left} ≠ {one.right}; hồ sơ: {listed}",
                en="an identity fails: the report cannot be sent",
            )
        )
    if take.carry_over is not None and take.carry_over.left_open != take.carry_over.taken_over:
        carry = take.carry_over
        sure = "đúng bằng các hồ sơ đã đổi" if carry.explained else "chưa giải thích được"
        listed = ", ".join(carry.dossiers[:20])
        warn(
            Words(
                vi=f"kỳ {carry.earlier} để lại {carry.left_open}, kỳ này nhận {carry.taken_over}, {sure}: {listed}",
                en="what the last period left open differs from what this one took over",
            )
        )
    if told.unconfirmed:
        warn(
            Words(
                vi=f"{len(told.unconfirmed)} đơn vị chưa xác nhận: {', '.join(told.unconfirmed)}",
                en="units that have not confirmed",
            )
        )
    for objected in told.objections:
        if objected.settlement is None:
            why = shown.OBJECTIONS[objected.reason]
            warn(
                Words(
                    vi=f"{objected.unit} có ý kiến về hồ sơ {objected.dossier_code}: {why.vi}",
                    en=f"an open objection: {why.en}",
                )
            )
    for jump in told.jumps:
        warn(shown.jump_words(jump))
    for reason, number in sorted(take.provisional.items()):
        why = shown.trouble_words(reason)
        warn(
            Words(
                vi=f"số liệu tạm: {number} hồ sơ ({why.vi})",
                en=f"provisional: {number} dossiers ({why.en})",
            )
        )
    if told.draft is not None:
        warn(
            Words(
                vi=f"{told.draft.dossiers} hồ sơ nay tính khác; xem thongsuot report diff",
                en="dossiers count otherwise today; see thongsuot report diff",
            )
        )
