"""How the figures of a period look: as a table for 120 columns, as CSV, as lists of dossiers."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal

from rich.markup import escape
from rich.table import Table

from monitoring.rates.catalogue import TOTAL, Words, packaged
from monitoring.rates.dossier_counts import Counting
from monitoring.rates.explain import Explained
from monitoring.rates.points import Count
from monitoring.rates.remarks import Remark
from monitoring.rates.report import RateFigure, Report, Total, UnitRates, plain
from monitoring.rates.tables import number
from monitoring.rates.units import Asked, UnitKind
from schemas.dossier.clock import LateBecause
from schemas.dossier.timeliness import Verdict
from schemas.dossier.working_calendar import CIVIL_ZONE
from streams.commands import in_both, out, say_json, warn

_WITH_COUNTS = 3  # so many rates have room for numerator and denominator
_REMARKS = 12  # lines beneath the table; --json has all
_NAME_WIDTH = 26

CSV_COLUMNS = (
    *("kind", "unit", "name", "block", "rate", "version", "term"),
    *("numerator", "denominator", "numerator_shown", "denominator_shown"),
    *("ratio", "score", "ratio_shown", "score_shown", "maximum", "notes"),
)

PROVISIONAL = Words(vi="tạm tính, kỳ chưa kết thúc", en="provisional, the period has not ended")


def head(made: Report) -> dict[str, object]:
    """What a report is about, for JSON."""
    return {name: value for name, value in made.as_dict().items() if name not in ("units", "total")}


# --- tables ------------------------------------------------------------------------------------------


def as_table(made: Report) -> None:
    """The rows: the blocks' scores, or the rates that were asked for. What has to be said stands beneath."""
    _say_head(made)
    _say_rates(made)
    named = any(unit.name for unit in (*made.units, made.total))
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("đơn vị · unit", no_wrap=True)
    if named:
        table.add_column("tên · name", no_wrap=True, overflow="ellipsis", max_width=_NAME_WIDTH)
    for heading in _headings(made):
        table.add_column(heading, justify="right", overflow="fold")
    for unit in made.units:
        table.add_row(*_row(made, unit, named=named))
    table.add_row(*(f"[bold]{cell}[/bold]" for cell in _row(made, made.total, named=named)))
    out.print(table)
    _say_remarks(made)


def _headings(made: Report) -> list[str]:
    if made.asked.rates is None:
        blocks = packaged().blocks
        return [
            *(f"{escape(block.vi)} /{number(block.maximum)}" for block in blocks.values()),
            f"Tổng · total /{number(made.total.total.maximum) if made.total.total else 0}",
        ]
    headings = []
    for place in range(1, len(made.asked.rates) + 1):
        if len(made.asked.rates) <= _WITH_COUNTS:
            headings.append(f"({place}) tử/mẫu")
        headings += [f"({place}) %", f"({place}) điểm"]
    return headings


def _row(made: Report, unit: UnitRates, *, named: bool) -> list[str]:
    cells = [escape(_label(unit))]
    if named:
        cells.append(escape(unit.name or ""))
    if made.asked.rates is None:
        whole = [*unit.blocks, *([] if unit.total is None else [unit.total])]
        return [*cells, *(_total(one) for one in whole)]
    for figure in unit.rates:
        if len(made.asked.rates) <= _WITH_COUNTS:
            cells.append(_counts(figure))
        at_portal = figure.determined and not figure.out_of_force
        cells += [
            _both(figure.known.ratio, figure.shown.ratio, told=at_portal),
            _both(figure.known.score, figure.shown.score, told=at_portal),
        ]
    return cells


def _label(unit: UnitRates) -> str:
    match unit.kind:
        case UnitKind.TOTAL:
            return f"{unit.code} tổng · total" if unit.code else "Tổng · total"
        case UnitKind.ITSELF:
            return f"{unit.code} riêng · itself"
        case UnitKind.UNMAPPED:
            return "(chưa có mã · no code)"
        case UnitKind.UNLISTED:
            return f"{unit.code} (?)"
        case UnitKind.UNIT:
            return f"{unit.code}"


def _total(one: Total) -> str:
    if one.shown.score is None:
        return "–"
    return f"{'≥ ' if one.without else ''}{_written(one.shown.score)}"


def _counts(figure: RateFigure) -> str:
    return "; ".join(
        f"{_ours(figure, term.numerator)}/{_ours(figure, term.denominator)}"
        for term in figure.rate.terms
    )


def _ours(figure: RateFigure, name: str) -> str:
    ours, theirs = figure.counts[name], figure.counts_shown[name]
    return _count(ours) if ours == theirs else f"{_count(ours)} ({_count(theirs)})"


def _both(ours: Decimal | None, theirs: Decimal | None, *, told: bool) -> str:
    """Ours, and in brackets the portal's where that is another."""
    if not told or ours == theirs:
        return _written(ours)
    return f"{_written(ours)} ({_written(theirs)})"


