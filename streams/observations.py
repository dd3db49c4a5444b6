"""`thongsuot rates observations`: figures that other systems report, into the ledger and out of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from monitoring.rates import plan
from monitoring.rates.catalogue import Words, near
from monitoring.rates.observations import CODE, Refusal, Subject, histories, values_of
from monitoring.rates.observations_csv import ORIGIN, parse_observations, refusals
from monitoring.rates.periods import WRITE_PERIOD, parse_period
from monitoring.rates.tables import number
from schemas.dossier.csv_table import UNREADABLE, TableError, text_of
from schemas.dossier.working_calendar import CIVIL_ZONE
from schemas.ledger.model import LedgerMismatch, LedgerUnavailable, Observed
from schemas.ledger.sql import SqlLedger
from schemas.records import IndicatorObservation
from streams.commands import fail, in_both, out, refused, remedy, say_json, settings, table_of, warn
from streams.settings import ledger_is_named

T = TypeVar("T")

observations = typer.Typer(
    help="Số liệu do hệ thống khác báo cáo · figures that other systems report",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Dạng JSON · as JSON")]


class NoAgencies(Exception):
    """The ledger knows of no agency yet, so no observation can be judged."""


NO_AGENCIES = Words(
    vi="sổ cái chưa có danh mục cơ quan; chạy thongsuot worker để đọc danh mục của hệ thống một cửa",
    en="the ledger holds no agencies yet; run thongsuot worker, which reads those of the one-stop system",
)


@observations.command("import")
def observations_import(
    file: Annotated[Path, typer.Argument(help="Bảng số liệu, CSV · the table of figures")],
    submitted_by: Annotated[
        str,
        typer.Option(
            help="Mã hệ thống hoặc tài khoản nộp · code of the system or account that submits"
        ),
    ] = f"{ORIGIN}-import",
    as_json: AsJson = False,
) -> None:
    """Nhập cả bảng, hoặc không nhập gì · take a whole table in, or nothing of it."""
    if not CODE.fullmatch(submitted_by):
        raise refused(
            Words(
                vi="--submitted-by: ghi mã hệ thống hoặc tài khoản (chữ thường không dấu, số và . _ -), không ghi tên người",
                en="--submitted-by: give the code of a system or account (small letters, digits, . _ -), not a name",
            )
        )
    try:
        text = text_of(file)
        new = _with_ledger(lambda ledger: _take(ledger, text, str(file), submitted_by))
    except TableError as error:
        raise refused(*(Words(vi=f"{error.where}, {vi}", en=en) for vi, en in error.told)) from None
    except NoAgencies:
        raise fail(in_both(NO_AGENCIES)) from None
    if as_json:
        say_json({"new": [one.observation_id for one in new]})
        return
    out.print(
        f"[green]✔[/green] {len(new)} số liệu mới  [dim]{len(new)} new observations[/dim]",
        highlight=False,
    )


async def _take(
    ledger: SqlLedger, text: str, where: str, submitted_by: str
) -> Sequence[IndicatorObservation]:
    """Raises `NoAgencies`, and `TableError` after noting its faults in the ledger."""
    goals = plan.packaged()
    seen: list[Observed] = []

    def judge(observed: Observed) -> Sequence[IndicatorObservation]:
        if not observed.agencies:
            raise NoAgencies
        seen.append(observed)
        return parse_observations(
            text,
            where,
            plan=goals,
            agencies=observed.agencies,
            known=observed.observations,
            now=observed.now,
            submitted_by=submitted_by,
        )

    try:
        return await ledger.put_observations(judge)
    except TableError as error:
        by = seen[-1]
        faults = refusals(text, error, plan=goals, agencies=by.agencies, now=by.now)
        await ledger.put_refused_observations(faults)
        raise


@observations.command("list")
def observations_list(
    agency: Annotated[str | None, typer.Option(help="Mã cơ quan · the agency's code")] = None,
    indicator: Annotated[str | None, typer.Option(help="Mã chỉ số · the indicator's code")] = None,
    period: Annotated[
        str | None, typer.Option(help="Kỳ: 2026-08, 2026-Q3, 2026-H2, 2026 · the period")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Số liệu đã nhận và mọi lần đính chính · the figures that were taken, with every correction."""
    _require_sound(indicator, period)

    async def ask(ledger: SqlLedger) -> Sequence[IndicatorObservation]:
        if agency is not None:
            _require_agency(agency, await ledger.agencies())
        return await ledger.observations(indicator=indicator, agency=agency, period=period)

    stories = histories(_with_ledger(ask))
    if as_json:
        say_json([_story(about, story) for about, story in stories.items()])
        return
    if not stories:
        out.print(f"{plan.NO_FIGURE.vi}  [dim]{plan.NO_FIGURE.en}[/dim]", highlight=False)
        return
    table = table_of(
        (
            "mã · id",
            "chỉ số · indicator",
            "cơ quan · agency",
            "kỳ · period",
            "số liệu · figure",
            "ngày số liệu · as of",
            "nguồn · source",
            "đính chính · corrects",
            "",
        )
    )
    for story in stories.values():
        for one in story:
            table.add_row(
                one.observation_id,
                one.indicator,
                one.agency,
                one.period,
                plan.NO_FIGURE.vi if one.value is None else in_unit(one.value, one.unit),
                f"{one.as_of:%d/%m/%Y}",
                " · ".join(filter(None, (one.provenance.system, one.provenance.document))),
                one.corrects or "–",
                "đang dùng · holds" if one is story[-1] else "đã thay · replaced",
            )
    out.print(table)


