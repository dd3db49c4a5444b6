"""How `thongsuot rates portal` shows what the portal publishes: tables for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from rich.markup import escape

from monitoring.rates.catalogue import packaged
from monitoring.rates.portal_comparison import Compared, Verdict, exact
from monitoring.rates.portal_differences import Opened
from monitoring.rates.portal_dossiers import WORDS, Suspect
from monitoring.rates.published import Reason
from monitoring.rates.tables import number
from schemas.dossier.working_calendar import CIVIL_ZONE
from streams.commands import out, say_json, table_of
from streams.reason_texts import in_words


def show_compared(rows: Sequence[Compared], every: Sequence[Compared]) -> None:
    table = table_of(
        (
            "đơn vị · unit",
            "chỉ tiêu · metric",
            "Cổng · portal",
            "Trục · ours",
            "tỷ lệ % · ratio",
            "điểm · score",
            "điểm chênh · points",
            "kết luận · verdict",
            "ghi chú · note",
        )
    )
    for one in rows:
        table.add_row(
            one.unit,
            escape(one.metric),
            _portal_counts(one),
            _our_counts(one),
            f"{shown(one.portal.ratio)} | {shown(one.ours.ratio)}",
            f"{shown(one.portal.score)} | {shown(one.ours.score)}",
            "–" if one.points is None else f"{number(one.points):+}",
            VERDICTS[one.verdict],
            escape(_note(one)),
        )
    out.print(table)
    counted = Counter(one.verdict for one in every)
    out.print(
        ", ".join(f"{VERDICTS[verdict]}: {counted[verdict]}" for verdict in Verdict),
        highlight=False,
        soft_wrap=True,
    )


def _note(one: Compared) -> str:
    notes = [
        *([one.why.vi] if one.why else []),
        *([f"lấy của Cổng: {', '.join(one.borrowed)}"] if one.borrowed else []),
        *([one.flag] if one.flag else []),
        *([f"chưa rõ {one.unknown} hồ sơ"] if one.unknown else []),
        *([f"chưa đánh giá được {one.unjudged} hồ sơ"] if one.unjudged else []),
    ]
    return "; ".join(notes)


def show_opened(opened: Sequence[Opened], as_json: bool, as_csv: bool) -> None:
    if as_json:
        say_json([one.as_dict() for one in opened])
        return
    rows = [
        {
            "service": one.row.service,
            "departmentCode": one.row.unit,
            "metric": one.row.metric,
            "quantity": one.pair.quantity,
            **suspect.as_dict(),
        }
        for one in opened
        for suspect in one.dossiers
    ]
    if said(rows, as_json, as_csv):
        return
    if not opened:
        out.print("không có số đếm nào chênh lệch  [dim]no count differs[/dim]", highlight=False)
    for one in opened:
        quantity = packaged().quantities[one.pair.quantity]
        out.print(
            f"[bold]{one.row.unit} {escape(one.row.metric)}[/bold]  {escape(quantity.vi)}: Cổng"
            f" {shown(one.pair.portal)}, Trục {one.pair.ours}  [dim]{escape(quantity.en)}: the portal,"
            " we[/dim]",
            highlight=False,
            soft_wrap=True,
        )
        if one.not_listed is not None:
            out.print(f"  [dim]{escape(one.not_listed)}[/dim]", highlight=False, soft_wrap=True)
            continue
        table = table_of(("hồ sơ · dossier", "đơn vị · unit", "có thể vì · may be because"))
        for suspect in one.dossiers:
            table.add_row(
                escape(suspect.code or suspect.dossier_id),
                suspect.agency or "–",
                escape(_because(suspect)),
            )
        out.print(table)
        if not one.dossiers:
            out.print(
                "  không thấy hồ sơ nào giải thích được  [dim]no dossier of ours explains it[/dim]",
                highlight=False,
            )
        if one.left_off:
            out.print(
                f"  và {one.left_off} hồ sơ nữa  [dim]and {one.left_off} more[/dim]",
                highlight=False,
            )


def _because(suspect: Suspect) -> str:
    words = WORDS[suspect.why]
    if suspect.reason is None:
        return f"{words.vi} · {words.en}"
    vi, en = in_words(suspect.reason)
    return f"{words.vi}: {vi} · {words.en}: {en}"


def flat(one: Compared) -> dict[str, object]:
    """For CSV: counts as "numerator/denominator", those of several shares one after the other."""
    told = one.as_dict()
    del told["counts"]
    return {
        **told,
        "portal_counts": _portal_counts(one),
        "our_counts": _our_counts(one),
        "borrowed": " ".join(one.borrowed),
        "why": one.why.vi if one.why else None,
    }


def _portal_counts(one: Compared) -> str:
    return _in_twos([pair.portal for pair in one.counts])


def _our_counts(one: Compared) -> str:
    return _in_twos([None if p.ours is None else exact(p.ours) for p in one.counts])


def _in_twos(counts: Sequence[Decimal | None]) -> str:
    return ratios(zip(counts[::2], counts[1::2], strict=True))


def ratios(pairs: Iterable[tuple[Decimal | None, Decimal | None]]) -> str:
    return " ".join(f"{shown(of)}/{shown(by)}" for of, by in pairs)


def shown(value: Decimal | None) -> str:
    return "–" if value is None else f"{number(value)}"


def local(moment: datetime) -> str:
    return f"{moment.astimezone(CIVIL_ZONE):%d/%m/%Y %H:%M}"


def said(rows: Sequence[Mapping[str, object]], as_json: bool, as_csv: bool) -> bool:
    """Whether the rows were printed for a program."""
    if as_json:
        say_json(rows)
    elif as_csv and rows:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return as_json or as_csv


def _cell(value: object) -> object:
    if isinstance(value, Decimal):
        return number(value)
    return value.isoformat() if isinstance(value, datetime) else value


VERDICTS: Mapping[Verdict, str] = {
    Verdict.SAME: "giống nhau · same",
    Verdict.DIFFERS: "chênh lệch · differs",
    Verdict.ONLY_THERE: "chỉ có ở Cổng · only there",
    Verdict.ONLY_HERE: "chỉ có ở Trục · only here",
    Verdict.NOT_COMPARABLE: "không so được · not comparable",
}

REASONS: Mapping[str, str] = {
    Reason.UNREADABLE: "không đọc được",
    Reason.NOT_AN_ANSWER: "Cổng báo lỗi, không có số liệu",
    Reason.INCOMPLETE: "chưa đủ mọi đơn vị",
    Reason.EMPTY: "không có số liệu",
    Reason.FIELD_MISSING: "thiếu trường",
    Reason.FIELD_UNKNOWN: "trường lạ",
    Reason.VALUE_INVALID: "giá trị không hợp lệ",
    Reason.UNIT_INVALID: "mã đơn vị không hợp lệ",
    Reason.UNIT_UNKNOWN: "chưa biết mã định danh của đơn vị",
    Reason.METRIC_UNKNOWN: "chỉ tiêu lạ",
    Reason.METRIC_MISSING: "thiếu chỉ tiêu",
    Reason.REPEATED: "lặp lại",
    Reason.OTHER_PERIOD: "kỳ khác",
    Reason.PERIOD_NOT_PUBLISHED: "Cổng không công bố kỳ này",
    Reason.PERIOD_NOT_ENDED: "kỳ chưa kết thúc",
}
"""Reasons in Vietnamese, short."""