def _written(value: Decimal | None) -> str:
    return "–" if value is None else f"{number(value)}"


def _count(value: Count | None) -> str:
    return "–" if value is None else f"{plain(value)}"


# --- what stands above and beneath -----------------------------------------------------------------------


def _say_head(made: Report) -> None:
    last = made.end - timedelta(microseconds=1)
    parts = [f"[bold]{made.asked.period}[/bold]  {_day(made.start)} – {_day(last)}"]
    for name, value in (
        ("cơ quan · agency", made.asked.agency),
        ("thủ tục · procedure", made.asked.procedure),
        ("lĩnh vực · sector", made.asked.sector),
    ):
        if value is not None:
            parts.append(f"{name}: {escape(value)}")
    out.print("   ".join(parts), soft_wrap=True, highlight=False)
    if not made.ended:
        until = made.end.astimezone(CIVIL_ZONE)
        out.print(
            f"[yellow]![/yellow] {PROVISIONAL.vi} (đến {until:%H:%M %d/%m/%Y})  [dim]{PROVISIONAL.en}[/dim]",
            soft_wrap=True,
            highlight=False,
        )
    if made.due:
        out.print(
            f"[yellow]![/yellow] {made.due} hồ sơ chờ tính lại, số liệu có thể đổi"
            f"  [dim]{made.due} dossiers are not reckoned yet[/dim]",
            soft_wrap=True,
            highlight=False,
        )


def _say_rates(made: Report) -> None:
    """Which rate is which column."""
    for place, figure in enumerate(made.total.rates if made.asked.rates else (), start=1):
        rate = figure.rate
        out.print(
            f"({place}) [bold]{escape(rate.code)}[/bold]  {in_both(Words(vi=rate.vi, en=rate.en))}",
            soft_wrap=True,
            highlight=False,
        )


def _day(moment: datetime) -> str:
    return f"{moment.astimezone(CIVIL_ZONE):%d/%m/%Y}"


def _say_remarks(made: Report) -> None:
    lines = list(dict.fromkeys(_remarks(made)))
    for line in lines[:_REMARKS]:
        out.print(in_both(line), soft_wrap=True, highlight=False)
    more = len(lines) - _REMARKS
    if more > 0:
        out.print(f"và {more} ghi chú nữa: --json  [dim]and {more} more remarks[/dim]")


def _remarks(made: Report) -> Iterable[Words]:
    if made.asked.rates is None:
        yield from _about_blocks(made.total)
    else:
        yield Words(
            vi="trong ngoặc: như Cổng hiện, khi khác; –: chưa biết",
            en="in brackets: as the portal shows it, where that differs; –: unknown",
        )
        for figure in made.total.rates:
            yield from (_of(figure.rate.code, remark) for remark in figure.remarks)
    for unit in (*made.units, made.total):
        label = _label(unit)
        yield from (_of(label, remark) for remark in unit.remarks)


def _about_blocks(unit: UnitRates) -> Iterable[Words]:
    yield Words(
        vi="điểm như Cổng hiện; ≥: ít nhất, vì có tỷ lệ chưa có số liệu; –: chưa biết",
        en="points as the portal shows them; ≥: at the least, some rates have no figures; –: unknown",
    )
    for one in unit.blocks:
        codes = [code for code in one.without if code != one.block]
        if codes:
            yield Words(
                vi=f"{packaged().blocks[one.block or ''].vi}: chưa có số liệu của {', '.join(codes)}",
                en="no figures of these",
            )
        elif one.without:
            yield Words(
                vi=f"{packaged().blocks[one.block or ''].vi}: tổng điểm không tái tạo được từ số liệu công khai",
                en="the total cannot be reproduced from public data",
            )


def _of(label: str, remark: Remark) -> Words:
    return Words(vi=f"{label}: {remark.words.vi}", en=remark.words.en)


# --- the formula -------------------------------------------------------------------------------------


def as_explained(made: Report, told: Sequence[Explained]) -> None:
    """The rule in words, then with its numbers."""
    _say_head(made)
    for one in told:
        out.print(
            f"[bold]{escape(one.code)}[/bold]  {in_both(one.name)}", soft_wrap=True, highlight=False
        )
        for line in one.lines:
            out.print(f"  {escape(line.vi)}", soft_wrap=True, highlight=False)
            out.print(f"    [dim]{escape(line.en)}[/dim]", soft_wrap=True, highlight=False)


# --- CSV ---------------------------------------------------------------------------------------------


def as_csv(made: Report) -> None:
    """A line for every term of every rate of every unit; the totals are lines of the code `_TOTAL`."""
    table = csv.DictWriter(sys.stdout, CSV_COLUMNS, restval="", lineterminator="\n")
    table.writeheader()
    for unit in (*made.units, made.total):
        own = {"kind": unit.kind.value, "unit": unit.code or "", "name": unit.name or ""}
        for figure in unit.rates:
            table.writerows({**own, **line} for line in _lines(figure))
        for one in (*unit.blocks, *([unit.total] if unit.total else [])):
            table.writerow({**own, **_total_line(one)})
    if not made.ended:
        warn(PROVISIONAL)


