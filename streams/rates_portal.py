"""`thongsuot rates portal`: what the portal publishes, into the ledger, and beside our own figures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.markup import escape

from monitoring.rates import published_csv, published_json
from monitoring.rates.catalogue import Words, near, packaged
from monitoring.rates.observations import CODE
from monitoring.rates.periods import WRITE_PERIOD, Period, parse_period
from monitoring.rates.portal_comparison import Verdict, is_within
from monitoring.rates.portal_differences import Wanted, differences, left_out, opened
from monitoring.rates.published import BadAnswer, impossible, metrics_of, unpublished
from monitoring.rates.published_names import SHAPES, Sure
from schemas.dossier.working_calendar import CIVIL_ZONE, civil_day
from schemas.ledger import published
from schemas.ledger.database import Lane
from schemas.ledger.migrate import require_current
from schemas.ledger.model import LedgerMismatch, LedgerUnavailable
from schemas.ledger.published import GivenFile, PublishedFigure
from streams.commands import fail, out, refused, remedy, say_json, settings, table_of, warn
from streams.portal_shown import (
    REASONS,
    flat,
    local,
    ratios,
    said,
    show_compared,
    show_opened,
    shown,
)

T = TypeVar("T")

_NAMED = 5
"""How many figures are named in one sentence at most."""

portal = typer.Typer(
    help="Chênh lệch với Cổng · the portal's published figures beside ours", no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="Dạng JSON · as JSON")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Dạng CSV · as CSV")]
OnePeriod = Annotated[str, typer.Option(help="Kỳ: 2026-08, 2026-Q3, 2026 · the period")]
OneService = Annotated[str | None, typer.Option(help="Dịch vụ của Cổng · the portal's service")]
OneAgency = Annotated[str | None, typer.Option(help="Mã đơn vị · the unit's code")]


# --- in ----------------------------------------------------------------------------------------------


@portal.command("import")
def portal_import(
    file: Annotated[
        Path, typer.Argument(help="Câu trả lời của Cổng (JSON) hoặc bảng số liệu (CSV) · the file")
    ],
    service: Annotated[str, typer.Option(help="Dịch vụ của Cổng · the portal's service")],
    period: OnePeriod,
    seen: Annotated[
        str | None,
        typer.Option(
            help="Cổng trả lời lúc nào: 2026-09-26 hoặc 2026-09-26T14:05, mặc định là bây giờ · when the portal answered"
        ),
    ] = None,
    submitted_by: Annotated[
        str, typer.Option(help="Mã tài khoản nhập · code of the account that submits")
    ] = "portal-import",
    as_json: AsJson = False,
) -> None:
    """Nhập cả tệp số liệu Cổng công bố, hoặc không nhập gì · take a whole file in, or nothing of it."""
    span = _require_sound(service=service, period=period)
    now = datetime.now(UTC)
    if not CODE.fullmatch(submitted_by):
        raise refused(_NO_NAME)
    try:
        body = file.read_bytes()
    except OSError as error:
        raise refused(
            Words(vi=f"không đọc được tệp {file}", en=f"{file}: {error.strerror}")
        ) from None
    given = GivenFile(
        service=service,
        period=str(span),
        form=_form(body),
        file_hash=sha256(body).hexdigest(),
        submitted_by=submitted_by,
        seen_at=None if seen is None else _moment(seen, now),
    )
    if SHAPES[service].sure is Sure.INFERRED:
        warn(_INFERRED)
    try:
        taken = _with_ledger(lambda lane: _take(lane, given, span, body, now))
    except BadAnswer as error:
        raise refused(
            *(Words(vi=f"{file}, {one.told.vi}", en=one.told.en) for one in error.faults)
        ) from None
    province = _province(settings().national_portal.agency_code)
    if not taken.of(province):
        warn(_of_another(province))
    if taken.impossible:
        warn(_impossible(taken.impossible))
    if as_json:
        say_json({"new": taken.new, "units": len(taken.units), "figures": taken.figures})
        return
    told = Words(
        vi=f"{len(taken.units)} đơn vị, {taken.figures} số liệu"
        if taken.new
        else "tệp này đã nhập rồi",
        en=f"{len(taken.units)} units, {taken.figures} figures"
        if taken.new
        else "this file was imported before; nothing changed",
    )
    out.print(
        f"[green]✔[/green] {service} {period}: {told.vi}  [dim]{told.en}[/dim]", highlight=False
    )


@dataclass(frozen=True, slots=True)
class _Taken:
    new: bool
    units: frozenset[str]
    figures: int
    impossible: tuple[str, ...]  # unit and metric

    def of(self, province: str) -> bool:
        """Whether any unit is of this province."""
        return any(is_within(unit, province) for unit in self.units)


async def _take(lane: Lane, given: GivenFile, span: Period, body: bytes, now: datetime) -> _Taken:
    """Raises `BadAnswer` after noting in the ledger why the file was refused."""
    codes = await lane.read(published.unit_codes)
    try:
        figures = _figures(given, span, body, codes, now)
    except BadAnswer as error:
        faults = [fault.as_row() for fault in error.faults]
        await lane.write(lambda c: published.put_refused(c, given, faults))
        raise
    new = await lane.write(lambda c: published.put(c, given, figures))
    wrong = tuple(f"{one.unit} {one.metric}" for one in impossible(figures))
    return _Taken(new, frozenset(one.unit for one in figures), len(figures), wrong)


def _figures(
    given: GivenFile, span: Period, body: bytes, codes: Mapping[str, str], now: datetime
) -> list[PublishedFigure]:
    faults = unpublished(span, civil_day(now))
    if faults:
        raise BadAnswer(faults)
    if given.form == published_json.FORM:
        return published_json.parse_answer(packaged(), given.service, body, codes)
    return published_csv.parse_table(packaged(), given.service, given.period, body)


def _form(body: bytes) -> str:
    begun = body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    return published_json.FORM if begun in (b"{", b"[") else published_csv.FORM


def _moment(text: str, now: datetime) -> datetime:
    """When the portal answered; a time without a zone is that of Viet Nam. Ends with status 2."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise refused(_BAD_MOMENT) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=CIVIL_ZONE)
    if moment > now:
        raise refused(_FUTURE)
    return moment.astimezone(UTC)