def _require_sound(indicator: str | None, period: str | None) -> None:
    known = plan.packaged().indicators
    wrong = []
    if indicator is not None and indicator not in known:
        like = ", ".join(near(indicator, tuple(known)))
        wrong.append(
            Words(
                vi=f"--indicator: không có chỉ số {indicator}"
                + (f"; gần giống: {like}" if like else ""),
                en=f"--indicator: no indicator {indicator}" + (f"; near: {like}" if like else ""),
            )
        )
    if period is not None and parse_period(period) is None:
        vi, en = WRITE_PERIOD
        wrong.append(Words(vi=f"--period: {vi}", en=f"--period: {en}"))
    if wrong:
        raise refused(*wrong)


def _require_agency(agency: str, known: frozenset[str]) -> None:
    """End with status 2 unless the ledger knows the agency."""
    if agency not in known:
        like = ", ".join(near(agency, tuple(sorted(known))))
        raise refused(
            Words(
                vi=f"--agency: không có cơ quan {agency}"
                + (f"; gần giống: {like}" if like else ""),
                en=f"--agency: no agency {agency}" + (f"; near: {like}" if like else ""),
            )
        )


def _story(about: Subject, story: Sequence[IndicatorObservation]) -> dict[str, object]:
    """For JSON: what holds (null: the figure was taken back), and the story, oldest first."""
    return {
        **about._asdict(),
        "unit": story[0].unit,
        "value": story[-1].value,
        "story": [
            {
                "observation_id": one.observation_id,
                "value": one.value,
                "as_of": one.as_of,
                "system": one.provenance.system,
                "document": one.provenance.document,
                "corrects": one.corrects,
                "observed_at": one.observed_at,
                "submitted_by": one.submitted_by,
            }
            for one in story
        ],
    }


@observations.command("refused")
def observations_refused(
    limit: Annotated[int, typer.Option(min=1, help="Nhiều nhất bao nhiêu · at most")] = 100,
    as_json: AsJson = False,
) -> None:
    """Số liệu không được nhận, và vì sao; mới nhất trước · what was not taken, and why; newest first."""
    found = _with_ledger(lambda ledger: ledger.refused_observations(limit))
    if as_json:
        say_json([asdict(one) for one in found])
        return
    table = table_of(
        (
            "lúc · at",
            "từ · from",
            "chỗ · place",
            "cột · field",
            "lý do · reason",
            "chỉ số · indicator",
            "cơ quan · agency",
            "kỳ · period",
        )
    )
    for one in found:
        table.add_row(
            f"{one.recorded_at.astimezone(CIVIL_ZONE):%d/%m/%Y %H:%M}",
            one.origin,
            one.place,
            one.field or "–",
            f"{WHY[one.reason]} · {one.reason}" if one.reason in WHY else one.reason,
            one.indicator or "–",
            one.agency or "–",
            one.period or "–",
        )
    out.print(table)