def _lines(figure: RateFigure) -> Iterable[dict[str, object]]:
    for place, term in enumerate(figure.rate.terms, start=1):
        yield {
            "block": figure.rate.block,
            "rate": figure.rate.code,
            "version": figure.rate.version,
            "term": place,
            "numerator": _cell(figure.counts[term.numerator]),
            "denominator": _cell(figure.counts[term.denominator]),
            "numerator_shown": _cell(figure.counts_shown[term.numerator]),
            "denominator_shown": _cell(figure.counts_shown[term.denominator]),
            "ratio": _cell(figure.known.ratio),
            "score": _cell(figure.known.score),
            "ratio_shown": _cell(figure.shown.ratio),
            "score_shown": _cell(figure.shown.score),
            "maximum": _cell(figure.rate.maximum),
            "notes": " ".join(dict.fromkeys(remark.note.value for remark in figure.remarks)),
        }


def _total_line(one: Total) -> dict[str, object]:
    return {
        "block": one.block or "",
        "rate": TOTAL,
        "ratio": _cell(one.known.ratio),
        "score": _cell(one.known.score),
        "ratio_shown": _cell(one.shown.ratio),
        "score_shown": _cell(one.shown.score),
        "maximum": _cell(one.maximum),
        "notes": " ".join(f"without:{code}" for code in one.without),
    }


def _cell(value: Decimal | Count | None) -> object:
    """Blank where it is not known."""
    if value is None:
        return ""
    return number(value) if isinstance(value, Decimal) else plain(value)


# --- dossiers ----------------------------------------------------------------------------------------

_DOSSIER_COLUMNS = ("code", "dossier_id", "agency", "counts", "verdict", "late_because", "end_at")

_VERDICTS = {
    Verdict.EARLY: "trước hạn · early",
    Verdict.ON_TIME: "đúng hạn · on time",
    Verdict.LATE: "quá hạn · late",
    Verdict.OPEN_IN_TIME: "đang xử lý, trong hạn · open in time",
    Verdict.OPEN_LATE: "đang xử lý, quá hạn · open late",
    Verdict.UNDATED: "không có hạn · undated",
    Verdict.NOT_RECEIVED: "chưa tiếp nhận · not received",
}

_BECAUSE = {
    LateBecause.DUE_PASSED: "quá ngày hẹn trả, hoặc quá thời hạn tối đa · past the due date, or the legal time",
    LateBecause.SECOND_SUPPLEMENT: "yêu cầu bổ sung lần hai · a second request to supplement",
}

_COUNTS = {True: "có · yes", False: "không · no", None: "chưa rõ · unknown"}


def as_dossiers(
    page: Sequence[Counting],
    *,
    asked: Asked,
    rate: str,
    side: str,
    quantity: str,
    following: str | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """One page. `following`: the id behind which the next one begins; None: there is none."""
    if as_json:
        about = {"period": str(asked.period), "rate": rate, "side": side, "quantity": quantity}
        say_json({**about, "dossiers": [asdict(one) for one in page], "after": following})
        return
    if as_csv:
        table = csv.writer(sys.stdout, lineterminator="\n")
        table.writerow(_DOSSIER_COLUMNS)
        for one in page:
            table.writerow(_plainly(one))
    else:
        _dossier_table(page, quantity)
    if following is not None:
        warn(
            Words(
                vi=f"còn nữa; trang sau: --after {following}",
                en=f"there are more; the next page: --after {following}",
            )
        )


def _plainly(one: Counting) -> list[str]:
    counts = "" if one.counts is None else str(int(one.counts))
    end = "" if one.end_at is None else one.end_at.isoformat()
    return [
        *(one.code or "", one.dossier_id, one.agency or "", counts),
        *(one.verdict.value if one.verdict else "", one.late_because or "", end),
    ]


def _dossier_table(page: Sequence[Counting], quantity: str) -> None:
    out.print(in_both(packaged().quantities[quantity]), soft_wrap=True, highlight=False)
    table = Table(box=None, padding=(0, 1, 0, 0))
    for heading in (
        "hồ sơ · dossier",
        "đơn vị · unit",
        "tính · counts",
        "Cổng xét · verdict",
        "vì · because",
        "kết thúc · end",
        "dossier_id",
    ):
        table.add_column(heading, overflow="fold", no_wrap=heading.startswith("hồ sơ"))
    for one in page:
        table.add_row(
            escape(one.code or "–"),
            escape(one.agency or "–"),
            _COUNTS[one.counts],
            _VERDICTS[one.verdict] if one.verdict else "–",
            _BECAUSE[LateBecause(one.late_because)] if one.late_because else "–",
            "–" if one.end_at is None else f"{one.end_at.astimezone(CIVIL_ZONE):%d/%m/%Y %H:%M}",
            escape(one.dossier_id),
        )
    out.print(table)
