"""`thongsuot rates integration | completeness | false-overdue`: what the hub itself makes of the rates.

Three questions of an official: does what is captured arrive, what costs points because it is not told, and
which dossiers does the portal call late although the office was not.
"""

from __future__ import annotations

import asyncio
import csv
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Annotated, TypeVar

import typer
from rich.markup import escape
from sqlalchemy import Connection, func, select

from monitoring.rates import completeness, false_overdue, integration
from monitoring.rates.catalogue import Words, hub_rates, near, packaged
from monitoring.rates.completeness import FIELDS, Missing
from monitoring.rates.dossier_counts import Scope, bounds
from monitoring.rates.false_overdue import WHY, FalselyLate, FalseOverdue, Lost
from monitoring.rates.integration import Carried, Integration
from monitoring.rates.periods import WRITE_PERIOD, Period, PeriodKind, parse_period
from monitoring.rates.points import known
from monitoring.rates.reckoning import Decode
from monitoring.rates.tables import number
from schemas.codec import Codec
from schemas.dossier.csv_table import TableError
from schemas.dossier.days_off import Certainty
from schemas.dossier.mappings import Codes
from schemas.dossier.working_calendar import CIVIL_ZONE, civil_day
from schemas.ledger import code_mappings, observations
from schemas.ledger.database import Lane
from schemas.ledger.migrate import require_current
from schemas.ledger.model import LedgerMismatch, LedgerUnavailable
from schemas.ledger.tables import dossiers
from schemas.records import DossierEvent
from schemas.registry import HttpRegistry, LocalRegistry, RegistryError
from streams.commands import fail, in_both, out, refused, remedy, say_json, settings, table_of, warn
from streams.reason_texts import in_words
from streams.reference import Reference, read_reference, rules_of
from streams.settings import Settings

T = TypeVar("T")

_LISTED = 50  # dossiers in the table; --csv and --json have all of them