WHY: Mapping[str, str] = {
    UNREADABLE: "không đọc được",
    Refusal.ID_INVALID: "mã số liệu không hợp lệ",
    Refusal.ID_REUSED: "mã số liệu đã dùng",
    Refusal.UNKNOWN_INDICATOR: "chỉ số không có trong danh mục",
    Refusal.UNKNOWN_AGENCY: "cơ quan không có trong danh mục",
    Refusal.PERIOD_INVALID: "kỳ không hợp lệ",
    Refusal.PERIOD_NOT_OF_INDICATOR: "chỉ số không có kỳ này",
    Refusal.PERIOD_NOT_ENDED: "kỳ chưa kết thúc",
    Refusal.AS_OF_BEFORE_PERIOD_END: "ngày số liệu trước khi hết kỳ",
    Refusal.AS_OF_IN_FUTURE: "ngày số liệu ở tương lai",
    Refusal.WRONG_UNIT: "sai đơn vị tính",
    Refusal.VALUE_MISSING: "thiếu số liệu",
    Refusal.VALUE_OUT_OF_RANGE: "số liệu ngoài khoảng cho phép",
    Refusal.VALUE_TOO_FINE: "quá nhiều chữ số thập phân",
    Refusal.PROVENANCE_INVALID: "nguồn không hợp lệ",
    Refusal.SUBMITTER_INVALID: "tài khoản nộp không hợp lệ",
    Refusal.OBSERVED_IN_FUTURE: "thời điểm nộp ở tương lai",
    Refusal.CORRECTS_UNKNOWN: "không có số liệu được đính chính",
    Refusal.CORRECTS_CORRECTION: "đính chính một đính chính",
    Refusal.CORRECTS_ANOTHER: "đính chính số liệu khác",
    Refusal.NOT_NEWER: "đã có đính chính mới hơn",
    Refusal.ALREADY_OBSERVED: "kỳ này đã có số liệu",
}
"""Reasons in Vietnamese, short."""


# --- for the scoreboard ------------------------------------------------------------------------------


def figures(agency: str | None) -> tuple[str | None, Mapping[str, Sequence[plan.Value]]]:
    """An agency and its figures by indicator; without `agency` the one in whose name the hub calls.

    Neither when no ledger is named in the settings, or it knows no such agency; that is said then. Ends
    with status 2 where an agency was asked for.
    """
    if not ledger_is_named():
        if agency is not None:
            raise refused(Words(vi=f"--agency: {NO_LEDGER.vi}", en=f"--agency: {NO_LEDGER.en}"))
        warn(NO_LEDGER)
        return None, {}
    wanted = agency or settings().national_portal.agency_code

    async def ask(
        ledger: SqlLedger,
    ) -> tuple[frozenset[str], Sequence[IndicatorObservation]]:
        return await ledger.agencies(), await ledger.observations(agency=wanted)

    known, found = _with_ledger(ask)
    if agency is not None:
        _require_agency(agency, known)
    elif not known:
        warn(NO_AGENCIES)
    elif wanted not in known:
        warn(
            Words(
                vi=f"sổ cái không có cơ quan {wanted} (THONGSUOT_NATIONAL_PORTAL__AGENCY_CODE); ghi mã của tỉnh ở --agency",
                en=f"the ledger knows no agency {wanted} (THONGSUOT_NATIONAL_PORTAL__AGENCY_CODE); give the province's code as --agency",
            )
        )
    measured = plan.packaged().measures  # an indicator may have left the plan
    values = values_of((one for one in found if one.indicator in measured), wanted)
    return wanted, values


NO_LEDGER = Words(
    vi="chưa đặt THONGSUOT_LEDGER_URL, nên không có số liệu nào từ sổ cái",
    en="THONGSUOT_LEDGER_URL is not set, so there are no figures from the ledger",
)


def in_unit(value: Decimal, unit: str) -> str:
    """A figure as people read it."""
    if unit == "yes_no":
        return "có · yes" if value else "chưa · no"
    if unit == "dossiers":
        return f"{number(value)} hồ sơ · dossiers"
    return f"{number(value)} %"


def _with_ledger(ask: Callable[[SqlLedger], Coroutine[Any, Any, T]]) -> T:
    """What the ledger of the settings answers, or the end and why."""
    url = settings().ledger_url.get_secret_value()

    async def run() -> T:
        async with SqlLedger(url) as ledger:
            return await ask(ledger)

    try:
        return asyncio.run(run())
    except (LedgerMismatch, LedgerUnavailable) as error:
        raise fail(remedy(error)) from None
