"""`thongsuot rates`: the figures of a period, the catalogue of rates, its rules applied, the plan's goals."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from monitoring.rates import explain, plan, regime_figures
from monitoring.rates.catalogue import TOTAL, UnknownRate, Words, hub_rates, near, packaged
from monitoring.rates.counts_csv import BadTable
from monitoring.rates.tables import NoTable, Scored, Scores, columns, number, score
from schemas.dossier.working_calendar import civil_day
from streams.commands import in_both, out, refused, say_json, table_of, warn
from streams.observations import figures, in_unit
from streams.plan_figures import computed
from streams.rates_report import rates_of_a_period, unknown_rate

_EARLIER_SHOWN = 3  # figures of a goal beside its actual one; --json has all of them

rates = typer.Typer(help="Tỷ lệ theo QĐ 766 · the rates of Decision 766")
rates.callback(invoke_without_command=True)(rates_of_a_period)

AsJson = Annotated[bool, typer.Option("--json", help="Dạng JSON · as JSON")]


@rates.command("list")
def rates_list(as_json: AsJson = False) -> None:
    """Mọi tỷ lệ trong danh mục · every rate in the catalogue."""
    catalogue = packaged()
    if as_json:
        say_json([rate.model_dump() for rate in catalogue.rates])
        return
    table = table_of(("mã · code", "tỷ lệ · rate", "tối đa · maximum", "chắc chắn · certainty"))
    for rate in catalogue.rates:
        sure = explain.IN_SHORT[rate.certainty]
        table.add_row(escape(rate.code), rate.vi, _shown(rate.maximum), sure.vi)
    out.print(table)


@rates.command("explain")
def rates_explain(code: str, as_json: AsJson = False) -> None:
    """Công thức bằng lời, căn cứ, mức chắc chắn · a rate's formula in words, its source, how sure it is."""
    catalogue = packaged()
    blocks = {TOTAL: tuple(catalogue.blocks), **{name: (name,) for name in catalogue.blocks}}
    if code in blocks:
        told = [explain.block(catalogue, name) for name in blocks[code]]
    elif code in catalogue.codes:
        told = [explain.rate(catalogue, rate) for rate in catalogue.versions(code)]
    elif code in hub_rates().codes:
        told = [explain.rate(hub_rates(), rate) for rate in hub_rates().versions(code)]
    else:
        raise unknown_rate(code, near(code, (*catalogue.codes, *blocks)))
    if as_json:
        say_json([one.as_dict() for one in told])
        return
    for one in told:
        out.print(
            f"[bold]{escape(one.code)}[/bold]  {in_both(one.name)}", soft_wrap=True, highlight=False
        )
        for line in one.lines:
            out.print(f"  {escape(line.vi)}", soft_wrap=True, highlight=False)
            out.print(f"    [dim]{escape(line.en)}[/dim]", soft_wrap=True, highlight=False)


