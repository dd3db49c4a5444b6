"""What can still be saved today as a page to print on A4, and as the plain text of a mail. Vietnamese.

The page stands by itself: no script, no picture, nothing from elsewhere. Its elements are made as a tree, so
that whatever a source has put into a code is text and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element, tostring

from monitoring.rates.savable import Entry, Kind, Savable, Unit
from monitoring.rates.savable_words import (
    KINDS,
    clock_time,
    day_name,
    more,
    remarks,
    time_left,
    todo,
    unit_name,
)
from schemas.dossier.days_off import weakest

TITLE = "Hôm nay còn cứu được"

_UNSURE = "* Hạn rơi vào hoặc đi qua những ngày mà lịch nghỉ còn kém chắc chắn hơn."
_NOTHING = "Không có việc nào."
_ORIGIN = "Chỉ có mã hồ sơ, không có dữ liệu cá nhân. Nguồn: sổ cái ThôngSuốt."

_STYLE = """
@page { size: A4; margin: 14mm 12mm 16mm; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 210mm; color: #1a1a1a; background: #fff;
  font: 11pt/1.4 "Noto Sans", "Segoe UI", Arial, sans-serif; }
h1 { margin: 0; font-size: 1.5em; line-height: 1.2; }
h2 { margin: 1.6em 0 0; padding-bottom: .15em; border-bottom: 2px solid #1f4e79; font-size: 1.15em; color: #1f4e79; }
p { margin: .35em 0; }
.remarks { margin: .8em 0; padding: .4em .8em; border: 1px solid #8a5a00; border-left-width: 5px; }
table { width: 100%; margin: .9em 0 0; border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { padding: .2em 0; text-align: left; font-weight: bold; break-after: avoid; }
th, td { padding: .25em .45em; border: 1px solid #7a7a7a; text-align: left; vertical-align: top; }
thead th { background: #e6edf4; }
td.number, th.number { text-align: right; }
td.code, tbody th { overflow-wrap: anywhere; }
tbody th { font-weight: normal; }
tfoot th, tfoot td { font-weight: bold; }
.entries { table-layout: fixed; }
.entries .code { width: 28%; } .entries .when { width: 18%; } .entries .left { width: 16%; }
.soon { font-weight: bold; }
footer { margin-top: 1.6em; border-top: 1px solid #7a7a7a; font-size: .9em; }
@media print {
  body { max-width: none; padding: 0; font-size: 9.5pt; }
  thead { display: table-header-group; }
  tfoot { display: table-row-group; }
  tr { break-inside: avoid; }
  h2 { break-after: avoid; }
  thead th { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""

_SOON_SECONDS = 2 * 3600
"""What has less working time left than this stands out."""


def page(savable: Savable, names: Mapping[str, str]) -> str:
    """The whole page. `names` are those of the units by code, as far as they are known."""
    title = subject(savable)
    body = _e(
        "body",
        _e("header", _e("h1", TITLE), _e("p", _headline(savable)), *_remarks(savable)),
        _e("main", *_main(savable, names)),
        _e("footer", *_footer(savable)),
    )
    head = _e(
        "head",
        _e("meta", charset="utf-8"),
        _e("meta", name="viewport", content="width=device-width, initial-scale=1"),
        _e("title", title),
        _e("style", _STYLE),
    )
    html = _e("html", head, body, lang="vi")
    return "<!DOCTYPE html>\n" + tostring(html, encoding="unicode", method="html") + "\n"


def subject(savable: Savable) -> str:
    """The day and the counts, for the head of a mail."""
    counts = savable.counts
    return (
        f"{TITLE}, {day_name(savable.now)}: {counts[Kind.RECEPTION]} chờ tiếp nhận,"
        f" {counts[Kind.DUE]} đến hạn, {counts[Kind.SUPPLEMENT]} đã yêu cầu bổ sung,"
        f" {counts[Kind.FIELD]} thiếu thông tin"
    )


def plain(savable: Savable, names: Mapping[str, str]) -> str:
    """The same as text, for whoever reads mail without pictures."""
    lines = [TITLE, _headline(savable), *(remark.vi for remark in remarks(savable))]
    for unit in savable.units:
        lines += ["", unit_name(unit.agency, names)]
        if not unit.total:
            lines.append(f"  {_NOTHING}")
        for kind in _there(unit):
            lines.append(f"  {KINDS[kind].vi}: {unit.counts[kind]}")
            for entry in unit.of(kind):
                lines.append(
                    f"    {_code(entry)} | {_when(entry, savable)} | còn {time_left(entry.left)}"
                    f" | {todo(entry, savable.now).vi}"
                )
            if more(unit, kind):
                lines.append(f"    … và {more(unit, kind)} hồ sơ nữa")
    if not savable.units:
        lines += ["", _NOTHING]
    lines.append("")
    if _is_unsure(savable):
        lines.append(_UNSURE)
    return "\n".join([*lines, _ORIGIN, ""])


def _headline(savable: Savable) -> str:
    return (
        f"Lúc {clock_time(savable.now)} ({day_name(savable.now).rpartition(' ')[0]}),"
        f" tính đến hết ngày làm việc kế tiếp {clock_time(savable.until)}."
    )


def _remarks(savable: Savable) -> Iterator[Element]:
    said = remarks(savable)
    if said:
        yield _e("div", *(_e("p", one.vi) for one in said), role="note", **{"class": "remarks"})


def _main(savable: Savable, names: Mapping[str, str]) -> Iterator[Element]:
    if not savable.units:
        yield _e("p", _NOTHING)
    if len(savable.units) > 1:
        yield _summary(savable, names)
    for place, unit in enumerate(savable.units):
        heading = _e("h2", unit_name(unit.agency, names), id=f"unit-{place}")
        tables = [_entries(unit, kind, savable) for kind in _there(unit)] or [_e("p", _NOTHING)]
        yield _e("section", heading, *tables, **{"aria-labelledby": f"unit-{place}"})


def _there(unit: Unit) -> list[Kind]:
    return [kind for kind in Kind if unit.counts[kind]]


def _summary(savable: Savable, names: Mapping[str, str]) -> Element:
    def numbers(counts: Mapping[Kind, int], total: int) -> list[Element]:
        cells = [*counts.values(), total]
        return [_e("td", str(n), **{"class": "number"}) for n in cells]

    headings = [_e("th", KINDS[kind].vi, scope="col", **{"class": "number"}) for kind in Kind]
    return _e(
        "table",
        _e("caption", "Số việc theo đơn vị"),
        _e(
            "thead",
            _e(
                "tr",
                _e("th", "Đơn vị", scope="col"),
                *headings,
                _e("th", "Cộng", scope="col", **{"class": "number"}),
            ),
        ),
        _e(
            "tbody",
            *(
                _e(
                    "tr",
                    _e("th", unit_name(unit.agency, names), scope="row"),
                    *numbers(unit.counts, unit.total),
                )
                for unit in savable.units
            ),
        ),
        _e(
            "tfoot",
            _e("tr", _e("th", "Cộng", scope="row"), *numbers(savable.counts, savable.total)),
        ),
    )


def _entries(unit: Unit, kind: Kind, savable: Savable) -> Element:
    headings = (
        ("Mã hồ sơ", "code"),
        ("Hạn", "when"),
        ("Còn lại (giờ làm việc)", "left"),
        ("Việc cần làm", "todo"),
    )
    rows = [
        _e(
            "tr",
            _e("th", _code(entry), scope="row", **{"class": "code"}),
            _e("td", _when(entry, savable)),
            _e("td", time_left(entry.left), **{"class": "soon"} if _is_soon(entry) else {}),
            _e("td", todo(entry, savable.now).vi),
        )
        for entry in unit.of(kind)
    ]
    if more(unit, kind):
        rows.append(_e("tr", _e("td", f"… và {more(unit, kind)} hồ sơ nữa", colspan="4")))
    return _e(
        "table",
        _e("caption", f"{KINDS[kind].vi}: {unit.counts[kind]} hồ sơ"),
        _e(
            "thead",
            _e("tr", *(_e("th", text, scope="col", **{"class": name}) for text, name in headings)),
        ),
        _e("tbody", *rows),
        **{"class": "entries"},
    )


def _footer(savable: Savable) -> Iterator[Element]:
    if _is_unsure(savable):
        yield _e("p", _UNSURE)
    yield _e("p", _ORIGIN)


def _code(entry: Entry) -> str:
    return entry.code or entry.dossier_id


def _when(entry: Entry, savable: Savable) -> str:
    return clock_time(entry.deadline) + (" *" if _is_less_sure(entry, savable) else "")


def _is_less_sure(entry: Entry, savable: Savable) -> bool:
    """Than the calendar is of these days, which is said above all entries."""
    together = weakest((entry.certainty, savable.certainty))
    return entry.deadline is not None and together is not savable.certainty


def _is_soon(entry: Entry) -> bool:
    return entry.left is not None and entry.left.total_seconds() < _SOON_SECONDS


def _is_unsure(savable: Savable) -> bool:
    return any(_is_less_sure(entry, savable) for unit in savable.units for entry in unit.entries)


def _e(tag: str, *content: str | Element, **attributes: str) -> Element:
    made = Element(tag, attributes)
    for part in content:
        if isinstance(part, Element):
            made.append(part)
        else:
            made.text = (made.text or "") + part
    return made