# --- what is there -----------------------------------------------------------------------------------


@portal.command("list")
def portal_list(
    period: Annotated[
        str | None, typer.Option(help="Kỳ: 2026-08, 2026-Q3, 2026 · the period")
    ] = None,
    agency: OneAgency = None,
    limit: Annotated[int, typer.Option(min=1, help="Nhiều nhất bao nhiêu · at most")] = 100,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Các tệp đã nhập; với --agency: mọi phiên bản số liệu của đơn vị · the files; or a unit's figures, every version."""
    span = None if period is None else _require_sound(period=period)
    if agency is None:
        _list_answers(None if span is None else str(span), limit, as_json, as_csv)
    elif span is None:
        raise refused(
            Words(vi="--agency: cần thêm --period", en="--agency: needs --period as well")
        )
    else:
        _list_versions(str(span), agency, as_json, as_csv)


def _list_answers(period: str | None, limit: int, as_json: bool, as_csv: bool) -> None:
    found = _with_ledger(
        lambda lane: lane.read(
            lambda c: published.answers(c, refused=False, period=period, limit=limit)
        )
    )
    rows = [
        {
            "period": one.period,
            "service": one.service,
            "seen_at": one.seen_at,
            "form": one.form,
            "units": one.units,
            "figures": one.figures,
            "submitted_by": one.submitted_by,
            "recorded_at": one.recorded_at,
            "file_hash": one.file_hash,
        }
        for one in found
    ]
    if said(rows, as_json, as_csv):
        return
    table = table_of(
        (
            "kỳ · period",
            "dịch vụ · service",
            "Cổng trả lời lúc · seen at",
            "dạng · form",
            "đơn vị · units",
            "số liệu · figures",
            "người nhập · by",
            "tệp · file",
        )
    )
    for one in found:
        table.add_row(
            one.period,
            one.service,
            local(one.seen_at),
            one.form,
            str(one.units),
            str(one.figures),
            one.submitted_by,
            one.file_hash[:16],
        )
    out.print(table)


def _list_versions(period: str, agency: str, as_json: bool, as_csv: bool) -> None:
    found = _with_ledger(
        lambda lane: lane.read(lambda c: published.versions(c, period, unit=agency, every=True))
    )
    holding = {(one.service, one.figure.metric): one for one in found}
    rows = [
        {
            "service": one.service,
            "metric": one.figure.metric,
            "counts": ratios((pair.numerator, pair.denominator) for pair in one.figure.terms),
            "ratio": one.figure.ratio,
            "score": one.figure.score,
            "maximum": one.figure.maximum,
            "flag": one.figure.flag,
            "seen_at": one.seen_at,
            "holds": one is holding[one.service, one.figure.metric],
        }
        for one in found
    ]
    if said(rows, as_json, as_csv):
        return
    table = table_of(
        (
            "dịch vụ · service",
            "chỉ tiêu · metric",
            "số đếm · counts",
            "tỷ lệ % · ratio",
            "điểm · score",
            "Cổng trả lời lúc · seen at",
            "",
        )
    )
    for one, row in zip(found, rows, strict=True):
        table.add_row(
            one.service,
            escape(one.figure.metric),
            str(row["counts"]),
            shown(one.figure.ratio),
            shown(one.figure.score),
            local(one.seen_at),
            "đang dùng · holds" if row["holds"] else "bản cũ · earlier",
        )
    out.print(table)


@portal.command("refused")
def portal_refused(
    limit: Annotated[int, typer.Option(min=1, help="Nhiều nhất bao nhiêu · at most")] = 100,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Các tệp không được nhận, và vì sao; mới nhất trước · files that were refused, and why; newest first."""
    found = _with_ledger(
        lambda lane: lane.read(lambda c: published.answers(c, refused=True, limit=limit))
    )
    rows = [
        {
            "recorded_at": one.recorded_at,
            "period": one.period,
            "service": one.service,
            "form": one.form,
            "file_hash": one.file_hash,
            "submitted_by": one.submitted_by,
            **asdict(fault),
        }
        for one in found
        for fault in one.faults
    ]
    if said(rows, as_json, as_csv):
        return
    table = table_of(
        (
            "lúc · at",
            "kỳ · period",
            "dịch vụ · service",
            "tệp · file",
            "chỗ · place",
            "trường · field",
            "lý do · reason",
        )
    )
    for one in found:
        for fault in one.faults:
            why = REASONS.get(fault.reason)
            table.add_row(
                local(one.recorded_at),
                one.period,
                one.service,
                one.file_hash[:16],
                escape(fault.place) or "–",
                escape(fault.field) or "–",
                f"{why} · {fault.reason}" if why else fault.reason,
            )
    out.print(table)


# --- the comparison ----------------------------------------------------------------------------------


@portal.command("compare")
def portal_compare(
    period: OnePeriod,
    service: OneService = None,
    agency: OneAgency = None,
    metric: Annotated[str | None, typer.Option(help="Mã chỉ tiêu · the metric's code")] = None,
    same_too: Annotated[
        bool, typer.Option("--all", help="Cả những số giống nhau · what is the same, too")
    ] = False,
    dossiers: Annotated[
        bool,
        typer.Option(
            "--dossiers",
            help="Hồ sơ có thể gây chênh lệch, cần --agency và --metric · the dossiers that may explain it",
        ),
    ] = False,
    limit: Annotated[
        int, typer.Option(min=1, help="Nhiều nhất bao nhiêu hồ sơ mỗi số đếm · dossiers at most")
    ] = 200,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Số của Cổng bên cạnh số của Trục, theo đơn vị, kèm điểm chênh · the portal's figures beside ours, by unit."""
    span = _require_sound(service=service, period=period, metric=metric)
    if dossiers and (agency is None or metric is None):
        raise refused(
            Words(
                vi="--dossiers: cần thêm --agency và --metric",
                en="--dossiers: needs --agency and --metric as well",
            )
        )
    province = _province(settings().national_portal.agency_code)
    wanted = Wanted(period=span, province=province, service=service, agency=agency, metric=metric)
    others = _with_ledger(lambda lane: lane.read(lambda c: left_out(c, wanted)))
    if others:
        warn(_left_out(others, province))
    if dossiers:
        show_opened(
            _with_ledger(
                lambda lane: lane.read(lambda c: opened(c, wanted, limit), unhurried=True)
            ),
            as_json,
            as_csv,
        )
        return
    rows = _with_ledger(lambda lane: lane.read(lambda c: differences(c, wanted), unhurried=True))
    if not rows and not others:
        warn(_NOTHING_PUBLISHED)
    told = [one for one in rows if same_too or one.verdict is not Verdict.SAME]
    if not said([flat(one) if as_csv else one.as_dict() for one in told], as_json, as_csv):
        show_compared(told, rows)


_NO_NAME = Words(
    vi="--submitted-by: ghi mã hệ thống hoặc tài khoản (chữ thường không dấu, số và . _ -), không ghi tên người",
    en="--submitted-by: give the code of a system or account (small letters, digits, . _ -), not a name",
)
_BAD_MOMENT = Words(
    vi="--seen: viết 2026-09-26 hoặc 2026-09-26T14:05",
    en="--seen: write 2026-09-26 or 2026-09-26T14:05",
)
_FUTURE = Words(vi="--seen: ở tương lai; xem lại", en="--seen: lies in the future; check it")
_INFERRED = Words(
    vi="tên trường của dịch vụ này là suy đoán: chưa có câu trả lời nào của nó được công khai",
    en="the names of this service are inferred: no answer of it is public",
)
_NOTHING_PUBLISHED = Words(
    vi="chưa nhập số liệu Cổng cho lựa chọn này; dùng thongsuot rates portal import",
    en="no figures of the portal were imported for this; use thongsuot rates portal import",
)


def _impossible(figures: Sequence[str]) -> Words:
    named = ", ".join(figures[:_NAMED])
    more = len(figures) - _NAMED
    vi, en = (f" và {more} số nữa", f" and {more} more") if more > 0 else ("", "")
    return Words(
        vi=f"số liệu không thể có (trên điểm tối đa, trên 100 %, hoặc tử số lớn hơn mẫu số): {named}{vi}; đã nhập như Cổng công bố, xem lại tệp",
        en=f"impossible figures (above the maximum, above 100 %, or more than the denominator): {named}{en}; taken as they are, check the file",
    )


def _of_another(province: str) -> Words:
    return Words(
        vi=f"không có đơn vị nào thuộc {province}: compare không dùng số liệu này; xem lại tệp, hoặc THONGSUOT_NATIONAL_PORTAL__AGENCY_CODE",
        en=f"no unit is of {province}: compare leaves these figures out; check the file, or THONGSUOT_NATIONAL_PORTAL__AGENCY_CODE",
    )


def _left_out(figures: int, province: str) -> Words:
    return Words(
        vi=f"{figures} số liệu đã nhập là của tỉnh khác, không thuộc {province}: không so sánh",
        en=f"{figures} figures that were imported are of another province and not of {province}: left out",
    )


def _province(agency: str) -> str:
    """The code of the province to which an agency belongs: H12 of H12.01, and of 000.00.00.H12 in the older order."""
    parts = agency.split(".")
    return parts[-1] if parts[0].isdecimal() else parts[0]


def _require_sound(*, period: str, service: str | None = None, metric: str | None = None) -> Period:
    """The period; ends with status 2 and everything that is wrong."""
    span = parse_period(period)
    wrong = []
    services = (service,) if service is not None and service in SHAPES else tuple(SHAPES)
    metrics = {code for one in services for code in metrics_of(packaged(), one)}
    if metric is not None and metric not in metrics:
        like = ", ".join(near(metric, sorted(metrics)) or sorted(metrics))
        wrong.append(
            Words(
                vi=f"--metric: không có chỉ tiêu {metric}; gần giống: {like}",
                en=f"--metric: no metric {metric}; near: {like}",
            )
        )
    if service is not None and service not in SHAPES:
        like = ", ".join(near(service, tuple(SHAPES)) or tuple(SHAPES))
        wrong.append(
            Words(
                vi=f"--service: không có dịch vụ {service}; gần giống: {like}",
                en=f"--service: no service {service}; near: {like}",
            )
        )
    if span is None:
        vi, en = WRITE_PERIOD
        wrong.append(Words(vi=f"--period: {vi}", en=f"--period: {en}"))
    if span is None or wrong:
        raise refused(*wrong)
    return span


def _with_ledger(work: Callable[[Lane], Awaitable[T]]) -> T:
    """What the ledger of the settings answers, or the end and why."""
    url = settings().ledger_url.get_secret_value()

    async def run() -> T:
        await asyncio.to_thread(require_current, url)
        lane = Lane(url, "ledger-portal", seconds=None)
        try:
            return await work(lane)
        finally:
            await lane.close()

    try:
        return asyncio.run(run())
    except (LedgerMismatch, LedgerUnavailable) as error:
        raise fail(remedy(error)) from None