AsJson = Annotated[bool, typer.Option("--json", help="Dạng JSON · as JSON")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Dạng CSV · as CSV")]
OnePeriod = Annotated[
    str | None,
    typer.Option(
        help="Kỳ: 2026-08, 2026-Q3, 2026-H2, 2026; mặc định tháng này · the period, by default this month"
    ),
]
OneAgency = Annotated[
    str | None, typer.Option(help="Mã cơ quan, mặc định cả tỉnh · an agency, by default all")
]


def add_to(rates: typer.Typer) -> None:
    """Make the three commands of `thongsuot rates`."""
    rates.command("integration")(rates_integration)
    rates.command("completeness")(rates_completeness)
    rates.command("false-overdue")(rates_false_overdue)


# --- integration -------------------------------------------------------------------------------------


def rates_integration(
    period: OnePeriod = None,
    agency: OneAgency = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Đã chuyển tới đâu, nhanh chậm, vướng gì · what arrived at each target, how fast, what is stuck."""
    asked = _Asked.of(period, agency, as_json=as_json, as_csv=as_csv)
    start, end = bounds(asked.period)

    async def ask(lane: Lane, reference: Reference) -> Integration:
        return await lane.read(
            lambda c: integration.count(
                c, start, end, calendar=reference.calendar, agencies=asked.scope.agencies
            )
        )

    found = _with_ledger(asked, ask)
    if found.certainty is Certainty.UNKNOWN:
        warn(_CALENDAR)
    if as_json:
        say_json(
            {
                "period": str(asked.period),
                "at": found.at,
                "certainty": found.certainty,
                "totals": [_carried(one) for one in found.totals],
                "units": [_carried(one) for one in found.units],
            }
        )
    elif as_csv:
        rates = [rate.code for rate in hub_rates().rates]
        names = (*integration.BY_STATE, *hub_rates().quantities)
        rows = (
            (one.target, one.agency, *_counts(one, names), *_ratios(one).values())
            for one in found.units
        )
        _say_csv(("target", "agency", *dict.fromkeys(names), *rates), rows)
    else:
        _show_integration(asked.period, found)


_CALENDAR = Words(
    vi="chưa có lịch nghỉ của mọi năm liên quan, nên 8 giờ làm việc chỉ là tạm tính; đặt THONGSUOT_REFERENCE__DAYS_OFF_FILE",
    en="the days off of some year are not known, so the 8 working hours are provisional; set THONGSUOT_REFERENCE__DAYS_OFF_FILE",
)


def _counts(one: Carried, names: Iterable[str]) -> list[int]:
    return [int(one.counts[name] or 0) for name in dict.fromkeys(names)]


def _ratios(one: Carried) -> dict[str, Decimal | None]:
    return {rate.code: known(rate, one.counts).ratio for rate in hub_rates().rates}


def _carried(one: Carried) -> dict[str, object]:
    return {
        "target": one.target,
        "agency": one.agency,
        "counts": dict(one.counts),
        "rates": _ratios(one),
        "parked": dict(one.parked),
        "oldest_open_at": one.oldest_open_at,
        "oldest_parked_at": one.oldest_parked_at,
    }


def _show_integration(period: Period, found: Integration) -> None:
    if not found.totals:
        _say_nothing(period)
        return
    table = table_of(
        (
            "đơn vị · unit",
            "đích · target",
            "phải tới · to arrive",
            "đã tới % · arrived",
            "1 phút %",
            "15 phút %",
            "8 giờ làm việc %",
            "15 phút từ khi xảy ra % · of effect",
            "lần đầu % · first time",
            "bị bỏ · discarded",
            "đang chờ · open",
            "cần người xử lý · parked",
        )
    )
    for one in (*found.totals, *found.units):
        ratios = _ratios(one)
        table.add_row(
            _ALL if one in found.totals else _unit(one.agency),
            escape(one.target),
            str(one.counts["to_arrive"]),
            *(_percent(ratios[code]) for code in _IN_TABLE),
            str(one.counts["discarded"]),
            _waiting(one.counts["open"], one.oldest_open_at, found.at),
            _waiting(one.counts["parked"], one.oldest_parked_at, found.at),
        )
    out.print(table)
    for one in found.totals:
        for reason, n in sorted(one.parked.items(), key=lambda each: -each[1]):
            vi, en = in_words(reason) if reason else ("không rõ lý do", "no reason given")
            out.print(
                f"  {escape(one.target)}: {n} · {escape(vi)}  [dim]{escape(en)}[/dim]",
                soft_wrap=True,
                highlight=False,
            )


_IN_TABLE = (
    "hub_arrived",
    "hub_in_1_minute",
    "hub_in_15_minutes",
    "hub_in_8_working_hours",
    "hub_in_15_minutes_of_effect",
    "hub_right_first_time",
)


def _waiting(count: object, since: datetime | None, now: datetime) -> str:
    """How many, and how old the oldest is."""
    if since is None:
        return f"{count}"
    age = max(now - since, timedelta())
    hours = int(age.total_seconds()) // 3600
    if hours >= 48:
        told = f"{hours // 24} ngày · days"
    elif hours:
        told = f"{hours} giờ · h"
    else:
        told = f"{int(age.total_seconds()) // 60} phút · min"
    return f"{count} ({told})"


# --- completeness ------------------------------------------------------------------------------------


def rates_completeness(
    period: OnePeriod = None,
    agency: OneAgency = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Trường nào còn thiếu, mất bao nhiêu điểm · which missing field costs which points."""
    asked = _Asked.of(period, agency, as_json=as_json, as_csv=as_csv)

    async def ask(lane: Lane, _reference: Reference) -> completeness.Completeness:
        return await lane.read(lambda c: completeness.missing(c, *asked.until_now(), asked.scope))

    found = _with_ledger(asked, ask)
    if as_json:
        say_json(
            {
                "period": str(asked.period),
                "total": [_missing(one) for one in found.total],
                "units": [_missing(one) for one in found.units],
            }
        )
    elif as_csv:
        rows = [_missing(one) for one in found.units]
        _say_csv(_MISSING, ([one[name] for name in _MISSING] for one in rows))
    else:
        _show_missing(asked.period, found)


_MISSING = ("agency", "fact", "field", "rate", "dossiers", "shown", "complete", "gain")


def _missing(one: Missing) -> dict[str, object]:
    return {**asdict(one), "field": FIELDS[one.fact].vi, "gain": one.gain}


def _show_missing(period: Period, found: completeness.Completeness) -> None:
    if not found.total:
        out.print(
            f"kỳ {period}: không thiếu trường nào  [dim]no field is missing[/dim]", highlight=False
        )
        return
    table = table_of(
        (
            "đơn vị · unit",
            "còn thiếu · missing",
            "tỷ lệ · rate",
            "hồ sơ · dossiers",
            "điểm hiện · score",
            "nếu đủ · complete",
            "thêm được · gain",
        )
    )
    names = {rate.code: rate.vi for rate in packaged().rates}
    for rows, label in ((found.total, _ALL), (found.units, None)):
        for one in sorted(rows, key=_most_first if label else _by_unit):
            table.add_row(
                label or _unit(one.agency),
                FIELDS[one.fact].vi,
                names[one.rate],
                str(one.dossiers),
                _points(one.shown),
                _points(one.complete),
                _points(one.gain),
            )
    out.print(table)


def _most_first(one: Missing) -> tuple[bool, Decimal, int]:
    return (one.gain is None, -(one.gain or Decimal(0)), -one.dossiers)


def _by_unit(one: Missing) -> tuple[object, ...]:
    return (one.agency is None, one.agency or "", *_most_first(one))


# --- false overdue -----------------------------------------------------------------------------------


def rates_false_overdue(
    period: OnePeriod = None,
    agency: OneAgency = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Hồ sơ Cổng tính quá hạn mà không do cơ quan · dossiers that are late for the portal alone."""
    asked = _Asked.of(period, agency, as_json=as_json, as_csv=as_csv)
    start, end = bounds(asked.period)

    async def ask(lane: Lane, reference: Reference) -> FalseOverdue:
        version, rows = await lane.read(code_mappings.mapping_rows)
        rules = rules_of(Codes(rows, version), reference, datetime.now(UTC))
        async with AsyncExitStack() as opened:
            decode = _decoder(asked.settings, opened)
            return await false_overdue.find(lane, decode, rules, start, end, asked.scope)

    found = _with_ledger(asked, ask)
    if found.unread:
        warn(
            Words(
                vi=f"{found.unread} hồ sơ không xét được: sự kiện không còn trong sổ cái, hoặc không đọc được",
                en=f"{found.unread} dossiers cannot be judged: their events are gone from the ledger, or cannot be read",
            )
        )
    if as_json:
        say_json(
            {
                "period": str(asked.period),
                "at": found.at,
                "unread": found.unread,
                "total": _lost(found.total),
                "units": [_lost(one) for one in found.units],
                "dossiers": [asdict(one) for one in found.dossiers],
            }
        )
    elif as_csv:
        rows = (asdict(one) for one in found.dossiers)
        names = list(FalselyLate.__dataclass_fields__)
        _say_csv(names, ([row[name] for name in names] for row in rows))
    else:
        _show_false_overdue(asked.period, found)


def _decoder(ours: Settings, opened: AsyncExitStack) -> Decode:
    registry: HttpRegistry | LocalRegistry = LocalRegistry()
    if ours.registry_url is not None:
        registry = HttpRegistry(ours.registry_url)
        opened.push_async_callback(registry.close)
    return partial(Codec(registry).decode_as, record=DossierEvent)


def _lost(one: Lost) -> dict[str, object]:
    return {
        "agency": one.agency,
        "dossiers": one.dossiers,
        "reasons": dict(one.reasons),
        "now": asdict(one.now),
        "without": asdict(one.without),
        "points_lost": one.points,
    }


def _show_false_overdue(period: Period, found: FalseOverdue) -> None:
    if not found.dossiers:
        out.print(
            f"kỳ {period}: không có hồ sơ nào quá hạn chỉ vì đồng bộ  [dim]none is late for the portal alone[/dim]",
            highlight=False,
        )
        return
    units = table_of(
        (
            "đơn vị · unit",
            "hồ sơ · dossiers",
            "điểm hiện · score",
            "lẽ ra · should be",
            "mất · lost",
            "lý do · reasons",
        )
    )
    for one in (found.total, *found.units):
        units.add_row(
            _ALL if one is found.total else _unit(one.agency),
            str(one.dossiers),
            _points(one.now.score),
            _points(one.without.score),
            _points(one.points),
            "; ".join(f"{WHY[reason].vi}: {n}" for reason, n in one.reasons.items()),
        )
    out.print(units)
    listed = table_of(
        (
            "hồ sơ · dossier",
            "đơn vị · unit",
            "lý do · reason",
            "Cổng · portal",
            "cơ quan · office",
            "hạn Cổng có · due held",
            "hạn đúng · due",
            "kết thúc · ended",
        )
    )
    for each in found.dossiers[:_LISTED]:
        listed.add_row(
            escape(each.code or each.dossier_id),
            _unit(each.agency),
            WHY[each.reason].vi,
            _PORTAL[each.portal.value],
            _OFFICE[each.office.value],
            _moment(each.due_held),
            _moment(each.due),
            _moment(each.ended_at),
        )
    out.print(listed)
    more = len(found.dossiers) - _LISTED
    if more > 0:
        out.print(f"  và {more} hồ sơ nữa: --csv  [dim]and {more} more: --csv[/dim]")


_PORTAL: Mapping[str, str] = {"late": "quá hạn", "open_late": "đang giải quyết, quá hạn"}

_OFFICE: Mapping[str, str] = {
    "running": "đang trong hạn",
    "due_soon": "sắp đến hạn",
    "paused": "tạm dừng tính hạn",
    "ended_early": "xong trước hạn",
    "ended_on_time": "xong đúng hạn",
}


# --- what they have in common ------------------------------------------------------------------------

_ALL = "tất cả · all"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a command was asked for."""

    settings: Settings
    period: Period
    scope: Scope
    now: datetime

    @classmethod
    def of(cls, period: str | None, agency: str | None, *, as_json: bool, as_csv: bool) -> _Asked:
        """Ends with status 2 where it cannot be asked."""
        if as_json and as_csv:
            raise refused(Words(vi="chọn --json hoặc --csv", en="choose --json or --csv"))
        now = datetime.now(UTC)
        scope = Scope(agencies=None if agency is None else frozenset({agency}))
        return cls(settings(), _period(period, now), scope, now)

    def until_now(self) -> tuple[datetime, datetime]:
        """A period that has not ended goes up to the present: see `dossier_counts.count`."""
        start, end = bounds(self.period)
        return start, min(end, self.now)


def _period(text: str | None, now: datetime) -> Period:
    today = civil_day(now)
    if text is None:
        return Period(PeriodKind.MONTH, today.year, today.month)
    period = parse_period(text)
    if period is None:
        vi, en = WRITE_PERIOD
        raise refused(Words(vi=f"--period: {vi}", en=f"--period: {en}"))
    if period.first > today:
        raise refused(
            Words(
                vi=f"--period: kỳ {text} chưa bắt đầu; chọn kỳ sớm hơn",
                en=f"--period: {text} has not begun; choose an earlier one",
            )
        )
    return period


def _with_ledger(asked: _Asked, ask: Callable[[Lane, Reference], Awaitable[T]]) -> T:
    """What the ledger of the settings answers, or the end and why."""
    url = asked.settings.ledger_url.get_secret_value()

    async def run() -> T:
        reference = read_reference(asked.settings.reference)
        await asyncio.to_thread(require_current, url)
        lane = Lane(url, "rates", seconds=None)
        try:
            waiting, codes = await lane.read(_standing)
            _require_agency(asked.scope, codes)
            if waiting:
                warn(
                    Words(
                        vi=f"{waiting} hồ sơ đang chờ tính lại, nên số liệu chưa phải mới nhất",
                        en=f"{waiting} dossiers wait to be reckoned anew: the figures are not the newest",
                    )
                )
            return await ask(lane, reference)
        finally:
            await lane.close()

    try:
        return asyncio.run(run())
    except (LedgerMismatch, LedgerUnavailable, RegistryError) as error:
        raise fail(remedy(error)) from None
    except TableError as error:
        told = (Words(vi=f"{error.where}, {vi}", en=en) for vi, en in error.told)
        raise refused(*told) from None


def _standing(connection: Connection) -> tuple[int, frozenset[str]]:
    """How many dossiers wait to be reckoned, and the agencies that are known."""
    due = select(func.count()).select_from(dossiers).where(dossiers.c.figures_due)
    return int(connection.execute(due).scalar_one()), observations.agencies(connection)


def _require_agency(scope: Scope, codes: frozenset[str]) -> None:
    for agency in scope.agencies or ():
        if agency not in codes:
            like = ", ".join(near(agency, tuple(sorted(codes))))
            raise refused(
                Words(
                    vi=f"--agency: không có cơ quan {agency}"
                    + (f"; gần giống: {like}" if like else ""),
                    en=f"--agency: no agency {agency}" + (f"; near: {like}" if like else ""),
                )
            )


def _say_nothing(period: Period) -> None:
    told = Words(
        vi=f"kỳ {period}: chưa ghi nhận lượt chuyển nào", en="no delivery was captured in it"
    )
    out.print(in_both(told), highlight=False)


def _say_csv(names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(value) for value in row])


def _cell(value: object) -> object:
    if isinstance(value, Decimal):
        return number(value)
    if isinstance(value, datetime):
        return value.astimezone(CIVIL_ZONE).isoformat()
    return value


def _unit(agency: str | None) -> str:
    return "chưa ánh xạ · unmapped" if agency is None else escape(agency)


def _percent(value: Decimal | None) -> str:
    return "–" if value is None else f"{number(value)}"


def _points(value: Decimal | None) -> str:
    return "–" if value is None else f"{number(value)}"


def _moment(at: datetime | None) -> str:
    return "–" if at is None else f"{at.astimezone(CIVIL_ZONE):%d/%m/%Y %H:%M}"