@rates.command("score")
def rates_score(
    rate: Annotated[str, typer.Option(help="Mã tỷ lệ · the rate's code")],
    table: Annotated[
        Path | None, typer.Option("--input", help="Bảng số đếm, CSV · the table of counts")
    ] = None,
    service: Annotated[
        str | None, typer.Option(help="Chỉ các dòng của dịch vụ này · only this service's rows")
    ] = None,
    only_columns: Annotated[
        bool, typer.Option("--columns", help="Cần những cột nào · which columns are needed")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Chấm điểm một bảng số đếm theo cách của Cổng · score a table of counts as the portal would."""
    try:
        needed = columns(packaged(), rate)
    except UnknownRate as error:
        raise unknown_rate(rate, error.near) from None
    except NoTable as error:
        raise refused(
            Words(vi=f"Cổng không công bố bảng số đếm cho {rate}", en=str(error))
        ) from None
    if only_columns and as_json:
        say_json(needed)
    elif only_columns:
        sys.stdout.write("".join(f"{name}\n" for name in needed))
    else:
        scores = _scored(rate, table, service)
        for remark in scores.remarks:
            warn(remark)
        if as_json:
            say_json([row.as_dict() for row in scores.rows])
        else:
            out.print(_score_table(scores.rows))


@rates.command("plan")
def rates_plan(
    agency: Annotated[
        str | None,
        typer.Option(help="Mã cơ quan, mặc định là tỉnh · the agency, by default the province"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Các chỉ tiêu của kế hoạch, đạt hay chưa · the plan's goals, reached or not."""
    whose, reported = figures(agency)
    known = reported if whose is None else {**reported, **computed(whose, reported)}
    rows = plan.scoreboard(plan.packaged(), known, civil_day(datetime.now(UTC)))
    if as_json:
        say_json([row.as_dict() for row in rows])
        return
    if whose is not None:
        out.print(f"cơ quan · agency: {escape(whose)}", highlight=False)
    table = table_of(
        (
            "số · no.",
            "chỉ tiêu · goal",
            "đến · by",
            "mức · at least",
            "thực tế · actual",
            "kỳ · period",
            "ngày số liệu · as of",
            "nguồn · source",
            "kết quả · standing",
            "kỳ trước · earlier",
        )
    )
    for row in rows:
        actual = row.actual
        table.add_row(
            str(row.goal.number),
            row.goal.vi,
            str(row.goal.by),
            in_unit(row.goal.value, row.unit),
            plan.NO_FIGURE.vi if actual is None else in_unit(actual.value, row.unit),
            "–" if actual is None else str(actual.period),
            "–" if actual is None else f"{actual.as_of:%d/%m/%Y}",
            escape(_source(row)),
            _STANDING[row.standing],
            _earlier(row),
        )
    out.print(table)


def _earlier(row: plan.Row) -> str:
    """The figures before the actual one, newest first."""
    shown = [
        f"{value.period}: {in_unit(value.value, row.unit)}"
        for value in row.history[1 : _EARLIER_SHOWN + 1]
    ]
    more = len(row.history) - 1 - _EARLIER_SHOWN
    return "; ".join([*shown, *([f"+{more}"] if more > 0 else [])]) or "–"


_STANDING = {
    plan.Standing.REACHED: "đạt · reached",
    plan.Standing.NOT_REACHED: "chưa đạt · not reached",
    plan.Standing.UNKNOWN: "chưa rõ · unknown",
    plan.Standing.CLOSED: "đã kết thúc · closed",
}


def _source(row: plan.Row) -> str:
    """Who says the figure, or from where it is awaited."""
    if row.actual is not None:
        return row.actual.source
    if row.goal.indicator == regime_figures.INDICATOR:
        return "chế độ báo cáo nhận về, hệ thống khác · report regimes received, other systems"
    if row.goal.rate is None:
        return "hệ thống khác · other systems"
    awaited = "; chờ danh mục mức độ · needs the levels" if row.goal.needs else ""
    return f"hồ sơ · dossiers{awaited}"


def _scored(rate: str, table: Path | None, service: str | None) -> Scores:
    if table is None:
        raise refused(
            Words(vi="thiếu --input: tệp CSV cần chấm", en="--input is missing: the CSV to score")
        )
    try:
        return score(packaged(), rate, table.read_bytes(), service)
    except OSError as error:
        raise refused(
            Words(vi=f"không đọc được tệp {table}", en=f"{table}: {error.strerror}")
        ) from None
    except BadTable as error:
        raise refused(*error.told) from None


def _score_table(rows: Sequence[Scored]) -> Table:
    services = any(row.service for row in rows)
    table = table_of(
        (
            "đơn vị · unit",
            *(["dịch vụ · service"] if services else []),
            "chỉ tiêu · metric",
            "tỷ lệ % · ratio",
            "điểm · score",
        )
    )
    for row in rows:
        table.add_row(
            escape(row.unit),
            *([escape(row.service or "")] if services else []),
            row.metric,
            _shown(row.figure.ratio),
            _shown(row.figure.score),
        )
    return table


def _shown(value: Decimal | None) -> str:
    return "–" if value is None else f"{number(value)}"
